/* SPDX-License-Identifier: Apache-2.0 */
/* core/cache.c: who wants to write while too much is dirty: stopped at the limit, slowed before it, failed in the end. */
#include "fake_store.h"

#include <errno.h>

TEST(room, writers_stop_at_the_dirty_limit_and_go_on_one_for_one)
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

TEST(room, who_stops_at_the_dirty_limit_does_not_wait_for_the_write_delay)
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

TEST(room, a_block_that_is_completed_to_be_stored_counts_once_at_the_dirty_limit)
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

TEST(room, a_dirty_block_can_be_written_to_at_the_dirty_limit)
{
    struct cached *cached = cached_new(
        (struct cache_config){ .write_delay_ns = EVER_NS, .dirty_max = 2, .in_flight_max = 1 });

    write_now(cached, 1, 0, SECTORS, 0x11);
    write_now(cached, 2, 0, 1, 0x22);
    write_now(cached, 2, 4, 1, 0x33);
    below_answer(&cached->below, STORE_WRITE, 1, 0);
    cached_free(cached);
}

TEST(room, who_waits_for_room_gets_an_error_in_time_when_nothing_is_stored)
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

TEST(room,
     when_nothing_will_ever_be_stored_again_who_waits_gets_an_error_at_once_and_the_rest_is_dropped)
{
    struct cached *cached = cached_new((struct cache_config){
        .write_delay_ns = EVER_NS, .blocks_max = 4, .dirty_max = 1, .stall_ns = UINT64_MAX });
    struct wish write, read, flush, zero;

    write_now(cached, 1, 0, SECTORS, 0x11);
    wish_zero(cached, &zero, 8, 2);
    expect_done(&zero, 0);
    wish_flush(cached, &flush);
    wish_write(cached, &write, 2, 0, SECTORS, 0x22);
    assert_false(wish_is_done(&write));
    below_answer(&cached->below, STORE_ZERO, 8, -EROFS);
    below_answer(&cached->below, STORE_WRITE, 1, -EROFS);
    expect_done(&flush, -EROFS);
    expect_done(&write, -EIO);
    wish_read(cached, &read, 3, 0, SECTORS);
    below_answer(&cached->below, STORE_READ, 3, 0);
    expect_done(&read, 0);
    expect_read(cached, 1, 0, SECTORS, 0x11); /* which is there, and nowhere else */
    cache_free(cached->store);
    cached->store = NULL;
    cached_free(cached);
}

TEST(room, who_waits_for_room_gets_no_error_from_a_slow_store)
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

TEST(room, who_has_waited_long_for_room_gets_an_error_when_storing_fails)
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

TEST(room, writers_are_slowed_to_the_rate_of_the_store_and_do_not_find_the_limit_reached)
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

TEST(room, nobody_is_slowed_below_three_quarters_of_the_limit)
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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(room, writers_stop_at_the_dirty_limit_and_go_on_one_for_one),
        RUN(room, who_stops_at_the_dirty_limit_does_not_wait_for_the_write_delay),
        RUN(room, a_block_that_is_completed_to_be_stored_counts_once_at_the_dirty_limit),
        RUN(room, a_dirty_block_can_be_written_to_at_the_dirty_limit),
        RUN(room, who_waits_for_room_gets_an_error_in_time_when_nothing_is_stored),
        RUN(room,
            when_nothing_will_ever_be_stored_again_who_waits_gets_an_error_at_once_and_the_rest_is_dropped),
        RUN(room, who_waits_for_room_gets_no_error_from_a_slow_store),
        RUN(room, who_has_waited_long_for_room_gets_an_error_when_storing_fails),
        RUN(room, writers_are_slowed_to_the_rate_of_the_store_and_do_not_find_the_limit_reached),
        RUN(room, nobody_is_slowed_below_three_quarters_of_the_limit),
    };

    return cmocka_run_group_tests_name("room", tests, NULL, NULL);
}
