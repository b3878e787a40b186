#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Does bucketdisk-s3backer(7) tell of every option of s3backer, and of every line of its statistics?  Both ways round.  And does
tests/e2e/s3backer_options.md say of every option which test shows it, one that is there and names it?  `s3backer_page.py [--write]`

That page is made of the list of options, of the marks of the story that goes through them, and of the manual's entries; --write
makes it."""
import ast
import functools
import re
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
STORIES = TOP / "tests/e2e"
PAGE = (TOP / "core/man/bucketdisk-s3backer.7.md").read_text()
LINES = [line for line in (STORIES / "s3backer_options.txt").read_text().splitlines() if not line.startswith("#")]
TABLE = STORIES / "s3backer_options.md"
HEAD = """<!-- SPDX-License-Identifier: Apache-2.0 -->
# The options of s3backer, and what shows that each works

Made by `tests/lint/s3backer_page.py --write` of `s3backer_options.txt`, of the tests, and of **bucketdisk-s3backer**(7), which says
more of each. *As there*: as with s3backer. That every option is known in each form, the story's own two tests of the forms show.

| option | here | shown by |
| --- | --- | --- |
"""


def name_of(line):
    return re.match(r"[\w-]+", line)[0]


@functools.lru_cache
def tests_of(story):
    """name -> the function, as it is parsed and as it is written."""
    text = (STORIES / f"test_{story}.py").read_text()
    lines = text.splitlines()
    return {node.name: (node, "\n".join(lines[node.lineno - 1:node.end_lineno]))
            for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)}


def shown():
    """option -> (story, test)."""
    found = {}
    for test, (node, _) in tests_of("s3backer_options").items():
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and getattr(mark.func, "id", "") == "shows":
                for word in mark.args:
                    names = [word.value] if isinstance(word, ast.Constant) else [name_of(line) for line in LINES if line.endswith(" refused")]
                    found.update({name: ("s3backer_options", test) for name in names})
    for line in LINES:
        if " elsewhere " in line:
            found[name_of(line)] = tuple(line.split()[2:4])
    return found


def said():
    """option -> the first sentence of the manual's entry."""
    found = {}
    for heads, text in re.findall(r"^((?:\*\*--).*)\n:   ((?:.+\n)+)", PAGE, flags=re.M):
        first = re.match(r".*?[.](?= |$)|.*", " ".join(text.split()))[0]
        found.update({name: first.replace("|", "\\|") for name in re.findall(r"\*\*--([\w-]+)", heads)})
    return found


def table():
    tests, texts = shown(), said()
    rows = []
    for line in LINES:
        name = name_of(line)
        story, test = tests.get(name, ("", ""))
        rows.append(f"| `--{line.split()[0]}` | {texts.get(name, '')} | `{story}`: `{test}` |\n")
    return HEAD + "".join(rows)


def problems():
    options = [name_of(line) for line in LINES]
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


def unshown():
    tests = shown()
    for name in map(name_of, LINES):
        story, test = tests.get(name, (None, None))
        if story is None:
            yield f"nothing shows --{name}"
        elif test not in (functions := tests_of(story)):
            yield f"--{name}: tests/e2e/test_{story}.py has no {test}"
        elif not re.search(rf"(?<![\w-])(?:--)?{re.escape(name)}(?![\w-])", functions[test][1].partition(":\n")[2]):
            yield f"--{name}: {test} does not name it"
    if "--write" in sys.argv:
        TABLE.write_text(table())
    elif not TABLE.exists() or TABLE.read_text() != table():
        yield f"{TABLE.relative_to(TOP)} is not what it is made of; run tests/lint/s3backer_page.py --write"


found = [f"bucketdisk-s3backer(7): {problem}" for problem in problems()] + list(unshown())
print("\n".join(found) or "the page tells of every option of s3backer, and a test shows each")
sys.exit(1 if found else 0)
