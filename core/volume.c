/* SPDX-License-Identifier: Apache-2.0 */
/* A volume as it is stored: which sizes it has. */
#include "volume.h"

#include "ask.h"
#include "base/human.h"
#include "codecs.h"
#include "encoding.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static uint64_t
attr_number(const struct backend_io *io, const char *name)
{
    size_t bytes;
    const char *text = backend_io_attr(io, name, &bytes);

    return text != NULL ? strtoull(text, NULL, 10) : 0;
}

/* What the store tells. Zeros: nothing. */
struct found {
    bool has_block_0;
    uint64_t says_disk_bytes, says_block_bytes; /* in block 0's metadata */
    uint64_t disk_bytes, block_bytes;           /* by whatever tells */
    uint64_t block_count_min; /* there is an object for the block before this one */
    /* no block was listed, but one whose name is hashed and should not be, or the other way round */
    bool has_other_names;
    bool is_encoded; /* the block that was looked at: its length says nothing of the block size */
    const char *read_default;
    bool is_first_enough;         /* of a listing */
    struct volume_sample *sample; /* that block */
    object_name any_block;
    uint64_t first_listed; /* its number */
};

static void
note_sample(const struct backend_io *io, uint64_t block, struct found *found)
{
    struct volume_sample *sample = found->sample;
    const char *said = io->encoding != NULL ? io->encoding : found->read_default;
    struct encoding encoding;
    size_t bytes;

    sample->has_hmac = backend_io_attr(io, ATTR_HMAC, &bytes) != NULL;
    found->is_encoded =
        sample->has_hmac || encoding_parse(said, &encoding, NULL) != 0 || encoding.count > 0;
    sample->is_there = true;
    sample->block = block;
    sample->object_bytes = io->io.object_bytes;
    snprintf(sample->encoding, sizeof sample->encoding, "%s", said != NULL ? said : "");
    sample->is_encrypted = codecs_encrypt(sample->encoding);
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
        note_sample(io, 0, found);
        found->block_count_min = 1;
        /* s3backer before 1.2.2, and its --test directories: the length is the block size. */
        if (found->block_bytes == 0 && !found->is_encoded)
            found->block_bytes = io->io.object_bytes;
    } else if (status != BD_ABSENT) {
        rc = ask_failed(io, "look at block 0", why);
    }
    backend_io_free(io);
    return rc;
}

struct listing {
    const struct layout *layout;
    struct layout other; /* the same blocks by their other names */
    struct found *found;
};

static bool
list_entry(void *arg, const char *name, uint64_t object_bytes, const char *tag)
{
    struct listing *listing = arg;
    uint64_t block;

    (void)object_bytes;
    (void)tag;
    if (layout_parse(listing->layout, name, &block)) {
        if (listing->found->block_count_min == 0) {
            snprintf(listing->found->any_block, sizeof listing->found->any_block, "%s", name);
            listing->found->first_listed = block;
        }
        if (block + 1 > listing->found->block_count_min)
            listing->found->block_count_min = block + 1;
    } else if (layout_parse(&listing->other, name, &block)) {
        listing->found->has_other_names = true;
    }
    return listing->found->block_count_min == 0 || !listing->found->is_first_enough;
}

/* Which blocks are there, when block 0 cannot tell?  The highest number bounds the size from below. */
static int
list_blocks(struct backend *backend, const struct layout *layout, struct found *found,
            struct error *why)
{
    struct listing listing = { .layout = layout, .other = *layout, .found = found };
    int rc;

    listing.other.is_hashed = !layout->is_hashed;
    rc = ask_list(backend, layout->prefix, list_entry, &listing, "list the volume's objects", why);
    /* A new volume beside that one would be of use to nobody. */
    if (rc == 0 && found->block_count_min == 0 && found->has_other_names)
        rc = error_set(why, -EINVAL,
                       "there is a volume here, and the names of its blocks %s with a hash; %s "
                       "--blockHashPrefix",
                       layout->is_hashed ? "do not begin" : "begin",
                       layout->is_hashed ? "leave out" : "give");
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
        rc = ask_failed(io, "look at the first block listed", why);
    else
        note_sample(io, found->first_listed, found);
    if (rc == 0 && !found->is_encoded)
        found->block_bytes = io->io.object_bytes;
    backend_io_free(io);
    return rc;
}

int
volume_check_sizes(uint64_t disk_bytes, uint64_t block_bytes, struct layout *layout,
                   struct error *why)
{
    if (block_bytes < LAYOUT_BLOCK_BYTES_MIN || block_bytes > LAYOUT_BLOCK_BYTES_MAX
        || (block_bytes & (block_bytes - 1)) != 0)
        return error_set(why, -EINVAL,
                         "a block size of %" PRIu64
                         " bytes is not possible; it must be a power of two "
                         "from %u bytes to %u MiB",
                         block_bytes, LAYOUT_BLOCK_BYTES_MIN, LAYOUT_BLOCK_BYTES_MAX >> 20);
    if (disk_bytes > INT64_MAX)
        return error_set(why, -EINVAL, "a size of %" PRIu64 " bytes is more than a file can have",
                         disk_bytes);
    if (disk_bytes == 0 || disk_bytes % block_bytes != 0)
        return error_set(why, -EINVAL,
                         "a size of %" PRIu64 " bytes is not a multiple of the block "
                         "size, %" PRIu64 " bytes; the next one is %" PRIu64,
                         disk_bytes, block_bytes,
                         disk_bytes - disk_bytes % block_bytes + block_bytes);
    if (disk_bytes / block_bytes > LAYOUT_BLOCKS_MAX)
        return error_set(why, -EINVAL,
                         "a size of %" PRIu64 " bytes has more than 2^32-1 blocks of %" PRIu64
                         " bytes; use a larger --blockSize",
                         disk_bytes, block_bytes);
    layout->block_bytes = (uint32_t)block_bytes;
    layout->block_count = disk_bytes / block_bytes;
    return 0;
}

/* The user's word counts for the sizes; how the volume is encoded, and whether a password opens it, is not a matter of
 * words. */
static int
look_for_a_sample(struct backend *backend, const struct layout *layout, const struct found *found,
                  struct error *why)
{
    struct found other = *found;
    int rc;

    other.is_first_enough = true;
    rc = list_blocks(backend, layout, &other, why);
    if (rc == 0 && other.block_count_min > 0)
        rc = look_at_a_block(backend, &other, why);
    return rc;
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

/* No block size is said, and the block's length is not it.  What the user says is not in doubt. */
static int
measure(const struct volume_wish *wish, struct found *found, struct error *why)
{
    struct error reason = { "" };
    int rc;

    if (wish->measure == NULL)
        return error_set(why, -EINVAL,
                         "the volume does not say its block size, and its blocks are encoded; give "
                         "--blockSize");
    rc = wish->measure(wish->measure_arg, found->sample, &found->block_bytes, &reason);
    return rc == 0
               ? 0
               : error_set(why, rc, "the volume does not say its block size (--blockSize can): %s",
                           reason.text);
}

int
volume_detect(struct backend *backend, const struct volume_wish *wish, struct layout *layout,
              enum volume_block_0 *block_0, struct volume_sample *sample, struct error *why)
{
    struct found found = { .sample = sample, .read_default = wish->read_default }, stored;
    struct error reason = { "" };
    int rc = 0;

    *layout = (struct layout){ .prefix = wish->prefix,
                               .is_hashed = wish->is_hashed,
                               .block_count = LAYOUT_BLOCKS_MAX };
    *sample = (struct volume_sample){ false };
    rc = look_at_block_0(backend, layout, &found, why);
    if (rc != 0)
        return rc;
    stored = found;
    if (!wish->auto_detect) {
        found.disk_bytes = found.block_bytes = 0;
        rc = found.has_block_0 ? 0 : look_for_a_sample(backend, layout, &found, why);
        if (rc != 0)
            return rc;
    }
    if (wish->auto_detect && found.disk_bytes == 0) {
        uint64_t block_bytes = found.block_bytes;

        found.block_count_min = 0;
        rc = list_blocks(backend, layout, &found, why);
        if (rc == 0 && block_bytes == 0 && found.block_count_min > 0)
            rc = look_at_a_block(backend, &found, why);
        if (rc != 0)
            return rc;
        if (found.block_count_min > 0 && wish->disk_bytes == 0)
            return error_set(why, -EINVAL,
                             "the volume does not say its size; give --size, which must "
                             "be at least %" PRIu64 " %s",
                             found.block_count_min,
                             human_form(found.block_count_min, "block", "blocks"));
    }
    if (wish->auto_detect && found.block_bytes == 0 && wish->block_bytes == 0 && sample->is_there)
        rc = measure(wish, &found, why);
    if (rc == 0)
        rc = settle_one("--blockSize", wish->block_bytes, wish->is_forced, &found.block_bytes, why);
    if (rc == 0)
        rc = settle_one("--size", wish->disk_bytes, wish->is_forced, &found.disk_bytes, why);
    if (rc != 0)
        return rc;
    if (wish->is_read_only && wish->auto_detect && found.block_count_min == 0)
        return error_set(why, -EINVAL, "there is no volume here; is --prefix right?");
    if (found.disk_bytes == 0)
        return error_set(why, -EINVAL,
                         "there is no volume here yet; to make a new one, give --size");
    if (found.block_bytes == 0)
        found.block_bytes =
            wish->auto_detect ? VOLUME_BLOCK_BYTES_DEFAULT : VOLUME_BLOCK_BYTES_S3BACKER;
    rc = volume_check_sizes(found.disk_bytes, found.block_bytes, layout, &reason);
    if (rc != 0 && wish->auto_detect && wish->disk_bytes == 0 && wish->block_bytes == 0)
        return error_set(why, rc,
                         "what block 0 says of the volume is damaged: %s; overrule it with --size, "
                         "--blockSize and --force",
                         reason.text);
    if (rc != 0)
        return error_set(why, rc, "%s", reason.text);
    /* Not to use what is stored does not mean to write over it. */
    if (!wish->auto_detect)
        rc = settle_one(wish->block_bytes != 0 ? "--blockSize"
                                               : "--noAutoDetect without --blockSize",
                        found.block_bytes, wish->is_forced, &stored.block_bytes, why);
    if (rc == 0 && !wish->auto_detect && stored.disk_bytes != 0)
        rc = settle_one("--size", found.disk_bytes, wish->is_forced, &stored.disk_bytes, why);
    if (rc != 0)
        return rc;
    *block_0 =
        !found.has_block_0 ? BLOCK_0_ABSENT
        : found.says_block_bytes == found.block_bytes && found.says_disk_bytes == found.disk_bytes
            ? BLOCK_0_RIGHT
            : BLOCK_0_OTHER_SIZES;
    if (layout->block_count < found.block_count_min)
        return error_set(why, -EINVAL,
                         "a size of %" PRIu64 " bytes would cut off stored blocks: the "
                         "volume has at least %" PRIu64 " %s of %u bytes; give --size=%" PRIu64
                         " or more",
                         found.disk_bytes, found.block_count_min,
                         human_form(found.block_count_min, "block", "blocks"), layout->block_bytes,
                         found.block_count_min * layout->block_bytes);
    return 0;
}

int
volume_try(struct backend *backend, const struct layout *layout, struct chain *chain,
           const struct volume_sample *sample, uint64_t *block_bytes, struct error *why)
{
    struct backend_io *io = backend_io_new(backend);
    size_t cap = chain_body_bytes_max(chain);
    void *data = malloc(cap), *plain = block_bytes == NULL ? malloc(layout->block_bytes) : NULL;
    struct bd_bytes body;
    object_name name;
    struct error reason;
    int rc = 0;

    if (io == NULL || data == NULL || (plain == NULL && block_bytes == NULL)) {
        rc = error_set(why, -ENOMEM, "out of memory");
        goto free_all;
    }
    layout_block_name(layout, sample->block, name);
    io->io.op = BD_GET;
    io->io.name = name;
    io->io.data = data;
    io->io.cap = cap;
    if (ask(io, NULL) != BD_OK) {
        rc = ask_failed(io, "read a block to see how it is encoded", why);
        goto free_all;
    }
    body = (struct bd_bytes){ data, io->io.len };
    if (io->io.object_bytes > cap)
        rc = error_set(&reason, -EBADMSG, "the object has %" PRIu64 " bytes", io->io.object_bytes);
    else if (block_bytes == NULL)
        rc = chain_decode(chain, sample->block, io->encoding, body, &io->attrs, plain, &reason);
    else
        rc = chain_measure(chain, sample->block, io->encoding, body, &io->attrs, block_bytes,
                           &reason);
    if (rc == -EBADMSG && (sample->is_encrypted || block_bytes == NULL))
        rc = error_set(why, -EKEYREJECTED,
                       "the password does not open the volume, or block %08" PRIx64
                       " is damaged: %s",
                       sample->block, reason.text);
    else if (rc != 0)
        error_set(why, rc, "block %08" PRIx64 ": %s", sample->block, reason.text);
free_all:
    free(plain);
    free(data);
    backend_io_free(io);
    return rc;
}
