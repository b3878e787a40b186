#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`bucketdisk key`: passwords come and go, no block is written for it, and no password is ever seen."""
import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import termios
import time
from pathlib import Path

import disk
import faulty

BLOCK = 65536
BLOCKS = 16
DESCRIPTION, LOCK, FENCE = "bucketdisk-volume", "bucketdisk-lock", "s3backer-mounted"
QUICK_KEY = ["--argon2id-memory=1M", "--argon2id-passes=1"]
FIRST, SECOND, THIRD = "the first password", "a second one", "das dritte Paßwort"


def opens_none(count):
    return "does not open the volume's only key slot" if count == 1 else f"opens none of the volume's {count} key slots"


class Keys(disk.Story):
    def setUp(self):
        super().setUp()
        self.volume = disk.Disk(self, str(BLOCK * BLOCKS), str(BLOCK), *QUICK_KEY)
        self.data = self.random.randbytes(BLOCK * BLOCKS)

    def make(self, *options, password=FIRST):
        self.volume.mount(*(options or ["--codec=zstd,xaes-256-gcm"]), *([f"--password={password}"] if password else []))
        disk.write_at(self.volume.file, 0, self.data)
        self.volume.umount()
        self.blocks = self.stored_blocks()

    def stored_blocks(self):
        return {name: digest for name, digest in self.volume.store.snapshot().items() if name not in (DESCRIPTION, LOCK, FENCE)}

    def key_command(self, verb, *options, chaos=False):
        backend = ("chaos," if chaos else "") + self.volume.store.backend
        return [disk.BINARY, "key", verb, f"--backend={backend}", *self.volume.store.options, *QUICK_KEY, *options,
                self.volume.store.location]

    def key(self, verb, *options, check=True):
        return disk.run(*self.key_command(verb, *options), check=check, env=disk.environment(self))

    def refused(self, words, verb, *options):
        """One sentence, a status, and the store as it was."""
        before = self.volume.store.snapshot()
        done = self.key(verb, *options, check=False)
        said = [line for line in done.stderr.splitlines() if not line.startswith("profiling:")]
        self.assertGreater(done.returncode, 0, said)
        self.assertNotEqual(done.returncode, 99, said)
        self.assertEqual(len(said), 1, f"one sentence, please: {said}")
        self.assertRegex(said[0], words)
        self.assertEqual(done.stdout, "")
        self.assertEqual(self.volume.store.snapshot(), before, "a refused command changed the store")

    def slots(self):
        """Number -> label, as the command says."""
        head, *lines = self.key("list").stdout.splitlines()
        self.assertRegex(head, "slot +wrapped by +label")
        slots = {int(words[0]): " ".join(words[2:]) for words in map(str.split, lines)}
        report = json.loads(self.key("list", "--json").stdout)
        self.assertEqual({slot["slot"]: slot["label"] for slot in report["slots"] if not slot["damage"]},
                         {number: label for number, label in slots.items() if "(damaged" not in label})
        return slots

    def opens(self, *passwords):
        """Each of them, and all data is there, in the very objects that were written first."""
        self.assertEqual(self.stored_blocks(), self.blocks, "a block was written")
        for password in passwords:
            before = self.volume.store.snapshot()
            self.volume.mount(f"--password={password}", "--readOnly")
            self.assertEqual(disk.read_at(self.volume.file, 0, len(self.data)) == self.data, True)
            self.volume.umount()
            self.assertEqual(self.volume.store.snapshot(), before, "a read-only mount changed the store")

    def opens_not(self, *passwords, count):
        for password in passwords:
            status, text = self.volume.refused(f"--password={password}")
            self.assertGreater(status, 0)
            self.assertRegex(text, opens_none(count))

    # --- what changes

    def test_killed_at_any_time(self):
        """The old password or the new one opens the volume then, and one of two is always there."""
        self.make()
        self.key("add", f"--password={FIRST}", f"--new-password={THIRD}")
        now, other = FIRST, SECOND
        began = time.monotonic()
        self.key("change", f"--password={now}", f"--new-password={other}")
        took, (now, other) = time.monotonic() - began, (other, now)
        for _ in range(40 if disk.LONG else 8):
            process = self.start(*self.key_command("change", f"--password={now}", f"--new-password={other}"),
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=disk.environment(self))
            time.sleep(self.random.uniform(0.3, 1.1) * took)
            process.kill()
            self.reap(process)
            self.opens(THIRD)
            with contextlib.suppress(disk.MountFailed):
                self.opens(other)
                now, other = other, now
            self.opens(now)
            self.opens_not(other, count=2)
            self.volume.mount(f"--password={now}")          # over what the killed one left
            self.volume.umount()
        self.assertEqual(len(self.slots()), 2)

    def lock(self):
        """Value, owner and lease, as the store has them; None: there is none."""
        try:
            with open(self.volume.store.path / LOCK, "rb") as lock:
                return {name: os.getxattr(lock.fileno(), name) for name in os.listxattr(lock.fileno()) if not name.endswith(".tag")}
        except FileNotFoundError:
            return None

    def test_a_dead_daemons_lock_is_there_again(self):
        """With it the next mount knows whose the data are that were not stored."""
        self.make()
        self.volume.mount(f"--password={FIRST}")
        self.volume.kill9()
        dead = self.lock()
        self.key("add", f"--password={FIRST}", f"--new-password={SECOND}")
        self.assertEqual(self.lock(), dead)
        self.key("remove", f"--password={SECOND}")
        self.assertEqual(self.lock(), dead)
        # One that is killed leaves its own or that one, and the next mount takes either.
        for _ in range(6 if disk.LONG else 3):
            process = self.start(*self.key_command("change", f"--password={FIRST}", f"--new-password={FIRST}", "--chaos-latency=100ms",
                                                   chaos=True),
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=disk.environment(self))
            disk.wait_until("the lock to be taken, or the end", lambda: self.lock() not in (dead, None) or process.poll() is not None)
            time.sleep(self.random.uniform(0, 0.3))
            process.kill()
            self.reap(process)
            self.assertIsNotNone(self.lock())
            self.volume.mount(f"--password={FIRST}")
            self.assertIn("a mount or a command on this machine ended without giving the volume back", self.volume.log_text())
            self.volume.kill9()
            dead = self.lock()
        self.volume.mount(f"--password={FIRST}")
        self.volume.umount()
        self.assertIsNone(self.lock())
        self.key("change", f"--password={FIRST}", f"--new-password={SECOND}")
        self.assertIsNone(self.lock())
        self.opens(SECOND)

    def test_cost_of_a_key_that_nobody_lowered(self):
        """What is made and opened without options takes 256 MiB and three passes."""
        self.volume.options = []
        self.make()
        self.assertIn("m=262144 t=3", (self.volume.store.path / DESCRIPTION).read_text())
        self.opens(FIRST)
        self.opens_not(SECOND, count=1)

    def test_a_life_of_passwords(self):
        self.make()
        self.assertEqual(self.slots(), {0: ""})
        before = (self.volume.store.path / DESCRIPTION).read_text()
        # Another one.
        done = self.key("add", f"--password={FIRST}", f"--new-password={SECOND}", "--label=second")
        self.assertIn("slot 1", done.stdout)
        self.assertEqual(self.slots(), {0: "", 1: "second"})
        self.opens(FIRST, SECOND)
        self.opens_not(THIRD, FIRST.upper(), count=2)
        # A file of random bytes, and one that opens with a file.
        key_file, other = self.path("key"), self.path("other")
        key_file.write_bytes(b"\0\n" + self.random.randbytes(200) + b"\n")
        other.write_text(SECOND + "\nthis line does not count\n")
        self.key("add", f"--password-file={other}", f"--new-key-file={key_file}", "--label=a file of mine")
        self.assertEqual(self.slots(), {0: "", 1: "second", 2: "a file of mine"})
        self.volume.mount(f"--key-file={key_file}", "--readOnly")
        self.assertEqual(disk.read_at(self.volume.file, 0, len(self.data)) == self.data, True)
        self.volume.umount()
        # The second one becomes the third, under its label.
        done = self.key("change", f"--password={SECOND}", f"--new-password={THIRD}")
        self.assertEqual(sorted(self.slots().values()), ["", "a file of mine", "second"])
        self.assertEqual(self.slots()[1], "second")
        self.opens(FIRST, THIRD)
        self.opens_not(SECOND, count=3)
        # One goes by its number, one by itself.
        self.key("remove", f"--password={FIRST}", "--slot=2")
        status, text = self.volume.refused(f"--key-file={key_file}")
        self.assertGreater(status, 0)
        self.assertRegex(text, opens_none(2))
        self.key("remove", f"--password={FIRST}")
        self.opens(THIRD)
        self.opens_not(FIRST, count=1)
        # All the time it was the same volume with the same key.
        after = json.loads((self.volume.store.path / DESCRIPTION).read_text())
        for name, value in json.loads(before).items():
            if name not in ("slots", "epoch", "mac"):
                self.assertEqual(after[name], value, name)
        # And it can be written.
        self.volume.mount(f"--password={THIRD}")
        disk.write_at(self.volume.file, 5, b"written at last")
        self.volume.umount()
        self.data = self.data[:5] + b"written at last" + self.data[20:]
        self.blocks = self.stored_blocks()
        self.opens(THIRD)

    def test_the_last_one(self):
        self.make()
        self.refused("last one.*--last-slot", "remove", f"--password={FIRST}")
        self.refused("last one.*--last-slot", "remove", f"--password={FIRST}", "--slot=0")
        self.opens(FIRST)
        self.key("remove", f"--password={FIRST}", "--last-slot")
        self.assertEqual(self.slots(), {})
        self.opens_not(FIRST, count=0)
        self.refused(opens_none(0), "add", f"--password={FIRST}", f"--new-password={SECOND}")
        self.assertEqual(self.stored_blocks(), self.blocks)

    def test_damaged_ones_are_not_another_one(self):
        """Whichever way they are damaged; each may go, and with it nothing that opens the volume."""
        for bad in ({"blob": "$argon2id$of a later program"}, {"blob": ""}, {"blob": None}, {"label": None}):
            with self.subTest(bad=bad):
                self.volume = disk.Disk(self, str(BLOCK * BLOCKS), str(BLOCK), *QUICK_KEY)
                self.make()
                self.key("add", f"--password={FIRST}", f"--new-password={SECOND}", "--label=second")
                self.change_slots(lambda slots, bad=bad: slots[1].update(bad))
                done = self.key("remove", f"--password={FIRST}", check=False)
                self.assertGreater(done.returncode, 0)
                self.assertRegex(done.stderr, "slot 0 is the last one.*--last-slot")
                self.opens(FIRST)
                self.key("remove", f"--password={FIRST}", "--slot=1")
                self.assertEqual(self.slots(), {0: ""})
                self.opens(FIRST)

    def test_nothing_is_changed_by_force(self):
        """Over the mount token of another machine, or at all."""
        self.make()
        self.key("add", f"--password={FIRST}", f"--new-password={SECOND}")
        for is_there in (False, True):
            if is_there:
                (self.volume.store.path / LOCK).write_text("another\n")
            for verb in ("list", "add", "change", "remove"):
                self.refused("by force.*--reset-mounted-flag", verb, f"--password={FIRST}", f"--new-password={THIRD}", "--force")
        self.refused("in use.*--reset-mounted-flag", "remove", f"--password={FIRST}", "--last-slot")
        self.assertEqual(self.reset().returncode, 0)
        self.opens(FIRST, SECOND)

    def test_what_is_refused(self):
        self.make()
        given = f"--password={FIRST}"
        empty, long_file = self.path("empty"), self.path("long")
        empty.touch()
        long_file.write_bytes(b"x" * 5000)
        for words, verb, *options in (
                (opens_none(1), "add", f"--password={SECOND}", f"--new-password={THIRD}"),
                (opens_none(1), "change", f"--password={SECOND}", f"--new-password={THIRD}"),
                (opens_none(1), "remove", f"--password={SECOND}", "--slot=0", "--last-slot"),
                ("opens the volume is needed.*--password-file", "add", f"--new-password={THIRD}"),
                ("new password is needed.*--new-password-file", "add", given),
                ("new password is needed.*--new-password-file", "change", given),
                ("empty", "add", given, f"--new-password-file={empty}"),
                ("longer than", "add", given, f"--new-password-file={long_file}"),
                ("--new-password-file: cannot read", "add", given, f"--new-password-file={empty}-not-there"),
                ("--new-key-file: cannot read", "change", given, f"--new-key-file={empty}-not-there"),
                (" --key-file: cannot read", "change", f"--key-file={empty}-not-there", "--new-password=x"),
                ("--new-password, .*leave all but one out", "add", given, f"--new-password-file={long_file}", "--new-password=x"),
                ("label.*longer than", "add", given, "--new-password=x", "--label=" + "x" * 64),
                ("slot 7 is not in use", "remove", given, "--slot=7"),
                ("slot", "remove", given, "--slot=32"),
                ("frobnicate.*usage", "frobnicate", given),
                ("nosuch", "list", "--nosuch"),
                ("--label out", "list", "--label=x"),
                ("--slot out", "list", "--slot=1"),
                ("key list", "add", "--json")):
            with self.subTest(verb=verb, options=options):
                self.refused(words, verb, *options)
        done = disk.run(disk.BINARY, "key", check=False, env=disk.environment(self))
        self.assertGreater(done.returncode, 0)
        self.assertRegex(done.stderr, "usage: bucketdisk key")
        self.opens(FIRST)

    def test_volumes_without_keys(self):
        self.refused("no volume of format 2", "list")
        self.make("--format=2", password=None)
        self.refused("not encrypted", "list")
        self.refused("not encrypted", "add", f"--password={FIRST}", f"--new-password={SECOND}")
        self.volume = disk.Disk(self, str(BLOCK * BLOCKS), str(BLOCK))
        self.make("--encrypt")
        self.refused("no volume of format 2", "change", f"--password={FIRST}", f"--new-password={SECOND}")

    def test_all_slots(self):
        self.make()
        for number in range(1, 32):
            self.key("add", f"--password={FIRST}", f"--new-password=number {number}", f"--label=n{number}")
        self.refused("all 32 key slots", "add", f"--password={FIRST}", f"--new-password={SECOND}")
        self.assertEqual(len(self.slots()), 32)
        self.opens(FIRST, "number 31")
        self.key("remove", "--password=number 17")
        self.key("change", "--password=number 31", "--new-password=number 32")
        self.assertNotIn(17, self.slots())
        self.opens("number 32", "number 1")
        # One is changed where none is free.
        self.key("add", f"--password={FIRST}", f"--new-password={SECOND}")
        self.assertEqual(len(self.slots()), 32)
        self.key("change", "--password=number 30", f"--new-password={THIRD}")
        self.assertEqual(self.slots()[30], "n30")
        self.key("change", f"--password={THIRD}", "--new-password=number 5, later", "--slot=5")
        self.assertEqual(len(self.slots()), 32)
        self.opens(SECOND, THIRD, "number 5, later", "number 32")
        self.opens_not("number 5", "number 30", count=32)

    def test_no_description_comes_twice(self):
        """Else a put that the store carries out late would find the tag that it expects, and a removed password open again."""
        self.make()
        texts = [(self.volume.store.path / DESCRIPTION).read_text()]
        for verb, password, *more in (("add", FIRST, f"--new-password={SECOND}"), ("remove", SECOND),
                                      ("add", FIRST, f"--new-password={SECOND}"), ("change", FIRST, f"--new-password={THIRD}"),
                                      ("remove", SECOND), ("change", THIRD, f"--new-password={FIRST}")):
            self.key(verb, f"--password={password}", *more)
            texts.append((self.volume.store.path / DESCRIPTION).read_text())
        epochs = [json.loads(text)["epoch"] for text in texts]
        self.assertEqual(epochs, list(range(epochs[0], epochs[0] + len(texts))))
        self.assertEqual(len({json.loads(text)["mac"] for text in texts}), len(texts))
        self.key("list")
        self.refused("not in use", "remove", f"--password={FIRST}", "--slot=9")
        self.volume.mount(f"--password={FIRST}")
        self.volume.umount()
        self.assertEqual(json.loads((self.volume.store.path / DESCRIPTION).read_text())["epoch"], epochs[-1] + 1)
        self.opens(FIRST)

    def test_a_late_put_brings_no_password_back(self):
        server = faulty.FaultyServer(self)
        self.volume = disk.Disk(self, str(BLOCK * BLOCKS), str(BLOCK), *QUICK_KEY, store=faulty.FaultyStore(server))
        self.make()
        server.fault("late", method="PUT", key=DESCRIPTION, count=1, seconds=8)
        start = time.monotonic()
        self.key("add", f"--password={FIRST}", f"--new-password={SECOND}", "--settle-time=0")
        self.key("remove", f"--password={SECOND}")
        self.assertLess(time.monotonic(), start + 8, "too slow to tell")
        before = self.volume.store.snapshot()
        time.sleep(start + 12 - time.monotonic())
        self.assertEqual(self.volume.store.snapshot(), before)
        self.opens(FIRST)
        self.opens_not(SECOND, count=1)
        # Nor does the next one come before it: whoever has the token keeps it until that is settled.
        server.fault("late", method="PUT", key=DESCRIPTION, count=1, seconds=1)
        start = time.monotonic()
        self.key("add", f"--password={FIRST}", f"--new-password={SECOND}", "--settle-time=3s")
        self.assertGreater(time.monotonic(), start + 3)
        self.opens(FIRST, SECOND)

    def test_a_copy_of_the_description(self):
        """It brings back a volume that lost its own, and opens with the passwords of its time."""
        self.make()
        path = self.volume.store.path / DESCRIPTION
        copy = path.read_bytes()
        self.key("change", f"--password={FIRST}", f"--new-password={SECOND}")
        self.volume.mount(f"--password={SECOND}")
        self.volume.umount()
        path.unlink()
        status, _ = self.volume.refused(f"--password={SECOND}")
        self.assertGreater(status, 0)
        path.write_bytes(copy)
        self.opens(FIRST)
        self.opens_not(SECOND, count=1)
        self.volume.mount(f"--password={FIRST}")
        disk.write_at(self.volume.file, 0, self.data[:100])
        self.volume.umount()
        self.blocks = self.stored_blocks()
        self.opens(FIRST)

    def test_the_slot_that_is_named(self):
        self.make()
        given = f"--password={FIRST}"
        done = self.key("add", given, f"--new-password={SECOND}", "--label=far", "--slot=31")
        self.assertIn("slot 31", done.stdout)
        self.assertEqual(self.slots(), {0: "", 31: "far"})
        self.refused("slot 31 is in use.*key change", "add", given, f"--new-password={THIRD}", "--slot=31")
        self.refused("slot 0 is in use", "add", given, f"--new-password={THIRD}", "--slot=0")
        self.refused("slot 7 is not in use", "change", given, f"--new-password={THIRD}", "--slot=7")
        self.refused("slot", "add", given, f"--new-password={THIRD}", "--slot=32")
        self.opens(FIRST, SECOND)
        # Any password does.
        done = self.key("change", given, f"--new-password={THIRD}", "--slot=31")
        self.assertIn("slot 31", done.stdout)
        self.assertEqual(self.slots(), {0: "", 31: "far"})
        self.opens(FIRST, THIRD)
        self.opens_not(SECOND, count=2)
        self.key("change", f"--password={THIRD}", f"--new-password={SECOND}", "--slot=0", "--label=near")
        self.assertEqual(self.slots(), {0: "near", 31: "far"})
        self.opens(SECOND, THIRD)
        self.opens_not(FIRST, count=2)
        # Not its own, but it has to be one.
        self.refused(opens_none(2), "change", given, f"--new-password={FIRST}", "--slot=0")
        # What was damaged is whole again, where it was.
        self.change_slots(lambda slots: slots[0].update(blob=None))
        self.key("change", f"--password={THIRD}", f"--new-password={FIRST}", "--slot=0")
        self.assertEqual(self.slots(), {0: "near", 31: "far"})
        self.opens(FIRST, THIRD)

    # --- damaged slots

    def change_slots(self, change):
        """The slots of the description, as the function changes their list."""
        path = self.volume.store.path / DESCRIPTION
        description = json.loads(path.read_text())
        change(description["slots"])
        path.write_text(json.dumps(description))

    def stored_slots(self):
        return json.loads((self.volume.store.path / DESCRIPTION).read_text())["slots"]

    def test_a_damaged_slot_harms_itself_alone(self):
        self.make()
        self.key("add", f"--password={FIRST}", f"--new-password={SECOND}", "--label=second")
        bad = {"slot": 0, "blob": 17, "label": "mine", "of a later program": [1, {"more": None}]}
        self.change_slots(lambda slots: slots.__setitem__(0, bad))
        self.assertEqual(self.slots(), {0: 'mine (damaged: "blob" is of a wrong kind)', 1: "second"})
        self.opens(SECOND)
        self.assertRegex(self.volume.log_text(), 'warning: key slot 0 of the volume is damaged: "blob" is of a wrong kind')
        status, text = self.volume.refused(f"--password={FIRST}")
        self.assertGreater(status, 0)
        self.assertRegex(text, 'key slot 0 cannot be tried: "blob" is of a wrong kind')
        # It stays as it is, whatever comes and goes beside it.
        done = self.key("add", f"--password={SECOND}", f"--new-password={THIRD}")
        self.assertIn("slot 2", done.stdout)
        self.assertIn("key slot 0 of the volume is damaged", done.stderr)
        self.key("change", f"--password={SECOND}", f"--new-password={FIRST}")
        self.volume.mount(f"--password={FIRST}")
        self.volume.umount()
        self.assertIn(bad, self.stored_slots())
        self.opens(FIRST, THIRD)
        # The last one that opens the volume is the last one.
        self.key("remove", f"--password={THIRD}")
        done = self.key("remove", f"--password={FIRST}", check=False)
        self.assertRegex(done.stderr, "(?s)slot 0 of the volume is damaged.*slot 1 is the last one.*--last-slot")
        self.assertGreater(done.returncode, 0)
        self.key("remove", f"--password={FIRST}", "--slot=0")
        self.assertEqual(self.slots(), {1: "second"})
        self.assertNotIn(bad, self.stored_slots())
        self.assertNotIn("damaged", self.key("add", f"--password={FIRST}", f"--new-password={THIRD}").stderr)
        self.opens(FIRST, THIRD)

    def test_what_can_be_read_of_a_slot_opens_the_volume(self):
        self.make()
        self.key("add", f"--password={FIRST}", f"--new-password={SECOND}", "--label=second")
        before = self.stored_slots()
        for change, listed in (
                (lambda slots: slots[0].pop("label"), {0: '(damaged: "label" is missing)', 1: "second"}),
                (lambda slots: slots[0].update(label="\x1b[2J"), {0: '(damaged: "label" holds control characters)', 1: "second"}),
                (lambda slots: slots[0].update(slot=99), {0: '(damaged: "slot" is out of range)', 1: "second"}),
                (lambda slots: slots[1].update(slot=0), {0: "", 1: "second (damaged: its number is there twice)"}),
                (lambda slots: slots.insert(0, None), {0: "", 1: "second", 2: "(damaged: it is of a wrong kind)"})):
            with self.subTest(listed=listed):
                self.change_slots(change)
                self.assertEqual(self.slots(), listed)
                self.opens(FIRST, SECOND)
                self.assertIn("damaged", self.volume.log_text())
                damaged = next(number for number, label in listed.items() if "damaged" in label)
                self.key("remove", f"--password={FIRST if damaged else SECOND}", f"--slot={damaged}")
                self.assertEqual(self.slots(), {number: label for number, label in listed.items() if number != damaged})
                self.change_slots(lambda slots: slots.__setitem__(slice(None), [dict(slot) for slot in before]))

    # --- in use

    def test_while_it_is_mounted(self):
        self.make()
        self.volume.mount(f"--password={FIRST}")
        for verb, more in (("add", [f"--new-password={SECOND}"]), ("change", [f"--new-password={SECOND}"]), ("remove", ["--last-slot"])):
            self.refused("in use|mounted", verb, f"--password={FIRST}", *more)
        self.assertEqual(self.slots(), {0: ""})
        disk.write_at(self.volume.file, 0, self.data[:BLOCK])
        self.volume.kill9()
        # A dead daemon of this machine is nobody.
        self.blocks = self.stored_blocks()
        self.key("change", f"--password={FIRST}", f"--new-password={SECOND}")
        self.opens(SECOND)
        # A reader notices nothing.
        self.volume.mount(f"--password={SECOND}", "--readOnly")
        self.key("change", f"--password={SECOND}", f"--new-password={THIRD}")
        self.assertEqual(disk.read_at(self.volume.file, 0, len(self.data)) == self.data, True)
        self.volume.umount()
        self.opens(THIRD)

    def test_mount_token_is_not_s3backers(self):
        """What keeps s3backer off stays, whatever is reset; the lock that counts is another object."""
        self.make()
        self.assertIn(FENCE, self.volume.store.objects())
        self.assertNotIn(LOCK, self.volume.store.objects())
        fence = self.volume.store.snapshot()[FENCE]
        # The lock of another machine.
        lock = self.volume.store.path / LOCK
        lock.write_text("another\n")
        status, text = self.volume.refused(f"--password={FIRST}")
        self.assertGreater(status, 0)
        self.assertRegex(text, "in use")
        self.refused("in use", "add", f"--password={FIRST}", f"--new-password={SECOND}")
        disk.run(*self.volume.command("--reset-mounted-flag"), self.volume.store.location, env=disk.environment(self))
        self.assertNotIn(LOCK, self.volume.store.objects())
        self.volume.mount(f"--password={FIRST}")
        self.assertIn(LOCK, self.volume.store.objects())
        self.volume.umount()
        self.assertEqual(self.volume.store.snapshot()[FENCE], fence)
        self.opens(FIRST)
        # Should somebody remove it, the next mount puts it back.
        (self.volume.store.path / FENCE).unlink()
        self.volume.mount(f"--password={FIRST}")
        self.volume.umount()
        self.assertIn(FENCE, self.volume.store.objects())

    def reset(self, *options):
        return disk.run(*self.volume.command("--reset-mounted-flag", *options), self.volume.store.location, check=False,
                        env=disk.environment(self))

    def test_reset_by_force(self):
        """--force goes over the lock of another machine, and over nothing of this one; what keeps s3backer off stays."""
        self.make()
        fence = self.volume.store.snapshot()[FENCE]
        lock = self.volume.store.path / LOCK
        lock.write_text("another\n")
        self.volume.mount(f"--password={FIRST}", "--force")
        before = self.volume.store.snapshot()
        for options in ([], ["--force"]):
            done = self.reset(*options)
            self.assertEqual(done.returncode, 1)
            self.assertIn("is mounted on", done.stderr)
            self.assertEqual(self.volume.store.snapshot(), before)
        self.volume.umount()
        lock.write_text("another\n")
        self.assertEqual(self.reset("--force").returncode, 0)
        self.assertNotIn(LOCK, self.volume.store.objects())
        self.assertEqual(self.volume.store.snapshot()[FENCE], fence)
        self.opens(FIRST)

    def test_a_token_of_s3backer_in_place_of_ours(self):
        """It keeps the volume from being mounted, until the operator says that nobody uses it."""
        self.make()
        path = self.volume.store.path / FENCE
        for name in os.listxattr(path):
            os.removexattr(path, name)
        status, text = self.volume.refused(f"--password={FIRST}")
        self.assertGreater(status, 0)
        self.assertRegex(text, "token of s3backer's kind.*--reset-mounted-flag")
        self.assertEqual(self.reset().returncode, 0)
        self.volume.mount(f"--password={FIRST}")
        self.volume.umount()
        self.assertNotEqual(os.listxattr(path), [])
        self.opens(FIRST)

    # --- secrets

    MARK, NEW = "MARK-7f3a-secret", "NEW-c41d-secret"

    def assert_secret(self, text, where):
        for word in (self.MARK, self.NEW):
            self.assertNotIn(word, text, f"a password shows in {where}")

    def seen_of(self, pid):
        """What ps, and whoever may look into /proc, sees of a process."""
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            return ""

    def test_passwords_are_never_seen(self):
        for codec in ("--codec=zstd,xchacha20-poly1305", "--encrypt"):
            for given in ([f"--password={self.MARK}"], ["--password", self.MARK], ["-o", f"password={self.MARK},stop-timeout=0"]):
                with self.subTest(codec=codec, given=given):
                    self.volume = disk.Disk(self, str(BLOCK * BLOCKS), str(BLOCK), *QUICK_KEY)
                    self.volume.mount(codec, *given, "--debug")
                    disk.write_at(self.volume.file, 0, self.data)
                    self.assert_secret(self.seen_of(self.volume.daemon.pid), "ps")
                    for name in ("stats", "stats.json", "metrics"):
                        self.assert_secret((self.volume.mountpoint / name).read_text(), name)
                    for lock in Path("/run/bucketdisk").rglob("*"):
                        with contextlib.suppress(FileNotFoundError, IsADirectoryError):     # another story's may just go
                            self.assert_secret(lock.read_bytes().decode(errors="replace"), lock)
                    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
                        self.assert_secret(mounts.read(), "mountinfo")
                    self.volume.umount()
                    self.assert_secret(self.volume.log_text(), "the log")
                    for path in self.volume.store.path.iterdir():
                        self.assert_secret(path.read_bytes().decode(errors="replace"), path.name)
                    self.volume.mount_in_background(*given)
                    self.assert_secret(self.seen_of(self.volume.daemon.pid), "ps, in the background")
                    self.volume.umount()

    def memory_of(self, pid):
        """Everything that can be read of a process, piece by piece."""
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            for line in maps:
                area, rights, *_ = line.split()
                start, end = (int(word, 16) for word in area.split("-"))
                # A sanitizer's shadow is terabytes; nothing of ours is there.
                if "r" not in rights or "[v" in line or end - start > 1 << 30:
                    continue
                with contextlib.suppress(OSError):
                    memory.seek(start)
                    yield memory.read(end - start)

    def test_passwords_are_forgotten(self):
        """Who has the volume's key needs no password any more; in s3backer's format each cipher derives its own from it."""
        key_file = self.path("key")
        key_file.write_text(self.MARK + "\n")
        mark = self.MARK[:-1].encode()          # this text, too, is in memory somewhere
        for codec, given, is_found in (("--codec=zstd,xaes-256-gcm", [f"--password={self.MARK}"], False),
                                       ("--codec=zstd,xchacha20-poly1305", ["-o", f"password={self.MARK},stop-timeout=0"], False),
                                       ("--codec=xaes-256-gcm", [f"--password-file={key_file}"], False),
                                       ("--encrypt", [f"--password={self.MARK}"], True)):
            with self.subTest(codec=codec):
                self.volume = disk.Disk(self, str(BLOCK * BLOCKS), str(BLOCK), *QUICK_KEY)
                for options in ([codec, *given], given, [*given, "--readOnly"]):
                    self.volume.mount_in_background(*options)
                    found = any(mark in piece for piece in self.memory_of(self.volume.daemon.pid))
                    self.assertEqual(found, is_found, f"{options}: the password is still in memory")
                    if "--readOnly" not in options:
                        disk.write_at(self.volume.file, 0, self.data)
                    self.assertEqual(disk.read_at(self.volume.file, 0, len(self.data)) == self.data, True)
                    self.volume.umount()

    def test_passwords_are_never_told(self):
        """Nor in what is printed, whatever goes wrong."""
        self.make()
        location = self.volume.store.location
        start = [disk.BINARY, "--backend=dir", *QUICK_KEY]
        secret = [f"--password={self.MARK}"]
        change = [*secret, f"--new-password={self.NEW}"]
        nowhere = self.directory("nowhere")
        for command in ([*start, *secret, "--dump-options"], [*start, *secret, "--help"], [*start, *secret, "--version"],
                        [*start, *secret, location, nowhere], [*start, *secret, "--size=1G", location, nowhere],
                        [*start, *secret, "--password-file=/dev/null", location, nowhere],
                        [*start, *secret, "--nosuch", location, nowhere], [*start, *secret, location],
                        [*start, "--codec=nosuch", *secret, location, nowhere], [*start, f"--password=@{nowhere}/{'x'}", location, nowhere],
                        [*start, f"--readOnly={self.MARK[:0]}perhaps", *secret, location, nowhere],
                        [disk.BINARY, "key", "add", "--backend=dir", *change, location],
                        [disk.BINARY, "key", "add", "--backend=dir", *change, "--nosuch", location],
                        [disk.BINARY, "key", "frob", "--backend=dir", *change, location],
                        [disk.BINARY, "key", "--help", *change],
                        [disk.BINARY, "plugins", "-v"]):
            with self.subTest(command=command[1:]):
                done = disk.run(*command, check=False, env=disk.environment(self))
                self.assert_secret(done.stdout + done.stderr, "what is printed")
        self.opens(FIRST)

    def test_key_commands_hide_their_arguments(self):
        self.make()
        slow = ["--argon2id-memory=32M", "--argon2id-passes=40"]
        command = [disk.BINARY, "key", "add", f"--backend={self.volume.store.backend}", *slow, f"--password={FIRST}{self.MARK}",
                   f"--new-password={self.NEW}", self.volume.store.location]
        self.key("change", f"--password={FIRST}", f"--new-password={FIRST}{self.MARK}")
        process = self.start(*command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=disk.environment(self), text=True)
        seen = []
        while process.poll() is None:
            if text := self.seen_of(process.pid):
                seen.append(self.MARK in text or self.NEW in text)
            time.sleep(0.01)
        self.assertEqual(self.reap(process), 0)
        self.assertIn(False, seen, "a password shows in ps")
        self.assertNotIn(True, seen[seen.index(False):])
        self.opens(FIRST + self.MARK, self.NEW)

    # --- at a terminal

    def terminal(self):
        """(Our end, theirs, its settings)"""
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        self.addCleanup(os.close, theirs)
        return ours, theirs, termios.tcgetattr(theirs)

    def at_terminal(self, *options):
        """Start a mount as a user does who sits at a terminal, up to its question: (process, the terminal, its settings before,
        the pid of what asks)."""
        ours, theirs, usual = self.terminal()
        self.volume.mountpoint = self.directory("disk")
        self.volume.log = self.path("daemon")
        self.volume.log.touch()
        # In a session of its own with this terminal.  Its output is small enough for what a terminal keeps.
        process = self.start("setsid", "--ctty", *self.volume.command(*options), self.volume.store.location,
                             self.volume.mountpoint, stdin=theirs, stdout=theirs, stderr=theirs, env=disk.environment(self))
        self.said_at_terminal(ours, "Password of the volume: ")
        self.assertEqual(termios.tcgetattr(theirs)[3] & termios.ECHO, 0, "the terminal shows what is typed")
        asking = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
        disk.RECORD.add("process", asking, disk.process_start(asking))
        return process, ours, theirs, usual, asking

    def said_at_terminal(self, terminal, words, seconds=60):
        said, end = "", time.monotonic() + seconds
        while words not in said:
            self.assertTrue(select.select([terminal], [], [], end - time.monotonic())[0], f"{words!r} is missing: {said!r}")
            said += os.read(terminal, 4096).decode(errors="replace")

    def test_whoever_interrupts_the_question_means_all_of_it(self):
        self.make()
        before = self.volume.store.snapshot()
        for how in ("^C", "^\\", signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
            with self.subTest(how=how):
                process, ours, theirs, usual, asking = self.at_terminal()
                start = disk.process_start(asking)
                if isinstance(how, str):
                    os.write(ours, bytes([ord(how[1]) & 0x1f]))
                else:
                    os.kill(process.pid, how)
                status = self.reap(process)
                if how != signal.SIGKILL:
                    # Who types next types at a shell.
                    self.assertNotEqual(disk.process_start(asking), start, "it still asks")
                    self.assertEqual(termios.tcgetattr(theirs), usual)
                self.assertEqual(-status, {"^C": signal.SIGINT, "^\\": signal.SIGQUIT}.get(how, how))
                disk.wait_until("the end of what asks", lambda: disk.process_start(asking) != start, 20)
                self.assertEqual(termios.tcgetattr(theirs), usual)
                disk.RECORD.drop(("process", str(asking), start))
                self.assertFalse(disk.is_mounted(self.volume.mountpoint))
                self.assertEqual(self.volume.store.snapshot(), before)

    def test_who_answers_the_question_has_the_volume(self):
        """The command ends and the daemon stays, each time."""
        self.make()
        process, ours, theirs, usual, asking = self.at_terminal()
        thing = disk.RECORD.add("mount", self.volume.mountpoint)
        os.write(ours, FIRST.encode() + b"\n")
        self.assertEqual(self.reap(process), 0)
        self.assertEqual(termios.tcgetattr(theirs), usual)
        self.volume.daemon = disk.BackgroundDaemon(self.volume.mountpoint)
        self.assertEqual(self.volume.daemon.pid, asking)
        self.assertEqual(disk.read_at(self.volume.file, 0, len(self.data)) == self.data, True)
        self.volume.umount()
        disk.RECORD.drop(thing)
        for _ in range(disk.pick(10, 100)):
            self.volume.mount_in_background(f"--password={FIRST}")
            self.assertEqual(disk.read_at(self.volume.file, 5, 100), self.data[5:105])
            self.volume.umount()

    def key_at_terminal(self, question, *words):
        """Start a key command there, up to its question: (process, the terminal, its settings before)"""
        ours, theirs, usual = self.terminal()
        process = self.start("setsid", "--ctty", *self.key_command(*words), stdin=theirs, stdout=theirs, stderr=theirs,
                             env=disk.environment(self))
        self.said_at_terminal(ours, question)
        return process, ours, theirs, usual

    def test_key_commands_ask_before_they_keep_others_off(self):
        """Whoever goes away from the question, or is tired of the key derivation, leaves nothing behind."""
        self.make()
        before = self.volume.store.snapshot()
        given = f"--password={FIRST}"
        for verb, question, options in (("add", "Password of the volume: ", []), ("add", "New password: ", [given]),
                                        ("change", "New password: ", [given]), ("remove", "Password of the volume: ", [])):
            for how in ("^C", signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
                with self.subTest(verb=verb, question=question, how=how):
                    process, ours, theirs, usual = self.key_at_terminal(question, verb, *options)
                    self.assertEqual(self.volume.store.snapshot(), before, "asked too late")
                    if how == "^C":
                        os.write(ours, b"\x03")
                    else:
                        os.kill(process.pid, how)
                    self.assertEqual(-self.reap(process), signal.SIGINT if how == "^C" else how)
                    if how != signal.SIGKILL:
                        self.assertEqual(termios.tcgetattr(theirs), usual)
                    self.assertEqual(self.volume.store.snapshot(), before)
        for verb in ("add", "change"):
            with self.subTest(verb=verb, how="in the key derivation"):
                process = self.start(*self.key_command(verb, "--argon2id-memory=256M", "--argon2id-passes=64", "--argon2id-passes-max=64", given,
                                                       f"--new-password={SECOND}"), env=disk.environment(self))
                time.sleep(1)
                self.assertIsNone(process.poll())
                self.assertEqual(self.volume.store.snapshot(), before)
                process.terminate()
                self.assertEqual(-self.reap(process), signal.SIGTERM)
                self.assertEqual(self.volume.store.snapshot(), before)
        self.opens(FIRST)

    def test_signals_wait_while_others_are_kept_off(self):
        """The change is made or not, and the mount token is gone; then the signal is served."""
        for number, (slow, is_made) in enumerate((("only=get", False), ("only=put", True))):
            for how in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                with self.subTest(slow=slow, how=how):
                    self.volume = disk.Disk(self, str(BLOCK * BLOCKS), str(BLOCK), *QUICK_KEY)
                    self.make()
                    command = self.key_command("add", f"--password={FIRST}", f"--new-password={SECOND}", f"--chaos-{slow}",
                                               f"--chaos-match={DESCRIPTION}", "--chaos-latency=1s", chaos=True)
                    process = self.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                         env=disk.environment(self))
                    disk.wait_until("the mount token", lambda: LOCK in self.volume.store.objects(), 20, 0.001)
                    time.sleep(0.3)         # for what makes sure of the token
                    self.assertIn(LOCK, self.volume.store.objects())
                    process.send_signal(how)
                    said, complaint = process.communicate(timeout=60)
                    self.assertEqual(-self.reap(process), how)
                    self.assertNotIn(LOCK, self.volume.store.objects())
                    self.assertEqual("slot 1 opens" in said, is_made, said)
                    self.assertEqual("nothing was changed" in complaint, not is_made, complaint)
                    self.assertEqual(self.slots(), {0: "", 1: ""} if is_made else {0: ""})
                    self.opens(FIRST, *[SECOND] * is_made)
        # Who has it ignored means it.
        process = self.start("sh", "-c", 'trap "" HUP; exec "$@"', "sh", *self.key_command(
            "add", f"--password={FIRST}", f"--new-password={THIRD}", "--chaos-only=get", f"--chaos-match={DESCRIPTION}",
            "--chaos-latency=1s", chaos=True), stdout=subprocess.DEVNULL, env=disk.environment(self))
        disk.wait_until("the mount token", lambda: LOCK in self.volume.store.objects(), 20, 0.001)
        process.send_signal(signal.SIGHUP)
        self.assertEqual(self.reap(process), 0)
        self.opens(FIRST, SECOND, THIRD)

    def test_what_changed_during_the_question(self):
        """Nobody on this machine can; another machine is played by the description that it would have written."""
        self.make()
        description = self.volume.store.path / DESCRIPTION
        older = description.read_bytes()
        self.volume.mount(f"--password={FIRST}")
        self.volume.umount()
        later = description.read_bytes()
        self.key("add", f"--password={FIRST}", f"--new-password={THIRD}")
        one_more = description.read_bytes()
        another = disk.Disk(self, str(BLOCK * BLOCKS), str(BLOCK), *QUICK_KEY).mount("--codec=xaes-256-gcm", f"--password={FIRST}")
        another.umount()
        given = [f"--password={FIRST}"]
        for what, verb, now, said in (("a mount", "add", later, "slot 1 opens"), ("a mount", "change", later, "slot 0 has"),
                                      ("keys", "add", one_more, "somebody else has just changed"),
                                      ("keys", "change", one_more, "somebody else has just changed"),
                                      ("volume", "add", (another.store.path / DESCRIPTION).read_bytes(), "somebody else has just"),
                                      ("removed", "add", None, "no volume of format 2")):
            with self.subTest(what=what, verb=verb):
                description.write_bytes(older)
                process, ours, *_ = self.key_at_terminal("New password: ", verb, *given)
                if now is None:
                    description.unlink()
                else:
                    description.write_bytes(now)
                os.write(ours, SECOND.encode() + b"\n")
                self.said_at_terminal(ours, "Again: ")
                os.write(ours, SECOND.encode() + b"\n")
                self.said_at_terminal(ours, said)
                self.assertEqual(self.reap(process) == 0, now == later)
                self.assertNotIn(LOCK, self.volume.store.objects())
                if now == later:
                    epochs = [json.loads(text)["epoch"] for text in (now, description.read_bytes())]
                    self.assertEqual(epochs[1], epochs[0] + 1)
                    self.opens(SECOND)
                else:
                    self.assertEqual(description.read_bytes() if now else None, now)


if __name__ == "__main__":
    disk.main()
