/* SPDX-License-Identifier: Apache-2.0 */
/* What is in the cache file and not in the store: in which order it is sent, and who waits for that.
 *
 * THE QUEUE has an element for each block since it became dirty, oldest first.  An element is sent when it has waited
 * for write_delay_ns, or at once when somebody waits.  What it finds then may be clean (it was zeroed), or on its way (it was
 * zeroed and written again): then there is nothing to do, or that flight is enough for both.
 *
 *   a block's flight is    because                                   and then
 *   UNDER_WAY              its turn came                             stored: gone, or back to the queue if it was written meanwhile
 *   WAITS                  storing it failed, or a flush waits       UNDER_WAY after a pause, or at once for who waits
 *                          for what was written meanwhile
 *   PARKED                 somebody holds the block                  WAITS when he does no more
 *
 * An element whose block is held stays where it is, and those behind it go: a zeroed range may be a great part of the file.  It
 * is looked at again when the hold ends.  What has left the queue from among such is NO_BLOCK there.
 *
 * POSITIONS.  Who waits takes a position in the queue, and goes on when nothing at or before it is in the queue or in
 * flight; after an error, when nothing of that is UNDER_WAY.  So a store that refuses everything does not make
 * a flight of each block in the queue: a failed one stays one.  What failed, and what was written during a flight, gets the position that comes next: behind all who wait, before all who will. */
#include "tier_impl.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RING_FIRST 1024u
#define TICK_NS (NS_PER_S / 16)
#define FAILED_PAUSE_NS (5 * NS_PER_S)
#define FAILED_MAX 1024u /* flights, while the store refuses everything */
#define NO_MEMORY_PAUSE_NS (100 * NS_PER_MS)
/* Elements between one that is held and one that goes: they take memory, and are looked at again when the hold ends. */
#define PASSED_MAX (1u << 18)

static void fly_run(struct task *task);

/* ---- the queue */

static struct unsent *
element(const struct tier *tier, uint64_t position)
{
    return &tier->ring[position & (tier->ring_size - 1)];
}

int
queue_promise(struct tier *tier, unsigned count)
{
    uint64_t needed = tier->tail - tier->head + tier->promised + count;
    uint64_t size = tier->ring_size > 0 ? tier->ring_size : RING_FIRST;
    struct unsent *ring;

    if (needed > tier->ring_size) {
        while (size < needed)
            size *= 2;
        ring = malloc(sizeof *ring * size);
        if (ring == NULL)
            return -ENOMEM;
        for (uint64_t i = tier->head; i < tier->tail; i++)
            ring[i & (size - 1)] = *element(tier, i);
        free(tier->ring);
        tier->ring = ring;
        tier->ring_size = size;
    }
    tier->promised += count;
    return 0;
}

void
queue_unpromise(struct tier *tier)
{
    tier->promised--;
}

static void
push(struct tier *tier, uint32_t block)
{
    if (tier->head == tier->tail && tier->flights == NULL)
        tier->stored_ns = clock_now_ns();
    *element(tier, tier->tail++) =
        (struct unsent){ .block = block, .since = (uint32_t)(clock_now_ns() / TICK_NS) };
    tier->promised--;
}

static struct flight *
flight_of(const struct tier *tier, uint64_t block)
{
    struct flight *flight = tier->flights;

    while (flight != NULL && flight->block != block)
        flight = flight->next;
    return flight;
}

void
queue_add(struct tier *tier, uint64_t block, bool was_dirty)
{
    struct flight *flight;

    if (!was_dirty) {
        push(tier, (uint32_t)block);
        return;
    }
    tier->promised--;
    flight = flight_of(tier, block);
    if (flight != NULL && flight->state == FLIGHT_UNDER_WAY && flight->again_position == 0)
        flight->again_position = tier->tail;
}

/* ---- who waits */

/* Somebody waits for this position. */
static bool
is_awaited(const struct tier *tier, uint64_t position)
{
    const struct job *job = tier->flushes;

    while (job != NULL && (job->rc != 0 || job->position < position))
        job = job->next;
    return job != NULL;
}

static bool
is_sent(const struct tier *tier, uint64_t position)
{
    const struct flight *flight = tier->flights;

    while (flight != NULL && flight->position > position)
        flight = flight->next;
    return flight == NULL && tier->head > position;
}

/* Who waits for this position has waited for long enough. */
static bool
is_waited(const struct tier *tier, const struct job *job)
{
    const struct flight *flight = tier->flights;

    if (job->rc == 0)
        return is_sent(tier, job->position);
    while (flight != NULL
           && (flight->state != FLIGHT_UNDER_WAY || flight->position > job->position))
        flight = flight->next;
    return flight == NULL;
}

void
await_sent(struct job *job, void (*go_on)(struct job *job))
{
    struct tier *tier = job->tier;

    job->go_on = go_on;
    job->rc = 0;
    pthread_mutex_lock(&tier->lock);
    if (queue_promise(tier, 1) != 0) {
        pthread_mutex_unlock(&tier->lock);
        job->rc = -ENOMEM;
        go_on(job);
        return;
    }
    job->position = tier->tail;
    push(tier, NO_BLOCK);
    job->next = tier->flushes;
    tier->flushes = job;
    drive(tier);
}

static void
end_flushes(struct tier *tier, struct job_list *ended)
{
    for (struct job **link = &tier->flushes; *link != NULL;) {
        struct job *job = *link;

        if (tier->is_lost)
            job->rc = -EROFS;
        else if (tier->is_stopped && job->rc == 0 && !is_sent(tier, job->position))
            job->rc = -ECANCELED;
        if (!tier->is_lost && !tier->is_stopped && !is_waited(tier, job)) {
            link = &job->next;
            continue;
        }
        *link = job->next;
        list_push(ended, job);
    }
}

/* Those who wait for room try again, or fail.  *next_ns becomes when the first of them does. */
static void
end_waiting(struct tier *tier, uint64_t now, uint64_t *next_ns, struct job_list *again,
            struct job_list *failed)
{
    struct job_list stay = { NULL, NULL };
    uint64_t stall_ns = tier->config.stall_ns;
    bool is_room = is_room_now(tier, now);
    struct job *job;

    while ((job = list_pop(&tier->waiting)) != NULL) {
        uint64_t since_ns =
            tier->has_failed || tier->stored_ns < job->came_ns ? job->came_ns : tier->stored_ns;

        job->rc = tier->is_lost ? -EROFS : tier->is_stopped ? -ECANCELED : -EIO;
        if (tier->is_lost || tier->is_stopped) {
            list_push(failed, job);
        } else if (is_room) {
            list_push(again, job);
        } else if (stall_ns == UINT64_MAX || now - since_ns < stall_ns) {
            list_push(&stay, job);
            if (stall_ns != UINT64_MAX && since_ns + stall_ns < *next_ns)
                *next_ns = since_ns + stall_ns;
        } else {
            list_push(failed, job);
        }
    }
    tier->waiting = stay;
}

/* ---- holds */

static struct job *
holder_of(const struct tier *tier, uint64_t block)
{
    struct job *job = tier->holders;

    while (job != NULL && (block < job->first || block > job->last))
        job = job->hold_next;
    return job;
}

static bool
is_held(const struct tier *tier, uint64_t block)
{
    return holder_of(tier, block) != NULL;
}

void
hold(struct job *job, void (*go_on)(struct job *job))
{
    struct tier *tier = job->tier;
    bool is_free;

    job->go_on = go_on;
    job->rc = 0;
    job->passed = UINT64_MAX;
    pthread_mutex_lock(&tier->lock);
    job->hold_next = tier->holders;
    tier->holders = job;
    for (struct flight *flight = tier->flights; flight != NULL; flight = flight->next) {
        if (flight->block < job->first || flight->block > job->last)
            continue;
        if (flight->state == FLIGHT_UNDER_WAY)
            job->held_up++;
        else
            flight->state = FLIGHT_PARKED;
    }
    is_free = job->held_up == 0;
    pthread_mutex_unlock(&tier->lock);
    if (is_free)
        go_on(job);
}

void
hold_end(struct job *job)
{
    struct tier *tier = job->tier;
    struct job **link = &tier->holders;

    pthread_mutex_lock(&tier->lock);
    while (*link != job)
        link = &(*link)->hold_next;
    *link = job->hold_next;
    if (job->passed < tier->next_position)
        tier->next_position = job->passed > tier->head ? job->passed : tier->head;
    for (struct flight *flight = tier->flights; flight != NULL; flight = flight->next) {
        if (flight->state == FLIGHT_PARKED && !is_held(tier, flight->block)) {
            flight->state = FLIGHT_WAITS;
            flight->retry_ns = 0;
        }
    }
    room_made(tier);
    drive(tier);
}

/* A flight is over: who held the block up to that goes on. */
static void
end_holds(struct tier *tier, const struct flight *flight, struct job_list *held)
{
    for (struct job *job = tier->holders; job != NULL; job = job->hold_next) {
        if (flight->block >= job->first && flight->block <= job->last && --job->held_up == 0)
            list_push(held, job);
    }
}

/* ---- what comes next */

static bool
is_urgent(const struct tier *tier, uint64_t position)
{
    return tier->is_ending || tier->waiting.first != NULL || is_awaited(tier, position);
}

static struct flight *
flight_new(struct tier *tier, uint64_t position)
{
    const struct unsent *unsent = element(tier, position);
    struct flight *flight = calloc(1, sizeof *flight);

    if (flight == NULL)
        return NULL;
    flight->tier = tier;
    flight->block = unsent->block;
    flight->since = unsent->since;
    flight->position = position;
    flight->state = FLIGHT_WAITS;
    flight->next = tier->flights;
    tier->flights = flight;
    tier->flights_count++;
    return flight;
}

/* The block of an element is in flight already. */
static void
join(struct flight *flight, uint64_t position)
{
    if (flight->state == FLIGHT_UNDER_WAY
        && (flight->again_position == 0 || flight->again_position > position))
        flight->again_position = position;
    if (flight->position > position)
        flight->position = position;
}

/* Is there nothing to be done for an element? */
static bool
is_over(const struct tier *tier, const struct unsent *unsent)
{
    return unsent->block == NO_BLOCK || !cachefile_holds_dirty(tier->config.file, unsent->block);
}

/* The element at next_position leaves the queue. */
static void
leave_queue(struct tier *tier)
{
    element(tier, tier->next_position++)->block = NO_BLOCK;
    while (tier->head < tier->next_position && element(tier, tier->head)->block == NO_BLOCK)
        tier->head++;
}

/* The element at next_position stays until its block is held no more. */
static void
pass(struct tier *tier, struct job *holder)
{
    if (holder->passed > tier->next_position)
        holder->passed = tier->next_position;
    tier->next_position++;
}

/* The first element that is due, and not held, leaves the queue.  *next_ns becomes when the next one is. */
static struct flight *
next_of_queue(struct tier *tier, uint64_t now, uint64_t *next_ns)
{
    while (tier->next_position < tier->tail && tier->next_position - tier->head < PASSED_MAX) {
        const struct unsent *next = element(tier, tier->next_position);
        uint64_t due_ns = next->since * (uint64_t)TICK_NS + tier->config.write_delay_ns;
        struct flight *flight;
        struct job *holder;

        if (is_over(tier, next)) {
            leave_queue(tier);
            continue;
        }
        flight = flight_of(tier, next->block);
        if (flight != NULL) {
            join(flight, tier->next_position);
            leave_queue(tier);
            continue;
        }
        if (due_ns > now && !is_urgent(tier, tier->next_position)) {
            *next_ns = due_ns < *next_ns ? due_ns : *next_ns;
            return NULL;
        }
        holder = holder_of(tier, next->block);
        if (holder != NULL) {
            pass(tier, holder);
            continue;
        }
        if (tier->has_failed && tier->flights_count >= FAILED_MAX + tier->config.in_flight_max)
            return NULL;
        flight = flight_new(tier, tier->next_position);
        if (flight == NULL)
            *next_ns = now + NO_MEMORY_PAUSE_NS;
        else
            leave_queue(tier);
        return flight;
    }
    return NULL;
}

static struct flight *
next_of_flights(struct tier *tier, uint64_t now, uint64_t *next_ns)
{
    for (struct flight *flight = tier->flights; flight != NULL; flight = flight->next) {
        if (flight->state != FLIGHT_WAITS)
            continue;
        if (flight->retry_ns <= now || is_awaited(tier, flight->position))
            return flight;
        *next_ns = flight->retry_ns < *next_ns ? flight->retry_ns : *next_ns;
    }
    return NULL;
}

static void
timer_at(struct tier *tier, uint64_t at_ns)
{
    if (at_ns == UINT64_MAX || (tier->timer_is_set && tier->timer.at_ns <= at_ns))
        return;
    if (tier->timer_is_set && !pool_timer_cancel(tier->pool, &tier->timer))
        return; /* it is about to run */
    tier->timer_is_set = true;
    if (pool_timer_set(tier->pool, &tier->timer, at_ns) != 0)
        pool_submit(tier->pool, &tier->timer.task); /* no rest until there is memory */
}

static void
go_on(struct job_list *list)
{
    struct job *job;

    while ((job = list_pop(list)) != NULL)
        job->go_on(job);
}

void
drive(struct tier *tier)
{
    struct job_list flushed = { NULL, NULL }, again = { NULL, NULL }, failed = { NULL, NULL };
    uint64_t now = clock_now_ns(), next_ns = UINT64_MAX;
    struct flight *start = NULL, *flight;
    struct job *job;

    tier->driving++;
    while (!tier->is_stopped && !tier->is_lost && tier->flying < tier->config.in_flight_max) {
        flight = next_of_flights(tier, now, &next_ns);
        if (flight == NULL)
            flight = next_of_queue(tier, now, &next_ns);
        if (flight == NULL)
            break;
        flight->state = FLIGHT_UNDER_WAY;
        flight->is_asked = false;
        flight->start_next = start;
        start = flight;
        /* Pauses in which nothing was to be sent say nothing. */
        if (tier->flying++ == 0)
            tier->drained_ns = now;
    }
    while (tier->is_stopped && tier->next_position < tier->tail
           && is_over(tier, element(tier, tier->next_position)))
        leave_queue(tier);
    end_flushes(tier, &flushed);
    end_waiting(tier, now, &next_ns, &again, &failed);
    if (!tier->is_stopped)
        timer_at(tier, next_ns);
    pthread_mutex_unlock(&tier->lock);

    while ((flight = start) != NULL) {
        start = flight->start_next;
        flight->task.run = fly_run;
        pool_submit(tier->workers, &flight->task);
    }
    go_on(&flushed);
    go_on(&again);
    while ((job = list_pop(&failed)) != NULL)
        job_end(job, job->rc);

    pthread_mutex_lock(&tier->lock);
    if (--tier->driving == 0)
        pthread_cond_broadcast(&tier->idle);
    pthread_mutex_unlock(&tier->lock);
}

void
tier_timer_run(struct task *task)
{
    struct tier *tier = container_of(task, struct tier, timer.task);

    pthread_mutex_lock(&tier->lock);
    tier->timer_is_set = false;
    drive(tier);
}

uint64_t
oldest_ns(const struct tier *tier)
{
    uint32_t oldest = UINT32_MAX;
    uint64_t position = tier->head;

    while (position < tier->tail && element(tier, position)->block == NO_BLOCK)
        position++;
    if (position < tier->tail)
        oldest = element(tier, position)->since;
    for (const struct flight *flight = tier->flights; flight != NULL; flight = flight->next)
        oldest = flight->since < oldest ? flight->since : oldest;
    return oldest == UINT32_MAX ? UINT64_MAX : oldest * (uint64_t)TICK_NS;
}

/* ---- flights */

static void
flight_free(struct tier *tier, struct flight *flight)
{
    struct flight **link = &tier->flights;

    while (*link != flight)
        link = &(*link)->next;
    *link = flight->next;
    tier->flights_count--;
    free(flight);
}

/* It was written to while it was being stored. */
static void
fly_again(struct tier *tier, struct flight *flight)
{
    uint64_t position = flight->again_position != 0 ? flight->again_position : tier->tail;

    flight->again_position = 0;
    if (is_held(tier, flight->block) || is_awaited(tier, position) || queue_promise(tier, 1) != 0) {
        flight->state = is_held(tier, flight->block) ? FLIGHT_PARKED : FLIGHT_WAITS;
        flight->retry_ns = 0;
        flight->position = position;
        flight->since = (uint32_t)(clock_now_ns() / TICK_NS);
        return;
    }
    push(tier, flight->block);
    flight_free(tier, flight);
}

static void
fly_failed(struct tier *tier, struct flight *flight, int rc)
{
    counter_add(tier->store_failures, 1);
    tier->has_failed = tier->has_failed || flight->is_asked;
    tier->is_lost = tier->is_lost || rc == -EROFS;
    for (struct job *job = tier->flushes; job != NULL; job = job->next) {
        if (job->position >= flight->position && job->rc == 0)
            job->rc = rc;
    }
    flight->position = tier->tail;
    flight->again_position = 0;
    flight->state = is_held(tier, flight->block) ? FLIGHT_PARKED : FLIGHT_WAITS;
    flight->retry_ns = clock_now_ns() + FAILED_PAUSE_NS;
}

/* Something is stored. */
static void
note_drained(struct tier *tier)
{
    uint64_t now = clock_now_ns(), gap = now - tier->drained_ns;

    /* What was feared at first is soon forgotten. */
    if (gap < tier->drain_gap_ns)
        tier->drain_gap_ns = (tier->drain_gap_ns + gap) / 2;
    else
        tier->drain_gap_ns = (tier->drain_gap_ns * 7 + gap) / 8;
    tier->drained_ns = tier->stored_ns = now;
    tier->has_failed = false;
    room_made(tier);
}

/* rc: -ESTALE when the file has another version by now.  Else it had none any more at some time, and what came since then
 * may have left the queue. */
static void
fly_end(struct flight *flight, int rc)
{
    struct tier *tier = flight->tier;
    struct job_list held = { NULL, NULL };

    free(flight->data);
    flight->data = NULL;
    pthread_mutex_lock(&tier->lock);
    tier->flying--;
    end_holds(tier, flight, &held);
    if (rc == 0 && flight->again_position != 0
        && cachefile_holds_dirty(tier->config.file, flight->block))
        rc = -ESTALE;
    if (rc == 0 || rc == -ESTALE)
        note_drained(tier);
    if (rc == 0) {
        flight_free(tier, flight);
    } else if (rc == -ESTALE) {
        fly_again(tier, flight);
    } else {
        fly_failed(tier, flight, rc);
    }
    tier->driving++;
    drive(tier);
    go_on(&held);
    pthread_mutex_lock(&tier->lock);
    if (--tier->driving == 0)
        pthread_cond_broadcast(&tier->idle);
    pthread_mutex_unlock(&tier->lock);
}

static struct flight *
flight_of_task(struct task *task)
{
    return container_of(task, struct flight, task);
}

/* The store has it. */
static void
fly_stored(struct task *task)
{
    struct flight *flight = flight_of_task(task);
    struct cachefile *file = flight->tier->config.file;
    const struct store_version *stored = &flight->stored;
    const char *tag = stored->is == VERSION_TAG ? stored->tag : "";
    enum cachefile_base base = stored->is == VERSION_TAG      ? CACHEFILE_TAG
                               : stored->is == VERSION_ABSENT ? CACHEFILE_ABSENT
                                                              : CACHEFILE_UNKNOWN;
    struct error why;
    int rc;

    counter_add(flight->tier->stored, 1);
    rc = cachefile_stored(file, flight->block, flight->version, base, tag, &why);
    if (rc == -ESTALE) /* if this fails, it says less than it could */
        (void)cachefile_rebase(file, flight->block, base, tag, &why);
    pthread_mutex_lock(&flight->tier->lock);
    flight->tier->cleaned++;
    pthread_mutex_unlock(&flight->tier->lock);
    if (rc != 0 && rc != -ESTALE) {
        tier_file_failed(flight->tier, &why);
        cachefile_forget(file, flight->block, flight->block, flight->version);
        rc = cachefile_holds_dirty(file, flight->block) ? -ESTALE : 0;
    }
    fly_end(flight, rc);
}

static void
fly_done(struct store_req *below)
{
    struct flight *flight = container_of(below, struct flight, below);

    if (below->rc != 0) {
        fly_end(flight, below->rc);
        return;
    }
    flight->task.run = fly_stored;
    pool_submit(flight->tier->workers, &flight->task);
}

static void fly_fetched(struct store_req *below);

/* So that it need not be fetched again when the block is written to.  If the block has been meanwhile, it is what that made
 * of it. */
static void
keep_rest(struct flight *flight, const struct cachefile_info *info)
{
    const struct cachefile_block whole = { .block = flight->block,
                                           .state = CACHEFILE_DIRTY,
                                           .base = info->base,
                                           .tag = info->tag,
                                           .data = flight->data,
                                           .over = info->version };
    uint64_t version;
    struct error why;

    if (cachefile_put(flight->tier->config.file, &whole, &version, NULL, &why) == 0)
        flight->version = version;
}

/* Sends what the file has; first, if `has_rest` does not say that it is there, what it lacks is fetched. */
static void
fly(struct flight *flight, bool has_rest)
{
    struct tier *tier = flight->tier;
    uint32_t block_bytes = tier->config.block_bytes;
    struct cachefile_info info;
    struct error why;
    int rc = -ENOMEM;

    if (flight->data == NULL)
        flight->data = malloc(block_bytes);
    if (flight->data != NULL)
        rc = cachefile_get(tier->config.file, flight->block, &info, flight->data, NULL, &why);
    if (rc == -ENOENT || (rc == 0 && info.state != CACHEFILE_DIRTY)) {
        fly_end(flight, 0);
        return;
    }
    if (rc != 0) {
        if (rc != -ENOMEM && !flight->is_damage_told)
            log_each(BD_ERROR, "%s; it cannot be stored before it is written again, as a whole",
                     why.text);
        flight->is_damage_told = rc != -ENOMEM;
        fly_end(flight, rc);
        return;
    }
    flight->is_asked = true;
    flight->version = info.version;
    if (info.sectors_valid < tier->sectors && has_rest)
        keep_rest(flight, &info);
    flight->below = (struct store_req){ .op = STORE_WRITE,
                                        .block = flight->block,
                                        .bytes = block_bytes,
                                        .data = flight->data,
                                        .version = &flight->stored,
                                        .done = fly_done };
    if (info.sectors_valid < tier->sectors && !has_rest) {
        flight->below.op = STORE_READ;
        flight->below.version = NULL;
        flight->below.done = fly_fetched;
    }
    store_submit(tier->next, &flight->below);
}

static void
fly_rest(struct task *task)
{
    fly(flight_of_task(task), true);
}

static void
fly_fetched(struct store_req *below)
{
    struct flight *flight = container_of(below, struct flight, below);

    if (below->rc != 0) {
        fly_end(flight, below->rc);
        return;
    }
    flight->task.run = fly_rest;
    pool_submit(flight->tier->workers, &flight->task);
}

static void
fly_run(struct task *task)
{
    fly(flight_of_task(task), false);
}
