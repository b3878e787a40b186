/* SPDX-License-Identifier: Apache-2.0 */
/* What `up` has put on a directory, and how it is taken down again.
 *
 * It is three things on each other: the disk, mounted on a place that belongs to the directory; a loop device on the disk's
 * file; the filesystem, mounted on the directory.  No file says what is there: the kernel is asked, so what it says is so,
 * whatever died in between.  Only of which volume a disk that only reads is the kernel does not know: a link beside the place
 * has its identity, and is made anew before each disk. */
#ifndef CORE_UPDOWN_H
#define CORE_UPDOWN_H

#include "base/error.h"
#include "locallock.h"
#include "loop.h"
#include "mountinfo.h"

#include <limits.h>
#include <stdbool.h>

struct updown {
    char directory[PATH_MAX]; /* absolute and free of links */
    char place[PATH_MAX];     /* where the disk is mounted for it */
    bool has_disk;
    struct mountinfo disk;
    bool is_dead;   /* the disk's daemon */
    bool is_ending; /* it is unmounted, and stores the rest */
    bool has_loop;
    char device[LOOP_DEVICE_BYTES];
    bool is_mounted; /* the filesystem, on the directory */
    bool is_covered; /* something else is mounted on the directory now */
};

/* Whoever changes what is there, or decides by it, has this first: one at a time.  -EBUSY says who has it. */
int updown_take(const char *directory, struct locallock **out, struct error *why);

/* Look what is there.  `directory` is absolute and free of links. */
void updown_find(const char *directory, struct updown *out);
void updown_look_again(struct updown *updown);
bool updown_is_anything(const struct updown *updown);

/* Make the place, which only root can enter. */
int updown_make_place(const struct updown *updown, struct error *why);
/* What a disk that only reads is of, for it has no lock that tells; before the disk is mounted. */
int updown_note_volume(const struct updown *updown, const char *identity, struct error *why);
enum updown_volume {
    UPDOWN_SAME,
    UPDOWN_ANOTHER,
    UPDOWN_UNKNOWN, /* nobody has noted it */
};
enum updown_volume updown_compare_volume(const struct updown *updown, const char *identity);
/* When nothing is there. */
void updown_remove_place(const struct updown *updown);

/* Take down what is there, last made first, and wait until everything is stored.  Fails with what prevents it, or with the
 * daemon's last words; what was taken down by then stays so, and the next call goes on. */
int updown_end(const struct updown *updown, struct error *why);

#endif
