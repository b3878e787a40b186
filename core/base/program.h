/* SPDX-License-Identifier: Apache-2.0 */
/* What the program was called with: its name, for as s3backer it speaks as that one does, and its standard streams. */
#ifndef BASE_PROGRAM_H
#define BASE_PROGRAM_H

#include <stdbool.h>

/* Before the first thread.  `called` as argv[0]; NULL: not known. */
void program_set_name(const char *called);
/* "bucketdisk" or "s3backer": the first word of messages. */
const char *program_name(void);
bool program_is_s3backer(void);

/* Before anything is opened: what is opened gets the number of no standard stream.  Reading from one that was closed finds
 * nothing, and writing to it fails as before. */
void program_keep_streams(void);

#endif
