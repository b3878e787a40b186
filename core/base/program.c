/* SPDX-License-Identifier: Apache-2.0 */
/* What the program was called with. */
#include "program.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

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

/* Not O_CLOEXEC: programs that are started are kept from it, too. */
void
program_keep_streams(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDONLY);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd != -1)
        close(fd);
}
