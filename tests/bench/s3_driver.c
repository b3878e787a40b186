/* SPDX-License-Identifier: Apache-2.0 */
/* A backend alone: a host just large enough to call its submit, with so many requests in flight.
 *
 *   s3_driver PLUGIN.so op=get|put bytes= in_flight= [objects=] [seconds=] [OPTION=VALUE...]
 *
 * OPTION is a row of the plugin's options; sizes and durations in plain bytes and milliseconds.
 *
 * `complete` may not call the plugin, so it queues; the main thread takes what is queued, all at once, and
 * submits as many anew.  It is the only thread here beside the plugin's own. */
#include "load.h"

#include <bucketdisk/plugin.h>

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define DEADLINE_NS (60ull * 1000000000)

struct slot {
    struct bd_io io; /* first */
    struct slot *next;
    struct turn turn;
    enum bd_status status;
    char name[NAME_MAX_BYTES];
    char why[512];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the queue */
static pthread_cond_t is_filled = PTHREAD_COND_INITIALIZER;
static struct slot *queue;

/* ---- the host */

static void host_log(const struct bd_host *host, enum bd_log_level level, const char *format, ...)
    BD_PRINTF(3, 4);
static void host_error(struct bd_io *io, const char *format, ...) BD_PRINTF(2, 3);

static void
host_log(const struct bd_host *host, enum bd_log_level level, const char *format, ...)
{
    va_list args;

    (void)host;
    if (level > BD_WARNING)
        return;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

static void
host_complete(struct bd_io *io, enum bd_status status)
{
    struct slot *slot = (struct slot *)(void *)io;
    bool was_empty;

    slot->status = status;
    pthread_mutex_lock(&lock);
    was_empty = queue == NULL;
    slot->next = queue;
    queue = slot;
    pthread_mutex_unlock(&lock);
    if (was_empty)
        pthread_cond_signal(&is_filled);
}

static void
host_error(struct bd_io *io, const char *format, ...)
{
    struct slot *slot = (struct slot *)(void *)io;
    va_list args;

    va_start(args, format);
    vsnprintf(slot->why, sizeof slot->why, format, args);
    va_end(args);
}

static void
host_attr_add(struct bd_io *io, const char *name, const void *value, size_t value_bytes)
{
    (void)io, (void)name, (void)value, (void)value_bytes;
}

static void
host_text_set(struct bd_io *io, const char *text)
{
    (void)io, (void)text;
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
host_thread_new(const struct bd_host *host, const char *name, bd_callback *callback, void *arg)
{
    struct bd_thread *thread = malloc(sizeof *thread);

    (void)host;
    if (thread == NULL)
        return NULL;
    *thread = (struct bd_thread){ .callback = callback, .arg = arg };
    if (pthread_create(&thread->thread, NULL, thread_main, thread) != 0) {
        free(thread);
        return NULL;
    }
    pthread_setname_np(thread->thread, name);
    return thread;
}

static void
host_thread_join(struct bd_thread *thread)
{
    pthread_join(thread->thread, NULL);
    free(thread);
}

static struct bd_counter *
host_counter(const struct bd_host *host, const char *name, const char *help)
{
    (void)host, (void)name, (void)help;
    return NULL;
}

static void
host_counter_add(struct bd_counter *counter, int64_t delta)
{
    (void)counter, (void)delta;
}

static void
host_random(void *out, size_t bytes)
{
    if (getrandom(out, bytes, 0) != (ssize_t)bytes)
        fail("no random bytes");
}

static const struct bd_host host = {
    .head = BD_HEAD(HOST, struct bd_host),
    .abi_minor = BD_ABI_MINOR,
    .log = host_log,
    .complete = host_complete,
    .error = host_error,
    .attr_add = host_attr_add,
    .encoding_set = host_text_set,
    .tag_set = host_text_set,
    .now_ns = clock_ns,
    .thread_new = host_thread_new,
    .thread_join = host_thread_join,
    .counter = host_counter,
    .counter_add = host_counter_add,
    .random = host_random,
    .secret_alloc = malloc,
    .secret_free = free,
};

/* ---- the plugin */

static const struct bd_plugin *
plugin_load(const char *path)
{
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL), *symbol;
    bd_plugin_query_fn *query;
    const struct bd_plugin *plugin;

    if (module == NULL)
        fail("%s", dlerror());
    symbol = dlsym(module, "bd_plugin_query");
    if (symbol == NULL)
        fail("%s: no bd_plugin_query", path);
    memcpy(&query, &symbol, sizeof query);
    plugin = query(&host);
    if (plugin == NULL || plugin->head.abi_major != BD_ABI_MAJOR || plugin->backend == NULL)
        fail("%s: not a backend of this version", path);
    return plugin;
}

static uint64_t
choice_of(const struct bd_option *row, const char *value)
{
    for (uint64_t i = 0; row->choices[i] != NULL; i++) {
        if (strcmp(row->choices[i], value) == 0)
            return i;
    }
    fail("%s=%s: no such choice", row->name, value);
}

static void
field_set(const struct bd_option *row, void *options, const char *value)
{
    char *field = (char *)options + row->offset;
    uint64_t number;
    uint32_t word;

    switch (row->type) {
    case BD_OPT_STRING:
    case BD_OPT_PATH:
    case BD_OPT_SECRET:
        memcpy(field, &value, sizeof value);
        return;
    case BD_OPT_BOOL:
        *field = strcmp(value, "yes") == 0;
        return;
    case BD_OPT_ENUM:
        number = choice_of(row, value);
        break;
    case BD_OPT_DURATION:
        number = strtoull(value, NULL, 0) * (row->flags & BD_OPTF_SECONDS ? 1000 : 1);
        break;
    default:
        number = strtoull(value, NULL, 0);
        break;
    }
    word = (uint32_t)number;
    if (row->field_bytes == sizeof word)
        memcpy(field, &word, sizeof word);
    else
        memcpy(field, &number, sizeof number);
}

static void *
options_of(const struct bd_plugin *plugin, int argc, char **argv)
{
    void *options = calloc(1, plugin->options_bytes);
    char why[256] = "";

    if (options == NULL)
        fail("out of memory");
    for (uint32_t i = 0; i < plugin->option_count; i++) {
        const struct bd_option *row =
            (const struct bd_option *)(const void *)((const char *)plugin->options
                                                     + (size_t)i * plugin->option_stride);
        const char *value = word_of(argc, argv, row->name, row->def != NULL ? row->def : "");

        if (value != NULL && value[0] != '\0')
            field_set(row, options, value);
    }
    if (plugin->check != NULL && plugin->check(options, why, sizeof why) != BD_OK)
        fail("%s", why);
    return options;
}

/* ---- the run */

static void
slot_submit(struct slot *slot, const struct load *load, const struct bd_backend *backend,
            void *handle)
{
    struct bd_io *io = &slot->io;

    memset(io->scratch, 0, backend->scratch_bytes);
    name_of(load, slot->turn.object, slot->name);
    io->op = slot->turn.is_put ? BD_PUT : BD_GET;
    io->deadline_ns = clock_ns() + DEADLINE_NS;
    io->body = slot->turn.is_put ? load->body : NULL;
    io->body_bytes = slot->turn.is_put ? load->bytes : 0;
    io->cap = slot->turn.is_put ? 0 : load->bytes;
    io->len = 0;
    backend->submit(handle, io);
}

static void
slot_check(const struct slot *slot, const struct load *load)
{
    if (slot->status != BD_OK)
        fail("%s: status %d: %s", slot->name, (int)slot->status, slot->why);
    if (!slot->turn.is_put && slot->io.len != load->bytes)
        fail("%s: %zu bytes, expected %zu", slot->name, slot->io.len, load->bytes);
}

static struct slot *
slots_new(const struct load *load, const struct bd_backend *backend)
{
    struct slot *idle = NULL;

    for (unsigned i = 0; i < load->in_flight; i++) {
        struct slot *slot = calloc(1, sizeof *slot);

        if (slot == NULL || (slot->io.scratch = malloc(backend->scratch_bytes)) == NULL
            || (slot->io.data = malloc(load->bytes)) == NULL)
            fail("out of memory");
        slot->io.size = sizeof slot->io;
        slot->io.name = slot->name;
        slot->io.attr_stride = sizeof(struct bd_attr);
        slot->next = idle;
        idle = slot;
    }
    return idle;
}

static struct slot *
queue_take(void)
{
    struct slot *taken;

    pthread_mutex_lock(&lock);
    while (queue == NULL)
        pthread_cond_wait(&is_filled, &lock);
    taken = queue;
    queue = NULL;
    pthread_mutex_unlock(&lock);
    return taken;
}

int
main(int argc, char **argv)
{
    const struct bd_plugin *plugin;
    const struct bd_backend *backend;
    struct load load;
    struct slot *idle, *done, *slot;
    unsigned in_flight = 0;
    void *handle;

    if (argc < 2)
        fail("usage: s3_driver PLUGIN.so op=get|put bytes= in_flight= [OPTION=VALUE...]");
    load_init(&load, argc, argv);
    plugin = plugin_load(argv[1]);
    backend = plugin->backend;
    if (backend->open(&host, options_of(plugin, argc, argv), NULL, &handle) != BD_OK)
        return 1;
    idle = slots_new(&load, backend);
    /* When this thread is woken, it waits its turn.  Else, on the same processor, it would interrupt the plugin at each
     * first completion of many, and submit one request at a time: a cost of this host, not of the plugin. */
    sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){ 0 });
    for (;;) {
        while (idle != NULL && load_begin(&load, &idle->turn)) {
            slot = idle;
            idle = slot->next;
            in_flight++;
            slot_submit(slot, &load, backend, handle);
        }
        if (in_flight == 0)
            break;
        for (done = queue_take(); done != NULL; done = slot) {
            slot = done->next;
            slot_check(done, &load);
            load_end(&load, &done->turn);
            done->next = idle;
            idle = done;
            in_flight--;
        }
    }
    backend->close(handle);
    load_print(&load);
    return 0;
}
