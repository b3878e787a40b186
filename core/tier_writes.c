/* SPDX-License-Identifier: Apache-2.0 */
/* What comes into the cache file from above, and when it must wait. */
#include "tier_impl.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Writers are slowed from three quarters of what may be unsent on. */
#define SLOW_FROM 0.75
#define SLOW_MAX_NS (NS_PER_S / 4)

/* ---- waiting for room */

static void
write_again(struct job *job)
{
    job_run(job, write_run);
}

/* How much of what may be unsent is; from 1 on nothing more is taken.  What is let in now will be as old as what is before
 * it takes to be sent. */
static double
fill(struct tier *tier, uint64_t now)
{
    struct cachefile_stats stats;
    uint64_t oldest = oldest_ns(tier), wait_ns;
    double by_room, by_age = 0;

    cachefile_stats(tier->config.file, &stats);
    by_room = tier->is_full ? 1 : (double)stats.dirty / (double)(stats.slots + 1);
    if (tier->config.unsent_max_ns > 0) {
        wait_ns = stats.dirty * tier->drain_gap_ns + tier->config.write_delay_ns;
        if (oldest < now && now - oldest > wait_ns)
            wait_ns = now - oldest;
        by_age = stats.dirty > 0 ? (double)wait_ns / (double)tier->config.unsent_max_ns : 0;
    }
    return by_room > by_age ? by_room : by_age;
}

void
room_made(struct tier *tier)
{
    tier->is_full = false;
    tier->rooms++;
}

bool
is_room_now(struct tier *tier, uint64_t now)
{
    return tier->file_failed || fill(tier, now) < 1;
}

static void
wait_for_room_locked(struct job *job)
{
    counter_add(job->tier->waits, !job->is_slowed);
    job->is_slowed = true;
    job->go_on = write_again;
    list_push(&job->tier->waiting, job);
}

/* True: it has been seen to. */
static bool
must_wait(struct job *job)
{
    struct tier *tier = job->tier;
    uint64_t now = clock_now_ns(), pause_ns;
    double full;

    pthread_mutex_lock(&tier->lock);
    full = tier->file_failed ? 0 : fill(tier, now);
    if (full >= 1) {
        wait_for_room_locked(job);
        drive(tier);
        return true;
    }
    pthread_mutex_unlock(&tier->lock);
    if (full <= SLOW_FROM || job->is_slowed)
        return false;
    pause_ns = (uint64_t)((full - SLOW_FROM) / (1 - SLOW_FROM) * SLOW_MAX_NS);
    counter_add(tier->waits, 1);
    job->is_slowed = true;
    job->timer.task.run = write_run;
    if (pool_timer_set(tier->workers, &job->timer, now + pause_ns) != 0)
        job_end(job, -ENOMEM);
    return true;
}

/* ---- writes that go past the file, with is_sync or because it cannot take them */

void
tier_file_failed(struct tier *tier, const struct error *why)
{
    bool is_first;

    pthread_mutex_lock(&tier->lock);
    is_first = !tier->file_failed;
    tier->file_failed = true;
    pthread_mutex_unlock(&tier->lock);
    if (is_first)
        log_line(BD_ERROR,
                 "%s; writes wait for the store from now on, and what the cache file has that is "
                 "not stored yet is sent",
                 why->text);
}

/* The store has it, so that the file must not have what it had of these blocks. */
static void
forget_end(struct job *job, int rc, const struct error *why)
{
    struct tier *tier = job->tier;

    if (rc != 0) {
        tier_file_failed(tier, why);
        cachefile_forget(tier->config.file, job->first, job->last, 0);
    } else if (tier->config.is_sync) {
        rc = tier_sync_file(tier);
    }
    hold_end(job);
    if (rc != 0 && tier->config.is_sync)
        end_when_removed(job);
    else
        job_end(job, 0);
}

/* What the store has now replaces what the file has.  True: it has been seen to. */
static bool
through_keep(struct job *job)
{
    struct tier *tier = job->tier;
    const struct cachefile_block block = { .block = job->req->block,
                                           .state = CACHEFILE_CLEAN,
                                           .base = CACHEFILE_TAG,
                                           .tag = job->version.tag,
                                           .data = job->below.data };
    struct error why;
    bool was_dirty;

    if (!tier->config.is_sync || job->version.is != VERSION_TAG
        || cachefile_put(tier->config.file, &block, NULL, &was_dirty, &why) != 0)
        return false;
    pthread_mutex_lock(&tier->lock);
    was_dirty = was_dirty || tier->cleaned_synced < tier->cleaned;
    pthread_mutex_unlock(&tier->lock);
    if (was_dirty)
        return false; /* what was dirty, maybe of this block, must durably be gone */
    hold_end(job);
    job_end(job, 0);
    return true;
}

static void
through_forget(struct task *task)
{
    struct job *job = job_of(task);
    struct error why;
    int rc;

    if (through_keep(job))
        return;
    rc = cachefile_drop(job->tier->config.file, job->req->block, 0, &why);
    forget_end(job, rc, &why);
}

static void
through_done(struct store_req *below)
{
    struct job *job = container_of(below, struct job, below);

    if (below->rc == 0) {
        job_run(job, through_forget);
    } else {
        hold_end(job);
        job_end(job, below->rc);
    }
}

static void
through_write(struct job *job, char *data)
{
    job->below = (struct store_req){ .op = STORE_WRITE,
                                     .block = job->req->block,
                                     .bytes = job->tier->config.block_bytes,
                                     .data = data,
                                     .version = &job->version,
                                     .done = through_done };
    store_submit(job->tier->next, &job->below);
}

/* Over what the store has comes what the file has, then what is written. */
static void
through_merge(struct task *task)
{
    struct job *job = job_of(task);
    struct cachefile *file = job->tier->config.file;
    struct cachefile_info info;
    struct error why;
    int rc = 0;

    if (cachefile_holds_dirty(file, job->req->block))
        rc = cachefile_get(file, job->req->block, &info, job->buffer, NULL, &why);
    if (rc != 0 && rc != -ENOENT) {
        hold_end(job);
        job_end(job, rc);
        return;
    }
    sectors_copy(job->tier, job->buffer, job->req->data, job->req->valid, true);
    through_write(job, job->buffer);
}

static void
through_fetched(struct store_req *below)
{
    struct job *job = container_of(below, struct job, below);

    if (below->rc == 0) {
        job_run(job, through_merge);
    } else {
        hold_end(job);
        job_end(job, below->rc);
    }
}

static void
through_held(struct job *job)
{
    struct tier *tier = job->tier;

    if (job->rc != 0) {
        hold_end(job);
        job_end(job, job->rc);
        return;
    }
    if (job->req->valid == NULL) {
        through_write(job, job->req->data);
        return;
    }
    if (job->buffer == NULL)
        job->buffer = malloc(tier->config.block_bytes);
    if (job->buffer == NULL) {
        hold_end(job);
        job_end(job, -ENOMEM);
        return;
    }
    job->below = (struct store_req){ .op = STORE_READ,
                                     .block = job->req->block,
                                     .bytes = tier->config.block_bytes,
                                     .data = job->buffer,
                                     .done = through_fetched };
    store_submit(tier->next, &job->below);
}

static void
write_through(struct job *job)
{
    job->first = job->last = job->req->block;
    hold(job, through_held);
}

/* ---- writes */

static bool
merge_maps(const struct tier *tier, uint64_t *into, const uint64_t *from)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < tier->map_words; i++) {
        into[i] |= from[i];
        count += (uint32_t)__builtin_popcountll(into[i]);
    }
    return count == tier->sectors;
}

/* What is put is based on what the file has.  If that is dirty, a flight may end before something else takes its place, and then
 * it is another version, with another base. */
static void
base_on(struct cachefile_block *block, const struct cachefile_info *info)
{
    block->base = info->base;
    block->tag = info->tag;
    block->over = info->state == CACHEFILE_DIRTY ? info->version : 0;
}

/* Some sectors of a block of which the file has others: it gets both.  `block` becomes what is put, `info` what the file
 * has.  -ENOENT: nothing (any more) that is of use. */
static int
merge_old(struct job *job, struct cachefile_info *info, struct cachefile_block *block,
          struct error *why)
{
    struct tier *tier = job->tier;
    const struct store_req *req = job->req;
    int rc;

    if (job->buffer == NULL)
        job->buffer = malloc(tier->config.block_bytes);
    if (job->valid == NULL)
        job->valid = malloc(sizeof *job->valid * tier->map_words);
    if (job->buffer == NULL || job->valid == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    rc = cachefile_get(tier->config.file, req->block, info, job->buffer, job->valid, why);
    if (rc != 0)
        return rc;
    sectors_copy(tier, job->buffer, req->data, req->valid, true);
    base_on(block, info);
    block->data = job->buffer;
    block->valid = merge_maps(tier, job->valid, req->valid) ? NULL : job->valid;
    return 0;
}

/* What the block to be put is based on, and what it is completed by.  0 or why the write fails. */
static int
prepare(struct job *job, struct cachefile_info *info, struct cachefile_block *block,
        struct error *why)
{
    struct tier *tier = job->tier;
    const struct store_req *req = job->req;
    bool is_fresh, was_dirty = cachefile_holds_dirty(tier->config.file, req->block);
    int rc = cachefile_get(tier->config.file, req->block, info, NULL, NULL, why);

    *block = (struct cachefile_block){
        .block = req->block, .state = CACHEFILE_DIRTY, .valid = req->valid, .data = req->data
    };
    if (rc != 0) {
        block->base = rc == -ENOENT && store_is_zero(tier->next, req->block) ? CACHEFILE_ABSENT
                                                                             : CACHEFILE_UNKNOWN;
        /* What is damaged there must not be forgotten by replacing it in part. */
        return was_dirty && req->valid != NULL ? rc : 0;
    }
    is_fresh = info->is_fresh || tier->config.trusts_file;
    if (info->state == CACHEFILE_DIRTY || is_fresh)
        base_on(block, info);
    if (req->valid == NULL || (info->state == CACHEFILE_CLEAN && !is_fresh))
        return 0;
    rc = merge_old(job, info, block, why);
    if (rc == -ENOENT) { /* it was damaged, or stored meanwhile, and made room */
        block->base = CACHEFILE_UNKNOWN;
        block->over = 0;
    }
    return rc == -ENOENT ? 0 : rc;
}

static void
write_kept(struct job *job, bool was_dirty)
{
    struct tier *tier = job->tier;

    pthread_mutex_lock(&tier->lock);
    queue_add(tier, job->req->block, was_dirty);
    drive(tier);
    job_end(job, 0);
}

/* There is no room, and there will be none: no slot is left that can be written. */
static bool
is_worn_out(const struct tier *tier)
{
    struct cachefile_stats stats;

    cachefile_stats(tier->config.file, &stats);
    return stats.dirty == 0 && tier->flying == 0 && tier->holders == NULL;
}

static void
write_refused(struct job *job, int rc, struct error *why)
{
    struct tier *tier = job->tier;

    pthread_mutex_lock(&tier->lock);
    queue_unpromise(tier);
    if (rc == -ENOBUFS && tier->rooms == job->rooms && is_worn_out(tier))
        rc = error_set(why, -EIO, "nothing can be written to the cache file any more");
    if (rc == -ENOBUFS && tier->rooms != job->rooms) {
        pthread_mutex_unlock(&tier->lock);
        write_again(job);
        return;
    }
    if (rc == -ENOBUFS && !tier->is_stopped) {
        tier->is_full = true;
        wait_for_room_locked(job);
        drive(tier);
        return;
    }
    pthread_mutex_unlock(&tier->lock);
    if (rc == -ENOBUFS || rc == -ENOMEM) {
        job_end(job, rc == -ENOMEM ? rc : -ECANCELED);
        return;
    }
    tier_file_failed(tier, why);
    write_through(job);
}

void
write_run(struct task *task)
{
    struct job *job = job_of(task);
    struct tier *tier = job->tier;
    struct cachefile_block block;
    struct cachefile_info info;
    struct error why;
    bool was_dirty, is_through;
    int rc;

    if (!tier->config.is_sync && must_wait(job))
        return;
    pthread_mutex_lock(&tier->lock);
    is_through = tier->file_failed || tier->config.is_sync;
    job->rooms = tier->rooms;
    rc = is_through ? 0 : queue_promise(tier, 1);
    pthread_mutex_unlock(&tier->lock);
    if (is_through) {
        write_through(job);
        return;
    }
    if (rc != 0) {
        job_end(job, rc);
        return;
    }
    do {
        rc = prepare(job, &info, &block, &why);
        if (rc != 0) {
            pthread_mutex_lock(&tier->lock);
            queue_unpromise(tier);
            pthread_mutex_unlock(&tier->lock);
            job_end(job, rc);
            return;
        }
        rc = cachefile_put(tier->config.file, &block, NULL, &was_dirty, &why);
    } while (rc == -ESTALE);
    if (rc == 0)
        write_kept(job, was_dirty);
    else
        write_refused(job, rc, &why);
}

/* ---- zeros */

static void
zero_forget(struct task *task)
{
    struct job *job = job_of(task);
    struct error why;
    int rc = cachefile_drop_range(job->tier->config.file, job->first, job->last, &why);

    forget_end(job, rc, &why);
}

static void
zero_done(struct store_req *below)
{
    struct job *job = container_of(below, struct job, below);

    if (below->rc == 0) {
        job_run(job, zero_forget);
    } else {
        hold_end(job);
        job_end(job, below->rc);
    }
}

static void
zero_held(struct job *job)
{
    if (job->rc != 0) {
        hold_end(job);
        job_end(job, job->rc);
        return;
    }
    job->below = (struct store_req){ .op = STORE_ZERO,
                                     .block = job->first,
                                     .count = job->last - job->first + 1,
                                     .done = zero_done };
    store_submit(job->tier->next, &job->below);
}

void
zero_begin(struct job *job)
{
    job->first = job->req->block;
    job->last = job->req->block + job->req->count - 1;
    hold(job, zero_held);
}
