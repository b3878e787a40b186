/* SPDX-License-Identifier: Apache-2.0 */
/* bucketdisk LOCATION MOUNTPOINT: from options to a served file, and orderly back. */
#include "mount.h"

#include "ask.h"
#include "base/clock.h"
#include "base/human.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/program.h"
#include "base/util.h"
#include "cmd.h"
#include "daemonize.h"
#include "fuse.h"
#include "leftover.h"
#include "locallock.h"
#include "mirror.h"
#include "mount_check.h"
#include "mount_warn.h"
#include "mountinfo.h"
#include "stack.h"
#include "stopper.h"
#include "tier.h"
#include "token.h"
#include "wait.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define S3BACKER_VERSION "2.1.6" /* whose options there are */
#define CLAIM_TRIES 10
#define PLUGIN_NAME_COLUMNS 8
#define SHARED_BLOCK_BYTES 4096 /* what filesystems have at least */

/* A mount and all that it holds, from start to end. */
struct mount {
    struct stack stack;
    char *location;
    char *mountpoint;        /* absolute */
    char *identity;          /* what tells it from all others */
    char *volume;            /* what people call it */
    const char *unprotected; /* what we were refused to be protected by; NULL: nothing */
    struct mountinfo info;
    struct locallock *lock;
    struct token token;
    bool has_token;
    bool is_hurried; /* a signal has ended the start */
    struct frontend *frontend;
    struct stopper *stopper;
    bool ends_unused;
    int (*when_named)(const char *identity, void *arg, struct error *why); /* NULL: nothing */
    void *when_named_arg;
    struct mirror *mirror;
    int ready_fd; /* to the waiting parent; -1 in the foreground */

    pthread_mutex_t lock_survey; /* guards the next two */
    pthread_cond_t survey_ended;
    bool is_surveying;
};

static void
file_is_ready(void *arg)
{
    struct mount *mount = arg;
    const uint64_t block_count = mount->stack.layout.block_count;

    if (mount->ready_fd != -1)
        daemon_leave_terminal(mount->ready_fd);
    mount->ready_fd = -1;
    log_line(BD_INFO, "%s is %s/%s: %" PRIu64 " %s of %u bytes", mount->volume, mount->mountpoint,
             mount->stack.settings.filename, block_count,
             human_form(block_count, "block", "blocks"), mount->stack.layout.block_bytes);
    if (mount->unprotected != NULL)
        log_line(BD_INFO,
                 "not allowed to set %s: when memory is short, the disk may suffer with it",
                 mount->unprotected);
}

/* Root always may; others where fuse.conf says so.  Who lets root alone in wants nobody else. */
static bool
may_allow_other(const struct stack *stack)
{
    char line[256], word[64];
    bool may = geteuid() == 0;
    FILE *file;

    if (strstr(options_mount_flags(stack->options), "allow_root") != NULL)
        return false;
    file = fopen("/etc/fuse.conf", "re");
    if (file == NULL)
        return may;
    while (!may && fgets(line, sizeof line, file) != NULL)
        may = sscanf(line, " %63s", word) == 1 && strcmp(word, "user_allow_other") == 0;
    fclose(file);
    return may;
}

/* ---- start */

/* -EINTR: a signal came that would end the mount. */
static int
wait_until(uint64_t ns)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    return ask_wait_settled_or(ns, &signals);
}

/* What the owner before has sent may still be carried out: what is read then may be old when it is written. */
static int
wait_for_owner_before(const struct mount *mount, struct error *why)
{
    int rc = wait_until(token_hold_until_ns(&mount->token));

    return rc != 0 ? error_set(why, rc, "interrupted") : 0;
}

/* Block 0 carries the sizes, and everything that is ever tried on a volume is tried on it: so it is there,
 * and says what was settled. */
static int
write_block_0(struct mount *mount, struct error *why)
{
    struct stack *stack = &mount->stack;
    struct store_req req = { .op = STORE_READ, .bytes = stack->layout.block_bytes };
    int rc;

    if (stack->block_0 == BLOCK_0_RIGHT || stack->settings.read_only)
        return 0;
    rc = wait_for_owner_before(mount, why);
    if (rc != 0)
        return rc;
    req.data = malloc(req.bytes);
    if (req.data == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    rc = store_submit_wait(stack->consistency, &req);
    req.op = STORE_WRITE;
    if (rc == 0)
        rc = store_submit_wait(stack->consistency, &req);
    free(req.data);
    if (rc != 0)
        return error_set(why, rc, "cannot write the sizes of the volume to its first block");
    return 0;
}

static bool
has_lost_volume(void *arg)
{
    const struct mount *mount = arg;

    return mount->stack.lease != NULL && lease_is_lost(mount->stack.lease, NULL);
}

static uint64_t
data_bytes(void *arg)
{
    struct mount *mount = arg;

    return consistency_data_blocks(mount->stack.consistency) * mount->stack.layout.block_bytes;
}

/* Until leftover_end. */
static void
fail_what_waits(void *arg)
{
    objects_pause(((struct mount *)arg)->stack.objects, true);
}

static void
file_is_used(void *arg, bool is_used)
{
    stopper_set_unused(((struct mount *)arg)->stopper, !is_used);
}

static int
start_stopper(struct mount *mount)
{
    const struct stopper_config config = {
        .mountpoint = mount->mountpoint,
        .device = mount->info.device,
        .disk = &mount->stack.disk,
        .frontend = mount->frontend,
        .timeout_ms = mount->stack.settings.stop_timeout_ms,
        .hurry = fail_what_waits,
        .hurry_arg = mount,
    };

    return stopper_start(&config, &mount->stopper);
}

static int
start_frontend(struct mount *mount, struct error *why)
{
    struct stack *stack = &mount->stack;
    const struct settings *settings = &stack->settings;
    const struct frontend_config config = {
        .mountpoint = mount->mountpoint,
        .source = settings->fsname != NULL ? settings->fsname : mount->volume,
        .subtype = settings->subtype != NULL ? settings->subtype : program_name(),
        .mount_flags = options_mount_flags(stack->options),
        .file_name = settings->filename,
        .stats_name = settings->stats_filename,
        .file_mode = options_given(stack->options, "file-mode") ? (mode_t)settings->file_mode
                     : settings->read_only                      ? 0400
                                                                : 0600,
        .uid = options_given(stack->options, "uid") ? settings->uid : geteuid(),
        .gid = options_given(stack->options, "gid") ? settings->gid : getegid(),
        .is_read_only = settings->read_only,
        .has_become_read_only = has_lost_volume,
        .has_become_read_only_arg = mount,
        .is_direct_io = settings->direct_io || settings->shared_disk_mode,
        .allow_other = options_given(stack->options, "allow-other") ? settings->allow_other
                                                                    : may_allow_other(stack),
        .threads = settings->single_thread ? 1 : settings->fuse_threads,
        .readahead_max =
            options_given(stack->options, "max-readahead") && settings->max_readahead < UINT32_MAX
                ? (uint32_t)settings->max_readahead
                : UINT32_MAX,
        .background_max = settings->max_background,
        .data_bytes = data_bytes,
        .data_bytes_arg = mount,
        .used = mount->ends_unused ? file_is_used : NULL,
        .used_arg = mount,
        .ready = file_is_ready,
        .ready_arg = mount,
    };
    int rc = frontend_new(&config, &stack->disk, stack->stats, why, &mount->frontend);

    /* It is this thread's; and another thread tells the parent to go, when the file is ready. */
    daemon_outlive_parent();
    if (rc == 0)
        rc = frontend_mount(mount->frontend, why);
    if (rc == 0 && !mountinfo_at(mount->mountpoint, &mount->info))
        rc = error_set(why, -EIO, "%s was unmounted at once", mount->mountpoint);
    if (rc == 0)
        rc = start_stopper(mount);
    return rc;
}

/* What another daemon has left here, unless that is given up. */
static const struct locallock_kept *
kept_here(const struct mount *mount)
{
    const struct locallock_kept *kept = locallock_kept(mount->lock);

    if (mount->stack.settings.block_cache_discard_dirty_blocks || access(kept->path, F_OK) != 0)
        return NULL;
    return kept;
}

/* From here on nobody else writes, or the store does not tell. */
static int
take_alone(struct mount *mount, struct error *why)
{
    struct stack *stack = &mount->stack;
    const struct settings *settings = &stack->settings;
    char lock_id[64];
    struct token_wish wish = { .lock_id = lock_id,
                               .is_forced = settings->force,
                               .value = token_value(),
                               .is_local = settings->durability == DURABILITY_CACHE
                                           || stack_file_is_unsaved(stack),
                               .kept = kept_here(mount),
                               .vouched = stack->vouched,
                               .settle_ms = settings->settle_time_ms };
    int rc;

    locallock_id(mount->lock, lock_id, sizeof lock_id);
    rc = stack_file_note(stack, stack->vouched, wish.value, why);
    if (rc == 0)
        rc = token_take(stack->backend, &stack->layout, &wish, &mount->token, why);
    if (rc != 0)
        return rc;
    mount->has_token = true;
    /* Over a description that we put, too. */
    if (stack->layout.is_format_2 && !mount->token.has_if_match)
        rc = wait_for_owner_before(mount, why);
    if (rc == 0)
        rc = stack_lease(stack, &mount->token, why);
    if (rc == 0)
        rc = stack_detect(stack, why);
    if (rc == 0)
        rc = stack_claim(stack, &mount->token, why);
    if (rc == 0)
        rc = stack_file_open(stack, mount->identity, mount->volume, why);
    return rc;
}

/* A volume is made, and its first block mended, by one who has it alone: of several who did that at once, one could write over
 * the others' data. */
static int
check_made(const struct stack *stack, struct error *why)
{
    if (!stack->is_new && stack->block_0 == BLOCK_0_RIGHT)
        return 0;
    return error_set(why, -EINVAL,
                     "a volume can be shared when it is there, with its sizes in its first block: "
                     "mount and unmount it once without --sharedDiskMode");
}

/* From here on nobody writes who does not share. */
static int
take_shared(struct mount *mount, struct error *why)
{
    struct stack *stack = &mount->stack;
    int rc = check_made(stack, why);

    if (rc == 0)
        rc = token_take_shared(stack->backend, &stack->layout, stack->settings.force,
                               stack->settings.settle_time_ms, &mount->token, why);
    if (rc != 0)
        return rc;
    mount->has_token = true;
    if (stack->layout.is_format_2 && !mount->token.has_if_match)
        return error_set(why, -EINVAL,
                         "a volume of format 2 can be shared only in a store that honours "
                         "conditions of writes: each mount gets an epoch of its own");
    for (unsigned i = 0; i < CLAIM_TRIES; i++) {
        rc = stack_detect(stack, why);
        if (rc == 0)
            rc = check_made(stack, why);
        if (rc == 0)
            rc = stack_claim(stack, &mount->token, why);
        /* Another one began an epoch at the same time. */
        if (rc != -EBUSY)
            break;
    }
    if (rc == 0 && stack->layout.block_bytes > SHARED_BLOCK_BYTES)
        log_line(BD_WARNING,
                 "of what two machines write into one block of %u bytes at the same time one part "
                 "is lost: no block of the filesystem may be smaller than that",
                 stack->layout.block_bytes);
    if (rc == 0)
        why->text[0] = '\0';
    return rc;
}

static int
start(struct mount *mount, struct error *why)
{
    struct stack *stack = &mount->stack;
    const struct settings *settings = &stack->settings;
    int rc;

    rc = stack_open(stack, mount->location, why);
    if (rc == 0)
        rc = mount_check_store_place(stack, why);
    if (rc != 0)
        return rc;
    rc = stack_names(stack, &mount->identity, &mount->volume, why);
    if (rc == 0 && !settings->read_only)
        rc = locallock_take(mount->identity, mount->volume, why, &mount->lock);
    if (rc == 0 && mount->when_named != NULL)
        rc = mount->when_named(mount->identity, mount->when_named_arg, why);
    if (rc != 0)
        return rc;
    /* Whoever cannot be mounted leaves no trace.  Then again, under the token: only now does nobody else change
     * what is found. */
    rc = stack_detect(stack, why);
    if (rc == 0)
        rc = stack_file_open(stack, mount->identity, mount->volume, why);
    if (rc != 0)
        return rc;
    stopper_block_signals();
    if (!settings->read_only)
        rc = settings->shared_disk_mode ? take_shared(mount, why) : take_alone(mount, why);
    if (rc == 0)
        rc = stack_build_store(stack, token_hold_until_ns(&mount->token), why);
    if (rc == 0)
        rc = stack_settle(stack, why);
    /* Now what nobody vouched for has been compared, and what was spilled is stored. */
    if (rc == 0 && mount->has_token)
        rc = stack_file_note(stack, 0, mount->token.value, why);
    if (rc == 0 && stack->lease != NULL)
        lease_set_local(stack->lease, settings->durability == DURABILITY_CACHE);
    if (rc == 0)
        rc = write_block_0(mount, why);
    if (rc == 0)
        rc = stack_build_cache(stack, why);
    if (rc != 0)
        return rc;
    mount_warn(stack);
    rc = start_frontend(mount, why);
    if (rc == 0 && settings->stats_file_mirror != NULL)
        rc = mirror_start(settings->stats_file_mirror, settings->stats_file_mirror_interval_ms,
                          stack->stats, why, &mount->mirror);
    return rc;
}

static void
survey_ended(void *arg, int rc)
{
    struct mount *mount = arg;

    if (rc != 0 && rc != -ECANCELED)
        log_line(BD_WARNING,
                 "the blocks could not all be listed; the space in use is shown too small");
    pthread_mutex_lock(&mount->lock_survey);
    mount->is_surveying = false;
    pthread_cond_signal(&mount->survey_ended);
    pthread_mutex_unlock(&mount->lock_survey);
}

static void
start_survey(struct mount *mount)
{
    struct stack *stack = &mount->stack;

    /* A new volume is one short page. */
    if (!stack->settings.list_blocks && stack->block_0 != BLOCK_0_ABSENT
        && !(objects_capabilities(stack->objects) & BD_CAP_LOCAL))
        return;
    mount->is_surveying = true;
    consistency_survey(stack->consistency, survey_ended, mount);
}

/* ---- end */

/* The last attempt of unknown outcome, ours or of the owner before, must be settled before somebody else may write here. */
static uint64_t
settled_at_ns(const struct mount *mount)
{
    const struct stack *stack = &mount->stack;
    uint64_t blocks_ns =
        stack->consistency != NULL ? consistency_settled_at_ns(stack->consistency) : 0;
    uint64_t rest_ns = stack_settled_at_ns(stack), before_ns = token_hold_until_ns(&mount->token);

    rest_ns = rest_ns > before_ns ? rest_ns : before_ns;
    return blocks_ns > rest_ns ? blocks_ns : rest_ns;
}

/* -EINTR if a signal ends the wait, or has hurried us before: then the lock stays, and whoever finds it waits himself. */
static int
wait_settled(const struct mount *mount, struct error *why)
{
    uint64_t at_ns = settled_at_ns(mount);

    if ((!mount->is_hurried || at_ns <= clock_now_ns()) && wait_until(at_ns) == 0)
        return 0;
    return error_set(why, -EINTR,
                     "the mount token stays, for what was sent before may still be carried out; a "
                     "mount on this machine takes it over");
}

/* Store what is left, and give the volume back. */
static int
finish(struct mount *mount, struct error *why)
{
    struct stack *stack = &mount->stack;
    struct error how;
    enum leftover left;
    struct stopped stopped = stopper_end(mount->stopper);
    const struct leftover_of of = { stack, mount->lock, mount->mountpoint, mount->token.value,
                                    stopped.was_asked };
    int settled = 0, rc = 0;

    mount->stopper = NULL;
    locallock_state(mount->lock, LOCK_FINISHING, NULL, NULL, "");
    consistency_stop_listing(stack->consistency);
    left = leftover_end(&of, why);
    pthread_mutex_lock(&mount->lock_survey);
    while (mount->is_surveying)
        pthread_cond_wait(&mount->survey_ended, &mount->lock_survey);
    pthread_mutex_unlock(&mount->lock_survey);
    if (left != LEFTOVER_KEPT)
        locallock_keep(mount->lock, NULL, 0);
    if (left != LEFTOVER_KEPT && !has_lost_volume(mount))
        settled = wait_settled(mount, &how);
    mount->token.until_ns = lease_stop(stack->lease);
    if (left == LEFTOVER_KEPT)
        rc = -EIO;
    if (has_lost_volume(mount)) {
        if (left == LEFTOVER_KEPT)
            log_line(BD_ERROR, "%s", why->text);
        lease_is_lost(stack->lease, &how);
        rc = error_set(why, -EROFS, "while it was mounted here, %s", how.text);
    } else if (settled != 0) {
        rc = error_set(why, settled, "everything is stored, but %s", how.text);
    } else if (mount->has_token && left != LEFTOVER_KEPT) {
        rc = token_drop(stack->backend, &stack->layout, &mount->token, why);
    }
    mount->has_token = false;
    if (rc == 0 && stopped.was_forced)
        error_set(why, 0, "the mount was detached while it was in use");
    return rc != 0 ? EXIT_FAILED : stopped.was_forced ? EXIT_FORCED : EXIT_DONE;
}

/* The lock becomes what it was; or ours stays, if blocks on local disk go with it, or if we are hurried before the volume may be
 * free: who finds a lock waits for that himself. */
static void
give_back(struct mount *mount)
{
    struct stack *stack = &mount->stack;
    const struct token *token = &mount->token;
    bool had_lock = token->before.is_there;
    struct error why;
    int rc = 0;

    if (!had_lock && !stack_file_is_unsaved(stack))
        rc = wait_settled(mount, &why);
    mount->token.until_ns = lease_stop(stack->lease);
    if (!had_lock && stack_file_is_unsaved(stack))
        return;
    if (had_lock)
        rc = stack_file_note(stack, token->before.value, token->value, &why);
    if (rc == 0)
        rc = token_give_back(stack->backend, &stack->layout, token, &why);
    if (rc != 0)
        log_line(BD_WARNING, "%s", why.text);
}

static void
release(struct mount *mount)
{
    struct stack *stack = &mount->stack;

    /* A start that failed half way: what was made so far. */
    stopper_end(mount->stopper);
    if (stack->objects != NULL)
        objects_pause(stack->objects, true);
    if (stack->tier != NULL)
        tier_stop(stack->tier);
    if (mount->has_token)
        give_back(mount);
    mirror_stop(mount->mirror);
    frontend_free(mount->frontend);
    stack_close(&mount->stack);
    locallock_release(mount->lock);
    pthread_cond_destroy(&mount->survey_ended);
    pthread_mutex_destroy(&mount->lock_survey);
    free(mount->volume);
    free(mount->identity);
    free(mount->mountpoint);
    free(mount->location);
}

static int
serve(struct mount *mount)
{
    struct error why = { "" };
    int status = EXIT_FAILED;
    int rc;

    mount->unprotected = process_protect();
    memory_keep_freed();
    rc = start(mount, &why);
    if (rc != 0) {
        if (why.text[0] != '\0')
            log_line(BD_ERROR, "%s", why.text);
        locallock_state(mount->lock, LOCK_DONE, NULL, NULL, why.text);
        mount->is_hurried = rc == -EINTR;
        release(mount);
        return EXIT_FAILED;
    }
    locallock_state(mount->lock, LOCK_SERVING, mount->mountpoint, mount->info.device, "");
    start_survey(mount);
    rc = frontend_run(mount->frontend);
    if (rc != 0)
        log_line(BD_ERROR, "cannot serve the mount: %s", strerror(-rc));
    status = finish(mount, &why);
    if (why.text[0] != '\0')
        log_line(BD_ERROR, "%s", why.text);
    else
        log_line(BD_INFO, "everything is stored");
    locallock_state(mount->lock, LOCK_DONE, NULL, NULL, why.text);
    release(mount);
    return status;
}

/* ---- what is asked for instead */

static void
version(void)
{
    if (program_is_s3backer())
        printf("s3backer version " S3BACKER_VERSION " (bucketdisk %s)\n", BUCKETDISK_VERSION);
    else
        printf("bucketdisk %s\n", BUCKETDISK_VERSION);
}

/* In s3backer's words, for who called it by that name. */
static void
usage_s3backer(void)
{
    printf("usage: s3backer [options] BUCKET[/PREFIX] MOUNTPOINT\n"
           "       s3backer --test [options] DIRECTORY MOUNTPOINT\n"
           "       s3backer --erase [options] BUCKET[/PREFIX]\n"
           "       s3backer --reset-mounted-flag [options] BUCKET[/PREFIX]\n"
           "\n"
           "This is bucketdisk, which takes s3backer's options; bucketdisk-s3backer(7) says\n"
           "what is different.\n"
           "\n");
}

static void
help_plugins(const struct plugins *plugins)
{
    printf("\nPlugins, each with options of its own: bucketdisk --help NAME\n\n");
    for (unsigned i = 0; i < plugins->count; i++) {
        const struct plugin *plugin = &plugins->all[i];

        if (plugin->why.text[0] == '\0') {
            printf("  %-*s  ", PLUGIN_NAME_COLUMNS, plugin_owner(plugin));
            options_wrap(plugin->desc.summary, PLUGIN_NAME_COLUMNS + 4, stdout);
        }
    }
}

static int
help(struct mount *mount, int word_count, char **words)
{
    struct stack *stack = &mount->stack;
    struct error why;

    if (word_count == 0) {
        if (program_is_s3backer())
            usage_s3backer();
        printf("usage: bucketdisk [options] LOCATION MOUNTPOINT\n"
               "       bucketdisk umount [-l] MOUNTPOINT\n"
               "       bucketdisk up [options] LOCATION DIRECTORY\n"
               "       bucketdisk down DIRECTORY\n"
               "       bucketdisk info|list|check [options] LOCATION\n"
               "       bucketdisk erase|reset|takeover [options] LOCATION\n"
               "       bucketdisk copy [options] SOURCE DESTINATION\n"
               "       bucketdisk key list|add|change|remove [options] LOCATION\n"
               "       bucketdisk probe [options] LOCATION\n"
               "       bucketdisk plugins [options] [NAME ...]\n"
               "       bucketdisk plugin check [options] FILE.so [-- plugin's options]\n"
               "       bucketdisk COMMAND --help\n"
               "\n"
               "Shows a volume of blocks in an object store as one file, a virtual disk.\n"
               "LOCATION is what the backend calls the place: a bucket, a directory.  Names of\n"
               "options compare without dashes and case, so --block-size is also --blockSize;\n"
               "each may stand behind -o.\n"
               "\n");
        options_help(stack->options, "", stdout);
        help_plugins(&stack->plugins);
        return EXIT_DONE;
    }
    if (!program_is_s3backer() && cmd_find(words[0]) != NULL)
        return cmd_find(words[0])->run(2, (char *[]){ words[0], strdupa("--help"), NULL });
    for (unsigned i = 0; i < stack->plugins.count; i++) {
        const struct plugin *plugin = &stack->plugins.all[i];

        if (plugin->why.text[0] == '\0'
            && (strcmp(words[0], plugin->name) == 0
                || strcmp(words[0], plugin_owner(plugin)) == 0)) {
            printf("%s: %s\n\n", plugin->name, plugin->desc.summary);
            options_help(stack->options, plugin_owner(plugin), stdout);
            return EXIT_DONE;
        }
    }
    error_set(&why, 0,
              "there is no command and no plugin \"%.60s\"; plugins were searched in %.200s; if it "
              "is elsewhere, say --plugin-path=...",
              words[0], stack->plugins.searched);
    log_line(BD_ERROR, "%s", why.text);
    return EXIT_FAILED;
}

int
cmd_mount(int argc, char **argv)
{
    const struct mount_wish wish = { .may_be_command =
                                         strcmp(argv[0], "mount") != 0 && !program_is_s3backer() };

    return mount_as_wished(argc, argv, &wish);
}

int
mount_as_wished(int argc, char **argv, const struct mount_wish *wish)
{
    struct mount mount = { .ready_fd = -1,
                           .ends_unused = wish->ends_unused,
                           .when_named = wish->when_named,
                           .when_named_arg = wish->when_named_arg };
    struct stack *stack = &mount.stack;
    const struct settings *settings = &stack->settings;
    char **words = calloc((size_t)argc + 1, sizeof *words);
    struct error why = { "" };
    int word_count = 0, status = EXIT_FAILED;
    int rc;

    if (words == NULL)
        return EXIT_FAILED;
    pthread_mutex_init(&mount.lock_survey, NULL);
    pthread_cond_init(&mount.survey_ended, NULL);
    stack->when_new = wish->when_new;
    stack->when_new_arg = wish->when_new_arg;
    rc = stack_parse(stack, wish->rows, argc, argv, words, &word_count, &why);
    if (rc == -ENOENT && wish->may_be_command)
        mount_explain_option(argc, argv, &why);
    if (rc != 0)
        goto fail;
    if (settings->debug)
        log_level_max(BD_DEBUG);
    else if (settings->quiet)
        log_level_max(BD_WARNING);
    if (settings->help || settings->version || settings->dump_options) {
        status = EXIT_DONE;
        if (settings->help)
            status = help(&mount, word_count, words);
        else if (settings->version)
            version();
        else
            options_dump(stack->options, stdout);
        release(&mount);
        free(words);
        return status;
    }
    if (wish->may_be_command)
        rc = mount_check_command(stack, words, word_count, &why);
    if (rc == 0)
        rc = mount_check_words(settings, words, word_count, &why);
    if (rc == 0)
        rc = mount_check_settings(stack, &why);
    if (rc == 0 && (settings->erase || settings->reset_mounted_flag)) {
        rc = settings->erase ? cmd_erase_volume(stack, words[0], false, &why)
                             : cmd_reset_token(stack, words[0], false, false, &why);
        if (rc != 0 && why.text[0] != '\0')
            log_line(BD_ERROR, "%s", why.text);
        release(&mount);
        free(words);
        return cmd_status(rc);
    }
    if (rc != 0)
        goto fail;
    mount.location = strdup(words[0]);
    rc = mount_check_mountpoint(wish->mountpoint != NULL ? wish->mountpoint : words[1],
                                &mount.mountpoint, &why);
    if (rc == 0)
        rc = mount_check_local_files(settings, mount.mountpoint, &why);
    if (rc == 0 && !settings->foreground)
        rc = daemonize(&mount.ready_fd);
    if (rc != 0)
        goto fail;
    free(words);
    return serve(&mount);

fail:
    log_line(BD_ERROR, "%s", why.text[0] != '\0' ? why.text : strerror(-rc));
    release(&mount);
    free(words);
    return EXIT_FAILED;
}
