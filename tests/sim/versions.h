/* SPDX-License-Identifier: Apache-2.0 */
/* Versions of blocks as whoever keeps copies of them remembers them: told at some time, by this life of the daemon or
 * an earlier one, and asked for long after.
 *
 * A version that the store is said to still hold must be there, bit for bit, and nothing else may come by itself. */
#ifndef SIM_VERSIONS_H
#define SIM_VERSIONS_H

#include "store.h"

void versions_new(uint64_t block_count, uint32_t block_bytes);
void versions_free(void);

/* It was told with this content.  Chance decides whether it takes the place of what is remembered. */
void versions_note(uint64_t block, const struct store_version *version, const void *data);
/* Chance decides whether it is time to ask for what is remembered of the block; gives it. */
bool versions_pick(uint64_t block, struct store_version *out);
/* It was asked for, and nobody else is at the block.  Fails the run if that is wrong. */
void versions_answer(const struct store_req *check);

uint64_t versions_asked(void), versions_same(void); /* since the beginning of the program */

#endif
