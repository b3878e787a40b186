/* SPDX-License-Identifier: Apache-2.0 */
/* The header at the start of every body of format 2, and what its codecs authenticate beside the data.  Pure.
 *
 *   bytes  what (numbers are little-endian)
 *   4      "bkd2"
 *   1      1: the version of this header
 *   1      n: the length of the list
 *   2      id of the volume key that the block was encrypted with
 *   8      generation: the mount's epoch << 40 | its counter of writes
 *   n      the tokens of the layers, innermost first, joined by ","
 *
 * The list is there again so that a store or proxy that drops or rewrites Content-Encoding does no harm.
 * Codecs that authenticate cover: the volume's id, the block's number, the block size, and this header, so the
 * whole list, the outermost token included. */
#ifndef CORE_ENVELOPE_H
#define CORE_ENVELOPE_H

#include "base/error.h"
#include "encoding.h"

#include <stdint.h>

#define VOLUME_ID_BYTES 16u
#define ENVELOPE_FIXED_BYTES 16u
#define ENVELOPE_LIST_BYTES_MAX UINT8_MAX
#define ENVELOPE_BYTES_MAX (ENVELOPE_FIXED_BYTES + ENVELOPE_LIST_BYTES_MAX)
#define ASSOCIATED_FIXED_BYTES (8u + VOLUME_ID_BYTES + 8u + 8u)
#define ASSOCIATED_BYTES_MAX (ASSOCIATED_FIXED_BYTES + ENVELOPE_BYTES_MAX)
#define GENERATION_COUNTER_BITS 40u

struct envelope {
    struct encoding encoding;
    uint64_t generation;
    uint16_t key_id;
};

/* Writes at most ENVELOPE_BYTES_MAX bytes; *bytes says how many.  -E2BIG: the list is too long. */
int envelope_write(const struct envelope *envelope, uint8_t *out, size_t *bytes);

/* *bytes says where the codecs' data begins.  -EBADMSG with what is wrong: whoever stored it, hostile or not. */
int envelope_read(const void *body, size_t body_bytes, struct envelope *out, size_t *bytes,
                  struct error *why);

/* What authenticating codecs cover, at most ASSOCIATED_BYTES_MAX; returns how many.  `header` is the envelope as
 * it stands in the body. */
size_t envelope_associated(const uint8_t volume_id[VOLUME_ID_BYTES], uint64_t block,
                           uint32_t block_bytes, const uint8_t *header, size_t header_bytes,
                           uint8_t *out);

#endif
