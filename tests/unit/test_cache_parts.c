/* SPDX-License-Identifier: Apache-2.0 */
/* core/cache.c over a layer that takes parts of blocks: what is sent, what is kept, what is passed on. */
#include "fake_store.h"

#include <errno.h>

#define DELAY_NS (10 * NS_PER_S)

static struct cached *
over_parts(struct cache_config config)
{
    config.next_takes_parts = true;
    return cached_new(config);
}

/* A block of which these sectors are valid, and clean. */
static void
send_part(struct cached *cached, uint64_t block, uint32_t sector, uint32_t sectors,
          unsigned char fill)
{
    write_now(cached, block, sector, sectors, fill);
    cached_sleep(cached, DELAY_NS);
    below_answer(&cached->below, STORE_WRITE, block, 0);
    assert_int_equal(cached_gauge(cached, "dirty_blocks"), 0);
}

/* ---- what is sent */

TEST(parts, a_block_that_lacks_sectors_is_sent_as_it_is)
{
    struct cached *cached = over_parts((struct cache_config){ .write_delay_ns = DELAY_NS });
    struct asked *flight;

    write_now(cached, 3, 2, 3, 0x11);
    cached_expect_quiet(cached);
    cached_sleep(cached, DELAY_NS);
    flight = below_expect(&cached->below, STORE_WRITE, 3);
    asked_expect_valid(flight, 2, 3);
    asked_expect_data(flight, 2, 3, 0x11);
    asked_answer(flight, 0);
    cached_expect_quiet(cached);
    below_expect_stored(&cached->below, 3, 0, 2, stored_byte(3));
    below_expect_stored(&cached->below, 3, 2, 3, 0x11);
    below_expect_stored(&cached->below, 3, 5, 3, stored_byte(3));
    assert_int_equal(below_asked(&cached->below, STORE_READ), 0);
    assert_int_equal(cached_counter(cached, "cache_completed_blocks"), 0);
    cached_free(cached);
}

TEST(parts, a_complete_block_is_sent_without_a_map)
{
    struct cached *cached = over_parts((struct cache_config){ .write_delay_ns = DELAY_NS });
    struct asked *flight;

    write_now(cached, 3, 0, SECTORS, 0x11);
    flight = below_expect(&cached->below, STORE_WRITE, 3);
    assert_null(flight->req->valid);
    asked_answer(flight, 0);
    fetch(cached, 4);
    write_now(cached, 4, 1, 1, 0x22);
    cached_sleep(cached, DELAY_NS);
    flight = below_expect(&cached->below, STORE_WRITE, 4);
    assert_null(flight->req->valid);
    asked_answer(flight, 0);
    cached_free(cached);
}

/* More sectors than a word of a map has bits. */
TEST(parts, large_blocks_are_sent_in_part_too)
{
    struct cached *cached = over_parts(
        (struct cache_config){ .write_delay_ns = DELAY_NS, .block_bytes = 256 * SECTOR_BYTES });
    struct asked *flight;

    write_now(cached, 3, 70, 2, 0x11);
    write_now(cached, 3, 200, 1, 0x22);
    cached_sleep(cached, DELAY_NS);
    flight = below_expect(&cached->below, STORE_WRITE, 3);
    assert_int_equal(flight->req->valid[0], 0);
    assert_int_equal(flight->req->valid[1], UINT64_C(3) << 6);
    assert_int_equal(flight->req->valid[2], 0);
    assert_int_equal(flight->req->valid[3], UINT64_C(1) << 8);
    asked_answer(flight, 0);
    below_expect_stored(&cached->below, 3, 69, 1, stored_byte(3));
    below_expect_stored(&cached->below, 3, 70, 2, 0x11);
    below_expect_stored(&cached->below, 3, 200, 1, 0x22);
    expect_read(cached, 3, 71, 1, 0x11);
    cached_free(cached);
}

TEST(parts, what_was_sent_before_is_sent_along_with_what_is_written_later)
{
    struct cached *cached = over_parts((struct cache_config){ .write_delay_ns = DELAY_NS });
    struct asked *flight;

    send_part(cached, 3, 2, 1, 0x11);
    write_now(cached, 3, 3, 1, 0x22);
    cached_sleep(cached, DELAY_NS);
    flight = below_expect(&cached->below, STORE_WRITE, 3);
    asked_expect_valid(flight, 2, 2);
    asked_expect_data(flight, 2, 1, 0x11);
    asked_expect_data(flight, 3, 1, 0x22);
    asked_answer(flight, 0);
    cached_free(cached);
}

TEST(parts, the_limit_of_dirty_blocks_holds)
{
    struct cached *cached =
        over_parts((struct cache_config){ .write_delay_ns = EVER_NS, .dirty_max = 2 });
    struct asked *flights[2];
    struct wish write;

    write_now(cached, 1, 0, 1, 0x11);
    write_now(cached, 2, 0, 1, 0x22);
    wish_write(cached, &write, 3, 0, 1, 0x33);
    flights[0] = below_expect(&cached->below, STORE_WRITE, 1);
    flights[1] = below_expect(&cached->below, STORE_WRITE, 2);
    cached_settle(cached);
    assert_false(wish_is_done(&write));
    asked_answer(flights[0], 0);
    expect_done(&write, 0);
    below_answer(&cached->below, STORE_WRITE, 3, 0);
    asked_answer(flights[1], 0);
    cached_free(cached);
}

/* ---- what is clean and lacks sectors */

TEST(parts, what_was_sent_is_read_without_a_request_and_the_rest_is_fetched)
{
    struct cached *cached = over_parts((struct cache_config){ .write_delay_ns = DELAY_NS });
    struct wish read;

    send_part(cached, 3, 2, 1, 0x11);
    expect_read(cached, 3, 2, 1, 0x11);
    cached_expect_quiet(cached);
    wish_read(cached, &read, 3, 3, 1);
    below_answer(&cached->below, STORE_READ, 3, 0);
    wish_expect(&read, stored_byte(3));
    expect_read(cached, 3, 0, 2, stored_byte(3));
    expect_read(cached, 3, 2, 1, 0x11);
    cached_expect_quiet(cached);
    cached_free(cached);
}

TEST(parts, a_block_that_lacks_sectors_makes_room)
{
    struct cached *cached =
        over_parts((struct cache_config){ .write_delay_ns = DELAY_NS, .blocks_max = 2 });
    struct wish read;

    send_part(cached, 1, 0, 1, 0x11);
    send_part(cached, 2, 0, 1, 0x22);
    fetch(cached, 3);
    fetch(cached, 4);
    assert_int_equal(cached_counter(cached, "cache_evictions"), 2);
    wish_read(cached, &read, 1, 0, 1);
    below_answer(&cached->below, STORE_READ, 1, 0);
    wish_expect(&read, 0x11);
    cached_free(cached);
}

TEST(parts, a_block_that_lacks_sectors_makes_room_for_itself)
{
    struct cached *cached =
        over_parts((struct cache_config){ .write_delay_ns = DELAY_NS, .blocks_max = 1 });
    struct wish read, write;

    send_part(cached, 3, 0, 1, 0x11);
    wish_read(cached, &read, 3, 1, 1);
    below_answer(&cached->below, STORE_READ, 3, 0);
    wish_expect(&read, stored_byte(3));
    expect_read(cached, 3, 0, 1, 0x11);
    cached_expect_quiet(cached);

    send_part(cached, 4, 0, 1, 0x22);
    wish_write_bytes(cached, &write, 4, 2 * SECTOR_BYTES + 7, 1, 0x33);
    below_answer(&cached->below, STORE_READ, 4, 0);
    expect_done(&write, 0);
    expect_read(cached, 4, 0, 1, 0x22);
    cached_sleep(cached, DELAY_NS);
    below_answer(&cached->below, STORE_WRITE, 4, 0);
    assert_int_equal(cached->below.data[4 * BLOCK_BYTES + 2 * SECTOR_BYTES + 7], 0x33);
    cached_free(cached);
}

/* The frame of the block is in use: it cannot make room, and nobody else can. */
TEST(parts, a_block_that_is_read_does_not_make_room_for_itself)
{
    struct cached *cached =
        over_parts((struct cache_config){ .write_delay_ns = DELAY_NS, .blocks_max = 1 });
    struct stuck stuck;
    struct wish read;

    send_part(cached, 3, 0, 1, 0x11);
    stuck_read(cached, &stuck, 3, 0, 1);
    wish_read(cached, &read, 3, 1, 1);
    cached_expect_quiet(cached);
    assert_false(wish_is_done(&read));
    assert_int_equal(stuck_end(&stuck), 0);
    below_answer(&cached->below, STORE_READ, 3, 0);
    wish_expect(&read, stored_byte(3));
    cached_free(cached);
}

TEST(parts, a_block_that_lacks_sectors_goes_when_nobody_uses_it)
{
    struct cached *cached =
        over_parts((struct cache_config){ .write_delay_ns = DELAY_NS, .idle_ns = NS_PER_S });

    send_part(cached, 3, 0, 1, 0x11);
    assert_int_equal(cached_gauge(cached, "cache_blocks"), 1);
    cached_sleep(cached, 3 * NS_PER_S);
    cached_sleep(cached, 3 * NS_PER_S);
    assert_int_equal(cached_gauge(cached, "cache_blocks"), 0);
    cached_free(cached);
}

TEST(parts, a_fetch_that_fails_leaves_what_was_sent)
{
    struct cached *cached =
        over_parts((struct cache_config){ .write_delay_ns = DELAY_NS, .blocks_max = 2 });
    struct wish read;

    send_part(cached, 3, 2, 1, 0x11);
    wish_read(cached, &read, 3, 3, 1);
    below_answer(&cached->below, STORE_READ, 3, -EIO);
    expect_done(&read, -EIO);
    expect_read(cached, 3, 2, 1, 0x11);
    cached_expect_quiet(cached);
    fetch(cached, 4);
    fetch(cached, 5); /* it makes room still */
    cached_free(cached);
}

TEST(parts, a_block_that_lacks_sectors_is_zeroed)
{
    struct cached *cached = over_parts((struct cache_config){ .write_delay_ns = DELAY_NS });
    struct wish zero;

    send_part(cached, 3, 2, 1, 0x11);
    wish_zero(cached, &zero, 2, 3);
    expect_done(&zero, 0);
    expect_read(cached, 3, 0, SECTORS, 0);
    below_answer(&cached->below, STORE_ZERO, 2, 0);
    below_expect_stored(&cached->below, 3, 0, SECTORS, 0);
    cached_free(cached);
}

/* ---- while it is in flight */

TEST(parts, what_a_block_in_flight_lacks_is_fetched_when_the_flight_has_ended)
{
    for (int rc = 0; rc >= -EIO; rc -= EIO) {
        struct cached *cached = over_parts((struct cache_config){ .write_delay_ns = DELAY_NS });
        struct asked *flight;
        struct wish read;

        write_now(cached, 3, 2, 1, 0x11);
        cached_sleep(cached, DELAY_NS);
        flight = below_expect(&cached->below, STORE_WRITE, 3);
        wish_read(cached, &read, 3, 3, 2);
        expect_read(cached, 3, 2, 1, 0x11);
        cached_expect_quiet(cached);
        assert_false(wish_is_done(&read));
        asked_answer(flight, rc);
        below_answer(&cached->below, STORE_READ, 3, 0);
        wish_expect(&read, stored_byte(3));
        expect_read(cached, 3, 2, 1, 0x11);
        below_mode(&cached->below, BELOW_ANSWERS);
        cached_free(cached);
    }
}

TEST(parts, a_sector_that_a_block_in_flight_lacks_is_torn_when_the_flight_has_ended)
{
    struct cached *cached = over_parts((struct cache_config){ .write_delay_ns = DELAY_NS });
    struct asked *flight;
    struct wish write;

    write_now(cached, 3, 2, 1, 0x11);
    cached_sleep(cached, DELAY_NS);
    flight = below_expect(&cached->below, STORE_WRITE, 3);
    wish_write_bytes(cached, &write, 3, 4 * SECTOR_BYTES + 7, 1, 0x22);
    cached_expect_quiet(cached);
    assert_false(wish_is_done(&write));
    asked_answer(flight, 0);
    below_answer(&cached->below, STORE_READ, 3, 0);
    expect_done(&write, 0);
    cached_sleep(cached, DELAY_NS);
    below_answer(&cached->below, STORE_WRITE, 3, 0);
    below_expect_stored(&cached->below, 3, 2, 1, 0x11);
    assert_int_equal(cached->below.data[3 * BLOCK_BYTES + 4 * SECTOR_BYTES + 6], stored_byte(3));
    assert_int_equal(cached->below.data[3 * BLOCK_BYTES + 4 * SECTOR_BYTES + 7], 0x22);
    cached_free(cached);
}

TEST(parts, what_is_written_in_flight_may_be_what_a_reader_waits_for)
{
    struct cached *cached = over_parts((struct cache_config){ .write_delay_ns = DELAY_NS });
    struct asked *flight;
    struct wish read;

    write_now(cached, 3, 2, 1, 0x11);
    cached_sleep(cached, DELAY_NS);
    flight = below_expect(&cached->below, STORE_WRITE, 3);
    wish_read(cached, &read, 3, 3, 1);
    write_now(cached, 3, 3, 1, 0x22);
    wish_expect(&read, 0x22);
    asked_answer(flight, 0);
    cached_sleep(cached, DELAY_NS);
    below_answer(&cached->below, STORE_WRITE, 3, 0);
    assert_int_equal(below_asked(&cached->below, STORE_READ), 0);
    cached_free(cached);
}

TEST(parts, sectors_written_in_flight_go_afterwards_and_each_flight_carries_its_own)
{
    struct cached *cached = over_parts((struct cache_config){ .write_delay_ns = DELAY_NS });
    struct asked *flight;

    write_now(cached, 3, 2, 2, 0x11);
    cached_sleep(cached, DELAY_NS);
    flight = below_expect(&cached->below, STORE_WRITE, 3);
    write_now(cached, 3, 3, 2, 0x22);
    cached_sleep(cached, DELAY_NS);
    cached_expect_quiet(cached); /* not twice at once */
    asked_expect_valid(flight, 2, 2);
    asked_expect_data(flight, 2, 2, 0x11);
    asked_answer(flight, 0);
    below_expect_stored(&cached->below, 3, 4, 1, stored_byte(3));
    cached_sleep(cached, DELAY_NS);
    flight = below_expect(&cached->below, STORE_WRITE, 3);
    asked_expect_valid(flight, 2, 3);
    asked_expect_data(flight, 2, 1, 0x11);
    asked_expect_data(flight, 3, 2, 0x22);
    asked_answer(flight, 0);
    assert_int_equal(cached_gauge(cached, "dirty_blocks"), 0);
    cached_free(cached);
}

TEST(parts, a_block_that_becomes_complete_in_flight_goes_again_whole)
{
    struct cached *cached = over_parts((struct cache_config){ .write_delay_ns = DELAY_NS });
    struct asked *flight;

    write_now(cached, 3, 0, 1, 0x11);
    cached_sleep(cached, DELAY_NS);
    flight = below_expect(&cached->below, STORE_WRITE, 3);
    write_now(cached, 3, 0, SECTORS, 0x22);
    asked_expect_valid(flight, 0, 1);
    asked_answer(flight, 0);
    flight = below_expect(&cached->below, STORE_WRITE, 3);
    assert_null(flight->req->valid);
    asked_answer(flight, 0);
    below_expect_stored(&cached->below, 3, 0, SECTORS, 0x22);
    cached_free(cached);
}

TEST(parts, what_could_not_be_taken_goes_again_and_nothing_else)
{
    struct cached *cached = over_parts((struct cache_config){ .write_delay_ns = DELAY_NS });
    struct asked *flight;

    write_now(cached, 3, 2, 2, 0x11);
    cached_sleep(cached, DELAY_NS);
    below_answer(&cached->below, STORE_WRITE, 3, -ENOSPC);
    assert_int_equal(cached_gauge(cached, "dirty_blocks"), 1);
    cached_sleep(cached, 60 * NS_PER_S);
    flight = below_expect(&cached->below, STORE_WRITE, 3);
    asked_expect_valid(flight, 2, 2);
    asked_answer(flight, 0);
    below_expect_stored(&cached->below, 3, 0, 2, stored_byte(3));
    below_expect_stored(&cached->below, 3, 2, 2, 0x11);
    cached_expect_quiet(cached);
    cached_free(cached);
}

TEST(parts, a_zero_waits_for_a_part_in_flight_and_goes_before_who_waits_for_its_end)
{
    struct cached *cached = over_parts((struct cache_config){ .write_delay_ns = DELAY_NS });
    struct asked *flight;
    struct wish zero, read;

    write_now(cached, 3, 2, 1, 0x11);
    cached_sleep(cached, DELAY_NS);
    flight = below_expect(&cached->below, STORE_WRITE, 3);
    wish_read(cached, &read, 3, 4, 1);
    wish_zero(cached, &zero, 2, 3);
    cached_expect_quiet(cached);
    assert_false(wish_is_done(&zero));
    asked_answer(flight, 0);
    expect_done(&zero, 0);
    wish_expect(&read, 0);
    below_answer(&cached->below, STORE_ZERO, 2, 0);
    below_expect_stored(&cached->below, 3, 0, SECTORS, 0);
    cached_free(cached);
}

/* ---- flushes, synchronous writes */

TEST(parts, a_flush_is_passed_on_when_the_next_layer_has_all)
{
    struct cached *cached = over_parts((struct cache_config){ .write_delay_ns = EVER_NS });
    struct asked *flight, *zeros;
    struct wish flush, zero;

    write_now(cached, 3, 2, 1, 0x11);
    wish_zero(cached, &zero, 8, 2);
    expect_done(&zero, 0);
    wish_flush(cached, &flush);
    flight = below_expect(&cached->below, STORE_WRITE, 3);
    zeros = below_expect(&cached->below, STORE_ZERO, 8);
    asked_answer(flight, 0);
    cached_expect_quiet(cached);
    asked_answer(zeros, 0);
    cached_settle(cached);
    assert_false(wish_is_done(&flush));
    below_answer(&cached->below, STORE_FLUSH, ANY_BLOCK, 0);
    expect_done(&flush, 0);
    assert_int_equal(below_asked(&cached->below, STORE_FLUSH), 1);
    cached_free(cached);
}

TEST(parts, a_flush_is_passed_on_when_nothing_is_dirty)
{
    struct cached *cached = over_parts((struct cache_config){ .write_delay_ns = DELAY_NS });
    struct wish flush;

    send_part(cached, 3, 2, 1, 0x11);
    wish_flush(cached, &flush);
    below_answer(&cached->below, STORE_FLUSH, ANY_BLOCK, 0);
    expect_done(&flush, 0);
    cached_free(cached);
}

TEST(parts, a_flush_gets_the_answer_of_the_next_layer)
{
    struct cached *cached = over_parts((struct cache_config){ .write_delay_ns = EVER_NS });
    struct wish flush;

    write_now(cached, 3, 2, 1, 0x11);
    wish_flush(cached, &flush);
    below_answer(&cached->below, STORE_WRITE, 3, 0);
    below_answer(&cached->below, STORE_FLUSH, ANY_BLOCK, -EROFS);
    expect_done(&flush, -EROFS);
    assert_int_equal(cached_gauge(cached, "dirty_blocks"), 0);
    cached_free(cached);
}

TEST(parts, a_flush_is_not_passed_on_when_something_could_not_be_sent)
{
    struct cached *cached = over_parts((struct cache_config){ .write_delay_ns = EVER_NS });
    struct wish flush;

    write_now(cached, 3, 2, 1, 0x11);
    wish_flush(cached, &flush);
    below_answer(&cached->below, STORE_WRITE, 3, -EIO);
    expect_done(&flush, -EIO);
    cached_expect_quiet(cached);
    assert_int_equal(below_asked(&cached->below, STORE_FLUSH), 0);
    below_mode(&cached->below, BELOW_ANSWERS);
    cached_free(cached);
}

TEST(parts, a_seek_is_passed_on_as_ever)
{
    struct cached *cached = over_parts((struct cache_config){ .write_delay_ns = EVER_NS });
    struct wish seek;

    write_now(cached, 3, 2, 1, 0x11);
    wish_seek(cached, &seek, 1, 20, true);
    below_answer(&cached->below, STORE_WRITE, 3, 0);
    below_answer(&cached->below, STORE_SEEK, 1, 0);
    expect_done(&seek, 0);
    assert_int_equal(below_asked(&cached->below, STORE_FLUSH), 0);
    cached_free(cached);
}

TEST(parts, a_synchronous_write_or_zero_is_done_when_the_next_layer_says_so_and_flushes_nothing)
{
    struct cached *cached =
        over_parts((struct cache_config){ .write_delay_ns = EVER_NS, .is_sync = true });
    struct wish write, zero;
    struct asked *flight;

    wish_write(cached, &write, 3, 2, 1, 0x11);
    flight = below_expect(&cached->below, STORE_WRITE, 3);
    asked_expect_valid(flight, 2, 1);
    cached_settle(cached);
    assert_false(wish_is_done(&write));
    asked_answer(flight, 0);
    expect_done(&write, 0);
    wish_zero(cached, &zero, 8, 2);
    flight = below_expect(&cached->below, STORE_ZERO, 8);
    assert_false(wish_is_done(&zero));
    asked_answer(flight, 0);
    expect_done(&zero, 0);
    wish_write(cached, &write, 3, 3, 1, 0x22);
    below_answer(&cached->below, STORE_WRITE, 3, -EIO);
    expect_done(&write, -EIO);
    assert_int_equal(below_asked(&cached->below, STORE_READ), 0);
    assert_int_equal(below_asked(&cached->below, STORE_FLUSH), 0);
    below_mode(&cached->below, BELOW_ANSWERS);
    cached_free(cached);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(parts, a_block_that_lacks_sectors_is_sent_as_it_is),
        RUN(parts, a_complete_block_is_sent_without_a_map),
        RUN(parts, large_blocks_are_sent_in_part_too),
        RUN(parts, what_was_sent_before_is_sent_along_with_what_is_written_later),
        RUN(parts, the_limit_of_dirty_blocks_holds),
        RUN(parts, what_was_sent_is_read_without_a_request_and_the_rest_is_fetched),
        RUN(parts, a_block_that_lacks_sectors_makes_room),
        RUN(parts, a_block_that_lacks_sectors_makes_room_for_itself),
        RUN(parts, a_block_that_is_read_does_not_make_room_for_itself),
        RUN(parts, a_block_that_lacks_sectors_goes_when_nobody_uses_it),
        RUN(parts, a_fetch_that_fails_leaves_what_was_sent),
        RUN(parts, a_block_that_lacks_sectors_is_zeroed),
        RUN(parts, what_a_block_in_flight_lacks_is_fetched_when_the_flight_has_ended),
        RUN(parts, a_sector_that_a_block_in_flight_lacks_is_torn_when_the_flight_has_ended),
        RUN(parts, what_is_written_in_flight_may_be_what_a_reader_waits_for),
        RUN(parts, sectors_written_in_flight_go_afterwards_and_each_flight_carries_its_own),
        RUN(parts, a_block_that_becomes_complete_in_flight_goes_again_whole),
        RUN(parts, what_could_not_be_taken_goes_again_and_nothing_else),
        RUN(parts, a_zero_waits_for_a_part_in_flight_and_goes_before_who_waits_for_its_end),
        RUN(parts, a_flush_is_passed_on_when_the_next_layer_has_all),
        RUN(parts, a_flush_is_passed_on_when_nothing_is_dirty),
        RUN(parts, a_flush_gets_the_answer_of_the_next_layer),
        RUN(parts, a_flush_is_not_passed_on_when_something_could_not_be_sent),
        RUN(parts, a_seek_is_passed_on_as_ever),
        RUN(parts,
            a_synchronous_write_or_zero_is_done_when_the_next_layer_says_so_and_flushes_nothing),
    };

    return cmocka_run_group_tests_name("parts", tests, NULL, NULL);
}
