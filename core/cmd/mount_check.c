/* SPDX-License-Identifier: Apache-2.0 */
#include "mount_check.h"

#include "base/program.h"
#include "base/util.h"
#include "cmd.h"
#include "fuse.h"
#include "mirror.h"
#include "mountinfo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool
mount_has_directory(const char *word)
{
    struct stat st;

    return stat(word, &st) == 0 ? S_ISDIR(st.st_mode) : errno != ENOENT && errno != ENOTDIR;
}

static bool
is_mounted(const char *word)
{
    char *path = mountpoint_realpath(word);
    struct mountinfo info;
    bool is = path != NULL && mountinfo_at(path, &info);

    free(path);
    return is;
}

/* Who unmounts says so of what is mounted; a volume is mounted where nothing is. */
static bool
is_to_unmount(const char *command, const char *directory)
{
    return (strcmp(command, "umount") == 0 || strcmp(command, "down") == 0)
           && is_mounted(directory);
}

bool
mount_means_command(const char *command, const char *directory, bool may_have_place)
{
    return !mount_has_directory(directory) || !may_have_place || is_to_unmount(command, directory);
}

int
mount_tell_misspelt(const char *word, const char *near, struct error *why)
{
    return error_set(why, -EINVAL,
                     "there is no command \"%s\"; did you mean %s? A volume of that name is "
                     "mounted with bucketdisk mount %s DIRECTORY",
                     word, near, word);
}

/* Of two words that could be mounted, but for the first one's place.  A dead mount in the second is told of as such. */
static int
check_misspelt(char **words, bool has_place, struct error *why)
{
    const char *near = cmd_near(words[0]);
    struct stat st;

    if (near == NULL || !mount_has_directory(words[1])
        || !mount_means_command(near, words[1], has_place))
        return 0;
    if (stat(words[1], &st) != 0 && !is_to_unmount(near, words[1]))
        return 0;
    return mount_tell_misspelt(words[0], near, why);
}

int
mount_check_command(const struct stack *stack, char **words, int count, struct error *why)
{
    const struct settings *settings = &stack->settings;
    bool has_directory = count == 2 && mount_has_directory(words[1]);
    bool has_place;

    if (count == 0 || settings->erase || settings->reset_mounted_flag)
        return 0;
    /* With a size it may be a volume that is to be made. */
    has_place = settings->size != 0 || !stack_wants_path(stack) || mount_has_directory(words[0]);
    if (cmd_find(words[0]) == NULL)
        return count == 2 ? check_misspelt(words, has_place, why) : 0;
    if (count == 2 && !mount_means_command(words[0], words[1], has_place))
        return 0;
    return error_set(why, -EINVAL,
                     "a command comes before its options: say bucketdisk %s, and then the rest; "
                     "to mount a volume in \"%s\" it takes %s",
                     words[0], words[0],
                     !has_directory ? "one directory that is there, to mount it on"
                     : !has_place   ? "a directory of that name"
                                    : "a directory on which nothing is mounted");
}

void
mount_explain_option(int argc, char **argv, struct error *why)
{
    int i = 1;

    while (i < argc && (argv[i][0] == '-' || cmd_find(argv[i]) == NULL))
        i++;
    if (i < argc)
        error_set(why, 0, "%s; if \"%s\" is the command, it comes before its options",
                  strdupa(why->text), argv[i]);
}

int
mount_check_words(const struct settings *settings, char **words, int count, struct error *why)
{
    const char *instead = settings->erase                ? "--erase"
                          : settings->reset_mounted_flag ? "--reset-mounted-flag"
                                                         : NULL;
    int wanted = instead != NULL ? 1 : 2;

    if (settings->erase && settings->reset_mounted_flag)
        return error_set(why, -EINVAL,
                         "--erase removes the mount token, too: leave --reset-mounted-flag out");
    if (count == 0 && instead != NULL)
        return error_set(why, -EINVAL,
                         "where is the volume? usage: bucketdisk %s [options] LOCATION (--help "
                         "tells more)",
                         instead);
    if (count == 0)
        return error_set(why, -EINVAL,
                         "where is the volume, and where to mount it? usage: bucketdisk [options] "
                         "LOCATION MOUNTPOINT (--help tells more)");
    if (count < wanted)
        return error_set(
            why, -EINVAL,
            "where to mount it? after the volume's place, \"%s\", comes a "
            "mount point%s",
            words[0],
            program_is_s3backer() ? "" : "; if it was meant for a command, --help lists them");
    if (count > wanted)
        return error_set(why, -EINVAL, "too many words: what is \"%s\"? usage: bucketdisk %s",
                         words[wanted],
                         instead != NULL ? "[options] LOCATION" : "[options] LOCATION MOUNTPOINT");
    return 0;
}

int
mount_check_mountpoint(const char *word, char **out, struct error *why)
{
    struct stat st;

    *out = realpath(word, NULL);
    if (*out == NULL || stat(*out, &st) != 0)
        return error_set(why, -errno,
                         errno == ENOTCONN
                             ? "the mount point %s is a dead mount; unmount it first (umount %s)"
                             : "cannot use the mount point %s: %s",
                         word, errno == ENOTCONN ? word : strerror(errno));
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

static bool
is_type_name(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");

    return len > 0 && len <= 32 && name[len] == '\0';
}

/* Where several machines write there is no cache, and whatever is remembered of a block another one may have changed. */
static int
check_shared(const struct stack *stack, struct error *why)
{
    const struct settings *settings = &stack->settings;
    const struct {
        const char *option;
        uint64_t value;
    } caching[] = {
        { "cache-size", settings->cache_size },
        { "block-cache-size", settings->block_cache_size },
        { "block-cache-write-delay", settings->block_cache_write_delay_ms },
        { "block-cache-max-dirty", settings->block_cache_max_dirty },
        { "block-cache-timeout", settings->block_cache_timeout_ms },
        { "block-cache-num-protected", settings->block_cache_num_protected },
        { "read-ahead", settings->read_ahead },
        { "md5-cache-size", settings->md5_cache_size },
        { "block-cache-file", settings->block_cache_file != NULL },
    };

    for (size_t i = 0; i < ARRAY_LEN(caching); i++) {
        if (options_given(stack->options, caching[i].option) && caching[i].value != 0)
            return error_set(why, -EINVAL,
                             "--%s does not go with --sharedDiskMode, in which nothing is kept: "
                             "leave it out",
                             caching[i].option);
    }
    if (options_given(stack->options, "direct-io") && !settings->direct_io)
        return error_set(why, -EINVAL,
                         "--sharedDiskMode goes round the kernel's page cache: leave "
                         "--direct-io=no out");
    return 0;
}

/* The word alone says nothing, and who gives it believes that it does. */
static int
check_file_settings(const struct stack *stack, struct error *why)
{
    static const char *const of_the_file[] = { "cache-file-size", "max-unsent-age" };
    const struct settings *settings = &stack->settings;

    if (settings->block_cache_file != NULL && settings->block_cache_file[0] == '\0')
        return error_set(why, -EINVAL,
                         "--block-cache-file names no file; give a name, or leave it out");
    if (settings->spill_directory != NULL && settings->spill_directory[0] == '\0')
        return error_set(why, -EINVAL,
                         "--spill-directory names no directory; give a name, or leave it out");
    if (settings->durability == DURABILITY_CACHE && settings->block_cache_file == NULL)
        return error_set(why, -EINVAL, "--durability=cache needs --block-cache-file");
    if (settings->durability == DURABILITY_CACHE && settings->read_only)
        return error_set(why, -EINVAL,
                         "--durability=cache does not go with --read-only, which writes nothing: "
                         "leave one out");
    for (size_t i = 0; i < ARRAY_LEN(of_the_file) && settings->block_cache_file == NULL; i++) {
        if (options_given(stack->options, of_the_file[i]))
            return error_set(why, -EINVAL, "--%s needs --block-cache-file", of_the_file[i]);
    }
    return 0;
}

static int
check_cache_settings(const struct stack *stack, struct error *why)
{
    const struct settings *settings = &stack->settings;

    if (options_given(stack->options, "block-cache-size")
        && options_given(stack->options, "cache-size") && settings->block_cache_file == NULL)
        return error_set(why, -EINVAL,
                         "--cache-size (bytes) and --blockCacheSize (blocks) say the same thing; "
                         "leave one out");
    if (options_given(stack->options, "block-cache-size") && settings->block_cache_size > 0
        && options_given(stack->options, "cache-file-size"))
        return error_set(why, -EINVAL,
                         "--cache-file-size (bytes) and --blockCacheSize (blocks) say the same "
                         "thing of the cache file; leave one out");
    if (settings->block_cache_recover_dirty_blocks && settings->block_cache_discard_dirty_blocks)
        return error_set(
            why, -EINVAL,
            "--block-cache-recover-dirty-blocks and --block-cache-discard-dirty-blocks "
            "are opposites; leave one out");
    if (settings->block_cache_sync && options_given(stack->options, "block-cache-write-delay")
        && settings->block_cache_write_delay_ms != 0)
        return error_set(why, -EINVAL, "--blockCacheSync needs --blockCacheWriteDelay=0");
    return 0;
}

int
mount_check_settings(const struct stack *stack, struct error *why)
{
    const struct settings *settings = &stack->settings;

    if (!is_file_name(settings->filename))
        return error_set(why, -EINVAL,
                         "--filename=%s is not a name for a file; give one without a slash",
                         settings->filename);
    if (settings->stats_filename[0] != '\0' && !is_file_name(settings->stats_filename))
        return error_set(why, -EINVAL,
                         "--statsFilename=%s is not a name for a file; give one without a slash",
                         settings->stats_filename);
    if (strcmp(settings->filename, settings->stats_filename) == 0)
        return error_set(
            why, -EINVAL,
            "--filename and --statsFilename are both \"%s\"; give one of them another name",
            settings->filename);
    if (strncmp(settings->filename, settings->stats_filename, strlen(settings->stats_filename)) == 0
        && settings->stats_filename[0] != '\0'
        && strcmp(settings->filename + strlen(settings->stats_filename), STATS_JSON_SUFFIX) == 0)
        return error_set(why, -EINVAL,
                         "--filename=%s is the name of the statistics as JSON; give another one",
                         settings->filename);
    if (settings->stats_filename[0] != '\0'
        && (strcmp(settings->filename, METRICS_NAME) == 0
            || strcmp(settings->stats_filename, METRICS_NAME) == 0))
        return error_set(
            why, -EINVAL,
            "%s=" METRICS_NAME " is the name of the statistics for Prometheus; give another one",
            strcmp(settings->filename, METRICS_NAME) == 0 ? "--filename" : "--statsFilename");
    if (settings->stats_file_mirror != NULL && settings->stats_file_mirror[0] == '\0')
        return error_set(why, -EINVAL,
                         "--statsFileMirror names no file; give a name, or leave it out");
    if (settings->stats_file_mirror == NULL
        && options_given(stack->options, "stats-file-mirror-interval"))
        return error_set(why, -EINVAL, "--statsFileMirrorInterval needs --statsFileMirror");
    if (settings->fsname != NULL && settings->fsname[0] == '\0')
        return error_set(why, -EINVAL, "-o fsname is empty; give a name, or leave it out");
    if (settings->subtype != NULL && !is_type_name(settings->subtype))
        return error_set(why, -EINVAL, "-o subtype=%s: letters, digits, '-' and '_' make a type",
                         settings->subtype);
    if (settings->file_mode > 0777)
        return error_set(why, -EINVAL, "--fileMode=%o is not a file mode", settings->file_mode);
    if (settings->shared_disk_mode && check_shared(stack, why) != 0)
        return -EINVAL;
    if (check_file_settings(stack, why) != 0)
        return -EINVAL;
    return check_cache_settings(stack, why);
}

/* `what` is at `top`, which is absolute and free of links. */
static int
check_not_below(const struct settings *settings, const char *top, const char *what,
                struct error *why)
{
    const struct {
        const char *option, *path;
    } places[] = {
        { "block-cache-file", settings->block_cache_file },
        { "spill-directory", settings->spill_directory },
        { "stats-file-mirror", settings->stats_file_mirror },
    };

    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        if (places[i].path != NULL && path_is_below(places[i].path, top))
            return error_set(why, -EINVAL, "--%s=%s is below %s; give a place outside of it",
                             places[i].option, places[i].path, what);
    }
    return 0;
}

/* What the disk shall survive with must not be on the disk. */
int
mount_check_local_files(const struct settings *settings, const char *mountpoint, struct error *why)
{
    int rc = check_not_below(settings, mountpoint, "the mount point", why);

    if (rc != 0 || settings->stats_file_mirror == NULL)
        return rc;
    if (settings->block_cache_file != NULL
        && strcmp(settings->block_cache_file, settings->stats_file_mirror) == 0)
        return error_set(
            why, -EINVAL,
            "--statsFileMirror and --blockCacheFile are both \"%s\"; give one of them another name",
            settings->block_cache_file);
    return mirror_check(settings->stats_file_mirror, why);
}

/* Every name there is an object's. */
int
mount_check_store_place(const struct stack *stack, struct error *why)
{
    char *top = stack->place != NULL ? realpath(stack->place, NULL) : NULL;
    int rc = top != NULL
                 ? check_not_below(&stack->settings, top, "the directory that is the store", why)
                 : 0;

    free(top);
    return rc;
}
