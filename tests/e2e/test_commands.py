#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A volume is looked at, checked, freed and deleted by commands, as a user does it: what they say, what they leave, and what is
left when they are interrupted or killed."""
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time

import disk
import faulty

BLOCK = 64 * disk.KIB
PASSWORD = "drei Wörter nur"
QUICK_KEY = ["--argon2id-memory=1M", "--argon2id-passes=1"]
DESCRIPTION, LOCK, TOKEN, MARK = "bucketdisk-volume", "bucketdisk-lock", "s3backer-mounted", "bucketdisk-copy"
CONTROL = (DESCRIPTION, LOCK, TOKEN)
ALWAYS = 1000000
COLUMNS = 80


def put(store, name, body, encoding=None, attributes=None):
    """An object, behind the daemon's back."""
    if isinstance(store, disk.DirStore):
        path = store.path / name
        path.write_bytes(body)
        if encoding:
            os.setxattr(path, "user.bucketdisk.encoding", encoding.encode())
        for key, value in (attributes or {}).items():
            os.setxattr(path, f"user.bucketdisk.a.{key}", value.encode())
    else:
        store.client.put_object(Bucket=store.bucket, Key=store.prefix + name, Body=body, Metadata=attributes or {},
                                **({"ContentEncoding": encoding} if encoding else {}))


def vectors(number):
    """What s3backer has stored (tests/vectors)."""
    where = disk.TOP / "tests" / "vectors" / "s3backer"
    for path in sorted(where.glob(f"{number:02}-*.json")):
        yield json.loads(path.read_text()), path.with_suffix(".body").read_bytes()


class Commands(disk.Story):
    # ---- commands

    def words(self, verb, volume, *options, chaos=None):
        backend = ("chaos," if chaos else "") + volume.store.backend
        verbs = verb if isinstance(verb, list) else [verb]
        return [disk.BINARY, *verbs, f"--backend={backend}", *volume.store.options, *volume.options,
                *[f"--chaos-{option}" for option in chaos or ()], *options, volume.store.location]

    def ask(self, verb, volume, *options, chaos=None, **more):
        """(exit status, standard output, standard error)"""
        done = disk.run(*self.words(verb, volume, *options, chaos=chaos), check=False, env=disk.environment(self), **more)
        for line in (done.stdout + done.stderr).splitlines():
            self.assertTrue(line.isprintable(), line)
        return done.returncode, done.stdout, done.stderr

    def answer(self, verb, volume, *options, **more):
        """Standard output of a command that ends well, and says nothing else."""
        status, out, err = self.ask(verb, volume, *options, **more)
        self.assertEqual((status, err), (0, ""), out)
        return out

    def refused(self, text, verb, volume, *options, status=1, **more):
        got, out, err = self.ask(verb, volume, *options, **more)
        self.assertEqual(got, status, out + err)
        self.assertRegex(err, text)
        return out

    def info(self, volume, *options):
        return json.loads(self.answer("info", volume, "--json", *options))

    def listed(self, volume, *options):
        return [json.loads(line) for line in self.answer("list", volume, "--json", *options).splitlines()]

    # ---- volumes

    def volume(self, blocks=20, *options, size="64M"):
        """With data in its first blocks; not mounted."""
        volume = disk.Disk(self, size, "64K", *options).mount()
        disk.write_at(volume.file, 0, self.random.randbytes(blocks * BLOCK))
        volume.umount()
        return volume

    def encrypted(self, blocks=20):
        return self.volume(blocks, "--format=2", f"--password={PASSWORD}", *QUICK_KEY)

    def assert_fits(self, text):
        for line in text.splitlines():
            self.assertLessEqual(len(line.replace(str(self.tmp), "/tmp")), COLUMNS, line)

    # ---- info, list, check

    def test_a_plain_volume_tells_what_it_is(self):
        volume = self.volume(20)
        info = self.info(volume)
        self.assertEqual({name: info[name] for name in ("size", "block_size", "format", "blocks", "blocks_in_use")},
                         {"size": 64 * disk.MIB, "block_size": BLOCK, "format": 1, "blocks": 1024, "blocks_in_use": 20})
        self.assertEqual((info["bytes_in_use"], info["encodings"]), (20 * BLOCK, [{"encoding": "", "blocks": 20}]))
        self.assertEqual(info["holder"]["state"], "free")
        text = self.answer("info", volume)
        self.assertRegex(text, "64.0 MiB(.|\n)*20 of 1024 blocks(.|\n)*nobody")
        self.assert_fits(text)

        self.assertEqual([(row["block"], row["bytes"], row["object"].rpartition("/")[2]) for row in self.listed(volume)],
                         [(block, BLOCK, f"{block:08x}") for block in range(20)])
        table = self.answer("list", volume).splitlines()
        self.assertEqual((len(table), table[20].split()[:2]), (21, ["19", str(BLOCK)]))
        tags = [row["tag"] for row in self.listed(volume, "--long")]
        self.assertEqual(len(set(tags)), 20)
        self.assertEqual(len(self.answer("list", volume, "--long").splitlines()), 21)

        out = self.answer("check", volume, "--quiet")
        self.assertRegex(out, "^20 blocks are good, 0 damaged, 0 cannot be read\\.(.|\n)*Nothing authenticates")
        self.assert_fits(out)
        for verb in ("info", "list", "check", "erase", "reset"):
            self.assert_fits(disk.run(disk.BINARY, verb, "--help").stdout)

    def test_one_block_is_not_called_blocks(self):
        volume = self.volume(1)
        self.assertRegex(self.answer("check", volume), "^1 block is good, 0 damaged")
        volume.mount("--listBlocks")
        volume.umount()
        self.assertIn("all blocks are listed: 1 has an object", volume.log_text())
        put(volume.store, "00000001", b"short")
        self.refused("1 block is damaged", "check", volume, status=3)
        self.assertRegex(self.ask("erase", volume, "--force", "--settle-time=0s")[1], "is erased: 2 blocks, ")

    def test_what_s3backer_has_encrypted_is_read_and_what_is_damaged_is_named(self):
        store = disk.new_store(self)
        volume = disk.Disk(self, store=store)
        for vector, body in vectors(5):
            headers = {name.lower(): value for name, value in vector["headers"]}
            put(store, vector["object_key"], body, headers.get("content-encoding"),
                {name.removeprefix("x-amz-meta-"): value for name, value in headers.items() if name.startswith("x-amz-meta-")})
        password = next(flag for flag in vector["flags"] if flag.startswith("--password"))
        opens = [password, f"--password-salt={vector['bucket']}/{vector['prefix']}"]
        info = self.info(volume)
        self.assertEqual((info["size"], info["block_size"], info["blocks_in_use"]), (1 << 20, 4096, 2))
        self.assertIn("encrypt-AES-128-CBC", info["encodings"][0]["encoding"])
        self.assertEqual({row["encoding"] for row in self.listed(volume, "--long")}, {info["encodings"][0]["encoding"]})

        report = json.loads(self.answer("check", volume, "--json", *opens))
        self.assertEqual((report["complete"], report["authenticated"], report["good"], report["bad"]), (True, True, 2, []))
        self.refused("give --password-file", "check", volume)
        self.refused("password does not open", "check", volume, "--password=another", opens[1])

        body = bytearray(body)
        body[20] ^= 1
        put(store, "0000002a", bytes(body), headers["content-encoding"], {"s3backer-hmac": headers["x-amz-meta-s3backer-hmac"]})
        out = self.refused("1 block is damaged", "check", volume, *opens, status=3)
        self.assertRegex(out, "^block 42 is damaged: object .*0000002a: ")
        report = json.loads(self.refused("damaged", "check", volume, "--json", *opens, status=3))
        self.assertEqual([(bad["block"], bad["damaged"]) for bad in report["bad"]], [(0x2a, True)])

    def test_an_encrypted_volume_of_format_2_tells_its_slots_and_is_checked(self):
        volume = self.encrypted(10)
        volume.options = QUICK_KEY
        info = self.info(volume, "--all")
        self.assertEqual((info["format"], info["encrypted"], [slot["slot"] for slot in info["key_slots"]]), (2, True, [0]))
        self.assertEqual(info["blocks_looked_at"], info["blocks_in_use"])
        # What is random does not get smaller, and is stored as it is.
        self.assertEqual([row["encoding"] for row in info["encodings"]], [info["codec"].rpartition(",")[2]])
        self.assertRegex(self.answer("info", volume), "format +2(.|\n)*key slots +number 0")
        report = json.loads(self.answer("check", volume, "--json", f"--password={PASSWORD}"))
        self.assertEqual((report["good"], report["authenticated"]), (info["blocks_in_use"], True))
        put(volume.store, "00000003", b"short")
        self.assertRegex(self.refused("damaged", "check", volume, f"--password={PASSWORD}", status=3), "^block 3 is damaged")

    def test_beside_a_living_writer_a_check_finds_nothing_wrong(self):
        volume = self.volume(40).mount()
        self.assertIn(self.info(volume)["holder"]["state"], ("leased", "held"))      # as the store honours conditions
        if disk.STORE == "dir":
            self.assertRegex(self.answer("info", volume), "which renewed its lock 0:0")
        goes_on = self.path("goes-on")
        goes_on.touch()
        writer = self.start("sh", "-c", f"while [ -e {goes_on} ]; do dd if=/dev/urandom bs=64K count=40 conv=notrunc,fsync status=none "
                            f"of={volume.file}; done", stdin=subprocess.DEVNULL)
        for _ in range(3):
            report = json.loads(self.answer("check", volume, "--json"))
            self.assertEqual((report["complete"], report["bad"]), (True, []))
        goes_on.unlink()
        self.assertEqual(self.reap(writer), 0)
        volume.umount()

    def test_a_check_that_is_interrupted_tells_what_it_found(self):
        volume = self.volume(30)
        put(volume.store, "00000000", b"short", None, {"s3backer-blocksize": str(BLOCK), "s3backer-filesize": str(64 * disk.MIB)})
        process = self.start(*self.words("check", volume, "--json", "--blockCacheThreads=1", "--initialRetryPause=1ms",
                                         chaos=["only=get", "latency=200ms"]), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=disk.environment(self))
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        self.assertEqual(self.reap(process), 130, err)
        self.assertIn("interrupted", err)
        report = json.loads(out)
        self.assertEqual((report["complete"], report["blocks"], [bad["block"] for bad in report["bad"]]), (False, 30, [0]))
        self.assertTrue(0 < report["checked"] < 30, report)

    def test_a_second_signal_of_any_kind_ends_it_at_once(self):
        volume = self.volume(3)
        process = self.start(*self.words("check", volume, chaos=["only=get", "latency=20s", "match=0000000"]), stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=disk.environment(self))

        def catches(number):
            with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
                return next(int(line.split()[1], 16) for line in status if line.startswith("SigCgt")) >> number - 1 & 1
        disk.wait_until("signals to be caught", lambda: catches(signal.SIGTERM))
        process.send_signal(signal.SIGINT)
        disk.wait_until("the first to be taken", lambda: not catches(signal.SIGTERM))
        process.send_signal(signal.SIGTERM)
        self.assertEqual(self.reap(process), -signal.SIGTERM)

    def test_a_store_that_gives_nothing_is_not_damage(self):
        volume = self.volume(10)
        out = self.refused("10 blocks cannot be read", "check", volume, chaos=["only=get", f"denied={ALWAYS}", "match=000000"])
        self.assertRegex(out, "0 blocks are good, 0 damaged, 10 cannot be read")

    def test_what_is_listed_and_not_there_is_damaged(self):
        if disk.STORE != "dir":
            self.skipTest("its own server errs here")
        server = faulty.FaultyServer(self)
        volume = disk.Disk(self, "64M", "64K", store=faulty.FaultyStore(server)).mount()
        disk.write_at(volume.file, 0, self.random.randbytes(6 * BLOCK))
        volume.umount()
        gone = {"status": 404, "code": "NoSuchKey", "op": "get", "key": "0000000[24]$"}
        server.fault("error", **gone)
        out = self.refused("2 blocks are damaged", "check", volume, status=3)
        self.assertRegex(out, "(?s)^block 2 is damaged.*lists it.*not there.*block 4.*4 blocks are good, 2 damaged")
        server.clear()
        server.fault("error", **gone, count=2)       # deleted, listed, and written again
        self.assertRegex(self.answer("check", volume), "^6 blocks are good, 0 damaged, 0 cannot be read\\.")

    def test_the_list_of_plugins_fits(self):
        for options in ([], ["-v"]):
            text = disk.run(disk.BINARY, "plugins", *options).stdout
            self.assert_fits("".join(line + "\n" for line in text.splitlines() if not line.startswith("  path ")))
            self.assertIn("  codec      zstd (compresses, may decline): Zstandard; ", text)

    def test_a_list_of_plugins_that_cannot_be_printed_is_told(self):
        for options in ([], ["--json"], ["dir"]):
            with open("/dev/full", "w", encoding="utf-8") as full:
                done = subprocess.run([disk.BINARY, "plugins", *options], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, "cannot write to standard output: No space left")

    def test_what_is_done_and_cannot_be_printed_is_done(self):
        volume = self.volume(1)
        for options in ([], ["--json"]):
            put(volume.store, TOKEN, b"there\n", None, {"s3backer-mount-token": "12345678"})
            for verb, text in (("reset", "the mount token of .* is removed, but that cannot be printed: .*No space left"),
                               ("erase", "is erased, but that cannot be printed: .*No space left")):
                with open("/dev/full", "w", encoding="utf-8") as full:
                    done = subprocess.run([str(word) for word in self.words(verb, volume, "--settle-time=0s", "--force", *options)],
                                          stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=disk.environment(self))
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr, text)
        self.assertEqual(volume.store.objects(), [])

    def test_who_waits_for_a_disk_that_was_detached_in_use_is_told_for_what(self):
        volume = disk.Disk(self, "64M", "64K").mount()
        with open(volume.file, "r+b") as file:
            umount = self.start(disk.BINARY, "umount", "-l", volume.mountpoint, stderr=subprocess.DEVNULL)
            disk.wait_until("it to be detached", lambda: not disk.is_mounted(volume.mountpoint), 30)
            reset = self.start(*self.words("reset", volume, "--settle-time=0s"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                               env=disk.environment(self))
            said = reset.stderr.readline()
            file.write(b"late")
        self.assertIn(f"which ends when nobody uses {volume.mountpoint} any more and everything is stored", said)
        reset.stderr.close()
        self.assertEqual([self.reap(process) for process in (reset, umount)], [0, 0])
        volume.ended()

    def test_what_is_said_to_closed_streams_gets_into_no_file(self):
        """Neither the store's nor others: the next that is opened would have their numbers."""
        volume, mountpoint, cache = self.volume(2), self.directory("closed"), self.path("cache-file")
        before = volume.store.objects()
        closed = 'exec "$@" <&- >&- 2>&-'
        words = [disk.BINARY, f"--backend={volume.store.backend}", *volume.store.options, "--debug", "--foreground",
                 f"--block-cache-file={cache}", volume.store.location, mountpoint]
        daemon = self.start("sh", "-c", closed, "sh", *words, env=disk.environment(self))
        thing = disk.RECORD.add("mount", mountpoint)
        disk.wait_until("it to be mounted", lambda: disk.is_mounted(mountpoint), 30)
        opened = [os.readlink(f"/proc/{daemon.pid}/fd/{number}") for number in range(3)]
        disk.run(disk.BINARY, "umount", mountpoint)
        self.assertEqual(self.reap(daemon), 0)
        disk.RECORD.drop(thing)
        self.assertEqual(opened, ["/dev/null"] * 3)
        self.assertEqual(volume.store.objects(), before)
        self.assertEqual(disk.run("sh", "-c", 'exec "$1" plugins >&-', "sh", disk.BINARY, check=False).returncode, 1)

    # ---- on a terminal

    def on_terminal(self, *command, typed=None, seconds=30):
        """(exit status, what the terminal got, standard output)"""
        ours, theirs = pty.openpty()
        os.set_blocking(ours, False)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
        process = self.start(*command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs,
                             env={**disk.environment(self), "TERM": "xterm"})
        os.close(theirs)
        shown, end = b"", time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < end:
            select.select([ours], [], [], 0.1)
            with contextlib.suppress(BlockingIOError, OSError):
                shown += os.read(ours, 65536)
            if typed and b"[y/N] " in shown:
                os.write(ours, typed)
                typed = None
        with contextlib.suppress(BlockingIOError, OSError):
            shown += os.read(ours, 65536)
        os.close(ours)
        out = process.stdout.read().decode()
        return self.reap(process), shown.decode(), out

    def test_a_terminal_shows_a_bar_that_fits_and_goes_away(self):
        volume = self.volume(40)
        words = self.words("check", volume, "--json", "--blockCacheThreads=1", chaos=["only=get", "latency=35ms"])
        status, shown, out = self.on_terminal(*words)
        self.assertEqual((status, json.loads(out)["good"]), (0, 40))
        drawn = re.findall("checking blocks[^\r]*", shown)
        self.assertGreater(len(drawn), 3, shown)
        self.assertRegex(drawn[-1], r"\[=+>? *\] +\d+%  \d+ of 40, .*iB, .*iB/s")
        for line in drawn:
            self.assertLess(len(line.replace("\x1b[K", "")), COLUMNS)
        self.assertTrue(shown.endswith("\r\x1b[K"), repr(shown[-80:]))
        status, shown, _ = self.on_terminal(*self.words("check", volume, "--json", "--quiet", chaos=["only=get", "latency=400ms"]))
        self.assertEqual((status, shown), (0, ""))
        self.assertRegex(self.refused(r"checking blocks: \d+ %, \d+ of 40", "check", volume, "--blockCacheThreads=1", status=0,
                                      chaos=["only=get", "latency=60ms"]), "40 blocks are good")

    # ---- erase

    def left(self, volume):
        return [name for name in volume.store.objects() if not name.startswith("other")]

    def foreign(self, volume):
        for name in ("other1", "other2"):
            put(volume.store, name, b"not ours")

    def test_erase_asks_deletes_the_volume_and_leaves_all_else(self):
        for volume in (self.volume(30), self.encrypted(5)):
            volume.options = []
            self.foreign(volume)
            before = volume.store.snapshot()
            self.refused("no terminal", "erase", volume)
            status, shown, _ = self.on_terminal(*self.words("erase", volume), typed=b"\n")
            self.assertEqual(status, 1)
            self.assertIn("nothing was changed", shown)
            self.assertEqual(volume.store.snapshot(), before)
            status, shown, out = self.on_terminal(*self.words("erase", volume), typed=b"yes\n", seconds=60)
            self.assertEqual(status, 0, shown)
            self.assertRegex(out, r"is erased: \d+ blocks, .*\n2 objects there are none of the volume's, and are left")
            self.assertEqual(volume.store.objects(), ["other1", "other2"])
            self.refused("no volume", "erase", volume)

    def test_who_has_the_volume_is_not_robbed_of_it(self):
        volume = self.volume(5).mount()
        self.refused("is mounted on", "erase", volume, "--force")
        self.refused("is mounted on", "reset", volume)
        volume.umount()
        put(volume.store, TOKEN, b"host\n20261122T000000Z\n", None, {"s3backer-mount-token": "12345678"})
        before = volume.store.snapshot()
        status, shown, _ = self.on_terminal(*self.words("erase", volume), typed=b"y\n")
        self.assertEqual(status, 1)
        self.assertRegex(shown, "in use, says its mount token")
        self.assertEqual(volume.store.snapshot(), before)
        self.answer("reset", volume)
        self.assertEqual(self.info(volume)["holder"]["state"], "free")
        put(volume.store, TOKEN, b"host\n20261122T000000Z\n", None, {"s3backer-mount-token": "12345678"})
        status, out, err = self.ask(["--erase"], volume, "--force", "--settle-time=1s")
        self.assertEqual(status, 0, err)
        self.assertEqual(volume.store.objects(), [])

    def test_an_erase_by_force_that_comes_to_nothing(self):
        """Refused, it puts the lock back; interrupted, its own stays, and who comes next waits for the owner's lease."""
        attributes = {"s3backer-mount-token": "12345678", "bucketdisk-owner": "machine boot 1:2 there",
                      "bucketdisk-lease": "beat=7 epoch=1 lease=60000 settle=0 at=1700000000"}
        for volume, lock in ((self.volume(3), TOKEN), (self.volume(3, "--format=2"), LOCK)):
            with self.subTest(lock=lock):
                put(volume.store, lock, b"there\n", None, attributes)
                if lock == TOKEN:               # a description says what the names are
                    self.refused("names of the blocks", "erase", volume, "--force", "--blockHashPrefix", "--settle-time=0s")
                self.assertEqual(self.info(volume)["holder"]["host"], "there")
                log = self.path("erase").with_suffix(".log")
                with open(log, "wb") as file:
                    process = self.start(*self.words("erase", volume, "--force", "--settle-time=0s"), stdin=subprocess.DEVNULL,
                                         stdout=file, stderr=file, env=disk.environment(self))
                disk.wait_until("the wait for the owner", lambda: b"waiting" in log.read_bytes())
                process.send_signal(signal.SIGINT)
                self.assertEqual(self.reap(process), 130)
                self.assertIn(lock, volume.store.objects())
                process = self.start(*self.words("erase", volume, "--force", "--settle-time=0s"), stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=disk.environment(self))
                left = re.search("waiting ([0-9]+) s", next(line for line in process.stderr if "waiting" in line))
                self.assertGreater(int(left[1]), 40)
                process.kill()
                self.reap(process)
                process.stderr.close()

    def test_who_has_it_elsewhere_is_waited_out_if_that_is_forced(self):
        volume = self.volume(5)
        where, log = self.directory("elsewhere"), self.path("elsewhere").with_suffix(".log")
        self.logs.append(log)
        with open(log, "wb") as file:
            other = self.start_elsewhere(*volume.command("--lease=1s", "--settle-time=1s"), "-f", volume.store.location, where,
                                         stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        disk.wait_until("a mount elsewhere", lambda: self.info(volume)["holder"]["state"] != "free" and b"is /" in log.read_bytes())
        status, shown, _ = self.on_terminal(*self.words("erase", volume), typed=b"y\n")
        self.assertEqual(status, 1)
        self.assertRegex(shown, "in use on .*takeover|in use.*mount token")
        status, out, err = self.ask("erase", volume, "--force", "--settle-time=1s")
        self.assertEqual((status, volume.store.objects()), (0, []), err)
        self.assertIn("waiting", err)
        other.send_signal(signal.SIGTERM)
        self.reap(other)
        self.assertEqual(volume.store.objects(), [])

    def test_names_with_a_hash_are_not_missed(self):
        volume = self.volume(5, "--blockHashPrefix")
        volume.options = []
        before = volume.store.blocks()
        self.refused("give --blockHashPrefix", "erase", volume, "--force")
        self.assertEqual(volume.store.blocks(), before)
        self.assertRegex(self.ask("erase", volume, "--force", "--blockHashPrefix")[1], "erased: 5 blocks")
        self.assertEqual(volume.store.objects(), [])

    def assert_useless(self, volume, options):
        """What is erased in part is no volume to anybody."""
        for option in ([], ["--readOnly"], ["--size=64M"]):
            status, text = volume.refused(*options, *option)
            self.assertEqual(status, 1)
            self.assertRegex(text, "being erased.*bucketdisk erase")
        for verb in ("info", "list", "check"):
            self.refused("being erased", verb, volume)

    def test_an_erasing_that_is_interrupted_leaves_no_volume_and_goes_on(self):
        for opens in ([], ["--format=2", f"--password={PASSWORD}", *QUICK_KEY]):
            volume = disk.Disk(self, "4M", "512", *opens).mount()
            disk.write_at(volume.file, 0, self.random.randbytes(2500 * 512))        # three batches
            volume.umount()
            volume.options = ["--settle-time=1s"]
            self.foreign(volume)
            process = self.start(*self.words("erase", volume, "--force", "--blockCacheThreads=1",
                                             chaos=["only=delete-many", "latency=500ms"]), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=disk.environment(self))
            disk.wait_until("the first batch to go", lambda: "00000000" not in volume.store.objects())
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=30)
            self.assertEqual(self.reap(process), 130, err)
            self.assertRegex(err, r"interrupted; the volume is erased in part \([12]000 blocks\).*the same command goes on")
            self.assertIn("000009c3", volume.store.objects())
            self.assertIn(TOKEN, volume.store.objects())        # s3backer is kept off
            self.assert_useless(volume, opens)
            self.assertEqual(self.ask("erase", volume, "--force")[0], 0)
            self.assertEqual(self.left(volume), [])

    def test_killed_at_any_point_it_is_whole_or_no_volume(self):
        """Each operation of the store once: die before it is done, or after."""
        if disk.IS_REMOTE:
            self.skipTest("each of many steps waits for the store there")
        for make in (self.volume, self.encrypted):
            volume = make(3)
            volume.options = []
            saved, step, seen = self.path("saved"), 0, set()
            shutil.copytree(volume.store.path, saved)
            while True:
                step += 1
                status, _, err = self.ask("erase", volume, "--force", chaos=[f"die-at={step}", f"seed={disk.SEED}"])
                if status == 0:
                    break
                self.assertEqual(status, -signal.SIGKILL, err)
                status, _, err = self.ask("info", volume)
                if status == 0:
                    seen.add("whole")
                    self.assertEqual(set(volume.store.objects()) - set(CONTROL),
                                     {name for name in os.listdir(saved) if name not in CONTROL and not name.startswith(".")})
                    continue
                if "being erased" in err:
                    seen.add("useless")
                else:
                    seen.add("gone")
                    self.assertIn("there is no volume here", err)
                    self.assertLessEqual(set(volume.store.objects()), {LOCK, TOKEN})
                self.assertEqual(self.ask("erase", volume, "--force")[0], 0)
                self.assertEqual(volume.store.objects(), [])
                shutil.rmtree(volume.store.path)
                shutil.copytree(saved, volume.store.path)
            self.assertEqual(seen, {"whole", "useless", "gone"})
            self.assertEqual(volume.store.objects(), [])

    def owner(self, volume):
        return os.getxattr(volume.store.path / TOKEN, "user.bucketdisk.a.bucketdisk-owner").decode()

    def test_half_a_volume_is_never_left_to_s3backer(self):
        """Of the marks that say so s3backer knows nothing, so whoever clears or takes the token leaves one."""
        if disk.IS_REMOTE:
            self.skipTest("its objects' attributes are read here as files have them")
        for verb, left, goes_on in (("takeover", "erase", "erase"), ("reset", "erase", "erase"),
                                    ("takeover", "copy", "copy"), ("reset", "copy", "copy")):
            volume = self.volume(5)
            if left == "erase":
                self.refused("in part", "erase", volume, "--force", "--settle-time=1s",
                             chaos=["only=delete,delete-many", f"denied={ALWAYS}", "match=0000000"])
            else:
                put(volume.store, MARK, json.dumps({"copy": 1, "source": "s", "called": "/elsewhere", "volume": "", "encryption": "",
                                                    "disk_bytes": 64 * disk.MIB, "block_bytes": BLOCK}).encode())
                self.assertEqual(self.info(volume)["half_copy_of"], "/elsewhere")
                self.assertRegex(self.answer("info", volume), "(?s)not complete, and cannot be mounted.*of /elsewhere.*bucketdisk copy.* goes on")
                self.assert_fits(self.answer("info", volume))
                (volume.store.path / "00000000").unlink()       # it may not be there yet
                self.assertEqual(self.info(volume)["half_copy_of"], "/elsewhere")
                for block in range(1, 5):
                    (volume.store.path / f"{block:08x}").unlink()
                self.refused('copy of /elsewhere that is not complete: say "bucketdisk copy" as it was begun', "info", volume)
            put(volume.store, TOKEN, b"there\n", None, {
                "s3backer-mount-token": "12345678", "bucketdisk-owner": "machine boot 1:2 there",
                "bucketdisk-lease": "beat=7 epoch=1 lease=1000 settle=0 at=1700000000"})
            status, out, err = self.ask(verb, volume, "--settle-time=0s")
            self.assertEqual(status, 0, err)
            self.assertIn(f'"bucketdisk {goes_on}"', " ".join((out + err).split()))
            self.assertNotEqual(self.owner(volume), "machine boot 1:2 there")
            self.refused("being erased" if left == "erase" else "not complete", "check", volume)
            # The token is of a dead daemon of this machine, and nothing has to be forced.
            if left == "erase":
                status, shown, out = self.on_terminal(*self.words("erase", volume), typed=b"y\n")
                self.assertEqual((status, volume.store.objects()), (0, []), shown + out)

    def test_what_cannot_be_deleted_is_told_and_the_status_says_so(self):
        volume = self.volume(5)
        deletes = "only=delete,delete-many"
        before = volume.store.snapshot()
        for verb in ("erase", "reset"):
            self.refused("leave --readOnly out", verb, volume, "--force", "--readOnly")
        self.refused("cannot delete .*trial", "erase", volume, "--force", chaos=[deletes, f"denied={ALWAYS}", "match=bucketdisk-trial"])
        self.assertEqual({**volume.store.snapshot()}, before)
        self.refused("could not be deleted: .*in part", "erase", volume, "--force", "--settle-time=1s",
                     chaos=[deletes, f"denied={ALWAYS}", "match=0000000"])
        self.assertIn("00000003", volume.store.blocks())
        self.refused("still lists 5 blocks", "erase", volume, "--force", "--settle-time=1s", chaos=[deletes, "discard", "match=0000000"])
        self.assertEqual(self.ask("erase", volume, "--force", "--settle-time=1s")[0], 0)
        self.assertEqual(volume.store.objects(), [])

    def test_one_sentence_for_what_is_given_wrongly(self):
        nowhere = self.tmp / "none"
        for verb in ("info", "list", "check", "erase", "reset", "takeover"):
            for words, text in (([], "which volume.*usage"), (["a", "b"], 'too many words: what is "b".*usage'), (["--frobnicate", "a"], "frobnicate"),
                                (["--backend=nosuch", "a"], "nosuch"), (["--backend=dir", nowhere], "none")):
                done = disk.run(disk.BINARY, verb, *words, check=False)
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertRegex(done.stderr, f"^bucketdisk: error: .*{text}.*\n$")
        done = disk.run(disk.BINARY, "key", "list", "a", "b", check=False)
        self.assertRegex(done.stderr, 'too many words: what is "b".*usage')
        empty = disk.Disk(self, store=disk.new_store(self))
        for verb in ("info", "list", "check"):
            self.refused("there is no volume here", verb, empty)
        self.refused("there is no volume in", "erase", empty, "--force=no")
        self.refused("there is no volume in", "takeover", empty)
        self.assertEqual(empty.store.objects(), [])

    def test_where_nothing_is_nothing_is_said_to_be_done(self):
        empty = disk.Disk(self, store=disk.new_store(self))
        self.assertRegex(self.answer(["--reset-mounted-flag"], empty),
                         "^There is no volume and no mount token in .*; nothing was changed\\.$")
        for options in ([], ["--quiet"], ["--json"]):
            out = self.refused("there is no volume and no mount token in .*; is --prefix right", "reset", empty, *options)
        report = json.loads(out)
        self.assertEqual((report["was_there"], report["mount_token"]), (False, "none"))
        put(empty.store, "other1", b"not ours")
        out = self.ask("erase", empty, "--force", "--settle-time=0s")[1]
        self.assertRegex(out, "^There was no volume in .*; nothing was deleted\\.\n1 object there is none of the volume's, and is left\\.$")
        report = json.loads(self.ask("erase", empty, "--force", "--json", "--settle-time=0s")[1])
        self.assertEqual([report[name] for name in ("was_there", "blocks", "bytes", "other_objects")], [False, 0, 0, 1])
        self.assertEqual(empty.store.objects(), ["other1"])

    def test_reset_says_whose_token_it_removed(self):
        volume = self.volume(1)
        lock = {"s3backer-mount-token": "12345678", "bucketdisk-owner": "machine boot 1:2 there",
                "bucketdisk-lease": "beat=7 epoch=1 lease=1000 settle=0 at=1700000000"}
        for verb in ("reset", ["--reset-mounted-flag"]):
            for attributes, sentence in ((lock, "The mount token of there is removed."),
                                         ({"s3backer-mount-token": "12345678"}, "The mount token is removed; it did not say whose it was."),
                                         ({"s3backer-mount-token": "7fffffff"}, "The mount token of all who shared the volume is removed.")):
                put(volume.store, TOKEN, b"there\n", None, attributes)
                self.assertEqual(self.answer(verb, volume, "--settle-time=0s"), sentence + "\n")
                self.assertNotIn(TOKEN, volume.store.objects())
            self.assertRegex(self.answer(verb, volume), "^There is no mount token in .*; nothing was changed\\.$")
        put(volume.store, TOKEN, b"there\n", None, lock)
        report = json.loads(self.answer("reset", volume, "--json", "--settle-time=0s"))
        self.assertEqual((report["was_there"], report["mount_token"], report["host"]), (True, "removed", "there"))
        report = json.loads(self.answer("reset", volume, "--json"))
        self.assertEqual((report["was_there"], report["mount_token"]), (True, "none"))
        report = json.loads(self.ask("erase", volume, "--force", "--json", "--settle-time=0s")[1])
        self.assertEqual([report[name] for name in ("was_there", "blocks", "bytes", "other_objects")], [True, 1, BLOCK, 0])

    def test_what_was_only_begun_is_not_said_to_be_a_volume(self):
        """A mount that makes a volume of format 2 is killed, later each time: what is taken over is what is there."""
        if disk.IS_REMOTE:
            self.skipTest("each of many steps waits for the store there")
        volume, seen = disk.Disk(self, store=disk.new_store(self)), set()
        for step in range(1, 40, 3):
            self.assertEqual(disk.run(disk.BINARY, "--backend=chaos,dir", f"--chaos-die-at={step}", f"--chaos-seed={disk.SEED}",
                                      "--format=2", "--size=64M", "--settle-time=0s", "-f", volume.store.location,
                                      self.directory("begun"), check=False, env=disk.environment(self)).returncode, -signal.SIGKILL)
            objects = volume.store.objects()
            status, out, err = self.ask("takeover", volume, "--settle-time=0s")
            if DESCRIPTION in objects:
                seen.add("volume")
                self.assertRegex(out, "^The volume has been taken from .* and can be mounted")
                break
            if LOCK in objects:
                seen.add("begun")
                self.assertRegex(out, "^What was begun here has been taken from .*no volume yet: a mount with --format=2 and --size makes")
            else:
                seen.add("nothing")
                self.assertRegex(err, "there is no volume in")
            self.assertEqual(status, 0 if LOCK in objects else 1, out + err)
        self.assertEqual(seen, {"nothing", "begun", "volume"})

    def test_plugins_are_found_wherever_their_place_is_said(self):
        program, plugins = disk.program_without_plugins(self)
        conf, path, empty = self.path("conf"), f"plugin-path={plugins}", self.directory("empty")
        conf.write_text(f"dir-threads=2\n{path}\n")
        found, unknown = "there is no volume here", "there is no option --dir-threads"
        for words, text in ((["--dir-threads=2"], unknown),
                            (["-o", f"backend=dir,dir-threads=2,{path}"], found),
                            (["--dir-threads=2", f"-do{path}"], found),
                            (["-F", conf], found),
                            (["-o", f"config-file={conf}", "--dir-threads=3"], found),
                            (["-o", f"plugin-builtin-only,{path}", "--dir-threads=2"], unknown)):
            with self.subTest(words=words):
                done = disk.run(program, "info", "--backend=dir", *words, empty, check=False, env=disk.environment(self))
                self.assertEqual(done.returncode, 1)
                self.assertIn(text, done.stderr)
        for lines, text in ((f"{path}\ndir-threads=2\n", "not in a config file that is a pipe"),
                            ("dir-threads=2\n", unknown)):
            with self.subTest(lines=lines):
                conf.write_text(lines)
                done = disk.run("sh", "-c", 'cat "$3" | "$1" info --backend=dir -F/dev/stdin "$2"', "sh", program, empty, conf,
                                check=False, env=disk.environment(self))
                self.assertIn(text, done.stderr)
        for words in (["--help", "dir"], ["plugins", "dir"]):
            done = disk.run(program, *words, check=False, env=disk.environment(self))
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, 'no plugin "dir"; .*searched.* /.*; if it is elsewhere, say --plugin-path')
        other = self.directory("other")
        conf.write_text(f"dir-threads=2\n{path}\n")
        for words, text in ((["--from-config-file", conf], found), ([f"--from-{path}", "--from-dir-threads=2"], found),
                            ([f"--from-{path}", f"--to-{path}:{other}"], "said once for the whole command")):
            with self.subTest(words=words):
                done = disk.run(program, "copy", "--backend=dir", *words, empty, other, check=False, env=disk.environment(self))
                self.assertIn(text, done.stderr)


if __name__ == "__main__":
    disk.main()
