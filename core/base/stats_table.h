/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of statistics share, and nobody else includes: the list behind struct stats. */
#ifndef BASE_STATS_TABLE_H
#define BASE_STATS_TABLE_H

#include "stats.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum statistic_kind {
    STATISTIC_COUNTER,
    STATISTIC_GAUGE,
    STATISTIC_GAUGE_TIME, /* nanoseconds */
    STATISTIC_HISTOGRAM,
};

struct counter {
    _Atomic uint64_t count;
};

/* One of them; fixed when it is linked in, but for what it counts. */
struct statistic {
    enum statistic_kind kind;
    bool is_plugins;
    char *plugin_name; /* "plugin_" and its name */
    const char
        *_Atomic name; /* in that one; of a plugin's all of it where the core has the name, too */
    char *help;
    struct counter counter;
    uint64_t (*value)(void *arg); /* of a gauge */
    void *arg;
    struct histogram *histogram;
    struct statistic *next; /* stats->lock */
};

/* A gauge may take its owner's lock, under which that owner may be making a counter: so who prints copies the list
 * first and reads without stats->lock.  The entries live as long as the stats.
 * Gives a malloc'ed array; NULL when out of memory. */
struct statistic **stats_snapshot(struct stats *stats, size_t *count);

#endif
