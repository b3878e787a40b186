/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated world: chance, events, clock, pool, log, and how a run fails. */
#include "world.h"

#include "base/log.h"
#include "base/util.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define NO_SLOT UINT32_MAX

struct event {
    uint64_t at_ns;
    uint64_t number; /* chance decides among those of one instant */
    event_run *run;  /* NULL: was cancelled */
    void *arg;
    enum event_owner owner;
    uint32_t next_free;
};

static struct {
    struct world_config config;
    uint64_t random;
    uint64_t now_ns;
    uint64_t until_ns;
    bool is_stopping;
    enum world_end end;

    struct event *slots;
    uint32_t slot_count, slot_room, free_slot;
    uint32_t *heap; /* of slots */
    uint32_t heap_count;
    unsigned daemon_events;

    struct world_faults faults;
    uint64_t events, digest;
    void (*tell)(void);
} world;

/* ---- chance */

uint64_t
chance(void)
{
    uint64_t x = world.random += 0x9e3779b97f4a7c15u; /* splitmix64 */

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

uint64_t
chance_below(uint64_t end)
{
    assert(end > 0);
    return chance() % end;
}

uint64_t
chance_from(uint64_t min, uint64_t max)
{
    assert(min <= max);
    return min + chance_below(max - min + 1);
}

uint64_t
chance_scaled(uint64_t min, uint64_t max)
{
    uint64_t top = max;
    unsigned levels = 1;

    assert(min <= max);
    while (levels < 64 && max >> levels > min)
        levels++;
    top = max >> chance_below(levels);
    return chance_from(min, top);
}

bool
chance_ppm(unsigned parts_per_million)
{
    return parts_per_million > 0 && chance_below(1000000) < parts_per_million;
}

/* ---- events */

static bool
is_before(uint32_t a, uint32_t b)
{
    const struct event *first = &world.slots[a], *second = &world.slots[b];

    return first->at_ns != second->at_ns ? first->at_ns < second->at_ns
                                         : first->number < second->number;
}

static void
heap_push(uint32_t slot)
{
    uint32_t i = world.heap_count++;

    while (i > 0 && is_before(slot, world.heap[(i - 1) / 2])) {
        world.heap[i] = world.heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    world.heap[i] = slot;
}

static uint32_t
heap_pop(void)
{
    uint32_t top = world.heap[0], last = world.heap[--world.heap_count], i = 0;

    for (;;) {
        uint32_t child = 2 * i + 1;

        if (child >= world.heap_count)
            break;
        if (child + 1 < world.heap_count && is_before(world.heap[child + 1], world.heap[child]))
            child++;
        if (!is_before(world.heap[child], last))
            break;
        world.heap[i] = world.heap[child];
        i = child;
    }
    world.heap[i] = last;
    return top;
}

uint32_t
event_add(uint64_t at_ns, enum event_owner owner, event_run *run, void *arg)
{
    uint32_t slot = world.free_slot;

    if (slot != NO_SLOT) {
        world.free_slot = world.slots[slot].next_free;
    } else {
        if (world.slot_count == world.slot_room) {
            world.slot_room = world.slot_room * 2 + 64;
            world.slots = world_realloc(world.slots, world.slot_room * sizeof world.slots[0]);
            world.heap = world_realloc(world.heap, world.slot_room * sizeof world.heap[0]);
        }
        slot = world.slot_count++;
    }
    world.slots[slot] = (struct event){ .at_ns = at_ns > world.now_ns ? at_ns : world.now_ns,
                                        .number = chance(),
                                        .run = run,
                                        .arg = arg,
                                        .owner = owner };
    world.daemon_events += owner == OWNER_DAEMON;
    heap_push(slot);
    return slot;
}

void
event_cancel(uint32_t handle)
{
    assert(world.slots[handle].run != NULL);
    world.daemon_events -= world.slots[handle].owner == OWNER_DAEMON;
    world.slots[handle].run = NULL;
}

unsigned
world_daemon_events(void)
{
    return world.daemon_events;
}

/* ---- running */

static void
note(uint64_t what)
{
    world.digest = (world.digest ^ what) * 0x100000001b3u;
}

/* The next event that still counts, or false. */
static bool
event_next(struct event *event)
{
    while (world.heap_count > 0) {
        uint32_t slot = world.heap[0];

        if (world.slots[slot].run != NULL && world.slots[slot].at_ns > world.until_ns)
            return false;
        heap_pop();
        *event = world.slots[slot];
        world.slots[slot].next_free = world.free_slot;
        world.slots[slot].run = NULL;
        world.free_slot = slot;
        if (event->run != NULL) {
            world.daemon_events -= event->owner == OWNER_DAEMON;
            return true;
        }
    }
    return false;
}

static void
loop(void)
{
    for (;;) {
        struct event event;

        while (!world.is_stopping && event_next(&event)) {
            world.now_ns = event.at_ns;
            world.events++;
            note(event.at_ns);
            note(event.number);
            event.run(event.arg);
            world_no_lock("to end a task");
        }
        world.end = world.is_stopping       ? WORLD_STOPPED
                    : world.heap_count == 0 ? WORLD_DRY
                                            : WORLD_LATE;
        threads_leave();
    }
}

enum world_end
world_run(uint64_t until_ns)
{
    world.until_ns = until_ns;
    world.is_stopping = false;
    threads_enter();
    if (world.end != WORLD_STOPPED)
        world.now_ns = until_ns;
    return world.end;
}

void
world_stop(void)
{
    world.is_stopping = true;
}

void
world_kill(void)
{
    for (uint32_t i = 0; i < world.slot_count; i++) {
        if (world.slots[i].run != NULL && world.slots[i].owner == OWNER_DAEMON)
            event_cancel(i);
    }
    threads_drop_all();
    memory_drop_all();
}

void
world_calm(bool is_calm)
{
    threads_set_ppm(is_calm ? 0 : world.faults.preempt_ppm);
    memory_set_ppm(is_calm ? 0 : world.faults.memory_ppm);
}

void
world_set_faults(const struct world_faults *faults)
{
    world.faults = *faults;
    threads_set_ppm(faults->preempt_ppm);
    memory_set_ppm(faults->memory_ppm);
}

void
world_new(const struct world_config *config)
{
    world.config = *config;
    world.random = config->seed * 0xd1342543de82ef95u + 1;
    world.heap_count = world.slot_count = 0;
    world.free_slot = NO_SLOT;
    world.daemon_events = 0;
    world.events = 0;
    world.digest = 0xcbf29ce484222325u;
    world.now_ns = NS_PER_S * chance_from(1, 100000);
    threads_new(loop);
    world_set_faults(&(struct world_faults){ 0 });
}

uint64_t
world_events(void)
{
    return world.events;
}

uint64_t
world_digest(void)
{
    return world.digest;
}

/* ---- saying something */

bool
world_is_traced(void)
{
    return world.config.is_traced;
}

static void __attribute__((format(printf, 1, 0))) say(const char *format, va_list args)
{
    printf("%12.6f  ", (double)world.now_ns / 1e9);
    vprintf(format, args);
    putchar('\n');
}

void
world_trace(const char *format, ...)
{
    va_list args;

    if (!world.config.is_traced)
        return;
    va_start(args, format);
    say(format, args);
    va_end(args);
}

void
world_on_failure(void (*tell)(void))
{
    world.tell = tell;
}

void
world_fail(const char *format, ...)
{
    static bool is_failing;
    va_list args;

    printf("FAILED, seed %" PRIu64 ", at event %" PRIu64 "\n", world.config.seed, world.events);
    va_start(args, format);
    say(format, args);
    va_end(args);
    if (!is_failing && world.tell != NULL) {
        is_failing = true;
        world.tell();
    }
    printf("again: sim --seed %" PRIu64 " --trace\n", world.config.seed);
    fflush(stdout);
    _exit(1);
}

/* ---- base/log */

void
log_to_syslog(const char *name)
{
    (void)name;
}

void
log_level_max(enum bd_log_level level)
{
    (void)level;
}

void
log_follow(struct pool *pool)
{
    (void)pool;
}

void
log_unfollow(struct pool *pool)
{
    (void)pool;
}

void
log_end(void)
{
}

void
log_vline(enum bd_log_level level, const char *format, va_list args)
{
    (void)level;
    if (world.config.is_traced)
        say(format, args);
}

void
log_line(enum bd_log_level level, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    log_vline(level, format, args);
    va_end(args);
}

void
log_each(enum bd_log_level level, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    log_vline(level, format, args);
    va_end(args);
}

/* ---- base/clock */

uint64_t
clock_now_ns(void)
{
    return world.now_ns;
}

/* ---- base/pool: as many workers as there are tasks, so tasks may pass each other */

struct pool {
    unsigned workers;
};

int
pool_new(unsigned workers, struct pool **out)
{
    struct pool *pool = malloc(sizeof *pool);

    if (pool == NULL)
        return -ENOMEM;
    pool->workers = workers;
    *out = pool;
    return 0;
}

void
pool_free(struct pool *pool)
{
    free(pool);
}

unsigned
pool_workers(const struct pool *pool)
{
    return pool->workers;
}

/* How long a task waits for its worker. */
static uint64_t
soon_ns(void)
{
    uint64_t now = world.now_ns;

    if (chance_one_in(200))
        return now + chance_below(20 * NS_PER_MS);
    return now + chance_below(20 * NS_PER_US);
}

static void
task_run(void *arg)
{
    struct task *task = arg;

    task->run(task);
}

void
pool_submit(struct pool *pool, struct task *task)
{
    (void)pool;
    event_add(soon_ns(), OWNER_DAEMON, task_run, task);
}

/* It is a task from now on, and too late to cancel it. */
static void
timer_due(void *arg)
{
    struct timer *timer = arg;

    timer->heap_slot = 0;
    event_add(soon_ns(), OWNER_DAEMON, task_run, &timer->task);
}

int
pool_timer_set(struct pool *pool, struct timer *timer, uint64_t at_ns)
{
    void *probe = malloc(1); /* the real one grows its heap */

    (void)pool;
    if (probe == NULL)
        return -ENOMEM;
    free(probe);
    timer->at_ns = at_ns;
    timer->heap_slot = (size_t)event_add(at_ns, OWNER_DAEMON, timer_due, timer) + 1;
    return 0;
}

bool
pool_timer_cancel(struct pool *pool, struct timer *timer)
{
    (void)pool;
    if (timer->heap_slot == 0)
        return false;
    event_cancel((uint32_t)(timer->heap_slot - 1));
    timer->heap_slot = 0;
    return true;
}
