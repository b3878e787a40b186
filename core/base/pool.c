/* SPDX-License-Identifier: Apache-2.0 */
/* Workers and timers. */
#include "pool.h"

#include "clock.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct pool {
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t work;
    struct task *first, **last;
    unsigned idle;
    bool is_stopping;

    struct timer **heap; /* binary, earliest first; slot 0 unused */
    size_t heap_count, heap_room;

    int timer_fd; /* from here on: fixed after pool_new */
    pthread_t timer_thread;
    unsigned worker_count;
    pthread_t workers[];
};

static void
enqueue_locked(struct pool *pool, struct task *task)
{
    task->next = NULL;
    *pool->last = task;
    pool->last = &task->next;
    if (pool->idle > 0)
        pthread_cond_signal(&pool->work);
}

void
pool_submit(struct pool *pool, struct task *task)
{
    pthread_mutex_lock(&pool->lock);
    enqueue_locked(pool, task);
    pthread_mutex_unlock(&pool->lock);
}

static void *
worker_main(void *arg)
{
    struct pool *pool = arg;
    struct task *task;

    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (pool->first == NULL && !pool->is_stopping) {
            pool->idle++;
            pthread_cond_wait(&pool->work, &pool->lock);
            pool->idle--;
        }
        task = pool->first;
        if (task == NULL)
            break;
        pool->first = task->next;
        if (pool->first == NULL)
            pool->last = &pool->first;
        pthread_mutex_unlock(&pool->lock);
        task->run(task);
        pthread_mutex_lock(&pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* ---- the heap of timers */

static void
heap_put(struct pool *pool, size_t slot, struct timer *timer)
{
    pool->heap[slot] = timer;
    timer->heap_slot = slot;
}

static void
heap_up(struct pool *pool, size_t slot)
{
    struct timer *timer = pool->heap[slot];

    for (; slot > 1 && pool->heap[slot / 2]->at_ns > timer->at_ns; slot /= 2)
        heap_put(pool, slot, pool->heap[slot / 2]);
    heap_put(pool, slot, timer);
}

static void
heap_down(struct pool *pool, size_t slot)
{
    struct timer *timer = pool->heap[slot];

    for (;;) {
        size_t child = slot * 2;

        if (child < pool->heap_count && pool->heap[child + 1]->at_ns < pool->heap[child]->at_ns)
            child++;
        if (child > pool->heap_count || pool->heap[child]->at_ns >= timer->at_ns)
            break;
        heap_put(pool, slot, pool->heap[child]);
        slot = child;
    }
    heap_put(pool, slot, timer);
}

static void
heap_remove(struct pool *pool, struct timer *timer)
{
    size_t slot = timer->heap_slot;
    struct timer *moved = pool->heap[pool->heap_count--];

    timer->heap_slot = 0;
    if (moved == timer)
        return;
    heap_put(pool, slot, moved);
    heap_up(pool, slot);
    heap_down(pool, moved->heap_slot);
}

static void
arm_locked(struct pool *pool)
{
    struct itimerspec at = { { 0, 0 }, { 0, 0 } };

    if (pool->heap_count > 0) {
        at.it_value.tv_sec = (time_t)(pool->heap[1]->at_ns / NS_PER_S);
        at.it_value.tv_nsec = (long)(pool->heap[1]->at_ns % NS_PER_S);
        if (at.it_value.tv_sec == 0 && at.it_value.tv_nsec == 0)
            at.it_value.tv_nsec = 1; /* zero would disarm */
    }
    timerfd_settime(pool->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static void *
timer_main(void *arg)
{
    struct pool *pool = arg;
    uint64_t expirations;

    for (;;) {
        if (read(pool->timer_fd, &expirations, sizeof expirations) < 0 && errno != EINTR
            && errno != ECANCELED)
            abort(); /* a timerfd cannot fail otherwise */
        pthread_mutex_lock(&pool->lock);
        if (pool->is_stopping)
            break;
        while (pool->heap_count > 0 && pool->heap[1]->at_ns <= clock_now_ns()) {
            struct timer *timer = pool->heap[1];

            heap_remove(pool, timer);
            enqueue_locked(pool, &timer->task);
        }
        arm_locked(pool);
        pthread_mutex_unlock(&pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

int
pool_timer_set(struct pool *pool, struct timer *timer, uint64_t at_ns)
{
    int rc = 0;

    pthread_mutex_lock(&pool->lock);
    assert(timer->heap_slot == 0);
    if (pool->heap_count + 2 > pool->heap_room) {
        size_t room = pool->heap_room == 0 ? 64 : pool->heap_room * 2;
        struct timer **heap = realloc(pool->heap, room * sizeof *heap);

        if (heap == NULL) {
            rc = -ENOMEM;
            goto unlock;
        }
        pool->heap = heap;
        pool->heap_room = room;
    }
    timer->at_ns = at_ns;
    heap_put(pool, ++pool->heap_count, timer);
    heap_up(pool, pool->heap_count);
    if (timer->heap_slot == 1)
        arm_locked(pool);
unlock:
    pthread_mutex_unlock(&pool->lock);
    return rc;
}

bool
pool_timer_cancel(struct pool *pool, struct timer *timer)
{
    bool was_waiting;

    pthread_mutex_lock(&pool->lock);
    was_waiting = timer->heap_slot != 0;
    if (was_waiting)
        heap_remove(pool, timer);
    pthread_mutex_unlock(&pool->lock);
    return was_waiting;
}

unsigned
pool_workers(const struct pool *pool)
{
    return pool->worker_count;
}

/* ---- life */

static void
stop(struct pool *pool, unsigned workers)
{
    struct itimerspec now = { { 0, 0 }, { 0, 1 } };

    pthread_mutex_lock(&pool->lock);
    pool->is_stopping = true;
    pthread_cond_broadcast(&pool->work);
    timerfd_settime(pool->timer_fd, TFD_TIMER_ABSTIME, &now, NULL);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < workers; i++)
        pthread_join(pool->workers[i], NULL);
}

int
pool_new(unsigned workers, struct pool **out)
{
    struct pool *pool = calloc(1, sizeof *pool + workers * sizeof pool->workers[0]);
    sigset_t all, old;
    int rc;

    if (pool == NULL)
        return -ENOMEM;
    pool->last = &pool->first;
    pool->worker_count = workers;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    pool->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC);
    if (pool->timer_fd == -1) {
        rc = -errno;
        goto free_pool;
    }
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    rc = -pthread_create(&pool->timer_thread, NULL, timer_main, pool);
    if (rc != 0)
        goto restore_signals;
    for (unsigned i = 0; i < workers; i++) {
        rc = -pthread_create(&pool->workers[i], NULL, worker_main, pool);
        if (rc != 0) {
            stop(pool, i);
            pthread_join(pool->timer_thread, NULL);
            goto restore_signals;
        }
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    *out = pool;
    return 0;

restore_signals:
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    close(pool->timer_fd);
free_pool:
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
    return rc;
}

void
pool_free(struct pool *pool)
{
    if (pool == NULL)
        return;
    stop(pool, pool->worker_count);
    pthread_join(pool->timer_thread, NULL);
    close(pool->timer_fd);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool->heap);
    free(pool);
}
