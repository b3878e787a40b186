/* SPDX-License-Identifier: Apache-2.0 */
/* What is mounted where. */
#include "mountinfo.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* mountinfo writes space, tab, newline and backslash as \ooo. */
static void
unescape(char *text)
{
    char *out = text;

    while (*text != '\0') {
        if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] >= '0' && text[2] <= '7'
            && text[3] >= '0' && text[3] <= '7') {
            *out++ = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 | (text[3] - '0'));
            text += 4;
        } else {
            *out++ = *text++;
        }
    }
    *out = '\0';
}

/* Calls `each` for every line until it returns true. */
static bool
scan(pid_t pid, bool (*each)(const struct mountinfo *info, void *arg), void *arg)
{
    char path[64], *line = NULL;
    struct mountinfo info;
    size_t room = 0;
    bool is_found = false;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%ld/mountinfo", (long)pid);
    file = fopen(path, "re");
    if (file == NULL)
        return false;
    while (!is_found && getline(&line, &room, file) != -1) {
        const char *dash = strstr(line, " - ");

        if (dash == NULL || sscanf(dash, " - %63s %255s", info.type, info.source) != 2
            || sscanf(line, "%*d %*d %31s %*s %4095s", info.device, info.mountpoint) != 2)
            continue;
        unescape(info.mountpoint);
        unescape(info.source);
        is_found = each(&info, arg);
    }
    free(line);
    fclose(file);
    return is_found;
}

struct at_path {
    const char *path;
    struct mountinfo *out;
    bool is_found;
};

static bool
keep_last_at(const struct mountinfo *info, void *arg)
{
    struct at_path *at = arg;

    if (strcmp(info->mountpoint, at->path) == 0) {
        *at->out = *info;
        at->is_found = true;
    }
    return false;
}

bool
mountinfo_at(const char *path, struct mountinfo *out)
{
    struct at_path at = { path, out, false };

    scan(getpid(), keep_last_at, &at);
    return at.is_found;
}

struct of_source {
    const char *source, *path; /* NULL: any */
    struct mountinfo *out;
};

static bool
is_of_source(const struct mountinfo *info, void *arg)
{
    const struct of_source *of = arg;

    if (strcmp(info->source, of->source) != 0
        || (of->path != NULL && strcmp(info->mountpoint, of->path) != 0))
        return false;
    if (of->out != NULL)
        *of->out = *info;
    return true;
}

bool
mountinfo_of_source(const char *source, struct mountinfo *out)
{
    struct of_source of = { source, NULL, out };

    return scan(getpid(), is_of_source, &of);
}

bool
mountinfo_has_source_at(const char *source, const char *path)
{
    struct of_source of = { source, path, NULL };

    return scan(getpid(), is_of_source, &of);
}

static bool
is_device(const struct mountinfo *info, void *arg)
{
    return strcmp(info->device, arg) == 0;
}

bool
mountinfo_has_device(pid_t pid, const char *device)
{
    char copy[32];

    snprintf(copy, sizeof copy, "%s", device);
    return scan(pid, is_device, copy);
}

char *
mountpoint_realpath(const char *path)
{
    char *copy = strdup(path), *copy2 = strdup(path), *parent = NULL, *out = NULL;
    const char *last;

    if (copy == NULL || copy2 == NULL)
        goto free_copies;
    last = basename(copy2);
    if (strcmp(last, ".") == 0 || strcmp(last, "..") == 0 || strcmp(last, "/") == 0) {
        out = realpath(path, NULL);
        goto free_copies;
    }
    parent = realpath(dirname(copy), NULL);
    if (parent != NULL
        && asprintf(&out, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, last) == -1)
        out = NULL;
    free(parent);
free_copies:
    free(copy);
    free(copy2);
    return out;
}

bool
path_is_below(const char *path, const char *top)
{
    char *upto = strdup(path), *slash, *real = NULL;
    size_t top_len = strlen(top);
    bool is_below;

    while (upto != NULL && (real = realpath(upto, NULL)) == NULL
           && (slash = strrchr(upto, '/')) != NULL && slash > upto)
        *slash = '\0';
    is_below = real != NULL && strncmp(real, top, top_len) == 0
               && (real[top_len] == '/' || real[top_len] == '\0' || strcmp(top, "/") == 0);
    free(real);
    free(upto);
    return is_below;
}

static int
fusermount(const char *path, bool is_lazy)
{
    const char *argv[7] = { "fusermount3", "-u", "-q" };
    size_t count = 3;
    pid_t child;
    int status;

    if (is_lazy)
        argv[count++] = "-z";
    argv[count++] = "--";
    argv[count] = path;
    /* posix_spawn's argv is not const by history alone. */
    if (posix_spawnp(&child, argv[0], NULL, NULL, (char *const *)(uintptr_t)argv, environ) != 0)
        return -EPERM;
    if (waitpid(child, &status, 0) == -1)
        return -errno;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EBUSY;
}

int
mountpoint_umount(const char *path, bool is_lazy)
{
    if (umount2(path, UMOUNT_NOFOLLOW | (is_lazy ? MNT_DETACH : 0)) == 0)
        return 0;
    if (errno == EPERM && geteuid() != 0)
        return fusermount(path, is_lazy);
    return -errno;
}

static bool
is_below(const char *path, const char *mountpoint)
{
    size_t len = strlen(mountpoint);

    return strncmp(path, mountpoint, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

static void
add_holder(char *out, size_t out_bytes, const char *name)
{
    size_t used = strlen(out);

    if (strstr(out, name) == NULL)
        snprintf(out + used, out_bytes - used, "%s%s", used > 0 ? ", " : "", name);
}

static void
loop_holders(const char *mountpoint, char *out, size_t out_bytes)
{
    DIR *dir = opendir("/sys/block");
    const struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char path[PATH_MAX], file[PATH_MAX] = "", name[300];
        FILE *backing;

        if (strncmp(entry->d_name, "loop", 4) != 0)
            continue;
        snprintf(path, sizeof path, "/sys/block/%s/loop/backing_file", entry->d_name);
        backing = fopen(path, "re");
        if (backing == NULL)
            continue;
        if (fgets(file, sizeof file, backing) != NULL)
            file[strcspn(file, "\n")] = '\0';
        fclose(backing);
        if (is_below(file, mountpoint)) {
            snprintf(name, sizeof name, "/dev/%s", entry->d_name);
            add_holder(out, out_bytes, name);
        }
    }
    if (dir != NULL)
        closedir(dir);
}

static bool
process_holds(const char *pid, const char *mountpoint)
{
    char path[PATH_MAX], target[PATH_MAX];
    const struct dirent *entry;
    bool is_holding = false;
    ssize_t len;
    DIR *dir;

    snprintf(path, sizeof path, "/proc/%s/cwd", pid);
    len = readlink(path, target, sizeof target - 1);
    if (len > 0) {
        target[len] = '\0';
        is_holding = is_below(target, mountpoint);
    }
    snprintf(path, sizeof path, "/proc/%s/fd", pid);
    dir = opendir(path);
    while (!is_holding && dir != NULL && (entry = readdir(dir)) != NULL) {
        len = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);
        if (len > 0) {
            target[len] = '\0';
            is_holding = is_below(target, mountpoint);
        }
    }
    if (dir != NULL)
        closedir(dir);
    return is_holding;
}

static void
process_holders(const char *mountpoint, char *out, size_t out_bytes)
{
    DIR *dir = opendir("/proc");
    const struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char path[PATH_MAX], comm[64] = "", name[128];
        FILE *file;

        if (entry->d_name[0] < '1' || entry->d_name[0] > '9'
            || !process_holds(entry->d_name, mountpoint))
            continue;
        snprintf(path, sizeof path, "/proc/%s/comm", entry->d_name);
        file = fopen(path, "re");
        if (file == NULL)
            continue;
        if (fgets(comm, sizeof comm, file) != NULL)
            comm[strcspn(comm, "\n")] = '\0';
        fclose(file);
        snprintf(name, sizeof name, "%s (%.20s)", comm, entry->d_name);
        add_holder(out, out_bytes, name);
    }
    if (dir != NULL)
        closedir(dir);
}

void
mountpoint_holders(const char *path, char *out, size_t out_bytes)
{
    out[0] = '\0';
    loop_holders(path, out, out_bytes);
    process_holders(path, out, out_bytes);
}
