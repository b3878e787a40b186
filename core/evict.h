/* SPDX-License-Identifier: Apache-2.0 */
/* Which block leaves the cache when another one needs its room: 2Q, so that a scan does not drive out what is used
 * again and again.  See Johnson and Shasha, "2Q: A Low Overhead High Performance Buffer Management Replacement
 * Algorithm", VLDB 1994, the full version; evict.c says where it differs.
 *
 * Pure bookkeeping over slots 0 .. slots_max - 1, each of which is free, held or waiting to be chosen.  Knows
 * nothing of data.  No call takes longer for more slots; none but evict_new allocates: 36 bytes a slot, ghosts
 * included.  Not thread-safe: belongs to the cache. */
#ifndef CORE_EVICT_H
#define CORE_EVICT_H

#include <stdbool.h>
#include <stdint.h>

#define EVICT_NONE UINT32_MAX

struct evict;

/* `slots_max` is at least 1.  Blocks below `protected_count` are chosen only when nothing else is left.
 * Gives `*out`.  Fails with -ENOMEM. */
int evict_new(uint32_t slots_max, uint64_t protected_count, struct evict **out);
void evict_free(struct evict *evict);

/* A block that was not cached now has the free slot `slot`, held. */
void evict_insert(struct evict *evict, uint32_t slot, uint64_t block);
/* The block in `slot`, held or not, was used.  One that was released counts as used then. */
void evict_touch(struct evict *evict, uint32_t slot);
/* The slot was held, and may be chosen from now on, as one that was just used. */
void evict_release(struct evict *evict, uint32_t slot);
/* May not be chosen any more; the slot was released. */
void evict_hold(struct evict *evict, uint32_t slot);
/* The block is gone for another reason than being chosen; the slot, held or not, is free. */
void evict_remove(struct evict *evict, uint32_t slot);
/* The slot whose block should go, EVICT_NONE if all are held or free.  It is free then, and its block may be
 * remembered for a while: if it comes back, it is worth more than one that is new. */
uint32_t evict_choose(struct evict *evict);

#endif
