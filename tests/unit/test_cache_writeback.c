/* SPDX-License-Identifier: Apache-2.0 */
/* core/cache.c: what is dirty goes to the store: when, how often, what a flush waits for, what is slowed. */
#include "fake_store.h"

#include <errno.h>
#include <time.h>

#define DELAY_NS (10 * NS_PER_S)

/* A block that is cached whole. */
static void
fetch(struct cached *cached, uint64_t block)
{
    struct wish wish;

    wish_read(cached, &wish, block, 0, SECTORS);
    below_answer(&cached->below, STORE_READ, block, 0);
    wish_expect(&wish, stored_byte(block));
}

/* A block that is stored whole if nobody stops it, but not at once. */
static void
make_dirty(struct cached *cached, uint64_t block, unsigned char fill)
{
    if (!is_cached(cached, block))
        fetch(cached, block);
    write_now(cached, block, 0, 1, fill);
}

static void
expect_done(struct wish *wish, int rc)
{
    assert_int_equal(wish_end(wish), rc);
}

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

/* ---- flushes */

TEST(writeback, a_flush_is_done_at_once_when_all_is_stored)
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

TEST(writeback, a_flush_sends_what_is_dirty_at_once_and_waits_for_it_and_for_what_is_in_flight)
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

TEST(writeback, a_flush_does_not_wait_for_what_becomes_dirty_later)
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

TEST(writeback, a_flush_is_not_done_by_what_became_dirty_later)
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

TEST(writeback, a_flush_ends_although_its_blocks_become_dirty_again_all_the_time)
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

TEST(writeback, flushes_share_a_flight)
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

TEST(writeback, a_flush_reports_a_failed_write_once_and_the_next_one_tries_again)
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

TEST(writeback, what_failed_is_tried_again_after_a_pause)
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

TEST(writeback, a_flush_waits_for_the_others_when_one_fails)
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

TEST(writeback, what_failed_is_not_tried_again_and_again_while_a_flush_waits_for_others)
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

TEST(writeback, a_flush_that_comes_later_does_not_report_what_failed_before)
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

TEST(writeback, a_fetch_that_fails_before_storing_fails_the_flush_and_others_are_stored)
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

TEST(writeback, a_failed_block_that_is_written_to_keeps_all_that_was_written)
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

/* ---- not too much is dirty */

TEST(writeback, writers_stop_at_the_dirty_limit_and_go_on_one_for_one)
{
    struct cached *cached =
        cached_new((struct cache_config){ .write_delay_ns = EVER_NS, .dirty_max = 4 });
    struct wish more[3];

    for (unsigned block = 0; block < 4; block++)
        write_now(cached, block, 0, SECTORS, 0x11);
    for (unsigned i = 0; i < 3; i++)
        wish_write(cached, &more[i], 10 + i, 0, SECTORS, 0x22);
    for (unsigned done = 0; done < 4; done++) {
        cached_settle(cached);
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(wish_is_done(&more[i]), i < done);
        below_answer(&cached->below, STORE_WRITE, done, 0);
    }
    for (unsigned i = 0; i < 3; i++) {
        expect_done(&more[i], 0);
        below_answer(&cached->below, STORE_WRITE, 10 + i, 0);
    }
    assert_int_equal(cached_counter(cached, "stopped_writes"), 3);
    cached_free(cached);
}

TEST(writeback, who_stops_at_the_dirty_limit_does_not_wait_for_the_write_delay)
{
    struct cached *cached =
        cached_new((struct cache_config){ .write_delay_ns = EVER_NS, .dirty_max = 2 });
    struct wish more;

    make_dirty(cached, 1, 0x11);
    make_dirty(cached, 2, 0x22);
    wish_write(cached, &more, 3, 0, 1, 0x33);
    assert_false(wish_is_done(&more));
    below_answer(&cached->below, STORE_WRITE, 1, 0);
    expect_done(&more, 0);
    below_answer(&cached->below, STORE_READ, 3, 0);
    below_answer(&cached->below, STORE_WRITE, 2, 0);
    below_answer(&cached->below, STORE_WRITE, 3, 0);
    cached_free(cached);
}

TEST(writeback, a_block_that_is_completed_to_be_stored_counts_once_at_the_dirty_limit)
{
    struct cached *cached =
        cached_new((struct cache_config){ .write_delay_ns = EVER_NS, .dirty_max = 2 });
    struct wish more;

    make_dirty(cached, 1, 0x11);
    write_now(cached, 2, 0, 1, 0x22);
    below_answer(&cached->below, STORE_WRITE, 1, 0);
    wish_write(cached, &more, 3, 0, 1, 0x33);
    assert_true(wish_is_done(&more));
    expect_done(&more, 0);
    below_answer(&cached->below, STORE_READ, 2, 0);
    below_answer(&cached->below, STORE_WRITE, 2, 0);
    below_answer(&cached->below, STORE_READ, 3, 0);
    below_answer(&cached->below, STORE_WRITE, 3, 0);
    cached_free(cached);
}

TEST(writeback, a_dirty_block_can_be_written_to_at_the_dirty_limit)
{
    struct cached *cached = cached_new(
        (struct cache_config){ .write_delay_ns = EVER_NS, .dirty_max = 2, .in_flight_max = 1 });

    write_now(cached, 1, 0, SECTORS, 0x11);
    write_now(cached, 2, 0, 1, 0x22);
    write_now(cached, 2, 4, 1, 0x33);
    below_answer(&cached->below, STORE_WRITE, 1, 0);
    cached_free(cached);
}

TEST(writeback, who_waits_for_room_gets_an_error_in_time_when_nothing_is_stored)
{
    struct cached *cached = cached_new((struct cache_config){
        .write_delay_ns = EVER_NS, .blocks_max = 4, .dirty_max = 1, .stall_ns = 600 * NS_PER_S });
    struct asked *flight;
    struct wish write, read;

    write_now(cached, 1, 0, SECTORS, 0x11);
    flight = below_expect(&cached->below, STORE_WRITE, 1);
    cached_sleep(cached, 10 * NS_PER_S);
    wish_write(cached, &write, 2, 0, SECTORS, 0x22);
    cached_sleep(cached, 590 * NS_PER_S);
    asked_answer(flight, -EIO);
    cached_settle(cached);
    assert_false(wish_is_done(&write));
    cached_sleep(cached, 10 * NS_PER_S);
    flight = below_expect(&cached->below, STORE_WRITE, 1);
    assert_true(wish_is_done(&write));
    expect_done(&write, -EIO);
    wish_read(cached, &read, 3, 0, SECTORS); /* the rest goes on */
    below_answer(&cached->below, STORE_READ, 3, 0);
    expect_done(&read, 0);
    asked_answer(flight, 0);
    cached_free(cached);
}

TEST(writeback, who_waits_for_room_gets_no_error_from_a_slow_store)
{
    struct cached *cached = cached_new((struct cache_config){
        .write_delay_ns = EVER_NS, .dirty_max = 1, .stall_ns = 600 * NS_PER_S });
    struct wish writes[4];

    write_now(cached, 1, 0, SECTORS, 0x11);
    for (unsigned i = 0; i < 4; i++)
        wish_write(cached, &writes[i], 2 + i, 0, SECTORS, 0x22);
    for (unsigned i = 0; i < 4; i++) {
        cached_sleep(cached, 500 * NS_PER_S);
        assert_false(wish_is_done(&writes[i]));
        below_answer(&cached->below, STORE_WRITE, ANY_BLOCK, 0);
        expect_done(&writes[i], 0);
    }
    below_answer(&cached->below, STORE_WRITE, ANY_BLOCK, 0);
    cached_free(cached);
}

TEST(writeback, who_has_waited_long_for_room_gets_an_error_when_storing_fails)
{
    struct cached *cached = cached_new((struct cache_config){
        .write_delay_ns = EVER_NS, .dirty_max = 2, .stall_ns = 600 * NS_PER_S });
    struct asked *flights[2];
    struct wish writes[3];

    write_now(cached, 1, 0, SECTORS, 0x11);
    write_now(cached, 2, 0, SECTORS, 0x11);
    for (unsigned i = 0; i < 2; i++)
        flights[i] = below_expect(&cached->below, STORE_WRITE, 1 + i);
    for (unsigned i = 0; i < 2; i++)
        wish_write(cached, &writes[i], 3 + i, 0, SECTORS, 0x22);
    cached_sleep(cached, 500 * NS_PER_S);
    asked_answer(flights[0], 0);
    expect_done(&writes[0], 0);
    flights[0] = below_expect(&cached->below, STORE_WRITE, 3);
    wish_write(cached, &writes[2], 5, 0, SECTORS, 0x22);
    cached_sleep(cached, 200 * NS_PER_S);
    assert_false(wish_is_done(&writes[1]));
    asked_answer(flights[1], -EIO);
    expect_done(&writes[1], -EIO);
    assert_false(wish_is_done(&writes[2]));
    asked_answer(flights[0], 0);
    expect_done(&writes[2], 0);
    below_answer(&cached->below, STORE_WRITE, 5, 0);
    cached_sleep(cached, 60 * NS_PER_S);
    below_answer(&cached->below, STORE_WRITE, 2, 0);
    cached_free(cached);
}

/* The store takes one block each GAP_NS; there is always somebody who wants to write. */
enum { GAP_STEPS = 10, WRITERS = 8 };
#define STEP_NS (5 * NS_PER_MS)

struct crowd {
    struct wish wishes[WRITERS];
    uint64_t next_block;
    unsigned accepted;
};

static void
crowd_go_on(struct cached *cached, struct crowd *crowd)
{
    for (unsigned i = 0; i < WRITERS; i++) {
        if (!wish_is_done(&crowd->wishes[i]))
            continue;
        expect_done(&crowd->wishes[i], 0);
        crowd->accepted++;
        wish_write(cached, &crowd->wishes[i], crowd->next_block++, 0, SECTORS, 0x11);
    }
}

/* Returns the most that were accepted between two answers of the store. */
static unsigned
crowd_write(struct cached *cached, struct crowd *crowd, unsigned gaps)
{
    unsigned most = 0;

    for (unsigned gap = 0; gap < gaps; gap++) {
        unsigned before = crowd->accepted;

        for (unsigned step = 0; step < GAP_STEPS; step++) {
            cached_sleep(cached, STEP_NS);
            crowd_go_on(cached, crowd);
        }
        below_answer(&cached->below, STORE_WRITE, ANY_BLOCK, 0);
        if (crowd->accepted - before > most)
            most = crowd->accepted - before;
    }
    return most;
}

TEST(writeback, writers_are_slowed_to_the_rate_of_the_store_and_do_not_find_the_limit_reached)
{
    struct cached *cached = cached_new((struct cache_config){ .block_count = 4096,
                                                              .blocks_max = 128,
                                                              .dirty_max = 64,
                                                              .in_flight_max = 4,
                                                              .write_delay_ns = EVER_NS });
    static struct crowd crowd;
    uint64_t stopped, slowed;
    unsigned most;

    for (unsigned i = 0; i < WRITERS; i++)
        wish_write(cached, &crowd.wishes[i], crowd.next_block++, 0, SECTORS, 0x11);
    while (cached_gauge(cached, "dirty_blocks") < 40)
        crowd_go_on(cached, &crowd);
    crowd_write(cached, &crowd, 60);
    stopped = cached_counter(cached, "stopped_writes");
    slowed = cached_counter(cached, "slowed_writes");
    crowd.accepted = 0;
    most = crowd_write(cached, &crowd, 80);
    print_message("%u accepted while 80 were stored, at most %u at once\n", crowd.accepted, most);
    assert_in_range(crowd.accepted, 72, 88);
    assert_in_range(most, 1, 4);
    assert_int_equal(cached_counter(cached, "stopped_writes"), stopped);
    assert_in_range(cached_counter(cached, "slowed_writes") - slowed, 72, 96);
    below_mode(&cached->below, BELOW_ANSWERS);
    cached_settle(cached);
    while (cached->below.first != NULL)
        below_answer(&cached->below, STORE_WRITE, ANY_BLOCK, 0);
    cached_sleep(cached, 10 * NS_PER_S);
    for (unsigned i = 0; i < WRITERS; i++)
        expect_done(&crowd.wishes[i], 0);
    cached_free(cached);
}

TEST(writeback, nobody_is_slowed_below_three_quarters_of_the_limit)
{
    struct cached *cached = cached_new((struct cache_config){
        .blocks_max = 64, .dirty_max = 32, .write_delay_ns = EVER_NS, .in_flight_max = 4 });

    for (unsigned block = 0; block < 24; block++)
        write_now(cached, block, 0, SECTORS, 0x11);
    assert_int_equal(cached_counter(cached, "slowed_writes"), 0);
    cached_settle(cached);
    for (unsigned block = 0; block < 24; block++)
        below_answer(&cached->below, STORE_WRITE, ANY_BLOCK, 0);
    cached_free(cached);
}

/* ---- synchronous writes, seeks */

TEST(writeback, a_synchronous_write_is_done_when_the_store_has_it)
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

TEST(writeback, a_synchronous_write_reports_that_it_failed)
{
    struct cached *cached =
        cached_new((struct cache_config){ .write_delay_ns = EVER_NS, .is_sync = true });
    struct wish write;

    wish_write(cached, &write, 3, 0, SECTORS, 0x11);
    below_answer(&cached->below, STORE_WRITE, 3, -EROFS);
    expect_done(&write, -EROFS);
    cached_free(cached);
}

TEST(writeback, a_synchronous_write_is_done_although_another_one_cannot_be_stored)
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

TEST(writeback, a_seek_goes_down_when_what_was_dirty_is_stored)
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

TEST(writeback, a_seek_fails_when_what_was_dirty_cannot_be_stored)
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
        RUN(writeback, a_flush_is_done_at_once_when_all_is_stored),
        RUN(writeback,
            a_flush_sends_what_is_dirty_at_once_and_waits_for_it_and_for_what_is_in_flight),
        RUN(writeback, a_flush_does_not_wait_for_what_becomes_dirty_later),
        RUN(writeback, a_flush_is_not_done_by_what_became_dirty_later),
        RUN(writeback, a_flush_ends_although_its_blocks_become_dirty_again_all_the_time),
        RUN(writeback, flushes_share_a_flight),
        RUN(writeback, a_flush_reports_a_failed_write_once_and_the_next_one_tries_again),
        RUN(writeback, what_failed_is_tried_again_after_a_pause),
        RUN(writeback, a_flush_waits_for_the_others_when_one_fails),
        RUN(writeback, what_failed_is_not_tried_again_and_again_while_a_flush_waits_for_others),
        RUN(writeback, a_flush_that_comes_later_does_not_report_what_failed_before),
        RUN(writeback, a_fetch_that_fails_before_storing_fails_the_flush_and_others_are_stored),
        RUN(writeback, a_failed_block_that_is_written_to_keeps_all_that_was_written),
        RUN(writeback, writers_stop_at_the_dirty_limit_and_go_on_one_for_one),
        RUN(writeback, who_stops_at_the_dirty_limit_does_not_wait_for_the_write_delay),
        RUN(writeback, a_block_that_is_completed_to_be_stored_counts_once_at_the_dirty_limit),
        RUN(writeback, a_dirty_block_can_be_written_to_at_the_dirty_limit),
        RUN(writeback, who_waits_for_room_gets_an_error_in_time_when_nothing_is_stored),
        RUN(writeback, who_waits_for_room_gets_no_error_from_a_slow_store),
        RUN(writeback, who_has_waited_long_for_room_gets_an_error_when_storing_fails),
        RUN(writeback,
            writers_are_slowed_to_the_rate_of_the_store_and_do_not_find_the_limit_reached),
        RUN(writeback, nobody_is_slowed_below_three_quarters_of_the_limit),
        RUN(writeback, a_synchronous_write_is_done_when_the_store_has_it),
        RUN(writeback, a_synchronous_write_reports_that_it_failed),
        RUN(writeback, a_synchronous_write_is_done_although_another_one_cannot_be_stored),
        RUN(writeback, a_seek_goes_down_when_what_was_dirty_is_stored),
        RUN(writeback, a_seek_fails_when_what_was_dirty_cannot_be_stored),
    };

    return cmocka_run_group_tests_name("writeback", tests, NULL, NULL);
}
