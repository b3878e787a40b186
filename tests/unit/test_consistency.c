/* SPDX-License-Identifier: Apache-2.0 */
/* core/consistency.c over a backend that does what the test says: order, settling, stale reads, the map. */
#include "fake_backend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct rig_config plain = { .settle_ns = 0 };
static const struct rig_config settling = { .settle_ns = 30 * NS_PER_S };
static const struct rig_config tags = { .tag_keep_ns = 60 * NS_PER_S, .tag_count_max = 8 };

/* ---- small steps */

/* A block becomes known to have an object with this content. */
static void
store_block(struct rig *rig, uint64_t block, unsigned char fill, const char *tag)
{
    struct call call;

    call_write(rig, &call, block, fill);
    fake_answer_tag(fake_expect_block(&rig->fake, BD_PUT, block), BD_OK, tag);
    assert_int_equal(call_end(&call), 0);
}

/* A write whose first attempt gets no answer, and whose second one is done. */
static void
store_with_lost_answer(struct rig *rig, uint64_t block, unsigned char fill)
{
    struct call call;

    call_write(rig, &call, block, fill);
    fake_answer(fake_expect_block(&rig->fake, BD_PUT, block), BD_UNKNOWN);
    fake_answer_tag(fake_expect_block(&rig->fake, BD_PUT, block), BD_OK, "second");
    assert_int_equal(call_end(&call), 0);
}

static void
expect_zeros_without_request(struct rig *rig, uint64_t block)
{
    struct call call;

    call_read(rig, &call, block);
    call_expect_block(&call, 0);
    fake_expect_quiet(&rig->fake);
}

static void
expect_read_asks(struct rig *rig, uint64_t block, unsigned char fill, const char *tag)
{
    struct call call;

    call_read(rig, &call, block);
    fake_give_block(fake_expect_block(&rig->fake, BD_GET, block), fill, tag);
    call_expect_block(&call, fill);
}

/* A block becomes known to have no object. */
static void
learn_zero(struct rig *rig, uint64_t block)
{
    struct call call;

    call_read(rig, &call, block);
    fake_answer(fake_expect_block(&rig->fake, BD_GET, block), BD_ABSENT);
    call_expect_block(&call, 0);
}

/* ---- order */

TEST(consistency, a_rewrite_waits_for_the_write_before_it)
{
    struct rig rig;
    struct call first, second, other;
    struct fake_request *put;

    rig_open(&rig, &plain);
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

    rig_open(&rig, &plain);
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

    rig_open(&rig, &plain);
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

    rig_open(&rig, &plain);
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

    rig_open(&rig, &plain);
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

    rig_open(&rig, &plain);
    call_read(&rig, &read, 5);
    get = fake_expect_block(&rig.fake, BD_GET, 5);
    call_flush(&rig, &flush);
    assert_int_equal(call_end(&flush), 0);
    fake_answer(get, BD_ABSENT);
    call_expect_block(&read, 0);
    rig_close(&rig);
}

/* ---- the settle rule */

/* `call` has just been started, and is held until 30 seconds after what was lost before. */
static void
expect_held(struct rig *rig, struct call *call)
{
    rig_wait_held(rig, 1);
    clock_jump(rig->pool, 20 * NS_PER_S);
    fake_expect_quiet(&rig->fake);
    assert_false(call_is_done(call));
    clock_jump(rig->pool, 10 * NS_PER_S);
}

TEST(consistency, the_retry_of_a_lost_write_sends_the_same_bytes_at_once)
{
    struct rig rig;
    struct call call;

    rig_open(&rig, &settling);
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

    rig_open(&rig, &settling);
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

    rig_open(&rig, &settling);
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

    rig_open(&rig, &settling);
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

    rig_open(&rig, &settling);
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

    rig_open(&rig, &settling);
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

    rig_open(&rig, &settling);
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

    rig_open(&rig, &settling);
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

    rig_open(&rig, &settling);
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

    rig_open(&rig, &plain);
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

    rig_open(&rig, &settling);
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

    rig_open(&rig, &settling);
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

/* ---- remembered tags */

TEST(consistency, a_stale_body_is_read_again)
{
    struct rig rig;
    struct call read;

    rig_open(&rig, &tags);
    store_block(&rig, 5, 1, "new");
    call_read(&rig, &read, 5);
    fake_give_block(fake_expect_block(&rig.fake, BD_GET, 5), 9, "old");
    clock_jump(rig.pool, NS_PER_S);
    fake_give_block(fake_expect_block(&rig.fake, BD_GET, 5), 1, "new");
    call_expect_block(&read, 1);
    assert_int_equal(rig_counter(&rig, "stale_reads"), 1);
    rig_close(&rig);
}

/* The store answers "absent" at 0, 8, 16 and 24 seconds; then the read gives up, after 20. */
static void
expect_stale_absence_fails(struct rig *rig, uint64_t block)
{
    uint64_t stale = rig_counter(rig, "stale_reads");
    struct call read;

    call_read(rig, &read, block);
    for (unsigned i = 0; i < 4; i++) {
        fake_answer(fake_expect_block(&rig->fake, BD_GET, block), BD_ABSENT);
        rig_wait_stale(rig, stale + i + 1);
        clock_jump(rig->pool, 8 * NS_PER_S);
    }
    assert_int_equal(call_end(&read), -EIO);
}

TEST(consistency, absence_of_what_was_written_is_an_error_and_never_zeros)
{
    const struct rig_config config = { .tag_keep_ns = 3600 * NS_PER_S,
                                       .tag_count_max = 8,
                                       .stall_read_ns = 20 * NS_PER_S };
    struct rig rig;

    rig_open(&rig, &config);
    store_block(&rig, 5, 1, "new");
    expect_stale_absence_fails(&rig, 5);
    expect_read_asks(&rig, 5, 1, "new"); /* and nothing wrong was learnt */
    rig_close(&rig);
}

TEST(consistency, absence_is_an_error_also_when_the_tag_is_not_known)
{
    const struct rig_config config = { .tag_keep_ns = 3600 * NS_PER_S,
                                       .tag_count_max = 8,
                                       .stall_read_ns = 20 * NS_PER_S };
    struct rig rig;

    rig_open(&rig, &config);
    store_with_lost_answer(&rig, 5, 1); /* a late repetition may bring another tag */
    expect_read_asks(&rig, 5, 1, "whatever");
    expect_stale_absence_fails(&rig, 5);
    store_block(&rig, 6, 1, NULL);
    expect_stale_absence_fails(&rig, 6);
    rig_close(&rig);
}

TEST(consistency, a_tag_is_forgotten_after_its_time)
{
    struct rig rig;

    rig_open(&rig, &tags);
    store_block(&rig, 5, 1, "new");
    clock_jump(rig.pool, 61 * NS_PER_S);
    expect_read_asks(&rig, 5, 9, "old");
    assert_int_equal(rig_counter(&rig, "stale_reads"), 0);
    rig_close(&rig);
}

/* The store may have looked when it was asked, while it could still be behind. */
TEST(consistency,
     an_answer_that_comes_when_the_tag_is_forgotten_must_be_what_was_right_when_it_was_asked_for)
{
    struct rig rig;
    struct call read;
    struct fake_request *get;

    rig_open(&rig, &tags);
    store_block(&rig, 5, 1, "new");
    call_read(&rig, &read, 5);
    get = fake_expect_block(&rig.fake, BD_GET, 5);
    clock_jump(rig.pool, 61 * NS_PER_S);
    store_block(&rig, 6, 1, "another's");
    fake_give_block(get, 9, "old");
    rig_wait_stale(&rig, 1);
    clock_jump(rig.pool, NS_PER_S);
    fake_give_block(fake_expect_block(&rig.fake, BD_GET, 5), 1, "whatever");
    call_expect_block(&read, 1);
    rig_close(&rig);
}

TEST(consistency, a_failed_write_makes_every_tag_right)
{
    struct rig rig;
    struct call write;

    rig_open(&rig, &tags);
    store_block(&rig, 5, 1, "new");
    call_write(&rig, &write, 5, 2);
    fake_answer(fake_next(&rig.fake), BD_FULL);
    assert_int_equal(call_end(&write), -ENOSPC);
    expect_read_asks(&rig, 5, 1, "new");
    expect_read_asks(&rig, 5, 2, "other");
    rig_close(&rig);
}

TEST(consistency, a_full_memory_of_tags_makes_another_block_wait_for_room)
{
    const struct rig_config config = { .tag_keep_ns = 30 * NS_PER_S, .tag_count_max = 2 };
    struct rig rig;
    struct call call;

    rig_open(&rig, &config);
    store_block(&rig, 5, 1, "a");
    store_block(&rig, 6, 1, "b");
    store_block(&rig, 5, 2, "c"); /* has its place */
    call_write(&rig, &call, 7, 1);
    expect_held(&rig, &call);
    fake_answer(fake_expect_block(&rig.fake, BD_PUT, 7), BD_OK);
    assert_int_equal(call_end(&call), 0);
    rig_close(&rig);
}

TEST(consistency, tags_of_what_is_written_at_once_are_all_remembered_until_they_expire)
{
    const struct rig_config config = { .tag_keep_ns = 30 * NS_PER_S, .tag_count_max = 2 };
    struct call writes[8], call;
    struct rig rig;

    rig_open(&rig, &config);
    for (unsigned i = 0; i < ARRAY_LEN(writes); i++)
        call_write(&rig, &writes[i], 1 + i, 1);
    for (unsigned i = 0; i < ARRAY_LEN(writes); i++) {
        fake_answer_tag(fake_expect_block(&rig.fake, BD_PUT, 1 + i), BD_OK, "new");
        assert_int_equal(call_end(&writes[i]), 0);
    }
    for (unsigned i = 0; i < ARRAY_LEN(writes); i++) {
        call_read(&rig, &call, 1 + i);
        fake_give_block(fake_expect_block(&rig.fake, BD_GET, 1 + i), 9, "old");
        rig_wait_stale(&rig, 1 + i);
        clock_jump(rig.pool, 200 * NS_PER_MS);
        fake_give_block(fake_expect_block(&rig.fake, BD_GET, 1 + i), 1, "new");
        call_expect_block(&call, 1);
    }
    call_write(&rig, &call, 20, 1);
    expect_held(&rig, &call);
    fake_answer(fake_expect_block(&rig.fake, BD_PUT, 20), BD_OK);
    assert_int_equal(call_end(&call), 0);
    rig_close(&rig);
}

TEST(consistency, no_tag_is_forgotten_for_what_is_deleted)
{
    const struct rig_config config = { .tag_keep_ns = TAG_KEEP_FOREVER_NS, .tag_count_max = 2 };
    struct rig rig;
    struct call call;

    rig_open(&rig, &config);
    store_block(&rig, 1, 1, "new");
    call_zero(&rig, &call, 2, 10);
    fake_answer(fake_expect(&rig.fake, BD_DELETE_MANY, "00000002"), BD_OK);
    assert_int_equal(call_end(&call), 0);
    call_read(&rig, &call, 1);
    fake_give_block(fake_expect_block(&rig.fake, BD_GET, 1), 9, "old");
    rig_wait_stale(&rig, 1);
    clock_jump(rig.pool, NS_PER_S);
    fake_give_block(fake_expect_block(&rig.fake, BD_GET, 1), 1, "new");
    call_expect_block(&call, 1);
    rig_close(&rig);
}

TEST(consistency, tags_that_are_kept_for_ever_make_nobody_wait)
{
    const struct rig_config config = { .tag_keep_ns = TAG_KEEP_FOREVER_NS, .tag_count_max = 2 };
    struct rig rig;

    rig_open(&rig, &config);
    for (uint64_t block = 1; block <= 6; block++)
        store_block(&rig, block, 1, "a");
    expect_read_asks(&rig, 1, 2, "forgotten, so anything goes");
    rig_close(&rig);
}

TEST(consistency, a_dead_daemons_writes_are_waited_for_unless_they_died_with_it)
{
    struct rig rig;
    struct call call;

    rig_open(&rig, &settling);
    consistency_hold(rig.store, 30 * NS_PER_S);
    call_write(&rig, &call, 7, 1);
    expect_held(&rig, &call);
    fake_answer(fake_expect_block(&rig.fake, BD_PUT, 7), BD_OK);
    assert_int_equal(call_end(&call), 0);
    rig_close(&rig);
}

/* ---- versions */

static const struct store_version absent = { VERSION_ABSENT, "" },
                                  unknown = { VERSION_UNKNOWN, "" };

static struct store_version
version_of(const char *tag)
{
    struct store_version version = { .is = VERSION_TAG };

    strcpy(version.tag, tag);
    return version;
}

static void
expect_version(const struct call *call, const struct store_version *version)
{
    assert_int_equal(call->version.is, version->is);
    if (version->is == VERSION_TAG)
        assert_string_equal(call->version.tag, version->tag);
}

/* The store has an object with this tag; NULL: it has none. */
static bool
check_asks(struct rig *rig, uint64_t block, const struct store_version *version, const char *tag)
{
    struct fake_request *head;
    struct call call;

    call_check(rig, &call, block, version);
    head = fake_expect_block(&rig->fake, BD_HEAD_OBJECT, block);
    if (tag != NULL)
        fake_answer_tag(head, BD_OK, tag);
    else
        fake_answer(head, BD_ABSENT);
    assert_int_equal(call_end(&call), 0);
    return call.req.is_same;
}

static bool
check_without_request(struct rig *rig, uint64_t block, const struct store_version *version)
{
    struct call call;

    call_check(rig, &call, block, version);
    assert_int_equal(call_end(&call), 0);
    fake_expect_quiet(&rig->fake);
    return call.req.is_same;
}

TEST(consistency, a_read_tells_the_version_that_it_found)
{
    const struct store_version tagged = version_of("t");
    struct rig rig;
    struct call call;

    rig_open(&rig, &plain);
    call_read(&rig, &call, 5);
    fake_give_block(fake_expect_block(&rig.fake, BD_GET, 5), 1, "t");
    call_expect_block(&call, 1);
    expect_version(&call, &tagged);
    call_read(&rig, &call, 6);
    fake_give_block(fake_expect_block(&rig.fake, BD_GET, 6), 1, NULL);
    call_expect_block(&call, 1);
    expect_version(&call, &unknown);
    call_read(&rig, &call, 7);
    fake_answer(fake_expect_block(&rig.fake, BD_GET, 7), BD_ABSENT);
    call_expect_block(&call, 0);
    expect_version(&call, &absent);
    call_read(&rig, &call, 7); /* known by now */
    call_expect_block(&call, 0);
    expect_version(&call, &absent);
    call_read(&rig, &call, 8);
    fake_answer(fake_expect_block(&rig.fake, BD_GET, 8), BD_DENIED);
    assert_int_equal(call_end(&call), -EACCES);
    expect_version(&call, &unknown);
    rig_close(&rig);
}

TEST(consistency, a_read_that_was_stale_tells_the_version_that_was_right)
{
    const struct store_version tagged = version_of("new");
    struct rig rig;
    struct call call;

    rig_open(&rig, &tags);
    store_block(&rig, 5, 1, "new");
    call_read(&rig, &call, 5);
    fake_give_block(fake_expect_block(&rig.fake, BD_GET, 5), 9, "old");
    rig_wait_stale(&rig, 1);
    clock_jump(rig.pool, NS_PER_S);
    fake_give_block(fake_expect_block(&rig.fake, BD_GET, 5), 1, "new");
    call_expect_block(&call, 1);
    expect_version(&call, &tagged);
    rig_close(&rig);
}

TEST(consistency, a_write_tells_the_version_that_is_there_now)
{
    const struct store_version tagged = version_of("t");
    struct rig rig;
    struct call call;

    rig_open(&rig, &plain);
    call_write(&rig, &call, 5, 1);
    fake_answer_tag(fake_expect_block(&rig.fake, BD_PUT, 5), BD_OK, "t");
    assert_int_equal(call_end(&call), 0);
    expect_version(&call, &tagged);
    call_write(&rig, &call, 5, 2);
    fake_answer(fake_expect_block(&rig.fake, BD_PUT, 5), BD_OK); /* without a tag */
    assert_int_equal(call_end(&call), 0);
    expect_version(&call, &unknown);
    call_write(&rig, &call, 5, 0);
    fake_answer(fake_expect_block(&rig.fake, BD_DELETE, 5), BD_OK);
    assert_int_equal(call_end(&call), 0);
    expect_version(&call, &absent);
    call_write(&rig, &call, 5, 0); /* nothing to do */
    assert_int_equal(call_end(&call), 0);
    expect_version(&call, &absent);
    call_write(&rig, &call, 0, 0); /* block 0 is always an object */
    fake_answer_tag(fake_expect_block(&rig.fake, BD_PUT, 0), BD_OK, "t");
    assert_int_equal(call_end(&call), 0);
    expect_version(&call, &tagged);
    call_write(&rig, &call, 5, 1);
    fake_answer_tag(fake_expect_block(&rig.fake, BD_PUT, 5), BD_FULL, "t");
    assert_int_equal(call_end(&call), -ENOSPC);
    expect_version(&call, &unknown);
    call_write(&rig, &call, 5, 0);
    fake_answer(fake_expect_block(&rig.fake, BD_DELETE, 5), BD_DENIED);
    assert_int_equal(call_end(&call), -EACCES);
    expect_version(&call, &unknown);
    rig_close(&rig);
}

/* Also where nothing waits for it. */
TEST(consistency, a_write_with_a_lost_attempt_tells_no_version)
{
    const struct rig_config *const configs[] = { &plain, &settling };

    for (unsigned i = 0; i < ARRAY_LEN(configs); i++) {
        static const uint32_t ops[] = { BD_PUT, BD_DELETE };
        struct rig rig;
        struct call call;

        rig_open(&rig, configs[i]);
        for (unsigned j = 0; j < ARRAY_LEN(ops); j++) {
            call_write(&rig, &call, 5 + j, ops[j] == BD_PUT);
            fake_answer(fake_expect_block(&rig.fake, ops[j], 5 + j), BD_UNKNOWN);
            fake_answer_tag(fake_expect_block(&rig.fake, ops[j], 5 + j), BD_OK, "second");
            assert_int_equal(call_end(&call), 0);
            expect_version(&call, &unknown);
        }
        rig_close(&rig);
    }
}

TEST(consistency, while_a_lost_write_may_still_be_carried_out_no_version_is_known)
{
    const struct store_version second = version_of("second");
    struct rig rig;
    struct call call;

    rig_open(&rig, &settling);
    store_with_lost_answer(&rig, 5, 1);
    call_read(&rig, &call, 5);
    fake_give_block(fake_expect_block(&rig.fake, BD_GET, 5), 1, "second");
    call_expect_block(&call, 1);
    expect_version(&call, &unknown);
    assert_false(check_without_request(&rig, 5, &second));
    clock_jump(rig.pool, 31 * NS_PER_S);
    call_read(&rig, &call, 5);
    fake_give_block(fake_expect_block(&rig.fake, BD_GET, 5), 1, "second");
    call_expect_block(&call, 1);
    expect_version(&call, &second);
    assert_true(check_asks(&rig, 5, &second, "second"));
    rig_close(&rig);
}

TEST(consistency, absence_that_a_lost_write_may_end_is_no_version)
{
    struct rig rig;
    struct call call;

    rig_open(&rig, &settling);
    call_write(&rig, &call, 5, 1);
    fake_answer(fake_next(&rig.fake), BD_UNKNOWN);
    fake_answer(fake_next(&rig.fake), BD_DENIED);
    assert_int_equal(call_end(&call), -EACCES);
    expect_version(&call, &unknown);
    call_read(&rig, &call, 5);
    fake_answer(fake_expect_block(&rig.fake, BD_GET, 5), BD_ABSENT);
    call_expect_block(&call, 0);
    expect_version(&call, &unknown);
    assert_false(check_without_request(&rig, 5, &absent));
    rig_close(&rig);
}

TEST(consistency, a_dead_daemons_writes_leave_no_version_known_until_they_have_settled)
{
    const struct store_version tagged = version_of("t");
    struct rig rig;

    rig_open(&rig, &settling);
    consistency_hold(rig.store, 30 * NS_PER_S);
    assert_false(check_without_request(&rig, 5, &tagged));
    clock_jump(rig.pool, 31 * NS_PER_S);
    assert_true(check_asks(&rig, 5, &tagged, "t"));
    rig_close(&rig);
}

TEST(consistency, a_check_compares_what_the_store_has)
{
    const struct store_version tagged = version_of("t"), empty = version_of("");
    struct rig rig;

    rig_open(&rig, &plain);
    assert_true(check_asks(&rig, 0, &tagged, "t"));
    assert_false(check_asks(&rig, 0, &tagged, "T"));
    assert_false(check_asks(&rig, 1, &tagged, ""));
    assert_false(check_asks(&rig, 1, &empty, ""));
    assert_false(check_asks(&rig, 2, &tagged, NULL));
    assert_true(check_asks(&rig, 3, &absent, NULL));
    assert_false(check_asks(&rig, 4, &absent, "t"));
    assert_int_equal(rig_counter(&rig, "checks"), 7);
    assert_int_equal(rig_counter(&rig, "same_checks"), 2);
    assert_int_equal(rig_counter(&rig, "object_heads"), 7);
    rig_close(&rig);
}

TEST(consistency, a_check_of_a_hashed_volume_asks_for_the_hashed_name)
{
    const struct rig_config config = { .is_hashed = true, .prefix = "p-" };
    const struct store_version tagged = version_of("t");
    struct rig rig;
    struct call call;

    rig_open(&rig, &config);
    call_check(&rig, &call, 9, &tagged);
    fake_answer_tag(fake_expect(&rig.fake, BD_HEAD_OBJECT, "p-93021f19-00000009"), BD_OK, "t");
    assert_int_equal(call_end(&call), 0);
    assert_true(call.req.is_same);
    rig_close(&rig);
}

TEST(consistency, a_check_of_what_is_known_asks_nobody)
{
    const struct store_version tagged = version_of("t");
    struct rig rig;

    rig_open(&rig, &plain);
    learn_zero(&rig, 5);
    assert_true(check_without_request(&rig, 5, &absent));
    assert_false(check_without_request(&rig, 5, &tagged));
    assert_false(check_without_request(&rig, 5, &unknown));
    assert_false(check_without_request(&rig, 6, &unknown));
    assert_int_equal(rig_counter(&rig, "checks"), 4);
    assert_int_equal(rig_counter(&rig, "same_checks"), 1);
    rig_close(&rig);
}

TEST(consistency, a_check_that_finds_no_object_makes_the_block_zeros_where_a_read_would)
{
    const struct rig_config inconsistent = { .is_inconsistent = true },
                            reader = { .is_reader = true };
    const struct rig_config *const configs[] = { &plain, &inconsistent, &reader };

    for (unsigned i = 0; i < ARRAY_LEN(configs); i++) {
        struct rig rig;

        rig_open(&rig, configs[i]);
        assert_true(check_asks(&rig, 5, &absent, NULL));
        if (i == 0)
            expect_zeros_without_request(&rig, 5);
        else
            expect_read_asks(&rig, 5, 1, "t");
        rig_close(&rig);
    }
}

/* What it shows may be older, also if it is what is asked for. */
TEST(consistency, a_check_does_not_believe_what_is_older_than_what_was_written)
{
    const struct store_version old = version_of("old"), new = version_of("new");
    struct rig rig;
    struct call call;

    rig_open(&rig, &tags);
    store_block(&rig, 5, 1, "new");
    assert_false(check_asks(&rig, 5, &old, "old"));
    assert_false(check_asks(&rig, 5, &absent, NULL));
    expect_read_asks(&rig, 5, 1, "new"); /* nothing wrong was learnt */
    assert_true(check_asks(&rig, 5, &new, "new"));
    call_write(&rig, &call, 6, 0);
    fake_answer(fake_expect_block(&rig.fake, BD_DELETE, 6), BD_OK);
    assert_int_equal(call_end(&call), 0);
    assert_false(check_without_request(&rig, 6, &old));
    clock_jump(rig.pool, 61 * NS_PER_S);
    assert_true(check_asks(&rig, 5, &old, "old")); /* as a read would */
    assert_int_equal(rig_counter(&rig, "stale_reads"), 0);
    rig_close(&rig);
}

TEST(consistency, a_check_waits_for_the_write_before_it_and_a_write_for_the_check)
{
    const struct store_version first = version_of("first");
    struct rig rig;
    struct call writes[2], check;
    struct fake_request *request;

    rig_open(&rig, &plain);
    call_write(&rig, &writes[0], 5, 1);
    request = fake_expect_block(&rig.fake, BD_PUT, 5);
    call_check(&rig, &check, 5, &first);
    fake_expect_quiet(&rig.fake);
    fake_answer_tag(request, BD_OK, "first");
    assert_int_equal(call_end(&writes[0]), 0);
    request = fake_expect_block(&rig.fake, BD_HEAD_OBJECT, 5);
    call_write(&rig, &writes[1], 5, 2);
    fake_expect_quiet(&rig.fake);
    fake_answer_tag(request, BD_OK, "first");
    assert_int_equal(call_end(&check), 0);
    assert_true(check.req.is_same);
    fake_answer_tag(fake_expect_block(&rig.fake, BD_PUT, 5), BD_OK, "second");
    assert_int_equal(call_end(&writes[1]), 0);
    assert_false(check_asks(&rig, 5, &first, "second"));
    rig_close(&rig);
}

TEST(consistency, a_check_fails_only_when_the_store_cannot_be_asked)
{
    static const struct {
        enum bd_status status;
        int rc;
    } cases[] = {
        { BD_RETRY, -EIO },
        { BD_INVALID, -EIO }, /* there is no bucket */
        { BD_DENIED, -EACCES },
    };
    const struct rig_config config = { .stall_read_ns = 20 * NS_PER_S };
    const struct store_version tagged = version_of("t");
    const struct store_version *const asked[] = { &tagged, &absent };
    struct rig rig;
    struct call call;

    rig_open(&rig, &config);
    for (unsigned i = 0; i < ARRAY_LEN(cases) * ARRAY_LEN(asked); i++) {
        uint64_t retries = rig_counter(&rig, "object_retries");

        call_check(&rig, &call, 5, asked[i % 2]);
        fake_answer(fake_expect_block(&rig.fake, BD_HEAD_OBJECT, 5), cases[i / 2].status);
        if (cases[i / 2].status == BD_RETRY) {
            rig_wait_retries(&rig, retries + 1);
            clock_jump(rig.pool, 20 * NS_PER_S);
            fake_answer(fake_expect_block(&rig.fake, BD_HEAD_OBJECT, 5), BD_RETRY);
        }
        assert_int_equal(call_end(&call), cases[i / 2].rc);
        assert_false(call.req.is_same);
    }
    expect_read_asks(&rig, 5, 1, "t"); /* nothing was learnt */
    rig_close(&rig);
}

TEST(consistency, a_check_that_got_no_answer_asks_again)
{
    const struct store_version tagged = version_of("t");
    struct rig rig;
    struct call call;

    rig_open(&rig, &settling);
    call_check(&rig, &call, 5, &tagged);
    fake_answer(fake_expect_block(&rig.fake, BD_HEAD_OBJECT, 5), BD_UNKNOWN);
    fake_answer_tag(fake_expect_block(&rig.fake, BD_HEAD_OBJECT, 5), BD_OK, "t");
    assert_int_equal(call_end(&call), 0);
    assert_true(call.req.is_same);
    assert_true(check_asks(&rig, 5, &tagged, "t")); /* nothing has to settle */
    rig_close(&rig);
}

/* ---- several who write */

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

/* ---- the map */

TEST(consistency, what_is_known_to_be_zeros_costs_no_request)
{
    struct rig rig;
    struct call call;

    rig_open(&rig, &plain);
    learn_zero(&rig, 5);
    expect_zeros_without_request(&rig, 5);
    call_write(&rig, &call, 5, 0);
    assert_int_equal(call_end(&call), 0);
    call_zero(&rig, &call, 5, 1);
    assert_int_equal(call_end(&call), 0);
    fake_expect_quiet(&rig.fake);
    store_block(&rig, 5, 3, "t");
    expect_read_asks(&rig, 5, 3, "t");
    assert_int_equal(consistency_data_blocks(rig.store), 1);
    rig_close(&rig);
}

TEST(consistency, a_write_that_failed_leaves_the_block_unknown_to_be_zeros)
{
    struct rig rig;
    struct call call;

    rig_open(&rig, &plain);
    learn_zero(&rig, 5);
    call_write(&rig, &call, 5, 1);
    fake_answer(fake_next(&rig.fake), BD_FATAL);
    assert_int_equal(call_end(&call), -EIO);
    expect_read_asks(&rig, 5, 1, "t");
    rig_close(&rig);
}

TEST(consistency, a_delete_that_failed_leaves_the_block_unknown_to_be_zeros)
{
    struct rig rig;
    struct call call;

    rig_open(&rig, &plain);
    store_block(&rig, 5, 1, "t");
    call_write(&rig, &call, 5, 0);
    fake_answer(fake_expect_block(&rig.fake, BD_DELETE, 5), BD_DENIED);
    assert_int_equal(call_end(&call), -EACCES);
    expect_read_asks(&rig, 5, 1, "t");
    call_zero(&rig, &call, 4, 3);
    fake_answer_some(fake_expect(&rig.fake, BD_DELETE_MANY, "00000004"), "00000005", BD_DENIED);
    assert_int_equal(call_end(&call), -EACCES);
    expect_read_asks(&rig, 5, 1, "t");
    rig_close(&rig);
}

TEST(consistency, absence_in_an_inconsistent_store_is_not_kept)
{
    const struct rig_config config = { .is_inconsistent = true };
    struct rig rig;

    rig_open(&rig, &config);
    learn_zero(&rig, 5);
    expect_read_asks(&rig, 5, 1, "t");
    rig_close(&rig);
}

/* ---- block 0 */

static void
expect_block_0_put(struct rig *rig, unsigned char fill)
{
    struct fake_request *put = fake_expect_block(&rig->fake, BD_PUT, 0);

    assert_string_equal(put->attrs, "s3backer-blocksize=512;s3backer-filesize=32768;");
    assert_int_equal(put->body_bytes, RIG_BLOCK_BYTES);
    assert_int_equal(put->body[0], fill);
    fake_answer_tag(put, BD_OK, "t");
}

TEST(consistency, block_0_is_written_and_never_deleted)
{
    struct rig rig;
    struct call call;

    rig_open(&rig, &plain);
    call_write(&rig, &call, 0, 0);
    expect_block_0_put(&rig, 0);
    assert_int_equal(call_end(&call), 0);
    call_zero(&rig, &call, 0, 1);
    expect_block_0_put(&rig, 0);
    assert_int_equal(call_end(&call), 0);
    call_zero(&rig, &call, 0, 3);
    expect_block_0_put(&rig, 0);
    fake_answer(fake_expect(&rig.fake, BD_DELETE_MANY, "00000001"), BD_OK);
    assert_int_equal(call_end(&call), 0);
    call_write(&rig, &call, 0, 7);
    expect_block_0_put(&rig, 7);
    assert_int_equal(call_end(&call), 0);
    rig_close(&rig);
}

TEST(consistency, zeros_to_an_absent_block_0_are_written_too)
{
    struct rig rig;
    struct call call;

    rig_open(&rig, &plain);
    learn_zero(&rig, 0);
    call_write(&rig, &call, 0, 0);
    expect_block_0_put(&rig, 0);
    assert_int_equal(call_end(&call), 0);
    rig_close(&rig);
}

TEST(consistency, zeroing_stops_when_block_0_cannot_be_written)
{
    struct rig rig;
    struct call call;

    rig_open(&rig, &plain);
    call_zero(&rig, &call, 0, 3);
    fake_answer(fake_expect_block(&rig.fake, BD_PUT, 0), BD_FULL);
    assert_int_equal(call_end(&call), -ENOSPC);
    rig_close(&rig);
}

/* ---- zeroing ranges */

TEST(consistency, a_small_unknown_range_is_deleted_in_batches)
{
    const struct rig_config config = { .delete_many_max = 3 };
    struct rig rig;
    struct call call;
    struct fake_request *many;

    rig_open(&rig, &config);
    learn_zero(&rig, 5);
    call_zero(&rig, &call, 3, 6); /* 3 4 6, 7 8 */
    many = fake_expect(&rig.fake, BD_DELETE_MANY, "00000003");
    assert_int_equal(many->name_count, 3);
    assert_string_equal(many->names[2], "00000006");
    fake_answer(many, BD_OK);
    many = fake_expect(&rig.fake, BD_DELETE_MANY, "00000007");
    assert_int_equal(many->name_count, 2);
    fake_answer(many, BD_OK);
    assert_int_equal(call_end(&call), 0);
    for (uint64_t block = 3; block < 9; block++)
        expect_zeros_without_request(&rig, block);
    rig_close(&rig);
}

TEST(consistency, without_batches_a_range_is_deleted_one_by_one)
{
    const struct rig_config config = { .has_no_delete_many = true };
    struct rig rig;
    struct call call;

    rig_open(&rig, &config);
    call_zero(&rig, &call, 3, 2);
    fake_answer(fake_expect_block(&rig.fake, BD_DELETE, 3), BD_OK);
    fake_answer(fake_expect_block(&rig.fake, BD_DELETE, 4), BD_OK);
    assert_int_equal(call_end(&call), 0);
    rig_close(&rig);
}

#define HUGE_BLOCKS 4000000u
static const char *const listed[] = { "00000001", "00000010", "0000ffff",        "00012345",
                                      "00100000", "003d08ff", "s3backer-mounted" };

TEST(consistency, a_huge_unknown_range_is_listed_and_only_what_exists_is_deleted)
{
    const struct rig_config config = { .block_count = HUGE_BLOCKS,
                                       .list_max = 2,
                                       .delete_many_max = 2 };
    static const char *const firsts[] = { "00000010", "00012345" };
    struct fake_request *many[2], *one;
    struct rig rig;
    struct call call, flush;

    rig_open(&rig, &config);
    call_zero(&rig, &call, 0x10, HUGE_BLOCKS - 0x10);
    call_flush(&rig, &flush);
    for (unsigned page = 0; page < 3; page++) {
        struct fake_request *list = fake_expect(&rig.fake, BD_LIST, "");

        if (page == 0)
            assert_string_equal(list->start_after, "0000000f");
        fake_give_names(list, listed, ARRAY_LEN(listed));
    }
    /* All at once: answered one by one, a later one could overtake. */
    for (unsigned i = 0; i < 2; i++) {
        many[i] = fake_expect(&rig.fake, BD_DELETE_MANY, firsts[i]);
        assert_int_equal(many[i]->name_count, 2);
    }
    one = fake_expect_block(&rig.fake, BD_DELETE, 0x3d08ff);
    fake_answer(many[0], BD_OK);
    fake_answer(many[1], BD_OK);
    assert_false(call_is_done(&flush));
    fake_answer(one, BD_OK);
    assert_int_equal(call_end(&call), 0);
    assert_int_equal(call_end(&flush), 0);
    assert_int_equal(consistency_data_blocks(rig.store), 0);
    expect_zeros_without_request(&rig, 0x10);
    expect_zeros_without_request(&rig, 1000000);
    expect_read_asks(&rig, 1, 9, "t");
    rig_close(&rig);
}

TEST(consistency, a_huge_range_of_a_hashed_layout_is_listed_whole)
{
    static const char *const names[] = { "0f447858-ffffffff", "7183baa1-00000002",
                                         "93021f19-00000009", "d211cad9-00000001" };
    const struct rig_config config = { .block_count = HUGE_BLOCKS,
                                       .list_max = 3,
                                       .is_hashed = true };
    struct rig rig;
    struct call call;
    struct fake_request *many;

    rig_open(&rig, &config);
    call_zero(&rig, &call, 2, HUGE_BLOCKS - 2);
    for (unsigned page = 0; page < 2; page++) {
        struct fake_request *list = fake_expect(&rig.fake, BD_LIST, "");

        assert_string_equal(list->start_after, page == 0 ? "" : names[2]);
        fake_give_names(list, names, ARRAY_LEN(names));
    }
    many = fake_next(&rig.fake);
    assert_int_equal(many->op, BD_DELETE_MANY);
    assert_int_equal(many->name_count, 2);
    assert_string_equal(many->names[0], "7183baa1-00000002");
    assert_string_equal(many->names[1], "93021f19-00000009");
    fake_answer(many, BD_OK);
    assert_int_equal(call_end(&call), 0);
    expect_zeros_without_request(&rig, 9);
    rig_close(&rig);
}

TEST(consistency, a_zeroing_whose_listing_fails_has_failed)
{
    const struct rig_config config = { .block_count = HUGE_BLOCKS };
    struct rig rig;
    struct call call;

    rig_open(&rig, &config);
    call_zero(&rig, &call, 1, HUGE_BLOCKS - 1);
    fake_answer(fake_expect(&rig.fake, BD_LIST, ""), BD_DENIED);
    assert_int_equal(call_end(&call), -EACCES);
    expect_read_asks(&rig, 1, 9, "t");
    rig_close(&rig);
}

/* ---- seeking and surveying */

static uint64_t
seek(struct rig *rig, uint64_t from, uint64_t end, bool want_data)
{
    struct call call;

    call_seek(rig, &call, from, end, want_data);
    if (call_end(&call) != 0) {
        assert_int_equal(call.req.rc, -ENXIO);
        return UINT64_MAX;
    }
    return call.req.block;
}

TEST(consistency, a_seek_lists_what_is_unknown_and_knows_it_from_then_on)
{
    static const char *const names[] = { "00000001", "00000004", "00000005" };
    struct rig rig;
    struct call call;

    rig_open(&rig, &plain);
    call_seek(&rig, &call, 2, 64, true);
    fake_give_names(fake_expect(&rig.fake, BD_LIST, ""), names, ARRAY_LEN(names));
    assert_int_equal(call_end(&call), 0);
    assert_int_equal(call.req.block, 4);
    assert_int_equal(seek(&rig, 4, 64, true), 4);
    assert_int_equal(seek(&rig, 4, 64, false), 6);
    assert_int_equal(seek(&rig, 6, 64, true), UINT64_MAX);
    assert_int_equal(seek(&rig, 4, 6, false), UINT64_MAX);
    fake_expect_quiet(&rig.fake);
    expect_zeros_without_request(&rig, 3);
    rig_close(&rig);
}

static sem_t surveyed;
static int survey_rc;

static void
survey_done(void *arg, int rc)
{
    (void)arg;
    survey_rc = rc;
    sem_post(&surveyed);
}

TEST(consistency, a_survey_contradicts_no_write_that_came_meanwhile)
{
    static const char *const names[] = { "00000001", "00000004", "00000007" };
    const struct rig_config config = { .list_max = 1 };
    struct rig rig;
    struct call call;
    struct fake_request *list;

    rig_open(&rig, &config);
    sem_init(&surveyed, 0, 0);
    consistency_survey(rig.store, survey_done, NULL);
    list = fake_expect(&rig.fake, BD_LIST, "");
    store_block(&rig, 3, 1, "t");  /* the listing will not have it */
    call_write(&rig, &call, 4, 0); /* the listing will still have it */
    fake_answer(fake_expect_block(&rig.fake, BD_DELETE, 4), BD_OK);
    assert_int_equal(call_end(&call), 0);
    for (unsigned page = 0; page < 3; page++) {
        fake_give_names(list, names, ARRAY_LEN(names));
        if (page < 2)
            list = fake_expect(&rig.fake, BD_LIST, "");
    }
    wait_for(&surveyed);
    assert_int_equal(survey_rc, 0);
    assert_int_equal(consistency_data_blocks(rig.store), 3);
    expect_read_asks(&rig, 3, 1, "t");
    expect_zeros_without_request(&rig, 4);
    expect_zeros_without_request(&rig, 63);
    rig_close(&rig);
}

TEST(consistency, a_survey_that_fails_tells_so_and_makes_nothing_zeros)
{
    struct rig rig;

    rig_open(&rig, &plain);
    sem_init(&surveyed, 0, 0);
    consistency_survey(rig.store, survey_done, NULL);
    fake_answer(fake_expect(&rig.fake, BD_LIST, ""), BD_DENIED);
    wait_for(&surveyed);
    assert_int_equal(survey_rc, -EACCES);
    expect_read_asks(&rig, 3, 1, "t");
    rig_close(&rig);
}

TEST(consistency, the_listing_of_an_inconsistent_store_makes_nothing_zeros)
{
    static const char *const names[] = { "00000004" };
    const struct rig_config config = { .is_inconsistent = true,
                                       .block_count = 20000,
                                       .delete_many_max = 100000 };
    struct rig rig;
    struct call call;
    struct fake_request *many;

    rig_open(&rig, &config);
    sem_init(&surveyed, 0, 0);
    consistency_survey(rig.store, survey_done, NULL);
    fake_give_names(fake_expect(&rig.fake, BD_LIST, ""), names, 1);
    wait_for(&surveyed);
    assert_int_equal(survey_rc, 0);
    expect_read_asks(&rig, 3, 1, "t"); /* was written a moment before the mount */
    assert_int_equal(seek(&rig, 2, 64, true), 2);
    assert_int_equal(seek(&rig, 2, 64, false), UINT64_MAX);
    call_zero(&rig, &call, 1, 19999);
    many = fake_expect(&rig.fake, BD_DELETE_MANY, "00000001");
    assert_int_equal(many->name_count, 19999);
    fake_answer(many, BD_OK);
    assert_int_equal(call_end(&call), 0);
    rig_close(&rig);
}

TEST(consistency, where_somebody_else_writes_no_block_stays_zeros_by_a_read_or_a_listing)
{
    static const char *const names[] = { "00000001" };
    const struct rig_config config = { .is_reader = true };
    struct rig rig;

    rig_open(&rig, &config);
    learn_zero(&rig, 5);
    sem_init(&surveyed, 0, 0);
    consistency_survey(rig.store, survey_done, NULL);
    fake_give_names(fake_expect(&rig.fake, BD_LIST, ""), names, 1);
    wait_for(&surveyed);
    assert_int_equal(survey_rc, 0);
    assert_int_equal(consistency_data_blocks(rig.store), 1);
    expect_read_asks(&rig, 5, 9, "t");
    expect_read_asks(&rig, 6, 9, "t");
    assert_int_equal(seek(&rig, 7, 64, true), 7);
    assert_int_equal(seek(&rig, 7, 64, false), UINT64_MAX);
    fake_expect_quiet(&rig.fake);
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
        RUN(consistency, two_writes_of_a_block_keep_the_minimum_distance),
        RUN(consistency, a_stale_body_is_read_again),
        RUN(consistency, absence_of_what_was_written_is_an_error_and_never_zeros),
        RUN(consistency, absence_is_an_error_also_when_the_tag_is_not_known),
        RUN(consistency, a_tag_is_forgotten_after_its_time),
        RUN(consistency,
            an_answer_that_comes_when_the_tag_is_forgotten_must_be_what_was_right_when_it_was_asked_for),
        RUN(consistency, a_failed_write_makes_every_tag_right),
        RUN(consistency, a_full_memory_of_tags_makes_another_block_wait_for_room),
        RUN(consistency, tags_of_what_is_written_at_once_are_all_remembered_until_they_expire),
        RUN(consistency, no_tag_is_forgotten_for_what_is_deleted),
        RUN(consistency, tags_that_are_kept_for_ever_make_nobody_wait),
        RUN(consistency, a_dead_daemons_writes_are_waited_for_unless_they_died_with_it),
        RUN(consistency, a_read_tells_the_version_that_it_found),
        RUN(consistency, a_read_that_was_stale_tells_the_version_that_was_right),
        RUN(consistency, a_write_tells_the_version_that_is_there_now),
        RUN(consistency, a_write_with_a_lost_attempt_tells_no_version),
        RUN(consistency, while_a_lost_write_may_still_be_carried_out_no_version_is_known),
        RUN(consistency, absence_that_a_lost_write_may_end_is_no_version),
        RUN(consistency, a_dead_daemons_writes_leave_no_version_known_until_they_have_settled),
        RUN(consistency, a_check_compares_what_the_store_has),
        RUN(consistency, a_check_of_a_hashed_volume_asks_for_the_hashed_name),
        RUN(consistency, a_check_of_what_is_known_asks_nobody),
        RUN(consistency, a_check_that_finds_no_object_makes_the_block_zeros_where_a_read_would),
        RUN(consistency, a_check_does_not_believe_what_is_older_than_what_was_written),
        RUN(consistency, a_check_waits_for_the_write_before_it_and_a_write_for_the_check),
        RUN(consistency, a_check_fails_only_when_the_store_cannot_be_asked),
        RUN(consistency, a_check_that_got_no_answer_asks_again),
        RUN(consistency, a_write_that_others_follow_has_ended_only_when_a_lost_one_has_settled),
        RUN(consistency,
            a_range_that_others_write_after_us_is_zeroed_only_when_a_lost_deletion_has_settled),
        RUN(consistency, what_was_deleted_another_one_may_have_written_since),
        RUN(consistency, what_is_known_to_be_zeros_costs_no_request),
        RUN(consistency, a_write_that_failed_leaves_the_block_unknown_to_be_zeros),
        RUN(consistency, a_delete_that_failed_leaves_the_block_unknown_to_be_zeros),
        RUN(consistency, absence_in_an_inconsistent_store_is_not_kept),
        RUN(consistency, block_0_is_written_and_never_deleted),
        RUN(consistency, zeros_to_an_absent_block_0_are_written_too),
        RUN(consistency, zeroing_stops_when_block_0_cannot_be_written),
        RUN(consistency, a_small_unknown_range_is_deleted_in_batches),
        RUN(consistency, without_batches_a_range_is_deleted_one_by_one),
        RUN(consistency, a_huge_unknown_range_is_listed_and_only_what_exists_is_deleted),
        RUN(consistency, a_huge_range_of_a_hashed_layout_is_listed_whole),
        RUN(consistency, a_zeroing_whose_listing_fails_has_failed),
        RUN(consistency, a_seek_lists_what_is_unknown_and_knows_it_from_then_on),
        RUN(consistency, a_survey_contradicts_no_write_that_came_meanwhile),
        RUN(consistency, a_survey_that_fails_tells_so_and_makes_nothing_zeros),
        RUN(consistency, the_listing_of_an_inconsistent_store_makes_nothing_zeros),
        RUN(consistency, where_somebody_else_writes_no_block_stays_zeros_by_a_read_or_a_listing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
