/* SPDX-License-Identifier: Apache-2.0 */
/* What must be remembered of blocks that were written lately. */
#include "recent.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 1024u

struct memory {
    uint64_t block;
    uint64_t hold_until_ns;
    uint64_t written_ns;
    bool expects; /* the next two are to be looked at until written + tag_keep */
    bool is_absent;
    char *tag;                    /* NULL: any */
    struct memory *next;          /* of its bucket */
    struct memory *older, *newer; /* by the time of the last change */
};

struct recent {
    struct recent_config config;
    struct memory *buckets[BUCKETS];
    struct memory *oldest, *newest;
    uint64_t count;
    uint64_t settled_at_ns;
    uint64_t hold_all_until_ns; /* when there was no memory to note which block to hold */
};

static struct memory **
slot_of(struct recent *recent, uint64_t block)
{
    struct memory **slot = &recent->buckets[(block ^ block >> 10) % BUCKETS];

    while (*slot != NULL && (*slot)->block != block)
        slot = &(*slot)->next;
    return slot;
}

static const struct memory *
find(const struct recent *recent, uint64_t block)
{
    const struct memory *memory = recent->buckets[(block ^ block >> 10) % BUCKETS];

    while (memory != NULL && memory->block != block)
        memory = memory->next;
    return memory;
}

static void
age_unlink(struct recent *recent, struct memory *memory)
{
    *(memory->older != NULL ? &memory->older->newer : &recent->oldest) = memory->newer;
    *(memory->newer != NULL ? &memory->newer->older : &recent->newest) = memory->older;
}

static void
age_append(struct recent *recent, struct memory *memory)
{
    memory->older = recent->newest;
    memory->newer = NULL;
    *(recent->newest != NULL ? &recent->newest->newer : &recent->oldest) = memory;
    recent->newest = memory;
}

static uint64_t
expires_ns(const struct recent *recent, const struct memory *memory)
{
    uint64_t at = memory->hold_until_ns;
    uint64_t gap_ends = memory->written_ns + recent->config.write_gap_ns;
    uint64_t tag_ends = memory->written_ns + recent->config.tag_keep_ns;

    if (gap_ends > at)
        at = gap_ends;
    if (memory->expects && tag_ends > at)
        at = tag_ends;
    return at;
}

static void
forget(struct recent *recent, struct memory *memory)
{
    *slot_of(recent, memory->block) = memory->next;
    age_unlink(recent, memory);
    recent->count--;
    free(memory->tag);
    free(memory);
}

static bool
wants_tags(const struct recent *recent)
{
    return recent->config.tag_count_max > 0 && recent->config.tag_keep_ns > 0;
}

/* A hold is only ever made longer. */
static void
hold_all_until(struct recent *recent, uint64_t until_ns)
{
    if (until_ns > recent->hold_all_until_ns)
        recent->hold_all_until_ns = until_ns;
}

static bool
is_full(const struct recent *recent)
{
    return wants_tags(recent) && recent->count >= recent->config.tag_count_max;
}

static bool
tags_expire(const struct recent *recent)
{
    return recent->config.tag_keep_ns < TAG_KEEP_FOREVER_NS;
}

/* Room for one more tag of those that are kept for ever: the oldest goes, if nothing but its tag is remembered of it.
 * For the others recent_write_at_ns has made who writes wait for room, and what is written at once may take some more. */
static void
make_room(struct recent *recent)
{
    struct memory *oldest = recent->oldest;
    uint64_t now = clock_now_ns();

    if (is_full(recent) && !tags_expire(recent) && oldest != NULL && oldest->hold_until_ns <= now
        && oldest->written_ns + recent->config.write_gap_ns <= now)
        forget(recent, oldest);
}

/* The block's memory, made if need be, as the newest.  NULL: out of memory. */
static struct memory *
renew(struct recent *recent, uint64_t block)
{
    struct memory *memory = *slot_of(recent, block);

    if (memory != NULL) {
        age_unlink(recent, memory);
    } else {
        make_room(recent);
        memory = calloc(1, sizeof *memory);
        if (memory == NULL)
            return NULL;
        memory->block = block;
        *slot_of(recent, block) = memory;
        recent->count++;
    }
    age_append(recent, memory);
    return memory;
}

void
recent_note(struct recent *recent, uint64_t block, const struct object_req *object, const char *tag)
{
    const struct recent_config *config = &recent->config;
    bool is_held = object->unsettled_ns != 0 && config->settle_ns > 0;
    struct memory *memory;

    if (!is_held && !wants_tags(recent) && config->write_gap_ns == 0)
        return;
    /* That it is absent is known to consistency's map, too (if that has memory): no tag goes for it, and however many
     * blocks are deleted at once take no more room. */
    if (tag == NULL && !is_held && config->write_gap_ns == 0 && is_full(recent)
        && find(recent, block) == NULL)
        return;
    memory = renew(recent, block);
    if (memory == NULL) {
        if (is_held)
            hold_all_until(recent, object->unsettled_ns + config->settle_ns);
        return;
    }
    memory->written_ns = clock_now_ns();
    if (is_held) {
        memory->hold_until_ns = object->unsettled_ns + config->settle_ns;
        if (memory->hold_until_ns > recent->settled_at_ns)
            recent->settled_at_ns = memory->hold_until_ns;
    }
    /* A late repetition of the same bytes may change the tag, so after an unknown outcome any tag is
     * right, but not absence; after a failure, anything is. */
    free(memory->tag);
    memory->tag = NULL;
    memory->is_absent = tag == NULL;
    memory->expects = wants_tags(recent) && object->rc == 0;
    if (memory->expects && object->unsettled_ns == 0 && tag != NULL && tag[0] != '\0')
        memory->tag = strdup(tag);
}

/* When the holds and gaps of [first, last] are over. */
static uint64_t
free_at_ns(const struct recent *recent, uint64_t first, uint64_t last)
{
    uint64_t gap_ns = recent->config.write_gap_ns;
    uint64_t at = recent->hold_all_until_ns;
    const struct memory *memory = first == last ? find(recent, first) : recent->oldest;

    while (memory != NULL) {
        if (memory->block >= first && memory->block <= last) {
            if (memory->hold_until_ns > at)
                at = memory->hold_until_ns;
            if (gap_ns > 0 && memory->written_ns + gap_ns > at)
                at = memory->written_ns + gap_ns;
        }
        memory = first == last ? NULL : memory->newer;
    }
    return at;
}

uint64_t
recent_write_at_ns(struct recent *recent, uint64_t first, uint64_t last)
{
    uint64_t now = clock_now_ns(), at, room_at;

    while (recent->oldest != NULL && expires_ns(recent, recent->oldest) <= now)
        forget(recent, recent->oldest);
    at = free_at_ns(recent, first, last);
    if (is_full(recent) && tags_expire(recent) && recent->oldest != NULL
        && find(recent, first) == NULL) {
        room_at = expires_ns(recent, recent->oldest);
        if (room_at > at)
            at = room_at;
    }
    return at;
}

void
recent_hold_all(struct recent *recent, uint64_t until_ns)
{
    hold_all_until(recent, until_ns);
}

bool
recent_is_unsettled(const struct recent *recent, uint64_t block)
{
    const struct memory *memory = find(recent, block);
    uint64_t now = clock_now_ns();

    return recent->hold_all_until_ns > now || (memory != NULL && memory->hold_until_ns > now);
}

uint64_t
recent_settled_at_ns(const struct recent *recent)
{
    return recent->hold_all_until_ns > recent->settled_at_ns ? recent->hold_all_until_ns
                                                             : recent->settled_at_ns;
}

void
recent_expect(const struct recent *recent, uint64_t block, struct recent_expected *expected)
{
    const struct memory *memory = find(recent, block);

    expected->expects = memory != NULL && memory->expects
                        && clock_now_ns() < memory->written_ns + recent->config.tag_keep_ns;
    expected->tag[0] = '\0';
    if (!expected->expects)
        return;
    expected->is_absent = memory->is_absent;
    if (memory->tag != NULL)
        strcpy(expected->tag, memory->tag);
}

bool
recent_is_stale(const struct recent_expected *expected, const struct object_req *object)
{
    if (!expected->expects)
        return false;
    if (expected->is_absent || object->is_absent)
        return expected->is_absent != object->is_absent;
    return expected->tag[0] != '\0' && strcmp(expected->tag, object->tag) != 0;
}

int
recent_new(const struct recent_config *config, struct recent **out)
{
    struct recent *recent = calloc(1, sizeof *recent);

    if (recent == NULL)
        return -ENOMEM;
    recent->config = *config;
    *out = recent;
    return 0;
}

void
recent_free(struct recent *recent)
{
    if (recent == NULL)
        return;
    while (recent->oldest != NULL)
        forget(recent, recent->oldest);
    free(recent);
}

uint64_t
recent_count(const struct recent *recent)
{
    return recent->count;
}
