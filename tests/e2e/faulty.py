# SPDX-License-Identifier: Apache-2.0
"""The S3 server that misbehaves on command (tests/servers/faulty), as a child of a story, and as its store.

  server = faulty.FaultyServer(self)
  server.fault("503", method="PUT", key="^0000", count=5, retry_after=2)
  volume = disk.Disk(self, store=faulty.FaultyStore(server)).mount()
  self.assertEqual(len(server.requests(method="PUT", status=503)), 5)
"""
import hashlib
import http.client
import json
import subprocess
from urllib.parse import quote

import disk

SERVERS = disk.TOP / "tests" / "servers"
MATCH = ("method", "key", "op", "bucket", "query", "header", "nth", "probability")
BUCKET = "testbucket"


class FaultyServer:
    access_id, secret, region = "faultyid", "faultysecret", "us-east-1"

    def __init__(self, story, tls=False, buckets=(BUCKET,), seed=None):
        self.story, self.tls = story, tls
        arguments = []
        if tls:
            certificates = story.directory("certificates")
            disk.run(SERVERS / "certificate.sh", certificates)
            self.cacert = certificates / "ca.pem"
            arguments += ["--tls", certificates / "cert.pem", certificates / "key.pem"]
        self.log = story.path("faulty").with_suffix(".log")
        with open(self.log, "wb") as log:
            self.process = story.start("/usr/bin/python3", "-B", SERVERS / "faulty" / "server.py", *arguments,
                                       *(f"--bucket={bucket}" for bucket in buckets), f"--seed={seed or disk.SEED}",
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True)
        said = {}
        while "CONTROL" not in said:
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError(f"the faulty server did not start: {self.log.read_text()}")
            name, _, value = line.strip().partition("=")
            said[name] = int(value)
        self.port, self.control_port = said["PORT_TLS" if tls else "PORT"], said["CONTROL"]
        self.endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/"

    def close(self):
        """End it before the story does."""
        self.process.terminate()
        self.story.reap(self.process)
        self.process.stdout.close()

    # What it does

    def command(self, **words):
        """The raw control request: reset, forget, settings, faults, add, empty, down."""
        return self._ask("POST", "/_control", json.dumps(words))

    def set(self, **settings):
        self.command(settings=settings)

    def fault(self, do, count=None, **words):
        """One more rule: the words of MATCH say when, the others are the fault's own."""
        rule = {"do": do, "match": {name: words.pop(name) for name in MATCH if name in words}, **words}
        if count is not None:
            rule["count"] = count
        self.command(add=[rule])

    def clear(self):
        """No more faults; settings stay."""
        self.command(faults=[])

    def reset(self):
        """No faults, settings as at the start, nothing in the log; objects stay."""
        self.command(reset=True)

    def forget(self):
        """Empty the log and the counters alone."""
        self.command(forget=True)

    def down(self, seconds, reset=False):
        """Refuse connections for so long; with `reset` end those that are there."""
        self.command(down={"seconds": seconds, "reset": reset})

    # What it saw

    def state(self):
        return self._ask("GET", "/_control")

    def requests(self, **wanted):
        """What was asked, in order, each a dict of: time, seconds, connection, method, bucket, key, op, query, headers, bytes,
        status (None: no answer was given), carried_out (the status of doing it, None: not done), code, fault."""
        return [entry for entry in self.state()["requests"]
                if "method" in entry and all(entry[name] == value for name, value in wanted.items())]

    def counters(self):
        return self.state()["counters"]

    def fired(self, do):
        """How often a fault has happened."""
        return self.counters().get(f"fault {do}", 0)

    # What it has

    def objects(self, bucket=BUCKET):
        """key -> {"bytes", "etag", "headers", "time"}, in order."""
        return self._ask("GET", f"/_control/objects?bucket={bucket}")

    def get(self, key, bucket=BUCKET):
        return self._ask("GET", self._object(bucket, key))

    def put(self, key, body, headers=(), bucket=BUCKET):
        """Behind everyone's back."""
        self._ask("PUT", self._object(bucket, key), body, dict(headers))

    def delete(self, key, bucket=BUCKET):
        self._ask("DELETE", self._object(bucket, key))

    @staticmethod
    def _object(bucket, key):
        return f"/_control/object?bucket={bucket}&key={quote(key, safe='')}"

    def _ask(self, method, path, body=None, headers=()):
        connection = http.client.HTTPConnection("127.0.0.1", self.control_port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if answer.headers["Content-Type"] != "application/json":
            return data
        words = json.loads(data)
        if answer.status != 200:
            raise AssertionError(f"the faulty server refuses {method} {path} {body!r}: {words['error']}")
        return words


class FaultyStore(disk.Store):
    """A prefix of the faulty server's bucket."""

    backend = "s3"

    def __init__(self, server, prefix="", bucket=BUCKET):
        self.server, self.prefix, self.bucket = server, prefix + "/" if prefix else "", bucket
        self.location = f"{bucket}/{prefix}" if prefix else bucket
        keys = server.story.path("keys")
        keys.touch(0o600)
        keys.write_text(f"{server.access_id}:{server.secret}\n")
        self.options = (f"--baseURL={server.endpoint}", f"--region={server.region}", f"--accessFile={keys}",
                        *([f"--cacert={server.cacert}"] if server.tls else []))

    def _objects(self):
        return {key.removeprefix(self.prefix): thing for key, thing in self.server.objects(self.bucket).items()
                if key.startswith(self.prefix)}

    def objects(self):
        return sorted(self._objects())

    def bytes_stored(self):
        return sum(thing["bytes"] for thing in self._objects().values())

    def snapshot(self):
        stored = {}
        for name, thing in self._objects().items():
            digest = hashlib.sha256(self.server.get(self.prefix + name, self.bucket))
            digest.update(json.dumps(thing["headers"], sort_keys=True).encode())
            stored[name] = digest.hexdigest()
        return stored
