/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon under test, and a layer between cache and consistency that watches what is promised there. */
#include "daemon.h"

#include "base/util.h"
#include "bucket.h"
#include "file.h"
#include "parts.h"
#include "versions.h"
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
    struct store_version version;
};

static struct {
    struct daemon_config config;
    struct pool *pool;
    struct stats *stats;
    struct store *consistency, *parts, *top;
    struct cachefile *file;
    struct store *tier;
    struct store *watched_next; /* tier, parts, or consistency */
    struct store watch;
    struct disk disk;
    bool is_surveying;
    unsigned char *in_use; /* blocks that have a request below the cache */
    uint64_t in_use_count;
    unsigned writes;
    uint64_t failed_ns;
    int refuse_rc;          /* what is submitted below the cache fails so; 0: it goes on */
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
    if (rc == 0 && below->version != NULL)
        versions_note(req->block, below->version, req->data);
    mark(req, false);
    watched_free(watched);
    store_done(req, rc);
}

static void
pass_on(struct watched *watched)
{
    struct store_req *req = watched->req;
    bool wants_version = (req->op == STORE_READ || req->op == STORE_WRITE)
                         && !layers.config.cache.next_takes_parts && chance_one_in(2);

    watched->below = *req;
    watched->below.version = wants_version ? &watched->version : NULL;
    watched->below.done = watched_done;
    if (layers.refuse_rc != 0)
        store_done(&watched->below, layers.refuse_rc);
    else
        store_submit(layers.watched_next, &watched->below);
}

static void
checked(struct store_req *check)
{
    world_no_lock("to complete a request");
    versions_answer(check);
    pass_on(container_of(check, struct watched, below));
}

/* As one that keeps copies of blocks, but it always goes on to the store.  Only the cache asks for nothing else of a
 * block meanwhile. */
static bool
has_copy(struct watched *watched)
{
    const struct store_req *req = watched->req;

    return layers.config.has_cache && !layers.config.cache.next_takes_parts && layers.refuse_rc == 0
           && (req->op == STORE_READ || req->op == STORE_WRITE)
           && versions_pick(req->block, &watched->version);
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
    if (req->valid != NULL && !layers.config.cache.next_takes_parts)
        world_fail("block %" PRIu64 " is sent in part to who takes no parts", req->block);
    if (!has_copy(watched)) {
        pass_on(watched);
        return;
    }
    watched->below = (struct store_req){ .op = STORE_CHECK,
                                         .block = req->block,
                                         .version = &watched->version,
                                         .is_over = req->is_over,
                                         .done = checked };
    store_submit(layers.watched_next, &watched->below);
}

static bool
watch_is_zero(struct store *store, uint64_t block)
{
    (void)store;
    return store_is_zero(layers.watched_next, block);
}

/* ---- what is unsaved, handed over */

struct handed {
    bool is_zero;
    uint64_t block, count, valid;
    char *data;
};

static struct {
    struct handed *handed;
    unsigned count;
    unsigned fails_at;
    bool is_over;
    int rc;
} heir;

static int
hand_over(struct handed handed)
{
    world_no_lock("to hand over what is unsaved");
    if (heir.count == heir.fails_at) {
        world_release(handed.data);
        return -ENOSPC;
    }
    heir.handed = world_realloc(heir.handed, (heir.count + 1) * sizeof *heir.handed);
    heir.handed[heir.count++] = handed;
    return 0;
}

static int
hand_zero(void *arg, uint64_t first, uint64_t count)
{
    (void)arg;
    return hand_over((struct handed){ .is_zero = true, .block = first, .count = count });
}

/* By chance, all that is valid is taken, or what is dirty. */
static int
hand_block(void *arg, uint64_t block, const uint64_t *valid, const uint64_t *dirty,
           const void *data)
{
    uint32_t bytes = layers.config.cache.block_bytes;
    uint64_t all = UINT64_MAX >> (64 - bytes / SECTOR_BYTES);
    uint64_t valid_map = valid != NULL ? *valid : all, dirty_map = dirty != NULL ? *dirty : all;
    struct handed handed = { .block = block, .data = world_alloc(bytes) };

    (void)arg;
    if (dirty_map == 0 || (dirty_map & ~valid_map) != 0 || (valid_map & ~all) != 0)
        world_fail("of block %" PRIu64 " sectors %" PRIx64 " are valid, %" PRIx64 " dirty", block,
                   valid_map, dirty_map);
    handed.valid = chance_one_in(2) ? valid_map : dirty_map;
    memcpy(handed.data, data, bytes);
    return hand_over(handed);
}

static void
replayed(struct store_req *req)
{
    heir.is_over = true;
    heir.rc = req->rc;
    world_stop();
}

static void
replay(const struct handed *handed)
{
    uint32_t bytes = layers.config.cache.block_bytes;
    bool is_whole = handed->valid == UINT64_MAX >> (64 - bytes / SECTOR_BYTES);
    struct store_req req = { .op = handed->is_zero ? STORE_ZERO : STORE_WRITE,
                             .block = handed->block,
                             .bytes = bytes,
                             .count = handed->count,
                             .data = handed->data,
                             .valid = is_whole ? NULL : &handed->valid,
                             .done = replayed };

    heir.is_over = false;
    store_submit(layers.parts, &req);
    while (!heir.is_over) {
        if (world_run(clock_now_ns() + NS_PER_S) == WORLD_DRY)
            world_fail("what was handed over is never written");
    }
    if (heir.rc != 0)
        world_fail("what was handed over cannot be written, rc %d", heir.rc);
}

static void
heir_forget(void)
{
    for (unsigned i = 0; i < heir.count; i++)
        world_release(heir.handed[i].data);
    world_release(heir.handed);
    memset(&heir, 0, sizeof heir);
}

bool
daemon_spill(void)
{
    static const struct cache_spill_ops ops = { .zero = hand_zero, .block = hand_block };
    int rc;

    memset(&heir, 0, sizeof heir);
    heir.fails_at = chance_one_in(3) ? (unsigned)chance_below(4) : UINT32_MAX;
    /* Who lost the volume goes on no more. */
    layers.refuse_rc = heir.fails_at == UINT32_MAX && chance_one_in(2) ? -EROFS : -ECANCELED;
    rc = cache_spill(layers.top, &ops);
    world_trace("spill: rc %d, %u handed over", rc, heir.count);
    if (rc != 0 && heir.count != heir.fails_at)
        world_fail("what is unsaved is not handed over, rc %d", rc);
    layers.refuse_rc = 0;
    if (rc != 0)
        heir_forget();
    return rc == 0;
}

void
daemon_replay(void)
{
    for (unsigned i = 0; i < heir.count; i++)
        replay(&heir.handed[i]);
    heir_forget();
    daemon_push();
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
    uint64_t spare = cache->next_takes_parts ? 0 : moving;
    uint64_t maps = (cache->block_bytes / SECTOR_BYTES + 63) / 64 * 2 * sizeof(uint64_t);
    uint64_t max =
        blocks * (maps + ENTRY_BYTES) + (blocks + spare) * cache->block_bytes + OWN_BYTES;

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
    layers.parts = parts_open(&(struct parts_config){ .block_bytes = layout->block_bytes,
                                                      .block_count = layout->block_count,
                                                      .is_sync = config->cache.is_sync },
                              layers.consistency);
    layers.watched_next =
        config->has_cache && config->cache.next_takes_parts ? layers.parts : layers.consistency;
    if (rc == 0 && config->has_file) {
        struct tier_config tier = config->tier;

        tier.file = layers.file = file_open();
        rc = tier_new(&tier, layers.consistency, layers.pool, layers.stats, &layers.tier);
        layers.watched_next = layers.tier;
    }
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
    consistency_hold(layers.consistency, layers.config.consistency.recent.settle_ns);
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
daemon_set_refusals(unsigned ppm)
{
    parts_set_refusals(ppm);
}

void
daemon_push(void)
{
    parts_push();
}

void
daemon_ending(void)
{
    if (layers.tier != NULL)
        tier_ending(layers.tier);
}

void
daemon_pause(void)
{
    if (layers.tier != NULL)
        tier_stop(layers.tier);
}

uint64_t
daemon_unsent(void)
{
    return layers.tier != NULL ? tier_unsent(layers.tier) : 0;
}

void
daemon_close(void)
{
    struct error why;

    if (parts_held() > 0)
        world_fail("%" PRIu64 " blocks are not in the store when all is closed", parts_held());
    if (layers.config.has_cache)
        cache_free(layers.top);
    else
        whole_free(layers.top);
    tier_free(layers.tier);
    if (layers.file != NULL)
        (void)cachefile_close(layers.file, &why);
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
    parts_forget();
    memset(&layers, 0, sizeof layers);
}
