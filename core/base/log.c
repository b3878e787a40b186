/* SPDX-License-Identifier: Apache-2.0 */
/* The log: standard error in the foreground, syslog in the background. */
#include "log.h"

#include "clock.h"
#include "log_limit.h"
#include "pool.h"
#include "program.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

static atomic_bool use_syslog;
static enum bd_log_level level_max = BD_INFO;
static char foot[256]; /* guarded by the lock of stderr */

#define LINE_CLEARED "\r\033[K" /* ECMA-48: back to its beginning, and empty to the end */

static const struct {
    int priority;
    const char *prefix;
} levels[] = {
    [BD_ERROR] = { LOG_ERR, "error: " },
    [BD_WARNING] = { LOG_WARNING, "warning: " },
    [BD_INFO] = { LOG_INFO, "" },
    [BD_DEBUG] = { LOG_DEBUG, "debug: " },
};

void
log_to_syslog(const char *name)
{
    openlog(name, LOG_PID, LOG_DAEMON);
    use_syslog = true;
}

void
log_level_max(enum bd_log_level level)
{
    level_max = level;
}

static void
put(enum bd_log_level level, const char *line)
{
    if (use_syslog) {
        syslog(levels[level].priority, "%s%s", levels[level].prefix, line);
        return;
    }
    flockfile(stderr);
    fprintf(stderr, "%s%s: %s%s\n%s", foot[0] != '\0' ? LINE_CLEARED : "", program_name(),
            levels[level].prefix, line, foot);
    funlockfile(stderr);
}

void
log_foot(const char *line)
{
    flockfile(stderr);
    snprintf(foot, sizeof foot, "%s", line != NULL ? line : "");
    fprintf(stderr, LINE_CLEARED "%s", foot);
    funlockfile(stderr);
}

/* ---- what is left out */

static struct {
    pthread_mutex_t lock; /* guards the rest; then comes pool->lock */
    pthread_cond_t ran;
    struct log_limit limit;
    struct pool *pool; /* NULL: nobody is followed */
    struct timer timer;
    bool is_set; /* the timer, or it runs */
} left = { .lock = PTHREAD_MUTEX_INITIALIZER, .ran = PTHREAD_COND_INITIALIZER };

static void
tell(bool is_end)
{
    char line[LOG_LINE_BYTES];
    enum bd_log_level level;
    bool is_there;

    do {
        pthread_mutex_lock(&left.lock);
        is_there = log_limit_take(&left.limit, clock_now_ns(), is_end, &level, line);
        pthread_mutex_unlock(&left.lock);
        if (is_there)
            put(level, line);
    } while (is_there);
}

static void
set_timer_locked(void)
{
    uint64_t due_ns = log_limit_due_ns(&left.limit);

    if (left.pool != NULL && !left.is_set && due_ns != UINT64_MAX)
        left.is_set = pool_timer_set(left.pool, &left.timer, due_ns) == 0;
}

static void
timer_run(struct task *task)
{
    (void)task;
    tell(false);
    pthread_mutex_lock(&left.lock);
    left.is_set = false;
    set_timer_locked();
    pthread_cond_broadcast(&left.ran);
    pthread_mutex_unlock(&left.lock);
}

void
log_follow(struct pool *pool)
{
    pthread_mutex_lock(&left.lock);
    if (left.pool == NULL) {
        left.pool = pool;
        left.timer.task.run = timer_run;
        set_timer_locked();
    }
    pthread_mutex_unlock(&left.lock);
}

void
log_unfollow(struct pool *pool)
{
    pthread_mutex_lock(&left.lock);
    if (pool != NULL && left.pool == pool) {
        left.pool = NULL;
        if (left.is_set && pool_timer_cancel(pool, &left.timer))
            left.is_set = false;
        while (left.is_set)
            pthread_cond_wait(&left.ran, &left.lock);
    }
    pthread_mutex_unlock(&left.lock);
}

void
log_end(void)
{
    tell(true);
}

static bool
is_shown(enum bd_log_level level, const char *line)
{
    bool is_shown;

    pthread_mutex_lock(&left.lock);
    is_shown = log_limit_shows(&left.limit, level, line, clock_now_ns());
    if (!is_shown)
        set_timer_locked();
    pthread_mutex_unlock(&left.lock);
    return is_shown;
}

/* ---- lines */

static void __attribute__((format(printf, 3, 0)))
say(enum bd_log_level level, bool is_each, const char *format, va_list args)
{
    char line[LOG_LINE_BYTES];
    size_t len;

    if (level > BD_DEBUG)
        level = BD_DEBUG;
    if (level > level_max)
        return;
    vsnprintf(line, sizeof line - 1, format, args);
    len = strlen(line);
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            line[i] = ' ';
    }
    if (level_max < BD_DEBUG)
        tell(false);
    if (is_each || level_max == BD_DEBUG || level >= BD_INFO || is_shown(level, line))
        put(level, line);
}

void
log_vline(enum bd_log_level level, const char *format, va_list args)
{
    say(level, false, format, args);
}

void
log_each(enum bd_log_level level, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(level, true, format, args);
    va_end(args);
}

void
log_line(enum bd_log_level level, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(level, false, format, args);
    va_end(args);
}
