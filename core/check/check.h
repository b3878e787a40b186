/* SPDX-License-Identifier: Apache-2.0 */
/* Does a plugin keep the contract of plugin.h?  For `bucketdisk plugin check`.
 *
 * Every question is a row of TAP.  Rows are asked in child processes, which load the plugin as the daemon does; one that
 * crashes or hangs is a failed row, and the next ones are asked in a new child.  The parent never loads the plugin. */
#ifndef CORE_CHECK_H
#define CORE_CHECK_H

#include "base/error.h"

#include <stdint.h>

struct check_config {
    const char *file;        /* absolute path of the plugin */
    const char *plugin_path; /* as --plugin-path: where the backend below it is; NULL */
    const char *absent;      /* a location whose container does not exist; NULL: not known */
    const char *other;       /* one whose container is another; NULL: not known */
    const char *vanish;      /* a command that takes the container away; NULL: there is none */
    const char *stall,
        *resume;       /* commands: the store answers nothing, and goes on; NULL: both or none */
    uint64_t limit_ms; /* for one row */
    int argc;          /* options of plugins, --backend and LOCATION; argv[0] is not looked at */
    char **argv;       /* left as they are: children overwrite secrets in copies of their own */
};

enum check_result {
    CHECK_PASSED,
    CHECK_FAILED,  /* some row */
    CHECK_REFUSED, /* nothing could be asked: why */
};

/* Prints TAP to standard output.  Borrows all.  The process has one thread. */
enum check_result check_run(const struct check_config *config, struct error *why);

#endif
