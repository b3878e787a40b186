/* SPDX-License-Identifier: Apache-2.0 */
/* The bottom layer: blocks to named, encoded objects and back.
 *
 * Life of a request; everything after the first line runs on pool workers:
 *
 *   submit -> [PUT: encode] -> wait for a place -> attempt -> answer -> done
 *                                     ^                          |
 *                                     +---------- pause <--------+  RETRY, BUSY, UNKNOWN, a bad body (twice)
 *
 * A request that pauses gives its place (places.c) back.  So does a write that may not be sent now, for want of a
 * confirmed lease.
 *
 * Sending the same bytes again is harmless whatever became of the attempt before, so a PUT or DELETE of
 * unknown outcome is simply repeated; that there was one is told upwards, where a different version of
 * the block must wait for it. */
#include "objects.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "places.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_PAUSE_MAX_NS (30 * NS_PER_S)
#define TELL_AFTER_NS (5 * NS_PER_S)
#define BAD_BODY_RETRIES 2
#define LEASE_PAUSE_NS (250 * NS_PER_MS)
#define MEDIA_TYPE "application/x-s3backer-block"

struct objects {
    struct objects_config config; /* these: fixed after objects_new */
    struct backend *backend;
    struct chain *chain;
    struct pool *pool;
    struct places *places;
    unsigned delete_max;
    unsigned list_max;
    struct counter *gets, *heads, *puts, *deletes, *lists, *absent;
    struct counter *retries, *busy, *unknown, *corrupt, *failed;
    struct counter *bytes_read, *bytes_written;
    struct histogram *times[OBJECT_LIST + 1]; /* of attempts, by enum object_op */
    struct histogram *pauses;                 /* before attempts after the first */

    atomic_bool is_paused;     /* nobody waits for the store any more */
    atomic_bool is_stalled;    /* the user has been told */
    atomic_bool is_disordered; /* a listing was */
    atomic_uint jitter;        /* state of a small generator */
};

/* All that one request needs below. */
struct attempt {
    struct objects *objects;
    struct object_req *req;
    struct backend_io *io;
    struct place place;
    union {
        struct task task;
        struct timer timer;
    } run;
    uint64_t started_ns;
    uint64_t sent_ns; /* the last time */
    uint64_t pause_ns;
    uint64_t pause_end_ns;
    unsigned bad_bodies;
    bool is_disordered; /* LIST: a name came that is less than the one before */

    object_name name;
    struct encoded encoded;
    void *body; /* GET: where it goes: req->data, or a buffer of ours */
    size_t body_cap;
    object_name *names; /* DELETE of several */
    const char **name_pointers;
    uint32_t *statuses;
};

static const char *const op_words[] = {
    [OBJECT_GET] = "read",      [OBJECT_HEAD] = "look at", [OBJECT_PUT] = "write",
    [OBJECT_DELETE] = "delete", [OBJECT_LIST] = "list",
};

static bool
is_write(const struct object_req *req)
{
    return req->op == OBJECT_PUT || req->op == OBJECT_DELETE;
}

static bool
is_over(const struct objects *objects, const struct object_req *req)
{
    return atomic_load(&objects->is_paused) || (req->is_over != NULL && atomic_load(req->is_over));
}

/* ---- the end of a request */

static void
attempt_free(struct attempt *attempt)
{
    backend_io_free(attempt->io);
    if (attempt->req->op == OBJECT_PUT)
        encoded_free(&attempt->encoded);
    if (attempt->body != attempt->req->data)
        free(attempt->body);
    free(attempt->names);
    free(attempt->name_pointers);
    free(attempt->statuses);
    free(attempt);
}

static void
finish(struct attempt *attempt, int rc)
{
    struct objects *objects = attempt->objects;
    struct object_req *req = attempt->req;

    if (rc != 0)
        counter_add(objects->failed, 1);
    if (attempt->place.is_held)
        places_put(objects->places, &attempt->place, rc == 0);
    attempt_free(attempt);
    req->rc = rc;
    req->done(req);
}

static void
fail(struct attempt *attempt, int rc, const char *reason)
{
    struct object_req *req = attempt->req;

    if (req->why != NULL)
        error_set(req->why, rc, "%s", reason);
    else if (req->op == OBJECT_DELETE && req->count > 1)
        log_line(BD_ERROR, "cannot delete %u blocks from %s on: %s", req->count, attempt->name,
                 reason);
    else if (req->op == OBJECT_LIST)
        log_line(BD_ERROR, "cannot list objects after \"%s\": %s", req->list_from, reason);
    else
        (req->is_damaged ? log_each
                         : log_line)(BD_ERROR, "cannot %s block %08" PRIx64 ", object %s: %s",
                                     op_words[req->op], req->block, attempt->name, reason);
    finish(attempt, rc);
}

/* ---- retrying */

static void attempt_send(struct attempt *attempt);

static void pause_more(struct attempt *attempt);

static void
pause_over(struct task *task)
{
    struct attempt *attempt = container_of(task, struct attempt, run.task);

    if (is_over(attempt->objects, attempt->req))
        finish(attempt, -ECANCELED);
    else if (attempt->pause_end_ns > clock_now_ns())
        pause_more(attempt);
    else
        places_get(attempt->objects->places, &attempt->place);
}

/* Whoever may be told to end looks for it once a second. */
static void
pause_more(struct attempt *attempt)
{
    uint64_t at_ns = attempt->pause_end_ns, soon_ns = clock_now_ns() + NS_PER_S;

    if (at_ns > soon_ns)
        at_ns = soon_ns;
    attempt->run.timer.task.run = pause_over;
    attempt->run.timer.heap_slot = 0;
    if (pool_timer_set(attempt->objects->pool, &attempt->run.timer, at_ns) != 0)
        fail(attempt, -ENOMEM, "out of memory");
}

/* Half of the pause is by chance, so that requests that failed together do not come back together. */
static uint64_t
with_jitter(struct objects *objects, uint64_t pause_ns)
{
    unsigned x = atomic_fetch_add(&objects->jitter, 0x9e3779b9u);

    x ^= x >> 16;
    x *= 0x45d9f3bu;
    x ^= x >> 16;
    return pause_ns / 2 + pause_ns / 2 * (x % 1024) / 1024;
}

static void
retry(struct attempt *attempt, uint64_t store_asks_ms, const char *reason, int rc)
{
    struct objects *objects = attempt->objects;
    const struct objects_config *config = &objects->config;
    uint64_t stall_ns = is_write(attempt->req) ? config->stall_write_ns : config->stall_read_ns;
    uint64_t now = clock_now_ns();
    uint64_t stalled_ns = now - attempt->started_ns;
    uint64_t pause_ns = with_jitter(objects, attempt->pause_ns);

    if (is_over(attempt->objects, attempt->req)) {
        finish(attempt, -ECANCELED);
        return;
    }
    if (pause_ns < store_asks_ms * NS_PER_MS)
        pause_ns = store_asks_ms * NS_PER_MS;
    if (pause_ns > RETRY_PAUSE_MAX_NS)
        pause_ns = RETRY_PAUSE_MAX_NS;
    if (stalled_ns >= stall_ns) {
        fail(attempt, rc, reason);
        return;
    }
    if (pause_ns > stall_ns - stalled_ns)
        pause_ns = stall_ns - stalled_ns; /* one last attempt at the end of the time */
    if (stalled_ns > TELL_AFTER_NS && !atomic_exchange(&objects->is_stalled, true))
        log_line(BD_WARNING, "the store does not do what it is asked, trying again: %s: %s",
                 attempt->name, reason);
    else
        log_line(BD_DEBUG, "%s of %s: %s; again in %" PRIu64 " ms", op_words[attempt->req->op],
                 attempt->name, reason, (uint64_t)(pause_ns / NS_PER_MS));
    places_put(objects->places, &attempt->place, false);
    counter_add(objects->retries, 1);
    histogram_add(objects->pauses, pause_ns);
    if (attempt->pause_ns < RETRY_PAUSE_MAX_NS)
        attempt->pause_ns *=
            2; /* no further: a store may be away for so long that this overflows */
    attempt->pause_end_ns = now + pause_ns;
    pause_more(attempt);
}

static void
settle(struct objects *objects)
{
    if (atomic_load(&objects->is_stalled) && atomic_exchange(&objects->is_stalled, false))
        log_line(BD_INFO, "the store answers again");
}

/* The store asks for fewer requests at once. */
static void
note_busy(struct attempt *attempt)
{
    counter_add(attempt->objects->busy, 1);
    places_lower(attempt->objects->places, &attempt->place);
}

/* ---- answers */

static void
take_tag(struct attempt *attempt)
{
    struct object_req *req = attempt->req;
    const char *origin;
    size_t bytes;

    if (attempt->io->tag != NULL)
        strcpy(req->tag, attempt->io->tag); /* backend.c has checked its length */
    if (req->origin == NULL || req->op == OBJECT_PUT)
        return;
    origin = backend_io_attr(attempt->io, ATTR_ORIGIN, &bytes);
    snprintf(req->origin, BD_ATTR_VALUE_BYTES_MAX + 1, "%s", origin != NULL ? origin : "");
}

static void
take_description(struct attempt *attempt)
{
    struct object_req *req = attempt->req;
    const char *encoding = attempt->io->encoding;

    req->object_bytes = attempt->io->io.object_bytes;
    if (req->encoding != NULL) /* backend.c has checked its length */
        strcpy(req->encoding, encoding != NULL ? encoding : "");
}

static void
got(struct attempt *attempt)
{
    struct objects *objects = attempt->objects;
    struct object_req *req = attempt->req;
    struct backend_io *io = attempt->io;
    struct error why = { "" };
    int rc = 0;

    counter_add(objects->gets, 1);
    counter_add(objects->bytes_read, (int64_t)io->io.len);
    if (io->io.object_bytes > attempt->body_cap && attempt->body == req->data) {
        /* Larger than a plain block: it must be encoded.  Once more, with room for that. */
        attempt->body_cap = chain_body_bytes_max(objects->chain);
        attempt->body = malloc(attempt->body_cap);
        if (attempt->body == NULL) {
            attempt->body = req->data;
            fail(attempt, -ENOMEM, "out of memory");
            return;
        }
        attempt_send(attempt);
        return;
    }
    if (io->io.object_bytes > attempt->body_cap) {
        rc = error_set(&why, -EBADMSG, "the object has %" PRIu64 " bytes, expected at most %zu",
                       io->io.object_bytes, attempt->body_cap);
    } else if (attempt->body == req->data && chain_applies(objects->chain, io->encoding)) {
        void *copy = malloc(io->io.len + 1);

        if (copy == NULL) {
            fail(attempt, -ENOMEM, "out of memory");
            return;
        }
        memcpy(copy, attempt->body, io->io.len);
        rc = chain_decode(objects->chain, req->block, io->encoding,
                          (struct bd_bytes){ copy, io->io.len }, &io->attrs, req->data, &why);
        free(copy);
    } else {
        rc = chain_decode(objects->chain, req->block, io->encoding,
                          (struct bd_bytes){ attempt->body, io->io.len }, &io->attrs, req->data,
                          &why);
    }
    req->object_bytes = io->io.object_bytes;
    if (rc == 0) {
        take_tag(attempt);
        settle(objects);
        finish(attempt, 0);
        return;
    }
    counter_add(objects->corrupt, 1);
    /* What is damaged on the way comes right when it is fetched again; what is stored damaged does not. */
    if (rc == -EBADMSG && attempt->bad_bodies++ < BAD_BODY_RETRIES) {
        retry(attempt, 0, why.text, -EIO);
        return;
    }
    req->is_damaged = rc != -ENOMEM;
    fail(attempt, rc == -ENOMEM ? rc : -EIO, why.text);
}

/* Only said of an object whose container exists, so it is an answer like any other. */
static void
absent(struct attempt *attempt)
{
    struct objects *objects = attempt->objects;
    struct object_req *req = attempt->req;

    if (req->op == OBJECT_HEAD) {
        counter_add(objects->heads, 1);
    } else {
        counter_add(objects->absent, 1);
        memset(req->data, 0, objects->config.layout->block_bytes);
    }
    req->is_absent = true;
    if (req->origin != NULL)
        req->origin[0] = '\0';
    settle(objects);
    finish(attempt, 0);
}

static void
deleted_many(struct attempt *attempt)
{
    struct objects *objects = attempt->objects;
    struct bd_io *io = &attempt->io->io;
    const char *why = attempt->io->why.text;
    uint32_t left = 0;
    uint32_t worst = BD_OK;
    bool is_busy = false;

    for (uint32_t i = 0; i < io->name_count; i++) {
        uint32_t status = attempt->statuses[i];

        if (status == BD_OK || status == BD_ABSENT)
            continue;
        /* Only what is not done stays in the list for another attempt. */
        attempt->name_pointers[left++] = attempt->name_pointers[i];
        if (status == BD_UNKNOWN)
            attempt->req->unsettled_ns = clock_now_ns();
        is_busy = is_busy || status == BD_BUSY;
        if (worst == BD_OK || status_is_passing(worst))
            worst = status;
    }
    if (is_busy)
        note_busy(attempt);
    counter_add(objects->deletes, io->name_count - left);
    io->name_count = left;
    if (left == 0) {
        settle(objects);
        finish(attempt, 0);
    } else if (status_is_passing(worst)) {
        retry(attempt, io->retry_after_ms, why[0] != '\0' ? why : "some objects were not deleted",
              -EIO);
    } else {
        fail(attempt, status_errno((enum bd_status)worst),
             why[0] != '\0' ? why : status_name((enum bd_status)worst));
    }
}

static void
succeeded(struct attempt *attempt)
{
    struct objects *objects = attempt->objects;
    struct object_req *req = attempt->req;

    switch (req->op) {
    case OBJECT_GET:
        got(attempt);
        return;
    case OBJECT_HEAD:
        counter_add(objects->heads, 1);
        take_tag(attempt);
        take_description(attempt);
        break;
    case OBJECT_PUT:
        counter_add(objects->puts, 1);
        counter_add(objects->bytes_written, (int64_t)attempt->encoded.body_bytes);
        take_tag(attempt);
        break;
    case OBJECT_DELETE:
        if (req->count > 1) {
            deleted_many(attempt);
            return;
        }
        counter_add(objects->deletes, 1);
        break;
    case OBJECT_LIST:
        counter_add(objects->lists, 1);
        /* Whoever lists takes what lies between two names for absent. */
        if (attempt->is_disordered) {
            fail(attempt, -EIO, "the store does not list in the order of names");
            return;
        }
        if (attempt->io->io.more == 0)
            req->list_ended = true;
        if (!req->list_ended && strcmp(req->list_from, attempt->name) == 0) {
            retry(attempt, 0, "the store listed nothing, and says that there is more", -EIO);
            return;
        }
        break;
    }
    settle(objects);
    finish(attempt, 0);
}

static void
answered(struct backend_io *io, void *arg)
{
    struct attempt *attempt = arg;
    struct objects *objects = attempt->objects;
    struct object_req *req = attempt->req;
    const char *reason = backend_io_reason(io);

    histogram_add(objects->times[req->op], clock_now_ns() - attempt->sent_ns);
    switch (io->status) {
    case BD_OK:
        succeeded(attempt);
        return;
    case BD_ABSENT:
        if (req->op == OBJECT_GET || req->op == OBJECT_HEAD) {
            absent(attempt);
            return;
        }
        if (req->op == OBJECT_DELETE && req->count == 1) {
            finish(attempt, 0);
            return;
        }
        fail(attempt, -EIO, reason);
        return;
    case BD_UNKNOWN:
        counter_add(objects->unknown, 1);
        if (is_write(req))
            req->unsettled_ns = clock_now_ns();
        retry(attempt, io->io.retry_after_ms, reason, -EIO);
        return;
    case BD_BUSY:
        note_busy(attempt);
        retry(attempt, io->io.retry_after_ms, reason, -EIO);
        return;
    case BD_RETRY:
        retry(attempt, io->io.retry_after_ms, reason, -EIO);
        return;
    case BD_CORRUPT:
        counter_add(objects->corrupt, 1);
        if (attempt->bad_bodies++ < BAD_BODY_RETRIES) {
            retry(attempt, 0, reason, -EIO);
            return;
        }
        req->is_damaged = req->op == OBJECT_GET;
        fail(attempt, -EIO, reason);
        return;
    default:
        fail(attempt, status_errno(io->status), reason);
        return;
    }
}

/* ---- sending */

/* Not now: it looks again soon, and fails when it has waited as long as for a store that is away. */
static void
await_lease(struct attempt *attempt, uint64_t now)
{
    struct objects *objects = attempt->objects;

    if (now - attempt->started_ns >= objects->config.stall_write_ns) {
        fail(attempt, -EIO, "it is not known whether this machine still has the volume");
        return;
    }
    places_put(objects->places, &attempt->place, false);
    attempt->pause_end_ns = now + LEASE_PAUSE_NS;
    pause_more(attempt);
}

/* May the write be sent now?  Then it has its deadline.  Else it has been seen to. */
static bool
has_lease(struct attempt *attempt)
{
    struct lease *lease = attempt->objects->config.lease;
    struct bd_io *io = &attempt->io->io;
    uint64_t until_ns;

    if (lease == NULL)
        return true;
    switch (lease_check(lease, &until_ns)) {
    case LEASE_HELD:
        if (io->deadline_ns > until_ns)
            io->deadline_ns = until_ns;
        return true;
    case LEASE_UNCONFIRMED:
        await_lease(attempt, attempt->sent_ns);
        return false;
    case LEASE_LOST:
        break;
    }
    /* The log has it, once for all. */
    finish(attempt, -EROFS);
    return false;
}

static bool
list_entry(void *arg, const char *name, uint64_t object_bytes, const char *tag)
{
    struct attempt *attempt = arg;
    struct object_req *req = attempt->req;
    const struct layout *layout = attempt->objects->config.layout;
    uint64_t block;

    (void)tag;
    if (strcmp(name, req->list_from) < 0) {
        attempt->is_disordered = true;
        atomic_store(&attempt->objects->is_disordered, true);
        return false;
    }
    strcpy(req->list_from, name); /* backend.c has checked its length */
    if (!layout_parse(layout, name, &block))
        return true;
    req->found(req, block, object_bytes);
    return true;
}

static void
attempt_send(struct attempt *attempt)
{
    struct objects *objects = attempt->objects;
    struct object_req *req = attempt->req;
    struct bd_io *io = &attempt->io->io;

    attempt->sent_ns = clock_now_ns();
    io->deadline_ns = attempt->sent_ns + objects->config.attempt_ns;
    if (is_write(req) && !has_lease(attempt))
        return;
    io->name = attempt->name;
    switch (req->op) {
    case OBJECT_GET:
        io->op = BD_GET;
        io->data = attempt->body;
        io->cap = attempt->body_cap;
        break;
    case OBJECT_HEAD:
        io->op = BD_HEAD_OBJECT;
        break;
    case OBJECT_PUT:
        io->op = BD_PUT;
        io->body = attempt->encoded.body;
        io->body_bytes = attempt->encoded.body_bytes;
        io->encoding = attempt->encoded.encoding[0] != '\0' ? attempt->encoded.encoding : NULL;
        io->media_type = MEDIA_TYPE;
        break;
    case OBJECT_DELETE:
        if (req->count == 1) {
            io->op = BD_DELETE;
        } else {
            io->op = BD_DELETE_MANY;
            io->names = attempt->name_pointers;
            io->statuses = attempt->statuses;
        }
        break;
    case OBJECT_LIST:
        io->op = BD_LIST;
        io->name = objects->config.layout->prefix;
        strcpy(attempt->name, req->list_from); /* list_from moves on while the plugin reads this */
        io->start_after = attempt->name[0] != '\0' ? attempt->name : NULL;
        io->limit = objects->list_max;
        attempt->io->entry = list_entry;
        attempt->io->entry_arg = attempt;
        break;
    }
    backend_submit(attempt->io, answered, attempt);
}

static void
place_given(struct place *place)
{
    struct attempt *attempt = container_of(place, struct attempt, place);

    if (is_over(attempt->objects, attempt->req))
        finish(attempt, -ECANCELED);
    else
        attempt_send(attempt);
}

/* ---- making a request ready */

static int
prepare_put(struct attempt *attempt, struct error *why)
{
    struct objects *objects = attempt->objects;
    const struct layout *layout = objects->config.layout;
    struct object_req *req = attempt->req;
    struct bd_io *io = &attempt->io->io;
    struct attrs *attrs = &attempt->encoded.attrs;
    int rc;

    rc = chain_encode(objects->chain, req->block, req->data, &attempt->encoded, why);
    if (rc == 0 && req->block == 0 && !layout->is_format_2)
        rc = layout_add_sizes(layout, attrs);
    if (rc == 0 && req->origin != NULL && req->origin[0] != '\0')
        rc = attrs_add(attrs, ATTR_ORIGIN, req->origin, strlen(req->origin));
    if (rc != 0)
        return rc;
    io->attrs = attrs->list;
    io->attr_count = attrs->count;
    io->attr_stride = sizeof *attrs->list;
    return 0;
}

static int
prepare_get(struct attempt *attempt)
{
    struct objects *objects = attempt->objects;

    attempt->body = attempt->req->data;
    attempt->body_cap = objects->config.layout->block_bytes;
    if (chain_is_plain(objects->chain))
        return 0;
    attempt->body_cap = chain_body_bytes_max(objects->chain);
    attempt->body = malloc(attempt->body_cap);
    return attempt->body != NULL ? 0 : -ENOMEM;
}

static int
prepare_delete_many(struct attempt *attempt)
{
    struct object_req *req = attempt->req;
    const struct layout *layout = attempt->objects->config.layout;

    attempt->names = calloc(req->count, sizeof *attempt->names);
    attempt->name_pointers = calloc(req->count, sizeof *attempt->name_pointers);
    attempt->statuses = calloc(req->count, sizeof *attempt->statuses);
    if (attempt->names == NULL || attempt->name_pointers == NULL || attempt->statuses == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < req->count; i++) {
        layout_block_name(layout, req->blocks[i], attempt->names[i]);
        attempt->name_pointers[i] = attempt->names[i];
    }
    attempt->io->io.name_count = req->count;
    return 0;
}

static void
encode_and_go(struct task *task)
{
    struct attempt *attempt = container_of(task, struct attempt, run.task);
    struct error why = { "out of memory" };
    int rc = prepare_put(attempt, &why);

    if (rc == 0)
        places_get(attempt->objects->places, &attempt->place);
    else
        fail(attempt, rc, why.text);
}

void
objects_pause(struct objects *objects, bool is_paused)
{
    atomic_store(&objects->is_paused, is_paused);
}

void
objects_submit(struct objects *objects, struct object_req *req)
{
    struct attempt *attempt = calloc(1, sizeof *attempt);
    int rc = 0;

    req->rc = 0;
    req->is_absent = req->is_damaged = req->list_ended = false;
    req->object_bytes = req->unsettled_ns = 0;
    req->tag[0] = '\0';
    if (is_over(objects, req)) {
        free(attempt);
        req->rc = -ECANCELED;
        req->done(req);
        return;
    }
    if (attempt == NULL) {
        req->rc = -ENOMEM;
        req->done(req);
        return;
    }
    attempt->objects = objects;
    attempt->req = req;
    attempt->started_ns = clock_now_ns(); /* waiting for a place counts: the caller waits, too */
    attempt->pause_ns = objects->config.retry_pause_ns;
    attempt->place.is_background = req->is_background;
    attempt->io = backend_io_new(objects->backend);
    if (attempt->io == NULL)
        rc = -ENOMEM;
    if (req->op == OBJECT_DELETE)
        req->block = req->blocks[0];
    if (req->op != OBJECT_LIST)
        layout_block_name(objects->config.layout, req->block, attempt->name);
    if (rc == 0 && req->op == OBJECT_GET)
        rc = prepare_get(attempt);
    if (rc == 0 && req->op == OBJECT_DELETE && req->count > 1)
        rc = prepare_delete_many(attempt);
    if (rc != 0) {
        fail(attempt, rc, "out of memory");
    } else if (req->op == OBJECT_PUT) {
        attempt->run.task.run = encode_and_go;
        if (chain_is_plain(objects->chain))
            encode_and_go(&attempt->run.task);
        else
            pool_submit(objects->pool, &attempt->run.task);
    } else {
        places_get(objects->places, &attempt->place);
    }
}

/* ---- life */

unsigned
objects_delete_max(const struct objects *objects)
{
    return objects->delete_max;
}

unsigned
objects_list_max(const struct objects *objects)
{
    return objects->list_max;
}

bool
objects_list_in_order(const struct objects *objects)
{
    return !atomic_load(&objects->is_disordered);
}

uint64_t
objects_capabilities(const struct objects *objects)
{
    return backend_info(objects->backend)->capabilities;
}

int
objects_new(const struct objects_config *config, struct backend *backend, struct chain *chain,
            struct pool *pool, struct stats *stats, struct objects **out)
{
    struct objects *objects = calloc(1, sizeof *objects);
    const struct bd_backend_info *info = backend_info(backend);
    int rc;

    if (objects == NULL)
        return -ENOMEM;
    rc = places_new(config->in_flight_max, place_given, stats, &objects->places);
    if (rc != 0) {
        free(objects);
        return rc;
    }
    objects->config = *config;
    objects->backend = backend;
    objects->chain = chain;
    objects->pool = pool;
    objects->delete_max = info->capabilities & BD_CAP_DELETE_MANY ? info->delete_many_max : 1;
    objects->list_max = info->list_max;
    atomic_init(&objects->jitter, (unsigned)clock_now_ns());
    objects->gets = stats_counter(stats, "object_gets", "objects fetched");
    objects->absent = stats_counter(stats, "object_gets_absent", "fetches that found no object");
    objects->heads =
        stats_counter(stats, "object_heads", "objects whose tag was asked for, there or not");
    objects->puts = stats_counter(stats, "object_puts", "objects stored");
    objects->deletes = stats_counter(stats, "object_deletes", "objects deleted");
    objects->lists = stats_counter(stats, "object_lists", "pages listed");
    objects->bytes_read = stats_counter(stats, "object_bytes_read", "bytes of bodies fetched");
    objects->bytes_written = stats_counter(stats, "object_bytes_written", "bytes of bodies stored");
    objects->retries = stats_counter(stats, "object_retries", "attempts after the first");
    objects->busy = stats_counter(stats, "object_busy", "answers that asked for fewer requests");
    objects->unknown =
        stats_counter(stats, "object_unknown_outcomes",
                      "attempts of which nobody knows whether they were carried out");
    objects->corrupt = stats_counter(stats, "object_corrupt", "bodies that were damaged");
    objects->failed = stats_counter(stats, "object_failures", "requests that failed for good");
    objects->pauses = stats_histogram(stats, "object_retry_pause_seconds",
                                      "pauses before attempts after the first");
    objects->times[OBJECT_GET] = stats_histogram(
        stats, "object_get_seconds", "attempts to fetch an object: from sending to the answer");
    objects->times[OBJECT_HEAD] =
        stats_histogram(stats, "object_head_seconds",
                        "attempts to ask for an object's tag: from sending to the answer");
    objects->times[OBJECT_PUT] = stats_histogram(
        stats, "object_put_seconds", "attempts to store an object: from sending to the answer");
    objects->times[OBJECT_DELETE] =
        stats_histogram(stats, "object_delete_seconds",
                        "attempts to delete one object or a batch: from sending to the answer");
    objects->times[OBJECT_LIST] = stats_histogram(
        stats, "object_list_seconds", "attempts to list a page: from sending to the answer");
    *out = objects;
    return 0;
}

void
objects_free(struct objects *objects)
{
    if (objects == NULL)
        return;
    places_free(objects->places);
    free(objects);
}
