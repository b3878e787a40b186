/* SPDX-License-Identifier: Apache-2.0 */
/* The block cache.
 *
 * ENTRIES.  A cached block has an entry; its data is a frame.  Which sectors of it are valid, and which are dirty, are
 * two bit maps.  An entry is in several of these states at once:
 *
 *   readers > 0     somebody copies out of the frame, which must not change
 *   is_changing     somebody copies into it, alone; implies readers == 0
 *   is_fetching     the next layer reads the whole block into the frame `fetched`; what arrives becomes the rest
 *                   of the block: valid sectors are newer
 *   is_dirty        holds what the store does not have and no flight carries
 *   flight          the next layer stores `flight->frame`, all sectors of it valid.  Who writes to the block
 *                   meanwhile gets a fresh frame (copy on write), and the entry is dirty again
 *
 *   may be           evicted   stored   written to       read                    zeroed
 *   clean, idle      yes       -        yes              yes (it is complete)    yes
 *   dirty, idle      no        yes      yes              valid sectors           yes
 *   readers          no        yes      waits            valid sectors           waits
 *   is_changing      no        no       waits            waits                   waits
 *   is_fetching      no        no       whole sectors    valid sectors           waits
 *   flight           no        no       yes, by copying  yes                     waits
 *
 * What is neither dirty, nor in flight, nor being fetched or changed, is complete, and is `evict`'s to choose.
 * So there is at most one request for a block at the next layer at any time.
 *
 * WAITING.  A request that must wait is kept in a queue, and starts over when what it waits for has happened: its entry
 * is idle (entry->waiting), there is a frame (`starving`), fewer blocks are dirty (`stopped`), a zeroing is on its way
 * (zero->waiting).  Only reads of what was just fetched are served at once, else a small cache might evict the block first.
 *
 * FRAMES.  The last `reserve` frames are only for completing dirty blocks that lack sectors, so that dirty blocks can
 * always be stored, however small the cache.
 *
 * ZEROS.  A zero first drops all entries in its range, waiting for busy ones (`pending`), and holds up all new requests
 * there.  Then it is sent, and done for who asked: from now on reads find zeros, new entries begin as zeros, and
 * are not stored (is_parked) before the zero is.  It stands for the dirty data that it dropped.
 *
 * FLUSH.  What the store lacks is counted in `unsaved`: dirty entries, flights, zeros.  Each has the number of its first
 * write in `since`.  A flush waits until all that was unsaved when it came has been stored or has failed; what fails
 * is unsaved again, with a new number.
 *
 * cache->lock guards all of this.  It is not held while copying data or calling out, but for store_is_zero.  What is to
 * be done after unlocking is collected in a struct todo. */
#include "cache.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "evict.h"
#include "frames.h"
#include "readahead.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SLOT_NONE UINT32_MAX
#define ZEROS_MAX 256u
#define FAILED_PAUSE_NS (5 * NS_PER_S)
#define PICK_STEPS 64u
/* Writers are slowed from three quarters of the dirty limit on, so that they never find it reached. */
#define SLOW_FROM(limit) ((limit) - (limit) / 4)
#define SLOW_LIMIT_MIN 16u
#define SLOW_MIN_NS (100000ull)
#define SLOW_MAX_NS (NS_PER_S)

/* Which dirty list an entry is in. */
enum list {
    LIST_NONE,
    LIST_FULL,   /* every sector is dirty: nothing to wait for */
    LIST_SOME,   /* oldest first */
    LIST_FAILED, /* not before due_ns */
    LIST_COUNT,
};

/* A request that waits. */
struct waiter {
    struct store_req *req;
    struct waiter *next;
    struct cache *cache;
    struct timer timer;
    bool needs_data;  /* waits for the fetch, and fails with it */
    bool is_admitted; /* has been slowed */
    bool has_starved; /* goes first when it starves again */
    int rc;
};

struct queue {
    struct waiter *first, *last;
};

struct entry {
    uint64_t block;
    uint64_t since;    /* dirty */
    uint64_t dirty_ns; /* when it became dirty */
    uint64_t
        due_ns; /* dirty: when it should be stored; clean: when it was last used, if idle_ns is set */
    struct queue waiting;
    struct trip *flight;
    uint32_t hash_next;
    uint32_t next, prev; /* in its dirty list */
    uint32_t frame, fetched;
    uint32_t valid_count, dirty_count; /* sectors */
    uint32_t readers;
    uint8_t list;
    bool is_used : 1; /* the slot */
    bool is_changing : 1;
    bool is_fetching : 1;
    bool has_arrived : 1; /* `fetched` holds the block */
    bool is_dirty : 1;
    bool is_parked : 1;     /* dirty under a zero that is not stored yet */
    bool is_completing : 1; /* fetched to be stored */
    bool is_due : 1;        /* dirty and fetched to be stored: goes first */
    bool is_ahead : 1;      /* fetched ahead and not read yet */
    bool is_evictable : 1;  /* evict may choose it */
};

_Static_assert(sizeof(struct entry) <= 104,
               "with evict's and frames' share at most 128 bytes a block");

enum trip_kind {
    TRIP_FETCH,
    TRIP_FLIGHT,
    TRIP_ZERO,
};

/* One request to the next layer. */
struct trip {
    struct store_req below;
    struct cache *cache;
    struct trip *next;
    enum trip_kind kind;
    uint32_t slot, frame;
    uint64_t since;
    bool is_ahead;
};

struct zero {
    struct trip trip;
    struct zero *next;
    uint64_t first, last;
    uint64_t since;
    uint64_t pending; /* busy entries in its range */
    uint64_t due_ns;  /* failed: when it is tried again */
    bool is_sent;     /* once */
    bool is_under_way;
    struct waiter *waiter; /* who asked, until it is sent */
    struct queue waiting;
};

struct flush {
    struct flush *next;
    struct waiter *waiter;
    uint64_t since;
    uint64_t left; /* unsaved things that it waits for */
    int rc;
};

struct cache {
    struct store store;
    struct cache_config config; /* these: fixed after cache_new */
    struct store *next;
    struct pool *pool;
    uint32_t sectors;   /* in a block */
    uint32_t map_words; /* of one map */
    uint32_t slot_count, reserve;
    uint32_t dirty_max;
    uint32_t hash_shift;

    pthread_mutex_t lock; /* guards the rest; before consistency.lock */
    pthread_cond_t idle;  /* no task of ours is queued or running */
    struct entry *entries;
    uint64_t *maps; /* for each slot: valid, then dirty */
    uint32_t *buckets;
    uint32_t *free_slots, free_count;
    struct frames *frames;
    struct evict *evict;
    struct readahead readahead;
    struct queue starving, stopped, zeros_full;
    struct {
        uint32_t first, last;
    } dirty[LIST_COUNT];
    uint32_t dirty_count;  /* entries */
    uint32_t flight_count; /* flights and completing fetches */
    uint32_t ahead_count;  /* fetches ahead under way */
    uint32_t unread_count; /* entries with is_ahead */
    uint64_t unsaved;      /* see FLUSH */
    uint64_t sequence;     /* the last number given */
    struct zero *zeros;    /* newest first */
    uint32_t zero_count;
    struct flush *flushes;
    uint64_t admit_ns;     /* the last slowed writer goes on */
    uint64_t drained_ns;   /* the last flight ended */
    uint64_t drain_gap_ns; /* time from one flight's end to the next one's, smoothed */
    bool is_driving, drive_again, drive_is_queued;
    bool timer_is_set, idle_timer_is_set;
    struct task drive_task;
    struct timer timer, idle_timer;

    struct counter *read_hits, *read_misses, *write_hits, *write_misses, *evictions,
        *partial_fetches;
    struct counter *ahead_fetched, *ahead_used, *ahead_wasted, *stored, *store_failures, *copies;
    struct counter *slowed, *slowed_ms, *stopped_writes, *starved;
};

/* What to do when the lock is given back. */
struct todo {
    struct queue again; /* requests that start over */
    struct queue serve; /* reads that hold their block as readers */
    struct queue ended; /* requests that are done, with rc */
    struct trip *send, **send_last;
    bool drive;
};

static void request_start(struct cache *cache, struct store_req *req, struct waiter *waiter);
static void serve_read(struct cache *cache, struct store_req *req, struct waiter *waiter);

/* ---- queues */

static void
queue_push(struct queue *queue, struct waiter *waiter)
{
    waiter->next = NULL;
    if (queue->first == NULL)
        queue->first = waiter;
    else
        queue->last->next = waiter;
    queue->last = waiter;
}

static struct waiter *
queue_pop(struct queue *queue)
{
    struct waiter *waiter = queue->first;

    if (waiter != NULL)
        queue->first = waiter->next;
    return waiter;
}

static void
queue_move(struct queue *from, struct queue *to)
{
    if (from->first == NULL)
        return;
    if (to->first == NULL)
        to->first = from->first;
    else
        to->last->next = from->first;
    to->last = from->last;
    from->first = NULL;
}

static void
request_end(struct store_req *req, struct waiter *waiter, int rc)
{
    free(waiter);
    store_done(req, rc);
}

static void
send_later(struct todo *todo, struct trip *trip)
{
    trip->next = NULL;
    if (todo->send == NULL)
        todo->send_last = &todo->send;
    *todo->send_last = trip;
    todo->send_last = &trip->next;
}

/* Give the lock back and do what has come up. */
static void
leave(struct cache *cache, struct todo *todo)
{
    struct waiter *waiter;
    struct trip *trip;

    bool must_drive = todo->drive && !cache->drive_is_queued;

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
        /* What it asks for is known below, now that all is stored. */
        if (req->op == STORE_SEEK && rc == 0)
            store_submit(cache->next, req);
        else
            store_done(req, rc);
    }
    while ((trip = todo->send) != NULL) {
        todo->send = trip->next;
        store_submit(cache->next, &trip->below);
    }
    while ((waiter = queue_pop(&todo->again)) != NULL)
        request_start(cache, waiter->req, waiter);
}

/* Gives one for the request, or answers it: then NULL, and the lock is given back. */
static struct waiter *
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
    return waiter;
}

/* Keep the request, and give back the lock. */
static void
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

static uint64_t *
valid_map(const struct cache *cache, const struct entry *entry)
{
    return cache->maps + (size_t)(entry - cache->entries) * 2 * cache->map_words;
}

static uint64_t *
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

/* Returns how many were not set. */
static uint32_t
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

static bool
is_complete(const struct cache *cache, const struct entry *entry)
{
    return entry->valid_count == cache->sectors;
}

/* Is every sector valid that [offset, offset + bytes) touches? */
static bool
covers(const struct cache *cache, const struct entry *entry, uint32_t offset, uint32_t bytes)
{
    return is_complete(cache, entry)
           || map_has(valid_map(cache, entry), offset / SECTOR_BYTES,
                      (offset + bytes + SECTOR_BYTES - 1) / SECTOR_BYTES);
}

/* Would writing there need what is stored: does it begin or end inside a sector that is not valid? */
static bool
tears_sector(const struct cache *cache, const struct entry *entry, uint32_t offset, uint32_t bytes)
{
    uint32_t end = offset + bytes;

    if (offset % SECTOR_BYTES != 0 && (entry == NULL || !covers(cache, entry, offset, 1)))
        return true;
    return end % SECTOR_BYTES != 0 && (entry == NULL || !covers(cache, entry, end - 1, 1));
}

static void
set_valid(struct cache *cache, struct entry *entry, uint32_t first, uint32_t end)
{
    entry->valid_count += map_set(valid_map(cache, entry), first, end);
}

/* ---- entries */

static uint32_t
slot_of(const struct cache *cache, const struct entry *entry)
{
    return (uint32_t)(entry - cache->entries);
}

static uint32_t *
bucket_of(const struct cache *cache, uint64_t block)
{
    return &cache->buckets[block * 0x9e3779b97f4a7c15ull >> cache->hash_shift];
}

static struct entry *
entry_find(const struct cache *cache, uint64_t block)
{
    for (uint32_t slot = *bucket_of(cache, block); slot != SLOT_NONE;
         slot = cache->entries[slot].hash_next) {
        if (cache->entries[slot].block == block)
            return &cache->entries[slot];
    }
    return NULL;
}

static struct entry *
entry_new(struct cache *cache, uint64_t block)
{
    /* Each entry has a frame at least, and there are as many slots. */
    uint32_t slot = cache->free_slots[--cache->free_count];
    struct entry *entry = &cache->entries[slot];
    uint32_t *bucket = bucket_of(cache, block);

    *entry = (struct entry){ .block = block,
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

    assert(!entry->is_dirty && entry->flight == NULL && entry->readers == 0 && !entry->is_changing
           && !entry->is_fetching && entry->waiting.first == NULL);
    while (*link != slot)
        link = &cache->entries[*link].hash_next;
    *link = entry->hash_next;
    if (entry->frame != FRAME_NONE)
        frames_drop(cache->frames, entry->frame);
    if (entry->is_ahead) {
        cache->unread_count--;
        counter_add(cache->ahead_wasted, 1);
        readahead_wasted(&cache->readahead, entry->block);
    }
    entry->is_used = false;
    cache->free_slots[cache->free_count++] = slot;
}

static void
entry_drop(struct cache *cache, struct entry *entry)
{
    evict_remove(cache->evict, slot_of(cache, entry));
    entry_forget(cache, entry);
}

static bool
is_busy(const struct entry *entry)
{
    return entry->readers > 0 || entry->is_changing || entry->is_fetching || entry->has_arrived
           || entry->flight != NULL;
}

/* ---- frames */

/* Make the block go that is worth least.  False: all are in use. */
static bool
evict_one(struct cache *cache)
{
    for (unsigned tries = 0; tries < 8; tries++) {
        uint32_t slot = evict_choose(cache->evict);
        struct entry *entry;

        if (slot == EVICT_NONE)
            return false;
        entry = &cache->entries[slot];
        if (entry->readers == 0 && entry->waiting.first == NULL) {
            entry_forget(cache, entry);
            counter_add(cache->evictions, 1);
            return true;
        }
        evict_insert(cache->evict, slot, entry->block);
        evict_release(cache->evict, slot);
    }
    return false;
}

/* FRAME_NONE when there is none now. */
static uint32_t
frame_get(struct cache *cache, bool is_completing)
{
    uint32_t keep = is_completing ? 0 : cache->reserve;

    while (frames_left(cache->frames) <= keep) {
        if (!evict_one(cache))
            return FRAME_NONE;
    }
    return frames_take(cache->frames);
}

/* There may be a frame: the oldest one that waits for one tries again.  When it is done, it lets the next one try. */
static void
feed(struct cache *cache, struct todo *todo)
{
    if (cache->starving.first != NULL)
        queue_push(&todo->again, queue_pop(&cache->starving));
}

static void
frame_put(struct cache *cache, uint32_t frame, struct todo *todo)
{
    frames_drop(cache->frames, frame);
    feed(cache, todo);
}

/* Let `evict` have it if it may go. */
static void
entry_update_evictable(struct cache *cache, struct entry *entry, struct todo *todo)
{
    bool is_evictable = !entry->is_dirty && !entry->is_fetching && !entry->has_arrived
                        && !entry->is_changing && entry->flight == NULL;

    assert(!is_evictable || is_complete(cache, entry));
    if (is_evictable == entry->is_evictable)
        return;
    entry->is_evictable = is_evictable;
    if (is_evictable)
        evict_release(cache->evict, slot_of(cache, entry));
    else
        evict_hold(cache->evict, slot_of(cache, entry));
    if (is_evictable && cache->config.idle_ns > 0)
        entry->due_ns = clock_now_ns();
    if (is_evictable)
        feed(cache, todo);
}

static void
starve(struct cache *cache, struct store_req *req, struct waiter *waiter, struct todo *todo)
{
    todo->drive = true;
    waiter = waiter_of(cache, req, waiter, todo);
    if (waiter == NULL)
        return;
    waiter->needs_data = false;
    if (!waiter->has_starved) {
        counter_add(cache->starved, 1);
        waiter->has_starved = true;
        queue_push(&cache->starving, waiter);
    } else {
        waiter->next = cache->starving.first;
        if (cache->starving.first == NULL)
            cache->starving.last = waiter;
        cache->starving.first = waiter;
    }
    leave(cache, todo);
}

/* ---- what is not stored yet */

static void
list_remove(struct cache *cache, struct entry *entry)
{
    uint32_t *first = &cache->dirty[entry->list].first, *last = &cache->dirty[entry->list].last;

    if (entry->list == LIST_NONE)
        return;
    if (entry->prev != SLOT_NONE)
        cache->entries[entry->prev].next = entry->next;
    else
        *first = entry->next;
    if (entry->next != SLOT_NONE)
        cache->entries[entry->next].prev = entry->prev;
    else
        *last = entry->prev;
    entry->list = LIST_NONE;
}

static void
list_add(struct cache *cache, struct entry *entry, enum list list)
{
    uint32_t slot = slot_of(cache, entry), last = cache->dirty[list].last;

    list_remove(cache, entry);
    entry->list = (uint8_t)list;
    entry->prev = last;
    entry->next = SLOT_NONE;
    if (last != SLOT_NONE)
        cache->entries[last].next = slot;
    else
        cache->dirty[list].first = slot;
    cache->dirty[list].last = slot;
}

/* In front of all others. */
static void
list_add_first(struct cache *cache, struct entry *entry, enum list list)
{
    uint32_t slot = slot_of(cache, entry), first = cache->dirty[list].first;

    list_remove(cache, entry);
    entry->list = (uint8_t)list;
    entry->prev = SLOT_NONE;
    entry->next = first;
    if (first != SLOT_NONE)
        cache->entries[first].prev = slot;
    else
        cache->dirty[list].last = slot;
    cache->dirty[list].first = slot;
}

/* A dirty entry that could be stored is in a list; no other one. */
static void
entry_list(struct cache *cache, struct entry *entry)
{
    enum list list = LIST_NONE;

    if (entry->is_dirty && entry->flight == NULL && !entry->is_completing && !entry->is_parked)
        list = entry->list == LIST_FAILED             ? LIST_FAILED
               : entry->dirty_count == cache->sectors ? LIST_FULL
                                                      : LIST_SOME;
    if (list == LIST_NONE)
        list_remove(cache, entry);
    else if (list != entry->list && entry->is_due)
        list_add_first(cache, entry, list);
    else if (list != entry->list)
        list_add(cache, entry, list);
}

static void
entry_dirty(struct cache *cache, struct entry *entry)
{
    assert(!entry->is_dirty);
    entry->is_dirty = true;
    entry->since = ++cache->sequence;
    entry->dirty_ns = clock_now_ns();
    entry->due_ns = entry->dirty_ns + cache->config.write_delay_ns;
    cache->dirty_count++;
    cache->unsaved++;
}

static void
entry_not_dirty(struct cache *cache, struct entry *entry)
{
    entry->is_dirty = false;
    entry->is_parked = false;
    entry->is_due = false;
    entry->dirty_count = 0;
    memset(dirty_map(cache, entry), 0, sizeof(uint64_t) * cache->map_words);
    cache->dirty_count--;
    list_remove(cache, entry);
}

/* Answer who waits when what is unsaved now is saved. */
static void
flush_add(struct cache *cache, struct waiter *waiter, struct todo *todo)
{
    struct flush *flush = cache->unsaved > 0 ? calloc(1, sizeof *flush) : NULL;

    if (flush == NULL) {
        waiter->rc = cache->unsaved > 0 ? -ENOMEM : 0;
        queue_push(&todo->ended, waiter);
        return;
    }
    flush->waiter = waiter;
    flush->since = cache->sequence;
    flush->left = cache->unsaved;
    flush->next = cache->flushes;
    cache->flushes = flush;
    todo->drive = true;
}

static void
flush_end(struct flush *flush, struct todo *todo)
{
    flush->waiter->rc = flush->rc;
    queue_push(&todo->ended, flush->waiter);
    free(flush);
}

/* What was unsaved since that number is saved, or has failed. */
static void
unsaved_end(struct cache *cache, uint64_t since, int rc, struct todo *todo)
{
    cache->unsaved--;
    for (struct flush **link = &cache->flushes; *link != NULL;) {
        struct flush *flush = *link;

        if (flush->since >= since) {
            if (flush->rc == 0)
                flush->rc = rc;
            if (--flush->left == 0) {
                *link = flush->next;
                flush_end(flush, todo);
                continue;
            }
        }
        link = &flush->next;
    }
}

/* A zero drops a dirty entry: whoever waits for that waits for the zero from now on. */
static void
unsaved_moves(struct cache *cache, const struct entry *entry, struct zero *zero)
{
    cache->unsaved--;
    for (struct flush *flush = cache->flushes; flush != NULL; flush = flush->next) {
        if (flush->since >= entry->since && flush->since >= zero->since)
            flush->left--; /* it waits for both; never the last one */
    }
    if (entry->since < zero->since)
        zero->since = entry->since;
}

static bool
is_under_pressure(const struct cache *cache)
{
    return cache->starving.first != NULL || cache->stopped.first != NULL
           || cache->dirty_count + cache->flight_count >= SLOW_FROM(cache->dirty_max);
}

/* ---- zeros */

/* The zero that covers the block; the one that is not sent yet, if there is one. */
static struct zero *
zero_covering(const struct cache *cache, uint64_t first, uint64_t last)
{
    struct zero *found = NULL;

    for (struct zero *zero = cache->zeros; zero != NULL; zero = zero->next) {
        if (zero->first > last || zero->last < first)
            continue;
        found = zero;
        if (!zero->is_sent)
            break;
    }
    return found;
}

static void
zero_send(struct cache *cache, struct zero *zero, struct todo *todo)
{
    zero->is_under_way = true;
    zero->trip.cache = cache;
    zero->trip.kind = TRIP_ZERO;
    zero->trip.below.op = STORE_ZERO;
    zero->trip.below.block = zero->first;
    zero->trip.below.count = zero->last - zero->first + 1;
    send_later(todo, &zero->trip);
}

/* Nothing of its range is cached any more: it goes, and who asked can go on. */
static void
zero_ready(struct cache *cache, struct zero *zero, struct todo *todo)
{
    zero->is_sent = true;
    zero->waiter->rc = 0;
    queue_push(&todo->ended, zero->waiter);
    zero->waiter = NULL;
    queue_move(&zero->waiting, &todo->again);
    zero_send(cache, zero, todo);
}

/* The idle entry goes, because of the zero; what it held that was not stored is the zero's now. */
static void
zero_take(struct cache *cache, struct zero *zero, struct entry *entry)
{
    if (entry->is_dirty) {
        unsaved_moves(cache, entry, zero);
        entry_not_dirty(cache, entry);
    }
    queue_move(&entry->waiting, &zero->waiting);
    entry_drop(cache, entry);
}

/* Call `visit` for each entry in [first, last]; it may drop the entry. */
static void
entries_in(struct cache *cache, uint64_t first, uint64_t last, struct zero *zero,
           void (*visit)(struct cache *cache, struct zero *zero, struct entry *entry))
{
    if (last - first < cache->slot_count) {
        for (uint64_t block = first; block <= last; block++) {
            struct entry *entry = entry_find(cache, block);

            if (entry != NULL)
                visit(cache, zero, entry);
        }
        return;
    }
    for (uint32_t slot = 0; slot < cache->slot_count; slot++) {
        struct entry *entry = &cache->entries[slot];

        if (entry->is_used && entry->block >= first && entry->block <= last)
            visit(cache, zero, entry);
    }
}

static void
zero_meets(struct cache *cache, struct zero *zero, struct entry *entry)
{
    if (is_busy(entry))
        zero->pending++;
    else
        zero_take(cache, zero, entry);
}

static void
zero_leaves(struct cache *cache, struct zero *zero, struct entry *entry)
{
    (void)zero;
    if (entry->is_parked && zero_covering(cache, entry->block, entry->block) == NULL) {
        entry->is_parked = false;
        entry_list(cache, entry);
    }
}

/* ---- trips to the next layer */

static void fetch_done(struct store_req *below);
static void flight_done(struct store_req *below);
static void zero_done(struct store_req *below);

static struct trip *
trip_new(struct cache *cache, enum trip_kind kind, const struct entry *entry, uint32_t frame)
{
    struct trip *trip = calloc(1, sizeof *trip);

    if (trip == NULL)
        return NULL;
    trip->cache = cache;
    trip->kind = kind;
    trip->slot = slot_of(cache, entry);
    trip->frame = frame;
    trip->below = (struct store_req){ .op = kind == TRIP_FETCH ? STORE_READ : STORE_WRITE,
                                      .block = entry->block,
                                      .bytes = cache->config.block_bytes,
                                      .data = frames_data(cache->frames, frame),
                                      .done = kind == TRIP_FETCH ? fetch_done : flight_done };
    return trip;
}

/* Takes the frame.  False: out of memory. */
static bool
fetch_start(struct cache *cache, struct entry *entry, uint32_t frame, struct todo *todo)
{
    struct trip *trip = trip_new(cache, TRIP_FETCH, entry, frame);

    if (trip == NULL) {
        frames_drop(cache->frames, frame);
        return false;
    }
    entry->is_fetching = true;
    entry->fetched = frame;
    entry_update_evictable(cache, entry, todo);
    trip->is_ahead = entry->is_ahead;
    cache->ahead_count += trip->is_ahead;
    send_later(todo, trip);
    return true;
}

/* For a request that needs more of the block than there is: fetch it and let the request wait. */
static void
fetch_and_wait(struct cache *cache, struct entry *entry, struct store_req *req,
               struct waiter *waiter, struct todo *todo)
{
    uint32_t frame;

    if (entry != NULL && entry->is_fetching) {
        wait_in(cache, &entry->waiting, req, waiter, true, todo);
        return;
    }
    waiter = waiter_of(cache, req, waiter, todo);
    if (waiter == NULL)
        return;
    frame = frame_get(cache, false);
    if (frame == FRAME_NONE) {
        starve(cache, req, waiter, todo);
        return;
    }
    if (entry == NULL)
        entry = entry_new(cache, req->block);
    if (!fetch_start(cache, entry, frame, todo)) {
        waiter->rc = -ENOMEM;
        queue_push(&todo->ended, waiter);
        if (entry->frame == FRAME_NONE)
            entry_drop(cache, entry);
        leave(cache, todo);
        return;
    }
    counter_add(cache->partial_fetches, entry->frame != FRAME_NONE);
    wait_in(cache, &entry->waiting, req, waiter, true, todo);
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
take_arrived(struct cache *cache, struct entry *entry, struct todo *todo)
{
    if (entry->frame == FRAME_NONE) {
        entry->frame = entry->fetched;
    } else {
        entry->is_changing = true;
        pthread_mutex_unlock(&cache->lock);
        merge(cache, entry);
        pthread_mutex_lock(&cache->lock);
        entry->is_changing = false;
        frame_put(cache, entry->fetched, todo);
    }
    entry->fetched = FRAME_NONE;
    entry->has_arrived = false;
    set_valid(cache, entry, 0, cache->sectors);
    if (entry->is_completing) {
        entry->is_completing = false;
        entry->is_due = true;
        cache->flight_count--;
    }
}

/* A block that was read ahead is wanted now. */
static void
note_used(struct cache *cache, struct entry *entry)
{
    evict_touch(cache->evict, slot_of(cache, entry));
    if (cache->config.idle_ns > 0 && !entry->is_dirty)
        entry->due_ns = clock_now_ns();
    if (!entry->is_ahead)
        return;
    entry->is_ahead = false;
    cache->unread_count--;
    counter_add(cache->ahead_used, 1);
}

/* Those who were stopped at the dirty limit. */
static void
let_in(struct cache *cache, struct todo *todo)
{
    uint32_t used = cache->dirty_count + cache->flight_count;

    for (; used < cache->dirty_max && cache->stopped.first != NULL; used++)
        queue_push(&todo->again, queue_pop(&cache->stopped));
}

/* The last thing under the lock that is done with an entry, which may be gone afterwards. */
static void
entry_settle(struct cache *cache, struct entry *entry, struct todo *todo)
{
    struct zero *zero;
    struct waiter *waiter;

    if (entry->is_changing)
        return;
    if (entry->has_arrived)
        take_arrived(cache, entry, todo);
    zero = cache->zeros != NULL ? zero_covering(cache, entry->block, entry->block) : NULL;
    if (zero != NULL && !zero->is_sent) {
        if (is_busy(entry))
            return;
        zero_take(cache, zero, entry);
        if (--zero->pending == 0)
            zero_ready(cache, zero, todo);
        feed(cache, todo);
        let_in(cache, todo);
        return;
    }
    while ((waiter = entry->waiting.first) != NULL) {
        const struct store_req *req = waiter->req;

        if (req->op != STORE_READ || !covers(cache, entry, req->offset, req->bytes))
            break;
        queue_pop(&entry->waiting);
        entry->readers++;
        note_used(cache, entry);
        queue_push(&todo->serve, waiter);
    }
    if (entry->readers == 0)
        queue_move(&entry->waiting, &todo->again);
    entry_list(cache, entry);
    if (entry->list != LIST_NONE && (entry->is_due || cache->flushes != NULL))
        todo->drive = true;
    entry_update_evictable(cache, entry, todo);
}

static void
fail_waiting(struct entry *entry, int rc, struct todo *todo)
{
    struct queue all = entry->waiting;
    struct waiter *waiter;

    entry->waiting.first = NULL;
    while ((waiter = queue_pop(&all)) != NULL) {
        waiter->rc = rc;
        queue_push(waiter->needs_data ? &todo->ended : &todo->again, waiter);
    }
}

/* Storing the entry failed: it is unsaved anew, and tried again later. */
static void
store_failed(struct cache *cache, struct entry *entry, uint64_t since, int rc, struct todo *todo)
{
    counter_add(cache->store_failures, 1);
    unsaved_end(cache, since, rc, todo);
    if (!entry->is_dirty) {
        entry_dirty(cache, entry);
        entry->dirty_count += map_set(dirty_map(cache, entry), 0, cache->sectors);
    }
    entry->due_ns = clock_now_ns() + FAILED_PAUSE_NS;
    list_add(cache, entry, LIST_FAILED);
    todo->drive = true;
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
    if (trip->is_ahead)
        pthread_cond_broadcast(&cache->idle);
    entry->is_fetching = false;
    if (rc == 0) {
        entry->has_arrived = true;
    } else {
        frame_put(cache, entry->fetched, &todo);
        entry->fetched = FRAME_NONE;
        fail_waiting(entry, rc, &todo);
        if (entry->is_completing) {
            entry->is_completing = false;
            cache->flight_count--;
            cache->unsaved++; /* its dirty version goes on under a new number */
            store_failed(cache, entry, entry->since, rc, &todo);
            entry->since = ++cache->sequence;
        }
    }
    free(trip);
    if (entry->frame == FRAME_NONE && rc != 0) {
        struct zero *zero = zero_covering(cache, entry->block, entry->block);

        queue_move(&entry->waiting, &todo.again);
        if (zero != NULL && !zero->is_sent && --zero->pending == 0)
            zero_ready(cache, zero, &todo);
        entry_drop(cache, entry);
        feed(cache, &todo);
    } else {
        entry_settle(cache, entry, &todo);
    }
    leave(cache, &todo);
}

static void
note_drained(struct cache *cache)
{
    uint64_t now = clock_now_ns();
    uint64_t gap = now - cache->drained_ns;

    /* Pauses in which there was nothing to store say nothing. */
    if (cache->drained_ns != 0 && gap < SLOW_MAX_NS)
        cache->drain_gap_ns = cache->drain_gap_ns == 0 ? gap : (cache->drain_gap_ns * 7 + gap) / 8;
    cache->drained_ns = cache->flight_count > 0 || cache->dirty_count > 0 ? now : 0;
}

static void
flight_done(struct store_req *below)
{
    struct trip *trip = container_of(below, struct trip, below);
    struct cache *cache = trip->cache;
    struct entry *entry = &cache->entries[trip->slot];
    struct todo todo = { .drive = true };

    pthread_mutex_lock(&cache->lock);
    assert(entry->flight == trip);
    entry->flight = NULL;
    cache->flight_count--;
    frame_put(cache, trip->frame, &todo);
    if (below->rc == 0) {
        counter_add(cache->stored, 1);
        note_drained(cache);
        unsaved_end(cache, trip->since, 0, &todo);
    } else {
        store_failed(cache, entry, trip->since, below->rc, &todo);
    }
    free(trip);
    entry_settle(cache, entry, &todo);
    let_in(cache, &todo);
    leave(cache, &todo);
}

static void
zero_done(struct store_req *below)
{
    struct zero *zero = container_of(container_of(below, struct trip, below), struct zero, trip);
    struct cache *cache = zero->trip.cache;
    struct todo todo = { .drive = true };

    pthread_mutex_lock(&cache->lock);
    zero->is_under_way = false;
    unsaved_end(cache, zero->since, below->rc, &todo);
    if (below->rc != 0) {
        cache->unsaved++;
        zero->since = ++cache->sequence;
        zero->due_ns = clock_now_ns() + FAILED_PAUSE_NS;
    } else {
        struct zero **link = &cache->zeros;

        while (*link != zero)
            link = &(*link)->next;
        *link = zero->next;
        cache->zero_count--;
        entries_in(cache, zero->first, zero->last, zero, zero_leaves);
        free(zero);
        queue_move(&cache->zeros_full, &todo.again);
    }
    leave(cache, &todo);
}

/* ---- write-back: what is stored when */

static void
flight_start(struct cache *cache, struct entry *entry, struct trip *trip, struct todo *todo)
{
    trip->since = entry->since;
    frames_share(cache->frames, entry->frame);
    entry_not_dirty(cache, entry);
    entry->flight = trip;
    cache->flight_count++;
    send_later(todo, trip);
}

/* Send the entry on its way.  False: it can't go now. */
static bool
store_entry(struct cache *cache, struct entry *entry, struct todo *todo)
{
    uint32_t frame;
    struct trip *trip;

    if (entry->is_changing || entry->is_fetching || entry->has_arrived)
        return false;
    if (is_complete(cache, entry)) {
        trip = trip_new(cache, TRIP_FLIGHT, entry, entry->frame);
        if (trip == NULL)
            return false;
        flight_start(cache, entry, trip, todo);
        return true;
    }
    frame = frame_get(cache, true);
    if (frame == FRAME_NONE || !fetch_start(cache, entry, frame, todo))
        return false;
    counter_add(cache->partial_fetches, 1);
    entry->is_completing = true;
    cache->flight_count++;
    list_remove(cache, entry);
    return true;
}

/* Store one entry of the list that is due.  *due_ns becomes when the next one will be. */
static bool
store_from(struct cache *cache, enum list list, bool is_urgent, uint64_t now, uint64_t *due_ns,
           struct todo *todo)
{
    uint32_t slot = cache->dirty[list].first;

    for (unsigned steps = 0; slot != SLOT_NONE && steps < PICK_STEPS; steps++) {
        struct entry *entry = &cache->entries[slot];

        if (!is_urgent && !entry->is_due && entry->due_ns > now) {
            if (entry->due_ns < *due_ns)
                *due_ns = entry->due_ns;
            return false;
        }
        slot = entry->next;
        if (store_entry(cache, entry, todo))
            return true;
    }
    return false;
}

/* Send one thing that is due. */
static bool
store_next(struct cache *cache, uint64_t *due_ns, struct todo *todo)
{
    bool is_flushing = cache->flushes != NULL;
    bool is_pressed = is_under_pressure(cache);
    unsigned limit = cache->config.in_flight_max;
    uint64_t now = clock_now_ns();

    /* In quiet times some places are left for who reads. */
    if (!is_flushing && !is_pressed && limit > 4)
        limit -= limit / 4;
    if (cache->flight_count >= limit)
        return false;
    /* Who flushes waits for incomplete blocks longest: two round trips. */
    if (is_flushing && store_from(cache, LIST_SOME, true, now, due_ns, todo))
        return true;
    return store_from(cache, LIST_FULL, true, now, due_ns, todo)
           || store_from(cache, LIST_SOME, is_pressed, now, due_ns, todo)
           || store_from(cache, LIST_FAILED, is_flushing, now, due_ns, todo);
}

static void
retry_zeros(struct cache *cache, uint64_t *due_ns, struct todo *todo)
{
    uint64_t now = clock_now_ns();

    for (struct zero *zero = cache->zeros; zero != NULL; zero = zero->next) {
        if (!zero->is_sent || zero->is_under_way)
            continue;
        if (cache->flushes != NULL || zero->due_ns <= now)
            zero_send(cache, zero, todo);
        else if (zero->due_ns < *due_ns)
            *due_ns = zero->due_ns;
    }
}

static void
timer_at(struct cache *cache, uint64_t due_ns)
{
    if (cache->timer_is_set && cache->timer.at_ns <= due_ns)
        return;
    if (cache->timer_is_set && !pool_timer_cancel(cache->pool, &cache->timer))
        return; /* it is about to run */
    cache->timer.heap_slot = 0;
    cache->timer_is_set = pool_timer_set(cache->pool, &cache->timer, due_ns) == 0;
}

/* Give back the lock and store what is due.  Only one at a time, so that what completes inside store_submit does not call
 * deeper and deeper. */
static void
drive(struct cache *cache)
{
    if (cache->is_driving) {
        cache->drive_again = true;
        pthread_mutex_unlock(&cache->lock);
        return;
    }
    cache->is_driving = true;
    do {
        struct todo todo = { 0 };
        uint64_t due_ns = UINT64_MAX;

        cache->drive_again = false;
        retry_zeros(cache, &due_ns, &todo);
        while (store_next(cache, &due_ns, &todo))
            ;
        if (due_ns != UINT64_MAX)
            timer_at(cache, due_ns);
        leave(cache, &todo);
        pthread_mutex_lock(&cache->lock);
    } while (cache->drive_again);
    cache->is_driving = false;
    pthread_cond_broadcast(&cache->idle);
    pthread_mutex_unlock(&cache->lock);
}

static void
drive_run(struct task *task)
{
    struct cache *cache = container_of(task, struct cache, drive_task);

    pthread_mutex_lock(&cache->lock);
    cache->drive_is_queued = false;
    drive(cache);
}

static void
timer_run(struct task *task)
{
    struct cache *cache = container_of(task, struct cache, timer.task);

    pthread_mutex_lock(&cache->lock);
    cache->timer_is_set = false;
    drive(cache);
}

/* ---- reads */

static void
fetch_ahead(struct cache *cache, struct stream *stream, uint64_t block, uint64_t end,
            struct todo *todo)
{
    uint32_t unread_max = cache->slot_count / 4 > 0 ? cache->slot_count / 4 : 1;

    for (; block < end; block++) {
        struct entry *entry;
        uint32_t frame;

        if (entry_find(cache, block) != NULL || zero_covering(cache, block, block) != NULL
            || store_is_zero(cache->next, block))
            continue;
        if (cache->ahead_count >= cache->config.in_flight_max || cache->unread_count >= unread_max
            || cache->starving.first != NULL)
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

/* Whoever has waited for a frame lets the next one try. */
static void
pass_on(struct cache *cache, const struct waiter *waiter, struct todo *todo)
{
    if (waiter != NULL && waiter->has_starved)
        feed(cache, todo);
}

/* Copy for a reader who is counted in the entry's readers, so that neither goes away. */
static void
copy_out(struct cache *cache, struct entry *entry, struct store_req *req, struct waiter *waiter)
{
    struct todo todo = { 0 };

    memcpy(req->data, frames_data(cache->frames, entry->frame) + req->offset, req->bytes);
    pthread_mutex_lock(&cache->lock);
    if (--entry->readers == 0 && (entry->waiting.first != NULL || cache->zeros != NULL))
        entry_settle(cache, entry, &todo);
    pass_on(cache, waiter, &todo);
    leave(cache, &todo);
    request_end(req, waiter, 0);
}

static void
serve_read(struct cache *cache, struct store_req *req, struct waiter *waiter)
{
    struct entry *entry;

    pthread_mutex_lock(&cache->lock);
    entry = entry_find(cache, req->block);
    pthread_mutex_unlock(&cache->lock);
    copy_out(cache, entry, req, waiter);
}

static void
read_zeros(struct cache *cache, struct store_req *req, struct waiter *waiter, struct todo *todo)
{
    pass_on(cache, waiter, todo);
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
    bool is_hit;

    pthread_mutex_lock(&cache->lock);
    zero = cache->zeros != NULL ? zero_covering(cache, req->block, req->block) : NULL;
    if (zero != NULL && !zero->is_sent) {
        wait_in(cache, &zero->waiting, req, waiter, false, &todo);
        return;
    }
    entry = entry_find(cache, req->block);
    if (entry == NULL && (zero != NULL || store_is_zero(cache->next, req->block))) {
        read_zeros(cache, req, waiter, &todo);
        return;
    }
    is_hit = entry != NULL && !entry->is_changing && covers(cache, entry, req->offset, req->bytes);
    if (entry != NULL)
        note_used(cache, entry);
    if (is_hit)
        entry->readers++;
    if (waiter == NULL)
        note_read(cache, req, is_hit, &todo);
    if (is_hit) {
        leave(cache, &todo);
        copy_out(cache, entry, req, waiter);
    } else if (entry != NULL && entry->is_changing) {
        wait_in(cache, &entry->waiting, req, waiter, false, &todo);
    } else {
        fetch_and_wait(cache, entry, req, waiter, &todo);
    }
}

/* ---- writes */

/* When the writer should go on, so that who writes faster than the store takes it is slowed little by little; 0: now. */
static uint64_t
slowed_until(struct cache *cache)
{
    uint32_t limit = cache->dirty_max, from = SLOW_FROM(limit);
    uint32_t used = cache->dirty_count + cache->flight_count;
    uint64_t now, pause;

    if (limit < SLOW_LIMIT_MIN || used <= from)
        return 0;
    now = clock_now_ns();
    if (cache->admit_ns < now)
        cache->admit_ns = now;
    pause = cache->drain_gap_ns * 2 * (used - from) / (limit - from);
    cache->admit_ns += pause;
    if (cache->admit_ns > now + SLOW_MAX_NS)
        cache->admit_ns = now + SLOW_MAX_NS;
    return cache->admit_ns - now < SLOW_MIN_NS ? 0 : cache->admit_ns;
}

static void
admitted(struct task *task)
{
    struct waiter *waiter = container_of(task, struct waiter, timer.task);

    request_start(waiter->cache, waiter->req, waiter);
}

/* True: the request was taken care of, and the lock given back. */
static bool
must_wait_to_dirty(struct cache *cache, struct store_req *req, struct waiter *waiter,
                   struct todo *todo)
{
    uint64_t at;

    if (cache->dirty_count + cache->flight_count >= cache->dirty_max) {
        counter_add(cache->stopped_writes, 1);
        todo->drive = true;
        wait_in(cache, &cache->stopped, req, waiter, false, todo);
        return true;
    }
    if (waiter != NULL && waiter->is_admitted)
        return false;
    at = slowed_until(cache);
    if (at == 0)
        return false;
    counter_add(cache->slowed, 1);
    todo->drive = true;
    waiter = waiter_of(cache, req, waiter, todo);
    if (waiter == NULL)
        return true;
    waiter->is_admitted = true;
    waiter->timer = (struct timer){ .task.run = admitted };
    leave(cache, todo);
    if (pool_timer_set(cache->pool, &waiter->timer, at) != 0)
        request_end(req, waiter, -ENOMEM);
    return true;
}

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

/* Under the lock again: the entry has the data. */
static void
write_accepted(struct cache *cache, struct entry *entry, const struct store_req *req,
               bool is_parked, struct todo *todo)
{
    uint32_t first = req->offset / SECTOR_BYTES;
    uint32_t end = (req->offset + req->bytes + SECTOR_BYTES - 1) / SECTOR_BYTES;

    set_valid(cache, entry, first, end);
    if (!entry->is_dirty)
        entry_dirty(cache, entry);
    entry->is_parked = entry->is_parked || is_parked;
    entry->dirty_count += map_set(dirty_map(cache, entry), first, end);
    entry_settle(cache, entry, todo);
    if (entry->list == LIST_FULL || cache->flushes != NULL || is_under_pressure(cache)
        || !cache->timer_is_set || cache->timer.at_ns > entry->due_ns)
        todo->drive = true;
    let_in(cache, todo);
}

static void
write_start(struct cache *cache, struct store_req *req, struct waiter *waiter)
{
    struct todo todo = { 0 };
    struct zero *zero;
    struct entry *entry;
    uint32_t frame, old = FRAME_NONE;
    bool is_on_zeros = false;

    pthread_mutex_lock(&cache->lock);
    zero = cache->zeros != NULL ? zero_covering(cache, req->block, req->block) : NULL;
    if (zero != NULL && !zero->is_sent) {
        wait_in(cache, &zero->waiting, req, waiter, false, &todo);
        return;
    }
    entry = entry_find(cache, req->block);
    if (entry != NULL && (entry->is_changing || entry->readers > 0)) {
        wait_in(cache, &entry->waiting, req, waiter, false, &todo);
        return;
    }
    if (entry == NULL)
        is_on_zeros = zero != NULL;
    if (!is_on_zeros && tears_sector(cache, entry, req->offset, req->bytes)) {
        if (entry == NULL && store_is_zero(cache->next, req->block)) {
            is_on_zeros = true;
        } else {
            fetch_and_wait(cache, entry, req, waiter, &todo);
            return;
        }
    }
    if ((entry == NULL || !entry->is_dirty) && must_wait_to_dirty(cache, req, waiter, &todo))
        return;
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
    if (waiter == NULL)
        counter_add(entry != NULL ? cache->write_hits : cache->write_misses, 1);
    if (entry == NULL)
        entry = entry_new(cache, req->block);
    else
        note_used(cache, entry);
    entry->is_changing = true;
    entry_update_evictable(cache, entry, &todo);
    pthread_mutex_unlock(&cache->lock);

    copy_in(cache, frames_data(cache->frames, frame),
            old != FRAME_NONE ? frames_data(cache->frames, old) : NULL, is_on_zeros, req);

    pthread_mutex_lock(&cache->lock);
    entry->is_changing = false;
    entry->frame = frame;
    if (old != FRAME_NONE) {
        counter_add(cache->copies, 1);
        frame_put(cache, old, &todo);
    }
    if (is_on_zeros)
        set_valid(cache, entry, 0, cache->sectors);
    write_accepted(cache, entry, req, zero != NULL, &todo);
    pass_on(cache, waiter, &todo);
    if (cache->config.is_sync) {
        waiter = waiter_of(cache, req, waiter, &todo);
        if (waiter == NULL)
            return;
        flush_add(cache, waiter, &todo);
        leave(cache, &todo);
        return;
    }
    leave(cache, &todo);
    request_end(req, waiter, 0);
}

/* ---- zeros, flushes, seeks */

static void
zero_start(struct cache *cache, struct store_req *req, struct waiter *waiter)
{
    uint64_t first = req->block, last = req->block + req->count - 1;
    struct todo todo = { 0 };
    struct zero *zero;

    pthread_mutex_lock(&cache->lock);
    waiter = waiter_of(cache, req, waiter, &todo);
    if (waiter == NULL)
        return;
    if (cache->zero_count == ZEROS_MAX) {
        wait_in(cache, &cache->zeros_full, req, waiter, false, &todo);
        return;
    }
    zero = zero_covering(cache, first, last);
    if (zero != NULL && !zero->is_sent) {
        wait_in(cache, &zero->waiting, req, waiter, false, &todo);
        return;
    }
    zero = calloc(1, sizeof *zero);
    if (zero == NULL) {
        waiter->rc = -ENOMEM;
        queue_push(&todo.ended, waiter);
        leave(cache, &todo);
        return;
    }
    zero->trip.below.done = zero_done;
    zero->first = first;
    zero->last = last;
    zero->since = ++cache->sequence;
    zero->waiter = waiter;
    zero->next = cache->zeros;
    cache->zeros = zero;
    cache->zero_count++;
    cache->unsaved++;
    entries_in(cache, first, last, zero, zero_meets);
    if (zero->pending == 0)
        zero_ready(cache, zero, &todo);
    feed(cache, &todo);
    let_in(cache, &todo);
    leave(cache, &todo);
}

static void
flush_start(struct cache *cache, struct store_req *req)
{
    struct todo todo = { 0 };
    struct waiter *waiter;

    pthread_mutex_lock(&cache->lock);
    waiter = waiter_of(cache, req, NULL, &todo);
    if (waiter == NULL)
        return;
    flush_add(cache, waiter, &todo);
    leave(cache, &todo);
}

static void
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

static void
idle_later(struct cache *cache)
{
    cache->idle_timer = (struct timer){ .task.run = idle_run };
    cache->idle_timer_is_set = pool_timer_set(cache->pool, &cache->idle_timer,
                                              clock_now_ns() + cache->config.idle_ns / 2 + 1)
                               == 0;
}

static void
idle_run(struct task *task)
{
    struct cache *cache = container_of(task, struct cache, idle_timer.task);
    uint64_t now = clock_now_ns();

    pthread_mutex_lock(&cache->lock);
    for (uint32_t slot = 0; slot < cache->slot_count; slot++) {
        struct entry *entry = &cache->entries[slot];

        if (entry->is_used && entry->is_evictable && entry->readers == 0
            && entry->waiting.first == NULL && now - entry->due_ns >= cache->config.idle_ns)
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
dirty_age_ms(void *arg)
{
    struct cache *cache = arg;
    uint64_t now = clock_now_ns(), oldest = now;

    pthread_mutex_lock(&cache->lock);
    for (enum list list = LIST_FULL; list < LIST_COUNT; list++) {
        if (cache->dirty[list].first != SLOT_NONE) {
            uint64_t at = cache->entries[cache->dirty[list].first].dirty_ns;

            if (at < oldest)
                oldest = at;
        }
    }
    pthread_mutex_unlock(&cache->lock);
    return (now - oldest) / NS_PER_MS;
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
    cache->ahead_used = stats_counter(stats, "read_ahead_used", "those that were read then");
    cache->ahead_wasted =
        stats_counter(stats, "read_ahead_wasted", "those that left the cache unread");
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
    stats_gauge(stats, "dirty_age_ms", "milliseconds since the oldest of them became dirty",
                dirty_age_ms, cache);
    stats_gauge(stats, "pending_zeros", "zeroed ranges that the store does not know of yet",
                pending_zeros, cache);
}

/* ---- life */

/* How many blocks may be read ahead: what is in flight at most, and a quarter of the cache. */
static uint32_t
window_max(const struct cache *cache)
{
    const struct cache_config *config = &cache->config;
    uint32_t max = cache->slot_count / 4;

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

    if (cache == NULL)
        return -ENOMEM;
    if (blocks_max > config->block_count)
        blocks_max = (uint32_t)config->block_count;
    cache->store.submit = cache_submit;
    cache->config = *config;
    cache->next = next;
    cache->pool = pool;
    cache->sectors = config->block_bytes / SECTOR_BYTES;
    cache->map_words = (cache->sectors + 63) / 64;
    cache->reserve = blocks_max / 16 + 1;
    cache->slot_count = blocks_max + cache->reserve;
    room = blocks_max - blocks_max / 8;
    cache->dirty_max = config->dirty_max > 0 && config->dirty_max < room ? config->dirty_max : room;
    for (cache->hash_shift = 64; buckets < cache->slot_count || cache->hash_shift > 63;
         cache->hash_shift--)
        buckets *= 2;
    pthread_mutex_init(&cache->lock, NULL);
    pthread_cond_init(&cache->idle, NULL);
    cache->entries = calloc(cache->slot_count, sizeof *cache->entries);
    cache->maps = calloc((size_t)cache->slot_count * 2 * cache->map_words, sizeof *cache->maps);
    cache->buckets = malloc(sizeof *cache->buckets * buckets);
    cache->free_slots = malloc(sizeof *cache->free_slots * cache->slot_count);
    if (cache->entries == NULL || cache->maps == NULL || cache->buckets == NULL
        || cache->free_slots == NULL
        || frames_new(cache->slot_count, config->block_bytes, &cache->frames) != 0
        || evict_new(cache->slot_count, config->protected_count, &cache->evict) != 0) {
        cache_free(&cache->store);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < buckets; i++)
        cache->buckets[i] = SLOT_NONE;
    while (cache->free_count < cache->slot_count) {
        cache->free_slots[cache->free_count] = cache->slot_count - 1 - cache->free_count;
        cache->free_count++;
    }
    for (enum list list = 0; list < LIST_COUNT; list++)
        cache->dirty[list].first = cache->dirty[list].last = SLOT_NONE;
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

void
cache_free(struct store *store)
{
    struct cache *cache;

    if (store == NULL)
        return;
    cache = container_of(store, struct cache, store);
    pthread_mutex_lock(&cache->lock);
    assert(cache->unsaved == 0);
    for (;;) {
        if (cache->timer_is_set && pool_timer_cancel(cache->pool, &cache->timer))
            cache->timer_is_set = false;
        if (cache->idle_timer_is_set && pool_timer_cancel(cache->pool, &cache->idle_timer))
            cache->idle_timer_is_set = false;
        if (!cache->timer_is_set && !cache->idle_timer_is_set && !cache->drive_is_queued
            && !cache->is_driving && cache->ahead_count == 0)
            break;
        pthread_cond_wait(&cache->idle, &cache->lock);
    }
    pthread_mutex_unlock(&cache->lock);
    evict_free(cache->evict);
    frames_free(cache->frames);
    free(cache->free_slots);
    free(cache->buckets);
    free(cache->maps);
    free(cache->entries);
    pthread_cond_destroy(&cache->idle);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}
