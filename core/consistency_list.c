/* SPDX-License-Identifier: Apache-2.0 */
/* What is learnt of blocks by listing: for a zero or a seek, or of everything. */
#include "consistency_inner.h"

#include "base/clock.h"
#include "base/human.h"
#include "base/log.h"
#include "base/util.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#define TELL_NS (10 * NS_PER_S)

/* ---- learning by listing */

static void
learn(struct consistency *consistency, const uint64_t *blocks, unsigned count, uint64_t first,
      uint64_t end)
{
    pthread_mutex_lock(&consistency->lock);
    if (!objects_list_in_order(consistency->objects)) /* take back what earlier pages told */
        zeromap_change(consistency->map, 0, consistency->config.layout->block_count, BLOCK_ZERO,
                       BLOCK_DATA);
    for (unsigned i = 0; i < count; i++)
        zeromap_change(consistency->map, blocks[i], blocks[i] + 1, BLOCK_UNKNOWN, BLOCK_DATA);
    if (consistency_trusts_store(consistency)) /* others may leave out what was written lately */
        zeromap_change(consistency->map, first, end, BLOCK_UNKNOWN, BLOCK_ZERO);
    pthread_mutex_unlock(&consistency->lock);
}

static void
job_learnt(void *arg, const uint64_t *blocks, unsigned count, uint64_t first, uint64_t end)
{
    learn(((struct job *)arg)->consistency, blocks, count, first, end);
}

static void
job_listed(void *arg, int rc)
{
    struct job *job = arg;

    /* A stop has ended the survey that it had joined; what was to be zeroed still is. */
    if (rc == -ECANCELED && job->req->op == STORE_ZERO)
        rc = 0;
    if (rc != 0)
        consistency_end(job, rc);
    else
        job->listed(job);
}

static void
list_all_learnt(void *arg, const uint64_t *blocks, unsigned count, uint64_t first, uint64_t end)
{
    learn(arg, blocks, count, first, end);
}

/* After a page. */
static bool
list_all_tell(void *arg)
{
    struct consistency *consistency = arg;
    struct survey_state *state = &consistency->survey_state;
    uint64_t percent = survey_percent(state->survey), now, found;
    bool is_told = false;

    pthread_mutex_lock(&consistency->lock);
    now = clock_now_ns(); /* here, so that it is not before told_ns */
    if (percent > state->percent)
        state->percent = percent;
    if (state->done != NULL && now - state->told_ns >= TELL_NS) {
        state->told_ns = now;
        is_told = true;
    }
    found = zeromap_data_count(consistency->map);
    pthread_mutex_unlock(&consistency->lock);
    if (is_told)
        log_line(BD_INFO,
                 "listing blocks: %" PRIu64 " found in %" PRIu64 " %% of the volume, %" PRIu64
                 " s so far",
                 found, percent, (uint64_t)((now - state->started_ns) / NS_PER_S));
    return false;
}

static void
list_all_listed(void *arg, int rc)
{
    struct consistency *consistency = arg;
    struct survey_state *state = &consistency->survey_state;
    uint64_t ms = (clock_now_ns() - state->started_ns) / NS_PER_MS, found;
    struct job *joined;
    void (*done)(void *arg, int rc);
    void *done_arg;

    pthread_mutex_lock(&consistency->lock);
    joined = state->joined;
    done = state->done;
    done_arg = state->done_arg;
    state->joined = NULL;
    state->done = NULL;
    state->is_running = false;
    if (rc == 0)
        state->percent = 100;
    found = zeromap_data_count(consistency->map);
    pthread_mutex_unlock(&consistency->lock);
    if (done != NULL && rc == 0)
        log_line(BD_INFO,
                 "all blocks are listed: %" PRIu64 " %s an object (%" PRIu64 ".%" PRIu64 " s)",
                 found, human_form(found, "has", "have"), ms / 1000, ms % 1000 / 100);
    while (joined != NULL) {
        struct job *next = joined->next_joined;

        job_listed(joined, rc);
        joined = next;
    }
    if (done != NULL)
        done(done_arg, rc); /* after it, all may be gone */
}

static void
list_all_start(struct consistency *consistency)
{
    struct survey_state *state = &consistency->survey_state;
    const struct survey_config config = {
        .layout = consistency->config.layout,
        .objects = consistency->objects,
        .end = consistency->config.layout->block_count,
        .listers_max = consistency->config.listers_max,
        .is_background = true,
        /* Who still needs one when all stops, to zero something, gets it. */
        .is_over = atomic_load(&consistency->is_stopping) ? NULL : &consistency->is_stopping,
        .learnt = list_all_learnt,
        .is_enough = list_all_tell,
        .done = list_all_listed,
        .arg = consistency,
    };
    int rc = survey_new(&config, &state->survey);

    state->started_ns = state->told_ns = clock_now_ns();
    if (rc != 0)
        list_all_listed(consistency, rc);
    else
        survey_start(state->survey);
}

static void
list_all_start_late(struct task *task)
{
    struct consistency *consistency =
        container_of(task, struct consistency, survey_state.delay.task);

    if (atomic_load(&consistency->is_stopping))
        list_all_listed(consistency, -ECANCELED);
    else
        list_all_start(consistency);
}

/* True: there is one of everything, which the job has joined. */
static bool
list_all_join(struct job *job)
{
    struct consistency *consistency = job->consistency;
    struct survey_state *state = &consistency->survey_state;
    bool is_hashed = consistency->config.layout->is_hashed, is_begun = false, is_joined;

    pthread_mutex_lock(&consistency->lock);
    /* There, a part is no less work than everything. */
    is_joined = is_hashed
                || (state->is_running && objects_capabilities(consistency->objects) & BD_CAP_LOCAL);
    if (is_joined) {
        is_begun = !state->is_running;
        state->is_running = true;
        job->next_joined = state->joined;
        state->joined = job;
    }
    pthread_mutex_unlock(&consistency->lock);
    if (is_begun)
        list_all_start(consistency);
    return is_joined;
}

void
consistency_list(struct job *job, uint64_t from, unsigned listers_max, bool (*is_enough)(void *arg))
{
    struct consistency *consistency = job->consistency;
    const struct survey_config config = {
        .layout = consistency->config.layout,
        .objects = consistency->objects,
        .first = from,
        .end = job->end,
        .listers_max = listers_max,
        .is_over = job->req->op == STORE_ZERO ? NULL : &consistency->is_stopping,
        .learnt = job_learnt,
        .is_enough = is_enough,
        .done = job_listed,
        .arg = job,
    };
    struct survey *survey;
    int rc;

    if (list_all_join(job))
        return;
    rc = survey_new(&config, &survey);
    if (rc != 0)
        consistency_end(job, rc);
    else
        survey_start(survey);
}

/* ---- seeking */

/* Go on to the first block of the range that fits, or (returns true) of which that is not known. */
static bool
seek_on(struct job *job)
{
    struct consistency *consistency = job->consistency;
    bool want_data = job->req->want_data, is_unknown;
    unsigned unknown = 1u << BLOCK_UNKNOWN;
    unsigned states = 1u << (want_data ? BLOCK_DATA : BLOCK_ZERO) | unknown;

    pthread_mutex_lock(&consistency->lock);
    /* Where a listing cannot be relied on, what is unknown counts as data. */
    if (!consistency_trusts_store(consistency) || clock_now_ns() < consistency->list_from_ns) {
        if (!want_data)
            states &= ~unknown;
        unknown = 0;
    }
    job->cursor = zeromap_find(consistency->map, job->cursor, job->end, states);
    is_unknown =
        job->cursor < job->end && (1u << zeromap_get(consistency->map, job->cursor) & unknown) != 0;
    pthread_mutex_unlock(&consistency->lock);
    return is_unknown;
}

static bool
seek_has_enough(void *arg)
{
    return !seek_on(arg);
}

void
consistency_seek(struct job *job)
{
    struct store_req *req = job->req;

    if (seek_on(job)) {
        job->listed = consistency_seek;
        consistency_list(job, job->cursor, 1, seek_has_enough);
    } else if (job->cursor >= job->end) {
        consistency_end(job, -ENXIO);
    } else {
        req->block = job->cursor;
        consistency_end(job, 0);
    }
}

/* ---- the survey that is asked for */

void
consistency_survey(struct store *store, void (*done)(void *arg, int rc), void *arg)
{
    struct consistency *consistency = container_of(store, struct consistency, store);
    struct survey_state *state = &consistency->survey_state;
    bool is_running;
    uint64_t from_ns;

    pthread_mutex_lock(&consistency->lock);
    assert(state->done == NULL);
    state->done = done;
    state->done_arg = arg;
    is_running = state->is_running;
    state->is_running = true;
    from_ns = consistency->list_from_ns;
    pthread_mutex_unlock(&consistency->lock);
    if (is_running)
        return;
    state->delay.task.run = list_all_start_late;
    if (from_ns <= clock_now_ns())
        list_all_start(consistency);
    else if (pool_timer_set(consistency->pool, &state->delay, from_ns) != 0)
        list_all_listed(consistency, -ENOMEM);
}

void
consistency_stop_listing(struct store *store)
{
    struct consistency *consistency = container_of(store, struct consistency, store);

    atomic_store(&consistency->is_stopping, true);
    if (pool_timer_cancel(consistency->pool, &consistency->survey_state.delay))
        list_all_listed(consistency, -ECANCELED);
}

uint64_t
consistency_listed_percent(void *arg)
{
    struct consistency *consistency = arg;
    uint64_t percent;

    pthread_mutex_lock(&consistency->lock);
    percent = consistency->survey_state.percent;
    pthread_mutex_unlock(&consistency->lock);
    return percent;
}
