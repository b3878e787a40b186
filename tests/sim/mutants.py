#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Plant bugs in the cache, in the tier and in consistency, one at a time, and show that the simulation finds each.

    mutants.py BUILD_DIRECTORY [--seconds S] [WORD…]

A bug is a piece of text that occurs once in a file, and what replaces it.  The file is compiled as the build does, and
linked before the core's library, from which the right one is then not taken.  WORD picks bugs by their names; else it
is all of them with BUCKETDISK_LONG, and without it those that are found within seconds."""
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import planted


# name: file, what is there, what is put there
BUGS = {
    "a flush does not wait for what is in flight": ("core/cache_writeback.c", """\
    struct flush *flush = cache->unsaved > 0 ? calloc(1, sizeof *flush) : NULL;
""", """\
    struct flush *flush = cache->dirty_count + cache->zero_count > 0 ? calloc(1, sizeof *flush) : NULL;

    if (flush == NULL) {
        waiter->rc = 0;
        queue_push(&todo->ended, waiter);
        return;
    }
"""),
    "a block written to in flight is clean when the flight ends": ("core/cache_writeback.c", """\
        unsaved_end(cache, trip->since, 0, &todo);
    } else {
""", """\
        unsaved_end(cache, trip->since, 0, &todo);
        if (entry->is_dirty) {
            unsaved_end(cache, entry->since, 0, &todo);
            entry_not_dirty(cache, entry);
            set_valid(cache, entry, 0, cache->sectors);
        }
    } else {
"""),
    "no copy on write": ("core/cache.c", """\
    if (frame != FRAME_NONE && frames_is_shared(cache->frames, frame)) {
""", """\
    if (false) {
"""),
    "what was fetched overwrites newer sectors": ("core/cache_fetch.c", """\
        while (sector < cache->sectors && !(valid[sector / 64] >> sector % 64 & 1))
            sector++;
""", """\
        sector = cache->sectors;
"""),
    "a trim crosses the flight of the block": ("core/cache_zeros.c", """\
    if (is_busy(entry))
        zero->pending++;
    else
        zero_take(cache, zero, entry);
""", """\
    if (entry->is_flying)
        return;
    if (is_busy(entry))
        zero->pending++;
    else
        zero_take(cache, zero, entry);
"""),
    "a read fetches what a zero on its way will delete": ("core/cache.c", """\
    if (entry == NULL && (zero != NULL || store_is_zero(cache->next, req->block))) {
""", """\
    if (entry == NULL && store_is_zero(cache->next, req->block)) {
"""),
    "a failed write is forgotten": ("core/cache_writeback.c", """\
    if (!entry->is_dirty) {
        uint32_t dirty_s = entry->dirty_s;
""", """\
    if (!entry->is_dirty)
        return;
    if (false) {
        uint32_t dirty_s = entry->dirty_s;
"""),
    "a failed zero is forgotten": ("core/cache_zeros.c", """\
    if (below->rc != 0) {
        cache->unsaved++;
""", """\
    if (false) {
        cache->unsaved++;
"""),
    "a flush does not wait for zeros": ("core/cache_zeros.c", """\
    unsaved_end(cache, zero->since, below->rc, &todo);
""", """\
    cache->unsaved--;
"""),
    "a stopped writer is not woken": ("core/cache_entries.c", """\
    call_next(&cache->stopped, cache->dirty_count + cache->flight_count < cache->dirty_max, todo);
""", """\
    call_next(&cache->stopped, false, todo);
"""),
    "who was called and goes away calls nobody": ("core/cache_entries.c", """\
        waiter->gate->is_calling = false;
""", """\
        waiter->gate->is_calling = waiter->req->op == STORE_READ;
"""),
    "who evicts waits for a reader with the lock": ("core/cache_entries.c", """\
        entry->next = passed;
        passed = slot;
""", """\
        evict_unchoose(cache->evict, slot);
"""),
    "short of memory, what is due is forgotten": ("core/cache_writeback.c", """\
    if (*next_ns > now + NO_MEMORY_PAUSE_NS)
""", """\
    if (false)
"""),
    "a block fetched in vain is dropped while it is written to": ("core/cache_fetch.c", """\
    if (entry->frame == FRAME_NONE && rc != 0 && !entry->is_changing) {
""", """\
    if (entry->frame == FRAME_NONE && rc != 0) {
"""),
    "a dirty block is evicted": ("core/cache_entries.c", """\
    bool is_evictable = !entry->is_dirty && !entry->is_fetching""", """\
    bool is_evictable = is_complete(cache, entry) && !entry->is_fetching"""),
    "nothing waits for an attempt of unknown outcome": ("core/recent.c", """\
        memory->hold_until_ns = object->unsettled_ns + config->settle_ns;
""", """\
        memory->hold_until_ns = object->unsettled_ns;
"""),
    "nothing waits for what a dead daemon may have sent": ("core/recent.c", """\
    hold_all_until(recent, until_ns);
}
""", """\
    (void)recent, (void)until_ns;
}
"""),
    "a listing makes zeros of what was written meanwhile": ("core/consistency_list.c", """\
        zeromap_change(consistency->map, first, end, BLOCK_UNKNOWN, BLOCK_ZERO);
""", """\
        zeromap_change(consistency->map, first, end, BLOCK_DATA, BLOCK_ZERO);
"""),
    "a read notes an absence that a lost write may end": ("core/consistency.c", """\
    if (object->rc == 0 && !is_stale && object->is_absent && !job->is_unsettled
""", """\
    if (object->rc == 0 && !is_stale && object->is_absent
"""),
    "a check does not mind a lost write": ("core/consistency.c", """\
    if (is_check && job->is_unsettled) {
""", """\
    if (false) {
"""),
    "a check believes an older state": ("core/consistency.c", """\
                  object->rc == 0 && !is_stale
""", """\
                  object->rc == 0
"""),
    "a check takes any object for the version": ("core/consistency.c", """\
           && strcmp(version->tag, tag) == 0;
""", """\
        ;
"""),
    "an older tag is not noticed": ("core/recent.c", """\
    return expected->tag[0] != '\\0' && strcmp(expected->tag, object->tag) != 0;
""", """\
    return false;
"""),
    "a tag that expires makes room before its time": ("core/recent.c", """\
    if (is_full(recent) && !tags_expire(recent) && oldest != NULL""", """\
    if (is_full(recent) && oldest != NULL"""),
    "an answer is judged by what is remembered when it comes": ("core/consistency.c", """\
    bool is_stale = object->rc == 0 && recent_is_stale(&job->expected, object);
""", """\
    bool is_stale;

    pthread_mutex_lock(&consistency->lock);
    recent_expect(consistency->recent, object->block, &job->expected);
    pthread_mutex_unlock(&consistency->lock);
    is_stale = object->rc == 0 && recent_is_stale(&job->expected, object);
"""),
    "a block that is written to again and again is not stored": ("core/cache_writeback.c", """\
        return entry->at_ns + cache->config.write_delay_max_ns;
""", """\
        return UINT64_MAX / 2;
"""),
    "who waits for room gets an error at once": ("core/cache_writeback.c", """\
        until = now - stall_ns;
""", """\
        until = now;
"""),
    "a layer that takes parts is not flushed": ("core/cache_entries.c", """\
    return req->op == STORE_SEEK || (req->op == STORE_FLUSH && cache->config.next_takes_parts);
""", """\
    return req->op == STORE_SEEK || (req->op == STORE_FLUSH && cache->sectors == 0);
"""),
    "a block is sent as whole that lacks sectors": ("core/cache_fetch.c", """\
    bool is_part = op == STORE_WRITE && !is_complete(cache, entry);
""", """\
    bool is_part = false;
"""),
    "the map of a part changes in flight": ("core/cache_fetch.c", """\
        trip->below.valid = memcpy(trip + 1, valid_map(cache, entry), map_bytes);
""", """\
        trip->below.valid = valid_map(cache, entry);
"""),
    "what a block in flight lacks is fetched at once": ("core/cache_fetch.c", """\
    if (entry != NULL && (entry->is_fetching || entry->is_flying))
""", """\
    if (entry != NULL && entry->is_fetching)
"""),
    "who waits for the end of a flight stays for ever": ("core/cache_fetch.c", """\
        } else if (waiter->needs_data && is_data_to_come(cache, entry)) {
""", """\
        } else if (waiter->needs_data && !is_complete(cache, entry)) {
"""),
    "a block that made room for itself is used still": ("core/cache_fetch.c", """\
        entry = entry_of(cache, req->block); /* a clean one may have made room itself */
""", """\
        (void)entry;
"""),
    "what could not be stored and was written to meanwhile is dirty in part": ("core/cache_writeback.c", """\
    entry->dirty_count +=
        sent != NULL ? map_add(dirty, sent, cache->map_words) : map_set(dirty, 0, cache->sectors);
""", """\
    if (entry->dirty_count == 0)
        entry->dirty_count += sent != NULL ? map_add(dirty, sent, cache->map_words)
                                           : map_set(dirty, 0, cache->sectors);
"""),
    "what is handed over may still be fetched": ("core/cache.c", """\
cache->fetch_count == 0
""", """\
cache->ahead_count == 0
"""),
    "blocks are handed over before zeros": ("core/cache_spill.c", """\
    rc = spill_zeros(cache, ops);
    if (rc == 0)
        rc = spill_blocks(cache, ops);
""", """\
    rc = spill_blocks(cache, ops);
    if (rc == 0)
        rc = spill_zeros(cache, ops);
"""),
    "what was not handed over is not stored any more": ("core/cache_spill.c", """\
    cache->is_spilled = false;
""", ""),
    "short of memory, nothing goes any more that nobody uses": ("core/cache.c", """\
        pool_submit(cache->pool, &cache->idle_timer.task);
""", """\
        cache->idle_timer_is_set = false;
"""),
    "a zero does not wait for flights": ("core/tier_sending.c", """\
        if (flight->state == FLIGHT_UNDER_WAY)
            job->held_up++;
""", """\
        if (flight->state == FLIGHT_UNDER_WAY)
            continue;
"""),
    "who is held up goes on out of the list of holders": ("core/tier_sending.c", """\
            list_push(held, job);
    }
}

/* ---- what comes next""", """\
            list_push(held, job), job->hold_next = NULL;
    }
}

/* ---- what comes next"""),
    "what comes while a flight ends is lost": ("core/tier_sending.c", """\
    if (rc == 0 && flight->again_position != 0
""", """\
    if (false && flight->again_position != 0
"""),
    "what joins a flight loses its position": ("core/tier_sending.c", """\
 || flight->again_position > position))
""", """\
))
"""),
    "who waits does not wait for what is held": ("core/tier_sending.c", """\
    tier->next_position++;
}
""", """\
    tier->next_position++;
    tier->head = tier->next_position;
}
"""),
    "what was passed is not looked at again": ("core/tier_sending.c", """\
    if (job->passed < tier->next_position)
""", """\
    if (false)
"""),
    "what is written during a flight is at the end of the queue": ("core/tier_sending.c", """\
    uint64_t position = flight->again_position != 0 ? flight->again_position : tier->tail;
""", """\
    uint64_t position = tier->tail;
"""),
    "what is sent for a zeroed block crosses the zero": ("core/tier_sending.c", """\
        if (holder != NULL) {
""", """\
        if (false) {
"""),
    "what waited for a zero is not sent after it": ("core/tier_sending.c", """\
            flight->state = FLIGHT_WAITS;
            flight->retry_ns = 0;
        }
""", """\
            flight->retry_ns = 0;
        }
"""),
    "a block that could not be sent is not sent again": ("core/tier_sending.c", """\
    flight->retry_ns = clock_now_ns() + FAILED_PAUSE_NS;
""", """\
    flight->retry_ns = UINT64_MAX;
"""),
    "a flush does not hear that sending failed": ("core/tier_sending.c", """\
        if (job->position >= flight->position && job->rc == 0)
""", """\
        if (job->position < flight->position && job->rc == 0)
"""),
    "a newer version in the file is taken for the one that was stored": ("core/tier_sending.c", """\
    if (rc == -ESTALE) /* if this fails, it says less than it could */
        (void)cachefile_rebase(file, flight->block, base, tag, &why);
""", """\
    if (rc == -ESTALE)
        rc = 0;
"""),
    "a block that lacks sectors is sent as it is": ("core/tier_sending.c", """\
    if (info.sectors_valid < tier->sectors && !has_rest) {
""", """\
    if (false && !has_rest) {
"""),
    "promised places in the queue are not kept": ("core/tier_sending.c", """\
    uint64_t needed = tier->tail - tier->head + tier->promised + count;
    uint64_t size = tier->ring_size > 0 ? tier->ring_size : RING_FIRST;
""", """\
    uint64_t needed = tier->tail - tier->head + count;
    uint64_t size = tier->ring_size > 0 ? tier->ring_size : 1;
"""),
    "a flush waits for nothing in flight": ("core/tier_sending.c", """\
    return flight == NULL && tier->head > position;
""", """\
    return tier->head > position;
"""),
    "what a killed daemon left is not sent": ("core/tier.c", """\
        if (rc == 0)
            queue_add(tier, info.block, false);
""", """\
        if (rc == 0)
            queue_unpromise(tier);
"""),
    "what is from another run is not compared": ("core/tier.c", """\
    else if (config->trusts_file || (info.is_fresh && !config->is_reader))
""", """\
    else if (config->trusts_file || !config->is_reader)
"""),
    "a flush of the file does not sync": ("core/tier.c", """\
    rc = cachefile_sync(tier->config.file, &why);
""", """\
    rc = tier->config.durability == TIER_FILE ? 0 : cachefile_sync(tier->config.file, &why);
"""),
    "a flush that waits for the store does not sync": ("core/tier.c", """\
    rc = cachefile_sync(tier->config.file, &why);
""", """\
    rc = tier->config.durability == TIER_STORE ? 0 : cachefile_sync(tier->config.file, &why);
"""),
    "a write that is sync does not sync": ("core/tier_writes.c", """\
    if (was_dirty)
        return false;""", """\
    if (false)
        return false;"""),
    "a file that failed stays where it is": ("core/tier.c", """\
    job_end(job, cachefile_remove(job->tier->config.file, &why));
""", """\
    (void)why;
    job_end(job, 0);
"""),
    "a file that was removed is there again after a power cut": ("core/cachefile.c", """\
        rc = io->sync_name(io, file->path);
""", """\
        rc = 0;
"""),
    "what is dirty is known to be zeros": ("core/tier.c", """\
    return !cachefile_holds_dirty(tier->config.file, block) && store_is_zero(tier->next, block);
""", """\
    return store_is_zero(tier->next, block);
"""),
    "after a crash the file is trusted": ("core/tier.c", """\
    tier->config.trusts_file = config->trusts_file && cachefile_was_closed(config->file);
""", ""),
    "what was suspect after a crash is not any more at the end": ("core/cachefile_open.c", """\
    return (file->was_closed || is_all_fresh) && !file->has_forgotten;
""", """\
    return (file->was_closed || !is_all_fresh || is_all_fresh) && !file->has_forgotten;
"""),
    "what the store lacks is read from it": ("core/tier.c", """\
        sectors_copy(job->tier, job->req->data, job->buffer, job->valid, false);
""", """\
        memcpy(job->req->data, job->buffer, job->req->bytes);
"""),
    "some sectors are completed by what is out of date": ("core/tier_writes.c", """\
    is_fresh = info->is_fresh || tier->config.trusts_file;
""", """\
    is_fresh = true;
"""),
    "some sectors take the place of others that are dirty": ("core/tier_writes.c", """\
    if (req->valid == NULL || (info->state == CACHEFILE_CLEAN && !is_fresh))
""", """\
    if (true)
"""),
    "who is told that the file is full waits, come what may": ("core/tier_writes.c", """\
    if (rc == -ENOBUFS && tier->rooms != job->rooms) {
""", """\
    if (false) {
"""),
    "a file without slots is full": ("core/tier_writes.c", """\
    return stats.dirty == 0 && tier->flying""", """\
    return stats.dirty > stats.slots && tier->flying"""),
    "the file forgets before the store has the zeros": ("core/tier_writes.c", """\
    job->below = (struct store_req){ .op = STORE_ZERO,
""", """\
    (void)cachefile_drop_range(job->tier->config.file, job->first, job->last, NULL);
    job->below = (struct store_req){ .op = STORE_ZERO,
"""),
    "the file does not forget what was zeroed": ("core/tier_writes.c", """\
    int rc = cachefile_drop_range(job->tier->config.file, job->first, job->last, &why);
""", """\
    int rc = 0;
"""),
    "the file does not forget what went past it": ("core/tier_writes.c", """\
    rc = cachefile_drop(job->tier->config.file, job->req->block, 0, &why);
""", """\
    rc = 0;
"""),
    "what goes past the file loses what is in it": ("core/tier_writes.c", """\
    if (cachefile_holds_dirty(file, job->req->block))
        rc = cachefile_get""", """\
    if (false)
        rc = cachefile_get"""),
    "what is sync and cannot be told to the file is done all the same": ("core/tier_writes.c", """\
    if (rc != 0 && tier->config.is_sync)
        end_when_removed(job);
""", """\
    if (false)
        end_when_removed(job);
"""),
}

# These take up to minutes to find: in the long form, or when asked for.
RARE = {
    "a read notes an absence that a lost write may end",
    "a block fetched in vain is dropped while it is written to",
    "who evicts waits for a reader with the lock",
    "what could not be stored and was written to meanwhile is dirty in part",
    "what joins a flight loses its position",
    "what was suspect after a crash is not any more at the end",
    "a write that is sync does not sync",
    "what is sync and cannot be told to the file is done all the same",
}


def search(program, name, seed, seconds):
    files = ["--file"] if BUGS[name][0].startswith(("core/tier", "core/cachefile")) else []
    done = subprocess.run([program, "--seed", str(seed), "--seconds", str(seconds), *files],
                          capture_output=True, text=True)
    if done.returncode == 0:
        return None
    lines = done.stdout.splitlines() + done.stderr.splitlines()
    at = next((i for i, line in enumerate(lines) if line.startswith("FAILED")), None)
    assertion = next((line for line in lines if "Assertion" in line), None)
    if at is None and assertion is None and done.returncode > 0:
        sys.exit(f"{name}: the simulation did not run\n{done.stdout}{done.stderr}")
    why = re.sub(r"^ *[0-9.]+ *", "", lines[at + 1]) if at is not None else f"signal {-done.returncode}"
    return assertion or why


if __name__ == "__main__":
    sys.exit(planted.main(__doc__, BUGS, RARE, lambda bug: "tests/sim/sim", search, seconds=600))
