/* SPDX-License-Identifier: Apache-2.0 */
/* The cache file's journal: records made, checked, appended, read again; a new one in place of one that has
 * grown; and the super blocks that say which one it is. */
#include "cachefile_impl.h"

#include "base/secret.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define WINDOW_BYTES (1u << 20)
#define BUFFER_BYTES (1u << 18)
/* What is left to copy is copied while nobody can append. */
#define REST_BYTES (1u << 16)
#define PASSES_MAX 4u
/* Behind something that is no record, a sound one is looked for that far: damage is smaller. */
#define GAP_BYTES_MAX (16u << 20)

static uint64_t
round_up(uint64_t value, uint64_t to)
{
    return (value + to - 1) / to * to;
}

/* ---- records */

uint64_t
map_bytes_of(const struct cachefile *file, uint32_t sectors)
{
    return sectors < file->sectors ? 8 * (uint64_t)file->map_words : 0;
}

uint64_t
record_bytes_max(uint32_t block_bytes)
{
    uint32_t sectors = block_bytes / CACHEFILE_SECTOR_BYTES;

    return sizeof(struct record) + round_up(BD_TAG_BYTES_MAX + CACHEFILE_SEAL_BYTES_MAX, 8)
           + 8 * (uint64_t)((sectors + 63) / 64);
}

static void
record_sum(const struct journal *journal, const struct record *record, uint64_t sum[2])
{
    const unsigned char *from = (const unsigned char *)&record->bytes;
    XXH128_hash_t hash =
        XXH3_128bits_withSeed(from, record->bytes - offsetof(struct record, bytes), journal->seed);

    sum[0] = hash.low64;
    sum[1] = hash.high64;
}

static size_t
parts_bytes(const struct cachefile *file, const struct record *record)
{
    return record->tag_bytes + record->seal_bytes + map_bytes_of(file, record->sectors);
}

bool
record_is_sound(const struct cachefile *file, const struct journal *journal, const void *bytes,
                size_t available)
{
    const struct record *record = bytes;
    uint64_t sum[2];

    if (available < sizeof *record || record->mark != journal->mark
        || record->bytes < sizeof *record || record->bytes > available
        || record->bytes > file->record_bytes_max || record->bytes % 8 != 0)
        return false;
    record_sum(journal, record, sum);
    if (memcmp(sum, record->sum, sizeof sum) != 0)
        return false;
    /* From here on it is as it was written, by us or by somebody who made it up. */
    if (record->sequence <= record->durable)
        return false;
    if (record->kind == RECORD_GONE)
        return record->last >= record->block;
    if (record->kind == RECORD_SYNCED)
        return true;
    return (record->kind == RECORD_CLEAN || record->kind == RECORD_DIRTY)
           && record->slot < file->slot_count && record->sectors > 0
           && record->sectors <= file->sectors && record->base <= CACHEFILE_TAG
           && record->tag_bytes <= BD_TAG_BYTES_MAX
           && record->seal_bytes == (record->is_zeros ? 0 : file->config.seal_bytes)
           && record->bytes == round_up(sizeof *record + parts_bytes(file, record), 8);
}

void
record_parts(const struct cachefile *file, const struct record *record, struct record_parts *parts)
{
    parts->tag = (const char *)(record + 1);
    parts->sealed = (const unsigned char *)parts->tag + record->tag_bytes;
    parts->map =
        map_bytes_of(file, record->sectors) > 0 ? parts->sealed + record->seal_bytes : NULL;
}

void
record_make(const struct cachefile *file, struct record *record, const struct record_parts *parts)
{
    unsigned char *next = (unsigned char *)(record + 1);
    size_t used = sizeof *record + parts_bytes(file, record);

    record->bytes = (uint32_t)round_up(used, 8);
    assert(record->bytes <= file->record_bytes_max);
    if (record->tag_bytes > 0)
        memcpy(next, parts->tag, record->tag_bytes);
    next += record->tag_bytes;
    if (record->seal_bytes > 0)
        memcpy(next, parts->sealed, record->seal_bytes);
    next += record->seal_bytes;
    if (parts->map != NULL)
        memcpy(next, parts->map, map_bytes_of(file, record->sectors));
    memset((unsigned char *)record + used, 0, record->bytes - used);
}

static void
record_finish(const struct journal *journal, struct record *record)
{
    record->mark = journal->mark;
    record_sum(journal, record, record->sum);
}

int
journal_append(struct cachefile *file, struct record *record, uint64_t *at, struct error *why)
{
    struct journal *journal = &file->journal; /* nobody changes it while we hold journal_lock */
    int rc;

    if (journal->tail + record->bytes > journal->bytes_max)
        return error_set(why, -ENOSPC, "the journal of the cache file %s is full", file->path);
    /* A number is never given twice, not even if the write fails: it may have reached the disk. */
    record->sequence = ++file->sequence;
    pthread_mutex_lock(&file->lock);
    record->durable = file->durable;
    pthread_mutex_unlock(&file->lock);
    record_finish(journal, record);
    rc = file->io->write(file->io, record, record->bytes, journal->offset + journal->tail);
    pthread_mutex_lock(&file->lock);
    file->is_soiled = rc != 0;
    pthread_mutex_unlock(&file->lock);
    if (rc != 0)
        return error_set(why, rc, "cannot write to the cache file %s: %s", file->path,
                         strerror(-rc));
    *at = journal->tail;
    pthread_mutex_lock(&file->lock);
    journal->tail += record->bytes;
    if (file->noted < record->durable)
        file->noted = record->durable;
    if (record->kind != RECORD_SYNCED)
        file->written = record->sequence;
    pthread_mutex_unlock(&file->lock);
    return 0;
}

/* ---- scanning */

int
scan_begin(struct scan *scan, const struct cachefile *file, const struct journal *journal,
           uint64_t pos, uint64_t end)
{
    uint64_t bytes = end > pos ? end - pos : 0;

    memset(scan, 0, sizeof *scan);
    scan->file = file;
    scan->journal = journal;
    scan->pos = pos;
    scan->end = end;
    scan->gap_at = UINT64_MAX;
    scan->window_bytes_max = bytes < WINDOW_BYTES ? (size_t)bytes + 8 : WINDOW_BYTES;
    scan->window_bytes_max += file->record_bytes_max;
    scan->window = malloc(scan->window_bytes_max);
    return scan->window == NULL ? -ENOMEM : 0;
}

void
scan_end(struct scan *scan)
{
    free(scan->window);
}

/* How many bytes are in the window from `pos` on: those of a whole record, if there are so many. */
static int
scan_fill(struct scan *scan, uint64_t pos, size_t *available)
{
    struct cachefile_io *io = scan->file->io;
    uint64_t want = scan->end - pos < scan->file->record_bytes_max ? scan->end - pos
                                                                   : scan->file->record_bytes_max;
    int rc;

    if (pos < scan->window_at || pos + want > scan->window_at + scan->window_bytes) {
        uint64_t bytes =
            scan->end - pos < scan->window_bytes_max ? scan->end - pos : scan->window_bytes_max;

        scan->window_bytes = 0;
        rc = io->read(io, scan->window, (size_t)bytes, scan->journal->offset + pos);
        if (rc != 0)
            return rc;
        scan->window_at = pos;
        scan->window_bytes = (size_t)bytes;
    }
    *available = (size_t)want;
    return 0;
}

int
scan_next(struct scan *scan, const struct record **record, uint64_t *at)
{
    uint64_t pos = scan->pos;

    scan->gap_at = UINT64_MAX;
    while (pos + sizeof(struct record) <= scan->end && pos - scan->pos <= GAP_BYTES_MAX) {
        const unsigned char *here;
        size_t available;
        int rc = scan_fill(scan, pos, &available);

        if (rc != 0)
            return rc;
        here = scan->window + (pos - scan->window_at);
        if (record_is_sound(scan->file, scan->journal, here, available)) {
            *record = (const void *)here;
            *at = pos;
            scan->pos = pos + (*record)->bytes;
            return 1;
        }
        if (scan->gap_at == UINT64_MAX)
            scan->gap_at = pos;
        pos += 8;
    }
    return 0;
}

/* ---- reading one again */

int
journal_read(struct cachefile *file, const struct journal *journal, uint64_t at, uint64_t sequence,
             void *buffer)
{
    uint64_t left = journal->tail - at;
    size_t bytes = left < file->record_bytes_max ? (size_t)left : file->record_bytes_max;
    const struct record *record = buffer;
    int rc = file->io->read(file->io, buffer, bytes, journal->offset + at);

    if (rc != 0)
        return rc;
    if (!record_is_sound(file, journal, buffer, bytes) || record->sequence != sequence)
        return -EBADMSG;
    return 0;
}

/* ---- the supers */

void
super_sum(const struct super *super, uint64_t sum[2])
{
    XXH128_hash_t hash = XXH3_128bits(super, offsetof(struct super, sum));

    sum[0] = hash.low64;
    sum[1] = hash.high64;
}

/* Into the pages from `first` on, one after the other. */
static int
write_pages(struct cachefile *file, const struct super *super, unsigned first, unsigned count,
            struct error *why)
{
    unsigned char *page = calloc(1, SUPER_BYTES);
    int rc = page == NULL ? error_set(why, -ENOMEM, "out of memory") : 0;

    if (rc != 0)
        return rc;
    memcpy(page, super, sizeof *super);
    for (unsigned i = 0; rc == 0 && i < count; i++) {
        unsigned which = (first + i) % SUPER_COUNT;

        rc = file->io->write(file->io, page, SUPER_BYTES, (uint64_t)which * SUPER_BYTES);
        if (rc != 0) {
            /* Nobody knows which one the file has now. */
            pthread_mutex_lock(&file->lock);
            fail_locked(file, rc, "cannot write to", why);
            pthread_mutex_unlock(&file->lock);
        } else {
            rc = sync_file(file, why);
        }
    }
    free(page);
    return rc;
}

/* What is found may be in memory alone, if who wrote it was killed, or failed to sync it; and the journal that
 * the older super on the disk speaks of is about to be overwritten. */
int
super_settle(struct cachefile *file, struct error *why)
{
    return write_pages(file, &file->super, file->super_first, SUPER_COUNT, why);
}

/* Both become the new one, one after the other: at any time one of them is whole, and in the end both say the
 * same, so that a damaged one does not bring back an older journal. */
int
super_write(struct cachefile *file, struct super *super, struct error *why)
{
    int rc;

    super->generation = file->super.generation + 1;
    super_sum(super, super->sum);
    rc = write_pages(file, super, 0, SUPER_COUNT, why);
    if (rc == 0)
        file->super = *super;
    return rc;
}

/* ---- a new journal */

uint64_t
journal_place_bytes(const struct cachefile *file, uint32_t slots)
{
    uint64_t spare = file->config.journal_spare_bytes;

    return round_up((2 * (uint64_t)slots + 4) * file->record_bytes_max + 2 * spare, AREA_ALIGN);
}

uint64_t
journal_place(const struct cachefile *file, uint32_t slots, unsigned place)
{
    return round_up(DATA_OFFSET + (uint64_t)slots * file->config.block_bytes, AREA_ALIGN)
           + place * journal_place_bytes(file, slots);
}

struct copier {
    struct cachefile *file;
    struct journal to;
    unsigned char *buffer;
    size_t used;
    uint64_t sequence; /* the last one copied */
    const uint32_t *moved;
};

static int
copier_flush(struct copier *copier)
{
    uint64_t offset = copier->to.offset + copier->to.tail - copier->used;
    size_t bytes = copier->used;

    copier->used = 0;
    return bytes == 0 ? 0
                      : copier->file->io->write(copier->file->io, copier->buffer, bytes, offset);
}

static int
copier_add(struct copier *copier, const struct record *record, uint32_t slot)
{
    struct record *copy;
    int rc = 0;

    if (copier->to.tail + record->bytes > copier->to.bytes_max)
        return -ENOSPC;
    if (copier->used + record->bytes > BUFFER_BYTES)
        rc = copier_flush(copier);
    copy = (struct record *)(void *)(copier->buffer + copier->used);
    memcpy(copy, record, record->bytes);
    copy->slot = slot;
    record_finish(&copier->to, copy);
    copier->used += copy->bytes;
    copier->to.tail += copy->bytes;
    return rc;
}

/* Something in the journal is damaged.  No harm if nobody needs it; what is clean goes. */
static int
lose_records(struct cachefile *file, uint64_t first, uint64_t end)
{
    int rc = 0;

    pthread_mutex_lock(&file->lock);
    for (uint32_t slot = 0; slot < file->slot_count; slot++) {
        struct slot *entry = &file->index[slot];

        if (entry->state != SLOT_LIVE || entry->at < first || entry->at >= end)
            continue;
        if (entry->is_dirty) {
            rc = -EUCLEAN;
            continue;
        }
        index_remove_silently(file, slot);
        index_push_pending(file, slot, file->written);
        file->rotten++;
    }
    pthread_mutex_unlock(&file->lock);
    return rc;
}

/* What counts of the records in [first, end); all of those from `tail` on, which came since the copying began:
 * what they say about what was copied before counts, too. */
static int
copy_range(struct copier *copier, const struct journal *from, uint64_t first, uint64_t end,
           uint64_t tail)
{
    struct cachefile *file = copier->file;
    const struct record *record;
    uint64_t at, behind = first;
    struct scan scan;
    int rc = scan_begin(&scan, file, from, first, end);

    while (rc == 0) {
        struct slot *entry;
        bool is_live, has_slot;

        rc = scan_next(&scan, &record, &at);
        if (rc < 0)
            break;
        if (scan.gap_at != UINT64_MAX || (rc == 0 && behind < end)) {
            int lost = lose_records(file, behind, rc == 1 ? at : end);

            if (lost != 0)
                rc = lost;
        }
        if (rc != 1)
            break;
        rc = 0;
        behind = at + record->bytes;
        if (record->kind == RECORD_SYNCED)
            continue;
        has_slot = record->kind != RECORD_GONE;
        pthread_mutex_lock(&file->lock);
        entry = has_slot ? &file->index[record->slot] : NULL;
        is_live = has_slot && entry->state == SLOT_LIVE && entry->at == at
                  && entry->sequence == record->sequence;
        if (is_live)
            entry->next_at = copier->to.tail;
        pthread_mutex_unlock(&file->lock);
        if (is_live && copier->moved != NULL && copier->moved[record->slot] == SLOT_NONE)
            continue;
        if (is_live || at >= tail)
            rc = copier_add(copier, record,
                            is_live && copier->moved != NULL ? copier->moved[record->slot]
                                                             : record->slot);
    }
    scan_end(&scan);
    return rc;
}

/* With both locks but `lock`: nothing is appended meanwhile.  All that is in the old journal, and the data that
 * it speaks of, is durable when the super says that the new one counts, so of no block an older version is
 * needed any more. */
static int
switch_journal(struct copier *copier, uint32_t slots, struct error *why)
{
    struct cachefile *file = copier->file;
    struct super super = file->super;
    int rc = sync_file(file, why);

    if (rc != 0)
        return rc;
    super.flags &= ~(uint32_t)SUPER_CLOSED;
    super.slots = slots;
    super.journal_offset = copier->to.offset;
    super.journal_bytes_max = copier->to.bytes_max;
    super.journal_bytes = copier->to.tail;
    super.mark = copier->to.mark;
    super.seed = copier->to.seed;
    super.durable = file->sequence;
    pthread_mutex_lock(&file->lock);
    super.dirty = file->dirty_count;
    pthread_mutex_unlock(&file->lock);
    rc = super_write(file, &super, why);
    if (rc != 0)
        return rc;
    copier->to.snapshot_bytes = copier->to.tail;
    pthread_mutex_lock(&file->lock);
    file->journal = copier->to;
    for (uint32_t slot = 0; slot < file->slot_count; slot++) {
        if (file->index[slot].state == SLOT_LIVE)
            file->index[slot].at = file->index[slot].next_at;
    }
    file->generation++;
    file->compactions++;
    file->compact_from_bytes = 0;
    file->durable = file->noted = file->marked = file->written;
    index_release_pending(file);
    pthread_mutex_unlock(&file->lock);
    return 0;
}

/* The file has room for a journal there. */
static int
ensure_size(struct cachefile *file, uint64_t bytes)
{
    uint64_t size;
    int rc = file->io->size(file->io, &size);

    return rc == 0 && size < bytes ? file->io->resize(file->io, bytes) : rc;
}

int
journal_compact(struct cachefile *file, uint64_t offset, uint32_t slots, const uint32_t *moved,
                struct error *why)
{
    struct copier copier = { .file = file, .moved = moved };
    struct journal from;
    uint64_t pos = 0, tail = UINT64_MAX;
    int rc = 0;

    copier.buffer = malloc(BUFFER_BYTES + file->record_bytes_max);
    if (copier.buffer == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    copier.to.offset = offset;
    copier.to.bytes_max = journal_place_bytes(file, slots);
    random_fill(&copier.to.seed, sizeof copier.to.seed);
    do
        random_fill(&copier.to.mark, sizeof copier.to.mark);
    while (copier.to.mark == 0);

    rc = ensure_size(file, offset + copier.to.bytes_max);
    for (unsigned pass = 0; rc == 0 && pass < PASSES_MAX; pass++) {
        /* Its tail grows; only we replace it.  Up to there, the index knows all records. */
        pthread_mutex_lock(&file->journal_lock);
        from = file->journal;
        pthread_mutex_unlock(&file->journal_lock);
        if (pass > 0 && from.tail - pos < REST_BYTES)
            break;
        if (pass == 0)
            tail = from.tail;
        rc = copy_range(&copier, &from, pos, from.tail, tail);
        pos = from.tail;
    }
    if (rc == 0)
        rc = copier_flush(&copier);
    if (rc != 0)
        goto say;
    if (pos > REST_BYTES) {
        rc = sync_file(file, why); /* the bulk of it, while others go on; it is synced again */
        if (rc != 0)
            goto free_buffer;
    }
    pthread_mutex_lock(&file->journal_lock);
    from = file->journal;
    rc = copy_range(&copier, &from, pos, from.tail, tail);
    if (rc == 0)
        rc = copier_flush(&copier);
    if (rc == 0) {
        rc = switch_journal(&copier, slots, why);
        pthread_mutex_unlock(&file->journal_lock);
        goto free_buffer;
    }
    pthread_mutex_unlock(&file->journal_lock);
say:
    if (rc == -EUCLEAN)
        error_set(why, rc, "the journal of the cache file %s is damaged", file->path);
    else
        error_set(why, rc, "cannot make a new journal in the cache file %s: %s", file->path,
                  strerror(-rc));
free_buffer:
    free(copier.buffer);
    return rc;
}

static bool
overlaps(const struct journal *journal, uint64_t offset, uint64_t bytes)
{
    return offset < journal->offset + journal->bytes_max && journal->offset < offset + bytes;
}

uint64_t
journal_free_place(const struct cachefile *file, uint32_t slots)
{
    uint64_t bytes = journal_place_bytes(file, slots);

    for (unsigned place = 0; place < 2; place++) {
        if (!overlaps(&file->journal, journal_place(file, slots, place), bytes))
            return journal_place(file, slots, place);
    }
    return round_up(file->journal.offset + file->journal.bytes_max, AREA_ALIGN);
}

/* With file->lock. */
static bool
has_room(const struct cachefile *file)
{
    return file->journal.tail + file->record_bytes_max + sizeof(struct record)
           <= file->journal.bytes_max;
}

/* With file->lock.  Copying costs as much as what was there when the journal was begun, so each byte of it is
 * copied about once more. */
static bool
has_grown(const struct cachefile *file)
{
    uint64_t grown = file->journal.tail - file->journal.snapshot_bytes;
    uint64_t spare = file->config.journal_spare_bytes;

    return grown > (file->journal.snapshot_bytes > spare ? file->journal.snapshot_bytes : spare)
           && file->journal.tail >= file->compact_from_bytes;
}

int
journal_make_room(struct cachefile *file, struct error *why)
{
    bool must, should;
    int rc = 0;

    pthread_mutex_lock(&file->lock);
    must = !has_room(file);
    should = has_grown(file);
    pthread_mutex_unlock(&file->lock);
    if (must)
        pthread_mutex_lock(&file->compact_lock);
    else if (!should || pthread_mutex_trylock(&file->compact_lock) != 0)
        return 0;
    pthread_mutex_lock(&file->lock); /* somebody else may have done it */
    must = !has_room(file);
    should = must || has_grown(file);
    rc = check_failed_locked(file, why);
    pthread_mutex_unlock(&file->lock);
    if (rc == 0 && should)
        rc = journal_compact(file, journal_free_place(file, file->slot_count), file->slot_count,
                             NULL, why);
    if (rc != 0 && !must) {
        pthread_mutex_lock(&file->lock);
        file->compact_from_bytes = file->journal.tail + file->config.journal_spare_bytes;
        pthread_mutex_unlock(&file->lock);
        rc = 0;
    }
    pthread_mutex_unlock(&file->compact_lock);
    return rc;
}

int
journal_enter(struct cachefile *file, struct error *why)
{
    for (;;) {
        int rc = journal_make_room(file, why);
        bool is_roomy;

        if (rc != 0)
            return rc;
        pthread_mutex_lock(&file->journal_lock);
        pthread_mutex_lock(&file->lock);
        is_roomy = has_room(file);
        rc = check_failed_locked(file, why);
        pthread_mutex_unlock(&file->lock);
        if (rc == 0 && is_roomy)
            return 0;
        pthread_mutex_unlock(&file->journal_lock);
        if (rc != 0)
            return rc;
    }
}
