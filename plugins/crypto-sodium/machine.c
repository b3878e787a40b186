/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory there is: /proc/meminfo, and the control groups around this process.
 *
 * A group has free what its limit leaves beside what it uses; the page cache in that is no use of
 * memory, since the kernel gives it up before the group is at its limit. */
#include "machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PATH_BYTES 4400

/* Where the two versions of control groups keep the same things. */
struct version {
    const char *directory;
    const char *limit;
    const char *usage;
    const char *active_file; /* in memory.stat, groups below included */
    const char *inactive_file;
};

static const struct version v2 = { "/sys/fs/cgroup", "memory.max", "memory.current", "active_file",
                                   "inactive_file" };
static const struct version v1 = { "/sys/fs/cgroup/memory", "memory.limit_in_bytes",
                                   "memory.usage_in_bytes", "total_active_file",
                                   "total_inactive_file" };

static FILE *
open_file(const char *root, const char *directory, const char *group, const char *file)
{
    char path[PATH_BYTES];
    int len = snprintf(path, sizeof path, "%s%s%s/%s", root, directory, group, file);

    return len < (int)sizeof path ? fopen(path, "re") : NULL;
}

/* The number in a file, or the one behind `key` in a file of lines; `otherwise` if there is none. */
static uint64_t
number_in(FILE *stream, const char *key, uint64_t otherwise)
{
    uint64_t number = otherwise, found;
    char line[256];

    if (stream == NULL)
        return otherwise;
    while (number == otherwise && fgets(line, sizeof line, stream) != NULL) {
        size_t len = strlen(key);

        if (strncmp(line, key, len) == 0 && sscanf(line + len, " %" SCNu64, &found) == 1)
            number = found;
    }
    fclose(stream);
    return number;
}

static uint64_t
meminfo(const char *root, const char *key)
{
    uint64_t kib = number_in(open_file(root, "/proc", "", "meminfo"), key, UINT64_MAX);

    return kib > UINT64_MAX / 1024 ? UINT64_MAX : kib * 1024;
}

static void
lower(uint64_t *least, uint64_t value)
{
    if (value < *least)
        *least = value;
}

static void
group_look(const char *root, const struct version *version, const char *group, struct machine *out)
{
    const char *directory = version->directory;
    /* "max" is no number; for version 1 no limit is a very large one. */
    uint64_t limit = number_in(open_file(root, directory, group, version->limit), "", UINT64_MAX);
    uint64_t used, cached;

    if (limit == UINT64_MAX)
        return;
    used = number_in(open_file(root, directory, group, version->usage), "", 0);
    cached =
        number_in(open_file(root, directory, group, "memory.stat"), version->active_file, 0)
        + number_in(open_file(root, directory, group, "memory.stat"), version->inactive_file, 0);
    used -= cached < used ? cached : used;
    lower(&out->memory_bytes, limit);
    lower(&out->available_bytes, limit > used ? limit - used : 0);
}

/* The group and all around it. */
static void
groups_look(const char *root, const struct version *version, char *group, struct machine *out)
{
    for (;;) {
        char *slash = strrchr(group, '/');

        group_look(root, version, group, out);
        if (slash == NULL)
            return;
        *slash = '\0';
    }
}

void
machine_look(const char *root, struct machine *out)
{
    FILE *groups = open_file(root, "/proc/self", "", "cgroup");
    char line[PATH_BYTES];

    out->memory_bytes = meminfo(root, "MemTotal:");
    out->available_bytes = meminfo(root, "MemAvailable:");
    if (groups == NULL)
        return;
    /* Lines are NUMBER:CONTROLLERS:PATH; version 2 has number 0 and no controllers. */
    while (fgets(line, sizeof line, groups) != NULL) {
        char *controllers = strchr(line, ':');
        char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;

        if (group == NULL)
            continue;
        *group++ = '\0';
        group[strcspn(group, "\n")] = '\0';
        if (controllers[1] == '\0')
            groups_look(root, &v2, group, out);
        else if (strcmp(controllers + 1, "memory") == 0)
            groups_look(root, &v1, group, out);
    }
    fclose(groups);
}
