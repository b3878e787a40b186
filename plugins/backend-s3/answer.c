/* SPDX-License-Identifier: Apache-2.0 */
/* What a server answered. */
#include "answer.h"

#include <curl/curl.h>

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BODY_BYTES_KEPT (64u << 10)
#define RETRY_AFTER_S_MAX 3600u
#define META "x-amz-meta-"

void
answer_reset(struct answer *answer)
{
    char *body = answer->body;
    size_t body_room = answer->body_room;

    if (body_room > BODY_BYTES_KEPT) {
        free(body);
        body = NULL;
        body_room = 0;
    }
    memset(answer, 0, offsetof(struct answer, etag));
    answer->etag[0] = answer->encoding[0] = answer->request_id[0] = '\0';
    answer->region[0] = answer->location[0] = answer->date[0] = '\0';
    answer->body = body;
    answer->body_room = body_room;
    answer->body_bytes = 0;
}

void
answer_free(struct answer *answer)
{
    free(answer->body);
    answer->body = NULL;
    answer->body_room = 0;
}

/* ---- values */

struct text {
    const char *data;
    size_t bytes;
};

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct text
trimmed(const char *data, size_t bytes)
{
    for (; bytes > 0 && is_space(*data); data++)
        bytes--;
    while (bytes > 0 && is_space(data[bytes - 1]))
        bytes--;
    return (struct text){ data, bytes };
}

static bool
is_word(struct text text, const char *word)
{
    return text.bytes == strlen(word) && strncasecmp(text.data, word, text.bytes) == 0;
}

/* False, and "", if it does not fit. */
static bool
keep(char *out, size_t out_bytes, struct text value)
{
    out[0] = '\0';
    if (value.bytes >= out_bytes || memchr(value.data, '\0', value.bytes) != NULL)
        return false;
    memcpy(out, value.data, value.bytes);
    out[value.bytes] = '\0';
    return true;
}

static bool
number_of(struct text value, uint64_t *out)
{
    uint64_t number = 0;

    if (value.bytes == 0 || value.bytes > 18)
        return false;
    for (size_t i = 0; i < value.bytes; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(value.data[i] - '0');
    }
    *out = number;
    return true;
}

static time_t
date_of(struct text value)
{
    char date[64];
    time_t when;

    if (!keep(date, sizeof date, value))
        return 0;
    when = curl_getdate(date, NULL);
    return when == (time_t)-1 ? 0 : when;
}

/* ---- headers */

/* W/"x", "x" and x are the same tag: quotes are added again where a store wants them. */
static void
take_etag(struct answer *answer, struct text value)
{
    if (value.bytes >= 2 && memcmp(value.data, "W/", 2) == 0)
        value = (struct text){ value.data + 2, value.bytes - 2 };
    if (value.bytes >= 2 && value.data[0] == '"' && value.data[value.bytes - 1] == '"')
        value = (struct text){ value.data + 1, value.bytes - 2 };
    keep(answer->etag, sizeof answer->etag, value);
}

/* "aws-chunked" says how the body travelled, not what it is; some stores keep it.  Several header lines
 * are one list. */
static void
take_encoding(struct answer *answer, struct text value)
{
    const char *rest = value.data, *end = value.data + value.bytes;

    while (rest < end) {
        const char *comma = memchr(rest, ',', (size_t)(end - rest));
        struct text token = trimmed(rest, (size_t)((comma != NULL ? comma : end) - rest));
        size_t used = strlen(answer->encoding);

        rest = comma != NULL ? comma + 1 : end;
        if (token.bytes == 0 || is_word(token, "aws-chunked"))
            continue;
        if (used + 1 + token.bytes >= sizeof answer->encoding
            || memchr(token.data, '\0', token.bytes) != NULL) {
            answer->is_encoding_cut = true;
            return;
        }
        if (used > 0)
            answer->encoding[used++] = ',';
        memcpy(answer->encoding + used, token.data, token.bytes);
        answer->encoding[used + token.bytes] = '\0';
    }
}

/* bytes FIRST-LAST/TOTAL, or bytes * /TOTAL with 416. */
static void
take_range(struct answer *answer, struct text value)
{
    const char *slash = memchr(value.data, '/', value.bytes);
    struct text range, first;
    const char *dash;

    /* Of a whole object it would say where that begins. */
    if (answer->http_status != 206 && answer->http_status != 416)
        return;
    if (slash == NULL || value.bytes < 6 || strncasecmp(value.data, "bytes ", 6) != 0)
        return;
    answer->has_total_bytes =
        number_of((struct text){ slash + 1, (size_t)(value.data + value.bytes - slash - 1) },
                  &answer->total_bytes);
    range = trimmed(value.data + 6, (size_t)(slash - value.data - 6));
    dash = memchr(range.data, '-', range.bytes);
    first = (struct text){ range.data, dash == NULL ? 0 : (size_t)(dash - range.data) };
    answer->has_range = number_of(first, &answer->range_start);
    if (!answer->has_range && !is_word(range, "*"))
        answer->has_total_bytes = false;
}

static void
take_retry_after(struct answer *answer, struct text value)
{
    uint64_t seconds;
    time_t when, now = time(NULL);

    if (!number_of(value, &seconds)) {
        when = date_of(value);
        seconds = when > now ? (uint64_t)(when - now) : 0;
    }
    if (seconds > RETRY_AFTER_S_MAX)
        seconds = RETRY_AFTER_S_MAX;
    answer->retry_after_ms = (uint32_t)seconds * 1000;
}

/* "timeout=5, max=100" */
static void
take_keep_alive(struct answer *answer, struct text value)
{
    char text[64], *timeout;

    if (!keep(text, sizeof text, value))
        return;
    timeout = strstr(text, "timeout=");
    if (timeout != NULL)
        answer->keep_alive_s = (unsigned)strtoul(timeout + 8, NULL, 10);
}

/* Others may keep attributes with our object that are none for us, by name or length; they must not spoil
 * ours. */
static void
take_attr(struct answer *answer, struct text name, struct text value)
{
    char *copy = answer->text + answer->text_bytes;

    if (name.bytes == 0 || value.bytes > BD_ATTR_VALUE_BYTES_MAX
        || answer->attr_count == ANSWER_ATTRS_MAX
        || answer->text_bytes + name.bytes + value.bytes + 2 > sizeof answer->text)
        return;
    for (size_t i = 0; i < name.bytes; i++) {
        char c = name.data[i];

        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
            return;
        copy[i] = c;
    }
    copy[name.bytes] = '\0';
    memcpy(copy + name.bytes + 1, value.data, value.bytes);
    copy[name.bytes + 1 + value.bytes] = '\0';
    answer->attrs[answer->attr_count++] =
        (struct bd_attr){ copy, copy + name.bytes + 1, value.bytes };
    answer->text_bytes += name.bytes + value.bytes + 2;
}

static void
status_line(struct answer *answer, const char *line, size_t bytes)
{
    const char *blank = memchr(line, ' ', bytes);
    uint64_t status = 0;

    answer_reset(answer);
    if (blank != NULL && (size_t)(line + bytes - blank) >= 4
        && number_of((struct text){ blank + 1, 3 }, &status))
        answer->http_status = (unsigned)status;
}

void
answer_header(struct answer *answer, const char *line, size_t bytes)
{
    const char *colon;
    struct text name, value;

    if (bytes >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        status_line(answer, line, bytes);
        return;
    }
    colon = memchr(line, ':', bytes);
    if (colon == NULL)
        return;
    name = trimmed(line, (size_t)(colon - line));
    value = trimmed(colon + 1, (size_t)(line + bytes - colon - 1));
    if (is_word(name, "etag"))
        take_etag(answer, value);
    else if (is_word(name, "content-encoding"))
        take_encoding(answer, value);
    else if (is_word(name, "content-length"))
        answer->has_content_bytes = number_of(value, &answer->content_bytes);
    else if (is_word(name, "content-range"))
        take_range(answer, value);
    else if (is_word(name, "x-amz-request-id"))
        keep(answer->request_id, sizeof answer->request_id, value);
    else if (is_word(name, "x-amz-bucket-region"))
        keep(answer->region, sizeof answer->region, value);
    else if (is_word(name, "location"))
        keep(answer->location, sizeof answer->location, value);
    else if (is_word(name, "retry-after"))
        take_retry_after(answer, value);
    else if (is_word(name, "keep-alive"))
        take_keep_alive(answer, value);
    else if (is_word(name, "date"))
        keep(answer->date, sizeof answer->date, value);
    else if (name.bytes > strlen(META) && strncasecmp(name.data, META, strlen(META)) == 0)
        take_attr(answer, (struct text){ name.data + strlen(META), name.bytes - strlen(META) },
                  value);
}

/* Not for each answer: curl_getdate takes longer than all else here. */
time_t
answer_date(const struct answer *answer)
{
    return date_of((struct text){ answer->date, strlen(answer->date) });
}

/* ---- body */

bool
answer_body(struct answer *answer, const void *data, size_t bytes, size_t bytes_max)
{
    if (bytes > bytes_max - answer->body_bytes)
        bytes = bytes_max - answer->body_bytes;
    if (answer->body_bytes + bytes + 1 > answer->body_room) {
        size_t room = answer->body_room == 0 ? 1024 : answer->body_room;
        char *body;

        while (room < answer->body_bytes + bytes + 1)
            room *= 2;
        body = realloc(answer->body, room);
        if (body == NULL)
            return false;
        answer->body = body;
        answer->body_room = room;
    }
    memcpy(answer->body + answer->body_bytes, data, bytes);
    answer->body_bytes += bytes;
    answer->body[answer->body_bytes] = '\0';
    return true;
}
