/* SPDX-License-Identifier: Apache-2.0 */
/* Question: how long does a block take? */
#include "probe_ask.h"

#include "base/clock.h"

#include <stdlib.h>

#define TIMED 9 /* requests, for a median */

static int
by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void
times(struct probe *probe)
{
    uint64_t put_ns[TIMED], get_ns[TIMED];

    for (unsigned i = 0; i < TIMED; i++) {
        uint64_t start = clock_now_ns(), between;

        if (!probe_must_put(probe, "times", i))
            return;
        between = clock_now_ns();
        if (probe_get(probe, "times") != BD_OK) {
            probe_failed(probe, PROBE_BAD, "get");
            return;
        }
        put_ns[i] = between - start;
        get_ns[i] = clock_now_ns() - between;
    }
    qsort(put_ns, TIMED, sizeof put_ns[0], by_number);
    qsort(get_ns, TIMED, sizeof get_ns[0], by_number);
    probe_say(probe, PROBE_GOOD, "put %.1f ms, get %.1f ms", (double)put_ns[TIMED / 2] / 1e6,
              (double)get_ns[TIMED / 2] / 1e6);
}

/* clang-format off */
static const struct probe_question questions[] = {
    { "times", "time for 4 KiB", 0, times,
      .consequence = "Median of 9, one after the other.",
      .otherwise = probe_cannot_store },
};
/* clang-format on */
const struct probe_questions probe_times = { questions, ARRAY_LEN(questions) };
