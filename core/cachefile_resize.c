/* SPDX-License-Identifier: Apache-2.0 */
/* The cache file made larger or smaller while it is opened.
 *
 * Everything in it is durable by now.  What must go elsewhere is copied to slots that nobody needs; a new
 * journal that knows the new places is made behind all that is there, and from then on the file has its new
 * size; another one goes where it belongs. */
#include "cachefile_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct candidate {
    uint64_t sequence;
    uint32_t slot;
    bool is_dirty;
};

/* Dirty ones, then the newest. */
static int
compare(const void *left, const void *right)
{
    const struct candidate *a = left, *b = right;

    if (a->is_dirty != b->is_dirty)
        return a->is_dirty ? -1 : 1;
    return a->sequence > b->sequence ? -1 : a->sequence < b->sequence;
}

/* Its data, to a slot that is nobody's.  A dirty one that is damaged stays one: what is there does not match,
 * either. */
static int
move_data(struct cachefile *file, uint32_t from, uint32_t to, struct record *record)
{
    const struct slot *entry = &file->index[from];
    int rc = journal_read(file, &file->journal, entry->at, entry->sequence, record);

    return rc == 0 ? data_rewrite(file, record, from, to) : rc;
}

/* Which of them stay, and where: those who can stay where they are do. */
static int
plan(struct cachefile *file, uint32_t slots, uint32_t *moved)
{
    struct candidate *all = malloc(((size_t)file->used_count + 1) * sizeof *all);
    struct record *record = malloc(file->record_bytes_max);
    unsigned char *is_kept = calloc(slots, 1);
    uint32_t count = 0, target = 0;
    int rc = all == NULL || record == NULL || is_kept == NULL ? -ENOMEM : 0;

    for (uint32_t slot = 0; rc == 0 && slot < file->slot_count; slot++) {
        const struct slot *entry = &file->index[slot];

        moved[slot] = SLOT_NONE;
        if (entry->state == SLOT_LIVE)
            all[count++] = (struct candidate){ entry->sequence, slot, entry->is_dirty };
    }
    if (rc == 0) {
        qsort(all, count, sizeof *all, compare);
        count = count < slots ? count : slots;
    }
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        if (all[i].slot < slots) {
            moved[all[i].slot] = all[i].slot;
            is_kept[all[i].slot] = 1;
        }
    }
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        if (all[i].slot < slots)
            continue;
        while (is_kept[target])
            target++;
        rc = move_data(file, all[i].slot, target, record);
        if (rc == 0 || (rc == -EBADMSG && all[i].is_dirty))
            moved[all[i].slot] = target++;
        if (rc == -EBADMSG)
            rc = 0;
    }
    free(is_kept);
    free(record);
    free(all);
    return rc;
}

static int
reload(struct cachefile *file, struct error *why)
{
    index_free(file);
    return cachefile_load(file, why);
}

int
cachefile_resize(struct cachefile *file, struct error *why)
{
    uint32_t slots = file->config.slots;
    uint32_t *moved = NULL;
    uint64_t size, behind = journal_place(file, slots, 2);
    int rc = file->io->size(file->io, &size);

    if (rc == 0 && slots < file->slot_count) {
        moved = malloc((size_t)file->slot_count * sizeof *moved);
        rc = moved == NULL ? -ENOMEM : plan(file, slots, moved);
    }
    if (rc != 0) {
        error_set(why, rc, "cannot change the size of the cache file %s: %s", file->path,
                  strerror(-rc));
        goto free_moved;
    }
    if (behind < size)
        behind = (size + AREA_ALIGN - 1) / AREA_ALIGN * AREA_ALIGN;
    rc = journal_compact(file, behind, slots, moved, why);
    if (rc == 0)
        rc = reload(file, why);
    if (rc == 0)
        rc = journal_compact(file, journal_place(file, slots, 0), slots, NULL, why);
    /* If this is lost, or fails, the file is only longer than it need be. */
    if (rc == 0)
        (void)file->io->resize(file->io, journal_place(file, slots, 2));
free_moved:
    free(moved);
    return rc;
}
