/* SPDX-License-Identifier: Apache-2.0 */
/* The child of a check: what rows are asked with. */
#include "impl.h"

#include "base/clock.h"
#include "base/options.h"
#include "loader.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ------------------------------------------------------------------ reports */

/* One write each: a crash in the middle of the next word loses nothing. */
static void
report(const struct check *check, char kind, const char *text)
{
    char line[640];
    int len = snprintf(line, sizeof line - 1, "%c%s", kind, text);

    if (len > (int)sizeof line - 2)
        len = (int)sizeof line - 2;
    for (int i = 0; i < len; i++) {
        if ((unsigned char)line[i] < ' ')
            line[i] = ' ';
        else if ((unsigned char)line[i] >= 0x7f) /* TAP is UTF-8, and a plugin's word may not be */
            line[i] = '?';
    }
    line[len++] = '\n';
    if (write(check->report, line, (size_t)len) != len)
        _exit(1); /* nobody listens */
}

#define REPORT(check, kind, format)                                                                \
    do {                                                                                           \
        char text[600];                                                                            \
        va_list args;                                                                              \
        va_start(args, format);                                                                    \
        vsnprintf(text, sizeof text, format, args);                                                \
        va_end(args);                                                                              \
        report(check, kind, text);                                                                 \
    } while (0)

void
check_fail(struct check *check, const char *format, ...)
{
    char text[600];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    check->is_failed = true;
    if (check_said_last()[0] != '\0' && strstr(text, check_said_last()) != NULL)
        check->has_quoted = true;
    report(check, 'N', text);
}

void
check_note(struct check *check, const char *format, ...)
{
    REPORT(check, 'N', format);
}

void
check_skip(struct check *check, const char *format, ...)
{
    REPORT(check, 'S', format);
}

void
check_quote_nothing(struct check *check)
{
    report(check, 'Q', "");
}

void
check_makes(struct check *check)
{
    if (!atomic_exchange(&check->has_made, true))
        report(check, 'M', "");
}

void
check_stall(struct check *check)
{
    report(check, 'H', "");
    check_command(check, "stall", check->config->stall);
}

void
check_resume(struct check *check)
{
    check_command(check, "resume", check->config->resume);
    report(check, 'W', "");
}

void
check_resume_try(struct check *check)
{
    check->is_held_up = !check_command_try(check, "resume", check->config->resume);
    if (!check->is_held_up)
        report(check, 'W', "");
}

void
check_refuse(struct check *check, const char *format, ...)
{
    REPORT(check, 'R', format);
    _exit(0);
}

void
check_abandon(struct check *check)
{
    report(check, 'F', "");
    _exit(CHECK_ABANDONED);
}

/* ------------------------------------------------------------------ rows */

static void
row_run(struct check *check, const char *subject, const struct check_row *row)
{
    char text[200];

    if (++check->ordinal <= check->skip)
        return;
    snprintf(text, sizeof text, "%s%s%s", subject, subject[0] != '\0' ? ": " : "", row->what);
    report(check, 'B', text);
    report(check, 'Q', row->contract);
    check->is_failed = check->has_quoted = false;
    check->row_began_ns = clock_now_ns();
    check_said(NULL, false);
    row->ask(check);
    stores_close(check);
    check_memory_free(check);
    if (check->is_failed && !check->has_quoted && check_said_last()[0] != '\0')
        check_note(check, "it said: %s", check_said_last());
    report(check, check->is_failed ? 'F' : 'P', "");
}

void
check_rows(struct check *check, const char *subject, const struct check_row *rows, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        row_run(check, subject, &rows[i]);
}

/* ------------------------------------------------------------------ the plugin and its options */

struct child_options {
    const char *backend;
};

static struct child_options fields;

static const struct bd_option rows[] = {
    { .name = "backend",
      .type = BD_OPT_STRING,
      BD_FIELD(struct child_options, backend),
      .metavar = "NAME,...",
      .help = "the plugin's backend, and what is below it" },
};

int
check_search(const struct check *check, struct plugins *plugins, struct error *why)
{
    const struct check_config *config = check->config;
    struct plugin_search search = { 0 };
    char *places = NULL;
    int rc;

    if (asprintf(&places, "%s%s%s", config->file, config->plugin_path != NULL ? ":" : "",
                 config->plugin_path != NULL ? config->plugin_path : "")
        < 0)
        return error_set(why, -ENOMEM, "out of memory");
    search.extra = places;
    rc = plugins_load(plugins, &search, why);
    free(places);
    return rc;
}

const struct plugin *
check_found(const struct check *check, const struct plugins *plugins)
{
    for (unsigned i = 0; i < plugins->count; i++) {
        if (strcmp(plugins->all[i].path, check->config->file) == 0)
            return &plugins->all[i];
    }
    return NULL;
}

/* What a user has put behind "--" and is an option of ours. */
static const char *
misplaced(const struct check_config *config)
{
    static const char *const ours[] = { "absent", "other",      "stall",      "resume",
                                        "vanish", "time-limit", "plugin-path" };

    for (int i = 1; i < config->argc; i++) {
        const char *name = config->argv[i] + strspn(config->argv[i], "-");

        for (size_t j = 0; j < ARRAY_LEN(ours) && config->argv[i][0] == '-'; j++) {
            if (options_name_is(name, strcspn(name, "="), ours[j]))
                return ours[j];
        }
    }
    return NULL;
}

static void
options_load(struct check *check)
{
    const int argc = check->config->argc;
    char **argv = calloc((size_t)argc + 1, sizeof *argv);
    char **words = calloc((size_t)argc + 1, sizeof *words);
    struct error why = { "" };
    int word_count = 0, rc;

    if (argv == NULL || words == NULL || options_new(&check->options) != 0)
        check_refuse(check, "out of memory");
    for (int i = 0; i < argc; i++)
        argv[i] = strdup(check->config->argv[i]);
    rc = options_add(check->options, "", rows, ARRAY_LEN(rows), sizeof rows[0], &fields, &why);
    for (unsigned i = 0; i < check->plugins.count && rc == 0; i++) {
        struct plugin *plugin = &check->plugins.all[i];

        if (plugin->why.text[0] == '\0')
            rc = options_add(check->options, plugin_owner(plugin), plugin->options,
                             plugin->desc.option_count, sizeof *plugin->options,
                             plugin->option_fields, &why);
    }
    if (rc == 0)
        rc = options_parse(check->options, argc, argv, "", words, &word_count, &why);
    if (rc == -ENOENT && misplaced(check->config) != NULL)
        check_refuse(check, "--%s is an option of the check: it stands before --",
                     misplaced(check->config));
    if (rc == 0 && word_count > 1)
        rc = error_set(&why, -EINVAL, "\"%s\": there is one LOCATION, and it is \"%s\"", words[1],
                       words[0]);
    if (rc != 0)
        check_refuse(check, "%s", why.text);
    check->backend = fields.backend;
    check->location = word_count > 0 ? strdup(words[0]) : NULL;
    for (int i = 0; i < argc; i++)
        free(argv[i]);
    free(argv);
    free(words);
}

static void
report_kinds(const struct check *check)
{
    const struct bd_plugin *desc = &check->plugin->desc;
    char kinds[4];

    snprintf(kinds, sizeof kinds, "%s%s%s", desc->backend != NULL ? "b" : "",
             desc->codec_count > 0 ? "c" : "", desc->keywrap_count > 0 ? "k" : "");
    report(check, 'K', kinds);
}

static void
must_have_backend(struct check *check)
{
    const struct check_config *config = check->config;
    const char *option = config->absent != NULL   ? "absent"
                         : config->other != NULL  ? "other"
                         : config->vanish != NULL ? "vanish"
                         : config->stall != NULL  ? "stall"
                                                  : NULL;

    if (option != NULL && check->plugin->desc.backend == NULL)
        check_refuse(check, "--%s is about a backend, and %s has none", option,
                     check->plugin->name);
}

void
check_load(struct check *check)
{
    struct error why = { "" };
    int rc = check_search(check, &check->plugins, &why);

    if (rc != 0)
        check_refuse(check, "%s", why.text);
    check->plugin = check_found(check, &check->plugins);
    if (check->plugin == NULL || check->plugin->why.text[0] != '\0')
        check_refuse(check, "%s",
                     check->plugin == NULL ? "it is not there any more" : check->plugin->why.text);
    report_kinds(check);
    must_have_backend(check);
    options_load(check);
}

void
check_unload(struct check *check)
{
    if (check->pool != NULL)
        pool_free(check->pool);
    asked_free_all();
    check_hosts_free(check);
    options_free(check->options);
    plugins_free(&check->plugins);
    free((char *)(uintptr_t)check->location);
}
