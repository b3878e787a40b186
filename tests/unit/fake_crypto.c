/* SPDX-License-Identifier: Apache-2.0 */
/* A key wrap and a codec that cost nothing. */
#include "fake_crypto.h"

#include "base/util.h"

#include <stdio.h>
#include <string.h>

struct fake_crypto fake_crypto;

static uint64_t
sum_more(uint64_t sum, const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        sum = (sum ^ ((const unsigned char *)data)[i]) * 0x100000001b3u;
    return (sum ^ bytes) * 0x100000001b3u;
}

static uint64_t
sum_of(const void *data, size_t bytes)
{
    return sum_more(0xcbf29ce484222325u, data, bytes);
}

static enum bd_status
check(const void *options, char *why, size_t why_bytes)
{
    (void)options;
    if (fake_crypto.check != BD_OK)
        snprintf(why, why_bytes, "fake says no");
    return fake_crypto.check;
}

/* ---- the key wrap */

static enum bd_status
wrap(const struct bd_host *host, const void *options, struct bd_bytes passphrase,
     struct bd_bytes key, struct bd_buf *blob)
{
    char *text = blob->data;
    int len;

    (void)options;
    fake_crypto.wraps++;
    if (fake_crypto.wrap != BD_OK) {
        host->log(host, BD_ERROR, "fake cannot wrap");
        return fake_crypto.wrap;
    }
    if (fake_crypto.wrapped != NULL) {
        blob->len = strlen(fake_crypto.wrapped);
        memcpy(text, fake_crypto.wrapped, blob->len);
        return BD_OK;
    }
    len = snprintf(text, blob->cap, "fake %016llx ",
                   (unsigned long long)sum_of(passphrase.data, passphrase.len));
    for (size_t i = 0; i < key.len; i++)
        len += snprintf(text + len, blob->cap - (size_t)len, "%02x",
                        ((const unsigned char *)key.data)[i]);
    blob->len = (size_t)len;
    return BD_OK;
}

static enum bd_status
unwrap(const struct bd_host *host, const void *options, struct bd_bytes passphrase,
       struct bd_bytes blob, struct bd_buf *key)
{
    char text[256];
    unsigned long long sum;
    int at = 0;

    (void)options;
    fake_crypto.unwraps++;
    snprintf(text, sizeof text, "%.*s", (int)blob.len, (const char *)blob.data);
    if (sscanf(text, "fake %16llx %n", &sum, &at) != 1 || strlen(text + at) != 2 * key->cap) {
        host->log(host, BD_ERROR, "fake does not know this text");
        return BD_INVALID;
    }
    if (sum != sum_of(passphrase.data, passphrase.len))
        return BD_DENIED;
    for (size_t i = 0; i < key->cap; i++) {
        unsigned byte = 0;

        sscanf(text + at + 2 * i, "%2x", &byte);
        ((unsigned char *)key->data)[i] = (unsigned char)byte;
    }
    key->len = fake_crypto.unwrapped_bytes != 0 ? fake_crypto.unwrapped_bytes : key->cap;
    return BD_OK;
}

static enum bd_status
subkey(struct bd_bytes key, const char *purpose, struct bd_buf *out)
{
    uint64_t sum = sum_more(sum_of(key.data, key.len), purpose, strlen(purpose));

    for (out->len = 0; out->len < out->cap; out->len++) {
        sum = sum_more(sum, &out->len, sizeof out->len);
        ((unsigned char *)out->data)[out->len] = (unsigned char)(sum >> 32);
    }
    return BD_OK;
}

/* ---- codecs that encrypt; the handle is the key */

static uint64_t codec_keys[16];
static unsigned codec_opened;

static enum bd_status
codec_open(const struct bd_host *host, const void *options, const char *token, void **handle)
{
    uint64_t *key = &codec_keys[codec_opened++ % ARRAY_LEN(codec_keys)];
    unsigned char given[16] = { 0 };
    enum bd_status status = host->key(host, "codec " FAKE_CODEC, given, sizeof given);

    (void)options, (void)token;
    if (status != BD_OK)
        host->log(host, BD_ERROR, "there is no key");
    memcpy(key, given, sizeof *key);
    *handle = key;
    return status;
}

/* s3backer's. */
static int
s3backer_match(const char *token)
{
    return strncmp(token, "encrypt-", 8) == 0;
}

static enum bd_status
s3backer_open(const struct bd_host *host, const void *options, const char *token, void **handle)
{
    uint64_t *key = &codec_keys[codec_opened++ % ARRAY_LEN(codec_keys)];
    const char *salt;
    char *passphrase;
    size_t bytes;

    (void)options, (void)token;
    if (host->passphrase(host, &passphrase, &bytes, &salt) != BD_OK) {
        host->log(host, BD_ERROR, "there is no password");
        return BD_UNSUPPORTED;
    }
    *key = sum_more(sum_of(passphrase, bytes), salt, strlen(salt));
    host->secret_free(passphrase);
    *handle = key;
    return BD_OK;
}

static size_t
codec_bound(void *handle, size_t plain_bytes)
{
    (void)handle;
    return plain_bytes + 8;
}

static uint64_t
codec_sum(void *handle, const struct bd_coding *coding, const void *data, size_t bytes)
{
    uint64_t sum = sum_more(*(uint64_t *)handle, data, bytes);

    return sum_more(sum, coding->associated.data, coding->associated.len);
}

static enum bd_status
codec_encode(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
             struct bd_buf *out)
{
    unsigned char *to = out->data;
    uint64_t sum;

    (void)worker;
    for (size_t i = 0; i < in.len; i++)
        to[8 + i] = ((const unsigned char *)in.data)[i] ^ 0x55;
    sum = codec_sum(handle, coding, to + 8, in.len);
    memcpy(to, &sum, 8);
    out->len = in.len + 8;
    return BD_OK;
}

static enum bd_status
codec_decode(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
             struct bd_buf *out)
{
    const unsigned char *from = in.data;
    uint64_t sum;

    (void)worker;
    if (in.len < 8 || in.len - 8 > out->cap)
        return BD_CORRUPT;
    sum = codec_sum(handle, coding, from + 8, in.len - 8);
    if (memcmp(&sum, from, 8) != 0)
        return BD_CORRUPT;
    for (size_t i = 8; i < in.len; i++)
        ((unsigned char *)out->data)[i - 8] = from[i] ^ 0x55;
    out->len = in.len - 8;
    return BD_OK;
}

/* ---- a codec that compresses: the length, and what stands before the zeros at the end */

static enum bd_status
plain_open(const struct bd_host *host, const void *options, const char *token, void **handle)
{
    (void)host, (void)options, (void)token;
    *handle = NULL;
    return BD_OK;
}

static enum bd_status
pack_encode(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
            struct bd_buf *out)
{
    uint64_t bytes = in.len;
    size_t kept = in.len;

    (void)handle, (void)worker, (void)coding;
    while (kept > 0 && ((const char *)in.data)[kept - 1] == '\0')
        kept--;
    memcpy(out->data, &bytes, 8);
    memcpy((char *)out->data + 8, in.data, kept);
    out->len = 8 + kept;
    return BD_OK;
}

static enum bd_status
pack_decode(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
            struct bd_buf *out)
{
    uint64_t bytes = 0;

    (void)handle, (void)worker;
    if (in.len >= 8)
        memcpy(&bytes, in.data, 8);
    if (in.len < 8 || bytes > out->cap || in.len - 8 > bytes
        || (coding->plain_bytes != 0 && bytes != coding->plain_bytes))
        return BD_CORRUPT;
    memset(out->data, 0, bytes);
    memcpy(out->data, (const char *)in.data + 8, in.len - 8);
    out->len = bytes;
    return BD_OK;
}

/* ---- the plugin */

static struct bd_codec codecs[] = {
    { .head = BD_HEAD(CODEC, struct bd_codec),
      .token = FAKE_CODEC,
      .traits = BD_CODEC_ENCRYPTS | BD_CODEC_AUTHENTICATES | BD_CODEC_BINDS,
      .open = codec_open,
      .bound = codec_bound,
      .encode = codec_encode,
      .decode = codec_decode },
    { .head = BD_HEAD(CODEC, struct bd_codec),
      .token = "aes",
      .match = s3backer_match,
      .traits = BD_CODEC_ENCRYPTS | BD_CODEC_AUTHENTICATES,
      .open = s3backer_open,
      .bound = codec_bound,
      .encode = codec_encode,
      .decode = codec_decode },
    { .head = BD_HEAD(CODEC, struct bd_codec),
      .token = "deflate",
      .traits = BD_CODEC_COMPRESSES,
      .open = plain_open,
      .bound = codec_bound,
      .encode = pack_encode,
      .decode = pack_decode },
};

static struct bd_keywrap keywraps[] = {
    { .head = BD_HEAD(KEYWRAP, struct bd_keywrap),
      .name = FAKE_WRAP,
      .wrap = wrap,
      .unwrap = unwrap,
      .subkey = subkey },
};

static char plugin_name[] = "crypto-fake";
static struct plugin plugin = { .name = plugin_name,
                                .codecs = codecs,
                                .keywraps = keywraps,
                                .desc = { .check = check,
                                          .codecs = codecs,
                                          .codec_count = ARRAY_LEN(codecs),
                                          .keywraps = keywraps,
                                          .keywrap_count = ARRAY_LEN(keywraps) } };
struct plugins fake_plugins = { .all = &plugin, .count = 1 };

void
fake_keyring(struct keyring *keyring, uint8_t first)
{
    uint8_t key[VOLUME_KEY_BYTES];

    memset(keyring, 0, sizeof *keyring);
    for (unsigned i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)(first + i);
    assert_int_equal(keyring_set_volume_key(keyring, keywraps, key), 0);
}
