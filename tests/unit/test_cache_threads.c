/* SPDX-License-Identifier: Apache-2.0 */
/* core/cache.c with many threads at once over a layer below that answers late, in any order, and fails by chance.
 *
 * Each thread owns one sector of every block, which nobody else writes, so that it knows what must be there.
 * Whole blocks are written and zeroed too: by one thread at a time, while no other has a request under way. */
#include "fake_store.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS SECTORS
#define BLOCKS 24u
#define BATCH_MAX 4u
#define TICK_US 2000

struct model {
    unsigned char data[BLOCKS][BLOCK_BYTES];
};

struct hand {
    struct cached *cached;
    struct model *model;
    pthread_rwlock_t *alone;
    atomic_uint *busy; /* threads */
    pthread_t thread;
    unsigned number, rounds;
    uint64_t seed;
    char problem[200]; /* the first one */
    struct wish wishes[BATCH_MAX];
};

static uint64_t
chance(struct hand *hand, uint64_t below)
{
    return random_next(&hand->seed) % below;
}

static void
check(struct hand *hand, bool is_right, const char *what, uint64_t block)
{
    if (!is_right && hand->problem[0] == '\0')
        snprintf(hand->problem, sizeof hand->problem, "thread %u, block %ju: %s", hand->number,
                 (uintmax_t)block, what);
}

static unsigned char *
own_sector(struct hand *hand, uint64_t block)
{
    return &hand->model->data[block][hand->number * SECTOR_BYTES];
}

/* ---- one request, of which the thread knows what it must give */

static void
begin_one(struct hand *hand, struct wish *wish, uint64_t block)
{
    uint32_t offset, bytes;

    switch (chance(hand, 5)) {
    case 0:
        wish_read(hand->cached, wish, block, 0, SECTORS);
        break;
    case 1:
        wish_read(hand->cached, wish, block, hand->number, 1);
        break;
    case 2:
        offset = (uint32_t)chance(hand, SECTOR_BYTES);
        bytes = 1 + (uint32_t)chance(hand, SECTOR_BYTES - offset);
        wish_write_bytes(hand->cached, wish, block, hand->number * SECTOR_BYTES + offset, bytes,
                         (unsigned char)chance(hand, 256));
        break;
    default:
        wish_write(hand->cached, wish, block, hand->number, 1, (unsigned char)chance(hand, 256));
        break;
    }
}

/* What failed has changed nothing. */
static void
end_one(struct hand *hand, struct wish *wish)
{
    const struct store_req *req = &wish->req;
    uint32_t own = hand->number * SECTOR_BYTES;
    int rc = wish_end(wish);

    check(hand, rc == 0 || rc == -EIO, "another error than the store's", req->block);
    if (rc != 0)
        return;
    if (req->op == STORE_READ)
        check(hand,
              memcmp(wish->data + own - req->offset, own_sector(hand, req->block), SECTOR_BYTES)
                  == 0,
              "read something else than was written", req->block);
    else
        memcpy(&hand->model->data[req->block][req->offset], wish->data, req->bytes);
}

static void
batch(struct hand *hand)
{
    unsigned count = 1 + (unsigned)chance(hand, BATCH_MAX);
    uint64_t block = chance(hand, BLOCKS);

    for (unsigned i = 0; i < count; i++)
        begin_one(hand, &hand->wishes[i], (block + i) % BLOCKS);
    for (unsigned i = 0; i < count; i++)
        end_one(hand, &hand->wishes[i]);
}

static void
whole_blocks(struct hand *hand)
{
    uint64_t block = chance(hand, BLOCKS), count = 1 + chance(hand, BLOCKS - block);
    struct wish *wish = &hand->wishes[0];

    if (chance(hand, 2) == 0) {
        wish_zero(hand->cached, wish, block, count);
        check(hand, wish_end(wish) == 0, "was not zeroed", block);
        memset(hand->model->data[block], 0, count * BLOCK_BYTES);
    } else {
        wish_write(hand->cached, wish, block, 0, SECTORS, (unsigned char)chance(hand, 256));
        check(hand, wish_end(wish) == 0, "was not written", block);
        memcpy(hand->model->data[block], wish->data, BLOCK_BYTES);
    }
}

static void *
work(void *arg)
{
    struct hand *hand = arg;

    for (unsigned round = 0; round < hand->rounds; round++) {
        if (chance(hand, 30) == 0) {
            pthread_rwlock_wrlock(hand->alone);
            whole_blocks(hand);
            pthread_rwlock_unlock(hand->alone);
        } else if (chance(hand, 30) == 0) {
            wish_flush(hand->cached, &hand->wishes[0]);
            wish_end(&hand->wishes[0]);
        } else {
            pthread_rwlock_rdlock(hand->alone);
            batch(hand);
            pthread_rwlock_unlock(hand->alone);
        }
    }
    atomic_fetch_sub(hand->busy, 1);
    return NULL;
}

static void
hammer(struct cache_config config)
{
    static struct model model;
    static struct hand hands[THREADS];
    pthread_rwlock_t alone = PTHREAD_RWLOCK_INITIALIZER;
    atomic_uint busy = THREADS;
    uint64_t seed = test_seed();
    struct cached *cached;
    struct wish flush;

    config.block_count = BLOCKS;
    config.write_delay_ns = 250 * NS_PER_MS;
    cached = cached_new_with(config, 3);
    cached->below.seed = seed;
    cached->below.fail_one_in = 100;
    below_mode(&cached->below, BELOW_WANDERS);
    for (uint64_t block = 0; block < BLOCKS; block++)
        memset(model.data[block], stored_byte(block), BLOCK_BYTES);
    for (unsigned i = 0; i < THREADS; i++) {
        hands[i] = (struct hand){ .cached = cached,
                                  .model = &model,
                                  .alone = &alone,
                                  .busy = &busy,
                                  .number = i,
                                  .rounds = getenv("BUCKETDISK_LONG") != NULL ? 10000 : 400,
                                  .seed = random_next(&seed) };
        assert_int_equal(pthread_create(&hands[i].thread, NULL, work, &hands[i]), 0);
    }
    /* Time flies, so that delays and pauses are no wait. */
    while (atomic_load(&busy) > 0) {
        clock_jump(cached->pool, 200 * NS_PER_MS);
        usleep(TICK_US);
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(hands[i].thread, NULL), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_string_equal(hands[i].problem, "");
    for (uint64_t block = 0; block < BLOCKS; block++) {
        struct wish read;

        do
            wish_read(cached, &read, block, 0, SECTORS);
        while (wish_end(&read) != 0);
        assert_memory_equal(read.data, model.data[block], BLOCK_BYTES);
    }
    do
        wish_flush(cached, &flush);
    while (wish_end(&flush) != 0);
    assert_int_equal(cached_gauge(cached, "dirty_blocks"), 0);
    assert_memory_equal(cached->below.data, model.data, sizeof model.data);
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
