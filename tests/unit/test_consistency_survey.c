/* SPDX-License-Identifier: Apache-2.0 */
/* core/consistency_list.c: which blocks exist, for a seek and for a survey. */
#include "consistency_steps.h"

#include <errno.h>

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

    rig_open(&rig, &rig_plain);
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

    rig_open(&rig, &rig_plain);
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
        RUN(consistency, a_seek_lists_what_is_unknown_and_knows_it_from_then_on),
        RUN(consistency, a_survey_contradicts_no_write_that_came_meanwhile),
        RUN(consistency, a_survey_that_fails_tells_so_and_makes_nothing_zeros),
        RUN(consistency, the_listing_of_an_inconsistent_store_makes_nothing_zeros),
        RUN(consistency, where_somebody_else_writes_no_block_stays_zeros_by_a_read_or_a_listing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
