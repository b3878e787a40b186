/* SPDX-License-Identifier: Apache-2.0 */
/* backend-chaos: stacks on another backend and makes it fail, as told, from a seed.
 *
 * The way of a request:
 *
 *   submit -> delay -> refused? (retry, busy, denied, full, fatal, late, discard)
 *                   -> passed on as a child -> damaged? (lost, corrupt, truncate) -> complete
 *
 * Its state lives in the scratch.  What happens to it is drawn from its number, which dice.c makes.
 * With `stale`, a write first learns whether the object exists (HEAD) unless that is known, so that
 * "absent" can be the version before. */
#include "chaos.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MILLION 1000000u
#define NS_PER_MS 1000000ull

struct chaos_options {
    uint64_t seed;
    uint64_t latency_ms, jitter_ms, late_by_ms;
    uint32_t retry, busy, denied, full, fatal, lost, late, corrupt, truncate, stale;
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
    CHANCE(busy, "chance per million to ask for fewer requests at once, not done"),
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

static const char *const fault_names[FAULTS] = {
    "retry",    "denied", "full",    "fatal", "lost",  "late", "corrupt",
    "truncate", "stale",  "discard", "die",   "delay", "busy",
};

static const char *const op_names[OPS] = {
    [BD_GET] = "get",       [BD_HEAD_OBJECT] = "head",        [BD_PUT] = "put",
    [BD_DELETE] = "delete", [BD_DELETE_MANY] = "delete-many", [BD_LIST] = "list",
};

struct chaos {
    const struct bd_host *host;
    const struct chaos_options *opts;
    const struct bd_lower *lower;
    bool only[OPS];
    struct bd_counter *counters[FAULTS];

    atomic_uint_fast64_t operations;
    struct dice dice;
    struct versions versions;
    struct lates lates;
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
    return dice_draw(op->random, fault);
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
        io->len = (size_t)(hash_mix(draw(op, TRUNCATE)) % io->len);
        io->object_bytes = io->offset + io->len;
    }
    if (io->len > 0 && happens(op, CORRUPT, op->chaos->opts->corrupt)) {
        tell(op, CORRUPT);
        random = hash_mix(draw(op, CORRUPT));
        ((unsigned char *)io->data)[random % io->len] ^= (unsigned char)(1u << (random >> 61));
    }
}

/* Keep what a write has changed; takes the child where it is kept. */
static void
remember(struct chaos_op *op, enum bd_status status)
{
    struct versions *versions = &op->chaos->versions;
    const struct bd_io *io = op->io;

    if (status != BD_OK && status != BD_UNKNOWN) {
        version_drop(versions, op->version);
    } else if (io->op == BD_PUT) {
        versions_put(versions, io->name, op->version, op->child);
        op->child = NULL;
    } else if (io->op == BD_DELETE) {
        versions_delete(versions, io->name);
    } else {
        for (uint32_t i = 0; i < io->name_count; i++) {
            if (status != BD_OK || io->statuses[i] == BD_OK)
                versions_delete(versions, io->names[i]);
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
        op->version = version_of_put(&op->chaos->versions, op->io);
    host->child_submit(op->child, passed, op);
}

static void
learned(struct bd_io *child, enum bd_status status, void *arg)
{
    struct chaos_op *op = arg;

    op->chaos->host->child_free(child);
    if (status == BD_ABSENT)
        versions_delete(&op->chaos->versions, op->io->name);
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

/* Answer a GET with the version before the latest.  False when none is known. */
static bool
answer_stale(struct chaos_op *op)
{
    enum bd_status status;

    if (!versions_give(&op->chaos->versions, op->io, &status))
        return false;
    tell(op, STALE);
    op->chaos->host->complete(op->io, status);
    return true;
}

/* False when out of memory: then the request goes its usual way. */
static bool
answer_late(struct chaos_op *op)
{
    struct chaos *chaos = op->chaos;
    uint64_t at_ns = chaos->host->now_ns() + chaos->opts->late_by_ms * NS_PER_MS;

    if (!late_write(&chaos->lates, op->io, at_ns))
        return false;
    tell(op, LATE);
    chaos->host->error(op->io, "chaos: the answer was lost, and the write is not done yet");
    chaos->host->complete(op->io, BD_UNKNOWN);
    return true;
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
    } else if (happens(op, BUSY, opts->busy)) {
        refuse(op, BUSY, BD_BUSY);
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
    } else if (opts->stale > 0 && io->op == BD_PUT && !versions_know(&chaos->versions, io->name)) {
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
    uint64_t delay_ns = 0, number, at;

    op->chaos = chaos;
    op->io = io;
    if (io->op >= OPS || op_names[io->op] == NULL) {
        pass(op); /* an operation younger than we are: the backend below may know it */
        return;
    }
    op->applies = applies(chaos, io);
    op->random = dice_throw(&chaos->dice, io->op, subject(io));
    number = op->applies ? atomic_fetch_add(&chaos->operations, 1) + 1 : 0;

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
    dice_init(&chaos->dice, opts->seed);
    versions_init(&chaos->versions, host, opts->stale_memory_bytes);
    lates_init(&chaos->lates, host, lower);
    *handle = chaos;
    return BD_OK;
}

/* As the backend below: what is stored is stored there, and the same store by both ways.  But one whose reads
 * may be stale does not show what was written last. */
static void
chaos_info(void *handle, struct bd_backend_info *out)
{
    const struct chaos *chaos = handle;
    const struct bd_backend_info *below = chaos->lower->info;

    out->capabilities = below->capabilities;
    if (chaos->opts->stale > 0)
        out->capabilities &= ~(uint64_t)BD_CAP_CONSISTENT;
    out->object_bytes_max = below->object_bytes_max;
    out->delete_many_max = below->delete_many_max;
    out->list_max = below->list_max;
    out->concurrency = below->concurrency;
    out->identity = below->identity;
    out->display = below->display;
    out->container = below->container;
}

static void
chaos_close(void *handle)
{
    struct chaos *chaos = handle;

    lates_free(&chaos->lates);
    versions_free(&chaos->versions);
    dice_free(&chaos->dice);
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
