/* SPDX-License-Identifier: Apache-2.0 */
/* Percent-encoding as S3's signatures want it. */
#include "uri.h"

#include <string.h>

/* Not isalnum(): that asks the locale. */
static bool
is_unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'
           || c == '.' || c == '_' || c == '~';
}

static int
hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

bool
uri_append(char *out, size_t out_bytes, const char *text, bool keep_slash)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t used = strlen(out), needed = 0;
    char *to = out + used;

    for (const char *c = text; *c != '\0'; c++)
        needed += is_unreserved(*c) || (*c == '/' && keep_slash) ? 1 : 3;
    if (needed >= out_bytes - used)
        return false;
    for (const char *c = text; *c != '\0'; c++) {
        if (is_unreserved(*c) || (*c == '/' && keep_slash)) {
            *to++ = *c;
            continue;
        }
        *to++ = '%';
        *to++ = digits[(unsigned char)*c >> 4];
        *to++ = digits[(unsigned char)*c & 15];
    }
    *to = '\0';
    return true;
}

bool
uri_decode(char *text, bool plus_is_blank)
{
    char *to = text;

    for (const char *c = text; *c != '\0'; c++) {
        int high, low;

        if (*c != '%') {
            *to++ = *c == '+' && plus_is_blank ? ' ' : *c;
            continue;
        }
        high = hex_value(c[1]);
        low = high == -1 ? -1 : hex_value(c[2]);
        if (low == -1 || (high == 0 && low == 0))
            return false;
        *to++ = (char)(high << 4 | low);
        c += 2;
    }
    *to = '\0';
    return true;
}
