/* SPDX-License-Identifier: Apache-2.0 */
/* Options as data: the table of rows, each checked when it is added, and found by any of its names.
 *
 * options_parse.c, options_config.c and options_value.c fill the fields, options_help.c shows the
 * rows. */
#include "options_table.h"
#include "spelling.h"
#include "util.h"
#include "values.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Of a row's own name or alias: leaves room for its owner's name in front of it. */
enum { ROW_NAME_BYTES_MAX = NAME_BYTES_MAX - 24 };

/* ------------------------------------------------------------------ names */

static bool
is_joint(char c)
{
    return c == '-' || c == '_';
}

/* Lower case, without dashes: the form in which names are compared. */
static size_t
name_plain(const char *name, size_t len, char out[NAME_BYTES_MAX + 1])
{
    size_t n = 0;

    for (size_t i = 0; i < len && n < NAME_BYTES_MAX; i++) {
        if (!is_joint(name[i]))
            out[n++] = (char)tolower((unsigned char)name[i]);
    }
    out[n] = '\0';
    return n;
}

static bool
name_equal(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t i = 0, j = 0;

    for (;;) {
        while (i < a_len && is_joint(a[i]))
            i++;
        while (j < b_len && is_joint(b[j]))
            j++;
        if (i == a_len || j == b_len)
            return i == a_len && j == b_len;
        if (tolower((unsigned char)a[i++]) != tolower((unsigned char)b[j++]))
            return false;
    }
}

bool
alias_next(const char **at, const char **word, size_t *len)
{
    if (*at == NULL)
        return false;
    *at += strspn(*at, " ");
    *word = *at;
    *len = strcspn(*at, " ");
    *at += *len;
    return *len > 0;
}

static bool
entry_has_name(const struct entry *entry, const char *name, size_t len)
{
    const char *at = entry->row.alias, *word;
    size_t word_len;

    if (name_equal(entry->name, strlen(entry->name), name, len))
        return true;
    while (alias_next(&at, &word, &word_len)) {
        if (name_equal(word, word_len, name, len))
            return true;
    }
    return false;
}

/* "OWNER:NAME" or "PLUGIN:NAME", `colon` where that stands. */
static bool
entry_has_long_name(const struct entry *entry, const char *name, const char *colon, size_t len)
{
    const size_t owner_len = (size_t)(colon - name), rest_len = len - owner_len - 1;
    const char *at = entry->row.alias, *word = entry->row.name;
    size_t word_len = strlen(word);

    if (entry->owner[0] == '\0'
        || (!name_equal(name, owner_len, entry->owner, strlen(entry->owner))
            && !name_equal(name, owner_len, entry->plugin, strlen(entry->plugin))))
        return false;
    do {
        if (name_equal(colon + 1, rest_len, word, word_len))
            return true;
    } while (alias_next(&at, &word, &word_len));
    return false;
}

/* The first from `from` on. */
static struct entry *
entry_find_from(const struct options *options, size_t from, const char *name, size_t len)
{
    const char *colon = memchr(name, ':', len);

    for (size_t i = from; i < options->count; i++) {
        struct entry *entry = &options->entries[i];

        if (colon != NULL ? entry_has_long_name(entry, name, colon, len)
                          : entry_has_name(entry, name, len))
            return entry;
    }
    return NULL;
}

struct entry *
entry_find(const struct options *options, const char *name, size_t len)
{
    return entry_find_from(options, 0, name, len);
}

static struct entry *
entry_rival(const struct options *options, const struct entry *entry, const char *name, size_t len)
{
    if (entry->owner[0] == '\0')
        return NULL;
    return entry_find_from(options, (size_t)(entry - options->entries) + 1, name, len);
}

const char *
entry_shown(const struct options *options, const struct entry *entry, char out[SHOWN_BYTES])
{
    const size_t len = strlen(entry->name);

    if (entry->owner[0] == '\0'
        || (entry_find(options, entry->name, len) == entry
            && entry_rival(options, entry, entry->name, len) == NULL))
        return entry->name;
    snprintf(out, SHOWN_BYTES, "%s:%s", entry->plugin, entry->row.name);
    return out;
}

/* How much of `name` is that word, with the joints behind it; 0: it does not begin with it, or nothing follows. */
static size_t
word_len(const char *name, size_t len, const char *word)
{
    size_t at = 0;

    if (word == NULL)
        return 0;
    for (; *word != '\0'; at++) {
        if (at == len)
            return 0;
        if (is_joint(name[at]))
            continue;
        if (tolower((unsigned char)name[at]) != *word++)
            return 0;
    }
    while (at < len && is_joint(name[at]))
        at++;
    return at < len ? at : 0;
}

struct found
entry_find_sided(const struct options *options, const char *name, size_t len)
{
    const char *const sides[] = { options->mine, options->others };
    struct found found = { .entry = entry_find(options, name, len) };
    size_t skip = 0;

    for (unsigned i = 0; i < ARRAY_LEN(sides) && found.entry == NULL; i++) {
        skip = word_len(name, len, sides[i]);
        if (skip > 0)
            found.entry = entry_find(options, name + skip, len - skip);
        found.is_others = found.entry != NULL && sides[i] == options->others && !options->is_skim;
    }
    if (found.entry != NULL)
        found.rival = entry_rival(options, found.entry, name + skip, len - skip);
    return found;
}

void
options_refuse(struct options *options, const struct option_refusal *refusals, size_t count)
{
    options->refusals = refusals;
    options->refusal_count = count;
}

const char *
refusal_find(const struct options *options, const char *name, size_t len)
{
    for (size_t i = 0; i < options->refusal_count; i++) {
        const struct option_refusal *refusal = &options->refusals[i];

        if (name_equal(refusal->name, strlen(refusal->name), name, len))
            return refusal->instead;
    }
    return NULL;
}

/* The name that somebody who wrote `name` may have meant; "" when none is near. */
void
name_nearest(const struct options *options, const char *name, size_t len,
             char out[NAME_BYTES_MAX + 1])
{
    char typed[NAME_BYTES_MAX + 1], known[NAME_BYTES_MAX + 1];
    size_t typed_len = name_plain(name, len, typed);
    size_t best = spelling_slip_max(typed_len) + 1;

    out[0] = '\0';
    for (size_t i = 0; i < options->count; i++) {
        const struct entry *entry = &options->entries[i];
        const char *at = entry->row.alias, *word = entry->name;
        size_t word_len = strlen(word);

        if (entry->row.flags & BD_OPTF_HIDDEN)
            continue;
        do {
            size_t known_len = name_plain(word, word_len, known);
            size_t distance = spelling_distance(typed, typed_len, known, known_len);

            if (distance < best && 2 * distance < typed_len) {
                best = distance;
                snprintf(out, NAME_BYTES_MAX + 1, "%.*s", (int)word_len, word);
            }
        } while (alias_next(&at, &word, &word_len));
    }
}

const char *
owner_name(const char *owner)
{
    return owner[0] != '\0' ? owner : "the core";
}

/* ------------------------------------------------------------------ rows */

static bool
text_is_name(const char *text, size_t len, const char *extra)
{
    if (len == 0 || len > ROW_NAME_BYTES_MAX || text[0] == '-' || text[len - 1] == '-')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)text[i]) && strchr(extra, text[i]) == NULL)
            return false;
    }
    return true;
}

static bool
row_field_fits(const struct bd_option *row)
{
    switch (row->type) {
    case BD_OPT_BOOL:
        return row->field_bytes == sizeof(uint8_t);
    case BD_OPT_UINT:
        return row->field_bytes == sizeof(uint32_t) || row->field_bytes == sizeof(uint64_t);
    case BD_OPT_SIZE:
    case BD_OPT_DURATION:
        return row->field_bytes == sizeof(uint64_t);
    case BD_OPT_ENUM:
    case BD_OPT_OCTAL:
        return row->field_bytes == sizeof(uint32_t);
    default:
        return row->field_bytes == sizeof(char *);
    }
}

/* What is wrong with the flags of a row; NULL when nothing is. */
static const char *
row_flags_problem(const struct bd_option *row)
{
    const uint32_t known =
        BD_OPTF_REQUIRED | BD_OPTF_LOCATION | BD_OPTF_SECONDS | BD_OPTF_HIDDEN | BD_OPTF_BARE;

    if (row->flags & ~known)
        return "has flags that this bucketdisk does not know";
    if ((row->flags & BD_OPTF_REQUIRED) && row->def != NULL)
        return "is required and has a default";
    if ((row->flags & BD_OPTF_LOCATION) && row->type != BD_OPT_STRING && row->type != BD_OPT_PATH)
        return "is a location but neither a string nor a path";
    if ((row->flags & BD_OPTF_SECONDS) && row->type != BD_OPT_DURATION)
        return "is in seconds but not a duration";
    if ((row->flags & BD_OPTF_BARE) && row->type != BD_OPT_STRING && row->type != BD_OPT_ENUM)
        return "may be bare but is neither a string nor an enum";
    return NULL;
}

static const char *
row_problem(const struct bd_option *row, uint32_t fields_bytes)
{
    const char *problem = NULL;
    const char *at = row->alias, *word;
    size_t len;

    if (row->type < BD_OPT_STRING || row->type > BD_OPT_OCTAL)
        return "has a type that this bucketdisk does not know";
    if (!row_field_fits(row))
        return "has a field whose size does not fit its type: see enum bd_option_type";
    if ((uint64_t)row->offset + row->field_bytes > fields_bytes)
        return "has a field that ends outside the options struct";
    if (row->offset % row->field_bytes != 0)
        return "has a field that is not aligned";
    if (row->help == NULL || row->help[0] == '\0')
        return "has no help line";
    if (row->type == BD_OPT_ENUM && (row->choices == NULL || row->choices[0] == NULL))
        return "is an enum without choices";
    if (row_has_range(row) && row->min > row_max(row))
        return "has a minimum above its maximum";
    if (row->type == BD_OPT_SECRET && row->def != NULL)
        return "is a secret with a default";
    problem = row_flags_problem(row);
    while (problem == NULL && alias_next(&at, &word, &len)) {
        if (!text_is_name(word, len, "-_"))
            problem = "has an alias that is no name (letters, digits, - and _)";
    }
    return problem;
}

static int
row_check(const char *owner, const struct bd_option *row, uint32_t index, uint32_t fields_bytes,
          struct error *why)
{
    const char *problem;
    char bad_default[360];
    uint64_t value;

    if (row->name == NULL || !text_is_name(row->name, strlen(row->name), "-"))
        return error_set(why, -EINVAL,
                         "option %" PRIu32 " of %s has the name \"%.40s\": letters, digits and - "
                         "are allowed, at most %d",
                         index, owner_name(owner), row->name != NULL ? row->name : "",
                         ROW_NAME_BYTES_MAX);
    problem = row_problem(row, fields_bytes);
    if (problem == NULL && row->def != NULL && !row_is_string(row)
        && number_parse(row, row->def, &value, bad_default, sizeof bad_default) != 0)
        return error_set(why, -EINVAL, "option \"%s\" of %s has a bad default: %s", row->name,
                         owner_name(owner), bad_default);
    if (problem != NULL)
        return error_set(why, -EINVAL, "option \"%s\" of %s %s", row->name, owner_name(owner),
                         problem);
    return 0;
}

/* ------------------------------------------------------------------ the table */

static void
entry_clear(struct entry *entry)
{
    entry_forget(entry);
    free(entry->name);
    free(entry->owner);
    free(entry->plugin);
    memset(entry, 0, sizeof *entry);
}

/* -EEXIST when one of the entry's names is another's from `from` on, and before the entry. */
static int
entry_check_names(const struct options *options, size_t from, const struct entry *entry,
                  struct error *why)
{
    const char *at = entry->row.alias, *word = entry->name;
    size_t len = strlen(word);

    do {
        const struct entry *other = entry_find_from(options, from, word, len);

        if (other != NULL && other < entry)
            return error_set(why, -EEXIST,
                             "two options are called --%.*s: \"%s\" of %s and \"%s\" of %s",
                             (int)len, word, other->row.name, owner_name(other->owner),
                             entry->row.name, owner_name(entry->owner));
    } while (alias_next(&at, &word, &len));
    return 0;
}

static int
entry_check_location(const struct options *options, size_t from, const struct entry *entry,
                     struct error *why)
{
    for (size_t i = from; i < options->count; i++) {
        const struct entry *other = &options->entries[i];

        if (entry->row.flags & other->row.flags & BD_OPTF_LOCATION)
            return error_set(why, -EINVAL, "two options of %s are its location: \"%s\" and \"%s\"",
                             owner_name(entry->owner), other->row.name, entry->row.name);
    }
    return 0;
}

struct owner {
    const char *plugin, *name;
};

/* Fill one entry.  `field` NULL: only check. */
static int
entry_init(struct entry *entry, const struct owner *owner_of, const struct bd_option *row,
           void *field, struct error *why)
{
    const char *owner = owner_of->name;

    entry->row = *row;
    entry->owner = strdup(owner);
    entry->plugin = strdup(owner_of->plugin);
    if (asprintf(&entry->name, "%s%s%s", owner, owner[0] != '\0' ? "-" : "", row->name) < 0)
        entry->name = NULL;
    if (entry->owner == NULL || entry->plugin == NULL || entry->name == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    entry->field = field;
    entry->is_config_file =
        owner[0] == '\0' && name_equal(row->name, strlen(row->name), "configfile", 10);
    return 0;
}

static int
entry_set_default(const struct options *options, struct entry *entry, struct error *why)
{
    if (entry->row.def != NULL)
        return entry_set(options, entry, entry->name, entry->row.def, why);
    memset(entry->field, 0, entry->row.field_bytes);
    return 0;
}

/* All of the rows or none.  `fields` NULL: only check. */
static int
rows_add(struct options *options, const struct owner *owner_of, const struct bd_option *rows,
         uint32_t count, uint32_t stride, uint32_t fields_bytes, void *fields, struct error *why)
{
    const char *owner = owner_of->name;
    const size_t before = options->count;
    const size_t own = owner[0] == '\0' ? 0 : before; /* the core's tables are one */
    struct entry *grown;
    int rc = 0;

    if (count == 0)
        return 0;
    assert(before == 0 || owner[0] != '\0' || options->entries[before - 1].owner[0] == '\0');
    if (!BD_REACHES(struct bd_option, stride, help))
        return error_set(why, -EINVAL,
                         "the options of %s are %" PRIu32 " bytes apart, at least %zu are "
                         "needed",
                         owner_name(owner), stride, sizeof(struct bd_option));
    grown = reallocarray(options->entries, before + count, sizeof *grown);
    if (grown == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    options->entries = grown;
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        struct entry *entry = &options->entries[options->count];
        const char *at = (const char *)rows + (size_t)i * stride;
        struct bd_option row = { 0 };

        memset(entry, 0, sizeof *entry);
        memcpy(&row, at, stride < sizeof row ? stride : sizeof row);
        rc = row_check(owner, &row, i, fields_bytes, why);
        if (rc != 0)
            break;
        rc = entry_init(entry, owner_of, &row, fields != NULL ? (char *)fields + row.offset : NULL,
                        why);
        if (rc == 0)
            rc = entry_check_names(options, own, entry, why);
        if (rc == 0)
            rc = entry_check_location(options, own, entry, why);
        if (rc == 0 && fields != NULL)
            rc = entry_set_default(options, entry, why);
        if (rc == 0)
            options->count++;
        else
            entry_clear(entry);
    }
    while (rc != 0 && options->count > before)
        entry_clear(&options->entries[--options->count]);
    return rc;
}

int
options_new(struct options **out)
{
    *out = calloc(1, sizeof **out);
    return *out != NULL ? 0 : -ENOMEM;
}

void
options_free(struct options *options)
{
    if (options == NULL)
        return;
    for (size_t i = 0; i < options->count; i++)
        entry_clear(&options->entries[i]);
    free(options->entries);
    free(options->mount_words);
    free(options->mount_flags);
    free(options->idle_words);
    free(options);
}

int
options_add(struct options *options, const char *owner, const struct bd_option *rows,
            uint32_t count, uint32_t stride, void *fields, struct error *why)
{
    return options_add_plugin(options, owner, owner, rows, count, stride, fields, why);
}

int
options_add_plugin(struct options *options, const char *plugin, const char *owner,
                   const struct bd_option *rows, uint32_t count, uint32_t stride, void *fields,
                   struct error *why)
{
    return rows_add(options, &(struct owner){ plugin, owner }, rows, count, stride, UINT32_MAX,
                    fields, why);
}

int
options_check_names(const struct options *options, const char *owner, struct error *why)
{
    int rc = 0;

    for (size_t i = 0; i < options->count && rc == 0; i++) {
        const struct entry *entry = &options->entries[i];

        if (strcmp(entry->owner, owner) == 0)
            rc = entry_check_names(options, 0, entry, why);
    }
    return rc;
}

int
options_check(const char *owner, const struct bd_option *rows, uint32_t count, uint32_t stride,
              uint32_t fields_bytes, struct error *why)
{
    struct options scratch = { 0 };
    int rc = rows_add(&scratch, &(struct owner){ owner, owner }, rows, count, stride, fields_bytes,
                      NULL, why);

    for (size_t i = 0; i < scratch.count; i++)
        entry_clear(&scratch.entries[i]);
    free(scratch.entries);
    return rc;
}

void
options_take_side(struct options *options, const char *mine, const char *others)
{
    options->mine = mine;
    options->others = others;
}

void
options_skim(struct options *options)
{
    options->is_skim = true;
}

bool
options_given(const struct options *options, const char *name)
{
    const struct entry *entry = entry_find(options, name, strlen(name));

    return entry != NULL && entry->is_given;
}

void
options_forget(struct options *options, const char *name)
{
    struct entry *entry = entry_find(options, name, strlen(name));
    const char *none = NULL;

    assert(entry != NULL && entry->row.type == BD_OPT_SECRET);
    memcpy(entry->field, &none, sizeof none);
    entry_forget(entry);
}

int
options_require(const struct options *options, const char *owner, struct error *why)
{
    for (size_t i = 0; i < options->count; i++) {
        const struct entry *entry = &options->entries[i];

        if (strcmp(entry->owner, owner) != 0 || !(entry->row.flags & BD_OPTF_REQUIRED))
            continue;
        if (entry->is_given && row_is_string(&entry->row) && entry->owned[0] == '\0')
            return error_set(why, -EINVAL, "--%s is empty, and it is required (%s)", entry->name,
                             entry->row.help);
        if (entry->is_given)
            continue;
        if (entry->row.flags & BD_OPTF_LOCATION)
            return error_set(why, -EINVAL,
                             "--%s is required (%s); it may also be the first word of the command "
                             "line",
                             entry->name, entry->row.help);
        return error_set(why, -EINVAL, "--%s is required (%s)", entry->name, entry->row.help);
    }
    return 0;
}

bool
options_name_is(const char *word, size_t len, const char *name)
{
    return name_equal(word, len, name, strlen(name));
}
