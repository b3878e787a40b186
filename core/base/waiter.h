/* SPDX-License-Identifier: Apache-2.0 */
/* One thread waits, once, for another to say that something is done. */
#ifndef BASE_WAITER_H
#define BASE_WAITER_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

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
    pthread_condattr_t attr;

    pthread_mutex_init(&waiter->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&waiter->changed, &attr);
    pthread_condattr_destroy(&attr);
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

/* The same, for so long at most, in which the time that the machine sleeps does not count.  Is it done? */
static inline bool
waiter_wait_for(struct waiter *waiter, uint64_t ns)
{
    struct timespec until;
    bool is_done;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec += (long)(ns % 1000000000);
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&waiter->lock);
    while (!waiter->is_done
           && pthread_cond_timedwait(&waiter->changed, &waiter->lock, &until) != ETIMEDOUT)
        ;
    is_done = waiter->is_done;
    pthread_mutex_unlock(&waiter->lock);
    return is_done;
}

#endif
