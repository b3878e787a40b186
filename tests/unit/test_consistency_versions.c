/* SPDX-License-Identifier: Apache-2.0 */
/* core/consistency.c: which version of a block there is, and whether it is still a certain one. */
#include "consistency_steps.h"

#include <errno.h>
#include <string.h>

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

    rig_open(&rig, &rig_plain);
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

    rig_open(&rig, &rig_tags);
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

    rig_open(&rig, &rig_plain);
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
    const struct rig_config *const configs[] = { &rig_plain, &rig_settling };

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

    rig_open(&rig, &rig_settling);
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

    rig_open(&rig, &rig_settling);
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

    rig_open(&rig, &rig_settling);
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

    rig_open(&rig, &rig_plain);
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

    rig_open(&rig, &rig_plain);
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
    const struct rig_config *const configs[] = { &rig_plain, &inconsistent, &reader };

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

    rig_open(&rig, &rig_tags);
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

    rig_open(&rig, &rig_plain);
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

    rig_open(&rig, &rig_settling);
    call_check(&rig, &call, 5, &tagged);
    fake_answer(fake_expect_block(&rig.fake, BD_HEAD_OBJECT, 5), BD_UNKNOWN);
    fake_answer_tag(fake_expect_block(&rig.fake, BD_HEAD_OBJECT, 5), BD_OK, "t");
    assert_int_equal(call_end(&call), 0);
    assert_true(call.req.is_same);
    assert_true(check_asks(&rig, 5, &tagged, "t")); /* nothing has to settle */
    rig_close(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
