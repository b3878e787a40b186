#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A store that is gone: who reads what is on this machine, and who waits and for how long."""
import errno
import os
import time

import disk
import outage
from outage import BLOCK, BLOCKS, PAGE, WRITE_AND_SYNC


class While(outage.Outage):
    def test_what_is_on_this_machine_is_read(self):
        """From memory and from the file, whatever was asked about before."""
        volume = self.volume("--cache-size=1M", "--directIO")
        self.outage(volume)
        started = time.monotonic()
        self.assert_is(volume)
        self.assertLess(time.monotonic() - started, 5)
        self.over()
        volume.umount()

    def test_what_is_not_waits_and_then_fails(self):
        volume = self.volume(with_file=False)
        volume.remount("--maxRetryPause=3s", "--directIO")
        self.outage(volume)
        started = time.monotonic()
        self.assertEqual(disk.error_of(disk.read_at, volume.file, 5 * BLOCK, PAGE), "EIO")
        self.assertGreater(time.monotonic() - started, 2)
        self.assertIn("cannot read block 00000005", volume.log_text())
        self.over()
        self.assert_is(volume)
        volume.umount()

    def sync(self, volume, block):
        note = self.path("note")
        return self.start("/usr/bin/python3", "-c", WRITE_AND_SYNC, volume.file, block * BLOCK, note), note

    def test_a_failed_fsync_drops_nothing(self):
        for with_file in (False, True):
            with self.round(with_file=with_file):
                self.cache = self.path("cache")
                volume = self.volume("--maxRetryPause=3s", with_file=with_file, fill=False)
                self.outage(volume)
                process, note = self.sync(volume, 5)
                self.assertEqual(self.reap(process, 30), 0)
                self.assertEqual(note.read_text(), "EIO")
                self.assertEqual(disk.read_at(volume.file, 5 * BLOCK, BLOCK), b"w" * BLOCK)
                self.over()
                disk.wait_until("it to be stored by itself", lambda: "00000005" in volume.store.objects(), 30)
                with disk.opened(volume.file) as file:
                    os.fsync(file)
                self.data[5 * BLOCK:6 * BLOCK] = b"w" * BLOCK
                volume.umount()
                self.assert_stored(volume)

    def test_with_durability_cache_nobody_notices(self):
        volume = self.volume("--durability=cache")
        disk.wait_until("all to be stored", lambda: volume.stats()["unsent_blocks"] == 0, 30)
        self.outage(volume)
        started = time.monotonic()
        for block in range(0, BLOCKS, 3):
            data = self.random.randbytes(BLOCK)
            disk.write_at(volume.file, block * BLOCK, data)
            self.data[block * BLOCK:(block + 1) * BLOCK] = data
        self.assertLess(time.monotonic() - started, 5)
        self.assert_is(volume)
        stats = volume.stats()
        self.assertEqual(stats["unsent_blocks"], 22)
        self.assertGreater(stats["unsent_age_seconds"], 0)
        self.assertEqual(stats["dirty_blocks"], 0)
        self.over()
        disk.wait_until("it to be stored", lambda: volume.stats()["unsent_blocks"] == 0, 60)
        volume.umount()
        self.assert_stored(volume)

    def test_with_durability_cache_writers_wait_when_the_file_is_full(self):
        volume = self.volume("--durability=cache", "--blockCacheSize=20", "--maxRetryPause=3s", "--cache-size=1M", fill=False)
        self.outage(volume)
        errors = []
        for block in range(40):
            try:
                disk.write_at(volume.file, block * BLOCK, b"%02d" % block * (BLOCK // 2))
            except OSError as error:
                errors.append(errno.errorcode[error.errno])
                break
            self.data[block * BLOCK:(block + 1) * BLOCK] = b"%02d" % block * (BLOCK // 2)
        self.assertEqual(errors, ["EIO"])
        self.data[block * BLOCK:(block + 1) * BLOCK] = b"%02d" % block * (BLOCK // 2)
        self.assertGreaterEqual(volume.stats()["unsent_blocks"], 19)
        self.over()
        disk.wait_until("it to be stored", lambda: volume.stats()["unsent_blocks"] + volume.stats()["dirty_blocks"] == 0, 60)
        self.assert_is(volume)
        volume.umount()
        self.assert_stored(volume)


if __name__ == "__main__":
    disk.main()
