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
 * loop over delete_object. */
struct bd_blocking_ops {
    enum bd_status (*get)(void *self, struct bd_io *io);
    enum bd_status (*head)(void *self, struct bd_io *io);
    enum bd_status (*put)(void *self, struct bd_io *io);
    enum bd_status (*delete_object)(void *self, struct bd_io *io);
    enum bd_status (*delete_many)(void *self, struct bd_io *io);
    enum bd_status (*list)(void *self, struct bd_io *io);
};

struct bd_blocking;

/* Bytes of scratch that the adapter needs in each request: bd_backend.scratch_bytes. */
#define BD_BLOCKING_SCRATCH (2 * sizeof(void *))

/* Make an adapter with `threads` (1 to 1024) threads.  Borrows host, ops and self until free.
 * A request whose deadline has passed before a thread is free completes as BD_RETRY, not done. */
enum bd_status bd_blocking_new(const struct bd_host *host, const struct bd_blocking_ops *ops,
                               void *self, unsigned threads, struct bd_blocking **out);
void bd_blocking_submit(struct bd_blocking *blocking, struct bd_io *io);
/* Nothing may be in flight. */
void bd_blocking_free(struct bd_blocking *blocking);

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
