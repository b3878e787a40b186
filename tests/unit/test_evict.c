/* SPDX-License-Identifier: Apache-2.0 */
/* core/evict.c: what goes and what stays, and the same choices as a model that is written as plainly as possible. */
#include "fake_backend.h"

#include "evict.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS_MAX 100u
#define ABSENT UINT64_MAX

/* A cache around it, as small as can be: which block is in which slot. */
static struct {
    struct evict *evict;
    uint32_t slots;
    uint64_t block[SLOTS_MAX];
    uint64_t scanned;
} rig;

static void
fresh(uint32_t slots, uint64_t protected_count)
{
    assert_true(slots <= SLOTS_MAX);
    rig.slots = slots;
    rig.scanned = 1000000;
    for (uint32_t slot = 0; slot < SLOTS_MAX; slot++)
        rig.block[slot] = ABSENT;
    assert_int_equal(evict_new(slots, protected_count, &rig.evict), 0);
}

static void
over(void)
{
    evict_free(rig.evict);
}

/* EVICT_NONE: not cached.  find(ABSENT) is a free slot. */
static uint32_t
find(uint64_t block)
{
    for (uint32_t slot = 0; slot < rig.slots; slot++) {
        if (rig.block[slot] == block)
            return slot;
    }
    return EVICT_NONE;
}

static bool
has(uint64_t block)
{
    return find(block) != EVICT_NONE;
}

/* The block that goes, or ABSENT. */
static uint64_t
choose(void)
{
    uint32_t slot = evict_choose(rig.evict);
    uint64_t block = ABSENT;

    if (slot != EVICT_NONE) {
        block = rig.block[slot];
        assert_true(block != ABSENT);
        rig.block[slot] = ABSENT;
    }
    return block;
}

/* Cached, after something else went if there was no room, and held. */
static void
bring(uint64_t block)
{
    if (!has(ABSENT))
        assert_true(choose() != ABSENT);
    evict_insert(rig.evict, find(ABSENT), block);
    rig.block[find(ABSENT)] = block;
}

static void
release(uint64_t block)
{
    evict_release(rig.evict, find(block));
}

static void
hold(uint64_t block)
{
    evict_hold(rig.evict, find(block));
}

/* Read it.  True: it was a hit. */
static bool
use(uint64_t block)
{
    if (has(block)) {
        evict_touch(rig.evict, find(block));
        return true;
    }
    bring(block);
    release(block);
    return false;
}

static unsigned
use_all(uint64_t first, uint64_t end)
{
    unsigned hits = 0;

    for (; first < end; first++)
        hits += use(first);
    return hits;
}

/* Each once, and never again. */
static void
scan(uint32_t blocks)
{
    use_all(rig.scanned, rig.scanned + blocks);
    rig.scanned += blocks;
}

/* They fall out and come back. */
static void
make_hot(uint64_t first, uint64_t end)
{
    use_all(first, end);
    for (uint64_t block = first; block < end; block++) {
        while (has(block))
            scan(1);
    }
    assert_int_equal(use_all(first, end), 0);
}

/* The hot ones below 1000 go in this order. */
static void
expect_hot_to_go(const uint64_t *order, unsigned count)
{
    unsigned gone = 0;

    for (uint64_t block = choose(); block != ABSENT; block = choose()) {
        if (block < 1000) {
            assert_true(gone < count);
            assert_int_equal(block, order[gone++]);
        }
    }
    assert_int_equal(gone, count);
}

TEST(evict, a_scan_of_ten_times_the_cache_leaves_the_hot_blocks_in_place)
{
    fresh(100, 0);
    make_hot(0, 40);
    assert_int_equal(use_all(0, 40), 40);
    scan(1000);
    assert_int_equal(use_all(0, 40), 40);
    over();
}

TEST(evict, a_scan_that_asks_for_each_block_in_parts_does_so_too)
{
    fresh(100, 0);
    make_hot(0, 40);
    for (uint64_t part = 0; part < 8 * 1000; part++)
        use(1000 + part / 8);
    assert_int_equal(use_all(0, 40), 40);
    over();
}

TEST(evict, blocks_that_are_written_once_do_so_too)
{
    fresh(100, 0);
    make_hot(0, 40);
    for (uint64_t block = 1000; block < 2000; block++) { /* 30 are dirty at any time */
        bring(block);
        if (block >= 1030)
            release(block - 30);
    }
    assert_int_equal(use_all(0, 40), 40);
    over();
}

TEST(evict, a_block_that_comes_back_soon_stays_and_one_that_comes_back_late_does_not)
{
    fresh(100, 0);
    use_all(0, 2);
    scan(148); /* gone, and both just so remembered */
    assert_false(has(0) || has(1));
    use(0);
    scan(2); /* 1 is forgotten */
    use(1);
    scan(300);
    assert_true(has(0));
    assert_false(has(1));
    over();
}

TEST(evict, new_blocks_go_in_the_order_of_their_coming_however_often_they_are_used_at_once)
{
    fresh(4, 0);
    for (uint64_t part = 0; part < 4 * 8; part++)
        use(part / 8);
    for (uint64_t block = 0; block < 4; block++)
        assert_int_equal(choose(), block);
    assert_int_equal(choose(), ABSENT);
    over();
}

TEST(evict, a_new_block_that_is_used_again_after_others_came_stays)
{
    fresh(100, 0);
    bring(0); /* ahead of its use */
    bring(1);
    release(0);
    release(1);
    scan(50);
    use_all(0, 2); /* their first */
    scan(12);
    use(0);
    scan(1);
    use(1);
    scan(500);
    assert_false(has(0));
    assert_true(has(1));
    over();
}

TEST(evict, hot_blocks_are_spared_once_for_each_use_up_to_three)
{
    fresh(8, 0);
    make_hot(0, 4);
    use(2);
    for (unsigned i = 0; i < 10; i++)
        use(0);
    use(3);
    use(3);
    expect_hot_to_go((const uint64_t[]){ 1, 2, 3, 0 }, 4);
    over();
}

TEST(evict, a_choice_spares_no_more_than_32_blocks)
{
    uint64_t gone;

    fresh(100, 0);
    make_hot(0, 50);
    assert_int_equal(use_all(0, 50), 50);
    do
        gone = choose();
    while (gone >= 1000);
    assert_int_equal(gone, 32);
    over();
}

TEST(evict, protected_blocks_go_only_if_nothing_else_can)
{
    fresh(10, 5);
    use_all(0, 5);
    use_all(100, 200);
    assert_int_equal(use_all(0, 5), 5);
    use(0); /* now it has one use more */
    for (unsigned i = 0; i < 5; i++)
        assert_true(choose() >= 5);
    assert_int_equal(choose(), 1);
    bring(100); /* held */
    assert_int_equal(choose(), 2);
    release(100);
    assert_int_equal(choose(), 100);
    assert_int_equal(choose(), 3);
    over();
}

TEST(evict, protected_blocks_give_new_ones_no_more_room)
{
    fresh(100, 80);
    use_all(0, 80);
    make_hot(1000, 1015);
    scan(500);
    assert_int_equal(use_all(1000, 1015), 15);
    over();
}

TEST(evict, held_blocks_never_go)
{
    fresh(3, 0);
    bring(0);
    bring(1);
    use(2);
    assert_int_equal(choose(), 2);
    assert_int_equal(choose(), ABSENT);
    release(1);
    use(3);
    hold(1);
    assert_int_equal(choose(), 3);
    assert_int_equal(choose(), ABSENT);
    release(0);
    release(1);
    assert_int_equal(choose(), 0);
    assert_int_equal(choose(), 1);
    over();
}

TEST(evict, blocks_that_were_chosen_and_could_not_go_keep_their_places_and_are_worth_no_more)
{
    uint32_t passed[3];

    fresh(100, 0);
    use_all(0, 4);
    for (unsigned i = 0; i < 3; i++)
        passed[i] = evict_choose(rig.evict);
    for (unsigned i = 3; i-- > 0;)
        evict_unchoose(rig.evict, passed[i]);
    scan(96);
    for (uint64_t block = 0; block < 4; block++)
        assert_int_equal(choose(), block);
    over();
}

TEST(evict, a_block_that_is_removed_leaves_nothing_behind)
{
    fresh(4, 0);
    bring(0);
    evict_remove(rig.evict, find(0));
    rig.block[find(0)] = ABSENT;
    use(1);
    evict_remove(rig.evict, find(1));
    rig.block[find(1)] = ABSENT;
    assert_int_equal(choose(), ABSENT);
    use_all(0, 2); /* as new ones */
    scan(4);
    assert_false(has(0) || has(1));
    over();
}

TEST(evict, one_slot_takes_each_block_in_turn)
{
    fresh(1, 0);
    assert_int_equal(choose(), ABSENT);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(use_all(0, 3), 0);
        assert_true(use(2));
    }
    over();
}

TEST(evict, a_cache_of_two_or_three_slots_keeps_a_hot_block_too)
{
    for (uint32_t slots = 2; slots <= 3; slots++) {
        fresh(slots, 0);
        make_hot(0, 1);
        scan(100);
        assert_true(has(0));
        over();
    }
}

TEST(evict, hot_blocks_that_nobody_uses_any_more_make_room_for_new_hot_ones)
{
    fresh(20, 0);
    make_hot(0, 8);
    make_hot(8, 15);
    make_hot(100, 108);
    make_hot(108, 115);
    assert_int_equal(use_all(100, 115), 15);
    over();
}

/* ---- the model: rows of slots and ghosts, oldest first */

enum model_queue { NEW, HOT, PROTECTED, QUEUES };

static struct {
    uint64_t protected_count;
    uint32_t row[QUEUES][SLOTS_MAX], row_count[QUEUES];
    enum model_queue queue[SLOTS_MAX]; /* by slot, as the next three */
    bool is_held[SLOTS_MAX];
    unsigned uses[SLOTS_MAX];
    uint64_t first_use[SLOTS_MAX];
    uint64_t news;
    uint64_t ghosts[SLOTS_MAX];
    uint32_t ghost_count, ghosts_max;
} model;

/* Out of its row; false if it was not in it. */
static bool
model_out(uint32_t slot)
{
    uint32_t *row = model.row[model.queue[slot]], *count = &model.row_count[model.queue[slot]];

    for (uint32_t i = 0; i < *count; i++) {
        if (row[i] == slot) {
            memmove(&row[i], &row[i + 1], (--*count - i) * sizeof *row);
            return true;
        }
    }
    return false;
}

static void
model_in(uint32_t slot)
{
    model.row[model.queue[slot]][model.row_count[model.queue[slot]]++] = slot;
}

static bool
model_forget(uint64_t block)
{
    for (uint32_t i = 0; i < model.ghost_count; i++) {
        if (model.ghosts[i] == block) {
            memmove(&model.ghosts[i], &model.ghosts[i + 1],
                    (--model.ghost_count - i) * sizeof model.ghosts[0]);
            return true;
        }
    }
    return false;
}

static void
model_insert(uint32_t slot, uint64_t block)
{
    bool is_back = model_forget(block);

    model.queue[slot] = block < model.protected_count ? PROTECTED : is_back ? HOT : NEW;
    model.is_held[slot] = true;
    model.uses[slot] = 0;
    model.news += model.queue[slot] == NEW;
}

static void
model_touch(uint32_t slot)
{
    if (model.queue[slot] != NEW) {
        if (model.uses[slot] < 3)
            model.uses[slot]++;
    } else if (model.uses[slot] == 0) {
        model.uses[slot] = 1;
        model.first_use[slot] = model.news;
    } else if (model.news > model.first_use[slot] + rig.slots / 8) {
        model.uses[slot] = 2;
    }
}

/* The queue whose oldest is next, or QUEUES. */
static enum model_queue
model_queue(void)
{
    uint32_t count[QUEUES] = { 0 };
    bool is_new_full;

    for (uint32_t slot = 0; slot < rig.slots; slot++)
        count[model.queue[slot]] += rig.block[slot] != ABSENT;
    is_new_full = count[NEW] > (count[NEW] + count[HOT]) / 8;
    if (model.row_count[NEW] > 0 && (is_new_full || model.row_count[HOT] == 0))
        return NEW;
    if (model.row_count[HOT] > 0)
        return HOT;
    return model.row_count[PROTECTED] > 0 ? PROTECTED : QUEUES;
}

static uint32_t
model_choose(void)
{
    for (unsigned spared = 0; model_queue() != QUEUES; spared++) {
        enum model_queue queue = model_queue();
        uint32_t slot = model.row[queue][0];

        model_out(slot);
        if (spared < 32 && queue == NEW && model.uses[slot] == 2) {
            model.queue[slot] = HOT;
            model.uses[slot] = 0;
            model_in(slot);
        } else if (spared < 32 && queue != NEW && model.uses[slot] > 0) {
            model.uses[slot]--;
            model_in(slot);
        } else {
            if (queue == NEW && model.ghost_count == model.ghosts_max)
                model_forget(model.ghosts[0]);
            if (queue == NEW)
                model.ghosts[model.ghost_count++] = rig.block[slot];
            return slot;
        }
    }
    return EVICT_NONE;
}

static void
model_unchoose(uint32_t slot)
{
    enum model_queue queue = model.queue[slot];

    model_forget(rig.block[slot]);
    memmove(&model.row[queue][1], &model.row[queue][0],
            model.row_count[queue]++ * sizeof model.row[queue][0]);
    model.row[queue][0] = slot;
}

/* The lower, the more often: so many become hot that new ones are few. */
static uint64_t
some_block(uint64_t *seed, uint64_t blocks)
{
    uint64_t block = random_next(seed) % blocks;

    for (unsigned i = 0; i < 2; i++) {
        uint64_t other = random_next(seed) % blocks;

        if (other < block)
            block = other;
    }
    return block;
}

static void
behave_like_the_model(uint64_t *seed, uint32_t slots, uint64_t protected_count, uint64_t blocks)
{
    fresh(slots, protected_count);
    memset(&model, 0, sizeof model);
    model.protected_count = protected_count;
    model.ghosts_max = slots / 2 + 1;
    for (unsigned round = 0; round < 20000; round++) {
        uint64_t chance = random_next(seed), block = some_block(seed, blocks);
        uint32_t slot = find(block);

        if (slot == EVICT_NONE) {
            slot = find(ABSENT);
            if (slot == EVICT_NONE || chance % 64 == 0) {
                uint32_t chosen = evict_choose(rig.evict);

                assert_int_equal(chosen, model_choose());
                if (chosen != EVICT_NONE && chance % 8 == 0) {
                    evict_unchoose(rig.evict, chosen);
                    model_unchoose(chosen);
                } else if (chosen != EVICT_NONE) {
                    rig.block[chosen] = ABSENT;
                }
            }
            slot = find(ABSENT);
            if (slot == EVICT_NONE)
                continue;
            evict_insert(rig.evict, slot, block);
            model_insert(slot, block);
            rig.block[slot] = block;
        } else if (chance % 1024 == 0) {
            evict_remove(rig.evict, slot);
            model_out(slot);
            rig.block[slot] = ABSENT;
        } else if (model.is_held[slot] && chance % 2 == 0) {
            evict_release(rig.evict, slot);
            model.is_held[slot] = false;
            model_in(slot);
        } else if (model.is_held[slot] || chance % 16 != 1) {
            evict_touch(rig.evict, slot);
            model_touch(slot);
        } else {
            evict_hold(rig.evict, slot);
            model.is_held[slot] = true;
            model_out(slot);
        }
    }
    over();
}

TEST(evict, chooses_as_the_model_does)
{
    uint64_t seed = test_seed();

    for (uint32_t slots = 1; slots <= 5; slots++) {
        behave_like_the_model(&seed, slots, 0, 2 * slots);
        behave_like_the_model(&seed, slots, 1 + slots / 2, 4 * slots);
    }
    behave_like_the_model(&seed, SLOTS_MAX, 0, 130);
    behave_like_the_model(&seed, SLOTS_MAX, 0, 400);
    behave_like_the_model(&seed, SLOTS_MAX, 10, 160);
    behave_like_the_model(&seed, SLOTS_MAX, 120, 200);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(evict, a_scan_of_ten_times_the_cache_leaves_the_hot_blocks_in_place),
        RUN(evict, a_scan_that_asks_for_each_block_in_parts_does_so_too),
        RUN(evict, blocks_that_are_written_once_do_so_too),
        RUN(evict, a_block_that_comes_back_soon_stays_and_one_that_comes_back_late_does_not),
        RUN(evict, new_blocks_go_in_the_order_of_their_coming_however_often_they_are_used_at_once),
        RUN(evict, a_new_block_that_is_used_again_after_others_came_stays),
        RUN(evict, hot_blocks_are_spared_once_for_each_use_up_to_three),
        RUN(evict, a_choice_spares_no_more_than_32_blocks),
        RUN(evict, hot_blocks_that_nobody_uses_any_more_make_room_for_new_hot_ones),
        RUN(evict, protected_blocks_go_only_if_nothing_else_can),
        RUN(evict, protected_blocks_give_new_ones_no_more_room),
        RUN(evict, held_blocks_never_go),
        RUN(evict,
            blocks_that_were_chosen_and_could_not_go_keep_their_places_and_are_worth_no_more),
        RUN(evict, a_block_that_is_removed_leaves_nothing_behind),
        RUN(evict, one_slot_takes_each_block_in_turn),
        RUN(evict, a_cache_of_two_or_three_slots_keeps_a_hot_block_too),
        RUN(evict, chooses_as_the_model_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
