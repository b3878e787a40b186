/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory this process may use. */
#include "memory.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define KEPT_BYTES (32 << 20)

void
memory_keep_freed(void)
{
    mallopt(M_MMAP_THRESHOLD, KEPT_BYTES);
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
}

/* UINT64_MAX: there is no such limit. */
static uint64_t
read_limit(const char *directory, const char *group, const char *file)
{
    char path[4300];
    uint64_t limit = UINT64_MAX;
    FILE *stream;

    snprintf(path, sizeof path, "%s%s/%s", directory, group, file);
    stream = fopen(path, "re");
    if (stream == NULL)
        return limit;
    if (fscanf(stream, "%" SCNu64, &limit) != 1) /* "max" */
        limit = UINT64_MAX;
    fclose(stream);
    return limit;
}

/* The least limit of the group and all around it. */
static uint64_t
least_limit(const char *directory, char *group, const char *file)
{
    uint64_t least = UINT64_MAX;

    for (;;) {
        uint64_t limit = read_limit(directory, group, file);
        char *slash = strrchr(group, '/');

        if (limit < least)
            least = limit;
        if (slash == NULL)
            return least;
        *slash = '\0';
    }
}

uint64_t
memory_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    uint64_t least = pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : 0;
    FILE *groups = fopen("/proc/self/cgroup", "re");
    char line[4200];

    if (groups == NULL)
        return least;
    /* Lines are NUMBER:CONTROLLERS:PATH; version 2 has number 0 and no controllers. */
    while (fgets(line, sizeof line, groups) != NULL) {
        char *controllers = strchr(line, ':');
        char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        uint64_t limit = UINT64_MAX;

        if (group == NULL)
            continue;
        *group++ = '\0';
        group[strcspn(group, "\n")] = '\0';
        if (controllers[1] == '\0')
            limit = least_limit("/sys/fs/cgroup", group, "memory.max");
        else if (strcmp(controllers + 1, "memory") == 0)
            limit = least_limit("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes");
        if (limit < least)
            least = limit;
    }
    fclose(groups);
    return least;
}
