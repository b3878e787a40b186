#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The cache file as a user sees it: a warm start, whose file is taken and whose is not, what a crash leaves, and damage."""
import os
import re
import shutil
import struct
import threading
import unittest

import disk
import faulty
import s3backer

BLOCK = 64 * disk.KIB
BLOCKS = 64
PAGE = 4096
TOKEN = "s3backer-mounted"
SUPER_PAGES = (0, 4096)                 # of the cache file: both say what it is, and its data is behind them
LOSE = "move it away, or give another name, to go on without what it has that was not stored"
SECRET = b"what nobody shall read on local disk "
# A crash finds in the file alone what was synced.
KEPT = ("--durability=cache", "--block-cache-write-delay=60s")


class CacheFile(disk.Story):
    """What these stories are told with."""

    def setUp(self):
        super().setUp()
        self.cache = self.path("cache")

    def volume(self, *options, size="4M", block_size="64K", store=None):
        return disk.Disk(self, size, block_size, "--settle-time=1s", f"--block-cache-file={self.cache}", *options, store=store)

    def faulty(self, *options, **more):
        self.server = faulty.FaultyServer(self)
        return self.volume(*options, store=faulty.FaultyStore(self.server), **more)

    def without_file(self, volume):
        """The same volume, mounted by somebody who has no cache file."""
        other = disk.Disk(self, volume.size, volume.block_size, "--settle-time=1s", store=volume.store)
        other.is_new = False
        return other

    def filled(self, *options, **more):
        """A volume that was written and unmounted, and its bytes."""
        volume = self.volume(*options, **more).mount()
        data = bytearray(self.random.randbytes(disk.sizeof(volume.size)))
        disk.write_at(volume.file, 0, data)
        volume.umount()
        return volume, data

    def crashed(self, volume, data, *blocks, options=KEPT):
        """The daemon dies, and only the cache file has what was written to these blocks."""
        volume.mount(*options)
        for block in blocks:
            disk.read_at(volume.file, block * BLOCK, BLOCK)
            data[block * BLOCK:(block + 1) * BLOCK] = self.random.randbytes(BLOCK)
            disk.write_at(volume.file, block * BLOCK, data[block * BLOCK:(block + 1) * BLOCK])
        self.assertEqual(volume.stats()["unsent_blocks"], len(blocks))
        volume.kill9()

    def assert_is(self, volume, data):
        found = disk.read_at(volume.file, 0, len(data))
        wrong = [block for block in range(len(data) // BLOCK)
                 if found[block * BLOCK:(block + 1) * BLOCK] != data[block * BLOCK:(block + 1) * BLOCK]]
        self.assertEqual(wrong, [])

    def assert_stored(self, volume, data):
        """By the store alone."""
        other = self.without_file(volume)
        other.options += [option for option in volume.options if option.startswith("--password")]
        other.mount("--readOnly")
        self.assert_is(other, data)
        other.umount()

    def sentence(self, volume, *options, is_ours=False):
        """A refusal is one sentence, and changes neither the store nor somebody else's file."""
        stored, kept = volume.store.snapshot(), self.cache.read_bytes()
        status, text = volume.refused(*options)
        self.assertEqual((status, text.count("\n")), (1, 1), text)
        self.assertEqual(volume.store.snapshot(), stored)
        if not is_ours:                 # which may be made tidy
            self.assertEqual(self.cache.read_bytes(), kept, "the file was changed")
        return text


class Warm(CacheFile):
    def asked(self, op):
        return sorted(request["key"] for request in self.server.requests(op=op) if re.fullmatch("[0-9a-f]{8}", request["key"]))

    def test_a_restart_reads_from_the_file_and_asks_once_for_each_block(self):
        blocks = disk.pick(BLOCKS, 16384)                           # 1 GiB in the long form
        volume = self.faulty(f"--cache-file-size={2 * blocks * BLOCK}", size=str(blocks * BLOCK)).mount()
        data = b"".join(self.random.randbytes(BLOCK) for _ in range(blocks))
        disk.write_at(volume.file, 0, data)
        volume.umount()
        every = [f"{block:08x}" for block in range(blocks)]
        for _ in range(2):
            volume.mount("--cache-size=1M", "--directIO")           # less than is read
            self.server.forget()
            for _ in range(3):
                self.assert_is(volume, data)
            self.assertEqual(self.asked("get"), [])
            self.assertEqual(self.asked("head"), every)
            stats = volume.stats()
            self.assertEqual(stats["cache_file_compared"], blocks)
            self.assertEqual(stats["cache_file_outdated"] + stats["cache_file_misses"], 0)
            self.assertEqual(stats["cache_file_blocks"], blocks)
            volume.umount()

    def test_what_was_only_read_is_kept_too(self):
        volume, data = self.filled()
        os.unlink(self.cache)
        volume.mount()
        self.assert_is(volume, data)
        self.assertEqual(volume.stats()["cache_file_kept"], BLOCKS)
        volume.umount()
        volume.mount()
        self.assert_is(volume, data)
        self.assertEqual(volume.stats()["object_gets"], 0)
        self.assertEqual(volume.stats()["object_heads"], BLOCKS)
        volume.umount()

    def test_not_verified_nobody_is_asked(self):
        volume = self.faulty().mount()
        data = bytearray(self.random.randbytes(BLOCKS * BLOCK))
        disk.write_at(volume.file, 0, data)
        volume.umount()
        volume.mount("--blockCacheNoVerify")
        self.server.forget()
        self.assert_is(volume, data)
        self.assertEqual(self.asked("get") + self.asked("head"), [])
        volume.umount()

    def test_what_somebody_else_wrote_meanwhile_is_fetched(self):
        volume, data = self.filled()
        other = self.without_file(volume).mount()
        for block in (3, 17, 63):
            data[block * BLOCK:(block + 1) * BLOCK] = self.random.randbytes(BLOCK)
            disk.write_at(other.file, block * BLOCK, data[block * BLOCK:(block + 1) * BLOCK])
        with disk.opened(other.file) as file:
            disk.fallocate(file, disk.FALLOC_PUNCH_HOLE | disk.FALLOC_KEEP_SIZE, 9 * BLOCK, BLOCK)
            os.fsync(file)
        data[9 * BLOCK:10 * BLOCK] = bytes(BLOCK)
        other.umount()
        volume.mount()
        disk.write_at(volume.file, 17 * BLOCK + PAGE, b"p" * PAGE)      # part of one that is not the file's
        data[17 * BLOCK + PAGE:17 * BLOCK + 2 * PAGE] = b"p" * PAGE
        self.assert_is(volume, data)
        stats = volume.stats()
        self.assertGreaterEqual(stats["cache_file_outdated"], 2)
        self.assertLessEqual(stats["object_gets"], 4)
        volume.umount()
        self.assert_stored(volume, data)

    def test_a_reader_has_a_file_too_and_sees_what_is_written(self):
        volume, data = self.filled()
        writer = self.without_file(volume).mount()
        volume.mount("--readOnly", "--blockCacheTimeout=200ms", "--directIO")
        self.assert_is(volume, data)
        self.assertEqual(volume.stats()["object_gets"], 0)
        data[5 * BLOCK:6 * BLOCK] = self.random.randbytes(BLOCK)
        disk.write_at(writer.file, 5 * BLOCK, data[5 * BLOCK:6 * BLOCK])
        disk.wait_until("the reader to see it",
                        lambda: disk.read_at(volume.file, 5 * BLOCK, BLOCK) == data[5 * BLOCK:6 * BLOCK], 20)
        self.assertEqual(volume.stats()["object_gets"], 1)
        volume.umount()
        writer.umount()


class Size(CacheFile):
    def test_it_grows_and_shrinks_at_the_start(self):
        volume, data = self.filled("--cache-size=1M", "--cache-file-size=2M")
        for size in ("1M", "4M", "2M", "64M"):
            volume.options[-1] = f"--cache-file-size={size}"
            volume.mount()
            held = volume.stats()["cache_file_blocks"]
            self.assertLessEqual(held * BLOCK, disk.sizeof(size))
            # A block that was written anew in a full file took the place of another, too.
            self.assertGreaterEqual(held, 15, "it forgot what it had room for")
            self.assert_is(volume, data)
            block = self.random.randrange(BLOCKS)
            data[block * BLOCK:(block + 1) * BLOCK] = self.random.randbytes(BLOCK)
            disk.write_at(volume.file, block * BLOCK, data[block * BLOCK:(block + 1) * BLOCK])
            volume.umount()
            # What is there beside the blocks: where it is said what they are.
            self.assertLess(self.cache.stat().st_blocks * 512, min(disk.sizeof(size), len(data)) + 3 * disk.MIB)
        self.assert_stored(volume, data)

    def test_s3backers_option_is_for_the_file(self):
        volume, data = self.filled("--blockCacheSize=20")
        volume.mount("--cache-size=2M")
        self.assert_is(volume, data)
        self.assertEqual(volume.stats()["cache_file_blocks"], 20)
        self.assertLessEqual(volume.stats()["cache_blocks"], 2 * disk.MIB // BLOCK)
        volume.umount()

    def test_what_is_not_stored_does_not_fit(self):
        volume, data = self.filled()
        self.crashed(volume, data, *range(30))
        self.assertRegex(self.sentence(volume, "--cache-file-size=1M", is_ours=True), r"holds 30 .*dirty|30 blocks that")
        volume.mount()
        volume.umount()
        self.assert_stored(volume, data)

    def test_the_local_disk_is_full(self):
        """What the file cannot take goes to the store at once, whatever was promised of the file."""
        for durability in ("store", "cache"):
            with self.subTest(durability=durability):
                self.cache = self.small_filesystem("8M") / "cache"
                volume = self.volume(f"--durability={durability}", "--cache-file-size=64M", size="16M").mount()
                data = self.random.randbytes(16 * disk.MIB)
                disk.write_at(volume.file, 0, data)
                self.assert_is(volume, data)
                self.assertRegex(volume.log_text(), re.escape(str(self.cache)) + ".*No space left")
                disk.write_at(volume.file, 100, b"once more")
                data = data[:100] + b"once more" + data[109:]
                self.assert_stored(volume, data)
                volume.umount()
                self.assert_stored(volume, data)
                volume.mount()
                self.assert_is(volume, data)
                volume.umount()

    def test_no_room_for_a_new_file(self):
        where = self.small_filesystem("1M")
        (where / "filler").write_bytes(bytes(700 * disk.KIB))
        self.cache = where / "cache"
        volume, data = self.filled()
        self.assertRegex(volume.log_text(), re.escape(str(self.cache)) + ".*No space left")
        self.assert_stored(volume, data)


class Whose(CacheFile):
    def test_another_volumes(self):
        self.filled()
        text = self.sentence(self.volume())
        self.assertRegex(text, "belongs to another volume, .*; this is .*: give another name, or move it away")
        self.assertIn(str(self.cache), text)

    def test_another_block_size(self):
        """The volume was made anew in the same place."""
        store = disk.DirStore(self)
        self.filled(store=store)
        for entry in os.scandir(store.path):
            os.unlink(entry.path)
        self.assertRegex(self.sentence(self.volume(block_size="32K", store=store)), 
                         "is for blocks of 65536 bytes; the volume's have 32768: give another name")

    def test_a_new_volume_of_format_2(self):
        store = disk.DirStore(self)
        self.filled("--format=2", store=store)
        for entry in os.scandir(store.path):
            os.unlink(entry.path)
        self.assertRegex(self.sentence(self.volume("--format=2", store=store)), "the volume is new, so .* is that of another")

    def test_another_version(self):
        volume, _ = self.filled()
        with open(self.cache, "r+b") as file:
            for at in SUPER_PAGES:
                file.seek(at + 16)
                file.write(struct.pack("<I", 77))
        self.assertRegex(self.sentence(volume), "of format 77, which this program does not read")

    def test_no_cache_file_at_all(self):
        volume = self.volume().mount()
        volume.umount()
        self.cache.write_bytes(b"a letter to my mother\n" * 1000)
        self.assertRegex(self.sentence(volume), "is no cache file of bucketdisk; move it away, or give another name")
        self.cache.unlink()
        self.cache.mkdir()
        status, text = volume.refused()
        self.assertEqual((status, text.count("\n")), (1, 1), text)
        self.assertIn(f"{self.cache}: Is a directory; give the name of a file", text)

    def test_a_file_that_was_cut_off(self):
        volume, data = self.filled()
        os.truncate(self.cache, 1 << 20)
        self.assertRegex(self.sentence(volume), f"too short.*; {LOSE}")
        os.truncate(self.cache, 0)
        volume.mount()
        self.assert_is(volume, data)
        volume.umount()

    def test_two_at_once(self):
        """One file has one owner: neither a reader beside its writer, nor two readers."""
        volume, _ = self.filled()
        for option in ((), ("--readOnly",)):
            volume.mount(*option)
            self.assertRegex(self.sentence(volume, "--readOnly"), re.escape(str(self.cache)) + " is in use by another process; end that first, or give another name")
            volume.umount()

    @unittest.skipUnless(shutil.which("s3backer"), "no s3backer")
    def test_s3backers(self):
        store = disk.DirStore(self)

        def use(*more):
            s3backer.use_disk(self, lambda file: disk.write_at(file, 0, b"theirs"), "--test", "--size=1M", "--blockSize=64K",
                              f"--blockCacheFile={self.cache}", "--blockCacheSize=16", *more, store.path)
        use()
        volume = self.volume(size="1M", store=store)
        self.assertRegex(self.sentence(volume), "block cache file of s3backer, unmounted in order; move it away")

    def test_below_the_mount_point(self):
        volume, _ = self.filled()
        for option, name in (("--block-cache-file", "deeper/cache"), ("--spill-directory", "spill")):
            where = self.directory("here")
            (where / "deeper").mkdir()
            command = [*volume.command(f"{option}={where}/{name}"), volume.store.location, where]
            status, text = volume.refused(command=command)
            self.assertEqual((status, text.count("\n")), (1, 1), text)
            self.assertRegex(text, f"{where}/{name}.* is below the mount point")
            self.assertEqual(os.listdir(where / "deeper"), [])

    def test_words_that_say_nothing(self):
        volume = disk.Disk(self, "1M")
        status, text = volume.refused("--durability=cache")
        self.assertEqual(status, 1)
        self.assertRegex(text, "--durability=cache needs --block-cache-file")
        for option in ("--max-unsent-age=5s", "--cache-file-size=1G"):
            status, text = volume.refused(option)
            self.assertEqual((status, text.count("\n")), (1, 1), text)
            self.assertIn(f"{option.partition('=')[0]} needs --block-cache-file", text)
        status, text = volume.refused(f"--block-cache-file={self.cache}", "--durability=cache", "--readOnly")
        self.assertEqual((status, text.count("\n")), (1, 1), text)
        self.assertIn("--durability=cache does not go with --read-only", text)
        for option, word in (("--blockCacheFile=", "names no file"), ("--spill-directory=", "names no directory")):
            status, text = volume.refused(option)
            self.assertEqual((status, text.count("\n")), (1, 1), text)
            self.assertIn(word, text)
        status, text = volume.refused(f"--block-cache-file={self.cache}", "--blockCacheDiscardDirtyBlocks", "--blockCacheRecoverDirtyBlocks")
        self.assertEqual(status, 1)
        self.assertRegex(text, "(?i)--block-cache-recover-dirty-blocks and --block-cache-discard-dirty-blocks")
        self.assertFalse(self.cache.exists())

    def test_words_of_s3backers_that_say_nothing(self):
        """Its command lines go on working."""
        volume = disk.Disk(self, "1M").mount("--blockCacheNoVerify", "--blockCacheRecoverDirtyBlocks", "--blockCacheFileAdvise")
        for option in ("no-verify", "recover-dirty-blocks", "file-advise"):
            self.assertEqual(volume.log_text().count(f"warning: --block-cache-{option} does nothing without --block-cache-file\n"), 1)
        volume.umount()
        volume.mount()
        self.assertNotIn("does nothing", volume.log_text())
        volume.umount()

    def test_in_the_directory_that_is_the_store(self):
        store = disk.DirStore(self)
        volume = disk.Disk(self, "1M", store=store).mount()
        volume.umount()
        (link := self.path("link")).symlink_to(store.path)
        for option in (f"--block-cache-file={store.path}/cache", f"--block-cache-file={link}/deeper/cache", f"--spill-directory={store.path}"):
            before = store.objects()
            status, text = volume.refused(option)
            self.assertEqual((status, text.count("\n")), (1, 1), text)
            self.assertIn(f"{option} is below the directory that is the store; give a place outside of it", text)
            self.assertEqual(store.objects(), before)
        volume.mount(f"--block-cache-file={store.path}.cache")
        volume.umount()

    def test_nobody_may_open_it(self):
        """Who mounts is not who made it."""
        volume, _ = self.filled(store=disk.DirStore(self))
        self.tmp.chmod(0o755)
        where = self.directory("theirs")
        command = [*disk.as_nobody(self, volume.store.path, where), "env", f"XDG_RUNTIME_DIR={where}", *volume.command(),
                   volume.store.location, where]
        status, text = volume.refused(command=command)
        self.assertEqual((status, text.count("\n")), (1, 1), text)
        self.assertIn(f"cannot open the cache file {self.cache}: Permission denied; mount as who may read and write it, or give another name",
                      text)

    def test_nobody_else_reads_it(self):
        """It may hold plain data, however it was made."""
        volume, _ = self.filled()
        self.cache.chmod(0o644)
        volume.mount("--readOnly")
        volume.umount()
        self.assertEqual(self.cache.stat().st_mode & 0o777, 0o644)
        volume.mount()
        self.assertEqual(self.cache.stat().st_mode & 0o777, 0o600)
        volume.umount()


class Crash(CacheFile):
    def test_what_was_not_stored_is_stored_by_the_next_mount(self):
        volume, data = self.filled()
        self.crashed(volume, data, 0, 5, 6, 63)
        volume.mount()
        self.assertRegex(volume.log_text(), r"has 4 blocks that were not stored; they will be")
        self.assert_is(volume, data)
        volume.umount()
        self.assertNotIn(TOKEN, volume.store.objects())
        self.assert_stored(volume, data)

    def test_it_is_by_itself(self):
        volume, data = self.filled()
        self.crashed(volume, data, 5, 6)
        volume.mount("--blockCacheRecoverDirtyBlocks")
        disk.wait_until("it to be stored", lambda: volume.stats()["unsent_blocks"] == 0, 20)
        self.assert_stored(volume, data)
        volume.umount()

    def test_again_and_again(self):
        """Each mount of a row that dies takes the lock from the one before."""
        volume, data = self.filled()
        for number in range(disk.pick(3, 20)):
            volume.mount(*KEPT)
            block = self.random.randrange(BLOCKS)
            at = block * BLOCK + self.random.randrange(16) * PAGE
            data[at:at + PAGE] = self.random.randbytes(PAGE)
            disk.write_at(volume.file, at, data[at:at + PAGE])
            self.assert_is(volume, data)
            volume.kill9()
            if number % 3 == 1:         # and one who dies early
                self.dies_early(volume, self.random.uniform(0.005, 0.15), *KEPT)
        volume.mount()
        self.assert_is(volume, data)
        volume.umount()
        self.assert_stored(volume, data)

    def test_it_dies_while_its_lock_is_put(self):
        """Whichever is there then, the old one or the new one, the file knows it."""
        for first in (False, True):
            with self.subTest(first=first):
                self.cache = self.path("cache")
                self.server = faulty.FaultyServer(self)
                volume, data = self.filled(store=faulty.FaultyStore(self.server))
                self.crashed(volume, data, 5, 6)
                self.server.fault("hang", op="put", key=f"^{TOKEN}$", first=first)
                volume.interrupted(lambda: self.server.fired("hang"), how=disk.signal.SIGKILL)
                self.server.clear()
                volume.mount()
                self.assertRegex(volume.log_text(), r"has 2 blocks that were not stored; they will be")
                volume.umount()
                self.assert_stored(volume, data)

    def test_parts_of_blocks(self):
        """What the file has of a block, and the store the rest."""
        volume, data = self.filled()
        os.unlink(self.cache)
        volume.mount(*KEPT)
        for block in (0, 7, 8):
            at = block * BLOCK + 3 * PAGE
            data[at:at + PAGE] = self.random.randbytes(PAGE)
            disk.write_at(volume.file, at, data[at:at + PAGE])
        volume.kill9()
        volume.mount("--readAhead=0")
        self.assert_is(volume, data)
        volume.umount()
        self.assert_stored(volume, data)

    def test_discarded(self):
        volume, data = self.filled()
        before = bytes(data)
        self.crashed(volume, data, 5, 6)
        volume.mount("--blockCacheDiscardDirtyBlocks")
        self.assertIn(f"2 blocks in {self.cache} that were not stored are dropped", volume.log_text())
        self.assert_is(volume, before)
        volume.umount()
        self.assert_stored(volume, before)
        volume.mount()
        self.assert_is(volume, before)
        volume.umount()

    def test_it_is_said_what_durability_is_worth(self):
        volume, data = self.filled()
        warning = f"warning: --durability=cache: fsync waits for the cache file {self.cache} alone; without that file the filesystem may be beyond repair"
        self.assertNotIn("beyond repair", volume.log_text())
        self.crashed(volume, data, 5)
        self.assertEqual(volume.log_text().count(warning), 1)
        # Nor does a reader see what the dead one promised.
        reader = self.without_file(volume).mount("--readOnly")
        said = rf"warning: what {re.escape(os.uname().nodename)} wrote last may be on its local disk alone, and not in the store"
        self.assertRegex(reader.log_text(), said)
        reader.umount()
        volume.mount()
        volume.umount()
        reader.mount("--readOnly")
        self.assertNotRegex(reader.log_text(), said)
        self.assert_is(reader, data)
        reader.umount()

    def test_a_reader_and_somebody_else_has_written(self):
        volume, data = self.filled()
        self.crashed(volume, data, 4, 5)
        self.interfere(volume, data, 9)
        text = self.sentence(volume, "--readOnly", is_ours=True)
        self.assertIn("lock is gone", text)
        self.assertNotIn("mount once", text)
        self.assertIn("--force without --read-only stores those of its blocks that nobody has changed", text)
        self.assertIn("--block-cache-discard-dirty-blocks without --read-only drops all", text)
        self.assertIn("If nobody does, --force stores those", self.sentence(volume, is_ours=True))
        volume.mount("--force")
        self.assertIn("--force: 2 blocks on local disk will be stored\n", volume.log_text())
        volume.umount()
        self.assert_stored(volume, data)

    def test_a_reader_neither_stores_nor_forgets(self):
        volume, data = self.filled()
        self.crashed(volume, data, 5, 6)
        for option in ((), ("--force",), ("--blockCacheDiscardDirtyBlocks",)):
            self.assertRegex(self.sentence(volume, "--readOnly", *option, is_ours=True),
                             "has what is not stored; mount once without --read-only")
        volume.mount()
        volume.umount()
        self.assert_stored(volume, data)

    def test_an_unmounted_volume_needs_no_file(self):
        volume, data = self.filled()
        os.unlink(self.cache)
        volume.mount()
        self.assert_is(volume, data)
        volume.umount()

    # Somebody else

    def interfere(self, volume, data, *blocks, leaves_lock=False):
        other = self.without_file(volume)
        self.assertRegex(other.refused()[1], "mount with its --block-cache-file")
        other.mount("--force")
        for block in blocks:
            data[block * BLOCK:(block + 1) * BLOCK] = self.random.randbytes(BLOCK)
            disk.write_at(other.file, block * BLOCK, data[block * BLOCK:(block + 1) * BLOCK])
        other.kill9() if leaves_lock else other.umount()

    def test_somebody_else_has_written(self):
        for leaves_lock in (False, True):
            with self.subTest(leaves_lock=leaves_lock):
                self.cache = self.path("cache")
                volume, data = self.filled()
                self.crashed(volume, data, 4, 5, 6, 7)
                self.interfere(volume, data, 5, 9, leaves_lock=leaves_lock)
                text = self.sentence(volume, is_ours=True)
                self.assertIn("has what was not stored", text)
                self.assertIn("another mount's" if leaves_lock else "lock is gone", text)
                self.assertIn("--force", text)
                self.assertIn("--block-cache-discard-dirty-blocks", text)
                volume.mount("--force")
                log = volume.log_text()
                self.assertRegex(log, "block 00000005 on local disk is dropped: the store has another version by now")
                self.assertEqual(log.count("is dropped"), 1, log)
                self.assertRegex(log, "3 blocks on local disk will be stored, 1 was dropped")
                self.assert_is(volume, data)
                volume.umount()
                self.assert_stored(volume, data)

    def test_a_comparison_is_interrupted(self):
        self.server = faulty.FaultyServer(self)
        volume, data = self.filled("--timeout=1s", "--initialRetryPause=50ms", store=faulty.FaultyStore(self.server))
        self.crashed(volume, data, 4, 5, 6, 7)
        self.interfere(volume, data, 5)
        self.server.fault("500", op="head", key="^0000000[4-7]$")     # not the first block, whose sizes are asked for
        volume.interrupted(lambda: self.server.fired("500"), "--force", how=disk.signal.SIGKILL)
        self.server.clear()
        self.assertIn("--force stores", self.sentence(volume, is_ours=True), "its own lock vouches for nothing")
        self.server.forget()
        self.server.fault("500", op="head", key="^0000000[4-7]$")
        status, log = volume.interrupted(lambda: self.server.fired("500"), "--force")
        self.assertEqual(status, 1)
        self.assertIn(f"interrupted; {self.cache} keeps what it has that is not stored", log)
        self.assertNotIn("is dropped", log)
        self.server.clear()
        volume.mount("--force")
        self.assert_is(volume, data)
        volume.umount()
        self.assert_stored(volume, data)

    def test_the_wait_before_a_comparison_is_interrupted(self):
        """What the owner before may have sent: it is waited for, under our lock, and a signal ends the wait."""
        self.server = faulty.FaultyServer(self)
        volume, data = self.filled(store=faulty.FaultyStore(self.server))
        self.crashed(volume, data, 4, 5)
        self.interfere(volume, data, 5, leaves_lock=True)
        self.server.forget()
        status, log = volume.interrupted(lambda: self.server.requests(op="put", key=TOKEN), "--force", "--settle-time=600s")
        self.assertEqual(status, 1)
        self.assertIn("interrupted", log)       # there, or before its lock was confirmed
        self.assertIn(TOKEN, volume.store.objects(), "whoever finds it waits himself")
        self.assertNotIn("is dropped", log)
        disk.run(*volume.command("--reset-mounted-flag"), volume.store.location, env=disk.environment(self))    # spares that wait
        volume.mount("--force")
        self.assert_is(volume, data)
        volume.umount()
        self.assert_stored(volume, data)

    def test_somebody_else_has_written_and_it_is_discarded(self):
        volume, data = self.filled()
        self.crashed(volume, bytearray(data), 4, 5)
        self.interfere(volume, data, 5)
        volume.mount("--blockCacheDiscardDirtyBlocks")
        self.assert_is(volume, data)
        volume.umount()
        self.assert_stored(volume, data)

    def test_force_needs_no_interference(self):
        """--force where the lock vouches for the file: all is stored, nothing is dropped."""
        volume, data = self.filled()
        os.unlink(self.cache)
        volume.mount(*KEPT)             # what the file does not know the store's version of
        data[5 * BLOCK:6 * BLOCK] = self.random.randbytes(BLOCK)
        disk.write_at(volume.file, 5 * BLOCK, data[5 * BLOCK:6 * BLOCK])
        volume.kill9()
        volume.mount("--force")
        self.assertNotIn("dropped", volume.log_text())
        volume.umount()
        self.assert_stored(volume, data)

    def test_a_disk_made_smaller_loses_nothing_unseen(self):
        volume, data = self.filled()
        self.crashed(volume, data, 4, BLOCKS // 2)
        before = volume.store.snapshot()
        status, text = volume.refused("--size=2M", "--force")
        self.assertEqual((status, text.count("\n")), (1, 1), text)
        self.assertIn(f"block {BLOCKS // 2:08x}, which is not stored and behind the end of the disk; give the --size", text)
        self.assertEqual(volume.store.snapshot(), before)
        volume.mount()
        self.assert_is(volume, data)
        volume.umount()
        self.assert_stored(volume, data)


class Damage(CacheFile):
    def flip(self, at):
        with open(self.cache, "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 1 << self.random.randrange(8)]))

    def place_of(self, data, block):
        at = self.cache.read_bytes().find(data[block * BLOCK:block * BLOCK + 512])
        self.assertGreater(at, 0)
        return at

    def test_a_clean_block_is_fetched_again(self):
        volume, data = self.filled()
        self.flip(self.place_of(data, 5) + self.random.randrange(BLOCK))
        volume.mount()
        self.assert_is(volume, data)
        stats = volume.stats()
        self.assertEqual(stats["cache_file_damaged"], 1)
        self.assertEqual(stats["object_gets"], 1)
        volume.umount()
        self.assert_stored(volume, data)

    def test_a_dirty_block_is_an_error_with_its_name(self):
        volume, data = self.filled()
        self.crashed(volume, data, 5, 6)
        self.flip(self.place_of(data, 5) + self.random.randrange(BLOCK))
        volume.mount("--directIO")
        self.assertEqual(disk.error_of(disk.read_at, volume.file, 5 * BLOCK, PAGE), "EIO")
        self.assertRegex(volume.log_text(), "block 00000005 .*damaged")
        self.assertEqual(disk.read_at(volume.file, 6 * BLOCK, BLOCK), data[6 * BLOCK:7 * BLOCK])
        self.assertEqual(disk.read_at(volume.file, 4 * BLOCK, BLOCK), data[4 * BLOCK:5 * BLOCK])
        with disk.opened(volume.file) as file:
            self.assertEqual(disk.error_of(os.fsync, file), "EIO")
            # Written whole, it is well.
            data[5 * BLOCK:6 * BLOCK] = self.random.randbytes(BLOCK)
            os.pwrite(file, data[5 * BLOCK:6 * BLOCK], 5 * BLOCK)
            os.fsync(file)
        self.assert_is(volume, data)
        volume.umount()
        self.assert_stored(volume, data)

    def test_the_end_with_a_damaged_dirty_block(self):
        """It stays in the file, the lock stays, and the status says so; who has heard of it can drop it."""
        volume, data = self.filled()
        old = data[5 * BLOCK:6 * BLOCK]
        self.crashed(volume, data, 5, 6)
        self.flip(self.place_of(data, 5) + self.random.randrange(BLOCK))
        volume.mount()
        volume.daemon.send_signal(disk.signal.SIGTERM)
        self.assertEqual(volume.ended(None), 1)
        self.assertRegex(volume.log_text(), "block 00000005 .*damaged")
        self.assertIn(TOKEN, volume.store.objects())
        data[5 * BLOCK:6 * BLOCK] = old
        volume.mount("--blockCacheDiscardDirtyBlocks")
        self.assert_is(volume, data)
        volume.umount()
        self.assert_stored(volume, data)

    def journal_at(self):
        kept = self.cache.read_bytes()
        latest = max(SUPER_PAGES, key=lambda at: struct.unpack_from("<Q", kept, at + 24)[0])
        return struct.unpack_from("<Q", kept, latest + 56)[0]

    def test_a_journal_that_is_damaged(self):
        """Refused with two ways out, and each of them is one; of a spill file it would be the same."""
        for option in ("--force", "--blockCacheDiscardDirtyBlocks"):
            with self.subTest(option=option):
                self.cache = self.path("cache")
                volume, data = self.filled()
                before = bytes(data)
                self.crashed(volume, data, 5, 6)
                self.flip(self.journal_at() + 9)               # of the first record, which is of a clean block
                text = self.sentence(volume, is_ours=True)
                self.assertRegex(text, "the journal of .* is damaged at byte .*; --force goes on with what can be read, "
                                       "--block-cache-discard-dirty-blocks with nothing of it")
                volume.mount(option)
                expected = data if option == "--force" else before
                self.assert_is(volume, expected)
                volume.umount()
                self.assert_stored(volume, expected)

    def test_a_beginning_that_is_damaged(self):
        volume, data = self.filled()
        self.crashed(volume, data, 5)
        with open(self.cache, "r+b") as file:
            for at in SUPER_PAGES:
                file.seek(at + 30)
                file.write(b"damage")
        for option in ((), ("--force",), ("--blockCacheDiscardDirtyBlocks",)):
            self.assertRegex(self.sentence(volume, *option), f"the beginning of the cache file .* is damaged; {LOSE}")

    def test_a_bit_anywhere(self):
        """Whatever bit of the file is flipped, what is read is right, or an error, or the mount is refused with a sentence."""
        volume, data = self.filled(store=disk.DirStore(self))
        self.crashed(volume, data, *range(20, 30))
        kept, stored = self.cache.read_bytes(), self.path("stored")
        disk.run("cp", "-a", volume.store.path, stored)

        def restore():
            self.cache.write_bytes(kept)
            for entry in os.scandir(volume.store.path):         # the directory is the volume
                os.unlink(entry.path)
            disk.run("cp", "-a", f"{stored}/.", volume.store.path)
        refused = errors = 0
        used = [at for at in range(0, len(kept), PAGE) if any(kept[at:at + PAGE])]
        for _ in range(disk.pick(12, 300)):
            restore()
            page = self.random.choice(used[:3] + used[-3:] if self.random.random() < 0.5 else used)
            self.flip(page + self.random.randrange(PAGE))
            try:
                volume.mount("--directIO", "--maxRetryPause=1s", chaos=["only=put", "denied=1000000", "match=0000"])
            except disk.MountFailed as refusal:
                refused += 1
                self.assertRegex(refusal.text, "(?i)damaged|no cache file|format|makes no sense|too short")
                self.assertEqual(len(refusal.text.strip().splitlines()), 1, refusal.text)
                continue
            for block in range(BLOCKS):
                try:
                    found = disk.read_at(volume.file, block * BLOCK, BLOCK)
                except OSError:
                    self.assertIn(block, range(20, 30), "a block that the store has could not be read")
                    errors += 1
                    continue
                self.assertTrue(found == data[block * BLOCK:(block + 1) * BLOCK], f"block {block}, after page {page:#x}")
            volume.kill9()
        print(f"({refused} refused, {errors} errors)", file=disk.sys.stderr)


class Encrypted(CacheFile):
    CHAINS = {"aes": ("--codec=deflate,aes",), "format 2": ("--codec=zstd,xchacha20-poly1305",), "xaes": ("--codec=xaes-256-gcm",)}
    PASSWORD = "--password=correct horse"

    def test_nothing_of_it_can_be_read_in_the_file(self):
        for name, chain in self.CHAINS.items():
            with self.subTest(chain=name):
                self.cache = self.path("cache")
                volume = self.volume(*chain, self.PASSWORD).mount()
                data = bytearray((SECRET * (BLOCKS * BLOCK // len(SECRET) + 1))[:BLOCKS * BLOCK])
                disk.write_at(volume.file, 0, data)
                volume.umount()
                volume.options = [option for option in volume.options if not option.startswith("--codec")]
                volume.mount(*KEPT)
                self.assert_is(volume, data)
                self.assertEqual(volume.stats()["object_gets"], 0)
                data[5 * BLOCK:6 * BLOCK] = data[7:BLOCK + 7]
                disk.write_at(volume.file, 5 * BLOCK, data[5 * BLOCK:6 * BLOCK])
                disk.write_at(volume.file, 6 * BLOCK, SECRET[::-1] * 10)
                data[6 * BLOCK:6 * BLOCK + 10 * len(SECRET)] = SECRET[::-1] * 10
                volume.kill9()
                self.assert_unreadable(self.cache)
                # Whoever has not the password learns nothing and changes nothing.
                wrong = [option if option != self.PASSWORD else "--password=wrong" for option in volume.options]
                right, volume.options = volume.options, wrong
                self.assertRegex(self.sentence(volume), "(?i)password|key")
                volume.options = right
                volume.mount()
                self.assert_is(volume, data)
                volume.umount()
                self.assert_unreadable(self.cache)
                self.assert_stored(volume, data)

    def assert_unreadable(self, path):
        kept = path.read_bytes()
        for at in range(len(SECRET) - 12):
            self.assertNotIn(SECRET[at:at + 12], kept)
            self.assertNotIn(SECRET[::-1][at:at + 12], kept)

    def test_another_password_between_crash_and_recovery(self):
        """Of format 2: the volume's key is the same."""
        volume = self.volume(*self.CHAINS["format 2"], self.PASSWORD).mount()
        data = bytearray(self.random.randbytes(BLOCKS * BLOCK))
        disk.write_at(volume.file, 0, data)
        volume.umount()
        volume.options = [option for option in volume.options if not option.startswith("--codec")]
        self.crashed(volume, data, 5, 6)
        disk.run(disk.BINARY, "key", "change", f"--backend={volume.store.backend}", *volume.store.options, self.PASSWORD,
                 "--new-password=battery staple", volume.store.location, env=disk.environment(self))
        self.assertRegex(self.sentence(volume), "(?i)password")
        self.assertIn("bucketdisk-lock", volume.store.objects())
        volume.options = [option if option != self.PASSWORD else "--password=battery staple" for option in volume.options]
        volume.mount()
        self.assert_is(volume, data)
        volume.umount()
        self.assert_stored(volume, data)


class Below(CacheFile):
    """Who syncs, and when it is on local disk alone."""

    def test_fsync_waits_for_the_file_alone(self):
        volume = self.faulty("--durability=cache").mount()
        data = self.random.randbytes(8 * BLOCK)
        self.server.fault("hang", seconds=3, op="put")
        started = disk.time.monotonic()
        disk.write_at(volume.file, 5 * BLOCK, data)
        self.assertLess(disk.time.monotonic() - started, 2)
        stats = volume.stats()
        self.assertEqual(stats["unsent_blocks"], 8)
        disk.wait_until("it to age", lambda: volume.stats()["unsent_age_seconds"] > 0.5, 10)
        self.assertEqual(disk.read_at(volume.file, 5 * BLOCK, len(data)), data)
        self.server.clear()
        disk.wait_until("it to be stored", lambda: volume.stats()["unsent_blocks"] == 0, 30)
        self.assertEqual(volume.stats()["unsent_age_seconds"], 0)
        volume.umount()
        self.assertEqual(self.server.get("00000006"), data[BLOCK:2 * BLOCK])

    def test_fsync_waits_for_the_store(self):
        volume = self.faulty().mount()
        data = self.random.randbytes(8 * BLOCK)
        self.server.fault("hang", seconds=2, op="put")
        started = disk.time.monotonic()
        disk.write_at(volume.file, 5 * BLOCK, data)
        self.assertGreater(disk.time.monotonic() - started, 1.5)
        self.assertEqual(self.server.get("00000006"), data[BLOCK:2 * BLOCK])
        self.assertEqual(volume.stats()["unsent_blocks"], 0)
        volume.umount()

    def test_writers_are_slowed_so_that_nothing_gets_too_old(self):
        """A store of ten blocks a second, and a writer who could do thousands."""
        volume = self.faulty("--durability=cache", "--max-unsent-age=2s", "--blockCacheThreads=1", "--blockCacheMaxDirty=8",
                             "--cache-size=1M").mount()
        self.server.fault("hang", seconds=0.1, op="put")
        end, oldest, count = threading.Event(), 0, 0

        def write():
            nonlocal count
            with disk.opened(volume.file) as file:
                while not end.is_set():
                    os.pwrite(file, self.random.randbytes(BLOCK), count % BLOCKS * BLOCK)
                    os.fsync(file)
                    count += 1
        writer = threading.Thread(target=write)
        writer.start()
        for _ in range(80):
            oldest = max(oldest, volume.stats()["unsent_age_seconds"])
            disk.time.sleep(0.1)
        end.set()
        writer.join()
        self.assertLess(oldest, 3.5)
        self.assertGreater(count, 30)
        self.assertGreater(volume.stats()["cache_file_waits"], 0)
        self.server.clear()
        volume.umount()


if __name__ == "__main__":
    disk.main()
