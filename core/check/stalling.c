/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a check on a store that answers nothing for a while: its user says how that is done. */
#include "impl.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { READS = 24, PUTS = 6 }; /* of reads more than a backend may have threads */

#define LATE_NS (3 * NS_PER_S)
#define LONG_BYTES                                                                                 \
    ((size_t)16 << 20) /* more than the sockets of both ends take that nobody reads */

static const struct store_how plain = { 0 };

/* A part of a row's time. */
static uint64_t
while_ns(const struct check *check)
{
    return check->config->limit_ms * NS_PER_MS / 10;
}

/* Opened and in use, with an object; NULL: the row has failed, or is skipped. */
static struct store *
prepare(struct check *check)
{
    struct store *store;

    if (check->config->stall == NULL) {
        check_skip(check, "say --stall=COMMAND and --resume=COMMAND, which let the store answer "
                          "nothing, and go on");
        return NULL;
    }
    store = store_open(check, plain);
    return store != NULL && put_text(store, "a", "old") && expect_text(store, "a", "old") ? store
                                                                                          : NULL;
}

/* All at once, until all have ended; the store is held up meanwhile. */
static void
run_stalled(struct check *check, struct asked **all, unsigned count)
{
    check_stall(check);
    for (unsigned i = 0; i < count; i++) {
        all[i]->io->deadline_ns = clock_now_ns() + while_ns(check);
        asked_submit(all[i]);
    }
    for (unsigned i = 0; i < count; i++)
        asked_wait(all[i]);
    check_resume(check);
}

static void
expect_unanswered(struct check *check, const struct asked *asked)
{
    const bool is_write = asked->io->op == BD_PUT || asked->io->op == BD_DELETE;
    const uint64_t deadline_ns = asked->io->deadline_ns;

    if (asked->status != BD_RETRY && asked->status != BD_BUSY
        && (!is_write || asked->status != BD_UNKNOWN))
        check_fail(check, "%s: expected RETRY%s, came %s%s", op_word(asked->io->op),
                   is_write ? " or UNKNOWN" : "", status_word(asked->status),
                   asked->status == BD_OK ? "; does the store stall after --stall?" : "");
    else if (asked->ended_ns > deadline_ns + LATE_NS)
        check_fail(check, "%s: it ended %llu ms after its deadline", op_word(asked->io->op),
                   (unsigned long long)((asked->ended_ns - deadline_ns) / NS_PER_MS));
}

static void
reads_end(struct check *check)
{
    struct store *store = prepare(check);
    struct asked *all[READS];

    if (store == NULL)
        return;
    all[0] = asked_for(store, BD_HEAD_OBJECT, "a");
    all[1] = asked_list(store, "", NULL, 10);
    for (unsigned i = 2; i < READS; i++)
        all[i] = asked_get(store, "a", 16);
    run_stalled(check, all, READS);
    for (unsigned i = 0; i < READS && !check->is_failed; i++)
        expect_unanswered(check, all[i]);
}

/* One is long: part of it is on its way, and the rest must not follow. */
static void
puts_make(struct store *store, struct asked **puts)
{
    struct check *check = store->layers[0].check;
    const uint64_t most = store_info(store)->object_bytes_max;
    const size_t bytes = most != 0 && most < LONG_BYTES ? (size_t)most : LONG_BYTES;
    char *body = check_alloc(check, bytes);

    for (unsigned i = 0; i < PUTS; i++) {
        char leaf[16];

        snprintf(leaf, sizeof leaf, "put-%u", i);
        puts[i] = asked_put(store, leaf, "new", 3);
    }
    puts[0]->io->body = body;
    puts[0]->io->body_bytes = bytes;
}

static void
writes_end(struct check *check)
{
    struct store *store = prepare(check);
    struct asked *all[PUTS + 1];

    if (store == NULL)
        return;
    puts_make(store, all);
    all[PUTS] = asked_for(store, BD_DELETE, "a");
    run_stalled(check, all, ARRAY_LEN(all));
    for (unsigned i = 0; i < ARRAY_LEN(all) && !check->is_failed; i++)
        expect_unanswered(check, all[i]);
}

/* Those that were not done. */
static void
expect_not_done(struct store *store, struct asked **puts)
{
    struct check *check = store->layers[0].check;

    for (unsigned i = 0; i < PUTS && !check->is_failed; i++) {
        struct asked *get = asked_get(store, "", 16);

        if (puts[i]->status != BD_RETRY && puts[i]->status != BD_BUSY)
            continue;
        get->io->name = puts[i]->io->name;
        asked_expect(get, BD_ABSENT, "GET of what a PUT that was RETRY would have made");
    }
}

static void
it_goes_on(struct check *check)
{
    const uint64_t ns = while_ns(check);
    const struct timespec pause = { (time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S) };
    struct store *store = prepare(check);
    struct asked *puts[PUTS];

    if (store == NULL)
        return;
    puts_make(store, puts);
    run_stalled(check, puts, PUTS);
    if (!put_text(store, "b", "after it") || !expect_text(store, "b", "after it")
        || !expect_text(store, "a", "old"))
        return;
    expect_not_done(store, puts);
    nanosleep(&pause, NULL);
    expect_not_done(store, puts);
}

void
check_stalling(struct check *check)
{
    static const struct check_row rows[] = {
        { "what reads from a store that stalls ends by its deadline, as RETRY", reads_end,
          "a GET, HEAD_OBJECT or LIST without an answer is BD_RETRY" },
        { "what writes to a store that stalls ends by its deadline, as RETRY or UNKNOWN",
          writes_end, "Everything that submit took completes by its deadline, at shutdown too" },
        { "after that requests work again, and a PUT that was RETRY is not carried out", it_goes_on,
          "not done; asking again later may help" },
    };

    check_rows(check, "backend", rows, ARRAY_LEN(rows));
}
