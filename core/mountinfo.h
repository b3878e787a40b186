/* SPDX-License-Identifier: Apache-2.0 */
/* What is mounted where, by /proc/PID/mountinfo, without touching the mounts (a dead or waiting FUSE
 * mount would not answer). */
#ifndef CORE_MOUNTINFO_H
#define CORE_MOUNTINFO_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct mountinfo {
    char device[32]; /* "MAJ:MIN" */
    char mountpoint[4096];
    char type[64];    /* "fuse.bucketdisk" */
    char source[256]; /* "/dev/loop0"; what is longer is cut */
};

/* The topmost mount on exactly this path; false if there is none. */
bool mountinfo_at(const char *path, struct mountinfo *out);
/* A mount of this source; false if there is none. */
bool mountinfo_of_source(const char *source, struct mountinfo *out);
/* Is there one on exactly this path, be it below others? */
bool mountinfo_has_source_at(const char *source, const char *path);
/* Does process `pid` see a mount of this device? */
bool mountinfo_has_device(pid_t pid, const char *device);

/* Make a path absolute and free of links without looking at its last component, which may be a dead mount.
 * Gives a malloc'ed string or NULL with errno. */
char *mountpoint_realpath(const char *path);

/* Is this the directory `top`, which is absolute and free of links, or below it?  Of an absolute path what is not there yet
 * counts as it will be made. */
bool path_is_below(const char *path, const char *top);

/* Unmount, lazily if asked: directly, or with fusermount3 if that needs privilege we do not have.
 * Returns 0 or a negative errno (-EBUSY, -EINVAL: not mounted). */
int mountpoint_umount(const char *path, bool is_lazy);

/* Who keeps a mount busy, in a few words for a person, e.g. "/dev/loop0, bash (12)".  "" if unknown. */
void mountpoint_holders(const char *path, char *out, size_t out_bytes);

#endif
