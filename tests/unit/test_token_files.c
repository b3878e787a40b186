/* SPDX-License-Identifier: Apache-2.0 */
/* core/token.c: blocks on local disk that go with a lock. */
#include "tokens.h"

#include <errno.h>

static int
take_as(struct test_store *store, struct token_wish wish, struct token *token, struct error *why)
{
    wish.lock_id = "1:2";
    wish.value = token_value();
    return token_take(store->backend, &token_layout, &wish, token, why);
}

static struct lock
lock_there(struct test_store *store)
{
    struct error why = { "" };
    struct lock lock;

    assert_int_equal(holder_look(store->backend, &token_layout, &lock, &why), 0);
    return lock;
}

TEST(token, what_a_dead_neighbour_acknowledged_needs_its_cache_file)
{
    struct error why = { "" };
    struct token dead, token;
    struct test_store store;

    memory_open(&store, NULL);
    assert_int_equal(take_as(&store, (struct token_wish){ .is_local = true }, &dead, &why), 0);
    assert_true(lock_there(&store).is_local);

    /* Who has no file that goes with the lock, or another's. */
    for (uint32_t other = 0; other < 2; other++) {
        const struct token_wish wish = { .vouched = other == 0 ? 0 : dead.value ^ 1 };

        assert_int_equal(take_as(&store, wish, &token, &why), -EBUSY);
        assert_int_equal(lock_there(&store).value, dead.value);
    }
    assert_int_equal(take_as(&store, (struct token_wish){ 0 }, &token, &why), -EBUSY);
    assert_non_null(strstr(why.text, "--block-cache-file"));
    assert_non_null(strstr(why.text, "--force"));

    /* A command that puts the lock back as it was need not have it. */
    assert_int_equal(take(&store, "1:2", false, &token), 0);
    assert_int_equal(token_give_back(store.backend, &token_layout, &token, &why), 0);
    assert_true(lock_there(&store).is_local);
    assert_int_equal(lock_there(&store).value, dead.value);

    assert_int_equal(take_as(&store, (struct token_wish){ .vouched = dead.value }, &token, &why),
                     0);
    assert_false(lock_there(&store).is_local);
    store_close(&store);
}

TEST(token, what_a_dead_neighbour_acknowledged_is_given_up_by_force_alone)
{
    struct error why = { "" };
    struct token token;
    struct test_store store;

    memory_open(&store, NULL);
    assert_int_equal(take_as(&store, (struct token_wish){ .is_local = true }, &token, &why), 0);
    assert_int_equal(take_as(&store, (struct token_wish){ .is_forced = true }, &token, &why), 0);
    assert_false(lock_there(&store).is_local);
    store_close(&store);
}

TEST(token, what_was_left_here_goes_with_the_lock_of_who_left_it)
{
    struct error why = { "" };
    struct token before, token;
    struct test_store store;
    struct locallock_kept kept = { .path = "/var/lib/bucketdisk/left.spill" };

    memory_open(&store, NULL);
    assert_int_equal(take_as(&store, (struct token_wish){ 0 }, &before, &why), 0);
    kept.token = before.value;
    assert_int_equal(take_as(&store, (struct token_wish){ .kept = &kept }, &token, &why), -EBUSY);
    assert_non_null(strstr(why.text, "stored in /var/lib/bucketdisk/left.spill"));
    assert_int_equal(lock_there(&store).value, before.value);
    /* It is shown; it was forced; somebody has had the volume since. */
    assert_int_equal(take_as(&store, (struct token_wish){ .kept = &kept, .vouched = before.value },
                             &token, &why),
                     0);
    kept.token = token.value;
    assert_int_equal(
        take_as(&store, (struct token_wish){ .kept = &kept, .is_forced = true }, &token, &why), 0);
    assert_int_equal(take_as(&store, (struct token_wish){ .kept = &kept }, &token, &why), 0);
    store_close(&store);
}

TEST(token, files_that_go_with_a_lock_go_with_no_other)
{
    struct error why = { "" };
    struct token before, token;
    struct test_store store;

    memory_open(&store, NULL);
    assert_int_equal(take_as(&store, (struct token_wish){ .vouched = 0x42 }, &token, &why), -EBUSY);
    assert_non_null(strstr(why.text, "has just changed"));
    assert_false(is_mounted(&store));
    assert_int_equal(take_as(&store, (struct token_wish){ 0 }, &before, &why), 0);
    for (unsigned forced = 0; forced < 2; forced++) {
        const struct token_wish wish = { .vouched = before.value ^ 1, .is_forced = forced };

        assert_int_equal(take_as(&store, wish, &token, &why), -EBUSY);
        assert_int_equal(lock_there(&store).value, before.value);
    }
    store_close(&store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(token, what_a_dead_neighbour_acknowledged_needs_its_cache_file),
        RUN(token, what_a_dead_neighbour_acknowledged_is_given_up_by_force_alone),
        RUN(token, what_was_left_here_goes_with_the_lock_of_who_left_it),
        RUN(token, files_that_go_with_a_lock_go_with_no_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
