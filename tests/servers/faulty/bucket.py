# SPDX-License-Identifier: Apache-2.0
"""Objects in memory, with what they were before: a stale read is a read of an earlier time."""
import bisect
import time
from collections import defaultdict
from dataclasses import dataclass

VERSIONS_MAX = 8                            # of one key that are remembered


@dataclass(frozen=True)
class Object:
    body: bytes
    headers: tuple                          # (name, value) that are given back
    etag: str                               # without quotes
    time: float


class Bucket:
    def __init__(self):
        self.time = time.time()
        self.objects = {}
        self._history = defaultdict(list)   # key -> (time, object or None), oldest first
        self._sorted = None

    def get(self, key, as_of=None):
        if as_of is None or not self._history[key]:
            return self.objects.get(key)
        versions = self._history[key]
        at = bisect.bisect_right(versions, as_of, key=lambda version: version[0])
        return versions[at - 1][1] if at else None

    def put(self, key, thing):
        if key not in self.objects:
            self._sorted = None
        self.objects[key] = thing
        self._remember(key, thing)

    def delete(self, key):
        if self.objects.pop(key, None) is not None:
            self._sorted = None
            self._remember(key, None)

    def keys(self, as_of=None):
        if as_of is not None:
            return sorted(key for key in list(self._history) if self.get(key, as_of) is not None)
        if self._sorted is None:
            self._sorted = sorted(self.objects)
        return self._sorted

    def _remember(self, key, thing):
        versions = self._history[key]
        versions.append((time.time(), thing))
        del versions[:-VERSIONS_MAX]


@dataclass
class Page:
    """A part of a listing, as S3 cuts them."""
    entries: list                           # keys, and prefixes that stand for many
    is_truncated: bool


def list_page(bucket, prefix, delimiter, after, entries_max, as_of=None):
    keys, entries, seen = bucket.keys(as_of), [], None
    at = bisect.bisect_left(keys, max(prefix, after))
    while at < len(keys) and keys[at].startswith(prefix):
        key = keys[at]
        end = key.find(delimiter, len(prefix)) if delimiter else -1
        entry = key if end == -1 else key[:end + len(delimiter)]
        at += 1
        if entry == after or entry == seen or (end == -1 and key <= after):
            continue
        if len(entries) >= entries_max:
            return Page(entries, entries_max > 0)
        entries.append((entry, end != -1))
        seen = entry
    return Page(entries, False)
