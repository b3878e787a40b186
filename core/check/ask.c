/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of a check: made, submitted, waited for, and what the plugin does to them. */
#include "impl.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* One for all: completions are few. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards `all`, and what waits */
static pthread_cond_t completed;                         /* of CLOCK_MONOTONIC */
static pthread_once_t completed_once = PTHREAD_ONCE_INIT;
static struct asked *all;

static const size_t shown_bytes =
    (sizeof(struct shown) + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);

const char *
status_word(enum bd_status status)
{
    static const char *const words[] = {
        "OK",      "ABSENT",  "RETRY",       "UNKNOWN", "CONDITION", "DENIED", "FULL",
        "CORRUPT", "INVALID", "UNSUPPORTED", "FATAL",   "DECLINED",  "BUSY",
    };

    return (unsigned)status < ARRAY_LEN(words) ? words[status] : "a number that is no status";
}

const char *
op_word(uint32_t op)
{
    static const char *const words[] = {
        [BD_GET] = "GET",       [BD_HEAD_OBJECT] = "HEAD",        [BD_PUT] = "PUT",
        [BD_DELETE] = "DELETE", [BD_DELETE_MANY] = "DELETE_MANY", [BD_LIST] = "LIST",
    };

    return op < ARRAY_LEN(words) && words[op] != NULL ? words[op] : "an operation nobody knows";
}

/* ------------------------------------------------------------------ making them */

static void
completed_init(void)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&completed, &attributes);
    pthread_condattr_destroy(&attributes);
}

struct asked *
asked_new(struct instance *instance, struct shown *shown)
{
    const uint32_t scratch_bytes = instance->plugin->backend.scratch_bytes;
    struct asked *asked = calloc(1, sizeof *asked);

    pthread_once(&completed_once, completed_init);
    if (asked != NULL && shown == NULL) {
        shown = calloc(1, shown_bytes + scratch_bytes + CHECK_CANARY_BYTES);
        asked->shown = shown; /* ours to free */
    }
    if (asked == NULL || shown == NULL)
        check_refuse(instance->check, "out of memory");
    asked->instance = instance;
    asked->io = &shown->io;
    shown->owner = asked;
    shown->io.size = (uint32_t)sizeof shown->io + instance->extra;
    shown->io.scratch = (char *)shown + shown_bytes;
    shown->io.attr_stride = sizeof(struct bd_attr);
    check_canary_set(shown->canary);
    if (asked->shown != NULL)
        check_canary_set((char *)shown->io.scratch + scratch_bytes);
    pthread_mutex_lock(&lock);
    asked->next = all;
    all = asked;
    pthread_mutex_unlock(&lock);
    return asked;
}

void
asked_free_all(void)
{
    while (all != NULL) {
        struct asked *asked = all;

        all = asked->next;
        attrs_clear(&asked->attrs);
        free(asked->entries);
        free(asked->shown);
        free(asked);
    }
}

const char *
name_of(const struct check *check, const char *leaf, object_text out)
{
    snprintf(out, sizeof(object_text), CHECK_PREFIX "%u-%u-%s", check->group, check->ordinal, leaf);
    return out;
}

static const char *
name_kept(struct check *check, const char *leaf)
{
    return name_of(check, leaf, check_alloc(check, sizeof(object_text)));
}

struct asked *
asked_for(struct store *store, uint32_t op, const char *leaf)
{
    struct instance *instance = &store->layers[0];
    struct asked *asked = asked_new(instance, NULL);

    asked->io->op = op;
    asked->io->name = name_kept(instance->check, leaf);
    return asked;
}

struct asked *
asked_put(struct store *store, const char *leaf, const void *body, size_t bytes)
{
    struct asked *asked = asked_for(store, BD_PUT, leaf);

    asked->io->body = body;
    asked->io->body_bytes = bytes;
    asked->io->media_type = "application/octet-stream";
    return asked;
}

struct asked *
asked_get(struct store *store, const char *leaf, size_t cap)
{
    struct asked *asked = asked_for(store, BD_GET, leaf);
    char *data = check_alloc(store->layers[0].check, cap + CHECK_CANARY_BYTES);

    asked->data = asked->io->data = data;
    asked->io->cap = cap;
    check_canary_set(data + cap);
    return asked;
}

struct asked *
asked_list(struct store *store, const char *leaf, const char *after_leaf, uint32_t limit)
{
    struct asked *asked = asked_for(store, BD_LIST, leaf);
    const uint32_t most = store_info(store)->list_max;

    asked->io->limit = most != 0 && most < limit ? most : limit;
    if (after_leaf != NULL)
        asked->io->start_after = name_kept(store->layers[0].check, after_leaf);
    return asked;
}

struct asked *
asked_paged(struct store *store, uint32_t op, const char *leaf, size_t bytes)
{
    struct instance *instance = &store->layers[0];
    const size_t scratch_bytes = instance->plugin->backend.scratch_bytes;
    const size_t align = alignof(max_align_t);
    const size_t room =
        CHECK_CANARY_BYTES + shown_bytes + (scratch_bytes + align - 1) / align * align;
    struct asked *asked = asked_new(instance, check_guarded(instance->check, room));
    void *data = check_guarded(instance->check, bytes);

    asked->io->op = op;
    asked->io->name = name_kept(instance->check, leaf);
    if (op == BD_PUT) {
        asked->io->body = data;
        asked->io->body_bytes = bytes;
    } else {
        asked->io->data = data;
        asked->io->cap = bytes;
    }
    asked->data = data;
    return asked;
}

/* ------------------------------------------------------------------ the way there and back */

void
asked_submit(struct asked *asked)
{
    struct instance *instance = asked->instance;
    const uint64_t limit_ns = instance->check->config->limit_ms * NS_PER_MS;
    struct bd_io *io = asked->io;

    if (io->op == BD_PUT)
        check_makes(instance->check);
    if (io->deadline_ns == 0)
        io->deadline_ns = clock_now_ns() + limit_ns / 3;
    for (uint32_t i = 0; io->op == BD_DELETE_MANY && i < io->name_count; i++)
        io->statuses[i] = UINT32_MAX;
    memcpy(&asked->sent, io, sizeof *io);
    instance->plugin->backend.submit(instance->handle, io);
}

/* In what it asks; results are the plugin's. */
static bool
is_changed(const struct bd_io *io, const struct bd_io *sent)
{
    struct bd_io now;

    memcpy(&now, io, sizeof now);
    now.len = sent->len;
    now.object_bytes = sent->object_bytes;
    now.more = sent->more;
    now.retry_after_ms = sent->retry_after_ms;
    return memcmp(&now, sent, sizeof now) != 0;
}

void
asked_complete(struct bd_io *io, enum bd_status status)
{
    struct asked *asked = asked_of(io);
    struct check_host *host = asked->instance->host;

    if (atomic_load(&host->is_closed))
        atomic_fetch_add(&host->calls_after_close, 1);
    pthread_mutex_lock(&lock);
    if (atomic_fetch_add(&asked->completions, 1) == 0) {
        asked->is_changed = is_changed(io, &asked->sent);
        asked->status = status;
        asked->ended_ns = clock_now_ns();
        if (asked->locks_when_complete) {
            check_lock(asked->data,
                       asked->io->op == BD_PUT ? asked->io->body_bytes : asked->io->cap, true);
            check_lock(asked_of(io)->io, shown_bytes, true);
        }
        if (asked->parent != NULL)
            pool_submit(check_pool(asked->instance->check), &asked->task);
        pthread_cond_broadcast(&completed);
    }
    pthread_mutex_unlock(&lock);
}

enum bd_status
asked_wait(struct asked *asked)
{
    struct check *check = asked->instance->check;
    const uint64_t limit_ns = check->config->limit_ms * NS_PER_MS;
    const uint64_t patience_ns = limit_ns * 2 / 3;
    struct timespec until;
    bool is_late = false;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(patience_ns / NS_PER_S);
    until.tv_nsec += (long)(patience_ns % NS_PER_S);
    if (until.tv_nsec >= (long)NS_PER_S) {
        until.tv_nsec -= (long)NS_PER_S;
        until.tv_sec++;
    }
    pthread_mutex_lock(&lock);
    while (atomic_load(&asked->completions) == 0 && !is_late)
        is_late = pthread_cond_timedwait(&completed, &lock, &until) == ETIMEDOUT;
    pthread_mutex_unlock(&lock);
    if (atomic_load(&asked->completions) > 0)
        return asked->status;
    check_fail(check, "a request must complete by its deadline, and had not %llu ms after it",
               (unsigned long long)((clock_now_ns() - asked->sent.deadline_ns) / NS_PER_MS));
    check_abandon(check);
}

enum bd_status
asked_run(struct asked *asked)
{
    asked_submit(asked);
    return asked_wait(asked);
}

static bool
is_to_repeat(enum bd_status status)
{
    return status == BD_RETRY || status == BD_BUSY;
}

/* As if it had never been submitted. */
static void
results_forget(struct asked *asked)
{
    struct bd_io *io = asked->io;

    attrs_clear(&asked->attrs);
    asked->has_tag = asked->has_encoding = false;
    asked->entry_count = asked->calls_after_enough = 0;
    asked->wrong = NULL;
    asked->why.text[0] = '\0';
    memset(io->scratch, 0, asked->instance->plugin->backend.scratch_bytes);
    io->deadline_ns = 0;
    io->len = 0;
    io->object_bytes = 0;
    io->more = io->retry_after_ms = 0;
    atomic_store(&asked->completions, 0);
}

enum bd_status
asked_settle(struct asked *asked)
{
    const struct check *check = asked->instance->check;
    const uint64_t until_ns = check->row_began_ns + check->config->limit_ms * NS_PER_MS / 3;
    enum bd_status status = asked_wait(asked);
    uint64_t pause_ms = 10;

    for (; is_to_repeat(status); pause_ms *= 2) {
        const uint64_t named_ms = asked->io->retry_after_ms;
        const uint64_t ms = named_ms > pause_ms ? named_ms : pause_ms;
        const struct timespec pause = { (time_t)(ms / 1000), (long)(ms % 1000 * NS_PER_MS) };

        if (clock_now_ns() + ms * NS_PER_MS >= until_ns)
            break;
        nanosleep(&pause, NULL);
        results_forget(asked);
        status = asked_run(asked);
    }
    return status;
}

bool
asked_expect_ended(struct asked *asked, enum bd_status status, const char *what)
{
    const enum bd_status came = asked_settle(asked);
    struct check *check = asked->instance->check;

    if (came != status)
        check_fail(check, "%s: expected %s, came %s (%u)%s%s", what, status_word(status),
                   status_word(came), (unsigned)came, asked->why.text[0] != '\0' ? ": " : "",
                   asked->why.text);
    else if (came == BD_OK && asked->wrong != NULL)
        check_fail(check, "%s: %s", what, asked->wrong);
    else
        return true;
    return false;
}

bool
asked_expect(struct asked *asked, enum bd_status status, const char *what)
{
    asked_submit(asked);
    return asked_expect_ended(asked, status, what);
}

/* The page that follows this one; NULL: the listing is complete, or the row has failed. */
static struct asked *
page_after(const struct asked *page)
{
    struct check *check = page->instance->check;
    const char *last = page->entry_count > 0 ? page->entries[page->entry_count - 1].name : NULL;
    const char *before = page->io->start_after;
    struct asked *next;

    if (page->entry_count > page->io->limit)
        check_fail(check, "LIST: expected at most %u names, came %u", page->io->limit,
                   page->entry_count);
    if (page->io->more == 0)
        return NULL;
    if (last == NULL || (before != NULL && strcmp(last, before) <= 0)) {
        check_fail(check, "LIST: more = %u without a name after the last: it would never end",
                   page->io->more);
        return NULL;
    }
    next = asked_new(page->instance, NULL);
    next->io->op = BD_LIST;
    next->io->name = page->io->name;
    next->io->limit = page->io->limit;
    next->io->start_after = strcpy(check_alloc(check, strlen(last) + 1), last);
    return next;
}

bool
asked_list_whole(struct asked *first)
{
    for (struct asked *page = first; page != NULL; page = page_after(page)) {
        if (!asked_expect(page, BD_OK, "LIST"))
            return false;
        for (unsigned i = 0; i < page->entry_count && page != first; i++)
            asked_list_add(first->io, page->entries[i].name, page->entries[i].bytes,
                           page->entries[i].has_tag ? page->entries[i].tag : NULL);
    }
    return !first->instance->check->is_failed;
}

bool
asked_gave(struct asked *asked, const void *bytes, size_t count, const char *what)
{
    struct check *check = asked->instance->check;

    if (asked->io->len != count)
        check_fail(check, "%s: expected len %zu, came %zu", what, count, asked->io->len);
    else if (count > 0 && memcmp(asked->data, bytes, count) != 0)
        check_fail(check, "%s: the bytes are not those that were put", what);
    else
        return true;
    return false;
}

bool
put_text(struct store *store, const char *leaf, const char *text)
{
    return asked_expect(asked_put(store, leaf, text, strlen(text)), BD_OK, "PUT");
}

bool
expect_text(struct store *store, const char *leaf, const char *text)
{
    struct asked *get = asked_get(store, leaf, strlen(text) + 16);

    return asked_expect(get, BD_OK, "GET") && asked_gave(get, text, strlen(text), "GET");
}
