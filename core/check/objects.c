/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a check on a backend's objects: bodies, ranges, absence, deletion. */
#include "impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_BYTES_MAX ((size_t)64 << 20) /* longer ones are not sent; rows say so */
#define DELETE_MANY_MAX 1000u
#define TEXT "0123456789"

static const struct store_how plain = { 0 };

/* False: the row has failed. */
static bool
body_comes_back(struct store *store, size_t bytes)
{
    struct check *check = store->layers[0].check;
    unsigned char *body = check_alloc(check, bytes + 1);
    struct asked *get = asked_get(store, "a", bytes + 100);
    char what[64];

    snprintf(what, sizeof what, "a body of %zu bytes", bytes);
    check_fill(body, bytes, CONTENT_NOISE, (unsigned)bytes);
    if (!asked_expect(asked_put(store, "a", bytes > 0 ? body : NULL, bytes), BD_OK, what)
        || !asked_expect(get, BD_OK, what) || !asked_gave(get, body, bytes, what))
        return false;
    if (get->io->object_bytes != bytes)
        check_fail(check, "%s: expected object_bytes %zu, came %llu", what, bytes,
                   (unsigned long long)get->io->object_bytes);
    return !check->is_failed;
}

static void
bodies_come_back(struct check *check)
{
    static const size_t sizes[] = { 0, 1, 511, 4096, 65535, 65537, 1048577, 4 << 20 };
    struct store *store = store_open(check, plain);
    uint64_t most;

    if (store == NULL)
        return;
    most = store_info(store)->object_bytes_max;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        if ((most == 0 || sizes[i] <= most) && !body_comes_back(store, sizes[i]))
            return;
    }
    if (most != 0 && most <= BODY_BYTES_MAX)
        body_comes_back(store, (size_t)most);
}

/* Of a very long one there is only the begin: whoever sends it all the same crashes, before it has cost much. */
static void
longer_bodies_are_refused(struct check *check)
{
    struct store *store = store_open(check, plain);
    uint64_t bytes;
    void *body;

    if (store == NULL || !put_text(store, "a", "old"))
        return;
    bytes = store_info(store)->object_bytes_max + 1;
    if (bytes <= 1 || bytes > SIZE_MAX / 2) {
        check_skip(check, "it takes bodies of any size");
        return;
    }
    body = check_guarded(check, bytes < BODY_BYTES_MAX ? (size_t)bytes : BODY_BYTES_MAX);
    if (asked_expect(asked_put(store, "a", body, (size_t)bytes), BD_INVALID,
                     "a body of a byte more than object_bytes_max"))
        expect_text(store, "a", "old");
}

/* (offset, cap), and what of TEXT that is. */
static const struct range {
    uint64_t offset;
    size_t cap;
    const char *gives;
} ranges[] = {
    { 0, 4, "0123" }, { 3, 4, "3456" }, { 8, 4, "89" },  { 9, 1, "9" },
    { 10, 4, "" },    { 4000, 4, "" },  { 0, 10, TEXT }, { 0, 100, TEXT },
};

static void
ranges_are_what_was_asked_for(struct check *check)
{
    struct store *store = store_open(check, plain);
    char what[64];

    if (store == NULL || !put_text(store, "a", TEXT))
        return;
    for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
        struct asked *get = asked_get(store, "a", ranges[i].cap);

        get->io->offset = ranges[i].offset;
        snprintf(what, sizeof what, "GET of %zu from %llu of 10 bytes", ranges[i].cap,
                 (unsigned long long)ranges[i].offset);
        if (!asked_expect(get, BD_OK, what)
            || !asked_gave(get, ranges[i].gives, strlen(ranges[i].gives), what))
            continue;
        if (get->io->object_bytes != 10)
            check_fail(check, "%s: expected object_bytes 10, came %llu", what,
                       (unsigned long long)get->io->object_bytes);
    }
}

static void
nothing_is_written_past_cap(struct check *check)
{
    struct store *store = store_open(check, plain);
    struct asked *get;

    if (store == NULL || !put_text(store, "a", TEXT))
        return;
    for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
        get = asked_get(store, "a", ranges[i].cap);
        get->io->offset = ranges[i].offset;
        asked_run(get);
        if (!check_canary_is_whole((char *)get->data + ranges[i].cap))
            check_fail(check, "GET of %zu from %llu of 10 bytes wrote behind cap", ranges[i].cap,
                       (unsigned long long)ranges[i].offset);
    }
    get = asked_get(store, "a", 0);
    get->io->data = NULL; /* what is there without being read */
    if (asked_expect(get, BD_OK, "GET with room for nothing") && get->io->len != 0)
        check_fail(check, "GET with room for nothing: expected len 0, came %zu", get->io->len);
    get = asked_get(store, "none", 0); /* an answer with a body of its own, perhaps */
    asked_run(get);
    if (!check_canary_is_whole(get->data))
        check_fail(check, "GET of an absent object wrote into the buffer behind cap");
}

static void
what_was_never_put_is_absent(struct check *check)
{
    struct store *store = store_open(check, plain);

    if (store == NULL)
        return;
    asked_expect(asked_get(store, "none", 8), BD_ABSENT, "GET");
    asked_expect(asked_for(store, BD_HEAD_OBJECT, "none"), BD_ABSENT, "HEAD");
}

static void
deletes_remove_one_object(struct check *check)
{
    struct store *store = store_open(check, plain);

    if (store == NULL
        || !asked_expect(asked_for(store, BD_DELETE, "none"), BD_OK, "DELETE of an absent object")
        || !put_text(store, "a", "a") || !put_text(store, "aa", "aa")
        || !asked_expect(asked_for(store, BD_DELETE, "a"), BD_OK, "DELETE")
        || !asked_expect(asked_get(store, "a", 8), BD_ABSENT, "GET of what was deleted"))
        return;
    expect_text(store, "aa", "aa");
}

static void
delete_many_answers_for_each(struct check *check)
{
    static const char *const leaves[] = { "many-1", "many-none", "many-2", "many-3" };
    object_text *texts = check_alloc(check, ARRAY_LEN(leaves) * sizeof *texts);
    const char **names = check_alloc(check, ARRAY_LEN(leaves) * sizeof *names);
    uint32_t *statuses = check_alloc(check, ARRAY_LEN(leaves) * sizeof *statuses);
    struct store *store = store_open(check, plain);
    struct asked *many;

    if (store == NULL)
        return;
    for (size_t i = 0; i < ARRAY_LEN(leaves); i++) {
        names[i] = name_of(check, leaves[i], texts[i]);
        if (i != 1 && !put_text(store, leaves[i], "x"))
            return;
    }
    if (!put_text(store, "stays", "here"))
        return;
    many = asked_for(store, BD_DELETE_MANY, "");
    many->io->name = NULL;
    many->io->names = names;
    many->io->statuses = statuses;
    many->io->name_count = ARRAY_LEN(leaves);
    if (!asked_expect(many, BD_OK, "DELETE_MANY"))
        return;
    for (size_t i = 0; i < ARRAY_LEN(leaves); i++) {
        if (statuses[i] != BD_OK)
            check_fail(check, "the status of name %zu of %zu: expected OK, came %s (%u)", i + 1,
                       ARRAY_LEN(leaves), status_word((enum bd_status)statuses[i]), statuses[i]);
        asked_expect(asked_get(store, leaves[i], 8), BD_ABSENT, "GET of what was deleted");
    }
    expect_text(store, "stays", "here");
}

/* All but the last name absent. */
static void
delete_many_takes_as_many_as_it_says(struct check *check)
{
    struct store *store = store_open(check, plain);
    struct asked *many;
    const char **names;
    uint32_t count;

    if (store == NULL)
        return;
    if (!(store_info(store)->capabilities & BD_CAP_DELETE_MANY)) {
        check_skip(check, "it does not claim to be quick at it");
        return;
    }
    count = store_info(store)->delete_many_max;
    if (count == 0 || count > DELETE_MANY_MAX)
        count = DELETE_MANY_MAX;
    names = check_alloc(check, count * sizeof *names);
    for (uint32_t i = 0; i < count; i++) {
        char leaf[16];

        snprintf(leaf, sizeof leaf, "%u", i);
        names[i] = name_of(check, leaf, check_alloc(check, sizeof(object_text)));
        if (i + 1 == count && !put_text(store, leaf, "x"))
            return;
    }
    many = asked_for(store, BD_DELETE_MANY, "");
    many->io->name = NULL;
    many->io->names = names;
    many->io->statuses = check_alloc(check, count * sizeof(uint32_t));
    many->io->name_count = count;
    if (!asked_expect(many, BD_OK, "DELETE_MANY of delete_many_max names"))
        return;
    for (uint32_t i = 0; i < count && !check->is_failed; i++) {
        if (many->io->statuses[i] != BD_OK)
            check_fail(check, "the status of name %u of %u: expected OK, came %s", i + 1, count,
                       status_word((enum bd_status)many->io->statuses[i]));
    }
}

void
check_objects(struct check *check)
{
    static const struct check_row rows[] = {
        { "bodies up to 4 MiB come back, and of object_bytes_max if that is at most 64 MiB",
          bodies_come_back, "object_bytes_max; /* largest body; 0: no limit." },
        { "a body that is too long is INVALID", longer_bodies_are_refused,
          "One that the store cannot hold is BD_INVALID, and so is a body that is longer than "
          "object_bytes_max" },
        { "a GET gives the range that was asked for", ranges_are_what_was_asked_for,
          "GET writes min(cap, object_bytes - offset) bytes to `data`, from an `offset` past the "
          "end none" },
        { "a GET writes nothing past cap", nothing_is_written_past_cap,
          "never more than `cap`, and sets `len`" },
        { "what was never put is ABSENT", what_was_never_put_is_absent,
          "GET, HEAD_OBJECT: this object does not exist, and the container that it" },
        { "a DELETE removes one object, and is OK if there is none", deletes_remove_one_object,
          "DELETE of an absent object is BD_OK" },
        { "a DELETE_MANY has a status for every name", delete_many_answers_for_each,
          "DELETE_MANY sets a status for every name" },
        { "a DELETE_MANY takes as many names as it says", delete_many_takes_as_many_as_it_says,
          "names in one DELETE_MANY; 0: 1000" },
    };

    check_rows(check, "backend", rows, ARRAY_LEN(rows));
}
