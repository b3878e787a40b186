/* SPDX-License-Identifier: Apache-2.0 */
/* Where a passphrase comes from.  Nothing here goes through stdio, whose buffers would keep it. */
#include "passphrase.h"

#include "base/interrupts.h"
#include "base/secret.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/types.h>
#include <termios.h>
#include <unistd.h>

static_assert(KEY_FILE_BYTES_MAX > PASSPHRASE_BYTES_MAX, "READ_BYTES holds either");
#define READ_BYTES (KEY_FILE_BYTES_MAX + 1) /* one to see that it is longer, or the LF */

/* All there is, but no more than READ_BYTES; of a terminal or pipe no more than the line. */
static int
read_some(int fd, bool is_line, const char *from, struct passphrase *out, struct error *why)
{
    out->data = secret_alloc(READ_BYTES);
    out->bytes = 0;
    if (out->data == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    while (out->bytes < READ_BYTES) {
        uint8_t *at = (uint8_t *)out->data + out->bytes;
        ssize_t got = read(fd, at, READ_BYTES - out->bytes);

        if (got == -1 && errno == EINTR)
            continue;
        if (got == -1)
            return error_set(why, -errno, "cannot read the password from %s: %s", from,
                             strerror(errno));
        out->bytes += (size_t)got;
        if (got == 0 || (is_line && memchr(at, '\n', (size_t)got) != NULL))
            break;
    }
    return 0;
}

static int
cut_line(const char *from, struct passphrase *line, struct error *why)
{
    const uint8_t *end = memchr(line->data, '\n', line->bytes);
    size_t bytes = end != NULL ? (size_t)(end - (const uint8_t *)line->data) : line->bytes;

    explicit_bzero((uint8_t *)line->data + bytes, READ_BYTES - bytes);
    line->bytes = bytes;
    if (memchr(line->data, '\0', bytes) != NULL)
        return error_set(why, -EINVAL, "the password from %s holds a zero byte", from);
    return 0;
}

/* Gives *out. */
static int
read_password(int fd, bool is_line, const char *from, struct passphrase *out, struct error *why)
{
    unsigned bytes_max = is_line ? PASSPHRASE_BYTES_MAX : KEY_FILE_BYTES_MAX;
    int rc = read_some(fd, is_line, from, out, why);

    if (rc == 0 && is_line)
        rc = cut_line(from, out, why);
    if (rc == 0 && out->bytes == 0)
        rc = error_set(why, -EINVAL, "the password from %s is empty", from);
    if (rc == 0 && out->bytes > bytes_max)
        rc = error_set(why, -EINVAL, "the password from %s is longer than %u bytes", from,
                       bytes_max);
    if (rc != 0)
        passphrase_clear(out);
    return rc;
}

static bool
is_given(const char *option)
{
    return option != NULL && option[0] != '\0';
}

static int
copy_password(const char *password, struct passphrase *out, struct error *why)
{
    out->bytes = strlen(password);
    out->data = secret_alloc(out->bytes);
    if (out->data == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    memcpy(out->data, password, out->bytes);
    return 0;
}

int
passphrase_given(const struct passphrase_options *options, struct passphrase *out,
                 struct error *why)
{
    bool has_password = is_given(options->password), has_file = is_given(options->password_file);
    bool has_key_file = is_given(options->key_file);
    const char *path = has_key_file ? options->key_file : options->password_file;
    const char *kind = options->kind != NULL ? options->kind : "";
    int fd, rc;

    *out = (struct passphrase){ NULL, 0 };
    if (has_password + has_file + has_key_file > 1)
        return error_set(why, -EINVAL,
                         "--%spassword, --%spassword-file and --%skey-file say the same thing; "
                         "leave all but one out",
                         kind, kind, kind);
    if (has_password)
        return copy_password(options->password, out, why);
    if (!has_file && !has_key_file)
        return 0;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd == -1)
        return error_set(why, -errno, "--%s%s: cannot read %s: %s", kind,
                         has_key_file ? "key-file" : "password-file", path, strerror(errno));
    rc = read_password(fd, has_file, path, out, why);
    close(fd);
    return rc;
}

void
passphrase_clear(struct passphrase *passphrase)
{
    secret_free(passphrase->data);
    *passphrase = (struct passphrase){ NULL, 0 };
}

struct bd_bytes
passphrase_bytes(const struct passphrase *passphrase)
{
    return (struct bd_bytes){ passphrase->data, passphrase->bytes };
}

struct bd_bytes
passphrase_text(const char *text)
{
    return (struct bd_bytes){ text, strlen(text) };
}

/* Whoever is interrupted leaves the terminal as it was: so signals that end or stop the process are held, and only
 * looked for, until that is done. */
static int
hold_signals(sigset_t *before)
{
    sigset_t held, stop;

    interrupts_hold(&held, before);
    sigemptyset(&stop);
    sigaddset(&stop, SIGTSTP);
    pthread_sigmask(SIG_BLOCK, &stop, NULL);
    sigaddset(&held, SIGTSTP);
    return signalfd(-1, &held, SFD_CLOEXEC);
}

static int
read_unless_signalled(int signals, struct passphrase *out, struct error *why)
{
    struct pollfd waited[] = { { .fd = STDIN_FILENO, .events = POLLIN },
                               { .fd = signals, .events = POLLIN } };

    while (poll(waited, 2, -1) == -1 && errno == EINTR)
        ;
    if (waited[1].revents != 0)
        return error_set(why, -EINTR, "no password was given");
    return read_password(STDIN_FILENO, true, "the terminal", out, why);
}

int
passphrase_ask(const char *prompt, struct passphrase *out, struct error *why)
{
    struct termios usual, silent;
    sigset_t before;
    int rc, signals;

    *out = (struct passphrase){ NULL, 0 };
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

int
passphrase_ask_new(const char *prompt, struct passphrase *out, struct error *why)
{
    struct passphrase again = { NULL, 0 };
    int rc = passphrase_ask(prompt, out, why);

    if (rc == 0)
        rc = passphrase_ask("Again: ", &again, why);
    if (rc == 0 && (out->bytes != again.bytes || memcmp(out->data, again.data, again.bytes) != 0))
        rc = error_set(why, -EINVAL, "these are two different passwords; nothing was changed");
    passphrase_clear(&again);
    if (rc != 0)
        passphrase_clear(out);
    return rc;
}
