/* SPDX-License-Identifier: Apache-2.0 */
/* What must not happen after its time.
 *
 * A process may be stopped, and a machine sleep, between a look at the clock and the system call that changes a name; the
 * change would then come when somebody else has the volume.  So there is a timer of the kernel, set to the deadline
 * before that look, whose signal goes to the very thread.  However late the thread goes on, the signal's handler comes
 * first; and it puts something that is no directory in the place of the one that the system call is going to
 * name, by a descriptor that is made for this and known to nobody else.
 *
 * A call that is inside the kernel by then is carried out: it has begun in time, and is not stopped there. */
#include "dir.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define GUARD_SIGNAL (SIGRTMAX - 4) /* backend-s3 has the one above */

/* A thread's. */
struct guard {
    const struct guards *guards;
    timer_t timer;
    volatile uint64_t deadline_ns;
    volatile int fd; /* of the directory; -1: nothing is going to change */
    volatile bool is_over;
};

static void
on_guard(int number, siginfo_t *info, void *context)
{
    struct guard *guard = info->si_value.sival_ptr;
    int error = errno;

    (void)number, (void)context;
    if (info->si_code == SI_TIMER && guard->fd != -1
        && guard->guards->host->now_ns() >= guard->deadline_ns) {
        guard->is_over = true;
        dup3(guard->guards->no_directory, guard->fd, O_CLOEXEC);
    }
    errno = error;
}

static void
guard_free(void *arg)
{
    struct guard *guard = arg;

    timer_delete(guard->timer);
    free(guard);
}

int
guards_init(struct guards *guards, const struct bd_host *host)
{
    struct sigaction action = { .sa_sigaction = on_guard, .sa_flags = SA_SIGINFO | SA_RESTART };
    int error;

    guards->host = host;
    guards->no_directory = eventfd(0, EFD_CLOEXEC);
    if (guards->no_directory == -1)
        return -1;
    sigfillset(&action.sa_mask);
    error = sigaction(GUARD_SIGNAL, &action, NULL) != 0
                ? errno
                : pthread_key_create(&guards->of_thread, guard_free);
    if (error != 0) {
        close(guards->no_directory);
        errno = error;
        return -1;
    }
    return 0;
}

void
guards_free(struct guards *guards)
{
    pthread_key_delete(guards->of_thread);
    close(guards->no_directory);
}

static struct guard *
guard_new(struct guards *guards)
{
    struct guard *guard = calloc(1, sizeof *guard);
    struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = GUARD_SIGNAL };
    sigset_t ours;

    if (guard == NULL)
        return NULL;
    guard->guards = guards;
    guard->fd = -1;
    sigemptyset(&ours);
    sigaddset(&ours, GUARD_SIGNAL);
    event.sigev_value.sival_ptr = guard;
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    if (timer_create(CLOCK_BOOTTIME, &event, &guard->timer) != 0) {
        free(guard);
        return NULL;
    }
    errno = pthread_setspecific(guards->of_thread, guard);
    if (errno == 0)
        errno = pthread_sigmask(SIG_UNBLOCK, &ours, NULL);
    if (errno == 0)
        return guard;
    pthread_setspecific(guards->of_thread, NULL);
    guard_free(guard);
    return NULL;
}

/* This thread's, made when it first needs one.  NULL: there is none to be had, and only the look at the clock is left. */
static struct guard *
guard_get(struct guards *guards)
{
    struct guard *guard = pthread_getspecific(guards->of_thread);

    if (guard == NULL)
        guard = guard_new(guards);
    if (guard == NULL && !atomic_exchange(&guards->is_told, true))
        guards->host->log(guards->host, BD_WARNING,
                          "no timer to guard writes with: one may be done after its time if this "
                          "process is stopped: %s",
                          strerror(errno));
    return guard;
}

static void
timer_at(struct guard *guard, uint64_t at_ns)
{
    const struct itimerspec at = { .it_value = { (time_t)(at_ns / 1000000000),
                                                 (long)(at_ns % 1000000000) } };

    timer_settime(guard->timer, TIMER_ABSTIME, &at, NULL);
}

static enum bd_status
too_late(const struct guards *guards, struct bd_io *io)
{
    guards->host->error(io, "the time for it was over before it was done");
    return BD_RETRY;
}

enum bd_status
guard_begin(struct guards *guards, struct bd_io *io, int directory, int *guarded)
{
    struct guard *guard = guard_get(guards);
    int fd = fcntl(directory, F_DUPFD_CLOEXEC, 0);

    if (fd == -1)
        return dir_failed(guards->host, io, io->name, errno);
    /* First the timer: who is stopped behind the look has been seen to. */
    if (guard != NULL) {
        guard->is_over = false;
        guard->deadline_ns = io->deadline_ns;
        guard->fd = fd;
        timer_at(guard, io->deadline_ns);
    }
    if (guards->host->now_ns() >= io->deadline_ns) {
        guard_end(guards, io, fd, 0);
        return too_late(guards, io);
    }
    *guarded = fd;
    return BD_OK;
}

enum bd_status
guard_end(struct guards *guards, struct bd_io *io, int guarded, int error)
{
    struct guard *guard = pthread_getspecific(guards->of_thread);
    bool is_over = false;

    if (guard != NULL) {
        timer_at(guard, 0);
        guard->fd = -1; /* from here on the descriptor may be somebody else's */
        is_over = guard->is_over;
    }
    close(guarded);
    return is_over && error == ENOTDIR ? too_late(guards, io) : BD_OK;
}
