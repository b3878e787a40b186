/* SPDX-License-Identifier: Apache-2.0 */
/* core/cache.c: zeroed ranges, and how they meet reads, writes and flushes. */
#include "fake_store.h"

#include <errno.h>
#include <time.h>

static struct cached *
fresh(void)
{
    return cached_new((struct cache_config){ .write_delay_ns = EVER_NS });
}

static void
zero_now(struct cached *cached, uint64_t block, uint64_t count)
{
    struct wish zero;

    wish_zero(cached, &zero, block, count);
    assert_true(wish_is_done(&zero));
    expect_done(&zero, 0);
}

static struct asked *
expect_zero(struct cached *cached, uint64_t block, uint64_t count)
{
    struct asked *asked = below_expect(&cached->below, STORE_ZERO, block);

    assert_int_equal(asked->req->count, count);
    return asked;
}

TEST(zeros, a_zero_is_done_when_it_is_on_its_way)
{
    struct cached *cached = fresh();
    struct asked *below;

    zero_now(cached, 2, 5);
    below = expect_zero(cached, 2, 5);
    assert_int_equal(cached_gauge(cached, "pending_zeros"), 1);
    asked_answer(below, 0);
    assert_int_equal(cached_gauge(cached, "pending_zeros"), 0);
    below_expect_stored(&cached->below, 2, 0, SECTORS, 0);
    cached_expect_quiet(cached);
    cached_free(cached);
}

TEST(zeros, zeroed_blocks_are_read_without_a_request_before_the_store_knows)
{
    struct cached *cached = fresh();
    struct asked *below;
    struct wish read;

    wish_read(cached, &read, 2, 0, SECTORS);
    below_answer(&cached->below, STORE_READ, 2, 0);
    expect_done(&read, 0);
    zero_now(cached, 2, 5);
    below = expect_zero(cached, 2, 5);
    expect_read(cached, 2, 0, SECTORS, 0);
    expect_read(cached, 6, 3, 1, 0);
    cached_expect_quiet(cached);
    asked_answer(below, 0);
    expect_read(cached, 2, 0, SECTORS, 0);
    cached_expect_quiet(cached);
    cached_free(cached);
}

TEST(zeros, blocks_beside_a_zeroed_range_stay)
{
    struct cached *cached = fresh();
    struct asked *below;

    for (unsigned block = 1; block <= 4; block++)
        write_now(cached, block, 0, 1, 0x11);
    zero_now(cached, 2, 2);
    below = expect_zero(cached, 2, 2);
    expect_read(cached, 1, 0, 1, 0x11);
    expect_read(cached, 2, 0, 1, 0);
    expect_read(cached, 3, 0, 1, 0);
    expect_read(cached, 4, 0, 1, 0x11);
    asked_answer(below, 0);
    cached_free(cached);
}

TEST(zeros, dirty_data_in_the_range_is_dropped_and_never_stored)
{
    struct cached *cached = fresh();
    struct wish flush;

    write_now(cached, 2, 0, 1, 0x11);
    zero_now(cached, 2, 1);
    below_answer(&cached->below, STORE_ZERO, 2, 0);
    assert_int_equal(cached_gauge(cached, "dirty_blocks"), 0);
    wish_flush(cached, &flush);
    assert_true(wish_is_done(&flush));
    expect_done(&flush, 0);
    assert_int_equal(below_asked(&cached->below, STORE_WRITE), 0);
    assert_int_equal(below_asked(&cached->below, STORE_READ), 0);
    cached_free(cached);
}

TEST(zeros, a_zero_waits_for_a_block_in_flight)
{
    struct cached *cached = fresh();
    struct asked *flight;
    struct wish zero;

    write_now(cached, 2, 0, SECTORS, 0x11);
    flight = below_expect(&cached->below, STORE_WRITE, 2);
    wish_zero(cached, &zero, 1, 3);
    cached_expect_quiet(cached);
    assert_false(wish_is_done(&zero));
    asked_answer(flight, 0);
    expect_done(&zero, 0);
    asked_answer(expect_zero(cached, 1, 3), 0);
    below_expect_stored(&cached->below, 2, 0, SECTORS, 0);
    cached_free(cached);
}

TEST(zeros, a_zero_goes_on_when_the_flight_it_waited_for_failed_and_drops_what_was_not_stored)
{
    struct cached *cached = fresh();
    struct asked *flight;
    struct wish zero;

    write_now(cached, 2, 0, SECTORS, 0x11);
    flight = below_expect(&cached->below, STORE_WRITE, 2);
    wish_zero(cached, &zero, 1, 3);
    asked_answer(flight, -EIO);
    expect_done(&zero, 0);
    asked_answer(expect_zero(cached, 1, 3), 0);
    cached_sleep(cached, 60 * NS_PER_S);
    cached_expect_quiet(cached);
    expect_read(cached, 2, 0, SECTORS, 0);
    cached_free(cached);
}

TEST(zeros, a_zero_waits_for_a_fetch_whose_reader_gets_the_old_or_the_new)
{
    struct cached *cached = fresh();
    struct asked *fetch;
    struct wish zero, read;

    wish_read(cached, &read, 2, 0, SECTORS);
    fetch = below_expect(&cached->below, STORE_READ, 2);
    wish_zero(cached, &zero, 1, 3);
    cached_expect_quiet(cached);
    assert_false(wish_is_done(&zero));
    asked_answer(fetch, 0);
    expect_done(&zero, 0);
    expect_done(&read, 0);
    assert_true(read.data[0] == 0 || read.data[0] == stored_byte(2));
    asked_answer(expect_zero(cached, 1, 3), 0);
    cached_free(cached);
}

TEST(zeros, a_zero_goes_on_when_the_fetch_it_waited_for_failed)
{
    struct cached *cached = fresh();
    struct asked *fetch;
    struct wish zero, read;

    wish_read(cached, &read, 2, 0, SECTORS);
    fetch = below_expect(&cached->below, STORE_READ, 2);
    wish_zero(cached, &zero, 1, 3);
    asked_answer(fetch, -EIO);
    expect_done(&zero, 0);
    wish_end(&read);
    asked_answer(expect_zero(cached, 1, 3), 0);
    cached_free(cached);
}

TEST(zeros, a_zero_waits_for_who_copies_out_of_the_block_and_into_it)
{
    for (unsigned round = 0; round < 2; round++) {
        struct cached *cached = fresh();
        struct stuck stuck;
        struct wish zero, read;

        if (round == 0) {
            wish_read(cached, &read, 2, 0, SECTORS);
            below_answer(&cached->below, STORE_READ, 2, 0);
            expect_done(&read, 0);
            stuck_read(cached, &stuck, 2, 0, SECTORS);
        } else {
            stuck_write(cached, &stuck, 2, 0, 1, 0x11);
        }
        wish_zero(cached, &zero, 1, 3);
        cached_expect_quiet(cached);
        assert_false(wish_is_done(&zero));
        wish_read(cached, &read, 3, 0, 1);
        assert_false(wish_is_done(&read)); /* new ones are held up */
        assert_int_equal(stuck_end(&stuck), 0);
        expect_done(&zero, 0);
        wish_expect(&read, 0);
        asked_answer(expect_zero(cached, 1, 3), 0);
        expect_read(cached, 2, 0, SECTORS, 0);
        cached_free(cached);
    }
}

TEST(zeros, what_is_written_after_a_zero_begins_as_zeros_and_is_stored_after_it)
{
    struct cached *cached = fresh();
    struct asked *zero, *flight;
    struct wish write, flush;

    zero_now(cached, 1, 3);
    zero = expect_zero(cached, 1, 3);
    write_now(cached, 2, 0, SECTORS, 0x11); /* full: would go at once */
    wish_write_bytes(cached, &write, 3, 5, 1, 0x22);
    assert_true(wish_is_done(&write));
    expect_done(&write, 0);
    expect_read(cached, 3, 1, 7, 0);
    wish_flush(cached, &flush);
    cached_expect_quiet(cached);
    asked_answer(zero, 0);
    below_answer(&cached->below, STORE_WRITE, 2, 0);
    assert_false(wish_is_done(&flush));
    flight = below_expect(&cached->below, STORE_WRITE, 3);
    asked_expect_data(flight, 1, 7, 0);
    asked_answer(flight, 0);
    expect_done(&flush, 0);
    assert_int_equal(cached->below.data[3 * BLOCK_BYTES + 5], 0x22);
    assert_int_equal(below_asked(&cached->below, STORE_READ), 0);
    cached_free(cached);
}

TEST(zeros, a_block_that_was_being_written_to_when_the_zero_was_stored_is_stored)
{
    struct cached *cached = fresh();
    struct stuck writer;
    struct wish flush;

    zero_now(cached, 1, 3);
    stuck_write(cached, &writer, 2, 0, SECTORS, 0x11);
    asked_answer(expect_zero(cached, 1, 3), 0);
    assert_int_equal(stuck_end(&writer), 0);
    wish_flush(cached, &flush);
    below_answer(&cached->below, STORE_WRITE, 2, 0);
    expect_done(&flush, 0);
    cached_free(cached);
}

TEST(zeros, a_flush_waits_for_a_zero)
{
    struct cached *cached = fresh();
    struct wish flush;

    zero_now(cached, 1, 3);
    wish_flush(cached, &flush);
    cached_settle(cached);
    assert_false(wish_is_done(&flush));
    asked_answer(expect_zero(cached, 1, 3), 0);
    assert_true(wish_is_done(&flush));
    expect_done(&flush, 0);
    cached_free(cached);
}

TEST(zeros, a_flush_does_not_wait_for_a_zero_that_came_later)
{
    struct cached *cached = fresh();
    struct asked *flight;
    struct wish flush;

    write_now(cached, 9, 0, SECTORS, 0x11);
    flight = below_expect(&cached->below, STORE_WRITE, 9);
    wish_flush(cached, &flush);
    zero_now(cached, 1, 3);
    asked_answer(flight, 0);
    assert_true(wish_is_done(&flush));
    expect_done(&flush, 0);
    asked_answer(expect_zero(cached, 1, 3), 0);
    cached_free(cached);
}

/* What it waited for will never be stored: the zero stands for it. */
TEST(zeros, a_flush_that_waited_for_a_block_that_a_zero_dropped_waits_for_the_zero)
{
    struct cached *cached =
        cached_new((struct cache_config){ .write_delay_ns = EVER_NS, .in_flight_max = 1 });
    struct asked *flight, *zero;
    struct wish flush;

    write_now(cached, 9, 0, SECTORS, 0x11);
    flight = below_expect(&cached->below, STORE_WRITE, 9);
    write_now(cached, 1, 0, SECTORS, 0x22); /* finds no place to go */
    write_now(cached, 2, 0, SECTORS, 0x33);
    wish_flush(cached, &flush);
    zero_now(cached, 1, 2);
    zero = expect_zero(cached, 1, 2);
    asked_answer(flight, 0);
    cached_settle(cached);
    assert_false(wish_is_done(&flush));
    asked_answer(zero, 0);
    assert_true(wish_is_done(&flush));
    expect_done(&flush, 0);
    assert_int_equal(below_asked(&cached->below, STORE_WRITE), 1);
    cached_free(cached);
}

TEST(zeros, a_synchronous_write_that_a_zero_dropped_waits_for_the_zero)
{
    struct cached *cached = cached_new(
        (struct cache_config){ .write_delay_ns = EVER_NS, .is_sync = true, .in_flight_max = 1 });
    struct wish first, writes[2], zero;
    struct asked *flight, *below;
    struct stuck stuck;

    wish_write(cached, &first, 9, 0, SECTORS, 0x11);
    flight = below_expect(&cached->below, STORE_WRITE, 9);
    wish_write(cached, &writes[0], 1, 0, SECTORS, 0x22); /* finds no place to go */
    wish_write(cached, &writes[1], 2, 0, SECTORS, 0x33);
    stuck_write(cached, &stuck, 3, 0, SECTORS, 0x44);
    wish_zero(cached, &zero, 1, 3);
    sem_post(&stuck.go_on);
    below = expect_zero(cached, 1, 3);
    asked_answer(flight, 0);
    cached_settle(cached);
    assert_true(wish_is_done(&first));
    expect_done(&first, 0);
    for (unsigned i = 0; i < 2; i++)
        assert_false(wish_is_done(&writes[i]));
    asked_answer(below, -EIO);
    for (unsigned i = 0; i < 2; i++)
        expect_done(&writes[i], -EIO);
    expect_done(&zero, -EIO);
    assert_int_equal(stuck_end(&stuck), -EIO);
    below_mode(&cached->below, BELOW_ANSWERS);
    cached_free(cached);
}

TEST(zeros, a_failed_zero_is_reported_by_the_flush_and_tried_again)
{
    struct cached *cached = fresh();
    struct wish flush;

    zero_now(cached, 1, 3);
    wish_flush(cached, &flush);
    cached_settle(cached);
    asked_answer(expect_zero(cached, 1, 3), -EIO);
    expect_done(&flush, -EIO);
    cached_expect_quiet(cached);
    expect_read(cached, 2, 0, SECTORS, 0);
    cached_sleep(cached, 60 * NS_PER_S);
    asked_answer(expect_zero(cached, 1, 3), -EIO);
    cached_expect_quiet(cached);
    wish_flush(cached, &flush);
    asked_answer(expect_zero(cached, 1, 3), 0);
    expect_done(&flush, 0);
    below_expect_stored(&cached->below, 2, 0, SECTORS, 0);
    cached_free(cached);
}

TEST(zeros, a_failed_zero_is_not_tried_again_and_again_while_a_flush_waits_for_others)
{
    struct cached *cached = fresh();
    struct asked *flight;
    struct wish flush;

    write_now(cached, 9, 0, SECTORS, 0x11);
    flight = below_expect(&cached->below, STORE_WRITE, 9);
    zero_now(cached, 1, 3);
    wish_flush(cached, &flush);
    cached_settle(cached);
    asked_answer(expect_zero(cached, 1, 3), -EIO);
    cached_expect_quiet(cached);
    asked_answer(flight, 0);
    expect_done(&flush, -EIO);
    cached_free(cached);
}

TEST(zeros, what_was_written_after_a_zero_stays_unstored_until_the_zero_succeeds)
{
    struct cached *cached = fresh();
    struct wish flush;

    zero_now(cached, 1, 3);
    write_now(cached, 2, 0, SECTORS, 0x11);
    asked_answer(expect_zero(cached, 1, 3), -EIO);
    cached_expect_quiet(cached);
    wish_flush(cached, &flush);
    asked_answer(expect_zero(cached, 1, 3), 0);
    below_answer(&cached->below, STORE_WRITE, 2, 0);
    expect_done(&flush, 0);
    below_expect_stored(&cached->below, 2, 0, SECTORS, 0x11);
    below_expect_stored(&cached->below, 3, 0, SECTORS, 0);
    cached_free(cached);
}

TEST(zeros, a_flush_reports_what_was_written_after_a_zero_that_failed)
{
    struct cached *cached = fresh();
    struct wish flush;

    zero_now(cached, 1, 3);
    write_now(cached, 2, 0, SECTORS, 0x11);
    for (unsigned tries = 0; tries < 3; tries++) {
        wish_flush(cached, &flush);
        asked_answer(expect_zero(cached, 1, 3), -EIO);
        cached_settle(cached);
        assert_true(wish_is_done(&flush));
        expect_done(&flush, -EIO);
    }
    wish_flush(cached, &flush);
    asked_answer(expect_zero(cached, 1, 3), 0);
    below_answer(&cached->below, STORE_WRITE, 2, 0);
    expect_done(&flush, 0);
    cached_free(cached);
}

TEST(zeros, of_overlapping_zeros_one_goes_after_the_other)
{
    struct cached *cached = fresh();
    struct asked *first;
    struct wish second, flush;

    zero_now(cached, 1, 4);
    first = expect_zero(cached, 1, 4);
    wish_zero(cached, &second, 3, 4);
    cached_expect_quiet(cached);
    asked_answer(first, 0);
    asked_answer(expect_zero(cached, 3, 4), 0);
    expect_done(&second, 0);
    wish_flush(cached, &flush);
    assert_true(wish_is_done(&flush));
    expect_done(&flush, 0);
    cached_free(cached);
}

TEST(zeros, what_was_written_between_two_zeros_of_a_block_does_not_outlive_the_second)
{
    struct cached *cached = fresh();
    struct asked *first;
    struct wish second, flush;

    zero_now(cached, 1, 4);
    first = expect_zero(cached, 1, 4);
    write_now(cached, 3, 0, SECTORS, 0x11);
    wish_zero(cached, &second, 3, 1);
    below_mode(&cached->below, BELOW_ANSWERS);
    asked_answer(first, 0);
    expect_done(&second, 0);
    expect_read(cached, 3, 0, SECTORS, 0);
    wish_flush(cached, &flush);
    expect_done(&flush, 0);
    below_expect_stored(&cached->below, 3, 0, SECTORS, 0);
    assert_int_equal(cached_gauge(cached, "dirty_blocks"), 0);
    cached_free(cached);
}

TEST(zeros, a_zero_that_overlaps_one_that_waits_waits_too)
{
    struct cached *cached = fresh();
    struct asked *flight;
    struct wish zeros[2];

    write_now(cached, 2, 0, SECTORS, 0x11);
    flight = below_expect(&cached->below, STORE_WRITE, 2);
    wish_zero(cached, &zeros[0], 1, 3);
    wish_zero(cached, &zeros[1], 3, 3);
    cached_expect_quiet(cached);
    asked_answer(flight, 0);
    asked_answer(expect_zero(cached, 1, 3), 0);
    asked_answer(expect_zero(cached, 3, 3), 0);
    expect_done(&zeros[0], 0);
    expect_done(&zeros[1], 0);
    cached_free(cached);
}

TEST(zeros, a_huge_range_is_zeroed_in_no_time)
{
    struct cached *cached = cached_new((struct cache_config){
        .block_count = UINT64_C(1) << 33, .blocks_max = 64, .write_delay_ns = EVER_NS });
    uint64_t begin = clock_now_ns();
    struct asked *below;

    write_now(cached, 1000, 0, 1, 0x11);
    write_now(cached, UINT64_C(1) << 32, 0, 1, 0x22);
    for (unsigned i = 0; i < 100; i++) {
        zero_now(cached, 1, UINT64_C(1) << 32);
        below = expect_zero(cached, 1, UINT64_C(1) << 32);
        expect_read(cached, 1000, 0, 1, 0);
        expect_read(cached, UINT64_C(1) << 32, 0, 1, 0);
        asked_answer(below, 0);
    }
    assert_in_range(clock_now_ns() - begin, 0, 10 * NS_PER_S); /* one block a nanosecond: 400 s */
    cached_free(cached);
}

TEST(zeros, many_zeros_at_once_are_all_carried_out)
{
    enum { MANY = 1000 };
    struct cached *cached =
        cached_new((struct cache_config){ .block_count = 4096, .write_delay_ns = EVER_NS });
    static struct wish zeros[MANY];

    for (unsigned i = 0; i < MANY; i++)
        wish_zero(cached, &zeros[i], i * 3, 2);
    for (unsigned i = 0; i < MANY; i++)
        asked_answer(expect_zero(cached, i * 3, 2), 0);
    for (unsigned i = 0; i < MANY; i++)
        expect_done(&zeros[i], 0);
    below_expect_stored(&cached->below, 1, 0, SECTORS, 0);
    below_expect_stored(&cached->below, 2, 0, SECTORS, stored_byte(2));
    cached_free(cached);
}

TEST(zeros, the_room_of_dropped_blocks_goes_to_who_waits_for_room)
{
    struct cached *cached = cached_new(
        (struct cache_config){ .write_delay_ns = EVER_NS, .blocks_max = 1, .in_flight_max = 1 });
    struct asked *fetch;
    struct wish read, zero;

    write_now(cached, 2, 0, 1, 0x11);
    wish_read(cached, &read, 5, 0, 1);
    fetch = below_expect(&cached->below, STORE_READ, 2); /* to make room */
    wish_zero(cached, &zero, 2, 1);
    asked_answer(fetch, 0);
    asked_answer(expect_zero(cached, 2, 1), 0);
    expect_done(&zero, 0);
    below_answer(&cached->below, STORE_READ, 5, 0);
    wish_expect(&read, stored_byte(5));
    assert_int_equal(below_asked(&cached->below, STORE_WRITE), 0);
    cached_free(cached);
}

TEST(zeros, writers_stopped_at_the_dirty_limit_go_on_when_a_zero_drops_dirty_blocks)
{
    struct cached *cached = cached_new(
        (struct cache_config){ .write_delay_ns = EVER_NS, .dirty_max = 2, .in_flight_max = 1 });
    struct asked *flight;
    struct wish write;

    write_now(cached, 1, 0, SECTORS, 0x11);
    flight = below_expect(&cached->below, STORE_WRITE, 1);
    write_now(cached, 2, 0, SECTORS, 0x22);
    wish_write(cached, &write, 3, 0, 1, 0x33);
    assert_false(wish_is_done(&write));
    zero_now(cached, 2, 1);
    cached_settle(cached);
    assert_true(wish_is_done(&write));
    expect_done(&write, 0);
    asked_answer(expect_zero(cached, 2, 1), 0);
    asked_answer(flight, 0);
    cached_free(cached);
}

TEST(zeros, what_the_store_lacks_is_as_old_as_the_oldest_write_or_zero)
{
    struct cached *cached = fresh();
    struct asked *below;

    cached_sleep(cached, 100 * NS_PER_S);
    assert_int_equal(cached_gauge(cached, "dirty_age_seconds"), 0);
    zero_now(cached, 2, 5);
    below = expect_zero(cached, 2, 5);
    cached_sleep(cached, 100 * NS_PER_S);
    write_now(cached, 9, 0, 1, 0x11);
    cached_sleep(cached, 100 * NS_PER_S);
    assert_in_range(cached_gauge(cached, "dirty_age_seconds"), 200, 210);
    asked_answer(below, 0);
    assert_in_range(cached_gauge(cached, "dirty_age_seconds"), 100, 110);
    cached_free(cached);
}

/* Of this process, for a hundred zeros. */
static uint64_t
cpu_ns(struct cached *cached, uint64_t count)
{
    struct timespec from, to;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    for (unsigned i = 0; i < 100; i++) {
        zero_now(cached, 10000, count);
        asked_answer(expect_zero(cached, 10000, count), 0);
    }
    cached_settle(cached);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    return (uint64_t)(to.tv_sec - from.tv_sec) * NS_PER_S + (uint64_t)to.tv_nsec
           - (uint64_t)from.tv_nsec;
}

TEST(zeros, a_long_zero_costs_no_more_than_a_short_one_while_little_is_cached)
{
    enum { BLOCKS = 1 << 18 };
    struct cached *cached = cached_new((struct cache_config){
        .block_count = 4 * BLOCKS, .blocks_max = BLOCKS, .write_delay_ns = EVER_NS });

    for (unsigned blocks = 0; blocks <= 10; blocks += 10) {
        for (unsigned block = 0; block < blocks; block++)
            write_now(cached, block, 0, 1, 0x11);
        for (uint64_t count = BLOCKS / 2; count <= 2 * BLOCKS; count *= 4)
            assert_true(cpu_ns(cached, count) < 20 * cpu_ns(cached, 1));
    }
    cached_free(cached);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(zeros, a_zero_is_done_when_it_is_on_its_way),
        RUN(zeros, zeroed_blocks_are_read_without_a_request_before_the_store_knows),
        RUN(zeros, blocks_beside_a_zeroed_range_stay),
        RUN(zeros, dirty_data_in_the_range_is_dropped_and_never_stored),
        RUN(zeros, a_zero_waits_for_a_block_in_flight),
        RUN(zeros,
            a_zero_goes_on_when_the_flight_it_waited_for_failed_and_drops_what_was_not_stored),
        RUN(zeros, a_zero_waits_for_a_fetch_whose_reader_gets_the_old_or_the_new),
        RUN(zeros, a_zero_goes_on_when_the_fetch_it_waited_for_failed),
        RUN(zeros, a_zero_waits_for_who_copies_out_of_the_block_and_into_it),
        RUN(zeros, what_is_written_after_a_zero_begins_as_zeros_and_is_stored_after_it),
        RUN(zeros, a_block_that_was_being_written_to_when_the_zero_was_stored_is_stored),
        RUN(zeros, a_flush_waits_for_a_zero),
        RUN(zeros, a_flush_does_not_wait_for_a_zero_that_came_later),
        RUN(zeros, a_flush_that_waited_for_a_block_that_a_zero_dropped_waits_for_the_zero),
        RUN(zeros, a_synchronous_write_that_a_zero_dropped_waits_for_the_zero),
        RUN(zeros, a_failed_zero_is_reported_by_the_flush_and_tried_again),
        RUN(zeros, a_failed_zero_is_not_tried_again_and_again_while_a_flush_waits_for_others),
        RUN(zeros, what_was_written_after_a_zero_stays_unstored_until_the_zero_succeeds),
        RUN(zeros, a_flush_reports_what_was_written_after_a_zero_that_failed),
        RUN(zeros, of_overlapping_zeros_one_goes_after_the_other),
        RUN(zeros, what_was_written_between_two_zeros_of_a_block_does_not_outlive_the_second),
        RUN(zeros, a_zero_that_overlaps_one_that_waits_waits_too),
        RUN(zeros, a_huge_range_is_zeroed_in_no_time),
        RUN(zeros, many_zeros_at_once_are_all_carried_out),
        RUN(zeros, the_room_of_dropped_blocks_goes_to_who_waits_for_room),
        RUN(zeros, writers_stopped_at_the_dirty_limit_go_on_when_a_zero_drops_dirty_blocks),
        RUN(zeros, what_the_store_lacks_is_as_old_as_the_oldest_write_or_zero),
        RUN(zeros, a_long_zero_costs_no_more_than_a_short_one_while_little_is_cached),
    };

    return cmocka_run_group_tests_name("zeros", tests, NULL, NULL);
}
