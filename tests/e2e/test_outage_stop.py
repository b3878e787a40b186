#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A daemon that is made to stop while the store is gone: what it cannot store is kept, and the next one stores it."""
import re
import signal
import time

import disk
import outage
from outage import BLOCK, PAGE, TOKEN, WRITE_AND_SYNC

SECRET = b"what nobody shall read on local disk "


class Stopped(outage.Outage):
    def test_the_cache_file_keeps_it(self):
        for durability in ("store", "cache"):
            with self.round(durability=durability):
                self.cache = self.path("cache")
                volume = self.volume(f"--durability={durability}")
                disk.wait_until("all to be stored", lambda: volume.stats()["unsent_blocks"] == 0, 30)
                self.outage(volume)
                self.change(5 * BLOCK, self.random.randbytes(3 * BLOCK))
                self.change(20 * BLOCK + PAGE, self.random.randbytes(PAGE))
                self.assertEqual(self.made_to_stop(volume), 1)
                log = volume.log_text()
                self.assertRegex(log, rf"not everything that was written to {volume.mountpoint} is stored; 4 blocks are kept in "
                                      rf"{self.cache}, and the next mount with this cache file stores them")
                self.assertEqual(self.spilled(), [])
                self.over()
                self.assertIn(TOKEN, volume.store.objects(), "the lock vouches for what is in the file")
                volume.mount()
                self.assertIn("has 4 blocks that were not stored; they will be", volume.log_text())
                self.assert_is(volume)
                volume.umount()
                self.assert_stored(volume)

    def test_bucketdisk_umount_says_so(self):
        """Its status is the daemon's."""
        for with_file in (True, False):
            with self.round(with_file=with_file):
                self.cache = self.path("cache")
                volume = self.volume("--maxRetryPause=3s", with_file=with_file)
                self.outage(volume)
                self.change(5 * BLOCK, self.random.randbytes(BLOCK))
                self.detach()
                said = self.path("umount")
                with said.open("w") as out:
                    umount = self.start(disk.BINARY, "umount", volume.mountpoint, stderr=out, env=disk.environment(self))
                if not with_file:       # a disk without a cache file is only given up when somebody says so
                    disk.wait_until("it to say what it waits for", lambda: "SIGTERM makes process" in said.read_text(), 30)
                    self.assertIsNone(umount.poll())
                    volume.daemon.send_signal(signal.SIGTERM)
                self.assertEqual(volume.ended(None), 1)
                self.assertEqual(self.reap(umount), 1)
                self.assertRegex(said.read_text(), f"not everything that was written to {volume.mountpoint} is stored")
                self.over()
                volume.mount()
                self.assert_is(volume)
                volume.umount()
                self.assert_stored(volume)

    def test_it_is_spilled(self):
        volume = self.volume(with_file=False)
        self.outage(volume)
        self.change(5 * BLOCK, self.random.randbytes(3 * BLOCK))
        self.change(20 * BLOCK + PAGE, self.random.randbytes(PAGE))
        self.assertEqual(self.made_to_stop(volume), 1)
        self.assertTrue(self.spilled())
        for path in self.spilled():
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.spills.stat().st_mode & 0o777, 0o700)
        spill = next(path for path in self.spilled() if path.suffix == ".spill")
        self.assertRegex(volume.log_text(), rf"4 blocks .* are in {re.escape(str(spill))} now; the next mount of the volume on this machine")
        self.assertIn(f"is stored; the rest is kept in {spill}, and the next mount on this machine stores it", volume.log_text())
        self.over()
        self.assertIn(TOKEN, volume.store.objects())
        volume.mount()
        self.assertIn(f"storing what {spill} has", volume.log_text())
        self.assertEqual(self.spilled(), [])
        self.assert_is(volume)
        volume.umount()
        self.assert_stored(volume)

    def test_who_does_not_find_it_is_told(self):
        """A mount with other words than before, to which the file is not shown."""
        for with_file in (True, False):
            with self.round(with_file=with_file):
                self.cache = self.path("cache")
                volume = self.volume(with_file=with_file)
                self.outage(volume)
                self.change(5 * BLOCK, self.random.randbytes(3 * BLOCK))
                self.assertEqual(self.made_to_stop(volume), 1)
                self.over()
                other = disk.Disk(self, volume.size, "64K", "--settle-time=1s", f"--spill-directory={self.path('elsewhere')}",
                                  store=volume.store)
                other.is_new = False
                before = volume.store.snapshot()
                place = self.cache if with_file else next(path for path in self.spilled() if path.suffix == ".spill")
                for _ in range(2):
                    status, text = other.refused()
                    self.assertEqual((status, text.count("\n")), (1, 1), text)
                    self.assertIn(f"left what was not stored in {place}: mount with that", text)
                self.assertEqual(volume.store.snapshot(), before)
                volume.mount()
                self.assert_is(volume)
                volume.umount()
                self.assert_stored(volume)
                other.mount()
                other.umount()

    def test_a_volume_that_is_encrypted(self):
        for chain in ("deflate,aes", "zstd,xchacha20-poly1305"):
            with self.round(chain=chain):
                volume = self.volume("--password=correct horse", f"--codec={chain}", with_file=False, fill=False)
                self.outage(volume)
                self.change(5 * BLOCK, (SECRET * 4000)[:2 * BLOCK])
                self.change(20 * BLOCK + PAGE, (SECRET * 4000)[:PAGE])
                self.assertEqual(self.made_to_stop(volume), 1)
                spill = next(path for path in self.spilled() if path.suffix == ".spill").read_bytes()
                for at in range(len(SECRET) - 12):
                    self.assertNotIn(SECRET[at:at + 12], spill)
                self.over()
                volume.options.remove(f"--codec={chain}")
                volume.mount()
                self.assert_is(volume)
                volume.umount()
                self.assertEqual(self.spilled(), [])

    def test_zeroed_ranges(self):
        """Holes, what was written into them, and what was written before, with a file and without."""
        for options in (), ("--durability=store",), ("--durability=cache", "--block-cache-write-delay=60s"):
            with self.round(options=options):
                self.cache = self.path("cache")
                volume = self.volume(*options, with_file=bool(options))
                if "--durability=cache" in options:         # what the file alone has
                    self.data[8 * BLOCK:12 * BLOCK] = self.random.randbytes(4 * BLOCK)
                    disk.write_at(volume.file, 8 * BLOCK, self.data[8 * BLOCK:12 * BLOCK])
                self.outage(volume)
                self.change(4 * BLOCK, zeros=16 * BLOCK)
                self.change(6 * BLOCK, self.random.randbytes(BLOCK))
                self.change(10 * BLOCK + PAGE, self.random.randbytes(PAGE))
                self.change(40 * BLOCK + 5 * PAGE, zeros=8 * BLOCK)
                self.change(60 * BLOCK, self.random.randbytes(BLOCK))
                self.assert_is(volume)
                self.assertEqual(self.made_to_stop(volume), 1, volume.log_text())
                self.over()
                volume.mount()
                self.assert_is(volume)
                self.assertEqual(self.spilled(), [])
                volume.umount()
                self.assert_stored(volume)

    def test_a_disk_that_is_in_use(self):
        """Detached by force: who uses it gets errors, and what it has written is kept all the same."""
        for with_file in (False, True):
            with self.round(with_file=with_file):
                self.cache = self.path("cache")
                volume = self.volume(with_file=with_file)
                self.outage(volume)
                process = self.start("/usr/bin/python3", "-c", WRITE_AND_SYNC, volume.file, 5 * BLOCK, self.path("note"))
                disk.wait_until("it to be written", lambda: volume.stats()["dirty_blocks"] + volume.stats().get("unsent_blocks", 0) > 0, 20)
                time.sleep(0.5)
                self.data[5 * BLOCK:6 * BLOCK] = b"w" * BLOCK
                self.assertEqual(self.made_to_stop(volume), 1)
                self.reap(process)
                self.assertRegex(volume.log_text(), "is detached though it is in use")
                self.over()
                volume.mount()
                self.assert_is(volume)
                volume.umount()
                self.assert_stored(volume)

    def test_the_store_comes_back_while_it_ends(self):
        volume = self.volume(with_file=False)
        self.outage(volume)
        self.change(5 * BLOCK, self.random.randbytes(3 * BLOCK))
        self.detach()
        volume.daemon.send_signal(signal.SIGTERM)
        time.sleep(2)
        self.assertIsNone(volume.daemon.poll())
        self.over()
        volume.ended(0)
        self.assertIn("everything is stored", volume.log_text())
        self.assertEqual(self.spilled(), [])
        self.assert_stored(volume)

    def test_in_the_background(self):
        """From another directory, with names of the caller's."""
        volume = self.volume(with_file=False)
        volume.umount()
        volume.mount_in_background()
        self.outage(volume)
        self.change(5 * BLOCK, self.random.randbytes(3 * BLOCK))
        self.made_to_stop(volume)
        self.assertTrue(self.spilled())
        self.over()
        volume.mount()
        self.assert_is(volume)
        volume.umount()
        self.assert_stored(volume)


if __name__ == "__main__":
    disk.main()
