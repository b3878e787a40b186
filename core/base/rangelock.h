/* SPDX-License-Identifier: Apache-2.0 */
/* A reader-writer lock over ranges of block numbers, granted in order of arrival, without threads that
 * wait: who cannot have it at once is called when it can.
 *
 * Two entries conflict when their ranges overlap and one of them is exclusive.  An entry is granted once
 * no conflicting entry that came before it is left, held or waiting: so nobody starves, and requests for
 * one block keep their order. */
#ifndef BASE_RANGELOCK_H
#define BASE_RANGELOCK_H

#include <stdbool.h>
#include <stdint.h>

struct rangelock;

/* One request for a range; the caller owns the memory from range_acquire until range_release. */
struct range {
    uint64_t first, last; /* inclusive */
    bool is_exclusive;
    bool is_watcher; /* waits for what came before; nobody waits for it */
    void (*granted)(struct range *range);

    /* The lock's own. */
    struct range *next, *prev;
    uint64_t arrival;
    uint32_t blockers;
    struct range *grant_next;
};

int rangelock_new(struct rangelock **out);
void rangelock_free(struct rangelock *lock); /* nothing held or waiting */

/* Any thread.  True: granted at once, and `granted` is not called.  False: `granted` will be called, once,
 * by the thread whose release made way. */
bool range_acquire(struct rangelock *lock, struct range *range);
void range_release(struct rangelock *lock, struct range *range);

#endif
