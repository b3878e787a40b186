/* SPDX-License-Identifier: Apache-2.0 */
/* The disk as a range of bytes. */
#include "disk.h"

#include "base/util.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

struct split;

struct part {
    struct store_req store;
    struct split *split;
};

/* One disk request on its way.  `left` counts the unfinished parts, plus one while they are being sent. */
struct split {
    struct disk_req *req;
    const struct disk *disk;
    atomic_size_t left;
    atomic_int rc; /* of the first part that failed */
    size_t part_count;
    struct part parts[];
};

static void
part_finished(struct split *split, int rc)
{
    struct disk_req *req = split->req;
    int none = 0;

    if (rc != 0)
        atomic_compare_exchange_strong(&split->rc, &none, rc);
    if (atomic_fetch_sub(&split->left, 1) != 1)
        return;
    req->rc = atomic_load(&split->rc);
    free(split);
    req->done(req);
}

static void
part_done(struct store_req *store)
{
    struct part *part = container_of(store, struct part, store);

    part_finished(part->split, store->rc);
}

static void
part_add(struct split *split, enum store_op op, uint64_t block, uint64_t count, uint64_t offset,
         uint64_t bytes, void *data)
{
    struct part *part = &split->parts[split->part_count++];

    part->split = split;
    part->store = (struct store_req){ .op = op,
                                      .block = block,
                                      .count = count,
                                      .offset = (uint32_t)offset,
                                      .bytes = (uint32_t)bytes,
                                      .data = data,
                                      .done = part_done };
}

/* The parts of [offset, offset + bytes) that lie in one block each; returns where it stopped. */
static uint64_t
add_blocks(struct split *split, enum store_op op, uint64_t offset, uint64_t end, char *data)
{
    uint32_t block_bytes = split->disk->block_bytes;

    while (offset < end) {
        uint64_t inside = offset % block_bytes;
        uint64_t bytes = block_bytes - inside;

        if (bytes > end - offset)
            bytes = end - offset;
        part_add(split, op, offset / block_bytes, 1, inside, bytes, data);
        if (data != NULL)
            data += bytes;
        offset += bytes;
    }
    return offset;
}

/* A zeroed range is at most three parts, however long: a torn block, whole blocks, a torn block. */
static void
add_zero(struct split *split, uint64_t offset, uint64_t end)
{
    uint32_t block_bytes = split->disk->block_bytes;
    uint64_t first_whole = (offset + block_bytes - 1) / block_bytes * block_bytes;
    uint64_t end_whole = end / block_bytes * block_bytes;

    if (first_whole >= end_whole) {
        add_blocks(split, STORE_WRITE, offset, end, NULL);
        return;
    }
    add_blocks(split, STORE_WRITE, offset, first_whole, NULL);
    part_add(split, STORE_ZERO, first_whole / block_bytes, (end_whole - first_whole) / block_bytes,
             0, 0, NULL);
    add_blocks(split, STORE_WRITE, end_whole, end, NULL);
}

static void
seek_done(struct store_req *store)
{
    struct part *part = container_of(store, struct part, store);
    struct split *split = part->split;
    struct disk_req *req = split->req;
    uint64_t found = store->block * split->disk->block_bytes;
    int rc = store->rc;

    if (rc == 0) {
        if (found > req->offset)
            req->offset = found;
    } else if (rc == -ENXIO && req->op == DISK_SEEK_HOLE) {
        req->offset = split->disk->bytes;
        rc = 0;
    }
    part_finished(split, rc);
}

static void
add_seek(struct split *split)
{
    const struct disk *disk = split->disk;
    struct disk_req *req = split->req;

    part_add(split, STORE_SEEK, req->offset / disk->block_bytes, disk->bytes / disk->block_bytes, 0,
             0, NULL);
    split->parts[0].store.want_data = req->op == DISK_SEEK_DATA;
    split->parts[0].store.done = seek_done;
}

void
disk_submit(const struct disk *disk, struct disk_req *req)
{
    uint64_t end = req->offset + req->bytes;
    size_t parts_max = req->op == DISK_ZERO ? 3
                       : req->op == DISK_READ || req->op == DISK_WRITE
                           ? req->bytes / disk->block_bytes + 2
                           : 1;
    struct split *split;

    if ((req->op == DISK_SEEK_DATA || req->op == DISK_SEEK_HOLE) && req->offset >= disk->bytes) {
        req->rc = -ENXIO;
        req->done(req);
        return;
    }
    assert(end >= req->offset && end <= disk->bytes);
    split = calloc(1, sizeof *split + parts_max * sizeof split->parts[0]);
    if (split == NULL) {
        req->rc = -ENOMEM;
        req->done(req);
        return;
    }
    split->req = req;
    split->disk = disk;
    switch (req->op) {
    case DISK_READ:
        add_blocks(split, STORE_READ, req->offset, end, req->data);
        break;
    case DISK_WRITE:
        add_blocks(split, STORE_WRITE, req->offset, end, req->data);
        break;
    case DISK_ZERO:
        add_zero(split, req->offset, end);
        break;
    case DISK_FLUSH:
        part_add(split, STORE_FLUSH, 0, 0, 0, 0, NULL);
        break;
    case DISK_SEEK_DATA:
    case DISK_SEEK_HOLE:
        add_seek(split);
        break;
    }
    assert(split->part_count <= parts_max);
    atomic_store(&split->left, split->part_count + 1);
    for (size_t i = 0, count = split->part_count; i < count; i++)
        store_submit(disk->next, &split->parts[i].store);
    part_finished(split, 0);
}
