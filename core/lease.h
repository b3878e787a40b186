/* SPDX-License-Identifier: Apache-2.0 */
/* The lease of a writer: it has the lock of the volume, and must not write for longer than it knows that.
 *
 * A store cannot be told to refuse the blocks of who lost the lock, so the fence is time.  The lock is rewritten with
 * another beat every third of the lease, on the condition that it is still the one that we left.  A beat that was answered
 * confirms that the lock was ours when it was sent.  For half the lease from then on writes may be sent, and for a whole
 * one be on their way; who wants the volume waits until the beat has stood still for that and the store's
 * settling.  Nobody's clock but one's own is asked, and it goes on while the machine sleeps.
 *
 * Any thread. */
#ifndef CORE_LEASE_H
#define CORE_LEASE_H

#include "base/error.h"
#include "lock.h"

struct lease;

struct lease_config {
    struct backend *backend;
    struct pool *pool;
    const char *prefix; /* borrowed */
    bool is_format_2;   /* which object it is */
    /* The lock as it was taken; its lease says what to put into it, but for beat and at_s. */
    struct lock lock;
    char when[LOCK_WHEN_BYTES];
    uint64_t since_ns; /* nobody saw this lock of ours before */
    /* until then what owners before may have sent is waited for, also by who finds this lock; 0: nothing */
    uint64_t hold_until_ns;
};

/* Give it the first beat, and begin.  Waits for the store; never on a pool worker.
 * -EBUSY: the lock is not ours any more.  -EINTR: a signal waits (base/interrupts.h).  Else the store's failure, and nothing has begun. */
int lease_begin(const struct lease_config *config, struct stats *stats, struct lease **out,
                struct error *why);
/* No beat is on its way afterwards, nor will one come.  Whoever writes goes by the last one.  Gives when its lease ends: until
 * then nobody else takes the lock.  NULL is fine, and has no end: UINT64_MAX. */
uint64_t lease_stop(struct lease *lease);
void lease_free(struct lease *lease); /* stops it, too */

enum lease_state {
    LEASE_HELD,
    LEASE_UNCONFIRMED, /* not now; try again soon */
    LEASE_LOST,        /* never again */
};

/* May a write be sent now?  *until_ns (if it is HELD): when it must be given up. */
enum lease_state lease_check(struct lease *lease, uint64_t *until_ns);
/* Wait until a write may be sent, but no longer than a whole lease.  *until_ns: as above.  NULL is held, and has no end.
 * -EROFS: it is lost, or nothing confirms it: somebody else may have the volume.  -EINTR: a signal came before it was confirmed.  Never on a pool worker. */
int lease_await(struct lease *lease, uint64_t *until_ns, struct error *why);
/* True for good once somebody else has, or may have had, the volume.  `how` (NULL: nobody wants to know): half a
 * sentence about it. */
bool lease_is_lost(struct lease *lease, struct error *how);
/* From the next beat on. */
void lease_set_epoch(struct lease *lease, uint64_t epoch);
/* The same; if that is another word, with a beat at once.  Nobody stops it meanwhile. */
void lease_set_local(struct lease *lease, bool is_local);

#endif
