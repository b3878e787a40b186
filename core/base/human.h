/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers for people to read at a glance.  Pure. */
#ifndef BASE_HUMAN_H
#define BASE_HUMAN_H

#include <stdint.h>

#define HUMAN_BYTES 16 /* of either text, its NUL included */

/* "512 B", "77.1 MiB": three digits, cut and not rounded up, so that nothing is said to be more than it is. */
void human_bytes(uint64_t bytes, char out[HUMAN_BYTES]);
/* "0:05", "1:02:03", "3 days". */
void human_duration(uint64_t seconds, char out[HUMAN_BYTES]);
/* What stands behind the number: "block is", "blocks are". */
const char *human_form(uint64_t count, const char *one, const char *many);

#endif
