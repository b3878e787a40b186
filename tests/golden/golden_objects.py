# SPDX-License-Identifier: Apache-2.0
"""The files of golden objects, and what their blocks hold (README.md)."""

FIRST_LINE = b"bucketdisk golden object 1"
MASK = (1 << 64) - 1


def parse(path):
    """Gives its fields, its attributes and its body."""
    with open(path, "rb") as file:
        head, _, body = file.read().partition(b"\n\n")
    first, *lines = head.split(b"\n")
    words = [line.decode().split(" ") for line in lines]
    fields = {word[0]: " ".join(word[1:]) for word in words if word[0] != "attr"}
    attributes = {word[1]: bytes.fromhex(word[2]) for word in words if word[0] == "attr"}
    assert first == FIRST_LINE, path
    assert len(body) == int(fields["body-bytes"]), path
    return fields, attributes, body


def plain_of(content, block, size):
    if content == "text":
        text, line = b"", 0
        while len(text) < size:
            text += b"block %d, line %d\n" % (block, line)
            line += 1
        return text[:size]
    if content == "noise":
        state, noise = block + 1, bytearray()
        for _ in range(size):
            state = (state * 6364136223846793005 + 1442695040888963407) & MASK
            noise.append(state >> 56)
        return bytes(noise)
    assert content == "last", content
    return bytes(size - 1) + b"\1"
