/* SPDX-License-Identifier: Apache-2.0 */
/* Who may send now.
 *
 * At most `limit` hold a place.  A request that pauses gives its place back: a store that refuses some is still asked
 * for the others.  Whoever waits stands in the order in which the requests came first, so one that comes back from a
 * pause goes ahead of all that were never sent, and none starves.  (All of these were sent after it, so it finds its
 * place in the line by passing only others that come back, too.)
 *
 * What is done in the background (listings, deletes in bulk) waits in a line of its own: one of them at a time takes its
 * turn by age with all others, so that it does not starve; more only go while nobody else waits, and leave half of the
 * places for who comes next.
 *
 * The limit is `max` until the store is busy, which halves it; each `limit` requests that end well raise it by one
 * again.  What was sent before the last halving halves it no more: the store said so of the crowd as it was then.
 * `era` counts the halvings and is noted on each place. */
#include "places.h"

#include "base/clock.h"
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct line {
    struct place *first, *last; /* by age */
};

struct places {
    unsigned max; /* these: fixed after places_new */
    void (*go)(struct place *place);
    struct histogram *waits;

    pthread_mutex_t lock; /* guards the rest */
    unsigned held, held_peak;
    unsigned held_background; /* of held */
    unsigned limit;           /* of held, 1 to max */
    unsigned successes;       /* since the limit changed */
    uint64_t era, next_age;
    struct line front, background;
    unsigned waiting_count; /* in both */
};

/* The line whose first goes next; NULL: none may. */
static struct line *
next_line_locked(struct places *places)
{
    struct line *front = &places->front, *background = &places->background;
    unsigned background_max = places->limit > 1 ? places->limit / 2 : 1;

    if (places->held >= places->limit)
        return NULL;
    if (background->first != NULL && places->held_background < background_max
        && (front->first == NULL
            || (places->held_background == 0 && background->first->age < front->first->age)))
        return background;
    return front->first != NULL ? front : NULL;
}

/* Give free places to those that wait.  Returns them, linked, for all_go without the lock. */
static struct place *
fill_locked(struct places *places)
{
    struct place *first = NULL, **end = &first;
    struct line *line;

    while ((line = next_line_locked(places)) != NULL) {
        struct place *place = line->first;

        line->first = place->next;
        place->is_held = true;
        place->era = places->era;
        places->held++;
        places->waiting_count--;
        places->held_background += place->is_background;
        *end = place;
        end = &place->next;
    }
    *end = NULL;
    if (places->held > places->held_peak)
        places->held_peak = places->held;
    return first;
}

static void
all_go(struct places *places, struct place *first)
{
    uint64_t now = first != NULL ? clock_now_ns() : 0;

    while (first != NULL) {
        struct place *next = first->next; /* once it goes, it may be gone */

        histogram_add(places->waits, now - first->came_ns);
        places->go(first);
        first = next;
    }
}

static void
line_up_locked(struct places *places, struct place *place)
{
    struct line *line = place->is_background ? &places->background : &places->front;
    struct place *before = NULL;

    if (line->first != NULL && line->last->age < place->age) {
        before = line->last;
    } else {
        for (struct place *next = line->first; next != NULL && next->age < place->age;
             next = next->next)
            before = next;
    }
    place->next = before != NULL ? before->next : line->first;
    if (before != NULL)
        before->next = place;
    else
        line->first = place;
    if (place->next == NULL)
        line->last = place;
    places->waiting_count++;
}

void
places_get(struct places *places, struct place *place)
{
    struct place *next;

    assert(!place->is_held);
    place->came_ns = clock_now_ns();
    pthread_mutex_lock(&places->lock);
    if (place->age == 0)
        place->age = ++places->next_age;
    line_up_locked(places, place);
    next = fill_locked(places);
    pthread_mutex_unlock(&places->lock);
    all_go(places, next);
}

void
places_put(struct places *places, struct place *place, bool is_success)
{
    struct place *next;

    assert(place->is_held);
    place->is_held = false;
    pthread_mutex_lock(&places->lock);
    places->held--;
    places->held_background -= place->is_background;
    if (is_success && places->limit < places->max && ++places->successes >= places->limit) {
        places->limit++;
        places->successes = 0;
    }
    next = fill_locked(places);
    pthread_mutex_unlock(&places->lock);
    all_go(places, next);
}

void
places_lower(struct places *places, const struct place *place)
{
    unsigned limit = 0;

    assert(place->is_held);
    pthread_mutex_lock(&places->lock);
    if (place->era == places->era) {
        places->era++;
        places->successes = 0;
        if (places->limit > 1)
            limit = places->limit /= 2;
    }
    pthread_mutex_unlock(&places->lock);
    if (limit != 0)
        log_line(BD_DEBUG, "the store is busy: at most %u requests at once now", limit);
}

/* ---- life */

static uint64_t
value_of(struct places *places, const unsigned *value)
{
    uint64_t found;

    pthread_mutex_lock(&places->lock);
    found = *value;
    pthread_mutex_unlock(&places->lock);
    return found;
}

static uint64_t
held_now(void *arg)
{
    struct places *places = arg;

    return value_of(places, &places->held);
}

static uint64_t
waiting_now(void *arg)
{
    struct places *places = arg;

    return value_of(places, &places->waiting_count);
}

static uint64_t
held_peak(void *arg)
{
    struct places *places = arg;

    return value_of(places, &places->held_peak);
}

static uint64_t
limit_now(void *arg)
{
    struct places *places = arg;

    return value_of(places, &places->limit);
}

int
places_new(unsigned max, void (*go)(struct place *place), struct stats *stats, struct places **out)
{
    struct places *places = calloc(1, sizeof *places);

    assert(max >= 1);
    if (places == NULL)
        return -ENOMEM;
    places->max = places->limit = max;
    places->go = go;
    pthread_mutex_init(&places->lock, NULL);
    stats_gauge(stats, "requests_in_flight", "requests at the backend now", held_now, places);
    stats_gauge(stats, "requests_in_flight_max", "most requests at the backend at once so far",
                held_peak, places);
    stats_gauge(stats, "requests_in_flight_limit",
                "most requests that may be at the backend at once now", limit_now, places);
    stats_gauge(stats, "requests_waiting", "requests that wait for their turn to be sent",
                waiting_now, places);
    places->waits = stats_histogram(stats, "requests_wait_seconds",
                                    "waiting for the turn to be sent, again after each pause");
    *out = places;
    return 0;
}

void
places_free(struct places *places)
{
    if (places == NULL)
        return;
    assert(places->held == 0 && places->front.first == NULL && places->background.first == NULL);
    pthread_mutex_destroy(&places->lock);
    free(places);
}
