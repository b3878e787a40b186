/* SPDX-License-Identifier: Apache-2.0 */
/* bucketdisk umount, and umount.fuse.bucketdisk for umount(8): unmount, and wait until everything is stored. */
#include "cmd.h"

#include "base/log.h"
#include "filesystem.h"
#include "locallock.h"
#include "mountinfo.h"
#include "updown.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOLDERS_BYTES 400

static int
usage(const char *word)
{
    if (word != NULL)
        log_line(BD_ERROR,
                 "umount: %s makes no sense here; it takes a mount point, and -l to detach one "
                 "that is in use",
                 word);
    else
        log_line(BD_ERROR, "umount: which mount point? usage: bucketdisk umount [-l] MOUNTPOINT");
    return EXIT_FAILED;
}

static int
help(void)
{
    printf("usage: bucketdisk umount [-l] MOUNTPOINT\n"
           "\n"
           "Unmounts a disk, or what \"bucketdisk up\" has mounted, and returns when\n"
           "everything is stored.  If it is in use it says by whom.\n"
           "\n"
           "-l, --lazy: detach it all the same.  Of a disk that is in use it says by whom,\n"
           "and waits until that ends and everything is stored; of what \"up\" has mounted\n"
           "it says so and does not wait: \"bucketdisk down\" tells whether it is done.\n"
           "\n"
           "Exit status 0: everything is stored, or is when nobody uses any more what \"up\"\n"
           "had mounted.  1: it is not, or nothing was unmounted.\n");
    return EXIT_DONE;
}

/* As umount(8) -l, which sends people here, it does not wait for who uses it. */
static int
detach_filesystem(const char *word, const char *path, struct error *why)
{
    char holders[HOLDERS_BYTES];
    int rc;

    mountpoint_holders(path, holders, sizeof holders); /* who cannot be found afterwards */
    rc = filesystem_umount(path, true, why);
    if (rc == 0 && holders[0] != '\0')
        log_line(BD_INFO,
                 "umount: %s is detached, and still used by %s: the rest is stored when that ends, "
                 "and not waited for; \"bucketdisk down %s\" tells whether it is done",
                 word, holders, word);
    return rc;
}

/* A filesystem that `up` has mounted: umount(8) sends it here. */
static int
unmount_filesystem(const char *word, const char *path, const struct mountinfo *mount, bool is_lazy)
{
    struct error why = { "" };
    struct locallock *lock = NULL;
    struct mountinfo info;
    struct updown updown;
    int rc = updown_take(path, &lock, &why);

    if (rc == 0)
        updown_find(path, &updown);
    if (rc == 0 && updown_is_anything(&updown)) {
        locallock_state(lock, LOCK_FINISHING, path, NULL, "");
        rc = is_lazy ? detach_filesystem(word, path, &why) : updown_end(&updown, &why);
    } else if (rc == 0
               && !(mount != NULL && !mountinfo_at(path, &info))) { /* nobody else was quicker */
        rc = error_set(&why, -EINVAL, "%s is not a mount of bucketdisk%s", word,
                       mount != NULL && strncmp(mount->type, "fuse", 4) == 0
                           ? ", or it only reads and has a --subtype of its own: then umount(8) "
                             "does it"
                           : "");
    }
    if (rc != 0)
        log_line(BD_ERROR, "umount: %s", why.text);
    locallock_release(lock);
    return rc == 0 ? EXIT_DONE : EXIT_FAILED;
}

/* With -o subtype it is any, and only the lock tells. */
static bool
is_our_type(const char *type)
{
    return strcmp(type, "fuse.bucketdisk") == 0 || strcmp(type, "fuse.s3backer") == 0;
}

/* Gives who uses it if it is in use, be it detached or not; "" if nobody does, or that is unknown. */
static int
unmount_disk(const char *path, bool is_lazy, char holders[HOLDERS_BYTES])
{
    int rc = mountpoint_umount(path, false);

    holders[0] = '\0';
    if (rc != -EBUSY)
        return rc;
    mountpoint_holders(path, holders, HOLDERS_BYTES);
    return is_lazy ? mountpoint_umount(path, true) : rc;
}

static int
unmount(const char *word, bool is_lazy)
{
    char *path = mountpoint_realpath(word), holders[HOLDERS_BYTES];
    struct error why = { "" };
    struct mountinfo info;
    struct stat st;
    bool has_mount, is_dead;
    int fd, rc;

    if (path == NULL) {
        log_line(BD_ERROR, "umount: %s: %s", word, strerror(errno));
        return EXIT_FAILED;
    }
    has_mount = mountinfo_at(path, &info);
    /* -1: read-only, or its daemon is dead: nothing to wait for. */
    fd = has_mount ? locallock_find(info.device, info.mountpoint) : -1;
    if (fd == -1 && !(has_mount && is_our_type(info.type))) {
        rc = unmount_filesystem(word, path, has_mount ? &info : NULL, is_lazy);
        free(path);
        return rc;
    }
    is_dead = stat(path, &st) != 0 && errno == ENOTCONN;
    rc = unmount_disk(path, is_lazy, holders);
    if (rc == 0 && is_dead) {
        log_line(BD_ERROR,
                 "umount: %s: its daemon has died, and is unmounted; what was synced is in the "
                 "store, or in its cache file",
                 word);
        rc = -EIO;
        if (fd != -1)
            close(fd);
    } else if (rc != 0) {
        log_line(BD_ERROR, "umount: %s: %s%s%s", word, strerror(-rc),
                 holders[0] != '\0' ? ", used by " : "", holders);
        if (fd != -1)
            close(fd);
    } else if (fd != -1) {
        if (holders[0] != '\0')
            log_line(BD_INFO,
                     "umount: %s is detached, and still used by %s: waiting until that ends and "
                     "everything is stored",
                     word, holders);
        rc = locallock_wait(fd, &why);
        if (rc != 0)
            log_line(BD_ERROR, "umount: %s: %s", word, why.text);
    }
    free(path);
    return rc == 0 ? EXIT_DONE : EXIT_FAILED;
}

int
cmd_umount(int argc, char **argv)
{
    const char *mountpoint = NULL;
    bool is_lazy = false;

    /* umount(8) hands its own letters on: -n (no mtab), -r, -v, -f and -t TYPE mean nothing here. */
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];

        if (word[0] != '-' || word[1] == '\0') {
            if (mountpoint != NULL)
                return usage(word);
            mountpoint = word;
        } else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            return help();
        } else if (strcmp(word, "--lazy") == 0) {
            is_lazy = true;
        } else if (strcmp(word, "-t") == 0 || strcmp(word, "-N") == 0) {
            i++;
        } else {
            if (word[strspn(word + 1, "flnrv") + 1] != '\0')
                return usage(word);
            is_lazy = is_lazy || strchr(word, 'l') != NULL;
        }
    }
    return mountpoint != NULL ? unmount(mountpoint, is_lazy) : usage(NULL);
}
