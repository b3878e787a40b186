/* SPDX-License-Identifier: Apache-2.0 */
/* The program: which command is meant. */
#include "base/log.h"
#include "base/options.h"
#include "base/program.h"
#include "base/secret.h"
#include "cmd/cmd.h"
#include "cmd/mount_check.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* What s3backer takes beside one word alone. */
static bool
wants_no_directory(const char *option)
{
    const char *name = option + strspn(option, "-");

    return options_name_is(name, strlen(name), "erase")
           || options_name_is(name, strlen(name), "reset-mounted-flag");
}

/* A volume may have any name, also one that looks like a command's. */
static bool
is_misspelt(int argc, char **argv)
{
    const char *near = cmd_near(argv[1]);

    if (argv[1][0] == '-' || near == NULL)
        return false;
    for (int i = 2; i < argc; i++) {
        if (argv[i][0] != '-' && mount_has_directory(argv[i]))
            return mount_means_command(near, argv[i], true);
        if (argv[i][0] == '-' && wants_no_directory(argv[i]))
            return false;
    }
    return true;
}

static int
run(int argc, char **argv)
{
    const char *name = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const struct cmd_word *command;
    struct error why = { "" };

    name = name != NULL ? name + 1 : argc > 0 ? argv[0] : "";
    if (strncmp(name, "umount.", 7) == 0)
        return cmd_umount(argc, argv);
    if (strncmp(name, "mount.", 6) == 0)
        return cmd_helper(argc, argv);
    program_set_name(argc > 0 ? argv[0] : NULL);
    /* To s3backer any of these words would be a bucket. */
    if (argc < 2 || program_is_s3backer())
        return cmd_mount(argc, argv);
    command = cmd_find(argv[1]);
    if (command != NULL)
        return command->run(argc - 1, argv + 1);
    if (!is_misspelt(argc, argv))
        return cmd_mount(argc, argv);
    mount_tell_misspelt(argv[1], cmd_near(argv[1]), &why);
    log_line(BD_ERROR, "%s", why.text);
    return EXIT_FAILED;
}

int
main(int argc, char **argv)
{
    program_keep_streams();
    secret_protect_process();
    atexit(log_end); /* of a daemon that a command has begun, too */
    return run(argc, argv);
}
