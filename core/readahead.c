/* SPDX-License-Identifier: Apache-2.0 */
/* Who reads in sequence, and how far ahead of them blocks should be fetched. */
#include "readahead.h"

#include <stddef.h>

#define WINDOW_FIRST 4u
/* The kernel cuts one reader's requests into several, which reach us in any order: so far behind or ahead of what
 * comes next still belongs to an established stream. */
#define SLACK_MAX 32u

void
readahead_init(struct readahead *readahead, uint64_t block_count, uint32_t window_max,
               uint32_t trigger)
{
    *readahead = (struct readahead){ .block_count = block_count,
                                     .window_max = window_max,
                                     .trigger = trigger > 0 ? trigger : 1 };
}

/* By chance random reads come close to each other, too: what has no run yet must be continued exactly. */
static bool
continues(const struct stream *stream, uint64_t block)
{
    uint64_t slack = stream->run < SLACK_MAX ? stream->run / 2 : SLACK_MAX;

    return stream->run > 0 && block + slack + 1 >= stream->next && block <= stream->next + slack;
}

static struct stream *
find_stream(struct readahead *readahead, uint64_t block)
{
    for (unsigned i = 0; i < READAHEAD_STREAMS; i++) {
        if (continues(&readahead->streams[i], block))
            return &readahead->streams[i];
    }
    return NULL;
}

static struct stream *
oldest_stream(struct readahead *readahead)
{
    struct stream *oldest = &readahead->streams[0];

    for (unsigned i = 1; i < READAHEAD_STREAMS; i++) {
        if (readahead->streams[i].used < oldest->used)
            oldest = &readahead->streams[i];
    }
    return oldest;
}

bool
readahead_read(struct readahead *readahead, uint64_t block, bool must_wait, struct stream **out,
               uint64_t *first, uint64_t *end)
{
    struct stream *stream;

    if (readahead->window_max == 0)
        return false;
    stream = find_stream(readahead, block);
    readahead->clock++;
    if (stream == NULL) {
        stream = oldest_stream(readahead);
        *stream = (struct stream){ .next = block, .ahead = block + 1 };
    }
    stream->used = readahead->clock;
    if (block >= stream->next) {
        stream->run += (uint32_t)(block + 1 - stream->next);
        stream->next = block + 1;
    }
    if (stream->run < readahead->trigger)
        return false;
    if (stream->window == 0) {
        stream->window = WINDOW_FIRST;
    } else if (must_wait && block >= stream->grown && block < stream->ahead) {
        stream->window *= 2; /* it was on its way, but too late */
        stream->grown = stream->ahead;
    }
    if (stream->window > readahead->window_max)
        stream->window = readahead->window_max;
    if (stream->ahead < stream->next)
        stream->ahead = stream->next;
    /* Half a window at a time, or what is left of one: else each block read would fetch one block. */
    if (stream->ahead - stream->next > stream->window / 2)
        return false;
    *out = stream;
    *first = stream->ahead;
    *end = stream->next + stream->window;
    if (*end > readahead->block_count)
        *end = readahead->block_count;
    return *first < *end;
}

void
readahead_reached(struct stream *stream, uint64_t end)
{
    stream->ahead = end;
}

void
readahead_wasted(struct readahead *readahead, uint64_t block)
{
    for (unsigned i = 0; i < READAHEAD_STREAMS; i++) {
        struct stream *stream = &readahead->streams[i];

        if (block >= stream->next && block < stream->ahead && stream->window > WINDOW_FIRST)
            stream->window /= 2;
    }
}
