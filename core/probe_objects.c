/* SPDX-License-Identifier: Apache-2.0 */
/* Questions: is what is read what was written last? */
#include "probe_ask.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char stale[] =
    "Blocks would be read as they were before; --md5CacheSize and --minWriteDelay help a little.";

static void
round_trip(struct probe *probe)
{
    static const char leaf[] = "round-trip";

    if (!probe_must_put(probe, leaf, 1))
        return;
    if (probe_get(probe, leaf) != BD_OK)
        probe_failed(probe, PROBE_BAD, "get");
    else if (!probe_gave(probe, probe_body(probe, 1)))
        probe_say_that(probe, PROBE_BAD, probe_damages, "what is got is not what was put");
    else if (probe_head(probe, leaf) != BD_OK)
        probe_failed(probe, PROBE_BAD, "head");
    else if (probe->io->io.object_bytes != BODY_BYTES)
        probe_say(probe, PROBE_BAD, "head says %" PRIu64 " bytes of %u", probe->io->io.object_bytes,
                  BODY_BYTES);
    else if (probe_delete(probe, leaf, NULL) != BD_OK)
        probe_failed_that(probe, PROBE_BAD,
                          "What is not needed any more stays, and zeros cannot be made.", "delete");
}

static void
bytes_kept(struct probe *probe)
{
    static const unsigned lengths[] = { 1, 511, 4096, 65536, NOISE_BYTES };

    for (unsigned i = 0; i < ARRAY_LEN(lengths); i++) {
        struct put_what what = { .body = { probe->noise, lengths[i] } };

        if (probe_put_what(probe, "bytes", what) != BD_OK || probe_get(probe, "bytes") != BD_OK) {
            probe_failed_that(probe, PROBE_BAD, probe_cannot_store, "put and get");
            return;
        }
        if (!probe_gave(probe, what.body)) {
            probe_say(probe, PROBE_BAD, "%u bytes come back as %zu others", lengths[i],
                      probe->io->io.len);
            return;
        }
    }
}

static void
empty_object(struct probe *probe)
{
    struct put_what nothing = { .body = { "", 0 } };

    if (probe_put_what(probe, "empty", nothing) != BD_OK)
        probe_failed(probe, PROBE_WEAK, "put");
    else if (probe_get(probe, "empty") != BD_OK)
        probe_failed(probe, PROBE_WEAK, "get");
    else if (!probe_gave(probe, nothing.body))
        probe_say(probe, PROBE_WEAK, "has %zu bytes", probe->io->io.len);
}

static void
new_seen(struct probe *probe)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        char leaf[32];

        snprintf(leaf, sizeof leaf, "created-%u", i);
        if (probe_get(probe, leaf) != BD_ABSENT) {
            probe_failed_that(probe, PROBE_BAD, probe_damages, "get of what was never put");
            return;
        }
        if (!probe_must_put(probe, leaf, i))
            return;
        if (probe_get(probe, leaf) == BD_ABSENT) {
            probe_say(probe, PROBE_BAD, "no: it is absent after it was put");
            return;
        }
        if (probe->io->status != BD_OK) {
            probe_failed_that(probe, PROBE_BAD, probe_damages, "get");
            return;
        }
    }
}

static void
overwrite_seen(struct probe *probe)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (!probe_must_put(probe, "overwrite", i))
            return;
        if (probe_get(probe, "overwrite") != BD_OK) {
            probe_failed(probe, PROBE_BAD, "get after put");
            return;
        }
        if (!probe_gave(probe, probe_body(probe, i))) {
            probe_say(probe, PROBE_BAD,
                      i > 0 && probe_gave(probe, probe_body(probe, i - 1))
                          ? "no: the version before is read"
                          : "no: something else is read");
            return;
        }
    }
}

static void
deleted_absent(struct probe *probe)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (!probe_must_put(probe, "deleted", i))
            return;
        if (probe_delete(probe, "deleted", NULL) != BD_OK) {
            probe_failed_that(probe, PROBE_BAD, probe_cannot_store, "delete");
            return;
        }
        if (probe_get(probe, "deleted") == BD_OK) {
            probe_say(probe, PROBE_BAD, "no: it is still read");
            return;
        }
        if (probe->io->status != BD_ABSENT || probe_head(probe, "deleted") != BD_ABSENT) {
            probe_failed_that(probe, PROBE_BAD,
                              "A block of zeros has no object: each would be an error.",
                              "get or head after delete");
            return;
        }
    }
}

static void
delete_absent(struct probe *probe)
{
    if (probe_delete(probe, "never-was", NULL) == BD_ABSENT)
        probe_say_that(probe, PROBE_WEAK, "bucketdisk takes it as done; the plugin should say so.",
                       "absent");
    else if (probe->io->status != BD_OK)
        probe_failed(probe, PROBE_BAD, "delete");
}

static void
delete_many(struct probe *probe)
{
    enum { COUNT = 6, ABSENT = 3, KEPT = COUNT };
    object_name names[COUNT];
    const char *pointers[COUNT];
    uint32_t statuses[COUNT];
    char leaf[32];
    struct bd_io *io;

    for (unsigned i = 0; i <= KEPT; i++) {
        snprintf(leaf, sizeof leaf, "delete-many-%u", i);
        if (i < COUNT) {
            probe_name(probe, leaf, names[i]);
            pointers[i] = names[i];
        }
        if (i != ABSENT && !probe_must_put(probe, leaf, i))
            return;
    }
    io = probe_prepare(probe, BD_DELETE_MANY, "");
    io->name = NULL;
    io->names = pointers;
    io->statuses = statuses;
    io->name_count = COUNT;
    if (probe_ask(probe) != BD_OK) {
        probe_failed(probe, PROBE_BAD, "delete of 6");
        return;
    }
    for (unsigned i = 0; i < COUNT; i++) {
        if (statuses[i] != BD_OK && !(statuses[i] == BD_ABSENT && i == ABSENT)) {
            probe_say(probe, PROBE_BAD, "%s one: %s", i == ABSENT ? "an absent" : "a present",
                      status_name((enum bd_status)statuses[i]));
            return;
        }
    }
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(leaf, sizeof leaf, "delete-many-%u", i);
        if (probe_get(probe, leaf) != BD_ABSENT) {
            probe_say(probe, PROBE_BAD, "one of them is still there");
            return;
        }
    }
    snprintf(leaf, sizeof leaf, "delete-many-%u", KEPT);
    if (probe_get(probe, leaf) != BD_OK)
        probe_say_that(probe, PROBE_BAD, probe_damages, "one that was not named is gone");
}

static void
ranges(struct probe *probe)
{
    static const struct {
        uint64_t offset;
        size_t cap, bytes;
    } cases[] = { { 0, 100, 100 }, { 1000, 500, 500 }, { 4000, 500, 96 }, { 4095, 1, 1 } };
    const unsigned char *whole = probe_body(probe, 1).data;

    if (!probe_must_put(probe, "range", 1))
        return;
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        struct bd_io *io = probe_prepare(probe, BD_GET, "range");

        io->data = probe->data;
        io->cap = cases[i].cap;
        io->offset = cases[i].offset;
        if (probe_ask(probe) != BD_OK) {
            probe_failed(probe, PROBE_BAD, "get of a part");
            return;
        }
        if (io->len != cases[i].bytes || io->object_bytes != BODY_BYTES
            || memcmp(probe->data, whole + cases[i].offset, cases[i].bytes) != 0) {
            probe_say_that(probe, PROBE_BAD, probe_damages,
                           "%zu bytes from %" PRIu64
                           " on are wrong, or the size that comes with them",
                           cases[i].cap, cases[i].offset);
            return;
        }
    }
}

/* clang-format off */
static const struct probe_question questions[] = {
    { "round-trip", "put, get, head, delete", 0, round_trip,
      .good = "works", .consequence = "Objects can be stored.",
      .otherwise = probe_cannot_store },
    { "bytes", "bytes are kept exactly", 0, bytes_kept,
      .good = "yes", .consequence = "Blocks come back as written.",
      .otherwise = probe_damages },
    { "empty", "an empty object", 0, empty_object,
      .good = "kept", .consequence = "Nothing depends on it.",
      .otherwise = "No block is ever empty." },
    { "created", "a new object is seen at once", BD_CAP_CONSISTENT, new_seen,
      .good = "yes", .consequence = "A block written first is read as written.",
      .otherwise = stale },
    { "overwrite", "an overwrite is seen at once", BD_CAP_CONSISTENT, overwrite_seen,
      .good = "yes", .consequence = "A block written again is read as written.",
      .otherwise = stale },
    { "deleted", "a deleted object is absent at once", BD_CAP_CONSISTENT, deleted_absent,
      .good = "yes", .consequence = "Zeroed and trimmed blocks read as zeros.",
      .otherwise = stale },
    { "delete-absent", "deleting what is absent", 0, delete_absent,
      .good = "done", .consequence = "A deletion can be repeated.",
      .otherwise = "Deleting twice, as retries do, would be an error." },
    { "delete-many", "many deleted at once", BD_CAP_DELETE_MANY, delete_many,
      .good = "all gone, absent ones too", .consequence = "Trimming takes few requests.",
      .otherwise = "What is trimmed would stay, and be read again.",
      .unclaimed = "Objects are deleted one by one." },
    { "range", "a part of an object", BD_CAP_RANGES, ranges,
      .good = "gives the part", .consequence = "Less than a whole object can be fetched.",
      .otherwise = "The start of a large object cannot be looked at." },
};
/* clang-format on */
const struct probe_questions probe_objects = { questions, ARRAY_LEN(questions) };
