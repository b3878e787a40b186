/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a wrapped key. */
#include "slot.h"

#include <assert.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define VARIANT sodium_base64_VARIANT_ORIGINAL
#define MEMORY_KIB_MIN (crypto_pwhash_argon2id_MEMLIMIT_MIN / 1024)

static_assert(SLOT_SALT_BYTES == crypto_pwhash_argon2id_SALTBYTES, "salt");
static_assert(SLOT_NONCE_BYTES == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "nonce");
static_assert(SLOT_TAG_BYTES == crypto_aead_xchacha20poly1305_ietf_ABYTES, "tag");
static_assert(SLOT_KEY_BYTES_MIN == crypto_generichash_KEYBYTES_MIN, "key");
static_assert(SLOT_KEY_BYTES_MAX == crypto_generichash_KEYBYTES_MAX, "key");

/* ---- printing */

/* Behind the `len` bytes that are there; returns the new length. */
static size_t
append_base64(char out[SLOT_TEXT_BYTES], size_t len, const char *name, const unsigned char *data,
              size_t bytes)
{
    size_t text_bytes = sodium_base64_ENCODED_LEN(bytes, VARIANT); /* with its NUL */
    size_t name_bytes = strlen(name);

    assert(len + name_bytes + text_bytes <= SLOT_TEXT_BYTES);
    memcpy(out + len, name, name_bytes);
    sodium_bin2base64(out + len + name_bytes, text_bytes, data, bytes, VARIANT);
    return len + name_bytes + text_bytes - 1;
}

size_t
slot_print_associated(const struct slot *slot, char out[SLOT_TEXT_BYTES])
{
    int len = snprintf(out, SLOT_TEXT_BYTES, "argon2id v=1 m=%" PRIu32 " t=%" PRIu32 " p=1",
                       slot->memory_kib, slot->passes);

    assert(len > 0 && len < 64);
    return append_base64(out,
                         append_base64(out, (size_t)len, " salt=", slot->salt, SLOT_SALT_BYTES),
                         " nonce=", slot->nonce, SLOT_NONCE_BYTES);
}

size_t
slot_print(const struct slot *slot, char out[SLOT_TEXT_BYTES])
{
    return append_base64(out, slot_print_associated(slot, out), " key=", slot->sealed,
                         slot->sealed_bytes);
}

/* ---- parsing */

struct parser {
    const char *at, *end;
    char *why;
    size_t why_bytes;
};

/* " NAME=VALUE" at the parser's place. */
static bool
take_field(struct parser *parser, const char *name, struct bd_bytes *value)
{
    size_t name_bytes = strlen(name), left = (size_t)(parser->end - parser->at);
    const char *start, *space;

    if (left < name_bytes + 2 || parser->at[0] != ' '
        || memcmp(parser->at + 1, name, name_bytes) != 0 || parser->at[name_bytes + 1] != '=') {
        snprintf(parser->why, parser->why_bytes,
                 "its field \"%s\" is missing, or not where it belongs", name);
        return false;
    }
    start = parser->at + name_bytes + 2;
    space = memchr(start, ' ', (size_t)(parser->end - start));
    parser->at = space != NULL ? space : parser->end;
    *value = (struct bd_bytes){ start, (size_t)(parser->at - start) };
    return true;
}

static bool
take_number(struct parser *parser, const char *name, uint32_t min, uint32_t *out)
{
    struct bd_bytes value;
    const char *digits;
    uint64_t number = 0;
    bool is_good;

    if (!take_field(parser, name, &value))
        return false;
    digits = value.data;
    is_good = value.len >= 1 && value.len <= 10 && digits[0] != '0';
    for (size_t i = 0; i < value.len && is_good; i++) {
        is_good = digits[i] >= '0' && digits[i] <= '9';
        number = number * 10 + (uint64_t)(digits[i] - '0');
    }
    if (!is_good || number < min || number > UINT32_MAX) {
        snprintf(parser->why, parser->why_bytes,
                 "its field \"%s\" is no number from %" PRIu32 " to %" PRIu32, name, min,
                 UINT32_MAX);
        return false;
    }
    *out = (uint32_t)number;
    return true;
}

/* libsodium also takes some bytes beyond ASCII for "+" and "/": printing again finds whatever is not the one text. */
static bool
is_base64_of(struct bd_bytes text, const unsigned char *data, size_t bytes)
{
    char again[SLOT_TEXT_BYTES];

    sodium_bin2base64(again, sizeof again, data, bytes, VARIANT);
    return text.len == strlen(again) && memcmp(text.data, again, text.len) == 0;
}

static bool
take_base64(struct parser *parser, const char *name, unsigned char *out, size_t min, size_t max,
            size_t *bytes)
{
    struct bd_bytes value;
    const char *end;

    if (!take_field(parser, name, &value))
        return false;
    if (sodium_base642bin(out, max, value.data, value.len, NULL, bytes, &end, VARIANT) != 0
        || *bytes < min || !is_base64_of(value, out, *bytes)) {
        snprintf(parser->why, parser->why_bytes,
                 "its field \"%s\" is not the base64 of %zu%s bytes", name, min,
                 max > min ? " or more" : "");
        return false;
    }
    return true;
}

bool
slot_parse(struct bd_bytes text, struct slot *out, char *why, size_t why_bytes)
{
    static const char scheme[] = "argon2id";
    const size_t scheme_bytes = sizeof scheme - 1;
    struct parser parser = { .at = text.data, .why = why, .why_bytes = why_bytes };
    uint32_t version, lanes;
    size_t bytes;

    memset(out, 0, sizeof *out);
    if (text.len < scheme_bytes || memcmp(text.data, scheme, scheme_bytes) != 0) {
        snprintf(why, why_bytes, "it does not begin with \"%s\"", scheme);
        return false;
    }
    parser.end = parser.at + text.len;
    parser.at += scheme_bytes;
    if (!take_number(&parser, "v", 1, &version))
        return false;
    if (version != 1) {
        snprintf(why, why_bytes, "it is of version %" PRIu32 ", and only 1 is known here", version);
        return false;
    }
    if (!take_number(&parser, "m", MEMORY_KIB_MIN, &out->memory_kib)
        || !take_number(&parser, "t", crypto_pwhash_argon2id_OPSLIMIT_MIN, &out->passes)
        || !take_number(&parser, "p", 1, &lanes))
        return false;
    if (lanes != 1) {
        snprintf(why, why_bytes, "it asks for %" PRIu32 " lanes, and only 1 can be done here",
                 lanes);
        return false;
    }
    if (!take_base64(&parser, "salt", out->salt, SLOT_SALT_BYTES, SLOT_SALT_BYTES, &bytes)
        || !take_base64(&parser, "nonce", out->nonce, SLOT_NONCE_BYTES, SLOT_NONCE_BYTES, &bytes)
        || !take_base64(&parser, "key", out->sealed, SLOT_KEY_BYTES_MIN + SLOT_TAG_BYTES,
                        sizeof out->sealed, &out->sealed_bytes))
        return false;
    if (parser.at != parser.end) {
        snprintf(why, why_bytes, "there is more behind its field \"key\"");
        return false;
    }
    return true;
}
