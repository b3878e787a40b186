# SPDX-License-Identifier: Apache-2.0
"""Debian's s3backer, for stories about both: its disk used once, and an ext4 to put there."""
import subprocess

import disk

# Its own delays are for stores of long ago.
QUICK = ("--blockCacheWriteDelay=0", "--minWriteDelay=0", "--md5CacheSize=0", "--md5CacheTime=0")


def use_disk(story, use, *command):
    """Mount with these options and the location, use the file, unmount, and wait until it has ended; what `use` gives."""
    mountpoint = story.directory("s3backer")
    thing = disk.RECORD.add("mount", mountpoint)
    log = story.path("s3backer").with_suffix(".log")
    with open(log, "wb") as output:
        daemon = story.start("s3backer", "-f", *QUICK, *command, mountpoint, stdin=subprocess.DEVNULL,
                             stdout=output, stderr=output, env=disk.environment(story))
    disk.wait_until("s3backer's file", lambda: daemon.poll() is not None
                    or disk.is_mounted(mountpoint) and (mountpoint / "file").exists(), 60)
    story.assertIsNone(daemon.poll(), log.read_text(errors="replace")[-2000:])
    result = use(mountpoint / "file")
    disk.run("umount", mountpoint)
    disk.RECORD.drop(thing)
    story.assertEqual(story.reap(daemon), 0)
    return result


def ext4_image(story, size):
    """The bytes of an ext4 with a tree in it."""
    tree, image = story.directory("tree"), story.path("image")
    disk.make_tree(tree, disk.SEED, files=60, bytes_max=30 * disk.KIB)
    with open(image, "wb") as file:
        file.truncate(disk.sizeof(size))
    disk.run("mkfs.ext4", "-q", "-d", tree, image)
    return image.read_bytes()
