/* SPDX-License-Identifier: Apache-2.0 */
/* bucketdisk down DIRECTORY: unmount what `up` has put there, and wait until everything is stored. */
#include "cmd.h"

#include "base/log.h"
#include "updown.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int
down(const char *word, struct error *why)
{
    /* A dead filesystem may not answer. */
    char *path = realpath(word, NULL);
    struct locallock *lock = NULL;
    struct updown updown;
    int rc;

    if (path == NULL)
        path = mountpoint_realpath(word);
    if (path == NULL)
        return error_set(why, -errno, "%s: %s", word, strerror(errno));
    rc = updown_take(path, &lock, why);
    if (rc == 0)
        updown_find(path, &updown);
    if (rc == 0 && updown_is_anything(&updown)) {
        /* At shutdown systemd calls us for the unit, and umount(8) for the directory: the second waits for the first. */
        locallock_state(lock, LOCK_FINISHING, path, NULL, "");
        rc = updown_end(&updown, why);
    } else if (rc == 0) {
        rc = access(path, F_OK) == 0 ? 0 : error_set(why, -errno, "%s: %s", word, strerror(errno));
        updown_remove_place(&updown); /* plain umount(8) leaves it */
        if (rc == 0)
            log_line(BD_INFO, "nothing is up on %s", word);
    }
    locallock_release(lock);
    free(path);
    return rc;
}

int
cmd_down(int argc, char **argv)
{
    struct error why = { "" };
    int rc;

    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        printf("usage: bucketdisk down DIRECTORY\n"
               "\n"
               "Unmounts the filesystem that \"bucketdisk up\" has mounted there, detaches its\n"
               "loop device, unmounts the disk, and returns when everything is stored.  If\n"
               "something is in use it says by whom; called again, it goes on where it stood.\n");
        return EXIT_DONE;
    }
    if (argc != 2 || argv[1][0] == '-')
        rc = error_set(&why, -EINVAL, "usage: bucketdisk down DIRECTORY");
    else
        rc = down(argv[1], &why);
    if (rc != 0)
        log_line(BD_ERROR, "%s", why.text);
    return rc == 0 ? EXIT_DONE : EXIT_FAILED;
}
