/* SPDX-License-Identifier: Apache-2.0 */
/* Is the owner of a volume's lock dead?
 *
 * Time is measured from when the lock was first seen: its last beat was sent before that.  The owner gives up the last
 * of its writes one lease after that beat was sent, and the store carries out nothing of it after the settle time.
 * What the owner's clock says does not count.  */
#include "takeover.h"

#include "base/clock.h"
#include "base/log.h"
#include "holder.h"
#include "token.h"

#include <errno.h>
#include <string.h>

/* Of what a plugin gives up a little after its deadline. */
#define MARGIN_NS (2 * NS_PER_S)

static const char *
host_of(const struct lock *lock)
{
    const char *host = lock_host(lock);

    return host != NULL ? host : "another machine";
}

/* How long this lock must stand still; 0: no time is enough. */
static uint64_t
still_ns(const struct takeover_config *config, const struct lock *lock)
{
    enum holder_kin kin = holder_kin(lock, config->lock_id);
    uint64_t ms =
        config->settle_ms > lock->lease.settle_ms ? config->settle_ms : lock->lease.settle_ms;

    /* Of others nobody is left who could send anything. */
    if (kin == HOLDER_OTHER || (kin == HOLDER_BEFORE_BOOT && lock->lease.beat > 0)) {
        if (lock->lease.beat == 0)
            return 0;
        ms += lock->lease.lease_ms;
    }
    if (ms < lock->hold_ms)
        ms = lock->hold_ms;
    return ms * NS_PER_MS + MARGIN_NS;
}

/* With the lock goes what says that there is more. */
static int
check_local(const struct takeover_config *config, const struct lock *lock, struct error *why)
{
    bool is_here = holder_kin(lock, config->lock_id) != HOLDER_OTHER;

    if (!lock->is_local)
        return 0;
    if (!config->is_forced)
        return error_set(
            why, -EBUSY,
            "what %s acknowledged may be in its cache file alone (--durability=cache): "
            "mount the volume there with its --block-cache-file%s; --force takes the "
            "volume without it, and the filesystem may be beyond repair then",
            host_of(lock),
            is_here ? ", which takes it over and stores that" : ", which stores that");
    log_line(BD_WARNING,
             "what %s acknowledged and did not store is left in its cache file, as --force says; "
             "the filesystem may be beyond repair",
             host_of(lock));
    return 0;
}

int
takeover_watch(const struct takeover_config *config, struct lock *lock, struct error *why)
{
    uint64_t wanted_ns;
    int rc = holder_look(config->backend, config->layout, lock, why);

    if (rc != 0 || !lock->is_there)
        return rc;
    if (lock_is_fence(lock))
        return error_set(why, -EBUSY,
                         "a volume of format 2 was begun here and is not complete; nobody has it "
                         "mounted: --format=2 begins it again");
    if (lock_is_shared(lock))
        return error_set(why, -EBUSY,
                         "the volume is mounted with --sharedDiskMode, or was, by any number of "
                         "machines, and nothing tells whether they live; only if you know that "
                         "nobody writes, clear its mount token with --reset-mounted-flag");
    wanted_ns = still_ns(config, lock);
    if (wanted_ns == 0)
        return error_set(why, -EBUSY,
                         "the volume is in use on %s, and its lock does not say whether that still "
                         "lives (it is s3backer's, or the store has no conditional writes); only "
                         "if you know that nobody writes, clear it with --reset-mounted-flag",
                         host_of(lock));
    rc = check_local(config, lock, why);
    return rc != 0 ? rc : holder_watch(config->backend, config->layout, wanted_ns, lock, why);
}
