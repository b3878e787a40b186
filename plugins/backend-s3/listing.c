/* SPDX-License-Identifier: Apache-2.0 */
/* Listings, by version 2 of the request or by version 1. */
#include "call.h"

#include "xml.h"

#include <stdio.h>
#include <string.h>

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

static void
list_again(struct exchange *exchange)
{
    struct operation *operation = exchange->owner;

    call_end(exchange);
    if (!send_list(operation))
        operation_complete(operation, operation->status);
}

static void
on_list(struct exchange *exchange)
{
    struct operation *operation = exchange->owner;
    struct answer *answer = &exchange->answer;
    struct page page = { .operation = operation, .listing = { .entry = one_listed, .arg = &page } };
    enum bd_status status = BD_OK;
    char why[128];

    if (!call_succeeded(exchange)) {
        status = call_failure(exchange, false);
        if (status == BD_UNSUPPORTED && !operation->s3->list_v1) {
            operation->s3->list_v1 = true;
            list_again(exchange);
            return;
        }
        if (status == BD_ABSENT)
            status = BD_RETRY;
    } else if (!xml_parse_listing(answer->body, answer->body_bytes, &page.listing, why,
                                  sizeof why)) {
        operation_explain(operation, "the listing cannot be read: %s", why);
        status = BD_RETRY;
    } else if (page.is_other) {
        list_again(exchange);
        return;
    } else {
        operation->io->more = page.listing.is_truncated;
    }
    call_end(exchange);
    operation_complete(operation, status);
}

/* Query parameters are signed in the order of their names. */
bool
send_list(struct operation *operation)
{
    struct s3 *s3 = operation->s3;
    struct bd_io *io = operation->io;
    struct exchange *exchange = call_begin(operation, "GET", NULL, on_list);
    char key[2 * BD_NAME_BYTES_MAX + 2], limit[16];

    if (exchange == NULL)
        return false;
    exchange->body_bytes_max = RESULT_BYTES_MAX;
    snprintf(limit, sizeof limit, "%u",
             io->limit == 0 || io->limit > NAMES_MAX ? NAMES_MAX : io->limit);
    call_query(exchange, "encoding-type", "url");
    if (!s3->list_v1)
        call_query(exchange, "list-type", "2");
    if (io->start_after != NULL && s3->list_v1) {
        snprintf(key, sizeof key, "%s%s", s3->prefix, io->start_after);
        call_query(exchange, "marker", key);
    }
    call_query(exchange, "max-keys", limit);
    snprintf(key, sizeof key, "%s%s", s3->prefix, io->name != NULL ? io->name : "");
    call_query(exchange, "prefix", key);
    if (io->start_after != NULL && !s3->list_v1) {
        snprintf(key, sizeof key, "%s%s", s3->prefix, io->start_after);
        call_query(exchange, "start-after", key);
    }
    return call_go(exchange);
}
