/* SPDX-License-Identifier: Apache-2.0 */
/* A credential_process: a command of the user's, run by the shell, that writes JSON.
 *
 * It has a process group of its own, so that all of it can be ended when it takes too long.
 * What it writes to standard error goes where ours goes, and never to the log: it may be
 * anything. */
#include "credentials_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT_MS 60000u
#define OUTPUT_BYTES_MAX (64u << 10)
#define NS_PER_MS 1000000u

extern char **environ;

/* 0 or an errno. */
static int
spawn(const char *command, int output, pid_t *pid)
{
    char shell[] = "sh", flag[] = "-c";
    /* posix_spawn does not change them. */
    char *argv[] = { shell, flag, (char *)(uintptr_t)command, NULL };
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, all;
    int rc;

    /* Our threads block all signals, and the daemon ignores some. */
    sigemptyset(&none);
    sigfillset(&all);
    rc = posix_spawn_file_actions_init(&actions);
    if (rc != 0)
        return rc;
    rc = posix_spawnattr_init(&attr);
    if (rc != 0)
        goto destroy_actions;
    rc = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK
                                             | POSIX_SPAWN_SETSIGDEF);
    if (rc == 0)
        rc = posix_spawnattr_setsigmask(&attr, &none);
    if (rc == 0)
        rc = posix_spawnattr_setsigdefault(&attr, &all);
    if (rc == 0)
        rc = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    if (rc == 0) /* libcurl's sockets are not close-on-exec */
        rc = posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    if (rc == 0)
        rc = posix_spawn(pid, "/bin/sh", &actions, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
destroy_actions:
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

/* Wait until the descriptor is readable (-1: for `wait_ms`), the deadline, or the end of
 * all.  False with the reason in `why`. */
static bool
await(const struct lookup *lookup, int fd, uint64_t deadline_ns, unsigned wait_ms, const char **why)
{
    struct pollfd fds[] = { { .fd = lookup->cancel_fd, .events = POLLIN },
                            { .fd = fd, .events = POLLIN } };
    uint64_t now_ns = lookup->host->now_ns();
    uint64_t left_ms = now_ns >= deadline_ns ? 0 : (deadline_ns - now_ns) / NS_PER_MS + 1;

    if (left_ms == 0) {
        *why = "took too long";
        return false;
    }
    if (poll(fds, 2, (int)(left_ms < wait_ms ? left_ms : wait_ms)) > 0 && fds[0].revents != 0) {
        *why = "was ended, as we end";
        return false;
    }
    return true;
}

/* Everything up to the end of its output. */
static bool
read_output(const struct lookup *lookup, int fd, uint64_t deadline_ns, struct secret *out,
            const char **why)
{
    for (;;) {
        ssize_t got;

        if (!await(lookup, fd, deadline_ns, LIMIT_MS, why))
            return false;
        if (!secret_reserve(out, 4096)) {
            *why = "wrote more than there is memory";
            return false;
        }
        got = read(fd, out->text + out->bytes, 4096); /* does not block: O_NONBLOCK */
        if (got == 0)
            return true;
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got < 0) {
            *why = "cannot be read from";
            return false;
        }
        out->bytes += (size_t)got;
        out->text[out->bytes] = '\0';
        if (out->bytes > OUTPUT_BYTES_MAX) {
            *why = "wrote too much";
            return false;
        }
    }
}

/* Reap it; it may live on after it has closed its output. */
static bool
reap(const struct lookup *lookup, pid_t pid, uint64_t deadline_ns, int *status, const char **why)
{
    for (;;) {
        pid_t ended = waitpid(pid, status, WNOHANG);

        if (ended == pid)
            return true;
        if (ended < 0 && errno == ECHILD) { /* SIGCHLD is ignored: the kernel reaped it */
            *status = 0;
            return true;
        }
        if (!await(lookup, -1, deadline_ns, 20, why))
            return false;
    }
}

static void
end(pid_t pid)
{
    kill(-pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

enum bd_status
process_run(struct lookup *lookup, const char *command, struct secret *out)
{
    uint64_t deadline_ns = lookup->host->now_ns() + (uint64_t)LIMIT_MS * NS_PER_MS;
    const char *why = NULL;
    int pipes[2], rc, status = 0;
    pid_t pid;

    if (pipe2(pipes, O_CLOEXEC) != 0)
        return lookup_failed(lookup, BD_RETRY, "cannot be run: %s", strerror(errno));
    rc = spawn(command, pipes[1], &pid);
    close(pipes[1]);
    if (rc != 0) {
        close(pipes[0]);
        return lookup_failed(lookup, BD_RETRY, "cannot be run: %s", strerror(rc));
    }
    fcntl(pipes[0], F_SETFL, O_NONBLOCK);
    if (!read_output(lookup, pipes[0], deadline_ns, out, &why)
        || !reap(lookup, pid, deadline_ns, &status, &why))
        end(pid);
    close(pipes[0]);
    if (why != NULL)
        return lookup_failed(lookup, BD_DENIED, "%s", why);
    if (WIFSIGNALED(status))
        return lookup_failed(lookup, BD_DENIED, "ended by signal %d", WTERMSIG(status));
    if (WEXITSTATUS(status) != 0)
        return lookup_failed(lookup, BD_DENIED, "ended with status %d", WEXITSTATUS(status));
    return BD_OK;
}
