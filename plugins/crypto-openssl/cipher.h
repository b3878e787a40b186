/* SPDX-License-Identifier: Apache-2.0 */
/* A block cipher in CBC mode by its name, from a library context of OpenSSL's that nobody else uses. */
#ifndef CRYPTO_OPENSSL_CIPHER_H
#define CRYPTO_OPENSSL_CIPHER_H

#include <bucketdisk/sdk.h>

#include <openssl/evp.h>
#include <openssl/provider.h>

struct cipher {
    OSSL_LIB_CTX *context; /* everything that belongs to the cipher is fetched from here */
    OSSL_PROVIDER *usual, *legacy;
    EVP_CIPHER *evp;
    const char *name; /* OpenSSL's short name: "AES-128-CBC" */
    unsigned key_bytes, block_bytes;
};

/* Room for any block of such a cipher. */
#define CIPHER_BLOCK_BYTES_MAX 32u

/* Any case, and OpenSSL's aliases too.  Logs what is wrong at BD_ERROR: BD_UNSUPPORTED (no such cipher, or no good
 * one) or BD_FATAL.  In any case cipher_clear must follow. */
enum bd_status cipher_find(const struct bd_host *host, const char *name, struct cipher *out);
void cipher_clear(struct cipher *cipher);

#endif
