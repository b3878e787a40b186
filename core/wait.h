/* SPDX-License-Identifier: Apache-2.0 */
/* Requests waited for: for start, stop and commands.  Never on a pool worker, which would wait for itself. */
#ifndef CORE_WAIT_H
#define CORE_WAIT_H

#include "disk.h"
#include "store.h"

#include <signal.h>

/* Returns the request's rc. */
int store_submit_wait(struct store *store, struct store_req *req);
/* What makes requests end that somebody does not want to wait for any longer. */
struct interruption {
    const sigset_t *signals; /* blocked in all threads */
    void (*run)(void *arg);  /* once, when one of them comes; on the waiting thread */
    void *arg;
};
/* All of them at once.  Returns 0, and what became of each is in its rc; -EINTR if they were interrupted; -errno, and none
 * was begun.  `interruption` NULL: nothing interrupts. */
int store_submit_all_wait(struct store *store, struct store_req *reqs, unsigned count,
                          const struct interruption *interruption);
int disk_flush_wait(const struct disk *disk);
/* The same, or -EINTR: one of these signals came, which are blocked in all threads; or -ETIMEDOUT (timeout_ms -1: never).
 * The flush goes on alone then. */
int disk_flush_wait_or(const struct disk *disk, const sigset_t *signals, int timeout_ms);
/* Until all that were left alone are done. */
void disk_flush_join(void);

#endif
