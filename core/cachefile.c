/* SPDX-License-Identifier: Apache-2.0 */
/* The cache file.
 *
 * ONE FILE, since it is one thing to its owner, who moves, deletes and copies it: two files can be parted, and
 * a second name can't be replaced in the same instant as the contents of the first one.
 *
 *   page 0, page 1   the super, twice: whose file it is, its geometry, and which journal counts
 *   slots            block_bytes each: valid sectors of a block, one after another; if the volume is encrypted, all, sealed
 *   two places       for the journal that counts, and for the next one.  Sparse: room for the longest records there could be
 *
 * A slot that a durable record refers to is never overwritten, but for durably clean blocks that make room (see
 * ROOM).  New data goes to a free slot; then a record is appended that says what it is of, with a checksum of
 * the data; nothing orders the two on the disk.  A sync makes both durable.  Until then the disk may have any
 * part of them in any order, and recovery takes a record only if its data matches; else the block is what the
 * last durable record says, whose slot is still as it was.
 *
 *   slot       holds                               next
 *   FREE       nothing                             WRITING (a put takes it)
 *   WRITING    what a put is writing               LIVE (its record is appended), FREE (that failed), BAD
 *   LIVE       the newest version of a block       LIVE (dirty to clean), PENDING (superseded, dropped), WRITING (makes room), BAD
 *   PENDING    an older one, maybe the durable     FREE when what superseded it is durable and nobody reads it
 *   BAD        can't be written, or read           - (until the file is opened again)
 *
 * JOURNAL.  Records in the order of their sequence numbers, each with a checksum that only fits this journal
 * (`mark` and `seed` are random): what an older one left behind it is no record.  A record also says up to
 * which number all was durable when it was written, and each sync is followed by a short record (not synced
 * itself) that does nothing else.  So recovery knows which data it need not read and, when something is no
 * record, whether that is a torn end, which is cut off, or damage to what was durable: then a newer version of
 * some block may be lost, nobody can say which one, and the file is refused unless nothing was dirty. What
 * recovery has checked it writes again: the kernel forgets that pages are dirty when it fails to write them.
 *
 * A NEW JOURNAL is made at each opening and when much of the old one is out of date: what counts is copied to
 * the other place while others append, then the rest while they wait; a sync; then one super that says so, a
 * sync, the other super, a sync.  A crash finds one of both, each with all in it.  Records stay in order.  Of
 * what was appended meanwhile everything is copied, whether it counts or not, for it says what happened to what
 * was copied before.
 *
 * ROOM.  A clean block makes room without a record and without a sync: if the newcomer's record is durable, the
 * slot is the newcomer's; if not, the data matches or not, and a clean block that is lost is only fetched
 * again.  But not before the journal durably says that the block's record is durable: until then recovery reads
 * the data, and would take what does not match for torn, and an older version for the last one.  A slot that
 * was superseded needs a sync first.  Who finds no room does what is missing.
 *
 * CHECKSUMS are XXH3 of 128 bits, seeded.  Nobody is to be fooled by a torn write, a flipped bit, or a slot of
 * another block: there are 2^32 blocks in a large volume, and years of writes, so 32 or 64 bits are too few to
 * say never.  CRCs of that length are slow or at hand nowhere; a cryptographic hash costs ten times as much,
 * and defends against nobody: who can write to the file can do worse, and an encrypted volume's blocks are
 * authenticated by what seals them.
 *
 * A FAILED SYNC ends all changes, since the next one would succeed without what the first one lost.  Reading
 * goes on.
 *
 * Locks: compact_lock, journal_lock, sync_lock, lock.  Only `lock` is never held while reading or writing. */

#include "cachefile_impl.h"

#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* So many looks at the index are taken before others have their turn. */
#define STEPS_LOCKED_MAX 4096u

/* ---- failing, syncing */

int
fail_locked(struct cachefile *file, int rc, const char *what, struct error *why)
{
    if (file->failed == 0) {
        file->failed = rc;
        log_line(BD_ERROR,
                 "%s the cache file %s: %s; from now on nothing is written to it any more", what,
                 file->path, strerror(-rc));
    }
    pthread_cond_broadcast(&file->synced);
    pthread_cond_broadcast(&file->moved);
    return error_set(why, rc, "%s the cache file %s: %s", what, file->path, strerror(-rc));
}

int
check_failed_locked(struct cachefile *file, struct error *why)
{
    if (file->failed == 0)
        return 0;
    return error_set(why, file->failed,
                     "the cache file %s is only read any more, since writing to it failed: %s",
                     file->path, strerror(-file->failed));
}

int
sync_file(struct cachefile *file, struct error *why)
{
    int rc;

    pthread_mutex_lock(&file->sync_lock);
    pthread_mutex_lock(&file->lock);
    rc = check_failed_locked(file, why);
    file->syncs++;
    pthread_mutex_unlock(&file->lock);
    if (rc == 0) {
        rc = file->io->sync(file->io);
        if (rc != 0) {
            pthread_mutex_lock(&file->lock);
            fail_locked(file, rc, "cannot sync", why);
            pthread_mutex_unlock(&file->lock);
        }
    }
    pthread_mutex_unlock(&file->sync_lock);
    return rc;
}

int
note_synced(struct cachefile *file, struct error *why)
{
    struct record record = { .kind = RECORD_SYNCED, .bytes = sizeof record };
    uint64_t at;

    pthread_mutex_lock(&file->lock);
    record.block = file->dirty_count;
    pthread_mutex_unlock(&file->lock);
    return journal_append(file, &record, &at, why);
}

/* Until both are at least that.  Who comes while somebody syncs waits, and one of those who wait goes on for all. */
static int
sync_until(struct cachefile *file, uint64_t durable, uint64_t marked, struct error *why)
{
    bool has_synced = false;
    int rc = 0;

    pthread_mutex_lock(&file->lock);
    while (file->durable < durable || file->marked < marked) {
        uint64_t written = file->written, noted = file->noted;

        rc = check_failed_locked(file, why);
        if (rc != 0)
            break;
        if (file->is_syncing) {
            pthread_cond_wait(&file->synced, &file->lock);
            continue;
        }
        file->is_syncing = true;
        pthread_mutex_unlock(&file->lock);
        rc = sync_file(file, why);
        pthread_mutex_lock(&file->lock);
        file->is_syncing = false;
        pthread_cond_broadcast(&file->synced);
        if (rc != 0)
            break;
        has_synced = true;
        if (file->durable < written)
            file->durable = written;
        if (file->marked < noted)
            file->marked = noted;
        index_release_pending(file);
    }
    pthread_mutex_unlock(&file->lock);
    if (has_synced) {
        pthread_mutex_lock(&file->journal_lock);
        (void)note_synced(file, NULL);
        pthread_mutex_unlock(&file->journal_lock);
        if (file->config.is_advised)
            file->io->forget(file->io, 0, slot_offset(file, file->slot_count));
    }
    return rc;
}

void
cachefile_forget(struct cachefile *file, uint64_t first, uint64_t last, uint64_t version)
{
    uint64_t steps = index_range_steps(file, first, last);

    pthread_mutex_lock(&file->lock);
    for (uint64_t step = 0; step < steps; step++) {
        uint32_t slot = index_range_find(file, first, last, step);
        struct slot *entry = slot != SLOT_NONE ? &file->index[slot] : NULL;

        if (entry == NULL || (version != 0 && entry->sequence != version))
            continue;
        index_remove_silently(file, slot);
        entry->state = SLOT_BAD; /* the file may still say that it is the block's */
        file->bad_count++;
        file->has_forgotten = true;
    }
    pthread_mutex_unlock(&file->lock);
}

int
cachefile_protect(struct cachefile *file, struct error *why)
{
    int rc = file->io->protect != NULL ? file->io->protect(file->io) : 0;

    return rc == 0 ? 0
                   : error_set(why, rc, "others may read the cache file %s: %s", file->path,
                               strerror(-rc));
}

int
cachefile_remove(struct cachefile *file, struct error *why)
{
    struct cachefile_io *io = file->io;
    int rc = 0;

    pthread_mutex_lock(&file->sync_lock);
    if (!file->is_unlinked) /* what is there later is somebody else's */
        rc = io->unlink(io, file->path);
    file->is_unlinked = rc == 0;
    if (rc == 0 && !file->is_removed)
        rc = io->sync_name(io, file->path);
    file->is_removed = rc == 0;
    pthread_mutex_unlock(&file->sync_lock);
    return rc == 0 ? 0
                   : error_set(why, rc, "cannot remove the cache file %s: %s", file->path,
                               strerror(-rc));
}

int
cachefile_sync(struct cachefile *file, struct error *why)
{
    uint64_t written;

    pthread_mutex_lock(&file->lock);
    written = file->written;
    pthread_mutex_unlock(&file->lock);
    return sync_until(file, written, 0, why);
}

/* ---- putting */

static uint32_t
count_valid(const struct cachefile *file, const uint64_t *valid)
{
    uint32_t count = 0;

    if (valid == NULL)
        return file->sectors;
    for (uint32_t i = 0; i < file->map_words; i++)
        count += (uint32_t)__builtin_popcountll(valid[i]);
    assert(count > 0 && count <= file->sectors);
    return count;
}

/* With file->lock, which is given away meanwhile.  What there is no room without: a sync makes those slots free
 * that were superseded, one more those that hold clean blocks, and those that are being filled or read may be
 * free later. */
static int
make_room_locked(struct cachefile *file, struct error *why)
{
    uint64_t written = file->written, durable = file->durable, noted = file->noted;
    int rc = 0;

    if (durable == written && file->marked == durable) {
        if (file->writing_count == 0 && file->pin_count == 0)
            return error_set(why, -ENOBUFS,
                             "the cache file %s is full of blocks that are not stored yet",
                             file->path);
        file->waiting_count++;
        pthread_cond_wait(&file->moved, &file->lock);
        file->waiting_count--;
        return 0;
    }
    pthread_mutex_unlock(&file->lock);
    if (durable < written) {
        rc = sync_until(file, written, 0, why);
    } else if (noted < durable) {
        rc = journal_enter(file, why);
        if (rc == 0) {
            rc = note_synced(file, why);
            pthread_mutex_unlock(&file->journal_lock);
        }
    } else {
        rc = sync_until(file, 0, noted, why);
    }
    pthread_mutex_lock(&file->lock);
    return rc;
}

/* A slot to write to, which nobody else has. */
static int
take_slot(struct cachefile *file, uint32_t *slot, struct error *why)
{
    int rc;

    pthread_mutex_lock(&file->lock);
    for (;;) {
        rc = check_failed_locked(file, why);
        if (rc != 0)
            break;
        *slot = index_take(file, file->marked == file->written);
        if (*slot != SLOT_NONE) {
            file->writing_count++;
            break;
        }
        rc = make_room_locked(file, why);
        if (rc != 0)
            break;
    }
    pthread_mutex_unlock(&file->lock);
    return rc;
}

/* With file->lock: who waits for a slot looks again. */
static void
moved_locked(struct cachefile *file)
{
    if (file->waiting_count > 0)
        pthread_cond_broadcast(&file->moved);
}

/* It was taken, and nothing came of it. */
static void
give_back(struct cachefile *file, uint32_t slot, bool is_bad)
{
    pthread_mutex_lock(&file->lock);
    if (is_bad) {
        file->index[slot].state = SLOT_BAD;
        file->bad_count++;
    } else {
        index_push_free(file, slot);
    }
    file->writing_count--;
    moved_locked(file);
    pthread_mutex_unlock(&file->lock);
}

/* The record in scratch is appended, and its slot holds the block from now on. */
static int
put_record(struct cachefile *file, uint32_t slot, struct record *record, bool *was_dirty,
           struct error *why)
{
    uint32_t old;
    uint64_t at;
    int rc = journal_append(file, record, &at, why);

    if (rc != 0)
        return rc;
    pthread_mutex_lock(&file->lock);
    old = index_find(file, record->block);
    *was_dirty = old != SLOT_NONE && file->index[old].is_dirty;
    if (old != SLOT_NONE) {
        index_remove(file, old);
        index_push_pending(file, old, record->sequence);
    }
    index_set(file, slot, record->block, record->sequence, at, record->kind == RECORD_DIRTY);
    file->index[slot].is_fresh = true;
    index_release_pending(file);
    file->writing_count--;
    moved_locked(file);
    pthread_mutex_unlock(&file->lock);
    return 0;
}

/* With journal_lock.  The live slot of that version, which nobody changes until journal_lock is given back,
 * unless it is clean: it may make room at any time. */
static int
find_version(struct cachefile *file, uint64_t block, uint64_t version, uint32_t *slot,
             struct slot *entry)
{
    int rc = 0;

    pthread_mutex_lock(&file->lock);
    *slot = index_find(file, block);
    if (*slot == SLOT_NONE || (version != 0 && file->index[*slot].sequence != version))
        rc = *slot == SLOT_NONE && version == 0 ? -ENOENT : -ESTALE;
    else
        *entry = file->index[*slot];
    pthread_mutex_unlock(&file->lock);
    return rc;
}

int
cachefile_put(struct cachefile *file, const struct cachefile_block *block, uint64_t *version,
              bool *was_dirty, struct error *why)
{
    unsigned char sealed[CACHEFILE_SEAL_BYTES_MAX];
    struct record head = { .kind = block->state == CACHEFILE_DIRTY ? RECORD_DIRTY : RECORD_CLEAN };
    struct record_parts parts = { .sealed = sealed };
    struct record *record = (struct record *)(void *)file->scratch;
    struct slot old;
    uint32_t slot, old_slot;
    bool replaced_dirty;
    int rc = take_slot(file, &slot, why);

    if (rc != 0)
        return rc;
    head.block = block->block;
    head.slot = slot;
    head.base = (uint8_t)block->base;
    head.sectors = count_valid(file, block->valid);
    head.is_zeros = block->data == NULL;
    head.seal_bytes = head.is_zeros ? 0 : file->config.seal_bytes;
    if (head.sectors < file->sectors)
        parts.map = (const unsigned char *)block->valid;
    if (block->base == CACHEFILE_TAG) {
        assert(block->tag[0] != '\0' && strlen(block->tag) <= BD_TAG_BYTES_MAX);
        parts.tag = block->tag;
        head.tag_bytes = (uint16_t)strlen(block->tag);
    }
    rc = data_write(file, block, slot, &head, sealed, why);
    if (rc != 0) {
        give_back(file, slot, rc == -EIO);
        return rc;
    }
    rc = journal_enter(file, why);
    if (rc == 0) {
        if (block->over != 0 && find_version(file, block->block, block->over, &old_slot, &old) != 0)
            rc = error_set(why, -ESTALE, "the cache file %s has another version of block %08llx",
                           file->path, (unsigned long long)block->block);
        *record = head;
        record_make(file, record, &parts);
        if (rc == 0)
            rc = put_record(file, slot, record, &replaced_dirty, why);
        if (rc == 0 && version != NULL)
            *version = record->sequence;
        if (rc == 0 && was_dirty != NULL)
            *was_dirty = replaced_dirty;
        pthread_mutex_unlock(&file->journal_lock);
    }
    if (rc != 0)
        give_back(file, slot, false);
    return rc;
}

/* ---- changing what is there */

/* With journal_lock.  What is in a slot, and was dirty, gets another record. */
static int
record_again(struct cachefile *file, uint32_t slot, const struct slot *entry, enum record_kind kind,
             enum cachefile_base base, const char *tag, struct error *why)
{
    struct record *record = (struct record *)(void *)file->scratch;
    struct record *old = (struct record *)(void *)(file->scratch + file->record_bytes_max);
    struct record_parts parts;
    uint64_t at;
    int rc = journal_read(file, &file->journal, entry->at, entry->sequence, old);

    if (rc != 0)
        return error_set(why, -EIO, "what the cache file %s says of block %08llx is damaged",
                         file->path, (unsigned long long)entry->block);
    record_parts(file, old, &parts);
    *record = *old;
    record->kind = (uint8_t)kind;
    record->base = (uint8_t)base;
    record->tag_bytes = base == CACHEFILE_TAG ? (uint16_t)strlen(tag) : 0;
    parts.tag = tag;
    record_make(file, record, &parts);
    rc = journal_append(file, record, &at, why);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&file->lock);
    file->index[slot].at = at;
    file->index[slot].sequence = record->sequence;
    file->index[slot].is_dirty = kind == RECORD_DIRTY;
    file->index[slot].is_fresh = true;
    file->dirty_count -= kind == RECORD_CLEAN;
    pthread_mutex_unlock(&file->lock);
    return 0;
}

int
cachefile_stored(struct cachefile *file, uint64_t block, uint64_t version, enum cachefile_base base,
                 const char *tag, struct error *why)
{
    struct slot entry;
    uint32_t slot;
    int rc = journal_enter(file, why);

    if (rc != 0)
        return rc;
    assert(base != CACHEFILE_TAG || (tag[0] != '\0' && strlen(tag) <= BD_TAG_BYTES_MAX));
    if (find_version(file, block, version, &slot, &entry) != 0 || !entry.is_dirty)
        rc = error_set(why, -ESTALE, "the cache file %s has another version of block %08llx",
                       file->path, (unsigned long long)block);
    else
        rc = record_again(file, slot, &entry, RECORD_CLEAN, base, tag, why);
    pthread_mutex_unlock(&file->journal_lock);
    return rc;
}

int
cachefile_rebase(struct cachefile *file, uint64_t block, enum cachefile_base base, const char *tag,
                 struct error *why)
{
    struct slot entry;
    uint32_t slot;
    int rc = journal_enter(file, why);

    if (rc != 0)
        return rc;
    assert(base != CACHEFILE_TAG || (tag[0] != '\0' && strlen(tag) <= BD_TAG_BYTES_MAX));
    if (find_version(file, block, 0, &slot, &entry) == 0 && entry.is_dirty)
        rc = record_again(file, slot, &entry, RECORD_DIRTY, base, tag, why);
    pthread_mutex_unlock(&file->journal_lock);
    return rc;
}

void
cachefile_confirm(struct cachefile *file, uint64_t block, uint64_t version)
{
    uint32_t slot;

    pthread_mutex_lock(&file->lock);
    slot = index_find(file, block);
    if (slot != SLOT_NONE && file->index[slot].sequence == version && !file->index[slot].is_dirty)
        file->index[slot].is_fresh = true;
    pthread_mutex_unlock(&file->lock);
}

/* May the journal know blocks that the index does not?  One that made room is still in it as long as nothing else is in
 * its slot; one whose record could not be written may be, until the next one is. */
static bool
may_know_more(struct cachefile *file)
{
    bool may;

    pthread_mutex_lock(&file->lock);
    may = file->ghost_count > 0 || file->is_soiled;
    pthread_mutex_unlock(&file->lock);
    return may;
}

int
cachefile_drop(struct cachefile *file, uint64_t block, uint64_t version, struct error *why)
{
    struct record record = {
        .kind = RECORD_GONE, .bytes = sizeof record, .block = block, .last = block
    };
    struct slot entry;
    uint32_t slot;
    uint64_t at;
    int rc = journal_enter(file, why);

    if (rc != 0)
        return rc;
    rc = find_version(file, block, version, &slot, &entry);
    if (rc == 0 || (rc == -ENOENT && may_know_more(file)))
        rc = journal_append(file, &record, &at, why);
    else if (rc == -ESTALE)
        error_set(why, rc, "the cache file %s has another version of block %08llx", file->path,
                  (unsigned long long)block);
    if (rc == 0) {
        pthread_mutex_lock(&file->lock);
        if (slot != SLOT_NONE && index_find(file, block) == slot) {
            index_remove(file, slot);
            index_push_pending(file, slot, record.sequence);
            index_release_pending(file);
        }
        pthread_mutex_unlock(&file->lock);
    }
    pthread_mutex_unlock(&file->journal_lock);
    return rc == -ENOENT ? 0 : rc;
}

/* With journal_lock, so that no block comes to be there.  Are some there that the record says are gone?  If it is in the
 * journal, they go. */
static bool
walk_range(struct cachefile *file, const struct record *gone, bool is_removing)
{
    uint64_t steps = index_range_steps(file, gone->block, gone->last), step = 0;
    bool is_any = false;

    while (step < steps && (is_removing || !is_any)) {
        pthread_mutex_lock(&file->lock);
        for (unsigned i = 0; i < STEPS_LOCKED_MAX && step < steps; i++, step++) {
            uint32_t slot = index_range_find(file, gone->block, gone->last, step);

            if (slot == SLOT_NONE)
                continue;
            is_any = true;
            if (is_removing) {
                index_remove(file, slot);
                index_push_pending(file, slot, gone->sequence);
            }
        }
        index_release_pending(file);
        pthread_mutex_unlock(&file->lock);
    }
    return is_any;
}

int
cachefile_drop_range(struct cachefile *file, uint64_t first, uint64_t last, struct error *why)
{
    struct record record = {
        .kind = RECORD_GONE, .bytes = sizeof record, .block = first, .last = last
    };
    uint64_t at;
    int rc = journal_enter(file, why);

    if (rc != 0)
        return rc;
    assert(first <= last);
    if (walk_range(file, &record, false) || may_know_more(file)) {
        rc = journal_append(file, &record, &at, why);
        if (rc == 0)
            (void)walk_range(file, &record, true);
    }
    pthread_mutex_unlock(&file->journal_lock);
    return rc;
}

/* ---- getting */

/* A slot that is read, and what was known of it when that began. */
struct reading {
    uint32_t slot;
    uint64_t at, sequence, generation;
    bool is_dirty, is_fresh;
    struct journal journal;
};

static void
reading_begin_locked(struct cachefile *file, uint32_t slot, struct reading *reading)
{
    struct slot *entry = &file->index[slot];

    assert(entry->pins < UINT16_MAX);
    entry->pins++;
    file->pin_count++;
    reading->slot = slot;
    reading->at = entry->at;
    reading->sequence = entry->sequence;
    reading->is_dirty = entry->is_dirty;
    reading->is_fresh = entry->is_fresh;
    reading->generation = file->generation;
    reading->journal = file->journal;
}

static void
fill_info(const struct cachefile *file, const struct reading *reading, const struct record *record,
          struct cachefile_info *info, uint64_t *valid)
{
    struct record_parts parts;

    record_parts(file, record, &parts);
    memset(info, 0, sizeof *info);
    info->block = record->block;
    info->version = record->sequence;
    info->state = record->kind == RECORD_DIRTY ? CACHEFILE_DIRTY : CACHEFILE_CLEAN;
    info->base = record->base;
    info->is_zeros = record->is_zeros != 0;
    info->is_fresh = reading->is_fresh;
    info->sectors_valid = record->sectors;
    memcpy(info->tag, parts.tag, record->tag_bytes);
    if (valid == NULL)
        return;
    if (parts.map != NULL) {
        memcpy(valid, parts.map, map_bytes_of(file, record->sectors));
        return;
    }
    memset(valid, 0, file->map_words * sizeof *valid);
    for (uint32_t i = 0; i < file->sectors; i++)
        valid[i / 64] |= 1ull << i % 64;
}

/* It can't be given.  -EAGAIN: because the journal was replaced meanwhile. */
static int
damaged(struct cachefile *file, uint64_t block, const struct reading *reading, int rc,
        struct error *why)
{
    struct slot *entry = &file->index[reading->slot];
    bool is_unreadable = rc != -EBADMSG;

    pthread_mutex_lock(&file->lock);
    if (file->generation != reading->generation) {
        rc = -EAGAIN;
    } else if (reading->is_dirty) {
        file->rotten_dirty++;
        rc = error_set(why, -EIO, "block %08llx is %s in the cache file %s, and was not stored yet",
                       (unsigned long long)block, is_unreadable ? "unreadable" : "damaged",
                       file->path);
    } else {
        if (entry->state == SLOT_LIVE && entry->sequence == reading->sequence) {
            file->rotten++;
            index_remove_silently(file, reading->slot);
            if (is_unreadable) {
                entry->state = SLOT_BAD;
                file->bad_count++;
            } else {
                index_push_pending(file, reading->slot, file->written);
                index_release_pending(file);
            }
        }
        rc = error_set(why, -ENOENT, "block %08llx was damaged in the cache file %s",
                       (unsigned long long)block, file->path);
    }
    pthread_mutex_unlock(&file->lock);
    return rc;
}

static int
get_once(struct cachefile *file, uint64_t block, struct record *record, struct cachefile_info *info,
         void *data, uint64_t *valid, struct error *why)
{
    struct reading reading;
    uint32_t slot;
    int rc = 0;

    pthread_mutex_lock(&file->lock);
    slot = index_find(file, block);
    if (slot != SLOT_NONE) {
        struct slot *entry = &file->index[slot];

        reading_begin_locked(file, slot, &reading);
        if (data != NULL && entry->uses < USES_MAX)
            entry->uses++;
    }
    pthread_mutex_unlock(&file->lock);
    if (slot == SLOT_NONE)
        return error_set(why, -ENOENT, "block %08llx is not in the cache file %s",
                         (unsigned long long)block, file->path);
    rc = journal_read(file, &reading.journal, reading.at, reading.sequence, record);
    if (rc == 0 && (record->block != block || record->slot != slot))
        rc = -EBADMSG;
    if (rc == 0 && data != NULL)
        rc = data_read(file, record, slot, data);
    if (rc == -ENOMEM)
        error_set(why, rc, "out of memory");
    else if (rc != 0)
        rc = damaged(file, block, &reading, rc, why);
    else
        fill_info(file, &reading, record, info, valid);
    pthread_mutex_lock(&file->lock);
    index_unpin(file, slot);
    moved_locked(file);
    pthread_mutex_unlock(&file->lock);
    return rc;
}

int
cachefile_get(struct cachefile *file, uint64_t block, struct cachefile_info *info, void *data,
              uint64_t *valid, struct error *why)
{
    struct record *record = malloc(file->record_bytes_max);
    int rc;

    if (record == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    do
        rc = get_once(file, block, record, info, data, valid, why);
    while (rc == -EAGAIN);
    free(record);
    return rc;
}

bool
cachefile_was_closed(const struct cachefile *file)
{
    return file->was_closed;
}

bool
cachefile_holds(struct cachefile *file, uint64_t block)
{
    bool is_there;

    pthread_mutex_lock(&file->lock);
    is_there = index_find(file, block) != SLOT_NONE;
    pthread_mutex_unlock(&file->lock);
    return is_there;
}

bool
cachefile_holds_dirty(struct cachefile *file, uint64_t block)
{
    uint32_t slot;
    bool is_dirty;

    pthread_mutex_lock(&file->lock);
    slot = index_find(file, block);
    is_dirty = slot != SLOT_NONE && file->index[slot].is_dirty;
    pthread_mutex_unlock(&file->lock);
    return is_dirty;
}

bool
cachefile_next(struct cachefile *file, uint32_t *cursor, struct cachefile_info *info)
{
    struct record *record = malloc(file->record_bytes_max);
    bool is_found = false;

    while (!is_found && *cursor < file->slot_count) {
        struct slot *entry = &file->index[*cursor];
        struct reading reading;
        bool is_live, is_again;
        int rc = 0;

        memset(info, 0, sizeof *info);
        pthread_mutex_lock(&file->lock);
        is_live = entry->state == SLOT_LIVE;
        if (is_live) {
            reading_begin_locked(file, *cursor, &reading);
            info->block = entry->block;
        }
        pthread_mutex_unlock(&file->lock);
        if (!is_live) {
            ++*cursor;
            continue;
        }
        rc = record == NULL
                 ? -ENOMEM
                 : journal_read(file, &reading.journal, reading.at, reading.sequence, record);
        if (rc == 0)
            fill_info(file, &reading, record, info, NULL);
        info->version = reading.sequence;
        info->is_fresh = reading.is_fresh;
        info->state = reading.is_dirty ? CACHEFILE_DIRTY : CACHEFILE_CLEAN;
        pthread_mutex_lock(&file->lock);
        is_again = rc != 0 && file->generation != reading.generation;
        index_unpin(file, *cursor);
        moved_locked(file);
        pthread_mutex_unlock(&file->lock);
        if (is_again)
            continue;
        is_found = rc == 0 || reading.is_dirty;
        ++*cursor;
    }
    free(record);
    return is_found;
}

/* ---- the rest */

int
cachefile_set_note(struct cachefile *file, const void *note, size_t bytes, struct error *why)
{
    struct super super;
    int rc;

    assert(bytes <= CACHEFILE_TEXT_BYTES_MAX);
    pthread_mutex_lock(&file->journal_lock);
    pthread_mutex_lock(&file->lock);
    rc = check_failed_locked(file, why);
    pthread_mutex_unlock(&file->lock);
    if (rc == 0) {
        super = file->super;
        memset(super.note, 0, sizeof super.note);
        if (bytes > 0)
            memcpy(super.note, note, bytes);
        super.note_bytes = (uint32_t)bytes;
        rc = super_write(file, &super, why);
    }
    pthread_mutex_unlock(&file->journal_lock);
    return rc;
}

size_t
cachefile_note(struct cachefile *file, void *note)
{
    size_t bytes;

    pthread_mutex_lock(&file->journal_lock);
    bytes = file->super.note_bytes;
    memcpy(note, file->super.note, bytes);
    pthread_mutex_unlock(&file->journal_lock);
    return bytes;
}

void
cachefile_stats(struct cachefile *file, struct cachefile_stats *stats)
{
    pthread_mutex_lock(&file->lock);
    *stats = (struct cachefile_stats){
        .slots = file->slot_count,
        .used = file->used_count,
        .dirty = file->dirty_count,
        .retired = file->bad_count,
        .dirty_bytes = (uint64_t)file->dirty_count * file->config.block_bytes,
        .unsynced = file->written - file->durable,
        .journal_bytes = file->journal.tail,
        .journal_bytes_max = file->journal.bytes_max,
        .memory_bytes = (uint64_t)file->slot_count * sizeof *file->index
                        + ((uint64_t)file->bucket_mask + 1) * sizeof *file->buckets,
        .rotten = file->rotten,
        .rotten_dirty = file->rotten_dirty,
        .evicted = file->evicted,
        .torn = file->torn,
        .syncs = file->syncs,
        .compactions = file->compactions,
    };
    pthread_mutex_unlock(&file->lock);
}

uint32_t
cachefile_dirty(struct cachefile *file)
{
    struct cachefile_stats stats;

    cachefile_stats(file, &stats);
    return stats.dirty;
}
