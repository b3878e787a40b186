/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated world: one virtual clock, events in a random order that a seed decides, threads that
 * lose the processor at any lock, memory that dies with the daemon.
 *
 * It stands in for base/clock, base/pool and base/log, and for malloc and the mutexes of all that is linked
 * with it; everything runs on one real thread.  No decision may depend on an address, on real time or on
 * anything else that is not made from the seed. */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "base/clock.h"
#include "base/pool.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NS_PER_US 1000ull

/* ---- chance */

uint64_t chance(void);
uint64_t chance_below(uint64_t end);              /* 0 .. end - 1 */
uint64_t chance_from(uint64_t min, uint64_t max); /* inclusive */
/* Evenly by order of magnitude: small ones are as likely as large ones. */
uint64_t chance_scaled(uint64_t min, uint64_t max);
bool chance_ppm(unsigned parts_per_million);
static inline bool
chance_one_in(uint64_t n)
{
    return chance_below(n) == 0;
}

/* ---- events */

enum event_owner {
    OWNER_STORE,  /* goes on when the daemon dies */
    OWNER_DAEMON, /* dies with it */
};

typedef void event_run(void *arg);

/* At or after `at_ns`, those of one instant in any order.  Gives a handle for event_cancel, until it runs. */
uint32_t event_add(uint64_t at_ns, enum event_owner owner, event_run *run, void *arg);
void event_cancel(uint32_t handle);

/* ---- running */

struct world_config {
    uint64_t seed;
    bool is_traced;
};

/* Each how likely, in parts per million. */
struct world_faults {
    unsigned
        preempt_ppm; /* to lose the processor before a mutex is taken, or after it was given back */
    unsigned memory_ppm; /* that malloc has none */
};

enum world_end {
    WORLD_STOPPED, /* world_stop was called */
    WORLD_DRY,     /* nothing will ever happen again */
    WORLD_LATE,    /* it is until_ns now */
};

void world_new(const struct world_config *config);
void world_set_faults(const struct world_faults *faults);
/* From now on, until it is called with false: nobody loses the processor, and there is memory. */
void world_calm(bool is_calm);
enum world_end world_run(uint64_t until_ns);
void world_stop(void);
/* The daemon is dead: its events, threads, mutexes and memory are gone. */
void world_kill(void);
/* Tasks and timers of the daemon that still wait. */
unsigned world_daemon_events(void);

uint64_t world_events(void);
uint64_t world_digest(void); /* of all that happened */
/* Memory was refused, since the beginning. */
uint64_t world_refusals(void);
/* What the daemon holds now, and the most since world_memory_peak_reset. */
size_t world_memory_bytes(void);
size_t world_memory_peak(void);
void world_memory_peak_reset(void);
void world_memory_list(void);

/* Fails if a mutex is held: `what` says what must not be done with one. */
void world_no_lock(const char *what);

/* Memory of the simulation itself; never fails. */
void *world_alloc(size_t bytes);
void *world_realloc(void *old, size_t bytes);
void world_release(void *memory);

bool world_is_traced(void);
void world_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The run has found a bug: say so, with the seed, and end. */
_Noreturn void world_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Called by world_fail, to say more. */
void world_on_failure(void (*tell)(void));

/* memory.c, for world.c */
void memory_drop_all(void);
void memory_set_ppm(unsigned ppm);

/* threads.c, for world.c: `loop` runs on a thread of its own whenever it is entered. */
void threads_new(void (*loop)(void));
void threads_enter(void); /* main: until a loop calls threads_leave */
void threads_leave(void); /* a loop: back to main; returns when it is entered again */
void threads_resume(
    unsigned
        thread); /* a loop: go on with a thread that lost the processor; returns when entered again */
void threads_drop_all(void);
void threads_set_ppm(unsigned ppm);

#endif
