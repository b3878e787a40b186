/* SPDX-License-Identifier: Apache-2.0 */
/* A few stored blocks, looked at before anything is served or written: what they say of the volume may not be what its
 * metadata says.  At the start only: it waits for the store. */
#ifndef CORE_VOLUME_SAMPLES_H
#define CORE_VOLUME_SAMPLES_H

#include "backend.h"
#include "base/error.h"
#include "envelope.h"
#include "layout.h"

#include <stdbool.h>

#define VOLUME_SAMPLES_MAX 8u

/* What one block says of itself; nothing of it is authenticated. */
struct volume_look {
    bool is_there;
    uint64_t block;
    char encoding[BD_ENCODING_BYTES_MAX + 1]; /* what the store says of it */
    bool has_envelope;                        /* its body begins as one of format 2 */
    struct envelope envelope;
};

int volume_look(struct backend *backend, const struct layout *layout, uint64_t block,
                struct volume_look *out, struct error *why);
/* Block 0, or the first that is listed, its name hashed or not; !out->is_there: the volume is empty. */
int volume_look_any(struct backend *backend, const struct layout *layout, struct volume_look *out,
                    struct error *why);

/* At most VOLUME_SAMPLES_MAX blocks that are listed first, block 0 not among them. */
int volume_samples(struct backend *backend, const struct layout *layout,
                   uint64_t blocks[VOLUME_SAMPLES_MAX], unsigned *count, struct error *why);

#endif
