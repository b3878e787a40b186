/* SPDX-License-Identifier: Apache-2.0 */
/* core/tier*.c with many threads at once: below the memory cache, over a store that answers late, in any order, and fails by
 * chance, with a cache file that is small, or fails.
 *
 * As test_cache_threads.c: each thread owns one sector of every block; what concerns whole blocks is done by one thread
 * while no other has a request under way.  Now and then the tier is stopped in the middle of everything, and goes on. */
#include "fake_tier.h"

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
    struct store *store;
    struct model *model;
    pthread_rwlock_t *alone;
    atomic_uint *busy; /* threads */
    pthread_t thread;
    bool is_sync;
    unsigned number, rounds;
    uint64_t seed;
    char problem[200]; /* the first one */
    struct wish wishes[BATCH_MAX];
};

struct setup {
    struct tier_config tier;
    uint32_t slots;
    unsigned blocks_max; /* of the memory cache */
    unsigned write_faults, sync_faults;
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

static void
begin(struct hand *hand, struct wish *wish, enum store_op op, uint64_t block, uint32_t sector,
      uint32_t sectors)
{
    memset(wish->data, (int)chance(hand, 256), sizeof wish->data);
    wish_submit(hand->store, wish,
                (struct store_req){ .op = op,
                                    .block = block,
                                    .offset = sector * SECTOR_BYTES,
                                    .bytes = sectors * SECTOR_BYTES,
                                    .data = wish->data });
}

/* With is_sync the memory cache may have taken what failed all the same: then it is written until it is there. */
static int
end_of(struct hand *hand, struct wish *wish)
{
    int rc;

    while ((rc = wish_end(wish)) != 0 && hand->is_sync && wish->req.op != STORE_READ)
        wish_submit(hand->store, wish, wish->req);
    return rc;
}

/* Else what failed has changed nothing. */
static void
end_one(struct hand *hand, struct wish *wish)
{
    const struct store_req *req = &wish->req;
    uint32_t own = hand->number * SECTOR_BYTES;
    int rc = end_of(hand, wish);

    check(hand, rc == 0 || rc == -EIO || rc == -ECANCELED, "an error of nobody", req->block);
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

    for (unsigned i = 0; i < count; i++) {
        if (chance(hand, 4) == 0)
            begin(hand, &hand->wishes[i], STORE_READ, (block + i) % BLOCKS, 0, SECTORS);
        else
            begin(hand, &hand->wishes[i], chance(hand, 4) == 0 ? STORE_READ : STORE_WRITE,
                  (block + i) % BLOCKS, hand->number, 1);
    }
    for (unsigned i = 0; i < count; i++)
        end_one(hand, &hand->wishes[i]);
}

static void
whole_blocks(struct hand *hand)
{
    uint64_t block = chance(hand, BLOCKS), count = 1 + chance(hand, BLOCKS - block);
    struct wish *wish = &hand->wishes[0];

    if (chance(hand, 2) == 0) {
        wish_submit(hand->store, wish,
                    (struct store_req){ .op = STORE_ZERO, .block = block, .count = count });
        check(hand, end_of(hand, wish) == 0, "was not zeroed", block);
        memset(hand->model->data[block], 0, count * BLOCK_BYTES);
    } else {
        begin(hand, wish, STORE_WRITE, block, 0, SECTORS);
        check(hand, end_of(hand, wish) == 0, "was not written", block);
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
            wish_submit(hand->store, &hand->wishes[0], (struct store_req){ .op = STORE_FLUSH });
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
flush_all(struct store *store)
{
    struct wish flush;

    do
        wish_submit(store, &flush, (struct store_req){ .op = STORE_FLUSH });
    while (wish_end(&flush) != 0);
}

static void
run_hands(struct tiered *tiered, struct store *cache, struct model *model, uint64_t seed)
{
    static struct hand hands[THREADS];
    pthread_rwlock_t alone = PTHREAD_RWLOCK_INITIALIZER;
    atomic_uint busy = THREADS;

    for (unsigned i = 0; i < THREADS; i++) {
        hands[i] = (struct hand){ .store = cache,
                                  .model = model,
                                  .alone = &alone,
                                  .busy = &busy,
                                  .is_sync = tiered->config.is_sync,
                                  .number = i,
                                  .rounds = getenv("BUCKETDISK_LONG") != NULL ? 10000 : 250,
                                  .seed = random_next(&seed) };
        assert_int_equal(pthread_create(&hands[i].thread, NULL, work, &hands[i]), 0);
    }
    for (unsigned tick = 1; atomic_load(&busy) > 0; tick++) {
        clock_jump(tiered->pool, 200 * NS_PER_MS);
        tiered_nudge(tiered);
        usleep(TICK_US);
        if (tick % 64 == 0) {
            tier_stop(tiered->store);
            tier_ending(tiered->store);
        }
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(hands[i].thread, NULL), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_string_equal(hands[i].problem, "");
}

static void
hammer(struct setup setup)
{
    static struct model model;
    uint64_t seed = test_seed();
    struct cache_config config = { .block_bytes = BLOCK_BYTES,
                                   .block_count = BLOCKS,
                                   .blocks_max = setup.blocks_max,
                                   .write_delay_ns = 100 * NS_PER_MS,
                                   .write_delay_max_ns = 100 * NS_PER_MS,
                                   .in_flight_max = 8,
                                   .is_sync = setup.tier.is_sync,
                                   .next_takes_parts = true };
    struct tiered *tiered;
    struct store *cache;

    setup.tier.write_delay_ns = 250 * NS_PER_MS;
    tiered = tiered_new(setup.tier, setup.slots);
    assert_int_equal(cache_new(&config, tiered->store, tiered->pool, tiered->stats, &cache), 0);
    tiered->below.seed = tiered->disk.seed = seed;
    tiered->below.fail_one_in = 100;
    below_mode(&tiered->below, BELOW_WANDERS);
    disk_fails(tiered, setup.write_faults, setup.sync_faults, -EIO);
    for (uint64_t block = 0; block < BLOCKS; block++)
        memset(model.data[block], stored_byte(block), BLOCK_BYTES);
    run_hands(tiered, cache, &model, seed);

    for (uint64_t block = 0; block < BLOCKS; block++) {
        struct wish read;

        do {
            memset(read.data, 0xee, sizeof read.data);
            wish_submit(
                cache, &read,
                (struct store_req){
                    .op = STORE_READ, .block = block, .bytes = BLOCK_BYTES, .data = read.data });
        } while (wish_end(&read) != 0);
        assert_memory_equal(read.data, model.data[block], BLOCK_BYTES);
    }
    tier_ending(tiered->store);
    flush_all(cache);
    assert_int_equal(tier_unsent(tiered->store), 0);
    assert_memory_equal(tiered->below.data, model.data, sizeof model.data);
    cache_free(cache);
    tiered_free(tiered);
}

TEST(threads, a_file_of_few_blocks_loses_nothing)
{
    hammer((struct setup){ .slots = 3, .blocks_max = 5 });
}

TEST(threads, a_file_larger_than_the_disk_loses_nothing)
{
    hammer((struct setup){ .slots = 100, .blocks_max = 5, .tier.in_flight_max = 3 });
}

TEST(threads, a_file_that_is_durable_loses_nothing)
{
    hammer((struct setup){ .slots = 30,
                           .blocks_max = 24,
                           .tier.durability = TIER_FILE,
                           .tier.unsent_max_ns = 2 * NS_PER_S });
}

TEST(threads, who_is_sync_loses_nothing)
{
    hammer((struct setup){ .slots = 10, .blocks_max = 8, .tier.is_sync = true });
}

TEST(threads, a_file_that_fails_loses_nothing)
{
    hammer((struct setup){ .slots = 30, .blocks_max = 4, .write_faults = 2 });
}

TEST(threads, a_file_that_cannot_be_synced_loses_nothing)
{
    hammer((struct setup){ .slots = 30, .blocks_max = 4, .sync_faults = 100 });
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(threads, a_file_of_few_blocks_loses_nothing),
        RUN(threads, a_file_larger_than_the_disk_loses_nothing),
        RUN(threads, a_file_that_is_durable_loses_nothing),
        RUN(threads, who_is_sync_loses_nothing),
        RUN(threads, a_file_that_fails_loses_nothing),
        RUN(threads, a_file_that_cannot_be_synced_loses_nothing),
    };

    return cmocka_run_group_tests_name("tier_threads", tests, NULL, NULL);
}
