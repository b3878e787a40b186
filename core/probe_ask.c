/* SPDX-License-Identifier: Apache-2.0 */
/* How the questions of a probe ask. */
#include "probe_ask.h"

#include "ask.h"
#include "base/clock.h"
#include "base/human.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIES 6
#define FIRST_TRIES 4
#define FIRST_NS (5 * NS_PER_S)
#define LIST_PAGES_MAX 1000

/* ---- requests */

bool
probe_is_stopped(const struct probe *probe)
{
    return !probe->is_tidying && (*probe->config.is_stopped != 0 || probe->no_memory);
}

static void
listing_cut(struct listing *listing, unsigned count)
{
    while (listing->count > count) {
        listing->count--;
        free(listing->entries[listing->count].name);
        free(listing->entries[listing->count].tag);
    }
}

void
probe_name(const struct probe *probe, const char *leaf, object_name name)
{
    snprintf(name, sizeof(object_name), "%s%s", probe->scratch, leaf);
}

struct bd_io *
probe_prepare(struct probe *probe, uint32_t op, const char *leaf)
{
    struct bd_io *io = &probe->io->io;

    *io = (struct bd_io){ .size = io->size, .scratch = io->scratch, .op = op };
    probe_name(probe, leaf, probe->name);
    io->name = probe->name;
    probe->io->entry = NULL;
    return io;
}

/* Until something is done there may be no store at all: nobody shall wait long to hear that. */
static bool
is_enough(const struct probe *probe, unsigned tries, uint64_t begun_ns)
{
    if (probe->has_answered)
        return tries == TRIES;
    return tries == FIRST_TRIES || clock_now_ns() >= begun_ns + FIRST_NS;
}

static uint64_t
attempt_ns(const struct probe *probe)
{
    bool is_first = !probe->has_answered && probe->config.attempt_ns > FIRST_NS;

    return is_first ? FIRST_NS : probe->config.attempt_ns;
}

enum bd_status
probe_ask(struct probe *probe)
{
    struct bd_io *io = &probe->io->io;
    uint64_t begun_ns = clock_now_ns(), pause_ns = ASK_PAUSE_FIRST_NS;

    probe->was_unknown = false;
    for (unsigned i = 1;; i++) {
        if (probe_is_stopped(probe)) {
            probe->io->status = BD_FATAL;
            error_set(&probe->io->why, 0, "stopped");
            return BD_FATAL;
        }
        if (io->op == BD_LIST) /* what an attempt gave that failed half way */
            listing_cut(probe->listing, probe->listed_before);
        io->deadline_ns = clock_now_ns() + attempt_ns(probe);
        backend_submit_wait(probe->io);
        if (probe->io->status == BD_UNKNOWN) {
            probe->was_unknown = true;
            probe->unknown_count++;
        }
        probe->has_answered = probe->has_answered || probe->io->status == BD_OK;
        if (!status_is_passing(probe->io->status) || is_enough(probe, i, begun_ns))
            return probe->io->status;
        ask_pause(probe->io, &pause_ns);
    }
}

void
probe_remember(struct probe *probe, const char *leaf)
{
    assert(strlen(leaf) < sizeof probe->made[0]);
    for (unsigned i = 0; i < probe->made_count; i++) {
        if (strcmp(probe->made[i], leaf) == 0)
            return;
    }
    if (probe->made_count == probe->made_room) {
        unsigned room = probe->made_room == 0 ? 64 : 2 * probe->made_room;
        void *made = realloc(probe->made, room * sizeof probe->made[0]);

        if (made == NULL) {
            probe->no_memory = true;
            return;
        }
        probe->made = made;
        probe->made_room = room;
    }
    strcpy(probe->made[probe->made_count++], leaf);
}

struct bd_bytes
probe_body(const struct probe *probe, unsigned n)
{
    return (struct bd_bytes){ probe->noise + n * BODY_BYTES % (NOISE_BYTES - BODY_BYTES),
                              BODY_BYTES };
}

enum bd_status
probe_put_what(struct probe *probe, const char *leaf, struct put_what what)
{
    struct bd_io *io = probe_prepare(probe, BD_PUT, leaf);

    probe_remember(probe, leaf);
    io->body = what.body.data;
    io->body_bytes = what.body.len;
    io->encoding = what.encoding;
    io->media_type = what.media_type;
    io->if_match = what.if_match;
    io->if_none_match = what.if_none_match;
    if (what.attrs != NULL) {
        io->attrs = what.attrs->list;
        io->attr_count = what.attrs->count;
        io->attr_stride = sizeof *what.attrs->list;
    }
    return probe_ask(probe);
}

enum bd_status
probe_put(struct probe *probe, const char *leaf, unsigned body)
{
    return probe_put_what(probe, leaf, (struct put_what){ .body = probe_body(probe, body) });
}

enum bd_status
probe_get(struct probe *probe, const char *leaf)
{
    struct bd_io *io = probe_prepare(probe, BD_GET, leaf);

    io->data = probe->data;
    io->cap = sizeof probe->data;
    return probe_ask(probe);
}

enum bd_status
probe_head(struct probe *probe, const char *leaf)
{
    probe_prepare(probe, BD_HEAD_OBJECT, leaf);
    return probe_ask(probe);
}

enum bd_status
probe_delete(struct probe *probe, const char *leaf, const char *if_match)
{
    probe_prepare(probe, BD_DELETE, leaf)->if_match = if_match;
    return probe_ask(probe);
}

bool
probe_gave(const struct probe *probe, struct bd_bytes bytes)
{
    const struct bd_io *io = &probe->io->io;

    return io->len == bytes.len && io->object_bytes == bytes.len
           && memcmp(probe->data, bytes.data, bytes.len) == 0;
}

void
probe_tag(const struct probe *probe, tag_text tag)
{
    snprintf(tag, sizeof(tag_text), "%s", probe->io->tag != NULL ? probe->io->tag : "");
}

/* ---- listings */

void
listing_clear(struct listing *listing)
{
    listing_cut(listing, 0);
    free(listing->entries);
    memset(listing, 0, sizeof *listing);
}

static bool
listing_add(void *arg, const char *name, uint64_t object_bytes, const char *tag)
{
    struct listing *listing = arg;
    struct listing_entry *entry;

    if (listing->count == listing->room) {
        unsigned room = listing->room == 0 ? 64 : 2 * listing->room;
        void *entries = realloc(listing->entries, room * sizeof listing->entries[0]);

        if (entries == NULL) {
            listing->no_memory = true;
            return false;
        }
        listing->entries = entries;
        listing->room = room;
    }
    entry = &listing->entries[listing->count];
    *entry = (struct listing_entry){ strdup(name), tag != NULL ? strdup(tag) : NULL, object_bytes };
    listing->no_memory =
        listing->no_memory || entry->name == NULL || (tag != NULL && entry->tag == NULL);
    listing->count++;
    return !listing->no_memory;
}

/* An answer that makes no sense, in a sentence of ours. */
static enum bd_status nonsense(struct probe *probe, const char *format, ...) BD_PRINTF(2, 3);

static enum bd_status
nonsense(struct probe *probe, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(probe->io->why.text, sizeof probe->io->why.text, format, args);
    va_end(args);
    return probe->io->status = BD_CORRUPT;
}

enum bd_status
probe_list(struct probe *probe, const char *leaf, const char *after, unsigned limit,
           struct listing *listing)
{
    struct bd_io *io = probe_prepare(probe, BD_LIST, leaf);
    enum bd_status status;

    listing_clear(listing);
    io->limit = limit != 0 ? limit : backend_info(probe->backend)->list_max;
    if (after != NULL) {
        probe_name(probe, after, probe->start_after);
        io->start_after = probe->start_after;
    }
    probe->io->entry = listing_add;
    probe->io->entry_arg = probe->listing = listing;
    do {
        unsigned before = probe->listed_before = listing->count;

        if (listing->page_count++ == LIST_PAGES_MAX)
            return nonsense(probe, "the listing has no end");
        status = probe_ask(probe);
        if (status != BD_OK)
            return status;
        if (listing->no_memory) {
            probe->no_memory = true;
            return BD_FATAL;
        }
        if (listing->count - before > io->limit)
            return nonsense(probe, "a page of %u has %u entries", io->limit,
                            listing->count - before);
        if (io->more != 0 && listing->count == before)
            return nonsense(probe, "an empty page says that there is more");
        if (listing->count > 0) {
            snprintf(probe->start_after, sizeof probe->start_after, "%s",
                     listing->entries[listing->count - 1].name);
            io->start_after = probe->start_after;
        }
    } while (io->more != 0);
    return BD_OK;
}

const struct listing_entry *
listing_find(const struct listing *listing, const object_name name)
{
    for (unsigned i = 0; i < listing->count; i++) {
        if (strcmp(listing->entries[i].name, name) == 0)
            return &listing->entries[i];
    }
    return NULL;
}

/* ---- what is said of the answers */

const char probe_cannot_store[] = "Nothing can be stored here.";
const char probe_damages[] = "It would damage the disk.";

static void say(struct probe *probe, enum probe_verdict verdict, const char *consequence,
                const char *format, va_list args) BD_PRINTF(4, 0);

static void
say(struct probe *probe, enum probe_verdict verdict, const char *consequence, const char *format,
    va_list args)
{
    probe->row->verdict = verdict;
    probe->row->consequence = consequence;
    vsnprintf(probe->row->found, sizeof probe->row->found, format, args);
}

void
probe_say(struct probe *probe, enum probe_verdict verdict, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(probe, verdict,
        verdict == PROBE_GOOD ? probe->question->consequence : probe->question->otherwise, format,
        args);
    va_end(args);
}

void
probe_say_that(struct probe *probe, enum probe_verdict verdict, const char *consequence,
               const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(probe, verdict, consequence, format, args);
    va_end(args);
}

void
probe_failed_that(struct probe *probe, enum probe_verdict verdict, const char *consequence,
                  const char *what)
{
    if (probe->io->status == BD_OK)
        probe_say_that(probe, verdict, consequence, "%s is done", what);
    else
        probe_say_that(probe, verdict, consequence, "%s: %s", what, backend_io_reason(probe->io));
}

void
probe_failed(struct probe *probe, enum probe_verdict verdict, const char *what)
{
    probe_failed_that(probe, verdict, probe->question->otherwise, what);
}

bool
probe_must_put(struct probe *probe, const char *leaf, unsigned body)
{
    if (probe_put(probe, leaf, body) == BD_OK)
        return true;
    probe_failed_that(probe, PROBE_BAD, probe_cannot_store, "put");
    return false;
}

bool
probe_must_put_tagged(struct probe *probe, const char *leaf, tag_text tag, tag_text other)
{
    if (!probe_must_put(probe, leaf, 0))
        return false;
    if (probe_head(probe, leaf) != BD_OK) {
        probe_failed_that(probe, PROBE_BAD, probe_cannot_store, "head");
        return false;
    }
    probe_tag(probe, tag);
    if (tag[0] == '\0') {
        probe_say(probe, PROBE_WEAK, "objects have no tags");
        return false;
    }
    ask_other_tag(tag, other);
    return true;
}

/* ---- the end */

void
probe_tidy_up(struct probe *probe)
{
    struct listing listing = { 0 };
    struct error why = { "" };
    unsigned failed = 0;

    probe->is_tidying = true;
    for (unsigned i = 0; probe->has_answered && i < probe->made_count && failed < 3; i++) {
        enum bd_status status = probe_delete(probe, probe->made[i], NULL);

        if (status != BD_OK && status != BD_ABSENT) {
            failed++;
            error_set(&why, 0, "%s", backend_io_reason(probe->io));
        }
    }
    if (probe->has_answered && probe_list(probe, "", NULL, 0, &listing) == BD_OK
        && listing.count > 0)
        snprintf(probe->left_behind, sizeof probe->left_behind,
                 "%u %s with %.200s %s still there%s%.200s", listing.count,
                 human_form(listing.count, "object whose name begins", "objects whose names begin"),
                 probe->scratch, human_form(listing.count, "is", "are"),
                 why.text[0] != '\0' ? ": " : "", why.text);
    else if (failed > 0)
        snprintf(probe->left_behind, sizeof probe->left_behind,
                 "objects whose names begin with %.200s could not be removed: %.200s",
                 probe->scratch, why.text);
    else if (probe->unknown_count > 0)
        snprintf(probe->left_behind, sizeof probe->left_behind,
                 "answers were lost, and what the store does late may still appear: names that "
                 "begin with %.200s",
                 probe->scratch);
    listing_clear(&listing);
}
