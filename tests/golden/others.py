#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Do programs that have nothing of ours in them read the golden objects?  `others.py FILE…`

Python's zlib and the program zstd; objects that need more than these are left to golden/chain."""
import shutil
import subprocess
import sys
import zlib

FIRST_LINE = b"bucketdisk golden object 1"
MASK = (1 << 64) - 1


def parse(path):
    with open(path, "rb") as file:
        head, _, body = file.read().partition(b"\n\n")
    first, *lines = head.split(b"\n")
    fields = dict(line.decode().split(" ", 1) for line in lines)
    assert first == FIRST_LINE, path
    assert len(body) == int(fields["body-bytes"]), path
    return fields, body


def plain_of(content, block, size):
    if content == "text":
        text, line = b"", 0
        while len(text) < size:
            text += b"block %d, line %d\n" % (block, line)
            line += 1
        return text[:size]
    if content == "noise":
        state, noise = block + 1, bytearray()
        for _ in range(size):
            state = (state * 6364136223846793005 + 1442695040888963407) & MASK
            noise.append(state >> 56)
        return bytes(noise)
    assert content == "last", content
    return bytes(size - 1) + b"\1"


def unzstd(body):
    return subprocess.run(["zstd", "-qdc"], input=body, capture_output=True, check=True).stdout


DECODERS = {"": lambda body: body, "deflate": zlib.decompress}
if shutil.which("zstd"):
    DECODERS["zstd"] = unzstd

read = 0
for path in sys.argv[1:]:
    fields, body = parse(path)
    decode = DECODERS.get(fields["encoding"])
    if decode is None or fields.get("format") == "2":
        continue
    plain = plain_of(fields["content"], int(fields["block"]), int(fields["block-bytes"]))
    assert decode(body) == plain, f"{path}: is read as another block than it holds"
    read += 1
print(f"{read} of {len(sys.argv) - 1} golden objects were read")
sys.exit(0 if read else 77)
