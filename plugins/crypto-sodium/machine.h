/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory there is for a computation that takes a lot of it at once. */
#ifndef SODIUM_MACHINE_H
#define SODIUM_MACHINE_H

#include <stdint.h>

/* UINT64_MAX: not known. */
struct machine {
    uint64_t memory_bytes;    /* the machine's, or the least limit of a control group around us */
    uint64_t available_bytes; /* of it, what could be had without swapping */
};

/* `root` is "" for this machine; tests have a copy of /proc and /sys below another. */
void machine_look(const char *root, struct machine *out);

#endif
