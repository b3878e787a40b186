# SPDX-License-Identifier: Apache-2.0
"""The writer seen from a test: what it was told is acknowledged, and whether a filesystem still has all of it."""
import hashlib
import subprocess
import sys
import threading
from pathlib import Path

import disk
import writer


class Acknowledged:
    """What must be found again, from any number of writers, one after the other."""

    def __init__(self):
        self.files = {}                                 # name -> sha256
        self.records = [0] * writer.RECORDS             # newest acknowledged version
        self.begun = [0] * writer.RECORDS               # newest version that may have been written

    def take(self, line):
        sign, one, two = line.split()
        if sign == "+":
            self.files[one] = two
        elif sign == "?":
            self.begun[int(one)] = int(two)
        else:
            self.records[int(one)] = int(two)

    def check(self, story, where):
        """Every acknowledged file is whole, every record holds its newest acknowledged version or a later one."""
        where = Path(where)
        for name, digest in self.files.items():
            path = where / name
            story.assertTrue(path.exists(), f"acknowledged file {name} is lost (of {len(self.files)})")
            story.assertEqual(hashlib.sha256(path.read_bytes()).hexdigest(), digest, f"file {name} is damaged")
        if not any(self.begun):
            return
        with open(where / "records", "rb") as records:
            for number, version in enumerate(self.records):
                page = records.read(writer.PAGE)
                found = writer.version_of(number, page)
                story.assertIsNotNone(found, f"record {number} is damaged: {writer.runs_of(page)}")
                story.assertGreaterEqual(found, version, f"record {number} fell behind its acknowledged version")
                story.assertLessEqual(found, self.begun[number], f"record {number} comes from nowhere")
        self.begun = list(self.records)
        with open(where / "records", "rb") as records:  # what was in flight at the end is what it is now
            for number in range(writer.RECORDS):
                self.records[number] = self.begun[number] = writer.version_of(number, records.read(writer.PAGE))


class Writer:
    """A writer at work in a directory."""

    def __init__(self, story, where, seed, acknowledged, pause=0.0, wrapper=()):
        self.story, self.acknowledged = story, acknowledged
        self.errors = story.path("writer").with_suffix(".err")
        with open(self.errors, "wb") as errors:
            self.process = story.start(*wrapper, sys.executable, "-B", Path(__file__).with_name("writer.py"), where,
                                       seed, pause, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
        self.count = 0
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        for line in self.process.stdout:
            if line.endswith(b"\n"):
                self.acknowledged.take(line.decode())
                self.count += 1

    def progress(self, lines, seconds=60):
        """Wait until the writer has got further by so many lines."""
        target = self.count + lines
        disk.wait_until(f"{lines} more acknowledgements ({self.error()})",
                        lambda: self.count >= target or self.process.poll() is not None, seconds)
        self.story.assertIsNone(self.process.poll(), f"the writer has ended: {self.error()}")

    def error(self):
        return self.errors.read_text().strip()

    def stop(self):
        """End it, as one ends a program; it must have met no error."""
        self.story.assertIsNone(self.process.poll(), f"the writer met an error: {self.error()}")
        self.process.kill()
        self.reap()

    def reap(self):
        """Wait for an end by itself or by a signal, and take its last lines."""
        self.story.reap(self.process)
        self.thread.join(30)
        self.process.stdout.close()


