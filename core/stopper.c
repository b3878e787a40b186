/* SPDX-License-Identifier: Apache-2.0 */
/* Orderly stops. */
#include "stopper.h"

#include "base/clock.h"
#include "base/log.h"
#include "mountinfo.h"
#include "wait.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define END_SIGNAL SIGUSR2
#define TRY_EVERY_MS 250
#define STORE_FIRST_MS 45000 /* then it is unmounted before all is stored */
#define TELL_EVERY_NS (30 * NS_PER_S)

struct stopper {
    pthread_t thread;
    sigset_t signals;
    struct stopper_config config;
    atomic_bool is_ending; /* set before END_SIGNAL, which alone means nothing */
    atomic_bool is_unused;
    bool was_asked, was_forced;
};

static void
stop_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    sigaddset(set, END_SIGNAL);
}

void
stopper_block_signals(void)
{
    sigset_t set;

    stop_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static bool
is_mounted(const struct stopper *stopper)
{
    struct mountinfo info;

    return mountinfo_at(stopper->config.mountpoint, &info)
           && strcmp(info.device, stopper->config.device) == 0;
}

static void
detach(struct stopper *stopper)
{
    int rc;

    log_line(BD_ERROR,
             "%s is detached though it is in use; what uses it gets I/O errors from now on",
             stopper->config.mountpoint);
    rc = is_mounted(stopper) ? mountpoint_umount(stopper->config.mountpoint, true) : 0;
    if (rc != 0)
        log_line(BD_ERROR, "cannot detach %s: %s", stopper->config.mountpoint, strerror(-rc));
    stopper->was_forced = true;
    frontend_abandon(stopper->config.frontend);
}

static void
tell_holders(const struct stopper *stopper)
{
    char holders[400];

    mountpoint_holders(stopper->config.mountpoint, holders, sizeof holders);
    log_line(BD_WARNING,
             "%s is in use%s%s; it stays until that ends (a second signal detaches it by "
             "force)",
             stopper->config.mountpoint, holders[0] != '\0' ? " by " : "", holders);
}

/* Returns when the mount is gone or given up. */
static void
stop(struct stopper *stopper)
{
    uint64_t started_ns = clock_now_ns(), tell_at_ns = started_ns;
    const struct timespec pause = { 0, TRY_EVERY_MS * 1000000l };
    uint64_t timeout_ns = stopper->config.timeout_ms * NS_PER_MS;
    bool is_second;

    if (stopper->was_forced) {
        stopper->config.hurry(stopper->config.hurry_arg);
        return;
    }
    log_line(BD_INFO, "stopping: storing what was written to %s", stopper->config.mountpoint);
    stopper->was_asked = true;
    is_second =
        disk_flush_wait_or(stopper->config.disk, &stopper->signals, STORE_FIRST_MS) == -EINTR
        && !atomic_load(&stopper->is_unused); /* who says that sends a signal, too */
    if (is_second && atomic_load(&stopper->is_ending))
        return;
    while (is_mounted(stopper)) {
        int rc = mountpoint_umount(stopper->config.mountpoint, false), signal;
        uint64_t now = clock_now_ns();

        if (rc == 0)
            return;
        if (now >= tell_at_ns) {
            if (rc == -EBUSY)
                tell_holders(stopper);
            else
                log_line(BD_ERROR, "cannot unmount %s: %s; trying again",
                         stopper->config.mountpoint, strerror(-rc));
            tell_at_ns = now + TELL_EVERY_NS;
        }
        signal = is_second ? 0 : sigtimedwait(&stopper->signals, NULL, &pause);
        if (atomic_load(&stopper->is_ending))
            return;
        if (is_second || (signal > 0 && signal != END_SIGNAL)
            || (timeout_ns > 0 && now - started_ns >= timeout_ns)) {
            detach(stopper);
            return;
        }
    }
}

/* Nobody has asked for an end, and who looks into the mount is no reason to tell anybody. */
static void
unmount_unused(struct stopper *stopper)
{
    const struct timespec pause = { 0, TRY_EVERY_MS * 1000000l };
    int signal;

    while (atomic_load(&stopper->is_unused) && !atomic_load(&stopper->is_ending)
           && is_mounted(stopper)) {
        if (mountpoint_umount(stopper->config.mountpoint, false) == 0)
            return;
        signal = sigtimedwait(&stopper->signals, NULL, &pause);
        if (signal > 0 && signal != END_SIGNAL) {
            stop(stopper);
            return;
        }
    }
}

static void *
stopper_main(void *arg)
{
    struct stopper *stopper = arg;
    int signal;

    while (!atomic_load(&stopper->is_ending)) {
        if (sigwait(&stopper->signals, &signal) != 0)
            continue;
        if (signal != END_SIGNAL)
            stop(stopper);
        else
            unmount_unused(stopper);
    }
    return NULL;
}

int
stopper_start(const struct stopper_config *config, struct stopper **out)
{
    struct stopper *stopper = calloc(1, sizeof *stopper);
    int rc;

    if (stopper == NULL)
        return -ENOMEM;
    stopper->config = *config;
    stop_signals(&stopper->signals);
    rc = -pthread_create(&stopper->thread, NULL, stopper_main, stopper);
    if (rc != 0) {
        free(stopper);
        return rc;
    }
    *out = stopper;
    return 0;
}

void
stopper_set_unused(struct stopper *stopper, bool is_unused)
{
    atomic_store(&stopper->is_unused, is_unused);
    if (is_unused)
        pthread_kill(stopper->thread, END_SIGNAL);
}

struct stopped
stopper_end(struct stopper *stopper)
{
    struct stopped stopped = { false, false };

    if (stopper == NULL)
        return stopped;
    atomic_store(&stopper->is_ending, true);
    pthread_kill(stopper->thread, END_SIGNAL);
    pthread_join(stopper->thread, NULL);
    stopped = (struct stopped){ stopper->was_asked, stopper->was_forced };
    free(stopper);
    return stopped;
}
