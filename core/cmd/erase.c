/* SPDX-License-Identifier: Apache-2.0 */
/* bucketdisk erase LOCATION, and --erase: delete a volume.
 *
 * It is held as a writer holds it, so that nobody mounts it meanwhile.  Whatever ends this half way, what is left is no volume:
 *
 *   token, lease     a mount is refused, or takes over an untouched volume
 *   the mark         (volume_erase.h) from here on every mount is refused, and told why; erase goes on
 *   the blocks       listed and deleted, until none is listed any more
 *   the mark goes    there is no volume any more
 *   the token goes   at last, and not before what had no answer is settled: carried out late, it would meet a new volume
 *
 * After an interruption in format 1 the token stays, for s3backer knows nothing of the mark; in format 2 a fence keeps s3backer
 * off until the end. */
#include "cmd.h"

#include "ask.h"
#include "base/clock.h"
#include "base/human.h"
#include "base/interrupts.h"
#include "base/log.h"
#include "base/util.h"
#include "confirm.h"
#include "holder.h"
#include "locallock.h"
#include "token.h"
#include "volume_erase.h"
#include "volume_samples.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct erase_settings {
    uint8_t json;
};

static const struct bd_option erase_rows[] = { CMD_JSON_ROW(struct erase_settings, json) };

#define PASSES_MAX 5u       /* a store may list for a while what it has deleted */
#define FAILED_BATCHES 10u  /* then the others will fail, too */
#define FOREIGN_MAX 100000u /* counted */

struct erase {
    struct stack *stack;
    char *volume;
    struct locallock *local;
    struct token token;
    bool has_token, is_marked, is_done;
    bool is_there;      /* a volume, or something of one */
    bool is_unfinished; /* what was here is no whole volume: half a copy, or erased in part */
    struct volume_erase control;
    struct walk walk;

    pthread_mutex_t lock;   /* guards the rest */
    uint64_t unknown_at_ns; /* of the deletions that had no answer, the last; 0: none */
    uint64_t deleted_count, deleted_bytes, failed_count;
    unsigned failed_batches;
    struct error reason; /* of the first failure */
};

/* ---- before anything is changed */

/* What has no description may have been begun in format 2, or erased but for its lock.  Gives the lock that counts. */
static int
look_at_locks(struct erase *erase, struct lock *holder, struct error *why)
{
    struct stack *stack = erase->stack;
    const struct layout format_1 = { .prefix = stack->layout.prefix };
    const struct layout format_2 = { .prefix = stack->layout.prefix, .is_format_2 = true };
    struct lock lock;
    bool is_fence;
    int rc = holder_look(stack->backend, &format_1, holder, why);

    if (rc == 0)
        rc = holder_look(stack->backend, &format_2, &lock, why);
    if (rc != 0)
        return rc;
    is_fence = lock_is_fence(holder);
    if (!stack->description.is_there && (is_fence || (lock.is_there && !holder->is_there)))
        stack->layout.is_format_2 = true;
    if (!stack->layout.is_format_2)
        return 0;
    if (holder->is_there && !is_fence && !stack->settings.force)
        return error_set(why, -EBUSY,
                         "the volume has a mount token of s3backer's kind, " TOKEN_OBJECT
                         "; it may be in use. If it is not, clear it with bucketdisk reset");
    *holder = lock;
    return 0;
}

static int
look_at_volume(struct erase *erase, struct lock *holder, struct error *why)
{
    struct stack *stack = erase->stack;
    int rc = stack_layout_begin(stack, why);

    if (rc == 0)
        rc = volume_lock_format(stack->backend, &stack->layout, &stack->description, why);
    if (rc == -EBADMSG && stack->settings.force) {
        log_line(BD_WARNING, "%s; the volume is erased all the same, as --force says", why->text);
        stack->layout.is_format_2 = true;
        rc = 0;
    } else if (rc == 0 && stack->description.is_there) {
        stack->layout.is_hashed = stack->description.manifest.is_hashed;
    }
    return rc == 0 ? look_at_locks(erase, holder, why) : rc;
}

/* Whether there is anything to erase. */
static int
look_for_anything(struct erase *erase, const struct lock *holder, struct error *why)
{
    struct stack *stack = erase->stack;
    struct volume_look look;
    const char *unfinished = NULL;
    int rc = volume_look_any(stack->backend, &stack->layout, &look, why);

    if (rc == 0)
        rc = cmd_unfinished(stack, &unfinished, why);
    erase->is_unfinished = unfinished != NULL;
    erase->is_there = look.is_there || holder->is_there || stack->layout.is_format_2
                      || stack->description.is_there || erase->is_unfinished;
    return rc;
}

static int
ask_to_erase(const struct erase *erase, struct error *why)
{
    char question[600];
    bool is_yes = false;
    int rc;

    if (erase->stack->settings.force)
        return 0;
    snprintf(question, sizeof question,
             "All of the volume %s will be deleted, and nothing brings it back.\n"
             "Go on? [y/N] ",
             erase->volume);
    rc = confirm(question, CONFIRM_BY_PIPE_TOO, &is_yes, why);
    if (rc == -ENOTTY)
        return error_set(why, -EINVAL,
                         "whoever erases a volume is asked first, and there is no terminal to ask "
                         "at; --force erases it without asking");
    return rc == 0 && !is_yes ? error_set(why, -ECANCELED, "not erased; nothing was changed") : rc;
}

/* ---- the volume is ours */

static int
take(struct erase *erase, const struct lock *before, struct error *why)
{
    struct stack *stack = erase->stack;
    bool was_format_2 = stack->layout.is_format_2;
    char lock_id[64];
    struct token_wish wish = { .lock_id = lock_id,
                               .is_passing = true,
                               .settle_ms = stack->settings.settle_time_ms };
    int rc;

    locallock_id(erase->local, lock_id, sizeof lock_id);
    /* A dead owner's lock is put back if nothing is erased. */
    wish.is_forced = stack->settings.force && holder_kin(before, lock_id) != HOLDER_DEAD;
    rc = token_take(stack->backend, &stack->layout, &wish, &erase->token, why);
    if (rc != 0)
        return rc;
    erase->has_token = true;
    rc = stack_lease(stack, &erase->token, why);
    if (rc == 0)
        rc = volume_lock_format(stack->backend, &stack->layout, &stack->description, why);
    if (rc == -EBADMSG && stack->settings.force)
        rc = 0;
    if (rc == 0 && stack->description.is_there && stack->layout.is_format_2 != was_format_2)
        rc = error_set(why, -EBUSY, "the volume has just become one of another format; try again");
    stack->layout.is_format_2 = was_format_2;
    return rc;
}

/* ---- blocks */

static void
batch_begin(struct visit *visit)
{
    uint64_t *numbers = visit->data;

    for (unsigned i = 0; i < visit->count; i++)
        numbers[i] = visit->blocks[i].number;
    visit->req.op = OBJECT_DELETE;
    visit->req.blocks = numbers;
    visit->req.count = visit->count;
}

static int
batch_end(struct visit *visit)
{
    struct erase *erase = visit->visitor->arg;
    const struct object_req *req = &visit->req;
    uint64_t bytes = 0;
    int rc = 0;

    for (unsigned i = 0; i < visit->count; i++)
        bytes += visit->blocks[i].bytes;
    pthread_mutex_lock(&erase->lock);
    if (erase->unknown_at_ns < req->unsettled_ns)
        erase->unknown_at_ns = req->unsettled_ns;
    if (req->rc == 0) {
        erase->deleted_count += visit->count;
        erase->deleted_bytes += bytes;
    } else if (req->rc != -ECANCELED) {
        if (erase->failed_batches++ == 0)
            erase->reason = visit->why;
        erase->failed_count += visit->count;
        if (req->rc == -EROFS || erase->failed_batches == FAILED_BATCHES)
            rc = req->rc;
    }
    pthread_mutex_unlock(&erase->lock);
    if (req->rc == 0)
        progress_add(&erase->walk.progress, visit->count, bytes);
    return rc;
}

static int
delete_listed(struct erase *erase, struct error *why)
{
    struct walk *walk = &erase->walk;
    const unsigned blocks_max = objects_delete_max(walk->objects);
    const struct visitor visitor = { .blocks_max = blocks_max,
                                     .data_bytes = blocks_max * sizeof(uint64_t),
                                     .begin = batch_begin,
                                     .end = batch_end,
                                     .arg = erase };
    int rc;

    progress_begin(&walk->progress, "erasing blocks", walk->count, walk->is_quiet);
    rc = walk_visit(walk, &visitor, 0, walk->count, why);
    progress_end(&walk->progress);
    if (rc == -EINTR || (rc != 0 && erase->failed_count == 0))
        return rc;
    if (erase->failed_count == 0)
        return 0;
    if (rc == -EROFS)
        return error_set(why, rc, "somebody else has taken the volume meanwhile");
    return error_set(why, -EIO, "%" PRIu64 " %s could not be deleted: %s", erase->failed_count,
                     human_form(erase->failed_count, "block", "blocks"), erase->reason.text);
}

/* What was on its way when the volume was taken may come after what was deleted. */
static int
wait_for_others(struct erase *erase, struct error *why)
{
    const struct timespec moment = { 0, 100 * NS_PER_MS };
    uint64_t now = clock_now_ns();

    if (now < token_hold_until_ns(&erase->token))
        log_line(BD_INFO,
                 "waiting %" PRIu64 " s until nothing that others sent can be carried out any more",
                 (uint64_t)((token_hold_until_ns(&erase->token) - now) / NS_PER_S + 1));
    while (clock_now_ns() < token_hold_until_ns(&erase->token)) {
        if (*erase->walk.is_interrupted != 0)
            return error_set(why, -EINTR, "interrupted");
        nanosleep(&moment, NULL);
    }
    return 0;
}

/* Nothing is erased by the wrong name. */
static int
check_names(const struct erase *erase, struct error *why)
{
    const struct stack *stack = erase->stack;
    struct volume_look look;
    int rc;

    if (erase->walk.count > 0 || stack->description.is_there)
        return 0;
    rc = volume_look_any(stack->backend, &stack->layout, &look, why);
    if (rc != 0 || !look.is_there)
        return rc;
    return error_set(why, -EINVAL,
                     "the names of the blocks here %s with a hash; %s --blockHashPrefix",
                     stack->layout.is_hashed ? "do not begin" : "begin",
                     stack->layout.is_hashed ? "leave out" : "give");
}

static int
erase_blocks(struct erase *erase, struct error *why)
{
    struct stack *stack = erase->stack;
    unsigned passes = 0;
    int rc;

    /* No size is known for sure, and each block that any may have had goes. */
    stack->layout.block_count = LAYOUT_BLOCKS_MAX;
    stack->layout.block_bytes = LAYOUT_BLOCK_BYTES_MIN;
    rc = cmd_walk_begin(stack, &erase->walk, why);
    if (rc == 0)
        rc = walk_list(&erase->walk, why);
    if (rc == 0)
        rc = check_names(erase, why);
    if (rc != 0)
        return rc;
    erase->control = (struct volume_erase){ .backend = stack->backend,
                                            .layout = &stack->layout,
                                            .lease = stack->lease,
                                            .is_there = stack->description.is_there };
    memcpy(erase->control.tag, stack->description.tag, sizeof erase->control.tag);
    rc = volume_erase_begin(&erase->control, why);
    erase->is_marked = rc == 0 || erase->control.unknown_at_ns != 0;
    while (rc == 0) {
        bool is_waited = clock_now_ns() >= token_hold_until_ns(&erase->token);

        if (erase->walk.count == 0 && is_waited)
            return 0;
        if (passes++ == PASSES_MAX)
            return error_set(why, -EIO, "the store still lists %zu %s that it has deleted",
                             erase->walk.count, human_form(erase->walk.count, "block", "blocks"));
        if (erase->walk.count > 0)
            rc = delete_listed(erase, why);
        if (rc == 0 && !is_waited)
            rc = wait_for_others(erase, why);
        if (rc == 0)
            rc = walk_list(&erase->walk, why);
    }
    return rc;
}

/* ---- the end */

/* Give the volume back, as far as that is good. */
static int
let_go(struct erase *erase, struct error *why)
{
    struct stack *stack = erase->stack;
    const struct error before = *why;
    struct error left = { "" };
    uint64_t unknown_at_ns = erase->unknown_at_ns;
    /* In format 1 the lock keeps s3backer off what is no whole volume; and while others' writes may come, whoever finds it waits
     * for them, too. */
    bool is_kept =
        (erase->is_marked || erase->is_unfinished) && !erase->is_done
        && (!stack->layout.is_format_2 || token_hold_until_ns(&erase->token) > clock_now_ns());
    int rc;

    if (!erase->has_token)
        return 0;
    if (unknown_at_ns < erase->control.unknown_at_ns)
        unknown_at_ns = erase->control.unknown_at_ns;
    if (unknown_at_ns != 0)
        ask_wait_settled(unknown_at_ns + stack->settings.settle_time_ms * NS_PER_MS);
    erase->token.until_ns = lease_stop(stack->lease);
    if (is_kept || (stack->lease != NULL && lease_is_lost(stack->lease, NULL)))
        return 0;
    rc = erase->is_marked ? token_drop(stack->backend, &stack->layout, &erase->token, &left)
                          : token_give_back(stack->backend, &stack->layout, &erase->token, &left);
    if (rc != 0 && before.text[0] != '\0')
        log_line(BD_WARNING, "%s", left.text);
    else if (rc != 0)
        *why = left;
    return rc;
}

static bool
foreign_entry(void *arg, const char *name, uint64_t object_bytes, const char *tag)
{
    uint64_t *count = arg;

    (void)name, (void)object_bytes, (void)tag;
    return ++*count < FOREIGN_MAX;
}

static void
print_text(const struct erase *erase, uint64_t foreign)
{
    char bytes[HUMAN_BYTES];

    human_bytes(erase->deleted_bytes, bytes);
    /* With --force it is looked for all the same: what lists late may not have listed it at first. */
    if (!erase->is_there && erase->deleted_count == 0)
        printf("There was no volume in %s; nothing was deleted.\n", erase->volume);
    else
        printf("%s is erased: %" PRIu64 " %s, %s.\n", erase->volume, erase->deleted_count,
               human_form(erase->deleted_count, "block", "blocks"), bytes);
    if (foreign > 0)
        printf("%s%" PRIu64 " %s.\n", foreign == FOREIGN_MAX ? "At least " : "", foreign,
               human_form(foreign, "object there is none of the volume's, and is left",
                          "objects there are none of the volume's, and are left"));
}

static int
print_json(const struct erase *erase, bool is_counted, uint64_t foreign, struct error *why)
{
    return cmd_print_json(
        json_pack("{s:o, s:b, s:I, s:I, s:o}", "volume", cmd_json_text(erase->volume), "was_there",
                  erase->is_there || erase->deleted_count > 0, "blocks",
                  (json_int_t)erase->deleted_count, "bytes", (json_int_t)erase->deleted_bytes,
                  "other_objects", is_counted ? json_integer((json_int_t)foreign) : json_null()),
        why);
}

static int
tell_erased(const struct erase *erase, bool is_json, struct error *why)
{
    const struct stack *stack = erase->stack;
    uint64_t foreign = 0;
    /* What is none of the volume's is left, and told of. */
    int rc = ask_list(stack->backend, stack->layout.prefix, foreign_entry, &foreign,
                      "list what is left", why);

    if (rc != 0) {
        log_line(BD_WARNING, "what else there is was not counted: %s", why->text);
        foreign = 0;
    }
    if (!is_json && !stack->settings.quiet)
        print_text(erase, foreign);
    rc = is_json ? print_json(erase, rc == 0, foreign, why) : cmd_flush(why);
    if (rc != 0)
        return error_set(why, rc, "%s is erased, but that cannot be printed: %s", erase->volume,
                         strdupa(why->text));
    return 0;
}

/* Of what is marked, everybody who mounts it is told; here is who did it. */
static int
tell_unfinished(const struct erase *erase, int rc, struct error *why)
{
    /* What goes wrong with a listing is in the log alone. */
    const struct error reason = *why;
    const char *text = reason.text[0] != '\0' || rc == -EINTR
                           ? reason.text
                           : "the blocks cannot be listed; the lines above say why";

    if (rc == -EROFS)
        return error_set(why, rc, "%s; nothing more was erased, after %" PRIu64 " %s", text,
                         erase->deleted_count, human_form(erase->deleted_count, "block", "blocks"));
    if (!erase->is_marked)
        return error_set(why, rc, "%s", text);
    return error_set(why, rc,
                     "%s; the volume is erased in part (%" PRIu64
                     " %s) and of no use any more: the same command goes on",
                     text, erase->deleted_count,
                     human_form(erase->deleted_count, "block", "blocks"));
}

static int
erase_it(struct erase *erase, bool is_json, struct error *why)
{
    struct stack *stack = erase->stack;
    struct lock holder;
    int dropped, rc = look_at_volume(erase, &holder, why);

    if (rc == 0)
        rc = look_for_anything(erase, &holder, why);
    if (rc == 0 && !erase->is_there && !stack->settings.force)
        return error_set(why, -ENOENT, "there is no volume in %s; is --prefix right?",
                         erase->volume);
    if (rc == 0)
        rc = ask_to_erase(erase, why);
    if (rc != 0)
        return rc;
    interrupts_catch();
    rc = take(erase, &holder, why);
    if (rc == 0)
        rc = erase_blocks(erase, why);
    if (rc == 0)
        rc = volume_erase_end(&erase->control, why);
    erase->is_done = rc == 0;
    if (rc == 0)
        why->text[0] = '\0';
    else
        rc = tell_unfinished(erase, rc, why);
    dropped = let_go(erase, why);
    if (rc != 0 || dropped != 0)
        return rc != 0 ? rc : dropped;
    /* What a daemon could not store here is of no use any more. */
    locallock_keep(erase->local, NULL, 0);
    locallock_state(erase->local, LOCK_DONE, NULL, NULL, "");
    return tell_erased(erase, is_json, why);
}

int
cmd_erase_volume(struct stack *stack, const char *location, bool is_json, struct error *why)
{
    struct erase erase = { .stack = stack, .lock = PTHREAD_MUTEX_INITIALIZER };
    int rc;

    if (stack->settings.read_only)
        return error_set(why, -EINVAL, "who only reads erases nothing; leave --readOnly out");
    rc = cmd_take_here(stack, location, &erase.volume, &erase.local, why);
    if (rc == 0)
        rc = erase_it(&erase, is_json, why);
    walk_clear(&erase.walk);
    locallock_release(erase.local);
    free(erase.volume);
    return rc;
}

static void
help(const struct stack *stack)
{
    (void)stack;
    printf("usage: bucketdisk erase [--force] [--json] [options] LOCATION\n"
           "\n"
           "Deletes a volume: all its blocks, and what it says of itself.  Other objects\n"
           "are left, and counted.  Asks first, at a terminal.  A volume that somebody has\n"
           "is refused.\n"
           "\n"
           "--force: do not ask, and do not mind who has it on another machine.  (On this\n"
           "machine: unmount it.)\n"
           "--json: print one JSON object.\n"
           "\n"
           "Interrupted, or killed, it leaves what cannot be mounted; the same command goes\n"
           "on.  Exit status 0: all is erased.  1: something could not be deleted,\n"
           "nothing was, or what was done could not be printed.  130: interrupted.\n"
           "\n"
           "All other options are those of the mount: --backend and its options, --prefix,\n"
           "--blockHashPrefix.  --erase, as s3backer's, is the same.\n");
}

static int
run(struct stack *stack, const char *location, void *fields, struct error *why)
{
    const struct erase_settings *own = fields;

    return cmd_erase_volume(stack, location, own->json, why);
}

int
cmd_erase(int argc, char **argv)
{
    struct erase_settings own = { 0 };
    const struct command command = { .usage = "erase [--force] [--json] [options] LOCATION",
                                     .question = "which volume?",
                                     .rows = erase_rows,
                                     .row_count = ARRAY_LEN(erase_rows),
                                     .fields = &own,
                                     .help = help,
                                     .run = run };

    return cmd_on_location(&command, argc, argv);
}
