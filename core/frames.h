/* SPDX-License-Identifier: Apache-2.0 */
/* The cache's memory: frames of one block each in one mapping, shared by counting.
 *
 * A frame costs memory from its first use on.  Not thread-safe, but for frames_data: belongs to the cache. */
#ifndef CORE_FRAMES_H
#define CORE_FRAMES_H

#include <stdbool.h>
#include <stdint.h>

#define FRAME_NONE UINT32_MAX

struct frames;

int frames_new(uint32_t count, uint32_t frame_bytes, struct frames **out);
void frames_free(struct frames *frames);

/* A free frame, shared once; FRAME_NONE if there is none.  What it holds is undefined. */
uint32_t frames_take(struct frames *frames);
void frames_share(struct frames *frames, uint32_t frame);
/* The last one to drop it makes it free. */
void frames_drop(struct frames *frames, uint32_t frame);
bool frames_is_shared(const struct frames *frames, uint32_t frame); /* more than once */
uint32_t frames_left(const struct frames *frames);                  /* free ones */
/* Any thread. */
char *frames_data(const struct frames *frames, uint32_t frame);

#endif
