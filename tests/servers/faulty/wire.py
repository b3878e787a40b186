# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 as bytes on a connection: requests are read, answers are written, in whatever bad way they should be."""
import asyncio
import socket
import struct
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import unquote_plus, unquote

HEAD_MAX = 1 << 20


class BadRequest(Exception):
    """What came is no request that could be answered and followed by another."""


@dataclass
class Request:
    method: str
    target: str                             # path and query, as sent
    headers: list                           # (name in lower case, value), in order
    connection: int                         # which connection it came on, counted from 1
    body: bytes = b""
    secure: bool = False
    bucket: str = ""
    key: str = ""
    vhost: bool = False                     # the bucket was in the host name
    as_of: float | None = None              # answer as of this time: a stale read
    key_errors: list = field(default_factory=list)  # DeleteObjects: what to answer for which keys

    def header(self, name, default=None):
        """Values of the same name are one value with commas."""
        values = [value for other, value in self.headers if other == name]
        return ",".join(values) if values else default

    @property
    def raw_path(self):
        return self.target.partition("?")[0]

    @property
    def raw_query(self):
        return self.target.partition("?")[2]

    @property
    def path(self):
        return unquote(self.raw_path, errors="surrogateescape")

    @property
    def query(self):
        """Pairs in the order sent, decoded."""
        pairs = [part.partition("=") for part in self.raw_query.split("&") if part]
        return [(unquote_plus(name), unquote_plus(value)) for name, _, value in pairs]

    def param(self, name, default=None):
        return next((value for other, value in self.query if other == name), default)


@dataclass
class Answer:
    status: int
    headers: list = field(default_factory=list)     # [name, value]
    body: bytes = b""
    note: str = ""                                  # for the log

    def get(self, name):
        return next((value for other, value in self.headers if other.lower() == name.lower()), None)

    def set(self, name, value):
        """Replace, or add."""
        self.drop(lambda other: other == name.lower())
        self.headers.append([name, value])

    def drop(self, is_wanted):
        self.headers = [pair for pair in self.headers if not is_wanted(pair[0].lower())]


@dataclass
class Manner:
    """How an answer goes out, if not as it should."""
    bytes_per_second: float = 0.0           # of the body; 0: no limit
    body_bytes_max: int | None = None       # cut there and close, though Content-Length says more
    with_reset: bool = False                # the close is a reset
    close_silently: bool = False            # afterwards, without having said so
    nagle: bool = False                     # head and body apart, as a careless server does


async def read_request(reader, writer, connection, secure, refuse_early):
    """The next request, or None at the end.  `refuse_early(request)` may answer one that waits for `100 Continue`."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial.strip():
            raise BadRequest("it ends within its head") from None
        return None, None
    except asyncio.LimitOverrunError:
        raise BadRequest("its head is too long") from None
    first, *lines = head.decode("latin-1").lstrip("\r\n").split("\r\n")[:-2]
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BadRequest(f"its first line is {first[:100]!r}")
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip():
            raise BadRequest(f"a header line is {line[:100]!r}")
        headers.append((name.lower(), value.strip(" \t")))
    target = words[1]
    if target.startswith(("http://", "https://")):
        target = "/" + target.split("/", 3)[3]
    request = Request(words[0], target, headers, connection, secure=secure)
    if request.header("transfer-encoding") is not None:
        return request, Answer(411, [["Connection", "close"]], b"", "chunked body")
    length = request.header("content-length", "0")
    if not length.isdigit():
        raise BadRequest(f"Content-Length: {length}")
    if (request.header("expect") or "").lower() == "100-continue":
        if (answer := refuse_early(request)) is not None:
            answer.set("Connection", "close")       # whether the body still comes is not known
            return request, answer
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    try:
        request.body = await reader.readexactly(int(length))
    except asyncio.IncompleteReadError as error:
        raise BadRequest(f"its body ends after {len(error.partial)} of {length} bytes") from None
    return request, None


async def write_answer(writer, request, answer, manner):
    """False if the connection is over."""
    names = {name.lower() for name, _ in answer.headers}
    has_body = request.method != "HEAD" and answer.status not in (204, 304)
    has_length = answer.status not in (204, 304) and "content-length" not in names
    head = [["Content-Length", str(len(answer.body))]] if has_length else []
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {answer.status} {phrase}", *(f"{name}: {value}" for name, value in [*answer.headers, *head])]
    data = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", errors="surrogateescape")
    body = answer.body if has_body else b""
    is_cut = manner.body_bytes_max is not None
    if is_cut:
        body = body[:manner.body_bytes_max]
    if manner.nagle:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
    if manner.bytes_per_second > 0:
        writer.write(data)
        step = max(1, int(manner.bytes_per_second / 20))
        for at in range(0, len(body), step):
            writer.write(body[at:at + step])
            await writer.drain()
            await asyncio.sleep(min(step, len(body) - at) / manner.bytes_per_second)
    elif manner.nagle:
        writer.write(data)
        writer.write(body)
    else:
        writer.write(data + body)
    await writer.drain()
    if is_cut:
        await asyncio.sleep(0.05)               # let it arrive, then
        cut(writer, manner.with_reset)
        return False
    if manner.close_silently or (answer.get("connection") or "").lower() == "close":
        return False
    return (request.header("connection") or "").lower() != "close"


def cut(writer, with_reset):
    """End a connection at this instant: with a reset, or as a process does that dies."""
    if with_reset:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def http_date(seconds):
    return formatdate(seconds, usegmt=True)
