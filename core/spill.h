/* SPDX-License-Identifier: Apache-2.0 */
/* The spill file: what a mount without a cache file could not store when it was made to end.
 *
 * It is a cache file (cachefile.h) with all that the memory cache had, and beside it a file of the ranges that were zeroed.
 * (A mount with a cache file has one for what that could not take: ranges that were zeroed, what came when it was full.)
 * It counts once it is complete.  The next mount of the volume on this machine stores it before it serves anything, if the
 * volume's lock is still that of the mount that wrote it.  At start and stop only: these functions wait. */
#ifndef CORE_SPILL_H
#define CORE_SPILL_H

#include "base/error.h"
#include "cachefile.h"
#include "locallock.h"
#include "store.h"
#include "wait.h"

struct spill_config {
    const char *directory;           /* NULL: the usual one; made if it is not there */
    char name[LOCALLOCK_NAME_BYTES]; /* of the volume */
    bool is_read_only;               /* nothing is removed */
    struct cachefile *beside;        /* NULL or of who spills: synced before the spill counts */
    /* As it shall be opened; path, slots and is_forced are the spill's business. */
    struct cachefile_config file;
};

struct spill;

/* Everything that the cache has, and `token`, under which it was written; no file if that is nothing.  Above the cache all
 * is quiet, below it nothing is taken any more.  On failure nothing is left behind and the cache goes on. */
int spill_write(const struct spill_config *config, struct store *cache, uint32_t token,
                struct error *why);

/* Could it be written there?  Makes nothing.  0, or a negative errno and what is wrong with the directory. */
int spill_check(const struct spill_config *config, struct error *why);
/* Where it would be; malloc'ed, or NULL. */
char *spill_place(const struct spill_config *config);
/* The spill that is there; *out is NULL if there is none.  -EUCLEAN: it is damaged. */
int spill_find(const struct spill_config *config, struct spill **out, struct error *why);
/* One that cannot be opened goes; nobody has it. */
int spill_discard(const struct spill_config *config, struct error *why);
/* The locks under one of which it counts: two while one is taken from the other. */
void spill_tokens(const struct spill *spill, uint32_t tokens[2]);
int spill_set_tokens(struct spill *spill, uint32_t now, uint32_t next, struct error *why);
const char *spill_path(const struct spill *spill);
struct cachefile *spill_file(const struct spill *spill);
/* Zeroes what was zeroed; then what is in its file is to be stored. */
int spill_zero(const struct spill *spill, struct store *next,
               const struct interruption *interruption, struct error *why);
/* It was not: the log says which ranges those were. */
int spill_name_zeros(const struct spill *spill, struct error *why);
/* What the cache file has of the same blocks is older, and is dropped from it, durably. */
int spill_supersede(const struct spill *spill, struct cachefile *older, struct error *why);
/* It has been stored. */
int spill_remove(struct spill *spill, struct error *why);
void spill_close(struct spill *spill);

#endif
