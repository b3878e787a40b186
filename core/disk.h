/* SPDX-License-Identifier: Apache-2.0 */
/* The disk as a range of bytes: splits requests at block borders and joins the answers.
 *
 * Sends all parts of one request at once.  Never waits, holds no data.  Any thread. */
#ifndef CORE_DISK_H
#define CORE_DISK_H

#include "store.h"

struct disk {
    struct store *next;
    uint32_t block_bytes; /* a power of two */
    uint64_t bytes;       /* a multiple of it */
};

enum disk_op {
    DISK_READ,
    DISK_WRITE,
    DISK_ZERO,
    DISK_FLUSH,
    DISK_SEEK_DATA, /* offset becomes the answer; -ENXIO at or behind the end, or when only a hole is left */
    DISK_SEEK_HOLE, /* the end of the disk counts as a hole */
};

/* The caller owns request and data until done, which runs on any thread, possibly inside disk_submit.
 * offset + bytes must not exceed the disk's size. */
struct disk_req {
    enum disk_op op;
    uint64_t offset, bytes;
    void *data;
    int rc;
    void (*done)(struct disk_req *req);
};

void disk_submit(const struct disk *disk, struct disk_req *req);

#endif
