#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Is bucketdisk-format(5) true?  `manual.py PAGE GOLDEN_FORMAT FILE…`

The reader that the page prints reads the golden objects and descriptions, and nothing else that was changed; its tables and
its example of a lock are what GOLDEN_FORMAT, the program that format.c makes, says of the code.  (The story e2e/format reads
volumes that have just been written.)"""
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import format_page
from golden_objects import parse, plain_of

PASSPHRASE = b"golden passphrase"
wrong = []


def compare(what, page, program):
    if page != program:
        wrong.extend(f"{what}: the page has {line}" for line in page if line not in program)
        wrong.extend(f"{what}: the program has {line}" for line in program if line not in page)
        wrong.append(f"{what}: page and program differ")


def compare_facts(page, program):
    said = [line.split(" ", 1) for line in subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines()]
    offsets = [text.split(" ") for kind, text in said if kind == "offset"]
    for struct in ("super", "record"):
        compare(struct, [row[:3] for row in format_page.rows(page, struct)],
                [[offset, size, member] for name, member, offset, size in offsets if name == struct])
    compare("limits", format_page.rows(page, "limits"), [text.rsplit(": ", 1) for kind, text in said if kind == "limit"])
    compare("lock", [line for line in format_page.code(page, "lock").splitlines() if line], [text for kind, text in said if kind == "lock"])


def run_block(reader, path, change):
    fields, attributes, body = parse(path)
    keys = {"password": fields.get("passphrase", "").encode(), "salt": fields.get("salt", "").encode(),
            "volume id": bytes.fromhex(fields.get("volume-id", "")), "volume key": bytes.fromhex(fields.get("volume-key", "")),
            "accepts": [fields["encoding"].split(", ")[-1]] if "volume-key" in fields else []}
    block, size = int(fields["block"]), int(fields["block-bytes"])
    body = body[:-1] + bytes([body[-1] ^ change])
    read = reader["read_block"](int(fields.get("format", 1)), keys, block, size, fields["encoding"],
                                {name: value.decode() for name, value in attributes.items()}, body)
    return read == plain_of(fields["content"], block, size)


def is_refused(call):
    try:
        call()
    except ValueError as error:
        return str(error) == "not authentic"
    return False


def main():
    page = Path(sys.argv[1]).read_text()
    compare_facts(page, sys.argv[2])
    reader, count = format_page.reader(page), 0
    for path in sys.argv[3:] if shutil.which("openssl") else []:
        if path.endswith(".bucketdisk-volume"):
            text = Path(path).read_text()
            if '"mac"' in text and importlib.util.find_spec("argon2") is None:
                continue
            description, key = reader["read_description"](text, PASSPHRASE)
            if key not in (None, bytes(range(32))):
                wrong.append(f"{path}: another key comes out than went in")
            changed = text.replace('"disk_bytes": 1', '"disk_bytes": 2')
            if key and not is_refused(lambda: reader["read_description"](changed, PASSPHRASE)):
                wrong.append(f"{path}: the reader takes it with another size")
            if path.endswith("/xaes.bucketdisk-volume"):
                compare("covered", [format_page.code(page, "covered").replace("\n", "")], [reader["covered_text"](description)])
        else:
            encoding = parse(path)[0]["encoding"]
            if "zstd" in encoding and not shutil.which("zstd"):
                continue
            if not run_block(reader, path, 0):
                wrong.append(f"{path}: is read as another block than it holds")
            if re.search("aes|chacha|encrypt", encoding) and not is_refused(lambda: run_block(reader, path, 1)):
                wrong.append(f"{path}: the reader takes it with a bit changed")
        count += 1
    print("\n".join(wrong) or f"the page is true; its reader read {count} of {len(sys.argv) - 3} golden files")
    sys.exit(1 if wrong else 0 if count else 77)


main()
