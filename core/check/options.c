/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a check on a plugin's texts and options. */
#include "impl.h"

#include "base/options.h"
#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARK "bucketdisk-check-secret"

static bool
is_one_line(const char *text)
{
    if (text == NULL || text[0] == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return false;
    }
    return true;
}

static void
it_says_what_it_is(struct check *check)
{
    const struct plugin *plugin = check->plugin;

    if (!is_one_line(plugin->desc.summary))
        check_fail(check, "expected a summary of one line, came \"%s\"", plugin->desc.summary);
    if (!is_one_line(plugin->desc.version))
        check_fail(check, "expected a version, came \"%s\"", plugin->desc.version);
    for (uint32_t i = 0; i < plugin->desc.codec_count; i++) {
        if (!is_one_line(plugin->codecs[i].summary))
            check_fail(check, "codec %s has no summary of one line", plugin->codecs[i].token);
    }
    for (uint32_t i = 0; i < plugin->desc.keywrap_count; i++) {
        if (!is_one_line(plugin->keywraps[i].summary))
            check_fail(check, "key wrap %s has no summary of one line", plugin->keywraps[i].name);
    }
}

static void
every_option_has_help(struct check *check)
{
    for (uint32_t i = 0; i < check->plugin->desc.option_count; i++) {
        const struct bd_option *row = &check->plugin->options[i];

        if (!is_one_line(row->help) || row->help[strlen(row->help) - 1] == '.')
            check_fail(check,
                       "option %s: expected help of one line without a full stop, came "
                       "\"%s\"",
                       row->name, row->help != NULL ? row->help : "");
    }
}

static void
options_live_beside_a_mounts(struct check *check)
{
    const struct plugin *plugin = check->plugin;
    struct settings *settings = check_alloc(check, sizeof *settings);
    void *fields = check_alloc(check, plugin->desc.options_bytes + 1);
    struct options *options;
    struct error why = { "" };

    if (options_new(&options) != 0)
        return;
    if (options_add(options, "", settings_rows, settings_row_count, sizeof settings_rows[0],
                    settings, &why)
            != 0
        || options_add(options, plugin_owner(plugin), plugin->options, plugin->desc.option_count,
                       sizeof *plugin->options, fields, &why)
               != 0
        || options_check_names(options, plugin_owner(plugin), &why) != 0)
        check_fail(check, "%s", why.text);
    options_free(options);
}

static void
check_says_why(struct check *check)
{
    static const size_t rooms[] = { 480, 16, 1 };
    const struct plugin *plugin = check->plugin;
    const uint32_t bytes = plugin->desc.options_bytes;
    char *before = check_alloc(check, bytes + 1);

    if (plugin->desc.check == NULL) {
        check_skip(check, "it has none");
        return;
    }
    memcpy(before, plugin->option_fields, bytes);
    for (size_t i = 0; i < ARRAY_LEN(rooms); i++) {
        char *why = check_guarded(check, rooms[i]);
        const enum bd_status status = plugin->desc.check(plugin->option_fields, why, rooms[i]);

        if (status != BD_OK && status != BD_INVALID)
            check_fail(check, "expected OK or INVALID, came %s", status_word(status));
        else if (memchr(why, '\0', rooms[i]) == NULL)
            check_fail(check, "what it says does not end within the %zu bytes that it has",
                       rooms[i]);
        else if (status == BD_INVALID && rooms[i] > 1 && why[0] == '\0')
            check_fail(check, "it refuses the options, and does not say why");
    }
    if (memcmp(before, plugin->option_fields, bytes) != 0)
        check_fail(check, "it changed the options, which are the host's");
}

/* ------------------------------------------------------------------ secrets */

static void
codecs_try(struct check *check)
{
    for (uint32_t i = 0; i < check->plugin->desc.codec_count; i++) {
        const struct bd_codec *codec = &check->plugin->codecs[i];
        struct check_host *host = check_host_new(check, 0);
        void *handle = NULL;

        if (codec->open(&host->table, check->plugin->option_fields, codec->token, &handle) == BD_OK)
            codec->close(handle);
    }
}

static void
backend_try(struct check *check)
{
    struct store *store;

    if (check->plugin->desc.backend == NULL)
        return;
    store = store_try(check, (struct store_how){ 0 });
    if (store->layers[0].is_open) {
        check_said(store_info(store)->display, false);
        check_said(store_info(store)->identity, false);
        asked_run(asked_for(store, BD_HEAD_OBJECT, "secret"));
    }
    store_close(store);
}

static bool
is_taken(const struct plugin *plugin)
{
    char why[480] = "";
    enum bd_status status;

    if (plugin->desc.check == NULL)
        return true;
    status = plugin->desc.check(plugin->option_fields, why, sizeof why);
    check_said(why, false);
    return status == BD_OK;
}

/* Wrong ones are used, which a plugin may well complain of. */
static void
secrets_reach_no_log(struct check *check)
{
    const struct plugin *plugin = check->plugin;
    const char *mark = MARK;
    unsigned count = 0;
    char what[128];

    for (uint32_t i = 0; i < plugin->desc.option_count && !check->is_failed; i++) {
        char *field = (char *)plugin->option_fields + plugin->options[i].offset;
        const char *given;

        if (plugin->options[i].type != BD_OPT_SECRET)
            continue;
        count++;
        check_secret("its value", mark);
        memcpy(&given, field, sizeof given);
        memcpy(field, &mark, sizeof mark);
        if (is_taken(plugin)) {
            codecs_try(check);
            backend_try(check);
        }
        memcpy(field, &given, sizeof given);
        snprintf(what, sizeof what, "the value of the option %.80s", plugin->options[i].name);
        check_expect_no_leak(check, what);
    }
    if (count == 0)
        check_skip(check, "it has no secret option");
}

void
check_options(struct check *check)
{
    static const struct check_row rows[] = {
        { "version and summaries are one line each", it_says_what_it_is,
          "const char *summary; /* one line */" },
        { "every option has help of one line without a full stop", every_option_has_help,
          "one line, no full stop" },
        { "its options have names that no option of a mount has", options_live_beside_a_mounts,
          "Option names compare without dashes and case" },
        { "check says OK, or INVALID and why in the room that it has", check_says_why,
          "Reject a combination of options: fill `why` and return BD_INVALID" },
        { "no secret option reaches the log", secrets_reach_no_log,
          "Never data of blocks, never a secret" },
    };

    check_rows(check, "", rows, ARRAY_LEN(rows));
}
