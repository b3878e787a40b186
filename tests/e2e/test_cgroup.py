#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A control group with little memory, full of dirty pages of an ext4 on the disk, does not hang: to free memory the
kernel needs the daemon, and the daemon must not need that memory first."""
import os
import tempfile
import unittest
from pathlib import Path

import disk


def new_cgroup(story, limit_bytes):
    """A memory-limited control group, of version 2 or 1, and a command prefix that starts a program in it."""
    name = f"bucketdisk-e2e-{os.getpid()}-{story.random.randrange(1 << 32)}"
    for top, limit in (("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")):
        if limit == "memory.max":
            try:
                if "memory" not in Path(top, "cgroup.controllers").read_text().split():
                    continue
                Path(top, "cgroup.subtree_control").write_text("+memory")
            except OSError:
                continue
        elif not Path(top, limit).exists():
            continue
        group = Path(top, name)
        try:
            group.mkdir()
        except OSError:
            continue
        disk.RECORD.add("cgroup", group)
        (group / limit).write_text(str(limit_bytes))
        return group, ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(group)]
    raise unittest.SkipTest("no memory controller that could be used")


class Cgroup(disk.Story):
    limit_seconds = 120

    def fill(self, volume, inside, direct, megabytes):
        loop = disk.Loop(self, volume.file, direct)
        disk.run("mkfs.ext4", "-q", "-E", "nodiscard", loop.device)
        where = self.mount(loop.device, "ext4")
        written = self.start(*inside, "dd", "if=/dev/urandom", f"of={where}/big", "bs=1M", f"count={megabytes}",
                             "conv=fsync", "status=none")
        self.assertEqual(self.reap(written, 90), 0)
        sums = disk.checksums(where)
        self.umount(where)
        loop.detach()
        volume.remount()
        loop = disk.Loop(self, volume.file, direct)
        where = self.mount(loop.device, "ext4")
        self.assertEqual(disk.checksums(where), sums)
        self.umount(where)
        loop.detach()
        volume.umount()

    def test_writer_with_64_megabytes(self):
        _, inside = new_cgroup(self, 64 * disk.MIB)
        self.fill(disk.Disk(self, "512M", "64K").mount(), inside, False, 256)

    def test_writer_with_64_megabytes_and_a_direct_loop(self):
        _, inside = new_cgroup(self, 64 * disk.MIB)
        self.fill(disk.Disk(self, "512M", "64K").mount(), inside, True, 256)

    def test_writer_and_daemon_in_one_group(self):
        limit = 768 if disk.is_sanitized() else 192
        _, inside = new_cgroup(self, limit * disk.MIB)
        # On a real disk: what a daemon stores in memory is charged to its group.
        store = Path(tempfile.mkdtemp(prefix="bucketdisk-e2e-", dir="/var/tmp"))
        disk.RECORD.add("tree", store)
        volume = disk.Disk(self, f"{4 * limit}M", "64K", store=disk.DirStore(self, store))
        volume.mount(wrapper=inside)
        if "PR_SET_IO_FLUSHER" in volume.log_text():
            volume.umount()
            self.skipTest("this machine does not let the daemon be an I/O flusher (CAP_SYS_RESOURCE), and says so")
        self.fill(volume, inside, False, 2 * limit)


if __name__ == "__main__":
    disk.main()
