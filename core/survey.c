/* SPDX-License-Identifier: Apache-2.0 */
/* Finds out by listing which blocks have an object.
 *
 * A lister goes through a range of keys (layout.h) page by page; the first one begins with all that was asked for.
 * After each page, as many more as may be are started, each on the rear half of the range that has most left to list.
 * So a small volume costs one request; and wherever the blocks are, the listers soon are there, too: a page begins with
 * the next block however far away it is, and an empty part costs one request, then its lister helps elsewhere.
 *
 * What is left of a range is guessed from how dense the last page was: not the keys count, but the pages that they may
 * hold.  A range of which no page has come yet may be full or empty, so it waits for that.  What the page on its way
 * will probably list is not given away, nor is less than a page.
 *
 * A page does not end where its range ends: what it brings beyond has been paid for, and is told. */
#include "survey.h"

#include "base/util.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BLOCKS_AT_ONCE 256u /* told together */

struct lister {
    struct survey *survey;
    struct object_req object;
    struct lister *next; /* to be started */

    /* Its own, between submit and done: */
    /* blocks before it, from its first one on, have been told; not in a hashed layout */
    uint64_t told_end;
    uint64_t first_key, last_key; /* of this page's */
    uint64_t page_blocks;
    unsigned count;
    uint64_t blocks[BLOCKS_AT_ONCE]; /* not told yet */

    /* Guarded by the survey's lock: */
    bool is_active;
    uint64_t cursor, end; /* keys that are left; none, if it is not active and nothing failed */
    uint64_t keys,
        entries; /* of the last page that brought blocks: so many among so many keys; 0, 0 */
};

struct survey {
    struct survey_config config; /* these: fixed after survey_new */
    uint64_t first, end;         /* keys */
    uint64_t page_max;

    pthread_mutex_t lock; /* guards the rest; not held while calling out */
    unsigned active;
    bool is_ending; /* no further pages */
    int rc;
    struct lister listers[];
};

/* ---- sharing the work */

static void
begin_locked(struct lister *lister, uint64_t from, uint64_t end)
{
    const struct layout *layout = lister->survey->config.layout;

    lister->is_active = true;
    lister->cursor = from;
    lister->end = end;
    lister->keys = lister->entries = 0;
    lister->told_end = from;
    layout_name_before(layout, from, lister->object.list_from);
    lister->survey->active++;
}

/* The range with most to give away; NULL: none has enough. */
static struct lister *
fullest_locked(struct survey *survey, uint64_t *middle)
{
    struct lister *fullest = NULL;
    uint64_t most = survey->page_max - 1;

    for (unsigned i = 0; i < survey->config.listers_max; i++) {
        struct lister *lister = &survey->listers[i];
        uint64_t ahead, left, blocks;

        if (!lister->is_active || lister->entries == 0)
            continue;
        ahead = survey->page_max * lister->keys / lister->entries;
        if (lister->end - lister->cursor <= ahead)
            continue;
        left = lister->end - lister->cursor - ahead;
        blocks = left * lister->entries / lister->keys;
        if (blocks <= most)
            continue;
        most = blocks;
        fullest = lister;
        *middle = lister->cursor + ahead + left / 2;
    }
    return fullest;
}

static struct lister *
idle_locked(struct survey *survey)
{
    for (unsigned i = 0; i < survey->config.listers_max; i++) {
        if (!survey->listers[i].is_active)
            return &survey->listers[i];
    }
    return NULL;
}

/* Puts new listers in front of `chain`. */
static struct lister *
spread_locked(struct survey *survey, struct lister *chain)
{
    struct lister *lister, *fullest;
    uint64_t middle;

    while (!survey->is_ending && (lister = idle_locked(survey)) != NULL
           && (fullest = fullest_locked(survey, &middle)) != NULL) {
        begin_locked(lister, middle, fullest->end);
        fullest->end = middle;
        lister->next = chain;
        chain = lister;
    }
    return chain;
}

static void
all_start(struct survey *survey, struct lister *chain)
{
    while (chain != NULL) {
        struct lister *next = chain->next; /* once it is started, all may be gone */

        objects_submit(survey->config.objects, &chain->object);
        chain = next;
    }
}

/* ---- one page */

static void
tell(struct lister *lister, uint64_t end)
{
    const struct survey_config *config = &lister->survey->config;
    uint64_t told_end = end > lister->told_end ? end : lister->told_end;
    bool is_hashed = config->layout->is_hashed; /* neighbours in number are none in the listing */

    if (config->learnt != NULL)
        config->learnt(config->arg, lister->blocks, lister->count, is_hashed ? 0 : lister->told_end,
                       is_hashed ? 0 : told_end);
    lister->told_end = told_end;
    lister->count = 0;
}

static void
page_found(struct object_req *object, uint64_t block, uint64_t object_bytes)
{
    struct lister *lister = container_of(object, struct lister, object);
    const struct survey_config *config = &lister->survey->config;

    if (config->found != NULL)
        config->found(config->arg, block, object_bytes);
    lister->blocks[lister->count++] = block;
    lister->last_key = layout_key(lister->survey->config.layout, block);
    if (lister->page_blocks++ == 0)
        lister->first_key = lister->last_key;
    if (lister->count == BLOCKS_AT_ONCE)
        tell(lister, 0); /* what lies between is not told before the page has come well */
}

/* Note how far the page went.  Returns whether the range is at its end. */
static bool
page_ends_range_locked(struct lister *lister)
{
    const struct survey *survey = lister->survey;
    const struct layout *layout = survey->config.layout;
    object_name end_name;

    if (lister->page_blocks > 0 && lister->last_key >= lister->cursor) {
        lister->keys = lister->last_key - lister->first_key + 1;
        lister->entries = lister->page_blocks;
        /* Of its key, a hashed layout may have more. */
        lister->cursor = lister->last_key + !layout->is_hashed;
    }
    if (lister->cursor > lister->end)
        lister->cursor = lister->end;
    if (lister->object.list_ended)
        return true;
    layout_name_before(layout, lister->end, end_name);
    return strcmp(lister->object.list_from, end_name) >= 0;
}

static void
survey_end(struct survey *survey)
{
    const struct survey_config config = survey->config;
    int rc = survey->rc;

    /* Only the end of all parts shows what none of them had. */
    if (config.layout->is_hashed && !survey->is_ending && config.learnt != NULL)
        config.learnt(config.arg, NULL, 0, 0, config.layout->block_count);
    pthread_mutex_destroy(&survey->lock);
    free(survey);
    config.done(config.arg, rc);
}

static void
page_done(struct object_req *object)
{
    struct lister *lister = container_of(object, struct lister, object), *chain = NULL;
    struct survey *survey = lister->survey;
    const struct survey_config *config = &survey->config;
    uint64_t end = 0;
    bool is_range_end, is_enough, is_last;

    pthread_mutex_lock(&survey->lock);
    if (object->rc != 0 && !survey->is_ending) {
        survey->rc = object->rc;
        survey->is_ending = true;
    }
    is_range_end = object->rc == 0 && page_ends_range_locked(lister);
    if (is_range_end) {
        end = lister->end;
        lister->cursor = end; /* nothing to give away */
    }
    pthread_mutex_unlock(&survey->lock);

    /* Of a page that failed, only what exists. */
    tell(lister, object->rc == 0 && lister->page_blocks > 0 ? lister->last_key + 1 : 0);
    if (is_range_end)
        tell(lister, object->list_ended ? config->layout->block_count : end);
    is_enough = object->rc == 0 && config->is_enough != NULL && config->is_enough(config->arg);

    pthread_mutex_lock(&survey->lock);
    survey->is_ending = survey->is_ending || is_enough;
    lister->page_blocks = 0;
    if (is_range_end || survey->is_ending) {
        lister->is_active = false;
        survey->active--;
    } else {
        lister->next = NULL;
        chain = lister;
    }
    chain = spread_locked(survey, chain);
    is_last = survey->active == 0;
    pthread_mutex_unlock(&survey->lock);
    all_start(survey, chain);
    if (is_last)
        survey_end(survey);
}

/* ---- life */

unsigned
survey_percent(struct survey *survey)
{
    uint64_t all = survey->end - survey->first, left = 0;

    pthread_mutex_lock(&survey->lock);
    for (unsigned i = 0; i < survey->config.listers_max; i++)
        left += survey->listers[i].end - survey->listers[i].cursor;
    pthread_mutex_unlock(&survey->lock);
    return (unsigned)((all - left) * 100 / all);
}

void
survey_start(struct survey *survey)
{
    struct lister *first = &survey->listers[0];

    pthread_mutex_lock(&survey->lock);
    begin_locked(first, survey->first, survey->end);
    pthread_mutex_unlock(&survey->lock);
    all_start(survey, first);
}

int
survey_new(const struct survey_config *config, struct survey **out)
{
    const struct layout *layout = config->layout;
    struct survey *survey =
        calloc(1, sizeof *survey + config->listers_max * sizeof survey->listers[0]);

    assert(config->listers_max > 0 && config->first < config->end
           && config->end <= layout->block_count);
    if (survey == NULL)
        return -ENOMEM;
    survey->config = *config;
    survey->first = layout->is_hashed ? 0 : config->first;
    survey->end = layout->is_hashed ? layout_key_count(layout) : config->end;
    survey->page_max = objects_list_max(config->objects);
    for (unsigned i = 0; i < config->listers_max; i++) {
        struct lister *lister = &survey->listers[i];

        lister->survey = survey;
        lister->object.op = OBJECT_LIST;
        lister->object.found = page_found;
        lister->object.done = page_done;
        lister->object.is_over = config->is_over;
        lister->object.is_background = config->is_background || i > 0;
    }
    pthread_mutex_init(&survey->lock, NULL);
    *out = survey;
    return 0;
}
