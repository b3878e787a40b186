/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon under test: the real layers from the disk down to consistency, over the simulated store. */
#ifndef SIM_DAEMON_H
#define SIM_DAEMON_H

#include "cache.h"
#include "consistency.h"
#include "disk.h"

struct daemon_config {
    struct consistency_config consistency;
    bool has_cache; /* else whole.h, with room for as many blocks */
    struct cache_config cache;
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
/* All is stored, and every request answered. */
void daemon_close(void);
/* It died: world_kill was called. */
void daemon_forget(void);

#endif
