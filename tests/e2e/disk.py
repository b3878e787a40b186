# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end stories are told with: disks, loop devices, filesystems, and their orderly end.

A story is a unittest file `test_<story>.py` that ends in `disk.main()`.  Everything a story makes (a process, a mount,
a loop device, a directory) is recorded by its own id before it is used.  Whatever is left when a test ends, fails or is
killed is removed by that id: first by the test itself, and if the test itself is stuck or dead, by the guard, a process
of its own that holds a copy of the record.  Nothing is ever found by name and killed.

The store behind the disk is a class; `new_store()` makes one of the kind that BUCKETDISK_STORE names, and the same stories
run on each.

Environment:
  BUCKETDISK          the program (CMake passes the one just built)
  RANDOMOPS           the random-operation tester
  BUCKETDISK_LONG=1   the long campaigns
  BUCKETDISK_STORE    dir (default); faulty, ceph, s3rver, nginx for S3; with -tls behind them over TLS
  BUCKETDISK_SERVER   the directory that tests/servers/up was given, for the last three
  BUCKETDISK_E2E_OPTIONS  options for every mount, before the story's own, which win
"""
import contextlib
import ctypes
import errno
import hashlib
import json
import os
import pwd
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("BUCKETDISK", str(TOP / "build" / "bucketdisk"))
RANDOMOPS = os.environ.get("RANDOMOPS", str(TOP / "build" / "tests" / "e2e" / "randomops"))
LONG = os.environ.get("BUCKETDISK_LONG") == "1"
STORE = os.environ.get("BUCKETDISK_STORE") or "dir"
IS_REMOTE = STORE != "dir"              # each request takes its time, and servers take some of the processor's
OPTIONS = os.environ.get("BUCKETDISK_E2E_OPTIONS", "").split()
SKIPPED = 77                            # ctest's SKIP_RETURN_CODE
SEED = int(os.environ.get("BUCKETDISK_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)


def _temporary_directory():
    """Where stories work.  In memory if that can keep extended attributes (Linux 6.6): every block is synced on its way,
    and what a story tests is not the machine's disk.  A real directory is what ./demo uses."""
    if chosen := os.environ.get("BUCKETDISK_E2E_TMP"):
        return chosen
    with contextlib.suppress(OSError), tempfile.NamedTemporaryFile(dir="/dev/shm") as probe:
        os.setxattr(probe.name, "user.bucketdisk.probe", b"")
        space = os.statvfs("/dev/shm")
        if space.f_bavail * space.f_frsize > 6 << 30:
            return "/dev/shm"
    return tempfile.gettempdir()


TMP = _temporary_directory()
SANITIZER_WORDS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "LeakSanitizer has encountered", "WARNING: ThreadSanitizer",
                   "ERROR: ThreadSanitizer", "FATAL: ThreadSanitizer", "runtime error:", "Assertion `")
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def pick(short, long, remote=None):
    """The short form's value, or the long campaign's; `remote` is for the short form over a server."""
    return long if LONG else remote if IS_REMOTE and remote is not None else short


def is_sanitized():
    """True if the program carries a sanitizer, which costs memory and time."""
    with open(BINARY, "rb") as program:
        return b"__asan_init" in (text := program.read()) or b"__tsan_init" in text


def status_of(pid, word):
    """A number of /proc/PID/status: KiB for memory."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(word + ":"))


def sizeof(text):
    """64M -> bytes."""
    units = {"K": 1, "M": 2, "G": 3, "T": 4}
    return int(text[:-1]) << 10 * units[text[-1]] if text[-1] in units else int(text)


def run(*command, timeout=120, check=True, **more):
    """Run one program; its output is part of the error if it fails."""
    command = [str(word) for word in command]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, errors="replace", timeout=timeout, **more)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def wait_until(what, condition, seconds=30.0, pause=0.02):
    """Poll until the condition holds and return its value; after `seconds` it is a failure that says what was missed."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s in vain: {what}")
        time.sleep(pause)
    return value


# ---------------------------------------------------------------------------------------------------------------------
# The record of what was made, and the guard

def process_start(pid):
    """When a process started, in ticks since boot; with the pid it is an id that is not used again."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def is_mounted(path):
    with open("/proc/self/mountinfo", encoding="utf-8") as info:
        return any(line.split()[4] == str(path) for line in info)


def loop_file(device):
    try:
        return Path("/sys/block", Path(device).name, "loop/backing_file").read_text().strip()
    except OSError:
        return None


def remove_process(pid, start):
    if process_start(pid) == start:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
        with contextlib.suppress(AssertionError):
            wait_until("a killed process to go", lambda: process_start(pid) != start, 20)


def remove_mount(path):
    for _ in range(10):
        if not is_mounted(path):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            run("umount", "-l", path, check=False, timeout=30)


def remove_loop(device, backing):
    if backing in (loop_file(device), str(loop_file(device)).removesuffix(" (deleted)")):
        run("losetup", "-d", device, check=False, timeout=30)


def remove_tree(path):
    with open("/proc/self/mountinfo", encoding="utf-8") as info:
        if any(line.split()[4].startswith(path + "/") for line in info):
            return                      # something is still mounted below: better litter than somebody's files
    shutil.rmtree(path, ignore_errors=True)


def remove_cgroup(path):
    def gone():
        with contextlib.suppress(OSError):
            os.rmdir(path)
        return not os.path.exists(path)
    with contextlib.suppress(AssertionError):
        wait_until(f"{path} to be empty", gone, 10)


def remove_link(name):
    run("ip", "link", "del", name, check=False, timeout=30)


REMOVE = {"process": remove_process, "mount": remove_mount, "loop": remove_loop, "tree": remove_tree,
          "cgroup": remove_cgroup, "link": remove_link}


def abort_fuse(path):
    """End a FUSE mount's connection, so that whoever waits in the kernel for its daemon goes on, with an error."""
    with open("/proc/self/mountinfo", encoding="utf-8") as info:
        device = next((line.split()[2] for line in info
                       if line.split()[4] == path and line.split(" - ")[1].startswith("fuse")), None)
    if device is None:
        return
    control = Path("/sys/fs/fuse/connections")
    if not any(control.iterdir()):
        run("mount", "-t", "fusectl", "none", control, check=False)
    with contextlib.suppress(OSError):
        (control / device.split(":")[1] / "abort").write_text("1")


def remove_all(things):
    """By force: the processes first, so that nothing can hang on a daemon that no longer answers, then last made first."""
    for kind, *words in things:
        if kind == "process" and process_start(words[0]) == words[1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(words[0]), signal.SIGKILL)
    for kind, *words in things:
        if kind == "mount":
            abort_fuse(words[0])        # a killed daemon may be stuck in the kernel, waiting for itself
    for kind, *words in sorted(reversed(things), key=lambda thing: thing[0] != "process"):
        REMOVE[kind](*words)


class Record:
    """The things made and not yet removed, told to the guard as well."""

    def __init__(self):
        self.things = []
        self.pipe = None

    def add(self, *thing):
        thing = tuple(str(word) for word in thing)
        self.things.append(thing)
        self.tell("+", *thing)
        return thing

    def drop(self, thing):
        if thing in self.things:
            self.things.remove(thing)
            self.tell("-", *thing)

    def tell(self, *words):
        if self.pipe is not None:
            os.write(self.pipe, ("\t".join(words) + "\n").encode())

    def start_guard(self):
        """Fork the guard, out of reach of whoever kills this process and its children."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.setsid()
            if os.fork() == 0:
                os.close(writer)
                null = os.open("/dev/null", os.O_RDWR)
                for descriptor in (0, 1, 2):
                    os.dup2(null, descriptor)
                guard(reader)
            os._exit(0)
        os.waitpid(child, 0)
        os.close(reader)
        self.pipe = writer


def guard(reader):
    """Follow the record; at its end remove what is left, and at a deadline kill the processes in it."""
    things, deadline, rest = [], None, b""
    while True:
        patience = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not select.select([reader], [], [], patience)[0]:
            deadline = None
            remove_all([thing for thing in things if thing[0] == "process"]
                       + [thing for thing in things if thing[0] == "mount"])
            continue
        data = os.read(reader, 65536)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            sign, *thing = line.decode().split("\t")
            if sign == "+":
                things.append(tuple(thing))
            elif sign == "-":
                things.remove(tuple(thing))
            else:
                deadline = float(thing[0]) if thing else None
    remove_all(things)


RECORD = Record()


# ---------------------------------------------------------------------------------------------------------------------
# Stories

class Story(unittest.TestCase):
    """A test with a directory of its own, a time limit, and everything it made removed afterwards."""

    limit_seconds = 240                 # for one test; the long form multiplies it

    def setUp(self):
        limit = self.limit_seconds * pick(1, 20, remote=2) * (2 if is_sanitized() else 1)
        signal.signal(signal.SIGALRM, self._too_long)
        signal.alarm(int(limit))
        RECORD.tell("deadline", str(time.monotonic() + limit + 30))
        self.tmp = Path(tempfile.mkdtemp(prefix="bucketdisk-e2e-", dir=TMP))
        RECORD.add("tree", self.tmp)
        self.addCleanup(self._finish)
        self.logs = []                  # every daemon's log, in order
        self.children = []
        self.stores = []                # to be emptied
        self.spills = self.tmp / "spills"
        self.random = random.Random(f"{SEED} {self.id()}")
        self._number = 0

    def _too_long(self, *_):
        raise TimeoutError(f"{self.id()} took longer than its limit")

    def _finish(self):
        """What is left is removed by force; a sanitizer's report in any log is a failure of its own."""
        signal.alarm(0)
        RECORD.tell("deadline")
        failed = any(error for _, error in getattr(self._outcome, "errors", [])) or not self._outcome.success
        if failed:
            print(f"\n(BUCKETDISK_SEED={SEED} repeats the random choices)", file=sys.stderr)
            for log in self.logs:
                lines = log.read_text(errors="replace").splitlines()
                print(f"--- {log.name}, last of {len(lines)} lines", *lines[-25:], sep="\n", file=sys.stderr)
        reports = self.sanitizer_reports()
        mine = list(RECORD.things)
        remove_all(mine)
        for thing in mine:
            RECORD.drop(thing)
        for child in self.children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(5)
            if child.stdout is not None:
                child.stdout.close()
        try:
            for store in self.stores:
                store.empty()
        finally:
            if reports:
                raise AssertionError("a daemon's sanitizer reported:\n" + "\n".join(reports))

    def sanitizer_reports(self):
        """Texts of the reports found: in the logs, and in files of their own for daemons in the background."""
        found = []
        for log in [*self.logs, *self.tmp.glob("sanitizer.*")]:
            text = log.read_text(errors="replace")
            places = [at for word in SANITIZER_WORDS if (at := text.find(word)) != -1]
            if places:
                found.append(f"{log.name}: {text[min(places):][:6000]}")
        return found

    def path(self, name):
        """A new path in the story's directory."""
        self._number += 1
        return self.tmp / f"{name}-{self._number}"

    def directory(self, name):
        made = self.path(name)
        made.mkdir()
        return made

    def start(self, *command, **more):
        """Start a process that is ended with the story."""
        process = subprocess.Popen([str(word) for word in command], **more)
        process.thing = RECORD.add("process", process.pid, process_start(process.pid))
        self.children.append(process)
        return process

    def dies_early(self, volume, seconds, *options):
        """A daemon that is killed while it starts, or soon after."""
        where = self.directory("early")
        thing = RECORD.add("mount", where)
        process = self.start(*volume.command(*options), "-f", volume.store.location, where, stdin=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, env=environment(self))
        time.sleep(seconds)
        process.kill()
        self.reap(process)
        remove_mount(where)
        RECORD.drop(thing)

    def let_go(self):
        """Words for the shell of a new namespace: others' mounts, of which it has copies, would not end while it lives."""
        return (f"awk '$5 ~ /bucketdisk-e2e-/ && $5 !~ /{self.tmp.name}/ {{ print $5 }}' /proc/self/mountinfo | tac | "
                "while read -r place; do umount -i -l $place; done; ")

    def start_elsewhere(self, *command, flags=("-m",), first="", **more):
        """Start a process on another machine: a mount namespace with a lock directory of its own.  What it mounts is seen
        there alone, as /proc/PID/root/...  `first`: what its shell does before."""
        if run("unshare", *flags, "true", check=False).returncode != 0:
            self.skipTest("no namespaces can be made here, as in a chroot")
        script = f"{self.let_go()} mkdir -p /run/bucketdisk && mount -t tmpfs -o mode=755 none /run/bucketdisk && {first} exec \"$@\""
        return self.start("unshare", *flags, "sh", "-c", script, "-", *command, **{"env": environment(self), **more})

    def reap(self, process, seconds=60):
        """Wait for a process of ours; its exit status."""
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{process.args}: still running after {seconds} s") from None
        RECORD.drop(process.thing)
        return status

    def mount(self, source, fstype=None, options=None, seconds=60):
        """Mount a filesystem on a new directory, which is returned."""
        where = self.directory("mnt")
        thing = RECORD.add("mount", where)
        try:
            run("mount", *(["-t", fstype] if fstype else []), *(["-o", options] if options else []), source, where,
                timeout=seconds)
        except AssertionError:
            RECORD.drop(thing)
            raise
        return where

    def umount(self, where, *flags, seconds=120):
        """Another story's namespace may have had a copy of the mount: unless it is lazy, wait until the filesystem has ended."""
        device = run("findmnt", "-n", "-o", "SOURCE", "--mountpoint", where, check=False).stdout.strip()
        run("umount", *flags, where, timeout=seconds)
        RECORD.drop(("mount", str(where)))
        if "-l" not in flags and device.startswith("/dev/loop"):
            wait_until(f"the filesystem of {device} to end", lambda: not is_in_use(Path(device).name), seconds)

    def small_filesystem(self, size):
        """A filesystem that can be filled, and made read-only."""
        image = self.path("small")
        with open(image, "wb") as file:
            file.truncate(sizeof(size))
        run("mkfs.ext4", "-q", "-m0", "-O", "^has_journal", image)
        return self.mount(Loop(self, image).device, "ext4")


def is_in_use(device):
    """Is the filesystem on "loop0" mounted, wherever that may be?"""
    return any(Path("/sys/fs").glob(f"*/{device}")) or any(Path("/sys/fs/btrfs").glob(f"*/devices/{device}"))


def as_nobody(story, *directories):
    """The words before a command that make it nobody's, as these directories and what is in them become."""
    nobody = pwd.getpwnam("nobody")
    words = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    if run(*words, "test", "-r", BINARY, check=False).returncode != 0:
        story.skipTest("the build is where other users cannot read it")
    for directory in directories:
        for path in (directory, *Path(directory).iterdir()):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
    return words


def environment(story):
    """The daemon's: sanitizers write to files in the story's directory, so that no report is missed."""
    log = f"log_path={story.tmp}/sanitizer"
    # LeakSanitizer's tracer (gcc 12) crashes now and then in the thread-local memory of the libraries behind libcurl.
    return {**os.environ, "LC_ALL": "C", "no_proxy": "127.0.0.1,localhost",
            "LSAN_OPTIONS": f"use_tls=0:suppressions={TOP}/tests/leaks.supp:print_suppressions=0:{os.environ.get('LSAN_OPTIONS', '')}",
            "ASAN_OPTIONS": f"{log}:exitcode=99:detect_leaks=1:quarantine_size_mb=16:{os.environ.get('ASAN_OPTIONS', '')}",
            "UBSAN_OPTIONS": f"{log}:print_stacktrace=1:{os.environ.get('UBSAN_OPTIONS', '')}",
            "TSAN_OPTIONS": f"{log}:exitcode=99:second_deadlock_stack=1:{os.environ.get('TSAN_OPTIONS', '')}"}


# ---------------------------------------------------------------------------------------------------------------------
# Stores

def program_without_plugins(story):
    """A copy of the program where it finds no plugin by itself, and a directory with those that it had."""
    program, plugins = story.directory("bin") / "bucketdisk", story.directory("plugins")
    shutil.copy(BINARY, program)
    for plugin in json.loads(run(BINARY, "plugins", "--json").stdout):
        shutil.copy(plugin["path"], plugins)
    return program, plugins


class Store:
    """Where a disk's objects are: how to name it to the program, and what a test may look at behind the daemon's back."""

    backend = None                      # for --backend
    options = ()                        # what else the program needs to reach it
    location = None

    def objects(self):
        """Names of all objects, in order."""
        raise NotImplementedError

    def blocks(self, prefix=""):
        """Names of the block objects."""
        return [name for name in self.objects() if name.startswith(prefix) and name != prefix + "s3backer-mounted"]

    def bytes_stored(self):
        raise NotImplementedError

    def snapshot(self):
        """Everything stored: name -> digest of the body and the attributes."""
        raise NotImplementedError

    def slow_reads(self, seconds):
        """What to give to mount() so that every read takes so long."""
        return {"chaos": ["only=get", f"latency={int(seconds * 1000)}ms"]}


class DirStore(Store):
    backend = "dir"

    def __init__(self, story, path=None):
        self.path = path if path is not None else story.directory("store")
        self.location = str(self.path)

    def objects(self):
        return sorted(entry.name for entry in os.scandir(self.path)
                      if entry.is_file(follow_symlinks=False) and not entry.name.startswith("."))

    def bytes_stored(self):
        return sum((self.path / name).stat().st_size for name in self.objects())

    def snapshot(self):
        stored = {}
        for name in self.objects():
            path = self.path / name
            digest = hashlib.sha256(path.read_bytes())
            for key in sorted(os.listxattr(path)):
                digest.update(key.encode() + b"\0" + os.getxattr(path, key) + b"\0")
            stored[name] = digest.hexdigest()
        return stored


def new_store(story):
    """A new, empty store of the kind that this run is about."""
    kind, _, tls = STORE.partition("-")
    if kind == "dir":
        return DirStore(story)
    if kind == "faulty":
        import faulty
        return faulty.FaultyStore(faulty.FaultyServer(story, tls=tls == "tls"))
    import s3store
    return s3store.S3Store(story, tls == "tls")


def missing_server():
    """Why the server that this run is about cannot be used, or None."""
    if STORE == "dir" or STORE.startswith("faulty"):
        return None
    directory = os.environ.get("BUCKETDISK_SERVER", "")
    if not directory:
        return f"BUCKETDISK_SERVER does not say where {STORE} is: tests/servers/up KIND DIRECTORY"
    if not os.path.exists(os.path.join(directory, "env")):
        return f"{STORE} is not running; the test servers/{STORE.removesuffix('-tls')}-up says why"
    return None


# ---------------------------------------------------------------------------------------------------------------------
# Disks

class MountFailed(AssertionError):
    def __init__(self, status, text):
        super().__init__(f"the daemon ended with status {status}: {text}")
        self.status, self.text = status, text


class BackgroundDaemon:
    """The daemon behind a mount point of ours, found by its program and its arguments; no child, so it has no status."""

    def __init__(self, mountpoint):
        self.args = ["daemon of", str(mountpoint)]
        self.pid = next(pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._is_ours(pid, mountpoint))
        self.start = process_start(self.pid)
        self.thing = RECORD.add("process", self.pid, self.start)

    @staticmethod
    def _is_ours(pid, mountpoint):
        with contextlib.suppress(OSError):
            return (os.path.samefile(f"/proc/{pid}/exe", BINARY)
                    and os.fsencode(mountpoint) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"))
        return False

    def poll(self):
        return None if process_start(self.pid) == self.start else 0

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def wait(self, seconds):
        wait_until("the daemon's end", lambda: self.poll() is not None, seconds)
        return 0


class Disk:
    """One volume and the daemon that shows it, if one does."""

    def __init__(self, story, size="64M", block_size="64K", *options, store=None, filename="file"):
        self.story, self.size, self.block_size = story, size, block_size
        self.options = list(options)            # given at every mount
        self.store = store if store is not None else new_store(story)
        self.filename = filename
        self.is_new = True
        self.daemon = self.mountpoint = self.log = None

    @property
    def file(self):
        return self.mountpoint / self.filename

    def command(self, *options, chaos=False):
        """The command line up to the location and mount point.  Sizes are only given to a new volume."""
        sizes = [f"--size={self.size}", f"--blockSize={self.block_size}"] if self.is_new else []
        backend = ("chaos," if chaos else "") + self.store.backend
        return [BINARY, f"--backend={backend}", *self.store.options, f"--spill-directory={self.story.spills}", *OPTIONS, *sizes,
                *self.options, *options]

    def mount(self, *options, chaos=None, seconds=60, wrapper=()):
        """Start a daemon in the foreground, its log in a file, and wait until the file is there.

        `chaos` puts the chaos backend over the store: a list of its options without the dashes."""
        story = self.story
        self.mountpoint = story.directory("disk")
        self.log = story.path("daemon").with_suffix(".log")
        chaotic = [f"--chaos-{option}" for option in chaos or ()]
        command = self.command(*chaotic, *options, chaos=chaos is not None)
        thing = RECORD.add("mount", self.mountpoint)
        with open(self.log, "wb") as log:
            story.logs.append(self.log)
            self.daemon = story.start(*wrapper, *command, "-f", self.store.location, self.mountpoint,
                                      stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(story))

        def ready():
            if self.daemon.poll() is not None:
                RECORD.drop(thing)
                raise MountFailed(story.reap(self.daemon), self.log.read_text(errors="replace"))
            return is_mounted(self.mountpoint) and self.file.exists()
        wait_until(f"the disk on {self.mountpoint}", ready, seconds)
        self.is_new = False
        return self

    def interrupted(self, is_time, *options, how=signal.SIGTERM):
        """Start a daemon in the foreground and end it by a signal when it is_time, before it has mounted.  (exit status, log)"""
        mountpoint = self.story.directory("interrupted")
        log = self.story.path("interrupted").with_suffix(".log")
        thing = RECORD.add("mount", mountpoint)
        with open(log, "wb") as file:
            self.story.logs.append(log)
            process = self.story.start(*self.command(*options), "-f", self.store.location, mountpoint, stdin=subprocess.DEVNULL,
                                       stdout=file, stderr=file, env=environment(self.story))
        wait_until("the time to interrupt", is_time)
        self.story.assertFalse(is_mounted(mountpoint))
        process.send_signal(how)
        status = self.story.reap(process, 20)
        self.story.assertFalse(is_mounted(mountpoint))
        RECORD.drop(thing)
        return status, log.read_text(errors="replace")

    def mount_in_background(self, *options, seconds=60):
        """As a user does: the command returns when the file can be used.  The daemon is not our child."""
        self.mountpoint = self.story.directory("disk")
        self.log = self.story.path("daemon").with_suffix(".log")
        self.story.logs.append(self.log)
        thing = RECORD.add("mount", self.mountpoint)
        command = self.command(*options)
        done = run(*command, self.store.location, self.mountpoint, check=False, timeout=seconds,
                   env=environment(self.story))
        self.log.write_text(done.stderr)
        if done.returncode != 0:
            RECORD.drop(thing)
            raise MountFailed(done.returncode, done.stderr)
        self.daemon = BackgroundDaemon(self.mountpoint)
        self.is_new = False
        return self

    def umount(self, seconds=120):
        """`bucketdisk umount`: returns when all is stored."""
        run(BINARY, "umount", self.mountpoint, timeout=seconds, env=environment(self.story))
        self.ended(0, seconds)

    def ended(self, status=0, seconds=60):
        """Wait for the daemon's own end, with this exit status."""
        got = self.story.reap(self.daemon, seconds)
        self.story.assertFalse(is_mounted(self.mountpoint), "the daemon has ended but left its mount")
        RECORD.drop(("mount", str(self.mountpoint)))
        if status is not None:
            self.story.assertEqual(got, status, f"the daemon's exit status\n{self.log_text()[-3000:]}")
        return got

    def remount(self, *options, **more):
        self.umount()
        return self.mount(*options, **more)

    def kill9(self):
        """The daemon dies at this instant; its dead mount is taken away."""
        self.daemon.send_signal(signal.SIGKILL)
        self.story.reap(self.daemon)
        self.story.umount(self.mountpoint, "-l")

    def log_text(self):
        return self.log.read_text(errors="replace")

    def stats(self):
        with open(self.mountpoint / "stats.json", encoding="utf-8") as stats:
            return json.load(stats)

    def refused(self, *options, command=None, seconds=60):
        """Run the command as a user does, in the background; it must be refused.  (exit status, standard error)"""
        mountpoint = self.story.directory("refused")
        thing = RECORD.add("mount", mountpoint)
        command = command or [*self.command(*options), self.store.location, mountpoint]
        done = run(*command, check=False, timeout=seconds, env=environment(self.story))
        if is_mounted(mountpoint):
            run(BINARY, "umount", mountpoint, check=False)
            self.story.fail(f"was mounted, and should have been refused: {command}")
        RECORD.drop(thing)
        # A build for coverage complains where another user may not write its counts.
        said = [line for line in done.stderr.splitlines(keepends=True) if not line.startswith("profiling:")]
        return done.returncode, "".join(said)

    def resident_bytes(self):
        with open(f"/proc/{self.daemon.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) * KIB for line in status if line.startswith("VmRSS:"))


class Loop:
    """A loop device over a file, known by the name that losetup gave it."""

    def __init__(self, story, file, direct=False):
        self.story = story
        self.device = run("losetup", "--find", "--show", f"--direct-io={'on' if direct else 'off'}", file).stdout.strip()
        self.thing = RECORD.add("loop", self.device, file)
        dio = Path("/sys/block", Path(self.device).name, "loop/dio").read_text().strip()
        story.assertEqual(dio, "1" if direct else "0", "the loop device is not in the asked for mode")

    def detach(self, seconds=60):
        backing = loop_file(self.device)
        run("losetup", "-d", self.device, timeout=seconds)
        if backing is not None:
            wait_until(f"{self.device} to be free", lambda: loop_file(self.device) != backing, seconds)
        RECORD.drop(self.thing)


# ---------------------------------------------------------------------------------------------------------------------
# Bytes and trees

FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE = 1, 2, 16
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def fallocate(descriptor, mode, offset, length):
    if _libc.fallocate(descriptor, mode, offset, length) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@contextlib.contextmanager
def opened(path, flags=os.O_RDWR):
    descriptor = os.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write_at(path, offset, data):
    """Write and fsync."""
    with opened(path, os.O_WRONLY) as descriptor:
        done = 0
        while done < len(data):
            done += os.pwrite(descriptor, data[done:], offset + done)
        os.fsync(descriptor)


def read_at(path, offset, length):
    """Read what the daemon has, not what the kernel remembers."""
    with opened(path, os.O_RDONLY) as descriptor:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        parts = []
        while length > 0:
            part = os.pread(descriptor, min(length, 8 * MIB), offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return b"".join(parts)


def error_of(function, *arguments):
    """The errno's name that the call fails with, or None."""
    try:
        function(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return None


def make_tree(top, seed, files=pick(250, 2500), bytes_max=300 * KIB):
    """A tree of directories, files of many sizes, and links; the same for the same seed."""
    choose = random.Random(f"tree {seed}")
    directories = [top]
    for number in range(files):
        if number % 10 == 0:
            made = choose.choice(directories) / f"d{number}"
            made.mkdir()
            directories.append(made)
        where = choose.choice(directories) / f"f{number}"
        where.write_bytes(choose.randbytes(int(bytes_max ** choose.random()) - 1))
        if number % 25 == 0:
            (where.parent / f"l{number}").symlink_to(where.name)


def checksums(top):
    """Everything below a directory: path -> kind and digest."""
    sums = {}
    for where, directories, files in os.walk(top):
        if "lost+found" in directories:
            directories.remove("lost+found")
        for name in [*directories, *files]:
            path = Path(where, name)
            key = str(path.relative_to(top))
            if path.is_symlink():
                sums[key] = "-> " + os.readlink(path)
            elif path.is_dir():
                sums[key] = "dir"
            else:
                with open(path, "rb") as file:
                    sums[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return sums


def main(mounts=True):
    if mounts and (os.geteuid() != 0 or not os.path.exists("/dev/fuse") or not os.path.exists("/dev/loop-control")):
        print("skipped: needs root, /dev/fuse and loop devices", file=sys.stderr)
        sys.exit(SKIPPED)
    if reason := missing_server():
        print(f"skipped: {reason}", file=sys.stderr)
        sys.exit(SKIPPED)
    if not os.access(BINARY, os.X_OK):
        sys.exit(f"no program {BINARY}; build first, or set BUCKETDISK")
    RECORD.start_guard()
    print(f"BUCKETDISK_SEED={SEED}", file=sys.stderr)
    program = unittest.main(module="__main__", verbosity=2, exit=False)
    result = program.result
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(SKIPPED if result.testsRun > 0 and len(result.skipped) == result.testsRun else 0)
