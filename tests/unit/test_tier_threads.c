/* SPDX-License-Identifier: Apache-2.0 */
/* core/tier*.c with many threads at once: below the memory cache, over a store that answers late, in any order, and fails by
 * chance, with a cache file that is small, or fails.  Now and then the tier is stopped in the middle of everything, and goes
 * on. */
#include "fake_tier.h"
#include "hands.h"

#include <errno.h>
#include <stdlib.h>

struct setup {
    struct tier_config tier;
    uint32_t slots;
    unsigned blocks_max; /* of the memory cache */
    unsigned write_faults, sync_faults;
};

static void
begin(struct hand *hand, struct wish *wish, uint64_t block)
{
    if (hand_chance(hand, 4) == 0)
        hand_read(hand, wish, block, 0, SECTORS);
    else if (hand_chance(hand, 4) == 0)
        hand_read(hand, wish, block, hand->number, 1);
    else
        hand_write(hand, wish, block, hand->number * SECTOR_BYTES, SECTOR_BYTES);
}

static void
tick(void *arg, unsigned number)
{
    struct tiered *tiered = arg;

    clock_jump(tiered->pool, 200 * NS_PER_MS);
    tiered_nudge(tiered);
    if (number % 64 == 0) {
        tier_stop(tiered->store);
        tier_ending(tiered->store);
    }
}

static void
hammer(struct setup setup)
{
    static struct hands hands;
    uint64_t seed = test_seed();
    struct cache_config config = { .block_bytes = BLOCK_BYTES,
                                   .block_count = HANDS_BLOCKS,
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
    hands = (struct hands){ .store = cache,
                            .begin = begin,
                            .tick = tick,
                            .arg = tiered,
                            .rounds = getenv("BUCKETDISK_LONG") != NULL ? 10000 : 250,
                            .may_be_cancelled = true,
                            .is_sync = tiered->config.is_sync };
    hands_run(&hands, seed);
    hands_read_all(&hands);
    tier_ending(tiered->store);
    hands_flush_all(&hands, &tiered->below);
    assert_int_equal(tier_unsent(tiered->store), 0);
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
