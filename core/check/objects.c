/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a check on a backend's objects: bodies, ranges, labels, absence, and what a request may touch. */
#include "impl.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BODY_BYTES_MAX ((size_t)4 << 20)
#define TEXT "0123456789"

static const struct store_how plain = { 0 };

static void
bodies_come_back(struct check *check)
{
    const size_t sizes[] = { 0, 1, 511, 4096, 65535, 65537, 1048577, BODY_BYTES_MAX };
    struct store *store = store_open(check, plain);
    char what[64];

    for (size_t i = 0; i < ARRAY_LEN(sizes) && store != NULL && !check->is_failed; i++) {
        const uint64_t most = store_info(store)->object_bytes_max;
        const size_t bytes = most != 0 && most < sizes[i] ? (size_t)most : sizes[i];
        unsigned char *body = check_alloc(check, bytes + 1);
        struct asked *get = asked_get(store, "a", bytes + 100);

        snprintf(what, sizeof what, "a body of %zu bytes", bytes);
        check_fill(body, bytes, CONTENT_NOISE, (unsigned)i);
        if (!asked_expect(asked_put(store, "a", bytes > 0 ? body : NULL, bytes), BD_OK, what)
            || !asked_expect(get, BD_OK, what) || !asked_gave(get, body, bytes, what))
            return;
        if (get->io->object_bytes != bytes)
            check_fail(check, "%s: expected object_bytes %zu, came %llu", what, bytes,
                       (unsigned long long)get->io->object_bytes);
    }
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

/* ------------------------------------------------------------------ labels */

static bool
expect_label(struct check *check, const struct asked *asked, const struct bd_attr *attr,
             const char *what)
{
    const struct bd_attr *came = attrs_find(&asked->attrs, attr->name);

    if (came == NULL)
        check_fail(check, "%s: attribute \"%s\" did not come back", what, attr->name);
    else if (came->value_bytes != attr->value_bytes
             || memcmp(came->value, attr->value, attr->value_bytes) != 0)
        check_fail(check, "%s: attribute \"%s\" came back with another value", what, attr->name);
    else
        return true;
    return false;
}

static bool
expect_encoding(struct check *check, const struct asked *asked, const char *encoding,
                const char *what)
{
    if (asked->has_encoding && strcmp(asked->encoding, encoding) == 0)
        return true;
    check_fail(check, "%s: expected the encoding \"%s\", came \"%s\"", what, encoding,
               asked->encoding);
    return false;
}

/* As large as attributes may be together.  Values are of the bytes that a header of HTTP can hold: a store may keep them
 * as such.  A newer host's are further apart. */
static void
labels_come_back(struct check *check)
{
    enum { COUNT = 10 };
    static const char *const names[COUNT] = { "mac", "all-of-ascii", "shortest", "a1", "a2",
                                              "a3",  "a4",           "a-5",      "a6", "a7" };
    static const char encoding[] = "deflate,aes";
    struct wide {
        struct bd_attr attr;
        void *newer[2];
    } *attrs = check_alloc(check, COUNT * sizeof *attrs);
    unsigned char *values = check_alloc(check, COUNT * (size_t)BD_ATTR_VALUE_BYTES_MAX);
    struct store *store = store_open(check, plain);
    struct asked *put, *asked[2];
    size_t total = 0;

    if (store == NULL)
        return;
    if (!(store_info(store)->capabilities & BD_CAP_ATTRS)) {
        check_skip(check, "it does not claim to keep them");
        return;
    }
    for (unsigned i = 0; i < COUNT; i++) {
        unsigned char *value = values + (size_t)i * BD_ATTR_VALUE_BYTES_MAX;
        size_t bytes = i == 2 ? 1 : i == 0 ? 32 : BD_ATTR_VALUE_BYTES_MAX;

        if (total + strlen(names[i]) + bytes > BD_ATTRS_BYTES_MAX)
            bytes = BD_ATTRS_BYTES_MAX - total - strlen(names[i]);
        total += strlen(names[i]) + bytes;
        for (unsigned j = 0; j < bytes; j++)
            value[j] = (unsigned char)('!' + (i + j) % ('~' - '!' + 1));
        attrs[i].attr = (struct bd_attr){ names[i], value, bytes };
    }
    put = asked_put(store, "a", "x", 1);
    put->io->encoding = encoding;
    put->io->attrs = &attrs->attr;
    put->io->attr_count = COUNT;
    put->io->attr_stride = sizeof *attrs;
    asked[0] = asked_get(store, "a", 8);
    asked[1] = asked_for(store, BD_HEAD_OBJECT, "a");
    if (!asked_expect(put, BD_OK, "PUT with attributes of 2048 bytes"))
        return;
    for (unsigned i = 0; i < ARRAY_LEN(asked); i++) {
        const char *what = i == 0 ? "GET" : "HEAD";

        if (!asked_expect(asked[i], BD_OK, what)
            || !expect_encoding(check, asked[i], encoding, what))
            return;
        for (unsigned j = 0; j < COUNT; j++) {
            if (!expect_label(check, asked[i], &attrs[j].attr, what))
                return;
        }
        if (asked[i]->attrs.count != COUNT)
            check_fail(check, "%s: expected %d attributes, came %u", what, COUNT,
                       asked[i]->attrs.count);
    }
}

static void
a_put_replaces_the_whole_object(struct check *check)
{
    struct store *store = store_open(check, plain);
    struct bd_attr attr = { "old", "value", 5 };
    struct asked *put, *get;

    if (store == NULL)
        return;
    put = asked_put(store, "a", "much longer than the next", 25);
    if (store_info(store)->capabilities & BD_CAP_ATTRS) {
        put->io->encoding = "deflate";
        put->io->attrs = &attr;
        put->io->attr_count = 1;
    }
    if (!asked_expect(put, BD_OK, "PUT") || !put_text(store, "a", "new")
        || !expect_text(store, "a", "new"))
        return;
    get = asked_get(store, "a", 100);
    if (!asked_expect(get, BD_OK, "GET"))
        return;
    if (get->has_encoding)
        check_fail(check, "expected no encoding, came the old one, \"%s\"", get->encoding);
    if (get->attrs.count != 0)
        check_fail(check, "expected no attributes, came the old \"%s\"", get->attrs.list[0].name);
}

static void
head_says_what_get_does(struct check *check)
{
    struct store *store = store_open(check, plain);
    struct asked *head, *get;

    if (store == NULL || !put_text(store, "a", TEXT))
        return;
    head = asked_for(store, BD_HEAD_OBJECT, "a");
    get = asked_get(store, "a", 3);
    if (!asked_expect(head, BD_OK, "HEAD") || !asked_expect(get, BD_OK, "GET"))
        return;
    if (head->io->object_bytes != 10)
        check_fail(check, "expected object_bytes 10, came %llu",
                   (unsigned long long)head->io->object_bytes);
    if (head->has_tag != get->has_tag || strcmp(head->tag, get->tag) != 0)
        check_fail(check, "expected the tag of GET, \"%s\", came \"%s\"", get->tag, head->tag);
}

static void
tags_tell_versions_apart(struct check *check)
{
    struct store *store = store_open(check, plain);
    char tags[3][BD_TAG_BYTES_MAX + 1];

    if (store == NULL)
        return;
    for (unsigned i = 0; i < ARRAY_LEN(tags); i++) {
        char text[] = "version 0";
        struct asked *put, *get;

        text[8] = (char)('0' + i);
        put = asked_put(store, "a", text, sizeof text);
        get = asked_get(store, "a", 16);
        if (!asked_expect(put, BD_OK, "PUT") || !asked_expect(get, BD_OK, "GET"))
            return;
        if (!get->has_tag) {
            check_fail(check, "GET gave no tag");
            return;
        }
        if (put->has_tag && strcmp(put->tag, get->tag) != 0)
            check_fail(check, "PUT gave the tag \"%s\", and GET \"%s\"", put->tag, get->tag);
        strcpy(tags[i], get->tag);
        for (unsigned j = 0; j < i; j++) {
            if (strcmp(tags[i], tags[j]) == 0)
                check_fail(check, "another body has the same tag, \"%s\"", tags[i]);
        }
    }
}

static void
names_are_told_apart(struct check *check)
{
    static const char *const leaves[] = { "name",     "NAME",         "name-",  "name.x",
                                          "sub/name", "sub/sub/name", "%6eame", "n~me" };
    struct store *store = store_open(check, plain);

    for (size_t i = 0; i < ARRAY_LEN(leaves) && store != NULL; i++) {
        if (!put_text(store, leaves[i], leaves[i]))
            return;
    }
    for (size_t i = 0; i < ARRAY_LEN(leaves) && store != NULL; i++) {
        if (!expect_text(store, leaves[i], leaves[i]))
            check_fail(check, "that was \"%s\"", leaves[i]);
    }
}

/* ------------------------------------------------------------------ requests */

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
            check_fail(check, "operation %u wrote behind the %u bytes of scratch that it asks for",
                       ops[i], layer->plugin->backend.scratch_bytes);
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
        struct asked *asked = asked_paged(store, ops[i], "a", 5000);

        asked->locks_when_complete = true;
        asked_run(asked);
        nanosleep(&pause, NULL);
        if (asked->status != BD_OK)
            check_fail(check, "operation %u: expected OK, came %s: %s", ops[i],
                       status_word(asked->status), asked->why.text);
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
check_objects(struct check *check)
{
    static const struct check_row rows[] = {
        { "bodies of every size come back", bodies_come_back },
        { "a GET gives the range that was asked for", ranges_are_what_was_asked_for },
        { "a GET writes nothing past cap", nothing_is_written_past_cap },
        { "what was never put is ABSENT", what_was_never_put_is_absent },
        { "a DELETE removes one object, and is OK if there is none", deletes_remove_one_object },
        { "a DELETE_MANY has a status for every name", delete_many_answers_for_each },
        { "attributes and encoding come back", labels_come_back },
        { "a PUT replaces body, encoding and attributes whole", a_put_replaces_the_whole_object },
        { "a HEAD says what a GET does", head_says_what_get_does },
        { "another body has another tag, the same in PUT and GET", tags_tell_versions_apart },
        { "names that differ are different objects", names_are_told_apart },
        { "an operation that it does not know is UNSUPPORTED", unknown_operations_are_refused },
        { "requests use no more scratch than it asks for", scratch_is_kept_to },
        { "a request is left alone from complete on", ended_requests_are_left_alone },
        { "what comes after its deadline changes nothing", late_puts_change_nothing },
    };

    check_rows(check, "backend", rows, ARRAY_LEN(rows));
}
