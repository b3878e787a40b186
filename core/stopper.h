/* SPDX-License-Identifier: Apache-2.0 */
/* Orderly stops: a thread that takes SIGTERM, SIGINT and SIGHUP and unmounts while the disk is still served.
 *
 * A disk under a mounted filesystem must not go away under it.  So the first signal stores everything and
 * unmounts; while somebody uses the disk it says who and keeps trying, and serving.  A second signal, or
 * the time-out, stores everything once more and detaches by force.  Requests that wait for the store are still waited for
 * then; one more signal, and they fail. */
#ifndef CORE_STOPPER_H
#define CORE_STOPPER_H

#include "disk.h"
#include "fuse.h"

#include <stdbool.h>

struct stopper;

/* Block the signals in the calling thread, and so in those that it makes.  Before the first one that
 * must not die of them. */
void stopper_block_signals(void);
struct stopper_config {
    const char *mountpoint;
    const char *device; /* of our mount, to know it from another on the same place */
    const struct disk *disk;
    struct frontend *frontend;
    uint64_t timeout_ms;      /* 0: never */
    void (*hurry)(void *arg); /* make all fail that wait for the store; on the stopper's thread */
    void *hurry_arg;
};

/* Borrows what the configuration points to until stopper_end. */
int stopper_start(const struct stopper_config *config, struct stopper **out);
struct stopped {
    bool was_asked;  /* by a signal */
    bool was_forced; /* the mount was detached while it was in use */
};
/* For a disk that ends when nobody has its file any more: from now on nobody has, or somebody has again.  Any thread. */
void stopper_set_unused(struct stopper *stopper, bool is_unused);
/* After the mount is gone. */
struct stopped stopper_end(struct stopper *stopper);

#endif
