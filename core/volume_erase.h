/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a volume: what stands in the store while its blocks are deleted, so that what is left at any time is told from a volume.
 * Under the token; these functions wait for the store.
 *
 *   begin   first it is tried whether anything may be deleted; then the mark (manifest.h) is in the description's place: from here
 *           on every mount is refused
 *           ... the blocks are deleted ...
 *   end     what keeps s3backer off goes, and then the mark
 *
 * Nothing is sent but while the lease is held: what comes later would meet the volume of somebody who has taken over. */
#ifndef CORE_VOLUME_ERASE_H
#define CORE_VOLUME_ERASE_H

#include "backend.h"
#include "base/error.h"
#include "layout.h"
#include "lease.h"

#include <stdbool.h>
#include <stdint.h>

struct volume_erase {
    struct backend *backend;
    const struct layout *layout;    /* prefix, is_format_2 and is_hashed of it */
    struct lease *lease;            /* NULL: the store honours no conditions, and none is sent */
    bool is_there;                  /* the description, when it was read under the token */
    char tag[BD_TAG_BYTES_MAX + 1]; /* of that, and from begin on of the mark; "" if none came */
    /* Set when something got no answer, and may still be carried out: the token is kept until that is settled. */
    uint64_t unknown_at_ns;
};

/* When begin fails and unknown_at_ns is 0, nothing is changed.
 * -EROFS of either: somebody else may have the volume, or has changed it. */
int volume_erase_begin(struct volume_erase *erase, struct error *why);
int volume_erase_end(struct volume_erase *erase, struct error *why);

#endif
