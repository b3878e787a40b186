/* SPDX-License-Identifier: Apache-2.0 */
/* core/token.c: the locks of dead daemons are replaced, and put back. */
#include "tokens.h"

#include <errno.h>

TEST(token, a_dead_owners_lock_is_replaced_only_on_the_condition_that_it_is_still_that)
{
    static const struct {
        enum treatment if_match;
        unsigned rival_before;
        int rc;
    } cases[] = {
        { HONOURS, 0, 0 },
        { HONOURS, 1, -EBUSY }, /* it beats at the last moment */
        { REFUSES, 0, -EIO },   /* never without a condition */
        { NEVER_HOLDS, 0, -EIO },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        static const char dead_owner[] = "dead-machine boot 1:1 dead";
        struct error why = { "" };
        struct lock dead;
        struct token token;
        struct test_store store;

        variant_fresh(&store);
        put_beating(&store, dead_owner, 5);
        assert_int_equal(holder_look(store.backend, &token_layout, &dead, &why), 0);
        variant.puts = variant.heads = 0;
        variant.if_match = cases[i].if_match;
        variant.rival_before = cases[i].rival_before;
        if (token_take_from(store.backend, &token_layout, &token_willing, &dead, &token, &why)
            != cases[i].rc)
            fail_msg("case %zu: %s", i, why.text);
        expect_owner(&store, cases[i].rc == 0        ? token.owner
                             : cases[i].rc == -EBUSY ? rival_owner
                                                     : dead_owner);
        store_close(&store);
    }
}

TEST(token, a_dead_neighbours_lock_is_put_back_as_it_was_and_where_none_was_none_is_left)
{
    static const enum treatment treatments[] = { HONOURS, IGNORES, REFUSES, NEVER_HOLDS };

    for (size_t i = 0; i < ARRAY_LEN(treatments); i++) {
        struct error why = { "" };
        struct token token;
        struct lock before, after;
        struct test_store store;
        char owner[520];

        variant_fresh(&store);
        put_dead_neighbours(&store, owner);
        assert_int_equal(holder_look(store.backend, &token_layout, &before, &why), 0);
        variant.if_match = treatments[i];
        assert_int_equal(take(&store, "1:2", false, &token), 0);
        assert_true(token.before.is_there);
        assert_int_equal(token_give_back(store.backend, &token_layout, &token, &why), 0);
        assert_int_equal(holder_look(store.backend, &token_layout, &after, &why), 0);
        assert_true(lock_is_of(&after, before.value, owner));
        assert_memory_equal(&after.lease, &before.lease, sizeof after.lease);
        if (strcmp(after.tag, before.tag) == 0)
            fail_msg("treatment %zu: two versions of the lock have one tag", i);

        /* The next one finds it all the same, and so does a key command after it. */
        assert_int_equal(take(&store, "1:2", false, &token), 0);
        assert_int_equal(token.before.value, 0x42);
        assert_int_equal(token_drop(store.backend, &token_layout, &token, &why), 0);
        assert_false(is_mounted(&store));

        assert_int_equal(take(&store, "1:2", false, &token), 0);
        assert_false(token.before.is_there);
        assert_int_equal(token_give_back(store.backend, &token_layout, &token, &why), 0);
        assert_false(is_mounted(&store));
        store_close(&store);
    }
}

TEST(token, a_dead_neighbours_lock_is_not_put_over_somebody_elses)
{
    enum { GONE, ANOTHERS, AT_THE_LAST_MOMENT, CASES };

    for (unsigned i = 0; i < CASES; i++) {
        struct error why = { "" };
        struct token token;
        struct test_store store;
        char owner[520];

        variant_fresh(&store);
        put_dead_neighbours(&store, owner);
        assert_int_equal(take(&store, "1:2", false, &token), 0);
        if (i == GONE)
            assert_int_equal(token_reset(store.backend, &token_layout, 0, &why), 0);
        else if (i == ANOTHERS)
            put_beating(&store, rival_owner, 5);
        else
            variant.rival_before = variant.puts + 1;
        assert_int_equal(token_give_back(store.backend, &token_layout, &token, &why), 0);
        if (i == GONE)
            assert_false(is_mounted(&store));
        else
            expect_owner(&store, rival_owner);
        store_close(&store);
    }
}

TEST(token, a_lock_that_cannot_be_put_back_leaves_ours_which_this_machine_takes)
{
    struct error why = { "" };
    struct token token, next;
    struct test_store store;
    char owner[520];

    variant_fresh(&store);
    put_dead_neighbours(&store, owner);
    assert_int_equal(take(&store, "1:2", false, &token), 0);
    variant.if_match = REFUSES;
    variant.first_denied_put = 1;
    assert_int_equal(token_give_back(store.backend, &token_layout, &token, &why), -EACCES);
    assert_non_null(strstr(why.text, "could not be put back"));
    variant.first_denied_put = 0;
    assert_int_equal(take(&store, "1:2", false, &next), 0);
    assert_int_equal(next.before.value, token.value);
    store_close(&store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(token, a_dead_owners_lock_is_replaced_only_on_the_condition_that_it_is_still_that),
        RUN(token, a_dead_neighbours_lock_is_put_back_as_it_was_and_where_none_was_none_is_left),
        RUN(token, a_dead_neighbours_lock_is_not_put_over_somebody_elses),
        RUN(token, a_lock_that_cannot_be_put_back_leaves_ours_which_this_machine_takes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
