/* SPDX-License-Identifier: Apache-2.0 */
/* The block cache.
 *
 * ENTRIES.  A cached block has an entry; its data is a frame.  Which sectors of it are valid, and which are dirty, are
 * two bit maps.  An entry is in several of these states at once:
 *
 *   readers > 0     somebody copies out of the frame, which must not change
 *   is_wanted       and a writer waits for them: no new ones
 *   is_changing     somebody copies into it, alone (but for readers of valid sectors while what has arrived is merged)
 *   is_fetching     the next layer reads the whole block into the frame `fetched`; what arrives becomes the rest
 *                   of the block: valid sectors are newer
 *   has_arrived     it is there, and not merged yet
 *   is_ahead        was fetched before anybody asked for it, and nobody has since
 *   is_dirty        holds what the store does not have and no flight carries; then it may be one or more of:
 *     is_parked       under a zero, which must be stored before
 *     is_completing   is being fetched to be stored
 *     is_due          has been fetched to be stored, and goes first
 *     is_hot          became dirty soon after it was stored, and waits longer
 *   is_flying       the next layer stores the trip's frame: all sectors of it, or those that were valid when it left.
 *                   Who writes to the block meanwhile gets a fresh frame (copy on write), and the entry is dirty
 *                   again
 *   is_evictable    none of all this but readers and is_ahead: the next layer has all that is valid, and the entry is
 *                   `evict`'s to choose
 *
 *   may be           evicted   stored   written to       read              zeroed
 *   clean, idle      yes       -        yes              valid sectors     yes
 *   dirty, idle      no        yes      yes              valid sectors     yes
 *   is_parked        no        no       yes              valid sectors     waits for the zero
 *   readers          no        yes      waits            valid sectors     waits
 *   is_changing      no        no       waits            waits             waits
 *   is_fetching      no        no       whole sectors    valid sectors     waits
 *   is_flying        no        no       yes, by copying  valid sectors     waits
 *
 * Who needs other sectors has them fetched, and waits; while the entry flies, until it has landed.  So there is at
 * most one request for a block at the next layer at any time.
 *
 * What flies or is clean is complete, unless the next layer takes parts (next_takes_parts): then the entry is sent as it
 * is and may be clean with sectors missing.  It is never completing or due, and there is no reserve of frames.
 *
 * What could be stored is in a list, oldest first; what is parked, completing or flying is not:
 *
 *   LIST_FULL     every sector is dirty        goes at once
 *   LIST_SOME     not all are                  after write_delay_ns
 *   LIST_HOT      likewise, and is_hot         after write_delay_max_ns
 *   LIST_FAILED   storing it failed            after a pause
 *   LIST_AHEAD    is_ahead and is_evictable    goes when too much is there unread
 *
 * WAITING.  A request that must wait is kept in a queue, and starts over when what it waits for has happened: its entry
 * is idle (entry->waiting), there is a frame (`starving`), fewer blocks are dirty (`stopped`), a zeroing is on its way
 * (zero->waiting).  Only reads of what was just fetched are served at once, else a small cache might evict the block first.
 *
 * FRAMES.  The last `reserve` frames are only for completing dirty blocks that lack sectors, so that dirty blocks can
 * always be stored, however small the cache.  No entry begins with one, so there are as many slots as other frames.
 * A clean entry that lacks sectors may be what makes room for the frame into which it was to be fetched.
 *
 * ZEROS.  A zero first drops all entries in its range, waiting for busy ones (`pending`), and holds up all new requests
 * there.  Then it is sent, and done for who asked: from now on reads find zeros, new entries begin as zeros, and
 * are not stored (is_parked) before the zero is, and have failed when it fails.  It stands for the dirty data that it dropped.
 *
 * FLUSH.  What the store lacks is counted in `unsaved`: dirty entries, flights, zeros.  Each has the number of its first
 * write in `since`.  A flush waits until all that was unsaved when it came has been stored or has failed; what fails
 * is unsaved again, with a new number.  A request that is_sync waits for the number of its own block or zero alone.
 * A layer that takes parts may have less than durable what it took: it is flushed then, and gives the answer.
 *
 * SPILLING (cache_spill.c) hands over what is unsaved when all else is at rest.  Zeros in the list that are sent do not
 * overlap, and each dirty entry in the range of one was written after it: zeros first, then blocks, is an order that
 * is right.
 *
 * cache->lock guards all of this.  It is not held while copying data or calling out, but for store_is_zero and timers.  What is to
 * be done after unlocking is collected in a struct todo. */

#include "cache_impl.h"

#include "base/clock.h"
#include "base/util.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- reads */

/* The oldest one that was fetched ahead in vain, as it seems. */
static void
drop_unread(struct cache *cache)
{
    uint32_t slot = cache->dirty[LIST_AHEAD].first;

    if (slot != SLOT_NONE && cache->entries[slot].readers == 0)
        entry_drop(cache, &cache->entries[slot]);
}

static void
fetch_ahead(struct cache *cache, struct stream *stream, uint64_t block, uint64_t end,
            struct todo *todo)
{
    /* More than evict gives to new blocks would not be there any more when they are read. */
    uint32_t unread_max = cache->slot_count / 8 > 0 ? cache->slot_count / 8 : 1;

    for (; block < end; block++) {
        struct entry *entry;
        uint32_t frame;

        if (entry_of(cache, block) != NULL || zero_covering(cache, block, block) != NULL
            || store_is_zero(cache->next, block))
            continue;
        if (cache->unread_count >= unread_max)
            drop_unread(cache);
        if (cache->ahead_count >= cache->config.in_flight_max || cache->unread_count >= unread_max
            || cache->starving.queue.last != NULL)
            break;
        frame = frame_get(cache, false);
        if (frame == FRAME_NONE)
            break;
        entry = entry_new(cache, block);
        entry->is_ahead = true;
        cache->unread_count++;
        if (!fetch_start(cache, entry, frame, todo)) {
            entry_drop(cache, entry);
            break;
        }
        counter_add(cache->ahead_fetched, 1);
    }
    readahead_reached(stream, block);
}

/* Copy for a reader who is counted in the entry's readers, so that neither goes away. */
static void
copy_out(struct cache *cache, struct entry *entry, struct store_req *req, struct waiter *waiter)
{
    struct todo todo = { 0 };

    memcpy(req->data, frames_data(cache->frames, entry->frame) + req->offset, req->bytes);
    pthread_mutex_lock(&cache->lock);
    if (reader_end(cache, entry)
        && (entry->waiting.last != NULL || entry->is_wanted || cache->zeros != NULL))
        entry_settle(cache, entry, &todo);
    leave(cache, &todo);
    request_end(req, waiter, 0);
}

void
serve_read(struct cache *cache, struct store_req *req, struct waiter *waiter)
{
    struct entry *entry;

    pthread_mutex_lock(&cache->lock);
    entry = entry_of(cache, req->block);
    pthread_mutex_unlock(&cache->lock);
    copy_out(cache, entry, req, waiter);
}

static void
read_zeros(struct cache *cache, struct store_req *req, struct waiter *waiter, struct todo *todo)
{
    leave(cache, todo);
    memset(req->data, 0, req->bytes);
    request_end(req, waiter, 0);
}

static void
note_read(struct cache *cache, const struct store_req *req, bool is_hit, struct todo *todo)
{
    struct stream *stream;
    uint64_t first, end;

    counter_add(is_hit ? cache->read_hits : cache->read_misses, 1);
    if (readahead_read(&cache->readahead, req->block, !is_hit, &stream, &first, &end))
        fetch_ahead(cache, stream, first, end, todo);
}

static void
read_start(struct cache *cache, struct store_req *req, struct waiter *waiter)
{
    struct todo todo = { 0 };
    struct zero *zero;
    struct entry *entry;
    bool is_new = waiter == NULL, is_hit, must_fetch;

    pthread_mutex_lock(&cache->lock);
    zero = cache->zeros != NULL ? zero_covering(cache, req->block, req->block) : NULL;
    if (zero != NULL && !zero->is_sent) {
        wait_in(cache, &zero->waiting, req, waiter, false, &todo);
        return;
    }
    entry = entry_of(cache, req->block);
    if (entry == NULL && (zero != NULL || store_is_zero(cache->next, req->block))) {
        read_zeros(cache, req, waiter, &todo);
        return;
    }
    is_hit = entry != NULL && !entry->is_changing && !entry->is_wanted
             && covers(cache, entry, req->offset, req->bytes);
    if (entry != NULL)
        note_used(cache, entry);
    if (is_hit) {
        reader_begin(cache, entry);
        if (is_new)
            note_read(cache, req, true, &todo);
        leave(cache, &todo);
        copy_out(cache, entry, req, waiter);
        return;
    }
    must_fetch = entry == NULL || (!entry->is_changing && !entry->is_wanted);
    if (must_fetch)
        entry = fetch_for(cache, entry, req, &waiter, &todo);
    if (entry == NULL)
        return;
    if (is_new) /* after the block itself: what is fetched ahead comes second */
        note_read(cache, req, false, &todo);
    wait_in(cache, &entry->waiting, req, waiter, must_fetch, &todo);
}

/* ---- writes */

/* Without the lock, in a frame that is ours alone.  `old` is what the frame is a copy of, or NULL. */
static void
copy_in(const struct cache *cache, char *frame, const char *old, bool is_on_zeros,
        const struct store_req *req)
{
    uint32_t end = req->offset + req->bytes, block_bytes = cache->config.block_bytes;

    if (old != NULL) {
        memcpy(frame, old, req->offset);
        memcpy(frame + end, old + end, block_bytes - end);
    } else if (is_on_zeros) {
        memset(frame, 0, req->offset);
        memset(frame + end, 0, block_bytes - end);
    }
    if (req->data != NULL)
        memcpy(frame + req->offset, req->data, req->bytes);
    else
        memset(frame + req->offset, 0, req->bytes);
}

/* Under the lock again: the entry has the data.  If is_sync, takes `waiter`. */
static void
write_accepted(struct cache *cache, struct entry *entry, const struct store_req *req,
               struct waiter *waiter, struct todo *todo)
{
    uint32_t first = req->offset / SECTOR_BYTES;
    uint32_t end = (req->offset + req->bytes + SECTOR_BYTES - 1) / SECTOR_BYTES;
    struct zero *zero;

    assert(!cache->is_spilled);
    set_valid(cache, entry, first, end);
    if (!entry->is_dirty)
        entry_dirty(cache, entry);
    /* Asked now: while the data was copied, the zero may have been stored. */
    zero = cache->zeros != NULL ? zero_covering(cache, entry->block, entry->block) : NULL;
    entry->is_parked = zero != NULL;
    if (zero != NULL)
        zero->has_parked = true;
    entry->dirty_count += map_set(dirty_map(cache, entry), first, end);
    /* Before a zero may have it. */
    if (cache->config.is_sync)
        flush_add(cache, waiter, entry->since, todo);
    entry_settle(cache, entry, todo);
}

static void
write_start(struct cache *cache, struct store_req *req, struct waiter *waiter)
{
    struct todo todo = { 0 };
    struct zero *zero;
    struct entry *entry;
    uint32_t frame, old = FRAME_NONE;
    bool is_on_zeros = false, is_new = waiter == NULL;

    pthread_mutex_lock(&cache->lock);
    zero = cache->zeros != NULL ? zero_covering(cache, req->block, req->block) : NULL;
    if (zero != NULL && !zero->is_sent) {
        wait_in(cache, &zero->waiting, req, waiter, false, &todo);
        return;
    }
    entry = entry_of(cache, req->block);
    if (entry != NULL && (entry->is_changing || entry->readers > 0)) {
        entry->is_wanted = entry->is_wanted || !entry->is_changing;
        wait_in(cache, &entry->waiting, req, waiter, false, &todo);
        return;
    }
    if (entry == NULL)
        is_on_zeros = zero != NULL;
    if (!is_on_zeros && tears_sector(cache, entry, req->offset, req->bytes)) {
        if (entry == NULL && store_is_zero(cache->next, req->block)) {
            is_on_zeros = true;
        } else {
            entry = fetch_for(cache, entry, req, &waiter, &todo);
            if (entry != NULL)
                wait_in(cache, &entry->waiting, req, waiter, true, &todo);
            return;
        }
    }
    if ((entry == NULL || !entry->is_dirty) && must_wait_to_dirty(cache, req, waiter, &todo))
        return;
    if (cache->config.is_sync) {
        waiter = waiter_of(cache, req, waiter, &todo);
        if (waiter == NULL)
            return;
    }
    frame = entry != NULL ? entry->frame : FRAME_NONE;
    if (frame != FRAME_NONE && frames_is_shared(cache->frames, frame)) {
        old = frame;
        frame = FRAME_NONE;
    }
    if (frame == FRAME_NONE)
        frame = frame_get(cache, false);
    if (frame == FRAME_NONE) {
        starve(cache, req, waiter, &todo);
        return;
    }
    if (is_new)
        counter_add(entry != NULL ? cache->write_hits : cache->write_misses, 1);
    if (entry == NULL)
        entry = entry_new(cache, req->block);
    else
        note_used(cache, entry);
    entry->is_changing = true;
    entry_update_evictable(cache, entry);
    pthread_mutex_unlock(&cache->lock);

    copy_in(cache, frames_data(cache->frames, frame),
            old != FRAME_NONE ? frames_data(cache->frames, old) : NULL, is_on_zeros, req);

    pthread_mutex_lock(&cache->lock);
    entry->is_changing = false;
    entry->frame = frame;
    if (old != FRAME_NONE) {
        counter_add(cache->copies, 1);
        frames_drop(cache->frames, old);
    }
    if (is_on_zeros)
        set_valid(cache, entry, 0, cache->sectors);
    write_accepted(cache, entry, req, waiter, &todo);
    leave(cache, &todo);
    if (!cache->config.is_sync)
        request_end(req, waiter, 0);
}

/* ---- zeros, flushes, seeks */

static void
flush_start(struct cache *cache, struct store_req *req)
{
    struct todo todo = { 0 };
    struct waiter *waiter;

    pthread_mutex_lock(&cache->lock);
    waiter = waiter_of(cache, req, NULL, &todo);
    if (waiter == NULL)
        return;
    flush_add(cache, waiter, 0, &todo);
    leave(cache, &todo);
}

void
request_start(struct cache *cache, struct store_req *req, struct waiter *waiter)
{
    switch (req->op) {
    case STORE_READ:
        read_start(cache, req, waiter);
        break;
    case STORE_WRITE:
        write_start(cache, req, waiter);
        break;
    case STORE_ZERO:
        zero_start(cache, req, waiter);
        break;
    case STORE_FLUSH:
    case STORE_SEEK: /* what is dirty is not known below */
        flush_start(cache, req);
        break;
    case STORE_CHECK:
        store_submit(cache->next, req);
        break;
    }
}

static void
cache_submit(struct store *store, struct store_req *req)
{
    struct cache *cache = container_of(store, struct cache, store);

    assert((req->op != STORE_READ && req->op != STORE_WRITE)
           || (req->bytes > 0 && req->offset + req->bytes <= cache->config.block_bytes));
    request_start(cache, req, NULL);
}

/* ---- blocks that nobody uses */

static void idle_run(struct task *task);

/* How often it is looked.  A reader is promised that nothing is older than idle_ns; what nobody uses is in no hurry. */
static uint64_t
idle_pause_ns(const struct cache *cache)
{
    return cache->config.idle_ns / (cache->config.is_reader ? 8 : 2) + 1;
}

static void
idle_later(struct cache *cache)
{
    uint64_t at_ns = clock_now_ns() + idle_pause_ns(cache);

    cache->idle_timer = (struct timer){ .task.run = idle_run };
    cache->idle_timer_is_set = true;
    /* Out of memory: no rest until there is some. */
    if (pool_timer_set(cache->pool, &cache->idle_timer, at_ns) != 0)
        pool_submit(cache->pool, &cache->idle_timer.task);
}

static void
idle_run(struct task *task)
{
    struct cache *cache = container_of(task, struct cache, idle_timer.task);
    uint64_t now = clock_now_ns(), old_ns = cache->config.idle_ns;

    if (cache->config.is_reader)
        old_ns -= idle_pause_ns(cache); /* it would be too old when we come again */
    pthread_mutex_lock(&cache->lock);
    for (uint32_t slot = 0; slot < cache->slot_count; slot++) {
        struct entry *entry = &cache->entries[slot];

        if (entry->is_used && entry->is_evictable && entry->readers == 0
            && now - entry->at_ns >= old_ns)
            entry_drop(cache, entry);
    }
    idle_later(cache);
    pthread_cond_broadcast(&cache->idle);
    pthread_mutex_unlock(&cache->lock);
}

/* ---- statistics */

static uint64_t
cached_blocks(void *arg)
{
    struct cache *cache = arg;
    uint64_t count;

    pthread_mutex_lock(&cache->lock);
    count = cache->slot_count - cache->free_count;
    pthread_mutex_unlock(&cache->lock);
    return count;
}

static uint64_t
dirty_blocks(void *arg)
{
    struct cache *cache = arg;
    uint64_t count;

    pthread_mutex_lock(&cache->lock);
    count = cache->dirty_count + cache->flight_count;
    pthread_mutex_unlock(&cache->lock);
    return count;
}

static uint64_t
dirty_age_ns(void *arg)
{
    struct cache *cache = arg;
    uint64_t now = clock_now_ns(), oldest_s = UINT64_MAX;

    pthread_mutex_lock(&cache->lock);
    for (uint32_t slot = 0; slot < cache->slot_count && cache->unsaved > 0; slot++) {
        const struct entry *entry = &cache->entries[slot];

        if (entry->is_used && (entry->is_dirty || entry->is_flying) && entry->dirty_s < oldest_s)
            oldest_s = entry->dirty_s;
    }
    for (const struct zero *zero = cache->zeros; zero != NULL; zero = zero->next) {
        if (zero->came_s < oldest_s)
            oldest_s = zero->came_s;
    }
    pthread_mutex_unlock(&cache->lock);
    return oldest_s == UINT64_MAX ? 0 : now - oldest_s * NS_PER_S;
}

static uint64_t
pending_zeros(void *arg)
{
    struct cache *cache = arg;
    uint64_t count;

    pthread_mutex_lock(&cache->lock);
    count = cache->zero_count;
    pthread_mutex_unlock(&cache->lock);
    return count;
}

static void
add_statistics(struct cache *cache, struct stats *stats)
{
    cache->read_hits =
        stats_counter(stats, "cache_read_hits", "parts of blocks read that were cached");
    cache->read_misses =
        stats_counter(stats, "cache_read_misses", "parts of blocks read that were not, or not yet");
    cache->write_hits = stats_counter(stats, "cache_write_hits", "parts written of cached blocks");
    cache->write_misses =
        stats_counter(stats, "cache_write_misses", "parts written of blocks that were not cached");
    cache->evictions = stats_counter(stats, "cache_evictions", "blocks that made room for others");
    cache->partial_fetches = stats_counter(stats, "cache_completed_blocks",
                                           "blocks fetched because sectors of them were missing");
    cache->copies = stats_counter(stats, "cache_copied_blocks",
                                  "blocks copied because they were written to while being stored");
    cache->ahead_fetched =
        stats_counter(stats, "read_ahead_blocks", "blocks fetched before they were asked for");
    cache->ahead_used = stats_counter(stats, "read_ahead_used",
                                      "blocks fetched before they were asked for, and read then");
    cache->ahead_wasted =
        stats_counter(stats, "read_ahead_wasted",
                      "blocks fetched before they were asked for, that left the cache unread");
    cache->stored = stats_counter(stats, "write_back_blocks", "dirty blocks stored");
    cache->store_failures = stats_counter(
        stats, "write_back_failures", "dirty blocks that could not be stored, and stayed dirty");
    cache->slowed =
        stats_counter(stats, "slowed_writes", "writes slowed near the limit of dirty blocks");
    cache->stopped_writes =
        stats_counter(stats, "stopped_writes", "writes that waited at the limit of dirty blocks");
    cache->starved =
        stats_counter(stats, "cache_waits", "requests that waited for room in the cache");
    stats_gauge(stats, "cache_blocks", "blocks in the cache", cached_blocks, cache);
    stats_gauge(stats, "dirty_blocks", "blocks that the store does not have yet", dirty_blocks,
                cache);
    stats_gauge_time(stats, "dirty_age_seconds",
                     "since the oldest of what the store lacks was written or zeroed", dirty_age_ns,
                     cache);
    stats_gauge(stats, "pending_zeros", "zeroed ranges that the store does not know of yet",
                pending_zeros, cache);
}

/* ---- life */

/* How many blocks may be read ahead: what is in flight at most, and an eighth of the cache, as `evict` does for
 * new blocks. */
static uint32_t
window_max(const struct cache *cache)
{
    const struct cache_config *config = &cache->config;
    uint32_t max = cache->slot_count / 8;

    if (max > config->in_flight_max)
        max = config->in_flight_max;
    if (max > config->read_ahead_max)
        max = config->read_ahead_max;
    return max == 0 && config->read_ahead_max > 0 && cache->slot_count > 1 ? 1 : max;
}

int
cache_new(const struct cache_config *config, struct store *next, struct pool *pool,
          struct stats *stats, struct store **out)
{
    struct cache *cache = calloc(1, sizeof *cache);
    uint32_t blocks_max = config->blocks_max, buckets = 1;
    uint32_t room;

    assert(config->write_delay_max_ns >= config->write_delay_ns);
    if (cache == NULL)
        return -ENOMEM;
    /* No more than the volume has, and copies of what is in flight. */
    if (blocks_max > config->block_count + config->in_flight_max)
        blocks_max = (uint32_t)config->block_count + config->in_flight_max;
    cache->store.submit = cache_submit;
    cache->config = *config;
    cache->next = next;
    cache->pool = pool;
    cache->sectors = config->block_bytes / SECTOR_BYTES;
    cache->map_words = (cache->sectors + 63) / 64;
    cache->reserve = config->next_takes_parts ? 0 : blocks_max / 16 + 1;
    if (cache->reserve > config->in_flight_max)
        cache->reserve = config->in_flight_max;
    cache->slot_count = blocks_max;
    room = config->blocks_max - config->blocks_max / 8;
    cache->dirty_max = config->dirty_max > 0 && config->dirty_max < room ? config->dirty_max : room;
    for (cache->hash_shift = 64; buckets < cache->slot_count || cache->hash_shift > 63;
         cache->hash_shift--)
        buckets *= 2;
    pthread_mutex_init(&cache->lock, NULL);
    pthread_cond_init(&cache->idle, NULL);
    cache->entries = calloc(cache->slot_count, sizeof *cache->entries);
    cache->maps = calloc((size_t)cache->slot_count * 2 * cache->map_words, sizeof *cache->maps);
    cache->buckets = malloc(sizeof *cache->buckets * buckets);
    if (cache->entries == NULL || cache->maps == NULL || cache->buckets == NULL
        || frames_new(blocks_max + cache->reserve, config->block_bytes, &cache->frames) != 0
        || evict_new(cache->slot_count, config->protected_count, &cache->evict) != 0) {
        cache_free(&cache->store);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < buckets; i++)
        cache->buckets[i] = SLOT_NONE;
    cache->free_slot = SLOT_NONE;
    for (uint32_t slot = cache->slot_count; slot-- > 0; cache->free_count++) {
        cache->entries[slot].hash_next = cache->free_slot;
        cache->free_slot = slot;
    }
    for (enum list list = 0; list < LIST_COUNT; list++)
        cache->dirty[list].first = cache->dirty[list].last = cache->dirty[list].near = SLOT_NONE;
    cache->drive_task.run = drive_run;
    cache->timer.task.run = timer_run;
    readahead_init(&cache->readahead, config->block_count, window_max(cache),
                   config->read_ahead_trigger);
    if (config->idle_ns > 0)
        idle_later(cache);
    add_statistics(cache, stats);
    *out = &cache->store;
    return 0;
}

/* Is anything on its way to the store that will never get there? */
static bool
is_storing(const struct cache *cache)
{
    for (const struct zero *zero = cache->zeros; zero != NULL; zero = zero->next) {
        if (zero->is_under_way)
            return true;
    }
    return cache->flight_count > 0;
}

bool
is_at_rest(const struct cache *cache)
{
    return !cache->drive_is_queued && !cache->is_driving && cache->fetch_count == 0
           && !is_storing(cache);
}

void
cache_free(struct store *store)
{
    struct cache *cache;
    struct zero *zero;

    if (store == NULL)
        return;
    cache = container_of(store, struct cache, store);
    atomic_store(&cache->is_ending, true);
    pthread_mutex_lock(&cache->lock);
    assert(cache->unsaved == 0 || cache->is_read_only || cache->is_spilled);
    for (;;) {
        if (cache->timer_is_set && pool_timer_cancel(cache->pool, &cache->timer))
            cache->timer_is_set = false;
        if (cache->idle_timer_is_set && pool_timer_cancel(cache->pool, &cache->idle_timer))
            cache->idle_timer_is_set = false;
        if (!cache->timer_is_set && !cache->idle_timer_is_set && is_at_rest(cache))
            break;
        pthread_cond_wait(&cache->idle, &cache->lock);
    }
    pthread_mutex_unlock(&cache->lock);
    while ((zero = cache->zeros) != NULL) {
        cache->zeros = zero->next;
        free(zero);
    }
    evict_free(cache->evict);
    frames_free(cache->frames);
    free(cache->buckets);
    free(cache->maps);
    free(cache->entries);
    pthread_cond_destroy(&cache->idle);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}
