/* SPDX-License-Identifier: Apache-2.0 */
/* What must not be read in a log, taken out of text that comes from elsewhere.  Pure; in place. */
#ifndef S3_MASK_H
#define S3_MASK_H

#include "headers.h"

/* A server may tell us what we have sent, in whole or cut: each part that the text has in common with the secret, from 12 bytes
 * on, becomes stars.  NULL is no secret. */
void mask_secret(char *text, const char *secret);
/* The same for the session token and the signature of a request. */
void mask_sent(char *text, const struct headers *sent);
/* The value of a header line that holds a secret. */
void mask_line(char *line);
/* Name and password in URLs. */
void mask_urls(char *text);

#endif
