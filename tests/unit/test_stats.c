/* SPDX-License-Identifier: Apache-2.0 */
/* Counters, gauges and their printed forms. */
#include "test.h"

#include "base/stats.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
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

TEST(stats, missing_counter_is_ignored)
{
    counter_add(NULL, 1);
    assert_int_equal(counter_value(NULL), 0);
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
        if (i % 100 == 0)
            free(stats_json(stats));
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
        RUN(stats, reset_clears_counters_and_leaves_gauges),
        RUN(stats, missing_counter_is_ignored),
        RUN(stats, gauges_are_read_without_a_lock),
        RUN(stats, threads_may_make_count_and_print_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
