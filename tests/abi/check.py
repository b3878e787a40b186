#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Is the plugin ABI what it was frozen as, but for what was appended?  `check.py CC [--planted]`

For each frozen header of this major (sdk/abi): plugin.h, cut to as many members and enumerators as the frozen one has, is
compiled as that is, and abidiff must see no difference; the numbers must be those.  Whatever differs from the newest frozen
one must have raised BD_ABI_MINOR, and abi_check.c has a line for each member.  --planted checks headers with wrong and right
changes instead, and fails if it takes one for the other."""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/plugins"))
import make_headers  # noqa: E402

CURRENT = TOP / "sdk/include/bucketdisk/plugin.h"
FROZEN = TOP / "sdk/abi"
PINS = TOP / "sdk/lib/abi_check.c"
MAJOR, MINOR = "BD_ABI_MAJOR", "BD_ABI_MINOR"
NEVER_GROW = ("bd_head", "bd_bytes", "bd_buf")  # passed by value, or without a size


class Broken(Exception):
    pass


def code(text):
    """Without comments, empty lines and layout."""
    return "\n".join(filter(None, (" ".join(line.split()) for line in make_headers.blank_comments(text).split("\n"))))


def number(text, name):
    found = re.search(r"^#define %s (\d+)u$" % name, text, re.M)
    if found is None:
        raise Broken(f"there is no {name}")
    return int(found.group(1))


def bodies(text, kind):
    """name -> where the text between its braces is"""
    return {m.group(1): m.span(2) for m in re.finditer(r"^%s (\w+) \{\n(.*?)^\};$" % kind, text, re.S | re.M)}


def parts(body, separator):
    return [part.strip() for part in body.split(separator) if part.strip()]


def cut(current, frozen):
    """The current header with as many members and enumerators as the frozen one has, and no comments."""
    current, frozen = make_headers.blank_comments(current), make_headers.blank_comments(frozen)
    for kind, separator in ("struct", ";"), ("enum", ","):
        for name, (start, end) in bodies(frozen, kind).items():
            count = None if name in NEVER_GROW else len(parts(frozen[start:end], separator))
            if name not in bodies(current, kind):
                raise Broken(f"{kind} {name} is gone")
            start, end = bodies(current, kind)[name]
            kept = parts(current[start:end], separator)[:count]
            current = current[:start] + "".join(f"    {part}{separator}\n" for part in kept) + current[end:]
    return current


def types_of(frozen):
    """C with a function for each type of the frozen header, so that all are in the debugging information."""
    frozen = make_headers.blank_comments(frozen)
    types = [f"{kind} {name}" for kind in ("struct", "enum") for name in bodies(frozen, kind)]
    types += re.findall(r"^typedef [^;]*?\b(bd_\w+)\([^;]*;", frozen, re.M)
    return "#include <bucketdisk/plugin.h>\n" + "".join(
        f"void use_{i}({name} *value);\nvoid use_{i}({name} *value)\n{{\n    (void)value;\n}}\n" for i, name in enumerate(types))


def numbers_of(frozen):
    """C that compiles if each number of the frozen header is what it was."""
    frozen = make_headers.blank_comments(frozen)
    numbers = dict(re.findall(r"^#define (BD_\w+) ([0-9][0-9a-fA-FxuU]*)\s*$", frozen, re.M))
    for start, end in bodies(frozen, "enum").values():
        numbers.update(part.split(" = ", 1) for part in parts(" ".join(frozen[start:end].split()), ","))
    del numbers[MINOR]
    return "#include <bucketdisk/plugin.h>\n" + "".join(
        f'_Static_assert({name} == ({value}), "{name} was {value}");\n' for name, value in numbers.items())


def pinned(current):
    """Does abi_check.c have every member?"""
    header, pins = make_headers.blank_comments(current), PINS.read_text()
    for name, (start, end) in bodies(header, "struct").items():
        for member in parts(header[start:end], ";"):
            function = re.search(r"\(\*(\w+)\)\(", member)
            for word in [function.group(1)] if function else [re.search(r"(\w+)$", one).group(1) for one in member.split(",")]:
                if not re.search(rf"^AT\({name}, {word}, \d+\);$", pins, re.M):
                    raise Broken(f"{PINS.relative_to(TOP)} does not have {name}.{word}")


def run(*command):
    return subprocess.run(command, capture_output=True, text=True)


def compiled(cc, header, source, directory, name):
    """The shared object made of `source` with that header."""
    place = directory / name
    (place / "bucketdisk").mkdir(parents=True)
    (place / "bucketdisk/plugin.h").write_text(header)
    (place / "source.c").write_text(source)
    done = run(cc, "-std=c11", "-g", "-shared", "-fPIC", "-I", place, place / "source.c", "-o", place / "object.so")
    if done.returncode != 0:
        raise Broken(done.stderr)
    return place / "object.so"


def compare(cc, current, frozen, directory):
    types = types_of(frozen)
    done = run("abidiff", "--harmless", "--redundant", compiled(cc, frozen, types, directory, "frozen"),
               compiled(cc, cut(current, frozen), types, directory, "current"))
    if done.returncode != 0:
        raise Broken("abidiff: " + done.stdout + done.stderr)
    compiled(cc, current, numbers_of(frozen), directory, "numbers")


def check(cc, current):
    major = number(current, MAJOR)
    frozen = {number(text, MINOR): text for text in (path.read_text() for path in FROZEN.glob("plugin-*.h"))
              if number(text, MAJOR) == major}
    if not frozen:
        raise Broken(f"there is no frozen header of ABI {major}")
    for text in frozen.values():
        with tempfile.TemporaryDirectory() as directory:
            compare(cc, current, text, Path(directory))
    newest = max(frozen)
    is_same = code(current).replace(f"{MINOR} {number(current, MINOR)}u", "") == code(frozen[newest]).replace(f"{MINOR} {newest}u", "")
    if is_same != (number(current, MINOR) == newest):
        raise Broken(f"{MINOR} is {number(current, MINOR)}, and that of the newest frozen header {newest}: "
                     + ("nothing was appended" if is_same else "what is appended raises it"))


RAISE = MINOR, None
APPEND = "};\n\n/* The one function that a plugin exports.", "    void *more;\n};\n\n/* The one function that a plugin exports."
# What is there, and what is put there.
WRONG = {
    "a member in the middle": [RAISE, ("    size_t cap;\n", "    size_t cap;\n    uint64_t more_of_it;\n")],
    "two members of one type swapped": [
        RAISE, ("    void (*coding_error)(", "    void (*swapped)("), ("    void (*log)(", "    void (*coding_error)("),
        ("    void (*swapped)(", "    void (*log)(")],
    "a member is signed": [RAISE, ("    uint32_t retry_after_ms;", "    int32_t retry_after_ms;")],
    "a member is wider": [RAISE, ("    uint32_t retry_after_ms;", "    uint64_t retry_after_ms;")],
    "const is gone": [RAISE, ("    const char *start_after;", "    char *start_after;")],
    "a function returns something": [RAISE, ("    void (*submit)(void *handle,", "    int (*submit)(void *handle,")],
    "a function takes more": [RAISE, ("    void (*close)(void *handle); /* may", "    void (*close)(void *handle, int how); /* may")],
    "a member is gone": [RAISE, ("    uint32_t keywrap_stride;\n", "")],
    "the query function takes nothing": [RAISE, ("bd_plugin_query_fn(const struct bd_host *host);", "bd_plugin_query_fn(void);")],
    "what never grows grows": [RAISE, ("    size_t len; /* set by the callee,", "    size_t more;\n    size_t len; /* set by the callee,"),
                               ("    size_t more;\n    size_t len; /* set by the callee, never more than cap */\n",
                                "    size_t len;\n    size_t more;\n")],
    "a status has another number": [RAISE, ("    BD_BUSY = 12,", "    BD_BUSY = 13,")],
    "a capability has another number": [RAISE, ("    BD_CAP_RANGES = 1u << 4,", "    BD_CAP_RANGES = 1u << 14,")],
    "a magic is another": [RAISE, ("BD_MAGIC_CODEC 0x42446301u", "BD_MAGIC_CODEC 0x42446302u")],
    "a limit is lower": [RAISE, ("BD_TAG_BYTES_MAX 256u", "BD_TAG_BYTES_MAX 128u")],
    "something appended, and the minor not raised": [APPEND],
    "the minor raised for nothing": [RAISE],
    "another major": [("#define BD_ABI_MAJOR ", "#define BD_ABI_MAJOR 99")],
}
RIGHT = {
    "nothing": [],
    "a comment": [("/* ---", "/* A word.  ---")],
    "a member appended": [RAISE, APPEND],
    "a status appended": [RAISE, ("    BD_BUSY = 12,", "    BD_BUSY = 12,\n    BD_MORE = 13,")],
    "a limit of something new": [RAISE, ("#define BD_NAME_BYTES_MAX", "#define BD_NEW_BYTES_MAX 7u\n#define BD_NAME_BYTES_MAX")],
}


def changed(text, changes):
    for old, new in changes:
        if (old, new) == RAISE:
            minor = number(text, MINOR)
            old, new = f"{MINOR} {minor}u", f"{MINOR} {minor + 1}u"
        if old not in text:
            sys.exit(f"plugin.h has changed: there is no {old!r}")
        text = text.replace(old, new, 1)
    return text


def judge(cc, text, is_current=False):
    """Why it is refused; None if it is not."""
    try:
        check(cc, text)
        if is_current:
            pinned(text)
    except Broken as why:
        return str(why)
    return None


def planted(cc):
    """From the newest frozen header, or the changes here would change with plugin.h."""
    text = max((path.read_text() for path in FROZEN.glob("plugin-*.h")), key=lambda text: (number(text, MAJOR), number(text, MINOR)))
    cases = [(name, changed(text, changes), True) for name, changes in WRONG.items()]
    cases += [(name, changed(text, changes), False) for name, changes in RIGHT.items()]
    grown = make_headers.newer(text)
    cases += [("all that may grow has grown", grown, False),
              ("all has grown, and two members are swapped",
               changed(grown, WRONG["two members of one type swapped"][1:]), True)]
    failed = 0
    for name, header, is_wrong in cases:
        why = judge(cc, header)
        failed += (why is not None) != is_wrong
        lines = (why or "").strip().splitlines()
        print("MISTAKEN" if (why is not None) != is_wrong else "refused " if why else "taken   ", name + ":" * bool(lines), *lines[-1:])
    return failed


def main():
    cc, text = sys.argv[1], CURRENT.read_text()
    if "--planted" in sys.argv:
        return 1 if planted(cc) else 0
    why = judge(cc, text, is_current=True)
    print(why or "plugin.h is its frozen headers, and what was appended")
    return 1 if why else 0


sys.exit(main())
