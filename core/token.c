/* SPDX-License-Identifier: Apache-2.0 */
/* The mount token: who has a volume. */
#include "token.h"

#include "ask.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define TOKEN_SHARED 0x7fffffffu /* reserved: s3backer's shared disk mode */
#define TAKE_TRIES 3
#define READ_BACK_AFTER_S 1

static void
first_word_of(const char *path, char *out, size_t out_bytes)
{
    FILE *file = fopen(path, "re");

    snprintf(out, out_bytes, "-");
    if (file == NULL)
        return;
    if (fgets(out, (int)out_bytes, file) == NULL || out[0] == '\n')
        snprintf(out, out_bytes, "-");
    out[strcspn(out, " \n")] = '\0';
    fclose(file);
}

/* Who we are: "MACHINE BOOT LOCK HOST". */
static void
owner_format(const char *lock_id, char *out, size_t out_bytes)
{
    char machine[48], boot[48], host[100] = "-";

    first_word_of("/etc/machine-id", machine, sizeof machine);
    first_word_of("/proc/sys/kernel/random/boot_id", boot, sizeof boot);
    gethostname(host, sizeof host - 1);
    host[sizeof host - 1] = '\0';
    snprintf(out, out_bytes, "%s %s %s %s", machine, boot, lock_id, host);
}

/* Was this token left by a daemon of this machine that is dead for sure?
 *
 * Same machine and host name, and: this boot and the very lock that we hold (containers share a boot, but not the
 * directory of locks; who named the volume otherwise has another lock, and may live); or another boot, so that all of that time is gone, where the machine has an
 * id by which to know it (a container or a fresh system may have none). */
static bool
is_dead_neighbour(const char *theirs, const char *ours)
{
    char machine[2][64], boot[2][64], lock[2][64], host[2][128];

    if (sscanf(theirs, "%63s %63s %63s %127s", machine[0], boot[0], lock[0], host[0]) != 4
        || sscanf(ours, "%63s %63s %63s %127s", machine[1], boot[1], lock[1], host[1]) != 4)
        return false;
    if (strcmp(machine[0], machine[1]) != 0 || strcmp(host[0], host[1]) != 0
        || strcmp(boot[0], "-") == 0 || strcmp(boot[1], "-") == 0)
        return false;
    if (strcmp(boot[0], boot[1]) == 0)
        return strcmp(lock[0], lock[1]) == 0;
    return strcmp(machine[0], "-") != 0;
}

static void
token_name(const struct layout *layout, object_name name)
{
    layout_control_name(layout, layout->is_format_2 ? TOKEN_LOCK_OBJECT : TOKEN_OBJECT, name);
}

struct stored_token {
    bool is_there;
    uint32_t value;
    char owner[BD_ATTR_VALUE_BYTES_MAX + 1];
    char tag[BD_TAG_BYTES_MAX + 1];
};

static int
token_read(struct backend *backend, const struct layout *layout, struct stored_token *token,
           struct error *why)
{
    struct backend_io *io = backend_io_new(backend);
    object_name name;
    enum bd_status status;
    const char *text;
    size_t bytes;
    int rc = 0;

    memset(token, 0, sizeof *token);
    if (io == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    token_name(layout, name);
    io->io.op = BD_HEAD_OBJECT;
    io->io.name = name;
    status = ask(io, NULL);
    if (status == BD_OK) {
        token->is_there = true;
        text = backend_io_attr(io, ATTR_TOKEN, &bytes);
        token->value = text != NULL ? (uint32_t)strtoul(text, NULL, 16) : 1;
        text = backend_io_attr(io, ATTR_OWNER, &bytes);
        snprintf(token->owner, sizeof token->owner, "%s", text != NULL ? text : "");
        snprintf(token->tag, sizeof token->tag, "%s", io->tag != NULL ? io->tag : "");
    } else if (status != BD_ABSENT) {
        rc = ask_failed(io, "look for the mount token", why);
    }
    backend_io_free(io);
    return rc;
}

static uint32_t
random_token(void)
{
    uint32_t value = 0;

    while (value == 0 || value == TOKEN_SHARED) {
        if (getrandom(&value, sizeof value, 0) != sizeof value)
            value = (uint32_t)clock_now_ns();
        value &= 0x7fffffffu;
    }
    return value;
}

static bool
is_ours(const struct stored_token *stored, const struct token *token)
{
    return stored->is_there && stored->value == token->value
           && strcmp(stored->owner, token->owner) == 0;
}

static bool
is_same(const struct stored_token *a, const struct stored_token *b)
{
    return a->is_there == b->is_there && a->value == b->value && strcmp(a->owner, b->owner) == 0
           && strcmp(a->tag, b->tag) == 0;
}

static int
token_delete(struct backend *backend, const struct layout *layout, const char *tag,
             struct error *why)
{
    struct backend_io *io = backend_io_new(backend);
    enum bd_status status;
    object_name name;
    int rc = 0;

    if (io == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    token_name(layout, name);
    io->io.op = BD_DELETE;
    io->io.name = name;
    if (tag != NULL && tag[0] != '\0'
        && backend_info(backend)->capabilities & BD_CAP_CONDITIONS_DELETE)
        io->io.if_match = tag;
    status = ask(io, NULL);
    if (status == BD_UNSUPPORTED && io->io.if_match != NULL) {
        io->io.if_match = NULL;
        status = ask(io, NULL);
    }
    /* BD_CONDITION: it changed since it was read, so it is not ours any more. */
    if (status != BD_OK && status != BD_ABSENT && status != BD_CONDITION)
        rc = ask_failed(io, "remove the mount token", why);
    backend_io_free(io);
    return rc;
}

/* Remove the token if it is ours, or not there; *was_ours is false for another's. */
static int
remove_ours(struct backend *backend, const struct layout *layout, const struct token *token,
            bool *was_ours, struct error *why)
{
    struct stored_token stored;
    int rc = token_read(backend, layout, &stored, why);

    *was_ours = rc == 0 && (!stored.is_there || is_ours(&stored, token));
    return *was_ours && stored.is_there ? token_delete(backend, layout, stored.tag, why) : rc;
}

static void
pause_s(unsigned seconds)
{
    struct timespec rest = { (time_t)seconds, 0 };

    while (nanosleep(&rest, &rest) != 0 && errno == EINTR)
        ;
}

/* The taking of a token: each of its puts sends the same bytes. */
struct taking {
    struct backend *backend;
    const struct layout *layout;
    struct token *token;
    struct stored_token old; /* what was there before */
    bool is_forced;
    char body[160];
    char tag[BD_TAG_BYTES_MAX + 1]; /* of the last put that was done; "" when none came */
    bool may_be_there;              /* a put was done, or may have been */
};

/* s3backer's two lines, which nobody parses, and the token, so that the bodies of no two tokens are alike: some
 * stores make their tags of the body alone. */
static void
taking_body(struct taking *taking)
{
    char host[100] = "-", when[32] = "";
    time_t now = time(NULL);
    struct tm utc;

    gethostname(host, sizeof host - 1);
    host[sizeof host - 1] = '\0';
    strftime(when, sizeof when, "%Y%m%dT%H%M%SZ", gmtime_r(&now, &utc));
    snprintf(taking->body, sizeof taking->body, "%s\n%s\n%08x\n", host, when, taking->token->value);
}

/* Put our token.  *was_unknown (NULL: nobody wants to know): as of ask().  Fills `why` unless the answer is BD_OK. */
static enum bd_status
token_put(struct taking *taking, const char *if_match, const char *if_none_match, bool *was_unknown,
          struct error *why)
{
    struct backend_io *io = backend_io_new(taking->backend);
    enum bd_status status = BD_FATAL;
    struct attrs attrs = { 0 };
    bool is_unknown = false;
    char value[16];
    object_name name;

    snprintf(value, sizeof value, "%08x", taking->token->value);
    if (io == NULL || attrs_add(&attrs, ATTR_TOKEN, value, strlen(value)) != 0
        || attrs_add(&attrs, ATTR_OWNER, taking->token->owner, strlen(taking->token->owner)) != 0) {
        error_set(why, -ENOMEM, "out of memory");
        goto free_io;
    }
    token_name(taking->layout, name);
    io->io.op = BD_PUT;
    io->io.name = name;
    io->io.body = taking->body;
    io->io.body_bytes = strlen(taking->body);
    io->io.media_type = "text/plain";
    io->io.attrs = attrs.list;
    io->io.attr_count = attrs.count;
    io->io.attr_stride = sizeof *attrs.list;
    io->io.if_match = if_match;
    io->io.if_none_match = if_none_match;
    status = ask(io, &is_unknown);
    if (was_unknown != NULL)
        *was_unknown = is_unknown;
    taking->may_be_there = taking->may_be_there || is_unknown || status == BD_OK;
    if (status == BD_OK)
        snprintf(taking->tag, sizeof taking->tag, "%s", io->tag != NULL ? io->tag : "");
    else
        ask_failed(io, "write the mount token", why);
free_io:
    attrs_clear(&attrs);
    backend_io_free(io);
    return status;
}

/* Our token in the place of `old`, on the condition that nothing has changed there.
 * 0: done.  -EOPNOTSUPP: the store cannot say.  -EBUSY: somebody was faster. */
static int
take_on_condition(struct taking *taking, struct error *why)
{
    const struct stored_token *old = &taking->old;
    struct stored_token now;
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
        rc = token_read(taking->backend, taking->layout, &now, why);
        if (rc != 0)
            return rc;
        if (is_ours(&now, taking->token)) {
            memcpy(taking->tag, now.tag, sizeof taking->tag);
            return 0;
        }
        if (!is_same(old, &now))
            return error_set(why, -EBUSY, "another mount of the same volume was faster");
        pause_s(1);
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
    struct stored_token now;
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
        rc = token_read(taking->backend, taking->layout, &now, why);
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
    status = token_put(taking, taking->tag, NULL, &was_unknown, why);
    token->has_if_match = status == BD_OK || (status == BD_CONDITION && was_unknown);
    return status == BD_OK || status == BD_CONDITION || status == BD_UNSUPPORTED
               ? 0
               : status_errno(status);
}

/* What we put last, without its attributes.  No two tokens have the same body, so a tag tells them apart. */
static bool
is_bare(const struct stored_token *now, const struct taking *taking)
{
    return now->owner[0] == '\0' && now->tag[0] != '\0' && strcmp(now->tag, taking->tag) == 0;
}

/* Whose token is there now?  Without attributes nobody can tell. */
static int
read_back(struct taking *taking, struct error *why)
{
    struct stored_token now;
    struct error ignored;
    int rc;

    if (!(backend_info(taking->backend)->capabilities & BD_CAP_ATTRS))
        return 0;
    rc = token_read(taking->backend, taking->layout, &now, why);
    if (rc != 0)
        return rc;
    if (is_ours(&now, taking->token))
        return 0;
    if (!now.is_there) {
        log_line(BD_WARNING, "the mount token was written, and is not there: the store forgets, or "
                             "shows what is old; nothing keeps another mount off the volume");
        return 0;
    }
    if (is_bare(&now, taking)) {
        token_delete(taking->backend, taking->layout, now.tag, &ignored);
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
    bool is_proven, was_ours;

    if (rc == 0) {
        rc = prove(taking, why);
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
        pause_s(READ_BACK_AFTER_S);
    }
    if (rc == 0)
        rc = read_back(taking, why);
    /* What was put must not lock others out.  (A put that the store carries out after this still does.) */
    if (rc != 0 && rc != -EBUSY && taking->may_be_there)
        remove_ours(taking->backend, taking->layout, token, &was_ours, &ignored);
    return rc;
}

int
token_take(struct backend *backend, const struct layout *layout, const char *lock_id,
           bool is_forced, struct token *token, struct error *why)
{
    struct taking taking = {
        .backend = backend, .layout = layout, .token = token, .is_forced = is_forced
    };
    const struct stored_token *old = &taking.old;
    int rc;

    memset(token, 0, sizeof *token);
    token->value = random_token();
    token->is_format_2 = layout->is_format_2;
    owner_format(lock_id, token->owner, sizeof token->owner);
    taking_body(&taking);
    rc = token_read(backend, layout, &taking.old, why);
    if (rc != 0)
        return rc;
    if (old->is_there && strcmp(old->owner, TOKEN_FENCE_OWNER) == 0)
        return error_set(why, -EBUSY,
                         "a volume of format 2 is here, or was begun, but its description is not: "
                         "--format=2 begins it again; to give it up, clear its mount token with "
                         "--reset-mounted-flag");
    if (old->is_there && !is_forced) {
        const char *host = strrchr(old->owner, ' ');

        if (!is_dead_neighbour(old->owner, token->owner))
            return error_set(why, -EBUSY,
                             "the volume is in use%s%s, says its mount token; if that is "
                             "not so any more, clear it with --reset-mounted-flag",
                             host != NULL ? " on" : "", host != NULL ? host : "");
        token->was_taken_over = true;
        log_line(BD_INFO,
                 "a daemon on this machine ended without giving the volume back; taking it "
                 "over");
    } else if (old->is_there) {
        log_line(BD_WARNING, "the volume has a mount token; overwritten as --force says");
    }
    rc = take(&taking, backend_info(backend)->capabilities & BD_CAP_CONDITIONS_PUT, why);
    if (rc == 0)
        why->text[0] = '\0'; /* what was refused as it should be is nobody's concern */
    return rc;
}

int
token_drop(struct backend *backend, const struct layout *layout, const struct token *token,
           struct error *why)
{
    const struct layout taken = { .prefix = layout->prefix, .is_format_2 = token->is_format_2 };
    bool was_ours;
    int rc = remove_ours(backend, &taken, token, &was_ours, why);

    if (rc == 0 && !was_ours)
        log_line(BD_WARNING, "the mount token is not ours any more; it stays");
    return rc;
}

int
token_reset(struct backend *backend, const struct layout *layout, struct error *why)
{
    return token_delete(backend, layout, NULL, why);
}
