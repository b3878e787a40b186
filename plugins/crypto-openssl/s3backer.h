/* SPDX-License-Identifier: Apache-2.0 */
/* s3backer's own encryption: the functions of its table, which bucketdisk/plugin.h describes. */
#ifndef CRYPTO_OPENSSL_S3BACKER_H
#define CRYPTO_OPENSSL_S3BACKER_H

#include <bucketdisk/sdk.h>

/* The plugin's options, all of which concern this codec. */
struct openssl_options {
    uint32_t key_length; /* 0: find it */
};

/* Bytes of the longest key; shorter ones are its beginnings. */
#define S3BACKER_KEY_BYTES_MAX 64u

int s3backer_match(const char *token);
enum bd_status s3backer_open(const struct bd_host *host, const void *options, const char *token,
                             void **handle);
void s3backer_close(void *handle);
const char *s3backer_written(void *handle);
size_t s3backer_bound(void *handle, size_t plain_bytes);
void *s3backer_worker_new(void *handle);
void s3backer_worker_free(void *handle, void *worker);
enum bd_status s3backer_encode(void *handle, void *worker, struct bd_coding *coding,
                               struct bd_bytes in, struct bd_buf *out);
enum bd_status s3backer_decode(void *handle, void *worker, struct bd_coding *coding,
                               struct bd_bytes in, struct bd_buf *out);

#endif
