/* SPDX-License-Identifier: Apache-2.0 */
/* core/cache.c: who waits until something is stored, and what they are told: flushes, synchronous writes, seeks. */
#include "fake_store.h"

#include <errno.h>

#define DELAY_NS (10 * NS_PER_S)

/* ---- flushes */

TEST(flush, a_flush_is_done_at_once_when_all_is_stored)
{
    struct cached *cached = cached_new((struct cache_config){ 0 });
    struct wish flush;

    fetch(cached, 3);
    wish_flush(cached, &flush);
    assert_true(wish_is_done(&flush));
    expect_done(&flush, 0);
    cached_expect_quiet(cached);
    cached_free(cached);
}

TEST(flush, a_flush_sends_what_is_dirty_at_once_and_waits_for_it_and_for_what_is_in_flight)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = EVER_NS });
    struct asked *flight, *second, *fetch;
    struct wish flush;

    write_now(cached, 1, 0, SECTORS, 0x11);
    flight = below_expect(&cached->below, STORE_WRITE, 1);
    make_dirty(cached, 2, 0x22);
    write_now(cached, 3, 0, 1, 0x33);
    wish_flush(cached, &flush);
    second = below_expect(&cached->below, STORE_WRITE, 2);
    fetch = below_expect(&cached->below, STORE_READ, 3);
    cached_expect_quiet(cached);
    asked_answer(second, 0);
    assert_false(wish_is_done(&flush));
    asked_answer(fetch, 0);
    below_answer(&cached->below, STORE_WRITE, 3, 0);
    assert_false(wish_is_done(&flush));
    asked_answer(flight, 0);
    assert_true(wish_is_done(&flush));
    expect_done(&flush, 0);
    cached_free(cached);
}

TEST(flush, a_flush_does_not_wait_for_what_becomes_dirty_later)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = EVER_NS });
    struct asked *later;
    struct wish flush;

    make_dirty(cached, 2, 0x22);
    fetch(cached, 3);
    wish_flush(cached, &flush);
    write_now(cached, 3, 0, SECTORS, 0x33);
    later = below_expect(&cached->below, STORE_WRITE, 3);
    below_answer(&cached->below, STORE_WRITE, 2, 0);
    assert_true(wish_is_done(&flush));
    expect_done(&flush, 0);
    asked_answer(later, 0);
    cached_free(cached);
}

TEST(flush, a_flush_is_not_done_by_what_became_dirty_later)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = EVER_NS });
    struct asked *flight;
    struct wish flush;

    write_now(cached, 1, 0, SECTORS, 0x11);
    flight = below_expect(&cached->below, STORE_WRITE, 1);
    make_dirty(cached, 2, 0x22);
    wish_flush(cached, &flush);
    for (unsigned block = 3; block < 6; block++) {
        write_now(cached, block, 0, SECTORS, 0x33);
        below_answer(&cached->below, STORE_WRITE, block, 0);
        assert_false(wish_is_done(&flush));
    }
    write_now(cached, 6, 0, SECTORS, 0x33);
    below_answer(&cached->below, STORE_WRITE, 6, -EIO); /* not this flush's error */
    below_answer(&cached->below, STORE_WRITE, 2, 0);
    assert_false(wish_is_done(&flush));
    below_mode(&cached->below, BELOW_ANSWERS);
    asked_answer(flight, 0);
    expect_done(&flush, 0);
    cached_settle(cached);
    while (cached->below.first != NULL)
        below_answer(&cached->below, STORE_WRITE, ANY_BLOCK, 0);
    cached_free(cached);
}

TEST(flush, a_flush_ends_although_its_blocks_become_dirty_again_all_the_time)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = EVER_NS });
    struct asked *flights[3];
    struct wish flush;

    for (unsigned block = 0; block < 3; block++) {
        write_now(cached, block, 0, SECTORS, 0x11);
        flights[block] = below_expect(&cached->below, STORE_WRITE, block);
        write_now(cached, block, 0, SECTORS, 0x22);
    }
    wish_flush(cached, &flush);
    for (unsigned block = 0; block < 3; block++) {
        asked_answer(flights[block], 0);
        flights[block] = below_expect(&cached->below, STORE_WRITE, block);
        write_now(cached, block, 0, SECTORS, 0x33); /* later than the flush */
    }
    assert_false(wish_is_done(&flush));
    for (unsigned block = 0; block < 3; block++) {
        asked_expect_data(flights[block], 0, SECTORS, 0x22);
        assert_false(wish_is_done(&flush));
        asked_answer(flights[block], 0);
    }
    assert_true(wish_is_done(&flush));
    expect_done(&flush, 0);
    for (unsigned block = 0; block < 3; block++)
        below_answer(&cached->below, STORE_WRITE, block, 0);
    cached_free(cached);
}

TEST(flush, flushes_share_a_flight)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = EVER_NS });
    struct asked *flight, *second;
    struct wish flushes[3];

    make_dirty(cached, 2, 0x22);
    wish_flush(cached, &flushes[0]);
    flight = below_expect(&cached->below, STORE_WRITE, 2);
    wish_flush(cached, &flushes[1]);
    make_dirty(cached, 3, 0x33);
    wish_flush(cached, &flushes[2]);
    second = below_expect(&cached->below, STORE_WRITE, 3);
    cached_expect_quiet(cached);
    asked_answer(flight, 0);
    expect_done(&flushes[0], 0);
    expect_done(&flushes[1], 0);
    assert_false(wish_is_done(&flushes[2]));
    asked_answer(second, 0);
    expect_done(&flushes[2], 0);
    assert_int_equal(below_asked(&cached->below, STORE_WRITE), 2);
    cached_free(cached);
}

/* ---- what could not be stored */

TEST(flush, a_flush_reports_a_failed_write_once_and_the_next_one_tries_again)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = EVER_NS });
    struct wish flush;

    make_dirty(cached, 2, 0x22);
    wish_flush(cached, &flush);
    below_answer(&cached->below, STORE_WRITE, 2, -ENOSPC);
    assert_true(wish_is_done(&flush));
    expect_done(&flush, -ENOSPC);
    cached_expect_quiet(cached);
    expect_read(cached, 2, 0, 1, 0x22);
    assert_int_equal(cached_gauge(cached, "dirty_blocks"), 1);
    wish_flush(cached, &flush);
    below_answer(&cached->below, STORE_WRITE, 2, 0);
    expect_done(&flush, 0);
    below_expect_stored(&cached->below, 2, 0, 1, 0x22);
    assert_int_equal(cached_gauge(cached, "dirty_blocks"), 0);
    cached_free(cached);
}

TEST(flush, what_failed_is_tried_again_after_a_pause)
{
    struct cached *cached = cached_new((struct cache_config){ 0 });

    write_now(cached, 2, 0, SECTORS, 0x22);
    for (unsigned tries = 0; tries < 3; tries++) {
        below_answer(&cached->below, STORE_WRITE, 2, -EIO);
        cached_sleep(cached, NS_PER_S);
        cached_expect_quiet(cached);
        cached_sleep(cached, 60 * NS_PER_S);
    }
    below_answer(&cached->below, STORE_WRITE, 2, 0);
    below_expect_stored(&cached->below, 2, 0, SECTORS, 0x22);
    assert_int_equal(cached_counter(cached, "write_back_failures"), 3);
    cached_free(cached);
}

TEST(flush, a_flush_waits_for_the_others_when_one_fails)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = EVER_NS });
    struct wish flush;

    make_dirty(cached, 2, 0x22);
    make_dirty(cached, 3, 0x33);
    wish_flush(cached, &flush);
    below_answer(&cached->below, STORE_WRITE, 2, -EIO);
    assert_false(wish_is_done(&flush));
    below_answer(&cached->below, STORE_WRITE, 3, 0);
    expect_done(&flush, -EIO);
    below_expect_stored(&cached->below, 3, 0, 1, 0x33);
    cached_settle(cached);
    while (cached->below.first != NULL)
        below_answer(&cached->below, STORE_WRITE, 2, 0);
    cached_free(cached);
}

TEST(flush, what_failed_is_not_tried_again_and_again_while_a_flush_waits_for_others)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = EVER_NS });
    struct asked *other;
    struct wish flush;

    make_dirty(cached, 2, 0x22);
    make_dirty(cached, 3, 0x33);
    wish_flush(cached, &flush);
    other = below_expect(&cached->below, STORE_WRITE, 3);
    below_answer(&cached->below, STORE_WRITE, 2, -EIO);
    cached_expect_quiet(cached);
    asked_answer(other, 0);
    expect_done(&flush, -EIO);
    cached_free(cached);
}

TEST(flush, a_flush_that_comes_later_does_not_report_what_failed_before)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = EVER_NS });
    struct wish first, second;
    struct asked *flight;

    make_dirty(cached, 2, 0x22);
    wish_flush(cached, &first);
    flight = below_expect(&cached->below, STORE_WRITE, 2);
    write_now(cached, 2, 3, 1, 0x33);
    asked_answer(flight, -EIO);
    expect_done(&first, -EIO);
    wish_flush(cached, &second);
    below_answer(&cached->below, STORE_WRITE, 2, 0);
    expect_done(&second, 0);
    below_expect_stored(&cached->below, 2, 0, 1, 0x22);
    below_expect_stored(&cached->below, 2, 3, 1, 0x33);
    cached_free(cached);
}

TEST(flush, a_fetch_that_fails_before_storing_fails_the_flush_and_others_are_stored)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = EVER_NS });
    struct wish flush;

    write_now(cached, 2, 0, 1, 0x22);
    write_now(cached, 3, 0, SECTORS, 0x33);
    wish_flush(cached, &flush);
    below_answer(&cached->below, STORE_READ, 2, -EIO);
    below_answer(&cached->below, STORE_WRITE, 3, 0);
    expect_done(&flush, -EIO);
    below_expect_stored(&cached->below, 3, 0, SECTORS, 0x33);
    expect_read(cached, 2, 0, 1, 0x22);
    cached_settle(cached);
    while (cached->below.first != NULL)
        below_answer(&cached->below, STORE_READ, 2, -EIO);
    wish_flush(cached, &flush);
    below_answer(&cached->below, STORE_READ, 2, 0);
    below_answer(&cached->below, STORE_WRITE, 2, 0);
    expect_done(&flush, 0);
    below_expect_stored(&cached->below, 2, 0, 1, 0x22);
    below_expect_stored(&cached->below, 2, 1, 7, stored_byte(2));
    cached_free(cached);
}

TEST(flush, a_failed_block_that_is_written_to_keeps_all_that_was_written)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = DELAY_NS });

    write_now(cached, 2, 0, SECTORS, 0x22);
    below_answer(&cached->below, STORE_WRITE, 2, -EIO);
    write_now(cached, 2, 3, 1, 0x33);
    cached_sleep(cached, 60 * NS_PER_S);
    below_answer(&cached->below, STORE_WRITE, 2, 0);
    below_expect_stored(&cached->below, 2, 0, 3, 0x22);
    below_expect_stored(&cached->below, 2, 3, 1, 0x33);
    below_expect_stored(&cached->below, 2, 4, 4, 0x22);
    cached_free(cached);
}

/* ---- synchronous writes, seeks */

TEST(flush, a_synchronous_write_is_done_when_the_store_has_it)
{
    struct cached *cached =
        cached_new((struct cache_config){ .write_delay_ns = EVER_NS, .is_sync = true });
    struct wish write;

    wish_write(cached, &write, 3, 0, 1, 0x11);
    below_answer(&cached->below, STORE_READ, 3, 0);
    cached_settle(cached);
    assert_false(wish_is_done(&write));
    below_answer(&cached->below, STORE_WRITE, 3, 0);
    assert_true(wish_is_done(&write));
    expect_done(&write, 0);
    below_expect_stored(&cached->below, 3, 0, 1, 0x11);
    cached_free(cached);
}

TEST(flush, a_synchronous_write_reports_that_it_failed)
{
    struct cached *cached =
        cached_new((struct cache_config){ .write_delay_ns = EVER_NS, .is_sync = true });
    struct wish write;

    wish_write(cached, &write, 3, 0, SECTORS, 0x11);
    below_answer(&cached->below, STORE_WRITE, 3, -EROFS);
    expect_done(&write, -EROFS);
    cached_free(cached);
}

TEST(flush, a_synchronous_write_is_done_although_another_one_cannot_be_stored)
{
    struct cached *cached =
        cached_new((struct cache_config){ .write_delay_ns = EVER_NS, .is_sync = true });
    struct wish bad, good, zero;
    struct asked *again;

    wish_write(cached, &bad, 3, 0, SECTORS, 0x11);
    below_answer(&cached->below, STORE_WRITE, 3, -EIO);
    expect_done(&bad, -EIO);
    wish_write(cached, &good, 8, 0, SECTORS, 0x22);
    below_answer(&cached->below, STORE_WRITE, 8, 0);
    again = below_expect(&cached->below, STORE_WRITE, 3);
    assert_true(wish_is_done(&good));
    expect_done(&good, 0);
    wish_zero(cached, &zero, 20, 2);
    below_answer(&cached->below, STORE_ZERO, 20, 0);
    assert_true(wish_is_done(&zero));
    expect_done(&zero, 0);
    asked_answer(again, 0);
    cached_free(cached);
}

TEST(flush, a_seek_goes_down_when_what_was_dirty_is_stored)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = EVER_NS });
    struct asked *asked;
    struct wish seek;

    make_dirty(cached, 3, 0x11);
    wish_seek(cached, &seek, 1, 9, true);
    asked = below_expect(&cached->below, STORE_WRITE, 3);
    cached_expect_quiet(cached);
    asked_answer(asked, 0);
    asked = below_expect(&cached->below, STORE_SEEK, 1);
    assert_int_equal(asked->req->count, 9);
    assert_true(asked->req->want_data);
    asked->req->block = 4;
    assert_false(wish_is_done(&seek));
    asked_answer(asked, -ENXIO);
    expect_done(&seek, -ENXIO);
    assert_int_equal(seek.req.block, 4);
    cached_free(cached);
}

TEST(flush, a_seek_fails_when_what_was_dirty_cannot_be_stored)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = EVER_NS });
    struct wish seek;

    make_dirty(cached, 3, 0x11);
    wish_seek(cached, &seek, 1, 9, true);
    below_answer(&cached->below, STORE_WRITE, 3, -EIO);
    expect_done(&seek, -EIO);
    cached_free(cached);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(flush, a_flush_is_done_at_once_when_all_is_stored),
        RUN(flush, a_flush_sends_what_is_dirty_at_once_and_waits_for_it_and_for_what_is_in_flight),
        RUN(flush, a_flush_does_not_wait_for_what_becomes_dirty_later),
        RUN(flush, a_flush_is_not_done_by_what_became_dirty_later),
        RUN(flush, a_flush_ends_although_its_blocks_become_dirty_again_all_the_time),
        RUN(flush, flushes_share_a_flight),
        RUN(flush, a_flush_reports_a_failed_write_once_and_the_next_one_tries_again),
        RUN(flush, what_failed_is_tried_again_after_a_pause),
        RUN(flush, a_flush_waits_for_the_others_when_one_fails),
        RUN(flush, what_failed_is_not_tried_again_and_again_while_a_flush_waits_for_others),
        RUN(flush, a_flush_that_comes_later_does_not_report_what_failed_before),
        RUN(flush, a_fetch_that_fails_before_storing_fails_the_flush_and_others_are_stored),
        RUN(flush, a_failed_block_that_is_written_to_keeps_all_that_was_written),
        RUN(flush, a_synchronous_write_is_done_when_the_store_has_it),
        RUN(flush, a_synchronous_write_reports_that_it_failed),
        RUN(flush, a_synchronous_write_is_done_although_another_one_cannot_be_stored),
        RUN(flush, a_seek_goes_down_when_what_was_dirty_is_stored),
        RUN(flush, a_seek_fails_when_what_was_dirty_cannot_be_stored),
    };

    return cmocka_run_group_tests_name("flush", tests, NULL, NULL);
}
