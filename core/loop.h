/* SPDX-License-Identifier: Apache-2.0 */
/* Loop devices, as the kernel tells of them: nothing here touches the file behind one, which may be of a dead mount. */
#ifndef CORE_LOOP_H
#define CORE_LOOP_H

#include "base/error.h"

#include <stdbool.h>

#define LOOP_DEVICE_BYTES 32

struct loop {
    char device[LOOP_DEVICE_BYTES]; /* "/dev/loop0" */
    int fd; /* keeps it: it is free again when nobody has it open, or mounted */
};

/* Attach a free device to this open file, with direct I/O.  Gives out->fd, which the caller closes. */
int loop_attach(int file, bool is_read_only, struct loop *out, struct error *why);

/* The device that is attached to a file in this directory, which is absolute; false: none is. */
bool loop_find_below(const char *directory, char device[LOOP_DEVICE_BYTES]);

/* Is this a loop device whose file's mount was detached by force, so that the kernel has no path of it any more? */
bool loop_has_lost_file(const char *device);

/* Detach it, if its file is still one in this directory.  It stays while somebody uses it: -EBUSY after a moment. */
int loop_detach_below(const char *directory, const char *device);

#endif
