/* SPDX-License-Identifier: Apache-2.0 */
/* The cache file as a layer: blocks on local disk, between the memory cache and the store.
 *
 * - A WRITE is done when the cache file has it (with is_sync: when the store has it, and the file knows
 *   nothing older that is dirty); it may be of some sectors of a block.  Only when everything in the file waits to be stored, or has waited for too long, does it wait.
 * - A FLUSH is done when what was written before survives the machine: in the store, or in the file, as `durability`
 *   says.  In both cases the file knows then, so that what it sends after a crash is never older than what the store has.
 * - A ZERO is done when the store has it.
 * - What is read from the store is kept, and given again as long as the store still has that version: asked
 *   once after each start.
 * - What the file had not sent when the daemon ended, it sends after the next start.
 *
 * When the file fails, writes go to the store, and what is in the file and readable still is sent there.
 *
 * The layer above never has a WRITE or ZERO of a block and anything else of it at once.  Whole blocks but
 * for WRITE; any thread; completes on any thread.  Of what is not stored 16 bytes a block are kept beside cachefile's. */
#ifndef CORE_TIER_H
#define CORE_TIER_H

#include "base/pool.h"
#include "base/stats.h"
#include "cachefile.h"
#include "store.h"

enum tier_durability {
    TIER_STORE,
    TIER_FILE,
};

struct tier_config {
    struct cachefile *file; /* borrowed */
    uint32_t block_bytes;
    enum tier_durability durability;
    bool is_sync;
    bool is_reader;   /* somebody else writes: each read asks whether the version is the store's */
    bool trusts_file; /* no read asks, if the file was closed in order */
    uint64_t write_delay_ns; /* how long a block waits for more writes before it is sent */
    /* writers are slowed, so that nothing waits longer to be sent; 0: no bound */
    uint64_t unsent_max_ns;
    unsigned in_flight_max; /* blocks being sent, at least 1 */
    /* who waits for room so long fails if nothing can be stored; UINT64_MAX: never */
    uint64_t stall_ns;
};

/* Begins with sending what is dirty in the file. */
int tier_new(const struct tier_config *config, struct store *next, struct pool *pool,
             struct stats *stats, struct store **out);
/* No request under way from above. */
void tier_free(struct store *store);

/* From now on nothing waits to be sent, and a FLUSH waits for the store, whatever the durability. */
void tier_ending(struct store *store);
/* From now on (until tier_ending) nothing that the file has is sent any more, and who waits for that gets -ECANCELED.
 * Returns when nothing of it is on its way; requests from above that go to the store still do. */
void tier_stop(struct store *store);
/* Blocks that the store does not have. */
uint64_t tier_unsent(struct store *store);

#endif
