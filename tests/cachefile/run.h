/* SPDX-License-Identifier: Apache-2.0 */
/* What a random test is told: NAME [--seed N] [--seconds S] [--runs N]. */
#ifndef CACHEFILE_RUN_H
#define CACHEFILE_RUN_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct run {
    uint64_t seed;     /* of BUCKETDISK_SEED, or another one each time */
    uint64_t runs_max; /* UINT64_MAX: as many as there is time for */
    time_t end;        /* else it does not count */
};

/* Says the seed on stdout; from then on what the core logs goes nowhere.  Ends the process if that is not how it is called. */
struct run run_begin(int argc, char **argv);
/* Before each run, of which so many were done. */
bool run_goes_on(const struct run *run, uint64_t done);

#endif
