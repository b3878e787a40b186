/* SPDX-License-Identifier: Apache-2.0 */
/* GET, HEAD, PUT and DELETE of one object. */
#include "call.h"

#include <bucketdisk/sdk.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- GET and HEAD */

static enum bd_status
give_properties(struct operation *operation, const struct answer *answer)
{
    const struct bd_host *host = operation->s3->host;

    if (answer->is_encoding_cut) {
        operation_explain(operation, "the Content-Encoding of %s is longer than %u bytes",
                          operation->io->name, BD_ENCODING_BYTES_MAX);
        return BD_CORRUPT;
    }
    if (answer->etag[0] != '\0')
        host->tag_set(operation->io, answer->etag);
    if (answer->encoding[0] != '\0')
        host->encoding_set(operation->io, answer->encoding);
    for (unsigned i = 0; i < answer->attr_count; i++)
        host->attr_add(operation->io, answer->attrs[i].name, answer->attrs[i].value,
                       answer->attrs[i].value_bytes);
    return BD_OK;
}

/* Does the answer hold all that was asked for, as far as the object goes, and tell how far that is? */
static bool
is_what_was_asked(const struct bd_io *io, const struct answer *answer)
{
    uint64_t rest = io->object_bytes > io->offset ? io->object_bytes - io->offset : 0;

    if (answer->http_status == 206 && !(answer->has_range && answer->has_total_bytes))
        return false;
    return io->len == (rest < io->cap ? rest : io->cap);
}

static void
on_get(struct exchange *exchange)
{
    struct operation *operation = exchange->owner;
    struct bd_io *io = operation->io;
    const struct answer *answer = &exchange->answer;
    enum bd_status status;

    if (!exchange->has_failed && answer->http_status == 416 && answer->has_total_bytes) {
        io->len = 0;
        io->object_bytes = answer->total_bytes;
    } else if (!exchange->has_failed && answer->http_status == 416) {
        /* Behind the end of the object, says the store, and not where that is: Ceph. */
        call_end(exchange);
        if (!send_head(operation))
            operation_complete(operation, operation->status);
        return;
    } else if (!call_succeeded(exchange) || !call_is_of_store(exchange)) {
        call_fail(exchange, true);
        return;
    } else {
        io->len = exchange->data_bytes;
        io->object_bytes = answer->has_total_bytes     ? answer->total_bytes
                           : answer->has_content_bytes ? answer->content_bytes
                                                       : exchange->stream_bytes;
    }
    if (!is_what_was_asked(io, answer)) {
        operation_explain(operation, "GET %s: the answer is another part than was asked for",
                          exchange->request.path);
        status = BD_RETRY;
    } else {
        /* Some servers do not look at conditions of GET. */
        status = bd_conditions_hold(io, answer->etag) ? give_properties(operation, answer)
                                                      : BD_CONDITION;
    }
    call_end(exchange);
    operation_complete(operation, status);
}

bool
send_get(struct operation *operation)
{
    struct bd_io *io = operation->io;
    struct exchange *exchange;
    char range[64];

    if (io->cap == 0) /* there may be nowhere to put a byte */
        return send_head(operation);
    exchange = call_begin(operation, "GET", io->name, on_get);
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
    call_condition(exchange, "if-match", io->if_match, false);
    call_condition(exchange, "if-none-match", io->if_none_match, false);
    return call_go(exchange);
}

/* The answer to a GET of the same key, which has a body to say what is missing or wrong. */
static void
on_reason(struct exchange *exchange)
{
    struct operation *operation = exchange->owner;

    if (!call_succeeded(exchange)
        && (exchange->has_failed || exchange->answer.http_status != 416)) {
        call_fail(exchange, false);
        return;
    }
    operation_explain(operation, "HEAD %s: refused, but GET finds it", exchange->request.path);
    call_end(exchange);
    operation_complete(operation, BD_RETRY);
}

/* A little of the object `name`: its headers, or what is wrong with it. */
static bool
send_little(struct operation *operation, void (*done)(struct exchange *exchange))
{
    struct exchange *exchange = call_begin(operation, "GET", operation->io->name, done);

    if (exchange == NULL)
        return false;
    headers_add(&exchange->request.headers, "range", "bytes=0-0");
    return call_go(exchange);
}

/* A failed HEAD says neither what is missing or wrong, nor that it is the store who says so: absent is what the
 * answer to a GET calls so. */
static void
on_head(struct exchange *exchange)
{
    struct operation *operation = exchange->owner;
    struct bd_io *io = operation->io;
    const struct answer *answer = &exchange->answer;
    enum bd_status status;

    if (!exchange->has_failed && answer->http_status / 100 == 4 && answer->region[0] == '\0') {
        call_end(exchange);
        if (!send_little(operation, on_reason))
            operation_complete(operation, operation->status);
        return;
    }
    if (!call_succeeded(exchange) || !call_is_of_store(exchange)) {
        call_fail(exchange, false);
        return;
    }
    io->object_bytes = answer->content_bytes;
    if (io->op == BD_GET && io->cap > 0
        && io->object_bytes > io->offset) /* it has grown meanwhile */
        status = BD_RETRY;
    else if (io->op == BD_GET && !bd_conditions_hold(io, answer->etag))
        status = BD_CONDITION;
    else
        status = give_properties(operation, answer);
    call_end(exchange);
    operation_complete(operation, status);
}

bool
send_head(struct operation *operation)
{
    struct exchange *exchange = call_begin(operation, "HEAD", operation->io->name, on_head);

    return exchange != NULL && call_go(exchange);
}

/* ---- PUT */

/* The tag that we hold against the one that is stored: equal means that this store compares
 * them with the quotes, which we sent.  Until a put without them has succeeded, that is a guess. */
static void
on_tag(struct exchange *exchange)
{
    struct operation *operation = exchange->owner;
    struct s3 *s3 = operation->s3;
    enum bd_status status = BD_CONDITION;

    if (!call_succeeded(exchange))
        status = call_failure(exchange, false);
    else if (strcmp(exchange->answer.etag, operation->io->if_match) == 0)
        s3->etag_bare = true;
    call_end(exchange);
    /* Which of the two it was may still be open, but nothing has been written. */
    if (!s3->etag_bare)
        operation_complete(operation, status == BD_ABSENT ? BD_CONDITION : status);
    else if (!send_put(operation))
        operation_complete(operation, operation->status);
}

/* The condition of a put did not hold. */
static void
condition_failed(struct operation *operation)
{
    struct s3 *s3 = operation->s3;

    if (operation->io->if_match == NULL || s3->is_etag_style_known) {
        operation_complete(operation, BD_CONDITION);
    } else if (s3->etag_bare) {
        s3->etag_bare = false; /* guessed wrong */
        operation_complete(operation, BD_CONDITION);
    } else if (!send_little(operation, on_tag)) {
        operation_complete(operation, operation->status);
    }
}

static void
on_put(struct exchange *exchange)
{
    struct operation *operation = exchange->owner;
    struct s3 *s3 = operation->s3;
    struct bd_io *io = operation->io;
    bool has_condition = io->if_match != NULL || io->if_none_match != NULL;
    enum bd_status status;

    if (call_succeeded(exchange) && call_is_of_store(exchange)) {
        if (io->if_match != NULL)
            s3->is_etag_style_known = true;
        if (exchange->answer.etag[0] != '\0')
            s3->host->tag_set(io, exchange->answer.etag);
        call_end(exchange);
        operation_complete(operation, BD_OK);
        return;
    }
    status = call_failure(exchange, has_condition);
    call_end(exchange);
    if (status == BD_ABSENT) /* of a PUT: what If-Match names is not there */
        status = io->if_match != NULL ? BD_CONDITION : BD_RETRY;
    if (status == BD_CONDITION)
        condition_failed(operation);
    else
        operation_complete(operation, status);
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
        const char *value = attr->value;
        char name[128];

        /* A header would lose what stands at its ends. */
        if (attr->value_bytes > 0
            && (strchr(" \t", value[0]) != NULL
                || strchr(" \t", value[attr->value_bytes - 1]) != NULL))
            headers->is_overfull = true;
        snprintf(name, sizeof name, "x-amz-meta-%s", attr->name);
        headers_add_bytes(headers, name, attr->value, attr->value_bytes);
    }
}

bool
send_put(struct operation *operation)
{
    struct bd_io *io = operation->io;
    struct exchange *exchange = call_begin(operation, "PUT", io->name, on_put);
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
    call_condition(exchange, "if-match", io->if_match, operation->s3->etag_bare);
    call_condition(exchange, "if-none-match", io->if_none_match, operation->s3->etag_bare);
    return call_go(exchange);
}

/* ---- DELETE */

static void
on_delete(struct exchange *exchange)
{
    struct operation *operation = exchange->owner;
    bool has_condition = operation->io->if_match != NULL;
    enum bd_status status = call_deleted(exchange) ? BD_OK : call_failure(exchange, has_condition);

    call_end(exchange);
    if (status == BD_ABSENT)
        status = has_condition ? BD_CONDITION : BD_OK;
    operation_complete(operation, status);
}

bool
send_delete(struct operation *operation)
{
    struct bd_io *io = operation->io;
    struct exchange *exchange = call_begin(operation, "DELETE", io->name, on_delete);

    if (exchange == NULL)
        return false;
    exchange->is_write = true;
    call_condition(exchange, "if-match", io->if_match, operation->s3->etag_bare);
    return call_go(exchange);
}
