#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every option of s3backer, and what it does here.

s3backer_options.txt lists them, and s3backer_options.md shows the list with what is said of each and what shows it.  Each test says with @shows which ones it shows the effect of, by what the store is asked,
by what the mount says, or by time; at the end the two lists must be the same.  Over the faulty server, which keeps a
record of all requests."""
import contextlib
import http.server
import json
import os
import re
import shutil
import socket
import stat
import struct
import subprocess
import threading
import time

import disk
import faulty
import s3backer

BLOCK = 65536
LIST = disk.TOP / "tests/e2e/s3backer_options.txt"
SHOWN = set()
NOT_THERE = {"PUT", "POST", "DELETE"}


def shows(*names):
    """Marks a test: it shows the effect of these options."""
    SHOWN.update(names)
    return lambda test: test


def options_listed():
    """name -> (takes: "" or "=" or "[=]", what else is said)."""
    listed = {}
    for line in LIST.read_text().splitlines():
        if not line.startswith("#"):
            match = re.fullmatch(r"([\w-]+)(\[=\w+\]|=\w+)?(?: (\w+))?(?: \w+ \w+)?", line)
            listed[match[1]] = ("[=]" if (match[2] or "").startswith("[") else "=" if match[2] else "", match[3])
    return listed


LISTED = options_listed()
MAY_BE_BARE = ("accessId", "accessEC2IAM")  # here: so the next word is not their value
REFUSED = [name for name, (_, what) in LISTED.items() if what == "refused"]


class Options(disk.Story):
    def setUp(self):
        super().setUp()
        self.count = 0

    # What all tests are made with

    def store(self, **more):
        """A new prefix of the server's bucket, which is started when it is first needed."""
        if not hasattr(self, "server"):
            self.server = faulty.FaultyServer(self, **more)
        self.count += 1
        return faulty.FaultyStore(self.server, f"v{self.count}")

    def new_disk(self, *options, size="1M", block_size="64K", store=None):
        return disk.Disk(self, size, block_size, *options, store=store or self.store())

    def in_directory(self, *options, **more):
        return self.new_disk(*options, store=disk.DirStore(self), **more)

    def without(self, store, *names):
        """The store's options without those."""
        store.options = tuple(option for option in store.options if option.split("=")[0].removeprefix("--") not in names)
        return store

    def requests(self, volume, **wanted):
        return [request for request in self.server.requests(**wanted) if request["key"].startswith(volume.store.prefix)]

    def blocks(self, volume, **wanted):
        return [request for request in self.requests(volume, **wanted) if re.fullmatch(r".*/[0-9a-f]{8}", request["key"])]

    def header(self, volume, name, block=1):
        """Of the writing of a block."""
        return self.requests(volume, method="PUT", key=f"{volume.store.prefix}{block:08x}")[-1]["headers"].get(name)

    def write(self, volume, block=1, blocks=1, data=None):
        data = data or self.random.randbytes(blocks * BLOCK)
        disk.write_at(volume.file, block * BLOCK, data)
        return data

    def one_write(self, *options, **more):
        volume = self.new_disk(*options, **more).mount()
        self.write(volume)
        volume.umount()
        return volume

    def encoding(self, volume, block=1):
        return self.server.objects()[f"{volume.store.prefix}{block:08x}"]["headers"].get("content-encoding")

    def run_command(self, *words, program=disk.BINARY, status=0, **more):
        done = disk.run(program, *words, check=False, env=disk.environment(self), **more)
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def stat_line(self, volume, name):
        line = next(line for line in (volume.mountpoint / "stats").read_text().splitlines() if line.split()[0] == name)
        return line.split(maxsplit=1)[1]

    @staticmethod
    def mounted_as(where):
        """Its line in the table of mounts."""
        with open("/proc/self/mounts", encoding="utf-8") as mounts:
            return next(line for line in mounts if line.split()[1] == str(where))

    def s3backer_link(self):
        link = self.directory("bin") / "s3backer"
        link.symlink_to(disk.BINARY)
        return link

    # The list

    def test_list_and_tests_are_complete(self):
        elsewhere = {name for name, (_, what) in LISTED.items() if what == "elsewhere"}
        self.assertEqual(SHOWN | elsewhere, set(LISTED))
        self.assertEqual(SHOWN & elsewhere, set())
        if shutil.which("s3backer"):
            said = disk.run("s3backer", "--help").stderr.partition("Default values")[0]
            theirs = dict(re.findall(r"^\t--([\w-]+)(\[?=)?", said, flags=re.M))
            self.assertGreater(len(theirs), 55)
            self.assertEqual(set(theirs) - set(LISTED), set())
            for name, takes in theirs.items():
                if name != "keyLength":             # of which its help forgets that it takes a value
                    self.assertEqual(LISTED[name][0][:1], takes[:1], name)

    def test_each_is_known_in_each_form(self):
        """As --name=value, as two words, behind -o, and in a file: the last option is what is complained of, so all the others are
        known and their values right."""
        values = {"accessType": "private", "authVersion": "aws4", "fileMode": "0644", "blockSize": "4k", "size": "1m", "compress": "9",
                  "compress-level": "3", "maxUploadSpeed": "256k", "maxDownloadSpeed": "1m", "keyLength": "64", "ipTOS": "0x10",
                  "statsFileMirrorInterval": "500", "listBlocksThreads": "4", "sse": "AES256"}
        given = []
        for name, (takes, what) in LISTED.items():
            if what is None and name not in ("configFile", "help", "version", "reset-mounted-flag"):
                value = values.get(name, "7")
                given.append((name, value if takes else None))
        pairs = [f"{name}={value}" if value else name for name, value in given]
        file = self.path("options")
        file.write_text("# all of them\n" + "".join(f"--{pair}\n" for pair in pairs))
        two_words = [word for name, value in given
                     for word in ([f"--{name}={value}"] if LISTED[name][0] == "[=]" or name in MAY_BE_BARE else [f"--{name}", *([value] if value else [])])]
        forms = {"=": [f"--{pair}" for pair in pairs], "words": two_words, "-o": ["-o", ",".join(pairs)],
                 "each -o": [word for pair in pairs for word in ("-o", pair)], "file": [f"--configFile={file}"], "-F": ["-F", file]}
        for form, words in forms.items():
            with self.subTest(form):
                said = self.run_command(*words, "--filename=a/b", "bucket", self.tmp, status=1).stderr
                self.assertEqual(said, "bucketdisk: error: --filename=a/b is not a name for a file; give one without a slash\n")

    @shows("fileMode", "configFile")
    def test_a_value_arrives_in_each_form(self):
        inner, outer = self.path("inner"), self.path("outer")
        inner.write_text("# nested\n\n--fileMode=0604\n--directIO\n")
        outer.write_text(f"--configFile={inner}\n")
        for words in (["--fileMode=0604"], ["--fileMode", "0604"], ["-o", "fileMode=0604"], ["-o", "ro,fileMode=0604,_netdev"],
                      ["-F", inner], [f"--configFile={outer}"], ["-o", f"configFile={outer}"], ["-o", "file-mode=604"]):
            with self.subTest(words):
                volume = self.in_directory()
                if "ro," in str(words[-1]):
                    volume.mount().umount()
                volume.mount(*words)
                self.assertEqual(stat.S_IMODE(volume.file.stat().st_mode), 0o604)
                volume.umount()
        inner.write_text("--fileMode=0604\n--nosuch\n")
        said = self.run_command("-F", outer, "bucket", self.tmp, status=1).stderr
        self.assertIn(f"{inner}:2: there is no option --nosuch", said)

    @shows(*REFUSED)
    def test_what_is_refused_says_what_to_do(self):
        instead = {"nbd": "losetup", "nbd-flag": "losetup", "nbd-param": "losetup", "assumeEmpty": "--listBlocks",
                   "connectTimeout": "--timeout", "ioTimeout": "--timeout", "maxRetry": "--maxRetryPause",
                   "retryPause": "--initialRetryPause"}
        self.assertEqual(set(instead), set(REFUSED))
        for name, way in instead.items():
            pair = f"{name}=3" if LISTED[name][0] else name
            for words in ([f"--{pair}"], ["-o", f"allow_other,{pair}"]):
                with self.subTest(words):
                    done = self.run_command(*words, "bucket", self.tmp, status=1)
                    self.assertRegex(done.stderr, rf"\Abucketdisk: error: -(-|o ){name}: [^\n]*{way}[^\n]*\n\Z")

    # Who we are, and where the store is

    @shows("accessFile", "accessId", "accessKey", "accessKeyEnv")
    def test_credentials(self):
        keys = self.path("keys")
        keys.write_text("# ours and others'\n\nsomebody:else\nfaultyid:faultysecret\n")
        keys.chmod(0o600)
        def mounted(*options):
            store = self.without(self.store(), "accessFile")
            volume = self.new_disk(*options, store=store)
            volume.mount().umount()
            return {request["headers"].get("authorization", "").partition("Credential=")[2].partition("/")[0]
                    for request in self.requests(volume)}
        self.assertEqual(mounted(f"--accessFile={keys}", "--accessId=faultyid"), {"faultyid"})
        self.assertEqual(mounted("--accessId=faultyid", "--accessKey=faultysecret"), {"faultyid"})
        os.environ["BUCKETDISK_TEST_KEY"] = "faultysecret"
        self.addCleanup(os.environ.pop, "BUCKETDISK_TEST_KEY")
        self.assertEqual(mounted("--accessId=faultyid", "--accessKeyEnv=BUCKETDISK_TEST_KEY"), {"faultyid"})
        self.server.set(anonymous="write")
        self.assertEqual(mounted("--accessId="), {""})
        self.server.set(anonymous="refuse")
        # The first one of the file, if none is named.
        status, said = self.new_disk(f"--accessFile={keys}", store=self.without(self.store(), "accessFile")).refused()
        self.assertEqual(status, 1)
        self.assertIn("Credential=somebody/", self.server.requests()[-1]["headers"]["authorization"])

    @shows("accessEC2IAM", "accessEC2IAM-IMDSv2")
    def test_role_of_an_instance(self):
        asked = []

        class Metadata(http.server.BaseHTTPRequestHandler):
            def answer(self, text):
                asked.append((self.command, self.path, self.headers.get("X-aws-ec2-metadata-token")))
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def do_PUT(self):
                self.answer("session")

            def do_GET(self):
                self.answer(json.dumps({"Code": "Success", "AccessKeyId": "roleid", "SecretAccessKey": "rolesecret",
                                        "Token": "roletoken", "Expiration": "2099-01-01T00:00:00Z"}))

            def log_message(self, *_):
                pass
        service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
        threading.Thread(target=service.serve_forever, daemon=True).start()
        self.addCleanup(service.server_close)
        self.addCleanup(service.shutdown)
        os.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = f"http://127.0.0.1:{service.server_port}"
        self.addCleanup(os.environ.pop, "AWS_EC2_METADATA_SERVICE_ENDPOINT")
        store = self.without(self.store(), "accessFile")
        self.server.set(accounts=[{"id": "roleid", "secret": "rolesecret", "token": "roletoken"}])
        volume = self.one_write("--accessEC2IAM=theRole", "--accessEC2IAM-IMDSv2", store=store)
        self.assertEqual(self.header(volume, "x-amz-security-token"), "roletoken")
        self.assertEqual(asked[0][:2], ("PUT", "/latest/api/token"))
        self.assertIn(("GET", "/latest/meta-data/iam/security-credentials/theRole", "session"), asked)

    @shows("authVersion", "region", "baseURL", "vhost", "no-vhost")
    def test_requests(self):
        store = self.without(self.store(), "region")
        volume = self.one_write("--region=eu-north-9", store=store)
        self.assertRegex(self.header(volume, "authorization"), "^AWS4-HMAC-SHA256 Credential=[^/]+/[0-9]+/eu-north-9/s3/")
        self.server.set(auth="v2")
        self.assertRegex(self.header(self.one_write("--authVersion=aws2"), "authorization"), "^AWS faultyid:")
        self.server.set(auth="v4")
        host = f"localhost:{self.server.port}"
        for options, expected in (([], host), (["--vhost"], f"testbucket.{host}"), (["--s3-store=amazon"], f"testbucket.{host}"),
                                  (["--s3-store=amazon", "--no-vhost"], host)):
            with self.subTest(options):
                store = self.without(self.store(), "baseURL")
                volume = self.one_write(f"--baseURL=http://{host}/", *options, store=store)
                self.assertEqual(self.header(volume, "host"), expected)

    @shows("ssl", "cacert", "insecure", "http11")
    def test_tls(self):
        store = self.store(tls=True)
        self.one_write(store=store)                                     # with --cacert
        status, said = self.new_disk(store=self.without(self.store(), "cacert")).refused("--maxRetryPause=300", "--timeout=2")
        self.assertEqual(status, 1)
        self.assertIn("certificate", said)
        self.one_write("--insecure", store=self.without(self.store(), "cacert"))
        bare = f"--baseURL=127.0.0.1:{self.server.port}/"
        self.one_write("--ssl", bare, store=self.without(self.store(), "baseURL"))
        # What is offered when a connection begins.
        with socket.create_server(("127.0.0.1", 0)) as listener:
            for options, offers in ((["--http11"], False), ([], False), (["--http11=no"], True)):
                store = self.without(self.store(), "baseURL", "cacert")
                process = self.start(*self.new_disk(store=store).command(*options),
                                     f"--baseURL=https://127.0.0.1:{listener.getsockname()[1]}/", store.location,
                                     self.directory("never"), stderr=subprocess.DEVNULL)
                listener.settimeout(20)
                connection, _ = listener.accept()
                self.assertEqual(b"\x02h2" in connection.recv(4096), offers, options)
                connection.close()
                process.kill()
                self.reap(process)

    @shows("ipTOS")
    def test_type_of_service(self):
        """As it is in the packets on their way."""
        try:
            socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.ntohs(0x0800)).close()
        except PermissionError:
            self.skipTest("packets cannot be looked at here")
        for options, expected in ((["--ipTOS=0x20"], 0x20), ([], 0)):
            store = self.store()
            with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.ntohs(0x0800)) as sniffer:
                sniffer.bind(("lo", 0x0800))
                volume = self.new_disk(*options, store=store).mount()
                end, seen = time.monotonic() + 60, set()
                sniffer.setblocking(False)
                while not seen and time.monotonic() < end:
                    try:
                        packet = sniffer.recv(65536)
                    except BlockingIOError:
                        self.write(volume)                              # those of the mount were lost among others' packets
                        continue
                    head = (packet[0] & 15) * 4
                    if packet[9] == 6 and struct.unpack("!H", packet[head + 2:head + 4])[0] == self.server.port:
                        seen.add(packet[1])
                self.assertEqual(seen, {expected})
                volume.umount()

    @shows("noCurlCache")
    def test_a_connection_for_each_request(self):
        volume = self.one_write("--noCurlCache")
        connections = [request["connection"] for request in self.requests(volume)]
        self.assertEqual(len(connections), len(set(connections)))
        volume = self.one_write()
        connections = [request["connection"] for request in self.requests(volume)]
        self.assertLess(len(set(connections)), len(connections))

    # What is written

    @shows("accessType", "sse", "sse-key-id", "storageClass", "rrs")
    def test_headers_of_writes(self):
        volume = self.one_write("--accessType=public-read", "--sse=aws:kms", "--sse-key-id=the-key", "--storageClass=STANDARD_IA")
        self.assertEqual(self.header(volume, "x-amz-acl"), "public-read")
        self.assertEqual(self.header(volume, "x-amz-server-side-encryption"), "aws:kms")
        self.assertEqual(self.header(volume, "x-amz-server-side-encryption-aws-kms-key-id"), "the-key")
        self.assertEqual(self.header(volume, "x-amz-storage-class"), "STANDARD_IA")
        volume = self.one_write("--rrs", "--sse=AES256")
        self.assertEqual(self.header(volume, "x-amz-storage-class"), "REDUCED_REDUNDANCY")
        self.assertEqual(self.header(volume, "x-amz-server-side-encryption"), "AES256")
        volume = self.one_write()
        self.assertEqual({self.header(volume, f"x-amz-{name}") for name in ("acl", "server-side-encryption", "storage-class")}, {None})

    @shows("prefix", "blockHashPrefix", "blockSize", "size", "noAutoDetect", "force")
    def test_volumes(self):
        self.assertEqual(self.one_write("--prefix=p.").store.objects(), ["p.00000000", "p.00000001"])
        hashed = self.one_write("--prefix=p-", "--blockHashPrefix").store.objects()
        self.assertEqual([name for name in hashed if not re.fullmatch("p-[0-9a-f]{8}-[0-9a-f]{8}", name)], [])
        volume = self.new_disk(size="1048576", block_size="8k").mount()
        self.assertEqual(volume.file.stat().st_size, 1048576)
        disk.write_at(volume.file, 0, b"x")
        volume.umount()
        first = self.requests(volume, method="PUT", key=f"{volume.store.prefix}00000000")[-1]
        self.assertEqual((first["bytes"], first["headers"]["x-amz-meta-s3backer-filesize"]), (8192, "1048576"))
        volume.mount()                                                  # found again
        self.assertEqual(volume.file.stat().st_size, 1048576)
        volume.umount()
        for options in (["--size=2m"], ["--blockSize=4k"], ["--noAutoDetect"]):
            status, said = volume.refused(*options)
            self.assertEqual(status, 1)
            self.assertRegex(said, "--size|--blockSize|--block-size")
        volume.mount("--size=2m", "--force")
        self.assertEqual(volume.file.stat().st_size, 2 << 20)
        volume.umount()
        volume = self.new_disk(block_size="4k").mount()
        disk.write_at(volume.file, 5000, b"found")
        volume.umount()
        volume.mount("--noAutoDetect", "--size=1m")
        self.assertEqual((volume.file.stat().st_blksize, disk.read_at(volume.file, 5000, 5)), (4096, b"found"))
        volume.umount()

    @shows("compress", "compress-level", "encrypt", "password", "passwordFile", "keyLength", "defaultContentEncoding")
    def test_encodings(self):
        text = bytes(number * number >> 7 & 15 for number in range(BLOCK))
        def written(*options):
            volume = self.new_disk(*options).mount()
            self.write(volume, data=text)
            volume.umount()
            return volume, self.encoding(volume), len(self.server.get(f"{volume.store.prefix}00000001"))
        sizes = {}
        for options, encoding in ((["--compress"], "deflate"), (["--compress=1"], "deflate"), (["--compress=9"], "deflate"),
                                  (["--compress=zstd"], "zstd"), (["--compress=zstd", "--compress-level=19"], "zstd")):
            volume, found, sizes[options[-1]] = written(*options)
            self.assertEqual(found, encoding, options)
        self.assertLess(sizes["--compress=9"], sizes["--compress=1"])
        self.assertNotEqual(sizes["--compress=zstd"], sizes["--compress-level=19"])
        # A store that forgets the header.
        volume, _, _ = written("--compress")
        for name in volume.store.objects():
            key = volume.store.prefix + name
            headers = {name: value for name, value in self.server.objects()[key]["headers"].items() if name.startswith("x-amz-meta")}
            self.server.put(key, self.server.get(key), headers)
        volume.mount("--defaultContentEncoding=deflate")
        self.assertEqual(disk.read_at(volume.file, BLOCK, BLOCK) == text, True)
        volume.umount()

        password = self.path("password")
        password.write_text("secret\nnot this line\n")
        volume, found, _ = written("--encrypt", "--password=secret")
        self.assertEqual(found.replace(" ", ""), "deflate,encrypt-AES-128-CBC")
        volume.options = [f"--passwordFile={password}"]
        volume.mount()
        self.assertEqual(disk.read_at(volume.file, BLOCK, BLOCK) == text, True)
        volume.umount()
        volume.options = []
        self.assertEqual(volume.refused("--password=wrong")[0], 1)
        volume, found, _ = written("--encrypt=AES-256-CBC", "--password=secret", "--keyLength=64")
        self.assertEqual(found.replace(" ", ""), "deflate,encrypt-AES-256-CBC")
        volume.options = ["--password=secret"]
        self.assertEqual(volume.refused("--keyLength=32")[0], 1)
        volume.mount("--keyLength=64").umount()

    # Time

    @shows("timeout", "initialRetryPause", "maxRetryPause")
    def test_attempts(self):
        volume = self.new_disk("--settle-time=0", "--timeout=1", "--initialRetryPause=600", "--maxRetryPause=4000").mount()
        self.server.fault("hang", seconds=30, method="PUT", key="00000001$", count=1)
        self.write(volume)
        self.assertEqual(self.stat_line(volume, "curl_timeouts"), "1")
        first, second = (request["time"] for request in self.blocks(volume, method="PUT") if request["key"].endswith("1"))
        self.assertTrue(1.25 <= second - first < 5, second - first)     # half of the pause is by chance
        pause = float(self.stat_line(volume, "http_total_retry_delay").removesuffix(" sec"))
        self.assertTrue(0.3 <= pause <= 0.61, pause)
        volume.umount()
        volume = self.one_write(store=self.store())
        volume.mount("--initialRetryPause=50", "--maxRetryPause=700")
        self.server.fault("500", method="GET", key="00000001$")
        began = time.monotonic()
        self.assertEqual(disk.error_of(disk.read_at, volume.file, BLOCK, 10), "EIO")
        self.assertTrue(0.6 <= time.monotonic() - began < 5)
        self.assertGreater(int(self.stat_line(volume, "http_5xx_error")), 2)
        volume.umount()

    @shows("maxUploadSpeed", "maxDownloadSpeed")
    def test_speeds(self):
        volume = self.new_disk("--maxUploadSpeed=4m", "--maxDownloadSpeed=4m", size="4M", block_size="256K").mount()
        began = time.monotonic()
        self.write(volume, block=4, blocks=4)                           # 256 KiB, 4 Mbit
        self.assertTrue(0.3 < time.monotonic() - began < 10, time.monotonic() - began)
        volume.remount("--blockCacheSize=0")
        began = time.monotonic()
        disk.read_at(volume.file, 4 * BLOCK, 4 * BLOCK)
        self.assertTrue(0.3 < time.monotonic() - began < 10, time.monotonic() - began)
        volume.umount()

    @shows("minWriteDelay", "md5CacheSize", "md5CacheTime")
    def test_memory_of_writes(self):
        volume = self.new_disk("--minWriteDelay=500", "--md5CacheSize=2", "--md5CacheTime=900").mount()
        self.write(volume)
        self.write(volume)
        times = [request["time"] for request in self.blocks(volume, method="PUT") if request["key"].endswith("1")]
        self.assertGreaterEqual(times[1] - times[0], 0.49)
        self.assertGreaterEqual(float(self.stat_line(volume, "md5_cache_write_delays").removesuffix(" sec")), 0.4)
        self.write(volume, block=2)
        self.assertRegex(self.stat_line(volume, "md5_cache_current_size"), "^[12] blocks$")
        self.write(volume, block=4)                                     # waits for room
        second, fourth = ([request["time"] for request in self.blocks(volume, method="PUT") if request["key"].endswith(block)][-1]
                          for block in "14")
        self.assertGreaterEqual(fourth - second, 0.89)
        # What it is for: an old version is not believed.
        volume.remount("--blockCacheSize=0", "--directIO")
        data = self.write(volume, block=6)
        self.write(volume, block=6, data=data[::-1])
        self.server.fault("stale", seconds=0.2, method="GET", key="00000006$", count=1)
        self.assertEqual(disk.read_at(volume.file, 6 * BLOCK, BLOCK) == data[::-1], True)
        self.assertEqual(self.stat_line(volume, "http_stale"), "1")
        volume.umount()

    # The cache

    @shows("blockCacheSize", "blockCacheNumProtected", "readAhead", "readAheadTrigger")
    def test_cache_in_memory(self):
        volume = self.new_disk(size="4M").mount()
        data = self.write(volume, block=0, blocks=40)

        def fetched(*blocks):
            """How many had to be fetched of these, read one after the other."""
            before = volume.stats()["object_gets"]
            for block in blocks:
                self.assertEqual(disk.read_at(volume.file, block * BLOCK, BLOCK) == data[block * BLOCK:(block + 1) * BLOCK], True)
            return volume.stats()["object_gets"] - before
        some = (9, 20, 3, 31, 14, 39, 26, 6, 36, 11)                    # in no order that would be read ahead
        volume.remount("--directIO", "--blockCacheSize=0")
        self.assertEqual((fetched(5, 5, 5), "cache_blocks" in volume.stats()), (3, False))
        volume.remount("--directIO", "--blockCacheSize=6", "--readAhead=0")
        fetched(*some, *some)
        self.assertLessEqual(int(self.stat_line(volume, "block_cache_current_size").split()[0]), 6)
        self.assertGreater(fetched(*some), 0)
        volume.remount("--directIO", "--blockCacheSize=6", "--readAhead=0", "--blockCacheNumProtected=2")
        self.assertEqual(fetched(0, 1), 2)
        fetched(*some, *some, *some)
        self.assertEqual(fetched(0, 1), 0)
        volume.remount("--directIO", "--readAhead=0")
        self.assertEqual(fetched(*range(10)), 10)
        volume.remount("--directIO", "--readAhead=3", "--readAheadTrigger=4")
        fetched(10, 11, 12)
        time.sleep(0.2)
        self.assertEqual(volume.stats()["read_ahead_blocks"], 0)
        fetched(13)
        disk.wait_until("reading ahead", lambda: volume.stats()["read_ahead_blocks"] > 0)
        time.sleep(0.2)
        self.assertLessEqual(volume.stats()["read_ahead_blocks"], 4)
        volume.umount()

    @shows("blockCacheThreads", "blockCacheMaxDirty", "blockCacheTimeout", "blockCacheWriteDelay", "blockCacheSync")
    def test_writing_back(self):
        volume = self.new_disk("--blockCacheThreads=2", "--blockCacheTimeout=300").mount()
        self.server.set(latency_ms=30)
        self.server.forget()
        self.write(volume, block=0, blocks=12)
        self.assertEqual(self.server.state()["under_way_max"], 2)
        self.server.set(latency_ms=0)
        disk.wait_until("the cache to be empty", lambda: self.stat_line(volume, "block_cache_current_size") == "0 blocks", 10)
        volume.umount()

        def write_without_waiting(volume, data, at=BLOCK):
            file = os.open(volume.file, os.O_WRONLY)
            os.pwrite(file, data, at)
            return file
        volume = self.new_disk("--blockCacheWriteDelay=700", "--directIO").mount()
        began = time.time()
        file = write_without_waiting(volume, b"a part of a block")
        disk.wait_until("the block", lambda: "00000001" in volume.store.objects())
        self.assertGreater(self.blocks(volume, method="PUT")[-1]["time"] - began, 0.65)
        os.close(file)
        volume.umount()
        volume = self.new_disk("--blockCacheSync", "--blockCacheWriteDelay=0", "--directIO").mount()
        file = write_without_waiting(volume, b"a part of a block")
        self.assertIn("00000001", volume.store.objects())
        os.close(file)
        volume.umount()
        self.assertEqual(volume.refused("--blockCacheSync", "--blockCacheWriteDelay=5")[0], 1)
        volume = self.new_disk("--blockCacheMaxDirty=3", "--directIO").mount()
        self.server.set(latency_ms=100)
        self.write(volume, block=0, blocks=12)
        self.assertGreater(volume.stats()["stopped_writes"], 0)
        self.server.set(latency_ms=0)
        volume.umount()

    @shows("blockCacheFile", "blockCacheNoVerify", "blockCacheRecoverDirtyBlocks", "blockCacheFileAdvise")
    def test_cache_file(self):
        tmp = self.path("cache")
        file = f"--blockCacheFile={tmp}"
        volume = self.new_disk(file, "--directIO", "--settle-time=0").mount()
        data = self.write(volume, blocks=3)
        self.assertTrue(tmp.exists())
        volume.remount()
        self.assertEqual(disk.read_at(volume.file, BLOCK, BLOCK) == data[:BLOCK], True)
        self.assertEqual((self.stat_line(volume, "block_cache_verified"), self.stat_line(volume, "http_gets")), ("1", "0"))
        self.assertEqual(self.stat_line(volume, "block_cache_initial_size"), "3 blocks")
        volume.remount("--blockCacheNoVerify")
        self.assertEqual(disk.read_at(volume.file, BLOCK, BLOCK) == data[:BLOCK], True)
        self.assertEqual(self.stat_line(volume, "block_cache_verified"), "0")
        # What is not stored when the daemon dies.
        volume.remount("--durability=cache", "--initialRetryPause=50")
        self.server.fault("500", method="PUT", key="00000009$")
        data = self.write(volume, block=9)
        volume.kill9()
        self.assertNotIn("00000009", volume.store.objects())
        self.server.clear()
        volume.mount("--blockCacheRecoverDirtyBlocks")
        volume.umount()
        self.assertEqual(self.server.get(f"{volume.store.prefix}00000009") == data, True)

        # What the kernel keeps in memory of a file on disk; the journal is there in both cases.
        def kept(*options):
            place = disk.tempfile.mkdtemp(prefix="bucketdisk-e2e-", dir="/var/tmp")
            disk.RECORD.add("tree", place)
            volume = self.new_disk(f"--blockCacheFile={place}/cache", "--directIO", *options, size="8M").mount()
            self.write(volume, block=0, blocks=100)
            volume.umount()
            pages = disk.run("fincore", "--bytes", "--noheadings", "--output=RES", f"{place}/cache").stdout
            return int(pages)
        self.assertGreater(kept() - kept("--blockCacheFileAdvise"), 5 << 20)

    # The mount

    @shows("filename", "statsFilename", "readOnly", "directIO", "statsFileMirror", "statsFileMirrorInterval")
    def test_what_is_seen(self):
        mirror = self.path("mirror")
        volume = self.new_disk().mount("--directIO", "--statsFilename=numbers", f"--statsFileMirror={mirror}",
                                   "--statsFileMirrorInterval=100")
        self.assertEqual(sorted(os.listdir(volume.mountpoint)), ["file", "metrics", "numbers", "numbers.json"])
        before = mirror.stat().st_mtime_ns
        self.assertIn("http_normal_blocks_read      0\n", mirror.read_text())
        disk.wait_until("a new copy", lambda: mirror.stat().st_mtime_ns != before, 5, 0.005)
        self.write(volume)
        disk.wait_until("what was written to be in the copy", lambda: "http_puts                    2\n" in mirror.read_text(), 5)
        # Each read comes to the daemon.
        def reads():
            with open(volume.mountpoint / "numbers.json", encoding="utf-8") as file:
                return json.load(file)["file_reads"]
        before = reads()
        with disk.opened(volume.file, os.O_RDONLY) as file:
            for _ in range(3):
                os.pread(file, 100, BLOCK)
        self.assertEqual(reads() - before, 3)
        volume.umount()
        self.assertIn("http_puts                    2\n", mirror.read_text())
        unmade = self.new_disk()
        fifo = self.path("fifo")
        os.mkfifo(f"{fifo}.new")
        for path, word in ((fifo, f"{fifo}.new first"), (self.tmp, "no ordinary file"), ("/dev/null", "no ordinary file"), ("/nonexistent/mirror", "No such file")):
            status, said = unmade.refused(f"--statsFileMirror={path}")
            self.assertEqual((status, word in said), (1, True))
        self.assertEqual(unmade.store.objects(), [])
        before = len(self.requests(volume))
        volume.mount("--readOnly", "--statsFilename=")
        self.assertEqual(os.listdir(volume.mountpoint), ["file"])
        self.assertEqual(stat.S_IMODE(volume.file.stat().st_mode), 0o400)
        self.assertEqual(disk.error_of(os.open, volume.file, os.O_WRONLY), "EROFS")
        volume.umount()
        self.assertEqual({request["method"] for request in self.requests(volume)[before:]} & NOT_THERE, set())
        volume.filename = "disk.img"
        volume.mount("--filename=disk.img").umount()

    @shows("sharedDiskMode", "reset-mounted-flag")
    def test_tokens(self):
        volume = self.new_disk().mount()
        volume.umount()
        volume.mount("--sharedDiskMode")
        token = volume.store.prefix + "s3backer-mounted"
        self.assertEqual(self.server.objects()[token]["headers"]["x-amz-meta-s3backer-mount-token"], "7fffffff")
        volume.umount()
        self.assertIn("s3backer-mounted", volume.store.objects())
        self.assertEqual(volume.refused()[0], 1)
        self.run_command(*volume.command()[1:], "--reset-mounted-flag", volume.store.location)
        self.assertNotIn("s3backer-mounted", volume.store.objects())
        volume.mount().umount()

    @shows("listBlocks", "listBlocksThreads")
    def test_listing(self):
        volume = self.one_write("--list-blocks=no", size="256M")
        for number in range(0x100, 0x120):
            self.server.put(f"{volume.store.prefix}{number:08x}", b"x" * BLOCK)
        self.server.set(list_max=4)
        most = {}
        for threads in (1, 4):
            self.server.forget()
            self.server.set(latency_ms=20)
            volume.mount("--listBlocks", f"--listBlocksThreads={threads}", "--blockCacheSize=0")
            disk.wait_until("the listing's end", lambda: volume.stats()["listed_percent"] == 100)
            lists = [request for request in self.server.requests(op="list")]
            most[threads] = max(sum(other["time"] <= one["time"] < other["time"] + other["seconds"] for other in lists) for one in lists)
            before = len(self.server.requests(method="GET", op="get"))
            disk.read_at(volume.file, 0x200 * BLOCK, 4 * BLOCK)
            self.assertEqual(len(self.server.requests(method="GET", op="get")), before)
            self.assertEqual(int(self.stat_line(volume, "http_empty_blocks_read")) > 0, True)
            self.server.set(latency_ms=0)
            volume.umount()
        self.assertEqual(most[1], 1)
        self.assertGreater(most[4], 1)

    @shows("test", "test-delays", "test-discard", "test-errors")
    def test_modes_of_test(self):
        store = disk.DirStore(self)
        volume = self.new_disk(store=store)
        volume.command = lambda *options, chaos=False: [disk.BINARY, "--test", "--size=1m", "--blockSize=64k", *options]
        volume.mount()
        self.write(volume, blocks=4)
        volume.umount()
        self.assertEqual(store.objects(), [f"{block:08x}" for block in range(5)])
        volume.mount("--test-delays", "--blockCacheSize=0", "--directIO")
        began = time.monotonic()
        for _ in range(3):
            disk.read_at(volume.file, BLOCK, 4 * BLOCK)
        self.assertGreater(time.monotonic() - began, 0.1)
        volume.umount()
        volume.mount("--test-errors", "--blockCacheSize=0", "--directIO", "--initialRetryPause=1")
        for _ in range(400):
            disk.read_at(volume.file, BLOCK, 4 * BLOCK)
            if self.stat_line(volume, "http_num_retries") != "0":
                break
        else:
            self.fail("of 1600 requests none failed")
        volume.umount()
        before = store.snapshot()
        volume.mount("--test-discard")
        self.write(volume, block=9)
        volume.umount()
        self.assertEqual({name: digest for name, digest in store.snapshot().items() if name != "s3backer-mounted"}, before)

    @shows("quiet", "debug", "debug-http", "help", "version")
    def test_what_is_said(self):
        said = {}
        for option in ("", "--quiet", "-d", "--debug", "--debug-http", "-s"):
            volume = self.new_disk(*([option] if option else [])).mount()
            volume.umount()
            said[option] = volume.log_text()
        self.assertIn("16 blocks of", said[""])
        self.assertEqual(said["--quiet"], "")
        for option in ("-d", "--debug"):
            self.assertGreater(len(said[option]), len(said[""]), option)
        self.assertRegex(said["--debug-http"], "(?i)authorization: .*\\*\\*\\*")
        self.assertNotIn("faultysecret", said["--debug-http"])
        # -d stays in the foreground, --debug does not.
        for option, stays in (("--debug", False), ("-d", True)):
            where, volume = self.directory("where"), self.in_directory()
            thing = disk.RECORD.add("mount", where)
            process = self.start(*volume.command(option), volume.store.location, where, stderr=subprocess.DEVNULL)
            disk.wait_until("the mount", lambda: disk.is_mounted(where) and (where / "file").exists())
            time.sleep(0.1)
            if not stays:
                self.assertEqual(self.reap(process), 0)
            self.assertEqual(process.poll() is None, stays)
            self.run_command("umount", where)
            disk.RECORD.drop(thing)
        for words in (["--help"], ["-h"], ["--version"], ["-V"]):
            self.assertIn("bucketdisk", self.run_command(*words).stdout)

    # FUSE's and fstab's

    def test_options_of_mount_and_fuse(self):
        """What mount.fuse3 says of itself, what fstab lines say, and what s3backer's users told FUSE."""
        volume = self.in_directory()
        volume.mount("-o", "rw,suid,dev,exec,user=joe,_netdev,nofail,noauto,x-systemd.automount,comment=mine,uid=1234,gid=2345,"
                     "fsname=my\\,disk,subtype=mine,default_permissions,noatime,noexec,sync,max_readahead=0,kernel_cache,use_ino,"
                     "attr_timeout=0,entry_timeout=31536000,sync_read,nonempty,intr,big_writes")
        line = self.mounted_as(volume.mountpoint)
        self.assertEqual(line.split()[0].replace("\\054", ","), "my,disk")
        self.assertEqual(line.split()[2], "fuse.mine")
        for word in ("rw", "sync", "nosuid", "nodev", "noexec", "noatime", "default_permissions"):
            self.assertIn(word, line.split()[3].split(","))
        self.assertEqual((volume.file.stat().st_uid, volume.file.stat().st_gid), (1234, 2345))
        self.assertIn("-o attr_timeout=0,entry_timeout=31536000,sync_read,intr: accepted, and changes nothing here", volume.log_text())
        volume.umount()
        self.assertIn("there is no option -o nosuch", self.run_command("-o", "nosuch", "b", self.tmp, status=1).stderr)
        self.assertEqual(self.run_command("-o", "subtype=a/b", "b", self.tmp, status=1).stdout, "")

    def test_max_readahead(self):
        """A small read of a file that nobody has read: how much is asked of us."""
        volume = self.in_directory(size="8M").mount()
        self.write(volume, block=0, blocks=16)
        read = {}
        for options in ([], ["-o", "max_readahead=0"]):
            volume.remount(*options)
            with disk.opened(volume.file, os.O_RDONLY) as file:
                for at in range(4):
                    os.pread(file, 4096, 4096 * at)
            read[len(options)] = volume.stats()["file_bytes_read"]
            self.assertGreater(read[len(options)], 0)
        volume.umount()
        self.assertEqual(read[2], 4 * 4096)
        self.assertGreater(read[0], read[2])

    def test_a_line_of_fstab(self):
        """mount(8) with the type fuse.PROGRAM, by mount.fuse3, which adds words of its own."""
        if not os.access("/usr/sbin/mount.fuse3", os.X_OK):
            self.skipTest("no mount.fuse3")
        link, store, where = self.s3backer_link(), disk.DirStore(self), self.directory("mnt")
        thing = disk.RECORD.add("mount", where)
        fstab = self.path("fstab")
        fstab.write_text(f"{link}#{store.location} {where} fuse test,size=1m,blockSize=64k,filename=disk,allow_other,noauto,_netdev,"
                         f"x-systemd.requires=network-online.target,nofail,user=root,comment=s3 0 0\n")
        disk.run("mount", "--fstab", fstab, where, env=disk.environment(self))
        line = self.mounted_as(where)
        self.assertEqual(line.split()[2], "fuse.s3backer")
        self.assertEqual((where / "disk").stat().st_size, 1 << 20)
        self.run_command("umount", where)
        disk.RECORD.drop(thing)

    # By the name of s3backer

    def test_called_by_its_name(self):
        link = self.s3backer_link()
        done = self.run_command("--version", program=link)
        self.assertRegex(done.stdout, r"\As3backer version 2\.1\.\d+ \(bucketdisk [0-9.]+\)\n\Z")
        done = self.run_command("--help", program=link)
        self.assertRegex(done.stdout, r"\Ausage: s3backer \[options\] BUCKET")
        done = self.run_command("--nosuch", "b", self.tmp, program=link, status=1)
        self.assertRegex(done.stderr, r"\As3backer: error: ")
        # To s3backer these are buckets, not commands.
        for word in ("umount", "probe", "key", "plugins", "takeover", "mount"):
            done = self.run_command(word, program=link, status=1)
            self.assertIn(f'after the volume\'s place, "{word}", comes a mount point', done.stderr)

    def test_statuses_are_theirs(self):
        """Where scripts rely on them: 0 or not."""
        if not shutil.which("s3backer"):
            self.skipTest("no s3backer")
        link = self.s3backer_link()
        for words in (["--help"], ["--version"], [], ["bucket"], ["--test", "--nosuch", ".", "."], ["--test", "--size=abc", ".", "."],
                      ["--test", "--size=1m", ".", "/nonexistent"], ["--reset-mounted-flag"],
                      ["--test", "--size=1m", "--compress=77", ".", "."], ["--test", "--size=1m", "--fileMode=abc", ".", "."],
                      ["--test", "--size=1m", "--blockCacheSync", "--blockCacheWriteDelay=5", ".", "."],
                      ["--test", "--authVersion=aws9", ".", "."], ["--test", "--accessType=mine", ".", "."],
                      ["--test", "--size=1m", ".", ".", "more"]):
            with self.subTest(words):
                theirs = disk.run("s3backer", *words, check=False, cwd=self.tmp).returncode
                ours = disk.run(link, *words, check=False, cwd=self.tmp, env=disk.environment(self)).returncode
                self.assertEqual(ours, theirs)

    @staticmethod
    def lines(path):
        """name -> what the value looks like; of the statistics, or of those that come first."""
        return {line.split()[0]: re.sub(r"\d+", "1", line[len(line.split()[0]):]) for line in path.read_text().splitlines()}

    def test_statistics_are_theirs(self):
        """Each of s3backer's lines is there, in its place and its format, and counts the same."""
        if not shutil.which("s3backer"):
            self.skipTest("no s3backer")
        used = {}

        def use(file):
            stats = file.parent / "stats"
            data = self.random.randbytes(8 * BLOCK)
            disk.write_at(file, 4 * BLOCK, data)
            disk.wait_until("the blocks to be stored", lambda: self.number(stats, "http_normal_blocks_written") >= 8)
            before = self.number(stats, "http_zero_blocks_written")
            disk.write_at(file, 5 * BLOCK, bytes(BLOCK))
            disk.wait_until("the block to be deleted", lambda: self.number(stats, "http_zero_blocks_written") > before)
            text = stats.read_text()
            os.unlink(stats)
            return text, self.number(stats, "http_puts")
        store = self.store()
        options = ["--listBlocks", "--size=1M", "--blockSize=64k", "--blockCacheThreads=8", f"--baseURL={self.server.endpoint}",
                   *[option for option in store.options if option.startswith("--accessFile")]]
        used["theirs"] = s3backer.use_disk(self, use, *options, f"--prefix={store.prefix}", store.bucket)
        volume = self.new_disk().mount()
        used["ours"] = use(volume.file)
        volume.umount()
        theirs, ours = ([line for line in used[whose][0].splitlines()] for whose in ("theirs", "ours"))
        at = 0
        for line in theirs:
            name = line.split()[0]
            while at < len(ours) and ours[at].split()[0] != name:
                at += 1
            self.assertLess(at, len(ours), f"{name} is not there, or not in its place")
            self.assertEqual(re.sub(r"\d+", "1", re.sub(" +", " ", ours[at])), re.sub(r"\d+", "1", re.sub(" +", " ", line)))
            self.assertEqual(ours[at].index(" "), line.index(" "))
            self.assertEqual(re.match(r"\S+ +", ours[at])[0], re.match(r"\S+ +", line)[0])
        for whose in ("theirs", "ours"):
            self.assertIn(used[whose][1], (0, 1))
        for name in ("http_zero_blocks_written", "http_deletes", "http_unauthorized", "http_5xx_error", "curl_timeouts"):
            values = [next(line.split()[1] for line in lines if line.split()[0] == name) for lines in (theirs, ours)]
            self.assertEqual(*values, name)

    @staticmethod
    def number(path, name):
        return int(next(line.split()[1] for line in path.read_text().splitlines() if line.split()[0] == name))

    def test_errors_are_counted_by_kind(self):
        volume = self.one_write()
        volume.mount("--initialRetryPause=20")
        for status, code in ((500, "InternalError"), (503, "SlowDown"), (409, "OperationAborted"), (307, "TemporaryRedirect")):
            self.server.fault("error", status=status, code=code, method="GET", key="00000003$", count=1)
        self.server.fault("reset", method="GET", key="00000003$", count=1)
        with contextlib.suppress(OSError):
            disk.read_at(volume.file, 3 * BLOCK, 10)
        for name, count in (("http_5xx_error", 2), ("http_4xx_error", 1), ("http_redirect", 1)):
            self.assertEqual(self.number(volume.mountpoint / "stats", name), count, name)
        volume.umount()


if __name__ == "__main__":
    disk.main()
