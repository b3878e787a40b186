/* SPDX-License-Identifier: Apache-2.0 */
/* crypto-sodium: authenticated encryption by libsodium.
 *
 * Here: the plugin's table.  The codec is in xchacha.c. */
#include "xchacha.h"

static const struct bd_plugin sodium_plugin = {
    .head = BD_HEAD(PLUGIN, struct bd_plugin),
    .abi_minor = BD_ABI_MINOR,
    .name = "crypto-sodium",
    .version = "1.0",
    .summary = "XChaCha20-Poly1305, by libsodium",
    .codecs = &xchacha_codec,
    .codec_count = 1,
    .codec_stride = sizeof xchacha_codec,
};

BD_PLUGIN(sodium_plugin)
