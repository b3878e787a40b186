#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Do the manual pages list the options that the program has?  `docs.py BUCKETDISK [--write]`

The core's page holds between `<!-- options -->` and `<!-- end -->` what this script makes of the program's option rows
(`--dump-options`); --write puts it there.  A plugin's page says more of its options than the rows do: there each must have
an entry, and each entry must be an option."""
import json
import re
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
VALUES = {"string": "TEXT", "path": "PATH", "secret": "SECRET", "uint": "N", "size": "SIZE", "duration": "TIME",
          "enum": "WORD", "octal": "MODE"}
EXAMPLES = ("memory", "reverse")  # the SDK's examples have their comments for a manual


def entry(option):
    head = f"**--{option['name']}**"
    if option["type"] != "bool":
        head = head[:-2] + f"=**_{option.get('metavar') or VALUES[option['type']]}_"
    text = option["help"]
    if option.get("default"):
        text += f"; default {option['default']}"
    if option.get("aliases"):
        text += "; also " + ", ".join(f"--{alias}" for alias in option["aliases"])
    return f"{head}\n:   {text[0].upper()}{text[1:]}.\n"


def main():
    write = "--write" in sys.argv
    dump = subprocess.run([sys.argv[1], "--dump-options"], check=True, capture_output=True, text=True).stdout
    options = {}
    for option in json.loads(dump):
        if not option["hidden"]:
            options.setdefault(option["owner"], []).append(option)
    wrong = []
    page = TOP / "core/man/bucketdisk.1.md"
    old = page.read_text()
    body = "\n".join(entry(option) for option in options.pop(""))
    new = re.sub(r"<!-- options -->.*?<!-- end -->", lambda _: f"<!-- options -->\n\n{body}\n<!-- end -->", old, flags=re.S)
    if new != old and write:
        page.write_text(new)
    elif new != old:
        wrong.append(f"{page.relative_to(TOP)}: its options are not the program's; run tests/lint/docs.py BUCKETDISK --write")
    for owner, rows in sorted(options.items()):
        if owner in EXAMPLES:
            continue
        pages = [path for path in TOP.glob(f"plugins/*-{owner}/*.7.md")]
        heads = [line for path in pages for line in path.read_text().splitlines() if line.startswith("**--")]
        entries = set(re.findall(rf"\*\*--{owner}-([a-z0-9-]+)", "\n".join(heads)))
        names = {row["name"].removeprefix(f"{owner}-") for row in rows}
        wrong += [f"the manual page of {owner} has no entry for --{owner}-{name}" for name in sorted(names - entries)]
        wrong += [f"the manual page of {owner} has --{owner}-{name}, which is no option" for name in sorted(entries - names)]
    if not write:
        print("\n".join(wrong) or "docs: the pages list the options that the program has")
    sys.exit(1 if wrong and not write else 0)


main()
