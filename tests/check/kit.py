# SPDX-License-Identifier: Apache-2.0
"""Runs `bucketdisk plugin check` and reads its TAP."""
import json
import os
import re
import subprocess
import tempfile
import unittest
import urllib.request
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
BUCKETDISK = Path(os.environ.get("BUCKETDISK", "build/bucketdisk")).absolute()
BUILD = BUCKETDISK.parent
PLUGINS = BUILD / "plugins"
# /tmp may be a filesystem without attributes.
BESIDE = BUILD / "tests" / "check"
ROW = re.compile(r"(not )?ok (\d+) - (.*?)( # SKIP .*)?$")


def plain(text):
    """The same words with one space between each, and without what makes them a comment."""
    return " ".join(re.sub(r"\n\s*\* ", "\n ", text).split())


CONTRACT = plain((TOP / "sdk/include/bucketdisk/plugin.h").read_text())


def environment(wrong):
    variables = {name: value for name, value in os.environ.items() if name != "WRONG"}
    # LeakSanitizer of gcc 12 crashes where it looks for thread-local storage in some of these short processes.
    options = f"use_tls=0:suppressions={TOP}/tests/leaks.supp:print_suppressions=0"
    variables["LSAN_OPTIONS"] = ":".join(filter(None, [variables.get("LSAN_OPTIONS"), options]))
    if wrong:
        variables["WRONG"] = wrong
    return variables


def run(words, wrong=None):
    return subprocess.run([BUCKETDISK, "plugin", *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=250, env=environment(wrong))


class Checked:
    def __init__(self, words, wrong=None):
        done = run(["check", *words], wrong)
        self.status, self.errors, self.text = done.returncode, done.stderr, done.stdout
        lines = self.text.splitlines()
        self.rows = [match for match in map(ROW.match, lines) if match]
        self.passed = {row[3] for row in self.rows if not row[1]}
        self.failed = {row[3] for row in self.rows if row[1]}
        self.skips = {row[3]: row[4] for row in self.rows if row[4]}
        self.skipped = {row[3] for row in self.rows if row[4]}
        # What stands below each row.
        self.below = {}
        for line in lines:
            if row := ROW.match(line):
                below = self.below.setdefault(row[3], [])
            elif line.startswith("# ") and self.below:
                below.append(line)
        self.below = {row: "\n".join(below).replace("\n#   ", " ") for row, below in self.below.items()}
        self.bails = [line for line in lines if line.startswith("Bail out!")]
        numbers = [int(row[2]) for row in self.rows]
        if lines[0] != "TAP version 13" or numbers != list(range(1, len(numbers) + 1)):
            raise AssertionError(f"this is no TAP:\n{self.text}")
        if not self.bails and f"1..{len(numbers)}" not in lines:
            raise AssertionError(f"no plan:\n{self.text}")
        verdict = "# FAILED: " if self.failed else "# PASSED: "
        if not self.bails and sum(line.startswith(verdict) for line in lines[lines.index(f"1..{len(numbers)}") + 1:]) != 1:
            raise AssertionError(f"it does not end in a verdict:\n{self.text}")
        for line in lines:
            if not (ROW.match(line) or line.startswith(("# ", "1..", "TAP version", "Bail out! "))):
                raise AssertionError(f"{line!r} is no TAP")
            if line.startswith("# ") and len(line) > 79 and " " in line[4:79]:
                raise AssertionError(f"{line!r} does not fit into 80 columns")
        self.demands = re.findall(r'^# The contract, bucketdisk/plugin.h: "(.*?)"$', self.text.replace("\n#   ", " "), re.M)
        for demand in map(plain, self.demands):
            if demand not in CONTRACT:
                raise AssertionError(f"plugin.h does not say: {demand}")


def plugin(name):
    path = PLUGINS / f"{name}.so"
    if not path.exists():
        raise unittest.SkipTest(f"{name} was not built")
    return path


class FaultyServer:
    """tests/servers/faulty, and the words that lead backend-s3 to it."""
    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory()
        keys = Path(self.directory.name, "keys")
        keys.touch(0o600)
        keys.write_text("faultyid:faultysecret\n")
        self.process = subprocess.Popen(["/usr/bin/python3", "-B", TOP / "tests/servers/faulty/server.py", "--bucket=testbucket"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        ports = dict(self.process.stdout.readline().strip().split("=") for _ in range(2))
        self.url = f"http://127.0.0.1:{ports['CONTROL']}/_control"
        self.words = [f"--baseURL=http://127.0.0.1:{ports['PORT']}/", "--region=us-east-1", f"--accessFile={keys}",
                      "testbucket/check"]
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()
        self.directory.cleanup()

    def control(self, **command):
        data = json.dumps(command).encode() if command else None
        with urllib.request.urlopen(urllib.request.Request(self.url, data), timeout=30) as answer:
            return json.load(answer)

    def objects(self):
        with urllib.request.urlopen(self.url + "/objects", timeout=30) as answer:
            return json.load(answer)
