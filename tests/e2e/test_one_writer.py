#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One writer: who is cut off, stopped or overruled stops writing by itself, and nothing of it lands after a takeover."""
import os
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from urllib.parse import urlsplit

import disk
import faulty
import wire

BLOCK = 65536
BLOCKS = 64
LOST = "from now on the disk can only be read"
LOCK = "s3backer-mounted"
STOP_BEFORE = os.environ.get("STOP_BEFORE", str(disk.TOP / "build" / "tests" / "e2e" / "stop_before.so"))
QUICK = ("--lease=3s", "--settle-time=1s")      # a takeover takes 5 s
ENDS = ("EROFS", "EIO")


# A process of its own: a descriptor of a stopped disk keeps whoever has it from starting others.
HAMMER = """
import errno, os, random, sys, threading
file, note, seed = sys.argv[1:]
BLOCK, BLOCKS = 65536, 64
end = threading.Event()
lock = threading.Lock()
count = 0

def tell(word):
    with lock, open(note, "a") as out:
        out.write(word + "\\n")

def run(number):
    global count
    choose = random.Random(f"{seed} {number}")
    try:
        descriptor = os.open(file, os.O_WRONLY)
        while not end.is_set() and not os.path.exists(note + ".end"):
            os.pwrite(descriptor, choose.randbytes(BLOCK), choose.randrange(BLOCKS) * BLOCK)
            tell("+")
            if choose.randrange(20) == 0:
                os.fsync(descriptor)
    except OSError as error:
        tell(errno.errorcode[error.errno])

threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


class Hammer:
    """Writes blocks at random as fast as they are taken, and syncs now and then, until that fails."""

    def __init__(self, story, file):
        self.story, self.note = story, story.path("hammer")
        self.note.touch()
        self.process = story.start("/usr/bin/python3", "-c", HAMMER, file, self.note, story.random.random())

    @property
    def count(self):
        return self.note.read_text().count("+")

    def begun(self):
        disk.wait_until("the writer to begin", lambda: self.count > 20, 60)
        return self

    @property
    def errors(self):
        return [word for word in self.note.read_text().split() if word != "+"]

    def join(self, seconds=60):
        Path(f"{self.note}.end").touch()
        self.story.reap(self.process, seconds)


class Machine:
    """A daemon on another machine."""

    def __init__(self, story, store, *options, cable=None, **more):
        self.story, self.store = story, store
        self.mountpoint = story.directory("theirs")
        self.log = story.path("machine").with_suffix(".log")
        story.logs.append(self.log)
        base = [f"--baseURL={cable.endpoint}"] if cable else []
        start = cable.start if cable else story.start_elsewhere
        with self.log.open("w") as log:
            self.daemon = start(disk.BINARY, "-f", f"--backend={store.backend}", *store.options, *base,
                                f"--spill-directory={story.spills}-there", *options, store.location,
                                self.mountpoint, stdout=log, stderr=log, **more)

    @property
    def file(self):
        return Path(f"/proc/{self.daemon.pid}/root{self.mountpoint}/file")

    def log_text(self):
        return self.log.read_text(errors="replace")

    def is_mounted(self):
        return " blocks of " in self.log_text()

    def mounted(self):
        disk.wait_until("the other machine to have mounted it", self.is_mounted, 60)
        return self

    def stats(self):
        return disk.json.loads((self.file.parent / "stats.json").read_text())

    def stop(self, status=0):
        self.daemon.send_signal(signal.SIGTERM)
        got = self.story.reap(self.daemon)
        self.story.assertEqual(got, status, self.log_text())


class Words(disk.Story):
    """What these stories are told with."""

    limit_seconds = 300

    def volume(self, *options, store=None, size="4M"):
        return disk.Disk(self, size, "64K", *QUICK, *options, store=store)

    def need_lease(self):
        if disk.STORE.startswith("s3rver"):
            self.skipTest("s3rver ignores conditions of writes, so nobody has a lease")

    def takeover(self, store, *options, wait=True):
        """On another machine.  (exit status, what it said)"""
        log = self.path("takeover").with_suffix(".log")
        with log.open("w") as out:
            process = self.start_elsewhere(disk.BINARY, "takeover", f"--backend={store.backend}", *store.options, "--settle-time=1s",
                                           *options, store.location, stdout=out, stderr=out)
        return (self.reap(process, 120), log.read_text()) if wait else (process, log)

    def assert_superseded(self, volume, before, hammer=None, file=None, seconds=2):
        """It has noticed, and `seconds` later everything stored is as it was when the takeover returned."""
        disk.wait_until("the old writer to notice", lambda: LOST in volume.log_text(), 60)
        if hammer is not None:
            hammer.join()
            for error in hammer.errors:
                self.assertIn(error, ENDS)
            self.assertTrue(hammer.errors)
        time.sleep(seconds)
        self.assertEqual(volume.store.snapshot(), before, "something was written after the takeover")
        self.assertEqual(volume.log_text().count(LOST), 1)
        file = file or volume.file
        self.assertEqual(disk.error_of(disk.write_at, file, 0, b"x" * BLOCK), "EROFS")
        self.assertEqual(len(disk.read_at(file, 0, BLOCK)), BLOCK)

    def give_up(self, volume):
        """The end of who was superseded: it waits for a word, if there is something that was never stored."""
        said = self.path("umount").with_suffix(".log")
        with said.open("w") as out:
            umount = self.start(disk.BINARY, "umount", volume.mountpoint, stderr=out, env=disk.environment(self))
        disk.wait_until("an end, or a word about it",
                        lambda: volume.daemon.poll() is not None or "until SIGTERM tells it" in volume.log_text())
        if volume.daemon.poll() is None:
            time.sleep(0.5)
            self.assertIsNone(volume.daemon.poll(), "what was not stored was dropped without a word")
            disk.wait_until("umount to say what it waits for", lambda: "SIGTERM tells it" in said.read_text())
            volume.daemon.send_signal(signal.SIGTERM)
        self.assertEqual(self.reap(volume.daemon), 1)
        self.assertEqual(self.reap(umount), 1)
        disk.RECORD.drop(("mount", str(volume.mountpoint)))
        for text in (volume.log_text(), said.read_text()):
            self.assertIn("while it was mounted here, the volume", text)


class OneWriter(Words):
    # Stopped

    def test_a_writer_that_is_stopped_and_superseded_writes_nothing_more(self):
        """At many instants: several writers are stopped in the middle of their work, and go on after the takeover."""
        self.need_lease()
        for _ in range(disk.pick(2, 40)):
            volumes = [self.volume().mount() for _ in range(disk.pick(4, 6, remote=3))]
            hammers = [Hammer(self, volume.file).begun() for volume in volumes]
            time.sleep(self.random.uniform(0, 1))
            for volume in volumes:
                volume.daemon.send_signal(signal.SIGSTOP)
            over = [self.takeover(volume.store, wait=False) for volume in volumes]
            for process, log in over:
                self.assertEqual(self.reap(process, 60), 0, log.read_text())
                self.assertIn("has been taken from", log.read_text())
            before = [volume.store.snapshot() for volume in volumes]
            for volume, stored in zip(volumes, before):
                self.assertNotIn(LOCK, stored)
                volume.daemon.send_signal(signal.SIGCONT)
            for volume, stored, hammer in zip(volumes, before, hammers):
                self.assert_superseded(volume, stored, hammer, seconds=2 if volume is volumes[0] else 0)
            for volume in volumes:
                self.give_up(volume)

    def stop_before(self, store, call, how):
        """A volume whose daemon has been stopped right before a call that changes something in the store, behind all looks at
        the clock."""
        volume = self.volume("--blockCacheWriteDelay=0", store=store).mount()
        disk.write_at(volume.file, 0, self.random.randbytes(BLOCKS * BLOCK))
        volume.umount()
        wanted = self.path("stop")
        volume.mount(wrapper=("env", f"LD_PRELOAD={STOP_BEFORE}", f"STOP_WHEN={wanted}",
                              f"ASAN_OPTIONS={disk.environment(self)['ASAN_OPTIONS']}:verify_asan_link_order=0"))
        wanted.with_suffix(".new").write_text(call)
        wanted.with_suffix(".new").rename(wanted)
        volume.hammer = self.start("/usr/bin/python3", "-c", how, volume.file, stderr=subprocess.DEVNULL)
        state = Path(f"/proc/{volume.daemon.pid}/stat")
        disk.wait_until(f"the daemon to be stopped before {call}", lambda: state.read_text().rpartition(")")[2].split()[0] == "T", 60)
        return volume

    def test_what_was_just_going_to_be_done_is_not_done(self):
        self.need_lease()
        if b"__tsan_init" in Path(disk.BINARY).read_bytes():
            self.skipTest("ThreadSanitizer puts signals off")
        write, zero, punch = (f"import os, subprocess, sys\nd = os.open(sys.argv[1], os.O_WRONLY)\n{what}\nos.fsync(d)" for what in (
            "os.pwrite(d, b'x' * 655360, 65536)", "os.pwrite(d, bytes(65536), 65536)",
            "subprocess.run(['fallocate', '--punch-hole', '--offset=65536', '--length=655360', sys.argv[1]], check=True)"))
        if disk.STORE == "dir":
            cases = [(disk.DirStore(self), *case) for case in (("renameat", write), ("unlinkat", zero), ("unlinkat", punch))]
            for tls in (False, True):
                for case in (("bytes", write), ("connect", write)) + ((("DELETE /", zero), ("POST /", punch)) if not tls else ()):
                    cases.append((faulty.FaultyStore(faulty.FaultyServer(self, tls=tls)), *case))
        else:
            cases = [(disk.new_store(self), "bytes", write)]
        volumes = [self.stop_before(*case) for case in cases]
        over = [self.takeover(volume.store, wait=False) for volume in volumes]
        for process, log in over:
            self.assertEqual(self.reap(process, 60), 0, log.read_text())
        before = [volume.store.snapshot() for volume in volumes]
        for volume in volumes:
            volume.daemon.send_signal(signal.SIGCONT)
        for volume, stored, case in zip(volumes, before, cases):
            with self.subTest(store=case[0].location, call=case[1]):
                self.assert_superseded(volume, stored, seconds=3 if volume is volumes[0] else 0)
            self.reap(volume.hammer)
            self.give_up(volume)

    def test_a_writer_that_was_stopped_and_not_superseded_goes_on(self):
        volume = self.volume().mount()
        disk.write_at(volume.file, 0, b"a" * BLOCK)
        volume.daemon.send_signal(signal.SIGSTOP)
        time.sleep(8)
        volume.daemon.send_signal(signal.SIGCONT)
        disk.write_at(volume.file, BLOCK, b"b" * BLOCK)
        self.assertNotIn(LOST, volume.log_text())
        volume.umount()
        volume.mount()
        self.assertEqual(disk.read_at(volume.file, 0, 2 * BLOCK), b"a" * BLOCK + b"b" * BLOCK)
        volume.umount()

    def test_the_successors_data_stay(self):
        """The old writer wakes up while the new one works."""
        self.need_lease()
        volume = self.volume().mount()
        hammer = Hammer(self, volume.file).begun()
        volume.daemon.send_signal(signal.SIGSTOP)
        status, said = self.takeover(volume.store)
        self.assertEqual(status, 0, said)
        new = Machine(self, volume.store, *QUICK).mounted()
        data = self.random.randbytes(BLOCKS * BLOCK)
        with ThreadPoolExecutor() as pool:
            write = pool.submit(disk.write_at, new.file, 0, data)
            wait([write], 5)                    # longer only if the old one was stopped with the lock of a name
            volume.daemon.send_signal(signal.SIGCONT)
            write.result()
        disk.wait_until("the old writer to notice", lambda: LOST in volume.log_text(), 60)
        self.assertIn("the volume was taken over by", volume.log_text())
        hammer.join()
        time.sleep(1)
        self.assertNotIn(LOST, new.log_text())
        new.stop()
        self.give_up(volume)
        # What it could not store any more is on local disk, and nobody takes it for the volume's unasked.
        if self.spills.exists() and any(self.spills.iterdir()):
            self.assertIn("since then the volume's lock is gone", volume.refused()[1])
        volume.mount("--block-cache-discard-dirty-blocks")
        self.assertEqual(disk.read_at(volume.file, 0, len(data)), data)
        volume.umount()

    def test_a_superseded_writer_keeps_what_is_not_stored(self):
        """In its cache file, and says so by its name.  By force what nobody has changed meanwhile is stored."""
        self.need_lease()
        cache = self.path("cache")
        volume = self.volume("--block-cache-write-delay=60s").mount(f"--block-cache-file={cache}")
        data = bytearray(self.random.randbytes(BLOCKS * BLOCK))
        disk.write_at(volume.file, 0, data)
        volume.remount(f"--block-cache-file={cache}", "--durability=cache")
        self.assertTrue(disk.read_at(volume.file, 0, len(data)) == data)        # what a block was based on is known of one that was read
        ours = self.random.randbytes(3 * BLOCK)
        disk.write_at(volume.file, 4 * BLOCK, ours)
        self.assertEqual(volume.stats()["unsent_blocks"], 3)
        volume.daemon.send_signal(signal.SIGSTOP)
        status, said = self.takeover(volume.store, "--force")
        self.assertEqual(status, 0, said)
        new = Machine(self, volume.store, *QUICK).mounted()
        theirs = self.random.randbytes(BLOCK)
        disk.write_at(new.file, 5 * BLOCK, theirs)
        volume.daemon.send_signal(signal.SIGCONT)
        disk.wait_until("the old writer to notice", lambda: LOST in volume.log_text(), 60)
        new.stop()                      # its namespace has our mount, too
        stored = volume.store.snapshot()
        self.assertEqual(disk.read_at(volume.file, 4 * BLOCK, 3 * BLOCK), ours)
        self.give_up(volume)
        self.assertEqual(volume.store.snapshot(), stored, "something was written after the takeover")
        self.assertIn(f"not everything that was written to {volume.mountpoint} is stored; 3 blocks are kept in {cache}, and the next mount "
                      "says what can be done with that, for somebody else has the volume", volume.log_text())
        self.assertNotIn("given up", volume.log_text())
        status, said = volume.refused(f"--block-cache-file={cache}")
        self.assertEqual((status, said.count("\n")), (1, 1), said)
        self.assertIn(f"{cache} has what was not stored, but since then the volume's lock is gone", said)
        volume.mount(f"--block-cache-file={cache}", "--force")
        self.assertIn("block 00000005 on local disk is dropped", volume.log_text())
        self.assertIn("2 blocks on local disk will be stored, 1 was dropped", volume.log_text())
        volume.umount()
        volume.mount()
        data[4 * BLOCK:7 * BLOCK] = ours[:BLOCK] + theirs + ours[2 * BLOCK:]
        self.assertTrue(disk.read_at(volume.file, 0, len(data)) == data)
        volume.umount()

    # Refused

    def test_a_takeover_of_who_lives_is_refused_by_name(self):
        self.need_lease()
        volume = self.volume().mount()
        status, said = self.takeover(volume.store)
        self.assertEqual(status, 1)
        self.assertIn(f"in use on {os.uname().nodename}, which lives", said)
        other = Machine(self, volume.store)
        self.assertEqual(self.reap(other.daemon), 1)
        self.assertRegex(other.log_text(), rf"in use on {re.escape(os.uname().nodename)}, which renewed its lock last at \d{{4}}-")
        self.assertIn("bucketdisk takeover", other.log_text())
        self.assertIn("--reset-mounted-flag", other.log_text())
        disk.write_at(volume.file, 0, b"still ours")
        volume.umount()
        status, said = self.takeover(volume.store)
        self.assertEqual((status, said), (0, "Nobody has the volume; there is nothing to take over.\n"))

    def test_a_takeover_on_the_machine_that_has_it_mounted_is_refused(self):
        volume = self.volume().mount()
        done = disk.run(disk.BINARY, "takeover", f"--backend={volume.store.backend}", *volume.store.options, volume.store.location,
                        check=False, env=disk.environment(self))
        self.assertEqual(done.returncode, 1)
        self.assertIn("is mounted on", done.stderr)
        volume.umount()

    def test_a_dead_writer_of_another_machine_is_taken_over(self):
        """Format 2: another lock object, and s3backer's stays."""
        self.need_lease()
        volume = self.volume("--format=2", "--codec=zstd").mount()
        disk.write_at(volume.file, 0, b"kept" * 100)
        volume.kill9()
        other = Machine(self, volume.store, *QUICK)
        self.assertEqual(self.reap(other.daemon), 1)
        self.assertIn("bucketdisk-lock", volume.store.objects())
        started = time.monotonic()
        status, said = self.takeover(volume.store)
        self.assertEqual(status, 0, said)
        self.assertGreater(time.monotonic() - started, 4)
        self.assertNotIn("bucketdisk-lock", volume.store.objects())
        self.assertIn(LOCK, volume.store.objects())
        other = Machine(self, volume.store, *QUICK).mounted()
        self.assertEqual(disk.read_at(other.file, 0, 400), b"kept" * 100)
        other.stop()

    # Overruled by the operator

    def test_a_writer_that_is_overruled_becomes_read_only(self):
        self.need_lease()
        for option in ("--force", "--reset-mounted-flag"):
            volume = self.volume().mount()
            disk.write_at(volume.file, 0, b"a" * BLOCK)
            if option == "--force":
                other = Machine(self, volume.store, *QUICK, option).mounted()
            else:
                done = self.start_elsewhere(disk.BINARY, option, f"--backend={volume.store.backend}", *volume.store.options,
                                            volume.store.location)
                self.assertEqual(self.reap(done), 0)
            disk.wait_until("the overruled writer to notice", lambda: LOST in volume.log_text())
            self.assertIn("taken over by" if option == "--force" else "was removed", volume.log_text())
            self.assertEqual(disk.error_of(disk.write_at, volume.file, 0, b"b"), "EROFS")
            self.assertEqual(disk.read_at(volume.file, 0, BLOCK), b"a" * BLOCK)
            if option == "--force":
                other.stop()                    # its namespace has our mount, too
            self.give_up(volume)

    def test_who_was_overruled_is_waited_for_also_after_a_death(self):
        """He who forced it dies at once, and his successor waits for the lease of the one before both."""
        self.need_lease()
        volume = self.volume().mount()
        volume.umount()
        other = Machine(self, volume.store, "--lease=10s", "--settle-time=1s").mounted()
        disk.write_at(other.file, 3 * BLOCK, b"x" * BLOCK)
        other.daemon.send_signal(signal.SIGSTOP)
        volume.mount("--force").kill9()
        volume.mount()
        waits = re.search(r"writes wait ([0-9]+) s", volume.log_text())
        self.assertGreaterEqual(int(waits[1]) if waits else 0, 4, volume.log_text())
        disk.write_at(volume.file, 3 * BLOCK, b"m" * BLOCK)
        other.daemon.send_signal(signal.SIGCONT)
        disk.wait_until("the overruled writer to notice", lambda: LOST in other.log_text())
        other.stop(1)
        volume.umount()
        volume.mount("--readOnly")
        self.assertEqual(disk.read_at(volume.file, 3 * BLOCK, BLOCK), b"m" * BLOCK)
        volume.umount()

    # Beside it

    def test_readers_are_a_few_seconds_behind(self):
        """Of data, of what was zeros when they looked, and of what has become zeros; and they never go back."""
        volume = self.volume().mount()
        data = self.random.randbytes(2 * BLOCK)
        disk.write_at(volume.file, 0, data + bytes(2 * BLOCK))
        readers = [Machine(self, volume.store, "--readOnly", *options).mounted() for options in ((), ("--directIO",), ("--listBlocks",))]
        for reader in readers:
            self.assertEqual(disk.read_at(reader.file, 0, 4 * BLOCK), data + bytes(2 * BLOCK))
        for new in (bytes(BLOCK) + self.random.randbytes(3 * BLOCK), self.random.randbytes(BLOCK) + bytes(3 * BLOCK)):
            disk.write_at(volume.file, 0, new)
            written = time.monotonic()
            for reader in readers:
                disk.wait_until("the reader to see it", lambda: disk.read_at(reader.file, 0, 4 * BLOCK) == new, 10)
            self.assertLess(time.monotonic() - written, 5 + 2)
            for _ in range(10):
                for reader in readers:
                    self.assertEqual(disk.read_at(reader.file, 0, 4 * BLOCK) == new, True)
                time.sleep(0.1)
        for reader in readers:
            reader.stop()
        volume.umount()

    # At once

    def test_of_two_that_mount_at_the_same_instant_one_writes(self):
        both = self.compete(self.volume().mount(), disk.pick(20, 500))
        if not disk.STORE.startswith("s3rver"):
            self.assertEqual(both, 0)

    def test_in_a_store_without_conditions_the_one_who_puts_last_writes(self):
        """As the manual says: unless a put takes longer than the pause before the lock is read back."""
        server = faulty.FaultyServer(self)
        server.set(conditions="ignore", delete_conditions="ignore")
        self.assertEqual(self.compete(self.volume(store=faulty.FaultyStore(server)).mount(), disk.pick(4, 500)), 0)

    def compete(self, volume, rounds):
        """In how many rounds both became writers."""
        volume.umount()
        contested = both = 0
        for number in range(rounds):
            # By turns as fast as can be, and with each request a little late, so that the two meet at every step.
            chaos = (f"--backend=chaos,{volume.store.backend}", "--chaos-jitter=20ms", f"--chaos-seed={number}") if number % 2 else ()
            machines = [Machine(self, volume.store, *QUICK, *chaos, first="read go;", stdin=subprocess.PIPE) for _ in range(2)]
            self.random.shuffle(machines)
            for machine in machines:
                machine.daemon.stdin.write(b"go\n")
            for machine in machines:
                machine.daemon.stdin.close()
            disk.wait_until("both to have come to an end of their start",
                            lambda: all(machine.is_mounted() or machine.daemon.poll() is not None for machine in machines), 60)
            time.sleep(0.05)
            winners = [machine for machine in machines if machine.daemon.poll() is None]
            said = "\n---\n".join(machine.log_text() for machine in machines)
            self.assertIn(len(winners), (1, 2), said)
            both += len(winners) == 2
            contested += "was faster" in said
            for machine in machines:
                if machine in winners:
                    machine.stop()
                else:
                    self.assertEqual(self.reap(machine.daemon), 1)
                    self.assertRegex(machine.log_text(), "in use|was faster")
            self.assertNotIn(LOCK, volume.store.objects())
            for machine in machines:
                self.logs.remove(machine.log)
                self.children.remove(machine.daemon)
        print(f"{disk.STORE}: {rounds} rounds; in {contested} both had found nobody, in {both} both had it", file=disk.sys.stderr)
        if rounds >= 20:
            self.assertGreater(contested, 0, "they never met; this proves nothing")
        return both


class Shared(Words):
    """Several write, under a cluster filesystem."""

    SHARED = "--sharedDiskMode"

    def made(self, *options, **more):
        volume = self.volume(*options, **more).mount()
        data = self.random.randbytes(4 * BLOCK)
        disk.write_at(volume.file, 0, data)
        volume.umount()
        return volume, data

    def read(self, file, offset, length):
        """What the kernel remembers would do."""
        with open(file, "rb", buffering=0) as descriptor:
            return os.pread(descriptor.fileno(), length, offset)

    def write(self, file, offset, data):
        """No fsync: an answer is enough for the others."""
        with open(file, "r+b", buffering=0) as descriptor:
            self.assertEqual(os.pwrite(descriptor.fileno(), data, offset), len(data))

    def test_what_one_writes_all_read_at_once(self):
        volume, data = self.made("--format=1")
        machines = [Machine(self, volume.store, self.SHARED).mounted() for _ in range(3)]
        for machine in machines:
            self.assertIn("no block of the filesystem may be smaller", machine.log_text())
            self.assertEqual(self.read(machine.file, 0, len(data)), data)
        for number in range(disk.pick(30, 300)):
            writer = self.random.choice(machines)
            block = number % 4                          # 0: the one with the sizes
            new = bytes(BLOCK) if number % 5 == 0 else self.random.randbytes(BLOCK)
            if number % 7 == 0:                         # a part of it
                new = data[block * BLOCK:block * BLOCK + 512] + new[512:-512] + data[(block + 1) * BLOCK - 512:(block + 1) * BLOCK]
                self.write(writer.file, block * BLOCK + 512, new[512:-512])
            else:
                self.write(writer.file, block * BLOCK, new)
            data = data[:block * BLOCK] + new + data[(block + 1) * BLOCK:]
            for machine in machines:
                self.assertEqual(self.read(machine.file, 0, len(data)) == data, True, f"after write {number}")
        for machine in machines:
            machine.stop()
        # None of them is the last one, for all they know.
        self.assertIn("--reset-mounted-flag clears it", machines[-1].log_text())
        status, said = volume.refused()
        self.assertEqual(status, 1)
        self.assertRegex(said, "--sharedDiskMode.*--reset-mounted-flag")
        status, said = self.takeover(volume.store)
        self.assertEqual(status, 1)
        self.assertRegex(said, "--sharedDiskMode.*--reset-mounted-flag")
        disk.run(*volume.command("--reset-mounted-flag"), volume.store.location, env=disk.environment(self))
        volume.mount()
        self.assertEqual(disk.read_at(volume.file, 0, len(data)) == data, True)
        volume.umount()
        self.assertNotIn(LOCK, volume.store.objects())

    def test_who_shares_and_who_does_not_keep_each_other_off(self):
        volume, _ = self.made()
        volume.mount()
        other = Machine(self, volume.store, self.SHARED)
        self.assertEqual(self.reap(other.daemon), 1)
        self.assertRegex(other.log_text(), f"in use on {re.escape(os.uname().nodename)} by somebody who does not share it")
        self.assertNotIn(LOST, volume.log_text())
        volume.kill9()
        status, said = volume.refused(self.SHARED)      # what it has left is for one who has the volume alone
        self.assertEqual(status, 1)
        self.assertIn("once without --sharedDiskMode", said)
        volume.mount().umount()
        volume.mount(self.SHARED)
        other = Machine(self, volume.store)
        self.assertEqual(self.reap(other.daemon), 1)
        self.assertIn("--sharedDiskMode", other.log_text())
        # Who dies leaves nothing that others would have to wait for.
        other = Machine(self, volume.store, self.SHARED).mounted()
        volume.kill9()
        self.write(other.file, 0, b"x" * BLOCK)
        volume.mount(self.SHARED)
        self.assertEqual(self.read(volume.file, 0, BLOCK), b"x" * BLOCK)
        reader = Machine(self, volume.store, "--readOnly", self.SHARED).mounted()
        self.write(volume.file, 0, b"y" * BLOCK)
        self.assertEqual(self.read(reader.file, 0, BLOCK), b"y" * BLOCK)
        self.assertEqual(disk.error_of(disk.write_at, reader.file, 0, b"z"), "EROFS")
        for machine in (other, reader):
            machine.stop()
        volume.umount()

    def test_what_makes_no_sense_is_refused(self):
        volume = self.volume()
        status, said = volume.refused(self.SHARED)
        self.assertEqual(status, 1)
        self.assertIn("once without --sharedDiskMode", said)
        self.assertEqual(volume.store.objects(), [])
        volume.mount().umount()
        for option in ("--blockCacheSize=10", "--cache-size=1M", "--readAhead=4", "--md5CacheSize=10", "--blockCacheTimeout=1s",
                       "--directIO=no"):
            status, said = volume.refused(self.SHARED, option)
            self.assertEqual(status, 1)
            self.assertIn("--sharedDiskMode", said)
        self.assertNotIn(LOCK, volume.store.objects())
        volume.mount(self.SHARED, "--blockCacheSize=0", "--readAhead=0", "--md5CacheSize=0", "--directIO")
        volume.umount()

    def test_each_mount_of_format_2_has_an_epoch_of_its_own(self):
        volume, data = self.made("--format=2", "--codec=zstd")

        def epoch():
            return disk.json.loads((volume.store.path / "bucketdisk-volume").read_text())["epoch"]
        if not hasattr(volume.store, "path"):
            self.skipTest("looks into the store's directory")
        for _ in range(disk.pick(3, 20)):
            before = epoch()
            machines = [Machine(self, volume.store, self.SHARED, first="read go;", stdin=subprocess.PIPE) for _ in range(4)]
            for machine in machines:
                machine.daemon.stdin.write(b"go\n")
            for machine in machines:
                machine.daemon.stdin.close()
            for machine in machines:
                machine.mounted()
            self.assertEqual(epoch(), before + 4)
            for number, machine in enumerate(machines):
                data = data[:number * BLOCK] + self.random.randbytes(BLOCK) + data[(number + 1) * BLOCK:]
                self.write(machine.file, number * BLOCK, data[number * BLOCK:(number + 1) * BLOCK])
            for machine in machines:
                self.assertEqual(self.read(machine.file, 0, len(data)) == data, True)
                machine.stop()
                self.children.remove(machine.daemon)
        self.assertIn("bucketdisk-lock", volume.store.objects())


class CutOff(Words):
    """Over a network that can be cut."""

    def setUp(self):
        super().setUp()
        self.need_lease()
        self.store = faulty.FaultyStore(faulty.FaultyServer(self)) if disk.STORE == "dir" else disk.new_store(self)
        endpoint = next(option for option in self.store.options if option.startswith("--baseURL=")).partition("=")[2]
        if endpoint.startswith("https"):
            self.skipTest("the cable carries no TLS")
        self.cable = wire.Cable(self, urlsplit(endpoint).port)

    def cut_off(self, *options):
        return Machine(self, self.store, "--size=4M", "--blockSize=64K", *QUICK, *options, cable=self.cable).mounted()

    def test_a_writer_that_is_cut_off_and_superseded_writes_nothing_more(self):
        for _ in range(disk.pick(1, 10)):
            writer = self.cut_off()
            hammer = Hammer(self, writer.file).begun()
            time.sleep(self.random.uniform(0, 1))
            self.cable.pull()
            status, said = self.takeover(self.store)
            self.assertEqual(status, 0, said)
            before = self.store.snapshot()
            self.cable.plug()
            self.assert_superseded(writer, before, hammer, writer.file)
            self.assertIn("nothing is written until that is known again", writer.log_text())
            writer.daemon.send_signal(signal.SIGTERM)
            disk.wait_until("an end, or a word about it",
                            lambda: writer.daemon.poll() is not None or "until SIGTERM tells it" in writer.log_text(), 60)
            writer.daemon.send_signal(signal.SIGTERM)
            self.assertEqual(self.reap(writer.daemon), 1)
            self.cable = wire.Cable(self, self.cable.target)

    def test_a_writer_that_was_cut_off_goes_on_when_nobody_has_come(self):
        writer = self.cut_off()
        disk.write_at(writer.file, 0, b"a" * BLOCK)
        hammer = Hammer(self, writer.file).begun()
        self.cable.pull()
        time.sleep(6)
        count = hammer.count
        self.cable.plug()
        disk.wait_until("writing to go on", lambda: hammer.count > count + 20, 120)
        hammer.join()
        self.assertEqual(hammer.errors, [])
        self.assertRegex(writer.log_text(), "(?s)nothing is written until.*confirmed again, and writing goes on")
        data = self.random.randbytes(BLOCKS * BLOCK)
        disk.write_at(writer.file, 0, data)
        writer.stop()
        volume = self.volume(store=self.store)
        volume.is_new = False
        volume.mount()
        self.assertEqual(disk.read_at(volume.file, 0, len(data)), data)
        volume.umount()


class Ends(Words):
    """The lock is removed by who surely has it, and by nobody later."""

    def setUp(self):
        super().setUp()
        self.server = faulty.FaultyServer(self)
        self.store = faulty.FaultyStore(self.server)

    def removals(self):
        return self.server.requests(method="DELETE", key=LOCK)

    def test_a_removal_that_is_carried_out_late_meets_nobody_elses_lock(self):
        volume = self.volume("--settle-time=4s", store=self.store).mount()
        disk.write_at(volume.file, 0, b"a" * BLOCK)
        self.server.fault("late", method="DELETE", key=LOCK, count=1, seconds=3)
        volume.umount()
        self.assertEqual(self.server.fired("late"), 1)
        self.assertEqual(len(self.removals()), 1)
        self.assertNotIn(LOCK, self.store.objects())
        successor = Machine(self, self.store, *QUICK).mounted()
        time.sleep(4)
        self.assertIn(LOCK, self.store.objects())
        self.assertNotIn(LOST, successor.log_text())
        successor.stop()

    def test_who_was_stopped_right_before_the_removal_does_not_remove(self):
        volume = self.volume(*QUICK, store=self.store).mount()
        disk.write_at(volume.file, 0, b"a" * BLOCK)
        time.sleep(1.2)                                 # the next beat is in a second
        self.server.set(latency_ms=450)
        self.server.forget()
        umount = self.start(disk.BINARY, "umount", volume.mountpoint, env=disk.environment(self))
        disk.wait_until("its last look", lambda: self.server.requests(method="HEAD", key=LOCK), 30)
        volume.daemon.send_signal(signal.SIGSTOP)
        self.server.reset()
        self.assertEqual(self.removals(), [])
        status, said = self.takeover(self.store)
        self.assertEqual(status, 0, said)
        successor = Machine(self, self.store, *QUICK).mounted()
        before = len(self.removals())                   # the takeover's
        volume.daemon.send_signal(signal.SIGCONT)
        self.assertEqual(self.reap(umount), 1)
        self.assertEqual(len(self.removals()), before)
        self.assertIn(LOCK, self.store.objects())
        disk.write_at(successor.file, 0, b"b" * BLOCK)
        successor.stop()


class Asked(disk.Story):
    """What the server sees."""

    def setUp(self):
        super().setUp()
        self.server = faulty.FaultyServer(self)
        self.store = faulty.FaultyStore(self.server)

    def lock_requests(self, **wanted):
        return [request for request in self.server.requests(**wanted) if request["key"] == LOCK]

    def test_readers_look_at_the_lock_once_and_never_touch_it(self):
        volume = disk.Disk(self, "1M", "64K", store=self.store).mount()     # a beat each 20 s
        disk.write_at(volume.file, 0, b"a" * BLOCK)
        self.server.forget()
        readers = [Machine(self, self.store, "--readOnly").mounted() for _ in range(3)]
        for reader in readers:
            self.assertEqual(disk.read_at(reader.file, 0, BLOCK), b"a" * BLOCK)
            self.assertEqual(disk.error_of(disk.write_at, reader.file, 0, b"b"), "EROFS")
        for reader in readers:
            reader.stop()
        self.assertEqual(len(self.lock_requests(method="HEAD")), len(readers))
        self.assertLessEqual(len(self.lock_requests()), len(readers) + 1)       # the writer's own beat, if it took us so long
        self.assertEqual(self.lock_requests(method="GET") + self.lock_requests(method="DELETE"), [])
        disk.write_at(volume.file, 0, b"c" * BLOCK)
        volume.umount()

    def test_beats_whose_answers_are_lost_keep_the_lease(self):
        volume = disk.Disk(self, "1M", "64K", *QUICK, store=self.store).mount()
        self.server.fault("lose", method="PUT", key=LOCK)
        time.sleep(8)
        disk.write_at(volume.file, 0, b"a" * BLOCK)
        self.assertGreater(self.server.fired("lose"), 4)
        self.assertNotIn(LOST, volume.log_text())
        self.server.clear()
        volume.umount()
        self.assertNotIn(LOCK, self.store.objects())

    def test_a_lock_that_is_refused_stops_writing_and_not_reading(self):
        volume = disk.Disk(self, "1M", "64K", *QUICK, "--blockCacheSize=0", "--maxRetryPause=6s", store=self.store).mount()
        disk.write_at(volume.file, 0, b"a" * BLOCK)
        self.server.fault("access-denied", method="PUT", key=LOCK)
        disk.wait_until("the writer to stop", lambda: "403" in volume.log_text() and "nothing is written" in volume.log_text()
                        or disk.error_of(disk.write_at, volume.file, BLOCK, b"b" * BLOCK) == "EIO", 60)
        self.server.forget()
        self.assertEqual(disk.error_of(disk.write_at, volume.file, BLOCK, b"b" * BLOCK), "EIO")
        self.assertEqual([request for request in self.server.requests(method="PUT") if request["key"] != LOCK], [])
        self.assertEqual(disk.read_at(volume.file, 0, BLOCK), b"a" * BLOCK)
        self.server.clear()
        disk.write_at(volume.file, BLOCK, b"c" * BLOCK)
        volume.umount()

    def test_a_store_without_conditions_has_no_lease_and_two_warnings(self):
        self.server.set(conditions="ignore")
        volume = disk.Disk(self, "1M", "64K", *QUICK, store=self.store).mount()
        self.assertIn("does not honour conditions of writes", volume.log_text())
        self.assertIn("nothing tells us, and if this machine dies, nothing tells others", volume.log_text())
        self.server.forget()
        time.sleep(4)
        self.assertEqual(self.lock_requests(), [])
        headers = self.server.objects()[LOCK]["headers"]
        self.assertNotIn("bucketdisk-lease", str(headers).lower())
        log = self.path("takeover").with_suffix(".log")
        with log.open("w") as out:
            process = self.start_elsewhere(disk.BINARY, "takeover", *self.store.options, self.store.location, stdout=out, stderr=out)
        self.assertEqual(self.reap(process), 1)
        self.assertIn("does not say whether that still lives", log.read_text())
        volume.umount()

    def test_who_shares_the_volume_leaves_its_token_alone(self):
        volume = disk.Disk(self, "1M", "4K", *QUICK, store=self.store).mount()
        volume.umount()
        first = Machine(self, self.store, "--sharedDiskMode").mounted()
        self.assertNotIn("no block of the filesystem", first.log_text())
        headers = {name.lower(): value for name, value in self.server.objects()[LOCK]["headers"].items()}
        self.assertEqual(headers["x-amz-meta-s3backer-mount-token"], "7fffffff")
        self.assertNotIn("x-amz-meta-bucketdisk-owner", headers)
        self.server.forget()
        second = Machine(self, self.store, "--sharedDiskMode", "--lease=3s").mounted()
        time.sleep(3)
        self.assertEqual(disk.read_at(second.file, 0, 4096), disk.read_at(second.file, 0, 4096))
        second.stop()
        first.stop()
        self.assertEqual({request["method"] for request in self.lock_requests()}, {"HEAD"})
        # Each read asks the store; and what of a write may still be done late another one must not follow.
        self.assertEqual(len([request for request in self.server.requests(method="GET") if request["key"] == "00000000"]), 2)

    def test_a_write_that_others_follow_waits_until_a_lost_one_has_settled(self):
        volume = disk.Disk(self, "1M", "4K", *QUICK, "--settle-time=3s", store=self.store).mount()
        volume.umount()
        volume.mount("--sharedDiskMode")
        other = Machine(self, self.store, "--sharedDiskMode").mounted()
        self.server.fault("late", method="PUT", key="00000005", count=1, seconds=2)
        started = time.monotonic()
        disk.write_at(volume.file, 5 * 4096, b"a" * 4096)
        self.assertGreater(time.monotonic() - started, 2.5)
        disk.write_at(other.file, 5 * 4096, b"b" * 4096)
        time.sleep(2)
        self.assertEqual(disk.read_at(volume.file, 5 * 4096, 4096), b"b" * 4096)
        other.stop()
        volume.umount()

    def test_s3backers_attributes_are_as_they_were(self):
        volume = disk.Disk(self, "1M", "64K", store=self.store).mount()
        headers = {name.lower(): value for name, value in self.server.objects()[LOCK]["headers"].items()}
        self.assertRegex(headers["x-amz-meta-s3backer-mount-token"], "^[0-7][0-9a-f]{7}$")
        self.assertRegex(headers["x-amz-meta-bucketdisk-lease"], r"^beat=\d+ epoch=1 lease=60000 settle=30000 at=\d+$")
        self.assertEqual(headers["content-type"], "text/plain")
        lines = self.server.get(LOCK).decode().splitlines()
        self.assertEqual(lines[0], os.uname().nodename)
        self.assertRegex(lines[1], r"^\d{8}T\d{6}Z$")
        volume.umount()


if __name__ == "__main__":
    disk.main()
