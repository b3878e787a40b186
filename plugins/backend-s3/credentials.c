/* SPDX-License-Identifier: Apache-2.0 */
/* The credentials in use: shared by the requests, replaced by a thread before they expire.
 *
 * `present` is one immutable block of secret memory with a count of its users.  A renewal puts
 * another in its place; the old block goes when the last request that was signed with it gives
 * it back.
 *
 * The thread exists only if looking again may give other keys.  It renews
 *
 *   when due      well before they expire, with some jitter, so that a fleet does not ask at once
 *   when refused  at once, but not again within REFUSED_INTERVAL_NS: a store that refuses
 *                 everything must not make us ask as fast as we can
 *   after failing 1 s, 2 s, 4 s ... 60 s later
 *
 * It waits by host->now_ns, which goes on while the machine sleeps; the condition's clock
 * does not, so no wait is longer than WAIT_MAX_NS. */
#include "credentials_parts.h"

#include <curl/curl.h>

#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define NS_PER_MS 1000000u
#define NS_PER_S 1000000000u

#define MARGIN_S 300 /* renew so long before the end, or an eighth of the lifetime */
#define REFUSED_INTERVAL_NS (10ull * NS_PER_S)
#define BACKOFF_MIN_MS 1000u
#define BACKOFF_MAX_MS 60000u
#define WAIT_MAX_NS (60ull * NS_PER_S)
#define DUE_NEVER UINT64_MAX

/* At open: a service that starts together with us gets a second and a third chance, if it
 * was quick to fail. */
#define OPEN_TRIES 3u
#define OPEN_PAUSE_MS 500
#define OPEN_LIMIT_NS (4ull * NS_PER_S)

struct shared {
    struct credentials credentials; /* first: the users' pointer is a pointer to us */
    unsigned users;                 /* by the store's lock; the store itself is one */
    char text[];                    /* the strings */
};

struct credential_store {
    pthread_mutex_t lock; /* guards everything down to is_closing, and the counts of users */
    pthread_cond_t wake;  /* for the thread: is_refused, or is_closing */
    struct shared *present;
    bool is_refused; /* present ones were, and nobody has looked since */
    bool is_closing;

    const struct bd_host *host; /* from here on: fixed after open */
    source_look *source;
    bool is_renewable;
    struct bd_thread *thread;
    int cancel_fd; /* an eventfd: readable from the beginning of close */

    struct lookup lookup; /* open's, then the thread's */
};

/* ------------------------------------------------------------------ sharing */

static size_t
text_bytes(const char *text)
{
    return text == NULL ? 0 : strlen(text) + 1;
}

/* Copy a text to `*at`, and move that behind it. */
static const char *
text_put(char **at, const char *text)
{
    char *copy = *at;

    if (text == NULL)
        return NULL;
    memcpy(copy, text, text_bytes(text));
    *at += text_bytes(text);
    return copy;
}

/* NULL: out of memory. */
static struct shared *
shared_new(const struct bd_host *host, const struct found *found)
{
    const struct keys *keys = &found->keys;
    struct shared *shared =
        host->secret_alloc(sizeof *shared + text_bytes(keys->access_id) + text_bytes(keys->secret)
                           + text_bytes(keys->token) + text_bytes(found->source));
    char *at;

    if (shared == NULL)
        return NULL;
    at = shared->text;
    shared->users = 1;
    shared->credentials = (struct credentials){
        .access_id = text_put(&at, keys->access_id),
        .secret = text_put(&at, keys->secret),
        .token = text_put(&at, keys->token),
        .source = text_put(&at, found->source),
        .expires = keys->expires,
    };
    return shared;
}

static void
shared_release(struct credential_store *store, struct shared *shared)
{
    bool is_last;

    pthread_mutex_lock(&store->lock);
    assert(shared->users > 0);
    is_last = --shared->users == 0;
    pthread_mutex_unlock(&store->lock);
    if (is_last)
        store->host->secret_free(shared);
}

const struct credentials *
credentials_get(struct credential_store *store)
{
    struct shared *shared;

    pthread_mutex_lock(&store->lock);
    shared = store->present;
    shared->users++;
    pthread_mutex_unlock(&store->lock);
    return &shared->credentials;
}

void
credentials_release(struct credential_store *store, const struct credentials *credentials)
{
    shared_release(store, (struct shared *)(uintptr_t)credentials);
}

bool
credentials_refused(struct credential_store *store, const struct credentials *credentials)
{
    if (!store->is_renewable)
        return false;
    pthread_mutex_lock(&store->lock);
    if (credentials == &store->present->credentials) {
        store->is_refused = true;
        pthread_cond_signal(&store->wake);
    }
    pthread_mutex_unlock(&store->lock);
    return true;
}

/* ------------------------------------------------------------------ looking */

static void
date_format(time_t time_, char *out, size_t out_bytes)
{
    struct tm tm;

    if (gmtime_r(&time_, &tm) == NULL || strftime(out, out_bytes, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        snprintf(out, out_bytes, "?");
}

/* What has expired already is no find: a service that lags, or a clock that is wrong. */
static enum bd_status
expiry_check(struct lookup *lookup, struct found *found)
{
    char date[32];

    if (found->keys.expires == 0 || found->keys.expires > time(NULL))
        return BD_OK;
    date_format(found->keys.expires, date, sizeof date);
    keys_clear(&found->keys);
    return lookup_failed(lookup, BD_DENIED,
                         "%s gave credentials that expired at %s: is this machine's clock right?",
                         found->source, date);
}

static enum bd_status
look_first(struct credential_store *store, struct found *found)
{
    struct lookup *lookup = &store->lookup;
    uint64_t begin_ns = store->host->now_ns();
    enum bd_status status;

    for (unsigned try = 1;; try++) {
        status = sources_look(lookup, found, &store->source);
        if (status == BD_OK)
            status = expiry_check(lookup, found);
        if (status != BD_RETRY || try == OPEN_TRIES
            || store->host->now_ns() - begin_ns > OPEN_LIMIT_NS)
            break;
        keys_clear(&found->keys);
        poll(NULL, 0, OPEN_PAUSE_MS);
    }
    return status;
}

/* ------------------------------------------------------------------ renewal */

static uint64_t
random_below(const struct bd_host *host, uint64_t limit)
{
    uint64_t number;

    if (limit == 0)
        return 0;
    host->random(&number, sizeof number);
    return number % limit;
}

/* When to renew what expires then: MARGIN_S or an eighth of the lifetime before, but not
 * before half of it. */
static uint64_t
due_after(const struct bd_host *host, time_t expires)
{
    uint64_t now_ns = host->now_ns(), after_s, left_s, margin_s;
    time_t now = time(NULL);

    if (expires == 0)
        return DUE_NEVER;
    left_s = expires > now ? (uint64_t)(expires - now) : 0;
    margin_s = left_s / 8 > MARGIN_S ? left_s / 8 : MARGIN_S;
    after_s = left_s > 2 * margin_s ? left_s - margin_s : left_s / 2;
    if (after_s > 100 * 365 * 86400ull) /* no overflow below */
        return DUE_NEVER;
    if (after_s == 0)
        after_s = 1;
    return now_ns + after_s * NS_PER_S - random_below(host, after_s * NS_PER_S / 16);
}

/* How long to wait after so many failures; not beyond the end, which is to be told when it
 * comes. */
static uint64_t
backoff_ns(const struct bd_host *host, unsigned failures, time_t expires)
{
    uint64_t ms = BACKOFF_MAX_MS, left_ms;
    time_t now = time(NULL);

    if (failures <= 6)
        ms = (uint64_t)BACKOFF_MIN_MS << (failures - 1);
    if (ms > BACKOFF_MAX_MS)
        ms = BACKOFF_MAX_MS;
    ms -= random_below(host, ms / 8);
    left_ms = expires > now ? (uint64_t)(expires - now) * 1000 : ms;
    return (ms < left_ms ? ms : left_ms) * NS_PER_MS;
}

static void
wait_locked(struct credential_store *store, uint64_t ns)
{
    struct timespec until;

    if (ns > WAIT_MAX_NS)
        ns = WAIT_MAX_NS;
    clock_gettime(CLOCK_MONOTONIC, &until);
    ns += (uint64_t)until.tv_nsec;
    until.tv_sec += (time_t)(ns / NS_PER_S);
    until.tv_nsec = (long)(ns % NS_PER_S);
    pthread_cond_timedwait(&store->wake, &store->lock, &until);
}

/* What the log is to say about a row of failures, once each. */
struct trouble {
    unsigned failures;
    bool expiry_was_told;
};

static void
trouble_tell(struct credential_store *store, struct trouble *trouble)
{
    const struct bd_host *host = store->host;
    const struct credentials *present =
        &store->present->credentials; /* only this thread changes it */
    char date[32];

    date_format(present->expires, date, sizeof date);
    if (present->expires != 0 && present->expires <= time(NULL)) {
        if (!trouble->expiry_was_told)
            host->log(host, BD_ERROR,
                      "the credentials of %s expired at %s and cannot be renewed; trying on: %s",
                      present->source, date, store->lookup.why);
        trouble->expiry_was_told = true;
    } else if (trouble->failures == 1) {
        host->log(host, BD_WARNING, "the credentials of %s cannot be renewed; trying on%s%s: %s",
                  present->source, present->expires != 0 ? ", the old ones are good until " : "",
                  present->expires != 0 ? date : "", store->lookup.why);
    }
}

/* Look once, and put what is found in place.  Gives the time of the next look. */
static uint64_t
renew(struct credential_store *store, struct trouble *trouble)
{
    const struct bd_host *host = store->host;
    struct found found = { 0 };
    struct shared *fresh = NULL, *old;
    enum bd_status status = store->source(&store->lookup, &found);
    uint64_t due_ns;

    if (status == BD_ABSENT)
        lookup_failed(&store->lookup, status, "nothing is there any more");
    if (status == BD_OK)
        status = expiry_check(&store->lookup, &found);
    if (status == BD_OK) {
        fresh = shared_new(host, &found);
        if (fresh == NULL)
            lookup_failed(&store->lookup, BD_FATAL, "out of memory");
    }
    keys_clear(&found.keys);
    if (fresh == NULL) {
        if (lookup_is_cancelled(&store->lookup))
            return DUE_NEVER;
        trouble->failures++;
        trouble_tell(store, trouble);
        return host->now_ns()
               + backoff_ns(host, trouble->failures, store->present->credentials.expires);
    }
    due_ns = due_after(host, fresh->credentials.expires);
    host->log(host, trouble->failures > 0 ? BD_INFO : BD_DEBUG,
              "the credentials of %s were renewed: access id %s", fresh->credentials.source,
              fresh->credentials.access_id);
    *trouble = (struct trouble){ 0 };
    pthread_mutex_lock(&store->lock);
    old = store->present;
    store->present = fresh;
    store->is_refused = false; /* those were the old ones */
    pthread_mutex_unlock(&store->lock);
    shared_release(store, old);
    return due_ns;
}

static void
renewal_run(void *arg)
{
    struct credential_store *store = arg;
    const struct bd_host *host = store->host;
    uint64_t due_ns = due_after(host, store->present->credentials.expires), refused_due_ns = 0;
    struct trouble trouble = { 0 };

    pthread_mutex_lock(&store->lock);
    while (!store->is_closing) {
        uint64_t now_ns = host->now_ns(), at_ns = due_ns;

        if (store->is_refused && refused_due_ns < at_ns)
            at_ns = refused_due_ns;
        if (now_ns < at_ns) {
            wait_locked(store, at_ns - now_ns);
            continue;
        }
        store->is_refused = false;
        pthread_mutex_unlock(&store->lock);
        due_ns = renew(store, &trouble);
        refused_due_ns = host->now_ns() + REFUSED_INTERVAL_NS;
        pthread_mutex_lock(&store->lock);
    }
    pthread_mutex_unlock(&store->lock);
}

/* ------------------------------------------------------------------ lifecycle */

static void
open_tell(const struct bd_host *host, const struct credentials *present, bool is_absent)
{
    char date[32] = "";

    if (present->access_id == NULL) {
        host->log(host, BD_INFO,
                  is_absent ? "no credentials were found: requests are anonymous"
                            : "requests are anonymous, as asked for");
        return;
    }
    if (present->expires != 0)
        date_format(present->expires, date, sizeof date);
    host->log(host, BD_DEBUG, "credentials of %s: access id %s%s%s", present->source,
              present->access_id, present->expires != 0 ? ", until " : "", date);
}

static void
store_free(struct credential_store *store)
{
    pthread_cond_destroy(&store->wake);
    pthread_mutex_destroy(&store->lock);
    if (store->cancel_fd != -1)
        close(store->cancel_fd);
    free(store);
}

enum bd_status
credentials_open(const struct bd_host *host, const struct credential_options *options,
                 struct credential_store **out)
{
    struct credential_store *store = calloc(1, sizeof *store);
    struct found found = { 0 };
    enum bd_status status;
    pthread_condattr_t attr;

    if (store == NULL) {
        host->log(host, BD_ERROR, "out of memory for credentials");
        return BD_FATAL;
    }
    /* Counted by libcurl.  Never taken back: plugins are not unloaded. */
    curl_global_init(CURL_GLOBAL_DEFAULT);
    pthread_mutex_init(&store->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&store->wake, &attr);
    pthread_condattr_destroy(&attr);
    store->host = host;
    store->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    store->lookup =
        (struct lookup){ .host = host, .options = options, .cancel_fd = store->cancel_fd };
    if (store->cancel_fd == -1) {
        status = lookup_failed(&store->lookup, BD_FATAL, "no event descriptor for credentials: %m");
        goto fail;
    }
    status = look_first(store, &found);
    if (status != BD_OK && status != BD_ABSENT)
        goto fail;
    if (status == BD_ABSENT)
        snprintf(found.source, sizeof found.source, "none");
    store->present = shared_new(host, &found);
    if (store->present == NULL) {
        status = lookup_failed(&store->lookup, BD_FATAL, "out of memory for credentials");
        goto fail;
    }
    open_tell(host, &store->present->credentials, status == BD_ABSENT);
    store->lookup.is_renewal = true;
    store->is_renewable = status == BD_OK && found.is_renewable;
    keys_clear(&found.keys);
    if (store->is_renewable) {
        store->thread = host->thread_new(host, "credentials", renewal_run, store);
        if (store->thread == NULL) {
            status = lookup_failed(&store->lookup, BD_FATAL, "no thread to renew credentials");
            host->secret_free(store->present);
            goto fail;
        }
    }
    *out = store;
    return BD_OK;

fail:
    host->log(host, BD_ERROR, "%s", store->lookup.why);
    keys_clear(&found.keys);
    store_free(store);
    return status;
}

void
credentials_close(struct credential_store *store)
{
    pthread_mutex_lock(&store->lock);
    store->is_closing = true;
    pthread_cond_signal(&store->wake);
    pthread_mutex_unlock(&store->lock);
    if (store->thread != NULL) {
        eventfd_write(store->cancel_fd, 1);
        store->host->thread_join(store->thread);
    }
    assert(store->present->users == 1); /* every request has given its own back */
    store->host->secret_free(store->present);
    store_free(store);
}
