/* SPDX-License-Identifier: Apache-2.0 */
/* Temporary files: what a PUT writes before it has its name, and what dead processes left. */
#include "dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static int
write_all(int fd, const void *data, size_t bytes)
{
    const char *next = data;

    while (bytes > 0) {
        ssize_t put = write(fd, next, bytes);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -1;
        next += put;
        bytes -= (size_t)put;
    }
    return 0;
}

enum bd_status
temp_make(struct dir *dir, struct bd_io *io, const char *tag, char name[TEMP_NAME_BYTES], int *out)
{
    unsigned char random[TEMP_RANDOM_BYTES];
    enum bd_status status;
    int fd;

    dir->host->random(random, sizeof random);
    memcpy(name, TEMP_NAME, sizeof TEMP_NAME);
    bd_hex(random, sizeof random, name + sizeof TEMP_NAME - 1);
    /* In the root, where one look finds all that a dead process left. */
    fd = openat(dir->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd == -1)
        return dir_failed(dir->host, io, dir->path, errno);
    /* A filesystem without these locks has no stale files removed, either. */
    (void)flock(fd, LOCK_EX | LOCK_NB);
    if ((dir->has_xattrs && attrs_write(fd, io, tag) != 0)
        || write_all(fd, io->body, io->body_bytes) != 0 || fsync(fd) != 0) {
        status = dir_failed(dir->host, io, io->name, errno);
        unlinkat(dir->fd, name, 0);
        close(fd);
        return status;
    }
    *out = fd;
    return BD_OK;
}

/* Named as only we name them. */
static bool
is_temp_name(const char *name)
{
    const char *random = name + strlen(TEMP_NAME);

    return strncmp(name, TEMP_NAME, strlen(TEMP_NAME)) == 0
           && strspn(random, "0123456789abcdef") == 2 * TEMP_RANDOM_BYTES
           && random[2 * TEMP_RANDOM_BYTES] == '\0';
}

/* A private file of our own user. */
static bool
is_private(const struct stat *stat)
{
    return S_ISREG(stat->st_mode) && (stat->st_mode & 07777) == 0600 && stat->st_uid == geteuid();
}

void
temps_remove(struct dir *dir)
{
    int fd = openat(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), temp;
    DIR *stream = fd == -1 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    struct stat stat;
    unsigned removed = 0;

    if (stream == NULL) {
        if (fd != -1)
            close(fd);
        return;
    }
    while ((entry = readdir(stream)) != NULL) {
        if (!is_temp_name(entry->d_name))
            continue;
        temp = openat(dir->fd, entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (temp == -1)
            continue;
        if (fstat(temp, &stat) == 0 && is_private(&stat) && flock(temp, LOCK_EX | LOCK_NB) == 0
            && unlinkat(dir->fd, entry->d_name, 0) == 0)
            removed++;
        close(temp);
    }
    closedir(stream);
    if (removed > 0)
        dir->host->log(dir->host, BD_INFO, "%s: removed %u unfinished file%s of an earlier run",
                       dir->path, removed, removed == 1 ? "" : "s");
}
