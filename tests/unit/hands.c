/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that read, write and zero at random, and know what must be there. */
#include "hands.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TICK_US 2000

uint64_t
hand_chance(struct hand *hand, uint64_t below)
{
    return random_next(&hand->seed) % below;
}

static void
check(struct hand *hand, bool is_right, const char *what, uint64_t block)
{
    if (!is_right && hand->problem[0] == '\0')
        snprintf(hand->problem, sizeof hand->problem, "thread %u, block %ju: %s", hand->number,
                 (uintmax_t)block, what);
}

/* ---- one request, of which the thread knows what it must give */

void
hand_read(struct hand *hand, struct wish *wish, uint64_t block, uint32_t sector, uint32_t sectors)
{
    memset(wish->data, 0xee, sizeof wish->data);
    wish_submit(hand->hands->store, wish,
                (struct store_req){ .op = STORE_READ,
                                    .block = block,
                                    .offset = sector * SECTOR_BYTES,
                                    .bytes = sectors * SECTOR_BYTES,
                                    .data = wish->data });
}

void
hand_write(struct hand *hand, struct wish *wish, uint64_t block, uint32_t offset, uint32_t bytes)
{
    memset(wish->data, (int)hand_chance(hand, 256), bytes);
    wish_submit(hand->hands->store, wish,
                (struct store_req){ .op = STORE_WRITE,
                                    .block = block,
                                    .offset = offset,
                                    .bytes = bytes,
                                    .data = wish->data });
}

static int
end_of(struct hand *hand, struct wish *wish)
{
    int rc;

    while ((rc = wish_end(wish)) != 0 && hand->hands->is_sync && wish->req.op != STORE_READ)
        wish_submit(hand->hands->store, wish, wish->req);
    return rc;
}

/* What failed has changed nothing. */
static void
end_one(struct hand *hand, struct wish *wish)
{
    const struct store_req *req = &wish->req;
    unsigned char *block = hand->hands->model[req->block];
    uint32_t own = hand->number * SECTOR_BYTES;
    int rc = end_of(hand, wish);

    check(hand, rc == 0 || rc == -EIO || (rc == -ECANCELED && hand->hands->may_be_cancelled),
          "another error than the store's", req->block);
    if (rc != 0)
        return;
    if (req->op == STORE_READ)
        check(hand, memcmp(wish->data + own - req->offset, block + own, SECTOR_BYTES) == 0,
              "read something else than was written", req->block);
    else
        memcpy(block + req->offset, wish->data, req->bytes);
}

/* ---- a thread */

static void
batch(struct hand *hand)
{
    unsigned count = 1 + (unsigned)hand_chance(hand, HANDS_BATCH_MAX);
    uint64_t block = hand_chance(hand, HANDS_BLOCKS);

    for (unsigned i = 0; i < count; i++)
        hand->hands->begin(hand, &hand->wishes[i], (block + i) % HANDS_BLOCKS);
    for (unsigned i = 0; i < count; i++)
        end_one(hand, &hand->wishes[i]);
}

static void
whole_blocks(struct hand *hand)
{
    uint64_t block = hand_chance(hand, HANDS_BLOCKS);
    uint64_t count = 1 + hand_chance(hand, HANDS_BLOCKS - block);
    struct wish *wish = &hand->wishes[0];
    unsigned char *data = hand->hands->model[block];

    if (hand_chance(hand, 2) == 0) {
        wish_submit(hand->hands->store, wish,
                    (struct store_req){ .op = STORE_ZERO, .block = block, .count = count });
        check(hand, end_of(hand, wish) == 0, "was not zeroed", block);
        memset(data, 0, count * BLOCK_BYTES);
    } else {
        hand_write(hand, wish, block, 0, BLOCK_BYTES);
        check(hand, end_of(hand, wish) == 0, "was not written", block);
        memcpy(data, wish->data, BLOCK_BYTES);
    }
}

static void *
work(void *arg)
{
    struct hand *hand = arg;
    struct hands *hands = hand->hands;

    for (unsigned round = 0; round < hands->rounds; round++) {
        if (hand_chance(hand, 30) == 0) {
            pthread_rwlock_wrlock(&hands->alone);
            whole_blocks(hand);
            pthread_rwlock_unlock(&hands->alone);
        } else if (hand_chance(hand, 30) == 0) {
            wish_submit(hands->store, &hand->wishes[0], (struct store_req){ .op = STORE_FLUSH });
            wish_end(&hand->wishes[0]);
        } else {
            pthread_rwlock_rdlock(&hands->alone);
            batch(hand);
            pthread_rwlock_unlock(&hands->alone);
        }
    }
    atomic_fetch_sub(&hands->busy, 1);
    return NULL;
}

/* ---- all of them */

void
hands_run(struct hands *hands, uint64_t seed)
{
    pthread_rwlock_init(&hands->alone, NULL);
    atomic_store(&hands->busy, HANDS);
    for (uint64_t block = 0; block < HANDS_BLOCKS; block++)
        memset(hands->model[block], stored_byte(block), BLOCK_BYTES);
    for (unsigned i = 0; i < HANDS; i++) {
        struct hand *hand = &hands->list[i];

        hand->hands = hands;
        hand->number = i;
        hand->seed = random_next(&seed);
        hand->problem[0] = '\0';
        assert_int_equal(pthread_create(&hand->thread, NULL, work, hand), 0);
    }
    for (unsigned tick = 1; atomic_load(&hands->busy) > 0; tick++) {
        hands->tick(hands->arg, tick);
        usleep(TICK_US);
    }
    for (unsigned i = 0; i < HANDS; i++)
        assert_int_equal(pthread_join(hands->list[i].thread, NULL), 0);
    for (unsigned i = 0; i < HANDS; i++)
        assert_string_equal(hands->list[i].problem, "");
    pthread_rwlock_destroy(&hands->alone);
}

void
hands_read_all(struct hands *hands)
{
    for (uint64_t block = 0; block < HANDS_BLOCKS; block++) {
        struct hand reader = { .hands = hands };
        struct wish *read = &reader.wishes[0];

        do
            hand_read(&reader, read, block, 0, SECTORS);
        while (wish_end(read) != 0);
        assert_memory_equal(read->data, hands->model[block], BLOCK_BYTES);
    }
}

void
hands_flush_all(struct hands *hands, const struct below *below)
{
    struct wish flush;

    do
        wish_submit(hands->store, &flush, (struct store_req){ .op = STORE_FLUSH });
    while (wish_end(&flush) != 0);
    assert_memory_equal(below->data, hands->model, sizeof hands->model);
}
