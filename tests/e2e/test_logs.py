#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The log of a store that fails for thousands of blocks has a few lines, and they tell of every block."""
import os
import re

import disk

BLOCK, BLOCKS = 4096, 3000
MORE = re.compile(r"bucketdisk: error: (\d+) more like this in \d+ s, the last: (.*)")


class Logs(disk.Story):
    limit_seconds = 60

    def setUp(self):
        super().setUp()
        self.volume = disk.Disk(self, str(BLOCK * BLOCKS), str(BLOCK))

    def told(self, words):
        """How many lines with these words there are in the log, and of how many they tell."""
        lines = [line for line in self.volume.log_text().splitlines() if re.search(words, line)]
        return len(lines), sum(int(more[1]) if (more := MORE.match(line)) else 1 for line in lines)

    def fail_all(self, *options):
        """Every block is read, past every cache, and the store refuses each."""
        self.volume.mount("--directIO", "--blockCacheSize=0", *options, chaos=["denied=1000000", "only=get", "match=00000"])
        with disk.opened(self.volume.file, os.O_RDONLY) as file:
            for block in range(1, BLOCKS):
                self.assertEqual(disk.error_of(os.pread, file, BLOCK, block * BLOCK), "EACCES")

    def write_all(self):
        self.volume.mount()
        disk.write_at(self.volume.file, 0, os.urandom(BLOCK * BLOCKS))
        self.volume.umount()

    def test_a_store_that_fails_for_thousands_of_blocks_gives_a_few_lines(self):
        self.write_all()
        self.fail_all()
        lines, _ = self.told("cannot read block")
        self.assertLess(lines, 12)
        self.assertIn("cannot read block 00000001, object 00000001: ", self.volume.log_text())
        self.volume.umount()
        lines, blocks = self.told("cannot read block")
        self.assertLess(lines, 14)
        self.assertEqual(blocks, BLOCKS - 1)
        self.assertRegex(self.volume.log_text(), f"more like this in .*cannot read block {BLOCKS - 1:08x}, ")
        self.assertEqual(self.volume.log_text().count("everything is stored"), 1)

    def test_who_wants_every_detail_gets_every_line(self):
        self.write_all()
        self.fail_all("--debug")
        self.assertGreaterEqual(self.told("cannot read block")[0], BLOCKS - 1)
        self.assertEqual(self.told("more like this"), (0, 0))
        self.volume.umount()


if __name__ == "__main__":
    disk.main()
