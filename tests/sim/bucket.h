/* SPDX-License-Identifier: Apache-2.0 */
/* The store as core/objects shows it, in place of objects.c: blocks that come and go at times that chance
 * decides, answers that get lost, attempts that are carried out long after they were given up.
 *
 * It keeps what objects.h promises, and fails the run when its user does not keep his side: two requests for one
 * block at once, data that changes while it is being sent, a different version of a block while a lost
 * attempt for it may still be carried out. */
#ifndef SIM_BUCKET_H
#define SIM_BUCKET_H

#include "objects.h"

struct bucket_config {
    struct layout layout;
    uint64_t capabilities; /* enum bd_capability */
    unsigned delete_max, list_max;
    uint64_t attempt_ns; /* then an answer is given up */
    uint64_t settle_ns;  /* how long after that an attempt may still be carried out */
    uint64_t stale_ns; /* without BD_CAP_CONSISTENT: how long the state before is shown by chance */
    uint64_t retry_pause_ns, stall_read_ns, stall_write_ns;
};

/* How likely, in parts per million of attempts. */
struct bucket_faults {
    uint64_t latency_min_ns, latency_max_ns;
    unsigned slow_ppm;      /* takes as long as an attempt may */
    unsigned retry_ppm;     /* not done, and the store says so */
    unsigned lost_ppm;      /* of writes: no answer; done now, later or never */
    unsigned final_ppm;     /* the request fails for good */
    unsigned memory_ppm;    /* -ENOMEM, inside objects_submit */
    uint64_t away_until_ns; /* until then nothing is answered */
};

void bucket_new(const struct bucket_config *config);
void bucket_free(void);
void bucket_set_faults(const struct bucket_faults *faults);
struct objects *bucket_objects(void);

/* The daemon is dead.  What it had sent may still be carried out, until settle_ns from now. */
void bucket_kill(void);
/* An attempt that was given up may still be carried out. */
bool bucket_is_unsettled(void);
/* One may put something else in the place of this block. */
bool bucket_may_change(uint64_t block);
/* NULL: there is no object. */
const char *bucket_data(uint64_t block);
uint64_t bucket_requests(void);
void bucket_tell(void);

#endif
