/* SPDX-License-Identifier: Apache-2.0 */
/* Small things that the language forgot. */
#ifndef BASE_UTIL_H
#define BASE_UTIL_H

#include <stddef.h>

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

#endif
