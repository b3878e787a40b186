/* SPDX-License-Identifier: Apache-2.0 */
/* core/consistency.c where several machines write. */
#include "consistency_steps.h"

#include <errno.h>

static const struct rig_config sharing = { .settle_ns = 30 * NS_PER_S,
                                           .is_reader = true,
                                           .is_shared = true };

/* Whoever was answered may let another machine write. */
static void
expect_ends_settled(struct rig *rig, struct call *call, int rc)
{
    rig_catch_up(rig);
    clock_jump(rig->pool, 20 * NS_PER_S);
    fake_expect_quiet(&rig->fake);
    assert_false(call_is_done(call));
    clock_jump(rig->pool, 10 * NS_PER_S);
    assert_int_equal(call_end(call), rc);
}

TEST(consistency, a_write_that_others_follow_has_ended_only_when_a_lost_one_has_settled)
{
    static const struct {
        enum bd_status second;
        int rc;
    } cases[] = { { BD_OK, 0 }, { BD_DENIED, -EACCES } };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (unsigned block = 0; block < 2; block++) {
            struct rig rig;
            struct call call;

            rig_open(&rig, &sharing);
            call_write(&rig, &call, block, 1);
            fake_answer(fake_expect_block(&rig.fake, BD_PUT, block), BD_UNKNOWN);
            fake_answer(fake_expect_block(&rig.fake, BD_PUT, block), cases[i].second);
            rig_catch_up(&rig);
            expect_read_asks(&rig, block, 1, "t"); /* reads need not wait */
            expect_ends_settled(&rig, &call, cases[i].rc);
            call_write(&rig, &call, block, 2);
            fake_answer(fake_expect_block(&rig.fake, BD_PUT, block), BD_OK);
            assert_int_equal(call_end(&call), 0);
            rig_close(&rig);
        }
    }
}

TEST(consistency,
     a_range_that_others_write_after_us_is_zeroed_only_when_a_lost_deletion_has_settled)
{
    struct rig rig;
    struct call call;

    rig_open(&rig, &sharing);
    call_zero(&rig, &call, 2, 10);
    fake_answer(fake_expect(&rig.fake, BD_DELETE_MANY, "00000002"), BD_UNKNOWN);
    fake_answer(fake_expect(&rig.fake, BD_DELETE_MANY, "00000002"), BD_OK);
    expect_ends_settled(&rig, &call, 0);
    call_zero(&rig, &call, 0, 1);
    fake_answer(fake_expect_block(&rig.fake, BD_PUT, 0), BD_UNKNOWN);
    fake_answer(fake_expect_block(&rig.fake, BD_PUT, 0), BD_OK);
    expect_ends_settled(&rig, &call, 0);
    rig_close(&rig);
}

TEST(consistency, what_was_deleted_another_one_may_have_written_since)
{
    struct rig rig;
    struct call call;

    rig_open(&rig, &sharing);
    call_write(&rig, &call, 5, 0);
    fake_answer(fake_expect_block(&rig.fake, BD_DELETE, 5), BD_OK);
    assert_int_equal(call_end(&call), 0);
    expect_read_asks(&rig, 5, 7, "theirs");
    call_zero(&rig, &call, 5, 2);
    fake_answer(fake_expect(&rig.fake, BD_DELETE_MANY, "00000005"), BD_OK);
    assert_int_equal(call_end(&call), 0);
    expect_read_asks(&rig, 6, 8, "theirs");
    call_zero(&rig, &call, 5, 2); /* so it is deleted again */
    fake_answer(fake_expect(&rig.fake, BD_DELETE_MANY, "00000005"), BD_OK);
    assert_int_equal(call_end(&call), 0);
    call_write(&rig, &call, 6, 0);
    fake_answer(fake_expect_block(&rig.fake, BD_DELETE, 6), BD_OK);
    assert_int_equal(call_end(&call), 0);
    rig_close(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(consistency, a_write_that_others_follow_has_ended_only_when_a_lost_one_has_settled),
        RUN(consistency,
            a_range_that_others_write_after_us_is_zeroed_only_when_a_lost_deletion_has_settled),
        RUN(consistency, what_was_deleted_another_one_may_have_written_since),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
