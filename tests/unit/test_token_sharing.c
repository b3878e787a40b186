/* SPDX-License-Identifier: Apache-2.0 */
/* core/token.c: a volume that several have at once. */
#include "tokens.h"

#include <errno.h>

static int
take_shared(struct test_store *store, const struct layout *volume, bool is_forced,
            struct token *token)
{
    struct error why = { "" };
    int rc = token_take_shared(store->backend, volume, is_forced, 0, token, &why);

    assert_int_equal(why.text[0] == '\0', rc == 0);
    return rc;
}

TEST(token, a_shared_token_is_s3backers_and_stays)
{
    struct error why = { "" };
    struct token first, second, alone;
    struct lock lock;
    struct test_store store;
    char tag[BD_TAG_BYTES_MAX + 1];

    memory_open(&store, NULL);
    assert_int_equal(take_shared(&store, &token_layout, false, &first), 0);
    assert_int_equal(holder_look(store.backend, &token_layout, &lock, &why), 0);
    assert_true(lock_is_shared(&lock));
    assert_string_equal(lock.owner, "");
    assert_int_equal(lock.lease.beat, 0);
    strcpy(tag, lock.tag);
    assert_int_equal(take_shared(&store, &token_layout, false, &second), 0);
    assert_int_equal(holder_look(store.backend, &token_layout, &lock, &why), 0);
    assert_string_equal(lock.tag, tag); /* the second one has not touched it */
    assert_int_equal(token_drop(store.backend, &token_layout, &first, &why), 0);
    assert_int_equal(token_give_back(store.backend, &token_layout, &second, &why), 0);
    assert_true(is_mounted(&store));
    assert_int_equal(token_take(store.backend, &token_layout, &token_willing, &alone, &why),
                     -EBUSY);
    assert_non_null(strstr(why.text, "--sharedDiskMode"));
    assert_non_null(strstr(why.text, "--reset-mounted-flag"));
    assert_int_equal(token_reset(store.backend, &token_layout, 0, &why), 0);
    assert_int_equal(take(&store, "1:2", false, &alone), 0);
    store_close(&store);
}

TEST(token, s3backers_shared_token_is_joined)
{
    struct token token;
    struct test_store store;

    memory_open(&store, NULL);
    put_with(&store, TOKEN, 4, NULL,
             (const char *const[4]){ "s3backer-mount-token", "7fffffff", NULL, NULL });
    assert_int_equal(take_shared(&store, &token_layout, false, &token), 0);
    store_close(&store);
}

TEST(token, who_has_the_volume_alone_keeps_those_off_who_would_share_it_also_when_dead_here)
{
    for (unsigned is_neighbour = 0; is_neighbour < 2; is_neighbour++) {
        struct error why = { "" };
        struct token token;
        struct test_store store;
        char owner[520];

        memory_open(&store, NULL);
        if (is_neighbour)
            put_dead_neighbours(&store, owner);
        else
            put_beating(&store, rival_owner, 5);
        assert_int_equal(token_take_shared(store.backend, &token_layout, false, 0, &token, &why),
                         -EBUSY);
        assert_non_null(strstr(why.text, is_neighbour ? "in use on " : "in use on rival "));
        assert_non_null(strstr(why.text, "without --sharedDiskMode"));
        assert_int_equal(take_shared(&store, &token_layout, true, &token), 0);
        store_close(&store);
    }
}

/* An owner of this machine does not make a shared token a dead neighbour's: others have it, too. */
TEST(token, a_shared_token_is_nobodys_to_take_over)
{
    struct token token;
    struct test_store store;
    char words[4][128], owner[520];

    memory_open(&store, NULL);
    own_words(&store, words);
    snprintf(owner, sizeof owner, "%s %s %s %s", words[0], words[1], words[2], words[3]);
    put_with(
        &store, TOKEN, 4, NULL,
        (const char *const[4]){ "s3backer-mount-token", "7fffffff", "bucketdisk-owner", owner });
    assert_int_equal(take(&store, "1:2", false, &token), -EBUSY);
    store_close(&store);
}

TEST(token, of_one_who_shares_and_one_who_does_not_at_once_the_first_has_the_volume)
{
    static const struct {
        enum treatment treatment;
        unsigned rival_before, rival_after;
    } cases[] = { { HONOURS, 1, 0 }, { HONOURS, 0, 1 }, { IGNORES, 0, 2 }, { REFUSES, 0, 2 } };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct token token;
        struct test_store store;

        variant_fresh(&store);
        variant.if_absent = variant.if_match = cases[i].treatment;
        variant.rival_before = cases[i].rival_before;
        variant.rival_after = cases[i].rival_after;
        assert_int_equal(take_shared(&store, &token_layout, false, &token), -EBUSY);
        expect_owner(&store, rival_owner);
        store_close(&store);
    }
}

/* An epoch for each mount needs conditions, and there is no token of one's own to try them on. */
TEST(token, who_joins_a_volume_of_format_2_finds_out_what_the_stores_conditions_are_worth)
{
    static const struct layout format_2 = { .prefix = "v/", .is_format_2 = true };
    static const struct {
        enum treatment if_absent, if_match;
        bool has_if_match;
    } cases[] = {
        { HONOURS, HONOURS, true },  { HONOURS, IGNORES, false }, { HONOURS, REFUSES, false },
        { IGNORES, IGNORES, false }, { REFUSES, REFUSES, false },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct token first, second;
        struct test_store store;
        struct error why = { "" };
        struct lock lock;

        variant_fresh(&store);
        assert_int_equal(take_shared(&store, &format_2, false, &first), 0);
        assert_true(first.has_if_match);
        variant.if_absent = cases[i].if_absent;
        variant.if_match = cases[i].if_match;
        assert_int_equal(take_shared(&store, &format_2, false, &second), 0);
        if (second.has_if_match != cases[i].has_if_match)
            fail_msg("case %zu", i);
        assert_int_equal(holder_look(store.backend, &format_2, &lock, &why), 0);
        assert_true(lock_is_shared(&lock));
        store_close(&store);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(token, a_shared_token_is_s3backers_and_stays),
        RUN(token, s3backers_shared_token_is_joined),
        RUN(token, who_has_the_volume_alone_keeps_those_off_who_would_share_it_also_when_dead_here),
        RUN(token, a_shared_token_is_nobodys_to_take_over),
        RUN(token, of_one_who_shares_and_one_who_does_not_at_once_the_first_has_the_volume),
        RUN(token, who_joins_a_volume_of_format_2_finds_out_what_the_stores_conditions_are_worth),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
