/* SPDX-License-Identifier: Apache-2.0 */
/* What removes all that a check has made.  Nothing of it is a row: what can be removed is. */
#include "impl.h"

#include <ftw.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int
remove_one(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
    (void)stat, (void)type, (void)ftw;
    return remove(path);
}

void
check_remove(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static unsigned
page_remove(struct store *store, const struct asked *list)
{
    unsigned left = 0;
    struct asked **asked =
        check_alloc(store->layers[0].check, (list->entry_count + 1) * sizeof(struct asked *));

    for (unsigned i = 0; i < list->entry_count; i++) {
        asked[i] = asked_for(store, BD_DELETE, "");
        asked[i]->io->name = list->entries[i].name;
        asked_submit(asked[i]);
    }
    for (unsigned i = 0; i < list->entry_count; i++)
        left += asked_wait(asked[i]) != BD_OK;
    return left;
}

/* False: some are left, or may be. */
static bool
objects_remove(struct store *store)
{
    char first[BD_NAME_BYTES_MAX + 1] = "";
    struct asked *list;

    for (;;) {
        list = asked_for(store, BD_LIST, "");
        list->io->name = CHECK_PREFIX;
        list->io->limit = 100;
        asked_run(list);
        if (list->status != BD_OK || list->entry_count == 0)
            return list->status == BD_OK;
        if (page_remove(store, list) > 0 || strcmp(first, list->entries[0].name) == 0)
            return false; /* what it removes is listed again */
        strcpy(first, list->entries[0].name);
    }
}

/* A store that is a directory may keep others inside it that the names of objects had.  False: it is none, or they stay. */
static bool
directories_remove(struct check *check)
{
    const struct bd_option *row = store_location_row(check);
    const char *place = store_location(check);
    char pattern[4096];
    bool is_gone = true;
    glob_t found;

    if (row == NULL || row->type != BD_OPT_PATH || place == NULL)
        return false;
    snprintf(pattern, sizeof pattern, "%s/" CHECK_PREFIX "*", place);
    if (glob(pattern, GLOB_NOSORT, NULL, &found) != 0)
        return true;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        check_remove(found.gl_pathv[i]);
        is_gone = is_gone && access(found.gl_pathv[i], F_OK) != 0;
    }
    globfree(&found);
    return is_gone;
}

static int report_fd;

static void
end_late(int number)
{
    static const char line[] =
        "Nobjects whose names begin with " CHECK_PREFIX " may be left in the store\n";

    (void)number;
    _exit(write(report_fd, line, sizeof line - 1) > 0 ? 0 : 1);
}

/* A store that may answer nothing is asked to remove things, and not waited for longer. */
static void
limit_time(const struct check *check)
{
    const uint64_t us = check->config->limit_ms * 1000 / 2;
    const struct itimerval timer = { .it_value = { (time_t)(us / 1000000),
                                                   (suseconds_t)(us % 1000000) } };

    report_fd = check->report;
    signal(SIGALRM, end_late);
    setitimer(ITIMER_REAL, &timer, NULL);
}

void
check_tidy(struct check *check)
{
    struct store *store;
    const struct timespec pause = { 0, 200000000 };
    char display[300];
    bool is_left;

    if (check->is_held_up)
        limit_time(check);
    store = store_try(check, (struct store_how){ 0 });
    if (!store->layers[0].is_open) {
        if (check->is_held_up)
            check_note(check,
                       "objects whose names begin with " CHECK_PREFIX " may be left in the store");
        return;
    }
    is_left = !objects_remove(store);
    nanosleep(&pause, NULL); /* what was under way when its process was killed may be done now */
    if (!check->is_held_up || !is_left)
        is_left = !objects_remove(store);
    snprintf(display, sizeof display, "%s", store_info(store)->display);
    stores_close(check);
    check_memory_free(check);
    if (!directories_remove(check) && is_left)
        check_note(check, "left in %s: objects whose names begin with " CHECK_PREFIX, display);
}
