/* SPDX-License-Identifier: Apache-2.0 */
/* Named counters and gauges, and their two printed forms. */
#ifndef BASE_STATS_H
#define BASE_STATS_H

#include <stdint.h>

struct stats;
struct counter;

int stats_new(struct stats **out);
void stats_free(struct stats *stats);

/* A counter lives as long as its stats.  The strings are copied.  The same name gives the same counter.
 * NULL when out of memory; the functions below take NULL.  Any thread. */
struct counter *stats_counter(struct stats *stats, const char *name, const char *help);
/* A gauge is read by calling `value` whenever the stats are printed. */
int stats_gauge(struct stats *stats, const char *name, const char *help,
                uint64_t (*value)(void *arg), void *arg);
void counter_add(struct counter *counter, int64_t delta);
uint64_t counter_value(const struct counter *counter);
/* Counters back to 0; gauges are what they are. */
void stats_reset(struct stats *stats);

/* All of them in the order of their making, one a line, or as one JSON object.
 * Gives a malloc'ed string, NULL when out of memory. */
char *stats_text(struct stats *stats);
char *stats_json(struct stats *stats);

#endif
