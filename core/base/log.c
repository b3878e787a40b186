/* SPDX-License-Identifier: Apache-2.0 */
/* The log: standard error in the foreground, syslog in the background. */
#include "log.h"

#include "program.h"

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

void
log_vline(enum bd_log_level level, const char *format, va_list args)
{
    char line[1200];
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

void
log_line(enum bd_log_level level, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    log_vline(level, format, args);
    va_end(args);
}
