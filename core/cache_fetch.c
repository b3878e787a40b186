/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks fetched, and what goes on when an entry is less busy than before. */
#include "cache_impl.h"

#include "base/clock.h"
#include "base/util.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void fetch_done(struct store_req *below);

struct trip *
trip_new(struct cache *cache, enum store_op op, const struct entry *entry, uint32_t frame,
         void (*done)(struct store_req *below))
{
    bool is_part = op == STORE_WRITE && !is_complete(cache, entry);
    size_t map_bytes = is_part ? sizeof(uint64_t) * cache->map_words : 0;
    struct trip *trip = calloc(1, sizeof *trip + map_bytes);

    if (trip == NULL)
        return NULL;
    trip->cache = cache;
    trip->slot = slot_of(cache, entry);
    trip->frame = frame;
    trip->below = (struct store_req){ .op = op,
                                      .block = entry->block,
                                      .bytes = cache->config.block_bytes,
                                      .data = frames_data(cache->frames, frame),
                                      .done = done };
    if (is_part) /* a copy: more of it may become valid before the trip ends */
        trip->below.valid = memcpy(trip + 1, valid_map(cache, entry), map_bytes);
    return trip;
}

bool
fetch_start(struct cache *cache, struct entry *entry, uint32_t frame, struct todo *todo)
{
    struct trip *trip = trip_new(cache, STORE_READ, entry, frame, fetch_done);

    if (trip == NULL) {
        frames_drop(cache->frames, frame);
        return false;
    }
    entry->is_fetching = true;
    entry->fetched = frame;
    entry_update_evictable(cache, entry);
    trip->is_ahead = entry->is_ahead;
    trip->below.is_over = trip->is_ahead ? &cache->is_ending : NULL;
    trip->is_zeros = store_is_zero(cache->next, entry->block);
    cache->ahead_count += trip->is_ahead;
    cache->fetch_count++;
    send_later(todo, trip);
    return true;
}

struct entry *
fetch_for(struct cache *cache, struct entry *entry, struct store_req *req, struct waiter **waiter,
          struct todo *todo)
{
    uint32_t frame;

    if (entry != NULL && (entry->is_fetching || entry->is_flying))
        return entry;
    *waiter = waiter_of(cache, req, *waiter, todo);
    if (*waiter == NULL)
        return NULL;
    frame = frame_get(cache, false);
    if (frame == FRAME_NONE) {
        starve(cache, req, *waiter, todo);
        return NULL;
    }
    if (entry != NULL)
        entry = entry_of(cache, req->block); /* a clean one may have made room itself */
    if (entry == NULL)
        entry = entry_new(cache, req->block);
    if (!fetch_start(cache, entry, frame, todo)) {
        (*waiter)->rc = -ENOMEM;
        queue_push(&todo->ended, *waiter);
        if (entry->frame == FRAME_NONE)
            entry_drop(cache, entry);
        leave(cache, todo);
        return NULL;
    }
    counter_add(cache->partial_fetches, entry->frame != FRAME_NONE);
    return entry;
}

/* ---- when an entry is less busy than before */

/* Under is_changing: what was fetched becomes the sectors that are not valid.  (Readers may be at others.) */
static void
merge(struct cache *cache, struct entry *entry)
{
    const char *from = frames_data(cache->frames, entry->fetched);
    char *to = frames_data(cache->frames, entry->frame);
    const uint64_t *valid = valid_map(cache, entry);

    for (uint32_t sector = 0; sector < cache->sectors;) {
        uint32_t first = sector;

        while (sector < cache->sectors && !(valid[sector / 64] >> sector % 64 & 1))
            sector++;
        memcpy(to + (size_t)first * SECTOR_BYTES, from + (size_t)first * SECTOR_BYTES,
               (size_t)(sector - first) * SECTOR_BYTES);
        while (sector < cache->sectors && valid[sector / 64] >> sector % 64 & 1)
            sector++;
    }
}

static void
take_arrived(struct cache *cache, struct entry *entry)
{
    if (entry->frame == FRAME_NONE) {
        entry->frame = entry->fetched;
    } else {
        entry->is_changing = true;
        pthread_mutex_unlock(&cache->lock);
        merge(cache, entry);
        pthread_mutex_lock(&cache->lock);
        entry->is_changing = false;
        frames_drop(cache->frames, entry->fetched);
    }
    entry->fetched = FRAME_NONE;
    entry->has_arrived = false;
    set_valid(cache, entry, 0, cache->sectors);
    if (entry->is_completing) {
        entry->is_completing = false;
        entry->is_due = true;
        cache->completing_count--;
    }
}

void
note_used(struct cache *cache, struct entry *entry)
{
    evict_touch(cache->evict, slot_of(cache, entry));
    if (cache->config.idle_ns > 0 && !cache->config.is_reader && !entry->is_dirty)
        entry->at_ns = clock_now_ns();
    if (!entry->is_ahead)
        return;
    entry->is_ahead = false;
    if (entry->list == LIST_AHEAD)
        list_remove(cache, entry);
    cache->unread_count--;
    counter_add(cache->ahead_used, 1);
}

/* What is missing is being fetched, or cannot be yet. */
static bool
is_data_to_come(const struct cache *cache, const struct entry *entry)
{
    return entry->is_fetching || (entry->is_flying && !is_complete(cache, entry));
}

/* Those who wait for the entry, in their order: reads of what is there are served, but for those behind a write; others
 * start over once there are no readers.  Who needs what is being fetched, or can't be yet, stays. */
static void
go_on(struct cache *cache, struct entry *entry, struct todo *todo)
{
    struct queue stay = { NULL };
    bool is_blocked = entry->is_wanted;
    struct waiter *waiter;

    while ((waiter = queue_pop(&entry->waiting)) != NULL) {
        const struct store_req *req = waiter->req;

        if (req->op == STORE_READ && !is_blocked && covers(cache, entry, req->offset, req->bytes)) {
            reader_begin(cache, entry);
            note_used(cache, entry);
            queue_push(&todo->serve, waiter);
        } else if (waiter->needs_data && is_data_to_come(cache, entry)) {
            queue_push(&stay, waiter);
        } else if (entry->readers == 0) {
            queue_push(&todo->again, waiter);
            is_blocked = is_blocked || req->op == STORE_WRITE;
        } else {
            queue_push(&stay, waiter);
            is_blocked = true;
        }
    }
    entry->waiting = stay;
    entry->is_wanted = is_blocked && entry->readers > 0;
}

void
entry_settle(struct cache *cache, struct entry *entry, struct todo *todo)
{
    struct zero *zero;

    if (entry->is_changing)
        return;
    if (entry->has_arrived)
        take_arrived(cache, entry);
    zero = cache->zeros != NULL ? zero_covering(cache, entry->block, entry->block) : NULL;
    if (zero != NULL && !zero->is_sent) {
        if (is_busy(entry))
            return;
        zero_take(cache, zero, entry);
        if (--zero->pending == 0)
            zero_ready(cache, zero, todo);
        return;
    }
    if (entry->readers == 0)
        entry->is_wanted = false;
    go_on(cache, entry, todo);
    entry_update_evictable(cache, entry);
    entry_list(cache, entry);
    if (is_due_now(cache, entry))
        todo->drive = true;
    entry_check(cache, entry);
}

static void
fail_waiting(struct entry *entry, int rc, struct todo *todo)
{
    struct queue all = entry->waiting;
    struct waiter *waiter;

    entry->waiting.last = NULL;
    while ((waiter = queue_pop(&all)) != NULL) {
        waiter->rc = rc;
        queue_push(waiter->needs_data ? &todo->ended : &todo->again, waiter);
    }
}

static void
fetch_done(struct store_req *below)
{
    struct trip *trip = container_of(below, struct trip, below);
    struct cache *cache = trip->cache;
    struct entry *entry = &cache->entries[trip->slot];
    int rc = below->rc;
    struct todo todo = { 0 };

    pthread_mutex_lock(&cache->lock);
    cache->ahead_count -= trip->is_ahead;
    entry->is_fetching = false;
    if (rc == 0) {
        entry->has_arrived = true;
    } else {
        frames_drop(cache->frames, entry->fetched);
        entry->fetched = FRAME_NONE;
        fail_waiting(entry, rc, &todo);
        if (entry->is_completing && is_complete(cache, entry)) {
            /* All of it has been written meanwhile. */
            entry->is_completing = false;
            entry->is_due = true;
            cache->completing_count--;
        } else if (entry->is_completing) {
            uint64_t since = entry->since;

            entry->is_completing = false;
            cache->completing_count--;
            /* Its dirty version goes on under a new number. */
            cache->unsaved++;
            entry->since = ++cache->sequence;
            store_failed(cache, entry, since, rc, &todo);
        }
    }
    free(trip);
    if (entry->frame == FRAME_NONE && rc != 0 && !entry->is_changing) {
        struct zero *zero = zero_covering(cache, entry->block, entry->block);

        if (zero != NULL && !zero->is_sent && --zero->pending == 0)
            zero_ready(cache, zero, &todo);
        entry_drop(cache, entry);
    } else {
        entry_settle(cache, entry, &todo);
    }
    cache->fetch_count--; /* now that what arrived is merged */
    pthread_cond_broadcast(&cache->idle);
    leave(cache, &todo);
}
