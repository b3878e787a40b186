/* SPDX-License-Identifier: Apache-2.0 */
/* What must not go on after its time.
 *
 * A process may be stopped, and a machine sleep, between any look at the clock and the system call that sends; then the
 * write would leave when somebody else has the volume.  So there is a guard: a timer of the kernel for a little after the
 * earliest deadline of a write under way, whose signal goes to the loop's thread.  However late the thread goes on, the
 * signal's handler comes first, and breaks its connections off.  The loop moves the timer on in time, so in a thread that
 * runs it never fires.  Nothing gets round it:
 *
 * - What is in libcurl's or OpenSSL's memory needs a system call on the same socket, which fails from then on.
 * - What the kernel holds, since the server takes nothing or the network is cut, is thrown away: a connection is not shut,
 *   after which that would still be delivered, but dissolved.  While the process is stopped TCP_USER_TIMEOUT does it, which
 *   for each write is set to the time it has left.
 * - On a connection that is opened after the handler, transfer.c's on_send looks at the clock before it lets a request
 *   out, and lets no write out twice.  A stop between that look and the sending is a new one: the timer goes on firing
 *   until the loop has set it anew, and a socket is known to the handler before it is connected.
 * - Until an exchange is in the list of active ones, and from when it leaves it, libcurl sends nothing of it; what would
 *   go out in its stead is a TLS alert, which OpenSSL refuses to put behind an unfinished record.
 * - A socket whose number is too high to be known is not used.
 * - HTTP/2 keeps a connection when a request on it is given up, and with it what is queued there: a write that is given up
 *   breaks all connections off.
 *
 * What the server has received by then it may still carry out: that is what the settle time is for. */
#include "guard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define GRACE_NS (700 * NS_PER_MS)          /* behind a deadline: before anybody else writes */
#define AHEAD_NS (2 * SWEEP_MS * NS_PER_MS) /* so long before it would fire it is moved on */
#define AGAIN_NS (100 * NS_PER_MS)          /* until it is set anew */
#define GUARD_SIGNAL (SIGRTMAX - 3)

_Static_assert(GRACE_NS > SWEEP_GRACE_NS, "what is late is ended by the loop first");

/* Also in a signal's handler. */
void
guard_break_off(const struct guard *guard)
{
    const struct sockaddr none = { .sa_family = AF_UNSPEC };

    for (int fd = 0; fd < SOCKETS_KNOWN; fd++) {
        if ((guard->sockets[fd] & SOCKET_OURS) && connect(fd, &none, sizeof none) != 0)
            shutdown(fd, SHUT_RDWR);
    }
}

/* On the loop's thread, between any two of its instructions. */
static void
on_guard(int number, siginfo_t *info, void *context)
{
    struct guard *guard = info->si_value.sival_ptr;
    int error = errno;

    (void)number, (void)context;
    if (info->si_code != SI_TIMER || guard->at_ns == 0 || *guard->active == NULL
        || guard->host->now_ns() < guard->at_ns)
        return;
    guard->has_fired = true;
    guard_break_off(guard);
    errno = error;
}

void
guard_begin(struct guard *guard)
{
    struct sigaction action = { .sa_sigaction = on_guard, .sa_flags = SA_SIGINFO | SA_RESTART };
    struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID,
                              .sigev_signo = GUARD_SIGNAL,
                              .sigev_value.sival_ptr = guard };
    sigset_t ours;

    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    sigfillset(&action.sa_mask);
    sigemptyset(&ours);
    sigaddset(&ours, GUARD_SIGNAL);
    guard->has_timer = sigaction(GUARD_SIGNAL, &action, NULL) == 0
                       && pthread_sigmask(SIG_UNBLOCK, &ours, NULL) == 0
                       && timer_create(CLOCK_BOOTTIME, &event, &guard->timer) == 0;
    if (!guard->has_timer)
        guard->host->log(guard->host, BD_WARNING,
                         "no timer to guard writes with: one may leave after its time if this "
                         "process is stopped: %s",
                         strerror(errno));
}

void
guard_end(struct guard *guard)
{
    guard->at_ns = 0;
    if (guard->has_timer)
        timer_delete(guard->timer);
    guard->has_timer = false;
}

static void
guard_set(struct guard *guard, uint64_t at_ns)
{
    struct itimerspec at = { .it_value = { (time_t)(at_ns / 1000000000),
                                           (long)(at_ns % 1000000000) },
                             .it_interval.tv_nsec = AGAIN_NS };

    guard->has_fired = false;
    guard->at_ns = at_ns;
    if (guard->has_timer)
        timer_settime(guard->timer, TIMER_ABSTIME, &at, NULL);
}

void
guard_add(struct guard *guard, const struct exchange *exchange)
{
    uint64_t at_ns = exchange->deadline_ns + GRACE_NS;

    /* What it has fired for has no connection any more. */
    if (exchange->is_write && (guard->at_ns == 0 || guard->has_fired || at_ns < guard->at_ns))
        guard_set(guard, at_ns);
}

void
guard_move(struct guard *guard, uint64_t now)
{
    uint64_t at_ns = 0;

    if (guard->at_ns == 0 || now + AHEAD_NS < guard->at_ns)
        return;
    for (const struct exchange *exchange = *guard->active; exchange != NULL;
         exchange = exchange->next) {
        if (exchange->is_write && (at_ns == 0 || exchange->deadline_ns + GRACE_NS < at_ns))
            at_ns = exchange->deadline_ns + GRACE_NS;
    }
    if (at_ns != guard->at_ns)
        guard_set(guard, at_ns);
}
