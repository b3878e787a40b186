/* SPDX-License-Identifier: Apache-2.0 */
/* Questions: does a listing tell what there is? */
#include "probe_ask.h"

#include <string.h>

#define PAGE 7 /* entries of a small page */

static const char incomplete[] = "Blocks that exist could be taken for zeros, or not be trimmed.";

/* What is listed, in byte order.  The i-th has i + 1 bytes. */
struct names {
    const char *leaf; /* that all begin with, and no others */
    const char *const *all;
    unsigned count;
    bool is_order_free; /* an order of its own is no great harm */
};

/* As names of blocks are: all of one length. */
static const char *const alike[] = {
    "list---", "list--~", "list-.0", "list-00", "list-01", "list-02", "list-09",
    "list-0a", "list-0f", "list-10", "list-19", "list-1a", "list-1f", "list-A0",
    "list-Z0", "list-_0", "list-a-", "list-a0", "list-aa", "list-ff", "list-~~",
};
static const struct names blocks = { "list-", alike, ARRAY_LEN(alike), false };

/* A store that keeps each object in a file of the name and something behind it has these in another order. */
static const char *const within[] = {
    "within-0", "within-00", "within-0a", "within-a", "within-a-", "within-aa",
};
static const struct names nested = { "within-", within, ARRAY_LEN(within), true };

static bool
is_complete(const struct probe *probe, const struct listing *listing, const struct names *names,
            unsigned from)
{
    for (unsigned i = from; i < names->count; i++) {
        const struct listing_entry *entry;
        object_name name;

        probe_name(probe, names->all[i], name);
        entry = listing_find(listing, name);
        if (entry == NULL || entry->bytes != i + 1)
            return false;
    }
    return listing->count == names->count - from;
}

/* What the i-th entry should be, and is; without what all our names begin with. */
static const char *
leaf_of(const struct probe *probe, const struct listing *listing, unsigned i)
{
    size_t bytes = strlen(probe->scratch);

    if (i >= listing->count)
        return "nothing";
    return strncmp(listing->entries[i].name, probe->scratch, bytes) == 0
               ? listing->entries[i].name + bytes
               : listing->entries[i].name;
}

/* The names behind `after`, the first of which is the one with the number `from`. */
static bool
is_right(struct probe *probe, const char *what, const struct names *names, const char *after,
         unsigned limit, unsigned from)
{
    struct listing listing = { 0 };
    unsigned i = 0;

    if (probe_list(probe, names->leaf, after, limit, &listing) != BD_OK) {
        probe_failed(probe, PROBE_BAD, what);
        goto clear;
    }
    while (from + i < names->count
           && strcmp(leaf_of(probe, &listing, i), names->all[from + i]) == 0)
        i++;
    if (is_complete(probe, &listing, names, from) && from + i == names->count)
        goto clear;
    if (from + i == names->count && i == listing.count)
        probe_say(probe, PROBE_BAD, "%s: a size is wrong", what);
    else if (names->is_order_free && is_complete(probe, &listing, names, from))
        probe_say_that(probe, PROBE_WEAK, "Names of blocks are of one length: none begins another.",
                       "%s: %s where %s should come", what, leaf_of(probe, &listing, i),
                       names->all[from + i]);
    else
        probe_say(probe, PROBE_BAD, "%s: %.60s where %s should come", what,
                  leaf_of(probe, &listing, i),
                  from + i < names->count ? names->all[from + i] : "nothing");
clear:
    listing_clear(&listing);
    return probe->row->verdict == PROBE_GOOD;
}

static bool
put_names(struct probe *probe, const struct names *names)
{
    for (unsigned i = names->count; i-- > 0;) { /* in an order of its own */
        struct put_what what = { .body = { probe->noise, i + 1 } };

        if (probe_put_what(probe, names->all[i], what) != BD_OK) {
            probe_failed_that(probe, PROBE_BAD, probe_cannot_store, "put");
            return false;
        }
    }
    return true;
}

static void
list_complete(struct probe *probe)
{
    (void)(put_names(probe, &blocks) && is_right(probe, "all", &blocks, NULL, 0, 0)
           && is_right(probe, "in pages", &blocks, NULL, PAGE, 0)
           && is_right(probe, "behind a name", &blocks, "list-10", PAGE, 10)
           && is_right(probe, "behind a name that is not there", &blocks, "list-0b", 0, 8)
           && put_names(probe, &nested)
           && is_right(probe, "names that begin others", &nested, NULL, 0, 0)
           && is_right(probe, "names that begin others, in pages", &nested, NULL, 2, 0));
}

static void
list_fresh(struct probe *probe)
{
    static const char leaf[] = "listed-at-once";
    struct listing listing = { 0 };

    for (unsigned i = 0; i < 2 * ROUNDS; i++) {
        bool is_put = i % 2 == 0;

        if ((is_put ? probe_put(probe, leaf, i) : probe_delete(probe, leaf, NULL)) != BD_OK
            || probe_list(probe, leaf, NULL, 0, &listing) != BD_OK) {
            probe_failed(probe, PROBE_BAD, "put, delete, list");
            break;
        }
        if (listing.count != is_put) {
            probe_say(probe, PROBE_BAD,
                      is_put ? "no: one just put is not listed" : "no: one just deleted is listed");
            break;
        }
    }
    listing_clear(&listing);
}

/* clang-format off */
static const struct probe_question questions[] = {
    { "list", "a listing", 0, list_complete,
      .good = "complete, in byte order, page by page", .consequence = "What exists can be found.",
      .otherwise = incomplete },
    { "list-fresh", "a listing right after put, delete", BD_CAP_CONSISTENT, list_fresh,
      .good = "yes", .consequence = "What is listed is what there is.",
      .otherwise = incomplete },
};
/* clang-format on */
const struct probe_questions probe_listings = { questions, ARRAY_LEN(questions) };
