/* SPDX-License-Identifier: Apache-2.0 */
/* The adapter that makes a backend from plain blocking functions: a queue and some threads.
 *
 * A request waits in the queue, linked through its scratch, until a thread is free.  When all
 * threads hang (a dead NFS server, say), nobody would look at the queue, and the requests in it
 * would miss their deadlines.  So there is one thread more, the sweeper, which does nothing else:
 * it sleeps for good while the queue is empty or moving, and looks at the deadlines while it
 * stands.
 *
 * What a function is already working on cannot be called back: its author keeps to the deadline. */
#include <bucketdisk/sdk.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SWEEP_MS 100

struct waiting {
    struct bd_io *next;
};
_Static_assert(sizeof(struct waiting) <= BD_BLOCKING_SCRATCH, "the scratch is too small");

struct bd_blocking {
    pthread_mutex_t lock; /* guards everything down to is_stopping */
    pthread_cond_t work;  /* for the threads: the queue is not empty, or stop */
    pthread_cond_t stuck; /* for the sweeper: a request is queued and no thread is free, or stop */
    struct bd_io *first, *last;
    unsigned idle;
    bool sweeper_sleeps;
    bool is_stopping;

    const struct bd_host *host; /* from here on: fixed after bd_blocking_new */
    const struct bd_blocking_ops *ops;
    void *self;
    struct bd_thread *sweeper;
    unsigned thread_count;
    struct bd_thread *threads[];
};

static struct waiting *
waiting(struct bd_io *io)
{
    return io->scratch;
}

/* The request is turned into one DELETE after the other in place: a copy of it would not be a
 * request of the host, which delete_object may want to give an error text to. */
static enum bd_status
delete_each(struct bd_blocking *blocking, struct bd_io *io)
{
    const char *name = io->name;

    io->op = BD_DELETE;
    for (uint32_t i = 0; i < io->name_count; i++) {
        io->name = io->names[i];
        io->statuses[i] = io->deadline_ns > blocking->host->now_ns()
                              ? blocking->ops->delete_object(blocking->self, io)
                              : BD_RETRY;
    }
    io->op = BD_DELETE_MANY;
    io->name = name;
    return BD_OK;
}

static enum bd_status
perform(struct bd_blocking *blocking, struct bd_io *io)
{
    const struct bd_blocking_ops *ops = blocking->ops;
    enum bd_status (*function)(void *self, struct bd_io *io) = NULL;

    switch (io->op) {
    case BD_GET:
        function = ops->get;
        break;
    case BD_HEAD_OBJECT:
        function = ops->head;
        break;
    case BD_PUT:
        function = ops->put;
        break;
    case BD_DELETE:
        function = ops->delete_object;
        break;
    case BD_DELETE_MANY:
        if (ops->delete_many == NULL && ops->delete_object != NULL)
            return delete_each(blocking, io);
        function = ops->delete_many;
        break;
    case BD_LIST:
        function = ops->list;
        break;
    }
    if (function != NULL)
        return function(blocking->self, io);
    blocking->host->error(io, "struct bd_blocking_ops of the plugin has no function for this");
    return BD_UNSUPPORTED;
}

static void
expire(struct bd_blocking *blocking, struct bd_io *io)
{
    blocking->host->error(io, "all threads were busy until the deadline");
    blocking->host->complete(io, BD_RETRY);
}

/* Is there anything that no thread will come for? */
static void
wake_sweeper_locked(struct bd_blocking *blocking)
{
    if (blocking->first != NULL && blocking->idle == 0 && blocking->sweeper_sleeps)
        pthread_cond_signal(&blocking->stuck);
}

static void
thread_main(void *arg)
{
    struct bd_blocking *blocking = arg;

    pthread_mutex_lock(&blocking->lock);
    for (;;) {
        struct bd_io *io;

        while (blocking->first == NULL && !blocking->is_stopping) {
            blocking->idle++;
            pthread_cond_wait(&blocking->work, &blocking->lock);
            blocking->idle--;
        }
        io = blocking->first;
        if (io == NULL)
            break;
        blocking->first = waiting(io)->next;
        wake_sweeper_locked(blocking);
        pthread_mutex_unlock(&blocking->lock);
        if (io->deadline_ns <= blocking->host->now_ns())
            expire(blocking, io);
        else
            blocking->host->complete(io, perform(blocking, io));
        pthread_mutex_lock(&blocking->lock);
    }
    pthread_mutex_unlock(&blocking->lock);
}

/* Takes everything whose deadline has passed out of the queue. */
static struct bd_io *
take_expired_locked(struct bd_blocking *blocking)
{
    uint64_t now = blocking->host->now_ns();
    struct bd_io *io = blocking->first, *expired = NULL, *last = NULL;

    blocking->first = NULL;
    while (io != NULL) {
        struct bd_io *next = waiting(io)->next;

        if (io->deadline_ns <= now) {
            waiting(io)->next = expired;
            expired = io;
        } else {
            waiting(io)->next = NULL;
            if (last == NULL)
                blocking->first = io;
            else
                waiting(last)->next = io;
            last = io;
        }
        io = next;
    }
    blocking->last = last;
    return expired;
}

static void
sweeper_main(void *arg)
{
    struct bd_blocking *blocking = arg;

    pthread_mutex_lock(&blocking->lock);
    while (!blocking->is_stopping) {
        struct bd_io *expired;
        struct timespec until;

        if (blocking->first == NULL) {
            blocking->sweeper_sleeps = true;
            pthread_cond_wait(&blocking->stuck, &blocking->lock);
            blocking->sweeper_sleeps = false;
            continue;
        }
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += SWEEP_MS * 1000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        pthread_cond_timedwait(&blocking->stuck, &blocking->lock, &until);
        expired = take_expired_locked(blocking);
        pthread_mutex_unlock(&blocking->lock);
        while (expired != NULL) {
            struct bd_io *io = expired;

            expired = waiting(io)->next;
            expire(blocking, io);
        }
        pthread_mutex_lock(&blocking->lock);
    }
    pthread_mutex_unlock(&blocking->lock);
}

void
bd_blocking_submit(struct bd_blocking *blocking, struct bd_io *io)
{
    if (io->scratch == NULL) {
        blocking->host->error(io,
                              "a bug of the plugin: its struct bd_backend lacks .scratch_bytes = "
                              "BD_BLOCKING_SCRATCH");
        blocking->host->complete(io, BD_FATAL);
        return;
    }
    waiting(io)->next = NULL;
    pthread_mutex_lock(&blocking->lock);
    if (blocking->first == NULL)
        blocking->first = io;
    else
        waiting(blocking->last)->next = io;
    blocking->last = io;
    if (blocking->idle > 0)
        pthread_cond_signal(&blocking->work);
    wake_sweeper_locked(blocking);
    pthread_mutex_unlock(&blocking->lock);
}

static void
stop(struct bd_blocking *blocking)
{
    pthread_mutex_lock(&blocking->lock);
    blocking->is_stopping = true;
    pthread_cond_broadcast(&blocking->work);
    pthread_cond_broadcast(&blocking->stuck);
    pthread_mutex_unlock(&blocking->lock);
    if (blocking->sweeper != NULL)
        blocking->host->thread_join(blocking->sweeper);
    for (unsigned i = 0; i < blocking->thread_count; i++)
        blocking->host->thread_join(blocking->threads[i]);
    pthread_cond_destroy(&blocking->work);
    pthread_cond_destroy(&blocking->stuck);
    pthread_mutex_destroy(&blocking->lock);
    free(blocking);
}

enum bd_status
bd_blocking_new(const struct bd_host *host, const struct bd_blocking_ops *ops, void *self,
                unsigned threads, struct bd_blocking **out)
{
    struct bd_blocking *blocking;
    pthread_condattr_t attr;

    if (threads < 1 || threads > 1024) {
        host->log(host, BD_ERROR, "%u threads are asked for; 1 to 1024 are possible", threads);
        return BD_INVALID;
    }
    blocking = calloc(1, sizeof *blocking + threads * sizeof blocking->threads[0]);
    if (blocking == NULL)
        return BD_FATAL;
    pthread_mutex_init(&blocking->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&blocking->work, &attr);
    pthread_cond_init(&blocking->stuck, &attr);
    pthread_condattr_destroy(&attr);
    blocking->host = host;
    blocking->ops = ops;
    blocking->self = self;
    blocking->sweeper = host->thread_new(host, "sweeper", sweeper_main, blocking);
    if (blocking->sweeper == NULL)
        goto stop;
    for (unsigned i = 0; i < threads; i++) {
        char name[16];

        snprintf(name, sizeof name, "blocking-%u", i);
        blocking->threads[i] = host->thread_new(host, name, thread_main, blocking);
        if (blocking->threads[i] == NULL)
            goto stop;
        blocking->thread_count++;
    }
    *out = blocking;
    return BD_OK;

stop:
    stop(blocking);
    return BD_FATAL;
}

void
bd_blocking_free(struct bd_blocking *blocking)
{
    if (blocking != NULL)
        stop(blocking);
}
