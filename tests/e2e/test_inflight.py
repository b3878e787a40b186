#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""64 reads are in flight at once through a loop device with direct I/O: latency is hidden by asking for more."""
import json

import disk

LATENCY, READS, DEPTH = 0.08, 1280, 64


class InFlight(disk.Story):
    def test_64_reads_through_a_direct_loop(self):
        volume = disk.Disk(self, "8M", "4K").mount()
        disk.write_at(volume.file, 0, self.random.randbytes(8 * disk.MIB))      # every block is an object
        volume.umount()
        volume.mount(**volume.store.slow_reads(LATENCY))
        loop = disk.Loop(self, volume.file, True)
        done = disk.run("fio", "--name=reads", f"--filename={loop.device}", "--rw=randread", "--bs=4k", "--direct=1",
                        "--ioengine=libaio", f"--iodepth={DEPTH}", f"--io_size={READS * 4}k", "--size=8m",
                        "--norandommap", f"--randseed={disk.SEED}", "--output-format=json")
        job = json.loads(done.stdout)["jobs"][0]
        elapsed = job["read"]["runtime"] / 1000
        highest = volume.stats()["requests_in_flight_max"]
        loop.detach()
        volume.umount()
        self.assertEqual(job["read"]["total_ios"], READS)
        # If fewer than 3/4 of the wanted number were in flight on average, this took longer.
        self.assertLess(elapsed, READS * LATENCY / (DEPTH * 3 / 4), f"at most {highest} requests were in flight")
        self.assertGreater(elapsed, READS * LATENCY / 512, "the latency was not there: this proves nothing")
        self.assertGreaterEqual(highest, DEPTH)


if __name__ == "__main__":
    disk.main()
