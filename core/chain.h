/* SPDX-License-Identifier: Apache-2.0 */
/* The codec chain: plain block to object body and back, as Content-Encoding says.
 *
 * The token list of an object decides how it is read, today's --codec how it is written.  A token that
 * nobody knows fails the blocks that carry it, not the mount.  Any thread. */
#ifndef CORE_CHAIN_H
#define CORE_CHAIN_H

#include "attrs.h"
#include "base/error.h"
#include "base/pool.h"
#include "base/stats.h"
#include "plugin.h"

struct chain;

/* `write_list`: what new objects are encoded with, e.g. "zstd,aes"; NULL or "": nothing.
 * `read_default`: for objects without a token list; NULL: they are plain.
 * Borrows all until chain_close.  Fails with -EINVAL (an unknown token, or a wrong order). */
int chain_open(const struct plugins *plugins, const char *write_list, const char *read_default,
               uint32_t block_bytes, struct pool *pool, struct stats *stats, struct error *why,
               struct chain **out);
void chain_close(struct chain *chain);

/* Nothing is written through a codec: bodies are blocks as they are. */
bool chain_is_plain(const struct chain *chain);
/* No object that this chain writes is larger; a reader allows for this much. */
size_t chain_body_bytes_max(const struct chain *chain);

/* An encoded block.  `body` is malloc'ed, or the plain block itself when no layer applied. */
struct encoded {
    void *body;
    size_t body_bytes;
    char encoding[BD_ENCODING_BYTES_MAX + 1]; /* "" for none */
    struct attrs attrs;
};

/* Gives `out`; end it with encoded_free(out, plain). */
int chain_encode(struct chain *chain, uint64_t block, void *plain, struct encoded *out,
                 struct error *why);
void encoded_free(struct encoded *encoded, const void *plain);

/* Decode one object into a plain block of exactly block_bytes.  `encoding` may be NULL.
 * `out` may be the body itself only if no layer applies; in general they do not overlap.
 * Fails with -EBADMSG (damaged or not authentic), -ENOTSUP (no codec for a token), -ENOMEM. */
int chain_decode(struct chain *chain, uint64_t block, const char *encoding, struct bd_bytes body,
                 const struct attrs *attrs, void *out, struct error *why);
/* Would decoding this list change the body at all? */
bool chain_applies(const struct chain *chain, const char *encoding);

#endif
