#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Compressed blocks: another --codec at each mount, what is stored under each, and objects that are damaged."""
import os
import shutil
import subprocess
import zlib

import disk

BLOCK = 65536
BLOCKS = 64
ENCODING = "user.bucketdisk.encoding"
MOUNTS = {"deflate": ["--codec=deflate"], "deflate-9": ["--codec=deflate", "--deflate-level=9"],
          "zstd": ["--codec=zstd"], "zstd-19": ["--codec=zstd", "--zstd-level=19"], "none": []}


def encoding_of(path):
    try:
        return os.getxattr(path, ENCODING).decode()
    except OSError:
        return ""


def unzstd(body):
    return subprocess.run(["zstd", "-qdc"], input=body, capture_output=True, check=True).stdout


class Codecs(disk.Story):
    def setUp(self):
        super().setUp()
        self.volume = disk.Disk(self, str(BLOCKS * BLOCK), str(BLOCK))
        self.model = bytearray(BLOCKS * BLOCK)
        self.kinds = {}                         # block -> of what kind its content is
        self.ways = {}                          # block -> how it was stored last

    def object_of(self, block):
        return self.volume.store.path / f"{block:08x}"

    def content(self, kind):
        if kind == "noise":
            return self.random.randbytes(BLOCK)
        if kind == "zeros":
            return bytes(BLOCK)
        words = [b"%d" % self.random.randrange(100000) for _ in range(500)]
        return b" ".join(self.random.choice(words) for _ in range(BLOCK // 2))[:BLOCK]

    def write(self, way, block, kind):
        data = self.content(kind)
        self.model[block * BLOCK:(block + 1) * BLOCK] = data
        disk.write_at(self.volume.file, block * BLOCK, data)
        self.kinds[block], self.ways[block] = kind, way

    def write_part(self, way, block):
        """The rest of the block is read as it was stored, and stored as it is now."""
        begin = block * BLOCK + self.random.randrange(BLOCK - 200)
        data = b"a part of a block, which is unlike any other %d" % begin
        self.model[begin:begin + len(data)] = data
        disk.write_at(self.volume.file, begin, data)
        if self.kinds.get(block, "zeros") == "zeros":
            self.kinds[block] = "text"
        self.ways[block] = way

    def check_disk(self, when):
        self.assertEqual(disk.read_at(self.volume.file, 0, len(self.model)), self.model, when)

    def check_store(self):
        """Each object is what its codec makes of the block, and says so."""
        for block, way in sorted(self.ways.items()):
            path, plain = self.object_of(block), bytes(self.model[block * BLOCK:(block + 1) * BLOCK])
            with self.subTest(block=block, way=way, kind=self.kinds[block]):
                if self.kinds[block] == "zeros" and block > 0:
                    self.assertFalse(path.exists())
                    continue
                body, encoding = path.read_bytes(), encoding_of(path)
                if way == "none" or self.kinds[block] == "noise":
                    self.assertEqual(encoding, "")
                    self.assertEqual(body, plain)
                    continue
                self.assertEqual(encoding, way.split("-")[0])
                self.assertLess(len(body), BLOCK)
                if encoding == "deflate":
                    self.assertEqual(body, zlib.compress(plain, 9 if way == "deflate-9" else 6))
                elif shutil.which("zstd"):
                    self.assertEqual(unzstd(body), plain)

    def test_another_codec_at_each_mount(self):
        kept = range(BLOCKS - len(MOUNTS), BLOCKS)      # one for each way to store, which no later mount writes
        ways = list(MOUNTS) + [self.random.choice(list(MOUNTS)) for _ in range(disk.pick(4, 40))]
        for number, way in enumerate(ways):
            with self.subTest(way=way):
                self.volume.mount(*MOUNTS[way])
                self.check_disk("before")
                if not self.ways:
                    self.ways[0], self.kinds[0] = way, "zeros"      # the first mount stores block 0, for the sizes
                for block in self.random.sample(range(kept[0]), 12):
                    self.write(way, block, self.random.choice(["text", "text", "noise", "zeros"]))
                for block in self.random.sample(range(kept[0]), 3):
                    self.write_part(way, block)
                if number < len(kept):
                    self.write(way, kept[number], "text")
                self.check_disk("after")
                self.volume.umount()
                self.check_store()
        stored = {encoding_of(self.object_of(block)) for block in self.ways if self.object_of(block).exists()}
        self.assertEqual(stored, {"", "deflate", "zstd"}, "the blocks are no mix")

    def test_zeros_under_a_codec_cost_nothing(self):
        self.volume.mount("--codec=zstd")
        self.write("zstd", 3, "text")
        self.volume.umount()
        self.assertEqual(self.volume.store.blocks(), ["00000000", "00000003"])
        self.assertLess(self.object_of(0).stat().st_size, 100)

    def test_damage_is_one_blocks_matter(self):
        """EIO for that block, a line that names it and says why, nothing else is harmed; written whole, it is well again."""
        def flip(path, at=-1):
            body = bytearray(path.read_bytes())
            body[at] ^= 0x10
            path.write_bytes(body)

        def cut(path):
            os.truncate(path, path.stat().st_size - 5)

        def longer(path):
            with open(path, "ab") as file:
                file.write(b"more")

        def bomb(path):
            path.write_bytes(zlib.compress(bytes(100 * BLOCK)))

        def short(path):
            path.write_bytes(zlib.compress(bytes(BLOCK - 1)))

        def said(token):
            return lambda path: os.setxattr(path, ENCODING, token)

        def silent(path):
            os.removexattr(path, ENCODING)

        damages = [("deflate", flip, "incorrect data check"), ("deflate", cut, "ends early"),
                   ("deflate", bomb, f"holds more than {BLOCK} bytes"), ("deflate", short, f"{BLOCK - 1} bytes instead of {BLOCK}"),
                   ("deflate", said(b"zstd"), "does not begin as a zstd frame"), ("deflate", silent, "bytes where a block has"),
                   ("deflate", said(b"deflate, nosuch"), "nosuch"),
                   ("zstd", lambda path: flip(path, 0), "does not begin as a zstd frame"), ("zstd", cut, "ends early"),
                   ("zstd", longer, "4 bytes follow the frame"), ("zstd", said(b"deflate"), "incorrect header check")]
        for block, (way, _, _) in enumerate(damages, 1):
            if block == 1 or damages[block - 2][0] != way:
                if block > 1:
                    self.volume.umount()
                self.volume.mount(*MOUNTS[way])
            self.write(way, block, "text")
        self.volume.umount()
        for block, (_, damage, _) in enumerate(damages, 1):
            damage(self.object_of(block))
        self.volume.mount("--maxRetryPause=500", "--directIO", "--readAhead=0")
        for block, (way, _, reason) in enumerate(damages, 1):
            with self.subTest(block=block, way=way, reason=reason):
                self.assertEqual(disk.error_of(disk.read_at, self.volume.file, block * BLOCK, 10), "EIO")
                self.assertRegex(self.volume.log_text(), f"{block:08x}[^\\n]*{reason}")
        end = (len(damages) + 1) * BLOCK
        self.assertEqual(disk.read_at(self.volume.file, 0, BLOCK), self.model[:BLOCK])
        self.assertEqual(disk.read_at(self.volume.file, end, len(self.model) - end), self.model[end:])
        for block in range(1, len(damages) + 1):
            self.write("none", block, "text")
        self.check_disk("written anew")
        self.volume.umount()
        self.check_store()


if __name__ == "__main__":
    disk.main()
