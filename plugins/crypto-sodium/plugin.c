/* SPDX-License-Identifier: Apache-2.0 */
/* crypto-sodium: authenticated encryption and passphrases, by libsodium.
 *
 * Here: options and the plugin's table.  The codec is in xchacha.c, the key wrap in argon2id.c. */
#include "argon2id.h"
#include "xchacha.h"

/* Beyond any use, and within what Argon2id can do: 2^32 - 1 KiB and passes. */
#define MEMORY_BYTES_MOST (UINT64_C(1) << 40)
#define PASSES_MOST 65536

static const struct bd_option rows[] = {
    { .name = "argon2id-memory",
      .alias = "argon2id-memory",
      .type = BD_OPT_SIZE,
      BD_FIELD(struct argon2id_options, memory_bytes),
      .def = "256M",
      .min = 1 << 20,
      .max = MEMORY_BYTES_MOST,
      .help = "memory that one try of a new passphrase takes" },
    { .name = "argon2id-passes",
      .alias = "argon2id-passes",
      .type = BD_OPT_UINT,
      BD_FIELD(struct argon2id_options, passes),
      .def = "3",
      .min = 1,
      .max = PASSES_MOST,
      .help = "how often one try of a new passphrase goes over this memory" },
    { .name = "argon2id-memory-max",
      .alias = "argon2id-memory-max",
      .type = BD_OPT_SIZE,
      BD_FIELD(struct argon2id_options, memory_bytes_max),
      .def = "4G",
      .min = 1 << 20,
      .max = MEMORY_BYTES_MOST,
      .help = "most memory that a stored key may ask for" },
    { .name = "argon2id-passes-max",
      .alias = "argon2id-passes-max",
      .type = BD_OPT_UINT,
      BD_FIELD(struct argon2id_options, passes_max),
      .def = "64",
      .min = 1,
      .max = PASSES_MOST,
      .help = "most passes that a stored key may ask for" },
};

static const struct bd_plugin sodium_plugin = {
    .head = BD_HEAD(PLUGIN, struct bd_plugin),
    .abi_minor = BD_ABI_MINOR,
    .name = "crypto-sodium",
    .version = "1.0",
    .summary = "XChaCha20-Poly1305 and Argon2id, by libsodium",
    .options = rows,
    .option_count = sizeof rows / sizeof rows[0],
    .option_stride = sizeof rows[0],
    .options_bytes = sizeof(struct argon2id_options),
    .check = argon2id_check,
    .codecs = &xchacha_codec,
    .codec_count = 1,
    .codec_stride = sizeof xchacha_codec,
    .keywraps = &argon2id_keywrap,
    .keywrap_count = 1,
    .keywrap_stride = sizeof argon2id_keywrap,
};

BD_PLUGIN(sodium_plugin)
