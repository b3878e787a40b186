/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of the layers below the cache: a backend that records requests and answers when the test says
 * so, a clock that the test moves on, and the layers over them.
 *
 * The clock replaces core's in every test program that uses this file.  It runs like the real one until
 * clock_jump, and from then on ahead of it. */
#ifndef UNIT_FAKE_BACKEND_H
#define UNIT_FAKE_BACKEND_H

#include "test.h"

#include "base/clock.h"
#include "base/util.h"
#include "consistency.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>

/* Of the layers: 0 is a default that does not disturb. */
struct rig_config {
    uint64_t block_count; /* 64 */
    bool is_hashed;
    const char *prefix;
    bool is_inconsistent; /* the store does not promise to read what was written */
    bool is_reader;       /* somebody else writes */
    bool is_shared;       /* and so do we */
    bool has_no_delete_many;
    uint32_t delete_many_max;                                     /* 1000 */
    uint32_t list_max;                                            /* 1000 */
    unsigned in_flight_max;                                       /* 16 */
    unsigned listers_max;                                         /* 1 */
    uint64_t retry_pause_ns;                                      /* 1 ms */
    uint64_t stall_read_ns, stall_write_ns;                       /* 120 s, 600 s */
    uint64_t settle_ns, write_gap_ns, tag_keep_ns, tag_count_max; /* as in consistency_config */
};

#define RIG_BLOCK_BYTES 512u

struct fake {
    const struct rig_config *config;
    const struct bd_host *host;
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t arrived;
    struct fake_request *first, **last; /* not taken by the test yet, oldest first */
    unsigned in_flight, in_flight_peak;
};

/* A request as the store sees it; copied, and valid until it is answered. */
struct fake_request {
    struct fake *fake;
    struct fake_request *next;
    struct bd_io *io;
    uint32_t op;
    char name[80]; /* of DELETE_MANY: the first */
    unsigned char *body;
    size_t body_bytes;
    char encoding[80];
    char attrs[256]; /* "NAME=VALUE;" of each */
    char start_after[80];
    char (*names)[80];
    uint32_t name_count;
};

/* The layers over a fake. */
struct rig {
    struct rig_config config;
    struct fake fake;
    struct pool *pool;
    struct stats *stats;
    struct backend *backend;
    struct plugins plugins; /* none */
    struct chain *chain;
    struct layout layout;
    struct objects *objects;
    struct store *store;
};

void rig_open(struct rig *rig, const struct rig_config *config);
/* Everything must have been answered. */
void rig_close(struct rig *rig);
uint64_t rig_counter(struct rig *rig, const char *name);
uint64_t rig_gauge(struct rig *rig, const char *name);
/* Answer BD_RETRY, BD_UNKNOWN or a bad body has been given: wait until the pause before attempt `retries` + 1
 * counts, so that the clock can be moved on. */
void rig_wait_retries(struct rig *rig, uint64_t retries);
/* The same for writes that are held, and for reads that were stale. */
void rig_wait_held(struct rig *rig, uint64_t writes);
void rig_wait_stale(struct rig *rig, uint64_t reads);
/* Wait until all answers have been looked at, and what they lead to has come. */
void rig_catch_up(struct rig *rig);

/* Move the clock on and run what has become due. */
void clock_jump(struct pool *pool, uint64_t ns);

/* ---- what the store sees and says.  All of these fail the test when nothing comes within 20 seconds. */

struct fake_request *fake_next(struct fake *fake);
/* One that has come; NULL: none has.  Does not wait. */
struct fake_request *fake_take(struct fake *fake);
/* The next request is this one. */
struct fake_request *fake_expect(struct fake *fake, uint32_t op, const char *name);
struct fake_request *fake_expect_block(struct fake *fake, uint32_t op, uint64_t block);
/* For a moment, no request comes. */
void fake_expect_quiet(struct fake *fake);
unsigned fake_in_flight_peak(struct fake *fake);

void fake_answer(struct fake_request *request, enum bd_status status);
void fake_answer_tag(struct fake_request *request, enum bd_status status, const char *tag);
void fake_answer_retry_after(struct fake_request *request, uint32_t ms);
/* GET: this body. */
void fake_give(struct fake_request *request, const void *body, size_t bytes, const char *tag);
/* GET: a block full of this byte. */
void fake_give_block(struct fake_request *request, unsigned char fill, const char *tag);
/* LIST: names out of this list, sorted, that lie behind start_after, as many as one page has. */
void fake_give_names(struct fake_request *request, const char *const *names, unsigned count);
/* DELETE_MANY: OK but for the one with this name, if it is there. */
void fake_answer_some(struct fake_request *request, const char *name, enum bd_status status);

/* ---- requests of a layer above */

struct call {
    struct store_req req;
    sem_t done;
    struct store_version version; /* READ, WRITE: what was told of it */
    unsigned char data[RIG_BLOCK_BYTES];
};

void call_read(struct rig *rig, struct call *call, uint64_t block);
void call_write(struct rig *rig, struct call *call, uint64_t block, unsigned char fill);
void call_zero(struct rig *rig, struct call *call, uint64_t block, uint64_t count);
void call_flush(struct rig *rig, struct call *call);
/* Is it this version? */
void call_check(struct rig *rig, struct call *call, uint64_t block,
                const struct store_version *version);
void call_seek(struct rig *rig, struct call *call, uint64_t block, uint64_t end, bool want_data);
/* Waits; returns its rc and ends the call. */
int call_end(struct call *call);
bool call_is_done(struct call *call);
/* It ends well with a block full of this byte. */
void call_expect_block(struct call *call, unsigned char fill);

/* sem_wait that fails the test after 20 seconds. */
void wait_for(sem_t *sem);
/* BUCKETDISK_SEED, or one from the clock; printed. */
uint64_t test_seed(void);
/* The next of a sequence. */
uint64_t random_next(uint64_t *state);

#endif
