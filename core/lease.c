/* SPDX-License-Identifier: Apache-2.0 */
/* The lease of a writer.
 *
 * One thing at a time is done, by a timer and its answer, both on pool workers:
 *
 *   step     what happens                       next
 *   RESTING  waits for the next beat            BEATING
 *   BEATING  PUT, if the tag is the last known  RESTING (done)
 *                                               LOOKING (perhaps done; the condition did not hold; no tag came)
 *                                               BEATING after a pause (anything else)
 *   LOOKING  HEAD                               RESTING (it is ours, with a beat of ours: so that was done)
 *                                               BEATING after a pause (nothing has changed)
 *                                               LOST (it is another's, or gone)
 *                                               LOOKING after a pause (no answer)
 *   LOST     nothing, for good
 *
 * Each attempt has a beat of its own.  So when its answer was lost, what is found later says which one was done, and
 * when that was sent; and one that the store carries out late meets a tag that is not there any more.
 *
 * What counts is when a beat was sent, not when it was answered: who watches may have seen it from then on.
 *
 * A lock that is gone is lost: it was removed by somebody who took us for dead, and another one may have come, written
 * and gone since our last beat. */
#include "lease.h"

#include "base/clock.h"
#include "base/cond.h"
#include "base/interrupts.h"
#include "base/log.h"
#include "base/util.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BEATS_PER_LEASE 3
#define ATTEMPTS_PER_LEASE 6 /* so long may one take */
#define PAUSES_PER_LEASE 60
#define LOOK_EVERY_NS (NS_PER_S / 10)
#define REMEMBERED 16 /* beats of which nobody knows whether they were done */

enum step { RESTING, BEATING, LOOKING, LOST };

struct lease {
    pthread_mutex_t lock; /* guards the next group */
    pthread_cond_t changed;
    enum step step;
    bool is_busy; /* the timer is set, or a request is on its way */
    bool is_stopping;
    bool is_told;          /* that nothing is confirmed */
    uint64_t confirmed_ns; /* sent then, and known to be done */
    uint64_t epoch;
    bool is_local;
    struct error reason; /* of the last failure; then how it was lost */

    /* Only of who is busy. */
    struct timer timer;
    struct backend_io *io;
    struct lock_text text;
    object_name name;
    struct lock mine;             /* as it was put last, with the tag last known */
    uint64_t sent_ns[REMEMBERED]; /* by beat; 0: no such one */

    struct lease_config config; /* from here on: fixed */
    uint64_t lease_ns;
    struct counter *beats;
};

/* ---- what is known, under the lock */

static bool
is_confirmed_locked(const struct lease *lease, uint64_t now)
{
    return now < lease->confirmed_ns + lease->lease_ns / 2;
}

static bool
is_held_locked(const struct lease *lease, uint64_t now)
{
    return lease->step != LOST && is_confirmed_locked(lease, now);
}

/* Once, when it matters: nothing is written from then on. */
static void
tell_unconfirmed_locked(struct lease *lease, uint64_t now)
{
    if (lease->is_told || is_confirmed_locked(lease, now) || lease->step == LOST)
        return;
    lease->is_told = true;
    log_line(BD_WARNING,
             "for %" PRIu64 " s nothing has confirmed that this machine still has the volume's "
             "lock: nothing is written until that is known again%s%s",
             (uint64_t)((now - lease->confirmed_ns) / NS_PER_S),
             lease->reason.text[0] != '\0' ? "; " : "", lease->reason.text);
}

static void
confirm_locked(struct lease *lease, uint64_t sent_ns)
{
    if (sent_ns > lease->confirmed_ns)
        lease->confirmed_ns = sent_ns;
    lease->reason.text[0] = '\0';
    if (lease->is_told && is_confirmed_locked(lease, clock_now_ns())) {
        lease->is_told = false;
        log_line(BD_INFO, "the volume's lock is confirmed again, and writing goes on");
    }
}

static void
lose_locked(struct lease *lease)
{
    lease->step = LOST;
    log_line(BD_ERROR,
             "%s; from now on the disk can only be read, and what is read may be old.  What was "
             "written and is not yet stored is not stored any more: copy what you need of it, then "
             "unmount, which keeps it on local disk",
             lease->reason.text);
}

/* ---- steps */

static void run_step(struct task *task);

/* Do the next step at that time, unless it is the end. */
static void
next_at(struct lease *lease, uint64_t at_ns)
{
    bool goes_on;

    pthread_mutex_lock(&lease->lock);
    goes_on = lease->step != LOST && !lease->is_stopping;
    if (goes_on) {
        lease->timer = (struct timer){ .task.run = run_step };
        goes_on = pool_timer_set(lease->config.pool, &lease->timer, at_ns) == 0;
        /* Without memory for a timer there is no beat: what follows is that nothing is written. */
        if (!goes_on)
            log_line(BD_ERROR, "out of memory: the volume's lock is not renewed any more");
    }
    lease->is_busy = goes_on;
    pthread_cond_broadcast(&lease->changed);
    pthread_mutex_unlock(&lease->lock);
}

static void
rest(struct lease *lease)
{
    uint64_t confirmed_ns;

    pthread_mutex_lock(&lease->lock);
    lease->step = RESTING;
    confirmed_ns = lease->confirmed_ns;
    pthread_mutex_unlock(&lease->lock);
    next_at(lease, confirmed_ns + lease->lease_ns / BEATS_PER_LEASE);
}

/* The same, or `step`, after a pause. */
static void
again(struct lease *lease, enum step step, const char *what, const char *reason)
{
    uint64_t pause_ns = lease->lease_ns / PAUSES_PER_LEASE;
    uint64_t asked_ns = lease->io->io.retry_after_ms * NS_PER_MS;
    uint64_t now = clock_now_ns();

    if (asked_ns > lease->lease_ns / ATTEMPTS_PER_LEASE)
        asked_ns = lease->lease_ns / ATTEMPTS_PER_LEASE;
    if (pause_ns < asked_ns)
        pause_ns = asked_ns;
    pthread_mutex_lock(&lease->lock);
    lease->step = step;
    error_set(&lease->reason, 0, "cannot %s it: %s", what, reason);
    tell_unconfirmed_locked(lease, now);
    pthread_mutex_unlock(&lease->lock);
    log_line(BD_DEBUG, "cannot %s the volume's lock: %s", what, reason);
    next_at(lease, now + pause_ns);
}

static void
look_next(struct lease *lease)
{
    pthread_mutex_lock(&lease->lock);
    lease->step = LOOKING;
    pthread_mutex_unlock(&lease->lock);
    next_at(lease, clock_now_ns());
}

static void
beaten(struct backend_io *io, void *arg)
{
    struct lease *lease = arg;
    uint64_t sent_ns = lease->sent_ns[lease->mine.lease.beat % REMEMBERED];

    attrs_clear(&lease->text.attrs);
    if (io->status == BD_OK) {
        counter_add(lease->beats, 1);
        pthread_mutex_lock(&lease->lock);
        confirm_locked(lease, sent_ns);
        pthread_mutex_unlock(&lease->lock);
        snprintf(lease->mine.tag, sizeof lease->mine.tag, "%s", io->tag != NULL ? io->tag : "");
    }
    if (io->status == BD_CONDITION || io->status == BD_UNKNOWN
        || (io->status == BD_OK && lease->mine.tag[0] == '\0'))
        look_next(lease);
    else if (io->status == BD_OK)
        rest(lease);
    else
        again(lease, BEATING, "renew", backend_io_reason(io));
}

static void
beat(struct lease *lease)
{
    struct lock *mine = &lease->mine;
    uint64_t now = clock_now_ns();
    struct bd_io *io = &lease->io->io;

    pthread_mutex_lock(&lease->lock);
    lease->step = BEATING;
    mine->lease.epoch = lease->epoch;
    mine->is_local = lease->is_local;
    pthread_mutex_unlock(&lease->lock);
    mine->lease.beat++;
    mine->lease.at_s = (uint64_t)time(NULL);
    mine->hold_ms =
        now < lease->config.hold_until_ns ? (lease->config.hold_until_ns - now) / NS_PER_MS + 1 : 0;
    lease->sent_ns[mine->lease.beat % REMEMBERED] = now;
    io->deadline_ns = now + lease->lease_ns / ATTEMPTS_PER_LEASE;
    io->if_match = mine->tag;
    if (lock_put(lease->io, mine, lease->config.when, &lease->text) != 0) {
        attrs_clear(&lease->text.attrs);
        next_at(lease, now + lease->lease_ns / PAUSES_PER_LEASE);
        return;
    }
    backend_submit(lease->io, beaten, lease);
}

/* When the beat that was found was sent; 0: it is none of ours. */
static uint64_t
sent_ns_of(const struct lease *lease, const struct lock *found)
{
    uint64_t beat = found->lease.beat, last = lease->mine.lease.beat;

    if (!lock_is_of(found, lease->mine.value, lease->mine.owner) || beat > last)
        return 0;
    /* Before the first one, and long ago: it is ours, and confirms nothing new. */
    if (beat == 0 || last - beat >= REMEMBERED)
        return lease->config.since_ns;
    return lease->sent_ns[beat % REMEMBERED];
}

static void
lost(struct lease *lease, const struct lock *found)
{
    const char *host = lock_host(found);

    pthread_mutex_lock(&lease->lock);
    if (!found->is_there)
        error_set(&lease->reason, 0,
                  "the volume's lock was removed: somebody took this machine for dead");
    else
        error_set(&lease->reason, 0, "the volume was taken over%s%s",
                  host != NULL ? " by " : " by another program (its lock is not ours)",
                  host != NULL ? host : "");
    lose_locked(lease);
    pthread_mutex_unlock(&lease->lock);
    next_at(lease, 0);
}

static void
looked(struct backend_io *io, void *arg)
{
    struct lease *lease = arg;
    struct lock found = { .is_there = false };
    uint64_t sent_ns;

    if (io->status != BD_OK && io->status != BD_ABSENT) {
        again(lease, LOOKING, "look at", backend_io_reason(io));
        return;
    }
    if (io->status == BD_OK)
        lock_parse(io, &found);
    sent_ns = sent_ns_of(lease, &found);
    if (sent_ns == 0) {
        lost(lease, &found);
        return;
    }
    pthread_mutex_lock(&lease->lock);
    confirm_locked(lease, sent_ns);
    pthread_mutex_unlock(&lease->lock);
    if (strcmp(found.tag, lease->mine.tag) == 0 || found.tag[0] == '\0') {
        /* It was not done, or is not yet; or the condition did not hold, and the store errs, or shows what is old. */
        again(lease, BEATING, "renew", "no answer, and nothing has changed");
        return;
    }
    memcpy(lease->mine.tag, found.tag, sizeof lease->mine.tag);
    rest(lease);
}

static void
look(struct lease *lease)
{
    struct bd_io *io = &lease->io->io;

    io->op = BD_HEAD_OBJECT;
    io->if_match = NULL;
    io->body = NULL;
    io->body_bytes = 0;
    io->media_type = NULL;
    io->attrs = NULL;
    io->attr_count = 0;
    io->deadline_ns = clock_now_ns() + lease->lease_ns / ATTEMPTS_PER_LEASE;
    backend_submit(lease->io, looked, lease);
}

static void
run_step(struct task *task)
{
    struct lease *lease = container_of(task, struct lease, timer.task);
    enum step step;
    bool is_stopping;

    pthread_mutex_lock(&lease->lock);
    step = lease->step;
    is_stopping = lease->is_stopping;
    pthread_mutex_unlock(&lease->lock);
    if (is_stopping)
        next_at(lease, 0); /* and so never */
    else if (step == LOOKING)
        look(lease);
    else
        beat(lease);
}

/* ---- for who writes */

enum lease_state
lease_check(struct lease *lease, uint64_t *until_ns)
{
    enum lease_state state = LEASE_LOST;
    uint64_t now;

    pthread_mutex_lock(&lease->lock);
    now = clock_now_ns();
    *until_ns = lease->confirmed_ns + lease->lease_ns;
    if (lease->step != LOST) {
        state = is_confirmed_locked(lease, now) ? LEASE_HELD : LEASE_UNCONFIRMED;
        tell_unconfirmed_locked(lease, now);
    }
    pthread_mutex_unlock(&lease->lock);
    return state;
}

/* Something has changed, or it is time to look whether somebody interrupts us. */
static void
wait_locked(struct lease *lease)
{
    cond_wait_ns(&lease->changed, &lease->lock, LOOK_EVERY_NS);
}

static int
interrupted(struct error *why)
{
    return error_set(why, -EINTR, "interrupted while nothing confirmed the volume's lock");
}

int
lease_await(struct lease *lease, uint64_t *until_ns, struct error *why)
{
    uint64_t now;
    int rc = 0;

    *until_ns = UINT64_MAX;
    if (lease == NULL)
        return 0;
    pthread_mutex_lock(&lease->lock);
    now = clock_now_ns();
    for (uint64_t end_ns = now + lease->lease_ns; !is_held_locked(lease, now) && now < end_ns;
         now = clock_now_ns()) {
        if (lease->step == LOST || interrupts_pending())
            break;
        tell_unconfirmed_locked(lease, now);
        wait_locked(lease);
    }
    *until_ns = lease->confirmed_ns + lease->lease_ns;
    if (!is_held_locked(lease, now) && lease->step != LOST && interrupts_pending())
        rc = interrupted(why);
    else if (!is_held_locked(lease, now))
        rc = error_set(why, -EROFS, "somebody else may have the volume by now: %s",
                       lease->reason.text[0] != '\0' ? lease->reason.text
                                                     : "nothing confirms that its lock is ours");
    pthread_mutex_unlock(&lease->lock);
    return rc;
}

bool
lease_is_lost(struct lease *lease, struct error *how)
{
    bool is_lost;

    pthread_mutex_lock(&lease->lock);
    is_lost = lease->step == LOST;
    if (is_lost && how != NULL)
        *how = lease->reason;
    pthread_mutex_unlock(&lease->lock);
    return is_lost;
}

void
lease_set_epoch(struct lease *lease, uint64_t epoch)
{
    pthread_mutex_lock(&lease->lock);
    lease->epoch = epoch;
    pthread_mutex_unlock(&lease->lock);
}

void
lease_set_local(struct lease *lease, bool is_local)
{
    bool is_now;

    pthread_mutex_lock(&lease->lock);
    is_now = lease->is_local != is_local && lease->step == RESTING
             && pool_timer_cancel(lease->config.pool, &lease->timer);
    lease->is_local = is_local;
    pthread_mutex_unlock(&lease->lock);
    if (is_now)
        next_at(lease, 0);
}

/* ---- life */

/* Until the first beat is done, or nobody can wait for it any longer. */
static int
await_first(struct lease *lease, struct error *why)
{
    uint64_t until_ns = clock_now_ns() + lease->lease_ns;
    int rc = 0;

    pthread_mutex_lock(&lease->lock);
    while (lease->step != LOST && lease->step != RESTING && clock_now_ns() < until_ns
           && !interrupts_pending())
        wait_locked(lease);
    if (lease->step == LOST)
        rc = error_set(why, -EBUSY, "%s", lease->reason.text);
    else if (lease->step != RESTING && interrupts_pending())
        rc = interrupted(why);
    else if (lease->step != RESTING)
        rc = error_set(why, -EIO, "the lock of the volume got no first beat: %s",
                       lease->reason.text);
    pthread_mutex_unlock(&lease->lock);
    return rc;
}

int
lease_begin(const struct lease_config *config, struct stats *stats, struct lease **out,
            struct error *why)
{
    struct lease *lease = calloc(1, sizeof *lease);
    struct layout layout = { .prefix = config->prefix, .is_format_2 = config->is_format_2 };
    int rc;

    if (lease == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    lease->io = backend_io_new(config->backend);
    if (lease->io == NULL) {
        free(lease);
        return error_set(why, -ENOMEM, "out of memory");
    }
    pthread_mutex_init(&lease->lock, NULL);
    cond_init(&lease->changed);
    lease->config = *config;
    lease->mine = config->lock;
    lease->mine.lease.beat = 0;
    lease->epoch = config->lock.lease.epoch;
    lease->is_local = config->lock.is_local;
    lease->lease_ns = config->lock.lease.lease_ms * NS_PER_MS;
    lease->confirmed_ns = config->since_ns;
    lease->beats = stats_counter(stats, "lock_beats", "times that the volume's lock was renewed");
    lock_name(&layout, lease->name);
    lease->io->io.name = lease->name;
    lease->step = lease->mine.tag[0] != '\0' ? BEATING : LOOKING;
    next_at(lease, clock_now_ns());
    rc = await_first(lease, why);
    if (rc != 0) {
        lease_free(lease);
        return rc;
    }
    *out = lease;
    return 0;
}

uint64_t
lease_stop(struct lease *lease)
{
    uint64_t ends_ns;

    if (lease == NULL)
        return UINT64_MAX;
    pthread_mutex_lock(&lease->lock);
    lease->is_stopping = true;
    if (lease->is_busy && pool_timer_cancel(lease->config.pool, &lease->timer))
        lease->is_busy = false;
    while (lease->is_busy)
        pthread_cond_wait(&lease->changed, &lease->lock);
    ends_ns = lease->confirmed_ns + lease->lease_ns;
    pthread_mutex_unlock(&lease->lock);
    return ends_ns;
}

void
lease_free(struct lease *lease)
{
    if (lease == NULL)
        return;
    lease_stop(lease);
    backend_io_free(lease->io);
    pthread_cond_destroy(&lease->changed);
    pthread_mutex_destroy(&lease->lock);
    free(lease);
}
