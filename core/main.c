/* SPDX-License-Identifier: Apache-2.0 */
/* The program: which command is meant. */
#include "base/log.h"
#include "base/program.h"
#include "base/secret.h"
#include "base/spelling.h"
#include "base/util.h"
#include "cmd/cmd.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct {
    const char *word;
    int (*run)(int argc, char **argv);
} commands[] = {
    { "mount", cmd_mount }, { "umount", cmd_umount },   { "info", cmd_info },
    { "list", cmd_list },   { "check", cmd_check },     { "erase", cmd_erase },
    { "reset", cmd_reset }, { "key", cmd_key },         { "takeover", cmd_takeover },
    { "probe", cmd_probe }, { "plugins", cmd_plugins }, { "up", cmd_up },
    { "down", cmd_down },   { "plugin", cmd_plugin },   { "copy", cmd_copy },
};

/* The command that somebody may have meant by this word; NULL: none is near. */
static const char *
command_near(const char *word)
{
    const size_t len = strlen(word);
    size_t best = spelling_slip_max(len) + 1;
    const char *nearest = NULL;

    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        size_t distance = spelling_distance(word, len, commands[i].word, strlen(commands[i].word));

        if (distance < best && distance < len) {
            best = distance;
            nearest = commands[i].word;
        }
    }
    return nearest;
}

/* A volume may have any name, also one that looks like a command's; but it is mounted on a directory that is there. */
static bool
is_misspelt(int argc, char **argv)
{
    struct stat status;

    if (argv[1][0] == '-' || command_near(argv[1]) == NULL)
        return false;
    for (int i = 2; i < argc; i++) {
        if (argv[i][0] != '-' && stat(argv[i], &status) == 0 && S_ISDIR(status.st_mode))
            return false;
    }
    return true;
}

static int
run(int argc, char **argv)
{
    const char *name = argc > 0 ? strrchr(argv[0], '/') : NULL;

    name = name != NULL ? name + 1 : argc > 0 ? argv[0] : "";
    if (strncmp(name, "umount.", 7) == 0)
        return cmd_umount(argc, argv);
    if (strncmp(name, "mount.", 6) == 0)
        return cmd_helper(argc, argv);
    program_set_name(argc > 0 ? argv[0] : NULL);
    /* To s3backer any of these words would be a bucket. */
    if (argc < 2 || program_is_s3backer())
        return cmd_mount(argc, argv);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(argv[1], commands[i].word) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    if (!is_misspelt(argc, argv))
        return cmd_mount(argc, argv);
    log_line(BD_ERROR,
             "there is no command \"%s\"; did you mean %s? A volume of that name is mounted with "
             "bucketdisk mount %s DIRECTORY",
             argv[1], command_near(argv[1]), argv[1]);
    return EXIT_FAILED;
}

int
main(int argc, char **argv)
{
    secret_protect_process();
    atexit(log_end); /* of a daemon that a command has begun, too */
    return run(argc, argv);
}
