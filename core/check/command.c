/* SPDX-License-Identifier: Apache-2.0 */
/* Commands of a check: they do to a store what can only be done to it from outside. */
#include "impl.h"

#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

extern char **environ;

/* Standard output is standard error here: the parent's is TAP. */
static int
command_run(const char *command)
{
    const char *words[] = { "sh", "-c", command, NULL };
    posix_spawn_file_actions_t actions;
    int status = -1;
    pid_t pid;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    /* Its argv is not const by history alone. */
    if (posix_spawn(&pid, "/bin/sh", &actions, NULL, (char *const *)(uintptr_t)words, environ) == 0)
        waitpid(pid, &status, 0);
    posix_spawn_file_actions_destroy(&actions);
    return status;
}

/* NULL: it went well. */
static const char *
complaint_of(const char *command)
{
    const int status = command_run(command);

    if (status == -1)
        return "no shell can be run for";
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? NULL : "the command has failed";
}

void
check_command(struct check *check, const char *option, const char *command)
{
    const char *complaint = complaint_of(command);

    if (complaint != NULL)
        check_refuse(check, "--%s: %s: %s", option, complaint, command);
}

bool
check_command_try(struct check *check, const char *option, const char *command)
{
    const char *complaint = complaint_of(command);

    if (complaint != NULL)
        check_note(check, "--%s: %s: %s", option, complaint, command);
    return complaint == NULL;
}
