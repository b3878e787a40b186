/* SPDX-License-Identifier: Apache-2.0 */
/* The mount token: who has a volume. */
#include "token.h"

#include "ask.h"
#include "base/clock.h"
#include "base/log.h"
#include "holder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define TAKE_TRIES 3
#define LOOK_AGAIN_NS NS_PER_S
#define READ_BACK_AFTER_NS NS_PER_S

uint32_t
token_value(void)
{
    uint32_t value = 0;

    while (value == 0 || value == TOKEN_SHARED) {
        if (getrandom(&value, sizeof value, 0) != sizeof value)
            value = (uint32_t)clock_now_ns();
        value &= 0x7fffffffu;
    }
    return value;
}

uint64_t
token_hold_until_ns(const struct token *token)
{
    return token->taken_ns + token->hold_ms * NS_PER_MS;
}

static bool
is_ours(const struct lock *stored, const struct token *token)
{
    return lock_is_of(stored, token->value, token->owner);
}

/* A lock to be removed. */
struct removing {
    char tag[BD_TAG_BYTES_MAX + 1]; /* of it; "" not known, and whichever is there goes */
    uint64_t until_ns, settle_ns;
};

static enum bd_status
try_delete(struct backend *backend, const struct layout *layout, const struct removing *removing,
           struct error *why)
{
    struct backend_io *io = backend_io_new(backend);
    enum bd_status status;
    object_name name;

    if (io == NULL) {
        error_set(why, -ENOMEM, "out of memory");
        return BD_FATAL;
    }
    lock_name(layout, name);
    io->io.op = BD_DELETE;
    io->io.name = name;
    if (removing->tag[0] != '\0' && backend_info(backend)->capabilities & BD_CAP_CONDITIONS_DELETE)
        io->io.if_match = removing->tag;
    status = ask_until(io, removing->until_ns);
    if (status == BD_UNSUPPORTED && io->io.if_match != NULL) {
        io->io.if_match = NULL;
        status = ask_until(io, removing->until_ns);
    }
    /* BD_CONDITION: it changed since it was read, so it is not ours any more. */
    if (status != BD_OK && status != BD_ABSENT && status != BD_CONDITION)
        ask_failed(io, "remove the mount token", why);
    else
        status = BD_OK;
    backend_io_free(io);
    return status;
}

/* An attempt without an answer may be carried out later, and then removes whatever lock is there.  So the lock stays where it is,
 * which keeps everybody off, until that cannot be any more. */
static int
token_delete(struct backend *backend, const struct layout *layout, const struct removing *removing,
             struct error *why)
{
    struct error reason;

    for (unsigned i = 0; i < TAKE_TRIES; i++) {
        enum bd_status status;
        struct lock now;

        if (clock_now_ns() >= removing->until_ns)
            return error_set(why, -EIO,
                             "the mount token could not be removed in the time that it was surely "
                             "ours, and stays: a mount on this machine takes it over");
        status = try_delete(backend, layout, removing, &reason);
        if (status == BD_OK)
            return 0;
        if (status != BD_UNKNOWN)
            return error_set(why, status_errno(status), "%s", reason.text);
        ask_wait_settled(clock_now_ns() + removing->settle_ns);
        if (holder_look(backend, layout, &now, why) != 0)
            return -EIO;
        if (!now.is_there || (removing->tag[0] != '\0' && strcmp(now.tag, removing->tag) != 0))
            return 0;
        if (removing->tag[0] == '\0')
            return error_set(why, -EIO,
                             "%s; a mount token is there now, that one or the one of somebody who "
                             "has mounted since: if still nobody uses the volume, try again",
                             reason.text);
    }
    return error_set(why, -EIO, "%s", reason.text);
}

static void
tell_not_ours(void)
{
    log_line(BD_WARNING, "the mount token is not ours any more; it stays");
}

static struct removing
removing_of(const struct token *token, const struct lock *lock)
{
    struct removing removing = { .until_ns = token->until_ns,
                                 .settle_ns = token->settle_ms * NS_PER_MS };

    memcpy(removing.tag, lock->tag, sizeof removing.tag);
    return removing;
}

/* The taking of a token: each of its puts sends the same bytes.  (Without a lease: whether the store honours conditions,
 * and so whether there can be one, is not known yet.) */
struct taking {
    struct backend *backend;
    const struct layout *layout;
    struct token *token;
    struct lock old; /* what was there before */
    bool is_forced;
    bool never_without;             /* a condition */
    char tag[BD_TAG_BYTES_MAX + 1]; /* of the last put that was done; "" when none came */
    bool may_be_there;              /* a put was done, or may have been */
};

/* A lock to be put, and what became of that. */
struct putting {
    const struct lock *lock;
    const char *when;
    const char *if_match, *if_none_match; /* NULL: no such condition */
    bool is_unknown;                      /* as of ask() */
    char tag[BD_TAG_BYTES_MAX + 1];       /* once it is done; "" when none came */
};

/* Fills `why` unless the answer is BD_OK. */
static enum bd_status
put(struct backend *backend, const struct layout *layout, struct putting *putting,
    struct error *why)
{
    struct backend_io *io = backend_io_new(backend);
    struct lock_text text = { .attrs = { 0 } };
    enum bd_status status = BD_FATAL;
    struct error reason = { "" };
    object_name name;

    if (io == NULL || lock_put(io, putting->lock, putting->when, &text) != 0) {
        error_set(why, -ENOMEM, "out of memory");
        goto free_io;
    }
    lock_name(layout, name);
    io->io.name = name;
    io->io.if_match = putting->if_match;
    io->io.if_none_match = putting->if_none_match;
    status = ask(io, &putting->is_unknown);
    if (status == BD_OK)
        snprintf(putting->tag, sizeof putting->tag, "%s", io->tag != NULL ? io->tag : "");
    else
        error_set(why, ask_failed(io, "write the mount token", &reason), "%s%s", reason.text,
                  status == BD_DENIED ? "; who only reads needs none: --readOnly" : "");
free_io:
    attrs_clear(&text.attrs);
    backend_io_free(io);
    return status;
}

/* In the place of our token, the lock that was there before, with the beat at which it stood still.  The body says another
 * time, so it is another version to whoever watches.  An owner who lives all the same finds it his own, and goes on. */
static int
put_back(struct backend *backend, const struct layout *layout, const struct token *token,
         const struct lock *before, const char *tag, struct error *why)
{
    bool has_conditions = backend_info(backend)->capabilities & BD_CAP_CONDITIONS_PUT;
    char when[LOCK_WHEN_BYTES];
    struct putting putting = { .lock = before, .when = when };
    struct error reason;
    enum bd_status status;
    struct lock now;
    int rc = 0;

    lock_now(when);
    putting.if_match = has_conditions && tag[0] != '\0' ? tag : NULL;
    status = put(backend, layout, &putting, &reason);
    if (status == BD_CONDITION)
        rc = holder_look(backend, layout, &now, &reason);
    if (status == BD_CONDITION && rc == 0 && !is_ours(&now, token)) {
        /* An attempt whose answer was lost has done it; or somebody else has come. */
        if (!lock_is_of(&now, before->value, before->owner))
            tell_not_ours();
        return 0;
    }
    if (status == BD_UNSUPPORTED || (status == BD_CONDITION && rc == 0 && !token->has_if_match)) {
        putting.if_match = NULL;
        status = put(backend, layout, &putting, &reason);
    }
    if (rc == 0 && status == BD_OK)
        return 0;
    return error_set(
        why, rc != 0 ? rc : status_errno(status),
        "the lock that was on the volume could not be put back, and ours is there now: %s",
        reason.text);
}

/* In the place of our token, what was there before it; which may be nothing. */
static int
leave(struct backend *backend, const struct layout *layout, const struct token *token,
      const struct lock *before, struct error *why)
{
    struct removing removing;
    struct lock now;
    int rc = holder_look(backend, layout, &now, why);

    if (rc != 0)
        return rc;
    removing = removing_of(token, &now);
    if (now.is_there && is_ours(&now, token))
        return before->is_there ? put_back(backend, layout, token, before, now.tag, why)
                                : token_delete(backend, layout, &removing, why);
    if (now.is_there || before->is_there)
        tell_not_ours();
    return 0;
}

/* Put our token.  *was_unknown (NULL: nobody wants to know): as of ask().  Fills `why` unless the answer is BD_OK. */
static enum bd_status
token_put(struct taking *taking, const char *if_match, const char *if_none_match, bool *was_unknown,
          struct error *why)
{
    const struct token *token = taking->token;
    struct lock lock = { .value = token->value,
                         .is_local = token->is_local,
                         .hold_ms = token->is_shared ? 0 : token->hold_ms };
    struct putting putting = {
        .lock = &lock, .when = token->when, .if_match = if_match, .if_none_match = if_none_match
    };
    enum bd_status status;

    memcpy(lock.owner, token->owner, sizeof lock.owner);
    status = put(taking->backend, taking->layout, &putting, why);
    if (was_unknown != NULL)
        *was_unknown = putting.is_unknown;
    taking->may_be_there = taking->may_be_there || putting.is_unknown || status == BD_OK;
    if (status == BD_OK)
        memcpy(taking->tag, putting.tag, sizeof taking->tag);
    return status;
}

/* Our token in the place of `old`, on the condition that nothing has changed there.
 * 0: done.  -EOPNOTSUPP: the store cannot say.  -EBUSY: somebody was faster. */
static int
take_on_condition(struct taking *taking, struct error *why)
{
    const struct lock *old = &taking->old;
    struct lock now;
    int rc;

    if (old->is_there && old->tag[0] == '\0')
        return -EOPNOTSUPP;
    for (unsigned i = 0; i < TAKE_TRIES; i++) {
        enum bd_status status = token_put(taking, old->is_there ? old->tag : NULL,
                                          old->is_there ? NULL : "*", NULL, why);

        if (status == BD_OK)
            return 0;
        if (status != BD_CONDITION)
            return status == BD_UNSUPPORTED ? -EOPNOTSUPP : status_errno(status);
        /* Ours: an attempt whose answer was lost.  Another: it was first.  As before: that makes no sense,
         * unless the store shows us something old; so look again before a judgement. */
        rc = holder_look(taking->backend, taking->layout, &now, why);
        if (rc != 0)
            return rc;
        if (is_ours(&now, taking->token)) {
            memcpy(taking->tag, now.tag, sizeof taking->tag);
            return 0;
        }
        if (!lock_is_same(old, &now))
            return error_set(why, -EBUSY, "another mount of the same volume was faster");
        ask_sleep(LOOK_AGAIN_NS);
    }
    /* The old token has been judged, and it is still the same: it may go.  But where none is seen, there may be
     * one that must not go. */
    if (old->is_there || taking->is_forced)
        return -EOPNOTSUPP;
    return error_set(why, -EIO,
                     "the store refuses to write the mount token as if there were one, and shows "
                     "none; try again later (--force takes the volume all the same)");
}

/* May a put that must be refused be believed?  By what the store makes of ones that only write our own token
 * over itself, now that it is there.  In a store that honours conditions none of them touches a token that has
 * become another's; in one that does not, what is read back at the end counts.
 *
 * Sets token->has_if_absent, has_if_match. */
static int
prove(struct taking *taking, struct error *why)
{
    struct token *token = taking->token;
    struct lock now;
    char wrong[BD_TAG_BYTES_MAX + 1];
    enum bd_status status;
    bool was_unknown = false;
    int rc;

    status = token_put(taking, NULL, "*", NULL, why);
    token->has_if_absent = status == BD_CONDITION;
    if (status == BD_OK || status == BD_UNSUPPORTED)
        return 0;
    if (status != BD_CONDITION)
        return status_errno(status);
    if (taking->tag[0] == '\0') {
        rc = holder_look(taking->backend, taking->layout, &now, why);
        if (rc != 0 || now.tag[0] == '\0')
            return rc;
        memcpy(taking->tag, now.tag, sizeof taking->tag);
    }
    ask_other_tag(taking->tag, wrong);
    status = token_put(taking, wrong, NULL, NULL, why);
    if (status == BD_OK || status == BD_UNSUPPORTED)
        return 0;
    if (status != BD_CONDITION)
        return status_errno(status);
    /* A shared one may have been put by another of us since. */
    status = token_put(taking, taking->tag, NULL, &was_unknown, why);
    token->has_if_match =
        status == BD_OK || (status == BD_CONDITION && (was_unknown || token->is_shared));
    return status == BD_OK || status == BD_CONDITION || status == BD_UNSUPPORTED
               ? 0
               : status_errno(status);
}

/* What we put last, without its attributes.  No two tokens have the same body, so a tag tells them apart. */
static bool
is_bare(const struct lock *now, const struct taking *taking)
{
    return now->owner[0] == '\0' && now->tag[0] != '\0' && strcmp(now->tag, taking->tag) == 0;
}

/* Whose token is there now?  Without attributes nobody can tell. */
static int
read_back(struct taking *taking, struct error *why)
{
    struct removing removing;
    struct lock now;
    struct error ignored;
    int rc;

    if (!(backend_info(taking->backend)->capabilities & BD_CAP_ATTRS))
        return 0;
    rc = holder_look(taking->backend, taking->layout, &now, why);
    if (rc != 0)
        return rc;
    if (is_ours(&now, taking->token)) {
        memcpy(taking->tag, now.tag, sizeof taking->tag);
        return 0;
    }
    if (!now.is_there) {
        log_line(BD_WARNING, "the mount token was written, and is not there: the store forgets, or "
                             "shows what is old; nothing keeps another mount off the volume");
        return 0;
    }
    if (is_bare(&now, taking)) {
        removing = removing_of(taking->token, &now);
        token_delete(taking->backend, taking->layout, &removing, &ignored);
        return error_set(
            why, -EIO,
            "the store does not keep the attributes of objects, in which sizes and the "
            "mount token are stored; does a proxy remove them?");
    }
    return error_set(why, -EBUSY, "another mount of the same volume was faster");
}

/* By conditional puts where the store honours them, which is tried and not taken on trust: some stores ignore
 * conditions, some refuse them.
 *
 * Where they are worth nothing, s3backer's way is left: look, put, and after a while look whose token is there.
 * Of machines that put within that while, the last one has the volume and the others see it.  It does not help
 * against a put that takes longer than the while, or that the store carries out late: then two may have it. */
static int
take(struct taking *taking, bool is_claimed, struct error *why)
{
    struct token *token = taking->token;
    struct error ignored;
    int rc = is_claimed ? take_on_condition(taking, why) : -EOPNOTSUPP;
    bool is_proven;

    if (rc == 0) {
        rc = prove(taking, why);
    } else if (rc == -EOPNOTSUPP && taking->never_without) {
        rc = error_set(why, -EIO,
                       "the store does not replace the lock on the condition that nobody else has; "
                       "only --reset-mounted-flag is left, if you know that its owner is dead");
    } else if (rc == -EOPNOTSUPP) {
        enum bd_status status = token_put(taking, NULL, NULL, NULL, why);

        rc = status == BD_OK ? 0 : status_errno(status);
    }
    is_proven = taking->old.is_there ? token->has_if_match : token->has_if_absent;
    if (rc == 0 && !is_proven) {
        log_line(BD_WARNING,
                 "the store %s: of two machines that mount the volume at the same instant, both "
                 "may succeed",
                 is_claimed ? "does not honour conditions of writes" : "has no conditional writes");
        ask_sleep(READ_BACK_AFTER_NS);
    }
    if (rc == 0)
        rc = read_back(taking, why);
    /* What was put must not lock others out.  (A put that the store carries out after this still does.)  A shared one
     * others rely on by now. */
    if (rc != 0 && rc != -EBUSY && taking->may_be_there && !token->is_shared)
        leave(taking->backend, taking->layout, token, &taking->old, &ignored);
    return rc;
}

static void
token_begin(struct token *token, const struct layout *layout, const struct token_wish *wish)
{
    memset(token, 0, sizeof *token);
    token->value = wish->value != 0 ? wish->value : token_value();
    token->is_local = wish->is_local;
    token->is_format_2 = layout->is_format_2;
    token->settle_ms = wish->settle_ms;
    token->until_ns = UINT64_MAX;
    token->since_ns = clock_now_ns();
    holder_format(wish->lock_id, token->owner, sizeof token->owner);
    lock_now(token->when);
}

static int
token_end(struct taking *taking, struct error *why)
{
    uint64_t capabilities = backend_info(taking->backend)->capabilities;
    int rc = take(taking, capabilities & BD_CAP_CONDITIONS_PUT, why);

    if (rc == 0)
        why->text[0] = '\0'; /* what was refused as it should be is nobody's concern */
    memcpy(taking->token->tag, taking->tag, sizeof taking->token->tag);
    taking->token->epoch = taking->old.lease.epoch + 1;
    taking->token->taken_ns = clock_now_ns();
    return rc;
}

/* Who has it, when he was last heard of, and the ways out. */
static int
refuse(const struct lock *lock, struct error *why)
{
    const char *host = lock_host(lock);
    time_t at = (time_t)lock->lease.at_s, ago = time(NULL) - at;
    char when[32] = "";
    struct tm utc;

    if (lock_is_shared(lock))
        return error_set(
            why, -EBUSY,
            "the volume is mounted with --sharedDiskMode, or was: its mount token stays "
            "when that ends; if no machine has it mounted so any more, clear it with "
            "--reset-mounted-flag");
    if (lock->lease.beat == 0)
        return error_set(why, -EBUSY,
                         "the volume is in use%s%s, says its mount token; if that is not so any "
                         "more, clear it with --reset-mounted-flag",
                         host != NULL ? " on " : "", host != NULL ? host : "");
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&at, &utc));
    return error_set(
        why, -EBUSY,
        "the volume is in use on %s, which renewed its lock last at %s (%lld s ago, if "
        "its clock is right); if that machine is dead, `bucketdisk takeover` waits "
        "until it surely writes no more, about %llu s, and frees the volume; "
        "--reset-mounted-flag frees it at once",
        host != NULL ? host : "another machine", when, (long long)(ago > 0 ? ago : 0),
        (unsigned long long)((lock->lease.lease_ms + lock->lease.settle_ms) / 1000));
}

/* What is there before ours comes. */
static int
look_for_others(struct taking *taking, struct error *why)
{
    int rc = holder_look(taking->backend, taking->layout, &taking->old, why);

    if (rc == 0 && lock_is_fence(&taking->old))
        return error_set(why, -EBUSY,
                         "a volume of format 2 is here, or was begun, but its description is not: "
                         "--format=2 begins it again; to give it up, clear its mount token with "
                         "--reset-mounted-flag");
    return rc;
}

/* So long what its owner has sent may still be carried out.  One who may live sends until his lease ends; and he may have waited
 * for others himself. */
static uint64_t
hold_ms(const struct taking *taking, const struct token_wish *wish, bool may_live)
{
    const struct lock_lease *lease = &taking->old.lease;
    uint64_t ms = lease->settle_ms > wish->settle_ms ? lease->settle_ms : wish->settle_ms;

    if (backend_info(taking->backend)->capabilities & BD_CAP_LOCAL)
        ms = 0;
    ms += may_live ? lease->lease_ms : 0;
    return ms > taking->old.hold_ms ? ms : taking->old.hold_ms;
}

/* A dead daemon's lock. */
static int
take_after(struct taking *taking, const struct token_wish *wish, struct error *why)
{
    struct lock *old = &taking->old;
    enum holder_kin kin = holder_kin(old, wish->lock_id);
    bool may_be_copied = kin == HOLDER_BEFORE_BOOT && old->lease.beat > 0;
    int rc;

    if (kin == HOLDER_OTHER)
        return refuse(old, why);
    if (!wish->is_passing && old->is_local && old->value != wish->vouched)
        return error_set(
            why, -EBUSY,
            "a daemon with --durability=cache ended on this machine before all that it "
            "had acknowledged was stored: mount with its --block-cache-file, which has "
            "the rest; --force goes on without it, and the filesystem may be beyond "
            "repair then");
    if (!wish->is_passing && wish->kept != NULL && old->value == wish->kept->token
        && old->value != wish->vouched)
        return error_set(
            why, -EBUSY,
            "the daemon that had the volume before on this machine left what was not "
            "stored in %s: mount with that --block-cache-file, or the "
            "--spill-directory that it is in; --block-cache-discard-dirty-blocks goes on "
            "without it",
            wish->kept->path);
    /* Who lives beats each third of a lease. */
    if (may_be_copied) {
        rc = holder_watch(taking->backend, taking->layout, old->lease.lease_ms * NS_PER_MS / 2, old,
                          why);
        if (rc != 0)
            return rc;
    }
    taking->token->before = *old;
    taking->token->hold_ms = hold_ms(taking, wish, may_be_copied);
    if (old->is_there)
        log_line(BD_INFO, "a mount or a command on this machine ended without giving the volume "
                          "back; taking it over");
    return 0;
}

static int
take_alone(struct backend *backend, const struct layout *layout, const struct token_wish *wish,
           struct token *token, struct error *why)
{
    struct taking taking = {
        .backend = backend, .layout = layout, .token = token, .is_forced = wish->is_forced
    };
    const struct lock *old = &taking.old;
    int rc = look_for_others(&taking, why);

    if (rc == 0 && wish->vouched != 0 && (!old->is_there || old->value != wish->vouched))
        rc = error_set(why, -EBUSY, "the volume's lock has just changed; try again");
    if (rc == 0 && old->is_there && !wish->is_forced)
        rc = take_after(&taking, wish, why);
    if (rc != 0)
        return rc;
    if (old->is_there && wish->is_forced) {
        bool is_dead = holder_kin(old, wish->lock_id) == HOLDER_DEAD;

        if (is_dead || wish->is_passing)
            token->before = *old;
        token->hold_ms = hold_ms(&taking, wish, !is_dead);
        log_line(BD_WARNING, "the volume has a mount token; it is overwritten, as was asked for");
    }
    return token_end(&taking, why);
}

int
token_take(struct backend *backend, const struct layout *layout, const struct token_wish *wish,
           struct token *token, struct error *why)
{
    token_begin(token, layout, wish);
    return take_alone(backend, layout, wish, token, why);
}

/* It is there: only what the store's conditions are worth is left to find out, and that changes nothing, for what is put over
 * it says the same. */
static int
join(struct taking *taking, struct error *why)
{
    bool has_conditions = backend_info(taking->backend)->capabilities & BD_CAP_CONDITIONS_PUT;
    int rc;

    memcpy(taking->tag, taking->old.tag, sizeof taking->tag);
    if (!taking->layout->is_format_2 || !has_conditions)
        return 0;
    rc = prove(taking, why);
    return rc == 0 ? read_back(taking, why) : rc;
}

int
token_take_shared(struct backend *backend, const struct layout *layout, bool is_forced,
                  uint64_t settle_ms, struct token *token, struct error *why)
{
    const struct token_wish wish = { .lock_id = "-",
                                     .value = TOKEN_SHARED,
                                     .settle_ms = settle_ms };
    struct taking taking = {
        .backend = backend, .layout = layout, .token = token, .is_forced = is_forced
    };
    const struct lock *old = &taking.old;
    const char *host;
    int rc;

    token_begin(token, layout, &wish);
    token->owner[0] = '\0';
    token->is_shared = true;
    rc = look_for_others(&taking, why);
    if (rc != 0)
        return rc;
    if (lock_is_shared(old)) {
        rc = join(&taking, why);
        if (rc == 0)
            why->text[0] = '\0';
        return rc;
    }
    host = lock_host(old);
    /* Also a dead neighbour's: what it has left is for one who has the volume alone. */
    if (old->is_there && !is_forced)
        return error_set(
            why, -EBUSY,
            "the volume is in use%s%s by somebody who does not share it, says its mount token; "
            "unmount it there, or if a daemon died with it, mount and unmount it once without "
            "--sharedDiskMode",
            host != NULL ? " on " : "", host != NULL ? host : "");
    if (old->is_there) {
        token->hold_ms = hold_ms(&taking, &wish, true);
        log_line(BD_WARNING, "the volume has a mount token; it is overwritten, as was asked for");
    }
    return token_end(&taking, why);
}

int
token_take_from(struct backend *backend, const struct layout *layout, const struct token_wish *wish,
                const struct lock *dead, struct token *token, struct error *why)
{
    struct taking taking = {
        .backend = backend, .layout = layout, .token = token, .old = *dead, .never_without = true
    };

    token_begin(token, layout, wish);
    token->before = *dead;
    return token_end(&taking, why);
}

int
token_drop(struct backend *backend, const struct layout *layout, struct token *token,
           struct error *why)
{
    token->before.is_there = false;
    return token_give_back(backend, layout, token, why);
}

int
token_give_back(struct backend *backend, const struct layout *layout, const struct token *token,
                struct error *why)
{
    const struct layout taken = { .prefix = layout->prefix, .is_format_2 = token->is_format_2 };

    if (token->is_shared) {
        log_line(BD_INFO,
                 "the volume's mount token says that it is shared, and stays; when no machine "
                 "has the volume mounted any more, --reset-mounted-flag clears it");
        return 0;
    }
    return leave(backend, &taken, token, &token->before, why);
}

int
token_reset(struct backend *backend, const struct layout *layout, uint64_t settle_ms,
            struct error *why)
{
    const struct removing removing = { .until_ns = UINT64_MAX, .settle_ns = settle_ms * NS_PER_MS };

    return token_delete(backend, layout, &removing, why);
}
