#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Does every command have a help, is it named in the first one, and is no line of any wider than a terminal?
`help.py BUCKETDISK`"""
import json
import re
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
COLUMNS = 80


def help_of(*words):
    done = subprocess.run([sys.argv[1], *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    name = " ".join(["bucketdisk", *words])
    if done.returncode != 0 or done.stderr:
        WRONG.append(f"{name}: status {done.returncode}: {done.stderr}")
    WRONG.extend(f"{name}: {len(line)} columns: {line}" for line in done.stdout.splitlines() if len(line) > COLUMNS)
    return done.stdout


WRONG = []
commands = set(re.findall(r'{ "([a-z]+)", cmd_', (TOP / "core/cmd/words.c").read_text()))
first = help_of("--help")
named = {word for words in re.findall(r"^(?:usage:)? +bucketdisk ([a-z|]+)", first, flags=re.M) for word in words.split("|")}
WRONG += [f"bucketdisk --help: {name} is not named, or no command" for name in sorted(named ^ (commands - {"mount"}))]
for command in sorted(commands - {"mount"}):
    for option in ("--help", "-h"):
        text = help_of(command, option)
        if not text.startswith(f"usage: bucketdisk {command} "):
            WRONG.append(f"bucketdisk {command} {option} does not begin with how it is used")
options = json.loads(subprocess.run([sys.argv[1], "--dump-options"], check=True, capture_output=True, text=True).stdout)
for owner in sorted({option["owner"] for option in options} - {""}):
    if f"\n  {owner} " not in first:
        WRONG.append(f"bucketdisk --help: the plugin {owner} is not named")
    help_of("--help", owner)
print("\n".join(WRONG) or f"every command has a help of {COLUMNS} columns")
sys.exit(1 if WRONG else 0)
