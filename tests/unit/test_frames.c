/* SPDX-License-Identifier: Apache-2.0 */
/* core/frames.c: the cache's memory, shared by counting. */
#include "test.h"

#include "frames.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct frames *
fresh(uint32_t count, uint32_t frame_bytes)
{
    struct frames *frames;

    assert_int_equal(frames_new(count, frame_bytes, &frames), 0);
    return frames;
}

TEST(frames, each_is_taken_once_until_none_is_left)
{
    struct frames *frames = fresh(3, 512);
    bool is_taken[3] = { false };

    for (uint32_t left = 3; left > 0; left--) {
        uint32_t frame;

        assert_int_equal(frames_left(frames), left);
        frame = frames_take(frames);
        assert_true(frame < 3);
        assert_false(is_taken[frame]);
        is_taken[frame] = true;
    }
    assert_int_equal(frames_left(frames), 0);
    assert_int_equal(frames_take(frames), FRAME_NONE);
    frames_free(frames);
}

TEST(frames, a_dropped_frame_can_be_taken_again_and_the_warmest_goes_first)
{
    struct frames *frames = fresh(3, 512);
    uint32_t first = frames_take(frames), second = frames_take(frames);

    frames_drop(frames, first);
    frames_drop(frames, second);
    assert_int_equal(frames_left(frames), 3);
    assert_int_equal(frames_take(frames), second);
    assert_int_equal(frames_take(frames), first);
    frames_free(frames);
}

TEST(frames, a_shared_frame_is_free_when_the_last_one_drops_it)
{
    struct frames *frames = fresh(1, 512);
    uint32_t frame = frames_take(frames);

    assert_false(frames_is_shared(frames, frame));
    frames_share(frames, frame);
    assert_true(frames_is_shared(frames, frame));
    frames_drop(frames, frame);
    assert_false(frames_is_shared(frames, frame));
    assert_int_equal(frames_take(frames), FRAME_NONE);
    frames_drop(frames, frame);
    assert_int_equal(frames_take(frames), frame);
    assert_false(frames_is_shared(frames, frame));
    frames_free(frames);
}

TEST(frames, frames_do_not_overlap)
{
    struct frames *frames = fresh(4, 1024);
    uint32_t all[4];

    for (unsigned i = 0; i < 4; i++) {
        all[i] = frames_take(frames);
        memset(frames_data(frames, all[i]), (int)i, 1024);
    }
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned at = 0; at < 1024; at++)
            assert_int_equal(frames_data(frames, all[i])[at], i);
    }
    frames_free(frames);
}

/* Pages may be of 2 MiB: what lies farther away than one of them. */
TEST(frames, a_frame_that_was_never_used_costs_no_memory)
{
    enum { FRAME_BYTES = 4 << 20, PAGES_MAX = FRAME_BYTES / 4096 };
    struct frames *frames = fresh(64, FRAME_BYTES);
    uint32_t used = frames_take(frames), unused;
    unsigned char is_there[PAGES_MAX];

    frames_take(frames);
    unused = frames_take(frames);
    memset(frames_data(frames, used), 1, 4096);
    assert_int_equal(mincore(frames_data(frames, unused), FRAME_BYTES, is_there), 0);
    for (unsigned i = 0; i < FRAME_BYTES / (unsigned)sysconf(_SC_PAGESIZE); i++)
        assert_int_equal(is_there[i] & 1, 0);
    frames_free(frames);
}

TEST(frames, more_memory_than_there_is_is_refused)
{
    struct frames *frames;

    assert_int_not_equal(frames_new(1 << 20, UINT32_C(1) << 31, &frames), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(frames, each_is_taken_once_until_none_is_left),
        RUN(frames, a_dropped_frame_can_be_taken_again_and_the_warmest_goes_first),
        RUN(frames, a_shared_frame_is_free_when_the_last_one_drops_it),
        RUN(frames, frames_do_not_overlap),
        RUN(frames, a_frame_that_was_never_used_costs_no_memory),
        RUN(frames, more_memory_than_there_is_is_refused),
    };

    return cmocka_run_group_tests_name("frames", tests, NULL, NULL);
}
