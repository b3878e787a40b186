/* SPDX-License-Identifier: Apache-2.0 */
/* backend-chaos: stacks on another backend and makes it fail, as told, from a seed.
 *
 * Every decision is a hash of the seed, the kind of fault, the operation, the name, and how often
 * this operation came for this name before.  So a replay with the same seed decides alike for the
 * same requests, in whatever order the threads bring them.
 *
 * The way of a request:
 *
 *   submit -> delay -> refused? (retry, denied, full, fatal, late, discard)
 *                   -> passed on as a child -> damaged? (lost, corrupt, truncate) -> complete
 *
 * Its state lives in the scratch.  With `stale`, a write first learns whether the object exists
 * (HEAD) unless that is known, so that "absent" can be the version before. */
#include <bucketdisk/sdk.h>

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MILLION 1000000u
#define BUCKETS 4096u
#define NS_PER_MS 1000000ull
#define LATE_DEADLINE_NS (60 * 1000000000ull)

struct chaos_options {
    uint64_t seed;
    uint64_t latency_ms, jitter_ms, late_by_ms;
    uint32_t retry, denied, full, fatal, lost, late, corrupt, truncate, stale;
    uint64_t stale_memory_bytes;
    uint8_t discard;
    uint64_t die_at;
    const char *only;
    const char *match;
};

#define CHANCE(field, text)                                                                        \
    {                                                                                              \
        .name = #field, .type = BD_OPT_UINT, BD_FIELD(struct chaos_options, field), .def = "0",    \
        .max = MILLION, .metavar = "PPM", .help = text                                             \
    }

static const struct bd_option chaos_rows[] = {
    { .name = "seed",
      .type = BD_OPT_UINT,
      BD_FIELD(struct chaos_options, seed),
      .def = "1",
      .help = "what all decisions are drawn from" },
    { .name = "latency",
      .type = BD_OPT_DURATION,
      BD_FIELD(struct chaos_options, latency_ms),
      .def = "0",
      .help = "delay each request by this" },
    { .name = "jitter",
      .type = BD_OPT_DURATION,
      BD_FIELD(struct chaos_options, jitter_ms),
      .def = "0",
      .help = "and by up to this more" },
    CHANCE(retry, "chance per million to fail with \"try again\", not done"),
    CHANCE(denied, "chance per million to fail with \"no right\", not done"),
    CHANCE(full, "chance per million to fail with \"no room\", not done"),
    CHANCE(fatal, "chance per million to fail for good, not done"),
    CHANCE(lost, "chance per million that a write is done but its answer is lost"),
    CHANCE(late, "chance per million that a write's answer is lost, and it is done later"),
    { .name = "late-by",
      .type = BD_OPT_DURATION,
      BD_FIELD(struct chaos_options, late_by_ms),
      .def = "5s",
      .help = "how much later" },
    CHANCE(corrupt, "chance per million that a bit of a read body is flipped"),
    CHANCE(truncate, "chance per million that a read body is cut short"),
    CHANCE(stale, "chance per million that a read gives the version before the latest"),
    { .name = "stale-memory",
      .type = BD_OPT_SIZE,
      BD_FIELD(struct chaos_options, stale_memory_bytes),
      .def = "64M",
      .help = "bodies to remember for it at most" },
    { .name = "discard",
      .type = BD_OPT_BOOL,
      BD_FIELD(struct chaos_options, discard),
      .def = "no",
      .help = "claim that writes are done and do nothing" },
    { .name = "die-at",
      .type = BD_OPT_UINT,
      BD_FIELD(struct chaos_options, die_at),
      .def = "0",
      .help = "kill the process at this operation, before or after it is done; 0: never" },
    { .name = "only",
      .type = BD_OPT_STRING,
      BD_FIELD(struct chaos_options, only),
      .metavar = "OPS",
      .help = "only for these of get,head,put,delete,delete-many,list" },
    { .name = "match",
      .type = BD_OPT_STRING,
      BD_FIELD(struct chaos_options, match),
      .metavar = "TEXT",
      .help = "only for names that contain this" },
};

/* What can be done to a request; a number of each kind is part of its decisions' hash. */
enum fault {
    RETRY,
    DENIED,
    FULL,
    FATAL,
    LOST,
    LATE,
    CORRUPT,
    TRUNCATE,
    STALE,
    DISCARD,
    DIE,
    DELAY,
    FAULTS
};

static const char *const fault_names[FAULTS] = {
    "retry",   "denied",   "full",  "fatal",   "lost", "late",
    "corrupt", "truncate", "stale", "discard", "die",  "delay",
};

static const char *const op_names[] = {
    [BD_GET] = "get",       [BD_HEAD_OBJECT] = "head",        [BD_PUT] = "put",
    [BD_DELETE] = "delete", [BD_DELETE_MANY] = "delete-many", [BD_LIST] = "list",
};
#define OPS (sizeof op_names / sizeof op_names[0])

/* What a PUT stored, shared by counting: the object's latest version may be read as stale while
 * newer ones come. `child` is the finished PUT, kept because it holds the tag. */
struct version {
    unsigned references; /* under memory_lock */
    struct bd_io *put;   /* a copy; NULL: there was no object */
    struct bd_io *child;
};

/* What is remembered of one name.  NULL: that version is not known. */
struct memory {
    struct memory *next;          /* in its bucket */
    struct memory *older, *newer; /* by last write */
    struct version *latest, *before;
    char name[];
};

/* How often an operation came for a name; 64 bits of hash stand for the pair. */
struct count {
    uint64_t key; /* 0: free */
    uint64_t value;
};

struct chaos {
    const struct bd_host *host;
    const struct chaos_options *opts;
    const struct bd_lower *lower;
    bool only[OPS];
    void *counters[FAULTS];

    pthread_mutex_t lock; /* guards the counts and late_count */
    pthread_cond_t none_late;
    struct count *counts;            /* a hash table with open addressing, at most half full */
    size_t counts_used, counts_room; /* room: a power of two, or 0 */
    uint64_t operations;
    uint64_t late_count;

    pthread_mutex_t memory_lock; /* guards the following; taken alone */
    struct memory *buckets[BUCKETS];
    struct memory *oldest, *newest;
    uint64_t memory_bytes;
};

/* The state of a request, in its scratch. */
struct chaos_op {
    struct chaos *chaos;
    struct bd_io *io;
    struct bd_io *child;
    uint64_t random; /* of this request; each fault mixes its own number in */
    bool applies;
    bool dies_after;
    struct version *version; /* stale: of the PUT on its way */
};

/* ------------------------------------------------------------------ decisions */

/* splitmix64's finaliser */
static uint64_t
mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

static uint64_t
hash_text(const char *text)
{
    uint64_t hash = 14695981039346656037ull; /* FNV-1a */

    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * 1099511628211ull;
    return hash;
}

static struct count *
count_find(struct count *counts, size_t room, uint64_t key)
{
    size_t slot = key & (room - 1);

    while (counts[slot].key != 0 && counts[slot].key != key)
        slot = (slot + 1) & (room - 1);
    return &counts[slot];
}

static bool
counts_grow_locked(struct chaos *chaos)
{
    size_t room = chaos->counts_room == 0 ? 1024 : chaos->counts_room * 2;
    struct count *counts = calloc(room, sizeof *counts);

    if (counts == NULL)
        return false;
    for (size_t i = 0; i < chaos->counts_room; i++) {
        if (chaos->counts[i].key != 0)
            *count_find(counts, room, chaos->counts[i].key) = chaos->counts[i];
    }
    free(chaos->counts);
    chaos->counts = counts;
    chaos->counts_room = room;
    return true;
}

/* How often this was asked for before. Out of memory, a new name counts as never seen. */
static uint64_t
count_locked(struct chaos *chaos, uint64_t key)
{
    struct count *count;

    key += key == 0;
    if (chaos->counts_used * 2 >= chaos->counts_room && !counts_grow_locked(chaos)) {
        if (chaos->counts_used + 1 >= chaos->counts_room)
            return 0;
    }
    count = count_find(chaos->counts, chaos->counts_room, key);
    if (count->key == 0) {
        count->key = key;
        chaos->counts_used++;
    }
    return count->value++;
}

/* What stands for a request: its name, or the first of many. */
static const char *
subject(const struct bd_io *io)
{
    if (io->op == BD_DELETE_MANY)
        return io->name_count > 0 ? io->names[0] : "";
    return io->name == NULL ? "" : io->name;
}

static bool
applies(const struct chaos *chaos, const struct bd_io *io)
{
    if (io->op >= OPS || !chaos->only[io->op])
        return false;
    if (chaos->opts->match == NULL || chaos->opts->match[0] == '\0')
        return true;
    if (io->op == BD_DELETE_MANY) {
        for (uint32_t i = 0; i < io->name_count; i++) {
            if (strstr(io->names[i], chaos->opts->match) != NULL)
                return true;
        }
        return false;
    }
    return strstr(subject(io), chaos->opts->match) != NULL;
}

static bool
is_write(const struct bd_io *io)
{
    return io->op == BD_PUT || io->op == BD_DELETE || io->op == BD_DELETE_MANY;
}

static uint64_t
draw(const struct chaos_op *op, enum fault fault)
{
    return mix(op->random + (uint64_t)fault * 0x632be59bd9b4e019ull);
}

/* Count and log a fault that is being done. */
static void
tell(const struct chaos_op *op, enum fault fault)
{
    const struct bd_host *host = op->chaos->host;

    host->counter_add(op->chaos->counters[fault], 1);
    host->log(host, BD_DEBUG, "%s: %s %s", fault_names[fault], op_names[op->io->op],
              subject(op->io));
}

static bool
happens(const struct chaos_op *op, enum fault fault, uint32_t per_million)
{
    return op->applies && draw(op, fault) % MILLION < per_million;
}

/* ------------------------------------------------------------------ copies */

static void *
bytes_copy(const void *data, size_t bytes, bool *is_whole)
{
    void *copy = malloc(bytes + 1);

    if (copy == NULL)
        *is_whole = false;
    else if (bytes > 0)
        memcpy(copy, data, bytes);
    return copy;
}

static char *
text_copy(const char *text, bool *is_whole)
{
    return text == NULL ? NULL : bytes_copy(text, strlen(text) + 1, is_whole);
}

static struct bd_attr *
attrs_copy(const struct bd_io *io, bool *is_whole)
{
    struct bd_attr *attrs = calloc((size_t)io->attr_count + 1, sizeof *attrs);

    if (attrs == NULL)
        *is_whole = false;
    for (uint32_t i = 0; attrs != NULL && i < io->attr_count; i++) {
        const struct bd_attr *from = bd_io_attr(io, i);

        attrs[i].name = text_copy(from->name, is_whole);
        attrs[i].value = bytes_copy(from->value, from->value_bytes, is_whole);
        attrs[i].value_bytes = from->value_bytes;
    }
    return attrs;
}

static const char *const *
names_copy(const struct bd_io *io, bool *is_whole)
{
    const char **names = calloc((size_t)io->name_count + 1, sizeof *names);

    if (names == NULL)
        *is_whole = false;
    for (uint32_t i = 0; names != NULL && i < io->name_count; i++)
        names[i] = text_copy(io->names[i], is_whole);
    return names;
}

static void
drop(const void *copied)
{
    free((void *)(uintptr_t)copied);
}

static void
copy_free(struct bd_io *copy)
{
    for (uint32_t i = 0; copy->names != NULL && i < copy->name_count; i++)
        drop(copy->names[i]);
    for (uint32_t i = 0; copy->attrs != NULL && i < copy->attr_count; i++) {
        drop(copy->attrs[i].name);
        drop(copy->attrs[i].value);
    }
    drop(copy->names);
    drop(copy->statuses);
    drop(copy->attrs);
    drop(copy->body);
    drop(copy->name);
    drop(copy->encoding);
    drop(copy->media_type);
    drop(copy->if_match);
    drop(copy->if_none_match);
    free(copy);
}

/* All that a write, which is only borrowed, asks for, in memory of ours.  NULL: out of memory. */
static struct bd_io *
copy_new(const struct bd_io *io)
{
    struct bd_io *copy = malloc(sizeof *copy);
    bool is_whole = true;

    if (copy == NULL)
        return NULL;
    *copy = *io;
    copy->name = text_copy(io->name, &is_whole);
    copy->encoding = text_copy(io->encoding, &is_whole);
    copy->media_type = text_copy(io->media_type, &is_whole);
    copy->if_match = text_copy(io->if_match, &is_whole);
    copy->if_none_match = text_copy(io->if_none_match, &is_whole);
    copy->body = bytes_copy(io->body, io->op == BD_PUT ? io->body_bytes : 0, &is_whole);
    copy->attrs = attrs_copy(io, &is_whole);
    copy->attr_stride = sizeof *copy->attrs;
    copy->names = names_copy(io, &is_whole);
    copy->statuses = calloc((size_t)io->name_count + 1, sizeof *copy->statuses);
    if (is_whole && copy->statuses != NULL)
        return copy;
    copy_free(copy);
    return NULL;
}

/* ------------------------------------------------------------------ versions */

static void
version_unref_locked(struct chaos *chaos, struct version *version)
{
    if (version == NULL || --version->references > 0)
        return;
    chaos->host->child_free(version->child);
    if (version->put != NULL) {
        chaos->memory_bytes -= version->put->body_bytes;
        copy_free(version->put);
    }
    free(version);
}

/* Takes `put`.  NULL when out of memory, and then the version is simply not known. */
static struct version *
version_new(struct bd_io *put)
{
    struct version *version = calloc(1, sizeof *version);

    if (version != NULL) {
        version->references = 1;
        version->put = put;
    } else if (put != NULL) {
        copy_free(put);
    }
    return version;
}

static struct version *
version_of_put(struct chaos *chaos, const struct bd_io *io)
{
    struct bd_io *put = copy_new(io);
    struct version *version = put != NULL ? version_new(put) : NULL;

    if (version != NULL) {
        pthread_mutex_lock(&chaos->memory_lock);
        chaos->memory_bytes += put->body_bytes;
        pthread_mutex_unlock(&chaos->memory_lock);
    }
    return version;
}

static struct memory *
memory_find_locked(struct chaos *chaos, const char *name)
{
    struct memory *memory = chaos->buckets[hash_text(name) % BUCKETS];

    while (memory != NULL && strcmp(memory->name, name) != 0)
        memory = memory->next;
    return memory;
}

static void
memory_unlink_locked(struct chaos *chaos, struct memory *memory)
{
    *(memory->older == NULL ? &chaos->oldest : &memory->older->newer) = memory->newer;
    *(memory->newer == NULL ? &chaos->newest : &memory->newer->older) = memory->older;
}

static void
memory_append_locked(struct chaos *chaos, struct memory *memory)
{
    memory->newer = NULL;
    memory->older = chaos->newest;
    *(chaos->newest == NULL ? &chaos->oldest : &chaos->newest->newer) = memory;
    chaos->newest = memory;
}

static void
memory_free_locked(struct chaos *chaos, struct memory *memory)
{
    struct memory **link = &chaos->buckets[hash_text(memory->name) % BUCKETS];

    while (*link != memory)
        link = &(*link)->next;
    *link = memory->next;
    memory_unlink_locked(chaos, memory);
    version_unref_locked(chaos, memory->latest);
    version_unref_locked(chaos, memory->before);
    free(memory);
}

/* The object has a new latest version (taken; NULL: not known which). */
static void
memory_write(struct chaos *chaos, const char *name, struct version *version)
{
    struct memory *memory;

    pthread_mutex_lock(&chaos->memory_lock);
    memory = memory_find_locked(chaos, name);
    if (memory == NULL) {
        struct memory **bucket = &chaos->buckets[hash_text(name) % BUCKETS];

        memory = calloc(1, sizeof *memory + strlen(name) + 1);
        if (memory == NULL) {
            version_unref_locked(chaos, version);
            goto unlock;
        }
        strcpy(memory->name, name);
        memory->next = *bucket;
        *bucket = memory;
    } else {
        memory_unlink_locked(chaos, memory);
    }
    memory_append_locked(chaos, memory);
    version_unref_locked(chaos, memory->before);
    memory->before = memory->latest;
    memory->latest = version;
    while (chaos->memory_bytes > chaos->opts->stale_memory_bytes && chaos->oldest != NULL)
        memory_free_locked(chaos, chaos->oldest);
unlock:
    pthread_mutex_unlock(&chaos->memory_lock);
}

static bool
memory_knows(struct chaos *chaos, const char *name)
{
    const struct memory *memory;
    bool knows;

    pthread_mutex_lock(&chaos->memory_lock);
    memory = memory_find_locked(chaos, name);
    knows = memory != NULL && memory->latest != NULL;
    pthread_mutex_unlock(&chaos->memory_lock);
    return knows;
}

/* Answer a GET with the version before the latest.  False when none is known. */
static bool
answer_stale(struct chaos_op *op)
{
    struct chaos *chaos = op->chaos;
    struct bd_io *io = op->io;
    const struct memory *memory;
    struct version *version = NULL;
    enum bd_status status = BD_OK;

    pthread_mutex_lock(&chaos->memory_lock);
    memory = memory_find_locked(chaos, io->name);
    if (memory != NULL && memory->before != NULL) {
        version = memory->before;
        version->references++;
    }
    pthread_mutex_unlock(&chaos->memory_lock);
    if (version == NULL)
        return false;
    if (version->put == NULL) {
        status = BD_ABSENT;
    } else {
        const struct bd_io *put = version->put;
        size_t left = io->offset < put->body_bytes ? put->body_bytes - io->offset : 0;

        chaos->host->child_result(version->child, io); /* the tag */
        io->object_bytes = put->body_bytes;
        io->len = left < io->cap ? left : io->cap;
        if (io->len > 0)
            memcpy(io->data, (const char *)put->body + io->offset, io->len);
        if (put->encoding != NULL)
            chaos->host->encoding_set(io, put->encoding);
        for (uint32_t i = 0; i < put->attr_count; i++)
            chaos->host->attr_add(io, put->attrs[i].name, put->attrs[i].value,
                                  put->attrs[i].value_bytes);
    }
    tell(op, STALE);
    pthread_mutex_lock(&chaos->memory_lock);
    version_unref_locked(chaos, version);
    pthread_mutex_unlock(&chaos->memory_lock);
    chaos->host->complete(io, status);
    return true;
}

/* ------------------------------------------------------------------ late writes */

struct late {
    struct chaos *chaos;
    struct bd_io *io; /* a copy */
};

static void
late_end(struct late *late)
{
    struct chaos *chaos = late->chaos;

    copy_free(late->io);
    free(late);
    pthread_mutex_lock(&chaos->lock);
    if (--chaos->late_count == 0)
        pthread_cond_broadcast(&chaos->none_late);
    pthread_mutex_unlock(&chaos->lock);
}

static void
late_done(struct bd_io *child, enum bd_status status, void *arg)
{
    struct late *late = arg;

    (void)status;
    late->chaos->host->child_free(child);
    late_end(late);
}

static void
late_run(void *arg)
{
    struct late *late = arg;
    const struct bd_host *host = late->chaos->host;
    struct bd_io *child;

    late->io->deadline_ns = host->now_ns() + LATE_DEADLINE_NS;
    child = host->child_new(host, late->chaos->lower, late->io);
    if (child == NULL)
        late_end(late);
    else
        host->child_submit(child, late_done, late);
}

/* False when out of memory: then the request goes its usual way. */
static bool
answer_late(struct chaos_op *op)
{
    struct chaos *chaos = op->chaos;
    struct late *late = calloc(1, sizeof *late);

    if (late == NULL || (late->io = copy_new(op->io)) == NULL) {
        free(late);
        return false;
    }
    late->chaos = chaos;
    pthread_mutex_lock(&chaos->lock);
    chaos->late_count++;
    pthread_mutex_unlock(&chaos->lock);
    if (chaos->host->timer(chaos->host, chaos->host->now_ns() + chaos->opts->late_by_ms * NS_PER_MS,
                           late_run, late)
        != 0) {
        late_end(late);
        return false;
    }
    tell(op, LATE);
    chaos->host->error(op->io, "chaos: the answer was lost, and the write is not done yet");
    chaos->host->complete(op->io, BD_UNKNOWN);
    return true;
}

/* ------------------------------------------------------------------ the way up */

static void
damage(struct chaos_op *op)
{
    struct bd_io *io = op->io;
    uint64_t random;

    if (io->len == 0)
        return;
    if (happens(op, TRUNCATE, op->chaos->opts->truncate)) {
        tell(op, TRUNCATE);
        io->len = (size_t)(mix(draw(op, TRUNCATE)) % io->len);
        io->object_bytes = io->offset + io->len;
    }
    if (io->len > 0 && happens(op, CORRUPT, op->chaos->opts->corrupt)) {
        tell(op, CORRUPT);
        random = mix(draw(op, CORRUPT));
        ((unsigned char *)io->data)[random % io->len] ^= (unsigned char)(1u << (random >> 61));
    }
}

/* Keep what a write has changed; takes the child where it is kept. */
static void
remember(struct chaos_op *op, enum bd_status status)
{
    struct chaos *chaos = op->chaos;
    struct bd_io *io = op->io;

    if (status != BD_OK && status != BD_UNKNOWN) {
        pthread_mutex_lock(&chaos->memory_lock);
        version_unref_locked(chaos, op->version);
        pthread_mutex_unlock(&chaos->memory_lock);
        op->version = NULL;
        return;
    }
    if (io->op == BD_PUT) {
        if (op->version != NULL) {
            op->version->child = op->child;
            op->child = NULL;
        }
        memory_write(chaos, io->name, op->version);
        op->version = NULL;
    } else if (io->op == BD_DELETE) {
        memory_write(chaos, io->name, version_new(NULL));
    } else {
        for (uint32_t i = 0; i < io->name_count; i++) {
            if (status != BD_OK || io->statuses[i] == BD_OK)
                memory_write(chaos, io->names[i], version_new(NULL));
        }
    }
}

static void
passed(struct bd_io *child, enum bd_status status, void *arg)
{
    struct chaos_op *op = arg;
    const struct bd_host *host = op->chaos->host;
    struct bd_io *io = op->io;

    if (op->dies_after)
        raise(SIGKILL);
    host->child_result(child, io);
    if (status == BD_OK && io->op == BD_GET)
        damage(op);
    if (is_write(io) && op->chaos->opts->stale > 0)
        remember(op, status);
    if (status == BD_OK && is_write(io) && happens(op, LOST, op->chaos->opts->lost)) {
        tell(op, LOST);
        host->error(io, "chaos: the answer was lost");
        host->tag_set(io, NULL); /* and the tag with it */
        status = BD_UNKNOWN;
    }
    host->child_free(op->child);
    host->complete(io, status);
}

/* ------------------------------------------------------------------ the way down */

static void
no_memory(struct chaos_op *op)
{
    op->chaos->host->error(op->io, "out of memory");
    op->chaos->host->complete(op->io, BD_RETRY);
}

static void
pass(struct chaos_op *op)
{
    const struct bd_host *host = op->chaos->host;

    op->child = host->child_new(host, op->chaos->lower, op->io);
    if (op->child == NULL) {
        no_memory(op);
        return;
    }
    if (op->io->op == BD_PUT && op->chaos->opts->stale > 0)
        op->version = version_of_put(op->chaos, op->io);
    host->child_submit(op->child, passed, op);
}

static void
learned(struct bd_io *child, enum bd_status status, void *arg)
{
    struct chaos_op *op = arg;

    op->chaos->host->child_free(child);
    if (status == BD_ABSENT)
        memory_write(op->chaos, op->io->name, version_new(NULL));
    pass(op);
}

/* Before a write to a name that is not known: is there an object? */
static void
learn(struct chaos_op *op)
{
    const struct bd_host *host = op->chaos->host;
    struct bd_io *child = host->child_new(host, op->chaos->lower, NULL);

    if (child == NULL) {
        no_memory(op);
        return;
    }
    child->op = BD_HEAD_OBJECT;
    child->name = op->io->name;
    child->deadline_ns = op->io->deadline_ns;
    host->child_submit(child, learned, op);
}

static void
refuse(struct chaos_op *op, enum fault fault, enum bd_status status)
{
    tell(op, fault);
    op->chaos->host->error(op->io, "chaos: %s, as asked for", fault_names[fault]);
    op->chaos->host->complete(op->io, status);
}

static void
discard(struct chaos_op *op)
{
    struct bd_io *io = op->io;
    char tag[40];

    tell(op, DISCARD);
    snprintf(tag, sizeof tag, "discarded-%016llx", (unsigned long long)op->random);
    if (io->op == BD_PUT)
        op->chaos->host->tag_set(io, tag);
    for (uint32_t i = 0; io->op == BD_DELETE_MANY && i < io->name_count; i++)
        io->statuses[i] = BD_OK;
    op->chaos->host->complete(io, BD_OK);
}

/* The delay is over. */
static void
act(void *arg)
{
    struct chaos_op *op = arg;
    struct chaos *chaos = op->chaos;
    const struct chaos_options *opts = chaos->opts;
    struct bd_io *io = op->io;

    if (io->deadline_ns <= chaos->host->now_ns()) {
        chaos->host->error(io, "chaos: delayed until the deadline");
        chaos->host->complete(io, BD_RETRY);
    } else if (happens(op, RETRY, opts->retry)) {
        refuse(op, RETRY, BD_RETRY);
    } else if (happens(op, DENIED, opts->denied)) {
        refuse(op, DENIED, BD_DENIED);
    } else if (happens(op, FULL, opts->full)) {
        refuse(op, FULL, BD_FULL);
    } else if (happens(op, FATAL, opts->fatal)) {
        refuse(op, FATAL, BD_FATAL);
    } else if (is_write(io) && op->applies && opts->discard) {
        discard(op);
    } else if (is_write(io) && happens(op, LATE, opts->late) && answer_late(op)) {
        return;
    } else if (io->op == BD_GET && happens(op, STALE, opts->stale) && answer_stale(op)) {
        return;
    } else if (opts->stale > 0 && io->op == BD_PUT && !memory_knows(chaos, io->name)) {
        learn(op);
    } else {
        pass(op);
    }
}

static void
chaos_submit(void *handle, struct bd_io *io)
{
    struct chaos *chaos = handle;
    const struct chaos_options *opts = chaos->opts;
    struct chaos_op *op = io->scratch;
    uint64_t name_hash = hash_text(subject(io)), occurrence, delay_ns = 0, number, at;

    op->chaos = chaos;
    op->io = io;
    if (io->op >= OPS || op_names[io->op] == NULL) {
        pass(op); /* an operation younger than we are: the backend below may know it */
        return;
    }
    op->applies = applies(chaos, io);
    pthread_mutex_lock(&chaos->lock);
    occurrence = count_locked(chaos, mix(name_hash + io->op));
    number = op->applies ? ++chaos->operations : 0;
    pthread_mutex_unlock(&chaos->lock);
    op->random = mix(mix(mix(opts->seed) ^ name_hash) + occurrence * OPS + io->op);

    if (opts->die_at > 0 && number == opts->die_at) {
        tell(op, DIE);
        if (draw(op, DIE) & 1)
            op->dies_after = true;
        else
            raise(SIGKILL);
    }
    if (op->applies) {
        delay_ns = opts->latency_ms * NS_PER_MS;
        if (opts->jitter_ms > 0)
            delay_ns += draw(op, DELAY) % (opts->jitter_ms * NS_PER_MS + 1);
    }
    if (delay_ns == 0) {
        act(op);
        return;
    }
    chaos->host->counter_add(chaos->counters[DELAY], 1);
    at = chaos->host->now_ns() + delay_ns;
    if (at > io->deadline_ns)
        at = io->deadline_ns;
    if (chaos->host->timer(chaos->host, at, act, op) != 0)
        no_memory(op);
}

/* ------------------------------------------------------------------ lifecycle */

/* "get,put": which operations are named. */
static bool
only_parse(const char *text, bool only[OPS])
{
    if (text == NULL || text[0] == '\0') {
        for (size_t i = 0; i < OPS; i++)
            only[i] = true;
        return true;
    }
    for (;;) {
        size_t bytes = strcspn(text, ","), i;

        for (i = 0; i < OPS; i++) {
            if (op_names[i] != NULL && strlen(op_names[i]) == bytes
                && strncmp(op_names[i], text, bytes) == 0)
                break;
        }
        if (i == OPS)
            return false;
        only[i] = true;
        if (text[bytes] == '\0')
            return true;
        text += bytes + 1;
    }
}

static enum bd_status
chaos_check(const void *options, char *why, size_t why_bytes)
{
    const struct chaos_options *opts = options;
    bool only[OPS] = { false };

    if (only_parse(opts->only, only))
        return BD_OK;
    snprintf(why, why_bytes,
             "--chaos-only=%s: use a list of get, head, put, delete, delete-many and list",
             opts->only);
    return BD_INVALID;
}

static enum bd_status
chaos_open(const struct bd_host *host, const void *options, const struct bd_lower *lower,
           void **handle)
{
    const struct chaos_options *opts = options;
    struct chaos *chaos = calloc(1, sizeof *chaos);

    if (chaos == NULL) {
        host->log(host, BD_ERROR, "out of memory");
        return BD_FATAL;
    }
    chaos->host = host;
    chaos->opts = opts;
    chaos->lower = lower;
    if (!only_parse(opts->only, chaos->only)) {
        host->log(host, BD_ERROR, "--chaos-only=%s names something that is no operation",
                  opts->only);
        free(chaos);
        return BD_INVALID;
    }
    for (unsigned i = 0; i < FAULTS; i++)
        chaos->counters[i] = host->counter(host, fault_names[i], "faults of this kind injected");
    pthread_mutex_init(&chaos->lock, NULL);
    pthread_cond_init(&chaos->none_late, NULL);
    pthread_mutex_init(&chaos->memory_lock, NULL);
    *handle = chaos;
    return BD_OK;
}

/* As the backend below: what is stored is stored there, and the same store by both ways. */
static void
chaos_info(void *handle, struct bd_backend_info *out)
{
    const struct chaos *chaos = handle;
    const struct bd_backend_info *below = chaos->lower->info;

    out->capabilities = below->capabilities;
    out->object_bytes_max = below->object_bytes_max;
    out->delete_many_max = below->delete_many_max;
    out->list_max = below->list_max;
    out->concurrency = below->concurrency;
    out->identity = below->identity;
    out->display = below->display;
}

static void
chaos_close(void *handle)
{
    struct chaos *chaos = handle;

    pthread_mutex_lock(&chaos->lock);
    while (chaos->late_count > 0)
        pthread_cond_wait(&chaos->none_late, &chaos->lock);
    pthread_mutex_unlock(&chaos->lock);
    pthread_mutex_lock(&chaos->memory_lock);
    while (chaos->oldest != NULL)
        memory_free_locked(chaos, chaos->oldest);
    pthread_mutex_unlock(&chaos->memory_lock);
    pthread_mutex_destroy(&chaos->memory_lock);
    pthread_cond_destroy(&chaos->none_late);
    pthread_mutex_destroy(&chaos->lock);
    free(chaos->counts);
    free(chaos);
}

/* ------------------------------------------------------------------ tables */

static const struct bd_backend chaos_backend = {
    .head = BD_HEAD(BACKEND, struct bd_backend),
    .traits = BD_BACKEND_STACKS,
    .scratch_bytes = sizeof(struct chaos_op),
    .open = chaos_open,
    .info = chaos_info,
    .submit = chaos_submit,
    .close = chaos_close,
};

static const struct bd_plugin chaos_plugin = {
    .head = BD_HEAD(PLUGIN, struct bd_plugin),
    .abi_minor = BD_ABI_MINOR,
    .name = "backend-chaos",
    .version = "1.0",
    .summary = "makes the backend below fail, from a seed",
    .options = chaos_rows,
    .option_count = sizeof chaos_rows / sizeof chaos_rows[0],
    .option_stride = sizeof chaos_rows[0],
    .options_bytes = sizeof(struct chaos_options),
    .check = chaos_check,
    .backend = &chaos_backend,
};

BD_PLUGIN(chaos_plugin)
