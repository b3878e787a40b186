#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Two machines want one volume.  The other machine is a mount namespace with a lock directory of its own."""
import signal
import time

import disk

BLOCK = 65536


class TwoMachines(disk.Story):
    limit_seconds = 120

    def other(self, store, *options):
        """Start a daemon on the other machine; what it mounts is seen there only."""
        log = self.path("other").with_suffix(".log")
        with log.open("w") as stderr:
            process = self.start_elsewhere(disk.BINARY, "-f", *store.options, *options, store.location, self.directory("theirs"),
                                           stderr=stderr)
        return process, log

    def test_what_was_found_before_the_token_is_found_again_under_it(self):
        """A slow machine sees an empty place.  While it goes on, a fast one makes the volume, writes, and leaves."""
        volume = disk.Disk(self, "16M", "64K")
        slow, log = self.other(volume.store, f"--backend=chaos,{volume.store.backend}", "--chaos-latency=1500ms", "--chaos-only=head,list,put",
                               "--size=16M", "--blockSize=64K")
        time.sleep(2.2)                         # it has found no block 0
        volume.mount()
        data = self.random.randbytes(BLOCK)
        disk.write_at(volume.file, 0, data)
        volume.umount()
        disk.wait_until("the slow machine to have mounted it", lambda: " blocks of " in log.read_text(), 60)
        slow.send_signal(signal.SIGTERM)
        self.assertEqual(self.reap(slow), 0, log.read_text())
        volume.mount()
        self.assertEqual(disk.read_at(volume.file, 0, BLOCK), data, log.read_text())
        volume.umount()

    def test_the_second_is_refused(self):
        volume = disk.Disk(self, "16M", "64K").mount()
        second, log = self.other(volume.store, f"--backend={volume.store.backend}")
        self.assertEqual(self.reap(second), 1)
        self.assertIn("in use on", log.read_text())
        disk.write_at(volume.file, 0, b"still ours")
        volume.umount()

    def test_the_token_of_a_mounted_volume_is_not_reset_on_its_own_machine(self):
        volume = disk.Disk(self, "16M", "64K").mount()
        done = disk.run(*volume.command("--reset-mounted-flag"), volume.store.location, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("is mounted on", done.stderr)
        self.assertIn("s3backer-mounted", volume.store.objects())
        volume.umount()

    def test_one_machine_and_two_ways_to_name_the_volume(self):
        """A directory of a store, and its name as a prefix: the locks of the machine differ, the token is one."""
        store = disk.DirStore(self)
        (store.path / "v").mkdir()
        outer = disk.Disk(self, "16M", "64K", "--prefix=v/", store=store)
        inner = disk.Disk(self, "16M", "64K", store=disk.DirStore(self, store.path / "v"))
        for first, second in ((outer, inner), (inner, outer)):
            first.mount()
            status, said = second.refused()
            self.assertEqual(status, 1)
            self.assertIn("in use on", said)
            disk.write_at(first.file, 0, b"still ours")
            first.umount()
            second.is_new = False


if __name__ == "__main__":
    disk.main()
