#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""ext4, XFS and btrfs on the disk, through buffered and direct loop devices: everything is there on a new daemon."""
import shutil

import disk

MKFS = {"ext4": ["mkfs.ext4", "-q", "-E", "nodiscard"], "xfs": ["mkfs.xfs", "-q", "-K"], "btrfs": ["mkfs.btrfs", "-q", "-K"]}
FSCK = {"ext4": ["e2fsck", "-fn"], "xfs": ["xfs_repair", "-n"], "btrfs": ["btrfs", "check", "--readonly"]}
SIZE = "384M"                           # XFS wants 300 MiB


class Filesystems(disk.Story):
    limit_seconds = 300

    def fio(self, where):
        """Write, read back and verify every block's own checksum: random and sequential, small and large."""
        for block, pattern, size in (("1k", "randwrite", "2m"), ("4k", "randwrite", "8m"), ("68k", "randrw", "8m"),
                                     ("4k", "write", "8m"), ("1m", "write", "16m")):
            disk.run("fio", "--name=verify", f"--directory={where}", f"--rw={pattern}", f"--bs={block}",
                     f"--size={size if not disk.LONG else '64m'}", "--verify=crc32c", "--verify_fatal=1",
                     "--ioengine=libaio", "--iodepth=8", f"--direct={int(block != '1k')}", "--end_fsync=1",
                     f"--randseed={disk.SEED}", "--output-format=terse", "--unlink=1", timeout=600)

    def tell(self, fstype, direct):
        if disk.IS_REMOTE and not disk.LONG and fstype != "ext4":
            self.skipTest("over a server in the long form only")
        volume = disk.Disk(self, SIZE, "64K").mount()
        loop = disk.Loop(self, volume.file, direct)
        disk.run(*MKFS[fstype], loop.device)
        where = self.mount(loop.device, fstype)

        tree = where / "tree"
        if disk.LONG:
            disk.run("cp", "-a", "/usr/include", tree)
        else:
            tree.mkdir()
            disk.make_tree(tree, disk.SEED)
        sums = disk.checksums(tree)
        self.fio(where)

        (where / "big").write_bytes(self.random.randbytes(48 * disk.MIB))
        disk.run("sync", "-f", where)
        full = len(volume.store.blocks())
        (where / "big").unlink()
        disk.run("sync", "-f", where)

        def trimmed():                  # XFS gives the space of a deleted file back some time later
            disk.run("fstrim", where)
            disk.run("sync", "-f", where)
            return len(volume.store.blocks()) < full - 500
        disk.wait_until("the objects of a deleted file of 768 blocks to go", trimmed, pause=1)

        self.umount(where)
        disk.run(*FSCK[fstype], loop.device)
        loop.detach()
        volume.remount()                # a new daemon knows only the store
        loop = disk.Loop(self, volume.file, direct)
        disk.run(*FSCK[fstype], loop.device)
        where = self.mount(loop.device, fstype)
        self.assertEqual(disk.checksums(where / "tree"), sums)
        self.umount(where)
        loop.detach()
        volume.umount()

    def test_ext4_buffered(self):
        self.tell("ext4", False)

    def test_ext4_direct(self):
        self.tell("ext4", True)

    def test_xfs_buffered(self):
        self.tell("xfs", False)

    def test_xfs_direct(self):
        self.tell("xfs", True)

    def test_btrfs_buffered(self):
        self.tell("btrfs", False)

    def test_btrfs_direct(self):
        self.tell("btrfs", True)


if __name__ == "__main__":
    for tool in ("mkfs.ext4", "mkfs.xfs", "mkfs.btrfs", "fio", "fstrim"):
        assert shutil.which(tool), f"{tool} is missing; tests/install all"
    disk.main()
