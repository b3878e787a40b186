/* SPDX-License-Identifier: Apache-2.0 */
/* A volume as it is stored. */
#include "volume.h"

#include "base/clock.h"
#include "base/log.h"
#include "encoding.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define TOKEN_OBJECT "s3backer-mounted"
#define ATTR_TOKEN "s3backer-mount-token"
#define ATTR_OWNER "bucketdisk-owner"
#define TOKEN_SHARED 0x7fffffffu /* reserved: s3backer's shared disk mode */
#define TRY_FOR_NS (30 * NS_PER_S)
#define ATTEMPT_NS (30 * NS_PER_S)
#define PAUSE_FIRST_NS (200 * NS_PER_MS)
#define PAUSE_MAX_NS (10 * NS_PER_S)
#define TAKE_TRIES 3
#define READ_BACK_AFTER_S 1

/* Submit and wait, again while the store asks for it.  Sets *was_unknown when some attempt's outcome is not
 * known. */
static enum bd_status
ask(struct backend_io *io, bool *was_unknown)
{
    uint64_t until = clock_now_ns() + TRY_FOR_NS, pause_ns = PAUSE_FIRST_NS;

    for (;;) {
        struct timespec pause;

        io->io.deadline_ns = clock_now_ns() + ATTEMPT_NS;
        backend_submit_wait(io);
        if (io->status == BD_UNKNOWN && was_unknown != NULL)
            *was_unknown = true;
        if ((io->status != BD_RETRY && io->status != BD_BUSY && io->status != BD_UNKNOWN)
            || clock_now_ns() >= until)
            return io->status;
        if (pause_ns < io->io.retry_after_ms * NS_PER_MS)
            pause_ns = io->io.retry_after_ms * NS_PER_MS;
        if (pause_ns > PAUSE_MAX_NS)
            pause_ns = PAUSE_MAX_NS;
        pause = (struct timespec){ (time_t)(pause_ns / NS_PER_S), (long)(pause_ns % NS_PER_S) };
        nanosleep(&pause, NULL);
        pause_ns *= 2;
    }
}

static int
rc_of(enum bd_status status)
{
    return status == BD_DENIED ? -EACCES : status == BD_FULL ? -ENOSPC : -EIO;
}

static int
failed(const struct backend_io *io, const char *what, struct error *why)
{
    const char *reason = io->why.text[0] != '\0' ? io->why.text : status_name(io->status);

    return error_set(why, rc_of(io->status), "cannot %s: %s", what, reason);
}

static uint64_t
attr_number(const struct backend_io *io, const char *name)
{
    size_t bytes;
    const char *text = backend_io_attr(io, name, &bytes);

    return text != NULL ? strtoull(text, NULL, 10) : 0;
}

/* ---- sizes */

/* What the store tells. Zeros: nothing. */
struct found {
    bool has_block_0;
    uint64_t says_disk_bytes, says_block_bytes; /* in block 0's metadata */
    uint64_t disk_bytes, block_bytes;           /* by whatever tells */
    uint64_t block_count_min; /* there is an object for the block before this one */
    bool is_encoded; /* the block that was looked at: its length says nothing of the block size */
    char encryption[64]; /* the token of its encryption; "" for none */
    object_name any_block;
};

/* s3backer's encryption says so in its token. */
static void
note_encoding(const struct backend_io *io, struct found *found)
{
    static const char encrypts[] = "encrypt-";
    struct encoding encoding;

    found->is_encoded = encoding_parse(io->encoding, &encoding, NULL) != 0 || encoding.count > 0;
    for (unsigned i = 0; i < encoding.count; i++) {
        if (strncasecmp(encoding.tokens[i], encrypts, sizeof encrypts - 1) == 0)
            snprintf(found->encryption, sizeof found->encryption, "%s", encoding.tokens[i]);
    }
}

static int
look_at_block_0(struct backend *backend, const struct layout *layout, struct found *found,
                struct error *why)
{
    struct backend_io *io = backend_io_new(backend);
    object_name name;
    enum bd_status status;
    int rc = 0;

    if (io == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    layout_block_name(layout, 0, name);
    io->io.op = BD_HEAD_OBJECT;
    io->io.name = name;
    status = ask(io, NULL);
    if (status == BD_OK) {
        found->has_block_0 = true;
        found->disk_bytes = found->says_disk_bytes = attr_number(io, ATTR_DISK_BYTES);
        found->block_bytes = found->says_block_bytes = attr_number(io, ATTR_BLOCK_BYTES);
        note_encoding(io, found);
        found->block_count_min = 1;
        /* s3backer before 1.2.2, and its --test directories: the length is the block size. */
        if (found->block_bytes == 0 && !found->is_encoded)
            found->block_bytes = io->io.object_bytes;
    } else if (status != BD_ABSENT) {
        rc = failed(io, "look at block 0", why);
    }
    backend_io_free(io);
    return rc;
}

struct listing {
    const struct layout *layout;
    struct found *found;
    object_name last;
};

static bool
list_entry(void *arg, const char *name, uint64_t object_bytes, const char *tag)
{
    struct listing *listing = arg;
    uint64_t block;

    (void)object_bytes;
    (void)tag;
    snprintf(listing->last, sizeof listing->last, "%s", name);
    if (layout_parse(listing->layout, name, &block)) {
        if (listing->found->block_count_min == 0)
            snprintf(listing->found->any_block, sizeof listing->found->any_block, "%s", name);
        if (block + 1 > listing->found->block_count_min)
            listing->found->block_count_min = block + 1;
    }
    return true;
}

/* Which blocks are there, when block 0 cannot tell?  The highest number bounds the size from below. */
static int
list_blocks(struct backend *backend, const struct layout *layout, struct found *found,
            struct error *why)
{
    struct listing listing = { .layout = layout, .found = found };
    struct backend_io *io = backend_io_new(backend);
    object_name after = "";
    int rc = 0;

    if (io == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    do {
        memcpy(after, listing.last, sizeof after);
        io->io.op = BD_LIST;
        io->io.name = layout->prefix;
        io->io.start_after = after[0] != '\0' ? after : NULL;
        io->io.limit = backend_info(backend)->list_max;
        io->entry = list_entry;
        io->entry_arg = &listing;
        if (ask(io, NULL) != BD_OK)
            rc = failed(io, "list the volume's objects", why);
    } while (rc == 0 && io->io.more != 0 && strcmp(after, listing.last) != 0);
    backend_io_free(io);
    return rc;
}

static int
look_at_a_block(struct backend *backend, struct found *found, struct error *why)
{
    struct backend_io *io = backend_io_new(backend);
    int rc = 0;

    if (io == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    io->io.op = BD_HEAD_OBJECT;
    io->io.name = found->any_block;
    if (ask(io, NULL) != BD_OK)
        rc = failed(io, "look at the first block listed", why);
    else
        note_encoding(io, found);
    if (rc == 0 && !found->is_encoded)
        found->block_bytes = io->io.object_bytes;
    backend_io_free(io);
    return rc;
}

static int
check_sizes(uint64_t disk_bytes, uint64_t block_bytes, struct error *why)
{
    if (block_bytes < LAYOUT_BLOCK_BYTES_MIN || block_bytes > LAYOUT_BLOCK_BYTES_MAX
        || (block_bytes & (block_bytes - 1)) != 0)
        return error_set(why, -EINVAL,
                         "a block size of %" PRIu64
                         " bytes is not possible; it must be a power of two "
                         "from %u bytes to %u MiB",
                         block_bytes, LAYOUT_BLOCK_BYTES_MIN, LAYOUT_BLOCK_BYTES_MAX >> 20);
    if (disk_bytes == 0 || disk_bytes % block_bytes != 0)
        return error_set(why, -EINVAL,
                         "a size of %" PRIu64 " bytes is not a multiple of the block "
                         "size, %" PRIu64 " bytes",
                         disk_bytes, block_bytes);
    if (disk_bytes / block_bytes > LAYOUT_BLOCKS_MAX)
        return error_set(why, -EINVAL,
                         "a size of %" PRIu64 " bytes has more than 2^32-1 blocks of %" PRIu64
                         " bytes; use a larger --blockSize",
                         disk_bytes, block_bytes);
    if (disk_bytes > INT64_MAX)
        return error_set(why, -EINVAL, "a size of %" PRIu64 " bytes is more than a file can have",
                         disk_bytes);
    return 0;
}

/* The user's word against the store's. */
static int
settle_one(const char *option, uint64_t wish, bool is_forced, uint64_t *value, struct error *why)
{
    if (wish == 0 || wish == *value)
        return 0;
    if (*value != 0 && !is_forced)
        return error_set(why, -EINVAL,
                         "%s says %" PRIu64 " bytes, but the volume has %" PRIu64
                         "; leave the option out (or overrule the volume with --force)",
                         option, wish, *value);
    *value = wish;
    return 0;
}

int
volume_detect(struct backend *backend, const struct volume_wish *wish, struct layout *layout,
              enum volume_block_0 *block_0, struct error *why)
{
    struct found found = { 0 }, stored;
    int rc = 0;

    *layout = (struct layout){ .prefix = wish->prefix,
                               .is_hashed = wish->is_hashed,
                               .block_count = LAYOUT_BLOCKS_MAX };
    rc = look_at_block_0(backend, layout, &found, why);
    if (rc != 0)
        return rc;
    stored = found;
    if (!wish->auto_detect)
        found.disk_bytes = found.block_bytes = 0;
    if (wish->auto_detect && found.disk_bytes == 0) {
        uint64_t block_bytes = found.block_bytes;

        found.block_count_min = 0;
        rc = list_blocks(backend, layout, &found, why);
        if (rc == 0 && block_bytes == 0 && found.block_count_min > 0)
            rc = look_at_a_block(backend, &found, why);
        if (rc != 0)
            return rc;
        if (found.block_count_min > 0 && found.block_bytes == 0 && wish->block_bytes == 0
            && found.encryption[0] == '\0')
            return error_set(why, -EINVAL,
                             "the volume does not say its block size, and its blocks are "
                             "encoded; give --blockSize");
        if (found.block_count_min > 0 && wish->disk_bytes == 0)
            return error_set(why, -EINVAL,
                             "the volume does not say its size; give --size, which must "
                             "be at least %" PRIu64 " blocks",
                             found.block_count_min);
    }
    if (found.encryption[0] != '\0')
        return error_set(why, -ENOTSUP,
                         "the volume is encrypted (%s), and nothing here can decrypt it",
                         found.encryption);
    if (found.has_block_0 && wish->auto_detect && found.block_bytes == 0 && wish->block_bytes == 0)
        return error_set(why, -EINVAL,
                         "the volume does not say its block size, and its blocks are "
                         "encoded; give --blockSize");
    rc = settle_one("--blockSize", wish->block_bytes, wish->is_forced, &found.block_bytes, why);
    if (rc == 0)
        rc = settle_one("--size", wish->disk_bytes, wish->is_forced, &found.disk_bytes, why);
    if (rc != 0)
        return rc;
    if (found.disk_bytes == 0)
        return error_set(why, -EINVAL,
                         "there is no volume here yet; to make a new one, give --size");
    if (wish->is_read_only && wish->auto_detect && found.block_count_min == 0)
        return error_set(why, -EINVAL,
                         "there is no volume here, and a read-only mount makes none; is "
                         "--prefix right?");
    if (found.block_bytes == 0)
        found.block_bytes =
            wish->auto_detect ? VOLUME_BLOCK_BYTES_DEFAULT : VOLUME_BLOCK_BYTES_S3BACKER;
    rc = check_sizes(found.disk_bytes, found.block_bytes, why);
    /* Not to use what is stored does not mean to write over it. */
    if (rc == 0 && !wish->auto_detect)
        rc =
            settle_one("--blockSize", found.block_bytes, wish->is_forced, &stored.block_bytes, why);
    if (rc == 0 && !wish->auto_detect && stored.disk_bytes != 0)
        rc = settle_one("--size", found.disk_bytes, wish->is_forced, &stored.disk_bytes, why);
    if (rc != 0)
        return rc;
    *block_0 =
        !found.has_block_0 ? BLOCK_0_ABSENT
        : found.says_block_bytes == found.block_bytes && found.says_disk_bytes == found.disk_bytes
            ? BLOCK_0_RIGHT
            : BLOCK_0_OTHER_SIZES;
    layout->block_bytes = (uint32_t)found.block_bytes;
    layout->block_count = found.disk_bytes / found.block_bytes;
    if (layout->block_count < found.block_count_min)
        return error_set(why, -EINVAL,
                         "a size of %" PRIu64 " bytes would cut off stored blocks: the "
                         "volume has at least %" PRIu64 " blocks of %u bytes",
                         found.disk_bytes, found.block_count_min, layout->block_bytes);
    return 0;
}

/* ---- the token */

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
 * Same machine and host name, and: this boot and the same lock directory, whose lock we hold (containers share
 * a boot, but not the directory); or another boot, so that all of that time is gone, where the machine has an
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
    layout_control_name(layout, TOKEN_OBJECT, name);
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
        rc = failed(io, "look for the mount token", why);
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
is_ours(const struct stored_token *stored, const struct volume_token *token)
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
    struct volume_token *token;
    struct stored_token old; /* what was there before */
    bool is_forced;
    char body[160];
    char tag[BD_TAG_BYTES_MAX + 1]; /* of the last put that was done; "" when none came */
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

/* Put our token; *was_unknown as ask() does.  Fills `why` unless the answer is BD_OK. */
static enum bd_status
token_put(struct taking *taking, const char *if_match, const char *if_none_match, bool *was_unknown,
          struct error *why)
{
    struct backend_io *io = backend_io_new(taking->backend);
    enum bd_status status = BD_FATAL;
    struct attrs attrs = { 0 };
    char value[16];
    object_name name;

    snprintf(value, sizeof value, "%08x", taking->token->value);
    if (io == NULL || attrs_add(&attrs, ATTR_TOKEN, value, strlen(value)) != 0
        || attrs_add(&attrs, ATTR_OWNER, taking->token->owner, strlen(taking->token->owner)) != 0) {
        error_set(why, -ENOMEM, "out of memory");
        goto free_io;
    }
    layout_control_name(taking->layout, TOKEN_OBJECT, name);
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
    status = ask(io, was_unknown);
    if (status == BD_OK)
        snprintf(taking->tag, sizeof taking->tag, "%s", io->tag != NULL ? io->tag : "");
    else
        failed(io, "write the mount token", why);
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
            return status == BD_UNSUPPORTED ? -EOPNOTSUPP : rc_of(status);
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
    struct volume_token *token = taking->token;
    struct stored_token now;
    char wrong[BD_TAG_BYTES_MAX + 1];
    enum bd_status status;
    bool was_unknown = false;
    char *digit;
    int rc;

    status = token_put(taking, NULL, "*", NULL, why);
    token->has_if_absent = status == BD_CONDITION;
    if (status == BD_OK || status == BD_UNSUPPORTED)
        return 0;
    if (status != BD_CONDITION)
        return rc_of(status);
    if (taking->tag[0] == '\0') {
        rc = token_read(taking->backend, taking->layout, &now, why);
        if (rc != 0 || now.tag[0] == '\0')
            return rc;
        memcpy(taking->tag, now.tag, sizeof taking->tag);
    }
    /* A tag of the right form that no object has. */
    memcpy(wrong, taking->tag, sizeof wrong);
    digit = strpbrk(wrong, "0123456789abcdefABCDEF");
    if (digit == NULL)
        digit = wrong;
    *digit = *digit == '0' ? '1' : '0';
    status = token_put(taking, wrong, NULL, NULL, why);
    if (status == BD_OK || status == BD_UNSUPPORTED)
        return 0;
    if (status != BD_CONDITION)
        return rc_of(status);
    status = token_put(taking, taking->tag, NULL, &was_unknown, why);
    token->has_if_match = status == BD_OK || (status == BD_CONDITION && was_unknown);
    return status == BD_OK || status == BD_CONDITION || status == BD_UNSUPPORTED ? 0
                                                                                 : rc_of(status);
}

/* Whose token is there now?  Without attributes nobody can tell. */
static int
read_back(struct taking *taking, struct error *why)
{
    struct stored_token now;
    int rc;

    if (!(backend_info(taking->backend)->capabilities & BD_CAP_ATTRS))
        return 0;
    rc = token_read(taking->backend, taking->layout, &now, why);
    if (rc != 0)
        return rc;
    if (!now.is_there)
        log_line(BD_WARNING, "the mount token was written, and is not there: the store forgets, or "
                             "shows what is old; nothing keeps another mount off the volume");
    else if (!is_ours(&now, taking->token))
        return error_set(why, -EBUSY, "another mount of the same volume was faster");
    return 0;
}

/* By conditional puts where the store honours them, which is tried and not taken on trust: some stores ignore
 * conditions, some refuse them.
 *
 * Where they are worth nothing, s3backer's way is left: look, put, and after a while look whose token is there.
 * Of machines that put within that while, the last one has the volume and the others see it.  It does not help
 * against a put that takes longer than the while, or that the store carries out late: then two may have it. */
static int
token_take(struct taking *taking, bool is_claimed, struct error *why)
{
    struct volume_token *token = taking->token;
    struct error ignored;
    int rc = is_claimed ? take_on_condition(taking, why) : -EOPNOTSUPP;
    bool is_proven;

    if (rc == -EOPNOTSUPP) {
        enum bd_status status = token_put(taking, NULL, NULL, NULL, why);

        if (status != BD_OK)
            return rc_of(status);
        rc = 0;
    } else if (rc != 0) {
        return rc;
    } else {
        rc = prove(taking, why);
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
        return read_back(taking, why);
    volume_token_drop(taking->backend, taking->layout, token, &ignored);
    return rc;
}

int
volume_token_take(struct backend *backend, const struct layout *layout, const char *lock_id,
                  bool is_forced, struct volume_token *token, struct error *why)
{
    struct taking taking = {
        .backend = backend, .layout = layout, .token = token, .is_forced = is_forced
    };
    const struct stored_token *old = &taking.old;
    int rc;

    memset(token, 0, sizeof *token);
    token->value = random_token();
    owner_format(lock_id, token->owner, sizeof token->owner);
    taking_body(&taking);
    rc = token_read(backend, layout, &taking.old, why);
    if (rc != 0)
        return rc;
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
    rc = token_take(&taking, backend_info(backend)->capabilities & BD_CAP_CONDITIONS_PUT, why);
    if (rc == 0)
        why->text[0] = '\0'; /* what was refused as it should be is nobody's concern */
    return rc;
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
    layout_control_name(layout, TOKEN_OBJECT, name);
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
        rc = failed(io, "remove the mount token", why);
    backend_io_free(io);
    return rc;
}

int
volume_token_drop(struct backend *backend, const struct layout *layout,
                  const struct volume_token *token, struct error *why)
{
    struct stored_token stored;
    int rc = token_read(backend, layout, &stored, why);

    if (rc != 0 || !stored.is_there)
        return rc;
    if (!is_ours(&stored, token)) {
        log_line(BD_WARNING, "the mount token is not ours any more; it stays");
        return 0;
    }
    return token_delete(backend, layout, stored.tag, why);
}

int
volume_token_reset(struct backend *backend, const struct layout *layout, struct error *why)
{
    return token_delete(backend, layout, NULL, why);
}
