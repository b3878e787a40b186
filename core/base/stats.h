/* SPDX-License-Identifier: Apache-2.0 */
/* Named counters, gauges and histograms of durations, and their printed forms.
 *
 * Names are words of [a-z0-9_] that begin with what they are about: object_gets.  The help is half a sentence, and all
 * the documentation that there is: tests/lint/docs.py puts name and help into the manual page, so both are literals
 * where the maker is called.  What is there is made when its layer is, used or not.
 *
 * A statistic lives as long as its stats.  The strings are copied.  The same name and kind give the same one; makers
 * give NULL when out of memory or when the name is of another kind; the functions below take NULL.  Any thread. */
#ifndef BASE_STATS_H
#define BASE_STATS_H

#include "histogram.h"

#include <stdint.h>

struct stats;
struct counter;

int stats_new(struct stats **out);
void stats_free(struct stats *stats);

/* A counter only grows. */
struct counter *stats_counter(struct stats *stats, const char *name, const char *help);
/* The same, of a plugin: OWNER_name.  Where the core has something of that name, now or later, it is plugin_OWNER_name. */
struct counter *stats_plugin_counter(struct stats *stats, const char *name, const char *help);
/* A gauge is read by calling `value` whenever the stats are printed. */
int stats_gauge(struct stats *stats, const char *name, const char *help,
                uint64_t (*value)(void *arg), void *arg);
/* The same for a time: read in nanoseconds, printed in seconds; its name ends in _seconds. */
int stats_gauge_time(struct stats *stats, const char *name, const char *help,
                     uint64_t (*value_ns)(void *arg), void *arg);
/* Printed in seconds, too; its name ends in _seconds.  Add to it with histogram_add. */
struct histogram *stats_histogram(struct stats *stats, const char *name, const char *help);

void counter_add(struct counter *counter, int64_t delta);
uint64_t counter_value(const struct counter *counter);
/* Counters and histograms back to 0; gauges are what they are. */
void stats_reset(struct stats *stats);

/* One of them by name, 0 or nothing if there is none: a counter or gauge; all times of a histogram; the counters of plugins
 * whose names are OWNER_name, together. */
uint64_t stats_number(struct stats *stats, const char *name);
void stats_times(struct stats *stats, const char *name, struct histogram_state *out);
uint64_t stats_sum_behind(struct stats *stats, const char *name);

/* All of them in the order of their making, as
 *   text     one number a line, of a histogram NAME_count, _mean, _p50, _p90, _p99 and _max
 *   JSON     one object; a histogram is an object of the same words, `sum`, and `buckets`: [bound, count] of each that
 *            is not empty
 *   metrics  Prometheus' text format, version 0.0.4: names begin with bucketdisk_, those of counters end in _total, and
 *            each sample has the label `label` with that value (NULL: none)
 * Gives a malloc'ed string, NULL when out of memory. */
char *stats_text(struct stats *stats);
char *stats_json(struct stats *stats);
char *stats_metrics(struct stats *stats, const char *label, const char *value);

#endif
