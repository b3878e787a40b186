/* SPDX-License-Identifier: Apache-2.0 */
/* What may not be sent any more is ended, however late the loop's thread goes on.  guard.c has the theory. */
#ifndef S3_GUARD_H
#define S3_GUARD_H

#include "transfer.h"

#include <time.h>

#define NS_PER_MS 1000000ull

/* While anything is active the loop comes to guard_move, and to its own look at deadlines, at least so often. */
#define SWEEP_MS 1000
#define SWEEP_GRACE_NS (500 * NS_PER_MS) /* of that look: libcurl's own timer comes first */

#define SOCKETS_KNOWN 65536 /* by their numbers */
#define SOCKET_OURS 0x80u   /* libcurl closes it through us */

/* The loop's thread only. */
struct guard {
    /* Filled by the owner, who keeps them. */
    const struct bd_host *host;
    struct exchange *const *active; /* the first of the list */
    const uint8_t *sockets; /* SOCKETS_KNOWN of them; those with SOCKET_OURS may be broken off */

    timer_t timer;
    bool has_timer;
    volatile uint64_t at_ns; /* when it fires; 0: not */
    volatile bool has_fired; /* since it was set */
};

/* A log line if there is no timer to be had. */
void guard_begin(struct guard *guard);
void guard_end(struct guard *guard);
/* Before the exchange is sent. */
void guard_add(struct guard *guard, const struct exchange *exchange);
/* What it is set for may have ended long ago. */
void guard_move(struct guard *guard, uint64_t now);
/* Dissolve all connections, with what they hold. */
void guard_break_off(const struct guard *guard);

#endif
