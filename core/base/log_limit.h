/* SPDX-License-Identifier: Apache-2.0 */
/* Which lines of the log are left out: those that say the same again and again.
 *
 * Lines are of one kind when they differ in words with digits alone: a store that fails for a thousand blocks says one thing.
 * The first lines of a kind are always shown.  Of the others one line says how many there were, and shows the last one.
 * No thread but one at a time. */
#ifndef BASE_LOG_LIMIT_H
#define BASE_LOG_LIMIT_H

#include "clock.h"

#include <bucketdisk/plugin.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_LINE_BYTES 1200u
#define LOG_SHOWN_MAX 5u /* of a kind, in its time */
#define LOG_TIME_NS (30 * NS_PER_S)
#define LOG_KINDS_MAX 64u /* told apart at once; beyond that are two kinds: errors, and the rest */

struct log_kind {
    uint64_t hash;
    uint64_t since_ns;       /* its time begins */
    unsigned shown;          /* since then; 0: the kind is unused */
    unsigned left_out;       /* since then */
    enum bd_log_level level; /* of the last one that was left out, as is the next */
    char last[LOG_LINE_BYTES];
};

/* Zeroed at first. */
struct log_limit {
    struct log_kind kinds[LOG_KINDS_MAX + 2];
};

/* Is this line to be shown?  Else it is counted. */
bool log_limit_shows(struct log_limit *limit, enum bd_log_level level, const char *line,
                     uint64_t now_ns);

/* Gives one line about what was left out and is due; at the end all is.  False: there is none. */
bool log_limit_take(struct log_limit *limit, uint64_t now_ns, bool is_end, enum bd_log_level *level,
                    char line[LOG_LINE_BYTES]);

/* When the next one is due; UINT64_MAX: none is. */
uint64_t log_limit_due_ns(const struct log_limit *limit);

#endif
