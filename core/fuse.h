/* SPDX-License-Identifier: Apache-2.0 */
/* The mount: one directory with the disk as a file, and its statistics.
 *
 * Several threads read requests from the kernel; none of them waits for the store.  Replies are sent by
 * whichever thread completes a request.  The only place that knows FUSE. */
#ifndef CORE_FUSE_H
#define CORE_FUSE_H

#include "base/error.h"
#include "base/stats.h"
#include "disk.h"

#include <stdbool.h>
#include <sys/types.h>

/* Behind the name of the statistics. */
#define STATS_JSON_SUFFIX ".json"
/* The statistics as Prometheus reads them. */
#define METRICS_NAME "metrics"

struct frontend;

struct frontend_config {
    const char *mountpoint;  /* absolute */
    const char *source;      /* what mount(8) and df show */
    const char *subtype;     /* and as the type, behind "fuse." */
    const char *mount_flags; /* for the kernel, with commas between; "": none */
    const char *file_name;
    const char *stats_name; /* NULL or "": none; beside NAME are NAME.json and METRICS_NAME */
    mode_t file_mode;
    uid_t uid;
    gid_t gid;
    bool is_read_only;
    bool (*has_become_read_only)(
        void *arg); /* true for good: no write is taken any more, with EROFS; NULL: never */
    void *has_become_read_only_arg;
    bool is_direct_io; /* every access goes round the kernel's page cache */
    bool allow_other;
    unsigned threads;
    uint32_t readahead_max;            /* bytes that the kernel may read ahead */
    unsigned background_max;           /* requests that the kernel keeps in flight */
    uint64_t (*data_bytes)(void *arg); /* that the file occupies */
    void *data_bytes_arg;
    void (*used)(
        void *arg,
        bool is_used); /* told at each opening and closing of the file; NULL; must not call back */
    void *used_arg;
    void (*ready)(void *arg); /* called once, when the first request would be served */
    void *ready_arg;
};

/* Borrows disk, stats and the strings of config until frontend_free. */
int frontend_new(const struct frontend_config *config, const struct disk *disk, struct stats *stats,
                 struct error *why, struct frontend **out);
/* Mount.  Until frontend_run, requests wait. */
int frontend_mount(struct frontend *frontend, struct error *why);
/* Serve until the filesystem is unmounted or frontend_abandon is called; every request has been
 * answered then. */
int frontend_run(struct frontend *frontend);
/* Make frontend_run end though the kernel may still hold the (lazily detached) mount.  Any thread. */
void frontend_abandon(struct frontend *frontend);
void frontend_free(struct frontend *frontend);

#endif
