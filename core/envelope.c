/* SPDX-License-Identifier: Apache-2.0 */
/* The header at the start of every body of format 2. */
#include "envelope.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define VERSION 1u

static const uint8_t magic[4] = { 'b', 'k', 'd', '2' };
static const uint8_t domain[8] = { 'b', 'd', '-', 'b', 'l', 'o', 'c', 'k' };

static void
put_number(uint8_t *out, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t
get_number(const uint8_t *in, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = bytes; i-- > 0;)
        value = value << 8 | in[i];
    return value;
}

int
envelope_write(const struct envelope *envelope, uint8_t *out, size_t *bytes)
{
    char list[UINT8_MAX + 1];
    size_t len;

    if (encoding_join(&envelope->encoding, envelope->encoding.count, list, sizeof list) != 0)
        return -E2BIG;
    len = strlen(list);
    memcpy(out, magic, sizeof magic);
    out[4] = VERSION;
    out[5] = (uint8_t)len;
    put_number(out + 6, envelope->key_id, 2);
    put_number(out + 8, envelope->generation, 8);
    memcpy(out + ENVELOPE_FIXED_BYTES, list, len);
    *bytes = ENVELOPE_FIXED_BYTES + len;
    return 0;
}

int
envelope_read(const void *body, size_t body_bytes, struct envelope *out, size_t *bytes,
              struct error *why)
{
    const uint8_t *in = body;
    char list[UINT8_MAX + 1], again[UINT8_MAX + 1];
    size_t len;
    int rc;

    if (body_bytes < ENVELOPE_FIXED_BYTES || memcmp(in, magic, sizeof magic) != 0)
        return error_set(why, -EBADMSG, "its body does not begin with a header of format 2");
    if (in[4] != VERSION)
        return error_set(why, -EBADMSG, "the header of its body has version %u; %u is known", in[4],
                         VERSION);
    len = in[5];
    if (body_bytes < ENVELOPE_FIXED_BYTES + len)
        return error_set(why, -EBADMSG, "its body ends within its header");
    memcpy(list, in + ENVELOPE_FIXED_BYTES, len);
    list[len] = '\0';
    rc = encoding_parse(list, &out->encoding, why);
    if (rc != 0)
        return rc;
    /* One way to write a list: what is authenticated is what is done. */
    if (strlen(list) != len
        || encoding_join(&out->encoding, out->encoding.count, again, sizeof again) != 0
        || strcmp(list, again) != 0)
        return error_set(why, -EBADMSG,
                         "the list of encodings in the header of its body is malformed");
    out->key_id = (uint16_t)get_number(in + 6, 2);
    out->generation = get_number(in + 8, 8);
    *bytes = ENVELOPE_FIXED_BYTES + len;
    return 0;
}

size_t
envelope_associated(const uint8_t volume_id[VOLUME_ID_BYTES], uint64_t block, uint32_t block_bytes,
                    const uint8_t *header, size_t header_bytes, uint8_t *out)
{
    uint8_t *at = out;

    assert(header_bytes <= ENVELOPE_BYTES_MAX);
    memcpy(at, domain, sizeof domain);
    at += sizeof domain;
    memcpy(at, volume_id, VOLUME_ID_BYTES);
    at += VOLUME_ID_BYTES;
    put_number(at, block, 8);
    put_number(at + 8, block_bytes, 8);
    at += 16;
    memcpy(at, header, header_bytes);
    return (size_t)(at - out) + header_bytes;
}
