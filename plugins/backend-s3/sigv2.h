/* SPDX-License-Identifier: Apache-2.0 */
/* AWS Signature Version 2 for S3, for old stores.
 *
 * Source: "Signing and authenticating REST requests" of the S3 user guide
 * (docs.aws.amazon.com/AmazonS3/latest/userguide/RESTAuthentication.html). */
#ifndef S3_SIGV2_H
#define S3_SIGV2_H

#include "credentials.h"
#include "http.h"

/* Add date (unless there is one, or an x-amz-date), x-amz-security-token and authorization.  A
 * request is signed once. Anonymous credentials add nothing.  False when the library fails,
 * something is too long or the headers overflow; the request is not to be sent then. */
bool sigv2_sign(struct http_request *request, const struct credentials *credentials, time_t now);

#endif
