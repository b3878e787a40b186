/* SPDX-License-Identifier: Apache-2.0 */
/* The proxies that the environment names for libcurl. */
#ifndef S3_PROXY_H
#define S3_PROXY_H

#include <stdbool.h>

/* May libcurl find one? */
bool proxy_is_set(void);
/* What libcurl says, in place: it repeats the values as they are, also when it cannot read them, and cuts them off
 * where its text ends.  Who is named in them, and in all other URLs, becomes stars. */
void proxy_mask(char *text);

#endif
