/* SPDX-License-Identifier: Apache-2.0 */
/* The values of options: from text as the user writes it to numbers, and back. */
#include "values.h"

#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { OCTAL_MAX = 07777 };

/* Decimal digits; *end is behind them. */
static int
parse_digits(const char *text, uint64_t *value, const char **end)
{
    uint64_t sum = 0;

    if (!isdigit((unsigned char)*text))
        return -EINVAL;
    for (; isdigit((unsigned char)*text); text++) {
        if (__builtin_mul_overflow(sum, (uint64_t)10, &sum)
            || __builtin_add_overflow(sum, (uint64_t)(*text - '0'), &sum))
            return -EINVAL;
    }
    *value = sum;
    *end = text;
    return 0;
}

int
parse_size(const char *text, uint64_t *bytes)
{
    static const char suffixes[] = "kmgtpe";
    const char *end, *suffix;
    uint64_t value;
    int rc = parse_digits(text, &value, &end);

    if (rc != 0)
        return rc;
    if (*end != '\0' && (suffix = strchr(suffixes, tolower((unsigned char)*end))) != NULL) {
        uint64_t unit = (uint64_t)1 << (10 * (suffix - suffixes + 1));

        if (__builtin_mul_overflow(value, unit, &value))
            return -EINVAL;
        end++;
        if (strcasecmp(end, "ib") == 0)
            end += 2;
    }
    if (strcasecmp(end, "b") == 0)
        end++;
    if (*end != '\0')
        return -EINVAL;
    *bytes = value;
    return 0;
}

static const struct {
    const char *suffix;
    uint64_t ms;
} duration_units[] = {
    { "ms", 1 }, { "s", 1000 }, { "m", 60 * 1000 }, { "h", 3600 * 1000 }, { "d", 24 * 3600 * 1000 },
};

int
parse_duration(const char *text, bool bare_is_seconds, uint64_t *ms)
{
    const char *end;
    uint64_t value;
    int rc = parse_digits(text, &value, &end);

    if (rc != 0)
        return rc;
    if (*end == '\0')
        end = bare_is_seconds ? "s" : "ms";
    if (strcasecmp(end, "us") == 0) {
        /* A time is kept in ms: what would be rounded is refused. */
        if (value % 1000 != 0)
            return -EINVAL;
        *ms = value / 1000;
        return 0;
    }
    for (size_t i = 0; i < sizeof duration_units / sizeof duration_units[0]; i++) {
        if (strcasecmp(end, duration_units[i].suffix) == 0)
            return __builtin_mul_overflow(value, duration_units[i].ms, ms) ? -EINVAL : 0;
    }
    return -EINVAL;
}

static int
parse_uint(const char *text, uint64_t *value)
{
    const char *end;

    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        size_t digits = strspn(text + 2, "0123456789abcdefABCDEF");

        if (digits == 0 || digits > 16 || text[2 + digits] != '\0')
            return -EINVAL;
        *value = strtoull(text + 2, NULL, 16);
        return 0;
    }
    if (parse_digits(text, value, &end) != 0 || *end != '\0')
        return -EINVAL;
    return 0;
}

static int
parse_octal(const char *text, uint64_t *value)
{
    size_t digits = strspn(text, "01234567");

    if (digits == 0 || digits > 8 || text[digits] != '\0')
        return -EINVAL;
    *value = strtoul(text, NULL, 8);
    return *value > OCTAL_MAX ? -EINVAL : 0;
}

int
parse_bool(const char *text, uint64_t *value)
{
    static const char *const words[][2] = {
        { "no", "yes" },
        { "false", "true" },
        { "0", "1" },
        { "off", "on" },
    };

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        for (unsigned is_true = 0; is_true < 2; is_true++) {
            if (strcasecmp(text, words[i][is_true]) == 0) {
                *value = is_true;
                return 0;
            }
        }
    }
    return -EINVAL;
}

static int
parse_choice(const char *text, const char *const *choices, uint64_t *value)
{
    for (size_t i = 0; choices[i] != NULL; i++) {
        if (strcasecmp(text, choices[i]) == 0) {
            *value = i;
            return 0;
        }
    }
    return -EINVAL;
}

void
choices_join(const char *const *choices, const char *between, char *out, size_t out_bytes)
{
    size_t len = 0;

    out[0] = '\0';
    for (size_t i = 0; choices[i] != NULL && len < out_bytes; i++)
        len +=
            (size_t)snprintf(out + len, out_bytes - len, "%s%s", i > 0 ? between : "", choices[i]);
}

void
number_format(const struct bd_option *row, uint64_t value, char *out, size_t out_bytes)
{
    if (row->type == BD_OPT_SIZE) {
        static const char suffixes[] = " KMGTPE";
        unsigned unit = 0;

        while (value != 0 && value % 1024 == 0 && unit < 6) {
            value /= 1024;
            unit++;
        }
        snprintf(out, out_bytes, "%" PRIu64 "%.*s", value, unit > 0, &suffixes[unit]);
    } else if (row->type == BD_OPT_DURATION) {
        size_t unit = sizeof duration_units / sizeof duration_units[0] - 1;

        while (unit > 0 && (value == 0 || value % duration_units[unit].ms != 0))
            unit--;
        snprintf(out, out_bytes, "%" PRIu64 "%s", value / duration_units[unit].ms,
                 duration_units[unit].suffix);
    } else {
        snprintf(out, out_bytes, "%" PRIu64, value);
    }
}

bool
row_has_range(const struct bd_option *row)
{
    return row->type == BD_OPT_UINT || row->type == BD_OPT_SIZE || row->type == BD_OPT_DURATION;
}

uint64_t
row_max(const struct bd_option *row)
{
    uint64_t max = row->max != 0 ? row->max : UINT64_MAX;

    return row->field_bytes == sizeof(uint32_t) && max > UINT32_MAX ? UINT32_MAX : max;
}

bool
row_is_string(const struct bd_option *row)
{
    return row->type == BD_OPT_STRING || row->type == BD_OPT_PATH || row->type == BD_OPT_SECRET;
}

int
number_parse(const struct bd_option *row, const char *text, uint64_t *value, char *problem,
             size_t problem_bytes)
{
    char list[240], from[32], to[32];
    const char *wanted = "";
    int rc = -EINVAL;

    switch (row->type) {
    case BD_OPT_BOOL:
        rc = parse_bool(text, value);
        wanted = "neither yes nor no (nor true, false, 1, 0, on, off)";
        break;
    case BD_OPT_UINT:
        rc = parse_uint(text, value);
        wanted = "not a whole number, decimal or with 0x in front";
        break;
    case BD_OPT_SIZE:
        rc = parse_size(text, value);
        wanted = "not a size: write a number of bytes, or one with K, M, G, T, P or E behind it "
                 "(powers of 1024), below 16E";
        break;
    case BD_OPT_DURATION:
        rc = parse_duration(text, row->flags & BD_OPTF_SECONDS, value);
        wanted =
            row->flags & BD_OPTF_SECONDS
                ? "not a duration in whole milliseconds: write a number with us, ms, s, m, h or "
                  "d behind it; a bare number is in seconds"
                : "not a duration in whole milliseconds: write a number with us, ms, s, m, h or "
                  "d behind it; a bare number is in milliseconds";
        break;
    case BD_OPT_ENUM:
        rc = parse_choice(text, row->choices, value);
        break;
    case BD_OPT_OCTAL:
        rc = parse_octal(text, value);
        wanted = "not a file mode: write it in octal, 0 to 7777, such as 0600";
        break;
    }
    if (rc != 0 && row->type == BD_OPT_ENUM) {
        choices_join(row->choices, ", ", list, sizeof list);
        snprintf(problem, problem_bytes, "\"%.80s\" is not one of: %s", text, list);
        return rc;
    }
    if (rc != 0) {
        snprintf(problem, problem_bytes, "\"%.80s\" is %s", text, wanted);
        return rc;
    }
    if (!row_has_range(row) || (*value >= row->min && *value <= row_max(row)))
        return 0;
    number_format(row, row->min, from, sizeof from);
    number_format(row, row_max(row), to, sizeof to);
    if (*value < row->min && row_max(row) == UINT64_MAX)
        snprintf(problem, problem_bytes, "%.80s is too small: at least %s", text, from);
    else
        snprintf(problem, problem_bytes, "%.80s is out of range: %s to %s", text, from, to);
    return -EINVAL;
}
