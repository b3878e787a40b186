/* SPDX-License-Identifier: Apache-2.0 */
/* One request of the core on its way through this plugin. */
#ifndef S3_OPERATION_H
#define S3_OPERATION_H

#include "s3.h"

struct operation {
    struct transfer_job job; /* first */
    struct s3 *s3;
    struct bd_io *io;              /* NULL: the plugin's own */
    char payload_sha256[65];       /* of io->body, if it is to be signed */
    uint32_t next_name, in_flight; /* DELETE_MANY, one by one */

    /* Without io: the result. */
    enum bd_status status;
    char why[512];
    void (*ended)(struct operation *operation);
};

/* In the request's scratch, zeroed.  Any thread. */
void operation_start(struct operation *operation, struct s3 *s3, struct bd_io *io);

/* For the parts that carry it out, on the loop's thread. */
void operation_explain(struct operation *operation, const char *format, ...) BD_PRINTF(2, 3);
void operation_complete(struct operation *operation, enum bd_status status);

#endif
