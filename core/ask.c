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

struct asking {
    uint64_t until_ns; /* nothing is sent later */
    bool ends_unknown; /* with an attempt of unknown outcome */
    bool was_unknown;  /* one was */
};

static enum bd_status
ask_as(struct backend_io *io, struct asking *asking)
{
    uint64_t begun = clock_now_ns(), pause_ns = ASK_PAUSE_FIRST_NS;
    bool is_told = false;

    for (;;) {
        uint64_t now = clock_now_ns();

        io->io.deadline_ns =
            now + ATTEMPT_NS < asking->until_ns ? now + ATTEMPT_NS : asking->until_ns;
        backend_submit_wait(io);
        asking->was_unknown = asking->was_unknown || io->status == BD_UNKNOWN;
        now = clock_now_ns();
        if (!status_is_passing(io->status) || now >= begun + TRY_FOR_NS || now >= asking->until_ns
            || (asking->ends_unknown && io->status == BD_UNKNOWN))
            return io->status;
        if (!is_told && now >= begun + TELL_AFTER_NS) {
            log_line(BD_INFO, "waiting for the store: %s", backend_io_reason(io));
            is_told = true;
        }
        ask_pause(io, &pause_ns);
        if (clock_now_ns() >= asking->until_ns)
            return io->status;
    }
}

enum bd_status
ask_before(struct backend_io *io, uint64_t until_ns, bool *was_unknown)
{
    struct asking asking = { .until_ns = until_ns };
    enum bd_status status = ask_as(io, &asking);

    if (was_unknown != NULL && asking.was_unknown)
        *was_unknown = true;
    return status;
}

enum bd_status
ask(struct backend_io *io, bool *was_unknown)
{
    return ask_before(io, UINT64_MAX, was_unknown);
}

enum bd_status
ask_until(struct backend_io *io, uint64_t until_ns)
{
    struct asking asking = { .until_ns = until_ns, .ends_unknown = true };

    return ask_as(io, &asking);
}

struct listing {
    bool (*entry)(void *arg, const char *name, uint64_t object_bytes, const char *tag);
    void *arg;
    bool is_enough;
    char last[BD_NAME_BYTES_MAX + 1];
};

static bool
list_entry(void *arg, const char *name, uint64_t object_bytes, const char *tag)
{
    struct listing *listing = arg;

    snprintf(listing->last, sizeof listing->last, "%s", name);
    listing->is_enough = !listing->entry(listing->arg, name, object_bytes, tag);
    return !listing->is_enough;
}

int
ask_list(struct backend *backend, const char *prefix,
         bool (*entry)(void *arg, const char *name, uint64_t object_bytes, const char *tag),
         void *arg, const char *what, struct error *why)
{
    struct listing listing = { .entry = entry, .arg = arg };
    struct backend_io *io = backend_io_new(backend);
    char after[sizeof listing.last];
    int rc = 0;

    if (io == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    io->io.op = BD_LIST;
    io->io.name = prefix;
    io->io.limit = backend_info(backend)->list_max;
    io->entry = list_entry;
    io->entry_arg = &listing;
    do {
        memcpy(after, listing.last, sizeof after);
        io->io.start_after = after[0] != '\0' ? after : NULL;
        if (ask(io, NULL) != BD_OK)
            rc = ask_failed(io, what, why);
        else if (io->io.more != 0 && !listing.is_enough && strcmp(after, listing.last) == 0)
            rc = error_set(why, -EIO,
                           "cannot %s: the store listed nothing new, and says that there is more",
                           what);
    } while (rc == 0 && io->io.more != 0 && !listing.is_enough);
    backend_io_free(io);
    return rc;
}

void
ask_sleep(uint64_t ns)
{
    struct timespec rest = { (time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S) };

    while (nanosleep(&rest, &rest) != 0 && errno == EINTR)
        ;
}

int
ask_sleep_or(uint64_t ns, const sigset_t *signals)
{
    uint64_t until_ns = clock_now_ns() + ns, now;

    while ((now = clock_now_ns()) < until_ns) {
        const struct timespec rest = { (time_t)((until_ns - now) / NS_PER_S),
                                       (long)((until_ns - now) % NS_PER_S) };

        if (sigtimedwait(signals, NULL, &rest) > 0)
            return -EINTR;
        if (errno != EINTR)
            return 0;
    }
    return 0;
}

/* So long until then; people are told. */
static uint64_t
settling_ns(uint64_t at_ns)
{
    uint64_t now = clock_now_ns();

    if (at_ns <= now)
        return 0;
    log_line(BD_INFO, "waiting %llu s until the store cannot carry out a lost write any more",
             (unsigned long long)((at_ns - now) / NS_PER_S + 1));
    return at_ns - now;
}

void
ask_wait_settled(uint64_t at_ns)
{
    ask_sleep(settling_ns(at_ns));
}

int
ask_wait_settled_or(uint64_t at_ns, const sigset_t *signals)
{
    return ask_sleep_or(settling_ns(at_ns), signals);
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
