/* SPDX-License-Identifier: Apache-2.0 */
/* bucketdisk reset LOCATION, and --reset-mounted-flag: remove the mount token, on the user's word that nobody writes.
 *
 * That of half a volume in format 1 stays, for it is all that keeps s3backer off; but as this machine's (takeover.c). */
#include "cmd.h"

#include "base/log.h"
#include "base/util.h"
#include "holder.h"
#include "locallock.h"
#include "token.h"
#include "volume_manifest.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reset_settings {
    uint8_t json;
};

static const struct bd_option reset_rows[] = { CMD_JSON_ROW(struct reset_settings, json) };

struct reset {
    struct stack *stack;
    char *volume; /* what people call it */
    struct locallock *local;
    struct lock lock; /* that was there, or the token of s3backer's beside none */
    bool is_kept;     /* it is this machine's now */
    bool has_volume;
};

static int
make_ours(struct reset *reset, const struct layout *layout, const char *unfinished,
          struct error *why)
{
    struct stack *stack = reset->stack;
    char lock_id[64];
    const struct token_wish wish = { .lock_id = lock_id,
                                     .is_forced = true,
                                     .settle_ms = stack->settings.settle_time_ms };
    struct token token;
    int rc;

    locallock_id(reset->local, lock_id, sizeof lock_id);
    rc = token_take(stack->backend, layout, &wish, &token, why);
    reset->is_kept = rc == 0;
    if (rc == 0)
        log_line(BD_WARNING,
                 "what is here is no whole volume, and without its mount token s3backer would take "
                 "it for one: the token stays, and is this machine's now; \"bucketdisk %s\" goes "
                 "on here",
                 unfinished);
    return rc;
}

/* Whose token is it? */
static int
find_token(struct reset *reset, struct layout *layout, struct error *why)
{
    struct stack *stack = reset->stack;
    const struct layout s3backers = { .prefix = layout->prefix };
    struct lock *lock = &reset->lock;
    int rc = holder_find(stack->backend, stack->description.is_there, layout, lock, why);

    if (rc != 0 || lock->is_there || !layout->is_format_2)
        return rc;
    rc = holder_look(stack->backend, &s3backers, lock, why);
    lock->is_there = rc == 0 && lock->is_there && !lock_is_fence(lock);
    return rc;
}

static int
remove_token(struct reset *reset, struct error *why)
{
    struct stack *stack = reset->stack;
    const uint64_t settle_ms = stack->settings.settle_time_ms;
    struct layout layout = { .prefix = stack->settings.prefix };
    const char *unfinished = NULL;
    int rc = volume_lock_format(stack->backend, &layout, &stack->description, why);

    if (rc == 0)
        rc = find_token(reset, &layout, why);
    if (rc == 0)
        rc = cmd_unfinished(stack, &unfinished, why);
    if (rc == 0 && unfinished != NULL && !layout.is_format_2 && reset->lock.is_there
        && !lock_is_fence(&reset->lock))
        return make_ours(reset, &layout, unfinished, why);
    /* The fence of a volume of format 2 that was only begun goes, too. */
    layout.is_format_2 = stack->description.is_there && layout.is_format_2;
    if (rc == 0)
        rc = token_reset(stack->backend, &layout, settle_ms, why);
    if (rc == 0 && layout.is_format_2)
        rc = volume_reset_fence(stack->backend, &layout, settle_ms, why);
    /* Of a volume of format 2 that was only begun there may be the lock. */
    layout.is_format_2 = true;
    if (rc == 0 && !stack->description.is_there)
        rc = token_reset(stack->backend, &layout, settle_ms, why);
    return rc;
}

static int
print_json(const struct reset *reset, struct error *why)
{
    const char *host = reset->lock.is_there ? lock_host(&reset->lock) : NULL;

    return cmd_print_json(json_pack("{s:o, s:b, s:s, s:o}", "volume", cmd_json_text(reset->volume),
                                    "was_there", reset->has_volume, "mount_token",
                                    !reset->lock.is_there ? "none"
                                    : reset->is_kept      ? "kept"
                                                          : "removed",
                                    "host", host != NULL ? cmd_json_text(host) : json_null()),
                          why);
}

/* Of one that is kept, the log has told. */
static int
print_text(const struct reset *reset, struct error *why)
{
    const struct lock *lock = &reset->lock;
    const char *host = lock->is_there ? lock_host(lock) : NULL;

    if (!lock->is_there)
        printf("There is %s mount token in %s; nothing was changed.\n",
               reset->has_volume ? "no" : "no volume and no", reset->volume);
    else if (lock_is_fence(lock))
        printf("What a volume of format 2 that was only begun had left is removed.\n");
    else if (lock_is_shared(lock))
        printf("The mount token of all who shared the volume is removed.\n");
    else if (host != NULL)
        printf("The mount token of %s is removed.\n", host);
    else
        printf("The mount token is removed; it did not say whose it was.\n");
    return cmd_flush(why);
}

/* By then it has happened. */
static int
tell_unprinted(const struct reset *reset, int rc, struct error *why)
{
    const char *text = strdupa(why->text);

    if (!reset->lock.is_there || reset->is_kept)
        return rc;
    return error_set(why, rc, "the mount token of %s is removed, but that cannot be printed: %s",
                     reset->volume, text);
}

static int
reset_it(struct reset *reset, bool is_command, bool is_json, struct error *why)
{
    int rc = remove_token(reset, why);
    struct error ignored;

    if (rc != 0)
        return rc;
    cmd_clean(reset->lock.owner);
    /* Who may not list removes tokens all the same. */
    if ((is_json || !reset->lock.is_there)
        && cmd_has_volume(reset->stack, &reset->has_volume, &ignored) != 0)
        reset->has_volume = true;
    if (is_json)
        rc = print_json(reset, why);
    if (rc == 0 && is_command && !reset->lock.is_there && !reset->has_volume)
        return error_set(why, -ENOENT,
                         "there is no volume and no mount token in %s; is --prefix right?",
                         reset->volume);
    if (!is_json && !reset->stack->settings.quiet && !reset->is_kept)
        rc = print_text(reset, why);
    return rc != 0 ? tell_unprinted(reset, rc, why) : 0;
}

int
cmd_reset_token(struct stack *stack, const char *location, bool is_command, bool is_json,
                struct error *why)
{
    struct reset reset = { .stack = stack };
    int rc;

    if (stack->settings.read_only)
        return error_set(why, -EINVAL,
                         "a mount token is not removed by who only reads; leave "
                         "--readOnly out");
    rc = cmd_take_here(stack, location, &reset.volume, &reset.local, why);
    if (rc == 0)
        rc = reset_it(&reset, is_command, is_json, why);
    locallock_release(reset.local);
    free(reset.volume);
    return rc;
}

static void
help(const struct stack *stack)
{
    (void)stack;
    printf("usage: bucketdisk reset [--json] [options] LOCATION\n"
           "\n"
           "Removes the mount token of a volume, on your word that nobody has it mounted:\n"
           "the same as --reset-mounted-flag.  A volume that is mounted on this machine is\n"
           "refused.  \"bucketdisk info\" says who has it, and \"bucketdisk takeover\" makes\n"
           "sure that it is dead.  Of half a copy, or a volume that is erased in part, in\n"
           "s3backer's format the token becomes this machine's: it keeps s3backer off.\n"
           "\n"
           "--json: print one JSON object.\n"
           "\n"
           "Exit status 0: there is no mount token any more, or it became this machine's.\n"
           "1: it could not be removed; or there is neither a volume nor a mount token; or\n"
           "what was done could not be printed.\n"
           "\n"
           "All other options are those of the mount: --backend and its options, --prefix,\n"
           "--settle-time.\n");
}

static int
run(struct stack *stack, const char *location, void *fields, struct error *why)
{
    const struct reset_settings *own = fields;

    return cmd_reset_token(stack, location, true, own->json, why);
}

int
cmd_reset(int argc, char **argv)
{
    struct reset_settings own = { 0 };
    const struct command command = { .usage = "reset [--json] [options] LOCATION",
                                     .question = "which volume?",
                                     .rows = reset_rows,
                                     .row_count = ARRAY_LEN(reset_rows),
                                     .fields = &own,
                                     .help = help,
                                     .run = run };

    return cmd_on_location(&command, argc, argv);
}
