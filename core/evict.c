/* SPDX-License-Identifier: Apache-2.0 */
/* Which block leaves the cache: the queues of 2Q, with second chances instead of an order of use.
 *
 * A block that is used many times within a moment is not worth more for it: a sequential reader asks for each block in
 * several parts, a file's blocks are read while the file is open.  It shows its worth when it is used again later: when
 * it comes back after it fell out of a short queue of new blocks, or while it is still there, because nothing was
 * chosen for long.  So a scan only ever passes through that queue, and what has shown its worth stays.
 *
 *   queue      of                             its oldest, when it should go
 *   NEW        blocks that were used once     worth it: to HOT as its newest.  Else it goes, and becomes a ghost
 *   HOT        blocks that are worth it       used since: newest again, with one use less.  Else it goes
 *   PROTECTED  blocks below protected_count   as in HOT
 *   ghosts     numbers of blocks that went    as many as half of the slots; a block among them comes back to HOT
 *
 * What goes is of NEW if that has more than an eighth of the slots that NEW and HOT have, else of HOT.  A block in NEW
 * is worth it when a use comes after its first use and an eighth of the slots full of other new blocks.  (The first use
 * is not its coming: it may have been read ahead.)  In HOT up to USES_MAX uses count, so a use costs no more than a
 * counter.  So that no choice takes long, however much was used, at most CHANCES_MAX blocks are spared in one.
 *
 * The half is 2Q's (Kout); its quarter for NEW (Kin), and LRU in HOT, were not as good: tests/bench/README.md has the
 * figures.  The eighth is rounded down, so that a cache of two or three slots keeps a hot block, too; for it there is
 * also one ghost more, since a block that comes back is only looked for among them when another one has become a ghost
 * to make room for it.
 *
 *   a slot is   on queue   next
 *   FREE        none       HELD (insert), WAITING (unchoose)
 *   HELD        none       WAITING (release), FREE (remove)
 *   WAITING     its own    HELD (hold), FREE (choose, remove)
 *
 * A slot belongs to its queue, and counts there, while it is held: blocks that are written once take the room of
 * new blocks, however many of them are dirty.  What is released is the newest of its queue.  For NEW this means that a
 * block starts anew each time that it was written to the store: where it stood before is not known any more, and one
 * that is written again and again is in use. */
#include "evict.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define NO_BLOCK UINT64_MAX
#define USES_MAX 3u
#define CHANCES_MAX 32u
#define NEW_SHARE 8u /* an eighth */

enum queue { NEW, HOT, PROTECTED, QUEUES };
enum state { FREE, HELD, WAITING };

/* A queue is a ring closed by an entry of its own, whose `older` is the newest and whose `newer` is the oldest. */
struct link {
    uint32_t newer, older;
};

struct slot {
    uint64_t block;
    uint32_t first_use; /* NEW, if uses > 0: news_count then */
    uint8_t queue, state;
    uint8_t uses; /* since it was spared; in NEW: 1 for the first, 2 when it has shown its worth */
};

struct ghost {
    uint64_t block;     /* NO_BLOCK: not in use */
    uint32_t same_hash; /* another one, or EVICT_NONE */
    uint32_t first; /* unrelated: the first ghost whose hash is this entry's index, or EVICT_NONE */
};

struct evict {
    uint32_t slots_max, ghosts_max;
    uint64_t protected_count;
    uint32_t news_count;      /* of blocks that came to NEW so far; wraps */
    uint32_t counts[QUEUES];  /* of slots, held ones too */
    struct slot *slots;       /* slots_max */
    struct link *slot_links;  /* slots_max, then one for each queue */
    struct ghost *ghosts;     /* ghosts_max */
    struct link *ghost_links; /* ghosts_max, then the ring's; those not in use are the oldest */
};

/* ---- rings */

static void
ring_init(struct link *links, uint32_t ring)
{
    links[ring].newer = links[ring].older = ring;
}

static void
link_out(struct link *links, uint32_t i)
{
    links[links[i].newer].older = links[i].older;
    links[links[i].older].newer = links[i].newer;
}

/* Just older than `newer`; as the newest, if that is the ring's own. */
static void
link_in(struct link *links, uint32_t i, uint32_t newer)
{
    uint32_t older = links[newer].older;

    links[i].newer = newer;
    links[i].older = older;
    links[older].newer = i;
    links[newer].older = i;
}

/* ---- ghosts */

/* Where the index of the block's ghost is, or EVICT_NONE. */
static uint32_t *
ghost_find(struct evict *evict, uint64_t block)
{
    uint64_t hash = block * 0x9e3779b97f4a7c15u;
    uint32_t *at = &evict->ghosts[(hash >> 32) * evict->ghosts_max >> 32].first;

    while (*at != EVICT_NONE && evict->ghosts[*at].block != block)
        at = &evict->ghosts[*at].same_hash;
    return at;
}

static void
ghost_unhash(struct evict *evict, uint32_t *at)
{
    struct ghost *ghost = &evict->ghosts[*at];

    *at = ghost->same_hash;
    ghost->block = NO_BLOCK;
}

static bool
ghost_forget(struct evict *evict, uint64_t block)
{
    uint32_t *at = ghost_find(evict, block), i = *at, ring = evict->ghosts_max;

    if (i == EVICT_NONE)
        return false;
    ghost_unhash(evict, at);
    link_out(evict->ghost_links, i);
    link_in(evict->ghost_links, i, evict->ghost_links[ring].newer);
    return true;
}

static void
ghost_remember(struct evict *evict, uint64_t block)
{
    uint32_t ring = evict->ghosts_max, i = evict->ghost_links[ring].newer, *at;
    struct ghost *ghost = &evict->ghosts[i];

    if (ghost->block != NO_BLOCK)
        ghost_unhash(evict, ghost_find(evict, ghost->block));
    at = ghost_find(evict, block);
    assert(*at == EVICT_NONE);
    ghost->block = block;
    ghost->same_hash = EVICT_NONE;
    *at = i;
    link_out(evict->ghost_links, i);
    link_in(evict->ghost_links, i, ring);
}

/* ---- slots */

static uint32_t
ring_of(const struct evict *evict, enum queue queue)
{
    return evict->slots_max + (uint32_t)queue;
}

static struct slot *
slot_of(struct evict *evict, uint32_t slot)
{
    assert(slot < evict->slots_max);
    return &evict->slots[slot];
}

static void
slot_free(struct evict *evict, uint32_t i)
{
    struct slot *slot = slot_of(evict, i);

    if (slot->state == WAITING)
        link_out(evict->slot_links, i);
    slot->state = FREE;
    evict->counts[slot->queue]--;
}

void
evict_insert(struct evict *evict, uint32_t slot, uint64_t block)
{
    struct slot *new = slot_of(evict, slot);
    bool is_back = ghost_forget(evict, block);

    assert(new->state == FREE &&block != NO_BLOCK);
    new->block = block;
    new->queue = block < evict->protected_count ? PROTECTED : is_back ? HOT : NEW;
    new->state = HELD;
    new->uses = 0;
    evict->news_count += new->queue == NEW;
    evict->counts[new->queue]++;
}

void
evict_touch(struct evict *evict, uint32_t slot)
{
    struct slot *used = slot_of(evict, slot);

    assert(used->state != FREE);
    if (used->queue != NEW) {
        used->uses += used->uses < USES_MAX;
    } else if (used->uses == 0) {
        used->uses = 1;
        used->first_use = evict->news_count;
    } else if (evict->news_count - used->first_use > evict->slots_max / NEW_SHARE) {
        used->uses = 2;
    }
}

void
evict_release(struct evict *evict, uint32_t slot)
{
    struct slot *held = slot_of(evict, slot);

    assert(held->state == HELD);
    held->state = WAITING;
    link_in(evict->slot_links, slot, ring_of(evict, held->queue));
}

void
evict_hold(struct evict *evict, uint32_t slot)
{
    struct slot *waiting = slot_of(evict, slot);

    assert(waiting->state == WAITING);
    waiting->state = HELD;
    link_out(evict->slot_links, slot);
}

void
evict_remove(struct evict *evict, uint32_t slot)
{
    assert(slot_of(evict, slot)->state != FREE);
    slot_free(evict, slot);
}

static bool
is_empty(const struct evict *evict, enum queue queue)
{
    uint32_t ring = ring_of(evict, queue);

    return evict->slot_links[ring].newer == ring;
}

/* PROTECTED, if there is none to choose from. */
static enum queue
queue_to_shrink(const struct evict *evict)
{
    uint32_t news_max = (evict->counts[NEW] + evict->counts[HOT]) / NEW_SHARE;
    enum queue first = evict->counts[NEW] > news_max ? NEW : HOT;
    enum queue second = first == NEW ? HOT : NEW;

    return !is_empty(evict, first) ? first : !is_empty(evict, second) ? second : PROTECTED;
}

/* Does it stay once more? */
static bool
is_spared(struct evict *evict, uint32_t i)
{
    struct slot *slot = &evict->slots[i];

    if (slot->queue != NEW) {
        if (slot->uses == 0)
            return false;
        slot->uses--;
    } else {
        if (slot->uses < 2)
            return false;
        slot->uses = 0;
        evict->counts[NEW]--;
        slot->queue = HOT;
        evict->counts[HOT]++;
    }
    link_out(evict->slot_links, i);
    link_in(evict->slot_links, i, ring_of(evict, slot->queue));
    return true;
}

uint32_t
evict_choose(struct evict *evict)
{
    unsigned chances = CHANCES_MAX;
    enum queue queue;
    uint32_t slot;

    do {
        queue = queue_to_shrink(evict);
        if (is_empty(evict, queue))
            return EVICT_NONE;
        slot = evict->slot_links[ring_of(evict, queue)].newer;
    } while (chances-- > 0 && is_spared(evict, slot));
    if (queue == NEW)
        ghost_remember(evict, evict->slots[slot].block);
    slot_free(evict, slot);
    return slot;
}

void
evict_unchoose(struct evict *evict, uint32_t i)
{
    struct slot *slot = slot_of(evict, i);
    uint32_t ring = ring_of(evict, slot->queue);

    assert(slot->state == FREE);
    ghost_forget(evict, slot->block);
    slot->state = WAITING;
    evict->counts[slot->queue]++;
    link_in(evict->slot_links, i, evict->slot_links[ring].newer);
}

/* ---- life */

int
evict_new(uint32_t slots_max, uint64_t protected_count, struct evict **out)
{
    struct evict *evict = calloc(1, sizeof *evict);

    assert(slots_max >= 1 && slots_max < EVICT_NONE - QUEUES);
    if (evict == NULL)
        return -ENOMEM;
    evict->slots_max = slots_max;
    evict->ghosts_max = slots_max / 2 + 1;
    evict->protected_count = protected_count;
    evict->slots = calloc(slots_max, sizeof evict->slots[0]);
    evict->slot_links = calloc((size_t)slots_max + QUEUES, sizeof evict->slot_links[0]);
    evict->ghosts = calloc(evict->ghosts_max, sizeof evict->ghosts[0]);
    evict->ghost_links = calloc((size_t)evict->ghosts_max + 1, sizeof evict->ghost_links[0]);
    if (evict->slots == NULL || evict->slot_links == NULL || evict->ghosts == NULL
        || evict->ghost_links == NULL) {
        evict_free(evict);
        return -ENOMEM;
    }
    for (uint32_t queue = 0; queue < QUEUES; queue++)
        ring_init(evict->slot_links, slots_max + queue);
    ring_init(evict->ghost_links, evict->ghosts_max);
    for (uint32_t i = 0; i < evict->ghosts_max; i++) {
        evict->ghosts[i].block = NO_BLOCK;
        evict->ghosts[i].first = EVICT_NONE;
        link_in(evict->ghost_links, i, evict->ghosts_max);
    }
    *out = evict;
    return 0;
}

void
evict_free(struct evict *evict)
{
    if (evict == NULL)
        return;
    free(evict->slots);
    free(evict->slot_links);
    free(evict->ghosts);
    free(evict->ghost_links);
    free(evict);
}
