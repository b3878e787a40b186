/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers for people to read at a glance. */
#include "human.h"

#include "util.h"

#include <stdio.h>

#define MINUTE_S 60u
#define HOUR_S 3600u
#define DAY_S 86400u

void
human_bytes(uint64_t bytes, char out[HUMAN_BYTES])
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    unsigned shift = 0;
    uint64_t whole, tenths;

    while (shift / 10 + 1 < ARRAY_LEN(units) && bytes >> shift >= 1024)
        shift += 10;
    whole = bytes >> shift;
    /* In two steps: what is left below the unit may have too many bits to be multiplied. */
    tenths = shift == 0 ? 0 : ((bytes >> (shift - 10)) % 1024 * 10) >> 10;
    if (shift == 0 || whole >= 100)
        snprintf(out, HUMAN_BYTES, "%u %s", (unsigned)whole, units[shift / 10]);
    else
        snprintf(out, HUMAN_BYTES, "%u.%u %s", (unsigned)whole, (unsigned)tenths,
                 units[shift / 10]);
}

void
human_duration(uint64_t seconds, char out[HUMAN_BYTES])
{
    unsigned days = seconds / DAY_S < 99999 ? (unsigned)(seconds / DAY_S) : 99999;
    unsigned rest = (unsigned)(seconds % DAY_S);

    if (days > 1)
        snprintf(out, HUMAN_BYTES, "%u days", days);
    else if (seconds >= HOUR_S)
        snprintf(out, HUMAN_BYTES, "%u:%02u:%02u", days * 24 + rest / HOUR_S,
                 rest % HOUR_S / MINUTE_S, rest % MINUTE_S);
    else
        snprintf(out, HUMAN_BYTES, "%u:%02u", rest / MINUTE_S, rest % MINUTE_S);
}

const char *
human_form(uint64_t count, const char *one, const char *many)
{
    return count == 1 ? one : many;
}
