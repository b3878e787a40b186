/* SPDX-License-Identifier: Apache-2.0 */
/* core/cache.c with many threads at once over a layer below that answers late, in any order, and fails by chance. */
#include "hands.h"

#include <stdlib.h>

static void
begin(struct hand *hand, struct wish *wish, uint64_t block)
{
    uint32_t offset;

    switch (hand_chance(hand, 5)) {
    case 0:
        hand_read(hand, wish, block, 0, SECTORS);
        break;
    case 1:
        hand_read(hand, wish, block, hand->number, 1);
        break;
    case 2:
        offset = (uint32_t)hand_chance(hand, SECTOR_BYTES);
        hand_write(hand, wish, block, hand->number * SECTOR_BYTES + offset,
                   1 + (uint32_t)hand_chance(hand, SECTOR_BYTES - offset));
        break;
    default:
        hand_write(hand, wish, block, hand->number * SECTOR_BYTES, SECTOR_BYTES);
        break;
    }
}

static void
tick(void *arg, unsigned number)
{
    struct cached *cached = arg;

    (void)number;
    clock_jump(cached->pool, 200 * NS_PER_MS);
}

static void
hammer(struct cache_config config)
{
    static struct hands hands;
    uint64_t seed = test_seed();
    struct cached *cached;

    config.block_count = HANDS_BLOCKS;
    config.write_delay_ns = 250 * NS_PER_MS;
    cached = cached_new_with(config, 3);
    cached->below.seed = seed;
    cached->below.fail_one_in = 100;
    below_mode(&cached->below, BELOW_WANDERS);
    hands = (struct hands){ .store = cached->store,
                            .begin = begin,
                            .tick = tick,
                            .arg = cached,
                            .rounds = getenv("BUCKETDISK_LONG") != NULL ? 10000 : 400 };
    hands_run(&hands, seed);
    hands_read_all(&hands);
    hands_flush_all(&hands, &cached->below);
    assert_int_equal(cached_gauge(cached, "dirty_blocks"), 0);
    cached_free(cached);
}

TEST(threads, a_cache_of_one_block_loses_nothing)
{
    hammer((struct cache_config){ .blocks_max = 1 });
}

TEST(threads, a_small_cache_loses_nothing)
{
    hammer((struct cache_config){ .blocks_max = 5, .in_flight_max = 3, .idle_ns = NS_PER_S });
}

TEST(threads, a_small_cache_with_protected_blocks_loses_nothing)
{
    hammer((struct cache_config){ .blocks_max = 5, .in_flight_max = 3, .protected_count = 2 });
}

TEST(threads, a_cache_that_reads_ahead_loses_nothing)
{
    hammer((struct cache_config){
        .blocks_max = 12, .read_ahead_max = CACHE_READ_AHEAD_ADAPTIVE, .read_ahead_trigger = 1 });
}

TEST(threads, a_cache_with_a_low_limit_of_dirty_blocks_loses_nothing)
{
    hammer((struct cache_config){ .blocks_max = 24, .dirty_max = 2 });
}

TEST(threads, a_cache_that_slows_writers_loses_nothing)
{
    hammer((struct cache_config){ .blocks_max = 24, .dirty_max = 16, .in_flight_max = 2 });
}

TEST(threads, a_cache_larger_than_the_disk_loses_nothing)
{
    hammer((struct cache_config){ .blocks_max = 100 });
}

TEST(threads, a_cache_over_a_layer_that_takes_parts_loses_nothing)
{
    hammer((struct cache_config){ .blocks_max = 1, .next_takes_parts = true });
    hammer((struct cache_config){
        .blocks_max = 5, .in_flight_max = 3, .idle_ns = NS_PER_S, .next_takes_parts = true });
    hammer((struct cache_config){ .blocks_max = 24,
                                  .dirty_max = 16,
                                  .in_flight_max = 2,
                                  .read_ahead_max = CACHE_READ_AHEAD_ADAPTIVE,
                                  .read_ahead_trigger = 1,
                                  .next_takes_parts = true });
    hammer((struct cache_config){ .blocks_max = 100, .next_takes_parts = true });
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(threads, a_cache_of_one_block_loses_nothing),
        RUN(threads, a_small_cache_loses_nothing),
        RUN(threads, a_small_cache_with_protected_blocks_loses_nothing),
        RUN(threads, a_cache_that_reads_ahead_loses_nothing),
        RUN(threads, a_cache_with_a_low_limit_of_dirty_blocks_loses_nothing),
        RUN(threads, a_cache_that_slows_writers_loses_nothing),
        RUN(threads, a_cache_larger_than_the_disk_loses_nothing),
        RUN(threads, a_cache_over_a_layer_that_takes_parts_loses_nothing),
    };

    return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
