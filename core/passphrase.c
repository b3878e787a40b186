/* SPDX-License-Identifier: Apache-2.0 */
/* Where a passphrase comes from.  Nothing here goes through stdio, whose buffers would keep it. */
#include "passphrase.h"

#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/types.h>
#include <termios.h>
#include <unistd.h>

#define LINE_BYTES                                                                                 \
    (PASSPHRASE_BYTES_MAX + 2) /* the LF, or one to see that it is longer; and a NUL */

/* The first line of fd.  Gives *out. */
static int
read_line(int fd, const char *from, char **out, struct error *why)
{
    char *line = secret_alloc(LINE_BYTES), *end = NULL;
    size_t len = 0;
    int rc = 0;

    if (line == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    while (end == NULL && len < LINE_BYTES - 1) {
        ssize_t got = read(fd, line + len, LINE_BYTES - 1 - len);

        if (got == -1 && errno == EINTR)
            continue;
        if (got == -1)
            rc = error_set(why, -errno, "cannot read the password from %s: %s", from,
                           strerror(errno));
        if (got <= 0)
            break;
        end = memchr(line + len, '\n', (size_t)got);
        len += (size_t)got;
    }
    if (end != NULL)
        len = (size_t)(end - line);
    if (rc == 0 && len == 0)
        rc = error_set(why, -EINVAL, "the password from %s is empty", from);
    if (rc == 0 && len > PASSPHRASE_BYTES_MAX)
        rc = error_set(why, -EINVAL, "the password from %s is longer than %u bytes", from,
                       PASSPHRASE_BYTES_MAX);
    if (rc == 0 && memchr(line, '\0', len) != NULL)
        rc = error_set(why, -EINVAL, "the password from %s holds a zero byte", from);
    if (rc != 0) {
        secret_free(line);
        return rc;
    }
    explicit_bzero(line + len, LINE_BYTES - len);
    *out = line;
    return 0;
}

int
passphrase_given(const char *password, const char *file, char **out, struct error *why)
{
    int fd, rc;

    *out = NULL;
    if (password != NULL && password[0] != '\0' && file != NULL && file[0] != '\0')
        return error_set(why, -EINVAL,
                         "--password and --password-file say the same thing; leave one out");
    if (password != NULL && password[0] != '\0') {
        *out = secret_alloc(strlen(password) + 1);
        if (*out == NULL)
            return error_set(why, -ENOMEM, "out of memory");
        strcpy(*out, password);
        return 0;
    }
    if (file == NULL || file[0] == '\0')
        return 0;
    fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd == -1)
        return error_set(why, -errno, "--password-file: cannot read %s: %s", file, strerror(errno));
    rc = read_line(fd, file, out, why);
    close(fd);
    return rc;
}

/* Whoever is interrupted leaves the terminal as it was: so signals that end or stop the process are held, and only
 * looked for, until that is done. */
static int
hold_signals(sigset_t *before)
{
    sigset_t held;

    sigemptyset(&held);
    sigaddset(&held, SIGHUP);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGQUIT);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGTSTP);
    pthread_sigmask(SIG_BLOCK, &held, before);
    return signalfd(-1, &held, SFD_CLOEXEC);
}

static int
read_unless_signalled(int signals, char **out, struct error *why)
{
    struct pollfd waited[] = { { .fd = STDIN_FILENO, .events = POLLIN },
                               { .fd = signals, .events = POLLIN } };

    while (poll(waited, 2, -1) == -1 && errno == EINTR)
        ;
    if (waited[1].revents != 0)
        return error_set(why, -EINTR, "no password was given");
    return read_line(STDIN_FILENO, "the terminal", out, why);
}

int
passphrase_ask(const char *prompt, char **out, struct error *why)
{
    struct termios usual, silent;
    sigset_t before;
    int rc, signals;

    *out = NULL;
    if (tcgetattr(STDIN_FILENO, &usual) != 0)
        return -ENOTTY;
    silent = usual;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    silent.c_lflag |= ICANON | ECHONL;
    signals = hold_signals(&before);
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent) != 0)
        rc = -ENOTTY;
    else if (write(STDERR_FILENO, prompt, strlen(prompt)) == -1)
        rc = error_set(why, -errno, "cannot ask for the password: %s", strerror(errno));
    else
        rc = read_unless_signalled(signals, out, why);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &usual);
    if (signals != -1)
        close(signals);
    pthread_sigmask(SIG_SETMASK, &before, NULL); /* a signal that came is served now */
    return rc;
}
