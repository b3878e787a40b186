/* SPDX-License-Identifier: Apache-2.0 */
/* What a mount has not stored when it ends: it is stored, or kept on local disk for the next one. */
#ifndef CORE_LEFTOVER_H
#define CORE_LEFTOVER_H

#include "locallock.h"
#include "stack.h"

enum leftover {
    LEFTOVER_NONE, /* the store has everything */
    LEFTOVER_KEPT, /* the cache file or the spill file has the rest: the lock must stay */
    LEFTOVER_GIVEN_UP, /* it could not be stored, for somebody else has the volume, nor kept; somebody said so */
};

struct leftover_of {
    struct stack *stack;
    struct locallock *lock;
    const char *mountpoint;
    uint32_t token;
    bool is_asked; /* by a signal: whoever sent it may not wait for long */
};

/* Returns when nothing is in memory alone any more, however long that takes; a signal to stop makes it keep what cannot be
 * stored.  All is quiet above.  `why`: what was done, unless the store has everything. */
enum leftover leftover_end(const struct leftover_of *of, struct error *why);

#endif
