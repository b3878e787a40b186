#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The real s3backer of Debian and ours read each other's directories, with a filesystem on them."""
import shutil
import sys

import disk
import s3backer

SIZE = "4M"
NAMES = {"plain": [], "prefix": ["--prefix=disk_of:mine-"], "hash": ["--blockHashPrefix"],
         "both": ["--prefix=p-", "--blockHashPrefix"]}
# The test mode of 1.5.4 writes hashed names, but a new mount of it reads zeros for them (its own, too): with them it can
# only be read by us.
READABLE_BY_THEM = {label: names for label, names in NAMES.items() if "--blockHashPrefix" not in names}


class S3backer(disk.Story):
    def s3backer(self, store, block_size, names, use):
        """Each request in its test mode takes up to 0.2 s more, hence small volumes and many threads."""
        return s3backer.use_disk(self, use, "--test", "--blockCacheThreads=100", f"--size={SIZE}",
                                 f"--blockSize={block_size}", *names, store.path)

    def blocks_of(self, image, block_size):
        block = disk.sizeof(block_size)
        return sum(any(image[at:at + block]) for at in range(0, len(image), block))

    def test_their_directory_opened_by_us(self):
        for label, names in NAMES.items():
            with self.subTest(names=label):
                store, image = disk.DirStore(self), s3backer.ext4_image(self, SIZE)
                self.s3backer(store, "16K", names, lambda file: disk.write_at(file, 0, image))
                theirs = store.objects()
                self.assertEqual(len(theirs), self.blocks_of(image, "16K"))
                volume = disk.Disk(self, SIZE, "16K", *names, store=store)
                volume.mount("--readOnly")
                self.assertEqual(disk.read_at(volume.file, 0, len(image)), image)
                volume.umount()
                self.assertEqual(store.objects(), theirs, "a read-only mount changed the directory")
                # Now changed by us, and read by them again.
                volume.is_new = True
                volume.mount()
                disk.write_at(volume.file, 3 * disk.MIB + 5, b"changed by us")
                volume.umount()
                image = bytearray(image)
                image[3 * disk.MIB + 5:3 * disk.MIB + 18] = b"changed by us"
                if label in READABLE_BY_THEM:
                    found = self.s3backer(store, "16K", names, lambda file: disk.read_at(file, 0, len(image)))
                    self.assertEqual(found, image)

    def test_our_volume_read_by_them(self):
        for label, names in READABLE_BY_THEM.items():
            with self.subTest(names=label):
                image = s3backer.ext4_image(self, SIZE)
                volume = disk.Disk(self, SIZE, "64K", *names).mount()
                disk.write_at(volume.file, 0, image)
                volume.remount()
                volume.umount()
                found = self.s3backer(volume.store, "64K", names, lambda file: disk.read_at(file, 0, len(image)))
                self.assertEqual(found, image)
                # And an ext4 mounted on their file, which they write to and we read.
                def edit(file):
                    loop = disk.Loop(self, file)
                    where = self.mount(loop.device, "ext4")
                    (where / "theirs").write_text("written through s3backer")
                    self.umount(where)
                    loop.detach()
                self.s3backer(volume.store, "64K", names, edit)
                volume.is_new = True            # what they write has no sizes beside it: --size must be given
                volume.mount()
                loop = disk.Loop(self, volume.file)
                where = self.mount(loop.device, "ext4")
                self.assertEqual((where / "theirs").read_text(), "written through s3backer")
                self.umount(where)
                disk.run("e2fsck", "-fn", loop.device)
                loop.detach()
                volume.umount()

    def test_their_names_are_ours(self):
        """The same bytes give the same names of objects."""
        for label, names in NAMES.items():
            with self.subTest(names=label):
                theirs, ours = disk.DirStore(self), disk.Disk(self, SIZE, "64K", *names)

                def write(file):
                    for block in (0, 1, 9, 33, 63):
                        disk.write_at(file, block * 65536, b"x")
                self.s3backer(theirs, "64K", names, write)
                ours.mount()
                write(ours.file)
                ours.umount()
                self.assertEqual(ours.store.objects(), theirs.objects())

    def test_spelled_as_theirs(self):
        """`bucketdisk --test DIRECTORY` is the directory backend, with their command line word for word."""
        store = disk.DirStore(self)
        self.s3backer(store, "64K", [], lambda file: disk.write_at(file, 100, b"theirs"))
        volume = disk.Disk(self, SIZE, "64K", store=store)
        volume.command = lambda *options, chaos=False: [disk.BINARY, "--test", f"--size={SIZE}", "--blockSize=64K", *options]
        volume.mount()
        self.assertEqual(disk.read_at(volume.file, 100, 6), b"theirs")
        volume.umount()


if __name__ == "__main__":
    if shutil.which("s3backer") is None:
        print("skipped: no s3backer", file=sys.stderr)
        sys.exit(disk.SKIPPED)
    disk.main()
