/* SPDX-License-Identifier: Apache-2.0 */
/* Who has a volume, and does that one live?  What its lock object says, and what watching that shows.
 *
 * These functions wait for the store; of the layout they need the prefix and is_format_2. */
#ifndef CORE_HOLDER_H
#define CORE_HOLDER_H

#include "backend.h"
#include "base/error.h"
#include "layout.h"
#include "lock.h"

/* The lock that is there; without one lock->is_there is false. */
int holder_look(struct backend *backend, const struct layout *layout, struct lock *lock,
                struct error *why);

/* The same, of a volume whose description is there or not, as volume_lock_format has found: what has none may have been begun in
 * format 2, or erased but for its lock.  Then it sets layout->is_format_2. */
int holder_find(struct backend *backend, bool is_described, struct layout *layout,
                struct lock *lock, struct error *why);

/* This process as the owner of a lock: "MACHINE BOOT LOCK HOST".  `lock_id` names the local lock, which the caller holds. */
void holder_format(const char *lock_id, char *out, size_t out_bytes);

enum holder_kin {
    HOLDER_OTHER, /* another machine, or one here that may live */
    HOLDER_DEAD,  /* of this boot of this machine, and dead for sure */
    HOLDER_BEFORE_BOOT, /* of this machine, silent since before this boot; or of a copy of it that lives */
};
enum holder_kin holder_kin(const struct lock *lock, const char *lock_id);

/* Watch the lock, which was just looked at, until it has stood still for that long; people are told.  Gives it as it is
 * then; when lock->is_there is false, it is gone.
 * -EBUSY: it has changed, so its owner lives.  -EINTR: SIGTERM or SIGINT came, which the caller has blocked. */
int holder_watch(struct backend *backend, const struct layout *layout, uint64_t wanted_ns,
                 struct lock *lock, struct error *why);

#endif
