/* SPDX-License-Identifier: Apache-2.0 */
/* Filesystems on the disk: what is on it, and their making, mounting and unmounting by the system's own programs. */
#ifndef CORE_FILESYSTEM_H
#define CORE_FILESYSTEM_H

#include "base/error.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What `up` makes: ext4, XFS, btrfs. */
struct filesystem;
/* Their names, ended by NULL. */
extern const char *const filesystem_names[];
const struct filesystem *filesystem_find(const char *name);

/* Can it be made here, on a disk of this size?  -ENOENT, -EINVAL. */
int filesystem_can_make(const struct filesystem *filesystem, uint64_t disk_bytes,
                        struct error *why);

enum content {
    CONTENT_NOTHING,    /* all zeros */
    CONTENT_FILESYSTEM, /* of the type found */
    CONTENT_OTHER,      /* partitions, encryption, swap: the type found; or "" */
};

/* What is on the disk of this open file?  Reads only. */
int filesystem_probe(int file, enum content *content, char *type, size_t type_bytes,
                     struct error *why);

/* The command that makes it, on a disk whose blocks are objects of so many bytes: `words` points into `text`. */
#define FILESYSTEM_WORDS_MAX 16
struct filesystem_command {
    const char *words[FILESYSTEM_WORDS_MAX + 1]; /* ended by NULL */
    char text[160];
};
void filesystem_command(const struct filesystem *filesystem, uint64_t disk_bytes,
                        uint32_t block_bytes, const char *device, struct filesystem_command *out);

/* What mount(8) gets behind -o for a filesystem of this type: what is needed, then the user's, which win. */
int filesystem_options(const char *type, bool is_read_only, const char *generic, const char *own,
                       char **out);

/* These run programs, which say themselves what they do not like; `held` as for child_run. */
int filesystem_make(const struct filesystem *filesystem, uint64_t disk_bytes, uint32_t block_bytes,
                    const char *device, const sigset_t *held, struct error *why);
int filesystem_mount(const char *type, const char *options, const char *device,
                     const char *directory, const sigset_t *held, struct error *why);
/* -EBUSY says who uses it. */
int filesystem_umount(const char *directory, bool is_lazy, struct error *why);

#endif
