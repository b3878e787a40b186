#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The block cache as a user sees it: what waits for the store and what does not, what an fsync tells, what is fetched."""
import os
import re
import threading
import time

import disk
import faulty

BLOCK = 64 * disk.KIB
PAGE = 4096
QUICK = ("--initialRetryPause=20ms", "--settle-time=1s")


class Timed:
    """How long the body took, in seconds."""

    def __enter__(self):
        self.started = time.monotonic()
        return self

    def __exit__(self, *_):
        self.seconds = time.monotonic() - self.started


class Writing(disk.Story):
    def setUp(self):
        super().setUp()
        self.server = faulty.FaultyServer(self)

    def volume(self, *options, size="4M"):
        return disk.Disk(self, size, "64K", *QUICK, *options, store=faulty.FaultyStore(self.server)).mount()

    def gets(self):
        return [request["key"] for request in self.server.requests(op="get") if re.fullmatch("[0-9a-f]{8}", request["key"])]

    def stored(self, *keys):
        """Which of these are there."""
        return [key for key in keys if key in self.server.objects()]

    def test_writes_do_not_wait_and_fsync_does(self):
        volume = self.volume()
        data = self.random.randbytes(3 * BLOCK)
        self.server.forget()
        self.server.fault("hang", seconds=3, op="put", count=1)
        with disk.opened(volume.file) as file:
            with Timed() as all_of_it:
                os.pwrite(file, data, 5 * BLOCK)
                os.pwrite(file, data[:PAGE], 20 * BLOCK)
                accepted = self.stored("00000005", "00000014")
                os.fsync(file)
        self.assertNotEqual(accepted, ["00000005", "00000014"], "the writes waited for the store")
        self.assertGreater(all_of_it.seconds, 1.5)
        self.assertEqual(self.stored("00000005", "00000014"), ["00000005", "00000014"])
        self.assertEqual(self.server.get("00000006"), data[BLOCK:2 * BLOCK])
        self.assertEqual(self.server.get("00000014")[:PAGE], data[:PAGE])
        volume.umount()

    def test_a_written_block_can_be_read_before_it_is_stored(self):
        volume = self.volume()
        data = self.random.randbytes(BLOCK)
        self.server.fault("hang", seconds=2, op="put", count=1)
        with disk.opened(volume.file) as file:
            os.pwrite(file, data, 5 * BLOCK)
            self.assertEqual(disk.read_at(volume.file, 5 * BLOCK, BLOCK), data)
            os.pwrite(file, data[::-1], 5 * BLOCK)          # while the first version is on its way
            self.assertEqual(disk.read_at(volume.file, 5 * BLOCK, BLOCK), data[::-1])
            os.fsync(file)
        self.assertEqual(self.server.get("00000005"), data[::-1])
        volume.umount()

    def test_parts_of_absent_blocks_are_written_without_a_read(self):
        """A new volume is known to be empty."""
        volume = self.volume()
        self.server.forget()
        for block in self.random.sample(range(1, 64), 30):
            disk.write_at(volume.file, block * BLOCK + self.random.randrange(15) * PAGE, self.random.randbytes(PAGE))
        self.assertEqual(self.gets(), [])
        volume.umount()

    def test_the_rest_of_a_block_is_only_fetched_if_it_is_needed(self):
        volume = self.volume()
        data = self.random.randbytes(2 * BLOCK)
        disk.write_at(volume.file, 4 * BLOCK, data)
        volume.remount()
        self.server.forget()
        with disk.opened(volume.file) as file:
            for at in self.random.sample(range(16), 16):        # all of block 4, one page of block 5
                os.pwrite(file, data[at * PAGE:][:PAGE], 4 * BLOCK + at * PAGE)
            os.pwrite(file, data[:PAGE], 5 * BLOCK)
            os.fsync(file)
        self.assertEqual(self.gets(), ["00000005"])
        self.assertEqual(self.server.get("00000005"), data[:PAGE] + data[BLOCK + PAGE:])
        volume.umount()

    def test_many_writes_of_one_block_are_stored_once(self):
        volume = self.volume("--blockCacheWriteDelay=60s")
        self.server.forget()
        with disk.opened(volume.file) as file:
            for _ in range(100):
                os.pwrite(file, self.random.randbytes(PAGE), 7 * BLOCK)
            os.fsync(file)
        self.assertEqual(len(self.server.requests(op="put", key="00000007")), 1)
        volume.umount()

    def test_written_through(self):
        volume = self.volume("--blockCacheSync")
        data = self.random.randbytes(BLOCK)
        self.server.fault("hang", seconds=2, op="put", count=1)
        with disk.opened(volume.file) as file:
            with Timed() as written:
                os.pwrite(file, data, 9 * BLOCK)
            self.assertEqual(self.server.get("00000009"), data)
            os.pwrite(file, data[:PAGE], 10 * BLOCK)
            self.assertEqual(self.server.get("0000000a")[:PAGE], data[:PAGE])
        self.assertGreater(written.seconds, 1)
        volume.umount()

    def test_a_failed_write_is_told_once_and_tried_again(self):
        volume = self.volume("--maxRetryPause=500ms")
        data = self.random.randbytes(2 * BLOCK)
        disk.write_at(volume.file, 0, data)
        before = volume.store.snapshot()
        self.server.fault("500", op="put")
        with disk.opened(volume.file) as file:
            os.pwrite(file, data, 5 * BLOCK)
            self.assertEqual(disk.error_of(os.fsync, file), "EIO")
            self.assertEqual(volume.store.snapshot(), before)
            self.assertEqual(disk.read_at(volume.file, 5 * BLOCK, 2 * BLOCK), data, "what could not be stored is still there")
            self.assertEqual(disk.error_of(os.fsync, file), "EIO", "each fsync tries again")
            self.server.clear()
            os.fsync(file)
            self.assertEqual(self.server.get("00000006"), data[BLOCK:])
            self.server.fault("500", op="put")
            failures = volume.stats()["write_back_failures"]
            os.pwrite(file, data[:BLOCK], 9 * BLOCK)
            disk.wait_until("the write to fail", lambda: volume.stats()["write_back_failures"] > failures, 20)
            self.server.clear()
            disk.wait_until("it to be stored by itself", lambda: "00000009" in volume.store.objects(), 20)
        volume.umount()

    def test_a_damaged_rest(self):
        """An incomplete block whose stored rest cannot be read fails each fsync by name; others are stored; whole, it is well."""
        volume = self.volume()
        data = self.random.randbytes(BLOCK)
        disk.write_at(volume.file, 3 * BLOCK, data)
        volume.remount("--maxRetryPause=500ms")
        self.server.put("00000003", data[:1000])
        with disk.opened(volume.file) as file:
            os.pwrite(file, data[:PAGE], 3 * BLOCK)
            os.pwrite(file, data, 8 * BLOCK)
            self.assertEqual(disk.error_of(os.fsync, file), "EIO")
            self.assertEqual(self.server.get("00000008"), data)
            self.assertEqual(disk.error_of(os.fsync, file), "EIO")
            self.assertRegex(volume.log_text(), "cannot read block 00000003")
            os.pwrite(file, data, 3 * BLOCK)
            os.fsync(file)
        self.assertEqual(self.server.get("00000003"), data)
        volume.umount()

    def test_unmounted_without_a_store(self):
        """The daemon stays until all is stored."""
        volume = self.volume("--maxRetryPause=1s")
        data = self.random.randbytes(4 * BLOCK)
        loop = disk.Loop(self, volume.file)         # whose closing does not flush
        self.server.fault("500", op="put")
        with disk.opened(loop.device) as device:
            os.pwrite(device, data, 5 * BLOCK)
        loop.detach()
        leaving = threading.Thread(target=volume.umount)
        leaving.start()
        disk.wait_until("the daemon to say why it stays", lambda: "not everything could be stored" in volume.log_text(), 60)
        self.server.clear()
        leaving.join()
        self.assertEqual(b"".join(self.server.get(f"{block:08x}") for block in range(5, 9)), data)
        self.assertNotIn("s3backer-mounted", volume.store.objects())

    def test_a_trim_is_not_overtaken(self):
        volume = self.volume()
        data = self.random.randbytes(BLOCK)
        disk.write_at(volume.file, 5 * BLOCK, data + data)
        self.server.fault("hang", seconds=2, op="put", count=1)
        with disk.opened(volume.file) as file:
            os.pwrite(file, data[::-1], 5 * BLOCK)
            disk.wait_until("it to be on its way", lambda: volume.stats()["requests_in_flight"] > 0, 20)
            disk.fallocate(file, disk.FALLOC_PUNCH_HOLE | disk.FALLOC_KEEP_SIZE, 5 * BLOCK, 2 * BLOCK)
            self.assertEqual(disk.read_at(volume.file, 5 * BLOCK, 2 * BLOCK), bytes(2 * BLOCK))
            os.pwrite(file, data, 6 * BLOCK)
            os.fsync(file)
        self.assertNotIn("00000005", volume.store.objects())
        self.assertEqual(self.server.get("00000006"), data)
        volume.umount()


class Reading(disk.Story):
    BLOCKS = 512

    def volume(self, *options, **more):
        volume = disk.Disk(self, self.BLOCKS * BLOCK, "64K")
        volume.mount()
        disk.write_at(volume.file, 0, self.random.randbytes(self.BLOCKS * BLOCK))
        volume.umount()
        return volume.mount(*options, **more)

    def test_a_stream_is_read_ahead(self):
        volume = self.volume(chaos=["latency=50ms"])
        disk.read_at(volume.file, 0, self.BLOCKS * BLOCK)
        stats = volume.stats()
        self.assertGreater(stats["read_ahead_used"], self.BLOCKS * 0.9)
        self.assertLess(stats["read_ahead_wasted"], 10)
        self.assertLess(stats["object_gets"], self.BLOCKS * 1.05)
        self.assertGreater(stats["requests_in_flight_max"], 16)
        volume.umount()

    def test_several_streams(self):
        """By turns, so that each of them looks like no stream to who follows one alone."""
        volume = self.volume("--directIO", chaos=["latency=1ms"])
        part = self.BLOCKS // 4
        for block in range(part):
            for at in range(4):
                disk.read_at(volume.file, (at * part + block) * BLOCK, BLOCK)
        self.assertGreater(volume.stats()["read_ahead_used"], self.BLOCKS * 0.7)
        volume.umount()

    def test_what_is_read_at_random_is_not(self):
        volume = self.volume("--directIO")
        for block in self.random.sample(range(0, self.BLOCKS, 4), 100):
            disk.read_at(volume.file, block * BLOCK, PAGE)
        self.assertLess(volume.stats()["read_ahead_blocks"], 20)
        volume.umount()

    def test_bounds(self):
        volume = self.volume("--readAhead=0", "--directIO")
        disk.read_at(volume.file, 0, self.BLOCKS * BLOCK)
        self.assertEqual(volume.stats()["read_ahead_blocks"], 0)
        volume.umount()
        volume.mount("--readAhead=3", "--readAheadTrigger=10", "--directIO", chaos=["latency=20ms"])
        for block in range(9):
            disk.read_at(volume.file, block * BLOCK, PAGE)
        self.assertEqual(volume.stats()["read_ahead_blocks"], 0)
        for block in range(9, 40):
            disk.read_at(volume.file, block * BLOCK, PAGE)
        self.assertGreater(volume.stats()["read_ahead_used"], 20)
        self.assertLessEqual(volume.stats()["requests_in_flight_max"], 4)
        volume.umount()

    def test_what_was_read_stays(self):
        volume = self.volume("--directIO")
        first = disk.read_at(volume.file, 0, 32 * BLOCK)
        disk.wait_until("what is fetched ahead", lambda: volume.stats()["requests_in_flight"] == 0, 20)
        gets = volume.stats()["object_gets"]
        self.assertEqual(disk.read_at(volume.file, 0, 32 * BLOCK), first)
        self.assertEqual(volume.stats()["object_gets"], gets)
        self.assertGreaterEqual(volume.stats()["cache_read_hits"], 32)
        volume.umount()

    def test_memory_is_bounded(self):
        volume = self.volume("--cache-size=4M")
        disk.read_at(volume.file, 0, self.BLOCKS * BLOCK)
        resident = disk.status_of(volume.daemon.pid, "VmRSS")
        for _ in range(3):
            disk.read_at(volume.file, 0, self.BLOCKS * BLOCK)
            disk.write_at(volume.file, 0, self.random.randbytes(self.BLOCKS * BLOCK))
        if not disk.is_sanitized():
            self.assertLess(disk.status_of(volume.daemon.pid, "VmRSS") - resident, 20 * disk.KIB, "KiB")
        volume.umount()

    def test_beside_a_writer_it_forgets(self):
        """A reader without the right to write sees what is written, if not at once."""
        volume = self.volume()
        with disk.opened(volume.file) as file:
            disk.fallocate(file, disk.FALLOC_PUNCH_HOLE | disk.FALLOC_KEEP_SIZE, 8 * BLOCK, BLOCK)
            os.fsync(file)
        reader = disk.Disk(self, store=volume.store)
        reader.is_new = False
        reader.mount("--readOnly", "--blockCacheTimeout=200ms", "--directIO")
        old = disk.read_at(reader.file, 7 * BLOCK, 2 * BLOCK)
        self.assertEqual(old[BLOCK:], bytes(BLOCK))
        self.assertEqual(old, disk.read_at(volume.file, 7 * BLOCK, 2 * BLOCK))
        disk.write_at(volume.file, 7 * BLOCK, old[::-1])
        disk.wait_until("the reader to see it", lambda: disk.read_at(reader.file, 7 * BLOCK, 2 * BLOCK) == old[::-1], 20)
        reader.umount()
        volume.umount()


if __name__ == "__main__":
    disk.main()
