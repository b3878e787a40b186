/* SPDX-License-Identifier: Apache-2.0 */
/* A copy of the statistics in an ordinary file. */
#include "mirror.h"

#include "base/clock.h"
#include "base/cond.h"
#include "base/log.h"
#include "s3backer_stats.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STOP_NS (5 * NS_PER_S) /* so long the volume waits for a file that does not answer */
#define STOP_LOOKS 50

struct mirror {
    struct stats *stats; /* these: fixed after mirror_start */
    char *path, *new_path;
    uint64_t interval_ms;
    pthread_t thread;

    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t wake;
    bool is_stopping, has_ended;
    bool has_failed; /* the last copy; the thread's alone */
};

static int
write_all(int fd, const char *text)
{
    size_t len = strlen(text);

    while (len > 0) {
        ssize_t n = write(fd, text, len);

        if (n == -1 && errno != EINTR)
            return -errno;
        if (n > 0) {
            text += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

/* Always a new one: what is there may be a FIFO, or have another name elsewhere.  A file there is what somebody has left who died. */
static int
new_file(const char *path)
{
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    int fd = open(path, flags, 0644);
    struct stat st;

    if (fd == -1 && errno == EEXIST && lstat(path, &st) == 0 && S_ISREG(st.st_mode)
        && unlink(path) == 0)
        fd = open(path, flags, 0644);
    return fd;
}

/* Who reads the file finds one copy or the other, never a part. */
static int
copy(const struct mirror *mirror)
{
    char *text = s3backer_stats_text(mirror->stats);
    int fd, rc;

    if (text == NULL)
        return -ENOMEM;
    fd = new_file(mirror->new_path);
    rc = fd == -1 ? -errno : write_all(fd, text);
    if (fd != -1 && close(fd) != 0 && rc == 0)
        rc = -errno;
    if (rc == 0 && rename(mirror->new_path, mirror->path) != 0)
        rc = -errno;
    if (rc != 0 && fd != -1)
        unlink(mirror->new_path);
    free(text);
    return rc;
}

static void
note(struct mirror *mirror, int rc)
{
    if (rc != 0 && !mirror->has_failed)
        log_line(BD_WARNING, "cannot write the statistics to %s: %s", mirror->path, strerror(-rc));
    mirror->has_failed = rc != 0;
}

static void *
run(void *arg)
{
    struct mirror *mirror = arg;

    pthread_mutex_lock(&mirror->lock);
    while (!mirror->is_stopping) {
        cond_wait_ns(&mirror->wake, &mirror->lock, mirror->interval_ms * NS_PER_MS);
        pthread_mutex_unlock(&mirror->lock);
        note(mirror, copy(mirror));
        pthread_mutex_lock(&mirror->lock);
    }
    mirror->has_ended = true;
    pthread_cond_signal(&mirror->wake);
    pthread_mutex_unlock(&mirror->lock);
    return NULL;
}

static void
mirror_free(struct mirror *mirror)
{
    pthread_cond_destroy(&mirror->wake);
    pthread_mutex_destroy(&mirror->lock);
    free(mirror->new_path);
    free(mirror->path);
    free(mirror);
}

static bool
is_other_than_file(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

int
mirror_check(const char *path, struct error *why)
{
    const char *slash = strrchr(path, '/');
    char *directory = slash != NULL ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    char *new_path = NULL;
    int rc = 0;

    if (directory == NULL || asprintf(&new_path, "%s.new", path) == -1) {
        free(directory);
        return error_set(why, -ENOMEM, "out of memory");
    }
    /* A device, a directory, a link to somewhere else are not ours to replace. */
    if (is_other_than_file(path))
        rc = error_set(why, -EINVAL,
                       "--statsFileMirror=%s is no ordinary file; name one, or one to be made",
                       path);
    else if (is_other_than_file(new_path))
        rc =
            error_set(why, -EINVAL,
                      "--statsFileMirror=%s is written as %s first, which is there and no ordinary "
                      "file",
                      path, new_path);
    else if (access(directory, W_OK | X_OK) != 0)
        rc = error_set(why, -errno, "--statsFileMirror=%s: cannot write to %s: %s", path, directory,
                       strerror(errno));
    free(new_path);
    free(directory);
    return rc;
}

int
mirror_start(const char *path, uint64_t interval_ms, struct stats *stats, struct error *why,
             struct mirror **out)
{
    struct mirror *mirror;
    int rc = mirror_check(path, why);

    if (rc != 0)
        return rc;
    mirror = calloc(1, sizeof *mirror);
    if (mirror == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    mirror->stats = stats;
    mirror->interval_ms = interval_ms;
    mirror->path = strdup(path);
    if (asprintf(&mirror->new_path, "%s.new", path) == -1)
        mirror->new_path = NULL;
    pthread_mutex_init(&mirror->lock, NULL);
    cond_init(&mirror->wake);
    rc = mirror->path == NULL || mirror->new_path == NULL ? -ENOMEM : copy(mirror);
    if (rc != 0) {
        error_set(why, rc, "--statsFileMirror=%s: %s", path, strerror(-rc));
        goto failed;
    }
    rc = -pthread_create(&mirror->thread, NULL, run, mirror);
    if (rc != 0) {
        error_set(why, rc, "cannot start a thread for --statsFileMirror: %s", strerror(-rc));
        goto failed;
    }
    *out = mirror;
    return 0;

failed:
    mirror_free(mirror);
    return rc;
}

/* The statistics are copied before anything waits for the file: who is left behind there needs none any more. */
static bool
is_over(struct mirror *mirror)
{
    bool has_ended;

    pthread_mutex_lock(&mirror->lock);
    /* By count: a process that was stopped meanwhile has not waited. */
    for (unsigned i = 0; i < STOP_LOOKS && !mirror->has_ended; i++)
        cond_wait_ns(&mirror->wake, &mirror->lock, STOP_NS / STOP_LOOKS);
    has_ended = mirror->has_ended;
    pthread_mutex_unlock(&mirror->lock);
    return has_ended;
}

void
mirror_stop(struct mirror *mirror)
{
    if (mirror == NULL)
        return;
    pthread_mutex_lock(&mirror->lock);
    mirror->is_stopping = true;
    pthread_cond_signal(&mirror->wake);
    pthread_mutex_unlock(&mirror->lock);
    if (is_over(mirror)) {
        pthread_join(mirror->thread, NULL);
        mirror_free(mirror);
        return;
    }
    log_line(BD_WARNING, "%s does not let itself be written; the last statistics are not in it",
             mirror->path);
    pthread_detach(mirror->thread);
}
