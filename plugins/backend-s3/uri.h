/* SPDX-License-Identifier: Apache-2.0 */
/* Percent-encoding as S3's signatures want it: all but A-Z a-z 0-9 - . _ ~ as %XX in capitals. */
#ifndef S3_URI_H
#define S3_URI_H

#include <stdbool.h>
#include <stddef.h>

/* Longest encoding of so many bytes, with the NUL. */
#define URI_ENCODED_BYTES(bytes) (3 * (bytes) + 1)

/* Append `text`, encoded, to the string in `out`, which has `out_bytes` bytes.  '/' stays as it
 * is if `keep_slash` (paths).  False if it does not fit; `out` then is as before. */
bool uri_append(char *out, size_t out_bytes, const char *text, bool keep_slash);

/* Decode %XX, and '+' as a blank if `plus_is_blank` (form encoding, which S3's listings use), in
 * place.  False if it is not well formed or would hold a NUL; `text` then means nothing. */
bool uri_decode(char *text, bool plus_is_blank);

#endif
