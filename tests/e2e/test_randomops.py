#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Random operations, unaligned everywhere, compared byte for byte with a model file, across remounts."""
import disk

PIECES = 5                              # a new daemon between them


class RandomOperations(disk.Story):
    limit_seconds = 400

    def compare(self, block_size, size, *options, count=None, threads=1, chaos=None, max_bytes=4 * disk.MIB):
        count = count or disk.pick(5000, 100000, remote=1000)
        seed = self.random.randrange(1 << 32)
        volume = disk.Disk(self, size, block_size, *options)
        model = self.path("model")
        for piece in range(PIECES):
            volume.mount(chaos=chaos)
            done = disk.run(disk.RANDOMOPS, "--seed", seed, "--first", piece * count // PIECES,
                            "--count", count // PIECES, "--threads", threads, "--max-bytes", max_bytes,
                            "--model", model, volume.file, check=False, timeout=self.limit_seconds * disk.pick(2, 20))
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            volume.umount()

    def test_blocks_of_4k(self):
        self.compare("4K", "2M", max_bytes=disk.MIB)

    def test_blocks_of_64k(self):
        self.compare("64K", "8M", max_bytes=2 * disk.MIB)

    def test_blocks_of_1m(self):
        self.compare("1M", "16M", max_bytes=3 * disk.MIB // 2)

    def test_direct_io(self):
        self.compare("64K", "8M", "--directIO", max_bytes=2 * disk.MIB)

    def test_neighbours_in_one_block(self):
        """Threads whose ranges meet inside blocks: a lost update of a partial write would show."""
        self.compare("64K", "4M", "--directIO", count=disk.pick(1500, 30000, remote=500), threads=8, max_bytes=300000)

    def test_latency_and_retries(self):
        """Replies out of order, and each twentieth request refused once."""
        self.compare("4K", "1M", count=disk.pick(800, 20000, remote=300), threads=4, max_bytes=64 * disk.KIB,
                     chaos=["latency=1ms", "jitter=4ms", "retry=50000", f"seed={disk.SEED}"])


if __name__ == "__main__":
    disk.main()
