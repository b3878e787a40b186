#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How fast is the disk, next to s3backer and to what store and kernel allow?  `bench_disk.py BUILD`; README.md says more."""
import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
import disk                                                     # noqa: E402  the record of what is to be removed, and its guard
from disk import GIB, KIB, MIB, RECORD                          # noqa: E402
from memory import warm_memory                                  # noqa: E402

SERVERS = HERE.parent / "servers"
S3BACKERS = ("s3backer", "tuned", "listed")     # by itself; with TUNING; with that and --listBlocks
FILES = {"file": "store", "local": "cache"}     # bucketdisk with a cache file, by its --durability
CONTENDERS = ("bucketdisk", *FILES, *S3BACKERS, "bare", "null")
TUNING = ["--blockCacheThreads=64", "--readAhead=64"]
TUNED_BLOCKS = 4000
CONNECTIONS = 64                                # of the bare client
RESIDENT = 48 * MIB                             # fits into s3backer's default cache of 64 KiB blocks
LOOP_DEPTH = 32
END_SECONDS = 600                               # a daemon that takes longer to store the rest is ended by force
CPU_GOAL = 0.7
TREE = "/usr/include"


class Failed(Exception):
    """A contender that could not do its work: told in its cell of the table."""


# ---------------------------------------------------------------------------------------------------------------------
# The store

class Store:
    """nginx in memory; volumes in it are told apart by the prefix of their objects."""

    def __init__(self, bench):
        self.bench = bench
        # Not below what the guard removes: whoever ends the server after us, should we be killed, reads there which it is.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="bench-disk-server-"))
        subprocess.run([SERVERS / "up", "nginx", self.directory, "--with-parent"], check=True, stdout=subprocess.DEVNULL)
        words = dict(line.split("=", 1) for line in (self.directory / "env").read_text().splitlines() if "=" in line)
        self.url, self.bucket = words["ENDPOINT"].rstrip("/"), words["BUCKET"]
        self.access, self.secret, self.region = words["ACCESS"], words["SECRET"], words["REGION"]
        self.filled = set()
        self.latency_ms = 0             # of the row

    def close(self):
        subprocess.run([SERVERS / "down", self.directory], check=False)
        shutil.rmtree(self.directory, ignore_errors=True)

    def latency(self, milliseconds):
        urllib.request.urlopen(f"{self.url}/_lab?latency_ms={milliseconds}").read()

    @contextlib.contextmanager
    def at_once(self):
        """For what is not measured."""
        self.latency(0)
        try:
            yield
        finally:
            self.latency(self.latency_ms)

    def ask(self, method, path, body=None):
        request = urllib.request.Request(f"{self.url}/{self.bucket}{path}", method=method, data=body)
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(request) as answer:
            return answer.read().decode()
        return ""

    def fill(self, prefix, block, count):
        """All objects of a volume, once."""
        if (prefix, block, count) not in self.filled:
            with self.at_once():
                self.bare(op="fill", bytes=block, objects=count, prefix=prefix)
            self.filled.add((prefix, block, count))

    def clear(self, prefix):
        with self.at_once():
            while keys := re.findall("<Key>(.*?)</Key>", self.ask("GET", f"?list-type=2&prefix={prefix}")):
                self.ask("POST", "?delete", ("<Delete><Quiet>true</Quiet>" + "".join(f"<Object><Key>{key}</Key></Object>"
                                             for key in keys) + "</Delete>").encode())

    def unlock(self, prefix):
        """What a contender that was ended by force has left."""
        for name in ("s3backer-mounted", "bucketdisk-lock"):
            self.ask("DELETE", f"/{prefix}{name}")

    def bare(self, **words):
        """The bare client: its figures."""
        warm_memory()
        words = {"in_flight": CONNECTIONS, "base-url": self.url, "bucket": self.bucket, "region": self.region,
                 "access-id": self.access, "access-key": self.secret, **words}
        return self.bench.program("s3_bare", words)


# ---------------------------------------------------------------------------------------------------------------------
# A mounted contender

class Mounted:
    """A daemon in the foreground with its file; what it has used of processor and memory."""

    def __init__(self, bench, command, mountpoint):
        self.bench, self.mountpoint, self.file = bench, mountpoint, mountpoint / "file"
        self.log = bench.top / "daemon.log"
        self.thing = RECORD.add("mount", mountpoint)
        with open(self.log, "wb") as log:
            # In a session of its own: ^C is for us, who have things to take off the disk first.
            self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)
        self.start = disk.process_start(self.process.pid)
        self.process_thing = RECORD.add("process", self.process.pid, self.start)
        self.peak_kib, self.cpu_s = 0, 0.0
        end = time.monotonic() + 60
        while not (disk.is_mounted(mountpoint) and self.file.exists()):
            if disk.process_start(self.process.pid) is None or time.monotonic() > end:
                raise Failed("does not mount: " + self.last_words())
            time.sleep(0.02)

    def last_words(self):
        return " / ".join(self.log.read_text(errors="replace").strip().splitlines()[-2:])[-300:]

    def look(self):
        """Memory so far; kept for when the process is gone."""
        with contextlib.suppress(OSError):
            status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
            if found := re.search(r"VmHWM:\s+(\d+)", status):             # not of one that has just ended
                self.peak_kib = max(self.peak_kib, int(found.group(1)))

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self):
        """Unmount, and wait until the process has ended: how long that took.  `cpu_s` is final then."""
        begun = time.monotonic()
        self.look()
        for attempt in range(50):
            if subprocess.run(["umount", self.mountpoint], check=False, stderr=subprocess.DEVNULL).returncode == 0:
                break
            time.sleep(0.1)                 # somebody scans new block devices
        else:
            raise Failed("is busy")
        while True:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid != 0:
                break
            if time.monotonic() - begun > END_SECONDS:
                raise Failed(f"has not ended after {END_SECONDS} s")
            self.look()
            time.sleep(0.005)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_s = usage.ru_utime + usage.ru_stime
        RECORD.drop(self.process_thing)
        RECORD.drop(self.thing)
        if self.process.returncode != 0:
            raise Failed(f"ended with status {self.process.returncode}: {self.last_words()}")
        return time.monotonic() - begun


class Measured:
    """What one contender did in one row."""

    def __init__(self, figures, cpu_s=None, gib=None, peak_kib=None):
        self.figures = {name: float(value) for name, value in figures.items()}
        if cpu_s is not None:
            self.figures["cpu_s"] = cpu_s
            if gib:
                self.figures["cpu_s_per_gib"] = cpu_s / gib
        if peak_kib:
            self.figures["peak_mib"] = peak_kib / 1024


class Bench:
    def __init__(self, args):
        self.args = args
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="bench-disk-"))
        self.tree_thing = RECORD.add("tree", self.top)
        self.made = 0
        self.store = Store(self)
        self.passwords = self.top / "passwords"
        self.passwords.touch(mode=0o600)
        self.passwords.write_text(f"{self.store.access}:{self.store.secret}\n")
        self.has_cache = "--cache-size=" in subprocess.run([args.binary, "--help"], check=True, text=True,
                                                           stdout=subprocess.PIPE).stdout

    def close(self):
        self.store.close()
        disk.remove_tree(str(self.top))
        RECORD.drop(self.tree_thing)

    def directory(self, name):
        self.made += 1
        path = self.top / f"{name}{self.made}"
        path.mkdir()
        return path

    def program(self, name, words, timeout=END_SECONDS):
        done = subprocess.run([self.args.build / "tests/bench" / name, *(f"{key}={value}" for key, value in words.items())],
                              check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)
        if done.returncode != 0:
            raise Failed(f"{name}: {done.stderr.strip()[-200:]}")
        return json.loads(done.stdout)

    def load(self, mounted, op, size, extent, **words):
        return self.program("disk_load", {"file": mounted.file, "op": op, "bytes": size, "range": extent, **words})

    def mount(self, who, prefix, block, size, cache_blocks=None):
        mountpoint = self.directory("disk")
        warm_memory()
        if who == "null":
            return Mounted(self, [self.args.build / "tests/bench/null_fuse", f"mountpoint={mountpoint}", f"size={size}"],
                           mountpoint)
        self.store.unlock(prefix)
        words = ["-f", f"--baseURL={self.store.url}/", f"--accessFile={self.passwords}", f"--region={self.store.region}",
                 f"--prefix={prefix}", f"--blockSize={block // KIB}k", f"--size={size // KIB}k"]
        if who == "bucketdisk" or who in FILES:
            if who in FILES:
                words += [f"--block-cache-file={self.directory('cache') / 'blocks'}", f"--durability={FILES[who]}"]
            if cache_blocks is not None and self.has_cache:
                words.append(f"--block-cache-size={cache_blocks}")
            return Mounted(self, [self.args.binary, *words, *self.args.option, self.store.bucket, mountpoint], mountpoint)
        # --region would make it leave the base URL for Amazon's.
        words = ["--quiet", *(word for word in words if not word.startswith("--region="))]
        if who in ("tuned", "listed"):
            words += [*TUNING, f"--blockCacheSize={cache_blocks or TUNED_BLOCKS}", *["--listBlocks"] * (who == "listed")]
        elif cache_blocks is not None:
            words.append(f"--blockCacheSize={cache_blocks}")
        return Mounted(self, ["s3backer", *words, self.store.bucket, mountpoint], mountpoint)

    def loop(self, file):
        device = disk.run("losetup", "--find", "--show", "--direct-io=on", file).stdout.strip()
        thing = RECORD.add("loop", device, file)
        if pathlib.Path("/sys/block", pathlib.Path(device).name, "loop/dio").read_text().strip() != "1":
            raise Failed("no direct I/O through a loop device")
        return device, thing

    @staticmethod
    def loop_end(device, thing):
        disk.run("losetup", "-d", device)
        disk.wait_until(f"{device} to be free", lambda: disk.loop_file(device) is None)
        RECORD.drop(thing)

    def fio(self, device, op, seconds, size=RESIDENT):
        command = ["fio", "--name=bench", f"--filename={device}", "--ioengine=libaio", "--direct=1", "--bs=4k",
                   f"--iodepth={LOOP_DEPTH}", f"--rw={op}", f"--size={size}", "--time_based", f"--runtime={seconds}",
                   "--norandommap", "--output-format=json"]
        done = disk.run(*command, timeout=seconds + END_SECONDS, cwd=self.top)
        job = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]
        return job["read" if op == "randread" else "write"]


# ---------------------------------------------------------------------------------------------------------------------
# The rows.  Each does its work with one contender and gives what it measured.

def of_bare(bench, block, words, figure):
    """A Measured of the bare client: `figure` is mib_s or ops_s."""
    got = bench.store.bare(bytes=block, fill="no", seconds=bench.args.seconds, **words)
    mib_s = got["bytes_s"] / MIB
    cpu_s = got["cpu_us"] * got["requests_s"] / 1e6 * bench.args.seconds
    return Measured({figure: mib_s if figure == "mib_s" else got["requests_s"]}, cpu_s,
                    mib_s * bench.args.seconds / 1024 if figure == "mib_s" else None)


def volume(bench, block):
    """A populated volume for this block size: prefix and bytes."""
    size = (GIB if block < MIB else 3 * GIB) // (4 if bench.args.quick else 1)
    prefix = f"full{block // KIB}k-"
    bench.store.fill(prefix, block, size // block)
    return prefix, size


def read_cold(bench, who, block):
    prefix, size = volume(bench, block)
    if who == "bare":
        return of_bare(bench, block, {"op": "get", "objects": size // block, "prefix": prefix}, "mib_s")
    mounted = bench.mount(who, prefix, block, size)
    cpu = mounted.cpu()
    got = bench.load(mounted, "read", MIB, size, once="yes", seconds=bench.args.seconds, block=block, check="yes")
    cpu = mounted.cpu() - cpu
    mounted.end()
    return Measured({"mib_s": got["bytes"] / MIB / got["seconds"]}, cpu, got["bytes"] / GIB, mounted.peak_kib)


def stored(mounted, who, got, cpu_begin):
    """Until all that was written is at the store: (seconds after the last write, CPU seconds).

    Ours says so by fsync, which `got` has; s3backer's does nothing, so its end is waited for."""
    if who in S3BACKERS:
        seconds = mounted.end()
        return seconds, mounted.cpu_s - cpu_begin
    cpu = mounted.cpu() - cpu_begin
    mounted.end()
    return got["fsync_seconds"], cpu


def write_sequential(bench, who, block):
    prefix, size = f"new{block // KIB}k-", (GIB if block < MIB else 2 * GIB) // (4 if bench.args.quick else 1)
    bench.store.clear(prefix)
    try:
        if who == "bare":
            return of_bare(bench, block, {"op": "put", "objects": size // block, "prefix": prefix, "sign-payload": "yes"}, "mib_s")
        mounted = bench.mount(who, prefix, block, size)
        cpu = mounted.cpu()
        got = bench.load(mounted, "write", MIB, size, once="yes", seconds=bench.args.seconds, block=block, fsync="end")
        seconds, cpu = stored(mounted, who, got, cpu)
        return Measured({"mib_s": got["bytes"] / MIB / (got["seconds"] + seconds)}, cpu, got["bytes"] / GIB, mounted.peak_kib)
    finally:
        bench.store.clear(prefix)


def write_random(bench, who, block=64 * KIB, cache_blocks=None, extent=None):
    if extent is None:
        prefix, extent = volume(bench, block)
    else:
        prefix = "set-"
        bench.store.fill(prefix, block, extent // block)
    mounted = bench.mount(who, prefix, block, extent, cache_blocks)
    cpu = mounted.cpu()
    got = bench.load(mounted, "write", 4 * KIB, extent, order="random", seconds=bench.args.seconds, block=block, fsync="end")
    seconds, cpu = stored(mounted, who, got, cpu)
    return Measured({"accepted_s": got["done"] / got["seconds"], "durable_s": got["done"] / (got["seconds"] + seconds)},
                    cpu, got["bytes"] / GIB, mounted.peak_kib)


def write_set(bench, who):
    """A working set of 8 times the cache, which is the same for all."""
    blocks = 64
    return write_random(bench, who, MIB, blocks, 8 * blocks * MIB)


def read_random(bench, who, block=64 * KIB):
    prefix, size = volume(bench, block)
    if who == "bare":
        return of_bare(bench, block, {"op": "get", "order": "random", "objects": size // block, "prefix": prefix}, "ops_s")
    mounted = bench.mount(who, prefix, block, size)
    cpu = mounted.cpu()
    got = bench.load(mounted, "read", 4 * KIB, size, order="blocks", threads=64, seconds=bench.args.seconds, block=block,
                     check="yes")
    cpu = mounted.cpu() - cpu
    mounted.end()
    return Measured({"ops_s": got["done"] / got["seconds"]}, cpu, got["bytes"] / GIB, mounted.peak_kib)


def resident(bench, who):
    """Mounted, with all of the range read once.  The volume goes on behind it: s3backer forgets the last blocks of a
    volume when it wants to read ahead beyond them."""
    block, prefix, size = 64 * KIB, "resident-", 2 * RESIDENT
    bench.store.fill(prefix, block, size // block)
    mounted = bench.mount(who, prefix, block, size)
    bench.load(mounted, "read", MIB, RESIDENT, once="yes", seconds=END_SECONDS)
    return mounted


def loop_random(bench, who, op):
    mounted = resident(bench, who)
    device, thing = bench.loop(mounted.file)
    cpu = mounted.cpu()
    got = bench.fio(device, op, bench.args.seconds)
    cpu = mounted.cpu() - cpu
    bench.loop_end(device, thing)
    mounted.end()
    return Measured({"ops_s": got["iops"]}, cpu, got["io_bytes"] / GIB, mounted.peak_kib)


def read_resident(bench, who, direct):
    mounted = resident(bench, who)
    cpu = mounted.cpu()
    got = bench.load(mounted, "read", MIB, RESIDENT, seconds=bench.args.seconds, direct=direct, drop="yes")
    cpu = mounted.cpu() - cpu
    mounted.end()
    return Measured({"mib_s": got["bytes"] / MIB / got["seconds"]}, cpu, got["bytes"] / GIB, mounted.peak_kib)


def filesystem(bench, who):
    """mkfs.ext4, cp, sync, umount, until the daemon has ended."""
    prefix, size = "ext4-", GIB
    bench.store.clear(prefix)
    mounted = bench.mount(who, prefix, 64 * KIB, size)
    where = bench.directory("ext4")
    cpu, begun = mounted.cpu(), time.monotonic()
    device, thing = bench.loop(mounted.file)
    disk.run("mkfs.ext4", "-q", "-F", device, timeout=END_SECONDS)
    made = time.monotonic()
    mount_thing = RECORD.add("mount", where)
    disk.run("mount", "-t", "ext4", device, where)
    disk.run("cp", "-r", TREE, where, timeout=END_SECONDS)
    disk.run("sync", "-f", where, timeout=END_SECONDS)
    synced = time.monotonic()
    disk.run("umount", where, timeout=END_SECONDS)
    RECORD.drop(mount_thing)
    bench.loop_end(device, thing)
    mounted.end()
    ended = time.monotonic()
    bench.store.clear(prefix)
    return Measured({"s": ended - begun, "mkfs_s": made - begun, "copy_s": synced - made, "end_s": ended - synced},
                    mounted.cpu_s - cpu, bench.tree_bytes / GIB, mounted.peak_kib)


def fsync_latency(bench, who):
    if who == "bare":               # the round trip: a block put alone
        got = bench.store.bare(op="put", bytes=64 * KIB, objects=64, prefix="trip-", in_flight=1, seconds=bench.args.seconds / 2,
                               fill="no", **{"sign-payload": "yes"})
        bench.store.clear("trip-")
        return Measured({"ms": got["p50_us"] / 1000, "p99_ms": got["p99_us"] / 1000})
    mounted = resident(bench, who)
    got = bench.load(mounted, "write", 4 * KIB, RESIDENT, order="blocks", seconds=bench.args.seconds / 2, fsync="each")
    mounted.end()
    return Measured({"ms": got["p50_us"] / 1000, "p99_ms": got["p99_us"] / 1000})


def database(bench, who):
    """SQLite on ext4: small transactions, each of which is on stable storage when it ends."""
    prefix, size = "sqlite-", GIB
    bench.store.clear(prefix)
    with bench.store.at_once():
        mounted = bench.mount(who, prefix, 64 * KIB, size)
        where = bench.directory("ext4")
        device, thing = bench.loop(mounted.file)
        disk.run("mkfs.ext4", "-q", "-F", device, timeout=END_SECONDS)
        mount_thing = RECORD.add("mount", where)
        disk.run("mount", "-t", "ext4", device, where)
    cpu = mounted.cpu()
    with contextlib.closing(sqlite3.connect(where / "database", isolation_level=None)) as base:
        base.execute("PRAGMA synchronous = FULL")
        base.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, value TEXT)")
        done, begun = 0, time.monotonic()
        while (seconds := time.monotonic() - begun) < bench.args.seconds:
            base.execute("INSERT INTO t (value) VALUES (?)", ("x" * 100,))
            done += 1
    cpu = mounted.cpu() - cpu
    disk.run("umount", where, timeout=END_SECONDS)
    RECORD.drop(mount_thing)
    bench.loop_end(device, thing)
    mounted.end()
    bench.store.clear(prefix)
    return Measured({"ops_s": done / seconds}, cpu, None, mounted.peak_kib)


def loop_far(bench, who):
    """Random writes all over a volume that is larger than memory's cache, and not than the cache file."""
    block, prefix, size = 64 * KIB, "far-", (GIB if bench.args.quick else 3 * GIB)
    bench.store.fill(prefix, block, size // block)
    mounted = bench.mount(who, prefix, block, size)
    device, thing = bench.loop(mounted.file)
    cpu = mounted.cpu()
    got = bench.fio(device, "randwrite", bench.args.seconds * 3, size)
    cpu = mounted.cpu() - cpu
    begun = time.monotonic()
    bench.loop_end(device, thing)
    mounted.end()
    return Measured({"ops_s": got["iops"], "rest_s": time.monotonic() - begun}, cpu, got["io_bytes"] / GIB, mounted.peak_kib)


class Goal:
    """`against` another contender's figure, or None for a bare number."""

    def __init__(self, figure, against, factor, sign=">=", plus=0.0):
        self.figure, self.against, self.factor, self.sign, self.plus = figure, against, factor, sign, plus

    def judge(self, medians):
        """(sentence, True, False or None if it could not be measured)"""
        ours = medians.get("bucketdisk", {}).get(self.figure)
        theirs = 1.0 if self.against is None else medians.get(self.against, {}).get(self.figure)
        name = f" {self.against}" if self.against is not None else ""
        limit = f"{self.sign} {self.factor:g}{' x' if name else ''}{name}" + (f" + {self.plus:g}" if self.plus else "")
        if ours is None or not theirs:
            return f"{limit}: not measured", None
        bound = self.factor * theirs + self.plus
        reached = ours >= bound if self.sign == ">=" else ours <= bound
        shown = (f"{ours:.2f} of {bound:.2f}" if self.plus else f"{ours / theirs:.3g}")
        return f"{limit}: {shown}{'' if reached else ' NOT REACHED'}", reached


class Row:
    def __init__(self, name, run, figures, who, goals=(), latency=20, **words):
        self.name, self.run, self.figures, self.who, self.goals = name, run, figures, who, goals
        self.latency, self.words = latency, words
        if latency:
            self.goals = [*goals, *(Goal("cpu_s_per_gib", them, CPU_GOAL, "<=") for them in S3BACKERS if them in who)]


def rows():
    """On what is written to a new volume, knowing that it is empty helps s3backer: `listed` is its best tuning there."""
    theirs, best = S3BACKERS[:2], (S3BACKERS[0], S3BACKERS[2])
    store, kernel, disks = ("bucketdisk", *theirs, "bare"), ("bucketdisk", *theirs, "null"), ("bucketdisk", *theirs)
    table = []
    for latency in (20, 0):
        def add(name, *words, goals=(), latency=latency, **more):
            table.append(Row(f"{name}, {latency} ms", *words, goals=goals if latency else (), latency=latency, **more))
        for block in (64 * KIB, MIB):
            add(f"cold sequential read, {block // KIB} KiB blocks", read_cold, ["mib_s"], store, block=block,
                goals=[Goal("mib_s", "bare", 0.9), Goal("mib_s", "s3backer", 8), Goal("mib_s", "tuned", 1.3)])
        for block in (64 * KIB, MIB):
            add(f"sequential write + fsync, {block // KIB} KiB blocks", write_sequential, ["mib_s"],
                ("bucketdisk", *S3BACKERS, "bare"), block=block,
                goals=[Goal("mib_s", "bare", 0.9), Goal("mib_s", "s3backer", 30), *(Goal("mib_s", them, 1.3) for them in S3BACKERS[1:])])
        add("4 KiB random writes, 64 KiB blocks", write_random, ["accepted_s", "durable_s"], disks,
            goals=[goal for them in theirs for goal in (Goal("accepted_s", them, 50), Goal("durable_s", them, 5))])
        add("cold 4 KiB random reads, 64 at once", read_random, ["ops_s"], store, goals=[Goal("ops_s", "bare", 0.9)])
        add("4 KiB random writes, working set 8 x cache, 1 MiB blocks", write_set, ["accepted_s", "durable_s"], disks,
            goals=[Goal(figure, them, 10) for them in theirs for figure in ("accepted_s", "durable_s")])
    for op in ("randread", "randwrite"):
        table.append(Row(f"resident 4 KiB {op} through loop, direct, {LOOP_DEPTH} at once", loop_random, ["ops_s"], kernel,
                         [Goal("ops_s", None, 100000), Goal("ops_s", "null", 0.5)], op=op))
    for direct in ("no", "yes"):
        table.append(Row(f"resident sequential read through the file, {'direct' if direct == 'yes' else 'buffered'}",
                         read_resident, ["mib_s"], kernel, [Goal("mib_s", "null", 0.7)], direct=direct))
    table.append(Row("mkfs.ext4 + cp + sync + umount, 20 ms", filesystem, ["s", "mkfs_s", "copy_s", "end_s"],
                     ("bucketdisk", *best), [Goal("s", "s3backer", 0.15, "<="), Goal("s", "listed", 1, "<=")]))
    table.append(Row("fsync of one dirty block, 20 ms", fsync_latency, ["ms", "p99_ms"], ("bucketdisk", *FILES, "bare"),
                     [Goal("ms", "bare", 1, "<=", plus=2)]))
    table.append(Row("SQLite on ext4, transactions, 20 ms", database, ["ops_s"], ("bucketdisk", *FILES, *theirs)))
    table.append(Row("4 KiB random writes through loop, 3 GiB, 20 ms", loop_far, ["ops_s", "rest_s"],
                     ("bucketdisk", *FILES, "tuned")))
    return table


# ---------------------------------------------------------------------------------------------------------------------
# The run

def measure(bench, row, who):
    """One contender, once: its figures, or why there are none.  What it leaves behind is removed."""
    mark = len(RECORD.things)
    bench.store.latency_ms = row.latency
    bench.store.latency(row.latency)
    try:
        return row.run(bench, who, **row.words).figures
    except (Failed, AssertionError, OSError, subprocess.SubprocessError) as why:
        return {"error": str(why).replace("\n", " ")[-300:] or type(why).__name__}
    finally:
        left = RECORD.things[mark:]
        disk.remove_all(left)
        for thing in left:
            RECORD.drop(thing)


def medians_of(runs):
    """Of the runs that succeeded."""
    good = [run for run in runs if "error" not in run]
    return {figure: statistics.median(run[figure] for run in good) for figure in (good[0] if good else {})}


def shown(value):
    return "-" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def ratio(ours, theirs, who):
    return f" (x {ours / theirs:.3g})" if ours and theirs and who != "bucketdisk" else ""


UNITS = {"mib_s": "MiB/s", "ops_s": "1/s", "accepted_s": "accepted 1/s", "durable_s": "durable 1/s", "s": "s", "rest_s": "s to store the rest", "ms": "ms"}


def table_of(results, contenders):
    lines = ["| work | " + " | ".join(contenders) + " | goals |", "| --- " * (len(contenders) + 2) + "|"]
    for name, result in results.items():
        for figure in (figure for figure in result["figures"] if figure in UNITS):
            figures = {who: result["medians"].get(who, {}).get(figure) for who in contenders}
            cells = [shown(figures[who]) + ratio(figures.get("bucketdisk"), figures[who], who) for who in contenders]
            said = [text for text, _, of in result["goals"] if of == figure]
            lines.append(f"| {name} ({UNITS[figure]}) | " + " | ".join(cells) + f" | {'; '.join(said)} |")
    lines += ["", "| work: CPU s, CPU s per GiB, peak MiB | " + " | ".join(contenders) + " | goals |",
              "| --- " * (len(contenders) + 2) + "|"]
    for name, result in results.items():
        cells = [" / ".join(shown(result["medians"].get(who, {}).get(figure)) for figure in ("cpu_s", "cpu_s_per_gib", "peak_mib"))
                 for who in contenders]
        said = [text for text, _, of in result["goals"] if of == "cpu_s_per_gib"]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {'; '.join(said)} |")
    errors = [f"{name}, {who}: {run['error']}" for name, result in results.items() for who, runs in result["runs"].items()
              for run in runs if "error" in run]
    return "\n".join(lines + ([""] + errors if errors else []))


def run_all(bench, args):
    chosen = [row for row in rows() if any(word in row.name for word in args.only.split("|"))
              and not (args.quick and row.name.endswith(", 0 ms"))]
    results = {row.name: {"figures": row.figures, "runs": {}, "medians": {}, "goals": []} for row in chosen}
    for number in range(args.runs):
        for row in chosen:
            who_all = [who for who in row.who if who in args.contenders]
            for who in who_all[number % len(who_all):] + who_all[:number % len(who_all)] if who_all else []:
                begun = time.monotonic()
                run = measure(bench, row, who)
                results[row.name]["runs"].setdefault(who, []).append(run)
                text = ", ".join(f"{figure} {shown(value) if figure != 'error' else value}" for figure, value in run.items())
                print(f"{number + 1}: {row.name}, {who}: {text} [{time.monotonic() - begun:.0f} s]", file=sys.stderr, flush=True)
    for row in chosen:
        result = results[row.name]
        result["medians"] = {who: medians_of(runs) for who, runs in result["runs"].items()}
        result["goals"] = [(*goal.judge(result["medians"]), goal.figure) for goal in row.goals]
    return results


def stop(number, _):
    """Once: who is impatient must not keep us from cleaning up."""
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=1, help="of everything; medians are shown")
    parser.add_argument("--seconds", type=float, default=6, help="of load in each row")
    parser.add_argument("--quick", action="store_true", help="small volumes, 2 seconds, only with latency")
    parser.add_argument("--only", default="", help="rows whose name holds one of these words, separated by |")
    parser.add_argument("--contenders", default=",".join(CONTENDERS), type=lambda text: text.split(","))
    parser.add_argument("--binary", type=pathlib.Path, help="another bucketdisk than BUILD's")
    parser.add_argument("--option", action="append", default=[], help="for bucketdisk, beyond its defaults")
    parser.add_argument("--json", type=pathlib.Path, help="the results, each run of them, into this file")
    args = parser.parse_args()
    args.build = args.build.resolve()
    args.binary = (args.binary or args.build / "bucketdisk").resolve()
    if args.quick:
        args.seconds = 2
    if unknown := set(args.contenders) - set(CONTENDERS):
        parser.error(f"no contender {', '.join(unknown)}: {', '.join(CONTENDERS)}")
    for program in ("s3backer", "fio", "nginx"):
        if shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin") is None:
            parser.error(f"{program} is not installed: tests/install")
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    # Load of others is the first thing to look at when figures surprise.
    machine = f"{os.cpu_count()} processors, Linux {os.uname().release}, load before the run {os.getloadavg()[0]:.1f}"
    RECORD.start_guard()
    bench = None
    try:
        bench = Bench(args)
        # Also so that what is copied is in memory for everyone.
        bench.tree_bytes = sum(len(path.read_bytes()) for path in pathlib.Path(TREE).rglob("*") if path.is_file())
        results = run_all(bench, args)
    finally:
        disk.remove_all([thing for thing in RECORD.things if thing[0] != "tree"])
        if bench is not None:
            bench.close()
    if args.json:
        args.json.write_text(json.dumps({"binary": str(args.binary), "option": args.option, "seconds": args.seconds,
                                         "machine": machine, "rows": results}, indent=1) + "\n")
    print(machine + "\n")
    print(table_of(results, [who for who in CONTENDERS if who in args.contenders]))
    judged = [reached for result in results.values() for _, reached, _ in result["goals"]]
    failed = [name for name, result in results.items() if any("error" in run for run in result["runs"].get("bucketdisk", []))]
    if failed:
        print(f"bucketdisk failed in a run of: {', '.join(failed)}")
    print(f"\ngoals: {judged.count(True)} reached, {judged.count(False)} not reached, {judged.count(None)} not measured")
    sys.exit(0 if all(judged) and not failed else 1)


main()
