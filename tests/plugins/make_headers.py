#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Derive from plugin.h the header that an older or a newer bucketdisk of the same major would have.

usage: make_headers.py older|newer PLUGIN_H OUT

"older" lacks the last optional members of the structs below, "newer" has members appended to every
struct that may grow.  Fails when a struct or a member is not where it is expected, so that a change of
plugin.h cannot silently turn the tests into nothing.
"""
import os
import re
import sys

# What a plugin may be without, from the end of each struct; as many as make the struct really shorter.
OLDER = {
    "bd_plugin": ["keywraps", "keywrap_count", "keywrap_stride"],
    "bd_io": ["more", "retry_after_ms"],
    "bd_host": ["coding_attr_get"],
    "bd_coding": ["flags", "reserved"],
}
NEWER = ["bd_io", "bd_host", "bd_option", "bd_backend_info", "bd_lower", "bd_backend", "bd_coding",
         "bd_codec", "bd_keywrap", "bd_plugin"]
APPENDED = """    uint64_t newer_number;
    void (*newer_function)(void);
    const char *newer_text;
"""


def struct_span(text, name):
    match = re.search(r"^struct %s \{\n(.*?)^\};$" % name, text, re.S | re.M)
    if match is None:
        sys.exit("make_headers.py: no struct %s" % name)
    return match.span(1)


def blank_comments(text):
    """Same length, comments as spaces, so that positions stay true."""
    return re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.S)


def older(text):
    for name, members in OLDER.items():
        for member in reversed(members):
            start, end = struct_span(text, name)
            body = blank_comments(text[start:end])
            last = body.rindex(";")
            first = body.rfind(";", 0, last) + 1
            if not re.search(r"\b%s\b" % member, body[first:last]):
                sys.exit("make_headers.py: %s does not end in %s" % (name, member))
            # What follows the ; is the member's comment; what precedes it may be, too.
            text = text[:start + first] + "\n" + text[end:]
    return text


def newer(text):
    for name in NEWER:
        _, end = struct_span(text, name)
        text = text[:end] + APPENDED + text[end:]
    return re.sub(r"^#define BD_ABI_MINOR \d+u$", "#define BD_ABI_MINOR 900u", text, flags=re.M)


def main():
    age, source, out = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        text = file.read()
    os.makedirs(os.path.dirname(out), exist_ok=True)
    with open(out, "w", encoding="utf-8") as file:
        file.write({"older": older, "newer": newer}[age](text))


if __name__ == "__main__":
    main()
