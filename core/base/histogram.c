/* SPDX-License-Identifier: Apache-2.0 */
/* How long things take.
 *
 * A histogram has several stripes and each thread adds to one of them, so that the threads that serve the disk do not
 * pull one cache line back and forth.  A reader adds the stripes up.
 *
 * Bounds are multiples of a quarter of a microsecond, and a duration that is a bound belongs below it, as Prometheus has
 * it: with q = (ns - 1) / 250, all up to 1 us are q < 4, and from there on the three highest bits of q choose the bucket. */
#include "histogram.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define QUARTER_NS 250u
#define STRIPES 8u
#define CACHE_LINE_BYTES 64

struct stripe {
    _Alignas(CACHE_LINE_BYTES) _Atomic uint64_t sum_ns;
    _Atomic uint64_t max_ns;
    _Atomic uint64_t buckets[HISTOGRAM_BUCKETS];
};

struct histogram {
    struct stripe stripes[STRIPES];
};

static atomic_uint threads_seen;
static _Thread_local unsigned thread_number; /* from 1 on; 0: it has none yet */

struct histogram *
histogram_new(void)
{
    struct histogram *histogram = aligned_alloc(CACHE_LINE_BYTES, sizeof *histogram);

    if (histogram != NULL) {
        memset(histogram, 0, sizeof *histogram);
        histogram_reset(histogram);
    }
    return histogram;
}

void
histogram_free(struct histogram *histogram)
{
    free(histogram);
}

static unsigned
bucket_of(uint64_t duration_ns)
{
    uint64_t quarters = duration_ns > 0 ? (duration_ns - 1) / QUARTER_NS : 0;
    unsigned doublings, bucket;

    if (quarters < 4)
        return 0;
    doublings = 63 - (unsigned)__builtin_clzll(quarters) - 2;
    bucket = 1 + 4 * doublings + (unsigned)(quarters >> doublings & 3);
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

uint64_t
histogram_bound_ns(unsigned bucket)
{
    if (bucket == 0)
        return 4 * QUARTER_NS;
    if (bucket >= HISTOGRAM_BUCKETS - 1)
        return UINT64_MAX;
    return (4 + (uint64_t)(bucket - 1) % 4 + 1) * QUARTER_NS << (bucket - 1) / 4;
}

void
histogram_add(struct histogram *histogram, uint64_t duration_ns)
{
    struct stripe *stripe;
    uint64_t max_ns;

    if (histogram == NULL)
        return;
    if (thread_number == 0)
        thread_number = 1 + atomic_fetch_add_explicit(&threads_seen, 1, memory_order_relaxed);
    stripe = &histogram->stripes[thread_number % STRIPES];
    max_ns = atomic_load_explicit(&stripe->max_ns, memory_order_relaxed);
    while (max_ns < duration_ns
           && !atomic_compare_exchange_weak_explicit(&stripe->max_ns, &max_ns, duration_ns,
                                                     memory_order_relaxed, memory_order_relaxed))
        ;
    atomic_fetch_add_explicit(&stripe->sum_ns, duration_ns, memory_order_relaxed);
    atomic_fetch_add_explicit(&stripe->buckets[bucket_of(duration_ns)], 1, memory_order_relaxed);
}

void
histogram_reset(struct histogram *histogram)
{
    if (histogram == NULL)
        return;
    for (unsigned i = 0; i < STRIPES; i++) {
        struct stripe *stripe = &histogram->stripes[i];

        for (unsigned j = 0; j < HISTOGRAM_BUCKETS; j++)
            atomic_store_explicit(&stripe->buckets[j], 0, memory_order_relaxed);
        atomic_store_explicit(&stripe->sum_ns, 0, memory_order_relaxed);
        atomic_store_explicit(&stripe->max_ns, 0, memory_order_relaxed);
    }
}

void
histogram_read(const struct histogram *histogram, struct histogram_state *out)
{
    memset(out, 0, sizeof *out);
    for (unsigned i = 0; i < STRIPES && histogram != NULL; i++) {
        const struct stripe *stripe = &histogram->stripes[i];
        uint64_t max_ns;

        for (unsigned j = 0; j < HISTOGRAM_BUCKETS; j++) {
            uint64_t count = atomic_load_explicit(&stripe->buckets[j], memory_order_relaxed);

            out->buckets[j] += count;
            out->count += count;
        }
        out->sum_ns += atomic_load_explicit(&stripe->sum_ns, memory_order_relaxed);
        max_ns = atomic_load_explicit(&stripe->max_ns, memory_order_relaxed);
        if (out->max_ns < max_ns)
            out->max_ns = max_ns;
    }
}

uint64_t
histogram_mean_ns(const struct histogram_state *state)
{
    return state->count > 0 ? state->sum_ns / state->count : 0;
}

uint64_t
histogram_quantile_ns(const struct histogram_state *state, unsigned percent)
{
    double wanted = (double)state->count * percent / 100;
    uint64_t seen = 0;
    unsigned i = 0;

    if (state->count == 0)
        return 0;
    while (i < HISTOGRAM_BUCKETS - 1 && (seen += state->buckets[i]) < wanted)
        i++;
    return histogram_bound_ns(i) < state->max_ns ? histogram_bound_ns(i) : state->max_ns;
}
