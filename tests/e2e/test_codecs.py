#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Blocks of every chain in one volume: another --codec at each mount, what is stored under each, what is refused, and objects
that are damaged."""
import os
import re
import shutil
import subprocess
import zlib
from dataclasses import dataclass

import disk

BLOCK = 65536
BLOCKS = 64
ENCODING = "user.bucketdisk.encoding"
PASSWORD = ("--password=one password for all of it",)
QUICK_KEY = ("--argon2id-memory=1M", "--argon2id-passes=1")


@dataclass(frozen=True)
class Way:
    """To write blocks: what is given at the mount, and what then stands at a block, as long as it can be compressed."""
    codec: str                          # for --codec
    compressor: str = ""
    cipher: str = ""
    level: str = ""

    @property
    def options(self):
        return [f"--codec={self.codec}", *([f"--{self.compressor}-level={self.level}"] if self.level else [])]

    def encoding(self, is_compressed):
        return ", ".join(filter(None, [self.compressor if is_compressed else "", self.cipher]))


def ways(cipher="", name=None, compressors=("", "deflate", "zstd")):
    """Each compressor before what encrypts, which --codec may know by another name."""
    return [Way(",".join(filter(None, [compressor, name or cipher])), compressor, cipher) for compressor in compressors]


PLAIN = Way("identity")
DEFLATE, DEFLATE_9 = Way("deflate", "deflate"), Way("deflate", "deflate", level="9")
ZSTD, ZSTD_19 = Way("zstd", "zstd"), Way("zstd", "zstd", level="19")
COMPRESSING = [DEFLATE, DEFLATE_9, ZSTD, ZSTD_19]


@dataclass(frozen=True)
class Kind:
    """A volume, all ways to write it, and what contradicts it: options, and the reason that is told."""
    ways: list
    refused: list
    options: tuple = ()                 # at each mount
    made: tuple = ()                    # at the first one
    format: int = 1


NONSENSE = [(["--codec=deflate", "--compress"], "leave one out"), (["--codec=nosuch"], "nosuch")]
ORDER = "must come before what encrypts"
NOT_FORMAT_1 = "format 1.*s3backer does not know"
NOT_FORMAT_2 = "cannot authenticate what format 2 demands"
ONE_CIPHER = "one that encrypts"
OPENS_NOTHING = "it is not authenticated"
WOULD_BE_PLAIN = "would write blocks that are not"
OPEN = Kind(
    [PLAIN, Way(""), *COMPRESSING],
    [*NONSENSE, (["--codec=deflate,aes"], "needs a password"), (["--codec=aes", *PASSWORD], OPENS_NOTHING),
     (["--codec=zstd,encrypt-AES-256-CBC", *PASSWORD], OPENS_NOTHING), (["--encrypt", *PASSWORD], OPENS_NOTHING),
     (["--codec=deflate", *PASSWORD], "volume is not encrypted"), (["--codec=xaes-256-gcm", *PASSWORD], NOT_FORMAT_1),
     (["--codec=aes,deflate", *PASSWORD], ORDER), (["--codec=zstd", "--format=2"], "format 1 here")])
SEALED = Kind(
    # A list that s3backer could not read is never written: see the last one.
    [*ways("encrypt-AES-128-CBC", "aes"), *ways("encrypt-AES-256-CBC"), *ways("encrypt-DES-EDE3-CBC", "Encrypt-des-ede3-cbc"),
     *ways("encrypt-ARIA-256-CBC", compressors=["zstd"]), Way("deflate,encrypt-CAMELLIA-256-CBC", "", "encrypt-CAMELLIA-256-CBC")],
    [*NONSENSE, (["--codec=deflate"], WOULD_BE_PLAIN), (["--codec=zstd"], WOULD_BE_PLAIN), (["--codec=identity"], WOULD_BE_PLAIN),
     (["--codec="], WOULD_BE_PLAIN), (["--compress"], WOULD_BE_PLAIN), (["--codec=zstd,xaes-256-gcm"], NOT_FORMAT_1),
     (["--codec=xchacha20-poly1305"], NOT_FORMAT_1), (["--codec=aes,zstd"], ORDER),
     (["--codec=aes,encrypt-AES-256-CBC"], ONE_CIPHER), (["--codec=deflate,aes", "--format=2"], "format 1 here")],
    PASSWORD)
LIST_MAX = 31                           # characters that s3backer can read
OPEN_2 = Kind(
    [PLAIN, *COMPRESSING],
    [*NONSENSE, (["--format=1"], "format 2"), (["--codec=xchacha20-poly1305"], "xchacha20-poly1305"), (["--codec=deflate,aes"], "volume says that it is not encrypted"),
     *((option, "says that it is not encrypted")
       for option in (["--codec=zstd,xaes-256-gcm", *PASSWORD], ["--codec=deflate,aes", *PASSWORD], ["--codec=zstd", *PASSWORD]))],
    made=("--format=2",), format=2)


def sealed_2(cipher, other):
    """Of format 2.  One encryption may be within another, but the volume goes by the outermost."""
    return Kind(
        [*ways(cipher), *ways(f"{other}, {cipher}", f"{other},{cipher}", ["zstd"])],
        [*NONSENSE, (["--format=1"], "format 2"), ([f"--codec={cipher},zstd"], ORDER),
         ([f"--codec=zstd,{cipher}", "--encrypt"], "leave one out"), (["--codec=deflate,aes"], NOT_FORMAT_2),
         ([f"--codec=encrypt-AES-256-CBC,{cipher}"], NOT_FORMAT_2), (["--encrypt"], NOT_FORMAT_2),
         *((option, f"encrypted with {cipher}") for option in (
             ["--codec=zstd"], ["--codec=identity"], ["--codec="], ["--compress"], [f"--codec={other}"],
             [f"--codec={cipher},{other}"]))],
        PASSWORD, QUICK_KEY, 2)


XAES, XCHACHA = sealed_2("xaes-256-gcm", "xchacha20-poly1305"), sealed_2("xchacha20-poly1305", "xaes-256-gcm")


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
        self.begin(OPEN)

    def begin(self, kind):
        self.kind = kind
        self.volume = disk.Disk(self, str(BLOCKS * BLOCK), str(BLOCK), *kind.options)
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
        is_noise = self.kinds.get(block) == "noise"      # and stays it: the same words twice could be compressed
        data = self.random.randbytes(100) if is_noise else b"a part of a block, which is unlike any other %d" % begin
        self.model[begin:begin + len(data)] = data
        disk.write_at(self.volume.file, begin, data)
        if self.kinds.get(block, "zeros") == "zeros":
            self.kinds[block] = "text"
        self.ways[block] = way

    def check_disk(self, when):
        self.assertEqual(disk.read_at(self.volume.file, 0, len(self.model)) == self.model, True, when)

    def check_store(self, blocks=None):
        """Each object is what its codecs make of the block, and says so."""
        for block in sorted(self.ways if blocks is None else blocks):
            path, plain = self.object_of(block), bytes(self.model[block * BLOCK:(block + 1) * BLOCK])
            way = self.ways[block]
            with self.subTest(block=block, way=way, kind=self.kinds[block]):
                if self.kinds[block] == "zeros" and block > 0:
                    self.assertFalse(path.exists())
                    continue
                body, encoding = path.read_bytes(), way.encoding(self.kinds[block] != "noise")
                self.assertEqual(encoding_of(path), encoding)
                if self.kind.format == 2:
                    list_end = 16 + body[5]
                    self.assertEqual((body[:4], body[16:list_end].decode()), (b"bkd2", encoding.replace(" ", "")))
                    body = body[list_end:]
                is_compressed = encoding.split(",")[0] in ("deflate", "zstd")
                self.assertEqual(len(body) < BLOCK, is_compressed)
                if way.cipher:
                    self.assertNotIn(plain[:16], body)
                elif not is_compressed:
                    self.assertEqual(body == plain, True)
                elif way.compressor == "deflate":
                    self.assertEqual(body == zlib.compress(plain, int(way.level or 6)), True)
                elif shutil.which("zstd"):
                    self.assertEqual(unzstd(body) == plain, True)

    def stored(self):
        """Block -> digest of its object, and all that is beside it."""
        return {int(name, 16): digest for name, digest in self.volume.store.snapshot().items() if re.fullmatch("[0-9a-f]{8}", name)}

    # --- a mix of all chains

    def unsaid(self):
        """How blocks are written without --codec: in s3backer's format as the first one is, in format 2 as the volume was made."""
        if self.kind.format == 2:
            return Way(self.made.codec, self.made.compressor, self.made.cipher)
        *compressor, cipher = encoding_of(self.object_of(0)).split(", ")
        if "encrypt" not in cipher:
            return PLAIN
        is_too_long = len(f"deflate,{cipher}") > LIST_MAX
        return Way("", *(compressor or ["" if is_too_long else "deflate"]), cipher)

    def use(self, way, keep=None):
        """One mount: some blocks are written, whole or in part, and are stored in this way; all others stay as they are."""
        before = self.stored()
        is_first = not self.ways
        self.volume.mount(*(self.kind.made if is_first else ()), *(way.options if way else ()))
        if is_first:
            self.made, self.ways[0], self.kinds[0] = way, way, "zeros"      # stored at once, for the sizes
        way = way or self.unsaid()
        self.check_disk("before")
        free = BLOCKS - len(self.kind.ways)
        whole, part = self.random.sample(range(free), self.random.randint(4, 12)), self.random.sample(range(free), 4)
        for block in whole:
            self.write(way, block, self.random.choice(["text", "text", "noise", "zeros"]))
        for block in part:
            self.write_part(way, block)
        if keep is not None:
            self.write(way, free + keep, "text")
        self.check_disk("after")
        self.volume.umount()
        touched = {*whole, *part, *([] if keep is None else [free + keep]), *([0] if is_first else [])}
        self.check_store(touched)
        after = self.stored()
        for block in {*before, *after} - touched:
            self.assertEqual(after.get(block), before.get(block), f"block {block} was not written, and has changed")

    def read_only(self, way):
        before = self.volume.store.snapshot()
        self.volume.mount("--readOnly", *(way.options if way else ()))
        self.check_disk("read only")
        self.volume.umount()
        self.assertEqual(self.volume.store.snapshot(), before)

    def check_refused(self, options, reason):
        """One sentence, and nothing has changed."""
        before = self.volume.store.snapshot()
        for mode in self.random.sample([[], ["--readOnly"]], disk.pick(1, 2)):
            with self.subTest(refused=[*options, *mode]):
                status, text = self.volume.refused(*options, *mode)
                self.assertGreater(status, 0, text)
                self.assertNotEqual(status, 99, text)
                self.assertEqual(len(text.splitlines()), 1, text)
                self.assertRegex(text, reason)
                self.assertEqual(self.volume.store.snapshot(), before)

    def mix(self, kind):
        self.begin(kind)
        first, *order = self.random.sample([*enumerate(kind.ways)], len(kind.ways))
        order += [(None, self.random.choice([*kind.ways, None])) for _ in range(disk.pick(0, 30))]
        self.random.shuffle(order)
        for keep, way in [first, *order, (None, None)]:
            with self.subTest(way=way):
                self.use(way, keep)             # one block for each way is not written again
        stored = {encoding_of(self.object_of(block)) for block in self.stored()}
        self.assertLessEqual({way.encoding(True) for way in kind.ways}, stored, "the blocks are no mix of all")
        self.check_store()
        for options, reason in kind.refused:
            self.check_refused(options, reason)
        for way in self.random.sample([None, *kind.ways], disk.pick(1, len(kind.ways))):
            self.read_only(way)

    def test_mix_where_nothing_encrypts(self):
        self.mix(OPEN)

    def test_mix_of_s3backers_encryption(self):
        self.mix(SEALED)

    def test_mix_in_format_2(self):
        self.mix(OPEN_2)

    def test_mix_with_xaes_256_gcm(self):
        self.mix(XAES)

    def test_mix_with_xchacha20_poly1305(self):
        self.mix(XCHACHA)

    # --- what else there is to say

    def test_key_lengths_of_before(self):
        """The first block does not tell with what --keyLength another cipher was used once; its blocks do."""
        self.begin(SEALED)
        *_, old, _ = ways("encrypt-AES-256-CBC")
        first, *_ = ways("encrypt-AES-128-CBC")
        for way, more, blocks in ((old, ["--keyLength=64"], range(1, 9)), (first, [], [0, 1]), (old, [], [2, 20])):
            self.volume.mount(*way.options, *more)
            for block in blocks:
                self.write(way, block, "text")
            self.check_disk(way)
            self.write_part(way, blocks[-1] - 1)
            self.volume.umount()
        self.volume.mount()
        self.check_disk("in the end")
        self.volume.umount()

    def test_chains_that_no_volume_has(self):
        """Nothing is made."""
        for options, reason in ((["--codec=zstd,aes", "--format=2"], NOT_FORMAT_2), (["--codec=aes,xaes-256-gcm"], NOT_FORMAT_2),
                                (["--codec=xchacha20-poly1305,encrypt-AES-256-CBC"], NOT_FORMAT_2),
                                (["--codec=aes,encrypt-AES-256-CBC"], ONE_CIPHER), (["--codec=aes,aes"], ONE_CIPHER),
                                (["--codec=aes,deflate"], ORDER), (["--codec=xaes-256-gcm,zstd"], ORDER)):
            self.check_refused([*options, *PASSWORD, *QUICK_KEY], f"{reason}|there is no volume here")
        self.assertEqual(self.volume.store.objects(), [])

    def test_zeros_under_a_codec_cost_nothing(self):
        self.volume.mount(*ZSTD.options)
        self.write(ZSTD, 3, "text")
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

        damages = [(DEFLATE, flip, "incorrect data check"), (DEFLATE, cut, "ends early"),
                   (DEFLATE, bomb, f"holds more than {BLOCK} bytes"), (DEFLATE, short, f"{BLOCK - 1} bytes instead of {BLOCK}"),
                   (DEFLATE, said(b"zstd"), "does not begin as a zstd frame"), (DEFLATE, silent, "bytes where a block has"),
                   (DEFLATE, said(b"deflate, nosuch"), "nosuch"),
                   (ZSTD, lambda path: flip(path, 0), "does not begin as a zstd frame"), (ZSTD, cut, "ends early"),
                   (ZSTD, longer, "4 bytes follow the frame"), (ZSTD, said(b"deflate"), "incorrect header check")]
        for block, (way, _, _) in enumerate(damages, 1):
            if block == 1 or damages[block - 2][0] != way:
                if block > 1:
                    self.volume.umount()
                self.volume.mount(*way.options)
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
            self.write(PLAIN, block, "text")
        self.check_disk("written anew")
        self.volume.umount()
        self.check_store()


if __name__ == "__main__":
    disk.main()
