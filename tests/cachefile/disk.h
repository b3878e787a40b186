/* SPDX-License-Identifier: Apache-2.0 */
/* A disk that can lose its power, under the cache file: it records what was written since the last sync, and
 * gives what could be on it after a power cut: any of these writes, in any order, each torn anywhere. */
#ifndef CACHEFILE_DISK_H
#define CACHEFILE_DISK_H

#include "cachefile.h"

struct image {
    unsigned char *bytes;
    uint64_t size, room;
};

struct op {
    bool is_resize;
    uint64_t offset, bytes; /* resize: bytes is the new size */
    unsigned char *data;
};

/* That of a write which reached the disk; all of it: 0, UINT64_MAX. */
struct landed {
    unsigned op;
    uint64_t from, to;
};

struct disk {
    struct cachefile_io io;
    struct image now;    /* what the process sees */
    struct image synced; /* what is surely on the disk */
    struct op *ops;      /* since then */
    unsigned op_count, op_room;
    uint64_t *seed;                                  /* for faults */
    unsigned write_faults, sync_faults, name_faults; /* of 1000 */
    int fault;                                       /* of these, -EIO or -ENOSPC */
    uint64_t faults, writes, syncs;
    bool is_unlinked, is_gone; /* the file's name; so that a power cut does not bring it back */
    bool is_dead; /* nothing is written any more, and everything fails: the process was killed */
    uint64_t dies_at;                 /* after so many operations; 0: not by itself */
    void (*after)(struct disk *disk); /* each operation; may be NULL */
};

/* Closing the io leaves the disk as it is. */
void disk_init(struct disk *disk);
void disk_free(struct disk *disk);
void image_copy(struct image *to, const struct image *from);
void image_free(struct image *image);
/* What is on the disk if of the writes since the last sync these landed, in that order.  `out` is overwritten. */
void disk_cut(const struct disk *disk, const struct landed *landed, unsigned count,
              struct image *out);
/* Power comes back, and that is on it; the file has its name. */
void disk_restart(struct disk *disk, const struct image *image);

uint64_t chance_next(uint64_t *state);

#endif
