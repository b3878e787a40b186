/* SPDX-License-Identifier: Apache-2.0 */
/* A list of HTTP header fields, with its text in one buffer: no allocation on the data path. */
#ifndef S3_HEADERS_H
#define S3_HEADERS_H

#include <stdbool.h>
#include <stddef.h>

#define HEADERS_MAX 64u
#define HEADERS_TEXT_BYTES 8192u

struct header {
    const char *name;  /* lower case */
    const char *value; /* no leading or trailing blanks, no line end */
};

/* Points into itself: not to be copied. */
struct headers {
    struct header list[HEADERS_MAX];
    unsigned count;
    size_t text_bytes;
    bool is_overfull; /* something was left out: the request must not be sent */
    char text[HEADERS_TEXT_BYTES];
};

void headers_init(struct headers *headers);
/* Copies; lowers the name, trims the value.  A control character, a name that is none, or no
 * room sets is_overfull, and nothing is added. */
void headers_add(struct headers *headers, const char *name, const char *value);
void headers_add_bytes(struct headers *headers, const char *name, const void *value,
                       size_t value_bytes);
/* The first of this name, in any case; NULL when there is none. */
const char *headers_get(const struct headers *headers, const char *name);

/* By name; those of one name stay in order. */
void headers_sort(const struct header **list, unsigned count);

#endif
