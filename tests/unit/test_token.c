/* SPDX-License-Identifier: Apache-2.0 */
/* core/token.c over backend-memory: who may mount a volume. */
#include "tokens.h"

#include <errno.h>
#include <pthread.h>

TEST(token, a_token_is_taken_and_dropped)
{
    struct error why = { "" };
    struct token token;
    struct test_store store;

    memory_open(&store, NULL);
    assert_int_equal(take(&store, "1:2", false, &token), 0);
    assert_true(token.value > 0 && token.value < 0x7fffffff);
    assert_true(is_mounted(&store));
    assert_int_equal(token_drop(store.backend, &token_layout, &token, &why), 0);
    assert_false(is_mounted(&store));
    assert_int_equal(token_drop(store.backend, &token_layout, &token, &why), 0);
    store_close(&store);
}

TEST(token, only_a_token_whose_daemon_is_surely_dead_is_taken_over)
{
    static const struct {
        int word; /* of the owner line to change; -1: none */
        const char *to;
        bool is_dead;
    } cases[] = {
        { -1, NULL, true },          /* same boot, same lock, which we hold */
        { 1, "another-boot", true }, /* the machine has been restarted */
        { 2, "9:9", false },         /* another container, say */
        { 2, "1:3", false },         /* another lock: of the volume by another name, say */
        { 2, "1", false },           /* of a version that said less about its lock */
        { 0, "another-machine", false },
        { 3, "another-host", false },
        { 0, "-", false },
        { 1, "-", false },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct token token;
        struct test_store store;
        char words[4][128], owner[520];
        bool is_known, is_ours = cases[i].word == -1;

        memory_open(&store, NULL);
        is_known = own_words(&store, words);
        /* A system without a machine id knows its own tokens by this boot and lock alone. */
        is_ours = is_ours || strcmp(words[cases[i].word], cases[i].to) == 0;
        if (cases[i].word >= 0)
            snprintf(words[cases[i].word], sizeof words[0], "%s", cases[i].to);
        snprintf(owner, sizeof owner, "%s %s %s %s", words[0], words[1], words[2], words[3]);
        put_with(&store, TOKEN, 4, NULL,
                 (const char *const[4]){ "s3backer-mount-token", "00000042", "bucketdisk-owner",
                                         owner });
        assert_int_equal(take(&store, "1:2", false, &token),
                         is_ours || (cases[i].is_dead && is_known) ? 0 : -EBUSY);
        store_close(&store);
    }
}

TEST(token, a_token_of_s3backer_is_refused_unless_forced_or_reset)
{
    struct error why = { "" };
    struct token token;
    struct test_store store;

    memory_open(&store, NULL);
    put_with(&store, TOKEN, 4, NULL,
             (const char *const[4]){ "s3backer-mount-token", "7fffffff", NULL, NULL });
    assert_int_equal(take(&store, "1:2", false, &token), -EBUSY);
    assert_int_equal(take(&store, "1:2", true, &token), 0);
    put_with(&store, TOKEN, 4, NULL, NULL); /* of before 1.5.0: no token in it */
    assert_int_equal(take(&store, "1:2", false, &token), -EBUSY);
    assert_int_equal(token_reset(store.backend, &token_layout, 0, &why), 0);
    assert_int_equal(take(&store, "1:2", false, &token), 0);
    store_close(&store);
}

TEST(token, a_token_that_is_not_ours_any_more_stays)
{
    struct error why = { "" };
    struct token ours, theirs;
    struct test_store store;

    memory_open(&store, NULL);
    assert_int_equal(take(&store, "1:2", false, &ours), 0);
    assert_int_equal(take(&store, "3:4", true, &theirs), 0);
    assert_int_equal(token_drop(store.backend, &token_layout, &ours, &why), 0);
    assert_true(is_mounted(&store));
    assert_int_equal(token_drop(store.backend, &token_layout, &theirs, &why), 0);
    assert_false(is_mounted(&store));
    store_close(&store);
}

TEST(token, the_token_that_was_taken_is_dropped_whatever_the_layout_has_become)
{
    struct layout changing = { .prefix = "v/", .is_format_2 = true };
    struct error why = { "" };
    struct token token;
    struct test_store store;

    memory_open(&store, NULL);
    assert_int_equal(token_take(store.backend, &changing, &token_willing, &token, &why), 0);
    assert_int_equal(run(request(&store, BD_HEAD_OBJECT, "v/bucketdisk-lock"), NULL), BD_OK);
    assert_false(is_mounted(&store));
    changing.is_format_2 = false; /* a second look at the volume that failed half way */
    assert_int_equal(token_drop(store.backend, &changing, &token, &why), 0);
    assert_int_equal(run(request(&store, BD_HEAD_OBJECT, "v/bucketdisk-lock"), NULL), BD_ABSENT);
    store_close(&store);
}

TEST(token, the_fence_of_a_volume_of_format_2_is_no_token_to_take_over)
{
    struct error why = { "" };
    struct token token;
    struct test_store store;

    memory_open(&store, NULL);
    put_with(&store, TOKEN, 4, NULL,
             (const char *const[4]){ "s3backer-mount-token", "0000bd02", "bucketdisk-owner",
                                     TOKEN_FENCE_OWNER });
    for (unsigned forced = 0; forced < 2; forced++) {
        const struct token_wish wish = { .lock_id = "1:2", .is_forced = forced };

        assert_int_equal(token_take(store.backend, &token_layout, &wish, &token, &why), -EBUSY);
        assert_non_null(strstr(why.text, "format 2"));
    }
    store_close(&store);
}

struct taker {
    struct test_store *store;
    const char *lock_id;
    int rc;
};

static void *
take_in_thread(void *arg)
{
    struct taker *taker = arg;
    struct token token;

    taker->rc = take(taker->store, taker->lock_id, false, &token);
    return NULL;
}

TEST(token, of_two_who_take_the_token_at_once_one_gets_it)
{
    const char *const options[] = { "jitter", "10", NULL };

    for (unsigned i = 0; i < 20; i++) {
        struct test_store store;
        struct taker takers[2] = { { &store, "1:2", 1 }, { &store, "3:4", 1 } };
        pthread_t threads[2];

        memory_open(&store, options);
        for (unsigned j = 0; j < 2; j++)
            assert_int_equal(pthread_create(&threads[j], NULL, take_in_thread, &takers[j]), 0);
        for (unsigned j = 0; j < 2; j++)
            pthread_join(threads[j], NULL);
        assert_int_equal((takers[0].rc == 0) + (takers[1].rc == 0), 1);
        assert_int_equal((takers[0].rc == -EBUSY) + (takers[1].rc == -EBUSY), 1);
        store_close(&store);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(token, a_token_is_taken_and_dropped),
        RUN(token, only_a_token_whose_daemon_is_surely_dead_is_taken_over),
        RUN(token, a_token_of_s3backer_is_refused_unless_forced_or_reset),
        RUN(token, a_token_that_is_not_ours_any_more_stays),
        RUN(token, the_token_that_was_taken_is_dropped_whatever_the_layout_has_become),
        RUN(token, the_fence_of_a_volume_of_format_2_is_no_token_to_take_over),
        RUN(token, of_two_who_take_the_token_at_once_one_gets_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
