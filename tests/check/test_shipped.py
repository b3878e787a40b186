#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every plugin that we ship, and both examples of the SDK, pass `bucketdisk plugin check`; and what it says to its user."""
import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from kit import BESIDE, TOP, Checked, FaultyServer, plugin, run

CONDITIONS = "backend: conditions that it does not claim are refused"
CHEAP = ("--argon2id-memory=1M", "--argon2id-passes=1")


class Shipped(unittest.TestCase):
    def passes(self, name, *words, options=()):
        checked = Checked([*options, plugin(name), "--", *words])
        self.assertEqual((checked.failed, checked.status), (set(), 0), checked.text + checked.errors)
        self.assertGreater(len(checked.passed - checked.skipped), 20)
        return checked

    def place(self):
        place = tempfile.TemporaryDirectory(prefix="check-", dir=BESIDE)
        self.addCleanup(place.cleanup)
        return Path(place.name)

    def test_dir(self):
        place = self.place()
        checked = self.passes("backend-dir", place)
        skipped = {row for row in checked.skipped if row.startswith("backend: ")}
        self.assertEqual({row for row in skipped if "--stall" not in checked.skips[row]}, {CONDITIONS})
        self.assertEqual(len(skipped), 4)
        self.assertEqual([path.name for path in place.iterdir() if path.name != ".bucketdisk-lock"], [])

    def test_what_was_made_is_removed_where_the_store_was_not_told_to_go_on(self):
        place = self.place()
        checked = Checked(["--stall=true", "--resume=false", plugin("backend-dir"), "--", place])
        self.assertEqual((checked.status, checked.bails), (2, ["Bail out! --resume: the command has failed: false"]))
        self.assertEqual([path.name for path in place.iterdir() if path.name != ".bucketdisk-lock"], [])

    def test_chaos_over_dir(self):
        self.passes("backend-chaos", "--backend=chaos,dir", self.place())

    def test_memory(self):
        self.passes("backend-memory")

    def test_s3(self):
        with FaultyServer() as server:
            pid = server.process.pid
            checked = self.passes("backend-s3", *server.words, options=[
                "--absent=no-such-bucket", "--other=testbucket/other", f"--stall=kill -STOP {pid}", f"--resume=kill -CONT {pid}"])
            self.assertFalse({row for row in checked.skipped if "stall" in checked.skips[row] or "place" in row})
            self.assertFalse(server.objects())

    def test_codecs(self):
        for name in ("codec-deflate", "codec-zstd", "codec-reverse", "crypto-openssl"):
            with self.subTest(plugin=name):
                self.passes(name)

    def test_the_codec_of_the_sdks_readme(self):
        source = re.search("```c\n(.*?)```", (TOP / "sdk" / "README.md").read_text(), re.S)[1]
        place = self.place()
        (place / "codec-swap.c").write_text(source)
        path = place / "codec-swap.so"
        subprocess.run(["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden", "-Wl,-z,defs",
                        "-Wl,-z,now", "-I", TOP / "sdk" / "include", place / "codec-swap.c", "-o", path], check=True)
        checked = Checked([path])
        self.assertEqual((checked.failed, checked.status), (set(), 0), checked.text + checked.errors)

    def test_sodium(self):
        self.passes("crypto-sodium", *CHEAP)

    def test_rows_on_damage_ask_more_of_who_authenticates(self):
        for name, ending in (("codec-deflate", "is CORRUPT, or has the right length"), ("crypto-sodium", "is CORRUPT")):
            rows = self.passes(name, *(CHEAP if name == "crypto-sodium" else ())).passed
            ends = {row.split(": a block with a flipped bit ")[1] for row in rows if "a flipped bit is" in row}
            self.assertEqual(ends, {ending})

    # Who asks for something that cannot be is told so, and nothing is changed.

    def refused(self, words, sentence):
        checked = run(words)
        self.assertEqual(checked.returncode, 2, checked.stdout)
        self.assertIn(sentence, checked.stderr)
        self.assertEqual(checked.stderr.count("\n"), 1, checked.stderr)

    def test_bad_words_are_refused(self):
        self.refused([], "usage: bucketdisk plugin check")
        self.refused(["chekc"], "usage: bucketdisk plugin check")
        self.refused(["check"], "which plugin?")
        self.refused(["check", "/nowhere/backend-x.so"], "No such file")
        self.refused(["check", plugin("backend-memory"), "--", "--memory-nome=x"], "there is no option --memory-nome")
        self.refused(["check", plugin("backend-memory"), "--", "a", "b"], "there is one LOCATION")
        self.refused(["check", plugin("backend-dir")], "--dir-path is required")
        self.refused(["check", plugin("backend-chaos"), "--", self.place()], "say --backend=chaos,OTHER")
        self.refused(["check", plugin("backend-memory"), "--", "--backend=dir"], "comes first")

    def test_a_place_with_anything_in_it_is_refused(self):
        place = self.place()
        (place / "thing").write_text("mine")
        self.refused(["check", plugin("backend-dir"), "--", place], "is not empty, it holds \"thing\"")
        self.assertEqual((place / "thing").read_text(), "mine")
        self.assertEqual({path.name for path in place.iterdir()} - {".bucketdisk-lock"}, {"thing"})

    def test_help(self):
        self.assertIn("--absent=LOCATION", run(["check", "--help"]).stdout)


if __name__ == "__main__":
    os.makedirs(BESIDE, exist_ok=True)
    unittest.main(verbosity=2)
