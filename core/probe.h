/* SPDX-License-Identifier: Apache-2.0 */
/* What does a store really do?  Asked through the plugin ABI alone, beside what its plugin claims.
 *
 * All objects are made under one scratch prefix and removed again; nothing else is touched.  Waits for the
 * store: never on a pool worker. */
#ifndef CORE_PROBE_H
#define CORE_PROBE_H

#include "backend.h"
#include "base/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define PROBE_PREFIX_BYTES_MAX (BD_NAME_BYTES_MAX - 96)

enum probe_verdict {
    PROBE_NOT_ASKED, /* not claimed, or there was no use in asking */
    PROBE_GOOD,
    PROBE_WEAK, /* a disk can live with it */
    PROBE_BAD,  /* a disk cannot */
};

struct probe_row {
    const char *id;
    const char *what;
    uint64_t capability; /* enum bd_capability that claims it; 0: every backend must */
    enum probe_verdict verdict;
    char found[240];         /* what the store does */
    const char *consequence; /* a sentence */
};

struct probe_config {
    const char *prefix;           /* borrowed; at most PROBE_PREFIX_BYTES_MAX */
    uint64_t attempt_ns;          /* deadline of one request */
    const atomic_int *is_stopped; /* once it is not 0, tidy up and end */
};

struct probe;

/* Ask everything.  0, or a negative errno with why: when the store cannot be reached or stores nothing, which leaves no
 * rows; when stopped or out of memory, and the rows so far are valid then. */
int probe_run(struct backend *backend, const struct probe_config *config, struct probe **out,
              struct error *why);
void probe_free(struct probe *probe);

unsigned probe_row_count(const struct probe *probe);
const struct probe_row *probe_row(const struct probe *probe, unsigned i);
/* "" when nothing of ours is left in the store, else what may be. */
const char *probe_left_behind(const struct probe *probe);

#endif
