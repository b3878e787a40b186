/* SPDX-License-Identifier: Apache-2.0 */
/* xaes-256-gcm: the functions of its table, which bucketdisk/plugin.h describes. */
#ifndef CRYPTO_OPENSSL_XAES_H
#define CRYPTO_OPENSSL_XAES_H

#include <bucketdisk/sdk.h>

enum bd_status xaes_open(const struct bd_host *host, const void *options, const char *token,
                         void **handle);
void xaes_close(void *handle);
size_t xaes_bound(void *handle, size_t plain_bytes);
void *xaes_worker_new(void *handle);
void xaes_worker_free(void *handle, void *worker);
enum bd_status xaes_encode(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
                           struct bd_buf *out);
enum bd_status xaes_decode(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
                           struct bd_buf *out);

#endif
