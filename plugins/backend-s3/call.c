/* SPDX-License-Identifier: Apache-2.0 */
/* One exchange for an operation: made, signed, sent; and what its failure means. */
#include "call.h"

#include "mask.h"
#include "sigv2.h"
#include "status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define LOOK_NS (20ull * 1000000000)
#define SKEW_NEWS_S 5 /* a correction smaller than this corrects nothing */

void
call_end(struct exchange *exchange)
{
    struct operation *operation = exchange->owner;

    if (exchange->signed_with != NULL)
        credentials_release(operation->s3->credentials, exchange->signed_with);
    exchange_free(exchange);
}

/* ---- sending */

struct exchange *
call_begin(struct operation *operation, const char *method, const char *name,
           void (*done)(struct exchange *exchange))
{
    struct s3 *s3 = operation->s3;
    struct exchange *exchange = exchange_new(s3->transfers);
    struct http_request *request;

    operation->status = BD_RETRY;
    if (exchange == NULL) {
        operation_explain(operation, "out of memory");
        return NULL;
    }
    exchange->owner = operation;
    exchange->done = done;
    exchange->deadline_ns =
        operation->io != NULL ? operation->io->deadline_ns : s3->host->now_ns() + LOOK_NS;
    request = &exchange->request;
    request->method = method;
    request->host = s3->endpoint.host;
    request->bucket = s3->endpoint.is_vhost ? s3->bucket : NULL;
    request->payload_sha256 = EMPTY_SHA256;
    request->path = exchange->path;
    snprintf(exchange->path, sizeof exchange->path, "%s", s3->endpoint.path);
    if (name != NULL
        && (strlen(s3->prefix) + strlen(name) > BD_NAME_BYTES_MAX
            || !uri_append(exchange->path, sizeof exchange->path, s3->prefix, true)
            || !uri_append(exchange->path, sizeof exchange->path, name, true))) {
        operation_explain(operation, "the key %s%s is longer than %u bytes", s3->prefix, name,
                          BD_NAME_BYTES_MAX);
        operation->status = BD_INVALID;
        call_end(exchange);
        return NULL;
    }
    return exchange;
}

static bool
sign(struct s3 *s3, struct exchange *exchange)
{
    const struct credentials *credentials = credentials_get(s3->credentials);
    time_t now = time(NULL) + (time_t)s3->skew_s;

    exchange->signed_with = credentials;
    exchange->signed_era = s3->era;
    if (credentials->access_id == NULL)
        return true;
    if (s3->options->auth_version == AUTH_AWS2)
        return sigv2_sign(&exchange->request, credentials, now);
    return sigv4_sign(&exchange->request, credentials, s3->region, "s3", now, s3->signing_key);
}

bool
call_go(struct exchange *exchange)
{
    struct operation *operation = exchange->owner;

    if (!sign(operation->s3, exchange) || exchange->request.headers.is_overfull) {
        operation_explain(operation,
                          "the request's headers do not fit, or hold what no header can");
        operation->status = BD_INVALID;
        call_end(exchange);
        return false;
    }
    exchange_send(exchange, operation->s3->endpoint.scheme);
    return true;
}

void
call_query(struct exchange *exchange, const char *name, const char *value)
{
    size_t used = strlen(exchange->query);

    snprintf(exchange->query + used, sizeof exchange->query - used, "%s%s=", used > 0 ? "&" : "",
             name);
    /* Three times the longest key, twice: it fits. */
    uri_append(exchange->query, sizeof exchange->query, value, false);
    exchange->request.query = exchange->query;
}

void
call_condition(struct exchange *exchange, const char *header, const char *tag, bool is_bare)
{
    char quoted[BD_TAG_BYTES_MAX + 3];

    if (tag == NULL)
        return;
    snprintf(quoted, sizeof quoted, "\"%s\"", tag);
    headers_add(&exchange->request.headers, header,
                is_bare || strcmp(tag, "*") == 0 ? tag : quoted);
}

/* ---- answers that are not what was asked for */

/* The region that the store names for the bucket.  True: it is another one than ours, which changes now. */
static bool
learn_region(struct s3 *s3, const char *region)
{
    struct endpoint endpoint;
    char why[256];

    if (region[0] == '\0' || strcmp(region, s3->region) == 0 || strlen(region) >= sizeof s3->region)
        return false;
    if (s3->endpoint.is_derived) {
        const struct endpoint_config config = {
            .region = region,
            .bucket = s3->bucket,
            .is_tls = s3->options->ssl,
            .wants_vhost = s3->endpoint.is_vhost,
        };

        if (!endpoint_make(&config, &endpoint, why, sizeof why))
            return false;
        s3->endpoint = endpoint;
    }
    s3->host->log(s3->host, BD_INFO,
                  "the bucket is in the region %s, not %s; --region=%s saves a "
                  "request at each start",
                  region, s3->region, region);
    strcpy(s3->region, region);
    s3->era++;
    return true;
}

static bool
learn_clock(struct s3 *s3, time_t date)
{
    int64_t skew_s = (int64_t)date - (int64_t)time(NULL);

    if (date == 0 || llabs(skew_s - s3->skew_s) < SKEW_NEWS_S)
        return false;
    s3->skew_s = skew_s;
    s3->era++;
    s3->host->log(s3->host, BD_WARNING,
                  "this machine's clock is %lld s %s the store's: requests are signed with "
                  "the store's time",
                  llabs(skew_s), skew_s > 0 ? "behind" : "ahead of");
    return true;
}

/* Is the remedy a new one?  If not, to try again is useless. */
static bool
apply_remedy(struct operation *operation, struct exchange *exchange, enum s3_remedy remedy,
             const struct s3_error *error)
{
    struct s3 *s3 = operation->s3;

    if (exchange->signed_era != s3->era)
        return true; /* was under way when another one learned it */
    switch (remedy) {
    case REMEDY_NONE:
        return true;
    case REMEDY_REGION:
        return learn_region(s3, error->region[0] != '\0' ? error->region : exchange->answer.region);
    case REMEDY_CLOCK:
        return learn_clock(s3, answer_date(&exchange->answer));
    case REMEDY_CREDENTIALS:
        return credentials_refused(s3->credentials, exchange->signed_with);
    }
    return true;
}

/* "PUT host/path: 403 AccessDenied: Access Denied (request 4442587FB7D0A2F9); what to do" */
static void
explain_answer(struct exchange *exchange, const struct s3_error *error, const char *advice)
{
    const struct answer *answer = &exchange->answer;
    const char *id = error->request_id[0] != '\0' ? error->request_id : answer->request_id;
    const char *place = error->endpoint[0] != '\0' ? error->endpoint : answer->location;
    char request[160] = "", redirect[300] = "", said[1200];

    if (id[0] != '\0')
        snprintf(request, sizeof request, " (request %s)", id);
    if (place[0] != '\0')
        snprintf(redirect, sizeof redirect, "; the store points to %s", place);
    snprintf(said, sizeof said, "%s%s%s%s%s%s", error->code[0] != '\0' ? " " : "", error->code,
             error->message[0] != '\0' ? ": " : "", error->message, request, redirect);
    mask_sent(said, &exchange->request.headers);
    operation_explain(exchange->owner, "%s %s%s: %u%s%s%s", exchange->request.method,
                      exchange->request.host, exchange->request.path, answer->http_status, said,
                      advice[0] != '\0' ? "; " : "", advice);
}

enum bd_status
call_failure(struct exchange *exchange, bool has_condition)
{
    struct operation *operation = exchange->owner;
    const struct answer *answer = &exchange->answer;
    struct s3_error error = { 0 };
    struct s3_verdict verdict;

    if (exchange->has_failed) {
        operation_explain(operation, "%s %s%s: %s", exchange->request.method,
                          exchange->request.host, exchange->request.path, exchange->why);
        return exchange->may_be_done ? BD_UNKNOWN : BD_RETRY;
    }
    if (answer->body_bytes > 0)
        xml_parse_error(answer->body, answer->body_bytes, &error);
    verdict = status_of(answer, &error, exchange->is_write, has_condition);
    if (!apply_remedy(operation, exchange, verdict.remedy, &error))
        verdict.status = verdict.remedy == REMEDY_REGION ? BD_INVALID : BD_DENIED;
    else if (verdict.remedy != REMEDY_NONE)
        verdict.advice = ""; /* we have helped ourselves */
    if (operation->io != NULL)
        operation->io->retry_after_ms = answer->retry_after_ms;
    explain_answer(exchange, &error, verdict.advice);
    return verdict.status;
}

bool
call_succeeded(const struct exchange *exchange)
{
    const struct answer *answer = &exchange->answer;
    struct s3_error error;

    if (exchange->has_failed || answer->http_status < 200 || answer->http_status > 299)
        return false;
    return answer->body_bytes == 0 || !xml_parse_error(answer->body, answer->body_bytes, &error);
}

bool
call_is_of_store(const struct exchange *exchange)
{
    const struct answer *answer = &exchange->answer;

    return answer->body_bytes == 0 && (answer->etag[0] != '\0' || answer->request_id[0] != '\0');
}

bool
call_deleted(const struct exchange *exchange)
{
    return call_succeeded(exchange)
           && (exchange->answer.http_status == 204 || call_is_of_store(exchange));
}

void
call_fail(struct exchange *exchange, bool has_condition)
{
    struct operation *operation = exchange->owner;
    enum bd_status status = call_failure(exchange, has_condition);

    call_end(exchange);
    operation_complete(operation, status);
}
