/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of an encrypted volume on local disk: encrypted and authenticated by the volume's own codecs.
 *
 * For cachefile's `seal` and `unseal`: `arg` is a chain whose list only encrypts.  A block becomes SEAL_BYTES longer. */
#ifndef CORE_SEAL_H
#define CORE_SEAL_H

#include "chain.h"

#define SEAL_BYTES 256u

int seal_block(void *arg, uint64_t block, const void *plain, size_t bytes, void *sealed);
int seal_open(void *arg, uint64_t block, const void *sealed, size_t bytes, void *plain);

#endif
