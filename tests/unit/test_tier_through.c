/* SPDX-License-Identifier: Apache-2.0 */
/* core/tier_writes.c: what goes to the store past the cache file: zeros, and writes when the file has failed. */
#include "fake_tier.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static void
flush_now(struct tiered *tiered, int rc)
{
    struct wish flush;

    ask_flush(tiered, &flush);
    expect_done(&flush, rc);
}

/* ---- zeros */

TEST(zeros, they_are_done_when_the_store_has_them_and_the_file_forgets_the_blocks)
{
    struct tiered *tiered = tiered_usual();
    struct asked *asked;
    struct wish zero;

    keep(tiered, 3);
    put(tiered, 4, 0, SECTORS, 0x11);
    put(tiered, 6, 0, SECTORS, 0x22);
    ask_zero(tiered, &zero, 3, 3);
    asked = below_expect(&tiered->below, STORE_ZERO, 3);
    expect_waits(tiered, &zero);
    expect_kept(tiered, 6, 0, SECTORS, 0x22);
    assert_true(cachefile_holds(tiered->file, 3));
    asked_answer(asked, 0);
    expect_done(&zero, 0);
    expect_no_file(tiered, 3);
    expect_no_file(tiered, 4);
    tiered_sleep(tiered, TIER_DELAY_NS);
    answer_write(tiered, 6, 0);
    tiered_expect_quiet(tiered);
    expect_stored(tiered, 4, 0, SECTORS, 0);
    tiered_free(tiered);
}

TEST(zeros, they_wait_for_flights)
{
    struct tiered *tiered = tiered_usual();
    struct asked *flight;
    struct wish zero;

    put(tiered, 3, 0, SECTORS, 0x11);
    tiered_sleep(tiered, TIER_DELAY_NS);
    flight = flight_of(tiered, 3);
    ask_zero(tiered, &zero, 2, 2);
    tiered_expect_quiet(tiered);
    asked_answer(flight, 0);
    below_answer(&tiered->below, STORE_ZERO, 2, 0);
    expect_done(&zero, 0);
    expect_no_file(tiered, 3);
    expect_stored(tiered, 3, 0, SECTORS, 0);
    tiered_free(tiered);
}

TEST(zeros, they_wait_for_a_flight_that_fails_and_it_is_not_repeated)
{
    struct tiered *tiered = tiered_usual();
    struct asked *flight;
    struct wish zero, flush;

    put(tiered, 3, 0, SECTORS, 0x11);
    tiered_sleep(tiered, TIER_DELAY_NS);
    flight = flight_of(tiered, 3);
    ask_zero(tiered, &zero, 3, 1);
    asked_answer(flight, -EIO);
    ask_flush(tiered, &flush);
    tiered_sleep(tiered, TIER_DELAY_NS);
    expect_waits(tiered, &flush);
    below_answer(&tiered->below, STORE_ZERO, 3, 0);
    expect_done(&zero, 0);
    expect_done(&flush, 0);
    tiered_sleep(tiered, TIER_DELAY_NS);
    tiered_expect_quiet(tiered);
    assert_int_equal(tier_unsent(tiered->store), 0);
    tiered_free(tiered);
}

TEST(zeros, nothing_of_them_is_sent_meanwhile)
{
    struct tiered *tiered = tiered_usual();
    struct asked *asked;
    struct wish zero, flush;

    put(tiered, 3, 0, SECTORS, 0x11);
    ask_zero(tiered, &zero, 3, 1);
    asked = below_expect(&tiered->below, STORE_ZERO, 3);
    ask_flush(tiered, &flush);
    tiered_sleep(tiered, TIER_DELAY_NS);
    expect_waits(tiered, &flush);
    tiered_expect_quiet(tiered);
    asked_answer(asked, 0);
    expect_done(&zero, 0);
    expect_done(&flush, 0);
    tiered_free(tiered);
}

TEST(zeros, those_that_fail_change_nothing)
{
    struct tiered *tiered = tiered_usual();
    struct asked *asked;
    struct wish zero, flush;

    put(tiered, 3, 0, SECTORS, 0x11);
    ask_zero(tiered, &zero, 3, 1);
    asked = below_expect(&tiered->below, STORE_ZERO, 3);
    ask_flush(tiered, &flush);
    expect_waits(tiered, &flush);
    asked_answer(asked, -EIO);
    expect_done(&zero, -EIO);
    answer_write(tiered, 3, 0);
    expect_done(&flush, 0);
    expect_stored(tiered, 3, 0, SECTORS, 0x11);
    tiered_free(tiered);
}

TEST(zeros, what_else_there_is_passes_what_they_hold)
{
    struct tiered *tiered = tiered_new((struct tier_config){ .in_flight_max = 1 }, 0);
    struct asked *asked;
    struct wish zero, flush;

    put(tiered, 3, 0, SECTORS, 0x11);
    put(tiered, 5, 0, SECTORS, 0x22);
    put(tiered, 4, 0, SECTORS, 0x33);
    put(tiered, 6, 0, SECTORS, 0x44);
    ask_zero(tiered, &zero, 3, 2);
    asked = below_expect(&tiered->below, STORE_ZERO, 3);
    tiered_sleep(tiered, TIER_DELAY_NS);
    answer_write(tiered, 5, 0);
    ask_flush(tiered, &flush);
    answer_write(tiered, 6, 0);
    put(tiered, 7, 0, SECTORS, 0x55);
    expect_waits(tiered, &flush); /* for 3 and 4 */
    tiered_expect_quiet(tiered);
    asked_answer(asked, -EIO);
    expect_done(&zero, -EIO);
    answer_write(tiered, 3, 0);
    expect_waits(tiered, &flush);
    answer_write(tiered, 4, 0);
    expect_done(&flush, 0);
    assert_int_equal(tier_unsent(tiered->store), 1);
    tiered_free(tiered);
}

static uint64_t
cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* As a trim of much that is not stored, while the store is slow. */
TEST(zeros, what_they_hold_costs_little_however_much_it_is)
{
    const uint32_t count = 20000;
    struct tiered *tiered = tiered_new((struct tier_config){ 0 }, 2 * count);
    struct asked *asked;
    struct wish zero;
    uint64_t began;

    for (uint32_t i = 0; i < count; i++)
        put(tiered, 100 + i, 0, SECTORS, 0x11);
    put(tiered, 3, 0, SECTORS, 0x22);
    ask_zero(tiered, &zero, 100, count);
    asked = below_expect(&tiered->below, STORE_ZERO, 100);
    began = cpu_ns();
    tiered_sleep(tiered, TIER_DELAY_NS);
    answer_write(tiered, 3, 0);
    asked_answer(asked, 0);
    expect_done(&zero, 0);
    tiered_settle(tiered);
    assert_in_range(cpu_ns() - began, 0, NS_PER_S / 2);
    assert_int_equal(tier_unsent(tiered->store), 0);
    tiered_free(tiered);
}

/* Each has flights of its own to wait for. */
TEST(zeros, several_at_once_do_not_disturb_each_other)
{
    struct tiered *tiered = tiered_usual();
    struct asked *flights[3];
    struct wish zeros[3];

    for (unsigned i = 0; i < 3; i++)
        put(tiered, 3 * i, 0, SECTORS, 0x11);
    tiered_sleep(tiered, TIER_DELAY_NS);
    for (unsigned i = 0; i < 3; i++)
        flights[i] = flight_of(tiered, 3 * i);
    for (unsigned i = 0; i < 3; i++)
        ask_zero(tiered, &zeros[i], 3 * i, 2);
    for (unsigned i = 3; i-- > 0;) {
        asked_answer(flights[i], i == 1 ? -EIO : 0);
        tiered_settle(tiered);
    }
    for (unsigned i = 0; i < 3; i++) {
        below_answer(&tiered->below, STORE_ZERO, 3 * i, 0);
        expect_done(&zeros[i], 0);
        expect_stored(tiered, 3 * i, 0, SECTORS, 0);
    }
    tiered_sleep(tiered, TIER_DELAY_NS);
    tiered_free(tiered);
}

TEST(zeros, what_is_written_after_them_is_sent)
{
    struct tiered *tiered = tiered_usual();
    struct wish zero, flush;

    put(tiered, 3, 0, SECTORS, 0x11);
    ask_zero(tiered, &zero, 3, 1);
    below_answer(&tiered->below, STORE_ZERO, 3, 0);
    expect_done(&zero, 0);
    put(tiered, 3, 1, 1, 0x22);
    expect_file(tiered, 3, CACHEFILE_DIRTY, 0x02, CACHEFILE_ABSENT, "");
    ask_flush(tiered, &flush);
    below_answer(&tiered->below, STORE_READ, 3, 0);
    answer_write(tiered, 3, 0);
    expect_done(&flush, 0);
    expect_stored(tiered, 3, 0, 1, 0);
    expect_stored(tiered, 3, 1, 1, 0x22);
    tiered_sleep(tiered, TIER_DELAY_NS);
    tiered_free(tiered);
}

/* In between a crash leaves what was there before. */
TEST(zeros, the_file_forgets_only_then)
{
    struct tiered *tiered = tiered_new((struct tier_config){ .durability = TIER_FILE }, 0);
    struct asked *asked;
    struct wish zero;

    put(tiered, 3, 0, SECTORS, 0x11);
    flush_now(tiered, 0);
    ask_zero(tiered, &zero, 3, 1);
    asked = below_expect(&tiered->below, STORE_ZERO, 3);
    assert_true(cachefile_holds_dirty(tiered->file, 3));
    asked_answer(asked, 0);
    expect_done(&zero, 0);
    flush_now(tiered, 0);
    tiered_restart(tiered, END_POWER_CUT);
    assert_int_equal(tier_unsent(tiered->store), 0);
    tiered_free(tiered);
}

/* ---- without the file */

static void
write_through(struct tiered *tiered, uint64_t block, unsigned char fill)
{
    struct wish write;

    ask_write(tiered, &write, block, 0, SECTORS, fill);
    expect_waits(tiered, &write);
    answer_write(tiered, block, 0);
    expect_done(&write, 0);
}

TEST(through, when_the_file_cannot_be_written_the_store_is)
{
    struct tiered *tiered = tiered_usual();
    struct wish read, flush;

    keep(tiered, 5);
    put(tiered, 4, 0, SECTORS, 0x11);
    disk_fails(tiered, 1000, 0, -ENOSPC);
    write_through(tiered, 3, 0x22);
    write_through(tiered, 5, 0x33);
    expect_stored(tiered, 3, 0, SECTORS, 0x22);
    ask_read(tiered, &read, 5);
    below_answer(&tiered->below, STORE_READ, 5, 0);
    wish_expect(&read, 0x33);
    expect_kept(tiered, 4, 0, SECTORS, 0x11);
    ask_flush(tiered, &flush);
    answer_write(tiered, 4, 0);
    expect_done(&flush, 0);
    expect_stored(tiered, 4, 0, SECTORS, 0x11);
    ask_read(tiered, &read, 4);
    below_answer(&tiered->below, STORE_READ, 4, 0);
    wish_expect(&read, 0x11);
    tiered_free(tiered);
}

TEST(through, after_a_failed_sync_the_store_is_written)
{
    struct tiered *tiered = tiered_usual();
    struct wish flush;

    put(tiered, 3, 0, SECTORS, 0x11);
    disk_fails(tiered, 0, 1000, -EIO);
    ask_flush(tiered, &flush);
    answer_write(tiered, 3, 0);
    expect_done(&flush, -EIO);
    write_through(tiered, 3, 0x22);
    write_through(tiered, 4, 0x33);
    flush_now(tiered, 0);
    expect_stored(tiered, 3, 0, SECTORS, 0x22);
    tiered_free(tiered);
}

TEST(through, some_sectors_are_completed_by_the_file_and_the_store)
{
    struct tiered *tiered = tiered_usual();
    struct wish write;

    put(tiered, 3, 0, 2, 0x11);
    disk_fails(tiered, 1000, 0, -EIO);
    ask_write(tiered, &write, 3, 1, 2, 0x22);
    below_answer(&tiered->below, STORE_READ, 3, 0);
    answer_write(tiered, 3, 0);
    expect_done(&write, 0);
    expect_stored(tiered, 3, 0, 1, 0x11);
    expect_stored(tiered, 3, 1, 2, 0x22);
    expect_stored(tiered, 3, 3, 5, stored_byte(3));
    tiered_sleep(tiered, TIER_DELAY_NS);
    tiered_expect_quiet(tiered);
    assert_int_equal(tier_unsent(tiered->store), 0);
    tiered_free(tiered);
}

TEST(through, what_fails_is_an_error_and_the_file_keeps_what_it_had)
{
    struct tiered *tiered = tiered_usual();
    struct wish write;

    put(tiered, 3, 0, SECTORS, 0x11);
    disk_fails(tiered, 1000, 0, -EIO);
    ask_write(tiered, &write, 3, 0, SECTORS, 0x22);
    answer_write(tiered, 3, -ENOSPC);
    expect_done(&write, -ENOSPC);
    expect_kept(tiered, 3, 0, SECTORS, 0x11);
    ask_write(tiered, &write, 3, 0, 1, 0x22);
    below_answer(&tiered->below, STORE_READ, 3, -EIO);
    expect_done(&write, -EIO);
    tiered_free(tiered);
}

TEST(through, it_waits_for_the_blocks_flight)
{
    struct tiered *tiered = tiered_usual();
    struct asked *flight;
    struct wish write;

    put(tiered, 3, 0, SECTORS, 0x11);
    tiered_sleep(tiered, TIER_DELAY_NS);
    flight = flight_of(tiered, 3);
    disk_fails(tiered, 1000, 0, -EIO);
    ask_write(tiered, &write, 3, 0, SECTORS, 0x22);
    tiered_expect_quiet(tiered);
    asked_answer(flight, 0);
    answer_write(tiered, 3, 0);
    expect_done(&write, 0);
    expect_stored(tiered, 3, 0, SECTORS, 0x22);
    tiered_sleep(tiered, TIER_DELAY_NS);
    tiered_free(tiered);
}

TEST(through, who_waited_for_room_need_not_any_more)
{
    struct tiered *tiered = tiered_new((struct tier_config){ 0 }, 2);
    struct wish write, zero;
    struct asked *flight;

    put(tiered, 1, 0, SECTORS, 0x11);
    put(tiered, 2, 0, SECTORS, 0x22);
    ask_write(tiered, &write, 3, 0, SECTORS, 0x33);
    flight = flight_of(tiered, 1);
    below_answer(&tiered->below, STORE_WRITE, 2, -EIO);
    expect_waits(tiered, &write);
    disk_fails(tiered, 1000, 0, -EIO);
    asked_answer(flight, 0);
    answer_write(tiered, 3, 0);
    expect_done(&write, 0);
    ask_zero(tiered, &zero, 2, 1);
    below_answer(&tiered->below, STORE_ZERO, 2, 0);
    expect_done(&zero, 0);
    expect_no_file(tiered, 2);
    tiered_free(tiered);
}

TEST(through, a_file_of_which_no_slot_is_left_has_failed)
{
    struct tiered *tiered = tiered_new((struct tier_config){ 0 }, 1);
    struct wish read;

    disk_fails(tiered, 1000, 0, -EIO);
    ask_read(tiered, &read, 2);
    below_answer(&tiered->below, STORE_READ, 2, 0);
    wish_expect(&read, stored_byte(2));
    disk_fails(tiered, 0, 0, -EIO);
    write_through(tiered, 3, 0x22);
    tiered_free(tiered);
}

/* What the file cannot be told it must not say any more. */
TEST(through, what_is_sync_is_done_when_the_file_is_gone)
{
    struct tiered *tiered = tiered_usual();
    struct wish write;

    put(tiered, 3, 0, SECTORS, 0x11);
    put(tiered, 4, 0, SECTORS, 0x11);
    tiered->config.is_sync = true;
    tiered_restart(tiered, END_KILLED);
    disk_fails(tiered, 1000, 0, -EIO);
    ask_write(tiered, &write, 3, 0, SECTORS, 0x22);
    answer_write(tiered, 3, 0);
    expect_waits(tiered, &write); /* for what else the file has, which it goes with */
    answer_write(tiered, 4, 0);
    expect_done(&write, 0);
    tiered_free(tiered);
}

TEST(through, a_file_that_failed_is_removed_when_all_is_stored)
{
    struct rlimit usual_limit, limit;
    struct tiered *tiered;
    struct wish flush;
    char path[] = "/tmp/test_tier_XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    close(fd);
    tiered = tiered_new_at((struct tier_config){ 0 }, 16, path);
    put(tiered, 4, 0, SECTORS, 0x11);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &usual_limit);
    limit = (struct rlimit){ .rlim_cur = 4096, .rlim_max = usual_limit.rlim_max };
    setrlimit(RLIMIT_FSIZE, &limit);
    write_through(tiered, 3, 0x22);
    ask_flush(tiered, &flush);
    expect_waits(tiered, &flush);
    assert_int_equal(access(path, F_OK), 0);
    answer_write(tiered, 4, 0);
    expect_done(&flush, 0);
    setrlimit(RLIMIT_FSIZE, &usual_limit);
    assert_int_equal(access(path, F_OK), -1);
    fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0600);
    assert_true(fd >= 0); /* of somebody else */
    close(fd);
    flush_now(tiered, 0);
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
    tiered_free(tiered);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(zeros, they_are_done_when_the_store_has_them_and_the_file_forgets_the_blocks),
        RUN(zeros, they_wait_for_flights),
        RUN(zeros, they_wait_for_a_flight_that_fails_and_it_is_not_repeated),
        RUN(zeros, nothing_of_them_is_sent_meanwhile),
        RUN(zeros, those_that_fail_change_nothing),
        RUN(zeros, what_else_there_is_passes_what_they_hold),
        RUN(zeros, what_they_hold_costs_little_however_much_it_is),
        RUN(zeros, several_at_once_do_not_disturb_each_other),
        RUN(zeros, what_is_written_after_them_is_sent),
        RUN(zeros, the_file_forgets_only_then),
        RUN(through, when_the_file_cannot_be_written_the_store_is),
        RUN(through, after_a_failed_sync_the_store_is_written),
        RUN(through, some_sectors_are_completed_by_the_file_and_the_store),
        RUN(through, what_fails_is_an_error_and_the_file_keeps_what_it_had),
        RUN(through, it_waits_for_the_blocks_flight),
        RUN(through, who_waited_for_room_need_not_any_more),
        RUN(through, a_file_of_which_no_slot_is_left_has_failed),
        RUN(through, what_is_sync_is_done_when_the_file_is_gone),
        RUN(through, a_file_that_failed_is_removed_when_all_is_stored),
    };

    return cmocka_run_group_tests_name("tier_through", tests, NULL, NULL);
}
