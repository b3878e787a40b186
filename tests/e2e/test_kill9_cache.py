#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The daemon dies by SIGKILL at random instants under a busy filesystem: with --durability=store the store alone has whatever
fsync acknowledged, with --durability=cache the store and the cache file have it.

  BUCKETDISK_ROUNDS=100   so many for each filesystem, in place of the form's own number"""
import os
import time

import disk
import writing

MKFS = {"ext4": ["mkfs.ext4", "-q", "-b", "4096", "-E", "nodiscard"], "xfs": ["mkfs.xfs", "-q", "-K"], "btrfs": ["mkfs.btrfs", "-q", "-K"]}
FSCK = {"ext4": ["e2fsck", "-fn"], "xfs": ["xfs_repair", "-n"], "btrfs": ["btrfs", "check", "--readonly"]}
SIZE = "320M"                           # XFS wants 300 MiB
ROUNDS = {fstype: int(os.environ.get("BUCKETDISK_ROUNDS", "0")) or disk.pick(short, 50)
          for fstype, short in (("ext4", 2), ("xfs", 1), ("btrfs", 1))}
CHAOS = ["lost=20000", "late=20000", "late-by=1s", "retry=50000", "latency=2ms", "jitter=2ms"]


class Kill9Cache(disk.Story):
    limit_seconds = 100 * max(2, max(ROUNDS.values()))

    @staticmethod
    def check(fstype, device):
        """btrfs lets go of its device some time after umount has returned."""
        def checked():
            done = disk.run(*FSCK[fstype], device, check=False)
            return None if "Device or resource busy" in done.stderr else done
        done = disk.wait_until("the device to be free", checked, 20, pause=0.5)
        if done.returncode != 0:
            raise AssertionError(done.stdout + done.stderr)

    def look(self, volume, fstype, acknowledged, fsck=True):
        loop = disk.Loop(self, volume.file, True)
        where = self.mount(loop.device, fstype)                 # replays the journal
        acknowledged.check(self, where)
        self.umount(where)
        if fsck:
            self.check(fstype, loop.device)
        loop.detach()

    @staticmethod
    def make_room(where, acknowledged):
        space = os.statvfs(where)
        if space.f_bavail < space.f_blocks * 0.6:
            for name in acknowledged.files:
                (where / name).unlink()
            acknowledged.files.clear()

    def rounds(self, fstype, durability):
        cache = self.path("cache")
        plain = disk.Disk(self, SIZE, "64K", "--settle-time=2s")
        plain.mount()
        loop = disk.Loop(self, plain.file, True)
        disk.run(*MKFS[fstype], loop.device)
        loop.detach()
        plain.umount()
        volume = disk.Disk(self, SIZE, "64K", "--settle-time=2s", f"--block-cache-file={cache}", f"--durability={durability}",
                           store=plain.store)
        volume.is_new = False
        acknowledged, count = writing.Acknowledged(), 0
        for number in range(ROUNDS[fstype]):
            chaos = CHAOS + [f"seed={disk.SEED + number}"] if number % 2 == 1 or fstype != "ext4" else None
            # A small memory and a small file, too: who waits for room, and what was evicted.
            small = ["--cache-size=4M", "--cache-file-size=16M"] if number % 3 == 2 else []
            volume.mount(*small, chaos=chaos)
            loop = disk.Loop(self, volume.file, number % 2 == 0)
            where = self.mount(loop.device, fstype)
            count += len(acknowledged.files)
            self.make_room(where, acknowledged)
            count -= len(acknowledged.files)
            writer = writing.Writer(self, where, f"{disk.SEED}-{number}", acknowledged)
            writer.progress(6)
            time.sleep(self.random.uniform(0.0, 3.0))
            self.assertIsNone(writer.process.poll(), f"the writer met an error before the kill: {writer.error()}")
            volume.daemon.kill()                                # now
            writer.process.kill()
            writer.reap()
            self.umount(where, "-l")
            loop.detach()
            volume.kill9()
            if durability == "store":
                cache.unlink()
                plain.mount()
                self.look(plain, fstype, acknowledged)
                plain.umount()
                continue
            volume.mount(chaos=chaos if number % 4 == 3 else None)
            self.look(volume, fstype, acknowledged)
            volume.umount()
            plain.mount()                                       # all of it has been sent
            self.look(plain, fstype, acknowledged, fsck=False)
            plain.umount()
        print(f"{fstype}, {durability}: {ROUNDS[fstype]} rounds, {count + len(acknowledged.files)} files acknowledged", file=disk.sys.stderr)
        self.assertGreaterEqual(count + len(acknowledged.files), 2 * ROUNDS[fstype], "hardly anything was acknowledged; this proves nothing")

    def test_ext4_store(self):
        self.rounds("ext4", "store")

    def test_ext4_cache(self):
        self.rounds("ext4", "cache")

    def test_xfs_store(self):
        self.rounds("xfs", "store")

    def test_xfs_cache(self):
        self.rounds("xfs", "cache")

    def test_btrfs_store(self):
        self.rounds("btrfs", "store")

    def test_btrfs_cache(self):
        self.rounds("btrfs", "cache")


if __name__ == "__main__":
    disk.main()
