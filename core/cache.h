/* SPDX-License-Identifier: Apache-2.0 */
/* The block cache: reads from memory, writes accepted into it and stored later.
 *
 * - A write waits for the store only when there is no room for it (or is_sync); part of a block never waits for
 *   the rest of it, except inside one sector.
 * - FLUSH is done when all that was dirty when it came is stored; it reports any error of that.  With next_takes_parts
 *   it goes on to the next layer then, which answers it.
 * - What could not be stored stays dirty and is tried again.
 * - Of one block, no two requests are ever at the next layer at once.
 * - A ZERO is done when it is on its way: a flush waits for it as for writes.
 * - Sequential readers find their blocks fetched ahead (readahead.h).
 *
 * Beside its data a block costs 72 bytes for its entry, 36 in `evict`, 8 in `frames` and up to 8 in the hash table, and
 * two bits a sector; with next_takes_parts a block that is sent with sectors missing costs one more bit a sector on its way.
 *
 * Takes parts of blocks, asks the next layer for whole ones; with next_takes_parts it writes what it has of a block, never
 * fetching the rest to do so.  Any thread; completes on any thread. */
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
        blocks_max; /* of memory, at least 1; one in sixteen more, at most in_flight_max, are for blocks in motion; none
                       with next_takes_parts */
    uint32_t dirty_max;      /* blocks, at most seven eighths of blocks_max; 0: that */
    uint64_t write_delay_ns; /* how long a dirty block waits for more writes */
    /* the same for one that is written to again and again; at least write_delay_ns */
    uint64_t write_delay_max_ns;
    uint64_t idle_ns;         /* a clean block that nobody used for so long is dropped; 0: never */
    uint64_t protected_count; /* blocks below it are evicted last */
    unsigned in_flight_max;   /* requests at the store, writes and reads ahead, at least 1 */
    uint64_t stall_ns; /* who waits for room so long fails if nothing can be stored; 0: never */
    bool is_reader;    /* somebody else writes: idle_ns counts from the fetch on */
    bool is_sync;      /* a write is done when the store has it */
    /* The next layer takes blocks in part (store_req.valid), keeps what it took, of which a READ gives whole blocks, and
     * is to be flushed.  With is_sync its WRITE and ZERO are done when the store has them. */
    bool next_takes_parts;
    uint32_t read_ahead_max; /* blocks; 0: none; CACHE_READ_AHEAD_ADAPTIVE: as many as it takes */
    uint32_t read_ahead_trigger; /* blocks read in a row before anything is read ahead */
};

int cache_new(const struct cache_config *config, struct store *next, struct pool *pool,
              struct stats *stats, struct store **out);

/* Who takes what is unsaved.  Each gives 0 or a negative errno, which ends the spilling.  Called without a lock, one after
 * the other on the thread of cache_spill; must not call the cache. */
struct cache_spill_ops {
    void *arg;
    /* Blocks [first, first + count) were zeroed. */
    int (*zero)(void *arg, uint64_t first, uint64_t count);
    /* The block's sectors in `valid` are these of `data`, a whole block; those in `dirty`, some of them, are all that the
     * store may lack: the others it had when they were fetched or stored.  Maps as in store_req: a bit a sector, NULL:
     * all.  Borrows everything. */
    int (*block)(void *arg, uint64_t block, const uint64_t *valid, const uint64_t *dirty,
                 const void *data);
    /* That was all; if it cannot be kept, the spilling has failed.  NULL: nothing is to be done. */
    int (*end)(void *arg);
};

/* Hands over all that the next layer lacks.  Carried out one after the other, it gives the right contents, whatever
 * became of earlier attempts to store it; failed writes and zeros are among it, also those that is_sync reported.
 *
 * All requests must have been answered, and none may come any more.  Waits for what is still on its way to the next layer, which should
 * refuse everything by now: what it takes is not handed over.
 *
 * 0: all was handed over, and only cache_free may follow.  Else the error of `ops`; everything is as it was, requests may
 * come again, and what is dirty is stored again. */
int cache_spill(struct store *store, const struct cache_spill_ops *ops);

/* Nothing in flight, nothing dirty (see FLUSH).  What is dirty all the same is dropped when it was spilled, or when
 * -EROFS came from below. */
void cache_free(struct store *store);

#endif
