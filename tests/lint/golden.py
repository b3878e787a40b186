#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Are the golden objects, the vectors and the frozen ABI headers what they were when they were added?  `golden.py [--append]`

SHA256SUMS of each directory lists its evidence: what is not in the list, or not as it says, or gone is an error.  So is a list
without an entry that was ever committed, since nobody changes or removes one.  (Where git or its history is missing, that
is not looked at.)  --append puts what is new at the end of the list."""
import hashlib
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
LIST = "SHA256SUMS"
# In each directory: programs that make and read its evidence, and what is said of it.
DIRECTORIES = {
    "tests/golden": ("*.c", "*.h", "*.py", "*.pyc", "*.md", "CMakeLists.txt", LIST),
    "tests/vectors": ("*.c", "*.h", "*.py", "*.pyc", "*.md", "CMakeLists.txt", LIST),
    "sdk/abi": (LIST,),
}


def git(*words):
    """What git says; None: nothing."""
    try:
        done = subprocess.run(["git", "-c", "safe.directory=*", "-C", TOP, *words], capture_output=True)
    except FileNotFoundError:
        return None
    return done.stdout.decode() if done.returncode == 0 else None


def evidence(directory):
    none = DIRECTORIES[str(directory.relative_to(TOP))]
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not any(path.match(pattern) for pattern in none):
            yield str(path.relative_to(directory)), hashlib.sha256(path.read_bytes()).hexdigest()


def entries(text):
    """name -> its sum"""
    return {name: digest for digest, name in (line.split("  ", 1) for line in text.splitlines())}


def committed(path):
    """name -> its sum, of all lists that ever were."""
    name, all_of_them = str(path.relative_to(TOP)), {}
    for commit in (git("log", "--full-history", "--format=%H", "HEAD", "--", name) or "").split():
        all_of_them.update(entries(git("show", f"{commit}:{name}") or ""))  # newest first: of two, the older stays
    return all_of_them


def problems(directory, is_appending):
    path = directory / LIST
    old = path.read_text() if path.exists() else ""
    listed, found = entries(old), dict(evidence(directory))
    if len(listed) < len(old.splitlines()):
        yield f"{path.relative_to(TOP)}: lists a file twice"
    if is_appending:
        new = [name for name in found if name not in listed]
        listed.update({name: found[name] for name in new})
        path.write_text(old + "".join(f"{found[name]}  {name}\n" for name in new))
    for name, digest in committed(path).items():
        if listed.get(name) != digest:
            yield f"{path.relative_to(TOP)}: had \"{digest}  {name}\" once; entries are only added"
    for name in sorted(listed.keys() | found.keys()):
        what = f"{directory.relative_to(TOP)}/{name}"
        if name not in found:
            yield f"{what}: is gone; evidence stays"
        elif name not in listed:
            yield f"{what}: is not in {LIST}; run tests/lint/golden.py --append"
        elif listed[name] != found[name]:
            yield f"{what}: is not what it was when it was added; evidence never changes"


found = [problem for directory in DIRECTORIES for problem in problems(TOP / directory, "--append" in sys.argv)]
print("\n".join(found) or "the evidence is as it was")
if git("log", "-1", "--format=%H") is None:
    print("no git history here: whether entries of the lists were changed was not looked at")
sys.exit(1 if found else 0)
