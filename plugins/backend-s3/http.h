/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP request as it is signed and sent. */
#ifndef S3_HTTP_H
#define S3_HTTP_H

#include "headers.h"

#define UNSIGNED_PAYLOAD "UNSIGNED-PAYLOAD"

struct http_request {
    const char *method; /* "GET" */
    const char *host;   /* as sent: with the port unless it is the scheme's own */
    /* Percent-encoded (uri.h), from the first '/' on; bucket included if in path style. */
    const char *path;
    const char *query; /* percent-encoded, sorted by name, without '?'; "" for none */
    /* As SigV2 signs it, when it is in the host name and not in the path; else NULL. */
    const char *bucket;
    const void *body;
    size_t body_bytes;
    const char *payload_sha256; /* lower-case hex, or UNSIGNED_PAYLOAD */
    struct headers headers;     /* beside host, content-length, and what the signer adds */
};

#endif
