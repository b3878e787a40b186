/* SPDX-License-Identifier: Apache-2.0 */
/* The cache file of the simulated machine, on a disk that may lose what was not synced when the daemon dies
 * (tests/cachefile/disk.h), and may fail. */
#ifndef SIM_FILE_H
#define SIM_FILE_H

#include "cachefile.h"

struct file_faults {
    unsigned write_of_1000, sync_of_1000;
    int rc;
};

/* None yet.  Borrows the configuration, but for its io. */
void file_new(const struct cachefile_config *config, uint64_t block_count);
void file_free(void);
struct cachefile *file_open(void);
void file_set_faults(const struct file_faults *faults);
/* No power cut can change what is there. */
bool file_is_synced(void);
/* The daemon is dead.  With a power cut, of what was not synced any part is there. */
void file_kill(bool is_power_cut);

/* What would be sent by who opens the file: as it is, or after a power cut now.  Nothing else happens meanwhile. */
void file_look(bool is_power_cut);
/* What file_look saw of a sector, NULL: nothing. */
const char *file_seen(uint64_t block, uint32_t sector);
uint64_t file_seen_blocks(void);

#endif
