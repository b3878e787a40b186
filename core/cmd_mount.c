/* SPDX-License-Identifier: Apache-2.0 */
/* bucketdisk LOCATION MOUNTPOINT: from options to a served file, and orderly back. */
#include "cmd.h"

#include "ask.h"
#include "base/clock.h"
#include "base/interrupts.h"
#include "base/log.h"
#include "base/util.h"
#include "fuse.h"
#include "locallock.h"
#include "mountinfo.h"
#include "stack.h"
#include "stopper.h"
#include "token.h"
#include "wait.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STORE_AGAIN_S 10
#define INTERRUPTED_MS 2000
#define MALLOC_KEPT_BYTES (32 << 20)

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

/* A mount and all that it holds, from start to end. */
struct mount {
    struct stack stack;
    char *location;
    char *mountpoint;                       /* absolute */
    char *identity;                         /* what tells it from all others */
    char *volume;                           /* what people call it */
    bool lacks_io_flusher, lacks_oom_score; /* protections that we were refused */
    struct mountinfo info;
    struct locallock *lock;
    struct token token;
    bool has_token;
    struct frontend *frontend;
    struct stopper *stopper;
    int ready_fd; /* to the waiting parent; -1 in the foreground */

    pthread_mutex_t lock_survey; /* guards the next two */
    pthread_cond_t survey_ended;
    bool is_surveying;
};

/* ---- the process */

/* A daemon under a filesystem: when the kernel wants memory back it must not be made to wait for itself,
 * nor be the one that is killed.  As far as we may. */
static void
protect_process(struct mount *mount)
{
    int fd;

    if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) != 0)
        mount->lacks_io_flusher = true;
    fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd == -1 || write(fd, "-900", 4) != 4)
        mount->lacks_oom_score = true;
    if (fd != -1)
        close(fd);
}

/* The child has its own session, so no terminal interrupts it.  It may be asking for a password there, and leaves the
 * terminal as it was before we go, and a shell has it back. */
static void
pass_interrupt(pid_t child, struct pollfd *ready, const sigset_t *held, int number)
{
    kill(child, SIGTERM);
    if (poll(ready, 1, INTERRUPTED_MS) == 1 && ready->revents == POLLHUP)
        waitpid(child, NULL, 0);
    signal(number, SIG_DFL);
    raise(number);
    sigprocmask(SIG_UNBLOCK, held, NULL);
}

/* In the parent: wait until the child says how it went, and exit with that. */
static void
wait_for_daemon(pid_t child, int ready_fd, const sigset_t *held)
{
    struct pollfd waited[] = { { .fd = ready_fd, .events = POLLIN },
                               { .fd = signalfd(-1, held, SFD_CLOEXEC), .events = POLLIN } };
    struct signalfd_siginfo info;
    char status;

    while (poll(waited, 2, -1) == -1 && errno == EINTR)
        ;
    if (waited[0].revents == 0 && read(waited[1].fd, &info, sizeof info) == sizeof info)
        pass_interrupt(child, &waited[0], held, (int)info.ssi_signo);
    _exit(read(ready_fd, &status, 1) == 1 ? status : EXIT_FAILED);
}

/* Become a daemon. */
static int
daemonize(struct mount *mount)
{
    const pid_t parent = getpid();
    sigset_t held, before;
    int pipe_fds[2];
    pid_t child;

    if (pipe2(pipe_fds, O_CLOEXEC) != 0)
        return -errno;
    interrupts_hold(&held, &before);
    fflush(NULL);
    child = fork();
    if (child == -1) {
        int rc = -errno;

        sigprocmask(SIG_SETMASK, &before, NULL);
        close(pipe_fds[0]);
        close(pipe_fds[1]);
        return rc;
    }
    if (child > 0) {
        close(pipe_fds[1]);
        wait_for_daemon(child, pipe_fds[0], &held);
    }
    close(pipe_fds[0]);
    setsid();
    sigprocmask(SIG_SETMASK, &before, NULL);
    /* When nothing could be passed on any more.  Until start_frontend. */
    if (prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) != 0 || getppid() != parent)
        _exit(EXIT_FAILED);
    mount->ready_fd = pipe_fds[1];
    return 0;
}

/* The parent returns, and from now on only syslog is left to talk to. */
static void
leave_terminal(struct mount *mount)
{
    const char status = EXIT_DONE;
    int null;

    log_to_syslog("bucketdisk");
    /* Keep no directory busy. */
    if (chdir("/") != 0)
        log_line(BD_DEBUG, "cannot change to /: %s", strerror(errno));
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null != -1) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        close(null);
    }
    if (write(mount->ready_fd, &status, 1) != 1)
        log_line(BD_WARNING, "nobody waited for the mount");
    close(mount->ready_fd);
    mount->ready_fd = -1;
}

static void
file_is_ready(void *arg)
{
    struct mount *mount = arg;

    if (mount->ready_fd != -1)
        leave_terminal(mount);
    log_line(BD_INFO, "%s is %s/%s: %llu blocks of %u bytes", mount->volume, mount->mountpoint,
             mount->stack.settings.filename, (unsigned long long)mount->stack.layout.block_count,
             mount->stack.layout.block_bytes);
    if (mount->lacks_io_flusher || mount->lacks_oom_score)
        log_line(BD_INFO,
                 "not allowed to set%s%s: when memory is short, the disk may suffer with it",
                 mount->lacks_io_flusher ? " PR_SET_IO_FLUSHER" : "",
                 mount->lacks_oom_score ? " oom_score_adj" : "");
}

/* ---- the words of the command line */

static int
check_words(bool is_reset, char **words, int count, struct error *why)
{
    if (count == 0)
        return error_set(
            why, -EINVAL, "where is the volume%s? usage: bucketdisk %s (--help tells more)",
            is_reset ? "" : ", and where to mount it",
            is_reset ? "--reset-mounted-flag [options] LOCATION" : "[options] LOCATION MOUNTPOINT");
    if (count == 1 && !is_reset)
        return error_set(why, -EINVAL,
                         "where to mount it? after the volume's place, \"%s\", comes a "
                         "mount point",
                         words[0]);
    if (count > (is_reset ? 1 : 2))
        return error_set(why, -EINVAL, "too many words: what is \"%s\"?", words[is_reset ? 1 : 2]);
    return 0;
}

static int
check_mountpoint(struct mount *mount, const char *word, struct error *why)
{
    struct stat st;

    mount->mountpoint = realpath(word, NULL);
    if (mount->mountpoint == NULL)
        return error_set(why, -errno,
                         errno == ENOTCONN
                             ? "the mount point %s is a dead mount; unmount it first (umount %s)"
                             : "cannot use the mount point %s: %s",
                         word, errno == ENOTCONN ? word : strerror(errno));
    if (stat(mount->mountpoint, &st) != 0)
        return error_set(why, -errno, "cannot use the mount point %s: %s", word, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return error_set(why, -ENOTDIR, "the mount point %s is not a directory", word);
    return 0;
}

static bool
is_file_name(const char *name)
{
    return name[0] != '\0' && strchr(name, '/') == NULL && strcmp(name, ".") != 0
           && strcmp(name, "..") != 0 && strlen(name) <= 200;
}

static int
check_settings(const struct stack *stack, struct error *why)
{
    const struct settings *settings = &stack->settings;

    if (!is_file_name(settings->filename))
        return error_set(why, -EINVAL, "--filename=%s is not a name for a file",
                         settings->filename);
    if (settings->stats_filename[0] != '\0' && !is_file_name(settings->stats_filename))
        return error_set(why, -EINVAL, "--statsFilename=%s is not a name for a file",
                         settings->stats_filename);
    if (strcmp(settings->filename, settings->stats_filename) == 0)
        return error_set(why, -EINVAL, "--filename and --statsFilename are both \"%s\"",
                         settings->filename);
    if (strncmp(settings->filename, settings->stats_filename, strlen(settings->stats_filename)) == 0
        && settings->stats_filename[0] != '\0'
        && strcmp(settings->filename + strlen(settings->stats_filename), STATS_JSON_SUFFIX) == 0)
        return error_set(why, -EINVAL, "--filename=%s is the name of the statistics as JSON",
                         settings->filename);
    if (settings->stats_filename[0] != '\0'
        && (strcmp(settings->filename, METRICS_NAME) == 0
            || strcmp(settings->stats_filename, METRICS_NAME) == 0))
        return error_set(
            why, -EINVAL, "%s=" METRICS_NAME " is the name of the statistics for Prometheus",
            strcmp(settings->filename, METRICS_NAME) == 0 ? "--filename" : "--statsFilename");
    if (settings->file_mode > 0777)
        return error_set(why, -EINVAL, "--fileMode=%o is not a file mode", settings->file_mode);
    if (options_given(stack->options, "block-cache-size")
        && options_given(stack->options, "cache-size"))
        return error_set(why, -EINVAL,
                         "--cache-size (bytes) and --blockCacheSize (blocks) say the same thing; "
                         "leave one out");
    if (settings->block_cache_sync && options_given(stack->options, "block-cache-write-delay")
        && settings->block_cache_write_delay_ms != 0)
        return error_set(why, -EINVAL, "--blockCacheSync needs --blockCacheWriteDelay=0");
    return 0;
}

/* Root always may; others where fuse.conf says so. */
static bool
may_allow_other(void)
{
    char line[256], word[64];
    bool may = geteuid() == 0;
    FILE *file = fopen("/etc/fuse.conf", "re");

    if (file == NULL)
        return may;
    while (!may && fgets(line, sizeof line, file) != NULL)
        may = sscanf(line, " %63s", word) == 1 && strcmp(word, "user_allow_other") == 0;
    fclose(file);
    return may;
}

/* ---- start */

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

static uint64_t
data_bytes(void *arg)
{
    struct mount *mount = arg;

    return consistency_data_blocks(mount->stack.consistency) * mount->stack.layout.block_bytes;
}

static int
start_frontend(struct mount *mount, struct error *why)
{
    struct stack *stack = &mount->stack;
    const struct settings *settings = &stack->settings;
    const struct frontend_config config = {
        .mountpoint = mount->mountpoint,
        .source = backend_info(stack->backend)->display,
        .file_name = settings->filename,
        .stats_name = settings->stats_filename,
        .file_mode = options_given(stack->options, "file-mode") ? (mode_t)settings->file_mode
                     : settings->read_only                      ? 0400
                                                                : 0600,
        .uid = options_given(stack->options, "uid") ? settings->uid : geteuid(),
        .gid = options_given(stack->options, "gid") ? settings->gid : getegid(),
        .is_read_only = settings->read_only,
        .is_direct_io = settings->direct_io,
        .allow_other = options_given(stack->options, "allow-other") ? settings->allow_other
                                                                    : may_allow_other(),
        .threads = settings->single_thread ? 1 : settings->fuse_threads,
        .background_max = settings->max_background,
        .data_bytes = data_bytes,
        .data_bytes_arg = mount,
        .ready = file_is_ready,
        .ready_arg = mount,
    };
    int rc = frontend_new(&config, &stack->disk, stack->stats, why, &mount->frontend);

    /* It is this thread's; and another thread tells the parent to go, when the file is ready. */
    prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
    if (rc == 0)
        rc = frontend_mount(mount->frontend, why);
    if (rc == 0 && !mountinfo_at(mount->mountpoint, &mount->info))
        rc = error_set(why, -EIO, "%s was unmounted at once", mount->mountpoint);
    if (rc == 0)
        rc = stopper_start(mount->mountpoint, mount->info.device, &stack->disk, mount->frontend,
                           settings->stop_timeout_ms, &mount->stopper);
    return rc;
}

static int
start(struct mount *mount, struct error *why)
{
    struct stack *stack = &mount->stack;
    char lock_id[64];
    int rc;

    rc = stack_open(stack, mount->location, why);
    if (rc != 0)
        return rc;
    rc = stack_names(stack, &mount->identity, &mount->volume, why);
    if (rc == 0 && !stack->settings.read_only)
        rc = locallock_take(mount->identity, mount->volume, why, &mount->lock);
    if (rc != 0)
        return rc;
    /* Whoever cannot be mounted leaves no trace.  Then again, under the token: only now does nobody else change
     * what is found. */
    rc = stack_detect(stack, why);
    if (rc != 0)
        return rc;
    stopper_block_signals();
    if (!stack->settings.read_only) {
        locallock_id(mount->lock, lock_id, sizeof lock_id);
        rc = token_take(stack->backend, &stack->layout, lock_id, stack->settings.force,
                        &mount->token, why);
        if (rc != 0)
            return rc;
        mount->has_token = true;
        /* What a dead owner has sent may still be carried out, over a description that we put. */
        if (mount->token.was_taken_over && !mount->token.has_if_match && stack->layout.is_format_2)
            ask_wait_settled(clock_now_ns() + stack->settings.settle_time_ms * NS_PER_MS);
        rc = stack_detect(stack, why);
        if (rc == 0)
            rc = stack_claim(stack, &mount->token, why);
        if (rc != 0)
            return rc;
    }
    rc = stack_build(stack, why);
    if (rc != 0)
        return rc;
    if (mount->token.was_taken_over)
        consistency_hold(stack->consistency);
    rc = write_block_0(mount, why);
    return rc != 0 ? rc : start_frontend(mount, why);
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

/* The last attempt of unknown outcome must be settled before somebody else may write here. */
static void
wait_settled(struct mount *mount)
{
    const struct stack *stack = &mount->stack;

    if (stack->consistency != NULL)
        ask_wait_settled(consistency_settled_at_ns(stack->consistency));
    ask_wait_settled(stack_settled_at_ns(stack));
}

/* What the cache holds is nowhere else, so there is no giving up. */
static void
store_all(const struct stack *stack)
{
    const struct timespec pause = { .tv_sec = STORE_AGAIN_S };
    int rc;

    while ((rc = disk_flush_wait(&stack->disk)) != 0) {
        log_line(BD_ERROR,
                 "not everything could be stored: %s; trying again until it is (killing this "
                 "process, %d, loses the rest)",
                 strerror(-rc), (int)getpid());
        nanosleep(&pause, NULL);
    }
}

/* Store what is left, and give the volume back. */
static int
finish(struct mount *mount, struct error *why)
{
    struct stack *stack = &mount->stack;
    bool was_forced;
    int rc = 0;

    was_forced = stopper_end(mount->stopper);
    mount->stopper = NULL;
    locallock_state(mount->lock, LOCK_FINISHING, NULL, NULL, "");
    consistency_stop_listing(stack->consistency);
    store_all(stack);
    pthread_mutex_lock(&mount->lock_survey);
    while (mount->is_surveying)
        pthread_cond_wait(&mount->survey_ended, &mount->lock_survey);
    pthread_mutex_unlock(&mount->lock_survey);
    wait_settled(mount);
    if (mount->has_token)
        rc = token_drop(stack->backend, &stack->layout, &mount->token, why);
    mount->has_token = false;
    if (rc == 0 && was_forced)
        error_set(why, 0, "the mount was detached while it was in use");
    return rc != 0 ? EXIT_FAILED : was_forced ? EXIT_FORCED : EXIT_DONE;
}

static void
release(struct mount *mount)
{
    struct error ignored;

    /* A start that failed half way: what was made so far. */
    stopper_end(mount->stopper);
    if (mount->has_token) {
        wait_settled(mount);
        token_drop(mount->stack.backend, &mount->stack.layout, &mount->token, &ignored);
    }
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

    protect_process(mount);
    /* Buffers of requests are reused: given back to the system and taken again, each would cost page faults. */
    mallopt(M_MMAP_THRESHOLD, MALLOC_KEPT_BYTES);
    mallopt(M_TRIM_THRESHOLD, MALLOC_KEPT_BYTES);
    rc = start(mount, &why);
    if (rc != 0) {
        if (why.text[0] != '\0')
            log_line(BD_ERROR, "%s", why.text);
        locallock_state(mount->lock, LOCK_DONE, NULL, NULL, why.text);
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

/* ---- commands without a mount */

static int
reset_token(struct mount *mount)
{
    struct stack *stack = &mount->stack;
    struct layout layout = { .prefix = stack->settings.prefix };
    struct error why = { "" };
    int rc = stack_open(stack, mount->location, &why);

    if (rc == 0)
        rc = volume_manifest_read(stack->backend, &layout, &stack->description, &why);
    layout.is_format_2 = stack->description.is_there;
    if (rc == 0)
        rc = stack_names(stack, &mount->identity, &mount->volume, &why);
    if (rc == 0)
        rc = locallock_take(mount->identity, mount->volume, &why, &mount->lock);
    if (rc == 0)
        rc = token_reset(stack->backend, &layout, &why);
    if (rc == 0 && layout.is_format_2)
        rc = volume_reset_fence(stack->backend, &layout, &why);
    /* Of a volume of format 2 that was only begun there may be the lock. */
    layout.is_format_2 = true;
    if (rc == 0 && !stack->description.is_there)
        rc = token_reset(stack->backend, &layout, &why);
    if (rc != 0 && why.text[0] != '\0')
        log_line(BD_ERROR, "%s", why.text);
    release(mount);
    return rc == 0 ? EXIT_DONE : EXIT_FAILED;
}

static int
help(struct mount *mount, int word_count, char **words)
{
    struct stack *stack = &mount->stack;
    struct error why;

    if (word_count == 0) {
        printf(
            "usage: bucketdisk [options] LOCATION MOUNTPOINT\n"
            "       bucketdisk umount MOUNTPOINT\n"
            "       bucketdisk key list|add|change|remove [options] LOCATION\n"
            "       bucketdisk plugins [options] [NAME ...]\n"
            "       bucketdisk probe [options] LOCATION\n\n"
            "Shows a volume of blocks in an object store as one file, a virtual disk.  LOCATION is "
            "what\n"
            "the backend calls the place: a bucket, a directory.  Names of options compare "
            "without\n"
            "dashes and case, so --block-size is also --blockSize; each may stand behind -o.\n\n");
        options_help(stack->options, "", stdout);
        printf("\nOptions of a plugin: bucketdisk --help NAME, with NAME one of");
        for (unsigned i = 0; i < stack->plugins.count; i++) {
            if (stack->plugins.all[i].why.text[0] == '\0')
                printf(" %s", plugin_owner(&stack->plugins.all[i]));
        }
        printf("\n");
        return EXIT_DONE;
    }
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
    error_set(&why, 0, "there is no plugin \"%s\"; bucketdisk plugins lists them", words[0]);
    log_line(BD_ERROR, "%s", why.text);
    return EXIT_FAILED;
}

int
cmd_mount(int argc, char **argv)
{
    struct mount mount = { .ready_fd = -1 };
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
    rc = stack_parse(stack, NULL, argc, argv, words, &word_count, &why);
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
            printf("bucketdisk %s\n", BUCKETDISK_VERSION);
        else
            options_dump(stack->options, stdout);
        release(&mount);
        free(words);
        return status;
    }
    rc = check_words(settings->reset_mounted_flag, words, word_count, &why);
    if (rc != 0)
        goto fail;
    rc = check_settings(stack, &why);
    if (rc != 0)
        goto fail;
    mount.location = strdup(words[0]);
    if (settings->reset_mounted_flag) {
        free(words);
        return reset_token(&mount);
    }
    rc = check_mountpoint(&mount, words[1], &why);
    if (rc == 0 && !settings->foreground && !settings->debug)
        rc = daemonize(&mount);
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
