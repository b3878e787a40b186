#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`bucketdisk copy`: a volume into another one, whole or not to be mounted, whatever happens on the way."""
import json
import os
import shutil
import signal
import subprocess

import disk

BLOCK, BLOCKS = 16384, 512      # of which each eighth is zeros
OLD, NEW = "s3backer's old password", "ein neues Paßwort"
FORMAT_2 = ["--to-codec=zstd,xaes-256-gcm", f"--to-password={NEW}", "--to-argon2id-memory=1M", "--to-argon2id-passes=1"]
MARK, DESCRIPTION, TOKEN = "bucketdisk-copy", "bucketdisk-volume", "s3backer-mounted"
VECTORS = disk.TOP / "tests" / "vectors" / "s3backer"
DONE, FAILED, DAMAGED, INTERRUPTED = 0, 1, 3, 130
HALF = "is a copy of .* that is not complete: say \"bucketdisk copy\" as it was begun and it goes on"


class Copy(disk.Story):
    def setUp(self):
        super().setUp()
        self.source = disk.Disk(self, str(BLOCK * BLOCKS), str(BLOCK), f"--password={OLD}", store=disk.DirStore(self))
        self.target = disk.Disk(self, "0", "0", f"--password={NEW}", store=disk.DirStore(self))
        self.target.is_new = False
        self.to = FORMAT_2

    def make(self, blocks=BLOCKS):
        """s3backer's format, encrypted: noise, text and holes."""
        self.data = bytearray(BLOCK * BLOCKS)
        for block in range(0, blocks):
            if block % 8 != 7:
                self.data[block * BLOCK:(block + 1) * BLOCK] = self.random.randbytes(BLOCK) if block % 2 else b"%15d\n" % block * (BLOCK // 16)
        self.source.mount("--encrypt")
        disk.write_at(self.source.file, 0, self.data)
        self.source.umount()

    def command(self, *options, slow=False):
        chaos = ["--to-backend=chaos,dir", "--to-chaos-latency=20ms", "--to-blockCacheThreads=2"] if slow else []
        return [disk.BINARY, "copy", "--backend=dir", *chaos, f"--from-password={OLD}", *self.to, "--settle-time=200ms", *options,
                self.source.store.location, self.target.store.location]

    def copy(self, *options, status=DONE):
        done = disk.run(*self.command(*options), check=False, env=disk.environment(self))
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done

    def copy_told(self, *options, status=DONE):
        """What --json says."""
        return json.loads(self.copy("--json", *options, status=status).stdout)

    def begin(self, blocks, *options):
        """A copy under way that has stored so many blocks."""
        log = self.path("copy").with_suffix(".log")
        with open(log, "wb") as file:
            self.logs.append(log)
            process = self.start(*self.command(*options, slow=True), stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                                 env=disk.environment(self))
        disk.wait_until(f"{blocks} blocks of the copy", lambda: process.poll() is not None or len(self.copied()) >= blocks)
        self.assertIsNone(process.poll(), log.read_text())
        return process, log

    def begin_and_interrupt(self, blocks, *options):
        process, _ = self.begin(blocks, *options)
        process.send_signal(signal.SIGINT)
        self.assertEqual(self.reap(process), INTERRUPTED)

    def copied(self):
        return [name for name in self.target.store.objects() if len(name) == 8]

    def refuses_to_mount(self, *others):
        """Also with others of these options; and nothing changes."""
        before = self.target.store.snapshot()
        for options in ([], *others):
            status, text = self.target.refused(*options)
            self.assertGreater(status, 0)
            self.assertRegex(text, HALF)
        self.assertEqual(self.target.store.snapshot(), before)

    def is_the_same(self, *options, data=None):
        """Byte by byte through both mounts; and no object more than the source has."""
        data = self.data if data is None else data
        self.source.mount("--readOnly")
        self.target.mount(*options)
        self.assertEqual(disk.read_at(self.source.file, 0, len(self.data)) == self.data, True)
        self.assertEqual(disk.read_at(self.target.file, 0, len(data)) == data, True)
        self.assertEqual(self.target.file.stat().st_size, len(data))
        self.source.umount()
        self.target.umount()
        self.assertNotIn(MARK, self.target.store.objects())

    # --- what is copied

    def test_what_s3backer_wrote(self):
        """Its very objects."""
        blocks = {}
        for path in VECTORS.glob("05-aes128.*.json"):
            about = json.loads(path.read_text())
            block = int(path.name.split(".")[1], 16)
            stored = self.source.store.path / f"{block:08x}"
            stored.write_bytes(path.with_suffix(".body").read_bytes())
            for name, value in about["headers"]:
                if name.startswith("x-amz-meta-"):
                    os.setxattr(stored, "user.bucketdisk.a." + name.removeprefix("x-amz-meta-"), value.encode())
                elif name == "Content-Encoding":
                    os.setxattr(stored, "user.bucketdisk.encoding", value.encode())
            blocks[block] = path.with_suffix(".plain").read_bytes()
            key = about["encryption"]
            options = [f"--from-password={key['password']}", f"--from-password-salt={key['pbkdf2_salt']}"]
        before = self.source.store.snapshot()
        self.assertEqual(self.copy_told(*options)["copied"], len(blocks))
        self.assertEqual(self.source.store.snapshot(), before, "the source was changed")
        self.target.mount()
        for block, plain in blocks.items():
            self.assertEqual(disk.read_at(self.target.file, block * len(plain), len(plain)), plain)
        self.target.umount()

    def test_within_one_store(self):
        """To another prefix, and back to what s3backer knows, larger."""
        self.make(40)
        self.target.store = self.source.store
        told = self.copy_told("--verify", "--to-prefix=copy-")
        self.assertEqual((told["copy"], told["copied"], told["present"], told["verified"]), ("complete", 35, 0, True))
        self.assertIn("copy-" + DESCRIPTION, self.source.store.objects())
        self.is_the_same("--prefix=copy-")
        self.source, self.target = disk.Disk(self, "0", "0", "--prefix=copy-", f"--password={NEW}", store=self.target.store), \
            disk.Disk(self, "0", "0", store=disk.DirStore(self))
        self.source.is_new = self.target.is_new = False
        done = disk.run(disk.BINARY, "copy", "--backend=dir", "--from-prefix=copy-", f"--from-password={NEW}",
                        f"--to-size={BLOCK * BLOCKS * 2}", self.source.store.location, self.target.store.location)
        self.assertIn("the source is encrypted, and the copy will not be", done.stderr)
        self.assertRegex(done.stdout, "35 of 35 blocks: 35 copied")
        self.is_the_same(data=self.data + bytes(len(self.data)))
        self.assertNotIn(DESCRIPTION, self.target.store.objects())

    # --- what comes in between

    def test_killed_three_times(self):
        self.make()
        for blocks in (60, 200, 350):
            process, _ = self.begin(blocks)
            process.kill()
            self.reap(process)
            self.assertIn(MARK, self.target.store.objects())
            self.refuses_to_mount()
        self.refuses_to_mount(["--readOnly"], ["--force"], [f"--size={BLOCK * BLOCKS}", f"--blockSize={BLOCK}"])
        self.copy_of_something_else_is_refused()
        # The source changes: a block, a new one, and one that is gone.
        self.source.mount()
        for block, text in ((3, b"other"), (7, b"new"), (9, b"\0")):
            self.data[block * BLOCK:(block + 1) * BLOCK] = (text * BLOCK)[:BLOCK]
        disk.write_at(self.source.file, 0, self.data[:16 * BLOCK])
        self.source.umount()
        told = self.copy_told()
        self.assertEqual(told["copy"], "complete")
        self.assertGreater(told["present"], 350 - 16)
        self.assertEqual(told["copied"] + told["present"], told["blocks"])
        self.is_the_same()

    def copy_of_something_else_is_refused(self):
        other = disk.Disk(self, str(BLOCK), str(BLOCK), f"--password={OLD}", store=disk.DirStore(self))
        other.mount("--encrypt")
        other.umount()
        mine, self.source = self.source, other
        self.refused("a copy of another volume, .*, that is not complete")
        self.source = mine

    def test_signal_at_the_very_end(self):
        """With all blocks there it is too late for it: the volume is finished, and so it is said."""
        self.make(40)
        process, log = self.begin(35, "--to-chaos-latency=100ms")
        process.send_signal(signal.SIGINT)
        self.assertEqual(self.reap(process), DONE, log.read_text())
        self.assertRegex(log.read_text(), "35 of 35 blocks: 35 copied .*\n.* is a copy of ")
        self.assertNotIn("bucketdisk-lock", self.target.store.objects())
        self.is_the_same()

    def test_killed_before_the_mark_went(self):
        """All that is left to do is done, and nothing is copied again."""
        self.make(40)
        process, _ = self.begin(10)
        process.kill()
        self.reap(process)
        mark = self.target.store.path / MARK
        text = mark.read_bytes()
        self.assertEqual(self.copy_told()["copy"], "complete")
        mark.write_bytes(text)
        self.refuses_to_mount()
        told = self.copy_told()
        self.assertEqual((told["copy"], told["copied"], told["present"]), ("complete", 0, 35))
        self.is_the_same()

    def test_completed_by_somebody_else(self):
        """While our password was awaited.  What is whole gets no mark again."""
        self.make(40)
        process, _ = self.begin(10)
        process.kill()
        self.reap(process)
        mark = self.target.store.path / MARK
        text = mark.read_bytes()
        self.copy()
        before = self.target.store.snapshot()
        mark.write_bytes(text)
        password = self.path("password")
        os.mkfifo(password)
        self.to = ["--to-codec=zstd,xaes-256-gcm", f"--to-password-file={password}"]
        with subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                              env=disk.environment(self)) as process:
            with open(password, "w", encoding="utf-8") as file:     # which waits for the reader, who has found the mark
                mark.unlink()
                file.write(NEW + "\n")
            self.assertIn("somebody else has completed this copy meanwhile", process.stderr.read())
        self.assertEqual(process.returncode, FAILED)
        self.assertEqual(self.target.store.snapshot(), before)

    def test_repeated(self):
        """A copy that is complete is looked at, and left alone."""
        self.make(40)
        self.copy()
        before = self.target.store.snapshot()
        done = self.copy()
        self.assertRegex(done.stdout, "35 of 35 blocks: 0 copied .*, 35 were there already, .*\n"
                         ".* was a complete copy of .* before, and still is; nothing was written")
        told = self.copy_told("--verify")
        self.assertEqual((told["copy"], told["copied"], told["present"], told["verified"]), ("complete", 0, 35, True))
        self.assertEqual(self.target.store.snapshot(), before)
        # Not what the source has any more; but block 0 is.
        self.data[9 * BLOCK:10 * BLOCK] = bytes(BLOCK)
        self.data[10 * BLOCK:11 * BLOCK] = self.random.randbytes(BLOCK)
        self.source.mount()
        disk.write_at(self.source.file, 9 * BLOCK, self.data[9 * BLOCK:11 * BLOCK])
        self.source.umount()
        done = self.copy("--json", status=FAILED)
        told = json.loads(done.stdout)
        self.assertEqual((told["copy"], told["present"], told["differing"], sorted(told["bad_blocks"])), ("refused", 33, 2, [9, 10]))
        self.assertIn("a complete copy of the source here, of which 2 blocks are not what the source has now", done.stderr)
        self.assertEqual(self.target.store.snapshot(), before)
        self.source.mount()
        disk.write_at(self.source.file, 0, b"other")
        self.source.umount()
        self.refused("there is a volume here already")

    def test_source_under_another_identity(self):
        """A path is another directory to the kernel after a reboot: its name counts, too; and of format 2 the volume's id."""
        self.make(200)
        place = self.source.store.path
        self.begin_and_interrupt(60)
        aside = self.path("aside")
        place.rename(aside)
        shutil.copytree(aside, place)
        told = self.copy_told()
        self.assertEqual(told["copy"], "complete")
        self.assertGreaterEqual(told["present"], 60)
        self.is_the_same()
        # Under another name and identity, the volume that it was.
        self.source, self.target = self.target, disk.Disk(self, "0", "0", f"--password={NEW}", store=disk.DirStore(self))
        self.target.is_new = False
        self.begin_and_interrupt(60, f"--from-password={NEW}")
        path = self.target.store.path / MARK
        mark = json.loads(path.read_text())
        self.assertRegex(mark["volume"], "^[0-9a-f]{32}$")
        mark.update(source="dir:0:0:1", called="/elsewhere")
        path.write_text(json.dumps(mark | {"volume": "0" * 32}))
        self.refused("a copy of another volume, /elsewhere, that is not complete", f"--from-password={NEW}")
        path.write_text(json.dumps(mark))
        told = self.copy_told(f"--from-password={NEW}")
        self.assertEqual(told["copy"], "complete")
        self.assertGreaterEqual(told["present"], 60)
        self.is_the_same()

    def test_interrupted(self):
        self.make()
        for number in (signal.SIGINT, signal.SIGTERM):
            process, log = self.begin(len(self.copied()) + 60)
            process.send_signal(number)
            self.assertEqual(self.reap(process), INTERRUPTED)
            self.assertRegex(log.read_text(), r"\d+ of 448 blocks: \d+ copied .*\nThe copy is not complete, and cannot be mounted; "
                             "say the same again and it goes on")
            self.assertNotIn("bucketdisk-lock", self.target.store.objects())
            self.refuses_to_mount()
        told = self.copy_told("--verify")
        self.assertEqual((told["copy"], told["copied"] + told["present"]), ("complete", 448))
        self.assertGreater(told["present"], 100)
        self.is_the_same()

    def test_half_a_copy_that_s3backer_could_read(self):
        """Its token stays, which keeps s3backer off, until the copy is complete; or it is erased."""
        self.make(100)
        to = [f"--to-password={OLD}", "--to-codec=deflate,aes"]
        for is_erased in (True, False):
            self.assertEqual(self.target.store.objects(), [])
            process, _ = self.begin(20, "--to-lease=2", *to)
            process.send_signal(signal.SIGINT)
            self.assertEqual(self.reap(process), INTERRUPTED)
            self.assertTrue({MARK, TOKEN} <= set(self.target.store.objects()))
            self.refuses_to_mount()
            if is_erased:
                disk.run(disk.BINARY, "erase", "--backend=dir", "--force", "--settle-time=1", self.target.store.location,
                         env=disk.environment(self))
        self.copy(*to)
        self.assertNotIn(TOKEN, self.target.store.objects())
        self.target.options = [f"--password={OLD}"]
        self.is_the_same()

    def test_encryption_stays_as_it_was_begun(self):
        """Blocks that are there are not written again: none is left plain where others are encrypted, nor under another cipher."""
        self.make(100)
        plain, encrypted = ["--to-lease=2"], ["--to-lease=2", f"--to-password={OLD}", "--to-encrypt"]
        says = "; give the options that it was begun with, or remove it with bucketdisk erase and begin anew"
        self.to = encrypted
        self.begin_and_interrupt(20)
        for name in self.copied():  # which would tell
            (self.target.store.path / name).unlink()
        self.to = plain
        self.refused("was begun with .*, and would go on without encryption" + says)
        disk.run(disk.BINARY, "erase", "--backend=dir", "--force", "--settle-time=1", self.target.store.location,
                 env=disk.environment(self))
        self.begin_and_interrupt(20)
        self.to = encrypted
        self.refused("was begun without encryption, and would go on with encryption" + says)
        self.assertRegex(self.copy("--to-accept-plain", status=FAILED).stderr, "was begun without encryption, and would go on with ")
        self.to = plain
        self.copy()
        self.target.options = []
        self.is_the_same()

    def test_mounted_meanwhile(self):
        """Nobody mounts the copy while it is made; and of a source that is mounted none is made."""
        self.make()
        process, _ = self.begin(20)
        status, text = self.target.refused()
        self.assertGreater(status, 0)
        self.assertRegex(text, "a command works on it")
        process.kill()
        self.reap(process)
        process, log = self.begin(len(self.copied()) + 20)
        process.send_signal(signal.SIGSTOP)
        self.source.mount()
        process.send_signal(signal.SIGCONT)
        self.assertEqual(self.reap(process), FAILED)
        self.assertRegex(log.read_text(), "has the source mounted")
        self.refuses_to_mount()
        self.refused("has the source mounted")
        told = self.copy_told("--while-mounted")
        self.assertEqual(told["copy"], "complete")
        self.source.umount()
        self.is_the_same()

    def test_mounted_in_between(self):
        """The epoch of format 2 tells of a mount of the source that came and went."""
        self.make()
        self.copy()
        self.source, self.target = self.target, disk.Disk(self, "0", "0", f"--password={NEW}", store=disk.DirStore(self))
        self.target.is_new = False
        process, log = self.begin(20, f"--from-password={NEW}")
        process.send_signal(signal.SIGSTOP)
        self.source.mount("--settle-time=0")
        disk.write_at(self.source.file, 0, b"other")
        self.source.umount()
        self.data[:5] = b"other"
        process.send_signal(signal.SIGCONT)
        self.assertEqual(self.reap(process), FAILED)
        self.assertRegex(log.read_text(), "somebody has had the source mounted while it was copied")
        self.refuses_to_mount()
        self.assertEqual(self.copy_told(f"--from-password={NEW}")["copy"], "complete")
        self.is_the_same()

    # --- what is wrong

    def refused(self, words, *options):
        """One sentence, and nothing changed on either side."""
        before = [volume.store.snapshot() for volume in (self.source, self.target)]
        done = self.copy(*options, status=FAILED)
        said = [line for line in done.stderr.splitlines() if not line.startswith("profiling:")]
        self.assertEqual(len(said), 1, said)
        self.assertRegex(said[0], words)
        self.assertEqual(done.stdout, "")
        self.assertEqual([volume.store.snapshot() for volume in (self.source, self.target)], before)

    def test_wrong_words(self):
        self.make(20)
        self.refused(r"the source \(--from-\.\.\.\): the password does not open the volume", "--from-password=another")
        self.refused(r"the source \(--from-\.\.\.\): there is no volume here", "--from-prefix=none/")
        self.refused(r"the destination \(--to-\.\.\.\): nothing is copied by force", "--to-force")
        self.refused("the source has .* and the destination would have", f"--to-size={BLOCK}")
        self.refused("blocks of 16384 bytes cannot become blocks of 4096", "--to-block-size=4K")
        self.refused("--verify is of no side", "--to-verify")
        self.refused("there is no option --to-codecs; did you mean", "--to-codecs=zstd")
        self.refused("which volume, and where to?", "third")
        self.refused("not used here; say --from-chaos-latency if the other side", "--from-backend=chaos,dir", "--chaos-latency=1ms")
        mine, self.target.store = self.target.store, self.source.store
        self.refused("this is the source, too")
        self.target.store = mine
        process, _ = self.begin(10)
        process.kill()
        self.reap(process)
        self.refused(r"the destination \(--to-\.\.\.\): .* does not open the volume's only key slot", "--to-password=another")
        self.copy()
        self.is_the_same()

    def test_damaged(self):
        """A block of the source that cannot be read is named, and all others are copied."""
        self.make(40)
        path = self.source.store.path / f"{9:08x}"
        body = bytearray(path.read_bytes())
        body[100] ^= 1
        path.write_bytes(body)
        done = self.copy("--json", status=DAMAGED)
        told = json.loads(done.stdout)
        self.assertEqual((told["copy"], told["copied"], told["damaged"], told["bad_blocks"]), ("incomplete", 34, 1, [9]))
        self.assertIn("cannot read block 00000009, object 00000009", done.stderr)
        self.assertIn("--zero-damaged", done.stderr)
        self.refuses_to_mount()
        told = self.copy_told("--zero-damaged", status=DAMAGED)
        self.assertEqual((told["copy"], told["present"], told["damaged"], told["bad_blocks"]), ("complete", 34, 1, [9]))
        self.data[9 * BLOCK:10 * BLOCK] = bytes(BLOCK)
        self.target.mount()
        self.assertEqual(disk.read_at(self.target.file, 0, len(self.data)) == self.data, True)
        self.target.umount()

    def test_lost_meanwhile(self):
        """A block that the source lists and then does not give is damaged, and no zeros."""
        self.make()
        block = 420
        process, log = self.begin(20)
        process.send_signal(signal.SIGSTOP)
        path = self.source.store.path / f"{block:08x}"
        aside = self.path("aside")
        path.rename(aside)
        process.send_signal(signal.SIGCONT)
        self.assertEqual(self.reap(process), DAMAGED)
        self.assertIn(f"block {block:08x} of the source is listed, but not given", log.read_text())
        self.assertNotIn(f"{block:08x}", self.target.store.objects())
        self.refuses_to_mount()
        aside.rename(path)
        self.assertEqual(self.copy_told()["copy"], "complete")
        self.is_the_same()


if __name__ == "__main__":
    disk.main()
