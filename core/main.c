/* SPDX-License-Identifier: Apache-2.0 */
/* The program: which command is meant. */
#include "base/log.h"
#include "base/program.h"
#include "base/secret.h"
#include "cmd/cmd.h"

#include <stdlib.h>
#include <string.h>

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
    for (size_t i = 0;
         argc > 1 && !program_is_s3backer() && i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(argv[1], commands[i].word) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    return cmd_mount(argc, argv);
}

int
main(int argc, char **argv)
{
    secret_protect_process();
    atexit(log_end); /* of a daemon that a command has begun, too */
    return run(argc, argv);
}
