/* SPDX-License-Identifier: Apache-2.0 */
/* Who reads in sequence, and how far ahead of them blocks should be fetched.
 *
 * Follows several streams at once.  The window of a stream opens when it has read some blocks in a row, doubles each
 * time the reader has to wait for a block, and so comes to what latency times bandwidth needs; it
 * halves when blocks leave the cache unread.  A stream that nobody continues asks for nothing, and is forgotten for a new one.
 * Only says what would be good to fetch.  Not thread-safe: belongs to the cache. */
#ifndef CORE_READAHEAD_H
#define CORE_READAHEAD_H

#include <stdbool.h>
#include <stdint.h>

#define READAHEAD_STREAMS 32u

struct stream {
    uint64_t next;  /* the block after the furthest that was read */
    uint64_t ahead; /* fetched ahead up to here, exclusive */
    uint64_t used;  /* when, in blocks read by anybody */
    uint64_t grown; /* up to here fetched when the window last grew: it grows again only beyond */
    uint32_t run;   /* blocks read in a row */
    uint32_t window;
};

struct readahead {
    uint64_t block_count;
    uint32_t window_max; /* 0: nothing is read ahead */
    uint32_t trigger;    /* blocks in a row before the window opens */
    uint64_t clock;
    struct stream streams[READAHEAD_STREAMS];
};

void readahead_init(struct readahead *readahead, uint64_t block_count, uint32_t window_max,
                    uint32_t trigger);

/* `block` is read, and was not yet cached if the reader `must_wait`.  True: blocks [*first, *end) should be fetched now,
 * first ones first; the caller says by readahead_reached how far it came. */
bool readahead_read(struct readahead *readahead, uint64_t block, bool must_wait,
                    struct stream **stream, uint64_t *first, uint64_t *end);
void readahead_reached(struct stream *stream, uint64_t end);
/* A block that was fetched ahead was dropped unread. */
void readahead_wasted(struct readahead *readahead, uint64_t block);

#endif
