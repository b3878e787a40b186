#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How fast is `bucketdisk copy`, next to a bare client that moves as many bytes?  `bench_copy.py BUILD`; README.md says more."""
import argparse
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
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
CONNECTIONS = 128               # of the bare client, for each of its two directions: as many as the copy may have
GOAL = 0.8
KILLS = 3
SHARES = 0.05, 0.3              # of the blocks: somewhere there each of those that are killed is when it is
TUNING = ["--blockCacheThreads=64", "--blockCacheSize=4000", "--listBlocks"]    # of s3backer, which makes the volume
FROM, TO = "from/", "to-{}/"
OLD, NEW = "s3backer's old password", "a new one"


class Store:
    """nginx in memory."""

    def __init__(self, build):
        self.build = build
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="bench-copy-"))
        self.thing = RECORD.add("tree", self.top)
        # Not below what the guard removes: whoever ends the server after us, should we be killed, reads there which it is.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="bench-copy-server-"))
        subprocess.run([SERVERS / "up", "nginx", self.directory, "--with-parent"], check=True, stdout=subprocess.DEVNULL)
        words = dict(line.split("=", 1) for line in (self.directory / "env").read_text().splitlines() if "=" in line)
        self.url, self.bucket = words["ENDPOINT"].rstrip("/"), words["BUCKET"]
        self.access, self.secret, self.region = words["ACCESS"], words["SECRET"], words["REGION"]
        self.keys = self.top / "keys"
        self.keys.touch(mode=0o600)
        self.keys.write_text(f"{self.access}:{self.secret}\n")

    def close(self):
        subprocess.run([SERVERS / "down", self.directory], check=False)
        shutil.rmtree(self.directory, ignore_errors=True)
        disk.remove_tree(str(self.top))
        RECORD.drop(self.thing)

    def latency(self, milliseconds):
        urllib.request.urlopen(f"{self.url}/_lab?latency_ms={milliseconds}").read()

    def ask(self, method, path, body=None):
        request = urllib.request.Request(f"{self.url}/{self.bucket}{path}", method=method, data=body)
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(request) as answer:
            return answer.read().decode()
        return ""

    def blocks(self, prefix):
        """How many there are, and their bytes."""
        count, size, after = 0, 0, ""
        while True:
            text = self.ask("GET", f"?list-type=2&prefix={prefix}&start-after={prefix}{after}")
            found = [(key, int(number)) for key, number in re.findall("<Key>(.*?)</Key>.*?<Size>([0-9]+)</Size>", text, re.S)]
            if not found:
                return count, size
            blocks = [number for key, number in found if re.fullmatch("[0-9a-f]{8}", key.removeprefix(prefix))]
            count, size, after = count + len(blocks), size + sum(blocks), found[-1][0].removeprefix(prefix)

    def clear(self, prefix):
        while keys := re.findall("<Key>(.*?)</Key>", self.ask("GET", f"?list-type=2&prefix={prefix}")):
            self.ask("POST", "?delete", ("<Delete><Quiet>true</Quiet>" + "".join(f"<Object><Key>{key}</Key></Object>"
                                         for key in keys) + "</Delete>").encode())

    def options(self):
        return [f"--baseURL={self.url}/", f"--accessFile={self.keys}", f"--region={self.region}"]

    # --- the volume

    def make(self, maker, size, block):
        """Encrypted as s3backer does it; half text, half noise, by turns."""
        where = self.top / "disk"
        where.mkdir()
        thing = RECORD.add("mount", where)
        words = [f"--baseURL={self.url}/", f"--accessFile={self.keys}", f"--prefix={FROM}", "--encrypt", f"--password={OLD}",
                 f"--size={size}", f"--blockSize={block}"]
        if maker == "s3backer":     # --region would make it leave the base URL for Amazon's
            with open(self.top / "log", "wb") as log:
                process = subprocess.Popen(["s3backer", "-f", "--quiet", *words, "--compress", *TUNING, self.bucket, where],
                                           stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        else:
            process = subprocess.Popen([self.build / "bucketdisk", "-f", "--quiet", *words, f"--region={self.region}", self.bucket, where],
                                       stdin=subprocess.DEVNULL)
        self.fill(where / "file", process, size, block)
        process.terminate()     # both store the rest, and unmount; umount(8) ends no daemon of a mount that another namespace has, too
        if process.wait() != 0:
            raise SystemExit(f"{maker} did not end well")
        RECORD.drop(thing)

    @staticmethod
    def fill(file, process, size, block):
        disk.wait_until("the disk", lambda: process.poll() is not None or file.exists())
        with open(file, "r+b", buffering=0) as out:
            for at in range(0, size, 2 * block):
                out.write(os.urandom(block) + b"".join(b"%10d says the same again and again\n" % (at + line)
                                                       for line in range(block // 42 + 1))[:block])
            os.fsync(out.fileno())

    # --- the contenders

    def copy_command(self, prefix, *options):
        return [self.build / "bucketdisk", "copy", "--json", *self.options(), f"--from-prefix={FROM}", f"--from-password={OLD}",
                f"--to-prefix={prefix}", "--to-codec=zstd,xaes-256-gcm", f"--to-password={NEW}", "--settle-time=1", *options,
                self.bucket, self.bucket]

    def copy(self, prefix, *options):
        """A whole copy: what it says, and what it used."""
        warm_memory()
        began = time.monotonic()
        with open(self.top / "log", "wb") as log:
            process = subprocess.Popen(self.copy_command(prefix, *options), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=log)
            thing = RECORD.add("process", process.pid, disk.process_start(process.pid))
            told = json.loads(process.stdout.read())
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            RECORD.drop(thing)
        if process.returncode != 0 or told["copy"] != "complete":
            raise SystemExit(f"the copy failed: {told['error']}")
        return {**told, "whole": time.monotonic() - began, "cpu_s": usage.ru_utime + usage.ru_stime,
                "peak_mib": usage.ru_maxrss / 1024}

    def puts(self):
        """How many the server has been sent so far."""
        return int(re.search(r"^method PUT (\d+)", urllib.request.urlopen(f"{self.url}/_lab").read().decode(), re.M).group(1))

    def kill_copy(self, prefix, blocks):
        """One that is killed when it has stored about so many; how long it lived."""
        until = self.puts() + blocks
        began = time.monotonic()
        process = subprocess.Popen(self.copy_command(prefix), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        thing = RECORD.add("process", process.pid, disk.process_start(process.pid))
        while process.poll() is None and self.puts() < until:
            time.sleep(0.02)
        if process.poll() is not None:
            raise SystemExit("the copy has ended before it was killed")
        process.kill()
        process.wait()
        RECORD.drop(thing)
        return time.monotonic() - began

    @contextlib.contextmanager
    def mounted(self, name, *options):
        """The file of a volume, read-only."""
        where = self.top / name
        where.mkdir(exist_ok=True)
        thing = RECORD.add("mount", where)
        subprocess.run([self.build / "bucketdisk", *self.options(), "--quiet", "--read-only", *options, self.bucket, where], check=True)
        with open(where / "file", "rb", buffering=0) as file:
            yield file
        subprocess.run([self.build / "bucketdisk", "umount", where], check=True)
        RECORD.drop(thing)

    def is_same(self, prefix):
        """Byte by byte."""
        with self.mounted("old", f"--prefix={FROM}", f"--password={OLD}") as old, \
                self.mounted("new", f"--prefix={prefix}", f"--password={NEW}") as new:
            size = os.fstat(old.fileno()).st_size
            at = 0
            while at < size and old.read(MIB) == new.read(MIB):
                at += MIB
            return size > 0 and at >= size and os.fstat(new.fileno()).st_size == size

    def bare(self, op, size, seconds):
        words = {"op": op, "bytes": size, "in_flight": CONNECTIONS, "objects": 1024, "prefix": f"bare-{op}-", "seconds": seconds,
                 "sign-payload": "yes", "base-url": self.url, "bucket": self.bucket, "region": self.region,
                 "access-id": self.access, "access-key": self.secret}
        return subprocess.Popen([self.build / "tests/bench/s3_bare", *(f"{key}={value}" for key, value in words.items())],
                                stdout=subprocess.PIPE, text=True)

    def bare_rates(self, from_bytes, to_bytes, seconds):
        """Objects a second that are fetched and stored: both at once, and one after the other; and the client's CPU time for one."""
        def end(process):
            text = process.communicate()[0]
            if process.returncode != 0:
                raise SystemExit("the bare client failed")
            return json.loads(text)
        warm_memory()
        both = [self.bare("get", from_bytes, seconds), self.bare("put", to_bytes, seconds)]
        at_once = min(end(process)["requests_s"] for process in both)
        alone = [end(self.bare("get", from_bytes, seconds)), end(self.bare("put", to_bytes, seconds))]
        return {"at_once": at_once, "in_turn": 1 / sum(1 / each["requests_s"] for each in alone),
                "bare_cpu_us": sum(each["cpu_us"] for each in alone)}


def compare(store, args, latency_ms):
    """Rounds of both, in another order each; the medians, as a row of the table."""
    block = args.block * KIB
    count, size = store.blocks(FROM)
    mean = [size // count, size // count]       # of the objects of the source and of the copy, which is not there yet
    rows = []

    def copy_round(number):
        prefix = TO.format(number)
        store.latency(latency_ms)
        told = store.copy(prefix)
        store.latency(0)
        mean[1] = store.blocks(prefix)[1] // count
        store.clear(prefix)
        return {**told, "rate": told["copied"] / told["seconds"], "whole_rate": told["copied"] / told["whole"]}

    def bare_round(_):
        store.latency(latency_ms)
        rates = store.bare_rates(*mean, args.seconds)
        store.latency(0)
        return {**rates, "best": max(rates["at_once"], rates["in_turn"])}

    for number in range(args.rounds):
        turns = [copy_round, bare_round] if number % 2 == 0 else [bare_round, copy_round]
        rows.append({name: value for turn in turns for name, value in turn(number).items()})
        rows[-1]["ratio"] = rows[-1]["rate"] / rows[-1]["best"]
    middle = {name: statistics.median(row[name] for row in rows)
              for name in ("rate", "whole_rate", "at_once", "in_turn", "best", "ratio", "cpu_s", "bare_cpu_us", "peak_mib")}
    mib = block / MIB
    ratios = " to ".join(f"{each(row['ratio'] for row in rows):.2f}" for each in (min, max))
    print(f"| {latency_ms} ms | {middle['rate'] * mib:.0f} | {middle['whole_rate'] * mib:.0f} "
          f"| {middle['cpu_s'] / (args.size * MIB / GIB):.1f} | {middle['bare_cpu_us'] * GIB / block / 1e6:.1f} "
          f"| {middle['peak_mib']:.0f} | {middle['at_once'] * mib:.0f} "
          f"| {middle['in_turn'] * mib:.0f} | {middle['ratio']:.2f} ({ratios}) | {os.getloadavg()[0]:.1f} |", flush=True)
    return {**middle, "mib": mib}


def killed_and_resumed(store, args, latency_ms, middle):
    """Killed at random, each time resumed, and looked at."""
    prefix = TO.format("killed")
    count = store.blocks(FROM)[0]
    store.latency(latency_ms)
    kills = [int(random.uniform(*SHARES) * count) for _ in range(KILLS)]
    seconds = [store.kill_copy(prefix, blocks) for blocks in kills]
    told = store.copy(prefix, "--verify") if args.verify else store.copy(prefix)
    rate = count / (sum(seconds) + told["whole"])
    print(f"killed after {', '.join(map(str, kills))} blocks: of {told['blocks']} {told['present']} were there already, "
          f"and {told['copied']} were copied; all four runs together {rate * middle['mib']:.0f} MiB/s, "
          f"{rate / middle['best']:.2f} of the bare client")
    again = store.copy(prefix)
    print(f"said again: {again['present']} of {again['blocks']} blocks are there, in {again['whole']:.1f} s")
    verified = store.copy(prefix, "--verify")
    print(f"said again with --verify: each block was read and compared, in {verified['whole']:.1f} s, "
          f"{verified['present'] / verified['seconds'] * middle['mib']:.0f} MiB/s")
    store.latency(0)
    done = subprocess.run([store.build / "bucketdisk", "check", "--json", "--quiet", *store.options(), f"--prefix={prefix}",
                           f"--password={NEW}", store.bucket], check=False, stdout=subprocess.PIPE, text=True)
    checked = json.loads(done.stdout)
    is_same = store.is_same(prefix)
    print(f"checked: {checked['good']} of {checked['blocks']} blocks are good; through both mounts the bytes are "
          f"{'the same' if is_same else 'NOT THE SAME'}", flush=True)
    store.clear(prefix)
    return told["present"] > 0 and again["present"] == again["blocks"] and done.returncode == 0 \
        and checked["good"] == checked["blocks"] == count and is_same


def stop(number, _):
    """Once: who is impatient must not keep us from cleaning up."""
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--size", type=int, default=2048, help="MiB of the volume")
    parser.add_argument("--block", type=int, default=64, help="KiB of a block")
    parser.add_argument("--rounds", type=int, default=3, help="of both by turns; medians are shown")
    parser.add_argument("--seconds", type=float, default=6, help="of each run of the bare client")
    parser.add_argument("--latency", type=int, action="append", help="ms that the store adds; 20 and 0")
    parser.add_argument("--maker", choices=("s3backer", "bucketdisk"), help="who writes the volume; s3backer, if it is installed")
    parser.add_argument("--verify", action="store_true", help="the copy that is killed ends with --verify")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="of the moments of the kills")
    args = parser.parse_args()
    args.build = args.build.resolve()
    args.latency = args.latency or [20, 0]
    args.maker = args.maker or ("s3backer" if shutil.which("s3backer") else "bucketdisk")
    random.seed(args.seed)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    print(f"{os.cpu_count()} processors, Linux {os.uname().release}, load before the run {os.getloadavg()[0]:.1f}; "
          f"{args.size} MiB in blocks of {args.block} KiB, made by {args.maker}; seed {args.seed}", flush=True)
    RECORD.start_guard()
    store = None
    try:
        store = Store(args.build)
        store.make(args.maker, args.size * MIB, args.block * KIB)
        print("| latency | copy, MiB/s | whole command, MiB/s | CPU s per GiB | bare, CPU s per GiB | peak MiB "
              "| bare at once, MiB/s | bare in turn, MiB/s | ratio to the better | load |\n" + "| --- " * 10 + "|", flush=True)
        middles = [compare(store, args, latency_ms) for latency_ms in args.latency]
        is_right = killed_and_resumed(store, args, args.latency[0], middles[0])
    finally:
        disk.remove_all([thing for thing in RECORD.things if thing[0] != "tree"])
        if store is not None:
            store.close()
    reached = [middle["ratio"] >= GOAL for middle in middles]
    print(f"goals (>= {GOAL} of the bare client): {reached.count(True)} reached, {reached.count(False)} not reached; "
          f"killed and resumed: {'right' if is_right else 'WRONG'}")
    sys.exit(0 if all(reached) and is_right else 1)


main()
