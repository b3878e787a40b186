#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Block sizes from 512 bytes to 64 MiB; disks up to 2^32-1 blocks, which cost only what is used of them."""
import os
import time

import disk

MEMORY_MAX = 100 * disk.MIB
BLOCKS_MAX = (1 << 32) - 1


class Sizes(disk.Story):
    def test_every_block_size(self):
        for shift in range(9, 27):
            block = 1 << shift
            with self.subTest(block=block):
                size = max((4 if block < 16 * disk.MIB else 2) * block, disk.MIB)
                # Without a block cache every read fetches whole blocks: let the requests for large ones be large.
                direct = ["--directIO"] if block > disk.MIB else []
                volume = disk.Disk(self, str(size), str(block)).mount(*direct)
                self.assertEqual(os.stat(volume.file).st_size, size)
                # Over two borders, off by a few bytes at both ends; then a hole inside, unaligned as well.
                length = min(2 * block, 3 * disk.MIB) + 777
                model = bytearray(size)
                for offset in (block - 333, size - length):
                    data = self.random.randbytes(length)
                    model[offset:offset + length] = data
                    disk.write_at(volume.file, offset, data)
                hole = (block + 100, min(block, disk.MIB))
                with disk.opened(volume.file) as file:
                    disk.fallocate(file, disk.FALLOC_PUNCH_HOLE | disk.FALLOC_KEEP_SIZE, *hole)
                    os.fsync(file)
                model[hole[0]:sum(hole)] = bytes(hole[1])
                self.assertEqual(disk.read_at(volume.file, 0, size), model, "before the remount")
                volume.remount(*direct)
                self.assertEqual(disk.read_at(volume.file, 0, size), model, "after the remount")
                volume.umount()

    def test_as_many_blocks_as_there_can_be(self):
        for block in (512, 4096, 65536):
            with self.subTest(block=block):
                size = BLOCKS_MAX * block
                volume = disk.Disk(self, str(size), str(block)).mount()
                self.assertEqual(os.stat(volume.file).st_size, size)
                places = {0: b"begin" * 1000, size // 2 - 99: b"middle" * 1000, size - 3000: b"end" * 1000}
                for offset, data in places.items():
                    disk.write_at(volume.file, offset, data)
                self.assertLess(len(volume.store.blocks()), 60)
                self.assertIn("fffffffe", volume.store.blocks())
                with disk.opened(volume.file) as file:
                    self.assertLess(os.lseek(file, disk.MIB, os.SEEK_DATA), size // 2)
                self.check_memory(volume)
                volume.remount()
                for offset, data in places.items():
                    self.assertEqual(disk.read_at(volume.file, offset, len(data)), data)
                self.assertEqual(disk.read_at(volume.file, size // 3, 100000), bytes(100000))
                self.check_memory(volume)
                volume.umount()

    def check_memory(self, volume):
        self.assertLess(volume.resident_bytes(), MEMORY_MAX * (4 if disk.is_sanitized() else 1),
                        "memory must grow with what is used, not with the disk")

    def test_one_block_too_many(self):
        volume = disk.Disk(self, str((BLOCKS_MAX + 1) * 4096), "4K")
        status, text = volume.refused()
        self.assertNotEqual(status, 0)
        self.assertRegex(text, "(?i)block|size")
        self.assertEqual(len(text.strip().splitlines()), 1, text)
        self.assertEqual(volume.store.objects(), [])

    def test_hole_of_a_million_blocks(self):
        """Few of them exist, and only those may cost anything."""
        volume = disk.Disk(self, "8G", "4K").mount()
        kept = {0: b"first", 7 * disk.GIB: b"last"}
        for offset, data in kept.items():
            disk.write_at(volume.file, offset, data)
        for number in range(50):
            disk.write_at(volume.file, disk.GIB + number * 50 * disk.MIB, b"to be punched")
        volume.remount()                        # a daemon that knows nothing about any block
        before = len(volume.store.blocks())
        for mode in (disk.FALLOC_PUNCH_HOLE | disk.FALLOC_KEEP_SIZE, disk.FALLOC_ZERO_RANGE):
            started = time.monotonic()
            with disk.opened(volume.file) as file:
                disk.fallocate(file, mode, disk.MIB + 5, 6 * disk.GIB)
                os.fsync(file)
            self.assertLess(time.monotonic() - started, 10)
        self.assertEqual(len(volume.store.blocks()), before - 50)
        for offset, data in kept.items():
            self.assertEqual(disk.read_at(volume.file, offset, len(data)), data)
        self.assertEqual(disk.read_at(volume.file, disk.GIB, 4096), bytes(4096))
        volume.umount()


if __name__ == "__main__":
    disk.main()
