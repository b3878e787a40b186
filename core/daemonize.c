/* SPDX-License-Identifier: Apache-2.0 */
#include "daemonize.h"

#include "base/interrupts.h"
#include "base/log.h"
#include "base/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define INTERRUPTED_MS 2000

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

const char *
process_protect(void)
{
    static const char *const refused[2][2] = {
        { "PR_SET_IO_FLUSHER and oom_score_adj", "PR_SET_IO_FLUSHER" },
        { "oom_score_adj", NULL },
    };
    bool has_flusher = prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) == 0;
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    bool has_score = fd != -1 && write(fd, "-900", 4) == 4;

    if (fd != -1)
        close(fd);
    return refused[has_flusher][has_score];
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
    _exit(read(ready_fd, &status, 1) == 1 ? status : EXIT_FAILURE);
}

int
daemonize(int *ready_fd)
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
    /* When nothing could be passed on any more. */
    if (prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) != 0 || getppid() != parent)
        _exit(EXIT_FAILURE);
    *ready_fd = pipe_fds[1];
    return 0;
}

void
daemon_outlive_parent(void)
{
    prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
}

void
daemon_leave_terminal(int ready_fd)
{
    const char status = EXIT_SUCCESS;
    int null;

    log_to_syslog(program_name());
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
    if (write(ready_fd, &status, 1) != 1)
        log_line(BD_WARNING, "nobody waited for the mount");
    close(ready_fd);
}
