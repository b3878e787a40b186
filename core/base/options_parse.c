/* SPDX-License-Identifier: Apache-2.0 */
/* The ways to give an option: by name, as the location, as a word or a letter of a command line, in
 * a -o list.
 *
 * All of them, and the lines of config files, find the row and end in entry_apply.  A secret is
 * overwritten where it stood, also after an error. */
#include "options_table.h"
#include "util.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One way that somebody wrote an option: "--blockSize", as it appears in error sentences. */
struct spelling {
    char text[NAME_BYTES_MAX + 16];
};

/* ------------------------------------------------------------------ one option */

static struct spelling
spelling_of(const char *dashes, const char *name, size_t len)
{
    struct spelling as;

    snprintf(as.text, sizeof as.text, "%s%.*s", dashes,
             (int)(len < NAME_BYTES_MAX ? len : NAME_BYTES_MAX), name);
    return as;
}

static int
unknown_option(const struct options *options, const char *dashes, const char *name, size_t len,
               struct error *why)
{
    struct spelling as = spelling_of(dashes, name, len);
    const char *refusal = refusal_find(options, name, len);
    char nearest[NAME_BYTES_MAX + 1];

    if (options->is_skim)
        return 0;
    if (refusal != NULL)
        return options_say(options, why, -ENOENT, "%s: %s", as.text, refusal);
    name_nearest(options, name, len, nearest);
    if (nearest[0] != '\0')
        return options_say(options, why, -ENOENT, "there is no option %s; did you mean %s%s?",
                           as.text, dashes, nearest);
    return options_say(options, why, -ENOENT, "there is no option %s; --help lists them all",
                       as.text);
}

/* Two plugins have what was given. */
static int
ambiguous_option(const struct options *options, const struct spelling *as,
                 const struct found *found, struct error *why)
{
    const struct entry *one = found->entry, *other = found->rival;

    return options_say(options, why, -ENOENT, "%s is an option of %s and of %s: say %s:%s or %s:%s",
                       as->text, one->plugin, other->plugin, one->plugin, one->row.name,
                       other->plugin, other->row.name);
}

/* Set the field; if it names a config file, read that now. */
static int
entry_apply(struct options *options, struct entry *entry, const char *as, const char *value,
            struct error *why)
{
    int rc = entry_set(options, entry, as, value, why);

    if (rc != 0)
        return rc;
    entry->is_given = true;
    if (!entry->is_config_file)
        return 0;
    /* The nested file may name yet another, which replaces entry->owned. */
    char *path = strdup(entry->owned);

    if (path == NULL)
        return options_say(options, why, -ENOMEM, "%s: out of memory", as);
    rc = config_read(options, path, why);
    free(path);
    return rc;
}

int
options_set(struct options *options, const char *name, const char *value, struct error *why)
{
    size_t len = strlen(name);
    const struct found found = entry_find_sided(options, name, len);
    char shown[SHOWN_BYTES];
    struct spelling as = spelling_of("--", name, len);

    if (found.entry == NULL)
        return unknown_option(options, "--", name, len, why);
    if (found.rival != NULL)
        return ambiguous_option(options, &as, &found, why);
    name = entry_shown(options, found.entry, shown);
    as = spelling_of("--", name, strlen(name));
    return entry_apply(options, found.entry, as.text, value, why);
}

int
options_set_location(struct options *options, const char *owner, const char *value,
                     struct error *why)
{
    for (size_t i = 0; i < options->count; i++) {
        struct entry *entry = &options->entries[i];
        struct spelling as = spelling_of("--", entry->name, strlen(entry->name));
        char *old = entry->owned, *new_value;
        int rc;

        if (!(entry->row.flags & BD_OPTF_LOCATION) || strcmp(entry->owner, owner) != 0)
            continue;
        if (!entry->is_given)
            return entry_apply(options, entry, as.text, value, why);
        rc = entry_string(options, entry, as.text, value, &new_value, why);
        if (rc != 0)
            return rc;
        if (strcmp(old, new_value) != 0)
            rc = options_say(options, why, -EEXIST,
                             "the location is given twice, as \"%s\" and as %s=%s: leave one out",
                             value, as.text, old);
        free(new_value);
        return rc;
    }
    return options_say(options, why, -ENOENT, "%s takes no location, but \"%s\" was given",
                       owner_name(owner), value);
}

const char *
options_location_path(const struct options *options, const char *owner)
{
    for (size_t i = 0; i < options->count; i++) {
        const struct entry *entry = &options->entries[i];

        if (entry->row.flags & BD_OPTF_LOCATION && strcmp(entry->owner, owner) == 0)
            return entry->row.type == BD_OPT_PATH ? entry->owned : NULL;
    }
    return NULL;
}

/* ------------------------------------------------------------------ -o lists */

/* One piece of a -o list, unescaped.  `raw_value` is where its value stands in the list: up to
 * `raw_end`. */
static int
piece_take(struct options *options, const char *piece, char *raw_value, char *raw_end,
           struct error *why)
{
    size_t len = strcspn(piece, "=");
    const char *value = piece[len] == '=' ? piece + len + 1 : NULL;
    const struct found found = entry_find_sided(options, piece, len);
    struct entry *entry = found.entry;
    struct spelling as = spelling_of("-o ", piece, len);
    int rc;

    if (found.rival != NULL)
        return ambiguous_option(options, &as, &found, why);
    if (entry == NULL) {
        rc = mount_word_take(options, piece);
        if (rc == -ENOENT)
            return unknown_option(options, "-o ", piece, len, why);
        return rc == 0 ? 0 : options_say(options, why, rc, "%s: out of memory", as.text);
    }
    rc = found.is_others ? 0 : entry_apply(options, entry, as.text, value, why);
    if (value != NULL && entry->row.type == BD_OPT_SECRET)
        memset(raw_value, 'x', (size_t)(raw_end - raw_value));
    return rc;
}

static int
list_take(struct options *options, char *list, struct error *why)
{
    size_t cap = strlen(list) + 1;
    char *piece = malloc(cap);
    char *at = list;
    int rc = 0;

    if (piece == NULL)
        return options_say(options, why, -ENOMEM, "-o: out of memory");
    while (rc == 0 && *at != '\0') {
        char *raw_value = NULL;
        size_t len = 0;

        for (; *at != '\0' && *at != ','; at++) {
            if (*at == '\\' && (at[1] == ',' || at[1] == '\\'))
                at++;
            else if (*at == '=' && raw_value == NULL)
                raw_value = at + 1;
            piece[len++] = *at;
        }
        piece[len] = '\0';
        if (len > 0)
            rc = piece_take(options, piece, raw_value, at, why);
        at += *at == ',';
    }
    explicit_bzero(piece, cap);
    free(piece);
    return rc;
}

/* ------------------------------------------------------------------ lines of config files */

/* The option that a letter stands for; NULL when it stands for none. */
static struct entry *
letter_find(const struct options *options, char letter)
{
    const char *at = options->shorts, *word;
    size_t len;

    while (alias_next(&at, &word, &len)) {
        if (word[0] == letter && len > 2 && word[1] == '=')
            return entry_find(options, word + 2, len - 2);
    }
    return NULL;
}

int
setting_take(struct options *options, const char *name, size_t len, char *value, struct error *why)
{
    const struct found found = entry_find_sided(options, name, len);
    struct entry *entry = found.entry;
    struct spelling as = spelling_of("--", name, len);

    if (entry == NULL && len == 1)
        entry = letter_find(options, name[0]);
    if (found.rival != NULL)
        return ambiguous_option(options, &as, &found, why);
    if (found.is_others)
        return 0;
    if (entry != NULL)
        return entry_apply(options, entry, as.text, value, why);
    if (len == 1 && name[0] == 'o')
        return value != NULL ? list_take(options, value, why) : 0;
    return unknown_option(options, "--", name, len, why);
}

/* ------------------------------------------------------------------ command lines */

static bool
row_takes_next_word(const struct bd_option *row)
{
    return row->type != BD_OPT_BOOL && !(row->flags & BD_OPTF_BARE);
}

/* Set, unless it is the other side's, then overwrite `value` where it stands if it is a secret. */
static int
entry_take(struct options *options, struct entry *entry, bool is_others, const char *as,
           char *value, struct error *why)
{
    int rc = is_others ? 0 : entry_apply(options, entry, as, value, why);

    if (value != NULL && entry->row.type == BD_OPT_SECRET)
        memset(value, 'x', strlen(value));
    return rc;
}

/* The words of a command line and where we are in them. */
struct command {
    int argc;
    char **argv;
    int at;
};

/* The next word as the value of `as`. */
static int
command_value(struct options *options, struct command *command, const char *as, char **value,
              struct error *why)
{
    if (command->at + 1 >= command->argc)
        return options_say(options, why, -EINVAL,
                           "%s needs a value, and the command line ends here", as);
    *value = command->argv[command->at + 1];
    /* Not shown: it may be a secret. */
    if ((*value)[0] == '-' && (*value)[1] != '\0')
        return options_say(
            options, why, -EINVAL,
            "%s needs a value, but the next word begins with a dash; if it is the value, "
            "join them with =",
            as);
    command->at++;
    return 0;
}

static int
long_take(struct options *options, struct command *command, struct error *why)
{
    char *name = command->argv[command->at] + 2;
    size_t len = strcspn(name, "=");
    char *value = name[len] == '=' ? name + len + 1 : NULL;
    const struct found found = entry_find_sided(options, name, len);
    struct entry *entry = found.entry;
    struct spelling as = spelling_of("--", name, len);
    int rc;

    if (entry == NULL)
        return unknown_option(options, "--", name, len, why);
    if (found.rival != NULL)
        return ambiguous_option(options, &as, &found, why);
    if (value == NULL && row_takes_next_word(&entry->row)) {
        rc = command_value(options, command, as.text, &value, why);
        if (rc != 0)
            return rc;
    }
    return entry_take(options, entry, found.is_others, as.text, value, why);
}

/* -f, -fd, -F FILE, -FFILE, -o LIST. */
static int
letters_take(struct options *options, struct command *command, struct error *why)
{
    for (char *at = command->argv[command->at] + 1; *at != '\0'; at++) {
        struct spelling as = spelling_of("-", at, 1);
        struct entry *entry = letter_find(options, *at);
        char *value = NULL;
        int rc;

        if (entry == NULL && *at != 'o' && options->is_skim)
            continue;
        if (entry == NULL && *at != 'o')
            return options_say(options, why, -ENOENT,
                               "there is no option %s; --help lists them all", as.text);
        if (entry != NULL && !row_takes_next_word(&entry->row)) {
            rc = entry_take(options, entry, false, as.text, NULL, why);
            if (rc != 0)
                return rc;
            continue;
        }
        if (at[1] != '\0')
            value = at + 1;
        else if ((rc = command_value(options, command, as.text, &value, why)) != 0)
            return rc;
        return entry != NULL ? entry_take(options, entry, false, as.text, value, why)
                             : list_take(options, value, why);
    }
    return 0;
}

int
options_parse(struct options *options, int argc, char **argv, const char *shorts, char **words,
              int *word_count, struct error *why)
{
    struct command command = { .argc = argc, .argv = argv };
    bool only_words = false;
    int rc = 0;

    options->shorts = shorts;
    *word_count = 0;
    for (command.at = 1; rc == 0 && command.at < argc; command.at++) {
        char *word = argv[command.at];

        if (only_words || word[0] != '-' || word[1] == '\0')
            words[(*word_count)++] = word;
        else if (strcmp(word, "--") == 0)
            only_words = true;
        else if (word[1] == '-')
            rc = long_take(options, &command, why);
        else
            rc = letters_take(options, &command, why);
    }
    options->shorts = NULL;
    return rc;
}
