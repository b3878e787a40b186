/* SPDX-License-Identifier: Apache-2.0 */
/* A store that treats conditions as a test says, and locks that are there. */
#include "tokens.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

const struct layout token_layout = { .prefix = "v/", .block_bytes = 4096, .block_count = 100 };
const struct token_wish token_willing = { .lock_id = "1:2" };

void (*token_meanwhile)(void);
unsigned pauses_s;
const char *machine_id = "0123456789abcdef0123456789abcdef\n";

FILE *
fopen(const char *path, const char *mode)
{
    FILE *(*real)(const char *, const char *) =
        (FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, "fopen");

    if (strcmp(path, "/etc/machine-id") != 0)
        return real(path, mode);
    if (machine_id == NULL) {
        errno = ENOENT;
        return NULL;
    }
    return fmemopen((void *)(uintptr_t)machine_id, strlen(machine_id), "r");
}

int
sigtimedwait(const sigset_t *signals, siginfo_t *info, const struct timespec *timeout)
{
    (void)signals, (void)info, (void)timeout;
    if (token_meanwhile != NULL)
        token_meanwhile();
    errno = EAGAIN;
    return -1;
}

int
nanosleep(const struct timespec *time, struct timespec *rest)
{
    (void)rest;
    pauses_s += (unsigned)time->tv_sec;
    return 0;
}

int
take(struct test_store *store, const char *lock_id, bool is_forced, struct token *token)
{
    const struct token_wish wish = { .lock_id = lock_id,
                                     .is_forced = is_forced,
                                     .is_passing = true };
    struct error why = { "" };
    int rc = token_take(store->backend, &token_layout, &wish, token, &why);

    assert_int_equal(why.text[0] == '\0', rc == 0);
    return rc;
}

bool
is_mounted(struct test_store *store)
{
    return run(request(store, BD_HEAD_OBJECT, TOKEN), NULL) == BD_OK;
}

void
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

bool
own_words(struct test_store *store, char words[4][128])
{
    struct token token;

    assert_int_equal(take(store, "1:2", true, &token), 0);
    assert_int_equal(
        sscanf(token.owner, "%127s %127s %127s %127s", words[0], words[1], words[2], words[3]), 4);
    return strcmp(words[0], "-") != 0 && strcmp(words[1], "-") != 0;
}

/* ---- locks of others */

void
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

void
put_dead_neighbours(struct test_store *store, char owner[520])
{
    char words[4][128];

    own_words(store, words);
    snprintf(owner, 520, "%s %s %s %s", words[0], words[1], words[2], words[3]);
    put_beating(store, owner, 5);
}

/* ---- stores of which conditions are worth more or less */

const char rival_owner[] = "other-machine other-boot 7:7 rival";
struct variant variant;

struct variant_op {
    struct bd_io *io, *child;
    enum bd_status status;
    unsigned number;
    bool is_lost;
};

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
    out->identity = out->display = "variant";
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

void
variant_fresh(struct test_store *store)
{
    memset(&variant, 0, sizeof variant);
    store_init(store);
    store->layers[0] = (struct backend_layer){ "backend-variant", &variant_table, NULL };
    store_layer(store, 1, "backend-memory", NULL);
    assert_int_equal(store_open(store, 2), 0);
}
