/* SPDX-License-Identifier: Apache-2.0 */
/* core/token.c over backend-memory: who may mount a volume. */
#include "backends.h"

#include "base/util.h"
#include "token.h"

#include <errno.h>
#include <pthread.h>

#define TOKEN "v/s3backer-mounted"

static const struct layout layout = { .prefix = "v/", .block_bytes = 4096, .block_count = 100 };

static int
take(struct test_store *store, const char *lock_id, bool is_forced, struct token *token)
{
    struct error why = { "" };
    int rc = token_take(store->backend, &layout, lock_id, is_forced, token, &why);

    assert_int_equal(why.text[0] == '\0', rc == 0);
    return rc;
}

static bool
is_mounted(struct test_store *store)
{
    return run(request(store, BD_HEAD_OBJECT, TOKEN), NULL) == BD_OK;
}

TEST(token, a_token_is_taken_and_dropped)
{
    struct error why = { "" };
    struct token token;
    struct test_store store;

    memory_open(&store, NULL);
    assert_int_equal(take(&store, "1:2", false, &token), 0);
    assert_true(token.value > 0 && token.value < 0x7fffffff);
    assert_true(is_mounted(&store));
    assert_int_equal(token_drop(store.backend, &layout, &token, &why), 0);
    assert_false(is_mounted(&store));
    assert_int_equal(token_drop(store.backend, &layout, &token, &why), 0);
    store_close(&store);
}

/* The words of our own owner line; false when this machine cannot be told from others. */
static bool
own_words(struct test_store *store, char words[4][128])
{
    struct token token;

    assert_int_equal(take(store, "1:2", true, &token), 0);
    assert_int_equal(
        sscanf(token.owner, "%127s %127s %127s %127s", words[0], words[1], words[2], words[3]), 4);
    return strcmp(words[0], "-") != 0 && strcmp(words[1], "-") != 0;
}

TEST(token, only_a_token_whose_daemon_is_surely_dead_is_taken_over)
{
    static const struct {
        int word; /* of the owner line to change; -1: none */
        const char *to;
        bool is_dead;
    } cases[] = {
        { -1, NULL, true },          /* same boot, same lock, which we hold */
        { 1, "another-boot", true }, /* the machine has been restarted */
        { 2, "9:9", false },         /* another container, say */
        { 2, "1:3", false },         /* another lock: of the volume by another name, say */
        { 2, "1", false },           /* of a version that said less about its lock */
        { 0, "another-machine", false },
        { 3, "another-host", false },
        { 0, "-", false },
        { 1, "-", false },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct token token;
        struct test_store store;
        char words[4][128], owner[520];
        bool is_known, is_ours = cases[i].word == -1;

        memory_open(&store, NULL);
        is_known = own_words(&store, words);
        /* A system without a machine id knows its own tokens by this boot and lock alone. */
        is_ours = is_ours || strcmp(words[cases[i].word], cases[i].to) == 0;
        if (cases[i].word >= 0)
            snprintf(words[cases[i].word], sizeof words[0], "%s", cases[i].to);
        snprintf(owner, sizeof owner, "%s %s %s %s", words[0], words[1], words[2], words[3]);
        put_with(&store, TOKEN, 4, NULL,
                 (const char *const[4]){ "s3backer-mount-token", "00000042", "bucketdisk-owner",
                                         owner });
        assert_int_equal(take(&store, "1:2", false, &token),
                         is_ours || (cases[i].is_dead && is_known) ? 0 : -EBUSY);
        store_close(&store);
    }
}

TEST(token, a_token_of_s3backer_is_refused_unless_forced_or_reset)
{
    struct error why = { "" };
    struct token token;
    struct test_store store;

    memory_open(&store, NULL);
    put_with(&store, TOKEN, 4, NULL,
             (const char *const[4]){ "s3backer-mount-token", "7fffffff", NULL, NULL });
    assert_int_equal(take(&store, "1:2", false, &token), -EBUSY);
    assert_int_equal(take(&store, "1:2", true, &token), 0);
    put_with(&store, TOKEN, 4, NULL, NULL); /* of before 1.5.0: no token in it */
    assert_int_equal(take(&store, "1:2", false, &token), -EBUSY);
    assert_int_equal(token_reset(store.backend, &layout, &why), 0);
    assert_int_equal(take(&store, "1:2", false, &token), 0);
    store_close(&store);
}

TEST(token, a_token_that_is_not_ours_any_more_stays)
{
    struct error why = { "" };
    struct token ours, theirs;
    struct test_store store;

    memory_open(&store, NULL);
    assert_int_equal(take(&store, "1:2", false, &ours), 0);
    assert_int_equal(take(&store, "3:4", true, &theirs), 0);
    assert_int_equal(token_drop(store.backend, &layout, &ours, &why), 0);
    assert_true(is_mounted(&store));
    assert_int_equal(token_drop(store.backend, &layout, &theirs, &why), 0);
    assert_false(is_mounted(&store));
    store_close(&store);
}

TEST(token, the_token_that_was_taken_is_dropped_whatever_the_layout_has_become)
{
    struct layout changing = { .prefix = "v/", .is_format_2 = true };
    struct error why = { "" };
    struct token token;
    struct test_store store;

    memory_open(&store, NULL);
    assert_int_equal(token_take(store.backend, &changing, "1:2", false, &token, &why), 0);
    assert_int_equal(run(request(&store, BD_HEAD_OBJECT, "v/bucketdisk-lock"), NULL), BD_OK);
    assert_false(is_mounted(&store));
    changing.is_format_2 = false; /* a second look at the volume that failed half way */
    assert_int_equal(token_drop(store.backend, &changing, &token, &why), 0);
    assert_int_equal(run(request(&store, BD_HEAD_OBJECT, "v/bucketdisk-lock"), NULL), BD_ABSENT);
    store_close(&store);
}

TEST(token, the_fence_of_a_volume_of_format_2_is_no_token_to_take_over)
{
    struct error why = { "" };
    struct token token;
    struct test_store store;

    memory_open(&store, NULL);
    put_with(&store, TOKEN, 4, NULL,
             (const char *const[4]){ "s3backer-mount-token", "0000bd02", "bucketdisk-owner",
                                     TOKEN_FENCE_OWNER });
    for (unsigned forced = 0; forced < 2; forced++) {
        assert_int_equal(token_take(store.backend, &layout, "1:2", forced, &token, &why), -EBUSY);
        assert_non_null(strstr(why.text, "format 2"));
    }
    store_close(&store);
}

/* ---- stores of which conditions are worth more or less */

/* How a layer over the memory treats a condition. */
enum treatment { HONOURS, IGNORES, REFUSES, NEVER_HOLDS };

static struct {
    enum treatment if_absent, if_match, delete_if_match;
    /* Before or after this put, counted from 1, somebody else puts a token, whatever is there; 0: never. */
    unsigned rival_before, rival_after;
    /* This put is carried out, and its answer lost; those behind it are denied.  And this HEAD is denied. */
    unsigned lost_put, denied_head;
    bool strips_attrs;
    unsigned puts, heads;
    const struct bd_host *host;
    const struct bd_lower *lower;
} variant;

struct variant_op {
    struct bd_io *io, *child;
    enum bd_status status;
    unsigned number;
};

static const char rival_owner[] = "other-machine other-boot 7:7 rival";

static void
rival_puts(struct variant_op *op, bd_io_done *done)
{
    static const struct bd_attr attrs[] = {
        { "s3backer-mount-token", "00000077", 8 },
        { "bucketdisk-owner", rival_owner, sizeof rival_owner - 1 },
    };
    struct bd_io *child = variant.host->child_new(variant.host, variant.lower, NULL);

    child->op = BD_PUT;
    child->name = TOKEN;
    child->deadline_ns = op->io->deadline_ns;
    child->body = "rival";
    child->body_bytes = 5;
    child->attrs = attrs;
    child->attr_count = 2;
    child->attr_stride = sizeof attrs[0];
    variant.host->child_submit(child, done, op);
}

static void
variant_rival_done(struct bd_io *child, enum bd_status status, void *arg)
{
    struct variant_op *op = arg;

    assert_int_equal(status, BD_OK);
    variant.host->child_free(child);
    variant.host->complete(op->io, op->status);
}

static void
variant_passed(struct bd_io *child, enum bd_status status, void *arg)
{
    struct variant_op *op = arg;

    variant.host->child_result(child, op->io);
    variant.host->child_free(child);
    op->status = status;
    if (op->number > 0 && op->number == variant.lost_put)
        op->status = BD_UNKNOWN;
    if (op->number > 0 && op->number == variant.rival_after)
        rival_puts(op, variant_rival_done);
    else
        variant.host->complete(op->io, op->status);
}

static void
variant_pass(struct variant_op *op)
{
    const struct bd_io *io = op->io;
    enum treatment treatment = HONOURS;

    if (io->if_match != NULL)
        treatment = io->op == BD_DELETE ? variant.delete_if_match : variant.if_match;
    else if (io->if_none_match != NULL)
        treatment = variant.if_absent;
    if (treatment == REFUSES || treatment == NEVER_HOLDS) {
        variant.host->complete(op->io, treatment == REFUSES ? BD_UNSUPPORTED : BD_CONDITION);
        return;
    }
    op->child = variant.host->child_new(variant.host, variant.lower, op->io);
    if (treatment == IGNORES)
        op->child->if_match = op->child->if_none_match = NULL;
    if (variant.strips_attrs)
        op->child->attr_count = 0;
    variant.host->child_submit(op->child, variant_passed, op);
}

static void
variant_rival_first(struct bd_io *child, enum bd_status status, void *arg)
{
    assert_int_equal(status, BD_OK);
    variant.host->child_free(child);
    variant_pass(arg);
}

static void
variant_submit(void *handle, struct bd_io *io)
{
    struct variant_op *op = io->scratch;

    (void)handle;
    op->io = io;
    if (io->op == BD_PUT)
        op->number = ++variant.puts;
    if ((variant.lost_put > 0 && op->number > variant.lost_put)
        || (io->op == BD_HEAD_OBJECT && ++variant.heads == variant.denied_head))
        variant.host->complete(io, BD_DENIED);
    else if (op->number > 0 && op->number == variant.rival_before)
        rival_puts(op, variant_rival_first);
    else
        variant_pass(op);
}

static enum bd_status
variant_open(const struct bd_host *host, const void *options, const struct bd_lower *lower,
             void **handle)
{
    (void)options, (void)handle;
    variant.host = host;
    variant.lower = lower;
    return BD_OK;
}

static void
variant_info(void *handle, struct bd_backend_info *out)
{
    (void)handle;
    out->capabilities = variant.lower->info->capabilities;
}

static void
variant_close(void *handle)
{
    (void)handle;
}

static const struct bd_backend variant_table = {
    .head = BD_HEAD(BACKEND, struct bd_backend),
    .traits = BD_BACKEND_STACKS,
    .scratch_bytes = sizeof(struct variant_op),
    .open = variant_open,
    .info = variant_info,
    .submit = variant_submit,
    .close = variant_close,
};

static void
variant_fresh(struct test_store *store)
{
    memset(&variant, 0, sizeof variant);
    store_init(store);
    store->layers[0] = (struct backend_layer){ "backend-variant", &variant_table, NULL };
    store_layer(store, 1, "backend-memory", NULL);
    assert_int_equal(store_open(store, 2), 0);
}

/* Pauses are counted, not made. */
static unsigned pauses_s;

int
nanosleep(const struct timespec *time, struct timespec *rest)
{
    (void)rest;
    pauses_s += (unsigned)time->tv_sec;
    return 0;
}

static void
expect_owner(struct test_store *store, const char *owner)
{
    struct backend_io *io = request(store, BD_HEAD_OBJECT, TOKEN);
    const char *found;

    backend_submit_wait(io);
    assert_int_equal(io->status, BD_OK);
    found = backend_io_attr(io, "bucketdisk-owner", NULL);
    assert_non_null(found);
    assert_string_equal(found, owner);
    backend_io_free(io);
}

TEST(token, a_stores_conditions_are_tried_and_not_taken_on_trust)
{
    /* clang-format off */
    static const struct {
        enum treatment if_absent, if_match;
        bool is_takeover, is_forced;
        unsigned rival_before, rival_after;
        int rc;
        bool has_if_absent, has_if_match;
        unsigned puts, pauses_s;
    } cases[] = {
        /* it is there; it may not be written; it may not be written over another; it may be over itself */
        { HONOURS, HONOURS, false, false, 0, 0, 0, true, true, 4, 0 },
        { HONOURS, IGNORES, false, false, 0, 0, 0, true, false, 3, 0 },
        { HONOURS, REFUSES, false, false, 0, 0, 0, true, false, 3, 0 },
        { HONOURS, NEVER_HOLDS, false, false, 0, 0, 0, true, false, 4, 0 },
        { IGNORES, HONOURS, false, false, 0, 0, 0, false, false, 2, 1 },
        { IGNORES, IGNORES, false, false, 0, 0, 0, false, false, 2, 1 },
        { REFUSES, HONOURS, false, false, 0, 0, 0, false, false, 2, 1 },
        { NEVER_HOLDS, HONOURS, false, false, 0, 0, -EIO, false, false, 3, 3 },
        { NEVER_HOLDS, HONOURS, false, true, 0, 0, 0, false, false, 4, 4 },
        /* somebody else is first, or comes while we try */
        { HONOURS, HONOURS, false, false, 1, 0, -EBUSY, false, false, 1, 0 },
        { HONOURS, HONOURS, false, false, 0, 1, -EBUSY, true, false, 4, 0 },
        { HONOURS, HONOURS, false, false, 0, 4, -EBUSY, true, true, 4, 0 },
        { IGNORES, IGNORES, false, false, 0, 2, -EBUSY, false, false, 2, 1 },
        { REFUSES, REFUSES, false, false, 0, 2, -EBUSY, false, false, 2, 1 },
        /* a dead neighbour's token is replaced */
        { HONOURS, HONOURS, true, false, 0, 0, 0, true, true, 4, 0 },
        { HONOURS, IGNORES, true, false, 0, 0, 0, true, false, 3, 1 },
        { IGNORES, IGNORES, true, false, 0, 0, 0, false, false, 2, 1 },
        { REFUSES, REFUSES, true, false, 0, 0, 0, false, false, 2, 1 },
        { HONOURS, NEVER_HOLDS, true, false, 0, 0, 0, false, false, 4, 4 },
        { HONOURS, HONOURS, true, false, 1, 0, -EBUSY, false, false, 1, 0 },
        { IGNORES, IGNORES, true, false, 0, 2, -EBUSY, false, false, 2, 1 },
    };
    /* clang-format on */

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct token token, dead;
        struct error why = { "" };
        struct test_store store;

        variant_fresh(&store);
        if (cases[i].is_takeover)
            assert_int_equal(take(&store, "1:2", false, &dead), 0);
        variant.if_absent = cases[i].if_absent;
        variant.if_match = cases[i].if_match;
        variant.rival_before = cases[i].rival_before;
        variant.rival_after = cases[i].rival_after;
        variant.puts = pauses_s = 0;
        if (take(&store, "1:2", cases[i].is_forced, &token) != cases[i].rc)
            fail_msg("case %zu", i);
        if (variant.puts != cases[i].puts || pauses_s != cases[i].pauses_s)
            fail_msg("case %zu: %u puts, %u s", i, variant.puts, pauses_s);
        assert_int_equal(token.has_if_absent, cases[i].has_if_absent);
        assert_int_equal(token.has_if_match, cases[i].has_if_match);
        assert_int_equal(token.was_taken_over, cases[i].is_takeover);
        if (cases[i].rc == -EBUSY)
            expect_owner(&store, rival_owner);
        else if (cases[i].rc == 0)
            expect_owner(&store, token.owner);
        else
            assert_false(is_mounted(&store));
        if (cases[i].rc == 0)
            assert_int_equal(token_drop(store.backend, &layout, &token, &why), 0);
        assert_int_equal(is_mounted(&store), cases[i].rc == -EBUSY);
        store_close(&store);
    }
}

TEST(token, a_store_that_cannot_delete_on_a_condition_deletes_the_token_without)
{
    struct error why = { "" };
    struct token token;
    struct test_store store;

    variant_fresh(&store);
    variant.delete_if_match = REFUSES;
    assert_int_equal(take(&store, "1:2", false, &token), 0);
    assert_int_equal(token_drop(store.backend, &layout, &token, &why), 0);
    assert_false(is_mounted(&store));
    store_close(&store);
}

TEST(token, a_token_whose_answer_was_lost_is_found_to_be_ours)
{
    const char *const options[] = { "lost", "1000000", "only", "put", NULL };
    struct error why = { "" };
    struct token token;
    struct test_store store;

    memory_open(&store, options);
    assert_int_equal(take(&store, "1:2", false, &token), 0);
    assert_true(token.has_if_absent && token.has_if_match);
    assert_int_equal(token_drop(store.backend, &layout, &token, &why), 0);
    assert_false(is_mounted(&store));
    store_close(&store);
}

TEST(token, a_start_that_fails_leaves_no_token_that_may_have_been_written)
{
    static const struct {
        enum treatment if_absent;
        bool is_takeover;
        unsigned lost_put, denied_head;
    } cases[] = {
        { HONOURS, false, 1, 0 }, { REFUSES, false, 2, 0 }, { HONOURS, true, 1, 0 },
        { HONOURS, false, 0, 2 }, { IGNORES, false, 0, 2 },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct token token, dead;
        struct test_store store;

        variant_fresh(&store);
        if (cases[i].is_takeover)
            assert_int_equal(take(&store, "1:2", false, &dead), 0);
        variant.puts = variant.heads = 0;
        variant.if_absent = cases[i].if_absent;
        variant.lost_put = cases[i].lost_put;
        variant.denied_head = cases[i].denied_head;
        assert_int_equal(take(&store, "1:2", false, &token), -EACCES);
        if (is_mounted(&store))
            fail_msg("case %zu", i);
        store_close(&store);
    }
}

TEST(token, a_store_that_loses_attributes_is_no_faster_mount)
{
    static const enum treatment treatments[] = { HONOURS, IGNORES, REFUSES };

    for (size_t i = 0; i < ARRAY_LEN(treatments); i++) {
        struct error why = { "" };
        struct token token;
        struct test_store store;

        variant_fresh(&store);
        variant.if_absent = variant.if_match = variant.delete_if_match = treatments[i];
        variant.strips_attrs = true;
        assert_int_equal(token_take(store.backend, &layout, "1:2", false, &token, &why), -EIO);
        assert_non_null(strstr(why.text, "attributes"));
        assert_false(is_mounted(&store));
        store_close(&store);
    }
}

struct taker {
    struct test_store *store;
    const char *lock_id;
    int rc;
};

static void *
take_in_thread(void *arg)
{
    struct taker *taker = arg;
    struct token token;

    taker->rc = take(taker->store, taker->lock_id, false, &token);
    return NULL;
}

TEST(token, of_two_who_take_the_token_at_once_one_gets_it)
{
    const char *const options[] = { "jitter", "10", NULL };

    for (unsigned i = 0; i < 20; i++) {
        struct test_store store;
        struct taker takers[2] = { { &store, "1:2", 1 }, { &store, "3:4", 1 } };
        pthread_t threads[2];

        memory_open(&store, options);
        for (unsigned j = 0; j < 2; j++)
            assert_int_equal(pthread_create(&threads[j], NULL, take_in_thread, &takers[j]), 0);
        for (unsigned j = 0; j < 2; j++)
            pthread_join(threads[j], NULL);
        assert_int_equal((takers[0].rc == 0) + (takers[1].rc == 0), 1);
        assert_int_equal((takers[0].rc == -EBUSY) + (takers[1].rc == -EBUSY), 1);
        store_close(&store);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(token, a_token_is_taken_and_dropped),
        RUN(token, only_a_token_whose_daemon_is_surely_dead_is_taken_over),
        RUN(token, a_token_of_s3backer_is_refused_unless_forced_or_reset),
        RUN(token, a_token_that_is_not_ours_any_more_stays),
        RUN(token, the_token_that_was_taken_is_dropped_whatever_the_layout_has_become),
        RUN(token, the_fence_of_a_volume_of_format_2_is_no_token_to_take_over),
        RUN(token, a_stores_conditions_are_tried_and_not_taken_on_trust),
        RUN(token, a_store_that_cannot_delete_on_a_condition_deletes_the_token_without),
        RUN(token, a_token_whose_answer_was_lost_is_found_to_be_ours),
        RUN(token, a_start_that_fails_leaves_no_token_that_may_have_been_written),
        RUN(token, a_store_that_loses_attributes_is_no_faster_mount),
        RUN(token, of_two_who_take_the_token_at_once_one_gets_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
