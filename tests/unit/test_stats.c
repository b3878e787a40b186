/* SPDX-License-Identifier: Apache-2.0 */
/* Counters, gauges, histograms and their printed forms. */
#include "test.h"

#include "base/clock.h"
#include "base/stats.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t
seven(void *arg)
{
    (void)arg;
    return 7;
}

static uint64_t
largest(void *arg)
{
    (void)arg;
    return UINT64_MAX;
}

TEST(stats, text_has_one_line_each_in_the_order_of_making)
{
    struct stats *stats;
    char *text;

    assert_int_equal(stats_new(&stats), 0);
    counter_add(stats_counter(stats, "zebra", "last of letters"), 5);
    assert_int_equal(stats_gauge(stats, "ape", "a gauge", seven, NULL), 0);
    text = stats_text(stats);
    assert_string_equal(text, "zebra                          5\n"
                              "ape                            7\n");
    free(text);
    stats_free(stats);
}

TEST(stats, json_is_one_object)
{
    struct stats *stats;
    json_t *object;
    char *text;

    assert_int_equal(stats_new(&stats), 0);
    counter_add(stats_counter(stats, "puts \"quoted\"", ""), 3);
    assert_int_equal(stats_gauge(stats, "big", NULL, largest, NULL), 0);
    text = stats_json(stats);
    object = json_loads(text, 0, NULL);
    assert_non_null(object);
    assert_int_equal(json_integer_value(json_object_get(object, "puts \"quoted\"")), 3);
    assert_true(json_integer_value(json_object_get(object, "big")) == INT64_MAX);
    json_decref(object);
    free(text);
    stats_free(stats);
}

TEST(stats, same_name_is_the_same_counter)
{
    struct stats *stats;
    struct counter *one;

    assert_int_equal(stats_new(&stats), 0);
    one = stats_counter(stats, "one", "");
    assert_ptr_equal(stats_counter(stats, "one", "other help"), one);
    assert_int_equal(stats_gauge(stats, "one", "", seven, NULL), -EEXIST);
    assert_int_equal(stats_gauge(stats, "gauge", "", seven, NULL), 0);
    assert_null(stats_counter(stats, "gauge", ""));
    assert_null(stats_histogram(stats, "gauge", ""));
    assert_null(stats_histogram(stats, "one", ""));
    assert_non_null(stats_histogram(stats, "times", ""));
    assert_ptr_equal(stats_histogram(stats, "times", ""), stats_histogram(stats, "times", ""));
    assert_null(stats_counter(stats, "times", ""));
    stats_free(stats);
}

TEST(stats, a_plugin_counter_never_is_one_of_the_core)
{
    struct stats *stats;
    struct counter *first, *second;

    assert_int_equal(stats_new(&stats), 0);
    first = stats_plugin_counter(stats, "object_gets", "");
    counter_add(first, 1);
    assert_int_equal(stats_number(stats, "object_gets"), 1);
    counter_add(stats_counter(stats, "object_gets", ""), 20);
    counter_add(stats_counter(stats, "object_puts", ""), 300);
    second = stats_plugin_counter(stats, "object_puts", "");
    counter_add(second, 4000);
    assert_ptr_equal(stats_plugin_counter(stats, "object_gets", ""), first);
    assert_ptr_equal(stats_plugin_counter(stats, "object_puts", ""), second);
    assert_int_equal(stats_number(stats, "object_gets"), 20);
    assert_int_equal(stats_number(stats, "plugin_object_gets"), 1);
    assert_int_equal(stats_number(stats, "object_puts"), 300);
    assert_int_equal(stats_number(stats, "plugin_object_puts"), 4000);
    stats_free(stats);
}

TEST(stats, reset_clears_counters_and_leaves_gauges)
{
    struct stats *stats;
    struct counter *one;
    char *text;

    assert_int_equal(stats_new(&stats), 0);
    one = stats_counter(stats, "one", "");
    assert_int_equal(stats_gauge(stats, "gauge", "", seven, NULL), 0);
    counter_add(one, 9);
    counter_add(one, -2);
    assert_int_equal(counter_value(one), 7);
    stats_reset(stats);
    assert_int_equal(counter_value(one), 0);
    text = stats_text(stats);
    assert_non_null(strstr(text, "gauge                          7\n"));
    free(text);
    stats_free(stats);
}

TEST(stats, what_is_missing_is_ignored)
{
    struct histogram_state seen;

    counter_add(NULL, 1);
    assert_int_equal(counter_value(NULL), 0);
    histogram_add(NULL, 1);
    histogram_reset(NULL);
    histogram_read(NULL, &seen);
    assert_int_equal(seen.count, 0);
    assert_int_equal(histogram_quantile_ns(&seen, 50), 0);
    assert_int_equal(histogram_mean_ns(&seen), 0);
    histogram_free(NULL);
}

/* ---- histograms */

/* A histogram that was given this duration so many times. */
static struct histogram_state
state_of(uint64_t duration_ns, unsigned count)
{
    struct histogram *histogram = histogram_new();
    struct histogram_state seen;

    assert_non_null(histogram);
    for (unsigned i = 0; i < count; i++)
        histogram_add(histogram, duration_ns);
    histogram_read(histogram, &seen);
    histogram_free(histogram);
    return seen;
}

TEST(histogram, each_duration_is_in_the_first_bucket_whose_bound_it_does_not_exceed)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t bound_ns = histogram_bound_ns(i);

        assert_int_equal(state_of(bound_ns, 1).buckets[i], 1);
        if (i == HISTOGRAM_BUCKETS - 1)
            assert_true(bound_ns == UINT64_MAX);
        else
            assert_int_equal(state_of(bound_ns + 1, 1).buckets[i + 1], 1);
        if (i > 0)
            assert_true(histogram_bound_ns(i - 1) < bound_ns);
    }
    assert_int_equal(state_of(0, 1).buckets[0], 1);
}

TEST(histogram, bounds_go_from_1_us_to_half_an_hour_in_steps_of_a_quarter_at_most)
{
    assert_int_equal(histogram_bound_ns(0), 1000);
    assert_in_range(histogram_bound_ns(HISTOGRAM_BUCKETS - 2), 1800 * NS_PER_S, 2400 * NS_PER_S);
    for (unsigned i = 1; i < HISTOGRAM_BUCKETS - 1; i++)
        assert_true(histogram_bound_ns(i) * 4 <= histogram_bound_ns(i - 1) * 5);
}

TEST(histogram, each_doubling_of_a_microsecond_is_a_bound)
{
    unsigned at = 0;

    for (uint64_t ns = 1000; ns <= 1000ull << HISTOGRAM_DOUBLINGS; ns *= 2) {
        while (histogram_bound_ns(at) < ns)
            at++;
        assert_int_equal(histogram_bound_ns(at), ns);
    }
}

TEST(histogram, quantiles_are_never_too_low_and_too_high_by_a_quarter_at_most)
{
    struct histogram *histogram = histogram_new();
    struct histogram_state seen;

    for (uint64_t us = 1; us <= 1000; us++)
        histogram_add(histogram, us * 1000);
    histogram_read(histogram, &seen);
    assert_int_equal(seen.count, 1000);
    assert_int_equal(seen.sum_ns, 500500000);
    assert_int_equal(seen.max_ns, 1000000);
    assert_int_equal(histogram_mean_ns(&seen), 500500);
    assert_in_range(histogram_quantile_ns(&seen, 50), 500000, 625000);
    assert_in_range(histogram_quantile_ns(&seen, 90), 900000, 1000000);
    assert_in_range(histogram_quantile_ns(&seen, 99), 990000, 1000000);
    histogram_free(histogram);
}

TEST(histogram, quantile_of_one_duration_is_that)
{
    struct histogram_state seen = state_of(123456789, 1), longest = state_of(UINT64_MAX, 1);

    assert_int_equal(histogram_quantile_ns(&seen, 50), 123456789);
    assert_int_equal(histogram_quantile_ns(&seen, 99), 123456789);
    assert_true(histogram_quantile_ns(&longest, 50) == UINT64_MAX);
}

#define ADDERS 32u /* many for each stripe */
#define ADDS 200000u

static pthread_barrier_t all_there;

static void *
add_to(void *arg)
{
    pthread_barrier_wait(&all_there);
    for (unsigned i = 1; i <= ADDS; i++) {
        histogram_add(arg, i * 1000ull);
        if (i % 500 == 0)
            sched_yield(); /* so that any two of them meet */
    }
    return NULL;
}

TEST(histogram, threads_may_add_and_read_at_once_and_nothing_is_lost)
{
    struct histogram *histogram = histogram_new();
    struct histogram_state seen;
    pthread_t threads[ADDERS];
    uint64_t before = 0;

    assert_int_equal(pthread_barrier_init(&all_there, NULL, ADDERS), 0);
    for (unsigned i = 0; i < ADDERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_to, histogram), 0);
    for (unsigned i = 0; i < 100; i++) {
        histogram_read(histogram, &seen);
        assert_true(seen.count >= before);
        before = seen.count;
    }
    for (unsigned i = 0; i < ADDERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    pthread_barrier_destroy(&all_there);
    histogram_read(histogram, &seen);
    assert_int_equal(seen.count, ADDERS * ADDS);
    assert_int_equal(seen.sum_ns, 1000ull * ADDERS * ADDS * (ADDS + 1ull) / 2);
    assert_int_equal(seen.max_ns, ADDS * 1000ull);
    histogram_free(histogram);
}

/* ---- the printed forms of times */

static uint64_t
minute_and_a_half(void *arg)
{
    (void)arg;
    return 90 * NS_PER_S + 500 * NS_PER_MS;
}

/* Three durations, and a gauge of a time. */
static struct stats *
stats_of_times(void)
{
    struct histogram *histogram;
    struct stats *stats;

    assert_int_equal(stats_new(&stats), 0);
    histogram = stats_histogram(stats, "read_seconds", "from request\nto reply \\ \"all\"");
    histogram_add(histogram, 2000);
    histogram_add(histogram, 4001);
    histogram_add(histogram, 2 * NS_PER_S);
    assert_int_equal(stats_gauge_time(stats, "age_seconds", "an age", minute_and_a_half, NULL), 0);
    return stats;
}

TEST(stats, text_has_six_lines_for_a_histogram_and_seconds_for_times)
{
    struct stats *stats = stats_of_times();
    char *text = stats_text(stats);

    assert_string_equal(text, "read_seconds_count             3\n"
                              "read_seconds_mean              0.666669\n"
                              "read_seconds_p50               0.000005\n"
                              "read_seconds_p90               2.000000\n"
                              "read_seconds_p99               2.000000\n"
                              "read_seconds_max               2.000000\n"
                              "age_seconds                    90.500000\n");
    free(text);
    stats_free(stats);
}

TEST(stats, json_has_an_object_for_a_histogram_with_the_buckets_that_are_not_empty)
{
    struct stats *stats = stats_of_times();
    char *text = stats_json(stats);
    json_t *all = json_loads(text, 0, NULL), *times = json_object_get(all, "read_seconds");
    json_t *buckets = json_object_get(times, "buckets");

    assert_int_equal(json_integer_value(json_object_get(times, "count")), 3);
    assert_true(json_real_value(json_object_get(times, "sum")) == 2.000006001);
    assert_true(json_real_value(json_object_get(times, "max")) == 2.0);
    assert_true(json_real_value(json_object_get(times, "p50")) == 0.000005);
    assert_true(json_real_value(json_object_get(all, "age_seconds")) == 90.5);
    assert_int_equal(json_array_size(buckets), 3);
    for (size_t i = 0; i < 3; i++) {
        json_t *bucket = json_array_get(buckets, i);

        assert_int_equal(json_array_size(bucket), 2);
        assert_int_equal(json_integer_value(json_array_get(bucket, 1)), 1);
    }
    assert_true(json_real_value(json_array_get(json_array_get(buckets, 0), 0)) == 0.000002);
    assert_true(json_real_value(json_array_get(json_array_get(buckets, 1), 0)) == 0.000005);
    assert_null(strstr(text, "0000000")); /* 0.1 is 0.1 */
    json_decref(all);
    free(text);
    stats_free(stats);
}

TEST(stats, metrics_of_counters_and_gauges_are_what_prometheus_expects)
{
    struct stats *stats;
    char *text;

    assert_int_equal(stats_new(&stats), 0);
    counter_add(stats_counter(stats, "odd-name", "counted \\ with\n\"care\""), 5);
    assert_int_equal(stats_gauge(stats, "big", NULL, largest, NULL), 0);
    assert_int_equal(stats_gauge_time(stats, "age_seconds", "an age", minute_and_a_half, NULL), 0);
    text = stats_metrics(stats, NULL, NULL);
    assert_string_equal(text, "# HELP bucketdisk_odd_name_total counted \\\\ with\\n\"care\"\n"
                              "# TYPE bucketdisk_odd_name_total counter\n"
                              "bucketdisk_odd_name_total 5\n"
                              "# HELP bucketdisk_big \n"
                              "# TYPE bucketdisk_big gauge\n"
                              "bucketdisk_big 18446744073709551615\n"
                              "# HELP bucketdisk_age_seconds an age\n"
                              "# TYPE bucketdisk_age_seconds gauge\n"
                              "bucketdisk_age_seconds 90.500000000\n");
    free(text);
    text = stats_metrics(stats, "mountpoint", "/a \"b\"\\\n");
    assert_non_null(strstr(
        text, "\nbucketdisk_big{mountpoint=\"/a \\\"b\\\"\\\\\\n\"} 18446744073709551615\n"));
    free(text);
    stats_free(stats);
}

TEST(stats, metrics_of_a_histogram_have_cumulative_buckets_up_to_infinity)
{
    struct stats *stats = stats_of_times();
    char *text = stats_metrics(stats, "mountpoint", "/m");
    unsigned buckets = 0;

#define BUCKET "bucketdisk_read_seconds_bucket{mountpoint=\"/m\",le="
    assert_non_null(strstr(text, "# TYPE bucketdisk_read_seconds histogram\n"));
    assert_non_null(strstr(text, BUCKET "\"0.000004\"} 1\n" BUCKET "\"0.000008\"} 2\n"));
    assert_non_null(strstr(text, BUCKET "\"1.048576\"} 2\n" BUCKET "\"2.097152\"} 3\n"));
    assert_non_null(strstr(text,
                           BUCKET "\"67.108864\"} 3\n" BUCKET "\"+Inf\"} 3\n"
                                  "bucketdisk_read_seconds_sum{mountpoint=\"/m\"} 2.000006001\n"
                                  "bucketdisk_read_seconds_count{mountpoint=\"/m\"} 3\n"));
    for (const char *at = strstr(text, BUCKET); at != NULL; at = strstr(at + 1, BUCKET))
        buckets++;
    assert_int_equal(buckets, 26);
#undef BUCKET
    free(text);
    stats_free(stats);
}

TEST(stats, one_can_be_read_by_its_name)
{
    struct histogram_state times;
    struct stats *stats;

    assert_int_equal(stats_new(&stats), 0);
    counter_add(stats_counter(stats, "gets", "counted"), 5);
    assert_int_equal(stats_gauge(stats, "ape", "a gauge", seven, NULL), 0);
    histogram_add(stats_histogram(stats, "get_seconds", "times"), 3 * NS_PER_S);
    assert_int_equal(stats_number(stats, "gets"), 5);
    assert_int_equal(stats_number(stats, "ape"), 7);
    assert_int_equal(stats_number(stats, "get"), 0);
    stats_times(stats, "get_seconds", &times);
    assert_int_equal(times.count, 1);
    assert_int_equal(times.sum_ns, 3 * NS_PER_S);
    stats_times(stats, "gets", &times);
    assert_int_equal(times.count, 0);
    stats_free(stats);
}

TEST(stats, counters_of_plugins_are_added_up_by_their_own_names)
{
    struct stats *stats;

    assert_int_equal(stats_new(&stats), 0);
    counter_add(stats_counter(stats, "s3_requests", ""), 5);
    counter_add(stats_counter(stats, "other_requests", ""), 2);
    counter_add(stats_counter(stats, "requests", "the core's"), 100);
    counter_add(stats_counter(stats, "s3_norequests", ""), 100);
    counter_add(stats_counter(stats, "s3_requests_late", ""), 100);
    assert_int_equal(stats_gauge(stats, "x_requests", "a gauge", seven, NULL), 0);
    assert_int_equal(stats_sum_behind(stats, "requests"), 7);
    assert_int_equal(stats_sum_behind(stats, "nothing"), 0);
    stats_free(stats);
}

TEST(stats, reset_empties_histograms)
{
    struct stats *stats = stats_of_times();
    struct histogram_state seen;

    stats_reset(stats);
    histogram_read(stats_histogram(stats, "read_seconds", ""), &seen);
    assert_int_equal(seen.count, 0);
    assert_int_equal(seen.sum_ns, 0);
    assert_int_equal(seen.max_ns, 0);
    stats_free(stats);
}

/* A gauge that makes a counter of its own: it must not meet a lock that is held. */
static uint64_t
greedy(void *arg)
{
    return stats_counter(arg, "made inside", "") != NULL;
}

TEST(stats, gauges_are_read_without_a_lock)
{
    struct stats *stats;
    char *text;

    assert_int_equal(stats_new(&stats), 0);
    assert_int_equal(stats_gauge(stats, "greedy", "", greedy, stats), 0);
    text = stats_text(stats);
    assert_string_equal(text, "greedy                         1\n");
    free(text);
    stats_free(stats);
}

static void *
count_and_print(void *arg)
{
    struct stats *stats = arg;

    for (unsigned i = 0; i < 1000; i++) {
        char name[20];

        snprintf(name, sizeof name, "counter %u", i % 20);
        counter_add(stats_counter(stats, name, ""), 1);
        histogram_add(stats_histogram(stats, "times", ""), i);
        if (i % 100 == 0) {
            free(stats_json(stats));
            free(stats_metrics(stats, NULL, NULL));
        }
    }
    return NULL;
}

TEST(stats, threads_may_make_count_and_print_at_once)
{
    struct stats *stats;
    pthread_t threads[4];

    assert_int_equal(stats_new(&stats), 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_and_print, stats), 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (unsigned i = 0; i < 20; i++) {
        char name[20];

        snprintf(name, sizeof name, "counter %u", i);
        assert_int_equal(counter_value(stats_counter(stats, name, "")), 200);
    }
    stats_free(stats);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(stats, text_has_one_line_each_in_the_order_of_making),
        RUN(stats, json_is_one_object),
        RUN(stats, same_name_is_the_same_counter),
        RUN(stats, a_plugin_counter_never_is_one_of_the_core),
        RUN(stats, reset_clears_counters_and_leaves_gauges),
        RUN(stats, what_is_missing_is_ignored),
        RUN(histogram, each_duration_is_in_the_first_bucket_whose_bound_it_does_not_exceed),
        RUN(histogram, bounds_go_from_1_us_to_half_an_hour_in_steps_of_a_quarter_at_most),
        RUN(histogram, each_doubling_of_a_microsecond_is_a_bound),
        RUN(histogram, quantiles_are_never_too_low_and_too_high_by_a_quarter_at_most),
        RUN(histogram, quantile_of_one_duration_is_that),
        RUN(histogram, threads_may_add_and_read_at_once_and_nothing_is_lost),
        RUN(stats, text_has_six_lines_for_a_histogram_and_seconds_for_times),
        RUN(stats, json_has_an_object_for_a_histogram_with_the_buckets_that_are_not_empty),
        RUN(stats, metrics_of_counters_and_gauges_are_what_prometheus_expects),
        RUN(stats, metrics_of_a_histogram_have_cumulative_buckets_up_to_infinity),
        RUN(stats, one_can_be_read_by_its_name),
        RUN(stats, counters_of_plugins_are_added_up_by_their_own_names),
        RUN(stats, reset_empties_histograms),
        RUN(stats, gauges_are_read_without_a_lock),
        RUN(stats, threads_may_make_count_and_print_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
