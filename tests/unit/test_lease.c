/* SPDX-License-Identifier: Apache-2.0 */
/* core/lease.c, and what core/objects.c makes of it, over a backend and a clock that do what the test says. */
#include "fake_backend.h"

#include "lease.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOCK "v/s3backer-mounted"
#define OURS "machine boot 1:2 here"
#define VALUE 0x42u
#define LEASE_S 60
#define HOLD_S 30

/* A lease over the rig's backend, and objects that go by it. */
struct writer {
    struct rig rig;
    struct lease *lease;
    struct objects *objects;
    uint64_t beat; /* the last one seen */
    char if_match[BD_TAG_BYTES_MAX + 1];
};

struct beginning {
    struct writer *writer;
    struct lease_config config;
    struct error why;
    int rc;
    pthread_t thread;
};

static void *
begin_main(void *arg)
{
    struct beginning *beginning = arg;

    beginning->rc = lease_begin(&beginning->config, beginning->writer->rig.stats,
                                &beginning->writer->lease, &beginning->why);
    return NULL;
}

/* Begins to begin, with a lock that was put so long ago: the first request is at the fake, or will be. */
static void
begin(struct writer *writer, struct beginning *beginning, const char *tag, uint64_t age_s)
{
    static const struct rig_config config = { .retry_pause_ns = 0 };

    memset(writer, 0, sizeof *writer);
    rig_open(&writer->rig, &config);
    *beginning = (struct beginning){
        .writer = writer,
        .config = { .backend = writer->rig.backend,
                    .pool = writer->rig.pool,
                    .prefix = "v/",
                    .lock = { .is_there = true,
                              .value = VALUE,
                              .owner = OURS,
                              .lease = { .epoch = 7,
                                         .lease_ms = LEASE_S * 1000,
                                         .settle_ms = 5000 } },
                    .when = "20260101T000000Z",
                    .since_ns = clock_now_ns() - age_s * NS_PER_S,
                    .hold_until_ns = clock_now_ns() + HOLD_S * NS_PER_S },
    };
    strcpy(beginning->config.lock.tag, tag);
    assert_int_equal(pthread_create(&beginning->thread, NULL, begin_main, beginning), 0);
}

/* The next request is a beat on the condition of this tag. */
static struct fake_request *
expect_beat(struct writer *writer, const char *if_match)
{
    struct fake_request *put = fake_expect(&writer->rig.fake, BD_PUT, LOCK);
    const char *lease = strstr(put->attrs, "bucketdisk-lease=beat=");
    unsigned long long beat = 0;

    assert_non_null(put->io->if_match);
    assert_string_equal(put->io->if_match, if_match);
    assert_non_null(strstr(put->attrs, "s3backer-mount-token=00000042;"));
    assert_non_null(strstr(put->attrs, "bucketdisk-owner=" OURS ";"));
    assert_non_null(lease);
    assert_int_equal(sscanf(lease, "bucketdisk-lease=beat=%llu", &beat), 1);
    /* Each attempt has its own, and a body of its own. */
    assert_true(beat > writer->beat);
    assert_non_null(memmem(put->body, put->body_bytes, strchr(lease, '=') + 1, 8));
    writer->beat = beat;
    return put;
}

static void
open_writer(struct writer *writer)
{
    struct beginning beginning;
    struct objects_config objects = {
        .layout = &writer->rig.layout,
        .attempt_ns = 120 * NS_PER_S, /* longer than a lease */
        .retry_pause_ns = NS_PER_MS,
        .stall_read_ns = 600 * NS_PER_S,
        .stall_write_ns = 600 * NS_PER_S,
        .in_flight_max = 4,
    };

    begin(writer, &beginning, "t0", 0);
    fake_answer_tag(expect_beat(writer, "t0"), BD_OK, "t1");
    pthread_join(beginning.thread, NULL);
    assert_int_equal(beginning.rc, 0);
    objects.lease = writer->lease;
    assert_int_equal(objects_new(&objects, writer->rig.backend, writer->rig.chain, writer->rig.pool,
                                 writer->rig.stats, &writer->objects),
                     0);
}

static void
close_writer(struct writer *writer)
{
    objects_free(writer->objects);
    lease_free(writer->lease);
    rig_close(&writer->rig);
}

static void
jump_s(struct writer *writer, uint64_t seconds)
{
    clock_jump(writer->rig.pool, seconds * NS_PER_S);
}

static enum lease_state
lease_of(struct writer *writer)
{
    uint64_t until_ns;

    rig_catch_up(&writer->rig);
    return lease_check(writer->lease, &until_ns);
}

/* Seconds that a write may be on its way, from now on. */
static unsigned
left_s(struct writer *writer)
{
    uint64_t until_ns, now;

    rig_catch_up(&writer->rig);
    assert_int_equal(lease_check(writer->lease, &until_ns), LEASE_HELD);
    now = clock_now_ns();
    return (unsigned)((until_ns - now + NS_PER_S / 2) / NS_PER_S);
}

/* HEAD: this lock. */
static void
give_lock(struct writer *writer, const char *owner, const char *lease, const char *tag)
{
    struct fake_request *head = fake_expect(&writer->rig.fake, BD_HEAD_OBJECT, LOCK);
    const struct bd_host *host = writer->rig.fake.host;

    assert_null(head->io->if_match);
    host->attr_add(head->io, "s3backer-mount-token", "00000042", 8);
    if (owner != NULL)
        host->attr_add(head->io, "bucketdisk-owner", owner, strlen(owner));
    if (lease != NULL)
        host->attr_add(head->io, "bucketdisk-lease", lease, strlen(lease));
    fake_answer_tag(head, BD_OK, tag);
}

static void
give_beat(struct writer *writer, uint64_t beat, const char *tag)
{
    char lease[100];

    snprintf(lease, sizeof lease, "beat=%llu epoch=7 lease=60000 settle=5000 at=1",
             (unsigned long long)beat);
    give_lock(writer, OURS, lease, tag);
}

static void
expect_lost(struct writer *writer, const char *how)
{
    struct error why = { "" };

    rig_catch_up(&writer->rig);
    assert_true(lease_is_lost(writer->lease, &why));
    if (strstr(why.text, how) == NULL)
        fail_msg("\"%s\" instead of \"%s\"", why.text, how);
    jump_s(writer, 1000);
    fake_expect_quiet(&writer->rig.fake);
    assert_int_equal(lease_of(writer), LEASE_LOST);
}

/* ---- beats */

TEST(lease, the_lock_beats_three_times_a_lease_each_on_the_condition_of_the_last)
{
    struct writer writer;
    char tag[8], next[8];

    open_writer(&writer);
    for (unsigned i = 1; i < 5; i++) {
        snprintf(tag, sizeof tag, "t%u", i);
        snprintf(next, sizeof next, "t%u", i + 1);
        jump_s(&writer, LEASE_S / 3 - 1);
        fake_expect_quiet(&writer.rig.fake);
        jump_s(&writer, 1);
        fake_answer_tag(expect_beat(&writer, tag), BD_OK, next);
        assert_int_equal(left_s(&writer), LEASE_S);
    }
    close_writer(&writer);
}

TEST(lease, each_beat_says_how_long_owners_before_are_still_waited_for)
{
    static const unsigned long long left_s[] = { HOLD_S - 20, 0 };
    struct writer writer;
    char tag[8] = "t1", next[8];

    open_writer(&writer);
    for (unsigned i = 0; i < ARRAY_LEN(left_s); i++) {
        struct fake_request *put;
        unsigned long long ms = 0;
        const char *hold;

        jump_s(&writer, 20);
        put = expect_beat(&writer, tag);
        hold = strstr(put->attrs, "bucketdisk-hold=");
        if (hold != NULL)
            assert_int_equal(sscanf(hold, "bucketdisk-hold=%llu", &ms), 1);
        assert_int_equal((ms + 500) / 1000, left_s[i]);
        snprintf(next, sizeof next, "t%u", i + 2);
        fake_answer_tag(put, BD_OK, next);
        strcpy(tag, next);
        rig_catch_up(&writer.rig);
    }
    close_writer(&writer);
}

TEST(lease, an_epoch_is_told_from_the_next_beat_on)
{
    struct writer writer;
    struct fake_request *put;

    open_writer(&writer);
    lease_set_epoch(writer.lease, 99);
    jump_s(&writer, 20);
    put = expect_beat(&writer, "t1");
    assert_non_null(strstr(put->attrs, " epoch=99 lease=60000 settle=5000 at="));
    fake_answer_tag(put, BD_OK, "t2");
    close_writer(&writer);
}

TEST(lease, what_is_in_a_cache_file_alone_is_told_at_once)
{
    struct writer writer;
    struct fake_request *put;

    open_writer(&writer);
    rig_catch_up(&writer.rig);
    lease_set_local(writer.lease, true);
    put = expect_beat(&writer, "t1");
    assert_non_null(strstr(put->attrs, "bucketdisk-durability=cache;"));
    fake_answer_tag(put, BD_OK, "t2");
    rig_catch_up(&writer.rig);
    lease_set_local(writer.lease, true);
    fake_expect_quiet(&writer.rig.fake);
    lease_set_local(writer.lease, false);
    put = expect_beat(&writer, "t2");
    assert_null(strstr(put->attrs, "bucketdisk-durability"));
    fake_answer_tag(put, BD_OK, "t3");
    jump_s(&writer, LEASE_S / 3);
    fake_answer_tag(expect_beat(&writer, "t3"), BD_OK, "t4");
    close_writer(&writer);
}

TEST(lease, when_it_is_stopped_it_says_when_it_ends)
{
    struct writer writer;
    uint64_t now;

    open_writer(&writer);
    now = clock_now_ns();
    jump_s(&writer, LEASE_S / 6);
    assert_in_range(lease_stop(writer.lease), now + (LEASE_S - 5) * NS_PER_S,
                    now + LEASE_S * NS_PER_S);
    close_writer(&writer);
}

TEST(lease, without_confirmation_nothing_may_be_sent_after_half_the_lease)
{
    struct writer writer;
    struct fake_request *put;

    open_writer(&writer);
    jump_s(&writer, 20);
    put = expect_beat(&writer, "t1"); /* and no answer */
    jump_s(&writer, 9);
    assert_int_equal(lease_of(&writer), LEASE_HELD);
    assert_int_equal(left_s(&writer), 31);
    jump_s(&writer, 2);
    assert_int_equal(lease_of(&writer), LEASE_UNCONFIRMED);
    /* It was sent 11 s ago, so it confirms 49. */
    fake_answer_tag(put, BD_OK, "t2");
    assert_int_equal(left_s(&writer), 49);
    close_writer(&writer);
}

TEST(lease, an_answer_that_comes_very_late_confirms_nothing)
{
    struct writer writer;
    struct fake_request *put;

    open_writer(&writer);
    jump_s(&writer, 20);
    put = expect_beat(&writer, "t1");
    jump_s(&writer, 31);
    fake_answer_tag(put, BD_OK, "t2");
    assert_int_equal(lease_of(&writer), LEASE_UNCONFIRMED);
    fake_answer_tag(expect_beat(&writer, "t2"), BD_OK, "t3");
    assert_int_equal(left_s(&writer), LEASE_S);
    close_writer(&writer);
}

TEST(lease, a_failing_store_is_asked_again_until_it_answers_and_then_writing_goes_on)
{
    static const enum bd_status failures[] = { BD_RETRY, BD_BUSY,  BD_DENIED,
                                               BD_FULL,  BD_FATAL, BD_UNSUPPORTED };
    struct writer writer;

    open_writer(&writer);
    jump_s(&writer, 20);
    for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
        fake_answer(expect_beat(&writer, "t1"), failures[i]);
        rig_catch_up(&writer.rig);
        fake_expect_quiet(&writer.rig.fake);
        jump_s(&writer, 2);
    }
    assert_int_equal(lease_of(&writer), LEASE_UNCONFIRMED);
    fake_answer_tag(expect_beat(&writer, "t1"), BD_OK, "t2");
    assert_int_equal(left_s(&writer), LEASE_S);
    close_writer(&writer);
}

TEST(lease, each_attempt_of_a_beat_has_a_deadline_of_a_sixth)
{
    struct writer writer;
    struct fake_request *put;

    open_writer(&writer);
    jump_s(&writer, 20);
    put = expect_beat(&writer, "t1");
    assert_true(put->io->deadline_ns <= clock_now_ns() + LEASE_S / 6 * NS_PER_S);
    fake_answer_tag(put, BD_OK, "t2");
    close_writer(&writer);
}

/* ---- answers that were lost */

TEST(lease, a_beat_whose_answer_was_lost_is_settled_by_reading)
{
    struct writer writer;
    uint64_t lost;

    open_writer(&writer);
    jump_s(&writer, 20);
    fake_answer(expect_beat(&writer, "t1"), BD_UNKNOWN);
    lost = writer.beat;
    give_beat(&writer, lost - 1, "t1"); /* not yet done */
    rig_catch_up(&writer.rig);
    jump_s(&writer, 5);
    fake_answer(expect_beat(&writer, "t1"), BD_CONDITION);
    give_beat(&writer, lost, "t2");
    /* What was done is the beat of 5 s ago. */
    assert_int_equal(left_s(&writer), LEASE_S - 5);
    jump_s(&writer, 15);
    fake_answer_tag(expect_beat(&writer, "t2"), BD_OK, "t3");
    assert_int_equal(left_s(&writer), LEASE_S);
    close_writer(&writer);
}

TEST(lease, a_beat_that_was_not_done_after_all_confirms_nothing)
{
    struct writer writer;

    open_writer(&writer);
    jump_s(&writer, 20);
    /* More of them than are remembered. */
    for (unsigned i = 0; i < 20; i++) {
        fake_answer(expect_beat(&writer, "t1"), BD_UNKNOWN);
        give_beat(&writer, 1, "t1");
        rig_catch_up(&writer.rig);
        jump_s(&writer, 2);
    }
    assert_int_equal(lease_of(&writer), LEASE_UNCONFIRMED);
    fake_answer_tag(expect_beat(&writer, "t1"), BD_OK, "t2");
    assert_int_equal(left_s(&writer), LEASE_S);
    close_writer(&writer);
}

TEST(lease, when_every_answer_is_lost_reading_alone_keeps_the_lease)
{
    struct writer writer;
    char tag[8] = "t1";

    open_writer(&writer);
    for (unsigned i = 2; i < 6; i++) {
        struct fake_request *put;

        jump_s(&writer, 21);
        put = expect_beat(&writer, tag);
        jump_s(&writer, 1);
        fake_answer(put, BD_UNKNOWN);
        snprintf(tag, sizeof tag, "t%u", i);
        give_beat(&writer, writer.beat, tag);
        assert_int_equal(left_s(&writer), LEASE_S - 1);
    }
    close_writer(&writer);
}

TEST(lease, a_condition_that_fails_though_nothing_has_changed_is_tried_again)
{
    struct writer writer;

    open_writer(&writer);
    jump_s(&writer, 20);
    fake_answer(expect_beat(&writer, "t1"), BD_CONDITION);
    give_beat(&writer, 1, "t1");
    rig_catch_up(&writer.rig);
    jump_s(&writer, 1);
    fake_answer_tag(expect_beat(&writer, "t1"), BD_OK, "t2");
    assert_int_equal(left_s(&writer), LEASE_S);
    close_writer(&writer);
}

TEST(lease, a_store_that_gives_no_tag_is_asked_for_it)
{
    struct writer writer;

    open_writer(&writer);
    jump_s(&writer, 20);
    fake_answer(expect_beat(&writer, "t1"), BD_OK);
    give_beat(&writer, writer.beat, "t2");
    assert_int_equal(left_s(&writer), LEASE_S);
    jump_s(&writer, 20);
    fake_answer_tag(expect_beat(&writer, "t2"), BD_OK, "t3");
    close_writer(&writer);
}

TEST(lease, reading_is_tried_again_too)
{
    struct writer writer;

    open_writer(&writer);
    jump_s(&writer, 20);
    fake_answer(expect_beat(&writer, "t1"), BD_CONDITION);
    for (unsigned i = 0; i < 3; i++) {
        fake_answer(fake_expect(&writer.rig.fake, BD_HEAD_OBJECT, LOCK), i == 0   ? BD_RETRY
                                                                         : i == 1 ? BD_DENIED
                                                                                  : BD_UNKNOWN);
        rig_catch_up(&writer.rig);
        assert_false(lease_is_lost(writer.lease, NULL));
        jump_s(&writer, 2);
    }
    give_lock(&writer, "other other 1:2 there", NULL, "t9");
    expect_lost(&writer, "taken over by there");
    close_writer(&writer);
}

/* ---- the end of it */

TEST(lease, who_finds_another_lock_or_none_or_garbage_never_writes_again)
{
    static const struct {
        const char *owner, *lease, *how;
    } cases[] = {
        { "other boot 1:2 there", "beat=3 epoch=8 lease=60000 settle=5000 at=1", "by there" },
        { "machine boot 9:9 here", NULL, "by here" }, /* another daemon of this machine */
        { NULL, NULL, "another program" },            /* s3backer's */
        { "garbage", "garbage", "another program" },
        { OURS, "beat=77 epoch=7 lease=60000 settle=5000 at=1", "here" }, /* that we never put */
    };

    for (size_t i = 0; i < ARRAY_LEN(cases) + 1; i++) {
        struct writer writer;

        open_writer(&writer);
        jump_s(&writer, 20);
        fake_answer(expect_beat(&writer, "t1"), BD_CONDITION);
        if (i < ARRAY_LEN(cases))
            give_lock(&writer, cases[i].owner, cases[i].lease, "t9");
        else
            fake_answer(fake_expect(&writer.rig.fake, BD_HEAD_OBJECT, LOCK), BD_ABSENT);
        expect_lost(&writer, i < ARRAY_LEN(cases) ? cases[i].how : "removed");
        close_writer(&writer);
    }
}

TEST(lease, a_machine_that_slept_sends_nothing_before_it_has_asked)
{
    for (unsigned is_superseded = 0; is_superseded < 2; is_superseded++) {
        struct writer writer;
        struct fake_request *put;

        open_writer(&writer);
        jump_s(&writer, 600);
        assert_int_equal(lease_of(&writer), LEASE_UNCONFIRMED);
        put = expect_beat(&writer, "t1");
        if (is_superseded) {
            fake_answer(put, BD_CONDITION);
            give_lock(&writer, "other boot 1:2 there", NULL, "t9");
            expect_lost(&writer, "there");
        } else {
            fake_answer_tag(put, BD_OK, "t2");
            assert_int_equal(left_s(&writer), LEASE_S);
        }
        close_writer(&writer);
    }
}

static void *
stop_main(void *arg)
{
    lease_stop(arg);
    return NULL;
}

TEST(lease, a_lease_that_is_stopped_waits_for_its_beat_and_sends_no_other)
{
    struct writer writer;
    struct fake_request *put;
    pthread_t thread;

    open_writer(&writer);
    jump_s(&writer, 20);
    put = expect_beat(&writer, "t1");
    assert_int_equal(pthread_create(&thread, NULL, stop_main, writer.lease), 0);
    usleep(20000);
    fake_answer(put, BD_UNKNOWN);
    pthread_join(thread, NULL);
    jump_s(&writer, 100);
    fake_expect_quiet(&writer.rig.fake);
    close_writer(&writer);
}

TEST(lease, a_start_that_was_overtaken_begins_nothing)
{
    struct writer writer;
    struct beginning beginning;

    begin(&writer, &beginning, "t0", 0);
    fake_answer(expect_beat(&writer, "t0"), BD_CONDITION);
    give_lock(&writer, "other boot 1:2 there", NULL, "t9");
    pthread_join(beginning.thread, NULL);
    assert_int_equal(beginning.rc, -EBUSY);
    assert_non_null(strstr(beginning.why.text, "there"));
    assert_null(writer.lease);
    rig_close(&writer.rig);
}

static sigset_t
only_sigterm(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    return set;
}

TEST(lease, a_signal_ends_the_wait_for_the_first_beat)
{
    const sigset_t held = only_sigterm();
    struct writer writer;
    struct beginning beginning;
    struct fake_request *put;

    pthread_sigmask(SIG_BLOCK, &held, NULL);
    begin(&writer, &beginning, "t0", 0);
    put = expect_beat(&writer, "t0");
    pthread_kill(beginning.thread, SIGTERM);
    fake_answer(put, BD_RETRY);
    pthread_join(beginning.thread, NULL);
    assert_int_equal(beginning.rc, -EINTR);
    assert_null(writer.lease);
    rig_close(&writer.rig);
}

TEST(lease, a_signal_ends_the_wait_for_a_confirmation_and_none_is_waited_for_while_there_is_one)
{
    const sigset_t held = only_sigterm();
    struct writer writer;
    struct fake_request *put;
    struct error why;
    uint64_t until_ns;
    int number;

    open_writer(&writer);
    pthread_sigmask(SIG_BLOCK, &held, NULL);
    raise(SIGTERM);
    assert_int_equal(lease_await(writer.lease, &until_ns, &why), 0);
    jump_s(&writer, 20);
    put = expect_beat(&writer, "t1");
    jump_s(&writer, 11);
    assert_int_equal(lease_await(writer.lease, &until_ns, &why), -EINTR);
    sigwait(&held, &number);
    fake_answer_tag(put, BD_OK, "t2");
    assert_int_equal(lease_await(writer.lease, &until_ns, &why), 0);
    close_writer(&writer);
}

TEST(lease, a_lock_whose_tag_is_not_known_is_looked_at_first)
{
    struct writer writer;
    struct beginning beginning;

    begin(&writer, &beginning, "", 0);
    give_lock(&writer, OURS, NULL, "t0");
    pthread_join(beginning.thread, NULL);
    assert_int_equal(beginning.rc, 0);
    jump_s(&writer, 20);
    fake_answer_tag(expect_beat(&writer, "t0"), BD_OK, "t1");
    close_writer(&writer);
}

TEST(lease, a_lock_without_a_beat_is_confirmed_from_when_it_was_put)
{
    struct writer writer;
    struct beginning beginning;

    begin(&writer, &beginning, "", 15);
    give_lock(&writer, OURS, NULL, "t0");
    pthread_join(beginning.thread, NULL);
    assert_int_equal(beginning.rc, 0);
    assert_int_equal(left_s(&writer), LEASE_S - 15);
    jump_s(&writer, LEASE_S / 3 - 15);
    fake_answer_tag(expect_beat(&writer, "t0"), BD_OK, "t1");
    assert_int_equal(left_s(&writer), LEASE_S);
    close_writer(&writer);
}

/* ---- writes and the lease */

struct ask {
    struct object_req req;
    sem_t done;
    unsigned char data[RIG_BLOCK_BYTES];
    uint64_t blocks[3];
};

static void
ask_done(struct object_req *req)
{
    sem_post(&container_of(req, struct ask, req)->done);
}

static void
ask_start(struct writer *writer, struct ask *ask, enum object_op op, unsigned count)
{
    memset(ask, 0, sizeof *ask);
    sem_init(&ask->done, 0, 0);
    ask->req.op = op;
    ask->req.block = 5;
    ask->req.data = ask->data;
    ask->req.blocks = ask->blocks;
    for (unsigned i = 0; i < count; i++)
        ask->blocks[i] = 5 + i;
    ask->req.count = count;
    ask->req.done = ask_done;
    objects_submit(writer->objects, &ask->req);
}

static int
ask_end(struct ask *ask)
{
    wait_for(&ask->done);
    sem_destroy(&ask->done);
    return ask->req.rc;
}

static const struct {
    enum object_op op;
    unsigned count;
    uint32_t sent;
} writes[] = {
    { OBJECT_PUT, 1, BD_PUT },
    { OBJECT_DELETE, 1, BD_DELETE },
    { OBJECT_DELETE, 3, BD_DELETE_MANY },
};

static void
answer_write(struct fake_request *request)
{
    if (request->op == BD_DELETE_MANY)
        fake_answer_some(request, "", BD_OK);
    else
        fake_answer(request, BD_OK);
}

TEST(lease, a_write_is_given_up_when_the_lease_ends_also_if_the_clock_jumps_before_it_is_sent)
{
    for (size_t i = 0; i < ARRAY_LEN(writes); i++) {
        struct writer writer;
        struct fake_request *put;
        uint64_t begun;
        struct ask ask;

        open_writer(&writer);
        begun = clock_now_ns();
        ask_start(&writer, &ask, writes[i].op, writes[i].count);
        put = fake_next(&writer.rig.fake);
        assert_int_equal(put->op, writes[i].sent);
        /* A backend that gets to it later sends nothing after this, and who takes over waits for it. */
        assert_true(put->io->deadline_ns <= begun + LEASE_S * NS_PER_S);
        assert_true(put->io->deadline_ns >= begun + (LEASE_S - 5) * NS_PER_S);
        answer_write(put);
        assert_int_equal(ask_end(&ask), 0);
        close_writer(&writer);
    }
}

TEST(lease, without_confirmation_writes_wait_and_reads_do_not)
{
    for (size_t i = 0; i < ARRAY_LEN(writes); i++) {
        struct writer writer;
        struct fake_request *beat;
        struct ask ask, read;

        open_writer(&writer);
        jump_s(&writer, 20);
        beat = expect_beat(&writer, "t1");
        jump_s(&writer, 11);
        ask_start(&writer, &ask, writes[i].op, writes[i].count);
        fake_expect_quiet(&writer.rig.fake);
        ask_start(&writer, &read, OBJECT_GET, 0);
        fake_answer(fake_expect_block(&writer.rig.fake, BD_GET, 5), BD_ABSENT);
        assert_int_equal(ask_end(&read), 0);
        jump_s(&writer, 100);
        fake_expect_quiet(&writer.rig.fake);
        fake_answer_tag(beat, BD_OK, "t2"); /* too late to confirm anything */
        fake_answer_tag(expect_beat(&writer, "t2"), BD_OK, "t3");
        rig_catch_up(&writer.rig);
        jump_s(&writer, 1);
        answer_write(fake_next(&writer.rig.fake));
        assert_int_equal(ask_end(&ask), 0);
        close_writer(&writer);
    }
}

TEST(lease, a_retry_asks_for_the_lease_too)
{
    struct writer writer;
    struct fake_request *beat, *put;
    struct ask ask;

    open_writer(&writer);
    ask_start(&writer, &ask, OBJECT_PUT, 1);
    put = fake_expect_block(&writer.rig.fake, BD_PUT, 5);
    jump_s(&writer, 20);
    beat = expect_beat(&writer, "t1");
    jump_s(&writer, 11);
    fake_answer(put, BD_RETRY);
    rig_wait_retries(&writer.rig, 1);
    jump_s(&writer, 1);
    fake_expect_quiet(&writer.rig.fake);
    fake_answer_tag(beat, BD_OK, "t2");
    rig_catch_up(&writer.rig);
    jump_s(&writer, 1);
    fake_answer(fake_expect_block(&writer.rig.fake, BD_PUT, 5), BD_OK);
    assert_int_equal(ask_end(&ask), 0);
    close_writer(&writer);
}

TEST(lease, a_write_that_waits_for_the_lease_fails_as_if_the_store_were_away)
{
    struct writer writer;
    struct fake_request *beat;
    struct ask ask;

    open_writer(&writer);
    jump_s(&writer, 20);
    beat = expect_beat(&writer, "t1");
    jump_s(&writer, 11);
    ask_start(&writer, &ask, OBJECT_PUT, 1);
    jump_s(&writer, 601);
    assert_int_equal(ask_end(&ask), -EIO);
    fake_answer(beat, BD_RETRY);
    rig_catch_up(&writer.rig);
    close_writer(&writer);
}

TEST(lease, who_has_lost_it_fails_every_write_at_once_and_reads_on)
{
    struct writer writer;
    struct fake_request *put;
    struct ask held, sent, read;

    open_writer(&writer);
    ask_start(&writer, &sent, OBJECT_PUT, 1);
    put = fake_expect_block(&writer.rig.fake, BD_PUT, 5);
    jump_s(&writer, 500);
    ask_start(&writer, &held, OBJECT_DELETE, 1);
    fake_answer(expect_beat(&writer, "t1"), BD_CONDITION);
    fake_answer(fake_expect(&writer.rig.fake, BD_HEAD_OBJECT, LOCK), BD_ABSENT);
    rig_catch_up(&writer.rig);
    jump_s(&writer, 1);
    assert_int_equal(ask_end(&held), -EROFS);
    fake_answer(put, BD_UNKNOWN);
    rig_wait_retries(&writer.rig, 1);
    jump_s(&writer, 1);
    assert_int_equal(ask_end(&sent), -EROFS);
    for (size_t i = 0; i < ARRAY_LEN(writes); i++) {
        struct ask ask;

        ask_start(&writer, &ask, writes[i].op, writes[i].count);
        assert_int_equal(ask_end(&ask), -EROFS);
    }
    ask_start(&writer, &read, OBJECT_GET, 0);
    fake_answer(fake_expect_block(&writer.rig.fake, BD_GET, 5), BD_ABSENT);
    assert_int_equal(ask_end(&read), 0);
    close_writer(&writer);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(lease, the_lock_beats_three_times_a_lease_each_on_the_condition_of_the_last),
        RUN(lease, each_beat_says_how_long_owners_before_are_still_waited_for),
        RUN(lease, an_epoch_is_told_from_the_next_beat_on),
        RUN(lease, what_is_in_a_cache_file_alone_is_told_at_once),
        RUN(lease, when_it_is_stopped_it_says_when_it_ends),
        RUN(lease, without_confirmation_nothing_may_be_sent_after_half_the_lease),
        RUN(lease, an_answer_that_comes_very_late_confirms_nothing),
        RUN(lease, a_failing_store_is_asked_again_until_it_answers_and_then_writing_goes_on),
        RUN(lease, each_attempt_of_a_beat_has_a_deadline_of_a_sixth),
        RUN(lease, a_beat_whose_answer_was_lost_is_settled_by_reading),
        RUN(lease, a_beat_that_was_not_done_after_all_confirms_nothing),
        RUN(lease, when_every_answer_is_lost_reading_alone_keeps_the_lease),
        RUN(lease, a_condition_that_fails_though_nothing_has_changed_is_tried_again),
        RUN(lease, a_store_that_gives_no_tag_is_asked_for_it),
        RUN(lease, reading_is_tried_again_too),
        RUN(lease, who_finds_another_lock_or_none_or_garbage_never_writes_again),
        RUN(lease, a_machine_that_slept_sends_nothing_before_it_has_asked),
        RUN(lease, a_lease_that_is_stopped_waits_for_its_beat_and_sends_no_other),
        RUN(lease, a_start_that_was_overtaken_begins_nothing),
        RUN(lease, a_signal_ends_the_wait_for_the_first_beat),
        RUN(lease,
            a_signal_ends_the_wait_for_a_confirmation_and_none_is_waited_for_while_there_is_one),
        RUN(lease, a_lock_whose_tag_is_not_known_is_looked_at_first),
        RUN(lease, a_lock_without_a_beat_is_confirmed_from_when_it_was_put),
        RUN(lease,
            a_write_is_given_up_when_the_lease_ends_also_if_the_clock_jumps_before_it_is_sent),
        RUN(lease, without_confirmation_writes_wait_and_reads_do_not),
        RUN(lease, a_retry_asks_for_the_lease_too),
        RUN(lease, a_write_that_waits_for_the_lease_fails_as_if_the_store_were_away),
        RUN(lease, who_has_lost_it_fails_every_write_at_once_and_reads_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
