/* SPDX-License-Identifier: Apache-2.0 */
/* The form of ~/.aws/config and ~/.aws/credentials.
 *
 * Source: "Shared config and credentials files" and "Format of the configuration files" of
 * the AWS SDKs and Tools reference
 * (docs.aws.amazon.com/sdkref/latest/guide/file-format.html).  Where it is silent we do what
 * its users have: a line that is indented deeper than the key before belongs to that key's
 * value (the settings below "s3 ="), and is of no interest here; # and ; begin a comment at
 * the beginning of a line only. */
#include "credentials_parts.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static char *
trim(char *text)
{
    size_t bytes;

    text += strspn(text, " \t\r");
    bytes = strlen(text);
    while (bytes > 0 && strchr(" \t\r", text[bytes - 1]) != NULL)
        bytes--;
    text[bytes] = '\0';
    return text;
}

/* The profile of a heading without its '[', or NULL if it is of something else ("sso-session
 * x"). */
static char *
heading_profile(char *heading, enum ini_kind kind)
{
    char *end = strchr(heading, ']'), *name;
    size_t bytes;

    if (end == NULL)
        return NULL;
    *end = '\0';
    name = trim(heading);
    if (kind == INI_CONFIG && strcmp(name, "default") != 0) {
        if (strncmp(name, "profile", 7) != 0 || (name[7] != ' ' && name[7] != '\t'))
            return NULL;
        name = trim(name + 7);
    }
    bytes = strlen(name);
    if (bytes >= 2 && (name[0] == '"' || name[0] == '\'') && name[bytes - 1] == name[0]) {
        name[bytes - 1] = '\0';
        name++;
    }
    return name;
}

static bool
entry_add(struct ini *ini, const char *profile, const char *key, const char *value)
{
    if ((ini->count & (ini->count + 1)) == 0) { /* full at 2^n - 1 */
        struct ini_entry *entries =
            realloc(ini->entries, (2 * ini->count + 1) * sizeof *ini->entries);

        if (entries == NULL)
            return false;
        ini->entries = entries;
    }
    ini->entries[ini->count++] = (struct ini_entry){ profile, key, value };
    return true;
}

bool
ini_parse(char *text, enum ini_kind kind, struct ini *ini)
{
    const char *profile = NULL;
    size_t key_indent = SIZE_MAX; /* no key in this section so far */
    char *next;

    *ini = (struct ini){ 0 };
    for (char *line = text; line != NULL; line = next) {
        size_t indent = strspn(line, " \t");
        char *equals;

        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        line = trim(line);
        if (line[0] == '\0' || line[0] == '#' || line[0] == ';')
            continue;
        if (line[0] == '[') {
            profile = heading_profile(line + 1, kind);
            key_indent = SIZE_MAX;
            if (profile != NULL && !entry_add(ini, profile, NULL, NULL))
                goto fail;
            continue;
        }
        if (indent > key_indent)
            continue;
        key_indent = indent;
        equals = strchr(line, '=');
        if (equals == NULL || profile == NULL)
            continue;
        *equals = '\0';
        if (!entry_add(ini, profile, trim(line), trim(equals + 1)))
            goto fail;
    }
    return true;

fail:
    ini_free(ini);
    return false;
}

void
ini_free(struct ini *ini)
{
    free(ini->entries);
    *ini = (struct ini){ 0 };
}

bool
ini_has(const struct ini *ini, const char *profile)
{
    for (size_t i = 0; i < ini->count; i++) {
        if (ini->entries[i].key == NULL && strcmp(ini->entries[i].profile, profile) == 0)
            return true;
    }
    return false;
}

const char *
ini_get(const struct ini *ini, const char *profile, const char *key)
{
    for (size_t i = ini->count; i-- > 0;) {
        const struct ini_entry *entry = &ini->entries[i];

        if (entry->key != NULL && strcmp(entry->profile, profile) == 0
            && strcasecmp(entry->key, key) == 0)
            return entry->value[0] == '\0' ? NULL : entry->value;
    }
    return NULL;
}
