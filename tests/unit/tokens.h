/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of the mount token: locks of others.
 *
 * Who includes it never sleeps, and waits for nobody's beat: pauses are counted. */
#ifndef UNIT_TOKENS_H
#define UNIT_TOKENS_H

#include "variant_store.h"

#include "base/util.h"
#include "holder.h"
#include "token.h"

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

#endif
