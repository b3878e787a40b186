/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon under test: the real layers from the disk down to consistency, over the simulated store. */
#ifndef SIM_DAEMON_H
#define SIM_DAEMON_H

#include "cache.h"
#include "consistency.h"
#include "disk.h"
#include "tier.h"

struct daemon_config {
    struct consistency_config consistency;
    bool has_cache;            /* else whole.h, with room for as many blocks */
    struct cache_config cache; /* next_takes_parts without has_file: over parts.h */
    bool has_file;             /* then that of file.h is below the cache */
    struct tier_config tier;
};

void daemon_open(const struct daemon_config *config);
const struct disk *daemon_disk(void);
/* As cmd_mount does for who takes over from a dead daemon. */
void daemon_hold(void);
/* List everything in the background. */
void daemon_survey(void);
bool daemon_is_surveying(void);
void daemon_stop_listing(void);
uint64_t daemon_settled_at_ns(void);
/* When a request below the cache failed last; 0: never. */
uint64_t daemon_failed_ns(void);
uint64_t daemon_cached_blocks(void);
/* So many writes in a million are not taken by the layer that takes parts. */
void daemon_set_refusals(unsigned ppm);
/* What the layer that takes parts holds is on its way to the store. */
void daemon_push(void);
/* Nobody submits any more: have the cache hand over what is unsaved, with everything below refusing.  False: it was not
 * handed over, and all goes on.  Else only daemon_replay, then daemon_close may follow. */
bool daemon_spill(void);
/* Write to the store, which must be well, what was handed over. */
void daemon_replay(void);
/* With a file.  As tier.h says. */
void daemon_ending(void);
void daemon_pause(void);
uint64_t daemon_unsent(void);
/* All is stored, and every request answered. */
void daemon_close(void);
/* It died: world_kill was called. */
void daemon_forget(void);

#endif
