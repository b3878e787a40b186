# SPDX-License-Identifier: Apache-2.0
"""Signatures of Amazon's versions 4 and 2, checked as the specification says and not as any client makes them."""
import base64
import binascii
import calendar
import hashlib
import hmac
import re
import time
from dataclasses import dataclass, field
from email.utils import mktime_tz, parsedate_tz
from urllib.parse import quote

SKEW_SECONDS_MAX = 900
UNSIGNED = "UNSIGNED-PAYLOAD"
SUBRESOURCES = {"acl", "cors", "delete", "lifecycle", "location", "logging", "notification", "partNumber", "policy",
                "requestPayment", "restore", "tagging", "torrent", "uploadId", "uploads", "versionId", "versioning",
                "versions", "website"}


class Refused(Exception):
    """An error answer: its status, its code, its message, and further elements of the XML."""

    def __init__(self, status, code, message, **elements):
        super().__init__(message)
        self.status, self.code, self.message, self.elements = status, code, message, elements


@dataclass
class Account:
    id: str
    secret: str
    token: str | None = None                # a session token that must come along


@dataclass
class Verifier:
    accounts: dict = field(default_factory=dict)    # id -> Account
    region: str = ""                        # signatures must name it; "": any
    versions: str = "any"                   # "v4", "v2", "any" of them
    expired: list = field(default_factory=list)     # ids whose token has expired

    def check(self, request, now):
        """The id that signed it, or None for a request without a signature.  Raises Refused."""
        authorization = request.header("authorization")
        if authorization is None and request.param("X-Amz-Signature") is None:
            return None
        if authorization is None or authorization.startswith("AWS4-HMAC-SHA256 "):
            self._allowed("v4", "The authorization mechanism you have provided is not supported. Please use AWS2.")
            return (self._presigned4 if authorization is None else self._header4)(request, now)
        if authorization.startswith("AWS "):
            self._allowed("v2", "The authorization mechanism you have provided is not supported. "
                                "Please use AWS4-HMAC-SHA256.")
            return self._header2(request, now)
        raise Refused(400, "InvalidArgument", "Unsupported Authorization Type")

    def _allowed(self, version, message):
        if self.versions not in ("any", version):
            raise Refused(400, "InvalidRequest", message)

    def _account(self, access_id, request):
        if access_id in self.expired:
            raise Refused(400, "ExpiredToken", "The provided token has expired.")
        account = self.accounts.get(access_id)
        if account is None:
            raise Refused(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.",
                          AWSAccessKeyId=access_id)
        token = request.header("x-amz-security-token") or request.param("X-Amz-Security-Token")
        if token != account.token:
            raise Refused(400, "InvalidToken", "The provided token is malformed or otherwise invalid.")
        return account

    # Version 4 -------------------------------------------------------------------------------------------------------

    def _header4(self, request, now):
        text = request.header("authorization").removeprefix("AWS4-HMAC-SHA256 ")
        parts = dict(part.strip().partition("=")[::2] for part in text.split(","))
        if set(parts) != {"Credential", "SignedHeaders", "Signature"}:
            raise Refused(400, "AuthorizationHeaderMalformed", "The authorization header is malformed.")
        stamp = request.header("x-amz-date")
        if stamp is None and (date := parsedate_tz(request.header("date") or "")):
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(mktime_tz(date)))
        payload = request.header("x-amz-content-sha256")
        if payload is None:
            raise Refused(400, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
        signed = parts["SignedHeaders"].split(";")
        for name, _ in request.headers:
            if (name.startswith("x-amz-") or name == "host") and name not in signed:
                raise Refused(403, "AccessDenied", "There were headers present in the request which were not signed",
                              HeadersNotSigned=name)
        access_id = self._verify4(request, now, parts["Credential"], signed, parts["Signature"], stamp, payload,
                                  request.query)
        self._check_payload(payload)
        return access_id

    def _presigned4(self, request, now):
        need = {name: request.param("X-Amz-" + name) for name in ("Credential", "SignedHeaders", "Signature", "Date", "Expires")}
        if None in need.values() or request.param("X-Amz-Algorithm") != "AWS4-HMAC-SHA256" or not need["Expires"].isdigit():
            raise Refused(400, "AuthorizationQueryParametersError", "Query-string authentication version 4 is incomplete")
        query = [pair for pair in request.query if pair[0] != "X-Amz-Signature"]
        payload = request.header("x-amz-content-sha256") or UNSIGNED
        return self._verify4(request, now, need["Credential"], need["SignedHeaders"].split(";"), need["Signature"],
                             need["Date"], payload, query, int(need["Expires"]))

    def _verify4(self, request, now, credential, signed, signature, stamp, payload, query, expires=None):
        access_id, *scope = credential.rsplit("/", 4)
        if len(scope) != 4 or scope[2:] != ["s3", "aws4_request"]:
            raise Refused(400, "AuthorizationHeaderMalformed",
                          "The authorization header is malformed; the Credential is mal-formed; "
                          "expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".")
        day, region = scope[:2]
        if stamp is None or not re.fullmatch(r"\d{8}T\d{6}Z", stamp):
            raise Refused(403, "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
        if day != stamp[:8]:
            raise Refused(400, "AuthorizationHeaderMalformed", "Invalid credential date in Authorization header")
        if self.region and region != self.region:
            raise Refused(400, "AuthorizationHeaderMalformed", "The authorization header is malformed; "
                          f"the region '{region}' is wrong; expecting '{self.region}'", Region=self.region)
        if "host" not in signed:
            raise Refused(403, "AccessDenied", "There were headers present in the request which were not signed",
                          HeadersNotSigned="host")
        account = self._account(access_id, request)
        at = calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))
        if expires is None:
            check_clock(at, now)
        elif not at - SKEW_SECONDS_MAX <= now <= at + expires:
            raise Refused(403, "AccessDenied", "Request has expired")
        canonical = "\n".join([
            request.method,
            quote(request.path.encode(errors="surrogateescape"), safe="-_.~/"),
            "&".join("=".join(pair) for pair in sorted((encoded(name), encoded(value)) for name, value in query)),
            *(f"{name}:{' '.join((request.header(name) or '').split())}" for name in signed),
            "", ";".join(signed), payload])
        digest = hashlib.sha256(canonical.encode("latin-1", errors="replace")).hexdigest()
        to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, "/".join(scope), digest])
        key = ("AWS4" + account.secret).encode()
        for word in [*scope, to_sign]:
            key = hmac.new(key, word.encode(), hashlib.sha256).digest()
        if signed != sorted(signed) or not hmac.compare_digest(key.hex(), signature):
            raise Refused(403, "SignatureDoesNotMatch", MISMATCH, AWSAccessKeyId=access_id, StringToSign=to_sign,
                          SignatureProvided=signature, CanonicalRequest=canonical)
        return access_id

    @staticmethod
    def _check_payload(payload):
        if payload.startswith("STREAMING-"):
            raise Refused(501, "NotImplemented", "aws-chunked is not taken here")
        if payload != UNSIGNED and not re.fullmatch("[0-9a-f]{64}", payload):
            raise Refused(400, "InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD or a valid sha256 value.")

    # Version 2 -------------------------------------------------------------------------------------------------------

    def _header2(self, request, now):
        access_id, colon, signature = request.header("authorization").removeprefix("AWS ").rpartition(":")
        if not colon:
            raise Refused(400, "InvalidArgument", "AWS authorization header is invalid")
        account = self._account(access_id, request)
        amz = request.header("x-amz-date")
        date = parsedate_tz(amz or request.header("date") or "")
        if date is None:
            raise Refused(403, "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
        check_clock(mktime_tz(date), now)
        names = sorted({name for name, _ in request.headers if name.startswith("x-amz-")})
        resource = f"/{request.bucket}{request.raw_path}" if request.vhost else request.raw_path
        wanted = [f"{name}={value}" if value else name for name, value in sorted(request.query)
                  if name in SUBRESOURCES or name.startswith("response-")]
        to_sign = "\n".join([request.method, request.header("content-md5") or "", request.header("content-type") or "",
                             "" if amz else request.header("date"), *(f"{name}:{request.header(name)}" for name in names),
                             resource + ("?" + "&".join(wanted) if wanted else "")])
        right = base64.b64encode(hmac.new(account.secret.encode(), to_sign.encode("latin-1", errors="replace"),
                                          hashlib.sha1).digest())
        if not hmac.compare_digest(right, signature.encode()):
            raise Refused(403, "SignatureDoesNotMatch", MISMATCH, AWSAccessKeyId=access_id, StringToSign=to_sign,
                          SignatureProvided=signature)
        return access_id


MISMATCH = ("The request signature we calculated does not match the signature you provided. "
            "Check your key and signing method.")


def encoded(text):
    return quote(text, safe="-_.~")


def check_clock(at, now):
    if abs(at - now) > SKEW_SECONDS_MAX:
        raise Refused(403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.",
                      RequestTime=time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at)),
                      ServerTime=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
                      MaxAllowedSkewMilliseconds=SKEW_SECONDS_MAX * 1000)


def check_body(request):
    """Do the hashes that the headers give fit the body?  Raises Refused."""
    payload = request.header("x-amz-content-sha256")
    if payload not in (None, UNSIGNED) and payload != (right := hashlib.sha256(request.body).hexdigest()):
        raise Refused(400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what "
                      "was computed.", ClientComputedContentSHA256=payload, S3ComputedContentSHA256=right)
    if (md5 := request.header("content-md5")) is not None:
        try:
            given = base64.b64decode(md5, validate=True)
        except binascii.Error:
            given = b""
        if len(given) != 16:
            raise Refused(400, "InvalidDigest", "The Content-MD5 you specified was invalid.")
        if given != hashlib.md5(request.body).digest():
            raise Refused(400, "BadDigest", "The Content-MD5 you specified did not match what we received.")
