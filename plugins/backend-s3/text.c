/* SPDX-License-Identifier: Apache-2.0 */
/* A string that grows in a buffer of fixed size. */
#include "text.h"

#include <string.h>

void
text_init(struct text *text, char *buffer, size_t buffer_bytes)
{
    *text = (struct text){ .start = buffer, .room_bytes = buffer_bytes };
    buffer[0] = '\0';
}

void
text_add_bytes(struct text *text, const char *bytes, size_t count)
{
    if (text->is_overfull || count >= text->room_bytes - text->bytes) {
        text->is_overfull = true;
        return;
    }
    memcpy(text->start + text->bytes, bytes, count);
    text->bytes += count;
    text->start[text->bytes] = '\0';
}

void
text_add(struct text *text, const char *string)
{
    text_add_bytes(text, string, strlen(string));
}
