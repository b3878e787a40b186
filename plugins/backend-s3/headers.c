/* SPDX-License-Identifier: Apache-2.0 */
/* A list of HTTP header fields, with its text in one buffer. */
#include "headers.h"

#include <string.h>
#include <strings.h>

/* Letters, digits, and these are what the name of a field may hold (RFC 9110, "token"). */
#define NAME_MARKS "!#$%&'*+-.^_`|~"

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static char
lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool
name_is_valid(const char *name, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        char c = lower(name[i]);

        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && strchr(NAME_MARKS, c) == NULL)
            return false;
    }
    return bytes > 0;
}

/* Bytes over 0x7f are the other side's matter; a line end would begin a header of someone
 * else's choice. */
static bool
value_is_valid(const char *value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f)
            return false;
    }
    return true;
}

void
headers_init(struct headers *headers)
{
    headers->count = 0;
    headers->text_bytes = 0;
    headers->is_overfull = false;
}

void
headers_add_bytes(struct headers *headers, const char *name, const void *value, size_t value_bytes)
{
    const char *from = value;
    size_t name_bytes = strlen(name);
    size_t room = HEADERS_TEXT_BYTES - headers->text_bytes;
    char *to = headers->text + headers->text_bytes;

    for (; value_bytes > 0 && is_blank(from[0]); from++)
        value_bytes--;
    while (value_bytes > 0 && is_blank(from[value_bytes - 1]))
        value_bytes--;
    if (headers->count == HEADERS_MAX || name_bytes + 1 > room
        || value_bytes >= room - name_bytes - 1 || !name_is_valid(name, name_bytes)
        || !value_is_valid(from, value_bytes)) {
        headers->is_overfull = true;
        return;
    }
    headers->list[headers->count].name = to;
    for (size_t i = 0; i < name_bytes; i++)
        *to++ = lower(name[i]);
    *to++ = '\0';
    headers->list[headers->count].value = to;
    if (value_bytes > 0)
        memcpy(to, from, value_bytes);
    to[value_bytes] = '\0';
    headers->text_bytes += name_bytes + 1 + value_bytes + 1;
    headers->count++;
}

void
headers_add(struct headers *headers, const char *name, const char *value)
{
    headers_add_bytes(headers, name, value, strlen(value));
}

const char *
headers_get(const struct headers *headers, const char *name)
{
    for (unsigned i = 0; i < headers->count; i++) {
        if (strcasecmp(headers->list[i].name, name) == 0)
            return headers->list[i].value;
    }
    return NULL;
}

/* Insertion: a dozen or so, mostly sorted already. */
void
headers_sort(const struct header **list, unsigned count)
{
    for (unsigned i = 1; i < count; i++) {
        const struct header *header = list[i];
        unsigned at = i;

        for (; at > 0 && strcmp(list[at - 1]->name, header->name) > 0; at--)
            list[at] = list[at - 1];
        list[at] = header;
    }
}
