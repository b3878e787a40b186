/* SPDX-License-Identifier: Apache-2.0 */
/* The statistics as people and s3backer's scripts read them: first s3backer's names, in its order and its format, then ours.
 *
 * s3backer's are made of ours when they are asked for: nothing is counted twice, and what resets ours resets them. */
#ifndef CORE_S3BACKER_STATS_H
#define CORE_S3BACKER_STATS_H

#include "base/stats.h"

/* Gives a malloc'ed string, NULL when out of memory.  Any thread. */
char *s3backer_stats_text(struct stats *stats);

#endif
