/* SPDX-License-Identifier: Apache-2.0 */
/* A backend in memory that completes each request inside submit; see wrong.h.
 *
 * With a path it is a store that is there as long as the path is, and that answers nothing while a file "stalled" is in it. */
#include "wrong.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define OBJECTS_MAX 4096
#define OBJECT_BYTES_MAX ((size_t)5 << 20)
#define ATTRS_MAX 16

struct wrong_options {
    const char *path;
    const char *secret;
};

static const struct bd_option wrong_rows[] = {
    { .name = "path",
      .type = BD_OPT_PATH,
      .flags = BD_OPTF_LOCATION,
      BD_FIELD(struct wrong_options, path),
      .help = "what must exist" },
    { .name = "secret",
      .type = BD_OPT_SECRET,
      BD_FIELD(struct wrong_options, secret),
      .help = "nobody needs it" },
};

struct object {
    char *name, *body, *encoding;
    size_t bytes;
    char tag[32];
    bool is_gone; /* way: lists-deleted */
    unsigned attr_count, head_attr_count;
    struct {
        char name[64];
        unsigned char value[BD_ATTR_VALUE_BYTES_MAX];
        size_t bytes;
    } attrs[ATTRS_MAX];
};

struct wrong {
    const struct bd_host *host;
    const char *path;                    /* NULL: it is always there */
    pthread_mutex_t lock;                /* guards all */
    struct object *objects[OBJECTS_MAX]; /* by name */
    unsigned count, puts;
    bool is_late_done, is_closing;
    bool has_stalled;                      /* once */
    char kept_name[BD_NAME_BYTES_MAX + 1]; /* way: stalled-put-is-kept; "": none */
    int busy;                              /* way: busy-after-complete */
    pthread_t thread;                      /* way: takes-signals */
    void *threads[64];                     /* of torn */
    unsigned thread_count;
    char identity[32];
};

static struct wrong *only_one; /* way: global */
static int opening;            /* way: one-at-a-time */
static unsigned opened;        /* way: opens-rarely */

/* ------------------------------------------------------------------ objects */

static void
object_free(struct object *object)
{
    if (object == NULL)
        return;
    free(object->name);
    free(object->body);
    free(object->encoding);
    free(object);
}

/* Where it is, or would be. */
static unsigned
find(const struct wrong *wrong, const char *name, bool *is_there)
{
    unsigned at = 0;

    while (at < wrong->count && strcmp(wrong->objects[at]->name, name) < 0)
        at++;
    *is_there = at < wrong->count && strcmp(wrong->objects[at]->name, name) == 0
                && !wrong->objects[at]->is_gone;
    return at;
}

static void
remove_at(struct wrong *wrong, unsigned at)
{
    object_free(wrong->objects[at]);
    memmove(&wrong->objects[at], &wrong->objects[at + 1],
            (--wrong->count - at) * sizeof wrong->objects[0]);
}

static enum bd_status
missing(const struct wrong *wrong)
{
    if (wrong->path == NULL || access(wrong->path, F_OK) == 0)
        return BD_OK;
    return is_wrong("vanished-is-absent") ? BD_ABSENT : BD_FATAL;
}

static void
labels_take(struct object *object, const struct bd_io *io, const struct object *old)
{
    const unsigned most = is_wrong("few-attributes") ? 4 : ATTRS_MAX;

    if (is_wrong("merges-attributes") && old != NULL) {
        memcpy(object->attrs, old->attrs, sizeof object->attrs);
        object->attr_count = old->attr_count;
    }
    if (is_wrong("crashes") && io->attr_count > 4)
        abort();
    for (uint32_t i = 0; i < io->attr_count && object->attr_count < most; i++) {
        /* The stride is the host's, and not the size that is known here. */
        const struct bd_attr *attr = is_wrong("ignores-stride") ? &io->attrs[i] : bd_io_attr(io, i);

        if (attr->name == NULL || attr->value_bytes > BD_ATTR_VALUE_BYTES_MAX)
            continue;
        snprintf(object->attrs[object->attr_count].name, 64, "%s", attr->name);
        memcpy(object->attrs[object->attr_count].value, attr->value, attr->value_bytes);
        object->attrs[object->attr_count++].bytes = attr->value_bytes;
    }
}

static void
describe(const struct wrong *wrong, struct bd_io *io, const struct object *object)
{
    const struct bd_host *host = wrong->host;

    io->object_bytes = object->bytes;
    host->tag_set(io, is_wrong("head-tag") && io->op == BD_HEAD_OBJECT ? "other" : object->tag);
    if (object->encoding != NULL)
        host->encoding_set(io, object->encoding);
    for (unsigned i = 0; i < (io->op == BD_GET ? object->attr_count : object->head_attr_count); i++)
        host->attr_add(io, object->attrs[i].name, object->attrs[i].value, object->attrs[i].bytes);
}

static void
nap(unsigned ms)
{
    const struct timespec time = { ms / 1000, (long)(ms % 1000) * 1000000 };

    nanosleep(&time, NULL);
}

/* ------------------------------------------------------------------ operations */

static enum bd_status
put(struct wrong *wrong, struct bd_io *io, const char *name)
{
    struct object *object;
    size_t bytes = io->body_bytes;
    bool is_there;
    unsigned at = find(wrong, name, &is_there);
    const char *tag = is_there ? wrong->objects[at]->tag : NULL;
    struct bd_io asked = *io;

    if (io->body_bytes > OBJECT_BYTES_MAX && !is_wrong("takes-too-much"))
        return BD_INVALID;
    if (io->body_bytes == OBJECT_BYTES_MAX && is_wrong("refuses-the-largest"))
        return BD_INVALID;
    if (is_wrong("ignores-if-match"))
        asked.if_match = NULL;
    if (is_wrong("ignores-if-none-match")
        || (is_wrong("knows-no-if-none-match-tag") && io->if_none_match != NULL
            && strcmp(io->if_none_match, "*") != 0))
        asked.if_none_match = NULL;
    if (!is_wrong("ignores-unclaimed") && !bd_conditions_hold(&asked, tag))
        return BD_CONDITION;
    object = calloc(1, sizeof *object);
    if (object == NULL)
        return BD_FULL;
    if (is_wrong("loses-a-byte") && bytes > 65536)
        bytes--;
    object->name = strdup(name);
    object->body = malloc(bytes + 1);
    object->bytes = bytes;
    memcpy(object->body, bytes > 0 ? io->body : "", bytes);
    object->encoding = io->encoding != NULL ? strdup(io->encoding) : NULL;
    labels_take(object, io, is_there ? wrong->objects[at] : NULL);
    object->head_attr_count =
        is_wrong("stale-head") && is_there ? wrong->objects[at]->attr_count : object->attr_count;
    if (is_wrong("one-tag"))
        snprintf(object->tag, sizeof object->tag, "%zu", bytes);
    else
        snprintf(object->tag, sizeof object->tag, "%u", ++wrong->puts);
    if (!is_wrong("puts-without-tag"))
        wrong->host->tag_set(io, object->tag);
    if (at < wrong->count && strcmp(wrong->objects[at]->name, name) == 0)
        object_free(wrong->objects[at]);
    else
        memmove(&wrong->objects[at + 1], &wrong->objects[at],
                (wrong->count++ - at) * sizeof wrong->objects[0]);
    wrong->objects[at] = object;
    return BD_OK;
}

static enum bd_status
get(struct wrong *wrong, struct bd_io *io, const char *name)
{
    bool is_there;
    const unsigned at = find(wrong, name, &is_there);
    const struct object *object;
    uint64_t offset = is_wrong("ignores-offset") ? 0 : io->offset;
    size_t left;

    if (!is_there)
        return is_wrong("absent-match") && io->if_match != NULL ? BD_OK : BD_ABSENT;
    object = wrong->objects[at];
    if (is_wrong("mixes-up") && object->bytes == 3000 && at > 0
        && wrong->objects[at - 1]->bytes == 3000)
        object = wrong->objects[at - 1];
    if (!is_wrong("ignores-get-conditions") && !is_wrong("ignores-unclaimed")
        && !bd_conditions_hold(io, object->tag))
        return BD_CONDITION;
    left = offset < object->bytes ? object->bytes - (size_t)offset : 0;
    io->len = left < io->cap ? left : io->cap;
    if (left > 0)
        memcpy(io->data, object->body + offset,
               is_wrong("writes-past-cap") && left < 64 ? left : io->len);
    describe(wrong, io, object);
    return BD_OK;
}

static enum bd_status
head(struct wrong *wrong, struct bd_io *io, const char *name)
{
    bool is_there;
    const unsigned at = find(wrong, name, &is_there);

    if (!is_there)
        return is_wrong("absent-is-empty") ? BD_OK : BD_ABSENT;
    describe(wrong, io, wrong->objects[at]);
    return BD_OK;
}

static enum bd_status
delete_one(struct wrong *wrong, const struct bd_io *io, const char *name)
{
    bool is_there;
    const unsigned at = find(wrong, name, &is_there);
    const bool is_blind = is_wrong("ignores-delete-conditions") || is_wrong("ignores-unclaimed");

    if (!is_blind && !bd_conditions_hold(io, is_there ? wrong->objects[at]->tag : NULL))
        return BD_CONDITION;
    if (is_there && is_wrong("lists-deleted"))
        wrong->objects[at]->is_gone = true;
    else if (is_there)
        remove_at(wrong, at);
    if (is_there && is_wrong("deleted-is-absent"))
        return BD_ABSENT;
    return is_there || !is_wrong("absent-delete") ? BD_OK : BD_ABSENT;
}

static enum bd_status
delete_many(struct wrong *wrong, struct bd_io *io)
{
    struct bd_io one = *io;

    if (io->name_count > 100 && is_wrong("few-names"))
        return BD_INVALID;
    for (uint32_t i = 0; i < io->name_count; i++) {
        bool is_there;

        find(wrong, io->names[i], &is_there);
        if (is_there || !is_wrong("leaves-out-statuses"))
            io->statuses[i] = delete_one(wrong, &one, io->names[i]);
    }
    return BD_OK;
}

static enum bd_status
list(struct wrong *wrong, struct bd_io *io)
{
    const char *prefix = io->name != NULL             ? io->name
                         : is_wrong("needs-a-prefix") ? "no name begins like this"
                                                      : "";
    const uint32_t limit = io->limit + (is_wrong("over-limit") ? 1 : 0);
    const char *after = io->start_after;
    uint32_t given = 0;
    bool is_there = true, is_enough = false;

    if (after != NULL && is_wrong("after-must-exist")) {
        find(wrong, after, &is_there);
        after = is_there ? after : NULL;
    }
    for (unsigned i = 0; i < wrong->count; i++) {
        const unsigned at = is_wrong("backwards") ? wrong->count - 1 - i : i;
        const struct object *object = wrong->objects[at];

        if ((strncmp(object->name, prefix, strlen(prefix)) != 0 && !is_wrong("ignores-prefix"))
            || (after != NULL && strcmp(object->name, after) <= 0))
            continue;
        if (given == limit || (given == 2 && is_wrong("short-pages"))
            || (is_enough && !is_wrong("never-enough"))) {
            io->more = 1;
            break;
        }
        given++;
        is_enough = !wrong->host->list_add(io, object->name,
                                           is_wrong("listed-sizes") ? 7 : object->bytes, NULL)
                    || is_enough;
    }
    if (is_enough || (wrong->count == 0 && is_wrong("more-of-nothing")))
        io->more = 1;
    return BD_OK;
}

/* Way: decodes-names. */
static void
decode_name(char *name)
{
    char *code = strstr(name, "%6e");

    if (code != NULL && is_wrong("decodes-names")) {
        *code = 'n';
        memmove(code + 1, code + 3, strlen(code + 3) + 1);
    }
    if (is_wrong("cuts-names") && strlen(name) > 255)
        name[255] = '\0';
}

static bool
is_refused(const char *name)
{
    return is_wrong("refuses-names") && strchr(name, '\n') != NULL;
}

static bool
is_unclaimed(const struct bd_io *io)
{
    return (is_wrong("one-tag") || is_wrong("claims-nothing"))
           && (io->if_match != NULL || io->if_none_match != NULL);
}

/* ------------------------------------------------------------------ a store that stalls */

static bool
is_stalled(const struct wrong *wrong)
{
    char file[4096];

    snprintf(file, sizeof file, "%s/stalled", wrong->path != NULL ? wrong->path : "");
    return wrong->path != NULL && access(file, F_OK) == 0;
}

/* Way: stalled-put-is-kept. */
static void
put_kept(struct wrong *wrong)
{
    struct object *object = calloc(1, sizeof *object);
    bool is_there;
    unsigned at = find(wrong, wrong->kept_name, &is_there);

    if (is_there || object == NULL) {
        free(object);
        return;
    }
    object->name = strdup(wrong->kept_name);
    object->body = strdup("new");
    object->bytes = 3;
    memmove(&wrong->objects[at + 1], &wrong->objects[at],
            (wrong->count++ - at) * sizeof wrong->objects[0]);
    wrong->objects[at] = object;
    wrong->kept_name[0] = '\0';
}

static enum bd_status
stalled(struct wrong *wrong, const struct bd_io *io)
{
    const bool is_put = io->op == BD_PUT;

    if (is_wrong("stalled-get-is-absent") && io->op == BD_GET)
        return BD_ABSENT;
    if (is_wrong("stalled-list-is-unknown") && io->op == BD_LIST)
        return BD_UNKNOWN;
    if (is_wrong("stalled-put-is-denied") && is_put)
        return BD_DENIED;
    if (is_wrong("stalled-put-is-late") && is_put && !wrong->is_late_done) {
        wrong->is_late_done = true;
        nap(4500);
    }
    if (is_wrong("stalled-put-is-kept") && is_put)
        strcpy(wrong->kept_name, io->name);
    return BD_RETRY;
}

/* Way: tidying-hangs. */
static void
say_and_hang(const struct wrong *wrong)
{
    char name[4096];
    FILE *file;

    snprintf(name, sizeof name, "%s/hangs", wrong->path);
    file = fopen(name, "w");
    if (file != NULL)
        fclose(file);
    pause();
}

static enum bd_status
perform(struct wrong *wrong, struct bd_io *io)
{
    char name[BD_NAME_BYTES_MAX + 1] = "";
    enum bd_status status = missing(wrong);

    if (status != BD_OK)
        return status;
    if (io->deadline_ns <= wrong->host->now_ns() && !is_wrong("ignores-deadlines"))
        return BD_RETRY;
    if (is_stalled(wrong) || (wrong->has_stalled && is_wrong("stalls-for-ever"))) {
        wrong->has_stalled = true;
        return stalled(wrong, io);
    }
    if (wrong->kept_name[0] != '\0')
        put_kept(wrong);
    if (is_unclaimed(io))
        return BD_UNSUPPORTED;
    snprintf(name, sizeof name, "%s", io->name != NULL ? io->name : "");
    decode_name(name);
    if (is_refused(name))
        return BD_UNSUPPORTED;
    if (is_wrong("tidying-hangs") && strcmp(name, "bucketdisk-check-") == 0)
        say_and_hang(wrong);
    switch (io->op) {
    case BD_PUT:
        return put(wrong, io, name);
    case BD_GET:
        return get(wrong, io, name);
    case BD_HEAD_OBJECT:
        return head(wrong, io, name);
    case BD_DELETE:
        return delete_one(wrong, io, name);
    case BD_DELETE_MANY:
        return delete_many(wrong, io);
    case BD_LIST:
        return list(wrong, io);
    }
    if (is_wrong("hangs"))
        pause();
    return is_wrong("unknown-is-ok") ? BD_OK : BD_UNSUPPORTED;
}

/* ------------------------------------------------------------------ way: torn */

struct torn {
    struct wrong *wrong;
    struct bd_io *io;
};

/* First a short body, then the whole one. */
static void
torn_put(void *arg)
{
    struct torn *torn = arg;
    struct wrong *wrong = torn->wrong;
    struct bd_io *io = torn->io;
    const size_t bytes = io->body_bytes;
    enum bd_status status;

    pthread_mutex_lock(&wrong->lock);
    io->body_bytes = bytes / 2;
    put(wrong, io, io->name);
    pthread_mutex_unlock(&wrong->lock);
    nap(5);
    pthread_mutex_lock(&wrong->lock);
    io->body_bytes = bytes;
    status = put(wrong, io, io->name);
    pthread_mutex_unlock(&wrong->lock);
    free(torn);
    wrong->host->complete(io, status);
}

/* Way: busy-after-complete. */
static void
busy_put(void *arg)
{
    struct torn *torn = arg;
    struct wrong *wrong = torn->wrong;
    enum bd_status status;

    pthread_mutex_lock(&wrong->lock);
    status = put(wrong, torn->io, torn->io->name);
    pthread_mutex_unlock(&wrong->lock);
    wrong->host->complete(torn->io, status);
    free(torn);
    nap(50);
    __atomic_fetch_sub(&wrong->busy, 1, __ATOMIC_SEQ_CST);
}

static bool
is_busy(const struct bd_io *io)
{
    return is_wrong("busy-after-complete") && io->op == BD_PUT && io->body_bytes == 8
           && memcmp(io->body, "the last", 8) == 0;
}

static bool
is_torn(struct wrong *wrong, struct bd_io *io)
{
    struct torn *torn;

    if (!is_busy(io)
        && (!is_wrong("torn") || io->op != BD_PUT || io->body_bytes / 10001 != 2
            || wrong->thread_count == 64))
        return false;
    torn = malloc(sizeof *torn);
    *torn = (struct torn){ wrong, io };
    if (is_busy(io))
        __atomic_fetch_add(&wrong->busy, 1, __ATOMIC_SEQ_CST);
    wrong->threads[wrong->thread_count++] =
        wrong->host->thread_new(wrong->host, "torn", is_busy(io) ? busy_put : torn_put, torn);
    return true;
}

/* ------------------------------------------------------------------ lifecycle */

static void
wrong_submit(void *handle, struct bd_io *io)
{
    struct wrong *wrong = is_wrong("global") ? only_one : handle;
    const bool is_twice = is_wrong("twice") && io->op == BD_PUT && io->body_bytes == 3000;
    enum bd_status status;

    if (is_wrong("never") && io->op == BD_HEAD_OBJECT && strstr(io->name, "none") != NULL)
        return;
    if (is_wrong("stalled-get-never-ends") && io->op == BD_GET && is_stalled(wrong))
        return;
    if (is_wrong("waits") && io->op == BD_PUT && io->body_bytes == 1
        && ((const char *)io->body)[0] == 'x' && strcmp(io->name + strlen(io->name) - 2, "-a") == 0)
        nap(150);
    if (is_torn(wrong, io))
        return;
    if (is_wrong("scratch"))
        memset(io->scratch, 0, 8);
    if (is_wrong("host-struct") && wrong->host->head.size > sizeof *wrong->host)
        memset((char *)io + sizeof *io, 0, 8);
    pthread_mutex_lock(&wrong->lock);
    if (is_wrong("late") && !wrong->is_late_done && io->deadline_ns > wrong->host->now_ns()
        && io->deadline_ns < wrong->host->now_ns() + 30000000) {
        wrong->is_late_done = true;
        nap(3200);
    }
    status = perform(wrong, io);
    if (is_wrong("changes-requests"))
        io->offset += io->len;
    pthread_mutex_unlock(&wrong->lock);
    wrong->host->complete(io, status);
    if (is_twice)
        wrong->host->complete(io, status);
    if (is_wrong("touches-later"))
        *(volatile uint32_t *)&io->retry_after_ms = 0;
}

static void
stay(void *arg)
{
    (void)arg;
    pause();
}

static void
do_nothing(void *arg)
{
    (void)arg;
}

static void *
wait_for_close(void *arg)
{
    struct wrong *wrong = arg;

    while (!__atomic_load_n(&wrong->is_closing, __ATOMIC_ACQUIRE))
        nap(5);
    return NULL;
}

static enum bd_status
wrong_open(const struct bd_host *host, const void *options, const struct bd_lower *lower,
           void **handle)
{
    const struct wrong_options *opts = options;
    struct wrong *wrong;

    (void)lower;
    if (opts->path != NULL && access(opts->path, F_OK) != 0) {
        if (!is_wrong("fails-silently"))
            host->log(host, BD_ERROR, "%s does not exist: make it", opts->path);
        return BD_INVALID;
    }
    if (is_wrong("never-opens") || (is_wrong("opens-rarely") && ++opened > 5)) {
        host->log(host, BD_ERROR, "it is worn out: buy another one");
        return BD_FATAL;
    }
    wrong = calloc(1, sizeof *wrong);
    if (wrong == NULL)
        return BD_FATAL;
    if (is_wrong("needs-a-counter") && host->counter(host, "any", "any") == NULL) {
        host->log(host, BD_ERROR, "out of memory");
        free(wrong);
        return BD_FATAL;
    }
    if (is_wrong("one-at-a-time")) {
        if (__atomic_fetch_add(&opening, 1, __ATOMIC_SEQ_CST) > 0) {
            __atomic_fetch_sub(&opening, 1, __ATOMIC_SEQ_CST);
            host->log(host, BD_ERROR, "somebody opens another one");
            free(wrong);
            return BD_INVALID;
        }
        nap(20);
        __atomic_fetch_sub(&opening, 1, __ATOMIC_SEQ_CST);
    }
    if (opts->secret != NULL)
        host->log(host, BD_INFO, "a secret was given%s%s", is_wrong("tells") ? ": " : "",
                  is_wrong("tells") ? opts->secret : "");
    wrong->host = host;
    wrong->path = opts->path;
    pthread_mutex_init(&wrong->lock, NULL);
    bd_hex(&wrong, sizeof wrong, wrong->identity);
    if (is_wrong("one-identity"))
        strcpy(wrong->identity, "wrong");
    if (is_wrong("takes-signals"))
        pthread_create(&wrong->thread, NULL, wait_for_close, wrong);
    if (is_wrong("leaves-a-timer"))
        host->timer(host, host->now_ns() + 1000000000, do_nothing, NULL);
    if (is_wrong("leaves-a-file"))
        (void)!dup(STDERR_FILENO);
    if (is_wrong("leaves-a-thread"))
        host->thread_new(host, "stays", stay, NULL);
    only_one = wrong;
    *handle = wrong;
    return BD_OK;
}

static void
wrong_info(void *handle, struct bd_backend_info *out)
{
    const struct wrong *wrong = handle;

    out->capabilities = BD_CAP_DELETE_MANY | BD_CAP_CONSISTENT | BD_CAP_RANGES | BD_CAP_ATTRS;
    if (!is_wrong("one-tag") && !is_wrong("ignores-unclaimed") && !is_wrong("claims-nothing"))
        out->capabilities |=
            BD_CAP_CONDITIONS_PUT | BD_CAP_CONDITIONS_GET | BD_CAP_CONDITIONS_DELETE;
    out->object_bytes_max = OBJECT_BYTES_MAX;
    out->identity = is_wrong("no-identity") ? NULL : wrong->identity;
    out->display = "wrong";
    if (is_wrong("info-overflows") && out->size == sizeof *out)
        memset(out + 1, 0, 8);
}

static void
wrong_close(void *handle)
{
    struct wrong *wrong = is_wrong("global") ? only_one : handle;

    if (wrong == NULL)
        return;
    if (__atomic_load_n(&wrong->busy, __ATOMIC_SEQ_CST) > 0)
        abort();
    if (is_wrong("takes-signals")) {
        __atomic_store_n(&wrong->is_closing, true, __ATOMIC_RELEASE);
        pthread_join(wrong->thread, NULL);
    }
    while (wrong->thread_count > 0)
        wrong->host->thread_join(wrong->threads[--wrong->thread_count]);
    while (wrong->count > 0)
        remove_at(wrong, 0);
    if (is_wrong("global")) {
        return; /* whoever uses it afterwards finds it empty */
    }
    pthread_mutex_destroy(&wrong->lock);
    free(wrong);
}

static enum bd_status
wrong_check(const void *options, char *why, size_t why_bytes)
{
    const struct wrong_options *opts = options;

    if (is_wrong("check-overflows"))
        memset(why, 0, why_bytes + 1);
    if (is_wrong("check-tells") && opts->secret != NULL) {
        snprintf(why, why_bytes, "%s is no good secret", opts->secret);
        return BD_INVALID;
    }
    return BD_OK;
}

static const struct bd_backend wrong_backend = {
    .head = BD_HEAD(BACKEND, struct bd_backend),
    .scratch_bytes = 0,
    .open = wrong_open,
    .info = wrong_info,
    .submit = wrong_submit,
    .close = wrong_close,
};

static const struct bd_plugin wrong_plugin = {
    .head = BD_HEAD(PLUGIN, struct bd_plugin),
    .abi_minor = BD_ABI_MINOR,
    .name = "backend-wrong",
    .version = "1.0",
    .summary = "exists to be wrong",
    .options = wrong_rows,
    .option_count = sizeof wrong_rows / sizeof wrong_rows[0],
    .option_stride = sizeof wrong_rows[0],
    .options_bytes = sizeof(struct wrong_options),
    .check = wrong_check,
    .backend = &wrong_backend,
};

BD_PLUGIN(wrong_plugin)
