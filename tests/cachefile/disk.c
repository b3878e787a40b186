/* SPDX-License-Identifier: Apache-2.0 */
/* The disk that can lose its power. */
#include "disk.h"

#include "base/util.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

uint64_t
chance_next(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u; /* splitmix64 */

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* ---- images */

static void
image_resize(struct image *image, uint64_t size)
{
    if (size > image->room) {
        image->room = size + 65536;
        image->bytes = realloc(image->bytes, image->room);
        assert(image->bytes != NULL);
    }
    if (size > image->size)
        memset(image->bytes + image->size, 0, size - image->size);
    image->size = size;
}

void
image_copy(struct image *to, const struct image *from)
{
    to->size = 0;
    image_resize(to, from->size);
    if (from->size > 0)
        memcpy(to->bytes, from->bytes, from->size);
}

void
image_free(struct image *image)
{
    free(image->bytes);
    memset(image, 0, sizeof *image);
}

static void
image_apply(struct image *image, const struct op *op, uint64_t from, uint64_t to)
{
    if (op->is_resize) {
        image_resize(image, op->bytes);
        return;
    }
    if (to > op->bytes)
        to = op->bytes;
    if (from >= to)
        return;
    if (op->offset + to > image->size)
        image_resize(image, op->offset + to);
    memcpy(image->bytes + op->offset + from, op->data + from, to - from);
}

/* ---- the io */

static struct disk *
disk_of(struct cachefile_io *io)
{
    return container_of(io, struct disk, io);
}

static int
disk_read(struct cachefile_io *io, void *data, size_t bytes, uint64_t offset)
{
    const struct image *now = &disk_of(io)->now;
    size_t there = offset >= now->size          ? 0
                   : now->size - offset < bytes ? (size_t)(now->size - offset)
                                                : bytes;

    if (there > 0)
        memcpy(data, now->bytes + offset, there);
    memset((char *)data + there, 0, bytes - there);
    return 0;
}

/* An operation; it may be the last one of the process. */
static void
done(struct disk *disk)
{
    if (disk->after != NULL)
        disk->after(disk);
    if (disk->dies_at > 0 && --disk->dies_at == 0) {
        disk->is_dead = true;
        disk->faults++;
    }
}

static void
record(struct disk *disk, const struct op *op)
{
    struct op *kept;

    if (disk->op_count == disk->op_room) {
        disk->op_room = disk->op_room * 2 + 16;
        disk->ops = realloc(disk->ops, disk->op_room * sizeof *disk->ops);
        assert(disk->ops != NULL);
    }
    kept = &disk->ops[disk->op_count++];
    *kept = *op;
    if (op->data != NULL) {
        kept->data = malloc(op->bytes);
        assert(kept->data != NULL);
        memcpy(kept->data, op->data, op->bytes);
    }
    image_apply(&disk->now, kept, 0, UINT64_MAX);
    disk->writes++;
    done(disk);
}

static bool
is_fault(struct disk *disk, unsigned of_1000)
{
    bool is = of_1000 > 0 && chance_next(disk->seed) % 1000 < of_1000;

    disk->faults += is;
    return is;
}

static int
disk_write(struct cachefile_io *io, const void *data, size_t bytes, uint64_t offset)
{
    struct disk *disk = disk_of(io);
    struct op op = { .offset = offset, .bytes = bytes };

    if (disk->is_dead)
        return -EIO;
    op.data = (unsigned char *)(uintptr_t)data;
    if (!is_fault(disk, disk->write_faults)) {
        record(disk, &op);
        return 0;
    }
    if (chance_next(disk->seed) % 3 > 0)
        op.bytes = chance_next(disk->seed) % bytes;
    if (op.bytes > 0)
        record(disk, &op);
    return disk->fault;
}

static void
forget_ops(struct disk *disk)
{
    for (unsigned i = 0; i < disk->op_count; i++)
        free(disk->ops[i].data);
    disk->op_count = 0;
}

/* When it fails, some of the writes are on the disk, and the others never will be: the kernel takes their pages
 * for written.  Not so the inode: a filesystem that cannot write its own metadata stops. */
static int
disk_sync(struct cachefile_io *io)
{
    struct disk *disk = disk_of(io);
    bool fails = !disk->is_dead && is_fault(disk, disk->sync_faults);

    if (disk->is_dead)
        return -EIO;
    for (unsigned i = 0; i < disk->op_count; i++) {
        if (!fails || disk->ops[i].is_resize || chance_next(disk->seed) % 2 == 0)
            image_apply(&disk->synced, &disk->ops[i], 0, UINT64_MAX);
    }
    forget_ops(disk);
    disk->syncs++;
    done(disk);
    return fails ? disk->fault : 0;
}

static int
disk_resize(struct cachefile_io *io, uint64_t bytes)
{
    struct op op = { .is_resize = true, .bytes = bytes };

    if (disk_of(io)->is_dead)
        return -EIO;
    record(disk_of(io), &op);
    return 0;
}

static int
disk_size(struct cachefile_io *io, uint64_t *bytes)
{
    *bytes = disk_of(io)->now.size;
    return 0;
}

static void
disk_forget(struct cachefile_io *io, uint64_t offset, uint64_t bytes)
{
    (void)io;
    (void)offset;
    (void)bytes;
}

static int
disk_unlink(struct cachefile_io *io, const char *path)
{
    struct disk *disk = disk_of(io);

    (void)path;
    if (disk->is_dead || is_fault(disk, disk->name_faults))
        return -EIO;
    disk->is_unlinked = true;
    return 0;
}

static int
disk_sync_name(struct cachefile_io *io, const char *path)
{
    struct disk *disk = disk_of(io);

    (void)path;
    if (disk->is_dead || is_fault(disk, disk->name_faults))
        return -EIO;
    disk->is_gone = disk->is_unlinked;
    return 0;
}

static void
disk_close(struct cachefile_io *io)
{
    (void)io;
}

void
disk_init(struct disk *disk)
{
    memset(disk, 0, sizeof *disk);
    disk->io =
        (struct cachefile_io){ disk_read,   disk_write,  disk_sync,      disk_resize, disk_size,
                               disk_forget, disk_unlink, disk_sync_name, disk_close,  NULL };
    disk->fault = -EIO;
}

void
disk_free(struct disk *disk)
{
    forget_ops(disk);
    free(disk->ops);
    image_free(&disk->now);
    image_free(&disk->synced);
}

void
disk_cut(const struct disk *disk, const struct landed *landed, unsigned count, struct image *out)
{
    image_copy(out, &disk->synced);
    for (unsigned i = 0; i < count; i++)
        image_apply(out, &disk->ops[landed[i].op], landed[i].from, landed[i].to);
}

void
disk_restart(struct disk *disk, const struct image *image)
{
    forget_ops(disk);
    image_copy(&disk->now, image);
    image_copy(&disk->synced, image);
    disk->is_unlinked = disk->is_gone = false;
}
