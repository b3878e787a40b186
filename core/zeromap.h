/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of each block: that it has no object (it is zeros), that it may have one, or nothing.
 *
 * Only ZERO is a claim; saying DATA of a block that has no object costs a request and no more.  A chunk of
 * blocks that are all alike costs 16 bytes, a mixed one 2 bits a block.
 * Not thread-safe: belongs to consistency, which sets ZERO only under the block's order. */
#ifndef CORE_ZEROMAP_H
#define CORE_ZEROMAP_H

#include <stdint.h>

enum block_state {
    BLOCK_UNKNOWN = 0,
    BLOCK_ZERO = 1,
    BLOCK_DATA = 2,
};

struct zeromap;

int zeromap_new(uint64_t block_count, struct zeromap **out);
void zeromap_free(struct zeromap *map);

enum block_state zeromap_get(const struct zeromap *map, uint64_t block);
/* Out of memory makes the whole chunk DATA, which claims nothing. */
void zeromap_set(struct zeromap *map, uint64_t block, enum block_state state);
/* Every block of [first, end) that is in state `from` goes to state `to`. */
void zeromap_change(struct zeromap *map, uint64_t first, uint64_t end, enum block_state from,
                    enum block_state to);
/* The first block of [first, end) in one of the states (bits 1 << state); `end` if there is none. */
uint64_t zeromap_find(const struct zeromap *map, uint64_t first, uint64_t end, unsigned states);
/* How many of [first, end) are UNKNOWN; stops counting at `enough`. */
uint64_t zeromap_count_unknown(const struct zeromap *map, uint64_t first, uint64_t end,
                               uint64_t enough);
/* Of all blocks, at once. */
uint64_t zeromap_data_count(const struct zeromap *map);
uint64_t zeromap_zero_count(const struct zeromap *map);

#endif
