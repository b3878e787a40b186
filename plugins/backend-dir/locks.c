/* SPDX-License-Identifier: Apache-2.0 */
/* One lock for each name, between threads and between processes.
 *
 * Conditions are atomic because everything that changes a name (rename, unlink, and the look at the
 * tag before) happens under that name's lock: a mutex for the threads and a byte of the file
 * .bucketdisk-lock for processes, both chosen by a hash of the name.  The lock of the byte belongs
 * to our open file, not to the process (F_OFD_SETLK), so two instances in one process exclude each
 * other, too.  It is held for a rename, never for the writing and syncing of data.
 *
 * A process that is stopped may keep its byte for any time, so the byte is asked for again and again
 * until the request's deadline, the mutex given back meanwhile. */
#include "dir.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOCK_NAME RESERVED "lock"
#define PAUSE_MIN_NS 500000u
#define PAUSE_MAX_NS 50000000u

static unsigned
stripe_of(const char *name)
{
    uint32_t hash = 2166136261u; /* FNV-1a: other processes must come to the same byte */

    for (; *name != '\0'; name++)
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    return hash % STRIPES;
}

static int
byte_lock(int fd, unsigned stripe, short type)
{
    struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = stripe, .l_len = 1 };
    int rc;

    do
        rc = fcntl(fd, F_OFD_SETLK, &lock);
    while (rc != 0 && errno == EINTR);
    return rc;
}

/* Another open file has it. */
static bool
is_taken(int error)
{
    return error == EAGAIN || error == EACCES;
}

void
locks_init(struct locks *locks, const struct bd_host *host)
{
    locks->host = host;
    locks->fd = -1;
    for (unsigned i = 0; i < STRIPES; i++)
        pthread_mutex_init(&locks->stripes[i], NULL);
}

enum bd_status
locks_open(struct locks *locks, int dir, const char *path)
{
    locks->fd =
        openat(dir, LOCK_NAME, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (locks->fd == -1) {
        int error = errno;

        if (error == EROFS || faccessat(dir, ".", W_OK, AT_EACCESS) != 0)
            return BD_OK;
        /* To write without the lock that others take would break their conditions. */
        locks->host->log(locks->host, BD_ERROR, "%s/" LOCK_NAME " cannot be opened: %s", path,
                         strerror(error));
        return error == EACCES || error == EPERM    ? BD_DENIED
               : error == ENOSPC || error == EDQUOT ? BD_FULL
                                                    : BD_FATAL;
    }
    if (byte_lock(locks->fd, STRIPES, F_WRLCK) == 0) {
        byte_lock(locks->fd, STRIPES, F_UNLCK);
        locks->are_supported = true;
    } else if (is_taken(errno)) {
        locks->are_supported = true;
    } else {
        locks->host->log(locks->host, BD_WARNING,
                         "%s: this filesystem has no locks (%s): nothing keeps two writers apart",
                         path, strerror(errno));
    }
    return BD_OK;
}

void
locks_free(struct locks *locks)
{
    for (unsigned i = 0; i < STRIPES; i++)
        pthread_mutex_destroy(&locks->stripes[i]);
    if (locks->fd != -1)
        close(locks->fd);
}

/* 0 or an errno; then nothing is locked. */
static int
both_lock(struct locks *locks, unsigned stripe)
{
    int error;

    pthread_mutex_lock(&locks->stripes[stripe]);
    if (!locks->are_supported || byte_lock(locks->fd, stripe, F_WRLCK) == 0)
        return 0;
    error = errno;
    pthread_mutex_unlock(&locks->stripes[stripe]);
    return error;
}

/* Longer than the last time, but no further than to the deadline.  False: that is over. */
static bool
pause_before(const struct locks *locks, uint64_t deadline_ns, uint64_t *pause_ns)
{
    uint64_t now = locks->host->now_ns();
    struct timespec pause = { 0 };

    if (now >= deadline_ns)
        return false;
    *pause_ns = *pause_ns < PAUSE_MAX_NS / 2 ? 2 * *pause_ns : PAUSE_MAX_NS;
    pause.tv_nsec = (long)(deadline_ns - now < *pause_ns ? deadline_ns - now : *pause_ns);
    nanosleep(&pause, NULL);
    return true;
}

enum bd_status
locks_take(struct locks *locks, struct bd_io *io, const char *name)
{
    unsigned stripe = stripe_of(name);
    uint64_t pause_ns = PAUSE_MIN_NS / 2;
    int error = both_lock(locks, stripe);

    while (is_taken(error) && pause_before(locks, io->deadline_ns, &pause_ns))
        error = both_lock(locks, stripe);
    if (is_taken(error)) {
        locks->host->error(io,
                           "%s: another process keeps the lock of this name, in " LOCK_NAME
                           "; it may be stopped",
                           name);
        return BD_RETRY;
    }
    return error == 0 ? BD_OK : dir_failed(locks->host, io, "locking", error);
}

void
locks_release(struct locks *locks, const char *name)
{
    unsigned stripe = stripe_of(name);

    if (locks->are_supported)
        byte_lock(locks->fd, stripe, F_UNLCK);
    pthread_mutex_unlock(&locks->stripes[stripe]);
}
