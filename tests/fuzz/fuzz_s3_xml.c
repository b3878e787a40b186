/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz the documents of a store: what is given is all of it or nothing, and fits; names sent
 * come back. */
#include "xml.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

struct seen {
    uint64_t count, limit;
};

static bool
entry(void *arg, const char *key, uint64_t bytes, const char *tag)
{
    struct seen *seen = arg;

    (void)bytes;
    assert(strlen(key) >= 1 && strlen(key) <= BD_NAME_BYTES_MAX);
    assert(tag == NULL || (strlen(tag) >= 1 && strlen(tag) <= BD_TAG_BYTES_MAX));
    return ++seen->count != seen->limit;
}

static void
fuzz_listing(const uint8_t *data, size_t bytes)
{
    struct seen all = { 0 }, half;
    struct s3_listing listing = { .entry = entry, .arg = &all };
    char why[64] = "";
    bool is_good = xml_parse_listing(data, bytes, &listing, why, sizeof why);

    assert(is_good == (why[0] == '\0'));
    assert(is_good ? listing.count == all.count : all.count == 0);
    if (all.count == 0)
        return;
    half = (struct seen){ .limit = (all.count + 1) / 2 };
    listing.arg = &half;
    assert(xml_parse_listing(data, bytes, &listing, why, sizeof why));
    assert(half.count == half.limit && listing.count == half.count);
}

/* A text for people: ended, and without what a terminal would obey. */
static void
check_text(const char *text, size_t bytes)
{
    assert(memchr(text, '\0', bytes) != NULL);
    for (; *text != '\0'; text++) {
        assert((unsigned char)*text >= 0x20 && *text != 0x7f);
        assert((unsigned char)text[0] != 0xc2 || (unsigned char)text[1] >= 0xa0);
    }
}

static void
fuzz_error(const uint8_t *data, size_t bytes)
{
    static const struct s3_error empty;
    struct s3_error error;

    if (!xml_parse_error(data, bytes, &error)) {
        assert(memcmp(&error, &empty, sizeof error) == 0);
        return;
    }
    check_text(error.code, sizeof error.code);
    check_text(error.message, sizeof error.message);
    check_text(error.request_id, sizeof error.request_id);
    check_text(error.region, sizeof error.region);
    check_text(error.endpoint, sizeof error.endpoint);
}

static void
result(void *arg, const char *key, const char *code, const char *message)
{
    struct seen *seen = arg;

    assert(strlen(key) >= 1 && strlen(key) <= BD_NAME_BYTES_MAX);
    assert((code == NULL) == (message == NULL));
    seen->count++;
}

static void
fuzz_delete_result(const uint8_t *data, size_t bytes)
{
    struct seen seen = { 0 };
    struct s3_delete_result results = { .result = result, .arg = &seen };
    char why[64] = "";
    bool is_good = xml_parse_delete_result(data, bytes, &results, why, sizeof why);

    assert(is_good == (why[0] == '\0'));
    assert(is_good || seen.count == 0);
}

static void
expect_name(void *arg, const char *key, const char *code, const char *message)
{
    (void)message;
    assert(code == NULL && strcmp(key, arg) == 0);
}

/* The input as a name: if it can be asked for, an answer with the same text names it. */
static void
fuzz_delete_request(const uint8_t *data, size_t bytes)
{
    char *name = strndup((const char *)data, bytes < BD_NAME_BYTES_MAX ? bytes : BD_NAME_BYTES_MAX);
    const char *const names[] = { name };
    struct s3_delete_result results = { .result = expect_name, .arg = name };
    size_t request_bytes, answer_bytes;
    char *request, *answer, *from, why[64];

    if (name == NULL)
        abort();
    request = xml_delete_request("", names, 1, &request_bytes);
    if (request != NULL && name[0] != '\0') {
        from = strstr(request, "<Key>");
        *strstr(from, "</Object>") = '\0';
        answer_bytes = strlen(from) + 64;
        answer = malloc(answer_bytes);
        if (answer == NULL)
            abort();
        snprintf(answer, answer_bytes, "<DeleteResult><Deleted>%s</Deleted></DeleteResult>", from);
        assert(xml_parse_delete_result(answer, strlen(answer), &results, why, sizeof why));
        free(answer);
    }
    free(request);
    free(name);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    fuzz_listing(data, bytes);
    fuzz_error(data, bytes);
    fuzz_delete_result(data, bytes);
    fuzz_delete_request(data, bytes);
    return 0;
}
