#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A stranger with bucketdisk-format(5) alone reads what a mount has stored: blocks, lock, and what only the cache file has."""
import importlib.util
import os
import shutil
import struct
import sys
import unittest

import disk

sys.path.insert(0, str(disk.TOP / "tests/golden"))
import format_page  # noqa: E402

PAGE = format_page.PAGE.read_text()
BLOCK, BLOCKS = 64 * disk.KIB, 64
PASSWORD = "what a stranger is told"
SEALED = ("--format=2", f"--password={PASSWORD}", "--argon2id-memory=1M", "--argon2id-passes=1")
CLEAN, DIRTY, GONE = 1, 2, 3            # kinds of records
ATTRIBUTE = "user.bucketdisk.a."        # as bucketdisk-backend-dir(7) says


def hashed(number):
    """As the page gives it."""
    h = number
    for k in range(12, 0, -1):
        h = (((h >> 8) ^ h) * 107 + k) % 2**32
    return h


class Stranger:
    """Reads a directory."""

    def __init__(self, path):
        self.path, self.page = path, format_page.reader(PAGE)
        self.is_format_2 = (path / "bucketdisk-volume").exists()
        self.keys = {"password": PASSWORD.encode(), "salt": b"/"}
        if self.is_format_2:
            description, key = self.page["read_description"]((path / "bucketdisk-volume").read_text(), PASSWORD.encode())
            self.keys |= {"volume id": bytes.fromhex(description["volume"]), "volume key": key, "accepts": description["accepts"]}

    def attributes(self, name):
        path = self.path / name
        found = {key: os.getxattr(path, key).decode() for key in os.listxattr(path)}
        encoding = found.get("user.bucketdisk.encoding", "")
        return encoding, {key.removeprefix(ATTRIBUTE): value for key, value in found.items() if key.startswith(ATTRIBUTE)}

    def decode(self, number, encoding, attributes, body):
        return self.page["read_block"](2 if self.is_format_2 else 1, self.keys, number, BLOCK, encoding, attributes, body)

    def disk(self, name_of):
        """All of it."""
        image = bytearray(BLOCK * BLOCKS)
        for number in range(BLOCKS):
            name = name_of(number)
            if (self.path / name).exists():
                block = self.decode(number, *self.attributes(name), (self.path / name).read_bytes())
                image[number * BLOCK:(number + 1) * BLOCK] = block
        return bytes(image)


class CacheFile:
    """The page's tables at work."""

    def __init__(self, path):
        self.bytes = path.read_bytes()
        self.super = max((self.members("super", at) for at in (0, 4096)), key=lambda found: found["generation"])

    def members(self, struct_name, at):
        return {name: self.bytes[at + int(offset):at + int(offset) + int(size)] if int(size) > 8
                else int.from_bytes(self.bytes[at + int(offset):at + int(offset) + int(size)], sys.byteorder)
                for offset, size, name, _ in format_page.rows(PAGE, struct_name)}

    def text(self, name):
        return self.super[name][:self.super[f"{name}_bytes"]]

    def records(self):
        """(members, tag, what sealing added, map)"""
        offset, size, _, _ = format_page.rows(PAGE, "record")[-1]
        head_bytes, at = int(offset) + int(size), self.super["journal_offset"]
        while (head := self.members("record", at))["mark"] == self.super["mark"]:
            rest = self.bytes[at + head_bytes:at + head["bytes"]]
            sealed = head["tag_bytes"] + head["seal_bytes"]
            yield head, rest[:head["tag_bytes"]], rest[head["tag_bytes"]:sealed], rest[sealed:]
            at += head["bytes"]

    def blocks(self, unseal):
        """Number -> (kind, its data with None for sectors that are not valid)."""
        last, found = {}, {}            # a slot of an earlier record may be another's by now
        for head, _, sealed, valid in self.records():
            if head["kind"] == GONE:
                end = int.from_bytes(head["data_sum"][:8], sys.byteorder)
                last = {number: record for number, record in last.items() if not head["block"] <= number <= end}
            elif head["kind"] in (CLEAN, DIRTY):
                last[head["block"]] = head, sealed, valid
        for head, sealed, valid in last.values():
            sectors = BLOCK // 512
            bits = int.from_bytes(valid, "little") if head["sectors"] < sectors else (1 << sectors) - 1
            slot = self.bytes[8192 + head["slot"] * BLOCK:8192 + (head["slot"] + 1) * BLOCK]
            if head["is_zeros"]:
                slot = bytes(BLOCK)
            elif self.super["flags"] & 1:
                slot = self.unsealed(head["block"], slot + sealed, unseal)
            else:                       # valid ones alone, one after another
                slot = b"".join(slot[512 * (bits & (1 << i) - 1).bit_count():][:512] if bits >> i & 1 else bytes(512)
                                for i in range(sectors))
            found[head["block"]] = head["kind"], [slot[512 * i:512 * (i + 1)] if bits >> i & 1 else None for i in range(sectors)]
        return found

    @staticmethod
    def unsealed(number, whole, unseal):
        body_bytes, = struct.unpack("=I", whole[-4:])
        words = [word.decode() for word in whole[body_bytes:-4].split(b"\0")]
        end = words.index("", 1)
        return unseal(number, words[0], dict(zip(words[1:end:2], words[2:end:2])), whole[:body_bytes])


@unittest.skipUnless(shutil.which("openssl") and shutil.which("zstd") and importlib.util.find_spec("argon2"),
                     "openssl, zstd and python3-argon2 are needed")
class Format(disk.Story):
    def written(self, *options):
        """A new volume with something on it, mounted, and its bytes."""
        volume = disk.Disk(self, "4M", "64K", *options).mount()
        data = bytearray(BLOCK * BLOCKS)
        for number, part in ((0, b"the first"), (7, b"text " * 9000), (8, self.random.randbytes(BLOCK)), (63, b"the last")):
            data[number * BLOCK:number * BLOCK + len(part)] = part
            disk.write_at(volume.file, number * BLOCK, part)
        return volume, bytes(data)

    def assert_read(self, *options, name_of="{:08x}".format):
        volume, data = self.written(*options)
        volume.umount()
        self.assertEqual(data, Stranger(volume.store.path).disk(name_of))

    def test_plain_and_hashed(self):
        self.assert_read("--blockHashPrefix", name_of=lambda number: f"{hashed(number):08x}-{number:08x}")

    def test_s3backers_encryption(self):
        self.assert_read("--encrypt", f"--password={PASSWORD}")

    def test_format_2_without_a_password(self):
        self.assert_read("--format=2")

    def test_format_2(self):
        self.assert_read(*SEALED)

    def test_format_2_with_the_other_cipher(self):
        self.assert_read(*SEALED, "--codec=deflate,xchacha20-poly1305")

    def test_lock_and_fence(self):
        volume, _ = self.written(*SEALED)
        stranger = Stranger(volume.store.path)
        disk.wait_until("the first beat", lambda: "bucketdisk-lease" in stranger.attributes("bucketdisk-lock")[1])
        _, lock = stranger.attributes("bucketdisk-lock")
        self.assertRegex(lock["s3backer-mount-token"], "^[0-7][0-9a-f]{7}$")
        self.assertEqual(4, len(lock["bucketdisk-owner"].split(" ")))
        self.assertRegex(lock["bucketdisk-lease"], r"^beat=[1-9]\d* epoch=1 lease=60000 settle=30000 at=\d{10}$")
        body = (volume.store.path / "bucketdisk-lock").read_text().splitlines()
        self.assertEqual([lock["bucketdisk-owner"].split(" ")[3], lock["s3backer-mount-token"], lock["bucketdisk-lease"]],
                         [body[0], body[2], body[3]])
        self.assertRegex(body[1], r"^\d{8}T\d{6}Z$")
        _, fence = stranger.attributes("s3backer-mounted")
        self.assertEqual({"s3backer-mount-token": "0000bd02", "bucketdisk-owner": "bucketdisk volume of format 2"}, fence)
        volume.umount()
        self.assertNotIn("bucketdisk-lock", volume.store.objects())

    def assert_read_from_cache_file(self, *options):
        """The daemon dies, and the cache file alone has what it wrote."""
        cache = self.path("cache")
        volume, data = self.written("--durability=cache", "--block-cache-write-delay=60s", "--settle-time=1s",
                                    f"--block-cache-file={cache}", *options)
        with open(volume.file, "r+b", buffering=0) as file:
            os.fsync(file.fileno())
        volume.kill9()
        stranger, found = Stranger(volume.store.path), CacheFile(cache)
        lock = stranger.attributes("bucketdisk-lock" if stranger.is_format_2 else "s3backer-mounted")[1]
        self.assertIn(lock["s3backer-mount-token"], found.text("note").decode().split(" "))
        if stranger.is_format_2:
            self.assertEqual(stranger.keys["volume id"], found.text("identity"))
        blocks = found.blocks(stranger.decode)
        self.assertEqual({7, 8}, {7, 8} & set(blocks))
        for number, (kind, sectors) in blocks.items():
            self.assertEqual(DIRTY, kind)
            there = [data[number * BLOCK + 512 * i:][:512] for i in range(BLOCK // 512)]
            self.assertEqual([None if sector is None else there[i] for i, sector in enumerate(sectors)], sectors)

    def test_cache_file(self):
        self.assert_read_from_cache_file()

    def test_sealed_cache_file(self):
        self.assert_read_from_cache_file(*SEALED)

    def test_cache_file_sealed_as_s3backer_does(self):
        self.assert_read_from_cache_file("--encrypt", f"--password={PASSWORD}")


disk.main()
