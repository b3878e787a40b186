/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a check on a backend's life: open, info, close, and a container that is not there. */
#include "impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const struct store_how plain = { 0 };

static void
it_opens_an_empty_place(struct check *check)
{
    struct store *store = store_open(check, plain);
    struct asked *list;

    if (store == NULL)
        return;
    list = asked_for(store, BD_LIST, "");
    list->io->name = "";
    list->io->limit = 3;
    if (!asked_expect(list, BD_OK, "LIST"))
        return;
    if (list->entry_count > 0)
        check_refuse(check,
                     "%s is not empty, it holds \"%.80s\"; name an empty LOCATION: what is made "
                     "there is removed again",
                     store_info(store)->display, list->entries[0].name);
    if (list->io->more != 0)
        check_fail(check, "LIST of an empty store: expected more = 0, came %u", list->io->more);
}

static void
it_says_what_it_is(struct check *check)
{
    struct store *store = store_open(check, plain);
    const struct bd_backend_info *info;

    if (store == NULL)
        return;
    info = store_info(store);
    if (info->identity == NULL || info->identity[0] == '\0')
        check_fail(check, "it has no identity: nobody can tell it from other stores");
    if (info->display == NULL || info->display[0] == '\0')
        check_fail(check, "it has no display: nobody can say what it is");
    if (info->container != NULL
        && (info->container[0] == '\0' || info->container[strlen(info->container) - 1] != '/'))
        check_fail(check, "expected a container like \"bucket/\", came \"%s\"", info->container);
}

static void
info_keeps_to_its_size(struct check *check)
{
    store_open(check, (struct store_how){ .is_guarded = true });
}

static void
longer_structs_are_left_alone(struct check *check)
{
    struct store *store = store_open(check, (struct store_how){ .extra = CHECK_CANARY_BYTES });
    struct asked *asked[4];

    if (store == NULL)
        return;
    asked[0] = asked_put(store, "a", "later", 5);
    asked[1] = asked_get(store, "a", 8);
    asked[2] = asked_list(store, "", NULL, 10);
    asked[3] = asked_for(store, BD_DELETE, "a");
    for (unsigned i = 0; i < ARRAY_LEN(asked); i++) {
        if (!asked_expect(asked[i], BD_OK, "a request that is longer than it knows"))
            return;
        if (!check_canary_is_whole(((struct shown *)asked[i]->io)->canary))
            check_fail(check, "it wrote behind the part of a request that it can know");
    }
    if (!check_canary_is_whole(store->layers[0].host->canary)
        || !check_canary_is_whole(store->layers[0].info_canary))
        check_fail(check, "it wrote behind the part of the host table, or info, that it can know");
    asked_gave(asked[1], "later", 5, "GET");
}

static void
instances_are_independent(struct check *check)
{
    struct store *one = store_open(check, plain);
    struct store *two = one != NULL ? store_open(check, plain) : NULL;

    if (two == NULL || !put_text(one, "one", "1") || !put_text(two, "two", "2")
        || !expect_text(one, "one", "1"))
        return;
    store_close(one);
    expect_text(two, "two", "2");
}

/* Of a store that outlives the instance: what is kept in memory alone is another one each time. */
static void
identity_stays(struct check *check)
{
    struct store *store = store_open(check, plain);
    char identity[1024];

    if (store == NULL || !put_text(store, "a", "still here"))
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

/* ------------------------------------------------------------------ containers that are not there */

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

/* Of a store that is a path, which can be taken away. */
static void
vanished_container_is_no_zeros(struct check *check)
{
    const char *place = inside(check);
    struct store *store;

    if (place == NULL) {
        check_skip(check, "its container cannot be taken away from here");
        return;
    }
    if (mkdir(place, 0700) != 0) {
        check_fail(check, "%s cannot be made: %m", place);
        return;
    }
    store = store_open(check, (struct store_how){ .location = place });
    if (store != NULL)
        put_text(store, "b", "was here");
    check_remove(place);
    if (store != NULL)
        expect_no_zeros(check, store);
}

/* ------------------------------------------------------------------ the end */

static void
close_ends_everything(struct check *check)
{
    const struct timespec tenth = { 0, 100000000 };
    const struct check_counts *counts = &check_counts;
    unsigned threads;
    struct store *store;

    check_pool(check); /* whose threads are no plugin's */
    threads = check_thread_count();
    store = store_open(check, plain);
    if (store == NULL || !put_text(store, "a", "a") || !expect_text(store, "a", "a"))
        return;
    store_close(store);
    if (atomic_load(&counts->timers) != 0)
        check_fail(check, "a timer that it set still runs");
    if (atomic_load(&counts->threads) != 0)
        check_fail(check, "%d threads of thread_new were not joined",
                   atomic_load(&counts->threads));
    if (atomic_load(&counts->children) != 0)
        check_fail(check, "%d child requests were not freed", atomic_load(&counts->children));
    if (atomic_load(&counts->secrets) != 0)
        check_fail(check, "%d secrets were not freed", atomic_load(&counts->secrets));
    for (unsigned i = 0; i < 10 && check_thread_count() > threads; i++)
        nanosleep(&tenth, NULL);
    if (check_thread_count() > threads)
        check_fail(check, "%u threads are left", check_thread_count() - threads);
    nanosleep(&tenth, NULL);
    for (unsigned i = 0; i < store->layer_count; i++) {
        if (atomic_load(&store->layers[i].host->calls_after_close) > 0)
            check_fail(check, "it calls the host after close");
    }
}

void
check_opening(struct check *check)
{
    static const struct check_row rows[] = {
        { "it opens, and its place is empty", it_opens_an_empty_place },
        { "it says what it is", it_says_what_it_is },
        { "info fills no more than the size that it is told", info_keeps_to_its_size },
        { "structs that are longer than it knows are left alone", longer_structs_are_left_alone },
        { "two instances at once are independent", instances_are_independent },
        { "its identity is the same each time", identity_stays },
        { "a container that does not exist is said to be missing", open_says_what_is_wrong },
        { "a container that vanished is not taken for absent objects",
          vanished_container_is_no_zeros },
        { "close ends all that open and requests began", close_ends_everything },
    };

    check_rows(check, "backend", rows, ARRAY_LEN(rows));
}
