#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A write that got no answer may be carried out later.  It must not cover a newer one that was acknowledged.

The chaos backend answers "unknown" to a third of all puts and deletes and carries them out seconds later.  All blocks go
through A-B-A, absent-B-absent and present-absent-present, with an fsync after each step.  With --settle-time=0 the same
steps lose data, which shows that the store is as nasty as it should be and that the test sees it."""
import os
import time

import disk

BLOCK, BLOCKS = 4096, 48


def step(number):
    """What the blocks 1 to BLOCKS-1 hold after a step: three kinds of block take their turns."""
    cycle = number % 3
    contents = []
    for block in range(1, BLOCKS):
        kind = block % 3
        letter = {0: "ABA", 1: "-B-", 2: "A-A"}[kind][cycle]
        contents.append(bytes(BLOCK) if letter == "-" else f"{letter} {block:04} ".encode() * (BLOCK // 7))
    return b"".join(content.ljust(BLOCK, b"\0") for content in contents)


def differing(found, expected):
    return [at // BLOCK + 1 for at in range(0, len(expected), BLOCK) if found[at:at + BLOCK] != expected[at:at + BLOCK]]


class Overtake(disk.Story):
    limit_seconds = 200

    def after_late_writes(self, steps, late_by, *options):
        """The blocks that are found different from what was acknowledged last: by a step, or by a new daemon at the end.

        The daemon over chaos is killed: without settling, an unmount may give up the removal of its token."""
        volume = disk.Disk(self, str(BLOCK * BLOCKS), "4K")
        volume.mount()
        disk.write_at(volume.file, BLOCK, step(2))
        volume.umount()
        volume.mount("--directIO", "--initialRetryPause=10", *options,
                     chaos=[f"seed={disk.SEED}", "only=put,delete", "late=333333", f"late-by={late_by}s"])
        with disk.opened(volume.file) as file:
            for number in range(steps):
                expected = step(number)
                self.assertEqual(os.pwrite(file, expected, BLOCK), len(expected))
                os.fsync(file)
                found = differing(os.pread(file, len(expected), BLOCK), expected)
                if found:
                    break
        if not found:
            time.sleep(late_by + 0.5)           # whatever is on its way has arrived
        volume.kill9()
        if found:
            return found
        volume.mount()
        found = differing(disk.read_at(volume.file, BLOCK, len(expected)), expected)
        volume.umount()
        return found

    def test_held_until_settled(self):
        self.assertEqual(self.after_late_writes(disk.pick(9, 60, remote=6), 1, "--settle-time=2s"), [])

    def test_without_settling_the_old_write_wins(self):
        """Without a cache, so that each step sees the store: at the end alone it shows only if the last steps were quick."""
        self.assertNotEqual(self.after_late_writes(6, 4, "--settle-time=0", "--blockCacheSize=0"), [],
                            "no old write overtook a newer one: this test could not fail")


if __name__ == "__main__":
    disk.main()
