/* SPDX-License-Identifier: Apache-2.0 */
/* How random tests are called. */
#include "run.h"

#include "base/log.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define BAD_CALL 2

struct run
run_begin(int argc, char **argv)
{
    static const struct option options[] = { { "seed", required_argument, NULL, 's' },
                                             { "seconds", required_argument, NULL, 't' },
                                             { "runs", required_argument, NULL, 'r' },
                                             { NULL, 0, NULL, 0 } };
    const char *text = getenv("BUCKETDISK_SEED");
    struct run run = { .seed =
                           text != NULL ? strtoull(text, NULL, 0) : (uint64_t)time(NULL) * 1000003u,
                       .runs_max = UINT64_MAX };
    double seconds = 5;
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 's')
            run.seed = strtoull(optarg, NULL, 0);
        else if (option == 't')
            seconds = atof(optarg);
        else if (option == 'r')
            run.runs_max = strtoull(optarg, NULL, 0);
        else
            exit(BAD_CALL);
    }
    printf("BUCKETDISK_SEED=%" PRIu64 "\n", run.seed);
    fflush(stdout);
    log_level_max(BD_ERROR);
    if (freopen("/dev/null", "w", stderr) == NULL)
        exit(BAD_CALL);
    run.end = time(NULL) + (time_t)(seconds + 0.5);
    return run;
}

bool
run_goes_on(const struct run *run, uint64_t done)
{
    return done < run->runs_max && (run->runs_max != UINT64_MAX || time(NULL) < run->end);
}
