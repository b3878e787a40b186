/* SPDX-License-Identifier: Apache-2.0 */
/* The cache's entries, frames and queues. */
#include "cache_impl.h"

#include "base/clock.h"
#include "base/util.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- queues */

void
queue_push_first(struct queue *queue, struct waiter *waiter)
{
    if (queue->last == NULL) {
        queue->last = waiter->next = waiter;
    } else {
        waiter->next = queue->last->next;
        queue->last->next = waiter;
    }
}

void
queue_push(struct queue *queue, struct waiter *waiter)
{
    queue_push_first(queue, waiter);
    queue->last = waiter;
}

struct waiter *
queue_pop(struct queue *queue)
{
    struct waiter *first;

    if (queue->last == NULL)
        return NULL;
    first = queue->last->next;
    if (first == queue->last)
        queue->last = NULL;
    else
        queue->last->next = first->next;
    return first;
}

void
queue_move(struct queue *from, struct queue *to)
{
    struct waiter *first;

    if (from->last == NULL)
        return;
    if (to->last != NULL) {
        first = to->last->next;
        to->last->next = from->last->next;
        from->last->next = first;
    }
    to->last = from->last;
    from->last = NULL;
}

void
request_end(struct store_req *req, struct waiter *waiter, int rc)
{
    free(waiter);
    store_done(req, rc);
}

void
send_later(struct todo *todo, struct trip *trip)
{
    trip->next = NULL;
    if (todo->send == NULL)
        todo->send_last = &todo->send;
    *todo->send_last = trip;
    todo->send_last = &trip->next;
}

void
start_over(struct task *task)
{
    struct waiter *waiter = container_of(task, struct waiter, timer.task);
    struct cache *cache = waiter->cache;

    if (waiter->gate != NULL) {
        pthread_mutex_lock(&cache->lock);
        waiter->gate->is_calling = false;
        pthread_mutex_unlock(&cache->lock);
    }
    request_start(cache, waiter->req, waiter);
}

static void
call_next(struct gate *gate, bool is_room, struct todo *todo)
{
    if (!is_room || gate->is_calling || gate->queue.last == NULL)
        return;
    gate->is_calling = true;
    queue_push(&todo->again, queue_pop(&gate->queue));
}

/* Now that the next layer has all, it knows what is sought, or makes durable what it took. */
static bool
goes_on_below(const struct cache *cache, const struct store_req *req)
{
    return req->op == STORE_SEEK || (req->op == STORE_FLUSH && cache->config.next_takes_parts);
}

void
leave(struct cache *cache, struct todo *todo)
{
    struct waiter *waiter;
    struct trip *trip;
    bool must_drive = todo->drive && !cache->drive_is_queued;

    call_next(&cache->starving,
              frames_left(cache->frames) > cache->reserve || cache->idle_count > 0, todo);
    call_next(&cache->stopped, cache->dirty_count + cache->flight_count < cache->dirty_max, todo);
    call_next(&cache->zeros_full, cache->zero_count < ZEROS_MAX, todo);
    cache->drive_is_queued = cache->drive_is_queued || must_drive;
    pthread_mutex_unlock(&cache->lock);
    if (must_drive)
        pool_submit(cache->pool, &cache->drive_task);
    while ((waiter = queue_pop(&todo->serve)) != NULL)
        serve_read(cache, waiter->req, waiter);
    while ((waiter = queue_pop(&todo->ended)) != NULL) {
        struct store_req *req = waiter->req;
        int rc = waiter->rc;

        free(waiter);
        if (rc == 0 && goes_on_below(cache, req))
            store_submit(cache->next, req);
        else
            store_done(req, rc);
    }
    while ((trip = todo->send) != NULL) {
        todo->send = trip->next;
        if (trip->is_zeros) {
            memset(trip->below.data, 0, cache->config.block_bytes);
            store_done(&trip->below, 0);
        } else {
            store_submit(cache->next, &trip->below);
        }
    }
    /* As tasks: many who wake each other would call deeper and deeper. */
    while ((waiter = queue_pop(&todo->again)) != NULL) {
        waiter->timer.task.run = start_over;
        pool_submit(cache->pool, &waiter->timer.task);
    }
}

struct waiter *
waiter_of(struct cache *cache, struct store_req *req, struct waiter *waiter, struct todo *todo)
{
    if (waiter != NULL)
        return waiter;
    waiter = calloc(1, sizeof *waiter);
    if (waiter == NULL) {
        leave(cache, todo);
        store_done(req, -ENOMEM);
        return NULL;
    }
    waiter->cache = cache;
    waiter->req = req;
    waiter->came_ns = clock_now_ns();
    return waiter;
}

void
wait_in(struct cache *cache, struct queue *queue, struct store_req *req, struct waiter *waiter,
        bool needs_data, struct todo *todo)
{
    waiter = waiter_of(cache, req, waiter, todo);
    if (waiter == NULL)
        return;
    waiter->needs_data = needs_data;
    queue_push(queue, waiter);
    leave(cache, todo);
}

/* ---- sector maps */

uint64_t *
valid_map(const struct cache *cache, const struct entry *entry)
{
    return cache->maps + (size_t)(entry - cache->entries) * 2 * cache->map_words;
}

uint64_t *
dirty_map(const struct cache *cache, const struct entry *entry)
{
    return valid_map(cache, entry) + cache->map_words;
}

/* The bits of [first, end) that lie in one word. */
static uint64_t
word_mask(uint32_t word, uint32_t first, uint32_t end)
{
    uint64_t mask = UINT64_MAX;

    if (word == first / 64)
        mask &= UINT64_MAX << first % 64;
    if (word == (end - 1) / 64)
        mask &= UINT64_MAX >> (63 - (end - 1) % 64);
    return mask;
}

uint32_t
map_set(uint64_t *map, uint32_t first, uint32_t end)
{
    uint32_t count = 0;

    for (uint32_t i = first / 64; i <= (end - 1) / 64; i++) {
        uint64_t mask = word_mask(i, first, end);

        count += (uint32_t)__builtin_popcountll(mask & ~map[i]);
        map[i] |= mask;
    }
    return count;
}

uint32_t
map_add(uint64_t *map, const uint64_t *more, uint32_t words)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < words; i++) {
        count += (uint32_t)__builtin_popcountll(more[i] & ~map[i]);
        map[i] |= more[i];
    }
    return count;
}

static bool
map_has(const uint64_t *map, uint32_t first, uint32_t end)
{
    for (uint32_t i = first / 64; i <= (end - 1) / 64; i++) {
        uint64_t mask = word_mask(i, first, end);

        if ((map[i] & mask) != mask)
            return false;
    }
    return true;
}

bool
is_complete(const struct cache *cache, const struct entry *entry)
{
    return entry->valid_count == cache->sectors;
}

/* Is the next layer content with so much of it? */
static bool
may_be_clean(const struct cache *cache, const struct entry *entry)
{
    return is_complete(cache, entry) || (cache->config.next_takes_parts && entry->valid_count > 0);
}

bool
covers(const struct cache *cache, const struct entry *entry, uint32_t offset, uint32_t bytes)
{
    return is_complete(cache, entry)
           || map_has(valid_map(cache, entry), offset / SECTOR_BYTES,
                      (offset + bytes + SECTOR_BYTES - 1) / SECTOR_BYTES);
}

bool
tears_sector(const struct cache *cache, const struct entry *entry, uint32_t offset, uint32_t bytes)
{
    uint32_t end = offset + bytes;

    if (offset % SECTOR_BYTES != 0 && (entry == NULL || !covers(cache, entry, offset, 1)))
        return true;
    return end % SECTOR_BYTES != 0 && (entry == NULL || !covers(cache, entry, end - 1, 1));
}

void
set_valid(struct cache *cache, struct entry *entry, uint32_t first, uint32_t end)
{
    entry->valid_count += map_set(valid_map(cache, entry), first, end);
}

/* ---- entries */

uint32_t
slot_of(const struct cache *cache, const struct entry *entry)
{
    return (uint32_t)(entry - cache->entries);
}

static uint32_t *
bucket_of(const struct cache *cache, uint64_t block)
{
    return &cache->buckets[block * 0x9e3779b97f4a7c15ull >> cache->hash_shift];
}

struct entry *
entry_of(const struct cache *cache, uint64_t block)
{
    for (uint32_t slot = *bucket_of(cache, block); slot != SLOT_NONE;
         slot = cache->entries[slot].hash_next) {
        if (cache->entries[slot].block == block)
            return &cache->entries[slot];
    }
    return NULL;
}

struct entry *
entry_new(struct cache *cache, uint64_t block)
{
    /* Each entry has a frame at least, none of the reserve when it is new, and there are as many slots. */
    uint32_t slot = cache->free_slot;
    struct entry *entry = &cache->entries[slot];
    uint32_t *bucket = bucket_of(cache, block);

    cache->free_slot = entry->hash_next;
    cache->free_count--;
    *entry = (struct entry){ .block = (uint32_t)block,
                             .frame = FRAME_NONE,
                             .fetched = FRAME_NONE,
                             .hash_next = *bucket,
                             .is_used = true };
    *bucket = slot;
    memset(valid_map(cache, entry), 0, sizeof(uint64_t) * 2 * cache->map_words);
    evict_insert(cache->evict, slot, block);
    return entry;
}

/* `evict` does not know it any more. */
static void
entry_forget(struct cache *cache, struct entry *entry)
{
    uint32_t slot = slot_of(cache, entry);
    uint32_t *link = bucket_of(cache, entry->block);

    assert(!entry->is_dirty && !entry->is_flying && entry->readers == 0 && !entry->is_changing
           && !entry->is_fetching && entry->waiting.last == NULL);
    while (*link != slot)
        link = &cache->entries[*link].hash_next;
    *link = entry->hash_next;
    if (entry->frame != FRAME_NONE)
        frames_drop(cache->frames, entry->frame);
    cache->idle_count -= entry->is_evictable;
    list_remove(cache, entry);
    if (entry->is_ahead) {
        cache->unread_count--;
        counter_add(cache->ahead_wasted, 1);
        readahead_wasted(&cache->readahead, entry->block);
    }
    entry->is_used = false;
    entry->hash_next = cache->free_slot;
    cache->free_slot = slot;
    cache->free_count++;
}

void
entry_drop(struct cache *cache, struct entry *entry)
{
    evict_remove(cache->evict, slot_of(cache, entry));
    entry_forget(cache, entry);
}

bool
is_busy(const struct entry *entry)
{
    return entry->readers > 0 || entry->is_changing || entry->is_fetching || entry->has_arrived
           || entry->is_flying;
}

/* The state table in cache.c. */
void
entry_check(const struct cache *cache, const struct entry *entry)
{
    bool is_listed = entry->list != LIST_NONE && entry->list != LIST_AHEAD;

    assert(entry->is_used && !entry->is_changing && !entry->has_arrived);
    assert((entry->fetched != FRAME_NONE) == entry->is_fetching);
    assert(entry->frame != FRAME_NONE || (entry->valid_count == 0 && entry->is_fetching));
    assert(entry->dirty_count <= entry->valid_count);
    assert(entry->is_dirty == (entry->dirty_count > 0));
    assert(!entry->is_flying || !entry->is_fetching);
    assert(!entry->is_flying || may_be_clean(cache, entry));
    assert(!entry->is_wanted || entry->readers > 0);
    assert(!entry->is_ahead || (!entry->is_dirty && !entry->is_flying && entry->readers == 0));
    assert(!entry->is_parked || (entry->is_dirty && !entry->is_flying && cache->zeros != NULL));
    assert(!entry->is_completing || (entry->is_dirty && entry->is_fetching));
    assert(!entry->is_due || (entry->is_dirty && is_complete(cache, entry)));
    assert(!cache->config.next_takes_parts || (!entry->is_completing && !entry->is_due));
    assert(entry->is_evictable == (!entry->is_dirty && !entry->is_flying && !entry->is_fetching));
    assert(!entry->is_evictable || may_be_clean(cache, entry));
    assert(is_listed
           == (entry->is_dirty && !entry->is_flying && !entry->is_parked && !entry->is_completing));
    assert((entry->list == LIST_AHEAD) == (entry->is_ahead && entry->is_evictable));
    assert(entry->list != LIST_FULL || entry->dirty_count == cache->sectors);
    assert(entry->list != LIST_HOT || entry->is_hot);
}

/* ---- frames */

void
reader_begin(struct cache *cache, struct entry *entry)
{
    if (entry->readers++ == 0)
        cache->idle_count -= entry->is_evictable;
}

bool
reader_end(struct cache *cache, struct entry *entry)
{
    if (--entry->readers > 0)
        return false;
    cache->idle_count += entry->is_evictable;
    return true;
}

/* Make the block go that is worth least.  False: all are in use. */
static bool
evict_one(struct cache *cache)
{
    struct entry *entry;
    uint32_t slot, passed = SLOT_NONE;

    if (cache->idle_count == 0)
        return false;
    /* The few that are being read at this instant are passed over. */
    for (;;) {
        slot = evict_choose(cache->evict);
        assert(slot != EVICT_NONE);
        entry = &cache->entries[slot];
        if (entry->readers == 0)
            break;
        entry->next = passed;
        passed = slot;
    }
    for (; passed != SLOT_NONE; passed = cache->entries[passed].next)
        evict_unchoose(cache->evict, passed);
    entry_forget(cache, entry);
    counter_add(cache->evictions, 1);
    return true;
}

uint32_t
frame_get(struct cache *cache, bool is_completing)
{
    uint32_t keep = is_completing ? 0 : cache->reserve;

    while (frames_left(cache->frames) <= keep) {
        if (!evict_one(cache))
            return FRAME_NONE;
    }
    return frames_take(cache->frames);
}

void
entry_update_evictable(struct cache *cache, struct entry *entry)
{
    bool is_evictable = !entry->is_dirty && !entry->is_fetching && !entry->has_arrived
                        && !entry->is_changing && !entry->is_flying;

    assert(!is_evictable || may_be_clean(cache, entry));
    if (is_evictable == entry->is_evictable)
        return;
    entry->is_evictable = is_evictable;
    if (is_evictable)
        evict_release(cache->evict, slot_of(cache, entry));
    else
        evict_hold(cache->evict, slot_of(cache, entry));
    if (entry->readers == 0 && is_evictable)
        cache->idle_count++;
    else if (entry->readers == 0)
        cache->idle_count--;
    if (is_evictable && cache->config.idle_ns > 0)
        entry->at_ns = clock_now_ns();
}

void
wait_at(struct cache *cache, struct gate *gate, struct store_req *req, struct waiter *waiter,
        struct counter *counter, struct todo *todo)
{
    todo->drive = true;
    waiter = waiter_of(cache, req, waiter, todo);
    if (waiter == NULL)
        return;
    waiter->needs_data = false;
    if (waiter->gate == gate) {
        queue_push_first(&gate->queue, waiter);
    } else {
        counter_add(counter, 1);
        queue_push(&gate->queue, waiter);
    }
    waiter->gate = gate;
    leave(cache, todo);
}

void
starve(struct cache *cache, struct store_req *req, struct waiter *waiter, struct todo *todo)
{
    wait_at(cache, &cache->starving, req, waiter, cache->starved, todo);
}
