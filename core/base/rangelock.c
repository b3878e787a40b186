/* SPDX-License-Identifier: Apache-2.0 */
/* A reader-writer lock over ranges of block numbers. */
#include "rangelock.h"

#include "util.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

/* Nearly all entries are single blocks, and there may be very many of them (a 1 MiB write to blocks of
 * 512 bytes has 2048): they hang in buckets by number.  The few wider ones hang in one list, and pay for
 * looking at everything.  Each entry counts the conflicting ones before it; a release counts them down. */
#define BUCKETS 4096u

struct rangelock {
    pthread_mutex_t lock; /* guards everything below */
    uint64_t arrivals;
    uint64_t single_count;
    struct range *wide;
    struct range *single[BUCKETS];
};

static struct range **
list_of(struct rangelock *lock, const struct range *range)
{
    if (range->first != range->last)
        return &lock->wide;
    return &lock->single[(range->first ^ range->first >> 12) % BUCKETS];
}

/* Does `later` have to wait for `earlier`? */
static bool
conflict(const struct range *earlier, const struct range *later)
{
    return earlier->first <= later->last && later->first <= earlier->last && !earlier->is_watcher
           && (earlier->is_exclusive || later->is_exclusive);
}

static uint32_t
count_conflicts(const struct range *list, const struct range *range)
{
    uint32_t count = 0;

    for (; list != NULL; list = list->next)
        count += conflict(list, range);
    return count;
}

bool
range_acquire(struct rangelock *lock, struct range *range)
{
    struct range **list;
    bool is_granted;

    assert(range->first <= range->last);
    pthread_mutex_lock(&lock->lock);
    range->arrival = lock->arrivals++;
    range->blockers = count_conflicts(lock->wide, range);
    list = list_of(lock, range);
    if (list != &lock->wide) {
        range->blockers += count_conflicts(*list, range);
        lock->single_count++;
    } else if (lock->single_count > 0) {
        for (unsigned i = 0; i < BUCKETS; i++)
            range->blockers += count_conflicts(lock->single[i], range);
    }
    range->prev = NULL;
    range->next = *list;
    if (*list != NULL)
        (*list)->prev = range;
    *list = range;
    is_granted = range->blockers == 0;
    pthread_mutex_unlock(&lock->lock);
    return is_granted;
}

/* Count `gone` out of the later entries of a list; those that waited for it alone go to *grants. */
static void
unblock(struct range *list, const struct range *gone, struct range **grants)
{
    for (; list != NULL; list = list->next) {
        if (list->arrival < gone->arrival || !conflict(gone, list))
            continue;
        assert(list->blockers > 0);
        if (--list->blockers == 0) {
            list->grant_next = *grants;
            *grants = list;
        }
    }
}

void
range_release(struct rangelock *lock, struct range *range)
{
    struct range **list = list_of(lock, range), *grants = NULL, *ordered = NULL;

    pthread_mutex_lock(&lock->lock);
    assert(range->blockers == 0);
    if (range->prev != NULL)
        range->prev->next = range->next;
    else
        *list = range->next;
    if (range->next != NULL)
        range->next->prev = range->prev;
    unblock(lock->wide, range, &grants);
    if (list != &lock->wide) {
        lock->single_count--;
        unblock(*list, range, &grants);
    } else if (lock->single_count > 0) {
        for (unsigned i = 0; i < BUCKETS; i++)
            unblock(lock->single[i], range, &grants);
    }
    pthread_mutex_unlock(&lock->lock);

    /* Lists are newest first, so `grants` is about oldest last: turn it round to be fair. */
    while (grants != NULL) {
        struct range *next = grants->grant_next;

        grants->grant_next = ordered;
        ordered = grants;
        grants = next;
    }
    while (ordered != NULL) {
        struct range *next = ordered->grant_next; /* granted() may release and free it */

        ordered->granted(ordered);
        ordered = next;
    }
}

int
rangelock_new(struct rangelock **out)
{
    struct rangelock *lock = calloc(1, sizeof *lock);

    if (lock == NULL)
        return -ENOMEM;
    pthread_mutex_init(&lock->lock, NULL);
    *out = lock;
    return 0;
}

void
rangelock_free(struct rangelock *lock)
{
    if (lock == NULL)
        return;
    assert(lock->single_count == 0 && lock->wide == NULL);
    pthread_mutex_destroy(&lock->lock);
    free(lock);
}
