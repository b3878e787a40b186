/* SPDX-License-Identifier: Apache-2.0 */
/* The encryption of s3backer's buckets, byte for byte.
 *
 *     key    = PBKDF2-HMAC-SHA1(password, salt "BUCKET/PREFIX", 5000 rounds), L bytes
 *     ivkey  = PBKDF2-HMAC-SHA1(key, salt key, 5000 rounds)
 *     number = the block's number as 8 hexadecimal digits
 *     iv     = one block of the cipher in CBC mode: number and zeros, encrypted with ivkey, its beginning as IV
 *     body   = the cipher in CBC mode with key, iv and PKCS#7 padding
 *     tag    = HMAC-SHA1(key, number || name of the cipher || body), in the attribute s3backer-hmac, in quotes
 *
 * The cipher takes as many bytes of key and ivkey as it needs, K; the tag and ivkey depend on all L of key.  L is an
 * option of s3backer's that nothing stored tells (K unless the user said otherwise, 32 or 64 in its oldest versions),
 * but tags do: a block is tried with every L.  That is cheap, since a shorter PBKDF2 key is the beginning of a longer
 * one.  An instance encodes with one L: the one given, or that of the first block that authenticates, or K if a block
 * is encoded before.  It decodes with the one given, or any: a cipher that was not used for long may have been written
 * with another one then, and the first block of the disk, of another cipher, did not tell. */
#include "s3backer.h"

#include "cipher.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FAMILY "encrypt-"
#define USUAL_CIPHER "AES-128-CBC" /* what "aes" means */
#define ROUNDS 5000u
#define TAG_ATTR "s3backer-hmac"
#define TAG_BYTES 20u
#define NUMBER_BYTES 8u
/* OpenSSL counts in int. */
#define BODY_BYTES_MAX ((size_t)INT_MAX - CIPHER_BLOCK_BYTES_MAX)

struct s3backer {
    const struct bd_host *host;
    struct cipher cipher;
    EVP_MAC *hmac;
    EVP_KDF *pbkdf2;
    char token[BD_TOKEN_BYTES_MAX + 1]; /* as objects carry it */
    unsigned length_given;              /* the option: 0 for none */
    struct s3backer_secret {
        unsigned char key[S3BACKER_KEY_BYTES_MAX];
        unsigned char ivkeys[S3BACKER_KEY_BYTES_MAX + 1]
                            [EVP_MAX_KEY_LENGTH]; /* K bytes for each L */
    } * secret;

    pthread_mutex_t lock; /* held while an ivkey is made */
    atomic_bool has_ivkey[S3BACKER_KEY_BYTES_MAX + 1];
    atomic_uint
        length; /* L of what is encoded, and likely of what is decoded; 0 until it is known */
    atomic_bool is_confirmed; /* a block has authenticated: the password is right */
};

struct s3backer_worker {
    EVP_CIPHER_CTX *encrypt, *decrypt; /* have the key */
    EVP_CIPHER_CTX *iv;                /* has the ivkey of iv_length */
    unsigned iv_length;                /* 0: none */
    EVP_MAC_CTX *hmac;
};

/* ---- keys */

static int
derive(const struct s3backer *self, const void *password, size_t password_bytes, const void *salt,
       size_t salt_bytes, unsigned char *out, size_t bytes)
{
    EVP_KDF_CTX *kdf = EVP_KDF_CTX_new(self->pbkdf2);
    unsigned rounds = ROUNDS;
    int takes_any = 1; /* short keys and salts too, which were allowed then */
    const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t) "SHA1", 4),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_PASSWORD, (void *)(uintptr_t)password,
                                password_bytes),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)salt, salt_bytes),
        OSSL_PARAM_uint(OSSL_KDF_PARAM_ITER, &rounds),
        OSSL_PARAM_int(OSSL_KDF_PARAM_PKCS5, &takes_any),
        OSSL_PARAM_END,
    };
    int is_done = kdf != NULL && EVP_KDF_derive(kdf, out, bytes, params) == 1;

    EVP_KDF_CTX_free(kdf);
    return is_done;
}

/* False if OpenSSL fails. */
static bool
make_ivkey(struct s3backer *self, unsigned length)
{
    const unsigned char *key = self->secret->key;

    if (atomic_load(&self->has_ivkey[length]))
        return true;
    pthread_mutex_lock(&self->lock);
    if (!atomic_load(&self->has_ivkey[length])
        && derive(self, key, length, key, length, self->secret->ivkeys[length],
                  self->cipher.key_bytes))
        atomic_store(&self->has_ivkey[length], true);
    pthread_mutex_unlock(&self->lock);
    return atomic_load(&self->has_ivkey[length]);
}

/* From now on blocks are encoded with `length`, unless it is something already.  Returns what it is. */
static unsigned
settle_length(struct s3backer *self, unsigned length)
{
    unsigned none = 0;

    return atomic_compare_exchange_strong(&self->length, &none, length) ? length : none;
}

/* ---- lifecycle */

int
s3backer_match(const char *token)
{
    return strncasecmp(token, FAMILY, strlen(FAMILY)) == 0;
}

static enum bd_status
check_length(const struct s3backer *self)
{
    const struct cipher *cipher = &self->cipher;

    if (self->length_given == 0
        || (self->length_given >= cipher->key_bytes
            && self->length_given <= S3BACKER_KEY_BYTES_MAX))
        return BD_OK;
    self->host->log(self->host, BD_ERROR,
                    "--openssl-key-length=%u: keys for %s have %u to %u bytes", self->length_given,
                    cipher->name, cipher->key_bytes, S3BACKER_KEY_BYTES_MAX);
    return BD_INVALID;
}

static enum bd_status
make_key(struct s3backer *self)
{
    const struct bd_host *host = self->host;
    char *password;
    const char *salt;
    size_t bytes;
    enum bd_status rc = host->passphrase(host, &password, &bytes, &salt);
    int is_done;

    if (rc == BD_UNSUPPORTED)
        host->log(host, BD_ERROR, "%s needs a password", self->token);
    if (rc != BD_OK)
        return rc;
    is_done = derive(self, password, bytes, salt, strlen(salt), self->secret->key,
                     sizeof self->secret->key);
    host->secret_free(password);
    if (is_done)
        return BD_OK;
    host->log(host, BD_ERROR, "OpenSSL made no key of the password");
    return BD_FATAL;
}

enum bd_status
s3backer_open(const struct bd_host *host, const void *options, const char *token, void **handle)
{
    const struct openssl_options *opts = options;
    struct s3backer *self = calloc(1, sizeof *self);
    enum bd_status rc = BD_FATAL;

    if (self == NULL) {
        host->log(host, BD_ERROR, "out of memory");
        return rc;
    }
    self->host = host;
    self->length_given = opts->key_length;
    pthread_mutex_init(&self->lock, NULL);
    rc = cipher_find(host, s3backer_match(token) ? token + strlen(FAMILY) : USUAL_CIPHER,
                     &self->cipher);
    if (rc == BD_OK)
        rc = check_length(self);
    if (rc != BD_OK)
        goto close_self;
    snprintf(self->token, sizeof self->token, FAMILY "%s", self->cipher.name);
    rc = BD_FATAL;
    self->hmac = EVP_MAC_fetch(self->cipher.context, "HMAC", NULL);
    self->pbkdf2 = EVP_KDF_fetch(self->cipher.context, "PBKDF2", NULL);
    self->secret = host->secret_alloc(sizeof *self->secret);
    if (self->secret == NULL) {
        host->log(host, BD_ERROR, "out of memory");
        goto close_self;
    }
    if (self->hmac == NULL || self->pbkdf2 == NULL) {
        host->log(host, BD_ERROR,
                  "OpenSSL, as it is configured here, does not give HMAC and PBKDF2");
        goto close_self;
    }
    rc = make_key(self);
    if (rc != BD_OK)
        goto close_self;
    *handle = self;
    return BD_OK;

close_self:
    s3backer_close(self);
    return rc;
}

void
s3backer_close(void *handle)
{
    struct s3backer *self = handle;

    self->host->secret_free(self->secret);
    EVP_KDF_free(self->pbkdf2);
    EVP_MAC_free(self->hmac);
    cipher_clear(&self->cipher);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

const char *
s3backer_written(void *handle)
{
    const struct s3backer *self = handle;

    return self->token;
}

size_t
s3backer_bound(void *handle, size_t plain_bytes)
{
    const struct s3backer *self = handle;
    size_t block = self->cipher.block_bytes;

    return (plain_bytes / block + 1) * block;
}

/* A context with the data's key, or, if `key` is NULL, none yet. */
static EVP_CIPHER_CTX *
crypt_new(const struct s3backer *self, const unsigned char *key, int is_encrypting)
{
    EVP_CIPHER_CTX *crypt = EVP_CIPHER_CTX_new();

    if (crypt == NULL
        || EVP_CipherInit_ex2(crypt, self->cipher.evp, key, NULL, is_encrypting, NULL) == 1)
        return crypt;
    EVP_CIPHER_CTX_free(crypt);
    return NULL;
}

void *
s3backer_worker_new(void *handle)
{
    const struct s3backer *self = handle;
    const OSSL_PARAM sha1[] = {
        OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t) "SHA1", 4),
        OSSL_PARAM_END,
    };
    struct s3backer_worker *worker = calloc(1, sizeof *worker);

    if (worker == NULL)
        return NULL;
    worker->encrypt = crypt_new(self, self->secret->key, 1);
    worker->decrypt = crypt_new(self, self->secret->key, 0);
    worker->iv = crypt_new(self, NULL, 1);
    worker->hmac = EVP_MAC_CTX_new(self->hmac);
    if (worker->encrypt != NULL && worker->decrypt != NULL && worker->iv != NULL
        && EVP_CIPHER_CTX_set_padding(worker->iv, 0) == 1 && worker->hmac != NULL
        && EVP_MAC_CTX_set_params(worker->hmac, sha1) == 1)
        return worker;
    s3backer_worker_free(handle, worker);
    return NULL;
}

void
s3backer_worker_free(void *handle, void *worker)
{
    struct s3backer_worker *mine = worker;

    (void)handle;
    EVP_CIPHER_CTX_free(mine->encrypt);
    EVP_CIPHER_CTX_free(mine->decrypt);
    EVP_CIPHER_CTX_free(mine->iv);
    EVP_MAC_CTX_free(mine->hmac);
    free(mine);
}

/* ---- the parts of a block */

/* Eight digits, a NUL, and more zeros up to a block of any cipher. */
struct number {
    char text[CIPHER_BLOCK_BYTES_MAX];
};

static int
make_number(const struct s3backer *self, struct bd_coding *coding, struct number *number)
{
    memset(number, 0, sizeof *number);
    if (coding->block > UINT32_MAX) {
        self->host->coding_error(coding, "s3backer's format has no block numbers over 32 bits");
        return 0;
    }
    if (coding->associated.len > 0) {
        self->host->coding_error(coding, "%s cannot authenticate what a volume of format 2 demands",
                                 self->token);
        return 0;
    }
    snprintf(number->text, sizeof number->text, "%08x", (unsigned)coding->block);
    return 1;
}

static int
make_iv(struct s3backer *self, struct s3backer_worker *worker, unsigned length,
        const struct number *number, unsigned char iv[CIPHER_BLOCK_BYTES_MAX])
{
    const unsigned char *ivkey = self->secret->ivkeys[length];
    const unsigned block = self->cipher.block_bytes;
    int len = 0;

    if (!make_ivkey(self, length)
        || EVP_EncryptInit_ex2(worker->iv, NULL, worker->iv_length == length ? NULL : ivkey, ivkey,
                               NULL)
               != 1)
        return 0;
    worker->iv_length = length;
    return EVP_EncryptUpdate(worker->iv, iv, &len, (const unsigned char *)number->text, (int)block)
               == 1
           && len == (int)block;
}

static int
make_tag(const struct s3backer *self, struct s3backer_worker *worker, unsigned length,
         const struct number *number, struct bd_bytes body, unsigned char tag[TAG_BYTES])
{
    EVP_MAC_CTX *hmac = worker->hmac;
    const char *name = self->cipher.name;
    size_t bytes = 0;

    return EVP_MAC_init(hmac, self->secret->key, length, NULL) == 1
           && EVP_MAC_update(hmac, (const unsigned char *)number->text, NUMBER_BYTES) == 1
           && EVP_MAC_update(hmac, (const unsigned char *)name, strlen(name)) == 1
           && EVP_MAC_update(hmac, body.data, body.len) == 1
           && EVP_MAC_final(hmac, tag, &bytes, TAG_BYTES) == 1 && bytes == TAG_BYTES;
}

/* ---- encoding */

enum bd_status
s3backer_encode(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
                struct bd_buf *out)
{
    struct s3backer *self = handle;
    struct s3backer_worker *mine = worker;
    const unsigned length_wanted =
        self->length_given != 0 ? self->length_given : self->cipher.key_bytes;
    unsigned char iv[CIPHER_BLOCK_BYTES_MAX], tag[TAG_BYTES], *body = out->data;
    char text[2 * TAG_BYTES + 3] = "\"";
    unsigned length;
    struct number number;
    int first = 0, last = 0;

    if (!make_number(self, coding, &number))
        return BD_UNSUPPORTED;
    if (in.len > BODY_BYTES_MAX || out->cap < s3backer_bound(handle, in.len)) {
        self->host->coding_error(coding, "%zu bytes do not fit into %zu", in.len, out->cap);
        return BD_INVALID;
    }
    length = settle_length(self, length_wanted);
    if (!make_iv(self, mine, length, &number, iv)
        || EVP_EncryptInit_ex2(mine->encrypt, NULL, NULL, iv, NULL) != 1
        || (in.len > 0 && EVP_EncryptUpdate(mine->encrypt, body, &first, in.data, (int)in.len) != 1)
        || EVP_EncryptFinal_ex(mine->encrypt, body + first, &last) != 1)
        goto failed;
    out->len = (size_t)first + (size_t)last;
    if (!make_tag(self, mine, length, &number, (struct bd_bytes){ body, out->len }, tag))
        goto failed;
    bd_hex(tag, sizeof tag, text + 1);
    text[sizeof text - 2] = '"';
    self->host->coding_attr_add(coding, TAG_ATTR, text, sizeof text - 1);
    return BD_OK;

failed:
    self->host->coding_error(coding, "OpenSSL failed to encrypt");
    return BD_FATAL;
}

/* ---- decoding */

static int
digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* What the attribute says; returns what is wrong with it, or NULL. */
static const char *
read_tag(const struct s3backer *self, const struct bd_coding *coding, unsigned char tag[TAG_BYTES])
{
    static const unsigned char zeros[TAG_BYTES];
    size_t bytes = 0;
    const char *text = self->host->coding_attr_get(coding, TAG_ATTR, &bytes);

    if (text == NULL)
        return "is missing";
    if (bytes < 2 || text[0] != '"' || text[bytes - 1] != '"')
        return "is not in quotes";
    if (bytes != 2 * TAG_BYTES + 2)
        return "has not 40 digits";
    for (unsigned i = 0; i < TAG_BYTES; i++) {
        int high = digit_of(text[1 + 2 * i]), low = digit_of(text[2 + 2 * i]);

        if (high < 0 || low < 0)
            return "has digits that are not hexadecimal";
        tag[i] = (unsigned char)(high << 4 | low);
    }
    return memcmp(tag, zeros, TAG_BYTES) == 0 ? "is zero" : NULL;
}

/* The i-th length to try, most likely first; 0: there are no more. */
static unsigned
length_at(const struct s3backer *self, unsigned i)
{
    static const unsigned likely[] = { 32, 64 };
    const unsigned natural = self->cipher.key_bytes;

    if (i == 0)
        return natural;
    if (i <= 2)
        return likely[i - 1] > natural ? likely[i - 1] : natural;
    i += natural - 2;
    return i <= S3BACKER_KEY_BYTES_MAX ? i : 0;
}

/* False: OpenSSL failed. */
static bool
check_tag(const struct s3backer *self, struct s3backer_worker *worker, unsigned length,
          const struct number *number, struct bd_bytes body, const unsigned char *tag,
          bool *is_authentic)
{
    unsigned char expected[TAG_BYTES];

    if (!make_tag(self, worker, length, number, body, expected))
        return false;
    *is_authentic = CRYPTO_memcmp(expected, tag, TAG_BYTES) == 0;
    return true;
}

/* The key length with which the tag is that of the body; 0: none.  False: OpenSSL failed. */
static bool
authentic_length(const struct s3backer *self, struct s3backer_worker *worker,
                 const struct number *number, struct bd_bytes body, const unsigned char *tag,
                 unsigned *found)
{
    const unsigned given = self->length_given;
    const unsigned known = given != 0 ? given : atomic_load(&self->length);

    bool is_authentic = false;

    *found = 0;
    if (known != 0) {
        if (!check_tag(self, worker, known, number, body, tag, &is_authentic))
            return false;
        if (is_authentic)
            *found = known;
    }
    for (unsigned i = 0, length; given == 0 && *found == 0 && (length = length_at(self, i)) != 0;
         i++) {
        if (!check_tag(self, worker, length, number, body, tag, &is_authentic))
            return false;
        if (is_authentic)
            *found = length;
    }
    return true;
}

/* HMAC pads keys with zeros: if the key has one at the end of a length, two lengths have the same tags, but not the
 * same ivkey, and nothing else tells which was meant.  Of those that s3backer takes by itself it is that one. */
static bool
is_length_told(const struct s3backer *self, struct bd_coding *coding, unsigned length)
{
    const unsigned char *key = self->secret->key;
    unsigned other = 0;

    if (self->length_given != 0 || atomic_load(&self->length) == length)
        return true;
    if (length > self->cipher.key_bytes && key[length - 1] == 0)
        other = length - 1;
    else if (length < S3BACKER_KEY_BYTES_MAX && key[length] == 0)
        other = length + 1;
    if (other == 0)
        return true;
    if (length == self->cipher.key_bytes || length == 32 || length == 64) {
        self->host->log(self->host, BD_INFO,
                        "keys of %u and of %u bytes fit; %u are taken, and --openssl-key-length "
                        "would say otherwise",
                        length, other, length);
        return true;
    }
    self->host->coding_error(coding,
                             "keys of %u and of %u bytes fit: --openssl-key-length must say which",
                             length, other);
    return false;
}

static enum bd_status
say_not_authentic(const struct s3backer *self, struct bd_coding *coding)
{
    if (atomic_load(&self->is_confirmed))
        self->host->coding_error(coding, "not authenticated: damaged, or not of this block");
    else if (self->length_given == 0)
        self->host->coding_error(coding,
                                 "not authenticated: wrong password, or copied from another "
                                 "bucket or prefix, or damaged");
    else
        self->host->coding_error(coding,
                                 "not authenticated: wrong password, or a key length other than %u "
                                 "(--openssl-key-length), or copied from another bucket or prefix, "
                                 "or damaged",
                                 self->length_given);
    return BD_CORRUPT;
}

/* Decrypt what is authentic. */
static enum bd_status
decrypt(struct s3backer *self, struct s3backer_worker *worker, struct bd_coding *coding,
        unsigned length, const struct number *number, struct bd_bytes in, struct bd_buf *out)
{
    unsigned char iv[CIPHER_BLOCK_BYTES_MAX], rest[CIPHER_BLOCK_BYTES_MAX];
    int first = 0, last = 0, is_padded;

    /* All but the last block is text; how much of that is, comes out at the end. */
    if (in.len - self->cipher.block_bytes > out->cap) {
        self->host->coding_error(coding, "%zu bytes, at most %zu expected", in.len, out->cap);
        return BD_CORRUPT;
    }
    if (!make_iv(self, worker, length, number, iv)
        || EVP_DecryptInit_ex2(worker->decrypt, NULL, NULL, iv, NULL) != 1
        || EVP_DecryptUpdate(worker->decrypt, out->data, &first, in.data, (int)in.len) != 1) {
        self->host->coding_error(coding, "OpenSSL failed to decrypt");
        return BD_FATAL;
    }
    ERR_set_mark();
    is_padded = EVP_DecryptFinal_ex(worker->decrypt, rest, &last) == 1;
    ERR_pop_to_mark();
    if (!is_padded) {
        self->host->coding_error(coding, "authentic, but its padding is wrong");
        return BD_CORRUPT;
    }
    out->len = (size_t)first + (size_t)last;
    if (out->len > out->cap) {
        self->host->coding_error(coding, "%zu bytes, at most %zu expected", out->len, out->cap);
        return BD_CORRUPT;
    }
    memcpy((unsigned char *)out->data + first, rest, (size_t)last);
    return BD_OK;
}

enum bd_status
s3backer_decode(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
                struct bd_buf *out)
{
    struct s3backer *self = handle;
    struct s3backer_worker *mine = worker;
    unsigned char tag[TAG_BYTES];
    const char *problem;
    unsigned length;
    struct number number;

    if (!make_number(self, coding, &number))
        return BD_UNSUPPORTED;
    problem = read_tag(self, coding, tag);
    if (problem != NULL) {
        self->host->coding_error(coding, "not authenticated: the attribute " TAG_ATTR " %s",
                                 problem);
        return BD_CORRUPT;
    }
    if (in.len == 0 || in.len % self->cipher.block_bytes != 0 || in.len > BODY_BYTES_MAX) {
        self->host->coding_error(coding,
                                 "not authenticated: %zu bytes are no number of blocks of %s",
                                 in.len, self->cipher.name);
        return BD_CORRUPT;
    }
    if (!authentic_length(self, mine, &number, in, tag, &length)) {
        self->host->coding_error(coding, "OpenSSL failed to authenticate");
        return BD_FATAL;
    }
    if (length == 0)
        return say_not_authentic(self, coding);
    atomic_store(&self->is_confirmed, true);
    if (!is_length_told(self, coding, length))
        return BD_UNSUPPORTED;
    settle_length(self, length);
    return decrypt(self, mine, coding, length, &number, in, out);
}
