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
 * (no BD_CAP_CONSISTENT) makes nothing ZERO by a read or a listing, nor does any store where somebody else writes
 * (is_reader): what it lacks now it may have at the next read; nor a store that was seen to list out of order, which
 * also makes all that was ZERO by then DATA.  A write makes its block DATA before it
 * starts, and nothing makes a block UNKNOWN again, so a listing can never contradict a write: what it shows of a
 * block that is still UNKNOWN, nobody has changed since before the listing began.  Only a daemon that died here may have, so
 * nothing is listed until its writes have settled.
 *
 * A ZERO OF A RANGE holds it from before the listing until after the last delete.  Its deletes go in several
 * batches at once, no block is in two.
 *
 * WHERE SEVERAL WRITE (is_shared) they agree among themselves who writes what when, and go by our answers: a write that
 * may still be carried out late would come over what another one writes after our answer.  So it has ended only when it
 * has settled, and keeps its turn until then.
 *
 * WHAT WAS WRITTEN LATELY (recent.h) says until when a write must wait, with its turn and before its range, and
 * which answers to a read are stale: those are asked for again, then the read fails.
 *
 * A VERSION is what who keeps a copy of the block knows it by, for longer than we remember anything.  So it is told only
 * where it cannot change by itself: not while the block is unsettled, nor of a write that had an attempt of unknown
 * outcome, which may give the same bytes another tag.  A CHECK is a read without a body that is not asked again: what
 * is stale, unsettled or has no tag is not the same, and who asked will read it.
 */
#include "consistency_inner.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define STALE_PAUSE_NS (100 * NS_PER_MS)
#define STALE_PAUSE_MAX_NS (5 * NS_PER_S)

/* ---- jobs */

void
consistency_end(struct job *job, int rc)
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
        consistency_end(job, -ENOMEM);
}

static void
settled(struct task *task)
{
    struct job *job = container_of(task, struct job, timer.task);

    consistency_end(job, job->rc);
}

void
consistency_end_write(struct job *job, int rc)
{
    const struct consistency_config *config = &job->consistency->config;

    if (!config->is_shared || job->unsettled_ns == 0 || config->recent.settle_ns == 0) {
        consistency_end(job, rc);
        return;
    }
    /* Reads need not wait with it. */
    range_release(job->consistency->order, &job->range);
    job->has_range = false;
    job->rc = rc;
    job_later(job, job->unsettled_ns + config->recent.settle_ns, settled);
}

enum block_state
consistency_after_delete(const struct consistency *consistency, int rc)
{
    return rc == 0 && !consistency->config.is_reader ? BLOCK_ZERO : BLOCK_DATA;
}

bool
consistency_trusts_store(const struct consistency *consistency)
{
    return !consistency->config.is_reader && objects_list_in_order(consistency->objects)
           && objects_capabilities(consistency->objects) & BD_CAP_CONSISTENT;
}

/* ---- versions */

static void
version_tell(const struct store_req *req, bool is_absent, const char *tag)
{
    struct store_version *version = req->version;

    if (version == NULL)
        return;
    if (is_absent) {
        version->is = VERSION_ABSENT;
    } else if (tag[0] != '\0') {
        version->is = VERSION_TAG;
        strcpy(version->tag, tag);
    }
}

static bool
is_version(const struct store_version *version, bool is_absent, const char *tag)
{
    if (version->is == VERSION_ABSENT)
        return is_absent;
    return version->is == VERSION_TAG && !is_absent && tag[0] != '\0'
           && strcmp(version->tag, tag) == 0;
}

static void
check_end(struct job *job, int rc, bool is_same)
{
    if (is_same)
        counter_add(job->consistency->same, 1);
    job->req->is_same = is_same;
    consistency_end(job, rc);
}

/* ---- reading */

static void read_done(struct object_req *object);

static void
read_send(struct job *job)
{
    struct consistency *consistency = job->consistency;
    bool is_check = job->req->op == STORE_CHECK;

    pthread_mutex_lock(&consistency->lock);
    job->is_unsettled = recent_is_unsettled(consistency->recent, job->req->block);
    recent_expect(consistency->recent, job->req->block, &job->expected);
    pthread_mutex_unlock(&consistency->lock);
    if (is_check && job->is_unsettled) {
        check_end(job, 0, false);
        return;
    }
    job->object.op = is_check ? OBJECT_HEAD : OBJECT_GET;
    job->object.block = job->req->block;
    job->object.data = job->req->data;
    job->object.is_over = job->req->is_over;
    job->object.origin = job->req->origin;
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
    bool is_stale = object->rc == 0 && recent_is_stale(&job->expected, object);

    if (object->rc == 0 && !is_stale && object->is_absent && !job->is_unsettled
        && consistency_trusts_store(consistency)) {
        pthread_mutex_lock(&consistency->lock);
        zeromap_set(consistency->map, object->block, BLOCK_ZERO);
        pthread_mutex_unlock(&consistency->lock);
    }
    if (job->req->op == STORE_CHECK) {
        check_end(job, object->rc,
                  object->rc == 0 && !is_stale
                      && is_version(job->req->version, object->is_absent, object->tag));
        return;
    }
    if (!is_stale) {
        job->req->is_damaged = object->is_damaged;
        if (object->rc == 0 && !job->is_unsettled)
            version_tell(job->req, object->is_absent, object->tag);
        consistency_end(job, object->rc);
        return;
    }
    counter_add(consistency->stale, 1);
    if (now - job->started_ns >= consistency->config.stall_read_ns) {
        log_line(BD_ERROR,
                 "cannot read block %08" PRIx64
                 ": the store keeps answering with an older version than was written",
                 object->block);
        consistency_end(job, -EIO);
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
bool
consistency_holds(struct job *job, void (*again)(struct task *task))
{
    struct consistency *consistency = job->consistency;
    uint64_t at, now;

    pthread_mutex_lock(&consistency->lock);
    at = recent_write_at_ns(consistency->recent, job->range.first, job->range.last);
    pthread_mutex_unlock(&consistency->lock);
    now = clock_now_ns();
    if (at <= now) {
        if (job->held_ns != 0)
            histogram_add(consistency->held_times, now - job->held_ns);
        job->held_ns = 0;
        return false;
    }
    if (!job->is_held)
        counter_add(consistency->held, 1);
    if (job->held_ns == 0)
        job->held_ns = now;
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
        zeromap_set(consistency->map, object->block,
                    consistency_after_delete(consistency, object->rc));
    pthread_mutex_unlock(&consistency->lock);
    if (object->rc == 0 && object->unsettled_ns == 0)
        version_tell(job->req, is_delete, object->tag);
    job->unsettled_ns = object->unsettled_ns;
    consistency_end_write(job, object->rc);
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
    if (req->block != 0 && is_all_zeros(req->data, consistency->config.layout->block_bytes)) {
        object->op = OBJECT_DELETE;
        object->blocks = &req->block;
        object->count = 1;
    } else {
        object->op = OBJECT_PUT;
        object->origin = req->origin;
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
    if (!consistency_holds(job, write_retry_start)
        && range_acquire(job->consistency->order, &job->range))
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
        && is_all_zeros(req->data, consistency->config.layout->block_bytes)) {
        counter_add(consistency->zero_writes, 1);
        version_tell(job->req, true, "");
        consistency_end(job, 0);
    } else {
        write_start(job);
    }
}

/* ---- flushing */

static void
flush_turn(struct range *turn)
{
    struct job *job = container_of(turn, struct job, turn);

    job->has_turn = true;
    consistency_end(job, 0);
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

/* Is it answered without the store?  Needs no order: while a block is ZERO, no write to it has been sent. */
static bool
is_known(struct consistency *consistency, struct store_req *req)
{
    bool is_zero = state_now(consistency, req->block) == BLOCK_ZERO;

    if (req->op == STORE_CHECK) {
        counter_add(consistency->checks, 1);
        req->is_same = is_zero && is_version(req->version, true, "");
        counter_add(consistency->same, req->is_same);
        return is_zero || req->version->is == VERSION_UNKNOWN;
    }
    if (is_zero) {
        memset(req->data, 0, consistency->config.layout->block_bytes);
        counter_add(consistency->zero_reads, 1);
        version_tell(req, true, "");
    }
    return is_zero;
}

static void
consistency_submit(struct store *store, struct store_req *req)
{
    struct consistency *consistency = container_of(store, struct consistency, store);
    struct job *job;

    if ((req->op == STORE_READ || req->op == STORE_WRITE) && req->version != NULL)
        req->version->is = VERSION_UNKNOWN; /* until it is done well */
    if ((req->op == STORE_READ || req->op == STORE_CHECK) && is_known(consistency, req)) {
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
    case STORE_CHECK:
        assert(req->op == STORE_CHECK || req->bytes == consistency->config.layout->block_bytes);
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
        turn_take(job, consistency_zero_turn);
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
        consistency_seek(job);
        break;
    }
}

static bool
consistency_is_zero(struct store *store, uint64_t block)
{
    return state_now(container_of(store, struct consistency, store), block) == BLOCK_ZERO;
}

/* ---- life */

void
consistency_hold(struct store *store, uint64_t ns)
{
    struct consistency *consistency = container_of(store, struct consistency, store);
    uint64_t until_ns = clock_now_ns() + ns;

    log_line(BD_INFO, "writes wait %llu s, until the store cannot carry out lost ones any more",
             (unsigned long long)(ns / NS_PER_S));
    pthread_mutex_lock(&consistency->lock);
    recent_hold_all(consistency->recent, until_ns);
    consistency->list_from_ns = until_ns;
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

static uint64_t
zero_blocks(void *arg)
{
    struct consistency *consistency = arg;
    uint64_t count;

    pthread_mutex_lock(&consistency->lock);
    count = zeromap_zero_count(consistency->map);
    pthread_mutex_unlock(&consistency->lock);
    return count;
}

static uint64_t
remembered_writes(void *arg)
{
    struct consistency *consistency = arg;
    uint64_t count;

    pthread_mutex_lock(&consistency->lock);
    count = recent_count(consistency->recent);
    pthread_mutex_unlock(&consistency->lock);
    return count;
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
    consistency->held_times = stats_histogram(
        stats, "held_write_seconds",
        "writes that waited for an earlier one to settle, or for --minWriteDelay: how long");
    consistency->stale = stats_counter(stats, "stale_reads", "reads older than what was written");
    consistency->checks = stats_counter(stats, "checks", "blocks whose version was asked for");
    consistency->same = stats_counter(
        stats, "same_checks", "blocks whose version the store still had when it was asked for");
    stats_gauge(stats, "data_blocks", "blocks known to have an object", data_blocks,
                &consistency->store);
    stats_gauge(stats, "zero_blocks", "blocks known to have no object", zero_blocks, consistency);
    stats_gauge(stats, "remembered_writes",
                "blocks of which it is remembered what was written last, and when",
                remembered_writes, consistency);
    stats_gauge(stats, "listed_percent", "how much of the volume a survey of all blocks has listed",
                consistency_listed_percent, consistency);
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
