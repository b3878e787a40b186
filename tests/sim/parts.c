/* SPDX-License-Identifier: Apache-2.0 */
/* A layer that takes parts of blocks.
 *
 * What it was given is held until a pass has stored it: a pass stores all that is held at once, reading before what it lacks
 * of a block.  Writes go on meanwhile; what cannot be done beside a pass waits until it has ended.  What is being zeroed
 * is held until that has succeeded, and a pass waits for it. */
#include "parts.h"

#include "base/util.h"
#include "cache.h"
#include "world.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct held {
    char *data; /* NULL: nothing is held */
    uint64_t valid;
    uint32_t generation;
};

struct job {
    struct job *next, *prev; /* a ring */
    struct job *later;       /* waits after this one */
    struct store_req below, *req;
    uint64_t valid;
    uint64_t digest;
    uint32_t generation;
    char *data; /* of its own, a whole block */
};

static struct {
    struct parts_config config;
    struct store store, *next;
    struct held *held; /* of all blocks */
    uint64_t held_count;
    unsigned refuse_ppm;
    struct job jobs;     /* the ring */
    unsigned zero_count; /* under way */
    struct job *waiting; /* for the pass or the zeros, in their order */
    bool is_passing;
    struct store_req *passes_for; /* goes on when the pass has ended; NULL: nobody asked */
    unsigned pass_left;
    int pass_rc;
} parts;

static uint64_t
all_sectors(void)
{
    return UINT64_MAX >> (64 - parts.config.block_bytes / SECTOR_BYTES);
}

static uint64_t
sectors_of(const struct store_req *req)
{
    return req->valid != NULL ? *req->valid : all_sectors();
}

static void
copy_sectors(char *to, const char *from, uint64_t sectors)
{
    for (; sectors != 0; sectors >>= 1, to += SECTOR_BYTES, from += SECTOR_BYTES) {
        if (sectors & 1)
            memcpy(to, from, SECTOR_BYTES);
    }
}

static uint64_t
digest_of(const struct store_req *req)
{
    uint64_t digest = sectors_of(req);
    const unsigned char *data = req->data;

    for (uint32_t i = 0; i < parts.config.block_bytes; i++) {
        if (sectors_of(req) >> i / SECTOR_BYTES & 1)
            digest = (digest ^ data[i]) * 0x100000001b3ull;
    }
    return digest;
}

/* ---- jobs */

static struct job *
job_new(struct store_req *req)
{
    struct job *job = world_alloc(sizeof *job);

    job->next = parts.jobs.next;
    job->prev = &parts.jobs;
    job->next->prev = job->prev->next = job;
    job->req = req;
    return job;
}

static void
job_free(struct job *job)
{
    job->next->prev = job->prev;
    job->prev->next = job->next;
    world_release(job->data);
    world_release(job);
}

static void
job_submit(struct job *job, enum store_op op, uint64_t block, void *data,
           void (*done)(struct store_req *below))
{
    job->below = (struct store_req){
        .op = op, .block = block, .bytes = parts.config.block_bytes, .data = data, .done = done
    };
    store_submit(parts.next, &job->below);
}

/* ---- what is held */

static void
take(const struct store_req *req)
{
    struct held *held = &parts.held[req->block];

    if (held->data == NULL) {
        held->data = world_alloc(parts.config.block_bytes);
        held->valid = 0;
        parts.held_count++;
    }
    copy_sectors(held->data, req->data, sectors_of(req));
    held->valid |= sectors_of(req);
    held->generation++;
}

static void
let_go(struct held *held)
{
    if (held->data == NULL)
        return;
    world_release(held->data);
    held->data = NULL;
    parts.held_count--;
}

/* ---- a pass */

static void parts_submit(struct store *store, struct store_req *req);

static void
go_on(void)
{
    struct job *job = parts.waiting;

    parts.waiting = NULL;
    while (job != NULL) {
        struct job *later = job->later;
        struct store_req *req = job->req;

        job_free(job);
        parts_submit(&parts.store, req);
        job = later;
    }
}

static void
pass_ended(void)
{
    struct store_req *req = parts.passes_for;
    int rc = parts.pass_rc;

    if (--parts.pass_left > 0)
        return;
    parts.is_passing = false;
    if (req != NULL && rc == 0)
        store_submit(parts.next, req);
    else if (req != NULL)
        store_done(req, rc);
    go_on();
}

static void
pass_stored(struct store_req *below)
{
    struct job *job = container_of(below, struct job, below);
    struct held *held = &parts.held[below->block];

    if (below->rc != 0)
        parts.pass_rc = below->rc;
    else if (held->generation == job->generation)
        let_go(held);
    job_free(job);
    pass_ended();
}

static void
pass_completed(struct store_req *below)
{
    struct job *job = container_of(below, struct job, below);
    const struct held *held = &parts.held[below->block];

    if (below->rc != 0) {
        pass_stored(below);
        return;
    }
    copy_sectors(job->data, held->data, held->valid);
    job->generation = held->generation;
    job_submit(job, STORE_WRITE, below->block, job->data, pass_stored);
}

static void
pass(struct store_req *req)
{
    assert(!parts.is_passing);
    parts.is_passing = true;
    parts.passes_for = req;
    parts.pass_left = 1;
    parts.pass_rc = 0;
    for (uint64_t block = 0; block < parts.config.block_count && parts.held_count > 0; block++) {
        const struct held *held = &parts.held[block];
        struct job *job;

        if (held->data == NULL)
            continue;
        parts.pass_left++;
        job = job_new(NULL);
        job->data = world_alloc(parts.config.block_bytes);
        job->generation = held->generation;
        if (held->valid != all_sectors()) {
            job_submit(job, STORE_READ, block, job->data, pass_completed);
        } else {
            memcpy(job->data, held->data, parts.config.block_bytes);
            job_submit(job, STORE_WRITE, block, job->data, pass_stored);
        }
    }
    pass_ended();
}

static void
wait_turn(struct store_req *req)
{
    struct job *job = job_new(req), **link = &parts.waiting;

    while (*link != NULL)
        link = &(*link)->later;
    *link = job;
}

/* ---- writes */

static void
write_taken(void *arg)
{
    struct job *job = arg;
    struct store_req *req = job->req;
    int rc = chance_ppm(parts.refuse_ppm) ? -ENOSPC : 0;

    if (digest_of(req) != job->digest)
        world_fail("block %" PRIu64 " changes while it is taken in part", req->block);
    job_free(job);
    if (rc == 0)
        take(req);
    store_done(req, rc);
}

static void
sync_end(struct store_req *below)
{
    struct job *job = container_of(below, struct job, below);
    struct store_req *req = job->req;
    int rc = below->rc;

    if (digest_of(req) != job->digest)
        world_fail("block %" PRIu64 " changes while it is stored", req->block);
    job_free(job);
    store_done(req, rc);
}

static void
sync_completed(struct store_req *below)
{
    struct job *job = container_of(below, struct job, below);

    if (below->rc != 0) {
        sync_end(below);
        return;
    }
    copy_sectors(job->data, job->req->data, sectors_of(job->req));
    job_submit(job, STORE_WRITE, below->block, job->data, sync_end);
}

static void
write_submit(struct store_req *req)
{
    struct job *job = job_new(req);

    if (req->valid != NULL && (*req->valid == 0 || *req->valid >= all_sectors()))
        world_fail("block %" PRIu64 " is sent in part: %" PRIx64, req->block, *req->valid);
    job->digest = digest_of(req);
    if (!parts.config.is_sync && chance_one_in(2)) {
        write_taken(job);
    } else if (!parts.config.is_sync) {
        event_add(clock_now_ns() + chance_scaled(1, 10 * NS_PER_MS), OWNER_DAEMON, write_taken,
                  job);
    } else if (req->valid == NULL) {
        job_submit(job, STORE_WRITE, req->block, req->data, sync_end);
    } else {
        job->data = world_alloc(parts.config.block_bytes);
        job_submit(job, STORE_READ, req->block, job->data, sync_completed);
    }
}

/* ---- the rest */

static void
read_completed(struct store_req *below)
{
    struct job *job = container_of(below, struct job, below);
    struct store_req *req = job->req;
    int rc = below->rc;

    if (rc == 0)
        copy_sectors(req->data, job->data, job->valid);
    job_free(job);
    store_done(req, rc);
}

static void
read_submit(struct store_req *req)
{
    const struct held *held = &parts.held[req->block];
    struct job *job;

    if (held->data == NULL) {
        store_submit(parts.next, req);
    } else if (held->valid == all_sectors()) {
        memcpy(req->data, held->data, parts.config.block_bytes);
        store_done(req, 0);
    } else if (parts.is_passing) {
        wait_turn(req);
    } else {
        job = job_new(req);
        job->valid = held->valid;
        job->data = world_alloc(parts.config.block_bytes);
        memcpy(job->data, held->data, parts.config.block_bytes);
        job_submit(job, STORE_READ, req->block, req->data, read_completed);
    }
}

static void
zero_ended(struct store_req *below)
{
    struct job *job = container_of(below, struct job, below);
    struct store_req *req = job->req;
    int rc = below->rc;

    for (uint64_t block = req->block; rc == 0 && block < req->block + req->count; block++)
        let_go(&parts.held[block]);
    job_free(job);
    store_done(req, rc);
    if (--parts.zero_count == 0)
        go_on();
}

static void
zero_submit(struct store_req *req)
{
    struct job *job = job_new(req);

    parts.zero_count++;
    job->below = *req;
    job->below.done = zero_ended;
    store_submit(parts.next, &job->below);
}

static void
parts_submit(struct store *store, struct store_req *req)
{
    (void)store;
    world_no_lock("to call the layer that takes parts");
    if (req->op == STORE_WRITE) {
        write_submit(req);
    } else if (req->op == STORE_READ) {
        read_submit(req);
    } else if (parts.is_passing || parts.waiting != NULL) {
        wait_turn(req);
    } else if (req->op == STORE_ZERO) {
        zero_submit(req);
    } else if (parts.zero_count > 0) {
        wait_turn(req);
    } else {
        pass(req);
    }
}

static bool
parts_is_zero(struct store *store, uint64_t block)
{
    (void)store;
    return parts.held[block].data == NULL && store_is_zero(parts.next, block);
}

/* ---- life */

struct store *
parts_open(const struct parts_config *config, struct store *next)
{
    assert(config->block_bytes <= 64 * SECTOR_BYTES);
    memset(&parts, 0, sizeof parts);
    parts.config = *config;
    parts.store = (struct store){ .submit = parts_submit, .is_zero = parts_is_zero };
    parts.next = next;
    parts.held = world_alloc(config->block_count * sizeof *parts.held);
    parts.jobs.next = parts.jobs.prev = &parts.jobs;
    return &parts.store;
}

void
parts_set_refusals(unsigned ppm)
{
    parts.refuse_ppm = ppm;
}

void
parts_push(void)
{
    if (!parts.is_passing && parts.zero_count == 0)
        pass(NULL);
}

uint64_t
parts_held(void)
{
    return parts.held_count;
}

void
parts_forget(void)
{
    if (parts.held == NULL)
        return;
    while (parts.jobs.next != &parts.jobs)
        job_free(parts.jobs.next);
    for (uint64_t block = 0; block < parts.config.block_count; block++)
        let_go(&parts.held[block]);
    world_release(parts.held);
    memset(&parts, 0, sizeof parts);
}
