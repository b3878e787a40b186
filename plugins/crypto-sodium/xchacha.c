/* SPDX-License-Identifier: Apache-2.0 */
/* The codec xchacha20-poly1305. */
#include "xchacha.h"

#include <sodium.h>
#include <stdlib.h>

#define TOKEN "xchacha20-poly1305"
#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_BYTES crypto_aead_xchacha20poly1305_ietf_ABYTES
#define KEY_BYTES crypto_aead_xchacha20poly1305_ietf_KEYBYTES
#define OVERHEAD_BYTES (NONCE_BYTES + TAG_BYTES)

/* Fixed after open, so all threads share it. */
struct xchacha {
    const struct bd_host *host;
    unsigned char *key; /* the host's secret memory */
};

/* ---- lifecycle */

static enum bd_status
xchacha_open(const struct bd_host *host, const void *options, const char *token, void **handle)
{
    struct xchacha *xchacha = calloc(1, sizeof *xchacha);
    enum bd_status status = BD_FATAL;

    (void)options, (void)token;
    if (xchacha != NULL)
        xchacha->key = host->secret_alloc(KEY_BYTES);
    if (xchacha == NULL || xchacha->key == NULL) {
        host->log(host, BD_ERROR, "out of memory");
        goto free_handle;
    }
    xchacha->host = host;
    /* Any number of times, from any thread; without it the slow code for any processor is used. */
    if (sodium_init() < 0) {
        host->log(host, BD_ERROR, "libsodium does not start");
        goto free_key;
    }
    status = host->key(host, "codec " TOKEN, xchacha->key, KEY_BYTES);
    if (status == BD_OK) {
        *handle = xchacha;
        return BD_OK;
    }
    if (status == BD_UNSUPPORTED)
        host->log(host, BD_ERROR, TOKEN " needs a volume of format 2 with a key");
    else
        host->log(host, BD_ERROR, "the key for " TOKEN " could not be derived");

free_key:
    host->secret_free(xchacha->key);
free_handle:
    free(xchacha);
    return status;
}

static void
xchacha_close(void *handle)
{
    struct xchacha *xchacha = handle;

    xchacha->host->secret_free(xchacha->key);
    free(xchacha);
}

static size_t
xchacha_bound(void *handle, size_t plain_bytes)
{
    (void)handle;
    return plain_bytes + OVERHEAD_BYTES;
}

/* ---- operations */

static enum bd_status
xchacha_encode(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
               struct bd_buf *out)
{
    const struct xchacha *xchacha = handle;
    unsigned char *nonce = out->data;
    unsigned long long sealed_bytes;

    (void)worker;
    if (out->cap < OVERHEAD_BYTES || out->cap - OVERHEAD_BYTES < in.len) {
        xchacha->host->coding_error(coding, "%zu bytes do not fit into %zu", in.len, out->cap);
        return BD_INVALID;
    }
    /* 192 random bits: that two bodies ever share a nonce can be left out of account. */
    xchacha->host->random(nonce, NONCE_BYTES);
    if (crypto_aead_xchacha20poly1305_ietf_encrypt(
            nonce + NONCE_BYTES, &sealed_bytes, in.data, in.len, coding->associated.data,
            coding->associated.len, NULL, nonce, xchacha->key)
        != 0) {
        xchacha->host->coding_error(coding, "%zu bytes could not be encrypted", in.len);
        return BD_FATAL;
    }
    out->len = NONCE_BYTES + (size_t)sealed_bytes;
    return BD_OK;
}

/* libsodium looks at the tag before it decrypts, and in constant time. */
static enum bd_status
xchacha_decode(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
               struct bd_buf *out)
{
    const struct xchacha *xchacha = handle;
    const unsigned char *nonce = in.data;
    unsigned long long plain_bytes;

    (void)worker;
    if (in.len < OVERHEAD_BYTES) {
        xchacha->host->coding_error(coding, "not authenticated: %zu bytes are too few", in.len);
        return BD_CORRUPT;
    }
    if (in.len - OVERHEAD_BYTES > out->cap) {
        xchacha->host->coding_error(coding, "%zu bytes, at most %zu expected",
                                    in.len - OVERHEAD_BYTES, out->cap);
        return BD_CORRUPT;
    }
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(
            out->data, &plain_bytes, NULL, nonce + NONCE_BYTES, in.len - NONCE_BYTES,
            coding->associated.data, coding->associated.len, nonce, xchacha->key)
        != 0) {
        xchacha->host->coding_error(
            coding, "not authenticated: damaged, or of another block, volume or key");
        return BD_CORRUPT;
    }
    out->len = (size_t)plain_bytes;
    return BD_OK;
}

/* ---- table */

const struct bd_codec xchacha_codec = {
    .head = BD_HEAD(CODEC, struct bd_codec),
    .token = TOKEN,
    .summary = "authenticated encryption, XChaCha20-Poly1305",
    .traits = BD_CODEC_ENCRYPTS | BD_CODEC_AUTHENTICATES | BD_CODEC_BINDS,
    .open = xchacha_open,
    .close = xchacha_close,
    .bound = xchacha_bound,
    .encode = xchacha_encode,
    .decode = xchacha_decode,
};
