/* SPDX-License-Identifier: Apache-2.0 */
/* Options as data: from rows come parsing, help and all checks.
 *
 * Every way to give an option (word, -o list, letter, line of a config file) ends in option_apply,
 * which finds the row, parses the text as its type says and writes the field.  A secret is copied
 * into memory of ours that is wiped; every other place that held it is overwritten, also after an
 * error. */
#include "options_table.h"
#include "values.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum {
    CONFIG_BYTES_MAX = 64 * 1024,
    CONFIG_DEPTH_MAX = 8,
    SECRET_BYTES_MAX = 1023,
};

/* What mount(8) and fstab hand to every mount program, and what means nothing here.  A `*` at the
 * end stands for anything.  Only accepted in -o lists. */
static const char *const fstab_words[] = {
    "defaults", "auto",   "noauto", "user", "nouser",    "users",
    "_netdev",  "nofail", "rw",     "x-*",  "comment=*",
};

/* One way that somebody wrote an option: "--blockSize", as it appears in error sentences. */
struct spelling {
    char text[NAME_BYTES_MAX + 16];
};

static int say(const struct options *options, struct error *why, int rc, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static int
say(const struct options *options, struct error *why, int rc, const char *format, ...)
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

/* ------------------------------------------------------------------ names */

/* Lower case, without dashes: the form in which names are compared. */
static size_t
name_plain(const char *name, size_t len, char out[NAME_BYTES_MAX + 1])
{
    size_t n = 0;

    for (size_t i = 0; i < len && n < NAME_BYTES_MAX; i++) {
        if (name[i] != '-')
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
        while (i < a_len && a[i] == '-')
            i++;
        while (j < b_len && b[j] == '-')
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

static struct entry *
entry_find(const struct options *options, const char *name, size_t len)
{
    for (size_t i = 0; i < options->count; i++) {
        if (entry_has_name(&options->entries[i], name, len))
            return &options->entries[i];
    }
    return NULL;
}

static size_t
edit_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t row[NAME_BYTES_MAX + 1];

    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[b_len];
}

/* The name that somebody who wrote `name` may have meant; "" when none is near. */
static void
name_nearest(const struct options *options, const char *name, size_t len,
             char out[NAME_BYTES_MAX + 1])
{
    char typed[NAME_BYTES_MAX + 1], known[NAME_BYTES_MAX + 1];
    size_t typed_len = name_plain(name, len, typed);
    size_t best = 2 + typed_len / 4; /* further away is no longer a slip of the fingers */

    out[0] = '\0';
    for (size_t i = 0; i < options->count; i++) {
        const struct entry *entry = &options->entries[i];
        const char *at = entry->row.alias, *word = entry->name;
        size_t word_len = strlen(word);

        if (entry->row.flags & BD_OPTF_HIDDEN)
            continue;
        do {
            size_t known_len = name_plain(word, word_len, known);
            size_t distance = edit_distance(typed, typed_len, known, known_len);

            if (distance < best && distance < typed_len) {
                best = distance;
                snprintf(out, NAME_BYTES_MAX + 1, "%.*s", (int)word_len, word);
            }
        } while (alias_next(&at, &word, &word_len));
    }
}

/* ------------------------------------------------------------------ values */

static bool
row_takes_next_word(const struct bd_option *row)
{
    return row->type != BD_OPT_BOOL && !(row->flags & BD_OPTF_BARE);
}

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

static void
string_free(char *text, bool is_secret)
{
    if (text != NULL && is_secret)
        explicit_bzero(text, strlen(text));
    free(text);
}

/* Takes `text`. */
static void
string_store(struct entry *entry, char *text)
{
    memcpy(entry->field, &text, sizeof text);
    string_free(entry->owned, entry->row.type == BD_OPT_SECRET);
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

/* Read at most `cap` bytes.  Not through stdio: its buffers would keep secrets. */
static int
file_read(const char *path, char *out, size_t cap, size_t *len)
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
    int rc = file_read(path, line, sizeof line, &len);

    if (rc != 0)
        return say(
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
        rc = say(options, why, -EINVAL, "%s: the first line of %s is empty", as, path);
    else if (len > SECRET_BYTES_MAX)
        rc = say(options, why, -EINVAL, "%s: the first line of %s is longer than %d bytes", as,
                 path, SECRET_BYTES_MAX);
    else if (memchr(line, '\0', len) != NULL)
        rc = say(options, why, -EINVAL, "%s: the first line of %s holds a zero byte", as, path);
    else if ((*out = strndup(line, len)) == NULL)
        rc = say(options, why, -ENOMEM, "%s: out of memory", as);
    explicit_bzero(line, sizeof line);
    return rc;
}

static int
string_resolve(const struct options *options, const struct entry *entry, const char *as,
               const char *text, char **out, struct error *why)
{
    if (entry->row.type == BD_OPT_SECRET && text[0] == '@')
        return secret_from_file(options, as, text + 1, out, why);
    if (entry->row.type == BD_OPT_SECRET && strncmp(text, "env:", 4) == 0) {
        const char *value = getenv(text + 4);

        if (value == NULL)
            return say(options, why, -EINVAL,
                       "%s: the environment has no variable \"%s\" (a value that begins with env: "
                       "names one)",
                       as, text + 4);
        text = value;
    }
    *out = entry->row.type == BD_OPT_PATH ? path_absolute(text) : strdup(text);
    if (*out == NULL)
        return say(options, why, -ENOMEM, "%s: %s", as, strerror(errno));
    return 0;
}

/* `text` NULL: given without a value. */
static int
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
            return say(options, why, -EINVAL, "%s needs a value: %s", as, row->help);
    }
    if (row_is_string(row)) {
        rc = string_resolve(options, entry, as, text, &string, why);
        if (rc == 0)
            string_store(entry, string);
        return rc;
    }
    rc = number_parse(row, text, &value, problem, sizeof problem);
    if (rc != 0)
        return say(options, why, rc, "%s: %s", as, problem);
    number_store(entry, value);
    return 0;
}

/* ------------------------------------------------------------------ rows */

static bool
text_is_name(const char *text, size_t len, const char *extra)
{
    if (len == 0 || len > NAME_BYTES_MAX - 24 || text[0] == '-' || text[len - 1] == '-')
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
        return "has a field whose size does not fit its type";
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
                         index, owner[0] != '\0' ? owner : "the core",
                         row->name != NULL ? row->name : "", NAME_BYTES_MAX - 24);
    problem = row_problem(row, fields_bytes);
    if (problem == NULL && row->def != NULL && !row_is_string(row)
        && number_parse(row, row->def, &value, bad_default, sizeof bad_default) != 0)
        return error_set(why, -EINVAL, "option \"%s\" of %s has a bad default: %s", row->name,
                         owner[0] != '\0' ? owner : "the core", bad_default);
    if (problem != NULL)
        return error_set(why, -EINVAL, "option \"%s\" of %s %s", row->name,
                         owner[0] != '\0' ? owner : "the core", problem);
    return 0;
}

static void
entry_clear(struct entry *entry)
{
    string_free(entry->owned, entry->row.type == BD_OPT_SECRET);
    free(entry->name);
    free(entry->owner);
    memset(entry, 0, sizeof *entry);
}

static const char *
owner_name(const char *owner)
{
    return owner[0] != '\0' ? owner : "the core";
}

/* -EEXIST when one of the entry's names is another's. */
static int
entry_check_names(const struct options *options, const struct entry *entry, struct error *why)
{
    const char *at = entry->row.alias, *word = entry->name;
    size_t len = strlen(word);

    do {
        const struct entry *other = entry_find(options, word, len);

        if (other != NULL)
            return error_set(why, -EEXIST,
                             "two options are called --%.*s: \"%s\" of %s and \"%s\" of %s",
                             (int)len, word, other->row.name, owner_name(other->owner),
                             entry->row.name, owner_name(entry->owner));
    } while (alias_next(&at, &word, &len));
    for (size_t i = 0; i < options->count; i++) {
        const struct entry *other = &options->entries[i];

        if ((entry->row.flags & other->row.flags & BD_OPTF_LOCATION)
            && strcmp(other->owner, entry->owner) == 0)
            return error_set(why, -EINVAL, "two options of %s are its location: \"%s\" and \"%s\"",
                             owner_name(entry->owner), other->row.name, entry->row.name);
    }
    return 0;
}

/* Fill one entry.  `field` NULL: only check. */
static int
entry_init(struct entry *entry, const char *owner, const struct bd_option *row, void *field,
           struct error *why)
{
    entry->row = *row;
    entry->owner = strdup(owner);
    if (asprintf(&entry->name, "%s%s%s", owner, owner[0] != '\0' ? "-" : "", row->name) < 0)
        entry->name = NULL;
    if (entry->owner == NULL || entry->name == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    entry->field = field;
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
rows_add(struct options *options, const char *owner, const struct bd_option *rows, uint32_t count,
         uint32_t stride, uint32_t fields_bytes, void *fields, struct error *why)
{
    const size_t before = options->count;
    struct entry *grown;
    int rc = 0;

    if (count == 0)
        return 0;
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
        rc = entry_init(entry, owner, &row, fields != NULL ? (char *)fields + row.offset : NULL,
                        why);
        if (rc == 0)
            rc = entry_check_names(options, entry, why);
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
    free(options);
}

int
options_add(struct options *options, const char *owner, const struct bd_option *rows,
            uint32_t count, uint32_t stride, void *fields, struct error *why)
{
    return rows_add(options, owner, rows, count, stride, UINT32_MAX, fields, why);
}

int
options_check(const char *owner, const struct bd_option *rows, uint32_t count, uint32_t stride,
              uint32_t fields_bytes, struct error *why)
{
    struct options scratch = { 0 };
    int rc = rows_add(&scratch, owner, rows, count, stride, fields_bytes, NULL, why);

    for (size_t i = 0; i < scratch.count; i++)
        entry_clear(&scratch.entries[i]);
    free(scratch.entries);
    return rc;
}

/* ------------------------------------------------------------------ setting */

static int config_read(struct options *options, const char *path, struct error *why);

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
    char nearest[NAME_BYTES_MAX + 1];

    name_nearest(options, name, len, nearest);
    if (nearest[0] != '\0')
        return say(options, why, -ENOENT, "there is no option %s; did you mean %s%s?", as.text,
                   dashes, nearest);
    return say(options, why, -ENOENT, "there is no option %s; --help lists them all", as.text);
}

static bool
entry_is_config_file(const struct entry *entry)
{
    return entry->owner[0] == '\0'
           && name_equal(entry->row.name, strlen(entry->row.name), "configfile", 10);
}

static int
option_apply(struct options *options, struct entry *entry, const char *as, const char *value,
             struct error *why)
{
    int rc = entry_set(options, entry, as, value, why);

    if (rc != 0)
        return rc;
    entry->is_given = true;
    if (!entry_is_config_file(entry))
        return 0;
    /* The nested file may name yet another, which replaces entry->owned. */
    char *path = strdup(entry->owned);

    if (path == NULL)
        return say(options, why, -ENOMEM, "%s: out of memory", as);
    rc = config_read(options, path, why);
    free(path);
    return rc;
}

int
options_set(struct options *options, const char *name, const char *value, struct error *why)
{
    size_t len = strlen(name);
    struct entry *entry = entry_find(options, name, len);
    struct spelling as = spelling_of("--", name, len);

    if (entry == NULL)
        return unknown_option(options, "--", name, len, why);
    return option_apply(options, entry, as.text, value, why);
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
            return option_apply(options, entry, as.text, value, why);
        rc = string_resolve(options, entry, as.text, value, &new_value, why);
        if (rc != 0)
            return rc;
        if (strcmp(old, new_value) != 0)
            rc = say(options, why, -EEXIST,
                     "the location is given twice, as \"%s\" and as %s=%s: leave one out", value,
                     as.text, old);
        free(new_value);
        return rc;
    }
    return say(options, why, -ENOENT, "%s takes no location, but \"%s\" was given",
               owner_name(owner), value);
}

bool
options_given(const struct options *options, const char *name)
{
    const struct entry *entry = entry_find(options, name, strlen(name));

    return entry != NULL && entry->is_given;
}

int
options_require(const struct options *options, const char *owner, struct error *why)
{
    for (size_t i = 0; i < options->count; i++) {
        const struct entry *entry = &options->entries[i];

        if (strcmp(entry->owner, owner) != 0 || !(entry->row.flags & BD_OPTF_REQUIRED)
            || entry->is_given)
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

/* ------------------------------------------------------------------ command line */

static void
overwrite(char *text)
{
    memset(text, 'x', strlen(text));
}

/* Set, then overwrite `value` where it stands if it is a secret. */
static int
option_take(struct options *options, struct entry *entry, const char *as, char *value,
            struct error *why)
{
    int rc = option_apply(options, entry, as, value, why);

    if (value != NULL && entry->row.type == BD_OPT_SECRET)
        overwrite(value);
    return rc;
}

static bool
is_fstab_word(const char *piece)
{
    for (size_t i = 0; i < sizeof fstab_words / sizeof fstab_words[0]; i++) {
        size_t len = strlen(fstab_words[i]);

        if (fstab_words[i][len - 1] == '*' ? strncmp(piece, fstab_words[i], len - 1) == 0
                                           : strcmp(piece, fstab_words[i]) == 0)
            return true;
    }
    return false;
}

/* One piece of a -o list, unescaped.  `raw_value` is where its value stands in the list: up to
 * `raw_end`. */
static int
piece_take(struct options *options, const char *piece, char *raw_value, char *raw_end,
           struct error *why)
{
    size_t len = strcspn(piece, "=");
    const char *value = piece[len] == '=' ? piece + len + 1 : NULL;
    struct entry *entry = entry_find(options, piece, len);
    struct spelling as = spelling_of("-o ", piece, len);
    int rc;

    if (entry == NULL)
        return is_fstab_word(piece) ? 0 : unknown_option(options, "-o ", piece, len, why);
    rc = option_apply(options, entry, as.text, value, why);
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
        return say(options, why, -ENOMEM, "-o: out of memory");
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
        return say(options, why, -EINVAL, "%s needs a value, and the command line ends here", as);
    *value = command->argv[command->at + 1];
    /* Not shown: it may be a secret. */
    if ((*value)[0] == '-' && (*value)[1] != '\0')
        return say(options, why, -EINVAL,
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
    struct entry *entry = entry_find(options, name, len);
    struct spelling as = spelling_of("--", name, len);
    int rc;

    if (entry == NULL)
        return unknown_option(options, "--", name, len, why);
    if (value == NULL && row_takes_next_word(&entry->row)) {
        rc = command_value(options, command, as.text, &value, why);
        if (rc != 0)
            return rc;
    }
    return option_take(options, entry, as.text, value, why);
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

        if (entry == NULL && *at != 'o')
            return say(options, why, -ENOENT, "there is no option %s; --help lists them all",
                       as.text);
        if (entry != NULL && !row_takes_next_word(&entry->row)) {
            rc = option_take(options, entry, as.text, NULL, why);
            if (rc != 0)
                return rc;
            continue;
        }
        if (at[1] != '\0')
            value = at + 1;
        else if ((rc = command_value(options, command, as.text, &value, why)) != 0)
            return rc;
        return entry != NULL ? option_take(options, entry, as.text, value, why)
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

/* ------------------------------------------------------------------ config files */

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
    struct entry *entry;
    struct spelling as;
    size_t len;

    name += name[0] == '-';
    name += name[0] == '-';
    len = strcspn(name, "= \t");
    value = name + len + strspn(name + len, " \t");
    has_value = *value != '\0';
    if (*value == '=')
        value++;
    value = unquote(trim(value));

    entry = entry_find(options, name, len);
    if (entry == NULL && len == 1)
        entry = letter_find(options, name[0]);
    if (entry == NULL && len == 1 && name[0] == 'o')
        return list_take(options, value, why);
    if (entry == NULL)
        return unknown_option(options, "--", name, len, why);
    as = spelling_of("--", name, len);
    return option_apply(options, entry, as.text, has_value ? value : NULL, why);
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

static int
config_read(struct options *options, const char *path, struct error *why)
{
    const char *outer_file = options->file;
    unsigned outer_line = options->line;
    char *text;
    size_t len;
    int rc;

    if (options->depth == CONFIG_DEPTH_MAX)
        return say(options, why, -ELOOP,
                   "config file %s is nested more than %d deep; does a file name itself?", path,
                   CONFIG_DEPTH_MAX);
    text = malloc(CONFIG_BYTES_MAX + 2);
    if (text == NULL)
        return say(options, why, -ENOMEM, "config file %s: out of memory", path);
    rc = file_read(path, text, CONFIG_BYTES_MAX + 1, &len);
    if (rc != 0)
        rc = say(options, why, rc, "cannot read config file %s: %s", path, strerror(-rc));
    else if (len > CONFIG_BYTES_MAX)
        rc = say(options, why, -EINVAL, "config file %s is longer than %d bytes", path,
                 CONFIG_BYTES_MAX);
    else if (memchr(text, '\0', len) != NULL)
        rc = say(options, why, -EINVAL, "config file %s holds a zero byte; it is no text", path);
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
