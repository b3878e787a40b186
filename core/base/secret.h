/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for keys and passphrases: locked where the limits allow, left out of core dumps, wiped when freed.
 * And random bytes to make them of.  Any thread. */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include <stddef.h>

/* No core dump and no debugger of another user's for this process: libraries keep keys in memory of their own.  First
 * of all. */
void secret_protect_process(void);

/* Zeroed.  NULL when out of memory. */
void *secret_alloc(size_t bytes);
/* NULL is allowed. */
void secret_free(void *secret);

/* Cryptographically strong.  Ends the process if the kernel has none: a key or nonce that is not random is worse
 * than no daemon. */
void random_fill(void *out, size_t bytes);

#endif
