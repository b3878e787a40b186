/* SPDX-License-Identifier: Apache-2.0 */
/* How long things take: durations counted in buckets, four for each doubling from 1 us to 36 minutes.
 *
 * Any thread, without a lock.  What is read while others add or reset may lack some of the newest of one number
 * and have them in another. */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_DOUBLINGS 31u
/* The first is for all up to 1 us, the last for what is over the others. */
#define HISTOGRAM_BUCKETS (4 * HISTOGRAM_DOUBLINGS + 2)

struct histogram;

struct histogram_state {
    uint64_t buckets[HISTOGRAM_BUCKETS];
    uint64_t count; /* of all buckets together */
    uint64_t sum_ns, max_ns;
};

/* NULL when out of memory; the functions that take a histogram take NULL, too. */
struct histogram *histogram_new(void);
void histogram_free(struct histogram *histogram);
/* Cheap enough for every read of the cache: threads that add at once rarely share a cache line. */
void histogram_add(struct histogram *histogram, uint64_t duration_ns);
void histogram_reset(struct histogram *histogram);
void histogram_read(const struct histogram *histogram, struct histogram_state *out);

/* The longest duration that the bucket counts; UINT64_MAX for the last one.  Those of 2^n us are exact. */
uint64_t histogram_bound_ns(unsigned bucket);
uint64_t histogram_mean_ns(const struct histogram_state *state);
/* `percent` of all took at most as long; never too low, too high by at most a quarter (or 1 us).  0 when there are none. */
uint64_t histogram_quantile_ns(const struct histogram_state *state, unsigned percent);

#endif
