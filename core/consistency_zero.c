/* SPDX-License-Identifier: Apache-2.0 */
/* Zeroing a range of blocks: what exists of it is deleted, and if that is not known, listed first. */
#include "consistency_inner.h"

#include "base/util.h"

#include <errno.h>
#include <stdlib.h>

/* From so many blocks of unknown state on, it lists what exists instead of deleting at a venture. */
#define LIST_FROM_BLOCKS 10000u
#define BATCHES_AT_ONCE 64u

static void zero_step(struct job *job);

static void
zero_first_done(struct object_req *object)
{
    struct job *job = container_of(object, struct job, object);
    struct consistency *consistency = job->consistency;

    pthread_mutex_lock(&consistency->lock);
    recent_note(consistency->recent, 0, object, object->tag);
    pthread_mutex_unlock(&consistency->lock);
    job->unsettled_ns = object->unsettled_ns;
    if (object->rc != 0) {
        consistency_end_write(job, object->rc);
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
        consistency_end(job, -ENOMEM);
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
        consistency_end_write(job, job->rc);
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
        zeromap_set(consistency->map, object->blocks[i],
                    consistency_after_delete(consistency, object->rc));
    }
    if (job->unsettled_ns < object->unsettled_ns)
        job->unsettled_ns = object->unsettled_ns;
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
    if (consistency_trusts_store(consistency)) {
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
    consistency_list(job, from, consistency->config.listers_max, NULL);
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
    if (!consistency_holds(job, zero_retry_start)
        && range_acquire(job->consistency->order, &job->range))
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

void
consistency_zero_turn(struct range *turn)
{
    struct job *job = container_of(turn, struct job, turn);

    job->has_turn = true;
    if (job->cursor != 0 && is_zero_all(job))
        consistency_end(job, 0);
    else
        zero_start(job);
}
