/* SPDX-License-Identifier: Apache-2.0 */
/* core/token.c over backend-memory: who may mount a volume. */
#include "backends.h"

#include "base/util.h"
#include "holder.h"
#include "token.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#define TOKEN "v/s3backer-mounted"

static const struct layout layout = { .prefix = "v/", .block_bytes = 4096, .block_count = 100 };

static const struct token_wish willing = { .lock_id = "1:2" };

/* What happens while somebody's lock is watched. */
static void (*meanwhile)(void);

int
sigtimedwait(const sigset_t *signals, siginfo_t *info, const struct timespec *timeout)
{
    (void)signals, (void)info, (void)timeout;
    if (meanwhile != NULL)
        meanwhile();
    errno = EAGAIN;
    return -1;
}

static int
take(struct test_store *store, const char *lock_id, bool is_forced, struct token *token)
{
    const struct token_wish wish = { .lock_id = lock_id,
                                     .is_forced = is_forced,
                                     .is_passing = true };
    struct error why = { "" };
    int rc = token_take(store->backend, &layout, &wish, token, &why);

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
    assert_int_equal(token_reset(store.backend, &layout, 0, &why), 0);
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
    assert_int_equal(token_take(store.backend, &changing, &willing, &token, &why), 0);
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
        const struct token_wish wish = { .lock_id = "1:2", .is_forced = forced };

        assert_int_equal(token_take(store.backend, &layout, &wish, &token, &why), -EBUSY);
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
    uint64_t first_put_ns;
    const struct bd_host *host;
    const struct bd_lower *lower;
    unsigned deletes, lost_deletes; /* so many get no answer */
    bool loses_them;                /* and are not carried out either */
    bool comes_after_delete;        /* the rival */
    uint64_t deadline_ns;           /* of the last one */
} variant;

struct variant_op {
    struct bd_io *io, *child;
    enum bd_status status;
    unsigned number;
    bool is_lost;
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
    if (op->is_lost || (op->number > 0 && op->number == variant.lost_put))
        op->status = BD_UNKNOWN;
    if ((op->number > 0 && op->number == variant.rival_after)
        || (op->io->op == BD_DELETE && variant.comes_after_delete))
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
    if (io->op == BD_DELETE) {
        op->is_lost = variant.deletes < variant.lost_deletes;
        variant.deletes++;
        variant.deadline_ns = io->deadline_ns;
        if (op->is_lost && variant.loses_them) {
            variant.host->complete(io, BD_UNKNOWN);
            return;
        }
    }
    if (io->op == BD_PUT)
        op->number = ++variant.puts;
    if (op->number == 1)
        variant.first_put_ns = clock_now_ns();
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
        assert_int_equal(token.before.is_there, cases[i].is_takeover);
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
        /* Where a dead neighbour's was, there still is one that this machine alone takes. */
        if (is_mounted(&store) != cases[i].is_takeover)
            fail_msg("case %zu", i);
        variant.lost_put = 0;
        assert_int_equal(take(&store, "1:2", false, &token), 0);
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
        assert_int_equal(token_take(store.backend, &layout, &willing, &token, &why), -EIO);
        assert_non_null(strstr(why.text, "attributes"));
        assert_false(is_mounted(&store));
        store_close(&store);
    }
}

/* ---- locks that beat */

/* A lock of another machine, as its lease has left it. */
static void
put_beating(struct test_store *store, const char *owner, uint64_t beat)
{
    const struct lock lock = { .value = 0x42,
                               .lease = { .beat = beat,
                                          .epoch = 4,
                                          .lease_ms = 60000,
                                          .settle_ms = 30000,
                                          .at_s = 1700000000 } };
    struct lock filled = lock;
    struct backend_io *io = request(store, BD_PUT, TOKEN);
    struct lock_text text;

    snprintf(filled.owner, sizeof filled.owner, "%s", owner);
    assert_int_equal(lock_put(io, &filled, "20260101T000000Z", &text), 0);
    assert_int_equal(run(io, NULL), BD_OK);
    attrs_clear(&text.attrs);
}

TEST(token, who_is_refused_is_told_who_has_it_since_when_it_stands_still_and_the_ways_out)
{
    struct error why = { "" };
    struct token token;
    struct test_store store;

    memory_open(&store, NULL);
    put_beating(&store, rival_owner, 5);
    assert_int_equal(token_take(store.backend, &layout, &willing, &token, &why), -EBUSY);
    assert_non_null(strstr(why.text, "in use on rival, "));
    assert_non_null(strstr(why.text, "2023-11-14 22:13:20 UTC"));
    assert_non_null(strstr(why.text, "takeover` waits until it surely writes no more, about 90 s"));
    assert_non_null(strstr(why.text, "--reset-mounted-flag"));
    expect_owner(&store, rival_owner);
    store_close(&store);
}

/* A copy of this machine, which beat last so many seconds before our boot. */
static struct {
    struct test_store *store;
    struct lock lock;
} copy;

static void
copy_beats(void)
{
    struct backend_io *io = request(copy.store, BD_PUT, TOKEN);
    struct lock_text text;

    copy.lock.lease.beat++;
    assert_int_equal(lock_put(io, &copy.lock, "20260101T000000Z", &text), 0);
    assert_int_equal(run(io, NULL), BD_OK);
    attrs_clear(&text.attrs);
}

static bool
copy_comes(struct test_store *store, int before_boot_s)
{
    uint64_t booted_s = (uint64_t)time(NULL) - clock_now_ns() / NS_PER_S;
    char words[4][128], owner[520];
    bool is_known;

    memory_open(store, NULL);
    copy.store = store;
    copy.lock =
        (struct lock){ .value = 0x42,
                       .lease = { 5, 1, 400, 700, (uint64_t)((int64_t)booted_s - before_boot_s) } };
    is_known = own_words(store, words);
    snprintf(owner, sizeof owner, "%s another-boot %s %s", words[0], words[2], words[3]);
    assert_true(strlen(owner) < sizeof copy.lock.owner);
    strcpy(copy.lock.owner, owner);
    copy_beats();
    return is_known;
}

TEST(token, who_may_be_a_copy_of_this_machine_is_watched)
{
    static const struct {
        int before_boot_s;
        bool beats;
        int rc;
    } cases[] = {
        { -10, false, -EBUSY }, /* since our boot */
        { 10, false, 0 },
        { 10, true, -EBUSY },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t begun = clock_now_ns();
        struct test_store store;
        struct token token;
        bool is_known = copy_comes(&store, cases[i].before_boot_s);

        meanwhile = cases[i].beats ? copy_beats : NULL;
        assert_int_equal(take(&store, "1:2", false, &token), is_known ? cases[i].rc : -EBUSY);
        meanwhile = NULL;
        if (is_known && cases[i].rc == 0) {
            assert_true(clock_now_ns() - begun >= copy.lock.lease.lease_ms * NS_PER_MS / 2);
            /* What it has on its way may be for its whole lease, and carried out later. */
            assert_int_equal(
                token.hold_ms,
                400 + ((backend_info(store.backend)->capabilities & BD_CAP_LOCAL) ? 0 : 700));
        }
        store_close(&store);
    }
}

TEST(token, a_removal_without_an_answer_is_not_repeated_before_it_has_settled)
{
    static const struct {
        unsigned lost;
        bool loses_them;
        int rc;
        unsigned deletes, pauses_s;
    } cases[] = {
        { 0, false, 0, 1, 0 }, { 1, false, 0, 1, 29 }, /* it was carried out */
        { 1, true, 0, 2, 29 }, { 2, true, 0, 3, 58 },  { 9, true, -EIO, 3, 87 },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct token_wish wish = { .lock_id = "1:2", .settle_ms = 30000 };
        struct error why = { "" };
        struct test_store store;
        struct token token;

        variant_fresh(&store);
        assert_int_equal(token_take(store.backend, &layout, &wish, &token, &why), 0);
        variant.lost_deletes = cases[i].lost;
        variant.loses_them = cases[i].loses_them;
        pauses_s = 0;
        if (token_drop(store.backend, &layout, &token, &why) != cases[i].rc)
            fail_msg("case %zu: %s", i, why.text);
        assert_int_equal(why.text[0] == '\0', cases[i].rc == 0);
        if (variant.deletes != cases[i].deletes || pauses_s != cases[i].pauses_s)
            fail_msg("case %zu: %u deletes, %u s", i, variant.deletes, pauses_s);
        assert_int_equal(is_mounted(&store), cases[i].rc != 0);
        store_close(&store);
    }
}

TEST(token, what_comes_after_a_lost_removal_is_not_removed)
{
    const struct token_wish wish = { .lock_id = "1:2", .settle_ms = 30000 };
    struct error why = { "" };
    struct test_store store;
    struct token token;

    variant_fresh(&store);
    assert_int_equal(token_take(store.backend, &layout, &wish, &token, &why), 0);
    variant.lost_deletes = 1; /* carried out; and then somebody comes */
    variant.comes_after_delete = true;
    assert_int_equal(token_drop(store.backend, &layout, &token, &why), 0);
    assert_int_equal(variant.deletes, 1);
    expect_owner(&store, rival_owner);
    store_close(&store);
}

/* The operator's word holds for the lock that he meant, and not for one that has come since. */
TEST(token, a_reset_without_an_answer_removes_once)
{
    static const struct {
        unsigned lost;
        bool loses_them, comes_after;
        int rc;
    } cases[] = { { 1, false, false, 0 }, { 1, true, false, -EIO }, { 1, false, true, -EIO } };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct token_wish wish = { .lock_id = "1:2" };
        struct error why = { "" };
        struct test_store store;
        struct token token;

        variant_fresh(&store);
        assert_int_equal(token_take(store.backend, &layout, &wish, &token, &why), 0);
        variant.lost_deletes = cases[i].lost;
        variant.loses_them = cases[i].loses_them;
        variant.comes_after_delete = cases[i].comes_after;
        if (token_reset(store.backend, &layout, 30000, &why) != cases[i].rc)
            fail_msg("case %zu: %s", i, why.text);
        assert_int_equal(variant.deletes, 1);
        assert_int_equal(is_mounted(&store), cases[i].rc != 0);
        assert_true(cases[i].rc == 0 || strstr(why.text, "try again") != NULL);
        if (cases[i].comes_after)
            expect_owner(&store, rival_owner);
        store_close(&store);
    }
}

TEST(token, it_is_removed_as_long_as_it_is_surely_ours)
{
    struct error why = { "" };
    struct test_store store;
    struct token token;

    variant_fresh(&store);
    assert_int_equal(token_take(store.backend, &layout, &willing, &token, &why), 0);
    token.until_ns = clock_now_ns() - 1;
    assert_int_equal(token_drop(store.backend, &layout, &token, &why), -EIO);
    assert_non_null(strstr(why.text, "stays"));
    assert_int_equal(variant.deletes, 0);
    token.until_ns = clock_now_ns() + 5 * NS_PER_S;
    assert_int_equal(token_drop(store.backend, &layout, &token, &why), 0);
    assert_int_equal(variant.deadline_ns, token.until_ns);
    assert_false(is_mounted(&store));
    store_close(&store);
}

TEST(token, a_lock_is_read_as_it_was_written)
{
    struct error why = { "" };
    struct lock lock;
    struct test_store store;

    memory_open(&store, NULL);
    put_beating(&store, rival_owner, 5);
    assert_int_equal(holder_look(store.backend, &layout, &lock, &why), 0);
    assert_true(lock_is_of(&lock, 0x42, rival_owner));
    assert_string_equal(lock_host(&lock), "rival");
    assert_int_equal(lock.lease.beat, 5);
    assert_int_equal(lock.lease.epoch, 4);
    assert_int_equal(lock.lease.lease_ms, 60000);
    assert_int_equal(lock.lease.settle_ms, 30000);
    assert_int_equal(lock.lease.at_s, 1700000000);
    assert_true(lock.tag[0] != '\0');
    store_close(&store);
}

TEST(token, what_is_no_lease_of_ours_is_none)
{
    static const char *const leases[] = {
        "",
        "garbage",
        "beat=0 epoch=1 lease=60000 settle=30000 at=1",
        "beat=1 epoch=1 lease=0 settle=30000 at=1",
        "beat=1 epoch=1 lease=86400001 settle=30000 at=1",
        "beat=1 epoch=1 lease=60000 settle=86400001 at=1",
        "beat=1 epoch=1 lease=60000 settle=30000 at=9223372036854775807",
        "beat=1 epoch=1 lease=60000 settle=30000",
        "beat=1 epoch=1 lease=60000 settle=30000 at=1 and=more",
        "beat=01 epoch=1 lease=60000 settle=30000 at=1",
        "beat=-1 epoch=1 lease=60000 settle=30000 at=1",
        "beat=99999999999999999999999 epoch=1 lease=60000 settle=30000 at=1",
        " beat=1 epoch=1 lease=60000 settle=30000 at=1",
    };

    for (size_t i = 0; i < ARRAY_LEN(leases); i++) {
        struct error why = { "" };
        struct lock lock;
        struct test_store store;

        memory_open(&store, NULL);
        put_with(
            &store, TOKEN, 4, NULL,
            (const char *const[4]){ "bucketdisk-owner", "a b c d", "bucketdisk-lease", leases[i] });
        assert_int_equal(holder_look(store.backend, &layout, &lock, &why), 0);
        if (lock.lease.beat != 0 || lock.lease.lease_ms != 0)
            fail_msg("\"%s\" is a lease", leases[i]);
        store_close(&store);
    }
}

TEST(token, a_token_that_is_taken_knows_what_its_lease_begins_with)
{
    struct token token;
    struct test_store store;
    struct error why = { "" };
    struct lock lock;
    uint64_t before = clock_now_ns();

    variant_fresh(&store);
    put_beating(&store, rival_owner, 5);
    variant.puts = 0;
    assert_int_equal(take(&store, "1:2", true, &token), 0);
    assert_in_range(token.since_ns, before, variant.first_put_ns);
    assert_int_equal(token.epoch, 5);
    assert_int_equal(holder_look(store.backend, &layout, &lock, &why), 0);
    assert_string_equal(lock.tag, token.tag);
    /* Whether there can be a lease is not known before the store has been tried. */
    assert_int_equal(lock.lease.beat, 0);
    store_close(&store);
}

TEST(token, a_dead_owners_lock_is_replaced_only_on_the_condition_that_it_is_still_that)
{
    static const struct {
        enum treatment if_match;
        unsigned rival_before;
        int rc;
    } cases[] = {
        { HONOURS, 0, 0 },
        { HONOURS, 1, -EBUSY }, /* it beats at the last moment */
        { REFUSES, 0, -EIO },   /* never without a condition */
        { NEVER_HOLDS, 0, -EIO },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        static const char dead_owner[] = "dead-machine boot 1:1 dead";
        struct error why = { "" };
        struct lock dead;
        struct token token;
        struct test_store store;

        variant_fresh(&store);
        put_beating(&store, dead_owner, 5);
        assert_int_equal(holder_look(store.backend, &layout, &dead, &why), 0);
        variant.puts = variant.heads = 0;
        variant.if_match = cases[i].if_match;
        variant.rival_before = cases[i].rival_before;
        if (token_take_from(store.backend, &layout, &willing, &dead, &token, &why) != cases[i].rc)
            fail_msg("case %zu: %s", i, why.text);
        expect_owner(&store, cases[i].rc == 0        ? token.owner
                             : cases[i].rc == -EBUSY ? rival_owner
                                                     : dead_owner);
        store_close(&store);
    }
}

/* A lock of this machine, whose daemon is dead. */
static void
put_dead_neighbours(struct test_store *store, char owner[520])
{
    char words[4][128];

    own_words(store, words);
    snprintf(owner, 520, "%s %s %s %s", words[0], words[1], words[2], words[3]);
    put_beating(store, owner, 5);
}

TEST(token, a_dead_neighbours_lock_is_put_back_as_it_was_and_where_none_was_none_is_left)
{
    static const enum treatment treatments[] = { HONOURS, IGNORES, REFUSES, NEVER_HOLDS };

    for (size_t i = 0; i < ARRAY_LEN(treatments); i++) {
        struct error why = { "" };
        struct token token;
        struct lock before, after;
        struct test_store store;
        char owner[520];

        variant_fresh(&store);
        put_dead_neighbours(&store, owner);
        assert_int_equal(holder_look(store.backend, &layout, &before, &why), 0);
        variant.if_match = treatments[i];
        assert_int_equal(take(&store, "1:2", false, &token), 0);
        assert_true(token.before.is_there);
        assert_int_equal(token_give_back(store.backend, &layout, &token, &why), 0);
        assert_int_equal(holder_look(store.backend, &layout, &after, &why), 0);
        assert_true(lock_is_of(&after, before.value, owner));
        assert_memory_equal(&after.lease, &before.lease, sizeof after.lease);
        if (strcmp(after.tag, before.tag) == 0)
            fail_msg("treatment %zu: two versions of the lock have one tag", i);

        /* The next one finds it all the same, and so does a key command after it. */
        assert_int_equal(take(&store, "1:2", false, &token), 0);
        assert_int_equal(token.before.value, 0x42);
        assert_int_equal(token_drop(store.backend, &layout, &token, &why), 0);
        assert_false(is_mounted(&store));

        assert_int_equal(take(&store, "1:2", false, &token), 0);
        assert_false(token.before.is_there);
        assert_int_equal(token_give_back(store.backend, &layout, &token, &why), 0);
        assert_false(is_mounted(&store));
        store_close(&store);
    }
}

TEST(token, a_dead_neighbours_lock_is_not_put_over_somebody_elses)
{
    enum { GONE, ANOTHERS, AT_THE_LAST_MOMENT, CASES };

    for (unsigned i = 0; i < CASES; i++) {
        struct error why = { "" };
        struct token token;
        struct test_store store;
        char owner[520];

        variant_fresh(&store);
        put_dead_neighbours(&store, owner);
        assert_int_equal(take(&store, "1:2", false, &token), 0);
        if (i == GONE)
            assert_int_equal(token_reset(store.backend, &layout, 0, &why), 0);
        else if (i == ANOTHERS)
            put_beating(&store, rival_owner, 5);
        else
            variant.rival_before = variant.puts + 1;
        assert_int_equal(token_give_back(store.backend, &layout, &token, &why), 0);
        if (i == GONE)
            assert_false(is_mounted(&store));
        else
            expect_owner(&store, rival_owner);
        store_close(&store);
    }
}

TEST(token, a_lock_that_cannot_be_put_back_leaves_ours_which_this_machine_takes)
{
    struct error why = { "" };
    struct token token, next;
    struct test_store store;
    char owner[520];

    variant_fresh(&store);
    put_dead_neighbours(&store, owner);
    assert_int_equal(take(&store, "1:2", false, &token), 0);
    variant.if_match = REFUSES;
    variant.lost_put = 1; /* and all behind it are denied */
    assert_int_equal(token_give_back(store.backend, &layout, &token, &why), -EACCES);
    assert_non_null(strstr(why.text, "could not be put back"));
    variant.lost_put = 0;
    assert_int_equal(take(&store, "1:2", false, &next), 0);
    assert_int_equal(next.before.value, token.value);
    store_close(&store);
}

/* ---- a volume that several have at once */

static int
take_shared(struct test_store *store, const struct layout *volume, bool is_forced,
            struct token *token)
{
    struct error why = { "" };
    int rc = token_take_shared(store->backend, volume, is_forced, token, &why);

    assert_int_equal(why.text[0] == '\0', rc == 0);
    return rc;
}

/* ---- blocks on local disk that go with a lock */

static int
take_as(struct test_store *store, struct token_wish wish, struct token *token, struct error *why)
{
    wish.lock_id = "1:2";
    wish.value = token_value();
    return token_take(store->backend, &layout, &wish, token, why);
}

static struct lock
lock_there(struct test_store *store)
{
    struct error why = { "" };
    struct lock lock;

    assert_int_equal(holder_look(store->backend, &layout, &lock, &why), 0);
    return lock;
}

TEST(token, what_a_dead_neighbour_acknowledged_needs_its_cache_file)
{
    struct error why = { "" };
    struct token dead, token;
    struct test_store store;

    memory_open(&store, NULL);
    assert_int_equal(take_as(&store, (struct token_wish){ .is_local = true }, &dead, &why), 0);
    assert_true(lock_there(&store).is_local);

    /* Who has no file that goes with the lock, or another's. */
    for (uint32_t other = 0; other < 2; other++) {
        const struct token_wish wish = { .vouched = other == 0 ? 0 : dead.value ^ 1 };

        assert_int_equal(take_as(&store, wish, &token, &why), -EBUSY);
        assert_int_equal(lock_there(&store).value, dead.value);
    }
    assert_int_equal(take_as(&store, (struct token_wish){ 0 }, &token, &why), -EBUSY);
    assert_non_null(strstr(why.text, "--block-cache-file"));
    assert_non_null(strstr(why.text, "--force"));

    /* A command that puts the lock back as it was need not have it. */
    assert_int_equal(take(&store, "1:2", false, &token), 0);
    assert_int_equal(token_give_back(store.backend, &layout, &token, &why), 0);
    assert_true(lock_there(&store).is_local);
    assert_int_equal(lock_there(&store).value, dead.value);

    assert_int_equal(take_as(&store, (struct token_wish){ .vouched = dead.value }, &token, &why),
                     0);
    assert_false(lock_there(&store).is_local);
    store_close(&store);
}

TEST(token, what_a_dead_neighbour_acknowledged_is_given_up_by_force_alone)
{
    struct error why = { "" };
    struct token token;
    struct test_store store;

    memory_open(&store, NULL);
    assert_int_equal(take_as(&store, (struct token_wish){ .is_local = true }, &token, &why), 0);
    assert_int_equal(take_as(&store, (struct token_wish){ .is_forced = true }, &token, &why), 0);
    assert_true(token.has_replaced);
    assert_false(lock_there(&store).is_local);
    store_close(&store);
}

TEST(token, what_was_left_here_goes_with_the_lock_of_who_left_it)
{
    struct error why = { "" };
    struct token before, token;
    struct test_store store;
    struct locallock_kept kept = { .path = "/var/lib/bucketdisk/left.spill" };

    memory_open(&store, NULL);
    assert_int_equal(take_as(&store, (struct token_wish){ 0 }, &before, &why), 0);
    kept.token = before.value;
    assert_int_equal(take_as(&store, (struct token_wish){ .kept = &kept }, &token, &why), -EBUSY);
    assert_non_null(strstr(why.text, "stored in /var/lib/bucketdisk/left.spill"));
    assert_int_equal(lock_there(&store).value, before.value);
    /* It is shown; it was forced; somebody has had the volume since. */
    assert_int_equal(take_as(&store, (struct token_wish){ .kept = &kept, .vouched = before.value },
                             &token, &why),
                     0);
    kept.token = token.value;
    assert_int_equal(
        take_as(&store, (struct token_wish){ .kept = &kept, .is_forced = true }, &token, &why), 0);
    assert_int_equal(take_as(&store, (struct token_wish){ .kept = &kept }, &token, &why), 0);
    store_close(&store);
}

TEST(token, files_that_go_with_a_lock_go_with_no_other)
{
    struct error why = { "" };
    struct token before, token;
    struct test_store store;

    memory_open(&store, NULL);
    assert_int_equal(take_as(&store, (struct token_wish){ .vouched = 0x42 }, &token, &why), -EBUSY);
    assert_non_null(strstr(why.text, "has just changed"));
    assert_false(is_mounted(&store));
    assert_int_equal(take_as(&store, (struct token_wish){ 0 }, &before, &why), 0);
    for (unsigned forced = 0; forced < 2; forced++) {
        const struct token_wish wish = { .vouched = before.value ^ 1, .is_forced = forced };

        assert_int_equal(take_as(&store, wish, &token, &why), -EBUSY);
        assert_int_equal(lock_there(&store).value, before.value);
    }
    store_close(&store);
}

TEST(token, a_shared_token_is_s3backers_and_stays)
{
    struct error why = { "" };
    struct token first, second, alone;
    struct lock lock;
    struct test_store store;
    char tag[BD_TAG_BYTES_MAX + 1];

    memory_open(&store, NULL);
    assert_int_equal(take_shared(&store, &layout, false, &first), 0);
    assert_int_equal(holder_look(store.backend, &layout, &lock, &why), 0);
    assert_true(lock_is_shared(&lock));
    assert_string_equal(lock.owner, "");
    assert_int_equal(lock.lease.beat, 0);
    strcpy(tag, lock.tag);
    assert_int_equal(take_shared(&store, &layout, false, &second), 0);
    assert_int_equal(holder_look(store.backend, &layout, &lock, &why), 0);
    assert_string_equal(lock.tag, tag); /* the second one has not touched it */
    assert_int_equal(token_drop(store.backend, &layout, &first, &why), 0);
    assert_int_equal(token_give_back(store.backend, &layout, &second, &why), 0);
    assert_true(is_mounted(&store));
    assert_int_equal(token_take(store.backend, &layout, &willing, &alone, &why), -EBUSY);
    assert_non_null(strstr(why.text, "--sharedDiskMode"));
    assert_non_null(strstr(why.text, "--reset-mounted-flag"));
    assert_int_equal(token_reset(store.backend, &layout, 0, &why), 0);
    assert_int_equal(take(&store, "1:2", false, &alone), 0);
    store_close(&store);
}

TEST(token, s3backers_shared_token_is_joined)
{
    struct token token;
    struct test_store store;

    memory_open(&store, NULL);
    put_with(&store, TOKEN, 4, NULL,
             (const char *const[4]){ "s3backer-mount-token", "7fffffff", NULL, NULL });
    assert_int_equal(take_shared(&store, &layout, false, &token), 0);
    store_close(&store);
}

TEST(token, who_has_the_volume_alone_keeps_those_off_who_would_share_it_also_when_dead_here)
{
    for (unsigned is_neighbour = 0; is_neighbour < 2; is_neighbour++) {
        struct error why = { "" };
        struct token token;
        struct test_store store;
        char owner[520];

        memory_open(&store, NULL);
        if (is_neighbour)
            put_dead_neighbours(&store, owner);
        else
            put_beating(&store, rival_owner, 5);
        assert_int_equal(token_take_shared(store.backend, &layout, false, &token, &why), -EBUSY);
        assert_non_null(strstr(why.text, is_neighbour ? "in use on " : "in use on rival "));
        assert_non_null(strstr(why.text, "without --sharedDiskMode"));
        assert_int_equal(take_shared(&store, &layout, true, &token), 0);
        store_close(&store);
    }
}

/* An owner of this machine does not make a shared token a dead neighbour's: others have it, too. */
TEST(token, a_shared_token_is_nobodys_to_take_over)
{
    struct token token;
    struct test_store store;
    char words[4][128], owner[520];

    memory_open(&store, NULL);
    own_words(&store, words);
    snprintf(owner, sizeof owner, "%s %s %s %s", words[0], words[1], words[2], words[3]);
    put_with(
        &store, TOKEN, 4, NULL,
        (const char *const[4]){ "s3backer-mount-token", "7fffffff", "bucketdisk-owner", owner });
    assert_int_equal(take(&store, "1:2", false, &token), -EBUSY);
    store_close(&store);
}

TEST(token, of_one_who_shares_and_one_who_does_not_at_once_the_first_has_the_volume)
{
    static const struct {
        enum treatment treatment;
        unsigned rival_before, rival_after;
    } cases[] = { { HONOURS, 1, 0 }, { HONOURS, 0, 1 }, { IGNORES, 0, 2 }, { REFUSES, 0, 2 } };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct token token;
        struct test_store store;

        variant_fresh(&store);
        variant.if_absent = variant.if_match = cases[i].treatment;
        variant.rival_before = cases[i].rival_before;
        variant.rival_after = cases[i].rival_after;
        assert_int_equal(take_shared(&store, &layout, false, &token), -EBUSY);
        expect_owner(&store, rival_owner);
        store_close(&store);
    }
}

/* An epoch for each mount needs conditions, and there is no token of one's own to try them on. */
TEST(token, who_joins_a_volume_of_format_2_finds_out_what_the_stores_conditions_are_worth)
{
    static const struct layout format_2 = { .prefix = "v/", .is_format_2 = true };
    static const struct {
        enum treatment if_absent, if_match;
        bool has_if_match;
    } cases[] = {
        { HONOURS, HONOURS, true },  { HONOURS, IGNORES, false }, { HONOURS, REFUSES, false },
        { IGNORES, IGNORES, false }, { REFUSES, REFUSES, false },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct token first, second;
        struct test_store store;
        struct error why = { "" };
        struct lock lock;

        variant_fresh(&store);
        assert_int_equal(take_shared(&store, &format_2, false, &first), 0);
        assert_true(first.has_if_match);
        variant.if_absent = cases[i].if_absent;
        variant.if_match = cases[i].if_match;
        assert_int_equal(take_shared(&store, &format_2, false, &second), 0);
        if (second.has_if_match != cases[i].has_if_match)
            fail_msg("case %zu", i);
        assert_int_equal(holder_look(store.backend, &format_2, &lock, &why), 0);
        assert_true(lock_is_shared(&lock));
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
        RUN(token, who_is_refused_is_told_who_has_it_since_when_it_stands_still_and_the_ways_out),
        RUN(token, who_may_be_a_copy_of_this_machine_is_watched),
        RUN(token, a_removal_without_an_answer_is_not_repeated_before_it_has_settled),
        RUN(token, what_comes_after_a_lost_removal_is_not_removed),
        RUN(token, a_reset_without_an_answer_removes_once),
        RUN(token, it_is_removed_as_long_as_it_is_surely_ours),
        RUN(token, a_lock_is_read_as_it_was_written),
        RUN(token, what_is_no_lease_of_ours_is_none),
        RUN(token, a_token_that_is_taken_knows_what_its_lease_begins_with),
        RUN(token, a_dead_owners_lock_is_replaced_only_on_the_condition_that_it_is_still_that),
        RUN(token, a_dead_neighbours_lock_is_put_back_as_it_was_and_where_none_was_none_is_left),
        RUN(token, a_dead_neighbours_lock_is_not_put_over_somebody_elses),
        RUN(token, a_lock_that_cannot_be_put_back_leaves_ours_which_this_machine_takes),
        RUN(token, what_a_dead_neighbour_acknowledged_needs_its_cache_file),
        RUN(token, what_a_dead_neighbour_acknowledged_is_given_up_by_force_alone),
        RUN(token, what_was_left_here_goes_with_the_lock_of_who_left_it),
        RUN(token, files_that_go_with_a_lock_go_with_no_other),
        RUN(token, a_shared_token_is_s3backers_and_stays),
        RUN(token, s3backers_shared_token_is_joined),
        RUN(token, who_has_the_volume_alone_keeps_those_off_who_would_share_it_also_when_dead_here),
        RUN(token, a_shared_token_is_nobodys_to_take_over),
        RUN(token, of_one_who_shares_and_one_who_does_not_at_once_the_first_has_the_volume),
        RUN(token, who_joins_a_volume_of_format_2_finds_out_what_the_stores_conditions_are_worth),
        RUN(token, of_two_who_take_the_token_at_once_one_gets_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
