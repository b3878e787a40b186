#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Do programs that have nothing of ours in them read the golden objects?  `others.py FILE…`

Python's zlib and the program zstd; objects that need more than these are read by golden/chain and golden/manual."""
import shutil
import subprocess
import sys
import zlib

from golden_objects import parse, plain_of


def unzstd(body):
    return subprocess.run(["zstd", "-qdc"], input=body, capture_output=True, check=True).stdout


DECODERS = {"": lambda body: body, "deflate": zlib.decompress}
if shutil.which("zstd"):
    DECODERS["zstd"] = unzstd

read = 0
for path in sys.argv[1:]:
    fields, _, body = parse(path)
    decode = DECODERS.get(fields["encoding"])
    if decode is None or fields.get("format") == "2":
        continue
    plain = plain_of(fields["content"], int(fields["block"]), int(fields["block-bytes"]))
    assert decode(body) == plain, f"{path}: is read as another block than it holds"
    read += 1
print(f"{read} of {len(sys.argv) - 1} golden objects were read")
sys.exit(0 if read else 77)
