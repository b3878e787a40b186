#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Do the manual pages list the options and the statistics that the program has, and do they name what there is?
`docs.py BUCKETDISK [--write]`

The core's page holds between `<!-- options -->` and `<!-- end -->` what this script makes of the program's option rows
(`--dump-options`), and between `<!-- statistics -->` and `<!-- end -->` what it makes of the calls in core that make
counters, gauges and histograms; --write puts both there.  (The story e2e/stats compares it with what a mount shows.)
A plugin's page says more of its options than the rows do: there each must have an entry, and each entry must be an option;
and each counter of a plugin must be named in its page, and the reverse.

Of all pages: each is built, and is called as its file; each `--option` that it or the first README names is one of the program,
of one of its commands (with from- or to- before it, of a side of a copy), or said to be another's, as in `<!-- not ours: find show -->`; a page, a section of a page, or a file that a README links to is there; rows of a table have as
many cells as its head; a value behind a bold name is not set with underscores; and what stands between `<!-- measured -->` and `<!-- end -->` has no figure that tests/bench/README.md has not."""
import json
import re
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
VALUES = {"string": "TEXT", "path": "PATH", "secret": "SECRET", "uint": "N", "size": "SIZE", "duration": "TIME",
          "enum": "WORD", "octal": "MODE"}
EXAMPLES = ("memory", "reverse")  # the SDK's examples have their comments for a manual


STRING = r'"(?:[^"\\]|\\.)*"'
STRINGS = rf"({STRING}(?:\s*{STRING})*)"
CALL = re.compile(r"\bstats_(counter|gauge_time|gauge|histogram)\(\s*(?=[^)\s])")
LITERALS = re.compile(rf"[^,()]+,\s*{STRINGS},\s*{STRINGS}\s*[,)]")
PLUGIN_COUNTER = re.compile(rf"\bhost->counter\([^,()]+,\s*{STRINGS},")
NAMED_ELSEWHERE = "host.c"  # makes the counters that plugins name

NOT_OURS = re.compile(r"<!-- not ours: ([^>]*) -->")
OPTION = re.compile(r"(?<![\w-])--([A-Za-z](?:[A-Za-z0-9_-]*[A-Za-z0-9])?)")
COMMAND_OPTION = re.compile(r'\.name = "([a-z0-9-]+)"|"--([a-z0-9-]+)"')
PAGE = re.compile(r"\b(bucketdisk(?:-[a-z0-9-]+)?)\b(?:\*\*)?\(([1-8])\)")
SECTION = re.compile(r"_([A-Z][^_]*)_\s+(?:in|of)\s+\*\*(bucketdisk[a-z0-9-]*)\*\*\(([1-8])\)")
SECTION_BEHIND = re.compile(r"\*\*(bucketdisk[a-z0-9-]*)\*\*\(([1-8])\),\s+_([A-Z][^_]*)_")
LINK = re.compile(r"\]\(([^)#:]+)\)")


def sentence(text):
    return f"{text[0].upper()}{text[1:]}." if text else ""


def entry(option):
    head = f"**--{option['name']}**"
    if option["type"] != "bool":
        head = head[:-2] + f"=***{option.get('metavar') or VALUES[option['type']]}*"
    text = option["help"]
    if option.get("default"):
        text += f"; default {option['default']}"
    if option.get("aliases"):
        text += "; also " + ", ".join(f"--{alias}" for alias in option["aliases"])
    return f"{head}\n:   {sentence(text)}\n"


def joined(literals):
    """The string that these literals in a row are in C."""
    return "".join(json.loads(literal) for literal in re.findall(STRING, literals))


def statistics(wrong):
    """Name -> (kind, help) of all that core makes."""
    found = {}
    for path in sorted([*TOP.glob("core/*.c"), *TOP.glob("core/cmd/*.c")]):
        text = path.read_text()
        for call in CALL.finditer(text):
            match = LITERALS.match(text, call.end())
            if match is None:
                if path.name != NAMED_ELSEWHERE:
                    wrong.append(f"{path.relative_to(TOP)}: name and help of a statistic must be literals: "
                                 f"{text[call.start():].splitlines()[0]}")
                continue
            name, help_text = joined(match[1]), joined(match[2])
            if not re.fullmatch("[a-z][a-z0-9_]*", name) or not help_text:
                wrong.append(f"{path.relative_to(TOP)}: the statistic \"{name}\" has a bad name or no help")
            if name in found:
                wrong.append(f"{path.relative_to(TOP)}: the statistic {name} is made twice")
            is_time = call[1] in ("gauge_time", "histogram")
            if is_time != name.endswith("_seconds"):
                wrong.append(f"{path.relative_to(TOP)}: {name}: times, and only they, end in _seconds")
            found[name] = (call[1].removesuffix("_time"), help_text)
    return found


def plugin_counters():
    """What each plugin's page and its code disagree about."""
    for directory in sorted(TOP.glob("plugins/*/")):
        owner = directory.name.split("-", 1)[1]
        code = "".join(path.read_text() for path in directory.glob("*.c"))
        page = "".join(path.read_text() for path in directory.glob("*.7.md"))
        made = {f"{owner}_{joined(name)}".replace("-", "_") for name in PLUGIN_COUNTER.findall(code)}
        told = set(re.findall(rf"\*({owner}_[a-z0-9_]+)\*", page))
        yield from (f"the manual page of {owner} does not tell of the counter {name}" for name in sorted(made - told))
        yield from (f"the manual page of {owner} tells of {name}, which is no counter" for name in sorted(told - made))


def normal(option):
    """Names of options compare so."""
    return re.sub("[-_]", "", option).lower()


def command_options():
    """Those of single commands, which are not in --dump-options."""
    found = ("".join(pair) for path in TOP.glob("core/cmd/*.c") for pair in COMMAND_OPTION.findall(path.read_text()))
    return {normal(name) for name in found}


def sections(page):
    return {" ".join(line.strip("# ").split()) for line in page.splitlines() if line.startswith("#")}


def uneven_tables(name, text):
    """Rows with another number of cells than the line before."""
    cells_before = 0
    for number, line in enumerate(text.splitlines(), 1):
        cells = len(re.sub("`[^`]*`", "", line).replace("\\|", "").split("|")) if line.startswith("|") else 0
        if cells and cells_before not in (0, cells):
            yield f"{name}: line {number} has another number of cells than the one before"
        cells_before = cells


def numbers(text):
    return {number.replace(",", "") for number in re.findall(r"\d[\d,]*\.\d+|\d[\d,]*\d", text)}


def unmeasured(name, text):
    """Figures between `<!-- measured -->` and `<!-- end -->` that the benchmarks' page does not have."""
    measured = numbers((TOP / "tests/bench/README.md").read_text())
    said = set().union(*map(numbers, re.findall(r"<!-- measured -->(.*?)<!-- end -->", text, re.S)))
    yield from (f"{name}: tests/bench/README.md does not have the figure {number}" for number in sorted(said - measured))


def references(name, text, pages):
    """What a text names that is not there."""
    for page, section in PAGE.findall(text):
        if f"{page}.{section}" not in pages:
            yield f"{name}: {page}({section}) is no page"
    named = SECTION.findall(text) + [(title, page, number) for page, number, title in SECTION_BEHIND.findall(text)]
    for title, page, number in named:
        if " ".join(title.split()) not in sections(pages.get(f"{page}.{number}", "")):
            yield f"{name}: {page}({number}) has no section \"{title}\""


def all_pages(known):
    """What is wrong with any of the pages, and with what the READMEs name."""
    paths = [path for pattern in ("core/man/*.md", "sdk/man/*.md", "plugins/*/*.md") for path in sorted(TOP.glob(pattern))]
    pages = {path.name.removesuffix(".md"): path.read_text() for path in paths}
    built = "".join(path.read_text() for path in TOP.glob("*/CMakeLists.txt"))
    built += "".join(path.read_text() for path in TOP.glob("plugins/*/CMakeLists.txt"))
    for path, (name, text) in zip(paths, pages.items()):
        page, section = name.rsplit(".", 1)
        place = path.relative_to(TOP)
        if path.name not in built:
            yield f"{place}: no bd_add_manual() builds it"
        if not text.startswith(f"% {page.upper()}({section}) "):
            yield f"{place}: does not begin with % {page.upper()}({section})"
        if f"# NAME\n\n{page} - " not in text:
            yield f"{place}: its NAME is not {page}"
    readmes = {str(path.relative_to(TOP)): path.read_text() for path in [TOP / "README.md", *TOP.glob("*/README.md")]}
    for name, text in [*pages.items(), ("README.md", readmes["README.md"])]:
        others = " ".join(NOT_OURS.findall(text)).split()
        for option in sorted(set(OPTION.findall(text))):
            if normal(re.sub("^(?:from|to)-", "", option)) not in known and option not in others and f"--{option}-*" not in text:
                yield f"{name}: --{option} is no option"
    for name, text in [*pages.items(), *readmes.items()]:
        yield from references(name, text, pages)
        yield from (f"{name}: {bad} shows its underscores when pandoc makes the page; write **--name=***VALUE*"
                    for bad in re.findall(r"\S+\*\*_[^_\n]+_", text))
        yield from uneven_tables(name, text)
        yield from unmeasured(name, text)
    for name, text in readmes.items():
        directory = (TOP / name).parent
        yield from (f"{name}: {link} is not there" for link in LINK.findall(text) if not (directory / link).exists())


def main():
    write = "--write" in sys.argv
    dump = subprocess.run([sys.argv[1], "--dump-options"], check=True, capture_output=True, text=True).stdout
    options = {}
    known = command_options() | {normal(name) for option in json.loads(dump) for name in (option["name"], *option["aliases"])}
    for option in json.loads(dump):
        if not option["hidden"]:
            options.setdefault(option["owner"], []).append(option)
    wrong = []
    page = TOP / "core/man/bucketdisk.1.md"
    old = page.read_text()
    body = "\n".join(entry(option) for option in options.pop(""))
    new = re.sub(r"<!-- options -->.*?<!-- end -->", lambda _: f"<!-- options -->\n\n{body}\n<!-- end -->", old, flags=re.S)
    table = "\n".join(f"**{name}** ({kind})\n:   {sentence(text)}\n" for name, (kind, text) in sorted(statistics(wrong).items()))
    new = re.sub(r"<!-- statistics -->.*?<!-- end -->", lambda _: f"<!-- statistics -->\n\n{table}\n<!-- end -->", new,
                 flags=re.S)
    wrong += plugin_counters()
    wrong += all_pages(known)
    if new != old and write:
        page.write_text(new)
    elif new != old:
        wrong.append(f"{page.relative_to(TOP)}: its options or statistics are not the program's; run tests/lint/docs.py BUCKETDISK --write")
    for owner, rows in sorted(options.items()):
        if owner in EXAMPLES:
            continue
        pages = [path for path in TOP.glob(f"plugins/*-{owner}/*.7.md")]
        heads = [line for path in pages for line in path.read_text().splitlines() if line.startswith("**--")]
        entries = set(re.findall(rf"\*\*--{owner}-([a-z0-9-]+)", "\n".join(heads)))
        names = {row["name"].removeprefix(f"{owner}-") for row in rows}
        wrong += [f"the manual page of {owner} has no entry for --{owner}-{name}" for name in sorted(names - entries)]
        wrong += [f"the manual page of {owner} has --{owner}-{name}, which is no option" for name in sorted(entries - names)]
    if wrong or not write:
        print("\n".join(wrong) or "docs: the pages list the options and statistics that the program has")
    sys.exit(1 if wrong else 0)


main()
