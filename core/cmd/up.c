/* SPDX-License-Identifier: Apache-2.0 */
/* bucketdisk up LOCATION DIRECTORY: from a bucket to a mounted filesystem, and back if any step fails.
 *
 * The disk's daemon is a child that mounts it as the plain command does, in a place of the directory's own (updown.h).  Of a new
 * volume it asks first, before anything is stored.  The loop device goes with its last user, and the daemon with the last
 * who has its file: so whatever ends this command, and whoever unmounts the filesystem with plain umount(8), what is
 * below goes by itself. */
#include "base/human.h"
#include "base/interrupts.h"
#include "base/log.h"
#include "base/util.h"
#include "child.h"
#include "cmd.h"
#include "confirm.h"
#include "filesystem.h"
#include "mount.h"
#include "mount_check.h"
#include "updown.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct up_settings {
    uint32_t fs;
    const char *fs_options;
    uint8_t yes;
};

static const struct bd_option up_rows[] = {
    { .name = "fs",
      .type = BD_OPT_ENUM,
      BD_FIELD(struct up_settings, fs),
      .def = "ext4",
      .choices = filesystem_names,
      .help = "which filesystem to make on an empty volume; any other one is refused" },
    { .name = "fs-options",
      .type = BD_OPT_STRING,
      BD_FIELD(struct up_settings, fs_options),
      .def = "",
      .metavar = "WORD,...",
      .help = "what the filesystem is mounted with, as behind mount -o" },
    { .name = "yes",
      .type = BD_OPT_BOOL,
      BD_FIELD(struct up_settings, yes),
      .help = "make what is not there without asking" },
};

/* One command at work. */
struct up_command {
    struct stack stack; /* for its options alone */
    struct up_settings settings;
    const struct filesystem *wanted; /* NULL: whatever is there */
    const char *location;
    int argc;
    char **argv;            /* a copy, for the daemon */
    struct locallock *lock; /* on the directory */
    struct updown updown;
    bool *is_new; /* shared with the daemon: the volume is new, and to make it was agreed to */
    int file;     /* the disk; -1: not open */
    struct loop loop;
    bool is_begun; /* mkfs was run, and has not ended well */
    sigset_t held, before;
};

/* ---- what must be asked */

static bool
any_given(const struct stack *stack, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (options_given(stack->options, *names))
            return true;
    }
    return false;
}

static int
ask_for_new(const struct up_command *command, struct stack *stack, const char *size,
            struct error *why)
{
    static const char *const decided[] = { "password", "password-file", "key-file",
                                           "encrypt",  "codec",         NULL };
    char question[600];
    bool is_yes = false;
    int rc;

    snprintf(question, sizeof question,
             "There is no volume in %s yet.  Make one of %s, with %s on it? [y/N] ",
             backend_info(stack->backend)->display, size, filesystem_names[command->settings.fs]);
    rc = confirm(question, CONFIRM_BY_TERMINAL, &is_yes, why);
    if (rc == -ENOTTY)
        return error_set(why, -EINVAL,
                         "there is no volume in %s yet, and nobody here to ask; --yes makes one",
                         backend_info(stack->backend)->display);
    if (rc == 0 && !is_yes)
        rc = error_set(why, -ECANCELED, "nothing was made");
    if (rc == 0 && !any_given(stack, decided))
        rc = confirm("Encrypt it?  Without the password nobody can read it then. [y/N] ",
                     CONFIRM_BY_TERMINAL, &stack->is_encryption_wanted, why);
    return rc;
}

/* In the daemon, which has stored nothing yet. */
static int
agree_to_new(struct stack *stack, void *arg, struct error *why)
{
    static const char *const of_format_1[] = {
        "format", "codec", "compress", "encrypt", "default-content-encoding", NULL
    };
    const struct up_command *command = arg;
    const uint64_t bytes = stack->layout.block_bytes * stack->layout.block_count;
    char size[HUMAN_BYTES];
    int rc;

    if (command->wanted == NULL)
        return error_set(why, -EINVAL,
                         "there is no volume in %s yet; --fs=ext4, xfs or btrfs says what a new "
                         "one shall have on it",
                         backend_info(stack->backend)->display);
    human_bytes(bytes, size);
    rc = filesystem_can_make(command->wanted, bytes, why);
    if (rc == 0 && !command->settings.yes)
        rc = ask_for_new(command, stack, size, why);
    if (rc != 0)
        return rc;
    if (!any_given(stack, of_format_1))
        stack->settings.format = 2;
    *command->is_new = true;
    return 0;
}

/* In the daemon, too. */
static int
note_volume(const char *identity, void *arg, struct error *why)
{
    const struct up_command *command = arg;

    return command->stack.settings.read_only ? updown_note_volume(&command->updown, identity, why)
                                             : 0;
}

static int
ask_to_make(const struct up_command *command, struct error *why)
{
    char question[PATH_MAX + 100];
    bool is_yes = false;
    int rc;

    if (*command->is_new || command->settings.yes)
        return 0;
    snprintf(question, sizeof question, "The volume in %s is empty.  Make %s on it? [y/N] ",
             command->location, filesystem_names[command->settings.fs]);
    rc = confirm(question, CONFIRM_BY_TERMINAL, &is_yes, why);
    if (rc == -ENOTTY)
        return error_set(why, -EINVAL,
                         "the volume in %s is empty, and nobody here to ask; --yes makes %s on it",
                         command->location, filesystem_names[command->settings.fs]);
    return rc == 0 && !is_yes ? error_set(why, -ECANCELED, "nothing was made") : rc;
}

/* ---- what is there already */

/* Who only reads has no lock. */
static bool
is_writer(const struct mountinfo *disk)
{
    int lock = locallock_find(disk->device, disk->mountpoint);

    if (lock != -1)
        close(lock);
    return lock != -1;
}

/* Is the disk there of the volume that is asked for? */
static int
compare_volume(struct up_command *command, bool has_writer, enum updown_volume *volume,
               struct error *why)
{
    const struct mountinfo *disk = &command->updown.disk;
    char *identity = NULL, *called = NULL;
    int rc = stack_open(&command->stack, command->location, why);

    if (rc == 0)
        rc = stack_names(&command->stack, &identity, &called, why);
    if (rc == 0 && has_writer)
        *volume = locallock_serves(identity, disk->device, disk->mountpoint) ? UPDOWN_SAME
                                                                             : UPDOWN_ANOTHER;
    else if (rc == 0)
        *volume = updown_compare_volume(&command->updown, identity);
    free(identity);
    free(called);
    return rc;
}

/* Gives *is_up if what is there is what is asked for, and mounted so. */
static int
compare(struct up_command *command, bool *is_up, struct error *why)
{
    const struct updown *there = &command->updown;
    const char *source = there->disk.source, *directory = there->directory;
    const bool is_read_only = command->stack.settings.read_only;
    const bool has_writer = is_writer(&there->disk);
    enum updown_volume volume;
    int rc = compare_volume(command, has_writer, &volume, why);

    if (rc != 0)
        return rc;
    *is_up = volume == UPDOWN_SAME && has_writer == !is_read_only;
    if (*is_up)
        return 0;
    if (volume == UPDOWN_SAME)
        return error_set(why, -EBUSY, "%s is up on %s already, %s; bucketdisk down %s first",
                         source, directory, is_read_only ? "and not read-only" : "and read-only",
                         directory);
    if (volume == UPDOWN_ANOTHER)
        return error_set(why, -EBUSY,
                         "another volume, %s, is up on %s already; bucketdisk down %s first",
                         source, directory, directory);
    return error_set(why, -EBUSY,
                     "%s is up on %s already, read-only, and nothing tells whether it is the same "
                     "volume; bucketdisk down %s first",
                     source, directory, directory);
}

/* Gives *is_up if nothing is left to do. */
static int
look_around(struct up_command *command, bool *is_up, struct error *why)
{
    struct updown *there = &command->updown;
    int rc;

    if (there->is_mounted && there->is_dead)
        return error_set(why, -EBUSY,
                         "the disk's daemon under %s has died; take it down first: bucketdisk down "
                         "%s",
                         there->directory, there->directory);
    if (there->is_mounted)
        return compare(command, is_up, why);
    if (!updown_is_anything(there))
        return 0;
    log_line(BD_INFO, "taking down what is left of an earlier one on %s", there->directory);
    rc = updown_end(there, why);
    if (rc != 0 && there->is_dead) {
        log_line(BD_WARNING, "%s", why->text);
        rc = 0;
    }
    updown_look_again(there);
    return rc;
}

/* ---- step by step */

static int
start_disk(struct up_command *command, struct error *why)
{
    const struct stack_rows rows = { up_rows, ARRAY_LEN(up_rows), &command->settings };
    const struct mount_wish wish = { .rows = &rows,
                                     .mountpoint = command->updown.place,
                                     .when_new = agree_to_new,
                                     .when_new_arg = command,
                                     .when_named = note_volume,
                                     .when_named_arg = command,
                                     .ends_unused = true };
    int rc = updown_make_place(&command->updown, why);
    pid_t child;

    if (rc != 0)
        return rc;
    fflush(NULL);
    child = fork();
    if (child == -1)
        return error_set(why, -errno, "cannot start a process: %s", strerror(errno));
    if (child == 0) {
        locallock_leave(command->lock);
        options_forget(command->stack.options, "password"); /* the daemon reads its own */
        pthread_sigmask(SIG_SETMASK, &command->before, NULL);
        exit(mount_as_wished(command->argc, command->argv, &wish));
    }
    /* It says itself what is wrong. */
    return child_wait(child, &command->held) == 0 ? 0 : -EIO;
}

static int
open_disk(struct up_command *command, struct error *why)
{
    const struct settings *settings = &command->stack.settings;
    char path[PATH_MAX + 256];

    snprintf(path, sizeof path, "%s/%s", command->updown.place, settings->filename);
    command->file = open(path, (settings->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (command->file == -1)
        return error_set(why, -errno, "cannot open the disk, %s: %s", path, strerror(errno));
    return 0;
}

/* Gives the type that will be there; *is_to_make: it must be made first. */
static int
decide(const struct up_command *command, char *type, size_t type_bytes, bool *is_to_make,
       struct error *why)
{
    const char *wanted = command->wanted != NULL ? filesystem_names[command->settings.fs] : NULL;
    enum content content;
    struct stat st;
    int rc = filesystem_probe(command->file, &content, type, type_bytes, why);

    if (rc != 0)
        return rc;
    if (content == CONTENT_OTHER)
        return error_set(why, -EINVAL,
                         "the volume holds %s%s, and is left as it is; bucketdisk LOCATION "
                         "MOUNTPOINT shows it as a disk",
                         type[0] != '\0' ? type : "data that is no filesystem known here",
                         type[0] != '\0' ? ", not a filesystem" : "");
    if (content == CONTENT_FILESYSTEM) {
        if (wanted != NULL && strcmp(type, wanted) != 0)
            return error_set(why, -EINVAL,
                             "the volume has %s on it, not %s, and is left as it is; say --fs=%s, "
                             "or leave --fs out",
                             type, wanted, type);
        return 0;
    }
    if (command->stack.settings.read_only)
        return error_set(why, -EINVAL, "the volume is empty: with --readOnly nothing can be made");
    if (wanted == NULL)
        return error_set(why, -EINVAL,
                         "the volume is empty; --fs=ext4, xfs or btrfs says what shall be on it");
    snprintf(type, type_bytes, "%s", wanted);
    *is_to_make = true;
    rc = fstat(command->file, &st) == 0 ? 0 : -errno;
    if (rc == 0)
        rc = filesystem_can_make(command->wanted, (uint64_t)st.st_size, why);
    return rc == 0 ? ask_to_make(command, why) : rc;
}

static int
make(struct up_command *command, struct error *why)
{
    struct stat st;
    int rc;

    if (fstat(command->file, &st) != 0)
        return error_set(why, -errno, "cannot look at the disk: %s", strerror(errno));
    command->is_begun = true;
    rc = filesystem_make(command->wanted, (uint64_t)st.st_size, (uint32_t)st.st_blksize,
                         command->loop.device, &command->held, why);
    command->is_begun = rc != 0;
    return rc;
}

static int
mount_filesystem(const struct up_command *command, const char *type, struct error *why)
{
    char *options;
    int rc = filesystem_options(type, command->stack.settings.read_only,
                                options_mount_words(command->stack.options),
                                command->settings.fs_options, &options);

    if (rc != 0)
        return error_set(why, rc, "out of memory");
    rc = filesystem_mount(type, options, command->loop.device, command->updown.directory,
                          &command->held, why);
    free(options);
    return rc;
}

static int
check_interrupt(const struct up_command *command, int rc, struct error *why)
{
    return rc == 0 && interrupts_came(&command->held) ? error_set(why, -EINTR, "interrupted") : rc;
}

static int
put_up(struct up_command *command, struct error *why)
{
    bool is_to_make = false;
    char type[32];
    int rc = start_disk(command, why);

    if (rc == 0)
        rc = open_disk(command, why);
    if (rc == 0)
        rc = decide(command, type, sizeof type, &is_to_make, why);
    rc = check_interrupt(command, rc, why);
    if (rc == 0)
        rc = loop_attach(command->file, command->stack.settings.read_only, &command->loop, why);
    if (rc == 0 && is_to_make)
        rc = make(command, why);
    rc = check_interrupt(command, rc, why);
    if (rc == 0)
        rc = mount_filesystem(command, type, why);
    if (rc == 0)
        log_line(BD_INFO, "%s is up on %s: %s on %s", command->location, command->updown.directory,
                 type, command->loop.device);
    return rc;
}

/* The device is free, and the disk's file closed, as soon as nobody else has them. */
static void
let_go(struct up_command *command)
{
    if (command->loop.fd != -1)
        close(command->loop.fd);
    if (command->file != -1)
        close(command->file);
    command->loop.fd = command->file = -1;
}

/* The disk was all zeros before mkfs, and shall be so for the next try.  What the kernel still has of the device's blocks it
 * writes when nobody has that open any more. */
static void
undo_make(struct up_command *command)
{
    struct stat st;

    close(command->loop.fd);
    command->loop.fd = -1;
    if (loop_detach_below(command->updown.place, command->loop.device) != 0
        || fstat(command->file, &st) != 0
        || fallocate(command->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, st.st_size) != 0
        || fsync(command->file) != 0)
        log_line(BD_WARNING, "cannot remove what mkfs has written: %s", strerror(errno));
}

/* An interrupt has done what it should; the next one ends us, and `down` goes on. */
static void
undo(struct up_command *command)
{
    const struct timespec now = { 0, 0 };
    struct error why = { "" };

    while (sigtimedwait(&command->held, NULL, &now) > 0)
        ;
    pthread_sigmask(SIG_SETMASK, &command->before, NULL);
    if (command->is_begun)
        undo_make(command);
    let_go(command);
    updown_look_again(&command->updown);
    if (!updown_is_anything(&command->updown))
        updown_remove_place(&command->updown);
    else if (updown_end(&command->updown, &why) != 0)
        log_line(BD_ERROR, "%s; bucketdisk down %s goes on", why.text, command->updown.directory);
}

/* ---- the command */

static int
check(const struct up_command *command, char **words, int count, struct error *why)
{
    const struct settings *settings = &command->stack.settings;

    if (count == 0)
        return error_set(why, -EINVAL,
                         "where is the volume? usage: bucketdisk up [options] LOCATION DIRECTORY");
    if (count == 1)
        return error_set(why, -EINVAL,
                         "where to? after the volume's place, \"%s\", comes the directory for the "
                         "files",
                         words[0]);
    if (count > 2)
        return error_set(
            why, -EINVAL,
            "too many words: what is \"%s\"? usage: bucketdisk up [options] LOCATION DIRECTORY",
            words[2]);
    if (settings->foreground || settings->debug)
        return error_set(why, -EINVAL,
                         "up returns when the files can be used; leave --foreground and --debug "
                         "out");
    if (settings->shared_disk_mode)
        return error_set(why, -EINVAL,
                         "--sharedDiskMode is for cluster filesystems, which up does not mount");
    if (settings->erase || settings->reset_mounted_flag)
        return error_set(why, -EINVAL,
                         "--erase and --reset-mounted-flag are commands of their own; leave up "
                         "out");
    if (geteuid() != 0)
        return error_set(why, -EPERM, "only root can attach a loop device and mount a filesystem");
    return mount_check_settings(&command->stack, why);
}

static int
up(struct up_command *command, char **words, int count, struct error *why)
{
    char *directory = NULL;
    bool is_up = false;
    int rc = check(command, words, count, why);

    if (rc == 0)
        rc = mount_check_mountpoint(words[1], &directory, why);
    if (rc == 0)
        rc = mount_check_local_files(&command->stack.settings, directory, why);
    if (rc == 0)
        rc = updown_take(directory, &command->lock, why);
    if (rc == 0) {
        command->location = words[0];
        command->wanted = options_given(command->stack.options, "fs")
                              ? filesystem_find(filesystem_names[command->settings.fs])
                              : NULL;
        updown_find(directory, &command->updown);
        rc = look_around(command, &is_up, why);
    }
    free(directory);
    if (rc != 0)
        return rc;
    if (is_up) {
        log_line(BD_INFO, "%s is up on %s already", command->location, command->updown.directory);
        return 0;
    }
    rc = put_up(command, why);
    if (rc != 0) {
        if (why->text[0] != '\0')
            log_line(BD_ERROR, "%s", why->text);
        why->text[0] = '\0';
        undo(command);
    }
    let_go(command);
    return rc;
}

static void
help(void)
{
    printf("usage: bucketdisk up [--fs=ext4|xfs|btrfs] [options] LOCATION DIRECTORY\n"
           "       bucketdisk down DIRECTORY\n"
           "\n"
           "Mounts the volume, attaches a loop device to it, and mounts the filesystem\n"
           "that is on it on DIRECTORY; down undoes that, and returns when everything is\n"
           "stored.  A new volume, for which --size says how large, and an empty one get a\n"
           "filesystem, after a question; one that is not empty is never formatted.\n"
           "\n"
           "--fs=ext4|xfs|btrfs: what to make on an empty volume; any other one is refused.\n"
           "--fs-options=WORD,...: what the filesystem is mounted with, as behind mount -o.\n"
           "--yes: make what is not there without asking.\n"
           "\n"
           "All other options are those of the mount: see bucketdisk --help.  What stands\n"
           "behind -o and is mount(8)'s own (noatime, nosuid, _netdev, ...) goes to the\n"
           "filesystem.\n");
}

/* The options are read here, which overwrites secrets in argv, and again by the daemon: in this copy. */
static char **
copy_words(int argc, char **argv)
{
    char **copy = calloc((size_t)argc + 1, sizeof *copy);

    for (int i = 0; copy != NULL && i < argc; i++) {
        copy[i] = strdup(argv[i]);
        if (copy[i] == NULL)
            return NULL;
    }
    return copy;
}

static void
wipe_words(int argc, char **words)
{
    for (int i = 0; words != NULL && i < argc; i++) {
        explicit_bzero(words[i], strlen(words[i]));
        free(words[i]);
    }
    free(words);
}

/* mkfs is not where everybody looks for programs. */
static void
extend_path(void)
{
    const char *path = getenv("PATH");
    char *longer;

    if (asprintf(&longer, "%s:/usr/sbin:/sbin", path != NULL ? path : "/usr/bin:/bin") == -1)
        return;
    setenv("PATH", longer, 1);
    free(longer);
}

int
cmd_up(int argc, char **argv)
{
    struct up_command command = { .argc = argc, .file = -1, .loop.fd = -1 };
    const struct stack_rows rows = { up_rows, ARRAY_LEN(up_rows), &command.settings };
    char **words = calloc((size_t)argc + 1, sizeof *words);
    struct error why = { "" };
    int count = 0, rc;

    command.argv = copy_words(argc, argv);
    command.is_new = mmap(NULL, sizeof *command.is_new, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (command.argv == NULL || words == NULL || command.is_new == MAP_FAILED)
        return EXIT_FAILED;
    extend_path();
    signal(SIGCHLD, SIG_DFL); /* children that nobody waits for could not be waited for */
    rc = stack_parse(&command.stack, &rows, argc, argv, words, &count, &why);
    if (rc == 0 && command.stack.settings.help) {
        help();
    } else if (rc == 0) {
        log_level_max(command.stack.settings.quiet ? BD_WARNING : BD_INFO);
        interrupts_hold(&command.held, &command.before);
        rc = up(&command, words, count, &why);
        pthread_sigmask(SIG_SETMASK, &command.before, NULL);
    }
    if (rc != 0 && why.text[0] != '\0')
        log_line(BD_ERROR, "%s", why.text);
    wipe_words(argc, command.argv);
    locallock_release(command.lock);
    stack_close(&command.stack);
    munmap(command.is_new, sizeof *command.is_new);
    free(words);
    return cmd_status(rc);
}
