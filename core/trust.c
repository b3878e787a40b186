/* SPDX-License-Identifier: Apache-2.0 */
/* Who may put a file there: root loads nothing that somebody else could have written. */
#include "trust.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINKS_MAX = 40 };

static int
trust_status(const char *path, const struct stat *status, uid_t owner_too, bool holds_the_file,
             struct error *why)
{
    const bool others_write = (status->st_mode & (S_IWGRP | S_IWOTH)) != 0;

    if (status->st_uid != 0 && status->st_uid != owner_too)
        return error_set(
            why, -EPERM,
            "%s belongs to user %lu; for root to load a plugin, it and every directory "
            "above it must belong to root",
            path, (unsigned long)status->st_uid);
    if (S_ISLNK(status->st_mode) || !others_write)
        return 0;
    /* In a sticky directory nobody can replace what belongs to somebody else, and what is below is
     * checked for its owner in turn.  But anybody can add a plugin there. */
    if (S_ISDIR(status->st_mode) && (status->st_mode & S_ISVTX) && !holds_the_file)
        return 0;
    return error_set(why, -EPERM,
                     "%s is writable by its group or by others (mode %04o); for root to load a "
                     "plugin, nobody else may write to it or to a directory above it",
                     path, (unsigned)(status->st_mode & 07777));
}

/* Put a link's target in the place of the link: `done` is the directory that it is in, `rest` what
 * follows it. */
static int
link_follow(const char *link, char done[PATH_MAX], char rest[PATH_MAX], struct error *why)
{
    char target[PATH_MAX], joined[PATH_MAX];
    ssize_t len = readlink(link, target, sizeof target - 1);

    if (len == -1)
        return error_set(why, -errno, "%s: %s", link, strerror(errno));
    target[len] = '\0';
    if ((size_t)len + strlen(rest) + 2 > sizeof joined)
        return error_set(why, -ENAMETOOLONG, "%s: %s", link, strerror(ENAMETOOLONG));
    memcpy(joined, target, (size_t)len);
    joined[len] = '/';
    strcpy(joined + len + 1, rest);
    strcpy(rest, joined);
    if (target[0] == '/')
        done[0] = '\0';
    return 0;
}

/* Walks the path as the kernel does, so that each directory that holds a link, and each that holds
 * a link's target, is looked at.  `done` has no link in it and no slash at its end. */
int
trust_path(const char *path, uid_t owner_too, struct error *why)
{
    char done[PATH_MAX] = "", rest[PATH_MAX], here[PATH_MAX];
    unsigned links = 0;
    struct stat status;
    int rc;

    if (path[0] != '/' || strlen(path) >= sizeof rest)
        return error_set(why, -EINVAL, "%s: not an absolute path", path);
    strcpy(rest, path);
    if (lstat("/", &status) == -1)
        return error_set(why, -errno, "/: %s", strerror(errno));
    rc = trust_status("/", &status, owner_too, false, why);
    while (rc == 0 && rest[0] != '\0') {
        size_t len = strcspn(rest, "/");
        char *next = rest + len + strspn(rest + len, "/");
        const bool is_last = *next == '\0';

        if (len == 0 || (len == 1 && rest[0] == '.')) {
            memmove(rest, next, strlen(next) + 1);
            continue;
        }
        if (len == 2 && rest[0] == '.' && rest[1] == '.') {
            char *slash = strrchr(done, '/');

            if (slash != NULL)
                *slash = '\0';
            memmove(rest, next, strlen(next) + 1);
            continue;
        }
        /* The directory that holds the last part is held to the stricter rule. */
        if (is_last) {
            const char *dir = done[0] != '\0' ? done : "/";

            if (lstat(dir, &status) == -1)
                return error_set(why, -errno, "%s: %s", dir, strerror(errno));
            rc = trust_status(dir, &status, owner_too, true, why);
            if (rc != 0)
                break;
        }
        if ((size_t)snprintf(here, sizeof here, "%s/%.*s", done, (int)len, rest) >= sizeof here)
            return error_set(why, -ENAMETOOLONG, "%s: %s", path, strerror(ENAMETOOLONG));
        if (lstat(here, &status) == -1)
            return error_set(why, -errno, "%s: %s", here, strerror(errno));
        rc = trust_status(here, &status, owner_too, false, why);
        if (rc != 0)
            break;
        memmove(rest, next, strlen(next) + 1);
        if (!S_ISLNK(status.st_mode))
            strcpy(done, here);
        else if (++links > LINKS_MAX)
            return error_set(why, -ELOOP, "%s: %s", path, strerror(ELOOP));
        else
            rc = link_follow(here, done, rest, why);
    }
    return rc;
}
