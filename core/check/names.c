/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a check on names of objects: any bytes but NUL, up to the longest. */
#include "impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DISTINCT_MAX 64

static const struct store_how plain = { 0 };

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

/* An object of this very name. */
static struct asked *
asked_named(struct store *store, uint32_t op, const char *name)
{
    struct asked *asked = op == BD_PUT   ? asked_put(store, "", name, strlen(name))
                          : op == BD_GET ? asked_get(store, "", BD_NAME_BYTES_MAX + 1)
                                         : asked_for(store, op, "");

    asked->io->name = name;
    return asked;
}

/* Is there an object of this name now?  A store that cannot hold one says INVALID; any other answer fails the row. */
static bool
is_held(struct store *store, const char *name)
{
    struct asked *put = asked_named(store, BD_PUT, name);

    if (asked_run(put) == BD_INVALID)
        return false;
    return asked_expect_ended(put, BD_OK, "PUT");
}

/* What it was put with: its name. */
static bool
gives_its_name(struct store *store, const char *name)
{
    struct asked *get = asked_named(store, BD_GET, name);

    return asked_expect(get, BD_OK, "GET") && asked_gave(get, name, strlen(name), "GET");
}

static void
longest_names_are_held_or_refused(struct check *check)
{
    static const size_t sizes[] = { 200, 255, 256, 500, 1000, BD_NAME_BYTES_MAX };
    struct store *store = store_open(check, plain);
    object_text begin;

    name_of(check, "", begin);
    for (size_t i = 0; i < ARRAY_LEN(sizes) && store != NULL && !check->is_failed; i++) {
        char *name = check_alloc(check, sizes[i] + 1);
        char *other = check_alloc(check, sizes[i] + 1);

        memset(name, 'n', sizes[i]);
        memcpy(name, begin, strlen(begin));
        memcpy(other, name, sizes[i]);
        other[sizes[i] - 1] = 'm'; /* they differ at their end only */
        if (is_held(store, name) && is_held(store, other) && gives_its_name(store, name)
            && gives_its_name(store, other))
            asked_expect(asked_named(store, BD_DELETE, name), BD_OK, "DELETE");
        if (check->is_failed)
            check_note(check, "that was a name of %zu bytes", sizes[i]);
    }
}

static int
in_byte_order(const void *one, const void *other)
{
    return strcmp(*(const char *const *)one, *(const char *const *)other);
}

static void
expect_listed(struct check *check, const struct asked *list, const char *held[], unsigned count)
{
    qsort(held, count, sizeof *held, in_byte_order);
    for (unsigned i = 0; i < count && i < list->entry_count; i++) {
        if (strcmp(list->entries[i].name, held[i]) != 0) {
            check_fail(check, "entry %u of a LIST: expected \"%s\", came \"%s\"", i + 1, held[i],
                       list->entries[i].name);
            return;
        }
    }
    if (list->entry_count != count)
        check_fail(check, "LIST: expected %u names, came %u", count, list->entry_count);
}

/* Each of them held and listed, or refused. */
static void
odd_names_are_held_or_refused(struct check *check)
{
    static const char *const leaves[] = {
        "/",         "//",       "/.",       "/..",   "/../x", "x/../x", "./x",  ".x",
        "x.",        " ",        "x ",       "a b",   "a+b",   "a%20b",  "%",    "%2F",
        "?x=1",      "a&b",      "#",        "a;b",   "a\\b",  "\"",     "'",    "*",
        "[a-z]",     "$(x)",     "x:y",      "a\tb",  "a\nb",  "\x01",   "\x7f", "\xc3\xa4",
        "a\xcc\x88", "\xff\xfe", "<a>&amp;", "x.tmp", ".lock", "~",      "-",
    };
    struct store *store = store_open(check, plain);
    const char *held[DISTINCT_MAX];
    struct asked *list;
    unsigned count = 0;

    _Static_assert(ARRAY_LEN(leaves) <= DISTINCT_MAX, "room for all");
    for (size_t i = 0; i < ARRAY_LEN(leaves) && store != NULL; i++) {
        const char *name = name_of(check, leaves[i], check_alloc(check, sizeof(object_text)));

        if (is_held(store, name))
            held[count++] = name;
        if (check->is_failed) {
            check_note(check, "that was a name that ends in \"%s\"", leaves[i]);
            return;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        if (!gives_its_name(store, held[i])) {
            check_note(check, "that was \"%s\"", held[i]);
            return;
        }
    }
    if (store == NULL)
        return;
    list = asked_list(store, "", NULL, DISTINCT_MAX);
    if (asked_list_whole(list))
        expect_listed(check, list, held, count);
}

void
check_names(struct check *check)
{
    static const struct check_row rows[] = {
        { "names that differ are different objects", names_are_told_apart,
          "Names have 1 to BD_NAME_BYTES_MAX bytes, any but NUL; \"/\" means nothing" },
        { "names of any bytes are held and listed, or INVALID", odd_names_are_held_or_refused,
          "Names have 1 to BD_NAME_BYTES_MAX bytes, any but NUL; \"/\" means nothing.  One that "
          "the "
          "store cannot hold is BD_INVALID" },
        { "names of up to 1024 bytes are held, or INVALID", longest_names_are_held_or_refused,
          "Names have 1 to BD_NAME_BYTES_MAX bytes, any but NUL; \"/\" means nothing.  One that "
          "the "
          "store cannot hold is BD_INVALID" },
    };

    check_rows(check, "backend", rows, ARRAY_LEN(rows));
}
