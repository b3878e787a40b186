#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Does bucketdisk-s3backer(7) tell of every option of s3backer, and of every line of its statistics?  Both ways round."""
import re
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
PAGE = (TOP / "core/man/bucketdisk-s3backer.7.md").read_text()


def problems():
    options = re.findall(r"^([\w-]+)", (TOP / "tests/e2e/s3backer_options.txt").read_text(), flags=re.M)
    heads = "\n".join(line for line in PAGE.splitlines() if line.startswith("**--"))
    entries = re.findall(r"\*\*--([\w-]+)", heads)
    yield from (f"there is no entry for --{name}" for name in options if name not in entries)
    yield from (f"--{name} is no option of s3backer" for name in entries if name not in options)
    yield from (f"two entries for --{name}" for name in sorted(set(entries)) if entries.count(name) > 1)
    words = set(re.findall(r'\{ "([^"*]+)\*?", (?:SO_ANYWAY|PASSED|IDLE) \}', (TOP / "core/base/options_fstab.c").read_text()))
    told = PAGE.partition("# OPTIONS OF MOUNT AND FUSE")[2].partition("# STATISTICS")[0]
    yield from (f"-o {word} is not told of" for word in sorted(words) if f"`{word}`" not in told)
    ours = set(re.findall(r'"(\w+)", (?:NULL|")', (TOP / "core/s3backer_stats.c").read_text()))
    made = set(re.findall(r'"([a-z0-9_]+)"', "".join(path.read_text() for path in [*TOP.glob("core/**/*.c"), *TOP.glob("plugins/*/*.c")]
                                                     if path.name != "s3backer_stats.c")))
    yield from (f"core/s3backer_stats.c is made of {name}, which nobody counts" for name in sorted(ours - made))


found = list(problems())
print("\n".join(f"bucketdisk-s3backer(7): {problem}" for problem in found) or "the page tells of every option of s3backer")
sys.exit(1 if found else 0)
