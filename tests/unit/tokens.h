/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of the mount token: a store whose conditions are worth what the test says, and locks of others.
 *
 * Who includes it never sleeps, and waits for nobody's beat: pauses are counted. */
#ifndef UNIT_TOKENS_H
#define UNIT_TOKENS_H

#include "backends.h"

#include "base/util.h"
#include "holder.h"
#include "token.h"

#define TOKEN "v/s3backer-mounted"

extern const struct layout token_layout;
extern const struct token_wish token_willing;

/* What happens while somebody's lock is watched. */
extern void (*token_meanwhile)(void);
/* Made so far. */
extern unsigned pauses_s;
/* The id of this machine, whatever the one that runs the test has; NULL: it has none, as a fresh container. */
extern const char *machine_id;

int take(struct test_store *store, const char *lock_id, bool is_forced, struct token *token);
bool is_mounted(struct test_store *store);
void expect_owner(struct test_store *store, const char *owner);
/* The words of our own owner line; false when this machine cannot be told from others. */
bool own_words(struct test_store *store, char words[4][128]);

/* A lock of another machine, as its lease has left it. */
void put_beating(struct test_store *store, const char *owner, uint64_t beat);
/* A lock of this machine, whose daemon is dead. */
void put_dead_neighbours(struct test_store *store, char owner[520]);

/* ---- stores of which conditions are worth more or less */

extern const char rival_owner[];

/* How a layer over the memory treats a condition. */
enum treatment { HONOURS, IGNORES, REFUSES, NEVER_HOLDS };

struct variant {
    enum treatment if_absent, if_match, delete_if_match;
    /* Before or after this put, counted from 1, somebody else puts a token, whatever is there; 0: never. */
    unsigned rival_before, rival_after;
    /* This put is carried out, and its answer lost; those behind it are denied.  And this HEAD is denied. */
    unsigned lost_put, denied_head;
    bool strips_attrs;
    unsigned puts, heads;
    uint64_t first_put_ns;
    const struct bd_host *host;
    const struct bd_lower *lower;
    unsigned deletes, lost_deletes; /* so many get no answer */
    bool loses_them;                /* and are not carried out either */
    bool comes_after_delete;        /* the rival */
    uint64_t deadline_ns;           /* of the last one */
};
extern struct variant variant;

/* A store that does as `variant` says, which is cleared. */
void variant_fresh(struct test_store *store);

#endif
