/* SPDX-License-Identifier: Apache-2.0 */
/* The key slots of a manifest: the volume key behind passphrases.  Slow on purpose (the key wrap's cost); at the start
 * of a mount and in commands only. */
#ifndef CORE_KEYSLOTS_H
#define CORE_KEYSLOTS_H

#include "keyring.h"
#include "manifest.h"
#include "plugin.h"

#include <stdbool.h>

/* Find the slot that this passphrase opens, and put the volume key into `keyring`; *slot tells which.
 * -EKEYREJECTED: none does, and what hinders one of them: damage, or too high a cost.  -ENOTSUP: no plugin has the key
 * wrap.  Logs damaged ones when another opens. */
int keyslots_open(const struct manifest *manifest, const struct plugins *plugins,
                  struct bd_bytes passphrase, struct keyring *keyring, unsigned *slot,
                  struct error *why);

/* A new random volume key in `keyring`, to be wrapped by manifest->wrap. */
int keyslots_new_key(const struct manifest *manifest, const struct plugins *plugins,
                     struct keyring *keyring, struct error *why);

/* Wrap the volume key of `keyring` by a passphrase; gives *out, which was free and stays so on failure.  Of the manifest
 * it needs the name of the key wrap alone. */
int keyslots_wrap(const struct manifest *manifest, const struct plugins *plugins,
                  const struct keyring *keyring, struct bd_bytes passphrase, const char *label,
                  struct key_slot *out, struct error *why);
/* The same, into slot `slot`, which is free. */
int keyslots_add(struct manifest *manifest, const struct plugins *plugins,
                 const struct keyring *keyring, unsigned slot, struct bd_bytes passphrase,
                 const char *label, struct error *why);
void keyslots_remove(struct manifest *manifest, unsigned slot);

/* The lowest free one; MANIFEST_SLOTS when all are used. */
unsigned keyslots_free(const struct manifest *manifest);
/* Those that a passphrase may open: damaged ones do not count. */
unsigned keyslots_count(const struct manifest *manifest);
/* Does any of them but `slot` look as if some passphrase opened it?  That of a slot that is damaged in a way that only
 * the right passphrase can tell does, too.  As slow as one try of a passphrase. */
bool keyslots_has_another(const struct manifest *manifest, const struct plugins *plugins,
                          struct bd_bytes passphrase, unsigned slot);

#endif
