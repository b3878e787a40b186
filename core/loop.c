/* SPDX-License-Identifier: Apache-2.0 */
/* Loop devices. */
#include "loop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define ATTACH_TRIES 64 /* another one may be faster to take what is free */
#define MOMENT_NS (20 * 1000 * 1000)
#define DETACH_MOMENTS 250

/* What the kernel says of the file behind it; false: there is none. */
static bool
backing_file(const char *name, char out[PATH_MAX])
{
    char path[PATH_MAX];
    FILE *file;
    bool is_there;

    snprintf(path, sizeof path, "/sys/block/%s/loop/backing_file", name);
    file = fopen(path, "re");
    if (file == NULL)
        return false;
    is_there = fgets(out, PATH_MAX, file) != NULL;
    fclose(file);
    if (is_there)
        out[strcspn(out, "\n")] = '\0';
    return is_there;
}

static bool
is_in(const char *path, const char *directory)
{
    size_t len = strlen(directory);

    return strncmp(path, directory, len) == 0 && path[len] == '/';
}

static const char *
name_of(const char *device)
{
    return strncmp(device, "/dev/loop", 9) == 0 ? device + 5 : "";
}

static int
attach_to(int number, int file, bool is_read_only, struct loop *out)
{
    const struct loop_config config = {
        .fd = (__u32)file,
        .info = { .lo_flags = LO_FLAGS_DIRECT_IO | LO_FLAGS_AUTOCLEAR
                              | (is_read_only ? LO_FLAGS_READ_ONLY : 0u) },
    };

    snprintf(out->device, sizeof out->device, "/dev/loop%d", number);
    out->fd = open(out->device, (is_read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (out->fd == -1)
        return -errno;
    if (ioctl(out->fd, LOOP_CONFIGURE, &config) == 0)
        return 0;
    number = errno;
    close(out->fd);
    out->fd = -1;
    return -number;
}

int
loop_attach(int file, bool is_read_only, struct loop *out, struct error *why)
{
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    int rc = -EBUSY;

    out->fd = -1;
    if (control == -1)
        return error_set(why, -errno, "there are no loop devices here (/dev/loop-control: %s)",
                         strerror(errno));
    for (int i = 0; i < ATTACH_TRIES && rc == -EBUSY; i++) {
        int number = ioctl(control, LOOP_CTL_GET_FREE);

        rc = number >= 0 ? attach_to(number, file, is_read_only, out) : -errno;
    }
    close(control);
    if (rc != 0)
        return error_set(why, rc, "cannot attach a loop device with direct I/O: %s", strerror(-rc));
    return 0;
}

bool
loop_find_below(const char *directory, char device[LOOP_DEVICE_BYTES])
{
    DIR *dir = opendir("/sys/block");
    const struct dirent *entry;
    char path[PATH_MAX];
    bool is_found = false;

    while (!is_found && dir != NULL && (entry = readdir(dir)) != NULL) {
        is_found = strncmp(entry->d_name, "loop", 4) == 0 && backing_file(entry->d_name, path)
                   && is_in(path, directory);
        if (is_found)
            snprintf(device, LOOP_DEVICE_BYTES, "/dev/%.20s", entry->d_name);
    }
    if (dir != NULL)
        closedir(dir);
    return is_found;
}

/* Below a mount that is nowhere any more, the path is what is left of it: "/file". */
bool
loop_has_lost_file(const char *device)
{
    char path[PATH_MAX];

    return backing_file(name_of(device), path) && strrchr(path, '/') == path
           && access(path, F_OK) != 0;
}

int
loop_detach_below(const char *directory, const char *device)
{
    const struct timespec moment = { 0, MOMENT_NS };
    char path[PATH_MAX];
    int fd = open(device, O_RDONLY | O_CLOEXEC);

    /* While it is open here, nobody can free it and attach it to something else. */
    if (fd != -1) {
        if (backing_file(name_of(device), path) && is_in(path, directory))
            ioctl(fd, LOOP_CLR_FD);
        close(fd);
    }
    for (int i = 0; backing_file(name_of(device), path) && is_in(path, directory); i++) {
        if (i == DETACH_MOMENTS)
            return -EBUSY;
        nanosleep(&moment, NULL);
    }
    return 0;
}
