/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a check on a backend's life: open, info, its threads, close. */
#include "impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { OPENERS = 4, OPEN_ROUNDS = 5 };

static const struct store_how plain = { 0 };

static bool
is_left_over(const struct asked *list)
{
    for (unsigned i = 0; i < list->entry_count; i++) {
        if (strncmp(list->entries[i].name, CHECK_PREFIX, strlen(CHECK_PREFIX)) != 0)
            return false;
    }
    return true;
}

/* What names the same place; of two paths, whatever their words. */
static bool
is_same_place(struct check *check, const char *one, const char *two)
{
    struct stat first, second;

    if (strcmp(one, two) == 0)
        return true;
    return store_location_row(check)->type == BD_OPT_PATH && stat(one, &first) == 0
           && stat(two, &second) == 0 && first.st_dev == second.st_dev
           && first.st_ino == second.st_ino;
}

/* Before anything is made: its user may have given one that is none. */
static void
must_be_another(struct check *check)
{
    const char *other = check->config->other, *location = store_location(check);
    struct store *store;

    if (other == NULL)
        return;
    if (store_location_row(check) == NULL)
        check_refuse(check, "--other: its backend takes no LOCATION, so there is no other one");
    if (location != NULL && is_same_place(check, location, other))
        check_refuse(check,
                     "--other=%s is LOCATION itself; name one whose bucket or directory is "
                     "another",
                     other);
    store = store_try(check, (struct store_how){ .location = other });
    if (!store->layers[0].is_open)
        check_refuse(check, "--other=%s cannot be opened: %s", other,
                     check_said_last()[0] != '\0' ? check_said_last() : "it does not say why");
    store_close(store);
}

/* The first open that can succeed: without it there is nothing to ask. */
static void
it_opens_an_empty_place(struct check *check)
{
    struct store *store = store_try(check, plain);
    struct asked *list;

    if (!store->layers[0].is_open && check_said_last()[0] != '\0')
        check_refuse(check, "it cannot be opened: %s", check_said_last());
    if (!store->layers[0].is_open)
        check_refuse(check, "it cannot be opened, and does not say why: open came back with %s",
                     status_word(store->layers[0].status));
    list = asked_for(store, BD_LIST, "");
    list->io->name = "";
    list->io->limit = 3;
    if (!asked_expect(list, BD_OK, "LIST"))
        return;
    if (list->entry_count > 0 && is_left_over(list))
        check_refuse(check,
                     "%s is not empty: a check that was killed has left objects like \"%.80s\"; "
                     "remove those whose names begin with " CHECK_PREFIX ", and ask again",
                     store_info(store)->display, list->entries[0].name);
    if (list->entry_count > 0)
        check_refuse(check,
                     "%s is not empty, it holds \"%.80s\"; name an empty LOCATION: what is made "
                     "there is removed again",
                     store_info(store)->display, list->entries[0].name);
    if (list->io->more != 0)
        check_fail(check, "LIST of an empty store: expected more = 0, came %u", list->io->more);
    must_be_another(check);
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

static void
it_works_without_statistics(struct check *check)
{
    struct store *store = store_open(check, (struct store_how){ .has_no_statistics = true });

    if (store != NULL && put_text(store, "a", "a"))
        expect_text(store, "a", "a");
}

/* ------------------------------------------------------------------ threads */

struct opener {
    struct instance *layer; /* closed */
    struct bd_lower *lower;
    struct check_host *host;
    enum bd_status status;
};

static void
open_and_close(void *arg)
{
    struct opener *mine = arg;
    const struct plugin *plugin = mine->layer->plugin;

    mine->status = BD_OK;
    for (unsigned i = 0; i < OPEN_ROUNDS && mine->status == BD_OK; i++) {
        struct bd_backend_info info = { .size = (uint32_t)sizeof info };
        void *handle = NULL;

        mine->status =
            plugin->backend.open(&mine->host->table, plugin->option_fields, mine->lower, &handle);
        if (mine->status != BD_OK)
            break;
        plugin->backend.info(handle, &info);
        plugin->backend.close(handle);
    }
}

static void
instances_open_at_once(struct check *check)
{
    struct opener *all = check_alloc(check, OPENERS * sizeof *all);

    for (unsigned i = 0; i < OPENERS; i++) {
        struct store *store = store_open(check, plain);

        if (store == NULL)
            return;
        all[i].layer = &store->layers[0];
        all[i].lower = store->layer_count > 1 ? &store->layers[1].lower : NULL;
        all[i].host = check_host_new(check, 0);
        all[i].layer->plugin->backend.close(all[i].layer->handle);
        all[i].layer->is_open = false;
    }
    check_threads(check, OPENERS, open_and_close, all, sizeof *all);
    for (unsigned i = 0; i < OPENERS; i++) {
        if (all[i].status != BD_OK)
            check_fail(check, "open beside others: expected OK, came %s",
                       status_word(all[i].status));
    }
}

/* What stops the daemon would interrupt them.  Those of host->thread_new are ours. */
static void
threads_block_signals(struct check *check)
{
    const struct timespec pause = { 0, 50000000 };
    struct threads_seen before;
    struct store *store;
    unsigned others, times = 0;

    check_pool(check); /* whose threads are no plugin's */
    check_threads_see(&before);
    store = store_open(check, plain);
    if (store == NULL || !put_text(store, "a", "a") || !expect_text(store, "a", "a"))
        return;
    others = check_thread_count() - before.count;
    /* While a thread begins its signals are not yet what they will be. */
    for (unsigned i = 0; i < 20 && times < 2 && others > (unsigned)check_counts.threads; i++) {
        nanosleep(&pause, NULL);
        times += check_threads_interruptible(&before) > 0;
    }
    if (times == 2)
        check_fail(check, "a thread that it has made blocks not all of SIGTERM, SIGINT, SIGHUP and "
                          "the like");
}

/* ------------------------------------------------------------------ the end */

static const struct timespec tenth = { 0, 100000000 };

/* Opened, used and closed; NULL: the row has failed. */
static struct store *
store_use(struct check *check)
{
    struct store *store = store_open(check, plain);

    if (store == NULL || !put_text(store, "a", "a") || !expect_text(store, "a", "a"))
        return NULL;
    store_close(store);
    return store;
}

/* After another use: what a library keeps for the whole process is open by now. */
static void
close_closes_files(struct check *check)
{
    struct files_seen before;
    char one[200] = "";
    unsigned count;

    check_files_see(&before);
    if (store_use(check) == NULL)
        return;
    for (unsigned i = 0; i < 10 && check_files_new(&before, one) > 0; i++)
        nanosleep(&tenth, NULL);
    count = check_files_new(&before, one);
    if (count > 0)
        check_fail(check, "%u file descriptor%s left open: %s%s", count,
                   count == 1 ? " is" : "s are", one, count == 1 ? "" : " and others");
}

static void
close_ends_everything(struct check *check)
{
    const struct check_counts *counts = &check_counts;
    unsigned threads;
    struct store *store;

    check_pool(check); /* whose threads are no plugin's */
    threads = check_thread_count();
    store = store_use(check);
    if (store == NULL)
        return;
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
    close_closes_files(check);
}

void
check_opening(struct check *check)
{
    static const struct check_row rows[] = {
        { "it opens, and its place is empty", it_opens_an_empty_place,
          "`more` = 0 says that the listing is complete" },
        { "it says what it is", it_says_what_it_is, "As identity not NULL" },
        { "info fills no more than the size that it is told", info_keeps_to_its_size,
          "as the host was compiled, zeroed; fill no more than that" },
        { "structs that are longer than it knows are left alone", longer_structs_are_left_alone,
          "Structs that the host passes carry their `size`" },
        { "two instances at once are independent", instances_are_independent,
          "One table for each instance (so two disks in one process have two)" },
        { "instances open and close at once on several threads", instances_open_at_once,
          "Instances may be opened and closed at the same time on several threads" },
        { "its threads block all signals", threads_block_signals,
          "A thread that is not made by host->thread_new must block all signals" },
        { "it works where there are no statistics", it_works_without_statistics,
          "when out of memory, or where there are no statistics" },
        { "close ends all that open and requests began", close_ends_everything,
          "may block; ends and joins what open began" },
    };

    check_rows(check, "backend", rows, ARRAY_LEN(rows));
}
