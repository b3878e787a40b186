/* SPDX-License-Identifier: Apache-2.0 */
/* Filesystems on the disk.
 *
 * How they are made.  The disk was found to be all zeros, so nothing is discarded first, and ext4 need not zero its tables and
 * its journal, at once or later.  Space is given out in pieces of a block of the disk, which is one object: a file that is
 * written is then whole objects, and nothing must be fetched to complete them.  Sectors of 4 KiB spare XFS from writing its
 * log in pieces of 512 bytes.  The store keeps its objects safe, so btrfs keeps one copy of its metadata, not two.  Of 250 MB of
 * small and large files on 4 GiB that saved ext4 a seventh of its writes and a third of what it had to fetch, XFS a fiftieth and
 * a tenth, btrfs a fifteenth of its writes.
 *
 * Whoever mounts while somebody else writes, or just reads, cannot replay the journal: each has its word for that. */
#include "filesystem.h"

#include "base/util.h"
#include "child.h"
#include "mountinfo.h"

#include <blkid/blkid.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE 4096u
#define XFS_ALIGNED_MAX (1u << 20)       /* a wider stripe it does not take on a small disk */
#define XFS_FOUR_GROUPS_MAX (2ull << 40) /* a group has at most 1 TiB */
#define READ_BYTES (1u << 20)

struct filesystem {
    const char *name, *program, *package;
    uint64_t bytes_min;
    void (*words)(uint64_t disk_bytes, uint32_t block_bytes, struct filesystem_command *out);
    const char *discard, *no_replay;
};

static void
add_word(struct filesystem_command *out, const char *word)
{
    size_t count = 0;

    while (out->words[count] != NULL)
        count++;
    out->words[count] = word;
    out->words[count + 1] = NULL;
}

static void
ext4_words(uint64_t disk_bytes, uint32_t block_bytes, struct filesystem_command *out)
{
    static const char zeroed[] = "nodiscard,assume_storage_prezeroed=1";

    (void)disk_bytes;
    if (block_bytes > PAGE)
        snprintf(out->text, sizeof out->text, "%s,stride=%u,stripe-width=%u", zeroed,
                 block_bytes / PAGE, block_bytes / PAGE);
    else
        snprintf(out->text, sizeof out->text, "%s", zeroed);
    add_word(out, "-E");
    add_word(out, out->text);
}

static void
xfs_words(uint64_t disk_bytes, uint32_t block_bytes, struct filesystem_command *out)
{
    add_word(out, "-K");
    add_word(out, "-s");
    add_word(out, "size=4096");
    if (block_bytes <= PAGE || block_bytes > XFS_ALIGNED_MAX)
        return;
    /* It takes whoever has stripes for many disks, and makes many groups. */
    snprintf(out->text, sizeof out->text, "su=%u,sw=1%s", block_bytes,
             disk_bytes <= XFS_FOUR_GROUPS_MAX ? ",agcount=4" : "");
    add_word(out, "-d");
    add_word(out, out->text);
}

static void
btrfs_words(uint64_t disk_bytes, uint32_t block_bytes, struct filesystem_command *out)
{
    (void)disk_bytes;
    (void)block_bytes;
    add_word(out, "-K");
    add_word(out, "-m");
    add_word(out, "single");
}

/* clang-format off */
static const struct filesystem filesystems[] = {
    { .name = "ext4", .program = "mkfs.ext4", .package = "e2fsprogs", .bytes_min = 4u << 20,
      .words = ext4_words, .discard = "discard", .no_replay = "noload" },
    { .name = "xfs", .program = "mkfs.xfs", .package = "xfsprogs", .bytes_min = 300u << 20,
      .words = xfs_words, .discard = "discard", .no_replay = "norecovery" },
    { .name = "btrfs", .program = "mkfs.btrfs", .package = "btrfs-progs", .bytes_min = 128u << 20,
      .words = btrfs_words, .discard = "discard=async", .no_replay = "rescue=nologreplay" },
};
/* clang-format on */

const char *const filesystem_names[] = { "ext4", "xfs", "btrfs", NULL };

const struct filesystem *
filesystem_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(filesystems); i++) {
        if (strcmp(filesystems[i].name, name) == 0)
            return &filesystems[i];
    }
    return NULL;
}

int
filesystem_can_make(const struct filesystem *filesystem, uint64_t disk_bytes, struct error *why)
{
    if (!child_is_there(filesystem->program))
        return error_set(why, -ENOENT, "there is no %s here; install %s", filesystem->program,
                         filesystem->package);
    if (disk_bytes < filesystem->bytes_min)
        return error_set(why, -EINVAL, "%s needs a disk of at least %lluM", filesystem->name,
                         (unsigned long long)(filesystem->bytes_min >> 20));
    return 0;
}

/* ---- what is there */

/* Of holes nothing is read, so an empty disk costs next to nothing, and of any other the first byte decides. */
static int
find_data(int file, bool *is_there, struct error *why)
{
    char *buffer = malloc(READ_BYTES);
    off_t at = 0;
    ssize_t bytes = 0;

    *is_there = false;
    if (buffer == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    while (!*is_there && bytes >= 0 && (at = lseek(file, at, SEEK_DATA)) != -1) {
        bytes = pread(file, buffer, READ_BYTES, at);
        *is_there = bytes > 0 && !is_all_zeros(buffer, (size_t)bytes);
        at += bytes;
    }
    if (bytes < 0 || (at == -1 && errno != ENXIO))
        bytes = error_set(why, -errno, "cannot read the disk: %s", strerror(errno));
    free(buffer);
    return bytes < 0 ? (int)bytes : 0;
}

static bool
has_value(blkid_probe probe, const char *name, char *out, size_t out_bytes)
{
    const char *value;

    if (blkid_probe_lookup_value(probe, name, &value, NULL) != 0)
        return false;
    snprintf(out, out_bytes, "%s", value);
    return true;
}

int
filesystem_probe(int file, enum content *content, char *type, size_t type_bytes, struct error *why)
{
    blkid_probe probe = blkid_new_probe();
    char usage[32] = "";
    bool has_data;
    int rc = probe != NULL ? blkid_probe_set_device(probe, file, 0, 0) : -1;

    type[0] = '\0';
    if (rc == 0) {
        blkid_probe_enable_superblocks(probe, 1);
        blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE);
        blkid_probe_enable_partitions(probe, 1);
        rc = blkid_do_safeprobe(probe);
    }
    if (rc == 0) {
        if (!has_value(probe, "TYPE", type, type_bytes))
            has_value(probe, "PTTYPE", type, type_bytes);
        has_value(probe, "USAGE", usage, sizeof usage);
    }
    blkid_free_probe(probe);
    *content = strcmp(usage, "filesystem") == 0 ? CONTENT_FILESYSTEM : CONTENT_OTHER;
    if (rc == -2)
        return error_set(why, -EINVAL,
                         "the disk has marks of several filesystems; wipefs shows them");
    if (rc < 0)
        return error_set(why, -EIO, "cannot see what is on the disk; its log may say why");
    if (rc == 0)
        return 0;
    rc = find_data(file, &has_data, why);
    if (rc == 0 && !has_data)
        *content = CONTENT_NOTHING;
    return rc;
}

/* ---- commands */

void
filesystem_command(const struct filesystem *filesystem, uint64_t disk_bytes, uint32_t block_bytes,
                   const char *device, struct filesystem_command *out)
{
    out->words[0] = NULL;
    add_word(out, filesystem->program);
    add_word(out, "-q");
    filesystem->words(disk_bytes, block_bytes, out);
    add_word(out, device);
}

/* umount(8) leaves what has a helper to the helper; and what is _netdev goes down before the network does. */
int
filesystem_options(const char *type, bool is_read_only, const char *generic, const char *own,
                   char **out)
{
    const struct filesystem *known = filesystem_find(type);
    const char *usual = known == NULL ? "" : is_read_only ? known->no_replay : known->discard;
    const char *const parts[] = { is_read_only ? "ro" : "", usual, generic, own };
    size_t used, bytes;

    used = strlen("_netdev,helper=bucketdisk");
    bytes = used + 1;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        bytes += 1 + strlen(parts[i] != NULL ? parts[i] : "");
    *out = malloc(bytes);
    if (*out == NULL)
        return -ENOMEM;
    strcpy(*out, "_netdev,helper=bucketdisk");
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (parts[i] != NULL && parts[i][0] != '\0')
            used += (size_t)snprintf(*out + used, bytes - used, ",%s", parts[i]);
    }
    return 0;
}

int
filesystem_make(const struct filesystem *filesystem, uint64_t disk_bytes, uint32_t block_bytes,
                const char *device, const sigset_t *held, struct error *why)
{
    struct filesystem_command command;
    int rc;

    filesystem_command(filesystem, disk_bytes, block_bytes, device, &command);
    rc = child_run(command.words, held, false);
    if (rc == 0)
        return 0;
    return error_set(why, rc < 0 ? rc : -EIO, "%s did not make the filesystem%s%s",
                     filesystem->program, rc < 0 ? ": " : "", rc < 0 ? strerror(-rc) : "");
}

int
filesystem_mount(const char *type, const char *options, const char *device, const char *directory,
                 const sigset_t *held, struct error *why)
{
    const char *const words[] = { "mount", "-t", type, "-o", options, device, directory, NULL };
    int rc = child_run(words, held, false);

    if (rc == 0)
        return 0;
    return error_set(why, rc < 0 ? rc : -EIO, "cannot mount the %s on %s, with the options %s%s%s",
                     type, directory, options, rc < 0 ? ": " : "", rc < 0 ? strerror(-rc) : "");
}

int
filesystem_umount(const char *directory, bool is_lazy, struct error *why)
{
    /* -i: the helper is what asks. */
    const char *const words[] = { "umount", is_lazy ? "-il" : "-i", directory, NULL };
    char holders[300];
    int rc = child_run(words, NULL, true);

    if (rc == 0)
        return 0;
    if (rc < 0)
        return error_set(why, rc, "cannot run umount: %s", strerror(-rc));
    mountpoint_holders(directory, holders, sizeof holders);
    if (holders[0] != '\0')
        return error_set(why, -EBUSY, "%s is in use by %s", directory, holders);
    return error_set(why, -EBUSY,
                     "%s cannot be unmounted; it may be in use by the kernel: a swap file, an NFS "
                     "server, another mount below it",
                     directory);
}
