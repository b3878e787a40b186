/* SPDX-License-Identifier: Apache-2.0 */
/* The mount token: who may have a volume, decided on its lock object (lock.h) at the start.
 *
 * While it is mounted, core/lease.c keeps the lock.
 * At start and stop only: these functions wait for the store.  Of the layout they need the prefix and is_format_2. */
#ifndef CORE_TOKEN_H
#define CORE_TOKEN_H

#include "backend.h"
#include "base/error.h"
#include "layout.h"
#include "locallock.h"
#include "lock.h"

#include <stdbool.h>

/* The mount token of this process. */
struct token {
    uint32_t value;
    char
        owner[BD_ATTR_VALUE_BYTES_MAX + 1]; /* machine, boot, lock, host name; "" if it is shared */
    bool is_format_2;                       /* which object it is */
    /* Seen of the store: it honours if_none_match "*" and if_match of a PUT. */
    bool has_if_absent, has_if_match;
    /* The lock in whose place ours is, if that can be put back: of a dead daemon of this machine, or for who is only passing.
     * Else is_there is false. */
    struct lock before;
    bool is_shared; /* with all others who have the volume so: it stays when we go */
    bool is_local;  /* as wished */
    /* so long from taken_ns on what the owner of the lock that was there before ours sends may still be carried out; 0: of
     * nobody's */
    uint64_t hold_ms;
    uint64_t taken_ns;
    uint64_t settle_ms; /* as wished */
    /* when our right to it ends, which has a lease: set by who stops that; else UINT64_MAX */
    uint64_t until_ns;
    /* What a lease begins with: */
    char when[LOCK_WHEN_BYTES];
    char tag[BD_TAG_BYTES_MAX + 1]; /* of the lock as it is there now; "" when none came */
    uint64_t since_ns;              /* nobody saw our lock before this */
    uint64_t epoch;
};

struct token_wish {
    const char *lock_id; /* of the local lock, which the caller holds */
    bool is_forced;
    bool is_passing; /* for token_give_back: what is there stays, a dead daemon's or another's */
    uint32_t value;  /* of token_value, for who must note it first; 0: any */
    bool is_local;   /* what will be acknowledged may be in a cache file alone */
    const struct locallock_kept *kept; /* here, by who had the volume before; NULL: nothing */
    uint32_t
        vouched; /* the lock that must be there, for files here go with it; 0: none of them does */
    uint64_t settle_ms; /* so long the store may carry out what it did not answer */
};
uint32_t token_value(void);
/* Until then what the owner before may have sent is waited for; in the past or 0: nothing. */
uint64_t token_hold_until_ns(const struct token *token);

/* Put the token.  Refused with -EBUSY when another one is there, unless it is a stale one of this machine or wish->is_forced.
 * One of this machine that may be a living copy's is watched for half a lease first; -EINTR then: as of holder_watch. */
int token_take(struct backend *backend, const struct layout *layout, const struct token_wish *wish,
               struct token *token, struct error *why);
/* The same, in the place of `dead` alone, whose owner surely writes no more; never without a condition. */
int token_take_from(struct backend *backend, const struct layout *layout,
                    const struct token_wish *wish, const struct lock *dead, struct token *token,
                    struct error *why);
/* The token that all have who share the volume: put it, or find it there.  Refused with -EBUSY when another one is there,
 * unless `is_forced`.  has_if_match is found out only where there is format 2, or nothing was. */
int token_take_shared(struct backend *backend, const struct layout *layout, bool is_forced,
                      uint64_t settle_ms, struct token *token, struct error *why);
/* Before until_ns, remove it, if it is still ours and not shared (without an answer that takes settle_ms, for a removal that is
 * carried out late must not meet another's): the volume is free, and whatever token.before meant has been seen to.  Of the layout it needs the prefix alone. */
int token_drop(struct backend *backend, const struct layout *layout, struct token *token,
               struct error *why);
/* The same, but a dead daemon's lock is put back, for who knows that one by its value and owner.  If that fails, ours stays:
 * this machine takes it over, others are kept off. */
int token_give_back(struct backend *backend, const struct layout *layout, const struct token *token,
                    struct error *why);
/* Remove whatever token is there. */
int token_reset(struct backend *backend, const struct layout *layout, uint64_t settle_ms,
                struct error *why);

#endif
