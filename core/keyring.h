/* SPDX-License-Identifier: Apache-2.0 */
/* What the codecs of a volume get their keys from: the user's passphrase in format 1, the volume's key in
 * format 2.
 *
 * Lives from the start of a mount to the end of its last codec; all changes come before that one serves a block,
 * then it is only read, by any thread.  All of it stands in memory that is locked, left out of dumps and wiped (secret.h). */
#ifndef CORE_KEYRING_H
#define CORE_KEYRING_H

#include "base/error.h"
#include "passphrase.h"

#define VOLUME_KEY_BYTES 32u

struct keyring {
    struct passphrase passphrase;     /* no data: none was given */
    char *salt;                       /* what s3backer derives keys with, "BUCKET/PREFIX" */
    uint8_t *volume_key;              /* VOLUME_KEY_BYTES; NULL in format 1 */
    const struct bd_keywrap *keywrap; /* what derives subkeys of it; borrowed */
};

/* Copies both. */
int keyring_set_passphrase(struct keyring *keyring, struct bd_bytes passphrase, const char *salt);
int keyring_set_volume_key(struct keyring *keyring, const struct bd_keywrap *keywrap,
                           const uint8_t key[VOLUME_KEY_BYTES]);
/* Who has the volume's key needs it no more. */
void keyring_drop_passphrase(struct keyring *keyring);
void keyring_drop_volume_key(struct keyring *keyring);
/* Wipes and frees. */
void keyring_clear(struct keyring *keyring);

/* As in the host table. */
enum bd_status keyring_passphrase(const struct keyring *keyring, char **out, size_t *bytes,
                                  const char **salt);
enum bd_status keyring_subkey(const struct keyring *keyring, const char *purpose, void *out,
                              size_t bytes);

#endif
