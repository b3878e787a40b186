/* SPDX-License-Identifier: Apache-2.0 */
/* A question that is answered with yes or no. */
#include "confirm.h"

#include "base/interrupts.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

int
confirm(const char *question, enum confirm_by by, bool *is_yes, struct error *why)
{
    struct pollfd waited[] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .events = POLLIN } };
    sigset_t held, before;
    char answer[64];
    bool is_terminal = isatty(STDIN_FILENO), is_answer;
    struct stat st;
    ssize_t bytes = 0;
    int rc = 0;

    is_answer = fstat(STDIN_FILENO, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISREG(st.st_mode));
    if (!is_terminal && (by == CONFIRM_BY_TERMINAL || !is_answer))
        return -ENOTTY;
    interrupts_hold(&held, &before);
    waited[1].fd = signalfd(-1, &held, SFD_CLOEXEC);
    if (write(STDERR_FILENO, question, strlen(question)) == -1)
        rc = error_set(why, -errno, "cannot ask: %s", strerror(errno));
    while (rc == 0 && poll(waited, 2, -1) == -1 && errno == EINTR)
        ;
    if (rc == 0 && waited[1].revents != 0)
        rc = error_set(why, -EINTR, "interrupted; nothing was changed");
    else if (rc == 0)
        bytes = read(STDIN_FILENO, answer, sizeof answer - 1);
    if (!is_terminal && write(STDERR_FILENO, "\n", 1) == 1 && rc == 0 && bytes <= 0)
        rc = -ENOTTY;
    answer[bytes > 0 ? bytes : 0] = '\0';
    answer[strcspn(answer, "\r\n")] = '\0';
    *is_yes = strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0;
    if (waited[1].fd != -1)
        close(waited[1].fd);
    pthread_sigmask(SIG_SETMASK, &before, NULL); /* a signal that came is served now */
    return rc;
}
