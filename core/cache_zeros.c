/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges of blocks that become zeros. */
#include "cache_impl.h"

#include "base/clock.h"
#include "base/util.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct zero *
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
    zero->trip.below.op = STORE_ZERO;
    zero->trip.below.block = zero->first;
    zero->trip.below.count = zero->last - zero->first + 1;
    send_later(todo, &zero->trip);
}

void
zero_ready(struct cache *cache, struct zero *zero, struct todo *todo)
{
    zero->is_sent = true;
    if (cache->config.is_sync) {
        flush_add(cache, zero->waiter, zero->since, todo);
    } else {
        zero->waiter->rc = 0;
        queue_push(&todo->ended, zero->waiter);
    }
    zero->waiter = NULL;
    queue_move(&zero->waiting, &todo->again);
    zero_send(cache, zero, todo);
}

void
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
entries_in(struct cache *cache, uint64_t first, uint64_t last, struct zero *zero, struct todo *todo,
           void (*visit)(struct cache *cache, struct zero *zero, struct entry *entry,
                         struct todo *todo))
{
    uint32_t used = cache->slot_count - cache->free_count;

    if (last - first < used) {
        for (uint64_t block = first; block <= last; block++) {
            struct entry *entry = entry_of(cache, block);

            if (entry != NULL)
                visit(cache, zero, entry, todo);
        }
        return;
    }
    for (uint32_t slot = 0; used > 0; slot++) { /* the first slots are used first */
        struct entry *entry = &cache->entries[slot];

        used -= entry->is_used;
        if (entry->is_used && entry->block >= first && entry->block <= last)
            visit(cache, zero, entry, todo);
    }
}

static void
zero_meets(struct cache *cache, struct zero *zero, struct entry *entry, struct todo *todo)
{
    (void)todo;
    if (is_busy(entry))
        zero->pending++;
    else
        zero_take(cache, zero, entry);
}

static void
zero_leaves(struct cache *cache, struct zero *zero, struct entry *entry, struct todo *todo)
{
    (void)zero, (void)todo;
    if (entry->is_parked && zero_covering(cache, entry->block, entry->block) == NULL) {
        entry->is_parked = false;
        entry_list(cache, entry);
    }
}

/* What is parked could not be stored either. */
static void
zero_fails(struct cache *cache, struct zero *zero, struct entry *entry, struct todo *todo)
{
    uint64_t since = entry->since;

    if (!entry->is_parked)
        return;
    cache->unsaved++;
    entry->since = ++cache->sequence;
    unsaved_end(cache, since, zero->trip.below.rc, todo);
}

static void
zero_done(struct store_req *below)
{
    struct zero *zero = container_of(container_of(below, struct trip, below), struct zero, trip);
    struct cache *cache = zero->trip.cache;
    struct todo todo = { .drive = true };

    pthread_mutex_lock(&cache->lock);
    zero->is_under_way = false;
    queue_move(&zero->waiting, &todo.again);
    unsaved_end(cache, zero->since, below->rc, &todo);
    if (below->rc != 0) {
        cache->unsaved++;
        zero->since = ++cache->sequence;
        zero->due_ns = clock_now_ns() + FAILED_PAUSE_NS;
        if (zero->has_parked)
            entries_in(cache, zero->first, zero->last, zero, &todo, zero_fails);
        cache->has_failed = true;
        cache->is_read_only = cache->is_read_only || below->rc == -EROFS;
    } else {
        struct zero **link = &cache->zeros;

        cache->stored_ns = clock_now_ns();
        while (*link != zero)
            link = &(*link)->next;
        *link = zero->next;
        cache->zero_count--;
        if (zero->has_parked)
            entries_in(cache, zero->first, zero->last, zero, &todo, zero_leaves);
        free(zero);
    }
    leave(cache, &todo);
}

void
zero_start(struct cache *cache, struct store_req *req, struct waiter *waiter)
{
    uint64_t first = req->block, last = req->block + req->count - 1;
    struct todo todo = { 0 };
    struct zero *zero;

    pthread_mutex_lock(&cache->lock);
    assert(!cache->is_spilled);
    waiter = waiter_of(cache, req, waiter, &todo);
    if (waiter == NULL)
        return;
    if (cache->zero_count == ZEROS_MAX) {
        wait_at(cache, &cache->zeros_full, req, waiter, NULL, &todo);
        return;
    }
    zero = zero_covering(cache, first, last);
    if (zero != NULL) {
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
    zero->came_s = clock_now_ns() / NS_PER_S;
    zero->waiter = waiter;
    zero->next = cache->zeros;
    cache->zeros = zero;
    cache->zero_count++;
    if (cache->unsaved++ == 0)
        cache->stored_ns = clock_now_ns();
    entries_in(cache, first, last, zero, &todo, zero_meets);
    if (zero->pending == 0)
        zero_ready(cache, zero, &todo);
    leave(cache, &todo);
}

void
retry_zeros(struct cache *cache, uint64_t *due_ns, struct todo *todo)
{
    uint64_t now = clock_now_ns();

    for (struct zero *zero = cache->zeros; zero != NULL; zero = zero->next) {
        if (!zero->is_sent || zero->is_under_way)
            continue;
        if (is_flushed(cache, zero->since) || zero->due_ns <= now)
            zero_send(cache, zero, todo);
        else if (zero->due_ns < *due_ns)
            *due_ns = zero->due_ns;
    }
}
