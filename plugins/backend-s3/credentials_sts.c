/* SPDX-License-Identifier: Apache-2.0 */
/* The AWS Security Token Service: a role's keys for other keys, or for a web identity's token.
 *
 * Source: AssumeRole and AssumeRoleWithWebIdentity of the STS API reference
 * (docs.aws.amazon.com/STS/latest/APIReference).  The latter is not signed: the token says
 * who asks. */
#include "credentials_parts.h"
#include "mask.h"
#include "sigv4.h"
#include "uri.h"
#include "xml.h"

#include <curl/curl.h>
#include <openssl/crypto.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIMIT_MS 10000u
#define API_VERSION "2011-06-15"
#define URL_BYTES 512

struct service {
    char url[URL_BYTES];
    char host[URL_BYTES]; /* as the signature wants it */
    char path[URL_BYTES];
    char region[64];
};

static bool
region_is_name(const char *region)
{
    size_t bytes = strlen(region);

    return bytes > 0 && bytes < sizeof((struct service *)0)->region
           && strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-") == bytes;
}

/* Take an endpoint apart. */
static bool
service_parse(const char *endpoint, struct service *service)
{
    char *host = NULL, *port = NULL, *path = NULL, *url_text = NULL;
    CURLU *url = curl_url();
    bool ok = false;

    if (url == NULL)
        return false;
    if (curl_url_set(url, CURLUPART_URL, endpoint, 0) == CURLUE_OK
        && curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK
        && curl_url_get(url, CURLUPART_PATH, &path, 0) == CURLUE_OK
        && curl_url_get(url, CURLUPART_URL, &url_text, 0) == CURLUE_OK) {
        /* No port for the scheme's own, as libcurl sends it. */
        if (curl_url_get(url, CURLUPART_PORT, &port, CURLU_NO_DEFAULT_PORT) != CURLUE_OK)
            port = NULL;
        ok = snprintf(service->url, URL_BYTES, "%s", url_text) < URL_BYTES
             && snprintf(service->path, URL_BYTES, "%s", path) < URL_BYTES
             && snprintf(service->host, URL_BYTES, "%s%s%s", host, port == NULL ? "" : ":",
                         port == NULL ? "" : port)
                    < URL_BYTES;
    }
    curl_free(host);
    curl_free(port);
    curl_free(path);
    curl_free(url_text);
    curl_url_cleanup(url);
    return ok;
}

static enum bd_status
service_find(struct lookup *lookup, const struct sts_role *role, struct service *service)
{
    const char *endpoint = environment("AWS_ENDPOINT_URL_STS"), *region = lookup->options->region;
    char *found = NULL, url[URL_BYTES];

    if (region == NULL)
        region = role->region;
    if (region == NULL)
        region = found = credentials_region(lookup->options->profile);
    if (region == NULL)
        region = "us-east-1";
    if (!region_is_name(region)) {
        lookup_failed(lookup, BD_INVALID, "%.64s cannot be a region of AWS", region);
        free(found);
        return BD_INVALID;
    }
    snprintf(service->region, sizeof service->region, "%s", region);
    free(found);
    snprintf(url, sizeof url, "https://sts.%s.amazonaws.com%s/", service->region,
             strncmp(service->region, "cn-", 3) == 0 ? ".cn" : "");
    if (!service_parse(endpoint != NULL ? endpoint : url, service))
        return lookup_failed(lookup, BD_INVALID, "AWS_ENDPOINT_URL_STS is not a URL");
    return BD_OK;
}

/* "&name=value".  False: out of memory. */
static bool
form_add(struct secret *form, const char *name, const char *value)
{
    if (value == NULL)
        return true;
    if ((form->bytes > 0 && !secret_append(form, "&", 1))
        || !secret_append(form, name, strlen(name)) || !secret_append(form, "=", 1)
        || !secret_reserve(form, URI_ENCODED_BYTES(strlen(value)))
        || !uri_append(form->text + form->bytes, form->cap - form->bytes, value, false))
        return false;
    form->bytes += strlen(form->text + form->bytes);
    return true;
}

static bool
form_make(struct secret *form, const char *action, const struct sts_role *role)
{
    char session[64];

    snprintf(session, sizeof session, "bucketdisk-%ld", (long)getpid());
    return form_add(form, "Action", action) && form_add(form, "Version", API_VERSION)
           && form_add(form, "RoleArn", role->arn)
           && form_add(form, "RoleSessionName",
                       role->session_name != NULL ? role->session_name : session)
           && form_add(form, "ExternalId", role->external_id)
           && form_add(form, "DurationSeconds", role->duration_seconds);
}

static bool
sign(const struct lookup *lookup, const struct service *service, const struct keys *base,
     struct http_request *http)
{
    struct credentials signer = { .access_id = base->access_id,
                                  .secret = base->secret,
                                  .token = base->token };
    struct sigv4_key *key = lookup->host->secret_alloc(sizeof *key);
    char digest[65];
    bool ok;

    if (key == NULL)
        return false;
    memset(key, 0, sizeof *key);
    ok = sha256_hex(http->body, http->body_bytes, digest);
    http->payload_sha256 = digest;
    ok = ok && sigv4_sign(http, &signer, service->region, "sts", time(NULL), key);
    http->payload_sha256 = NULL;
    lookup->host->secret_free(key);
    return ok;
}

static enum bd_status
answer_read(struct lookup *lookup, const struct web_answer *answer, const struct sts_role *role,
            const struct secret *form, const struct headers *sent, struct keys *keys)
{
    struct s3_error error;
    char why[128];

    if (answer->status == 200) {
        if (xml_parse_keys(answer->body.text, answer->body.bytes, keys, why, sizeof why))
            return BD_OK;
        return lookup_failed(lookup, BD_RETRY, "the token service gave no keys for %s: %s",
                             role->arn, why);
    }
    if (answer->body.text == NULL
        || !xml_parse_error(answer->body.text, answer->body.bytes, &error)) {
        error.code[0] = '\0';
        error.message[0] = '\0';
    }
    mask_secret(error.message, form->text);
    mask_sent(error.message, sent);
    return lookup_failed(lookup,
                         answer->status >= 500 || answer->status == 429 ? BD_RETRY : BD_DENIED,
                         "the token service gave no keys for %s: HTTP status %ld%s%s%s%s",
                         role->arn, answer->status, error.code[0] != '\0' ? ", " : "", error.code,
                         error.message[0] != '\0' ? ": " : "", error.message);
}

/* `base` is NULL for what is not signed. */
static enum bd_status
ask(struct lookup *lookup, const struct sts_role *role, const struct secret *form,
    const struct keys *base, struct keys *keys)
{
    struct http_request http = { .method = "POST", .query = "" };
    struct web_answer answer = { 0 };
    struct web_request request;
    struct service service;
    enum bd_status status = service_find(lookup, role, &service);
    char why[sizeof lookup->why];

    if (status != BD_OK)
        return status;
    http.host = service.host;
    http.path = service.path;
    http.body = form->text;
    http.body_bytes = form->bytes;
    headers_init(&http.headers);
    headers_add(&http.headers, "content-type", "application/x-www-form-urlencoded; charset=utf-8");
    if (base != NULL && !sign(lookup, &service, base, &http)) {
        status = lookup_failed(lookup, BD_FATAL, "a request for %s cannot be signed", role->arn);
        goto wipe;
    }
    request = (struct web_request){ .method = "POST",
                                    .url = service.url,
                                    .headers = &http.headers,
                                    .body = form->text,
                                    .body_bytes = form->bytes,
                                    .limit_ms = LIMIT_MS };
    status = web_exchange(lookup, &request, &answer);
    if (status == BD_OK) {
        status = answer_read(lookup, &answer, role, form, &http.headers, keys);
    } else {
        snprintf(why, sizeof why, "%s", lookup->why);
        lookup_failed(lookup, status, "the token service %s: %s", service.host, why);
    }
    secret_clear(&answer.body);
wipe:
    OPENSSL_cleanse(&http.headers, sizeof http.headers);
    return status;
}

enum bd_status
sts_assume_role(struct lookup *lookup, const struct sts_role *role, const struct keys *base,
                struct keys *keys)
{
    struct secret form = { 0 };
    enum bd_status status;

    if (form_make(&form, "AssumeRole", role))
        status = ask(lookup, role, &form, base, keys);
    else
        status = lookup_failed(lookup, BD_FATAL, "out of memory for a request");
    secret_clear(&form);
    return status;
}

enum bd_status
sts_web_identity(struct lookup *lookup, const struct sts_role *role, const char *token_file,
                 struct keys *keys)
{
    struct secret form = { 0 }, token = { 0 };
    int error = secret_read_file(&token, token_file); /* each time: it is replaced before it ends */
    enum bd_status status;

    if (error != 0)
        status = lookup_failed(lookup, BD_DENIED, "%s: %s", token_file, strerror(error));
    else if (secret_trim(&token)[0] == '\0')
        status = lookup_failed(lookup, BD_INVALID, "%s holds no token", token_file);
    else if (form_make(&form, "AssumeRoleWithWebIdentity", role)
             && form_add(&form, "WebIdentityToken", secret_trim(&token)))
        status = ask(lookup, role, &form, NULL, keys);
    else
        status = lookup_failed(lookup, BD_FATAL, "out of memory for a request");
    secret_clear(&form);
    secret_clear(&token);
    return status;
}

enum bd_status
source_web_identity(struct lookup *lookup, struct found *found)
{
    const char *token_file = environment("AWS_WEB_IDENTITY_TOKEN_FILE");
    struct sts_role role = { .arn = environment("AWS_ROLE_ARN"),
                             .session_name = environment("AWS_ROLE_SESSION_NAME") };

    if (token_file == NULL)
        return BD_ABSENT;
    if (role.arn == NULL)
        return lookup_failed(lookup, BD_INVALID,
                             "AWS_WEB_IDENTITY_TOKEN_FILE is set, and AWS_ROLE_ARN is not");
    found->is_renewable = true;
    snprintf(found->source, sizeof found->source, "web identity for %s", role.arn);
    return sts_web_identity(lookup, &role, token_file, &found->keys);
}
