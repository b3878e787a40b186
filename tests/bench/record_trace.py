#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Records what ext4 asks of its disk under a mixed load: tests/bench/record_trace.py BUILD OUT.trace.gz [--drift]

With --drift, other small files become the often read ones as time goes on.

Needs root, /dev/fuse, a loop device, a memory control group (version 1 or 2), 2 GiB in /dev/shm.  The load runs in a
control group with little memory: what the kernel's page cache keeps never comes to the disk again.  The same choices
each time, but the kernel's own timing is not the same."""
import gzip
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MIB = 1 << 20
DISK_BYTES = 1024 * MIB
BIG_BYTES = 320 * MIB       # read once, amid the small files
MEMORY_BYTES = 48 * MIB     # of the load, page cache included
READS = 40000               # of small files, before and after that
READS_EACH_MIB = 40         # and meanwhile
SEED = 4
IS_DRIFTING = sys.argv[3:] == ["--drift"]

random_choice = random.Random(SEED)


def run(*command, **more):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **more).stdout


# ---- the load: runs as a process of its own, in the control group

def choices(files, weights, count):
    while count > 0:
        yield from random_choice.choices(files, weights, k=min(count, 1000))
        count -= 1000
        if IS_DRIFTING:
            files[:] = files[40:] + files[:40]


def zipf_reads(files, weights, count, log):
    """Small files as a build or a version control system reads them: few often, most seldom; now and then one is
    written anew, and a line is logged."""
    for number, path in enumerate(choices(files, weights, count)):
        data = path.read_bytes()
        if number % 20 == 0:
            path.write_bytes(data)
        if number % 50 == 0:
            with open(log, "a") as out:
                out.write(f"{path}\n")


def load(where, mark):
    def files_and_weights():
        files = sorted(path for path in (where / "include").rglob("*") if path.is_file() and not path.is_symlink())
        random_choice.shuffle(files)
        return files, [1 / rank for rank in range(1, len(files) + 1)]

    log = where / "log"
    mark("walk")
    run("find", str(where / "include"), "-newer", "/etc/passwd")
    mark("grep")
    subprocess.run(["grep", "-rc", "no such word", str(where / "include")], stdout=subprocess.DEVNULL, check=False)
    files, weights = files_and_weights()
    mark("small")
    zipf_reads(files, weights, READS, log)
    mark("scan")
    with subprocess.Popen(["tar", "-cf", "-", "big"], cwd=where, stdout=subprocess.PIPE) as scan:
        while scan.stdout.read(MIB):
            zipf_reads(files, weights, READS_EACH_MIB, log)
    mark("small-again")
    zipf_reads(files, weights, READS, log)


# ---- the disk

def memory_group():
    name = f"bucketdisk-trace-{os.getpid()}"
    for top, limit in (("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")):
        group = Path(top, name)
        if not Path(top, "cgroup.procs").exists() or (limit == "memory.max" and "memory" not in
                                                      Path(top, "cgroup.subtree_control").read_text().split()):
            continue
        group.mkdir()
        (group / limit).write_text(str(MEMORY_BYTES))
        return group
    sys.exit("no memory control group")


def record(build, out):
    work = Path(tempfile.mkdtemp(prefix="bucketdisk-trace-", dir="/dev/shm"))
    backing, trace, fuse, where = work / "backing", work / "trace", work / "fuse", work / "ext4"
    undo = [lambda: shutil.rmtree(work)]
    try:
        for directory in (fuse, where):
            directory.mkdir()
        with open(backing, "wb") as file:
            file.truncate(DISK_BYTES)

        def mark(name):
            with open(trace, "a") as file:
                file.write(f"# {name}\n")
            print(name, trace.stat().st_size, flush=True)

        server = subprocess.Popen([build / "tests/bench/trace_record", backing, trace, fuse, "-f", "-s"])
        undo.append(server.wait)
        undo.append(lambda: run("umount", fuse))
        for _ in range(100):
            if (fuse / "disk").exists() or server.poll() is not None:
                break
            time.sleep(0.1)
        mark("mkfs")
        loop = run("losetup", "--find", "--show", "--direct-io=on", fuse / "disk").strip()
        undo.append(lambda: run("losetup", "--detach", loop))
        run("mkfs.ext4", "-q", loop)
        mark("copy")
        run("mount", loop, where)
        undo.append(lambda: run("umount", where))
        run("cp", "-a", "/usr/include", where)
        with open(where / "big", "wb") as big:
            for _ in range(BIG_BYTES // MIB):
                big.write(b"x" * MIB)
        run("umount", where)
        run("mount", loop, where)
        group = memory_group()
        undo.append(group.rmdir)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                (group / "cgroup.procs").write_text(str(os.getpid()))
                load(where, mark)
                status = 0
            finally:
                os._exit(status)
        if os.waitpid(child, 0)[1] != 0:
            sys.exit("the load failed")
        mark("umount")
    finally:
        while undo:
            if len(undo) == 1 and trace.exists():
                Path(out).write_bytes(gzip.compress(trace.read_bytes(), 9, mtime=0))
            try:
                undo.pop()()
            except (OSError, subprocess.CalledProcessError) as error:
                print(error, file=sys.stderr)


record(Path(sys.argv[1]), sys.argv[2])
