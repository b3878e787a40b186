/* SPDX-License-Identifier: Apache-2.0 */
/* Our side of the backend ABI: a stack of backends, and requests to it.
 *
 * A request goes through these states.  Only the owner moves it out of IDLE, only complete() out of
 * SUBMITTED, so a second complete() finds it elsewhere and is seen for what it is, as long as the
 * request still exists.
 *
 *   state      whose                    next
 *   IDLE       the owner's              SUBMITTED (submit)
 *   SUBMITTED  the plugin's             QUEUED (complete)
 *   QUEUED     the pool's               IDLE (a worker checks the results, then calls done)
 *
 * There are no locks: a request has one owner at any time, and the state, an atomic, hands it over.
 */
#include "backend.h"

#include "attrs.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/waiter.h"
#include "host.h"
#include "request.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REQUEST_MAGIC 0x71657242u
#define REQUEST_DEAD 0xdeadbdbdu

/* A request without a deadline of its own gets this one: the ABI promises plugins that there is
 * one. */
#define DEADLINE_DEFAULT_NS (60 * NS_PER_S)

/* A machine that is short of time may be this late, but not a plugin that keeps its deadlines. */
#define LATE_NS (5 * NS_PER_S)

struct layer {
    struct backend *backend;
    const char *name;
    const struct bd_backend *table;
    struct host *host;
    void *handle;
    struct bd_backend_info info;
    struct bd_lower lower; /* how the layer above sees this one */
    atomic_uint in_flight;
    atomic_bool is_told_late; /* the user has been told */
};

struct backend {
    struct pool *pool;
    struct counter *late;
    unsigned layer_count;
    struct layer layers[]; /* outermost first */
};

/* An entry of a child's listing, kept until it is copied upward. */
struct entry {
    uint64_t object_bytes;
    char *tag; /* into `name`'s allocation, or NULL */
    char name[];
};

enum request_state { IDLE, SUBMITTED, QUEUED };

struct request {
    struct backend_io pub; /* first, and in it first the bd_io: all three have one address */
    uint32_t magic;
    atomic_int state;
    struct layer *layer;
    struct task task;
    enum bd_status completed; /* what the plugin said */
    const char *limit;        /* which limit a result passed; NULL: none */
    bool no_memory;           /* for a result */
    bool deadline_is_ours;
    bool is_child;

    struct waiter waiter; /* of backend_submit_begin */
    bd_io_done *child_done;
    void *child_arg;
    struct entry **entries;
    size_t entry_count, entry_room;

    char tag[BD_TAG_BYTES_MAX + 1];
    char encoding[BD_ENCODING_BYTES_MAX + 1];
    alignas(max_align_t) unsigned char scratch[];
};

/* The address as a number: plugins give results to requests through const pointers, too. */
static struct request *
request_of(const struct bd_io *io)
{
    return (struct request *)(uintptr_t)io;
}

/* ------------------------------------------------------------------ names */

static const char *const status_names[] = {
    [BD_OK] = "done",
    [BD_ABSENT] = "no such object",
    [BD_RETRY] = "not done, try again",
    [BD_UNKNOWN] = "no answer, outcome unknown",
    [BD_CONDITION] = "the condition does not hold",
    [BD_DENIED] = "no right to do this",
    [BD_FULL] = "no room",
    [BD_CORRUPT] = "damaged or not authentic",
    [BD_INVALID] = "not a valid request",
    [BD_UNSUPPORTED] = "not supported",
    [BD_FATAL] = "failed for good",
    [BD_DECLINED] = "declined",
    [BD_BUSY] = "not done, the store asks for fewer requests at once",
};

const char *
status_name(enum bd_status status)
{
    if ((unsigned)status >= sizeof status_names / sizeof status_names[0])
        return "a status that does not exist";
    return status_names[status];
}

const char *
backend_io_reason(const struct backend_io *io)
{
    return io->why.text[0] != '\0' ? io->why.text : status_name(io->status);
}

bool
status_is_passing(uint32_t status)
{
    return status == BD_RETRY || status == BD_BUSY || status == BD_UNKNOWN;
}

int
status_errno(enum bd_status status)
{
    return status == BD_DENIED ? -EACCES : status == BD_FULL ? -ENOSPC : -EIO;
}

/* BD_DECLINED is a codec's answer; from a backend it is as wrong as a number that we do not know.
 */
static bool
status_is_a_backends(uint32_t status)
{
    return status <= BD_BUSY && status != BD_DECLINED;
}

static const char *
op_name(uint32_t op)
{
    static const char *const names[] = {
        [BD_GET] = "GET",       [BD_HEAD_OBJECT] = "HEAD",        [BD_PUT] = "PUT",
        [BD_DELETE] = "DELETE", [BD_DELETE_MANY] = "DELETE_MANY", [BD_LIST] = "LIST",
    };

    return op < sizeof names / sizeof names[0] && names[op] != NULL ? names[op] : "operation";
}

/* ------------------------------------------------------------------ making requests */

static struct request *
request_new(struct layer *layer)
{
    struct request *request = calloc(1, sizeof *request + layer->table->scratch_bytes);

    if (request == NULL)
        return NULL;
    request->magic = REQUEST_MAGIC;
    request->layer = layer;
    request->pub.backend = layer->backend;
    request->pub.io.size = sizeof request->pub.io;
    /* Where none was asked for, a plugin that uses it all the same must fall over at once. */
    request->pub.io.scratch = layer->table->scratch_bytes > 0 ? request->scratch : NULL;
    atomic_init(&request->state, IDLE);
    return request;
}

static void
entries_clear(struct request *request)
{
    for (size_t i = 0; i < request->entry_count; i++)
        free(request->entries[i]);
    free(request->entries);
    request->entries = NULL;
    request->entry_count = request->entry_room = 0;
}

static void
request_reset(struct request *request)
{
    struct backend_io *pub = &request->pub;

    assert(request->magic == REQUEST_MAGIC && atomic_load(&request->state) == IDLE);
    pub->status = BD_OK;
    pub->why.text[0] = '\0';
    pub->tag = NULL;
    pub->encoding = NULL;
    attrs_clear(&pub->attrs);
    entries_clear(request);
    pub->io.len = 0;
    pub->io.object_bytes = 0;
    pub->io.more = 0;
    pub->io.retry_after_ms = 0;
    request->limit = NULL;
    request->no_memory = false;
    if (request->deadline_is_ours)
        pub->io.deadline_ns = 0;
    request->deadline_is_ours = false;
}

static void
request_free(struct request *request)
{
    if (request == NULL)
        return;
    request_reset(request);
    request->magic = REQUEST_DEAD;
    free(request);
}

struct backend_io *
backend_io_new(struct backend *backend)
{
    struct request *request = request_new(&backend->layers[0]);

    return request == NULL ? NULL : &request->pub;
}

void
backend_io_free(struct backend_io *io)
{
    request_free(io == NULL ? NULL : request_of(&io->io));
}

const char *
backend_io_attr(const struct backend_io *io, const char *name, size_t *bytes)
{
    const struct bd_attr *attr = attrs_find(&io->attrs, name);

    if (attr == NULL)
        return NULL;
    if (bytes != NULL)
        *bytes = attr->value_bytes;
    return attr->value;
}

/* ------------------------------------------------------------------ the way down */

static void request_finish(struct task *task);

static void
request_submit(struct request *request)
{
    struct layer *layer = request->layer;
    struct bd_io *io = &request->pub.io;

    assert(io->name == NULL || strlen(io->name) <= BD_NAME_BYTES_MAX);
    assert(io->encoding == NULL || strlen(io->encoding) <= BD_ENCODING_BYTES_MAX);
    request_reset(request);
    if (io->deadline_ns == 0) {
        io->deadline_ns = clock_now_ns() + DEADLINE_DEFAULT_NS;
        request->deadline_is_ours = true;
    }
    if (io->attr_stride == 0)
        io->attr_stride = sizeof(struct bd_attr);
    /* A status that the plugin forgets to set must not be left as an OK from an earlier try. */
    for (uint32_t i = 0; io->op == BD_DELETE_MANY && i < io->name_count; i++)
        io->statuses[i] = UINT32_MAX;
    memset(request->scratch, 0, layer->table->scratch_bytes);
    request->task.run = request_finish;
    atomic_fetch_add(&layer->in_flight, 1);
    atomic_store(&request->state, SUBMITTED);
    layer->table->submit(layer->handle, io);
}

void
backend_submit(struct backend_io *io, void (*done)(struct backend_io *io, void *arg), void *arg)
{
    io->done = done;
    io->done_arg = arg;
    request_submit(request_of(&io->io));
}

static void
waited(struct backend_io *io, void *arg)
{
    (void)arg;
    waiter_wake(&request_of(&io->io)->waiter);
}

void
backend_submit_begin(struct backend_io *io)
{
    waiter_init_timed(&request_of(&io->io)->waiter);
    backend_submit(io, waited, NULL);
}

uint64_t backend_lost_ns = 30 * NS_PER_S;

/* Its buffers are the callers', on their stacks, too: nobody can go on. */
static _Noreturn void
end_for_lost(const struct request *request)
{
    const struct bd_io *io = &request->pub.io;

    log_line(BD_ERROR,
             "%s: %s %s has not ended %" PRIu64 " s after its deadline: a bug of the plugin, which "
             "lost it; \"bucketdisk plugin check\" looks for such",
             request->layer->name, op_name(io->op), io->name == NULL ? "" : io->name,
             (uint64_t)(backend_lost_ns / NS_PER_S));
    log_end();
    fflush(stdout);
    _exit(EXIT_FAILURE);
}

void
backend_wait(struct backend_io *io)
{
    const uint64_t now = clock_now_ns(), deadline = io->io.deadline_ns;
    const uint64_t left = deadline > now ? deadline - now : 0;
    struct request *request = request_of(&io->io);

    if (!waiter_wait_for(&request->waiter, left + backend_lost_ns))
        end_for_lost(request);
    waiter_destroy(&request->waiter);
}

void
backend_submit_wait(struct backend_io *io)
{
    backend_submit_begin(io);
    backend_wait(io);
}

/* ------------------------------------------------------------------ the way up */

/* What waits behind it has lost that time, too, so it is worth a word, but not one for each request. */
static void
note_if_late(struct request *request)
{
    const struct bd_io *io = &request->pub.io;
    struct layer *layer = request->layer;
    uint64_t now = clock_now_ns();

    if (now < io->deadline_ns || now - io->deadline_ns <= LATE_NS)
        return;
    counter_add(layer->backend->late, 1);
    if (!atomic_exchange(&layer->is_told_late, true))
        log_line(
            BD_WARNING,
            "%s: %s %s ended %" PRIu64 " s after its deadline: the plugin kept it too long, "
            "or the machine slept; from now on such requests are only counted, as requests_late",
            layer->name, op_name(io->op), io->name == NULL ? "" : io->name,
            (uint64_t)((now - io->deadline_ns) / NS_PER_S));
}

void
request_complete(struct bd_io *io, enum bd_status status)
{
    struct request *request = request_of(io);
    int expected = SUBMITTED;

    if (request->magic != REQUEST_MAGIC) {
        log_line(BD_ERROR, "a plugin completed a request that does not exist: a bug of the plugin");
        return;
    }
    if (!atomic_compare_exchange_strong(&request->state, &expected, QUEUED)) {
        log_line(BD_ERROR, "%s: completed a request that was not in flight: a bug of the plugin",
                 request->layer->name);
        return;
    }
    request->completed = status;
    note_if_late(request);
    pool_submit(request->layer->backend->pool, &request->task);
}

/* Record what is wrong with an answer, in the log and for the caller. */
static enum bd_status
blame(struct request *request, enum bd_status status, const char *what)
{
    const struct bd_io *io = &request->pub.io;

    log_line(BD_ERROR, "%s: %s %s: %s: %s", request->layer->name, op_name(io->op),
             io->name == NULL ? "" : io->name, what,
             status == BD_CORRUPT ? "taken as damaged" : "a bug of the plugin");
    error_set(&request->pub.why, 0, "%s: %s", request->layer->name, what);
    return status;
}

static enum bd_status
check_get(struct request *request)
{
    const struct bd_io *io = &request->pub.io;
    uint64_t rest = io->object_bytes > io->offset ? io->object_bytes - io->offset : 0;

    if (io->len > io->cap)
        return blame(request, BD_FATAL, "it says that it wrote past the end of the buffer");
    if (io->len != (rest < io->cap ? rest : io->cap))
        return blame(request, BD_FATAL, "the length of the body is not what was asked for");
    return BD_OK;
}

/* What the plugin said, checked: nothing above this file meets a value outside of the contract. */
static enum bd_status
request_check(struct request *request)
{
    struct bd_io *io = &request->pub.io;
    enum bd_status status = request->completed;
    char text[64];

    if (!status_is_a_backends((uint32_t)status)) {
        snprintf(text, sizeof text, "it gave status %u, which is none", (unsigned)status);
        return blame(request, BD_FATAL, text);
    }
    if (status == BD_ABSENT && io->op == BD_PUT) {
        /* S3 says so of a conditional put to a name that is not there. */
        if (io->if_match != NULL)
            return BD_CONDITION;
        return blame(request, BD_FATAL, "it called the target of a write absent");
    }
    if (status != BD_OK)
        return status;
    if (request->limit != NULL)
        return blame(request, BD_CORRUPT, request->limit);
    if (request->no_memory) {
        error_set(&request->pub.why, 0, "out of memory");
        return io->op == BD_PUT ? BD_UNKNOWN : BD_RETRY;
    }
    if (io->op == BD_GET)
        return check_get(request);
    for (uint32_t i = 0; io->op == BD_DELETE_MANY && i < io->name_count; i++) {
        if (!status_is_a_backends(io->statuses[i])) {
            blame(request, BD_FATAL, "it left out a status, or gave one that is none");
            io->statuses[i] = BD_FATAL;
        }
    }
    return BD_OK;
}

/* On a pool worker. */
static void
request_finish(struct task *task)
{
    struct request *request =
        (struct request *)(void *)((char *)task - offsetof(struct request, task));
    enum bd_status status = request_check(request);

    request->pub.status = status;
    atomic_fetch_sub(&request->layer->in_flight, 1);
    atomic_store(&request->state, IDLE);
    /* From here on the request may be gone. */
    if (request->is_child)
        request->child_done(&request->pub.io, status, request->child_arg);
    else
        request->pub.done(&request->pub, request->pub.done_arg);
}

void
request_error(struct bd_io *io, const char *format, ...)
{
    struct request *request = request_of(io);
    va_list args;

    va_start(args, format);
    vsnprintf(request->pub.why.text, sizeof request->pub.why.text, format, args);
    va_end(args);
}

void
request_attr_add(struct bd_io *io, const char *name, const void *value, size_t value_bytes)
{
    struct request *request = request_of(io);
    int rc = attrs_add(&request->pub.attrs, name, value, value_bytes);

    if (rc == -ENOMEM)
        request->no_memory = true;
    else if (rc == -E2BIG)
        request->limit = "its attributes are over the limits";
    else if (rc != 0)
        request->limit = "the name of an attribute is not of [a-z0-9-]";
}

void
request_encoding_set(struct bd_io *io, const char *encoding)
{
    struct request *request = request_of(io);
    size_t bytes = encoding == NULL ? 0 : strlen(encoding);

    if (bytes > BD_ENCODING_BYTES_MAX) {
        request->limit = "its encoding is over the limit";
        return;
    }
    request->pub.encoding = NULL;
    if (encoding != NULL)
        request->pub.encoding = memcpy(request->encoding, encoding, bytes + 1);
}

void
request_tag_set(struct bd_io *io, const char *tag)
{
    struct request *request = request_of(io);
    size_t bytes = tag == NULL ? 0 : strlen(tag);

    if (bytes > BD_TAG_BYTES_MAX) {
        request->limit = "its tag is over the limit";
        return;
    }
    request->pub.tag = NULL;
    if (tag != NULL)
        request->pub.tag = memcpy(request->tag, tag, bytes + 1);
}

static int
entry_keep(struct request *request, const char *name, uint64_t object_bytes, const char *tag)
{
    size_t name_bytes = strlen(name) + 1;
    size_t tag_bytes = tag == NULL ? 0 : strlen(tag) + 1;
    struct entry *entry;

    if (request->entry_count == request->entry_room) {
        size_t room = request->entry_room == 0 ? 64 : request->entry_room * 2;
        struct entry **entries = realloc(request->entries, room * sizeof(struct entry *));

        if (entries == NULL)
            return -ENOMEM;
        request->entries = entries;
        request->entry_room = room;
    }
    entry = malloc(sizeof *entry + name_bytes + tag_bytes);
    if (entry == NULL)
        return -ENOMEM;
    entry->object_bytes = object_bytes;
    memcpy(entry->name, name, name_bytes);
    entry->tag = tag == NULL ? NULL : memcpy(entry->name + name_bytes, tag, tag_bytes);
    request->entries[request->entry_count++] = entry;
    return 0;
}

int
request_list_add(struct bd_io *io, const char *name, uint64_t object_bytes, const char *tag)
{
    struct request *request = request_of(io);

    if (name == NULL || name[0] == '\0' || strlen(name) > BD_NAME_BYTES_MAX
        || (tag != NULL && strlen(tag) > BD_TAG_BYTES_MAX)) {
        request->limit = "a name or tag of its listing is over the limit";
        return 0;
    }
    if (request->is_child) {
        if (entry_keep(request, name, object_bytes, tag) != 0) {
            request->no_memory = true;
            return 0;
        }
        return 1;
    }
    if (request->pub.entry == NULL)
        return 1;
    return request->pub.entry(request->pub.entry_arg, name, object_bytes, tag);
}

/* ------------------------------------------------------------------ children */

struct bd_io *
request_child_new(const struct bd_host *host, const struct bd_lower *lower,
                  const struct bd_io *like)
{
    struct request *request = request_new(lower->instance);
    struct bd_io *io;
    void *scratch;

    (void)host;
    if (request == NULL)
        return NULL;
    request->is_child = true;
    io = &request->pub.io;
    if (like != NULL) {
        scratch = io->scratch;
        *io = *like;
        io->scratch = scratch;
        request_reset(request);
    }
    return io;
}

void
request_child_submit(struct bd_io *child, bd_io_done *done, void *arg)
{
    struct request *request = request_of(child);

    request->child_done = done;
    request->child_arg = arg;
    request_submit(request);
}

void
request_child_result(const struct bd_io *child, struct bd_io *to)
{
    const struct request *from = request_of(child);
    struct request *request = request_of(to);

    to->len = child->len;
    to->object_bytes = child->object_bytes;
    to->more = child->more;
    to->retry_after_ms = child->retry_after_ms;
    request_tag_set(to, from->pub.tag);
    request_encoding_set(to, from->pub.encoding);
    for (uint32_t i = 0; i < from->pub.attrs.count; i++) {
        const struct bd_attr *attr = &from->pub.attrs.list[i];

        request_attr_add(to, attr->name, attr->value, attr->value_bytes);
    }
    if (from->pub.why.text[0] != '\0')
        request->pub.why = from->pub.why;
    for (size_t i = 0; i < from->entry_count; i++) {
        const struct entry *entry = from->entries[i];

        if (!request_list_add(to, entry->name, entry->object_bytes, entry->tag)) {
            to->more |= i + 1 < from->entry_count;
            break;
        }
    }
}

void
request_child_free(struct bd_io *child)
{
    request_free(child == NULL ? NULL : request_of(child));
}

/* ------------------------------------------------------------------ life */

static int
open_errno(enum bd_status status)
{
    switch (status) {
    case BD_ABSENT:
        return -ENOENT;
    case BD_INVALID:
        return -EINVAL;
    case BD_UNSUPPORTED:
        return -EOPNOTSUPP;
    case BD_RETRY:
    case BD_BUSY:
        return -EAGAIN;
    default:
        return status_errno(status);
    }
}

/* What is wrong with what a plugin says of its instance; NULL: nothing. */
static const char *
info_problem(const struct bd_backend_info *info)
{
    if (info->size != sizeof *info)
        return "changes the size of bd_backend_info, which is the host's";
    if (info->reserved != 0 || info->reserved2 != 0)
        return "sets a reserved member of bd_backend_info, which must stay 0";
    if (info->identity == NULL || info->identity[0] == '\0')
        return "sets no identity in bd_backend_info: nobody could tell that two mounts are of one "
               "store";
    if (info->display == NULL || info->display[0] == '\0')
        return "sets no display in bd_backend_info: the store has no name to show";
    return NULL;
}

static int
layer_ask_info(struct layer *layer, struct error *why)
{
    struct bd_backend_info *info = &layer->info;
    const char *problem;

    info->size = sizeof *info;
    layer->table->info(layer->handle, info);
    problem = info_problem(info);
    if (problem != NULL)
        return error_set(why, -EINVAL, "backend %s cannot be used, a bug of its plugin: it %s",
                         layer->name, problem);
    if (info->object_bytes_max == 0)
        info->object_bytes_max = UINT64_MAX;
    if (info->delete_many_max == 0)
        info->delete_many_max = 1000;
    if (info->list_max == 0)
        info->list_max = 1000;
    return 0;
}

static int
layer_open(struct layer *layer, const struct bd_lower *lower, const void *options,
           struct error *why)
{
    enum bd_status status;
    struct error said;
    int rc;

    if (lower == NULL && (layer->table->traits & BD_BACKEND_STACKS) != 0)
        return error_set(why, -EINVAL, "backend %s needs another one below it: %s,OTHER",
                         layer->name, layer->name);
    if (lower != NULL && (layer->table->traits & BD_BACKEND_STACKS) == 0)
        return error_set(why, -EINVAL, "backend %s does not stack on another one: it must be last",
                         layer->name);
    host_capture_error(&said);
    status = layer->table->open(host_table(layer->host), options, lower, &layer->handle);
    host_capture_error(NULL);
    if (status != BD_OK && said.text[0] != '\0')
        return error_set(why, open_errno(status), "%s", said.text);
    if (status != BD_OK)
        return error_set(why, open_errno(status), "backend %s cannot be opened: %s", layer->name,
                         status_name(status));
    rc = layer_ask_info(layer, why);
    if (rc != 0) {
        layer->table->close(layer->handle);
        return rc;
    }
    layer->lower = (struct bd_lower){ sizeof layer->lower, 0, &layer->info, layer };
    return 0;
}

/* Close and free from layer `first` on: the outer ones first, whose close may still use the inner.
 */
static void
layers_close(struct backend *backend, unsigned first)
{
    for (unsigned i = first; i < backend->layer_count; i++) {
        struct layer *layer = &backend->layers[i];

        assert(atomic_load(&layer->in_flight) == 0);
        layer->table->close(layer->handle);
        host_free(layer->host);
    }
}

int
backend_open(const struct backend_layer *layers, unsigned layer_count, struct pool *pool,
             struct stats *stats, struct error *why, struct backend **out)
{
    struct backend *backend;
    unsigned i;
    int rc;

    if (layer_count == 0)
        return error_set(why, -EINVAL, "no backend was named");
    backend = calloc(1, sizeof *backend + layer_count * sizeof backend->layers[0]);
    if (backend == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    backend->pool = pool;
    backend->layer_count = layer_count;
    backend->late = stats_counter(stats, "requests_late",
                                  "requests that ended more than 5 s after their deadline");
    for (i = layer_count; i-- > 0;) {
        struct layer *layer = &backend->layers[i];

        layer->backend = backend;
        layer->name = layers[i].name;
        layer->table = layers[i].table;
        atomic_init(&layer->in_flight, 0);
        atomic_init(&layer->is_told_late, false);
        rc = host_new(layer->name, pool, stats, &layer->host);
        if (rc != 0) {
            error_set(why, rc, "out of memory");
            goto close_inner;
        }
        rc = layer_open(layer, i + 1 < layer_count ? &backend->layers[i + 1].lower : NULL,
                        layers[i].options, why);
        if (rc != 0) {
            host_free(layer->host);
            goto close_inner;
        }
    }
    *out = backend;
    return 0;

close_inner:
    layers_close(backend, i + 1);
    free(backend);
    return rc;
}

void
backend_close(struct backend *backend)
{
    if (backend == NULL)
        return;
    layers_close(backend, 0);
    free(backend);
}

const struct bd_backend_info *
backend_info(const struct backend *backend)
{
    return &backend->layers[0].info;
}
