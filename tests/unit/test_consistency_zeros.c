/* SPDX-License-Identifier: Apache-2.0 */
/* core/consistency.c, core/consistency_zero.c: what is known to be zeros, and what is zeroed. */
#include "consistency_steps.h"

#include <errno.h>

/* ---- the map */

TEST(consistency, what_is_known_to_be_zeros_costs_no_request)
{
    struct rig rig;
    struct call call;

    rig_open(&rig, &rig_plain);
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

    rig_open(&rig, &rig_plain);
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

    rig_open(&rig, &rig_plain);
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

    rig_open(&rig, &rig_plain);
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

    rig_open(&rig, &rig_plain);
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

    rig_open(&rig, &rig_plain);
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

int
main(void)
{
    const struct CMUnitTest tests[] = {
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
