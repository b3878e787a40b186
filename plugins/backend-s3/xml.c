/* SPDX-License-Identifier: Apache-2.0 */
/* What S3 answers in XML: errors, listings, results of DeleteObjects.
 *
 * A listing and a result of DeleteObjects are walked twice by the same functions: first to look
 * whether all of it is good, then to give it. */
#include "xml.h"
#include "uri.h"
#include "xml_walk.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool
is(const char *path, const char *what)
{
    return strcmp(path, what) == 0;
}

static bool
open_any(void *arg, const char *path)
{
    (void)arg;
    (void)path;
    return true;
}

/* Is `path` the root element, and not one in it? */
static bool
is_root(const char *path)
{
    return strchr(path + 1, '/') == NULL;
}

/* ------------------------------------------------------------------ errors */

struct error_walk {
    struct s3_error *error;
    bool is_error; /* there was an element Error in its place */
};

/* For logs and sentences: no control characters, C1 (terminals take them too) included, and no
 * half character at the end. The first text counts. */
static void
say(char *out, size_t out_bytes, const char *text)
{
    size_t bytes = strlen(text);

    if (out[0] != '\0')
        return;
    if (bytes >= out_bytes) {
        bytes = out_bytes - 1;
        while (bytes > 0 && ((unsigned char)text[bytes] & 0xc0) == 0x80)
            bytes--;
    }
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        bool is_c1 = c == 0xc2 && i + 1 < bytes && (unsigned char)text[i + 1] < 0xa0;

        out[i] = c < 0x20 || c == 0x7f || is_c1 ? ' ' : text[i];
        if (is_c1)
            out[++i] = ' ';
    }
    out[bytes] = '\0';
}

static bool
error_close(void *arg, const char *path, const char *text, bool is_cut)
{
    struct error_walk *walk = arg;
    struct s3_error *error = walk->error;
    const char *field;

    (void)is_cut;
    if (is(path, "/Error") || is(path, "/ErrorResponse/Error"))
        walk->is_error = true;
    if (text == NULL)
        return true;
    if (is(path, "/ErrorResponse/RequestId"))
        field = "RequestId";
    else if (strncmp(path, "/Error/", 7) == 0)
        field = path + 7;
    else if (strncmp(path, "/ErrorResponse/Error/", 21) == 0)
        field = path + 21;
    else
        return true;
    if (is(field, "Code"))
        say(error->code, sizeof error->code, text);
    else if (is(field, "Message"))
        say(error->message, sizeof error->message, text);
    else if (is(field, "RequestId"))
        say(error->request_id, sizeof error->request_id, text);
    else if (is(field, "Region"))
        say(error->region, sizeof error->region, text);
    else if (is(field, "Endpoint"))
        say(error->endpoint, sizeof error->endpoint, text);
    return true;
}

bool
xml_parse_error(const void *xml, size_t bytes, struct s3_error *error)
{
    struct error_walk walk = { .error = error };
    char why[128];

    *error = (struct s3_error){ "" };
    if (xml_walk(xml, bytes, &(struct xml_walk){ open_any, error_close, &walk }, why, sizeof why)
        && walk.is_error)
        return true;
    *error = (struct s3_error){ "" };
    return false;
}

/* ------------------------------------------------------------------ listings */

#define CONTENTS "/ListBucketResult/Contents"

/* One <Contents>, while it is open. */
struct contents {
    char key[XML_TEXT_BYTES_MAX + 1]; /* as it is in the document */
    char tag[BD_TAG_BYTES_MAX + 1];   /* "" for none */
    uint64_t bytes;
    bool has_key, has_bytes;
};

struct listing_walk {
    struct s3_listing *listing;
    bool is_giving;  /* the second pass */
    bool is_refused; /* it said "enough" */
    char *why;
    size_t why_bytes;

    uint64_t count;
    struct contents contents;
    bool has_truncated, has_encoding, has_marker, has_key_count;
    bool is_url;
    /* A key can't be had without decoding, with it: the encoding may be told after the keys. */
    bool is_bad_plain, is_bad_url;
};

static bool
listing_bad(struct listing_walk *walk, const char *why)
{
    snprintf(walk->why, walk->why_bytes, "listing: %s", why);
    return false;
}

/* Blanks around it are layout. */
static bool
parse_number(const char *text, uint64_t *out)
{
    uint64_t number = 0;

    text += strspn(text, " \t\r\n");
    if (*text < '0' || *text > '9')
        return false;
    for (; *text >= '0' && *text <= '9'; text++) {
        unsigned digit = (unsigned)(*text - '0');

        if (number > (UINT64_MAX - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    if (text[strspn(text, " \t\r\n")] != '\0')
        return false;
    *out = number;
    return true;
}

static bool
parse_bool(const char *text, bool *out)
{
    size_t bytes;

    text += strspn(text, " \t\r\n");
    bytes = strcspn(text, " \t\r\n");
    if (text[bytes + strspn(text + bytes, " \t\r\n")] != '\0')
        return false;
    *out = bytes == 4;
    return (bytes == 4 && strncasecmp(text, "true", 4) == 0)
           || (bytes == 5 && strncasecmp(text, "false", 5) == 0);
}

/* Without its quotes.  One that the host would not take is as none. */
static void
copy_tag(char out[BD_TAG_BYTES_MAX + 1], const char *text)
{
    size_t bytes = strlen(text);

    if (bytes >= 2 && text[0] == '"' && text[bytes - 1] == '"') {
        text++;
        bytes -= 2;
    }
    if (bytes > BD_TAG_BYTES_MAX)
        bytes = 0;
    memcpy(out, text, bytes);
    out[bytes] = '\0';
}

static bool
key_fits(const char *key)
{
    size_t bytes = strlen(key);

    return bytes > 0 && bytes <= BD_NAME_BYTES_MAX;
}

static bool
listing_open(void *arg, const char *path)
{
    struct listing_walk *walk = arg;

    if (is_root(path) && !is(path, "/ListBucketResult"))
        return listing_bad(walk, "it is something else");
    if (is(path, CONTENTS)) {
        walk->contents.tag[0] = '\0';
        walk->contents.has_key = walk->contents.has_bytes = false;
    }
    return true;
}

static bool
contents_close(struct listing_walk *walk)
{
    struct contents *contents = &walk->contents;

    if (!contents->has_key || !contents->has_bytes)
        return listing_bad(walk, "an entry lacks its Key or its Size");
    walk->count++;
    if (!walk->is_giving) {
        walk->is_bad_plain |= !key_fits(contents->key);
        walk->is_bad_url |= !uri_decode(contents->key, true) || !key_fits(contents->key);
        return true;
    }
    if (walk->is_url && !uri_decode(contents->key, true))
        return listing_bad(walk, "a key changed between two looks"); /* can't be */
    walk->is_refused = !walk->listing->entry(walk->listing->arg, contents->key, contents->bytes,
                                             contents->tag[0] == '\0' ? NULL : contents->tag);
    return !walk->is_refused;
}

static bool
listing_close(void *arg, const char *path, const char *text, bool is_cut)
{
    struct listing_walk *walk = arg;
    struct contents *contents = &walk->contents;

    if (is(path, CONTENTS))
        return contents_close(walk);
    if (is(path, CONTENTS "/Key")) {
        if (text == NULL || is_cut || contents->has_key)
            return listing_bad(walk, "an entry's Key is none");
        strcpy(contents->key, text);
        contents->has_key = true;
    } else if (is(path, CONTENTS "/Size")) {
        if (text == NULL || is_cut || contents->has_bytes || !parse_number(text, &contents->bytes))
            return listing_bad(walk, "an entry's Size is no number");
        contents->has_bytes = true;
    } else if (is(path, CONTENTS "/ETag")) {
        if (text != NULL)
            copy_tag(contents->tag, text);
    } else if (is(path, "/ListBucketResult/IsTruncated")) {
        if (text == NULL || is_cut || walk->has_truncated
            || !parse_bool(text, &walk->listing->is_truncated))
            return listing_bad(walk, "IsTruncated is neither true nor false");
        walk->has_truncated = true;
    } else if (is(path, "/ListBucketResult/EncodingType")) {
        if (text == NULL || is_cut || walk->has_encoding || (text[0] != '\0' && !is(text, "url")))
            return listing_bad(walk, "its EncodingType is not known");
        walk->is_url = text[0] != '\0';
        walk->has_encoding = true;
    } else if (is(path, "/ListBucketResult/Marker")) {
        walk->has_marker = true;
    } else if (is(path, "/ListBucketResult/KeyCount")) {
        walk->has_key_count = true;
    }
    return true;
}

bool
xml_parse_listing(const void *xml, size_t bytes, struct s3_listing *listing, char *why,
                  size_t why_bytes)
{
    struct listing_walk look = { .listing = listing, .why = why, .why_bytes = why_bytes };
    struct listing_walk give = {
        .listing = listing, .is_giving = true, .why = why, .why_bytes = why_bytes
    };
    bool is_given;

    listing->is_v1 = listing->is_truncated = false;
    listing->count = 0;
    if (!xml_walk(xml, bytes, &(struct xml_walk){ listing_open, listing_close, &look }, why,
                  why_bytes))
        return false;
    if (!look.has_truncated)
        return listing_bad(&look, "it has no IsTruncated");
    if (look.is_url ? look.is_bad_url : look.is_bad_plain)
        return listing_bad(&look, "a key is too long, empty or not encoded as told");
    listing->is_v1 = look.has_marker && !look.has_key_count;

    give.is_url = look.is_url;
    is_given = xml_walk(xml, bytes, &(struct xml_walk){ listing_open, listing_close, &give }, why,
                        why_bytes);
    listing->count = give.count;
    assert(!is_given || give.count == look.count);
    return is_given || give.is_refused; /* else out of memory: nothing else is left to go wrong */
}

/* ------------------------------------------------------------------ results of DeleteObjects */

struct delete_walk {
    struct s3_delete_result *result;
    bool is_giving;
    char *why;
    size_t why_bytes;

    uint64_t count;
    char key[BD_NAME_BYTES_MAX + 1];
    bool has_key;
    struct s3_error error; /* code and message */
};

static bool
delete_bad(struct delete_walk *walk, const char *why)
{
    snprintf(walk->why, walk->why_bytes, "result of deleting: %s", why);
    return false;
}

static bool
delete_open(void *arg, const char *path)
{
    struct delete_walk *walk = arg;

    if (is_root(path) && !is(path, "/DeleteResult"))
        return delete_bad(walk, "it is something else");
    if (is(path, "/DeleteResult/Deleted") || is(path, "/DeleteResult/Error")) {
        walk->has_key = false;
        walk->error.code[0] = walk->error.message[0] = '\0';
    }
    return true;
}

static bool
delete_close(void *arg, const char *path, const char *text, bool is_cut)
{
    struct delete_walk *walk = arg;
    bool is_error = is(path, "/DeleteResult/Error");

    if (is_error || is(path, "/DeleteResult/Deleted")) {
        if (!walk->has_key)
            return delete_bad(walk, "an entry lacks its Key");
        walk->count++;
        if (walk->is_giving)
            walk->result->result(walk->result->arg, walk->key, is_error ? walk->error.code : NULL,
                                 is_error ? walk->error.message : NULL);
    } else if (is(path, "/DeleteResult/Deleted/Key") || is(path, "/DeleteResult/Error/Key")) {
        if (text == NULL || is_cut || walk->has_key || !key_fits(text))
            return delete_bad(walk, "an entry's Key is none");
        strcpy(walk->key, text);
        walk->has_key = true;
    } else if (text != NULL && is(path, "/DeleteResult/Error/Code")) {
        say(walk->error.code, sizeof walk->error.code, text);
    } else if (text != NULL && is(path, "/DeleteResult/Error/Message")) {
        say(walk->error.message, sizeof walk->error.message, text);
    }
    return true;
}

bool
xml_parse_delete_result(const void *xml, size_t bytes, struct s3_delete_result *result, char *why,
                        size_t why_bytes)
{
    struct delete_walk look = { .result = result, .why = why, .why_bytes = why_bytes };
    struct delete_walk give = {
        .result = result, .is_giving = true, .why = why, .why_bytes = why_bytes
    };

    if (!xml_walk(xml, bytes, &(struct xml_walk){ delete_open, delete_close, &look }, why,
                  why_bytes)
        || !xml_walk(xml, bytes, &(struct xml_walk){ delete_open, delete_close, &give }, why,
                     why_bytes))
        return false;
    assert(give.count == look.count);
    return true;
}
