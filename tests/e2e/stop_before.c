/* SPDX-License-Identifier: Apache-2.0 */
/* To be preloaded: stops the process right before a system call that changes something in a store, once.
 *
 * The file that STOP_WHEN names says before which call: "renameat", "unlinkat", "connect", or what a "send" begins with
 * ("DELETE /", "POST /"), or "bytes" for a send of as many as a block has.  Whoever stops removes the file.  Calls for control
 * objects and for what is no object do not count. */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BLOCK_BYTES 4096

static void *
real(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

/* What is waited for, if the file is there. */
static bool
is_wanted(char *wanted, size_t bytes)
{
    const char *path = getenv("STOP_WHEN");
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd == -1 ? -1 : read(fd, wanted, bytes - 1);

    if (fd != -1)
        close(fd);
    wanted[got > 0 ? got : 0] = '\0';
    return got > 0;
}

/* Not kill(), whose signal another thread might take while this one goes on. */
static void
stop(void)
{
    int (*unlink_now)(const char *path) = (int (*)(const char *))real("unlink");

    if (unlink_now(getenv("STOP_WHEN")) == 0)
        syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), SIGSTOP);
}

static bool
is_block(const char *name)
{
    const char *slash = strrchr(name, '/');

    name = slash != NULL ? slash + 1 : name;
    return strspn(name, "0123456789abcdef") >= 8;
}

int
renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    int (*next)(int, const char *, int, const char *) =
        (int (*)(int, const char *, int, const char *))real("renameat");
    char wanted[32];

    if (is_block(to) && is_wanted(wanted, sizeof wanted) && strcmp(wanted, "renameat") == 0)
        stop();
    return next(from_fd, from, to_fd, to);
}

int
unlinkat(int fd, const char *name, int flags)
{
    int (*next)(int, const char *, int) = (int (*)(int, const char *, int))real("unlinkat");
    char wanted[32];

    if (is_block(name) && is_wanted(wanted, sizeof wanted) && strcmp(wanted, "unlinkat") == 0)
        stop();
    return next(fd, name, flags);
}

int
connect(int fd, const struct sockaddr *address, socklen_t bytes)
{
    int (*next)(int, const struct sockaddr *, socklen_t) =
        (int (*)(int, const struct sockaddr *, socklen_t))real("connect");
    char wanted[32];

    if (address->sa_family == AF_INET && is_wanted(wanted, sizeof wanted)
        && strcmp(wanted, "connect") == 0)
        stop();
    return next(fd, address, bytes);
}

ssize_t
send(int fd, const void *data, size_t bytes, int flags)
{
    ssize_t (*next)(int, const void *, size_t, int) =
        (ssize_t(*)(int, const void *, size_t, int))real("send");
    char wanted[32], line[256];

    if (!is_wanted(wanted, sizeof wanted))
        return next(fd, data, bytes, flags);
    /* "PUT /bucket/00000005?... HTTP/1.1"; several are deleted by a POST. */
    snprintf(line, sizeof line, "%.*s", bytes < sizeof line ? (int)bytes : (int)sizeof line - 1,
             (const char *)data);
    if (strncmp(line, wanted, strlen(wanted)) == 0) {
        line[strlen(wanted) + strcspn(line + strlen(wanted), "? ")] = '\0';
        if (is_block(line) || strncmp(line, "POST", 4) == 0)
            stop();
    } else if (strcmp(wanted, "bytes") == 0 && bytes >= BLOCK_BYTES) {
        stop();
    }
    return next(fd, data, bytes, flags);
}
