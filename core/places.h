/* SPDX-License-Identifier: Apache-2.0 */
/* Who may send now: so many requests at once, fewer while the store asks for that, and the line of those who wait. */
#ifndef CORE_PLACES_H
#define CORE_PLACES_H

#include "base/stats.h"

#include <stdbool.h>
#include <stdint.h>

struct places;

/* What one request has of them, from zeros on; all of it is theirs. */
struct place {
    struct place *next;
    uint64_t age;     /* the lower, the earlier it came for a place first; 0: did not yet */
    uint64_t era;     /* when it was given one */
    uint64_t came_ns; /* for this one */
    bool is_held;
    bool is_background; /* set by who comes: makes way for others, see below */
};

/* At most `max` at once, at least 1; of those in the background at most half (or 1), and more than one only while nobody
 * else waits.  `go` is called, without any lock, for each that is given a place: on the thread
 * that came for it, or on one that gave another one back. */
int places_new(unsigned max, void (*go)(struct place *place), struct stats *stats,
               struct places **out);
/* None is held, and nobody waits. */
void places_free(struct places *places);

/* Come for a place: goes at once, or when it is its turn. */
void places_get(struct places *places, struct place *place);
/* Give it back: others may go.  It may come again, and keeps its age. */
void places_put(struct places *places, struct place *place, bool is_success);
/* The store has asked, of the request that holds this place, for fewer at once. */
void places_lower(struct places *places, const struct place *place);

#endif
