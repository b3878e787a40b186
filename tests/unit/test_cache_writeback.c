/* SPDX-License-Identifier: Apache-2.0 */
/* core/cache.c: what is dirty goes to the store: when, in which order, how often. */
#include "fake_store.h"

#include <errno.h>
#include <time.h>

#define DELAY_NS (10 * NS_PER_S)

/* ---- when a block goes */

TEST(writeback, a_dirty_block_waits_for_more_writes_and_goes_after_the_delay)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = DELAY_NS });
    struct asked *flight;

    make_dirty(cached, 3, 0x11);
    cached_sleep(cached, DELAY_NS * 9 / 10);
    cached_expect_quiet(cached);
    write_now(cached, 3, 2, 1, 0x22); /* which does not prolong it */
    cached_sleep(cached, DELAY_NS / 10);
    flight = below_expect(&cached->below, STORE_WRITE, 3);
    asked_expect_data(flight, 0, 1, 0x11);
    asked_expect_data(flight, 1, 1, stored_byte(3));
    asked_expect_data(flight, 2, 1, 0x22);
    asked_expect_data(flight, 3, 5, stored_byte(3));
    asked_answer(flight, 0);
    cached_sleep(cached, 10 * DELAY_NS);
    cached_expect_quiet(cached);
    assert_int_equal(cached_gauge(cached, "dirty_blocks"), 0);
    cached_free(cached);
}

TEST(writeback, a_block_that_is_written_to_again_soon_waits_longer)
{
    struct cached *cached = cached_new(
        (struct cache_config){ .write_delay_ns = DELAY_NS, .write_delay_max_ns = 8 * DELAY_NS });

    for (unsigned round = 0; round < 3; round++) {
        if (round == 2)
            cached_sleep(cached, 20 * DELAY_NS); /* now it is like others again */
        make_dirty(cached, 3, 0x11);
        make_dirty(cached, 4 + round, 0x11);
        cached_sleep(cached, DELAY_NS);
        if (round == 1) {
            below_answer(&cached->below, STORE_WRITE, 5, 0);
            cached_sleep(cached, 6 * DELAY_NS);
            cached_expect_quiet(cached);
            cached_sleep(cached, DELAY_NS);
            below_answer(&cached->below, STORE_WRITE, 3, 0);
        } else {
            below_answer(&cached->below, STORE_WRITE, 3, 0);
            below_answer(&cached->below, STORE_WRITE, 4 + round, 0);
        }
    }
    cached_free(cached);
}

TEST(writeback, a_flush_does_not_wait_for_the_delay_of_a_block_that_is_written_to_again_and_again)
{
    struct cached *cached = cached_new(
        (struct cache_config){ .write_delay_ns = DELAY_NS, .write_delay_max_ns = 8 * DELAY_NS });
    struct wish flush;

    for (unsigned round = 0; round < 3; round++) {
        make_dirty(cached, 3, 0x11);
        wish_flush(cached, &flush);
        below_answer(&cached->below, STORE_WRITE, 3, 0);
        expect_done(&flush, 0);
    }
    cached_free(cached);
}

TEST(writeback, a_block_dirty_all_over_goes_at_once)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = EVER_NS });

    for (uint32_t sector = 0; sector < SECTORS; sector++) {
        cached_expect_quiet(cached);
        write_now(cached, 3, SECTORS - 1 - sector, 1, 0x11);
    }
    below_answer(&cached->below, STORE_WRITE, 3, 0);
    below_expect_stored(&cached->below, 3, 0, SECTORS, 0x11);
    assert_int_equal(below_asked(&cached->below, STORE_READ), 0);
    cached_free(cached);
}

TEST(writeback, the_rest_of_an_incomplete_block_is_fetched_when_it_goes)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = DELAY_NS });
    struct asked *fetch, *flight;

    write_now(cached, 3, 2, 3, 0x11);
    cached_sleep(cached, DELAY_NS * 9 / 10);
    cached_expect_quiet(cached);
    cached_sleep(cached, DELAY_NS / 10);
    fetch = below_expect(&cached->below, STORE_READ, 3);
    write_now(cached, 3, 0, 1, 0x22);
    asked_answer(fetch, 0);
    flight = below_expect(&cached->below, STORE_WRITE, 3);
    asked_expect_data(flight, 0, 1, 0x22);
    asked_expect_data(flight, 1, 1, stored_byte(3));
    asked_expect_data(flight, 2, 3, 0x11);
    asked_expect_data(flight, 5, 3, stored_byte(3));
    asked_answer(flight, 0);
    cached_free(cached);
}

TEST(writeback, the_rest_of_a_block_of_zeros_is_not_fetched)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = DELAY_NS });

    below_is_zero(&cached->below, 3);
    write_now(cached, 3, 2, 3, 0x11);
    cached_sleep(cached, DELAY_NS);
    below_answer(&cached->below, STORE_WRITE, 3, 0);
    below_expect_stored(&cached->below, 3, 0, 2, 0);
    below_expect_stored(&cached->below, 3, 2, 3, 0x11);
    below_expect_stored(&cached->below, 3, 5, 3, 0);
    assert_int_equal(below_asked(&cached->below, STORE_READ), 0);
    cached_free(cached);
}

TEST(writeback, a_block_that_came_due_while_it_was_fetched_goes_afterwards)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = DELAY_NS });
    struct wish read;

    write_now(cached, 3, 2, 3, 0x11);
    wish_read(cached, &read, 3, 0, SECTORS);
    cached_sleep(cached, DELAY_NS);
    below_answer(&cached->below, STORE_READ, 3, 0);
    expect_done(&read, 0);
    below_answer(&cached->below, STORE_WRITE, 3, 0);
    cached_free(cached);
}

TEST(writeback, a_block_that_came_due_while_it_was_written_to_goes_afterwards)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = DELAY_NS });
    struct stuck writer;

    make_dirty(cached, 3, 0x11);
    stuck_write(cached, &writer, 3, 2, 1, 0x22);
    cached_sleep(cached, DELAY_NS);
    cached_expect_quiet(cached);
    assert_int_equal(stuck_end(&writer), 0);
    below_answer(&cached->below, STORE_WRITE, 3, 0);
    below_expect_stored(&cached->below, 3, 2, 1, 0x22);
    cached_free(cached);
}

TEST(writeback, a_block_is_stored_while_somebody_reads_it)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = DELAY_NS });
    struct stuck reader;

    make_dirty(cached, 3, 0x11);
    stuck_read(cached, &reader, 3, 0, 1);
    cached_sleep(cached, DELAY_NS);
    below_answer(&cached->below, STORE_WRITE, 3, 0);
    assert_int_equal(stuck_end(&reader), 0);
    assert_int_equal(reader.wish.req.rc, 0);
    cached_free(cached);
}

TEST(writeback, full_blocks_go_before_partial_ones)
{
    struct cached *cached =
        cached_new((struct cache_config){ .write_delay_ns = DELAY_NS, .in_flight_max = 1 });

    write_now(cached, 1, 0, SECTORS, 0x11); /* takes the only place */
    make_dirty(cached, 2, 0x22);
    write_now(cached, 3, 0, 1, 0x33);
    cached_sleep(cached, DELAY_NS + NS_PER_S / 2);
    write_now(cached, 4, 0, SECTORS, 0x44);
    write_now(cached, 5, 0, SECTORS, 0x55);
    below_answer(&cached->below, STORE_WRITE, 1, 0);
    below_answer(&cached->below, STORE_WRITE, 4, 0);
    cached_settle(cached);
    below_answer(&cached->below, STORE_WRITE, 5, 0);
    below_answer(&cached->below, STORE_WRITE, 2, 0);
    below_answer(&cached->below, STORE_READ, 3, 0);
    below_answer(&cached->below, STORE_WRITE, 3, 0);
    cached_free(cached);
}

TEST(writeback, partial_blocks_do_not_wait_for_full_ones_for_ever)
{
    struct cached *cached =
        cached_new((struct cache_config){ .write_delay_ns = DELAY_NS, .in_flight_max = 1 });

    write_now(cached, 1, 0, SECTORS, 0x11);
    make_dirty(cached, 2, 0x22);
    cached_sleep(cached, DELAY_NS + 2 * NS_PER_S);
    write_now(cached, 4, 0, SECTORS, 0x44);
    below_answer(&cached->below, STORE_WRITE, 1, 0);
    below_answer(&cached->below, STORE_WRITE, 2, 0);
    below_answer(&cached->below, STORE_WRITE, 4, 0);
    cached_free(cached);
}

TEST(writeback, full_blocks_do_not_wait_for_partial_ones_for_ever)
{
    struct cached *cached =
        cached_new((struct cache_config){ .write_delay_ns = DELAY_NS, .in_flight_max = 1 });

    make_dirty(cached, 2, 0x22);
    cached_sleep(cached, DELAY_NS / 2);
    make_dirty(cached, 3, 0x33);
    write_now(cached, 1, 0, SECTORS, 0x11); /* takes the only place */
    write_now(cached, 4, 0, SECTORS, 0x44);
    cached_sleep(cached, DELAY_NS + 2 * NS_PER_S); /* now all are overdue */
    below_answer(&cached->below, STORE_WRITE, 1, 0);
    cached_settle(cached);
    below_answer(&cached->below, STORE_WRITE, 4, 0); /* was due before the others */
    cached_settle(cached);
    below_answer(&cached->below, STORE_WRITE, 2, 0);
    cached_settle(cached);
    below_answer(&cached->below, STORE_WRITE, 3, 0);
    cached_free(cached);
}

TEST(writeback, what_failed_is_tried_again_although_full_blocks_come_all_the_time)
{
    struct cached *cached =
        cached_new((struct cache_config){ .write_delay_ns = DELAY_NS, .in_flight_max = 1 });
    uint64_t next = 10;

    write_now(cached, 1, 0, SECTORS, 0x11);
    below_answer(&cached->below, STORE_WRITE, 1, -EIO);
    write_now(cached, next, 0, SECTORS, 0x22);
    for (; below_asked(&cached->below, STORE_WRITE) < 20; next++) {
        cached_sleep(cached, NS_PER_S);
        if (cached->below.first->req->block == 1)
            break;
        write_now(cached, next + 1, 0, SECTORS, 0x22);
        below_answer(&cached->below, STORE_WRITE, next, 0);
    }
    below_answer(&cached->below, STORE_WRITE, 1, 0);
    cached_settle(cached);
    while (cached->below.first != NULL) {
        below_answer(&cached->below, STORE_WRITE, ANY_BLOCK, 0);
        cached_settle(cached);
    }
    cached_free(cached);
}

TEST(writeback, what_a_flush_waits_for_goes_before_what_was_written_later)
{
    struct cached *cached =
        cached_new((struct cache_config){ .write_delay_ns = EVER_NS, .in_flight_max = 1 });
    struct wish flush;

    write_now(cached, 1, 0, SECTORS, 0x11);
    make_dirty(cached, 2, 0x22);
    wish_flush(cached, &flush);
    for (unsigned block = 10; block < 20; block++)
        write_now(cached, block, 0, SECTORS, 0x33);
    below_answer(&cached->below, STORE_WRITE, 1, 0);
    below_answer(&cached->below, STORE_WRITE, 2, 0);
    expect_done(&flush, 0);
    for (unsigned block = 10; block < 20; block++)
        below_answer(&cached->below, STORE_WRITE, block, 0);
    cached_free(cached);
}

/* Blocks [0, 8) are dirty in every way: in flight, full, whole, lacking sectors. */
static void
make_all_kinds_dirty(struct cached *cached)
{
    for (uint64_t block = 0; block < 2; block++)
        write_now(cached, block, 0, SECTORS, 0x11);
    cached_settle(cached);
    for (uint64_t block = 2; block < 4; block++)
        write_now(cached, block, 0, SECTORS, 0x11);
    for (uint64_t block = 4; block < 6; block++)
        make_dirty(cached, block, 0x11);
    for (uint64_t block = 6; block < 8; block++)
        write_now(cached, block, 3, 1, 0x11);
}

TEST(writeback, a_flush_is_not_kept_waiting_by_full_blocks_that_come_all_the_time)
{
    struct cached *cached = cached_new((struct cache_config){
        .block_count = 4000, .blocks_max = 256, .write_delay_ns = EVER_NS, .in_flight_max = 2 });
    unsigned answers = 0;
    uint64_t next = 100;
    struct wish flush;

    make_all_kinds_dirty(cached);
    wish_flush(cached, &flush);
    for (; !wish_is_done(&flush) && answers < 80; answers++) {
        struct asked *asked;

        for (unsigned i = 0; i < 3; i++)
            write_now(cached, next++, 0, SECTORS, 0x22);
        cached_settle(cached);
        asked = cached->below.first->req->op == STORE_READ
                    ? below_expect(&cached->below, STORE_READ, ANY_BLOCK)
                    : below_expect(&cached->below, STORE_WRITE, ANY_BLOCK);
        asked_answer(asked, 0);
        cached_settle(cached);
    }
    expect_done(&flush, 0);
    assert_int_equal(answers, 8 + 2); /* two are fetched first */
    below_mode(&cached->below, BELOW_ANSWERS);
    while (cached->below.first != NULL) {
        below_answer(&cached->below, STORE_WRITE, ANY_BLOCK, 0);
        cached_settle(cached);
    }
    cached_free(cached);
}

TEST(writeback, no_more_is_in_flight_than_allowed_and_no_less_when_somebody_waits)
{
    struct cached *cached =
        cached_new((struct cache_config){ .write_delay_ns = EVER_NS, .in_flight_max = 4 });
    struct wish flush;

    for (unsigned block = 0; block < 10; block++)
        make_dirty(cached, block, 0x11);
    cached->below.there_peak = 0;
    wish_flush(cached, &flush);
    for (unsigned block = 0; block < 10; block++) {
        cached_settle(cached);
        assert_int_equal(cached->below.there_now, block < 7 ? 4 : 10 - block);
        below_answer(&cached->below, STORE_WRITE, ANY_BLOCK, 0);
    }
    expect_done(&flush, 0);
    assert_int_equal(cached->below.there_peak, 4);
    cached_free(cached);
}

/* The processor's time for each of `count` blocks that lack sectors; of half of them, a zero is stored before. */
static uint64_t
store_partial_ns(uint32_t count)
{
    struct cached *cached = cached_new((struct cache_config){ .block_bytes = 2 * SECTOR_BYTES,
                                                              .block_count = count,
                                                              .blocks_max = 2 * count,
                                                              .write_delay_ns = EVER_NS,
                                                              .in_flight_max = 128 });
    struct timespec begin, end;
    struct wish wish;

    wish_zero(cached, &wish, 0, count / 2);
    expect_done(&wish, 0);
    for (uint32_t block = 0; block < count; block++)
        write_now(cached, block, 0, 1, 0x11);
    cached_settle(cached);
    below_mode(&cached->below, BELOW_ANSWERS);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    below_answer(&cached->below, STORE_ZERO, 0, 0);
    wish_flush(cached, &wish);
    expect_done(&wish, 0);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    cached_free(cached);
    return ((uint64_t)(end.tv_sec - begin.tv_sec) * NS_PER_S + (uint64_t)end.tv_nsec
            - (uint64_t)begin.tv_nsec)
           / count;
}

TEST(writeback, to_store_a_partial_block_takes_no_longer_when_there_are_many)
{
    uint64_t few_ns = store_partial_ns(4000), many_ns = store_partial_ns(40000);

    print_message("%ju ns a block of few, %ju of many\n", (uintmax_t)few_ns, (uintmax_t)many_ns);
    assert_in_range(many_ns, 0, 4 * few_ns);
}

/* ---- writes to a block in flight */

TEST(writeback, a_block_written_to_in_flight_goes_again_afterwards_and_both_carry_their_own)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = DELAY_NS });
    struct asked *flight;

    write_now(cached, 3, 0, SECTORS, 0x11);
    flight = below_expect(&cached->below, STORE_WRITE, 3);
    write_now(cached, 3, 0, SECTORS, 0x22);
    write_now(cached, 3, 2, 2, 0x33);
    expect_read(cached, 3, 0, 2, 0x22);
    expect_read(cached, 3, 2, 2, 0x33);
    cached_expect_quiet(cached); /* not twice at once */
    asked_expect_data(flight, 0, SECTORS, 0x11);
    asked_answer(flight, 0);
    below_expect_stored(&cached->below, 3, 0, SECTORS, 0x11);
    flight = below_expect(&cached->below, STORE_WRITE, 3);
    asked_expect_data(flight, 0, 2, 0x22);
    asked_expect_data(flight, 2, 2, 0x33);
    asked_expect_data(flight, 4, 4, 0x22);
    asked_answer(flight, 0);
    cached_expect_quiet(cached);
    assert_int_equal(cached_counter(cached, "cache_copied_blocks"), 1);
    cached_free(cached);
}

TEST(writeback, a_part_written_in_flight_leaves_the_rest_of_the_block_as_it_was)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = DELAY_NS });
    struct asked *flight;
    struct wish write;

    write_now(cached, 3, 0, SECTORS, 0x11);
    flight = below_expect(&cached->below, STORE_WRITE, 3);
    wish_write_bytes(cached, &write, 3, 3 * SECTOR_BYTES + 7, 2, 0x22);
    assert_true(wish_is_done(&write));
    expect_done(&write, 0);
    asked_answer(flight, 0);
    cached_sleep(cached, DELAY_NS);
    below_answer(&cached->below, STORE_WRITE, 3, 0);
    below_expect_stored(&cached->below, 3, 0, 3, 0x11);
    below_expect_stored(&cached->below, 3, 4, 4, 0x11);
    assert_int_equal(cached->below.data[3 * BLOCK_BYTES + 3 * SECTOR_BYTES + 6], 0x11);
    assert_int_equal(cached->below.data[3 * BLOCK_BYTES + 3 * SECTOR_BYTES + 7], 0x22);
    assert_int_equal(cached->below.data[3 * BLOCK_BYTES + 3 * SECTOR_BYTES + 9], 0x11);
    cached_free(cached);
}

TEST(writeback, a_flight_may_end_while_its_block_is_written_to)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = DELAY_NS });
    struct stuck writer;
    struct asked *flight;

    write_now(cached, 3, 0, SECTORS, 0x11);
    flight = below_expect(&cached->below, STORE_WRITE, 3);
    stuck_write(cached, &writer, 3, 0, 1, 0x22);
    asked_answer(flight, 0);
    cached_expect_quiet(cached);
    assert_int_equal(stuck_end(&writer), 0);
    cached_sleep(cached, DELAY_NS);
    below_answer(&cached->below, STORE_WRITE, 3, 0);
    below_expect_stored(&cached->below, 3, 0, 1, 0x22);
    below_expect_stored(&cached->below, 3, 1, SECTORS - 1, 0x11);
    cached_free(cached);
}

TEST(writeback, a_flight_may_fail_while_its_block_is_written_to)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = DELAY_NS });
    struct stuck writer;
    struct asked *flight;

    write_now(cached, 3, 0, SECTORS, 0x11);
    flight = below_expect(&cached->below, STORE_WRITE, 3);
    stuck_write(cached, &writer, 3, 0, 1, 0x22);
    asked_answer(flight, -EIO);
    assert_int_equal(stuck_end(&writer), 0);
    cached_sleep(cached, DELAY_NS);
    below_answer(&cached->below, STORE_WRITE, 3, 0);
    below_expect_stored(&cached->below, 3, 0, 1, 0x22);
    below_expect_stored(&cached->below, 3, 1, SECTORS - 1, 0x11);
    cached_free(cached);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(writeback, a_dirty_block_waits_for_more_writes_and_goes_after_the_delay),
        RUN(writeback, a_block_that_is_written_to_again_soon_waits_longer),
        RUN(writeback,
            a_flush_does_not_wait_for_the_delay_of_a_block_that_is_written_to_again_and_again),
        RUN(writeback, a_block_dirty_all_over_goes_at_once),
        RUN(writeback, the_rest_of_an_incomplete_block_is_fetched_when_it_goes),
        RUN(writeback, the_rest_of_a_block_of_zeros_is_not_fetched),
        RUN(writeback, a_block_that_came_due_while_it_was_fetched_goes_afterwards),
        RUN(writeback, a_block_that_came_due_while_it_was_written_to_goes_afterwards),
        RUN(writeback, a_block_is_stored_while_somebody_reads_it),
        RUN(writeback, full_blocks_go_before_partial_ones),
        RUN(writeback, partial_blocks_do_not_wait_for_full_ones_for_ever),
        RUN(writeback, full_blocks_do_not_wait_for_partial_ones_for_ever),
        RUN(writeback, what_failed_is_tried_again_although_full_blocks_come_all_the_time),
        RUN(writeback, what_a_flush_waits_for_goes_before_what_was_written_later),
        RUN(writeback, a_flush_is_not_kept_waiting_by_full_blocks_that_come_all_the_time),
        RUN(writeback, no_more_is_in_flight_than_allowed_and_no_less_when_somebody_waits),
        RUN(writeback, to_store_a_partial_block_takes_no_longer_when_there_are_many),
        RUN(writeback, a_block_written_to_in_flight_goes_again_afterwards_and_both_carry_their_own),
        RUN(writeback, a_part_written_in_flight_leaves_the_rest_of_the_block_as_it_was),
        RUN(writeback, a_flight_may_end_while_its_block_is_written_to),
        RUN(writeback, a_flight_may_fail_while_its_block_is_written_to),
    };

    return cmocka_run_group_tests_name("writeback", tests, NULL, NULL);
}
