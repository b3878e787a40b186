/* SPDX-License-Identifier: Apache-2.0 */
/* Is the owner of a volume's lock dead?  Found out by watching its beat.
 *
 * For `bucketdisk takeover`; these functions wait, for minutes. */
#ifndef CORE_TAKEOVER_H
#define CORE_TAKEOVER_H

#include "backend.h"
#include "base/error.h"
#include "lock.h"

struct takeover_config {
    struct backend *backend;
    const struct layout *layout; /* prefix and is_format_2 count */
    const char *lock_id;         /* of the local lock, which the caller holds */
    uint64_t settle_ms;          /* at least; the lock's counts if it is longer */
    bool is_forced;              /* also one who may have acknowledged what he has not stored */
};

/* Watch until nothing of the owner can be carried out any more.  Gives the lock as it then is, to be taken with
 * token_take_from; if lock->is_there is false, nobody has the volume.
 * -EBUSY: the owner lives, or nothing can tell whether it does, or it has acknowledged more than is stored; `why` says who it
 * is.  -EINTR: as of holder_watch. */
int takeover_watch(const struct takeover_config *config, struct lock *lock, struct error *why);

#endif
