/* SPDX-License-Identifier: Apache-2.0 */
/* What mount(8) hands to its helpers, in our own words. */
#include "helper.h"

#include "base/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* mount(8) keeps commas together that stand in quotes; here a backslash does. */
static int
add_unquoted(char **list, const char *given)
{
    size_t used = *list != NULL ? strlen(*list) : 0;
    char *longer = malloc(used + 2 * strlen(given) + 2), *to;
    bool is_quoted = false;

    if (longer == NULL)
        return -ENOMEM;
    to = stpcpy(longer, *list != NULL ? *list : "");
    if (used > 0)
        *to++ = ',';
    for (; *given != '\0'; given++) {
        if (*given == '"') {
            is_quoted = !is_quoted;
            continue;
        }
        if (*given == ',' && is_quoted)
            *to++ = '\\';
        *to++ = *given;
    }
    *to = '\0';
    if (used > 0)
        explicit_bzero(*list, used);
    free(*list);
    *list = longer;
    return 0;
}

static bool
has_option(const char *list, const char *name)
{
    const char *begin = list;

    for (; *list != '\0'; list++) {
        if (*list == '\\' && list[1] != '\0')
            list++;
        else if (*list == ',')
            begin = list + 1;
        else if (*list == '=' && options_name_is(begin, (size_t)(list - begin), name))
            return true;
    }
    return false;
}

/* fstab lines of s3backer name their program, too. */
static const char *
without_program(const char *source)
{
    static const char *const programs[] = { "bucketdisk#", "s3backer#" };

    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++) {
        if (strncmp(source, programs[i], strlen(programs[i])) == 0)
            return source + strlen(programs[i]);
    }
    return source;
}

/* Letters; gives in *value the one that the next word belongs to, or 0. */
static int
take_letters(const char *word, struct helper_call *out, char *value, struct error *why)
{
    *value = '\0';
    for (const char *letter = word + 1; *letter != '\0'; letter++) {
        if (strchr("ot", *letter) != NULL && letter[1] == '\0')
            *value = *letter;
        else if (*letter == 'f')
            out->is_fake = true;
        else if (strchr("snv", *letter) == NULL)
            /* Behind "=" there may be a secret. */
            return error_set(why, -EINVAL,
                             "mount: %.*s is not understood here; mount(8) says -o WORD,..., and "
                             "bucketdisk(1) tells of the words",
                             (int)strcspn(word, "="), word);
    }
    return 0;
}

int
helper_parse(int argc, const char *const *argv, struct helper_call *out, struct error *why)
{
    char value;
    int rc = 0;

    *out = (struct helper_call){ .source = NULL };
    for (int i = 1; i < argc && rc == 0; i++) {
        if (argv[i][0] != '-' || argv[i][1] == '\0') {
            if (out->directory != NULL)
                return error_set(why, -EINVAL, "mount: too many words: what is \"%s\"?", argv[i]);
            *(out->source == NULL ? &out->source : &out->directory) = argv[i];
            continue;
        }
        rc = take_letters(argv[i], out, &value, why);
        if (rc == 0 && value != '\0' && ++i == argc)
            rc = error_set(why, -EINVAL, "mount: -%c needs a word behind it", value);
        if (rc == 0 && value == 'o' && add_unquoted(&out->list, argv[i]) != 0)
            rc = error_set(why, -ENOMEM, "out of memory");
    }
    if (rc == 0 && out->directory == NULL)
        rc = error_set(why, -EINVAL, "mount: what to mount, and where?");
    if (rc != 0)
        return rc;
    out->source = without_program(out->source);
    out->wants_up =
        out->list != NULL && (has_option(out->list, "fs") || has_option(out->list, "fs-options"));
    return 0;
}

void
helper_clear(struct helper_call *call)
{
    if (call->list != NULL)
        explicit_bzero(call->list, strlen(call->list));
    free(call->list);
    call->list = NULL;
}
