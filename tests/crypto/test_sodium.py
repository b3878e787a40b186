#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What crypto-sodium encodes and wraps, an independent implementation decodes and unwraps, and the reverse."""
import json
import os
import random
import sys
import unittest
from pathlib import Path

try:
    import argon2  # noqa: F401
    from cryptography.exceptions import InvalidTag
except ImportError:
    print("no Python package cryptography or argon2 (python3-cryptography, python3-argon2)")
    sys.exit(77)
from codec_run import CORRUPT, CodecRun, Refused, rounds
from sodium_formats import Argon2id, XChaCha, subkey

TESTS = Path(__file__).resolve().parents[1]
SEED = int(os.environ.get("BUCKETDISK_SEED", random.SystemRandom().randrange(1 << 32)))
CODEC = {"plugin": "crypto-sodium", "token": "xchacha20-poly1305"}
KEYWRAP = {"plugin": "crypto-sodium", "name": "argon2id"}
BOUNDS = {"argon2id-memory-max": 1 << 30, "argon2id-passes-max": 10}
DENIED = 5  # BD_DENIED


class Sodium(unittest.TestCase):
    def setUp(self):
        self.codecs = CodecRun()
        self.keywraps = CodecRun(os.environ.get("KEYWRAP_RUN", "build/tests/crypto/keywrap_run"))
        self.random = random.Random(SEED)

    def tearDown(self):
        self.codecs.close()
        self.keywraps.close()

    def bytes(self, low, high):
        return self.random.randbytes(self.random.randint(low, high))

    def refused(self, status, runner, *args, **fields):
        with self.assertRaises(Refused) as refused:
            runner.call(*args, **fields)
        self.assertEqual(refused.exception.status, status)
        return refused.exception.sentence

    def test_xchacha_both_ways(self):
        for _ in rounds():
            text = self.random.randbytes(self.random.choice([0, 1, 63, 64, 65, self.random.randrange(5000), 65536]))
            key, associated = self.random.randbytes(64), self.bytes(0, 200)
            common = {**CODEC, "key": key, "cap": len(text)}
            body, attributes = self.codecs.call("encode", **common, data=text, associated=associated)
            self.assertEqual(attributes, {})
            self.assertEqual(XChaCha(key).decode(body, associated), text)
            nonce = self.random.randbytes(24)
            body = XChaCha(key).encode(nonce, text, associated)
            self.assertEqual(self.codecs.call("decode", **common, data=body, associated=associated), (text, {}))
            self.assertEqual(self.codecs.call("encode", **common, data=text, associated=associated, random=nonce), (body, {}))
            sentence = self.refused(CORRUPT, self.codecs, "decode", **common, data=body, associated=associated + b"\0")
            self.assertIn("not authenticated", sentence)
            with self.assertRaises(InvalidTag):
                XChaCha(key).decode(body, associated + b"\0")

    def test_wrapped_keys_both_ways(self):
        for _ in rounds():
            passphrase, key = self.bytes(1, 100), self.bytes(16, 64)
            memory_kib, passes = self.random.randint(8, 600), self.random.randint(1, 4)
            costs = {**BOUNDS, "argon2id-memory": memory_kib * 1024, "argon2id-passes": passes}
            with self.subTest(passphrase=passphrase, key=key, memory_kib=memory_kib, passes=passes):
                blob, _ = self.keywraps.call("wrap", **KEYWRAP, passphrase=passphrase, key=key, **costs)
                self.assertIn(b" m=%d t=%d p=1 " % (memory_kib, passes), blob)
                self.assertEqual(Argon2id.unwrap(passphrase, blob.decode()), key)
                with self.assertRaises(InvalidTag):
                    Argon2id.unwrap(passphrase + b"\0", blob.decode())
                blob = Argon2id.wrap(passphrase, key, memory_kib, passes, self.random.randbytes(16), self.random.randbytes(24))
                unwrap = {**KEYWRAP, **BOUNDS, "blob": blob.encode()}
                self.assertEqual(self.keywraps.call("unwrap", **unwrap, passphrase=passphrase), (key, {}))
                self.assertEqual(self.refused(DENIED, self.keywraps, "unwrap", **unwrap, passphrase=passphrase + b"\0"), "")

    def test_subkeys_are_the_same(self):
        for _ in rounds():
            key, length = self.bytes(16, 64), self.random.randint(16, 64)
            purpose = bytes(self.random.randint(1, 255) for _ in range(self.random.choice([0, 1, 24, 127, 128, 129, 5000])))
            ours, _ = self.keywraps.call("subkey", **KEYWRAP, key=key, purpose=purpose, bytes=length)
            self.assertEqual(ours, subkey(key, purpose, length))

    def test_golden_objects_are_read_and_made_again(self):
        objects = sorted(TESTS.glob("golden/xchacha20-poly1305/*.json"))
        self.assertGreaterEqual(len(objects), 3)
        for path in objects:
            golden = json.loads(path.read_text())
            body, plain = (path.with_suffix(suffix).read_bytes() for suffix in (".body", ".plain"))
            key, associated = (bytes.fromhex(golden[name]) for name in ("key", "associated"))
            common = {**CODEC, "block": golden["block"], "key": key, "associated": associated}
            with self.subTest(path.name):
                self.assertEqual(golden["token"], CODEC["token"])
                self.assertEqual(self.codecs.call("decode", **common, data=body, cap=len(plain)), (plain, {}))
                self.assertEqual(self.codecs.call("encode", **common, data=plain, random=body[:24]), (body, {}))
                self.assertEqual(XChaCha(key).decode(body, associated), plain)

    def test_golden_keys_open(self):
        keys = sorted(TESTS.glob("golden/argon2id/*.json"))
        self.assertGreaterEqual(len(keys), 3)
        for path in keys:
            golden = json.loads(path.read_text())
            passphrase, key = (bytes.fromhex(golden[name]) for name in ("passphrase", "key"))
            with self.subTest(path.name):
                ours = self.keywraps.call("unwrap", **KEYWRAP, **BOUNDS, passphrase=passphrase, blob=golden["blob"].encode())
                self.assertEqual(ours, (key, {}))
                self.assertEqual(Argon2id.unwrap(passphrase, golden["blob"]), key)
                for purpose, digits in golden["subkeys"].items():
                    expected = bytes.fromhex(digits)
                    ours, _ = self.keywraps.call("subkey", **KEYWRAP, key=key, purpose=purpose.encode(), bytes=len(expected))
                    self.assertEqual(ours, expected)


if __name__ == "__main__":
    print(f"BUCKETDISK_SEED={SEED}")
    unittest.main()
