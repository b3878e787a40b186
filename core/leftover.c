/* SPDX-License-Identifier: Apache-2.0 */
/* What a mount has not stored when it ends.
 *
 * (Who was asked to end by a signal tries for ASKED_MS.)
 *
 *                       can be stored   cannot be now                        cannot be any more (the volume was lost)
 *   with a cache file   stored          after one attempt, or a signal: the cache file keeps it; spilled is what it has not
 *   without             stored          tried again; a signal: spilled       spilled
 *
 * What can neither be stored nor kept stays in memory, and so does the process. */
#include "leftover.h"

#include "base/human.h"
#include "base/log.h"
#include "cache.h"
#include "spill.h"
#include "tier.h"
#include "wait.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define STORE_AGAIN_S 10
#define TELL_AFTER_MS 5000
/* Who asks a daemon to end kills it after 90 s, as a rule; the stopper has taken a part of that. */
#define ASKED_MS 20000

static void
stop_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
}

static bool
is_lost(const struct stack *stack)
{
    return stack->lease != NULL && lease_is_lost(stack->lease, NULL);
}

/* ---- where it is kept */

static int
keep_in_spill(const struct leftover_of *of, struct cachefile *beside, struct error *why)
{
    struct stack *stack = of->stack;
    struct spill_config config;

    disk_flush_join();
    if (!stack->has_cache) /* then nothing was taken that is not stored */
        return 0;
    stack_spill_config(stack, &config);
    config.beside = beside;
    return spill_write(&config, stack->blocks, of->token, why);
}

/* Then a spill file has the rest: ranges that were zeroed, and what came when the cache file was full.  Once that is
 * written, nobody goes back.  A cache file that cannot be synced keeps nothing; if nothing is in it that is not stored, the
 * spill file has everything, but what the disk has of it may say otherwise. */
static int
keep_in_file(const struct leftover_of *of, struct error *why)
{
    const struct stack *stack = of->stack;
    struct error ignored;
    int rc;

    tier_stop(stack->tier);
    rc = cachefile_sync(stack->file, why);
    if (rc == 0)
        return keep_in_spill(of, stack->file, why);
    if (tier_unsent(stack->tier) > 0 || cachefile_remove(stack->file, &ignored) != 0)
        return rc;
    return keep_in_spill(of, NULL, why);
}

static int
keep(const struct leftover_of *of, struct error *why)
{
    struct stack *stack = of->stack;
    int rc;

    objects_pause(stack->objects, true);
    rc = stack->tier != NULL ? keep_in_file(of, why) : keep_in_spill(of, NULL, why);
    if (rc == 0)
        return 0;
    objects_pause(stack->objects, false);
    if (stack->tier != NULL)
        tier_ending(stack->tier);
    log_line(BD_ERROR, "what is not stored cannot be kept on local disk either: %s", why->text);
    return rc;
}

/* The spill file, if one was written; malloc'ed, or NULL. */
static char *
spilled(const struct stack *stack)
{
    struct spill_config config;
    char *path;

    stack_spill_config(stack, &config);
    path = spill_place(&config);
    if (path != NULL && access(path, F_OK) == 0)
        return path;
    free(path);
    return NULL;
}

static void
tell_kept(const struct leftover_of *of, struct error *why)
{
    const struct stack *stack = of->stack;
    const char *file = stack->settings.block_cache_file;
    uint64_t unsent = stack->tier != NULL ? tier_unsent(stack->tier) : 0;
    char *spill = spilled(stack);
    struct error where;

    if (unsent > 0)
        error_set(&where, 0, "%" PRIu64 " %s kept in %s%s%s", unsent,
                  human_form(unsent, "block is", "blocks are"), file,
                  spill != NULL ? ", and others in " : "", spill != NULL ? spill : "");
    else
        error_set(&where, 0, "the rest is kept %s%s", spill != NULL ? "in " : "on local disk",
                  spill != NULL ? spill : "");
    error_set(why, 0, "not everything that was written to %s is stored; %s, and %s", of->mountpoint,
              where.text,
              is_lost(stack) ? "the next mount says what can be done with that, for somebody else "
                               "has the volume"
              : unsent == 1 && spill == NULL ? "the next mount with this cache file stores it"
              : unsent > 0                   ? "the next mount with this cache file stores them"
                                             : "the next mount on this machine stores it");
    /* Who mounts here next without it is told. */
    if (!is_lost(stack))
        locallock_keep(of->lock, unsent > 0 ? file : spill, of->token);
    free(spill);
}

/* ---- */

/* `left`: what is so. */
static void
tell_how_to_end(const struct leftover_of *of, const char *left)
{
    struct error what;

    error_set(&what, 0,
              "%s; trying until it is (SIGTERM makes process %d keep the rest on local disk and "
              "end%s)",
              left, (int)getpid(), of->stack->tier == NULL ? "; killing it loses the rest" : "");
    log_line(BD_ERROR, "%s", what.text);
    locallock_state(of->lock, LOCK_FINISHING, NULL, NULL, what.text);
}

/* As disk_flush_wait_or; whoever waits for the end is told if that takes long. */
static int
flush(const struct leftover_of *of, const sigset_t *stop)
{
    const struct disk *disk = &of->stack->disk;
    int rc = disk_flush_wait_or(disk, stop, TELL_AFTER_MS);

    if (rc != -ETIMEDOUT)
        return rc;
    tell_how_to_end(of, "not everything is stored yet");
    return disk_flush_wait_or(disk, stop, of->is_asked ? ASKED_MS : -1);
}

/* What was written after the volume was lost can never be stored; but it goes only when somebody has been told of it and
 * says so. */
static void
await_giving_up(const struct leftover_of *of)
{
    struct error what;
    sigset_t stop;
    int number;

    stop_signals(&stop);
    /* Who sent those has not read this. */
    while (sigtimedwait(&stop, NULL, &(struct timespec){ 0 }) > 0)
        ;
    error_set(&what, 0,
              "not everything that was written to %s is stored, and it cannot be any more, for "
              "somebody else has the volume; no fsync has promised it; process %d keeps it until "
              "SIGTERM tells it to give that up",
              of->mountpoint, (int)getpid());
    log_line(BD_ERROR, "%s", what.text);
    locallock_state(of->lock, LOCK_FINISHING, NULL, NULL, what.text);
    while (sigwait(&stop, &number) != 0)
        ;
    log_line(BD_ERROR, "given up: what was not stored is lost");
}

static enum leftover
store_or_keep(const struct leftover_of *of, struct error *why)
{
    const struct stack *stack = of->stack;
    const struct timespec pause = { .tv_sec = STORE_AGAIN_S };
    struct error left;
    bool is_asked = false;
    sigset_t stop;

    stop_signals(&stop);
    if (stack->tier != NULL)
        tier_ending(stack->tier);
    for (;;) {
        int rc = is_asked ? -EINTR : flush(of, &stop);
        bool is_stop = rc == -EINTR || rc == -ECANCELED || rc == -ETIMEDOUT;

        if (rc == 0) {
            why->text[0] = '\0'; /* what could not be kept before is stored now */
            return LEFTOVER_NONE;
        }
        /* -ECANCELED: so many signals came that nobody waits for the store any more. */
        if (is_stop || stack->tier != NULL || is_lost(stack)) {
            if (keep(of, why) == 0) {
                if (stack->tier == NULL && !stack->has_cache)
                    return LEFTOVER_NONE;
                tell_kept(of, why);
                return LEFTOVER_KEPT;
            }
            if (is_lost(stack)) {
                await_giving_up(of);
                return LEFTOVER_GIVEN_UP;
            }
        }
        error_set(&left, 0, "not everything could be stored%s%s", is_stop ? "" : ": ",
                  is_stop ? "" : strerror(-rc));
        tell_how_to_end(of, left.text);
        is_asked = sigtimedwait(&stop, NULL, &pause) > 0;
    }
}

enum leftover
leftover_end(const struct leftover_of *of, struct error *why)
{
    enum leftover left = store_or_keep(of, why);

    disk_flush_join(); /* those that nobody waited for any more */
    return left;
}
