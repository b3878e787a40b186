/* SPDX-License-Identifier: Apache-2.0 */
/* The codec xchacha20-poly1305: authenticated encryption with a random nonce for each body.
 *
 *   body = nonce (24 bytes), ciphertext (as long as the plain bytes), tag (16 bytes)
 *
 * The key is the volume's for "codec xchacha20-poly1305"; what coding->associated holds is
 * authenticated, neither more nor less. */
#ifndef SODIUM_XCHACHA_H
#define SODIUM_XCHACHA_H

#include <bucketdisk/plugin.h>

extern const struct bd_codec xchacha_codec;

#endif
