/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of each block, in two levels. */
#include "zeromap.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* A filesystem's metadata lies scattered over the whole disk, in runs of a few thousand blocks: chunks
 * are small, so that the rest of what lies around such a run costs little. */
#define CHUNK_BLOCKS 4096u
#define WORD_BLOCKS 32u
#define CHUNK_WORDS (CHUNK_BLOCKS / WORD_BLOCKS)

/* The lower bit of each of a word's states. */
#define LOW_BITS 0x5555555555555555u

struct chunk {
    uint64_t *words;  /* 2 bits a block; NULL: all are `uniform` */
    uint16_t data;    /* blocks in state DATA */
    uint16_t unknown; /* in state UNKNOWN; 0 while uniform */
    uint8_t uniform;
};

struct zeromap {
    uint64_t block_count;
    uint64_t data_count, zero_count;
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
        free(map->chunks[i].words);
    free(map);
}

/* ---- words */

/* The lower bit of each state that is one of `states`. */
static uint64_t
word_match(uint64_t word, unsigned states)
{
    uint64_t low = word & LOW_BITS, high = word >> 1 & LOW_BITS, match = 0;

    if (states & 1u << BLOCK_UNKNOWN)
        match |= LOW_BITS & ~low & ~high;
    if (states & 1u << BLOCK_ZERO)
        match |= low & ~high;
    if (states & 1u << BLOCK_DATA)
        match |= high & ~low;
    return match;
}

/* The bits of blocks [first, end) of a word. */
static uint64_t
word_mask(uint32_t first, uint32_t end)
{
    uint64_t below_end = end == WORD_BLOCKS ? UINT64_MAX : (1ull << end * 2) - 1;

    return below_end & ~((1ull << first * 2) - 1);
}

/* ---- chunks */

static uint32_t
chunk_blocks(const struct zeromap *map, uint64_t number)
{
    uint64_t rest = map->block_count - number * CHUNK_BLOCKS;

    return rest < CHUNK_BLOCKS ? (uint32_t)rest : CHUNK_BLOCKS;
}

static uint32_t
chunk_zeros(const struct zeromap *map, uint64_t number)
{
    const struct chunk *chunk = &map->chunks[number];
    uint32_t blocks = chunk_blocks(map, number);

    if (chunk->words == NULL)
        return chunk->uniform == BLOCK_ZERO ? blocks : 0;
    return blocks - chunk->data - chunk->unknown;
}

/* All blocks of the chunk take one state. */
static void
chunk_fill(struct zeromap *map, uint64_t number, enum block_state state)
{
    struct chunk *chunk = &map->chunks[number];
    uint16_t data = state == BLOCK_DATA ? (uint16_t)chunk_blocks(map, number) : 0;

    map->zero_count -= chunk_zeros(map, number);
    free(chunk->words);
    chunk->words = NULL;
    chunk->uniform = (uint8_t)state;
    chunk->unknown = 0;
    map->data_count = map->data_count - chunk->data + data;
    chunk->data = data;
    map->zero_count += chunk_zeros(map, number);
}

/* A mixed chunk that has become uniform gives its memory back. */
static void
chunk_pack(struct zeromap *map, uint64_t number)
{
    const struct chunk *chunk = &map->chunks[number];
    uint32_t blocks = chunk_blocks(map, number);

    if (chunk->unknown == blocks)
        chunk_fill(map, number, BLOCK_UNKNOWN);
    else if (chunk->data == blocks)
        chunk_fill(map, number, BLOCK_DATA);
    else if (chunk->data == 0 && chunk->unknown == 0)
        chunk_fill(map, number, BLOCK_ZERO);
}

static bool
chunk_mix(struct zeromap *map, uint64_t number)
{
    struct chunk *chunk = &map->chunks[number];

    if (chunk->words != NULL)
        return true;
    chunk->words = malloc(CHUNK_WORDS * sizeof *chunk->words);
    if (chunk->words == NULL)
        return false;
    for (unsigned i = 0; i < CHUNK_WORDS; i++)
        chunk->words[i] = chunk->uniform * LOW_BITS;
    if (chunk->uniform == BLOCK_UNKNOWN)
        chunk->unknown = (uint16_t)chunk_blocks(map, number);
    return true;
}

/* Of the blocks [first, end) of a chunk, those in state `from` go to state `to`. */
static void
chunk_change(struct zeromap *map, uint64_t number, uint32_t first, uint32_t end,
             enum block_state from, enum block_state to)
{
    struct chunk *chunk = &map->chunks[number];
    uint32_t changed = 0;

    if (chunk->words == NULL && chunk->uniform != from)
        return;
    if (chunk->words == NULL && first == 0 && end == chunk_blocks(map, number)) {
        chunk_fill(map, number, to);
        return;
    }
    if (!chunk_mix(map, number)) {
        chunk_fill(map, number, BLOCK_DATA);
        return;
    }
    while (first < end) {
        uint64_t *word = &chunk->words[first / WORD_BLOCKS];
        uint32_t word_first = first % WORD_BLOCKS;
        uint32_t word_end =
            end - first < WORD_BLOCKS - word_first ? word_first + end - first : WORD_BLOCKS;
        uint64_t match = word_match(*word, 1u << from) & word_mask(word_first, word_end);

        *word = (*word & ~(match * 3)) | match * to;
        changed += (uint32_t)__builtin_popcountll(match);
        first += word_end - word_first;
    }
    if (from == BLOCK_UNKNOWN)
        chunk->unknown -= (uint16_t)changed;
    if (to == BLOCK_UNKNOWN)
        chunk->unknown += (uint16_t)changed;
    if (from == BLOCK_ZERO)
        map->zero_count -= changed;
    if (to == BLOCK_ZERO)
        map->zero_count += changed;
    if (from == BLOCK_DATA) {
        chunk->data -= (uint16_t)changed;
        map->data_count -= changed;
    }
    if (to == BLOCK_DATA) {
        chunk->data += (uint16_t)changed;
        map->data_count += changed;
    }
    chunk_pack(map, number);
}

/* The first block of [first, end) of a mixed chunk in one of the states; `end` if there is none. */
static uint32_t
chunk_find(const struct chunk *chunk, uint32_t first, uint32_t end, unsigned states)
{
    uint64_t mask = word_mask(first % WORD_BLOCKS, WORD_BLOCKS);

    for (uint32_t i = first / WORD_BLOCKS; i * WORD_BLOCKS < end; i++) {
        uint64_t match = word_match(chunk->words[i], states) & mask;

        if (match != 0) {
            uint32_t found = i * WORD_BLOCKS + (uint32_t)__builtin_ctzll(match) / 2;

            return found < end ? found : end;
        }
        mask = UINT64_MAX;
    }
    return end;
}

/* ---- the map */

enum block_state
zeromap_get(const struct zeromap *map, uint64_t block)
{
    const struct chunk *chunk = &map->chunks[block / CHUNK_BLOCKS];
    uint32_t i = block % CHUNK_BLOCKS;

    assert(block < map->block_count);
    if (chunk->words == NULL)
        return chunk->uniform;
    return chunk->words[i / WORD_BLOCKS] >> (i % WORD_BLOCKS * 2) & 3;
}

void
zeromap_set(struct zeromap *map, uint64_t block, enum block_state state)
{
    enum block_state old = zeromap_get(map, block);

    if (old != state)
        chunk_change(map, block / CHUNK_BLOCKS, block % CHUNK_BLOCKS, block % CHUNK_BLOCKS + 1, old,
                     state);
}

/* Where the part of [first, end) that lies in the first block's chunk ends, counted from the chunk's first block. */
static uint32_t
part_end(const struct zeromap *map, uint64_t first, uint64_t end)
{
    uint64_t number = first / CHUNK_BLOCKS;
    uint32_t blocks = chunk_blocks(map, number);

    return end - number * CHUNK_BLOCKS < blocks ? (uint32_t)(end - number * CHUNK_BLOCKS) : blocks;
}

void
zeromap_change(struct zeromap *map, uint64_t first, uint64_t end, enum block_state from,
               enum block_state to)
{
    while (first < end) {
        uint64_t number = first / CHUNK_BLOCKS;
        uint32_t to_end = part_end(map, first, end);

        chunk_change(map, number, first % CHUNK_BLOCKS, to_end, from, to);
        first = number * CHUNK_BLOCKS + to_end;
    }
}

uint64_t
zeromap_find(const struct zeromap *map, uint64_t first, uint64_t end, unsigned states)
{
    while (first < end) {
        uint64_t number = first / CHUNK_BLOCKS;
        const struct chunk *chunk = &map->chunks[number];
        uint32_t to_end = part_end(map, first, end), found;

        if (chunk->words == NULL)
            found = 1u << chunk->uniform & states ? first % CHUNK_BLOCKS : to_end;
        else
            found = chunk_find(chunk, first % CHUNK_BLOCKS, to_end, states);
        first = number * CHUNK_BLOCKS + found;
        if (found < to_end)
            return first;
    }
    return end;
}

uint64_t
zeromap_count_unknown(const struct zeromap *map, uint64_t first, uint64_t end, uint64_t enough)
{
    uint64_t count = 0;

    while (first < end && count < enough) {
        uint64_t number = first / CHUNK_BLOCKS;
        const struct chunk *chunk = &map->chunks[number];
        uint32_t i = first % CHUNK_BLOCKS, to_end = part_end(map, first, end);

        first = number * CHUNK_BLOCKS + to_end;
        if (chunk->words == NULL) {
            count += chunk->uniform == BLOCK_UNKNOWN ? to_end - i : 0;
            continue;
        }
        if (i == 0 && to_end == CHUNK_BLOCKS) {
            count += chunk->unknown;
            continue;
        }
        while (chunk->unknown > 0
               && (i = chunk_find(chunk, i, to_end, 1u << BLOCK_UNKNOWN)) < to_end) {
            count++;
            i++;
        }
    }
    return count < enough ? count : enough;
}

uint64_t
zeromap_data_count(const struct zeromap *map)
{
    return map->data_count;
}

uint64_t
zeromap_zero_count(const struct zeromap *map)
{
    return map->zero_count;
}
