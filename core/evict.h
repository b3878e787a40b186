/* SPDX-License-Identifier: Apache-2.0 */
/* Which block leaves the cache when another one needs its room: 2Q, as in Johnson and Shasha, "2Q: A Low
 * Overhead High Performance Buffer Management Replacement Algorithm", VLDB 1994 (the full version).
 *
 * Pure bookkeeping over slots 0 .. slots_max - 1, each of which is free, held or waiting to be chosen.  Knows
 * nothing of data.  Not thread-safe: belongs to the cache. */
#ifndef CORE_EVICT_H
#define CORE_EVICT_H

#include <stdbool.h>
#include <stdint.h>

#define EVICT_NONE UINT32_MAX

struct evict;

/* Blocks below `protected_count` are chosen only when nothing else is left. */
int evict_new(uint32_t slots_max, uint64_t protected_count, struct evict **out);
void evict_free(struct evict *evict);

/* A block that was not cached now has the free slot `slot`, held. */
void evict_insert(struct evict *evict, uint32_t slot, uint64_t block);
/* The block in `slot`, held or not, was used. */
void evict_touch(struct evict *evict, uint32_t slot);
/* May be chosen from now on, as one that was just used. */
void evict_release(struct evict *evict, uint32_t slot);
/* May not be chosen any more; the slot was released. */
void evict_hold(struct evict *evict, uint32_t slot);
/* The block is gone for another reason than being chosen; the slot, held or not, is free. */
void evict_remove(struct evict *evict, uint32_t slot);
/* The slot whose block should go, EVICT_NONE if all are held or free.  It is free then, and its block remembered for
 * a while: if it comes back, it is worth more than one that is new. */
uint32_t evict_choose(struct evict *evict);

#endif
