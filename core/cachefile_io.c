/* SPDX-License-Identifier: Apache-2.0 */
/* The file below the cache file: opened, locked, read and written. */
#include "cachefile.h"

#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct real {
    struct cachefile_io io;
    int fd;
};

static int
fd_of(struct cachefile_io *io)
{
    return container_of(io, struct real, io)->fd;
}

/* -ESTALE is no error of the disk for who calls. */
static int
failed(void)
{
    return errno == ESTALE ? -EIO : -errno;
}

static int
real_read(struct cachefile_io *io, void *data, size_t bytes, uint64_t offset)
{
    char *next = data;

    while (bytes > 0) {
        ssize_t got = pread(fd_of(io), next, bytes, (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return failed();
        if (got == 0) {
            memset(next, 0, bytes);
            return 0;
        }
        next += got;
        bytes -= (size_t)got;
        offset += (uint64_t)got;
    }
    return 0;
}

static int
real_write(struct cachefile_io *io, const void *data, size_t bytes, uint64_t offset)
{
    const char *next = data;

    while (bytes > 0) {
        ssize_t put = pwrite(fd_of(io), next, bytes, (off_t)offset);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return put < 0 ? failed() : -EIO;
        next += put;
        bytes -= (size_t)put;
        offset += (uint64_t)put;
    }
    return 0;
}

static int
real_sync(struct cachefile_io *io)
{
    return fdatasync(fd_of(io)) == 0 ? 0 : failed();
}

static int
real_resize(struct cachefile_io *io, uint64_t bytes)
{
    return ftruncate(fd_of(io), (off_t)bytes) == 0 ? 0 : failed();
}

static int
real_size(struct cachefile_io *io, uint64_t *bytes)
{
    struct stat stat;

    if (fstat(fd_of(io), &stat) != 0)
        return -errno;
    *bytes = (uint64_t)stat.st_size;
    return 0;
}

static void
real_forget(struct cachefile_io *io, uint64_t offset, uint64_t bytes)
{
    /* Else it reads ahead, and has again what it was told to forget. */
    (void)posix_fadvise(fd_of(io), 0, 0, POSIX_FADV_RANDOM);
    (void)posix_fadvise(fd_of(io), (off_t)offset, (off_t)bytes, POSIX_FADV_DONTNEED);
}

static int
real_protect(struct cachefile_io *io)
{
    struct stat stat;

    if (fstat(fd_of(io), &stat) != 0)
        return -errno;
    return (stat.st_mode & 0177) == 0 || fchmod(fd_of(io), 0600) == 0 ? 0 : -errno;
}

static void
real_close(struct cachefile_io *io)
{
    struct real *real = container_of(io, struct real, io);

    close(real->fd);
    free(real);
}

int
cachefile_sync_directory(const char *path)
{
    char *copy = strdup(path);
    int fd = copy == NULL ? -1 : open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd == -1 || fsync(fd) != 0 ? -errno : 0;

    if (fd != -1)
        close(fd);
    free(copy);
    return rc;
}

static int
refuse_unopened(const char *path, int number, struct error *why)
{
    return error_set(why, -number, "cannot open the cache file %s: %s; %s", path, strerror(number),
                     number == EACCES   ? "mount as who may read and write it, or give another name"
                     : number == EISDIR ? "give the name of a file"
                     : number == ENOENT ? "make the directory that it is to be in"
                                        : "give another name");
}

static int
real_unlink(struct cachefile_io *io, const char *path)
{
    (void)io;
    return unlink(path) == 0 || errno == ENOENT ? 0 : -errno;
}

static int
real_sync_name(struct cachefile_io *io, const char *path)
{
    (void)io;
    return cachefile_sync_directory(path);
}

int
cachefile_io_open(const char *path, struct error *why, struct cachefile_io **out)
{
    struct real *real = calloc(1, sizeof *real);
    struct stat stat;
    int rc;

    if (real == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    /* A fifo would wait for somebody, a device might do anything. */
    real->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
    if (real->fd == -1) {
        rc = refuse_unopened(path, errno, why);
        goto free_real;
    }
    if (fstat(real->fd, &stat) != 0 || !S_ISREG(stat.st_mode)) {
        rc = error_set(why, -EINVAL,
                       "%s cannot be a cache file, for it is no regular file; give another name",
                       path);
        goto close_fd;
    }
    if (flock(real->fd, LOCK_EX | LOCK_NB) != 0) {
        rc = errno == EWOULDBLOCK
                 ? error_set(why, -EBUSY,
                             "the cache file %s is in use by another process; end that first, or "
                             "give another name",
                             path)
                 : error_set(why, -errno, "cannot lock the cache file %s: %s", path,
                             strerror(errno));
        goto close_fd;
    }
    /* The name of a file that was just made is to be there after a power cut, too. */
    rc = stat.st_size == 0 ? cachefile_sync_directory(path) : 0;
    if (rc != 0) {
        error_set(why, rc, "cannot sync the directory of the cache file %s: %s", path,
                  strerror(-rc));
        goto close_fd;
    }
    real->io = (struct cachefile_io){ .read = real_read,
                                      .write = real_write,
                                      .sync = real_sync,
                                      .resize = real_resize,
                                      .size = real_size,
                                      .forget = real_forget,
                                      .unlink = real_unlink,
                                      .sync_name = real_sync_name,
                                      .close = real_close,
                                      .protect = real_protect };
    *out = &real->io;
    return 0;

close_fd:
    close(real->fd);
free_real:
    free(real);
    return rc;
}
