/* SPDX-License-Identifier: Apache-2.0 */
/* The lock object of a volume, and what it says.  Pure.
 *
 * It is s3backer's "s3backer-mounted", with s3backer's one attribute, and owner and lease are words of ours beside that;
 * in format 2 an object of its own name.  All of it is in the body, too: some stores make their tags of the body alone,
 * and no two versions of a lock may have the same tag.
 *
 * The lease is there from the first beat on.  A lock without one (s3backer's, or in a store that does not honour
 * conditions) says nothing about whether its owner lives. */
#ifndef CORE_LOCK_H
#define CORE_LOCK_H

#include "backend.h"
#include "layout.h"

#include <stdbool.h>
#include <stdint.h>

#define TOKEN_OBJECT "s3backer-mounted"
#define TOKEN_LOCK_OBJECT "bucketdisk-lock" /* in format 2, where the other one is there for good */
/* The owner of that other one, which keeps s3backer off and is nobody's lock. */
#define TOKEN_FENCE_OWNER "bucketdisk volume of format 2"
#define ATTR_TOKEN "s3backer-mount-token"
#define ATTR_OWNER "bucketdisk-owner"
#define ATTR_LEASE "bucketdisk-lease"
#define ATTR_DURABILITY "bucketdisk-durability"
#define ATTR_HOLD "bucketdisk-hold"

/* s3backer's value for a volume that several have mounted at once (--shared-disk-mode): the same for all of them, and nobody's
 * to remove.  Such a lock has no owner and no lease. */
#define TOKEN_SHARED 0x7fffffffu

/* More than this is none of ours. */
#define LEASE_MS_MAX (24ull * 3600 * 1000)
#define HOLD_MS_MAX (2 * LEASE_MS_MAX)

/* Of a writer that lives: rewritten every third of `lease_ms`, with another beat. */
struct lock_lease {
    uint64_t beat; /* from 1 on; 0: there is no lease */
    /* of the volume in format 2; else how often the lock was taken from a dead owner, and 1 */
    uint64_t epoch;
    uint64_t lease_ms;  /* without confirmation for so long, the owner has nothing on its way */
    uint64_t settle_ms; /* and so much later the store has carried everything out */
    uint64_t at_s;      /* of the last beat, by the owner's clock of the day */
};

struct lock {
    bool is_there;
    uint32_t value; /* s3backer's token */
    char
        owner[BD_ATTR_VALUE_BYTES_MAX
              + 1]; /* machine, boot, local lock, host name; "" for s3backer, and if it is shared */
    struct lock_lease lease;
    bool is_local; /* what its owner acknowledged may be in its cache file alone */
    /* from this put on, so long what owners before this one sent may still be carried out; 0: nothing */
    uint64_t hold_ms;
    char tag[BD_TAG_BYTES_MAX + 1]; /* of the object; "" when none came */
};

/* Of the layout it needs the prefix and is_format_2. */
void lock_name(const struct layout *layout, object_name name);
/* What a HEAD that was answered with BD_OK found. */
void lock_parse(const struct backend_io *io, struct lock *out);
/* Is it the same mount's, whatever its beat? */
bool lock_is_of(const struct lock *lock, uint32_t value, const char *owner);
/* The very same version? */
bool lock_is_same(const struct lock *a, const struct lock *b);
bool lock_is_shared(const struct lock *lock);
bool lock_is_fence(const struct lock *lock);
/* The last word of the owner; NULL when it does not say. */
const char *lock_host(const struct lock *lock);

/* What a PUT borrows until it is done. */
struct lock_text {
    char body[640];
    struct attrs attrs;
};

/* Make `io` a PUT of the lock, but for its name and conditions.  `when` is that of the mount.  0 or -ENOMEM; then
 * attrs_clear(&text->attrs), in both cases. */
int lock_put(struct backend_io *io, const struct lock *lock, const char *when,
             struct lock_text *text);

/* "20261121T134914Z", as s3backer writes it. */
#define LOCK_WHEN_BYTES 32
void lock_now(char when[LOCK_WHEN_BYTES]);

#endif
