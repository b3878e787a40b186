/* SPDX-License-Identifier: Apache-2.0 */
/* bucketdisk takeover LOCATION: free a volume whose writer is dead, or cut off, without trusting anybody's word for it.
 *
 * The lock is taken in the place of the dead one's, which is then told apart from being given back by nobody, and
 * removed.  Whoever mounts next has the volume.
 *
 * But s3backer knows nothing of the marks that tell half a volume from a whole one: in format 1 the lock is all that keeps it off
 * such a one.  So there it stays, as that of a dead daemon of this machine, where whoever goes on takes it over. */
#include "cmd.h"

#include "base/log.h"
#include "holder.h"
#include "locallock.h"
#include "stack.h"
#include "takeover.h"
#include "token.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* A place without anything may be the wrong one. */
static int
tell_free(const char *volume, bool has_volume, const char *unfinished, struct error *why)
{
    if (!has_volume)
        return error_set(why, -ENOENT, "there is no volume in %s; is --prefix right?", volume);
    if (unfinished != NULL)
        printf("Nobody has what is here.  It is no whole volume: \"bucketdisk %s\" goes on with "
               "it.\n",
               unfinished);
    else
        printf("Nobody has the volume; there is nothing to take over.\n");
    return cmd_flush(why);
}

/* What is here now: while the lock was watched, what the dead owner had sent may have been carried out.  Who may not list takes
 * a volume over all the same. */
static int
look_again(struct stack *stack, const char **unfinished, bool *has_volume, struct error *why)
{
    struct layout layout = { .prefix = stack->settings.prefix };
    int rc = volume_lock_format(stack->backend, &layout, &stack->description, why);
    struct error ignored;

    if (rc == 0)
        rc = cmd_unfinished(stack, unfinished, why);
    if (rc == 0 && cmd_has_volume(stack, has_volume, &ignored) != 0)
        *has_volume = true;
    return rc;
}

static void
tell_taken(const struct lock *lock, bool is_format_2, bool has_volume, const char *unfinished)
{
    const char *host = lock_host(lock);

    host = host != NULL ? host : "its owner";
    if (unfinished != NULL)
        printf("What is here has been taken from %s.  It is no whole volume: \"bucketdisk %s\" on "
               "this machine goes on with it.\n",
               host, unfinished);
    else if (!has_volume)
        printf("What was begun here has been taken from %s.  It is no volume yet: a mount with "
               "%s--size makes one.\n",
               host, is_format_2 ? "--format=2 and " : "");
    else
        printf("The volume has been taken from %s and can be mounted.\n", host);
}

static int
take_over(struct stack *stack, const struct locallock *local, const char *volume, struct error *why)
{
    struct layout layout = { .prefix = stack->settings.prefix };
    struct takeover_config config = { .backend = stack->backend,
                                      .layout = &layout,
                                      .settle_ms = stack->settings.settle_time_ms,
                                      .is_forced = stack->settings.force };
    struct token_wish wish = { .settle_ms = stack->settings.settle_time_ms };
    struct token token;
    struct lock lock;
    const char *unfinished;
    bool has_volume;
    char lock_id[64];
    int rc;

    locallock_id(local, lock_id, sizeof lock_id);
    config.lock_id = wish.lock_id = lock_id;
    rc = volume_lock_format(stack->backend, &layout, &stack->description, why);
    if (rc == 0)
        rc = holder_find(stack->backend, stack->description.is_there, &layout, &lock, why);
    if (rc == 0)
        rc = takeover_watch(&config, &lock, why);
    if (rc == 0)
        rc = look_again(stack, &unfinished, &has_volume, why);
    if (rc == 0 && !lock.is_there)
        return tell_free(volume, has_volume, unfinished, why);
    if (rc == 0)
        rc = token_take_from(stack->backend, &layout, &wish, &lock, &token, why);
    if (rc == 0 && (unfinished == NULL || layout.is_format_2))
        rc = token_drop(stack->backend, &layout, &token, why);
    if (rc != 0)
        return rc;
    tell_taken(&lock, layout.is_format_2, has_volume, unfinished);
    return cmd_flush(why);
}

static int
run(struct stack *stack, const char *location, void *fields, struct error *why)
{
    struct locallock *local = NULL;
    char *volume = NULL;
    int rc = cmd_take_here(stack, location, &volume, &local, why);

    (void)fields;
    if (rc == 0)
        rc = take_over(stack, local, volume, why);
    locallock_release(local);
    free(volume);
    return rc;
}

static void
help(const struct stack *stack)
{
    (void)stack;
    printf("usage: bucketdisk takeover [--force] [options] LOCATION\n"
           "\n"
           "Frees a volume whose writer died or was cut off, on another machine too, so\n"
           "that it can be mounted here.  Watches the lock of the volume until it has stood\n"
           "still for the lease of its owner and the settle time (90 s if nothing else was\n"
           "said there): from then on nothing that the owner sent can reach the volume, and\n"
           "should it come back, it finds that it may only read.  A volume whose owner\n"
           "lives is refused.\n"
           "\n"
           "With its lock goes the proof that nobody else has written since: what the owner\n"
           "had not stored stays on its machine, and a cache file there is used again only\n"
           "with --force.\n"
           "\n"
           "A lock of s3backer, or in a store without conditional writes, does not beat:\n"
           "only \"bucketdisk reset\" removes it, on your word.\n"
           "\n"
           "--force: also of a writer whose cache file alone may have what it acknowledged\n"
           "(--durability=cache), which is left behind.\n"
           "\n"
           "All options are those of the mount: --backend and its options, --prefix,\n"
           "--settle-time.\n");
}

int
cmd_takeover(int argc, char **argv)
{
    const struct command command = { .usage = "takeover [--force] [options] LOCATION",
                                     .question = "which volume?",
                                     .help = help,
                                     .run = run };

    return cmd_on_location(&command, argc, argv);
}
