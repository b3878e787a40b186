/* SPDX-License-Identifier: Apache-2.0 */
/* Objects: one is one file, read as it is and replaced as a whole.
 *
 * A PUT writes a temporary file, gives it its attributes, syncs it, renames it over the object's
 * name and syncs the directory: a reader sees the old object or the new one, and so does who looks
 * after a power failure.  Nothing is ever changed in place. */
#include "dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ------------------------------------------------------------------ reading */

/* Open an object's file.  ABSENT only while the directory is there. */
static enum bd_status
object_open(struct dir *dir, struct bd_io *io, int parent, const char *leaf, int *out,
            struct stat *stat)
{
    /* O_NONBLOCK: a fifo that somebody put here must not stop the thread. */
    int fd = openat(parent, leaf, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (fd == -1)
        return errno == ENOENT ? dir_absent(dir, io) : dir_failed(dir->host, io, leaf, errno);
    if (fstat(fd, stat) != 0) {
        enum bd_status status = dir_failed(dir->host, io, leaf, errno);

        close(fd);
        return status;
    }
    if (!S_ISREG(stat->st_mode)) {
        dir->host->error(io, "%s is not a regular file", leaf);
        close(fd);
        return BD_INVALID;
    }
    *out = fd;
    return BD_OK;
}

/* min(cap, rest) bytes from the offset on. */
static enum bd_status
body_read(struct dir *dir, struct bd_io *io, int fd)
{
    uint64_t left = io->offset < io->object_bytes ? io->object_bytes - io->offset : 0;
    size_t want = left < io->cap ? (size_t)left : io->cap;

    while (io->len < want) {
        ssize_t got =
            pread(fd, (char *)io->data + io->len, want - io->len, (off_t)(io->offset + io->len));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return dir_failed(dir->host, io, io->name, errno);
        if (got == 0) {
            dir->host->error(io, "%s became shorter while being read", io->name);
            return BD_RETRY;
        }
        io->len += (size_t)got;
    }
    return BD_OK;
}

/* GET, and HEAD, which is one without the body. */
static enum bd_status
object_read(void *self, struct bd_io *io)
{
    struct dir *dir = self;
    char tag[DIR_TAG_BYTES];
    enum bd_status status;
    const char *leaf;
    struct stat stat;
    int parent, fd;

    status = parent_open(dir, io, io->name, false, &parent, &leaf);
    if (status != BD_OK)
        return status;
    status = object_open(dir, io, parent, leaf, &fd, &stat);
    parent_close(dir, parent);
    if (status != BD_OK)
        return status;
    io->object_bytes = (uint64_t)stat.st_size;
    if (attrs_tag(fd, &stat, dir->has_xattrs, tag) != 0) {
        status = dir_failed(dir->host, io, io->name, errno);
        goto close_fd;
    }
    if (io->op == BD_GET && !bd_conditions_hold(io, tag)) {
        status = BD_CONDITION;
        goto close_fd;
    }
    dir->host->tag_set(io, tag);
    if (dir->has_xattrs)
        status = attrs_read(dir->host, io, fd);
    if (status == BD_OK && io->op == BD_GET)
        status = body_read(dir, io, fd);
close_fd:
    close(fd);
    return status;
}

static enum bd_status
object_list(void *self, struct bd_io *io)
{
    struct dir *dir = self;
    enum bd_status status = listing_list(&dir->listing, io);

    /* A removed directory lists as an empty one. */
    if (status == BD_OK)
        status = dir_absent(dir, io);
    return status == BD_ABSENT ? BD_OK : status;
}

/* ------------------------------------------------------------------ writing */

/* With the name locked: do the conditions hold? */
static enum bd_status
conditions_check(struct dir *dir, struct bd_io *io, int parent, const char *leaf)
{
    char tag[DIR_TAG_BYTES];
    enum bd_status status;
    struct stat stat;
    int fd;

    if (io->if_match == NULL && io->if_none_match == NULL)
        return BD_OK;
    if (dir->locks.fd == -1) {
        dir->host->error(io, "%s may only be read", dir->path);
        return BD_DENIED;
    }
    if (!dir->locks.are_supported) {
        dir->host->error(io, "%s: this filesystem has no locks for conditions", dir->path);
        return BD_UNSUPPORTED;
    }
    status = object_open(dir, io, parent, leaf, &fd, &stat);
    if (status == BD_ABSENT)
        return bd_conditions_hold(io, NULL) ? BD_OK : BD_CONDITION;
    if (status != BD_OK)
        return status;
    if (attrs_tag(fd, &stat, dir->has_xattrs, tag) != 0)
        status = dir_failed(dir->host, io, io->name, errno);
    else if (!bd_conditions_hold(io, tag))
        status = BD_CONDITION;
    close(fd);
    return status;
}

/* Whoever was stopped for long may meet his successor, so what changes a name is guarded.  Returns its errno; *status is
 * BD_OK if it was made. */
static int
rename_in_time(struct dir *dir, struct bd_io *io, const char *temp, int parent, const char *leaf,
               enum bd_status *status)
{
    int from, error = 0;

    *status = guard_begin(&dir->guards, io, dir->fd, &from);
    if (*status != BD_OK)
        return 0;
    if (renameat(from, temp, parent, leaf) != 0)
        error = errno;
    *status = guard_end(&dir->guards, io, from, error);
    return error;
}

static int
unlink_in_time(struct dir *dir, struct bd_io *io, int parent, const char *leaf,
               enum bd_status *status)
{
    int from, error = 0;

    *status = guard_begin(&dir->guards, io, parent, &from);
    if (*status != BD_OK)
        return 0;
    if (unlinkat(from, leaf, 0) != 0)
        error = errno;
    *status = guard_end(&dir->guards, io, from, error);
    return error;
}

/* Rename under the name's lock. */
static enum bd_status
temp_publish(struct dir *dir, struct bd_io *io, const char *temp, int temp_fd, int parent,
             const char *leaf, char tag[DIR_TAG_BYTES])
{
    enum bd_status status = locks_take(&dir->locks, io, io->name);
    struct stat stat;
    int error = 0;

    if (status != BD_OK)
        return status;
    status = conditions_check(dir, io, parent, leaf);
    if (status == BD_OK)
        error = rename_in_time(dir, io, temp, parent, leaf, &status);
    if (status != BD_OK)
        goto unlock;
    if (error != 0) {
        status = error == ENOENT ? dir_absent(dir, io)
                                 : dir_change_failed(dir->host, io, io->name, error);
        if (status == BD_ABSENT) {
            /* Somebody removed our file, or the subdirectory.  Nothing was done. */
            dir->host->error(io, "%s: the file was removed while being written", io->name);
            status = BD_RETRY;
        }
        goto unlock;
    }
    /* Without attributes the tag is made of what the rename may have changed. */
    if (!dir->has_xattrs
        && (fstat(temp_fd, &stat) != 0 || attrs_tag(temp_fd, &stat, false, tag) != 0)) {
        dir->host->error(io, "%s: %s", io->name, strerror(errno));
        status = BD_UNKNOWN;
    }
unlock:
    locks_release(&dir->locks, io->name);
    return status;
}

static enum bd_status
object_put(void *self, struct bd_io *io)
{
    struct dir *dir = self;
    unsigned char random[16];
    char tag[DIR_TAG_BYTES], temp[TEMP_NAME_BYTES];
    enum bd_status status;
    const char *leaf;
    int parent, fd = -1;

    if (!dir->has_xattrs && (io->attr_count > 0 || io->encoding != NULL)) {
        dir->host->error(io,
                         "%s: this filesystem has no user extended attributes, which hold the "
                         "encoding and attributes of an object; use another filesystem",
                         dir->path);
        return BD_UNSUPPORTED;
    }
    if (io->body_bytes > OBJECT_BYTES_MAX) {
        dir->host->error(io, "%s: %zu bytes are too many", io->name, io->body_bytes);
        return BD_INVALID;
    }
    status = parent_open(dir, io, io->name, true, &parent, &leaf);
    if (status != BD_OK)
        return status;
    dir->host->random(random, sizeof random);
    bd_hex(random, sizeof random, tag);
    status = temp_make(dir, io, tag, temp, &fd);
    if (status != BD_OK)
        goto close_parent;
    status = temp_publish(dir, io, temp, fd, parent, leaf, tag);
    if (status == BD_OK) {
        listing_note(&dir->listing, io->name);
        status = parent_sync(dir, io, parent);
        dir->host->tag_set(io, tag);
    } else if (status != BD_UNKNOWN) {
        unlinkat(dir->fd, temp, 0);
    }
    close(fd);
close_parent:
    parent_close(dir, parent);
    return status;
}

/* Unlink, not yet durable; `*parent` is open afterwards if the status is BD_OK, -1 if there is
 * nothing that a sync could concern. */
static enum bd_status
object_unlink(struct dir *dir, struct bd_io *io, const char *name, int *parent)
{
    enum bd_status status;
    const char *leaf;
    int error = 0;

    *parent = -1;
    status = parent_open(dir, io, name, false, parent, &leaf);
    if (status != BD_OK)
        *parent = -1; /* whatever it got as far as */
    if (status == BD_ABSENT)
        return io->op == BD_DELETE && !bd_conditions_hold(io, NULL) ? BD_CONDITION : BD_OK;
    if (status != BD_OK)
        return status;
    status = locks_take(&dir->locks, io, name);
    if (status != BD_OK)
        goto close_parent;
    if (io->op == BD_DELETE)
        status = conditions_check(dir, io, *parent, leaf);
    if (status == BD_OK)
        error = unlink_in_time(dir, io, *parent, leaf, &status);
    if (status == BD_OK && error != 0) {
        status =
            error == ENOENT ? dir_absent(dir, io) : dir_change_failed(dir->host, io, name, error);
        /* Absent already, maybe by an earlier try whose sync failed: sync all the same. */
        if (status == BD_ABSENT)
            status = BD_OK;
    }
    locks_release(&dir->locks, name);
close_parent:
    if (status != BD_OK) {
        parent_close(dir, *parent);
        *parent = -1;
    }
    return status;
}

static enum bd_status
object_delete(void *self, struct bd_io *io)
{
    struct dir *dir = self;
    int parent;
    enum bd_status status = object_unlink(dir, io, io->name, &parent);

    if (status == BD_OK && parent != -1) {
        status = parent_sync(dir, io, parent);
        parent_close(dir, parent);
    }
    return status;
}

/* Are two names in the same directory? */
static bool
same_parent(const char *a, const char *b)
{
    const char *a_leaf = strrchr(a, '/'), *b_leaf = strrchr(b, '/');

    if (a_leaf == NULL || b_leaf == NULL)
        return a_leaf == b_leaf;
    return a_leaf - a == b_leaf - b && memcmp(a, b, (size_t)(a_leaf - a)) == 0;
}

/* One sync for each run of names in the same directory. */
static enum bd_status
object_delete_many(void *self, struct bd_io *io)
{
    struct dir *dir = self;
    uint32_t first = 0;

    while (first < io->name_count) {
        int sync_fd = -1, parent;
        uint32_t next = first;
        enum bd_status status = BD_OK;

        for (; next < io->name_count && same_parent(io->names[first], io->names[next]); next++) {
            io->statuses[next] = object_unlink(dir, io, io->names[next], &parent);
            if (parent == -1)
                continue;
            if (sync_fd == -1)
                sync_fd = parent;
            else
                parent_close(dir, parent);
        }
        if (sync_fd != -1) {
            status = parent_sync(dir, io, sync_fd);
            parent_close(dir, sync_fd);
        }
        for (uint32_t i = first; status != BD_OK && i < next; i++) {
            if (io->statuses[i] == BD_OK)
                io->statuses[i] = status;
        }
        first = next;
    }
    return BD_OK;
}

const struct bd_blocking_ops object_ops = {
    .get = object_read,
    .head = object_read,
    .put = object_put,
    .delete_object = object_delete,
    .delete_many = object_delete_many,
    .list = object_list,
};
