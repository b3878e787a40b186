/* SPDX-License-Identifier: Apache-2.0 */
/* The printed forms of the statistics: text, JSON, Prometheus. */
#include "stats.h"

#include "clock.h"
#include "stats_table.h"
#include "util.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define METRIC_PREFIX "bucketdisk_"
/* Of Prometheus' buckets: every doubling between these; each of them is a bound of the histogram. */
#define METRIC_BOUND_MIN_US 4u
#define METRIC_BOUND_MAX_US (1u << 26)
#define TEXT_NAME_WIDTH 30
#define US_PER_S 1000000u
#define NS_PER_US 1000u
/* Enough for a microsecond in some days, and 0.1 s is not 0.10000000000000001. */
#define JSON_DIGITS 12

static const struct {
    const char *word;
    unsigned percent;
} quantiles[] = { { "p50", 50 }, { "p90", 90 }, { "p99", 99 } };

static uint64_t
value_of(const struct statistic *statistic)
{
    if (statistic->value != NULL)
        return statistic->value(statistic->arg);
    return counter_value(&statistic->counter);
}

/* What `print` puts into the file, as a string. */
static char *
printed(struct stats *stats, const void *arg,
        bool (*print)(FILE *out, struct statistic *const *all, size_t count, const void *arg))
{
    size_t count, bytes;
    struct statistic **all = stats_snapshot(stats, &count);
    char *text = NULL;
    bool is_whole;
    FILE *out;

    if (all == NULL)
        return NULL;
    out = open_memstream(&text, &bytes);
    if (out == NULL)
        goto free_all;
    is_whole = print(out, all, count, arg) && !ferror(out);
    if (fclose(out) != 0 || !is_whole) {
        free(text);
        text = NULL;
    }
free_all:
    free(all);
    return text;
}

/* ---- text */

static void
text_name(FILE *out, const char *name, const char *word)
{
    int width = fprintf(out, "%s%s", name, word);

    fprintf(out, "%*s ", width < TEXT_NAME_WIDTH ? TEXT_NAME_WIDTH - width : 0, "");
}

static void
text_count(FILE *out, const char *name, const char *word, uint64_t count)
{
    text_name(out, name, word);
    fprintf(out, "%" PRIu64 "\n", count);
}

static void
text_time(FILE *out, const char *name, const char *word, uint64_t ns)
{
    uint64_t us = ns / NS_PER_US + (ns % NS_PER_US >= NS_PER_US / 2);

    text_name(out, name, word);
    fprintf(out, "%" PRIu64 ".%06" PRIu64 "\n", us / US_PER_S, us % US_PER_S);
}

static void
text_histogram(FILE *out, const struct statistic *statistic)
{
    struct histogram_state state;
    char word[8];

    histogram_read(statistic->histogram, &state);
    text_count(out, statistic->name, "_count", state.count);
    text_time(out, statistic->name, "_mean", histogram_mean_ns(&state));
    for (size_t i = 0; i < ARRAY_LEN(quantiles); i++) {
        snprintf(word, sizeof word, "_%s", quantiles[i].word);
        text_time(out, statistic->name, word, histogram_quantile_ns(&state, quantiles[i].percent));
    }
    text_time(out, statistic->name, "_max", state.max_ns);
}

static bool
text_print(FILE *out, struct statistic *const *all, size_t count, const void *arg)
{
    (void)arg;
    for (size_t i = 0; i < count; i++) {
        if (all[i]->kind == STATISTIC_HISTOGRAM)
            text_histogram(out, all[i]);
        else if (all[i]->kind == STATISTIC_GAUGE_TIME)
            text_time(out, all[i]->name, "", value_of(all[i]));
        else
            text_count(out, all[i]->name, "", value_of(all[i]));
    }
    return true;
}

char *
stats_text(struct stats *stats)
{
    return printed(stats, NULL, text_print);
}

/* ---- JSON */

static json_t *
json_count(uint64_t count)
{
    /* JSON integers end at 2^63 - 1 here; a gauge beyond it is shown as that. */
    return json_integer(count > INT64_MAX ? INT64_MAX : (json_int_t)count);
}

static json_t *
json_time(uint64_t ns)
{
    return json_real((double)ns / (double)NS_PER_S);
}

static json_t *
json_histogram(const struct histogram *histogram)
{
    json_t *object = json_object(), *buckets = json_array();
    struct histogram_state state;
    int rc = 0;

    histogram_read(histogram, &state);
    rc |= json_object_set_new(object, "count", json_count(state.count));
    rc |= json_object_set_new(object, "sum", json_time(state.sum_ns));
    rc |= json_object_set_new(object, "mean", json_time(histogram_mean_ns(&state)));
    for (size_t i = 0; i < ARRAY_LEN(quantiles); i++)
        rc |= json_object_set_new(object, quantiles[i].word,
                                  json_time(histogram_quantile_ns(&state, quantiles[i].percent)));
    rc |= json_object_set_new(object, "max", json_time(state.max_ns));
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t bound_ns = histogram_bound_ns(i);
        json_t *bound = bound_ns == UINT64_MAX ? json_null() : json_time(bound_ns);

        if (state.buckets[i] == 0)
            json_decref(bound);
        else
            rc |= json_array_append_new(buckets,
                                        json_pack("[oo]", bound, json_count(state.buckets[i])));
    }
    rc |= json_object_set_new(object, "buckets", buckets);
    if (rc == 0)
        return object;
    json_decref(object);
    return NULL;
}

static bool
json_print(FILE *out, struct statistic *const *all, size_t count, const void *arg)
{
    json_t *object = json_object();
    int rc = 0;

    (void)arg;
    for (size_t i = 0; i < count && rc == 0; i++) {
        json_t *value = all[i]->kind == STATISTIC_HISTOGRAM    ? json_histogram(all[i]->histogram)
                        : all[i]->kind == STATISTIC_GAUGE_TIME ? json_time(value_of(all[i]))
                                                               : json_count(value_of(all[i]));

        rc = json_object_set_new(object, all[i]->name, value); /* refuses NULL */
    }
    if (rc == 0)
        rc = json_dumpf(object, out,
                        JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(JSON_DIGITS));
    json_decref(object);
    return rc == 0;
}

char *
stats_json(struct stats *stats)
{
    return printed(stats, NULL, json_print);
}

/* ---- Prometheus */

struct label {
    const char *name, *value; /* name NULL: none */
};

static void
print_escaped(FILE *out, const char *text, bool is_label)
{
    for (; *text != '\0'; text++) {
        if (*text == '\n')
            fputs("\\n", out);
        else if (*text == '\\' || (*text == '"' && is_label))
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
    }
}

/* Plugins name counters, too, and their names may hold more than a metric's. */
static void
print_name(FILE *out, const char *name, const char *suffix)
{
    fputs(METRIC_PREFIX, out);
    for (; *name != '\0'; name++) {
        bool is_fit = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z')
                      || (*name >= '0' && *name <= '9') || *name == '_';

        fputc(is_fit ? *name : '_', out);
    }
    fputs(suffix, out);
}

/* A line up to its value.  `le` is NULL where it is no bucket. */
static void
print_sample(FILE *out, const char *name, const char *suffix, const struct label *label,
             const char *le)
{
    print_name(out, name, suffix);
    if (label->name != NULL || le != NULL)
        fputc('{', out);
    if (label->name != NULL) {
        fprintf(out, "%s=\"", label->name);
        print_escaped(out, label->value, true);
        fputc('"', out);
    }
    if (le != NULL)
        fprintf(out, "%sle=\"%s\"", label->name != NULL ? "," : "", le);
    if (label->name != NULL || le != NULL)
        fputc('}', out);
    fputc(' ', out);
}

static void
print_seconds(FILE *out, uint64_t ns)
{
    fprintf(out, "%" PRIu64 ".%09" PRIu64 "\n", (uint64_t)(ns / NS_PER_S),
            (uint64_t)(ns % NS_PER_S));
}

static void
metric_histogram(FILE *out, const struct statistic *statistic, const struct label *label)
{
    struct histogram_state state;
    uint64_t seen = 0;
    unsigned next = 0;
    char le[24];

    histogram_read(statistic->histogram, &state);
    for (uint64_t us = METRIC_BOUND_MIN_US; us <= METRIC_BOUND_MAX_US; us *= 2) {
        while (histogram_bound_ns(next) <= us * NS_PER_US)
            seen += state.buckets[next++];
        assert(histogram_bound_ns(next - 1) == us * NS_PER_US);
        snprintf(le, sizeof le, "%" PRIu64 ".%06" PRIu64, us / US_PER_S, us % US_PER_S);
        print_sample(out, statistic->name, "_bucket", label, le);
        fprintf(out, "%" PRIu64 "\n", seen);
    }
    print_sample(out, statistic->name, "_bucket", label, "+Inf");
    fprintf(out, "%" PRIu64 "\n", state.count);
    print_sample(out, statistic->name, "_sum", label, NULL);
    print_seconds(out, state.sum_ns);
    print_sample(out, statistic->name, "_count", label, NULL);
    fprintf(out, "%" PRIu64 "\n", state.count);
}

static bool
metrics_print(FILE *out, struct statistic *const *all, size_t count, const void *arg)
{
    static const char *const types[] = {
        [STATISTIC_COUNTER] = "counter",
        [STATISTIC_GAUGE] = "gauge",
        [STATISTIC_GAUGE_TIME] = "gauge",
        [STATISTIC_HISTOGRAM] = "histogram",
    };

    for (size_t i = 0; i < count; i++) {
        const struct statistic *statistic = all[i];
        const char *suffix = statistic->kind == STATISTIC_COUNTER ? "_total" : "";

        fputs("# HELP ", out);
        print_name(out, statistic->name, suffix);
        fputc(' ', out);
        print_escaped(out, statistic->help, false);
        fputs("\n# TYPE ", out);
        print_name(out, statistic->name, suffix);
        fprintf(out, " %s\n", types[statistic->kind]);
        if (statistic->kind == STATISTIC_HISTOGRAM) {
            metric_histogram(out, statistic, arg);
            continue;
        }
        print_sample(out, statistic->name, suffix, arg, NULL);
        if (statistic->kind == STATISTIC_GAUGE_TIME)
            print_seconds(out, value_of(statistic));
        else
            fprintf(out, "%" PRIu64 "\n", value_of(statistic));
    }
    return true;
}

char *
stats_metrics(struct stats *stats, const char *label, const char *value)
{
    return printed(stats, &(struct label){ label, value }, metrics_print);
}
