/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that are none: each has a stack, one runs at a time, and one that is about to take a mutex, or has
 * given its last one back, may lose the processor to whatever else there is to do.
 *
 * So the gaps between two critical sections are as wide as on a busy machine, and every interleaving of
 * them can be had again.  A thread that holds a mutex never loses the processor: nobody ever waits for one. */
#include "world.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <ucontext.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#define THREADS_MAX 200u /* each that waits for another one keeps its own */
#define STACK_BYTES (1u << 20)
#define HELD_MAX 8u
#define PAGE_BYTES 4096u
#define MAIN THREADS_MAX

struct thread {
    ucontext_t context;
    char *stack;
    bool is_idle; /* in its loop, between two events, or not started */
    const pthread_cond_t *waits_for;
    void *fake; /* the sanitizer's */
};

static _Alignas(PAGE_BYTES) char stacks[THREADS_MAX][STACK_BYTES];

static struct {
    struct thread all[THREADS_MAX + 1]; /* the last is main */
    unsigned started;                   /* so many of them were ever needed */
    unsigned current;
    void (*loop)(void);
    const pthread_mutex_t *held[HELD_MAX];
    unsigned held_count;
    unsigned preempt_ppm;
    const pthread_cond_t *waited_for;
} threads;

/* ---- switching */

static void
arrived(void)
{
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(threads.all[threads.current].fake, NULL, NULL);
#endif
}

static void
thread_switch(unsigned to)
{
    unsigned from = threads.current;

    if (from == to)
        return;
    threads.current = to;
#ifdef __SANITIZE_ADDRESS__
    static const void *main_stack;
    static size_t main_stack_bytes;

    if (from == MAIN && main_stack == NULL) {
        pthread_attr_t attr;
        void *stack;

        pthread_getattr_np(pthread_self(), &attr);
        pthread_attr_getstack(&attr, &stack, &main_stack_bytes);
        pthread_attr_destroy(&attr);
        main_stack = stack;
    }
    __sanitizer_start_switch_fiber(&threads.all[from].fake,
                                   to == MAIN ? main_stack : threads.all[to].stack,
                                   to == MAIN ? main_stack_bytes : STACK_BYTES);
#endif
    swapcontext(&threads.all[from].context, &threads.all[to].context);
    arrived();
}

static void
thread_main(void)
{
    arrived();
    threads.loop();
}

static void
thread_start(unsigned number)
{
    struct thread *thread = &threads.all[number];

    thread->stack = stacks[number];
#ifndef __SANITIZE_ADDRESS__
    mprotect(thread->stack, PAGE_BYTES, PROT_NONE); /* who comes so deep has called in circles */
#else
    ASAN_UNPOISON_MEMORY_REGION(thread->stack + PAGE_BYTES, STACK_BYTES - PAGE_BYTES);
    thread->fake = NULL;
#endif
    getcontext(&thread->context);
    thread->context.uc_stack.ss_sp = thread->stack;
    thread->context.uc_stack.ss_size = STACK_BYTES;
    thread->context.uc_link = NULL;
    makecontext(&thread->context, thread_main, 0);
    thread->is_idle = true;
    thread->waits_for = NULL;
}

static unsigned
idle_thread(void)
{
    for (unsigned i = 0; i < threads.started; i++) {
        if (threads.all[i].is_idle)
            return i;
    }
    if (threads.started == THREADS_MAX)
        return MAIN;
    thread_start(threads.started);
    return threads.started++;
}

void
threads_new(void (*loop)(void))
{
    threads.loop = loop;
    threads.current = MAIN;
    threads_drop_all();
}

void
threads_drop_all(void)
{
    assert(threads.current == MAIN);
    for (unsigned i = 0; i < threads.started; i++)
        thread_start(i);
    threads.held_count = 0;
    threads.waited_for = NULL;
}

void
threads_set_ppm(unsigned ppm)
{
    threads.preempt_ppm = ppm;
}

void
threads_enter(void)
{
    unsigned to = idle_thread();

    assert(threads.current == MAIN && to != MAIN);
    threads.all[to].is_idle = false;
    thread_switch(to);
}

void
threads_leave(void)
{
    threads.all[threads.current].is_idle = true;
    thread_switch(MAIN);
}

static void
resume_event(void *arg)
{
    threads_resume((unsigned)(uintptr_t)arg);
}

void
threads_resume(unsigned thread)
{
    threads.all[threads.current].is_idle = true;
    thread_switch(thread);
}

static void
maybe_preempt(void)
{
    uint64_t at;
    unsigned to;

    if (threads.current == MAIN || !chance_ppm(threads.preempt_ppm))
        return;
    to = idle_thread();
    if (to == MAIN)
        return;
    at = clock_now_ns()
         + (chance_one_in(20) ? chance_below(50 * NS_PER_MS) : chance_below(50 * NS_PER_US));
    event_add(at, OWNER_DAEMON, resume_event, (void *)(uintptr_t)threads.current);
    threads.all[to].is_idle = false;
    thread_switch(to);
}

/* ---- mutexes */

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_trylock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_destroy(pthread_mutex_t *mutex);
int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int __wrap_pthread_cond_signal(pthread_cond_t *cond);
int __wrap_pthread_cond_broadcast(pthread_cond_t *cond);

static bool
is_held(const pthread_mutex_t *mutex)
{
    for (unsigned i = 0; i < threads.held_count; i++) {
        if (threads.held[i] == mutex)
            return true;
    }
    return false;
}

void
world_no_lock(const char *what)
{
    if (threads.held_count > 0)
        world_fail("a mutex is held, which is no time %s", what);
}

int
__wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
    if (is_held(mutex))
        world_fail("a mutex is taken twice: this thread would wait for itself");
    if (threads.held_count == HELD_MAX)
        world_fail("more than %u mutexes are held", HELD_MAX);
    if (threads.held_count == 0)
        maybe_preempt();
    threads.held[threads.held_count++] = mutex;
    return 0;
}

int
__wrap_pthread_mutex_trylock(pthread_mutex_t *mutex)
{
    if (is_held(mutex))
        return EBUSY;
    return __wrap_pthread_mutex_lock(mutex);
}

int
__wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    if (!is_held(mutex))
        world_fail("a mutex is given back that is not held");
    for (unsigned i = 0; i < threads.held_count; i++) {
        if (threads.held[i] == mutex) {
            threads.held[i] = threads.held[--threads.held_count];
            break;
        }
    }
    if (threads.held_count == 0)
        maybe_preempt();
    return 0;
}

int
__wrap_pthread_mutex_destroy(pthread_mutex_t *mutex)
{
    if (is_held(mutex))
        world_fail("a mutex is destroyed that is held");
    return 0;
}

static int
worker_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
    unsigned to = idle_thread();

    if (threads.held_count != 1 || threads.held[0] != mutex)
        world_fail("a worker waits for another one with a mutex held");
    if (to == MAIN)
        world_fail("all threads wait");
    threads.held_count = 0;
    threads.all[threads.current].waits_for = cond;
    threads.all[to].is_idle = false;
    thread_switch(to);
    return __wrap_pthread_mutex_lock(mutex);
}

/* Main waits as who stops the daemon does; workers, who may wait for the local disk, for each other. */
int
__wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
    enum world_end end;

    if (threads.current != MAIN)
        return worker_wait(cond, mutex);
    __wrap_pthread_mutex_unlock(mutex);
    threads.waited_for = cond;
    end = world_run(clock_now_ns() + NS_PER_S * 100000);
    if (end != WORLD_STOPPED)
        world_fail("a thread waits for what will never happen");
    return __wrap_pthread_mutex_lock(mutex);
}

int
__wrap_pthread_cond_broadcast(pthread_cond_t *cond)
{
    for (unsigned i = 0; i < threads.started; i++) {
        if (threads.all[i].waits_for != cond)
            continue;
        threads.all[i].waits_for = NULL;
        event_add(clock_now_ns(), OWNER_DAEMON, resume_event, (void *)(uintptr_t)i);
    }
    if (threads.waited_for == cond) {
        threads.waited_for = NULL;
        world_stop();
    }
    return 0;
}

int
__wrap_pthread_cond_signal(pthread_cond_t *cond)
{
    return __wrap_pthread_cond_broadcast(cond);
}
