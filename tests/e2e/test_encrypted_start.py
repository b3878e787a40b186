#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A volume of s3backer's format whose first block, whose tokens or whose encryption are missing: nobody writes to an encrypted
one without the password, or with another one, and what is written is read again."""
import os

import disk

BLOCK = 16384
BLOCKS = 40
SIZES = ["--noAutoDetect", f"--size={BLOCK * BLOCKS}", f"--blockSize={BLOCK}"]
ENCODING = "user.bucketdisk.encoding"
WORD, OTHER = "--password=the right one", "--password=another one"
DEFAULT = "--defaultContentEncoding=deflate,encrypt-AES-128-CBC"


class EncryptedStart(disk.Story):
    def volume(self, *options):
        volume = disk.Disk(self, str(BLOCK * BLOCKS), str(BLOCK)).mount(*options)
        self.data = bytes(BLOCK) + self.random.randbytes(5 * BLOCK // 2).hex().encode() + bytes(BLOCK * (BLOCKS - 6))
        disk.write_at(volume.file, 0, self.data)
        volume.umount()
        return volume

    def assert_refused(self, volume, words, *options):
        before = volume.store.snapshot()
        for mode in ([], ["--readOnly"]):
            status, text = volume.refused(*options, *mode)
            self.assertGreater(status, 0)
            self.assertRegex(text, words)
            self.assertEqual(text.count(": error: "), 1, text)
        self.assertEqual(volume.store.snapshot(), before, "a refused mount changed the store")

    def assert_opens(self, volume, *options):
        for mode in (["--readOnly"], [], []):
            volume.mount(*options, *mode)
            self.assertEqual(disk.read_at(volume.file, 0, len(self.data)), self.data)
            volume.umount()

    def test_first_block_is_absent(self):
        """As s3backer leaves it when it is zeros."""
        volume = self.volume("--encrypt", WORD)
        for sizes in (SIZES, SIZES[1:]):
            (volume.store.path / "00000000").unlink()
            self.assert_refused(volume, "is encrypted.*give --password-file", *sizes)
            self.assert_refused(volume, "password does not open the volume", "--encrypt", OTHER, *sizes)
            self.assert_refused(volume, "password does not open the volume", OTHER, *sizes)
            self.assert_opens(volume, WORD, *sizes)
            self.assertIn("encrypt-AES-128-CBC", os.getxattr(volume.store.path / "00000000", ENCODING).decode())

    def test_tokens_are_lost(self):
        """By a store that drops Content-Encoding."""
        volume = self.volume("--encrypt", WORD)
        names = volume.store.blocks()

        def lose():
            for name in names:
                path = volume.store.path / name
                if path.exists() and ENCODING in os.listxattr(path):
                    os.removexattr(path, ENCODING)
        lose()
        for first in (True, False):
            with self.subTest(first=first):
                if not first:
                    (volume.store.path / "00000000").unlink()
                sizes = [] if first else SIZES[1:]
                self.assert_refused(volume, "is lost.*--defaultContentEncoding", *sizes)
                self.assert_refused(volume, "is lost.*--defaultContentEncoding", WORD, *sizes)
                self.assert_refused(volume, "give --password-file", DEFAULT, *sizes)
                self.assert_refused(volume, "password does not open the volume", DEFAULT, OTHER, *sizes)
                self.assert_opens(volume, DEFAULT, WORD, *sizes)
                lose()

    def test_first_block_is_plain(self):
        """It is no try of a password where others are encrypted."""
        volume = self.volume("--encrypt", WORD)
        first = volume.store.path / "00000000"
        for name in (ENCODING, "user.bucketdisk.a.s3backer-hmac"):
            os.removexattr(first, name)
        first.write_bytes(self.data[:BLOCK])
        self.assert_refused(volume, "opens none of the 5 encrypted blocks", "--encrypt", OTHER, "--accept-plain")
        self.assert_refused(volume, "volume is not encrypted", WORD)
        self.assert_opens(volume, "--encrypt", WORD, "--accept-plain")
        self.assert_opens(volume, WORD)

    def test_default_of_a_store_that_keeps_no_tokens(self):
        """What is written under it is read by it."""
        default = "--defaultContentEncoding=deflate"
        for options in (["--defaultContentEncoding=zstd"], [default], [default, "--compress"], [default, "--codec=deflate"]):
            with self.subTest(options=options):
                volume = self.volume(*options)
                self.data = self.data[:6 * BLOCK] + self.random.randbytes(BLOCK) + self.data[7 * BLOCK:]   # grows by it
                volume.mount(*options)
                disk.write_at(volume.file, 0, self.data)
                volume.umount()
                self.assert_opens(volume, *options)
                for path in volume.store.path.iterdir():
                    if ENCODING in os.listxattr(path):
                        os.removexattr(path, ENCODING)
                self.assert_opens(volume, *options)
        before = volume.store.snapshot()
        for options in (["--codec=zstd"], ["--codec=identity"], ["--codec=deflate,deflate"]):
            status, text = volume.refused(default, *options)
            self.assertGreater(status, 0)
            self.assertRegex(text, "let --codec be the same|one codec that compresses")
        self.assertEqual(volume.store.snapshot(), before)
        volume.mount(default, "--readOnly", "--codec=zstd")
        volume.umount()

    def test_encryption_is_new(self):
        """Its first mount with a password makes it the volume's."""
        volume = self.volume()
        self.assert_refused(volume, "not authenticated", "--encrypt", WORD)
        volume.mount("--encrypt", WORD, "--accept-plain", "--readOnly")
        self.assertEqual(disk.read_at(volume.file, 0, len(self.data)), self.data)
        volume.umount()
        self.assertEqual(set(os.listxattr(volume.store.path / "00000001")) & {ENCODING}, set())
        volume.mount("--encrypt", WORD, "--accept-plain")
        volume.umount()
        for options in ([], ["--accept-plain"], ["--codec=zstd"]):
            self.assert_refused(volume, "is encrypted", *options)
        for options in (["--encrypt", OTHER], ["--encrypt", OTHER, "--accept-plain"], [OTHER, "--accept-plain"]):
            self.assert_refused(volume, "password does not open the volume", *options)
        self.assert_opens(volume, WORD, "--accept-plain")


if __name__ == "__main__":
    disk.main()
