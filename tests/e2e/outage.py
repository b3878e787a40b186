# SPDX-License-Identifier: Apache-2.0
"""A store that is gone for a while, for the stories about what becomes of what is not stored then."""
import contextlib
import os
import shutil
import signal
import time

import disk
import faulty

BLOCK = 64 * disk.KIB
BLOCKS = 64
PAGE = 4096
TOKEN = "s3backer-mounted"
PUNCH = disk.FALLOC_PUNCH_HOLE | disk.FALLOC_KEEP_SIZE

# A process of its own, for a descriptor in use keeps a disk from being unmounted.
WRITE_AND_SYNC = """
import errno, os, sys
file, offset, note = sys.argv[1], int(sys.argv[2]), sys.argv[3]
descriptor = os.open(file, os.O_RDWR)
try:
    os.pwrite(descriptor, b"w" * 65536, offset)
    os.fsync(descriptor)
    said = "done"
except OSError as error:
    said = errno.errorcode[error.errno]
open(note, "w").write(said)
os._exit(0)
"""


class Outage(disk.Story):
    """What these stories are told with."""

    is_cut = False

    def setUp(self):
        super().setUp()
        self.server = faulty.FaultyServer(self)
        self.cache = self.path("cache")
        self.data = bytearray()
        self.loop = self.latest = None

    @contextlib.contextmanager
    def round(self, **what):
        """One of several, after which nothing is left of its volume: of one that fails what it made is removed, too."""
        with self.subTest(**what):
            try:
                yield
            except BaseException:
                self.back()
                with contextlib.suppress(AssertionError):
                    self.detach()
                if self.latest is not None and self.latest.daemon.poll() is None:
                    self.latest.kill9()
                shutil.rmtree(self.spills, ignore_errors=True)
                raise
            finally:
                self.server.command(empty=True)

    def volume(self, *options, with_file=True, fill=True):
        """A volume full of random bytes, mounted."""
        file = [f"--block-cache-file={self.cache}"] if with_file else []
        volume = disk.Disk(self, BLOCKS * BLOCK, "64K", "--timeout=1s", "--initialRetryPause=50ms", "--settle-time=1s", *file, *options,
                           store=faulty.FaultyStore(self.server)).mount()
        self.latest = volume
        self.data = bytearray(self.random.randbytes(BLOCKS * BLOCK) if fill else bytes(BLOCKS * BLOCK))
        if fill:
            disk.write_at(volume.file, 0, self.data)
        return volume

    def outage(self, volume):
        """Nothing is answered any more.  What is written through a loop device syncs nothing, but the making of one does."""
        self.loop = disk.Loop(self, volume.file)
        if self.is_cut:                 # nothing arrives; of one that is stopped it is carried out when it goes on
            self.server.fault("reset")
            return
        self.server.process.send_signal(signal.SIGSTOP)

    def detach(self):
        if self.loop is not None:
            self.loop.detach()
            self.loop = None

    def over(self):
        self.detach()
        self.back()

    def back(self):
        if self.is_cut:
            self.server.clear()
            return
        self.server.process.send_signal(signal.SIGCONT)

    def change(self, offset, data=None, zeros=0):
        """Write, or punch a hole."""
        with disk.opened(self.loop.device) as device:
            if zeros:
                disk.fallocate(device, PUNCH, offset, zeros)
            else:
                os.pwrite(device, data, offset)
        data = bytes(zeros) if zeros else data
        self.data[offset:offset + len(data)] = data

    def made_to_stop(self, volume, seconds=20):
        """By as many signals as it takes; its exit status."""
        self.detach()
        end = time.monotonic() + seconds
        while volume.daemon.poll() is None and time.monotonic() < end:
            volume.daemon.send_signal(signal.SIGTERM)
            time.sleep(0.5)
        return volume.ended(None, 1)

    def spilled(self):
        return sorted(self.spills.iterdir()) if self.spills.exists() else []

    def assert_is(self, volume):
        found = disk.read_at(volume.file, 0, len(self.data))
        wrong = [block for block in range(BLOCKS) if found[block * BLOCK:(block + 1) * BLOCK] != self.data[block * BLOCK:(block + 1) * BLOCK]]
        self.assertEqual(wrong, [])

    def assert_stored(self, volume):
        """By the store alone, which nobody has mounted."""
        self.assertNotIn(TOKEN, volume.store.objects())
        other = disk.Disk(self, volume.size, store=volume.store)
        other.is_new = False
        other.options = [option for option in volume.options if option.startswith("--password")]
        other.mount("--readOnly")
        self.assert_is(other)
        other.umount()
