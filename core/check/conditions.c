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
get_if(struct store *store, const char *if_match, const char *if_none_match)
{
    struct asked *get = asked_get(store, "a", 16);

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

static void
puts_keep_to_if_none_match(struct check *check)
{
    struct versions v;

    if (!prepare(check, BD_CAP_CONDITIONS_PUT, &v)
        || !asked_expect(put_if(v.store, "a", "no", NULL, "*"), BD_CONDITION,
                         "PUT with if_none_match * to an object")
        || !expect_text(v.store, "a", "now")
        || !asked_expect(put_if(v.store, "none", "yes", NULL, "*"), BD_OK,
                         "PUT with if_none_match * to an absent object"))
        return;
    expect_text(v.store, "none", "yes");
}

static void
gets_keep_to_conditions(struct check *check)
{
    struct versions v;

    if (prepare(check, BD_CAP_CONDITIONS_GET, &v)
        && asked_expect(get_if(v.store, v.old, NULL), BD_CONDITION, "GET with if_match, old tag")
        && asked_expect(get_if(v.store, v.now, NULL), BD_OK, "GET with if_match")
        && asked_expect(get_if(v.store, NULL, v.now), BD_CONDITION, "GET with if_none_match")
        && asked_expect(get_if(v.store, NULL, v.old), BD_OK, "GET with if_none_match, old tag"))
        asked_expect(get_if(v.store, NULL, "*"), BD_CONDITION, "GET with if_none_match *");
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
        asked[count++] = get_if(store, NO_TAG, NULL);
    if (!claims(store, BD_CAP_CONDITIONS_DELETE))
        asked[count++] = delete_if(store, "a", NO_TAG);
    for (unsigned i = 0; i < count; i++) {
        const enum bd_status status = asked_run(asked[i]);

        if (status != BD_UNSUPPORTED && status != BD_CONDITION)
            check_fail(check, "%s %s: expected UNSUPPORTED, came %s",
                       asked[i]->io->op == BD_PUT   ? "PUT"
                       : asked[i]->io->op == BD_GET ? "GET"
                                                    : "DELETE",
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
        { "a PUT is done only if if_match holds", puts_keep_to_if_match },
        { "a PUT is done only if if_none_match holds", puts_keep_to_if_none_match },
        { "a GET answers only if its conditions hold", gets_keep_to_conditions },
        { "a DELETE is done only if if_match holds", deletes_keep_to_if_match },
        { "conditions that it does not claim are refused", unclaimed_ones_are_not_ignored },
    };

    check_rows(check, "backend", rows, ARRAY_LEN(rows));
}
