/* SPDX-License-Identifier: Apache-2.0 */
/* A store in memory whose conditions are worth what a test says, and whose answers may be lost. */
#ifndef UNIT_VARIANT_STORE_H
#define UNIT_VARIANT_STORE_H

#include "backends.h"

#define TOKEN "v/s3backer-mounted"

/* Of the token that somebody else puts. */
extern const char rival_owner[];

/* How a condition is treated. */
enum treatment { HONOURS, IGNORES, REFUSES, NEVER_HOLDS };

struct variant {
    enum treatment if_absent, if_match, delete_if_match;
    /* Before or after this put, counted from 1, somebody else puts a token, whatever is there; 0: never. */
    unsigned rival_before, rival_after;
    bool comes_after_delete; /* the rival */
    /* So many are carried out, and their answers lost; so many are neither carried out nor answered. */
    unsigned lost_puts, lost_deletes;
    unsigned dropped_puts, dropped_deletes;
    unsigned blind_heads;      /* so many find nothing */
    unsigned first_denied_put; /* this one and all behind it are; 0: none */
    unsigned denied_head;      /* this one is; 0: none */
    bool deletes_are_denied;
    bool strips_attrs;
    bool has_no_tags;
    bool always_has_more; /* to list */

    /* What has come. */
    unsigned puts, puts_conditioned, heads, deletes;
    uint64_t first_put_ns;
    uint64_t deadline_ns; /* of the last delete */

    const struct bd_host *host;
    const struct bd_lower *lower;
};
extern struct variant variant;

/* A store that does as `variant` says, which is cleared. */
void variant_fresh(struct test_store *store);

#endif
