/* SPDX-License-Identifier: Apache-2.0 */
/* Puts the layers together, top to bottom, and takes them apart again: for the mount and for every command
 * that works on a volume. */
#ifndef CORE_STACK_H
#define CORE_STACK_H

#include "backend.h"
#include "cachefile.h"
#include "chain.h"
#include "consistency.h"
#include "disk.h"
#include "keyring.h"
#include "layout.h"
#include "objects.h"
#include "plugin.h"
#include "settings.h"
#include "token.h"
#include "volume.h"
#include "volume_manifest.h"

/* Of two stacks that one command line describes. */
struct stack_side {
    const char *mine, *others; /* as options_take_side */
    const char *called;        /* to the user: "the source" */
};

/* There is no volume yet, and one is going to be made: its settings may still be changed, and whoever does not want it
 * refuses.  Called once, with nothing stored. */
struct stack;
typedef int stack_when_new(struct stack *stack, void *arg, struct error *why);

struct stack {
    stack_when_new *when_new; /* NULL: nobody is asked */
    void *when_new_arg;
    bool is_encryption_wanted; /* by who was asked, of a new volume */
    struct stack_side side;    /* set before stack_parse; {0}: there is one stack */
    /* set before stack_detect: a copy that is not complete is no reason to refuse */
    bool is_copied_to;
    struct settings settings;
    struct plugins plugins;
    struct options *options;
    /* from stack_open on */
    struct pool *pool;
    struct stats *stats;
    struct backend *backend;
    const char *place; /* the location, if it is a path on this machine; else NULL */
    /* from stack_detect on */
    struct keyring keyring;
    struct stored_manifest description; /* of format 2 */
    bool is_new;                        /* a volume of format 2 that is not made yet */
    struct chain *chain;
    struct layout layout;
    enum volume_block_0 block_0;
    bool is_damage_told; /* of the block that the password was tried on */
    /* Of who may write, from stack_lease on; NULL: the store cannot tell who has the volume. */
    struct lease *lease;
    /* from stack_file_open on */
    const char *identity, *volume; /* borrowed: what tells it from others, and what people say */
    struct chain *seal;            /* what local files are encrypted with; NULL: nothing */
    struct cachefile *file;        /* NULL: there is no cache file */
    uint64_t file_block_bytes;     /* of the volume, when it was opened */
    struct spill *spill;           /* NULL: there is nothing that a mount before could not store */
    uint32_t vouched; /* the lock that vouches for what is dirty in one of them; 0: none */
    bool file_is_vouched,
        spill_is_vouched; /* for that, or there is nothing dirty, or it was compared */
    /* from stack_build on; top to bottom: */
    struct disk disk;
    struct store *blocks; /* the cache, or its stand-in */
    bool has_cache;
    uint32_t cache_blocks; /* most that it holds */
    struct store *tier;    /* NULL without a cache file */
    struct store *consistency;
    struct objects *objects;
};

/* Options that one command alone has, and where their values go. */
struct stack_rows {
    const struct bd_option *rows;
    uint32_t count;
    void *fields;
};

/* Load the plugins and parse a command line; `more` may be NULL.  Words that are no options go to words, at most argc.
 * No thread is made.  After any of these, also failed ones, stack_close. */
int stack_parse(struct stack *stack, const struct stack_rows *more, int argc, char **argv,
                char **words, int *word_count, struct error *why);
/* Start the workers and open the backends on `location`. */
int stack_open(struct stack *stack, const char *location, struct error *why);
/* Is the location a path on this machine?  Before stack_open. */
bool stack_wants_path(const struct stack *stack);
/* What tells the volume from all others, and what people call it.  Gives both. */
int stack_names(const struct stack *stack, char **identity, char **volume, struct error *why);
/* The layout as far as options alone say it. */
int stack_layout_begin(struct stack *stack, struct error *why);
/* What the volume says of itself, to who has no password: sizes and names, of which nothing is authenticated. */
int stack_look(struct stack *stack, struct error *why);
/* Find out the volume's sizes and open the chain, which is tried on a block; again at each call.  Then build the
 * layers over them. */
int stack_detect(struct stack *stack, struct error *why);
/* The store's blocks and nothing over them, for commands that need no order among what they ask.  Without a chain, nothing is read or
 * written, but listed, looked at and deleted. */
int stack_build_objects(struct stack *stack, struct error *why);
/* How many requests, and listings, this store gets at once. */
unsigned stack_in_flight_max(const struct stack *stack);
unsigned stack_listers_max(const struct stack *stack);
/* From the store up: first its blocks, then, when all is done that concerns them alone, what is over them.  Until
 * hold_until_ns (clock.h; 0) another owner's writes may still be on their way. */
int stack_build_store(struct stack *stack, uint64_t hold_until_ns, struct error *why);
int stack_build_cache(struct stack *stack, struct error *why);
/* A chain that encrypts as the volume is, and does nothing else.  Gives it. */
int stack_seal(struct stack *stack, struct chain **out, struct error *why);
/* Open the cache file, if one is asked for, and the spill file, if there is one, and judge by the store's lock what is dirty
 * in them: before the lock is taken, so that who is refused leaves no trace.  Of a new volume: again after stack_claim. */
int stack_file_open(struct stack *stack, const char *identity, const char *volume,
                    struct error *why);
/* Note in them the locks that vouch for them from now on: the one that does and the next one, before that is taken; that one
 * alone, once it is.  `now` 0: none does yet. */
int stack_file_note(struct stack *stack, uint32_t now, uint32_t next, struct error *why);
/* Under the token, with the store's blocks there: what nobody vouches for is compared with the store, and the spill file is
 * stored. */
int stack_settle(struct stack *stack, struct error *why);
/* Is there anything on local disk that the store does not have, and our lock vouches for?  Then the lock must stay. */
bool stack_file_is_unsaved(const struct stack *stack);
/* How spill files of this volume are opened. */
struct spill_config;
void stack_spill_config(const struct stack *stack, struct spill_config *config);
/* Under the token, before stack_claim: from now on the lock beats, if the store honours conditions. */
int stack_lease(struct stack *stack, const struct token *token, struct error *why);
/* Under the token, before the first write.  -EBUSY: it is not the token of what was found since.  Format 2: make the
 * volume if it is new, and begin an epoch of it. */
int stack_claim(struct stack *stack, const struct token *token, struct error *why);
/* Until then (clock.h) the token is kept: a put of the volume's description may still be carried out.  0: it is settled. */
uint64_t stack_settled_at_ns(const struct stack *stack);
void stack_close(struct stack *stack);

#endif
