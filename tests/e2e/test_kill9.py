#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The daemon dies by SIGKILL at random instants under a busy ext4: whatever fsync acknowledged is there again, from the
store alone."""
import time

import disk
import writing

ROUNDS = disk.pick(5, 50, remote=3)


class Kill9(disk.Story):
    limit_seconds = 400

    def rounds(self, seconds_max, **mount):
        volume = disk.Disk(self, disk.pick("256M", "4G"), "64K", "--settle-time=2s")
        volume.mount()
        loop = disk.Loop(self, volume.file, True)
        # A record is a page, and must be in one block of the disk to be old or new as a whole: mkfs's own choice for a
        # small disk is blocks of 1K.
        disk.run("mkfs.ext4", "-q", "-b", "4096", loop.device)
        loop.detach()
        volume.umount()
        acknowledged = writing.Acknowledged()
        for number in range(ROUNDS):
            direct = number % 2 == 0
            volume.mount(**mount)
            loop = disk.Loop(self, volume.file, direct)
            where = self.mount(loop.device, "ext4")
            writer = writing.Writer(self, where, f"{disk.SEED}-{number}", acknowledged)
            writer.progress(2)
            time.sleep(self.random.uniform(0.0, seconds_max))
            self.assertIsNone(writer.process.poll(), f"the writer met an error before the kill: {writer.error()}")
            volume.daemon.kill()                                # now
            writer.process.kill()
            writer.reap()
            self.umount(where, "-l")
            loop.detach()
            volume.kill9()                                      # reaps it, takes the dead mount away

            volume.mount()                                      # no chaos: only what the store has
            loop = disk.Loop(self, volume.file, direct)
            where = self.mount(loop.device, "ext4")             # replays the journal
            acknowledged.check(self, where)
            self.umount(where)
            disk.run("e2fsck", "-fn", loop.device)
            loop.detach()
            volume.umount()
        print(f"{ROUNDS} rounds, {len(acknowledged.files)} files acknowledged, and as many records")
        self.assertGreater(len(acknowledged.files), ROUNDS, "hardly anything was acknowledged; this proves nothing")

    def test_sigkill(self):
        self.rounds(2.0)

    def test_sigkill_over_an_unreliable_store(self):
        """Lost replies, writes that are carried out after their time-out, and refusals that ask for a retry."""
        self.rounds(6.0, chaos=[f"seed={disk.SEED}", "lost=20000", "late=20000", "late-by=1s", "retry=50000",
                                "latency=2ms", "jitter=2ms"])

if __name__ == "__main__":
    disk.main()
