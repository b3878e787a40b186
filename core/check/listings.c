/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a check on listings. */
#include "impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct store_how plain = { 0 };

/* In byte order. */
static const char *const leaves[] = { "B", "a", "a-1", "a.1", "a1", "aa", "b", "b~" };
enum { LEAVES = ARRAY_LEN(leaves) };

static struct store *
prepare(struct check *check)
{
    struct store *store = store_open(check, plain);

    for (unsigned i = LEAVES; i-- > 0 && store != NULL;) { /* in another order */
        char body[32];

        memset(body, 'x', sizeof body);
        if (!asked_expect(asked_put(store, leaves[i], body, i + 1), BD_OK, "PUT"))
            return NULL;
    }
    return store;
}

/* It gave leaves[from .. to). */
static bool
expect_given(struct check *check, const struct asked *list, unsigned from, unsigned to)
{
    object_text name;

    for (unsigned i = 0; i < list->entry_count && from + i < to; i++) {
        if (strcmp(list->entries[i].name, name_of(check, leaves[from + i], name)) != 0) {
            check_fail(check, "entry %u: expected \"%s\", came \"%s\"", i + 1, name,
                       list->entries[i].name);
            return false;
        }
    }
    if (list->entry_count != to - from)
        check_fail(check, "expected %u names, came %u", to - from, list->entry_count);
    return list->entry_count == to - from;
}

/* Run it, and all pages that follow; must give leaves[from .. to). */
static bool
expect_leaves(struct check *check, struct asked *list, unsigned from, unsigned to)
{
    return asked_list_whole(list) && expect_given(check, list, from, to);
}

static void
names_come_in_order(struct check *check)
{
    struct store *store = prepare(check);

    if (store != NULL)
        expect_leaves(check, asked_list(store, "", NULL, 100), 0, LEAVES);
}

/* Other rows' objects are there, too. */
static void
no_prefix_is_every_name(struct check *check)
{
    struct store *store = prepare(check);
    struct asked *list;
    object_text name;
    unsigned found = 0;

    if (store == NULL)
        return;
    list = asked_list(store, "", NULL, 1000);
    list->io->name = NULL;
    if (!asked_list_whole(list))
        return;
    for (unsigned i = 0; i < list->entry_count && found < LEAVES; i++)
        found += strcmp(list->entries[i].name, name_of(check, leaves[found], name)) == 0;
    if (found < LEAVES)
        check_fail(check, "with a prefix that is NULL \"%s\" did not come, or not in order",
                   name_of(check, leaves[found], name));
}

static void
prefixes_are_kept_to(struct check *check)
{
    struct store *store = prepare(check);

    if (store != NULL && expect_leaves(check, asked_list(store, "a", NULL, 100), 1, 6)
        && expect_leaves(check, asked_list(store, "a-", NULL, 100), 2, 3))
        expect_leaves(check, asked_list(store, "none", NULL, 100), 0, 0);
}

static void
listings_start_after(struct check *check)
{
    struct store *store = prepare(check);

    if (store != NULL && expect_leaves(check, asked_list(store, "", "a", 100), 2, LEAVES)
        && expect_leaves(check, asked_list(store, "", "a0", 100), 4, LEAVES)
        && expect_leaves(check, asked_list(store, "a", "A", 100), 1, 6)
        && expect_leaves(check, asked_list(store, "a", "a1", 100), 5, 6))
        expect_leaves(check, asked_list(store, "", "z", 100), 0, 0);
}

/* Page after page, each name once. */
static void
limits_are_kept_to(struct check *check)
{
    static const uint32_t limits[] = { 1, 3, LEAVES - 1, LEAVES, LEAVES + 1 };
    struct store *store = prepare(check);

    for (size_t i = 0; i < ARRAY_LEN(limits) && store != NULL; i++) {
        if (!expect_leaves(check, asked_list(store, "", NULL, limits[i]), 0, LEAVES))
            return;
    }
}

static void
enough_is_enough(struct check *check)
{
    struct store *store = prepare(check);
    struct asked *list;

    if (store == NULL)
        return;
    list = asked_list(store, "", NULL, 100);
    list->entries_wanted = 2;
    if (!asked_expect(list, BD_OK, "LIST") || !expect_given(check, list, 0, 2))
        return;
    if (list->io->more == 0)
        check_fail(check, "after 2 names of %d expected more = 1, came 0", LEAVES);
    if (list->calls_after_enough > 0)
        check_fail(check, "list_add said \"enough\", and was called %u times more",
                   list->calls_after_enough);
}

static void
entries_are_true(struct check *check)
{
    struct store *store = prepare(check);
    struct asked *list;

    if (store == NULL)
        return;
    list = asked_list(store, "", NULL, 100);
    if (!asked_list_whole(list))
        return;
    for (unsigned i = 0; i < list->entry_count && i < LEAVES; i++) {
        const struct entry *entry = &list->entries[i];
        struct asked *head = asked_for(store, BD_HEAD_OBJECT, leaves[i]);

        if (!asked_expect(head, BD_OK, "HEAD"))
            return;
        if (entry->bytes != head->io->object_bytes)
            check_fail(check, "\"%s\": expected %llu bytes, came %llu", entry->name,
                       (unsigned long long)head->io->object_bytes,
                       (unsigned long long)entry->bytes);
        if (entry->has_tag && (!head->has_tag || strcmp(entry->tag, head->tag) != 0))
            check_fail(check, "\"%s\": expected the tag \"%s\", came \"%s\"", entry->name,
                       head->tag, entry->tag);
    }
}

static void
deleted_ones_are_gone(struct check *check)
{
    struct store *store = prepare(check);

    for (unsigned i = 0; i < LEAVES - 2 && store != NULL; i++) {
        if (!asked_expect(asked_for(store, BD_DELETE, leaves[i]), BD_OK, "DELETE"))
            return;
    }
    if (store != NULL)
        expect_leaves(check, asked_list(store, "", NULL, 100), LEAVES - 2, LEAVES);
}

void
check_listings(struct check *check)
{
    static const struct check_row rows[] = {
        { "a LIST gives every name once, in byte order", names_come_in_order,
          "LIST gives names with the prefix (NULL: all names), greater than start_after, in byte "
          "order" },
        { "a LIST gives the names with its prefix", prefixes_are_kept_to,
          "LIST gives names with the prefix (NULL: all names), greater than start_after, in byte "
          "order" },
        { "a LIST without a prefix gives every name", no_prefix_is_every_name,
          "LIST gives names with the prefix (NULL: all names), greater than start_after, in byte "
          "order" },
        { "a LIST starts after a name, which need not exist", listings_start_after,
          "start_after need not exist and may be NULL" },
        { "a LIST gives at most its limit, and says if there are more", limits_are_kept_to,
          "at most `limit`, which is not 0" },
        { "a LIST stops when list_add says enough", enough_is_enough,
          "list_add returns 0 to say \"enough\": this entry was taken; stop, and set `more` if "
          "there are others" },
        { "a LIST gives sizes and tags that are true", entries_are_true,
          "Results of GET and HEAD_OBJECT (attr, encoding, tag), PUT (tag) and LIST (entry)" },
        { "a LIST does not give what was deleted", deleted_ones_are_gone,
          "LIST gives names with the prefix (NULL: all names), greater than start_after, in byte "
          "order" },
    };

    check_rows(check, "backend", rows, ARRAY_LEN(rows));
}
