# SPDX-License-Identifier: Apache-2.0
"""Codecs of the build tree, called from Python: codec_run.c on the other side of a pipe."""
import os
import subprocess
import time

CORRUPT = 7  # BD_CORRUPT


def rounds():
    """At least 30, however slow the machine is; up to 2000 within 5 seconds, or a minute in the long form."""
    end = time.monotonic() + (60 if os.environ.get("BUCKETDISK_LONG") else 5)
    for number in range(2000):
        if number >= 30 and time.monotonic() > end:
            return
        yield number


class Refused(Exception):
    """The codec, or its open, did not return BD_OK."""

    def __init__(self, status, sentence):
        super().__init__(f"{status}: {sentence}")
        self.status, self.sentence = status, sentence


class CodecRun:
    def __init__(self, program=None):
        program = program or os.environ.get("CODEC_RUN", "build/tests/crypto/codec_run")
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def close(self):
        self.process.stdin.close()
        if self.process.wait() != 0:
            raise AssertionError(f"codec_run ended with {self.process.returncode}")
        self.process.stdout.close()

    def call(self, operation, **fields):
        """The fields of codec_run.c; bytes become hexadecimal.  Gives (bytes, {attribute: bytes})."""
        words = [operation]
        for name, value in fields.items():
            if value is None:
                continue
            if isinstance(value, dict):
                words += [f"attr={key}:{content.hex()}" for key, content in value.items()]
            else:
                value = value.hex() if isinstance(value, bytes) else value
                words.append(f"{name.replace('_', '-')}={value}")
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().rstrip("\n").split(" ")
        if answer[0] == "error":
            raise Refused(int(answer[1]), " ".join(answer[2:]))
        if answer[0] != "ok":
            raise AssertionError(f"codec_run said {answer}")
        attributes = (word.split(":") for word in answer[2:])
        return bytes.fromhex(answer[1]), {name: bytes.fromhex(value) for name, value in attributes}
