/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon under test, and a layer between cache and consistency that watches what is promised there. */
#include "daemon.h"

#include "base/util.h"
#include "bucket.h"
#include "whole.h"
#include "world.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY_BYTES 128u /* of memory for each cached block, beside its data and sector maps */
#define OWN_BYTES 16384u /* of memory for the cache itself: its struct, streams, statistics */

struct watched {
    struct watched *next, *prev; /* a ring */
    struct store_req below, *req;
};

static struct {
    struct daemon_config config;
    struct pool *pool;
    struct stats *stats;
    struct store *consistency, *top;
    struct store watch;
    struct disk disk;
    bool is_surveying;
    unsigned char *in_use; /* blocks that have a request below the cache */
    uint64_t in_use_count;
    unsigned writes;
    uint64_t failed_ns;
    struct watched watched; /* the ring */
} layers;

/* ---- what is promised between cache and consistency */

static void
mark(const struct store_req *req, bool is_begin)
{
    uint64_t count = req->op == STORE_ZERO ? req->count : 1;

    if (!layers.config.has_cache || req->op == STORE_FLUSH || req->op == STORE_SEEK)
        return;
    assert(req->block + count <= layers.in_use_count);
    for (uint64_t block = req->block; block < req->block + count; block++) {
        if (layers.in_use[block] == is_begin)
            world_fail("two requests for block %" PRIu64 " at once below the cache", block);
        layers.in_use[block] = is_begin;
    }
    if (req->op != STORE_WRITE)
        return;
    layers.writes += is_begin ? 1 : -1u;
    if (layers.writes > layers.config.cache.in_flight_max)
        world_fail("%u blocks are being stored at once", layers.writes);
}

static void
watched_free(struct watched *watched)
{
    watched->next->prev = watched->prev;
    watched->prev->next = watched->next;
    world_release(watched);
}

static void
watched_done(struct store_req *below)
{
    struct watched *watched = container_of(below, struct watched, below);
    struct store_req *req = watched->req;
    int rc = below->rc;

    world_no_lock("to complete a request");
    if (rc != 0 && rc != -ENXIO)
        layers.failed_ns = clock_now_ns();
    req->block = below->block;
    mark(req, false);
    watched_free(watched);
    store_done(req, rc);
}

static void
watch_submit(struct store *store, struct store_req *req)
{
    struct watched *watched = world_alloc(sizeof *watched);

    (void)store;
    world_no_lock("to call the next layer");
    mark(req, true);
    watched->next = layers.watched.next;
    watched->prev = &layers.watched;
    watched->next->prev = watched->prev->next = watched;
    watched->req = req;
    watched->below = *req;
    watched->below.done = watched_done;
    store_submit(layers.consistency, &watched->below);
}

static bool
watch_is_zero(struct store *store, uint64_t block)
{
    (void)store;
    return store_is_zero(layers.consistency, block);
}

/* ---- life */

/* Memory is what the header says it is. */
static void
check_size(size_t bytes)
{
    const struct cache_config *cache = &layers.config.cache;
    uint64_t most =
        cache->block_count + cache->in_flight_max; /* all blocks, and copies in flight */
    uint64_t blocks = cache->blocks_max < most ? cache->blocks_max : most;
    uint64_t moving =
        blocks / 16 + 1 < cache->in_flight_max ? blocks / 16 + 1 : cache->in_flight_max;
    uint64_t maps = (cache->block_bytes / SECTOR_BYTES + 63) / 64 * 2 * sizeof(uint64_t);
    uint64_t max =
        blocks * (maps + ENTRY_BYTES) + (blocks + moving) * cache->block_bytes + OWN_BYTES;

    if (bytes > max)
        world_fail("a cache of %" PRIu64 " blocks takes %zu bytes; at most %" PRIu64
                   " were promised",
                   blocks, bytes, max);
}

void
daemon_open(const struct daemon_config *config)
{
    const struct layout *layout = config->consistency.layout;
    size_t bytes;
    int rc;

    memset(&layers, 0, sizeof layers);
    layers.config = *config;
    layers.watched.next = layers.watched.prev = &layers.watched;
    layers.watch = (struct store){ .submit = watch_submit, .is_zero = watch_is_zero };
    layers.in_use_count = layout->block_count;
    layers.in_use = world_alloc(layout->block_count);
    rc = pool_new(2, &layers.pool);
    if (rc == 0)
        rc = stats_new(&layers.stats);
    if (rc == 0)
        rc = consistency_new(&config->consistency, bucket_objects(), layers.pool, layers.stats,
                             &layers.consistency);
    bytes = world_memory_bytes();
    if (rc == 0 && config->has_cache)
        rc = cache_new(&config->cache, &layers.watch, layers.pool, layers.stats, &layers.top);
    else if (rc == 0)
        rc = whole_new(&layers.watch, layout->block_bytes,
                       (uint64_t)config->cache.blocks_max * layout->block_bytes, &layers.top);
    assert(rc == 0);
    if (config->has_cache)
        check_size(world_memory_bytes() - bytes);
    layers.disk = (struct disk){ .next = layers.top,
                                 .block_bytes = layout->block_bytes,
                                 .bytes = layout->block_bytes * layout->block_count };
}

const struct disk *
daemon_disk(void)
{
    return &layers.disk;
}

void
daemon_hold(void)
{
    consistency_hold(layers.consistency);
}

static void
surveyed(void *arg, int rc)
{
    (void)arg;
    world_no_lock("to complete a survey");
    world_trace("survey: rc %d", rc);
    layers.is_surveying = false;
}

void
daemon_survey(void)
{
    layers.is_surveying = true;
    consistency_survey(layers.consistency, surveyed, NULL);
}

void
daemon_stop_listing(void)
{
    consistency_stop_listing(layers.consistency);
}

bool
daemon_is_surveying(void)
{
    return layers.is_surveying;
}

uint64_t
daemon_settled_at_ns(void)
{
    return consistency_settled_at_ns(layers.consistency);
}

uint64_t
daemon_failed_ns(void)
{
    return layers.failed_ns;
}

uint64_t
daemon_cached_blocks(void)
{
    char *text = stats_text(layers.stats);
    const char *line = strstr(text, "\ncache_blocks ");
    uint64_t count;

    assert(line != NULL);
    count = strtoull(line + strlen("\ncache_blocks "), NULL, 10);
    world_release(text);
    return count;
}

void
daemon_close(void)
{
    if (layers.config.has_cache)
        cache_free(layers.top);
    else
        whole_free(layers.top);
    consistency_free(layers.consistency);
    pool_free(layers.pool);
    stats_free(layers.stats);
    daemon_forget();
    /* Whoever has answered the last request may still be about to return, but touches nothing any more. */
    world_run(clock_now_ns() + 100 * NS_PER_MS);
    if (world_memory_bytes() > 0) {
        world_memory_list();
        world_fail("%zu bytes of memory are left when all is closed", world_memory_bytes());
    }
    if (world_daemon_events() > 0)
        world_fail("%u tasks or timers are left when all is closed", world_daemon_events());
}

void
daemon_forget(void)
{
    while (layers.watched.next != &layers.watched)
        watched_free(layers.watched.next);
    world_release(layers.in_use);
    memset(&layers, 0, sizeof layers);
}
