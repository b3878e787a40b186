/* SPDX-License-Identifier: Apache-2.0 */
/* The log: standard error in the foreground, syslog in the background.  Any thread. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <bucketdisk/plugin.h>

#include <stdarg.h>
#include <stdbool.h>

/* Where lines go, and which are kept: standard error at INFO unless told otherwise.  After log_to_syslog
 * nothing more is written to standard error.  The level is set before the first thread. */
void log_to_syslog(const char *name);
void log_level_max(enum bd_log_level level);

/* One line, no newline at the end.  Control characters are replaced. */
void log_line(enum bd_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void log_vline(enum bd_log_level level, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

/* A line that stays below all others on the terminal that standard error is, in the place of the one before; NULL: none any
 * more.  No longer than a line there. */
void log_foot(const char *line);

#endif
