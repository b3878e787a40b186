/* SPDX-License-Identifier: Apache-2.0 */
/* AWS Signature Version 4, in the Authorization header.
 *
 * Source: "Signing AWS API requests"
 * (docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html) and, for what S3 does
 * differently (paths encoded once and not normalized, x-amz-content-sha256), "Authenticating
 * Requests: Using the Authorization Header" of the S3 API reference. */
#ifndef S3_SIGV4_H
#define S3_SIGV4_H

#include "credentials.h"
#include "http.h"

/* The key of one day, region and service, derived once.  Allocate it with host->secret_alloc,
 * zeroed. One thread. */
struct sigv4_key {
    char scope[160]; /* "20130524/us-east-1/s3/aws4_request"; "" when nothing is derived yet */
    unsigned char secret_digest[32]; /* of the secret that it was derived from */
    unsigned char key[32];
};

/* Add x-amz-date, x-amz-content-sha256 (service s3 only), x-amz-security-token and
 * authorization; none of them may be there already: a request is signed once.  All headers are
 * signed.  Anonymous credentials add nothing. False when the library fails, something is too
 * long or the headers overflow; the request is not to be sent then. */
bool sigv4_sign(struct http_request *request, const struct credentials *credentials,
                const char *region, const char *service, time_t now, struct sigv4_key *cached);

/* Lower-case hex of SHA-256. */
bool sha256_hex(const void *data, size_t bytes, char out[65]);

#endif
