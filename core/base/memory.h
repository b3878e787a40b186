/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory this process may use. */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stdint.h>

/* Bytes of the machine, or of the smallest control group (version 1 or 2) around us if that is less. */
uint64_t memory_bytes(void);

/* From now on what is freed stays with the process, up to a few buffers: given back to the system and taken again, each would cost
 * page faults. */
void memory_keep_freed(void);

#endif
