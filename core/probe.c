/* SPDX-License-Identifier: Apache-2.0 */
/* What does a store really do?
 *
 * A row asks one question and judges the answers: rows[] is the list, in the order of asking.  A row names its
 * objects after itself, so that a test can make one row go wrong.  One request at a time, but where the question
 * is what becomes of many at once.  Requests are tried again as a mount would. */
#include "probe.h"

#include "base/clock.h"
#include "base/util.h"
#include "base/waiter.h"
#include "layout.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define NOISE_BYTES 70001u /* no multiple of anything */
#define TRIES 6
#define PAUSE_FIRST_NS (200 * NS_PER_MS)
#define PAUSE_MAX_NS (10 * NS_PER_S)
#define ROUNDS 8 /* of what may go wrong by chance */
#define RACERS 16
#define RACES 3
#define TIMED 9     /* requests, for a median */
#define LIST_PAGE 7 /* entries of a small page */
#define LIST_PAGES_MAX 1000
#define MEDIA_TYPE "application/x-s3backer-block"

typedef char tag_text[BD_TAG_BYTES_MAX + 1];

struct listing_entry {
    char *name;
    char *tag; /* NULL: none */
    uint64_t bytes;
};

struct listing {
    struct listing_entry *entries;
    unsigned count, room, page_count;
    bool no_memory;
};

struct probe {
    struct backend *backend;
    struct probe_config config;
    struct backend_io *io;                     /* of all requests but those of a race */
    char scratch[PROBE_PREFIX_BYTES_MAX + 48]; /* what the names of all objects begin with */
    object_name name, start_after;
    struct listing *listing; /* of the LIST at work, and how much of it is of earlier pages */
    unsigned listed_before;
    char (*made)[32]; /* the rest of the names that may exist */
    unsigned made_count, made_room;
    unsigned char noise[NOISE_BYTES];
    unsigned char data[NOISE_BYTES + 1];
    bool no_memory, is_hopeless, is_tidying, was_unknown;
    unsigned unknown_count;
    struct probe_row *rows;
    unsigned row_count;
    char left_behind[480];
};

/* ---- requests */

static bool
is_stopped(const struct probe *probe)
{
    return !probe->is_tidying && (*probe->config.is_stopped != 0 || probe->no_memory);
}

static bool
is_passing(enum bd_status status)
{
    return status == BD_RETRY || status == BD_BUSY || status == BD_UNKNOWN;
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

static void
full_name(const struct probe *probe, const char *leaf, object_name name)
{
    snprintf(name, sizeof(object_name), "%s%s", probe->scratch, leaf);
}

/* The request, empty, for this object of ours. */
static struct bd_io *
prepare(struct probe *probe, uint32_t op, const char *leaf)
{
    struct bd_io *io = &probe->io->io;

    *io = (struct bd_io){ .size = io->size, .scratch = io->scratch, .op = op };
    full_name(probe, leaf, probe->name);
    io->name = probe->name;
    probe->io->entry = NULL;
    return io;
}

/* Submit and wait, again while that may help.  probe->was_unknown: an attempt may have been carried out. */
static enum bd_status
ask(struct probe *probe)
{
    struct bd_io *io = &probe->io->io;
    uint64_t pause_ns = PAUSE_FIRST_NS;

    probe->was_unknown = false;
    for (unsigned i = 1;; i++) {
        struct timespec pause;

        if (is_stopped(probe)) {
            probe->io->status = BD_FATAL;
            error_set(&probe->io->why, 0, "stopped");
            return BD_FATAL;
        }
        if (io->op == BD_LIST)
            listing_cut(probe->listing,
                        probe->listed_before); /* what an attempt gave that failed half way */
        io->deadline_ns = clock_now_ns() + probe->config.attempt_ns;
        backend_submit_wait(probe->io);
        if (probe->io->status == BD_UNKNOWN) {
            probe->was_unknown = true;
            probe->unknown_count++;
        }
        if (!is_passing(probe->io->status) || i == TRIES)
            return probe->io->status;
        if (pause_ns < io->retry_after_ms * NS_PER_MS)
            pause_ns = io->retry_after_ms * NS_PER_MS;
        if (pause_ns > PAUSE_MAX_NS)
            pause_ns = PAUSE_MAX_NS;
        pause = (struct timespec){ (time_t)(pause_ns / NS_PER_S), (long)(pause_ns % NS_PER_S) };
        nanosleep(&pause, NULL); /* a signal ends it, as it should */
        pause_ns *= 2;
    }
}

/* An object of this name may exist from now on. */
static void
remember(struct probe *probe, const char *leaf)
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

struct put_what {
    struct bd_bytes body;
    const char *encoding, *media_type;
    const struct attrs *attrs;
    const char *if_match, *if_none_match;
};

static enum bd_status
put_what(struct probe *probe, const char *leaf, struct put_what what, tag_text tag)
{
    struct bd_io *io = prepare(probe, BD_PUT, leaf);
    enum bd_status status;

    remember(probe, leaf);
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
    status = ask(probe);
    if (tag != NULL)
        snprintf(tag, sizeof(tag_text), "%s",
                 status == BD_OK && probe->io->tag != NULL ? probe->io->tag : "");
    return status;
}

/* Noise: the n-th body of a question. */
static struct bd_bytes
body(const struct probe *probe, unsigned n)
{
    return (struct bd_bytes){ probe->noise + n * 4096u % (NOISE_BYTES - 4096), 4096 };
}

static enum bd_status
put(struct probe *probe, const char *leaf, struct bd_bytes bytes)
{
    return put_what(probe, leaf, (struct put_what){ .body = bytes }, NULL);
}

static enum bd_status
get_if(struct probe *probe, const char *leaf, const char *if_match, const char *if_none_match)
{
    struct bd_io *io = prepare(probe, BD_GET, leaf);

    io->data = probe->data;
    io->cap = sizeof probe->data;
    io->if_match = if_match;
    io->if_none_match = if_none_match;
    return ask(probe);
}

static enum bd_status
get(struct probe *probe, const char *leaf)
{
    return get_if(probe, leaf, NULL, NULL);
}

static enum bd_status
head(struct probe *probe, const char *leaf)
{
    prepare(probe, BD_HEAD_OBJECT, leaf);
    return ask(probe);
}

static enum bd_status
delete_if(struct probe *probe, const char *leaf, const char *if_match)
{
    prepare(probe, BD_DELETE, leaf)->if_match = if_match;
    return ask(probe);
}

/* Is this what the last GET gave? */
static bool
gave(const struct probe *probe, struct bd_bytes bytes)
{
    const struct bd_io *io = &probe->io->io;

    return io->len == bytes.len && io->object_bytes == bytes.len
           && memcmp(probe->data, bytes.data, bytes.len) == 0;
}

static const char *
reason(const struct probe *probe)
{
    return probe->io->why.text[0] != '\0' ? probe->io->why.text : status_name(probe->io->status);
}

static void
tag_of(const struct probe *probe, tag_text tag)
{
    snprintf(tag, sizeof(tag_text), "%s", probe->io->tag != NULL ? probe->io->tag : "");
}

/* A tag of the right form that no object has. */
static void
other_tag(const tag_text tag, tag_text other)
{
    char *digit;

    memcpy(other, tag, sizeof(tag_text));
    digit = strpbrk(other, "0123456789abcdefABCDEF");
    if (digit == NULL)
        digit = other;
    *digit = *digit == '0' ? '1' : '0';
}

/* ---- listings */

static void
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

/* All names that begin with ours and `leaf`, behind `after` (NULL: all), in pages.  BD_CORRUPT with a reason: the
 * answers make no sense. */
static enum bd_status
list(struct probe *probe, const char *leaf, const char *after, unsigned limit,
     struct listing *listing)
{
    struct bd_io *io = prepare(probe, BD_LIST, leaf);
    struct error *why = &probe->io->why;
    enum bd_status status;

    listing_clear(listing);
    io->limit = limit;
    if (after != NULL) {
        full_name(probe, after, probe->start_after);
        io->start_after = probe->start_after;
    }
    probe->io->entry = listing_add;
    probe->io->entry_arg = probe->listing = listing;
    do {
        unsigned before = probe->listed_before = listing->count;

        if (listing->page_count++ == LIST_PAGES_MAX) {
            error_set(why, 0, "the listing has no end");
            return BD_CORRUPT;
        }
        status = ask(probe);
        if (status != BD_OK)
            return status;
        if (listing->no_memory) {
            probe->no_memory = true;
            return BD_FATAL;
        }
        if (listing->count - before > limit) {
            error_set(why, 0, "a page of %u has %u entries", limit, listing->count - before);
            return BD_CORRUPT;
        }
        if (io->more != 0 && listing->count == before) {
            error_set(why, 0, "an empty page says that there is more");
            return BD_CORRUPT;
        }
        if (listing->count > 0) {
            snprintf(probe->start_after, sizeof probe->start_after, "%s",
                     listing->entries[listing->count - 1].name);
            io->start_after = probe->start_after;
        }
    } while (io->more != 0);
    return BD_OK;
}

static const struct listing_entry *
listing_find(const struct listing *listing, const object_name name)
{
    for (unsigned i = 0; i < listing->count; i++) {
        if (strcmp(listing->entries[i].name, name) == 0)
            return &listing->entries[i];
    }
    return NULL;
}

/* ---- verdicts */

/* NULL: what the table says of a good answer. */
static void __attribute__((format(printf, 4, 5)))
say(struct probe_row *row, enum probe_verdict verdict, const char *consequence, const char *format,
    ...)
{
    va_list args;

    row->verdict = verdict;
    if (consequence != NULL)
        row->consequence = consequence;
    va_start(args, format);
    vsnprintf(row->found, sizeof row->found, format, args);
    va_end(args);
}

/* The last request did not end as it should. */
static void
say_failed(const struct probe *probe, struct probe_row *row, enum probe_verdict verdict,
           const char *consequence, const char *what)
{
    if (probe->io->status == BD_OK)
        say(row, verdict, consequence, "%s is done", what);
    else
        say(row, verdict, consequence, "%s: %s", what, reason(probe));
}

static const char cannot_store[] = "Nothing can be stored here.";
static const char damages[] = "It would damage the disk.";

/* ---- the questions */

static void
round_trip(struct probe *probe, struct probe_row *row)
{
    static const char leaf[] = "round-trip";

    if (put(probe, leaf, body(probe, 1)) != BD_OK) {
        probe->is_hopeless = true;
        say_failed(probe, row, PROBE_BAD, cannot_store, "put");
    } else if (get(probe, leaf) != BD_OK) {
        say_failed(probe, row, PROBE_BAD, cannot_store, "get");
    } else if (!gave(probe, body(probe, 1))) {
        say(row, PROBE_BAD, damages, "what is got is not what was put");
    } else if (head(probe, leaf) != BD_OK) {
        say_failed(probe, row, PROBE_BAD, cannot_store, "head");
    } else if (probe->io->io.object_bytes != 4096) {
        say(row, PROBE_BAD, cannot_store, "head says %" PRIu64 " bytes of 4096",
            probe->io->io.object_bytes);
    } else if (delete_if(probe, leaf, NULL) != BD_OK) {
        say_failed(probe, row, PROBE_BAD,
                   "What is not needed any more stays, and zeros cannot be made.", "delete");
    } else {
        say(row, PROBE_GOOD, NULL, "works");
    }
}

static void
bytes_kept(struct probe *probe, struct probe_row *row)
{
    static const unsigned lengths[] = { 1, 511, 4096, 65536, NOISE_BYTES };

    for (unsigned i = 0; i < ARRAY_LEN(lengths); i++) {
        struct bd_bytes bytes = { probe->noise, lengths[i] };

        if (put(probe, "bytes", bytes) != BD_OK || get(probe, "bytes") != BD_OK) {
            say_failed(probe, row, PROBE_BAD, cannot_store, "put and get");
            return;
        }
        if (!gave(probe, bytes)) {
            say(row, PROBE_BAD, damages, "%u bytes come back as %zu others", lengths[i],
                probe->io->io.len);
            return;
        }
    }
    say(row, PROBE_GOOD, NULL, "yes");
}

static void
empty_object(struct probe *probe, struct probe_row *row)
{
    static const char consequence[] = "No block is ever empty.";
    struct bd_bytes nothing = { "", 0 };

    if (put(probe, "empty", nothing) != BD_OK)
        say_failed(probe, row, PROBE_WEAK, consequence, "put");
    else if (get(probe, "empty") != BD_OK)
        say_failed(probe, row, PROBE_WEAK, consequence, "get");
    else if (!gave(probe, nothing))
        say(row, PROBE_WEAK, consequence, "has %zu bytes", probe->io->io.len);
    else
        say(row, PROBE_GOOD, NULL, "kept");
}

static const char stale_consequence[] =
    "Blocks would be read as they were before; --md5CacheSize and --minWriteDelay help a little.";

static void
new_seen(struct probe *probe, struct probe_row *row)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        char leaf[32];

        snprintf(leaf, sizeof leaf, "created-%u", i);
        if (get(probe, leaf) != BD_ABSENT) {
            say_failed(probe, row, PROBE_BAD, damages, "get of what was never put");
            return;
        }
        if (put(probe, leaf, body(probe, i)) != BD_OK) {
            say_failed(probe, row, PROBE_BAD, cannot_store, "put");
            return;
        }
        if (get(probe, leaf) == BD_ABSENT) {
            say(row, PROBE_BAD, stale_consequence, "no: it is absent after it was put");
            return;
        }
        if (probe->io->status != BD_OK) {
            say_failed(probe, row, PROBE_BAD, damages, "get");
            return;
        }
    }
    say(row, PROBE_GOOD, NULL, "yes");
}

static void
overwrite_seen(struct probe *probe, struct probe_row *row)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (put(probe, "overwrite", body(probe, i)) != BD_OK) {
            say_failed(probe, row, PROBE_BAD, cannot_store, "put");
            return;
        }
        if (get(probe, "overwrite") != BD_OK) {
            say_failed(probe, row, PROBE_BAD, stale_consequence, "get after put");
            return;
        }
        if (!gave(probe, body(probe, i))) {
            say(row, PROBE_BAD, stale_consequence,
                i > 0 && gave(probe, body(probe, i - 1)) ? "no: the version before is read"
                                                         : "no: something else is read");
            return;
        }
    }
    say(row, PROBE_GOOD, NULL, "yes");
}

static void
deleted_absent(struct probe *probe, struct probe_row *row)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (put(probe, "deleted", body(probe, i)) != BD_OK
            || delete_if(probe, "deleted", NULL) != BD_OK) {
            say_failed(probe, row, PROBE_BAD, cannot_store, "put and delete");
            return;
        }
        if (get(probe, "deleted") == BD_OK) {
            say(row, PROBE_BAD, stale_consequence, "no: it is still read");
            return;
        }
        if (probe->io->status != BD_ABSENT || head(probe, "deleted") != BD_ABSENT) {
            say_failed(probe, row, PROBE_BAD,
                       "A block of zeros has no object: each would be an error.",
                       "get or head after delete");
            return;
        }
    }
    say(row, PROBE_GOOD, NULL, "yes");
}

static void
delete_absent(struct probe *probe, struct probe_row *row)
{
    if (delete_if(probe, "never-was", NULL) == BD_OK)
        say(row, PROBE_GOOD, NULL, "done");
    else if (probe->io->status == BD_ABSENT)
        say(row, PROBE_WEAK, "bucketdisk takes it as done; the plugin should say so.", "absent");
    else
        say_failed(probe, row, PROBE_BAD, "Deleting twice, as retries do, would be an error.",
                   "delete");
}

static void
encoding_kept(struct probe *probe, struct probe_row *row)
{
    static const char *const encodings[] = { "deflate,encrypt-AES-128-CBC", "zstd", "gzip" };
    static const char consequence[] =
        "Use no codec: how a block is encoded could not be found again.";

    for (unsigned i = 0; i < ARRAY_LEN(encodings); i++) {
        struct put_what what = { .body = body(probe, i), .encoding = encodings[i] };

        if (put_what(probe, "encoding", what, NULL) != BD_OK) {
            say_failed(probe, row, PROBE_WEAK, consequence, encodings[i]);
            return;
        }
        if (get(probe, "encoding") != BD_OK || !gave(probe, what.body)) {
            say(row, PROBE_WEAK, consequence, "the body is changed where the encoding is %s",
                encodings[i]);
            return;
        }
        if (probe->io->encoding == NULL || strcmp(probe->io->encoding, encodings[i]) != 0) {
            say(row, PROBE_WEAK, consequence, "%s becomes %.100s", encodings[i],
                probe->io->encoding != NULL ? probe->io->encoding : "nothing");
            return;
        }
    }
    say(row, PROBE_GOOD, NULL, "kept as it is");
}

/* As many as the ABI allows: values of 256 bytes, 2 KiB with their names. */
static int
most_attrs(struct attrs *attrs)
{
    char value[BD_ATTR_VALUE_BYTES_MAX];
    size_t left = BD_ATTRS_BYTES_MAX;
    int rc = 0;

    for (unsigned i = 0; i < sizeof value; i++)
        value[i] = (char)('!' + i % ('~' - '!' + 1));
    for (char name[] = "bucketdisk-probe-0"; left > sizeof name && rc == 0; name[17]++) {
        size_t bytes = left - (sizeof name - 1);

        if (bytes > sizeof value)
            bytes = sizeof value;
        rc = attrs_add(attrs, name, value, bytes);
        left -= sizeof name - 1 + bytes;
    }
    return rc;
}

static const char *
attrs_differ(const struct attrs *put, const struct attrs *got)
{
    for (uint32_t i = 0; i < put->count; i++) {
        const struct bd_attr *attr = attrs_find(got, put->list[i].name);

        if (attr == NULL || attr->value_bytes != put->list[i].value_bytes
            || memcmp(attr->value, put->list[i].value, attr->value_bytes) != 0)
            return put->list[i].name;
    }
    return NULL;
}

static void
attrs_kept(struct probe *probe, struct probe_row *row)
{
    static const char bad[] = "The sizes of a volume, and who has it mounted, could not be kept.";
    static const char weak[] = "What a volume needs is kept, but a codec may need more.";
    struct attrs few = { 0 }, most = { 0 };

    if (attrs_add(&few, "s3backer-mount-token", "0badcafe", 8) != 0
        || attrs_add(&few, "bucketdisk-owner", "machine boot 1:2 host", 21) != 0
        || most_attrs(&most) != 0) {
        probe->no_memory = true;
    } else if (put_what(probe, "attributes",
                        (struct put_what){ .body = body(probe, 0), .attrs = &few }, NULL)
                   != BD_OK
               || head(probe, "attributes") != BD_OK) {
        say_failed(probe, row, PROBE_BAD, bad, "put and head");
    } else if (attrs_differ(&few, &probe->io->attrs) != NULL) {
        say(row, PROBE_BAD, bad, "%s is not kept", attrs_differ(&few, &probe->io->attrs));
    } else if (put_what(probe, "attributes",
                        (struct put_what){ .body = body(probe, 0), .attrs = &most }, NULL)
                   != BD_OK
               || get(probe, "attributes") != BD_OK) {
        say_failed(probe, row, PROBE_WEAK, weak, "2 KiB of them");
    } else if (attrs_differ(&most, &probe->io->attrs) != NULL) {
        say(row, PROBE_WEAK, weak, "of 2 KiB, %s is not kept",
            attrs_differ(&most, &probe->io->attrs));
    } else if (attrs_differ(&few, &probe->io->attrs) == NULL) {
        say(row, PROBE_BAD, bad, "those of an object that was overwritten stay");
    } else {
        say(row, PROBE_GOOD, NULL, "kept, up to 2 KiB");
    }
    attrs_clear(&few);
    attrs_clear(&most);
}

static void
media_type(struct probe *probe, struct probe_row *row)
{
    struct put_what what = { .body = body(probe, 0), .media_type = MEDIA_TYPE };

    if (put_what(probe, "media-type", what, NULL) != BD_OK)
        say_failed(probe, row, PROBE_BAD, cannot_store, "put");
    else
        say(row, PROBE_GOOD, NULL, "accepted");
}

static void
ranges(struct probe *probe, struct probe_row *row)
{
    static const struct {
        uint64_t offset;
        size_t cap, bytes;
    } cases[] = { { 0, 100, 100 }, { 1000, 500, 500 }, { 4000, 500, 96 }, { 4095, 1, 1 } };
    const unsigned char *whole = body(probe, 1).data;

    if (put(probe, "range", body(probe, 1)) != BD_OK) {
        say_failed(probe, row, PROBE_BAD, cannot_store, "put");
        return;
    }
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        struct bd_io *io = prepare(probe, BD_GET, "range");

        io->data = probe->data;
        io->cap = cases[i].cap;
        io->offset = cases[i].offset;
        if (ask(probe) != BD_OK) {
            say_failed(probe, row, PROBE_BAD, "The start of a large object cannot be looked at.",
                       "get of a part");
            return;
        }
        if (io->len != cases[i].bytes || io->object_bytes != 4096
            || memcmp(probe->data, whole + cases[i].offset, cases[i].bytes) != 0) {
            say(row, PROBE_BAD, damages,
                "%zu bytes from %" PRIu64 " on are wrong, or the size that comes with them",
                cases[i].cap, cases[i].offset);
            return;
        }
    }
    say(row, PROBE_GOOD, NULL, "gives the part");
}

static void
get_conditions(struct probe *probe, struct probe_row *row)
{
    static const char consequence[] = "What relies on conditions of reads must not be used.";
    tag_text tag, other;

    if (put(probe, "get-if", body(probe, 0)) != BD_OK || head(probe, "get-if") != BD_OK) {
        say_failed(probe, row, PROBE_BAD, cannot_store, "put and head");
        return;
    }
    tag_of(probe, tag);
    other_tag(tag, other);
    if (tag[0] == '\0')
        say(row, PROBE_WEAK, consequence, "objects have no tags");
    else if (get_if(probe, "get-if", NULL, tag) != BD_CONDITION)
        say_failed(probe, row, PROBE_WEAK, consequence, "get unless it has the tag that it has");
    else if (get_if(probe, "get-if", other, NULL) != BD_CONDITION)
        say_failed(probe, row, PROBE_WEAK, consequence, "get if it has another tag");
    else if (get_if(probe, "get-if", NULL, other) != BD_OK)
        say_failed(probe, row, PROBE_WEAK, consequence, "get unless it has another tag");
    else if (get_if(probe, "get-if", tag, NULL) != BD_OK)
        say_failed(probe, row, PROBE_WEAK, consequence, "get if it has the tag that it has");
    else
        say(row, PROBE_GOOD, NULL, "honoured");
}

/* A put whose first attempt may have been done says nothing by being refused, or the reverse. */
static bool
is_unclear(struct probe *probe, struct probe_row *row)
{
    if (probe->was_unknown)
        say(row, PROBE_WEAK, "Ask again when the store answers every request.",
            "an answer was lost: not known");
    return probe->was_unknown;
}

static const char put_consequence[] =
    "Of two machines that mount a volume at the same instant, both may succeed.";

static void
put_if_absent(struct probe *probe, struct probe_row *row)
{
    struct put_what first = { .body = body(probe, 0), .if_none_match = "*" }, second = first;

    second.body = body(probe, 1);
    if (put_what(probe, "put-absent", first, NULL) != BD_OK) {
        if (!is_unclear(probe, row))
            say_failed(probe, row, PROBE_WEAK, put_consequence, "where there is none, put");
    } else if (put_what(probe, "put-absent", second, NULL) != BD_CONDITION) {
        if (probe->io->status == BD_OK)
            say(row, PROBE_WEAK, put_consequence, "ignored: the object is overwritten");
        else
            say_failed(probe, row, PROBE_WEAK, put_consequence, "where there is one, put");
    } else if (get(probe, "put-absent") != BD_OK || !gave(probe, first.body)) {
        say(row, PROBE_BAD, damages, "refused, and the object is overwritten all the same");
    } else {
        say(row, PROBE_GOOD, NULL, "honoured");
    }
}

static void
put_if_match(struct probe *probe, struct probe_row *row)
{
    static const char consequence[] =
        "A lock on the volume cannot be kept alive safely; two machines may take over at once.";
    struct put_what what = { .body = body(probe, 0) };
    tag_text tag, other;

    if (put(probe, "put-match", what.body) != BD_OK || head(probe, "put-match") != BD_OK) {
        say_failed(probe, row, PROBE_BAD, cannot_store, "put and head");
        return;
    }
    tag_of(probe, tag);
    other_tag(tag, other);
    if (tag[0] == '\0') {
        say(row, PROBE_WEAK, consequence, "objects have no tags");
        return;
    }
    what = (struct put_what){ .body = body(probe, 1), .if_match = other };
    if (put_what(probe, "put-match", what, NULL) != BD_CONDITION) {
        if (probe->io->status == BD_OK)
            say(row, PROBE_WEAK, consequence, "ignored: an object with another tag is overwritten");
        else
            say_failed(probe, row, PROBE_WEAK, consequence, "if it has another tag, put");
        return;
    }
    if (get(probe, "put-match") != BD_OK || !gave(probe, body(probe, 0))) {
        say(row, PROBE_BAD, damages, "refused, and the object is overwritten all the same");
        return;
    }
    what.if_match = tag;
    if (put_what(probe, "put-match", what, NULL) != BD_OK) {
        if (!is_unclear(probe, row))
            say_failed(probe, row, PROBE_WEAK, consequence, "if it has the tag that it has, put");
        return;
    }
    if (put_what(probe, "put-match-none", what, NULL) != BD_CONDITION)
        say_failed(probe, row, PROBE_WEAK, consequence, "put where there is no object");
    else
        say(row, PROBE_GOOD, NULL, "honoured");
}

/* ---- many at once */

struct racer {
    struct backend_io *io;
    struct waiter finished;
};

static void
racer_finished(struct backend_io *io, void *arg)
{
    struct racer *racer = arg;

    (void)io;
    waiter_wake(&racer->finished);
}

/* All put at once, each its own noise, on the condition that there is no object.  The number of winners; -1: a
 * request was not answered as one of a race. */
static int
race(struct probe *probe, const char *leaf, struct racer racers[RACERS], unsigned *winner,
     struct probe_row *row)
{
    int winners = 0;

    remember(probe, leaf);
    full_name(probe, leaf, probe->name);
    for (unsigned i = 0; i < RACERS; i++) {
        struct bd_io *io = &racers[i].io->io;

        racers[i].finished = (struct waiter)WAITER_INIT;
        *io = (struct bd_io){ .size = io->size, .scratch = io->scratch, .op = BD_PUT };
        io->name = probe->name;
        io->body = body(probe, i).data;
        io->body_bytes = 4096;
        io->if_none_match = "*";
        io->deadline_ns = clock_now_ns() + probe->config.attempt_ns;
        backend_submit(racers[i].io, racer_finished, &racers[i]);
    }
    for (unsigned i = 0; i < RACERS; i++)
        waiter_wait(&racers[i].finished);
    for (unsigned i = 0; i < RACERS; i++) {
        /* "Not done, try again": others were at it.  By then there is an object. */
        for (unsigned j = 0;
             j < TRIES && (racers[i].io->status == BD_RETRY || racers[i].io->status == BD_BUSY);
             j++) {
            struct timespec pause = { 0, (long)PAUSE_FIRST_NS };

            nanosleep(&pause, NULL);
            racers[i].io->io.deadline_ns = clock_now_ns() + probe->config.attempt_ns;
            backend_submit_wait(racers[i].io);
        }
        if (racers[i].io->status == BD_OK) {
            winners++;
            *winner = i;
        } else if (racers[i].io->status != BD_CONDITION) {
            probe->unknown_count += racers[i].io->status == BD_UNKNOWN;
            say(row, PROBE_WEAK, put_consequence, "one of %d at once: %s", RACERS,
                racers[i].io->why.text[0] != '\0' ? racers[i].io->why.text
                                                  : status_name(racers[i].io->status));
            return -1;
        }
    }
    return winners;
}

static void
put_race(struct probe *probe, struct probe_row *row)
{
    struct racer racers[RACERS] = { { NULL } };
    unsigned winner = 0;

    for (unsigned i = 0; i < RACERS; i++) {
        racers[i].io = backend_io_new(probe->backend);
        if (racers[i].io == NULL) {
            probe->no_memory = true;
            goto free_racers;
        }
    }
    say(row, PROBE_GOOD, NULL, "one wins");
    for (unsigned i = 0; i < RACES && row->verdict == PROBE_GOOD && !is_stopped(probe); i++) {
        char leaf[32];
        int winners;

        snprintf(leaf, sizeof leaf, "put-race-%u", i);
        winners = race(probe, leaf, racers, &winner, row);
        if (winners == -1)
            break;
        if (winners != 1)
            say(row, PROBE_WEAK, put_consequence, "%d of %d win", winners, RACERS);
        else if (get(probe, leaf) != BD_OK || !gave(probe, body(probe, winner)))
            say(row, PROBE_BAD, damages, "one wins, and another's object is there");
    }
free_racers:
    for (unsigned i = 0; i < RACERS; i++)
        backend_io_free(racers[i].io);
}

/* ---- deleting */

static void
delete_if_match(struct probe *probe, struct probe_row *row)
{
    static const char consequence[] =
        "A mount that ends could remove the mount token of one that took the volume by force.";
    tag_text tag, other;

    if (put(probe, "delete-match", body(probe, 0)) != BD_OK
        || head(probe, "delete-match") != BD_OK) {
        say_failed(probe, row, PROBE_BAD, cannot_store, "put and head");
        return;
    }
    tag_of(probe, tag);
    other_tag(tag, other);
    if (tag[0] == '\0')
        say(row, PROBE_WEAK, consequence, "objects have no tags");
    else if (delete_if(probe, "delete-match", other) != BD_CONDITION)
        say_failed(probe, row, PROBE_WEAK, consequence, "delete if it has another tag");
    else if (get(probe, "delete-match") != BD_OK)
        say(row, PROBE_BAD, damages, "refused, and the object is gone all the same");
    else if (delete_if(probe, "delete-match", tag) != BD_OK && !is_unclear(probe, row))
        say_failed(probe, row, PROBE_WEAK, consequence, "delete if it has the tag that it has");
    else if (row->found[0] != '\0')
        return;
    else if (get(probe, "delete-match") != BD_ABSENT)
        say(row, PROBE_BAD, damages, "done, and the object is still there");
    else if (delete_if(probe, "delete-match", tag) != BD_CONDITION)
        say_failed(probe, row, PROBE_WEAK, consequence, "delete where there is no object");
    else
        say(row, PROBE_GOOD, NULL, "honoured");
}

static void
delete_many(struct probe *probe, struct probe_row *row)
{
    enum { COUNT = 6, ABSENT = 3, KEPT = COUNT };
    static const char consequence[] = "What is trimmed would stay, and be read again.";
    object_name names[COUNT];
    const char *pointers[COUNT];
    uint32_t statuses[COUNT];
    char leaf[32];
    struct bd_io *io;

    for (unsigned i = 0; i <= KEPT; i++) {
        snprintf(leaf, sizeof leaf, "delete-many-%u", i);
        if (i < COUNT) {
            full_name(probe, leaf, names[i]);
            pointers[i] = names[i];
        }
        if (i != ABSENT && put(probe, leaf, body(probe, i)) != BD_OK) {
            say_failed(probe, row, PROBE_BAD, cannot_store, "put");
            return;
        }
    }
    io = prepare(probe, BD_DELETE_MANY, "");
    io->name = NULL;
    io->names = pointers;
    io->statuses = statuses;
    io->name_count = COUNT;
    if (ask(probe) != BD_OK) {
        say_failed(probe, row, PROBE_BAD, consequence, "delete of 6");
        return;
    }
    for (unsigned i = 0; i < COUNT; i++) {
        if (statuses[i] != BD_OK && !(statuses[i] == BD_ABSENT && i == ABSENT)) {
            say(row, PROBE_BAD, consequence, "%s one: %s", i == ABSENT ? "an absent" : "a present",
                status_name((enum bd_status)statuses[i]));
            return;
        }
    }
    for (unsigned i = 0; i <= KEPT; i++) {
        snprintf(leaf, sizeof leaf, "delete-many-%u", i);
        if (get(probe, leaf) != (i == KEPT ? BD_OK : BD_ABSENT)) {
            say(row, PROBE_BAD, i == KEPT ? damages : consequence,
                i == KEPT ? "one that was not named is gone" : "one of them is still there");
            return;
        }
    }
    say(row, PROBE_GOOD, NULL, "all gone, absent ones too");
}

/* ---- listing */

static const char listing_consequence[] =
    "Blocks that exist could be taken for zeros, or not be trimmed.";

/* In byte order.  The i-th has i + 1 bytes. */
static const char *const listed[] = {
    "list--",  "list-.", "list-0",  "list-00", "list-01", "list-02", "list-09", "list-0a",
    "list-0f", "list-1", "list-10", "list-19", "list-1a", "list-1f", "list-A",  "list-Z",
    "list-_",  "list-a", "list-a-", "list-a0", "list-aa", "list-f",  "list-ff", "list-~",
};

static bool
listing_is_right(struct probe *probe, struct probe_row *row, const char *what, const char *after,
                 unsigned limit, unsigned from)
{
    struct listing listing = { 0 };
    bool is_right = false;

    if (list(probe, "list-", after, limit, &listing) != BD_OK) {
        say(row, PROBE_BAD, listing_consequence, "%s: %s", what, reason(probe));
        goto clear;
    }
    for (unsigned i = 0; i < listing.count || from + i < ARRAY_LEN(listed); i++) {
        object_name name = "";

        if (from + i < ARRAY_LEN(listed))
            full_name(probe, listed[from + i], name);
        if (i >= listing.count || strcmp(listing.entries[i].name, name) != 0) {
            const char *got = i < listing.count ? listing.entries[i].name : "nothing";

            say(row, PROBE_BAD, listing_consequence, "%s: %.60s where %s should come", what,
                strncmp(got, probe->scratch, strlen(probe->scratch)) == 0
                    ? got + strlen(probe->scratch)
                    : got,
                name[0] != '\0' ? listed[from + i] : "nothing");
            goto clear;
        }
        if (listing.entries[i].bytes != from + i + 1) {
            say(row, PROBE_BAD, listing_consequence, "%s: the size of %s is wrong", what,
                listed[from + i]);
            goto clear;
        }
    }
    is_right = true;
clear:
    listing_clear(&listing);
    return is_right;
}

static void
list_complete(struct probe *probe, struct probe_row *row)
{
    unsigned limit = backend_info(probe->backend)->list_max;

    for (unsigned i = ARRAY_LEN(listed); i-- > 0;) { /* in an order of its own */
        struct bd_bytes bytes = { probe->noise, i + 1 };

        if (put(probe, listed[i], bytes) != BD_OK) {
            say_failed(probe, row, PROBE_BAD, cannot_store, "put");
            return;
        }
    }
    if (listing_is_right(probe, row, "all", NULL, limit, 0)
        && listing_is_right(probe, row, "in pages", NULL, LIST_PAGE, 0)
        && listing_is_right(probe, row, "behind a name", "list-10", LIST_PAGE, 11)
        && listing_is_right(probe, row, "behind a name that is not there", "list-0b", limit, 8))
        say(row, PROBE_GOOD, NULL, "complete, in byte order, page by page");
}

static void
list_fresh(struct probe *probe, struct probe_row *row)
{
    static const char leaf[] = "listed-at-once";
    unsigned limit = backend_info(probe->backend)->list_max;
    struct listing listing = { 0 };

    for (unsigned i = 0; i < 2 * ROUNDS; i++) {
        bool is_put = i % 2 == 0;

        if ((is_put ? put(probe, leaf, body(probe, i)) : delete_if(probe, leaf, NULL)) != BD_OK
            || list(probe, leaf, NULL, limit, &listing) != BD_OK) {
            say_failed(probe, row, PROBE_BAD, listing_consequence, "put, delete, list");
            break;
        }
        if (listing.count != is_put) {
            say(row, PROBE_BAD, listing_consequence,
                is_put ? "no: one just put is not listed" : "no: one just deleted is listed");
            break;
        }
        say(row, PROBE_GOOD, NULL, "yes");
    }
    listing_clear(&listing);
}

/* ---- tags, times */

static void
tags(struct probe *probe, struct probe_row *row)
{
    static const char consequence[] =
        "--md5CacheSize must not be used, and conditions of writes protect less.";
    unsigned limit = backend_info(probe->backend)->list_max;
    struct listing listing = { 0 };
    const struct listing_entry *entry;
    tag_text first, put_tag, tag;
    object_name name;

    full_name(probe, "tags", name);
    if (put_what(probe, "tags", (struct put_what){ .body = body(probe, 0) }, first) != BD_OK
        || put_what(probe, "tags", (struct put_what){ .body = body(probe, 1) }, put_tag) != BD_OK
        || head(probe, "tags") != BD_OK) {
        say_failed(probe, row, PROBE_BAD, cannot_store, "put and head");
        return;
    }
    tag_of(probe, tag);
    if (tag[0] == '\0') {
        say(row, PROBE_WEAK, consequence, "there are none");
    } else if (put_tag[0] == '\0') {
        say(row, PROBE_WEAK, consequence, "put does not tell the tag");
    } else if (strcmp(first, put_tag) == 0) {
        say(row, PROBE_WEAK, consequence, "the tag stays when the object changes");
    } else if (strcmp(put_tag, tag) != 0) {
        say(row, PROBE_WEAK, consequence, "put and head tell different ones");
    } else if (get(probe, "tags") != BD_OK) {
        say_failed(probe, row, PROBE_BAD, cannot_store, "get");
    } else if (probe->io->tag == NULL || strcmp(probe->io->tag, put_tag) != 0) {
        say(row, PROBE_WEAK, consequence, "put and get tell different ones");
    } else if (list(probe, "tags", NULL, limit, &listing) != BD_OK) {
        say_failed(probe, row, PROBE_BAD, listing_consequence, "list");
    } else {
        entry = listing_find(&listing, name);
        if (entry != NULL && entry->tag != NULL && strcmp(entry->tag, put_tag) != 0)
            say(row, PROBE_WEAK, consequence, "put and list tell different ones");
        else
            say(row, PROBE_GOOD, NULL, "change with the object, the same in put, head, get%s",
                entry != NULL && entry->tag != NULL ? " and list" : "; list tells none");
    }
    listing_clear(&listing);
}

static int
by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void
times(struct probe *probe, struct probe_row *row)
{
    uint64_t put_ns[TIMED], get_ns[TIMED];

    for (unsigned i = 0; i < TIMED; i++) {
        uint64_t start = clock_now_ns(), between;

        if (put(probe, "times", body(probe, i)) != BD_OK) {
            say_failed(probe, row, PROBE_BAD, cannot_store, "put");
            return;
        }
        between = clock_now_ns();
        if (get(probe, "times") != BD_OK) {
            say_failed(probe, row, PROBE_BAD, cannot_store, "get");
            return;
        }
        put_ns[i] = between - start;
        get_ns[i] = clock_now_ns() - between;
    }
    qsort(put_ns, TIMED, sizeof put_ns[0], by_number);
    qsort(get_ns, TIMED, sizeof get_ns[0], by_number);
    say(row, PROBE_GOOD, NULL, "put %.1f ms, get %.1f ms", (double)put_ns[TIMED / 2] / 1e6,
        (double)get_ns[TIMED / 2] / 1e6);
}

/* ---- all of it */

/* clang-format off */
static const struct {
    const char *id, *what;
    uint64_t capability;
    bool only_if_claimed;
    void (*ask)(struct probe *probe, struct probe_row *row);
    const char *consequence; /* of a good answer, or of what is not claimed */
} questions[] = {
    { "round-trip", "put, get, head, delete", 0, false, round_trip,
      "Objects can be stored." },
    { "bytes", "bytes are kept exactly", 0, false, bytes_kept,
      "Blocks come back as written." },
    { "empty", "an empty object", 0, false, empty_object,
      "Nothing depends on it." },
    { "created", "a new object is seen at once", BD_CAP_CONSISTENT, false, new_seen,
      "A block written first is read as written." },
    { "overwrite", "an overwrite is seen at once", BD_CAP_CONSISTENT, false, overwrite_seen,
      "A block written again is read as written." },
    { "deleted", "a deleted object is absent at once", BD_CAP_CONSISTENT, false, deleted_absent,
      "Zeroed and trimmed blocks read as zeros." },
    { "delete-absent", "deleting what is absent", 0, false, delete_absent,
      "A deletion can be repeated." },
    { "encoding", "Content-Encoding", BD_CAP_ATTRS, false, encoding_kept,
      "Blocks can be compressed and encrypted." },
    { "attributes", "attributes", BD_CAP_ATTRS, false, attrs_kept,
      "A volume's sizes and its mount token can be kept." },
    { "media-type", "a media type", 0, false, media_type,
      "Blocks can be labelled." },
    { "range", "a part of an object", BD_CAP_RANGES, false, ranges,
      "Less than a whole object can be fetched." },
    { "get-if", "get on a condition", BD_CAP_CONDITIONS_GET, true, get_conditions,
      "What is known already need not be fetched." },
    { "put-absent", "put if there is none", BD_CAP_CONDITIONS_PUT, true, put_if_absent,
      "Of two machines that mount a volume at once, one succeeds." },
    { "put-match", "put if it has this tag", BD_CAP_CONDITIONS_PUT, true, put_if_match,
      "A lock on the volume can be kept alive and taken over." },
    { "put-race", "16 create an object at once", BD_CAP_CONDITIONS_PUT, true, put_race,
      "Conditions hold under contention." },
    { "delete-match", "delete if it has this tag", BD_CAP_CONDITIONS_DELETE, true, delete_if_match,
      "A mount token that has become another's stays." },
    { "delete-many", "many deleted at once", BD_CAP_DELETE_MANY, true, delete_many,
      "Trimming takes few requests." },
    { "list", "a listing", 0, false, list_complete,
      "What exists can be found." },
    { "list-fresh", "a listing right after put, delete", BD_CAP_CONSISTENT, false, list_fresh,
      "What is listed is what there is." },
    { "tags", "tags", 0, false, tags,
      "A version of an object can be told from another." },
    { "times", "time for 4 KiB", 0, false, times,
      "Median of 9, one after the other." },
};
/* clang-format on */

static const char *
not_claimed_consequence(uint64_t capability)
{
    return capability == BD_CAP_CONDITIONS_PUT ? put_consequence
           : capability == BD_CAP_DELETE_MANY  ? "Objects are deleted one by one."
                                               : "bucketdisk does without.";
}

/* Delete all that we may have made; say what may be left. */
static void
tidy_up(struct probe *probe)
{
    unsigned limit = backend_info(probe->backend)->list_max, failed = 0;
    struct listing listing = { 0 };
    struct error why = { "" };

    probe->is_tidying = true;
    for (unsigned i = 0; i < probe->made_count && failed < 3; i++) {
        enum bd_status status = delete_if(probe, probe->made[i], NULL);

        if (status != BD_OK && status != BD_ABSENT) {
            failed++;
            error_set(&why, 0, "%s", reason(probe));
        }
    }
    if (list(probe, "", NULL, limit, &listing) == BD_OK && listing.count > 0)
        snprintf(probe->left_behind, sizeof probe->left_behind,
                 "%u objects whose names begin with %.200s are still there%s%.200s", listing.count,
                 probe->scratch, why.text[0] != '\0' ? ": " : "", why.text);
    else if (failed > 0)
        snprintf(probe->left_behind, sizeof probe->left_behind,
                 "objects whose names begin with %.200s could not be removed: %.200s",
                 probe->scratch, why.text);
    else if (probe->unknown_count > 0)
        snprintf(
            probe->left_behind, sizeof probe->left_behind,
            "answers were lost, and what the store does late may still appear: names that begin "
            "with %.200s",
            probe->scratch);
    listing_clear(&listing);
}

int
probe_run(struct backend *backend, const struct probe_config *config, struct probe **out,
          struct error *why)
{
    const struct bd_backend_info *info = backend_info(backend);
    struct probe *probe = calloc(1, sizeof *probe);
    uint64_t random[2] = { clock_now_ns(), 0 };

    *out = NULL;
    if (probe == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    probe->backend = backend;
    probe->config = *config;
    probe->rows = calloc(ARRAY_LEN(questions), sizeof probe->rows[0]);
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
    for (unsigned i = 0; i < NOISE_BYTES; i++) {
        random[1] = random[1] * 6364136223846793005u + 1442695040888963407u;
        probe->noise[i] = (unsigned char)(random[1] >> 56);
    }
    for (unsigned i = 0; i < ARRAY_LEN(questions) && !is_stopped(probe); i++) {
        struct probe_row *row = &probe->rows[probe->row_count];

        *row = (struct probe_row){ .id = questions[i].id,
                                   .what = questions[i].what,
                                   .capability = questions[i].capability,
                                   .consequence = questions[i].consequence };
        if (probe->is_hopeless)
            say(row, PROBE_NOT_ASKED, "", "not asked");
        else if (questions[i].only_if_claimed && !(info->capabilities & row->capability))
            say(row, PROBE_NOT_ASKED, not_claimed_consequence(row->capability), "not asked");
        else
            questions[i].ask(probe, row);
        if (!is_stopped(probe)) /* else the answer may be a wrong one */
            probe->row_count++;
    }
    tidy_up(probe);
    if (probe->no_memory)
        return error_set(why, -ENOMEM, "out of memory");
    if (*config->is_stopped != 0)
        return error_set(why, -EINTR, "stopped");
    return 0;
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
