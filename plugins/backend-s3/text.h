/* SPDX-License-Identifier: Apache-2.0 */
/* A string that grows in a buffer of fixed size: what signatures are made of, without
 * allocation. */
#ifndef S3_TEXT_H
#define S3_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct text {
    char *start; /* always ends in NUL */
    size_t bytes, room_bytes;
    bool is_overfull; /* something was left out; stays so */
};

/* Borrows `buffer`, of at least one byte, for as long as the text is used. */
void text_init(struct text *text, char *buffer, size_t buffer_bytes);
/* All of it or nothing. */
void text_add(struct text *text, const char *string);
void text_add_bytes(struct text *text, const char *bytes, size_t count);

#endif
