/* SPDX-License-Identifier: Apache-2.0 */
/* All blocks that exist, for commands: listed, and then visited, many at once, until a signal comes.
 *
 * Tells of the store as it was while it was listed: what others write meanwhile may be there or not.  These functions wait: never on a
 * pool worker. */
#ifndef CORE_WALK_H
#define CORE_WALK_H

#include "base/error.h"
#include "objects.h"
#include "progress.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct walk_block {
    uint32_t number;
    uint32_t bytes; /* as they are stored */
};

/* Fill in what is above the line; end it with walk_clear. */
struct walk {
    const struct layout *layout; /* borrowed, as all of these */
    struct objects *objects;
    unsigned listers_max, visits_max; /* at once */
    bool is_quiet;
    const atomic_int *is_interrupted; /* base/interrupts.h */

    /* after walk_list: */
    struct walk_block *blocks; /* by number, each once */
    size_t count;
    uint64_t bytes;
    struct progress
        progress; /* of what is visited: whoever visits begins and ends it, and counts */
};

/* List the volume; again: anew.  -EINTR: interrupted.  Else, with "" in `why`, the reason is in the log. */
int walk_list(struct walk *walk, struct error *why);

/* One request for some blocks that follow each other in the list. */
struct visit {
    struct object_req req; /* whose op and buffers are its maker's; its `why` is this one's */
    struct error why;
    const struct walk_block *blocks;
    unsigned count;
    void *data; /* of data_bytes */
    const struct visitor *visitor;
    struct walking *walking; /* its own */
};

struct visitor {
    unsigned blocks_max; /* in one visit */
    size_t data_bytes;   /* a buffer for each visit; 0: none */
    /* Fill the request.  On any thread, several at once. */
    void (*begin)(struct visit *visit);
    /* It is done.  Not 0: no further visits are begun, and that is what walk_visit returns, with the visit's `why`.  Likewise. */
    int (*end)(struct visit *visit);
    void *arg;
};

/* Visit blocks[first, end).  -EINTR: interrupted; what was on its way has ended by then, maybe with -ECANCELED. */
int walk_visit(struct walk *walk, const struct visitor *visitor, size_t first, size_t end,
               struct error *why);
void walk_clear(struct walk *walk);

#endif
