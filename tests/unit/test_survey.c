/* SPDX-License-Identifier: Apache-2.0 */
/* core/survey.c below consistency: what is listed, by how many at once, and in how many round trips. */
#include "fake_backend.h"

#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- a store that has these blocks */

struct shelf {
    unsigned count, room;
    char **names; /* sorted */
    uint64_t *blocks;
};

static int
by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
shelf_add(struct shelf *shelf, const struct layout *layout, uint64_t block)
{
    object_name name;

    if (shelf->count == shelf->room) {
        shelf->room = shelf->room * 2 + 64;
        shelf->names = realloc(shelf->names, shelf->room * sizeof *shelf->names);
        shelf->blocks = realloc(shelf->blocks, shelf->room * sizeof *shelf->blocks);
    }
    layout_block_name(layout, block, name);
    shelf->blocks[shelf->count] = block;
    shelf->names[shelf->count++] = strdup(name);
}

static void
shelf_add_foreign(struct shelf *shelf, const char *name)
{
    shelf_add(shelf, &(struct layout){ .prefix = "" }, 0);
    free(shelf->names[shelf->count - 1]);
    shelf->names[shelf->count - 1] = strdup(name);
    shelf->blocks[shelf->count - 1] = UINT64_MAX;
}

static void
shelf_sort(struct shelf *shelf)
{
    if (shelf->count > 0)
        qsort(shelf->names, shelf->count, sizeof *shelf->names, by_name);
}

static void
shelf_free(struct shelf *shelf)
{
    for (unsigned i = 0; i < shelf->count; i++)
        free(shelf->names[i]);
    free(shelf->names);
    free(shelf->blocks);
}

static void
list_answer(struct fake_request *request, const struct shelf *shelf)
{
    unsigned low = 0, high = shelf->count;

    assert_int_equal(request->op, BD_LIST);
    while (low < high) {
        unsigned middle = (low + high) / 2;

        if (strcmp(shelf->names[middle], request->start_after) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    fake_give_names(request, (const char *const *)shelf->names + low, shelf->count - low);
}

/* ---- a survey, one round trip after the other: all requests are answered together */

struct trip {
    unsigned rounds, pages, most_at_once;
    int rc;
    bool is_done;
};

static void
survey_done(void *arg, int rc)
{
    struct trip *trip = arg;

    trip->rc = rc;
    __atomic_store_n(&trip->is_done, true, __ATOMIC_RELEASE);
}

static bool
is_done(struct rig *rig, struct trip *trip)
{
    rig_catch_up(rig);
    return __atomic_load_n(&trip->is_done, __ATOMIC_ACQUIRE);
}

/* Takes what has come, at most `max`; returns how many. */
static unsigned
take_all(struct rig *rig, struct fake_request **requests, unsigned max)
{
    unsigned count = 0;

    rig_catch_up(rig);
    while (count < max && (requests[count] = fake_take(&rig->fake)) != NULL)
        count++;
    return count;
}

static void
answer_all(struct trip *trip, struct fake_request **requests, unsigned count,
           const struct shelf *shelf)
{
    assert_true(count > 0);
    trip->rounds++;
    trip->pages += count;
    if (count > trip->most_at_once)
        trip->most_at_once = count;
    for (unsigned i = 0; i < count; i++)
        list_answer(requests[i], shelf);
}

static void
round_trip(struct rig *rig, struct trip *trip, const struct shelf *shelf)
{
    struct fake_request *requests[64];

    answer_all(trip, requests, take_all(rig, requests, ARRAY_LEN(requests)), shelf);
}

static struct trip
survey(struct rig *rig, const struct shelf *shelf)
{
    struct trip trip = { 0 };
    uint64_t percent = 0;

    consistency_survey(rig->store, survey_done, &trip);
    while (!is_done(rig, &trip)) {
        uint64_t now = rig_gauge(rig, "listed_percent");

        assert_true(now >= percent && now <= 100);
        percent = now;
        round_trip(rig, &trip, shelf);
    }
    assert_int_equal(trip.rc, 0);
    assert_int_equal(rig_gauge(rig, "listed_percent"), 100);
    print_message("%u round trips, %u pages, at most %u at once\n", trip.rounds, trip.pages,
                  trip.most_at_once);
    return trip;
}

/* The blocks of the shelf, and they alone, are not known to be zeros. */
static void
expect_known(struct rig *rig, const struct shelf *shelf)
{
    unsigned count = 0;

    for (unsigned i = 0; i < shelf->count; i++) {
        if (shelf->blocks[i] == UINT64_MAX)
            continue;
        count++;
        assert_false(store_is_zero(rig->store, shelf->blocks[i]));
    }
    assert_int_equal(consistency_data_blocks(rig->store), count);
}

/* How many of [first, end) are known to be zeros. */
static uint64_t
zeros_in(struct rig *rig, uint64_t first, uint64_t end)
{
    uint64_t count = 0;

    for (; first < end; first++)
        count += store_is_zero(rig->store, first);
    return count;
}

/* ---- where the blocks are */

#define LISTERS 16u
#define PAGE 100u
#define DENSE_BLOCKS 20000u
#define WIDE_BLOCKS (1u << 28)

static const struct rig_config wide = {
    .block_count = WIDE_BLOCKS, .listers_max = LISTERS, .list_max = PAGE, .in_flight_max = 64
};

TEST(survey, an_empty_volume_costs_one_request)
{
    struct rig rig;
    struct shelf shelf = { 0 };
    struct trip trip;

    rig_open(&rig, &wide);
    trip = survey(&rig, &shelf);
    assert_int_equal(trip.pages, 1);
    assert_true(store_is_zero(rig.store, 0));
    assert_true(store_is_zero(rig.store, WIDE_BLOCKS - 1));
    rig_close(&rig);
}

TEST(survey, a_volume_of_one_page_costs_one_request)
{
    struct rig rig;
    struct shelf shelf = { 0 };

    rig_open(&rig, &wide);
    for (unsigned i = 0; i < PAGE; i++)
        shelf_add(&shelf, &rig.layout, i * 2500000ull);
    assert_int_equal(survey(&rig, &shelf).pages, 1);
    expect_known(&rig, &shelf);
    assert_int_equal(zeros_in(&rig, 1, 100000), 99999);
    rig_close(&rig);
    shelf_free(&shelf);
}

/* 200 pages; with 16 at once no fewer than 13 round trips. */
static void
expect_shared(struct trip trip)
{
    assert_int_equal(trip.most_at_once, LISTERS);
    assert_in_range(trip.rounds, 13, 18);
    assert_in_range(trip.pages, 200, 240);
}

TEST(survey, a_full_volume_is_shared_by_all_listers)
{
    struct rig_config config = wide;
    struct rig rig;
    struct shelf shelf = { 0 };

    config.block_count = DENSE_BLOCKS;
    rig_open(&rig, &config);
    for (unsigned i = 0; i < DENSE_BLOCKS; i++)
        shelf_add(&shelf, &rig.layout, i);
    expect_shared(survey(&rig, &shelf));
    expect_known(&rig, &shelf);
    rig_close(&rig);
    shelf_free(&shelf);
}

/* All blocks in less than 1/10,000 of the numbers, which begins at `first`. */
static void
expect_skew_is_shared(uint64_t first)
{
    struct rig rig;
    struct shelf shelf = { 0 };

    rig_open(&rig, &wide);
    for (unsigned i = 0; i < DENSE_BLOCKS; i++)
        shelf_add(&shelf, &rig.layout, first + i);
    expect_shared(survey(&rig, &shelf));
    expect_known(&rig, &shelf);
    assert_int_equal(zeros_in(&rig, first > 5000 ? first - 5000 : 0, first),
                     first > 5000 ? 5000 : first);
    if (first + DENSE_BLOCKS + 5000 < WIDE_BLOCKS)
        assert_int_equal(zeros_in(&rig, first + DENSE_BLOCKS, first + DENSE_BLOCKS + 5000), 5000);
    rig_close(&rig);
    shelf_free(&shelf);
}

TEST(survey, blocks_that_are_all_at_the_begin_are_shared_by_all_listers)
{
    expect_skew_is_shared(0);
}

TEST(survey, blocks_that_are_all_in_one_place_are_shared_by_all_listers)
{
    expect_skew_is_shared(123456789);
}

TEST(survey, blocks_that_are_all_at_the_end_are_shared_by_all_listers)
{
    expect_skew_is_shared(WIDE_BLOCKS - DENSE_BLOCKS);
}

TEST(survey, few_blocks_before_many_do_not_hide_them)
{
    struct rig rig;
    struct shelf shelf = { 0 };

    rig_open(&rig, &wide);
    for (unsigned i = 0; i < PAGE; i++)
        shelf_add(&shelf, &rig.layout, i * 2000000ull);
    for (unsigned i = 0; i < DENSE_BLOCKS; i++)
        shelf_add(&shelf, &rig.layout, 200000000 + i);
    expect_shared(survey(&rig, &shelf));
    expect_known(&rig, &shelf);
    rig_close(&rig);
    shelf_free(&shelf);
}

TEST(survey, a_hashed_volume_is_shared_by_all_listers_and_known_at_the_end_alone)
{
    struct rig_config config = wide;
    struct rig rig;
    struct shelf shelf = { 0 };
    struct trip trip = { 0 };

    config.is_hashed = true;
    rig_open(&rig, &config);
    for (unsigned i = 0; i < DENSE_BLOCKS; i++)
        shelf_add(&shelf, &rig.layout, i * 3);
    shelf_sort(&shelf);
    consistency_survey(rig.store, survey_done, &trip);
    while (!is_done(&rig, &trip)) {
        assert_int_equal(zeros_in(&rig, 0, 1000), 0);
        round_trip(&rig, &trip, &shelf);
    }
    assert_int_equal(trip.rc, 0);
    expect_shared(trip);
    expect_known(&rig, &shelf);
    assert_int_equal(zeros_in(&rig, 0, 3000), 2000);
    rig_close(&rig);
    shelf_free(&shelf);
}

TEST(survey, any_volume_is_known_exactly_wherever_pages_and_parts_end)
{
    static const char *const foreign[] = { "00000003-x", "0000ffff0", "00010000a",       "README",
                                           "0000000",    "80000000",  "s3backer-mounted" };
    uint64_t seed = test_seed();

    for (unsigned round = 0; round < 150; round++) {
        uint64_t chance = random_next(&seed);
        const struct rig_config config = { .block_count = 1 + (chance >> 8) % 3000,
                                           .is_hashed = chance & 1,
                                           .listers_max = 1 + (unsigned)(chance >> 20) % 9,
                                           .list_max = 1 + (unsigned)(chance >> 24) % 7 };
        uint64_t density = (chance >> 32) % 100, place = (chance >> 40) % config.block_count;
        struct rig rig;
        struct shelf shelf = { 0 };
        struct trip trip = { 0 };

        rig_open(&rig, &config);
        for (uint64_t block = 0; block < config.block_count; block++) {
            bool is_near = block >= place && block < place + 200;

            if (random_next(&seed) % 100 < (chance & 2 ? density : is_near ? 95 : 0))
                shelf_add(&shelf, &rig.layout, block);
        }
        for (unsigned i = 0; i < ARRAY_LEN(foreign); i++) {
            if (chance >> 50 & 1)
                shelf_add_foreign(&shelf, foreign[i]);
        }
        shelf_sort(&shelf);
        consistency_survey(rig.store, survey_done, &trip);
        while (!is_done(&rig, &trip)) {
            struct fake_request *requests[16];
            unsigned count = take_all(&rig, requests, ARRAY_LEN(requests));

            assert_in_range(count, 1, config.listers_max);
            while (count > 0) { /* in any order */
                unsigned i = (unsigned)(random_next(&seed) % count);

                list_answer(requests[i], &shelf);
                requests[i] = requests[--count];
            }
        }
        assert_int_equal(trip.rc, 0);
        expect_known(&rig, &shelf);
        assert_int_equal(zeros_in(&rig, 0, config.block_count),
                         config.block_count - consistency_data_blocks(rig.store));
        rig_close(&rig);
        shelf_free(&shelf);
    }
}

/* But for the first page of each lister. */
static void
expect_foreign_names_cost_no_page(bool is_hashed)
{
    struct rig_config config = wide;
    struct rig rig;
    struct shelf shelf = { 0 };
    struct trip trip;
    struct call zero;

    config.is_hashed = is_hashed;
    config.block_count = 20000;
    rig_open(&rig, &config);
    for (unsigned i = 0; i < PAGE; i++)
        shelf_add(&shelf, &rig.layout, i);
    for (unsigned i = 0; i < 50 * PAGE; i++) {
        char name[32];

        snprintf(name, sizeof name, "logs/%06u", i);
        shelf_add_foreign(&shelf, name);
    }
    shelf_sort(&shelf);
    trip = survey(&rig, &shelf);
    assert_in_range(trip.pages, 1, 1 + LISTERS);
    expect_known(&rig, &shelf);
    assert_int_equal(zeros_in(&rig, 0, 20000), 20000 - PAGE);
    rig_close(&rig);

    /* Nor does a zero of the volume's end. */
    rig_open(&rig, &config);
    call_zero(&rig, &zero, 5000, 15000);
    for (unsigned pages = 0; !call_is_done(&zero); pages++) {
        assert_in_range(pages, 0, LISTERS);
        list_answer(fake_next(&rig.fake), &shelf);
        rig_catch_up(&rig);
    }
    assert_int_equal(call_end(&zero), 0);
    rig_close(&rig);
    shelf_free(&shelf);
}

TEST(survey, foreign_names_behind_the_last_block_are_not_listed)
{
    expect_foreign_names_cost_no_page(false);
}

TEST(survey, foreign_names_behind_the_last_block_of_a_hashed_volume_are_not_listed)
{
    expect_foreign_names_cost_no_page(true);
}

/* ---- what happens meanwhile */

/* The blocks 0 to 999 exist, and 16 listers are on their way. */
static void
thousand_open(struct rig *rig, struct shelf *shelf, struct trip *trip, bool is_hashed)
{
    struct rig_config config = wide;

    config.block_count = 2000;
    config.list_max = 10;
    config.is_hashed = is_hashed;
    rig_open(rig, &config);
    *shelf = (struct shelf){ 0 };
    *trip = (struct trip){ 0 };
    for (unsigned i = 0; i < 1000; i++)
        shelf_add(shelf, &rig->layout, i);
    shelf_sort(shelf);
    consistency_survey(rig->store, survey_done, trip);
    round_trip(rig, trip, shelf);
    round_trip(rig, trip, shelf);
}

static void
thousand_close(struct rig *rig, struct shelf *shelf)
{
    rig_close(rig);
    shelf_free(shelf);
}

static void
expect_writes_and_deletes_stand(bool is_hashed)
{
    struct rig rig;
    struct shelf shelf;
    struct trip trip;
    struct call write, trim;
    struct fake_request *lists[LISTERS];
    unsigned count;

    thousand_open(&rig, &shelf, &trip, is_hashed);
    count = take_all(&rig, lists, LISTERS);
    assert_int_equal(count, LISTERS);
    call_write(&rig, &write, 1995, 1); /* no listing has it */
    call_zero(&rig, &trim, 990, 3);    /* some still do */
    fake_answer(fake_next(&rig.fake), BD_OK);
    fake_answer(fake_next(&rig.fake), BD_OK);
    assert_int_equal(call_end(&write), 0);
    assert_int_equal(call_end(&trim), 0);
    for (unsigned i = 0; i < count; i++)
        list_answer(lists[i], &shelf);
    while (!is_done(&rig, &trip))
        round_trip(&rig, &trip, &shelf);
    assert_int_equal(trip.rc, 0);
    assert_false(store_is_zero(rig.store, 1995));
    assert_int_equal(zeros_in(&rig, 990, 993), 3);
    assert_int_equal(consistency_data_blocks(rig.store), 1000 - 3 + 1);
    assert_int_equal(zeros_in(&rig, 0, 2000), 1000 + 3 - 1);
    thousand_close(&rig, &shelf);
}

TEST(survey, a_write_and_a_delete_meanwhile_stand)
{
    expect_writes_and_deletes_stand(false);
}

TEST(survey, a_write_and_a_delete_meanwhile_stand_in_a_hashed_volume)
{
    expect_writes_and_deletes_stand(true);
}

static void
expect_part_fails(bool is_hashed)
{
    struct rig rig;
    struct shelf shelf;
    struct trip trip;
    struct fake_request *lists[LISTERS];
    unsigned count;

    thousand_open(&rig, &shelf, &trip, is_hashed);
    count = take_all(&rig, lists, LISTERS);
    fake_answer(lists[3], BD_DENIED);
    rig_catch_up(&rig);
    for (unsigned i = 0; i < count; i++) {
        if (i != 3)
            list_answer(lists[i], &shelf);
    }
    assert_true(is_done(&rig, &trip)); /* and no further page has been asked for */
    assert_int_equal(trip.rc, -EACCES);
    assert_int_equal(zeros_in(&rig, 0, 1000), 0);
    assert_true(zeros_in(&rig, 1000, 2000) < 1000);
    assert_true(consistency_data_blocks(rig.store) < 1000);
    assert_true(rig_gauge(&rig, "listed_percent") < 100);
    /* Another one can follow. */
    trip = (struct trip){ 0 };
    consistency_survey(rig.store, survey_done, &trip);
    while (!is_done(&rig, &trip))
        round_trip(&rig, &trip, &shelf);
    assert_int_equal(trip.rc, 0);
    expect_known(&rig, &shelf);
    thousand_close(&rig, &shelf);
}

TEST(survey, a_part_that_fails_ends_it_and_leaves_the_map_right)
{
    expect_part_fails(false);
}

TEST(survey, a_part_of_a_hashed_volume_that_fails_makes_nothing_zeros)
{
    expect_part_fails(true);
}

TEST(survey, a_part_that_fails_for_a_while_is_listed_again)
{
    struct rig rig;
    struct shelf shelf;
    struct trip trip;

    thousand_open(&rig, &shelf, &trip, false);
    fake_answer(fake_next(&rig.fake), BD_RETRY);
    rig_wait_retries(&rig, 1);
    while (!is_done(&rig, &trip)) {
        clock_jump(rig.pool, NS_PER_S);
        round_trip(&rig, &trip, &shelf);
    }
    assert_int_equal(trip.rc, 0);
    expect_known(&rig, &shelf);
    thousand_close(&rig, &shelf);
}

TEST(survey, a_long_one_tells_how_far_it_is)
{
    char path[] = "/tmp/bucketdisk-test-XXXXXX", text[4096] = "";
    int log = mkstemp(path), old = dup(STDERR_FILENO);
    struct rig rig;
    struct shelf shelf;
    struct trip trip;
    const char *line;

    assert_true(log != -1 && old != -1 && unlink(path) == 0);
    thousand_open(&rig, &shelf, &trip, false);
    dup2(log, STDERR_FILENO);
    clock_jump(rig.pool, 11 * NS_PER_S);
    while (!is_done(&rig, &trip))
        round_trip(&rig, &trip, &shelf);
    dup2(old, STDERR_FILENO);
    assert_true(pread(log, text, sizeof text - 1, 0) > 0);
    line = strstr(text, "listing blocks: ");
    assert_non_null(line);
    assert_null(strstr(line + 1, "listing blocks: "));
    assert_non_null(strstr(line, " % of the volume, 11 s so far\n"));
    assert_non_null(strstr(text, "all blocks are listed: 1000 have an object (11.0 s)\n"));
    close(log);
    close(old);
    thousand_close(&rig, &shelf);
}

TEST(survey, a_stop_ends_it_after_the_requests_on_their_way)
{
    struct rig rig;
    struct shelf shelf;
    struct trip trip;
    struct fake_request *lists[LISTERS];
    unsigned count;

    thousand_open(&rig, &shelf, &trip, false);
    count = take_all(&rig, lists, LISTERS);
    fake_answer_retry_after(lists[0], 20000);
    consistency_stop_listing(rig.store);
    for (unsigned i = 1; i < count; i++)
        list_answer(lists[i], &shelf);
    rig_catch_up(&rig);
    clock_jump(rig.pool, NS_PER_S + NS_PER_S / 2);
    assert_true(is_done(&rig, &trip));
    assert_int_equal(trip.rc, -ECANCELED);
    assert_int_equal(zeros_in(&rig, 0, 1000), 0);
    thousand_close(&rig, &shelf);
}

/* What a dead daemon has sent may still be carried out: a block that is absent now says nothing. */
TEST(survey, a_dead_daemons_writes_have_settled_before_anything_is_listed)
{
    const struct rig_config config = { .settle_ns = 30 * NS_PER_S };
    struct shelf shelf = { 0 };
    struct trip trip = { 0 };
    struct call call;
    struct rig rig;

    rig_open(&rig, &config);
    consistency_hold(rig.store, 30 * NS_PER_S);
    consistency_survey(rig.store, survey_done, &trip);
    call_seek(&rig, &call, 7, 64, true);
    assert_int_equal(call_end(&call), 0);
    assert_int_equal(call.req.block, 7);
    fake_expect_quiet(&rig.fake);
    clock_jump(rig.pool, 31 * NS_PER_S);
    round_trip(&rig, &trip, &shelf);
    assert_true(is_done(&rig, &trip));
    assert_int_equal(trip.rc, 0);
    assert_int_equal(zeros_in(&rig, 0, 64), 64);
    rig_close(&rig);
}

TEST(survey, a_stop_does_not_wait_for_a_dead_daemons_writes)
{
    const struct rig_config config = { .settle_ns = 30 * NS_PER_S };
    struct trip trip = { 0 };
    struct rig rig;

    rig_open(&rig, &config);
    consistency_hold(rig.store, 30 * NS_PER_S);
    consistency_survey(rig.store, survey_done, &trip);
    consistency_stop_listing(rig.store);
    assert_true(is_done(&rig, &trip));
    assert_int_equal(trip.rc, -ECANCELED);
    rig_close(&rig);
}

/* ---- a store that does not list in order */

static void
open_listing(struct rig *rig, struct trip *trip, unsigned list_max)
{
    const struct rig_config config = { .block_count = 20000, .list_max = list_max };

    rig_open(rig, &config);
    *trip = (struct trip){ 0 };
    consistency_survey(rig->store, survey_done, trip);
}

/* Also what stands far before the first wrong name may be missing only because of its place. */
TEST(survey, a_page_in_disorder_makes_nothing_zeros)
{
    struct rig rig;
    struct shelf shelf = { 0 };
    struct trip trip;

    open_listing(&rig, &trip, 1000);
    for (unsigned i = 0; i < 600; i++)
        shelf_add(&shelf, &rig.layout, i * 2);
    shelf_add(&shelf, &rig.layout, 3);
    fake_give_names(fake_next(&rig.fake), (const char *const *)shelf.names, shelf.count);
    assert_true(is_done(&rig, &trip));
    assert_int_equal(trip.rc, -EIO);
    assert_int_equal(zeros_in(&rig, 0, 20000), 0);
    rig_close(&rig);
    shelf_free(&shelf);
}

TEST(survey, a_store_that_lists_in_disorder_is_not_believed_any_more)
{
    static const char *const first[] = { "00000001", "00000004", "00000009" };
    static const char *const second[] = { "00000008", "00000006" };
    struct rig rig;
    struct trip trip;
    struct call zero;
    struct fake_request *request;

    open_listing(&rig, &trip, 2);
    fake_give_names(fake_next(&rig.fake), first, ARRAY_LEN(first));
    rig_catch_up(&rig);
    assert_true(store_is_zero(rig.store, 3));
    fake_give_names(fake_next(&rig.fake), second, ARRAY_LEN(second));
    assert_true(is_done(&rig, &trip));
    assert_int_equal(trip.rc, -EIO);
    assert_int_equal(zeros_in(&rig, 0, 20000), 0);
    /* Nothing is listed to be zeroed, either. */
    call_zero(&rig, &zero, 1, 19999);
    while (!call_is_done(&zero)) {
        request = fake_next(&rig.fake);
        assert_int_equal(request->op, BD_DELETE_MANY);
        fake_answer(request, BD_OK);
        rig_catch_up(&rig);
    }
    assert_int_equal(call_end(&zero), 0);
    rig_close(&rig);
}

/* ---- who shares it */

TEST(survey, a_zero_in_a_hashed_volume_joins_it)
{
    struct rig_config config = wide;
    struct rig rig;
    struct shelf shelf = { 0 };
    struct trip trip = { 0 };
    struct call zeros[2];
    struct fake_request *many;

    config.is_hashed = true;
    rig_open(&rig, &config);
    for (unsigned i = 0; i < 3; i++)
        shelf_add(&shelf, &rig.layout, 1 + i * 20000);
    shelf_sort(&shelf);
    consistency_survey(rig.store, survey_done, &trip);
    call_zero(&rig, &zeros[0], 1, 20000);
    call_zero(&rig, &zeros[1], 20001, 20000);
    round_trip(&rig, &trip, &shelf);
    assert_int_equal(trip.pages, 1);
    for (unsigned i = 0; i < 2; i++) {
        many = fake_next(&rig.fake);
        assert_int_equal(many->op, BD_DELETE);
        fake_answer(many, BD_OK);
    }
    assert_int_equal(call_end(&zeros[0]), 0);
    assert_int_equal(call_end(&zeros[1]), 0);
    assert_true(is_done(&rig, &trip));
    assert_int_equal(consistency_data_blocks(rig.store), 1);
    rig_close(&rig);
    shelf_free(&shelf);
}

TEST(survey, what_must_still_be_zeroed_is_listed_after_a_stop)
{
    struct rig_config config = wide;
    struct rig rig;
    struct shelf shelf = { 0 };
    struct trip trip = { 0 };
    struct call zero;
    struct fake_request *list;

    for (unsigned round = 0; round < 2; round++) {
        config.is_hashed = round == 1;
        rig_open(&rig, &config);
        trip = (struct trip){ 0 };
        consistency_survey(rig.store, survey_done, &trip);
        list = fake_expect(&rig.fake, BD_LIST, "");
        call_zero(&rig, &zero, 1, 20000);
        consistency_stop_listing(rig.store);
        fake_answer(list, BD_RETRY);
        rig_catch_up(&rig);
        clock_jump(rig.pool, 2 * NS_PER_S);
        assert_true(is_done(&rig, &trip));
        assert_int_equal(trip.rc, -ECANCELED);
        list_answer(fake_expect(&rig.fake, BD_LIST, ""), &shelf);
        assert_int_equal(call_end(&zero), 0);
        rig_close(&rig);
    }
}

TEST(survey, a_zero_of_a_large_range_lists_in_parallel_and_no_further_than_needed)
{
    struct rig rig;
    struct shelf shelf = { 0 };
    struct trip trip = { 0 };
    struct call zero;
    struct fake_request *requests[64];
    unsigned count;

    rig_open(&rig, &wide);
    for (unsigned i = 0; i < 3 * DENSE_BLOCKS; i++)
        shelf_add(&shelf, &rig.layout, i);
    call_zero(&rig, &zero, DENSE_BLOCKS, DENSE_BLOCKS);
    count = take_all(&rig, requests, ARRAY_LEN(requests));
    while (requests[0]->op == BD_LIST) {
        answer_all(&trip, requests, count, &shelf);
        count = take_all(&rig, requests, ARRAY_LEN(requests));
    }
    expect_shared(trip);
    assert_int_equal(count, DENSE_BLOCKS / 1000); /* all batches at once */
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(requests[i]->op, BD_DELETE_MANY);
        fake_answer(requests[i], BD_OK);
    }
    assert_int_equal(call_end(&zero), 0);
    assert_int_equal(zeros_in(&rig, 0, 3 * DENSE_BLOCKS), DENSE_BLOCKS);
    rig_close(&rig);
    shelf_free(&shelf);
}

/* mkfs.ext4 discards 2 GiB after 2 GiB. */
TEST(survey, a_zero_of_an_empty_volume_makes_the_rest_of_it_known)
{
    struct rig rig;
    struct shelf shelf = { 0 };
    struct call zero;

    rig_open(&rig, &wide);
    for (uint64_t first = 0x8000; first < WIDE_BLOCKS; first += 0x8000) {
        call_zero(&rig, &zero, first, 0x8000);
        if (first == 0x8000)
            list_answer(fake_expect(&rig.fake, BD_LIST, ""), &shelf);
        assert_int_equal(call_end(&zero), 0);
    }
    assert_int_equal(rig_counter(&rig, "object_lists"), 1);
    assert_int_equal(zeros_in(&rig, 0, 0x8000), 0);
    rig_close(&rig);
}

TEST(survey, reads_do_not_wait_for_more_than_one_page)
{
    struct rig_config config = wide;
    struct rig rig;
    struct shelf shelf = { 0 };
    struct trip trip = { 0 };
    struct call reads[4];
    struct fake_request *requests[8];
    unsigned lists = 0;

    config.in_flight_max = 4;
    rig_open(&rig, &config);
    for (unsigned i = 0; i < DENSE_BLOCKS; i++)
        shelf_add(&shelf, &rig.layout, i);
    consistency_survey(rig.store, survey_done, &trip);
    round_trip(&rig, &trip, &shelf);
    assert_int_equal(take_all(&rig, requests, 8), 2);
    for (unsigned i = 0; i < 4; i++)
        call_read(&rig, &reads[i], i);
    assert_int_equal(take_all(&rig, requests + 2, 6), 2);
    for (unsigned i = 0; i < 4; i++)
        lists += requests[i]->op == BD_LIST;
    assert_int_equal(lists, 2);
    for (unsigned i = 0; i < 4; i++) {
        if (requests[i]->op == BD_LIST)
            list_answer(requests[i], &shelf);
        else
            fake_give_block(requests[i], 1, "t");
    }
    assert_int_equal(take_all(&rig, requests, 8), 4);
    for (unsigned i = lists = 0; i < 4; i++)
        lists += requests[i]->op == BD_LIST;
    assert_int_equal(lists, 2);
    for (unsigned i = 0; i < 4; i++) {
        if (requests[i]->op == BD_LIST)
            list_answer(requests[i], &shelf);
        else
            fake_give_block(requests[i], 1, "t");
    }
    for (unsigned i = 0; i < 4; i++)
        call_expect_block(&reads[i], 1);
    while (!is_done(&rig, &trip))
        round_trip(&rig, &trip, &shelf);
    assert_int_equal(trip.rc, 0);
    assert_true(trip.most_at_once <= 2);
    rig_close(&rig);
    shelf_free(&shelf);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(survey, an_empty_volume_costs_one_request),
        RUN(survey, a_volume_of_one_page_costs_one_request),
        RUN(survey, a_full_volume_is_shared_by_all_listers),
        RUN(survey, blocks_that_are_all_at_the_begin_are_shared_by_all_listers),
        RUN(survey, blocks_that_are_all_in_one_place_are_shared_by_all_listers),
        RUN(survey, blocks_that_are_all_at_the_end_are_shared_by_all_listers),
        RUN(survey, few_blocks_before_many_do_not_hide_them),
        RUN(survey, a_hashed_volume_is_shared_by_all_listers_and_known_at_the_end_alone),
        RUN(survey, any_volume_is_known_exactly_wherever_pages_and_parts_end),
        RUN(survey, foreign_names_behind_the_last_block_are_not_listed),
        RUN(survey, foreign_names_behind_the_last_block_of_a_hashed_volume_are_not_listed),
        RUN(survey, a_write_and_a_delete_meanwhile_stand),
        RUN(survey, a_write_and_a_delete_meanwhile_stand_in_a_hashed_volume),
        RUN(survey, a_part_that_fails_ends_it_and_leaves_the_map_right),
        RUN(survey, a_part_of_a_hashed_volume_that_fails_makes_nothing_zeros),
        RUN(survey, a_part_that_fails_for_a_while_is_listed_again),
        RUN(survey, a_long_one_tells_how_far_it_is),
        RUN(survey, a_stop_ends_it_after_the_requests_on_their_way),
        RUN(survey, a_dead_daemons_writes_have_settled_before_anything_is_listed),
        RUN(survey, a_stop_does_not_wait_for_a_dead_daemons_writes),
        RUN(survey, a_page_in_disorder_makes_nothing_zeros),
        RUN(survey, a_store_that_lists_in_disorder_is_not_believed_any_more),
        RUN(survey, a_zero_in_a_hashed_volume_joins_it),
        RUN(survey, what_must_still_be_zeroed_is_listed_after_a_stop),
        RUN(survey, a_zero_of_a_large_range_lists_in_parallel_and_no_further_than_needed),
        RUN(survey, a_zero_of_an_empty_volume_makes_the_rest_of_it_known),
        RUN(survey, reads_do_not_wait_for_more_than_one_page),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
