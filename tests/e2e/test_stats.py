#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The statistics: three files that say the same, numbers that agree with what was done, names that the manual tells of."""
import math
import os
import re
import stat
import threading

import disk

BLOCK = 65536
MANUAL = disk.TOP / "core/man/bucketdisk.1.md"
PREFIX = "bucketdisk_"
WORDS = ("count", "sum", "mean", "p50", "p90", "p99", "max")     # of a histogram in JSON, beside the buckets


class Malformed(Exception):
    pass


# ---------------------------------------------------------------------------------------------------------------------
# Prometheus' text format 0.0.4, read as strictly as it is written down, and a little more so: each family has HELP and TYPE,
# in this order and before its samples, and stands in one place.

NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? ([0-9]+(?:\.[0-9]+)?)")
HISTOGRAM_SUFFIXES = ("_bucket", "_sum", "_count")


def unescaped(text):
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], text)


def read_metrics(text):
    """Family -> (type, help, [(name, labels, value)])."""
    families, current = {}, None
    if not text.endswith("\n"):
        raise Malformed("does not end in a line feed")
    for line in text[:-1].split("\n"):
        if match := re.fullmatch(rf"# HELP ({NAME}) ((?:[^\\]|\\[\\n])*)", line):
            current = match[1]
            if current in families:
                raise Malformed(f"{current} comes twice")
            families[current] = [None, unescaped(match[2]), []]
        elif match := re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge|histogram)", line):
            if match[1] != current or families[current][0] is not None:
                raise Malformed(f"TYPE of {match[1]} is not behind its HELP")
            families[current][0] = match[2]
        elif match := SAMPLE.fullmatch(line):
            kind = families[current][0] if current else None
            fit = [current] if kind in ("counter", "gauge") else [current + suffix for suffix in HISTOGRAM_SUFFIXES] if kind else []
            if match[1] not in fit:
                raise Malformed(f"a sample where it does not belong: {line}")
            pairs = re.findall(LABEL, match[2] or "")
            labels = {name: unescaped(value) for name, value in pairs}
            if len(labels) != len(pairs):
                raise Malformed(f"a label twice: {line}")
            families[current][2].append((match[1], labels, match[7]))
        else:
            raise Malformed(f"no line of the format: {line!r}")
    for name, (kind, _, samples) in families.items():
        check_family(name, kind, samples)
    return families


def check_family(name, kind, samples):
    if len({(sample, tuple(sorted(labels.items()))) for sample, labels, _ in samples}) != len(samples):
        raise Malformed(f"{name}: a sample comes twice")
    if kind == "counter" and not name.endswith("_total") or kind == "gauge" and name.endswith("_total"):
        raise Malformed(f"{name} is no name for a {kind}")
    if kind != "histogram":
        if len(samples) != 1 or "le" in samples[0][1]:
            raise Malformed(f"{name} has not one sample")
        return
    *buckets, (last, _, total), (count_name, _, count) = samples
    bounds = [math.inf if labels.get("le") == "+Inf" else float(labels["le"]) for _, labels, _ in buckets]
    counts = [int(value) for _, _, value in buckets]
    if not all(sample == name + "_bucket" for sample, _, _ in buckets) or (last, count_name) != (name + "_sum", name + "_count"):
        raise Malformed(f"{name}: not buckets, sum and count")
    if not bounds or bounds[-1] != math.inf or bounds != sorted(set(bounds)) or counts != sorted(counts) or counts[-1] != int(count):
        raise Malformed(f"{name}: buckets that do not add up")
    if float(total) > 0 and int(count) == 0:
        raise Malformed(f"{name}: a sum of nothing")


GOOD = """# HELP a_total all of \\\\ it\\nthat is
# TYPE a_total counter
a_total{x="1",y="\\"\\\\\\n"} 5
# HELP b_seconds\x20
# TYPE b_seconds histogram
b_seconds_bucket{le="0.5"} 1
b_seconds_bucket{le="+Inf"} 2
b_seconds_sum 3.25
b_seconds_count 2
"""
# What makes it bad: a piece of it, and what stands there instead.
BAD = [
    ("_count 2\n", "_count 2"), ("a_total{", "b_total{"), ("# TYPE a_total counter\n", ""), ("counter", "number"),
    ('y="\\"', 'y="""'), ('y="', 'x="'), ("} 5", "}  5"), ("} 5", "} five"), ("} 5", "} -5"), ("} 5", "}"), ("a_total", "a"),
    ('le="+Inf"} 2', 'le="+Inf"} 3'), ('le="0.5"} 1', 'le="0.5"} 3'), ('{le="+Inf"}', '{le="0.1"}'), ("_sum 3.25\n", "_max 3\n"),
    ("b_seconds_sum 3.25\n", ""), ("\\\\ it", "\\ it"), ("# HELP b_seconds \n", ""), ("b_seconds", "a_total"),
    ('a_total{x="1",y="\\"\\\\\\n"} 5\n', 2 * 'a_total{x="1"} 5\n'), ("# HELP b", "\n# HELP b"), ("{x=", "{1="),
    ("a_total{", "a_total {"),
]


# ---------------------------------------------------------------------------------------------------------------------

def flat(numbers):
    """The names and numbers of stats.json as `stats` has them."""
    lines = {}
    for name, value in numbers.items():
        if isinstance(value, dict):
            lines |= {f"{name}_{word}": value[word] for word in WORDS if word != "sum"}
        else:
            lines[name] = value
    return lines


def moving(name):
    """What may change while nothing happens."""
    return name.endswith("_seconds")


def manual():
    """Name -> (kind, help) as the manual page has them."""
    table = MANUAL.read_text().partition("<!-- statistics -->")[2].partition("<!-- end -->")[0]
    entries = re.findall(r"^\*\*(\w+)\*\* \((\w+)\)\n:   (.+)$", table, flags=re.M)
    return {name: (kind, text) for name, kind, text in entries}


class Stats(disk.Story):

    def mounted(self, *options, **more):
        return disk.Disk(self, "16M", "64K").mount("--directIO", *options, **more)

    def metrics(self, volume):
        return read_metrics((volume.mountpoint / "metrics").read_text())

    def busy(self, volume):
        """A little of everything."""
        with disk.opened(volume.file) as file:
            for block in (3, 9, 17, 5):
                os.pwrite(file, self.random.randbytes(BLOCK), block * BLOCK)
            os.fsync(file)
            disk.fallocate(file, disk.FALLOC_PUNCH_HOLE | disk.FALLOC_KEEP_SIZE, 9 * BLOCK, BLOCK)
            os.fsync(file)
            for block in (17, 3, 100):
                os.pread(file, BLOCK, block * BLOCK)
        disk.wait_until("the last request's end", lambda: volume.stats()["requests_in_flight"] == 0)

    def test_the_reader_of_metrics_is_strict(self):
        families = read_metrics(GOOD)
        self.assertEqual(families["a_total"], ["counter", "all of \\ it\nthat is", [("a_total", {"x": "1", "y": '"\\\n'}, "5")]])
        self.assertEqual(len(families["b_seconds"][2]), 4)
        for piece, other in BAD:
            with self.subTest(piece=piece, other=other):
                self.assertIn(piece, GOOD)
                with self.assertRaises((Malformed, ValueError)):
                    read_metrics(GOOD.replace(piece, other, 1))

    def test_three_files_say_the_same(self):
        volume = self.mounted()
        self.busy(volume)
        numbers = volume.stats()
        # s3backer's lines come first: test_s3backer_options.py is about those.
        lines = [line.split() for line in (volume.mountpoint / "stats").read_text().splitlines()]
        text = dict(lines[next(number for number, line in enumerate(lines) if line[0] == list(numbers)[0]):])
        self.assertEqual(list(text), list(flat(numbers)))
        for name, value in flat(numbers).items():
            if not moving(name):
                self.assertAlmostEqual(float(text[name]), value, places=5, msg=name)

        families = self.metrics(volume)
        self.assertEqual(len(families), len(numbers))
        for name, value in numbers.items():
            kind, text, samples = next(families[full] for full in (f"{PREFIX}{name}", f"{PREFIX}{name}_total") if full in families)
            self.assertTrue(text, f"{name} has no help")
            for _, labels, _ in samples:
                self.assertEqual(labels["mountpoint"], str(volume.mountpoint))
            if kind == "histogram":
                self.check_histogram(name, value)
                found = {sample.removeprefix(f"{PREFIX}{name}_"): float(number) for sample, _, number in samples}
                self.assertEqual(found["count"], value["count"], name)
                self.assertAlmostEqual(found["sum"], value["sum"], places=8, msg=name)
                for _, labels, number in samples[:-3]:      # each bound of metrics is one of JSON's
                    self.assertEqual(int(number), sum(count for bound, count in value["buckets"]
                                                      if bound is not None and bound <= float(labels["le"])), name)
            elif not moving(name):
                self.assertEqual(float(samples[0][2]), value, name)
        volume.umount()

    def check_histogram(self, name, value):
        self.assertEqual(set(value), {*WORDS, "buckets"}, name)
        self.assertEqual(sum(count for _, count in value["buckets"]), value["count"], name)
        self.assertTrue(0 <= value["p50"] <= value["p90"] <= value["p99"] <= value["max"], f"{name}: {value}")
        self.assertLessEqual(value["mean"], value["max"])
        self.assertEqual(value["count"] > 0, value["max"] > 0, name)

    def test_numbers_agree_with_what_was_done(self):
        volume = self.mounted()
        before = volume.stats()
        with disk.opened(volume.file) as file:
            for block in (3, 9, 17, 5, 30):
                os.pwrite(file, self.random.randbytes(BLOCK), block * BLOCK)
            os.fsync(file)
            disk.fallocate(file, disk.FALLOC_PUNCH_HOLE | disk.FALLOC_KEEP_SIZE, 9 * BLOCK, BLOCK)
            os.fsync(file)
        self.check_grown(before, volume.stats(), file_writes=5, file_bytes_written=5 * BLOCK, file_zeros=1, file_flushes=3,
                         file_reads=0, object_puts=5, object_bytes_written=5 * BLOCK, object_deletes=1, object_retries=0,
                         object_failures=0, file_write_seconds=5, file_zero_seconds=1, file_flush_seconds=3, file_read_seconds=0,
                         object_put_seconds=5, object_delete_seconds=1)
        volume.remount("--directIO")                # a daemon that has nothing in memory
        before = volume.stats()
        with disk.opened(volume.file, os.O_RDONLY) as file:
            for block in (17, 3, 30):               # in no order that would be read ahead
                os.pread(file, BLOCK, block * BLOCK)
        self.check_grown(before, volume.stats(), file_reads=3, file_bytes_read=3 * BLOCK, file_read_seconds=3, file_writes=0,
                         file_flushes=0, object_gets=3, object_bytes_read=3 * BLOCK, object_get_seconds=3, object_puts=0,
                         object_put_seconds=0)
        volume.umount()

    def check_grown(self, before, after, **by):
        def number(numbers, name):
            return numbers[name]["count"] if isinstance(numbers[name], dict) else numbers[name]
        self.assertEqual({name: number(after, name) - number(before, name) for name in by}, by)
        self.assertEqual((after["requests_in_flight"], after["requests_waiting"]), (0, 0))

    def test_times_are_those_of_the_store(self):
        """Every request to the store takes 100 ms, and is more than one attempt now and then."""
        volume = disk.Disk(self, "16M", "64K")
        volume.mount("--directIO", "--initialRetryPause=1", chaos=["latency=100ms", "retry=200000", f"seed={disk.SEED}"])
        self.busy(volume)
        numbers = volume.stats()
        for name in ("object_put_seconds", "object_delete_seconds"):
            self.assertGreater(numbers[name]["max"], 0.1, name)
        self.assertGreater(numbers["object_put_seconds"]["sum"], 0.1 * numbers["object_puts"])
        self.assertLess(numbers["object_put_seconds"]["p50"], 5)
        attempts = sum(numbers[f"object_{op}_seconds"]["count"] for op in ("get", "put", "delete", "list"))
        self.assertEqual(attempts, sum(numbers[f"object_{word}"] for word in ("gets", "gets_absent", "puts", "deletes", "lists",
                                                                             "retries", "failures")))
        self.assertEqual(numbers["requests_wait_seconds"]["count"], attempts)
        volume.umount()

    def test_all_can_be_read_while_the_disk_is_at_work(self):
        volume = self.mounted()
        is_over = threading.Event()
        worker = threading.Thread(target=lambda: [self.busy(volume) for _ in range(30)] and is_over.set(), daemon=True)
        worker.start()
        last = {}
        while not is_over.is_set() and worker.is_alive():
            for name, (kind, _, samples) in self.metrics(volume).items():
                if kind != "gauge":
                    self.assertLessEqual(last.get(name, 0), float(samples[-1][2]), name)
                    last[name] = float(samples[-1][2])
            for name, value in volume.stats().items():
                if isinstance(value, dict):
                    self.assertEqual(sum(count for _, count in value["buckets"]), value["count"], name)
            (volume.mountpoint / "stats").read_text()
        worker.join()
        self.assertTrue(is_over.is_set(), "the disk failed")
        self.assertEqual(volume.stats()["file_writes"], 30 * 4)
        volume.umount()

    def test_removing_stats_sets_them_to_zero(self):
        volume = self.mounted()
        self.busy(volume)
        for name in ("stats.json", "metrics"):
            self.assertEqual(disk.error_of(os.unlink, volume.mountpoint / name), "EPERM")
        before = volume.stats()
        self.assertGreater(before["object_puts"], 0)
        os.unlink(volume.mountpoint / "stats")
        numbers = volume.stats()
        kinds = {name: kind for name, (kind, _, _) in self.metrics(volume).items()}
        for name, value in numbers.items():
            if isinstance(value, dict):
                self.assertEqual(value, {**dict.fromkeys(WORDS, 0), "buckets": []}, name)
            elif f"{PREFIX}{name}_total" in kinds:
                self.assertEqual(value, 0, name)
            elif not moving(name):
                self.assertEqual(value, before[name], name)
        self.assertGreater(numbers["data_blocks"], 0)
        self.busy(volume)
        self.assertEqual(volume.stats()["file_writes"], 4)
        volume.umount()

    def test_names_of_the_files(self):
        volume = self.mounted()
        self.assertEqual(sorted(os.listdir(volume.mountpoint)), ["file", "metrics", "stats", "stats.json"])
        for name in ("metrics", "stats", "stats.json"):
            status = os.stat(volume.mountpoint / name)
            self.assertEqual(stat.S_IMODE(status.st_mode), 0o444)
            self.assertGreater(status.st_size, 0)
        disk.run("cp", volume.mountpoint / "metrics", self.tmp / "disk.prom")
        self.assertEqual(set(read_metrics((self.tmp / "disk.prom").read_text())), set(self.metrics(volume)))
        volume.remount("--statsFilename=numbers")
        self.assertEqual(sorted(os.listdir(volume.mountpoint)), ["file", "metrics", "numbers", "numbers.json"])
        volume.remount("--statsFilename=")
        self.assertEqual(os.listdir(volume.mountpoint), ["file"])
        volume.umount()

    def test_the_manual_tells_of_each_and_of_no_other(self):
        """As a mount with a cache file shows them; `tests/lint/docs.py BUCKETDISK --write` puts them into the manual."""
        volume = disk.Disk(self, "16M", "64K", f"--block-cache-file={self.tmp / 'cache'}").mount()
        shown = {}
        for name, (kind, text, _) in self.metrics(volume).items():
            name = name.removeprefix(PREFIX)
            shown[name.removesuffix("_total") if kind == "counter" else name] = (kind, f"{text[0].upper()}{text[1:]}.")
        self.assertEqual(manual(), shown)
        volume.umount()


if __name__ == "__main__":
    disk.main()
