/* SPDX-License-Identifier: Apache-2.0 */
/* core/token.c over stores of which conditions are worth more or less. */
#include "tokens.h"

#include <errno.h>

TEST(token, a_stores_conditions_are_tried_and_not_taken_on_trust)
{
    /* clang-format off */
    static const struct {
        enum treatment if_absent, if_match;
        bool is_takeover, is_forced;
        unsigned rival_before, rival_after;
        int rc;
        bool has_if_absent, has_if_match;
        unsigned puts, pauses_s;
    } cases[] = {
        /* it is there; it may not be written; it may not be written over another; it may be over itself */
        { HONOURS, HONOURS, false, false, 0, 0, 0, true, true, 4, 0 },
        { HONOURS, IGNORES, false, false, 0, 0, 0, true, false, 3, 0 },
        { HONOURS, REFUSES, false, false, 0, 0, 0, true, false, 3, 0 },
        { HONOURS, NEVER_HOLDS, false, false, 0, 0, 0, true, false, 4, 0 },
        { IGNORES, HONOURS, false, false, 0, 0, 0, false, false, 2, 1 },
        { IGNORES, IGNORES, false, false, 0, 0, 0, false, false, 2, 1 },
        { REFUSES, HONOURS, false, false, 0, 0, 0, false, false, 2, 1 },
        { NEVER_HOLDS, HONOURS, false, false, 0, 0, -EIO, false, false, 3, 3 },
        { NEVER_HOLDS, HONOURS, false, true, 0, 0, 0, false, false, 4, 4 },
        /* somebody else is first, or comes while we try */
        { HONOURS, HONOURS, false, false, 1, 0, -EBUSY, false, false, 1, 0 },
        { HONOURS, HONOURS, false, false, 0, 1, -EBUSY, true, false, 4, 0 },
        { HONOURS, HONOURS, false, false, 0, 4, -EBUSY, true, true, 4, 0 },
        { IGNORES, IGNORES, false, false, 0, 2, -EBUSY, false, false, 2, 1 },
        { REFUSES, REFUSES, false, false, 0, 2, -EBUSY, false, false, 2, 1 },
        /* a dead neighbour's token is replaced */
        { HONOURS, HONOURS, true, false, 0, 0, 0, true, true, 4, 0 },
        { HONOURS, IGNORES, true, false, 0, 0, 0, true, false, 3, 1 },
        { IGNORES, IGNORES, true, false, 0, 0, 0, false, false, 2, 1 },
        { REFUSES, REFUSES, true, false, 0, 0, 0, false, false, 2, 1 },
        { HONOURS, NEVER_HOLDS, true, false, 0, 0, 0, false, false, 4, 4 },
        { HONOURS, HONOURS, true, false, 1, 0, -EBUSY, false, false, 1, 0 },
        { IGNORES, IGNORES, true, false, 0, 2, -EBUSY, false, false, 2, 1 },
    };
    /* clang-format on */

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct token token, dead;
        struct error why = { "" };
        struct test_store store;

        variant_fresh(&store);
        if (cases[i].is_takeover)
            assert_int_equal(take(&store, "1:2", false, &dead), 0);
        variant.if_absent = cases[i].if_absent;
        variant.if_match = cases[i].if_match;
        variant.rival_before = cases[i].rival_before;
        variant.rival_after = cases[i].rival_after;
        variant.puts = pauses_s = 0;
        if (take(&store, "1:2", cases[i].is_forced, &token) != cases[i].rc)
            fail_msg("case %zu", i);
        if (variant.puts != cases[i].puts || pauses_s != cases[i].pauses_s)
            fail_msg("case %zu: %u puts, %u s", i, variant.puts, pauses_s);
        assert_int_equal(token.has_if_absent, cases[i].has_if_absent);
        assert_int_equal(token.has_if_match, cases[i].has_if_match);
        assert_int_equal(token.before.is_there, cases[i].is_takeover);
        if (cases[i].rc == -EBUSY)
            expect_owner(&store, rival_owner);
        else if (cases[i].rc == 0)
            expect_owner(&store, token.owner);
        else
            assert_false(is_mounted(&store));
        if (cases[i].rc == 0)
            assert_int_equal(token_drop(store.backend, &token_layout, &token, &why), 0);
        assert_int_equal(is_mounted(&store), cases[i].rc == -EBUSY);
        store_close(&store);
    }
}

TEST(token, a_store_that_cannot_delete_on_a_condition_deletes_the_token_without)
{
    struct error why = { "" };
    struct token token;
    struct test_store store;

    variant_fresh(&store);
    variant.delete_if_match = REFUSES;
    assert_int_equal(take(&store, "1:2", false, &token), 0);
    assert_int_equal(token_drop(store.backend, &token_layout, &token, &why), 0);
    assert_false(is_mounted(&store));
    store_close(&store);
}

TEST(token, a_token_whose_answer_was_lost_is_found_to_be_ours)
{
    const char *const options[] = { "lost", "1000000", "only", "put", NULL };
    struct error why = { "" };
    struct token token;
    struct test_store store;

    memory_open(&store, options);
    assert_int_equal(take(&store, "1:2", false, &token), 0);
    assert_true(token.has_if_absent && token.has_if_match);
    assert_int_equal(token_drop(store.backend, &token_layout, &token, &why), 0);
    assert_false(is_mounted(&store));
    store_close(&store);
}

TEST(token, a_start_that_fails_leaves_no_token_that_may_have_been_written)
{
    static const struct {
        enum treatment if_absent;
        bool is_takeover;
        unsigned lost_put, denied_head; /* behind the former, no put is allowed */
    } cases[] = {
        { HONOURS, false, 1, 0 }, { REFUSES, false, 2, 0 }, { HONOURS, true, 1, 0 },
        { HONOURS, false, 0, 2 }, { IGNORES, false, 0, 2 },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct token token, dead;
        struct test_store store;

        variant_fresh(&store);
        if (cases[i].is_takeover)
            assert_int_equal(take(&store, "1:2", false, &dead), 0);
        variant.puts = variant.heads = 0;
        variant.if_absent = cases[i].if_absent;
        variant.lost_puts = cases[i].lost_put > 0;
        variant.first_denied_put = cases[i].lost_put > 0 ? cases[i].lost_put + 1 : 0;
        variant.denied_head = cases[i].denied_head;
        assert_int_equal(take(&store, "1:2", false, &token), -EACCES);
        /* Where a dead neighbour's was, there still is one that this machine alone takes. */
        if (is_mounted(&store) != cases[i].is_takeover)
            fail_msg("case %zu", i);
        variant.first_denied_put = 0;
        assert_int_equal(take(&store, "1:2", false, &token), 0);
        store_close(&store);
    }
}

TEST(token, a_forced_start_that_fails_leaves_the_lock_that_it_has_overwritten)
{
    const struct token_wish wish = { .lock_id = "1:2", .is_forced = true };
    struct error why = { "" };
    struct token token;
    struct test_store store;
    struct lock lock;

    variant_fresh(&store);
    put_beating(&store, rival_owner, 5);
    variant.denied_head = 2;
    assert_int_equal(token_take(store.backend, &token_layout, &wish, &token, &why), -EACCES);
    assert_int_equal(holder_look(store.backend, &token_layout, &lock, &why), 0);
    assert_string_equal(lock.owner, rival_owner);
    assert_int_equal(lock.lease.beat, 5);
    store_close(&store);
}

TEST(token, a_store_that_loses_attributes_is_no_faster_mount)
{
    static const enum treatment treatments[] = { HONOURS, IGNORES, REFUSES };

    for (size_t i = 0; i < ARRAY_LEN(treatments); i++) {
        struct error why = { "" };
        struct token token;
        struct test_store store;

        variant_fresh(&store);
        variant.if_absent = variant.if_match = variant.delete_if_match = treatments[i];
        variant.strips_attrs = true;
        assert_int_equal(token_take(store.backend, &token_layout, &token_willing, &token, &why),
                         -EIO);
        assert_non_null(strstr(why.text, "attributes"));
        assert_false(is_mounted(&store));
        store_close(&store);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(token, a_stores_conditions_are_tried_and_not_taken_on_trust),
        RUN(token, a_store_that_cannot_delete_on_a_condition_deletes_the_token_without),
        RUN(token, a_token_whose_answer_was_lost_is_found_to_be_ours),
        RUN(token, a_start_that_fails_leaves_no_token_that_may_have_been_written),
        RUN(token, a_forced_start_that_fails_leaves_the_lock_that_it_has_overwritten),
        RUN(token, a_store_that_loses_attributes_is_no_faster_mount),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
