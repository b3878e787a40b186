/* SPDX-License-Identifier: Apache-2.0 */
/* core/tier_sending.c: in which order what the file has is sent, and who waits for that. */
#include "fake_tier.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#define FAILED_PAUSE_NS (5 * NS_PER_S)

/* ---- when */

TEST(sending, a_block_is_sent_when_it_has_waited_for_long_enough)
{
    struct tiered *tiered = tiered_usual();

    put(tiered, 3, 0, SECTORS, 0x11);
    tiered_sleep(tiered, TIER_DELAY_NS - NS_PER_S);
    tiered_expect_quiet(tiered);
    put(tiered, 3, 0, 1, 0x22);
    tiered_sleep(tiered, NS_PER_S);
    answer_write(tiered, 3, 0);
    expect_stored(tiered, 3, 0, 1, 0x22);
    expect_stored(tiered, 3, 1, 7, 0x11);
    expect_file(tiered, 3, CACHEFILE_CLEAN, ALL_SECTORS, CACHEFILE_TAG, "\"1\"");
    tiered_sleep(tiered, 2 * TIER_DELAY_NS);
    tiered_expect_quiet(tiered);
    tiered_free(tiered);
}

TEST(sending, the_oldest_goes_first_and_no_more_than_may_be_in_flight)
{
    struct tiered *tiered = tiered_with((struct tier_config){ .in_flight_max = 2 });

    for (uint64_t block = 9; block > 4; block--)
        put(tiered, block, 0, SECTORS, 0x11);
    tiered_sleep(tiered, TIER_DELAY_NS);
    for (uint64_t block = 9; block > 4; block--) {
        assert_in_range(tiered->below.there_now, 1, 2);
        answer_write(tiered, block, 0);
    }
    assert_int_equal(tiered->below.there_peak, 2);
    tiered_free(tiered);
}

TEST(sending, what_a_block_lacks_is_fetched_first)
{
    struct tiered *tiered = tiered_usual();
    struct asked *fetch;

    put(tiered, 3, 2, 2, 0x11);
    tiered_sleep(tiered, TIER_DELAY_NS);
    fetch = below_expect(&tiered->below, STORE_READ, 3);
    put(tiered, 3, 5, 1, 0x22);
    asked_answer(fetch, 0);
    answer_write(tiered, 3, 0);
    expect_stored(tiered, 3, 0, 2, stored_byte(3));
    expect_stored(tiered, 3, 2, 2, 0x11);
    expect_stored(tiered, 3, 4, 1, stored_byte(3));
    expect_stored(tiered, 3, 5, 1, 0x22);
    expect_file(tiered, 3, CACHEFILE_CLEAN, 0xff, CACHEFILE_TAG, "\"1\"");
    tiered_expect_quiet(tiered);
    tiered_free(tiered);
}

TEST(sending, what_cannot_be_completed_is_tried_again)
{
    struct tiered *tiered = tiered_usual();

    put(tiered, 3, 2, 2, 0x11);
    tiered_sleep(tiered, TIER_DELAY_NS);
    below_answer(&tiered->below, STORE_READ, 3, -EIO);
    tiered_expect_quiet(tiered);
    tiered_sleep(tiered, FAILED_PAUSE_NS);
    below_answer(&tiered->below, STORE_READ, 3, 0);
    answer_write(tiered, 3, 0);
    assert_int_equal(tier_unsent(tiered->store), 0);
    tiered_free(tiered);
}

TEST(sending, zeros_are_clean_without_a_tag)
{
    struct tiered *tiered = tiered_usual();

    put(tiered, 3, 0, SECTORS, 0);
    tiered_sleep(tiered, TIER_DELAY_NS);
    below_is_zero(&tiered->below, 3);
    tiered->below.is_silent = true;
    answer_write(tiered, 3, 0);
    expect_file(tiered, 3, CACHEFILE_CLEAN, ALL_SECTORS, CACHEFILE_UNKNOWN, "");
    tiered_free(tiered);
}

/* ---- written to meanwhile */

TEST(sending, what_is_written_during_a_flight_is_sent_again_after_the_delay)
{
    struct tiered *tiered = tiered_usual();
    struct asked *flight;

    put(tiered, 3, 0, SECTORS, 0x11);
    tiered_sleep(tiered, TIER_DELAY_NS);
    flight = flight_of(tiered, 3);
    put(tiered, 3, 0, 1, 0x22);
    asked_expect_data(flight, 0, SECTORS, 0x11);
    asked_answer(flight, 0);
    tiered_expect_quiet(tiered);
    tiered_sleep(tiered, TIER_DELAY_NS);
    answer_write(tiered, 3, 0);
    expect_stored(tiered, 3, 0, 1, 0x22);
    assert_int_equal(tier_unsent(tiered->store), 0);
    tiered_free(tiered);
}

/* Else it would seem, until it is stored, that somebody else had written. */
TEST(sending, what_is_written_during_a_flight_is_based_on_what_that_stored)
{
    struct tiered *tiered = tiered_usual();

    keep(tiered, 3);
    put(tiered, 3, 0, SECTORS, 0x11);
    tiered_sleep(tiered, TIER_DELAY_NS);
    put(tiered, 3, 0, 1, 0x22);
    expect_file(tiered, 3, CACHEFILE_DIRTY, ALL_SECTORS, CACHEFILE_TAG, "\"0\"");
    answer_write(tiered, 3, 0);
    expect_file(tiered, 3, CACHEFILE_DIRTY, ALL_SECTORS, CACHEFILE_TAG, "\"1\"");
    expect_kept(tiered, 3, 0, 1, 0x22);
    tiered_restart(tiered, END_KILLED);
    expect_file(tiered, 3, CACHEFILE_DIRTY, ALL_SECTORS, CACHEFILE_TAG, "\"1\"");
    tiered_free(tiered);
}

/* It lands after the writer has looked at what the file has, and before the file has what is written. */
TEST(sending, what_is_written_as_a_flight_lands_is_based_on_what_that_stored)
{
    struct tiered *tiered = tiered_usual();
    struct asked *flight;
    struct wish write;

    keep(tiered, 3);
    put(tiered, 3, 0, SECTORS, 0x11);
    tiered_sleep(tiered, TIER_DELAY_NS);
    flight = flight_of(tiered, 3);
    disk_hold_write(tiered);
    ask_write(tiered, &write, 3, 0, 1, 0x22);
    disk_await_write(tiered);
    asked_answer(flight, 0);
    while (cachefile_holds_dirty(tiered->file, 3))
        sched_yield();
    disk_release_write(tiered);
    expect_done(&write, 0);
    expect_file(tiered, 3, CACHEFILE_DIRTY, ALL_SECTORS, CACHEFILE_TAG, "\"1\"");
    expect_kept(tiered, 3, 0, 1, 0x22);
    expect_kept(tiered, 3, 1, 7, 0x11);
    tiered_free(tiered);
}

TEST(sending, a_flush_waits_for_what_was_written_during_a_flight_before_it)
{
    struct tiered *tiered = tiered_usual();
    struct asked *flight;
    struct wish flush;

    put(tiered, 3, 0, SECTORS, 0x11);
    tiered_sleep(tiered, TIER_DELAY_NS);
    flight = flight_of(tiered, 3);
    put(tiered, 3, 0, SECTORS, 0x22);
    ask_flush(tiered, &flush);
    asked_answer(flight, 0);
    expect_waits(tiered, &flush);
    answer_write(tiered, 3, 0);
    expect_done(&flush, 0);
    expect_stored(tiered, 3, 0, SECTORS, 0x22);
    tiered_free(tiered);
}

TEST(sending, a_flush_does_not_wait_for_what_is_written_after_it)
{
    struct tiered *tiered = tiered_usual();
    struct asked *flight;
    struct wish flush;

    put(tiered, 3, 0, SECTORS, 0x11);
    ask_flush(tiered, &flush);
    flight = flight_of(tiered, 3);
    put(tiered, 3, 0, SECTORS, 0x22);
    put(tiered, 4, 0, SECTORS, 0x22);
    asked_answer(flight, 0);
    expect_done(&flush, 0);
    tiered_expect_quiet(tiered);
    assert_int_equal(tier_unsent(tiered->store), 2);
    tiered_free(tiered);
}

/* Each flight finds that the block was written to. */
TEST(sending, flushes_end_while_a_block_is_written_to_for_ever)
{
    struct tiered *tiered = tiered_usual();
    struct wish flushes[8];
    struct asked *flight;

    put(tiered, 3, 0, SECTORS, 0x11);
    for (unsigned i = 0; i < 8; i++) {
        ask_flush(tiered, &flushes[i]);
        flight = flight_of(tiered, 3);
        if (i > 0)
            expect_done(&flushes[i - 1], 0);
        put(tiered, 3, 0, SECTORS, (unsigned char)i);
        asked_answer(flight, 0);
        tiered_settle(tiered);
    }
    expect_done(&flushes[7], 0);
    tiered_free(tiered);
}

/* A second flush comes while the first one's flight is under way, and more is written. */
TEST(sending, each_flush_waits_for_what_came_before_it)
{
    struct tiered *tiered = tiered_usual();
    struct wish flushes[3];
    struct asked *flight;

    put(tiered, 3, 0, SECTORS, 0x11);
    ask_flush(tiered, &flushes[0]);
    flight = flight_of(tiered, 3);
    put(tiered, 3, 0, SECTORS, 0x22);
    ask_flush(tiered, &flushes[1]);
    put(tiered, 4, 0, SECTORS, 0x33);
    ask_flush(tiered, &flushes[2]);
    asked_answer(flight, 0);
    expect_done(&flushes[0], 0);
    expect_waits(tiered, &flushes[1]);
    answer_write(tiered, 3, 0);
    expect_done(&flushes[1], 0);
    expect_waits(tiered, &flushes[2]);
    answer_write(tiered, 4, 0);
    expect_done(&flushes[2], 0);
    tiered_free(tiered);
}

/* ---- flushes */

TEST(flush, with_nothing_dirty_it_is_done)
{
    struct tiered *tiered = tiered_usual();
    struct wish flush;

    ask_flush(tiered, &flush);
    expect_done(&flush, 0);
    tiered_free(tiered);
}

TEST(flush, what_is_dirty_is_sent_at_once)
{
    struct tiered *tiered = tiered_usual();
    struct wish flush;

    put(tiered, 3, 0, SECTORS, 0x11);
    put(tiered, 4, 0, SECTORS, 0x22);
    ask_flush(tiered, &flush);
    answer_write(tiered, 4, 0);
    expect_waits(tiered, &flush);
    answer_write(tiered, 3, 0);
    expect_done(&flush, 0);
    tiered_free(tiered);
}

TEST(flush, it_waits_for_the_disk_too)
{
    struct tiered *tiered = tiered_usual();
    struct wish flush;

    put(tiered, 3, 0, SECTORS, 0x11);
    disk_hold_syncs(tiered, true);
    ask_flush(tiered, &flush);
    disk_await_syncs(tiered, 1);
    below_answer(&tiered->below, STORE_WRITE, 3, 0);
    assert_false(wish_is_done(&flush));
    disk_hold_syncs(tiered, false);
    expect_done(&flush, 0);
    tiered_free(tiered);
}

/* What was dirty once must not come back over what the store has. */
TEST(flush, after_a_power_cut_nothing_older_is_sent)
{
    struct tiered *tiered = tiered_usual();
    struct wish flush, read;

    put(tiered, 3, 0, SECTORS, 0x11);
    ask_flush(tiered, &flush);
    answer_write(tiered, 3, -EIO);
    expect_done(&flush, -EIO);
    put(tiered, 3, 0, SECTORS, 0x22);
    ask_flush(tiered, &flush);
    answer_write(tiered, 3, 0);
    expect_done(&flush, 0);
    tiered_restart(tiered, END_POWER_CUT);
    below_mode(&tiered->below, BELOW_ANSWERS);
    tiered_sleep(tiered, TIER_DELAY_NS);
    expect_stored(tiered, 3, 0, SECTORS, 0x22);
    ask_read(tiered, &read, 3);
    wish_expect(&read, 0x22);
    tiered_free(tiered);
}

TEST(flush, a_failed_sync_is_its_error_and_all_is_sent_then)
{
    struct tiered *tiered = tiered_usual();
    struct wish flush;

    put(tiered, 3, 0, SECTORS, 0x11);
    disk_fails(tiered, 0, 1000, -EIO);
    ask_flush(tiered, &flush);
    answer_write(tiered, 3, 0);
    expect_done(&flush, -EIO);
    ask_flush(tiered, &flush);
    expect_done(&flush, 0);
    expect_stored(tiered, 3, 0, SECTORS, 0x11);
    tiered_free(tiered);
}

TEST(flush, that_of_the_file_does_not_wait_for_the_store)
{
    struct tiered *tiered = tiered_local();
    struct wish flush;
    uint64_t syncs;

    put(tiered, 3, 0, SECTORS, 0x11);
    syncs = disk_syncs(tiered);
    ask_flush(tiered, &flush);
    expect_done(&flush, 0);
    assert_true(disk_syncs(tiered) > syncs);
    tiered_expect_quiet(tiered);
    tiered_restart(tiered, END_POWER_CUT);
    expect_kept(tiered, 3, 0, SECTORS, 0x11);
    tiered_free(tiered);
}

TEST(flush, that_of_the_file_fails_when_the_sync_does)
{
    struct tiered *tiered = tiered_local();
    struct wish flush;

    put(tiered, 3, 0, SECTORS, 0x11);
    disk_fails(tiered, 0, 1000, -EIO);
    ask_flush(tiered, &flush);
    expect_done(&flush, -EIO);
    ask_flush(tiered, &flush);
    expect_waits(tiered, &flush);
    answer_write(tiered, 3, 0);
    expect_done(&flush, 0);
    tiered_free(tiered);
}

/* ---- failures */

TEST(failures, a_flush_gets_the_error_and_the_next_one_tries_again)
{
    struct tiered *tiered = tiered_usual();
    struct wish flush;

    put(tiered, 3, 0, SECTORS, 0x11);
    put(tiered, 4, 0, SECTORS, 0x22);
    ask_flush(tiered, &flush);
    answer_write(tiered, 3, -ENOSPC);
    expect_waits(tiered, &flush);
    answer_write(tiered, 4, 0);
    expect_done(&flush, -ENOSPC);
    expect_file(tiered, 3, CACHEFILE_DIRTY, ALL_SECTORS, CACHEFILE_UNKNOWN, "");
    assert_int_equal(tiered_counter(tiered, "cache_file_send_failures"), 1);
    ask_flush(tiered, &flush);
    answer_write(tiered, 3, 0);
    expect_done(&flush, 0);
    tiered_free(tiered);
}

TEST(failures, what_failed_is_sent_again_after_a_pause)
{
    struct tiered *tiered = tiered_usual();

    put(tiered, 3, 0, SECTORS, 0x11);
    tiered_sleep(tiered, TIER_DELAY_NS);
    answer_write(tiered, 3, -EIO);
    tiered_sleep(tiered, FAILED_PAUSE_NS - NS_PER_S);
    tiered_expect_quiet(tiered);
    put(tiered, 3, 0, 1, 0x22);
    tiered_sleep(tiered, NS_PER_S);
    answer_write(tiered, 3, 0);
    expect_stored(tiered, 3, 0, 1, 0x22);
    tiered_expect_quiet(tiered);
    assert_int_equal(tier_unsent(tiered->store), 0);
    tiered_free(tiered);
}

/* It is not the error of who came later, nor is it forgotten. */
TEST(failures, a_flush_gets_no_error_of_what_came_after_it)
{
    struct tiered *tiered = tiered_usual();
    struct wish first, second;

    put(tiered, 3, 0, SECTORS, 0x11);
    ask_flush(tiered, &first);
    put(tiered, 4, 0, SECTORS, 0x22);
    ask_flush(tiered, &second);
    answer_write(tiered, 4, -EIO);
    expect_waits(tiered, &first);
    answer_write(tiered, 3, 0);
    expect_done(&first, 0);
    expect_done(&second, -EIO);
    tiered_free(tiered);
}

TEST(failures, after_an_error_a_flush_has_nothing_more_sent)
{
    struct tiered *tiered = tiered_with((struct tier_config){ .in_flight_max = 1 });
    struct wish flush;

    for (uint64_t block = 3; block < 6; block++)
        put(tiered, block, 0, SECTORS, 0x11);
    ask_flush(tiered, &flush);
    answer_write(tiered, 3, -EIO);
    expect_done(&flush, -EIO);
    tiered_expect_quiet(tiered);
    tiered_sleep(tiered, TIER_DELAY_NS);
    answer_write(tiered, 3, 0);
    answer_write(tiered, 4, 0);
    answer_write(tiered, 5, 0);
    tiered_free(tiered);
}

/* Each that failed takes memory, and is looked at again and again. */
TEST(failures, a_store_that_refuses_everything_is_not_offered_everything)
{
    struct tiered *tiered = tiered_new((struct tier_config){ 0 }, 1500);
    struct below *below = &tiered->below;

    for (uint64_t block = 0; block < 1080; block++)
        put(tiered, block, 0, SECTORS, 0x11);
    below->fail_rc[STORE_WRITE] = -EIO;
    below_mode(below, BELOW_ANSWERS);
    tiered_sleep(tiered, TIER_DELAY_NS);
    while (below_asked(below, STORE_WRITE) < 1032)
        tiered_settle(tiered);
    tiered_expect_quiet(tiered);
    assert_int_equal(below_asked(below, STORE_WRITE), 1032);
    pthread_mutex_lock(&below->lock);
    below->fail_rc[STORE_WRITE] = 0;
    pthread_mutex_unlock(&below->lock);
    tiered_sleep(tiered, FAILED_PAUSE_NS);
    while (below_asked(below, STORE_WRITE) < 1032 + 1080)
        tiered_settle(tiered);
    tiered_settle(tiered);
    assert_int_equal(tier_unsent(tiered->store), 0);
    tiered_free(tiered);
}

TEST(failures, who_has_lost_the_store_is_told_and_sends_nothing)
{
    struct tiered *tiered = tiered_with((struct tier_config){ .in_flight_max = 1 });
    struct wish flush;

    put(tiered, 3, 0, SECTORS, 0x11);
    put(tiered, 4, 0, SECTORS, 0x22);
    ask_flush(tiered, &flush);
    answer_write(tiered, 3, -EROFS);
    expect_done(&flush, -EROFS);
    ask_flush(tiered, &flush);
    expect_done(&flush, -EROFS);
    tiered_sleep(tiered, 2 * TIER_DELAY_NS);
    tiered_expect_quiet(tiered);
    expect_kept(tiered, 4, 0, SECTORS, 0x22);
    tiered_give_up(tiered);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(sending, a_block_is_sent_when_it_has_waited_for_long_enough),
        RUN(sending, the_oldest_goes_first_and_no_more_than_may_be_in_flight),
        RUN(sending, what_a_block_lacks_is_fetched_first),
        RUN(sending, what_cannot_be_completed_is_tried_again),
        RUN(sending, zeros_are_clean_without_a_tag),
        RUN(sending, what_is_written_during_a_flight_is_sent_again_after_the_delay),
        RUN(sending, what_is_written_during_a_flight_is_based_on_what_that_stored),
        RUN(sending, what_is_written_as_a_flight_lands_is_based_on_what_that_stored),
        RUN(sending, a_flush_waits_for_what_was_written_during_a_flight_before_it),
        RUN(sending, a_flush_does_not_wait_for_what_is_written_after_it),
        RUN(sending, flushes_end_while_a_block_is_written_to_for_ever),
        RUN(sending, each_flush_waits_for_what_came_before_it),
        RUN(flush, with_nothing_dirty_it_is_done),
        RUN(flush, what_is_dirty_is_sent_at_once),
        RUN(flush, it_waits_for_the_disk_too),
        RUN(flush, after_a_power_cut_nothing_older_is_sent),
        RUN(flush, a_failed_sync_is_its_error_and_all_is_sent_then),
        RUN(flush, that_of_the_file_does_not_wait_for_the_store),
        RUN(flush, that_of_the_file_fails_when_the_sync_does),
        RUN(failures, a_flush_gets_the_error_and_the_next_one_tries_again),
        RUN(failures, what_failed_is_sent_again_after_a_pause),
        RUN(failures, a_flush_gets_no_error_of_what_came_after_it),
        RUN(failures, after_an_error_a_flush_has_nothing_more_sent),
        RUN(failures, a_store_that_refuses_everything_is_not_offered_everything),
        RUN(failures, who_has_lost_the_store_is_told_and_sends_nothing),
    };

    return cmocka_run_group_tests_name("tier_sending", tests, NULL, NULL);
}
