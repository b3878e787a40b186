/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the cache file share; nobody else's.  The theory is in cachefile.c. */
#ifndef CORE_CACHEFILE_IMPL_H
#define CORE_CACHEFILE_IMPL_H

#include "cachefile.h"

#include <pthread.h>

#define SLOT_NONE UINT32_MAX
#define USES_MAX 3u /* of a slot, that count */
#define SUPER_BYTES 4096u
#define SUPER_COUNT 2u
#define DATA_OFFSET (SUPER_COUNT * SUPER_BYTES)
#define AREA_ALIGN 4096u
#define JOURNAL_SPARE_BYTES (1u << 20)

enum slot_state {
    SLOT_FREE,    /* nobody's; in the list of them */
    SLOT_WRITING, /* being filled */
    SLOT_LIVE,    /* its block's; in the hash table */
    SLOT_PENDING, /* superseded, and kept until what supersedes it is durable */
    SLOT_BAD,     /* unreadable or unwritable */
};

struct slot {
    uint64_t block;
    uint64_t sequence; /* LIVE: of its record; PENDING: of the record that supersedes it */
    uint64_t at;       /* LIVE: where its record is in the journal */
    uint64_t next_at;  /* the same in the next journal */
    uint32_t hash_next;
    uint32_t next; /* in the list of those free, or pending */
    uint16_t pins; /* it is being read: may not be filled anew */
    uint8_t state;
    uint8_t uses : 2; /* since it could have been evicted last */
    bool is_dirty : 1;
    bool is_fresh : 1;    /* LIVE: this version was put, stored or confirmed since the opening */
    bool is_released : 1; /* PENDING: free as soon as nobody reads it */
    bool is_ghost : 1;    /* not LIVE: by the journal it may still be a block's */
};

_Static_assert(sizeof(struct slot) + 2 * sizeof(uint32_t) <= CACHEFILE_INDEX_BYTES,
               "with up to two buckets of the hash table a slot takes no more than promised");

enum record_kind {
    RECORD_CLEAN = 1,
    RECORD_DIRTY,
    RECORD_GONE,
    RECORD_SYNCED, /* `block` is the number of dirty blocks; all before `durable` was synced */
};

/* The head of a record; its tag, what sealing added, its map, and zeros up to a multiple of 8 follow. */
struct record {
    uint64_t mark;   /* the journal's */
    uint64_t sum[2]; /* of the rest */
    uint32_t bytes;  /* with all that follows */
    uint8_t kind;
    uint8_t base;
    uint16_t tag_bytes;
    uint64_t sequence;
    uint64_t durable; /* up to this sequence, all was durable when it was written */
    uint64_t block;
    uint32_t slot;
    uint32_t sectors; /* valid ones; if not all, there is a map */
    union {
        uint64_t data_sum[2]; /* of what is in the slot */
        uint64_t last;        /* GONE: all blocks from `block` to that */
    };
    uint32_t seal_bytes;
    uint32_t is_zeros; /* nothing is in the slot */
};

_Static_assert(sizeof(struct record) == 88, "as in files that exist");

enum super_flag {
    SUPER_SEALED = 1,
    SUPER_CLOSED = 2, /* in order, and nobody has opened it since; nothing in it is suspect */
};

/* The first page, and the second. */
struct super {
    char magic[16];
    uint32_t version;
    uint32_t bytes; /* of this */
    uint64_t generation;
    uint64_t id;
    uint32_t block_bytes, seal_bytes;
    uint32_t slots, flags;
    uint64_t journal_offset, journal_bytes_max;
    uint64_t journal_bytes; /* so much of it was there and durable before this was written */
    uint64_t mark, seed;    /* the journal's */
    uint64_t durable;       /* the highest sequence in it then */
    uint64_t dirty;         /* blocks, then */
    uint32_t identity_bytes, note_bytes;
    unsigned char identity[CACHEFILE_TEXT_BYTES_MAX + 1];
    char volume[CACHEFILE_TEXT_BYTES_MAX + 1];
    unsigned char note[CACHEFILE_TEXT_BYTES_MAX + 1];
    uint64_t sum[2];
};

_Static_assert(sizeof(struct super) == 904 && sizeof(struct super) <= SUPER_BYTES,
               "as in files that exist");

/* A journal: where it is, and what tells its records from what was there before. */
struct journal {
    uint64_t offset, bytes_max;
    uint64_t mark, seed;
    uint64_t tail;
    uint64_t snapshot_bytes; /* of it, what was there when it was begun */
};

struct cachefile {
    struct cachefile_io *io; /* these: fixed after the opening */
    char *path;
    struct cachefile_config config;
    uint32_t slot_count;
    uint32_t sectors;   /* in a block */
    uint32_t map_words; /* of 64 sectors */
    size_t record_bytes_max;
    uint64_t id;
    uint32_t bucket_mask;
    bool was_closed; /* by the last one who had it, in order */

    pthread_mutex_t compact_lock; /* who makes a new journal; before journal_lock */

    pthread_mutex_t journal_lock; /* who appends; before `lock`.  Guards these: */
    unsigned char *scratch;       /* of record_bytes_max, twice */
    struct super super;           /* as it is in the file */
    unsigned super_first;         /* when it was found: one of the two that counts */
    uint64_t sequence;            /* the last one given */

    pthread_mutex_t
        sync_lock; /* who syncs: of several at once, only one would be told of an error.  Guards this: */
    bool is_unlinked, is_removed; /* its name is gone; durably */

    pthread_mutex_t lock; /* guards the rest.  Not held while reading or writing */
    pthread_cond_t synced;
    pthread_cond_t moved; /* something is free, or may be */
    uint32_t writing_count, pin_count,
        waiting_count;      /* slots being filled; readers; who waits for a slot */
    struct journal journal; /* changed with both locks */
    struct slot *index;
    uint32_t *buckets;
    uint32_t free_first, free_count, used_count, dirty_count, bad_count, ghost_count;
    uint32_t pending_first, pending_last; /* in the order of their sequences */
    uint32_t hand;                        /* where the next one to be evicted is looked for */
    uint64_t written;                     /* the last sequence in the journal, but for SYNCED */
    uint64_t durable;                     /* the same, synced */
    uint64_t noted;                       /* the highest `durable` that any record has */
    uint64_t marked; /* the same, synced: recovery will know that at least so much was durable */
    uint64_t generation; /* of the journal */
    /* not before the journal has grown to that: the last attempt failed */
    uint64_t compact_from_bytes;
    bool has_forgotten; /* in the file is what the index must not have any more */
    bool is_soiled;     /* behind the tail is what could not be written, or could */
    bool is_syncing;
    int failed; /* nothing can be changed any more, for this reason */
    uint64_t rotten, rotten_dirty, evicted, torn, syncs, compactions;
};

/* What a record says beside its head. */
struct record_parts {
    const char *tag; /* not terminated */
    const unsigned char *sealed;
    const unsigned char *map; /* NULL: all sectors are valid */
};

/* ---- cachefile_index.c; with file->lock */

int index_new(struct cachefile *file, uint32_t slots);
void index_free(struct cachefile *file);
/* Its live slot, or SLOT_NONE. */
uint32_t index_find(const struct cachefile *file, uint64_t block);
/* For each block from first to last that has a live slot, there is one `step` below index_range_steps that gives it;
 * others give SLOT_NONE.  Slots may be removed between steps. */
uint64_t index_range_steps(const struct cachefile *file, uint64_t first, uint64_t last);
uint32_t index_range_find(const struct cachefile *file, uint64_t first, uint64_t last,
                          uint64_t step);
/* A slot that is in no list becomes the block's. */
void index_set(struct cachefile *file, uint32_t slot, uint64_t block, uint64_t sequence,
               uint64_t at, bool is_dirty);
/* A live slot is its block's no more, and in no list. */
void index_remove(struct cachefile *file, uint32_t slot);
/* The same, and no record will say so before the slot is another block's. */
void index_remove_silently(struct cachefile *file, uint32_t slot);
void index_push_free(struct cachefile *file, uint32_t slot);
/* It was removed, and is free when that sequence is durable. */
void index_push_pending(struct cachefile *file, uint32_t slot, uint64_t sequence);
void index_release_pending(struct cachefile *file);
void index_unpin(struct cachefile *file, uint32_t slot);
/* A free slot, or that of a clean block, which goes.  SLOT_NONE: there is none now, but there may be after a
 * sync (unless is_last: then there was one). */
uint32_t index_take(struct cachefile *file, bool is_last);

/* ---- cachefile_journal.c */

uint64_t record_bytes_max(uint32_t block_bytes);
uint64_t map_bytes_of(const struct cachefile *file, uint32_t sectors);
/* Is this a whole record of the journal, sound, and possible? */
bool record_is_sound(const struct cachefile *file, const struct journal *journal, const void *bytes,
                     size_t available);
void record_parts(const struct cachefile *file, const struct record *record,
                  struct record_parts *parts);
/* Fills in what is its own business: length, and the parts behind the head. */
void record_make(const struct cachefile *file, struct record *record,
                 const struct record_parts *parts);

/* With journal_lock.  Gives the record its sequence and appends it.  The caller puts it into the index before
 * it unlocks. */
int journal_append(struct cachefile *file, struct record *record, uint64_t *at, struct error *why);
/* Without locks: a new journal if this one has grown enough.  Fails only if there must be one. */
int journal_make_room(struct cachefile *file, struct error *why);
/* Without locks: waits until nobody compacts, and takes journal_lock, with room for a record, then a SYNCED one. */
int journal_enter(struct cachefile *file, struct error *why);
/* The record at a place in the journal, in a buffer of record_bytes_max.  -EBADMSG: damaged, or the journal has
 * been replaced. */
int journal_read(struct cachefile *file, const struct journal *journal, uint64_t at,
                 uint64_t sequence, void *buffer);
/* With compact_lock: all that counts is copied to a new journal at `offset`, and that is the file's from now
 * on, of so many slots.  `moved` (may be NULL) has the new slot of each, or SLOT_NONE if it goes.  Everything
 * is durable then. */
int journal_compact(struct cachefile *file, uint64_t offset, uint32_t slots, const uint32_t *moved,
                    struct error *why);
/* Where a journal may be: two places behind the slots. */
uint64_t journal_place(const struct cachefile *file, uint32_t slots, unsigned place);
uint64_t journal_place_bytes(const struct cachefile *file, uint32_t slots);
/* The first of them that is free, or behind all that is there. */
uint64_t journal_free_place(const struct cachefile *file, uint32_t slots);

struct scan {
    const struct cachefile *file;
    const struct journal *journal;
    unsigned char *window;
    uint64_t window_at;
    size_t window_bytes, window_bytes_max;
    uint64_t pos; /* behind the last record */
    uint64_t end; /* no further than that */
    /* of the last call: where something was that is no record; UINT64_MAX: nothing was */
    uint64_t gap_at;
};

/* -ENOMEM. */
int scan_begin(struct scan *scan, const struct cachefile *file, const struct journal *journal,
               uint64_t pos, uint64_t end);
/* 1 and the next sound record, valid until the next call; 0 at the end; or a negative errno.  *at: where it is. */
int scan_next(struct scan *scan, const struct record **record, uint64_t *at);
void scan_end(struct scan *scan);

/* Both supers become, and durably are, the one that was found. */
int super_settle(struct cachefile *file, struct error *why);
/* With journal_lock: the file's super is this from now on, and durably so. */
int super_write(struct cachefile *file, struct super *super, struct error *why);
void super_sum(const struct super *super, uint64_t sum[2]);

/* ---- cachefile_data.c: what is in slots */

uint64_t slot_offset(const struct cachefile *file, uint32_t slot);
/* Writes the data of a block; the record gets its sum, and parts->sealed what sealing added, in `sealed`. */
int data_write(struct cachefile *file, const struct cachefile_block *block, uint32_t slot,
               struct record *record, unsigned char *sealed, struct error *why);
/* Reads it and checks it.  data may be NULL.  -EBADMSG: it is damaged; others: it could not be read. */
int data_read(struct cachefile *file, const struct record *record, uint32_t slot, void *data);
/* Checks it, and writes it again, there or elsewhere.  -EBADMSG: it is damaged, or cannot be read. */
int data_rewrite(struct cachefile *file, const struct record *record, uint32_t from, uint32_t to);

/* ---- cachefile.c */

/* With file->lock.  From now on only reading goes on. */
int fail_locked(struct cachefile *file, int rc, const char *what, struct error *why);
/* With file->lock: 0, or why nothing can be changed. */
int check_failed_locked(struct cachefile *file, struct error *why);
/* With any locks but these two: the one way to sync the file. */
int sync_file(struct cachefile *file, struct error *why);
/* With journal_lock: a record for those who recover that all before it is durable.  No harm if it cannot be
 * written. */
int note_synced(struct cachefile *file, struct error *why);

/* ---- cachefile_resize.c; while the file is being opened */

/* Its slots become as many as config.slots say. */
int cachefile_resize(struct cachefile *file, struct error *why);

/* ---- cachefile_open.c */

/* The index anew, from the journal. */
int cachefile_load(struct cachefile *file, struct error *why);

#endif
