/* SPDX-License-Identifier: Apache-2.0 */
/* A layer that takes parts of blocks (next_takes_parts of cache.h), in memory that dies with the daemon: what was
 * written is in the store only when it was flushed, or sought, or with is_sync. */
#ifndef SIM_PARTS_H
#define SIM_PARTS_H

#include "store.h"

struct parts_config {
    uint32_t block_bytes; /* at most 64 sectors */
    uint64_t block_count;
    bool is_sync;
};

/* Over `next`, which takes whole blocks. */
struct store *parts_open(const struct parts_config *config, struct store *next);
/* So many writes in a million are not taken. */
void parts_set_refusals(unsigned ppm);
/* Begins to store all that it holds. */
void parts_push(void);
/* How many blocks it holds that the store lacks. */
uint64_t parts_held(void);
/* Nothing is under way, or the daemon is dead. */
void parts_forget(void);

#endif
