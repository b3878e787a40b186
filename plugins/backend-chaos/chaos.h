/* SPDX-License-Identifier: Apache-2.0 */
/* backend-chaos's own parts, a section for each file.
 *
 * Any thread may call any of them; those that init and free have the instance to themselves.  Each
 * lock is taken alone. */
#ifndef BACKEND_CHAOS_H
#define BACKEND_CHAOS_H

#include <bucketdisk/sdk.h>

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#define OPS (BD_LIST + 1u) /* as many as we know */

/* What can be done to a request; a number of each kind is part of its decisions' hash. */
enum fault {
    RETRY,
    DENIED,
    FULL,
    FATAL,
    LOST,
    LATE,
    CORRUPT,
    TRUNCATE,
    STALE,
    DISCARD,
    DIE,
    DELAY,
    BUSY,
    FAULTS
};

/* ---- copy.c: a copy of a write, which is only borrowed */

/* All that it asks for, in memory of ours.  NULL: out of memory. */
struct bd_io *copy_new(const struct bd_io *io);
void copy_free(struct bd_io *copy);

/* ---- dice.c: a number for each request, the same in every replay */

struct count;

struct dice {
    uint64_t seed;
    pthread_mutex_t lock;            /* guards the following */
    struct count *counts;            /* a hash table with open addressing, at most half full */
    size_t counts_used, counts_room; /* room: a power of two, or 0 */
};

/* All of these begin with a zeroed struct. */
void dice_init(struct dice *dice, uint64_t seed);
void dice_free(struct dice *dice);
/* The number of a request: `op` came for `name`, once more. */
uint64_t dice_throw(struct dice *dice, uint32_t op, const char *name);
/* What one kind of fault makes of that number. */
uint64_t dice_draw(uint64_t thrown, enum fault fault);
uint64_t hash_mix(uint64_t x);
uint64_t hash_text(const char *text);

/* ---- versions.c: what was written last and before that */

struct version;
struct memory;

#define BUCKETS 4096u

struct versions {
    const struct bd_host *host;
    uint64_t bytes_max;
    pthread_mutex_t lock; /* guards the following */
    struct memory *buckets[BUCKETS];
    struct memory *oldest, *newest;
    uint64_t bytes;
};

void versions_init(struct versions *versions, const struct bd_host *host, uint64_t bytes_max);
void versions_free(struct versions *versions);

/* A PUT goes its way: the version that it will make, for versions_put or version_drop.  NULL when
 * out of memory, and then the version is simply not known. */
struct version *version_of_put(struct versions *versions, const struct bd_io *io);
void version_drop(struct versions *versions, struct version *version);
/* The PUT was done, by `child`, which holds the tag.  Takes both; `version` may be NULL. */
void versions_put(struct versions *versions, const char *name, struct version *version,
                  struct bd_io *child);
/* There is no object of this name now. */
void versions_delete(struct versions *versions, const char *name);
/* Is the latest version known? */
bool versions_know(struct versions *versions, const char *name);
/* Fill the results of a GET with the version before the latest.  False when none is known. */
bool versions_give(struct versions *versions, struct bd_io *io, enum bd_status *status);

/* ---- late.c: writes that are done when their request was answered long ago */

struct lates {
    const struct bd_host *host;
    const struct bd_lower *lower;
    pthread_mutex_t lock; /* guards count */
    pthread_cond_t none_cond;
    uint64_t count;
};

void lates_init(struct lates *lates, const struct bd_host *host, const struct bd_lower *lower);
/* Waits until all are done. */
void lates_free(struct lates *lates);
/* Do this write at that time.  Borrows `io`.  False when out of memory: then it is not done. */
bool late_write(struct lates *lates, const struct bd_io *io, uint64_t at_ns);

#endif
