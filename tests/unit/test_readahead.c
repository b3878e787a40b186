/* SPDX-License-Identifier: Apache-2.0 */
/* core/readahead.c: who reads in sequence, and how far ahead of them to fetch. */
#include "test.h"

#include "fake_backend.h"
#include "readahead.h"

#define DISK 100000u

struct range_ahead {
    uint64_t first, end; /* equal: nothing */
};

/* One block is read; what is asked for then is fetched. */
static struct range_ahead
read_block(struct readahead *readahead, uint64_t block, bool must_wait)
{
    struct range_ahead ahead = { 0, 0 };
    struct stream *stream;

    if (readahead_read(readahead, block, must_wait, &stream, &ahead.first, &ahead.end)) {
        assert_true(ahead.first > block && ahead.first < ahead.end && ahead.end <= DISK);
        readahead_reached(stream, ahead.end);
    } else {
        ahead.first = ahead.end = 0;
    }
    return ahead;
}

/* Blocks [first, first + count) are read in order by one who waits for what is not fetched yet, or for all.
 * Returns how far ahead is fetched at most, in blocks. */
static uint64_t
read_run(struct readahead *readahead, uint64_t first, unsigned count, bool always_waits)
{
    uint64_t fetched = first, most = 0;

    for (uint64_t block = first; block < first + count; block++) {
        struct range_ahead ahead = read_block(readahead, block, always_waits || block >= fetched);

        if (ahead.end > fetched)
            fetched = ahead.end;
        if (fetched > block + 1 && fetched - block - 1 > most)
            most = fetched - block - 1;
    }
    return most;
}

static struct readahead
fresh(uint32_t window_max, uint32_t trigger)
{
    struct readahead readahead;

    readahead_init(&readahead, DISK, window_max, trigger);
    return readahead;
}

TEST(readahead, nothing_is_asked_for_before_enough_blocks_were_read_in_a_row)
{
    struct readahead readahead = fresh(64, 3);
    struct range_ahead ahead;

    assert_int_equal(read_block(&readahead, 10, true).end, 0);
    assert_int_equal(read_block(&readahead, 11, true).end, 0);
    ahead = read_block(&readahead, 12, true);
    assert_int_equal(ahead.first, 13);
    assert_in_range(ahead.end, 14, 13 + 16);
}

TEST(readahead, parts_of_one_block_are_not_a_sequence)
{
    struct readahead readahead = fresh(64, 2);

    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(read_block(&readahead, 10, i == 0).end, 0);
    assert_int_not_equal(read_block(&readahead, 11, true).end, 0);
}

TEST(readahead, each_block_is_asked_for_once_and_none_is_left_out)
{
    struct readahead readahead = fresh(64, 2);
    uint64_t fetched = 0;

    for (uint64_t block = 0; block < 5000; block++) {
        struct range_ahead ahead = read_block(&readahead, block, block % 7 == 0);

        if (ahead.end == 0)
            continue;
        assert_int_equal(ahead.first, fetched == 0 ? block + 1 : fetched);
        fetched = ahead.end;
    }
    assert_true(fetched > 5000);
}

TEST(readahead, the_window_grows_to_its_limit_while_the_reader_has_to_wait)
{
    struct readahead readahead = fresh(64, 2);

    assert_int_equal(read_run(&readahead, 0, 1000, true), 64);
}

TEST(readahead, the_window_stays_small_while_the_reader_never_waits)
{
    struct readahead readahead = fresh(64, 2);

    assert_in_range(read_run(&readahead, 0, 1000, false), 1, 8);
}

TEST(readahead, much_is_asked_for_at_a_time_and_seldom)
{
    struct readahead readahead = fresh(64, 2);
    unsigned times = 0;

    for (uint64_t block = 0; block < 3200; block++)
        times += read_block(&readahead, block, true).end != 0;
    assert_in_range(times, 50, 120); /* half a window: 100 */
}

TEST(readahead, the_window_doubles_once_for_what_was_asked_for_at_once)
{
    struct readahead readahead = fresh(1024, 1);
    uint32_t window;

    read_block(&readahead, 0, true);
    window = readahead.streams[0].window;
    for (uint64_t block = 1; block < 1 + window; block++) /* all of the first window is late */
        read_block(&readahead, block, true);
    assert_in_range(readahead.streams[0].window, 2 * window, 4 * window);
}

TEST(readahead, the_window_halves_when_blocks_leave_unread)
{
    struct readahead readahead = fresh(64, 2);
    uint32_t window;

    read_run(&readahead, 0, 1000, true);
    window = readahead.streams[0].window;
    assert_int_equal(window, 64);
    readahead_wasted(&readahead, 1001);
    assert_int_equal(readahead.streams[0].window, window / 2);
    readahead_wasted(&readahead, 50000); /* nobody's */
    assert_int_equal(readahead.streams[0].window, window / 2);
}

TEST(readahead, nothing_is_asked_for_beyond_the_end_of_the_disk)
{
    struct readahead readahead = fresh(64, 2);
    uint64_t fetched = 0;

    for (uint64_t block = DISK - 200; block < DISK; block++) {
        struct range_ahead ahead = read_block(&readahead, block, true);

        if (ahead.end > fetched)
            fetched = ahead.end;
    }
    assert_int_equal(fetched, DISK);
}

TEST(readahead, a_limit_of_nothing_asks_for_nothing)
{
    struct readahead readahead = fresh(0, 1);

    assert_int_equal(read_run(&readahead, 0, 1000, true), 0);
}

TEST(readahead, a_limit_of_one_block_is_kept)
{
    struct readahead readahead = fresh(1, 1);

    assert_int_equal(read_run(&readahead, 0, 1000, true), 1);
}

TEST(readahead, several_readers_each_have_their_window)
{
    struct readahead readahead = fresh(64, 2);
    uint64_t fetched[READAHEAD_STREAMS] = { 0 };

    for (uint64_t i = 0; i < 500; i++) {
        for (uint64_t reader = 0; reader < READAHEAD_STREAMS; reader++) {
            struct range_ahead ahead = read_block(&readahead, reader * 2000 + i, true);

            if (ahead.end != 0)
                fetched[reader] = ahead.end;
        }
    }
    for (uint64_t reader = 0; reader < READAHEAD_STREAMS; reader++)
        assert_in_range(fetched[reader], reader * 2000 + 500 + 16, reader * 2000 + 500 + 64);
}

TEST(readahead, a_new_reader_takes_the_place_of_the_one_who_stopped_longest_ago)
{
    struct readahead readahead = fresh(64, 2);

    for (uint64_t reader = 0; reader < READAHEAD_STREAMS; reader++)
        read_run(&readahead, reader * 2000, 100, true);
    assert_int_equal(read_run(&readahead, 90000, 100, true), 64);
    for (uint64_t reader = 1; reader < READAHEAD_STREAMS; reader++)
        assert_int_equal(read_run(&readahead, reader * 2000 + 100, 100, true), 64);
}

TEST(readahead, a_sequence_that_arrives_a_little_out_of_order_is_one)
{
    struct readahead readahead = fresh(64, 2);
    uint64_t seed = test_seed(), fetched;

    read_run(&readahead, 0, 64, true);
    fetched = readahead.streams[0].ahead;
    for (uint64_t group = 64; group < 2000; group += 8) {
        uint64_t order[8];

        for (unsigned i = 0; i < 8; i++)
            order[i] = group + i;
        for (unsigned i = 7; i > 0; i--) {
            unsigned j = (unsigned)(random_next(&seed) % (i + 1));
            uint64_t other = order[i];

            order[i] = order[j];
            order[j] = other;
        }
        for (unsigned i = 0; i < 8; i++) {
            struct range_ahead ahead = read_block(&readahead, order[i], true);

            if (ahead.end > fetched)
                fetched = ahead.end;
        }
        assert_in_range(fetched, group + 8 + 16, group + 8 + 64);
    }
}

TEST(readahead, random_reads_ask_for_nothing)
{
    struct readahead readahead = fresh(64, 2);
    uint64_t seed = test_seed();
    unsigned asked = 0;

    for (unsigned i = 0; i < 100000; i++)
        asked += read_block(&readahead, random_next(&seed) % DISK, true).end != 0;
    assert_in_range(asked, 0, 200); /* 32 streams, one of 100,000 blocks each: 32 by chance */
}

TEST(readahead, reading_backwards_asks_for_nothing)
{
    struct readahead readahead = fresh(64, 2);

    for (uint64_t block = 5000; block > 4000; block--)
        assert_int_equal(read_block(&readahead, block, true).end, 0);
}

TEST(readahead, reading_every_tenth_block_asks_for_nothing)
{
    struct readahead readahead = fresh(64, 2);

    for (uint64_t block = 0; block < 5000; block += 10)
        assert_int_equal(read_block(&readahead, block, true).end, 0);
}

TEST(readahead, a_reader_who_jumps_begins_anew)
{
    struct readahead readahead = fresh(64, 2);

    read_run(&readahead, 0, 1000, true);
    assert_int_equal(read_block(&readahead, 50000, true).end, 0);
    assert_in_range(read_run(&readahead, 50001, 3, false), 1, 8);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(readahead, nothing_is_asked_for_before_enough_blocks_were_read_in_a_row),
        RUN(readahead, parts_of_one_block_are_not_a_sequence),
        RUN(readahead, each_block_is_asked_for_once_and_none_is_left_out),
        RUN(readahead, the_window_grows_to_its_limit_while_the_reader_has_to_wait),
        RUN(readahead, the_window_stays_small_while_the_reader_never_waits),
        RUN(readahead, much_is_asked_for_at_a_time_and_seldom),
        RUN(readahead, the_window_doubles_once_for_what_was_asked_for_at_once),
        RUN(readahead, the_window_halves_when_blocks_leave_unread),
        RUN(readahead, nothing_is_asked_for_beyond_the_end_of_the_disk),
        RUN(readahead, a_limit_of_nothing_asks_for_nothing),
        RUN(readahead, a_limit_of_one_block_is_kept),
        RUN(readahead, several_readers_each_have_their_window),
        RUN(readahead, a_new_reader_takes_the_place_of_the_one_who_stopped_longest_ago),
        RUN(readahead, a_sequence_that_arrives_a_little_out_of_order_is_one),
        RUN(readahead, random_reads_ask_for_nothing),
        RUN(readahead, reading_backwards_asks_for_nothing),
        RUN(readahead, reading_every_tenth_block_asks_for_nothing),
        RUN(readahead, a_reader_who_jumps_begins_anew),
    };

    return cmocka_run_group_tests_name("readahead", tests, NULL, NULL);
}
