/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a check on what stands beside a body: attributes, encoding, tag. */
#include "impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT "0123456789"

static const struct store_how plain = { 0 };

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
    enum { COUNT = 8 };
    static const char *const names[COUNT] = { "mac", "all-of-ascii", "short", "spaces",
                                              "a2",  "a3",           "a4",    "a-5" };
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
        if (i == 3)
            memset(value + 3, ' ', 2); /* not at its ends */
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

/* Labels only if the store keeps them. */
static struct asked *
put_labelled(struct store *store, const char *text, const char *encoding,
             const struct bd_attr *attr)
{
    struct asked *put = asked_put(store, "a", text, strlen(text));

    if (store_info(store)->capabilities & BD_CAP_ATTRS) {
        put->io->encoding = encoding;
        put->io->attrs = attr;
        put->io->attr_count = 1;
    }
    return put;
}

/* Of GET and HEAD: these and no others; NULL: none.  False: the row has failed. */
static bool
expect_labels(struct store *store, const char *encoding, const struct bd_attr *attr)
{
    struct check *check = store->layers[0].check;
    struct asked *asked[] = { asked_get(store, "a", 100), asked_for(store, BD_HEAD_OBJECT, "a") };
    const bool keeps = (store_info(store)->capabilities & BD_CAP_ATTRS) != 0;
    const unsigned count = keeps && attr != NULL;

    for (unsigned i = 0; i < ARRAY_LEN(asked) && !check->is_failed; i++) {
        const char *what = i == 0 ? "GET after another PUT" : "HEAD after another PUT";

        if (!asked_expect(asked[i], BD_OK, what))
            return false;
        if (count > 0) {
            expect_encoding(check, asked[i], encoding, what);
            expect_label(check, asked[i], attr, what);
        } else if (asked[i]->has_encoding) {
            check_fail(check, "%s: expected no encoding, came the old one, \"%s\"", what,
                       asked[i]->encoding);
        }
        if (asked[i]->attrs.count != count)
            check_fail(check, "%s: expected %u attributes, came %u", what, count,
                       asked[i]->attrs.count);
    }
    return !check->is_failed;
}

static void
a_put_replaces_the_whole_object(struct check *check)
{
    struct store *store = store_open(check, plain);
    const struct bd_attr old = { "old", "value", 5 }, now = { "now", "other", 5 };

    if (store == NULL
        || !asked_expect(put_labelled(store, "much longer than the next", "deflate", &old), BD_OK,
                         "PUT")
        || !asked_expect(put_labelled(store, "new", "aes", &now), BD_OK, "PUT over it")
        || !expect_text(store, "a", "new") || !expect_labels(store, "aes", &now)
        || !put_text(store, "a", "bare") || !expect_text(store, "a", "bare"))
        return;
    expect_labels(store, NULL, NULL);
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
        if (!get->has_tag || !put->has_tag) {
            check_fail(check, "%s gave no tag", get->has_tag ? "PUT" : "GET");
            return;
        }
        if (strcmp(put->tag, get->tag) != 0)
            check_fail(check, "PUT gave the tag \"%s\", and GET \"%s\"", put->tag, get->tag);
        strcpy(tags[i], get->tag);
        for (unsigned j = 0; j < i; j++) {
            if (strcmp(tags[i], tags[j]) == 0)
                check_fail(check, "another body has the same tag, \"%s\"", tags[i]);
        }
    }
}

void
check_labels(struct check *check)
{
    static const struct check_row rows[] = {
        { "attributes and encoding come back", labels_come_back,
          "attributes and encodings are stored; else a PUT ignores them" },
        { "a PUT replaces body, encoding and attributes whole", a_put_replaces_the_whole_object,
          "PUT replaces the object, its encoding and its attributes whole" },
        { "a HEAD says what a GET does", head_says_what_get_does,
          "object_bytes is the length of the whole object, also where a part was asked for" },
        { "another body has another tag, the same in PUT and GET", tags_tell_versions_apart,
          "GET, HEAD_OBJECT and PUT always give one, the same for the same version, and a listing "
          "gives that one or none; for a store that has none the backend makes them.  The tag "
          "changes whenever the body does" },
    };

    check_rows(check, "backend", rows, ARRAY_LEN(rows));
}
