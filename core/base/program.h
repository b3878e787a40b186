/* SPDX-License-Identifier: Apache-2.0 */
/* The name that the program was called by: as s3backer it speaks as that one does. */
#ifndef BASE_PROGRAM_H
#define BASE_PROGRAM_H

#include <stdbool.h>

/* Before the first thread.  `called` as argv[0]; NULL: not known. */
void program_set_name(const char *called);
/* "bucketdisk" or "s3backer": the first word of messages. */
const char *program_name(void);
bool program_is_s3backer(void);

#endif
