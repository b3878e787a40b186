# SPDX-License-Identifier: Apache-2.0
"""What all mutants.py do: plant a bug, build one program with it, and see whether that finds it.

A bug is a piece of text that occurs once in a file, and what replaces it."""
import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]


def plant(name, path, old, new, directory):
    """Gives the file with the bug in it."""
    text = (TOP / path).read_text()
    if text.count(old) != 1:
        sys.exit(f"{name}: {path} has changed: the text is there {text.count(old)} times")
    planted = directory / Path(path).name
    planted.write_text(text.replace(old, new))
    return planted


def run(command, build):
    done = subprocess.run(command, cwd=build, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def compile_with(build, target, path, planted, directory):
    """The program with one other file."""
    commands = json.loads((build / "compile_commands.json").read_text())
    words = next(shlex.split(entry["command"]) for entry in commands if entry["file"] == str(TOP / path))
    source, out = words.index(str(TOP / path)), words.index("-o") + 1
    object_file = str(planted.with_suffix(".o"))
    words[source], words[out] = str(planted), object_file
    words += ["-I" + str(TOP / "core"), "-I" + str((TOP / path).parent), "-Wno-error"]
    run(words, build)

    link = run(["ninja", "-t", "commands", "-s", target], build).strip()
    words = shlex.split(re.sub(r"^: && | && .*$", "", link))     # without what is made of the program
    out = words.index("-o") + 1
    words[out] = str(directory / "program")
    words.insert(out + 1, object_file)
    run(words, build)
    return words[out]


def main(doc, bugs, rare, target_of, search, seconds, control_seconds=5):
    """`control_seconds`: for each program without a bug.  `bugs`: by name, what target_of takes, then file, what is there, what is put there.  `search` takes program, bug, seed and
    seconds; gives why it was found, None if it was not, and exits if the program did not run."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("--seconds", type=float, default=seconds, help="for each bug, at most")
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    build = options.build.resolve()
    seed = int(os.environ.get("BUCKETDISK_SEED", time.time_ns() // 1000))
    print(f"BUCKETDISK_SEED={seed}", flush=True)
    missed = 0
    is_long = bool(os.environ.get("BUCKETDISK_LONG"))
    names = [name for name in bugs
             if (any(word in name for word in options.words) if options.words else is_long or name not in rare)]
    for target, name in {target_of(bugs[name]): name for name in names}.items():   # who finds what is not there finds anything
        why = search(str(build / target), name, seed, min(options.seconds, control_seconds))
        if why is not None:
            sys.exit(f"{target} finds a bug where none is planted: {why}")
    for name in names:
        path, old, new = bugs[name][-3:]
        with tempfile.TemporaryDirectory() as directory:
            planted = plant(name, path, old, new, Path(directory))
            program = compile_with(build, target_of(bugs[name]), path, planted, Path(directory))
            began = time.monotonic()
            why = search(program, name, seed, options.seconds)
            taken = time.monotonic() - began
        missed += why is None
        print(f"MISSED  {taken:6.1f} s  {name}" if why is None else f"found   {taken:6.1f} s  {name}: {why}", flush=True)
    print(f"{len(names) - missed} of {len(names)} bugs were found")
    return 1 if missed else 0
