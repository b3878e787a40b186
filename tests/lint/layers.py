#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Who may include whom: an include in core only points down the layers; a plugin sees the SDK and its own files alone."""
import re
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)', re.M)

# Core's concepts by level, lowest first: the table of core/README.md.  Some levels hold a thing and its helpers.
LEVELS = {
    1: "base",
    2: "chain encoding coding attrs backend request host plugin",
    3: "objects volume layout",
    4: "consistency zeromap",
    5: "cache cachefile readahead writeback whole",
    6: "disk",
    7: "fuse mountinfo locallock",
    8: "main cmd stack stopper settings",
}
INTERFACES = {"store", "stats"}         # any level above the first may include these
TOGETHER = {2, 3, 8}                    # levels whose files may include each other
ALSO = {("cache", "cachefile"), ("cache", "readahead"), ("cache", "writeback"), ("consistency", "zeromap"),
        ("locallock", "mountinfo")}
SYSTEM_ONLY_IN = {"fuse_lowlevel.h": ("fuse", "cmd", "main"), "ltdl.h": ("plugin",)}


def concept(name):
    return name.split("_")[0].removesuffix(".h").removesuffix(".c")


def level(name):
    return next((number for number, names in LEVELS.items() if concept(name) in names.split()), None)


def problems():
    for path in sorted([*TOP.glob("core/*.[ch]"), *TOP.glob("core/base/*.[ch]")]):
        is_base = path.parent.name == "base"
        mine = 1 if is_base else level(path.name)
        if mine is None and concept(path.name) not in INTERFACES:
            yield f"{path.relative_to(TOP)}: in no layer; add it to {Path(__file__).name}"
            continue
        for quoted, system in INCLUDE.findall(path.read_text()):
            allowed = SYSTEM_ONLY_IN.get(system)
            if allowed and concept(path.name) not in allowed:
                yield f"{path.relative_to(TOP)}: <{system}> belongs to {allowed[0]}.c"
            if not quoted:
                continue
            if quoted.startswith("base/") or (is_base and (path.parent / quoted).exists()):
                continue
            if concept(quoted) in INTERFACES and not is_base or concept(quoted) == concept(path.name):
                continue
            theirs = level(quoted)
            if theirs is None or mine is None or theirs > mine or (
                    theirs == mine and mine not in TOGETHER and (concept(path.name), concept(quoted)) not in ALSO):
                yield f"{path.relative_to(TOP)}: includes {quoted}, which is not below it"
    for path in sorted([*TOP.glob("plugins/**/*.[ch]"), *TOP.glob("sdk/**/*.[ch]")]):
        for quoted, system in INCLUDE.findall(path.read_text()):
            name = quoted or system
            if name.startswith("core/") or "/core/" in name or (quoted and not (path.parent / quoted).exists()):
                yield f"{path.relative_to(TOP)}: includes {name}; it may see <bucketdisk/…> and its own files"


found = list(problems())
print("\n".join(found) or "every include points down")
sys.exit(1 if found else 0)
