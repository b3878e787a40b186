#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The faulty server is a good server until it is told otherwise, and then it does what it is told."""
import base64
import contextlib
import gzip
import hashlib
import http.client
import socket
import ssl
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
import disk
import faulty

try:
    import boto3
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.config import Config
    from botocore.credentials import Credentials
    from botocore.exceptions import ClientError
except ImportError:
    print("skipped: no boto3 (python3-boto3)", file=sys.stderr)
    sys.exit(disk.SKIPPED)

BUCKET = faulty.BUCKET


class Story(disk.Story):
    def setUp(self):
        super().setUp()
        self.server = faulty.FaultyServer(self)

    def client(self, secret=faulty.FaultyServer.secret, version="s3v4", token=None, access_id=faulty.FaultyServer.access_id,
               region="us-east-1", verify=None):
        config = Config(signature_version=version, retries={"max_attempts": 0}, s3={"addressing_style": "path"},
                        connect_timeout=5, read_timeout=5)
        client = boto3.session.Session().client("s3", endpoint_url=self.server.endpoint, aws_access_key_id=access_id,
                                                aws_secret_access_key=secret, aws_session_token=token, region_name=region,
                                                verify=verify, config=config)
        self.addCleanup(client.close)
        return client

    @contextlib.contextmanager
    def refused(self, status, code):
        with self.assertRaises(ClientError) as caught:
            yield
        answer = caught.exception.response
        self.assertEqual((answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]), (status, code))

    def connect(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=5)
        self.addCleanup(connection.close)
        return connection

    def ask(self, method="GET", key="key", body=None, headers=(), connection=None):
        """Without a signature: (status, headers, body)."""
        connection = connection or self.connect()
        connection.request(method, f"/{BUCKET}/{key}", body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


    def signed(self, method, path, body, signed_body=None, host=None, **headers):
        """A request signed by botocore and sent by us."""
        host = host or f"127.0.0.1:{self.server.port}"
        request = AWSRequest(method, f"http://{host}{path}", data=body if signed_body is None else signed_body, headers=headers)
        request.context["payload_signing_enabled"] = True
        credentials = Credentials(self.server.access_id, self.server.secret)
        S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(request)
        connection = self.connect()
        connection.request(method, path, body, {**dict(request.headers), "Host": host})
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200:
            code = text.partition("<Code>")[2].partition("<")[0]
            raise ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": answer.status}}, method)


class Good(Story):
    """Amazon's own library finds nothing to complain about."""

    def test_objects(self):
        for version in ("s3v4", "s3"):
            with self.subTest(signature=version):
                client = self.client(version=version)
                put = client.put_object(Bucket=BUCKET, Key="a b+%/é", Body=b"hello", ContentEncoding="deflate,own",
                                        Metadata={"one": "1", "under_score": "2"})
                self.assertEqual(put["ETag"], f'"{hashlib.md5(b"hello").hexdigest()}"')
                got = client.get_object(Bucket=BUCKET, Key="a b+%/é")
                self.assertEqual((got["Body"].read(), got["ContentEncoding"]), (b"hello", "deflate,own"))
                self.assertEqual(got["Metadata"], {"one": "1", "under_score": "2"})
                self.assertEqual(client.head_object(Bucket=BUCKET, Key="a b+%/é")["ContentLength"], 5)
                self.assertEqual(client.get_object(Bucket=BUCKET, Key="a b+%/é", Range="bytes=1-3")["Body"].read(), b"ell")
                with self.refused(304, "304"):
                    client.get_object(Bucket=BUCKET, Key="a b+%/é", IfNoneMatch=put["ETag"])
                with self.refused(412, "PreconditionFailed"):
                    client.get_object(Bucket=BUCKET, Key="a b+%/é", IfMatch='"0"')
                client.copy_object(Bucket=BUCKET, Key="copy", CopySource={"Bucket": BUCKET, "Key": "a b+%/é"})
                for key in ("a b+%/é", "copy"):
                    client.delete_object(Bucket=BUCKET, Key=key)
                with self.refused(404, "NoSuchKey"):
                    client.get_object(Bucket=BUCKET, Key="a b+%/é")
                self.assertEqual(self.server.objects(), {})

    def test_buckets(self):
        client = self.client()
        client.head_bucket(Bucket=BUCKET)
        with self.refused(404, "NoSuchBucket"):
            client.get_object(Bucket="nothere", Key="x")
        client.create_bucket(Bucket="another")
        self.assertEqual([bucket["Name"] for bucket in client.list_buckets()["Buckets"]], ["another", BUCKET])
        client.delete_bucket(Bucket="another")

    def test_lists(self):
        client = self.client()
        keys = sorted([f"{number:04}" for number in range(30)] + ["d/1", "d/2", "e/1", "<&>"])
        for key in keys:
            client.put_object(Bucket=BUCKET, Key=key, Body=b"x")
        for method in ("list_objects", "list_objects_v2"):
            with self.subTest(method=method):
                pages = list(client.get_paginator(method).paginate(Bucket=BUCKET, PaginationConfig={"PageSize": 7}))
                self.assertEqual(len(pages), 5)
                self.assertEqual([thing["Key"] for page in pages for thing in page["Contents"]], keys)
                pages = list(client.get_paginator(method).paginate(Bucket=BUCKET, Delimiter="/", PaginationConfig={"PageSize": 3}))
                self.assertEqual([found["Prefix"] for page in pages for found in page.get("CommonPrefixes", [])], ["d/", "e/"])
                self.assertEqual(len([thing for page in pages for thing in page.get("Contents", [])]), 31)
                found = getattr(client, method)(Bucket=BUCKET, Prefix="002")
                self.assertEqual(len(found["Contents"]), 10)
        self.assertEqual(client.list_objects_v2(Bucket=BUCKET, StartAfter="0029")["Contents"][0]["Key"], "<&>")
        self.assertIn("KeyCount", client.list_objects_v2(Bucket=BUCKET))
        self.server.set(list_v1_only=True)
        self.assertNotIn("KeyCount", client.list_objects_v2(Bucket=BUCKET))
        self.server.set(list_v1_only=False, list_max=10)
        self.assertEqual(len(client.list_objects_v2(Bucket=BUCKET)["Contents"]), 10)

    def test_delete_objects(self):
        client = self.client()
        for key in "abc":
            client.put_object(Bucket=BUCKET, Key=key, Body=b"x")
        self.server.fault("delete-errors", count=1, errors=[{"key": "^b", "code": "AccessDenied"}])
        wanted = {"Objects": [{"Key": key} for key in "abcd"]}
        done = client.delete_objects(Bucket=BUCKET, Delete=wanted)
        self.assertEqual([(error["Key"], error["Code"]) for error in done["Errors"]], [("b", "AccessDenied")])
        self.assertEqual([entry["Key"] for entry in done["Deleted"]], ["a", "c", "d"])
        self.server.set(demand_md5=True)
        self.assertEqual(client.delete_objects(Bucket=BUCKET, Delete={**wanted, "Quiet": True}).get("Deleted"), None)
        self.assertEqual(self.server.objects(), {})
        self.server.set(delete_objects="reject")
        with self.refused(501, "NotImplemented"):
            client.delete_objects(Bucket=BUCKET, Delete=wanted)

    def test_bodies_are_checked(self):
        client = self.client()
        with self.refused(400, "BadDigest"):
            client.put_object(Bucket=BUCKET, Key="x", Body=b"x", ContentMD5=base64.b64encode(bytes(16)).decode())
        self.assertEqual(self.server.objects(), {})
        with self.refused(400, "XAmzContentSHA256Mismatch"):
            self.signed("PUT", f"/{BUCKET}/x", b"sent", signed_body=b"signed")
        self.signed("PUT", f"/{BUCKET}/x", b"sent")
        self.assertEqual(self.server.get("x"), b"sent")

    def test_bucket_in_the_host_name(self):
        self.signed("PUT", "/key", b"sent", host=f"{BUCKET}.localhost:{self.server.port}")
        self.assertEqual(self.server.get("key"), b"sent")

    def test_expectation(self):
        """Refused before the body, or asked for the body."""
        for setting, first in (("early", b"HTTP/1.1 403"), ("continue", b"HTTP/1.1 100")):
            self.server.set(expect=setting)
            with socket.create_connection(("127.0.0.1", self.server.port), 5) as plain:
                plain.sendall(f"PUT /{BUCKET}/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n".encode())
                self.assertEqual(plain.recv(12), first)

    def test_tls(self):
        self.server = faulty.FaultyServer(self, tls=True)
        client = self.client(verify=str(self.server.cacert))
        client.put_object(Bucket=BUCKET, Key="x", Body=b"x" * 3000000)
        self.assertEqual(len(client.get_object(Bucket=BUCKET, Key="x")["Body"].read()), 3000000)
        with self.assertRaises(ssl.SSLCertVerificationError), \
                socket.create_connection(("127.0.0.1", self.server.port), 5) as plain:
            ssl.create_default_context().wrap_socket(plain, server_hostname="127.0.0.1")


class Identity(Story):
    def ask_as(self, access_id, secret, version, token=None):
        self.client(secret, version, token, access_id).put_object(Bucket=BUCKET, Key="x", Body=b"x")

    def test_who_may(self):
        for version in ("s3v4", "s3"):
            with self.subTest(signature=version):
                with self.refused(403, "SignatureDoesNotMatch"):
                    self.ask_as(self.server.access_id, "wrong", version)
                with self.refused(403, "InvalidAccessKeyId"):
                    self.ask_as("nobody", "s", version)
                self.server.set(accounts=[{"id": "temporary", "secret": "s", "token": "t"}])
                self.ask_as("temporary", "s", version, "t")
                with self.refused(400, "InvalidToken"):
                    self.ask_as("temporary", "s", version)
                self.server.set(expired=["temporary"])
                with self.refused(400, "ExpiredToken"):
                    self.ask_as("temporary", "s", version, "t")
                self.server.set(expired=[], revoked=["temporary"])
                with self.refused(403, "InvalidAccessKeyId"):
                    self.ask_as("temporary", "s", version, "t")
                self.server.set(revoked=[])

    def test_without_a_signature(self):
        self.assertEqual(self.ask()[0], 403)
        self.server.set(anonymous="read")
        self.assertEqual(self.ask()[0], 404)
        self.assertEqual(self.ask("PUT", body=b"x")[0], 403)
        self.server.set(anonymous="write")
        self.assertEqual(self.ask("PUT", body=b"x")[0], 200)

    def test_versions_of_signatures(self):
        self.server.set(auth="v4")
        with self.refused(400, "InvalidRequest"):
            self.client(version="s3").list_objects(Bucket=BUCKET)
        self.server.set(auth="v2")
        with self.refused(400, "InvalidRequest"):
            self.client().list_objects(Bucket=BUCKET)

    def test_presigned(self):
        self.client().put_object(Bucket=BUCKET, Key="x", Body=b"hello")
        url = self.client().generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "x"}, 60)
        connection = self.connect()
        connection.request("GET", url[url.index("/", 8):])
        self.assertEqual(connection.getresponse().read(), b"hello")

    def test_the_clock(self):
        for offset in (-1200, 1200):
            self.server.set(clock_offset=offset)
            for version in ("s3v4", "s3"):
                with self.refused(403, "RequestTimeTooSkewed"):
                    self.client(version=version).list_objects(Bucket=BUCKET)
        self.server.set(clock_offset=600)
        self.client().list_objects(Bucket=BUCKET)
        self.server.set(clock_offset=0)
        self.server.fault("time-skewed", offset=86400)
        self.server.set(auth="none")
        there = self.ask()[1]["Date"]
        self.assertAlmostEqual(time.mktime(time.strptime(there, "%a, %d %b %Y %H:%M:%S GMT")) - time.timezone,
                               time.time() + 86400, delta=5)

    def test_the_region(self):
        self.server.set(region="eu-test-1")
        with self.refused(400, "AuthorizationHeaderMalformed"):
            self.signed("PUT", f"/{BUCKET}/x", b"x")
        with self.refused(404, "NoSuchKey"):
            self.client().get_object(Bucket=BUCKET, Key="x")            # boto3 reads the region and asks again
        self.assertEqual([entry["status"] for entry in self.server.requests(op="get")], [400, 404])
        self.assertIn(b"<Region>eu-test-1</Region>", self.refusal()[2])
        self.server.set(wrong_region="redirect")
        status, headers, body = self.refusal()
        self.assertEqual((status, headers["x-amz-bucket-region"]), (301, "eu-test-1"))
        self.assertIn(b"PermanentRedirect", body)

    def refusal(self):
        url = self.client().generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "x"}, 60)
        connection = self.connect()
        connection.request("GET", url[url.index("/", 8):])
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


class Conditions(Story):
    def setUp(self):
        super().setUp()
        self.server.set(auth="none")

    def put(self, **condition):
        names = {"none": "If-None-Match", "match": "If-Match"}
        return self.ask("PUT", body=b"new", headers={names[name]: value for name, value in condition.items()})[0]

    def test_honoured(self):
        etag = hashlib.md5(b"old").hexdigest()
        self.assertEqual(self.put(match=etag), 404)
        self.assertEqual(self.put(none="*"), 200)
        self.assertEqual(self.put(none="*"), 412)
        for given in (etag, f'"{etag}"'):
            self.server.put("key", b"old")
            self.assertEqual(self.put(match='"0"'), 412)
            self.assertEqual(self.server.get("key"), b"old")
            self.assertEqual(self.put(match=given), 200)
            self.assertEqual(self.put(match=given), 412)

    def test_otherwise(self):
        etag = hashlib.md5(b"new").hexdigest()
        self.server.set(if_match_quotes="without", if_match_missing=412)
        self.assertEqual(self.put(match=etag), 412)
        self.server.put("key", b"new")
        self.assertEqual((self.put(match=f'"{etag}"'), self.put(match=etag)), (412, 200))
        self.server.set(conditions="ignore")
        self.assertEqual((self.put(none="*"), self.put(match="0")), (200, 200))
        self.server.set(conditions="reject")
        self.assertEqual((self.put(none="*"), self.put(match="0"), self.put()), (501, 501, 200))

    def test_delete(self):
        self.server.put("key", b"old")
        self.assertEqual(self.ask("DELETE", headers={"If-Match": '"0"'})[0], 412)
        self.server.set(delete_conditions="ignore")
        self.assertEqual(self.ask("DELETE", headers={"If-Match": '"0"'})[0], 204)

    def test_opaque_etags(self):
        self.server.set(etag="opaque")
        self.assertNotEqual(self.ask("PUT", body=b"new")[1]["ETag"], f'"{hashlib.md5(b"new").hexdigest()}"')
        self.server.set(etag="none")
        self.assertIsNone(self.ask()[1]["ETag"])


class Faults(Story):
    def setUp(self):
        super().setUp()
        self.server.set(auth="none")
        self.body = self.random.randbytes(100000)
        self.server.put("key", self.body, {"Content-Encoding": "own", "x-amz-meta-a": "1"})

    def test_which_requests(self):
        self.server.fault("500", method="PUT|DELETE", key="^k", count=2)
        self.server.fault("503", op="get", nth=3, retry_after=7)
        self.assertEqual([self.ask("DELETE", "other")[0], self.ask("PUT", body=b"")[0], self.ask("DELETE")[0],
                          self.ask("HEAD")[0]], [204, 500, 500, 200])
        self.assertEqual([self.ask()[0] for _ in range(5)], [200, 200, 503, 200, 200])
        self.assertEqual((self.server.fired("500"), self.server.fired("503")), (2, 1))
        entry = self.server.requests(method="GET", status=503)[0]
        self.assertEqual((entry["key"], entry["op"], entry["fault"], entry["code"]), ("key", "get", "503", "SlowDown"))
        self.server.command(faults=[{"do": "429", "match": {"probability": 0.5}}])
        found = [self.ask()[0] for _ in range(40)]
        self.assertTrue(5 < found.count(429) < 35, found)
        self.server.reset()
        self.assertEqual(self.server.state()["requests"], [])

    def test_what_is_asked_wrongly_is_refused(self):
        for words in ({"faults": [{"do": "nosuch"}]}, {"faults": [{"do": "500", "match": {"colour": 1}}]},
                      {"settings": {"nosuch": 1}}, {"settings": {"conditions": "perhaps"}}, {"nosuch": 1}):
            with self.subTest(words=words), self.assertRaises(AssertionError):
                self.server.command(**words)

    def test_errors(self):
        for do, status, code in (("500", 500, b"InternalError"), ("503", 503, b"SlowDown"), ("429", 429, b"TooManyRequests"),
                                 ("expired-token", 403, b"ExpiredToken"), ("time-skewed", 403, b"RequestTimeTooSkewed"),
                                 ("no-such-bucket", 404, b"NoSuchBucket"), ("redirect", 301, b"PermanentRedirect"),
                                 ("wrong-region", 400, b"<Region>eu-central-1</Region>"), ("html", 502, b"<html>"),
                                 ("error-in-200", 200, b"<Code>InternalError</Code>"), ("access-denied", 403, b"AccessDenied")):
            self.server.fault(do, count=1)
            found = self.ask("PUT", body=b"other")
            self.assertEqual(found[0], status, do)
            self.assertIn(code, found[2], do)
        self.server.fault("empty", count=1)
        self.assertEqual(self.ask()[::2], (404, b""))
        self.server.fault("error", status=418, code="Teapot", headers={"X-Tea": "green"})
        self.assertEqual(self.ask()[1]["X-Tea"], "green")
        self.assertEqual(self.server.get("key"), self.body)

    def test_changed_on_the_way(self):
        self.server.fault("gzip", count=1)
        _, headers, body = self.ask()
        self.assertEqual((headers["Content-Encoding"], gzip.decompress(body)), ("own, gzip", self.body))
        self.server.fault("aws-chunked", count=1)
        self.assertEqual(self.ask()[1]["Content-Encoding"], "aws-chunked,own")
        self.server.fault("strip", count=1)
        headers = self.ask()[1]
        self.assertEqual((headers["Content-Encoding"], headers["x-amz-meta-a"]), (None, None))
        self.server.fault("headers", count=1, set={"ETag": '"x"'})
        self.assertEqual(self.ask()[1]["ETag"], '"x"')
        self.server.fault("huge-headers", count=1, lines=20, bytes=3000)
        self.assertEqual(len(self.ask()[1]["x-filler-19"]), 3000)
        self.server.fault("damage", count=1)
        self.assertNotEqual(self.ask()[2], self.body)
        self.server.fault("shorten", count=1, bytes=77)
        self.assertEqual(self.ask()[2], self.body[:77])
        self.assertEqual(self.ask()[2], self.body)

    def test_broken_bodies(self):
        self.server.fault("truncate", count=1, bytes=500)
        with self.assertRaises(http.client.IncompleteRead) as caught:
            self.ask()
        self.assertEqual(len(caught.exception.partial), 500)
        self.server.fault("reset-in-body", count=1)
        with self.assertRaises((http.client.IncompleteRead, ConnectionResetError)):
            self.ask()
        self.server.fault("slow", count=1, bytes_per_second=200000)
        started = time.monotonic()
        self.assertEqual(self.ask()[2], self.body)
        self.assertGreater(time.monotonic() - started, 0.4)

    def test_no_answer(self):
        for do, carried_out in (("reset", False), ("close", False), ("lose", True)):
            self.server.put("key", b"old")
            self.server.fault(do, count=1)
            with self.assertRaises((ConnectionResetError, http.client.RemoteDisconnected)):
                self.ask("PUT", body=b"new")
            self.assertEqual(self.server.get("key"), b"new" if carried_out else b"old", do)
            self.assertIsNone(self.server.requests(fault=do)[0]["status"])

    def test_late(self):
        """The write of a request that was given up covers a newer one."""
        self.server.fault("late", count=1, seconds=0.5)
        with self.assertRaises(http.client.RemoteDisconnected):
            self.ask("PUT", body=b"first")
        self.assertEqual(self.ask("PUT", body=b"second")[0], 200)
        self.assertEqual(self.server.get("key"), b"second")
        disk.wait_until("the late write", lambda: self.server.get("key") == b"first", 5)
        self.assertEqual(self.server.requests(fault="late")[0]["carried_out"], 200)
        self.server.fault("late", count=1, seconds=0.5)
        with self.assertRaises(http.client.RemoteDisconnected):
            self.ask("PUT", body=b"third", headers={"If-Match": hashlib.md5(b"first").hexdigest()})
        self.assertEqual(self.ask("PUT", body=b"fourth")[0], 200)
        disk.wait_until("the late refusal", lambda: self.server.requests(fault="late")[1]["carried_out"], 5)
        self.assertEqual(self.server.get("key"), b"fourth")

    def test_hang(self):
        self.server.fault("hang", count=1, seconds=0.5)
        started = time.monotonic()
        self.assertEqual(self.ask()[0], 200)
        self.assertGreater(time.monotonic() - started, 0.4)
        for first in (True, False):
            self.server.fault("hang", count=1, seconds=0.5, first=first)
            connection = self.connect()
            connection.request("DELETE", f"/{BUCKET}/key")
            time.sleep(0.2)
            self.assertEqual("key" in self.server.objects(), not first)
            connection.close()
            disk.wait_until("the deletion", lambda: "key" not in self.server.objects(), 5)
            self.server.put("key", b"again")

    def test_stale(self):
        self.server.fault("stale", method="GET|HEAD", seconds=0.6)
        time.sleep(0.7)
        self.assertEqual(self.ask()[2], self.body)
        self.ask("PUT", body=b"new")
        self.ask("PUT", "another", body=b"new")
        self.assertEqual((self.ask()[2], self.ask(key="another")[0]), (self.body, 404))
        self.assertNotIn(b"another", self.ask(key="")[2])
        disk.wait_until("the new", lambda: self.ask()[2] == b"new" and self.ask(key="another")[2] == b"new", 5)
        self.assertIn(b"another", self.ask(key="")[2])

    def test_connections(self):
        self.server.set(idle_seconds=1, keep_alive_header=True)
        connection = self.connect()
        self.assertEqual(self.ask(connection=connection)[1]["Keep-Alive"], "timeout=1")
        self.assertEqual(self.ask(connection=connection)[0], 200)
        time.sleep(1.3)
        self.assertEqual(connection.sock.recv(1), b"", "the idle connection is still there")
        self.server.set(idle_seconds=0, requests_per_connection=2)
        connection = self.connect()
        self.assertEqual([self.ask(connection=connection)[1]["Connection"] for _ in range(2)], [None, "close"])
        self.server.set(requests_per_connection=0)
        self.server.fault("close-after", count=1)
        connection = self.connect()
        self.assertEqual(self.ask(connection=connection)[0], 200)
        self.assertEqual(connection.sock.recv(1), b"")
        self.server.set(nagle=True)
        self.assertEqual(self.ask()[2], self.body)

    def test_down(self):
        connection = self.connect()
        self.ask(connection=connection)
        self.server.down(0.5, reset=True)
        with self.assertRaises(ConnectionRefusedError):
            self.ask()
        with self.assertRaises(ConnectionResetError):
            connection.sock.recv(1)

        def is_back():
            with contextlib.suppress(ConnectionRefusedError):
                return self.ask()[0] == 200
        disk.wait_until("the server to be back", is_back, 5)

    def test_proxies_pages_have_other_statuses(self):
        for status in (404, 502, 504):
            self.server.fault("html", count=1, status=status)
            self.assertEqual(self.ask()[0], status)


if __name__ == "__main__":
    disk.main(mounts=False)
