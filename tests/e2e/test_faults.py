#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An S3 store that misbehaves in every way we know of: nothing is lost, nothing is wrong, and the log says what happened.

After each fault what the disk shows, the objects that the server has, and what a new mount reads are compared with what
was acknowledged.  No log holds the secret key or a signature."""
import contextlib
import email.utils
import json
import os
import re
import socket
import struct
import threading
import time
import unittest.mock
import zlib

import disk
import faulty

BLOCK = 65536
PUNCH = disk.FALLOC_PUNCH_HOLE | disk.FALLOC_KEEP_SIZE
# Retries are told at the debug level alone, unless they take long.
QUICK = ["--debug", "--initialRetryPause=20ms", "--settle-time=1s"]
EACH = ("get", "put", "delete")
# A read on a kept-alive connection that turns out dead is sent again at once, and nothing is told.
UNANSWERED = r"(PUT|DELETE) \S+: .*(reset|closed|send|receiv|recv)"

# After these a write may still be carried out: a newer one waits.  After all others it may not.
UNKNOWN = ("proxy's 200", "proxy's 200 with a tag", "proxy's 502", "proxy's 504", "proxy's 521", "reset", "close", "done, reply lost")

# What is ridden out: fault, which operations it happens to, what the log says.
RIDDEN = {
    "500": ({"do": "500", "message": "We are sorry"}, EACH, r"500 InternalError: We are sorry \(request \w+\)"),
    "503": ({"do": "503", "retry_after": 0}, EACH, r"503 SlowDown: .*\(request \w+\)"),
    "429": ({"do": "429", "retry_after": 0}, EACH, r"429 TooManyRequests: .*\(request \w+\)"),
    "RequestTimeout": ({"do": "error", "status": 400, "code": "RequestTimeout"}, EACH, r"400 RequestTimeout"),
    "OperationAborted": ({"do": "error", "status": 409, "code": "OperationAborted"}, EACH, r"409 OperationAborted"),
    "BadDigest": ({"do": "error", "status": 400, "code": "BadDigest"}, ("put",), r"400 BadDigest"),
    "empty 500": ({"do": "empty", "status": 500}, EACH, r"%s \S+: 500"),
    "empty 404": ({"do": "empty", "status": 404}, EACH, r"%s \S+: 404.*does not look like an answer of S3"),
    "empty 408": ({"do": "empty", "status": 408}, EACH, r"%s \S+: 408"),
    "proxy's 404": ({"do": "html", "status": 404}, EACH, r"%s \S+: 404.*does not look like an answer of S3"),
    "proxy's 302": ({"do": "html", "status": 302}, EACH, r"%s \S+: 302.*does not look like an answer of S3"),
    "proxy's 400": ({"do": "html", "status": 400}, EACH, r"%s \S+: 400.*does not look like an answer of S3"),
    "proxy's 403": ({"do": "html", "status": 403}, EACH, r"%s \S+: 403.*does not look like an answer of S3"),
    # It took the request, and nobody knows what for: nothing is acknowledged by it.
    "proxy's 200": ({"do": "html", "status": 200}, EACH, r"%s \S+: 200.*does not look like an answer of S3"),
    "proxy's 200 with a tag": ({"do": "html", "status": 200, "etag": '"page"'}, ("put", "delete"),
                               r"%s \S+: 200.*does not look like an answer of S3"),
    "proxy's 502": ({"do": "html", "status": 502}, EACH, r"%s \S+: 502"),
    "proxy's 504": ({"do": "html", "status": 504}, EACH, r"%s \S+: 504"),
    "proxy's 521": ({"do": "html", "status": 521}, EACH, r"%s \S+: 521"),
    "error in 200": ({"do": "error-in-200"}, ("put", "delete"), r"200 InternalError: .*try again"),
    "SlowDown in 200": ({"do": "error-in-200", "code": "SlowDown"}, ("put",), r"200 SlowDown"),
    "error for a body": ({"do": "error-in-200"}, ("get",), r"the object has \d+ bytes|bytes"),
    "reset": ({"do": "reset"}, EACH, UNANSWERED),
    "close": ({"do": "close"}, EACH, UNANSWERED),
    "done, reply lost": ({"do": "lose"}, EACH, UNANSWERED),
    "reset in a body": ({"do": "reset-in-body"}, ("get",), r"GET \S+: .*(reset|receiv|recv)"),
    "truncated": ({"do": "truncate"}, ("get",), r"GET \S+: .*(bytes remaining|closed)"),
    "truncated at once": ({"do": "truncate", "bytes": 0}, ("get",), r"GET \S+: .*(bytes remaining|closed)"),
    "truncated, length agrees": ({"do": "shorten"}, ("get",), r"bytes"),
    "empty, length agrees": ({"do": "shorten", "bytes": 0}, ("get",), r"bytes"),
    "closed afterwards": ({"do": "close-after"}, EACH, "everything is stored"),
    "huge headers": ({"do": "huge-headers", "lines": 50, "bytes": 1000}, EACH, "everything is stored"),
}


class S3Story(disk.Story):
    """With a faulty server, and volumes of which the story knows what they must hold."""

    limit_seconds = 300
    tls = False
    buckets = (faulty.BUCKET,)

    def setUp(self):
        super().setUp()
        self.server = faulty.FaultyServer(self, tls=self.tls, buckets=self.buckets)
        self.secrets = {self.server.secret}
        self.said = ""                      # on standard error, by what was refused

    def tearDown(self):
        said = self.said + "".join(log.read_text(errors="replace") for log in self.logs)
        for secret in self.secrets | self.signatures():
            self.assertNotIn(secret, said, "a log holds what would let its reader in")

    def signatures(self):
        """Of all requests that the server remembers."""
        found = (re.search(r"(?:Signature=|^AWS \w+:)(\S+)$", request["headers"].get("authorization", ""))
                 for request in self.server.requests())
        return {match[1] for match in found if match}

    def store(self, prefix=""):
        return faulty.FaultyStore(self.server, prefix)

    def volume(self, prefix="", *options, size="1M", blocks=12, mount=(), store=None):
        """A mounted disk whose first blocks hold something, and no faults."""
        self.server.clear()
        volume = disk.Disk(self, size, "64K", *QUICK, *options, store=store or self.store(prefix))
        volume.mount(*mount)
        volume.model = bytearray(disk.sizeof(size))
        self.write(volume, 0, blocks)
        return volume

    def write(self, volume, first, count=1):
        """Random bytes into these blocks."""
        data = self.random.randbytes(count * BLOCK)
        disk.write_at(volume.file, first * BLOCK, data)
        volume.model[first * BLOCK:(first + count) * BLOCK] = data

    def punch(self, volume, first, count=1):
        with disk.opened(volume.file) as file:
            disk.fallocate(file, PUNCH, first * BLOCK, count * BLOCK)
            os.fsync(file)
        volume.model[first * BLOCK:(first + count) * BLOCK] = bytes(count * BLOCK)

    def same(self, volume):
        """The disk shows what it should."""
        found = disk.read_at(volume.file, 0, len(volume.model))
        if found != volume.model:
            differ = [at // BLOCK for at in range(0, len(found), BLOCK)
                      if found[at:at + BLOCK] != volume.model[at:at + BLOCK]]
            self.fail(f"blocks {differ} of the disk are not what was written")

    def check_objects(self, volume):
        """The server holds what was acknowledged, block by block, and no more."""
        for block in range(len(volume.model) // BLOCK):
            data, key = bytes(volume.model[block * BLOCK:(block + 1) * BLOCK]), f"{volume.store.prefix}{block:08x}"
            stored = volume.store.objects()
            if f"{block:08x}" in stored:
                self.assertEqual(self.server.get(key) == data, True, f"the object {key} is not what was written")
            else:
                self.assertFalse(any(data), f"the object {key} is missing")

    def check(self, volume):
        """All is as acknowledged: on the disk, in the store, and for a new daemon."""
        self.server.clear()
        self.same(volume)
        volume.umount()
        self.check_objects(volume)
        log = volume.log
        volume.mount()
        self.same(volume)
        volume.umount()
        volume.log = log                    # the one of the faults

    def assert_one_sentence(self, text):
        self.assertRegex(text.replace("bucketdisk: backend-s3: requests are anonymous, as asked for\n", ""),
                         "^bucketdisk: error: .*\\n$", "one sentence, please")

    def assert_log(self, volume, words):
        log = volume.log_text()
        if not re.search(words, log):
            self.fail(f"the log does not say {words!r}; it ends in\n" + "\n".join(log.splitlines()[-15:]))

    def fired(self, do, times=1):
        self.assertGreaterEqual(self.server.fired(do), times, "the fault did not happen")


class Ridden(S3Story):
    def test_ridden_out(self):
        """What passes is tried again: no error, no wrong byte, at reading, writing, deleting."""
        for number, (label, (fault, operations, words)) in enumerate(RIDDEN.items()):
            with self.subTest(label):
                volume = self.volume(f"ridden-{number}")
                before = self.server.fired(fault["do"])
                for operation in operations:
                    self.server.fault(**fault, op=operation, count=2)
                self.same(volume)
                self.write(volume, 2, 4)
                self.punch(volume, 8)
                self.write(volume, 8)       # a write after a deletion of unknown outcome
                self.punch(volume, 9)
                self.same(volume)
                self.assertEqual(self.server.fired(fault["do"]) - before, 2 * len(operations))
                # (A busy client may send on a closed connection before it sees that it is: that is unknown, too.)
                if label != "closed afterwards":
                    self.assertEqual(volume.stats()["object_unknown_outcomes"] > 0, label in UNKNOWN)
                self.check(volume)
                for method in operations:
                    self.assert_log(volume, words.replace("%s", method.upper()))

    def test_retry_after_is_obeyed(self):
        volume = self.volume()
        for number, after in enumerate((lambda: 2, lambda: email.utils.formatdate(time.time() + 3, usegmt=True))):
            with self.subTest(number):
                self.server.forget()
                self.server.fault("503", retry_after=after(), op="put", count=1)
                self.write(volume, 3 + number)
                first, second = (request["time"] for request in self.server.requests(op="put"))
                self.assertGreater(second - first, 1.9)
                self.assertLess(second - first, 6)
        self.check(volume)

    def test_fewer_requests_at_once_when_the_store_is_busy(self):
        volume = self.volume(size="16M", blocks=1)
        before = volume.stats()["requests_in_flight_limit"]
        self.server.fault("503", retry_after=0, op="put", count=6)
        self.write(volume, 0, 256)
        lower = volume.stats()["requests_in_flight_limit"]
        self.assertLess(lower, before)
        self.server.fault("429", retry_after=0, op="get", count=3)
        self.same(volume)
        lower = volume.stats()["requests_in_flight_limit"]
        for _ in range(3):
            self.write(volume, 0, 256)
        self.assertGreater(volume.stats()["requests_in_flight_limit"], lower, "never recovers")
        self.assert_log(volume, "the store is busy")
        self.check(volume)

    def test_slow_but_moving(self):
        """A trickle is no failure as long as the attempt has time."""
        volume = self.volume("", "--s3-progress-timeout=1s", "--timeout=20s", blocks=1)
        self.server.fault("slow", bytes_per_second=BLOCK // 3, op="get", count=1)
        started = time.monotonic()
        self.same(volume)
        self.assertGreater(time.monotonic() - started, 2)
        self.assertEqual(volume.stats()["object_retries"], 0)
        self.check(volume)

    def test_too_slow(self):
        """An attempt has an end, even if bytes trickle in."""
        volume = self.volume("", "--timeout=1s", blocks=1)
        self.server.fault("slow", bytes_per_second=BLOCK // 30, op="get", count=2)
        started = time.monotonic()
        self.same(volume)
        self.assertLess(time.monotonic() - started, 10)
        self.assert_log(volume, "GET .*(timed out|Timeout)")
        self.check(volume)

    def test_hang(self):
        """Not one byte for the progress timeout: given up, long before the attempt's end."""
        for first in (False, True):
            for operation in EACH:
                with self.subTest(operation=operation, first=first):
                    volume = self.volume(f"hang-{operation}-{first}", "--s3-progress-timeout=1s", "--timeout=60s", blocks=6)
                    self.server.fault("hang", seconds=6, first=first, op=operation, count=1)
                    started = time.monotonic()
                    self.same(volume)
                    self.write(volume, 1, 2)
                    self.punch(volume, 3)
                    self.same(volume)
                    self.assertLess(time.monotonic() - started, 5.5)
                    self.check(volume)
                    self.assert_log(volume, r"(GET|PUT|DELETE) .*(too slow|timed out)")

    def test_clock(self):
        """The store's clock counts, whichever of the two is wrong, and also when one is set right meanwhile."""
        for offset in (3600, -3600):
            with self.subTest(offset):
                self.server.set(clock_offset=offset)
                volume = self.volume(f"clock{offset}")
                self.write(volume, 2)
                self.assert_log(volume, rf"clock is 3\d99 s {'behind' if offset > 0 else 'ahead of'}|3600 s "
                                                    f"{'behind' if offset > 0 else 'ahead of'}")
                self.server.set(clock_offset=0)
                self.write(volume, 3)
                self.same(volume)
                self.check(volume)

    def test_expired_credentials_are_renewed(self):
        """403 ExpiredToken: new ones are fetched, the write succeeds."""
        keys, config = self.path("keys"), self.path("config")
        self.secrets |= {"tokenone", "tokentwo", "secretone", "secrettwo"}

        def give(name):
            keys.write_text(json.dumps({"Version": 1, "AccessKeyId": f"id{name}", "SecretAccessKey": f"secret{name}",
                                        "SessionToken": f"token{name}"}))
        config.write_text(f"[default]\ncredential_process = /bin/cat {keys}\n")
        self.server.set(accounts=[{"id": f"id{name}", "secret": f"secret{name}", "token": f"token{name}"}
                                  for name in ("one", "two")])
        give("one")
        store = self.store()
        store.options = tuple(option for option in store.options if not option.startswith("--accessFile"))
        with unittest.mock.patch.dict(os.environ, {"HOME": str(self.tmp), "AWS_CONFIG_FILE": str(config)}):
            volume = self.volume(store=store)
            give("two")
            self.server.set(expired=["idone"])
            self.write(volume, 2, 3)
            self.same(volume)
            self.assert_log(volume, "400 ExpiredToken")
            self.assertTrue(any("idtwo" in request["headers"]["authorization"] for request in self.server.requests()))
            self.check(volume)

    def test_expired_credentials_that_cannot_be_renewed(self):
        volume = self.volume()
        self.server.fault("expired-token", op="put")
        before = volume.store.snapshot()
        self.assertIn(disk.error_of(disk.write_at, volume.file, BLOCK, b"lost"), ("EACCES", "EIO"))
        self.assertEqual(volume.store.snapshot(), before)
        self.assert_log(volume, "403 ExpiredToken.*get new credentials")
        self.check(volume)

    def test_idle_connections(self):
        """The store closes them after a second; nobody notices, and nothing is held for --settle-time."""
        self.server.set(idle_seconds=0.7)
        volume = self.volume("", "--settle-time=30s")
        for pause in (0.3, 1.1, 0.4, 1.3):          # never just when it closes them: then nobody could know
            time.sleep(pause)
            started = time.monotonic()
            self.write(volume, 2, 3)
            self.write(volume, 2, 3)
            self.same(volume)
            self.assertLess(time.monotonic() - started, 3)
        self.assertEqual(volume.stats()["object_unknown_outcomes"], 0, "a write's outcome was thought unknown")
        self.check(volume)

    def test_unfriendly_connections(self):
        """One request on each, or two."""
        for most in (1, 2):
            with self.subTest(most):
                self.server.set(requests_per_connection=most)
                volume = self.volume(f"most-{most}", "--settle-time=30s", size="4M")
                self.write(volume, 0, 64)
                self.write(volume, 0, 64)
                self.same(volume)
                self.assertEqual(volume.stats()["object_unknown_outcomes"], 0)
                self.check(volume)


class Bodies(S3Story):
    """What proxies and stores do to bodies and headers on the way."""

    def assert_never_wrong(self, volume, words, error="EIO"):
        """Reading, or writing a part, is an error as long as the fault is there; what is stored stays."""
        before = volume.store.snapshot()
        found = disk.error_of(disk.read_at, volume.file, 2 * BLOCK, BLOCK)
        self.assertEqual(found, error)
        self.assertEqual(disk.error_of(disk.write_at, volume.file, 3 * BLOCK + 7, b"part"), error)
        self.assert_log(volume, f"block 00000002.*({words})")
        self.assertEqual(volume.store.snapshot(), before)

    def test_gzip_added_by_a_proxy(self):
        for fault in ({}, {"body": False}, {"replace": True}):
            with self.subTest(fault):
                volume = self.volume(f"gzip{len(str(fault))}")
                self.server.fault("gzip", op="get", **fault)
                self.assert_never_wrong(volume, "gzip")
                self.check(volume)

    def test_nothing_invites_a_proxy(self):
        volume = self.volume()
        self.same(volume)
        for request in self.server.requests():
            self.assertIn(request["headers"].get("accept-encoding", "identity"), ("identity", ""))
            self.assertNotIn("expect", request["headers"])
            if request["op"] == "put":
                self.assertIn("no-transform", request["headers"]["cache-control"])
        self.check(volume)

    def test_content_encoding_stripped(self):
        """An encoded block without its encoding is damaged, not data."""
        volume = self.volume()
        self.server.put(f"{2:08x}", zlib.compress(bytes(volume.model[2 * BLOCK:3 * BLOCK])), {"content-encoding": "deflate"})
        self.server.put(f"{3:08x}", zlib.compress(bytes(BLOCK)), {"content-encoding": "deflate"})
        self.server.fault("strip", op="get")
        self.assert_never_wrong(volume, "bytes")
        volume.umount()

    def test_metadata_stripped(self):
        """The volume's sizes are gone: they are asked for, not guessed."""
        volume = self.volume(blocks=3)
        volume.umount()
        before = volume.store.snapshot()
        self.server.fault("strip", op="head")
        status, text = volume.refused()
        self.assertGreater(status, 0)
        self.assertRegex(text, "--size")
        self.assertEqual(volume.store.snapshot(), before)
        self.server.clear()
        volume.mount()
        self.same(volume)
        volume.umount()

    def test_aws_chunked_kept(self):
        volume = self.volume()
        self.server.fault("aws-chunked", op="get|head")
        self.same(volume)
        self.write(volume, 1, 2)
        disk.write_at(volume.file, 3 * BLOCK + 5, b"part")
        volume.model[3 * BLOCK + 5:3 * BLOCK + 9] = b"part"
        self.fired("aws-chunked")
        self.check(volume)

    def test_truncated_always(self):
        """Too short for ever: an error for the block that is read, never a block with an end of zeros."""
        for fault in ({"do": "shorten"}, {"do": "shorten", "bytes": 0}, {"do": "truncate"},
                      {"do": "headers", "set": {"Content-Length": 100}}):
            with self.subTest(fault):
                volume = self.volume(f"short-{len(self.logs)}", "--maxRetryPause=1s", "--timeout=2s")
                self.server.fault(**fault, op="get")
                self.assert_never_wrong(volume, "bytes|closed|length|partial|Weird|Excess")
                self.check(volume)

    def test_a_404_that_is_not_the_stores(self):
        """Of a proxy, for ever: an error, never zeros; and a partial write does not fill up with zeros."""
        for fault in ({"do": "html", "status": 404}, {"do": "empty", "status": 404},
                      {"do": "error", "status": 404, "code": "NoSuchUpload"}):
            with self.subTest(fault):
                volume = self.volume(f"proxy-{len(self.logs)}", "--maxRetryPause=1s")
                self.server.fault(**fault, op="get")
                self.assert_never_wrong(volume, "404")
                self.check(volume)

    def test_the_bucket_is_gone(self):
        """While mounted: an error for what is asked meanwhile, and no block becomes zeros."""
        volume = self.volume("", "--maxRetryPause=1s")
        self.server.fault("no-such-bucket")
        self.assert_never_wrong(volume, "404 NoSuchBucket")
        self.assertEqual(disk.error_of(disk.write_at, volume.file, 5 * BLOCK, bytes(BLOCK)), "EIO")
        self.assertEqual(disk.error_of(disk.write_at, volume.file, 6 * BLOCK, b"x" * BLOCK), "EIO")
        self.check(volume)

    def test_access_denied(self):
        volume = self.volume()
        self.server.fault("access-denied", op="get|put|delete")
        self.assert_never_wrong(volume, "403 AccessDenied", "EACCES")
        self.check(volume)

    def test_stale_reads(self):
        """With --md5CacheSize an older answer is asked for again; if it stays, it is an error."""
        volume = self.volume("", "--md5CacheSize=1000", "--md5CacheTime=60s", "--maxRetryPause=2s", blocks=6)
        time.sleep(1.2)
        self.write(volume, 1, 2)            # over something older
        self.write(volume, 8, 2)            # where nothing was
        self.punch(volume, 4)
        self.server.fault("stale", seconds=1.2, op="get", count=4)
        self.same(volume)
        self.fired("stale", 4)
        self.assertGreater(volume.stats()["stale_reads"], 0)
        for block in (1, 8):
            time.sleep(1.2)
            self.write(volume, block)
            self.server.fault("stale", seconds=600, op="get")
            self.assertEqual(disk.error_of(disk.read_at, volume.file, block * BLOCK, BLOCK), "EIO")
            self.server.clear()
        self.assert_log(volume, "block 00000001: .*older version")
        self.check(volume)

    def test_etags(self):
        """Opaque ones, and none at all."""
        for number, etag in enumerate(("opaque", "none")):
            with self.subTest(etag):
                self.server.set(etag=etag)
                volume = self.volume(f"tags-{number}", "--md5CacheSize=100", "--md5CacheTime=60s")
                self.write(volume, 1, 4)
                self.same(volume)
                self.check(volume)
                self.assertNotRegex(volume.log_text(), "(?i)etag|md5")


class Region(S3Story):
    def test_another_region(self):
        """The store names it: followed, and told."""
        for manner in ("malformed", "redirect"):
            with self.subTest(manner):
                self.server.set(region="eu-central-1", wrong_region=manner)
                volume = self.volume(f"region-{manner}")
                self.write(volume, 1)
                self.assert_log(volume, "region eu-central-1, not us-east-1; --region=eu-central-1")
                self.check(volume)

    def test_redirected_elsewhere(self):
        """To another host: explained."""
        status, text = self.refused("redirect", {"endpoint": "s3.elsewhere.invalid", "region": "us-east-1"})
        self.assertRegex(text, "301 PermanentRedirect.*points to s3.elsewhere.invalid.*--region and --baseURL")
        status, text = self.refused("error", {"status": 307, "code": "TemporaryRedirect",
                                              "headers": {"Location": "http://s3.elsewhere.invalid/"}})
        self.assertRegex(text, "307 TemporaryRedirect.*s3.elsewhere.invalid.*--baseURL")

    def refused(self, do, words):
        self.server.clear()
        self.server.fault(do, **words)
        started = time.monotonic()
        status, text = disk.Disk(self, "1M", "64K", store=self.store()).refused()
        self.said += text
        self.assertGreater(status, 0)
        self.assert_one_sentence(text)
        self.assertLess(time.monotonic() - started, 10)
        return status, text

    def test_redirected_while_mounted(self):
        """What a broken proxy says of regions must not make the rest of the disk's life useless."""
        self.server.set(region="us-east-1")
        for do in ("wrong-region", "redirect"):
            with self.subTest(do):
                volume = self.volume(f"mounted-{do}")
                self.server.fault(do, op="put", count=1, region="eu-central-1")
                with contextlib.suppress(OSError):
                    self.write(volume, 2)
                self.server.clear()
                self.write(volume, 2)
                self.same(volume)
                self.check(volume)


class Overtaken(S3Story):
    """A write that is carried out after the client gave it up never covers a newer one."""

    STEPS = {                               # what is late, what comes after it; A and B are contents, - is a hole
        "AB": ("A", "B"), "-B": ("-", "B"), "A-": ("A", "-"),
    }

    def step(self, volume, kind, block):
        if kind == "-":
            self.punch(volume, block)
        else:
            self.write(volume, block)

    def late(self, settle, fault, prefix):
        """True for each block that holds in the end what was acknowledged last."""
        volume = self.volume(prefix, f"--settle-time={settle}s", "--s3-progress-timeout=1s")
        for number, (late, newer) in enumerate(self.STEPS.values()):
            block = 2 + number
            self.server.fault(**fault, op="put|delete", key=f"{block:08x}", count=1)
            self.step(volume, late, block)
            self.step(volume, newer, block)
        self.same(volume)
        time.sleep(4)                       # whatever is on its way has arrived
        volume.umount()
        found = [self.stored(volume, 2 + number) for number in range(len(self.STEPS))]
        if all(found):
            self.check_objects(volume)
            volume.mount()
            self.same(volume)
            volume.umount()
        return found

    def stored(self, volume, block):
        data, key = bytes(volume.model[block * BLOCK:(block + 1) * BLOCK]), f"{volume.store.prefix}{block:08x}"
        return self.server.get(key) == data if key in self.server.objects() else not any(data)

    def test_no_answer(self):
        self.assertEqual(self.late(4, {"do": "late", "seconds": 3}, "late"), [True, True, True])

    def test_given_up_in_mid_hang(self):
        self.assertEqual(self.late(4, {"do": "hang", "seconds": 4}, "hang"), [True, True, True])

    def test_without_settling_the_old_write_wins(self):
        self.assertIn(False, self.late(0, {"do": "late", "seconds": 3}, "lost"),
                      "no old write overtook a newer one: this story could not fail")

    def test_a_batch_is_late(self):
        """Blocks deleted in a batch that got no answer are not written before it can no longer be carried out."""
        volume = self.volume("batch", "--settle-time=4s")
        self.server.fault("late", seconds=3, op="delete-objects", count=1)
        self.punch(volume, 2, 6)
        self.write(volume, 4, 2)
        time.sleep(4)
        self.fired("late")
        self.check(volume)


class Deleting(S3Story):
    def test_ridden_out(self):
        """Batches that fail as a whole, in parts, or inside a 200."""
        for number, fault in enumerate((
                {"do": "500"}, {"do": "503", "retry_after": 0}, {"do": "error-in-200"}, {"do": "reset"}, {"do": "lose"},
                {"do": "html", "status": 404}, {"do": "html", "status": 502}, {"do": "truncate", "bytes": 90},
                {"do": "shorten", "bytes": 90}, {"do": "shorten", "bytes": 0}, {"do": "empty", "status": 200},
                {"do": "html", "status": 200},
                {"do": "delete-errors", "errors": [{"key": "[246]$", "code": "InternalError"}]},
                {"do": "delete-errors", "errors": [{"key": "[246]$", "code": "SlowDown"}]})):
            with self.subTest(fault):
                volume = self.volume(f"batch-{number}")
                before = self.server.fired(fault["do"])
                self.server.fault(**fault, op="delete-objects", count=1)
                self.punch(volume, 1, 9)
                self.assertEqual(self.server.fired(fault["do"]), before + 1, "no batch was sent")
                self.same(volume)
                self.check(volume)
                self.assertEqual(volume.store.blocks(), ["00000000", "0000000a", "0000000b"])

    def test_some_may_not_be_deleted(self):
        """They are still there, still read as they were, and the error reaches who asked."""
        volume = self.volume()
        self.server.fault("delete-errors", errors=[{"key": "[35]$", "code": "AccessDenied"}], op="delete-objects")
        before = bytes(volume.model)
        with disk.opened(volume.file) as file:
            self.assertIn(disk.error_of(disk.fallocate, file, PUNCH, BLOCK, 9 * BLOCK), ("EACCES", "EIO"))
        for block in (3, 5):
            self.assertEqual(disk.read_at(volume.file, block * BLOCK, BLOCK), before[block * BLOCK:(block + 1) * BLOCK])
        self.assert_log(volume, "AccessDenied")
        self.server.clear()
        self.punch(volume, 1, 9)
        self.check(volume)

    def test_not_in_batches(self):
        """501: one by one from then on."""
        self.server.set(delete_objects="reject")
        volume = self.volume()
        self.punch(volume, 1, 4)
        self.punch(volume, 5, 4)
        self.assertEqual(len(self.server.requests(op="delete-objects")), 1)
        self.assertEqual(len(self.server.requests(op="delete", status=204)), 8 + self.tokens())
        self.check(volume)

    def tokens(self):
        return sum("s3backer" in request["key"] for request in self.server.requests(op="delete", status=204))

    def test_content_md5_demanded(self):
        self.server.set(demand_md5=True)
        volume = self.volume()
        self.punch(volume, 1, 6)
        self.assertEqual([request["status"] for request in self.server.requests(op="delete-objects")], [200])
        self.check(volume)

    def test_singles_that_fail(self):
        self.server.set(delete_objects="reject")
        for number, fault in enumerate(({"do": "500"}, {"do": "lose"}, {"do": "html", "status": 404}, {"do": "503", "retry_after": 0})):
            with self.subTest(fault):
                volume = self.volume(f"singles-{number}")
                self.server.fault(**fault, op="delete", count=3)
                self.punch(volume, 1, 6)
                self.check(volume)
                self.assertNotIn("00000004", volume.store.blocks())


class Listing(S3Story):
    BLOCKS = (0, 1, 7, 300, 4000, 9999, 16383)

    def punch_all(self, prefix, *options):
        """A hole over more blocks than are asked for one by one: they are found by listing."""
        volume = self.volume(prefix, *options, size="1G", blocks=0)
        for block in self.BLOCKS:
            disk.write_at(volume.file, block * BLOCK, b"x" * BLOCK)
        self.server.delete(f"{volume.store.prefix}{7:08x}")         # behind its back: a listing is not the whole truth
        volume.remount()
        return volume

    def finish(self, volume):
        self.assertIn("list", {request["op"] for request in self.server.requests()})
        self.assertEqual(volume.store.blocks(), ["00000000"])
        self.server.clear()
        self.assertEqual(disk.read_at(volume.file, 9999 * BLOCK, BLOCK), bytes(BLOCK))
        volume.umount()

    def test_each_kind_of_server(self):
        for number, settings in enumerate(({}, {"list_max": 2}, {"list_v1_only": True, "list_max": 2},
                                           {"list_v1_only": True})):
            with self.subTest(settings):
                self.server.reset()
                self.server.set(**settings)
                volume = self.punch_all(f"list-{number}")
                self.punch_hole(volume)
                self.finish(volume)

    def punch_hole(self, volume):
        with disk.opened(volume.file) as file:
            disk.fallocate(file, PUNCH, 0, disk.GIB)
            os.fsync(file)

    def test_ridden_out(self):
        self.server.set(list_max=2)
        for number, fault in enumerate((
                {"do": "500"}, {"do": "error-in-200"}, {"do": "reset"}, {"do": "truncate"}, {"do": "shorten"},
                {"do": "shorten", "bytes": 0}, {"do": "html", "status": 200}, {"do": "html", "status": 404},
                {"do": "empty", "status": 200}, {"do": "503", "retry_after": 0})):
            with self.subTest(fault):
                volume = self.punch_all(f"listed-{number}")
                before = self.server.fired(fault["do"])
                self.server.fault(**fault, op="list", count=2)
                self.punch_hole(volume)
                self.assertEqual(self.server.fired(fault["do"]), before + 2)
                self.finish(volume)

    def test_list_v2_refused(self):
        """501 or 400 to list-type=2: version 1 is asked for."""
        volume = self.punch_all("")
        self.server.fault("error", status=501, code="NotImplemented", op="list", query="list-type=2")
        self.server.fault("error", status=501, code="NotImplemented", op="list", query="start-after")
        self.punch_hole(volume)
        self.finish(volume)


class Conditions(S3Story):
    def test_mount_token(self):
        """Taken, kept, and taken over after a crash, whatever the store thinks of conditions."""
        for number, settings in enumerate((
                {}, {"conditions": "ignore"}, {"conditions": "reject"}, {"if_match_quotes": "without"},
                {"if_match_quotes": "with"}, {"if_match_missing": 412}, {"etag": "opaque"}, {"etag": "none"},
                {"if_match_quotes": "without", "if_match_missing": 412, "etag": "opaque"})):
            with self.subTest(settings):
                self.server.reset()
                self.server.set(**settings)
                volume = self.volume(f"token-{number}")
                self.assertIn("s3backer-mounted", volume.store.objects())
                volume.kill9()
                volume.mount()
                if "conditions" not in settings and settings.get("etag") != "none":
                    self.assertTrue([request for request in self.server.requests(key=volume.store.prefix + "s3backer-mounted",
                                                                                 op="put", status=200)
                                     if "if-match" in request["headers"]], "taken over without a condition")
                self.write(volume, 1)
                self.check(volume)
                self.assertNotIn("s3backer-mounted", volume.store.objects())

    def test_token_under_faults(self):
        for number, fault in enumerate((
                {"do": "lose", "op": "put"}, {"do": "500", "op": "put"}, {"do": "503", "op": "put", "retry_after": 0},
                {"do": "reset", "op": "put"}, {"do": "html", "op": "put", "status": 504},
                {"do": "error", "status": 409, "code": "ConditionalRequestConflict", "op": "put"},
                {"do": "error-in-200", "op": "put"}, {"do": "lose", "op": "delete"}, {"do": "500", "op": "head"},
                {"do": "html", "op": "head", "status": 404}, {"do": "html", "op": "head", "status": 502},
                # A HEAD's answer has no body to say why: it is asked for with a GET.
                {"do": "time-skewed", "op": "head"}, {"do": "html", "op": "put", "status": 200})):
            with self.subTest(fault):
                self.server.reset()
                store = self.store(f"under-{number}")
                self.server.fault(**fault, key="s3backer-mounted", count=1)
                volume = disk.Disk(self, "1M", "64K", *QUICK, store=store).mount()
                volume.model = bytearray(disk.MIB)
                self.write(volume, 0, 3)
                volume.kill9()
                if fault["op"] != "delete":
                    self.server.fault(**fault, key="s3backer-mounted", count=1)
                volume.mount()
                self.same(volume)
                volume.umount()
                self.fired(fault["do"])
                self.assertNotIn("s3backer-mounted", store.objects())
                self.check_objects(volume)

    def test_a_404_of_a_proxy_is_no_missing_token(self):
        """Two machines would write to one volume."""
        volume = self.volume(blocks=2)
        volume.umount()
        self.server.put("s3backer-mounted", b"another\n", {"x-amz-meta-s3backer-mount-token": "12345678"})
        self.server.set(conditions="ignore")        # nothing else could save it
        before = volume.store.snapshot()
        for fault in ({"do": "html", "status": 404}, {"do": "empty", "status": 404}):
            with self.subTest(fault):
                self.server.fault(**fault, op="head", key="s3backer-mounted", count=2)
                status, _ = volume.refused()
                self.assertGreater(status, 0)
                self.assertEqual(volume.store.snapshot(), before)


class Names(S3Story):
    """One volume, one machine, and more than one way to name it."""

    def named(self, volume, location, *options, host="127.0.0.1"):
        """The volume again, by another name."""
        store = self.store()
        store.location = location
        store.options = tuple(option.replace("127.0.0.1", host) for option in store.options)
        again = disk.Disk(self, volume.size, volume.block_size, *QUICK, *options, store=store)
        again.is_new = False
        return again

    def test_while_it_is_mounted_it_is_refused_by_every_name(self):
        volume = self.volume("v")
        for again, reason in ((self.named(volume, "testbucket/v", host="localhost"), "in use on"),
                              (self.named(volume, "testbucket", "--prefix=v/"), "is mounted on"),
                              (self.named(volume, "testbucket", "--prefix=v/", host="localhost"), "in use on")):
            status, said = again.refused()
            self.assertEqual(status, 1, said)
            self.assertIn(reason, said)
        self.write(volume, 3)
        self.check(volume)

    def test_a_prefix_is_the_same_in_the_location_and_as_an_option(self):
        """So that a daemon that died under the one name is succeeded under the other."""
        volume = self.volume("v")
        volume.kill9()
        again = self.named(volume, "testbucket", "--prefix=v/").mount()
        self.assertIn("taking it over", again.log_text())
        again.umount()

    def test_a_daemon_that_died_is_not_known_by_another_host_name(self):
        volume = self.volume("v")
        volume.kill9()
        status, said = self.named(volume, "testbucket/v", host="localhost").refused()
        self.assertEqual(status, 1, said)
        self.assertIn("--reset-mounted-flag", said)
        volume.mount()
        self.check(volume)


class Outage(S3Story):
    def test_ridden_out(self):
        """20 seconds without a store: writes and reads wait, then succeed; the log says so."""
        volume = self.volume()
        volume.umount()
        volume.options = ["--initialRetryPause=100ms"]          # what a user sees
        volume.mount()
        seen = {}

        def work(what, function, *arguments):
            started = time.monotonic()
            try:
                seen[what] = function(*arguments)
            except OSError as error:
                seen[what] = error
            seen[what + " took"] = time.monotonic() - started
        data = self.random.randbytes(2 * BLOCK)
        self.server.down(20, reset=True)
        workers = [threading.Thread(target=work, args=arguments) for arguments in (
            ("write", disk.write_at, volume.file, 2 * BLOCK, data), ("read", disk.read_at, volume.file, 6 * BLOCK, BLOCK))]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(100)
        self.assertIsNone(seen["write"])
        self.assertEqual(seen["read"], volume.model[6 * BLOCK:7 * BLOCK])
        self.assertGreater(min(seen["write took"], seen["read took"]), 10)
        volume.model[2 * BLOCK:4 * BLOCK] = data
        self.assert_log(volume, r"trying again: 0000000\d: (PUT|GET) 127.0.0.1:\d+/.*refused|[Cc]onnect")
        self.assert_log(volume, "the store answers again")
        self.check(volume)

    def test_longer_than_the_retry_time(self):
        """EIO from write and from fsync, what is stored stays as it was, and all is well afterwards."""
        volume = self.volume("", "--maxRetryPause=2s")
        before = volume.store.snapshot()
        with disk.opened(volume.file) as file:
            self.server.down(9, reset=True)
            self.assertEqual(disk.error_of(os.pwrite, file, b"x" * BLOCK, 2 * BLOCK), "EIO")
            self.assertEqual(disk.error_of(disk.read_at, volume.file, 5 * BLOCK, BLOCK), "EIO")
        self.assertEqual(volume.store.snapshot(), before)
        self.assert_log(volume, "cannot write block 00000002, object 00000002: PUT .*onnect")
        disk.wait_until("the store to be back", lambda: disk.error_of(disk.read_at, volume.file, 5 * BLOCK, BLOCK) is None)
        self.same(volume)
        self.write(volume, 2, 2)
        self.check(volume)

    def test_fsync_tells(self):
        """What a mapping wrote and could not be stored: fsync says so."""
        volume = self.volume("", "--maxRetryPause=2s")
        before = volume.store.snapshot()
        loop = disk.Loop(self, volume.file)
        self.server.fault("500", op="put")
        with disk.opened(loop.device) as device:
            os.pwrite(device, b"x" * BLOCK, 2 * BLOCK)
            self.assertEqual(disk.error_of(os.fsync, device), "EIO")
        self.assertEqual(volume.store.snapshot(), before)
        self.server.clear()
        disk.write_at(loop.device, 2 * BLOCK, b"y" * BLOCK)
        volume.model[2 * BLOCK:3 * BLOCK] = b"y" * BLOCK
        loop.detach()
        self.check(volume)

    def test_at_the_start_and_at_the_end(self):
        """A mount waits for its store for a while; an unmount stores and removes its token."""
        volume = self.volume()
        volume.umount()
        self.server.down(4, reset=True)
        volume.mount()
        self.same(volume)
        self.assert_log(volume, "onnect")
        self.server.down(4, reset=True)
        volume.umount()
        disk.wait_until("the server", lambda: not disk.error_of(self.connect))
        self.assertNotIn("s3backer-mounted", volume.store.objects())
        self.check_objects(volume)

    def connect(self):
        socket.create_connection(("127.0.0.1", self.server.port), 1).close()


class Relay:
    """A wire between daemon and server, that can be cut where it hurts."""

    def __init__(self, port):
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.cuts = []                      # after so many bytes of a connection upwards, reset it; the first of these
        self.done = 0
        self.is_silent = False              # nothing is passed on any more, nothing is closed
        self.ends = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                here, _ = self.listener.accept()
                there = socket.create_connection(("127.0.0.1", self.target))
                self.ends += [here, there]
                for source, sink, is_up in ((here, there, True), (there, here, False)):
                    threading.Thread(target=self.pass_on, args=(source, sink, is_up), daemon=True).start()

    def pass_on(self, source, sink, is_up):
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(16384):
                if self.is_silent:
                    return                  # both stay open
                if is_up and len(data) >= 16384:    # a body, not a head alone
                    passed += len(data)
                    if self.cuts and passed >= self.cuts[0]:
                        self.cuts.pop(0)
                        self.done += 1
                        for end in (source, sink):
                            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                            end.shutdown(socket.SHUT_RD)
                            end.close()
                        return
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self):
        for end in (self.listener, *self.ends):
            end.close()


class Wire(S3Story):
    def relayed(self, *options):
        """The daemon's connections go over the wire."""
        relay = Relay(self.server.port)
        self.addCleanup(relay.close)
        store = self.store()
        store.options = (f"--baseURL=http://127.0.0.1:{relay.port}/", *store.options[1:])
        volume = disk.Disk(self, "8M", "1M", *QUICK, *options, store=store)
        volume.mount()
        volume.model = bytearray(8 * disk.MIB)
        return volume, relay

    def check(self, volume):
        self.same(volume)
        volume.umount()
        for block in range(8):
            data = bytes(volume.model[block * disk.MIB:(block + 1) * disk.MIB])
            if any(data):
                self.assertEqual(self.server.get(f"{block:08x}") == data, True, f"object {block} is wrong")

    def test_reset_in_the_middle_of_a_put(self):
        """What had not left as a whole is surely not done, and nothing is held for it.  (If the connection had been used
        before, libcurl has already begun anew, and it counts as unknown.)"""
        # So slowly that the kernel's buffers do not swallow it whole, after which nobody could know.
        volume, relay = self.relayed("--settle-time=2s", "--s3-max-upload-speed=8M")
        relay.cuts = [100000, 300000, 16384]
        started = time.monotonic()
        self.write(volume, 16, 32)
        self.write(volume, 16, 32)
        self.assertEqual(relay.done, 3)
        self.assertLess(volume.stats()["object_unknown_outcomes"], 3)
        self.assertLess(time.monotonic() - started, 25)
        self.check(volume)
        self.assert_log(volume, r"PUT \S+: .*(reset|send|Broken)")

    def test_a_wire_that_went_silent(self):
        """No reset, no end: the progress timeout finds it, and a new connection goes on."""
        volume, relay = self.relayed("--s3-progress-timeout=1s")
        self.write(volume, 0, 16)
        relay.is_silent = True
        back = threading.Timer(1.5, setattr, (relay, "is_silent", False))
        back.start()
        started = time.monotonic()
        self.write(volume, 0, 16)
        self.same(volume)
        self.assertLess(time.monotonic() - started, 20)
        back.join()
        self.check(volume)


class Filesystem(S3Story):
    limit_seconds = 400

    def test_ext4_under_everything(self):
        """A tree with checksums, written, read and trimmed while one request in fifteen goes wrong in some way."""
        volume = self.volume("", size="128M", blocks=0)
        chance = 0.007
        for fault in ({"do": "500"}, {"do": "503", "retry_after": 0}, {"do": "reset"}, {"do": "close"}, {"do": "lose"},
                      {"do": "html", "status": 502}, {"do": "html", "status": 404}, {"do": "empty", "status": 404},
                      {"do": "late", "seconds": 0.7, "op": "put|delete|delete-objects"}, {"do": "error-in-200", "op": "put|delete.*"},
                      {"do": "truncate", "op": "get"}, {"do": "reset-in-body", "op": "get"}, {"do": "shorten", "op": "get"},
                      {"do": "slow", "bytes_per_second": 300000, "op": "get"}, {"do": "close-after"},
                      {"do": "delete-errors", "op": "delete-objects", "errors": [{"key": "[0-7]$", "code": "InternalError"}]}):
            self.server.fault(**fault, probability=chance)
        loop = disk.Loop(self, volume.file)
        disk.run("mkfs.ext4", "-q", "-E", "nodiscard", loop.device)
        where = self.mount(loop.device, "ext4")
        tree = where / "tree"
        tree.mkdir()
        disk.make_tree(tree, disk.SEED, files=disk.pick(200, 2000), bytes_max=200 * disk.KIB)
        disk.run("sync", "-f", where)
        big = where / "big"
        big.write_bytes(self.random.randbytes(20 * disk.MIB))
        disk.run("sync", "-f", where)
        big.unlink()
        disk.run("fstrim", where, timeout=200)
        sums = disk.checksums(tree)
        self.umount(where)
        disk.run("e2fsck", "-fn", loop.device)
        loop.detach()
        stats = volume.stats()
        volume.umount(seconds=200)
        fired = {name: count for name, count in self.server.counters().items() if name.startswith("fault")}
        self.assertGreater(len(fired), 8, fired)
        self.assertGreater(stats["object_retries"], 10)
        self.assertEqual(stats["object_failures"], 0)
        self.server.clear()
        volume.mount()
        loop = disk.Loop(self, volume.file)
        disk.run("e2fsck", "-fn", loop.device)
        where = self.mount(loop.device, "ext4")
        self.assertEqual(disk.checksums(where / "tree"), sums)
        self.umount(where)
        loop.detach()
        volume.umount()


class Refused(S3Story):
    """What is wrong from the start: one sentence, a status, quickly."""

    def keys(self, text):
        path = self.path("other-keys")
        path.touch(0o600)
        path.write_text(text)
        return f"--accessFile={path}"

    def assert_refused(self, words, *options, location=None, seconds=10, lines=1):
        store = self.store()
        store.location = location or store.location
        started = time.monotonic()
        status, text = disk.Disk(self, "1M", "64K", *options, store=store).refused()
        took = time.monotonic() - started
        self.said += text
        self.assertGreater(status, 0, f"must be an exit status, not a signal: {text}")
        self.assertNotEqual(status, 99, text)
        if lines:
            self.assert_one_sentence(text)
        self.assertRegex(text, words)
        self.assertLess(took, seconds)
        self.assertEqual(self.server.objects(), {})

    def test_refused(self):
        url = f"http://127.0.0.1:{self.server.port}"
        nobody = self.path("ca-that-is-none")
        nobody.write_text("no certificate\n")
        for words, *options in (
                (r"403 SignatureDoesNotMatch.*--accessKey", self.keys(f"{self.server.access_id}:wrongsecret\n")),
                (r"403 InvalidAccessKeyId.*--accessId", self.keys("nobody:wrongsecret\n")),
                (r"403 AccessDenied", "--accessFile=", "--accessId="),
                (r"absent-\d+: No such file", f"--accessFile={self.path('absent')}"),
                (r"--baseURL", f"--baseURL=ftp://127.0.0.1:{self.server.port}/"),
                (r"--baseURL", "--baseURL=http:///"),
                (r"--baseURL", f"--baseURL=http://user@127.0.0.1:{self.server.port}/"),
                (r"(?i)ssl|tls", f"--baseURL=https://127.0.0.1:{self.plain_port()}/"),
                (r"(?i)--?cacert|ca-that-is-none", f"--baseURL=https://127.0.0.1:{self.server.port}/", f"--cacert={nobody}"),
                (r"absent-\d+", f"--baseURL=https://127.0.0.1:{self.server.port}/", f"--cacert={self.path('absent')}"),
                (r"404 NoSuchBucket.*--baseURL", f"--baseURL={url}/somewhere/"),
                (r"region", "--baseURL=", "--region=not a region"),
                (r"--vhost and --no-vhost", "--vhost", "--no-vhost"),
                (r"store", "--s3-store=nosuch")):
            with self.subTest(options):
                self.assert_refused(words, *options)

    def plain_port(self):
        """Of a server that answers whatever it hears with 400, as those do that wait for plain HTTP."""
        listener = socket.create_server(("127.0.0.1", 0))

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(1000)
                        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        threading.Thread(target=serve, daemon=True).start()
        self.addCleanup(listener.close)
        return listener.getsockname()[1]

    def test_silent_server(self):
        """One that takes connections and never says a word: the log does not wait for a minute to say so."""
        silent = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(silent.close)
        store = self.store()
        store.options = (f"--baseURL=http://127.0.0.1:{silent.getsockname()[1]}/", *store.options[1:])
        volume = disk.Disk(self, "1M", "64K", "--s3-progress-timeout=1s", store=store)
        with self.assertRaises(disk.MountFailed) as failed:
            volume.mount(seconds=100)
        self.assertRegex(failed.exception.text, "(too slow|timed out)")

    def test_locations(self):
        for words, location in ((r"404 NoSuchBucket.*create the bucket", "nosuchbucket"),
                                (r"404 NoSuchBucket.*create the bucket", "nosuchbucket/with/prefix"),
                                (r"does not name a bucket", "/prefix"), (r"does not name a bucket", "a b"),
                                (r"does not name a bucket", "s3://"), (r"does not name a bucket", "x" * 300),
                                (r"longer than", faulty.BUCKET + "/" + "p" * 1000)):
            with self.subTest(location):
                self.assert_refused(words, location=location)

    def test_no_server(self):
        """Not there (yet) is waited for, but not for ever."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.assert_refused(r"127.0.0.1:\d+.*onnect", f"--baseURL=http://127.0.0.1:{port}/", seconds=60, lines=None)

    def test_no_s3_server(self):
        self.server.fault("html", status=404)
        self.assert_refused(r"404.*does not look like an answer of S3.*--baseURL", seconds=60, lines=None)

    def test_forbidden(self):
        self.server.fault("access-denied")
        self.assert_refused(r"403 AccessDenied.*\(request \w+\).*s3:ListBucket")

    def test_the_bucket_is_gone(self):
        self.server.fault("no-such-bucket")
        self.assert_refused(r"404 NoSuchBucket.*\(request \w+\)")

    def test_expired(self):
        self.server.fault("expired-token")
        self.assert_refused(r"403 ExpiredToken.*get new credentials")

    def test_debug_http(self):
        """Requests and headers, but neither credentials nor bodies."""
        for version in ("aws4", "aws2"):
            with self.subTest(version):
                volume = disk.Disk(self, "1M", "64K", "--debug-http", f"--authVersion={version}", store=self.store()).mount()
                disk.write_at(volume.file, 0, b"bodymarker" * 6553)
                disk.read_at(volume.file, 0, BLOCK)
                volume.umount()
                self.assert_log(volume, r"> PUT /testbucket/00000000 HTTP/1.1")
                self.assert_log(volume, r"< HTTP/1.1 200 OK")
                self.assert_log(volume, r"(?i)> authorization: \*\*\*")
                self.assert_log(volume, r"(?i)> x-amz-meta-")
                self.assertNotIn("bodymarker", volume.log_text())
        self.assertGreater(len(self.signatures()), 10)

    def test_debug_http_of_a_probe(self):
        store = self.store("v")
        for options, shows in ((("--debug-http",), True), ((), False)):
            done = disk.run(disk.BINARY, "probe", "--backend=s3", *store.options, *options, store.location,
                            env=disk.environment(self))
            self.said += done.stderr
            self.assertEqual("> PUT /testbucket/v/bucketdisk-probe-" in done.stderr, shows, done.stderr[-2000:])
            self.assertEqual(done.stderr == "", not shows)
            self.assertIn("Fit for a disk.", done.stdout)


class Tls(S3Story):
    tls = True

    def test_private_authority(self):
        volume = self.volume("tls")
        self.server.fault("truncate", op="get", count=2)
        self.server.fault("lose", op="put", count=2)
        self.write(volume, 2, 3)
        self.same(volume)
        self.check(volume)
        hashes = {request["headers"]["x-amz-content-sha256"] for request in self.server.requests(op="put")}
        self.assertEqual(hashes, {"UNSIGNED-PAYLOAD"}, "over TLS the payload need not be signed")

    def test_refused_without_it(self):
        store = self.store()
        store.options = tuple(option for option in store.options if not option.startswith("--cacert"))
        started = time.monotonic()
        status, text = disk.Disk(self, "1M", "64K", store=store).refused()
        self.assertGreater(status, 0)
        self.assertRegex(text, "(?i)certificate")
        self.assert_one_sentence(text)
        self.assertLess(time.monotonic() - started, 10)
        self.assertEqual(self.server.requests(), [])

    def test_insecure(self):
        store = self.store("insecure")
        store.options = (*(option for option in store.options if not option.startswith("--cacert")), "--insecure")
        self.check(self.volume(store=store))

    def test_plain_http_to_a_tls_port(self):
        store = self.store()
        store.options = (f"--baseURL=http://127.0.0.1:{self.server.port}/", *store.options[1:])
        status, _ = disk.Disk(self, "1M", "64K", store=store).refused()
        self.assertGreater(status, 0)


if __name__ == "__main__":
    disk.main()
