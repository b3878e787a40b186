/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of options share, and nobody else includes: the table behind struct options.
 *
 * One thread at a time.  Whatever fails returns a negative errno with a sentence in `why`. */
#ifndef BASE_OPTIONS_TABLE_H
#define BASE_OPTIONS_TABLE_H

#include "options.h"

enum { NAME_BYTES_MAX = 63 };

struct entry {
    struct bd_option row; /* copied by stride: zeros where theirs is shorter */
    char *owner;          /* "" of the core's */
    char *plugin;         /* the owner's full name: "backend-s3" of "s3" */
    char *name;           /* full */
    void *field;
    char *owned; /* the string in the field, when it is ours */
    bool is_given;
    bool is_config_file; /* its value names a file of options */
};

struct options {
    struct entry *entries;
    size_t count;
    const char *mine,
        *others; /* the words for this side and for the other one; NULL: there is one */
    bool is_skim;

    const struct option_refusal *refusals;
    size_t refusal_count;
    char *mount_flags, *idle_words, *mount_words; /* with commas between them; NULL: none */

    const char *shorts; /* while parsing */
    const char *file;   /* while reading a config file; else NULL */
    unsigned line;
    unsigned depth;
};

/* ---- options.c: the table */

/* The entry that has this name, in any spelling; NULL: none.  The core's comes before those of plugins. */
struct entry *entry_find(const struct options *options, const char *name, size_t len);
/* The same for a name as somebody writes it, who may say which side he means. */
struct found {
    struct entry *entry;       /* NULL: none */
    const struct entry *rival; /* of another plugin, with that name, too */
    bool is_others;            /* of the other side */
};
struct found entry_find_sided(const struct options *options, const char *name, size_t len);
/* What to write to mean this one: its name, or "PLUGIN:NAME" where that is somebody else's, too. */
enum { SHOWN_BYTES = 2 * NAME_BYTES_MAX };
const char *entry_shown(const struct options *options, const struct entry *entry,
                        char out[SHOWN_BYTES]);
/* What to do instead of using an option that is refused; NULL: it is not one of those. */
const char *refusal_find(const struct options *options, const char *name, size_t len);
/* The name that somebody who wrote `name` may have meant; "" when none is near. */
void name_nearest(const struct options *options, const char *name, size_t len,
                  char out[NAME_BYTES_MAX + 1]);
/* Step through the words of an alias column.  Start with *at = the column. */
bool alias_next(const char **at, const char **word, size_t *len);
/* An owner as sentences call it. */
const char *owner_name(const char *owner);

/* ---- options_value.c: one value.  `as` is how the option was written, for sentences. */

/* Parse `text` (NULL: given without a value) and write the field. */
int entry_set(const struct options *options, struct entry *entry, const char *as, const char *text,
              struct error *why);
/* The string that `text` stands for: a secret's file or variable looked up, a path made absolute.
 * Gives it. */
int entry_string(const struct options *options, const struct entry *entry, const char *as,
                 const char *text, char **out, struct error *why);
/* Free the string that entry_set made, wiped if it is a secret.  The field keeps pointing at it. */
void entry_forget(struct entry *entry);
/* Read at most `cap` bytes of a file.  0 or a negative errno. */
int text_read(const char *path, char *out, size_t cap, size_t *len);

/* ---- options_parse.c: ways to give an option */

/* Set what one line of a config file says: by name, by letter, or a whole -o list.  `value` NULL:
 * given without one. */
int setting_take(struct options *options, const char *name, size_t len, char *value,
                 struct error *why);

/* ---- options_fstab.c: words of -o lists that are no options */

/* -ENOENT: it is not one of those that are accepted. */
int mount_word_take(struct options *options, const char *piece);

/* ---- options_config.c: config files */

/* Set what the lines of a file say.  Files may name others, to a depth. */
int config_read(struct options *options, const char *path, struct error *why);
/* error_set, led by the line of the config file that is being read, if one is. */
int options_say(const struct options *options, struct error *why, int rc, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
