#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Plant bugs in the cache and in consistency, one at a time, and show that the simulation finds each.

    mutants.py BUILD_DIRECTORY [--seconds S] [WORD…]

A bug is a piece of text that occurs once in a file, and what replaces it.  The file is compiled as the build does, and
linked before the core's library, from which the right one is then not taken.  WORD picks bugs by their names; else it
is all of them with BUCKETDISK_LONG, and without it those that are found within seconds."""
import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]

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
    hold_all_until(recent, clock_now_ns() + recent->config.settle_ns);
""", """\
    hold_all_until(recent, clock_now_ns());
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
    "short of memory, nothing goes any more that nobody uses": ("core/cache.c", """\
        pool_submit(cache->pool, &cache->idle_timer.task);
""", """\
        cache->idle_timer_is_set = false;
"""),
}

# These take up to minutes to find: in the long form, or when asked for.
RARE = {
    "a read notes an absence that a lost write may end",
    "a block fetched in vain is dropped while it is written to",
    "who evicts waits for a reader with the lock",
}


def plant(name, directory):
    """Gives the file with the bug in it."""
    path, old, new = BUGS[name]
    text = (TOP / path).read_text()
    if text.count(old) != 1:
        sys.exit(f"{name}: {path} has changed: the text is there {text.count(old)} times")
    planted = directory / Path(path).name
    planted.write_text(text.replace(old, new))
    return path, planted


def run(command, build):
    done = subprocess.run(command, cwd=build, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def compile_with(build, path, planted, directory):
    """The simulation with one other file."""
    commands = json.loads((build / "compile_commands.json").read_text())
    words = next(shlex.split(entry["command"]) for entry in commands if entry["file"] == str(TOP / path))
    source, out = words.index(str(TOP / path)), words.index("-o") + 1
    object_file = str(planted.with_suffix(".o"))
    words[source], words[out] = str(planted), object_file
    words += ["-I" + str(TOP / "core"), "-I" + str((TOP / path).parent), "-Wno-error"]
    run(words, build)

    link = run(["ninja", "-t", "commands", "-s", "tests/sim/sim"], build).strip()
    words = shlex.split(re.sub(r"^: && | && :$", "", link))
    out = words.index("-o") + 1
    program = str(directory / "sim")
    words[out] = program
    words.insert(out + 1, object_file)
    run(words, build)
    return program


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("--seconds", type=float, default=600, help="for each bug, at most")
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    build = options.build.resolve()
    seed = int(os.environ.get("BUCKETDISK_SEED", time.time_ns() // 1000))
    print(f"BUCKETDISK_SEED={seed}", flush=True)
    missed = []
    is_long = bool(os.environ.get("BUCKETDISK_LONG"))
    names = [name for name in BUGS
             if (any(word in name for word in options.words) if options.words else is_long or name not in RARE)]
    for name in names:
        with tempfile.TemporaryDirectory() as directory:
            path, planted = plant(name, Path(directory))
            program = compile_with(build, path, planted, Path(directory))
            began = time.monotonic()
            done = subprocess.run([program, "--seed", str(seed), "--seconds", str(options.seconds)],
                                  capture_output=True, text=True)
            seconds = time.monotonic() - began
        lines = done.stdout.splitlines() + done.stderr.splitlines()
        if done.returncode == 0:
            missed.append(name)
            print(f"MISSED  {seconds:6.1f} s  {name}", flush=True)
            continue
        at = next((i for i, line in enumerate(lines) if line.startswith("FAILED")), None)
        assertion = next((line for line in lines if "Assertion" in line), None)
        if at is None and assertion is None and done.returncode > 0:
            sys.exit(f"{name}: the simulation did not run\n{done.stdout}{done.stderr}")
        why = re.sub(r"^ *[0-9.]+ *", "", lines[at + 1]) if at is not None else f"signal {-done.returncode}"
        print(f"found   {seconds:6.1f} s  {name}: {assertion or why}", flush=True)
    print(f"{len(names) - len(missed)} of {len(names)} bugs were found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
