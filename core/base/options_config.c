/* SPDX-License-Identifier: Apache-2.0 */
/* Config files: each line is an option, and every complaint about it names file and line. */
#include "options_table.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    CONFIG_BYTES_MAX = 64 * 1024,
    CONFIG_DEPTH_MAX = 8,
};

int
options_say(const struct options *options, struct error *why, int rc, const char *format, ...)
{
    char text[sizeof why->text];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (options->file != NULL)
        return error_set(why, rc, "%s:%u: %s", options->file, options->line, text);
    return error_set(why, rc, "%s", text);
}

static char *
trim(char *text)
{
    size_t len;

    text += strspn(text, " \t\r");
    len = strlen(text);
    while (len > 0 && strchr(" \t\r", text[len - 1]) != NULL)
        text[--len] = '\0';
    return text;
}

static char *
unquote(char *text)
{
    size_t len = strlen(text);

    if (len < 2 || (text[0] != '"' && text[0] != '\'') || text[len - 1] != text[0])
        return text;
    text[len - 1] = '\0';
    return text + 1;
}

/* "name", "name=value", "name = value", "name value", each with or without dashes. */
static int
config_line(struct options *options, char *line, struct error *why)
{
    char *name = unquote(trim(line));
    char *value;
    bool has_value;
    size_t len;

    name += name[0] == '-';
    name += name[0] == '-';
    len = strcspn(name, "= \t");
    value = name + len + strspn(name + len, " \t");
    has_value = *value != '\0';
    if (*value == '=')
        value++;
    value = unquote(trim(value));
    return setting_take(options, name, len, has_value ? value : NULL, why);
}

static int
config_lines(struct options *options, char *text, struct error *why)
{
    int rc = 0;

    while (rc == 0 && text != NULL) {
        char *line = strsep(&text, "\n");
        char *first = line + strspn(line, " \t\r");

        options->line++;
        if (*first != '\0' && *first != '#')
            rc = config_line(options, line, why);
    }
    return rc;
}

static bool
is_regular(const char *path)
{
    struct stat status;

    return stat(path, &status) == -1 || S_ISREG(status.st_mode);
}

int
config_read(struct options *options, const char *path, struct error *why)
{
    const char *outer_file = options->file;
    unsigned outer_line = options->line;
    char *text;
    size_t len;
    int rc;

    if (options->depth == CONFIG_DEPTH_MAX)
        return options_say(options, why, -ELOOP,
                           "config file %s is nested more than %d deep; does a file name itself?",
                           path, CONFIG_DEPTH_MAX);
    if (options->is_skim && !is_regular(path))
        return 0;
    text = malloc(CONFIG_BYTES_MAX + 2);
    if (text == NULL)
        return options_say(options, why, -ENOMEM, "config file %s: out of memory", path);
    rc = text_read(path, text, CONFIG_BYTES_MAX + 1, &len);
    if (rc != 0)
        rc = options_say(options, why, rc, "cannot read config file %s: %s", path, strerror(-rc));
    else if (len > CONFIG_BYTES_MAX)
        rc = options_say(options, why, -EINVAL, "config file %s is longer than %d bytes", path,
                         CONFIG_BYTES_MAX);
    else if (memchr(text, '\0', len) != NULL)
        rc = options_say(options, why, -EINVAL, "config file %s holds a zero byte; it is no text",
                         path);
    if (rc == 0) {
        text[len] = '\0';
        options->file = path;
        options->line = 0;
        options->depth++;
        rc = config_lines(options, text, why);
        options->depth--;
        options->file = outer_file;
        options->line = outer_line;
    }
    explicit_bzero(text, CONFIG_BYTES_MAX + 2);
    free(text);
    return rc;
}
