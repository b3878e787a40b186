#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes into a directory for ever, and says on standard output what fsync has acknowledged, a line for each thing:

  + NAME SHA256     a new file of this content is acknowledged; it is never touched again
  ? RECORD VERSION  version VERSION of record RECORD in the file `records` is about to be written
  ! RECORD VERSION  and is acknowledged

A record is one page, overwritten in place, so the same blocks of the disk are written again and again.

  writer.py DIRECTORY SEED [PAUSE_SECONDS]

Ends with status 3 at the first error of the filesystem, which it names on standard error.
"""
import hashlib
import os
import random
import sys
import time

RECORDS = 16
PAGE = 4096


def record(number, version):
    """One page that says which record and version it is; version 0 is the page of zeros."""
    if version == 0:
        return bytes(PAGE)
    head = f"record {number} version {version} ".encode()
    return (head * (PAGE // len(head) + 1))[:PAGE]


def version_of(number, page):
    """The version a page holds, or None if it is no whole record."""
    if page == bytes(PAGE):
        return 0
    words = page.split(b" ", 4)
    if len(words) < 5 or not words[3].isdigit() or page != record(number, int(words[3])):
        return None
    return int(words[3])


def runs_of(page):
    """What a page that is no record is made of, in short: for a message."""
    return ", ".join(f"{at}: {page[at:at + 40]!r}" for at in range(0, PAGE, 512)
                     if at == 0 or page[at - 512:at - 472] != page[at:at + 40]) + f", {len(page)} bytes"


def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def write_all(descriptor, data):
    while data:
        data = data[os.write(descriptor, data):]


def main():
    top, seed, pause = sys.argv[1], sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
    choose = random.Random(f"writer {seed}")
    directory = os.open(top, os.O_RDONLY)
    records = os.open(os.path.join(top, "records"), os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(records, RECORDS * PAGE)
    os.fsync(records)
    os.fsync(directory)
    versions = [version_of(number, os.pread(records, PAGE, number * PAGE)) or 0 for number in range(RECORDS)]
    count = 0
    while True:
        name = f"{seed}-{count:06}"
        data = choose.randbytes(int(200000 ** choose.random()))
        file = os.open(os.path.join(top, name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        write_all(file, data)
        os.fsync(file)
        os.close(file)
        os.fsync(directory)
        say("+", name, hashlib.sha256(data).hexdigest())
        count += 1

        number = choose.randrange(RECORDS)
        versions[number] += 1
        say("?", number, versions[number])
        os.pwrite(records, record(number, versions[number]), number * PAGE)
        (os.fdatasync if choose.random() < 0.5 else os.fsync)(records)
        say("!", number, versions[number])
        time.sleep(pause)


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        print(error, file=sys.stderr)
        sys.exit(3)
