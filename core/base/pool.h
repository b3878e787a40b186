/* SPDX-License-Identifier: Apache-2.0 */
/* Workers and timers: where everything runs that is neither a FUSE thread nor a plugin's.
 *
 * Tasks run in the order of their submission, on any of the workers, and may use the CPU but never
 * wait for the network or for another task.  A timer is a task that is submitted at its time.
 * The caller owns the memory of tasks and timers; the pool touches it no more once it runs it. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool;

struct task {
    struct task *next;
    void (*run)(struct task *task);
};

struct timer {
    struct task task;
    uint64_t at_ns;   /* CLOCK_BOOTTIME */
    size_t heap_slot; /* 1-based; 0 when not waiting */
};

int pool_new(unsigned workers, struct pool **out);
/* No task may be queued or running any more; timers still waiting are dropped. */
void pool_free(struct pool *pool);
unsigned pool_workers(const struct pool *pool);

/* Any thread. */
void pool_submit(struct pool *pool, struct task *task);

/* Run timer->task.run at or after `at_ns`.  The timer must not be waiting.
 * Returns 0, or -ENOMEM with nothing set. */
int pool_timer_set(struct pool *pool, struct timer *timer, uint64_t at_ns);
/* True when the timer was waiting and will not run; false when it has run, or is about to. */
bool pool_timer_cancel(struct pool *pool, struct timer *timer);

#endif
