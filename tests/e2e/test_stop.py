#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The end of a daemon, at every stage: nothing acknowledged is lost, nobody above sees an error unless it was forced."""
import os
import signal
import subprocess
import time

import disk
import writing

TOKEN = "s3backer-mounted"


class Stop(disk.Story):
    limit_seconds = 200

    def setUp(self):
        super().setUp()
        self.acknowledged = writing.Acknowledged()
        self.volume = disk.Disk(self, "128M", "64K", "--settle-time=2s")
        self.loop = self.where = self.writer = None

    def write(self, fresh=True, mount=True, **options):
        """Mount everything and start writing."""
        if mount:
            self.volume.mount(*options.pop("options", ()), **options)
        if self.loop is None:
            self.loop = disk.Loop(self, self.volume.file, True)
        if fresh:
            disk.run("mkfs.ext4", "-q", self.loop.device)
        self.where = self.mount(self.loop.device, "ext4")
        self.writer = writing.Writer(self, self.where, f"{disk.SEED}", self.acknowledged)
        self.writer.progress(6)

    def take_down(self):
        self.writer.stop()
        self.umount(self.where)
        self.loop.detach()

    def tear_down(self):
        """After a forced end: errors are allowed, hanging is not."""
        self.writer.process.kill()
        self.writer.reap()
        self.umount(self.where, "-l")
        self.loop.detach()

    def signal(self, number=signal.SIGTERM):
        self.volume.daemon.send_signal(number)

    def assert_serving(self):
        time.sleep(0.5)
        self.assertIsNone(self.volume.daemon.poll(), "the daemon ended under a mounted filesystem")

    def assert_all_there(self):
        self.assertNotIn(TOKEN, self.volume.store.objects(), "the token was left behind")
        self.volume.mount()
        loop = disk.Loop(self, self.volume.file, True)
        where = self.mount(loop.device, "ext4")
        self.acknowledged.check(self, where)
        self.assertGreater(len(self.acknowledged.files), 1)
        self.umount(where)
        disk.run("e2fsck", "-fn", loop.device)
        loop.detach()
        self.volume.umount()

    def test_sigterm_while_writing(self):
        """Busy: the daemon goes on serving, and ends by itself when the filesystem above is gone."""
        self.write()
        self.signal()
        self.writer.progress(20)
        self.assert_serving()
        self.take_down()
        self.volume.ended(0)
        self.assert_all_there()

    def test_sigint_while_idle(self):
        self.volume.mount()
        disk.write_at(self.volume.file, 12345, b"x" * 100000)
        self.signal(signal.SIGINT)
        self.volume.ended(0)
        self.assertNotIn(TOKEN, self.volume.store.objects())
        self.volume.mount()
        self.assertEqual(disk.read_at(self.volume.file, 12345, 100000), b"x" * 100000)
        self.volume.umount()

    def test_sigterm_with_only_the_loop_device_left(self):
        self.write()
        self.writer.stop()
        self.umount(self.where)
        self.signal()
        self.assert_serving()
        disk.run("e2fsck", "-fn", self.loop.device)
        self.loop.detach()
        self.volume.ended(0)
        self.assert_all_there()

    def test_sigterm_during_mkfs(self):
        self.volume.mount()
        self.loop = disk.Loop(self, self.volume.file, False)
        mkfs = self.start("mkfs.ext4", "-q", self.loop.device)
        self.signal()
        self.assertEqual(self.reap(mkfs), 0)
        self.write(mount=False, fresh=False)
        self.take_down()
        self.volume.ended(0)
        self.assert_all_there()

    def test_requests_do_not_wake_who_waits_for_the_end(self):
        """The first thread sleeps as long as the disk is mounted."""
        self.volume.mount()

        def wakes():
            return disk.status_of(self.volume.daemon.pid, "voluntary_ctxt_switches")
        before = wakes()
        with disk.opened(self.volume.file) as file:
            for _ in range(500):
                os.fsync(file)
        self.assertLess(wakes() - before, 20)
        self.volume.umount()

    def test_second_signal(self):
        """Forced: all that was acknowledged is stored, the mount is gone, and the status says that it was forced."""
        self.write()
        self.signal()
        self.assert_serving()
        self.signal()
        status = self.volume.ended(None)
        self.assertNotIn(status, (0, -signal.SIGTERM, 99), "a forced end has a status of its own")
        self.tear_down()
        self.assert_all_there()

    def test_stop_timeout(self):
        self.write(options=["--stop-timeout=3s"])
        started = time.monotonic()
        self.signal()
        self.writer.progress(1)
        status = self.volume.ended(None)
        self.assertNotIn(status, (0, -signal.SIGTERM, 99))
        self.assertGreater(time.monotonic() - started, 2.5, "did not wait for its time-out")
        self.tear_down()
        self.assert_all_there()

    def test_bucketdisk_umount_of_a_busy_disk(self):
        """Refused with a sentence, or waited for; never ended under the filesystem."""
        self.write()
        done = self.start(disk.BINARY, "umount", self.volume.mountpoint, stderr=subprocess.DEVNULL)
        self.writer.progress(20)
        self.assert_serving()
        self.take_down()
        if self.reap(done, 60) != 0:
            self.assertTrue(disk.is_mounted(self.volume.mountpoint))
            self.volume.umount()
        else:
            self.volume.ended(0)
        self.assert_all_there()

    def test_lazy_umount_says_what_it_waits_for(self):
        """Detached at once; who uses it is named, and waited for.  What nobody uses needs no word."""
        self.volume.mount()
        log = self.path("log")
        with open(self.volume.file, "r+b") as file, open(log, "wb") as said:
            lazy = self.start(disk.BINARY, "umount", "--lazy", self.volume.mountpoint, stderr=said)
            disk.wait_until("the disk to be detached", lambda: not disk.is_mounted(self.volume.mountpoint))
            disk.wait_until("a word", lambda: f"used by python3 ({os.getpid()}): waiting until that ends and" in log.read_text())
            file.write(b"late" * 1000)
            self.assertIsNone(lazy.poll())
        self.assertEqual(self.reap(lazy), 0, log.read_text())
        self.volume.ended(0)
        self.volume.mount()
        self.assertEqual(disk.read_at(self.volume.file, 0, 4000), b"late" * 1000)
        self.assertEqual(disk.run(disk.BINARY, "umount", "-l", self.volume.mountpoint).stderr, "")
        self.volume.ended(0)

    def test_umount8_of_a_busy_disk_is_refused(self):
        self.write()
        self.assertNotEqual(disk.run("umount", self.volume.mountpoint, check=False).returncode, 0)
        self.writer.progress(10)
        self.take_down()
        self.volume.umount()
        self.assert_all_there()

    def test_slow_store(self):
        """A stop while each put takes its time: still nothing is lost."""
        self.volume.mount()
        self.volume.umount()
        self.write(chaos=["latency=30ms", "jitter=30ms", f"seed={disk.SEED}"])
        self.signal()
        self.take_down()
        self.volume.ended(0)
        self.assert_all_there()

    def test_umount8_and_a_new_mount_at_once(self):
        """umount(8) does not wait for a FUSE daemon; the next mount does."""
        self.volume.mount(chaos=["latency=4s", "only=delete", f"match={TOKEN}"])
        disk.write_at(self.volume.file, 1000, b"y" * 200000)
        disk.run("umount", self.volume.mountpoint)
        first = self.volume.daemon
        disk.RECORD.drop(("mount", str(self.volume.mountpoint)))
        self.assertIsNone(first.poll(), "the first daemon is done already: nothing to wait for")
        second = disk.Disk(self, store=self.volume.store)
        second.is_new = False
        second.mount()
        # Its process may still be on its way out, but it has done with the store.
        self.assertIn("everything is stored", self.volume.log_text(), "two daemons at once")
        self.assertEqual(self.reap(first), 0)
        self.assertEqual(disk.read_at(second.file, 1000, 200000), b"y" * 200000)
        self.assertRegex(second.log_text(), "(?i)wait")
        second.umount()

    def test_second_mount_is_refused(self):
        self.volume.mount()
        disk.write_at(self.volume.file, 0, b"first")
        before = self.volume.store.snapshot()
        status, text = self.volume.refused()
        self.assertNotEqual(status, 0)
        self.assertRegex(text, "(?i)mounted|in use")
        self.assertEqual(len(text.strip().splitlines()), 1, text)
        self.assertEqual(self.volume.store.snapshot(), before)
        self.assertEqual(disk.read_at(self.volume.file, 0, 5), b"first")
        self.volume.umount()

    def test_read_only_mount_beside_a_writer(self):
        self.volume.mount()
        disk.write_at(self.volume.file, 0, b"first")
        reader = disk.Disk(self, store=self.volume.store)
        reader.is_new = False
        reader.mount("--readOnly")
        self.assertEqual(disk.read_at(reader.file, 0, 5), b"first")
        reader.umount()
        self.assertIn(TOKEN, self.volume.store.objects(), "the reader took the writer's token away")
        self.volume.umount()

    def test_background(self):
        """The command returns when the file is ready, and the daemon it leaves ends like the one in the foreground."""
        self.volume.mount_in_background()
        self.assertEqual(os.stat(self.volume.file).st_size, 128 * disk.MIB)
        disk.write_at(self.volume.file, 777, b"z" * 70000)
        self.volume.umount()
        self.volume.mount_in_background()
        self.assertEqual(disk.read_at(self.volume.file, 777, 70000), b"z" * 70000)
        self.signal()
        self.volume.ended(None)
        self.assertNotIn(TOKEN, self.volume.store.objects())

    def test_umount_helper(self):
        """umount(8) calls umount.fuse.bucketdisk for our mounts, by the file system's type."""
        helper = self.directory("sbin") / "umount.fuse.bucketdisk"
        helper.symlink_to(disk.BINARY)
        self.volume.mount()
        with open("/proc/self/mountinfo", encoding="utf-8") as info:
            fstype = next(line.split(" - ")[1].split()[0] for line in info if line.split()[4] == str(self.volume.mountpoint))
        self.assertEqual(fstype, "fuse.bucketdisk")
        disk.run(helper, self.volume.mountpoint, env=disk.environment(self))
        self.assertNotIn(TOKEN, self.volume.store.objects())
        self.volume.ended(0)

    def test_umount_of_a_dead_daemons_mount(self):
        """It is taken away, but the status is not that of a disk of which everything is stored."""
        self.volume.mount()
        self.volume.daemon.send_signal(signal.SIGKILL)
        self.reap(self.volume.daemon)
        done = disk.run(disk.BINARY, "umount", self.volume.mountpoint, check=False, env=disk.environment(self))
        self.assertEqual(done.returncode, 1)
        self.assertIn("its daemon has died", done.stderr)
        self.assertFalse(disk.is_mounted(self.volume.mountpoint))
        self.volume.mount()
        self.volume.umount()

    def test_stale_token_after_a_crash(self):
        """The token of a dead daemon of this machine is taken over, and the log says so."""
        self.volume.mount()
        disk.write_at(self.volume.file, 5, b"kept")
        self.volume.kill9()
        self.assertIn(TOKEN, self.volume.store.objects())
        self.volume.mount()
        self.assertRegex(self.volume.log_text(), "(?i)tak(en|ing)|took")
        self.assertEqual(disk.read_at(self.volume.file, 5, 4), b"kept")
        self.volume.umount()


if __name__ == "__main__":
    disk.main()
