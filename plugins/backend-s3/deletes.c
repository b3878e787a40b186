/* SPDX-License-Identifier: Apache-2.0 */
/* Deleting many objects: in a batch, or one by one where that does not work. */
#include "call.h"

#include "mask.h"
#include "status.h"
#include "xml.h"

#include <openssl/evp.h>

#include <stdio.h>
#include <string.h>

#define SINGLES_MAX 32u /* deletes at once that stand for one batch */

static void send_singles(struct operation *operation);

static void
on_single(struct exchange *exchange)
{
    struct operation *operation = exchange->owner;
    uint32_t *status = &operation->io->statuses[exchange->index];

    *status = call_deleted(exchange) ? BD_OK : call_failure(exchange, false);
    if (*status == BD_ABSENT)
        *status = BD_OK;
    operation->in_flight--;
    call_end(exchange);
    send_singles(operation);
}

static void
send_singles(struct operation *operation)
{
    struct bd_io *io = operation->io;

    while (operation->next_name < io->name_count && operation->in_flight < SINGLES_MAX) {
        uint32_t i = operation->next_name++;
        struct exchange *exchange;

        io->statuses[i] = BD_RETRY;
        if (operation->s3->host->now_ns() >= io->deadline_ns)
            continue;
        exchange = call_begin(operation, "DELETE", io->names[i], on_single);
        if (exchange == NULL)
            continue;
        exchange->is_write = true;
        exchange->index = i;
        if (call_go(exchange))
            operation->in_flight++;
    }
    if (operation->in_flight == 0 && operation->next_name == io->name_count)
        operation_complete(operation, BD_OK);
}

struct batch {
    struct operation *operation;
    const struct headers *sent;
    uint32_t next;  /* stores answer in the order of asking, mostly */
    uint32_t count; /* of results: there is to be one for each name */
};

static void
one_deleted(void *arg, const char *key, const char *code, const char *message)
{
    struct batch *batch = arg;
    struct operation *operation = batch->operation;
    struct bd_io *io = operation->io;
    size_t prefix_bytes = strlen(operation->s3->prefix);
    uint32_t i = 0, at = 0;

    /* To look for each of many more would hold this thread up for seconds, and with it all requests. */
    if (++batch->count > io->name_count || strncmp(key, operation->s3->prefix, prefix_bytes) != 0)
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
        char said[sizeof error.code + sizeof error.message];

        snprintf(error.code, sizeof error.code, "%s", code);
        io->statuses[at] = status_of(&none, &error, true, false).status;
        snprintf(said, sizeof said, "%s: %s", code, message);
        mask_sent(said, batch->sent);
        operation_explain(operation, "DeleteObjects: %s: %s", key, said);
    }
}

static void
on_batch(struct exchange *exchange)
{
    struct operation *operation = exchange->owner;
    struct bd_io *io = operation->io;
    struct batch batch = { .operation = operation, .sent = &exchange->request.headers };
    struct s3_delete_result result = { .result = one_deleted, .arg = &batch };
    enum bd_status status;
    char why[128];

    for (uint32_t i = 0; i < io->name_count; i++)
        io->statuses[i] = BD_RETRY; /* what the answer does not name is not done */
    if (call_succeeded(exchange)) {
        if (!xml_parse_delete_result(exchange->answer.body, exchange->answer.body_bytes, &result,
                                     why, sizeof why)) {
            operation_explain(operation, "the answer to DeleteObjects cannot be read: %s", why);
            for (uint32_t i = 0; i < io->name_count; i++)
                io->statuses[i] = BD_UNKNOWN; /* whoever answered may have passed it on */
        }
        call_end(exchange);
        operation_complete(operation, BD_OK);
        return;
    }
    status = call_failure(exchange, false);
    /* 400: a batch that the store does not understand.  500: s3rver's answer to one with a name that is not there. */
    if (status == BD_UNSUPPORTED || (status == BD_INVALID && exchange->answer.http_status == 400)
        || (status == BD_RETRY && exchange->answer.http_status == 500)) {
        if (status == BD_UNSUPPORTED)
            operation->s3->delete_single = true;
        call_end(exchange);
        send_singles(operation);
        return;
    }
    call_end(exchange);
    operation_complete(operation, status);
}

/* Amazon and Swift demand it of this request, all others take it; of no other request a digest is made. */
static bool
digest_add(struct exchange *exchange)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    char text[2 * EVP_MAX_MD_SIZE];
    size_t bytes;

    if (!EVP_Q_digest(NULL, "MD5", NULL, exchange->request.body, exchange->request.body_bytes,
                      digest, &bytes))
        return false;
    EVP_EncodeBlock((unsigned char *)text, digest, (int)bytes);
    headers_add(&exchange->request.headers, "content-md5", text);
    return true;
}

bool
send_delete_many(struct operation *operation)
{
    struct s3 *s3 = operation->s3;
    struct bd_io *io = operation->io;
    struct exchange *exchange;
    struct http_request *request;

    if (s3->delete_single) {
        send_singles(operation);
        return true;
    }
    exchange = call_begin(operation, "POST", NULL, on_batch);
    if (exchange == NULL)
        return false;
    request = &exchange->request;
    exchange->is_write = true;
    exchange->body_bytes_max = RESULT_BYTES_MAX;
    exchange->owned_body =
        xml_delete_request(s3->prefix, io->names, io->name_count, &request->body_bytes);
    request->body = exchange->owned_body;
    call_query(exchange, "delete", "");
    headers_add(&request->headers, "content-type", "application/xml");
    if (request->body == NULL || !digest_add(exchange)
        || !sha256_hex(request->body, request->body_bytes, operation->payload_sha256)) {
        call_end(exchange);
        send_singles(operation);
        return true;
    }
    request->payload_sha256 = operation->payload_sha256;
    return call_go(exchange);
}
