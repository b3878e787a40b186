#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The file as a file: fallocate, holes, honest sizes, statistics, ownership, names, read-only."""
import os
import stat

import disk

BLOCK = 65536
PUNCH = disk.FALLOC_PUNCH_HOLE | disk.FALLOC_KEEP_SIZE


class File(disk.Story):
    def setUp(self):
        super().setUp()
        self.volume = disk.Disk(self, "16M", "64K")

    def fill(self, blocks=64):
        data = self.random.randbytes(blocks * BLOCK)
        disk.write_at(self.volume.file, 0, data)
        return bytearray(data)

    def test_every_way_to_zero(self):
        """Aligned and unaligned ranges read as zeros afterwards, nothing beside them changes, whole blocks are freed."""
        modes = {"punch": PUNCH, "zero": disk.FALLOC_ZERO_RANGE,
                 "zero keep": disk.FALLOC_ZERO_RANGE | disk.FALLOC_KEEP_SIZE}
        ranges = [(BLOCK, BLOCK), (5 * BLOCK, 7 * BLOCK), (20 * BLOCK + 100, 50), (22 * BLOCK - 1, 2),
                  (30 * BLOCK + 4096, 9 * BLOCK - 5000), (256 * BLOCK - 10, 10)]
        for label, mode in modes.items():
            self.volume = disk.Disk(self, "16M", "64K").mount()
            model = self.fill(256)
            with disk.opened(self.volume.file) as file:
                for offset, length in ranges:
                    with self.subTest(mode=label, offset=offset, length=length):
                        disk.fallocate(file, mode, offset, length)
                        model[offset:offset + length] = bytes(length)
                os.fsync(file)
                self.assertEqual(os.fstat(file).st_size, 256 * BLOCK)
            self.assertEqual(disk.read_at(self.volume.file, 0, len(model)), model)
            self.assertNotIn("00000001", self.volume.store.blocks())
            self.assertIn("00000014", self.volume.store.blocks())
            self.volume.remount()
            self.assertEqual(disk.read_at(self.volume.file, 0, len(model)), model)
            self.volume.umount()

    def test_plain_allocation_changes_nothing(self):
        self.volume.mount()
        model = self.fill(4)
        with disk.opened(self.volume.file) as file:
            for mode in (0, disk.FALLOC_KEEP_SIZE):
                disk.fallocate(file, mode, 1000, 3 * BLOCK)
                disk.fallocate(file, mode, 10 * BLOCK, BLOCK)
        self.assertEqual(disk.read_at(self.volume.file, 0, len(model)), model)
        self.assertEqual(disk.read_at(self.volume.file, 10 * BLOCK, BLOCK), bytes(BLOCK))
        self.volume.umount()

    def test_size_is_fixed(self):
        self.volume.mount()
        with disk.opened(self.volume.file) as file:
            self.assertIn(disk.error_of(os.pwrite, file, b"x", 16 * disk.MIB), ("ENOSPC", "EFBIG", "EIO"))
            self.assertIsNotNone(disk.error_of(disk.fallocate, file, 0, 16 * disk.MIB - 1, 2))
            disk.error_of(os.ftruncate, file, 5)
            self.assertEqual(os.fstat(file).st_size, 16 * disk.MIB)
            self.assertEqual(os.pread(file, 100, 16 * disk.MIB), b"")
            self.assertEqual(len(os.pread(file, 100, 16 * disk.MIB - 60)), 60)
        self.volume.umount()

    def test_seek(self):
        self.volume.mount()
        disk.write_at(self.volume.file, 10 * BLOCK, b"x" * BLOCK)
        disk.write_at(self.volume.file, 20 * BLOCK + 5, b"y")
        for _ in range(2):                      # a daemon that wrote them, then one that must look
            with disk.opened(self.volume.file) as file:
                self.assertEqual(os.lseek(file, BLOCK, os.SEEK_DATA), 10 * BLOCK)
                self.assertEqual(os.lseek(file, 10 * BLOCK + 7, os.SEEK_DATA), 10 * BLOCK + 7)
                self.assertEqual(os.lseek(file, 10 * BLOCK, os.SEEK_HOLE), 11 * BLOCK)
                self.assertEqual(os.lseek(file, 12 * BLOCK, os.SEEK_HOLE), 12 * BLOCK)
                self.assertLessEqual(os.lseek(file, 11 * BLOCK, os.SEEK_DATA), 20 * BLOCK + 5)
                self.assertEqual(disk.error_of(os.lseek, file, 30 * BLOCK, os.SEEK_DATA), "ENXIO")
                self.assertEqual(disk.error_of(os.lseek, file, 16 * disk.MIB, os.SEEK_HOLE), "ENXIO")
                self.assertEqual(os.lseek(file, 255 * BLOCK, os.SEEK_HOLE), 255 * BLOCK)
            self.volume.remount()
        self.volume.umount()

    def test_sparse_copy(self):
        """cp --sparse asks for the holes; a copy must be the same bytes."""
        self.volume.mount()
        for block in (3, 4, 100, 255):
            disk.write_at(self.volume.file, block * BLOCK + 17, self.random.randbytes(1000))
        copy = self.path("copy")
        disk.run("cp", "--sparse=auto", self.volume.file, copy)
        self.assertEqual(copy.read_bytes(), disk.read_at(self.volume.file, 0, 16 * disk.MIB))
        self.assertLess(os.stat(copy).st_blocks * 512, disk.MIB)
        self.volume.umount()

    def test_honest_block_counts(self):
        """st_blocks and statfs say what is stored."""
        self.volume.mount()
        def stored():
            return os.stat(self.volume.file).st_blocks * 512
        empty = stored()
        self.assertLessEqual(empty, 2 * BLOCK)
        self.fill(40)
        self.assertGreaterEqual(stored(), 39 * BLOCK)
        self.assertLessEqual(stored(), 42 * BLOCK)
        self.volume.remount("--listBlocks")     # a matter of course only where it costs nothing
        self.assertGreaterEqual(disk.wait_until("the survey", lambda: stored() >= 39 * BLOCK and stored()), 39 * BLOCK)
        with disk.opened(self.volume.file) as file:
            disk.fallocate(file, PUNCH, 0, 16 * disk.MIB)
            os.fsync(file)
        self.assertLessEqual(stored(), 2 * BLOCK)
        whole = os.statvfs(self.volume.mountpoint)
        self.assertEqual(whole.f_blocks * whole.f_frsize, 16 * disk.MIB)
        self.volume.umount()

    def test_block_zero_always_stays(self):
        """It carries the sizes: zeroed and punched, it is an object still, and the sizes are found."""
        self.volume.mount()
        self.fill(2)
        with disk.opened(self.volume.file) as file:
            disk.fallocate(file, PUNCH, 0, 16 * disk.MIB)
            os.pwrite(file, bytes(BLOCK), 0)
            os.fsync(file)
        self.assertEqual(self.volume.store.blocks(), ["00000000"])
        self.volume.remount()
        self.assertEqual(os.stat(self.volume.file).st_size, 16 * disk.MIB)
        self.assertEqual(disk.read_at(self.volume.file, 0, 2 * BLOCK), bytes(2 * BLOCK))
        self.volume.umount()

    def test_loop_device_zeroes_and_discards(self):
        """A loop device passes write-zeroes as a zero range and a discard as a hole."""
        for direct in (False, True):
            self.volume = disk.Disk(self, "16M", "64K").mount()
            model = self.fill(128)
            loop = disk.Loop(self, self.volume.file, direct)
            for flags, offset, length in ((["-z"], 4096, 5 * BLOCK), ([], 20 * BLOCK, 30 * BLOCK)):
                disk.run("blkdiscard", *flags, "-o", offset, "-l", length, loop.device)
                model[offset:offset + length] = bytes(length)
            with disk.opened(loop.device) as device:
                os.fsync(device)                # blockdev --flushbufs would send no flush
            self.assertEqual(disk.read_at(loop.device, 0, len(model)), model)
            loop.detach()
            self.assertLessEqual(len(self.volume.store.blocks()), 128 - 30 - 4)
            self.volume.remount()
            self.assertEqual(disk.read_at(self.volume.file, 0, len(model)), model)
            self.volume.umount()

    def test_written_zeros_are_not_stored(self):
        self.volume.mount()
        self.fill(8)
        disk.write_at(self.volume.file, BLOCK, bytes(3 * BLOCK))
        self.assertEqual(len(self.volume.store.blocks()), 5)
        self.volume.umount()

    def test_names_modes_and_owners(self):
        self.volume.mount()
        self.assertEqual(stat.S_IMODE(os.stat(self.volume.file).st_mode), 0o600)
        self.volume.remount("--file-mode=0640", "-o", "uid=1234,gid=4321")
        status = os.stat(self.volume.file)
        self.assertEqual((stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid), (0o640, 1234, 4321))
        self.volume.umount()
        named = disk.Disk(self, "1M", "4K", filename="disk.img").mount("--filename=disk.img")
        disk.write_at(named.file, 10, b"named")
        self.assertFalse((named.mountpoint / "file").exists())
        named.umount()

    def test_read_only(self):
        self.volume.mount()
        model = self.fill(4)
        self.volume.umount()
        before = self.volume.store.snapshot()
        for options in (["--readOnly"], ["--read-only"], ["-o", "ro"]):
            with self.subTest(options=options):
                self.volume.mount(*options)
                self.assertEqual(stat.S_IMODE(os.stat(self.volume.file).st_mode), 0o400)
                self.assertIn(disk.error_of(os.open, self.volume.file, os.O_RDWR), ("EROFS", "EACCES"))
                self.assertEqual(disk.read_at(self.volume.file, 0, len(model)), model)
                self.volume.umount()
                self.assertEqual(self.volume.store.snapshot(), before)

    def test_both_spellings(self):
        """--blockSize=V, --block-size V and -o blockSize=V are the same option."""
        for spelling in (["--size=1M", "--blockSize=4K"], ["--size", "1M", "--block-size", "4K"],
                         ["-o", "size=1M,blockSize=4K"],
                         ["-o", "rw,allow_other,nodev,noatime,_netdev,size=1M,block_size=4K"], ["--size=1048576", "--block-size=4096"]):
            with self.subTest(spelling=spelling):
                volume = disk.Disk(self)
                volume.is_new = False
                volume.mount(*spelling)
                self.assertEqual(os.stat(volume.file).st_size, disk.MIB)
                disk.write_at(volume.file, 4095, b"xx")
                self.assertEqual(len(volume.store.blocks()), 2)
                volume.umount()

    def test_a_forced_size_is_the_size_from_then_on(self):
        self.volume.mount()
        model = self.fill(4)
        self.volume.umount()
        bigger = 2 * disk.sizeof(self.volume.size)
        self.volume.mount("--force", f"--size={bigger}")
        self.volume.umount()
        self.volume.size = str(bigger)
        self.volume.mount()
        self.assertEqual(os.stat(self.volume.file).st_size, bigger)
        self.assertEqual(disk.read_at(self.volume.file, 0, len(model)), model)
        self.volume.umount()

    def test_direct_io(self):
        self.volume.mount("--directIO")
        model = self.fill(4)
        self.assertEqual(disk.read_at(self.volume.file, 0, len(model)), model)
        self.volume.umount()

    def test_fsync_reaches_the_store(self):
        """What fsync returned for is in the store, whatever happens to the daemon after it."""
        self.volume.mount()
        model = self.fill(32)
        self.volume.kill9()
        self.volume.mount("--settle-time=1s")
        self.assertEqual(disk.read_at(self.volume.file, 0, len(model)), model)
        self.volume.umount()

    def test_other_prefixes_are_other_volumes(self):
        store = disk.new_store(self)
        one = disk.Disk(self, "1M", "4K", "--prefix=one-", store=store).mount()
        two = disk.Disk(self, "2M", "64K", "--prefix=two-", store=store).mount()
        disk.write_at(one.file, 0, b"one")
        disk.write_at(two.file, 0, b"two")
        one.remount()
        two.remount()
        self.assertEqual((disk.read_at(one.file, 0, 3), disk.read_at(two.file, 0, 3)), (b"one", b"two"))
        self.assertEqual(os.stat(one.file).st_size, disk.MIB)
        one.umount()
        two.umount()


if __name__ == "__main__":
    disk.main()
