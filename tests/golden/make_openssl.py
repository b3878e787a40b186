#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Make the golden objects of crypto-openssl that are not there yet; those that are there are never changed.

    cmake --build build && CODEC_RUN=build/tests/crypto/codec_run /usr/bin/python3 tests/golden/make_openssl.py

NAME.plain is what the codec was given, NAME.body what it made of it, NAME.json with what: `block`, `attributes` beside the
body, and for xaes-256-gcm `key` (64 bytes: what the host derives for it, of which it takes 32) and `associated`, both in
hexadecimal, the nonce being the beginning of the body; for encrypt-CIPHER `password`, `salt` and `key_length` (0: the
cipher's own).  tests/crypto/test_openssl.py reads them with the plugin and without it, and makes them again."""
import json
import sys
from pathlib import Path

GOLDEN = Path(__file__).resolve().parent
sys.path.insert(0, str(GOLDEN.parent / "crypto"))
from codec_run import CodecRun  # noqa: E402

PLUGIN = "crypto-openssl"
KEY = bytes(range(1, 65))
PLAINS = {"empty": b"", "text": b"golden " * 80, "bytes": bytes(range(256)) * 2}


def objects():
    """(name, fields of a request, what only encode is told)"""
    for name, associated in (("empty", b""), ("text", b"volume 1, block 7"), ("bytes", bytes(range(60)))):
        nonce = bytes((len(name) * 16 + i) % 256 for i in range(24))
        yield name, {"token": "xaes-256-gcm", "block": 7, "key": KEY, "associated": associated}, {"random": nonce}
    for cipher, name, block, length in (
            ("AES-128-CBC", "empty", 0, 0), ("AES-128-CBC", "text", 0x2A, 0), ("AES-128-CBC", "bytes", 0xFFFFFFFF, 64),
            ("AES-256-CBC", "text", 0x80, 0), ("DES-EDE3-CBC", "text", 5, 0), ("BF-CBC", "text", 5, 32)):
        fields = {"token": f"encrypt-{cipher}", "block": block, "password": b"correct horse battery staple", "salt": b"golden/"}
        yield name, fields, {"key_length": length}


def main():
    codecs = CodecRun()
    for name, fields, more in objects():
        directory = GOLDEN / fields["token"].lower()
        path = directory / f"{name}.json"
        if path.exists():
            continue
        body, attributes = codecs.call("encode", plugin=PLUGIN, data=PLAINS[name], **fields, **more)
        known = {"plugin": PLUGIN, "attributes": {key: value.decode() for key, value in attributes.items()}}
        for key, value in {**fields, "key_length": more.get("key_length")}.items():
            if value is not None:
                known[key] = value if not isinstance(value, bytes) else value.decode() if key in ("password", "salt") else value.hex()
        directory.mkdir(exist_ok=True)
        path.with_suffix(".plain").write_bytes(PLAINS[name])
        path.with_suffix(".body").write_bytes(body)
        path.write_text(json.dumps(known, indent=1) + "\n")
        print(path)
    codecs.close()


main()
