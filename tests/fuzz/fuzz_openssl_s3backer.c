/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz s3backer's encryption: attributes and bodies that nobody encoded are refused, within their bounds, by an instance
 * that knows its key length and by one that tries all; bodies with a tag that is right, so that what follows it meets
 * any ciphertext; and what was encoded comes back. */
#include "fuzz_codec.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>

struct kind {
    const char *cipher;
    unsigned key_bytes;
    struct fuzz_codec working, trying;
};

static struct kind kinds[] = { { .cipher = "AES-128-CBC", .key_bytes = 16 },
                               { .cipher = "DES-EDE3-CBC", .key_bytes = 24 } };
static uint8_t key[64];

static void
open_all(void)
{
    char token[32];

    if (PKCS5_PBKDF2_HMAC_SHA1(FUZZ_PASSWORD, -1, (const unsigned char *)FUZZ_SALT,
                               (int)strlen(FUZZ_SALT), 5000, sizeof key, key)
        != 1)
        abort();
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        snprintf(token, sizeof token, "encrypt-%s", kinds[i].cipher);
        kinds[i].working = fuzz_open(token, NULL);
        kinds[i].trying = fuzz_open(token, NULL);
    }
}

static void
decode_any(const struct fuzz_codec *codec, struct fuzz_place place, struct input input, size_t cap)
{
    struct attrs attrs = { 0 };
    struct bd_bytes tag = input_bytes(&input, input_byte(&input) % 64);

    if (attrs_add(&attrs, "s3backer-hmac", tag.data, tag.len) != 0)
        abort();
    fuzz_refused(codec, place, &attrs, (struct bd_bytes){ input.data, input.bytes }, cap);
    attrs_clear(&attrs);
}

static void
decode_signed(const struct kind *kind, struct fuzz_place place, struct input input, size_t cap)
{
    struct attrs attrs = { 0 };
    struct bd_buf out = { .cap = cap };
    size_t head = 8 + strlen(kind->cipher);
    uint8_t *signed_bytes = malloc(head + input.bytes + 1), sum[20];
    char tag[43] = "\"";

    assert(signed_bytes != NULL);
    snprintf((char *)signed_bytes, head + 1, "%08x%s", (unsigned)place.block, kind->cipher);
    if (input.bytes > 0)
        memcpy(signed_bytes + head, input.data, input.bytes);
    if (HMAC(EVP_sha1(), key, (int)kind->key_bytes, signed_bytes, head + input.bytes, sum, NULL)
        == NULL)
        abort();
    for (unsigned i = 0; i < sizeof sum; i++)
        snprintf(tag + 1 + 2 * i, 3, "%02x", sum[i]);
    tag[41] = '"';
    if (attrs_add(&attrs, "s3backer-hmac", tag, 42) != 0)
        abort();
    fuzz_decode(&kind->working, place, &attrs, (struct bd_bytes){ input.data, input.bytes }, &out);
    free(out.data);
    attrs_clear(&attrs);
    free(signed_bytes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct input input = { data, bytes };
    const struct kind *kind = &kinds[input_byte(&input) % 2];
    struct fuzz_place place = { .block = input_byte(&input) };
    size_t cap = (size_t)input_byte(&input) * 4;

    if (kinds[0].working.codec == NULL)
        open_all();
    decode_any(&kind->working, place, input, cap);
    decode_any(&kind->trying, place, input, cap);
    decode_signed(kind, place, input, cap);
    fuzz_round_trip(&kind->working, place, input);
    return 0;
}
