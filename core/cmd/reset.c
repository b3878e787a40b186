/* SPDX-License-Identifier: Apache-2.0 */
/* bucketdisk reset LOCATION, and --reset-mounted-flag: remove the mount token, on the user's word that nobody writes.
 *
 * That of half a volume in format 1 stays, for it is all that keeps s3backer off; but as this machine's (takeover.c). */
#include "cmd.h"

#include "base/log.h"
#include "holder.h"
#include "locallock.h"
#include "token.h"
#include "volume_manifest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int
make_ours(struct stack *stack, const struct layout *layout, const struct locallock *local,
          const char *unfinished, struct error *why)
{
    char lock_id[64];
    const struct token_wish wish = { .lock_id = lock_id,
                                     .is_forced = true,
                                     .settle_ms = stack->settings.settle_time_ms };
    struct token token;
    int rc;

    locallock_id(local, lock_id, sizeof lock_id);
    rc = token_take(stack->backend, layout, &wish, &token, why);
    if (rc == 0)
        log_line(BD_WARNING,
                 "what is here is no whole volume, and without its mount token s3backer would take "
                 "it for one: the token stays, and is this machine's now; \"bucketdisk %s\" goes "
                 "on here",
                 unfinished);
    return rc;
}

static int
reset(struct stack *stack, const struct locallock *local, struct error *why)
{
    const uint64_t settle_ms = stack->settings.settle_time_ms;
    struct layout layout = { .prefix = stack->settings.prefix };
    const char *unfinished = NULL;
    struct lock lock = { .is_there = false };
    int rc = volume_lock_format(stack->backend, &layout, &stack->description, why);

    if (rc == 0)
        rc = holder_find(stack->backend, stack->description.is_there, &layout, &lock, why);
    if (rc == 0)
        rc = cmd_unfinished(stack, &unfinished, why);
    if (rc == 0 && unfinished != NULL && !layout.is_format_2 && lock.is_there
        && !lock_is_fence(&lock))
        return make_ours(stack, &layout, local, unfinished, why);
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

int
cmd_reset_token(struct stack *stack, const char *location, struct error *why)
{
    struct locallock *local = NULL;
    int rc;

    if (stack->settings.read_only)
        return error_set(why, -EINVAL,
                         "a mount token is not removed by who only reads; leave "
                         "--readOnly out");
    rc = cmd_take_here(stack, location, NULL, &local, why);
    if (rc == 0)
        rc = reset(stack, local, why);
    locallock_release(local);
    return rc;
}

static void
help(const struct stack *stack)
{
    (void)stack;
    printf("usage: bucketdisk reset [options] LOCATION\n"
           "\n"
           "Removes the mount token of a volume, on your word that nobody has it mounted:\n"
           "the same as --reset-mounted-flag.  A volume that is mounted on this machine is\n"
           "refused.  \"bucketdisk info\" says who has it, and \"bucketdisk takeover\" makes\n"
           "sure that it is dead.  Of half a copy, or a volume that is erased in part, in\n"
           "s3backer's format the token becomes this machine's: it keeps s3backer off.\n"
           "\n"
           "All other options are those of the mount: --backend and its options, --prefix,\n"
           "--settle-time.\n");
}

static int
run(struct stack *stack, const char *location, void *fields, struct error *why)
{
    (void)fields;
    return cmd_reset_token(stack, location, why);
}

int
cmd_reset(int argc, char **argv)
{
    const struct command command = {
        .usage = "reset [options] LOCATION", .question = "which volume?", .help = help, .run = run
    };

    return cmd_on_location(&command, argc, argv);
}
