/* SPDX-License-Identifier: Apache-2.0 */
/* Format 2 in the store: the manifest, and what keeps s3backer off the volume.  At the start and in commands only:
 * these functions wait for the store. */
#ifndef CORE_VOLUME_MANIFEST_H
#define CORE_VOLUME_MANIFEST_H

#include "backend.h"
#include "base/error.h"
#include "layout.h"
#include "manifest.h"
#include "volume.h"

/* The manifest with the tag of its object. */
struct stored_manifest {
    bool is_there;
    bool is_erased;           /* it says that the volume is being erased, or was in part */
    struct manifest manifest; /* end it with manifest_clear, whatever is_there says */
    char tag[BD_TAG_BYTES_MAX + 1];
    uint64_t unknown_at_ns; /* a put got no answer by then, and may still be carried out; 0: none */
};

/* Replaces *stored.  Of the layout it needs the prefix alone.  -EBADMSG: damaged.  -EIDRM: the volume is being erased, or was in part;
 * the manifest says what it was. */
int volume_manifest_read(struct backend *backend, const struct layout *layout,
                         struct stored_manifest *stored, struct error *why);

/* Put the manifest over the one that was read, or where none was, in one step that a crash cannot halve; conditions
 * see to it that nobody else's change is lost, where the store honours them.  -EBUSY: somebody changed it meanwhile.
 * Sets stored->unknown_at_ns, also when it fails: whoever holds the token keeps it until that is settled. */
int volume_manifest_write(struct backend *backend, const struct layout *layout,
                          struct stored_manifest *stored, struct error *why);

/* Which lock the volume has, also one that is being erased: is_format_2 of a layout that has a prefix.  Replaces *stored. */
int volume_lock_format(struct backend *backend, struct layout *layout,
                       struct stored_manifest *stored, struct error *why);

/* Sizes and names of a volume of format 2, held against what the user says. */
int volume_manifest_layout(const struct manifest *manifest, const struct volume_wish *wish,
                           struct layout *layout, struct error *why);

/* s3backer must never mount it: its mount token is there for as long as the volume is.  -EBUSY: a token of
 * somebody else is there. */
int volume_fence_s3backer(struct backend *backend, const struct layout *layout, struct error *why);
/* Remove a token of somebody else from there; ours stays. */
int volume_reset_fence(struct backend *backend, const struct layout *layout, uint64_t settle_ms,
                       struct error *why);

#endif
