/* SPDX-License-Identifier: Apache-2.0 */
/* The Content-Encoding list. */
#include "encoding.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define SEPARATORS " \t\v\f\r\n,"

int
encoding_parse(const char *text, struct encoding *out, struct error *why)
{
    memset(out, 0, sizeof *out);
    if (text == NULL)
        return 0;
    for (;;) {
        size_t len;
        char *token;

        text += strspn(text, SEPARATORS);
        len = strcspn(text, SEPARATORS);
        if (len == 0)
            return 0;
        if (out->count == ENCODING_LAYERS_MAX)
            return error_set(why, -EBADMSG, "its Content-Encoding has more than %u layers",
                             ENCODING_LAYERS_MAX);
        if (len > BD_TOKEN_BYTES_MAX)
            return error_set(why, -EBADMSG, "its Content-Encoding has a token of %zu bytes", len);
        token = out->tokens[out->count];
        memcpy(token, text, len);
        token[len] = '\0';
        text += len;
        for (size_t i = 0; i < len; i++) {
            if ((unsigned char)token[i] <= ' ' || (unsigned char)token[i] >= 0x7f)
                return error_set(why, -EBADMSG, "its Content-Encoding is not text");
        }
        if (strcasecmp(token, "identity") == 0 || strcasecmp(token, "aws-chunked") == 0)
            memset(token, 0, len);
        else
            out->count++;
    }
}

void
encoding_add(struct encoding *encoding, const char *token)
{
    size_t len = strlen(token);

    assert(encoding->count < ENCODING_LAYERS_MAX && len <= BD_TOKEN_BYTES_MAX);
    memcpy(encoding->tokens[encoding->count++], token, len + 1);
}

static int
join(const struct encoding *encoding, unsigned count, const char *between, char *out,
     size_t out_bytes)
{
    size_t used = 0;

    if (out_bytes == 0)
        return -E2BIG;
    out[0] = '\0';
    for (unsigned i = 0; i < count; i++) {
        int len = snprintf(out + used, out_bytes - used, "%s%s", i > 0 ? between : "",
                           encoding->tokens[i]);

        if ((size_t)len >= out_bytes - used)
            return -E2BIG;
        used += (size_t)len;
    }
    return 0;
}

int
encoding_format(const struct encoding *encoding, char *out, size_t out_bytes)
{
    return join(encoding, encoding->count, ", ", out, out_bytes);
}

int
encoding_join(const struct encoding *encoding, unsigned count, char *out, size_t out_bytes)
{
    return join(encoding, count, ",", out, out_bytes);
}
