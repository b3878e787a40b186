/* SPDX-License-Identifier: Apache-2.0 */
/* The block cache: reads from memory, writes accepted into it and stored later.
 *
 * - A write waits for the store only when there is no room for it (or is_sync); part of a block never waits for
 *   the rest of it, except inside one sector.
 * - FLUSH is done when all that was dirty when it came is stored; it reports any error of that.
 * - What could not be stored stays dirty and is tried again.
 * - Of one block, no two requests are ever at the next layer at once.
 * - A ZERO is done when it is on its way: a flush waits for it as for writes.
 * - Sequential readers find their blocks fetched ahead (readahead.h).
 *
 * Beside its data a block costs 72 bytes for its entry, 36 in `evict`, 8 in `frames` and up to 8 in the hash table, and
 * two bits a sector.
 *
 * Takes parts of blocks, asks the next layer for whole ones.  Any thread; completes on any thread. */
#ifndef CORE_CACHE_H
#define CORE_CACHE_H

#include "base/pool.h"
#include "base/stats.h"
#include "store.h"

/* Validity is known for each of these. */
#define SECTOR_BYTES 512u

#define CACHE_READ_AHEAD_ADAPTIVE UINT32_MAX

struct cache_config {
    uint32_t block_bytes; /* a power of two, at least SECTOR_BYTES */
    uint64_t block_count;
    uint32_t
        blocks_max; /* of memory, at least 1; one in sixteen more, at most in_flight_max, are for blocks in motion */
    uint32_t dirty_max;      /* blocks, at most seven eighths of blocks_max; 0: that */
    uint64_t write_delay_ns; /* how long a dirty block waits for more writes */
    uint64_t
        write_delay_max_ns; /* the same for one that is written to again and again; at least write_delay_ns */
    uint64_t idle_ns;         /* a clean block that nobody used for so long is dropped; 0: never */
    uint64_t protected_count; /* blocks below it are evicted last */
    unsigned in_flight_max;   /* requests at the store, writes and reads ahead, at least 1 */
    uint64_t stall_ns; /* who waits for room so long fails if nothing can be stored; 0: never */
    bool is_reader;    /* somebody else writes: idle_ns counts from the fetch on */
    bool is_sync;      /* a write is done when the store has it */
    uint32_t read_ahead_max; /* blocks; 0: none; CACHE_READ_AHEAD_ADAPTIVE: as many as it takes */
    uint32_t read_ahead_trigger; /* blocks read in a row before anything is read ahead */
};

int cache_new(const struct cache_config *config, struct store *next, struct pool *pool,
              struct stats *stats, struct store **out);
/* Nothing in flight, nothing dirty (see FLUSH). */
void cache_free(struct store *store);

#endif
