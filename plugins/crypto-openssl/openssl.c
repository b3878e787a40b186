/* SPDX-License-Identifier: Apache-2.0 */
/* crypto-openssl: encryption with OpenSSL's libcrypto: the tables of its codecs. */
#include "xaes.h"

static const struct bd_codec openssl_codecs[] = {
    {
        .head = BD_HEAD(CODEC, struct bd_codec),
        .token = "xaes-256-gcm",
        .summary = "AES-256-GCM with random nonces of 192 bits, as the C2SP specifies it",
        .traits = BD_CODEC_ENCRYPTS | BD_CODEC_AUTHENTICATES,
        .open = xaes_open,
        .close = xaes_close,
        .bound = xaes_bound,
        .worker_new = xaes_worker_new,
        .worker_free = xaes_worker_free,
        .encode = xaes_encode,
        .decode = xaes_decode,
    },
};

static const struct bd_plugin openssl_plugin = {
    .head = BD_HEAD(PLUGIN, struct bd_plugin),
    .abi_minor = BD_ABI_MINOR,
    .name = "crypto-openssl",
    .version = "1.0",
    .summary = "encryption with OpenSSL",
    .codecs = openssl_codecs,
    .codec_count = sizeof openssl_codecs / sizeof openssl_codecs[0],
    .codec_stride = sizeof openssl_codecs[0],
};

BD_PLUGIN(openssl_plugin)
