/* SPDX-License-Identifier: Apache-2.0 */
/* Which lines of the log are left out.
 *
 *   kind       shown   its time ends                          a line comes
 *   unused     0       -                                      is shown, its time begins
 *   quiet      < max   it is unused again                     is shown
 *   flooding   max     without any: it is unused again        is left out
 *                      else that is told, the time begins anew
 *
 * So of what goes on for hours there is one line in each time. */
#include "log_limit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define KINDS_COUNT (sizeof((struct log_limit *)NULL)->kinds / sizeof(struct log_kind))
#define LAST_BYTES 1100 /* of the last one, in the line that tells of the others */

/* FNV-1a. */
#define HASH_BEGIN UINT64_C(0xcbf29ce484222325)
#define HASH_TIMES UINT64_C(0x100000001b3)

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static uint64_t
hash_of(enum bd_log_level level, const char *line)
{
    uint64_t hash = (HASH_BEGIN ^ (uint64_t)level) * HASH_TIMES;

    while (*line != '\0') {
        size_t bytes = strcspn(line, " ");
        bool is_variable = false;

        for (size_t i = 0; i < bytes && !is_variable; i++)
            is_variable = is_digit(line[i]);
        for (size_t i = 0; i < bytes && !is_variable; i++)
            hash = (hash ^ (unsigned char)line[i]) * HASH_TIMES;
        hash = (hash ^ ' ') * HASH_TIMES;
        line += bytes + strspn(line + bytes, " ");
    }
    return hash;
}

static bool
is_over(const struct log_kind *kind, uint64_t now_ns)
{
    return now_ns >= kind->since_ns + LOG_TIME_NS;
}

/* What was left out is told of first. */
static bool
is_unused(const struct log_kind *kind, uint64_t now_ns)
{
    return kind->shown == 0 || (kind->left_out == 0 && is_over(kind, now_ns));
}

/* The last two are for what there is no room for: a store that says something new each time, mostly of what passes, does
 * not hide what ends all. */
static struct log_kind *
find(struct log_limit *limit, enum bd_log_level level, uint64_t hash, uint64_t now_ns)
{
    struct log_kind *kind = NULL;

    for (size_t i = 0; i < LOG_KINDS_MAX; i++) {
        bool is_free = is_unused(&limit->kinds[i], now_ns);

        if (!is_free && limit->kinds[i].hash == hash)
            return &limit->kinds[i];
        if (is_free && kind == NULL)
            kind = &limit->kinds[i];
    }
    if (kind == NULL)
        kind = &limit->kinds[LOG_KINDS_MAX + (level != BD_ERROR)];
    if (is_unused(kind, now_ns)) {
        kind->shown = 0;
        kind->since_ns = now_ns;
        kind->hash = hash;
    }
    return kind;
}

bool
log_limit_shows(struct log_limit *limit, enum bd_log_level level, const char *line, uint64_t now_ns)
{
    struct log_kind *kind = find(limit, level, hash_of(level, line), now_ns);

    if (kind->shown < LOG_SHOWN_MAX) {
        kind->shown++;
        return true;
    }
    kind->left_out++;
    kind->level = level;
    snprintf(kind->last, sizeof kind->last, "%s", line);
    return false;
}

bool
log_limit_take(struct log_limit *limit, uint64_t now_ns, bool is_end, enum bd_log_level *level,
               char line[LOG_LINE_BYTES])
{
    for (size_t i = 0; i < KINDS_COUNT; i++) {
        struct log_kind *kind = &limit->kinds[i];
        uint64_t seconds = (now_ns - kind->since_ns + NS_PER_S - 1) / NS_PER_S;

        if (kind->left_out == 0 || (!is_end && !is_over(kind, now_ns)))
            continue;
        snprintf(line, LOG_LINE_BYTES, "%u %s in %" PRIu64 " s, the last: %.*s", kind->left_out,
                 i < LOG_KINDS_MAX ? "more like this" : "other messages", seconds > 0 ? seconds : 1,
                 LAST_BYTES, kind->last);
        *level = kind->level;
        kind->left_out = 0;
        kind->since_ns = now_ns;
        return true;
    }
    return false;
}

uint64_t
log_limit_due_ns(const struct log_limit *limit)
{
    uint64_t due_ns = UINT64_MAX;

    for (size_t i = 0; i < KINDS_COUNT; i++) {
        const struct log_kind *kind = &limit->kinds[i];

        if (kind->left_out > 0 && kind->since_ns + LOG_TIME_NS < due_ns)
            due_ns = kind->since_ns + LOG_TIME_NS;
    }
    return due_ns;
}
