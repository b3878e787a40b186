/* SPDX-License-Identifier: Apache-2.0 */
/* Finds out by listing which blocks have an object: several listings at once, each of a part of the names.
 *
 * Tells facts about the store as it was while it listed; what was written meanwhile is the caller's business. */
#ifndef CORE_SURVEY_H
#define CORE_SURVEY_H

#include "objects.h"

struct survey;

struct survey_config {
    const struct layout *layout; /* borrowed until done, as all of these */
    struct objects *objects;
    uint64_t first, end;  /* of the blocks asked for; a hashed layout is always listed whole */
    unsigned listers_max; /* listings at once, at least 1 */
    bool is_background; /* makes way for others (places.h); all listings but the first always do */
    const atomic_bool *is_over; /* once true, it ends soon, with -ECANCELED; NULL: never */

    /* Blocks [first, end) have been listed: they exist that are among blocks[0..count) or were before, and no others.
     * These may lie outside of [first, end).  Often for a part, or for more than was asked for, or twice; on any thread, several at once. */
    void (*learnt)(void *arg, const uint64_t *blocks, unsigned count, uint64_t first,
                   uint64_t end); /* may be NULL */
    /* Each of them as it is listed, before it is told of; may be NULL. */
    void (*found)(void *arg, uint64_t block, uint64_t object_bytes);
    /* After each page.  True: this is enough, and the survey ends well.  As learnt; may be NULL. */
    bool (*is_enough)(void *arg);
    /* After all calls of the others; the survey is gone then.  A listing that failed ends the others. */
    void (*done)(void *arg, int rc);
    void *arg;
};

int survey_new(const struct survey_config *config, struct survey **out);
/* Any thread; may call back inside. */
void survey_start(struct survey *survey);
/* How much of the order of names is listed, in percent.  Any thread, until done. */
unsigned survey_percent(struct survey *survey);

#endif
