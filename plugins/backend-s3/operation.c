/* SPDX-License-Identifier: Apache-2.0 */
/* One request of the core on its way through this plugin. */
#include "operation.h"

#include "call.h"

#include <stdio.h>

void
operation_complete(struct operation *operation, enum bd_status status)
{
    if (operation->io == NULL) {
        operation->status = status;
        operation->ended(operation);
        return;
    }
    operation->s3->host->complete(operation->io, status);
}

void
operation_explain(struct operation *operation, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(operation->why, sizeof operation->why, format, args);
    va_end(args);
    if (operation->io != NULL)
        operation->s3->host->error(operation->io, "%s", operation->why);
}

/* A store that does not know the condition would do it all the same. */
static bool
ignores_conditions(const struct operation *operation)
{
    const struct bd_io *io = operation->io;
    const struct s3_profile *profile = operation->s3->profile;

    return (io->op == BD_PUT && !profile->if_put
            && (io->if_match != NULL || io->if_none_match != NULL))
           || (io->op == BD_DELETE && !profile->if_delete && io->if_match != NULL);
}

static void
run(struct transfer_job *job)
{
    struct operation *operation = (struct operation *)(void *)job;
    bool is_sent = true;

    if (ignores_conditions(operation)) {
        operation_complete(operation, BD_UNSUPPORTED);
        return;
    }
    switch (operation->io->op) {
    case BD_GET:
        is_sent = send_get(operation);
        break;
    case BD_HEAD_OBJECT:
        is_sent = send_head(operation);
        break;
    case BD_PUT:
        is_sent = send_put(operation);
        break;
    case BD_DELETE:
        is_sent = send_delete(operation);
        break;
    case BD_DELETE_MANY:
        is_sent = send_delete_many(operation);
        break;
    case BD_LIST:
        is_sent = send_list(operation);
        break;
    default:
        operation->status = BD_UNSUPPORTED;
        is_sent = false;
        break;
    }
    if (!is_sent)
        operation_complete(operation, operation->status);
}

void
operation_start(struct operation *operation, struct s3 *s3, struct bd_io *io)
{
    operation->s3 = s3;
    operation->io = io;
    operation->job.run = run;
    if (io->op == BD_PUT && io->body_bytes > OBJECT_BYTES_MAX) {
        s3->host->error(io, "%zu bytes are more than one PUT may send", io->body_bytes);
        s3->host->complete(io, BD_INVALID);
        return;
    }
    /* Hashing a block takes longer than all else about it: not on the loop's thread. */
    if (io->op == BD_PUT && s3->signs_payload
        && !sha256_hex(io->body, io->body_bytes, operation->payload_sha256)) {
        s3->host->error(io, "no SHA-256 in the OpenSSL of this system");
        s3->host->complete(io, BD_FATAL);
        return;
    }
    transfers_post(s3->transfers, &operation->job);
}
