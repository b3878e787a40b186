/* SPDX-License-Identifier: Apache-2.0 */
/* The lock of this machine on one volume, and how the daemon that holds it is doing.
 *
 * A file in /run/bucketdisk (for users, in their runtime directory), flock'ed for the life of the daemon: so it is
 * free the moment that the daemon is gone, however that came about.  The holder keeps a few lines in it
 * for others to read: those who want to mount, and `bucketdisk umount`. */
#ifndef CORE_LOCALLOCK_H
#define CORE_LOCALLOCK_H

#include "base/error.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct locallock;

/* Beside the locks of root: what `up` mounts, each in a place of its own. */
#define LOCALLOCK_UP "/run/bucketdisk/up"

enum lock_state {
    LOCK_STARTING,
    LOCK_SERVING,
    LOCK_FINISHING, /* unmounted; storing the rest */
    LOCK_DONE,
};

/* Take the lock on the volume of this identity; `volume` is what people call it.  While another daemon holds it:
 *   serving or starting     -EBUSY with who and where
 *   storing the rest        waits for its end, and logs that it does */
int locallock_take(const char *identity, const char *volume, struct error *why,
                   struct locallock **out);
/* What others shall see from now on.  mountpoint and device may be NULL: as before.  `result` is the
 * sentence to end with: "" for a good end; of who is FINISHING, what must be done so that it can end. */
void locallock_state(struct locallock *lock, enum lock_state state, const char *mountpoint,
                     const char *device, const char *result);
void locallock_release(struct locallock *lock);
/* In a child that has inherited it: it is the parent's alone. */
void locallock_leave(struct locallock *lock);

/* What a daemon of this machine has left on local disk when it ended, until the machine is started anew: the file that has
 * it, and the mount token that goes with it. */
struct locallock_kept {
    uint32_t token; /* 0: nothing */
    char path[PATH_MAX];
};
const struct locallock_kept *locallock_kept(const struct locallock *lock);
/* From the next locallock_state on, also for those who take the lock later.  path NULL: nothing any more. */
void locallock_keep(struct locallock *lock, const char *path, uint32_t token);

/* A word for a volume that a file can be named by: readable, and different for different identities. */
#define LOCALLOCK_NAME_BYTES 128
void locallock_name(const char *identity, char out[LOCALLOCK_NAME_BYTES]);

/* Tells lock files apart, by their directory and the identity: two daemons with the same id on the same boot
 * exclude each other.  One volume may have several identities, for it may be named in ways of which nobody can
 * tell that they are one, such as two host names of a server.  A word of at most 50 bytes. */
void locallock_id(const struct locallock *lock, char *out, size_t out_bytes);

/* Is this mount that of the daemon that has the volume of this identity? */
bool locallock_serves(const char *identity, const char *device, const char *mountpoint);
/* For `bucketdisk umount`: the lock file of the daemon that serves this mount, or has served it and stores the rest; of any
 * device if that is NULL.  -1 if there is none. */
int locallock_find(const char *device, const char *mountpoint);
/* Wait until that daemon has ended, and tell what it waits for, if it says so.  0, or -EIO with its last words. */
int locallock_wait(int fd, struct error *why);

#endif
