/* SPDX-License-Identifier: Apache-2.0 */
/* backend-dir: one object is one file in a directory, named as the object.
 *
 * A PUT writes a temporary file, gives it its attributes, syncs it, renames it over the object's
 * name and syncs the directory: a reader sees the old object or the new one, and so does who looks
 * after a power failure.  Nothing is ever changed in place.
 *
 * Conditions are atomic between threads and processes because everything that changes a name
 * (rename, unlink, and the look at the tag before) happens under that name's lock: a mutex for the
 * threads and a byte of the file .bucketdisk-lock for processes, both chosen by a hash of the name.
 * The lock of the byte belongs to our open file, not to the process (F_OFD_SETLKW), so two
 * instances in one process exclude each other, too.  It is held for a rename, never for the writing
 * and syncing of data.
 *
 * Lock order: a name's mutex, its byte; listing and sync locks are taken alone. */
#include "dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define LOCK_NAME RESERVED "lock"
#define TEMP_NAME RESERVED "tmp-"
#define TEMP_RANDOM_BYTES 16
#define TEMP_NAME_BYTES (sizeof TEMP_NAME + 2 * TEMP_RANDOM_BYTES)

#define STRIPES 64
#define OBJECT_BYTES_MAX ((uint64_t)1 << 40)

struct dir_options {
    const char *path;
    uint32_t threads;
    uint8_t create;
};

static const struct bd_option dir_rows[] = {
    { .name = "path",
      .type = BD_OPT_PATH,
      .flags = BD_OPTF_REQUIRED | BD_OPTF_LOCATION,
      BD_FIELD(struct dir_options, path),
      .metavar = "DIRECTORY",
      .help = "the directory that holds the objects" },
    { .name = "threads",
      .type = BD_OPT_UINT,
      BD_FIELD(struct dir_options, threads),
      .def = "16",
      .min = 1,
      .max = 1024,
      .help = "how many files to work on at once" },
    { .name = "create",
      .type = BD_OPT_BOOL,
      BD_FIELD(struct dir_options, create),
      .def = "no",
      .help = "make the directory if it does not exist" },
};

/* Syncs of the directory that many PUTs wait for at once: whoever comes while one runs waits for
 * the next, which then serves all of them. */
struct sync {
    pthread_mutex_t lock; /* guards all of it; not held during fsync */
    pthread_cond_t done_cond;
    uint64_t asked, done, failed; /* tickets: everything up to this */
    int error;                    /* of the sync that `failed` tells of */
    bool is_running;
};

struct dir {
    const struct bd_host *host;
    struct bd_blocking *blocking;
    int fd;
    int lock_fd; /* -1: the directory may not be written to */
    bool has_locks;
    bool has_xattrs;
    unsigned threads;
    char *path;
    char identity[80];

    pthread_mutex_t stripes[STRIPES];
    struct sync sync;
    struct listing listing;
    pthread_mutex_t durable_lock; /* guards the next */
    char *durable_parent; /* a subdirectory whose way from the root is known to be on the disk */
};

/* ------------------------------------------------------------------ errors */

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

/* A name is missing.  ABSENT means zeros to the core, so first look whether the directory is still
 * one. */
static enum bd_status
dir_absent(const struct dir *dir, struct bd_io *io)
{
    struct stat stat;

    if (fstat(dir->fd, &stat) != 0)
        return dir_failed(dir->host, io, dir->path, errno);
    if (stat.st_nlink == 0)
        return dir_failed(dir->host, io, dir->path, ENOENT);
    return BD_ABSENT;
}

/* ------------------------------------------------------------------ names */

/* Components that are empty, "." or ".." would lead elsewhere; those that begin with RESERVED are
 * ours. */
static enum bd_status
name_check(const struct dir *dir, struct bd_io *io, const char *name)
{
    const char *part = name;

    for (;;) {
        size_t bytes = strcspn(part, "/");

        if (bytes == 0 || bytes > NAME_MAX || (bytes == 1 && part[0] == '.')
            || (bytes == 2 && part[0] == '.' && part[1] == '.')
            || strncmp(part, RESERVED, strlen(RESERVED)) == 0) {
            dir->host->error(io, "\"%s\" cannot be the name of a file", name);
            return BD_INVALID;
        }
        if (part[bytes] == '\0')
            return BD_OK;
        part += bytes + 1;
    }
}

/* Is the way from the root to `parent` (without a last slash) known to be on the disk? */
static bool
durable_known(struct dir *dir, const char *parent)
{
    bool is_known;

    pthread_mutex_lock(&dir->durable_lock);
    is_known = dir->durable_parent != NULL && strcmp(dir->durable_parent, parent) == 0;
    pthread_mutex_unlock(&dir->durable_lock);
    return is_known;
}

static void
durable_learn(struct dir *dir, const char *parent)
{
    char *copy = strdup(parent); /* NULL only costs time */

    pthread_mutex_lock(&dir->durable_lock);
    free(dir->durable_parent);
    dir->durable_parent = copy;
    pthread_mutex_unlock(&dir->durable_lock);
}

static void
parent_close(const struct dir *dir, int fd)
{
    if (fd != dir->fd)
        close(fd);
}

/* Open the directory that `name` is in, without following symbolic links, and give the last
 * component. With `create`, make what is missing, and make sure that all of the way is on the disk.
 */
static enum bd_status
parent_open(struct dir *dir, struct bd_io *io, const char *name, bool create, int *out,
            const char **leaf)
{
    const char *last = strrchr(name, '/');
    char parent[BD_NAME_BYTES_MAX + 1], part[NAME_MAX + 1];
    enum bd_status status = name_check(dir, io, name);
    int fd = dir->fd, next;
    bool must_sync;

    if (status != BD_OK)
        return status;
    *out = fd;
    *leaf = name;
    if (last == NULL)
        return BD_OK;
    *leaf = last + 1;
    snprintf(parent, sizeof parent, "%.*s", (int)(last - name), name);
    must_sync = create && !durable_known(dir, parent);
    for (const char *at = parent; at != NULL; at = strchr(at, '/')) {
        at += *at == '/';
        snprintf(part, sizeof part, "%.*s", (int)strcspn(at, "/"), at);
        next = openat(fd, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next == -1 && errno == ENOENT && create) {
            if (mkdirat(fd, part, 0700) != 0 && errno != EEXIST)
                goto fail;
            must_sync = true;
            next = openat(fd, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        }
        if (next == -1) {
            if (errno == ENOENT && !create) {
                parent_close(dir, fd);
                return dir_absent(dir, io);
            }
            goto fail;
        }
        if (must_sync && fsync(fd) != 0) {
            int error = errno;

            close(next);
            errno = error;
            goto fail;
        }
        parent_close(dir, fd);
        fd = next;
    }
    if (must_sync)
        durable_learn(dir, parent);
    *out = fd;
    return BD_OK;

fail:
    status = errno == ENOENT ? dir_absent(dir, io) : dir_failed(dir->host, io, name, errno);
    if (status == BD_ABSENT) {
        dir->host->error(io, "%s: its subdirectory was removed meanwhile", name);
        status = BD_RETRY;
    }
    parent_close(dir, fd);
    return status;
}

/* ------------------------------------------------------------------ locks and syncs */

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

static enum bd_status
name_lock(struct dir *dir, struct bd_io *io, const char *name)
{
    unsigned stripe = stripe_of(name);

    pthread_mutex_lock(&dir->stripes[stripe]);
    if (dir->has_locks && byte_lock(dir->lock_fd, stripe, F_WRLCK) != 0) {
        int error = errno;

        pthread_mutex_unlock(&dir->stripes[stripe]);
        return dir_failed(dir->host, io, "locking", error);
    }
    return BD_OK;
}

static void
name_unlock(struct dir *dir, const char *name)
{
    unsigned stripe = stripe_of(name);

    if (dir->has_locks)
        byte_lock(dir->lock_fd, stripe, F_UNLCK);
    pthread_mutex_unlock(&dir->stripes[stripe]);
}

/* 0 or an errno. */
static int
sync_root(struct dir *dir)
{
    struct sync *sync = &dir->sync;
    uint64_t ticket;
    int error = 0;

    pthread_mutex_lock(&sync->lock);
    ticket = ++sync->asked;
    while (sync->done < ticket) {
        uint64_t upto = sync->asked;
        int rc;

        if (sync->is_running) {
            pthread_cond_wait(&sync->done_cond, &sync->lock);
            continue;
        }
        sync->is_running = true;
        pthread_mutex_unlock(&sync->lock);
        rc = fsync(dir->fd) == 0 ? 0 : errno;
        pthread_mutex_lock(&sync->lock);
        sync->is_running = false;
        sync->done = upto;
        if (rc != 0) {
            sync->failed = upto;
            sync->error = rc;
        }
        pthread_cond_broadcast(&sync->done_cond);
    }
    /* A failed sync is told to everybody up to it, also to one who was served by an earlier one. */
    if (ticket <= sync->failed)
        error = sync->error;
    pthread_mutex_unlock(&sync->lock);
    return error;
}

/* The change of names in `fd` was made; is it on the disk?  If that cannot be said, the outcome is
 * unknown. */
static enum bd_status
parent_sync(struct dir *dir, struct bd_io *io, int fd)
{
    int error = fd == dir->fd ? sync_root(dir) : fsync(fd) == 0 ? 0 : errno;

    if (error == 0)
        return BD_OK;
    dir->host->error(io, "syncing the directory: %s", strerror(error));
    return BD_UNKNOWN;
}

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

static enum bd_status
object_read(struct dir *dir, struct bd_io *io)
{
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
dir_get(void *self, struct bd_io *io)
{
    return object_read(self, io);
}

static enum bd_status
dir_head(void *self, struct bd_io *io)
{
    return object_read(self, io);
}

static enum bd_status
dir_list(void *self, struct bd_io *io)
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
    if (dir->lock_fd == -1) {
        dir->host->error(io, "%s may only be read", dir->path);
        return BD_DENIED;
    }
    if (!dir->has_locks) {
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

/* The temporary file, whole and synced.  It is locked for as long as it is open, which tells others
 * that its process lives. */
static enum bd_status
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
    (void)flock(fd,
                LOCK_EX | LOCK_NB); /* a filesystem without it has no stale files removed, either */
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

/* Rename under the name's lock. */
static enum bd_status
temp_publish(struct dir *dir, struct bd_io *io, const char *temp, int temp_fd, int parent,
             const char *leaf, char tag[DIR_TAG_BYTES])
{
    enum bd_status status = name_lock(dir, io, io->name);
    struct stat stat;

    if (status != BD_OK)
        return status;
    status = conditions_check(dir, io, parent, leaf);
    if (status != BD_OK)
        goto unlock;
    if (renameat(dir->fd, temp, parent, leaf) != 0) {
        int error = errno;

        status = error == ENOENT ? dir_absent(dir, io) : dir_failed(dir->host, io, io->name, error);
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
    name_unlock(dir, io->name);
    return status;
}

static enum bd_status
dir_put(void *self, struct bd_io *io)
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
                         "encoding and attributes of an object",
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

    *parent = -1;
    status = parent_open(dir, io, name, false, parent, &leaf);
    if (status == BD_ABSENT)
        return io->op == BD_DELETE && !bd_conditions_hold(io, NULL) ? BD_CONDITION : BD_OK;
    if (status != BD_OK)
        return status;
    status = name_lock(dir, io, name);
    if (status != BD_OK)
        goto close_parent;
    if (io->op == BD_DELETE)
        status = conditions_check(dir, io, *parent, leaf);
    if (status == BD_OK && unlinkat(*parent, leaf, 0) != 0) {
        status = errno == ENOENT ? dir_absent(dir, io) : dir_failed(dir->host, io, name, errno);
        /* Absent already, maybe by an earlier try whose sync failed: sync all the same. */
        if (status == BD_ABSENT)
            status = BD_OK;
    }
    name_unlock(dir, name);
close_parent:
    if (status != BD_OK) {
        parent_close(dir, *parent);
        *parent = -1;
    }
    return status;
}

static enum bd_status
dir_delete(void *self, struct bd_io *io)
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
dir_delete_many(void *self, struct bd_io *io)
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

static const struct bd_blocking_ops dir_ops = {
    .get = dir_get,
    .head = dir_head,
    .put = dir_put,
    .delete_object = dir_delete,
    .delete_many = dir_delete_many,
    .list = dir_list,
};

/* ------------------------------------------------------------------ lifecycle */

/* Ours: named as only we name them, a private file of our own user. */
static bool
is_stale_temp(const struct dirent *entry, const struct stat *stat)
{
    const char *random = entry->d_name + strlen(TEMP_NAME);

    return strncmp(entry->d_name, TEMP_NAME, strlen(TEMP_NAME)) == 0
           && strspn(random, "0123456789abcdef") == 2 * TEMP_RANDOM_BYTES
           && random[2 * TEMP_RANDOM_BYTES] == '\0' && S_ISREG(stat->st_mode)
           && (stat->st_mode & 07777) == 0600 && stat->st_uid == geteuid();
}

/* Remove the temporary files of processes that died.  A living one has its file locked from right
 * after making it; should we come just between, its rename fails and its PUT is tried again. */
static void
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
        if (strncmp(entry->d_name, TEMP_NAME, strlen(TEMP_NAME)) != 0)
            continue;
        temp = openat(dir->fd, entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (temp == -1)
            continue;
        if (fstat(temp, &stat) == 0 && is_stale_temp(entry, &stat)
            && flock(temp, LOCK_EX | LOCK_NB) == 0 && unlinkat(dir->fd, entry->d_name, 0) == 0)
            removed++;
        close(temp);
    }
    closedir(stream);
    if (removed > 0)
        dir->host->log(dir->host, BD_INFO, "%s: removed %u unfinished files of an earlier run",
                       dir->path, removed);
}

/* One sentence for the user. */
static enum bd_status
open_failed(const struct bd_host *host, const char *path, int error)
{
    switch (error) {
    case ENOENT:
        host->log(host, BD_ERROR, "%s does not exist: make it, or use --dir-create", path);
        return BD_INVALID;
    case ENOTDIR:
        host->log(host, BD_ERROR, "%s is not a directory", path);
        return BD_INVALID;
    case EACCES:
    case EPERM:
        host->log(host, BD_ERROR, "%s may not be read by this user", path);
        return BD_DENIED;
    default:
        host->log(host, BD_ERROR, "%s: %s", path, strerror(error));
        return error == EROFS ? BD_DENIED : error == ENOSPC ? BD_FULL : BD_FATAL;
    }
}

/* Make the directory, and its name durable. */
static int
create(const char *path)
{
    char *copy, *slash;
    int fd, rc;

    if (mkdir(path, 0700) != 0)
        return errno == EEXIST ? 0 : -1;
    copy = strdup(path);
    if (copy == NULL)
        return -1;
    for (size_t bytes = strlen(copy); bytes > 1 && copy[bytes - 1] == '/'; bytes--)
        copy[bytes - 1] = '\0';
    slash = strrchr(copy, '/');
    if (slash != NULL)
        slash[slash == copy] = '\0';
    fd = open(slash == NULL ? "." : copy, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(copy);
    if (fd == -1)
        return 0; /* a parent that may be passed but not read cannot be synced */
    rc = fsync(fd);
    close(fd);
    return rc;
}

/* The file of locks.  A directory that may only be read has none, and needs none. */
static enum bd_status
locks_open(struct dir *dir)
{
    dir->lock_fd =
        openat(dir->fd, LOCK_NAME, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (dir->lock_fd == -1) {
        int error = errno;

        if (error == EROFS || faccessat(dir->fd, ".", W_OK, AT_EACCESS) != 0)
            return BD_OK;
        /* To write without the lock that others take would break their conditions. */
        dir->host->log(dir->host, BD_ERROR, "%s/" LOCK_NAME " cannot be opened: %s", dir->path,
                       strerror(error));
        return error == EACCES || error == EPERM    ? BD_DENIED
               : error == ENOSPC || error == EDQUOT ? BD_FULL
                                                    : BD_FATAL;
    }
    if (byte_lock(dir->lock_fd, STRIPES, F_WRLCK) == 0) {
        byte_lock(dir->lock_fd, STRIPES, F_UNLCK);
        dir->has_locks = true;
    } else {
        dir->host->log(dir->host, BD_WARNING,
                       "%s: this filesystem has no locks (%s): nothing keeps two writers apart",
                       dir->path, strerror(errno));
    }
    return BD_OK;
}

static void
dir_free(struct dir *dir)
{
    listing_free(&dir->listing);
    for (unsigned i = 0; i < STRIPES; i++)
        pthread_mutex_destroy(&dir->stripes[i]);
    pthread_cond_destroy(&dir->sync.done_cond);
    pthread_mutex_destroy(&dir->sync.lock);
    pthread_mutex_destroy(&dir->durable_lock);
    if (dir->lock_fd != -1)
        close(dir->lock_fd);
    close(dir->fd);
    free(dir->durable_parent);
    free(dir->path);
    free(dir);
}

static enum bd_status
dir_open(const struct bd_host *host, const void *options, const struct bd_lower *lower,
         void **handle)
{
    const struct dir_options *opts = options;
    enum bd_status status;
    struct stat stat;
    struct dir *dir;
    int fd;

    (void)lower;
    if (opts->path == NULL || opts->path[0] == '\0') {
        host->log(host, BD_ERROR, "no directory was named: use --dir-path=DIRECTORY");
        return BD_INVALID;
    }
    if (opts->create && create(opts->path) != 0)
        return open_failed(host, opts->path, errno);
    fd = open(opts->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd == -1)
        return open_failed(host, opts->path, errno);
    if (fstat(fd, &stat) != 0 || faccessat(fd, ".", X_OK, AT_EACCESS) != 0) {
        status = open_failed(host, opts->path, errno);
        close(fd);
        return status;
    }
    dir = calloc(1, sizeof *dir);
    if (dir == NULL) {
        close(fd);
        return open_failed(host, opts->path, ENOMEM);
    }
    dir->host = host;
    dir->fd = fd;
    dir->lock_fd = -1;
    dir->threads = opts->threads == 0 ? 16 : opts->threads;
    dir->path = realpath(opts->path, NULL);
    if (dir->path == NULL)
        dir->path = strdup(opts->path);
    snprintf(dir->identity, sizeof dir->identity, "dir:%u:%u:%llu", major(stat.st_dev),
             minor(stat.st_dev), (unsigned long long)stat.st_ino);
    for (unsigned i = 0; i < STRIPES; i++)
        pthread_mutex_init(&dir->stripes[i], NULL);
    pthread_mutex_init(&dir->sync.lock, NULL);
    pthread_cond_init(&dir->sync.done_cond, NULL);
    pthread_mutex_init(&dir->durable_lock, NULL);
    listing_init(&dir->listing, host, fd);
    if (dir->path == NULL) {
        status = open_failed(host, opts->path, ENOMEM);
        goto free_dir;
    }
    dir->has_xattrs = attrs_supported(fd);
    status = locks_open(dir);
    if (status != BD_OK)
        goto free_dir;
    if (dir->lock_fd != -1)
        temps_remove(dir);
    status = bd_blocking_new(host, &dir_ops, dir, dir->threads, &dir->blocking);
    if (status != BD_OK) {
        host->log(host, BD_ERROR, "cannot make %u threads: use fewer with --dir-threads",
                  dir->threads);
        goto free_dir;
    }
    *handle = dir;
    return BD_OK;

free_dir:
    dir_free(dir);
    return status;
}

static void
dir_info(void *handle, struct bd_backend_info *out)
{
    const struct dir *dir = handle;

    out->capabilities = BD_CAP_CONDITIONS_GET | BD_CAP_CONSISTENT | BD_CAP_RANGES
                        | BD_CAP_DELETE_MANY | BD_CAP_LOCAL;
    /* A directory that may not be written to refuses each write for that reason, not for want of
     * locks. */
    if (dir->has_locks || dir->lock_fd == -1)
        out->capabilities |= BD_CAP_CONDITIONS_PUT | BD_CAP_CONDITIONS_DELETE;
    if (dir->has_xattrs)
        out->capabilities |= BD_CAP_ATTRS;
    out->object_bytes_max = OBJECT_BYTES_MAX;
    out->delete_many_max = 1000;
    out->list_max = 1000;
    out->concurrency = dir->threads;
    out->identity = dir->identity;
    out->display = dir->path;
}

static void
dir_submit(void *handle, struct bd_io *io)
{
    struct dir *dir = handle;

    bd_blocking_submit(dir->blocking, io);
}

static void
dir_close(void *handle)
{
    struct dir *dir = handle;

    bd_blocking_free(dir->blocking);
    dir_free(dir);
}

/* ------------------------------------------------------------------ tables */

static const struct bd_backend dir_backend = {
    .head = BD_HEAD(BACKEND, struct bd_backend),
    .scratch_bytes = BD_BLOCKING_SCRATCH,
    .open = dir_open,
    .info = dir_info,
    .submit = dir_submit,
    .close = dir_close,
};

static const struct bd_plugin dir_plugin = {
    .head = BD_HEAD(PLUGIN, struct bd_plugin),
    .abi_minor = BD_ABI_MINOR,
    .name = "backend-dir",
    .version = "1.0",
    .summary = "objects as files in a directory",
    .options = dir_rows,
    .option_count = sizeof dir_rows / sizeof dir_rows[0],
    .option_stride = sizeof dir_rows[0],
    .options_bytes = sizeof(struct dir_options),
    .backend = &dir_backend,
};

BD_PLUGIN(dir_plugin)
