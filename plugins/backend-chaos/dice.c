/* SPDX-License-Identifier: Apache-2.0 */
/* The dice: a number for each request, the same in every replay.
 *
 * It is a hash of the seed, the operation, the name, and how often this operation came for this
 * name before; each kind of fault then mixes its own number in.  So a replay with the same seed
 * decides alike for the same requests, in whatever order the threads bring them. */
#include "chaos.h"

#include <stdlib.h>

/* How often an operation came for a name; 64 bits of hash stand for the pair. */
struct count {
    uint64_t key; /* 0: free */
    uint64_t value;
};

/* splitmix64's finaliser */
uint64_t
hash_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

uint64_t
hash_text(const char *text)
{
    uint64_t hash = 14695981039346656037ull; /* FNV-1a */

    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * 1099511628211ull;
    return hash;
}

static struct count *
count_find(struct count *counts, size_t room, uint64_t key)
{
    size_t slot = key & (room - 1);

    while (counts[slot].key != 0 && counts[slot].key != key)
        slot = (slot + 1) & (room - 1);
    return &counts[slot];
}

static bool
counts_grow_locked(struct dice *dice)
{
    size_t room = dice->counts_room == 0 ? 1024 : dice->counts_room * 2;
    struct count *counts = calloc(room, sizeof *counts);

    if (counts == NULL)
        return false;
    for (size_t i = 0; i < dice->counts_room; i++) {
        if (dice->counts[i].key != 0)
            *count_find(counts, room, dice->counts[i].key) = dice->counts[i];
    }
    free(dice->counts);
    dice->counts = counts;
    dice->counts_room = room;
    return true;
}

/* How often this was asked for before. Out of memory, a new name counts as never seen. */
static uint64_t
count_locked(struct dice *dice, uint64_t key)
{
    struct count *count;

    key += key == 0;
    if (dice->counts_used * 2 >= dice->counts_room && !counts_grow_locked(dice)) {
        if (dice->counts_used + 1 >= dice->counts_room)
            return 0;
    }
    count = count_find(dice->counts, dice->counts_room, key);
    if (count->key == 0) {
        count->key = key;
        dice->counts_used++;
    }
    return count->value++;
}

void
dice_init(struct dice *dice, uint64_t seed)
{
    dice->seed = seed;
    pthread_mutex_init(&dice->lock, NULL);
}

void
dice_free(struct dice *dice)
{
    pthread_mutex_destroy(&dice->lock);
    free(dice->counts);
}

uint64_t
dice_throw(struct dice *dice, uint32_t op, const char *name)
{
    uint64_t name_hash = hash_text(name), occurrence;

    pthread_mutex_lock(&dice->lock);
    occurrence = count_locked(dice, hash_mix(name_hash + op));
    pthread_mutex_unlock(&dice->lock);
    return hash_mix(hash_mix(hash_mix(dice->seed) ^ name_hash) + occurrence * OPS + op);
}

uint64_t
dice_draw(uint64_t thrown, enum fault fault)
{
    return hash_mix(thrown + (uint64_t)fault * 0x632be59bd9b4e019ull);
}
