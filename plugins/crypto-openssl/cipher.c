/* SPDX-License-Identifier: Apache-2.0 */
/* Ciphers by name.
 *
 * Volumes of s3backer may use any CBC cipher of the OpenSSL of their day.  What has gone out of use since is in
 * OpenSSL's "legacy" provider, which is loaded when a name needs it, into our own library context: in the one that the
 * whole process shares, TLS and others would be offered such ciphers, too.  A context of our own does not read
 * openssl.cnf either, so these volumes can be read however it restricts others. */
#include "cipher.h"

#include <openssl/err.h>
#include <openssl/objects.h>
#include <string.h>

/* The names that OpenSSL 1 had no number for, and the modes that are CBC with something more, are not what s3backer
 * could have used. */
static const char *
problem_of(const struct cipher *cipher)
{
    if (EVP_CIPHER_get_mode(cipher->evp) != EVP_CIPH_CBC_MODE || cipher->block_bytes < 2
        || EVP_CIPHER_get_iv_length(cipher->evp) != (int)cipher->block_bytes)
        return "it is no block cipher in CBC mode";
    if (EVP_CIPHER_get_nid(cipher->evp) == NID_undef
        || EVP_CIPHER_get_flags(cipher->evp) & EVP_CIPH_FLAG_AEAD_CIPHER)
        return "it is a variant of CBC";
    if (cipher->block_bytes > CIPHER_BLOCK_BYTES_MAX || cipher->key_bytes > EVP_MAX_KEY_LENGTH)
        return "its blocks or keys are too long";
    if (cipher->key_bytes < cipher->block_bytes)
        return "its keys are shorter than its blocks, for which s3backer's format has no answer";
    return NULL;
}

static enum bd_status
fetch(const struct bd_host *host, const char *name, struct cipher *cipher)
{
    cipher->context = OSSL_LIB_CTX_new();
    if (cipher->context == NULL) {
        host->log(host, BD_ERROR, "out of memory");
        return BD_FATAL;
    }
    cipher->usual = OSSL_PROVIDER_load(cipher->context, "default");
    if (cipher->usual == NULL) {
        host->log(host, BD_ERROR, "OpenSSL gives no ciphers at all");
        return BD_FATAL;
    }
    cipher->evp = EVP_CIPHER_fetch(cipher->context, name, NULL);
    if (cipher->evp != NULL)
        return BD_OK;
    cipher->legacy = OSSL_PROVIDER_load(cipher->context, "legacy");
    if (cipher->legacy == NULL) {
        host->log(
            host, BD_ERROR,
            "the cipher \"%s\" is none of today's, and OpenSSL's module for those of the past, "
            "the provider \"legacy\", cannot be loaded",
            name);
        return BD_UNSUPPORTED;
    }
    cipher->evp = EVP_CIPHER_fetch(cipher->context, name, NULL);
    if (cipher->evp != NULL)
        return BD_OK;
    host->log(host, BD_ERROR, "OpenSSL has no cipher \"%s\"", name);
    return BD_UNSUPPORTED;
}

enum bd_status
cipher_find(const struct bd_host *host, const char *name, struct cipher *out)
{
    const char *problem;
    enum bd_status rc;

    memset(out, 0, sizeof *out);
    ERR_set_mark(); /* what other users of this thread find in the queue is theirs */
    rc = fetch(host, name, out);
    ERR_pop_to_mark();
    if (rc != BD_OK)
        return rc;
    out->name = OBJ_nid2sn(EVP_CIPHER_get_nid(out->evp));
    out->key_bytes = (unsigned)EVP_CIPHER_get_key_length(out->evp);
    out->block_bytes = (unsigned)EVP_CIPHER_get_block_size(out->evp);
    problem = problem_of(out);
    if (problem == NULL)
        return BD_OK;
    host->log(host, BD_ERROR, "the cipher \"%s\" cannot be used: %s", name, problem);
    return BD_UNSUPPORTED;
}

void
cipher_clear(struct cipher *cipher)
{
    EVP_CIPHER_free(cipher->evp);
    if (cipher->legacy != NULL)
        OSSL_PROVIDER_unload(cipher->legacy);
    if (cipher->usual != NULL)
        OSSL_PROVIDER_unload(cipher->usual);
    OSSL_LIB_CTX_free(cipher->context);
}
