/* SPDX-License-Identifier: Apache-2.0 */
/* The cache's stand-in when there is none: turns parts of blocks into whole ones.
 *
 * A partial write reads the block, changes it and writes it, in one piece under the block's order, so
 * that neither another write nor a zero of the block can come between.  Buffers are bounded:
 * what does not fit waits for its turn.  Any thread. */
#ifndef CORE_WHOLE_H
#define CORE_WHOLE_H

#include "store.h"

/* `buffer_bytes_max` bounds the blocks held in memory; one block is always allowed. */
int whole_new(struct store *next, uint32_t block_bytes, uint64_t buffer_bytes_max,
              struct store **out);
void whole_free(struct store *store); /* nothing in flight */

#endif
