/* SPDX-License-Identifier: Apache-2.0 */
/* The cache's memory. */
#include "frames.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>

struct frames {
    char *memory;
    uint32_t frame_bytes, count;
    uint32_t left;
    uint32_t *shares;
    uint32_t *free; /* free[0..left): the one freed last goes first, its memory is warm */
};

int
frames_new(uint32_t count, uint32_t frame_bytes, struct frames **out)
{
    struct frames *frames = calloc(1, sizeof *frames);
    size_t bytes = (size_t)count * frame_bytes;

    if (frames == NULL)
        return -ENOMEM;
    frames->shares = calloc(count, sizeof *frames->shares);
    frames->free = calloc(count, sizeof *frames->free);
    frames->memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (frames->memory == MAP_FAILED)
        frames->memory = NULL;
    frames->frame_bytes = frame_bytes;
    frames->count = count;
    if (frames->shares == NULL || frames->free == NULL || frames->memory == NULL) {
        frames_free(frames);
        return -ENOMEM;
    }
    /* Users' data: not for a core dump. */
    madvise(frames->memory, bytes, MADV_DONTDUMP);
    /* Else each 4 KiB of it cost a page fault when they are used first. */
    madvise(frames->memory, bytes, MADV_HUGEPAGE);
    while (frames->left < count) {
        frames->free[frames->left] = count - 1 - frames->left;
        frames->left++;
    }
    *out = frames;
    return 0;
}

void
frames_free(struct frames *frames)
{
    if (frames == NULL)
        return;
    if (frames->memory != NULL)
        munmap(frames->memory, (size_t)frames->count * frames->frame_bytes);
    free(frames->free);
    free(frames->shares);
    free(frames);
}

uint32_t
frames_take(struct frames *frames)
{
    uint32_t frame;

    if (frames->left == 0)
        return FRAME_NONE;
    frame = frames->free[--frames->left];
    frames->shares[frame] = 1;
    return frame;
}

void
frames_share(struct frames *frames, uint32_t frame)
{
    frames->shares[frame]++;
}

void
frames_drop(struct frames *frames, uint32_t frame)
{
    assert(frames->shares[frame] > 0);
    if (--frames->shares[frame] == 0)
        frames->free[frames->left++] = frame;
}

bool
frames_is_shared(const struct frames *frames, uint32_t frame)
{
    return frames->shares[frame] > 1;
}

uint32_t
frames_left(const struct frames *frames)
{
    return frames->left;
}

char *
frames_data(const struct frames *frames, uint32_t frame)
{
    assert(frame < frames->count);
    return frames->memory + (size_t)frame * frames->frame_bytes;
}
