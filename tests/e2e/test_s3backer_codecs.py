#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The real s3backer of Debian and ours by turns over the same volumes, compressed and encrypted, with an ext4 on each.

Theirs is given its options at each mount; ours the password, and finds the rest."""
import contextlib
import shutil
import sys

import disk
import s3backer

SIZE = "8M"
PASSWORD = "correct horse, battery staple"

# label: (s3backer's options, what ours writes then, block size, below a prefix, hashed names).  Each of the short form has
# other names and sizes; the long form has all of them for each.
PLACES = [("1M", True, False), ("64K", False, False), ("64K", True, False), ("4K", True, True), ("1M", False, True),
          ("64K", False, True)]
CODECS = {
    "plain": ([], ""),
    "compress": (["--compress"], "deflate"),
    "compress-9": (["--compress=9"], "deflate"),
    "encrypt": (["--encrypt"], "deflate, encrypt-AES-128-CBC"),
    "aes-256": (["--encrypt=AES-256-CBC"], "deflate, encrypt-AES-256-CBC"),
    "3des": (["--encrypt=DES-EDE3-CBC"], "deflate, encrypt-DES-EDE3-CBC"),
    "key-64": (["--encrypt=AES-128-CBC", "--keyLength=64"], "deflate, encrypt-AES-128-CBC"),
    "key-32": (["--encrypt=aes-128-cbc", "--keyLength=32"], "deflate, encrypt-AES-128-CBC"),
    "aria": (["--encrypt=ARIA-256-CBC"], "deflate, encrypt-ARIA-256-CBC"),
}
SHORT = {"theirs": ("plain", "compress", "compress-9", "encrypt", "aes-256", "3des", "key-64"),
         "ours": ("plain", "compress", "encrypt", "aes-256", "3des", "key-64")}


def rows(whose):
    return [(label, *place) for number, label in enumerate(CODECS)
            for place in (PLACES if disk.LONG else [PLACES[number % len(PLACES)]])
            if disk.LONG or label in SHORT[whose]]


# With "deflate," before it this list is longer than what s3backer can read.
TOO_LONG = "CAMELLIA-256-CBC"


class Interop(disk.Story):
    limit_seconds = 200

    def setUp(self):
        super().setUp()
        self.password_file = self.path("password")
        self.password_file.write_text(PASSWORD + "\n")

    def begin(self, block_size, has_prefix, is_hashed):
        self.store = disk.new_store(self)
        self.names = ["--blockHashPrefix"] if is_hashed else []
        self.block_size, self.trees = block_size, {}
        if not has_prefix:                          # a prefix without a slash at its end, by the option
            self.store.prefix = self.store.prefix.removesuffix("/") + "-"
            self.store.location = self.store.bucket
            self.names.append(f"--prefix={self.store.prefix}")

    # --- an ext4 on whoever's file

    @contextlib.contextmanager
    def filesystem(self, file, is_new=False, options=None):
        loop = disk.Loop(self, file)
        if is_new:
            disk.run("mkfs.ext4", "-q", "-N", "128", "-O", "^has_journal", loop.device)
        else:
            disk.run("e2fsck", "-fn", loop.device)
        where = self.mount(loop.device, "ext4", options)
        yield where
        self.umount(where)
        disk.run("e2fsck", "-fn", loop.device)
        loop.detach()

    def write_tree(self, name):
        """Whoever it is, everything so far is right, and then a tree more is there."""
        def use(file):
            with self.filesystem(file, is_new=not self.trees) as where:
                self.assertEqual(disk.checksums(where), self.trees, f"before {name}")
                (where / name).mkdir()
                disk.make_tree(where / name, name, files=disk.pick(20, 60), bytes_max=60 * disk.KIB)
                (where / name / "noise").write_bytes(self.random.randbytes(300 * disk.KIB))
                (where / name / "text").write_bytes(b"%s says the same again and again\n" % name.encode() * 9000)
                if self.trees:                      # a file of before in other words
                    path = sorted(key for key, kind in self.trees.items() if "/f" in key and not kind.startswith("->"))[0]
                    (where / path).write_bytes(name.encode() * 3000)
                self.trees = disk.checksums(where)
        return use

    def read_trees(self, file):
        with self.filesystem(file, options="ro") as where:
            self.assertEqual(disk.checksums(where), self.trees)

    # --- the two programs

    def theirs(self, options, use):
        tls = [option for option in self.store.options if option.startswith("--cacert=")]
        access = next(option for option in self.store.options if option.startswith("--accessFile="))
        encrypts = any(option.startswith("--encrypt") for option in options)
        names = self.names if any(name.startswith("--prefix=") for name in self.names) \
            else [*self.names, f"--prefix={self.store.prefix}"]
        s3backer.use_disk(self, use, "--blockCacheThreads=20", f"--baseURL={self.store.endpoint}", *tls, access,
                          f"--size={SIZE}", f"--blockSize={self.block_size}", *names,
                          *options, *([f"--passwordFile={self.password_file}"] if encrypts else []), self.store.bucket)

    def ours(self, options, use, is_new=False):
        """Of options, ours gets what s3backer got of a new volume, of another the password alone; and what compresses."""
        volume = disk.Disk(self, SIZE, self.block_size, *self.names, store=self.store)
        volume.is_new = is_new
        if any(option.startswith("--encrypt") for option in options):
            options = [*(options if is_new else []), f"--passwordFile={self.password_file}"]
        volume.mount(*options)
        self.assertEqual(volume.file.stat().st_size, disk.sizeof(SIZE))
        use(volume.file)
        stats = volume.stats()
        volume.umount()
        return stats

    def encodings(self):
        """Content-Encoding -> how many blocks."""
        found = {}
        for name, head in self.store.heads().items():
            encoding = head.get("ContentEncoding", "")
            found[encoding] = found.get(encoding, 0) + 1
            self.assertEqual("encrypt" in encoding, "s3backer-hmac" in head["Metadata"], name)
        return found

    def check_encodings(self, encoding):
        """All as they should be; but ours does not keep what compression makes no smaller."""
        declined = encoding.removeprefix("deflate").removeprefix(", ")
        found = set(self.encodings())
        self.assertIn(encoding, found)
        self.assertLessEqual(found, {encoding, declined})

    # --- the stories

    def test_made_by_them(self):
        for label, *place in rows("theirs"):
            options, encoding = CODECS[label]
            with self.subTest(label, place=place):
                self.begin(*place)
                self.theirs(options, self.write_tree("theirs"))
                self.assertEqual(set(self.encodings()), {encoding})
                self.ours(options, self.write_tree("ours"))
                self.theirs(options, self.write_tree("theirs-again"))
                before = self.store.snapshot()
                self.ours([*options, "--readOnly"], self.read_trees)
                self.assertEqual(self.store.snapshot(), before)
                self.check_encodings(encoding)

    def test_made_by_us(self):
        for label, *place in rows("ours"):
            options, encoding = CODECS[label]
            with self.subTest(label, place=place):
                self.begin(*place)
                self.ours(options, self.write_tree("ours"), is_new=True)
                self.check_encodings(encoding)
                self.theirs(options, self.write_tree("theirs"))
                self.ours(options, self.write_tree("ours-again"))
                self.check_encodings(encoding)

    def test_a_list_that_is_too_long_for_them(self):
        """s3backer writes it and cannot read it.  We read it, and write none such."""
        options, plain = [f"--encrypt={TOO_LONG}"], f"encrypt-{TOO_LONG}"
        with self.subTest("made by them"):
            self.begin("64K", True, False)
            self.theirs(options, self.write_tree("theirs"))
            self.assertEqual(set(self.encodings()), {f"deflate, {plain}"})
            self.ours(options, self.write_tree("ours"))
            self.assertEqual(set(self.encodings()), {f"deflate, {plain}", plain})
            self.ours(options, self.read_trees)
        with self.subTest("made by us"):
            self.begin("64K", True, False)
            self.ours(options, self.write_tree("ours"), is_new=True)
            self.assertEqual(set(self.encodings()), {plain})
            self.theirs([*options, "--readOnly"], self.read_trees)

    def test_what_does_not_open_theirs(self):
        """One sentence, and nothing has changed."""
        self.begin("64K", True, False)
        self.theirs(["--encrypt"], lambda file: disk.write_at(file, 0, b"theirs" * 1000))
        volume = disk.Disk(self, SIZE, "64K", store=self.store)
        volume.is_new = False
        before = self.store.snapshot()
        for options, words in (([], "encrypt-AES-128-CBC.*--password"),
                               (["--password=wrong"], "password does not open the volume"),
                               ([f"--passwordFile={self.password_file}", "--keyLength=64"], "password does not open the volume"),
                               ([f"--passwordFile={self.password_file}", "--passwordSalt=another/place"],
                                "password does not open the volume"),
                               ([f"--passwordFile={self.password_file}", "--codec=zstd"], "encrypted.*zstd"),
                               ([f"--passwordFile={self.password_file}", "--codec=xaes-256-gcm"], "format 1.*xaes-256-gcm")):
            with self.subTest(options=options):
                status, text = volume.refused(*options)
                self.assertGreater(status, 0)
                self.assertEqual(len(text.splitlines()), 1, text)
                self.assertRegex(text, words)
                self.assertEqual(self.store.snapshot(), before)


if __name__ == "__main__":
    if shutil.which("s3backer") is None:
        print("skipped: no s3backer", file=sys.stderr)
        sys.exit(disk.SKIPPED)
    if not disk.IS_REMOTE:
        print("skipped: s3backer encrypts only on a server", file=sys.stderr)
        sys.exit(disk.SKIPPED)
    disk.main()
