#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An encrypted volume of s3backer's format whose first block, whose tokens or whose encryption are missing: nobody writes to it
without the password, or with another one."""
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
            self.assertEqual(len(text.strip().splitlines()), 1, text)
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
