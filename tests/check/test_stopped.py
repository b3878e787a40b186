#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A check that is stopped leaves no process, and nothing in the store; one that is killed says so the next time.

Each is stopped while it waits for one request, which the store below delays: objects have been made by then."""
import os
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from kit import BESIDE, BUCKETDISK, FaultyServer, environment, plugin, run

WRONG = Path(os.environ.get("WRONG_PLUGINS", BESIDE)) / "plugins" / "backend-wrong.so"
BEFORE = "another body has another tag"         # the row before the one that waits
WAITS = ("--chaos-match=n~me", "--chaos-only=get", "--chaos-latency=25s")
LIMIT = "--time-limit=90s"


def until(question, seconds=60):
    end = time.monotonic() + seconds
    while not question():
        if time.monotonic() > end:
            raise AssertionError("waited in vain")
        time.sleep(0.01)


class Stopped(unittest.TestCase):
    def place(self):
        place = tempfile.TemporaryDirectory(prefix="check-", dir=BESIDE)
        self.addCleanup(place.cleanup)
        return Path(place.name)

    def start(self, *words, wrong=None):
        process = subprocess.Popen([BUCKETDISK, "plugin", "check", LIMIT, *map(str, words)], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(wrong))
        self.addCleanup(lambda: process.poll() is None and process.kill())
        return process

    def start_waiting(self, *words, wrong=None):
        process = self.start(*words, wrong=wrong)
        for line in process.stdout:
            if BEFORE in line:
                return process
        self.fail(f"it ended: {process.communicate()}")

    def over_dir(self):
        place = self.place()
        return place, self.start_waiting(plugin("backend-chaos"), "--", "--backend=chaos,dir", *WAITS, place)

    def child(self, process):
        words = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return int(words[0]) if words else None

    def gone(self, pid):
        def is_gone():
            try:                                        # a zombie waits for a parent that may not look
                return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
            except (FileNotFoundError, ProcessLookupError):
                return True
        until(is_gone)

    def made(self, place):
        return [path.name for path in place.iterdir() if path.name != ".bucketdisk-lock"]

    def test_a_stopped_one_leaves_nothing(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(signal=number.name):
                place, process = self.over_dir()
                child = self.child(process)
                self.assertNotEqual(self.made(place), [])
                process.send_signal(number)
                text, errors = process.communicate(timeout=60)
                self.assertEqual((process.returncode, text.splitlines()[-1]), (2, "Bail out! interrupted"), text + errors)
                self.assertEqual(self.made(place), [])
                self.gone(child)

    def test_one_whom_nobody_reads_leaves_nothing(self):
        place, process = self.over_dir()
        process.stdout.close()
        errors = process.stderr.read()
        process.stderr.close()
        self.assertEqual(process.wait(60), 2)
        self.assertIn("nobody reads the output", errors)
        self.assertEqual(self.made(place), [])

    def test_a_killed_one_leaves_no_process_and_the_next_one_says_what_it_left(self):
        place, process = self.over_dir()
        child = self.child(process)
        process.kill()
        process.communicate(timeout=60)                  # at its end nobody has the other end of the pipe
        self.gone(child)
        left = self.made(place)
        self.assertNotEqual(left, [])
        again = run(["check", plugin("backend-dir"), "--", place])
        self.assertEqual(again.returncode, 2, again.stdout)
        self.assertIn("a check that was killed has left objects like \"bucketdisk-check-", again.stderr)
        self.assertIn("remove those whose names begin with bucketdisk-check-", again.stderr)
        self.assertEqual(sorted(self.made(place)), sorted(left))

    def test_whoever_stops_what_tidies_up_is_told_what_is_left(self):
        place = self.place()
        process = self.start(WRONG, "--", place, wrong="tidying-hangs")
        for _ in range(2):                              # it is begun once more
            until((place / "hangs").exists)
            (place / "hangs").unlink()
            process.send_signal(signal.SIGINT)
        text, errors = process.communicate(timeout=60)
        self.assertEqual((process.returncode, text.splitlines()[-1]), (2, "Bail out! interrupted"), text + errors)
        self.assertIn("interrupted again: objects whose names begin with bucketdisk-check- are left", text.replace("\n#   ", " "))

    def test_what_cannot_be_removed_is_told(self):
        with FaultyServer() as server:
            server.control(faults=[{"do": "access-denied", "match": {"op": "delete.*"}},
                                   {"do": "hang", "seconds": 60, "match": {"method": "GET", "key": "n~me"}}])
            process = self.start(plugin("backend-s3"), "--", *server.words)
            until(lambda: server.control()["faults"][1]["fired"] > 0)
            process.send_signal(signal.SIGINT)
            text, errors = process.communicate(timeout=60)
            self.assertIn("# left in s3://testbucket/check: objects whose names begin with bucketdisk-check-",
                          text.replace("\n#   ", " "), errors)

    def test_what_a_store_that_does_not_go_on_keeps_is_told(self):
        with FaultyServer() as server:
            pid = server.process.pid
            done = run(["check", "--time-limit=9s", f"--stall=kill -STOP {pid}", "--resume=exit 4", plugin("backend-s3"), "--",
                        *server.words])
            os.kill(pid, signal.SIGCONT)
        text = done.stdout.replace("\n#   ", " ")
        self.assertEqual((done.returncode, text.splitlines()[-1]), (2, "Bail out! --resume: the command has failed: exit 4"))
        self.assertIn("# objects whose names begin with bucketdisk-check- may be left in the store", text)
        self.assertNotIn("not ok", text)

    def test_a_stopped_one_leaves_nothing_on_s3(self):
        with FaultyServer() as server:
            server.control(faults=[{"do": "hang", "seconds": 60, "match": {"method": "GET", "key": "n~me"}}])
            process = self.start(plugin("backend-s3"), "--", *server.words)
            until(lambda: server.control()["faults"][0]["fired"] > 0)
            self.assertTrue(server.objects())
            process.send_signal(signal.SIGINT)
            text, errors = process.communicate(timeout=60)
            self.assertEqual((process.returncode, text.splitlines()[-1]), (2, "Bail out! interrupted"), text + errors)
            self.assertFalse(server.objects())


if __name__ == "__main__":
    os.makedirs(BESIDE, exist_ok=True)
    unittest.main(verbosity=2)
