/* SPDX-License-Identifier: Apache-2.0 */
/* core/cache.c: blocks fetched before they are asked for. */
#include "fake_store.h"

#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

static struct cached *
fresh(uint32_t blocks_max)
{
    return cached_new((struct cache_config){ .block_count = 4000,
                                             .blocks_max = blocks_max,
                                             .write_delay_ns = EVER_NS,
                                             .in_flight_max = 16,
                                             .read_ahead_max = CACHE_READ_AHEAD_ADAPTIVE,
                                             .read_ahead_trigger = 2 });
}

/* A block is read that nobody has fetched ahead. */
static void
miss(struct cached *cached, uint64_t block)
{
    struct wish read;

    wish_read(cached, &read, block, 0, SECTORS);
    below_answer(&cached->below, STORE_READ, block, 0);
    wish_expect(&read, stored_byte(block));
}

/* How many reads are there that nobody has answered; they are answered. */
static unsigned
answer_reads(struct cached *cached, int rc)
{
    unsigned count = 0;

    for (; cached->below.there_now > 0; count++)
        below_answer(&cached->below, STORE_READ, ANY_BLOCK, rc);
    return count;
}

TEST(ahead, the_next_blocks_are_fetched_when_enough_were_read_in_a_row)
{
    struct cached *cached = fresh(128);

    miss(cached, 100);
    cached_expect_quiet(cached);
    miss(cached, 101);
    below_answer(&cached->below, STORE_READ, 102, 0);
    below_answer(&cached->below, STORE_READ, 103, 0);
    answer_reads(cached, 0);
    below_mode(&cached->below, BELOW_ANSWERS);
    expect_read(cached, 102, 0, SECTORS, stored_byte(102));
    expect_read(cached, 103, 0, SECTORS, stored_byte(103));
    assert_int_equal(cached_counter(cached, "cache_read_hits"), 2);
    assert_int_equal(cached_counter(cached, "read_ahead_used"), 2);
    cached_free(cached);
}

TEST(ahead, the_block_that_somebody_waits_for_is_asked_for_first)
{
    struct cached *cached = fresh(128);
    struct wish read;

    miss(cached, 100);
    wish_read(cached, &read, 101, 0, SECTORS);
    assert_int_equal(cached->below.first->req->block, 101);
    answer_reads(cached, 0);
    wish_expect(&read, stored_byte(101));
    cached_free(cached);
}

TEST(ahead, a_reader_joins_the_fetch_that_is_ahead_of_it)
{
    struct cached *cached = fresh(128);
    struct asked *fetch;
    struct wish read;

    miss(cached, 100);
    miss(cached, 101);
    fetch = below_expect(&cached->below, STORE_READ, 102);
    wish_read(cached, &read, 102, 0, SECTORS);
    asked_answer(fetch, 0);
    wish_expect(&read, stored_byte(102));
    answer_reads(cached, 0);
    cached_free(cached);
}

TEST(ahead, more_and_more_is_fetched_ahead_of_a_reader_who_waits_up_to_what_may_be_in_flight)
{
    struct cached *cached = fresh(256);
    unsigned peak = 0;

    for (uint64_t block = 0; block < 200; block++) {
        struct wish read;

        wish_read(cached, &read, block, 0, SECTORS);
        cached_settle(cached);
        if (cached->below.there_now > peak)
            peak = cached->below.there_now;
        if (!wish_is_done(&read))
            below_answer(&cached->below, STORE_READ, block, 0);
        wish_expect(&read, stored_byte(block));
    }
    assert_int_equal(peak, 16);
    answer_reads(cached, 0);
    cached_free(cached);
}

TEST(ahead, a_given_limit_is_kept)
{
    struct cached *cached = cached_new((struct cache_config){ .block_count = 4000,
                                                              .blocks_max = 256,
                                                              .in_flight_max = 16,
                                                              .read_ahead_max = 3,
                                                              .read_ahead_trigger = 2 });
    unsigned peak = 0;

    for (uint64_t block = 0; block < 200; block++) {
        struct wish read;

        wish_read(cached, &read, block, 0, SECTORS);
        cached_settle(cached);
        if (cached->below.there_now > peak)
            peak = cached->below.there_now;
        if (!wish_is_done(&read))
            below_answer(&cached->below, STORE_READ, block, 0);
        wish_expect(&read, stored_byte(block));
    }
    assert_int_equal(peak, 1 + 3);
    answer_reads(cached, 0);
    cached_free(cached);
}

TEST(ahead, random_reads_fetch_nothing_ahead)
{
    /* So many blocks that none follows another by chance. */
    enum { BLOCKS = 1 << 30 };
    struct cached *cached =
        cached_new((struct cache_config){ .block_count = BLOCKS,
                                          .blocks_max = 64,
                                          .read_ahead_max = CACHE_READ_AHEAD_ADAPTIVE,
                                          .read_ahead_trigger = 2 });
    uint64_t seed = test_seed();

    below_mode(&cached->below, BELOW_ANSWERS);
    for (unsigned i = 0; i < 1000; i++) {
        struct wish read;

        wish_read(cached, &read, random_next(&seed) % BLOCKS, 0, 1);
        assert_int_equal(wish_end(&read), 0);
    }
    assert_int_equal(cached_counter(cached, "read_ahead_blocks"), 0);
    assert_int_equal(below_asked(&cached->below, STORE_READ), 1000);
    cached_free(cached);
}

TEST(ahead, reads_that_come_close_to_each_other_by_chance_fetch_nothing_ahead)
{
    struct cached *cached = fresh(64);

    below_mode(&cached->below, BELOW_ANSWERS);
    for (uint64_t block = 2000; block < 4000; block += 2)
        expect_read(cached, block, 0, 1, stored_byte(block));
    for (uint64_t block = 1999; block > 1000; block--)
        expect_read(cached, block, 0, 1, stored_byte(block));
    assert_int_equal(cached_counter(cached, "read_ahead_blocks"), 0);
    cached_free(cached);
}

TEST(ahead, blocks_known_to_be_zeros_are_not_fetched_ahead)
{
    struct cached *cached = fresh(128);

    below_is_zero(&cached->below, 102);
    below_is_zero(&cached->below, 104);
    miss(cached, 100);
    miss(cached, 101);
    assert_true(cached->below.there_now > 0);
    while (cached->below.there_now > 0) {
        struct asked *asked = below_expect(&cached->below, STORE_READ, ANY_BLOCK);

        assert_int_not_equal(asked->req->block, 102);
        assert_int_not_equal(asked->req->block, 104);
        asked_answer(asked, 0);
    }
    cached_free(cached);
}

TEST(ahead, blocks_that_are_being_zeroed_are_not_fetched_ahead)
{
    struct cached *cached = fresh(128);
    struct asked *zero;
    struct wish wish;

    wish_zero(cached, &wish, 102, 1000);
    assert_int_equal(wish_end(&wish), 0);
    zero = below_expect(&cached->below, STORE_ZERO, 102);
    miss(cached, 100);
    miss(cached, 101);
    cached_expect_quiet(cached);
    asked_answer(zero, 0);
    cached_free(cached);
}

TEST(ahead, nothing_is_fetched_beyond_the_end_of_the_disk)
{
    struct cached *cached = fresh(128);

    for (uint64_t block = 3900; block < 4000; block++) {
        struct wish read;

        wish_read(cached, &read, block, 0, SECTORS);
        answer_reads(cached, 0);
        wish_expect(&read, stored_byte(block));
    }
    assert_int_equal(below_asked(&cached->below, STORE_READ), 100);
    cached_free(cached);
}

TEST(ahead, several_readers_at_once_each_have_their_blocks_fetched_ahead)
{
    struct cached *cached = fresh(256);

    below_mode(&cached->below, BELOW_ANSWERS);
    for (uint64_t i = 0; i < 100; i++) {
        for (uint64_t reader = 0; reader < 4; reader++)
            expect_read(cached, reader * 1000 + i, 0, SECTORS, stored_byte(reader * 1000 + i));
    }
    assert_int_equal(cached_counter(cached, "cache_read_misses"), 4 * 2); /* until they are known */
    cached_free(cached);
}

TEST(ahead, a_fetch_ahead_that_fails_is_nobodys_error)
{
    struct cached *cached = fresh(128);

    miss(cached, 100);
    miss(cached, 101);
    answer_reads(cached, -EIO);
    below_mode(&cached->below, BELOW_ANSWERS);
    for (uint64_t block = 102; block < 120; block++)
        expect_read(cached, block, 0, SECTORS, stored_byte(block));
    cached_free(cached);
}

TEST(ahead, dirty_blocks_do_not_make_room_for_what_is_fetched_ahead)
{
    struct cached *cached = fresh(16);
    unsigned dirty = 10;

    for (uint64_t block = 1000; block < 1000 + dirty; block++)
        write_now(cached, block, 0, 1, 0x11);
    for (uint64_t block = 0; block < 60; block++) {
        struct wish read;

        wish_read(cached, &read, block, 0, SECTORS);
        answer_reads(cached, 0);
        wish_expect(&read, stored_byte(block));
    }
    assert_int_equal(cached_counter(cached, "read_ahead_used"), 60 - 2);
    for (uint64_t block = 1000; block < 1000 + dirty; block++)
        expect_read(cached, block, 0, 1, 0x11);
    answer_reads(cached, 0);
    assert_int_equal(below_asked(&cached->below, STORE_WRITE), 0);
    cached_free(cached);
}

TEST(ahead, what_is_fetched_ahead_takes_an_eighth_of_the_cache_at_most)
{
    struct cached *cached = fresh(16); /* and two in motion */
    unsigned peak = 0;

    for (uint64_t block = 0; block < 100; block++) {
        struct wish read;

        wish_read(cached, &read, block, 0, SECTORS);
        cached_settle(cached);
        if (cached->below.there_now > peak)
            peak = cached->below.there_now;
        if (!wish_is_done(&read))
            below_answer(&cached->below, STORE_READ, block, 0);
        wish_expect(&read, stored_byte(block));
    }
    assert_int_equal(peak, 1 + 18 / 8);
    answer_reads(cached, 0);
    cached_free(cached);
}

TEST(ahead, a_cache_of_one_block_is_read_through_in_sequence)
{
    struct cached *cached = fresh(1);

    for (uint64_t block = 0; block < 100; block++) {
        struct wish read;

        wish_read(cached, &read, block, 0, SECTORS);
        while (!wish_is_done(&read))
            below_answer(&cached->below, STORE_READ, ANY_BLOCK, 0);
        wish_expect(&read, stored_byte(block));
    }
    answer_reads(cached, 0);
    cached_free(cached);
}

TEST(ahead, blocks_that_nobody_came_for_count_as_wasted_when_they_go)
{
    struct cached *cached = cached_new((struct cache_config){ .block_count = 4000,
                                                              .blocks_max = 64,
                                                              .idle_ns = 100 * NS_PER_S,
                                                              .read_ahead_max = 8,
                                                              .read_ahead_trigger = 2 });
    unsigned ahead;

    miss(cached, 100);
    miss(cached, 101);
    ahead = answer_reads(cached, 0);
    assert_true(ahead > 0);
    cached_sleep(cached, 100 * NS_PER_S);
    cached_sleep(cached, 100 * NS_PER_S);
    assert_int_equal(cached_counter(cached, "read_ahead_wasted"), ahead);
    assert_int_equal(cached_gauge(cached, "cache_blocks"), 0);
    cached_free(cached);
}

/* ---- the end */

static atomic_bool is_freed;

static void *
free_main(void *arg)
{
    cache_free(arg);
    atomic_store(&is_freed, true);
    return NULL;
}

/* They would try again for as long as the store is away, and nobody needs them. */
TEST(ahead, the_cache_is_freed_when_the_fetches_ahead_are_over_which_are_told_to_end)
{
    struct cached *cached = fresh(128);
    struct asked *ahead;
    struct wish read;
    pthread_t thread;

    miss(cached, 100);
    wish_read(cached, &read, 101, 0, SECTORS);
    ahead = below_expect(&cached->below, STORE_READ, 101);
    assert_null(ahead->req->is_over); /* somebody waits for it */
    asked_answer(ahead, 0);
    wish_expect(&read, stored_byte(101));
    cached_settle(cached);
    ahead = below_expect(&cached->below, STORE_READ, 102);
    assert_non_null(ahead->req->is_over);
    assert_false(atomic_load(ahead->req->is_over));
    atomic_store(&is_freed, false);
    assert_int_equal(pthread_create(&thread, NULL, free_main, cached->store), 0);
    usleep(20000);
    assert_false(atomic_load(&is_freed));
    assert_true(atomic_load(ahead->req->is_over));
    asked_answer(ahead, -ECANCELED);
    answer_reads(cached, 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    cached->store = NULL;
    cached_free(cached);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(ahead, the_next_blocks_are_fetched_when_enough_were_read_in_a_row),
        RUN(ahead, the_block_that_somebody_waits_for_is_asked_for_first),
        RUN(ahead, a_reader_joins_the_fetch_that_is_ahead_of_it),
        RUN(ahead,
            more_and_more_is_fetched_ahead_of_a_reader_who_waits_up_to_what_may_be_in_flight),
        RUN(ahead, a_given_limit_is_kept),
        RUN(ahead, random_reads_fetch_nothing_ahead),
        RUN(ahead, reads_that_come_close_to_each_other_by_chance_fetch_nothing_ahead),
        RUN(ahead, blocks_known_to_be_zeros_are_not_fetched_ahead),
        RUN(ahead, blocks_that_are_being_zeroed_are_not_fetched_ahead),
        RUN(ahead, nothing_is_fetched_beyond_the_end_of_the_disk),
        RUN(ahead, several_readers_at_once_each_have_their_blocks_fetched_ahead),
        RUN(ahead, a_fetch_ahead_that_fails_is_nobodys_error),
        RUN(ahead, dirty_blocks_do_not_make_room_for_what_is_fetched_ahead),
        RUN(ahead, what_is_fetched_ahead_takes_an_eighth_of_the_cache_at_most),
        RUN(ahead, a_cache_of_one_block_is_read_through_in_sequence),
        RUN(ahead, blocks_that_nobody_came_for_count_as_wasted_when_they_go),
        RUN(ahead, the_cache_is_freed_when_the_fetches_ahead_are_over_which_are_told_to_end),
    };

    return cmocka_run_group_tests_name("ahead", tests, NULL, NULL);
}
