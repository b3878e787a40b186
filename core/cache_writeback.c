/* SPDX-License-Identifier: Apache-2.0 */
/* Write-back: what is dirty, when it is stored, who waits for that. */
#include "cache_impl.h"

#include "base/clock.h"
#include "base/util.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is not stored yet */

void
list_remove(struct cache *cache, struct entry *entry)
{
    uint32_t *first = &cache->dirty[entry->list].first, *last = &cache->dirty[entry->list].last;

    if (entry->list == LIST_NONE)
        return;
    if (cache->dirty[entry->list].near == slot_of(cache, entry))
        cache->dirty[entry->list].near = entry->prev != SLOT_NONE ? entry->prev : entry->next;
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

/* Behind all that are older.  Most are the newest; those that come back, completed or after a zero, come about in order,
 * too: each goes close to the one before. */
static void
list_add(struct cache *cache, struct entry *entry, enum list list)
{
    uint32_t slot = slot_of(cache, entry), prev, next = SLOT_NONE;

    list_remove(cache, entry);
    prev = cache->dirty[list].last;
    if (prev != SLOT_NONE && cache->entries[prev].since > entry->since
        && cache->dirty[list].near != SLOT_NONE) {
        prev = cache->dirty[list].near;
        next = cache->entries[prev].next;
    }
    while (prev != SLOT_NONE && cache->entries[prev].since > entry->since) {
        next = prev;
        prev = cache->entries[prev].prev;
    }
    while (next != SLOT_NONE && cache->entries[next].since < entry->since) {
        prev = next;
        next = cache->entries[next].next;
    }
    if (next != SLOT_NONE)
        cache->dirty[list].near = slot;
    entry->list = (uint8_t)list;
    entry->prev = prev;
    entry->next = next;
    if (prev != SLOT_NONE)
        cache->entries[prev].next = slot;
    else
        cache->dirty[list].first = slot;
    if (next != SLOT_NONE)
        cache->entries[next].prev = slot;
    else
        cache->dirty[list].last = slot;
}

void
entry_list(struct cache *cache, struct entry *entry)
{
    enum list list = LIST_NONE;

    if (entry->is_dirty && !entry->is_flying && !entry->is_completing && !entry->is_parked)
        list = entry->list == LIST_FAILED             ? LIST_FAILED
               : entry->dirty_count == cache->sectors ? LIST_FULL
               : entry->is_hot                        ? LIST_HOT
                                                      : LIST_SOME;
    else if (entry->is_ahead && entry->is_evictable)
        list = LIST_AHEAD;
    if (list == LIST_NONE)
        list_remove(cache, entry);
    else if (list != entry->list)
        list_add(cache, entry, list);
}

void
entry_dirty(struct cache *cache, struct entry *entry)
{
    uint64_t now = clock_now_ns();

    assert(!entry->is_dirty);
    entry->is_dirty = true;
    entry->since = ++cache->sequence;
    /* Who writes again soon will do so once more: wait longer, and store it less often. */
    entry->is_hot = cache->config.idle_ns == 0 && entry->at_ns != 0
                    && now - entry->at_ns < 2 * cache->config.write_delay_max_ns;
    entry->at_ns = now;
    if (!entry->is_flying)
        entry->dirty_s = (uint32_t)(now / NS_PER_S);
    cache->dirty_count++;
    if (cache->unsaved++ == 0)
        cache->stored_ns = now;
}

void
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

void
flush_add(struct cache *cache, struct waiter *waiter, uint64_t only, struct todo *todo)
{
    struct flush *flush = cache->unsaved > 0 ? calloc(1, sizeof *flush) : NULL;

    if (flush == NULL) {
        waiter->rc = cache->unsaved > 0 ? -ENOMEM : 0;
        queue_push(&todo->ended, waiter);
        return;
    }
    flush->waiter = waiter;
    flush->since = cache->sequence;
    flush->only = only;
    flush->left = only != 0 ? 1 : cache->unsaved;
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

static bool
waits_for(const struct flush *flush, uint64_t since)
{
    return flush->only != 0 ? flush->only == since : flush->since >= since;
}

void
unsaved_end(struct cache *cache, uint64_t since, int rc, struct todo *todo)
{
    cache->unsaved--;
    for (struct flush **link = &cache->flushes; *link != NULL;) {
        struct flush *flush = *link;

        if (waits_for(flush, since)) {
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

void
unsaved_moves(struct cache *cache, const struct entry *entry, struct zero *zero)
{
    uint64_t since = entry->since < zero->since ? entry->since : zero->since;

    cache->unsaved--;
    for (struct flush *flush = cache->flushes; flush != NULL; flush = flush->next) {
        bool had_entry = waits_for(flush, entry->since), had_zero = waits_for(flush, zero->since);

        if (had_entry && had_zero)
            flush->left--; /* never the last one */
        else if (flush->only != 0 && (had_entry || had_zero))
            flush->only = since;
    }
    zero->since = since;
}

/* What has failed meanwhile has a new number. */
bool
is_flushed(const struct cache *cache, uint64_t since)
{
    return cache->flushes != NULL && since <= cache->flushes->since; /* the newest is the first */
}

static bool
is_under_pressure(const struct cache *cache)
{
    return cache->starving.queue.last != NULL || cache->stopped.queue.last != NULL
           || cache->dirty_count + cache->flight_count >= SLOW_FROM(cache->dirty_max);
}

/* When an entry should be stored that is in a list. */
static uint64_t
due_ns(const struct cache *cache, const struct entry *entry)
{
    if (entry->is_due)
        return 0;
    switch ((enum list)entry->list) {
    case LIST_FULL:
        return entry->at_ns;
    case LIST_SOME:
        return entry->at_ns + cache->config.write_delay_ns;
    case LIST_HOT:
        return entry->at_ns + cache->config.write_delay_max_ns;
    case LIST_FAILED:
        return entry->at_ns + FAILED_PAUSE_NS;
    default:
        return 0;
    }
}

bool
is_due_now(const struct cache *cache, const struct entry *entry)
{
    return entry->list != LIST_NONE && entry->list != LIST_AHEAD
           && (entry->list == LIST_FULL || entry->is_due || cache->flushes != NULL
               || is_under_pressure(cache) || !cache->timer_is_set
               || cache->timer.at_ns > due_ns(cache, entry));
}

/* *oldest_ns becomes since when those wait who stay. */
static void
fail_older(struct queue *queue, uint64_t came_until_ns, uint64_t *oldest_ns, struct todo *todo)
{
    struct queue stay = { NULL };
    struct waiter *waiter;

    while ((waiter = queue_pop(queue)) != NULL) {
        if (waiter->came_ns <= came_until_ns) {
            waiter->rc = -EIO;
            queue_push(&todo->ended, waiter);
            continue;
        }
        if (waiter->came_ns < *oldest_ns)
            *oldest_ns = waiter->came_ns;
        queue_push(&stay, waiter);
    }
    *queue = stay;
}

/* Who has waited for room for too long gets an error, if storing fails or nothing has been stored for as long (a slow
 * store makes room); at once if there will never be any.  *next_ns becomes when the next one will have. */
static void
fail_stalled(struct cache *cache, uint64_t *next_ns, struct todo *todo)
{
    uint64_t now = clock_now_ns(), stall_ns = cache->config.stall_ns;
    uint64_t until = 0, oldest = UINT64_MAX;

    if (stall_ns == 0 && !cache->is_read_only)
        return;
    if (cache->is_read_only)
        until = now;
    else if (now > stall_ns
             && (cache->has_failed || (cache->unsaved > 0 && cache->stored_ns <= now - stall_ns)))
        until = now - stall_ns;
    cache->has_failed = false;
    fail_older(&cache->starving.queue, until, &oldest, todo);
    fail_older(&cache->stopped.queue, until, &oldest, todo);
    fail_older(&cache->zeros_full.queue, until, &oldest, todo);
    for (struct zero *zero = cache->zeros; zero != NULL; zero = zero->next)
        fail_older(&zero->waiting, until, &oldest, todo);
    if (oldest == UINT64_MAX || cache->unsaved == 0)
        return;
    if (oldest < cache->stored_ns)
        oldest = cache->stored_ns;
    if (oldest < UINT64_MAX - stall_ns && oldest + stall_ns < *next_ns)
        *next_ns = oldest + stall_ns;
}

void
store_failed(struct cache *cache, struct entry *entry, uint64_t since, int rc, struct todo *todo)
{
    counter_add(cache->store_failures, 1);
    unsaved_end(cache, since, rc, todo); /* now, so that not all seems to be saved for a moment */
    entry->at_ns = clock_now_ns();
    list_add(cache, entry, LIST_FAILED);
    cache->has_failed = true;
    cache->is_read_only = cache->is_read_only || rc == -EROFS;
    todo->drive = true;
}

/* ---- slowing writers */

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

bool
must_wait_to_dirty(struct cache *cache, struct store_req *req, struct waiter *waiter,
                   struct todo *todo)
{
    uint64_t at;

    if (cache->dirty_count + cache->flight_count >= cache->dirty_max) {
        wait_at(cache, &cache->stopped, req, waiter, cache->stopped_writes, todo);
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
    waiter->timer = (struct timer){ .task.run = start_over };
    leave(cache, todo);
    if (pool_timer_set(cache->pool, &waiter->timer, at) != 0)
        request_end(req, waiter, -ENOMEM);
    return true;
}

/* ---- flights */

/* All that was sent is dirty again. */
static void
flight_failed(struct cache *cache, struct entry *entry, const struct trip *trip, int rc,
              struct todo *todo)
{
    const uint64_t *sent = trip->below.valid;
    uint64_t *dirty = dirty_map(cache, entry);

    if (!entry->is_dirty) {
        uint32_t dirty_s = entry->dirty_s;

        entry_dirty(cache, entry);
        entry->dirty_s = dirty_s;
    }
    entry->dirty_count +=
        sent != NULL ? map_add(dirty, sent, cache->map_words) : map_set(dirty, 0, cache->sectors);
    store_failed(cache, entry, trip->since, rc, todo);
}

static void
flight_done(struct store_req *below)
{
    struct trip *trip = container_of(below, struct trip, below);
    struct cache *cache = trip->cache;
    struct entry *entry = &cache->entries[trip->slot];
    struct todo todo = { .drive = true };

    pthread_mutex_lock(&cache->lock);
    assert(entry->is_flying);
    entry->is_flying = false;
    cache->flight_count--;
    frames_drop(cache->frames, trip->frame);
    if (below->rc == 0) {
        counter_add(cache->stored, 1);
        cache->stored_ns = clock_now_ns();
        if (!entry->is_dirty)
            entry->at_ns = clock_now_ns();
        note_drained(cache);
        unsaved_end(cache, trip->since, 0, &todo);
    } else {
        flight_failed(cache, entry, trip, below->rc, &todo);
    }
    free(trip);
    entry_settle(cache, entry, &todo);
    leave(cache, &todo);
}

static void
flight_start(struct cache *cache, struct entry *entry, struct trip *trip, struct todo *todo)
{
    trip->since = entry->since;
    frames_share(cache->frames, entry->frame);
    entry_not_dirty(cache, entry);
    entry->is_flying = true;
    cache->flight_count++;
    send_later(todo, trip);
}

/* Out of memory. */
static void
try_again_soon(uint64_t now, uint64_t *next_ns)
{
    if (*next_ns > now + NO_MEMORY_PAUSE_NS)
        *next_ns = now + NO_MEMORY_PAUSE_NS;
}

static bool
is_storable(const struct entry *entry)
{
    return !entry->is_changing && !entry->is_fetching && !entry->has_arrived;
}

/* Send the entry on its way.  False: it can't go now; *next_ns becomes when it should be tried again, if nothing else
 * will see to that. */
static bool
store_entry(struct cache *cache, struct entry *entry, uint64_t now, uint64_t *next_ns,
            struct todo *todo)
{
    uint32_t frame;
    struct trip *trip;

    if (!is_storable(entry))
        return false;
    if (is_complete(cache, entry) || cache->config.next_takes_parts) {
        trip = trip_new(cache, STORE_WRITE, entry, entry->frame, flight_done);
        if (trip == NULL) {
            try_again_soon(now, next_ns);
            return false;
        }
        flight_start(cache, entry, trip, todo);
        return true;
    }
    frame = frame_get(cache, true);
    if (frame == FRAME_NONE)
        return false;
    if (!fetch_start(cache, entry, frame, todo)) {
        try_again_soon(now, next_ns);
        return false;
    }
    counter_add(cache->partial_fetches, 1);
    entry->is_completing = true;
    cache->completing_count++;
    list_remove(cache, entry);
    return true;
}

/* Store one entry of the list that is due.  *next_ns becomes when the next one will be. */
static bool
store_from(struct cache *cache, enum list list, bool is_urgent, uint64_t now, uint64_t *next_ns,
           struct todo *todo)
{
    uint32_t slot = cache->dirty[list].first;

    for (unsigned steps = 0; slot != SLOT_NONE && steps < PICK_STEPS; steps++) {
        struct entry *entry = &cache->entries[slot];

        slot = entry->next;
        if (!is_urgent && due_ns(cache, entry) > now) {
            if (due_ns(cache, entry) < *next_ns)
                *next_ns = due_ns(cache, entry);
            continue;
        }
        if (store_entry(cache, entry, now, next_ns, todo))
            return true;
    }
    return false;
}

static struct entry *
first_storable(const struct cache *cache, enum list list)
{
    uint32_t slot = cache->dirty[list].first;

    for (unsigned steps = 0; slot != SLOT_NONE && steps < PICK_STEPS; steps++) {
        struct entry *entry = &cache->entries[slot];

        if (is_storable(entry))
            return entry;
        slot = entry->next;
    }
    return NULL;
}

/* Store the oldest entry that a flush waits for. */
static bool
store_flushed(struct cache *cache, uint64_t now, uint64_t *next_ns, struct todo *todo)
{
    struct entry *oldest = NULL;

    for (enum list list = LIST_FULL; list <= LIST_FAILED; list++) {
        struct entry *entry = first_storable(cache, list);

        if (entry != NULL && is_flushed(cache, entry->since)
            && (oldest == NULL || entry->since < oldest->since))
            oldest = entry;
    }
    return oldest != NULL && store_entry(cache, oldest, now, next_ns, todo);
}

/* Store what has been due for longest, of any list, if that is too long. */
static bool
store_overdue(struct cache *cache, uint64_t now, uint64_t *next_ns, struct todo *todo)
{
    struct entry *oldest = NULL;

    for (enum list list = LIST_FULL; list <= LIST_FAILED; list++) {
        struct entry *entry = first_storable(cache, list);

        if (entry != NULL && (oldest == NULL || due_ns(cache, entry) < due_ns(cache, oldest)))
            oldest = entry;
    }
    return oldest != NULL && due_ns(cache, oldest) + OVERDUE_NS <= now
           && store_entry(cache, oldest, now, next_ns, todo);
}

/* Send one thing that is due. */
static bool
store_next(struct cache *cache, uint64_t *next_ns, struct todo *todo)
{
    bool is_flushing = cache->flushes != NULL;
    bool is_pressed = is_under_pressure(cache);
    unsigned limit = cache->config.in_flight_max;
    uint64_t now = clock_now_ns();

    /* In quiet times some places are left for who reads. */
    if (!is_flushing && !is_pressed && limit > 4)
        limit -= limit / 4;
    if (cache->flight_count + cache->completing_count >= limit)
        return false;
    if (is_flushing && store_flushed(cache, now, next_ns, todo))
        return true;
    /* Full ones first, but not for ever. */
    return store_overdue(cache, now, next_ns, todo)
           || store_from(cache, LIST_FULL, true, now, next_ns, todo)
           || store_from(cache, LIST_SOME, is_pressed, now, next_ns, todo)
           || store_from(cache, LIST_HOT, is_pressed, now, next_ns, todo)
           || store_from(cache, LIST_FAILED, false, now, next_ns, todo);
}

static void
timer_at(struct cache *cache, uint64_t at_ns)
{
    if (cache->timer_is_set && cache->timer.at_ns <= at_ns)
        return;
    if (cache->timer_is_set && !pool_timer_cancel(cache->pool, &cache->timer))
        return; /* it is about to run */
    cache->timer_is_set = pool_timer_set(cache->pool, &cache->timer, at_ns) == 0;
    if (!cache->timer_is_set)
        cache->drive_again = true; /* out of memory: no rest until there is some */
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
        uint64_t next_ns = UINT64_MAX;

        cache->drive_again = false;
        fail_stalled(cache, &next_ns, &todo);
        if (!cache->is_spilled && (!cache->is_read_only || !atomic_load(&cache->is_ending))) {
            retry_zeros(cache, &next_ns, &todo);
            while (store_next(cache, &next_ns, &todo))
                ;
        }
        if (next_ns != UINT64_MAX)
            timer_at(cache, next_ns);
        leave(cache, &todo);
        pthread_mutex_lock(&cache->lock);
    } while (cache->drive_again);
    cache->is_driving = false;
    pthread_cond_broadcast(&cache->idle);
    pthread_mutex_unlock(&cache->lock);
}

void
drive_run(struct task *task)
{
    struct cache *cache = container_of(task, struct cache, drive_task);

    pthread_mutex_lock(&cache->lock);
    cache->drive_is_queued = false;
    drive(cache);
}

void
timer_run(struct task *task)
{
    struct cache *cache = container_of(task, struct cache, timer.task);

    pthread_mutex_lock(&cache->lock);
    cache->timer_is_set = false;
    drive(cache);
}
