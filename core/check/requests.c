/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a check on a request itself: what of it a plugin may touch, and until when. */
#include "impl.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct store_how plain = { 0 };

static void
unknown_operations_are_refused(struct check *check)
{
    static const uint32_t ops[] = { 0, 7, 99, UINT32_MAX };
    struct store *store = store_open(check, plain);

    for (size_t i = 0; i < ARRAY_LEN(ops) && store != NULL; i++) {
        if (!asked_expect(asked_for(store, ops[i], "a"), BD_UNSUPPORTED,
                          "an operation nobody knows"))
            return;
    }
}

static void
scratch_is_kept_to(struct check *check)
{
    static const uint32_t ops[] = { BD_PUT, BD_GET, BD_HEAD_OBJECT, BD_LIST, BD_DELETE };
    struct store *store = store_open(check, plain);

    for (size_t i = 0; i < ARRAY_LEN(ops) && store != NULL; i++) {
        struct asked *asked =
            ops[i] == BD_GET ? asked_get(store, "a", 8) : asked_for(store, ops[i], "a");
        const struct instance *layer = &store->layers[0];

        asked->io->limit = 10;
        asked_run(asked);
        if (!check_canary_is_whole((const char *)asked->io->scratch
                                   + layer->plugin->backend.scratch_bytes))
            check_fail(check,
                       "%s wrote behind the %u bytes of scratch that it asks for; scratch_bytes "
                       "says how many, with bd_blocking BD_BLOCKING_SCRATCH",
                       op_word(ops[i]), layer->plugin->backend.scratch_bytes);
    }
}

static void
requests_are_as_they_were(struct check *check)
{
    struct store *store = store_open(check, plain);
    const struct bd_attr attr = { "name", "value", 5 };
    struct asked *asked[5];

    if (store == NULL)
        return;
    asked[0] = asked_put(store, "a", "0123456789", 10);
    asked[0]->io->encoding = "deflate";
    asked[0]->io->attrs = &attr;
    asked[0]->io->attr_count = 1;
    asked[1] = asked_get(store, "a", 4);
    asked[1]->io->offset = 3;
    asked[2] = asked_for(store, BD_HEAD_OBJECT, "a");
    asked[3] = asked_list(store, "", "A", 10);
    asked[4] = asked_for(store, BD_DELETE, "a");
    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        asked_run(asked[i]);
        if (asked[i]->is_changed)
            check_fail(check, "%s: a field that says what is asked for has changed",
                       op_word(asked[i]->io->op));
    }
}

/* Their pages cannot be touched any more from complete on: who does crashes. */
static void
ended_requests_are_left_alone(struct check *check)
{
    static const uint32_t ops[] = { BD_PUT, BD_GET, BD_HEAD_OBJECT, BD_DELETE };
    const struct timespec pause = { 0, 30000000 };
    struct store *store = store_open(check, plain);

    for (size_t i = 0; i < ARRAY_LEN(ops) && store != NULL; i++) {
        struct asked *asked = asked_paged(store, ops[i], "a", 5001);

        asked->locks_when_complete = true;
        asked_run(asked);
        nanosleep(&pause, NULL);
        if (asked->status != BD_OK && asked->status != BD_RETRY && asked->status != BD_BUSY)
            check_fail(check, "%s: expected OK, came %s%s%s", op_word(ops[i]),
                       status_word(asked->status), asked->why.text[0] != '\0' ? ": " : "",
                       asked->why.text);
    }
}

/* A process that was stopped, say, and goes on. */
static void
late_puts_change_nothing(struct check *check)
{
    struct store *store = store_open(check, plain);
    struct asked *put, *gone;

    if (store == NULL || !put_text(store, "a", "old"))
        return;
    put = asked_put(store, "a", "new", 3);
    put->io->deadline_ns = clock_now_ns() - NS_PER_S;
    gone = asked_for(store, BD_DELETE, "a");
    gone->io->deadline_ns = clock_now_ns() - NS_PER_S;
    if (asked_run(put) == BD_OK)
        check_fail(check, "PUT a second after its deadline: expected a failure, came OK");
    if (asked_run(gone) == BD_OK)
        check_fail(check, "DELETE a second after its deadline: expected a failure, came OK");
    expect_text(store, "a", "old");
}

void
check_requests(struct check *check)
{
    static const struct check_row rows[] = {
        { "an operation that it does not know is UNSUPPORTED", unknown_operations_are_refused,
          "A plugin completes an op that it does not know as BD_UNSUPPORTED" },
        { "requests use no more scratch than it asks for", scratch_is_kept_to,
          "scratch_bytes of the backend, zeroed, aligned for any type; the plugin's until" },
        { "a request is at its end as it was at its begin", requests_are_as_they_were,
          "What a request says a plugin may change for its own use, if all is as it was again when "
          "it calls complete()" },
        { "a request is left alone from complete on", ended_requests_are_left_alone,
          "After complete() a plugin touches neither the request nor what it points to" },
        { "what comes after its deadline changes nothing", late_puts_change_nothing,
          "From then on nothing that changes the store is begun or goes on" },
    };

    check_rows(check, "backend", rows, ARRAY_LEN(rows));
}
