#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""16 TiB: what is empty, or was listed, costs next to nothing to discard, to make a filesystem on, and to trim.

Counts requests, not seconds; with 20 ms for each, 100 of them one after the other would be 2 s."""
import os

import disk

BLOCKS_MAX = (1 << 32) - 1
# 16 TiB as near as each block size comes to it.
SIZES = (("64K", "16T"), ("4K", str(BLOCKS_MAX * 4096)))


class Huge(disk.Story):
    def counted(self, volume, *command):
        """What the command cost: {statistic: its growth}."""
        before = volume.stats()
        disk.run(*command, timeout=300)
        return {name: value - before[name] for name, value in volume.stats().items()
                if isinstance(value, (int, float))}

    def test_discard(self):
        """One page of a listing tells of all of an empty volume."""
        for block, size in SIZES:
            with self.subTest(block=block):
                volume = disk.Disk(self, size, block).mount()
                loop = disk.Loop(self, volume.file)
                cost = self.counted(volume, "blkdiscard", loop.device)
                self.assertLessEqual(cost["object_lists"], 128)     # as many discards as the kernel sends at once
                self.assertLessEqual(cost["object_deletes"], 1)
                cost = self.counted(volume, "blkdiscard", loop.device)
                self.assertEqual((cost["object_lists"], cost["object_deletes"]), (0, 0))
                self.assertEqual(volume.store.blocks(), ["00000000"])
                self.assertLess(volume.resident_bytes(), (400 if disk.is_sanitized() else 100) * disk.MIB)
                loop.detach()
                volume.umount()

    def test_discard_of_what_is_scattered(self):
        """A daemon that knows nothing finds what there is, and deletes that and no more."""
        for hashed in ([], ["--blockHashPrefix"]):
            with self.subTest(hashed=hashed):
                volume = disk.Disk(self, "16T", "64K", *hashed).mount()
                end = disk.sizeof("16T")
                for number in range(300):
                    disk.write_at(volume.file, self.random.randrange(1, end // 65536) * 65536 + 5, b"x")
                volume.remount()
                with disk.opened(volume.file) as file:
                    disk.fallocate(file, disk.FALLOC_PUNCH_HOLE | disk.FALLOC_KEEP_SIZE, 65536, end - 65536)
                self.assertLessEqual(volume.stats()["object_deletes"], 300)
                self.assertEqual(len(volume.store.blocks()), 1)
                volume.umount()

    def test_filesystem(self):
        """mkfs.ext4 discards all; a mount, a file, its removal and fstrim give back what they took."""
        volume = disk.Disk(self, "16T", "64K").mount()
        loop = disk.Loop(self, volume.file)
        cost = self.counted(volume, "mkfs.ext4", "-q", "-E", "lazy_itable_init=1", loop.device)
        self.assertLessEqual(cost["object_lists"], 2)
        self.assertLessEqual(cost["object_deletes"], 1)
        where = self.mount(loop.device, "ext4", "noinit_itable")
        (where / "file").write_bytes(self.random.randbytes(20 * disk.MIB))
        os.sync()
        stored = len(volume.store.blocks())
        (where / "file").unlink()
        disk.run("sync", "-f", where)
        cost = self.counted(volume, "fstrim", where)
        self.assertEqual(cost["object_lists"], 0)
        self.assertGreater(cost["object_deletes"], 300)
        self.assertLess(len(volume.store.blocks()), stored - 300)
        self.umount(where)
        loop.detach()
        volume.remount("--listBlocks")
        disk.wait_until("the survey", lambda: volume.stats()["listed_percent"] == 100)
        self.assertEqual(volume.stats()["data_blocks"], len(volume.store.blocks()))
        loop = disk.Loop(self, volume.file)
        disk.run("fsck.ext4", "-fn", "-E", "no_optimize_extents", loop.device, timeout=300)
        loop.detach()
        volume.umount()


if __name__ == "__main__":
    disk.main()
