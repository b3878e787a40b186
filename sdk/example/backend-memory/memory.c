/* SPDX-License-Identifier: Apache-2.0 */
/* backend-memory: an example of a backend.  It keeps the objects in memory; closing it loses them.
 *
 * Written for authors of backends to copy, in the blocking form: six plain functions that do one
 * request each, called on threads of the SDK's adapter (bucketdisk/sdk.h).  Read it from top to
 * bottom: the options, what an instance is, the operations, the lifecycle, the tables.  What each
 * operation owes the host is in bucketdisk/plugin.h, above struct bd_io. */
#include <bucketdisk/sdk.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 4
#define OBJECT_BYTES_MAX ((uint64_t)1 << 32)

/* ---- options: a struct of plain fields, and a row for each, from which the host makes the command
 * line, --help and all checks.  This one is written --memory-name=LABEL, or given as the first word of
 * the command line, because of BD_OPTF_LOCATION. */

struct memory_options {
    const char *name;
};

static const struct bd_option memory_rows[] = {
    { .name = "name",
      .type = BD_OPT_STRING,
      .flags = BD_OPTF_LOCATION,
      BD_FIELD(struct memory_options, name),
      .def = "memory",
      .metavar = "LABEL",
      .help = "what to call this store in messages" },
};

/* ---- an instance.  No globals: two disks in one process have two. */

struct object {
    char *name;
    char *tag;      /* changes whenever the object does */
    char *encoding; /* NULL: none */
    unsigned char *body;
    size_t body_bytes;
    struct attr {
        char *name;
        unsigned char *value;
        size_t value_bytes;
    } * attrs;
    uint32_t attr_count;
};

struct memory {
    const struct bd_host *host;
    struct bd_blocking *blocking;
    char identity[64];
    const char *display;

    pthread_mutex_t lock; /* guards the following: the functions run on several threads at once */
    struct object **objects; /* sorted by name in byte order, as LIST must give them */
    size_t count, room;
    uint64_t tags_given;
};

/* ---- objects */

static void
object_free(struct object *object)
{
    if (object == NULL)
        return;
    for (uint32_t i = 0; i < object->attr_count; i++) {
        free(object->attrs[i].name);
        free(object->attrs[i].value);
    }
    free(object->attrs);
    free(object->body);
    free(object->encoding);
    free(object->tag);
    free(object->name);
    free(object);
}

/* malloc(0) may give NULL, which is not out of memory. */
static void *
copy_of(const void *data, size_t bytes)
{
    void *copy = malloc(bytes + 1);

    if (copy != NULL && bytes > 0)
        memcpy(copy, data, bytes);
    return copy;
}

/* A copy of all that a PUT brings: its pointers are only borrowed until it completes. */
static struct object *
object_of_put(const struct bd_io *io)
{
    struct object *object = calloc(1, sizeof *object);

    if (object == NULL)
        return NULL;
    object->name = strdup(io->name);
    object->body = copy_of(io->body, io->body_bytes);
    object->body_bytes = io->body_bytes;
    object->attrs = calloc(io->attr_count + 1, sizeof *object->attrs);
    if (object->name == NULL || object->body == NULL || object->attrs == NULL)
        goto fail;
    if (io->encoding != NULL) {
        object->encoding = strdup(io->encoding);
        if (object->encoding == NULL)
            goto fail;
    }
    for (uint32_t i = 0; i < io->attr_count; i++) {
        /* Never io->attrs[i]: a newer host's struct bd_attr may be longer than ours. */
        const struct bd_attr *from = bd_io_attr(io, i);
        struct attr *to = &object->attrs[object->attr_count++];

        to->name = strdup(from->name);
        to->value = copy_of(from->value, from->value_bytes);
        to->value_bytes = from->value_bytes;
        if (to->name == NULL || to->value == NULL)
            goto fail;
    }
    return object;

fail:
    object_free(object);
    return NULL;
}

/* Where `name` is, or would be put.  Byte order is strcmp's: it compares as unsigned char. */
static size_t
position_locked(const struct memory *memory, const char *name)
{
    size_t low = 0, high = memory->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(memory->objects[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct object *
find_locked(const struct memory *memory, const char *name, size_t *position)
{
    *position = position_locked(memory, name);
    if (*position == memory->count || strcmp(memory->objects[*position]->name, name) != 0)
        return NULL;
    return memory->objects[*position];
}

static void
remove_locked(struct memory *memory, size_t position)
{
    object_free(memory->objects[position]);
    memory->count--;
    memmove(&memory->objects[position], &memory->objects[position + 1],
            (memory->count - position) * sizeof(struct object *));
}

/* ---- operations.  Each returns what became of the request; none of them calls complete, the
 * adapter does. */

/* What HEAD and GET tell beside the body.  The host copies it all. */
static void
describe(const struct memory *memory, struct bd_io *io, const struct object *object)
{
    io->object_bytes = object->body_bytes;
    memory->host->tag_set(io, object->tag);
    if (object->encoding != NULL)
        memory->host->encoding_set(io, object->encoding);
    for (uint32_t i = 0; i < object->attr_count; i++)
        memory->host->attr_add(io, object->attrs[i].name, object->attrs[i].value,
                               object->attrs[i].value_bytes);
}

static enum bd_status
memory_get(void *self, struct bd_io *io)
{
    struct memory *memory = self;
    enum bd_status status = BD_OK;
    const struct object *object;
    size_t position;

    pthread_mutex_lock(&memory->lock);
    object = find_locked(memory, io->name, &position);
    if (object == NULL) {
        /* The store itself cannot vanish, so this is really ABSENT.  A store that can must first
         * make sure that it is still there: ABSENT means zeros to the host. */
        status = BD_ABSENT;
    } else if (!bd_conditions_hold(io, object->tag)) {
        status = BD_CONDITION;
    } else {
        /* min(cap, what is left from offset on); past the end that is nothing. */
        size_t left = io->offset < object->body_bytes ? object->body_bytes - io->offset : 0;

        io->len = left < io->cap ? left : io->cap;
        if (io->len > 0)
            memcpy(io->data, object->body + io->offset, io->len);
        describe(memory, io, object);
    }
    pthread_mutex_unlock(&memory->lock);
    return status;
}

static enum bd_status
memory_head(void *self, struct bd_io *io)
{
    struct memory *memory = self;
    const struct object *object;
    size_t position;

    pthread_mutex_lock(&memory->lock);
    object = find_locked(memory, io->name, &position);
    if (object != NULL)
        describe(memory, io, object);
    pthread_mutex_unlock(&memory->lock);
    return object == NULL ? BD_ABSENT : BD_OK;
}

static enum bd_status
memory_put(void *self, struct bd_io *io)
{
    struct memory *memory = self;
    struct object *object, *old;
    enum bd_status status = BD_FULL;
    char tag[24];
    size_t position;

    /* What info() said. */
    if (io->body_bytes > OBJECT_BYTES_MAX) {
        memory->host->error(io, "%zu bytes are more than an object may have", io->body_bytes);
        return BD_INVALID;
    }
    object = object_of_put(io);
    if (object == NULL)
        goto no_room;
    pthread_mutex_lock(&memory->lock);
    old = find_locked(memory, io->name, &position);
    /* The condition and the write are one step under the lock: that is what "atomic" asks for. */
    if (!bd_conditions_hold(io, old == NULL ? NULL : old->tag)) {
        status = BD_CONDITION;
        goto unlock;
    }
    snprintf(tag, sizeof tag, "%llu", (unsigned long long)++memory->tags_given);
    object->tag = strdup(tag);
    if (object->tag == NULL)
        goto unlock;
    if (old != NULL) {
        memory->objects[position] = object;
        object_free(old);
    } else {
        if (memory->count == memory->room) {
            size_t room = memory->room == 0 ? 64 : memory->room * 2;
            struct object **objects = realloc(memory->objects, room * sizeof(struct object *));

            if (objects == NULL)
                goto unlock;
            memory->objects = objects;
            memory->room = room;
        }
        memmove(&memory->objects[position + 1], &memory->objects[position],
                (memory->count - position) * sizeof(struct object *));
        memory->objects[position] = object;
        memory->count++;
    }
    memory->host->tag_set(io, object->tag);
    object = NULL; /* it is the store's now */
    status = BD_OK;

unlock:
    pthread_mutex_unlock(&memory->lock);
    object_free(object);
no_room:
    /* One sentence on why, beside the status. */
    if (status == BD_FULL)
        memory->host->error(io, "out of memory for %zu bytes", io->body_bytes);
    return status;
}

/* No delete_many: the adapter makes it from this one. */
static enum bd_status
memory_delete(void *self, struct bd_io *io)
{
    struct memory *memory = self;
    enum bd_status status = BD_OK; /* also when there is no such object */
    const struct object *object;
    size_t position;

    pthread_mutex_lock(&memory->lock);
    object = find_locked(memory, io->name, &position);
    if (!bd_conditions_hold(io, object == NULL ? NULL : object->tag))
        status = BD_CONDITION;
    else if (object != NULL)
        remove_locked(memory, position);
    pthread_mutex_unlock(&memory->lock);
    return status;
}

static enum bd_status
memory_list(void *self, struct bd_io *io)
{
    struct memory *memory = self;
    const char *prefix = io->name == NULL ? "" : io->name;
    size_t prefix_bytes = strlen(prefix);
    uint32_t given = 0;
    size_t i;

    pthread_mutex_lock(&memory->lock);
    /* Begin behind start_after, which need not exist itself, or at the prefix if that is later. */
    i = position_locked(memory, prefix);
    if (io->start_after != NULL) {
        size_t after = position_locked(memory, io->start_after);

        if (after < memory->count && strcmp(memory->objects[after]->name, io->start_after) == 0)
            after++;
        if (after > i)
            i = after;
    }
    for (; i < memory->count; i++) {
        const struct object *object = memory->objects[i];

        if (strncmp(object->name, prefix, prefix_bytes) != 0)
            break; /* sorted: nothing behind it has the prefix either */
        if (given == io->limit) {
            io->more = 1;
            break;
        }
        given++;
        if (!memory->host->list_add(io, object->name, object->body_bytes, object->tag)) {
            io->more = 1; /* maybe; the host will ask again */
            break;
        }
    }
    pthread_mutex_unlock(&memory->lock);
    return BD_OK;
}

static const struct bd_blocking_ops memory_ops = {
    .get = memory_get,
    .head = memory_head,
    .put = memory_put,
    .delete_object = memory_delete,
    .list = memory_list,
};

/* ---- lifecycle */

static enum bd_status
memory_open(const struct bd_host *host, const void *options, const struct bd_lower *lower,
            void **handle)
{
    const struct memory_options *opts = options;
    struct memory *memory = calloc(1, sizeof *memory);
    unsigned char random[16];
    enum bd_status status;

    (void)lower; /* for backends that stack: see BD_BACKEND_STACKS */
    if (memory == NULL) {
        host->log(host, BD_ERROR, "out of memory");
        return BD_FATAL;
    }
    memory->host = host;
    memory->display = opts->name == NULL ? "memory" : opts->name;
    /* No other instance is this store, whatever it is called, so its identity is drawn by lot. */
    host->random(random, sizeof random);
    memcpy(memory->identity, "memory:", 7);
    bd_hex(random, sizeof random, memory->identity + 7);
    pthread_mutex_init(&memory->lock, NULL);
    /* Last, because its threads may call us at once. */
    status = bd_blocking_new(host, &memory_ops, memory, THREADS, &memory->blocking);
    if (status != BD_OK) {
        host->log(host, BD_ERROR, "cannot make %d threads", THREADS);
        pthread_mutex_destroy(&memory->lock);
        free(memory);
        return status;
    }
    *handle = memory;
    return BD_OK;
}

/* Claim only what is true of every request: the host relies on it. */
static void
memory_info(void *handle, struct bd_backend_info *out)
{
    const struct memory *memory = handle;

    out->capabilities = BD_CAP_CONDITIONS_PUT | BD_CAP_CONDITIONS_GET | BD_CAP_CONDITIONS_DELETE
                        | BD_CAP_CONSISTENT | BD_CAP_RANGES | BD_CAP_ATTRS | BD_CAP_LOCAL;
    out->object_bytes_max = OBJECT_BYTES_MAX;
    out->concurrency = THREADS;
    out->identity = memory->identity;
    out->display = memory->display;
}

static void
memory_submit(void *handle, struct bd_io *io)
{
    struct memory *memory = handle;

    bd_blocking_submit(memory->blocking, io);
}

static void
memory_close(void *handle)
{
    struct memory *memory = handle;

    bd_blocking_free(memory->blocking); /* first: no thread of it uses the rest any more */
    for (size_t i = 0; i < memory->count; i++)
        object_free(memory->objects[i]);
    free(memory->objects);
    pthread_mutex_destroy(&memory->lock);
    free(memory);
}

/* ---- tables */

static const struct bd_backend memory_backend = {
    .head = BD_HEAD(BACKEND, struct bd_backend),
    .scratch_bytes = BD_BLOCKING_SCRATCH,
    .open = memory_open,
    .info = memory_info,
    .submit = memory_submit,
    .close = memory_close,
};

static const struct bd_plugin memory_plugin = {
    .head = BD_HEAD(PLUGIN, struct bd_plugin),
    .abi_minor = BD_ABI_MINOR,
    .name = "backend-memory", /* as the file: backend-memory.so */
    .version = "1.0",
    .summary = "example: objects in memory, lost when closed",
    .options = memory_rows,
    .option_count = sizeof memory_rows / sizeof memory_rows[0],
    .option_stride = sizeof memory_rows[0],
    .options_bytes = sizeof(struct memory_options),
    .backend = &memory_backend,
};

BD_PLUGIN(memory_plugin)
