/* SPDX-License-Identifier: Apache-2.0 */
/* crypto-openssl: encryption with OpenSSL's libcrypto: its options, and the tables of its codecs. */
#include "s3backer.h"
#include "xaes.h"

static const struct bd_option openssl_rows[] = {
    { .name = "key-length",
      .alias = "keyLength",
      .type = BD_OPT_UINT,
      BD_FIELD(struct openssl_options, key_length),
      .def = "0",
      .max = S3BACKER_KEY_BYTES_MAX,
      .metavar = "BYTES",
      .help = "length of the keys of encrypt-CIPHER in bytes; 0: found by trying, of a new volume "
              "the cipher's own" },
};

static const struct bd_codec openssl_codecs[] = {
    {
        .head = BD_HEAD(CODEC, struct bd_codec),
        .token = "aes",
        .summary =
            "s3backer's encryption, with AES-128-CBC, or as encrypt-CIPHER with any CBC cipher",
        .traits = BD_CODEC_ENCRYPTS | BD_CODEC_AUTHENTICATES,
        .match = s3backer_match,
        .open = s3backer_open,
        .close = s3backer_close,
        .bound = s3backer_bound,
        .worker_new = s3backer_worker_new,
        .worker_free = s3backer_worker_free,
        .encode = s3backer_encode,
        .decode = s3backer_decode,
        .written = s3backer_written,
    },
    {
        .head = BD_HEAD(CODEC, struct bd_codec),
        .token = "xaes-256-gcm",
        .summary = "AES-256-GCM with random nonces of 192 bits, as the C2SP specifies it",
        .traits = BD_CODEC_ENCRYPTS | BD_CODEC_AUTHENTICATES | BD_CODEC_BINDS,
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
    .options = openssl_rows,
    .option_count = sizeof openssl_rows / sizeof openssl_rows[0],
    .option_stride = sizeof openssl_rows[0],
    .options_bytes = sizeof(struct openssl_options),
    .codecs = openssl_codecs,
    .codec_count = sizeof openssl_codecs / sizeof openssl_codecs[0],
    .codec_stride = sizeof openssl_codecs[0],
};

BD_PLUGIN(openssl_plugin)
