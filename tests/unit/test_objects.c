/* SPDX-License-Identifier: Apache-2.0 */
/* core/objects.c over a backend that does what the test says: bodies, retries, limits. */
#include "fake_backend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct ask {
    struct object_req req;
    sem_t done;
    unsigned char data[RIG_BLOCK_BYTES];
    uint64_t blocks[8], found[16];
    unsigned found_count;
};

static void
ask_done(struct object_req *req)
{
    sem_post(&container_of(req, struct ask, req)->done);
}

static void
ask_found(struct object_req *req, uint64_t block, uint64_t object_bytes)
{
    struct ask *ask = container_of(req, struct ask, req);

    (void)object_bytes;
    assert_true(ask->found_count < ARRAY_LEN(ask->found));
    ask->found[ask->found_count++] = block;
}

static void
ask_start(struct rig *rig, struct ask *ask, enum object_op op, uint64_t block)
{
    memset(ask, 0, sizeof *ask);
    sem_init(&ask->done, 0, 0);
    memset(ask->data, op == OBJECT_PUT ? 0x5a : 0xee, sizeof ask->data);
    ask->req.op = op;
    ask->req.block = ask->blocks[0] = block;
    ask->req.data = ask->data;
    ask->req.blocks = ask->blocks;
    ask->req.count = 1;
    ask->req.found = ask_found;
    ask->req.done = ask_done;
    objects_submit(rig->objects, &ask->req);
}

/* DELETE of [first, first + count). */
static void
ask_delete(struct rig *rig, struct ask *ask, uint64_t first, unsigned count)
{
    memset(ask, 0, sizeof *ask);
    sem_init(&ask->done, 0, 0);
    for (unsigned i = 0; i < count; i++)
        ask->blocks[i] = first + i;
    ask->req.op = OBJECT_DELETE;
    ask->req.blocks = ask->blocks;
    ask->req.count = count;
    ask->req.done = ask_done;
    objects_submit(rig->objects, &ask->req);
}

static int
ask_end(struct ask *ask)
{
    wait_for(&ask->done);
    sem_destroy(&ask->done);
    return ask->req.rc;
}

static const struct rig_config plain = { .settle_ns = 0 };

TEST(objects, a_get_gives_the_body_and_the_tag)
{
    struct rig rig;
    struct ask ask;

    rig_open(&rig, &plain);
    ask_start(&rig, &ask, OBJECT_GET, 5);
    fake_give_block(fake_expect(&rig.fake, BD_GET, "00000005"), 0x77, "tag-1");
    assert_int_equal(ask_end(&ask), 0);
    assert_false(ask.req.is_absent);
    assert_string_equal(ask.req.tag, "tag-1");
    assert_int_equal(ask.data[0], 0x77);
    assert_int_equal(ask.data[RIG_BLOCK_BYTES - 1], 0x77);
    rig_close(&rig);
}

TEST(objects, what_is_absent_reads_as_zeros)
{
    struct rig rig;
    struct ask ask;

    rig_open(&rig, &plain);
    ask_start(&rig, &ask, OBJECT_GET, 5);
    fake_answer(fake_next(&rig.fake), BD_ABSENT);
    assert_int_equal(ask_end(&ask), 0);
    assert_true(ask.req.is_absent);
    for (unsigned i = 0; i < RIG_BLOCK_BYTES; i++)
        assert_int_equal(ask.data[i], 0);
    rig_close(&rig);
}

TEST(objects, a_head_gives_the_tag_or_absence_and_no_body)
{
    struct histogram_state seen;
    struct rig rig;
    struct ask ask;

    rig_open(&rig, &plain);
    ask_start(&rig, &ask, OBJECT_HEAD, 5);
    fake_answer_tag(fake_expect(&rig.fake, BD_HEAD_OBJECT, "00000005"), BD_OK, "tag-1");
    assert_int_equal(ask_end(&ask), 0);
    assert_false(ask.req.is_absent);
    assert_string_equal(ask.req.tag, "tag-1");
    ask_start(&rig, &ask, OBJECT_HEAD, 5);
    fake_answer(fake_expect(&rig.fake, BD_HEAD_OBJECT, "00000005"), BD_ABSENT);
    assert_int_equal(ask_end(&ask), 0);
    assert_true(ask.req.is_absent);
    assert_string_equal(ask.req.tag, "");
    for (unsigned i = 0; i < RIG_BLOCK_BYTES; i++)
        assert_int_equal(ask.data[i], 0xee);
    assert_int_equal(rig_counter(&rig, "object_heads"), 2);
    assert_int_equal(rig_counter(&rig, "object_gets"), 0);
    assert_int_equal(rig_counter(&rig, "object_gets_absent"), 0);
    histogram_read(stats_histogram(rig.stats, "object_head_seconds", NULL), &seen);
    assert_int_equal(seen.count, 2);
    rig_close(&rig);
}

TEST(objects, only_block_0_carries_the_sizes)
{
    struct rig rig;
    struct ask ask;
    struct fake_request *put;

    rig_open(&rig, &plain);
    for (uint64_t block = 0; block < 2; block++) {
        ask_start(&rig, &ask, OBJECT_PUT, block);
        put = fake_expect_block(&rig.fake, BD_PUT, block);
        assert_string_equal(put->attrs,
                            block == 0 ? "s3backer-blocksize=512;s3backer-filesize=32768;" : "");
        assert_int_equal(put->body_bytes, RIG_BLOCK_BYTES);
        assert_memory_equal(put->body, ask.data, RIG_BLOCK_BYTES);
        assert_string_equal(put->encoding, "");
        fake_answer_tag(put, BD_OK, "t");
        assert_int_equal(ask_end(&ask), 0);
        assert_string_equal(ask.req.tag, "t");
        assert_int_equal(ask.req.unsettled_ns, 0);
    }
    rig_close(&rig);
}

TEST(objects, block_0_repeats_its_sizes_in_every_attempt)
{
    struct rig rig;
    struct ask ask;

    rig_open(&rig, &plain);
    ask_start(&rig, &ask, OBJECT_PUT, 0);
    for (unsigned i = 0; i < 3; i++) {
        struct fake_request *put = fake_expect_block(&rig.fake, BD_PUT, 0);

        assert_string_equal(put->attrs, "s3backer-blocksize=512;s3backer-filesize=32768;");
        fake_answer(put, i == 0 ? BD_RETRY : i == 1 ? BD_UNKNOWN : BD_OK);
    }
    assert_int_equal(ask_end(&ask), 0);
    rig_close(&rig);
}

TEST(objects, names_are_hashed_when_the_volume_is)
{
    const struct rig_config config = { .is_hashed = true, .prefix = "p-" };
    struct rig rig;
    struct ask ask;

    rig_open(&rig, &config);
    ask_start(&rig, &ask, OBJECT_PUT, 9);
    fake_answer(fake_expect(&rig.fake, BD_PUT, "p-93021f19-00000009"), BD_OK);
    assert_int_equal(ask_end(&ask), 0);
    ask_start(&rig, &ask, OBJECT_DELETE, 2);
    fake_answer(fake_expect(&rig.fake, BD_DELETE, "p-7183baa1-00000002"), BD_OK);
    assert_int_equal(ask_end(&ask), 0);
    ask_start(&rig, &ask, OBJECT_HEAD, 9);
    fake_answer(fake_expect(&rig.fake, BD_HEAD_OBJECT, "p-93021f19-00000009"), BD_OK);
    assert_int_equal(ask_end(&ask), 0);
    rig_close(&rig);
}

TEST(objects, a_head_tells_how_the_object_is_encoded_and_how_large_it_is)
{
    char encoding[BD_ENCODING_BYTES_MAX + 1] = "none";
    struct fake_request *request;
    struct rig rig;
    struct ask ask;

    rig_open(&rig, &plain);
    memset(&ask, 0, sizeof ask);
    sem_init(&ask.done, 0, 0);
    ask.req = (struct object_req){
        .op = OBJECT_HEAD, .block = 5, .encoding = encoding, .done = ask_done
    };
    for (unsigned i = 0; i < 2; i++) {
        objects_submit(rig.objects, &ask.req);
        request = fake_expect(&rig.fake, BD_HEAD_OBJECT, "00000005");
        request->io->object_bytes = 77;
        if (i == 0)
            rig.fake.host->encoding_set(request->io, "zstd,aes");
        fake_answer_tag(request, BD_OK, "t");
        sem_wait(&ask.done);
        assert_int_equal(ask.req.object_bytes, 77);
        assert_string_equal(encoding, i == 0 ? "zstd,aes" : "");
    }
    sem_destroy(&ask.done);
    rig_close(&rig);
}

TEST(objects, who_wants_the_reason_gets_it_and_learns_whether_it_is_damage)
{
    struct error why = { "" };
    struct rig rig;
    struct ask ask;

    rig_open(&rig, &plain);
    memset(&ask, 0, sizeof ask);
    sem_init(&ask.done, 0, 0);
    ask.req = (struct object_req){
        .op = OBJECT_GET, .block = 5, .data = ask.data, .why = &why, .done = ask_done
    };
    objects_submit(rig.objects, &ask.req);
    for (unsigned i = 0; i < 3; i++) {
        fake_give(fake_expect_block(&rig.fake, BD_GET, 5), "short", 5, "t");
        rig_wait_retries(&rig, i < 2 ? i + 1 : 2);
        clock_jump(rig.pool, NS_PER_S);
    }
    sem_wait(&ask.done);
    assert_int_equal(ask.req.rc, -EIO);
    assert_true(ask.req.is_damaged);
    assert_int_equal(ask.req.object_bytes, 5);
    assert_non_null(strstr(why.text, "5 bytes"));

    objects_submit(rig.objects, &ask.req);
    fake_answer(fake_expect_block(&rig.fake, BD_GET, 5), BD_DENIED);
    sem_wait(&ask.done);
    assert_int_equal(ask.req.rc, -EACCES);
    assert_false(ask.req.is_damaged);
    sem_destroy(&ask.done);
    rig_close(&rig);
}

TEST(objects, what_cannot_be_encoded_fails_with_its_reason)
{
    static char origin[BD_ATTR_VALUE_BYTES_MAX + 2];
    struct error why = { "" };
    struct rig rig;
    struct ask ask;

    rig_open(&rig, &plain);
    memset(origin, 'x', sizeof origin - 1);
    memset(&ask, 0, sizeof ask);
    sem_init(&ask.done, 0, 0);
    ask.req = (struct object_req){ .op = OBJECT_PUT,
                                   .block = 5,
                                   .data = ask.data,
                                   .origin = origin,
                                   .why = &why,
                                   .done = ask_done };
    objects_submit(rig.objects, &ask.req);
    assert_int_not_equal(ask_end(&ask), 0);
    assert_string_not_equal(why.text, "");
    assert_int_equal(rig_counter(&rig, "object_failures"), 1);
    rig_close(&rig);
}

/* ---- what is tried again, and what is not */

TEST(objects, each_status_has_its_own_end)
{
    static const struct {
        enum bd_status status;
        enum object_op op;
        unsigned attempts; /* all with this status; 0: tried again for ever */
        int rc;
    } cases[] = {
        { BD_RETRY, OBJECT_GET, 0, 0 },
        { BD_RETRY, OBJECT_HEAD, 0, 0 },
        { BD_RETRY, OBJECT_PUT, 0, 0 },
        { BD_RETRY, OBJECT_DELETE, 0, 0 },
        { BD_BUSY, OBJECT_GET, 0, 0 },
        { BD_BUSY, OBJECT_HEAD, 0, 0 },
        { BD_BUSY, OBJECT_PUT, 0, 0 },
        { BD_BUSY, OBJECT_DELETE, 0, 0 },
        { BD_UNKNOWN, OBJECT_GET, 0, 0 },
        { BD_UNKNOWN, OBJECT_HEAD, 0, 0 },
        { BD_UNKNOWN, OBJECT_PUT, 0, 0 },
        { BD_UNKNOWN, OBJECT_DELETE, 0, 0 },
        { BD_DENIED, OBJECT_GET, 1, -EACCES },
        { BD_DENIED, OBJECT_HEAD, 1, -EACCES },
        { BD_DENIED, OBJECT_PUT, 1, -EACCES },
        { BD_FULL, OBJECT_PUT, 1, -ENOSPC },
        { BD_CORRUPT, OBJECT_GET, 3, -EIO },
        { BD_CORRUPT, OBJECT_HEAD, 3, -EIO },
        { BD_ABSENT, OBJECT_HEAD, 1, 0 },
        { BD_INVALID, OBJECT_HEAD, 1, -EIO }, /* as where there is no bucket */
        { BD_CONDITION, OBJECT_PUT, 1, -EIO },
        { BD_ABSENT, OBJECT_PUT, 1, -EIO },
        { BD_ABSENT, OBJECT_DELETE, 1, 0 },
        { BD_INVALID, OBJECT_PUT, 1, -EIO },
        { BD_FATAL, OBJECT_GET, 1, -EIO },
        { BD_UNSUPPORTED, OBJECT_DELETE, 1, -EIO },
        { (enum bd_status)42, OBJECT_PUT, 1, -EIO },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rig rig;
        struct ask ask;

        rig_open(&rig, &plain);
        ask_start(&rig, &ask, cases[i].op, 3);
        for (unsigned j = 0; j < (cases[i].attempts != 0 ? cases[i].attempts : 4); j++)
            fake_answer(fake_next(&rig.fake), cases[i].status);
        if (cases[i].attempts == 0) {
            if (cases[i].op == OBJECT_GET)
                fake_give_block(fake_next(&rig.fake), 1, "t");
            else
                fake_answer(fake_next(&rig.fake), BD_OK);
        }
        assert_int_equal(ask_end(&ask), cases[i].rc);
        assert_int_equal(ask.req.unsettled_ns != 0, cases[i].status == BD_UNKNOWN
                                                        && cases[i].op != OBJECT_GET
                                                        && cases[i].op != OBJECT_HEAD);
        rig_close(&rig);
    }
}

TEST(objects, every_attempt_sends_the_same_bytes)
{
    struct rig rig;
    struct ask ask;

    rig_open(&rig, &plain);
    ask_start(&rig, &ask, OBJECT_PUT, 3);
    for (unsigned i = 0; i < 4; i++) {
        struct fake_request *put = fake_expect_block(&rig.fake, BD_PUT, 3);

        assert_int_equal(put->body_bytes, RIG_BLOCK_BYTES);
        assert_memory_equal(put->body, ask.data, RIG_BLOCK_BYTES);
        fake_answer(put, i < 2 ? BD_UNKNOWN : i == 2 ? BD_RETRY : BD_OK);
    }
    assert_int_equal(ask_end(&ask), 0);
    assert_true(ask.req.unsettled_ns != 0);
    rig_close(&rig);
}

TEST(objects, an_unknown_outcome_is_told_also_when_the_request_fails)
{
    struct rig rig;
    struct ask ask;
    uint64_t before;

    rig_open(&rig, &plain);
    ask_start(&rig, &ask, OBJECT_PUT, 3);
    before = clock_now_ns();
    fake_answer(fake_next(&rig.fake), BD_UNKNOWN);
    fake_answer(fake_next(&rig.fake), BD_DENIED);
    assert_int_equal(ask_end(&ask), -EACCES);
    assert_true(ask.req.unsettled_ns >= before && ask.req.unsettled_ns <= clock_now_ns());
    rig_close(&rig);
}

TEST(objects, a_body_of_a_wrong_length_fails_that_block_only)
{
    static const size_t lengths[] = {
        0, 1, RIG_BLOCK_BYTES - 1, RIG_BLOCK_BYTES + 1, 2 * RIG_BLOCK_BYTES, 100000
    };
    static unsigned char body[100000];

    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        struct rig rig;
        struct ask bad, good;
        bool is_larger = lengths[i] > RIG_BLOCK_BYTES;

        rig_open(&rig, &plain);
        ask_start(&rig, &bad, OBJECT_GET, 3);
        /* What is larger is fetched once more, as it may be encoded; what is bad, twice more. */
        for (unsigned j = 0; j < (is_larger ? 4 : 3); j++)
            fake_give(fake_expect_block(&rig.fake, BD_GET, 3), body, lengths[i], "t");
        assert_int_equal(ask_end(&bad), -EIO);
        ask_start(&rig, &good, OBJECT_GET, 4);
        fake_give_block(fake_expect_block(&rig.fake, BD_GET, 4), 9, "t");
        assert_int_equal(ask_end(&good), 0);
        assert_int_equal(good.data[17], 9);
        rig_close(&rig);
    }
}

TEST(objects, a_body_that_was_damaged_on_the_way_is_fetched_again)
{
    struct rig rig;
    struct ask ask;

    rig_open(&rig, &plain);
    ask_start(&rig, &ask, OBJECT_GET, 3);
    fake_give(fake_next(&rig.fake), "short", 5, "t");
    fake_answer(fake_next(&rig.fake), BD_CORRUPT);
    fake_give_block(fake_next(&rig.fake), 7, "t");
    assert_int_equal(ask_end(&ask), 0);
    assert_int_equal(ask.data[0], 7);
    rig_close(&rig);
}

/* ---- pauses and limits, by the test's clock */

/* When this returns the pause has begun. */
static void
refuse_this(struct rig *rig, struct fake_request *request, enum bd_status status,
            uint32_t retry_after_ms)
{
    uint64_t retries = rig_counter(rig, "object_retries");

    request->io->retry_after_ms = retry_after_ms;
    fake_answer(request, status);
    rig_wait_retries(rig, retries + 1);
}

/* The next request, whichever it is. */
static void
refuse(struct rig *rig, enum bd_status status, uint32_t retry_after_ms)
{
    refuse_this(rig, fake_next(&rig->fake), status, retry_after_ms);
}

/* The next request is for this block; the store is busy, and names a pause. */
static void
refuse_in_turn(struct rig *rig, uint64_t block, uint32_t retry_after_ms)
{
    refuse_this(rig, fake_expect_block(&rig->fake, BD_GET, block), BD_BUSY, retry_after_ms);
}

TEST(objects, the_store_names_the_pause_up_to_half_a_minute)
{
    struct rig rig;
    struct ask ask;

    rig_open(&rig, &plain);
    ask_start(&rig, &ask, OBJECT_GET, 3);
    refuse(&rig, BD_RETRY, 10000);
    clock_jump(rig.pool, 9 * NS_PER_S);
    fake_expect_quiet(&rig.fake);
    clock_jump(rig.pool, NS_PER_S);
    refuse(&rig, BD_RETRY, 3600 * 1000);
    clock_jump(rig.pool, 29 * NS_PER_S);
    fake_expect_quiet(&rig.fake);
    clock_jump(rig.pool, NS_PER_S);
    fake_answer(fake_next(&rig.fake), BD_ABSENT);
    assert_int_equal(ask_end(&ask), 0);
    rig_close(&rig);
}

TEST(objects, a_request_that_stalls_fails_after_one_last_attempt_at_the_limit)
{
    const struct rig_config config = { .retry_pause_ns = 100 * NS_PER_S,
                                       .stall_read_ns = 50 * NS_PER_S,
                                       .stall_write_ns = 80 * NS_PER_S };
    struct rig rig;
    struct ask ask;

    rig_open(&rig, &config);
    ask_start(&rig, &ask, OBJECT_GET, 3); /* attempts at 0, 30, 50 s */
    refuse(&rig, BD_RETRY, 0);
    clock_jump(rig.pool, 30 * NS_PER_S);
    refuse(&rig, BD_RETRY, 0);
    clock_jump(rig.pool, 19 * NS_PER_S);
    fake_expect_quiet(&rig.fake);
    clock_jump(rig.pool, NS_PER_S);
    fake_answer(fake_next(&rig.fake), BD_RETRY);
    assert_int_equal(ask_end(&ask), -EIO);

    ask_start(&rig, &ask, OBJECT_HEAD, 3); /* the same */
    refuse(&rig, BD_RETRY, 0);
    clock_jump(rig.pool, 30 * NS_PER_S);
    refuse(&rig, BD_RETRY, 0);
    clock_jump(rig.pool, 20 * NS_PER_S);
    fake_answer(fake_next(&rig.fake), BD_RETRY);
    assert_int_equal(ask_end(&ask), -EIO);

    ask_start(&rig, &ask, OBJECT_PUT, 3); /* writes have longer: at 0, 30, 60, 80 s */
    for (unsigned i = 0; i < 3; i++) {
        refuse(&rig, BD_UNKNOWN, 0);
        clock_jump(rig.pool, 30 * NS_PER_S);
    }
    fake_answer(fake_next(&rig.fake), BD_RETRY);
    assert_int_equal(ask_end(&ask), -EIO);
    assert_true(ask.req.unsettled_ns != 0);
    rig_close(&rig);
}

TEST(objects, a_store_that_is_away_for_hours_is_asked_with_pauses_all_the_time)
{
    const struct rig_config config = { .stall_read_ns = UINT64_MAX };
    struct rig rig;
    struct ask ask;

    rig_open(&rig, &config);
    ask_start(&rig, &ask, OBJECT_GET, 3);
    for (unsigned i = 0; i < 100; i++) {
        refuse(&rig, BD_RETRY, 0);
        if (i > 20) { /* the pause has reached its longest; half of it is by chance */
            clock_jump(rig.pool, 10 * NS_PER_S);
            fake_expect_quiet(&rig.fake);
        }
        clock_jump(rig.pool, 31 * NS_PER_S);
    }
    fake_answer(fake_next(&rig.fake), BD_ABSENT);
    assert_int_equal(ask_end(&ask), 0);
    rig_close(&rig);
}

TEST(objects, only_so_many_requests_are_in_flight_and_the_oldest_comes_next)
{
    const struct rig_config config = { .in_flight_max = 3 };
    struct rig rig;
    struct ask asks[10];
    struct fake_request *requests[ARRAY_LEN(asks)];

    rig_open(&rig, &config);
    for (unsigned i = 0; i < ARRAY_LEN(asks); i++)
        ask_start(&rig, &asks[i], OBJECT_GET, i);
    for (unsigned i = 0; i < 3; i++)
        requests[i] = fake_expect_block(&rig.fake, BD_GET, i);
    fake_expect_quiet(&rig.fake);
    for (unsigned i = 0; i < ARRAY_LEN(asks); i++) {
        fake_answer(requests[i], BD_ABSENT);
        if (i + 3 < ARRAY_LEN(asks))
            requests[i + 3] = fake_expect_block(&rig.fake, BD_GET, i + 3);
        assert_int_equal(ask_end(&asks[i]), 0);
    }
    assert_int_equal(fake_in_flight_peak(&rig.fake), 3);
    rig_close(&rig);
}

/* ---- places: who is sent next, and how many at once */

#define PAUSE_NS (20 * NS_PER_S) /* a pause has at least half of it */

static void
get_and_finish(struct rig *rig, uint64_t block)
{
    fake_answer(fake_expect_block(&rig->fake, BD_GET, block), BD_ABSENT);
}

TEST(objects, a_request_that_pauses_leaves_its_place_to_others)
{
    static const enum bd_status statuses[] = { BD_RETRY, BD_BUSY, BD_UNKNOWN, BD_CORRUPT };

    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        const struct rig_config config = { .in_flight_max = 1, .retry_pause_ns = PAUSE_NS };
        struct rig rig;
        struct ask first, second;

        rig_open(&rig, &config);
        ask_start(&rig, &first, OBJECT_GET, 1);
        refuse(&rig, statuses[i], 0);
        assert_int_equal(rig_gauge(&rig, "requests_in_flight"), 0);
        ask_start(&rig, &second, OBJECT_GET, 2);
        get_and_finish(&rig, 2);
        assert_int_equal(ask_end(&second), 0);
        fake_expect_quiet(&rig.fake);
        clock_jump(rig.pool, PAUSE_NS);
        get_and_finish(&rig, 1);
        assert_int_equal(ask_end(&first), 0);
        assert_int_equal(fake_in_flight_peak(&rig.fake), 1);
        rig_close(&rig);
    }
}

TEST(objects, attempts_are_timed_without_the_pauses_between_them_and_the_wait_for_a_place)
{
    const struct rig_config config = { .in_flight_max = 1 };
    struct histogram_state seen;
    struct ask first, second;
    struct rig rig;

    rig_open(&rig, &config);
    ask_start(&rig, &first, OBJECT_GET, 1);
    ask_start(&rig, &second, OBJECT_PUT, 2);
    assert_int_equal(rig_gauge(&rig, "requests_waiting"), 1);
    clock_jump(rig.pool, 2 * NS_PER_S); /* at the store */
    refuse(&rig, BD_RETRY, 9000);
    assert_int_equal(rig_gauge(&rig, "requests_waiting"), 0); /* it was the second's turn */
    clock_jump(rig.pool, 5 * NS_PER_S);
    fake_answer(fake_expect_block(&rig.fake, BD_PUT, 2), BD_OK);
    assert_int_equal(ask_end(&second), 0);
    clock_jump(rig.pool, 4 * NS_PER_S);
    get_and_finish(&rig, 1);
    assert_int_equal(ask_end(&first), 0);

    histogram_read(stats_histogram(rig.stats, "object_get_seconds", NULL), &seen);
    assert_int_equal(seen.count, 2);
    assert_in_range(seen.sum_ns, 2 * NS_PER_S, 3 * NS_PER_S);
    histogram_read(stats_histogram(rig.stats, "object_put_seconds", NULL), &seen);
    assert_int_equal(seen.count, 1);
    assert_in_range(seen.sum_ns, 5 * NS_PER_S, 6 * NS_PER_S);
    histogram_read(stats_histogram(rig.stats, "requests_wait_seconds", NULL), &seen);
    assert_int_equal(seen.count, 3);
    assert_in_range(seen.sum_ns, 2 * NS_PER_S, 3 * NS_PER_S);
    rig_close(&rig);
}

TEST(objects, who_comes_back_from_a_pause_stands_where_its_age_says)
{
    const struct rig_config config = { .in_flight_max = 1, .retry_pause_ns = NS_PER_MS };
    struct rig rig;
    struct ask asks[6];
    struct fake_request *request;

    rig_open(&rig, &config);
    for (unsigned i = 0; i < ARRAY_LEN(asks); i++)
        ask_start(&rig, &asks[i], OBJECT_GET, i);
    refuse_in_turn(&rig, 0, 10000);
    refuse_in_turn(&rig, 1, 12000);
    refuse_in_turn(&rig, 2, 8000);
    /* While one has the only place, they come back: the third, the first, the second. */
    request = fake_expect_block(&rig.fake, BD_GET, 3);
    clock_jump(rig.pool, 9 * NS_PER_S);
    clock_jump(rig.pool, 2 * NS_PER_S);
    clock_jump(rig.pool, 2 * NS_PER_S);
    fake_expect_quiet(&rig.fake);
    fake_answer(request, BD_ABSENT);
    for (unsigned i = 0; i < 3; i++)
        get_and_finish(&rig, i);
    get_and_finish(&rig, 4);
    get_and_finish(&rig, 5);
    for (unsigned i = 0; i < ARRAY_LEN(asks); i++)
        assert_int_equal(ask_end(&asks[i]), 0);
    rig_close(&rig);
}

/* One after the other; each ends well. */
static void
get_some(struct rig *rig, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct ask ask;

        ask_start(rig, &ask, OBJECT_GET, 5);
        get_and_finish(rig, 5);
        assert_int_equal(ask_end(&ask), 0);
    }
}

TEST(objects, the_limit_falls_to_one_and_grows_back_by_one_for_each_limit_of_successes)
{
    const struct rig_config config = { .in_flight_max = 5 };
    struct rig rig;
    struct ask ask;

    rig_open(&rig, &config);
    ask_start(&rig, &ask, OBJECT_GET, 1);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(rig_gauge(&rig, "requests_in_flight_limit"), i == 0 ? 5 : i == 1 ? 2 : 1);
        refuse(&rig, BD_BUSY, 0);
    }
    fake_answer(fake_next(&rig.fake), BD_ABSENT);
    assert_int_equal(ask_end(&ask), 0);
    assert_int_equal(rig_gauge(&rig, "requests_in_flight_limit"), 2);
    get_some(&rig, 1);
    assert_int_equal(rig_gauge(&rig, "requests_in_flight_limit"), 2);
    get_some(&rig, 1);
    assert_int_equal(rig_gauge(&rig, "requests_in_flight_limit"), 3);
    get_some(&rig, 3 + 4);
    assert_int_equal(rig_gauge(&rig, "requests_in_flight_limit"), 5);
    get_some(&rig, 12);
    assert_int_equal(rig_gauge(&rig, "requests_in_flight_limit"), 5);
    rig_close(&rig);
}

/* Their pauses end together, so either of blocks 1 and 2 may be first. */
static void
refuse_both(struct rig *rig)
{
    uint64_t first = 0;

    for (unsigned i = 0; i < 2; i++) {
        struct fake_request *request = fake_next(&rig->fake);
        uint64_t block = strtoul(request->name, NULL, 16);

        assert_in_range(block, 1, 2);
        assert_int_not_equal(block, first);
        first = block;
        refuse_this(rig, request, BD_BUSY, 0);
    }
}

TEST(objects, a_store_that_stays_busy_stalls_a_request_like_any_other)
{
    const struct rig_config config = { .retry_pause_ns = 100 * NS_PER_S,
                                       .stall_read_ns = 50 * NS_PER_S,
                                       .in_flight_max = 1 };
    struct rig rig;
    struct ask first, second;

    rig_open(&rig, &config);
    ask_start(&rig, &first, OBJECT_GET, 1);
    ask_start(&rig, &second, OBJECT_GET, 2);
    for (unsigned at_s = 0; at_s < 50; at_s += at_s == 0 ? 30 : 20) {
        refuse_both(&rig);
        clock_jump(rig.pool, (at_s == 0 ? 30 : 20) * NS_PER_S);
    }
    fake_answer(fake_next(&rig.fake), BD_BUSY);
    fake_answer(fake_next(&rig.fake), BD_BUSY);
    assert_int_equal(ask_end(&first), -EIO);
    assert_int_equal(ask_end(&second), -EIO);
    rig_close(&rig);
}

/* ---- deleting many, listing */

TEST(objects, of_a_batch_only_what_is_left_is_deleted_again)
{
    struct rig rig;
    struct ask ask;
    struct fake_request *many;

    rig_open(&rig, &plain);
    ask_delete(&rig, &ask, 4, 3);
    many = fake_expect(&rig.fake, BD_DELETE_MANY, "00000004");
    assert_int_equal(many->name_count, 3);
    assert_string_equal(many->names[2], "00000006");
    fake_answer_some(many, "00000005", BD_RETRY);
    many = fake_expect(&rig.fake, BD_DELETE_MANY, "00000005");
    assert_int_equal(many->name_count, 1);
    fake_answer_some(many, "00000005", BD_UNKNOWN);
    many = fake_expect(&rig.fake, BD_DELETE_MANY, "00000005");
    fake_answer_some(many, "00000005", BD_BUSY);
    many = fake_expect(&rig.fake, BD_DELETE_MANY, "00000005");
    assert_int_equal(rig_gauge(&rig, "requests_in_flight_limit"), 8);
    fake_answer_some(many, "00000005", BD_ABSENT);
    assert_int_equal(ask_end(&ask), 0);
    assert_true(ask.req.unsettled_ns != 0);
    rig_close(&rig);
}

TEST(objects, a_batch_fails_when_one_of_it_cannot_be_deleted)
{
    struct rig rig;
    struct ask ask;

    rig_open(&rig, &plain);
    ask_delete(&rig, &ask, 4, 3);
    fake_answer_some(fake_next(&rig.fake), "00000004", BD_DENIED);
    assert_int_equal(ask_end(&ask), -EACCES);
    assert_int_equal(ask.req.unsettled_ns, 0);
    rig_close(&rig);
}

TEST(objects, a_listing_leaves_out_foreign_names_and_goes_on_behind_the_last_one)
{
    static const char *const names[] = { "00000001", "00000002x", "00000003", "0000ffff",
                                         "s3backer-mounted" };
    const struct rig_config config = { .list_max = 2 };
    struct rig rig;
    struct ask ask;

    rig_open(&rig, &config);
    ask_start(&rig, &ask, OBJECT_LIST, 0);
    fake_give_names(fake_expect(&rig.fake, BD_LIST, ""), names, ARRAY_LEN(names));
    assert_int_equal(ask_end(&ask), 0);
    assert_false(ask.req.list_ended);
    assert_int_equal(ask.found_count, 1);
    assert_string_equal(ask.req.list_from, "00000002x");

    for (unsigned page = 0; page < 2; page++) {
        sem_init(&ask.done, 0, 0);
        objects_submit(rig.objects, &ask.req);
        fake_give_names(fake_next(&rig.fake), names, ARRAY_LEN(names));
        assert_int_equal(ask_end(&ask), 0);
    }
    assert_true(ask.req.list_ended);
    assert_int_equal(ask.found_count, 2);
    assert_int_equal(ask.found[1], 3);
    rig_close(&rig);
}

/* Whoever lists takes what lies between two names for absent. */
TEST(objects, a_listing_in_disorder_fails)
{
    static const char *const names[] = { "00000001", "00000004", "00000003" };
    struct rig rig;
    struct ask ask;

    rig_open(&rig, &plain);
    ask_start(&rig, &ask, OBJECT_LIST, 0);
    fake_give_names(fake_next(&rig.fake), names, ARRAY_LEN(names));
    assert_int_equal(ask_end(&ask), -EIO);
    assert_int_equal(ask.found_count, 2);
    rig_close(&rig);
}

TEST(objects, a_listing_that_is_over_ends_before_its_pause_does)
{
    atomic_bool is_over = false;
    struct rig rig;
    struct ask ask;

    rig_open(&rig, &plain);
    memset(&ask, 0, sizeof ask);
    sem_init(&ask.done, 0, 0);
    ask.req.op = OBJECT_LIST;
    ask.req.found = ask_found;
    ask.req.done = ask_done;
    ask.req.is_over = &is_over;
    objects_submit(rig.objects, &ask.req);
    fake_answer_retry_after(fake_next(&rig.fake), 15000);
    rig_wait_retries(&rig, 1);
    atomic_store(&is_over, true);
    assert_int_equal(ask_end(&ask), -ECANCELED);
    sem_init(&ask.done, 0, 0);
    objects_submit(rig.objects, &ask.req);
    assert_int_equal(ask_end(&ask), -ECANCELED);
    rig_close(&rig);
}

TEST(objects, an_empty_page_that_promises_more_is_asked_for_again_with_a_pause)
{
    static const char *const names[] = { "00000001" };
    struct fake_request *request;
    struct rig rig;
    struct ask ask;

    rig_open(&rig, &plain);
    ask_start(&rig, &ask, OBJECT_LIST, 0);
    request = fake_expect(&rig.fake, BD_LIST, "");
    request->io->more = 1;
    fake_answer(request, BD_OK);
    fake_give_names(fake_next(&rig.fake), names, ARRAY_LEN(names));
    assert_int_equal(ask_end(&ask), 0);
    assert_true(ask.req.list_ended);
    assert_int_equal(ask.found_count, 1);
    assert_int_equal(rig_counter(&rig, "object_retries"), 1);
    rig_close(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(objects, a_get_gives_the_body_and_the_tag),
        RUN(objects, what_is_absent_reads_as_zeros),
        RUN(objects, a_head_gives_the_tag_or_absence_and_no_body),
        RUN(objects, a_head_tells_how_the_object_is_encoded_and_how_large_it_is),
        RUN(objects, who_wants_the_reason_gets_it_and_learns_whether_it_is_damage),
        RUN(objects, only_block_0_carries_the_sizes),
        RUN(objects, block_0_repeats_its_sizes_in_every_attempt),
        RUN(objects, names_are_hashed_when_the_volume_is),
        RUN(objects, what_cannot_be_encoded_fails_with_its_reason),
        RUN(objects, each_status_has_its_own_end),
        RUN(objects, every_attempt_sends_the_same_bytes),
        RUN(objects, an_unknown_outcome_is_told_also_when_the_request_fails),
        RUN(objects, a_body_of_a_wrong_length_fails_that_block_only),
        RUN(objects, a_body_that_was_damaged_on_the_way_is_fetched_again),
        RUN(objects, the_store_names_the_pause_up_to_half_a_minute),
        RUN(objects, a_request_that_stalls_fails_after_one_last_attempt_at_the_limit),
        RUN(objects, a_store_that_is_away_for_hours_is_asked_with_pauses_all_the_time),
        RUN(objects, only_so_many_requests_are_in_flight_and_the_oldest_comes_next),
        RUN(objects, a_request_that_pauses_leaves_its_place_to_others),
        RUN(objects, attempts_are_timed_without_the_pauses_between_them_and_the_wait_for_a_place),
        RUN(objects, who_comes_back_from_a_pause_stands_where_its_age_says),
        RUN(objects, the_limit_falls_to_one_and_grows_back_by_one_for_each_limit_of_successes),
        RUN(objects, a_store_that_stays_busy_stalls_a_request_like_any_other),
        RUN(objects, of_a_batch_only_what_is_left_is_deleted_again),
        RUN(objects, a_batch_fails_when_one_of_it_cannot_be_deleted),
        RUN(objects, a_listing_leaves_out_foreign_names_and_goes_on_behind_the_last_one),
        RUN(objects, a_listing_in_disorder_fails),
        RUN(objects, a_listing_that_is_over_ends_before_its_pause_does),
        RUN(objects, an_empty_page_that_promises_more_is_asked_for_again_with_a_pause),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
