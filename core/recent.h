/* SPDX-License-Identifier: Apache-2.0 */
/* What must be remembered of blocks that were written lately.
 *
 * - Until when a different version must be held back: an attempt of unknown outcome may still be carried out.
 * - When it was written: --minWriteDelay.
 * - The tag, or the absence, that a read must find: --md5CacheTime.
 *
 * Not thread-safe: belongs to consistency, under its lock.  Times are CLOCK_BOOTTIME. */
#ifndef CORE_RECENT_H
#define CORE_RECENT_H

#include "objects.h"

#define TAG_KEEP_FOREVER_NS (UINT64_MAX / 2)

struct recent;

struct recent_config {
    uint64_t settle_ns;     /* --settle-time */
    uint64_t write_gap_ns;  /* --minWriteDelay */
    uint64_t tag_keep_ns;   /* --md5CacheTime */
    uint64_t tag_count_max; /* --md5CacheSize; 0: no tags */
};

int recent_new(const struct recent_config *config, struct recent **out);
void recent_free(struct recent *recent);

/* A write or delete of `block` has ended as `object` says, well or not.  `tag` is NULL for a delete.
 * Out of memory holds every block until this one is settled.
 *
 * Where there is no room for a tag that is kept for ever, the oldest goes: old versions of that block are found no more.
 * One that expires never goes before: there are at most tag_count_max of them, and one for each write that was under
 * way when there was room for a last one. */
void recent_note(struct recent *recent, uint64_t block, const struct object_req *object,
                 const char *tag);

/* Hold every block for the settle time from now. */
void recent_hold_all(struct recent *recent, uint64_t until_ns);

/* From when on may [first, last] be written: a time in the past means now.  Waits for room, too, where the
 * memory of tags is full of ones that will expire. */
uint64_t recent_write_at_ns(struct recent *recent, uint64_t first, uint64_t last);
/* May the store still change the block by itself, by what became of an attempt of unknown outcome? */
bool recent_is_unsettled(const struct recent *recent, uint64_t block);
/* When none is left that may. */
uint64_t recent_settled_at_ns(const struct recent *recent);

/* Blocks of which something is remembered. */
uint64_t recent_count(const struct recent *recent);

/* What a read must find that is sent now. */
struct recent_expected {
    bool expects; /* something */
    bool is_absent;
    char tag[BD_TAG_BYTES_MAX + 1]; /* "": any */
};

/* The store may look at the block as soon as it is asked, however late it answers: what it says is judged by what was
 * remembered then. */
void recent_expect(const struct recent *recent, uint64_t block, struct recent_expected *expected);
/* Is what a read got, a tag or absence, older than what was written?
 *
 *   expected       found an object          found nothing
 *   a tag          stale if it is another   stale
 *   any tag        right                    stale
 *   absence        stale                    right
 *   nothing        right                    right       */
bool recent_is_stale(const struct recent_expected *expected, const struct object_req *object);

#endif
