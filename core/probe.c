/* SPDX-License-Identifier: Apache-2.0 */
/* What does a store really do?  The questions one after the other, each in a row. */
#include "probe.h"

#include "base/clock.h"
#include "probe_ask.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

static const struct probe_questions *const parts[] = {
    &probe_objects, &probe_labels, &probe_conditions, &probe_listings, &probe_times,
};

static void
ask_question(struct probe *probe, const struct probe_question *question)
{
    uint64_t claimed = backend_info(probe->backend)->capabilities & question->capability;
    struct probe_row *row = &probe->rows[probe->row_count];

    probe->question = question;
    probe->row = row;
    *row = (struct probe_row){ .id = question->id,
                               .what = question->what,
                               .capability = question->capability,
                               .verdict = PROBE_GOOD,
                               .consequence = question->consequence };
    if (question->good != NULL)
        snprintf(row->found, sizeof row->found, "%s", question->good);
    if (question->unclaimed != NULL && claimed == 0)
        probe_say_that(probe, PROBE_NOT_ASKED, question->unclaimed, "not asked");
    else
        question->ask(probe);
    if (!probe_is_stopped(probe)) /* else the answer may be a wrong one */
        probe->row_count++;
}

/* A store that does not do the very first thing is asked no more: there is one sentence to say. */
static int
ask_all(struct probe *probe, struct error *why)
{
    for (unsigned i = 0; i < ARRAY_LEN(parts); i++) {
        for (unsigned j = 0; j < parts[i]->count && !probe_is_stopped(probe); j++) {
            ask_question(probe, &parts[i]->all[j]);
            if (!probe->has_answered) {
                probe->row_count = 0;
                return error_set(why, status_errno(probe->io->status),
                                 "nothing can be stored there: %s", backend_io_reason(probe->io));
            }
        }
    }
    return 0;
}

static void
make_noise(struct probe *probe, uint64_t state)
{
    for (unsigned i = 0; i < NOISE_BYTES; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        probe->noise[i] = (unsigned char)(state >> 56);
    }
}

int
probe_run(struct backend *backend, const struct probe_config *config, struct probe **out,
          struct error *why)
{
    struct probe *probe = calloc(1, sizeof *probe);
    uint64_t random[2] = { clock_now_ns(), 0 };
    unsigned count = 0;
    int rc;

    *out = NULL;
    if (probe == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    for (unsigned i = 0; i < ARRAY_LEN(parts); i++)
        count += parts[i]->count;
    probe->backend = backend;
    probe->config = *config;
    probe->rows = calloc(count, sizeof probe->rows[0]);
    probe->io = backend_io_new(backend);
    if (probe->rows == NULL || probe->io == NULL) {
        probe_free(probe);
        return error_set(why, -ENOMEM, "out of memory");
    }
    *out = probe;
    if (getrandom(random, sizeof random, 0) != sizeof random)
        random[0] ^= (uint64_t)(uintptr_t)probe;
    snprintf(probe->scratch, sizeof probe->scratch, "%sbucketdisk-probe-%016" PRIx64 "-",
             config->prefix, random[0]);
    make_noise(probe, random[1]);
    rc = ask_all(probe, why);
    probe_tidy_up(probe);
    if (probe->no_memory)
        return error_set(why, -ENOMEM, "out of memory");
    if (*config->is_stopped != 0)
        return error_set(why, -EINTR, "stopped");
    return rc;
}

void
probe_free(struct probe *probe)
{
    if (probe == NULL)
        return;
    backend_io_free(probe->io);
    free(probe->made);
    free(probe->rows);
    free(probe);
}

unsigned
probe_row_count(const struct probe *probe)
{
    return probe->row_count;
}

const struct probe_row *
probe_row(const struct probe *probe, unsigned i)
{
    assert(i < probe->row_count);
    return &probe->rows[i];
}

const char *
probe_left_behind(const struct probe *probe)
{
    return probe->left_behind;
}
