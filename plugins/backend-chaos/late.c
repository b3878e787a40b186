/* SPDX-License-Identifier: Apache-2.0 */
/* Late writes: done when their request was answered long ago. */
#include "chaos.h"

#include <stdlib.h>

#define LATE_DEADLINE_NS (60 * 1000000000ull)

struct late {
    struct lates *lates;
    struct bd_io *io; /* a copy */
};

static void
late_end(struct late *late)
{
    struct lates *lates = late->lates;

    copy_free(late->io);
    free(late);
    pthread_mutex_lock(&lates->lock);
    if (--lates->count == 0)
        pthread_cond_broadcast(&lates->none_cond);
    pthread_mutex_unlock(&lates->lock);
}

static void
late_done(struct bd_io *child, enum bd_status status, void *arg)
{
    struct late *late = arg;

    (void)status;
    late->lates->host->child_free(child);
    late_end(late);
}

static void
late_run(void *arg)
{
    struct late *late = arg;
    const struct bd_host *host = late->lates->host;
    struct bd_io *child;

    late->io->deadline_ns = host->now_ns() + LATE_DEADLINE_NS;
    child = host->child_new(host, late->lates->lower, late->io);
    if (child == NULL)
        late_end(late);
    else
        host->child_submit(child, late_done, late);
}

bool
late_write(struct lates *lates, const struct bd_io *io, uint64_t at_ns)
{
    struct late *late = calloc(1, sizeof *late);

    if (late == NULL || (late->io = copy_new(io)) == NULL) {
        free(late);
        return false;
    }
    late->lates = lates;
    pthread_mutex_lock(&lates->lock);
    lates->count++;
    pthread_mutex_unlock(&lates->lock);
    if (lates->host->timer(lates->host, at_ns, late_run, late) == 0)
        return true;
    late_end(late);
    return false;
}

void
lates_init(struct lates *lates, const struct bd_host *host, const struct bd_lower *lower)
{
    lates->host = host;
    lates->lower = lower;
    pthread_mutex_init(&lates->lock, NULL);
    pthread_cond_init(&lates->none_cond, NULL);
}

void
lates_free(struct lates *lates)
{
    pthread_mutex_lock(&lates->lock);
    while (lates->count > 0)
        pthread_cond_wait(&lates->none_cond, &lates->lock);
    pthread_mutex_unlock(&lates->lock);
    pthread_cond_destroy(&lates->none_cond);
    pthread_mutex_destroy(&lates->lock);
}
