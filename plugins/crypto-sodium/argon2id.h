/* SPDX-License-Identifier: Apache-2.0 */
/* The key wrap argon2id: passphrase -> Argon2id -> key -> XChaCha20-Poly1305 around the volume's key.
 *
 * Two costs make a stolen slot expensive to guess at: memory and passes.  A new slot gets those of
 * the options, lowered where the machine is small.  A stored one is only opened within the options'
 * bounds and the machine's memory: whoever can write the slot must not make us fill the machine. */
#ifndef SODIUM_ARGON2ID_H
#define SODIUM_ARGON2ID_H

#include "machine.h"

#include <bucketdisk/plugin.h>

struct argon2id_options {
    uint64_t memory_bytes; /* for new slots */
    uint32_t passes;
    uint32_t passes_max; /* for stored ones */
    uint64_t memory_bytes_max;
};

extern const struct bd_keywrap argon2id_keywrap;

/* bd_plugin.check for these options. */
enum bd_status argon2id_check(const void *options, char *why, size_t why_bytes);

/* The two functions of the key wrap that look at the machine, told what it is like. */
enum bd_status argon2id_wrap_on(const struct machine *machine, const struct bd_host *host,
                                const struct argon2id_options *options, struct bd_bytes passphrase,
                                struct bd_bytes key, struct bd_buf *out);
enum bd_status argon2id_unwrap_on(const struct machine *machine, const struct bd_host *host,
                                  const struct argon2id_options *options,
                                  struct bd_bytes passphrase, struct bd_bytes text,
                                  struct bd_buf *key);

#endif
