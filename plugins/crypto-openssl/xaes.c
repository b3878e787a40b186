/* SPDX-License-Identifier: Apache-2.0 */
/* XAES-256-GCM, as https://c2sp.org/XAES-256-GCM gives it.
 *
 * AES-256-GCM has nonces of 12 bytes, too few to draw at random for as many blocks as a disk writes.  So each
 * message has a nonce of 24, of which the first half makes a key of its own, and the second is GCM's:
 *
 *     K1    = AES(key, 0) doubled in GF(2^128), as in CMAC                    once
 *     key_m = AES(key, K1 ^ (0 1 'X' 0 || nonce[0..12)))
 *          || AES(key, K1 ^ (0 2 'X' 0 || nonce[0..12)))                      for each message
 *     body  = nonce || AES-256-GCM(key_m, nonce[12..24), text, associated)    tag last
 *
 * The block cipher and GCM are OpenSSL's; its contexts, and the key schedules in them, are in its own memory,
 * which it wipes. */
#include "xaes.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define KEY_BYTES 32u
#define BLOCK_BYTES 16u
#define NONCE_BYTES 24u
#define HALF_BYTES 12u /* of the nonce */
#define TAG_BYTES 16u
#define MORE_BYTES (NONCE_BYTES + TAG_BYTES)
/* OpenSSL counts in int. */
#define TEXT_BYTES_MAX ((size_t)INT_MAX - BLOCK_BYTES)

struct xaes {
    const struct bd_host *host;
    EVP_CIPHER *block, *gcm;
    struct xaes_secret {
        unsigned char key[KEY_BYTES];
        unsigned char k1[BLOCK_BYTES];
    } * secret;
};

/* One thread's, in secret memory. */
struct xaes_worker {
    EVP_CIPHER_CTX *block; /* has the key */
    EVP_CIPHER_CTX *gcm;
    unsigned char input[2 * BLOCK_BYTES];
    unsigned char key[KEY_BYTES]; /* of the message at hand */
};

/* ---- keys */

/* A context for AES with the volume's key, one block at a time; NULL: OpenSSL failed. */
static EVP_CIPHER_CTX *
block_new(const struct xaes *xaes)
{
    EVP_CIPHER_CTX *block = EVP_CIPHER_CTX_new();

    if (block != NULL && EVP_EncryptInit_ex2(block, xaes->block, xaes->secret->key, NULL, NULL) == 1
        && EVP_CIPHER_CTX_set_padding(block, 0) == 1)
        return block;
    EVP_CIPHER_CTX_free(block);
    return NULL;
}

static int
derive_k1(const struct xaes *xaes)
{
    static const unsigned char zeros[BLOCK_BYTES];
    unsigned char *k1 = xaes->secret->k1;
    EVP_CIPHER_CTX *block = block_new(xaes);
    int len = 0, is_done;
    unsigned carry;

    is_done = block != NULL && EVP_EncryptUpdate(block, k1, &len, zeros, BLOCK_BYTES) == 1
              && len == BLOCK_BYTES;
    EVP_CIPHER_CTX_free(block);
    carry = k1[0] >> 7;
    for (unsigned i = 0; i + 1 < BLOCK_BYTES; i++)
        k1[i] = (unsigned char)(k1[i] << 1 | k1[i + 1] >> 7);
    /* Without a branch on a bit of the key. */
    k1[BLOCK_BYTES - 1] = (unsigned char)(k1[BLOCK_BYTES - 1] << 1 ^ (0x87u & (0u - carry)));
    return is_done;
}

/* The key of the message with this nonce. */
static int
derive_key(const struct xaes *xaes, struct xaes_worker *worker, const unsigned char *nonce)
{
    int len = 0;

    for (unsigned half = 0; half < 2; half++) {
        unsigned char *input = worker->input + half * BLOCK_BYTES;
        const unsigned char head[] = { 0, (unsigned char)(half + 1), 'X', 0 };

        memcpy(input, head, sizeof head);
        memcpy(input + sizeof head, nonce, HALF_BYTES);
        for (unsigned i = 0; i < BLOCK_BYTES; i++)
            input[i] ^= xaes->secret->k1[i];
    }
    return EVP_EncryptUpdate(worker->block, worker->key, &len, worker->input, sizeof worker->input)
               == 1
           && len == KEY_BYTES;
}

/* ---- lifecycle */

enum bd_status
xaes_open(const struct bd_host *host, const void *options, const char *token, void **handle)
{
    struct xaes *xaes = calloc(1, sizeof *xaes);
    enum bd_status rc = BD_FATAL;

    (void)options;
    if (xaes == NULL) {
        host->log(host, BD_ERROR, "out of memory");
        return rc;
    }
    xaes->host = host;
    xaes->secret = host->secret_alloc(sizeof *xaes->secret);
    if (xaes->secret == NULL) {
        host->log(host, BD_ERROR, "out of memory");
        goto close_xaes;
    }
    rc = host->key(host, "codec xaes-256-gcm", xaes->secret->key, KEY_BYTES);
    if (rc == BD_UNSUPPORTED)
        host->log(host, BD_ERROR, "%s needs a volume of format 2 with a key", token);
    if (rc != BD_OK)
        goto close_xaes;
    rc = BD_FATAL;
    ERR_set_mark();
    xaes->block = EVP_CIPHER_fetch(NULL, "AES-256-ECB", NULL);
    xaes->gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    if (xaes->block == NULL || xaes->gcm == NULL || !derive_k1(xaes)) {
        ERR_pop_to_mark();
        host->log(host, BD_ERROR, "OpenSSL, as it is configured here, does not give AES-256");
        goto close_xaes;
    }
    ERR_clear_last_mark();
    *handle = xaes;
    return BD_OK;

close_xaes:
    xaes_close(xaes);
    return rc;
}

void
xaes_close(void *handle)
{
    struct xaes *xaes = handle;

    EVP_CIPHER_free(xaes->block);
    EVP_CIPHER_free(xaes->gcm);
    xaes->host->secret_free(xaes->secret);
    free(xaes);
}

size_t
xaes_bound(void *handle, size_t plain_bytes)
{
    (void)handle;
    return plain_bytes + MORE_BYTES;
}

void *
xaes_worker_new(void *handle)
{
    const struct xaes *xaes = handle;
    struct xaes_worker *worker = xaes->host->secret_alloc(sizeof *worker);

    if (worker == NULL)
        return NULL;
    worker->block = block_new(xaes);
    worker->gcm = EVP_CIPHER_CTX_new();
    if (worker->block == NULL || worker->gcm == NULL
        || EVP_EncryptInit_ex2(worker->gcm, xaes->gcm, NULL, NULL, NULL) != 1) {
        xaes_worker_free(handle, worker);
        return NULL;
    }
    return worker;
}

void
xaes_worker_free(void *handle, void *worker)
{
    const struct xaes *xaes = handle;
    struct xaes_worker *mine = worker;

    EVP_CIPHER_CTX_free(mine->block);
    EVP_CIPHER_CTX_free(mine->gcm);
    xaes->host->secret_free(mine);
}

/* ---- operations */

/* Begin a message: its key, its nonce, what is associated with it. */
static int
begin(const struct xaes *xaes, struct xaes_worker *worker, const unsigned char *nonce,
      struct bd_bytes associated, int is_encoding)
{
    EVP_CIPHER_CTX *gcm = worker->gcm;
    int len, is_begun;

    is_begun =
        derive_key(xaes, worker, nonce)
        && EVP_CipherInit_ex2(gcm, NULL, worker->key, nonce + HALF_BYTES, is_encoding, NULL) == 1;
    OPENSSL_cleanse(worker->key, sizeof worker->key);
    if (!is_begun || associated.len > TEXT_BYTES_MAX)
        return 0;
    return associated.len == 0
           || EVP_CipherUpdate(gcm, NULL, &len, associated.data, (int)associated.len) == 1;
}

static int
crypt(EVP_CIPHER_CTX *gcm, const unsigned char *in, size_t bytes, unsigned char *out)
{
    int len = 0;

    return bytes == 0
           || (EVP_CipherUpdate(gcm, out, &len, in, (int)bytes) == 1 && (size_t)len == bytes);
}

enum bd_status
xaes_encode(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
            struct bd_buf *out)
{
    const struct xaes *xaes = handle;
    struct xaes_worker *mine = worker;
    unsigned char *body = out->data, *text = body + NONCE_BYTES;
    int len;

    if (in.len > TEXT_BYTES_MAX || out->cap < in.len + MORE_BYTES) {
        xaes->host->coding_error(coding, "%zu bytes do not fit into %zu", in.len, out->cap);
        return BD_INVALID;
    }
    xaes->host->random(body, NONCE_BYTES);
    if (!begin(xaes, mine, body, coding->associated, 1) || !crypt(mine->gcm, in.data, in.len, text)
        || EVP_EncryptFinal_ex(mine->gcm, text + in.len, &len) != 1
        || EVP_CIPHER_CTX_ctrl(mine->gcm, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, text + in.len) != 1) {
        xaes->host->coding_error(coding, "OpenSSL failed to encrypt");
        return BD_FATAL;
    }
    out->len = in.len + MORE_BYTES;
    return BD_OK;
}

enum bd_status
xaes_decode(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
            struct bd_buf *out)
{
    const struct xaes *xaes = handle;
    struct xaes_worker *mine = worker;
    const unsigned char *body = in.data;
    size_t bytes = in.len - MORE_BYTES;
    unsigned char tag[TAG_BYTES];
    int len, is_authentic;

    if (in.len < MORE_BYTES) {
        xaes->host->coding_error(coding, "not authenticated: %zu bytes are too few", in.len);
        return BD_CORRUPT;
    }
    if (bytes > out->cap || bytes > TEXT_BYTES_MAX) {
        xaes->host->coding_error(coding, "%zu bytes, at most %zu expected", bytes, out->cap);
        return BD_CORRUPT;
    }
    memcpy(tag, body + in.len - TAG_BYTES, TAG_BYTES);
    if (!begin(xaes, mine, body, coding->associated, 0)
        || !crypt(mine->gcm, body + NONCE_BYTES, bytes, out->data)
        || EVP_CIPHER_CTX_ctrl(mine->gcm, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, tag) != 1) {
        OPENSSL_cleanse(out->data, bytes);
        xaes->host->coding_error(coding, "OpenSSL failed to decrypt");
        return BD_FATAL;
    }
    ERR_set_mark();
    is_authentic = EVP_DecryptFinal_ex(mine->gcm, tag, &len) == 1;
    ERR_pop_to_mark();
    if (!is_authentic) {
        OPENSSL_cleanse(out->data, bytes);
        xaes->host->coding_error(coding,
                                 "not authenticated: damaged, or of another block, volume or key");
        return BD_CORRUPT;
    }
    out->len = bytes;
    return BD_OK;
}
