/* SPDX-License-Identifier: Apache-2.0 */
/* core/zeromap.c against a plain array. */
#include "fake_backend.h"

#include "zeromap.h"

#include <stdlib.h>
#include <string.h>

/* Three chunks and a part of one. */
#define BLOCKS (3 * 4096u + 1000u)

static unsigned char naive[BLOCKS];

static uint64_t
naive_find(uint64_t first, uint64_t end, unsigned states)
{
    while (first < end && (1u << naive[first] & states) == 0)
        first++;
    return first;
}

static uint64_t
naive_count(uint64_t first, uint64_t end, unsigned states)
{
    uint64_t count = 0;

    for (; first < end; first++)
        count += (1u << naive[first] & states) != 0;
    return count;
}

static void
naive_change(uint64_t first, uint64_t end, enum block_state from, enum block_state to)
{
    for (; first < end; first++) {
        if (naive[first] == from)
            naive[first] = (unsigned char)to;
    }
}

/* Borders of chunks more often than chance would have them. */
static uint64_t
some_block(uint64_t *seed, uint64_t max)
{
    uint64_t chance = random_next(seed);
    uint64_t block = chance % 4 == 0 ? (chance >> 8) % 4 * 4096 : (chance >> 8) % BLOCKS;

    return block < max ? block : max;
}

static struct zeromap *
fresh(uint64_t blocks)
{
    struct zeromap *map;

    assert_int_equal(zeromap_new(blocks, &map), 0);
    return map;
}

TEST(zeromap, a_new_map_knows_nothing)
{
    struct zeromap *map = fresh(BLOCKS);

    assert_int_equal(zeromap_get(map, 0), BLOCK_UNKNOWN);
    assert_int_equal(zeromap_get(map, BLOCKS - 1), BLOCK_UNKNOWN);
    assert_int_equal(zeromap_count_unknown(map, 0, BLOCKS, UINT64_MAX), BLOCKS);
    assert_int_equal(zeromap_find(map, 0, BLOCKS, 1u << BLOCK_ZERO | 1u << BLOCK_DATA), BLOCKS);
    assert_int_equal(zeromap_data_count(map), 0);
    zeromap_free(map);
}

TEST(zeromap, the_last_chunk_is_a_part_of_one)
{
    struct zeromap *map = fresh(BLOCKS);

    zeromap_change(map, 0, BLOCKS, BLOCK_UNKNOWN, BLOCK_DATA);
    assert_int_equal(zeromap_data_count(map), BLOCKS);
    assert_int_equal(zeromap_find(map, BLOCKS - 1, BLOCKS, 1u << BLOCK_DATA), BLOCKS - 1);
    zeromap_set(map, BLOCKS - 1, BLOCK_ZERO);
    assert_int_equal(zeromap_data_count(map), BLOCKS - 1);
    assert_int_equal(zeromap_find(map, 0, BLOCKS, 1u << BLOCK_ZERO), BLOCKS - 1);
    zeromap_change(map, 3 * 4096, BLOCKS, BLOCK_DATA, BLOCK_ZERO);
    assert_int_equal(zeromap_data_count(map), 3 * 4096);
    assert_int_equal(zeromap_find(map, 3 * 4096, BLOCKS, 1u << BLOCK_DATA), BLOCKS);
    zeromap_free(map);
}

TEST(zeromap, the_largest_disk_costs_little_and_is_searched_fast)
{
    struct zeromap *map = fresh(UINT32_MAX);

    zeromap_change(map, 0, UINT32_MAX, BLOCK_UNKNOWN, BLOCK_ZERO);
    zeromap_set(map, UINT32_MAX - 1, BLOCK_DATA);
    assert_int_equal(zeromap_find(map, 0, UINT32_MAX, 1u << BLOCK_DATA), UINT32_MAX - 1);
    assert_int_equal(zeromap_count_unknown(map, 0, UINT32_MAX, UINT64_MAX), 0);
    zeromap_free(map);
}

TEST(zeromap, counting_stops_at_enough)
{
    struct zeromap *map = fresh(BLOCKS);

    assert_int_equal(zeromap_count_unknown(map, 0, BLOCKS, 10), 10);
    zeromap_set(map, 5, BLOCK_ZERO);
    assert_int_equal(zeromap_count_unknown(map, 0, 8, 100), 7);
    assert_int_equal(zeromap_count_unknown(map, 0, 8, 3), 3);
    assert_int_equal(zeromap_count_unknown(map, 5, 6, 3), 0);
    zeromap_free(map);
}

TEST(zeromap, behaves_like_an_array)
{
    struct zeromap *map = fresh(BLOCKS);
    uint64_t seed = test_seed();

    memset(naive, BLOCK_UNKNOWN, sizeof naive);
    for (unsigned round = 0; round < 2000; round++) {
        uint64_t first = some_block(&seed, BLOCKS - 1);
        uint64_t end = some_block(&seed, BLOCKS);
        uint64_t chance = random_next(&seed);
        enum block_state from = chance % 3, to = (chance >> 8) % 3;
        unsigned states = (unsigned)(chance >> 16) % 7 + 1;
        uint64_t unknown;

        if (end < first)
            end = first;
        if (chance >> 32 & 1) {
            zeromap_set(map, first, to);
            naive[first] = (unsigned char)to;
        } else if (from != to && (chance >> 33) % 4 == 0) {
            zeromap_change(map, first, end, from, to);
            naive_change(first, end, from, to);
        }
        assert_int_equal(zeromap_get(map, first), naive[first]);
        assert_int_equal(zeromap_find(map, first, end, states), naive_find(first, end, states));
        unknown = naive_count(first, end, 1u << BLOCK_UNKNOWN);
        assert_int_equal(zeromap_count_unknown(map, first, end, UINT64_MAX), unknown);
        assert_int_equal(zeromap_count_unknown(map, first, end, 100),
                         unknown < 100 ? unknown : 100);
        assert_int_equal(zeromap_data_count(map), naive_count(0, BLOCKS, 1u << BLOCK_DATA));
        assert_int_equal(zeromap_zero_count(map), naive_count(0, BLOCKS, 1u << BLOCK_ZERO));
    }
    for (uint64_t block = 0; block < BLOCKS; block++)
        assert_int_equal(zeromap_get(map, block), naive[block]);
    zeromap_free(map);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(zeromap, a_new_map_knows_nothing),
        RUN(zeromap, the_last_chunk_is_a_part_of_one),
        RUN(zeromap, the_largest_disk_costs_little_and_is_searched_fast),
        RUN(zeromap, counting_stops_at_enough),
        RUN(zeromap, behaves_like_an_array),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
