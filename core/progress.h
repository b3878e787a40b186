/* SPDX-License-Identifier: Apache-2.0 */
/* How far a long command is, on standard error: a bar on a terminal, elsewhere a line of the log now and then.
 *
 * Workers count, one thread draws. */
#ifndef CORE_PROGRESS_H
#define CORE_PROGRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROGRESS_COLUMNS_MAX 200u

/* From zeros on, by progress_begin. */
struct progress {
    const char *verb; /* borrowed until progress_end */
    bool is_quiet, is_terminal;
    uint64_t began_ns, drawn_ns;
    uint64_t drawn_bytes;
    uint64_t bytes_per_s; /* of late */
    unsigned drawn_tenths;
    atomic_uint_fast64_t total, done, bytes, bad;
};

/* A stretch of work begins: "checking".  So many are to be done; 0: nobody knows yet.  One after another. */
void progress_begin(struct progress *progress, const char *verb, uint64_t total, bool is_quiet);
/* So many more are done, and so many bytes with them.  Any thread. */
void progress_add(struct progress *progress, uint64_t count, uint64_t bytes);
/* So many more of them were not as they should be.  Any thread. */
void progress_bad(struct progress *progress, uint64_t count);
/* More, or fewer, are to be done than was thought.  Any thread. */
void progress_total(struct progress *progress, uint64_t total);
/* Show it, if it is time: as often as one likes, by the thread that began it. */
void progress_draw(struct progress *progress);
/* The bar is gone from the terminal, so that results may be printed.  Of one that was never begun: nothing. */
void progress_end(struct progress *progress);

/* The words of it at one moment; pure.  On a terminal in at most columns - 1 characters, with a bar if there is room, and without the
 * last facts if there is none; for the log (`columns` 0) as a sentence. */
struct progress_view {
    const char *verb;
    uint64_t done, total, bytes, bad, bytes_per_s, elapsed_ns;
};
void progress_format(const struct progress_view *view, unsigned columns, char *out,
                     size_t out_bytes);

#endif
