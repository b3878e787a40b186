/* SPDX-License-Identifier: Apache-2.0 */
/* The host table that plugins call. */
#include "host.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "coding.h"
#include "keyring.h"
#include "request.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

enum { KEY_BYTES_MIN = 16, KEY_BYTES_MAX = 64, COUNTER_NAME_BYTES_MAX = 80 };

struct host {
    struct bd_host table; /* first: a plugin's pointer to it is a pointer to us */
    const char *name;
    struct pool *pool;
    struct stats *stats;
    const struct keyring *keyring; /* NULL: no keys */
    const char *token;             /* of the codec that gets them */
};

static const struct host *
host_of(const struct bd_host *table)
{
    return (const struct host *)(const void *)table;
}

static void host_log(const struct bd_host *table, enum bd_log_level level, const char *format, ...)
    BD_PRINTF(3, 4);

/* Where this thread's next error line goes instead of the log. */
static _Thread_local struct error *captured;

void
host_capture_error(struct error *why)
{
    if (why != NULL)
        why->text[0] = '\0';
    captured = why;
}

static void
host_log(const struct bd_host *table, enum bd_log_level level, const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (level == BD_ERROR && captured != NULL) {
        if (captured->text[0] == '\0')
            error_set(captured, 0, "%s: %s", host_of(table)->name, text);
        return;
    }
    log_line((unsigned)level <= BD_DEBUG ? level : BD_DEBUG, "%s: %s", host_of(table)->name, text);
}

/* ---- timers and threads */

struct host_timer {
    struct timer timer; /* first: the pool gives us its address */
    bd_callback *callback;
    void *arg;
};

static void
timer_run(struct task *task)
{
    struct host_timer *timer = (struct host_timer *)(void *)task;
    bd_callback *callback = timer->callback;
    void *arg = timer->arg;

    free(timer);
    callback(arg);
}

static int
host_timer(const struct bd_host *table, uint64_t at_ns, bd_callback *callback, void *arg)
{
    const struct host *host = host_of(table);
    struct host_timer *timer;

    if (host->pool == NULL)
        return -1;
    timer = calloc(1, sizeof *timer);
    if (timer == NULL)
        return -1;
    timer->timer.task.run = timer_run;
    timer->callback = callback;
    timer->arg = arg;
    if (pool_timer_set(host->pool, &timer->timer, at_ns) != 0) {
        free(timer);
        return -1;
    }
    return 0;
}

struct bd_thread {
    pthread_t thread;
    bd_callback *callback;
    void *arg;
    char name[16]; /* what the kernel keeps */
};

static void *
thread_main(void *arg)
{
    struct bd_thread *thread = arg;

    pthread_setname_np(pthread_self(), thread->name);
    thread->callback(thread->arg);
    return NULL;
}

static struct bd_thread *
host_thread_new(const struct bd_host *table, const char *name, bd_callback *callback, void *arg)
{
    struct bd_thread *thread = calloc(1, sizeof *thread);
    sigset_t all, old;
    int rc;

    (void)table;
    if (thread == NULL)
        return NULL;
    thread->callback = callback;
    thread->arg = arg;
    snprintf(thread->name, sizeof thread->name, "%s", name);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    rc = pthread_create(&thread->thread, NULL, thread_main, thread);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0) {
        free(thread);
        return NULL;
    }
    return thread;
}

static void
host_thread_join(struct bd_thread *thread)
{
    if (thread == NULL)
        return;
    pthread_join(thread->thread, NULL);
    free(thread);
}

/* ---- counters */

/* "backend-s3" and "puts" give "s3_puts". */
static struct bd_counter *
host_counter(const struct bd_host *table, const char *name, const char *help)
{
    static const char *const kinds[] = { "backend-", "codec-", "crypto-" };
    const struct host *host = host_of(table);
    const char *owner = host->name;
    char full[160];

    if (host->stats == NULL)
        return NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strncmp(owner, kinds[i], strlen(kinds[i])) == 0) {
            owner += strlen(kinds[i]);
            break;
        }
    }
    if (name[0] == '\0' || name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-")] != '\0'
        || strlen(name) > COUNTER_NAME_BYTES_MAX) {
        table->log(table, BD_WARNING,
                   "a bug of the plugin: its counter \"%.60s\" is left out; names are short words "
                   "of [a-z0-9_-]",
                   name);
        return NULL;
    }
    snprintf(full, sizeof full, "%.70s_%.*s", owner, COUNTER_NAME_BYTES_MAX, name);
    for (char *c = full; *c != '\0'; c++) {
        if (*c == '-')
            *c = '_';
    }
    return (struct bd_counter *)stats_plugin_counter(host->stats, full, help);
}

static void
host_counter_add(struct bd_counter *counter, int64_t delta)
{
    counter_add((struct counter *)counter, delta);
}

/* ---- keys */

/* "codec TOKEN", or that and more behind a blank: so no codec gets the keys of another one, nor those that the
 * core derives for itself. */
static bool
purpose_is_of(const char *token, const char *purpose)
{
    static const char word[] = "codec ";
    const size_t word_len = sizeof word - 1, token_len = strlen(token);

    return strncmp(purpose, word, word_len) == 0
           && strncmp(purpose + word_len, token, token_len) == 0
           && strchr(" ", purpose[word_len + token_len]) != NULL;
}

int
host_check_key(const char *token, const char *purpose, size_t bytes, struct error *why)
{
    if (bytes < KEY_BYTES_MIN || bytes > KEY_BYTES_MAX)
        return error_set(why, -EINVAL,
                         "a bug of the plugin: it asks for a key of %zu bytes; %d to %d", bytes,
                         KEY_BYTES_MIN, KEY_BYTES_MAX);
    if (!purpose_is_of(token, purpose))
        return error_set(why, -EINVAL,
                         "a bug of the plugin: it asks for a key for \"%.80s\"; that of this codec "
                         "is for \"codec %s\", with more behind a blank if it needs several",
                         purpose, token);
    return 0;
}

static enum bd_status
host_key(const struct bd_host *table, const char *purpose, void *out, size_t bytes)
{
    const struct host *host = host_of(table);
    struct error why;

    if (host->keyring == NULL)
        return BD_UNSUPPORTED;
    if (host_check_key(host->token, purpose, bytes, &why) != 0) {
        table->log(table, BD_ERROR, "%s", why.text);
        return BD_INVALID;
    }
    return keyring_subkey(host->keyring, purpose, out, bytes);
}

static enum bd_status
host_passphrase(const struct bd_host *table, char **out, size_t *bytes, const char **salt)
{
    return keyring_passphrase(host_of(table)->keyring, out, bytes, salt);
}

/* ---- codecs at work */

void
coding_error(struct bd_coding *coding, const char *format, ...)
{
    struct coding *state = coding->host_private;
    va_list args;

    if (state == NULL)
        return;
    va_start(args, format);
    vsnprintf(state->why.text, sizeof state->why.text, format, args);
    va_end(args);
}

static int
added_attr_take(struct attrs *added, const char *name, const void *value, size_t value_bytes,
                const char **problem)
{
    int rc;

    *problem = "is added by decode, which can only look attributes up";
    if (added == NULL)
        return -EINVAL;
    *problem = "was added before: by another codec of the chain, or twice";
    if (name != NULL && attrs_find(added, name) != NULL) /* another layer's could not be undone */
        return -EEXIST;
    *problem =
        "has a value that is not 1 byte or more of printable ASCII without blanks at its ends";
    if (!attr_value_is_storable(value, value_bytes))
        return -EINVAL;
    rc = attrs_add(added, name, value, value_bytes);
    *problem = rc == -E2BIG    ? "is too long, or there are too many"
               : rc == -ENOMEM ? "finds no memory"
                               : "has a name that is not of [a-z0-9-]";
    return rc;
}

void
coding_attr_add(struct bd_coding *coding, const char *name, const void *value, size_t value_bytes)
{
    struct coding *state = coding->host_private;
    const char *problem;
    int rc;

    if (state == NULL)
        return;
    rc = added_attr_take(state->added, name, value, value_bytes, &problem);
    if (rc == 0 || state->rc != 0)
        return;
    state->rc = rc;
    error_set(&state->why, 0, "a bug of its plugin: the attribute \"%.60s\" %s",
              name != NULL ? name : "", problem);
}

const void *
coding_attr_get(const struct bd_coding *coding, const char *name, size_t *value_bytes)
{
    const struct coding *state = coding->host_private;
    const struct bd_attr *attr;

    if (state == NULL || state->stored == NULL)
        return NULL;
    attr = attrs_find(state->stored, name);
    if (attr == NULL)
        return NULL;
    *value_bytes = attr->value_bytes;
    return attr->value;
}

/* ---- life */

int
host_new(const char *name, struct pool *pool, struct stats *stats, struct host **out)
{
    struct host *host = calloc(1, sizeof *host);

    if (host == NULL)
        return -ENOMEM;
    host->name = name;
    host->pool = pool;
    host->stats = stats;
    host->table = (struct bd_host){
        .head = BD_HEAD(HOST, struct bd_host),
        .abi_minor = BD_ABI_MINOR,
        .log = host_log,
        .complete = request_complete,
        .error = request_error,
        .attr_add = request_attr_add,
        .encoding_set = request_encoding_set,
        .tag_set = request_tag_set,
        .list_add = request_list_add,
        .child_new = request_child_new,
        .child_submit = request_child_submit,
        .child_result = request_child_result,
        .child_free = request_child_free,
        .timer = host_timer,
        .now_ns = clock_now_ns,
        .thread_new = host_thread_new,
        .thread_join = host_thread_join,
        .counter = host_counter,
        .counter_add = host_counter_add,
        .random = random_fill,
        .secret_alloc = secret_alloc,
        .secret_free = secret_free,
        .key = host_key,
        .passphrase = host_passphrase,
        .coding_error = coding_error,
        .coding_attr_add = coding_attr_add,
        .coding_attr_get = coding_attr_get,
    };
    *out = host;
    return 0;
}

void
host_give_keys(struct host *host, const struct keyring *keyring, const char *token)
{
    host->keyring = keyring;
    host->token = token;
}

void
host_free(struct host *host)
{
    free(host);
}

const struct bd_host *
host_table(const struct host *host)
{
    return &host->table;
}
