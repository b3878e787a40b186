/* SPDX-License-Identifier: Apache-2.0 */
/* The cache file as a layer.
 *
 * What is in the file (cachefile.h) is all that counts; in memory there is only what is to be sent, and what is on
 * its way.
 *
 *   a block in the file        read                              written
 *   none                       from the store, and kept          becomes dirty, on what the store is not known to have
 *   clean, fresh               from the file                     becomes dirty, on that version; parts are completed by it
 *   clean, from another run    CHECK: the store still has it: fresh, else dropped and read from the store; written to
 *                              meanwhile it is replaced
 *   dirty                      from the file, what is missing from the store        stays dirty, on the same version
 *
 * SENDING (tier_sending.c).  A block that becomes dirty goes into a queue; in its turn it is sent as it is then.  What
 * is written meanwhile has another version in the file, so the file does not take the block for clean, and it is sent
 * again.
 *
 * FLUSH.  The file is synced in either case.  Else a crash could leave it with a version that was dirty once, after the
 * store got a later one and said so, and the next start would send the old one.
 *
 * HOLDS.  What changes the store past the file (a ZERO; a write that is_sync or that the file cannot take) holds its blocks: it waits
 * until nothing of them is on its way, and nothing begins until it is done.  Only then does the file forget what it had of
 * them, so that a crash in between leaves the version before, never the one before that.
 *
 * Waiting for the local disk is done by workers of our own.  tier->lock is not held while calling out, but for
 * cachefile's prompt functions and timers. */
#include "tier_impl.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BLOCKS 32u
#define WORKERS 8u /* one that syncs keeps nobody else waiting */

/* ---- jobs */

struct job *
job_of(struct task *task)
{
    return container_of(task, struct job, timer.task);
}

void
job_run(struct job *job, void (*run)(struct task *task))
{
    job->timer.task.run = run;
    pool_submit(job->tier->workers, &job->timer.task);
}

static void
job_free(struct job *job)
{
    free(job->buffer);
    free(job->valid);
    free(job);
}

void
job_end(struct job *job, int rc)
{
    struct store_req *req = job->req;

    job_free(job);
    store_done(req, rc);
}

static struct job *
job_new(struct tier *tier, struct store_req *req)
{
    struct job *job = calloc(1, sizeof *job);

    if (job == NULL) {
        store_done(req, -ENOMEM);
        return NULL;
    }
    job->tier = tier;
    job->req = req;
    job->came_ns = clock_now_ns();
    return job;
}

void
list_push(struct job_list *list, struct job *job)
{
    job->next = NULL;
    if (list->first == NULL)
        list->first = job;
    else
        list->last->next = job;
    list->last = job;
}

struct job *
list_pop(struct job_list *list)
{
    struct job *job = list->first;

    if (job != NULL)
        list->first = job->next;
    return job;
}

static bool
bit_is_set(const uint64_t *map, uint32_t bit)
{
    return map[bit / 64] >> bit % 64 & 1;
}

void
sectors_copy(const struct tier *tier, char *to, const char *from, const uint64_t *map, bool which)
{
    for (uint32_t sector = 0; sector < tier->sectors;) {
        uint32_t first = sector;

        while (sector < tier->sectors && bit_is_set(map, sector) == which)
            sector++;
        memcpy(to + (size_t)first * CACHEFILE_SECTOR_BYTES,
               from + (size_t)first * CACHEFILE_SECTOR_BYTES,
               (size_t)(sector - first) * CACHEFILE_SECTOR_BYTES);
        while (sector < tier->sectors && bit_is_set(map, sector) != which)
            sector++;
    }
}

/* ---- reading */

/* What the store gave. */
static void
read_keep(struct task *task)
{
    struct job *job = job_of(task);
    const struct cachefile_block block = { .block = job->req->block,
                                           .state = CACHEFILE_CLEAN,
                                           .base = CACHEFILE_TAG,
                                           .tag = job->version.tag,
                                           .data = job->req->data };
    struct error why;

    if (cachefile_put(job->tier->config.file, &block, NULL, NULL, &why) == 0)
        counter_add(job->tier->kept, 1);
    job_end(job, 0);
}

static void
read_below_done(struct store_req *below)
{
    struct job *job = container_of(below, struct job, below);

    if (below->rc == 0 && job->version.is == VERSION_TAG)
        job_run(job, read_keep);
    else
        job_end(job, below->rc);
}

static void
read_below(struct job *job)
{
    struct store_req *req = job->req;

    counter_add(job->tier->misses, 1);
    job->below = (struct store_req){ .op = STORE_READ,
                                     .block = req->block,
                                     .bytes = req->bytes,
                                     .data = req->data,
                                     .is_over = req->is_over,
                                     .version = &job->version,
                                     .done = read_below_done };
    store_submit(job->tier->next, &job->below);
}

static void
read_rest_done(struct store_req *below)
{
    struct job *job = container_of(below, struct job, below);

    if (below->rc == 0)
        sectors_copy(job->tier, job->req->data, job->buffer, job->valid, false);
    job_end(job, below->rc);
}

/* The file has some sectors, which the store does not have. */
static void
read_rest(struct job *job)
{
    struct store_req *req = job->req;

    job->buffer = malloc(req->bytes);
    if (job->buffer == NULL) {
        job_end(job, -ENOMEM);
        return;
    }
    job->below = (struct store_req){ .op = STORE_READ,
                                     .block = req->block,
                                     .bytes = req->bytes,
                                     .data = job->buffer,
                                     .is_over = req->is_over,
                                     .done = read_rest_done };
    store_submit(job->tier->next, &job->below);
}

static void
read_hit(struct job *job)
{
    counter_add(job->tier->hits, 1);
    job_end(job, 0);
}

static void
read_drop(struct task *task)
{
    struct job *job = job_of(task);
    struct error why;

    counter_add(job->tier->changed, 1);
    cachefile_drop(job->tier->config.file, job->req->block, job->file_version, &why);
    read_below(job);
}

static void
read_checked(struct store_req *below)
{
    struct job *job = container_of(below, struct job, below);

    if (below->rc != 0) {
        job_end(job, below->rc);
    } else if (below->is_same) {
        cachefile_confirm(job->tier->config.file, below->block, job->file_version);
        read_hit(job);
    } else {
        job_run(job, read_drop);
    }
}

static void
read_check(struct job *job, const struct cachefile_info *info)
{
    counter_add(job->tier->compared, 1);
    job->file_version = info->version;
    job->version.is = VERSION_TAG;
    strcpy(job->version.tag, info->tag);
    job->below = (struct store_req){ .op = STORE_CHECK,
                                     .block = job->req->block,
                                     .version = &job->version,
                                     .is_over = job->req->is_over,
                                     .done = read_checked };
    store_submit(job->tier->next, &job->below);
}

/* Nobody else has it. */
static void
read_failed(struct job *job, int rc, const struct error *why)
{
    log_line(BD_ERROR, "%s", rc == -ENOMEM ? "out of memory" : why->text);
    job_end(job, rc);
}

static void
read_run(struct task *task)
{
    struct job *job = job_of(task);
    const struct tier_config *config = &job->tier->config;
    struct cachefile_info info = { .state = CACHEFILE_CLEAN };
    struct error why;
    int rc = -ENOMEM;

    job->valid = malloc(sizeof *job->valid * job->tier->map_words);
    if (job->valid != NULL)
        rc = cachefile_get(config->file, job->req->block, &info, job->req->data, job->valid, &why);
    if (rc == -ENOENT || (rc != 0 && !cachefile_holds_dirty(config->file, job->req->block)))
        read_below(job);
    else if (rc != 0)
        read_failed(job, rc, &why);
    else if (info.state == CACHEFILE_DIRTY && info.sectors_valid < job->tier->sectors)
        read_rest(job);
    else if (info.state == CACHEFILE_DIRTY)
        read_hit(job);
    else if (info.sectors_valid < job->tier->sectors || info.base != CACHEFILE_TAG)
        read_below(job);
    else if (config->trusts_file || (info.is_fresh && !config->is_reader))
        read_hit(job);
    else
        read_check(job, &info);
}

/* ---- flushing, seeking */

static void
part_end(struct job *job, int rc)
{
    struct tier *tier = job->tier;
    unsigned left;

    pthread_mutex_lock(&tier->lock);
    if (rc != 0)
        job->file_rc = rc;
    left = --job->left;
    pthread_mutex_unlock(&tier->lock);
    if (left == 0)
        job_end(job, job->rc != 0 ? job->rc : job->file_rc);
}

static void
flush_sent(struct job *job)
{
    part_end(job, 0);
}

/* A file that failed must not be there any more when all is in the store: what it would send is old by then. */
static void
flush_remove(struct task *task)
{
    struct job *job = job_of(task);
    struct error why;

    job_end(job, cachefile_remove(job->tier->config.file, &why));
}

static void
flush_failed_sent(struct job *job)
{
    if (job->rc != 0)
        job_end(job, job->rc);
    else
        job_run(job, flush_remove);
}

int
tier_sync_file(struct tier *tier)
{
    struct error why;
    uint64_t cleaned;
    int rc;

    pthread_mutex_lock(&tier->lock);
    cleaned = tier->cleaned;
    pthread_mutex_unlock(&tier->lock);
    rc = cachefile_sync(tier->config.file, &why);
    if (rc != 0) {
        tier_file_failed(tier, &why);
        return rc;
    }
    pthread_mutex_lock(&tier->lock);
    if (tier->cleaned_synced < cleaned)
        tier->cleaned_synced = cleaned;
    pthread_mutex_unlock(&tier->lock);
    return 0;
}

static void
flush_sync(struct task *task)
{
    struct job *job = job_of(task);

    part_end(job, tier_sync_file(job->tier));
}

void
end_when_removed(struct job *job)
{
    await_sent(job, flush_failed_sent);
}

/* Of what was written before, all puts into the file have returned. */
static void
flush_begin(struct job *job)
{
    struct tier *tier = job->tier;
    bool is_lost, has_failed, is_local;

    pthread_mutex_lock(&tier->lock);
    is_lost = tier->is_lost;
    has_failed = tier->file_failed;
    is_local = tier->config.durability == TIER_FILE && !tier->is_ending;
    pthread_mutex_unlock(&tier->lock);
    if (is_lost) {
        job_end(job, -EROFS);
    } else if (has_failed) {
        end_when_removed(job);
    } else if (is_local) {
        job->left = 1;
        job_run(job, flush_sync);
    } else {
        job->left = 2;
        await_sent(job, flush_sent);
        job_run(job, flush_sync);
    }
}

/* What the file has is not known below. */
static void
seek_sent(struct job *job)
{
    struct store *next = job->tier->next;
    struct store_req *req = job->req;
    int rc = job->rc;

    job_free(job);
    if (rc != 0)
        store_done(req, rc);
    else
        store_submit(next, req);
}

/* ---- the way in */

static void
tier_submit(struct store *store, struct store_req *req)
{
    struct tier *tier = container_of(store, struct tier, store);
    struct job *job;

    if (req->op == STORE_CHECK) {
        store_submit(tier->next, req);
        return;
    }
    job = job_new(tier, req);
    if (job == NULL)
        return;
    switch (req->op) {
    case STORE_READ:
        assert(req->bytes == tier->config.block_bytes);
        if (cachefile_holds(tier->config.file, req->block))
            job_run(job, read_run);
        else
            read_below(job);
        break;
    case STORE_WRITE:
        assert(req->bytes == tier->config.block_bytes && req->data != NULL);
        job_run(job, write_run);
        break;
    case STORE_ZERO:
        zero_begin(job);
        break;
    case STORE_FLUSH:
        flush_begin(job);
        break;
    case STORE_SEEK:
        await_sent(job, seek_sent);
        break;
    case STORE_CHECK:
        break;
    }
}

static bool
tier_is_zero(struct store *store, uint64_t block)
{
    struct tier *tier = container_of(store, struct tier, store);

    /* The file first: when a block is not dirty any more because it was stored, the layer below has known for long that it is
     * there.  What that said before may be old by the time that the file is asked. */
    return !cachefile_holds_dirty(tier->config.file, block) && store_is_zero(tier->next, block);
}

/* ---- statistics */

uint64_t
tier_unsent(struct store *store)
{
    return cachefile_dirty(container_of(store, struct tier, store)->config.file);
}

static uint64_t
unsent_blocks(void *arg)
{
    return tier_unsent(arg);
}

static uint64_t
unsent_age_ns(void *arg)
{
    struct tier *tier = container_of((struct store *)arg, struct tier, store);
    uint64_t oldest, now;

    pthread_mutex_lock(&tier->lock);
    oldest = oldest_ns(tier);
    pthread_mutex_unlock(&tier->lock);
    now = clock_now_ns();
    return oldest < now ? now - oldest : 0;
}

static uint64_t
file_blocks(void *arg)
{
    struct cachefile_stats stats;

    cachefile_stats(container_of((struct store *)arg, struct tier, store)->config.file, &stats);
    return stats.used;
}

static uint64_t
initial_blocks(void *arg)
{
    return container_of((struct store *)arg, struct tier, store)->initial_blocks;
}

static uint64_t
file_damaged(void *arg)
{
    struct cachefile_stats stats;

    cachefile_stats(container_of((struct store *)arg, struct tier, store)->config.file, &stats);
    return stats.rotten + stats.rotten_dirty;
}

static void
add_statistics(struct tier *tier, struct stats *stats)
{
    tier->hits = stats_counter(stats, "cache_file_hits", "blocks read from the cache file");
    tier->misses =
        stats_counter(stats, "cache_file_misses",
                      "blocks that the cache file did not have, and the store was asked for");
    tier->compared = stats_counter(stats, "cache_file_compared",
                                   "blocks of the cache file whose version was compared with the "
                                   "store's before they were read");
    tier->changed = stats_counter(stats, "cache_file_outdated",
                                  "blocks of the cache file that were compared, and were not the "
                                  "store's any more");
    tier->kept = stats_counter(stats, "cache_file_kept",
                               "blocks read from the store and put into the cache file");
    tier->stored = stats_counter(stats, "cache_file_sent", "blocks of the cache file stored");
    tier->store_failures =
        stats_counter(stats, "cache_file_send_failures",
                      "blocks of the cache file that could not be stored, and stay in it");
    tier->waits = stats_counter(stats, "cache_file_waits",
                                "writes that were slowed or waited for what is to be stored");
    stats_gauge(stats, "cache_file_blocks", "blocks in the cache file", file_blocks, &tier->store);
    tier->initial_blocks = file_blocks(&tier->store);
    stats_gauge(stats, "cache_file_initial_blocks",
                "blocks that were in the cache file when it was opened", initial_blocks,
                &tier->store);
    stats_gauge(stats, "cache_file_damaged",
                "times that a block of the cache file was found damaged", file_damaged,
                &tier->store);
    stats_gauge(stats, "unsent_blocks", "blocks of the cache file that the store does not have yet",
                unsent_blocks, &tier->store);
    stats_gauge_time(stats, "unsent_age_seconds",
                     "since the oldest block of the cache file that the store does not have was "
                     "written, or the daemon has had it",
                     unsent_age_ns, &tier->store);
}

/* ---- life */

static int
queue_recovered(struct tier *tier)
{
    struct cachefile_info info;
    uint32_t cursor = 0;
    int rc = 0;

    pthread_mutex_lock(&tier->lock);
    while (rc == 0 && cachefile_next(tier->config.file, &cursor, &info)) {
        if (info.state != CACHEFILE_DIRTY)
            continue;
        rc = queue_promise(tier, 1);
        if (rc == 0)
            queue_add(tier, info.block, false);
    }
    pthread_mutex_unlock(&tier->lock);
    return rc;
}

int
tier_new(const struct tier_config *config, struct store *next, struct pool *pool,
         struct stats *stats, struct store **out)
{
    struct tier *tier = calloc(1, sizeof *tier);
    int rc;

    if (tier == NULL)
        return -ENOMEM;
    tier->store.submit = tier_submit;
    tier->store.is_zero = tier_is_zero;
    tier->config = *config;
    /* After a crash it may have older versions than we have had stored. */
    tier->config.trusts_file = config->trusts_file && cachefile_was_closed(config->file);
    /* Nothing may be old before it is sent. */
    if (config->unsent_max_ns > 0 && config->write_delay_ns > config->unsent_max_ns / 4)
        tier->config.write_delay_ns = config->unsent_max_ns / 4;
    /* Before anything is known of the store, so many blocks are let in. */
    tier->drain_gap_ns = config->unsent_max_ns / FIRST_BLOCKS;
    tier->next = next;
    tier->pool = pool;
    tier->sectors = config->block_bytes / CACHEFILE_SECTOR_BYTES;
    tier->map_words = (tier->sectors + 63) / 64;
    tier->timer.task.run = tier_timer_run;
    pthread_mutex_init(&tier->lock, NULL);
    pthread_cond_init(&tier->idle, NULL);
    rc = pool_new(WORKERS, &tier->workers);
    if (rc == 0)
        rc = queue_recovered(tier);
    if (rc != 0) {
        tier_free(&tier->store);
        return rc;
    }
    add_statistics(tier, stats);
    pthread_mutex_lock(&tier->lock);
    drive(tier);
    *out = &tier->store;
    return 0;
}

void
tier_ending(struct store *store)
{
    struct tier *tier = container_of(store, struct tier, store);

    pthread_mutex_lock(&tier->lock);
    tier->is_ending = true;
    tier->is_stopped = false;
    drive(tier);
}

void
tier_stop(struct store *store)
{
    struct tier *tier = container_of(store, struct tier, store);

    pthread_mutex_lock(&tier->lock);
    tier->is_stopped = true;
    drive(tier);
    pthread_mutex_lock(&tier->lock);
    for (;;) {
        if (tier->timer_is_set && pool_timer_cancel(tier->pool, &tier->timer))
            tier->timer_is_set = false;
        if (!tier->timer_is_set && tier->flying == 0 && tier->driving == 0)
            break;
        pthread_cond_wait(&tier->idle, &tier->lock);
    }
    pthread_mutex_unlock(&tier->lock);
}

void
tier_free(struct store *store)
{
    struct tier *tier;
    struct flight *flight;

    if (store == NULL)
        return;
    tier = container_of(store, struct tier, store);
    tier_stop(store);
    assert(tier->flushes == NULL && tier->waiting.first == NULL && tier->holders == NULL);
    while ((flight = tier->flights) != NULL) {
        tier->flights = flight->next;
        free(flight);
    }
    pool_free(tier->workers);
    free(tier->ring);
    pthread_cond_destroy(&tier->idle);
    pthread_mutex_destroy(&tier->lock);
    free(tier);
}
