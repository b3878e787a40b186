/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of consistency share; the theory is in consistency.c. */
#ifndef CORE_CONSISTENCY_INNER_H
#define CORE_CONSISTENCY_INNER_H

#include "consistency.h"

#include "base/rangelock.h"
#include "survey.h"
#include "zeromap.h"

#include <pthread.h>
#include <stdatomic.h>

/* The survey of everything: asked for, or begun by who needs it.  There is one at a time. */
struct survey_state {
    bool is_running;
    struct job *joined; /* go on when it has ended */
    struct timer delay;
    struct survey *survey;
    uint64_t percent;
    uint64_t started_ns, told_ns;
    void (*done)(void *arg, int rc); /* NULL: not asked for */
    void *done_arg;
};

struct consistency {
    struct store store;
    struct consistency_config config; /* these: fixed after consistency_new */
    struct objects *objects;
    struct pool *pool;
    struct rangelock *turns, *order;
    struct counter *zero_reads, *zero_writes, *held, *stale, *checks, *same;
    struct histogram *held_times;
    atomic_bool is_stopping;

    /* Guards the rest.  After turns and order; never held while calling out. */
    pthread_mutex_t lock;
    struct zeromap *map;
    struct recent *recent;
    uint64_t list_from_ns; /* before this, a listing shows what a dead daemon's writes may change */
    struct survey_state survey_state;
};

/* One request from above, until it ends. */
struct job {
    struct consistency *consistency;
    struct store_req *req;
    struct object_req object;
    struct range turn, range;
    struct timer timer;
    bool has_turn, has_range;
    bool is_held;      /* counted as such */
    uint64_t held_ns;  /* since when; 0: it goes on */
    bool is_unsettled; /* read, check: what it finds may still change by itself */
    uint64_t started_ns, pause_ns;
    struct recent_expected expected; /* read, check: when it was sent last */

    uint64_t cursor, end; /* zero, seek: the part that is left */
    void *zeros;          /* block 0's new content */
    /* Under the lock, as cursor is then: */
    unsigned batches; /* being deleted, and one for who still sends some */
    int rc; /* of the first batch that failed; of a write that has ended and not settled */
    uint64_t unsettled_ns; /* the last attempt of unknown outcome; 0: none */

    void (*listed)(struct job *job);
    struct job *next_joined; /* to the survey of everything */
};

/* Gives back what the job holds, and frees it. */
void consistency_end(struct job *job, int rc);
/* The same for what has written, when it has settled if others write, too. */
void consistency_end_write(struct job *job, int rc);
/* What is known of a block that was deleted, or was to be. */
enum block_state consistency_after_delete(const struct consistency *consistency, int rc);
/* Does the store show what was last written, and is it we who write?  Else nothing is ZERO by a read or a listing. */
bool consistency_trusts_store(const struct consistency *consistency);
/* The job's range must not be written yet: true, and `again` will be called when it may. */
bool consistency_holds(struct job *job, void (*again)(struct task *task));

/* List blocks of [from, job->end), or more, until that is enough; then goes on with job->listed(), or ends the job. */
void consistency_list(struct job *job, uint64_t from, unsigned listers_max,
                      bool (*is_enough)(void *arg));
uint64_t consistency_listed_percent(void *consistency);
void consistency_seek(struct job *job);

/* It is the turn of a STORE_ZERO. */
void consistency_zero_turn(struct range *turn);

#endif
