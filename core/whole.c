/* SPDX-License-Identifier: Apache-2.0 */
/* The cache's stand-in when there is none.
 *
 * Life of a request:
 *
 *   write, zero   range lock, exclusive -> [buffer -> read the block, if it is not covered] -> write
 *   read, part    buffer -> read the block -> copy
 *   read, whole   passed on
 *   flush         waits for the writes and zeros before it, then passed on
 *
 * The range lock is taken before the buffer, and whoever has a buffer waits for nothing but the next
 * layer: so neither wait can be part of a circle. */
#include "whole.h"

#include "base/rangelock.h"
#include "base/util.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct whole {
    struct store store;
    struct store *next; /* these four: fixed after whole_new */
    struct rangelock *order;
    uint32_t block_bytes;
    uint64_t buffers_max;

    pthread_mutex_t lock; /* guards the rest */
    uint64_t buffers_used;
    struct job *waiting, **waiting_last; /* for a buffer, oldest first */
};

struct job {
    struct whole *whole;
    struct store_req *req; /* what we were asked */
    struct store_req below;
    struct range range;
    char *buffer;
    struct job *next;
};

static void
job_end(struct job *job, int rc)
{
    struct store_req *req = job->req;

    if (req->op != STORE_READ)
        range_release(job->whole->order, &job->range);
    free(job);
    store_done(req, rc);
}

static void job_with_buffer(struct job *job);

/* Ends the caller's use of a buffer: the oldest job that waits for one goes on. */
static void
buffer_put(struct whole *whole, char *buffer)
{
    struct job *next;

    free(buffer);
    pthread_mutex_lock(&whole->lock);
    next = whole->waiting;
    if (next != NULL) {
        whole->waiting = next->next;
        if (whole->waiting == NULL)
            whole->waiting_last = &whole->waiting;
    } else {
        whole->buffers_used--;
    }
    pthread_mutex_unlock(&whole->lock);
    if (next != NULL)
        job_with_buffer(next);
}

static void
buffer_get(struct job *job)
{
    struct whole *whole = job->whole;
    bool is_free;

    pthread_mutex_lock(&whole->lock);
    is_free = whole->buffers_used < whole->buffers_max;
    if (is_free) {
        whole->buffers_used++;
    } else {
        job->next = NULL;
        *whole->waiting_last = job;
        whole->waiting_last = &job->next;
    }
    pthread_mutex_unlock(&whole->lock);
    if (is_free)
        job_with_buffer(job);
}

static void
job_end_with_buffer(struct job *job, int rc)
{
    struct whole *whole = job->whole;
    char *buffer = job->buffer;

    /* In this order: when the last request is done, the layer may be gone. */
    buffer_put(whole, buffer);
    job_end(job, rc);
}

static void
written(struct store_req *below)
{
    struct job *job = container_of(below, struct job, below);

    if (job->buffer != NULL)
        job_end_with_buffer(job, below->rc);
    else
        job_end(job, below->rc);
}

static void
write_block(struct job *job, void *data)
{
    job->below = (struct store_req){ .op = STORE_WRITE,
                                     .block = job->req->block,
                                     .bytes = job->whole->block_bytes,
                                     .data = data,
                                     .done = written };
    store_submit(job->whole->next, &job->below);
}

static void
block_read(struct store_req *below)
{
    struct job *job = container_of(below, struct job, below);
    struct store_req *req = job->req;
    char *part = job->buffer + req->offset;

    if (below->rc != 0) {
        job_end_with_buffer(job, below->rc);
    } else if (req->op == STORE_READ) {
        memcpy(req->data, part, req->bytes);
        job_end_with_buffer(job, 0);
    } else {
        if (req->data != NULL)
            memcpy(part, req->data, req->bytes);
        else
            memset(part, 0, req->bytes);
        write_block(job, job->buffer);
    }
}

static void
job_with_buffer(struct job *job)
{
    struct whole *whole = job->whole;

    job->buffer = malloc(whole->block_bytes);
    if (job->buffer == NULL) {
        job_end_with_buffer(job, -ENOMEM);
        return;
    }
    job->below = (struct store_req){ .op = STORE_READ,
                                     .block = job->req->block,
                                     .bytes = whole->block_bytes,
                                     .data = job->buffer,
                                     .done = block_read };
    store_submit(whole->next, &job->below);
}

static void
ordered(struct range *range)
{
    struct job *job = container_of(range, struct job, range);
    struct store_req *req = job->req;

    if (req->op == STORE_FLUSH) {
        range_release(job->whole->order, range);
        store_submit(job->whole->next, req);
        free(job);
    } else if (req->op == STORE_ZERO) {
        job->below = (struct store_req){
            .op = STORE_ZERO, .block = req->block, .count = req->count, .done = written
        };
        store_submit(job->whole->next, &job->below);
    } else if (req->bytes == job->whole->block_bytes) {
        if (req->data != NULL) {
            write_block(job, req->data);
        } else {
            job->below = (struct store_req){
                .op = STORE_ZERO, .block = req->block, .count = 1, .done = written
            };
            store_submit(job->whole->next, &job->below);
        }
    } else {
        buffer_get(job);
    }
}

static void
whole_submit(struct store *store, struct store_req *req)
{
    struct whole *whole = container_of(store, struct whole, store);
    struct job *job;

    if (req->op == STORE_SEEK || (req->op == STORE_READ && req->bytes == whole->block_bytes)) {
        store_submit(whole->next, req);
        return;
    }
    job = calloc(1, sizeof *job);
    if (job == NULL) {
        store_done(req, -ENOMEM);
        return;
    }
    job->whole = whole;
    job->req = req;
    if (req->op == STORE_READ) {
        buffer_get(job);
        return;
    }
    if (req->op == STORE_FLUSH) {
        job->range.last = UINT64_MAX;
        job->range.is_watcher = true;
    } else {
        job->range.first = req->block;
        job->range.last = req->block + (req->op == STORE_ZERO ? req->count - 1 : 0);
    }
    job->range.is_exclusive = true;
    job->range.granted = ordered;
    if (range_acquire(whole->order, &job->range))
        ordered(&job->range);
}

int
whole_new(struct store *next, uint32_t block_bytes, uint64_t buffer_bytes_max, struct store **out)
{
    struct whole *whole = calloc(1, sizeof *whole);
    int rc;

    if (whole == NULL)
        return -ENOMEM;
    rc = rangelock_new(&whole->order);
    if (rc != 0) {
        free(whole);
        return rc;
    }
    whole->store.submit = whole_submit;
    whole->next = next;
    whole->block_bytes = block_bytes;
    whole->buffers_max = buffer_bytes_max / block_bytes;
    if (whole->buffers_max == 0)
        whole->buffers_max = 1;
    whole->waiting_last = &whole->waiting;
    pthread_mutex_init(&whole->lock, NULL);
    *out = &whole->store;
    return 0;
}

void
whole_free(struct store *store)
{
    struct whole *whole;

    if (store == NULL)
        return;
    whole = container_of(store, struct whole, store);
    rangelock_free(whole->order);
    pthread_mutex_destroy(&whole->lock);
    free(whole);
}
