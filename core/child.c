/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that a command runs and waits for. */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

bool
child_is_there(const char *program)
{
    const char *path = getenv("PATH");
    char *copy = strdup(path != NULL ? path : "/usr/sbin:/usr/bin:/sbin:/bin"), *rest = copy, *dir;
    char name[PATH_MAX];
    bool is_there = false;

    while (!is_there && (dir = strsep(&rest, ":")) != NULL)
        is_there = snprintf(name, sizeof name, "%s/%s", dir, program) < (int)sizeof name
                   && access(name, X_OK) == 0;
    free(copy);
    return is_there;
}

int
child_wait(pid_t child, const sigset_t *held)
{
    sigset_t ended, either, before;
    bool is_told = held == NULL;
    int status, number;
    pid_t got;

    sigemptyset(&ended);
    sigaddset(&ended, SIGCHLD);
    either = ended;
    if (held != NULL)
        sigorset(&either, held, &ended);
    pthread_sigmask(SIG_BLOCK, &ended, &before);
    while ((got = waitpid(child, &status, WNOHANG)) == 0) {
        if (sigwait(is_told ? &ended : &either, &number) != 0 || number == SIGCHLD)
            continue;
        is_told = true;
        kill(child, SIGTERM);
        raise(number);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (got == -1)
        return -errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int
child_run(const char *const *words, const sigset_t *held, bool is_quiet)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, usual;
    pid_t child;
    int rc;

    sigemptyset(&none);
    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &usual);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (is_quiet)
        posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    /* posix_spawn's argv is not const by history alone. */
    rc = -posix_spawnp(&child, words[0], &actions, &attributes, (char *const *)(uintptr_t)words,
                       environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return rc != 0 ? rc : child_wait(child, held);
}
