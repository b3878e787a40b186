/* SPDX-License-Identifier: Apache-2.0 */
/* A copy of the statistics in an ordinary file (--statsFileMirror), written anew from time to time by a thread of its own.
 *
 * Each copy replaces the one before as a whole, and is left there at the end.  What fails is told of once. */
#ifndef CORE_MIRROR_H
#define CORE_MIRROR_H

#include "base/error.h"
#include "base/stats.h"

struct mirror;

/* Can there be a copy of that name?  -EINVAL or another negative errno, and a sentence. */
int mirror_check(const char *path, struct error *why);

/* The first copy is there when this returns.  Borrows both until mirror_stop. */
int mirror_start(const char *path, uint64_t interval_ms, struct stats *stats, struct error *why,
                 struct mirror **out);
/* Writes the last copy.  Takes NULL. */
void mirror_stop(struct mirror *mirror);

#endif
