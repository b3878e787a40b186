/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of layers with many threads at once.
 *
 * Each thread owns one sector of every block, which nobody else writes, so that it knows what must be there.
 * Whole blocks are written and zeroed too: by one thread at a time, while no other has a request under way. */
#ifndef UNIT_HANDS_H
#define UNIT_HANDS_H

#include "fake_store.h"

#include <stdatomic.h>

#define HANDS SECTORS
#define HANDS_BLOCKS 24u
#define HANDS_BATCH_MAX 4u

/* A thread. */
struct hand {
    struct hands *hands;
    pthread_t thread;
    unsigned number;
    uint64_t seed;
    char problem[200]; /* the first one */
    struct wish wishes[HANDS_BATCH_MAX];
};

struct hands {
    /* Filled by the test. */
    struct store *store;
    void (*begin)(struct hand *hand, struct wish *wish,
                  uint64_t block); /* a read, or a write of the own sector */
    void (*tick)(void *arg,
                 unsigned number); /* time flies, so that delays and pauses are no wait */
    void *arg;
    unsigned rounds;       /* of each thread */
    bool may_be_cancelled; /* a request */
    bool is_sync; /* what failed may be there all the same: it is written again until it is done */

    unsigned char model[HANDS_BLOCKS][BLOCK_BYTES]; /* what must be there */
    struct hand list[HANDS];
    pthread_rwlock_t alone;
    atomic_uint busy; /* threads */
};

uint64_t hand_chance(struct hand *hand, uint64_t below);
void hand_read(struct hand *hand, struct wish *wish, uint64_t block, uint32_t sector,
               uint32_t sectors);
/* The same byte all over. */
void hand_write(struct hand *hand, struct wish *wish, uint64_t block, uint32_t offset,
                uint32_t bytes);

/* All threads at work, until each has done its rounds.  The layer holds what `below` holds at first. */
void hands_run(struct hands *hands, uint64_t seed);
/* Each block is read, and is what it must be. */
void hands_read_all(struct hands *hands);
/* All is flushed, however often that fails, and below is what must be there. */
void hands_flush_all(struct hands *hands, const struct below *below);

#endif
