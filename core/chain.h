/* SPDX-License-Identifier: Apache-2.0 */
/* The codec chain: plain block to object body and back, as Content-Encoding says.
 *
 * The token list of an object decides how it is read, today's --codec how it is written.  A token that
 * nobody knows fails the blocks that carry it, not the mount.
 *
 * What the volume demands counts, not what an object says: where blocks must be authenticated, one whose outermost
 * layer does not authenticate is damaged, and nothing is decompressed before it has been authenticated.  In format 2
 * (envelope.h) the list that counts is the one in the body.  Any thread. */
#ifndef CORE_CHAIN_H
#define CORE_CHAIN_H

#include "attrs.h"
#include "base/error.h"
#include "base/pool.h"
#include "base/stats.h"
#include "envelope.h"
#include "plugin.h"

struct chain;
struct keyring;

struct chain_config {
    const struct plugins *plugins;
    const struct keyring *keyring; /* NULL: no keys */
    uint32_t block_bytes;
    const char *write_list; /* what new objects are encoded with, "zstd,aes"; NULL or "": nothing */
    const char *read_default; /* for objects without a token list; NULL: they are plain */
    /* What is written must be authenticated, and what is read. */
    bool must_authenticate;
    /* Tokens that may vouch for a block; NULL: all that authenticate. */
    const struct encoding *accepts;
    /* To migrate: read blocks that nothing encrypts all the same, and count them. */
    bool accepts_plain;
    /* Format 1: s3backer cannot read lists of more bytes than this, joined by ",": then compression is left out.
     * 0: no limit. */
    unsigned list_bytes_max;
    bool is_format_2;
    uint8_t volume_id[VOLUME_ID_BYTES]; /* this and the next: format 2 */
    uint16_t key_id;
};

#define CHAIN_S3BACKER_LIST_BYTES_MAX 31u

/* Borrows all that config points to until chain_close; copies config.
 * Fails with -EINVAL (an unknown token, a wrong order, or a chain that does not do what the volume demands). */
int chain_open(const struct chain_config *config, struct pool *pool, struct stats *stats,
               struct error *why, struct chain **out);
void chain_close(struct chain *chain);
/* Write a block and read it again, here.  Whoever is going to write asks before anything is stored, so that no volume is
 * made or written that nobody could read.  -EINVAL, and why. */
int chain_prove(struct chain *chain, struct error *why);
/* Format 2: what this mount writes gets generations of this epoch.  Before the first encoding. */
void chain_set_epoch(struct chain *chain, uint32_t epoch);

/* Bodies are blocks as they are. */
bool chain_is_plain(const struct chain *chain);
/* No object that this chain writes is larger; a reader allows for this much. */
size_t chain_body_bytes_max(const struct chain *chain);
/* No object that this chain writes is larger, unless a codec that might have declined makes a block larger. */
size_t chain_written_bytes_max(const struct chain *chain);
/* Must what is read be authenticated?  So it is where the volume demands it, and where what is written is. */
bool chain_authenticates(const struct chain *chain);
/* Is what is written encrypted, and authenticated? */
bool chain_encrypts(const struct chain *chain);
/* What is written: "zstd,xaes-256-gcm", in the codecs' own spelling.  Belongs to the chain. */
const char *chain_written(const struct chain *chain);

/* An encoded block.  `body` is the plain block itself when no layer applied. */
struct encoded {
    void *body;
    size_t body_bytes;
    void *
        memory; /* what `body` stands in, `room` bytes behind its start; NULL: in nothing of ours */
    size_t room;
    char encoding[BD_ENCODING_BYTES_MAX + 1]; /* "" for none */
    struct attrs attrs;
};

/* Gives `out`; end it with encoded_free. */
int chain_encode(struct chain *chain, uint64_t block, void *plain, struct encoded *out,
                 struct error *why);
void encoded_free(struct encoded *encoded);

/* Decode one object into a plain block of exactly block_bytes.  `encoding` may be NULL.
 * `out` may be the body itself only if no layer applies; in general they do not overlap.
 * Fails with -EBADMSG (damaged or not authentic), -ENOTSUP (no codec for a token), -EINVAL (its plugin cannot serve
 * it), -EIO (it cannot do that), -ENOMEM. */
int chain_decode(struct chain *chain, uint64_t block, const char *encoding, struct bd_bytes body,
                 const struct attrs *attrs, void *out, struct error *why);
/* How many bytes does one object decode to?  For a volume that does not say its block size, with a chain opened for
 * the largest: no more than that.  Fails as chain_decode does. */
int chain_measure(struct chain *chain, uint64_t block, const char *encoding, struct bd_bytes body,
                  const struct attrs *attrs, uint64_t *bytes, struct error *why);
/* Would decoding this list change the body at all? */
bool chain_applies(const struct chain *chain, const char *encoding);

#endif
