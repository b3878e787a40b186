/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz sizes and durations: what is taken must be what the digits and the suffix say. */
#include "base/options.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* The digits at the start in wider arithmetic, cut off far above 2^64. */
static unsigned __int128
digits_of(const char *text, const char **end)
{
    const unsigned __int128 enough = (unsigned __int128)1 << 100;
    unsigned __int128 sum = 0;

    for (; isdigit((unsigned char)*text); text++) {
        if (sum < enough)
            sum = sum * 10 + (unsigned)(*text - '0');
    }
    *end = text;
    return sum;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char *text = strndup((const char *)data, bytes);
    const char *end;
    unsigned __int128 number;
    uint64_t value;

    if (text == NULL)
        abort();
    number = digits_of(text, &end);
    if (parse_size(text, &value) == 0) {
        const char *suffixes = "kmgtpe";
        const char *suffix = *end != '\0' ? strchr(suffixes, tolower((unsigned char)*end)) : NULL;
        unsigned shift = suffix != NULL ? 10 * (unsigned)(suffix - suffixes + 1) : 0;

        assert(end != text);
        assert((unsigned __int128)value == number << shift);
        assert(strlen(end) <= 3);
    } else {
        assert(end == text || *end != '\0' || number > UINT64_MAX);
    }
    for (int bare_is_seconds = 0; bare_is_seconds < 2; bare_is_seconds++) {
        if (parse_duration(text, bare_is_seconds, &value) != 0)
            continue;
        assert(end != text);
        if (*end == '\0')
            assert((unsigned __int128)value == number * (bare_is_seconds ? 1000 : 1));
        else if (tolower((unsigned char)*end) == 'u')
            assert((unsigned __int128)value * 1000 == number);
        else
            assert(number == 0 || (unsigned __int128)value % number == 0);
    }
    free(text);
    return 0;
}
