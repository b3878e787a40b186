/* SPDX-License-Identifier: Apache-2.0 */
/* What `up` has put on a directory, and how it is taken down again. */
#include "updown.h"

#include "filesystem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PLACES LOCALLOCK_UP /* the locks' directory is there from updown_take on */
#define PLACE_TRIES 10
#define MOMENT_NS (20 * 1000 * 1000)
#define UMOUNT_MOMENTS                                                                             \
    250 /* the kernel closes the file of a loop device a little after it has detached it */

int
updown_take(const char *directory, struct locallock **out, struct error *why)
{
    char identity[PATH_MAX + 8];

    snprintf(identity, sizeof identity, "up:%s", directory);
    return locallock_take(identity, directory, why, out);
}

/* A daemon that lives has its volume's lock, unless it only reads. */
static bool
is_dead(const struct mountinfo *disk)
{
    int lock = locallock_find(disk->device, disk->mountpoint);
    struct stat st;

    if (lock == -1)
        return stat(disk->mountpoint, &st) != 0 && (errno == ENOTCONN || errno == ECONNABORTED);
    close(lock);
    return false;
}

static bool
is_ending(const char *place)
{
    int lock = locallock_find(NULL, place);

    if (lock != -1)
        close(lock);
    return lock != -1;
}

void
updown_find(const char *directory, struct updown *out)
{
    char name[LOCALLOCK_NAME_BYTES];
    struct mountinfo top;

    *out = (struct updown){ .has_disk = false };
    locallock_name(directory, name);
    snprintf(out->directory, sizeof out->directory, "%s", directory);
    snprintf(out->place, sizeof out->place, PLACES "/%s", name);
    out->has_disk = mountinfo_at(out->place, &out->disk);
    out->is_dead = out->has_disk && is_dead(&out->disk);
    out->is_ending = !out->has_disk && is_ending(out->place);
    out->has_loop = loop_find_below(out->place, out->device);
    if (!mountinfo_at(directory, &top))
        return;
    /* The disk was detached by force: the device has no file that could be named, and the place is all that is left. */
    if (!out->has_disk && !out->has_loop && access(out->place, F_OK) == 0
        && loop_has_lost_file(top.source)) {
        out->is_mounted = out->is_dead = true;
        return;
    }
    out->is_mounted = out->has_loop && strcmp(top.source, out->device) == 0;
    out->is_covered =
        !out->is_mounted && out->has_loop && mountinfo_has_source_at(out->device, directory);
}

void
updown_look_again(struct updown *updown)
{
    char directory[PATH_MAX];

    strcpy(directory, updown->directory);
    updown_find(directory, updown);
}

bool
updown_is_anything(const struct updown *updown)
{
    return updown->has_disk || updown->has_loop || updown->is_mounted || updown->is_ending;
}

int
updown_make_place(const struct updown *updown, struct error *why)
{
    /* Whoever was the last one elsewhere may just remove what is above it. */
    for (int i = 0; i < PLACE_TRIES; i++) {
        if ((mkdir(PLACES, 0700) == 0 || errno == EEXIST)
            && (mkdir(updown->place, 0700) == 0 || errno == EEXIST))
            return 0;
        if (errno != ENOENT)
            break;
    }
    return error_set(why, -errno, "cannot make the directory %s: %s", updown->place,
                     strerror(errno));
}

static void
note_path(const struct updown *updown, char out[PATH_MAX + 8])
{
    snprintf(out, PATH_MAX + 8, "%s.volume", updown->place);
}

int
updown_note_volume(const struct updown *updown, const char *identity, struct error *why)
{
    char path[PATH_MAX + 8];

    note_path(updown, path);
    if ((unlink(path) == 0 || errno == ENOENT) && symlink(identity, path) == 0)
        return 0;
    return error_set(why, -errno, "cannot make %s: %s", path, strerror(errno));
}

enum updown_volume
updown_compare_volume(const struct updown *updown, const char *identity)
{
    char path[PATH_MAX + 8], noted[PATH_MAX];
    ssize_t len;

    note_path(updown, path);
    len = readlink(path, noted, sizeof noted - 1);
    if (len == -1)
        return UPDOWN_UNKNOWN;
    noted[len] = '\0';
    return strcmp(noted, identity) == 0 ? UPDOWN_SAME : UPDOWN_ANOTHER;
}

void
updown_remove_place(const struct updown *updown)
{
    char path[PATH_MAX + 8];

    note_path(updown, path);
    unlink(path);
    rmdir(updown->place);
    rmdir(PLACES);
}

static int
end_loop(const struct updown *updown, struct error *why)
{
    struct mountinfo other;
    int rc;

    if (mountinfo_of_source(updown->device, &other))
        return error_set(why, -EBUSY, "%s is still mounted on %s; unmount it there", updown->device,
                         other.mountpoint);
    rc = loop_detach_below(updown->place, updown->device);
    return rc == 0 ? 0
                   : error_set(why, rc, "%s is in use (fuser -v %s tells by whom)", updown->device,
                               updown->device);
}

/* It unmounts itself, too, when nobody has its file any more. */
static int
end_disk(const struct updown *updown, struct error *why)
{
    const struct timespec moment = { 0, MOMENT_NS };
    char holders[300];
    int rc = mountpoint_umount(updown->place, false);

    for (int i = 0; rc == -EBUSY && i < UMOUNT_MOMENTS; i++) {
        nanosleep(&moment, NULL);
        rc = mountpoint_umount(updown->place, false);
    }
    if (rc == 0 || rc == -EINVAL || rc == -ENOENT)
        return 0;
    mountpoint_holders(updown->place, holders, sizeof holders);
    return error_set(why, rc, "the disk on %s cannot be unmounted: %s%s%s", updown->place,
                     strerror(-rc), holders[0] != '\0' ? ", used by " : "", holders);
}

int
updown_end(const struct updown *updown, struct error *why)
{
    int lock = locallock_find(updown->has_disk ? updown->disk.device : NULL, updown->place);
    int rc = 0;

    if (updown->is_covered)
        rc = error_set(why, -EBUSY, "something else is mounted on %s, over it; unmount that first",
                       updown->directory);
    if (rc == 0 && updown->is_mounted)
        rc = filesystem_umount(updown->directory, false, why);
    if (rc == 0 && updown->has_loop)
        rc = end_loop(updown, why);
    if (rc == 0 && updown->has_disk)
        rc = end_disk(updown, why);
    if (rc != 0 || lock == -1) {
        if (lock != -1)
            close(lock);
    } else {
        rc = locallock_wait(lock, why);
    }
    if (rc == 0)
        updown_remove_place(updown);
    if (rc == 0 && updown->is_dead)
        rc = error_set(why, -EIO,
                       "the disk's daemon had died or was detached by force, so what was not "
                       "synced may be lost; the next up repairs what the filesystem's journal can");
    return rc;
}
