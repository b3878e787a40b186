/* SPDX-License-Identifier: Apache-2.0 */
/* Our side of the backend ABI: an opened stack of backends, and requests to it.
 *
 * Completions are queued by the plugin's thread and handed to `done` on a pool worker, never inside
 * backend_submit.  A status that is not in the set, a result over the limits, a `len` over `cap`
 * become BD_FATAL or BD_CORRUPT here, with a log line that blames the plugin.  One that ends long after its
 * deadline is counted, and told of once for each plugin. */
#ifndef CORE_BACKEND_H
#define CORE_BACKEND_H

#include "attrs.h"
#include "base/error.h"
#include "base/pool.h"
#include "base/stats.h"

#include <bucketdisk/plugin.h>

#include <stdbool.h>

struct backend;

/* One layer of --backend=outer,inner: its table (already size-copied by the loader) and options. */
struct backend_layer {
    const char *name; /* of the plugin, for logs */
    const struct bd_backend *table;
    const void *options;
};

/* Open the stack, `layers` outermost first.  Borrows everything until backend_close.
 * Returns 0 or a negative errno, with why. */
int backend_open(const struct backend_layer *layers, unsigned layer_count, struct pool *pool,
                 struct stats *stats, struct error *why, struct backend **out);
/* Nothing may be in flight. */
void backend_close(struct backend *backend);
/* Of the outermost layer. Missing limits are filled in. */
const struct bd_backend_info *backend_info(const struct backend *backend);

/* A request.  Fill `io`, submit, read the results in done.  A finished one may be submitted again, for
 * retries: submit drops the old results.  A deadline of 0 becomes one minute from submit. */
struct backend_io {
    struct bd_io io; /* size, scratch are already set */
    struct backend *backend;

    enum bd_status status;
    struct error why;   /* "" if the plugin gave no reason */
    char *tag;          /* NULL when none came */
    char *encoding;     /* NULL when none came */
    struct attrs attrs; /* that came with the object; see backend_io_attr */
    /* LIST: called for each entry on the plugin's thread, borrows; return false for "enough": this
     * entry was taken, no more are wanted. */
    bool (*entry)(void *arg, const char *name, uint64_t object_bytes, const char *tag);
    void *entry_arg;

    void (*done)(struct backend_io *io, void *arg);
    void *done_arg;
};

struct backend_io *backend_io_new(struct backend *backend);
void backend_io_free(struct backend_io *io);
void backend_submit(struct backend_io *io, void (*done)(struct backend_io *io, void *arg),
                    void *arg);
/* An attribute that came with GET or HEAD; NULL when there is none.  Borrowed from `io`, with a NUL
 * behind it. */
const char *backend_io_attr(const struct backend_io *io, const char *name, size_t *bytes);

/* For starts, stops and commands only: submit and wait.  Never on a pool worker.
 *
 * A request that has not ended long after its deadline was lost by its plugin, which may still write into what we gave it
 * whatever we do: then the process ends there, with one sentence, and the volume is what it is after a crash. */
void backend_submit_wait(struct backend_io *io);
/* The same in two halves, for several at once: all are begun, then each is waited for. */
void backend_submit_begin(struct backend_io *io);
void backend_wait(struct backend_io *io);
/* How long after, as waiter_wait_for counts.  Only tests change it. */
extern uint64_t backend_lost_ns;

const char *status_name(enum bd_status status); /* "not done, try again" … for log lines */
/* What the plugin said of the failure, or the name of its status.  Borrowed from `io`. */
const char *backend_io_reason(const struct backend_io *io);
/* Will it come right by asking again? */
bool status_is_passing(uint32_t status);
/* A request that failed for good, as a negative errno: -EACCES, -ENOSPC, else -EIO. */
int status_errno(enum bd_status status);

#endif
