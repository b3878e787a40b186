/* SPDX-License-Identifier: Apache-2.0 */
/* The bottom layer: blocks to named, encoded objects and back; the only place that retries.
 *
 * At most so many requests are in flight at the backend, fewer while it asks for that; the rest wait in order
 * of arrival.  Writes are sent only while the lease is held, and given up when it ends.  Keeps no order between requests otherwise: two for one block must not meet here (consistency sees to it).
 * Any thread; `done` runs on a pool worker. */
#ifndef CORE_OBJECTS_H
#define CORE_OBJECTS_H

#include "backend.h"
#include "chain.h"
#include "layout.h"
#include "lease.h"

#include <stdatomic.h>

#define ATTR_ORIGIN "bucketdisk-origin"

struct objects;

struct objects_config {
    const struct layout *layout; /* borrowed */
    uint64_t attempt_ns;         /* deadline of one attempt */
    uint64_t retry_pause_ns;     /* the first pause; doubles */
    uint64_t stall_read_ns;      /* then a read fails; UINT64_MAX: never */
    uint64_t stall_write_ns;     /* then a write or delete fails */
    unsigned in_flight_max;      /* at least 1 */
    struct lease *lease;         /* borrowed; NULL: writes need none */
};

int objects_new(const struct objects_config *config, struct backend *backend, struct chain *chain,
                struct pool *pool, struct stats *stats, struct objects **out);
void objects_free(struct objects *objects); /* nothing in flight */
/* Names in one DELETE. */
unsigned objects_delete_max(const struct objects *objects);
/* Names in one page of a LIST, at most. */
unsigned objects_list_max(const struct objects *objects);
/* False once a page was not in the order of names: then what earlier ones left out may exist, too. */
bool objects_list_in_order(const struct objects *objects);
/* Of the backend: enum bd_capability. */
uint64_t objects_capabilities(const struct objects *objects);

enum object_op {
    OBJECT_GET, /* data[0..block_bytes) of `block`, decoded; zeros and is_absent if there is none */
    OBJECT_HEAD,   /* is_absent and the tag, as GET would give them; `data` is not looked at */
    OBJECT_PUT,    /* encoded; block 0 with the volume's sizes */
    OBJECT_DELETE, /* blocks[0..count) */
    OBJECT_LIST, /* `found` for each block behind name `list_from`, in the order of names, at most one page */
};

/* While it is paused nothing is begun or tried again: requests end with -ECANCELED, the last of them when their attempt has
 * ended. */
void objects_pause(struct objects *objects, bool is_paused);

struct object_req {
    enum object_op op;
    uint64_t block;
    void *data;
    const uint64_t *blocks;
    unsigned count;
    object_name list_from; /* LIST: in: names greater than this; out: the last one seen */
    /* on the plugin's thread */
    void (*found)(struct object_req *req, uint64_t block, uint64_t object_bytes);
    const atomic_bool
        *is_over;       /* GET, HEAD, LIST: once true, it ends soon, with -ECANCELED; NULL: never */
    bool is_background; /* makes way for others (places.h) */
    /* What the object is a copy of, noted beside it; BD_ATTR_VALUE_BYTES_MAX + 1 bytes.  PUT: written unless it is "".  GET,
     * HEAD: what is there.  NULL: none, and nobody wants to know. */
    char *origin;

    struct error *why; /* where the reason of a failure goes; NULL: to the log */
    /* HEAD: room for BD_ENCODING_BYTES_MAX + 1, for what the object says of itself; may be NULL */
    char *encoding;

    int rc;          /* 0 or a negative errno.  -EROFS: the lease is lost for good */
    bool is_absent;  /* GET, HEAD */
    bool is_damaged; /* GET, of which the store gave no body that can be decoded, however often */
    uint64_t object_bytes; /* GET, HEAD: as it is stored */
    bool list_ended;
    /* PUT, DELETE: when the last attempt of unknown outcome was given up; 0: every outcome is known.
     * Set whatever rc says: such an attempt may still be carried out by the store later. */
    uint64_t unsettled_ns;
    char tag[BD_TAG_BYTES_MAX + 1]; /* GET, HEAD, PUT; "" when none came */

    void (*done)(struct object_req *req);
    struct attempt *attempt; /* the layer's own */
};

void objects_submit(struct objects *objects, struct object_req *req);

#endif
