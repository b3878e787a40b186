#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Full load over a store that misbehaves: memory and descriptors stay what they are, and no byte is wrong."""
import os
import subprocess
import time

import disk

SECONDS = disk.pick(15, 1200)
CACHE_BLOCKS = 512
SIZE = 256 * disk.MIB
# Of a million requests; and a store that is slow in no order.  (A flipped bit would go unseen: blocks without a codec have no checksum.)
CHAOS = ["latency=1ms", "jitter=5ms", "retry=10000", "busy=2000", "lost=3000", "truncate=2000", f"seed={disk.SEED}"]


class Soak(disk.Story):
    limit_seconds = SECONDS + 400

    def measure(self, volume):
        pid = volume.daemon.pid
        return (disk.status_of(pid, "VmRSS") * disk.KIB, len(os.listdir(f"/proc/{pid}/fd")), disk.status_of(pid, "Threads"))

    def test_full_load_with_chaos(self):
        volume = disk.Disk(self, SIZE, "64K", f"--blockCacheSize={CACHE_BLOCKS}", "--settle-time=100ms", "--initialRetryPause=10ms")
        volume.mount(chaos=CHAOS)
        loop = disk.Loop(self, volume.file, True)
        load = self.start("fio", "--name=load", f"--filename={loop.device}", f"--size={SIZE}", "--direct=1",
                          "--ioengine=libaio", "--iodepth=16", "--serialize_overlap=1", "--rw=randrw", "--rwmixread=40",
                          "--bsrange=4k-256k", "--fsync=200", "--verify=crc32c", "--verify_backlog=512", "--verify_fatal=1", "--verify_state_save=0",
                          "--time_based", f"--runtime={SECONDS}", f"--randseed={disk.SEED}", "--group_reporting",
                          stdout=subprocess.DEVNULL, cwd=self.tmp)
        samples = []
        started = time.monotonic()
        while load.poll() is None:
            time.sleep(SECONDS / 40)
            samples.append(self.measure(volume))
            if time.monotonic() - started > SECONDS + 300:
                self.fail("the load does not end")
        self.assertEqual(load.returncode, 0, "fio found a difference or an error")
        loop.detach()
        stats = volume.stats()
        volume.umount(seconds=200)
        self.assertGreater(stats["object_retries"], 10)
        self.assertGreater(stats["cache_evictions"], 100)
        self.assertEqual(stats["object_failures"], 0)
        settled = samples[len(samples) // 3:]
        middle = len(settled) // 2
        for what, column, slack in (("bytes of memory", 0, 16 * disk.MIB), ("descriptors", 1, 3), ("threads", 2, 1)):
            early, late = (max(sample[column] for sample in part) for part in (settled[:middle], settled[middle:]))
            print(f"{what}: at most {early}, then {late}")
            if column == 0 and disk.is_sanitized():
                slack *= 4                  # what was freed is kept for a while
            self.assertLessEqual(late, early + slack, f"{what} grow: {[sample[column] for sample in samples]}")


if __name__ == "__main__":
    disk.main()
