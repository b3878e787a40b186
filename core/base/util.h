/* SPDX-License-Identifier: Apache-2.0 */
/* Small things that the language forgot. */
#ifndef BASE_UTIL_H
#define BASE_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

static inline bool
is_all_zeros(const void *data, size_t bytes)
{
    const char *text = data;

    return bytes == 0 || (text[0] == 0 && memcmp(text, text + 1, bytes - 1) == 0);
}

#endif
