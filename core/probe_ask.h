/* SPDX-License-Identifier: Apache-2.0 */
/* How the questions of a probe ask: requests to one scratch prefix, and what is made of the answers.
 *
 * For core/probe*.c alone.  A question names its objects after itself (a "leaf"), so that a test can make one question
 * go wrong.  One request at a time; each is tried again as a mount would.  Waits: never on a pool worker. */
#ifndef CORE_PROBE_ASK_H
#define CORE_PROBE_ASK_H

#include "base/util.h"
#include "layout.h"
#include "probe.h"

#define NOISE_BYTES 70001u /* no multiple of anything */
#define BODY_BYTES 4096u
#define ROUNDS 8 /* of what may go wrong by chance */

typedef char tag_text[BD_TAG_BYTES_MAX + 1];

struct listing_entry {
    char *name;
    char *tag; /* NULL: none */
    uint64_t bytes;
};

/* All zeros: empty. */
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
    char (*made)[32]; /* the leaves that may exist */
    unsigned made_count, made_room;
    unsigned char noise[NOISE_BYTES];
    unsigned char data[NOISE_BYTES + 1];
    bool has_answered; /* some request has ended well */
    bool no_memory, is_tidying;
    bool was_unknown; /* the last request: an attempt may have been carried out */
    unsigned unknown_count;
    struct probe_row *rows;
    unsigned row_count;
    const struct probe_question *question; /* that is asked now, and its row */
    struct probe_row *row;
    char left_behind[480];
};

/* A row begins as good.  `ask` says so when it finds something else. */
struct probe_question {
    const char *id, *what;
    uint64_t capability; /* as in probe_row */
    void (*ask)(struct probe *probe);
    const char *good;        /* what a good store does */
    const char *consequence; /* and what follows */
    const char *otherwise;   /* what follows when it does something else */
    const char *
        unclaimed; /* what follows when it is not claimed, and so not asked; NULL: it is asked all the same */
};

struct probe_questions {
    const struct probe_question *all;
    unsigned count;
};

/* In this order. */
extern const struct probe_questions probe_objects, probe_labels, probe_conditions, probe_listings,
    probe_times;

bool probe_is_stopped(const struct probe *probe);
/* Delete all that we may have made; note what may be left. */
void probe_tidy_up(struct probe *probe);

/* ---- requests.  What came is in probe->io. */

/* The request, empty, for this object of ours; probe_ask submits it. */
struct bd_io *probe_prepare(struct probe *probe, uint32_t op, const char *leaf);
enum bd_status probe_ask(struct probe *probe);
void probe_name(const struct probe *probe, const char *leaf, object_name name);
/* An object of this name may exist from now on: to be removed at the end.  PUTs do so themselves. */
void probe_remember(struct probe *probe, const char *leaf);

struct put_what {
    struct bd_bytes body;
    const char *encoding, *media_type;
    const struct attrs *attrs;
    const char *if_match, *if_none_match;
};

/* Noise: the n-th body of a question, BODY_BYTES long. */
struct bd_bytes probe_body(const struct probe *probe, unsigned n);
enum bd_status probe_put_what(struct probe *probe, const char *leaf, struct put_what what);
enum bd_status probe_put(struct probe *probe, const char *leaf, unsigned body);
enum bd_status probe_get(struct probe *probe, const char *leaf);
enum bd_status probe_head(struct probe *probe, const char *leaf);
enum bd_status probe_delete(struct probe *probe, const char *leaf, const char *if_match);
/* Is this what the last GET gave? */
bool probe_gave(const struct probe *probe, struct bd_bytes bytes);
/* The tag that the last answer came with, or "". */
void probe_tag(const struct probe *probe, tag_text tag);

/* All names that begin with ours and `leaf`, behind `after` (NULL: all), in pages of `limit` (0: as large as they get).
 * BD_CORRUPT with a reason: the answers make no sense. */
enum bd_status probe_list(struct probe *probe, const char *leaf, const char *after, unsigned limit,
                          struct listing *listing);
void listing_clear(struct listing *listing);
/* NULL: not there. */
const struct listing_entry *listing_find(const struct listing *listing, const object_name name);

/* ---- what is said of the answers */

/* The store does something else than what is good, from which follows what the question has for that case. */
void probe_say(struct probe *probe, enum probe_verdict verdict, const char *format, ...)
    BD_PRINTF(3, 4);
/* The same, and something of its own follows. */
void probe_say_that(struct probe *probe, enum probe_verdict verdict, const char *consequence,
                    const char *format, ...) BD_PRINTF(4, 5);
/* The last request did not end as it should; what follows is the question's, or `consequence`. */
void probe_failed(struct probe *probe, enum probe_verdict verdict, const char *what);
void probe_failed_that(struct probe *probe, enum probe_verdict verdict, const char *consequence,
                       const char *what);

extern const char probe_cannot_store[], probe_damages[];

/* Put the n-th body there; false: it was said that this is not possible. */
bool probe_must_put(struct probe *probe, const char *leaf, unsigned body);
/* The same, and its tag, and a tag of the right form that no object has. */
bool probe_must_put_tagged(struct probe *probe, const char *leaf, tag_text tag, tag_text other);

#endif
