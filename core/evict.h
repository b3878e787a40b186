/* SPDX-License-Identifier: Apache-2.0 */
/* Which block leaves the cache when another one needs its room, so that a scan does not drive out what is used again
 * and again.
 *
 * The queues are those of 2Q (Johnson and Shasha, "2Q: A Low Overhead High Performance Buffer Management Replacement
 * Algorithm", VLDB 1994, the full version), and in the queue of hot blocks second chances replace LRU, as in S3-FIFO
 * (Yang and others, "FIFO Queues are All You Need for Cache Eviction", SOSP 2023).  S3-FIFO as it is takes the parts
 * of a block that a sequential reader asks for as uses that count, and with blocks of 1 MiB lets a scan in;
 * tests/bench/README.md has the figures.
 *
 * In a cache full of hot blocks an eighth of the slots is left for new ones: what is read ahead further than that
 * must be held until it is used, or it goes before.
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
/* The block in `slot`, held or not, was used.  Its being inserted or released is no use. */
void evict_touch(struct evict *evict, uint32_t slot);
/* The slot was held, and may be chosen from now on, after all others like it. */
void evict_release(struct evict *evict, uint32_t slot);
/* May not be chosen any more; the slot was released. */
void evict_hold(struct evict *evict, uint32_t slot);
/* The block is gone for another reason than being chosen; the slot, held or not, is free. */
void evict_remove(struct evict *evict, uint32_t slot);
/* The slot whose block should go, EVICT_NONE if all are held or free.  It is free then, and its block may be
 * remembered for a while: if it comes back, it is worth more than one that is new. */
uint32_t evict_choose(struct evict *evict);
/* What was just chosen can't go now, and keeps its place: it is the first again that may be chosen of its like.  Of
 * several, the last one chosen comes first. */
void evict_unchoose(struct evict *evict, uint32_t slot);

#endif
