/* SPDX-License-Identifier: Apache-2.0 */
/* core/consistency.c: what the store shows is compared with what was written lately. */
#include "consistency_steps.h"

#include <errno.h>

TEST(consistency, a_stale_body_is_read_again)
{
    struct rig rig;
    struct call read;

    rig_open(&rig, &rig_tags);
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

    rig_open(&rig, &rig_tags);
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

    rig_open(&rig, &rig_tags);
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

    rig_open(&rig, &rig_tags);
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

int
main(void)
{
    const struct CMUnitTest tests[] = {
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
