/* SPDX-License-Identifier: Apache-2.0 */
/* Orderly stops: a thread that takes SIGTERM, SIGINT and SIGHUP and unmounts while the disk is still served.
 *
 * A disk under a mounted filesystem must not go away under it.  So the first signal stores everything and
 * unmounts; while somebody uses the disk it says who and keeps trying, and serving.  A second signal, or
 * the time-out, stores everything once more and detaches by force. */
#ifndef CORE_STOPPER_H
#define CORE_STOPPER_H

#include "disk.h"
#include "fuse.h"

#include <stdbool.h>

struct stopper;

/* Block the signals in the calling thread, and so in those that it makes.  Before the first one that
 * must not die of them. */
void stopper_block_signals(void);
/* `device`: of our mount, to know it from another on the same place. `timeout_ms` 0: never. */
int stopper_start(const char *mountpoint, const char *device, const struct disk *disk,
                  struct frontend *frontend, uint64_t timeout_ms, struct stopper **out);
/* After the mount is gone.  True when it was detached by force. */
bool stopper_end(struct stopper *stopper);

#endif
