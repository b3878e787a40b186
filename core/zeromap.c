/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of each block, in two levels. */
#include "zeromap.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BLOCKS 65536u
#define CHUNK_BYTES (CHUNK_BLOCKS / 4)

struct chunk {
    uint8_t *states; /* 2 bits a block; NULL: all are `uniform` */
    uint32_t data;   /* blocks in state DATA */
    uint8_t uniform;
};

struct zeromap {
    uint64_t block_count;
    uint64_t data_count;
    uint64_t chunk_count;
    struct chunk chunks[];
};

int
zeromap_new(uint64_t block_count, struct zeromap **out)
{
    uint64_t chunk_count = (block_count + CHUNK_BLOCKS - 1) / CHUNK_BLOCKS;
    struct zeromap *map = calloc(1, sizeof *map + chunk_count * sizeof map->chunks[0]);

    if (map == NULL)
        return -ENOMEM;
    map->block_count = block_count;
    map->chunk_count = chunk_count;
    *out = map;
    return 0;
}

void
zeromap_free(struct zeromap *map)
{
    if (map == NULL)
        return;
    for (uint64_t i = 0; i < map->chunk_count; i++)
        free(map->chunks[i].states);
    free(map);
}

static enum block_state
chunk_get(const struct chunk *chunk, uint32_t i)
{
    if (chunk->states == NULL)
        return chunk->uniform;
    return chunk->states[i / 4] >> (i % 4 * 2) & 3;
}

static uint32_t
chunk_blocks(const struct zeromap *map, uint64_t number)
{
    uint64_t rest = map->block_count - number * CHUNK_BLOCKS;

    return rest < CHUNK_BLOCKS ? (uint32_t)rest : CHUNK_BLOCKS;
}

/* All blocks of the chunk take one state. */
static void
chunk_fill(struct zeromap *map, uint64_t number, enum block_state state)
{
    struct chunk *chunk = &map->chunks[number];
    uint32_t data = state == BLOCK_DATA ? chunk_blocks(map, number) : 0;

    free(chunk->states);
    chunk->states = NULL;
    chunk->uniform = (uint8_t)state;
    map->data_count = map->data_count - chunk->data + data;
    chunk->data = data;
}

enum block_state
zeromap_get(const struct zeromap *map, uint64_t block)
{
    assert(block < map->block_count);
    return chunk_get(&map->chunks[block / CHUNK_BLOCKS], block % CHUNK_BLOCKS);
}

void
zeromap_set(struct zeromap *map, uint64_t block, enum block_state state)
{
    struct chunk *chunk = &map->chunks[block / CHUNK_BLOCKS];
    uint32_t i = block % CHUNK_BLOCKS;
    enum block_state old = zeromap_get(map, block);
    unsigned shift = i % 4 * 2;

    if (old == state)
        return;
    if (chunk->states == NULL) {
        chunk->states = malloc(CHUNK_BYTES);
        if (chunk->states == NULL) {
            chunk_fill(map, block / CHUNK_BLOCKS, BLOCK_DATA);
            return;
        }
        memset(chunk->states, chunk->uniform * 0x55, CHUNK_BYTES);
    }
    chunk->states[i / 4] =
        (uint8_t)((chunk->states[i / 4] & ~(3u << shift)) | (unsigned)state << shift);
    if (old == BLOCK_DATA) {
        chunk->data--;
        map->data_count--;
    } else if (state == BLOCK_DATA) {
        chunk->data++;
        map->data_count++;
    }
}

void
zeromap_change(struct zeromap *map, uint64_t first, uint64_t end, enum block_state from,
               enum block_state to)
{
    while (first < end) {
        uint64_t number = first / CHUNK_BLOCKS;
        uint64_t chunk_first = number * CHUNK_BLOCKS;
        uint64_t chunk_end = chunk_first + chunk_blocks(map, number);
        struct chunk *chunk = &map->chunks[number];

        if (chunk->states == NULL && chunk->uniform != from) {
            first = chunk_end;
            continue;
        }
        if (chunk->states == NULL && first == chunk_first && end >= chunk_end) {
            chunk_fill(map, number, to);
            first = chunk_end;
            continue;
        }
        for (; first < chunk_end && first < end; first++) {
            if (zeromap_get(map, first) == from)
                zeromap_set(map, first, to);
        }
        /* A mixed chunk that has become all zeros gives its memory back. */
        if (to == BLOCK_ZERO && chunk->states != NULL && chunk->data == 0
            && zeromap_count_unknown(map, chunk_first, chunk_end, 1) == 0)
            chunk_fill(map, number, BLOCK_ZERO);
    }
}

uint64_t
zeromap_find(const struct zeromap *map, uint64_t first, uint64_t end, unsigned states)
{
    while (first < end) {
        uint64_t number = first / CHUNK_BLOCKS;
        const struct chunk *chunk = &map->chunks[number];
        uint64_t chunk_end = (number + 1) * CHUNK_BLOCKS;

        if (chunk->states == NULL) {
            if (1u << chunk->uniform & states)
                return first;
            first = chunk_end;
            continue;
        }
        for (; first < chunk_end && first < end; first++) {
            if (1u << chunk_get(chunk, first % CHUNK_BLOCKS) & states)
                return first;
        }
    }
    return end;
}

uint64_t
zeromap_count_unknown(const struct zeromap *map, uint64_t first, uint64_t end, uint64_t enough)
{
    uint64_t count = 0;

    while (count < enough) {
        const struct chunk *chunk;
        uint64_t run_end;

        first = zeromap_find(map, first, end, 1u << BLOCK_UNKNOWN);
        if (first >= end)
            break;
        chunk = &map->chunks[first / CHUNK_BLOCKS];
        run_end = first + 1;
        if (chunk->states == NULL)
            run_end = (first / CHUNK_BLOCKS + 1) * CHUNK_BLOCKS;
        if (run_end > end)
            run_end = end;
        count += run_end - first;
        first = run_end;
    }
    return count < enough ? count : enough;
}

uint64_t
zeromap_data_count(const struct zeromap *map)
{
    return map->data_count;
}
