#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Who may include whom: an include in core only points down the layers; a plugin sees the SDK and its own files alone."""
import re
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)', re.M)

# Core's concepts, lowest first; an include points to a lower line.
LEVELS = """
    base
    attrs cachefile child confirm encoding evict frames helper loop mountinfo passphrase places plugin progress readahead s3backer settings trust zeromap
    codecs coding envelope filesystem keyring layout locallock mirror request
    host manifest negotiate updown
    keyslots loader
    backend layer
    chain lock
    seal
    lease
    ask objects
    check copymark holder probe
    token
    takeover
    volume
    recent survey
    walk
    consistency
    copy tier
    cache whole
    disk
    wait
    fuse spill
    stack
    daemonize leftover stopper
    cmd
    main
""".split("\n")[1:-1]
INTERFACES = {"store"}                  # what every layer between the disk and the objects implements
SYSTEM_ONLY_IN = {"fuse_lowlevel.h": ("fuse", "cmd", "main"), "ltdl.h": ("loader",)}


def concept(name):
    """A directory is one concept; elsewhere it is what a file's name begins with."""
    return name.split("/")[0] if "/" in name else name.split("_")[0].removesuffix(".h").removesuffix(".c")


def level(name):
    return next((number for number, names in enumerate(LEVELS) if concept(name) in names.split()), None)


def problems():
    for path in sorted(TOP.glob("core/**/*.[ch]")):
        name = str(path.relative_to(TOP / "core"))
        mine = level(name)
        if mine is None and concept(name) not in INTERFACES:
            yield f"{path.relative_to(TOP)}: in no layer; add it to {Path(__file__).name}"
            continue
        for quoted, system in INCLUDE.findall(path.read_text()):
            allowed = SYSTEM_ONLY_IN.get(system)
            if allowed and concept(name) not in allowed:
                yield f"{path.relative_to(TOP)}: <{system}> belongs to {allowed[0]}.c"
            if not quoted:
                continue
            if quoted.startswith("base/") or ("/" in name and (path.parent / quoted).exists()):
                continue
            if concept(quoted) in INTERFACES and mine != 0 or concept(quoted) == concept(name):
                continue
            theirs = level(quoted)
            if theirs is None or mine is None or theirs >= mine:
                yield f"{path.relative_to(TOP)}: includes {quoted}, which is not below it"
    for path in sorted([*TOP.glob("plugins/**/*.[ch]"), *TOP.glob("sdk/**/*.[ch]")]):
        for quoted, system in INCLUDE.findall(path.read_text()):
            name = quoted or system
            if name.startswith("core/") or "/core/" in name or (quoted and not (path.parent / quoted).exists()):
                yield f"{path.relative_to(TOP)}: includes {name}; it may see <bucketdisk/…> and its own files"


found = list(problems())
print("\n".join(found) or "every include points down")
sys.exit(1 if found else 0)
