# SPDX-License-Identifier: Apache-2.0
"""What S3 does with a request, and what other stores do instead, by settings."""
import base64
import hashlib
import os
import re
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field, fields
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape

from bucket import Bucket, Object, list_page
from signing import Account, Refused, Verifier, check_body
from wire import Answer, http_date

KEPT = ("content-type", "content-encoding", "cache-control", "content-disposition", "content-language", "expires",
        "x-amz-storage-class", "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id")
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
METADATA_BYTES_MAX = 2048
CONTROL = re.compile("[\x00-\x1f\ufffe\uffff]")


def choice(default, *others):
    """A setting that is one of these words."""
    return field(default=default, metadata={"of": (default, *others)})


@dataclass
class Settings:
    """How this store differs from Amazon's.  The first value is Amazon's."""
    region: str = ""                        # that signatures must name; "": any
    wrong_region: str = choice("malformed", "redirect")     # 400 AuthorizationHeaderMalformed, or 301
    auth: str = choice("any", "v4", "v2", "none")           # which signatures are taken; none: not looked at
    anonymous: str = choice("refuse", "read", "write")      # what is done without a signature
    accounts: list = field(default_factory=list)            # [{"id", "secret", "token"}], beside the one of the start
    revoked: list = field(default_factory=list)             # ids that are no longer known
    expired: list = field(default_factory=list)             # ids whose token has expired
    clock_offset: float = 0.0               # seconds that the server's clock is ahead of ours
    conditions: str = choice("honour", "ignore", "reject")  # If-Match and If-None-Match of a PUT; reject: 501
    delete_conditions: str = choice("honour", "ignore", "reject")
    if_match_quotes: str = choice("any", "without", "with")  # how If-Match of a PUT must be written to be equal
    if_match_missing: int = choice(404, 412)                # If-Match of a PUT, and the key is not there
    list_v1_only: bool = False              # list-type=2 is not known
    list_max: int = 1000                    # entries in a page
    delete_objects: str = choice("ok", "reject")            # DeleteObjects: 501
    demand_md5: bool = False                # DeleteObjects without Content-MD5: 400
    check_body: bool = True                 # Content-MD5 and x-amz-content-sha256
    etag: str = choice("md5", "opaque", "none")
    expect: str = choice("early", "continue", "ignore")     # 100-continue: may be refused before the body, or not; no 100
    metadata_value_max: int = 0             # longer values: 500 InternalError, as Swift's; 0: any
    metadata_dashes: bool = False           # _ in metadata names becomes -, as RGW's
    request_ids: bool = True                # x-amz-request-id
    latency_ms: float = 0.0                 # before each answer
    jitter_ms: float = 0.0                  # and up to so much more
    idle_seconds: float = 0.0               # after which a connection is closed; 0: never
    keep_alive_header: bool = False         # "Keep-Alive: timeout=…" says so
    requests_per_connection: int = 0        # then "Connection: close"; 0: any number
    nagle: bool = False                     # small answers wait for the client's acknowledgement, as RGW's

    def change(self, changes):
        known = {entry.name: entry for entry in fields(self)}
        for name, value in changes.items():
            if name not in known:
                raise ValueError(f"no setting {name!r}; there are {', '.join(known)}")
            allowed = known[name].metadata.get("of")
            if allowed and value not in allowed:
                raise ValueError(f"{name}={value!r} is none of {allowed}")
        for name, value in changes.items():
            setattr(self, name, value)


def xml_answer(status, root, inner, headers=()):
    namespace = f' xmlns="{NAMESPACE}"' if root != "Error" else ""
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}{namespace}>{inner}</{root}>'
    return Answer(status, [["Content-Type", "application/xml"], *headers], text.encode(errors="surrogatepass"), root)


def error_answer(status, code, message, headers=(), **elements):
    inner = "".join(f"<{name}>{text(value)}</{name}>" for name, value in
                    {"Code": code, "Message": message, **elements, "RequestId": "0", "HostId": "faulty"}.items())
    answer = xml_answer(status, "Error", inner, headers)
    answer.note = code
    return answer


def text(value):
    return CONTROL.sub(lambda found: f"&#x{ord(found[0]):X};", escape(str(value), {'"': "&quot;"}))


def iso(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds * 1000) % 1000:03}Z"


def no_such_bucket(name):
    return Refused(404, "NoSuchBucket", "The specified bucket does not exist", BucketName=name)


class S3:
    def __init__(self, access_id, secret, buckets):
        self.first = Account(access_id, secret)
        self.settings = Settings()
        self.buckets = {name: Bucket() for name in buckets}

    @property
    def now(self):
        """By the server's clock, which may be wrong."""
        return time.time() + self.settings.clock_offset

    def locate(self, request):
        """Find the bucket and the key, in the host name or in the path."""
        host = re.sub(r":\d+$", "", request.header("host") or "")
        path = request.path.removeprefix("/")
        if host.endswith(".localhost"):
            request.bucket, request.key, request.vhost = host.removesuffix(".localhost"), path, True
        else:
            request.bucket, _, request.key = path.partition("/")

    def operation(self, request):
        """Its name, for the log and for rules."""
        method = request.method
        names = {name for name, _ in request.query}
        if not request.bucket:
            return "list-buckets" if method == "GET" else "unknown"
        if not request.key:
            if method == "POST" and "delete" in names:
                return "delete-objects"
            if method == "GET":
                return "location" if "location" in names else "versioning" if "versioning" in names else "list"
            return {"HEAD": "head-bucket", "PUT": "create-bucket", "DELETE": "delete-bucket"}.get(method, "unknown")
        if names & {"uploads", "uploadId", "acl", "tagging", "retention"}:
            return "unknown"
        if method == "PUT" and request.header("x-amz-copy-source"):
            return "copy"
        return {"GET": "get", "HEAD": "head", "PUT": "put", "DELETE": "delete"}.get(method, "unknown")

    def refuse(self, request):
        """The answer to one that may not be done, by its head alone; else None."""
        try:
            self._authorize(request)
        except Refused as refused:
            return self.refused(request, refused)
        return None

    def refused(self, request, refused):
        headers = []
        region = refused.elements.get("Region")
        if region:
            headers.append(["x-amz-bucket-region", region])
            if self.settings.wrong_region == "redirect":
                return redirect_answer(request, region)
        if refused.code == "RequestTimeTooSkewed":
            headers.append(["Date", http_date(self.now)])
        return error_answer(refused.status, refused.code, refused.message, headers, Resource=request.path, **refused.elements)

    def _authorize(self, request):
        settings = self.settings
        if settings.auth == "none":
            return
        accounts = {self.first.id: self.first,
                    **{entry["id"]: Account(entry["id"], entry["secret"], entry.get("token")) for entry in settings.accounts}}
        for revoked in settings.revoked:
            accounts.pop(revoked, None)
        verifier = Verifier(accounts, settings.region, settings.auth, settings.expired)
        if verifier.check(request, self.now) is None:
            may = {"refuse": (), "read": ("GET", "HEAD"), "write": (request.method,)}[settings.anonymous]
            if request.method not in may:
                raise Refused(403, "AccessDenied", "Access Denied")

    def answer(self, request):
        """Carry it out."""
        try:
            self._authorize(request)
            if self.settings.check_body:
                check_body(request)
            operation = getattr(self, "_" + self.operation(request).replace("-", "_"))
            return operation(request)
        except Refused as refused:
            return self.refused(request, refused)

    def _bucket(self, request):
        bucket = self.buckets.get(request.bucket)
        if bucket is None:
            raise no_such_bucket(request.bucket)
        return bucket

    # Buckets ---------------------------------------------------------------------------------------------------------

    def _unknown(self, request):
        raise Refused(501, "NotImplemented", "A header you provided implies functionality that is not implemented")

    def _list_buckets(self, _):
        inner = "".join(f"<Bucket><Name>{text(name)}</Name><CreationDate>{iso(bucket.time)}</CreationDate></Bucket>"
                        for name, bucket in sorted(self.buckets.items()))
        return xml_answer(200, "ListAllMyBucketsResult", f"<Owner><ID>faulty</ID></Owner><Buckets>{inner}</Buckets>")

    def _create_bucket(self, request):
        if request.bucket in self.buckets:
            raise Refused(409, "BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded")
        self.buckets[request.bucket] = Bucket()
        return Answer(200, [["Location", "/" + request.bucket]])

    def _delete_bucket(self, request):
        if self._bucket(request).objects:
            raise Refused(409, "BucketNotEmpty", "The bucket you tried to delete is not empty")
        del self.buckets[request.bucket]
        return Answer(204)

    def _head_bucket(self, request):
        self._bucket(request)
        return Answer(200, [["x-amz-bucket-region", self.settings.region or "us-east-1"]])

    def _location(self, request):
        self._bucket(request)
        region = self.settings.region
        return xml_answer(200, "LocationConstraint", "" if region in ("", "us-east-1") else text(region))

    def _versioning(self, request):
        self._bucket(request)
        return xml_answer(200, "VersioningConfiguration", "")

    def _list(self, request):
        bucket = self._bucket(request)
        is_v2 = request.param("list-type") == "2" and not self.settings.list_v1_only
        prefix, delimiter = request.param("prefix", ""), request.param("delimiter", "")
        try:
            entries_max = int(request.param("max-keys", "1000"))
            after = request.param("marker", "")
            if is_v2:
                token = request.param("continuation-token")
                after = request.param("start-after", "") if token is None else base64.b64decode(token).decode()
        except ValueError:
            raise Refused(400, "InvalidArgument", "max-keys or the continuation token is wrong") from None
        if entries_max < 0:
            raise Refused(400, "InvalidArgument", "Argument maxKeys must be an integer between 0 and 2147483647")
        entries_max = min(entries_max, self.settings.list_max)
        page = list_page(bucket, prefix, delimiter, after, entries_max, request.as_of)
        is_encoded = request.param("encoding-type") == "url"

        def name(key):
            return quote(key.encode(errors="surrogateescape"), safe="-_.~/*") if is_encoded else text(key)
        parts = [f"<Name>{text(request.bucket)}</Name><Prefix>{name(prefix)}</Prefix><MaxKeys>{entries_max}</MaxKeys>"
                 f"<IsTruncated>{str(page.is_truncated).lower()}</IsTruncated>"]
        last = page.entries[-1][0] if page.entries else ""
        if delimiter:
            parts.append(f"<Delimiter>{name(delimiter)}</Delimiter>")
        if is_encoded:
            parts.append("<EncodingType>url</EncodingType>")
        if is_v2:
            parts.append(f"<KeyCount>{len(page.entries)}</KeyCount>")
            if page.is_truncated:
                parts.append(f"<NextContinuationToken>{base64.b64encode(last.encode()).decode()}</NextContinuationToken>")
        else:
            parts.append(f"<Marker>{name(after)}</Marker>")
            if page.is_truncated and delimiter:
                parts.append(f"<NextMarker>{name(last)}</NextMarker>")
        for entry, is_prefix in page.entries:
            if is_prefix:
                parts.append(f"<CommonPrefixes><Prefix>{name(entry)}</Prefix></CommonPrefixes>")
                continue
            thing = bucket.get(entry, request.as_of)
            parts.append(f"<Contents><Key>{name(entry)}</Key><LastModified>{iso(thing.time)}</LastModified>"
                         f"<ETag>&quot;{thing.etag}&quot;</ETag><Size>{len(thing.body)}</Size>"
                         f"<StorageClass>{dict(thing.headers).get('x-amz-storage-class', 'STANDARD')}</StorageClass></Contents>")
        return xml_answer(200, "ListBucketResult", "".join(parts))

    def _delete_objects(self, request):
        bucket = self._bucket(request)
        if self.settings.delete_objects == "reject":
            raise Refused(501, "NotImplemented", "DeleteObjects is not implemented")
        if self.settings.demand_md5 and request.header("content-md5") is None:
            raise Refused(400, "InvalidRequest", "Missing required header for this request: Content-MD5")
        try:
            tree = ElementTree.fromstring(request.body)
        except ElementTree.ParseError:
            raise Refused(400, "MalformedXML", "The XML you provided was not well-formed") from None
        keys = [element.text or "" for element in tree.iter() if element.tag.rpartition("}")[2] == "Key"]
        quiet = any(element.tag.rpartition("}")[2] == "Quiet" and (element.text or "").strip() == "true" for element in tree)
        if not 1 <= len(keys) <= 1000:
            raise Refused(400, "MalformedXML", "The XML you provided was not well-formed or did not validate")
        parts = []
        for key in keys:
            error = next((error for error in request.key_errors if re.search(error["key"], key)), None)
            if error is not None:
                code = error.get("code", "InternalError")
                parts.append(f"<Error><Key>{text(key)}</Key><Code>{text(code)}</Code><Message>{text(code)}</Message></Error>")
                continue
            bucket.delete(key)
            if not quiet:
                parts.append(f"<Deleted><Key>{text(key)}</Key></Deleted>")
        return xml_answer(200, "DeleteResult", "".join(parts))

    # Objects ---------------------------------------------------------------------------------------------------------

    def _etag(self, body):
        return {"md5": lambda: hashlib.md5(body).hexdigest(), "none": lambda: hashlib.md5(body).hexdigest(),
                "opaque": lambda: os.urandom(16).hex()}[self.settings.etag]()

    def _kept(self, request):
        kept = [(name, value) for name, value in request.headers if name in KEPT or name.startswith("x-amz-meta-")]
        metadata = [(name, value) for name, value in kept if name.startswith("x-amz-meta-")]
        if sum(len(name) - len("x-amz-meta-") + len(value) for name, value in metadata) > METADATA_BYTES_MAX:
            raise Refused(400, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size")
        longest = self.settings.metadata_value_max
        if longest and any(len(value) > longest for _, value in metadata):
            raise Refused(500, "InternalError", "We encountered an internal error. Please try again.")
        if self.settings.metadata_dashes:
            kept = [(name.replace("_", "-"), value) for name, value in kept]
        return tuple(kept)

    def _put(self, request):
        bucket = self._bucket(request)
        if len(request.key.encode(errors="surrogateescape")) > 1024:
            raise Refused(400, "KeyTooLongError", "Your key is too long")
        if request.header("content-length") is None:
            raise Refused(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
        kept = self._kept(request)
        self._check_conditions(request, bucket.get(request.key), self.settings.conditions)
        thing = Object(request.body, kept, self._etag(request.body), self.now)
        bucket.put(request.key, thing)
        return Answer(200, self._etag_header(thing))

    def _copy(self, request):
        bucket = self._bucket(request)
        name, _, key = unquote(request.header("x-amz-copy-source")).removeprefix("/").partition("/")
        source = self.buckets[name].get(key) if name in self.buckets else None
        if source is None:
            raise Refused(404, "NoSuchKey", "The specified key does not exist.", Key=key)
        kept = self._kept(request) if request.header("x-amz-metadata-directive") == "REPLACE" else source.headers
        thing = Object(source.body, kept, self._etag(source.body), self.now)
        bucket.put(request.key, thing)
        return xml_answer(200, "CopyObjectResult", f"<LastModified>{iso(thing.time)}</LastModified>"
                          f"<ETag>&quot;{thing.etag}&quot;</ETag>")

    def _delete(self, request):
        bucket = self._bucket(request)
        self._check_conditions(request, bucket.get(request.key), self.settings.delete_conditions, is_delete=True)
        bucket.delete(request.key)
        return Answer(204)

    def _check_conditions(self, request, present, mode, is_delete=False):
        match, none_match = request.header("if-match"), request.header("if-none-match")
        if (match is None and none_match is None) or mode == "ignore":
            return
        if mode == "reject":
            raise Refused(501, "NotImplemented", "A header you provided implies functionality that is not implemented",
                          Header="If-Match" if match else "If-None-Match")
        failed = Refused(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold",
                         Condition="If-Match" if match else "If-None-Match")
        if none_match is not None:
            if none_match != "*":
                raise Refused(501, "NotImplemented", "If-None-Match takes * alone", Header="If-None-Match")
            if present is not None:
                raise failed
        if match is not None:
            if present is None and is_delete:
                return
            if present is None and self.settings.if_match_missing == 404:
                raise Refused(404, "NoSuchKey", "The specified key does not exist.", Key=request.key)
            quotes = "any" if is_delete else self.settings.if_match_quotes
            if present is None or not is_same_etag(match, present.etag, quotes):
                raise failed

    def _get(self, request):
        thing = self._bucket(request).get(request.key, request.as_of)
        if thing is None:
            raise Refused(404, "NoSuchKey", "The specified key does not exist.", Key=request.key)
        headers = [["Last-Modified", http_date(thing.time)], *self._etag_header(thing), ["Accept-Ranges", "bytes"],
                   *([name, value] for name, value in thing.headers if (name, value) != ("x-amz-storage-class", "STANDARD"))]
        if "content-type" not in dict(thing.headers):
            headers.append(["Content-Type", "binary/octet-stream"])
        match, none_match = request.header("if-match"), request.header("if-none-match")
        if match is not None and not is_same_etag(match, thing.etag):
            raise Refused(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold",
                          Condition="If-Match")
        if none_match is not None and is_same_etag(none_match, thing.etag):
            return Answer(304, headers)
        first, last = 0, len(thing.body)
        if found := re.fullmatch(r"bytes=(\d*)-(\d*)", request.header("range") or ""):
            begin, end = found.groups()
            if begin:
                first, last = int(begin), min(int(end) + 1, last) if end else last
            elif end:
                first = max(0, last - int(end))
            if first >= last:
                raise Refused(416, "InvalidRange", "The requested range is not satisfiable",
                              ActualObjectSize=len(thing.body))
            headers.append(["Content-Range", f"bytes {first}-{last - 1}/{len(thing.body)}"])
            return Answer(206, headers, thing.body[first:last])
        return Answer(200, headers, thing.body)

    _head = _get

    def _etag_header(self, thing):
        return [] if self.settings.etag == "none" else [["ETag", f'"{thing.etag}"']]


def is_same_etag(given, etag, quotes="any"):
    for one in given.split(","):
        one = one.strip()
        quoted = len(one) > 1 and one[0] == one[-1] == '"'
        if one == "*" or (one.strip('"') == etag and quotes in ("any", "with" if quoted else "without")):
            return True
    return False


def redirect_answer(request, region, endpoint="s3.elsewhere.invalid"):
    return error_answer(301, "PermanentRedirect", "The bucket you are attempting to access must be addressed using the "
                        "specified endpoint.", [["x-amz-bucket-region", region],
                                                ["Location", f"http://{endpoint}/{request.bucket}/{request.key}"]],
                        Endpoint=endpoint, Bucket=request.bucket, Region=region)
