/* SPDX-License-Identifier: Apache-2.0 */
/* Questions: does a listing tell what there is? */
#include "probe_ask.h"

#include <string.h>

#define PAGE 7 /* entries of a small page */

static const char incomplete[] = "Blocks that exist could be taken for zeros, or not be trimmed.";

/* In byte order.  The i-th has i + 1 bytes. */
static const char *const listed[] = {
    "list--",  "list-.", "list-0",  "list-00", "list-01", "list-02", "list-09", "list-0a",
    "list-0f", "list-1", "list-10", "list-19", "list-1a", "list-1f", "list-A",  "list-Z",
    "list-_",  "list-a", "list-a-", "list-a0", "list-aa", "list-f",  "list-ff", "list-~",
};

static bool
listing_is_right(struct probe *probe, const char *what, const char *after, unsigned limit,
                 unsigned from)
{
    struct listing listing = { 0 };
    bool is_right = false;

    if (probe_list(probe, "list-", after, limit, &listing) != BD_OK) {
        probe_failed(probe, PROBE_BAD, what);
        goto clear;
    }
    for (unsigned i = 0; i < listing.count || from + i < ARRAY_LEN(listed); i++) {
        object_name name = "";

        if (from + i < ARRAY_LEN(listed))
            probe_name(probe, listed[from + i], name);
        if (i >= listing.count || strcmp(listing.entries[i].name, name) != 0) {
            const char *got = i < listing.count ? listing.entries[i].name : "nothing";

            probe_say(probe, PROBE_BAD, "%s: %.60s where %s should come", what,
                      strncmp(got, probe->scratch, strlen(probe->scratch)) == 0
                          ? got + strlen(probe->scratch)
                          : got,
                      name[0] != '\0' ? listed[from + i] : "nothing");
            goto clear;
        }
        if (listing.entries[i].bytes != from + i + 1) {
            probe_say(probe, PROBE_BAD, "%s: the size of %s is wrong", what, listed[from + i]);
            goto clear;
        }
    }
    is_right = true;
clear:
    listing_clear(&listing);
    return is_right;
}

static void
list_complete(struct probe *probe)
{
    for (unsigned i = ARRAY_LEN(listed); i-- > 0;) { /* in an order of its own */
        struct put_what what = { .body = { probe->noise, i + 1 } };

        if (probe_put_what(probe, listed[i], what) != BD_OK) {
            probe_failed_that(probe, PROBE_BAD, probe_cannot_store, "put");
            return;
        }
    }
    (void)(listing_is_right(probe, "all", NULL, 0, 0)
           && listing_is_right(probe, "in pages", NULL, PAGE, 0)
           && listing_is_right(probe, "behind a name", "list-10", PAGE, 11)
           && listing_is_right(probe, "behind a name that is not there", "list-0b", 0, 8));
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
