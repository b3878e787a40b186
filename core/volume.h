/* SPDX-License-Identifier: Apache-2.0 */
/* A volume as it is stored: which sizes it has.
 *
 * Format 1 is s3backer's: sizes in the metadata of block 0.  At the start only: it waits for the store. */
#ifndef CORE_VOLUME_H
#define CORE_VOLUME_H

#include "backend.h"
#include "base/error.h"
#include "layout.h"

#include <stdbool.h>

#define VOLUME_BLOCK_BYTES_DEFAULT (64u << 10)
#define VOLUME_BLOCK_BYTES_S3BACKER 4096u /* what --noAutoDetect means there */

struct volume_wish {
    const char *prefix;
    bool is_hashed;
    uint64_t disk_bytes;  /* as the user said; 0: not said */
    uint64_t block_bytes; /* likewise */
    bool auto_detect;     /* look for what is stored */
    bool is_forced;       /* the user's word goes over what is stored */
    bool is_read_only;    /* nothing may be made */
};

/* What block 0 is like. */
enum volume_block_0 {
    BLOCK_0_ABSENT,
    BLOCK_0_OTHER_SIZES, /* an object that says nothing of the sizes, or something else than was settled */
    BLOCK_0_RIGHT,
};

/* Find out the sizes.  What holds before the token is taken may not hold under it: call it again then.
 * Fails with -EINVAL (what the user says and what is stored do not fit, or too little is known) or what the
 * backend's answer amounts to. */
int volume_detect(struct backend *backend, const struct volume_wish *wish, struct layout *layout,
                  enum volume_block_0 *block_0, struct error *why);

#endif
