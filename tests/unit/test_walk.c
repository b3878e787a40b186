/* SPDX-License-Identifier: Apache-2.0 */
/* core/walk.c over a fake store: all blocks that exist, listed and visited. */
#include "fake_backend.h"

#include "walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_int is_interrupted;

/* A walk by a thread of its own, since it waits, and whom it visited. */
struct tour {
    struct rig rig;
    struct walk walk;
    struct visitor visitor;
    pthread_t thread;
    pthread_mutex_t lock; /* guards the next two */
    unsigned visited[64], failed;
    uint64_t refused; /* this block ends it */
    bool is_listing;
    int rc;
    struct error why;
};

static void
visit_begin(struct visit *visit)
{
    visit->req.op = OBJECT_HEAD;
    visit->req.block = visit->blocks->number;
}

static int
visit_end(struct visit *visit)
{
    struct tour *tour = visit->visitor->arg;
    int rc = visit->blocks->number == tour->refused ? -EPERM : 0;

    pthread_mutex_lock(&tour->lock);
    for (unsigned i = 0; i < visit->count; i++)
        tour->visited[visit->blocks[i].number]++;
    tour->failed += visit->req.rc != 0;
    pthread_mutex_unlock(&tour->lock);
    progress_add(&tour->walk.progress, visit->count, 0);
    return rc == 0 ? 0 : error_set(&visit->why, rc, "not this one");
}

static void
tour_open(struct tour *tour, const struct rig_config *config, unsigned visits_max)
{
    memset(tour, 0, sizeof *tour);
    pthread_mutex_init(&tour->lock, NULL);
    is_interrupted = 0;
    tour->refused = UINT64_MAX;
    rig_open(&tour->rig, config);
    tour->walk = (struct walk){ .layout = &tour->rig.layout,
                                .objects = tour->rig.objects,
                                .listers_max = 1,
                                .visits_max = visits_max,
                                .is_quiet = true,
                                .is_interrupted = &is_interrupted };
    tour->visitor = (struct visitor){
        .blocks_max = 1, .data_bytes = 8, .begin = visit_begin, .end = visit_end, .arg = tour
    };
}

static void
tour_close(struct tour *tour)
{
    walk_clear(&tour->walk);
    pthread_mutex_destroy(&tour->lock);
    rig_close(&tour->rig);
}

static void *
tour_run(void *arg)
{
    struct tour *tour = arg;

    tour->rc = tour->is_listing
                   ? walk_list(&tour->walk, &tour->why)
                   : walk_visit(&tour->walk, &tour->visitor, 0, tour->walk.count, &tour->why);
    return NULL;
}

static void
tour_begin(struct tour *tour, bool is_listing)
{
    tour->is_listing = is_listing;
    if (!is_listing)
        progress_begin(&tour->walk.progress, "touring", tour->walk.count, true);
    assert_int_equal(pthread_create(&tour->thread, NULL, tour_run, tour), 0);
}

static int
tour_end(struct tour *tour)
{
    assert_int_equal(pthread_join(tour->thread, NULL), 0);
    return tour->rc;
}

/* As if they had been listed. */
static void
tour_has(struct tour *tour, uint32_t count)
{
    tour->walk.blocks = calloc(count, sizeof *tour->walk.blocks);
    tour->walk.count = count;
    for (uint32_t i = 0; i < count; i++)
        tour->walk.blocks[i].number = i;
}

static const struct rig_config plain;

TEST(walk, what_is_listed_comes_in_order_with_its_bytes_and_without_what_is_foreign)
{
    static const char *const names[] = { "00000003", "00000003x", "00000007",
                                         "0000003f", "00000040",  "s3backer-mounted" };
    const struct rig_config pages = { .list_max = 2 };
    struct tour tour;

    tour_open(&tour, &pages, 1);
    tour_begin(&tour, true);
    for (unsigned i = 0; i < 2; i++) /* the second one ends with the last block that there can be */
        fake_give_names(fake_next(&tour.rig.fake), names, ARRAY_LEN(names));
    assert_int_equal(tour_end(&tour), 0);
    assert_int_equal(tour.walk.count, 3);
    assert_int_equal(tour.walk.blocks[0].number, 3);
    assert_int_equal(tour.walk.blocks[1].number, 7);
    assert_int_equal(tour.walk.blocks[2].number, 63);
    assert_int_equal(tour.walk.bytes, 3 * RIG_BLOCK_BYTES);
    tour_close(&tour);
}

TEST(walk, of_a_hashed_volume_they_come_by_number_too_and_each_once)
{
    const struct rig_config hashed = { .is_hashed = true };
    object_name texts[8];
    const char *names[8];
    struct tour tour;

    tour_open(&tour, &hashed, 1);
    for (unsigned i = 0; i < 8; i++) {
        layout_block_name(&tour.rig.layout, i, texts[i]);
        names[i] = texts[i];
    }
    for (unsigned i = 0; i < 8; i++) {
        for (unsigned j = 1; j < 8; j++) {
            const char *name = names[j];

            if (strcmp(names[j - 1], name) > 0) {
                names[j] = names[j - 1];
                names[j - 1] = name;
            }
        }
    }
    tour_begin(&tour, true);
    fake_give_names(fake_next(&tour.rig.fake), names, 8);
    assert_int_equal(tour_end(&tour), 0);
    assert_int_equal(tour.walk.count, 8);
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(tour.walk.blocks[i].number, i);
    tour_close(&tour);
}

TEST(walk, an_empty_volume_has_nothing_to_visit)
{
    struct tour tour;

    tour_open(&tour, &plain, 4);
    tour_begin(&tour, true);
    fake_give_names(fake_next(&tour.rig.fake), NULL, 0);
    assert_int_equal(tour_end(&tour), 0);
    assert_int_equal(tour.walk.count, 0);
    tour_begin(&tour, false);
    assert_int_equal(tour_end(&tour), 0);
    tour_close(&tour);
}

TEST(walk, a_listing_that_fails_is_a_failure)
{
    struct tour tour;

    tour_open(&tour, &plain, 1);
    tour_begin(&tour, true);
    fake_answer(fake_next(&tour.rig.fake), BD_DENIED);
    assert_int_equal(tour_end(&tour), -EACCES);
    tour_close(&tour);
}

TEST(walk, each_block_is_visited_once_and_so_many_at_a_time)
{
    struct fake_request *sent[3];
    struct tour tour;

    tour_open(&tour, &plain, 3);
    tour_has(&tour, 10);
    tour_begin(&tour, false);
    for (unsigned i = 0; i < 3; i++)
        sent[i] = fake_next(&tour.rig.fake);
    for (unsigned i = 3; i < 13; i++) {
        fake_answer(sent[i % 3], BD_OK);
        if (i < 10)
            sent[i % 3] = fake_next(&tour.rig.fake);
    }
    assert_int_equal(tour_end(&tour), 0);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(tour.visited[i], 1);
    assert_int_equal(tour.failed, 0);
    assert_int_equal(fake_in_flight_peak(&tour.rig.fake), 3);
    assert_int_equal(tour.walk.progress.done, 10);
    tour_close(&tour);
}

TEST(walk, a_visit_may_have_several_blocks_and_the_last_one_what_is_left)
{
    struct tour tour;

    tour_open(&tour, &plain, 1);
    tour_has(&tour, 7);
    tour.visitor.blocks_max = 3;
    tour_begin(&tour, false);
    for (unsigned i = 0; i < 3; i++)
        fake_answer(fake_expect_block(&tour.rig.fake, BD_HEAD_OBJECT, 3 * i), BD_OK);
    assert_int_equal(tour_end(&tour), 0);
    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(tour.visited[i], 1);
    tour_close(&tour);
}

TEST(walk, a_visit_that_ends_badly_is_the_last_and_says_why)
{
    struct tour tour;

    tour_open(&tour, &plain, 1);
    tour_has(&tour, 7);
    tour.refused = 2;
    tour_begin(&tour, false);
    for (unsigned i = 0; i < 3; i++)
        fake_answer(fake_expect_block(&tour.rig.fake, BD_HEAD_OBJECT, i), BD_OK);
    assert_int_equal(tour_end(&tour), -EPERM);
    assert_string_equal(tour.why.text, "not this one");
    assert_int_equal(tour.visited[3], 0);
    tour_close(&tour);
}

TEST(walk, a_request_that_fails_is_its_visitors_business)
{
    struct tour tour;

    tour_open(&tour, &plain, 1);
    tour_has(&tour, 2);
    tour_begin(&tour, false);
    fake_answer(fake_next(&tour.rig.fake), BD_DENIED);
    fake_answer(fake_next(&tour.rig.fake), BD_OK);
    assert_int_equal(tour_end(&tour), 0);
    assert_int_equal(tour.failed, 1);
    tour_close(&tour);
}

TEST(walk, a_signal_lets_what_was_sent_end_and_sends_no_more)
{
    struct fake_request *first, *second;
    struct tour tour;

    tour_open(&tour, &plain, 2);
    tour_has(&tour, 10);
    tour_begin(&tour, false);
    first = fake_next(&tour.rig.fake);
    second = fake_next(&tour.rig.fake);
    is_interrupted = 1;
    usleep(1000 * 1000);          /* the walk looks ten times a second */
    fake_answer(first, BD_RETRY); /* it is not tried again */
    fake_answer(second, BD_OK);
    assert_int_equal(tour_end(&tour), -EINTR);
    assert_int_equal(tour.visited[2], 0);
    fake_expect_quiet(&tour.rig.fake);
    /* The layer below is as it was. */
    is_interrupted = 0;
    tour.walk.count = 1;
    tour_begin(&tour, false);
    fake_answer(fake_next(&tour.rig.fake), BD_OK);
    assert_int_equal(tour_end(&tour), 0);
    tour_close(&tour);
}

TEST(walk, a_signal_ends_a_listing)
{
    static const char *const names[] = { "00000003", "00000007" };
    const struct rig_config pages = { .list_max = 1 };
    struct fake_request *page;
    struct tour tour;

    tour_open(&tour, &pages, 1);
    tour_begin(&tour, true);
    page = fake_next(&tour.rig.fake);
    is_interrupted = 1;
    fake_give_names(page, names, ARRAY_LEN(names));
    assert_int_equal(tour_end(&tour), -EINTR);
    tour_close(&tour);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(walk, what_is_listed_comes_in_order_with_its_bytes_and_without_what_is_foreign),
        RUN(walk, of_a_hashed_volume_they_come_by_number_too_and_each_once),
        RUN(walk, an_empty_volume_has_nothing_to_visit),
        RUN(walk, a_listing_that_fails_is_a_failure),
        RUN(walk, each_block_is_visited_once_and_so_many_at_a_time),
        RUN(walk, a_visit_may_have_several_blocks_and_the_last_one_what_is_left),
        RUN(walk, a_visit_that_ends_badly_is_the_last_and_says_why),
        RUN(walk, a_request_that_fails_is_its_visitors_business),
        RUN(walk, a_signal_lets_what_was_sent_end_and_sends_no_more),
        RUN(walk, a_signal_ends_a_listing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
