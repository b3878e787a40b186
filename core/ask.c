/* SPDX-License-Identifier: Apache-2.0 */
/* Ask the store and wait for its answer. */
#include "ask.h"

#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define TRY_FOR_NS (30 * NS_PER_S)
#define ATTEMPT_NS (30 * NS_PER_S)
#define TELL_AFTER_NS (2 * NS_PER_S)
#define PAUSE_MAX_NS (10 * NS_PER_S)

void
ask_pause(const struct backend_io *io, uint64_t *pause_ns)
{
    struct timespec pause;

    if (*pause_ns < io->io.retry_after_ms * NS_PER_MS)
        *pause_ns = io->io.retry_after_ms * NS_PER_MS;
    if (*pause_ns > PAUSE_MAX_NS)
        *pause_ns = PAUSE_MAX_NS;
    pause = (struct timespec){ (time_t)(*pause_ns / NS_PER_S), (long)(*pause_ns % NS_PER_S) };
    nanosleep(&pause, NULL);
    *pause_ns *= 2;
}

enum bd_status
ask(struct backend_io *io, bool *was_unknown)
{
    uint64_t begun = clock_now_ns(), pause_ns = ASK_PAUSE_FIRST_NS;
    bool is_told = false;

    for (;;) {
        uint64_t now;

        io->io.deadline_ns = clock_now_ns() + ATTEMPT_NS;
        backend_submit_wait(io);
        if (io->status == BD_UNKNOWN && was_unknown != NULL)
            *was_unknown = true;
        now = clock_now_ns();
        if (!status_is_passing(io->status) || now >= begun + TRY_FOR_NS)
            return io->status;
        if (!is_told && now >= begun + TELL_AFTER_NS) {
            log_line(BD_INFO, "waiting for the store: %s", backend_io_reason(io));
            is_told = true;
        }
        ask_pause(io, &pause_ns);
    }
}

void
ask_wait_settled(uint64_t at_ns)
{
    uint64_t now = clock_now_ns();
    struct timespec rest;

    if (at_ns <= now)
        return;
    log_line(BD_INFO, "waiting %llu s until the store cannot carry out a lost write any more",
             (unsigned long long)((at_ns - now) / NS_PER_S + 1));
    rest =
        (struct timespec){ (time_t)((at_ns - now) / NS_PER_S), (long)((at_ns - now) % NS_PER_S) };
    while (nanosleep(&rest, &rest) != 0 && errno == EINTR)
        ;
}

void
ask_other_tag(const char *tag, char other[BD_TAG_BYTES_MAX + 1])
{
    char *digit;

    assert(tag[0] != '\0');
    snprintf(other, BD_TAG_BYTES_MAX + 1, "%s", tag);
    digit = strpbrk(other, "0123456789abcdefABCDEF");
    if (digit == NULL)
        digit = other;
    *digit = *digit == '0' ? '1' : '0';
}

int
ask_failed(const struct backend_io *io, const char *what, struct error *why)
{
    return error_set(why, status_errno(io->status), "cannot %s: %s", what, backend_io_reason(io));
}
