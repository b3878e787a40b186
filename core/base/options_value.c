/* SPDX-License-Identifier: Apache-2.0 */
/* One value of an option: from text, a file or the environment to the field that its row names.
 *
 * A secret stands only in memory of ours that is wiped before it is freed.  Nothing here goes
 * through stdio, whose buffers would keep it. */
#include "options_table.h"
#include "values.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SECRET_BYTES_MAX = 1023 };

static void
number_store(const struct entry *entry, uint64_t value)
{
    uint8_t byte = (uint8_t)value;
    uint32_t word = (uint32_t)value;

    switch (entry->row.field_bytes) {
    case sizeof byte:
        memcpy(entry->field, &byte, sizeof byte);
        break;
    case sizeof word:
        memcpy(entry->field, &word, sizeof word);
        break;
    default:
        memcpy(entry->field, &value, sizeof value);
        break;
    }
}

void
entry_forget(struct entry *entry)
{
    if (entry->owned != NULL && entry->row.type == BD_OPT_SECRET)
        explicit_bzero(entry->owned, strlen(entry->owned));
    free(entry->owned);
    entry->owned = NULL;
}

/* Takes `text`. */
static void
string_store(struct entry *entry, char *text)
{
    memcpy(entry->field, &text, sizeof text);
    entry_forget(entry);
    entry->owned = text;
}

static char *
path_absolute(const char *path)
{
    char here[PATH_MAX];
    char *out;

    if (path[0] == '/' || path[0] == '\0')
        return strdup(path);
    if (getcwd(here, sizeof here) == NULL)
        return NULL;
    return asprintf(&out, "%s/%s", strcmp(here, "/") == 0 ? "" : here, path) < 0 ? NULL : out;
}

int
text_read(const char *path, char *out, size_t cap, size_t *len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    int rc = 0;

    if (fd == -1)
        return -errno;
    *len = 0;
    while (*len < cap) {
        ssize_t n = read(fd, out + *len, cap - *len);

        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1)
            rc = -errno;
        if (n <= 0)
            break;
        *len += (size_t)n;
    }
    close(fd);
    return rc;
}

/* The first line of a file.  Gives the text in `out`. */
static int
secret_from_file(const struct options *options, const char *as, const char *path, char **out,
                 struct error *why)
{
    char line[SECRET_BYTES_MAX + 3]; /* and CR, LF, and one to see that it is longer */
    char *end;
    size_t len;
    int rc = text_read(path, line, sizeof line, &len);

    if (rc != 0)
        return options_say(
            options, why, rc,
            "%s: cannot read %s: %s (a value that begins with @ names a file with the secret "
            "in its first line)",
            as, path, strerror(-rc));
    end = memchr(line, '\n', len);
    if (end != NULL)
        len = (size_t)(end - line);
    if (len > 0 && line[len - 1] == '\r')
        len--;
    if (len == 0)
        rc = options_say(options, why, -EINVAL, "%s: the first line of %s is empty", as, path);
    else if (len > SECRET_BYTES_MAX)
        rc = options_say(options, why, -EINVAL, "%s: the first line of %s is longer than %d bytes",
                         as, path, SECRET_BYTES_MAX);
    else if (memchr(line, '\0', len) != NULL)
        rc = options_say(options, why, -EINVAL, "%s: the first line of %s holds a zero byte", as,
                         path);
    else if ((*out = strndup(line, len)) == NULL)
        rc = options_say(options, why, -ENOMEM, "%s: out of memory", as);
    explicit_bzero(line, sizeof line);
    return rc;
}

int
entry_string(const struct options *options, const struct entry *entry, const char *as,
             const char *text, char **out, struct error *why)
{
    if (entry->row.type == BD_OPT_SECRET && text[0] == '@')
        return secret_from_file(options, as, text + 1, out, why);
    if (entry->row.type == BD_OPT_SECRET && strncmp(text, "env:", 4) == 0) {
        const char *value = getenv(text + 4);

        if (value == NULL)
            return options_say(
                options, why, -EINVAL,
                "%s: the environment has no variable \"%s\" (a value that begins with env: "
                "names one)",
                as, text + 4);
        text = value;
    }
    *out = entry->row.type == BD_OPT_PATH ? path_absolute(text) : strdup(text);
    if (*out == NULL)
        return options_say(options, why, -ENOMEM, "%s: %s", as, strerror(errno));
    return 0;
}

int
entry_set(const struct options *options, struct entry *entry, const char *as, const char *text,
          struct error *why)
{
    const struct bd_option *row = &entry->row;
    char problem[360];
    char *string;
    uint64_t value;
    int rc;

    if (text == NULL) {
        if (row->type == BD_OPT_BOOL)
            text = "yes";
        else if (row->flags & BD_OPTF_BARE)
            text = row->type == BD_OPT_ENUM ? row->choices[0] : "";
        else
            return options_say(options, why, -EINVAL, "%s needs a value: %s", as, row->help);
    }
    if (row_is_string(row)) {
        rc = entry_string(options, entry, as, text, &string, why);
        if (rc == 0)
            string_store(entry, string);
        return rc;
    }
    rc = number_parse(row, text, &value, problem, sizeof problem);
    if (rc != 0)
        return options_say(options, why, rc, "%s: %s", as, problem);
    number_store(entry, value);
    return 0;
}
