/* SPDX-License-Identifier: Apache-2.0 */
/* The body of DeleteObjects. */
#include "xml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of the character at `text` if it is well-formed UTF-8 and XML 1.0 may hold it, else 0. */
static size_t
character_bytes(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    uint32_t value;
    size_t bytes;

    if (at[0] < 0x80)
        return at[0] >= 0x20 || at[0] == '\t' || at[0] == '\n' || at[0] == '\r' ? 1 : 0;
    if (at[0] >= 0xc2 && at[0] <= 0xdf)
        bytes = 2;
    else if (at[0] >= 0xe0 && at[0] <= 0xef)
        bytes = 3;
    else if (at[0] >= 0xf0 && at[0] <= 0xf4)
        bytes = 4;
    else
        return 0;
    value = at[0] & (0x7fu >> bytes);
    for (size_t i = 1; i < bytes; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (at[i] & 0x3f);
    }
    if ((bytes == 3 && value < 0x800) || (bytes == 4 && value < 0x10000) || value > 0x10ffff
        || (value >= 0xd800 && value <= 0xdfff) || value == 0xfffe || value == 0xffff)
        return 0;
    return bytes;
}

/* A parser turns line ends into one kind, unless they are written as numbers. */
static bool
write_escaped(FILE *out, const char *text)
{
    while (*text != '\0') {
        size_t bytes = character_bytes(text);

        if (bytes == 0)
            return false;
        if (strchr("&<>\"'\t\n\r", *text) != NULL)
            fprintf(out, "&#%d;", *text);
        else
            fwrite(text, 1, bytes, out);
        text += bytes;
    }
    return true;
}

char *
xml_delete_request(const char *prefix, const char *const *names, uint32_t count, size_t *bytes)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, bytes);
    bool is_written = true;

    if (out == NULL)
        return NULL;
    fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
          "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">",
          out);
    for (uint32_t i = 0; i < count && is_written; i++) {
        fputs("<Object><Key>", out);
        is_written = write_escaped(out, prefix) && write_escaped(out, names[i]);
        fputs("</Key></Object>", out);
    }
    fputs("<Quiet>false</Quiet></Delete>", out);
    is_written = is_written && ferror(out) == 0;
    if (fclose(out) != 0 || !is_written) {
        free(text);
        return NULL;
    }
    return text;
}
