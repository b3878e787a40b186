#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Whoever can write to the bucket changes an encrypted volume: each change is found and named, costs that block or the mount,
and nothing else is harmed."""
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

import disk

sys.path.insert(0, str(disk.TOP / "tests" / "crypto"))
import openssl_formats
import sodium_formats

BLOCK = 16384
BLOCKS = 64
PASSWORD = "fünf Wörter sind ein Passwort"
DESCRIPTION, LOCK, FENCE = "bucketdisk-volume", "bucketdisk-lock", "s3backer-mounted"
ENCODING, TAG = "user.bucketdisk.encoding", "user.bucketdisk.a.s3backer-hmac"
QUICK_KEY = ["--argon2id-memory=1M", "--argon2id-passes=1"]
KINDS = {
    "aes": ["--codec=deflate,aes"],
    "aes-256": ["--codec=zstd,encrypt-AES-256-CBC"],
    "xaes": ["--codec=zstd,xaes-256-gcm", *QUICK_KEY],
    "xchacha": ["--codec=deflate,xchacha20-poly1305", *QUICK_KEY],
}
FORMAT_2 = ("xaes", "xchacha")
NOT_AUTHENTIC = "not authentic"


# ---- how an object is changed: each takes its path, and whoever tells the story for random choices

def body_bit(at, bit=None):
    def change(path, story):
        body = bytearray(path.read_bytes())
        body[at] ^= 1 << (story.random.randrange(8) if bit is None else bit)
        path.write_bytes(body)
    return change


def cut(count):
    def change(path, _):
        os.truncate(path, path.stat().st_size - count)
    return change


def cut_to(size):
    def change(path, _):
        os.truncate(path, size)
    return change


def longer(by):
    def change(path, _):
        with open(path, "ab") as file:
            file.write(by)
    return change


def zeros_within(path, _):
    with open(path, "r+b") as file:
        file.seek(100)
        file.write(bytes(64))


def attribute(name, value):
    def change(path, _):
        if value is None:
            os.removexattr(path, name)
        else:
            os.setxattr(path, name, value if isinstance(value, bytes) else value(os.getxattr(path, name)))
    return change


def encoding(value):
    """b"CIPHER" in it stays what the block has."""
    if value is None or b"CIPHER" not in value:
        return attribute(ENCODING, value)
    return attribute(ENCODING, lambda old: value.replace(b"CIPHER", old.split(b",")[-1].strip()))


def tag(value):
    return attribute(TAG, value)


def plain(body, list_in_header=None, said=None):
    """Not encrypted at all, as itself or behind a header of format 2 that says so."""
    def change(path, _):
        text = body
        if list_in_header is not None:
            text = header(0, 1 << 40, list_in_header) + body
        path.write_bytes(text)
        for name in os.listxattr(path):
            if name in (ENCODING, TAG):
                os.removexattr(path, name)
        if said is not None:
            os.setxattr(path, ENCODING, said)
    return change


def header(key, generation, tokens):
    return b"bkd2" + struct.pack("<BBHQ", 1, len(tokens), key, generation) + tokens


def header_list(tokens):
    """Another list in the header of the body, and beside it."""
    def change(path, _):
        body = path.read_bytes()
        path.write_bytes(body[:5] + bytes([len(tokens)]) + body[6:16] + tokens + body[16 + body[5]:])
        os.setxattr(path, ENCODING, tokens.replace(b",", b", "))
    return change


def inner_list(inner):
    """Other codecs before the one that encrypts, in both lists; b"codec": deflate for zstd, and zstd for deflate."""
    def change(path, story):
        compressor, cipher = header_tokens(path).split(b",")
        first = {b"zstd": b"deflate", b"deflate": b"zstd"}[compressor] if inner == b"codec" else inner
        header_list(b",".join(filter(None, [first, cipher])))(path, story)
    return change


def header_tokens(path):
    body = path.read_bytes()
    return body[16:16 + body[5]]


def zstd(data):
    return subprocess.run(["zstd", "-qc", "-19"], input=data, capture_output=True, check=True).stdout


BOMB = zlib.compress(bytes(16 << 20), 9)        # as many zeros as fit where a block's body is allowed
ZSTD_BOMB = zstd(bytes(256 << 20))

# What is done to a block of a volume in s3backer's format: what, the reason in the log.
FORMAT_1_ROWS = [
    *((f"bit flip at {at}", body_bit(at), NOT_AUTHENTIC) for at in (0, 1, 15, 16, 100, 8000, -17, -16, -1)),
    ("a block is missing at its end", cut(16), NOT_AUTHENTIC),
    ("a byte is missing", cut(1), NOT_AUTHENTIC),
    ("only a byte is left", cut_to(1), NOT_AUTHENTIC),
    ("nothing is left", cut_to(0), NOT_AUTHENTIC),
    ("bytes follow", longer(bytes(16)), NOT_AUTHENTIC),
    ("huge", cut_to(1 << 24), "bytes"),
    ("zeros within", zeros_within, NOT_AUTHENTIC),
    ("first digit of the tag", tag(lambda old: b'"%x' % (int(old[1:2], 16) ^ 1) + old[2:]), NOT_AUTHENTIC),
    ("last digit of the tag", tag(lambda old: old[:-2] + b'%x"' % (int(old[-2:-1], 16) ^ 8)), NOT_AUTHENTIC),
    ("no tag", tag(None), "s3backer-hmac"),
    ("an empty tag", tag(b""), "s3backer-hmac"),
    ("a tag of zeros", tag(b'"%s"' % (b"0" * 40)), "s3backer-hmac|" + NOT_AUTHENTIC),
    ("a short tag", tag(lambda old: old[:-3] + b'"'), "s3backer-hmac"),
    ("a tag that is no number", tag(b'"%s"' % (b"x" * 40)), "s3backer-hmac"),
    ("another cipher in the list", encoding(b"deflate, encrypt-CAMELLIA-128-CBC"), NOT_AUTHENTIC),
    ("an unknown cipher", encoding(b"deflate, encrypt-FOO-128-CBC"), "(?i)encrypt-FOO-128-CBC"),
    ("an unknown token", encoding(b"deflate, CIPHER, nosuch"), "nosuch"),
    ("encryption is gone from the list", encoding(b"deflate"), "not authenticated"),
    ("the list is gone", encoding(None), "not authenticated"),
    ("the list is empty", encoding(b", ,"), "not authenticated"),
    ("identity", encoding(b"identity"), "not authenticated"),
    ("decompress first", encoding(b"CIPHER, deflate"), "not authenticated"),
    ("too many", encoding(b"a,b,c,d,e,f,g"), "more than 5 layers"),
    ("too long", encoding(b"x" * 2000), "encoding"),
    ("a plain block", plain(b"p" * BLOCK), "not authenticated"),
    ("a plain block, compressed", plain(zlib.compress(b"p" * BLOCK), said=b"deflate"), "not authenticated"),
    ("a bomb", plain(BOMB, said=b"deflate"), "not authenticated"),
]

# The compressor is not covered by s3backer's tag: what is authentic may be undone wrongly, and is no block then.
DEFLATE_AES_ROWS = [
    ("compression is gone from the list", encoding(b"encrypt-AES-128-CBC"), f"where a block has {BLOCK}"),
    ("another compression", encoding(b"zstd, encrypt-AES-128-CBC"), "zstd"),
    ("compression twice", encoding(b"deflate, deflate, encrypt-AES-128-CBC"), "deflate"),
]

FORMAT_2_ROWS = [
    *((f"bit flip in the mark, {at}", body_bit(at), "does not begin with a header") for at in range(4)),
    ("bit flip in the version", body_bit(4), "version"),
    *((f"bit flip in the length of the list, bit {bit}", body_bit(5, bit), ".") for bit in range(8)),
    *((f"bit flip in the header, {at}", body_bit(at), NOT_AUTHENTIC) for at in range(6, 16)),
    ("bit flip in the list", body_bit(16, 0), "."),
    *((f"bit flip in the nonce or text, {at}", body_bit(at), NOT_AUTHENTIC) for at in (45, 50, 70, 200, 4000, -17, -16, -1)),
    ("a byte is missing", cut(1), NOT_AUTHENTIC),
    ("only the header is left", cut_to(50), NOT_AUTHENTIC + "|short"),
    ("half the header is left", cut_to(9), "header"),
    ("nothing is left", cut_to(0), "header"),
    ("a byte follows", longer(b"x"), NOT_AUTHENTIC),
    ("huge", cut_to(1 << 24), "bytes"),
    ("another compressor in both lists", inner_list(b"lz4"), "lz4"),
    ("another compressor that is known", inner_list(b"codec"), NOT_AUTHENTIC),
    ("no compressor in either list", inner_list(b""), NOT_AUTHENTIC),
    ("compression twice", inner_list(b"zstd,zstd"), NOT_AUTHENTIC),
    ("another cipher in both lists", header_list(b"zstd,xaes-512"), "xaes-512"),
    ("a list without encryption", header_list(b"zstd"), "not authenticated"),
    ("an empty list", header_list(b""), "not authenticated"),
    ("a plain block", plain(b"p" * BLOCK), "does not begin with a header"),
    ("a plain block with a header", plain(b"p" * BLOCK, b""), "not authenticated"),
    ("a bomb with a header", plain(BOMB, b"deflate", b"deflate"), "not authenticated"),
    ("s3backer's encryption", plain(b"p" * (BLOCK + 16), b"encrypt-AES-128-CBC", b"encrypt-AES-128-CBC"),
     "not authenticated"),
    ("decompress first", header_list(b"xaes-256-gcm,zstd"), "not authenticated"),
]

# What does no harm: spellings, and in format 2 whatever a store or proxy does to the list.
HARMLESS_1_ROWS = [
    ("other spelling", encoding(b"Deflate,ENCRYPT-aes-128-cbc")),
    ("without commas", encoding(b"identity deflate\tencrypt-AES-128-CBC ,")),
    ("upper case tag", tag(lambda old: old.upper())),
]
HARMLESS_2_ROWS = [("no list", encoding(None)), ("another list", encoding(b"deflate")), ("nonsense", encoding(b"no such, thing")),
                   ("s3backer's", encoding(b"deflate, encrypt-AES-128-CBC"))]


class Tampering(disk.Story):
    limit_seconds = 200

    def volume(self, kind, prefix="", password=PASSWORD):
        """A volume of this kind, unmounted, with a text in each block but the last, which says which block it is."""
        volume = disk.Disk(self, str(BLOCK * BLOCKS), str(BLOCK), *([f"--prefix={prefix}"] if prefix else []),
                           f"--password={password}")
        volume.prefix = prefix
        volume.mount(*KINDS[kind])
        # Noise, so that bodies are long, and words, so that they can be compressed.
        self.plain = b"".join(self.block_text(number, volume) for number in range(BLOCKS))
        disk.write_at(volume.file, 0, self.plain)
        volume.umount()
        volume.is_new = False
        return volume

    def block_text(self, number, volume):
        words = f"block {number} of {volume.store.path} ".encode() * 60
        return (words + self.random.randbytes(BLOCK // 2)).ljust(BLOCK, b".")

    def path(self, name):
        return super().path(name)

    @staticmethod
    def object_of(volume, number):
        return volume.store.path / f"{volume.prefix}{number:08x}"

    def stored(self, volume):
        """All but what each mount changes."""
        return {name: digest for name, digest in volume.store.snapshot().items()
                if name not in (DESCRIPTION, LOCK, volume.prefix + FENCE)}

    def part(self, number, count=1):
        return self.plain[number * BLOCK:(number + count) * BLOCK]

    def check_damage(self, volume, reasons, *options, warned=()):
        """Blocks that cannot be read (number -> reason in the log), all others can; nothing stored changes.
        `warned`: one line before that for a few of them."""
        before = self.stored(volume)
        volume.mount("--maxRetryPause=500", "--directIO", "--readAhead=0", *options)
        peak = disk.status_of(volume.daemon.pid, "VmHWM")
        # All at once, since each that fails takes its time.
        with ThreadPoolExecutor(BLOCKS) as pool:
            errors = list(pool.map(lambda number: disk.error_of(disk.read_at, volume.file, number * BLOCK, 10), range(BLOCKS)))
        for number, error in enumerate(errors):
            self.assertEqual(error, "EIO" if number in reasons else None, f"block {number}: {reasons.get(number)}")
            if number not in reasons:
                self.assertEqual(disk.read_at(volume.file, number * BLOCK, BLOCK) == self.part(number), True, f"block {number}")
        # A bomb would have taken 16 MiB and more; a sanitizer may, too.
        if not disk.is_sanitized():
            self.assertLess(disk.status_of(volume.daemon.pid, "VmHWM") - peak, 12 << 10, "KiB of memory")
        log = volume.log_text()
        for number, reason in reasons.items():
            lines = [line for line in log.splitlines() if f"{volume.prefix}{number:08x}" in line]
            if number in warned:
                self.assertRegex(lines.pop(0), warned[number])
            self.assertEqual(len(lines), 1, f"one line about block {number}, please: {lines}")
            self.assertRegex(lines[0], reason, f"block {number}")
        self.assertNotIn(PASSWORD, log)
        volume.umount()
        self.assertEqual(self.stored(volume), before, "a read changed what is stored")

    def check_table(self, kind, rows, harmless=()):
        volume = self.volume(kind)
        reasons = {}
        for number, (label, change, reason) in enumerate(rows, 1):
            change(self.object_of(volume, number), self)
            reasons[number] = reason
        for number, (label, change) in enumerate(harmless, len(rows) + 1):
            change(self.object_of(volume, number), self)
        self.assertLess(len(rows) + len(harmless) + 1, BLOCKS)
        self.check_damage(volume, reasons)
        return volume, reasons

    # --- blocks

    def test_changed_blocks_in_s3backers_format(self):
        volume, reasons = self.check_table("aes", FORMAT_1_ROWS + DEFLATE_AES_ROWS, HARMLESS_1_ROWS)
        self.check_heals(volume, list(reasons))
        self.check_table("aes-256", FORMAT_1_ROWS)

    def test_changed_blocks_of_format_2(self):
        for kind in FORMAT_2:
            with self.subTest(kind):
                volume, reasons = self.check_table(kind, FORMAT_2_ROWS, HARMLESS_2_ROWS)
                self.assertEqual(volume.log_text().count("the store drops or changes"), 1, "one warning, please")
                self.check_heals(volume, list(reasons))

    def check_heals(self, volume, numbers):
        """Part of such a block cannot be written; the whole can, and with that it is well."""
        volume.mount("--maxRetryPause=500", "--directIO", "--readAhead=0")
        partly = numbers[0]
        self.assertEqual(disk.error_of(disk.write_at, volume.file, partly * BLOCK + 5, b"part"), "EIO")
        with disk.opened(volume.file) as file:
            for number in numbers:
                os.pwrite(file, self.part(number), number * BLOCK)
            os.fsync(file)
        volume.remount()
        self.assertEqual(disk.read_at(volume.file, 0, len(self.plain)) == self.plain, True)
        volume.umount()

    def test_random_bits(self):
        """Any bit of any object."""
        for kind in KINDS:
            with self.subTest(kind):
                volume = self.volume(kind)
                reasons = {}
                for number in range(1, BLOCKS):
                    size = self.object_of(volume, number).stat().st_size
                    body_bit(self.random.randrange(size))(self.object_of(volume, number), self)
                    reasons[number] = "."
                self.check_damage(volume, reasons)

    def test_random_bits_beside_the_body(self):
        """Any bit of what says how a block is encoded, and of s3backer's tag: harmless, or found; never other data."""
        for kind in KINDS:
            with self.subTest(kind):
                volume = self.volume(kind)
                before = {}
                for number in range(1, BLOCKS):
                    path = self.object_of(volume, number)
                    name = ENCODING if kind in FORMAT_2 else self.random.choice([ENCODING, TAG])
                    value = bytearray(os.getxattr(path, name))
                    value[self.random.randrange(len(value))] ^= 1 << self.random.randrange(8)
                    os.setxattr(path, name, bytes(value))
                    before[number] = bytes(value)
                stored = self.stored(volume)
                volume.mount("--maxRetryPause=500", "--directIO", "--readAhead=0")
                with ThreadPoolExecutor(BLOCKS) as pool:
                    errors = list(pool.map(lambda number: disk.error_of(disk.read_at, volume.file, number * BLOCK, 10), range(BLOCKS)))
                log = volume.log_text()
                for number, error in enumerate(errors):
                    if error is None:
                        self.assertEqual(disk.read_at(volume.file, number * BLOCK, BLOCK) == self.part(number), True, before.get(number))
                        continue
                    self.assertEqual(error, "EIO", before[number])
                    self.assertEqual(len([line for line in log.splitlines() if f"{number:08x}" in line]), 1, before[number])
                if kind in FORMAT_2:
                    self.assertEqual(set(errors), {None}, "the list in the body counts")
                else:
                    # Upper case for lower is harmless, and what separates two tokens.
                    self.assertGreater(errors.count("EIO"), BLOCKS // 2)
                volume.umount()
                self.assertEqual(self.stored(volume), stored)

    def move(self, source, target):
        """An object in another's place, with all that is beside it."""
        os.unlink(target)
        shutil.copy2(source, target)

    def test_blocks_in_each_others_place(self):
        for kind in KINDS:
            with self.subTest(kind):
                volume = self.volume(kind)
                spare = self.path("spare")
                shutil.copy2(self.object_of(volume, 3), spare)
                self.move(self.object_of(volume, 4), self.object_of(volume, 3))
                self.move(spare, self.object_of(volume, 4))
                self.move(self.object_of(volume, 7), self.object_of(volume, 9))
                self.check_damage(volume, dict.fromkeys((3, 4, 9), NOT_AUTHENTIC))

    def test_block_of_another_volume_with_the_same_password(self):
        """In s3backer's format they differ by bucket and prefix, in format 2 always."""
        for kind in KINDS:
            with self.subTest(kind):
                other = self.volume(kind, prefix="" if kind in FORMAT_2 else "other-")
                volume = self.volume(kind)
                self.move(self.object_of(other, 5), self.object_of(volume, 5))
                self.check_damage(volume, {5: NOT_AUTHENTIC})

    def test_accepting_plain_blocks(self):
        """--accept-plain reads what nothing encrypts, says so and counts it, and never writes it so."""
        for kind, said, head in (("aes", b"deflate", b""), ("xaes", b"deflate", header(0, 1 << 40, b"deflate"))):
            with self.subTest(kind):
                volume = self.volume(kind)
                self.plain = self.part(0) + b"p" * BLOCK + self.part(2, BLOCKS - 2)
                for number in (1, 2):
                    path = self.object_of(volume, number)
                    plain(head + zlib.compress(self.part(1)), said=said)(path, self)
                self.plain = self.plain[:2 * BLOCK] + b"p" * BLOCK + self.plain[3 * BLOCK:]
                self.check_damage(volume, {1: "--accept-plain", 2: "--accept-plain"})
                before = self.stored(volume)
                volume.mount("--accept-plain", "--directIO", "--readAhead=0")
                self.assertEqual(disk.read_at(volume.file, 0, len(self.plain)) == self.plain, True)
                self.assertEqual(volume.stats()["plain_blocks_accepted"], 2)
                self.assertEqual(volume.log_text().count("not encrypted"), 1)
                self.assertEqual(self.stored(volume), before)
                disk.write_at(volume.file, BLOCK + 10, b"written")
                volume.umount()
                self.assertIn(b"aes" if kind == "xaes" else b"encrypt-", os.getxattr(self.object_of(volume, 1), ENCODING))
                self.plain = self.plain[:BLOCK + 10] + b"written" + self.plain[BLOCK + 17:]
                self.check_damage(volume, {2: "--accept-plain"})

    def volume_key(self, volume):
        description = json.loads((volume.store.path / DESCRIPTION).read_text())
        key = sodium_formats.Argon2id.unwrap(PASSWORD.encode(), description["slots"][0]["blob"])
        return key, bytes.fromhex(description["volume"])

    def test_bombs_of_somebody_with_the_password(self):
        """Authentic, and holding far more than a block."""
        with self.subTest("aes"):
            volume = self.volume("aes")
            theirs = openssl_formats.S3backer("AES-128-CBC", PASSWORD.encode(), b"/")
            body, attributes = theirs.encode(0, zlib.compress(self.part(0)))
            self.assertEqual(body, self.object_of(volume, 0).read_bytes(), "this is not the format")
            for number, text, token in ((1, BOMB, "deflate"), (2, ZSTD_BOMB, "zstd"), (3, zlib.compress(bytes(BLOCK + 1)), "deflate"),
                                        (4, zstd(bytes(BLOCK + 1)), "zstd")):
                body, attributes = theirs.encode(number, text)
                self.object_of(volume, number).write_bytes(body)
                os.setxattr(self.object_of(volume, number), ENCODING, f"{token}, encrypt-AES-128-CBC".encode())
                os.setxattr(self.object_of(volume, number), TAG, attributes["s3backer-hmac"])
            self.check_damage(volume, dict.fromkeys((1, 2, 3, 4), f"more than {BLOCK} bytes|{BLOCK + 1}|bytes"))
        for kind, make in (("xaes", openssl_formats.Xaes), ("xchacha", sodium_formats.XChaCha)):
            with self.subTest(kind):
                volume = self.volume(kind)
                key, identity = self.volume_key(volume)
                token = KINDS[kind][0].split(",")[1]
                cipher = make(sodium_formats.subkey(key, f"codec {token}".encode(), 32))
                for number, text, inner in ((1, BOMB, "deflate"), (2, ZSTD_BOMB, "zstd"), (3, zlib.compress(bytes(BLOCK - 1)), "deflate"),
                                            (4, zlib.compress(self.part(4)), "deflate")):
                    head = header(1, 7 << 40, f"{inner},{token}".encode())
                    associated = b"bd-block" + identity + struct.pack("<QQ", number, BLOCK) + head
                    body = head + cipher.encode(self.random.randbytes(24), text, associated)
                    self.object_of(volume, number).write_bytes(body)
                    os.setxattr(self.object_of(volume, number), ENCODING, f"{inner}, {token}".encode())
                self.check_damage(volume, dict.fromkeys((1, 2, 3), "bytes"))

    def test_s3backers_encryption_in_format_2(self):
        """Nobody can make such a volume, and a block that says so is none."""
        for options in (["--codec=zstd,aes", "--format=2"], ["--codec=encrypt-AES-256-CBC", "--format=2"], ["--encrypt", "--format=2"]):
            volume = disk.Disk(self, str(BLOCK * BLOCKS), str(BLOCK), f"--password={PASSWORD}", *QUICK_KEY)
            status, text = volume.refused(*options)
            self.assertGreater(status, 0)
            self.assertRegex(text, "cannot authenticate what format 2 demands")
            self.assertEqual(volume.store.objects(), [])
        volume = disk.Disk(self, str(BLOCK * BLOCKS), str(BLOCK), "--format=2").mount()
        volume.prefix = ""
        self.plain = b"".join(self.block_text(number, volume) for number in range(BLOCKS))
        disk.write_at(volume.file, 0, self.plain)
        volume.umount()
        for number, token in ((1, b"aes"), (2, b"deflate,encrypt-AES-128-CBC")):
            plain(header(0, 1 << 40, token) + bytes(BLOCK + 16), said=token)(self.object_of(volume, number), self)
        self.check_damage(volume, dict.fromkeys((1, 2), "needs a password"))

    def test_bombs_where_nothing_encrypts(self):
        volume = disk.Disk(self, str(BLOCK * BLOCKS), str(BLOCK)).mount()
        volume.prefix = ""
        self.plain = b"".join(self.block_text(number, volume) for number in range(BLOCKS))
        disk.write_at(volume.file, 0, self.plain)
        volume.umount()
        plain(BOMB, said=b"deflate")(self.object_of(volume, 1), self)
        plain(ZSTD_BOMB, said=b"zstd")(self.object_of(volume, 2), self)
        plain(zlib.compress(BOMB), said=b"deflate, deflate")(self.object_of(volume, 3), self)
        self.check_damage(volume, dict.fromkeys((1, 2, 3), "bytes"))

    # --- what refuses the mount

    def check_refused(self, volume, words, *options, given=None, modes=([], ["--readOnly"])):
        """One sentence, and nothing has changed.  Read-only or not."""
        if given is not None:
            volume.options = given
        before = volume.store.snapshot()
        for mode in modes:
            status, text = volume.refused(*options, *mode)
            self.assertGreater(status, 0, text)
            self.assertNotEqual(status, 99, text)
            self.assertEqual(len(text.strip().splitlines()), 1, f"one sentence, please:\n{text}")
            self.assertRegex(text, words)
            self.assertNotIn(PASSWORD, text)
            self.assertEqual(volume.store.snapshot(), before, "a refused mount changed the store")

    def check_still_there(self, volume):
        volume.options = [f"--password={PASSWORD}"]
        volume.mount()
        self.assertEqual(disk.read_at(volume.file, 0, len(self.plain)) == self.plain, True)
        volume.umount()

    def test_wrong_password(self):
        for kind in KINDS:
            with self.subTest(kind):
                volume = self.volume(kind)
                words = "does not open the volume's only key slot" if kind in FORMAT_2 else "password does not open the volume"
                for wrong in (PASSWORD + " ", PASSWORD[:-1], PASSWORD.upper(), "x" * 1000):
                    self.check_refused(volume, words, given=[f"--password={wrong}"])
                    if not disk.LONG:
                        break
                self.check_refused(volume, "is encrypted .*give --password-file", given=[])
                empty = self.path("empty")
                empty.write_text("\nsecond line")
                self.check_refused(volume, "empty", given=[f"--password-file={empty}"])
                self.check_still_there(volume)

    def test_first_block_is_damaged(self):
        """In s3backer's format the password is tried on it, and on others if it fails; in format 2 it is a block as any other."""
        for kind in KINDS:
            with self.subTest(kind):
                volume = self.volume(kind)
                body_bit(200)(self.object_of(volume, 0), self)
                if kind in FORMAT_2:
                    self.check_damage(volume, {0: NOT_AUTHENTIC})
                    continue
                for number in range(1, 8):
                    body_bit(100)(self.object_of(volume, number), self)
                for mode in ([], ["--readOnly"]):
                    self.check_damage(volume, dict.fromkeys(range(8), NOT_AUTHENTIC), *mode, warned={0: "so block 00000000 is damaged"})
                # Nothing is written in another way than the blocks that are there.
                volume.mount()
                disk.write_at(volume.file, 0, self.part(0))
                volume.umount()
                self.assertEqual(os.getxattr(self.object_of(volume, 0), ENCODING), os.getxattr(self.object_of(volume, 9), ENCODING))
                self.check_damage(volume, dict.fromkeys(range(1, 8), NOT_AUTHENTIC))
                body_bit(200)(self.object_of(volume, 0), self)
                self.check_refused(volume, "password does not open the volume, or block 00000000 is damaged",
                                   given=["--password=another"])
                # A few are tried, not all.
                body_bit(200)(self.object_of(volume, 8), self)
                self.check_refused(volume, "password does not open the volume, or block 00000000 is damaged",
                                   given=[f"--password={PASSWORD}"])
        volume = self.volume("aes")
        encoding(b"deflate, encrypt-AES-256-CBC")(self.object_of(volume, 0), self)
        self.check_damage(volume, {0: NOT_AUTHENTIC}, warned={0: "so block 00000000 is damaged"})
        volume.mount()
        disk.write_at(volume.file, 0, self.part(0))
        volume.umount()
        self.assertEqual(os.getxattr(self.object_of(volume, 0), ENCODING), b"deflate, encrypt-AES-128-CBC")
        size = "user.bucketdisk.a.s3backer-blocksize"
        for value, words in ((BLOCK * 2, f"{BLOCK} bytes"), (BLOCK // 2, f"{BLOCK // 2} bytes"), (BLOCK + 1, "power of two")):
            attribute(size, b"%d" % value)(self.object_of(volume, 0), self)
            self.check_refused(volume, words)
        attribute(size, b"%d" % BLOCK)(self.object_of(volume, 0), self)
        plain(b"p" * BLOCK)(self.object_of(volume, 0), self)
        self.check_refused(volume, "password is given, but the volume is not encrypted")
        # Said to be encrypted, it is: then that block alone is not what it should be.
        volume.options = [f"--password={PASSWORD}", "--encrypt"]
        self.check_damage(volume, {0: "not authenticated"}, warned={0: "so block 00000000 is damaged"})

    def test_changed_description(self):
        """The object with the key: each of its parts, one after the other."""
        def put(name, value):
            return lambda parsed, _: {**parsed, name: value(parsed[name]) if callable(value) else value}

        def without(name):
            return lambda parsed, _: {key: value for key, value in parsed.items() if key != name}

        def slot(**words):
            return lambda parsed, _: {**parsed, "slots": [{**parsed["slots"][0], **words}]}

        def blob(pattern, new):
            return lambda parsed, _: {**parsed, "slots": [{**parsed["slots"][0], "blob":
                                                           re.sub(pattern, new, parsed["slots"][0]["blob"], count=1)}]}

        def flip_hex(text):
            return ("1" if text[0] == "0" else "0") + text[1:]

        by_whom, damaged = "changed by somebody without its key", f"{DESCRIPTION}, is damaged"
        rows = [
            ("format 1", put("format", 1), f"{damaged}.*format 1"),
            ("format 3", put("format", 3), f"{damaged}.*format 3"),
            ("format as text", put("format", "2"), f"{damaged}.*format"),
            ("volume", put("volume", flip_hex), by_whom),
            ("volume, short", put("volume", "12ab"), f"{damaged}.*volume"),
            ("volume, no hex", put("volume", "x" * 32), f"{damaged}.*volume"),
            ("disk_bytes", put("disk_bytes", BLOCK * BLOCKS * 2), by_whom),
            ("disk_bytes, negative", put("disk_bytes", -1), f"{damaged}.*disk_bytes"),
            ("disk_bytes, a fraction", put("disk_bytes", 1.5), f"{damaged}.*disk_bytes"),
            ("block_bytes", put("block_bytes", BLOCK // 2), by_whom),
            ("block_bytes, none", put("block_bytes", 0), by_whom),
            ("block_bytes, huge", put("block_bytes", 1 << 40), f"{damaged}.*block_bytes"),
            ("hashed", put("hashed", True), by_whom),
            ("hashed, a number", put("hashed", 0), f"{damaged}.*hashed"),
            ("epoch, less", put("epoch", 0), by_whom),
            ("epoch, more", put("epoch", 9), by_whom),
            ("epoch, too much", put("epoch", 1 << 24), f"{damaged}.*epoch"),
            ("codec", put("codec", "xaes-256-gcm"), by_whom),
            ("codec that does not encrypt", put("codec", "zstd"), by_whom),
            ("accepts more", put("accepts", ["xaes-256-gcm", "encrypt-AES-128-CBC"]), by_whom),
            ("accepts another", put("accepts", ["zstd"]), by_whom),
            ("accepts a list", put("accepts", ["zstd,xaes-256-gcm"]), f"{damaged}.*accepts"),
            ("accepts nothing", put("accepts", []), f"not encrypted.*{DESCRIPTION}"),
            ("accepts, a word", put("accepts", "xaes-256-gcm"), f"{damaged}.*accepts"),
            ("key", put("key", 2), by_whom),
            ("key, too large", put("key", 65536), f"{damaged}.*key"),
            ("wrap", put("wrap", "nosuch"), "nosuch"),
            ("mac", put("mac", flip_hex), by_whom),
            ("mac, cut", put("mac", lambda mac: mac[:-2]), f"{damaged}.*mac"),
            ("mac, empty", put("mac", "."), f"{damaged}.*mac"),
            *((f"no {name}", without(name), f"{damaged}.*{name}.*missing")
              for name in ("format", "volume", "disk_bytes", "block_bytes", "hashed", "epoch", "codec", "accepts", "key", "wrap",
                           "slots", "mac")),
            ("no slots left", put("slots", []), "none of the volume's 0 key slots"),
            ("slots, a word", put("slots", "0"), f"{damaged}.*slots"),
            ("slots of numbers", put("slots", [1]), "key slot 0 cannot be tried: .*kind"),
            ("slot without a blob", put("slots", lambda slots: [{key: slots[0][key] for key in ("slot", "label")}]),
             "key slot 0 cannot be tried: .*blob.*missing"),
            ("too many slots", put("slots", lambda slots: slots * 33), f"{damaged}.*32 key slots"),
            ("blob empty", slot(blob=""), "key slot 0"),
            ("blob too long", slot(blob="argon2id " + "x" * 5000), "key slot 0 cannot be tried: .*blob.*too long"),
            ("blob of another wrap", slot(blob="scrypt n=1"), "key slot 0"),
            ("blob, its key", blob(" key=....", " key=AAAA"), "does not open the volume's only key slot"),
            ("blob, its nonce", blob(" nonce=....", " nonce=AAAA"), "does not open the volume's only key slot"),
            ("blob, its salt", blob(" salt=....", " salt=AAAA"), "does not open the volume's only key slot"),
            ("blob, less memory", blob(" m=1024 ", " m=512 "), "does not open the volume's only key slot"),
            ("blob, more passes", blob(" t=1 ", " t=2 "), "does not open the volume's only key slot"),
            ("blob, 8 TiB of memory", blob(" m=1024 ", " m=4294967295 "), "key slot 0 cannot be tried: .*memory"),
            ("blob, an age of passes", blob(" t=1 ", " t=4294967295 "), "key slot 0 cannot be tried: .*pass"),
            ("blob, no memory", blob(" m=1024 ", " m=0 "), "key slot 0"),
            ("blob, cut", blob(" key=.*", " key="), "key slot 0"),
            ("not JSON", lambda _, old: b"<xml>" + old, f"{damaged}.*not JSON"),
            ("cut", lambda _, old: old[:-20], f"{damaged}.*not JSON"),
            ("empty", lambda _, old: b"", f"{damaged}.*not JSON"),
            ("a list", lambda parsed, _: json.dumps([parsed]).encode(), f"{damaged}.*object"),
            ("twice the same member", lambda _, old: old[:-2] + b', "epoch": 1}', f"{damaged}.*not JSON"),
            ("a megabyte", lambda _, old: old + b" " * (1 << 20), f"{damaged}.*bytes"),
            ("zero bytes", lambda _, old: bytes(500), f"{damaged}.*not JSON"),
        ]
        volume = self.volume("xaes")
        path = volume.store.path / DESCRIPTION
        for label, change, words in rows:
            with self.subTest(label):
                old = path.read_bytes()
                new = change(json.loads(old), old)
                path.write_bytes(new if isinstance(new, bytes) else json.dumps(new).encode())
                try:
                    self.check_refused(volume, words)
                finally:
                    path.write_bytes(old)
        self.check_still_there(volume)

    def test_random_bits_of_the_description(self):
        """Found, unless it says the same as before.  All of a slot but its text opens nothing, and is not protected."""
        def meaning(text):
            try:
                parsed = json.loads(text)
                return {**parsed, "volume": parsed["volume"].lower(), "mac": parsed["mac"].lower(),
                        "slots": [slot["blob"] for slot in parsed["slots"]]}
            except (ValueError, KeyError, AttributeError, TypeError):
                return None

        volume = self.volume("xchacha")
        path = volume.store.path / DESCRIPTION
        old = path.read_bytes()
        for _ in range(disk.pick(30, 3000)):
            new = bytearray(old)
            at, bit = self.random.randrange(len(old)), self.random.randrange(8)
            new[at] ^= 1 << bit
            if meaning(bytes(new)) == meaning(old):
                continue
            path.write_bytes(new)
            with self.subTest(at=at, bit=bit, near=bytes(new[max(0, at - 20):at + 20])):
                self.check_refused(volume, "the volume's description|key slot|key wrap", modes=self.random.sample([[], ["--readOnly"]], 1))
        path.write_bytes(old)
        self.check_still_there(volume)

    def test_key_slots_that_were_exchanged(self):
        """A slot opens what it was made for, wherever it stands; one that is gone, or of another volume, opens nothing."""
        second = PASSWORD + " two"

        def slots_of(volume):
            disk.run(disk.BINARY, "key", "add", f"--backend={volume.store.backend}", *QUICK_KEY, f"--password={PASSWORD}",
                     f"--new-password={second}", "--label=second", volume.store.location, env=disk.environment(self))
            return json.loads((volume.store.path / DESCRIPTION).read_text())["slots"]

        def at(number, slot, blob=None):
            return {**slot, "slot": number, "blob": (blob or slot)["blob"]}

        there, here = self.volume("xaes"), self.volume("xaes")
        (theirs, theirs_second), (first, other) = slots_of(there), slots_of(here)
        none, by_whom = "opens none of the volume's [0-9] key slots|does not open the volume's only key slot", "changed by somebody without its key"
        halves = re.sub(" key=.*", "", first["blob"]) + re.search(" key=.*", other["blob"])[0]
        # What the slots are then, and why the first and the second password are refused; None: they are not.
        rows = [("in another order", [other, first], None, None),
                ("numbers exchanged", [at(1, first), at(0, other)], None, None),
                ("contents exchanged", [at(0, first, other), at(1, other, first)], None, None),
                ("one in both", [first, at(1, first)], None, none),
                ("one is gone", [other], none, None),
                ("halves of both", [{**first, "blob": halves}, other], none, None),
                ("of another volume, in its place", [theirs, other], by_whom, None),
                ("of another volume, before it", [theirs, at(1, other), at(2, first)], by_whom, None),
                ("of another volume, behind it", [first, other, at(2, theirs)], None, None),
                ("all of another volume", [theirs, theirs_second], by_whom, by_whom)]
        path = here.store.path / DESCRIPTION
        for label, slots, *reasons in rows:
            with self.subTest(label):
                old = path.read_bytes()
                path.write_text(json.dumps({**json.loads(old), "slots": slots}))
                for password, reason in zip((PASSWORD, second), reasons):
                    here.options = [f"--password={password}"]
                    if reason is not None:
                        self.check_refused(here, reason)
                    else:
                        here.mount("--readOnly")
                        self.assertEqual(disk.read_at(here.file, 0, len(self.plain)) == self.plain, True)
                        here.umount()
                path.write_bytes(old)
        self.check_still_there(here)

    def test_description_of_another_volume_with_the_same_password(self):
        """Its key is another: no block of this one is authentic."""
        volume, other = self.volume("xaes"), self.volume("xaes")
        plain_of_other = self.plain
        shutil.copy2(volume.store.path / DESCRIPTION, self.path("kept"))
        self.move(volume.store.path / DESCRIPTION, other.store.path / DESCRIPTION)
        self.plain = plain_of_other
        self.check_damage(other, dict.fromkeys(range(BLOCKS), NOT_AUTHENTIC))

    def test_description_that_says_it_is_not_encrypted(self):
        """A stored block tells, or whoever demands encryption finds out; nothing is written for everyone to read."""
        for kind in FORMAT_2:
            for how in ("as it is", "hashed", "Content-Encoding is gone", "first block is gone"):
                with self.subTest(kind=kind, how=how):
                    volume, bare = self.volume(kind), disk.Disk(self, str(BLOCK * BLOCKS), str(BLOCK), "--format=2")
                    bare.mount("--codec=zstd", *(["--blockHashPrefix"] if how == "hashed" else []))
                    bare.umount()
                    self.move(bare.store.path / DESCRIPTION, volume.store.path / DESCRIPTION)
                    self.check_refused(volume, f"says that it is not encrypted.*{DESCRIPTION}")
                    token = KINDS[kind][0].split(",")[1]
                    first = 0
                    if how == "Content-Encoding is gone":
                        for number in range(BLOCKS):
                            encoding(None)(self.object_of(volume, number), self)
                    if how == "first block is gone":
                        self.object_of(volume, 0).unlink()
                        first = 1
                    words = f"block {first:08x} is encrypted .*{token}.*, but.*{DESCRIPTION}.*is not"
                    self.check_refused(volume, words, given=[])
                    self.check_refused(volume, words, "--codec=zstd")
                    self.check_refused(volume, words, "--accept-plain")
                    self.check_refused(volume, words, "--force")
                    # Even where no block is left to tell.
                    for number in range(BLOCKS):
                        self.object_of(volume, number).unlink(missing_ok=True)
                    self.check_refused(volume, f"encrypts, but the volume says that it is not.*{DESCRIPTION}", KINDS[kind][0])
                    self.check_refused(volume, "not encrypted", KINDS[kind][0], given=[f"--password={PASSWORD}"])
                    self.check_refused(volume, "encrypts, but the volume says that it is not encrypted", "--encrypt", given=[])

    def test_description_where_none_was(self):
        """One of format 2 in a volume of s3backer's format that is encrypted."""
        volume, bare = self.volume("aes"), disk.Disk(self, str(BLOCK * BLOCKS), str(BLOCK), "--format=2")
        bare.mount("--codec=zstd")
        bare.umount()
        shutil.copy2(bare.store.path / DESCRIPTION, volume.store.path / DESCRIPTION)
        self.check_refused(volume, f"says that it is not encrypted.*{DESCRIPTION}")
        self.check_refused(volume, f"block 00000000 is encrypted .*encrypt-AES-128-CBC.*{DESCRIPTION}", given=[])

    def test_description_is_gone(self):
        """Blocks that only format 2 has are never taken for a volume of format 1."""
        for kind in FORMAT_2:
            with self.subTest(kind):
                volume = self.volume(kind)
                (volume.store.path / DESCRIPTION).unlink()
                words = f"block 00000000 is one of format 2.*{DESCRIPTION}, is not there"
                self.check_refused(volume, words)
                self.check_refused(volume, words, given=[])
                self.check_refused(volume, words, *KINDS[kind][:1], given=[f"--password={PASSWORD}"])
                (volume.store.path / FENCE).unlink()
                self.check_refused(volume, words)
                self.check_refused(volume, words, given=[])
                # What a store drops does not matter.
                for said in (None, b"deflate", b"zstd", b"no such, thing"):
                    encoding(said)(self.object_of(volume, 0), self)
                    for given in ([], [f"--password={PASSWORD}"], ["--force"], ["--accept-plain"]):
                        self.check_refused(volume, words, given=given)
                    self.check_refused(volume, words, f"--size={BLOCK * BLOCKS}", f"--blockSize={BLOCK}", given=[])
                for name in os.listxattr(self.object_of(volume, 0)):
                    os.removexattr(self.object_of(volume, 0), name)
                self.check_refused(volume, words, f"--size={BLOCK * BLOCKS}", given=[])
                self.object_of(volume, 0).unlink()
                encoding(None)(self.object_of(volume, 1), self)
                self.check_refused(volume, words.replace("00000000", "00000001"), f"--size={BLOCK * BLOCKS}")


if __name__ == "__main__":
    if shutil.which("zstd") is None:
        print("skipped: no zstd", file=sys.stderr)
        sys.exit(disk.SKIPPED)
    disk.main()
