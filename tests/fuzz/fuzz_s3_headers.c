/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz headers and both signatures: arbitrary fields never overrun, never put a line in, and a
 * signature that is made does not depend on the order in which names came. */
#include "sigv2.h"
#include "sigv4.h"
#include "uri.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* The input is lines; the odd ones are names, the even ones values. */
static const uint8_t *
line_of(const uint8_t **at, const uint8_t *end, size_t *bytes)
{
    const uint8_t *start = *at;
    const uint8_t *stop = memchr(start, '\n', (size_t)(end - start));

    *bytes = (size_t)((stop == NULL ? end : stop) - start);
    *at = stop == NULL ? end : stop + 1;
    return start;
}

static void
check(const struct headers *headers)
{
    assert(headers->count <= HEADERS_MAX && headers->text_bytes <= HEADERS_TEXT_BYTES);
    for (unsigned i = 0; i < headers->count; i++) {
        const struct header *header = &headers->list[i];

        assert(header->name >= headers->text && header->name[0] != '\0');
        assert(header->value + strlen(header->value) < headers->text + headers->text_bytes);
        assert(strpbrk(header->name, "\r\n:ABCDEFGHIJKLMNOPQRSTUVWXYZ ") == NULL);
        assert(strpbrk(header->value, "\r\n\t") == NULL);
        assert(headers_get(headers, header->name) != NULL);
    }
}

/* What the signers add themselves is not given to them: they are asked to sign once. */
static void
add_all(struct headers *headers, const uint8_t *data, size_t bytes)
{
    const uint8_t *at = data, *end = data + bytes;

    headers_init(headers);
    while (at < end) {
        size_t name_bytes, value_bytes;
        const uint8_t *from = line_of(&at, end, &name_bytes);
        char *name = strndup((const char *)from, name_bytes);
        const uint8_t *value = line_of(&at, end, &value_bytes);
        unsigned before = headers->count;

        if (name == NULL)
            abort();
        if (strcasecmp(name, "authorization") != 0) {
            headers_add_bytes(headers, name, value, value_bytes);
            assert(headers->count == before + 1 || headers->is_overfull);
        }
        free(name);
    }
    check(headers);
}

static void
fuzz_uri(const uint8_t *data, size_t bytes)
{
    char *text = strndup((const char *)data, bytes), *encoded;

    if (text == NULL)
        abort();
    encoded = calloc(1, URI_ENCODED_BYTES(strlen(text)));
    if (encoded == NULL)
        abort();
    assert(uri_append(encoded, URI_ENCODED_BYTES(strlen(text)), text, bytes % 2 == 0));
    assert(uri_decode(encoded, true) && strcmp(encoded, text) == 0);
    (void)uri_decode(text, true);
    free(encoded);
    free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const struct credentials credentials = { .access_id = "AKIAIOSFODNN7EXAMPLE",
                                                    .secret = "secret",
                                                    .token = "token" };
    static struct sigv4_key key;
    static struct http_request request, turned;
    char *query;

    fuzz_uri(data, bytes);
    add_all(&request.headers, data, bytes);
    query = strndup((const char *)data, bytes);
    if (query == NULL)
        abort();
    request.method = turned.method = "PUT";
    request.host = turned.host = "h";
    request.path = turned.path = "/";
    request.query = turned.query = query;
    request.payload_sha256 = turned.payload_sha256 = UNSIGNED_PAYLOAD;

    headers_init(&turned.headers);
    for (unsigned i = request.headers.count; i-- > 0;)
        headers_add(&turned.headers, request.headers.list[i].name, request.headers.list[i].value);
    if (sigv4_sign(&request, &credentials, "r", "s3", 0, &key)) {
        bool has_twice = false;

        assert(!request.headers.is_overfull);
        for (unsigned i = 0; i < request.headers.count; i++)
            has_twice |= headers_get(&request.headers, request.headers.list[i].name)
                         != request.headers.list[i].value;
        assert(sigv4_sign(&turned, &credentials, "r", "s3", 0, &key));
        if (!has_twice)
            assert(strcmp(headers_get(&request.headers, "authorization"),
                          headers_get(&turned.headers, "authorization"))
                   == 0);
    }
    check(&request.headers);

    add_all(&request.headers, data, bytes);
    assert(!sigv2_sign(&request, &credentials, 0) || !request.headers.is_overfull);
    check(&request.headers);
    free(query);
    return 0;
}
