/* SPDX-License-Identifier: Apache-2.0 */
/* A trim and a write to the same block never cross, whatever is listed meanwhile: a block that is known to be
 * zeros has no object, and none on its way. */
#include "fake_backend.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct rig_config plain = { .settle_ns = 0 };

/* ---- one after the other */

TEST(trim, a_write_waits_for_the_trim_before_it)
{
    struct rig rig;
    struct call trim, write, other;
    struct fake_request *many;

    rig_open(&rig, &plain);
    call_zero(&rig, &trim, 3, 4);
    call_write(&rig, &write, 5, 1);
    call_write(&rig, &other, 7, 1);
    many = fake_expect(&rig.fake, BD_DELETE_MANY, "00000003");
    fake_answer(fake_expect_block(&rig.fake, BD_PUT, 7), BD_OK);
    assert_int_equal(call_end(&other), 0);
    fake_expect_quiet(&rig.fake);
    fake_answer(many, BD_OK);
    assert_int_equal(call_end(&trim), 0);
    fake_answer(fake_expect_block(&rig.fake, BD_PUT, 5), BD_OK);
    assert_int_equal(call_end(&write), 0);
    assert_false(store_is_zero(rig.store, 5));
    assert_true(store_is_zero(rig.store, 4));
    rig_close(&rig);
}

TEST(trim, a_trim_waits_for_the_write_before_it)
{
    struct rig rig;
    struct call write, trim;
    struct fake_request *put;

    rig_open(&rig, &plain);
    call_write(&rig, &write, 5, 1);
    put = fake_expect_block(&rig.fake, BD_PUT, 5);
    call_zero(&rig, &trim, 3, 4);
    fake_expect_quiet(&rig.fake);
    assert_false(store_is_zero(rig.store, 5));
    fake_answer(put, BD_OK);
    assert_int_equal(call_end(&write), 0);
    fake_answer(fake_expect(&rig.fake, BD_DELETE_MANY, "00000003"), BD_OK);
    assert_int_equal(call_end(&trim), 0);
    assert_true(store_is_zero(rig.store, 5));
    rig_close(&rig);
}

TEST(trim, a_trim_of_zeros_does_not_overtake_a_write_that_is_held)
{
    const struct rig_config config = { .write_gap_ns = 30 * NS_PER_S };
    struct rig rig;
    struct call zeros, write, trim;

    rig_open(&rig, &config);
    call_zero(&rig, &zeros, 4, 3);
    fake_answer(fake_expect(&rig.fake, BD_DELETE_MANY, "00000004"), BD_OK);
    assert_int_equal(call_end(&zeros), 0);
    call_write(&rig, &write, 5, 1);
    rig_wait_held(&rig, 1);
    call_zero(&rig, &trim, 4, 3); /* all zeros still */
    fake_expect_quiet(&rig.fake);
    assert_false(call_is_done(&trim));
    clock_jump(rig.pool, 31 * NS_PER_S);
    fake_answer(fake_expect_block(&rig.fake, BD_PUT, 5), BD_OK);
    assert_int_equal(call_end(&write), 0);
    rig_wait_held(&rig, 2);
    clock_jump(rig.pool, 31 * NS_PER_S);
    fake_answer(fake_expect_block(&rig.fake, BD_DELETE, 5), BD_OK);
    assert_int_equal(call_end(&trim), 0);
    rig_close(&rig);
}

TEST(trim, a_write_into_a_range_that_is_being_listed_comes_after_its_deletes)
{
    static const char *const names[] = { "00000010", "00000020", "00000030" };
    const struct rig_config config = { .block_count = 100000, .delete_many_max = 2 };
    struct rig rig;
    struct call trim, inside, listed, outside, read;
    struct fake_request *list, *deletes[2];

    rig_open(&rig, &config);
    call_zero(&rig, &trim, 1, 50000);
    list = fake_expect(&rig.fake, BD_LIST, "");
    call_write(&rig, &inside, 7, 1);
    call_write(&rig, &listed, 0x20, 2);
    call_write(&rig, &outside, 60000, 3);
    fake_answer(fake_expect_block(&rig.fake, BD_PUT, 60000), BD_OK);
    assert_int_equal(call_end(&outside), 0);
    fake_give_names(list, names, ARRAY_LEN(names)); /* without 60000 */
    deletes[0] = fake_expect(&rig.fake, BD_DELETE_MANY, "00000010");
    deletes[1] = fake_expect_block(&rig.fake, BD_DELETE, 0x30);
    fake_expect_quiet(&rig.fake);
    assert_false(store_is_zero(rig.store, 60000));
    fake_answer(deletes[1], BD_OK);
    fake_expect_quiet(&rig.fake);
    fake_answer(deletes[0], BD_OK);
    assert_int_equal(call_end(&trim), 0);
    for (unsigned i = 0; i < 2; i++) {
        struct fake_request *put = fake_next(&rig.fake);

        assert_int_equal(put->op, BD_PUT);
        fake_answer(put, BD_OK);
    }
    assert_int_equal(call_end(&inside), 0);
    assert_int_equal(call_end(&listed), 0);
    call_read(&rig, &read, 0x20);
    fake_give_block(fake_expect_block(&rig.fake, BD_GET, 0x20), 2, "t");
    call_expect_block(&read, 2);
    assert_int_equal(consistency_data_blocks(rig.store), 3);
    rig_close(&rig);
}

/* ---- batches */

TEST(trim, batches_go_at_once_and_no_block_is_in_two)
{
    const struct rig_config config = { .block_count = 1000,
                                       .delete_many_max = 7,
                                       .in_flight_max = 200 };
    struct rig rig;
    struct call trim;
    struct fake_request *deletes[200];
    unsigned count = 0, seen[1000] = { 0 }, most = 0;

    rig_open(&rig, &config);
    call_zero(&rig, &trim, 1, 999);
    while (!call_is_done(&trim)) {
        rig_catch_up(&rig);
        while ((deletes[count] = fake_take(&rig.fake)) != NULL) {
            for (unsigned i = 0; i < deletes[count]->name_count; i++)
                seen[strtoul(deletes[count]->names[i], NULL, 16)]++;
            if (deletes[count]->op == BD_DELETE)
                seen[strtoul(deletes[count]->name, NULL, 16)]++;
            count++;
        }
        if (count > most)
            most = count;
        for (unsigned i = 0; i < (count + 1) / 2; i++) /* some now, some later */
            fake_answer(deletes[i * 2], BD_OK);
        for (unsigned i = 0; i < count / 2; i++)
            deletes[i] = deletes[i * 2 + 1];
        count /= 2;
    }
    assert_int_equal(call_end(&trim), 0);
    assert_int_equal(most, 64);
    for (unsigned block = 1; block < 1000; block++) {
        assert_int_equal(seen[block], 1);
        assert_true(store_is_zero(rig.store, block));
    }
    rig_close(&rig);
}

TEST(trim, a_batch_that_fails_ends_it_after_those_on_their_way)
{
    const struct rig_config config = { .block_count = 2000,
                                       .delete_many_max = 10,
                                       .in_flight_max = 200 };
    struct rig rig;
    struct call trim;
    struct fake_request *deletes[65];
    unsigned count = 0;

    rig_open(&rig, &config);
    call_zero(&rig, &trim, 1, 1999);
    rig_catch_up(&rig);
    while ((deletes[count] = fake_take(&rig.fake)) != NULL)
        count++;
    assert_int_equal(count, 64);
    fake_answer(deletes[5], BD_DENIED);
    rig_catch_up(&rig);
    for (unsigned i = 0; i < count; i++) {
        assert_false(call_is_done(&trim));
        if (i != 5)
            fake_answer(deletes[i], BD_OK);
    }
    assert_int_equal(call_end(&trim), -EACCES);
    for (unsigned block = 1; block < 2000; block++)
        assert_int_equal(store_is_zero(rig.store, block),
                         block < 641 && (block < 51 || block > 60));
    rig_close(&rig);
}

/* ---- chance: requests wait, overtake each other, fail and get lost, while a survey lists */

#define BLOCKS 24000u
#define CALLS 24u
#define STEPS 3000u

struct held_request {
    struct fake_request *fake;
    bool is_done;        /* the store has, and will answer */
    unsigned content;    /* GET */
    unsigned name_count; /* LIST: what the page has, and whether there is more */
    char (*names)[20];
};

struct store_model {
    struct layout layout;
    uint16_t content[BLOCKS]; /* 0: no object; else 0x100 and the fill */
    struct held_request held[64];
    unsigned held_count;
};

struct order_entry {
    char name[20];
    uint32_t block;
};

static int
by_name(const void *a, const void *b)
{
    return strcmp(((const struct order_entry *)a)->name, ((const struct order_entry *)b)->name);
}

static void
model_order(struct store_model *model, struct order_entry *entries)
{
    for (uint32_t block = 0; block < BLOCKS; block++) {
        object_name name;

        layout_block_name(&model->layout, block, name);
        snprintf(entries[block].name, sizeof entries[block].name, "%.19s", name);
        entries[block].block = block;
    }
    qsort(entries, BLOCKS, sizeof *entries, by_name);
}

static uint32_t
block_of(const struct store_model *model, const char *name)
{
    uint64_t block;

    assert_true(layout_parse(&model->layout, name, &block));
    return (uint32_t)block;
}

/* The store does what it was asked. */
static void
carry_out(struct store_model *model, struct held_request *held, const struct order_entry *entries)
{
    const struct fake_request *fake = held->fake;
    uint32_t limit;

    held->is_done = true;
    switch (fake->op) {
    case BD_GET:
        held->content = model->content[block_of(model, fake->name)];
        break;
    case BD_PUT:
        model->content[block_of(model, fake->name)] = (uint16_t)(0x100 | fake->body[0]);
        break;
    case BD_DELETE:
        model->content[block_of(model, fake->name)] = 0;
        break;
    case BD_DELETE_MANY:
        for (uint32_t i = 0; i < fake->name_count; i++)
            model->content[block_of(model, fake->names[i])] = 0;
        break;
    default:
        assert_int_equal(fake->op, BD_LIST);
        limit = fake->io->limit + 1;
        held->names = calloc(limit, sizeof *held->names);
        for (unsigned i = 0; i < BLOCKS && held->name_count < limit; i++) {
            if (model->content[entries[i].block] != 0
                && strcmp(entries[i].name, fake->start_after) > 0)
                memcpy(held->names[held->name_count++], entries[i].name, sizeof entries[i].name);
        }
    }
}

static void
answer(struct held_request *held)
{
    const char *names[1001];
    struct fake_request *fake = held->fake;

    if (fake->op == BD_GET && held->content == 0) {
        fake_answer(fake, BD_ABSENT);
    } else if (fake->op == BD_GET) {
        fake_give_block(fake, (unsigned char)held->content, "t");
    } else if (fake->op == BD_LIST) {
        for (unsigned i = 0; i < held->name_count; i++)
            names[i] = held->names[i];
        fake_give_names(fake, names, held->name_count);
    } else {
        fake_answer(fake, BD_OK);
    }
    free(held->names);
}

/* One request that has come moves on: is carried out, answered, refused or lost. */
static void
store_step(struct store_model *model, struct rig *rig, const struct order_entry *entries,
           uint64_t *seed)
{
    uint64_t chance = random_next(seed);
    struct held_request *held;
    struct fake_request *came;

    while (model->held_count < ARRAY_LEN(model->held) && (came = fake_take(&rig->fake)) != NULL)
        model->held[model->held_count++] = (struct held_request){ .fake = came };
    if (model->held_count == 0)
        return;
    held = &model->held[chance % model->held_count];
    if (!held->is_done && (chance >> 16) % 30 == 0) {
        fake_answer(held->fake, (chance >> 32) % 2 ? BD_RETRY : BD_UNKNOWN);
    } else if (!held->is_done) {
        carry_out(model, held, entries);
        return;
    } else if ((chance >> 16) % 30 == 0) {
        fake_answer(held->fake, BD_UNKNOWN);
        free(held->names);
    } else {
        answer(held);
    }
    *held = model->held[--model->held_count];
}

static void
expect_zeros_have_nothing(const struct store_model *model, struct rig *rig)
{
    for (uint32_t block = 0; block < BLOCKS; block++) {
        if (model->content[block] != 0 && store_is_zero(rig->store, block))
            fail_msg("block %u is known to be zeros, and has an object", block);
    }
}

static void
expect_zeros_have_nothing_coming(const struct store_model *model, struct rig *rig)
{
    for (unsigned i = 0; i < model->held_count; i++) {
        const struct fake_request *fake = model->held[i].fake;

        if (fake->op == BD_PUT && store_is_zero(rig->store, block_of(model, fake->name)))
            fail_msg("%s is known to be zeros, and is being written", fake->name);
    }
}

struct play {
    struct call calls[CALLS];
    bool is_used[CALLS];
    int expected[CALLS]; /* of a read; -1: whatever */
    unsigned char want[BLOCKS];
    unsigned pending[BLOCKS]; /* writes that have not ended */
};

static void
call_some(struct play *play, struct rig *rig, unsigned i, uint64_t *seed)
{
    uint64_t chance = random_next(seed), kind = chance % 20;
    uint64_t block = (chance >> 8) % 4 == 0 ? (chance >> 12) % BLOCKS : (chance >> 12) % 64;
    uint64_t count = kind == 0 ? (chance >> 28) % BLOCKS + 1 : (chance >> 28) % 40 + 1;

    if (count > BLOCKS - block)
        count = BLOCKS - block;
    play->is_used[i] = true;
    play->expected[i] = -1;
    if (kind <= 5) {
        memset(play->want + block, 0, count);
        for (uint64_t j = block; j < block + count; j++)
            play->pending[j]++;
        call_zero(rig, &play->calls[i], block, count);
    } else if (kind <= 12) {
        play->want[block] = (unsigned char)(kind == 6 ? 0 : chance >> 48);
        play->pending[block]++;
        call_write(rig, &play->calls[i], block, play->want[block]);
    } else if (kind == 13) {
        call_seek(rig, &play->calls[i], block, BLOCKS, chance >> 50 & 1);
    } else {
        if (play->pending[block] == 0)
            play->expected[i] = play->want[block];
        call_read(rig, &play->calls[i], block);
    }
}

/* Returns how many calls are left. */
static unsigned
calls_end(struct play *play)
{
    unsigned left = 0;

    for (unsigned i = 0; i < CALLS; i++) {
        struct call *call = &play->calls[i];

        if (!play->is_used[i])
            continue;
        if (!call_is_done(call)) {
            left++;
            continue;
        }
        play->is_used[i] = false;
        if (call_end(call) != 0)
            assert_true(call->req.op == STORE_SEEK && call->req.rc == -ENXIO);
        for (uint64_t j = 0; call->req.op == STORE_ZERO && j < call->req.count; j++)
            play->pending[call->req.block + j]--;
        if (call->req.op == STORE_WRITE)
            play->pending[call->req.block]--;
        if (play->expected[i] >= 0)
            assert_int_equal(call->data[0], play->expected[i]);
    }
    return left;
}

static int survey_rc;
static sem_t surveyed;

static void
survey_done(void *arg, int rc)
{
    (void)arg;
    survey_rc = rc;
    sem_post(&surveyed);
}

static bool
is_surveyed(void)
{
    int value;

    sem_getvalue(&surveyed, &value);
    return value > 0;
}

static void
play_once(uint64_t *seed)
{
    static struct order_entry entries[BLOCKS];
    uint64_t chance = random_next(seed);
    const struct rig_config config = { .block_count = BLOCKS,
                                       .is_hashed = chance & 1,
                                       .listers_max = 1 + (chance >> 1) % 8,
                                       .list_max = 5 + (chance >> 4) % 60,
                                       .delete_many_max = 1 + (chance >> 10) % 20,
                                       .in_flight_max = 1 + (chance >> 16) % 30 };
    uint64_t survey_at = (chance >> 24) % 600, is_sparse = chance >> 40 & 1;
    struct store_model *model = calloc(1, sizeof *model);
    struct play *play = calloc(1, sizeof *play);
    struct rig rig;
    bool is_begun = false;

    rig_open(&rig, &config);
    model->layout = rig.layout;
    model_order(model, entries);
    for (unsigned i = 0; i < (is_sparse ? 50 : 2500); i++) {
        uint64_t block = random_next(seed) % (is_sparse ? BLOCKS : 4000);

        model->content[block] = 0x1aa;
        play->want[block] = 0xaa;
    }
    sem_init(&surveyed, 0, 0);
    for (unsigned step = 0, left = 1; step < STEPS || left > 0 || !is_surveyed(); step++) {
        if (step == survey_at) {
            is_begun = true;
            consistency_survey(rig.store, survey_done, NULL);
        }
        for (unsigned i = 0; i < CALLS && step < STEPS; i++) {
            if (!play->is_used[i] && random_next(seed) % 40 == 0)
                call_some(play, &rig, i, seed);
        }
        for (unsigned i = 0; i < 4; i++) /* the store is faster than those who ask */
            store_step(model, &rig, entries, seed);
        expect_zeros_have_nothing_coming(model, &rig);
        if (step % 100 == 0)
            expect_zeros_have_nothing(model, &rig);
        if (model->held_count == 0)
            usleep(50);
        left = calls_end(play); /* those that have just been begun, too */
    }
    assert_true(is_begun);
    assert_int_equal(survey_rc, 0);
    rig_catch_up(&rig);
    expect_zeros_have_nothing(model, &rig);
    for (uint32_t block = 0; block < BLOCKS; block++) {
        if ((model->content[block] & 0xff) != play->want[block])
            fail_msg("block %u has %x, and should have %x", block, model->content[block],
                     play->want[block]);
        if (store_is_zero(rig.store, block) != (model->content[block] == 0))
            fail_msg("what is known of block %u is not all there is", block);
    }
    rig_close(&rig);
    sem_destroy(&surveyed);
    free(model);
    free(play);
}

TEST(trim, what_is_known_to_be_zeros_has_no_object_and_none_coming)
{
    uint64_t seed = test_seed();

    for (unsigned round = 0; round < (getenv("BUCKETDISK_LONG") != NULL ? 300 : 12); round++)
        play_once(&seed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(trim, a_write_waits_for_the_trim_before_it),
        RUN(trim, a_trim_waits_for_the_write_before_it),
        RUN(trim, a_trim_of_zeros_does_not_overtake_a_write_that_is_held),
        RUN(trim, a_write_into_a_range_that_is_being_listed_comes_after_its_deletes),
        RUN(trim, batches_go_at_once_and_no_block_is_in_two),
        RUN(trim, a_batch_that_fails_ends_it_after_those_on_their_way),
        RUN(trim, what_is_known_to_be_zeros_has_no_object_and_none_coming),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
