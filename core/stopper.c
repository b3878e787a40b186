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
#define TELL_EVERY_NS (30 * NS_PER_S)

struct stopper {
    pthread_t thread;
    sigset_t signals;
    const char *mountpoint;
    const char *device;
    const struct disk *disk;
    struct frontend *frontend;
    uint64_t timeout_ns;
    atomic_bool is_ending; /* set before END_SIGNAL, which alone means nothing */
    bool was_forced;
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

    return mountinfo_at(stopper->mountpoint, &info) && strcmp(info.device, stopper->device) == 0;
}

static void
detach(struct stopper *stopper)
{
    int rc;

    log_line(BD_ERROR,
             "%s is detached though it is in use; what uses it gets I/O errors from now on",
             stopper->mountpoint);
    disk_flush_wait(stopper->disk);
    rc = is_mounted(stopper) ? mountpoint_umount(stopper->mountpoint, true) : 0;
    if (rc != 0)
        log_line(BD_ERROR, "cannot detach %s: %s", stopper->mountpoint, strerror(-rc));
    stopper->was_forced = true;
    frontend_abandon(stopper->frontend);
}

static void
tell_holders(const struct stopper *stopper)
{
    char holders[400];

    mountpoint_holders(stopper->mountpoint, holders, sizeof holders);
    log_line(BD_WARNING,
             "%s is in use%s%s; it stays until that ends (a second signal detaches it by "
             "force)",
             stopper->mountpoint, holders[0] != '\0' ? " by " : "", holders);
}

/* Returns when the mount is gone or given up. */
static void
stop(struct stopper *stopper)
{
    uint64_t started_ns = clock_now_ns(), tell_at_ns = started_ns;
    const struct timespec pause = { 0, TRY_EVERY_MS * 1000000l };

    log_line(BD_INFO, "stopping: storing what was written to %s", stopper->mountpoint);
    disk_flush_wait(stopper->disk);
    while (is_mounted(stopper)) {
        int rc = mountpoint_umount(stopper->mountpoint, false), signal;
        uint64_t now = clock_now_ns();

        if (rc == 0)
            return;
        if (now >= tell_at_ns) {
            if (rc == -EBUSY)
                tell_holders(stopper);
            else
                log_line(BD_ERROR, "cannot unmount %s: %s; trying again", stopper->mountpoint,
                         strerror(-rc));
            tell_at_ns = now + TELL_EVERY_NS;
        }
        signal = sigtimedwait(&stopper->signals, NULL, &pause);
        if (atomic_load(&stopper->is_ending))
            return;
        if ((signal > 0 && signal != END_SIGNAL)
            || (stopper->timeout_ns > 0 && now - started_ns >= stopper->timeout_ns)) {
            detach(stopper);
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
        if (sigwait(&stopper->signals, &signal) == 0 && signal != END_SIGNAL)
            stop(stopper);
    }
    return NULL;
}

int
stopper_start(const char *mountpoint, const char *device, const struct disk *disk,
              struct frontend *frontend, uint64_t timeout_ms, struct stopper **out)
{
    struct stopper *stopper = calloc(1, sizeof *stopper);
    int rc;

    if (stopper == NULL)
        return -ENOMEM;
    stopper->mountpoint = mountpoint;
    stopper->device = device;
    stopper->disk = disk;
    stopper->frontend = frontend;
    stopper->timeout_ns = timeout_ms * NS_PER_MS;
    stop_signals(&stopper->signals);
    rc = -pthread_create(&stopper->thread, NULL, stopper_main, stopper);
    if (rc != 0) {
        free(stopper);
        return rc;
    }
    *out = stopper;
    return 0;
}

bool
stopper_end(struct stopper *stopper)
{
    bool was_forced;

    if (stopper == NULL)
        return false;
    atomic_store(&stopper->is_ending, true);
    pthread_kill(stopper->thread, END_SIGNAL);
    pthread_join(stopper->thread, NULL);
    was_forced = stopper->was_forced;
    free(stopper);
    return was_forced;
}
