/* SPDX-License-Identifier: Apache-2.0 */
/* The Content-Encoding list: "deflate, encrypt-AES-128-CBC".  Pure; reads what anybody might send. */
#ifndef CORE_ENCODING_H
#define CORE_ENCODING_H

#include "base/error.h"

#include <bucketdisk/plugin.h>

#include <stddef.h>

#define ENCODING_LAYERS_MAX 5u
#define ENCODING_JOINED_BYTES (ENCODING_LAYERS_MAX * (BD_TOKEN_BYTES_MAX + 1)) /* with the NUL */

/* Layers in the order of their application: the first is the innermost. */
struct encoding {
    unsigned count;
    char tokens[ENCODING_LAYERS_MAX][BD_TOKEN_BYTES_MAX + 1]; /* case as found */
};

/* Items are separated by commas and white space; empty ones, "identity" and "aws-chunked" (of the transport)
 * do not count.  NULL is an empty list.  -EBADMSG: too many, too long, or not printable. */
int encoding_parse(const char *text, struct encoding *out, struct error *why);

/* One more layer, the outermost.  The caller knows that there is room for it, and that it is no longer than a token. */
void encoding_add(struct encoding *encoding, const char *token);

/* As s3backer writes it, ", " between two.  -E2BIG when it does not fit. */
int encoding_format(const struct encoding *encoding, char *out, size_t out_bytes);

/* The first `count` tokens as they are authenticated, "," between two.  -E2BIG. */
int encoding_join(const struct encoding *encoding, unsigned count, char *out, size_t out_bytes);

#endif
