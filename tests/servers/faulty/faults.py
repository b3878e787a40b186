# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, and the rules that say when.  README.md lists the faults; their names are the ones given here."""
import asyncio
import gzip
import json
import random
import re
import time

from s3 import error_answer, redirect_answer, xml_answer
from wire import Answer, Manner, http_date


class Rule:
    """{"match": {…}, "count": 5, "do": "500", …arguments of the fault}"""

    MATCH = {"method", "key", "op", "bucket", "query", "header", "nth", "probability"}

    def __init__(self, words):
        self.words = words
        self.fault = str(words.get("do"))
        if self.fault not in BEFORE and self.fault not in AFTER and self.fault not in SENDING:
            raise ValueError(f"no fault {self.fault!r}; there are {', '.join([*BEFORE, *AFTER, *SENDING])}")
        self.match = words.get("match", {})
        if unknown := set(self.match) - self.MATCH:
            raise ValueError(f"a rule matches {', '.join(sorted(self.MATCH))}, not {', '.join(unknown)}")
        self.nth = self.match.get("nth", 1)
        self.left = words.get("count", 1 if "nth" in self.match else None)
        self.seen = self.fired = 0

    def fires(self, request, operation, chance):
        if self.left == 0 or not self._matches(request, operation):
            return False
        self.seen += 1
        if self.seen < self.nth or chance.random() >= self.match.get("probability", 1.0):
            return False
        self.fired += 1
        if self.left is not None:
            self.left -= 1
        return True

    def _matches(self, request, operation):
        match = self.match
        key = request.key or request.param("prefix", "")        # a list is known by its prefix
        return (re.fullmatch(match.get("method", ".*"), request.method)
                and re.fullmatch(match.get("op", ".*"), operation)
                and re.search(match.get("key", ""), key)
                and re.search(match.get("bucket", ""), request.bucket)
                and re.search(match.get("query", ""), request.raw_query)
                and all(re.search(pattern, request.header(name.lower()) or "")
                        for name, pattern in match.get("header", {}).items()))

    def get(self, name, default=None):
        return self.words.get(name, default)

    def state(self):
        return {**self.words, "seen": self.seen, "fired": self.fired}


class Cut(Exception):
    """No answer: the connection ends."""

    def __init__(self, with_reset):
        super().__init__("the connection is cut")
        self.with_reset = with_reset


BEFORE, AFTER, SENDING = {}, {}, {}         # name -> function


def fault(table, *names):
    def enter(function):
        table.update(dict.fromkeys(names, function))
        return function
    return enter


class Faults:
    def __init__(self, s3, seed):
        self.s3, self.seed = s3, seed
        self.rules = []
        self.chance = random.Random(seed)

    def reset(self):
        self.rules = []
        self.chance = random.Random(self.seed)

    def pick(self, request):
        """The rules that fire now: at most one that comes before, any number after, one for the sending."""
        operation = self.s3.operation(request)
        fired, has = [], set()
        for rule in self.rules:
            phase = next(number for number, table in enumerate((BEFORE, AFTER, SENDING)) if rule.fault in table)
            if (phase == 1 or phase not in has) and rule.fires(request, operation, self.chance):
                fired.append(rule)
                has.add(phase)
        return fired

    async def answer(self, request, rules, log):
        """(answer, manner).  Raises Cut."""
        settings = self.s3.settings
        if settings.latency_ms or settings.jitter_ms:
            await asyncio.sleep((settings.latency_ms + settings.jitter_ms * self.chance.random()) / 1000)
        answer, manner = None, Manner(nagle=settings.nagle)
        for rule in rules:
            if rule.fault in BEFORE:
                answer = await BEFORE[rule.fault](rule, request, self.s3, log)
        if answer is None:
            answer = self.s3.answer(request)
        log["carried_out"] = answer.status
        for rule in rules:
            if rule.fault in AFTER:
                AFTER[rule.fault](rule, answer)
        for rule in rules:
            if rule.fault in SENDING:
                SENDING[rule.fault](rule, answer, manner)
        return answer, manner


# ---------------------------------------------------------------------------------------------------------------------
# Instead of carrying it out, or before

ERRORS = {
    "error": (500, "InternalError"), "500": (500, "InternalError"), "503": (503, "SlowDown"),
    "429": (429, "TooManyRequests"), "expired-token": (403, "ExpiredToken"),
    "time-skewed": (403, "RequestTimeTooSkewed"), "no-such-bucket": (404, "NoSuchBucket"),
    "access-denied": (403, "AccessDenied"), "wrong-region": (400, "AuthorizationHeaderMalformed"),
}


@fault(BEFORE, *ERRORS)
def error(rule, request, s3, _log):
    """An error as S3 writes it; `status`, `code`, `message`, `headers`, `elements`, `retry_after` as wanted;
    `echo`: with the client's token and signature in it."""
    status, code = ERRORS[rule.fault]
    status, code = rule.get("status", status), rule.get("code", code)
    elements, headers = dict(rule.get("elements", {})), [list(pair) for pair in rule.get("headers", {}).items()]
    if rule.fault in ("503", "429") or "retry_after" in rule.words:
        headers.append(["Retry-After", str(rule.get("retry_after", 1))])
    if rule.fault == "wrong-region":
        elements["Region"] = rule.get("region", "eu-central-1")
        headers.append(["x-amz-bucket-region", elements["Region"]])
    if rule.fault == "time-skewed":         # the answer's Date is the right time, if `offset` says how wrong the client is
        right = s3.now + rule.get("offset", 0)
        elements["ServerTime"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(right))
        headers.append(["Date", http_date(right)])
    message = rule.get("message", code)
    if rule.get("echo", False):
        sent = [request.header(name) or "" for name in ("x-amz-security-token", "authorization")]
        message = " ".join([message, *sent])
        headers += [["x-echo", value] for value in sent]
    answer = error_answer(status, code, message, headers, Resource=request.path, **elements)
    return ready(answer)


@fault(BEFORE, "redirect")
def redirect(rule, request, _s3, _log):
    """301 to another region."""
    return ready(redirect_answer(request, rule.get("region", "eu-central-1"), rule.get("endpoint", "s3.elsewhere.invalid")))


@fault(BEFORE, "html")
def html(rule, _request, _s3, _log):
    """A proxy's own page."""
    status = rule.get("status", 502)
    page = f"<html>\r\n<head><title>{status}</title></head>\r\n<body><h1>{status}</h1><hr>proxy</body>\r\n</html>\r\n"
    tag = [["ETag", rule.get("etag")]] if rule.get("etag") else []
    return ready(Answer(status, [["Content-Type", "text/html"], *tag], page.encode(), "html"))


@fault(BEFORE, "empty")
def empty(rule, _request, _s3, _log):
    """A status and nothing else."""
    return ready(Answer(rule.get("status", 404), [], b"", "empty"))


@fault(BEFORE, "error-in-200")
def error_in_200(rule, _request, _s3, _log):
    """Not carried out, though the status says so."""
    answer = error_answer(200, rule.get("code", "InternalError"), "We encountered an internal error. Please try again.")
    return ready(answer)


@fault(BEFORE, "reset", "close")
async def drop(rule, _request, _s3, _log):
    """Not carried out, and no answer."""
    raise Cut(rule.fault == "reset")


@fault(BEFORE, "lose")
async def lose(rule, request, s3, log):
    """Carried out, and the answer is lost."""
    log["carried_out"] = s3.answer(request).status
    raise Cut(rule.get("reset", True))


@fault(BEFORE, "late")
async def late(rule, request, s3, log):
    """No answer now, and carried out `seconds` afterwards, by what holds then."""
    def now():
        log["carried_out"] = s3.answer(request).status
    asyncio.get_running_loop().call_later(rule.get("seconds", 1.0), now)
    raise Cut(rule.get("reset", False))


@fault(BEFORE, "hang")
async def hang(rule, request, s3, _log):
    """Nothing for `seconds`; carried out afterwards, or with `first` before.  The client may have gone by then."""
    answer = s3.answer(request) if rule.get("first") else None
    await asyncio.sleep(rule.get("seconds", 30.0))
    return answer


@fault(BEFORE, "stale")
async def stale(rule, request, _s3, _log):
    """A read sees what was there `seconds` ago; so does a list."""
    request.as_of = time.time() - rule.get("seconds", 1.0)


@fault(BEFORE, "delete-errors")
async def delete_errors(rule, request, _s3, _log):
    """DeleteObjects leaves some keys where they are: `errors`: [{"key": REGEX, "code": "AccessDenied"}]."""
    request.key_errors = rule.get("errors", [{"key": "", "code": "InternalError"}])


async def ready(answer):
    return answer


# ---------------------------------------------------------------------------------------------------------------------
# To the answer

def is_object(answer):
    return answer.status in (200, 206) and answer.note != "Error"


@fault(AFTER, "gzip")
def compress(rule, answer):
    """A proxy compresses what nobody asked it to."""
    if is_object(answer):
        old = answer.get("Content-Encoding")
        answer.set("Content-Encoding", f"{old}, gzip" if old and not rule.get("replace") else "gzip")
        if rule.get("body", True):
            answer.body = gzip.compress(answer.body)


@fault(AFTER, "aws-chunked")
def aws_chunked(rule, answer):
    """What a store forgets to take away: in front, or behind with `append`."""
    if is_object(answer):
        tokens = [token for token in (answer.get("Content-Encoding"),) if token]
        tokens.insert(len(tokens) if rule.get("append") else 0, "aws-chunked")
        answer.set("Content-Encoding", ",".join(tokens))


@fault(AFTER, "strip")
def strip(rule, answer):
    """A proxy takes `headers` away: regular expressions, for whole names."""
    patterns = rule.get("headers", ["content-encoding", "x-amz-meta-.*"])
    answer.drop(lambda name: any(re.fullmatch(pattern, name, re.I) for pattern in patterns))


@fault(AFTER, "headers")
def headers(rule, answer):
    """Put `set` into the answer's headers."""
    for name, value in rule.get("set", {}).items():
        answer.set(name, str(value))


@fault(AFTER, "huge-headers")
def huge_headers(rule, answer):
    """`lines` more headers of `bytes` bytes each."""
    answer.headers += [[f"x-filler-{number}", "x" * rule.get("bytes", 100)] for number in range(rule.get("lines", 100))]


@fault(AFTER, "damage")
def damage(rule, answer):
    """One bit of the body, at `offset` or in its middle."""
    if is_object(answer) and answer.body:
        body = bytearray(answer.body)
        body[rule.get("offset", len(body) // 2)] ^= 1
        answer.body = bytes(body)


@fault(AFTER, "shorten")
def shorten(rule, answer):
    """The body loses its end, and Content-Length agrees: only its hash could tell."""
    answer.body = answer.body[:rule.get("bytes", len(answer.body) // 2)]


# ---------------------------------------------------------------------------------------------------------------------
# On its way

@fault(SENDING, "truncate", "reset-in-body")
def truncate(rule, answer, manner):
    """The right Content-Length, and a body that ends before."""
    manner.body_bytes_max = rule.get("bytes", len(answer.body) // 2)
    manner.with_reset = rule.fault == "reset-in-body"


@fault(SENDING, "slow")
def slow(rule, _answer, manner):
    manner.bytes_per_second = rule.get("bytes_per_second", 1024)


@fault(SENDING, "close-after")
def close_after(_rule, _answer, manner):
    """The answer is whole, and then the connection is closed without having said so."""
    manner.close_silently = True


def parse(text):
    """A JSON object, or ValueError."""
    words = json.loads(text or "{}")
    if not isinstance(words, dict):
        raise ValueError("a JSON object, please")
    return words
