/* SPDX-License-Identifier: Apache-2.0 */
/* core/cache_spill.c: what is unsaved, handed to somebody else when the store will not have it. */
#include "fake_store.h"

#include "base/util.h"
#include "cache_impl.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define HANDED_MAX 16u

/* What was handed over, in order. */
struct handed {
    bool is_zero, has_valid, has_dirty;
    uint64_t block, count;
    uint64_t valid, dirty; /* blocks of at most 64 sectors */
    unsigned char data[BLOCK_BYTES];
};

struct heir {
    struct cached *cached;
    struct cache_spill_ops ops;
    struct handed handed[HANDED_MAX];
    unsigned count;
    unsigned fails_at; /* this one; UINT_MAX: none */
    uint64_t sleep_ns; /* time that passes at each */
    pthread_t thread;
    sem_t done;
    int rc;
};

static int
hand(struct heir *heir, struct handed handed)
{
    if (heir->count == HANDED_MAX)
        abort();
    if (heir->sleep_ns > 0)
        cached_sleep(heir->cached, heir->sleep_ns);
    if (heir->count == heir->fails_at)
        return -ENOSPC;
    heir->handed[heir->count++] = handed;
    return 0;
}

static int
hand_zero(void *arg, uint64_t first, uint64_t count)
{
    return hand(arg, (struct handed){ .is_zero = true, .block = first, .count = count });
}

static int
hand_block(void *arg, uint64_t block, const uint64_t *valid, const uint64_t *dirty,
           const void *data)
{
    struct handed handed = { .block = block, .count = 1 };

    handed.has_valid = valid != NULL;
    handed.has_dirty = dirty != NULL;
    handed.valid = valid != NULL ? *valid : (1u << SECTORS) - 1;
    handed.dirty = dirty != NULL ? *dirty : (1u << SECTORS) - 1;
    memcpy(handed.data, data, BLOCK_BYTES);
    return hand(arg, handed);
}

/* It fails if so many were handed over before. */
static int
hand_end(void *arg)
{
    const struct heir *heir = arg;

    return heir->count == heir->fails_at ? -ENOSPC : 0;
}

static void
heir_init(struct heir *heir, struct cached *cached)
{
    *heir = (struct heir){ .cached = cached, .fails_at = UINT32_MAX };
    heir->ops = (struct cache_spill_ops){
        .arg = heir, .zero = hand_zero, .block = hand_block, .end = hand_end
    };
}

static int
spill(struct heir *heir)
{
    return cache_spill(heir->cached->store, &heir->ops);
}

static void *
spill_main(void *arg)
{
    struct heir *heir = arg;

    heir->rc = spill(heir);
    sem_post(&heir->done);
    return NULL;
}

/* On a thread of its own: it has something to wait for.  Nothing is sent any more when this returns. */
static void
spill_begin(struct heir *heir)
{
    struct cache *cache = container_of(heir->cached->store, struct cache, store);

    sem_init(&heir->done, 0, 0);
    assert_int_equal(pthread_create(&heir->thread, NULL, spill_main, heir), 0);
    pthread_mutex_lock(&cache->lock);
    while (!cache->is_spilled) {
        pthread_mutex_unlock(&cache->lock);
        sched_yield();
        pthread_mutex_lock(&cache->lock);
    }
    pthread_mutex_unlock(&cache->lock);
    cached_settle(heir->cached);
}

static int
spill_end(struct heir *heir)
{
    wait_for(&heir->done);
    assert_int_equal(pthread_join(heir->thread, NULL), 0);
    sem_destroy(&heir->done);
    return heir->rc;
}

/* Where one writes what was handed over. */
static void
expect_replayed(const struct heir *heir, unsigned char *disk, uint64_t block, uint32_t sector,
                uint32_t sectors, unsigned char fill)
{
    for (unsigned i = 0; i < heir->count; i++) {
        const struct handed *handed = &heir->handed[i];

        if (handed->is_zero) {
            memset(disk + handed->block * BLOCK_BYTES, 0, handed->count * BLOCK_BYTES);
            continue;
        }
        for (uint32_t at = 0; at < SECTORS; at++) {
            if (handed->valid >> at & 1)
                memcpy(disk + handed->block * BLOCK_BYTES + at * SECTOR_BYTES,
                       handed->data + at * SECTOR_BYTES, SECTOR_BYTES);
        }
    }
    for (uint32_t i = sector * SECTOR_BYTES; i < (sector + sectors) * SECTOR_BYTES; i++)
        assert_int_equal(disk[block * BLOCK_BYTES + i], fill);
}

static const struct handed *
handed_block(const struct heir *heir, uint64_t block)
{
    const struct handed *found = NULL;

    for (unsigned i = 0; i < heir->count; i++) {
        if (heir->handed[i].is_zero || heir->handed[i].block != block)
            continue;
        assert_null(found);
        found = &heir->handed[i];
    }
    assert_non_null(found);
    return found;
}

static void
free_spilled(struct cached *cached)
{
    cache_free(cached->store);
    cached->store = NULL;
    cached_free(cached);
}

/* ---- what is handed over */

TEST(spill, nothing_is_handed_over_when_all_is_stored)
{
    struct cached *cached = cached_new((struct cache_config){ 0 });
    struct heir heir;

    fetch(cached, 3);
    heir_init(&heir, cached);
    assert_int_equal(spill(&heir), 0);
    assert_int_equal(heir.count, 0);
    free_spilled(cached);
}

TEST(spill, dirty_blocks_are_handed_over_with_what_is_valid_of_them_and_what_is_dirty)
{
    for (unsigned takes_parts = 0; takes_parts < 2; takes_parts++) {
        struct cached *cached = cached_new((struct cache_config){
            .write_delay_ns = EVER_NS, .in_flight_max = 1, .next_takes_parts = takes_parts != 0 });
        const struct handed *handed;
        struct asked *flight;
        struct heir heir;

        write_now(cached, 1, 2, 3, 0x11);
        fetch(cached, 2);
        write_now(cached, 2, 7, 1, 0x22);
        fetch(cached, 4);
        write_now(cached, 5, 0, SECTORS, 0x55); /* goes at once */
        flight = below_expect(&cached->below, STORE_WRITE, 5);
        write_now(cached, 3, 0, SECTORS, 0x33); /* finds no place */
        heir_init(&heir, cached);
        spill_begin(&heir);
        asked_answer(flight, -ECANCELED);
        assert_int_equal(spill_end(&heir), 0);
        assert_int_equal(heir.count, 4);
        handed = handed_block(&heir, 1);
        assert_true(handed->has_valid && handed->has_dirty);
        assert_int_equal(handed->valid, 0x1c);
        assert_int_equal(handed->dirty, 0x1c);
        handed = handed_block(&heir, 2);
        assert_true(!handed->has_valid && handed->has_dirty);
        assert_int_equal(handed->dirty, 0x80);
        handed = handed_block(&heir, 3);
        assert_true(!handed->has_valid && !handed->has_dirty);
        handed_block(&heir, 5);
        expect_replayed(&heir, cached->below.data, 1, 2, 3, 0x11);
        expect_replayed(&heir, cached->below.data, 1, 0, 2, stored_byte(1));
        expect_replayed(&heir, cached->below.data, 2, 0, 7, stored_byte(2));
        expect_replayed(&heir, cached->below.data, 2, 7, 1, 0x22);
        expect_replayed(&heir, cached->below.data, 3, 0, SECTORS, 0x33);
        expect_replayed(&heir, cached->below.data, 5, 0, SECTORS, 0x55);
        free_spilled(cached);
    }
}

TEST(spill, of_a_part_that_could_not_be_taken_all_that_was_sent_is_dirty)
{
    struct cached *cached =
        cached_new((struct cache_config){ .write_delay_ns = NS_PER_S, .next_takes_parts = true });
    const struct handed *handed;
    struct asked *flight;
    struct heir heir;

    write_now(cached, 3, 2, 1, 0x11);
    write_now(cached, 4, 2, 1, 0x11);
    cached_sleep(cached, NS_PER_S);
    below_answer(&cached->below, STORE_WRITE, 3, -EIO);
    flight = below_expect(&cached->below, STORE_WRITE, 4);
    write_now(cached, 4, 5, 1, 0x22);
    asked_answer(flight, -EIO);
    heir_init(&heir, cached);
    assert_int_equal(spill(&heir), 0);
    handed = handed_block(&heir, 3);
    assert_int_equal(handed->valid, 0x04);
    assert_int_equal(handed->dirty, 0x04);
    handed = handed_block(&heir, 4);
    assert_int_equal(handed->valid, 0x24);
    assert_int_equal(handed->dirty, 0x24);
    expect_replayed(&heir, cached->below.data, 4, 2, 1, 0x11);
    expect_replayed(&heir, cached->below.data, 4, 5, 1, 0x22);
    free_spilled(cached);
}

TEST(spill, what_was_taken_before_is_valid_and_not_dirty)
{
    struct cached *cached =
        cached_new((struct cache_config){ .write_delay_ns = NS_PER_S, .next_takes_parts = true });
    const struct handed *handed;
    struct heir heir;

    write_now(cached, 3, 2, 1, 0x11);
    write_now(cached, 4, 2, 1, 0x11);
    cached_sleep(cached, NS_PER_S);
    below_answer(&cached->below, STORE_WRITE, 3, 0);
    below_answer(&cached->below, STORE_WRITE, 4, 0);
    write_now(cached, 3, 3, 1, 0x22);
    heir_init(&heir, cached);
    assert_int_equal(spill(&heir), 0);
    assert_int_equal(heir.count, 1);
    handed = handed_block(&heir, 3);
    assert_int_equal(handed->valid, 0x0c);
    assert_int_equal(handed->dirty, 0x08);
    free_spilled(cached);
}

TEST(spill, zeros_come_before_what_was_written_over_them)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = EVER_NS });
    struct wish zero, write;
    struct heir heir;

    write_now(cached, 3, 0, 1, 0x11); /* the zero drops it */
    write_now(cached, 9, 0, 1, 0x22);
    wish_zero(cached, &zero, 2, 3);
    expect_done(&zero, 0);
    wish_zero(cached, &zero, 20, 1);
    expect_done(&zero, 0);
    write_now(cached, 3, 0, SECTORS, 0x33);
    wish_write_bytes(cached, &write, 4, 5, 1, 0x44);
    expect_done(&write, 0);
    below_answer(&cached->below, STORE_ZERO, 2, -EIO);
    below_answer(&cached->below, STORE_ZERO, 20, -EIO);
    heir_init(&heir, cached);
    assert_int_equal(spill(&heir), 0);
    assert_int_equal(heir.count, 5);
    assert_true(heir.handed[0].is_zero && heir.handed[1].is_zero);
    assert_int_equal(heir.handed[0].block + heir.handed[1].block, 22);
    assert_int_equal(heir.handed[0].count + heir.handed[1].count, 4);
    expect_replayed(&heir, cached->below.data, 2, 0, SECTORS, 0);
    expect_replayed(&heir, cached->below.data, 3, 0, SECTORS, 0x33);
    expect_replayed(&heir, cached->below.data, 4, 1, SECTORS - 1, 0);
    assert_int_equal(cached->below.data[4 * BLOCK_BYTES + 5], 0x44);
    expect_replayed(&heir, cached->below.data, 9, 0, 1, 0x22);
    expect_replayed(&heir, cached->below.data, 20, 0, SECTORS, 0);
    free_spilled(cached);
}

TEST(spill, a_synchronous_write_that_failed_is_handed_over)
{
    struct cached *cached =
        cached_new((struct cache_config){ .write_delay_ns = EVER_NS, .is_sync = true });
    struct wish write;
    struct heir heir;

    wish_write(cached, &write, 3, 0, SECTORS, 0x11);
    below_answer(&cached->below, STORE_WRITE, 3, -EIO);
    expect_done(&write, -EIO);
    heir_init(&heir, cached);
    assert_int_equal(spill(&heir), 0);
    handed_block(&heir, 3);
    free_spilled(cached);
}

TEST(spill, what_is_dirty_when_the_volume_is_lost_is_handed_over)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = EVER_NS });
    const struct handed *handed;
    struct wish flush;
    struct heir heir;

    write_now(cached, 3, 0, SECTORS, 0x11);
    below_answer(&cached->below, STORE_WRITE, 3, -EROFS);
    fetch(cached, 4);
    write_now(cached, 4, 1, 1, 0x22);
    wish_flush(cached, &flush);
    below_answer(&cached->below, STORE_WRITE, 4, -EROFS);
    below_answer(&cached->below, STORE_WRITE, 3, -EROFS);
    expect_done(&flush, -EROFS);
    write_now(cached, 4, 5, 1, 0x33);
    make_dirty(cached, 5, 0x55);
    heir_init(&heir, cached);
    assert_int_equal(spill(&heir), 0);
    assert_int_equal(heir.count, 3);
    handed = handed_block(&heir, 5);
    assert_int_equal(handed->dirty, 0x01);
    free_spilled(cached);
}

/* ---- what is on its way */

TEST(spill, what_is_on_its_way_is_waited_for)
{
    for (int rc = 0; rc >= -EIO; rc -= EIO) {
        struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = EVER_NS });
        struct asked *flight, *zeros;
        struct wish zero;
        struct heir heir;

        write_now(cached, 3, 0, SECTORS, 0x11);
        flight = below_expect(&cached->below, STORE_WRITE, 3);
        wish_zero(cached, &zero, 8, 2);
        expect_done(&zero, 0);
        zeros = below_expect(&cached->below, STORE_ZERO, 8);
        heir_init(&heir, cached);
        spill_begin(&heir);
        asked_answer(flight, rc);
        cached_settle(cached);
        assert_int_equal(sem_trywait(&heir.done), -1);
        asked_answer(zeros, rc);
        assert_int_equal(spill_end(&heir), 0);
        assert_int_equal(heir.count, rc == 0 ? 0 : 2);
        cached_expect_quiet(cached);
        free_spilled(cached);
    }
}

TEST(spill, a_block_that_is_being_completed_is_waited_for_and_handed_over)
{
    for (int rc = 0; rc >= -EIO; rc -= EIO) {
        struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = NS_PER_S });
        struct asked *fetch;
        struct heir heir;

        write_now(cached, 3, 2, 1, 0x11);
        cached_sleep(cached, NS_PER_S);
        fetch = below_expect(&cached->below, STORE_READ, 3);
        heir_init(&heir, cached);
        spill_begin(&heir);
        assert_int_equal(sem_trywait(&heir.done), -1);
        asked_answer(fetch, rc);
        assert_int_equal(spill_end(&heir), 0);
        assert_int_equal(handed_block(&heir, 3)->valid, rc == 0 ? 0xff : 0x04);
        assert_int_equal(handed_block(&heir, 3)->dirty, 0x04);
        free_spilled(cached);
    }
}

/* The reader got what was written meanwhile. */
TEST(spill, a_fetch_that_nobody_waits_for_any_more_is_waited_for)
{
    for (int rc = 0; rc >= -EIO; rc -= EIO) {
        struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = EVER_NS });
        struct asked *fetch;
        struct wish read;
        struct heir heir;

        wish_read(cached, &read, 3, 2, 1);
        fetch = below_expect(&cached->below, STORE_READ, 3);
        write_now(cached, 3, 2, 1, 0x11);
        wish_expect(&read, 0x11);
        heir_init(&heir, cached);
        spill_begin(&heir);
        assert_int_equal(sem_trywait(&heir.done), -1);
        asked_answer(fetch, rc);
        assert_int_equal(spill_end(&heir), 0);
        assert_int_equal(handed_block(&heir, 3)->valid, rc == 0 ? 0xff : 0x04);
        assert_int_equal(handed_block(&heir, 3)->dirty, 0x04);
        free_spilled(cached);
    }
}

TEST(spill, blocks_fetched_ahead_are_told_to_end_and_waited_for)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = EVER_NS,
                                                              .blocks_max = 32,
                                                              .read_ahead_max = 4,
                                                              .read_ahead_trigger = 2 });
    struct asked *ahead;
    struct heir heir;

    for (uint64_t block = 0; block < 2; block++)
        fetch(cached, block);
    ahead = below_expect(&cached->below, STORE_READ, 2);
    assert_false(atomic_load(ahead->req->is_over));
    heir_init(&heir, cached);
    spill_begin(&heir);
    assert_true(atomic_load(ahead->req->is_over));
    assert_int_equal(sem_trywait(&heir.done), -1);
    for (unsigned reads = below_asked(&cached->below, STORE_READ); reads > 3; reads--)
        below_answer(&cached->below, STORE_READ, ANY_BLOCK, -ECANCELED);
    asked_answer(ahead, -ECANCELED);
    assert_int_equal(spill_end(&heir), 0);
    assert_int_equal(heir.count, 0);
    free_spilled(cached);
}

TEST(spill, nothing_is_sent_any_more_while_and_after_it_is_handed_over)
{
    struct cached *cached =
        cached_new((struct cache_config){ .write_delay_ns = NS_PER_S, .idle_ns = NS_PER_S });
    struct wish zero;
    struct heir heir;

    fetch(cached, 9);
    wish_zero(cached, &zero, 20, 1);
    expect_done(&zero, 0);
    below_answer(&cached->below, STORE_ZERO, 20, -EIO);
    for (uint64_t block = 1; block < 4; block++)
        write_now(cached, block, 0, 1, 0x11);
    heir_init(&heir, cached);
    heir.sleep_ns = 60 * NS_PER_S;
    assert_int_equal(spill(&heir), 0);
    assert_int_equal(heir.count, 4);
    cached_sleep(cached, 60 * NS_PER_S);
    cached_expect_quiet(cached);
    free_spilled(cached);
}

/* ---- when it fails */

TEST(spill, when_it_fails_all_is_as_it_was)
{
    for (unsigned fails_at = 0; fails_at < 4; fails_at++) {
        struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = EVER_NS });
        struct wish zero, flush;
        struct heir heir;

        wish_zero(cached, &zero, 20, 1);
        expect_done(&zero, 0);
        below_answer(&cached->below, STORE_ZERO, 20, -EIO);
        make_dirty(cached, 1, 0x11);
        make_dirty(cached, 2, 0x22);
        heir_init(&heir, cached);
        heir.fails_at = fails_at;
        assert_int_equal(spill(&heir), -ENOSPC);
        assert_int_equal(heir.count, fails_at);
        assert_int_equal(cached_gauge(cached, "dirty_blocks"), 2);
        assert_int_equal(cached_gauge(cached, "pending_zeros"), 1);

        /* Again, elsewhere. */
        heir_init(&heir, cached);
        heir.fails_at = 2;
        assert_int_equal(spill(&heir), -ENOSPC);
        assert_int_equal(heir.count, 2);

        /* And it can still be stored. */
        expect_read(cached, 1, 0, 1, 0x11);
        write_now(cached, 3, 0, 1, 0x33);
        below_mode(&cached->below, BELOW_ANSWERS);
        wish_flush(cached, &flush);
        expect_done(&flush, 0);
        below_expect_stored(&cached->below, 1, 0, 1, 0x11);
        below_expect_stored(&cached->below, 2, 0, 1, 0x22);
        below_expect_stored(&cached->below, 3, 0, 1, 0x33);
        below_expect_stored(&cached->below, 20, 0, SECTORS, 0);
        cached_free(cached);
    }
}

TEST(spill, what_came_due_while_it_failed_is_stored_without_being_asked)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = 10 * NS_PER_S });
    struct heir heir;

    make_dirty(cached, 1, 0x11);
    heir_init(&heir, cached);
    heir.fails_at = 0;
    heir.sleep_ns = 60 * NS_PER_S;
    assert_int_equal(spill(&heir), -ENOSPC);
    below_answer(&cached->below, STORE_WRITE, 1, 0);
    below_expect_stored(&cached->below, 1, 0, 1, 0x11);
    cached_free(cached);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(spill, nothing_is_handed_over_when_all_is_stored),
        RUN(spill, dirty_blocks_are_handed_over_with_what_is_valid_of_them_and_what_is_dirty),
        RUN(spill, of_a_part_that_could_not_be_taken_all_that_was_sent_is_dirty),
        RUN(spill, what_was_taken_before_is_valid_and_not_dirty),
        RUN(spill, zeros_come_before_what_was_written_over_them),
        RUN(spill, a_synchronous_write_that_failed_is_handed_over),
        RUN(spill, what_is_dirty_when_the_volume_is_lost_is_handed_over),
        RUN(spill, what_is_on_its_way_is_waited_for),
        RUN(spill, a_block_that_is_being_completed_is_waited_for_and_handed_over),
        RUN(spill, a_fetch_that_nobody_waits_for_any_more_is_waited_for),
        RUN(spill, blocks_fetched_ahead_are_told_to_end_and_waited_for),
        RUN(spill, nothing_is_sent_any_more_while_and_after_it_is_handed_over),
        RUN(spill, when_it_fails_all_is_as_it_was),
        RUN(spill, what_came_due_while_it_failed_is_stored_without_being_asked),
    };

    return cmocka_run_group_tests_name("spill", tests, NULL, NULL);
}
