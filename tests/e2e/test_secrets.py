#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""No secret that the program is given is found where somebody else may look, however it is given, and whatever goes wrong.

Each secret holds a marker.  Each place that is searched also holds something that must be found there, so that a search of
nothing is no success; and the search itself is shown to find a marker in all the forms in which one could be written."""
import base64
import os
import re
import shutil
import subprocess
import tempfile
import unittest.mock
from pathlib import Path
from urllib.parse import quote

import disk
import faulty

BLOCK, BLOCKS = 65536, 16
QUICK = ("--debug", "--debug-http", "--argon2id-memory=8M", "--argon2id-passes=1", "--settle-time=0", "--initialRetryPause=10ms")
ID = "theaccessidthatisnosecret"
KEY, TOKEN = "MARKkey7f3aMARKkey7f3aMARKkey7f3", "MARKtoken91c2/+MARKtoken91c2/+MARKtoken91c2"
PASSWORD, FILE_KEY, PROXY = "MARK password e5d0 MARK password", "MARKkeyfile44b8MARKkeyfile44b8", "MARKproxy0d6eMARKproxy0d6e"
SECRETS = {"the S3 secret key": KEY, "the session token": TOKEN, "the password": PASSWORD, "the key file": FILE_KEY,
           "the proxy's password": PROXY}
NOBODY = 65534


def forms(secret):
    """What a text holds that holds the secret, or much of it."""
    part = secret.encode()[:12]
    return {form.lower() for form in (part, part[::-1], part.hex().encode(), base64.b64encode(part), quote(part, safe="").encode(),
                                      repr(part)[2:-1].encode(), b" ".join(f"{byte:02x}".encode() for byte in part))}


def found_in(data):
    """Which secrets the text holds."""
    data = (data if isinstance(data, bytes) else data.encode()).lower()
    return [name for name, secret in SECRETS.items() if any(form in data for form in forms(secret))]


class Secrets(disk.Story):
    limit_seconds = 120

    def setUp(self):
        super().setUp()
        self.server = faulty.FaultyServer(self)
        self.server.set(accounts=[{"id": ID, "secret": KEY}, {"id": ID + "2", "secret": KEY, "token": TOKEN}])
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        patch = unittest.mock.patch.dict(os.environ, {**clean, "HOME": str(self.tmp)}, clear=True)
        patch.start()
        self.addCleanup(patch.stop)
        self.key_file, self.password_file, self.access_file = (self.path(name) for name in ("key", "password", "access"))
        for path, text in ((self.key_file, FILE_KEY), (self.password_file, PASSWORD + "\n"), (self.access_file, f"{ID}:{KEY}\n")):
            path.touch(0o600)
            path.write_text(text)

    def search(self, where, data, shown):
        data = data if isinstance(data, bytes) else data.encode()
        self.assertIn(shown.encode(), data, f"{where} is not what it should be")
        self.assertEqual(found_in(data), [], f"found in {where}")

    def store(self, *options):
        store = faulty.FaultyStore(self.server)
        store.options = tuple(option for option in store.options if not option.startswith("--accessFile")) + options
        return store

    def search_mounted(self, volume):
        process = Path(f"/proc/{volume.daemon.pid}")
        self.search("ps", (process / "cmdline").read_bytes(), "--debug-http")
        self.search("its title", (process / "status").read_bytes() + (process / "comm").read_bytes(), "VmLck")
        self.search("stats", (volume.mountpoint / "stats").read_text(), "requests")
        self.search("stats.json", (volume.mountpoint / "stats.json").read_text(), "requests")
        self.search("metrics", (volume.mountpoint / "metrics").read_text(), str(volume.mountpoint))
        self.search("mountinfo", Path("/proc/self/mountinfo").read_bytes(), str(volume.mountpoint))
        self.search("the state of daemons", b"".join(path.read_bytes() for path in Path("/run/bucketdisk").rglob("*") if path.is_file()),
                    str(volume.mountpoint))
        self.search("ps of all processes", subprocess.run(["ps", "axww"], capture_output=True, check=True).stdout,
                    "--debug-http")

    def search_ended(self, volume, shown):
        self.search("the log", volume.log_text(), "")
        self.assertRegex(volume.log_text(), shown)
        self.assertRegex(volume.log_text(), r"(?i)> authorization: \*\*\*")
        objects = self.server.objects()
        stored = [self.server.get(name) + repr(thing).encode() for name, thing in objects.items()]
        self.search("the store", "".join(objects).encode() + b"".join(stored), "bucketdisk")

    def test_the_search_finds_what_it_looks_for(self):
        for name, secret in SECRETS.items():
            for text in (secret, f"x{secret}x", secret[:12], secret.encode().hex(), quote(secret), base64.b64encode(secret.encode()),
                         repr(secret), secret.upper()):
                self.assertEqual(found_in(text), [name])
        self.assertEqual(found_in(f"{ID} MARK"), [])
        with self.assertRaises(AssertionError):
            self.search("somewhere", f"shown {PASSWORD}", "shown")
        with self.assertRaises(AssertionError):
            self.search("nowhere", "", "shown")

    def test_a_mount_shows_no_secret_however_it_is_given(self):
        aws = {"AWS_ACCESS_KEY_ID": ID + "2", "AWS_SECRET_ACCESS_KEY": KEY, "AWS_SESSION_TOKEN": TOKEN}
        variables = {"A_KEY": KEY, "A_PASSWORD": PASSWORD}
        for number, (environment, options) in enumerate((
                ({}, (f"--accessId={ID}", f"--accessKey={KEY}", f"--password={PASSWORD}")),
                ({}, (f"--accessId={ID}", "--accessKey", KEY, "-o", f"password={PASSWORD},stop-timeout=0")),
                (variables, (f"--accessId={ID}", "--accessKey=env:A_KEY", "--password=env:A_PASSWORD")),
                (variables, (f"--accessId={ID}", "--accessKeyEnv=A_KEY", f"--password=@{self.password_file}")),
                ({}, (f"--accessFile={self.access_file}", f"--password-file={self.password_file}")),
                (aws, (f"--key-file={self.key_file}",)))):
            with self.subTest(options=number), unittest.mock.patch.dict(os.environ, environment):
                self.server.command(empty=True)
                volume = disk.Disk(self, str(BLOCK * BLOCKS), str(BLOCK), *QUICK, store=self.store())
                volume.mount("--codec=zstd,xaes-256-gcm", *options)
                disk.write_at(volume.file, 0, os.urandom(BLOCK * BLOCKS))
                self.search_mounted(volume)
                volume.umount()
                self.search_ended(volume, "> PUT /")
                volume.mount(*options)
                self.errors_that_echo(volume)
                self.search_mounted(volume)
                volume.umount()
                self.search_ended(volume, r"(?s)InternalError: InternalError [^\n]*\*{12}.*AccessDenied: AccessDenied [^\n]*\*{12}")

    def errors_that_echo(self, volume):
        """The server tells what we have sent, in reads that are repeated, one that fails, and deletions."""
        self.server.fault("error", op="get", echo=True, count=3)
        self.assertIsNone(disk.error_of(disk.read_at, volume.file, BLOCK, BLOCK))
        self.server.clear()
        self.server.fault("access-denied", op="get", echo=True)
        self.assertEqual(disk.error_of(disk.read_at, volume.file, (BLOCKS - 1) * BLOCK, BLOCK), "EACCES")
        self.server.clear()
        self.server.fault("error", op="delete|delete-objects", echo=True, count=2)
        with disk.opened(volume.file) as file:
            disk.fallocate(file, disk.FALLOC_PUNCH_HOLE | disk.FALLOC_KEEP_SIZE, 0, BLOCK * BLOCKS)
            os.fsync(file)
        self.server.clear()
        self.assertEqual(self.server.fired("error"), 5)
        self.server.forget()

    def test_a_server_that_echoes_is_not_believed_what_it_echoes(self):
        aws = {"AWS_ACCESS_KEY_ID": ID + "2", "AWS_SECRET_ACCESS_KEY": KEY, "AWS_SESSION_TOKEN": TOKEN}
        with unittest.mock.patch.dict(os.environ, aws):
            store = self.store()
            for command in (("probe",), ()):
                self.server.fault("access-denied", echo=True)
                where = (self.directory("nowhere"),) if not command else ()
                done = disk.run(disk.BINARY, *command, "--backend=s3", *store.options, *(("--debug-http", "-f") if where else ("--debug-http",)),
                                store.location, *where, check=False, env=disk.environment(self))
                self.assertNotEqual(done.returncode, 0)
                self.search("what is said", done.stdout + done.stderr, "AccessDenied")
                self.assertIn("***", done.stderr)
                signatures = {match[1] for request in self.server.requests()
                              if (match := re.search("Signature=(.{12})", request["headers"].get("authorization", "")))}
                self.assertTrue(signatures)
                for signature in signatures:
                    self.assertNotIn(signature, done.stdout + done.stderr, "a signature is good for a quarter of an hour")
                self.assertTrue(all(TOKEN == request["headers"]["x-amz-security-token"] for request in self.server.requests()))
                self.server.forget()

    def test_a_proxys_password_is_not_told(self):
        store, host = self.store(f"--accessFile={self.access_file}"), f"127.0.0.1:{self.server.control_port}"
        # libcurl uses the first two, and repeats the others, which it does not understand, in what it says is wrong.
        for proxy, end, shown in ((f"http://someone:{PROXY}@{host}", "< HTTP/1.1", "http_proxy"),
                                  (f"someone:{PROXY}@{host}", "< HTTP/1.1", "http_proxy"),
                                  (f"http://someone:x/{PROXY}@{host}", "nsupported proxy", f"@{host}"),
                                  (f"someone:x/{PROXY}{'x' * 300}@{host}", "nsupported proxy", "***")):
            with self.subTest(proxy):
                log = self.path("log")
                environment = {**disk.environment(self), "http_proxy": proxy, "no_proxy": ""}
                with open(log, "wb") as out:
                    process = self.start(disk.BINARY, "probe", "--backend=s3", *store.options, "--debug-http", store.location,
                                         stdout=out, stderr=out, env=environment)
                disk.wait_until("the proxy to be used", lambda: end in log.read_text())
                process.kill()
                self.reap(process)
                self.search("what is said", log.read_text(), shown)

    def test_bad_input_is_not_repeated_where_it_is_secret(self):
        nowhere = self.directory("nowhere")
        ends = f"--accessId={ID}", f"--accessKey={KEY}", f"--password={PASSWORD}"
        long = self.path("long")
        long.write_text(PASSWORD * 1000)
        for words, shown in ((("--help",), "--password"), (("--dump-options",), "password"), (("--nosuch",), "nosuch"),
                             ((f"--password=@{long}", "bucket", nowhere), "password"),
                             (("--accessKeyEnv=NOT_THERE", "bucket", nowhere), "accessKey"),
                             (("--blockSize=7", "bucket", nowhere), "lock"),
                             (("bucket", nowhere, "more"), "too many words"),
                             ((f"--baseURL=nonsense://user:{PROXY}@x", "bucket", nowhere), "baseURL"),
                             ((f"--baseURL=user:{PROXY}@x", "bucket", nowhere), "baseURL"),
                             ((f"--baseURL=http://user:/{PROXY}@x", "bucket", nowhere), "baseURL")):
            with self.subTest(words=words):
                done = disk.run(disk.BINARY, "--backend=s3", *ends, *words, check=False, env=disk.environment(self))
                self.search("what is said", done.stdout + done.stderr, shown)

    @staticmethod
    def opened_by_another(fifo):
        """Our end, once somebody reads."""
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return None

    def test_who_is_not_root_reads_neither_memory_nor_environment(self):
        """Not even of processes of his own: the program is not to be dumped, nor traced."""
        if os.geteuid() != 0:
            self.skipTest("needs another user")
        place = Path(tempfile.mkdtemp(prefix="bucketdisk-e2e-"))
        self.addCleanup(shutil.rmtree, place)
        place.chmod(0o755)
        fifo = place / "options"
        os.mkfifo(fifo)
        fifo.chmod(0o644)
        as_nobody = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        answers = {}
        for name, command in (("ours", [disk.BINARY, f"--config-file={fifo}", "bucket", "/mnt"]), ("another", ["cat", fifo])):
            process = self.start(*as_nobody, *command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                 env={**disk.environment(self), "AWS_SECRET_ACCESS_KEY": KEY})
            # It reads, until we are done.
            writer = disk.wait_until("it to wait for us", lambda: self.opened_by_another(fifo))
            try:
                looks = [disk.run(*as_nobody, "cat", f"/proc/{process.pid}/{file}", check=False) for file in ("environ", "maps")]
                answers[name] = [look.returncode == 0 and look.stdout != "" for look in looks], KEY in looks[0].stdout
            finally:
                process.kill()
                self.reap(process)
                os.close(writer)
        self.assertEqual(answers, {"ours": ([False, False], False), "another": ([True, True], True)})

    def test_keys_are_locked_and_left_out_of_dumps(self):
        volume = disk.Disk(self, str(BLOCK * BLOCKS), str(BLOCK), *QUICK, store=self.store())
        volume.mount("--codec=zstd,xaes-256-gcm", f"--accessFile={self.access_file}", f"--password={PASSWORD}")
        areas = re.findall(r"^VmFlags: (.*)$", Path(f"/proc/{volume.daemon.pid}/smaps").read_text(), re.MULTILINE)
        kept = [flags.split() for flags in areas]
        # A sanitizer locks nothing.
        wanted = {"dd"} if re.search(b"__[at]san_init", Path(disk.BINARY).read_bytes()) else {"dd", "lo"}
        # Credentials, the signing key, the volume's key, what is derived for each cipher.
        self.assertGreaterEqual(sum(wanted <= set(flags) for flags in kept), 4)
        self.assertFalse(any("lo" in flags and "dd" not in flags for flags in kept), "locked, and in dumps")
        self.assertRegex(Path(f"/proc/{volume.daemon.pid}/limits").read_text(), r"Max core file size +0 +0 ")
        volume.umount()


if __name__ == "__main__":
    disk.main()
