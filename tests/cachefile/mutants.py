#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Plant bugs in the cache file, one at a time, and show that the tests here find each.

    mutants.py BUILD_DIRECTORY [--seconds S] [WORD…]

As tests/sim/mutants.py: a bug is a piece of text that occurs once in a file, and what replaces it.  WORD picks bugs by their
names; else it is all of them with BUCKETDISK_LONG, and without it those that are found within seconds."""
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import planted

CRASH, DAMAGE, THREADS = "cachefile-crash", "cachefile-damage", "cachefile-threads"

# name: program that is to find it, file, what is there, what is put there
BUGS = {
    "a slot is free before what supersedes it is durable": (CRASH, "core/cachefile_index.c", """\
.sequence <= file->durable) {
""", """\
.sequence <= file->written) {
"""),
    "a sync does not sync": (CRASH, "core/cachefile.c", """\
        pthread_mutex_unlock(&file->lock);
        rc = sync_file(file, why);
        pthread_mutex_lock(&file->lock);
        file->is_syncing = false;
""", """\
        pthread_mutex_unlock(&file->lock);
        rc = 0;
        pthread_mutex_lock(&file->lock);
        file->is_syncing = false;
"""),
    "a failed sync is forgotten": (CRASH, "core/cachefile.c", """\
        file->failed = rc;
""", """\
        file->failed = 0;
"""),
    "a record counts whether or not its data is there": (CRASH, "core/cachefile_open.c", """\
    file->torn++;
    return 1;
""", """\
    file->torn++;
    return 0;
"""),
    "a record says that all is durable that was written": (CRASH, "core/cachefile_journal.c", """\
    record->durable = file->durable;
""", """\
    record->durable = file->written;
"""),
    "what is torn takes the older version with it": (CRASH, "core/cachefile_open.c", """\
    rc = check_data(file, record, durable);
    if (rc != 0)
""", """\
    rc = check_data(file, record, durable);
    if (rc > 0 && old != SLOT_NONE)
        index_remove(file, old);
    if (rc != 0)
"""),
    "what is dropped comes back": (CRASH, "core/cachefile_open.c", """\
        if (record->kind == RECORD_GONE)
            apply_gone(file, record);
""", """\
        if (record->kind == RECORD_GONE)
            rc = 0;
"""),
    "a clean block makes room before recovery trusts its record": (CRASH, "core/cachefile_index.c", """\
        if (entry->sequence > file->marked) {
""", """\
        if (entry->sequence > file->durable) {
"""),
    "who made room is there again when the newcomer is gone": (CRASH, "core/cachefile_open.c", """\
    if (entry->state == SLOT_LIVE && entry->block != record->block && !entry->is_dirty)
""", """\
    if (false)
"""),
    "who made room is not dropped": (CRASH, "core/cachefile.c", """\
    may = file->ghost_count > 0 || file->is_soiled;
""", """\
    may = file->is_soiled;
"""),
    "a record that could not be written, but was, is not overwritten": (CRASH, "core/cachefile.c", """\
    may = file->ghost_count > 0 || file->is_soiled;
""", """\
    may = file->ghost_count > 0;
"""),
    "the super is written before the journal is synced": (CRASH, "core/cachefile_journal.c", """\
    int rc = sync_file(file, why);

    if (rc != 0)
        return rc;
    super.flags""", """\
    int rc = 0;

    if (rc != 0)
        return rc;
    super.flags"""),
    "both supers are written at once": (CRASH, "core/cachefile_journal.c", """\
        } else {
            rc = sync_file(file, why);
        }
""", """\
        } else if (i + 1 == count) {
            rc = sync_file(file, why);
        }
"""),
    "the one good super is overwritten first": (CRASH, "core/cachefile_open.c", """\
    file->super_first = counts[0] ? 0 : 1;
""", """\
    file->super_first = counts[0] ? 1 : 0;
"""),
    "the super that a killed process wrote is taken for durable": (CRASH, "core/cachefile_journal.c", """\
    return write_pages(file, &file->super, file->super_first, SUPER_COUNT, why);
""", """\
    return why == NULL ? write_pages(file, &file->super, file->super_first, SUPER_COUNT, why) : 0;
"""),
    "what recovery has read is not written again": (CRASH, "core/cachefile_data.c", """\
    rc = rc != 0 ? -EBADMSG : file->io->write(file->io, stored, bytes, slot_offset(file, to));
""", """\
    rc = rc != 0      ? -EBADMSG
         : from == to ? 0
                      : file->io->write(file->io, stored, bytes, slot_offset(file, to));
"""),
    "the records of an older journal count": (CRASH, "core/cachefile_journal.c", """\
    random_fill(&copier.to.seed, sizeof copier.to.seed);
    do
        random_fill(&copier.to.mark, sizeof copier.to.mark);
    while (copier.to.mark == 0);
""", """\
    copier.to.seed = 1;
    copier.to.mark = 2;
"""),
    "the new journal lies where the old one is": (CRASH, "core/cachefile_journal.c", """\
        if (!overlaps(&file->journal, journal_place(file, slots, place), bytes))
""", """\
        if (bytes > 0)
"""),
    "what is stored counts for whichever version is there": (CRASH, "core/cachefile.c", """\
 || (version != 0 && file->index[*slot].sequence != version))
""", """\
 || false)
"""),
    "a file that was not finished is one of nobody": (CRASH, "core/cachefile_open.c", """\
    rc = io->write(io, page, SUPER_BYTES, SUPER_BYTES);
""", """\
    rc = io->write(io, page, SUPER_BYTES, 0);
"""),
    "of a smaller file, slots are filled that are needed": (CRASH, "core/cachefile_resize.c", """\
        while (is_kept[target])
            target++;
""", """\
        while (is_kept[target] && target + 1 < slots)
            target++;
        target = target > 0 ? target - 1 : 0;
"""),
    "a put does not see that it takes the place of a dirty block": (CRASH, "core/cachefile.c", """\
    *was_dirty = old != SLOT_NONE && file->index[old].is_dirty;
""", """\
    *was_dirty = old != SLOT_NONE && file->index[old].is_dirty && file->index[old].is_fresh;
"""),
    "a put looks for a dirty block when it has taken its place": (CRASH, "core/cachefile.c", """\
    index_set(file, slot, record->block, record->sequence, at, record->kind == RECORD_DIRTY);
    file->index[slot].is_fresh = true;
""", """\
    index_set(file, slot, record->block, record->sequence, at, record->kind == RECORD_DIRTY);
    file->index[slot].is_fresh = true;
    *was_dirty = file->index[slot].is_dirty;
"""),
    "fresh survives the opening": (CRASH, "core/cachefile_index.c", """\
    entry->is_fresh = false;
""", """\
    entry->is_fresh = !is_dirty;
"""),
    "what was stored is not fresh": (CRASH, "core/cachefile.c", """\
    file->index[slot].is_fresh = true;
    file->dirty_count -= kind == RECORD_CLEAN;
""", """\
    file->dirty_count -= kind == RECORD_CLEAN;
"""),
    "what is based on something else is clean": (CRASH, "core/cachefile.c", """\
        rc = record_again(file, slot, &entry, RECORD_DIRTY, base, tag, why);
""", """\
        rc = record_again(file, slot, &entry, RECORD_CLEAN, base, tag, why);
"""),
    "whichever version is there is confirmed": (CRASH, "core/cachefile.c", """\
    if (slot != SLOT_NONE && file->index[slot].sequence == version && !file->index[slot].is_dirty)
""", """\
    if (slot != SLOT_NONE && version > 0 && !file->index[slot].is_dirty)
"""),
    "a dirty version is confirmed": (CRASH, "core/cachefile.c", """\
    if (slot != SLOT_NONE && file->index[slot].sequence == version && !file->index[slot].is_dirty)
""", """\
    if (slot != SLOT_NONE && file->index[slot].sequence == version)
"""),
    "a range that is dropped forgets a block": (CRASH, "core/cachefile_index.c", """\
    return is_narrow(file, first, last) ? last - first + 1 : file->slot_count;
""", """\
    return is_narrow(file, first, last) ? last - first : file->slot_count;
"""),
    "a huge range that is dropped forgets a slot": (CRASH, "core/cachefile_index.c", """\
    return is_narrow(file, first, last) ? last - first + 1 : file->slot_count;
""", """\
    return is_narrow(file, first, last) ? last - first + 1 : file->slot_count - 1;
"""),
    "of a range that was dropped, the first alone is gone for recovery": (CRASH, "core/cachefile_open.c", """\
    for (uint64_t step = 0; step < steps; step++) {
""", """\
    for (uint64_t step = 0; step < steps && step < 1; step++) {
"""),
    "slots of a dropped range are filled before it is durable": (CRASH, "core/cachefile.c", """\
                index_push_pending(file, slot, gone->sequence);
""", """\
                index_push_free(file, slot);
"""),
    "of a range that was dropped, who made room comes back": (CRASH, "core/cachefile.c", """\
    if (walk_range(file, &record, false) || may_know_more(file)) {
""", """\
    if (walk_range(file, &record, false)) {
"""),
    "a range that could not be dropped is": (CRASH, "core/cachefile.c", """\
        if (rc == 0)
            (void)walk_range(file, &record, true);
""", """\
        (void)walk_range(file, &record, true);
"""),
    "of a block that is sealed in parts, sectors are elsewhere": (CRASH, "core/cachefile_data.c", """\
        if (packed != NULL && (is_valid || is_whole))
""", """\
        if (packed != NULL && is_valid)
"""),
    "of a block that is sealed in parts, only valid sectors are sealed": (CRASH, "core/cachefile_data.c", """\
    return file->config.seal != NULL ? file->config.block_bytes
                                     : (size_t)record->sectors * CACHEFILE_SECTOR_BYTES;
""", """\
    return (size_t)record->sectors * CACHEFILE_SECTOR_BYTES;
"""),
    "what comes while the journal is copied is not copied": (THREADS, "core/cachefile_journal.c", """\
        if (is_live || at >= tail)
""", """\
        if (is_live)
"""),
    "what the index does not know yet is not copied": (THREADS, "core/cachefile_journal.c", """\
        pthread_mutex_lock(&file->journal_lock);
        from = file->journal;
        pthread_mutex_unlock(&file->journal_lock);
""", """\
        pthread_mutex_lock(&file->lock);
        from = file->journal;
        pthread_mutex_unlock(&file->lock);
"""),
    "what is written during a sync is taken for synced": (THREADS, "core/cachefile.c", """\
        if (file->durable < written)
            file->durable = written;
""", """\
        file->durable = file->written;
"""),
    "a block makes room while it is read": (THREADS, "core/cachefile_index.c", """\
 || entry->is_dirty || entry->pins > 0)
""", """\
 || entry->is_dirty)
"""),
    "who reads is not told that the journal is another one": (THREADS, "core/cachefile.c", """\
    if (file->generation != reading->generation) {
""", """\
    if (false) {
"""),
    "data is not checked when it is read": (DAMAGE, "core/cachefile_data.c", """\
    return memcmp(sum, record->data_sum, sizeof sum) == 0 ? 0 : -EBADMSG;
""", """\
    return sum[0] != 0 ? 0 : -EBADMSG;
"""),
    "damage in the journal is taken for its end": (DAMAGE, "core/cachefile_open.c", """\
            found->is_damaged = true;
        if (record->durable""", """\
            found->is_damaged = false;
        if (record->durable"""),
    "a damaged super brings back the journal before": (DAMAGE, "core/cachefile_journal.c", """\
    rc = write_pages(file, super, 0, SUPER_COUNT, why);
""", """\
    rc = write_pages(file, super, super->generation % 2, 1, why);
"""),
}

# These take up to minutes to find: in the long form, or when asked for.
RARE = {
    "who made room is not dropped",
    "a block makes room while it is read",
    "a record that could not be written, but was, is not overwritten",
    "of a range that was dropped, who made room comes back",
}


def search(program, name, seed, seconds):
    done = subprocess.run([program, "--seed", str(seed), "--seconds", str(seconds)], capture_output=True, text=True)
    if done.returncode == 0:
        return None
    lines = done.stdout.splitlines()
    at = next((i for i, line in enumerate(lines) if line.startswith("FAILED")), None)
    if at is None and done.returncode > 0:
        sys.exit(f"{name}: the test did not run\n{done.stdout}{done.stderr}")
    return " ".join(lines[at + 1:-1][-1:]) if at is not None else f"signal {-done.returncode}"


if __name__ == "__main__":
    sys.exit(planted.main(__doc__, BUGS, RARE, lambda bug: f"tests/cachefile/{bug[0]}", search, seconds=300))
