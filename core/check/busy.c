/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a check on a backend under load: many threads, races, deadlines. */
#include "impl.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { THREADS = 8, IN_FLIGHT = 12, BODY = 3000, RACERS = 6, OVERWRITES = 30, READS_MAX = 50 };

#define VERSION_0_BYTES ((size_t)20000)
#define VERSION_1_BYTES ((size_t)30001)

#define PROMPT_NS (100 * NS_PER_MS)
#define LATE_NS (3 * NS_PER_S)

static const struct store_how plain = { 0 };

static const struct timespec moment = { 0, 50000000 };

/* ------------------------------------------------------------------ many at once */

struct many {
    struct asked *puts[IN_FLIGHT], *gets[IN_FLIGHT];
};

static void
many_puts(void *arg)
{
    struct many *many = arg;

    for (unsigned i = 0; i < IN_FLIGHT; i++)
        asked_submit(many->puts[i]);
}

static void
many_gets(void *arg)
{
    struct many *many = arg;

    for (unsigned i = 0; i < IN_FLIGHT; i++)
        asked_submit(many->gets[i]);
}

static void
expect_completed_once(struct check *check, const struct asked *asked)
{
    if (atomic_load(&asked->completions) != 1)
        check_fail(check, "a request must complete exactly once; one did so %d times",
                   atomic_load(&asked->completions));
}

static struct many *
many_new(struct check *check, struct store *store)
{
    struct many *all = check_alloc(check, THREADS * sizeof *all);

    for (unsigned i = 0; i < THREADS * IN_FLIGHT; i++) {
        unsigned char *body = check_alloc(check, BODY);
        struct many *many = &all[i / IN_FLIGHT];
        char leaf[16];

        snprintf(leaf, sizeof leaf, "%03u", i);
        check_fill(body, BODY, CONTENT_NOISE, i);
        many->puts[i % IN_FLIGHT] = asked_put(store, leaf, body, BODY);
        many->gets[i % IN_FLIGHT] = asked_get(store, leaf, BODY);
    }
    return all;
}

static void
requests_complete_once(struct check *check)
{
    struct store *store = store_open(check, plain);
    struct many *all;

    if (store == NULL)
        return;
    all = many_new(check, store);
    check_threads(check, THREADS, many_puts, all, sizeof *all);
    for (unsigned i = 0; i < THREADS * IN_FLIGHT; i++)
        asked_wait(all[i / IN_FLIGHT].puts[i % IN_FLIGHT]);
    check_threads(check, THREADS, many_gets, all, sizeof *all);
    for (unsigned i = 0; i < THREADS * IN_FLIGHT; i++)
        asked_wait(all[i / IN_FLIGHT].gets[i % IN_FLIGHT]);
    nanosleep(&moment, NULL); /* for a second completion */
    for (unsigned i = 0; i < THREADS * IN_FLIGHT && !check->is_failed; i++) {
        expect_completed_once(check, all[i / IN_FLIGHT].puts[i % IN_FLIGHT]);
        expect_completed_once(check, all[i / IN_FLIGHT].gets[i % IN_FLIGHT]);
    }
}

static void
requests_keep_apart(struct check *check)
{
    struct store *store = store_open(check, plain);
    struct many *all;

    if (store == NULL)
        return;
    all = many_new(check, store);
    check_threads(check, THREADS, many_puts, all, sizeof *all);
    for (unsigned i = 0; i < THREADS * IN_FLIGHT; i++)
        asked_expect_ended(all[i / IN_FLIGHT].puts[i % IN_FLIGHT], BD_OK, "PUT");
    check_threads(check, THREADS, many_gets, all, sizeof *all);
    for (unsigned i = 0; i < THREADS * IN_FLIGHT; i++) {
        struct asked *get = all[i / IN_FLIGHT].gets[i % IN_FLIGHT];

        asked_wait(get);
        if (check->is_failed || !asked_expect_ended(get, BD_OK, "GET"))
            continue; /* but all are waited for */
        asked_gave(get, all[i / IN_FLIGHT].puts[i % IN_FLIGHT]->io->body, BODY,
                   "GET, one of many at once");
    }
}

/* ------------------------------------------------------------------ races */

/* Two versions that differ in size and in every byte. */
static void
version_fill(unsigned char *out, unsigned version, size_t *bytes)
{
    *bytes = version % 2 == 0 ? VERSION_0_BYTES : VERSION_1_BYTES;
    memset(out, (int)('a' + version % 2), *bytes);
}

static void
expect_version(struct check *check, struct asked *get)
{
    const enum bd_status status = asked_wait(get);
    const unsigned char *data = get->data;
    const size_t len = get->io->len;

    if (status == BD_RETRY || status == BD_BUSY) /* it says that it has read nothing */
        return;
    if (status != BD_OK)
        check_fail(check, "GET while it is overwritten: expected OK, came %s", status_word(status));
    else if ((len != VERSION_0_BYTES && len != VERSION_1_BYTES)
             || data[0] != (len == VERSION_0_BYTES ? 'a' : 'b')
             || memcmp(data, data + 1, len - 1) != 0)
        check_fail(check, "GET while it is overwritten: %zu bytes of no version", len);
}

/* Some reads are on their way before, some after, and some come until it is done. */
static void
overwrite(struct check *check, struct store *store, unsigned version)
{
    unsigned char *body = check_alloc(check, VERSION_1_BYTES);
    struct asked *put, *gets[4];
    size_t bytes;

    version_fill(body, version, &bytes);
    put = asked_put(store, "a", body, bytes);
    for (unsigned i = 0; i < ARRAY_LEN(gets); i++) {
        gets[i] = asked_get(store, "a", VERSION_1_BYTES + 1);
        if (i == 1)
            asked_submit(put);
        asked_submit(gets[i]);
    }
    for (unsigned i = 0; i < READS_MAX && atomic_load(&put->completions) == 0; i++) {
        struct asked *get = asked_get(store, "a", VERSION_1_BYTES + 1);

        asked_submit(get);
        expect_version(check, get);
    }
    asked_expect_ended(put, BD_OK, "PUT");
    for (unsigned i = 0; i < ARRAY_LEN(gets); i++)
        expect_version(check, gets[i]);
}

static void
readers_see_whole_versions(struct check *check)
{
    struct store *store = store_open(check, plain);
    unsigned char *body = check_alloc(check, VERSION_0_BYTES);
    size_t bytes;

    if (store == NULL)
        return;
    version_fill(body, 0, &bytes);
    if (!asked_expect(asked_put(store, "a", body, bytes), BD_OK, "PUT"))
        return;
    for (unsigned i = 1; i <= OVERWRITES && !check->is_failed; i++)
        overwrite(check, store, i);
}

static void
one_conditional_put_wins(struct check *check)
{
    struct store *store = store_open(check, plain);

    if (store == NULL)
        return;
    if (!(store_info(store)->capabilities & BD_CAP_CONDITIONS_PUT)) {
        check_skip(check, "it does not claim conditions");
        return;
    }
    for (unsigned round = 0; round < 6 && !check->is_failed; round++) {
        struct asked *puts[RACERS];
        unsigned winners = 0, unknown = 0;
        char leaf[16];

        snprintf(leaf, sizeof leaf, "race-%u", round);
        for (unsigned i = 0; i < RACERS; i++) {
            puts[i] = asked_put(store, leaf, &"abcdef"[i], 1);
            puts[i]->io->if_none_match = "*";
        }
        for (unsigned i = 0; i < RACERS; i++)
            asked_submit(puts[i]);
        for (unsigned i = 0; i < RACERS; i++)
            winners += asked_settle(puts[i]) == BD_OK;
        for (unsigned i = 0; i < RACERS; i++)
            unknown += puts[i]->status == BD_UNKNOWN; /* one of these may be the one */
        if (winners > 1 || winners + unknown == 0)
            check_fail(check, "of %d PUTs with if_none_match * at once one must be done; %u were",
                       RACERS, winners);
    }
}

/* ------------------------------------------------------------------ time */

static void
submit_returns_promptly(struct check *check)
{
    struct store *store = store_open(check, plain);
    uint64_t best_ns = UINT64_MAX;

    for (unsigned i = 0; i < 8 && store != NULL; i++) {
        struct asked *put = asked_put(store, "a", "x", 1);
        const uint64_t began_ns = clock_now_ns();
        uint64_t took_ns;

        asked_submit(put);
        took_ns = clock_now_ns() - began_ns;
        asked_wait(put);
        if (took_ns < best_ns) /* the machine may be busy; a plugin that waits always is */
            best_ns = took_ns;
    }
    if (store != NULL && best_ns > PROMPT_NS)
        check_fail(check, "expected less than 100 ms, the fastest of 8 took %llu ms",
                   (unsigned long long)(best_ns / NS_PER_MS));
}

static void
deadlines_are_kept(struct check *check)
{
    static const uint64_t soon_ns[] = { 0, 1000, NS_PER_MS, 20 * NS_PER_MS };
    struct store *store = store_open(check, plain);
    struct asked *asked[ARRAY_LEN(soon_ns) * 4];
    unsigned count = 0;

    if (store == NULL || !put_text(store, "a", "a"))
        return;
    for (unsigned round = 0; round < 2; round++) {
        for (size_t i = 0; i < ARRAY_LEN(soon_ns); i++, count += 2) {
            const uint64_t now_ns = clock_now_ns();

            asked[count] = asked_get(store, "a", 8);
            asked[count + 1] = asked_put(store, "b", "b", 1);
            asked[count]->io->deadline_ns = asked[count + 1]->io->deadline_ns = now_ns + soon_ns[i];
            asked_submit(asked[count]);
            asked_submit(asked[count + 1]);
        }
    }
    for (unsigned i = 0; i < count; i++) {
        asked_wait(asked[i]);
        if (asked[i]->ended_ns > asked[i]->io->deadline_ns + LATE_NS)
            check_fail(
                check, "a request ended %llu ms after its deadline",
                (unsigned long long)((asked[i]->ended_ns - asked[i]->io->deadline_ns) / NS_PER_MS));
    }
}

/* As a mount that ends does. */
static void
close_comes_right_after_the_last(struct check *check)
{
    for (unsigned round = 0; round < 5; round++) {
        struct store *store = store_open(check, plain);
        struct asked *puts[IN_FLIGHT];

        if (store == NULL)
            return;
        for (unsigned i = 0; i < IN_FLIGHT; i++) {
            puts[i] = asked_put(store, "a", "the last", 8);
            asked_submit(puts[i]);
        }
        for (unsigned i = 0; i < IN_FLIGHT; i++)
            asked_expect_ended(puts[i], BD_OK, "PUT");
        store_close(store);
    }
}

void
check_busy(struct check *check)
{
    static const struct check_row rows[] = {
        { "of many requests from many threads each completes exactly once", requests_complete_once,
          "any thread, exactly once for each submit" },
        { "of many requests from many threads each gets its own answer", requests_keep_apart,
          "submit may be called from any thread, concurrently, also before earlier requests "
          "complete" },
        { "a reader sees the old version or the new one, whole", readers_see_whole_versions,
          "whole, atomically to any reader" },
        { "of PUTs with one condition at once one is done", one_conditional_put_wins,
          "if_match, if_none_match on PUT; atomic" },
        { "submit returns promptly", submit_returns_promptly,
          "It returns promptly: no network, no disk, no sleep" },
        { "requests end by their deadlines", deadlines_are_kept,
          "Everything that submit took completes by its deadline, at shutdown too" },
        { "it can be closed as soon as the last request has completed",
          close_comes_right_after_the_last,
          "close is called on one thread with nothing in flight.  Nothing is called after it" },
    };

    check_rows(check, "backend", rows, ARRAY_LEN(rows));
}
