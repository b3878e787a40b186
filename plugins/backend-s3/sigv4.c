/* SPDX-License-Identifier: Apache-2.0 */
/* AWS Signature Version 4, in the Authorization header.
 *
 * On the path of every request, so: nothing of ours is allocated here, and the key is derived
 * once a day.  HMAC() and EVP_Digest() look their algorithms up each time; contexts kept over
 * calls would save about 1 of 3 microseconds, and give the cached key something to free. */
#include "sigv4.h"
#include "text.h"

#include <bucketdisk/sdk.h>

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#define ALGORITHM "AWS4-HMAC-SHA256"
#define DIGEST_BYTES 32
#define DIGEST_HEX_BYTES (2 * DIGEST_BYTES + 1)
/* Path and query of names at their longest, encoded, and all headers with their names twice. */
#define CANONICAL_BYTES 32768
#define SECRET_BYTES_MAX 1024

static bool
sha256(const void *data, size_t bytes, unsigned char out[DIGEST_BYTES])
{
    return EVP_Digest(data, bytes, out, NULL, EVP_sha256(), NULL) == 1;
}

bool
sha256_hex(const void *data, size_t bytes, char out[65])
{
    unsigned char digest[DIGEST_BYTES];

    if (!sha256(data, bytes, digest))
        return false;
    bd_hex(digest, sizeof digest, out);
    return true;
}

static bool
hmac(const void *key, size_t key_bytes, const char *data, unsigned char out[DIGEST_BYTES])
{
    return HMAC(EVP_sha256(), key, (int)key_bytes, (const unsigned char *)data, strlen(data), out,
                NULL)
           != NULL;
}

/* ------------------------------------------------------------------ the key */

static bool
key_derive(const char *secret, const char *day, const char *region, const char *service,
           unsigned char out[DIGEST_BYTES])
{
    char first[4 + SECRET_BYTES_MAX + 1];
    unsigned char key[DIGEST_BYTES], next[DIGEST_BYTES];
    int bytes = snprintf(first, sizeof first, "AWS4%s", secret);
    bool is_derived = bytes > 0 && (size_t)bytes < sizeof first
                      && hmac(first, (size_t)bytes, day, key) && hmac(key, sizeof key, region, next)
                      && hmac(next, sizeof next, service, key)
                      && hmac(key, sizeof key, "aws4_request", out);

    OPENSSL_cleanse(first, sizeof first);
    OPENSSL_cleanse(key, sizeof key);
    OPENSSL_cleanse(next, sizeof next);
    return is_derived;
}

/* Make `cached` the key for this time and place, if it is not already. */
static bool
key_renew(struct sigv4_key *cached, const char *secret, const char *stamp, const char *region,
          const char *service)
{
    char scope[sizeof cached->scope], day[9];
    unsigned char digest[DIGEST_BYTES];
    int bytes;
    bool is_present;

    snprintf(day, sizeof day, "%.8s", stamp);
    bytes = snprintf(scope, sizeof scope, "%s/%s/%s/aws4_request", day, region, service);
    if (bytes < 0 || (size_t)bytes >= sizeof scope || !sha256(secret, strlen(secret), digest))
        return false;
    is_present = strcmp(cached->scope, scope) == 0
                 && CRYPTO_memcmp(cached->secret_digest, digest, sizeof digest) == 0;
    if (!is_present) {
        cached->scope[0] = '\0';
        if (key_derive(secret, day, region, service, cached->key)) {
            strcpy(cached->scope, scope);
            memcpy(cached->secret_digest, digest, sizeof digest);
            is_present = true;
        }
    }
    OPENSSL_cleanse(digest, sizeof digest);
    return is_present;
}

/* ------------------------------------------------------------------ the canonical request */

/* Runs of blanks count as one. */
static void
add_value(struct text *text, const char *value)
{
    const char *blanks;

    while ((blanks = strstr(value, "  ")) != NULL) {
        text_add_bytes(text, value, (size_t)(blanks - value) + 1);
        value = blanks + strspn(blanks, " ");
    }
    text_add(text, value);
}

/* A name without a value gets its '=' even if it is sent without. */
static void
add_query(struct text *text, const char *query)
{
    while (*query != '\0') {
        size_t bytes = strcspn(query, "&");

        text_add_bytes(text, query, bytes);
        if (memchr(query, '=', bytes) == NULL)
            text_add(text, "=");
        query += bytes;
        if (*query == '&') {
            text_add(text, "&");
            query++;
        }
    }
}

/* The fields, sorted, those of one name as one; in `names` the names. */
static void
add_headers(struct text *text, const struct header **list, unsigned count, struct text *names)
{
    for (unsigned i = 0; i < count; i++) {
        bool is_first = i == 0 || strcmp(list[i]->name, list[i - 1]->name) != 0;

        if (is_first) {
            text_add(text, i == 0 ? "" : "\n");
            text_add(text, list[i]->name);
            text_add(names, i == 0 ? "" : ";");
            text_add(names, list[i]->name);
        }
        text_add(text, is_first ? ":" : ",");
        add_value(text, list[i]->value);
    }
    text_add(text, "\n");
}

/* The hash of all that is signed of the request, and the names of the signed headers. */
static bool
request_hash(const struct http_request *request, char out[DIGEST_HEX_BYTES], struct text *names)
{
    const struct header host = { "host", request->host };
    const struct header *list[HEADERS_MAX + 1] = { &host };
    unsigned count = 1;
    char buffer[CANONICAL_BYTES];
    struct text text;

    for (unsigned i = 0; i < request->headers.count; i++)
        list[count++] = &request->headers.list[i];
    headers_sort(list, count);

    text_init(&text, buffer, sizeof buffer);
    text_add(&text, request->method);
    text_add(&text, "\n");
    text_add(&text, request->path);
    text_add(&text, "\n");
    add_query(&text, request->query);
    text_add(&text, "\n");
    add_headers(&text, list, count, names);
    text_add(&text, "\n");
    text_add(&text, names->start);
    text_add(&text, "\n");
    text_add(&text, request->payload_sha256);
    return !text.is_overfull && !names->is_overfull && sha256_hex(text.start, text.bytes, out);
}

/* ------------------------------------------------------------------ the signature */

/* "20130524T000000Z" */
static bool
stamp_format(time_t now, char out[17])
{
    struct tm tm;

    return gmtime_r(&now, &tm) != NULL && tm.tm_year >= 0
           && strftime(out, 17, "%Y%m%dT%H%M%SZ", &tm) == 16;
}

bool
sigv4_sign(struct http_request *request, const struct credentials *credentials, const char *region,
           const char *service, time_t now, struct sigv4_key *cached)
{
    struct headers *headers = &request->headers;
    char stamp[17], request_hex[DIGEST_HEX_BYTES], signature_hex[DIGEST_HEX_BYTES];
    char names_buffer[HEADERS_TEXT_BYTES], buffer[HEADERS_TEXT_BYTES];
    unsigned char signature[DIGEST_BYTES];
    struct text names, text;

    if (credentials->access_id == NULL)
        return !headers->is_overfull;
    assert(headers_get(headers, "authorization") == NULL);
    if (!stamp_format(now, stamp)
        || !key_renew(cached, credentials->secret, stamp, region, service))
        return false;
    headers_add(headers, "x-amz-date", stamp);
    if (strcmp(service, "s3") == 0)
        headers_add(headers, "x-amz-content-sha256", request->payload_sha256);
    if (credentials->token != NULL)
        headers_add(headers, "x-amz-security-token", credentials->token);
    text_init(&names, names_buffer, sizeof names_buffer);
    if (headers->is_overfull || !request_hash(request, request_hex, &names))
        return false;

    text_init(&text, buffer, sizeof buffer);
    text_add(&text, ALGORITHM "\n");
    text_add(&text, stamp);
    text_add(&text, "\n");
    text_add(&text, cached->scope);
    text_add(&text, "\n");
    text_add(&text, request_hex);
    if (text.is_overfull || !hmac(cached->key, sizeof cached->key, text.start, signature))
        return false;
    bd_hex(signature, sizeof signature, signature_hex);

    text_init(&text, buffer, sizeof buffer);
    text_add(&text, ALGORITHM " Credential=");
    text_add(&text, credentials->access_id);
    text_add(&text, "/");
    text_add(&text, cached->scope);
    text_add(&text, ", SignedHeaders=");
    text_add(&text, names.start);
    text_add(&text, ", Signature=");
    text_add(&text, signature_hex);
    if (text.is_overfull)
        return false;
    headers_add(headers, "authorization", text.start);
    return !headers->is_overfull;
}
