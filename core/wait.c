/* SPDX-License-Identifier: Apache-2.0 */
/* Requests waited for. */
#include "wait.h"

#include "base/log.h"
#include "base/util.h"
#include "base/waiter.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct waited_flush {
    struct disk_req req;
    struct waiter waiter;
};

static void
flush_done(struct disk_req *req)
{
    waiter_wake(&container_of(req, struct waited_flush, req)->waiter);
}

int
disk_flush_wait(const struct disk *disk)
{
    struct waited_flush flush = { .req = { .op = DISK_FLUSH, .done = flush_done },
                                  .waiter = WAITER_INIT };

    disk_submit(disk, &flush.req);
    waiter_wait(&flush.waiter);
    return flush.req.rc;
}

static pthread_mutex_t left_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t left_changed = PTHREAD_COND_INITIALIZER;
static unsigned left_count; /* flushes under way */

/* Of who waits and of the flush: the last of both frees it. */
struct left_flush {
    struct disk_req req;
    atomic_uint users;
    atomic_bool is_done;
    int event_fd;
};

static void
left_flush_put(struct left_flush *flush)
{
    if (atomic_fetch_sub(&flush->users, 1) > 1)
        return;
    close(flush->event_fd);
    free(flush);
}

static void
left_flush_done(struct disk_req *req)
{
    struct left_flush *flush = container_of(req, struct left_flush, req);
    const uint64_t one = 1;

    atomic_store(&flush->is_done, true);
    if (write(flush->event_fd, &one, sizeof one) != sizeof one)
        log_line(BD_ERROR, "cannot wake who waits for a flush: %s", strerror(errno));
    left_flush_put(flush);
    pthread_mutex_lock(&left_lock);
    left_count--;
    pthread_cond_broadcast(&left_changed);
    pthread_mutex_unlock(&left_lock);
}

int
disk_flush_wait_or(const struct disk *disk, const sigset_t *signals, int timeout_ms)
{
    struct left_flush *flush = calloc(1, sizeof *flush);
    struct pollfd waited[2] = { { .events = POLLIN }, { .events = POLLIN } };
    struct signalfd_siginfo info;
    int ready, rc = -EINTR;

    if (flush == NULL)
        return -ENOMEM;
    flush->event_fd = waited[0].fd = eventfd(0, EFD_CLOEXEC);
    waited[1].fd = waited[0].fd != -1 ? signalfd(-1, signals, SFD_CLOEXEC) : -1;
    if (waited[1].fd == -1) {
        rc = -errno;
        if (waited[0].fd != -1)
            close(waited[0].fd);
        free(flush);
        return rc;
    }
    flush->req = (struct disk_req){ .op = DISK_FLUSH, .done = left_flush_done };
    atomic_init(&flush->users, 2);
    pthread_mutex_lock(&left_lock);
    left_count++;
    pthread_mutex_unlock(&left_lock);
    disk_submit(disk, &flush->req);
    do
        ready = poll(waited, 2, timeout_ms);
    while (ready == -1 && errno == EINTR);
    if (atomic_load(&flush->is_done))
        rc = flush->req.rc;
    else if (ready == 0)
        rc = -ETIMEDOUT;
    else if (read(waited[1].fd, &info, sizeof info) != sizeof info)
        log_line(BD_ERROR, "cannot read a signal: %s", strerror(errno));
    close(waited[1].fd);
    left_flush_put(flush);
    return rc;
}

void
disk_flush_join(void)
{
    pthread_mutex_lock(&left_lock);
    while (left_count > 0)
        pthread_cond_wait(&left_changed, &left_lock);
    pthread_mutex_unlock(&left_lock);
}

/* Gone as soon as its event has been read. */
struct waited_all {
    atomic_uint left;
    int event_fd;
};

struct waited_store {
    struct store_req req;
    struct waited_all *all;
};

static void
store_req_done(struct store_req *req)
{
    struct waited_all *all = container_of(req, struct waited_store, req)->all;
    const uint64_t one = 1;

    if (atomic_fetch_sub(&all->left, 1) == 1
        && write(all->event_fd, &one, sizeof one) != sizeof one)
        log_line(BD_ERROR, "cannot wake who waits for the store: %s", strerror(errno));
}

static int
wait_all(struct waited_all *all, const struct interruption *interruption)
{
    struct pollfd waited[2] = { { .fd = all->event_fd, .events = POLLIN },
                                { .fd = -1, .events = POLLIN } };
    struct signalfd_siginfo info;
    uint64_t ended;
    int rc = 0;

    if (interruption != NULL)
        waited[1].fd = signalfd(-1, interruption->signals, SFD_CLOEXEC);
    while (waited[0].revents == 0) {
        if (poll(waited, 2, -1) == -1 || waited[1].revents == 0
            || read(waited[1].fd, &info, sizeof info) != sizeof info)
            continue;
        rc = -EINTR;
        interruption->run(interruption->arg);
        close(waited[1].fd);
        waited[1] = (struct pollfd){ .fd = -1 };
    }
    if (read(all->event_fd, &ended, sizeof ended) != sizeof ended)
        log_line(BD_ERROR, "cannot read an event: %s", strerror(errno));
    if (waited[1].fd != -1)
        close(waited[1].fd);
    return rc;
}

int
store_submit_all_wait(struct store *store, struct store_req *reqs, unsigned count,
                      const struct interruption *interruption)
{
    struct waited_all all = { .event_fd = eventfd(0, EFD_CLOEXEC) };
    struct waited_store *waited = calloc(count, sizeof *waited);
    int rc = all.event_fd == -1 ? -errno : waited == NULL ? -ENOMEM : 0;

    atomic_init(&all.left, count);
    for (unsigned i = 0; rc == 0 && i < count; i++) {
        waited[i] = (struct waited_store){ .req = reqs[i], .all = &all };
        waited[i].req.done = store_req_done;
        store_submit(store, &waited[i].req);
    }
    if (rc == 0) {
        rc = wait_all(&all, interruption);
        for (unsigned i = 0; i < count; i++)
            reqs[i] = waited[i].req;
    }
    free(waited);
    if (all.event_fd != -1)
        close(all.event_fd);
    return rc;
}

int
store_submit_wait(struct store *store, struct store_req *req)
{
    int rc = store_submit_all_wait(store, req, 1, NULL);

    return rc != 0 ? rc : req->rc;
}
