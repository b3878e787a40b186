/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a check on where a backend's objects are: which place that is, and what it makes of one that is not there. */
#include "impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const struct store_how plain = { 0 };

static bool
makes_directory(struct check *check, const char *path)
{
    check_makes(check);
    if (mkdir(path, 0700) == 0)
        return true;
    if (errno == ENOTDIR)
        check_skip(check, "its place is a file");
    else
        check_fail(check, "%s cannot be made: %m", path);
    return false;
}

/* In the location, if that is a directory; NULL: it is none. */
static const char *
inside(struct check *check)
{
    const struct bd_option *row = store_location_row(check);
    const char *location = store_location(check);
    char *path;

    if (row == NULL || row->type != BD_OPT_PATH || location == NULL)
        return NULL;
    path = check_alloc(check, strlen(location) + 64);
    sprintf(path, "%s/" CHECK_PREFIX "gone", location);
    check_remove(path); /* a row that ended early has left it */
    return path;
}

/* A place in which nothing is; NULL: none is known. */
static const char *
nowhere(struct check *check)
{
    return check->config->absent != NULL ? check->config->absent : inside(check);
}

static bool
must_know_nowhere(struct check *check, const char *place)
{
    if (place == NULL)
        check_skip(check, "say --absent=LOCATION, one whose container does not exist");
    return place != NULL;
}

/* Whatever it answers, it must not sound as if all were zeros. */
static void
expect_no_zeros(struct check *check, struct store *store)
{
    struct asked *get = asked_get(store, "a", 8), *head = asked_for(store, BD_HEAD_OBJECT, "a");
    struct asked *list = asked_list(store, "", NULL, 10);

    asked_run(get);
    asked_run(head);
    asked_run(list);
    if (get->status == BD_ABSENT || get->status == BD_OK)
        check_fail(check, "GET: expected a failure, came %s", status_word(get->status));
    if (head->status == BD_ABSENT || head->status == BD_OK)
        check_fail(check, "HEAD: expected a failure, came %s", status_word(head->status));
    if (list->status == BD_ABSENT || list->status == BD_OK)
        check_fail(check, "LIST: expected a failure, came %s", status_word(list->status));
}

static void
open_says_what_is_wrong(struct check *check)
{
    const char *place = nowhere(check);
    struct store *store;
    unsigned errors = 0;

    if (!must_know_nowhere(check, place))
        return;
    store = store_try(check, (struct store_how){ .location = place });
    if (store->layers[0].is_open) {
        expect_no_zeros(check, store);
        return;
    }
    for (unsigned i = 0; i < store->layer_count; i++)
        errors += store->layers[i].host != NULL ? atomic_load(&store->layers[i].host->errors) : 0;
    if (errors != 1)
        check_fail(check, "open failed with %s: expected one sentence at BD_ERROR, came %u",
                   status_word(store->layers[0].status), errors);
}

/* Its user says how. */
static void
taken_away_by_command(struct check *check)
{
    struct store *store = store_open(check, plain);
    struct asked *get;

    if (store == NULL || !put_text(store, "b", "was here"))
        return;
    check_command(check, "vanish", check->config->vanish);
    get = asked_get(store, "b", 16);
    if (asked_run(get) == BD_OK)
        check_refuse(check,
                     "--vanish: what was stored before it is still there; does it take the "
                     "bucket or directory away? %s",
                     check->config->vanish);
    expect_no_zeros(check, store);
}

/* Of a store that is a path, which can be taken away. */
static void
vanished_container_is_no_zeros(struct check *check)
{
    const char *place = inside(check);
    struct store *store;

    if (check->config->vanish != NULL) {
        taken_away_by_command(check);
        return;
    }
    if (place == NULL) {
        check_skip(check, "say --vanish=COMMAND, which takes its container away");
        return;
    }
    if (!makes_directory(check, place))
        return;
    store = store_open(check, (struct store_how){ .location = place });
    if (store != NULL)
        put_text(store, "b", "was here");
    check_remove(place);
    if (store != NULL)
        expect_no_zeros(check, store);
}

static bool
has_identity(const struct store *store)
{
    return store_info(store)->identity != NULL;
}

/* Of a store that outlives the instance: what is kept in memory alone is another one each time. */
static void
identity_stays(struct check *check)
{
    struct store *store = store_open(check, plain);
    char identity[1024];

    if (store == NULL || !has_identity(store) || !put_text(store, "a", "still here"))
        return;
    snprintf(identity, sizeof identity, "%s", store_info(store)->identity);
    store_close(store);
    store = store_open(check, plain);
    if (store == NULL)
        return;
    if (asked_run(asked_get(store, "a", 16)) == BD_ABSENT)
        check_skip(check, "its objects are gone when it is closed: each instance is another store");
    else if (strcmp(identity, store_info(store)->identity) != 0)
        check_fail(check, "expected \"%s\" again, came \"%s\"", identity,
                   store_info(store)->identity);
}

/* What other places have must be another one: it tells them apart. */
static void
identities_differ(struct check *check)
{
    const bool is_told = check->config->other != NULL && store_location_row(check) != NULL;
    const char *place = is_told ? check->config->other : inside(check);
    struct store *one, *two;

    if (place == NULL) {
        check_skip(check, "say --other=LOCATION, one whose container is another");
        return;
    }
    if (!is_told && !makes_directory(check, place))
        return;
    one = store_open(check, plain);
    two = one != NULL ? store_open(check, (struct store_how){ .location = place }) : NULL;
    if (two != NULL && has_identity(one) && has_identity(two)
        && strcmp(store_info(one)->identity, store_info(two)->identity) == 0)
        check_fail(check, "%s and %s have the same identity, \"%s\"", store_info(one)->display,
                   store_info(two)->display, store_info(one)->identity);
    stores_close(check);
    if (!is_told)
        check_remove(place);
}

void
check_places(struct check *check)
{
    static const struct check_row rows[] = {
        { "its identity is the same each time", identity_stays,
          "the same for every way to name the same store on this machine" },
        { "another place has another identity", identities_differ, "different for any other" },
        { "a container that does not exist is said to be missing", open_says_what_is_wrong,
          "On failure it logs one sentence that says what is wrong and what to do" },
    };

    check_rows(check, "backend", rows, ARRAY_LEN(rows));
}

void
check_vanishing(struct check *check)
{
    static const struct check_row rows[] = {
        { "a container that vanished is not taken for absent objects",
          vanished_container_is_no_zeros, "One that is gone is BD_INVALID or BD_FATAL" },
    };

    check_rows(check, "backend", rows, ARRAY_LEN(rows));
}
