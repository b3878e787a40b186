#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Is backend-s3 as fast as libcurl lets a client be?  `bench_s3.py BUILD [--quick] [--ceph]`; README.md says more."""
import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
SERVERS = HERE.parent / "servers"
KIB = 1024
SIZES = (4 * KIB, 64 * KIB, 1024 * KIB)
IN_FLIGHT = {0: 16, 20: 64}             # by the milliseconds of latency that the server adds
GOAL = 0.9
CEPH_GOAL_MS = 3
LOOPS = ("epoll", "poll")               # of the bare client


def size_text(count):
    return f"{count // KIB} KiB" if count < 1024 * KIB else f"{count // (1024 * KIB)} MiB"


def run_pinned(cpus, words):
    return subprocess.run(["taskset", "-c", ",".join(map(str, cpus)), *map(str, words)], check=True, text=True,
                          stdout=subprocess.PIPE).stdout


def env_of(directory):
    words = dict(line.split("=", 1) for line in (directory / "env").read_text().splitlines() if "=" in line)
    return {name: value.strip('"') for name, value in words.items()}


@contextlib.contextmanager
def server(name, cpus, given):
    """What tests/servers/up says of a server of that name, on these processors."""
    if given:
        yield env_of(pathlib.Path(given))
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        subprocess.run(["taskset", "-c", ",".join(map(str, cpus)), SERVERS / "up", name, directory, "--with-parent"],
                       check=True, stdout=subprocess.DEVNULL, env=dict(os.environ, FAKE_ETAG="1"))
        try:
            yield env_of(pathlib.Path(directory))
        finally:
            subprocess.run([SERVERS / "down", directory], check=False)


class Contenders:
    """The two programs, told of one server."""

    def __init__(self, build, at, cpus):
        self.driver = [build / "tests/bench/s3_driver", build / "plugins/backend-s3.so"]
        self.bare = [build / "tests/bench/s3_bare"]
        self.options = [f"base-url={at['ENDPOINT'].rstrip('/')}", f"bucket={at['BUCKET']}", f"region={at['REGION']}",
                        f"access-id={at['ACCESS']}", f"access-key={at['SECRET']}"]
        self.cpus = cpus

    def run(self, who, **load):
        program = self.driver if who == "plugin" else [*self.bare, f"loop={who}"]
        words = [f"{name.replace('sign_payload', 'sign-payload')}={value}" for name, value in load.items()]
        return json.loads(run_pinned(self.cpus, [*program, *words, *self.options]))


def compare(contenders, args, **load):
    """Rounds of all, each time in another order; the bare client by the loop that is the faster one for this load."""
    runs = {who: [] for who in ("plugin", *LOOPS)}
    for number in range(args.rounds):
        order = list(runs)
        for who in order[number % 3:] + order[:number % 3]:
            runs[who].append(contenders.run(who, seconds=args.seconds, **load))

    def median(who, figure):
        return statistics.median(run[figure] for run in runs[who])

    loop = max(LOOPS, key=lambda who: median(who, "requests_s"))
    ratios = [ours["requests_s"] / theirs["requests_s"] for ours, theirs in zip(runs["plugin"], runs[loop])]
    return {"loop": loop, "ratio": statistics.median(ratios), "low": min(ratios), "high": max(ratios),
            "plugin": {figure: median("plugin", figure) for figure in runs["plugin"][0]},
            "bare": {figure: median(loop, figure) for figure in runs[loop][0]}}


def row(op, size, latency_ms, payload, result):
    ours, bare = result["plugin"], result["bare"]
    return (f"| {op.upper()} {size_text(size):>7} | {latency_ms:2} ms | {payload:8} "
            f"| {ours['requests_s']:8.0f} | {bare['requests_s']:8.0f} {result['loop']:5} "
            f"| {result['ratio']:.2f} ({result['low']:.2f}-{result['high']:.2f}) "
            f"| {ours['cpu_us']:6.1f} | {bare['cpu_us']:6.1f} "
            f"| {ours['p50_us'] / 1000:.2f} / {ours['p99_us'] / 1000:.2f} | {bare['p50_us'] / 1000:.2f} / {bare['p99_us'] / 1000:.2f} |")


def table(args, cpus):
    short = []
    print("| load | latency | payload | plugin, 1/s | bare, 1/s | ratio (lowest-highest) | plugin, CPU us | bare, CPU us "
          "| plugin, p50 / p99 ms | bare, p50 / p99 ms |\n" + "| --- " * 10 + "|", flush=True)
    with server("nginx", cpus[-1:], args.server) as at:
        contenders = Contenders(args.build, at, cpus[:-1] or cpus)
        for latency_ms, in_flight in IN_FLIGHT.items():
            urllib.request.urlopen(f"{at['ENDPOINT'].rstrip('/')}/_lab?latency_ms={latency_ms}").read()
            for op, payload in (("get", "unsigned"), ("put", "unsigned"), ("put", "signed")):
                for size in SIZES:
                    name = f"{op} {size_text(size)} {latency_ms} ms {payload}"
                    if args.only not in name:
                        continue
                    result = compare(contenders, args, op=op, bytes=size, in_flight=in_flight, objects=128,
                                     sign_payload="yes" if payload == "signed" else "no")
                    print(row(op, size, latency_ms, payload, result), flush=True)
                    if payload == "unsigned" and result["ratio"] < GOAL:
                        short.append(f"{name}: {result['ratio']:.2f}, not {GOAL}")
    return short


def s3backer_ms(at, cpus):
    """Reads of one block after the other by Debian's s3backer, without caches and read-ahead; None if it cannot be had."""
    blocks = 50
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        passwords = pathlib.Path(directory, "passwords")
        passwords.touch(mode=0o600)
        passwords.write_text(f"{at['ACCESS']}:{at['SECRET']}\n")
        mountpoint = pathlib.Path(directory, "mount")
        mountpoint.mkdir()
        words = ["s3backer", "-f", "--quiet", "--directIO", "--readAhead=0", "--blockCacheSize=0", "--md5CacheSize=0",
                 "--md5CacheTime=0", "--minWriteDelay=0", "--blockSize=4k", "--size=4m", "--prefix=s3backer-",
                 f"--accessFile={passwords}",
                 f"--baseURL={at['ENDPOINT'].rstrip('/')}/", at["BUCKET"], str(mountpoint)]
        try:
            process = subprocess.Popen(["taskset", "-c", ",".join(map(str, cpus)), *words], stderr=subprocess.DEVNULL)
        except FileNotFoundError:
            return None
        try:
            while not (mountpoint / "file").exists():
                if process.poll() is not None:
                    return None
                time.sleep(0.1)
            times = []
            fd = os.open(mountpoint / "file", os.O_RDWR)
            for block in range(blocks):
                os.pwrite(fd, os.urandom(4096), block * 4096)
            os.fsync(fd)
            for block in range(blocks):
                begin = time.monotonic()
                os.pread(fd, 4096, block * 4096)
                times.append((time.monotonic() - begin) * 1000)
            os.close(fd)
            return statistics.median(times)
        finally:
            if os.path.ismount(mountpoint):
                subprocess.run(["umount", mountpoint], check=True)
            else:
                process.terminate()
            process.wait(30)


def ceph(args, cpus):
    with server("ceph", cpus, args.ceph_server) as at:
        contenders = Contenders(args.build, at, cpus)
        load = {"op": "get", "bytes": 4 * KIB, "in_flight": 1, "objects": 64, "seconds": args.seconds}
        runs = {who: statistics.median(contenders.run(who, **load)["p50_us"] / 1000 for _ in range(args.rounds))
                for who in ("plugin", "epoll")}
        theirs = s3backer_ms(at, cpus)
    print(f"\nCeph, GET 4 KiB one after the other, median: plugin {runs['plugin']:.2f} ms, bare {runs['epoll']:.2f} ms, "
          f"s3backer {'not here' if theirs is None else f'{theirs:.2f} ms'}", flush=True)
    return [] if runs["plugin"] <= CEPH_GOAL_MS else [f"Ceph: {runs['plugin']:.2f} ms, not {CEPH_GOAL_MS}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each run")
    parser.add_argument("--quick", action="store_true", help="three rounds of half a second")
    parser.add_argument("--only", default="", help='rows whose name holds this: "get 4 KiB 0 ms unsigned"')
    parser.add_argument("--ceph", action="store_true", help="the row over Ceph alone")
    parser.add_argument("--no-ceph", action="store_true")
    parser.add_argument("--no-pin", action="store_true", help="all on all processors")
    parser.add_argument("--server", help="directory of an nginx that `up` has started")
    parser.add_argument("--ceph-server", help="likewise, of Ceph")
    args = parser.parse_args()
    args.build = args.build.resolve()
    if args.quick:
        args.rounds, args.seconds = 3, 0.5
    cpus = sorted(os.sched_getaffinity(0))
    short = [] if args.ceph else table(args, [*cpus, *cpus] if args.no_pin else cpus)
    if not args.no_ceph:
        short += ceph(args, cpus)
    print("\n".join(["", "below the goal:", *short] if short else ["", "every goal is reached"]))
    sys.exit(1 if short else 0)


main()
