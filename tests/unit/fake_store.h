/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of the cache: a layer below it that does what the test says, requests from above, and a pool of
 * one worker, so that what the cache does by itself is done after cached_settle.
 *
 * The clock is the one of fake_backend.h.  Only the test's own thread may call what can fail the test. */
#ifndef UNIT_FAKE_STORE_H
#define UNIT_FAKE_STORE_H

#include "fake_backend.h"

#include "cache.h"

#define SECTORS 8u /* in a block, unless the test says otherwise */
#define BLOCK_BYTES (SECTORS * SECTOR_BYTES)
#define EVER_NS (1000000 * NS_PER_S)

/* ---- the layer below */

enum below_mode {
    BELOW_HOLDS,   /* until the test answers */
    BELOW_ANSWERS, /* at once, inside submit */
    BELOW_WANDERS, /* after a moment by chance, on threads of its own */
};

/* A request at the layer below. */
struct asked {
    struct below *below;
    struct asked *next;       /* not taken by the test yet */
    struct asked *there_next; /* not answered yet */
    struct store_req *req;
    unsigned char *data; /* WRITE: a copy */
    uint64_t *valid;     /* WRITE of some sectors: a copy */
    struct timer timer;
};

/* Holds `block_count` blocks, at first full of stored_byte; what is beyond is not kept.  Takes parts of blocks, and
 * flushes, if the cache was told so.  Each block has a version, another one after each write or zero; blocks that are
 * known to be zeros are absent. */
struct below {
    struct store store;
    struct pool *pool; /* BELOW_WANDERS */
    uint32_t block_bytes;
    uint64_t block_count;
    bool takes_parts;
    bool orders_blocks;   /* may have any number of requests for one block at once */
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t arrived;
    enum below_mode mode;
    unsigned char *data;
    bool *is_zero;               /* known to be */
    unsigned *versions;          /* of the blocks */
    bool is_silent;              /* tells no versions */
    struct asked *first, **last; /* not taken, oldest first */
    struct asked *there;
    unsigned asked[STORE_SEEK + 1]; /* how often */
    unsigned there_now, there_peak;
    int fail_rc[STORE_SEEK + 1]; /* BELOW_ANSWERS: what the next ones get */
    uint64_t seed;
    unsigned fail_one_in;  /* BELOW_WANDERS; 0: none fails */
    const char *violation; /* of what the cache promises; the first one */
};

unsigned char stored_byte(uint64_t block);
void below_mode(struct below *below, enum below_mode mode);
/* From now on the block is known to be zeros. */
void below_is_zero(struct below *below, uint64_t block);
unsigned below_asked(struct below *below, enum store_op op);
/* The sectors hold this byte. */
void below_expect_stored(struct below *below, uint64_t block, uint32_t sector, uint32_t sectors,
                         unsigned char fill);

#define ANY_BLOCK UINT64_MAX

/* Takes the oldest request of this kind for this block; waits for it. */
struct asked *below_expect(struct below *below, enum store_op op, uint64_t block);
/* The sectors that are being written hold this byte. */
void asked_expect_data(struct asked *asked, uint32_t sector, uint32_t sectors, unsigned char fill);
/* Of a write, these sectors are valid and no others. */
void asked_expect_valid(struct asked *asked, uint32_t sector, uint32_t sectors);
void below_init(struct below *below, uint32_t block_bytes, uint64_t block_count);
/* Fails the test if something that was promised was broken, or is under way. */
void below_end(struct below *below);
/* Nothing was asked that the test did not take. */
void below_expect_nothing(struct below *below);
/* Carry it out, unless rc is an error, and complete it. */
void asked_answer(struct asked *asked, int rc);
void below_answer(struct below *below, enum store_op op, uint64_t block, int rc);

/* ---- the cache over it */

struct cached {
    struct below below;
    struct cache_config config;
    struct pool *pool;
    struct stats *stats;
    struct store *store; /* the cache; NULL when the test has freed it */
};

/* What the config leaves 0: blocks of SECTORS sectors, 64 of them, 16 cached, 8 requests in flight, ten seconds in a row
 * before a write is stored, no read-ahead. */
struct cached *cached_new(struct cache_config config);
/* With more workers nothing is known to be done after cached_settle. */
struct cached *cached_new_with(struct cache_config config, unsigned workers);
/* All requests must have been answered.  Flushes. */
void cached_free(struct cached *cached);
/* All that the cache does by itself for now is done. */
void cached_settle(struct cached *cached);
/* Time passes; what is due then is done. */
void cached_sleep(struct cached *cached, uint64_t ns);
/* The cache asks for nothing that the test did not take. */
void cached_expect_quiet(struct cached *cached);
uint64_t cached_counter(struct cached *cached, const char *name);
uint64_t cached_gauge(struct cached *cached, const char *name);

/* ---- requests from above */

struct wish {
    struct store_req req;
    sem_t done;
    uint64_t valid; /* for who gives parts of blocks */
    unsigned char data[BLOCK_BYTES];
};

void wish_submit(struct store *store, struct wish *wish, struct store_req req);

void wish_read(struct cached *cached, struct wish *wish, uint64_t block, uint32_t sector,
               uint32_t sectors);
void wish_write(struct cached *cached, struct wish *wish, uint64_t block, uint32_t sector,
                uint32_t sectors, unsigned char fill);
void wish_write_zeros(struct cached *cached, struct wish *wish, uint64_t block, uint32_t sector,
                      uint32_t sectors);
void wish_write_bytes(struct cached *cached, struct wish *wish, uint64_t block, uint32_t offset,
                      uint32_t bytes, unsigned char fill);
void wish_zero(struct cached *cached, struct wish *wish, uint64_t block, uint64_t count);
void wish_flush(struct cached *cached, struct wish *wish);
void wish_seek(struct cached *cached, struct wish *wish, uint64_t block, uint64_t end,
               bool want_data);
bool wish_is_done(struct wish *wish);
/* Waits; returns its rc. */
int wish_end(struct wish *wish);
void expect_done(struct wish *wish, int rc);
/* A read ends well, with this byte all over. */
void wish_expect(struct wish *wish, unsigned char fill);

/* A read, and what it must give. */
void expect_read(struct cached *cached, uint64_t block, uint32_t sector, uint32_t sectors,
                 unsigned char fill);
/* A write that is accepted without waiting for anything. */
void write_now(struct cached *cached, uint64_t block, uint32_t sector, uint32_t sectors,
               unsigned char fill);
/* The cache has the whole block, or it has not. */
bool is_cached(struct cached *cached, uint64_t block);
/* From now on it has. */
void fetch(struct cached *cached, uint64_t block);
/* A block that it has is dirty in one sector: it is stored whole if nobody stops it, but not at once. */
void make_dirty(struct cached *cached, uint64_t block, unsigned char fill);

/* ---- a request that is stuck while its data is being copied */

struct stuck {
    struct wish wish;
    struct cached *cached;
    unsigned char *data; /* whoever touches it waits */
    sem_t touched, go_on;
    pthread_t thread;
};

/* Begin the request on a thread of its own; returns when it is in the middle of copying.  One at a time. */
void stuck_read(struct cached *cached, struct stuck *stuck, uint64_t block, uint32_t sector,
                uint32_t sectors);
void stuck_write(struct cached *cached, struct stuck *stuck, uint64_t block, uint32_t sector,
                 uint32_t sectors, unsigned char fill);
/* Let it go on, wait until it is done.  Its rc. */
int stuck_end(struct stuck *stuck);

#endif
