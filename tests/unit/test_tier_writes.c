/* SPDX-License-Identifier: Apache-2.0 */
/* core/tier_writes.c: what is written into the cache file, and when that must wait. */
#include "fake_tier.h"

#include <errno.h>

/* A file that can hold so many blocks. */
static struct tiered *
small(struct tier_config config, uint32_t slots)
{
    return tiered_new(config, slots);
}

static void
flush_now(struct tiered *tiered)
{
    struct wish flush;

    ask_flush(tiered, &flush);
    expect_done(&flush, 0);
}

/* ---- over what the file has */

TEST(writes, over_none_they_are_based_on_nothing_known)
{
    struct tiered *tiered = tiered_usual();

    put(tiered, 3, 0, SECTORS, 0x11);
    expect_file(tiered, 3, CACHEFILE_DIRTY, ALL_SECTORS, CACHEFILE_UNKNOWN, "");
    put(tiered, 4, 1, 2, 0x11);
    expect_file(tiered, 4, CACHEFILE_DIRTY, 0x06, CACHEFILE_UNKNOWN, "");
    tiered_free(tiered);
}

TEST(writes, over_zeros_they_are_based_on_these)
{
    struct tiered *tiered = tiered_usual();

    below_is_zero(&tiered->below, 3);
    put(tiered, 3, 1, 2, 0x11);
    expect_file(tiered, 3, CACHEFILE_DIRTY, 0x06, CACHEFILE_ABSENT, "");
    tiered_free(tiered);
}

TEST(writes, over_what_the_store_has_they_are_completed_by_it)
{
    struct tiered *tiered = tiered_usual();

    keep(tiered, 3);
    put(tiered, 3, 1, 2, 0x11);
    expect_file(tiered, 3, CACHEFILE_DIRTY, ALL_SECTORS, CACHEFILE_TAG, "\"0\"");
    expect_kept(tiered, 3, 0, 1, stored_byte(3));
    expect_kept(tiered, 3, 1, 2, 0x11);
    expect_kept(tiered, 3, 3, 5, stored_byte(3));
    keep(tiered, 4);
    put(tiered, 4, 0, SECTORS, 0x11);
    expect_file(tiered, 4, CACHEFILE_DIRTY, ALL_SECTORS, CACHEFILE_TAG, "\"0\"");
    tiered_free(tiered);
}

TEST(writes, over_what_is_from_another_run_they_replace_it)
{
    struct tiered *tiered = tiered_usual();

    keep(tiered, 3);
    keep(tiered, 4);
    tiered_restart(tiered, END_ORDERLY);
    put(tiered, 3, 1, 2, 0x11);
    expect_file(tiered, 3, CACHEFILE_DIRTY, 0x06, CACHEFILE_UNKNOWN, "");
    put(tiered, 4, 0, SECTORS, 0x11);
    expect_file(tiered, 4, CACHEFILE_DIRTY, ALL_SECTORS, CACHEFILE_UNKNOWN, "");
    tiered_free(tiered);
}

TEST(writes, over_what_is_trusted_they_are_completed_by_it)
{
    struct tiered *tiered = tiered_new((struct tier_config){ .trusts_file = true }, 0);

    keep(tiered, 3);
    tiered_restart(tiered, END_ORDERLY);
    put(tiered, 3, 1, 2, 0x11);
    expect_file(tiered, 3, CACHEFILE_DIRTY, ALL_SECTORS, CACHEFILE_TAG, "\"0\"");
    expect_kept(tiered, 3, 0, 1, stored_byte(3));
    tiered_free(tiered);
}

TEST(writes, over_what_is_dirty_both_are_kept_on_the_same_version)
{
    struct tiered *tiered = tiered_usual();

    below_is_zero(&tiered->below, 3);
    put(tiered, 3, 1, 2, 0x11);
    put(tiered, 3, 2, 3, 0x22);
    expect_file(tiered, 3, CACHEFILE_DIRTY, 0x1e, CACHEFILE_ABSENT, "");
    put(tiered, 3, 0, 1, 0x33);
    put(tiered, 3, 5, 3, 0x44);
    expect_file(tiered, 3, CACHEFILE_DIRTY, ALL_SECTORS, CACHEFILE_ABSENT, "");
    expect_kept(tiered, 3, 0, 1, 0x33);
    expect_kept(tiered, 3, 1, 1, 0x11);
    expect_kept(tiered, 3, 2, 3, 0x22);
    expect_kept(tiered, 3, 5, 3, 0x44);
    put(tiered, 3, 0, SECTORS, 0x55);
    expect_file(tiered, 3, CACHEFILE_DIRTY, ALL_SECTORS, CACHEFILE_ABSENT, "");
    expect_kept(tiered, 3, 0, SECTORS, 0x55);
    tiered_free(tiered);
}

TEST(writes, over_what_is_dirty_and_damaged_only_whole_blocks_are_taken)
{
    struct tiered *tiered = tiered_usual();
    struct wish write;

    put(tiered, 3, 0, SECTORS, 0x11);
    disk_rots(tiered);
    ask_write(tiered, &write, 3, 1, 2, 0x22);
    expect_done(&write, -EIO);
    put(tiered, 3, 0, SECTORS, 0x33);
    expect_kept(tiered, 3, 0, SECTORS, 0x33);
    tiered_free(tiered);
}

TEST(writes, over_what_is_clean_and_damaged_they_replace_it)
{
    struct tiered *tiered = tiered_usual();

    keep(tiered, 3);
    disk_rots(tiered);
    put(tiered, 3, 1, 2, 0x22);
    expect_file(tiered, 3, CACHEFILE_DIRTY, 0x06, CACHEFILE_UNKNOWN, "");
    tiered_free(tiered);
}

/* ---- is_sync */

TEST(sync, a_write_is_done_when_the_store_has_it_and_the_file_has_it_clean)
{
    struct tiered *tiered = tiered_new((struct tier_config){ .is_sync = true }, 0);
    struct wish write;

    ask_write(tiered, &write, 3, 0, SECTORS, 0x11);
    expect_waits(tiered, &write);
    answer_write(tiered, 3, 0);
    expect_done(&write, 0);
    expect_file(tiered, 3, CACHEFILE_CLEAN, ALL_SECTORS, CACHEFILE_TAG, "\"1\"");
    expect_kept(tiered, 3, 0, SECTORS, 0x11);
    ask_write(tiered, &write, 3, 2, 1, 0x22);
    below_answer(&tiered->below, STORE_READ, 3, 0);
    answer_write(tiered, 3, 0);
    expect_done(&write, 0);
    expect_kept(tiered, 3, 0, 2, 0x11);
    expect_kept(tiered, 3, 2, 1, 0x22);
    expect_stored(tiered, 3, 2, 1, 0x22);
    tiered->below.is_silent = true;
    ask_write(tiered, &write, 3, 0, SECTORS, 0x33);
    answer_write(tiered, 3, 0);
    expect_done(&write, 0);
    expect_no_file(tiered, 3);
    tiered_free(tiered);
}

/* Of an earlier run, which was not. */
static struct tiered *
sync_over_dirty(void)
{
    struct tiered *tiered = tiered_new((struct tier_config){ .durability = TIER_FILE }, 0);

    put(tiered, 3, 0, 2, 0x11);
    put(tiered, 4, 0, SECTORS, 0x11);
    flush_now(tiered);
    tiered->config.is_sync = true;
    tiered_restart(tiered, END_POWER_CUT);
    return tiered;
}

TEST(sync, after_a_power_cut_nothing_older_is_sent)
{
    struct tiered *tiered = sync_over_dirty();
    struct wish write;

    ask_write(tiered, &write, 3, 1, 2, 0x22);
    below_answer(&tiered->below, STORE_READ, 3, 0);
    answer_write(tiered, 3, 0);
    expect_done(&write, 0);
    expect_stored(tiered, 3, 0, 1, 0x11);
    expect_stored(tiered, 3, 1, 2, 0x22);
    tiered_restart(tiered, END_POWER_CUT);
    assert_int_equal(tier_unsent(tiered->store), 1);
    tiered_free(tiered);
}

/* The file knew that it was stored, but not durably. */
TEST(sync, after_a_power_cut_nothing_older_that_was_sent_is_sent_again)
{
    struct tiered *tiered = sync_over_dirty();
    struct wish write;

    tiered_sleep(tiered, TIER_DELAY_NS);
    answer_write(tiered, 4, 0);
    below_answer(&tiered->below, STORE_READ, 3, 0);
    answer_write(tiered, 3, 0);
    ask_write(tiered, &write, 4, 0, SECTORS, 0x22);
    answer_write(tiered, 4, 0);
    expect_done(&write, 0);
    tiered_restart(tiered, END_POWER_CUT);
    assert_int_equal(tier_unsent(tiered->store), 0);
    tiered_free(tiered);
}

TEST(sync, a_write_does_not_wait_for_others_nor_get_their_errors)
{
    struct tiered *tiered = sync_over_dirty();
    struct wish write;

    ask_write(tiered, &write, 5, 0, SECTORS, 0x22);
    answer_write(tiered, 5, 0);
    expect_done(&write, 0);
    assert_int_equal(tier_unsent(tiered->store), 2);
    tiered_free(tiered);
}

TEST(sync, a_write_gets_the_error_of_the_store)
{
    struct tiered *tiered = tiered_new((struct tier_config){ .is_sync = true }, 0);
    struct wish write;

    ask_write(tiered, &write, 3, 0, SECTORS, 0x11);
    answer_write(tiered, 3, -ENOSPC);
    expect_done(&write, -ENOSPC);
    tiered_free(tiered);
}

TEST(sync, after_a_power_cut_what_was_zeroed_does_not_come_back)
{
    struct tiered *tiered = sync_over_dirty();
    struct wish zero;

    ask_zero(tiered, &zero, 3, 1);
    below_answer(&tiered->below, STORE_ZERO, 3, 0);
    expect_done(&zero, 0);
    tiered_restart(tiered, END_POWER_CUT);
    expect_no_file(tiered, 3);
    assert_true(cachefile_holds(tiered->file, 4));
    tiered_free(tiered);
}

/* ---- room */

TEST(room, who_finds_the_file_full_waits_until_something_is_stored)
{
    struct tiered *tiered = small((struct tier_config){ 0 }, 2);
    struct wish writes[2];

    put(tiered, 1, 0, SECTORS, 0x11);
    put(tiered, 2, 0, SECTORS, 0x22);
    ask_write(tiered, &writes[0], 3, 0, SECTORS, 0x33);
    ask_write(tiered, &writes[1], 4, 0, SECTORS, 0x44);
    expect_waits(tiered, &writes[0]);
    assert_int_equal(tiered_counter(tiered, "cache_file_waits"), 2);
    answer_write(tiered, 1, 0);
    assert_true(wish_is_done(&writes[0]) != wish_is_done(&writes[1]));
    answer_write(tiered, 2, 0);
    expect_done(&writes[0], 0);
    expect_done(&writes[1], 0);
    below_mode(&tiered->below, BELOW_ANSWERS);
    below_answer(&tiered->below, STORE_WRITE, ANY_BLOCK, 0);
    expect_kept(tiered, 3, 0, SECTORS, 0x33);
    tiered_free(tiered);
}

/* It needs a slot, too. */
TEST(room, who_writes_again_waits_too)
{
    struct tiered *tiered = small((struct tier_config){ 0 }, 1);
    struct wish write;

    put(tiered, 1, 0, SECTORS, 0x11);
    ask_write(tiered, &write, 1, 0, 1, 0x22);
    answer_write(tiered, 1, 0);
    expect_done(&write, 0);
    expect_file(tiered, 1, CACHEFILE_DIRTY, ALL_SECTORS, CACHEFILE_TAG, "\"1\"");
    tiered_free(tiered);
}

TEST(room, clean_blocks_make_it)
{
    struct tiered *tiered = small((struct tier_config){ 0 }, 2);

    keep(tiered, 1);
    keep(tiered, 2);
    put(tiered, 3, 0, SECTORS, 0x33);
    put(tiered, 4, 0, SECTORS, 0x44);
    expect_no_file(tiered, 1);
    expect_no_file(tiered, 2);
    tiered_free(tiered);
}

TEST(room, a_zero_makes_it)
{
    struct tiered *tiered = small((struct tier_config){ 0 }, 1);
    struct wish write, zero;

    put(tiered, 1, 0, SECTORS, 0x11);
    ask_write(tiered, &write, 2, 0, SECTORS, 0x22);
    expect_waits(tiered, &write);
    ask_zero(tiered, &zero, 1, 1);
    answer_write(tiered, 1, -EIO);
    below_answer(&tiered->below, STORE_ZERO, 1, 0);
    expect_done(&zero, 0);
    expect_done(&write, 0);
    tiered_free(tiered);
}

TEST(room, who_waits_for_too_long_while_nothing_can_be_stored_fails)
{
    struct tiered *tiered = small((struct tier_config){ .stall_ns = 30 * NS_PER_S }, 1);
    struct wish write;

    put(tiered, 1, 0, SECTORS, 0x11);
    ask_write(tiered, &write, 2, 0, SECTORS, 0x22);
    tiered_settle(tiered);
    for (unsigned i = 0; i < 5; i++) {
        answer_write(tiered, 1, -EIO);
        expect_waits(tiered, &write);
        tiered_sleep(tiered, 5 * NS_PER_S + NS_PER_MS);
    }
    expect_waits(tiered, &write);
    tiered_sleep(tiered, 5 * NS_PER_S);
    expect_done(&write, -EIO);
    answer_write(tiered, 1, 0);
    put(tiered, 2, 0, SECTORS, 0x22);
    tiered_free(tiered);
}

/* A slow store makes room, too. */
TEST(room, who_waits_while_something_is_stored_does_not_fail)
{
    struct tiered *tiered =
        small((struct tier_config){ .stall_ns = 30 * NS_PER_S, .unsent_max_ns = NS_PER_S }, 8);
    struct wish write;

    for (uint64_t block = 1; block <= 4; block++)
        put(tiered, block, 0, SECTORS, 0x11);
    tiered_sleep(tiered, 2 * NS_PER_S);
    ask_write(tiered, &write, 5, 0, SECTORS, 0x22);
    for (uint64_t block = 1; block <= 4; block++) {
        expect_waits(tiered, &write);
        tiered_sleep(tiered, 20 * NS_PER_S);
        answer_write(tiered, block, 0);
    }
    expect_done(&write, 0);
    tiered_free(tiered);
}

TEST(room, who_may_wait_for_ever_does)
{
    struct tiered *tiered = small((struct tier_config){ 0 }, 1);
    struct wish write;

    put(tiered, 1, 0, SECTORS, 0x11);
    ask_write(tiered, &write, 2, 0, SECTORS, 0x22);
    tiered_sleep(tiered, EVER_NS);
    expect_waits(tiered, &write);
    answer_write(tiered, 1, 0);
    expect_done(&write, 0);
    tiered_free(tiered);
}

TEST(room, who_waits_is_told_of_a_stop_and_of_a_loss)
{
    struct tiered *tiered = small((struct tier_config){ 0 }, 1);
    struct asked *flight;
    struct wish write;

    put(tiered, 1, 0, SECTORS, 0x11);
    ask_write(tiered, &write, 2, 0, SECTORS, 0x22);
    answer_write(tiered, 1, -EIO);
    expect_waits(tiered, &write);
    tier_stop(tiered->store);
    expect_done(&write, -ECANCELED);
    ask_write(tiered, &write, 2, 0, SECTORS, 0x22);
    expect_done(&write, -ECANCELED);
    tier_ending(tiered->store);
    flight = flight_of(tiered, 1);
    ask_write(tiered, &write, 2, 0, SECTORS, 0x22);
    expect_waits(tiered, &write);
    asked_answer(flight, -EROFS);
    expect_done(&write, -EROFS);
    tiered_give_up(tiered);
}

/* ---- age */

TEST(age, writers_are_slowed_and_stopped)
{
    struct tiered *tiered = tiered_new(
        (struct tier_config){ .unsent_max_ns = 40 * NS_PER_S, .write_delay_ns = EVER_NS }, 0);
    struct wish write;

    put(tiered, 1, 0, SECTORS, 0x11);
    tiered_sleep(tiered, 20 * NS_PER_S);
    put(tiered, 2, 0, SECTORS, 0x11);
    assert_int_equal(tiered_counter(tiered, "cache_file_waits"), 0);
    tiered_sleep(tiered, 15 * NS_PER_S);
    ask_write(tiered, &write, 3, 0, SECTORS, 0x22);
    tiered_settle(tiered);
    assert_int_equal(tiered_counter(tiered, "cache_file_waits"), 1);
    tiered_sleep(tiered, NS_PER_S / 4);
    expect_done(&write, 0);
    tiered_sleep(tiered, 5 * NS_PER_S);
    ask_write(tiered, &write, 4, 0, SECTORS, 0x22);
    expect_waits(tiered, &write);
    assert_int_equal(tiered_counter(tiered, "cache_file_waits"), 2);
    answer_write(tiered, 1, 0);
    expect_done(&write, 0);
    answer_write(tiered, 2, 0);
    answer_write(tiered, 3, 0);
    tiered_free(tiered);
}

/* All that is let in by then would be old before its turn came, if the store is slow. */
TEST(age, few_are_let_in_before_anything_is_known_of_the_store)
{
    struct tiered *tiered = tiered_new(
        (struct tier_config){ .unsent_max_ns = 64 * NS_PER_S, .write_delay_ns = EVER_NS }, 0);
    struct wish write;
    unsigned count = 0;

    for (;; count++) {
        ask_write(tiered, &write, count, 0, SECTORS, 0x11);
        tiered_settle(tiered);
        tiered_sleep(tiered, NS_PER_S / 4);
        if (!wish_is_done(&write))
            break;
        assert_int_equal(wish_end(&write), 0);
    }
    assert_in_range(count, 16, 31);
    for (unsigned i = 0; i < count; i++)
        answer_write(tiered, i, 0);
    expect_done(&write, 0);
    answer_write(tiered, count, 0);
    tiered_free(tiered);
}

TEST(age, nothing_waits_to_be_sent_for_long_when_it_may_not_grow_old)
{
    struct tiered *tiered = tiered_new(
        (struct tier_config){ .unsent_max_ns = 40 * NS_PER_S, .write_delay_ns = EVER_NS }, 0);

    put(tiered, 1, 0, SECTORS, 0x11);
    tiered_sleep(tiered, 9 * NS_PER_S);
    below_expect_nothing(&tiered->below);
    tiered_sleep(tiered, NS_PER_S);
    answer_write(tiered, 1, 0);
    tiered_free(tiered);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(writes, over_none_they_are_based_on_nothing_known),
        RUN(writes, over_zeros_they_are_based_on_these),
        RUN(writes, over_what_the_store_has_they_are_completed_by_it),
        RUN(writes, over_what_is_from_another_run_they_replace_it),
        RUN(writes, over_what_is_trusted_they_are_completed_by_it),
        RUN(writes, over_what_is_dirty_both_are_kept_on_the_same_version),
        RUN(writes, over_what_is_dirty_and_damaged_only_whole_blocks_are_taken),
        RUN(writes, over_what_is_clean_and_damaged_they_replace_it),
        RUN(sync, a_write_is_done_when_the_store_has_it_and_the_file_has_it_clean),
        RUN(sync, after_a_power_cut_nothing_older_is_sent),
        RUN(sync, after_a_power_cut_nothing_older_that_was_sent_is_sent_again),
        RUN(sync, a_write_does_not_wait_for_others_nor_get_their_errors),
        RUN(sync, a_write_gets_the_error_of_the_store),
        RUN(sync, after_a_power_cut_what_was_zeroed_does_not_come_back),
        RUN(room, who_finds_the_file_full_waits_until_something_is_stored),
        RUN(room, who_writes_again_waits_too),
        RUN(room, clean_blocks_make_it),
        RUN(room, a_zero_makes_it),
        RUN(room, who_waits_for_too_long_while_nothing_can_be_stored_fails),
        RUN(room, who_waits_while_something_is_stored_does_not_fail),
        RUN(room, who_may_wait_for_ever_does),
        RUN(room, who_waits_is_told_of_a_stop_and_of_a_loss),
        RUN(age, writers_are_slowed_and_stopped),
        RUN(age, few_are_let_in_before_anything_is_known_of_the_store),
        RUN(age, nothing_waits_to_be_sent_for_long_when_it_may_not_grow_old),
    };

    return cmocka_run_group_tests_name("tier_writes", tests, NULL, NULL);
}
