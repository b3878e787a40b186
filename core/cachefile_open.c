/* SPDX-License-Identifier: Apache-2.0 */
/* The cache file opened: whose it is, made if it is new, and what is in it after whatever happened. */
#include "cachefile_impl.h"

#include "base/human.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/util.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define VERSION 1u
#define S3BACKER_SIGNATURE 0xe496f17bu
#define JOURNAL_SPARE_BYTES_DEFAULT (1u << 20)
/* More changes than anybody makes: so the numbers never come to an end. */
#define SEQUENCE_MAX (1ull << 62)
/* The way out where nothing can be made of a file: it may hold the only copy of something. */
#define LOSE "move it away, or give another name, to go on without what it has that was not stored"

static const char magic[16] = "bucketdisk cache"; /* without a NUL */

static bool
super_is_sound(const unsigned char *page)
{
    struct super super;
    uint64_t sum[2];

    memcpy(&super, page, sizeof super);
    super_sum(&super, sum);
    return memcmp(super.magic, magic, sizeof magic) == 0 && super.version == VERSION
           && memcmp(sum, super.sum, sizeof sum) == 0;
}

/* ---- no cache file of ours */

static int
refuse_s3backer(const struct cachefile *file, const unsigned char *page, struct error *why)
{
    uint32_t header_bytes, token;

    memcpy(&header_bytes, page + 4, sizeof header_bytes);
    memcpy(&token, page + 32, sizeof token);
    if (header_bytes == 64 && token == 0)
        return error_set(why, -EINVAL,
                         "%s is a block cache file of s3backer, unmounted in order; move it away, "
                         "or give another name",
                         file->path);
    return error_set(why, -EINVAL,
                     "%s is a block cache file of s3backer, which may hold blocks that were never "
                     "stored: mount once with s3backer --blockCacheRecoverDirtyBlocks and unmount, "
                     "or give another name",
                     file->path);
}

/* Why neither of the two pages will do. */
static int
refuse(const struct cachefile *file, const unsigned char *pages, uint64_t size, struct error *why)
{
    uint32_t signature, version;

    memcpy(&signature, pages, sizeof signature);
    if (signature == S3BACKER_SIGNATURE && size >= 36)
        return refuse_s3backer(file, pages, why);
    for (unsigned i = 0; i < SUPER_COUNT; i++) {
        const unsigned char *page = pages + (size_t)i * SUPER_BYTES;

        if (memcmp(page, magic, sizeof magic) != 0)
            continue;
        memcpy(&version, page + offsetof(struct super, version), sizeof version);
        if (version != VERSION)
            return error_set(why, -EINVAL,
                             "the cache file %s is of format %u, which this program does not read "
                             "(it reads %u): use the program that made it, or give another name",
                             file->path, version, VERSION);
        if (size <= DATA_OFFSET)
            return error_set(
                why, -EINVAL,
                "the cache file %s is too short: of it only %llu bytes are left; " LOSE, file->path,
                (unsigned long long)size);
        return error_set(why, -EUCLEAN, "the beginning of the cache file %s is damaged; " LOSE,
                         file->path);
    }
    return error_set(why, -EINVAL,
                     "%s is no cache file of bucketdisk; move it away, or give another name",
                     file->path);
}

/* ---- ours, but is it the right one? */

static int
check_super(const struct cachefile *file, const struct cachefile_config *config,
            const struct super *super, uint64_t size, struct error *why)
{
    uint64_t end = super->journal_offset + super->journal_bytes_max;
    bool is_sealed = (super->flags & SUPER_SEALED) != 0;

    if (super->identity_bytes != config->identity_bytes
        || memcmp(super->identity, config->identity, config->identity_bytes) != 0)
        return error_set(why, -EINVAL,
                         "the cache file %s belongs to another volume, %.*s; this is %s: give "
                         "another name, or move it away",
                         file->path, (int)CACHEFILE_TEXT_BYTES_MAX, super->volume, config->volume);
    if (super->block_bytes != config->block_bytes)
        return error_set(why, -EINVAL,
                         "the cache file %s is for blocks of %u bytes; the volume's have %u: give "
                         "another name, or move it away",
                         file->path, super->block_bytes, config->block_bytes);
    if (is_sealed != (config->seal != NULL) || super->seal_bytes != config->seal_bytes)
        return error_set(why, -EINVAL,
                         "the blocks in the cache file %s are %s; those of the volume are %s: give "
                         "another name, or move it away",
                         file->path, is_sealed ? "encrypted in one way" : "not encrypted",
                         config->seal == NULL ? "not"
                         : is_sealed          ? "in another"
                                              : "encrypted");
    if (super->slots == 0 || super->slots > CACHEFILE_SLOTS_MAX || end < super->journal_offset
        || super->journal_bytes > super->journal_bytes_max || super->journal_offset % 8 != 0
        || super->journal_offset < DATA_OFFSET || super->journal_bytes_max > INT64_MAX
        || super->note_bytes > CACHEFILE_TEXT_BYTES_MAX)
        return error_set(why, -EUCLEAN, "the beginning of the cache file %s makes no sense; " LOSE,
                         file->path);
    if (end < slot_offset(file, super->slots))
        end = slot_offset(file, super->slots);
    if (size < end)
        return error_set(
            why, -EINVAL,
            "the cache file %s is too short: it has %llu bytes of at least %llu; " LOSE, file->path,
            (unsigned long long)size, (unsigned long long)end);
    return 0;
}

/* ---- a new one */

/* Page 1 first: as long as page 0 is zeros and nothing is behind the pages, it was not finished, and nothing is
 * in it.  So a power cut in the midst of this is no error later, and a file that was cut off can be told from
 * it. */
static int
create(struct cachefile *file, const struct cachefile_config *config, struct error *why)
{
    struct cachefile_io *io = file->io;
    unsigned char *page = calloc(1, SUPER_BYTES);
    struct super super = { .version = VERSION, .bytes = sizeof super, .generation = 1 };
    int rc;

    if (config->slots == 0) {
        free(page);
        return error_set(why, -ENODATA, "the cache file %s is empty", file->path);
    }
    if (page == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    memcpy(super.magic, magic, sizeof magic);
    random_fill(&super.id, sizeof super.id);
    random_fill(&super.seed, sizeof super.seed);
    super.mark = 1;
    super.block_bytes = config->block_bytes;
    super.seal_bytes = config->seal_bytes;
    super.flags = SUPER_CLOSED | (config->seal != NULL ? SUPER_SEALED : 0);
    super.slots = config->slots;
    super.journal_offset = journal_place(file, config->slots, 0);
    super.journal_bytes_max = journal_place_bytes(file, config->slots);
    super.identity_bytes = (uint32_t)config->identity_bytes;
    memcpy(super.identity, config->identity, config->identity_bytes);
    strncpy(super.volume, config->volume, sizeof super.volume - 1);
    super_sum(&super, super.sum);
    memcpy(page, &super, sizeof super);
    rc = io->write(io, page, SUPER_BYTES, SUPER_BYTES);
    if (rc == 0)
        rc = io->sync(io);
    if (rc == 0)
        rc = io->resize(io, journal_place(file, config->slots, 2));
    if (rc == 0)
        rc = io->sync(io);
    if (rc == 0)
        rc = io->write(io, page, SUPER_BYTES, 0);
    if (rc == 0)
        rc = io->sync(io);
    if (rc != 0)
        error_set(why, rc, "cannot write to the cache file %s: %s", file->path, strerror(-rc));
    file->super = super;
    free(page);
    return rc;
}

static int
find_super(struct cachefile *file, const struct cachefile_config *config, struct error *why)
{
    unsigned char *pages = calloc(SUPER_COUNT, SUPER_BYTES);
    bool counts[SUPER_COUNT] = { false };
    uint64_t size;
    int rc = pages == NULL ? -ENOMEM : file->io->size(file->io, &size);

    if (rc == 0)
        rc = file->io->read(file->io, pages, (size_t)SUPER_COUNT * SUPER_BYTES, 0);
    if (rc != 0) {
        error_set(why, rc, "cannot read the cache file %s: %s", file->path, strerror(-rc));
        goto free_pages;
    }
    if (size <= DATA_OFFSET && is_all_zeros(pages, SUPER_BYTES)) {
        rc = create(file, config, why);
        goto free_pages;
    }
    for (unsigned i = 0; i < SUPER_COUNT; i++) {
        struct super super;

        counts[i] = super_is_sound(pages + (size_t)i * SUPER_BYTES);
        memcpy(&super, pages + (size_t)i * SUPER_BYTES, sizeof super);
        if (counts[i] && super.generation > file->super.generation) {
            file->super = super;
            counts[0] = i == 0;
        } else if (super.generation < file->super.generation) {
            counts[i] = false;
        }
    }
    if (!counts[0] && !counts[1]) {
        rc = refuse(file, pages, size, why);
        goto free_pages;
    }
    file->super_first = counts[0] ? 0 : 1;
    rc = check_super(file, config, &file->super, size, why);
free_pages:
    free(pages);
    return rc;
}

/* ---- what is in it */

/* What a first look at the whole journal tells. */
struct survey {
    uint64_t end;      /* of what counts; behind it is a torn end, or nothing */
    uint64_t durable;  /* up to this sequence, all data was synced */
    uint64_t sequence; /* the highest */
    uint64_t damaged_at;
    bool is_damaged;
    bool is_clean_end; /* the last that is known of it is that nothing was dirty */
};

static uint64_t
journal_limit(const struct cachefile *file, uint64_t size)
{
    uint64_t left = size > file->journal.offset ? size - file->journal.offset : 0;

    return left < file->journal.bytes_max ? left : file->journal.bytes_max;
}

static int
survey(struct cachefile *file, uint64_t limit, struct survey *found)
{
    uint64_t gap = UINT64_MAX, before = 0,
             at; /* before: what is behind the gap has higher numbers */
    uint64_t synced_bytes = file->super.journal_bytes;
    const struct record *record;
    struct scan scan;
    int rc = scan_begin(&scan, file, &file->journal, 0, limit);

    memset(found, 0, sizeof *found);
    found->durable = found->sequence = file->super.durable;
    found->is_clean_end = file->super.dirty == 0;
    while (rc == 0 && (rc = scan_next(&scan, &record, &at)) > 0) {
        rc = 0;
        if (gap == UINT64_MAX && scan.gap_at != UINT64_MAX) {
            gap = scan.gap_at;
            before = found->sequence;
        }
        if (gap != UINT64_MAX && (gap < synced_bytes || record->durable > before))
            found->is_damaged = true;
        if (record->durable > found->durable)
            found->durable = record->durable;
        if (record->sequence > found->sequence)
            found->sequence = record->sequence;
        if (at >= synced_bytes)
            found->is_clean_end = record->kind == RECORD_SYNCED && record->block == 0;
    }
    found->end = gap != UINT64_MAX ? gap : scan.pos;
    if (found->end < synced_bytes)
        found->is_damaged = true;
    if (found->is_damaged) {
        found->damaged_at = found->end;
        found->end = scan.pos;
    }
    scan_end(&scan);
    return rc;
}

/* 0: it counts.  1: its data never reached the disk in whole. */
static int
check_data(struct cachefile *file, const struct record *record, uint64_t durable)
{
    int rc =
        record->sequence <= durable ? 0 : data_rewrite(file, record, record->slot, record->slot);

    if (rc != -EBADMSG)
        return rc;
    file->torn++;
    return 1;
}

static void
apply_gone(struct cachefile *file, const struct record *record)
{
    uint64_t steps = index_range_steps(file, record->block, record->last);

    for (uint64_t step = 0; step < steps; step++) {
        uint32_t slot = index_range_find(file, record->block, record->last, step);

        if (slot != SLOT_NONE)
            index_remove(file, slot);
    }
}

static int
apply(struct cachefile *file, const struct record *record, uint64_t at, uint64_t durable)
{
    uint32_t old = index_find(file, record->block);
    struct slot *entry = &file->index[record->slot];
    int rc;

    /* Whose slot it was before made room for it, whether or not it is whole: else it would come back when this one, superseded,
     * is overwritten in its turn. */
    if (entry->state == SLOT_LIVE && entry->block != record->block && !entry->is_dirty)
        index_remove(file, record->slot);
    rc = check_data(file, record, durable);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if (old != SLOT_NONE)
        index_remove(file, old);
    if (entry->state == SLOT_LIVE) {
        if (entry->is_dirty)
            log_each(BD_ERROR, "block %08llx in the cache file %s is lost to another one",
                     (unsigned long long)entry->block, file->path);
        index_remove(file, record->slot);
    }
    index_set(file, record->slot, record->block, record->sequence, at,
              record->kind == RECORD_DIRTY);
    return 0;
}

static int
apply_all(struct cachefile *file, const struct survey *found)
{
    const struct record *record;
    struct scan scan;
    uint64_t at;
    int rc = scan_begin(&scan, file, &file->journal, 0, found->end);

    while (rc == 0 && (rc = scan_next(&scan, &record, &at)) > 0) {
        rc = 0;
        if (record->kind == RECORD_GONE)
            apply_gone(file, record);
        else if (record->kind != RECORD_SYNCED)
            rc = apply(file, record, at, found->durable);
    }
    scan_end(&scan);
    return rc;
}

static void
drop_all(struct cachefile *file, bool drops_clean, bool drops_dirty)
{
    uint32_t dropped = 0;

    for (uint32_t slot = 0; slot < file->slot_count; slot++) {
        struct slot *entry = &file->index[slot];

        if (entry->state != SLOT_LIVE || !(entry->is_dirty ? drops_dirty : drops_clean))
            continue;
        dropped += entry->is_dirty;
        index_remove(file, slot);
    }
    if (dropped > 0)
        log_line(BD_WARNING, "%u %s in %s that %s dropped", dropped,
                 human_form(dropped, "block", "blocks"), file->path,
                 human_form(dropped, "was not stored is", "were not stored are"));
}

static int
judge_damage(struct cachefile *file, const struct survey *found, struct error *why)
{
    const struct cachefile_config *config = &file->config;

    if (!found->is_clean_end && !config->discards_dirty && !config->is_forced)
        return error_set(why, -EUCLEAN,
                         "the journal of the cache file %s is damaged at byte %llu: of what was "
                         "written and not stored yet, something may be lost; --force goes on with "
                         "what can be read, --block-cache-discard-dirty-blocks with nothing of it",
                         file->path,
                         (unsigned long long)(file->journal.offset + found->damaged_at));
    log_line(BD_WARNING, "the journal of the cache file %s is damaged at byte %llu: %s", file->path,
             (unsigned long long)(file->journal.offset + found->damaged_at),
             found->is_clean_end || config->discards_dirty
                 ? "it begins empty"
                 : "only blocks are kept that were not stored yet");
    return 0;
}

int
cachefile_load(struct cachefile *file, struct error *why)
{
    const struct super *super = &file->super;
    struct survey found;
    uint64_t size;
    int rc = index_new(file, super->slots);

    if (rc != 0)
        return error_set(why, rc, "out of memory for the index of the cache file");
    file->journal = (struct journal){ .offset = super->journal_offset,
                                      .bytes_max = super->journal_bytes_max,
                                      .mark = super->mark,
                                      .seed = super->seed,
                                      .snapshot_bytes = super->journal_bytes };
    rc = file->io->size(file->io, &size);
    if (rc == 0)
        rc = survey(file, journal_limit(file, size), &found);
    if (rc == 0 && found.sequence > SEQUENCE_MAX)
        return error_set(why, -EUCLEAN, "the journal of the cache file %s makes no sense; " LOSE,
                         file->path);
    if (rc == 0 && found.is_damaged) {
        rc = judge_damage(file, &found, why);
        if (rc != 0)
            return rc;
    }
    if (rc == 0)
        rc = apply_all(file, &found);
    if (rc != 0)
        return error_set(why, rc, "cannot read the cache file %s: %s", file->path, strerror(-rc));
    drop_all(file, found.is_damaged,
             file->config.discards_dirty || (found.is_damaged && found.is_clean_end));
    for (uint32_t slot = file->slot_count; slot-- > 0;) {
        if (file->index[slot].state != SLOT_LIVE)
            index_push_free(file, slot);
    }
    file->journal.tail = found.end;
    file->sequence = file->written = found.sequence;
    file->durable = found.durable;
    file->noted = file->marked = 0;
    return 0;
}

/* ---- the whole of it */

static int
open_file(struct cachefile *file, const struct cachefile_config *config, struct error *why)
{
    int rc = find_super(file, config, why);

    if (rc != 0)
        return rc;
    file->id = file->super.id;
    file->was_closed = (file->super.flags & SUPER_CLOSED) != 0;
    rc = cachefile_load(file, why);
    if (rc != 0)
        return rc;
    if (config->slots == 0)
        file->config.slots = file->slot_count;
    if (file->dirty_count > file->config.slots)
        return error_set(why, -ENOSPC,
                         "the cache file %s holds %u %s not stored yet, more than the %u it is to "
                         "have room for: mount once with at least as many",
                         file->path, file->dirty_count,
                         human_form(file->dirty_count, "block that is", "blocks that are"),
                         file->config.slots);
    rc = super_settle(file, why);
    if (rc != 0)
        return rc;
    /* What a crash left behind the end must never come to life again: a new journal before anything else. */
    rc = journal_compact(file, journal_free_place(file, file->slot_count), file->slot_count, NULL,
                         why);
    if (rc == 0 && file->slot_count != file->config.slots)
        rc = cachefile_resize(file, why);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&file->journal_lock);
    (void)note_synced(file, NULL);
    pthread_mutex_unlock(&file->journal_lock);
    return 0;
}

static void
file_free(struct cachefile *file)
{
    index_free(file);
    pthread_cond_destroy(&file->moved);
    pthread_cond_destroy(&file->synced);
    pthread_mutex_destroy(&file->lock);
    pthread_mutex_destroy(&file->sync_lock);
    pthread_mutex_destroy(&file->journal_lock);
    pthread_mutex_destroy(&file->compact_lock);
    free(file->scratch);
    free(file->path);
    if (file->io != NULL)
        file->io->close(file->io);
    free(file);
}

int
cachefile_open(const struct cachefile_config *config, struct error *why, struct cachefile **out)
{
    struct cachefile *file = calloc(1, sizeof *file);
    int rc;

    assert(config->block_bytes >= CACHEFILE_SECTOR_BYTES
           && (config->block_bytes & (config->block_bytes - 1)) == 0);
    assert(config->slots <= CACHEFILE_SLOTS_MAX);
    assert(config->identity_bytes <= CACHEFILE_TEXT_BYTES_MAX);
    assert(config->seal_bytes <= CACHEFILE_SEAL_BYTES_MAX);
    assert((config->seal == NULL) == (config->unseal == NULL));
    if (file == NULL) {
        if (config->io != NULL)
            config->io->close(config->io);
        return error_set(why, -ENOMEM, "out of memory");
    }
    pthread_mutex_init(&file->compact_lock, NULL);
    pthread_mutex_init(&file->journal_lock, NULL);
    pthread_mutex_init(&file->sync_lock, NULL);
    pthread_mutex_init(&file->lock, NULL);
    pthread_cond_init(&file->synced, NULL);
    pthread_cond_init(&file->moved, NULL);
    file->io = config->io;
    file->config = *config;
    file->config.volume = file->config.path = NULL;
    file->config.identity = NULL;
    if (file->config.journal_spare_bytes == 0)
        file->config.journal_spare_bytes = JOURNAL_SPARE_BYTES_DEFAULT;
    file->sectors = config->block_bytes / CACHEFILE_SECTOR_BYTES;
    file->map_words = (file->sectors + 63) / 64;
    file->record_bytes_max = (size_t)record_bytes_max(config->block_bytes);
    file->path = strdup(config->path);
    file->scratch = malloc(2 * file->record_bytes_max);
    if (file->path == NULL || file->scratch == NULL) {
        rc = error_set(why, -ENOMEM, "out of memory");
        goto free_file;
    }
    rc = file->io == NULL ? cachefile_io_open(config->path, why, &file->io) : 0;
    if (rc == 0)
        rc = open_file(file, config, why);
    if (rc != 0)
        goto free_file;
    *out = file;
    return 0;

free_file:
    file_free(file);
    return rc;
}

/* Is all that is clean in the file known to be what the store has?  What went to the store right before a crash may have left
 * older versions in it; they stay suspect until each has been asked for. */
static bool
is_true(const struct cachefile *file)
{
    bool is_all_fresh = true;

    for (uint32_t slot = 0; slot < file->slot_count; slot++) {
        const struct slot *entry = &file->index[slot];

        if (entry->state == SLOT_LIVE && !entry->is_dirty && !entry->is_fresh)
            is_all_fresh = false;
    }
    return (file->was_closed || is_all_fresh) && !file->has_forgotten;
}

int
cachefile_close(struct cachefile *file, struct error *why)
{
    int rc;

    if (file == NULL)
        return 0;
    rc = cachefile_sync(file, why);
    if (rc == 0) {
        struct super super = file->super;

        /* From now on, whatever is missing of the journal is known to be missing. */
        pthread_mutex_lock(&file->journal_lock);
        (void)note_synced(file, NULL);
        rc = sync_file(file, why);
        super.journal_bytes = file->journal.tail;
        super.durable = file->sequence;
        super.dirty = file->dirty_count;
        if (is_true(file))
            super.flags |= SUPER_CLOSED;
        if (rc == 0)
            rc = super_write(file, &super, why);
        pthread_mutex_unlock(&file->journal_lock);
    }
    file_free(file);
    return rc;
}
