/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon under test: the real layers from the disk down to consistency, over the simulated store. */
#ifndef SIM_DAEMON_H
#define SIM_DAEMON_H

#include "bucket.h"
#include "disk.h"

struct daemon_config {
    const struct layout *layout;
    struct recent_config recent;
    uint64_t stall_read_ns;
    bool has_cache; /* else whole.h, with room for so many blocks */
    uint32_t blocks_max;
    struct cache_config cache;
};

void daemon_open(const struct daemon_config *config);
const struct disk *daemon_disk(void);
void daemon_hold(void);
void daemon_survey(void);
bool daemon_is_surveying(void);
uint64_t daemon_settled_at_ns(void);
/* All is stored and answered. */
void daemon_close(void);
/* It died. */
void daemon_forget(void);

#endif
