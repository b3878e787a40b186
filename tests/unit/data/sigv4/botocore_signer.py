#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Sign requests, a line of JSON each, as AWS's own library does, and print their Authorization.  Exit status 77 without it."""
import datetime
import json
import sys

try:
    import botocore.auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
except ImportError:
    sys.exit(77)

NOW = datetime.datetime(2013, 5, 24)


class Clock(datetime.datetime):
    @classmethod
    def utcnow(cls):
        return NOW


# The clock's name depends on botocore's version.
botocore.auth.get_current_datetime = lambda *_args, **_named: NOW
botocore.auth.datetime = type("module", (), {"datetime": Clock})

credentials = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
for line in sys.stdin:
    fields = json.loads(line)
    request = AWSRequest(method=fields["method"], headers=fields["headers"],
                         url=f"https://h.example{fields['path']}?{fields['query']}")
    botocore.auth.S3SigV4Auth(credentials, "s3", "eu-west-3").add_auth(request)
    print(request.headers["Authorization"])
