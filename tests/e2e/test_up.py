#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""From a bucket to a filesystem in one command, and back: up, down, what refuses to, what fails half way, lines of fstab."""
import contextlib
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

import disk

SIZE = "320M"                           # XFS wants 300 MiB
PLACES = Path("/run/bucketdisk/up")


def mounts():
    with open("/proc/self/mountinfo", encoding="utf-8") as info:
        return [(line.split()[4], *line.split(" - ")[1].split()[:2]) for line in info]


class Up(disk.Story):
    limit_seconds = 120

    def setUp(self):
        super().setUp()
        self.store = disk.DirStore(self)
        self.where = self.directory("files")
        # Whatever fails, all three are taken away, last made first; the guard, if it comes to that, takes the filesystem away,
        # and the others go by themselves.
        disk.RECORD.add("mount", self.where)
        self.addCleanup(self.clear)

    def clear(self):
        for path in (self.where, *self.places()):
            disk.abort_fuse(str(path))
            disk.remove_mount(path)
        for path in PLACES.glob(f"*{self.tmp.name}*"):
            (path.unlink if path.is_symlink() else path.rmdir)()

    def places(self):
        """Where the disk of this directory is mounted, if one is."""
        return [Path(point) for point, _, _ in mounts() if point.startswith(f"{PLACES}/") and self.tmp.name in point]

    def loops(self):
        return [device for device in os.listdir("/sys/block")
                if device.startswith("loop") and self.tmp.name in (disk.loop_file(device) or "")]

    def command(self, *options, where=None):
        return [disk.BINARY, "up", "--backend=dir", f"--spill-directory={self.spills}", *options, self.store.location,
                where or self.where]

    def bucketdisk(self, *words, status=0, **more):
        """Run it; what it says."""
        done = disk.run(disk.BINARY, *words, check=False, env=disk.environment(self), **more)
        self.assertEqual(done.returncode, status, f"{words}: {done.stderr}")
        return done.stderr

    def up(self, *options, status=0, **more):
        return self.bucketdisk(*self.command(*options)[1:], status=status, **more)

    def down(self, status=0):
        return self.bucketdisk("down", self.where, status=status)

    def daemon(self):
        """The process that serves it."""
        for lock in Path("/run/bucketdisk").glob("*.lock"):
            with contextlib.suppress(OSError):
                text = lock.read_text(encoding="utf-8", errors="replace")
                if f"{PLACES}/" in text and self.tmp.name in text:
                    return int(re.search(r"^pid (\d+)", text, re.M)[1])
        return self.fail("nobody serves it")

    def assert_nothing_left(self):
        disk.wait_until("the disk to go", lambda: not self.places() and not self.loops(), 20)
        self.assertFalse(disk.is_mounted(self.where))

    def at_terminal(self, command, answers):
        """Run a command at a terminal and answer its questions: (what to wait for, answer) ...  (status, what was said)"""
        child, terminal = pty.fork()
        if child == 0:
            os.execve(command[0], [str(word) for word in command], disk.environment(self))
        thing = disk.RECORD.add("process", child, disk.process_start(child))
        said, end = "", time.monotonic() + 60
        while time.monotonic() < end:
            if select.select([terminal], [], [], 0.1)[0]:
                try:
                    said += os.read(terminal, 4096).decode(errors="replace")
                except OSError:         # everybody has closed it
                    break
            if answers and answers[0][0] in said.rsplit("\n", 1)[-1]:
                os.write(terminal, answers.pop(0)[1].encode() + b"\n")
        _, status = os.waitpid(child, 0)
        disk.RECORD.drop(thing)
        os.close(terminal)
        self.assertEqual(answers, [], said)
        return os.waitstatus_to_exitcode(status), said


class Life(Up):
    def tell(self, fstype):
        """Made, written to, taken down and up again; mounted as it should be; read again, and only read."""
        self.assertIn(f"is up on {self.where}: {fstype}", self.up("--yes", f"--size={SIZE}", f"--fs={fstype}"))
        (kind, source), = [(kind, source) for point, kind, source in mounts() if point == str(self.where)]
        self.assertEqual((kind, source), (fstype, f"/dev/{self.loops()[0]}"))
        self.assertEqual(Path("/sys/block", self.loops()[0], "loop/dio").read_text().strip(), "1")
        self.assertRegex(disk.run("findmnt", "-no", "OPTIONS", self.where).stdout, r"\bdiscard")
        volume = json.loads((self.store.path / "bucketdisk-volume").read_text())
        self.assertEqual((volume["format"], volume["codec"]), (2, "zstd"))
        disk.make_tree(self.where, disk.SEED, files=40)
        sums = disk.checksums(self.where)
        self.assertIn("already", self.up(f"--fs={fstype}"))
        self.down()                     # returns when everything is stored, and the volume given back
        self.assertNotIn("bucketdisk-lock", self.store.objects())
        self.assert_nothing_left()

        self.up("-o", "noatime")        # which filesystem it is, is seen
        self.assertEqual(disk.checksums(self.where), sums)
        self.assertIn("noatime", disk.run("findmnt", "-no", "OPTIONS", self.where).stdout)
        disk.run("umount", self.where)  # nothing of ours is in /sbin: what is below goes by itself
        self.assert_nothing_left()
        self.down()                     # which waits for the daemon's end
        before = self.store.snapshot()
        self.up("--readOnly")
        self.assertEqual(disk.checksums(self.where), sums)
        self.assertEqual(disk.error_of((self.where / "new").write_text, ""), "EROFS")
        self.assertIn("already, and read-only; bucketdisk down", self.up(status=1))
        self.assertIn(f"{self.store.location} is up on {self.where} already\n", self.up("--readOnly"))
        self.assertIn("is up on", self.up("--readOnly", "--fsname=mine"))       # it is the same one, whatever it is called
        self.down()
        self.assertEqual(self.store.snapshot(), before)
        self.assertIn("nothing is up", self.down())

    def test_ext4(self):
        self.tell("ext4")

    def test_xfs(self):
        self.tell("xfs")

    def test_btrfs(self):
        self.tell("btrfs")

    def test_in_use(self):
        """Who uses it is named, nothing is undone, and when he has gone the same command does it."""
        self.up("--yes", f"--size={SIZE}", "--fs=ext4")
        with open(self.where / "open", "w", encoding="ascii"):
            self.assertIn(f"({os.getpid()})", self.down(status=1))
            self.assertTrue(disk.is_mounted(self.where))
        elsewhere = self.directory("elsewhere")
        thing = disk.RECORD.add("mount", elsewhere)
        disk.run("mount", "--bind", self.where, elsewhere)
        self.assertIn(f"still mounted on {elsewhere}", self.down(status=1))
        self.assertFalse(disk.is_mounted(self.where))
        self.assertIn(str(elsewhere), self.up(status=1))
        disk.run("umount", elsewhere)
        disk.RECORD.drop(thing)
        self.down()
        self.assert_nothing_left()

    def test_detached_in_use(self):
        """umount -l does not wait for who uses it, but names him, and says what tells when it is done."""
        self.up("--yes", f"--size={SIZE}", "--fs=ext4")
        with open(self.where / "open", "w", encoding="ascii") as file:
            said = self.bucketdisk("umount", "-l", self.where)
            self.assertIn(f"python3 ({os.getpid()})", said)
            self.assertIn(f'"bucketdisk down {self.where}" tells', said)
            self.assertFalse(disk.is_mounted(self.where))
            file.write("late")
        self.down()
        self.assert_nothing_left()
        self.up()
        self.assertEqual((self.where / "open").read_text(), "late")
        self.assertEqual(self.bucketdisk("umount", "-l", self.where), "")
        self.down()
        self.assert_nothing_left()

    def test_two_take_it_down(self):
        """As systemd does at shutdown, by the unit and by umount(8): who comes later waits for the first."""
        self.up("--yes", f"--size={SIZE}", "--fs=ext4")
        self.new_file("written")
        daemon = self.daemon()
        os.kill(daemon, signal.SIGSTOP)
        try:
            first = self.start(disk.BINARY, "down", self.where, stderr=subprocess.DEVNULL)
            disk.wait_until("the first to begin", lambda: any(
                f"pid {first.pid}\nstate finishing\n" in lock.read_text(encoding="utf-8", errors="replace")
                for lock in Path("/run/bucketdisk").glob("*.lock")))
            log = self.path("log")
            with open(log, "wb") as said:
                second = self.start(disk.BINARY, "down", self.where, stderr=said)
            disk.wait_until("the second to wait", lambda: f"waiting for process {first.pid}" in log.read_text())
        finally:
            os.kill(daemon, signal.SIGCONT)
        self.assertEqual((self.reap(first), self.reap(second)), (0, 0), log.read_text())
        self.assertIn("nothing is up", log.read_text())
        self.assert_nothing_left()

    def test_daemon_killed(self):
        """What was synced is there afterwards, for who takes it down and up again."""
        self.up("--yes", f"--size={SIZE}", "--fs=ext4")
        disk.write_at(self.new_file("synced"), 0, b"synced")
        os.kill(self.daemon(), signal.SIGKILL)
        disk.wait_until("up to see it", lambda: "has died" in self.up(status=1), 20)
        self.assertIn("had died", self.down(status=1))
        self.assert_nothing_left()
        self.assertIn("nothing is up", self.down())
        self.up("--fs=ext4", "--settle-time=0")
        self.assertEqual((self.where / "synced").read_bytes(), b"synced")
        self.down()

    def test_daemon_made_to_end(self):
        """Two signals detach the disk by force; down takes the filesystem away all the same."""
        self.up("--yes", f"--size={SIZE}", "--fs=ext4")
        daemon = self.daemon()
        start = disk.process_start(daemon)
        os.kill(daemon, signal.SIGTERM)
        time.sleep(0.5)
        self.assertTrue(disk.is_mounted(self.where))
        os.kill(daemon, signal.SIGTERM)
        disk.wait_until("the daemon's end", lambda: disk.process_start(daemon) != start, 30)
        self.assertIn("by force", self.down(status=1))
        self.assertFalse(disk.is_mounted(self.where))
        self.assertIn("nothing is up", self.down())

    def new_file(self, name):
        path = self.where / name
        path.write_bytes(b"")
        return path


class Refused(Up):
    def test_what_is_not_agreed_to_is_not_made(self):
        """Without --yes and a terminal, without --fs or a size, or too small: nothing is stored."""
        for options, sentence in (([f"--size={SIZE}", "--fs=ext4"], "--yes"), ([f"--size={SIZE}", "--yes"], "--fs="),
                                  (["--fs=ext4", "--yes"], "--size"), (["--size=64M", "--fs=xfs", "--yes"], "300M"),
                                  ([f"--size={SIZE}", "--fs=vfat", "--yes"], "ext4"), (["-f"], "foreground"),
                                  (["--sharedDiskMode"], "cluster")):
            said = self.up(*options, status=1)
            self.assertIn(sentence, said)
            self.assertEqual(said.count("error"), 1, said)
            self.assertEqual(self.store.objects(), [])
            self.assertEqual(list(PLACES.glob(f"*{self.tmp.name}*")), [])
        done = disk.run(*self.command(where="/nowhere/at/all"), check=False)
        self.assertEqual(done.returncode, 1)

    def test_asked(self):
        """At a terminal it asks, once for all, whether to encrypt, and for the password twice; no means no."""
        command = self.command(f"--size={SIZE}", "--fs=ext4")
        self.assertEqual(self.at_terminal(command, [("on it? [y/N]", "n")])[0], 1)
        self.assertEqual(self.store.objects(), [])
        two = [("on it? [y/N]", "yes"), ("Encrypt it?", "y"), ("Password for", "one"), ("Again", "two")]
        self.assertEqual(self.at_terminal(command, two)[0], 1)
        self.assertEqual(self.store.objects(), [])
        same = [("on it? [y/N]", "y"), ("Encrypt it?", "y"), ("Password for", "secret"), ("Again", "secret")]
        status, said = self.at_terminal(command, same)
        self.assertEqual(status, 0, said)
        self.assertNotIn("secret", said)
        (self.where / "text").write_text("text" * 5000)
        self.down()
        volume = json.loads((self.store.path / "bucketdisk-volume").read_text())
        self.assertEqual(volume["codec"], "zstd,xaes-256-gcm")
        self.assertIn("password", self.up("--fs=ext4", status=1))
        status, said = self.at_terminal(self.command("--fs=ext4"), [("Password of", "secret")])
        self.assertEqual(status, 0, said)
        self.assertEqual((self.where / "text").read_text(), "text" * 5000)
        self.down()

    def test_interrupted(self):
        """Ctrl-C at a question leaves nothing."""
        status, _ = self.at_terminal(self.command(f"--size={SIZE}", "--fs=ext4"), [("on it? [y/N]", "\x03")])
        self.assertNotEqual(status, 0)
        self.assertEqual(self.store.objects(), [])
        self.assert_nothing_left()

    def test_encrypted_by_options(self):
        """--encrypt is s3backer's encryption, as for the mount; a password file alone that of format 2."""
        password = self.path("password")
        password.write_text("secret\n")
        self.up("--yes", f"--size={SIZE}", "--fs=ext4", f"--password-file={password}")
        self.down()
        self.assertIn("xaes", json.loads((self.store.path / "bucketdisk-volume").read_text())["codec"])
        self.store = disk.DirStore(self)
        self.up("--yes", f"--size={SIZE}", "--fs=ext4", "--encrypt", "--password=secret")
        (self.where / "text").write_text("text")
        self.down()
        self.assertNotIn("bucketdisk-volume", self.store.objects())
        self.up("--password=secret")
        self.assertEqual((self.where / "text").read_text(), "text")
        self.down()

    def test_what_is_there_is_never_formatted(self):
        """Another filesystem, partitions, or just data: each is named, and stays as it is.  What is empty is not."""
        volume = disk.Disk(self, SIZE, "64K", store=self.store).mount_in_background()
        self.bucketdisk("umount", volume.mountpoint)
        self.assertIn("--yes", self.up("--fs=ext4", status=1))
        self.assertEqual(self.at_terminal(self.command("--fs=xfs"), [("is empty", "n")])[0], 1)
        for what, sentence in ((lambda file: disk.run("mkfs.xfs", "-q", file), "xfs on it, not ext4"),
                               (lambda file: disk.write_at(file, 0, b"LUKS\xba\xbe\0\1"), "crypto_LUKS"),
                               (lambda file: disk.write_at(file, disk.sizeof(SIZE) - 5, b"x"), "data that is no filesystem")):
            volume.mount_in_background()
            disk.run("fallocate", "-p", "-o", "0", "-l", SIZE, volume.file)
            what(volume.file)
            self.bucketdisk("umount", volume.mountpoint)
            disk.RECORD.drop(("mount", str(volume.mountpoint)))
            before = self.store.snapshot()
            self.assertIn(sentence, self.up("--fs=ext4", "--yes", status=1))
            self.assertEqual(self.store.snapshot(), before)
            self.assert_nothing_left()

    def test_another_volume_is_there(self):
        self.up("--yes", f"--size={SIZE}", "--fs=ext4", "--fsname=mine")
        self.up("--fs=ext4")                    # whatever it is called, it is up already
        mine, self.store = self.store, disk.DirStore(self)
        self.assertIn("another volume, mine, is up", self.up("--yes", f"--size={SIZE}", "--fs=ext4", status=1))
        self.assertEqual(self.store.objects(), [])
        self.store = mine
        other = self.directory("other")
        said = disk.run(*self.command(where=other), check=False).stderr
        self.assertIn(f"{self.store.location} is up on {self.where}; bucketdisk down {self.where} first", said)
        self.assertIn("already, and not read-only; bucketdisk down", self.up("--readOnly", "--fsname=mine", status=1))
        self.down()
        self.up("--readOnly", "--fsname=mine")
        # Who only reads has no lock, and may be called as another one is.
        for options in (["--fsname=mine"], ["--fsname=other"], []):
            self.assertIn(f"{self.store.location} is up on {self.where} already", self.up("--readOnly", *options))
        self.assertIn("already, and read-only; bucketdisk down", self.up(status=1))
        self.store = disk.DirStore(self)
        self.assertIn("another volume, mine, is up", self.up("--readOnly", "--fsname=mine", status=1))
        self.store = mine
        for note in PLACES.glob(f"*{self.tmp.name}*.volume"):
            note.unlink()
        self.assertIn("nothing tells whether it is the same volume; bucketdisk down", self.up("--readOnly", "--fsname=mine", status=1))
        self.down()
        self.assertEqual(list(PLACES.glob(f"*{self.tmp.name}*")), [])


class HalfWay(Up):
    def failing(self, name, script):
        """A directory for PATH with a program that does this."""
        directory = self.directory("bin")
        program = directory / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return {**disk.environment(self), "PATH": f"{directory}:{os.environ['PATH']}"}

    def tell(self, name, script, sentence):
        done = disk.run(*self.command("--yes", f"--size={SIZE}", "--fs=ext4"), check=False, env=self.failing(name, script))
        self.assertEqual(done.returncode, 1)
        self.assertIn(sentence, done.stderr)
        self.assert_nothing_left()
        self.assertEqual(list(PLACES.glob(f"*{self.tmp.name}*")), [])
        self.up("--yes", f"--size={SIZE}", "--fs=ext4")
        self.down()

    def test_mkfs_fails(self):
        """What it has written is removed, so that the next try finds the volume empty."""
        self.tell("mkfs.ext4", 'for device; do :; done; echo rubbish >"$device"; exit 1', "mkfs.ext4 did not")

    def test_mount_fails(self):
        self.tell("mount", "exit 32", "cannot mount the ext4")

    def test_killed(self):
        """Whatever the command had made goes by itself."""
        environment = self.failing("mkfs.ext4", f"touch {self.tmp}/begun; exec sleep 60")
        process = self.start(*self.command("--yes", f"--size={SIZE}", "--fs=ext4"), env=environment,
                             stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        disk.wait_until("mkfs", (self.tmp / "begun").exists)
        self.assertEqual(len(self.loops()), 1)
        os.killpg(process.pid, signal.SIGKILL)
        self.reap(process)
        self.assert_nothing_left()
        self.up("--yes", "--fs=ext4")
        self.down()

    def test_terminated(self):
        """Nobody else comes in between; a signal ends mkfs, and everything is undone before the command ends."""
        environment = self.failing("mkfs.ext4", f"touch {self.tmp}/begun; exec sleep 60")
        process = self.start(*self.command("--yes", f"--size={SIZE}", "--fs=ext4"), env=environment,
                             stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        disk.wait_until("mkfs", (self.tmp / "begun").exists)
        self.assertIn(f"process {process.pid}\n", self.up("--yes", "--fs=ext4", status=1))
        self.assertIn(f"process {process.pid}\n", self.down(status=1))
        self.assertEqual(len(self.loops()), 1)
        process.terminate()
        self.assertEqual(self.reap(process, 20), 1)
        self.assertEqual((self.places(), self.loops()), ([], []))


class Fstab(Up):
    def elsewhere(self, script, program=disk.BINARY):
        """Run a script where /sbin has our helpers, and mounts are nobody else's."""
        helpers = self.directory("sbin")
        for name in ("mount.bucketdisk", "mount.fuse.bucketdisk", "umount.bucketdisk", "umount.fuse.bucketdisk"):
            (helpers / name).symlink_to(os.path.abspath(program))
        sbin = os.path.realpath("/sbin")
        words = (f"left() {{ grep -v overlay /proc/self/mountinfo | grep -F {self.tmp.name}; }}\n"
                 'not() { if "$@"; then return 1; fi; }\n')  # `! command` alone never ends a script
        overlay = f"mount -t overlay -o lowerdir={helpers}:{sbin} none {sbin} || exit 77\n"
        done = disk.run("unshare", "-m", "sh", "-euc", self.let_go() + words + overlay + script, check=False, env=disk.environment(self))
        if done.returncode == 77 or "unshare:" in done.stderr:
            self.skipTest("no namespaces, or no overlay, can be made here")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def fstab(self, *lines):
        path = self.path("fstab")
        path.write_text("".join(f"{line} 0 0\n" for line in lines))
        return path

    def test_filesystem(self):
        """fs= in the line makes it the filesystem; umount(8) waits until everything is stored, and says who prevents it."""
        fstab = self.fstab(f"{self.store.location} {self.where} bucketdisk "
                           f'fs=ext4,size={SIZE},yes,password=hushhush,fs-options="max_dir_size_kb=9999,min_batch_time=1",backend=dir,noatime,_netdev,noauto,nofail,'
                           "x-systemd.requires=network-online.target")
        out = self.elsewhere(f"""
            mount -T {fstab} {self.where}
            findmnt -no FSTYPE,OPTIONS {self.where}
            mount -T {fstab} {self.where}               # it is up already
            daemon=$(sed -n 's/^pid //p' $(grep -l {self.tmp.name} /run/bucketdisk/*.lock))
            grep {self.where} /proc/$daemon/cmdline
            not grep hush /proc/$daemon/cmdline
            echo text >{self.where}/text
            (cd {self.where} && not umount {self.where})
            umount {self.where}
            not left
            not grep -F {self.tmp.name} /sys/block/loop*/loop/backing_file
            mount -T {fstab} -o ro {self.where}
            cat {self.where}/text
            umount {self.where}""")
        self.assertRegex(out, r"ext4 .*\bnoatime\b.*\bmin_batch_time=1\b.*\bmax_dir_size_kb=9999\b")
        self.assertIn("text\n", out)
        self.assertEqual(list(PLACES.glob(f"*{self.tmp.name}*")), [])

    def test_plugin_path(self):
        """A line may say where its plugins are, behind what they understand."""
        program, plugins = disk.program_without_plugins(self)
        fstab = self.fstab(f"{self.store.location} {self.where} bucketdisk "
                           f"fs=ext4,size={SIZE},yes,backend=dir,dir-threads=2,noauto,plugin-path={plugins}")
        self.elsewhere(f"""
            mount -T {fstab} {self.where}
            echo text >{self.where}/text
            umount {self.where}
            not left""", program)

    def test_disk(self):
        """Without it, it is the disk alone, as s3backer's lines mean it."""
        volume = disk.Disk(self, "16M", "64K", store=self.store).mount_in_background()
        self.bucketdisk("umount", volume.mountpoint)
        disk.RECORD.drop(("mount", str(volume.mountpoint)))
        for line in (f"{self.store.location} {self.where} bucketdisk backend=dir,_netdev,user,noauto",
                     f"s3backer#{self.store.location} {self.where} fuse.bucketdisk backend=dir,_netdev,dev,suid"):
            fstab = self.fstab(line)
            out = self.elsewhere(f"""
                mount -T {fstab} {self.where}
                stat -c %s {self.where}/file
                umount {self.where}
                not left""")
            self.assertIn(str(16 << 20), out)


del Up                                  # it has no tests of its own

if __name__ == "__main__":
    for tool in ("mkfs.ext4", "mkfs.xfs", "mkfs.btrfs", "findmnt"):
        assert shutil.which(tool), f"{tool} is missing; tests/install tests"
    disk.main()
