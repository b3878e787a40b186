/* SPDX-License-Identifier: Apache-2.0 */
/* base/rangelock.c: who waits for whom, in which order they go on, and that nothing else happens. */
#include "fake_backend.h"

#include "base/rangelock.h"

#include <stdatomic.h>

#define GRANTS_MAX 64

static struct range *grants[GRANTS_MAX];
static unsigned grant_count;

static void
note_grant(struct range *range)
{
    grants[grant_count++] = range;
}

static struct range
range_of(uint64_t first, uint64_t last, bool is_exclusive)
{
    return (struct range){
        .first = first, .last = last, .is_exclusive = is_exclusive, .granted = note_grant
    };
}

static struct rangelock *
fresh(void)
{
    struct rangelock *lock;

    assert_int_equal(rangelock_new(&lock), 0);
    grant_count = 0;
    return lock;
}

TEST(rangelock, readers_share_and_a_writer_waits_for_all_of_them)
{
    struct rangelock *lock = fresh();
    struct range a = range_of(7, 7, false), b = range_of(7, 7, false), w = range_of(7, 7, true);

    assert_true(range_acquire(lock, &a));
    assert_true(range_acquire(lock, &b));
    assert_false(range_acquire(lock, &w));
    range_release(lock, &a);
    assert_int_equal(grant_count, 0);
    range_release(lock, &b);
    assert_int_equal(grant_count, 1);
    assert_ptr_equal(grants[0], &w);
    range_release(lock, &w);
    rangelock_free(lock);
}

TEST(rangelock, a_reader_does_not_overtake_a_waiting_writer)
{
    struct rangelock *lock = fresh();
    struct range a = range_of(7, 7, false), w = range_of(7, 7, true), b = range_of(7, 7, false);

    assert_true(range_acquire(lock, &a));
    assert_false(range_acquire(lock, &w));
    assert_false(range_acquire(lock, &b));
    range_release(lock, &a);
    assert_int_equal(grant_count, 1);
    range_release(lock, &w);
    assert_int_equal(grant_count, 2);
    assert_ptr_equal(grants[1], &b);
    range_release(lock, &b);
    rangelock_free(lock);
}

TEST(rangelock, blocks_of_one_bucket_are_strangers)
{
    struct rangelock *lock = fresh();
    struct range a = range_of(0, 0, true), b = range_of(4097, 4097, true);

    assert_true(range_acquire(lock, &a));
    assert_true(range_acquire(lock, &b));
    range_release(lock, &a);
    range_release(lock, &b);
    rangelock_free(lock);
}

TEST(rangelock, wide_and_single_ranges_wait_for_each_other)
{
    struct rangelock *lock = fresh();
    struct range low = range_of(9, 9, true), wide = range_of(10, 5000, true);
    struct range single = range_of(4999, 4999, false), high = range_of(5001, 5001, true);
    struct range overlap = range_of(5000, 6000, true);

    assert_true(range_acquire(lock, &low));
    assert_true(range_acquire(lock, &wide));
    assert_true(range_acquire(lock, &high));
    assert_false(range_acquire(lock, &single));
    assert_false(range_acquire(lock, &overlap));
    range_release(lock, &wide);
    assert_int_equal(grant_count, 1); /* `overlap` still waits for `high` */
    assert_ptr_equal(grants[0], &single);
    range_release(lock, &high);
    assert_int_equal(grant_count, 2);
    range_release(lock, &single);
    range_release(lock, &overlap);
    range_release(lock, &low);
    rangelock_free(lock);
}

TEST(rangelock, those_who_waited_for_one_go_on_in_order_of_arrival)
{
    static const uint64_t blocks[] = { 300, 2, 4097 + 2, 2, 70000, 1, 0, 300 };
    enum { COUNT = ARRAY_LEN(blocks) };
    struct rangelock *lock = fresh();
    struct range wide = range_of(0, UINT32_MAX, true), waiting[COUNT + 1];

    assert_true(range_acquire(lock, &wide));
    for (unsigned i = 0; i < COUNT; i++) {
        waiting[i] = range_of(blocks[i], blocks[i], false);
        assert_false(range_acquire(lock, &waiting[i]));
    }
    waiting[COUNT] = range_of(0, 1000000, false);
    assert_false(range_acquire(lock, &waiting[COUNT]));
    range_release(lock, &wide);
    assert_int_equal(grant_count, COUNT + 1);
    for (unsigned i = 0; i <= COUNT; i++) {
        assert_ptr_equal(grants[i], &waiting[i]);
        range_release(lock, &waiting[i]);
    }
    rangelock_free(lock);
}

TEST(rangelock, a_watcher_waits_for_what_came_before_and_stops_nobody)
{
    struct rangelock *lock = fresh();
    struct range before = range_of(3, 3, true), after = range_of(3, 3, true);
    struct range other = range_of(4, 4, true), watcher = range_of(0, UINT64_MAX, true);
    struct range second = range_of(0, UINT64_MAX, true);

    watcher.is_watcher = second.is_watcher = true;
    assert_true(range_acquire(lock, &before));
    assert_false(range_acquire(lock, &watcher));
    assert_true(range_acquire(lock, &other));
    assert_false(range_acquire(lock, &after)); /* for `before` */
    range_release(lock, &before);
    assert_int_equal(grant_count, 2);
    assert_ptr_equal(grants[0], &watcher);
    assert_ptr_equal(grants[1], &after);
    assert_false(range_acquire(lock, &second)); /* for `other` and `after`, not for `watcher` */
    range_release(lock, &other);
    range_release(lock, &after);
    assert_int_equal(grant_count, 3);
    range_release(lock, &watcher);
    range_release(lock, &second);
    rangelock_free(lock);
}

/* ---- many threads
 *
 * The model of a block is what its holders know: how many read it, or that one writes it, and the latest
 * arrival of each kind that was let in. */

#define BLOCKS 24
#define THREADS 4
#define ROUNDS 20000

struct holder {
    struct range range;
    sem_t granted;
};

static struct {
    struct rangelock *lock;
    atomic_int holders[BLOCKS];                                     /* -1: a writer */
    atomic_uint_least64_t last_reader[BLOCKS], last_writer[BLOCKS]; /* arrival + 1 */
    atomic_uint violations;
} model;

static void
post_grant(struct range *range)
{
    sem_post(&container_of(range, struct holder, range)->granted);
}

static void
raise_to(atomic_uint_least64_t *value, uint64_t to)
{
    uint_least64_t now = atomic_load(value);

    while (now < to && !atomic_compare_exchange_weak(value, &now, to))
        ;
}

static void
enter(const struct range *range, uint64_t block)
{
    uint64_t ticket = range->arrival + 1;
    bool is_right = atomic_load(&model.last_writer[block]) < ticket;

    if (range->is_exclusive) {
        is_right = is_right && atomic_load(&model.last_reader[block]) < ticket
                   && atomic_exchange(&model.holders[block], -1) == 0;
        raise_to(&model.last_writer[block], ticket);
    } else {
        is_right = is_right && atomic_fetch_add(&model.holders[block], 1) >= 0;
        raise_to(&model.last_reader[block], ticket);
    }
    if (!is_right)
        atomic_fetch_add(&model.violations, 1);
}

static void
leave(const struct range *range, uint64_t block)
{
    if (range->is_exclusive)
        atomic_store(&model.holders[block], 0);
    else
        atomic_fetch_sub(&model.holders[block], 1);
}

static void *
hustle(void *arg)
{
    uint64_t seed = *(uint64_t *)arg;
    struct holder holder;

    sem_init(&holder.granted, 0, 0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t chance = random_next(&seed);
        struct range *range = &holder.range;

        *range = (struct range){ .first = chance % BLOCKS, .granted = post_grant };
        range->last = range->first;
        if ((chance >> 8) % 8 == 0)
            range->last += (chance >> 16) % (BLOCKS - range->first);
        range->is_exclusive = (chance >> 24) % 2 == 0;
        range->is_watcher = (chance >> 32) % 16 == 0;
        if (!range_acquire(model.lock, range))
            wait_for(&holder.granted);
        for (uint64_t block = range->first; block <= range->last && !range->is_watcher; block++)
            enter(range, block);
        for (uint64_t block = range->first; block <= range->last && !range->is_watcher; block++)
            leave(range, block);
        range_release(model.lock, range);
    }
    sem_destroy(&holder.granted);
    return NULL;
}

TEST(rangelock, threads_meet_no_conflict_and_keep_the_order_of_arrival)
{
    uint64_t seed = test_seed(), seeds[THREADS];
    pthread_t threads[THREADS];

    model.lock = fresh();
    for (unsigned i = 0; i < THREADS; i++) {
        seeds[i] = random_next(&seed);
        assert_int_equal(pthread_create(&threads[i], NULL, hustle, &seeds[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&model.violations), 0);
    rangelock_free(model.lock); /* nothing is left */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(rangelock, readers_share_and_a_writer_waits_for_all_of_them),
        RUN(rangelock, a_reader_does_not_overtake_a_waiting_writer),
        RUN(rangelock, blocks_of_one_bucket_are_strangers),
        RUN(rangelock, wide_and_single_ranges_wait_for_each_other),
        RUN(rangelock, those_who_waited_for_one_go_on_in_order_of_arrival),
        RUN(rangelock, a_watcher_waits_for_what_came_before_and_stops_nobody),
        RUN(rangelock, threads_meet_no_conflict_and_keep_the_order_of_arrival),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
