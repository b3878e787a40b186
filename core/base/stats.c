/* SPDX-License-Identifier: Apache-2.0 */
/* Named counters, gauges and histograms: making, counting, resetting. */
#include "stats.h"

#include "stats_table.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLUGIN_PREFIX "plugin_"

struct stats {
    pthread_mutex_t lock; /* guards the list; never held while a gauge is read */
    struct statistic *first;
    struct statistic **last;
    size_t count;
};

int
stats_new(struct stats **out)
{
    struct stats *stats = calloc(1, sizeof *stats);
    int rc;

    if (stats == NULL)
        return -ENOMEM;
    rc = pthread_mutex_init(&stats->lock, NULL);
    if (rc != 0) {
        free(stats);
        return -rc;
    }
    stats->last = &stats->first;
    *out = stats;
    return 0;
}

static void
statistic_free(struct statistic *statistic)
{
    histogram_free(statistic->histogram);
    free(statistic->plugin_name);
    free(statistic->help);
    free(statistic);
}

void
stats_free(struct stats *stats)
{
    struct statistic *next;

    if (stats == NULL)
        return;
    for (struct statistic *statistic = stats->first; statistic != NULL; statistic = next) {
        next = statistic->next;
        statistic_free(statistic);
    }
    pthread_mutex_destroy(&stats->lock);
    free(stats);
}

static struct statistic *
stats_find_locked(const struct stats *stats, const char *name)
{
    for (struct statistic *statistic = stats->first; statistic != NULL;
         statistic = statistic->next) {
        if (strcmp(statistic->name, name) == 0)
            return statistic;
    }
    return NULL;
}

static struct statistic *
statistic_new(enum statistic_kind kind, bool is_plugins, const char *name, const char *help)
{
    const size_t name_bytes = sizeof PLUGIN_PREFIX + strlen(name);
    struct statistic *statistic = calloc(1, sizeof *statistic);

    if (statistic == NULL)
        return NULL;
    statistic->kind = kind;
    statistic->is_plugins = is_plugins;
    statistic->plugin_name = malloc(name_bytes);
    if (statistic->plugin_name != NULL)
        snprintf(statistic->plugin_name, name_bytes, PLUGIN_PREFIX "%s", name);
    statistic->help = strdup(help != NULL ? help : "");
    if (kind == STATISTIC_HISTOGRAM)
        statistic->histogram = histogram_new();
    if (statistic->plugin_name == NULL || statistic->help == NULL
        || (kind == STATISTIC_HISTOGRAM && statistic->histogram == NULL)) {
        statistic_free(statistic);
        return NULL;
    }
    statistic->name = statistic->plugin_name + strlen(PLUGIN_PREFIX);
    return statistic;
}

/* The one that there is already; NULL: none.  A name that the core and a plugin have is the core's, whoever came first: a
 * plugin is called what its author likes. */
static struct statistic *
stats_enter_locked(struct stats *stats, struct statistic *statistic)
{
    struct statistic *old = stats_find_locked(stats, statistic->name);

    if (old != NULL && old->is_plugins && !statistic->is_plugins) {
        old->name = old->plugin_name;
        old = NULL;
    } else if (old != NULL && statistic->is_plugins && !old->is_plugins) {
        statistic->name = statistic->plugin_name;
        old = stats_find_locked(stats, statistic->name);
    }
    if (old != NULL)
        return old;
    *stats->last = statistic;
    stats->last = &statistic->next;
    stats->count++;
    return NULL;
}

/* Takes the new one, NULL too.  Gives -EEXIST and the old one in `out` when the name is taken, -ENOMEM and NULL. */
static int
stats_add(struct stats *stats, struct statistic *statistic, struct statistic **out)
{
    struct statistic *old;

    *out = NULL;
    if (statistic == NULL)
        return -ENOMEM;
    pthread_mutex_lock(&stats->lock);
    old = stats_enter_locked(stats, statistic);
    pthread_mutex_unlock(&stats->lock);
    *out = old == NULL ? statistic : old;
    if (old == NULL)
        return 0;
    statistic_free(statistic);
    return -EEXIST;
}

static struct counter *
counter_new(struct stats *stats, bool is_plugins, const char *name, const char *help)
{
    struct statistic *statistic;

    stats_add(stats, statistic_new(STATISTIC_COUNTER, is_plugins, name, help), &statistic);
    return statistic != NULL && statistic->kind == STATISTIC_COUNTER ? &statistic->counter : NULL;
}

struct counter *
stats_counter(struct stats *stats, const char *name, const char *help)
{
    return counter_new(stats, false, name, help);
}

struct counter *
stats_plugin_counter(struct stats *stats, const char *name, const char *help)
{
    return counter_new(stats, true, name, help);
}

struct histogram *
stats_histogram(struct stats *stats, const char *name, const char *help)
{
    struct statistic *statistic;

    stats_add(stats, statistic_new(STATISTIC_HISTOGRAM, false, name, help), &statistic);
    return statistic != NULL ? statistic->histogram : NULL;
}

static int
gauge_new(struct stats *stats, enum statistic_kind kind, const char *name, const char *help,
          uint64_t (*value)(void *arg), void *arg)
{
    struct statistic *statistic = statistic_new(kind, false, name, help);

    if (statistic != NULL) {
        statistic->value = value;
        statistic->arg = arg;
    }
    return stats_add(stats, statistic, &statistic);
}

int
stats_gauge(struct stats *stats, const char *name, const char *help, uint64_t (*value)(void *arg),
            void *arg)
{
    return gauge_new(stats, STATISTIC_GAUGE, name, help, value, arg);
}

int
stats_gauge_time(struct stats *stats, const char *name, const char *help,
                 uint64_t (*value_ns)(void *arg), void *arg)
{
    return gauge_new(stats, STATISTIC_GAUGE_TIME, name, help, value_ns, arg);
}

void
counter_add(struct counter *counter, int64_t delta)
{
    if (counter != NULL)
        atomic_fetch_add_explicit(&counter->count, (uint64_t)delta, memory_order_relaxed);
}

uint64_t
counter_value(const struct counter *counter)
{
    return counter != NULL ? atomic_load_explicit(&counter->count, memory_order_relaxed) : 0;
}

void
stats_reset(struct stats *stats)
{
    pthread_mutex_lock(&stats->lock);
    for (struct statistic *statistic = stats->first; statistic != NULL;
         statistic = statistic->next) {
        atomic_store_explicit(&statistic->counter.count, 0, memory_order_relaxed);
        histogram_reset(statistic->histogram);
    }
    pthread_mutex_unlock(&stats->lock);
}

struct statistic **
stats_snapshot(struct stats *stats, size_t *count)
{
    struct statistic **all;

    pthread_mutex_lock(&stats->lock);
    *count = 0;
    all = malloc((stats->count + 1) * sizeof(struct statistic *));
    if (all != NULL) {
        for (struct statistic *statistic = stats->first; statistic != NULL;
             statistic = statistic->next)
            all[(*count)++] = statistic;
    }
    pthread_mutex_unlock(&stats->lock);
    return all;
}

/* NULL when there is none.  It may be read without the lock. */
static struct statistic *
stats_find(struct stats *stats, const char *name)
{
    struct statistic *found;

    pthread_mutex_lock(&stats->lock);
    found = stats_find_locked(stats, name);
    pthread_mutex_unlock(&stats->lock);
    return found;
}

uint64_t
stats_number(struct stats *stats, const char *name)
{
    const struct statistic *found = stats_find(stats, name);

    if (found == NULL)
        return 0;
    return found->value != NULL ? found->value(found->arg) : counter_value(&found->counter);
}

void
stats_times(struct stats *stats, const char *name, struct histogram_state *out)
{
    const struct statistic *found = stats_find(stats, name);

    memset(out, 0, sizeof *out);
    if (found != NULL && found->histogram != NULL)
        histogram_read(found->histogram, out);
}

uint64_t
stats_sum_behind(struct stats *stats, const char *name)
{
    size_t len = strlen(name);
    uint64_t sum = 0;

    pthread_mutex_lock(&stats->lock);
    for (const struct statistic *it = stats->first; it != NULL; it = it->next) {
        const char *its = it->name;
        size_t all = strlen(its);

        if (it->kind == STATISTIC_COUNTER && all > len + 1 && its[all - len - 1] == '_'
            && strcmp(its + all - len, name) == 0)
            sum += counter_value(&it->counter);
    }
    pthread_mutex_unlock(&stats->lock);
    return sum;
}
