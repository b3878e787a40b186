/* SPDX-License-Identifier: Apache-2.0 */
/* What a volume has on local disk and the store does not, before anything is served.
 *
 * What the store's lock vouches for is stored: that of a spill file at once, that of the cache file while the mount works.
 * What it does not vouch for is here because somebody forces it: a block is stored if the store still has the version that it was
 * based on, and dropped and named if not. */
#include "stack.h"

#include "ask.h"
#include "base/human.h"
#include "base/log.h"
#include "consistency.h"
#include "spill.h"
#include "tier.h"
#include "wait.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define IN_FLIGHT_MAX 32u
#define COMPARED_AT_ONCE 64u

/* Blocks on local disk are compared or stored until SIGTERM or SIGINT: then they stay. */
struct settling {
    struct stack *stack;
    struct store *tier; /* NULL: none is at work */
    sigset_t signals;
    struct interruption interruption;
};

static void
give_up(void *arg)
{
    const struct settling *settling = arg;

    objects_pause(settling->stack->objects, true);
    if (settling->tier != NULL)
        tier_stop(settling->tier);
}

static int
interrupted(const char *path, struct error *why)
{
    return error_set(why, -EINTR, "interrupted; %s keeps what it has that is not stored", path);
}

/* Dirty blocks of a file, asked for at once. */
struct batch {
    unsigned count;
    struct cachefile_info info[COMPARED_AT_ONCE];
    struct store_version version[COMPARED_AT_ONCE];
    struct store_req req[COMPARED_AT_ONCE];
};

static unsigned
batch_fill(struct batch *batch, struct cachefile *file, uint32_t *cursor)
{
    struct cachefile_info info;

    batch->count = 0;
    while (batch->count < COMPARED_AT_ONCE && cachefile_next(file, cursor, &info)) {
        struct store_version *version = &batch->version[batch->count];

        if (info.state != CACHEFILE_DIRTY)
            continue;
        version->is = info.base == CACHEFILE_TAG      ? VERSION_TAG
                      : info.base == CACHEFILE_ABSENT ? VERSION_ABSENT
                                                      : VERSION_UNKNOWN;
        strcpy(version->tag, info.tag);
        batch->info[batch->count] = info;
        batch->req[batch->count++] =
            (struct store_req){ .op = STORE_CHECK, .block = info.block, .version = version };
    }
    return batch->count;
}

/* Does the store still have what they were based on?  Sets their is_same. */
static int
batch_check(struct batch *batch, const struct settling *settling, const char *path,
            struct error *why)
{
    int rc = store_submit_all_wait(settling->stack->consistency, batch->req, batch->count,
                                   &settling->interruption);

    if (rc == -EINTR)
        return interrupted(path, why);
    for (unsigned i = 0; rc == 0 && i < batch->count; i++)
        rc = batch->req[i].rc;
    return rc == 0 ? 0
                   : error_set(why, rc,
                               "cannot ask the store whether it still has what the blocks in %s "
                               "were based on: %s; nothing more was dropped",
                               path, strerror(-rc));
}

static int
batch_drop(const struct batch *batch, struct cachefile *file, uint64_t *dropped, struct error *why)
{
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < batch->count; i++) {
        const struct cachefile_info *info = &batch->info[i];

        if (batch->req[i].is_same)
            continue;
        log_each(BD_WARNING, "block %08" PRIx64 " on local disk is dropped: %s", info->block,
                 info->base == CACHEFILE_UNKNOWN ? "it does not say what it was based on"
                                                 : "the store has another version by now");
        rc = cachefile_drop(file, info->block, 0, why);
        (*dropped)++;
    }
    return rc;
}

static void
tell_compared(uint64_t kept, uint64_t dropped)
{
    if (kept > 0 && dropped > 0)
        log_line(BD_WARNING,
                 "--force: %" PRIu64 " %s on local disk will be stored, %" PRIu64 " %s dropped",
                 kept, human_form(kept, "block", "blocks"), dropped,
                 human_form(dropped, "was", "were"));
    else if (kept > 0)
        log_line(BD_WARNING, "--force: %" PRIu64 " %s on local disk will be stored", kept,
                 human_form(kept, "block", "blocks"));
    else if (dropped > 0)
        log_line(BD_WARNING, "--force: %" PRIu64 " %s dropped", dropped,
                 human_form(dropped, "block on local disk was", "blocks on local disk were"));
}

/* By force: what the store has changed meanwhile is dropped. */
static int
compare(const struct settling *settling, struct cachefile *file, const char *path,
        struct error *why)
{
    struct batch *batch = malloc(sizeof *batch);
    uint64_t dropped = 0, compared = 0;
    uint32_t cursor = 0;
    int rc = 0;

    if (batch == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    /* Before, no answer says what stays, and each block would be taken for one that was changed. */
    if (ask_wait_settled_or(consistency_settled_at_ns(settling->stack->consistency),
                            &settling->signals)
        != 0)
        rc = interrupted(path, why);
    while (rc == 0 && batch_fill(batch, file, &cursor) > 0) {
        compared += batch->count;
        rc = batch_check(batch, settling, path, why);
        if (rc == 0)
            rc = batch_drop(batch, file, &dropped, why);
    }
    free(batch);
    if (rc == 0)
        rc = cachefile_sync(file, why);
    if (rc == 0)
        tell_compared(compared - dropped, dropped);
    return rc;
}

/* All that is dirty in a file goes to the store, before anything is served. */
static int
store_all(struct settling *settling, struct cachefile *file, const char *path, struct error *why)
{
    const struct stack *stack = settling->stack;
    const struct tier_config config = { .file = file,
                                        .block_bytes = (uint32_t)stack->layout.block_bytes,
                                        .in_flight_max = IN_FLIGHT_MAX,
                                        .stall_ns = UINT64_MAX };
    struct store_req flush = { .op = STORE_FLUSH };
    struct stats *unseen = NULL;
    int rc = stats_new(&unseen);

    log_line(BD_INFO, "storing what %s has", path);
    if (rc == 0)
        rc = tier_new(&config, stack->consistency, stack->pool, unseen, &settling->tier);
    if (rc == 0) {
        tier_ending(settling->tier);
        rc = store_submit_all_wait(settling->tier, &flush, 1, &settling->interruption);
    }
    tier_free(settling->tier);
    settling->tier = NULL;
    stats_free(unseen);
    if (rc == -EINTR)
        return interrupted(path, why);
    if (rc == 0)
        rc = flush.rc;
    if (rc != 0)
        return error_set(why, rc,
                         "what %s has cannot be stored: %s; it stays there "
                         "(--block-cache-discard-dirty-blocks drops it)",
                         path, strerror(-rc));
    return 0;
}

/* What the cache file has is older than the spill: it was written by the same mount, and this is what the file could not
 * take any more. */
static int
settle_spill(struct settling *settling, struct error *why)
{
    const struct stack *stack = settling->stack;
    const char *path = spill_path(stack->spill);
    struct cachefile *file = spill_file(stack->spill);
    int rc = 0;

    if (!stack->spill_is_vouched) {
        rc = compare(settling, file, path, why);
        if (rc == 0)
            rc = spill_name_zeros(stack->spill, why);
        return rc != 0 || cachefile_dirty(file) == 0 ? rc : store_all(settling, file, path, why);
    }
    if (stack->file != NULL && cachefile_dirty(stack->file) > 0)
        rc = store_all(settling, stack->file, stack->settings.block_cache_file, why);
    if (rc == 0 && stack->file != NULL)
        rc = spill_supersede(stack->spill, stack->file, why);
    if (rc == 0)
        rc = spill_zero(stack->spill, stack->consistency, &settling->interruption, why);
    return rc == 0        ? store_all(settling, file, path, why)
           : rc == -EINTR ? interrupted(path, why)
                          : rc;
}

int
stack_settle(struct stack *stack, struct error *why)
{
    struct settling settling = { .stack = stack };
    struct error exposed;
    int rc = 0;

    if (stack->file != NULL && !stack->settings.read_only
        && cachefile_protect(stack->file, &exposed) != 0)
        log_line(BD_WARNING, "%s", exposed.text);
    sigemptyset(&settling.signals);
    sigaddset(&settling.signals, SIGTERM);
    sigaddset(&settling.signals, SIGINT);
    settling.interruption = (struct interruption){ &settling.signals, give_up, &settling };
    if (stack->file != NULL && !stack->file_is_vouched)
        rc = compare(&settling, stack->file, stack->settings.block_cache_file, why);
    if (rc != 0)
        return rc;
    stack->file_is_vouched = true;
    if (stack->spill == NULL)
        return 0;
    rc = settle_spill(&settling, why);
    if (rc != 0)
        return rc;
    rc = spill_remove(stack->spill, why);
    stack->spill = NULL;
    return rc;
}
