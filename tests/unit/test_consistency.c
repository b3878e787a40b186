/* SPDX-License-Identifier: Apache-2.0 */
/* core/consistency.c over a backend that does what the test says: in which order requests for a block are made. */
#include "consistency_steps.h"

#include <errno.h>

/* ---- order */

TEST(consistency, a_rewrite_waits_for_the_write_before_it)
{
    struct rig rig;
    struct call first, second, other;
    struct fake_request *put;

    rig_open(&rig, &rig_plain);
    call_write(&rig, &first, 5, 1);
    call_write(&rig, &second, 5, 2);
    call_write(&rig, &other, 6, 3);
    put = fake_expect_block(&rig.fake, BD_PUT, 5);
    assert_int_equal(put->body[0], 1);
    fake_answer(fake_expect_block(&rig.fake, BD_PUT, 6), BD_OK);
    assert_int_equal(call_end(&other), 0);
    fake_expect_quiet(&rig.fake);
    fake_answer(put, BD_OK);
    assert_int_equal(call_end(&first), 0);
    put = fake_expect_block(&rig.fake, BD_PUT, 5);
    assert_int_equal(put->body[0], 2);
    fake_answer(put, BD_OK);
    assert_int_equal(call_end(&second), 0);
    rig_close(&rig);
}

TEST(consistency, a_read_waits_for_the_write_before_it_and_reads_do_not_wait_for_reads)
{
    struct rig rig;
    struct call write, reads[2];
    struct fake_request *put, *gets[2];

    rig_open(&rig, &rig_plain);
    call_write(&rig, &write, 5, 1);
    put = fake_expect_block(&rig.fake, BD_PUT, 5);
    call_read(&rig, &reads[0], 5);
    call_read(&rig, &reads[1], 5);
    fake_expect_quiet(&rig.fake);
    fake_answer(put, BD_OK);
    gets[0] = fake_expect_block(&rig.fake, BD_GET, 5);
    gets[1] = fake_expect_block(&rig.fake, BD_GET, 5);
    fake_give_block(gets[0], 1, "t");
    fake_give_block(gets[1], 1, "t");
    call_expect_block(&reads[0], 1);
    call_expect_block(&reads[1], 1);
    assert_int_equal(call_end(&write), 0);
    rig_close(&rig);
}

/* s3backer 2 loses data here: a read that found nothing ends after an overlapping write, and then says that
 * the block is zeros. */
TEST(consistency, a_write_waits_for_a_read_that_may_find_nothing)
{
    struct rig rig;
    struct call read, write;
    struct fake_request *get;

    rig_open(&rig, &rig_plain);
    call_read(&rig, &read, 5);
    get = fake_expect_block(&rig.fake, BD_GET, 5);
    call_write(&rig, &write, 5, 1);
    fake_expect_quiet(&rig.fake);
    fake_answer(get, BD_ABSENT);
    call_expect_block(&read, 0);
    fake_answer(fake_expect_block(&rig.fake, BD_PUT, 5), BD_OK);
    assert_int_equal(call_end(&write), 0);
    expect_read_asks(&rig, 5, 1, "t");
    rig_close(&rig);
}

TEST(consistency, a_read_that_is_over_ends_before_its_pause_does)
{
    atomic_bool is_over = false;
    struct call read;
    struct rig rig;

    rig_open(&rig, &rig_plain);
    call_read(&rig, &read, 1);
    fake_give_block(fake_expect_block(&rig.fake, BD_GET, 1), 1, "t");
    call_expect_block(&read, 1);
    read.req.is_over = &is_over;
    sem_init(&read.done, 0, 0);
    store_submit(rig.store, &read.req);
    fake_answer_retry_after(fake_expect_block(&rig.fake, BD_GET, 1), 15000);
    rig_wait_retries(&rig, 1);
    clock_jump(rig.pool, NS_PER_S + NS_PER_S / 2);
    assert_false(call_is_done(&read));
    atomic_store(&is_over, true);
    clock_jump(rig.pool, NS_PER_S + NS_PER_S / 2);
    assert_int_equal(call_end(&read), -ECANCELED);
    rig_close(&rig);
}

TEST(consistency, a_flush_waits_for_the_writes_before_it_only)
{
    struct rig rig;
    struct call before, after, flush, second;
    struct fake_request *put[2];

    rig_open(&rig, &rig_plain);
    call_write(&rig, &before, 5, 1);
    call_flush(&rig, &flush);
    call_write(&rig, &after, 6, 1);
    put[0] = fake_expect_block(&rig.fake, BD_PUT, 5);
    put[1] = fake_expect_block(&rig.fake, BD_PUT, 6); /* does not wait for the flush */
    fake_expect_quiet(&rig.fake);
    assert_false(call_is_done(&flush));
    fake_answer(put[0], BD_OK);
    assert_int_equal(call_end(&flush), 0);
    call_flush(&rig, &second);
    fake_expect_quiet(&rig.fake);
    assert_false(call_is_done(&second));
    fake_answer(put[1], BD_OK);
    assert_int_equal(call_end(&second), 0);
    assert_int_equal(call_end(&before), 0);
    assert_int_equal(call_end(&after), 0);
    rig_close(&rig);
}

TEST(consistency, a_flush_does_not_wait_for_reads)
{
    struct rig rig;
    struct call read, flush;
    struct fake_request *get;

    rig_open(&rig, &rig_plain);
    call_read(&rig, &read, 5);
    get = fake_expect_block(&rig.fake, BD_GET, 5);
    call_flush(&rig, &flush);
    assert_int_equal(call_end(&flush), 0);
    fake_answer(get, BD_ABSENT);
    call_expect_block(&read, 0);
    rig_close(&rig);
}

/* ---- minWriteDelay */

TEST(consistency, two_writes_of_a_block_keep_the_minimum_distance)
{
    const struct rig_config config = { .write_gap_ns = 30 * NS_PER_S };
    struct rig rig;
    struct call call;

    rig_open(&rig, &config);
    store_block(&rig, 5, 1, "t");
    store_block(&rig, 6, 1, "t");
    call_write(&rig, &call, 5, 2);
    expect_held(&rig, &call);
    fake_answer(fake_expect_block(&rig.fake, BD_PUT, 5), BD_OK);
    assert_int_equal(call_end(&call), 0);
    rig_close(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(consistency, a_rewrite_waits_for_the_write_before_it),
        RUN(consistency, a_read_waits_for_the_write_before_it_and_reads_do_not_wait_for_reads),
        RUN(consistency, a_write_waits_for_a_read_that_may_find_nothing),
        RUN(consistency, a_read_that_is_over_ends_before_its_pause_does),
        RUN(consistency, a_flush_waits_for_the_writes_before_it_only),
        RUN(consistency, a_flush_does_not_wait_for_reads),
        RUN(consistency, two_writes_of_a_block_keep_the_minimum_distance),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
