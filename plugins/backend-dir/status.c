/* SPDX-License-Identifier: Apache-2.0 */
/* What an errno means for a request. */
#include "dir.h"

#include <errno.h>
#include <string.h>

enum bd_status
dir_failed(const struct bd_host *host, struct bd_io *io, const char *what, int error)
{
    if (error == ENOENT || error == ESTALE) {
        /* Names that may be missing are looked at before this: here, the place itself is gone. */
        host->error(io, "%s: the directory was removed while in use", what);
        return BD_FATAL;
    }
    host->error(io, "%s: %s", what, strerror(error));
    switch (error) {
    case ENOSPC:
    case EDQUOT:
        return BD_FULL;
    case EACCES:
    case EPERM:
    case EROFS:
        return BD_DENIED;
    case EOPNOTSUPP:
        return BD_UNSUPPORTED;
    case EINVAL:
    case ENAMETOOLONG:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case EFBIG:
    case EXDEV: /* a subdirectory is another filesystem */
    case E2BIG:
        return BD_INVALID;
    default:
        /* EIO, too: a disk that fails once may not fail again (a cable, a RAID that rebuilds),
         * nothing was done, and the core gives up after its own time. */
        return BD_RETRY;
    }
}

enum bd_status
dir_change_failed(const struct bd_host *host, struct bd_io *io, const char *what, int error)
{
    enum bd_status status = dir_failed(host, io, what, error);

    return status == BD_RETRY ? BD_UNKNOWN : status;
}

enum bd_status
dir_absent(const struct dir *dir, struct bd_io *io)
{
    struct stat stat;

    if (fstat(dir->fd, &stat) != 0)
        return dir_failed(dir->host, io, dir->path, errno);
    if (stat.st_nlink == 0)
        return dir_failed(dir->host, io, dir->path, ENOENT);
    return BD_ABSENT;
}
