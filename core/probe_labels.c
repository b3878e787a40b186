/* SPDX-License-Identifier: Apache-2.0 */
/* Questions: what does an object carry beside its bytes? */
#include "probe_ask.h"

#include <string.h>

#define MEDIA_TYPE "application/x-s3backer-block"

static void
encoding_kept(struct probe *probe)
{
    static const char *const encodings[] = { "deflate,encrypt-AES-128-CBC", "zstd", "gzip" };

    for (unsigned i = 0; i < ARRAY_LEN(encodings); i++) {
        struct put_what what = { .body = probe_body(probe, i), .encoding = encodings[i] };

        if (probe_put_what(probe, "encoding", what) != BD_OK) {
            probe_failed(probe, PROBE_WEAK, encodings[i]);
            return;
        }
        if (probe_get(probe, "encoding") != BD_OK || !probe_gave(probe, what.body)) {
            probe_say(probe, PROBE_WEAK, "the body is changed where the encoding is %s",
                      encodings[i]);
            return;
        }
        if (probe->io->encoding == NULL || strcmp(probe->io->encoding, encodings[i]) != 0) {
            probe_say(probe, PROBE_WEAK, "%s becomes %.100s", encodings[i],
                      probe->io->encoding != NULL ? probe->io->encoding : "nothing");
            return;
        }
    }
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

/* The first that did not come back as it was put; NULL: all did. */
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

static bool
put_attrs(struct probe *probe, const struct attrs *attrs)
{
    struct put_what what = { .body = probe_body(probe, 0), .attrs = attrs };

    return probe_put_what(probe, "attributes", what) == BD_OK;
}

static void
attrs_kept(struct probe *probe)
{
    static const char weak[] = "What a volume needs is kept, but a codec may need more.";
    struct attrs few = { 0 }, most = { 0 };
    const struct attrs *got = &probe->io->attrs;

    if (attrs_add(&few, "s3backer-mount-token", "0badcafe", 8) != 0
        || attrs_add(&few, "bucketdisk-owner", "machine boot 1:2 host", 21) != 0
        || most_attrs(&most) != 0)
        probe->no_memory = true;
    else if (!put_attrs(probe, &few) || probe_head(probe, "attributes") != BD_OK)
        probe_failed(probe, PROBE_BAD, "put and head");
    else if (attrs_differ(&few, got) != NULL)
        probe_say(probe, PROBE_BAD, "%s is not kept", attrs_differ(&few, got));
    else if (!put_attrs(probe, &most) || probe_get(probe, "attributes") != BD_OK)
        probe_failed_that(probe, PROBE_WEAK, weak, "2 KiB of them");
    else if (attrs_differ(&most, got) != NULL)
        probe_say_that(probe, PROBE_WEAK, weak, "of 2 KiB, %s is not kept",
                       attrs_differ(&most, got));
    else if (attrs_differ(&few, got) == NULL)
        probe_say(probe, PROBE_BAD, "those of an object that was overwritten stay");
    attrs_clear(&few);
    attrs_clear(&most);
}

static void
media_type(struct probe *probe)
{
    struct put_what what = { .body = probe_body(probe, 0), .media_type = MEDIA_TYPE };

    if (probe_put_what(probe, "media-type", what) != BD_OK)
        probe_failed(probe, PROBE_BAD, "put");
}

static void
tags_in_listing(struct probe *probe, const tag_text tag)
{
    struct listing listing = { 0 };
    const struct listing_entry *entry;
    object_name name;

    probe_name(probe, "tags", name);
    if (probe_list(probe, "tags", NULL, 0, &listing) != BD_OK) {
        probe_failed_that(probe, PROBE_BAD, probe_cannot_store, "list");
    } else {
        entry = listing_find(&listing, name);
        if (entry == NULL || entry->tag == NULL)
            probe_say(probe, PROBE_GOOD, "change with the object; a listing tells none");
        else if (strcmp(entry->tag, tag) != 0)
            probe_say(probe, PROBE_WEAK, "put and list tell different ones");
    }
    listing_clear(&listing);
}

static void
tags(struct probe *probe)
{
    tag_text first, put, seen;

    if (!probe_must_put(probe, "tags", 0))
        return;
    probe_tag(probe, first);
    if (!probe_must_put(probe, "tags", 1))
        return;
    probe_tag(probe, put);
    if (probe_head(probe, "tags") != BD_OK) {
        probe_failed_that(probe, PROBE_BAD, probe_cannot_store, "head");
        return;
    }
    probe_tag(probe, seen);
    if (seen[0] == '\0') {
        probe_say(probe, PROBE_WEAK, "there are none, and a backend must give them");
    } else if (put[0] == '\0') {
        probe_say(probe, PROBE_WEAK, "put does not tell the tag");
    } else if (strcmp(first, put) == 0) {
        probe_say(probe, PROBE_WEAK, "the tag stays when the object changes");
    } else if (strcmp(seen, put) != 0) {
        probe_say(probe, PROBE_WEAK, "put and head tell different ones");
    } else if (probe_get(probe, "tags") != BD_OK) {
        probe_failed_that(probe, PROBE_BAD, probe_cannot_store, "get");
    } else {
        probe_tag(probe, seen);
        if (strcmp(seen, put) != 0)
            probe_say(probe, PROBE_WEAK, "put and get tell different ones");
        else
            tags_in_listing(probe, put);
    }
}

/* clang-format off */
static const struct probe_question questions[] = {
    { "encoding", "Content-Encoding", BD_CAP_ATTRS, encoding_kept,
      .good = "kept as it is", .consequence = "Blocks can be compressed and encrypted.",
      .otherwise = "Use no codec: how a block is encoded could not be found again." },
    { "attributes", "attributes", BD_CAP_ATTRS, attrs_kept,
      .good = "kept, up to 2 KiB", .consequence = "A volume's sizes and its mount token can be kept.",
      .otherwise = "The sizes of a volume, and who has it mounted, could not be kept." },
    { "media-type", "a media type", 0, media_type,
      .good = "accepted", .consequence = "Blocks can be labelled.",
      .otherwise = probe_cannot_store },
    { "tags", "tags", 0, tags,
      .good = "change with the object, alike in all answers",
      .consequence = "A version of an object can be told from another.",
      .otherwise = "--md5CacheSize must not be used, and conditions of writes protect less." },
};
/* clang-format on */
const struct probe_questions probe_labels = { questions, ARRAY_LEN(questions) };
