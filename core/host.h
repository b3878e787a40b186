/* SPDX-License-Identifier: Apache-2.0 */
/* The host table that plugins call: one for each instance of a backend or codec. */
#ifndef CORE_HOST_H
#define CORE_HOST_H

#include "base/error.h"
#include "base/pool.h"
#include "base/stats.h"

#include <bucketdisk/plugin.h>

struct host;
struct keyring;

/* `name` is the plugin's and prefixes its log lines and counters.  pool and stats are NULL for a table
 * that is only shown to bd_plugin_query. Borrows all until host_free. */
int host_new(const char *name, struct pool *pool, struct stats *stats, struct host **out);
void host_free(struct host *host);
/* What its key() and passphrase() use, and the token of the codec: it gets the keys of that alone.  Before its open. */
void host_give_keys(struct host *host, const struct keyring *keyring, const char *token);
/* May the codec with this token ask key() for that?  -EINVAL, and why. */
int host_check_key(const char *token, const char *purpose, size_t bytes, struct error *why);
const struct bd_host *host_table(const struct host *host);

/* From now on the first error that a plugin logs on this thread becomes `why` and none is logged; NULL ends it.
 * Around open: what the plugin says there is the one sentence that the user gets. */
void host_capture_error(struct error *why);

#endif
