/* SPDX-License-Identifier: Apache-2.0 */
/* What somebody may have meant who wrote something else. */
#ifndef BASE_SPELLING_H
#define BASE_SPELLING_H

#include <stddef.h>

enum { SPELLING_BYTES_MAX = 63 };

/* How many letters must be changed, added or left out to make one of the other.  b_len at most SPELLING_BYTES_MAX. */
size_t spelling_distance(const char *a, size_t a_len, const char *b, size_t b_len);
/* Further away than this from a word of so many letters is no slip of the fingers. */
size_t spelling_slip_max(size_t len);

#endif
