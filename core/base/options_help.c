/* SPDX-License-Identifier: Apache-2.0 */
/* What options show of themselves: help for people, JSON for programs.  No value that was given,
 * only rows. */
#include "options_table.h"
#include "values.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum {
    HELP_COLUMNS = 79, /* the last one stays free: a terminal may go to the next line behind it */
    HELP_LEFT_MAX = 28,
};

/* ------------------------------------------------------------------ help */

static const char *
row_metavar(const struct bd_option *row)
{
    static const char *const usual[] = {
        [BD_OPT_STRING] = "TEXT",   [BD_OPT_PATH] = "PATH", [BD_OPT_SECRET] = "SECRET",
        [BD_OPT_BOOL] = "",         [BD_OPT_UINT] = "N",    [BD_OPT_SIZE] = "SIZE",
        [BD_OPT_DURATION] = "TIME", [BD_OPT_ENUM] = "WORD", [BD_OPT_OCTAL] = "MODE",
    };

    return row->metavar != NULL ? row->metavar : usual[row->type];
}

static void
help_left(const struct options *options, const struct entry *entry, char *out, size_t out_bytes)
{
    const struct bd_option *row = &entry->row;
    char shown[SHOWN_BYTES];
    const char *name = entry_shown(options, entry, shown);

    if (row->type == BD_OPT_BOOL)
        snprintf(out, out_bytes, "  --%s", name);
    else
        snprintf(out, out_bytes, row->flags & BD_OPTF_BARE ? "  --%s[=%s]" : "  --%s=%s", name,
                 row_metavar(row));
}

/* The help line with what the row knows: "compression level (default 3; 1 to 19)". */
static char *
help_right(const struct bd_option *row)
{
    char list[240], from[32], to[32];
    const char *between = " (";
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);

    if (out == NULL)
        return NULL;
    fputs(row->help, out);
    if (row->flags & BD_OPTF_REQUIRED) {
        fprintf(out, "%srequired", between);
        between = "; ";
    }
    if (row->type == BD_OPT_ENUM) {
        choices_join(row->choices, ", ", list, sizeof list);
        fprintf(out, "%sone of %s", between, list);
        between = "; ";
    }
    if (row->def != NULL && row->def[0] != '\0' && row->type != BD_OPT_SECRET
        && row->type != BD_OPT_BOOL) {
        fprintf(out, "%sdefault %s", between, row->def);
        between = "; ";
    } else if (row->type == BD_OPT_BOOL && row->def != NULL) {
        uint64_t is_on = 0;

        (void)parse_bool(row->def, &is_on);
        if (is_on) {
            fprintf(out, "%son by default; turn off with =no", between);
            between = "; ";
        }
    }
    number_format(row, row->min, from, sizeof from);
    number_format(row, row->max, to, sizeof to);
    if (row_has_range(row) && row->max != 0) {
        fprintf(out, "%s%s to %s", between, from, to);
        between = "; ";
    } else if (row_has_range(row) && row->min != 0) {
        fprintf(out, "%sat least %s", between, from);
        between = "; ";
    }
    if (row->alias != NULL && row->alias[strspn(row->alias, " ")] != '\0') {
        const char *at = row->alias, *word;
        size_t len;

        fprintf(out, "%salso", between);
        while (alias_next(&at, &word, &len))
            fprintf(out, " --%.*s", (int)len, word);
        between = "; ";
    }
    if (strcmp(between, "; ") == 0)
        fputc(')', out);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

void
options_wrap(const char *text, size_t column, FILE *out)
{
    size_t at = column;

    for (;;) {
        size_t len;

        text += strspn(text, " ");
        len = strcspn(text, " ");
        if (len == 0)
            break;
        if (at > column && at + 1 + len > HELP_COLUMNS) {
            fprintf(out, "\n%*s", (int)column, "");
            at = column;
        }
        at += (size_t)fprintf(out, "%s%.*s", at > column ? " " : "", (int)len, text);
        text += len;
    }
    fputc('\n', out);
}

void
options_help(const struct options *options, const char *owner, FILE *out)
{
    char left[SHOWN_BYTES + NAME_BYTES_MAX + 80];
    size_t column = 0;

    for (size_t i = 0; i < options->count; i++) {
        const struct entry *entry = &options->entries[i];

        help_left(options, entry, left, sizeof left);
        if (strcmp(entry->owner, owner) == 0 && !(entry->row.flags & BD_OPTF_HIDDEN)
            && strlen(left) <= HELP_LEFT_MAX && strlen(left) + 2 > column)
            column = strlen(left) + 2;
    }
    if (column == 0)
        column = 8; /* every name is too long: all texts stand on lines of their own */
    for (size_t i = 0; i < options->count; i++) {
        const struct entry *entry = &options->entries[i];
        char *right;

        if (strcmp(entry->owner, owner) != 0 || (entry->row.flags & BD_OPTF_HIDDEN))
            continue;
        help_left(options, entry, left, sizeof left);
        right = help_right(&entry->row);
        if (strlen(left) + 2 > column)
            fprintf(out, "%s\n%*s", left, (int)column, "");
        else
            fprintf(out, "%-*s", (int)column, left);
        options_wrap(right != NULL ? right : entry->row.help, column, out);
        free(right);
    }
}

/* ------------------------------------------------------------------ dump */

static json_t *
words_json(const char *words)
{
    json_t *array = json_array();
    const char *word;
    size_t len;

    while (alias_next(&words, &word, &len))
        json_array_append_new(array, json_stringn(word, len));
    return array;
}

static json_t *
entry_json(const struct options *options, const struct entry *entry)
{
    char shown[SHOWN_BYTES];
    static const char *const types[] = {
        [BD_OPT_STRING] = "string",     [BD_OPT_PATH] = "path", [BD_OPT_SECRET] = "secret",
        [BD_OPT_BOOL] = "bool",         [BD_OPT_UINT] = "uint", [BD_OPT_SIZE] = "size",
        [BD_OPT_DURATION] = "duration", [BD_OPT_ENUM] = "enum", [BD_OPT_OCTAL] = "octal",
    };
    const struct bd_option *row = &entry->row;
    json_t *object = json_pack(
        "{s:s, s:s, s:s, s:o, s:s?, s:s, s:s, s:b, s:b, s:b, s:b}", "name",
        entry_shown(options, entry, shown), "owner", entry->owner, "type", types[row->type],
        "aliases", words_json(row->alias), "default", row->def, "metavar", row_metavar(row), "help",
        row->help, "required", (row->flags & BD_OPTF_REQUIRED) != 0, "location",
        (row->flags & BD_OPTF_LOCATION) != 0, "hidden", (row->flags & BD_OPTF_HIDDEN) != 0, "bare",
        row->type == BD_OPT_BOOL || (row->flags & BD_OPTF_BARE) != 0);

    if (row_has_range(row)) {
        json_object_set_new(object, "min", json_integer((json_int_t)(row->min & INT64_MAX)));
        if (row->max != 0)
            json_object_set_new(object, "max", json_integer((json_int_t)(row->max & INT64_MAX)));
    }
    if (row->type == BD_OPT_DURATION)
        json_object_set_new(object, "bare_unit",
                            json_string(row->flags & BD_OPTF_SECONDS ? "s" : "ms"));
    if (row->type == BD_OPT_ENUM) {
        json_t *choices = json_array();

        for (size_t i = 0; row->choices[i] != NULL; i++)
            json_array_append_new(choices, json_string(row->choices[i]));
        json_object_set_new(object, "choices", choices);
    }
    return object;
}

void
options_dump(const struct options *options, FILE *out)
{
    json_t *array = json_array();

    for (size_t i = 0; i < options->count; i++)
        json_array_append_new(array, entry_json(options, &options->entries[i]));
    json_dumpf(array, out, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    fputc('\n', out);
    json_decref(array);
}
