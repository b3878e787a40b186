/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of volumes that are encrypted: a plugin, made here, whose key wrap and codecs cost nothing and hide nothing,
 * and notice everything.
 *
 *   argon2id  the name that new volumes ask for; its text is "fake SUM HEX"
 *   wax       encrypts, of a kind, and authenticates, with a key of the volume's
 *   encrypt-  the same with the password, as s3backer's
 *   deflate   drops the zeros at the end */
#ifndef UNIT_FAKE_CRYPTO_H
#define UNIT_FAKE_CRYPTO_H

#include "test.h"

#include "keyring.h"
#include "plugin.h"

#define FAKE_WRAP "argon2id"
#define FAKE_CODEC "wax"

extern struct plugins fake_plugins; /* the one plugin; not to be freed */

/* What the plugin does when it is used; zeros: all is well. */
struct fake_crypto {
    enum bd_status check;    /* what its check() answers; and its sentence: "fake says no" */
    enum bd_status wrap;     /* what wrap answers without doing anything */
    size_t unwrapped_bytes;  /* of a key; 0: as it is */
    const char *wrapped;     /* what wrap gives; NULL: the key */
    unsigned wraps, unwraps; /* how often it was asked */
};
extern struct fake_crypto fake_crypto;

/* A keyring with a volume key that counts from `first`. */
void fake_keyring(struct keyring *keyring, uint8_t first);

#endif
