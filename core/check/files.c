/* SPDX-License-Identifier: Apache-2.0 */
/* File descriptors of a check: those that this process has. */
#include "impl.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void
check_files_see(struct files_seen *out)
{
    DIR *dir = opendir("/proc/self/fd");
    const struct dirent *entry;

    memset(out, 0, sizeof *out);
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        const int file = atoi(entry->d_name);

        if (entry->d_name[0] != '.' && file != dirfd(dir) && file < FILES_SEEN_MAX)
            out->is_open[file] = true;
    }
    if (dir != NULL)
        closedir(dir);
}

unsigned
check_files_new(const struct files_seen *before, char one[200])
{
    struct files_seen now;
    unsigned count = 0;

    check_files_see(&now);
    for (int file = 0; file < FILES_SEEN_MAX; file++) {
        char link[64];
        ssize_t len;

        if (!now.is_open[file] || before->is_open[file])
            continue;
        snprintf(link, sizeof link, "/proc/self/fd/%d", file);
        len = readlink(link, one, 199);
        one[len > 0 ? len : 0] = '\0';
        count++;
    }
    return count;
}
