/* SPDX-License-Identifier: Apache-2.0 */
/* The mount token: an object beside a volume's blocks that says who has it mounted.
 *
 * It is s3backer's "s3backer-mounted", and owner is a word of ours beside it; in format 2 an object of its own name.
 * At start and stop only: these functions wait for the store.  Of the layout they need the prefix and is_format_2. */
#ifndef CORE_TOKEN_H
#define CORE_TOKEN_H

#include "backend.h"
#include "base/error.h"
#include "layout.h"

#include <stdbool.h>

#define TOKEN_OBJECT "s3backer-mounted"
#define TOKEN_LOCK_OBJECT "bucketdisk-lock" /* in format 2, where the other one is there for good */
#define ATTR_TOKEN "s3backer-mount-token"
#define ATTR_OWNER "bucketdisk-owner"
/* The owner of the TOKEN_OBJECT that a volume of format 2 has for good, to keep s3backer off. */
#define TOKEN_FENCE_OWNER "bucketdisk volume of format 2"

/* The mount token of this process. */
struct token {
    uint32_t value;
    char owner[BD_ATTR_VALUE_BYTES_MAX + 1]; /* machine, boot, lock, host name */
    bool is_format_2;                        /* which object it is */
    /* Seen of the store: it honours if_none_match "*" and if_match of a PUT. */
    bool has_if_absent, has_if_match;
    bool was_taken_over; /* from a dead daemon, of which the store may still carry out writes */
};

/* Put the token.  Refused with -EBUSY when another one is there, unless it is a stale one of this machine (`lock_id`
 * names the local lock, which the caller holds) or `is_forced`. */
int token_take(struct backend *backend, const struct layout *layout, const char *lock_id,
               bool is_forced, struct token *token, struct error *why);
/* Remove it, if it is still ours.  Of the layout it needs the prefix alone. */
int token_drop(struct backend *backend, const struct layout *layout, const struct token *token,
               struct error *why);
/* Remove whatever token is there. */
int token_reset(struct backend *backend, const struct layout *layout, struct error *why);

#endif
