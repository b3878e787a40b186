/* SPDX-License-Identifier: Apache-2.0 */
/* Questions: does the store honour conditions, also when many ask at once? */
#include "probe_ask.h"

#include "ask.h"

#include <stdio.h>

#define RACERS 16
#define RACE_TRIES 6
#define RACES 3

static const char two_mount[] =
    "Of two machines that mount a volume at the same instant, both may succeed.";
static const char done_without[] = "bucketdisk does without.";

/* A request whose first attempt may have been done says nothing by being refused, or the reverse. */
static bool
is_unclear(struct probe *probe)
{
    if (probe->was_unknown)
        probe_say_that(probe, PROBE_WEAK, "Ask again when the store answers every request.",
                       "an answer was lost: not known");
    return probe->was_unknown;
}

/* Is the first body still there, after a put of another one was refused? */
static bool
has_refused_truly(struct probe *probe, const char *leaf)
{
    if (probe_get(probe, leaf) == BD_OK && probe_gave(probe, probe_body(probe, 0)))
        return true;
    probe_say_that(probe, PROBE_BAD, probe_damages,
                   "refused, and the object is overwritten all the same");
    return false;
}

static enum bd_status
get_if(struct probe *probe, const char *if_match, const char *if_none_match)
{
    struct bd_io *io = probe_prepare(probe, BD_GET, "get-if");

    io->data = probe->data;
    io->cap = sizeof probe->data;
    io->if_match = if_match;
    io->if_none_match = if_none_match;
    return probe_ask(probe);
}

static void
get_conditions(struct probe *probe)
{
    tag_text tag, other;

    if (!probe_must_put_tagged(probe, "get-if", tag, other))
        return;
    if (get_if(probe, NULL, tag) != BD_CONDITION)
        probe_failed(probe, PROBE_WEAK, "get unless it has the tag that it has");
    else if (get_if(probe, other, NULL) != BD_CONDITION)
        probe_failed(probe, PROBE_WEAK, "get if it has another tag");
    else if (get_if(probe, NULL, other) != BD_OK)
        probe_failed(probe, PROBE_WEAK, "get unless it has another tag");
    else if (get_if(probe, tag, NULL) != BD_OK)
        probe_failed(probe, PROBE_WEAK, "get if it has the tag that it has");
}

static void
put_if_absent(struct probe *probe)
{
    struct put_what what = { .body = probe_body(probe, 0), .if_none_match = "*" };

    if (probe_put_what(probe, "put-absent", what) != BD_OK) {
        if (!is_unclear(probe))
            probe_failed(probe, PROBE_WEAK, "where there is none, put");
        return;
    }
    what.body = probe_body(probe, 1);
    if (probe_put_what(probe, "put-absent", what) == BD_OK)
        probe_say(probe, PROBE_WEAK, "ignored: the object is overwritten");
    else if (probe->io->status != BD_CONDITION)
        probe_failed(probe, PROBE_WEAK, "where there is one, put");
    else
        has_refused_truly(probe, "put-absent");
}

static void
put_if_match(struct probe *probe)
{
    struct put_what what = { .body = probe_body(probe, 1) };
    tag_text tag, other;

    if (!probe_must_put_tagged(probe, "put-match", tag, other))
        return;
    what.if_match = other;
    if (probe_put_what(probe, "put-match", what) == BD_OK) {
        probe_say(probe, PROBE_WEAK, "ignored: one with another tag is overwritten");
        return;
    }
    if (probe->io->status != BD_CONDITION) {
        probe_failed(probe, PROBE_WEAK, "if it has another tag, put");
        return;
    }
    if (!has_refused_truly(probe, "put-match"))
        return;
    what.if_match = tag;
    if (probe_put_what(probe, "put-match", what) != BD_OK) {
        if (!is_unclear(probe))
            probe_failed(probe, PROBE_WEAK, "if it has the tag that it has, put");
        return;
    }
    if (probe_put_what(probe, "put-match-none", what) != BD_CONDITION)
        probe_failed(probe, PROBE_WEAK, "put where there is no object");
}

/* ---- many at once */

struct racer {
    struct backend_io *io;
};

/* All put at once, each its own noise, on the condition that there is no object. */
static void
racers_run(struct probe *probe, const char *leaf, struct racer racers[RACERS])
{
    probe_remember(probe, leaf);
    probe_name(probe, leaf, probe->name);
    for (unsigned i = 0; i < RACERS; i++) {
        struct bd_io *io = &racers[i].io->io;

        *io = (struct bd_io){ .size = io->size, .scratch = io->scratch, .op = BD_PUT };
        io->name = probe->name;
        io->body = probe_body(probe, i).data;
        io->body_bytes = BODY_BYTES;
        io->if_none_match = "*";
        io->deadline_ns = clock_now_ns() + probe->config.attempt_ns;
        backend_submit_begin(racers[i].io);
    }
    for (unsigned i = 0; i < RACERS; i++)
        backend_wait(racers[i].io);
}

/* "Not done, try again": others were at it.  By then there is an object. */
static enum bd_status
racer_ends(struct probe *probe, struct racer *racer)
{
    uint64_t pause_ns = ASK_PAUSE_FIRST_NS;

    for (unsigned i = 0;
         i < RACE_TRIES && (racer->io->status == BD_RETRY || racer->io->status == BD_BUSY); i++) {
        ask_pause(racer->io, &pause_ns);
        racer->io->io.deadline_ns = clock_now_ns() + probe->config.attempt_ns;
        backend_submit_wait(racer->io);
    }
    return racer->io->status;
}

static void
race(struct probe *probe, const char *leaf, struct racer racers[RACERS])
{
    unsigned winners = 0, winner = 0;

    racers_run(probe, leaf, racers);
    for (unsigned i = 0; i < RACERS; i++) {
        enum bd_status status = racer_ends(probe, &racers[i]);

        if (status == BD_OK) {
            winners++;
            winner = i;
        } else if (status != BD_CONDITION) {
            probe->unknown_count += status == BD_UNKNOWN;
            probe_say(probe, PROBE_WEAK, "one of %d at once: %s", RACERS,
                      backend_io_reason(racers[i].io));
            return;
        }
    }
    if (winners != 1)
        probe_say(probe, PROBE_WEAK, "%u of %d win", winners, RACERS);
    else if (probe_get(probe, leaf) != BD_OK || !probe_gave(probe, probe_body(probe, winner)))
        probe_say_that(probe, PROBE_BAD, probe_damages, "one wins, and another's object is there");
}

static void
put_race(struct probe *probe)
{
    struct racer racers[RACERS] = { { NULL } };

    for (unsigned i = 0; i < RACERS; i++) {
        racers[i].io = backend_io_new(probe->backend);
        probe->no_memory = probe->no_memory || racers[i].io == NULL;
    }
    for (unsigned i = 0; i < RACES && probe->row->verdict == PROBE_GOOD && !probe_is_stopped(probe);
         i++) {
        char leaf[32];

        snprintf(leaf, sizeof leaf, "put-race-%u", i);
        race(probe, leaf, racers);
    }
    for (unsigned i = 0; i < RACERS; i++)
        backend_io_free(racers[i].io);
}

/* ---- deleting */

static void
delete_if_match(struct probe *probe)
{
    static const char leaf[] = "delete-match";
    tag_text tag, other;

    if (!probe_must_put_tagged(probe, leaf, tag, other))
        return;
    if (probe_delete(probe, leaf, other) != BD_CONDITION) {
        probe_failed(probe, PROBE_WEAK, "delete if it has another tag");
    } else if (probe_get(probe, leaf) != BD_OK) {
        probe_say_that(probe, PROBE_BAD, probe_damages,
                       "refused, and the object is gone all the same");
    } else if (probe_delete(probe, leaf, tag) != BD_OK) {
        if (!is_unclear(probe))
            probe_failed(probe, PROBE_WEAK, "delete if it has the tag that it has");
    } else if (probe_get(probe, leaf) != BD_ABSENT) {
        probe_say_that(probe, PROBE_BAD, probe_damages, "done, and the object is still there");
    } else if (probe_delete(probe, leaf, tag) != BD_CONDITION) {
        probe_failed(probe, PROBE_WEAK, "delete where there is no object");
    }
}

/* clang-format off */
static const struct probe_question questions[] = {
    { "get-if", "get on a condition", BD_CAP_CONDITIONS_GET, get_conditions,
      .good = "honoured", .consequence = "What is known already need not be fetched.",
      .otherwise = "What relies on conditions of reads must not be used.",
      .unclaimed = done_without },
    { "put-absent", "put if there is none", BD_CAP_CONDITIONS_PUT, put_if_absent,
      .good = "honoured", .consequence = "Of two machines that mount a volume at once, one succeeds.",
      .otherwise = two_mount, .unclaimed = two_mount },
    { "put-match", "put if it has this tag", BD_CAP_CONDITIONS_PUT, put_if_match,
      .good = "honoured", .consequence = "A lock on the volume can be kept alive and taken over.",
      .otherwise = "A lock on the volume is not safe: two machines may take it over at once.",
      .unclaimed = two_mount },
    { "put-race", "16 create an object at once", BD_CAP_CONDITIONS_PUT, put_race,
      .good = "one wins", .consequence = "Conditions hold under contention.",
      .otherwise = two_mount, .unclaimed = two_mount },
    { "delete-match", "delete if it has this tag", BD_CAP_CONDITIONS_DELETE, delete_if_match,
      .good = "honoured", .consequence = "A mount token that has become another's stays.",
      .otherwise = "A mount that ends could remove the mount token of one that took the volume by force.",
      .unclaimed = done_without },
};
/* clang-format on */
const struct probe_questions probe_conditions = { questions, ARRAY_LEN(questions) };
