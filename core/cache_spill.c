/* SPDX-License-Identifier: Apache-2.0 */
/* What is unsaved, handed to somebody else than the next layer. */
#include "cache_impl.h"

#include "base/util.h"

#include <assert.h>

/* From now on nothing is sent; returns when nothing is on its way any more. */
static void
halt(struct cache *cache)
{
    atomic_store(&cache->is_ending, true);
    pthread_mutex_lock(&cache->lock);
    cache->is_spilled = true;
    while (!is_at_rest(cache))
        pthread_cond_wait(&cache->idle, &cache->lock);
    assert(cache->unsaved == (uint64_t)cache->dirty_count + cache->zero_count);
    assert(cache->flushes == NULL && cache->starving.queue.last == NULL
           && cache->stopped.queue.last == NULL && cache->zeros_full.queue.last == NULL);
    pthread_mutex_unlock(&cache->lock);
}

static void
resume(struct cache *cache)
{
    struct todo todo = { .drive = true };

    atomic_store(&cache->is_ending, false);
    pthread_mutex_lock(&cache->lock);
    cache->is_spilled = false;
    leave(cache, &todo);
}

/* Nobody changes the list, the dirty entries and their data while all is at rest.  Clean entries may go. */

static int
spill_zeros(const struct cache *cache, const struct cache_spill_ops *ops)
{
    int rc = 0;

    for (const struct zero *zero = cache->zeros; zero != NULL && rc == 0; zero = zero->next) {
        assert(zero->is_sent && zero->waiting.last == NULL);
        rc = ops->zero(ops->arg, zero->first, zero->last - zero->first + 1);
    }
    return rc;
}

/* The first dirty one from this slot on. */
static const struct entry *
next_dirty(struct cache *cache, uint32_t slot)
{
    const struct entry *found = NULL;

    pthread_mutex_lock(&cache->lock);
    for (; slot < cache->slot_count && found == NULL; slot++) {
        if (cache->entries[slot].is_dirty)
            found = &cache->entries[slot];
    }
    pthread_mutex_unlock(&cache->lock);
    return found;
}

static int
spill_blocks(struct cache *cache, const struct cache_spill_ops *ops)
{
    const struct entry *entry = next_dirty(cache, 0);
    int rc = 0;

    for (; entry != NULL && rc == 0; entry = next_dirty(cache, slot_of(cache, entry) + 1)) {
        bool is_all_dirty = entry->dirty_count == cache->sectors;

        assert(!is_busy(entry) && entry->waiting.last == NULL);
        rc = ops->block(ops->arg, entry->block,
                        is_complete(cache, entry) ? NULL : valid_map(cache, entry),
                        is_all_dirty ? NULL : dirty_map(cache, entry),
                        frames_data(cache->frames, entry->frame));
    }
    return rc;
}

int
cache_spill(struct store *store, const struct cache_spill_ops *ops)
{
    struct cache *cache = container_of(store, struct cache, store);
    int rc;

    halt(cache);
    rc = spill_zeros(cache, ops);
    if (rc == 0)
        rc = spill_blocks(cache, ops);
    if (rc == 0 && ops->end != NULL)
        rc = ops->end(ops->arg);
    if (rc != 0)
        resume(cache);
    return rc;
}
