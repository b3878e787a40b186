/* SPDX-License-Identifier: Apache-2.0 */
/* bucketdisk/sdk.h: helpers for plugin authors, linked statically into the plugin.  Not ABI. */
#ifndef BUCKETDISK_SDK_H
#define BUCKETDISK_SDK_H

#include <bucketdisk/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A backend written as plain blocking functions.  Each is called on one of the adapter's threads with
 * a request of its op, fills the request's results as plugin.h says, and returns the status; it does not
 * call complete.  BD_BUSY is for stores that say so: the adapter's own threads being busy is not it.
 * A NULL function makes its op BD_UNSUPPORTED, but for delete_many, which then is a
 * loop over delete_object.
 *
 * Many calls go on at once, each on whatever thread is free.  What they share needs a lock; what one
 * call at a time may use (a connection) is best kept in a list of idle ones, of which a call takes one
 * and gives it back.  The threads end in bd_blocking_free, which runs destructors of thread-local values. */
struct bd_blocking_ops {
    enum bd_status (*get)(void *self, struct bd_io *io);
    enum bd_status (*head)(void *self, struct bd_io *io);
    enum bd_status (*put)(void *self, struct bd_io *io);
    enum bd_status (*delete_object)(void *self, struct bd_io *io);
    enum bd_status (*delete_many)(void *self, struct bd_io *io);
    enum bd_status (*list)(void *self, struct bd_io *io);
};

struct bd_blocking;

/* Bytes of scratch that the adapter needs in each request: bd_backend.scratch_bytes.  Without any, each
 * request is BD_FATAL. */
#define BD_BLOCKING_SCRATCH (2 * sizeof(void *))

/* Make an adapter with `threads` (1 to 1024) threads, in bd_backend.open.  Borrows host, ops and self
 * until free.  BD_INVALID (logged) or BD_FATAL.
 * A request whose deadline has passed before a thread is free completes as BD_RETRY, not done. */
enum bd_status bd_blocking_new(const struct bd_host *host, const struct bd_blocking_ops *ops,
                               void *self, unsigned threads, struct bd_blocking **out);
void bd_blocking_submit(struct bd_blocking *blocking, struct bd_io *io);
/* Nothing may be in flight. */
void bd_blocking_free(struct bd_blocking *blocking);

/* Milliseconds to the request's deadline, rounded up: the timeout of a poll(), and of what a library lets one
 * set.  0: it has passed. */
int bd_left_ms(const struct bd_host *host, const struct bd_io *io);

/* The i-th attribute of a PUT, at the host's stride. */
const struct bd_attr *bd_io_attr(const struct bd_io *io, uint32_t i);

/* Do the conditions of `io` hold for an object whose tag is `tag` (NULL: absent)? */
int bd_conditions_hold(const struct bd_io *io, const char *tag);

/* Lower-case hexadecimal of `bytes` bytes; `out` has room for 2 * bytes + 1. */
void bd_hex(const void *in, size_t bytes, char *out);

#ifdef __cplusplus
}
#endif

#endif
