/* SPDX-License-Identifier: Apache-2.0 */
/* AWS Signature Version 2 for S3, for old stores. */
#include "sigv2.h"
#include "text.h"
#include "uri.h"

#include <assert.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

/* A path at its longest, and all headers. */
#define STRING_BYTES 16384
#define SHA1_BYTES 20

/* The parameters that are part of the resource; any others are not signed. */
static const char *const resource_parameters[] = {
    "acl",
    "cors",
    "delete",
    "lifecycle",
    "location",
    "logging",
    "notification",
    "partNumber",
    "policy",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
};

/* RFC 1123, whatever the locale. */
static bool
date_format(time_t now, char *out, size_t out_bytes)
{
    static const char days[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
    static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
    struct tm tm;
    int bytes;

    if (gmtime_r(&now, &tm) == NULL || tm.tm_year < 0 || tm.tm_year > 9999 - 1900)
        return false;
    bytes = snprintf(out, out_bytes, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday],
                     tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
                     tm.tm_sec);
    return bytes > 0 && (size_t)bytes < out_bytes;
}

static void
add_line(struct text *text, const char *line)
{
    text_add(text, line == NULL ? "" : line);
    text_add(text, "\n");
}

/* The fields x-amz-…, sorted, those of one name as one. */
static void
add_amz_headers(struct text *text, const struct headers *headers)
{
    const struct header *list[HEADERS_MAX];
    unsigned count = 0;

    for (unsigned i = 0; i < headers->count; i++) {
        if (strncmp(headers->list[i].name, "x-amz-", 6) == 0)
            list[count++] = &headers->list[i];
    }
    headers_sort(list, count);
    for (unsigned i = 0; i < count; i++) {
        bool is_last = i + 1 == count || strcmp(list[i]->name, list[i + 1]->name) != 0;

        if (i == 0 || strcmp(list[i]->name, list[i - 1]->name) != 0) {
            text_add(text, list[i]->name);
            text_add(text, ":");
        }
        text_add(text, list[i]->value);
        text_add(text, is_last ? "\n" : ",");
    }
}

static bool
is_resource_parameter(const char *name, size_t bytes)
{
    for (size_t i = 0; i < sizeof resource_parameters / sizeof *resource_parameters; i++) {
        if (strlen(resource_parameters[i]) == bytes
            && memcmp(name, resource_parameters[i], bytes) == 0)
            return true;
    }
    return false;
}

/* One "name" or "name=value" of the query.  Values are signed decoded; one that is empty counts
 * as none. */
static bool
add_parameter(struct text *text, const char *parameter, size_t bytes, bool *has_any)
{
    char value[URI_ENCODED_BYTES(BD_NAME_BYTES_MAX)];
    size_t name_bytes = strcspn(parameter, "=&");

    if (!is_resource_parameter(parameter, name_bytes))
        return true;
    text_add(text, *has_any ? "&" : "?");
    text_add_bytes(text, parameter, name_bytes);
    *has_any = true;
    if (bytes <= name_bytes + 1)
        return true;
    bytes -= name_bytes + 1;
    if (bytes >= sizeof value)
        return false;
    memcpy(value, parameter + name_bytes + 1, bytes);
    value[bytes] = '\0';
    if (!uri_decode(value, false))
        return false;
    text_add(text, "=");
    text_add(text, value);
    return true;
}

static bool
add_resource(struct text *text, const struct http_request *request)
{
    bool has_any = false;

    if (request->bucket != NULL) {
        text_add(text, "/");
        text_add(text, request->bucket);
    }
    text_add(text, request->path);
    for (const char *at = request->query; *at != '\0';) {
        size_t bytes = strcspn(at, "&");

        if (!add_parameter(text, at, bytes, &has_any))
            return false;
        at += bytes;
        at += *at == '&';
    }
    return true;
}

bool
sigv2_sign(struct http_request *request, const struct credentials *credentials, time_t now)
{
    struct headers *headers = &request->headers;
    char date[40], buffer[STRING_BYTES], authorization[1024];
    char base64[4 * ((SHA1_BYTES + 2) / 3) + 1];
    unsigned char signature[SHA1_BYTES];
    bool has_amz_date = headers_get(headers, "x-amz-date") != NULL;
    struct text text;
    int bytes;

    if (credentials->access_id == NULL)
        return !headers->is_overfull;
    assert(headers_get(headers, "authorization") == NULL);
    if (!has_amz_date && headers_get(headers, "date") == NULL) {
        if (!date_format(now, date, sizeof date))
            return false;
        headers_add(headers, "date", date);
    }
    if (credentials->token != NULL)
        headers_add(headers, "x-amz-security-token", credentials->token);
    if (headers->is_overfull)
        return false;

    text_init(&text, buffer, sizeof buffer);
    add_line(&text, request->method);
    add_line(&text, headers_get(headers, "content-md5"));
    add_line(&text, headers_get(headers, "content-type"));
    add_line(&text, has_amz_date ? NULL : headers_get(headers, "date"));
    add_amz_headers(&text, headers);
    if (!add_resource(&text, request) || text.is_overfull
        || HMAC(EVP_sha1(), credentials->secret, (int)strlen(credentials->secret),
                (const unsigned char *)text.start, text.bytes, signature, NULL)
               == NULL)
        return false;
    EVP_EncodeBlock((unsigned char *)base64, signature, sizeof signature);
    bytes =
        snprintf(authorization, sizeof authorization, "AWS %s:%s", credentials->access_id, base64);
    if (bytes < 0 || (size_t)bytes >= sizeof authorization)
        return false;
    headers_add(headers, "authorization", authorization);
    return !headers->is_overfull;
}
