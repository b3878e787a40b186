/* SPDX-License-Identifier: Apache-2.0 */
/* The cache file's index: which block is in which slot, what is free, who goes. */
#include "cachefile_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* So many that have been used are passed over in one go. */
#define SPARED_MAX 32u

static uint32_t
bucket_of(const struct cachefile *file, uint64_t block)
{
    return (uint32_t)((block * 0x9e3779b97f4a7c15u) >> 32) & file->bucket_mask;
}

int
index_new(struct cachefile *file, uint32_t slots)
{
    uint32_t buckets = 1;

    while (buckets < slots)
        buckets *= 2;
    file->index = calloc(slots, sizeof *file->index);
    file->buckets = malloc(buckets * sizeof *file->buckets);
    if (file->index == NULL || file->buckets == NULL) {
        index_free(file);
        return -ENOMEM;
    }
    memset(file->buckets, 0xff, buckets * sizeof *file->buckets);
    file->bucket_mask = buckets - 1;
    file->slot_count = slots;
    file->free_first = file->pending_first = file->pending_last = SLOT_NONE;
    file->free_count = file->used_count = file->dirty_count = 0;
    file->bad_count = file->ghost_count = 0;
    file->hand = 0;
    return 0;
}

void
index_free(struct cachefile *file)
{
    free(file->index);
    free(file->buckets);
    file->index = NULL;
    file->buckets = NULL;
}

uint32_t
index_find(const struct cachefile *file, uint64_t block)
{
    uint32_t slot = file->buckets[bucket_of(file, block)];

    while (slot != SLOT_NONE && file->index[slot].block != block)
        slot = file->index[slot].hash_next;
    return slot;
}

/* One after the other is found if they are few, else all slots are looked at. */
static bool
is_narrow(const struct cachefile *file, uint64_t first, uint64_t last)
{
    return last - first < file->slot_count;
}

uint64_t
index_range_steps(const struct cachefile *file, uint64_t first, uint64_t last)
{
    return is_narrow(file, first, last) ? last - first + 1 : file->slot_count;
}

uint32_t
index_range_find(const struct cachefile *file, uint64_t first, uint64_t last, uint64_t step)
{
    const struct slot *entry = &file->index[step];

    if (is_narrow(file, first, last))
        return index_find(file, first + step);
    return entry->state == SLOT_LIVE && entry->block >= first && entry->block <= last
               ? (uint32_t)step
               : SLOT_NONE;
}

void
index_set(struct cachefile *file, uint32_t slot, uint64_t block, uint64_t sequence, uint64_t at,
          bool is_dirty)
{
    struct slot *entry = &file->index[slot];
    uint32_t *bucket = &file->buckets[bucket_of(file, block)];

    assert(entry->state != SLOT_LIVE && index_find(file, block) == SLOT_NONE);
    entry->block = block;
    entry->sequence = sequence;
    entry->at = at;
    entry->state = SLOT_LIVE;
    entry->uses = 0;
    entry->is_dirty = is_dirty;
    entry->is_fresh = false;
    entry->is_released = false;
    entry->hash_next = *bucket;
    *bucket = slot;
    file->used_count++;
    file->dirty_count += is_dirty;
    file->ghost_count -= entry->is_ghost;
    entry->is_ghost = false;
}

void
index_remove(struct cachefile *file, uint32_t slot)
{
    struct slot *entry = &file->index[slot];
    uint32_t *link = &file->buckets[bucket_of(file, entry->block)];

    assert(entry->state == SLOT_LIVE);
    while (*link != slot)
        link = &file->index[*link].hash_next;
    *link = entry->hash_next;
    entry->state = SLOT_WRITING;
    file->used_count--;
    file->dirty_count -= entry->is_dirty;
}

void
index_remove_silently(struct cachefile *file, uint32_t slot)
{
    index_remove(file, slot);
    file->index[slot].is_ghost = true;
    file->ghost_count++;
}

void
index_push_free(struct cachefile *file, uint32_t slot)
{
    file->index[slot].state = SLOT_FREE;
    file->index[slot].next = file->free_first;
    file->free_first = slot;
    file->free_count++;
}

void
index_push_pending(struct cachefile *file, uint32_t slot, uint64_t sequence)
{
    struct slot *entry = &file->index[slot];

    entry->state = SLOT_PENDING;
    entry->is_released = false;
    entry->sequence = sequence;
    entry->next = SLOT_NONE;
    if (file->pending_last == SLOT_NONE)
        file->pending_first = slot;
    else
        file->index[file->pending_last].next = slot;
    file->pending_last = slot;
}

void
index_release_pending(struct cachefile *file)
{
    while (file->pending_first != SLOT_NONE
           && file->index[file->pending_first].sequence <= file->durable) {
        uint32_t slot = file->pending_first;
        struct slot *entry = &file->index[slot];

        file->pending_first = entry->next;
        if (file->pending_first == SLOT_NONE)
            file->pending_last = SLOT_NONE;
        if (entry->pins > 0)
            entry->is_released = true;
        else
            index_push_free(file, slot);
    }
}

void
index_unpin(struct cachefile *file, uint32_t slot)
{
    struct slot *entry = &file->index[slot];

    assert(entry->pins > 0 && file->pin_count > 0);
    file->pin_count--;
    if (--entry->pins == 0 && entry->state == SLOT_PENDING && entry->is_released)
        index_push_free(file, slot);
}

/* Second chance: who was used is passed over and counts for less, so that a scan, whose blocks are used once,
 * pushes out other such blocks.  Of what is clean, the data must be there until recovery does not look at it
 * any more: else an older version would seem to be the last one that is whole.  If that keeps new ones in
 * place, old ones that are used need not suffer from it. */
static uint32_t
evict(struct cachefile *file, bool is_last)
{
    unsigned spared = 0;
    bool is_early = false;

    if (file->used_count == file->dirty_count)
        return SLOT_NONE;
    for (uint64_t step = 0; step < (USES_MAX + 1) * (uint64_t)file->slot_count; step++) {
        uint32_t slot = file->hand;
        struct slot *entry = &file->index[slot];

        if (step == file->slot_count && is_early && !is_last)
            break;

        file->hand = slot + 1 < file->slot_count ? slot + 1 : 0;
        if (entry->state != SLOT_LIVE || entry->is_dirty || entry->pins > 0)
            continue;
        if (entry->sequence > file->marked) {
            is_early = true;
            continue;
        }
        if (entry->uses > 0 && (spared < SPARED_MAX || (is_early && !is_last))) {
            entry->uses -= spared++ < SPARED_MAX;
            continue;
        }
        index_remove_silently(file, slot);
        file->evicted++;
        return slot;
    }
    return SLOT_NONE;
}

uint32_t
index_take(struct cachefile *file, bool is_last)
{
    uint32_t slot = file->free_first;

    if (slot == SLOT_NONE)
        return evict(file, is_last);
    file->free_first = file->index[slot].next;
    file->free_count--;
    file->index[slot].state = SLOT_WRITING;
    return slot;
}
