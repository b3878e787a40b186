/* SPDX-License-Identifier: Apache-2.0 */
/* The first look at a bucket: what would fail every request is found out before anything depends on it. */
#ifndef S3_LOOK_H
#define S3_LOOK_H

#include "s3.h"

/* Blocks.  On failure logs one sentence.  What may pass is no failure, but left to the core, which knows how to wait. */
enum bd_status look_at_bucket(struct s3 *s3);

#endif
