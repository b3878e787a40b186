/* SPDX-License-Identifier: Apache-2.0 */
/* Puts the layers together, top to bottom, and takes them apart again: for the mount and for every command
 * that works on a volume. */
#ifndef CORE_STACK_H
#define CORE_STACK_H

#include "backend.h"
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

struct stack {
    struct settings settings;
    struct plugins plugins;
    struct options *options;
    /* from stack_open on */
    struct pool *pool;
    struct stats *stats;
    struct backend *backend;
    /* from stack_detect on */
    struct keyring keyring;
    struct stored_manifest description; /* of format 2 */
    bool is_new;                        /* a volume of format 2 that is not made yet */
    struct chain *chain;
    struct layout layout;
    enum volume_block_0 block_0;
    bool is_damage_told; /* of the block that the password was tried on */
    /* from stack_build on; top to bottom: */
    struct disk disk;
    struct store *blocks; /* the cache, or its stand-in */
    bool has_cache;
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
/* What tells the volume from all others, and what people call it.  Gives both. */
int stack_names(const struct stack *stack, char **identity, char **volume, struct error *why);
/* Find out the volume's sizes and open the chain, which is tried on a block; again at each call.  Then build the
 * layers over them. */
int stack_detect(struct stack *stack, struct error *why);
int stack_build(struct stack *stack, struct error *why);
/* Under the token, before the first write.  -EBUSY: it is not the token of what was found since.  Format 2: make the
 * volume if it is new, and begin an epoch of it. */
int stack_claim(struct stack *stack, const struct token *token, struct error *why);
/* Until then (clock.h) the token is kept: a put of the volume's description may still be carried out.  0: it is settled. */
uint64_t stack_settled_at_ns(const struct stack *stack);
void stack_close(struct stack *stack);

#endif
