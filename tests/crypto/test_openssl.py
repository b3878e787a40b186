#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What crypto-openssl encodes, an independent implementation decodes, and the reverse."""
import json
import os
import random
import sys
import unittest
import zlib
from pathlib import Path

try:
    from cryptography.exceptions import InvalidTag
except ImportError:
    print("no Python package cryptography (python3-cryptography)")
    sys.exit(77)
from codec_run import CORRUPT, CodecRun, Refused, rounds
from openssl_formats import CBC, S3backer, Xaes

TESTS = Path(__file__).resolve().parents[1]
SEED = int(os.environ.get("BUCKETDISK_SEED", random.SystemRandom().randrange(1 << 32)))
PLUGIN = "crypto-openssl"


class OpenSSL(unittest.TestCase):
    def setUp(self):
        self.codecs = CodecRun()
        self.random = random.Random(SEED)

    def tearDown(self):
        self.codecs.close()

    def text(self):
        return self.random.randbytes(self.random.choice([0, 1, 15, 16, 17, self.random.randrange(5000), 65536]))

    def refused(self, *args, **fields):
        with self.assertRaises(Refused) as refused:
            self.codecs.call(*args, **fields)
        self.assertEqual(refused.exception.status, CORRUPT)
        self.assertIn("not authenticated", refused.exception.sentence)

    def test_xaes_both_ways(self):
        for _ in rounds():
            key, text, associated = self.random.randbytes(64), self.text(), self.random.randbytes(self.random.randrange(200))
            common = {"plugin": PLUGIN, "token": "xaes-256-gcm", "key": key, "cap": len(text)}
            body, attributes = self.codecs.call("encode", **common, data=text, associated=associated)
            self.assertEqual(attributes, {})
            self.assertEqual(Xaes(key).decode(body, associated), text)
            nonce = self.random.randbytes(24)
            body = Xaes(key).encode(nonce, text, associated)
            self.assertEqual(self.codecs.call("decode", **common, data=body, associated=associated), (text, {}))
            self.assertEqual(self.codecs.call("encode", **common, data=text, associated=associated, random=nonce), (body, {}))
            self.refused("decode", **common, data=body, associated=associated + b"\0")
            with self.assertRaises(InvalidTag):
                Xaes(key).decode(body, associated + b"\0")

    def test_s3backer_both_ways(self):
        for _ in rounds():
            cipher = self.random.choice(list(CBC))
            natural = CBC[cipher][1]
            length = self.random.choice([0, 0, natural, 32, 64, self.random.randrange(natural, 65)])
            password = self.random.randbytes(self.random.randrange(1, 80)).replace(b"\0", b"x")
            salt = b"bucket/" + self.random.choice([b"", b"prefix", b"a/b/"])
            number, text = self.random.randrange(1 << 32), self.text()
            theirs = S3backer(cipher, password, salt, length)
            common = {"plugin": PLUGIN, "token": f"encrypt-{cipher}", "password": password, "salt": salt, "cap": len(text),
                      "block": number}
            body, attributes = theirs.encode(number, text)
            with self.subTest(cipher=cipher, length=length, password=password, number=number):
                encoded = self.codecs.call("encode", **common, data=text, key_length=length or None)
                self.assertEqual(encoded, (body, attributes))
                self.assertEqual(theirs.decode(number, *encoded), text)
                self.assertEqual(self.codecs.call("decode", **common, data=body, attr=attributes, key_length=length), (text, {}))
                if length in (0, natural, 32, 64):
                    self.assertEqual(self.codecs.call("decode", **common, data=body, attr=attributes), (text, {}))
                common["block"] ^= 1
                self.refused("decode", **common, data=body, attr=attributes)

    def test_objects_of_s3backer_are_the_blocks_that_they_were(self):
        vectors = [path for path in sorted(TESTS.glob("vectors/s3backer/*.json")) if "encryption" in path.read_text()]
        self.assertGreaterEqual(len(vectors), 9)
        for path in vectors:
            vector = json.loads(path.read_text())
            known, headers = vector["encryption"], {name.lower(): value for name, value in vector["headers"]}
            attributes = {"s3backer-hmac": headers["x-amz-meta-s3backer-hmac"].encode()}
            body, plain = (path.with_suffix(suffix).read_bytes() for suffix in (".body", ".plain"))
            password, salt, number = known["password"].encode(), known["pbkdf2_salt"].encode(), vector["block_number"]
            theirs = S3backer(known["cipher"], password, salt, known["key_length_option"])
            self.assertEqual((theirs.key.hex(), theirs.iv(number).hex()), (known["key"], known["iv"]))
            common = {"plugin": PLUGIN, "password": password, "salt": salt, "block": number}
            text, _ = self.codecs.call("decode", token=f"encrypt-{known['cipher']}", data=body, attr=attributes, cap=65536, **common)
            self.assertEqual(text, theirs.decode(number, body, attributes))
            if headers["content-encoding"].startswith("deflate"):
                self.assertEqual(zlib.decompress(text), plain)
                again = self.codecs.call("encode", token=f"encrypt-{known['cipher']}", data=zlib.compress(plain),
                                         key_length=known["key_length_option"], **common)
                self.assertEqual(again, (body, attributes))

    def test_golden_objects_are_read_and_made_again(self):
        objects = {path: json.loads(path.read_text()) for path in sorted(TESTS.glob("golden/*/*.json"))}
        objects = {path: golden for path, golden in objects.items() if golden.get("plugin") == PLUGIN}
        self.assertGreaterEqual(len(objects), 9)
        for path, golden in objects.items():
            body, plain = (path.with_suffix(suffix).read_bytes() for suffix in (".body", ".plain"))
            common = {name: bytes.fromhex(golden[name]) for name in ("key", "associated") if name in golden}
            common |= {name: golden[name].encode() for name in ("password", "salt") if name in golden}
            common |= {"plugin": PLUGIN, "token": golden["token"], "block": golden["block"]}
            attributes = {name: value.encode() for name, value in golden["attributes"].items()}
            with self.subTest(path.name):
                self.assertEqual(self.codecs.call("decode", **common, data=body, attr=attributes, cap=len(plain)), (plain, {}))
                more = {"random": body[:24]} if "key" in golden else {"key_length": golden["key_length"]}
                self.assertEqual(self.codecs.call("encode", **common, **more, data=plain), (body, attributes))
                if "key" in golden:
                    self.assertEqual(Xaes(common["key"]).decode(body, common["associated"]), plain)
                else:
                    theirs = S3backer(golden["token"].removeprefix("encrypt-"), common["password"], common["salt"],
                                      golden["key_length"])
                    self.assertEqual(theirs.decode(golden["block"], body, attributes), plain)


if __name__ == "__main__":
    print(f"BUCKETDISK_SEED={SEED}")
    unittest.main()
