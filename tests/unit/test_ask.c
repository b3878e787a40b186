/* SPDX-License-Identifier: Apache-2.0 */
/* core/ask.c: pages of a listing. */
#include "variant_store.h"

#include "ask.h"

#include <errno.h>

struct listed {
    unsigned count, enough; /* 0: none is */
};

static bool
count_one(void *arg, const char *name, uint64_t object_bytes, const char *tag)
{
    struct listed *listed = arg;

    (void)name, (void)object_bytes, (void)tag;
    return ++listed->count != listed->enough;
}

static int
list_all(struct test_store *store, struct listed *listed, struct error *why)
{
    why->text[0] = '\0';
    listed->count = 0;
    return ask_list(store->backend, "v/", count_one, listed, "list the volume", why);
}

TEST(ask, a_listing_that_says_more_and_lists_nothing_new_has_failed)
{
    struct listed listed = { .enough = 0 };
    struct test_store store;
    struct error why;

    variant_fresh(&store);
    assert_int_equal(list_all(&store, &listed, &why), 0);
    variant.always_has_more = true;
    assert_int_equal(list_all(&store, &listed, &why), -EIO);
    assert_non_null(strstr(why.text, "cannot list the volume: the store listed nothing new"));
    for (unsigned i = 0; i < 3; i++) {
        char name[8];

        snprintf(name, sizeof name, "v/%u", i);
        assert_int_equal(put_text(&store, name, "object"), BD_OK);
    }
    assert_int_equal(list_all(&store, &listed, &why), -EIO);
    assert_int_equal(listed.count, 3);
    /* Who has seen enough needs no more. */
    listed.enough = 3;
    assert_int_equal(list_all(&store, &listed, &why), 0);
    assert_string_equal(why.text, "");
    store_close(&store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(ask, a_listing_that_says_more_and_lists_nothing_new_has_failed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
