/* SPDX-License-Identifier: Apache-2.0 */
/* core/consistency.c: what must wait until a write of unknown outcome cannot be carried out any more. */
#include "consistency_steps.h"

#include <errno.h>

TEST(consistency, the_retry_of_a_lost_write_sends_the_same_bytes_at_once)
{
    struct rig rig;
    struct call call;

    rig_open(&rig, &rig_settling);
    call_write(&rig, &call, 5, 0x41);
    for (unsigned i = 0; i < 3; i++) {
        struct fake_request *put = fake_expect_block(&rig.fake, BD_PUT, 5);

        assert_memory_equal(put->body, call.data, RIG_BLOCK_BYTES);
        fake_answer(put, i < 2 ? BD_UNKNOWN : BD_OK);
    }
    assert_int_equal(call_end(&call), 0);
    assert_int_equal(rig_counter(&rig, "held_writes"), 0);
    rig_close(&rig);
}

TEST(consistency, a_different_version_is_held_until_the_lost_one_has_settled)
{
    struct rig rig;
    struct call call;
    struct fake_request *put;

    rig_open(&rig, &rig_settling);
    store_with_lost_answer(&rig, 5, 1);
    call_write(&rig, &call, 5, 2);
    expect_held(&rig, &call);
    put = fake_expect_block(&rig.fake, BD_PUT, 5);
    assert_int_equal(put->body[0], 2);
    fake_answer(put, BD_OK);
    assert_int_equal(call_end(&call), 0);
    rig_close(&rig);
}

TEST(consistency, a_write_that_failed_after_a_lost_attempt_holds_the_next_one)
{
    struct rig rig;
    struct call call;

    rig_open(&rig, &rig_settling);
    call_write(&rig, &call, 5, 1);
    fake_answer(fake_next(&rig.fake), BD_UNKNOWN);
    fake_answer(fake_next(&rig.fake), BD_DENIED);
    assert_int_equal(call_end(&call), -EACCES);
    call_write(&rig, &call, 5, 2);
    expect_held(&rig, &call);
    fake_answer(fake_expect_block(&rig.fake, BD_PUT, 5), BD_OK);
    assert_int_equal(call_end(&call), 0);
    rig_close(&rig);
}

TEST(consistency, a_deletion_is_held_until_the_lost_write_has_settled)
{
    struct rig rig;
    struct call call;

    rig_open(&rig, &rig_settling);
    store_with_lost_answer(&rig, 5, 1);
    call_write(&rig, &call, 5, 0);
    expect_held(&rig, &call);
    fake_answer(fake_expect_block(&rig.fake, BD_DELETE, 5), BD_OK);
    assert_int_equal(call_end(&call), 0);
    rig_close(&rig);
}

TEST(consistency, a_write_is_held_until_the_lost_deletion_has_settled)
{
    struct rig rig;
    struct call call;

    rig_open(&rig, &rig_settling);
    call_write(&rig, &call, 5, 0);
    fake_answer(fake_expect_block(&rig.fake, BD_DELETE, 5), BD_UNKNOWN);
    fake_answer(fake_expect_block(&rig.fake, BD_DELETE, 5), BD_OK);
    assert_int_equal(call_end(&call), 0);
    expect_zeros_without_request(&rig, 5);
    call_write(&rig, &call, 5, 2);
    expect_held(&rig, &call);
    fake_answer(fake_expect_block(&rig.fake, BD_PUT, 5), BD_OK);
    assert_int_equal(call_end(&call), 0);
    rig_close(&rig);
}

TEST(consistency, a_batch_delete_is_held_for_one_lost_write_in_it)
{
    struct rig rig;
    struct call call, flush;

    rig_open(&rig, &rig_settling);
    store_with_lost_answer(&rig, 5, 1);
    call_zero(&rig, &call, 3, 4);
    call_flush(&rig, &flush);
    expect_held(&rig, &call);
    assert_false(call_is_done(&flush));
    fake_answer(fake_expect(&rig.fake, BD_DELETE_MANY, "00000003"), BD_OK);
    assert_int_equal(call_end(&call), 0);
    assert_int_equal(call_end(&flush), 0);
    rig_close(&rig);
}

TEST(consistency, each_block_of_a_lost_batch_delete_holds_its_next_write)
{
    struct rig rig;
    struct call zero, inside, outside;

    rig_open(&rig, &rig_settling);
    call_zero(&rig, &zero, 3, 4);
    fake_answer(fake_expect(&rig.fake, BD_DELETE_MANY, "00000003"), BD_UNKNOWN);
    fake_answer(fake_expect(&rig.fake, BD_DELETE_MANY, "00000003"), BD_OK);
    assert_int_equal(call_end(&zero), 0);
    call_write(&rig, &outside, 7, 1);
    fake_answer(fake_expect_block(&rig.fake, BD_PUT, 7), BD_OK);
    assert_int_equal(call_end(&outside), 0);
    call_write(&rig, &inside, 6, 1);
    expect_held(&rig, &inside);
    fake_answer(fake_expect_block(&rig.fake, BD_PUT, 6), BD_OK);
    assert_int_equal(call_end(&inside), 0);
    rig_close(&rig);
}

TEST(consistency, reads_are_not_held)
{
    struct rig rig;
    struct call write;

    rig_open(&rig, &rig_settling);
    store_with_lost_answer(&rig, 5, 1);
    call_write(&rig, &write, 5, 2);
    rig_wait_held(&rig, 1);
    expect_read_asks(&rig, 5, 1, "second");
    clock_jump(rig.pool, 31 * NS_PER_S);
    fake_answer(fake_expect_block(&rig.fake, BD_PUT, 5), BD_OK);
    assert_int_equal(call_end(&write), 0);
    rig_close(&rig);
}

TEST(consistency, held_writes_keep_their_order_and_a_flush_waits_for_them)
{
    struct rig rig;
    struct call calls[4], flush;

    rig_open(&rig, &rig_settling);
    store_with_lost_answer(&rig, 5, 1);
    for (unsigned i = 0; i < ARRAY_LEN(calls); i++)
        call_write(&rig, &calls[i], 5, (unsigned char)(10 + i));
    call_flush(&rig, &flush);
    fake_expect_quiet(&rig.fake);
    assert_false(call_is_done(&flush));
    clock_jump(rig.pool, 31 * NS_PER_S);
    for (unsigned i = 0; i < ARRAY_LEN(calls); i++) {
        struct fake_request *put = fake_expect_block(&rig.fake, BD_PUT, 5);

        assert_int_equal(put->body[0], 10 + i);
        assert_false(call_is_done(&flush));
        fake_answer(put, BD_OK);
        assert_int_equal(call_end(&calls[i]), 0);
    }
    assert_int_equal(call_end(&flush), 0);
    rig_close(&rig);
}

TEST(consistency, zeros_do_not_overtake_a_held_write_to_a_block_that_is_still_zeros)
{
    const struct rig_config config = { .write_gap_ns = 30 * NS_PER_S };
    struct rig rig;
    struct call write, zeros;

    rig_open(&rig, &config);
    call_write(&rig, &zeros, 5, 0);
    fake_answer(fake_expect_block(&rig.fake, BD_DELETE, 5), BD_OK);
    assert_int_equal(call_end(&zeros), 0);
    call_write(&rig, &write, 5, 1);
    rig_wait_held(&rig, 1);
    call_write(&rig, &zeros, 5, 0);
    fake_expect_quiet(&rig.fake);
    assert_false(call_is_done(&zeros));
    clock_jump(rig.pool, 31 * NS_PER_S);
    fake_answer(fake_expect_block(&rig.fake, BD_PUT, 5), BD_OK);
    assert_int_equal(call_end(&write), 0);
    rig_wait_held(&rig, 2);
    clock_jump(rig.pool, 31 * NS_PER_S);
    fake_answer(fake_expect_block(&rig.fake, BD_DELETE, 5), BD_OK);
    assert_int_equal(call_end(&zeros), 0);
    rig_close(&rig);
}

TEST(consistency, a_settle_time_of_zero_holds_nothing)
{
    struct rig rig;

    rig_open(&rig, &rig_plain);
    store_with_lost_answer(&rig, 5, 1);
    store_block(&rig, 5, 2, "t");
    assert_int_equal(rig_counter(&rig, "held_writes"), 0);
    assert_int_equal(consistency_settled_at_ns(rig.store), 0);
    rig_close(&rig);
}

TEST(consistency, tells_when_all_has_settled)
{
    struct rig rig;
    uint64_t before, after;

    rig_open(&rig, &rig_settling);
    store_block(&rig, 4, 1, "t");
    assert_int_equal(consistency_settled_at_ns(rig.store), 0);
    before = clock_now_ns();
    store_with_lost_answer(&rig, 5, 1);
    after = clock_now_ns();
    assert_true(consistency_settled_at_ns(rig.store) >= before + 30 * NS_PER_S);
    assert_true(consistency_settled_at_ns(rig.store) <= after + 30 * NS_PER_S);
    rig_close(&rig);
}

/* The write failed and may still be done late: that the block is absent now says nothing yet, also if the
 * answer is looked at when all has settled. */
TEST(consistency, absence_that_was_seen_before_a_lost_write_settled_is_not_kept)
{
    struct rig rig;
    struct call write, read, zeros;
    struct fake_request *get;

    rig_open(&rig, &rig_settling);
    call_write(&rig, &write, 5, 1);
    fake_answer(fake_next(&rig.fake), BD_UNKNOWN);
    fake_answer(fake_next(&rig.fake), BD_DENIED);
    assert_int_equal(call_end(&write), -EACCES);
    call_read(&rig, &read, 5);
    get = fake_expect_block(&rig.fake, BD_GET, 5);
    clock_jump(rig.pool, 31 * NS_PER_S);
    fake_answer(get, BD_ABSENT);
    call_expect_block(&read, 0);
    call_write(&rig, &zeros, 5, 0);
    fake_answer(fake_expect_block(&rig.fake, BD_DELETE, 5), BD_OK);
    assert_int_equal(call_end(&zeros), 0);
    rig_close(&rig);
}

TEST(consistency, a_dead_daemons_writes_are_waited_for_unless_they_died_with_it)
{
    struct rig rig;
    struct call call;

    rig_open(&rig, &rig_settling);
    consistency_hold(rig.store, 30 * NS_PER_S);
    call_write(&rig, &call, 7, 1);
    expect_held(&rig, &call);
    fake_answer(fake_expect_block(&rig.fake, BD_PUT, 7), BD_OK);
    assert_int_equal(call_end(&call), 0);
    rig_close(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(consistency, the_retry_of_a_lost_write_sends_the_same_bytes_at_once),
        RUN(consistency, a_different_version_is_held_until_the_lost_one_has_settled),
        RUN(consistency, a_write_that_failed_after_a_lost_attempt_holds_the_next_one),
        RUN(consistency, a_deletion_is_held_until_the_lost_write_has_settled),
        RUN(consistency, a_write_is_held_until_the_lost_deletion_has_settled),
        RUN(consistency, a_batch_delete_is_held_for_one_lost_write_in_it),
        RUN(consistency, each_block_of_a_lost_batch_delete_holds_its_next_write),
        RUN(consistency, reads_are_not_held),
        RUN(consistency, held_writes_keep_their_order_and_a_flush_waits_for_them),
        RUN(consistency, zeros_do_not_overtake_a_held_write_to_a_block_that_is_still_zeros),
        RUN(consistency, a_settle_time_of_zero_holds_nothing),
        RUN(consistency, tells_when_all_has_settled),
        RUN(consistency, absence_that_was_seen_before_a_lost_write_settled_is_not_kept),
        RUN(consistency, a_dead_daemons_writes_are_waited_for_unless_they_died_with_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
