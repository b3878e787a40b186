/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a check on conditions: honoured where the backend claims them, and never ignored where it does not. */
#include "impl.h"

#include <stdio.h>
#include <string.h>

#define NO_TAG "\"00000000000000000000000000000000\""

/* An object with a tag, and the tag of a version of it that is gone. */
struct versions {
    struct store *store;
    char old[BD_TAG_BYTES_MAX + 1], now[BD_TAG_BYTES_MAX + 1];
};

static bool
claims(struct store *store, uint64_t capability)
{
    return (store_info(store)->capabilities & capability) != 0;
}

static bool
put_for_tag(struct store *store, const char *text, char tag[BD_TAG_BYTES_MAX + 1])
{
    struct asked *put = asked_put(store, "a", text, strlen(text));

    if (!asked_expect(put, BD_OK, "PUT"))
        return false;
    if (!put->has_tag)
        check_fail(store->layers[0].check, "PUT: expected a tag, which conditions need; none came");
    strcpy(tag, put->tag);
    return put->has_tag;
}

/* False: the row has failed, or was skipped. */
static bool
prepare(struct check *check, uint64_t capability, struct versions *versions)
{
    versions->store = store_open(check, (struct store_how){ 0 });
    if (versions->store == NULL)
        return false;
    if (!claims(versions->store, capability)) {
        check_skip(check, "it does not claim them");
        return false;
    }
    return put_for_tag(versions->store, "old", versions->old)
           && put_for_tag(versions->store, "now", versions->now);
}

static struct asked *
put_if(struct store *store, const char *leaf, const char *text, const char *if_match,
       const char *if_none_match)
{
    struct asked *put = asked_put(store, leaf, text, strlen(text));

    put->io->if_match = if_match;
    put->io->if_none_match = if_none_match;
    return put;
}

static struct asked *
get_if(struct store *store, const char *leaf, const char *if_match, const char *if_none_match)
{
    struct asked *get = asked_get(store, leaf, 16);

    get->io->if_match = if_match;
    get->io->if_none_match = if_none_match;
    return get;
}

static struct asked *
delete_if(struct store *store, const char *leaf, const char *if_match)
{
    struct asked *asked = asked_for(store, BD_DELETE, leaf);

    asked->io->if_match = if_match;
    return asked;
}

static void
puts_keep_to_if_match(struct check *check)
{
    struct versions v;

    if (!prepare(check, BD_CAP_CONDITIONS_PUT, &v)
        || !asked_expect(put_if(v.store, "a", "no", v.old, NULL), BD_CONDITION,
                         "PUT with if_match of an old tag")
        || !expect_text(v.store, "a", "now")
        || !asked_expect(put_if(v.store, "none", "no", v.now, NULL), BD_CONDITION,
                         "PUT with if_match to an absent object")
        || !asked_expect(put_if(v.store, "a", "new", v.now, NULL), BD_OK,
                         "PUT with if_match of the tag"))
        return;
    expect_text(v.store, "a", "new");
}

/* The host has only "*" to send; a store that has only that says so. */
static void
tags_are_not_ignored(struct check *check, struct versions *v)
{
    struct asked *put = put_if(v->store, "a", "no", NULL, v->now);

    asked_submit(put);
    if (asked_settle(put) != BD_CONDITION && put->status != BD_UNSUPPORTED)
        check_fail(check,
                   "PUT with if_none_match of the object's tag: expected CONDITION, or "
                   "UNSUPPORTED, came %s",
                   status_word(put->status));
    expect_text(v->store, "a", "now");
}

static void
puts_keep_to_if_none_match(struct check *check)
{
    struct versions v;

    if (!prepare(check, BD_CAP_CONDITIONS_PUT, &v)
        || !asked_expect(put_if(v.store, "a", "no", NULL, "*"), BD_CONDITION,
                         "PUT with if_none_match * to an object")
        || !expect_text(v.store, "a", "now")
        || !asked_expect(put_if(v.store, "none", "yes", NULL, "*"), BD_OK,
                         "PUT with if_none_match * to an absent object")
        || !expect_text(v.store, "none", "yes"))
        return;
    tags_are_not_ignored(check, &v);
}

static void
gets_keep_to_conditions(struct check *check)
{
    struct versions v;

    if (prepare(check, BD_CAP_CONDITIONS_GET, &v)
        && asked_expect(get_if(v.store, "a", v.old, NULL), BD_CONDITION,
                        "GET with if_match, old tag")
        && asked_expect(get_if(v.store, "a", v.now, NULL), BD_OK, "GET with if_match")
        && asked_expect(get_if(v.store, "a", NULL, v.now), BD_CONDITION, "GET with if_none_match")
        && asked_expect(get_if(v.store, "a", NULL, v.old), BD_OK,
                        "GET with if_none_match, old tag"))
        asked_expect(get_if(v.store, "a", NULL, "*"), BD_CONDITION, "GET with if_none_match *");
}

/* Of two right answers either will do: it is absent, and so no tag of it matches. */
static void
absent_ones_do_not_match(struct check *check)
{
    struct versions v;
    struct asked *get;

    if (!prepare(check, BD_CAP_CONDITIONS_GET, &v))
        return;
    get = get_if(v.store, "none", v.now, NULL);
    if (asked_run(get) != BD_ABSENT && asked_settle(get) != BD_CONDITION)
        check_fail(check, "GET with if_match: expected ABSENT or CONDITION, came %s",
                   status_word(get->status));
    asked_expect(get_if(v.store, "none", NULL, "*"), BD_ABSENT, "GET with if_none_match *");
}

static void
deletes_keep_to_if_match(struct check *check)
{
    struct versions v;

    if (prepare(check, BD_CAP_CONDITIONS_DELETE, &v)
        && asked_expect(delete_if(v.store, "a", v.old), BD_CONDITION, "DELETE with an old tag")
        && expect_text(v.store, "a", "now")
        && asked_expect(delete_if(v.store, "none", v.now), BD_CONDITION,
                        "DELETE with if_match of an absent object")
        && asked_expect(delete_if(v.store, "a", v.now), BD_OK, "DELETE with if_match"))
        asked_expect(asked_get(v.store, "a", 8), BD_ABSENT, "GET of what was deleted");
}

/* Done all the same would be a lost update. */
static void
unclaimed_ones_are_not_ignored(struct check *check)
{
    struct store *store = store_open(check, (struct store_how){ 0 });
    const char *const what = "with a condition that is not claimed and does not hold";
    struct asked *asked[4];
    unsigned count = 0;

    if (store == NULL || !put_text(store, "a", "old"))
        return;
    if (!claims(store, BD_CAP_CONDITIONS_PUT)) {
        asked[count++] = put_if(store, "a", "new", NO_TAG, NULL);
        asked[count++] = put_if(store, "a", "new", NULL, "*");
    }
    if (!claims(store, BD_CAP_CONDITIONS_GET))
        asked[count++] = get_if(store, "a", NO_TAG, NULL);
    if (!claims(store, BD_CAP_CONDITIONS_DELETE))
        asked[count++] = delete_if(store, "a", NO_TAG);
    for (unsigned i = 0; i < count; i++) {
        const enum bd_status status = asked_run(asked[i]);

        if (status != BD_UNSUPPORTED && status != BD_CONDITION)
            check_fail(check, "%s %s: expected UNSUPPORTED, came %s", op_word(asked[i]->io->op),
                       what, status_word(status));
    }
    if (count == 0)
        check_skip(check, "it claims all");
    else
        expect_text(store, "a", "old");
}

void
check_conditions(struct check *check)
{
    static const struct check_row rows[] = {
        { "a PUT is done only if if_match holds", puts_keep_to_if_match,
          "if_match or if_none_match did not hold; nothing was done" },
        { "a PUT is done only if if_none_match holds", puts_keep_to_if_none_match,
          "if_match or if_none_match did not hold; nothing was done" },
        { "a GET answers only if its conditions hold", gets_keep_to_conditions,
          "GET with if_none_match that matches is BD_CONDITION, with if_match that does not, too" },
        { "a GET of an absent object with a condition finds none", absent_ones_do_not_match,
          "GET with if_none_match that matches is BD_CONDITION, with if_match that does not, too" },
        { "a DELETE is done only if if_match holds", deletes_keep_to_if_match,
          "DELETE of an absent object is BD_OK, with if_match BD_CONDITION" },
        { "conditions that it does not claim are refused", unclaimed_ones_are_not_ignored,
          "Conditions count when the backend's info says that it honours them; any other is "
          "BD_UNSUPPORTED, and nothing is done" },
    };

    check_rows(check, "backend", rows, ARRAY_LEN(rows));
}
