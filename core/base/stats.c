/* SPDX-License-Identifier: Apache-2.0 */
/* Named counters and gauges, and their two printed forms. */
#include "stats.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One line of the output: a counter, or a gauge when `value` is set. */
struct counter {
    _Atomic uint64_t count;
    char *name; /* from here on: fixed when it is linked in */
    char *help;
    uint64_t (*value)(void *arg);
    void *arg;
    struct counter *next; /* stats->lock */
};

struct stats {
    pthread_mutex_t lock; /* guards the list; never held while a gauge is read */
    struct counter *first;
    struct counter **last;
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
counter_free(struct counter *counter)
{
    free(counter->name);
    free(counter->help);
    free(counter);
}

void
stats_free(struct stats *stats)
{
    struct counter *next;

    if (stats == NULL)
        return;
    for (struct counter *counter = stats->first; counter != NULL; counter = next) {
        next = counter->next;
        counter_free(counter);
    }
    pthread_mutex_destroy(&stats->lock);
    free(stats);
}

static struct counter *
stats_find_locked(const struct stats *stats, const char *name)
{
    for (struct counter *counter = stats->first; counter != NULL; counter = counter->next) {
        if (strcmp(counter->name, name) == 0)
            return counter;
    }
    return NULL;
}

/* Gives -EEXIST and the old one in `out` when the name is taken. */
static int
stats_add(struct stats *stats, const char *name, const char *help, uint64_t (*value)(void *arg),
          void *arg, struct counter **out)
{
    struct counter *counter = calloc(1, sizeof *counter);
    struct counter *old;

    if (counter == NULL)
        return -ENOMEM;
    counter->name = strdup(name);
    counter->help = strdup(help != NULL ? help : "");
    if (counter->name == NULL || counter->help == NULL) {
        counter_free(counter);
        return -ENOMEM;
    }
    counter->value = value;
    counter->arg = arg;

    pthread_mutex_lock(&stats->lock);
    old = stats_find_locked(stats, name);
    if (old == NULL) {
        *stats->last = counter;
        stats->last = &counter->next;
        stats->count++;
    }
    pthread_mutex_unlock(&stats->lock);
    *out = old == NULL ? counter : old;
    if (old == NULL)
        return 0;
    counter_free(counter);
    return -EEXIST;
}

struct counter *
stats_counter(struct stats *stats, const char *name, const char *help)
{
    struct counter *counter = NULL;
    int rc = stats_add(stats, name, help, NULL, NULL, &counter);

    if (rc == -ENOMEM || counter->value != NULL)
        return NULL;
    return counter;
}

int
stats_gauge(struct stats *stats, const char *name, const char *help, uint64_t (*value)(void *arg),
            void *arg)
{
    struct counter *counter;

    return stats_add(stats, name, help, value, arg, &counter);
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
    if (counter == NULL)
        return 0;
    if (counter->value != NULL)
        return counter->value(counter->arg);
    return atomic_load_explicit(&counter->count, memory_order_relaxed);
}

void
stats_reset(struct stats *stats)
{
    pthread_mutex_lock(&stats->lock);
    for (struct counter *counter = stats->first; counter != NULL; counter = counter->next)
        atomic_store_explicit(&counter->count, 0, memory_order_relaxed);
    pthread_mutex_unlock(&stats->lock);
}

/* A gauge may take its owner's lock, under which that owner may be making a counter: so the list is
 * copied first and the gauges are read without stats->lock.  Entries live as long as the stats. */
static struct counter **
stats_snapshot(struct stats *stats, size_t *count)
{
    struct counter **all;

    pthread_mutex_lock(&stats->lock);
    *count = 0;
    all = malloc((stats->count + 1) * sizeof(struct counter *));
    if (all != NULL) {
        for (struct counter *counter = stats->first; counter != NULL; counter = counter->next)
            all[(*count)++] = counter;
    }
    pthread_mutex_unlock(&stats->lock);
    return all;
}

char *
stats_text(struct stats *stats)
{
    size_t count, bytes;
    struct counter **all = stats_snapshot(stats, &count);
    char *text = NULL;
    FILE *out;
    bool is_whole;

    if (all == NULL)
        return NULL;
    out = open_memstream(&text, &bytes);
    if (out == NULL)
        goto free_all;
    for (size_t i = 0; i < count; i++)
        fprintf(out, "%-30s %" PRIu64 "\n", all[i]->name, counter_value(all[i]));
    is_whole = !ferror(out);
    if (fclose(out) != 0 || !is_whole) {
        free(text);
        text = NULL;
    }
free_all:
    free(all);
    return text;
}

char *
stats_json(struct stats *stats)
{
    size_t count;
    struct counter **all = stats_snapshot(stats, &count);
    json_t *object = NULL;
    char *text = NULL;

    if (all == NULL)
        return NULL;
    object = json_object();
    if (object == NULL)
        goto free_all;
    for (size_t i = 0; i < count; i++) {
        uint64_t value = counter_value(all[i]);
        /* JSON integers end at 2^63 - 1 here; a gauge beyond it is shown as that. */
        json_int_t shown = value > INT64_MAX ? INT64_MAX : (json_int_t)value;

        if (json_object_set_new(object, all[i]->name, json_integer(shown)) != 0)
            goto free_object;
    }
    text = json_dumps(object, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
free_object:
    json_decref(object);
free_all:
    free(all);
    return text;
}
