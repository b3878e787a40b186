# SPDX-License-Identifier: Apache-2.0
"""A prefix of a real S3 server's bucket as the store (tests/servers), seen from behind with Amazon's own library."""
import hashlib
import json
import os
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

import disk


class S3Store(disk.Store):
    backend = "s3"

    def __init__(self, story, tls):
        text = Path(os.environ["BUCKETDISK_SERVER"], "env").read_text()
        server = dict(line.split("=", 1) for line in text.splitlines())
        self.endpoint = server["ENDPOINT_TLS" if tls else "ENDPOINT"]
        self.bucket = server["BUCKET"]
        name = f"story-{story.tmp.name}-{len(story.stores)}"
        self.location, self.prefix = f"{self.bucket}/{name}", name + "/"
        keys = story.path("keys")
        keys.touch(0o600)
        keys.write_text(f"{server['ACCESS']}:{server['SECRET']}\n")
        self.options = (f"--baseURL={self.endpoint}", f"--region={server['REGION']}", f"--accessFile={keys}",
                        *([f"--cacert={server['CACERT']}"] if tls else []))
        self.client = boto3.session.Session().client(
            "s3", endpoint_url=self.endpoint.rstrip("/"), aws_access_key_id=server["ACCESS"],
            aws_secret_access_key=server["SECRET"], region_name=server["REGION"], verify=server["CACERT"],
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, proxies={}))
        self.lab = f"{server['ENDPOINT']}_lab" if disk.STORE.startswith("nginx") else None
        story.stores.append(self)

    def _objects(self):
        """name -> size."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
        return {entry["Key"].removeprefix(self.prefix): entry["Size"] for page in pages for entry in page.get("Contents", [])}

    def objects(self):
        return sorted(self._objects())

    def bytes_stored(self):
        return sum(self._objects().values())

    def snapshot(self):
        def digest_of(name):
            found = self.client.get_object(Bucket=self.bucket, Key=self.prefix + name)
            digest = hashlib.sha256(found["Body"].read())
            digest.update(json.dumps([found.get("ContentEncoding"), found["Metadata"]], sort_keys=True).encode())
            return digest.hexdigest()
        return self._of_each(self.objects(), digest_of)

    def heads(self):
        """name -> what a HEAD of each block says, as boto3 gives it."""
        return self._of_each(self.blocks(), lambda name: self.client.head_object(Bucket=self.bucket, Key=self.prefix + name))

    @staticmethod
    def _of_each(names, ask):
        """Several at once: a small answer of Ceph takes 40 ms."""
        with ThreadPoolExecutor(10) as pool:
            return dict(zip(names, pool.map(ask, names)))

    def empty(self):
        """Remove every object, at the end."""
        if self.lab:
            self._set_latency(0)
        names = self.objects()
        for at in range(0, len(names), 1000):
            keys = [self.prefix + name for name in names[at:at + 1000]]
            try:
                self.client.delete_objects(Bucket=self.bucket, Delete={"Objects": [{"Key": key} for key in keys]})
            except ClientError:             # s3rver, if one is not there
                for key in keys:
                    self.client.delete_object(Bucket=self.bucket, Key=key)
        self.client.close()

    def slow_reads(self, seconds):
        if not self.lab:
            return super().slow_reads(seconds)
        self._set_latency(int(seconds * 1000))
        return {}

    def _set_latency(self, milliseconds):
        """nginx-s3.lua's own, for the whole server."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.lab}?latency_ms={milliseconds}", timeout=30) as answer:
            answer.read()
