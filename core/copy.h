/* SPDX-License-Identifier: Apache-2.0 */
/* Copies the blocks of one volume into another one: lists what exists on both sides, then has many blocks on their way at once.
 *
 * A block that exists on neither side is not looked at; one that is in the copy alone is removed from it.  Each object of the copy
 * notes the tag of the source's object that it was made of (its origin, objects.h): by that a copy that goes on knows, by two
 * requests without a body, that a block is there and is what the source still has.
 *
 * A block of the source that cannot be decoded, or that is listed there and then has no object, is damaged: it is left out, counted,
 * and named in the log; any other failure ends the copy.
 * Memory: so many blocks as are on their way, twice that if it verifies, and what the layers below take.
 *
 * Any thread; both stores are whole blocks right above the objects. */
#ifndef CORE_COPY_H
#define CORE_COPY_H

#include "objects.h"
#include "store.h"

struct copy;

/* One of the two volumes. */
struct copy_side {
    struct store *store;
    struct objects *objects;     /* below it */
    const struct layout *layout; /* borrowed until copy_free */
    unsigned listers_max;
};

struct copy_config {
    struct copy_side from, to; /* `to` has blocks of the same size, and no fewer */
    struct pool *pool;
    bool is_begun;    /* there may be blocks in the copy; not asked for a look */
    bool is_changing; /* the source: what it lists may be zeros when it is read */
    /* reads each block of the copy, what was there before too, and compares it with the source's */
    bool verifies;
    bool zeros_damaged;  /* a damaged block of the source becomes zeros */
    bool is_look;        /* nothing is written: what would be counts as differing */
    unsigned blocks_max; /* on their way at once; at least 1 */
};

#define COPY_NAMED_MAX 1000u

struct copy_counts {
    bool is_listed;
    uint64_t total; /* of blocks that exist on either side; the next four count of these */
    uint64_t copied, present, damaged,
        differing; /* read back, and not what was written; of a look: not what the source has */
};

int copy_new(const struct copy_config *config, struct copy **out);
void copy_start(struct copy *copy);
/* So long at most, until nothing is on its way any more: true.  *rc: -ECANCELED if it was stopped, or the first failure; 0 also
 * if blocks were damaged or differ. */
bool copy_wait(struct copy *copy, unsigned timeout_ms, int *rc);
/* No further block is begun. */
void copy_stop(struct copy *copy);
void copy_counts(struct copy *copy, struct copy_counts *out);
/* The first ones that are damaged or differ, at most COPY_NAMED_MAX, in the order of their being found.  After copy_wait. */
const uint64_t *copy_named(const struct copy *copy, unsigned *count);
void copy_free(struct copy *copy); /* nothing on its way */

#endif
