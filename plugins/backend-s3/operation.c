/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of S3 for each request of the core, and what its answers mean.
 *
 * Each operation is a function that sends (send_…) and one that reads the answer (on_…); some need a second
 * exchange before they know.  All but operation_start runs on the loop's thread, which therefore owns what is
 * learned about the store on the way: region, clock, version of listings, whether batches work. */
#include "operation.h"

#include "sigv2.h"
#include "status.h"
#include "xml.h"

#include <bucketdisk/sdk.h>
#include <openssl/evp.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define RESULT_BYTES_MAX (16u << 20) /* of a listing, of the result of a batch */
#define SINGLES_MAX 32u              /* deletes at once that stand for one batch */
#define LOOK_NS (20ull * 1000000000)
#define SKEW_NEWS_S 5 /* a correction smaller than this corrects nothing */

/* ---- the end of an operation */

static void
complete(struct operation *operation, enum bd_status status)
{
    if (operation->io == NULL) {
        operation->status = status;
        operation->looked(operation);
        return;
    }
    operation->s3->host->complete(operation->io, status);
}

static void explain(struct operation *operation, const char *format, ...) BD_PRINTF(2, 3);

static void
explain(struct operation *operation, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(operation->why, sizeof operation->why, format, args);
    va_end(args);
    if (operation->io != NULL)
        operation->s3->host->error(operation->io, "%s", operation->why);
}

static void
exchange_end(struct exchange *exchange)
{
    struct operation *operation = exchange->owner;

    if (exchange->signed_with != NULL)
        credentials_release(operation->s3->credentials, exchange->signed_with);
    exchange_free(exchange);
}

/* ---- sending */

/* An exchange for one key, or for the bucket itself if name is NULL.  NULL, with operation->status and the reason, if it
 * can't be made. */
static struct exchange *
exchange_begin(struct operation *operation, const char *method, const char *name,
               void (*done)(struct exchange *exchange))
{
    struct s3 *s3 = operation->s3;
    struct exchange *exchange = exchange_new(s3->transfers);
    struct http_request *request;

    operation->status = BD_RETRY;
    if (exchange == NULL) {
        explain(operation, "out of memory");
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
        explain(operation, "the key %s%s is longer than %u bytes", s3->prefix, name,
                BD_NAME_BYTES_MAX);
        operation->status = BD_INVALID;
        exchange_end(exchange);
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

/* Returns false, with the exchange gone, operation->status and the reason, if it cannot be sent. */
static bool
exchange_go(struct exchange *exchange)
{
    struct operation *operation = exchange->owner;

    if (!sign(operation->s3, exchange) || exchange->request.headers.is_overfull) {
        explain(operation, "the request's headers do not fit, or hold control characters");
        operation->status = BD_INVALID;
        exchange_end(exchange);
        return false;
    }
    exchange_send(exchange, operation->s3->endpoint.scheme);
    return true;
}

static void
query_add(struct exchange *exchange, const char *name, const char *value)
{
    size_t used = strlen(exchange->query);

    snprintf(exchange->query + used, sizeof exchange->query - used, "%s%s=", used > 0 ? "&" : "",
             name);
    /* Three times the longest key, twice: it fits. */
    uri_append(exchange->query, sizeof exchange->query, value, false);
    exchange->request.query = exchange->query;
}

/* Tags are kept without their quotes. */
static void
condition_add(struct exchange *exchange, const char *header, const char *tag, bool is_bare)
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

    if (region[0] == '\0' || strcmp(region, s3->region) == 0 || strlen(region) >= sizeof s3->region
        || s3->is_region_learned)
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
    s3->is_region_learned = true;
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

/* A failure's sentence and class.  The exchange stays. */
static struct s3_verdict
failure(struct exchange *exchange, bool has_condition, struct s3_error *error)
{
    struct operation *operation = exchange->owner;
    struct answer *answer = &exchange->answer;
    struct s3_verdict verdict;
    const char *request_id;

    memset(error, 0, sizeof *error);
    if (exchange->has_failed) {
        explain(operation, "%s %s%s: %s", exchange->request.method, exchange->request.host,
                exchange->request.path, exchange->why);
        return (struct s3_verdict){ exchange->may_be_done ? BD_UNKNOWN : BD_RETRY, REMEDY_NONE,
                                    "" };
    }
    if (answer->body_bytes > 0)
        xml_parse_error(answer->body, answer->body_bytes, error);
    verdict = status_of(answer, error, exchange->is_write, has_condition);
    if (!apply_remedy(operation, exchange, verdict.remedy, error))
        verdict.status = verdict.remedy == REMEDY_REGION ? BD_INVALID : BD_DENIED;
    if (operation->io != NULL)
        operation->io->retry_after_ms = answer->retry_after_ms;
    request_id = error->request_id[0] != '\0' ? error->request_id : answer->request_id;
    explain(operation, "%s %s%s: %u %s%s%s%s%s%s%s%s%s%s%s", exchange->request.method,
            exchange->request.host, exchange->request.path, answer->http_status, error->code,
            error->message[0] != '\0' ? ": " : "", error->message,
            request_id[0] != '\0' ? " (request " : "", request_id, request_id[0] != '\0' ? ")" : "",
            error->endpoint[0] != '\0'    ? "; the store names "
            : answer->location[0] != '\0' ? "; the store names "
                                          : "",
            error->endpoint[0] != '\0' ? error->endpoint : answer->location,
            verdict.advice[0] != '\0' && verdict.status != BD_RETRY ? "; " : "",
            verdict.status != BD_RETRY ? verdict.advice : "", "");
    return verdict;
}

/* Did it go well, as far as HTTP and an error inside a 200 tell? */
static bool
is_success(const struct exchange *exchange)
{
    struct s3_error error;

    if (exchange->has_failed || exchange->answer.http_status < 200
        || exchange->answer.http_status > 299)
        return false;
    return exchange->answer.body_bytes == 0
           || !xml_parse_error(exchange->answer.body, exchange->answer.body_bytes, &error);
}

static void
fail(struct exchange *exchange, bool has_condition)
{
    struct operation *operation = exchange->owner;
    struct s3_error error;
    enum bd_status status = failure(exchange, has_condition, &error).status;

    exchange_end(exchange);
    complete(operation, status);
}

/* ---- GET and HEAD */

static void
give_properties(struct operation *operation, const struct answer *answer)
{
    const struct bd_host *host = operation->s3->host;

    if (answer->etag[0] != '\0')
        host->tag_set(operation->io, answer->etag);
    if (answer->encoding[0] != '\0')
        host->encoding_set(operation->io, answer->encoding);
    for (unsigned i = 0; i < answer->attr_count; i++)
        host->attr_add(operation->io, answer->attrs[i].name, answer->attrs[i].value,
                       answer->attrs[i].value_bytes);
}

static void
on_get(struct exchange *exchange)
{
    struct operation *operation = exchange->owner;
    struct bd_io *io = operation->io;
    const struct answer *answer = &exchange->answer;
    enum bd_status status = BD_OK;

    if (!exchange->has_failed && answer->http_status == 416 && answer->has_total_bytes) {
        io->len = 0;
        io->object_bytes = answer->total_bytes;
    } else if (!is_success(exchange)) {
        fail(exchange, true);
        return;
    } else {
        io->len = exchange->data_bytes;
        io->object_bytes = answer->has_total_bytes     ? answer->total_bytes
                           : answer->has_content_bytes ? answer->content_bytes
                                                       : exchange->stream_bytes;
    }
    if (answer->is_encoding_cut) {
        explain(operation, "the Content-Encoding of %s is longer than %u bytes", io->name,
                BD_ENCODING_BYTES_MAX);
        status = BD_CORRUPT;
    } else if (!bd_conditions_hold(io, answer->etag)) {
        status = BD_CONDITION; /* a server that does not look at conditions of GET */
    } else {
        give_properties(operation, answer);
    }
    exchange_end(exchange);
    complete(operation, status);
}

static bool
send_get(struct operation *operation)
{
    struct bd_io *io = operation->io;
    struct exchange *exchange = exchange_begin(operation, "GET", io->name, on_get);
    char range[64];

    if (exchange == NULL)
        return false;
    exchange->data = io->data;
    exchange->cap = io->cap;
    exchange->offset = io->offset;
    if (io->offset > 0 && io->cap > 0) {
        snprintf(range, sizeof range, "bytes=%" PRIu64 "-%" PRIu64, io->offset,
                 io->offset + io->cap - 1);
        headers_add(&exchange->request.headers, "range", range);
    }
    condition_add(exchange, "if-match", io->if_match, false);
    condition_add(exchange, "if-none-match", io->if_none_match, false);
    return exchange_go(exchange);
}

/* A 404 to a HEAD has no body that would say what is missing: absent is only what is missing in a bucket that is
 * there. */
static void
on_bucket(struct exchange *exchange)
{
    struct operation *operation = exchange->owner;

    if (!is_success(exchange)) {
        fail(exchange, false);
        return;
    }
    exchange_end(exchange);
    complete(operation, BD_ABSENT);
}

static bool
send_bucket(struct operation *operation, void (*done)(struct exchange *exchange))
{
    struct exchange *exchange = exchange_begin(operation, "GET", NULL, done);

    if (exchange == NULL)
        return false;
    query_add(exchange, "max-keys", "1");
    query_add(exchange, "prefix", operation->s3->prefix);
    return exchange_go(exchange);
}

static void
on_head(struct exchange *exchange)
{
    struct operation *operation = exchange->owner;
    struct bd_io *io = operation->io;

    if (!exchange->has_failed && exchange->answer.http_status == 404) {
        exchange_end(exchange);
        if (!send_bucket(operation, on_bucket))
            complete(operation, operation->status);
        return;
    }
    if (!is_success(exchange)) {
        fail(exchange, false);
        return;
    }
    io->object_bytes = exchange->answer.content_bytes;
    give_properties(operation, &exchange->answer);
    exchange_end(exchange);
    complete(operation, BD_OK);
}

static bool
send_head(struct operation *operation)
{
    struct exchange *exchange = exchange_begin(operation, "HEAD", operation->io->name, on_head);

    return exchange != NULL && exchange_go(exchange);
}

/* ---- PUT */

static bool send_put(struct operation *operation);

/* The tag that we hold against the one that is stored: equal means that this store compares
 * them with the quotes, which we sent. */
static void
on_tag(struct exchange *exchange)
{
    struct operation *operation = exchange->owner;
    struct s3 *s3 = operation->s3;
    bool is_there = is_success(exchange);

    if (!is_there && (exchange->has_failed || exchange->answer.http_status != 404)) {
        fail(exchange,
             false); /* which of the two it was is still open, but nothing has been written */
        return;
    }
    s3->etag_bare = is_there && strcmp(exchange->answer.etag, operation->io->if_match) == 0;
    s3->is_etag_style_known = s3->etag_bare;
    exchange_end(exchange);
    if (!s3->etag_bare)
        complete(operation, BD_CONDITION);
    else if (!send_put(operation))
        complete(operation, operation->status);
}

static bool
send_tag(struct operation *operation)
{
    struct exchange *exchange = exchange_begin(operation, "HEAD", operation->io->name, on_tag);

    return exchange != NULL && exchange_go(exchange);
}

static void
on_put(struct exchange *exchange)
{
    struct operation *operation = exchange->owner;
    struct s3 *s3 = operation->s3;
    struct bd_io *io = operation->io;
    bool has_condition = io->if_match != NULL || io->if_none_match != NULL;
    struct s3_error error;
    enum bd_status status;

    if (is_success(exchange)) {
        if (io->if_match != NULL)
            s3->is_etag_style_known = true;
        if (exchange->answer.etag[0] != '\0')
            s3->host->tag_set(io, exchange->answer.etag);
        exchange_end(exchange);
        complete(operation, BD_OK);
        return;
    }
    status = failure(exchange, has_condition, &error).status;
    exchange_end(exchange);
    if (status == BD_CONDITION && io->if_match != NULL && !s3->is_etag_style_known) {
        if (!send_tag(operation))
            complete(operation, operation->status);
        return;
    }
    if (status == BD_ABSENT) /* of a PUT: what If-Match names is not there */
        status = io->if_match != NULL ? BD_CONDITION : BD_RETRY;
    complete(operation, status);
}

static void
add_put_headers(struct s3 *s3, struct headers *headers, const struct bd_io *io)
{
    const struct s3_options *options = s3->options;

    headers_add(headers, "content-type",
                io->media_type != NULL ? io->media_type : "application/octet-stream");
    headers_add(headers, "cache-control", "no-transform");
    if (io->encoding != NULL)
        headers_add(headers, "content-encoding", io->encoding);
    if (s3->acl != NULL)
        headers_add(headers, "x-amz-acl", s3->acl);
    if (options->storage_class != NULL || options->rrs)
        headers_add(headers, "x-amz-storage-class",
                    options->storage_class != NULL ? options->storage_class : "REDUCED_REDUNDANCY");
    if (options->sse != NULL)
        headers_add(headers, "x-amz-server-side-encryption", options->sse);
    if (options->sse_key_id != NULL)
        headers_add(headers, "x-amz-server-side-encryption-aws-kms-key-id", options->sse_key_id);
    for (uint32_t i = 0; i < io->attr_count; i++) {
        const struct bd_attr *attr = bd_io_attr(io, i);
        char name[128];

        snprintf(name, sizeof name, "x-amz-meta-%s", attr->name);
        headers_add_bytes(headers, name, attr->value, attr->value_bytes);
    }
}

static bool
send_put(struct operation *operation)
{
    struct bd_io *io = operation->io;
    struct exchange *exchange = exchange_begin(operation, "PUT", io->name, on_put);
    struct http_request *request;

    if (exchange == NULL)
        return false;
    request = &exchange->request;
    exchange->is_write = true;
    request->body = io->body_bytes > 0 ? io->body : "";
    request->body_bytes = io->body_bytes;
    request->payload_sha256 =
        operation->s3->signs_payload ? operation->payload_sha256 : UNSIGNED_PAYLOAD;
    add_put_headers(operation->s3, &request->headers, io);
    condition_add(exchange, "if-match", io->if_match, operation->s3->etag_bare);
    condition_add(exchange, "if-none-match", io->if_none_match, operation->s3->etag_bare);
    return exchange_go(exchange);
}

/* ---- DELETE */

static void
on_delete(struct exchange *exchange)
{
    struct operation *operation = exchange->owner;
    bool has_condition = operation->io->if_match != NULL;
    struct s3_error error;
    enum bd_status status =
        is_success(exchange) ? BD_OK : failure(exchange, has_condition, &error).status;

    exchange_end(exchange);
    if (status == BD_ABSENT)
        status = has_condition ? BD_CONDITION : BD_OK;
    complete(operation, status);
}

static bool
send_delete(struct operation *operation)
{
    struct bd_io *io = operation->io;
    struct exchange *exchange = exchange_begin(operation, "DELETE", io->name, on_delete);

    if (exchange == NULL)
        return false;
    exchange->is_write = true;
    condition_add(exchange, "if-match", io->if_match, operation->s3->etag_bare);
    return exchange_go(exchange);
}

/* ---- deleting many: in a batch, or one by one where that does not work */

static void send_singles(struct operation *operation);

static void
on_single(struct exchange *exchange)
{
    struct operation *operation = exchange->owner;
    uint32_t *status = &operation->io->statuses[exchange->offset];
    struct s3_error error;

    *status = is_success(exchange) ? BD_OK : failure(exchange, false, &error).status;
    if (*status == BD_ABSENT)
        *status = BD_OK;
    operation->in_flight--;
    exchange_end(exchange);
    send_singles(operation);
}

static void
send_singles(struct operation *operation)
{
    struct bd_io *io = operation->io;

    while (operation->next_name < io->name_count && operation->in_flight < SINGLES_MAX) {
        uint32_t i = operation->next_name++;
        struct exchange *exchange = exchange_begin(operation, "DELETE", io->names[i], on_single);

        io->statuses[i] = BD_RETRY;
        if (exchange == NULL)
            continue;
        exchange->is_write = true;
        exchange->offset = i;
        if (exchange_go(exchange))
            operation->in_flight++;
    }
    if (operation->in_flight == 0 && operation->next_name == io->name_count)
        complete(operation, BD_OK);
}

struct batch {
    struct operation *operation;
    uint32_t next; /* stores answer in the order of asking, mostly */
};

static void
one_deleted(void *arg, const char *key, const char *code, const char *message)
{
    struct batch *batch = arg;
    struct operation *operation = batch->operation;
    struct bd_io *io = operation->io;
    size_t prefix_bytes = strlen(operation->s3->prefix);
    uint32_t i = 0, at = 0;

    if (strncmp(key, operation->s3->prefix, prefix_bytes) != 0)
        return;
    for (; i < io->name_count; i++) {
        at = (batch->next + i) % io->name_count;
        if (strcmp(io->names[at], key + prefix_bytes) == 0)
            break;
    }
    if (i == io->name_count)
        return;
    batch->next = at + 1;
    if (code == NULL || strcmp(code, "NoSuchKey") == 0) {
        io->statuses[at] = BD_OK;
    } else {
        const struct answer none = { .http_status = 200 };
        struct s3_error error = { 0 };

        snprintf(error.code, sizeof error.code, "%s", code);
        io->statuses[at] = status_of(&none, &error, true, false).status;
        explain(operation, "DeleteObjects: %s: %s: %s", key, code, message);
    }
}

static void
on_batch(struct exchange *exchange)
{
    struct operation *operation = exchange->owner;
    struct bd_io *io = operation->io;
    struct batch batch = { .operation = operation };
    struct s3_delete_result result = { .result = one_deleted, .arg = &batch };
    struct s3_error error;
    enum bd_status status;
    char why[128];

    for (uint32_t i = 0; i < io->name_count; i++)
        io->statuses[i] = BD_RETRY; /* what the answer does not name is not done */
    if (is_success(exchange)) {
        /* An answer that can't be read was one all the same: nothing of it comes later. */
        if (!xml_parse_delete_result(exchange->answer.body, exchange->answer.body_bytes, &result,
                                     why, sizeof why))
            explain(operation, "the answer to DeleteObjects cannot be read: %s", why);
        exchange_end(exchange);
        complete(operation, BD_OK);
        return;
    }
    status = failure(exchange, false, &error).status;
    if (status == BD_UNSUPPORTED || status == BD_INVALID
        || (status == BD_RETRY && exchange->answer.http_status >= 500)) {
        if (status == BD_UNSUPPORTED)
            operation->s3->delete_single = true;
        exchange_end(exchange);
        send_singles(operation);
        return;
    }
    exchange_end(exchange);
    complete(operation, status);
}

static bool
digest_add(struct exchange *exchange, enum s3_digest kind)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    char text[2 * EVP_MAX_MD_SIZE];
    size_t bytes;

    if (!EVP_Q_digest(NULL, kind == DIGEST_MD5 ? "MD5" : "SHA256", NULL, exchange->request.body,
                      exchange->request.body_bytes, digest, &bytes))
        return false;
    EVP_EncodeBlock((unsigned char *)text, digest, (int)bytes);
    headers_add(&exchange->request.headers,
                kind == DIGEST_MD5 ? "content-md5" : "x-amz-checksum-sha256", text);
    return true;
}

static void
send_batch(struct operation *operation)
{
    struct s3 *s3 = operation->s3;
    struct bd_io *io = operation->io;
    struct exchange *exchange;
    struct http_request *request;

    if (s3->delete_single) {
        send_singles(operation);
        return;
    }
    exchange = exchange_begin(operation, "POST", NULL, on_batch);
    if (exchange == NULL) {
        complete(operation, operation->status);
        return;
    }
    request = &exchange->request;
    exchange->is_write = true;
    exchange->body_bytes_max = RESULT_BYTES_MAX;
    exchange->owned_body =
        xml_delete_request(s3->prefix, io->names, io->name_count, &request->body_bytes);
    request->body = exchange->owned_body;
    query_add(exchange, "delete", "");
    headers_add(&request->headers, "content-type", "application/xml");
    if (request->body == NULL || !digest_add(exchange, s3->profile->delete_digest)
        || !sha256_hex(request->body, request->body_bytes, operation->payload_sha256)) {
        exchange_end(exchange);
        send_singles(operation);
        return;
    }
    request->payload_sha256 = operation->payload_sha256;
    if (!exchange_go(exchange))
        complete(operation, operation->status);
}

/* ---- LIST */

struct page {
    struct operation *operation;
    struct s3_listing listing;
    bool is_other; /* the server knows version 1 only, and so has not seen start-after */
};

static bool
one_listed(void *arg, const char *key, uint64_t bytes, const char *tag)
{
    struct page *page = arg;
    struct operation *operation = page->operation;
    size_t prefix_bytes = strlen(operation->s3->prefix);
    bool is_enough;

    if (page->listing.is_v1 && !operation->s3->list_v1) {
        operation->s3->list_v1 = true;
        page->is_other = operation->io->start_after != NULL;
    }
    if (page->is_other)
        return false;
    if (strncmp(key, operation->s3->prefix, prefix_bytes) != 0)
        return true; /* was not asked for */
    is_enough = operation->s3->host->list_add(operation->io, key + prefix_bytes, bytes, tag) == 0;
    if (is_enough)
        page->listing.is_truncated = true;
    return !is_enough;
}

static bool send_list(struct operation *operation);

static void
list_again(struct exchange *exchange)
{
    struct operation *operation = exchange->owner;

    exchange_end(exchange);
    if (!send_list(operation))
        complete(operation, operation->status);
}

static void
on_list(struct exchange *exchange)
{
    struct operation *operation = exchange->owner;
    struct answer *answer = &exchange->answer;
    struct page page = { .operation = operation, .listing = { .entry = one_listed, .arg = &page } };
    struct s3_error error;
    enum bd_status status = BD_OK;
    char why[128];

    if (!is_success(exchange)) {
        status = failure(exchange, false, &error).status;
        if (status == BD_UNSUPPORTED && !operation->s3->list_v1) {
            operation->s3->list_v1 = true;
            list_again(exchange);
            return;
        }
        if (status == BD_ABSENT)
            status = BD_RETRY;
    } else if (!xml_parse_listing(answer->body, answer->body_bytes, &page.listing, why,
                                  sizeof why)) {
        explain(operation, "the listing cannot be read: %s", why);
        status = BD_RETRY;
    } else if (page.is_other) {
        list_again(exchange);
        return;
    } else {
        operation->io->more = page.listing.is_truncated;
    }
    exchange_end(exchange);
    complete(operation, status);
}

/* Query parameters are signed in the order of their names. */
static bool
send_list(struct operation *operation)
{
    struct s3 *s3 = operation->s3;
    struct bd_io *io = operation->io;
    struct exchange *exchange = exchange_begin(operation, "GET", NULL, on_list);
    char key[2 * BD_NAME_BYTES_MAX + 2], limit[16];

    if (exchange == NULL)
        return false;
    exchange->body_bytes_max = RESULT_BYTES_MAX;
    snprintf(limit, sizeof limit, "%u",
             io->limit == 0 || io->limit > NAMES_MAX ? NAMES_MAX : io->limit);
    query_add(exchange, "encoding-type", "url");
    if (!s3->list_v1)
        query_add(exchange, "list-type", "2");
    if (io->start_after != NULL && s3->list_v1) {
        snprintf(key, sizeof key, "%s%s", s3->prefix, io->start_after);
        query_add(exchange, "marker", key);
    }
    query_add(exchange, "max-keys", limit);
    snprintf(key, sizeof key, "%s%s", s3->prefix, io->name != NULL ? io->name : "");
    query_add(exchange, "prefix", key);
    if (io->start_after != NULL && !s3->list_v1) {
        snprintf(key, sizeof key, "%s%s", s3->prefix, io->start_after);
        query_add(exchange, "start-after", key);
    }
    return exchange_go(exchange);
}

/* ---- the look at the bucket */

static void
on_look(struct exchange *exchange)
{
    struct operation *operation = exchange->owner;
    struct s3_error error;
    enum bd_status status = BD_OK;

    if (!is_success(exchange)) {
        status = failure(exchange, false, &error).status;
        /* What will not get better by waiting. */
        if (exchange->has_failed
            && (exchange->code == CURLE_COULDNT_RESOLVE_HOST
                || exchange->code == CURLE_PEER_FAILED_VERIFICATION
                || exchange->code == CURLE_SSL_CACERT_BADFILE
                || exchange->code == CURLE_SSL_CONNECT_ERROR))
            status = BD_INVALID;
    }
    exchange_end(exchange);
    complete(operation, status);
}

static void
look(struct transfer_job *job)
{
    struct operation *operation = (struct operation *)(void *)job;

    if (!send_bucket(operation, on_look))
        complete(operation, operation->status);
}

void
operation_look(struct operation *operation, struct s3 *s3,
               void (*looked)(struct operation *operation))
{
    operation->s3 = s3;
    operation->looked = looked;
    operation->job.run = look;
    transfers_post(s3->transfers, &operation->job);
}

/* ---- start */

static void
run(struct transfer_job *job)
{
    struct operation *operation = (struct operation *)(void *)job;
    bool is_sent = true;

    switch (operation->io->op) {
    case BD_GET:
        is_sent = send_get(operation);
        break;
    case BD_HEAD_OBJECT:
        is_sent = send_head(operation);
        break;
    case BD_PUT:
        is_sent = send_put(operation);
        break;
    case BD_DELETE:
        is_sent = send_delete(operation);
        break;
    case BD_DELETE_MANY:
        send_batch(operation);
        break;
    case BD_LIST:
        is_sent = send_list(operation);
        break;
    default:
        complete(operation, BD_UNSUPPORTED);
        break;
    }
    if (!is_sent)
        complete(operation, operation->status);
}

void
operation_start(struct operation *operation, struct s3 *s3, struct bd_io *io)
{
    operation->s3 = s3;
    operation->io = io;
    operation->job.run = run;
    /* Hashing a block takes longer than all else about it: not on the loop's thread. */
    if (io->op == BD_PUT && s3->signs_payload
        && !sha256_hex(io->body, io->body_bytes, operation->payload_sha256)) {
        s3->host->error(io, "no SHA-256 in the OpenSSL of this system");
        s3->host->complete(io, BD_FATAL);
        return;
    }
    transfers_post(s3->transfers, &operation->job);
}
