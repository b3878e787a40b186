#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a daemon without a cache file could not store when it was made to stop: who takes it up, and who does not."""
import os
import re
import signal
import struct
import time

import disk
import faulty
import outage
from outage import BLOCK, PAGE, TOKEN


class Spill(outage.Outage):
    is_cut = True

    def spilt(self, *options):
        """A volume whose daemon was made to stop; the spill file."""
        volume = self.volume(*options, with_file=False)
        self.before = bytes(self.data)
        self.outage(volume)
        self.change(5 * BLOCK, self.random.randbytes(3 * BLOCK))
        self.change(30 * BLOCK, zeros=4 * BLOCK)
        self.assertEqual(self.made_to_stop(volume), 1)
        self.over()
        return volume, next(path for path in self.spilled() if path.suffix == ".spill")

    def interfere(self, volume, *options):
        """Somebody without our spill files mounts it, and writes to block 6."""
        other = disk.Disk(self, volume.size, store=volume.store)
        other.is_new = False
        other.options = ["--settle-time=1s"]
        other.mount(f"--spill-directory={self.path('elsewhere')}", "--block-cache-discard-dirty-blocks")
        data = self.random.randbytes(BLOCK)
        disk.write_at(other.file, 6 * BLOCK, data)
        other.umount()
        return data

    def test_somebody_else_has_written(self):
        volume, spill = self.spilt()
        theirs = self.interfere(volume)
        before = volume.store.snapshot()
        status, text = volume.refused()
        self.assertEqual((status, text.count("\n")), (1, 1), text)
        self.assertRegex(text, f"{re.escape(str(spill))} has what was not stored, but since then the volume's lock is gone")
        self.assertIn("--force", text)
        self.assertIn("--block-cache-discard-dirty-blocks", text)
        self.assertEqual(volume.store.snapshot(), before)
        self.assertIn(spill, self.spilled())
        volume.mount("--block-cache-discard-dirty-blocks")
        self.assertEqual(self.spilled(), [])
        self.data[:] = self.before
        self.data[6 * BLOCK:7 * BLOCK] = theirs
        self.assert_is(volume)
        volume.umount()
        self.assert_stored(volume)

    def test_somebody_else_has_written_and_it_is_forced(self):
        """A spill file does not say what its blocks were based on: each that is dropped is named, zeros, too."""
        volume, _ = self.spilt()
        theirs = self.interfere(volume)
        volume.mount("--force")
        log = volume.log_text()
        for block in (5, 6, 7):
            self.assertIn(f"block {block:08x} on local disk is dropped", log)
        self.assertIn("blocks 0000001e to 00000021, which were zeroed, stay as the store has them", log)
        self.assertIn("--force: 3 blocks on local disk were dropped\n", log)
        self.assertNotIn("storing what", log)
        self.assertNotIn("will be stored", log)
        self.assertEqual(self.spilled(), [])
        self.data[:] = self.before
        self.data[6 * BLOCK:7 * BLOCK] = theirs
        self.assert_is(volume)
        volume.umount()

    def test_once_it_is_stored_nothing_is_missed(self):
        """A daemon that dies later has left nothing behind."""
        volume, _ = self.spilt()
        volume.mount()
        disk.wait_until("the lock to say so", lambda: "durability" not in str(self.server.objects()[TOKEN]), 10)
        volume.kill9()
        volume.mount()
        self.assert_is(volume)
        volume.umount()

    def test_a_reader_leaves_it(self):
        volume, spill = self.spilt()
        status, text = volume.refused("--readOnly")
        self.assertEqual(status, 1)
        self.assertRegex(text, "has what is not stored; mount once without --read-only, which stores it")
        status, text = volume.refused("--readOnly", "--block-cache-discard-dirty-blocks")
        self.assertEqual(status, 1)
        self.assertIn(spill, self.spilled())
        volume.mount()
        self.assert_is(volume)
        volume.umount()

    def test_a_reader_and_somebody_else_has_written(self):
        volume, spill = self.spilt()
        self.interfere(volume)
        status, text = volume.refused("--readOnly")
        self.assertEqual((status, text.count("\n")), (1, 1), text)
        self.assertNotIn("mount once", text)
        self.assertIn("--force without --read-only goes on and drops it", text)
        self.assertIn("--block-cache-discard-dirty-blocks without --read-only drops all", text)
        self.assertIn(spill, self.spilled())

    def test_one_whose_journal_is_damaged_is_discarded(self):
        volume, spill = self.spilt()
        kept = spill.read_bytes()
        page = max((0, 4096), key=lambda at: struct.unpack_from("<Q", kept, at + 24)[0])
        journal = struct.unpack_from("<Q", kept, page + 56)[0]
        with open(spill, "r+b") as file:
            os.pwrite(file.fileno(), bytes([kept[journal + 9] ^ 4]), journal + 9)
        status, text = volume.refused()
        self.assertEqual((status, text.count("\n")), (1, 1), text)
        self.assertRegex(text, "the journal of .* is damaged at byte .*--force .*--block-cache-discard-dirty-blocks")
        self.assertIn(spill, self.spilled())
        volume.mount("--block-cache-discard-dirty-blocks")
        self.assertEqual(self.spilled(), [])
        self.data[:] = self.before
        self.assert_is(volume)
        volume.umount()
        self.assert_stored(volume)

    def test_a_place_where_none_can_be_written(self):
        """It is said when there is time to mend it."""
        plain = self.path("plain")
        plain.write_text("a file")
        volume = disk.Disk(self, "1M", store=faulty.FaultyStore(self.server))
        for where in (plain, plain / "spills"):
            volume.mount(f"--spill-directory={where}")
            self.assertRegex(volume.log_text(), rf"warning: spill files cannot be written in {plain}: Not a directory: if this mount is made to "
                                                "end .*--spill-directory")
            volume.umount()
            volume.mount("--readOnly", f"--spill-directory={where}")
            self.assertNotIn("spill files cannot", volume.log_text())
            volume.umount()
        volume.mount(f"--spill-directory={self.path('not')}/yet/there")
        self.assertNotIn("spill files cannot", volume.log_text())
        volume.umount()

    def test_beside_a_cache_file(self):
        """What the cache file has of the same blocks is older, whether it was stored before or not."""
        volume = self.volume("--durability=cache", "--block-cache-write-delay=60s")
        volume.remount()
        self.data[8 * BLOCK:12 * BLOCK] = self.random.randbytes(4 * BLOCK)
        disk.write_at(volume.file, 8 * BLOCK, self.data[8 * BLOCK:12 * BLOCK])
        self.outage(volume)
        self.change(4 * BLOCK, zeros=16 * BLOCK)
        self.change(10 * BLOCK + PAGE, self.random.randbytes(PAGE))
        self.assertEqual(self.made_to_stop(volume), 1)
        spill = next(path for path in self.spilled() if path.suffix == ".spill")
        self.assertIn(f"4 blocks are kept in {self.cache}, and others in {spill}, and the next mount with this cache file stores them",
                      volume.log_text())
        self.over()
        volume.mount("--blockCacheNoVerify")
        self.assertEqual(self.spilled(), [])
        self.assert_is(volume)
        volume.remount("--blockCacheNoVerify")
        self.assert_is(volume)
        volume.umount()
        self.assert_stored(volume)

    def test_only_zeros(self):
        volume = self.volume(with_file=False)
        self.outage(volume)
        self.change(30 * BLOCK, zeros=4 * BLOCK)
        self.assertEqual(self.made_to_stop(volume), 1)
        self.over()
        volume.mount()
        self.assert_is(volume)
        volume.umount()
        self.assert_stored(volume)

    def test_only_zeros_and_somebody_else(self):
        volume = self.volume(with_file=False)
        before = bytes(self.data)
        self.outage(volume)
        self.change(30 * BLOCK, zeros=4 * BLOCK)
        self.assertEqual(self.made_to_stop(volume), 1)
        self.over()
        self.data[:] = before
        self.data[6 * BLOCK:7 * BLOCK] = self.interfere(volume)
        status, text = volume.refused()
        self.assertEqual(status, 1, text)
        volume.mount("--block-cache-discard-dirty-blocks")
        self.assert_is(volume)
        volume.umount()

    def test_one_that_is_not_complete_is_not_one(self):
        """The machine died while it was written."""
        volume, spill = self.spilt()
        name, volume.is_new = spill.name, False
        volume.mount()
        volume.umount()
        spill.with_suffix(".zeros").write_text("0 64\n")
        spill.write_bytes(b"")
        volume.mount()
        self.assertRegex(volume.log_text(), rf"{re.escape(name)} is not complete.*removed")
        self.assertEqual(self.spilled(), [])
        self.assert_is(volume)
        volume.umount()

    def test_one_that_is_damaged(self):
        volume, spill = self.spilt()
        at = spill.read_bytes().find(self.data[5 * BLOCK:5 * BLOCK + 512])

        def flip():
            with open(spill, "r+b") as file:
                byte = os.pread(file.fileno(), 1, at + 99)[0]
                os.pwrite(file.fileno(), bytes([byte ^ 4]), at + 99)
        flip()
        status, text = volume.refused("--maxRetryPause=1s", seconds=120)
        self.assertEqual(status, 1)
        self.assertRegex(text, "block 00000005 is damaged in the cache file|block 00000005 is damaged in")
        self.assertIn(spill, self.spilled())
        self.assertIn(TOKEN, volume.store.objects())
        flip()
        volume.mount()
        self.assert_is(volume)
        volume.umount()
        self.assert_stored(volume)

    def test_one_that_cannot_be_opened(self):
        volume, spill = self.spilt()
        with open(spill, "r+b") as file:
            for page in (0, 4096):
                os.pwrite(file.fileno(), b"damage", page + 100)
        status, text = volume.refused()
        self.assertEqual(status, 1)
        self.assertIn("move it away", text)
        self.assertIn(spill, self.spilled())
        volume.mount("--block-cache-discard-dirty-blocks")
        self.assertEqual(self.spilled(), [])
        self.data[:] = self.before
        self.assert_is(volume)
        volume.umount()

    def test_the_store_is_still_gone(self):
        """A mount that cannot store it fails, and leaves it."""
        volume, spill = self.spilt()
        self.server.fault("500", op="put", key="^0000000")
        status, text = volume.refused("--maxRetryPause=1s")
        self.assertEqual(status, 1)
        self.assertRegex(text, f"what {re.escape(str(spill))} has cannot be stored: .*; it stays there")
        self.assertIn(spill, self.spilled())
        self.assertIn(TOKEN, volume.store.objects())
        self.server.clear()
        volume.mount()
        self.assert_is(volume)
        volume.umount()
        self.assert_stored(volume)

    def test_interrupted_while_it_is_stored(self):
        volume, spill = self.spilt()
        self.server.fault("500", op="put", key="^0000000")
        status, log = volume.interrupted(lambda: self.server.fired("500"))
        self.assertEqual(status, 1)
        self.assertIn(f"interrupted; {spill} keeps what it has that is not stored", log)
        self.assertIn(spill, self.spilled())
        self.server.clear()
        volume.mount()
        self.assert_is(volume)
        volume.umount()
        self.assert_stored(volume)

    def test_interrupted_while_what_was_zeroed_is_stored(self):
        volume, spill = self.spilt()
        self.server.fault("500", op="delete|delete-objects")
        status, log = volume.interrupted(lambda: self.server.fired("500"))
        self.assertEqual(status, 1)
        self.assertIn(f"interrupted; {spill} keeps what it has that is not stored", log)
        self.server.clear()
        volume.mount()
        self.assert_is(volume)
        volume.umount()
        self.assert_stored(volume)

    def test_killed_while_it_is_stored(self):
        volume, spill = self.spilt()
        self.server.fault("hang", seconds=2, op="put", key="^0000000[567]")
        self.dies_early(volume, 1.5)
        self.assertIn(spill, self.spilled())
        self.server.clear()
        volume.mount()
        self.assert_is(volume)
        volume.umount()
        self.assertEqual(self.spilled(), [])
        self.assert_stored(volume)

    def test_nowhere_to_put_it(self):
        """Then it stays in memory, and the daemon with it, until the store is back."""
        self.spills = self.small_filesystem("1M") / "spills"
        volume = self.volume(with_file=False)
        self.outage(volume)
        self.change(5 * BLOCK, self.random.randbytes(40 * BLOCK))
        self.detach()
        for _ in range(6):
            volume.daemon.send_signal(signal.SIGTERM)
            time.sleep(0.7)
        self.assertIsNone(volume.daemon.poll())
        self.assertRegex(volume.log_text(), "what is not stored cannot be kept on local disk either: .*No space left")
        self.assertEqual(self.spilled(), [])
        self.over()
        volume.ended(0)
        self.assertIn("everything is stored", volume.log_text())
        self.assert_stored(volume)

    def test_another_volumes_is_another(self):
        volume, spill = self.spilt()
        other = disk.Disk(self, "1M", store=faulty.FaultyStore(self.server, prefix="another"))
        other.mount()
        other.umount()
        self.assertIn(spill, self.spilled())
        volume.mount()
        self.assert_is(volume)
        volume.umount()


if __name__ == "__main__":
    disk.main()
