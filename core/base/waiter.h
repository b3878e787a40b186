/* SPDX-License-Identifier: Apache-2.0 */
/* One thread waits, once, for another to say that something is done. */
#ifndef BASE_WAITER_H
#define BASE_WAITER_H

#include "clock.h"
#include "cond.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_done;
};

#define WAITER_INIT                                                                                \
    {                                                                                              \
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false                                 \
    }

/* For waiter_wait_for.  waiter_destroy when nobody waits nor wakes any more. */
static inline void
waiter_init_timed(struct waiter *waiter)
{
    pthread_mutex_init(&waiter->lock, NULL);
    cond_init(&waiter->changed);
    waiter->is_done = false;
}

static inline void
waiter_destroy(struct waiter *waiter)
{
    pthread_cond_destroy(&waiter->changed);
    pthread_mutex_destroy(&waiter->lock);
}

/* The waiter may be gone when this returns. */
static inline void
waiter_wake(struct waiter *waiter)
{
    pthread_mutex_lock(&waiter->lock);
    waiter->is_done = true;
    pthread_cond_signal(&waiter->changed);
    pthread_mutex_unlock(&waiter->lock);
}

static inline void
waiter_wait(struct waiter *waiter)
{
    pthread_mutex_lock(&waiter->lock);
    while (!waiter->is_done)
        pthread_cond_wait(&waiter->changed, &waiter->lock);
    pthread_mutex_unlock(&waiter->lock);
}

/* The same, for so long at most.  The time in which the machine sleeps, or this process is stopped, does not count: nobody could
 * have woken us.  Is it done? */
static inline bool
waiter_wait_for(struct waiter *waiter, uint64_t ns)
{
    bool is_done;

    pthread_mutex_lock(&waiter->lock);
    while (!waiter->is_done && ns > 0) {
        const uint64_t slice_ns = ns < NS_PER_S ? ns : NS_PER_S, before_ns = clock_now_ns();
        uint64_t passed_ns;

        cond_wait_ns(&waiter->changed, &waiter->lock, slice_ns);
        passed_ns = clock_now_ns() - before_ns;
        ns -= passed_ns < slice_ns ? passed_ns : slice_ns;
    }
    is_done = waiter->is_done;
    pthread_mutex_unlock(&waiter->lock);
    return is_done;
}

#endif
