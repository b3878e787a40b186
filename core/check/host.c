/* SPDX-License-Identifier: Apache-2.0 */
/* The host table that a plugin under check calls: it serves as the daemon's does, and takes note. */
#include "impl.h"

#include "base/clock.h"
#include "base/secret.h"
#include "host.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct check_counts check_counts;

/* ------------------------------------------------------------------ services */

static struct check_host *
host_of(const struct bd_host *table)
{
    return (struct check_host *)(uintptr_t)table;
}

static struct check_host *
called(const struct bd_host *table)
{
    struct check_host *host = host_of(table);

    atomic_fetch_add(&host->calls, 1);
    if (atomic_load(&host->is_closed))
        atomic_fetch_add(&host->calls_after_close, 1);
    return host;
}

static void host_log(const struct bd_host *table, enum bd_log_level level, const char *format, ...)
    BD_PRINTF(3, 4);

static void
host_log(const struct bd_host *table, enum bd_log_level level, const char *format, ...)
{
    struct check_host *host = called(table);
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    check_said(text, level <= BD_WARNING);
    if (level == BD_ERROR)
        atomic_fetch_add(&host->errors, 1);
}

struct check_timer {
    struct timer timer; /* first */
    bd_callback *callback;
    void *arg;
};

static void
timer_run(struct task *task)
{
    struct check_timer *timer = (struct check_timer *)(void *)task;

    /* Not after the callback: with its last word it may let close() return, and then the row looks. */
    atomic_fetch_sub(&check_counts.timers, 1);
    timer->callback(timer->arg);
    free(timer);
}

struct pool *
check_pool(struct check *check)
{
    if (check->pool == NULL && pool_new(3, &check->pool) != 0)
        check_refuse(check, "no threads can be made");
    return check->pool;
}

static int
host_timer(const struct bd_host *table, uint64_t at_ns, bd_callback *callback, void *arg)
{
    struct check_host *host = called(table);
    struct check_timer *timer = calloc(1, sizeof *timer);

    if (timer == NULL)
        return -1;
    timer->timer.task.run = timer_run;
    timer->callback = callback;
    timer->arg = arg;
    atomic_fetch_add(&check_counts.timers, 1);
    if (pool_timer_set(host->check->pool, &timer->timer, at_ns) == 0)
        return 0;
    atomic_fetch_sub(&check_counts.timers, 1);
    free(timer);
    return -1;
}

struct bd_thread {
    pthread_t thread;
    bd_callback *callback;
    void *arg;
};

static void *
thread_main(void *arg)
{
    struct bd_thread *thread = arg;

    thread->callback(thread->arg);
    return NULL;
}

static struct bd_thread *
host_thread_new(const struct bd_host *table, const char *name, bd_callback *callback, void *arg)
{
    struct bd_thread *thread = calloc(1, sizeof *thread);
    sigset_t all, old;
    int rc;

    called(table);
    (void)name;
    if (thread == NULL)
        return NULL;
    thread->callback = callback;
    thread->arg = arg;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    rc = pthread_create(&thread->thread, NULL, thread_main, thread);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0) {
        free(thread);
        return NULL;
    }
    atomic_fetch_add(&check_counts.threads, 1);
    return thread;
}

static void
host_thread_join(struct bd_thread *thread)
{
    if (thread == NULL)
        return;
    pthread_join(thread->thread, NULL);
    atomic_fetch_sub(&check_counts.threads, 1);
    free(thread);
}

static struct bd_counter *
host_counter(const struct bd_host *table, const char *name, const char *help)
{
    static int any;

    (void)name;
    (void)help;
    return called(table)->has_statistics ? (struct bd_counter *)&any : NULL;
}

static void
host_counter_add(struct bd_counter *counter, int64_t delta)
{
    (void)counter;
    (void)delta;
}

static void *
host_secret_alloc(size_t bytes)
{
    void *secret = secret_alloc(bytes);

    if (secret != NULL)
        atomic_fetch_add(&check_counts.secrets, 1);
    return secret;
}

static void
host_secret_free(void *secret)
{
    if (secret != NULL)
        atomic_fetch_sub(&check_counts.secrets, 1);
    secret_free(secret);
}

/* A key for each purpose and instance. */
static enum bd_status
host_key(const struct bd_host *table, const char *purpose, void *out, size_t bytes)
{
    const struct check_host *host = called(table);
    unsigned char *to = out;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    struct error why;

    if (!host->has_key)
        return BD_UNSUPPORTED;
    if (host->check->codec != NULL
        && host_check_key(host->check->codec->token, purpose, bytes, &why) != 0) {
        table->log(table, BD_ERROR, "%s", why.text);
        return BD_INVALID;
    }
    if (bytes > CHECK_KEY_BYTES)
        return BD_INVALID;
    for (const char *at = purpose; *at != '\0'; at++)
        hash = (hash ^ (unsigned char)*at) * UINT64_C(0x100000001b3);
    for (size_t i = 0; i < bytes; i++) {
        hash = (hash ^ host->key[i]) * UINT64_C(0x100000001b3);
        to[i] = (unsigned char)(hash >> 32);
    }
    check_secret_key("a key that host->key gave", out, bytes);
    return BD_OK;
}

static enum bd_status
host_passphrase(const struct bd_host *table, char **out, size_t *bytes, const char **salt)
{
    const struct check_host *host = called(table);

    if (host->passphrase == NULL)
        return BD_UNSUPPORTED;
    *bytes = strlen(host->passphrase);
    *out = host_secret_alloc(*bytes + 1);
    if (*out == NULL)
        return BD_FATAL;
    memcpy(*out, host->passphrase, *bytes + 1);
    *salt = CHECK_SALT;
    check_secret("the passphrase", host->passphrase);
    return BD_OK;
}

static void host_coding_error(struct bd_coding *coding, const char *format, ...) BD_PRINTF(2, 3);

static void
host_coding_error(struct bd_coding *coding, const char *format, ...)
{
    char text[480];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    check_said(text, true);
    coding_error(coding, "%s", text);
}

/* ------------------------------------------------------------------ life */

struct check_host *
check_host_new(struct check *check, uint32_t extra)
{
    struct check_host *host = calloc(1, sizeof *host);

    if (host == NULL)
        check_refuse(check, "out of memory");
    check_pool(check);
    *host = (struct check_host){
        .check = check,
        .has_key = true,
        .has_statistics = true,
        .passphrase = CHECK_PASSPHRASE,
        .next = check->hosts,
        .table = {
            .head = { BD_MAGIC_HOST, BD_ABI_MAJOR, (uint32_t)sizeof(struct bd_host) + extra, 0 },
            .abi_minor = BD_ABI_MINOR + (extra > 0),
            .log = host_log,
            .complete = asked_complete,
            .error = asked_error,
            .attr_add = asked_attr_add,
            .encoding_set = asked_encoding_set,
            .tag_set = asked_tag_set,
            .list_add = asked_list_add,
            .child_new = asked_child_new,
            .child_submit = asked_child_submit,
            .child_result = asked_child_result,
            .child_free = asked_child_free,
            .timer = host_timer,
            .now_ns = clock_now_ns,
            .thread_new = host_thread_new,
            .thread_join = host_thread_join,
            .counter = host_counter,
            .counter_add = host_counter_add,
            .random = random_fill,
            .secret_alloc = host_secret_alloc,
            .secret_free = host_secret_free,
            .key = host_key,
            .passphrase = host_passphrase,
            .coding_error = host_coding_error,
            .coding_attr_add = coding_attr_add,
            .coding_attr_get = coding_attr_get,
        },
    };
    check_canary_set(host->canary);
    for (unsigned i = 0; i < CHECK_KEY_BYTES; i++)
        host->key[i] = (unsigned char)(i + 1);
    check->hosts = host;
    return host;
}

void
check_hosts_free(struct check *check)
{
    while (check->hosts != NULL) {
        struct check_host *host = check->hosts;

        check->hosts = host->next;
        free(host);
    }
}
