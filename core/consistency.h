/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a store of objects behave like blocks of one disk.
 *
 * - Requests for one block are carried out in the order of their arrival; writes never overlap.  (Only a
 *   read does not wait for a write that is held, and gives what was there before.)
 * - After a write of unknown outcome, a different version of the block waits until the store cannot carry
 *   the lost one out any more.
 * - Reads that are older than what was written are retried, then fail; never zeros for data.
 * - Blocks known to have no object cost nothing.
 * - A version is told, and said to be the same, only where nothing lost can still take its place.
 *
 * Takes whole blocks.  Any thread; completes on any thread. */
#ifndef CORE_CONSISTENCY_H
#define CORE_CONSISTENCY_H

#include "objects.h"
#include "recent.h"
#include "store.h"

struct consistency_config {
    const struct layout *layout; /* borrowed */
    struct recent_config recent;
    uint64_t stall_read_ns; /* then a stale read fails */
    unsigned listers_max;   /* listings at once, of one survey; at least 1 */
    bool is_reader;         /* somebody else writes: no block stays known to be zeros */
    /* and so do we: a write has ended only when nothing of it can be carried out late, over another's */
    bool is_shared;
};

int consistency_new(const struct consistency_config *config, struct objects *objects,
                    struct pool *pool, struct stats *stats, struct store **out);
void consistency_free(struct store *store); /* nothing in flight */

/* List the whole volume in the background, so that every block is known; says in the log how far it is.  `done` is
 * called when that has ended, well or not.  One at a time. */
void consistency_survey(struct store *store, void (*done)(void *arg, int rc), void *arg);
/* A daemon that stops has no use for it: it ends soon, with -ECANCELED, and seeks that list do.  What still is to
 * be zeroed may list all the same. */
void consistency_stop_listing(struct store *store);

/* So long the store may carry out what somebody else has sent: every write waits for that. */
void consistency_hold(struct store *store, uint64_t ns);

/* Blocks that have an object, as far as is known. */
uint64_t consistency_data_blocks(struct store *store);

/* When the last write of unknown outcome will be settled, CLOCK_BOOTTIME; in the past or 0: none is left.
 * A daemon that ends earlier leaves a write behind that could still overtake its successor's. */
uint64_t consistency_settled_at_ns(struct store *store);

#endif
