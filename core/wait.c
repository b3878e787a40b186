/* SPDX-License-Identifier: Apache-2.0 */
/* Requests waited for. */
#include "wait.h"

#include "base/util.h"
#include "base/waiter.h"

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

struct waited_store {
    struct store_req req;
    struct waiter waiter;
};

static void
store_req_done(struct store_req *req)
{
    waiter_wake(&container_of(req, struct waited_store, req)->waiter);
}

int
store_submit_wait(struct store *store, struct store_req *req)
{
    struct waited_store waited = { .req = *req, .waiter = WAITER_INIT };

    waited.req.done = store_req_done;
    store_submit(store, &waited.req);
    waiter_wait(&waited.waiter);
    *req = waited.req;
    return req->rc;
}
