#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Make the golden objects of crypto-sodium that are not there yet; those that are there are never changed.

    cmake --build build && CODEC_RUN=build/tests/crypto/codec_run KEYWRAP_RUN=build/tests/crypto/keywrap_run \\
        /usr/bin/python3 tests/golden/make_sodium.py

xchacha20-poly1305/NAME.plain is what the codec was given, NAME.body what it made of it, NAME.json with what: `block`, `key`
(64 bytes: what the host derives for it, of which it takes 32) and `associated`, both in hexadecimal; the nonce is the
beginning of the body.  argon2id/NAME.json is a key wrapped with a passphrase (both in hexadecimal), and keys derived
from it for some purposes.  tests/crypto/test_sodium.py reads them with the plugin and without it."""
import json
import os
import sys
from pathlib import Path

GOLDEN = Path(__file__).resolve().parent
sys.path.insert(0, str(GOLDEN.parent / "crypto"))
from codec_run import CodecRun  # noqa: E402

PLUGIN, TOKEN, KEYWRAP = "crypto-sodium", "xchacha20-poly1305", "argon2id"
KEY = bytes(range(1, 65))
BODIES = {  # block, plain, associated
    "empty": (7, b"", b""),
    "text": (7, b"golden " * 80, b"volume 1, block 7"),
    "bytes": (0xFFFFFFFF, bytes(range(256)) * 2, bytes(range(60))),
}
WRAPS = {  # passphrase, key, memory, passes
    "usual": (b"correct horse battery staple", bytes(range(32)), 256 << 20, 3),
    "small": (b"correct horse battery staple", bytes(range(32)), 16 << 20, 1),
    "long": (bytes(range(256)), bytes(range(64)), 1 << 20, 5),
}
PURPOSES = {"codec xchacha20-poly1305": 32, "codec xaes-256-gcm": 32, "": 16, "x" * 300: 64}


def make_body(codecs, path, block, plain, associated):
    nonce = bytes((len(path.stem) * 16 + i) % 256 for i in range(24))
    body, _ = codecs.call("encode", plugin=PLUGIN, token=TOKEN, block=block, key=KEY, associated=associated, random=nonce, data=plain)
    path.with_suffix(".plain").write_bytes(plain)
    path.with_suffix(".body").write_bytes(body)
    return {"plugin": PLUGIN, "token": TOKEN, "attributes": {}, "block": block, "key": KEY.hex(), "associated": associated.hex()}


def make_wrap(keywraps, _, passphrase, key, memory, passes):
    costs = {"argon2id-memory": memory, "argon2id-passes": passes, "argon2id-memory-max": memory, "argon2id-passes-max": passes}
    common = {"plugin": PLUGIN, "name": KEYWRAP, "key": key}
    blob, _ = keywraps.call("wrap", **common, passphrase=passphrase, **costs)
    subkeys = {purpose: keywraps.call("subkey", **common, purpose=purpose.encode(), bytes=length)[0].hex()
               for purpose, length in PURPOSES.items()}
    return {"plugin": PLUGIN, "keywrap": KEYWRAP, "passphrase": passphrase.hex(), "key": key.hex(), "blob": blob.decode(),
            "subkeys": subkeys}


def main():
    codecs, keywraps = CodecRun(), CodecRun(os.environ.get("KEYWRAP_RUN", "build/tests/crypto/keywrap_run"))
    for directory, make, runner, contents in ((TOKEN, make_body, codecs, BODIES), (KEYWRAP, make_wrap, keywraps, WRAPS)):
        (GOLDEN / directory).mkdir(exist_ok=True)
        for name, content in contents.items():
            path = GOLDEN / directory / f"{name}.json"
            if path.exists():
                continue
            path.write_text(json.dumps(make(runner, path, *content), indent=1) + "\n")
            print(path)
    codecs.close()
    keywraps.close()


main()
