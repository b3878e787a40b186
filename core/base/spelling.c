/* SPDX-License-Identifier: Apache-2.0 */
/* How near two words are: the distance of Levenshtein. */
#include "spelling.h"

#include <assert.h>

size_t
spelling_slip_max(size_t len)
{
    return 1 + len / 4;
}

size_t
spelling_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t row[SPELLING_BYTES_MAX + 1];

    assert(b_len <= SPELLING_BYTES_MAX);
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[b_len];
}
