# SPDX-License-Identifier: Apache-2.0
"""bucketdisk-format(5) as a source: its parts stand between `<!-- NAME -->` and `<!-- end -->`."""
import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "core/man/bucketdisk-format.5.md"


def part(page, name):
    found = re.findall(rf"<!-- {name} -->\n(.*?)<!-- end -->", page, re.S)
    assert len(found) == 1, f"the page has {len(found)} parts <!-- {name} -->"
    return found[0]


def code(page, name):
    return re.sub("^    ", "", part(page, name).strip("\n"), flags=re.M)


def rows(page, name):
    """Of a table, without its head."""
    lines = [line for line in part(page, name).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def reader(page):
    """What the page's program defines, by name."""
    names = {}
    exec(compile(code(page, "reader"), str(PAGE), "exec"), names)
    return names
