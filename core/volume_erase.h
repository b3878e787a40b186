/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a volume: what stands in the store while its blocks are deleted, so that what is left at any time is told from a volume.
 * Under the token; these functions wait for the store.
 *
 *   begin   first it is tried whether anything may be deleted; then the mark (manifest.h) is in the description's place: from here
 *           on every mount is refused
 *           ... the blocks are deleted ...
 *   end     what keeps s3backer off goes, and then the mark */
#ifndef CORE_VOLUME_ERASE_H
#define CORE_VOLUME_ERASE_H

#include "backend.h"
#include "base/error.h"
#include "layout.h"

#include <stdint.h>

/* When begin fails and *unknown_at_ns is 0, nothing is changed.  *unknown_at_ns is set when something got no answer, and may still be carried out: the token is kept until that is settled.
 * Of the layout they need the prefix, is_format_2 and is_hashed. */
int volume_erase_begin(struct backend *backend, const struct layout *layout,
                       uint64_t *unknown_at_ns, struct error *why);
int volume_erase_end(struct backend *backend, const struct layout *layout, uint64_t *unknown_at_ns,
                     struct error *why);

#endif
