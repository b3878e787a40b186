/* SPDX-License-Identifier: Apache-2.0 */
/* The two volumes of `bucketdisk copy`. */
#include "copy_sides.h"

#include "ask.h"
#include "base/clock.h"
#include "holder.h"
#include "mount_check.h"
#include "volume_samples.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- the source */

int
copy_refuse_mounted(const struct copying *copying, struct error *why)
{
    const struct stack *from = &copying->from;
    struct lock lock;
    const char *host;
    int rc = 0;

    if (copying->settings.while_mounted)
        return 0;
    rc = holder_look(from->backend, &from->layout, &lock, why);
    if (rc != 0 || !lock.is_there)
        return rc;
    host = lock_host(&lock);
    return error_set(why, -EBUSY,
                     "%s has the source mounted, or died while it had: the blocks of a copy would "
                     "be of different moments. Unmount it there (of one who died: mount it once "
                     "more, or clear its token with bucketdisk reset), or say --while-mounted",
                     lock_is_shared(&lock) ? "somebody who shares it"
                     : host != NULL        ? host
                                           : "somebody");
}

/* Each mount that may write raises the epoch. */
int
copy_refuse_changed(const struct copying *copying, struct error *why)
{
    const struct stack *from = &copying->from;
    struct stored_manifest now = { .is_there = false };
    int rc = copy_refuse_mounted(copying, why);

    if (rc != 0 || copying->settings.while_mounted || !from->layout.is_format_2)
        return rc;
    rc = volume_manifest_read(from->backend, &from->layout, &now, why);
    if (rc == 0 && now.manifest.epoch != from->description.manifest.epoch)
        rc = error_set(why, -EBUSY,
                       "somebody has had the source mounted while it was copied; say the same "
                       "again, and what has changed since is copied");
    manifest_clear(&now.manifest);
    return rc;
}

int
copy_open_source(struct copying *copying, const char *location, struct error *why)
{
    struct stack *from = &copying->from;
    int rc;

    from->settings.read_only = 1;
    rc = stack_open(from, location, why);
    if (rc == 0)
        rc = stack_names(from, &copying->from_identity, &copying->from_volume, why);
    if (rc == 0)
        rc = stack_detect(from, why);
    if (rc == 0)
        rc = copy_refuse_mounted(copying, why);
    return rc;
}

/* ---- the destination */

static int
refuse_settings(const struct stack *to, struct error *why)
{
    const struct settings *settings = &to->settings;

    if (settings->read_only)
        return error_set(why, -EINVAL, "a copy is written to; leave --read-only out");
    if (settings->shared_disk_mode)
        return error_set(why, -EINVAL,
                         "a volume that is copied to has one writer; leave --sharedDiskMode out");
    if (settings->force)
        return error_set(why, -EINVAL,
                         "nothing is copied by force over a volume or its mount token; if nobody "
                         "uses it, clear that with --reset-mounted-flag");
    return 0;
}

/* A copy that goes on has the sizes that it began with. */
static void
wish_sizes(struct copying *copying)
{
    const struct copymark *mark = &copying->mark;
    const struct layout *from = &copying->from.layout;
    struct settings *settings = &copying->to.settings;

    if (!options_given(copying->to.options, "size"))
        settings->size = mark->is_there ? mark->disk_bytes : from->block_count * from->block_bytes;
    if (!options_given(copying->to.options, "block-size"))
        settings->block_size = mark->is_there ? mark->block_bytes : from->block_bytes;
}

#define ID_TEXT_BYTES (2 * VOLUME_ID_BYTES + 1)

/* "" of format 1, which has none. */
static char *
source_id(const struct copying *copying, char text[ID_TEXT_BYTES])
{
    const struct stored_manifest *source = &copying->from.description;

    text[0] = '\0';
    for (unsigned i = 0; i < VOLUME_ID_BYTES && source->is_there; i++)
        sprintf(text + 2 * i, "%02x", source->manifest.id[i]);
    return text;
}

/* A path's identity is of this boot, and its name may be another one on the machine that goes on.  No more than a slip is to be
 * found here: what is there already counts only if the source still has its tag. */
static bool
is_source_of(const struct copying *copying, const struct copymark *mark)
{
    char text[ID_TEXT_BYTES];
    const char *id = source_id(copying, text);

    return strcmp(mark->source, copying->from_identity) == 0
           || strcmp(mark->called, copying->from_volume) == 0
           || (id[0] != '\0' && strcmp(mark->volume, id) == 0);
}

static int
read_mark(struct copying *copying, struct error *why)
{
    const struct stack *to = &copying->to;
    const struct layout layout = { .prefix = to->settings.prefix };
    struct copymark *mark = &copying->mark;
    int rc = copymark_read(to->backend, &layout, mark, why);

    if (rc != 0 || !mark->is_there)
        return rc;
    if (mark->source == NULL)
        return error_set(why, -EBADMSG,
                         COPYMARK_OBJECT
                         ", which says what is copied here, is damaged; remove what "
                         "is here, and begin anew");
    if (!is_source_of(copying, mark))
        return error_set(why, -EEXIST,
                         "what is here is a copy of another volume, %s, that is not complete; "
                         "complete that one, or remove it with bucketdisk erase",
                         mark->called);
    return 0;
}

/* What encrypts the blocks that are written; "": nothing. */
static char *
encryption_of(const struct chain *chain, char token[BD_TOKEN_BYTES_MAX + 1])
{
    struct encoding written;

    token[0] = '\0';
    if (!chain_encrypts(chain))
        return token;
    encoding_parse(chain_written(chain), &written, NULL);
    return strcpy(token, written.tokens[written.count - 1]);
}

static int
refuse_encryption(const char *before, const char *now, struct error *why)
{
    return error_set(why, -EINVAL,
                     "the copy that is here was begun %s%s, and would go on %s%s; give the options "
                     "that it was begun with, or remove it with bucketdisk erase and begin anew",
                     before[0] != '\0' ? "with " : "without encryption", before,
                     now[0] != '\0' ? "with " : "without encryption", now);
}

/* Blocks that are there already are not written again: what encrypted them, or nothing, would stay beside what encrypts others. */
static int
check_encryption(const struct copying *copying, struct error *why)
{
    char token[BD_TOKEN_BYTES_MAX + 1];
    const char *before = copying->mark.encryption, *now = encryption_of(copying->to.chain, token);

    return strcmp(before, now) == 0 ? 0 : refuse_encryption(before, now, why);
}

/* What the store says of block 0: its tag, and of what object it was made; "": nothing. */
static int
look_at_block_0(const struct stack *stack, char tag[BD_TAG_BYTES_MAX + 1],
                char origin[BD_ATTR_VALUE_BYTES_MAX + 1], struct error *why)
{
    struct backend_io *io = backend_io_new(stack->backend);
    object_name name;
    const char *found = NULL;
    enum bd_status status;
    size_t bytes;
    int rc = 0;

    tag[0] = origin[0] = '\0';
    if (io == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    layout_block_name(&stack->layout, 0, name);
    io->io.op = BD_HEAD_OBJECT;
    io->io.name = name;
    status = ask(io, NULL);
    if (status == BD_OK) {
        found = backend_io_attr(io, ATTR_ORIGIN, &bytes);
        snprintf(tag, BD_TAG_BYTES_MAX + 1, "%s", io->tag != NULL ? io->tag : "");
        snprintf(origin, BD_ATTR_VALUE_BYTES_MAX + 1, "%s", found != NULL ? found : "");
    } else if (status != BD_ABSENT) {
        rc = ask_failed(io, "look at block 0", why);
    }
    backend_io_free(io);
    return rc;
}

/* There is a volume, and no mark.  It may be this very copy, complete: then its block 0 was made of the source's, which each
 * volume has. */
static int
check_complete(struct copying *copying, struct error *why)
{
    char tag[BD_TAG_BYTES_MAX + 1], other_tag[BD_TAG_BYTES_MAX + 1];
    char origin[BD_ATTR_VALUE_BYTES_MAX + 1], other_origin[BD_ATTR_VALUE_BYTES_MAX + 1];
    int rc = look_at_block_0(&copying->from, tag, other_origin, why);

    if (rc == 0)
        rc = look_at_block_0(&copying->to, other_tag, origin, why);
    if (rc != 0)
        return rc;
    copying->is_repeated = tag[0] != '\0' && strcmp(tag, origin) == 0;
    if (!copying->is_repeated)
        return error_set(why, -EEXIST,
                         "there is a volume here already, and no copy that could go on; erase it "
                         "first, or give another --to-prefix");
    copying->to.settings.read_only = 1;
    return 0;
}

/* After stack_detect, with the mark read. */
static int
check_destination(struct copying *copying, struct error *why)
{
    const struct stack *to = &copying->to;
    const struct layout *from = &copying->from.layout;
    struct volume_look look = { .is_there = false };
    int rc = copying->mark.is_there ? check_encryption(copying, why) : 0;

    if (!copying->mark.is_there) {
        rc = volume_look_any(to->backend, &to->layout, &look, why);
        if (rc == 0 && (look.is_there || to->description.is_there))
            rc = check_complete(copying, why);
    }
    if (rc != 0)
        return rc;
    if (to->layout.block_bytes != from->block_bytes)
        return error_set(why, -EINVAL,
                         "blocks of %u bytes cannot become blocks of %u bytes: a copy has the "
                         "block size of the source; leave --to-block-size out",
                         from->block_bytes, to->layout.block_bytes);
    if (to->layout.block_count < from->block_count)
        return error_set(why, -EINVAL,
                         "the source has %" PRIu64 " bytes, and the destination would have %" PRIu64
                         "; a copy can be larger, but not smaller",
                         from->block_count * from->block_bytes,
                         to->layout.block_count * to->layout.block_bytes);
    return 0;
}

static int
look_at_destination(struct copying *copying, struct error *why)
{
    int rc = read_mark(copying, why);

    if (rc != 0)
        return rc;
    wish_sizes(copying);
    rc = stack_detect(&copying->to, why);
    /* It was no wrong password that failed. */
    if (rc == -EKEYREJECTED && copying->mark.is_there && copying->mark.encryption[0] == '\0')
        return refuse_encryption("", "encryption", why);
    return rc == 0 ? check_destination(copying, why) : rc;
}

int
copy_open_destination(struct copying *copying, const char *location, struct error *why)
{
    struct stack *to = &copying->to;
    int rc = refuse_settings(to, why);

    to->is_copied_to = true;
    if (rc == 0)
        rc = stack_open(to, location, why);
    if (rc == 0)
        rc = mount_check_store_place(to, why);
    if (rc == 0)
        rc = stack_names(to, &copying->to_identity, &copying->to_volume, why);
    if (rc == 0 && strcmp(copying->to_identity, copying->from_identity) == 0)
        rc = error_set(why, -EINVAL, "this is the source, too; give another --to-prefix");
    if (rc == 0)
        rc = locallock_take(copying->to_identity, copying->to_volume, why, &copying->lock);
    return rc == 0 ? look_at_destination(copying, why) : rc;
}

static int
put_mark(struct copying *copying, struct error *why)
{
    const struct stack *to = &copying->to;
    char volume[ID_TEXT_BYTES], encryption[BD_TOKEN_BYTES_MAX + 1];
    const struct copymark mark = {
        .source = copying->from_identity,
        .called = copying->from_volume,
        .volume = source_id(copying, volume),
        .encryption = encryption_of(to->chain, encryption),
        .disk_bytes = to->layout.block_count * to->layout.block_bytes,
        .block_bytes = to->layout.block_bytes,
    };

    if (!copying->mark.is_there) {
        uint64_t until_ns;
        int rc = lease_await(to->lease, &until_ns, why);

        if (rc != 0)
            return rc;
        copying->outcome = COPY_INCOMPLETE;
        return copymark_put(to->backend, &to->layout, &mark, until_ns, &copying->is_mark_unknown,
                            why);
    }
    copying->outcome = COPY_INCOMPLETE;
    return 0;
}

/* What a dead owner has sent may still be carried out: over blocks that are copied anew, or removing the mark. */
static int
wait_for_dead(const struct copying *copying, struct error *why)
{
    int rc = ask_wait_settled_or(token_hold_until_ns(&copying->token), &copying->held);

    return rc != 0 ? error_set(why, rc, "interrupted") : 0;
}

int
copy_take_destination(struct copying *copying, struct error *why)
{
    struct stack *to = &copying->to;
    char lock_id[64];
    const struct token_wish wish = { .lock_id = lock_id,
                                     .value = token_value(),
                                     .settle_ms = to->settings.settle_time_ms };
    int rc;

    locallock_id(copying->lock, lock_id, sizeof lock_id);
    rc = token_take(to->backend, &to->layout, &wish, &copying->token, why);
    if (rc != 0)
        return rc;
    copying->has_token = true;
    rc = stack_lease(to, &copying->token, why);
    if (rc == 0)
        rc = wait_for_dead(copying, why);
    if (rc == 0)
        rc = look_at_destination(copying, why);
    if (rc == 0 && copying->is_repeated)
        rc = error_set(why, -EBUSY,
                       "somebody else has completed this copy meanwhile; say the same again and it "
                       "is looked at");
    if (rc == 0)
        rc = put_mark(copying, why);
    if (rc == 0)
        rc = stack_claim(to, &copying->token, why);
    return rc;
}

/* ---- the end */

int
copy_give_back(struct copying *copying, struct error *why)
{
    struct stack *to = &copying->to;

    if (!copying->has_token)
        return 0;
    if (to->objects != NULL)
        objects_pause(to->objects, true);
    if (to->consistency != NULL)
        ask_wait_settled(consistency_settled_at_ns(to->consistency));
    ask_wait_settled(stack_settled_at_ns(to));
    if (copying->is_mark_unknown)
        ask_wait_settled(clock_now_ns() + to->settings.settle_time_ms * NS_PER_MS);
    copying->token.until_ns = lease_stop(to->lease);
    if (to->lease != NULL && lease_is_lost(to->lease, why))
        return -EROFS;
    if (copying->outcome == COPY_REFUSED)
        return token_give_back(to->backend, &to->layout, &copying->token, why);
    if (copying->outcome != COPY_COMPLETE && !to->layout.is_format_2)
        return 0;
    return token_drop(to->backend, &to->layout, &copying->token, why);
}
