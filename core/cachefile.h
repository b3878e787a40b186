/* SPDX-License-Identifier: Apache-2.0 */
/* The cache file: blocks of one volume kept on local disk, over restarts, kills and power cuts.
 *
 * - What was put before a sync is there after it, whatever happens to the process or the machine: the version that was
 *   put last, or a later one, never an older one, and never a mixture.
 * - What does not match its checksum is never given: a clean block is absent then, a dirty one an error that names it.
 * - A call that fails changes nothing (after a crash, what it tried may be there all the same, until something else is
 *   put there); after a failed sync only reading goes on, for the kernel may have forgotten what it could not write.
 * - A dirty block makes room for nothing. Clean ones do, the least used first, without being asked.
 * - Of a block's bytes, only `seal` decides how they look in the file; numbers, tags and sizes are there in the clear.
 *
 * Knows no store and no cipher.  Calls wait for local disk.  Any thread; who puts one block from two threads at
 * once gets either order.  The index takes at most CACHEFILE_INDEX_BYTES a slot. */
#ifndef CORE_CACHEFILE_H
#define CORE_CACHEFILE_H

#include "base/error.h"

#include <bucketdisk/plugin.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CACHEFILE_SECTOR_BYTES 512u /* validity is known for each of these */
#define CACHEFILE_TEXT_BYTES_MAX 255u
#define CACHEFILE_SEAL_BYTES_MAX 512u
#define CACHEFILE_INDEX_BYTES 64u
#define CACHEFILE_SLOTS_MAX (1u << 30)

struct cachefile;

/* What is under it; one open file, or what a test makes up.  0 or a negative errno. */
struct cachefile_io {
    int (*read)(struct cachefile_io *io, void *data, size_t bytes,
                uint64_t offset); /* zeros behind the end */
    int (*write)(struct cachefile_io *io, const void *data, size_t bytes,
                 uint64_t offset);        /* all; on error some of it may have been written */
    int (*sync)(struct cachefile_io *io); /* as fdatasync */
    int (*resize)(struct cachefile_io *io, uint64_t bytes); /* as ftruncate */
    int (*size)(struct cachefile_io *io, uint64_t *bytes);
    void (*forget)(struct cachefile_io *io, uint64_t offset,
                   uint64_t bytes);                           /* this is not needed in memory */
    int (*unlink)(struct cachefile_io *io, const char *path); /* 0 also if there is none */
    int (*sync_name)(struct cachefile_io *io,
                     const char *path); /* that it is there, or gone, is durable */
    void (*close)(struct cachefile_io *io);
    int (*protect)(
        struct cachefile_io *io); /* nobody but its owner may read or write it; NULL: that is so */
};

struct cachefile_config {
    const char *path;
    const char *volume;   /* for people, in messages; at most CACHEFILE_TEXT_BYTES_MAX */
    const void *identity; /* whose file it is; at most CACHEFILE_TEXT_BYTES_MAX */
    size_t identity_bytes;
    uint32_t block_bytes; /* a power of two, at least CACHEFILE_SECTOR_BYTES */
    uint32_t
        slots; /* blocks it may hold, at most CACHEFILE_SLOTS_MAX; 0: as many as it has, and none is made */

    /* Encrypted volumes.  A block, always a whole one of `bytes` = block_bytes, becomes bytes + seal_bytes, and back; of
     * one that is valid in parts, sectors that are not are zeros in it.  Not called for blocks without data.  NULL:
     * as they are.  0 or a negative errno, of unseal also when the bytes are not what was sealed for that block. */
    int (*seal)(void *arg, uint64_t block, const void *plain, size_t bytes, void *sealed);
    int (*unseal)(void *arg, uint64_t block, const void *sealed, size_t bytes, void *plain);
    void *seal_arg;
    uint32_t seal_bytes; /* at most CACHEFILE_SEAL_BYTES_MAX */

    bool is_advised;     /* the kernel need not cache what it holds */
    bool discards_dirty; /* what was dirty is dropped; so a damaged journal is no error */
    bool is_forced; /* a damaged journal is no error: what is dirty in the rest of it is kept */
    uint32_t
        journal_spare_bytes; /* so much of the journal may be out of date, at least; 0: 1 MiB */
    struct cachefile_io *
        io; /* NULL: the file at `path`, made if there is none, and locked.  Taken; closed with the file,
                                and if it cannot be opened, too */
};

enum cachefile_state {
    CACHEFILE_CLEAN, /* what the store holds */
    CACHEFILE_DIRTY, /* to be stored */
};

/* Of a clean block: what the store holds.  Of a dirty one: what it held when the block became dirty. */
enum cachefile_base {
    CACHEFILE_UNKNOWN,
    CACHEFILE_ABSENT, /* no object, so zeros */
    CACHEFILE_TAG,    /* the version of that tag */
};

struct cachefile_block {
    uint64_t block;
    enum cachefile_state state;
    enum cachefile_base base;
    const char *tag; /* CACHEFILE_TAG: at most BD_TAG_BYTES_MAX, not empty */
    const uint64_t
        *valid;       /* a bit a sector: what is in `data`; NULL: all.  Others are not looked at */
    const void *data; /* NULL: zeros */
    uint64_t over;    /* only in the place of this version; 0: of whichever, or none */
};

struct cachefile_info {
    uint64_t block;
    /* of what is there; each put has its own, and later ones are higher, over restarts, too */
    uint64_t version;
    enum cachefile_state state;
    enum cachefile_base base;
    bool is_zeros;
    bool is_fresh; /* put, stored or confirmed since the file was opened: not of another mount */
    uint32_t sectors_valid;
    char tag[BD_TAG_BYTES_MAX + 1]; /* "" unless base is CACHEFILE_TAG */
};

struct cachefile_stats {
    uint32_t slots, used, dirty; /* blocks */
    uint32_t retired;            /* slots that could not be written or read */
    uint64_t dirty_bytes;        /* blocks, whole */
    uint64_t unsynced;           /* changes since the last sync */
    uint64_t journal_bytes, journal_bytes_max;
    uint64_t memory_bytes; /* of the index */
    uint64_t rotten;       /* clean blocks that were dropped because they were damaged */
    uint64_t rotten_dirty; /* times that a dirty one could not be given */
    uint64_t evicted;
    uint64_t torn;  /* at open: newer versions that had not reached the disk in whole */
    uint64_t syncs; /* of the file below: those who wait at the same time share one */
    uint64_t compactions;
};

/* Opens the file, made anew where there is none or an empty one, recovers what is in it, and makes it as large as `slots` say.
 * Borrows the configuration.  Fails with a sentence, and nothing changed:
 *   -EBUSY     another process has it
 *   -EINVAL    it is no cache file, or s3backer's, or another program version's, volume's or block size's, or too short
 *   -EUCLEAN   what says what is in it is damaged, and there may have been dirty blocks
 *   -ENODATA   nothing is in it, not even what says whose it is, and `slots` are 0
 *   -ENOSPC    it holds more dirty blocks than slots are asked for; or the disk is full
 *   others     it could not be opened, read or written */
int cachefile_open(const struct cachefile_config *config, struct error *why,
                   struct cachefile **out);
/* Syncs.  Nobody calls any more.  0, or what the sync said; it is closed anyway. */
int cachefile_close(struct cachefile *file, struct error *why);

/* This is the block from now on, instead of what was there, valid or not.  *version (may be NULL) tells it from
 * earlier and later ones.  *was_dirty (may be NULL): the version that it took the place of was dirty.  That
 * is decided as it takes its place, so each time that a block becomes dirty, one put of it says false, whoever does
 * what to it at the same time.
 * -ESTALE: it is not over that version.  -ENOBUFS: no room, all other blocks are dirty.  -ENOSPC, -EIO and others from below. */
int cachefile_put(struct cachefile *file, const struct cachefile_block *block, uint64_t *version,
                  bool *was_dirty, struct error *why);

/* What is there of it.  `data`, block_bytes: valid sectors are written, others left alone (on error, anything);
 * NULL: the data is not read, and not checked.  `valid`, a bit a sector, may be NULL.
 * -ENOENT: nothing.  -EIO: it is dirty, and damaged; it stays so until it is put again or dropped. */
int cachefile_get(struct cachefile *file, uint64_t block, struct cachefile_info *info, void *data,
                  uint64_t *valid, struct error *why);

/* Was it closed in order by who had it last, and nothing in it suspect then?  So what is clean in it still is what the store
 * holds, if nobody has written past it. */
bool cachefile_was_closed(const struct cachefile *file);

/* Is a version of it there, or a dirty one?  Only the index is looked at: nothing is read, and nobody who reads or
 * writes is waited for, so these may be called with any other lock held.  By the time of the answer it may be
 * another; and what is there may turn out to be damaged when it is read. */
bool cachefile_holds(struct cachefile *file, uint64_t block);
bool cachefile_holds_dirty(struct cachefile *file, uint64_t block);

/* This dirty version was stored and is clean, and fresh: the store holds `tag`, or nothing (base is ABSENT).
 * -ESTALE: another version is there by now, or none, and stays as it is. */
int cachefile_stored(struct cachefile *file, uint64_t block, uint64_t version,
                     enum cachefile_base base, const char *tag, struct error *why);

/* The version of the block that is there, if it is dirty, is based on this from now on, and is another version for who
 * puts or stores. */
int cachefile_rebase(struct cachefile *file, uint64_t block, enum cachefile_base base,
                     const char *tag, struct error *why);

/* This clean version has been compared with the store, and is fresh from now on, as long as the file is open.  Nothing
 * if another version is there, or it is dirty.  Prompt, as cachefile_holds. */
void cachefile_confirm(struct cachefile *file, uint64_t block, uint64_t version);

/* Nothing is there any more of this block.  `version` 0: whichever; else as above.  Absent: 0, or -ESTALE. */
int cachefile_drop(struct cachefile *file, uint64_t block, uint64_t version, struct error *why);

/* Nothing is there any more of any block from first to last, dirty or clean; after a crash before the next sync, that
 * is so of all of them or of none.  One short record, however many they are; and about as many looks at the index as
 * the range has blocks or the file has slots, whichever is less. */
int cachefile_drop_range(struct cachefile *file, uint64_t first, uint64_t last, struct error *why);

/* For a file that cannot be written any more: these blocks are not given any longer (`version` 0: whichever is there),
 * whatever the next one finds who opens the file.  Prompt, as cachefile_holds. */
void cachefile_forget(struct cachefile *file, uint64_t first, uint64_t last, uint64_t version);
/* Nobody but its owner may read or write the file from now on. */
int cachefile_protect(struct cachefile *file, struct error *why);
/* Nobody finds the file any more, after a power cut neither; who has it open goes on.  A second call makes sure of that,
 * and does nothing to a file of somebody else that has its name by then. */
int cachefile_remove(struct cachefile *file, struct error *why);

/* All calls that returned before this one are durable.  Those at the same time share the work. */
int cachefile_sync(struct cachefile *file, struct error *why);

/* The next block from *cursor on, which begins as 0.  True: `info` is about it (without reading its data).
 *  Blocks that are put or dropped meanwhile may be missed or come twice.  A dirty one that cannot be told about
 * (its record is damaged) has an empty tag, an unknown base, and sectors_valid 0. */
bool cachefile_next(struct cachefile *file, uint32_t *cursor, struct cachefile_info *info);

/* A note kept in the file for its owner, such as the mount token: durable when it returns, replaced as a whole
 * or not at all; at most CACHEFILE_TEXT_BYTES_MAX.  A new file has an empty one.  cachefile_note gives its
 * bytes. */
int cachefile_set_note(struct cachefile *file, const void *note, size_t bytes, struct error *why);
size_t cachefile_note(struct cachefile *file, void *note);

void cachefile_stats(struct cachefile *file, struct cachefile_stats *stats);
/* Of these: dirty. */
uint32_t cachefile_dirty(struct cachefile *file);

/* ---- the real thing below it: opened, made if it is not there, locked.  Gives an io to close. */
int cachefile_io_open(const char *path, struct error *why, struct cachefile_io **out);
/* A file's directory: that the file is there, or gone, is durable.  0 or a negative errno. */
int cachefile_sync_directory(const char *path);

#endif
