/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz what services and processes answer: keys in JSON and in XML, and dates.  What is
 * taken for keys can be put into a header, and a date is one that the C library writes the
 * same way. */
#include "credentials_parts.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void
check(const char *text)
{
    assert(text != NULL && text[0] != '\0');
    for (; *text != '\0'; text++)
        assert((unsigned char)*text >= ' ' && *text != 0x7f);
}

static void
keys_check(bool ok, struct keys *keys, const char *why)
{
    if (ok) {
        check(keys->access_id);
        check(keys->secret);
        if (keys->token != NULL)
            check(keys->token);
        assert(keys->expires >= 0);
    } else {
        assert(keys->access_id == NULL && keys->secret == NULL && keys->token == NULL);
        assert(why[0] != '\0');
    }
    keys_clear(keys);
}

static void
dates(const uint8_t *data, size_t bytes)
{
    char *text = strndup((const char *)data, bytes), again[64];
    time_t seconds, same;
    struct tm tm;

    if (text == NULL)
        abort();
    if (date_parse(text, &seconds)) {
        assert(seconds > 0 && gmtime_r(&seconds, &tm) != NULL);
        assert(strftime(again, sizeof again, "%Y-%m-%dT%H:%M:%SZ", &tm) > 0);
        if (tm.tm_year <= 9999 - 1900)
            assert(date_parse(again, &same) && same == seconds);
    }
    free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const char *text = (const char *)data;
    struct keys keys;
    char why[128] = "";

    keys_check(json_parse_keys(text, bytes, JSON_METADATA, &keys, why, sizeof why), &keys, why);
    why[0] = '\0';
    keys_check(json_parse_keys(text, bytes, JSON_PROCESS, &keys, why, sizeof why), &keys, why);
    why[0] = '\0';
    keys_check(xml_parse_keys(text, bytes, &keys, why, sizeof why), &keys, why);
    dates(data, bytes);
    return 0;
}
