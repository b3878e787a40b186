/* SPDX-License-Identifier: Apache-2.0 */
/* core/whole.c over a slow store in memory: parts of blocks become whole ones, in one piece. */
#include "fake_backend.h"

#include "whole.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 1024u
#define BLOCKS 4u
#define THREADS 4u
#define ROUNDS 1500u

/* Carries a request out after a pause by chance, and sees to it that writes of a block never overlap. */
struct slow {
    struct store store;
    struct pool *pool;
    atomic_uint seed;
    atomic_int writers[BLOCKS];
    atomic_uint violations, reads_now, reads_peak;
    atomic_uint writes, whole_reads;
    bool is_stuck; /* writes wait in `stuck` */
    struct slow_job *stuck;
    sem_t is_in;
    pthread_mutex_t lock; /* guards data: a block is read and written whole */
    unsigned char data[BLOCKS][BLOCK];
};

struct slow_job {
    struct timer timer;
    struct slow *slow;
    struct store_req *req;
};

static void
slow_run(struct task *task)
{
    struct slow_job *job = container_of(task, struct slow_job, timer.task);
    struct slow *slow = job->slow;
    struct store_req *req = job->req;
    unsigned char *data = slow->data[req->block];

    pthread_mutex_lock(&slow->lock);
    if (req->op == STORE_READ) {
        memcpy(req->data, data, BLOCK);
        atomic_fetch_sub(&slow->reads_now, 1);
    } else if (req->op == STORE_WRITE) {
        memcpy(data, req->data, BLOCK);
        atomic_fetch_sub(&slow->writers[req->block], 1);
    } else if (req->op == STORE_ZERO) {
        memset(data, 0, req->count * BLOCK);
        for (uint64_t i = 0; i < req->count; i++)
            atomic_fetch_sub(&slow->writers[req->block + i], 1);
    }
    pthread_mutex_unlock(&slow->lock);
    free(job);
    store_done(req, 0);
}

static void
slow_submit(struct store *store, struct store_req *req)
{
    struct slow *slow = container_of(store, struct slow, store);
    struct slow_job *job = calloc(1, sizeof *job);
    uint64_t seed = atomic_fetch_add(&slow->seed, 1), now;

    job->slow = slow;
    job->req = req;
    job->timer.task.run = slow_run;
    if (req->op == STORE_READ) {
        unsigned reads = atomic_fetch_add(&slow->reads_now, 1) + 1,
                 peak = atomic_load(&slow->reads_peak);

        while (peak < reads && !atomic_compare_exchange_weak(&slow->reads_peak, &peak, reads))
            ;
    }
    for (uint64_t i = 0; i < (req->op == STORE_ZERO ? req->count : req->op == STORE_WRITE); i++) {
        if (atomic_fetch_add(&slow->writers[req->block + i], 1) != 0)
            atomic_fetch_add(&slow->violations, 1);
    }
    if (req->op == STORE_WRITE && slow->is_stuck) {
        slow->stuck = job;
        sem_post(&slow->is_in);
        return;
    }
    now = clock_now_ns();
    assert_int_equal(pool_timer_set(slow->pool, &job->timer, now + random_next(&seed) % 100000), 0);
}

struct rig_whole {
    struct slow slow;
    struct pool *pool;
    struct store *whole;
};

static void
whole_open(struct rig_whole *rig, uint64_t buffers)
{
    memset(rig, 0, sizeof *rig);
    assert_int_equal(pool_new(3, &rig->pool), 0);
    rig->slow.store.submit = slow_submit;
    rig->slow.pool = rig->pool;
    pthread_mutex_init(&rig->slow.lock, NULL);
    atomic_store(&rig->slow.seed, (unsigned)test_seed());
    sem_init(&rig->slow.is_in, 0, 0);
    assert_int_equal(whole_new(&rig->slow.store, BLOCK, buffers * BLOCK, &rig->whole), 0);
}

static void
whole_close(struct rig_whole *rig)
{
    whole_free(rig->whole);
    pool_free(rig->pool);
    assert_int_equal(atomic_load(&rig->slow.violations), 0);
}

struct waited {
    struct store_req req;
    sem_t done;
};

static void
waited_done(struct store_req *req)
{
    sem_post(&container_of(req, struct waited, req)->done);
}

static void
begin(struct rig_whole *rig, struct waited *waited, struct store_req req)
{
    sem_init(&waited->done, 0, 0);
    waited->req = req;
    waited->req.done = waited_done;
    store_submit(rig->whole, &waited->req);
}

static int
end(struct waited *waited)
{
    wait_for(&waited->done);
    sem_destroy(&waited->done);
    return waited->req.rc;
}

static struct store_req
part(enum store_op op, uint64_t block, uint32_t offset, uint32_t bytes, void *data)
{
    return (struct store_req){
        .op = op, .block = block, .offset = offset, .bytes = bytes, .data = data
    };
}

TEST(whole, a_partial_write_leaves_the_rest_of_the_block)
{
    struct rig_whole rig;
    struct waited waited;
    unsigned char out[100];

    whole_open(&rig, 4);
    memset(rig.slow.data, 0x11, sizeof rig.slow.data);
    begin(&rig, &waited, part(STORE_WRITE, 1, 10, 5, memset(out, 0x22, 5)));
    assert_int_equal(end(&waited), 0);
    begin(&rig, &waited, part(STORE_WRITE, 1, 12, 2, NULL));
    assert_int_equal(end(&waited), 0);
    begin(&rig, &waited, part(STORE_READ, 1, 9, 7, out));
    assert_int_equal(end(&waited), 0);
    assert_memory_equal(out, "\x11\x22\x22\x00\x00\x22\x11", 7);
    assert_int_equal(rig.slow.data[0][10], 0x11);
    whole_close(&rig);
}

TEST(whole, zeros_for_a_whole_block_are_a_zero)
{
    struct rig_whole rig;
    struct waited waited;

    whole_open(&rig, 4);
    memset(rig.slow.data, 0x11, sizeof rig.slow.data);
    begin(&rig, &waited, part(STORE_WRITE, 1, 0, BLOCK, NULL));
    assert_int_equal(end(&waited), 0);
    assert_int_equal(rig.slow.data[1][0], 0);
    assert_int_equal(rig.slow.data[1][BLOCK - 1], 0);
    assert_int_equal(rig.slow.data[2][0], 0x11);
    whole_close(&rig);
}

TEST(whole, a_flush_waits_for_the_writes_before_it)
{
    static unsigned char data[BLOCK];
    struct rig_whole rig;
    struct waited write, flush;
    int value;

    whole_open(&rig, 4);
    rig.slow.is_stuck = true;
    begin(&rig, &write, part(STORE_WRITE, 1, 0, BLOCK, data));
    wait_for(&rig.slow.is_in);
    begin(&rig, &flush, (struct store_req){ .op = STORE_FLUSH });
    sem_getvalue(&flush.done, &value);
    assert_int_equal(value, 0);
    pool_submit(rig.pool, &rig.slow.stuck->timer.task);
    assert_int_equal(end(&flush), 0);
    assert_int_equal(end(&write), 0);
    whole_close(&rig);
}

static void
fail_at_once(struct store *store, struct store_req *req)
{
    (void)store;
    store_done(req, -EIO);
}

TEST(whole, a_failure_below_is_the_answer_and_gives_buffers_and_order_back)
{
    struct store broken = { fail_at_once }, *whole;
    struct rig_whole rig = { .slow.seed = 0 };
    struct waited waited;
    unsigned char data[8] = { 0 };

    assert_int_equal(whole_new(&broken, BLOCK, 0, &whole), 0);
    rig.whole = whole;
    for (unsigned i = 0; i < 5; i++) {
        begin(&rig, &waited, part(i % 2 == 0 ? STORE_WRITE : STORE_READ, 1, 3, 8, data));
        assert_int_equal(end(&waited), -EIO);
    }
    whole_free(whole);
}

/* ---- many threads on few blocks
 *
 * Each thread owns a slice of every block, which nobody else writes, so that it knows what must be there.
 * Whole blocks are zeroed too: by one thread at a time, with the other slices' owners kept out. */

#define SLICE (BLOCK / THREADS)

struct hand {
    struct rig_whole *rig;
    unsigned number;
    uint64_t seed;
    unsigned failures;
    pthread_rwlock_t *zeroing;
    unsigned char (*model)[BLOCK];
};

static void *
work(void *arg)
{
    struct hand *hand = arg;
    unsigned char bytes[SLICE];
    struct waited waited;

    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t chance = random_next(&hand->seed);
        uint64_t block = chance % BLOCKS;
        uint32_t offset = (uint32_t)((chance >> 8) % SLICE);
        uint32_t len = (uint32_t)((chance >> 24) % (SLICE - offset)) + 1;
        unsigned char *model;
        bool is_zeroing = (chance >> 40) % 64 == 0;

        offset += hand->number * SLICE;
        model = hand->model[block] + offset;
        if (is_zeroing)
            pthread_rwlock_wrlock(hand->zeroing);
        else
            pthread_rwlock_rdlock(hand->zeroing);
        if (is_zeroing) {
            begin(hand->rig, &waited,
                  (struct store_req){ .op = STORE_ZERO, .block = block, .count = BLOCKS - block });
            memset(hand->model[block], 0, (BLOCKS - block) * BLOCK);
        } else if ((chance >> 40) % 2 == 0) {
            begin(hand->rig, &waited, part(STORE_READ, block, offset, len, bytes));
        } else {
            memset(bytes, (int)(chance >> 48) & 0xff, len);
            memcpy(model, bytes, len);
            begin(hand->rig, &waited, part(STORE_WRITE, block, offset, len, bytes));
        }
        hand->failures += end(&waited) != 0;
        if (waited.req.op == STORE_READ)
            hand->failures += memcmp(bytes, model, len) != 0;
        pthread_rwlock_unlock(hand->zeroing);
    }
    return NULL;
}

TEST(whole, partial_writes_of_many_threads_to_few_blocks_lose_nothing)
{
    static unsigned char model[BLOCKS][BLOCK];
    static struct rig_whole rig;
    pthread_rwlock_t zeroing = PTHREAD_RWLOCK_INITIALIZER;
    struct hand hands[THREADS];
    pthread_t threads[THREADS];
    uint64_t seed;

    whole_open(&rig, 2);
    seed = atomic_load(&rig.slow.seed);
    memset(model, 0, sizeof model);
    for (unsigned i = 0; i < THREADS; i++) {
        hands[i] = (struct hand){ &rig, i, random_next(&seed), 0, &zeroing, model };
        assert_int_equal(pthread_create(&threads[i], NULL, work, &hands[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(hands[i].failures, 0);
    }
    assert_memory_equal(rig.slow.data, model, sizeof model);
    assert_true(atomic_load(&rig.slow.reads_peak) <= 2); /* as many as there are buffers */
    whole_close(&rig);
}

/* Two writes overlap a zero of the same block, in whatever order: the block is never a mixture of what was
 * before the zero and what came after it. */
TEST(whole, a_zero_does_not_come_between_the_two_halves_of_a_partial_write)
{
    struct rig_whole rig;
    struct waited zero, writes[2];
    unsigned char a = 0xaa, b = 0xbb;

    whole_open(&rig, 4);
    for (unsigned i = 0; i < 300; i++) {
        memset(rig.slow.data[1], 0x11, BLOCK);
        begin(&rig, &writes[0], part(STORE_WRITE, 1, 0, 1, &a));
        begin(&rig, &zero, (struct store_req){ .op = STORE_ZERO, .block = 0, .count = 3 });
        begin(&rig, &writes[1], part(STORE_WRITE, 1, 1, 1, &b));
        assert_int_equal(end(&writes[0]), 0);
        assert_int_equal(end(&zero), 0);
        assert_int_equal(end(&writes[1]), 0);
        assert_int_equal(rig.slow.data[1][0], 0);
        assert_int_equal(rig.slow.data[1][1], 0xbb);
        assert_int_equal(rig.slow.data[1][2], 0);
    }
    whole_close(&rig);
}

/* For the sanitizers: the layer may be freed as soon as its last request is done. */
TEST(whole, is_not_touched_after_its_last_request_is_done)
{
    unsigned char byte = 1;

    for (unsigned i = 0; i < 200; i++) {
        struct rig_whole rig = { .slow.store.submit = slow_submit };
        struct waited waited;

        assert_int_equal(pool_new(1, &rig.pool), 0);
        rig.slow.pool = rig.pool;
        pthread_mutex_init(&rig.slow.lock, NULL);
        assert_int_equal(whole_new(&rig.slow.store, BLOCK, BLOCK, &rig.whole), 0);
        begin(&rig, &waited, part(i % 2 == 0 ? STORE_WRITE : STORE_READ, 0, 1, 1, &byte));
        assert_int_equal(end(&waited), 0);
        whole_free(rig.whole);
        pool_free(rig.pool);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(whole, a_partial_write_leaves_the_rest_of_the_block),
        RUN(whole, zeros_for_a_whole_block_are_a_zero),
        RUN(whole, a_flush_waits_for_the_writes_before_it),
        RUN(whole, a_failure_below_is_the_answer_and_gives_buffers_and_order_back),
        RUN(whole, partial_writes_of_many_threads_to_few_blocks_lose_nothing),
        RUN(whole, a_zero_does_not_come_between_the_two_halves_of_a_partial_write),
        RUN(whole, is_not_touched_after_its_last_request_is_done),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
