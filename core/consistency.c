/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a store of objects behave like blocks of one disk.
 *
 * ORDER.  A read holds its block shared, a write or zero its blocks exclusively (base/rangelock), from
 * before the first request to the store until after the last.  What is learnt of a block is noted
 * before its range is given back.  A write may have to wait (see below) before it takes its range, so
 * that reads are not kept waiting with it; what keeps writes in order meanwhile, and what a flush
 * waits for, is their turn: a second lock, from their arrival to their end.
 *
 * THE MAP.  ZERO means "has no object", and reads as zeros without a request.  It is set only where no
 * write can be in flight or still come: by a delete that succeeded or a read that found nothing, under
 * the block's order; by a listing, only over UNKNOWN.  A store that may answer with an older state
 * (no BD_CAP_CONSISTENT) makes nothing ZERO by a read or a listing.  A write makes its block DATA before it
 * starts, and nothing makes a block UNKNOWN again, so a listing can never contradict a write: what it shows of a
 * block that is still UNKNOWN, nobody has changed since before the listing began.  Only a daemon that died here may have, so
 * nothing is listed until its writes have settled.
 *
 * A ZERO OF A RANGE holds it from before the listing until after the last delete.  Its deletes go in several
 * batches at once, no block is in two.
 *
 * WHAT WAS WRITTEN LATELY (recent.h) says until when a write must wait, with its turn and before its range, and
 * which answers to a read are stale: those are asked for again, then the read fails.
 */
#include "consistency.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/rangelock.h"
#include "base/util.h"
#include "survey.h"
#include "zeromap.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* From so many blocks of unknown state on, a zero lists what exists instead of deleting at a venture. */
#define LIST_FROM_BLOCKS 10000u
#define BATCHES_AT_ONCE 64u
#define TELL_NS (10 * NS_PER_S)
#define STALE_PAUSE_NS (100 * NS_PER_MS)
#define STALE_PAUSE_MAX_NS (5 * NS_PER_S)

/* The survey of everything: asked for, or begun by who needs it.  There is one at a time. */
struct whole {
    bool is_running;
    struct job *joined; /* go on when it has ended */
    struct timer delay;
    struct survey *survey;
    uint64_t percent;
    uint64_t started_ns, told_ns;
    void (*done)(void *arg, int rc); /* NULL: not asked for */
    void *done_arg;
};

struct consistency {
    struct store store;
    struct consistency_config config; /* these: fixed after consistency_new */
    struct objects *objects;
    struct pool *pool;
    struct rangelock *turns, *order;
    struct counter *zero_reads, *zero_writes, *held, *stale;
    atomic_bool is_stopping;

    /* Guards the rest.  After turns and order; never held while calling out. */
    pthread_mutex_t lock;
    struct zeromap *map;
    struct recent *recent;
    uint64_t list_from_ns; /* before this, a listing shows what a dead daemon's writes may change */
    struct whole whole;
};

struct job {
    struct consistency *consistency;
    struct store_req *req;
    struct object_req object;
    struct range turn, range;
    struct timer timer;
    bool has_turn, has_range;
    bool is_held;      /* counted as such */
    bool is_unsettled; /* read: what it finds may still change by itself */
    uint64_t started_ns, pause_ns;

    uint64_t cursor, end; /* zero, seek: the part that is left */
    void *zeros;          /* block 0's new content */
    unsigned
        batches; /* being deleted, and one for who still sends some; under the lock, as rc and cursor then */
    int rc; /* of the first batch that failed */

    void (*listed)(struct job *job);
    struct job *next_joined; /* to the survey of everything */
};

/* ---- jobs */

static void
job_end(struct job *job, int rc)
{
    struct store_req *req = job->req;

    if (job->has_range)
        range_release(job->consistency->order, &job->range);
    if (job->has_turn)
        range_release(job->consistency->turns, &job->turn);
    free(job->zeros);
    free(job);
    store_done(req, rc);
}

static void
job_later(struct job *job, uint64_t at_ns, void (*run)(struct task *task))
{
    job->timer.task.run = run;
    if (pool_timer_set(job->consistency->pool, &job->timer, at_ns) != 0)
        job_end(job, -ENOMEM);
}

/* Does the store show what was last written? */
static bool
is_consistent(const struct consistency *consistency)
{
    return objects_capabilities(consistency->objects) & BD_CAP_CONSISTENT;
}

/* ---- reading */

static void read_done(struct object_req *object);

static void
read_send(struct job *job)
{
    struct consistency *consistency = job->consistency;

    pthread_mutex_lock(&consistency->lock);
    job->is_unsettled = recent_is_unsettled(consistency->recent, job->req->block);
    pthread_mutex_unlock(&consistency->lock);
    job->object.op = OBJECT_GET;
    job->object.block = job->req->block;
    job->object.data = job->req->data;
    job->object.done = read_done;
    objects_submit(consistency->objects, &job->object);
}

static void
read_again(struct task *task)
{
    read_send(container_of(task, struct job, timer.task));
}

static void
read_done(struct object_req *object)
{
    struct job *job = container_of(object, struct job, object);
    struct consistency *consistency = job->consistency;
    uint64_t now = clock_now_ns();
    bool is_stale = false;

    if (object->rc == 0) {
        pthread_mutex_lock(&consistency->lock);
        is_stale = recent_is_stale(consistency->recent, object);
        if (!is_stale && object->is_absent && !job->is_unsettled && is_consistent(consistency))
            zeromap_set(consistency->map, object->block, BLOCK_ZERO);
        pthread_mutex_unlock(&consistency->lock);
    }
    if (!is_stale) {
        job_end(job, object->rc);
        return;
    }
    counter_add(consistency->stale, 1);
    if (now - job->started_ns >= consistency->config.stall_read_ns) {
        log_line(BD_ERROR,
                 "cannot read block %08" PRIx64
                 ": the store keeps answering with an older version than was written",
                 object->block);
        job_end(job, -EIO);
        return;
    }
    job->pause_ns = job->pause_ns == 0 ? STALE_PAUSE_NS : job->pause_ns * 2;
    if (job->pause_ns > STALE_PAUSE_MAX_NS)
        job->pause_ns = STALE_PAUSE_MAX_NS;
    job_later(job, now + job->pause_ns, read_again);
}

static void
read_ordered(struct range *range)
{
    struct job *job = container_of(range, struct job, range);

    job->has_range = true;
    read_send(job);
}

/* ---- writing one block */

static void write_start(struct job *job);

static void
write_retry_start(struct task *task)
{
    write_start(container_of(task, struct job, timer.task));
}

/* Waits, with its turn and before the range is taken; true: the job went to sleep. */
static bool
held(struct job *job, void (*again)(struct task *task))
{
    struct consistency *consistency = job->consistency;
    uint64_t at;

    pthread_mutex_lock(&consistency->lock);
    at = recent_write_at_ns(consistency->recent, job->range.first, job->range.last);
    pthread_mutex_unlock(&consistency->lock);
    if (at <= clock_now_ns())
        return false;
    if (!job->is_held)
        counter_add(consistency->held, 1);
    job->is_held = true;
    job_later(job, at, again);
    return true;
}

static void
write_done(struct object_req *object)
{
    struct job *job = container_of(object, struct job, object);
    struct consistency *consistency = job->consistency;
    bool is_delete = object->op == OBJECT_DELETE;

    pthread_mutex_lock(&consistency->lock);
    recent_note(consistency->recent, object->block, object, is_delete ? NULL : object->tag);
    if (is_delete)
        zeromap_set(consistency->map, object->block, object->rc == 0 ? BLOCK_ZERO : BLOCK_DATA);
    pthread_mutex_unlock(&consistency->lock);
    job_end(job, object->rc);
}

static bool
is_all_zero(const void *data, size_t bytes)
{
    const char *text = data;

    return text[0] == 0 && memcmp(text, text + 1, bytes - 1) == 0;
}

static void
write_ordered(struct range *range)
{
    struct job *job = container_of(range, struct job, range);
    struct consistency *consistency = job->consistency;
    struct store_req *req = job->req;
    struct object_req *object = &job->object;

    job->has_range = true;
    object->block = req->block;
    object->data = req->data;
    object->done = write_done;
    /* Block 0 is always an object: it carries the sizes. */
    if (req->block != 0 && is_all_zero(req->data, consistency->config.layout->block_bytes)) {
        object->op = OBJECT_DELETE;
        object->blocks = &req->block;
        object->count = 1;
    } else {
        object->op = OBJECT_PUT;
        pthread_mutex_lock(&consistency->lock);
        zeromap_set(consistency->map, req->block, BLOCK_DATA);
        pthread_mutex_unlock(&consistency->lock);
    }
    objects_submit(consistency->objects, object);
}

static void
write_start(struct job *job)
{
    job->range.granted = write_ordered;
    if (!held(job, write_retry_start) && range_acquire(job->consistency->order, &job->range))
        write_ordered(&job->range);
}

static enum block_state
state_now(struct consistency *consistency, uint64_t block)
{
    enum block_state state;

    pthread_mutex_lock(&consistency->lock);
    state = zeromap_get(consistency->map, block);
    pthread_mutex_unlock(&consistency->lock);
    return state;
}

static void
write_turn(struct range *turn)
{
    struct job *job = container_of(turn, struct job, turn);
    struct consistency *consistency = job->consistency;
    const struct store_req *req = job->req;

    job->has_turn = true;
    /* Block 0 becomes an object by any write. */
    if (req->block != 0 && state_now(consistency, req->block) == BLOCK_ZERO
        && is_all_zero(req->data, consistency->config.layout->block_bytes)) {
        counter_add(consistency->zero_writes, 1);
        job_end(job, 0);
    } else {
        write_start(job);
    }
}

/* ---- learning by listing */

static void
learn(struct consistency *consistency, const uint64_t *blocks, unsigned count, uint64_t first,
      uint64_t end)
{
    pthread_mutex_lock(&consistency->lock);
    for (unsigned i = 0; i < count; i++)
        zeromap_change(consistency->map, blocks[i], blocks[i] + 1, BLOCK_UNKNOWN, BLOCK_DATA);
    if (is_consistent(consistency)) /* others may leave out what was written lately */
        zeromap_change(consistency->map, first, end, BLOCK_UNKNOWN, BLOCK_ZERO);
    pthread_mutex_unlock(&consistency->lock);
}

static void
job_learnt(void *arg, const uint64_t *blocks, unsigned count, uint64_t first, uint64_t end)
{
    learn(((struct job *)arg)->consistency, blocks, count, first, end);
}

static void
job_listed(void *arg, int rc)
{
    struct job *job = arg;

    /* A stop has ended the survey that it had joined; what was to be zeroed still is. */
    if (rc == -ECANCELED && job->req->op == STORE_ZERO)
        rc = 0;
    if (rc != 0)
        job_end(job, rc);
    else
        job->listed(job);
}

static void
whole_learnt(void *arg, const uint64_t *blocks, unsigned count, uint64_t first, uint64_t end)
{
    learn(arg, blocks, count, first, end);
}

/* After a page. */
static bool
whole_tell(void *arg)
{
    struct consistency *consistency = arg;
    struct whole *whole = &consistency->whole;
    uint64_t now = clock_now_ns(), percent = survey_percent(whole->survey), found;
    bool is_told = false;

    pthread_mutex_lock(&consistency->lock);
    if (percent > whole->percent)
        whole->percent = percent;
    if (whole->done != NULL && now - whole->told_ns >= TELL_NS) {
        whole->told_ns = now;
        is_told = true;
    }
    found = zeromap_data_count(consistency->map);
    pthread_mutex_unlock(&consistency->lock);
    if (is_told)
        log_line(BD_INFO,
                 "listing blocks: %" PRIu64 " found in %" PRIu64 " %% of the volume, %" PRIu64
                 " s so far",
                 found, percent, (uint64_t)((now - whole->started_ns) / NS_PER_S));
    return false;
}

static void
whole_listed(void *arg, int rc)
{
    struct consistency *consistency = arg;
    struct whole *whole = &consistency->whole;
    uint64_t ms = (clock_now_ns() - whole->started_ns) / NS_PER_MS, found;
    struct job *joined;
    void (*done)(void *arg, int rc);
    void *done_arg;

    pthread_mutex_lock(&consistency->lock);
    joined = whole->joined;
    done = whole->done;
    done_arg = whole->done_arg;
    whole->joined = NULL;
    whole->done = NULL;
    whole->is_running = false;
    if (rc == 0)
        whole->percent = 100;
    found = zeromap_data_count(consistency->map);
    pthread_mutex_unlock(&consistency->lock);
    if (done != NULL && rc == 0)
        log_line(BD_INFO,
                 "all blocks are listed: %" PRIu64 " have an object (%" PRIu64 ".%" PRIu64 " s)",
                 found, ms / 1000, ms % 1000 / 100);
    while (joined != NULL) {
        struct job *next = joined->next_joined;

        job_listed(joined, rc);
        joined = next;
    }
    if (done != NULL)
        done(done_arg, rc); /* after it, all may be gone */
}

static void
whole_start(struct consistency *consistency)
{
    struct whole *whole = &consistency->whole;
    const struct survey_config config = {
        .layout = consistency->config.layout,
        .objects = consistency->objects,
        .end = consistency->config.layout->block_count,
        .listers_max = consistency->config.listers_max,
        .is_background = true,
        /* Who still needs one when all stops, to zero something, gets it. */
        .is_over = atomic_load(&consistency->is_stopping) ? NULL : &consistency->is_stopping,
        .learnt = whole_learnt,
        .is_enough = whole_tell,
        .done = whole_listed,
        .arg = consistency,
    };
    int rc = survey_new(&config, &whole->survey);

    whole->started_ns = whole->told_ns = clock_now_ns();
    if (rc != 0)
        whole_listed(consistency, rc);
    else
        survey_start(whole->survey);
}

static void
whole_start_late(struct task *task)
{
    struct consistency *consistency = container_of(task, struct consistency, whole.delay.task);

    if (atomic_load(&consistency->is_stopping))
        whole_listed(consistency, -ECANCELED);
    else
        whole_start(consistency);
}

/* True: there is one of everything, which the job has joined. */
static bool
whole_join(struct job *job)
{
    struct consistency *consistency = job->consistency;
    struct whole *whole = &consistency->whole;
    bool is_hashed = consistency->config.layout->is_hashed, is_begun = false, is_joined;

    pthread_mutex_lock(&consistency->lock);
    /* There, a part is no less work than everything. */
    is_joined = is_hashed
                || (whole->is_running && objects_capabilities(consistency->objects) & BD_CAP_LOCAL);
    if (is_joined) {
        is_begun = !whole->is_running;
        whole->is_running = true;
        job->next_joined = whole->joined;
        whole->joined = job;
    }
    pthread_mutex_unlock(&consistency->lock);
    if (is_begun)
        whole_start(consistency);
    return is_joined;
}

/* List blocks of [from, job->end) until that is enough; then goes on with job->listed(). */
static void
list(struct job *job, uint64_t from, unsigned listers_max, bool (*is_enough)(void *arg))
{
    struct consistency *consistency = job->consistency;
    const struct survey_config config = {
        .layout = consistency->config.layout,
        .objects = consistency->objects,
        .first = from,
        .end = job->end,
        .listers_max = listers_max,
        .is_over = job->req->op == STORE_ZERO ? NULL : &consistency->is_stopping,
        .learnt = job_learnt,
        .is_enough = is_enough,
        .done = job_listed,
        .arg = job,
    };
    struct survey *survey;
    int rc;

    if (whole_join(job))
        return;
    rc = survey_new(&config, &survey);
    if (rc != 0)
        job_end(job, rc);
    else
        survey_start(survey);
}

/* ---- zeroing a range of blocks */

static void zero_step(struct job *job);

static void
zero_first_done(struct object_req *object)
{
    struct job *job = container_of(object, struct job, object);
    struct consistency *consistency = job->consistency;

    pthread_mutex_lock(&consistency->lock);
    recent_note(consistency->recent, 0, object, object->tag);
    pthread_mutex_unlock(&consistency->lock);
    if (object->rc != 0) {
        job_end(job, object->rc);
        return;
    }
    job->cursor = 1;
    zero_step(job);
}

/* Block 0 stays an object: it is written, not deleted. */
static void
zero_first_block(struct job *job)
{
    struct consistency *consistency = job->consistency;

    job->zeros = calloc(1, consistency->config.layout->block_bytes);
    if (job->zeros == NULL) {
        job_end(job, -ENOMEM);
        return;
    }
    job->object.op = OBJECT_PUT;
    job->object.block = 0;
    job->object.data = job->zeros;
    job->object.done = zero_first_done;
    pthread_mutex_lock(&consistency->lock);
    zeromap_set(consistency->map, 0, BLOCK_DATA);
    pthread_mutex_unlock(&consistency->lock);
    objects_submit(consistency->objects, &job->object);
}

struct batch {
    struct job *job;
    struct object_req object;
    bool is_background; /* all but the first */
    uint64_t blocks[];
};

static void batch_done(struct object_req *object);

/* Send the next of what is left; false: there is nothing. */
static bool
batch_send(struct batch *batch)
{
    struct job *job = batch->job;
    struct consistency *consistency = job->consistency;
    const unsigned exists = 1u << BLOCK_DATA | 1u << BLOCK_UNKNOWN;
    unsigned count = 0, max = objects_delete_max(consistency->objects);

    pthread_mutex_lock(&consistency->lock);
    while (job->rc == 0 && job->cursor < job->end && count < max) {
        uint64_t block = zeromap_find(consistency->map, job->cursor, job->end, exists);

        if (block < job->end)
            batch->blocks[count++] = block;
        job->cursor = block + 1;
    }
    pthread_mutex_unlock(&consistency->lock);
    if (count == 0)
        return false;
    batch->object = (struct object_req){ .op = OBJECT_DELETE,
                                         .blocks = batch->blocks,
                                         .count = count,
                                         .is_background = batch->is_background,
                                         .done = batch_done };
    objects_submit(consistency->objects, &batch->object);
    return true;
}

/* A batch, or who sends them, has no more to do; the last one ends the job. */
static void
batches_leave(struct job *job)
{
    struct consistency *consistency = job->consistency;
    bool is_last;

    pthread_mutex_lock(&consistency->lock);
    is_last = --job->batches == 0;
    pthread_mutex_unlock(&consistency->lock);
    if (is_last)
        job_end(job, job->rc);
}

static void
batch_done(struct object_req *object)
{
    struct batch *batch = container_of(object, struct batch, object);
    struct job *job = batch->job;
    struct consistency *consistency = job->consistency;

    pthread_mutex_lock(&consistency->lock);
    for (unsigned i = 0; i < object->count; i++) {
        recent_note(consistency->recent, object->blocks[i], object, NULL);
        zeromap_set(consistency->map, object->blocks[i], object->rc == 0 ? BLOCK_ZERO : BLOCK_DATA);
    }
    if (job->rc == 0)
        job->rc = object->rc;
    pthread_mutex_unlock(&consistency->lock);
    if (!batch_send(batch)) {
        free(batch);
        batches_leave(job);
    }
}

static struct batch *
batch_new(struct job *job, bool is_first)
{
    struct consistency *consistency = job->consistency;
    unsigned max = objects_delete_max(consistency->objects);
    struct batch *batch = malloc(sizeof *batch + max * sizeof batch->blocks[0]);

    pthread_mutex_lock(&consistency->lock);
    if (batch != NULL)
        job->batches++;
    else if (is_first)
        job->rc = -ENOMEM;
    pthread_mutex_unlock(&consistency->lock);
    if (batch != NULL) {
        batch->job = job;
        batch->is_background = !is_first;
    }
    return batch;
}

/* Delete what there is, or may be, in several batches at once. */
static void
zero_delete(struct job *job)
{
    job->batches = 1;
    for (unsigned i = 0; i < BATCHES_AT_ONCE; i++) {
        struct batch *batch = batch_new(job, i == 0);

        if (batch == NULL)
            break;
        if (!batch_send(batch)) {
            free(batch);
            batches_leave(job);
            break;
        }
    }
    batches_leave(job);
}

/* Learn what exists if too much is unknown; then delete. */
static void
zero_step(struct job *job)
{
    struct consistency *consistency = job->consistency;
    uint64_t unknown = 0, from = 0;

    if (job->cursor == 0) {
        zero_first_block(job);
        return;
    }
    if (is_consistent(consistency)) {
        pthread_mutex_lock(&consistency->lock);
        unknown = zeromap_count_unknown(consistency->map, job->cursor, job->end, LIST_FROM_BLOCKS);
        from = zeromap_find(consistency->map, job->cursor, job->end, 1u << BLOCK_UNKNOWN);
        pthread_mutex_unlock(&consistency->lock);
    }
    if (unknown < LIST_FROM_BLOCKS) {
        zero_delete(job);
        return;
    }
    job->listed = zero_step;
    list(job, from, consistency->config.listers_max, NULL);
}

static void zero_start(struct job *job);

static void
zero_retry_start(struct task *task)
{
    zero_start(container_of(task, struct job, timer.task));
}

static void
zero_ordered(struct range *range)
{
    struct job *job = container_of(range, struct job, range);

    job->has_range = true;
    zero_step(job);
}

static void
zero_start(struct job *job)
{
    job->range.granted = zero_ordered;
    if (!held(job, zero_retry_start) && range_acquire(job->consistency->order, &job->range))
        zero_ordered(&job->range);
}

static bool
is_zero_all(struct job *job)
{
    struct consistency *consistency = job->consistency;
    const unsigned exists = 1u << BLOCK_DATA | 1u << BLOCK_UNKNOWN;
    uint64_t found;

    pthread_mutex_lock(&consistency->lock);
    found = zeromap_find(consistency->map, job->cursor, job->end, exists);
    pthread_mutex_unlock(&consistency->lock);
    return found >= job->end;
}

static void
zero_turn(struct range *turn)
{
    struct job *job = container_of(turn, struct job, turn);

    job->has_turn = true;
    if (job->cursor != 0 && is_zero_all(job))
        job_end(job, 0);
    else
        zero_start(job);
}

/* ---- seeking, flushing */

/* Go on to the first block of the range that fits, or (returns true) of which that is not known. */
static bool
seek_on(struct job *job)
{
    struct consistency *consistency = job->consistency;
    bool want_data = job->req->want_data, is_unknown;
    unsigned unknown = 1u << BLOCK_UNKNOWN;
    unsigned states = 1u << (want_data ? BLOCK_DATA : BLOCK_ZERO) | unknown;

    pthread_mutex_lock(&consistency->lock);
    /* Where a listing cannot be relied on, what is unknown counts as data. */
    if (!is_consistent(consistency) || clock_now_ns() < consistency->list_from_ns) {
        if (!want_data)
            states &= ~unknown;
        unknown = 0;
    }
    job->cursor = zeromap_find(consistency->map, job->cursor, job->end, states);
    is_unknown =
        job->cursor < job->end && (1u << zeromap_get(consistency->map, job->cursor) & unknown) != 0;
    pthread_mutex_unlock(&consistency->lock);
    return is_unknown;
}

static bool
seek_has_enough(void *arg)
{
    return !seek_on(arg);
}

static void
seek_step(struct job *job)
{
    struct store_req *req = job->req;

    if (seek_on(job)) {
        job->listed = seek_step;
        list(job, job->cursor, 1, seek_has_enough);
    } else if (job->cursor >= job->end) {
        job_end(job, -ENXIO);
    } else {
        req->block = job->cursor;
        job_end(job, 0);
    }
}

static void
flush_turn(struct range *turn)
{
    struct job *job = container_of(turn, struct job, turn);

    job->has_turn = true;
    job_end(job, 0);
}

/* ---- the way in */

/* Take the turn of a write, zero or flush. */
static void
turn_take(struct job *job, void (*granted)(struct range *turn))
{
    job->turn.is_exclusive = true;
    job->turn.granted = granted;
    if (range_acquire(job->consistency->turns, &job->turn))
        granted(&job->turn);
}

static void
consistency_submit(struct store *store, struct store_req *req)
{
    struct consistency *consistency = container_of(store, struct consistency, store);
    struct job *job;

    /* Needs no order: while a block is ZERO, no write to it has been sent. */
    if (req->op == STORE_READ && state_now(consistency, req->block) == BLOCK_ZERO) {
        memset(req->data, 0, consistency->config.layout->block_bytes);
        counter_add(consistency->zero_reads, 1);
        store_done(req, 0);
        return;
    }
    job = calloc(1, sizeof *job);
    if (job == NULL) {
        store_done(req, -ENOMEM);
        return;
    }
    job->consistency = consistency;
    job->req = req;
    job->started_ns = clock_now_ns();
    job->range.first = job->range.last = req->block;
    job->turn.first = job->turn.last = req->block;
    switch (req->op) {
    case STORE_READ:
        assert(req->bytes == consistency->config.layout->block_bytes);
        job->range.granted = read_ordered;
        if (range_acquire(consistency->order, &job->range))
            read_ordered(&job->range);
        break;
    case STORE_WRITE:
        assert(req->bytes == consistency->config.layout->block_bytes);
        job->range.is_exclusive = true;
        turn_take(job, write_turn);
        break;
    case STORE_ZERO:
        assert(req->count > 0);
        job->cursor = req->block;
        job->end = req->block + req->count;
        job->range.last = job->turn.last = job->end - 1;
        job->range.is_exclusive = true;
        turn_take(job, zero_turn);
        break;
    case STORE_FLUSH:
        job->turn.first = 0;
        job->turn.last = UINT64_MAX;
        job->turn.is_watcher = true;
        turn_take(job, flush_turn);
        break;
    case STORE_SEEK:
        job->cursor = req->block;
        job->end = req->count;
        seek_step(job);
        break;
    }
}

static bool
consistency_is_zero(struct store *store, uint64_t block)
{
    return state_now(container_of(store, struct consistency, store), block) == BLOCK_ZERO;
}

/* ---- the survey of everything */

void
consistency_survey(struct store *store, void (*done)(void *arg, int rc), void *arg)
{
    struct consistency *consistency = container_of(store, struct consistency, store);
    struct whole *whole = &consistency->whole;
    bool is_running;
    uint64_t from_ns;

    pthread_mutex_lock(&consistency->lock);
    assert(whole->done == NULL);
    whole->done = done;
    whole->done_arg = arg;
    is_running = whole->is_running;
    whole->is_running = true;
    from_ns = consistency->list_from_ns;
    pthread_mutex_unlock(&consistency->lock);
    if (is_running)
        return;
    whole->delay.task.run = whole_start_late;
    if (from_ns <= clock_now_ns())
        whole_start(consistency);
    else if (pool_timer_set(consistency->pool, &whole->delay, from_ns) != 0)
        whole_listed(consistency, -ENOMEM);
}

void
consistency_stop_listing(struct store *store)
{
    struct consistency *consistency = container_of(store, struct consistency, store);

    atomic_store(&consistency->is_stopping, true);
    if (pool_timer_cancel(consistency->pool, &consistency->whole.delay))
        whole_listed(consistency, -ECANCELED);
}

static uint64_t
surveyed_percent(void *arg)
{
    struct consistency *consistency = arg;
    uint64_t percent;

    pthread_mutex_lock(&consistency->lock);
    percent = consistency->whole.percent;
    pthread_mutex_unlock(&consistency->lock);
    return percent;
}

/* ---- life */

void
consistency_hold(struct store *store)
{
    struct consistency *consistency = container_of(store, struct consistency, store);

    if (objects_capabilities(consistency->objects) & BD_CAP_LOCAL)
        return;
    log_line(BD_INFO, "writes wait %llu s, until the store cannot carry out lost ones any more",
             (unsigned long long)(consistency->config.recent.settle_ns / NS_PER_S));
    pthread_mutex_lock(&consistency->lock);
    recent_hold_all(consistency->recent);
    consistency->list_from_ns = clock_now_ns() + consistency->config.recent.settle_ns;
    pthread_mutex_unlock(&consistency->lock);
}

uint64_t
consistency_data_blocks(struct store *store)
{
    struct consistency *consistency = container_of(store, struct consistency, store);
    uint64_t count;

    pthread_mutex_lock(&consistency->lock);
    count = zeromap_data_count(consistency->map);
    pthread_mutex_unlock(&consistency->lock);
    return count;
}

uint64_t
consistency_settled_at_ns(struct store *store)
{
    struct consistency *consistency = container_of(store, struct consistency, store);
    uint64_t at;

    pthread_mutex_lock(&consistency->lock);
    at = recent_settled_at_ns(consistency->recent);
    pthread_mutex_unlock(&consistency->lock);
    return at;
}

static uint64_t
data_blocks(void *arg)
{
    return consistency_data_blocks(arg);
}

int
consistency_new(const struct consistency_config *config, struct objects *objects, struct pool *pool,
                struct stats *stats, struct store **out)
{
    struct consistency *consistency = calloc(1, sizeof *consistency);
    int rc;

    if (consistency == NULL)
        return -ENOMEM;
    consistency->store.submit = consistency_submit;
    consistency->store.is_zero = consistency_is_zero;
    consistency->config = *config;
    consistency->objects = objects;
    consistency->pool = pool;
    rc = zeromap_new(config->layout->block_count, &consistency->map);
    if (rc == 0)
        rc = recent_new(&config->recent, &consistency->recent);
    if (rc == 0)
        rc = rangelock_new(&consistency->turns);
    if (rc == 0)
        rc = rangelock_new(&consistency->order);
    if (rc != 0) {
        rangelock_free(consistency->turns);
        recent_free(consistency->recent);
        zeromap_free(consistency->map);
        free(consistency);
        return rc;
    }
    pthread_mutex_init(&consistency->lock, NULL);
    consistency->zero_reads =
        stats_counter(stats, "zero_reads", "reads of blocks known to be zeros");
    consistency->zero_writes =
        stats_counter(stats, "zero_writes", "writes of zeros to blocks known to be zeros");
    consistency->held =
        stats_counter(stats, "held_writes", "writes that waited for an earlier one to settle");
    consistency->stale = stats_counter(stats, "stale_reads", "reads older than what was written");
    stats_gauge(stats, "data_blocks", "blocks known to have an object", data_blocks,
                &consistency->store);
    stats_gauge(stats, "listed_percent", "how much of the volume a survey of all blocks has listed",
                surveyed_percent, consistency);
    *out = &consistency->store;
    return 0;
}

void
consistency_free(struct store *store)
{
    struct consistency *consistency;

    if (store == NULL)
        return;
    consistency = container_of(store, struct consistency, store);
    recent_free(consistency->recent);
    rangelock_free(consistency->order);
    rangelock_free(consistency->turns);
    zeromap_free(consistency->map);
    pthread_mutex_destroy(&consistency->lock);
    free(consistency);
}
