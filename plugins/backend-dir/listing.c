/* SPDX-License-Identifier: Apache-2.0 */
/* Listings of a directory in byte order, page by page.
 *
 * A directory has no order, so each listing scans and sorts it whole.  To do that once and not for
 * each page, the names still to be given are kept as a snapshot, which the next page finds by its
 * prefix and by the name that it continues after.
 *
 * A page must show every object whose PUT had completed when the page was asked for, or the core
 * would take a written block for an absent one.  So a PUT enters its name into every snapshot,
 * those still being scanned included, before it completes.  What was deleted since is left out when
 * its size is looked up. A PUT of another process may be missed for as long as a snapshot lives. */
#include "dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SNAPSHOTS_MAX 4
#define SNAPSHOT_NS (10 * 1000000000ull)

struct names {
    char **list;
    size_t count, room;
};

struct snapshot {
    struct snapshot *next;
    char *prefix;
    char *after;        /* only names behind this one belong; NULL: all */
    struct names names; /* sorted, but while is_scanning: then what PUTs have added */
    size_t given;       /* so many of the names are done with */
    bool is_scanning;
    bool is_broken; /* a name could not be entered */
    uint64_t used_ns;
};

/* ---- names */

static void
names_free(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->list[i]);
    free(names->list);
    *names = (struct names){ 0 };
}

static int
names_insert(struct names *names, size_t position, const char *name)
{
    char *copy;

    if (names->count == names->room) {
        size_t room = names->room == 0 ? 256 : names->room * 2;
        char **list = realloc(names->list, room * sizeof *list);

        if (list == NULL)
            return -1;
        names->list = list;
        names->room = room;
    }
    copy = strdup(name);
    if (copy == NULL)
        return -1;
    memmove(&names->list[position + 1], &names->list[position],
            (names->count - position) * sizeof *names->list);
    names->list[position] = copy;
    names->count++;
    return 0;
}

static int
compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
names_sort(struct names *names)
{
    size_t kept = 0;

    if (names->count == 0)
        return;
    qsort(names->list, names->count, sizeof *names->list, compare);
    for (size_t i = 1; i < names->count; i++) {
        if (strcmp(names->list[kept], names->list[i]) == 0)
            free(names->list[i]);
        else
            names->list[++kept] = names->list[i];
    }
    names->count = kept + 1;
}

/* ---- snapshots */

static bool
belongs(const struct snapshot *snapshot, const char *name)
{
    return strncmp(name, snapshot->prefix, strlen(snapshot->prefix)) == 0
           && (snapshot->after == NULL || strcmp(name, snapshot->after) > 0);
}

static void
snapshot_free(struct snapshot *snapshot)
{
    names_free(&snapshot->names);
    free(snapshot->prefix);
    free(snapshot->after);
    free(snapshot);
}

static void
unlink_locked(struct listing *listing, struct snapshot *snapshot)
{
    struct snapshot **link = &listing->snapshots;

    while (*link != snapshot)
        link = &(*link)->next;
    *link = snapshot->next;
}

/* Newest first, so what lies behind the first few is the oldest. */
static void
expire_locked(struct listing *listing, uint64_t now_ns)
{
    struct snapshot **link = &listing->snapshots;
    unsigned kept = 0;

    while (*link != NULL) {
        struct snapshot *snapshot = *link;

        if (!snapshot->is_scanning
            && (kept >= SNAPSHOTS_MAX || snapshot->used_ns + SNAPSHOT_NS < now_ns)) {
            *link = snapshot->next;
            snapshot_free(snapshot);
            continue;
        }
        kept++;
        link = &snapshot->next;
    }
}

static struct snapshot *
find_locked(struct listing *listing, const char *prefix, const char *after)
{
    for (struct snapshot *snapshot = listing->snapshots; snapshot != NULL;
         snapshot = snapshot->next) {
        if (!snapshot->is_scanning && !snapshot->is_broken && after != NULL
            && snapshot->after != NULL && strcmp(snapshot->after, after) == 0
            && strcmp(snapshot->prefix, prefix) == 0)
            return snapshot;
    }
    return NULL;
}

void
listing_note(struct listing *listing, const char *name)
{
    pthread_mutex_lock(&listing->lock);
    for (struct snapshot *snapshot = listing->snapshots; snapshot != NULL;
         snapshot = snapshot->next) {
        struct names *names = &snapshot->names;
        size_t low = snapshot->given, high = names->count;

        if (!belongs(snapshot, name))
            continue;
        if (snapshot->is_scanning)
            low = high;
        while (low < high) {
            size_t middle = low + (high - low) / 2;

            if (strcmp(names->list[middle], name) < 0)
                low = middle + 1;
            else
                high = middle;
        }
        if (low < names->count && strcmp(names->list[low], name) == 0)
            continue;
        if (names_insert(names, low, name) != 0)
            snapshot->is_broken = true;
    }
    pthread_mutex_unlock(&listing->lock);
}

/* ---- scanning */

struct scan {
    struct listing *listing;
    struct bd_io *io;
    const struct snapshot *snapshot; /* its prefix and after, which do not change meanwhile */
    struct names *out;
    char path[BD_NAME_BYTES_MAX + 2]; /* of the directory at work, ending in '/'; "" for the root */
};

/* Can a name that begins so have the prefix? */
static bool
may_have_prefix(const char *begin, const char *prefix)
{
    size_t begin_bytes = strlen(begin), prefix_bytes = strlen(prefix);

    return strncmp(begin, prefix, begin_bytes < prefix_bytes ? begin_bytes : prefix_bytes) == 0;
}

static enum bd_status scan_directory(struct scan *scan, int parent_fd, const char *name);

static enum bd_status
scan_entry(struct scan *scan, int fd, const struct dirent *entry)
{
    size_t path_bytes = strlen(scan->path), name_bytes = strlen(entry->d_name);
    unsigned char type = entry->d_type;
    enum bd_status status = BD_OK;
    struct stat stat;

    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0
        || strncmp(entry->d_name, RESERVED, strlen(RESERVED)) == 0
        || path_bytes + name_bytes > BD_NAME_BYTES_MAX)
        return BD_OK;
    /* Every ext4 has it, and only root may look into it. */
    if (path_bytes == 0 && strcmp(entry->d_name, "lost+found") == 0)
        return BD_OK;
    memcpy(scan->path + path_bytes, entry->d_name, name_bytes + 1);
    if (!may_have_prefix(scan->path, scan->snapshot->prefix))
        goto out;
    if (type == DT_UNKNOWN) {
        if (fstatat(fd, entry->d_name, &stat, AT_SYMLINK_NOFOLLOW) != 0) {
            if (errno != ENOENT)
                status = dir_failed(scan->listing->host, scan->io, scan->path, errno);
            goto out;
        }
        type = S_ISREG(stat.st_mode) ? DT_REG : S_ISDIR(stat.st_mode) ? DT_DIR : DT_LNK;
    }
    /* What is in an object's place and is none, a link say, is listed: it can't be read, but it is not
     * absent either. */
    if (type != DT_DIR && belongs(scan->snapshot, scan->path)
        && names_insert(scan->out, scan->out->count, scan->path) != 0)
        status = dir_failed(scan->listing->host, scan->io, "listing", ENOMEM);
    if (type == DT_DIR) {
        strcpy(scan->path + path_bytes + name_bytes, "/");
        if (may_have_prefix(scan->path, scan->snapshot->prefix))
            status = scan_directory(scan, fd, entry->d_name);
    }
out:
    scan->path[path_bytes] = '\0';
    return status;
}

static enum bd_status
scan_directory(struct scan *scan, int parent_fd, const char *name)
{
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    enum bd_status status = BD_OK;
    const struct dirent *entry;
    DIR *stream;

    if (fd == -1)
        return errno == ENOENT && scan->path[0] != '\0'
                   ? BD_OK
                   : dir_failed(scan->listing->host, scan->io, scan->path, errno);
    stream = fdopendir(fd);
    if (stream == NULL) {
        status = dir_failed(scan->listing->host, scan->io, scan->path, errno);
        close(fd);
        return status;
    }
    while (status == BD_OK) {
        errno = 0;
        entry = readdir(stream);
        if (entry == NULL) {
            if (errno != 0)
                status = dir_failed(scan->listing->host, scan->io, "reading the directory", errno);
            break;
        }
        status = scan_entry(scan, fd, entry);
    }
    closedir(stream);
    return status;
}

/* Scan into a new snapshot.  Called with the lock, which it lets go of while it reads. */
static enum bd_status
scan_locked(struct listing *listing, struct bd_io *io, const char *prefix, struct snapshot **out)
{
    struct snapshot *snapshot = calloc(1, sizeof *snapshot);
    struct names names = { 0 };
    struct scan scan = { listing, io, snapshot, &names, "" };
    enum bd_status status;

    if (snapshot == NULL)
        return dir_failed(listing->host, io, "listing", ENOMEM);
    snapshot->prefix = strdup(prefix);
    snapshot->after = io->start_after == NULL ? NULL : strdup(io->start_after);
    if (snapshot->prefix == NULL || (io->start_after != NULL && snapshot->after == NULL)) {
        snapshot_free(snapshot);
        return dir_failed(listing->host, io, "listing", ENOMEM);
    }
    snapshot->is_scanning = true;
    snapshot->next = listing->snapshots;
    listing->snapshots = snapshot;

    pthread_mutex_unlock(&listing->lock);
    status = scan_directory(&scan, listing->fd, ".");
    pthread_mutex_lock(&listing->lock);

    for (size_t i = 0; status == BD_OK && i < snapshot->names.count; i++) {
        if (names_insert(&names, names.count, snapshot->names.list[i]) != 0)
            snapshot->is_broken = true;
    }
    if (status == BD_OK && snapshot->is_broken)
        status = dir_failed(listing->host, io, "listing", ENOMEM);
    names_free(&snapshot->names);
    names_sort(&names);
    snapshot->names = names;
    snapshot->is_scanning = false;
    if (status != BD_OK) {
        unlink_locked(listing, snapshot);
        snapshot_free(snapshot);
        return status;
    }
    *out = snapshot;
    return BD_OK;
}

/* ---- pages */

static enum bd_status
page_locked(struct listing *listing, struct snapshot *snapshot, struct bd_io *io)
{
    const struct names *names = &snapshot->names;
    const char *last = NULL;

    for (uint32_t given = 0; snapshot->given < names->count && given < io->limit;) {
        const char *name = names->list[snapshot->given];
        struct stat stat;

        if (fstatat(listing->fd, name, &stat, AT_SYMLINK_NOFOLLOW) != 0) {
            if (errno != ENOENT && errno != ENOTDIR)
                return dir_failed(listing->host, io, name, errno);
            snapshot->given++;
            continue;
        }
        snapshot->given++;
        if (S_ISDIR(stat.st_mode))
            continue;
        last = name;
        given++;
        if (!listing->host->list_add(io, name, (uint64_t)stat.st_size, NULL))
            break;
    }
    io->more = snapshot->given < names->count;
    if (io->more && last != NULL) {
        char *after = strdup(last);

        if (after == NULL) {
            snapshot->is_broken = true; /* the page itself is good */
        } else {
            free(snapshot->after);
            snapshot->after = after;
        }
    }
    return BD_OK;
}

enum bd_status
listing_list(struct listing *listing, struct bd_io *io)
{
    const char *prefix = io->name == NULL ? "" : io->name;
    uint64_t now = listing->host->now_ns();
    struct snapshot *snapshot;
    enum bd_status status = BD_OK;

    pthread_mutex_lock(&listing->lock);
    expire_locked(listing, now);
    snapshot = find_locked(listing, prefix, io->start_after);
    if (snapshot == NULL)
        status = scan_locked(listing, io, prefix, &snapshot);
    if (status == BD_OK) {
        status = page_locked(listing, snapshot, io);
        snapshot->used_ns = now;
        if (status != BD_OK || !io->more || snapshot->is_broken) {
            unlink_locked(listing, snapshot);
            snapshot_free(snapshot);
        }
    }
    pthread_mutex_unlock(&listing->lock);
    return status;
}

void
listing_init(struct listing *listing, const struct bd_host *host, int fd)
{
    listing->host = host;
    listing->fd = fd;
    listing->snapshots = NULL;
    pthread_mutex_init(&listing->lock, NULL);
}

void
listing_free(struct listing *listing)
{
    while (listing->snapshots != NULL) {
        struct snapshot *snapshot = listing->snapshots;

        listing->snapshots = snapshot->next;
        snapshot_free(snapshot);
    }
    pthread_mutex_destroy(&listing->lock);
}
