/* SPDX-License-Identifier: Apache-2.0 */
/* Requests waited for: for start, stop and commands.  Never on a pool worker, which would wait for itself. */
#ifndef CORE_WAIT_H
#define CORE_WAIT_H

#include "disk.h"
#include "store.h"

/* Returns the request's rc. */
int store_submit_wait(struct store *store, struct store_req *req);
int disk_flush_wait(const struct disk *disk);

#endif
