/* SPDX-License-Identifier: Apache-2.0 */
/* Options as data: from rows (struct bd_option of plugin.h) come parsing, help and all checks.
 *
 * Names compare without dashes, underscores and case, so --blockSize and --block-size are one option.
 * There are no abbreviations.
 *
 * Plugins come from anywhere: where a name of one is also the core's, it is the core's; where it is also another plugin's,
 * whoever gives it is told of both.  --OWNER:NAME and --PLUGIN:NAME always mean that plugin's. */
#ifndef BASE_OPTIONS_H
#define BASE_OPTIONS_H

#include "error.h"

#include <bucketdisk/plugin.h>

#include <stdbool.h>
#include <stdio.h>

struct options;

int options_new(struct options **out);
/* Frees every string that parsing put into the fields (secrets are wiped), not the fields' structs. */
void options_free(struct options *options);

/* Add the rows of one owner, "" for the core's, which come first, or "dir", whose names are then written --dir-NAME.
 * Writes the defaults into `fields`.  Borrows rows and fields until options_free.
 * Fails with -EEXIST (two of these rows, or of the core's, have one name), -EINVAL (a row is wrong). */
int options_add(struct options *options, const char *owner, const struct bd_option *rows,
                uint32_t count, uint32_t stride, void *fields, struct error *why);
/* The same for one plugin, "backend-dir", whose owner's name may be another one's, too. */
int options_add_plugin(struct options *options, const char *plugin, const char *owner,
                       const struct bd_option *rows, uint32_t count, uint32_t stride, void *fields,
                       struct error *why);
/* Is each row of this owner reached by all of its names?  -EEXIST: one is the core's. */
int options_check_names(const struct options *options, const char *owner, struct error *why);

/* Are these rows of `owner` right in themselves?  -EINVAL with the row and what is wrong with it: names,
 * types, fields within fields_bytes, defaults that do not parse, two rows of one name. */
int options_check(const char *owner, const struct bd_option *rows, uint32_t count, uint32_t stride,
                  uint32_t fields_bytes, struct error *why);

/* Of two tables that one command line fills, one for each side: this one is `mine` ("from"), and that one `others`.  What is
 * written --from-NAME counts here alone, --to-NAME there alone, and --NAME in both; so it is behind -o and in files.  Borrows
 * both words. */
void options_take_side(struct options *options, const char *mine, const char *others);
/* For a first look at a few options: names that are not in the table are passed over, both sides count, and a config file
 * that could not be read again is not read. */
void options_skim(struct options *options);
/* Names that are no options any more, or never were here, each with what to do instead: half a sentence behind the name.
 * Borrows them until options_free. */
struct option_refusal {
    const char *name;
    const char *instead;
};
void options_refuse(struct options *options, const struct option_refusal *refusals, size_t count);

/* Set one option by any of its names.  `value` NULL: given without one.  -ENOENT: no such option. */
int options_set(struct options *options, const char *name, const char *value, struct error *why);

/* Set the row with BD_OPTF_LOCATION of this owner, if it has one and was not given by name. -ENOENT if
 * it has none, -EEXIST if it was given by name with another value. */
int options_set_location(struct options *options, const char *owner, const char *value,
                         struct error *why);

/* Its value, if it is a path; else NULL.  Borrowed. */
const char *options_location_path(const struct options *options, const char *owner);

/* Parse a whole command line, argv[1..argc): --name=value, --name value, -o a,b=c (commas escaped by \),
 * short letters from `shorts` ("f=foreground d=debug …"), "--".  Other words go to
 * words[0..*word_count), at most argc of them.  Secrets are overwritten in argv.
 * Of several values for one option the last counts.  The lines of a file that the option
 * named configFile names stand where that option stands. */
int options_parse(struct options *options, int argc, char **argv, const char *shorts, char **words,
                  int *word_count, struct error *why);

/* Do these `len` bytes, without leading dashes, name the option `name`? */
bool options_name_is(const char *word, size_t len, const char *name);

/* What the -o lists said beside options, with commas between: what the kernel is told when it mounts; what is accepted and
 * changes nothing; and what is mount(8)'s own (noatime, _netdev, x-...), for who mounts a filesystem over us.  Borrowed. */
const char *options_mount_flags(const struct options *options);
const char *options_idle_words(const struct options *options);
const char *options_mount_words(const struct options *options);

bool options_given(const struct options *options, const char *name);

/* Wipe the value of a secret that is needed no more; its field is NULL then.  It still counts as given. */
void options_forget(struct options *options, const char *name);

/* All required rows of this owner were given? */
int options_require(const struct options *options, const char *owner, struct error *why);

/* --help lines of one owner ("" for core), wrapped at 80 columns; secrets never show. */
void options_help(const struct options *options, const char *owner, FILE *out);
/* Print words from `column` on, where the line stands, in lines for 80 columns that begin there, and end the last one. */
void options_wrap(const char *text, size_t column, FILE *out);
/* All names, defaults, types as JSON, for --dump-options and for tests. */
void options_dump(const struct options *options, FILE *out);

/* Parse one value as its type says; also for callers without a row.  0 or -EINVAL. */
int parse_size(const char *text, uint64_t *bytes);
int parse_duration(const char *text, bool bare_is_seconds, uint64_t *ms);

#endif
