/* SPDX-License-Identifier: Apache-2.0 */
/* A volume as it is stored: its sizes, and the token that says who has it mounted.
 *
 * Format 1 is s3backer's: sizes in the metadata of block 0, the token in the object
 * "s3backer-mounted".  At start and stop only: these functions wait for the store. */
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

/* The mount token of this process. */
struct volume_token {
    uint32_t value;
    char owner[BD_ATTR_VALUE_BYTES_MAX + 1]; /* machine, boot, lock, host name */
    /* Seen of the store: it honours if_none_match "*" and if_match of a PUT. */
    bool has_if_absent, has_if_match;
    bool was_taken_over; /* from a dead daemon, of which the store may still carry out writes */
};

/* Put the token, which needs of the layout the prefix only.  Refused with -EBUSY when another one is there, unless it is a stale one of this machine
 * (`lock_id` names the local lock, which the caller holds) or `is_forced`. */
int volume_token_take(struct backend *backend, const struct layout *layout, const char *lock_id,
                      bool is_forced, struct volume_token *token, struct error *why);
/* Remove it, if it is still ours. */
int volume_token_drop(struct backend *backend, const struct layout *layout,
                      const struct volume_token *token, struct error *why);
/* Remove whatever token is there. */
int volume_token_reset(struct backend *backend, const struct layout *layout, struct error *why);

#endif
