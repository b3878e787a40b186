/* SPDX-License-Identifier: Apache-2.0 */
/* The one interface of every layer between the disk and the objects, in completion form.
 *
 * Whoever submits a request owns it and its data until `done`.  `done` is called exactly once, on any
 * thread, possibly inside store_submit; so a layer submits and completes without holding a lock.
 * A layer that needs the request's order keeps it itself: two requests in flight may be served in any
 * order.
 *
 *   READ    data[0..bytes) from `offset` of `block`
 *   WRITE   the same from data, or zeros where data is NULL; done when the store has it
 *   ZERO    blocks [block, block + count) whole
 *   FLUSH   done when every write and zero that came before it has been
 *   CHECK   sets is_same: the store still holds what `version` says of the block, and nothing newer is under way.
 *           The body is not fetched.  False when that cannot be known
 *   SEEK    sets block to the first one at or after it, below `count`, that `want_data` fits:
 *           a block that may hold something else than zeros, or one that surely does not.
 *           -ENXIO when there is none
 *
 * The cache and its stand-in take READ and WRITE inside one block; below them offset is 0 and bytes is the
 * block size.  A layer that takes parts (tier.h) takes blocks of which only the `valid` sectors are to be written. */
#ifndef CORE_STORE_H
#define CORE_STORE_H

#include <bucketdisk/plugin.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum store_op {
    STORE_READ,
    STORE_WRITE,
    STORE_ZERO,
    STORE_FLUSH,
    STORE_CHECK,
    STORE_SEEK,
};

/* What the store holds of a block. */
struct store_version {
    enum {
        VERSION_UNKNOWN,
        VERSION_ABSENT, /* no object, so zeros */
        VERSION_TAG,
    } is;
    char tag[BD_TAG_BYTES_MAX + 1]; /* VERSION_TAG */
};

struct store_req {
    enum store_op op;
    bool want_data;
    bool is_same;
    uint32_t offset, bytes;
    uint64_t block, count;
    void *data;
    const uint64_t *valid; /* WRITE, to a layer that takes parts: a bit a sector; NULL: all */
    /* READ, WRITE: what was read, or is there now.  CHECK: asked for.  NULL: nobody wants to know. */
    struct store_version *version;
    const atomic_bool
        *is_over; /* READ, CHECK: once true, it ends soon, with -ECANCELED; NULL: never */
    /* READ, WRITE of whole blocks right above the objects: their origin, as object_req has it; NULL: none. */
    char *origin;
    bool is_damaged; /* READ that failed there: what is stored is no block */
    int rc;          /* 0 or a negative errno */
    void (*done)(struct store_req *req);
};

struct store {
    void (*submit)(struct store *store, struct store_req *req);
    /* The block is known to be zeros now; only who orders the writes of the block can rely on that for longer.
     * Prompt, calls nobody; may be called under a lock.  Whole blocks' layers have it. */
    bool (*is_zero)(struct store *store, uint64_t block);
};

static inline void
store_submit(struct store *store, struct store_req *req)
{
    store->submit(store, req);
}

static inline bool
store_is_zero(struct store *store, uint64_t block)
{
    return store->is_zero(store, block);
}

static inline void
store_done(struct store_req *req, int rc)
{
    req->rc = rc;
    req->done(req);
}

#endif
