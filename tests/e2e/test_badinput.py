#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Everything that can be given wrongly: one clear sentence and an exit status, or an I/O error for that block alone, and
what is stored stays byte for byte as it was."""
import os
import shutil

import disk

BLOCK = 65536
ENCODING = "user.bucketdisk.encoding"

# What is given to a volume of 1 MiB in blocks of 64 KiB, and what the sentence must contain (without regard to case).
OPTIONS = [
    (["--frobnicate"], "frobnicate"),
    (["--frobnicate=1"], "frobnicate"),
    (["-o", "frobnicate"], "frobnicate"),
    (["-Z"], "Z"),
    (["--block"], "block"),                                     # no abbreviations
    (["--size=2M"], "size"),                                    # not the volume's
    (["--size=2M", "--blockSize=64K"], "size"),
    (["--blockSize=4K"], "block"),
    (["--noAutoDetect", "--size=1M"], "--noAutoDetect without --blockSize says 4096"),  # as with s3backer
    (["--noAutoDetect", "--size=2M", "--blockSize=64K"], "size"),
    (["--pluginPath=somewhere"], "somewhere"),                  # not absolute
    (["-o", "plugin-path=somewhere"], "somewhere"),
    (["--filename=stats.json"], "filename.*give another"),
    (["--filename=metrics"], "filename.*give another"),
    (["--statsFilename=metrics"], "statsFilename"),
    (["--size=abc"], "size.*abc|abc.*size"),
    (["--size="], "size"),
    (["--size=-1"], "size"),
    (["--size=0"], "size"),
    (["--size=1Q"], "size.*1Q|1Q.*size"),
    (["--size=99999999999999999999"], "size"),
    (["--size=16777216T"], "size"),
    (["--blockSize=zero"], "block"),
    (["--settle-time=fast"], "settle"),
    (["--settle-time=-5s"], "settle"),
    (["--md5CacheSize=x"], "md5"),
    (["--blockCacheSize=many"], "cache"),
    (["--cache-size=1Q"], "cache"),
    (["--cache-size=1G", "--blockCacheSize=100"], "leave one out"),
    (["--blockCacheSync", "--blockCacheWriteDelay=1s"], "WriteDelay=0"),
    (["--readAheadTrigger=1001"], "trigger"),
    (["--minWriteDelay=1.5.2"], "delay"),
    (["--maxRetryPause=-1"], "retry|pause"),
    (["--readOnly=perhaps"], "read-?only"),
    (["--fileMode=999"], "mode"),
    (["--fileMode=rw"], "mode"),
    (["--filename="], "filename"),
    (["--filename=a/b"], "filename=a/b.*without a slash"),
    (["--filename=."], "filename"),
    (["--statsFilename=file"], "both.*file.*another"),                         # the disk's own name
    (["--statsFilename=a/b"], "stats|/"),
    (["-o", "uid=nobody-of-this-name"], "uid"),
    (["--backend=nosuch"], "nosuch"),
    (["--backend="], "backend"),
    (["--backend=chaos"], "chaos needs another one below it: --backend=chaos,"),
    (["--backend=dir,dir"], "dir"),                             # does not stack
    (["--backend=../dir"], "dir"),
    (["--codec=nosuch"], "no plugin provides.*nosuch"),
    (["--codec=xaes-256-gcm", "--password=x"], "xaes-256-gcm.*only a new volume"),
    (["--chaos-latency=1s"], "chaos"),                          # without the chaos backend
    (["--backend=chaos,dir", "--chaos-latency=soon"], "latency"),
    (["--backend=chaos,dir", "--chaos-lost=2000000"], "lost"),  # of a million
    (["--backend=chaos,dir", "--chaos-only=get,frob"], "frob"),
    (["--backend=chaos,dir", "--chaos-nosuch=1"], "nosuch"),
]

# What is given where there is no volume yet.
NEW = [
    ([], "size"),
    (["--blockSize=64K"], "size"),
    (["--size=1M", "--blockSize=100"], "block"),
    (["--size=1M", "--blockSize=0"], "block"),
    (["--size=1M", "--blockSize=256"], "block"),
    (["--size=1G", "--blockSize=128M"], "block"),
    (["--size=1M", "--blockSize=3K"], "block"),
    (["--size=100000", "--blockSize=64K"], "multiple.*131072"),
    (["--size=1M", "--blockSize=2M"], "multiple.*2097152"),
    (["--size=17592186044416", "--blockSize=4K"], "block|size"),
    (["--size=1M", "--codec=zstd,deflate"], "s3backer takes one codec that compresses"),
    (["--size=1M", "--codec=aes,aes", "--password=x"], "one that encrypts"),
    (["--size=1M", "--codec=aes,deflate", "--password=x"], "must come before what encrypts"),
    (["--size=1M", "--format=2", "--encrypt", "--password=x"], "encrypt-AES-128-CBC.*format 2 demands"),
    (["--size=1M", "--codec=aes,xaes-256-gcm", "--password=x"], "format 2 demands"),
    (["--size=1M", "--format=2", "--codec=zstd", "--password=x"], "does not encrypt"),
]


class BadInput(disk.Story):
    limit_seconds = 300

    def volume(self, blocks=4):
        """A healthy volume with some blocks, and its copy to spoil."""
        volume = disk.Disk(self, "1M", "64K").mount()
        self.data = self.random.randbytes(blocks * BLOCK)
        disk.write_at(volume.file, 0, self.data)
        volume.umount()
        return volume

    def assert_refused(self, volume, options, words, command=None, backend=True):
        """One sentence with these words, a status, and the store as it was."""
        before = volume.store.snapshot() if os.path.isdir(volume.store.path) else None
        if backend and any(option.startswith("--backend=") for option in options):
            command = command or [disk.BINARY, *options, volume.store.location, self.directory("refused")]
        status, text = volume.refused(*options, command=command)
        self.assertGreater(status, 0, f"must be an exit status, not a signal: {text}")
        self.assertNotEqual(status, 99, text)                   # a sanitizer's
        self.assertEqual(len(text.strip().splitlines()), 1, f"one sentence, please:\n{text}")
        self.assertGreater(len(text.split()), 2, f"a sentence, please: {text}")
        self.assertRegex(text, f"(?i){words}")
        if before is not None:
            self.assertEqual(volume.store.snapshot(), before, "a refused command changed the store")

    def test_options(self):
        volume = self.volume()
        for options, words in OPTIONS:
            with self.subTest(options=options):
                self.assert_refused(volume, options, words)
        volume.mount()                                          # and it still is the volume it was
        self.assertEqual(disk.read_at(volume.file, 0, len(self.data)), self.data)
        volume.umount()

    def test_new_volumes(self):
        for options, words in NEW:
            with self.subTest(options=options):
                volume = disk.Disk(self)
                volume.is_new = False                           # gives no sizes by itself
                self.assert_refused(volume, options, words)
                self.assertEqual(volume.store.objects(), [])

    def test_arguments(self):
        volume = self.volume()
        store, empty = volume.store.location, self.directory("empty")
        plain = self.path("plain-file")
        plain.write_text("a file")
        absent = self.path("absent")
        start = [disk.BINARY, "--backend=dir"]
        for command, words in (
                ([disk.BINARY], "where|location|usage|argument"),
                ([*start], "where|location|usage|argument"),
                ([*start, store], "where to mount|mount ?point"),
                ([*start, store, empty, empty], "too many words.*usage: bucketdisk .options. LOCATION MOUNTPOINT"),
                ([*start, "--size=1M", absent, empty], "no such|not exist|absent"),
                ([*start, "--size=1M", plain, empty], "not a directory|directory"),
                ([*start, "--size=1M", "", empty], "location|empty|directory"),
                ([*start, store, absent], "no such|not exist|mount ?point"),
                ([*start, store, plain], "not a directory|directory"),
                ([disk.BINARY, "umount"], "which mount point.*usage"),
                ([disk.BINARY, "prob", "a-bucket"], "no command \"prob\"; did you mean probe"),
                ([disk.BINARY, "pluigns"], "did you mean plugins"),
                ([disk.BINARY, "infos", absent], "did you mean info"),
                ([disk.BINARY, "infos", "--reset-mounted-flag", "--backend=dir"], "infos does not exist"),
                ([*start, "check", store], "command comes before.*say bucketdisk check, .*a directory of that name$"),
                ([*start, "info"], "command comes before.*say bucketdisk info, .*one directory that is there"),
                ([disk.BINARY, "--region=eu-west-1", "erase", "a-bucket"], "command comes before.*say bucketdisk erase, "),
                ([*start, "copy", store, empty], "command comes before.*say bucketdisk copy, "),
                ([disk.BINARY, "--json", "info", store], "no option --json.*if \"info\" is the command, it comes before"),
                ([disk.BINARY, "infos", "--backend=dir", store], "no command \"infos\"; did you mean info"),
                ([disk.BINARY, "lsit", "--test", store], "no command \"lsit\"; did you mean list"),
                ([*start, "infos", store], "no command \"infos\"; did you mean info"),
                ([disk.BINARY, "mount", "--backend=dir", "infos", empty], "infos does not exist"),
                ([disk.BINARY, "mount", "--backend=dir", "check", absent], "cannot use the mount point"),
                ([disk.BINARY, "umount", absent], "no such|not mounted|no bucketdisk|not a"),
                ([disk.BINARY, "umount", empty], "not mounted|no bucketdisk|not a|mount"),
                ([*start, "--reset-mounted-flag", absent], "no such|not exist")):
            with self.subTest(command=[str(word) for word in command[1:]]):
                self.assert_refused(volume, [], words, command=command)
        self.assertIn("usage: bucketdisk reset", disk.run(disk.BINARY, "--help", "reset").stdout)

    def test_a_volume_has_the_name_of_a_command(self):
        """As buckets of s3backer's users may: behind options it is no command, where there is a directory to mount it on."""
        where, top = self.directory("where"), self.directory("top")
        (top / "check").mkdir()
        for options in (["--size=1M"], []):
            thing = disk.RECORD.add("mount", where)
            disk.run(disk.BINARY, "--backend=dir", f"--spill-directory={self.spills}", *options, "check", where, cwd=top)
            self.assertTrue((where / "file").exists())
            disk.run(disk.BINARY, "umount", where)
            disk.RECORD.drop(thing)

    def test_who_unmounts_is_not_taken_for_who_mounts(self):
        volume = self.volume()
        volume.mount()
        for words, text in ((["--quiet", "umount"], "say bucketdisk umount, .*on which nothing is mounted$"),
                            (["--quiet", "down"], "say bucketdisk down, "), (["umounts"], "did you mean umount"),
                            (["downn"], "did you mean down"), (["--quiet", "umounts"], "did you mean umount")):
            with self.subTest(words=words):
                self.assert_refused(volume, [], text, command=[disk.BINARY, *words, volume.mountpoint])
        volume.umount()

    def test_a_dead_mount_is_no_word_that_was_misspelt(self):
        volume = self.volume()
        volume.mount()
        volume.daemon.kill()
        self.reap(volume.daemon)
        self.assert_refused(volume, [], "is a dead mount; unmount it first",
                            command=[disk.BINARY, "infos", "--backend=dir", volume.mountpoint])
        self.assert_refused(volume, [], "did you mean umount", command=[disk.BINARY, "unmount", volume.mountpoint])
        disk.run(disk.BINARY, "umount", volume.mountpoint, check=False)
        disk.RECORD.drop(("mount", str(volume.mountpoint)))

    def test_as_another_user(self):
        """A directory that may not be read or not be written."""
        volume = self.volume()
        os.chmod(self.tmp, 0o755)
        for mode, words in ((0o700, "denied|permission|may not"), (0o755, "denied|permission|read-only|may not")):
            with self.subTest(mode=oct(mode)):
                os.chmod(volume.store.path, mode)
                mountpoint = self.directory("theirs")
                # (Without use_tls the leak checker sees a leak in libfuse where there is none.)
                command = [*disk.as_nobody(self, mountpoint), "env", "LSAN_OPTIONS=use_tls=1", disk.BINARY,
                           "--backend=dir", volume.store.location, mountpoint]
                self.assert_refused(volume, [], words, command=command)

    def test_location_without_attributes(self):
        """A new volume keeps its sizes in extended attributes; a filesystem without them is refused."""
        where = self.mount("ramfs", "ramfs")
        volume = disk.Disk(self, "1M", "64K", store=disk.DirStore(self, where))
        self.assert_refused(volume, [], "attribute|xattr")

    def test_location_that_is_read_only(self):
        where = self.small_filesystem("8M")
        volume = disk.Disk(self, "1M", "64K", store=disk.DirStore(self, where)).mount()
        disk.write_at(volume.file, 0, b"here")
        volume.umount()
        disk.run("mount", "-o", "remount,ro", where)
        self.assert_refused(volume, [], "read-only.*--readOnly")
        volume.mount("--readOnly")
        self.assertEqual(disk.read_at(volume.file, 0, 4), b"here")
        volume.umount()

    def test_no_room_for_the_token(self):
        where = self.small_filesystem("2M")
        volume = disk.Disk(self, "4M", "4K", store=disk.DirStore(self, where))
        with open(where / ".ballast", "wb", buffering=0) as ballast:
            while not disk.error_of(ballast.write, bytes(1024)):
                pass
        self.assert_refused(volume, ["--maxRetryPause=500"], "space|full|room")

    # --- damaged metadata

    def spoiled(self, spoil):
        volume = self.volume()
        spoil(volume.store.path)
        return volume

    def test_block_0_is_gone(self):
        """Never a default: the size must be given, and must not be too small for what is there."""
        volume = self.spoiled(lambda path: (path / "00000000").unlink())
        self.assert_refused(volume, [], "size")
        self.assert_refused(volume, ["--size=128K"], "--size=262144 or more")
        volume.mount("--size=1M")
        self.assertEqual(disk.read_at(volume.file, BLOCK, 3 * BLOCK), self.data[BLOCK:])
        volume.umount()

    def test_block_0_says_nonsense(self):
        """Refused, or (where the block's own length tells) mounted with the right sizes; never with wrong ones."""
        for attribute in ("filesize", "blocksize"):
            for value in (b"", b"abc", b"0", b"-65536", b"99999999999999999999999", b"65537", b"\xff\xfe"):
                with self.subTest(attribute=attribute, value=value):
                    volume = self.volume()
                    block = volume.store.path / "00000000"
                    os.setxattr(block, next(key for key in os.listxattr(block) if attribute in key), value)
                    try:
                        volume.mount("--readOnly")
                    except disk.MountFailed:
                        self.assert_refused(volume, [], "block 0 says.*damaged.*--force|give --size")
                        volume.mount("--size=1M", "--blockSize=64K", "--force").umount()
                        continue
                    self.assertEqual(os.stat(volume.file).st_size, disk.sizeof(volume.size))
                    self.assertEqual(disk.read_at(volume.file, 0, len(self.data)), self.data)
                    volume.umount()

    def test_encrypted_volume_without_a_password(self):
        def spoil(path):
            os.setxattr(path / "00000000", ENCODING, b"deflate, encrypt-AES-128-CBC")
        self.assert_refused(self.spoiled(spoil), [], "encrypt|password")

    def test_token_of_somebody_else(self):
        """s3backer's token says nothing about its owner: refused until the operator resets it."""
        def spoil(path):
            (path / "s3backer-mounted").write_bytes(b"")
        volume = self.spoiled(spoil)
        self.assert_refused(volume, [], "mounted")
        disk.run(*volume.command("--reset-mounted-flag"), volume.store.location, env=disk.environment(self))
        self.assertNotIn("s3backer-mounted", volume.store.objects())
        volume.mount()
        self.assertEqual(disk.read_at(volume.file, 0, len(self.data)), self.data)
        volume.umount()

    # --- damaged blocks

    def test_damaged_blocks(self):
        """An I/O error for that block alone, named in the log; nothing is touched; overwriting it whole heals it."""
        def shorter(path):
            os.truncate(path, BLOCK // 2)

        def by_a_byte(path):
            os.truncate(path, BLOCK - 1)

        def longer(path):
            with open(path, "ab") as file:
                file.write(b"x")

        def empty(path):
            os.truncate(path, 0)

        def huge(path):
            os.truncate(path, disk.GIB)

        def token(text):
            def encoding(path):
                os.setxattr(path, ENCODING, text)
            return encoding

        for spoil, word in ((shorter, "length|bytes|size"), (by_a_byte, "length|bytes|size"),
                            (longer, "length|bytes|size"), (empty, "length|bytes|size|empty"),
                            (huge, "length|bytes|size"), (token(b"nosuch-codec"), "nosuch-codec"),
                            (token(b"encrypt-AES-128-CBC"), "encrypt-AES-128-CBC"),
                            (token(b"a, b, c, d, e, f, g"), "layers|tokens|codec|encoding"),
                            (token(b"x" * 3000), "long|token|encoding|codec"), (token(b"\xff\x01"), "token|encoding|codec"),
                            (token(b","), None)):
            with self.subTest(spoil=spoil.__name__, word=word):
                volume = self.volume()
                spoil(volume.store.path / "00000002")
                before = volume.store.snapshot()
                volume.mount("--maxRetryPause=500", "--directIO")
                if word is None:                # an empty list is no encoding
                    self.assertEqual(disk.read_at(volume.file, 0, len(self.data)), self.data)
                    volume.umount()
                    continue
                self.assertEqual(disk.error_of(disk.read_at, volume.file, 2 * BLOCK, 10), "EIO")
                self.assertEqual(disk.error_of(disk.read_at, volume.file, 3 * BLOCK - 1, 1), "EIO")
                self.assertEqual(disk.error_of(disk.write_at, volume.file, 2 * BLOCK + 5, b"part"), "EIO")
                self.assertEqual(disk.read_at(volume.file, 0, 2 * BLOCK), self.data[:2 * BLOCK])
                self.assertEqual(disk.read_at(volume.file, 3 * BLOCK, BLOCK), self.data[3 * BLOCK:])
                self.assertRegex(volume.log_text(), f"(?is)00000002[^\\n]*({word})|({word})[^\\n]*00000002")
                self.assertEqual({name: digest for name, digest in volume.store.snapshot().items()
                                  if name != "s3backer-mounted"}, before)
                whole = self.random.randbytes(BLOCK)
                disk.write_at(volume.file, 2 * BLOCK, whole)
                self.assertEqual(disk.read_at(volume.file, 2 * BLOCK, BLOCK), whole)
                volume.umount()

    def test_a_link_in_a_blocks_place(self):
        volume = self.volume()
        (volume.store.path / "00000002").unlink()
        (volume.store.path / "00000002").symlink_to("00000001")
        volume.mount("--maxRetryPause=500")
        self.assertEqual(disk.error_of(disk.read_at, volume.file, 2 * BLOCK, 10), "EIO")
        self.assertEqual(disk.read_at(volume.file, 0, 2 * BLOCK), self.data[:2 * BLOCK])
        volume.umount()

    def test_foreign_objects_are_ignored_and_kept(self):
        volume = self.volume()
        for name in ("README", "0000000G", "0000000A", "000000010", "ffffffff", "00000010", "lost+found"):
            (volume.store.path / name).write_text("not a block of this volume")
        before = volume.store.snapshot()
        volume.mount()
        self.assertEqual(disk.read_at(volume.file, 0, len(self.data)), self.data)
        volume.umount()
        self.assertEqual(volume.store.snapshot(), before)

    # --- a store that goes bad under the mount

    def test_full_disk_under_the_directory(self):
        """The write fails and says why; what was acknowledged stays; with room again, it goes on."""
        where = self.small_filesystem("4M")
        volume = disk.Disk(self, "16M", "64K", store=disk.DirStore(self, where))
        volume.mount("--maxRetryPause=500", "--directIO")
        ballast = where / ".ballast"
        ballast.write_bytes(b"x" * disk.MIB)
        written = {}
        for block in range(1, 80):
            data = self.random.randbytes(BLOCK)
            error = disk.error_of(disk.write_at, volume.file, block * BLOCK, data)
            if error:
                break
            written[block] = data
        self.assertIn(error, ("ENOSPC", "EIO"))
        self.assertRegex(volume.log_text(), "(?i)space|full|room")
        for block, content in written.items():
            self.assertEqual(disk.read_at(volume.file, block * BLOCK, BLOCK), content)
        ballast.unlink()
        disk.write_at(volume.file, 100 * BLOCK, b"goes on")
        volume.remount()
        for block, content in written.items():
            self.assertEqual(disk.read_at(volume.file, block * BLOCK, BLOCK), content)
        self.assertEqual(disk.read_at(volume.file, 100 * BLOCK, 7), b"goes on")
        volume.umount()

    def test_directory_removed_under_the_mount(self):
        """Blocks of a directory that is gone are errors, never zeros."""
        volume = self.volume()
        volume.mount("--maxRetryPause=500", "--stop-timeout=5s", "--directIO")
        shutil.rmtree(volume.store.path)
        self.assertEqual(disk.error_of(disk.read_at, volume.file, BLOCK, 10), "EIO")
        self.assertEqual(disk.error_of(disk.write_at, volume.file, 8 * BLOCK, b"x"), "EIO")
        self.assertFalse(os.path.exists(volume.store.path), "the directory was made anew")
        volume.kill9()


if __name__ == "__main__":
    disk.main()
