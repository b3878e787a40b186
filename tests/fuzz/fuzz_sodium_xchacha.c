/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz xchacha20-poly1305: the input as a body, as a block, and as what was done to the body of that block. */
#include "coding.h"
#include "host.h"
#include "xchacha.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static enum bd_status
fixed_key(const struct bd_host *table, const char *purpose, void *out, size_t bytes)
{
    (void)table;
    memset(out, purpose[0], bytes);
    return BD_OK;
}

static void *
codec_open(void)
{
    static struct bd_host table;
    static struct host *host;
    void *handle;

    if (host_new("crypto-sodium", NULL, NULL, &host) != 0)
        abort();
    table = *host_table(host);
    table.key = fixed_key;
    if (xchacha_codec.open(&table, NULL, xchacha_codec.token, &handle) != BD_OK)
        abort();
    return handle;
}

/* Into memory of exactly `cap` bytes, whose end the sanitizer watches.  NULL: not decoded. */
static unsigned char *
decode(void *handle, struct bd_bytes associated, struct bd_bytes body, size_t cap, size_t *len)
{
    struct coding state = { 0 };
    struct bd_coding coding = { .size = sizeof coding,
                                .block_bytes = 4096,
                                .inner = "",
                                .associated = associated,
                                .host_private = &state };
    struct bd_buf out = { .data = malloc(cap), .cap = cap };
    enum bd_status status;

    if (out.data == NULL && cap > 0)
        abort();
    status = xchacha_codec.decode(handle, NULL, &coding, body, &out);
    assert(status == BD_OK || (status == BD_CORRUPT && state.why.text[0] != '\0'));
    if (status != BD_OK) {
        free(out.data);
        return NULL;
    }
    assert(out.len <= cap);
    *len = out.len;
    return out.data;
}

/* The first byte divides the rest into associated data and block, the second says where the body is changed. */
static void
fuzz_change(void *handle, const uint8_t *data, size_t bytes)
{
    size_t associated_bytes = bytes > 2 ? data[0] % (bytes - 2) : 0, len, at;
    struct bd_bytes associated = { data + 2, associated_bytes };
    struct bd_bytes block = { data + 2 + associated_bytes, bytes - 2 - associated_bytes };
    struct coding state = { 0 };
    struct bd_coding coding = { .size = sizeof coding,
                                .block_bytes = 4096,
                                .plain_bytes = block.len,
                                .inner = "",
                                .associated = associated,
                                .host_private = &state };
    struct bd_buf body = { .cap = xchacha_codec.bound(handle, block.len) };
    unsigned char *back;
    enum bd_status status;

    body.data = malloc(body.cap);
    if (body.data == NULL)
        abort();
    status = xchacha_codec.encode(handle, NULL, &coding, block, &body);
    assert(status == BD_OK && body.len == body.cap);
    back =
        decode(handle, associated, (struct bd_bytes){ body.data, body.len }, block.len + 1, &len);
    assert(back != NULL && len == block.len && memcmp(back, block.data, len) == 0);
    free(back);
    at = data[1] % body.len;
    assert(decode(handle, associated, (struct bd_bytes){ body.data, at }, block.len, &len) == NULL);
    ((unsigned char *)body.data)[at] ^= (unsigned char)(1u << data[0] % 8);
    assert(decode(handle, associated, (struct bd_bytes){ body.data, body.len }, block.len, &len)
           == NULL);
    free(body.data);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static void *handle;
    size_t len;

    if (handle == NULL)
        handle = codec_open();
    assert(decode(handle, (struct bd_bytes){ NULL, 0 }, (struct bd_bytes){ data, bytes },
                  bytes > 0 ? data[0] * 4u : 0, &len)
           == NULL);
    if (bytes >= 2)
        fuzz_change(handle, data, bytes);
    return 0;
}
