#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A server of tests/servers is what a story expects: it serves plain and over TLS, on loopback alone, and its store class
tells the truth."""
import hashlib
import os
import shutil
import ssl
import sys
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
import disk

if reason := disk.missing_server():
    print(f"skipped: {reason}", file=sys.stderr)
    sys.exit(disk.SKIPPED)
try:
    import s3store
except ImportError:
    print("skipped: no boto3 (python3-boto3)", file=sys.stderr)
    sys.exit(disk.SKIPPED)

SERVER = dict(line.split("=", 1) for line in Path(os.environ["BUCKETDISK_SERVER"], "env").read_text().splitlines())


class Server(disk.Story):
    def test_store(self):
        for tls in (False, True):
            with self.subTest(tls=tls):
                store, other = s3store.S3Store(self, tls), s3store.S3Store(self, tls)
                bodies = {f"{number:08x}": self.random.randbytes(1000 + number) for number in range(30)}
                for name, body in bodies.items():
                    store.client.put_object(Bucket=store.bucket, Key=store.prefix + name, Body=body,
                                            ContentEncoding="deflate,own", Metadata={"a": "1"})
                self.assertEqual(store.objects(), sorted(bodies))
                self.assertEqual(store.blocks("0000001"), [name for name in sorted(bodies) if name.startswith("0000001")])
                self.assertEqual(store.bytes_stored(), sum(map(len, bodies.values())))
                before = store.snapshot()
                store.client.put_object(Bucket=store.bucket, Key=store.prefix + "00000000", Body=bodies["00000000"],
                                        ContentEncoding="deflate", Metadata={"a": "1"})
                after = store.snapshot()
                self.assertEqual([name for name in before if before[name] != after[name]], ["00000000"])
                self.assertEqual(other.objects(), [])

    def test_what_a_story_leaves_is_removed(self):
        store = s3store.S3Store(self, False)
        for number in range(1100):
            store.client.put_object(Bucket=store.bucket, Key=f"{store.prefix}{number:08x}", Body=b"x")
        self.assertEqual(len(store.objects()), 1100)
        self.stores.remove(store)
        store.empty()
        self.assertEqual(s3store.S3Store(self, True).client.list_objects_v2(Bucket=store.bucket, Prefix=store.prefix)["KeyCount"], 0)

    def test_the_certificate_is_of_a_private_authority(self):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with self.assertRaises(urllib.error.URLError) as caught:
            opener.open(SERVER["ENDPOINT_TLS"], timeout=10)
        self.assertIsInstance(caught.exception.reason, ssl.SSLCertVerificationError)

    def test_nobody_else_can_reach_it(self):
        processes = [int(pid) for pid in SERVER["PIDS"].strip('"').split()]
        inodes = {os.readlink(link) for pid in processes for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()
                  if os.path.lexists(link)}
        listening = [line.split() for table in ("tcp", "tcp6") for line in Path("/proc/net", table).read_text().splitlines()[1:]]
        addresses = [words[1].split(":")[0] for words in listening if words[3] == "0A" and f"socket:[{words[9]}]" in inodes]
        self.assertGreaterEqual(len(addresses), 2)
        self.assertEqual(set(addresses), {"0100007F"})

    def test_s3cmd(self):
        """A client of other people's making."""
        if shutil.which("s3cmd") is None:
            self.skipTest("no s3cmd")
        host = SERVER["ENDPOINT"].removeprefix("http://").rstrip("/")
        config, body, back = self.path("s3cfg"), self.path("body"), self.path("back")
        config.touch(0o600)
        config.write_text(f"[default]\naccess_key = {SERVER['ACCESS']}\nsecret_key = {SERVER['SECRET']}\nhost_base = {host}\n"
                          f"host_bucket = {host}\nuse_https = False\nbucket_location = {SERVER['REGION']}\n")
        body.write_bytes(self.random.randbytes(100000))
        place = f"s3://{SERVER['BUCKET']}/s3cmd-{self.tmp.name}"
        for words in (["put", body, place], ["ls", place], ["get", place, back], ["del", place]):
            disk.run("s3cmd", "-c", config, "--no-progress", *words)
        self.assertEqual(hashlib.sha256(back.read_bytes()).digest(), hashlib.sha256(body.read_bytes()).digest())


if __name__ == "__main__":
    disk.main(mounts=False)
