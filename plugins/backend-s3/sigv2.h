/* SPDX-License-Identifier: Apache-2.0 */
/* AWS Signature Version 2 for S3, for old stores.
 *
 * Source: "Signing and authenticating REST requests" of the S3 user guide
 * (docs.aws.amazon.com/AmazonS3/latest/userguide/RESTAuthentication.html). */
#ifndef S3_SIGV2_H
#define S3_SIGV2_H

#include "credentials.h"
#include "http.h"

/* Add date, x-amz-security-token and authorization.  False when the library fails or the headers overflow. */
bool sigv2_sign(struct http_request *request, const struct credentials *credentials, time_t now);

#endif
