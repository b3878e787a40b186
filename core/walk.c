/* SPDX-License-Identifier: Apache-2.0 */
/* All blocks that exist, for commands. */
#include "walk.h"

#include "base/clock.h"
#include "base/cond.h"
#include "base/util.h"
#include "survey.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_EVERY_NS (NS_PER_S / 10)
#define BLOCKS_FIRST 1024u

/* ---- waiting for workers, with an eye on signals and the bar */

struct waiting {
    struct walk *walk;
    struct progress *progress;
    pthread_mutex_t lock; /* guards is_done, and what of its owner says so */
    pthread_cond_t changed;
    bool is_done;
    bool is_interrupted; /* the waiting thread's own */
};

static void
waiting_begin(struct waiting *waiting, struct walk *walk, struct progress *progress)
{
    *waiting = (struct waiting){ .walk = walk, .progress = progress };
    pthread_mutex_init(&waiting->lock, NULL);
    cond_init(&waiting->changed);
}

/* Whoever is interrupted waits for no answer but those to what was sent. */
static void
waiting_end(struct waiting *waiting)
{
    struct walk *walk = waiting->walk;

    pthread_mutex_lock(&waiting->lock);
    while (!waiting->is_done) {
        pthread_mutex_unlock(&waiting->lock);
        if (*walk->is_interrupted != 0 && !waiting->is_interrupted) {
            waiting->is_interrupted = true;
            objects_pause(walk->objects, true);
        }
        progress_draw(waiting->progress);
        pthread_mutex_lock(&waiting->lock);
        if (!waiting->is_done)
            cond_wait_ns(&waiting->changed, &waiting->lock, LOOK_EVERY_NS);
    }
    pthread_mutex_unlock(&waiting->lock);
    if (waiting->is_interrupted)
        objects_pause(walk->objects, false);
    pthread_cond_destroy(&waiting->changed);
    pthread_mutex_destroy(&waiting->lock);
}

/* ---- listing */

struct listing {
    struct waiting waiting;
    size_t room;
    int rc;
};

static void
listing_found(void *arg, uint64_t block, uint64_t object_bytes)
{
    struct listing *listing = arg;
    struct walk *walk = listing->waiting.walk;

    pthread_mutex_lock(&listing->waiting.lock);
    if (walk->count == listing->room) {
        size_t room = listing->room == 0 ? BLOCKS_FIRST : listing->room * 2;
        struct walk_block *blocks = realloc(walk->blocks, room * sizeof *blocks);

        if (blocks != NULL) {
            walk->blocks = blocks;
            listing->room = room;
        } else {
            listing->rc = -ENOMEM;
        }
    }
    if (walk->count < listing->room)
        walk->blocks[walk->count++] =
            (struct walk_block){ (uint32_t)block,
                                 object_bytes < UINT32_MAX ? (uint32_t)object_bytes : UINT32_MAX };
    pthread_mutex_unlock(&listing->waiting.lock);
    progress_add(listing->waiting.progress, 1, object_bytes);
}

static bool
listing_is_enough(void *arg)
{
    struct listing *listing = arg;
    bool is_enough;

    pthread_mutex_lock(&listing->waiting.lock);
    is_enough = listing->rc != 0;
    pthread_mutex_unlock(&listing->waiting.lock);
    return is_enough || *listing->waiting.walk->is_interrupted != 0;
}

static void
listing_done(void *arg, int rc)
{
    struct listing *listing = arg;

    pthread_mutex_lock(&listing->waiting.lock);
    if (listing->rc == 0)
        listing->rc = rc;
    listing->waiting.is_done = true;
    pthread_cond_signal(&listing->waiting.changed);
    pthread_mutex_unlock(&listing->waiting.lock);
}

static int
by_number(const void *a, const void *b)
{
    uint32_t first = ((const struct walk_block *)a)->number;
    uint32_t second = ((const struct walk_block *)b)->number;

    return (first > second) - (first < second);
}

/* A block at the border of two listings may come from both. */
static void
sort_out(struct walk *walk)
{
    size_t kept = 0;

    if (walk->count > 0)
        qsort(walk->blocks, walk->count, sizeof *walk->blocks, by_number);
    walk->bytes = 0;
    for (size_t i = 0; i < walk->count; i++) {
        if (kept > 0 && walk->blocks[kept - 1].number == walk->blocks[i].number)
            continue;
        walk->bytes += walk->blocks[i].bytes;
        walk->blocks[kept++] = walk->blocks[i];
    }
    walk->count = kept;
}

int
walk_list(struct walk *walk, struct error *why)
{
    struct progress progress;
    struct listing listing = { .rc = 0 };
    const struct survey_config config = { .layout = walk->layout,
                                          .objects = walk->objects,
                                          .end = walk->layout->block_count,
                                          .listers_max = walk->listers_max,
                                          .found = listing_found,
                                          .is_enough = listing_is_enough,
                                          .done = listing_done,
                                          .arg = &listing };
    struct survey *survey;

    walk_clear(walk);
    if (survey_new(&config, &survey) != 0)
        return error_set(why, -ENOMEM, "out of memory");
    progress_begin(&progress, "listing blocks", 0, walk->is_quiet);
    waiting_begin(&listing.waiting, walk, &progress);
    survey_start(survey);
    waiting_end(&listing.waiting);
    progress_end(&progress);
    sort_out(walk);
    if (*walk->is_interrupted != 0)
        return error_set(why, -EINTR, "interrupted while the blocks were listed");
    if (listing.rc == -ENOMEM)
        return error_set(why, -ENOMEM, "out of memory");
    why->text[0] = '\0';
    return listing.rc;
}

/* ---- visiting */

struct walking {
    struct waiting waiting;
    const struct visitor *visitor;
    size_t next, end; /* these: guarded by waiting.lock */
    unsigned active;
    int rc;
    struct error why;
};

static void visit_done(struct object_req *req);

/* Send it to the next blocks; or its way ends. */
static void
visit_next(struct visit *visit)
{
    struct walking *walking = visit->walking;
    struct walk *walk = walking->waiting.walk;
    size_t left;
    bool goes_on;

    pthread_mutex_lock(&walking->waiting.lock);
    left = walking->end - walking->next;
    if (left > 0 && walking->rc == 0 && *walk->is_interrupted != 0)
        walking->rc = -EINTR;
    goes_on = left > 0 && walking->rc == 0;
    if (goes_on) {
        visit->blocks = &walk->blocks[walking->next];
        visit->count =
            left < visit->visitor->blocks_max ? (unsigned)left : visit->visitor->blocks_max;
        walking->next += visit->count;
    } else {
        walking->active--;
        walking->waiting.is_done = walking->active == 0;
        pthread_cond_signal(&walking->waiting.changed);
    }
    pthread_mutex_unlock(&walking->waiting.lock);
    if (!goes_on)
        return; /* nothing of this is ours any more */
    visit->why.text[0] = '\0';
    visit->req = (struct object_req){ .why = &visit->why, .done = visit_done };
    visit->visitor->begin(visit);
    objects_submit(walk->objects, &visit->req);
}

static void
visit_done(struct object_req *req)
{
    struct visit *visit = container_of(req, struct visit, req);
    struct walking *walking = visit->walking;
    int rc = visit->visitor->end(visit);

    /* These may have come before the request was even sent, and so would those of all further ones. */
    if (rc == 0 && (req->rc == -ECANCELED || req->rc == -ENOMEM))
        rc = req->rc;
    pthread_mutex_lock(&walking->waiting.lock);
    if (walking->rc == 0 && rc != 0) {
        walking->rc = rc;
        walking->why = visit->why;
    }
    pthread_mutex_unlock(&walking->waiting.lock);
    visit_next(visit);
}

int
walk_visit(struct walk *walk, const struct visitor *visitor, size_t first, size_t end,
           struct error *why)
{
    struct walking walking = { .visitor = visitor, .next = first, .end = end };
    size_t visits_max = (end - first + visitor->blocks_max - 1) / visitor->blocks_max;
    unsigned count = visits_max < walk->visits_max ? (unsigned)visits_max : walk->visits_max;
    struct visit *visits = calloc(count + 1, sizeof *visits);
    char *data = malloc(count * visitor->data_bytes + 1);

    if (visits == NULL || data == NULL) {
        free(data);
        free(visits);
        return error_set(why, -ENOMEM, "out of memory");
    }
    waiting_begin(&walking.waiting, walk, &walk->progress);
    walking.active = count;
    walking.waiting.is_done = count == 0;
    for (unsigned i = 0; i < count; i++) {
        visits[i].visitor = visitor;
        visits[i].walking = &walking;
        visits[i].data = data + i * visitor->data_bytes;
        visit_next(&visits[i]);
    }
    waiting_end(&walking.waiting);
    free(data);
    free(visits);
    if (walking.rc == -EINTR || (walking.waiting.is_interrupted && walking.rc == -ECANCELED))
        return error_set(why, -EINTR, "interrupted");
    if (walking.rc == -ENOMEM)
        return error_set(why, -ENOMEM, "out of memory");
    if (walking.rc != 0)
        *why = walking.why;
    return walking.rc;
}

void
walk_clear(struct walk *walk)
{
    free(walk->blocks);
    walk->blocks = NULL;
    walk->count = 0;
    walk->bytes = 0;
}
