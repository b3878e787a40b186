#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Plant bugs in what a mount leaves on local disk, and in whose that is, one at a time, and show that a story finds each.

    mutants.py BUILD_DIRECTORY [--seconds S] [WORD…]

As tests/sim/mutants.py: a bug is a piece of text that occurs once in a file, and what replaces it.  WORD picks bugs by their
names; else it is all of them in the long form, and in the short one those that are not RARE."""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import planted

HERE = Path(__file__).resolve().parent
FILE, LEFTOVER = "core/stack_file.c", "core/leftover.c"
READER = "cache_file Crash.test_a_reader_neither_stores_nor_forgets"
OTHER = "cache_file Crash.test_a_reader_and_somebody_else_has_written"
SPILLED = "outage_stop Stopped.test_it_is_spilled"

# name: story that is to find it, file, what is there, what is put there
BUGS = {
    "a new volume takes the file that is there": ("cache_file Whose.test_a_new_volume_of_format_2", FILE, """\
|| info.st_size == 0)
""", """\
|| info.st_size >= 0)
"""),
    "blocks behind the end of the disk are not missed": (
        "cache_file Crash.test_a_disk_made_smaller_loses_nothing_unseen", FILE, """\
        if (info.state == CACHEFILE_DIRTY && info.block >= """, """\
        if (info.state == CACHEFILE_DIRTY && info.block > """),
    "the size of s3backer's cache is not the file's": ("cache_file Size.test_s3backers_option_is_for_the_file", FILE, """\
options_given(stack->options, "block-cache-size")
""", """\
!options_given(stack->options, "block-cache-size")
"""),
    "a reader stores": (READER, FILE, """\
    if (is_the_same && !settings->read_only) {
""", """\
    if (is_the_same) {
"""),
    "a reader may force": (READER, FILE, """\
    if (is_empty || (settings->force && !settings->read_only))
""", """\
    if (is_empty || settings->force)
"""),
    "a reader drops what is not stored": (READER, FILE, """\
            stack->settings.block_cache_discard_dirty_blocks && !stack->settings.read_only,
""", """\
            stack->settings.block_cache_discard_dirty_blocks,
"""),
    "nobody needs to force": (OTHER, FILE, """\
    return refuse(stack, unsaved, &lock, is_the_same, why);
""", """\
    return 0;
"""),
    "a lock that is gone vouches": (OTHER, FILE, """\
    is_the_same = lock.is_there && lock.value != 0
                  && (lock""", """\
    is_the_same = !lock.is_there || lock.value == 0
                  || (lock"""),
    "any lock vouches": ("cache_file Crash.test_somebody_else_has_written", FILE, """\
                  && (lock.value == tokens->now || lock.value == tokens->next);
""", """\
                  && (lock.value != tokens->now || lock.value == tokens->next);
"""),
    "who forced and was interrupted vouches": ("cache_file Crash.test_a_comparison_is_interrupted", FILE, """\
    if (stack->file != NULL && stack->file_is_vouched)
""", """\
    if (stack->file != NULL)
"""),
    "the lock that is about to be taken is not noted": (
        "cache_file Crash.test_it_dies_while_its_lock_is_put", FILE, """\
%08" PRIx32, now, next);
""", """\
%08" PRIx32, now, now);
"""),
    "a cache file of an encrypted volume is plain": ("cache_file Encrypted.test_nothing_of_it_can_be_read_in_the_file", FILE, """\
    if (chain_encrypts(stack->chain) && stack->seal == NULL)
""", """\
    if (false)
"""),
    "a spill file that is damaged is not dropped": (
        "spill Spill.test_one_whose_journal_is_damaged_is_discarded", FILE, """\
    if (discards && (rc == -EUCLEAN || """, """\
    if (discards && ("""),
    "nothing is spilled": (SPILLED, LEFTOVER, """\
    if (!stack->has_cache) /*""", """\
    if (stack->has_cache) /*"""),
    "the status does not say that something is kept": (SPILLED, LEFTOVER, """\
                tell_kept(of, why);
                return LEFTOVER_KEPT;
""", """\
                tell_kept(of, why);
                return LEFTOVER_NONE;
"""),
    "a signal is not heard": (SPILLED, LEFTOVER, """\
        bool is_stop = rc == -EINTR ||""", """\
        bool is_stop = """),
    "what came when the cache file was full is not kept": ("spill Spill.test_beside_a_cache_file", LEFTOVER, """\
        return keep_in_spill(of, stack->file, why);
""", """\
        return 0;
"""),
    "who mounts next is not told": ("outage_stop Stopped.test_who_does_not_find_it_is_told", LEFTOVER, """\
    if (!is_lost(stack))
        locallock_keep""", """\
    if (is_lost(stack))
        locallock_keep"""),
    "it is given up before it could be kept": ("spill Spill.test_nowhere_to_put_it", LEFTOVER, """\
            if (is_lost(stack)) {
                await_giving_up(of);
                return LEFTOVER_GIVEN_UP;
            }
""", """\
            return LEFTOVER_GIVEN_UP;
"""),
}

# Their stories take seconds: in the long form, or when asked for.
RARE = {name for name, (story, *_) in BUGS.items() if story.startswith(("spill", "outage_stop"))} | {
    "a reader drops what is not stored",
    "nobody needs to force",
    "any lock vouches",
    "who forced and was interrupted vouches",
    "the lock that is about to be taken is not noted",
    "a cache file of an encrypted volume is plain",
}


def search(program, name, seed, seconds):
    story, test = BUGS[name][0].split()
    # It finds its plugins beside it.
    build = next(Path(word).resolve() for word in sys.argv[1:] if (Path(word) / "CMakeCache.txt").exists())
    beside = Path(shutil.copy(program, build / f"mutant-{os.getpid()}"))
    try:
        done = subprocess.run(["/usr/bin/python3", "-B", HERE / f"test_{story}.py", test], capture_output=True, text=True,
                              timeout=seconds, env={**os.environ, "BUCKETDISK": str(beside), "BUCKETDISK_SEED": str(seed)})
    except subprocess.TimeoutExpired:
        return "no end"
    finally:
        beside.unlink()
    if done.returncode == 0:
        return None
    if not (failed := re.search(r"^(FAIL|ERROR): ", done.stderr, re.MULTILINE)):
        sys.exit(f"{name}: the story did not run\n{done.stdout}{done.stderr}")
    said = re.findall(r"^\S*(?:Error|Failed): (.*)$", done.stderr[failed.start():], re.MULTILINE)
    return said[0][:150] if said else failed[1]


if __name__ == "__main__":
    sys.exit(planted.main(__doc__, BUGS, RARE, lambda bug: "bucketdisk", search, seconds=120, control_seconds=120))
