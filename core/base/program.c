/* SPDX-License-Identifier: Apache-2.0 */
/* The name that the program was called by. */
#include "program.h"

#include <string.h>

static bool is_s3backer;

void
program_set_name(const char *called)
{
    const char *slash = called != NULL ? strrchr(called, '/') : NULL;

    is_s3backer = called != NULL && strcmp(slash != NULL ? slash + 1 : called, "s3backer") == 0;
}

bool
program_is_s3backer(void)
{
    return is_s3backer;
}

const char *
program_name(void)
{
    return is_s3backer ? "s3backer" : "bucketdisk";
}
