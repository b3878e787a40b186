/* SPDX-License-Identifier: Apache-2.0 */
/* core/cache.c: what is in memory: reads, writes into it, what makes room for what, its life. */
#include "fake_store.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

/* ---- reads */

TEST(cache, a_read_of_a_block_that_is_not_cached_fetches_it_and_a_second_one_does_not)
{
    struct cached *cached = cached_new((struct cache_config){ 0 });
    struct wish wish;

    wish_read(cached, &wish, 3, 2, 1);
    assert_false(wish_is_done(&wish));
    below_answer(&cached->below, STORE_READ, 3, 0);
    wish_expect(&wish, stored_byte(3));
    expect_read(cached, 3, 0, SECTORS, stored_byte(3));
    cached_expect_quiet(cached);
    assert_int_equal(cached_counter(cached, "cache_read_misses"), 1);
    assert_int_equal(cached_counter(cached, "cache_read_hits"), 1);
    cached_free(cached);
}

TEST(cache, a_read_of_a_block_that_is_being_fetched_joins)
{
    struct cached *cached = cached_new((struct cache_config){ 0 });
    struct wish wishes[3];

    for (uint32_t i = 0; i < 3; i++)
        wish_read(cached, &wishes[i], 3, i, 1);
    below_answer(&cached->below, STORE_READ, 3, 0);
    for (unsigned i = 0; i < 3; i++)
        wish_expect(&wishes[i], stored_byte(3));
    assert_int_equal(below_asked(&cached->below, STORE_READ), 1);
    cached_free(cached);
}

TEST(cache, all_misses_are_asked_for_at_once)
{
    struct cached *cached = cached_new((struct cache_config){ 0 });
    struct wish wishes[12];

    for (unsigned i = 0; i < 12; i++)
        wish_read(cached, &wishes[i], i, 0, SECTORS);
    assert_int_equal(below_asked(&cached->below, STORE_READ), 12);
    for (unsigned i = 0; i < 12; i++)
        below_answer(&cached->below, STORE_READ, i, 0);
    for (unsigned i = 0; i < 12; i++)
        wish_expect(&wishes[i], stored_byte(i));
    cached_free(cached);
}

TEST(cache, a_failed_fetch_fails_all_that_wait_for_it_and_the_next_read_fetches_again)
{
    struct cached *cached = cached_new((struct cache_config){ 0 });
    struct wish first, second, write;

    wish_read(cached, &first, 3, 0, 1);
    wish_read(cached, &second, 3, 1, 1);
    wish_write_bytes(cached, &write, 3, 5, 5, 0x11);
    below_answer(&cached->below, STORE_READ, 3, -EIO);
    assert_int_equal(wish_end(&first), -EIO);
    assert_int_equal(wish_end(&second), -EIO);
    assert_int_equal(wish_end(&write), -EIO);
    wish_read(cached, &first, 3, 0, 1);
    below_answer(&cached->below, STORE_READ, 3, 0);
    wish_expect(&first, stored_byte(3));
    cached_free(cached);
}

TEST(cache, a_block_known_to_be_zeros_is_read_without_a_request)
{
    struct cached *cached = cached_new((struct cache_config){ 0 });

    below_is_zero(&cached->below, 3);
    expect_read(cached, 3, 1, 2, 0);
    cached_expect_quiet(cached);
    assert_int_equal(cached_gauge(cached, "cache_blocks"), 0);
    cached_free(cached);
}

TEST(cache, what_the_layer_below_answers_at_once_is_read_at_once)
{
    struct cached *cached = cached_new((struct cache_config){ 0 });
    struct wish wish;

    below_mode(&cached->below, BELOW_ANSWERS);
    wish_read(cached, &wish, 3, 0, SECTORS);
    assert_true(wish_is_done(&wish));
    wish_expect(&wish, stored_byte(3));
    cached_free(cached);
}

/* ---- writes into memory */

TEST(cache, a_write_of_whole_sectors_is_accepted_without_a_request)
{
    struct cached *cached = cached_new((struct cache_config){ 0 });

    write_now(cached, 3, 2, 3, 0x11);
    cached_expect_quiet(cached);
    expect_read(cached, 3, 2, 3, 0x11);
    cached_expect_quiet(cached);
    cached_free(cached);
}

TEST(cache, a_write_inside_a_sector_fetches_first)
{
    struct cached *cached = cached_new((struct cache_config){ 0 });
    struct wish wish;

    wish_write_bytes(cached, &wish, 3, SECTOR_BYTES + 10, SECTOR_BYTES, 0x11);
    assert_false(wish_is_done(&wish));
    below_answer(&cached->below, STORE_READ, 3, 0);
    assert_int_equal(wish_end(&wish), 0);
    wish_read(cached, &wish, 3, 1, 2);
    assert_int_equal(wish_end(&wish), 0);
    assert_int_equal(wish.data[9], stored_byte(3));
    assert_int_equal(wish.data[10], 0x11);
    assert_int_equal(wish.data[SECTOR_BYTES + 9], 0x11);
    assert_int_equal(wish.data[SECTOR_BYTES + 10], stored_byte(3));
    cached_free(cached);
}

TEST(cache, a_write_that_begins_or_ends_inside_a_sector_fetches_first)
{
    struct cached *cached = cached_new((struct cache_config){ 0 });
    struct wish begins, ends;

    wish_write_bytes(cached, &begins, 3, SECTOR_BYTES + 10, SECTOR_BYTES - 10, 0x11);
    wish_write_bytes(cached, &ends, 4, SECTOR_BYTES, SECTOR_BYTES + 10, 0x22);
    assert_false(wish_is_done(&begins));
    assert_false(wish_is_done(&ends));
    below_answer(&cached->below, STORE_READ, 3, 0);
    below_answer(&cached->below, STORE_READ, 4, 0);
    assert_int_equal(wish_end(&begins), 0);
    assert_int_equal(wish_end(&ends), 0);
    expect_read(cached, 3, 2, 6, stored_byte(3));
    expect_read(cached, 4, 3, 5, stored_byte(4));
    wish_read(cached, &ends, 4, 2, 1);
    assert_int_equal(wish_end(&ends), 0);
    assert_int_equal(ends.data[9], 0x22);
    assert_int_equal(ends.data[10], stored_byte(4));
    cached_free(cached);
}

TEST(cache, a_write_inside_a_sector_that_is_valid_does_not_fetch)
{
    struct cached *cached = cached_new((struct cache_config){ 0 });
    struct wish wish;

    write_now(cached, 3, 1, 2, 0x11);
    wish_write_bytes(cached, &wish, 3, SECTOR_BYTES + 10, SECTOR_BYTES, 0x22);
    assert_true(wish_is_done(&wish));
    assert_int_equal(wish_end(&wish), 0);
    cached_expect_quiet(cached);
    cached_free(cached);
}

TEST(cache, a_write_inside_a_sector_of_zeros_does_not_fetch)
{
    struct cached *cached = cached_new((struct cache_config){ 0 });
    struct wish wish;

    below_is_zero(&cached->below, 3);
    wish_write_bytes(cached, &wish, 3, 10, 1, 0x11);
    assert_true(wish_is_done(&wish));
    assert_int_equal(wish_end(&wish), 0);
    wish_read(cached, &wish, 3, 0, SECTORS);
    assert_int_equal(wish_end(&wish), 0);
    assert_int_equal(wish.data[9], 0);
    assert_int_equal(wish.data[10], 0x11);
    assert_int_equal(wish.data[BLOCK_BYTES - 1], 0);
    cached_expect_quiet(cached);
    cached_free(cached);
}

TEST(cache, a_write_inside_a_sector_of_zeros_does_not_fetch_beside_sectors_written_before)
{
    struct cached *cached = cached_new((struct cache_config){ 0 });
    struct wish wish;

    below_is_zero(&cached->below, 3);
    write_now(cached, 3, 5, 1, 0x22);
    wish_write_bytes(cached, &wish, 3, 10, 1, 0x11);
    assert_int_equal(wish_end(&wish), 0);
    cached_expect_quiet(cached);
    cached_free(cached);
}

TEST(cache, a_write_without_data_writes_zeros)
{
    struct cached *cached = cached_new((struct cache_config){ 0 });
    struct wish wish;

    write_now(cached, 3, 0, 4, 0x11);
    wish_write_zeros(cached, &wish, 3, 1, 2);
    assert_int_equal(wish_end(&wish), 0);
    expect_read(cached, 3, 0, 1, 0x11);
    expect_read(cached, 3, 1, 2, 0);
    expect_read(cached, 3, 3, 1, 0x11);
    cached_free(cached);
}

TEST(cache, valid_sectors_of_an_incomplete_block_are_read_without_a_request)
{
    struct cached *cached = cached_new((struct cache_config){ 0 });
    struct wish wish;

    write_now(cached, 3, 2, 3, 0x11);
    expect_read(cached, 3, 3, 2, 0x11);
    assert_int_equal(below_asked(&cached->below, STORE_READ), 0);
    wish_read(cached, &wish, 3, 4, 2);
    assert_false(wish_is_done(&wish));
    expect_read(cached, 3, 2, 3, 0x11); /* also while it is being fetched */
    below_answer(&cached->below, STORE_READ, 3, 0);
    assert_int_equal(wish_end(&wish), 0);
    assert_int_equal(wish.data[0], 0x11);
    assert_int_equal(wish.data[SECTOR_BYTES], stored_byte(3));
    cached_free(cached);
}

TEST(cache, what_arrives_does_not_overwrite_what_was_written_meanwhile)
{
    struct cached *cached = cached_new((struct cache_config){ 0 });
    struct wish wish;

    write_now(cached, 3, 1, 1, 0x11);
    wish_read(cached, &wish, 3, 0, 1);
    write_now(cached, 3, 4, 2, 0x22);
    below_answer(&cached->below, STORE_READ, 3, 0);
    wish_expect(&wish, stored_byte(3));
    expect_read(cached, 3, 0, 1, stored_byte(3));
    expect_read(cached, 3, 1, 1, 0x11);
    expect_read(cached, 3, 2, 2, stored_byte(3));
    expect_read(cached, 3, 4, 2, 0x22);
    expect_read(cached, 3, 6, 2, stored_byte(3));
    assert_int_equal(below_asked(&cached->below, STORE_READ), 1);
    cached_free(cached);
}

TEST(cache, a_block_is_written_to_while_its_first_fetch_is_under_way)
{
    struct cached *cached = cached_new((struct cache_config){ 0 });
    struct wish wish;

    wish_read(cached, &wish, 3, 0, SECTORS);
    write_now(cached, 3, 4, 2, 0x22);
    expect_read(cached, 3, 4, 2, 0x22);
    below_answer(&cached->below, STORE_READ, 3, 0);
    assert_int_equal(wish_end(&wish), 0);
    assert_int_equal(wish.data[0], stored_byte(3));
    assert_int_equal(wish.data[4 * SECTOR_BYTES], 0x22);
    cached_free(cached);
}

TEST(cache, a_written_sector_stays_when_the_fetch_of_the_rest_fails)
{
    struct cached *cached = cached_new((struct cache_config){ 0 });
    struct wish wish;

    wish_read(cached, &wish, 3, 0, 1);
    write_now(cached, 3, 4, 2, 0x22);
    below_answer(&cached->below, STORE_READ, 3, -EIO);
    assert_int_equal(wish_end(&wish), -EIO);
    expect_read(cached, 3, 4, 2, 0x22);
    cached_free(cached);
}

/* ---- while data is being copied */

TEST(cache, readers_of_a_block_do_not_wait_for_each_other)
{
    struct cached *cached = cached_new((struct cache_config){ 0 });
    struct stuck reader;

    below_mode(&cached->below, BELOW_ANSWERS);
    expect_read(cached, 3, 0, 1, stored_byte(3));
    stuck_read(cached, &reader, 3, 0, SECTORS);
    expect_read(cached, 3, 0, SECTORS, stored_byte(3));
    assert_int_equal(stuck_end(&reader), 0);
    cached_free(cached);
}

TEST(cache, a_write_waits_for_a_reader_and_later_readers_for_the_write)
{
    struct cached *cached = cached_new((struct cache_config){ 0 });
    struct stuck reader;
    struct wish write, read;

    write_now(cached, 3, 0, SECTORS, 0x11);
    below_answer(&cached->below, STORE_WRITE, 3, 0);
    stuck_read(cached, &reader, 3, 0, SECTORS);
    wish_write(cached, &write, 3, 0, SECTORS, 0x22);
    assert_false(wish_is_done(&write));
    wish_read(cached, &read, 3, 0, SECTORS);
    assert_false(wish_is_done(&read));
    assert_int_equal(stuck_end(&reader), 0);
    assert_int_equal(wish_end(&write), 0);
    wish_expect(&read, 0x22);
    below_answer(&cached->below, STORE_WRITE, 3, 0);
    cached_free(cached);
}

TEST(cache, reads_and_writes_wait_for_a_writer_in_the_middle_of_the_block)
{
    struct cached *cached = cached_new((struct cache_config){ 0 });
    struct stuck writer;
    struct wish read, write;

    stuck_write(cached, &writer, 3, 0, 4, 0x11);
    wish_read(cached, &read, 3, 0, 4);
    wish_write(cached, &write, 3, 4, 4, 0x22);
    assert_false(wish_is_done(&read));
    assert_false(wish_is_done(&write));
    write_now(cached, 4, 0, 1, 0x33); /* other blocks do not */
    assert_int_equal(stuck_end(&writer), 0);
    wish_expect(&read, 0x11);
    assert_int_equal(wish_end(&write), 0);
    expect_read(cached, 3, 4, 4, 0x22);
    below_answer(&cached->below, STORE_WRITE, 3, 0);
    cached_free(cached);
}

TEST(cache, a_block_being_written_to_survives_that_its_fetch_fails)
{
    struct cached *cached = cached_new((struct cache_config){ 0 });
    struct stuck writer;
    struct wish read;

    wish_read(cached, &read, 3, 0, SECTORS);
    stuck_write(cached, &writer, 3, 0, 4, 0x11);
    below_answer(&cached->below, STORE_READ, 3, -EIO);
    assert_int_equal(wish_end(&read), -EIO);
    assert_int_equal(stuck_end(&writer), 0);
    expect_read(cached, 3, 0, 4, 0x11);
    cached_free(cached);
}

TEST(cache, what_arrives_while_the_block_is_written_to_becomes_the_rest)
{
    struct cached *cached = cached_new((struct cache_config){ 0 });
    struct stuck writer;
    struct wish read;

    wish_read(cached, &read, 3, 4, 4);
    stuck_write(cached, &writer, 3, 0, 4, 0x11);
    below_answer(&cached->below, STORE_READ, 3, 0);
    assert_int_equal(stuck_end(&writer), 0);
    wish_expect(&read, stored_byte(3));
    expect_read(cached, 3, 0, 4, 0x11);
    cached_free(cached);
}

/* ---- who makes room for whom */

TEST(cache, a_block_that_makes_room_is_fetched_again)
{
    struct cached *cached = cached_new((struct cache_config){ .blocks_max = 4 });

    below_mode(&cached->below, BELOW_ANSWERS);
    for (unsigned block = 0; block < 5; block++)
        expect_read(cached, block, 0, 1, stored_byte(block));
    assert_int_equal(cached_gauge(cached, "cache_blocks"), 4);
    assert_int_equal(cached_counter(cached, "cache_evictions"), 1);
    expect_read(cached, 0, 0, 1, stored_byte(0));
    assert_int_equal(below_asked(&cached->below, STORE_READ), 6);
    cached_free(cached);
}

TEST(cache, dirty_blocks_do_not_make_room)
{
    struct cached *cached = cached_new((struct cache_config){ .blocks_max = 4 });

    write_now(cached, 0, 0, 1, 0x11);
    write_now(cached, 1, 0, 1, 0x22);
    for (unsigned block = 10; block < 30; block++) {
        struct wish wish;

        wish_read(cached, &wish, block, 0, 1);
        below_answer(&cached->below, STORE_READ, block, 0);
        wish_expect(&wish, stored_byte(block));
    }
    expect_read(cached, 0, 0, 1, 0x11);
    expect_read(cached, 1, 0, 1, 0x22);
    assert_int_equal(below_asked(&cached->below, STORE_WRITE), 0);
    cached_free(cached);
}

TEST(cache, blocks_in_flight_do_not_make_room)
{
    struct cached *cached = cached_new((struct cache_config){ .blocks_max = 4 });
    struct asked *flight;

    write_now(cached, 0, 0, SECTORS, 0x11);
    flight = below_expect(&cached->below, STORE_WRITE, 0);
    for (unsigned block = 10; block < 30; block++) {
        struct wish wish;

        wish_read(cached, &wish, block, 0, 1);
        below_answer(&cached->below, STORE_READ, block, 0);
        wish_expect(&wish, stored_byte(block));
    }
    expect_read(cached, 0, 0, SECTORS, 0x11);
    asked_answer(flight, 0);
    cached_free(cached);
}

TEST(cache, a_read_that_finds_no_room_stores_dirty_blocks_and_goes_on)
{
    struct cached *cached = cached_new((struct cache_config){ .blocks_max = 1 });
    struct wish read;

    write_now(cached, 0, 0, 1, 0x11);
    wish_read(cached, &read, 5, 0, 1);
    below_answer(&cached->below, STORE_READ, 0, 0); /* to complete it */
    below_answer(&cached->below, STORE_WRITE, 0, 0);
    below_answer(&cached->below, STORE_READ, 5, 0);
    wish_expect(&read, stored_byte(5));
    below_expect_stored(&cached->below, 0, 0, 1, 0x11);
    below_expect_stored(&cached->below, 0, 1, SECTORS - 1, stored_byte(0));
    cached_free(cached);
}

TEST(cache, a_request_that_found_no_room_because_of_a_reader_goes_on_after_it)
{
    struct cached *cached = cached_new((struct cache_config){ .blocks_max = 1 });
    struct stuck reader;
    struct wish read;

    below_mode(&cached->below, BELOW_ANSWERS);
    expect_read(cached, 0, 0, 1, stored_byte(0));
    stuck_read(cached, &reader, 0, 0, 1);
    wish_read(cached, &read, 5, 0, 1);
    assert_false(wish_is_done(&read));
    assert_int_equal(stuck_end(&reader), 0);
    wish_expect(&read, stored_byte(5));
    cached_free(cached);
}

TEST(cache, requests_for_more_blocks_than_there_are_frames_are_all_served)
{
    enum { MANY = 64 };
    struct cached *cached = cached_new((struct cache_config){ .blocks_max = 4 });
    static struct wish wishes[MANY];

    for (unsigned i = 0; i < MANY; i++)
        wish_read(cached, &wishes[i], i, 0, SECTORS);
    for (unsigned i = 0; i < MANY; i++)
        below_answer(&cached->below, STORE_READ, ANY_BLOCK, 0);
    for (unsigned i = 0; i < MANY; i++)
        wish_expect(&wishes[i], stored_byte(i));
    assert_in_range(cached_gauge(cached, "cache_blocks"), 1, 4);
    cached_free(cached);
}

TEST(cache, one_block_of_room_serves_64_readers_and_writers_of_different_blocks)
{
    enum { MANY = 64 };
    struct cached *cached = cached_new((struct cache_config){ .blocks_max = 1 });
    static struct wish wishes[MANY];

    below_mode(&cached->below, BELOW_WANDERS);
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < MANY; i++) {
            if (i % 4 == 0)
                wish_read(cached, &wishes[i], i, 0, SECTORS);
            else if (i % 4 == 1)
                wish_write(cached, &wishes[i], i, 1, 2, 0x11);
            else if (i % 4 == 2)
                wish_write(cached, &wishes[i], i, 0, SECTORS, 0x22);
            else
                wish_write_bytes(cached, &wishes[i], i, 3, 2, 0x33);
        }
        for (unsigned i = 0; i < MANY; i++)
            wish_end(&wishes[i]);
    }
    cached_settle(cached);
    cached_free(cached);
}

TEST(cache, protected_blocks_stay_while_others_can_go)
{
    struct cached *cached =
        cached_new((struct cache_config){ .blocks_max = 8, .protected_count = 2 });

    below_mode(&cached->below, BELOW_ANSWERS);
    expect_read(cached, 0, 0, 1, stored_byte(0));
    expect_read(cached, 1, 0, 1, stored_byte(1));
    for (unsigned block = 2; block < 60; block++)
        expect_read(cached, block, 0, 1, stored_byte(block));
    below_mode(&cached->below, BELOW_HOLDS);
    assert_true(is_cached(cached, 0));
    assert_true(is_cached(cached, 1));
    assert_false(is_cached(cached, 2));
    cached_free(cached);
}

TEST(cache, a_protected_block_goes_when_all_others_are_being_read)
{
    struct cached *cached =
        cached_new((struct cache_config){ .blocks_max = 2, .protected_count = 1 });
    struct stuck reader;

    below_mode(&cached->below, BELOW_ANSWERS);
    expect_read(cached, 0, 0, 1, stored_byte(0));
    expect_read(cached, 5, 0, 1, stored_byte(5));
    stuck_read(cached, &reader, 5, 0, 1);
    expect_read(cached, 7, 0, 1, stored_byte(7));
    assert_int_equal(stuck_end(&reader), 0);
    cached_free(cached);
}

TEST(cache, a_block_that_is_being_read_while_room_is_made_is_worth_no_more_for_it)
{
    struct cached *cached = cached_new((struct cache_config){ 0 });
    struct stuck reader;
    uint64_t block = 1;

    below_mode(&cached->below, BELOW_ANSWERS);
    expect_read(cached, 0, 0, 1, stored_byte(0));
    stuck_read(cached, &reader, 0, 0, 1);
    for (; cached_counter(cached, "cache_evictions") < 4; block++)
        expect_read(cached, block, 0, 1, stored_byte(block));
    assert_int_equal(stuck_end(&reader), 0);
    expect_read(cached, block, 0, 1, stored_byte(block));
    below_mode(&cached->below, BELOW_HOLDS);
    assert_false(is_cached(cached, 0));
    cached_free(cached);
}

TEST(cache, a_clean_block_that_nobody_used_for_long_is_dropped)
{
    struct cached *cached = cached_new((struct cache_config){ .idle_ns = 100 * NS_PER_S });

    below_mode(&cached->below, BELOW_ANSWERS);
    expect_read(cached, 1, 0, 1, stored_byte(1));
    expect_read(cached, 2, 0, 1, stored_byte(2));
    cached_sleep(cached, 60 * NS_PER_S);
    expect_read(cached, 2, 0, 1, stored_byte(2));
    cached_sleep(cached, 60 * NS_PER_S);
    below_mode(&cached->below, BELOW_HOLDS);
    assert_false(is_cached(cached, 1));
    assert_true(is_cached(cached, 2));
    cached_free(cached);
}

TEST(cache, a_reader_drops_a_block_that_was_fetched_long_ago_though_it_was_used)
{
    struct cached *cached =
        cached_new((struct cache_config){ .idle_ns = 100 * NS_PER_S, .is_reader = true });

    below_mode(&cached->below, BELOW_ANSWERS);
    for (unsigned i = 0; i < 9; i++) {
        if (i < 8)
            expect_read(cached, 1, 0, 1, stored_byte(1));
        cached_sleep(cached, 11 * NS_PER_S);
    }
    below_mode(&cached->below, BELOW_HOLDS);
    assert_false(is_cached(cached, 1));
    cached_free(cached);
}

TEST(cache, a_dirty_block_is_not_dropped_however_long_nobody_used_it)
{
    struct cached *cached =
        cached_new((struct cache_config){ .idle_ns = 100 * NS_PER_S, .write_delay_ns = EVER_NS });

    write_now(cached, 1, 0, 1, 0x11);
    cached_sleep(cached, 1000 * NS_PER_S);
    expect_read(cached, 1, 0, 1, 0x11);
    cached_free(cached);
}

TEST(cache, a_cache_larger_than_the_disk_takes_memory_for_the_disk_alone)
{
    struct cached *cached =
        cached_new((struct cache_config){ .block_count = 4, .blocks_max = UINT32_MAX });

    below_mode(&cached->below, BELOW_ANSWERS);
    for (unsigned block = 0; block < 4; block++)
        expect_read(cached, block, 0, 1, stored_byte(block));
    assert_int_equal(cached_gauge(cached, "cache_blocks"), 4);
    cached_free(cached);
}

/* Sanitizers have a heap of their own, of which nobody tells. */
static size_t
heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

/* 128 bytes a block, and two bits a sector. */
TEST(cache, a_block_takes_little_memory_beyond_its_data)
{
    enum { BLOCKS = (1 << 17) + 1, MANY_SECTORS = 64 };
    size_t before = heap_bytes(), bytes;
    struct cached *cached = cached_new((struct cache_config){
        .block_bytes = MANY_SECTORS * SECTOR_BYTES, .block_count = BLOCKS, .blocks_max = BLOCKS });

    bytes = heap_bytes() - before;
    if (bytes > 0) {
        bytes -= (size_t)cached->below.block_count * (MANY_SECTORS * SECTOR_BYTES + 1);
        print_message("%zu bytes a block\n", bytes / BLOCKS);
        assert_in_range(bytes / BLOCKS, 1, 128 + MANY_SECTORS / 4);
    }
    cached_free(cached);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(cache, a_read_of_a_block_that_is_not_cached_fetches_it_and_a_second_one_does_not),
        RUN(cache, a_read_of_a_block_that_is_being_fetched_joins),
        RUN(cache, all_misses_are_asked_for_at_once),
        RUN(cache, a_failed_fetch_fails_all_that_wait_for_it_and_the_next_read_fetches_again),
        RUN(cache, a_block_known_to_be_zeros_is_read_without_a_request),
        RUN(cache, what_the_layer_below_answers_at_once_is_read_at_once),
        RUN(cache, a_write_of_whole_sectors_is_accepted_without_a_request),
        RUN(cache, a_write_inside_a_sector_fetches_first),
        RUN(cache, a_write_that_begins_or_ends_inside_a_sector_fetches_first),
        RUN(cache, a_write_inside_a_sector_that_is_valid_does_not_fetch),
        RUN(cache, a_write_inside_a_sector_of_zeros_does_not_fetch),
        RUN(cache, a_write_inside_a_sector_of_zeros_does_not_fetch_beside_sectors_written_before),
        RUN(cache, a_write_without_data_writes_zeros),
        RUN(cache, valid_sectors_of_an_incomplete_block_are_read_without_a_request),
        RUN(cache, what_arrives_does_not_overwrite_what_was_written_meanwhile),
        RUN(cache, a_block_is_written_to_while_its_first_fetch_is_under_way),
        RUN(cache, a_written_sector_stays_when_the_fetch_of_the_rest_fails),
        RUN(cache, readers_of_a_block_do_not_wait_for_each_other),
        RUN(cache, a_write_waits_for_a_reader_and_later_readers_for_the_write),
        RUN(cache, reads_and_writes_wait_for_a_writer_in_the_middle_of_the_block),
        RUN(cache, a_block_being_written_to_survives_that_its_fetch_fails),
        RUN(cache, what_arrives_while_the_block_is_written_to_becomes_the_rest),
        RUN(cache, a_block_that_makes_room_is_fetched_again),
        RUN(cache, dirty_blocks_do_not_make_room),
        RUN(cache, blocks_in_flight_do_not_make_room),
        RUN(cache, a_read_that_finds_no_room_stores_dirty_blocks_and_goes_on),
        RUN(cache, a_request_that_found_no_room_because_of_a_reader_goes_on_after_it),
        RUN(cache, requests_for_more_blocks_than_there_are_frames_are_all_served),
        RUN(cache, one_block_of_room_serves_64_readers_and_writers_of_different_blocks),
        RUN(cache, protected_blocks_stay_while_others_can_go),
        RUN(cache, a_protected_block_goes_when_all_others_are_being_read),
        RUN(cache, a_block_that_is_being_read_while_room_is_made_is_worth_no_more_for_it),
        RUN(cache, a_clean_block_that_nobody_used_for_long_is_dropped),
        RUN(cache, a_reader_drops_a_block_that_was_fetched_long_ago_though_it_was_used),
        RUN(cache, a_dirty_block_is_not_dropped_however_long_nobody_used_it),
        RUN(cache, a_cache_larger_than_the_disk_takes_memory_for_the_disk_alone),
        RUN(cache, a_block_takes_little_memory_beyond_its_data),
    };

    return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
