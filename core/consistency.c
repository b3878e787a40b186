/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a store of objects behave like blocks of one disk.
 *
 * ORDER.  A read holds its block shared, a write or zero its blocks exclusively (base/rangelock), from
 * before the first request to the store until after the last.  What is learnt of a block is noted
 * before its range is given back.
 *
 * THE MAP.  ZERO means "has no object", and reads as zeros without a request.  It is set only where no
 * write can be in flight or still come: by a delete that succeeded or a read that found nothing, under
 * the block's order; by a listing, only over UNKNOWN.  A write makes its block DATA before it starts, and
 * nothing makes a block UNKNOWN again, so a listing can never contradict a write.
 *
 * THE MEMORY.  Of blocks written lately it is kept what later requests need: until when a different
 * version must be held (an attempt of unknown outcome may still be carried out), when it was written
 * (--minWriteDelay), and the tag that a read must find (--md5CacheTime).
 *
 *   a write waits    until hold_until, and until written + gap        before it takes its range, so that
 *                                                                     reads are not kept waiting with it
 *   a read accepts   the tag that is remembered, or nothing if that   else it is stale: again, then EIO
 *                    is what is remembered; anything if nothing is
 */
#include "consistency.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/rangelock.h"
#include "base/util.h"
#include "zeromap.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* From so many blocks of unknown state on, a zero lists what exists instead of deleting at a venture. */
#define LIST_FROM_BLOCKS 10000u
#define STALE_PAUSE_NS (100 * NS_PER_MS)
#define STALE_PAUSE_MAX_NS (5 * NS_PER_S)
#define MEMORY_BUCKETS 1024u

struct memory {
    uint64_t block;
    uint64_t hold_until_ns;
    uint64_t written_ns;
    bool expects; /* the next two are to be looked at until written + tag_keep */
    bool is_absent;
    char *tag;
    struct memory *next;          /* of its bucket */
    struct memory *older, *newer; /* by the time of the last change */
};

struct consistency {
    struct store store;
    struct consistency_config config; /* these: fixed after consistency_new */
    struct objects *objects;
    struct pool *pool;
    struct rangelock *order;
    struct counter *zero_reads, *zero_writes, *held, *stale;

    pthread_mutex_t lock; /* guards the rest; order: range lock -> this; never held while calling out */
    struct zeromap *map;
    struct memory *buckets[MEMORY_BUCKETS];
    struct memory *oldest, *newest;
    uint64_t memory_count;
    uint64_t settled_at_ns;
    uint64_t hold_all_until_ns; /* when there was no memory to note which block to hold */
};

struct job {
    struct consistency *consistency;
    struct store_req *req; /* NULL for a survey */
    struct object_req object;
    struct range range;
    struct timer timer;
    bool has_range;
    bool is_held; /* counted as such */
    uint64_t started_ns, pause_ns;

    uint64_t cursor, end; /* zero, seek, survey: the part that is left */
    uint64_t *blocks;     /* being deleted */
    void *zeros;          /* block 0's new content */

    bool is_listing;      /* list_page() has been called */
    uint64_t list_cursor; /* in an ordered layout: all before it is known */
    void (*listed)(struct job *job);
    void (*survey_done)(void *arg, int rc);
    void *survey_arg;
};

/* ---- the memory; all with the lock held */

static struct memory **
memory_slot_locked(struct consistency *consistency, uint64_t block)
{
    struct memory **slot = &consistency->buckets[(block ^ block >> 10) % MEMORY_BUCKETS];

    while (*slot != NULL && (*slot)->block != block)
        slot = &(*slot)->next;
    return slot;
}

static void
memory_unlink_locked(struct consistency *consistency, struct memory *memory)
{
    *(memory->older != NULL ? &memory->older->newer : &consistency->oldest) = memory->newer;
    *(memory->newer != NULL ? &memory->newer->older : &consistency->newest) = memory->older;
}

static void
memory_append_locked(struct consistency *consistency, struct memory *memory)
{
    memory->older = consistency->newest;
    memory->newer = NULL;
    *(consistency->newest != NULL ? &consistency->newest->newer : &consistency->oldest) = memory;
    consistency->newest = memory;
}

static uint64_t
memory_expires_ns(const struct consistency *consistency, const struct memory *memory)
{
    uint64_t at = memory->hold_until_ns;
    uint64_t gap_ends = memory->written_ns + consistency->config.write_gap_ns;
    uint64_t tag_ends = memory->written_ns + consistency->config.tag_keep_ns;

    if (gap_ends > at)
        at = gap_ends;
    if (memory->expects && tag_ends > at)
        at = tag_ends;
    return at;
}

static void
memory_free_locked(struct consistency *consistency, struct memory *memory)
{
    struct memory **slot = memory_slot_locked(consistency, memory->block);

    *slot = memory->next;
    memory_unlink_locked(consistency, memory);
    consistency->memory_count--;
    free(memory->tag);
    free(memory);
}

static void
memory_expire_locked(struct consistency *consistency, uint64_t now)
{
    while (consistency->oldest != NULL
           && memory_expires_ns(consistency, consistency->oldest) <= now)
        memory_free_locked(consistency, consistency->oldest);
}

/* From when on may [first, last] be written?  A time in the past: now. */
static uint64_t
write_allowed_ns_locked(struct consistency *consistency, uint64_t first, uint64_t last)
{
    uint64_t gap_ns = consistency->config.write_gap_ns;
    uint64_t at = consistency->hold_all_until_ns;
    const struct memory *memory = first == last ? *memory_slot_locked(consistency, first)
                                                : consistency->oldest;

    while (memory != NULL) {
        if (memory->block >= first && memory->block <= last) {
            if (memory->hold_until_ns > at)
                at = memory->hold_until_ns;
            if (gap_ns > 0 && memory->written_ns + gap_ns > at)
                at = memory->written_ns + gap_ns;
        }
        memory = first == last ? NULL : memory->newer;
    }
    return at;
}

/* The same, and room in the memory for another tag. */
static uint64_t
write_may_start_ns(struct consistency *consistency, uint64_t first, uint64_t last)
{
    uint64_t now = clock_now_ns(), at;

    pthread_mutex_lock(&consistency->lock);
    memory_expire_locked(consistency, now);
    at = write_allowed_ns_locked(consistency, first, last);
    if (consistency->config.tag_count_max > 0 && consistency->oldest != NULL
        && consistency->memory_count >= consistency->config.tag_count_max
        && *memory_slot_locked(consistency, first) == NULL) {
        uint64_t room_ns = memory_expires_ns(consistency, consistency->oldest);

        if (room_ns > at)
            at = room_ns;
    }
    pthread_mutex_unlock(&consistency->lock);
    return at;
}

/* A write or delete of `block` has ended.  `tag` is NULL for a delete. */
static void
memory_note_locked(struct consistency *consistency, uint64_t block, const struct object_req *object,
                   const char *tag)
{
    const struct consistency_config *config = &consistency->config;
    bool is_held = object->unsettled_ns != 0 && config->settle_ns > 0;
    bool wants_tag = config->tag_count_max > 0 && config->tag_keep_ns > 0;
    struct memory **slot, *memory;

    if (!is_held && !wants_tag && config->write_gap_ns == 0)
        return;
    slot = memory_slot_locked(consistency, block);
    memory = *slot;
    if (memory == NULL) {
        if (!is_held && wants_tag && consistency->memory_count >= config->tag_count_max)
            return;
        memory = calloc(1, sizeof *memory);
        if (memory == NULL) {
            if (is_held)
                consistency->hold_all_until_ns = object->unsettled_ns + config->settle_ns;
            return;
        }
        memory->block = block;
        *slot = memory;
        consistency->memory_count++;
    } else {
        memory_unlink_locked(consistency, memory);
    }
    memory_append_locked(consistency, memory);
    memory->written_ns = clock_now_ns();
    if (is_held) {
        memory->hold_until_ns = object->unsettled_ns + config->settle_ns;
        if (memory->hold_until_ns > consistency->settled_at_ns)
            consistency->settled_at_ns = memory->hold_until_ns;
    }
    /* A late repetition of the same bytes may change the tag, so after an unknown outcome, and after a
     * failure, any tag is right. */
    free(memory->tag);
    memory->tag = NULL;
    memory->is_absent = tag == NULL;
    memory->expects = wants_tag && object->unsettled_ns == 0 && object->rc == 0
                      && (tag == NULL || tag[0] != '\0');
    if (memory->expects && tag != NULL) {
        memory->tag = strdup(tag);
        memory->expects = memory->tag != NULL;
    }
}

/* Is what a read got older than what was written? */
static bool
is_stale_locked(struct consistency *consistency, const struct object_req *object)
{
    const struct memory *memory = *memory_slot_locked(consistency, object->block);

    if (memory == NULL || !memory->expects
        || clock_now_ns() >= memory->written_ns + consistency->config.tag_keep_ns)
        return false;
    if (memory->is_absent || object->is_absent)
        return memory->is_absent != object->is_absent;
    return strcmp(memory->tag, object->tag) != 0;
}

/* ---- jobs */

static void
job_end(struct job *job, int rc)
{
    struct store_req *req = job->req;

    if (job->has_range)
        range_release(job->consistency->order, &job->range);
    free(job->blocks);
    free(job->zeros);
    if (req != NULL) {
        free(job);
        store_done(req, rc);
    } else {
        job->survey_done(job->survey_arg, rc);
        free(job);
    }
}

static void
job_later(struct job *job, uint64_t at_ns, void (*run)(struct task *task))
{
    job->timer.task.run = run;
    if (pool_timer_set(job->consistency->pool, &job->timer, at_ns) != 0)
        job_end(job, -ENOMEM);
}

/* ---- reading */

static void read_done(struct object_req *object);

static void
read_send(struct job *job)
{
    job->object.op = OBJECT_GET;
    job->object.block = job->req->block;
    job->object.data = job->req->data;
    job->object.done = read_done;
    objects_submit(job->consistency->objects, &job->object);
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
        is_stale = is_stale_locked(consistency, object);
        if (!is_stale && object->is_absent
            && objects_capabilities(consistency->objects) & BD_CAP_CONSISTENT) {
            const struct memory *memory = *memory_slot_locked(consistency, object->block);

            if (memory == NULL || memory->hold_until_ns <= now)
                zeromap_set(consistency->map, object->block, BLOCK_ZERO);
        }
        pthread_mutex_unlock(&consistency->lock);
    }
    if (!is_stale) {
        job_end(job, object->rc);
        return;
    }
    counter_add(consistency->stale, 1);
    if (now - job->started_ns >= consistency->config.stall_read_ns) {
        log_line(BD_ERROR, "cannot read block %08" PRIx64
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

/* Waits before the range is taken; true: the job went to sleep. */
static bool
held(struct job *job, void (*again)(struct task *task))
{
    struct consistency *consistency = job->consistency;
    uint64_t at = write_may_start_ns(consistency, job->range.first, job->range.last);

    if (at <= clock_now_ns())
        return false;
    if (job->has_range) {
        job->has_range = false;
        range_release(consistency->order, &job->range);
    }
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
    memory_note_locked(consistency, object->block, object, is_delete ? NULL : object->tag);
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
    if (held(job, write_retry_start)) /* by the write that was in front of this one */
        return;
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

/* ---- learning by listing
 *
 * list_page() lists one page, from block `from` on at the first call and from where it stopped at each further
 * one, up to job->end, and calls job->listed when the page's blocks are in the map.  In a hashed
 * layout names are in no order: there it lists everything, and only the end makes what was not
 * listed ZERO. */

static void
page_found(struct object_req *object, uint64_t block)
{
    struct job *job = container_of(object, struct job, object);
    struct consistency *consistency = job->consistency;

    pthread_mutex_lock(&consistency->lock);
    zeromap_change(consistency->map, block, block + 1, BLOCK_UNKNOWN, BLOCK_DATA);
    if (!consistency->config.layout->is_hashed && block >= job->list_cursor) {
        zeromap_change(consistency->map, job->list_cursor, block, BLOCK_UNKNOWN, BLOCK_ZERO);
        job->list_cursor = block + 1;
    }
    pthread_mutex_unlock(&consistency->lock);
}

static void
page_done(struct object_req *object)
{
    struct job *job = container_of(object, struct job, object);
    struct consistency *consistency = job->consistency;

    if (object->rc != 0) {
        job_end(job, object->rc);
        return;
    }
    if (object->list_ended) {
        pthread_mutex_lock(&consistency->lock);
        if (consistency->config.layout->is_hashed)
            zeromap_change(consistency->map, 0, consistency->config.layout->block_count,
                           BLOCK_UNKNOWN, BLOCK_ZERO);
        else
            zeromap_change(consistency->map, job->list_cursor, job->end, BLOCK_UNKNOWN, BLOCK_ZERO);
        pthread_mutex_unlock(&consistency->lock);
        job->is_listing = false;
    }
    job->listed(job);
}

static void
list_page(struct job *job, uint64_t from)
{
    const struct layout *layout = job->consistency->config.layout;
    struct object_req *object = &job->object;

    object->op = OBJECT_LIST;
    object->found = page_found;
    object->done = page_done;
    object->list_end = job->end;
    if (!job->is_listing) {
        job->is_listing = true;
        job->list_cursor = from;
        object->list_from[0] = '\0';
        if (!layout->is_hashed)
            layout_name_before(layout, from, object->list_from);
    }
    objects_submit(job->consistency->objects, object);
}

/* ---- zeroing a range of blocks */

static void zero_step(struct job *job);

static void
zero_deleted(struct object_req *object)
{
    struct job *job = container_of(object, struct job, object);
    struct consistency *consistency = job->consistency;

    pthread_mutex_lock(&consistency->lock);
    for (unsigned i = 0; i < object->count; i++) {
        memory_note_locked(consistency, object->blocks[i], object, NULL);
        zeromap_set(consistency->map, object->blocks[i], object->rc == 0 ? BLOCK_ZERO : BLOCK_DATA);
    }
    pthread_mutex_unlock(&consistency->lock);
    if (object->rc != 0)
        job_end(job, object->rc);
    else
        zero_step(job);
}

static void
zero_first_done(struct object_req *object)
{
    struct job *job = container_of(object, struct job, object);
    struct consistency *consistency = job->consistency;

    pthread_mutex_lock(&consistency->lock);
    memory_note_locked(consistency, 0, object, object->tag);
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

/* Learn what exists if too much is unknown, then delete what is left in batches. */
static void
zero_step(struct job *job)
{
    struct consistency *consistency = job->consistency;
    const unsigned exists = 1u << BLOCK_DATA | 1u << BLOCK_UNKNOWN;
    unsigned count = 0, max = objects_delete_max(consistency->objects);
    uint64_t unknown, block;

    if (job->cursor == 0) {
        zero_first_block(job);
        return;
    }
    pthread_mutex_lock(&consistency->lock);
    unknown = zeromap_count_unknown(consistency->map, job->cursor, job->end, LIST_FROM_BLOCKS);
    if (unknown < LIST_FROM_BLOCKS) {
        block = job->cursor;
        while (count < max
               && (block = zeromap_find(consistency->map, block, job->end, exists)) < job->end)
            job->blocks[count++] = block++;
        job->cursor = block;
    } else {
        block = zeromap_find(consistency->map, job->cursor, job->end, 1u << BLOCK_UNKNOWN);
    }
    pthread_mutex_unlock(&consistency->lock);
    if (unknown == LIST_FROM_BLOCKS) {
        job->listed = zero_step;
        list_page(job, block);
    } else if (count == 0) {
        job_end(job, 0);
    } else {
        job->object.op = OBJECT_DELETE;
        job->object.blocks = job->blocks;
        job->object.count = count;
        job->object.done = zero_deleted;
        objects_submit(consistency->objects, &job->object);
    }
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
    if (!held(job, zero_retry_start))
        zero_step(job);
}

static void
zero_start(struct job *job)
{
    job->range.granted = zero_ordered;
    if (!held(job, zero_retry_start) && range_acquire(job->consistency->order, &job->range))
        zero_ordered(&job->range);
}

/* ---- seeking, surveying, flushing */

static void
seek_step(struct job *job)
{
    struct consistency *consistency = job->consistency;
    struct store_req *req = job->req;
    enum block_state wanted = req->want_data ? BLOCK_DATA : BLOCK_ZERO, state = BLOCK_ZERO;

    pthread_mutex_lock(&consistency->lock);
    job->cursor = zeromap_find(consistency->map, job->cursor, job->end,
                               1u << wanted | 1u << BLOCK_UNKNOWN);
    if (job->cursor < job->end)
        state = zeromap_get(consistency->map, job->cursor);
    pthread_mutex_unlock(&consistency->lock);
    if (job->cursor >= job->end) {
        job_end(job, -ENXIO);
    } else if (state == wanted) {
        req->block = job->cursor;
        job_end(job, 0);
    } else {
        job->listed = seek_step;
        list_page(job, job->cursor);
    }
}

static void
survey_listed(struct job *job)
{
    if (job->object.list_ended)
        job_end(job, 0);
    else
        list_page(job, 0);
}

void
consistency_survey(struct store *store, void (*done)(void *arg, int rc), void *arg)
{
    struct consistency *consistency = container_of(store, struct consistency, store);
    struct job *job = calloc(1, sizeof *job);

    if (job == NULL) {
        done(arg, -ENOMEM);
        return;
    }
    job->consistency = consistency;
    job->survey_done = done;
    job->survey_arg = arg;
    job->end = consistency->config.layout->block_count;
    job->listed = survey_listed;
    list_page(job, 0);
}

static void
flush_ordered(struct range *range)
{
    struct job *job = container_of(range, struct job, range);

    job->has_range = true;
    job_end(job, 0);
}

/* ---- the way in */

static enum block_state
state_now(struct consistency *consistency, uint64_t block)
{
    enum block_state state;

    pthread_mutex_lock(&consistency->lock);
    state = zeromap_get(consistency->map, block);
    pthread_mutex_unlock(&consistency->lock);
    return state;
}

/* Needs no order: while a block is ZERO, no write to it has been sent. */
static bool
is_answered_by_map(struct consistency *consistency, struct store_req *req)
{
    uint32_t block_bytes = consistency->config.layout->block_bytes;

    if (req->op == STORE_READ && state_now(consistency, req->block) == BLOCK_ZERO) {
        memset(req->data, 0, block_bytes);
        counter_add(consistency->zero_reads, 1);
        return true;
    }
    if (req->op == STORE_WRITE && is_all_zero(req->data, block_bytes)
        && state_now(consistency, req->block) == BLOCK_ZERO) {
        counter_add(consistency->zero_writes, 1);
        return true;
    }
    return false;
}

static void
consistency_submit(struct store *store, struct store_req *req)
{
    struct consistency *consistency = container_of(store, struct consistency, store);
    struct job *job;

    if (is_answered_by_map(consistency, req)) {
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
        write_start(job);
        break;
    case STORE_ZERO:
        assert(req->count > 0);
        job->blocks = calloc(objects_delete_max(consistency->objects), sizeof *job->blocks);
        job->cursor = req->block;
        job->end = req->block + req->count;
        job->range.last = job->end - 1;
        job->range.is_exclusive = true;
        if (job->blocks == NULL)
            job_end(job, -ENOMEM);
        else
            zero_start(job);
        break;
    case STORE_FLUSH:
        job->range.first = 0;
        job->range.last = UINT64_MAX;
        job->range.is_exclusive = job->range.is_watcher = true;
        job->range.granted = flush_ordered;
        if (range_acquire(consistency->order, &job->range))
            flush_ordered(&job->range);
        break;
    case STORE_SEEK:
        job->cursor = req->block;
        job->end = req->count;
        seek_step(job);
        break;
    }
}

/* ---- life */

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
    at = consistency->settled_at_ns;
    if (consistency->hold_all_until_ns > at)
        at = consistency->hold_all_until_ns;
    pthread_mutex_unlock(&consistency->lock);
    return at;
}

static uint64_t
data_blocks(void *arg)
{
    return consistency_data_blocks(arg);
}

int
consistency_new(const struct consistency_config *config, struct objects *objects,
                struct pool *pool, struct stats *stats, struct store **out)
{
    struct consistency *consistency = calloc(1, sizeof *consistency);
    int rc;

    if (consistency == NULL)
        return -ENOMEM;
    consistency->store.submit = consistency_submit;
    consistency->config = *config;
    consistency->objects = objects;
    consistency->pool = pool;
    rc = zeromap_new(config->layout->block_count, &consistency->map);
    if (rc == 0)
        rc = rangelock_new(&consistency->order);
    if (rc != 0) {
        zeromap_free(consistency->map);
        free(consistency);
        return rc;
    }
    pthread_mutex_init(&consistency->lock, NULL);
    consistency->zero_reads = stats_counter(stats, "zero_reads", "reads of blocks known to be zeros");
    consistency->zero_writes = stats_counter(stats, "zero_writes",
                                             "writes of zeros to blocks known to be zeros");
    consistency->held = stats_counter(stats, "held_writes",
                                      "writes that waited for an earlier one to settle");
    consistency->stale = stats_counter(stats, "stale_reads", "reads older than what was written");
    stats_gauge(stats, "data_blocks", "blocks known to have an object", data_blocks,
                &consistency->store);
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
    while (consistency->oldest != NULL)
        memory_free_locked(consistency, consistency->oldest);
    rangelock_free(consistency->order);
    zeromap_free(consistency->map);
    pthread_mutex_destroy(&consistency->lock);
    free(consistency);
}
