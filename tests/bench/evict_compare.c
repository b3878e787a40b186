/* SPDX-License-Identifier: Apache-2.0 */
/* core/evict.c beside other policies, over a trace that trace_record wrote (standard input).
 *
 *   gzip -dc tests/bench/traces/ext4.trace.gz | evict_compare [PHASE]
 *
 * Prints which share of the reads of blocks is a hit: of all reads, or of those in PHASE (a line "# PHASE" begins it).
 * Writes bring their blocks into the cache as reads do.  Nothing is held for longer than a call, nothing read ahead. */
#include "evict.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR_BYTES 512u
#define NOWHERE UINT32_MAX

struct access {
    uint32_t block;
    bool counts;
    uint32_t next; /* when the block is used again, or NOWHERE */
};

static struct access *accesses;
static uint32_t access_count, block_count, footprint;

static void *
room_for(size_t count, size_t bytes)
{
    void *room = calloc(count + 1, bytes);

    if (room == NULL)
        abort();
    return room;
}

/* ---- one cache: a policy says what goes */

struct cache {
    uint32_t slots, used;
    uint32_t *slot_of;  /* by block; NOWHERE: not cached */
    uint32_t *block_of; /* by slot */
};

static void
cache_put(struct cache *cache, uint32_t slot, uint32_t block)
{
    cache->slot_of[block] = slot;
    cache->block_of[slot] = block;
}

/* The one with the lowest key goes: by looking at all of them, which needs no thought. */
static uint32_t
lowest(const struct cache *cache, const int64_t *keys)
{
    uint32_t found = 0;

    for (uint32_t slot = 1; slot < cache->slots; slot++) {
        if (keys[slot] < keys[found])
            found = slot;
    }
    return found;
}

enum by { BY_COMING, BY_LAST_USE, BY_NEXT_USE };

static uint64_t
run_by_key(struct cache *cache, enum by by)
{
    int64_t *keys = room_for(cache->slots, sizeof *keys);
    uint64_t hits = 0;

    for (uint32_t i = 0; i < access_count; i++) {
        uint32_t block = accesses[i].block, slot = cache->slot_of[block];
        bool is_hit = slot != NOWHERE;

        hits += is_hit && accesses[i].counts;
        if (!is_hit) {
            slot = cache->used < cache->slots ? cache->used++ : lowest(cache, keys);
            if (cache->block_of[slot] != NOWHERE)
                cache->slot_of[cache->block_of[slot]] = NOWHERE;
            cache_put(cache, slot, block);
        }
        if (by == BY_NEXT_USE)
            keys[slot] = -(int64_t)accesses[i].next;
        else if (by == BY_LAST_USE || !is_hit)
            keys[slot] = i;
    }
    free(keys);
    return hits;
}

static uint64_t
fifo(struct cache *cache)
{
    return run_by_key(cache, BY_COMING);
}

static uint64_t
lru(struct cache *cache)
{
    return run_by_key(cache, BY_LAST_USE);
}

/* Belady's: what is used again last goes.  Nobody can do better, or know this. */
static uint64_t
best(struct cache *cache)
{
    return run_by_key(cache, BY_NEXT_USE);
}

static uint64_t
ours(struct cache *cache)
{
    struct evict *evict;
    uint64_t hits = 0;

    if (evict_new(cache->slots, 0, &evict) != 0)
        abort();
    for (uint32_t i = 0; i < access_count; i++) {
        uint32_t block = accesses[i].block, slot = cache->slot_of[block];

        if (slot != NOWHERE) {
            hits += accesses[i].counts;
            evict_touch(evict, slot);
            continue;
        }
        if (cache->used < cache->slots) {
            slot = cache->used++;
        } else {
            slot = evict_choose(evict);
            cache->slot_of[cache->block_of[slot]] = NOWHERE;
        }
        cache_put(cache, slot, block);
        evict_insert(evict, slot, block);
        evict_release(evict, slot);
    }
    evict_free(evict);
    return hits;
}

/* ---- S3-FIFO: Yang, Zhang, Qiu, Yue, Rashmi, "FIFO Queues are All You Need for Cache Eviction", SOSP 2023.  A tenth
 * of the slots for new blocks, the rest for those that were used twice while new, or came back as ghosts. */

struct fifo {
    uint32_t *blocks; /* a ring with room for all */
    uint32_t room, first, count;
};

struct s3 {
    struct cache *cache;
    struct fifo small, main;
    uint32_t small_max, ghosts_max;
    uint8_t *uses;       /* by block, at most 3 */
    uint32_t *ghosts_at; /* by block: ghost_count as it became one, from 1 on */
    uint32_t ghost_count;
};

static void
fifo_push(struct fifo *fifo, uint32_t block)
{
    fifo->blocks[(fifo->first + fifo->count++) % fifo->room] = block;
}

static uint32_t
fifo_pop(struct fifo *fifo)
{
    uint32_t block = fifo->blocks[fifo->first];

    fifo->first = (fifo->first + 1) % fifo->room;
    fifo->count--;
    return block;
}

static void
s3_drop(struct s3 *s3, uint32_t block)
{
    s3->cache->slot_of[block] = NOWHERE;
    s3->cache->used--;
}

static void
s3_evict_main(struct s3 *s3)
{
    while (s3->main.count > 0) {
        uint32_t block = fifo_pop(&s3->main);

        if (s3->uses[block] == 0) {
            s3_drop(s3, block);
            return;
        }
        s3->uses[block]--;
        fifo_push(&s3->main, block);
    }
}

static void
s3_evict_small(struct s3 *s3)
{
    while (s3->small.count > 0) {
        uint32_t block = fifo_pop(&s3->small);

        if (s3->uses[block] <= 1) {
            s3->ghosts_at[block] = ++s3->ghost_count;
            s3_drop(s3, block);
            return;
        }
        s3->uses[block] = 0;
        fifo_push(&s3->main, block);
        if (s3->main.count >= s3->cache->slots - s3->small_max && s3->small.count > 0) {
            s3_evict_main(s3);
            return;
        }
    }
}

static uint64_t
s3_fifo(struct cache *cache)
{
    uint32_t small_max = cache->slots >= 10 ? cache->slots / 10 : 1;
    struct s3 s3 = { .cache = cache,
                     .small_max = small_max,
                     .ghosts_max = cache->slots - small_max };
    uint64_t hits = 0;

    s3.small.room = s3.main.room = cache->slots + 1;
    s3.small.blocks = room_for(s3.small.room, sizeof *s3.small.blocks);
    s3.main.blocks = room_for(s3.main.room, sizeof *s3.main.blocks);
    s3.uses = room_for(block_count, sizeof *s3.uses);
    s3.ghosts_at = room_for(block_count, sizeof *s3.ghosts_at);
    for (uint32_t i = 0; i < access_count; i++) {
        uint32_t block = accesses[i].block;

        if (cache->slot_of[block] != NOWHERE) {
            hits += accesses[i].counts;
            s3.uses[block] += s3.uses[block] < 3;
            continue;
        }
        while (cache->used == cache->slots) {
            if (s3.small.count >= s3.small_max)
                s3_evict_small(&s3);
            else
                s3_evict_main(&s3);
        }
        cache->used++;
        cache->slot_of[block] = 0;
        s3.uses[block] = 0;
        fifo_push(s3.ghosts_at[block] != 0 && s3.ghost_count - s3.ghosts_at[block] < s3.ghosts_max
                      ? &s3.main
                      : &s3.small,
                  block);
        s3.ghosts_at[block] = 0;
    }
    free(s3.small.blocks);
    free(s3.main.blocks);
    free(s3.uses);
    free(s3.ghosts_at);
    return hits;
}

/* ---- the comparison */

static const struct policy {
    const char *name;
    uint64_t (*run)(struct cache *cache);
} policies[] = { { "FIFO", fifo },
                 { "LRU", lru },
                 { "S3-FIFO", s3_fifo },
                 { "evict.c", ours },
                 { "the best possible", best } };

#define POLICIES (sizeof policies / sizeof policies[0])

static double
share_of_hits(const struct policy *policy, uint32_t slots, uint64_t counted)
{
    struct cache cache = { .slots = slots };
    uint64_t hits;

    cache.slot_of = room_for(block_count, sizeof *cache.slot_of);
    cache.block_of = room_for(slots, sizeof *cache.block_of);
    memset(cache.slot_of, 0xff, block_count * sizeof *cache.slot_of);
    memset(cache.block_of, 0xff, slots * sizeof *cache.block_of);
    hits = policy->run(&cache);
    free(cache.slot_of);
    free(cache.block_of);
    return 100.0 * (double)hits / (double)counted;
}

/* Also finds the footprint. */
static void
find_next_uses(void)
{
    uint32_t *next = room_for(block_count, sizeof *next);

    footprint = 0;
    memset(next, 0xff, block_count * sizeof *next);
    for (uint32_t i = access_count; i-- > 0;) {
        accesses[i].next = next[accesses[i].block];
        footprint += accesses[i].next == NOWHERE;
        next[accesses[i].block] = i;
    }
    free(next);
}

static void
access_add(uint64_t block, bool counts)
{
    static uint32_t room;

    if (access_count == room) {
        room = room != 0 ? 2 * room : 1024;
        accesses = realloc(accesses, room * sizeof *accesses);
        if (accesses == NULL)
            abort();
    }
    accesses[access_count++] = (struct access){ .block = (uint32_t)block, .counts = counts };
    if (block >= block_count)
        block_count = (uint32_t)block + 1;
}

/* Returns how many accesses count. */
static uint64_t
read_trace(FILE *trace, uint32_t block_bytes, const char *phase_wanted)
{
    uint64_t sectors = block_bytes / SECTOR_BYTES, counted = 0;
    int64_t end = 0, gap, length;
    char line[128], phase[64] = "", operation;

    access_count = block_count = 0;
    rewind(trace);
    while (fgets(line, sizeof line, trace) != NULL) {
        if (sscanf(line, "# %63s", phase) == 1)
            continue;
        if (sscanf(line, "%c %" SCNd64 " %" SCNd64, &operation, &gap, &length) != 3 || end + gap < 0
            || length < 1) {
            fprintf(stderr, "not a line of a trace: %s", line);
            exit(1);
        }
        end += gap + length;
        for (uint64_t block = (uint64_t)(end - length) / sectors;
             block <= (uint64_t)(end - 1) / sectors; block++) {
            bool counts =
                operation == 'r' && (phase_wanted == NULL || strcmp(phase, phase_wanted) == 0);

            counted += counts;
            access_add(block, counts);
        }
    }
    find_next_uses();
    return counted;
}

/* Standard input may be a pipe, and is read once for each size of blocks. */
static FILE *
copy_of(FILE *from)
{
    FILE *copy = tmpfile();
    char line[128];

    if (copy == NULL)
        abort();
    while (fgets(line, sizeof line, from) != NULL)
        fputs(line, copy);
    return copy;
}

int
main(int argc, char **argv)
{
    static const uint32_t block_kib[] = { 64, 1024 }, percents[] = { 1, 5, 10, 20, 50 };
    FILE *trace = copy_of(stdin);

    printf("| block | cache |");
    for (size_t i = 0; i < POLICIES; i++)
        printf(" %s |", policies[i].name);
    printf("\n| --- | --- |");
    for (size_t i = 0; i < POLICIES; i++)
        printf(" ---: |");
    for (size_t size = 0; size < 2; size++) {
        uint64_t counted = read_trace(trace, block_kib[size] * 1024, argc > 1 ? argv[1] : NULL);

        if (counted == 0) {
            fprintf(stderr, "no reads\n");
            return 1;
        }
        for (size_t share = 0; share < sizeof percents / sizeof percents[0]; share++) {
            uint32_t slots = footprint * percents[share] / 100;

            if (slots == 0)
                slots = 1;
            printf("\n| %" PRIu32 " KiB | %" PRIu32 " %%: %" PRIu32 " blocks |", block_kib[size],
                   percents[share], slots);
            for (size_t i = 0; i < POLICIES; i++)
                printf(" %.1f |", share_of_hits(&policies[i], slots, counted));
        }
    }
    printf("\n");
    free(accesses);
    fclose(trace);
    return 0;
}
