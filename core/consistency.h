/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a store of objects behave like blocks of one disk.
 *
 * - Requests for one block are carried out in the order of their arrival; writes never overlap.
 * - After a write of unknown outcome, a different version of the block waits until the store cannot carry
 *   the lost one out any more.
 * - Reads that are older than what was written are retried, then fail; never zeros for data.
 * - Blocks known to have no object cost nothing.
 *
 * Takes whole blocks.  Any thread; completes on any thread. */
#ifndef CORE_CONSISTENCY_H
#define CORE_CONSISTENCY_H

#include "objects.h"
#include "store.h"

struct consistency_config {
    const struct layout *layout; /* borrowed */
    uint64_t settle_ns;          /* --settle-time: 0 takes the risk that s3backer takes */
    uint64_t write_gap_ns;       /* --minWriteDelay: between two writes of one block */
    uint64_t tag_keep_ns;        /* --md5CacheTime: how long a written block's tag is expected */
    uint64_t tag_count_max;      /* --md5CacheSize: of how many blocks; 0: of none */
    uint64_t stall_read_ns;      /* then a stale read fails */
};

int consistency_new(const struct consistency_config *config, struct objects *objects,
                    struct pool *pool, struct stats *stats, struct store **out);
void consistency_free(struct store *store); /* nothing in flight */

/* List the whole volume in the background, so that every block is known.  `done` is called when
 * that has ended, well or not.  Once. */
void consistency_survey(struct store *store, void (*done)(void *arg, int rc), void *arg);

/* Blocks that have an object, as far as is known. */
uint64_t consistency_data_blocks(struct store *store);

/* When the last write of unknown outcome will be settled, CLOCK_BOOTTIME; in the past or 0: none is left.
 * A daemon that ends earlier leaves a write behind that could still overtake its successor's. */
uint64_t consistency_settled_at_ns(struct store *store);

#endif
