/* SPDX-License-Identifier: Apache-2.0 */
/* The log: standard error in the foreground, syslog in the background.  Any thread, whatever it has locked but a pool.
 *
 * Warnings and errors that say the same again and again are left out, and counted (log_limit.h), unless lines of BD_DEBUG are
 * kept. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <bucketdisk/plugin.h>

#include <stdarg.h>
#include <stdbool.h>

/* Where lines go, and which are kept: standard error at INFO unless told otherwise.  After log_to_syslog
 * nothing more is written to standard error.  The level is set before the first thread. */
void log_to_syslog(const char *name);
void log_level_max(enum bd_log_level level);

struct pool;

/* The pool's timers tell in time of what was left out; until log_unfollow, which is before pool_free.  Without that it is told
 * with the next line.  Of several pools the first one does it. */
void log_follow(struct pool *pool);
void log_unfollow(struct pool *pool);
/* What was left out is told now. */
void log_end(void);

/* One line, no newline at the end.  Control characters are replaced. */
void log_line(enum bd_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void log_vline(enum bd_log_level level, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
/* One that is never left out, for it names what nothing else does: a block that is damaged, or lost. */
void log_each(enum bd_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A line that stays below all others on the terminal that standard error is, in the place of the one before; NULL: none any
 * more.  No longer than a line there. */
void log_foot(const char *line);

#endif
