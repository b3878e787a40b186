#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Random operations, unaligned everywhere, compared byte for byte with a model file, across remounts."""
import disk

# A new daemon for each, with another cache: none, two blocks, a few, some, larger than the disk.
CACHES = ("--blockCacheSize=0", "--blockCacheSize=1", "--blockCacheSize=3", "--blockCacheSize=40", "--blockCacheSize=1000")


class RandomOperations(disk.Story):
    limit_seconds = 400

    def compare(self, block_size, size, *options, count=None, threads=1, chaos=None, max_bytes=4 * disk.MIB, caches=CACHES):
        count = count or disk.pick(2500, 100000, remote=300)
        seed = self.random.randrange(1 << 32)
        volume = disk.Disk(self, size, block_size, *options)
        model = self.path("model")

        def operate(first, operations):
            """These operations, after which everything is compared."""
            done = disk.run(disk.RANDOMOPS, "--seed", seed, "--first", first, "--count", operations, "--threads", threads,
                            "--max-bytes", max_bytes, "--model", model, volume.file, check=False,
                            timeout=self.limit_seconds * disk.pick(2, 20))
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            volume.umount()

        piece = count // len(caches)
        for number, cache in enumerate(caches):
            volume.mount(cache, chaos=chaos)
            operate(number * piece, piece)
        volume.mount()                  # no chaos: what the last one left in the store
        operate(len(caches) * piece, 0)

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
        self.compare("64K", "4M", "--directIO", count=disk.pick(1000, 30000, remote=150), threads=8, max_bytes=300000)

    def test_latency_and_retries(self):
        """Replies out of order, and each twentieth request refused once."""
        self.compare("4K", "1M", count=disk.pick(500, 20000, remote=100), threads=4, max_bytes=64 * disk.KIB,
                     chaos=["latency=1ms", "jitter=4ms", "retry=50000", f"seed={disk.SEED}"])

    def test_lost_replies_and_stale_reads(self):
        """Writes that are done or not, nobody knows, and reads that give the version before."""
        self.compare("4K", "1M", "--settle-time=100ms", "--initialRetryPause=5ms", "--md5CacheSize=100000",
                     "--md5CacheTime=0", count=disk.pick(500, 20000, remote=100), threads=4, max_bytes=64 * disk.KIB,
                     chaos=["latency=1ms", "jitter=3ms", "retry=20000", "lost=30000", "stale=30000", f"seed={disk.SEED}"])

    def test_every_kind_of_write_back(self):
        # Over a server a daemon costs more than its operations: fewer daemons, and enough operations to fill their caches.
        caches = CACHES[1:] if disk.LONG or not disk.IS_REMOTE else CACHES[2:4]
        for options in (["--blockCacheSync"], ["--blockCacheWriteDelay=0"], ["--blockCacheMaxDirty=2"],
                        ["--blockCacheTimeout=10ms"], ["--blockCacheThreads=1", "--blockCacheWriteDelay=5s"],
                        ["--readAhead=0"], ["--blockCacheNumProtected=100"]):
            with self.subTest(options):
                self.compare("16K", "2M", *options, count=disk.pick(150, 5000, remote=60), threads=4, max_bytes=200000,
                             caches=caches)


if __name__ == "__main__":
    disk.main()
