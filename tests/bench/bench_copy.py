#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How fast is `bucketdisk copy`, next to a bare client that moves as many objects?  `bench_copy.py BUILD`; README.md says more."""
import argparse
import contextlib
import json
import os
import pathlib
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

SERVERS = HERE.parent / "servers"
CONNECTIONS = 64                # of the bare client, for each of its two directions
GOAL = 0.8
KILLS = (0.1, 0.3, 0.6)         # of the blocks are there by then
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

    def make(self, size, block):
        """As s3backer encrypts it; half text, half noise, by turns."""
        where = self.top / "disk"
        where.mkdir()
        thing = RECORD.add("mount", where)
        subprocess.run([self.build / "bucketdisk", *self.options(), f"--prefix={FROM}", "--encrypt", f"--password={OLD}",
                        f"--size={size}", f"--blockSize={block}", self.bucket, where], check=True)
        with open(where / "file", "r+b", buffering=0) as file:
            for at in range(0, size, 2 * block):
                file.write(os.urandom(block) + b"".join(b"%10d says the same again and again\n" % (at + line)
                                                        for line in range(block // 42 + 1))[:block])
            os.fsync(file.fileno())
        subprocess.run([self.build / "bucketdisk", "umount", where], check=True)
        RECORD.drop(thing)

    # --- the contenders

    def copy_command(self, prefix, *options):
        return [self.build / "bucketdisk", "copy", "--json", *self.options(), f"--from-prefix={FROM}", f"--from-password={OLD}",
                f"--to-prefix={prefix}", "--to-codec=zstd,xaes-256-gcm", f"--to-password={NEW}", "--settle-time=1", *options,
                self.bucket, self.bucket]

    def copy(self, prefix, *options):
        """A whole copy: what it says, and what it used."""
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
        return {**told, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_mib": usage.ru_maxrss / 1024}

    def kill_copy(self, prefix, blocks):
        """One that is killed when so many blocks are there."""
        process = subprocess.Popen(self.copy_command(prefix), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        thing = RECORD.add("process", process.pid, disk.process_start(process.pid))
        while process.poll() is None and self.blocks(prefix)[0] < blocks:
            time.sleep(0.1)
        if process.poll() is not None:
            raise SystemExit("the copy has ended before it was killed")
        process.kill()
        process.wait()
        RECORD.drop(thing)

    def bare(self, op, size, seconds):
        words = {"op": op, "bytes": size, "in_flight": CONNECTIONS, "objects": 1024, "prefix": f"bare-{op}-", "seconds": seconds,
                 "sign-payload": "yes", "base-url": self.url, "bucket": self.bucket, "region": self.region,
                 "access-id": self.access, "access-key": self.secret}
        return subprocess.Popen([self.build / "tests/bench/s3_bare", *(f"{key}={value}" for key, value in words.items())],
                                stdout=subprocess.PIPE, text=True)

    def bare_rates(self, from_bytes, to_bytes, seconds):
        """Objects a second that are fetched and stored: both at once, and one after the other."""
        def rate(process):
            text = process.communicate()[0]
            if process.returncode != 0:
                raise SystemExit("the bare client failed")
            return json.loads(text)["requests_s"]
        both = [self.bare("get", from_bytes, seconds), self.bare("put", to_bytes, seconds)]
        at_once = min(rate(process) for process in both)
        alone = [rate(self.bare("get", from_bytes, seconds)), rate(self.bare("put", to_bytes, seconds))]
        return {"at_once": at_once, "in_turn": 1 / sum(1 / each for each in alone)}


def killed_and_resumed(store, count):
    """Killed three times, then to its end, verified."""
    prefix = TO.format("killed")
    for share in KILLS:
        store.kill_copy(prefix, int(share * count))
    told = store.copy(prefix)
    print(f"killed at {', '.join(f'{share:.0%}' for share in KILLS)} and resumed: {told['present']} of {told['blocks']} blocks were "
          f"there already, {told['copied']} were copied, in {told['seconds']:.1f} s")
    done = subprocess.run([store.build / "bucketdisk", "check", "--json", "--quiet", *store.options(), f"--prefix={prefix}",
                           f"--password={NEW}", store.bucket], check=False, stdout=subprocess.PIPE, text=True)
    checked = json.loads(done.stdout)
    print(f"checked: {checked['good']} of {checked['blocks']} blocks are good")
    return told["present"] > 0 and done.returncode == 0 and checked["good"] == checked["blocks"] == count


def compare(store, args):
    """Rounds of both by turns; the rows of the table and the median ratio."""
    block, ratios = args.block * KIB, []
    from_count, from_bytes = store.blocks(FROM)
    gib = args.size * MIB / GIB
    print("| latency | copy, MiB/s | CPU s per GiB | peak MiB | bare at once, MiB/s | bare in turn, MiB/s | ratio to the better |\n"
          + "| --- " * 7 + "|", flush=True)
    for latency_ms in args.latency:
        to_bytes = None
        rows = []
        for number in range(args.rounds):
            prefix = TO.format(f"{latency_ms}-{number}")
            store.latency(latency_ms)
            told = store.copy(prefix)
            store.latency(0)
            to_bytes = store.blocks(prefix)[1]
            store.clear(prefix)
            store.latency(latency_ms)
            bare = store.bare_rates(from_bytes // from_count, to_bytes // from_count, args.seconds)
            rate = told["copied"] / told["seconds"]
            rows.append({"rate": rate, **bare, **told, "ratio": rate / max(bare["at_once"], bare["in_turn"])})
        middle = {name: statistics.median(row[name] for row in rows)
                  for name in ("rate", "at_once", "in_turn", "ratio", "cpu_s", "peak_mib")}
        print(f"| {latency_ms} ms | {middle['rate'] * block / MIB:.0f} | {middle['cpu_s'] / gib:.1f} | {middle['peak_mib']:.0f} "
              f"| {middle['at_once'] * block / MIB:.0f} | {middle['in_turn'] * block / MIB:.0f} | {middle['ratio']:.2f} |", flush=True)
        ratios.append(middle["ratio"])
    store.latency(0)
    return ratios, from_count


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
    args = parser.parse_args()
    args.build = args.build.resolve()
    args.latency = args.latency or [20, 0]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    print(f"{os.cpu_count()} processors, Linux {os.uname().release}, load before the run {os.getloadavg()[0]:.1f}; "
          f"{args.size} MiB in blocks of {args.block} KiB", flush=True)
    RECORD.start_guard()
    store = None
    try:
        store = Store(args.build)
        store.make(args.size * MIB, args.block * KIB)
        ratios, count = compare(store, args)
        is_right = killed_and_resumed(store, count)
    finally:
        disk.remove_all([thing for thing in RECORD.things if thing[0] != "tree"])
        if store is not None:
            store.close()
    reached = [ratio >= GOAL for ratio in ratios]
    print(f"goals (>= {GOAL} of the bare client): {reached.count(True)} reached, {reached.count(False)} not reached; "
          f"killed and resumed: {'right' if is_right else 'WRONG'}")
    sys.exit(0 if all(reached) and is_right else 1)


main()
