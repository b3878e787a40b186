/* SPDX-License-Identifier: Apache-2.0 */
/* bucketdisk plugins: which plugins there are, what they provide, and what is wrong with the
 * others. */
#include "cmd.h"

#include "base/options.h"
#include "loader.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct plugins_options {
    const char *plugin_path;
    uint8_t builtin_only;
    uint8_t verbose;
    uint8_t json;
    uint8_t help;
};

static const struct bd_option rows[] = {
    { .name = "plugin-path",
      .type = BD_OPT_STRING,
      BD_FIELD(struct plugins_options, plugin_path),
      .metavar = "DIR:FILE.so:...",
      .help = "look here first: absolute directories or plugin files" },
    { .name = "plugin-builtin-only",
      .type = BD_OPT_BOOL,
      BD_FIELD(struct plugins_options, builtin_only),
      .help = "look only where this program was built or installed" },
    { .name = "verbose",
      .type = BD_OPT_BOOL,
      BD_FIELD(struct plugins_options, verbose),
      .help = "show aliases of tokens and all options too (-v)" },
    { .name = "json",
      .type = BD_OPT_BOOL,
      BD_FIELD(struct plugins_options, json),
      .help = "print one JSON array" },
    { .name = "help",
      .type = BD_OPT_BOOL,
      BD_FIELD(struct plugins_options, help),
      .help = "print this text (-h)" },
};

static const struct {
    uint32_t trait;
    const char *name;
} trait_names[] = {
    { BD_CODEC_COMPRESSES, "compresses" },
    { BD_CODEC_ENCRYPTS, "encrypts" },
    { BD_CODEC_AUTHENTICATES, "authenticates" },
    { BD_CODEC_TRANSFORMS, "transforms" },
    { BD_CODEC_MAY_DECLINE, "may decline" },
    { BD_CODEC_DECODE_ONLY, "decodes only" },
    { BD_CODEC_BINDS, "binds" },
};

#define TRAIT_COUNT (sizeof trait_names / sizeof trait_names[0])
#define TEXT_COLUMN 13

static bool
plugin_is_wanted(const struct plugin *plugin, char **names, int name_count)
{
    for (int i = 0; i < name_count; i++) {
        if (strcmp(plugin->name, names[i]) == 0 || strcmp(plugin_owner(plugin), names[i]) == 0)
            return true;
    }
    return name_count == 0;
}

/* A label, and behind it words in lines that begin below each other. */
struct row {
    char *text;
    size_t bytes;
    FILE *out; /* NULL: out of memory */
};

static bool
row_begin(struct row *row)
{
    row->out = open_memstream(&row->text, &row->bytes);
    return row->out != NULL;
}

static void
row_end(struct row *row, const char *label)
{
    fclose(row->out);
    printf("  %-*s", TEXT_COLUMN - 2, label);
    options_wrap(row->text != NULL ? row->text : "", TEXT_COLUMN, stdout);
    free(row->text);
}

static void
summary_print(FILE *out, const char *summary)
{
    if (summary != NULL && summary[0] != '\0')
        fprintf(out, ": %s", summary);
}

static void
codec_print(const struct bd_codec *codec, bool is_verbose)
{
    const char *between = "";
    struct row row;

    if (!row_begin(&row))
        return;
    fprintf(row.out, "%s%s (", codec->token, codec->match != NULL ? " and its family" : "");
    for (size_t i = 0; i < TRAIT_COUNT; i++) {
        if (codec->traits & trait_names[i].trait) {
            fprintf(row.out, "%s%s", between, trait_names[i].name);
            between = ", ";
        }
    }
    fputc(')', row.out);
    summary_print(row.out, codec->summary);
    row_end(&row, "codec");
    if (!is_verbose || codec->aliases == NULL || codec->aliases[0] == NULL || !row_begin(&row))
        return;
    fprintf(row.out, "also");
    for (size_t i = 0; codec->aliases[i] != NULL; i++)
        fprintf(row.out, " %s", codec->aliases[i]);
    row_end(&row, "");
}

static void
option_names_print(const struct plugin *plugin)
{
    struct row row;

    if (!row_begin(&row))
        return;
    for (uint32_t i = 0; i < plugin->desc.option_count; i++) {
        if (!(plugin->options[i].flags & BD_OPTF_HIDDEN))
            fprintf(row.out, " --%s-%s", plugin_owner(plugin), plugin->options[i].name);
    }
    row_end(&row, "options");
}

static void
keywrap_print(const struct bd_keywrap *keywrap)
{
    struct row row;

    if (!row_begin(&row))
        return;
    fputs(keywrap->name, row.out);
    summary_print(row.out, keywrap->summary);
    row_end(&row, "key wrap");
}

static void
options_print(const struct plugin *plugin, bool is_verbose)
{
    const struct bd_plugin *desc = &plugin->desc;
    struct options *options;

    if (desc->option_count == 0)
        return;
    if (!is_verbose) {
        option_names_print(plugin);
        return;
    }
    if (options_new(&options) != 0)
        return;
    printf("  options\n");
    if (options_add(options, plugin_owner(plugin), plugin->options, desc->option_count,
                    sizeof *plugin->options, plugin->option_fields, NULL)
        == 0)
        options_help(options, plugin_owner(plugin), stdout);
    options_free(options);
}

static void
plugin_print(const struct plugin *plugin, bool is_verbose)
{
    const struct bd_plugin *desc = &plugin->desc;

    if (plugin->why.text[0] != '\0') {
        printf("%s: no good\n  ", plugin->name);
        options_wrap(plugin->why.text, 2, stdout);
        return;
    }
    printf("%s%s%s", plugin->name, desc->version[0] != '\0' ? " " : "", desc->version);
    summary_print(stdout, desc->summary);
    printf("\n");
    printf("  ABI        %u.%u\n", (unsigned)desc->head.abi_major, (unsigned)desc->abi_minor);
    printf("  path       %s\n", plugin->path);
    if (desc->backend != NULL)
        printf("  backend    %s%s\n", plugin_owner(plugin),
               plugin->backend.traits & BD_BACKEND_STACKS ? " (stacks on another)" : "");
    for (uint32_t i = 0; i < desc->codec_count; i++)
        codec_print(&plugin->codecs[i], is_verbose);
    for (uint32_t i = 0; i < desc->keywrap_count; i++)
        keywrap_print(&plugin->keywraps[i]);
    options_print(plugin, is_verbose);
}

static json_t *
codec_json(const struct bd_codec *codec)
{
    json_t *aliases = json_array(), *traits = json_array();

    for (size_t i = 0; codec->aliases != NULL && codec->aliases[i] != NULL; i++)
        json_array_append_new(aliases, json_string(codec->aliases[i]));
    for (size_t i = 0; i < TRAIT_COUNT; i++) {
        if (codec->traits & trait_names[i].trait)
            json_array_append_new(traits, json_string(trait_names[i].name));
    }
    return json_pack("{s:s, s:s?, s:o, s:o, s:b}", "token", codec->token, "summary", codec->summary,
                     "aliases", aliases, "traits", traits, "family", codec->match != NULL);
}

static json_t *
plugin_json(const struct plugin *plugin)
{
    const struct bd_plugin *desc = &plugin->desc;
    json_t *codecs, *keywraps, *options;

    if (plugin->why.text[0] != '\0')
        return json_pack("{s:s, s:s, s:b, s:s}", "name", plugin->name, "path", plugin->path,
                         "usable", 0, "why", plugin->why.text);
    codecs = json_array();
    keywraps = json_array();
    options = json_array();
    for (uint32_t i = 0; i < desc->codec_count; i++)
        json_array_append_new(codecs, codec_json(&plugin->codecs[i]));
    for (uint32_t i = 0; i < desc->keywrap_count; i++)
        json_array_append_new(keywraps, json_pack("{s:s, s:s?}", "name", plugin->keywraps[i].name,
                                                  "summary", plugin->keywraps[i].summary));
    for (uint32_t i = 0; i < desc->option_count; i++)
        json_array_append_new(options,
                              json_sprintf("%s-%s", plugin_owner(plugin), plugin->options[i].name));
    return json_pack("{s:s, s:s, s:b, s:s, s:s, s:i, s:i, s:o, s:o, s:o, s:o}", "name",
                     plugin->name, "path", plugin->path, "usable", 1, "version", desc->version,
                     "summary", desc->summary, "abi_major", (int)desc->head.abi_major, "abi_minor",
                     (int)desc->abi_minor, "backend",
                     desc->backend != NULL ? json_string(plugin_owner(plugin)) : json_null(),
                     "codecs", codecs, "keywraps", keywraps, "options", options);
}

/* 1 when a plugin that was asked for by name is missing or no good. */
static int
names_check(const struct plugins *plugins, char **names, int name_count)
{
    int status = 0;

    for (int i = 0; i < name_count; i++) {
        bool is_found = false;

        for (unsigned j = 0; j < plugins->count; j++) {
            const struct plugin *plugin = &plugins->all[j];

            if (!plugin_is_wanted(plugin, &names[i], 1))
                continue;
            is_found = true;
            if (plugin->why.text[0] != '\0')
                status = 1;
        }
        if (is_found)
            continue;
        fprintf(stderr,
                "bucketdisk: error: there is no plugin \"%s\"; searched: %s; if it is elsewhere, "
                "say --plugin-path=...\n",
                names[i], plugins->searched);
        status = 1;
    }
    return status;
}

static int
plugins_show(const struct plugins *plugins, const struct plugins_options *fields, char **names,
             int name_count)
{
    json_t *array = fields->json ? json_array() : NULL;

    for (unsigned i = 0; i < plugins->count; i++) {
        const struct plugin *plugin = &plugins->all[i];

        if (!plugin_is_wanted(plugin, names, name_count))
            continue;
        if (fields->json)
            json_array_append_new(array, plugin_json(plugin));
        else
            plugin_print(plugin, fields->verbose);
    }
    if (fields->json) {
        json_dumpf(array, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
        printf("\n");
        json_decref(array);
    } else if (plugins->count == 0) {
        printf("no plugins; searched: %s\n", plugins->searched);
    }
    return names_check(plugins, names, name_count);
}

int
cmd_plugins(int argc, char **argv)
{
    struct plugins_options fields = { 0 };
    struct plugins plugins = { 0 };
    struct plugin_search search;
    struct options *options = NULL;
    char **names = calloc((size_t)argc + 1, sizeof *names);
    struct error why = { "out of memory" };
    int name_count, rc, status = 2;

    if (names == NULL || options_new(&options) != 0
        || options_add(options, "", rows, sizeof rows / sizeof rows[0], sizeof rows[0], &fields,
                       &why)
               != 0
        || options_parse(options, argc, argv, "v=verbose h=help", names, &name_count, &why) != 0) {
        fprintf(stderr, "bucketdisk: error: %s\n", why.text);
        goto free_options;
    }
    if (fields.help) {
        printf("usage: bucketdisk plugins [OPTION...] [NAME...]\n"
               "\n"
               "Lists the plugins that are found, and what is wrong with those that cannot be\n"
               "used.  Exit status 1 when a NAME is not found or cannot be used, or two plugins\n"
               "collide.\n"
               "\n");
        options_help(options, "", stdout);
        status = 0;
        goto free_options;
    }
    search =
        (struct plugin_search){ .extra = fields.plugin_path, .builtin_only = fields.builtin_only };
    rc = plugins_load(&plugins, &search, &why);
    status = rc == 0 ? plugins_show(&plugins, &fields, names, name_count) : 1;
    if (rc == 0)
        rc = plugins_check(&plugins, &why);
    if (rc == 0)
        rc = cmd_flush(&why);
    if (rc != 0) {
        fprintf(stderr, "bucketdisk: error: %s\n", why.text);
        status = 1;
    }
    plugins_free(&plugins);
free_options:
    options_free(options);
    free(names);
    return status;
}
