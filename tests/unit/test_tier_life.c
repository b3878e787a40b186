/* SPDX-License-Identifier: Apache-2.0 */
/* core/tier.h: what is sent after a start, and the end of the daemon. */
#include "fake_tier.h"

#include <errno.h>
#include <string.h>

#define FAILED_PAUSE_NS (5 * NS_PER_S)

/* ---- recovery */

TEST(recovery, what_was_dirty_is_sent_after_the_next_start)
{
    struct tiered *tiered = tiered_local();
    struct wish flush;

    keep(tiered, 5);
    put(tiered, 3, 0, SECTORS, 0x11);
    put(tiered, 4, 1, 2, 0x22);
    ask_flush(tiered, &flush);
    expect_done(&flush, 0);
    tiered_restart(tiered, END_POWER_CUT);
    assert_int_equal(tier_unsent(tiered->store), 2);
    tiered_sleep(tiered, TIER_DELAY_NS);
    below_answer(&tiered->below, STORE_READ, 4, 0);
    answer_write(tiered, 3, 0);
    answer_write(tiered, 4, 0);
    expect_stored(tiered, 3, 0, SECTORS, 0x11);
    expect_stored(tiered, 4, 0, 1, stored_byte(4));
    expect_stored(tiered, 4, 1, 2, 0x22);
    assert_int_equal(tier_unsent(tiered->store), 0);
    tiered_free(tiered);
}

TEST(recovery, what_the_file_does_not_know_to_be_stored_is_sent_again)
{
    struct tiered *tiered = tiered_local();
    struct wish flush;

    put(tiered, 3, 0, SECTORS, 0x11);
    ask_flush(tiered, &flush);
    expect_done(&flush, 0);
    tiered_sleep(tiered, TIER_DELAY_NS);
    answer_write(tiered, 3, 0);
    tiered_restart(tiered, END_POWER_CUT);
    tiered_sleep(tiered, TIER_DELAY_NS);
    answer_write(tiered, 3, 0);
    expect_stored(tiered, 3, 0, SECTORS, 0x11);
    tiered_restart(tiered, END_KILLED);
    tiered_sleep(tiered, TIER_DELAY_NS);
    tiered_expect_quiet(tiered);
    tiered_free(tiered);
}

/* ---- the end */

TEST(ending, nothing_waits_to_be_sent)
{
    struct tiered *tiered = tiered_usual();

    put(tiered, 3, 0, SECTORS, 0x11);
    tier_ending(tiered->store);
    answer_write(tiered, 3, 0);
    put(tiered, 4, 0, SECTORS, 0x11);
    answer_write(tiered, 4, 0);
    tiered_free(tiered);
}

TEST(ending, a_flush_waits_for_the_store_whatever_the_durability)
{
    struct tiered *tiered = tiered_local();
    struct wish flush;

    tier_ending(tiered->store);
    put(tiered, 3, 0, SECTORS, 0x11);
    ask_flush(tiered, &flush);
    expect_waits(tiered, &flush);
    answer_write(tiered, 3, 0);
    expect_done(&flush, 0);
    tiered_free(tiered);
}

struct stopping {
    struct tiered *tiered;
    sem_t done;
};

static void *
stop_main(void *arg)
{
    struct stopping *stopping = arg;

    tier_stop(stopping->tiered->store);
    sem_post(&stopping->done);
    return NULL;
}

TEST(ending, a_stop_waits_for_what_is_on_its_way_and_cancels_who_waits)
{
    struct tiered *tiered = tiered_with((struct tier_config){ .in_flight_max = 1 });
    struct stopping stopping = { .tiered = tiered };
    struct asked *flight;
    struct wish flush;
    pthread_t thread;
    int value;

    sem_init(&stopping.done, 0, 0);
    put(tiered, 3, 0, SECTORS, 0x11);
    put(tiered, 4, 0, SECTORS, 0x22);
    ask_flush(tiered, &flush);
    flight = flight_of(tiered, 3);
    assert_int_equal(pthread_create(&thread, NULL, stop_main, &stopping), 0);
    expect_done(&flush, -ECANCELED);
    sem_getvalue(&stopping.done, &value);
    assert_int_equal(value, 0);
    asked_answer(flight, 0);
    wait_for(&stopping.done);
    assert_int_equal(pthread_join(thread, NULL), 0);
    sem_destroy(&stopping.done);

    ask_flush(tiered, &flush);
    expect_done(&flush, -ECANCELED);
    put(tiered, 5, 0, SECTORS, 0x33);
    tiered_sleep(tiered, 2 * TIER_DELAY_NS);
    tiered_expect_quiet(tiered);
    assert_int_equal(tier_unsent(tiered->store), 2);
    tier_ending(tiered->store);
    answer_write(tiered, 4, 0);
    answer_write(tiered, 5, 0);
    ask_flush(tiered, &flush);
    expect_done(&flush, 0);
    tiered_free(tiered);
}

TEST(ending, after_a_stop_a_flush_of_what_is_stored_is_done)
{
    struct tiered *tiered = tiered_usual();
    struct wish flush;

    tier_stop(tiered->store);
    ask_flush(tiered, &flush);
    expect_done(&flush, 0);
    tier_stop(tiered->store);
    tiered_free(tiered);
}

TEST(ending, what_failed_is_sent_when_it_goes_on)
{
    struct tiered *tiered = tiered_usual();

    put(tiered, 3, 0, SECTORS, 0x11);
    tiered_sleep(tiered, TIER_DELAY_NS);
    answer_write(tiered, 3, -EIO);
    tier_stop(tiered->store);
    tiered_sleep(tiered, 2 * FAILED_PAUSE_NS);
    tiered_expect_quiet(tiered);
    tier_ending(tiered->store);
    answer_write(tiered, 3, 0);
    tiered_free(tiered);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(recovery, what_was_dirty_is_sent_after_the_next_start),
        RUN(recovery, what_the_file_does_not_know_to_be_stored_is_sent_again),
        RUN(ending, nothing_waits_to_be_sent),
        RUN(ending, a_flush_waits_for_the_store_whatever_the_durability),
        RUN(ending, a_stop_waits_for_what_is_on_its_way_and_cancels_who_waits),
        RUN(ending, after_a_stop_a_flush_of_what_is_stored_is_done),
        RUN(ending, what_failed_is_sent_when_it_goes_on),
    };

    return cmocka_run_group_tests_name("tier_life", tests, NULL, NULL);
}
