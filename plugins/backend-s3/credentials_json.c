/* SPDX-License-Identifier: Apache-2.0 */
/* Keys in JSON, as metadata services and a credential_process give them.
 *
 * Sources: "Use IAM roles for Amazon EC2 to access AWS resources", "Container credential
 * provider" and "Process credential provider" of Amazon's manuals. */
#include "credentials_parts.h"

#include <jansson.h>
#include <openssl/crypto.h>

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Of an error code that is worth showing. */
#define CODE_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

/* ------------------------------------------------------------------ dates */

/* So many digits. */
static bool
number_read(const char **at, unsigned digits, int *out)
{
    *out = 0;
    for (unsigned i = 0; i < digits; i++) {
        if (**at < '0' || **at > '9')
            return false;
        *out = *out * 10 + (*(*at)++ - '0');
    }
    return true;
}

static bool
char_read(const char **at, char c)
{
    if (**at != c)
        return false;
    (*at)++;
    return true;
}

/* "Z", "+HH:MM", "+HHMM", "+HH" or nothing, and the end. */
static bool
zone_read(const char **at, int *offset_seconds)
{
    int sign = **at == '-' ? -1 : 1, hours, minutes = 0;

    *offset_seconds = 0;
    if (**at == 'Z' || **at == 'z') {
        (*at)++;
    } else if (**at == '+' || **at == '-') {
        (*at)++;
        if (!number_read(at, 2, &hours))
            return false;
        char_read(at, ':');
        if (**at != '\0' && !number_read(at, 2, &minutes))
            return false;
        if (hours > 23 || minutes > 59)
            return false;
        *offset_seconds = sign * (hours * 3600 + minutes * 60);
    }
    return **at == '\0';
}

bool
date_parse(const char *text, time_t *out)
{
    const char *at = text;
    struct tm tm = { 0 }, same;
    int offset_seconds;

    if (!number_read(&at, 4, &tm.tm_year) || !char_read(&at, '-')
        || !number_read(&at, 2, &tm.tm_mon) || !char_read(&at, '-')
        || !number_read(&at, 2, &tm.tm_mday)
        || !(char_read(&at, 'T') || char_read(&at, 't') || char_read(&at, ' '))
        || !number_read(&at, 2, &tm.tm_hour) || !char_read(&at, ':')
        || !number_read(&at, 2, &tm.tm_min) || !char_read(&at, ':')
        || !number_read(&at, 2, &tm.tm_sec))
        return false;
    if (char_read(&at, '.')) {
        if (*at < '0' || *at > '9')
            return false;
        at += strspn(at, "0123456789");
    }
    if (!zone_read(&at, &offset_seconds))
        return false;
    if (tm.tm_year < 1970 || tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    /* timegm turns February 30 into March. */
    same = (struct tm){ .tm_year = tm.tm_year, .tm_mon = tm.tm_mon, .tm_mday = tm.tm_mday };
    if (timegm(&same) < 0 || same.tm_mon != tm.tm_mon || same.tm_mday != tm.tm_mday)
        return false;
    *out = timegm(&tm) - offset_seconds;
    return *out > 0;
}

/* ------------------------------------------------------------------ keys */

/* A member's text, or NULL if it is none. */
static const char *
text_of(const json_t *root, const char *name)
{
    return json_string_value(json_object_get(root, name));
}

/* What jansson keeps is ours to wipe, but for its lexer's buffer. */
static void
root_wipe(json_t *root)
{
    const char *name;
    json_t *value;

    json_object_foreach(root, name, value)
    {
        if (json_is_string(value))
            OPENSSL_cleanse((char *)(uintptr_t)json_string_value(value), json_string_length(value));
    }
    json_decref(root);
}

static const char *
keys_read(const json_t *root, enum json_kind kind, struct keys *keys)
{
    const char *date = text_of(root, "Expiration");
    time_t expires = 0;

    if (kind == JSON_PROCESS && json_integer_value(json_object_get(root, "Version")) != 1)
        return "its Version is not 1";
    if (date != NULL && date[0] != '\0' && !date_parse(date, &expires))
        return "its Expiration is not a date";
    if (date == NULL && json_object_get(root, "Expiration") != NULL
        && !json_is_null(json_object_get(root, "Expiration")))
        return "its Expiration is not a date";
    return keys_set(keys, text_of(root, "AccessKeyId"), text_of(root, "SecretAccessKey"),
                    text_of(root, kind == JSON_PROCESS ? "SessionToken" : "Token"), expires);
}

bool
json_parse_keys(const char *text, size_t bytes, enum json_kind kind, struct keys *keys, char *why,
                size_t why_bytes)
{
    const char *code, *fault;
    json_error_t error;
    json_t *root;

    *keys = (struct keys){ 0 };
    root = json_loadb(text == NULL ? "" : text, bytes, JSON_REJECT_DUPLICATES, &error);
    /* Not error.text: it quotes the document. */
    if (root == NULL) {
        snprintf(why, why_bytes, "not JSON (line %d)", error.line);
        return false;
    }
    if (!json_is_object(root)) {
        snprintf(why, why_bytes, "not a JSON object");
        json_decref(root);
        return false;
    }
    code = text_of(root, "Code");
    if (kind == JSON_METADATA && code != NULL && strcmp(code, "Success") != 0) {
        snprintf(why, why_bytes, "its Code is \"%.64s\"",
                 code[strspn(code, CODE_LETTERS)] == '\0' ? code : "?");
        root_wipe(root);
        return false;
    }
    fault = keys_read(root, kind, keys);
    if (fault != NULL)
        snprintf(why, why_bytes, "%s", fault);
    root_wipe(root);
    return fault == NULL;
}
