/* SPDX-License-Identifier: Apache-2.0 */
/* core/token.c: how a token is removed, also when that gets no answer. */
#include "tokens.h"

#include <errno.h>

TEST(token, a_removal_without_an_answer_is_not_repeated_before_it_has_settled)
{
    static const struct {
        unsigned lost, dropped;
        int rc;
        unsigned deletes, pauses_s;
    } cases[] = {
        { 0, 0, 0, 1, 0 },  { 1, 0, 0, 1, 29 },    { 0, 1, 0, 2, 29 },
        { 0, 2, 0, 3, 58 }, { 0, 9, -EIO, 3, 87 },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct token_wish wish = { .lock_id = "1:2", .settle_ms = 30000 };
        struct error why = { "" };
        struct test_store store;
        struct token token;

        variant_fresh(&store);
        assert_int_equal(token_take(store.backend, &token_layout, &wish, &token, &why), 0);
        variant.lost_deletes = cases[i].lost;
        variant.dropped_deletes = cases[i].dropped;
        pauses_s = 0;
        if (token_drop(store.backend, &token_layout, &token, &why) != cases[i].rc)
            fail_msg("case %zu: %s", i, why.text);
        assert_int_equal(why.text[0] == '\0', cases[i].rc == 0);
        if (variant.deletes != cases[i].deletes || pauses_s != cases[i].pauses_s)
            fail_msg("case %zu: %u deletes, %u s", i, variant.deletes, pauses_s);
        assert_int_equal(is_mounted(&store), cases[i].rc != 0);
        store_close(&store);
    }
}

TEST(token, what_comes_after_a_lost_removal_is_not_removed)
{
    const struct token_wish wish = { .lock_id = "1:2", .settle_ms = 30000 };
    struct error why = { "" };
    struct test_store store;
    struct token token;

    variant_fresh(&store);
    assert_int_equal(token_take(store.backend, &token_layout, &wish, &token, &why), 0);
    variant.lost_deletes = 1; /* carried out; and then somebody comes */
    variant.comes_after_delete = true;
    assert_int_equal(token_drop(store.backend, &token_layout, &token, &why), 0);
    assert_int_equal(variant.deletes, 1);
    expect_owner(&store, rival_owner);
    store_close(&store);
}

/* The operator's word holds for the lock that he meant, and not for one that has come since. */
TEST(token, a_reset_without_an_answer_removes_once)
{
    static const struct {
        unsigned lost, dropped;
        bool comes_after;
        int rc;
    } cases[] = { { 1, 0, false, 0 }, { 0, 1, false, -EIO }, { 1, 0, true, -EIO } };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct token_wish wish = { .lock_id = "1:2" };
        struct error why = { "" };
        struct test_store store;
        struct token token;

        variant_fresh(&store);
        assert_int_equal(token_take(store.backend, &token_layout, &wish, &token, &why), 0);
        variant.lost_deletes = cases[i].lost;
        variant.dropped_deletes = cases[i].dropped;
        variant.comes_after_delete = cases[i].comes_after;
        if (token_reset(store.backend, &token_layout, 30000, &why) != cases[i].rc)
            fail_msg("case %zu: %s", i, why.text);
        assert_int_equal(variant.deletes, 1);
        assert_int_equal(is_mounted(&store), cases[i].rc != 0);
        assert_true(cases[i].rc == 0 || strstr(why.text, "try again") != NULL);
        if (cases[i].comes_after)
            expect_owner(&store, rival_owner);
        store_close(&store);
    }
}

TEST(token, it_is_removed_as_long_as_it_is_surely_ours)
{
    struct error why = { "" };
    struct test_store store;
    struct token token;

    variant_fresh(&store);
    assert_int_equal(token_take(store.backend, &token_layout, &token_willing, &token, &why), 0);
    token.until_ns = clock_now_ns() - 1;
    assert_int_equal(token_drop(store.backend, &token_layout, &token, &why), -EIO);
    assert_non_null(strstr(why.text, "stays"));
    assert_int_equal(variant.deletes, 0);
    token.until_ns = clock_now_ns() + 5 * NS_PER_S;
    assert_int_equal(token_drop(store.backend, &token_layout, &token, &why), 0);
    assert_int_equal(variant.deadline_ns, token.until_ns);
    assert_false(is_mounted(&store));
    store_close(&store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(token, a_removal_without_an_answer_is_not_repeated_before_it_has_settled),
        RUN(token, what_comes_after_a_lost_removal_is_not_removed),
        RUN(token, a_reset_without_an_answer_removes_once),
        RUN(token, it_is_removed_as_long_as_it_is_surely_ours),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
