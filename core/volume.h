/* SPDX-License-Identifier: Apache-2.0 */
/* A volume as it is stored: which sizes it has.
 *
 * Format 1 is s3backer's: sizes in the metadata of block 0.  At the start only: it waits for the store. */
#ifndef CORE_VOLUME_H
#define CORE_VOLUME_H

#include "backend.h"
#include "base/error.h"
#include "chain.h"
#include "layout.h"

#include <stdbool.h>

#define VOLUME_BLOCK_BYTES_DEFAULT (64u << 10)
#define VOLUME_BLOCK_BYTES_S3BACKER 4096u /* what --noAutoDetect means there */

struct volume_sample;

struct volume_wish {
    const char *prefix;
    bool is_hashed;
    uint64_t disk_bytes;      /* as the user said; 0: not said */
    uint64_t block_bytes;     /* likewise */
    bool auto_detect;         /* the sizes are what is stored */
    const char *read_default; /* how blocks are encoded that do not say it; NULL: they are plain */
    bool is_forced;           /* the user's word goes over what is stored */
    bool is_read_only;        /* nothing may be made */
    /* Asked for the block size of a volume that does not say it, and whose blocks are encoded; as volume_try.
     * NULL: then the user must say it. */
    int (*measure)(void *arg, const struct volume_sample *sample, uint64_t *block_bytes,
                   struct error *why);
    void *measure_arg;
};

/* What block 0 is like. */
enum volume_block_0 {
    BLOCK_0_ABSENT,
    BLOCK_0_OTHER_SIZES, /* an object that says nothing of the sizes, or something else than was settled */
    BLOCK_0_RIGHT,
};

/* A stored block, to see how the volume is encoded: block 0, or the first that is listed.  It is looked for whatever
 * auto_detect says. */
struct volume_sample {
    bool is_there;
    uint64_t block;
    uint64_t object_bytes;
    char encoding[BD_ENCODING_BYTES_MAX + 1]; /* what it says, or the wish's default */
    bool is_encrypted;
    bool has_hmac; /* s3backer's, of a block that is encrypted */
};

/* Find out the sizes.  What holds before the token is taken may not hold under it: call it again then.
 * *sample is set also when it fails, if a block was seen by then.
 * Fails with -EINVAL (what the user says and what is stored do not fit, or too little is known) or what the
 * backend's answer amounts to. */
int volume_detect(struct backend *backend, const struct volume_wish *wish, struct layout *layout,
                  enum volume_block_0 *block_0, struct volume_sample *sample, struct error *why);

/* Are these sizes possible?  Puts them into the layout. */
int volume_check_sizes(uint64_t disk_bytes, uint64_t block_bytes, struct layout *layout,
                       struct error *why);

/* Can the chain read this block?  Asked before anything is served or written.  -EKEYREJECTED: it is damaged, or
 * the password is not the one that it was encrypted with.
 *
 * Unless block_bytes is NULL: to how many bytes?  By a chain that was opened for blocks of LAYOUT_BLOCK_BYTES_MAX. */
int volume_try(struct backend *backend, const struct layout *layout, struct chain *chain,
               const struct volume_sample *sample, uint64_t *block_bytes, struct error *why);

#endif
