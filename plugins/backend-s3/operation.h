/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of S3 for each request of the core, and what its answers mean. */
#ifndef S3_OPERATION_H
#define S3_OPERATION_H

#include "s3.h"

struct operation {
    struct transfer_job job; /* first */
    struct s3 *s3;
    struct bd_io *io; /* NULL: the look at the bucket when it is opened */
    /* Names to delete one by one. */
    uint32_t next_name, in_flight;
    bool is_batch_refused;
    char payload_sha256[65]; /* of io->body, if it is to be signed */

    /* Without io: the result. */
    enum bd_status status;
    char why[512];
    void (*looked)(struct operation *operation);
};

/* In the request's scratch, zeroed.  Any thread. */
void operation_start(struct operation *operation, struct s3 *s3, struct bd_io *io);
/* Ask for a listing of one object at most, to learn what is wrong before anything depends on it. */
void operation_look(struct operation *operation, struct s3 *s3,
                    void (*looked)(struct operation *operation));

#endif
