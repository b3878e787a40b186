/* SPDX-License-Identifier: Apache-2.0 */
/* The directory that a name is in: opened, made, and brought to the disk.
 *
 * A name with slashes is a file in a subdirectory.  A PUT is durable only when every directory on
 * the way is, so whoever makes one syncs the way from the root on; a parent whose way is known to
 * be on the disk is remembered, and not synced again. */
#include "dir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Opens a directory on the way.  No symbolic link may lead elsewhere. */
#define PARENT_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

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

void
parents_init(struct parents *parents)
{
    pthread_mutex_init(&parents->sync.lock, NULL);
    pthread_cond_init(&parents->sync.done_cond, NULL);
    pthread_mutex_init(&parents->durable_lock, NULL);
}

void
parents_free(struct parents *parents)
{
    pthread_cond_destroy(&parents->sync.done_cond);
    pthread_mutex_destroy(&parents->sync.lock);
    pthread_mutex_destroy(&parents->durable_lock);
    free(parents->durable);
}

/* ------------------------------------------------------------------ opening */

/* Is the way from the root to `parent` (without a last slash) known to be on the disk? */
static bool
durable_known(struct parents *parents, const char *parent)
{
    bool is_known;

    pthread_mutex_lock(&parents->durable_lock);
    is_known = parents->durable != NULL && strcmp(parents->durable, parent) == 0;
    pthread_mutex_unlock(&parents->durable_lock);
    return is_known;
}

static void
durable_learn(struct parents *parents, const char *parent)
{
    char *copy = strdup(parent); /* NULL only costs time */

    pthread_mutex_lock(&parents->durable_lock);
    free(parents->durable);
    parents->durable = copy;
    pthread_mutex_unlock(&parents->durable_lock);
}

void
parent_close(const struct dir *dir, int fd)
{
    if (fd != dir->fd)
        close(fd);
}

enum bd_status
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
    must_sync = create && !durable_known(&dir->parents, parent);
    for (const char *at = parent; at != NULL; at = strchr(at, '/')) {
        at += *at == '/';
        snprintf(part, sizeof part, "%.*s", (int)strcspn(at, "/"), at);
        next = openat(fd, part, PARENT_FLAGS);
        if (next == -1 && errno == ENOENT && create) {
            if (mkdirat(fd, part, 0700) != 0 && errno != EEXIST)
                goto fail;
            must_sync = true;
            next = openat(fd, part, PARENT_FLAGS);
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
        durable_learn(&dir->parents, parent);
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

/* ------------------------------------------------------------------ syncing */

/* 0 or an errno. */
static int
sync_root(struct dir *dir)
{
    struct sync *sync = &dir->parents.sync;
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

enum bd_status
parent_sync(struct dir *dir, struct bd_io *io, int fd)
{
    int error = fd == dir->fd ? sync_root(dir) : fsync(fd) == 0 ? 0 : errno;

    if (error == 0)
        return BD_OK;
    dir->host->error(io, "syncing the directory: %s", strerror(error));
    return BD_UNKNOWN;
}
