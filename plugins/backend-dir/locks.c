/* SPDX-License-Identifier: Apache-2.0 */
/* One lock for each name, between threads and between processes.
 *
 * Conditions are atomic because everything that changes a name (rename, unlink, and the look at the
 * tag before) happens under that name's lock: a mutex for the threads and a byte of the file
 * .bucketdisk-lock for processes, both chosen by a hash of the name.  The lock of the byte belongs
 * to our open file, not to the process (F_OFD_SETLKW), so two instances in one process exclude each
 * other, too.  It is held for a rename, never for the writing and syncing of data. */
#include "dir.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define LOCK_NAME RESERVED "lock"

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
        rc = fcntl(fd, F_OFD_SETLKW, &lock);
    while (rc != 0 && errno == EINTR);
    return rc;
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

enum bd_status
locks_take(struct locks *locks, struct bd_io *io, const char *name)
{
    unsigned stripe = stripe_of(name);

    pthread_mutex_lock(&locks->stripes[stripe]);
    if (locks->are_supported && byte_lock(locks->fd, stripe, F_WRLCK) != 0) {
        int error = errno;

        pthread_mutex_unlock(&locks->stripes[stripe]);
        return dir_failed(locks->host, io, "locking", error);
    }
    return BD_OK;
}

void
locks_release(struct locks *locks, const char *name)
{
    unsigned stripe = stripe_of(name);

    if (locks->are_supported)
        byte_lock(locks->fd, stripe, F_UNLCK);
    pthread_mutex_unlock(&locks->stripes[stripe]);
}
