#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`bucketdisk probe` finds out what a store really does, says what follows, and leaves nothing behind."""
import json
import os
import signal
import subprocess
import time

import disk

ALWAYS = 1000000                        # of a million

# What goes wrong in the store, by chaos; the row that must find it, its verdict, and a word of what it says.
FAULTS = [
    (["stale={}", "match=-overwrite"], "overwrite", "BAD", "after put"),
    (["stale={}", "match=-created-"], "created", "BAD", "absent"),
    (["stale={}", "match=-deleted"], "deleted", "BAD", "still read"),
    (["corrupt={}", "match=-bytes"], "bytes", "BAD", "others"),
    (["truncate={}", "match=-range"], "range", "BAD", "wrong"),
    (["discard", "only=put", "match=-list-"], "list", "BAD", "list-"),
    (["discard", "only=put", "match=-listed-at-once"], "list-fresh", "BAD", "put"),
    (["discard", "only=delete-many"], "delete-many", "BAD", "still there"),
    (["discard", "only=put", "match=-put-match"], "put-match", "BAD", ""),
    (["denied={}", "only=put", "match=-media-type"], "media-type", "BAD", "denied"),
    (["denied={}", "only=put", "match=-empty"], "empty", "weak", "denied"),
    (["lost={}", "only=put", "match=-put-absent"], "put-absent", "weak", "not known"),
]


class Probe(disk.Story):
    def probe(self, store, *options, chaos=None):
        """(exit status, what --json says, standard error)"""
        backend = ("chaos," if chaos else "") + store.backend
        done = disk.run(disk.BINARY, "probe", "--json", f"--backend={backend}", *store.options,
                        *[f"--chaos-{option}".format(ALWAYS) for option in chaos or ()], *options, store.location,
                        check=False, env=disk.environment(self))
        return done.returncode, json.loads(done.stdout), done.stderr

    def verdicts(self, report):
        return {row["id"]: row["verdict"] for row in report["rows"]}

    def test_a_good_store_is_good_in_every_row(self):
        for prefix in ("", "some/where-"):
            store = disk.DirStore(self)
            status, report, said = self.probe(store, f"--prefix={prefix}")
            self.assertEqual((status, said), (0, ""), report)
            self.assertTrue(report["usable"])
            self.assertEqual(set(self.verdicts(report).values()), {"ok"}, report)
            for row in report["rows"]:
                self.assertTrue(row["found"] and row["consequence"].endswith("."), row)
            left = [name for _, _, names in os.walk(store.path) for name in names if not name.startswith(".")]
            self.assertEqual(left, [])

    def test_a_volume_beside_it_is_not_touched(self):
        volume = disk.Disk(self, "1M", "64K").mount()
        disk.write_at(volume.file, 0, self.random.randbytes(512 * disk.KIB))
        before = volume.store.snapshot()
        self.assertEqual(self.probe(volume.store)[0], 0)        # while it is mounted
        self.assertEqual(volume.store.snapshot(), before)
        volume.umount()

    def test_each_fault_is_found_by_the_row_that_asks_for_it(self):
        for chaos, row, verdict, word in FAULTS:
            with self.subTest(chaos=chaos):
                store = disk.DirStore(self)
                status, report, _ = self.probe(store, chaos=chaos)
                self.assertEqual({id: found for id, found in self.verdicts(report).items() if found != "ok"}, {row: verdict},
                                 report)
                found = next(entry for entry in report["rows"] if entry["id"] == row)
                self.assertIn(word, found["found"])
                self.assertEqual((status, report["usable"]), (1, False) if verdict == "BAD" else (0, True))
                self.assertEqual(store.objects(), [])

    def test_a_store_that_fails_now_and_then_is_asked_again(self):
        store = disk.DirStore(self)
        status, report, _ = self.probe(store, chaos=["retry=50000", "busy=20000"])
        self.assertEqual(status, 0, report)
        self.assertEqual(store.objects(), [])

    def test_where_nothing_can_be_stored_one_sentence_says_so(self):
        for fault, word in (("denied", "denied"), ("retry", "retry"), ("lost", "answers were lost")):
            store = disk.DirStore(self)
            begun = time.monotonic()
            done = disk.run(disk.BINARY, "probe", "--backend=chaos,dir", f"--chaos-{fault}={ALWAYS}", "--chaos-only=put",
                            store.location, check=False, env=disk.environment(self))
            self.assertLess(time.monotonic() - begun, 15)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertRegex(done.stderr, f"(?s){word}.*")
            self.assertRegex(done.stderr, "bucketdisk: error: nothing can be stored there: .*\n$")
            self.assertEqual(done.stderr.count("\n"), 2 if fault == "lost" else 1)

    def test_what_cannot_be_removed_is_named(self):
        store = disk.DirStore(self)
        status, report, said = self.probe(store, chaos=["discard", "only=delete", "match=-bytes"])
        left = store.objects()
        self.assertEqual(len(left), 1, left)
        self.assertIn(left[0].removesuffix("bytes"), said)
        self.assertIn("1 object", report["left_behind"])
        self.assertEqual(status, 0)

    def test_a_signal_ends_it_and_it_still_tidies_up(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            store = disk.DirStore(self)
            process = self.start(disk.BINARY, "probe", "--backend=chaos,dir", "--chaos-latency=50ms", store.location,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                 env=disk.environment(self))
            disk.wait_until("some objects", lambda: len(store.objects()) > 3)
            process.send_signal(number)
            self.assertEqual(self.reap(process), 130)
            self.assertIn("Not everything was asked", process.stdout.read())
            self.assertEqual(store.objects(), [])

    def test_one_sentence_for_what_is_given_wrongly(self):
        for words, text in (([], "usage"), (["a", "b"], "usage"), (["--frobnicate", "a"], "frobnicate"),
                            (["--backend=nosuch", "a"], "nosuch"), (["--backend=dir", self.tmp / "none"], "none")):
            done = disk.run(disk.BINARY, "probe", *words, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, f"^bucketdisk: error: .*{text}.*\n$")
            self.assertEqual(done.stdout, "")

    def test_the_table_says_the_same(self):
        store = disk.DirStore(self)
        done = disk.run(disk.BINARY, "probe", "--backend=dir", store.location)
        self.assertIn("Fit for a disk.", done.stdout)
        self.assertRegex(done.stdout, r"(?m)^ok +put if there is none +yes +honoured$")
        self.assertLessEqual(max(map(len, done.stdout.splitlines()[1:])), 96)
        done = disk.run(disk.BINARY, "probe", "--backend=chaos,dir", "--chaos-truncate=1000000", "--chaos-match=-range",
                        store.location, check=False)
        self.assertRegex(done.stdout, r"(?m)^BAD +a part of an object +yes\n {8}100 bytes from 0 on are wrong")
        self.assertIn("Not fit for a disk: 1 of 21 answers is bad.", done.stdout)
        self.assertLessEqual(max(map(len, done.stdout.splitlines()[1:])), 96)
        self.assertIn("usage", disk.run(disk.BINARY, "probe", "--help").stdout)


if __name__ == "__main__":
    disk.main()
