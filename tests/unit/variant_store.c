/* SPDX-License-Identifier: Apache-2.0 */
/* A layer over backend-memory that treats requests as a test says. */
#include "variant_store.h"

const char rival_owner[] = "other-machine other-boot 7:7 rival";
struct variant variant;

struct variant_op {
    struct bd_io *io, *child;
    enum bd_status status;
    unsigned number; /* of a put, counted from 1 */
};

static bool
take_one(unsigned *count)
{
    return *count > 0 && (*count)--;
}

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

static bool
is_answer_lost(const struct bd_io *io)
{
    return (io->op == BD_PUT && take_one(&variant.lost_puts))
           || (io->op == BD_DELETE && take_one(&variant.lost_deletes));
}

static void
variant_passed(struct bd_io *child, enum bd_status status, void *arg)
{
    struct variant_op *op = arg;

    variant.host->child_result(child, op->io);
    variant.host->child_free(child);
    if (variant.has_no_tags)
        variant.host->tag_set(op->io, "");
    op->io->more |= variant.always_has_more;
    op->status = status == BD_OK && is_answer_lost(op->io) ? BD_UNKNOWN : status;
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

/* BD_OK: it goes on. */
static enum bd_status
answer_at_once(const struct bd_io *io)
{
    switch (io->op) {
    case BD_PUT:
        if (++variant.puts == 1)
            variant.first_put_ns = clock_now_ns();
        variant.puts_conditioned += io->if_match != NULL || io->if_none_match != NULL;
        if (variant.first_denied_put > 0 && variant.puts >= variant.first_denied_put)
            return BD_DENIED;
        return take_one(&variant.dropped_puts) ? BD_UNKNOWN : BD_OK;
    case BD_DELETE:
        variant.deletes++;
        variant.deadline_ns = io->deadline_ns;
        if (variant.deletes_are_denied)
            return BD_DENIED;
        return take_one(&variant.dropped_deletes) ? BD_UNKNOWN : BD_OK;
    case BD_HEAD_OBJECT:
        if (++variant.heads == variant.denied_head)
            return BD_DENIED;
        return take_one(&variant.blind_heads) ? BD_ABSENT : BD_OK;
    default:
        return BD_OK;
    }
}

static void
variant_submit(void *handle, struct bd_io *io)
{
    enum bd_status status = answer_at_once(io);
    struct variant_op *op = io->scratch;

    (void)handle;
    *op = (struct variant_op){ .io = io, .number = io->op == BD_PUT ? variant.puts : 0 };
    if (status != BD_OK)
        variant.host->complete(io, status);
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
