#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Others over the same bucket: Amazon's own library, s3cmd and the real s3backer read what a mount wrote, and the other way.

Over the faulty server, without faults, which checks every signature; with BUCKETDISK_STORE over a real one."""
import hashlib
import shutil
import sys
import unittest
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

import disk
import faulty
import s3backer

BLOCK = 65536
SIZE = "4M"
BLOCKS = disk.sizeof(SIZE) // BLOCK
MEDIA_TYPE = "application/x-s3backer-block"
TOKEN = "s3backer-mounted"
KIND = disk.STORE.removesuffix("-tls")
# s3rver and our nginx do not.
HAS_VHOST = KIND in ("dir", "faulty", "ceph")
HAS_V2 = KIND in ("dir", "faulty", "ceph")


class Client(disk.Story):
    def store(self, prefix=""):
        if disk.IS_REMOTE:
            store = disk.new_store(self)
            store.prefix += prefix + "/" if prefix else ""
            store.location = f"{store.bucket}/{store.prefix.removesuffix('/')}"
            return store
        self.server = getattr(self, "server", None) or faulty.FaultyServer(self)
        store = faulty.FaultyStore(self.server, prefix)
        store.endpoint = self.server.endpoint
        store.client = self.boto3(store)
        return store

    def boto3(self, store, **more):
        access, secret = self.keys(store)
        client = boto3.session.Session().client(
            "s3", endpoint_url=store.endpoint.rstrip("/"), aws_access_key_id=access, aws_secret_access_key=secret,
            region_name="us-east-1", config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, proxies={}), **more)
        self.addCleanup(client.close)
        return client

    def option(self, store, name):
        return next(option.partition("=")[2] for option in store.options if option.startswith(f"--{name}="))

    def keys(self, store):
        with open(self.option(store, "accessFile"), encoding="ascii") as file:
            return file.read().strip().split(":")

    def s3cmd(self, store, *command):
        access, secret = self.keys(store)
        host = urlsplit(store.endpoint).netloc
        tls = ["--ssl", f"--ca-certs={self.option(store, 'cacert')}"] if store.endpoint.startswith("https") else ["--no-ssl"]
        config = self.path("s3cfg")
        config.write_text("[default]\n")
        return disk.run("s3cmd", f"--config={config}", f"--access_key={access}", f"--secret_key={secret}", f"--host={host}",
                        f"--host-bucket={host}", "--region=us-east-1", "--no-progress", *tls, *command).stdout

    def random_disk(self, holes=(3, 10, 11, 63)):
        data = bytearray(self.random.randbytes(BLOCKS * BLOCK))
        for block in holes:
            data[block * BLOCK:(block + 1) * BLOCK] = bytes(BLOCK)
        return bytes(data)

    def keys_of(self, store):
        pages = store.client.get_paginator("list_objects_v2").paginate(Bucket=store.bucket, Prefix=store.prefix)
        return [entry["Key"].removeprefix(store.prefix) for page in pages for entry in page.get("Contents", [])]


class Objects(Client):
    def test_what_a_mount_wrote(self):
        """Each block is an object of its own: its bytes, its media type, what proxies may do, and the sizes with the first."""
        store, data = self.store("written"), self.random_disk()
        volume = disk.Disk(self, SIZE, "64K", store=store).mount()
        disk.write_at(volume.file, 0, data)
        stored = [block for block in range(BLOCKS) if any(data[block * BLOCK:(block + 1) * BLOCK])]
        self.assertEqual(self.keys_of(store), [f"{block:08x}" for block in stored] + [TOKEN])
        token = store.client.get_object(Bucket=store.bucket, Key=store.prefix + TOKEN)
        self.assertRegex(token["Metadata"]["s3backer-mount-token"], "^[0-9a-f]{8}$")
        self.assertEqual(token["ContentType"], "text/plain")
        volume.umount()
        self.assertEqual(self.keys_of(store), [f"{block:08x}" for block in stored])
        for block in stored:
            found = store.client.get_object(Bucket=store.bucket, Key=f"{store.prefix}{block:08x}")
            body = found["Body"].read()
            self.assertEqual(hashlib.sha256(body).digest(),
                             hashlib.sha256(data[block * BLOCK:(block + 1) * BLOCK]).digest(), f"block {block}")
            self.assertEqual(found["ContentType"], MEDIA_TYPE)
            if KIND != "s3rver" or "CacheControl" in found:
                self.assertEqual(found["CacheControl"], "no-transform")
            self.assertNotIn("ContentEncoding", found)
            self.assertEqual(found["Metadata"], {"s3backer-filesize": str(len(data)), "s3backer-blocksize": str(BLOCK)}
                             if block == 0 else {})

    def test_read_by_s3cmd(self):
        store, data = self.store("cmd"), self.random_disk()
        volume = disk.Disk(self, SIZE, "64K", store=store).mount()
        disk.write_at(volume.file, 0, data)
        volume.umount()
        where = self.directory("fetched")
        self.s3cmd(store, "get", "--recursive", f"s3://{store.bucket}/{store.prefix}", f"{where}/")
        self.assertEqual(sorted(path.name for path in where.iterdir()), store.objects())
        for path in where.iterdir():
            at = int(path.name, 16) * BLOCK
            self.assertEqual(path.read_bytes() == data[at:at + BLOCK], True, f"{path.name} is not the disk's block")
        if KIND != "s3rver":                        # over which its `info` fails
            self.assertIn(MEDIA_TYPE, self.s3cmd(store, "info", f"s3://{store.bucket}/{store.prefix}00000001"))

    def test_what_boto3_wrote(self):
        """With sizes beside block 0 they are found; without, --size is needed; what else is beside an object does not matter."""
        data = self.random_disk(holes=(1, 3, 63))
        for label, metadata, more in (
                ("sizes", {"s3backer-filesize": str(len(data)), "s3backer-blocksize": str(BLOCK)}, []),
                ("none", {}, [f"--size={SIZE}"]),
                ("others", {"owner": "somebody else", "s3cmd-attrs": "uid:0/md5:x"}, [f"--size={SIZE}"])):
            with self.subTest(label):
                store = self.store(f"boto3-{label}")
                for block in range(BLOCKS):
                    body = data[block * BLOCK:(block + 1) * BLOCK]
                    if any(body):
                        store.client.put_object(Bucket=store.bucket, Key=f"{store.prefix}{block:08x}", Body=body,
                                                Metadata=metadata if block == 0 else {"note": "x"},
                                                ContentType="text/html" if block % 2 else "application/octet-stream")
                volume = disk.Disk(self, SIZE, "64K", store=store)
                volume.is_new = False
                volume.mount("--blockCacheSize=0", *more)
                self.assertEqual(volume.file.stat().st_size, len(data))
                self.assertEqual(disk.read_at(volume.file, 0, len(data)) == data, True)
                # Changed behind its back, as nobody should: without a cache a fresh read sees it.
                changed = self.random.randbytes(BLOCK)
                store.client.put_object(Bucket=store.bucket, Key=f"{store.prefix}{5:08x}", Body=changed)
                self.assertEqual(disk.read_at(volume.file, 5 * BLOCK, BLOCK) == changed, True)
                disk.write_at(volume.file, BLOCK + 100, b"ours")
                volume.umount()
                body = store.client.get_object(Bucket=store.bucket, Key=f"{store.prefix}{1:08x}")["Body"].read()
                self.assertEqual(body, bytes(100) + b"ours" + bytes(BLOCK - 104))

    def test_what_s3cmd_wrote(self):
        store, data = self.store("put"), self.random_disk(holes=())
        where = self.directory("blocks")
        for block in range(8):
            (where / f"{block:08x}").write_bytes(data[block * BLOCK:(block + 1) * BLOCK])
        self.s3cmd(store, "put", *sorted(where.iterdir()), f"s3://{store.bucket}/{store.prefix}")
        volume = disk.Disk(self, SIZE, "64K", store=store).mount()
        self.assertEqual(disk.read_at(volume.file, 0, 9 * BLOCK) == data[:8 * BLOCK] + bytes(BLOCK), True)
        volume.umount()


class Ways(Client):
    """How requests are signed, where the bucket's name stands, and what keys may look like."""

    def works(self, store, *options):
        data = self.random_disk()
        volume = disk.Disk(self, SIZE, "64K", *options, store=store).mount()
        disk.write_at(volume.file, 0, data)
        with disk.opened(volume.file) as file:      # a batch, which is a POST
            disk.fallocate(file, disk.FALLOC_PUNCH_HOLE | disk.FALLOC_KEEP_SIZE, 20 * BLOCK, 10 * BLOCK)
        data = data[:20 * BLOCK] + bytes(10 * BLOCK) + data[30 * BLOCK:]
        volume.remount()
        self.assertEqual(disk.read_at(volume.file, 0, len(data)) == data, True)
        volume.umount()
        body = store.client.get_object(Bucket=store.bucket, Key=f"{store.prefix}{7:08x}")["Body"].read()
        self.assertEqual(body == data[7 * BLOCK:8 * BLOCK], True)
        self.assertEqual(len(self.keys_of(store)), sum(any(data[at:at + BLOCK]) for at in range(0, len(data), BLOCK)))

    @unittest.skipUnless(HAS_V2, "this store does not know it right")
    def test_signature_version_2(self):
        store = self.store("v2")
        if not disk.IS_REMOTE:
            self.server.set(auth="v2")
            store.client = self.boto3(store)
        before = len(self.server.requests()) if not disk.IS_REMOTE else 0
        data = b"signed the old way" * 3000
        volume = disk.Disk(self, SIZE, "64K", "--authVersion=aws2", store=store).mount()
        disk.write_at(volume.file, 100, data)
        with disk.opened(volume.file) as file:
            disk.fallocate(file, disk.FALLOC_PUNCH_HOLE | disk.FALLOC_KEEP_SIZE, 20 * BLOCK, 10 * BLOCK)
        volume.remount()
        self.assertEqual(disk.read_at(volume.file, 100, len(data)), data)
        volume.umount()
        if not disk.IS_REMOTE:
            used = {request["headers"]["authorization"].split()[0] for request in self.server.requests()[before:]}
            self.assertEqual(used, {"AWS"})

    def test_signature_version_4(self):
        for payload in ("yes", "no", "auto"):
            with self.subTest(payload):
                store = self.store(f"v4-{payload}")
                if not disk.IS_REMOTE:
                    self.server.set(auth="v4")
                self.works(store, "--authVersion=aws4", f"--sign-payload={payload}")

    @unittest.skipUnless(HAS_VHOST, "this store does not know it")
    def test_bucket_in_the_host_name(self):
        for version in ("aws4", "aws2"):
            with self.subTest(version):
                store = self.store(f"vhost-{version}")
                if urlsplit(store.endpoint).scheme == "https":
                    self.skipTest("the certificate is for localhost, not for a bucket in front of it")
                port = urlsplit(store.endpoint).port
                self.works(store, f"--baseURL=http://localhost:{port}/", "--vhost", f"--authVersion={version}")
                if not disk.IS_REMOTE:
                    self.assertIn(f"{store.bucket}.localhost:{port}",
                                  {request["headers"]["host"] for request in self.server.requests()})

    def test_prefixes(self):
        for number, prefix in enumerate(("one", "one/two/three", "with space", "plus+and%25percent", "ünï/cødé-☃",
                                         "-dash.dot_", "a=b&c=d;e", "(paren)'quote'!*~$,@:")):
            with self.subTest(prefix):
                if KIND == "s3rver" and number > 3:
                    self.skipTest("its 404 for such a name is no answer of S3")
                self.works(self.store(prefix))

    def test_our_own_prefix_beside_it(self):
        """--prefix is part of the names, and two volumes do not see each other."""
        store = self.store("shared")
        volumes = [disk.Disk(self, SIZE, "64K", f"--prefix={name}", store=store).mount() for name in ("a", "ab")]
        contents = [self.random.randbytes(3 * BLOCK) for _ in volumes]
        for volume, data in zip(volumes, contents):
            disk.write_at(volume.file, 0, data)
        for volume, data in zip(volumes, contents):
            volume.remount()
            self.assertEqual(disk.read_at(volume.file, 0, len(data)) == data, True)
            volume.umount()
        self.assertEqual(self.keys_of(store), [f"{name}{block:08x}" for name in ("a", "ab") for block in range(3)])


@unittest.skipIf(shutil.which("s3backer") is None, "no s3backer")
class S3backer(Client):
    """The real one, version 1.5.4 of Debian."""

    def s3backer(self, store, use, *options):
        tls = [f"--cacert={self.option(store, 'cacert')}"] if store.endpoint.startswith("https") else []
        return s3backer.use_disk(self, use, "--blockCacheThreads=20", f"--baseURL={store.endpoint}", *tls,
                                 f"--accessFile={self.option(store, 'accessFile')}", f"--size={SIZE}", "--blockSize=64K",
                                 f"--prefix={store.prefix}", *options, store.bucket)

    def edit(self, text):
        """Mount the ext4 in a file, leave a text there."""
        def do(file):
            loop = disk.Loop(self, file)
            where = self.mount(loop.device, "ext4")
            (where / "edited").write_text(text)
            self.umount(where)
            disk.run("e2fsck", "-fn", loop.device)
            loop.detach()
        return do

    def read(self, file):
        loop = disk.Loop(self, file)
        disk.run("e2fsck", "-fn", loop.device)
        where = self.mount(loop.device, "ext4", "ro")
        found = (where / "edited").read_text()
        self.umount(where)
        loop.detach()
        return found

    def test_theirs_read_and_changed_by_us(self):
        store, image = self.store("theirs"), s3backer.ext4_image(self, SIZE)
        self.s3backer(store, lambda file: disk.write_at(file, 0, image))
        volume = disk.Disk(self, SIZE, "64K", store=store)
        volume.mount()
        self.assertEqual(disk.read_at(volume.file, 0, len(image)) == image, True)
        self.edit("by us")(volume.file)
        volume.umount()
        self.assertEqual(self.s3backer(store, self.read), "by us")

    def test_ours_read_and_changed_by_them(self):
        store, image = self.store("ours"), s3backer.ext4_image(self, SIZE)
        volume = disk.Disk(self, SIZE, "64K", store=store).mount()
        disk.write_at(volume.file, 0, image)
        volume.umount()
        self.assertEqual(self.s3backer(store, lambda file: disk.read_at(file, 0, len(image))) == image, True)
        self.s3backer(store, self.edit("by them"))
        volume.is_new = True                    # they leave no sizes beside block 0, if they rewrite it
        volume.mount()
        self.assertEqual(self.read(volume.file), "by them")
        volume.umount()

    @unittest.skipUnless(HAS_V2, "this store does not know it right")
    def test_both_with_version_2(self):
        store, data = self.store("old"), self.random_disk()
        self.s3backer(store, lambda file: disk.write_at(file, 0, data), "--authVersion=aws2")
        volume = disk.Disk(self, SIZE, "64K", "--authVersion=aws2", store=store).mount()
        self.assertEqual(disk.read_at(volume.file, 0, len(data)) == data, True)
        volume.umount()

    def test_their_token(self):
        """A volume that s3backer has mounted is not ours to mount."""
        store = self.store("token")

        def refused(file):
            disk.write_at(file, 0, b"theirs")
            disk.wait_until("the block that its fsync did not wait for", lambda: len(store.objects()) == 2)
            before = store.snapshot()
            status, text = disk.Disk(self, SIZE, "64K", store=store).refused()
            self.assertGreater(status, 0)
            self.assertRegex(text, "(?i)mounted")
            self.assertEqual(store.snapshot(), before)
        self.s3backer(store, refused)


if __name__ == "__main__":
    if shutil.which("s3cmd") is None:
        print("skipped: no s3cmd", file=sys.stderr)
        sys.exit(disk.SKIPPED)
    disk.main()
