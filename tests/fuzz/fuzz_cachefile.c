/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz the cache file: a valid one is patched, opened, used, and opened again.
 *
 * The input: two bytes of how (below), a byte that says how many patches, the patches (four bytes and some each), and a
 * byte for each thing that is done then.  Sums are left wrong, so that nothing may be given but what was put once;
 * or made right, so that what is behind the sums is reached: then anything may be in the file, but it stays. */
#include "cachefile_impl.h"

#include "base/util.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
void __wrap_log_line(enum bd_log_level level, const char *format, ...);
void __wrap_log_each(enum bd_log_level level, const char *format, ...);

#define BLOCK 1024u
#define SECTORS (BLOCK / CACHEFILE_SECTOR_BYTES)
#define SEAL_BYTES 24u
#define BLOCKS 16u
#define SLOTS 10u
#define IMAGE_BYTES_MAX (8u << 20)
#define RECORDS_MAX 64u
#define DONE_MAX 64u
/* The valid file. */
#define BASE_BLOCKS 8u
#define VERSIONS_OF_BASE 3u /* of each block, 0 to 2 */
#define ZEROS_BLOCK 3u
#define STORED_BLOCK 4u
#define TAG "\"a tag\""

/* The first byte. */
#define HOW_SEALED 0x01u
#define HOW_KILLED 0x02u
#define HOW_SUMS 0x04u /* of supers and records are made right */
#define HOW_DATA_SUMS 0x08u
#define HOW_DISCARDS 0x10u
#define HOW_FORCED 0x20u
#define HOW_SHORT 0x40u /* its journal is, so it is renewed all the time */

void
__wrap_log_line(enum bd_log_level level, const char *format, ...)
{
    (void)level;
    (void)format;
}

void
__wrap_log_each(enum bd_log_level level, const char *format, ...)
{
    (void)level;
    (void)format;
}

/* ---- a disk in memory */

struct image {
    struct cachefile_io io;
    unsigned char *bytes;
    uint64_t size;
};

static struct image *
image_of(struct cachefile_io *io)
{
    return container_of(io, struct image, io);
}

static int
image_resize(struct cachefile_io *io, uint64_t size)
{
    struct image *image = image_of(io);

    if (size > IMAGE_BYTES_MAX)
        return -ENOSPC;
    image->bytes = realloc(image->bytes, size + 1);
    assert(image->bytes != NULL);
    if (size > image->size)
        memset(image->bytes + image->size, 0, size - image->size);
    image->size = size;
    return 0;
}

static int
image_read(struct cachefile_io *io, void *data, size_t bytes, uint64_t offset)
{
    const struct image *image = image_of(io);
    uint64_t left = offset < image->size ? image->size - offset : 0;
    size_t there = left < bytes ? (size_t)left : bytes;

    memset(data, 0, bytes);
    if (there > 0)
        memcpy(data, image->bytes + offset, there);
    return 0;
}

static int
image_write(struct cachefile_io *io, const void *data, size_t bytes, uint64_t offset)
{
    int rc = 0;

    if (offset > IMAGE_BYTES_MAX || bytes > IMAGE_BYTES_MAX)
        return -ENOSPC;
    if (offset + bytes > image_of(io)->size)
        rc = image_resize(io, offset + bytes);
    if (rc == 0)
        memcpy(image_of(io)->bytes + offset, data, bytes);
    return rc;
}

static int
image_sync(struct cachefile_io *io)
{
    (void)io;
    return 0;
}

static int
image_size(struct cachefile_io *io, uint64_t *bytes)
{
    *bytes = image_of(io)->size;
    return 0;
}

static void
image_close(struct cachefile_io *io)
{
    (void)io;
}

static void
image_copy(struct image *to, const struct image *from)
{
    *to = (struct image){ .io = { .read = image_read,
                                  .write = image_write,
                                  .sync = image_sync,
                                  .resize = image_resize,
                                  .size = image_size,
                                  .close = image_close } };
    if (from != NULL) {
        assert(image_resize(&to->io, from->size) == 0);
        memcpy(to->bytes, from->bytes, from->size);
    }
}

/* ---- blocks */

static int
seal(void *arg, uint64_t block, const void *plain, size_t bytes, void *sealed)
{
    (void)arg;
    assert(bytes == BLOCK);
    memcpy(sealed, plain, bytes);
    memset((char *)sealed + bytes, (int)block, SEAL_BYTES);
    return 0;
}

static int
unseal(void *arg, uint64_t block, const void *sealed, size_t bytes, void *plain)
{
    (void)arg;
    assert(bytes == BLOCK);
    memcpy(plain, sealed, bytes);
    return ((const unsigned char *)sealed)[bytes] == (unsigned char)block ? 0 : -EBADMSG;
}

static void
fill(uint64_t block, unsigned version, unsigned char *data)
{
    for (uint64_t i = 0; i < BLOCK / sizeof i; i++) {
        uint64_t word = (block << 32 | version << 16 | i) * 0x9e3779b97f4a7c15u;

        memcpy(data + i * sizeof word, &word, sizeof word);
    }
}

static bool
is_filled(uint64_t block, unsigned version, const unsigned char *data, uint64_t valid)
{
    unsigned char expected[BLOCK];

    fill(block, version, expected);
    for (unsigned i = 0; i < SECTORS; i++) {
        size_t at = (size_t)i * CACHEFILE_SECTOR_BYTES;

        if (valid >> i & 1 && memcmp(data + at, expected + at, CACHEFILE_SECTOR_BYTES) != 0)
            return false;
    }
    return true;
}

static struct cachefile_config
config_of(unsigned how, struct image *image)
{
    struct cachefile_config config = { .path = "cache",
                                       .volume = "volume",
                                       .identity = "id",
                                       .identity_bytes = 2,
                                       .block_bytes = BLOCK,
                                       .slots = SLOTS,
                                       .journal_spare_bytes = how & HOW_SHORT ? 512 : 4096,
                                       .io = &image->io };

    if (how & HOW_SEALED) {
        config.seal = seal;
        config.unseal = unseal;
        config.seal_bytes = SEAL_BYTES;
    }
    return config;
}

static int
put(struct cachefile *file, uint64_t block, unsigned version, enum cachefile_state state,
    uint64_t valid)
{
    unsigned char data[BLOCK];
    struct cachefile_block put = { .block = block,
                                   .state = state,
                                   .base = version % 2 == 0 ? CACHEFILE_TAG : CACHEFILE_ABSENT,
                                   .tag = TAG,
                                   .valid = &valid,
                                   .data = data };
    struct error why;

    fill(block, version, data);
    if (block == ZEROS_BLOCK)
        put.data = NULL;
    return cachefile_put(file, &put, NULL, NULL, &why);
}

/* ---- the valid file: what can be in one, closed in order or not */

static enum cachefile_state
state_in_base(uint64_t block, unsigned version)
{
    return (block + version) % 3 == 0 ? CACHEFILE_CLEAN : CACHEFILE_DIRTY;
}

static uint64_t
valid_in_base(uint64_t block)
{
    return block == 1 ? 2 : 3;
}

static const struct image *
base_of(unsigned how)
{
    static struct image bases[4];
    struct image *base = &bases[how & (HOW_SEALED | HOW_KILLED)], image;
    struct cachefile_config config = config_of(how & HOW_SEALED, &image);
    struct cachefile_info info;
    struct cachefile *file;
    struct error why;

    if (base->bytes != NULL)
        return base;
    image_copy(&image, NULL);
    assert(cachefile_open(&config, &why, &file) == 0);
    for (unsigned version = 0; version < VERSIONS_OF_BASE; version++) {
        for (uint64_t block = 0; block < BASE_BLOCKS; block++) {
            if (block % 3 >= version)
                assert(
                    put(file, block, version, state_in_base(block, version), valid_in_base(block))
                    == 0);
        }
        assert(cachefile_sync(file, &why) == 0);
    }
    assert(cachefile_set_note(file, "note", 4, &why) == 0);
    assert(cachefile_get(file, STORED_BLOCK, &info, NULL, NULL, &why) == 0);
    assert(cachefile_stored(file, STORED_BLOCK, info.version, CACHEFILE_TAG, "stored", &why) == 0);
    assert(cachefile_drop(file, 5, 0, &why) == 0);
    assert(cachefile_drop_range(file, 6, UINT64_MAX, &why) == 0);
    assert(cachefile_sync(file, &why) == 0);
    if (how & HOW_KILLED)
        image_copy(base, &image);
    assert(cachefile_close(file, &why) == 0);
    if (!(how & HOW_KILLED))
        image_copy(base, &image);
    free(image.bytes);
    return base;
}

/* ---- patches */

struct patching {
    struct image *image;
    struct super super; /* of the valid file */
    uint64_t at[RECORDS_MAX];
    unsigned count;
    uint64_t tail;
};

static void
find_records(struct patching *patching)
{
    const struct image *image = patching->image;
    uint64_t at;

    memcpy(&patching->super, image->bytes, sizeof patching->super);
    patching->count = 0;
    for (at = patching->super.journal_offset; patching->count < RECORDS_MAX;) {
        struct record record;

        memcpy(&record, image->bytes + at, sizeof record);
        if (record.mark != patching->super.mark)
            break;
        patching->at[patching->count++] = at;
        at += record.bytes;
    }
    assert(patching->count > 8);
    patching->tail = at;
}

/* The last record may be a copy of any. */
static void
copy_record(struct patching *patching, uint64_t from)
{
    struct record record;

    (void)image_read(&patching->image->io, &record, sizeof record, from);
    if (patching->count == RECORDS_MAX || record.bytes < sizeof record || record.bytes > 2048
        || from + record.bytes > patching->image->size
        || patching->tail + record.bytes > patching->image->size)
        return;
    memmove(patching->image->bytes + patching->tail, patching->image->bytes + from, record.bytes);
    patching->at[patching->count++] = patching->tail;
    patching->tail += (record.bytes + 7) / 8 * 8;
}

static void
patch_bytes(struct image *image, uint64_t at, bool is_xor, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count && at + i < image->size; i++)
        image->bytes[at + i] = is_xor ? image->bytes[at + i] ^ bytes[i] : bytes[i];
}

/* `head`: where and how; two bytes, the offset; how many bytes. */
static void
patch(struct patching *patching, const uint8_t head[4], const uint8_t *bytes, size_t count)
{
    struct image *image = patching->image;
    uint64_t offset = head[1] | (unsigned)head[2] << 8;
    uint64_t record = patching->at[head[1] % patching->count];
    bool is_xor = head[0] & 8;

    switch (head[0] % 8) {
    case 0:
        patch_bytes(image, offset % DATA_OFFSET, is_xor, bytes, count);
        return;
    case 1: /* both supers */
        patch_bytes(image, offset % sizeof(struct super), is_xor, bytes, count);
        patch_bytes(image, SUPER_BYTES + offset % sizeof(struct super), is_xor, bytes, count);
        return;
    case 2:
    case 3:
        patch_bytes(image, record + head[2] % (sizeof(struct record) + 32), is_xor, bytes, count);
        return;
    case 4:
        patch_bytes(image, patching->super.journal_offset + offset, is_xor, bytes, count);
        return;
    case 5:
        patch_bytes(image, DATA_OFFSET + offset % (SLOTS * BLOCK), is_xor, bytes, count);
        return;
    case 6:
        copy_record(patching, record);
        return;
    default:
        if (offset % 4 == 0) /* the whole of the end, too */
            assert(image_resize(&image->io, offset * 4) == 0);
    }
}

static void
sum_record(const struct super *super, struct image *image, uint64_t at, unsigned how)
{
    struct record record;
    uint64_t in_slot, bytes;
    XXH128_hash_t hash;

    if (at + sizeof record > image->size)
        return;
    memcpy(&record, image->bytes + at, sizeof record);
    if (record.bytes < sizeof record || record.bytes > image->size - at)
        return;
    in_slot = DATA_OFFSET + (uint64_t)record.slot * BLOCK;
    bytes = how & HOW_SEALED ? BLOCK : (uint64_t)record.sectors * CACHEFILE_SECTOR_BYTES;
    if (how & HOW_DATA_SUMS && (record.kind == RECORD_CLEAN || record.kind == RECORD_DIRTY)
        && bytes <= BLOCK && in_slot + bytes <= image->size) {
        hash = XXH3_128bits_withSeed(image->bytes + in_slot, bytes, super->id + record.block);
        record.data_sum[0] = hash.low64;
        record.data_sum[1] = hash.high64;
        memcpy(image->bytes + at, &record, sizeof record);
    }
    hash = XXH3_128bits_withSeed(image->bytes + at + offsetof(struct record, bytes),
                                 record.bytes - offsetof(struct record, bytes), super->seed);
    record.sum[0] = hash.low64;
    record.sum[1] = hash.high64;
    memcpy(image->bytes + at, &record, sizeof record);
}

static void
make_sums(struct patching *patching, unsigned how)
{
    struct image *image = patching->image;
    struct super super;

    if (image->size < DATA_OFFSET)
        return;
    for (unsigned i = SUPER_COUNT; i-- > 0;) {
        memcpy(&super, image->bytes + (size_t)i * SUPER_BYTES, sizeof super);
        super_sum(&super, super.sum);
        memcpy(image->bytes + (size_t)i * SUPER_BYTES, &super, sizeof super);
    }
    /* A patched one may have the next ones in it: from the last to the first. */
    for (unsigned i = patching->count; i-- > 0;)
        sum_record(&super, image, patching->at[i], how);
}

/* ---- what is in it */

struct seen {
    int rc;
    bool is_dirty, is_put; /* is_put: since, as `version`, if rc is 0 */
    unsigned version;
    uint64_t valid, hash;
};

/* Of a file with wrong sums, only what was put once. */
static void
check_put_once(uint64_t block, const struct cachefile_info *info, const unsigned char *data,
               uint64_t valid)
{
    bool is_stored = strcmp(info->tag, "stored") == 0;
    unsigned version = 0;

    assert(block < BASE_BLOCKS && valid == valid_in_base(block));
    assert(info->is_zeros == (block == ZEROS_BLOCK) && (!is_stored || block == STORED_BLOCK));
    while (version < VERSIONS_OF_BASE
           && ((!info->is_zeros && !is_filled(block, version, data, valid))
               || (!is_stored
                   && (info->state != state_in_base(block, version)
                       || strcmp(info->tag, version % 2 == 0 ? TAG : "") != 0))))
        version++;
    assert(version < VERSIONS_OF_BASE);
}

static void
look(struct cachefile *file, uint64_t block, unsigned how, struct seen *seen)
{
    unsigned char data[BLOCK] = { 0 };
    struct cachefile_info info;
    struct error why = { "" };

    memset(seen, 0, sizeof *seen);
    seen->is_dirty = cachefile_holds_dirty(file, block);
    seen->rc = cachefile_get(file, block, &info, data, &seen->valid, &why);
    if (seen->rc != 0) {
        assert(seen->rc == (seen->is_dirty ? -EIO : -ENOENT) && why.text[0] != '\0');
        seen->valid = 0;
        return;
    }
    assert(info.block == block && info.version != 0 && info.sectors_valid > 0);
    assert(info.sectors_valid <= SECTORS && strlen(info.tag) <= BD_TAG_BYTES_MAX);
    assert((info.state == CACHEFILE_DIRTY) == seen->is_dirty);
    seen->hash = XXH3_64bits(data, sizeof data);
    if (!(how & HOW_SUMS))
        check_put_once(block, &info, data, seen->valid);
}

static void
walk(struct cachefile *file, unsigned how)
{
    struct cachefile_stats stats;
    struct cachefile_info info;
    unsigned used = 0, dirty = 0;
    uint32_t cursor = 0;
    struct seen seen;

    cachefile_stats(file, &stats);
    while (cachefile_next(file, &cursor, &info)) {
        used++;
        dirty += info.state == CACHEFILE_DIRTY;
        assert(cachefile_holds(file, info.block));
        look(file, info.block, how, &seen);
        assert(seen.is_dirty == (info.state == CACHEFILE_DIRTY));
    }
    assert(used <= stats.used && dirty == stats.dirty && stats.used <= stats.slots);
}

/* ---- what is done with it */

static void
was_put(struct seen *seen, int rc, enum cachefile_state state, unsigned version)
{
    assert(rc == 0 || rc == -ENOBUFS);
    if (rc == 0)
        *seen = (struct seen){
            .is_put = true, .is_dirty = state == CACHEFILE_DIRTY, .version = version, .valid = 3
        };
}

static void
mark_stored(struct cachefile *file, uint64_t block, struct seen *seen)
{
    struct cachefile_info info;
    struct error why;
    int rc = cachefile_get(file, block, &info, NULL, NULL, &why);

    if (rc != 0)
        return;
    rc = cachefile_stored(file, block, info.version, CACHEFILE_TAG, "t", &why);
    assert(rc == (seen->is_dirty ? 0 : -ESTALE));
    seen->is_dirty = false;
}

static void
drop_range(struct cachefile *file, uint64_t first, struct seen *seen)
{
    uint64_t last = first % 3 == 0 ? UINT64_MAX : first + first % 3;
    struct error why;

    assert(cachefile_drop_range(file, first, last, &why) == 0);
    for (uint64_t block = first; block < BLOCKS && block <= last; block++)
        seen[block] = (struct seen){ .rc = -ENOENT };
}

static void
act(struct cachefile *file, uint8_t what, unsigned version, struct seen *seen)
{
    uint64_t block = what % BLOCKS;
    enum cachefile_state state = what & 0x10 ? CACHEFILE_DIRTY : CACHEFILE_CLEAN;
    struct error why;
    struct seen now;

    switch (what >> 5) {
    case 0:
    case 1:
        was_put(&seen[block], put(file, block, version, state, 3), state, version);
        return;
    case 2:
        mark_stored(file, block, &seen[block]);
        return;
    case 3:
        assert(cachefile_drop(file, block, 0, &why) == 0);
        seen[block] = (struct seen){ .rc = -ENOENT };
        return;
    case 4:
        drop_range(file, block, seen);
        return;
    case 5:
        look(file, block, HOW_SUMS, &now);
        cachefile_confirm(file, block, what);
        return;
    case 6:
        assert(cachefile_set_note(file, "another", 7, &why) == 0);
        return;
    default:
        assert(cachefile_sync(file, &why) == 0);
    }
}

/* What was dirty is as it was; what was clean may have made room. */
static void
is_still(struct cachefile *file, uint64_t block, const struct seen *seen)
{
    struct seen now;

    look(file, block, HOW_SUMS, &now);
    if (now.rc == -ENOENT && !seen->is_dirty)
        return;
    assert(now.rc == seen->rc && now.is_dirty == seen->is_dirty && now.valid == seen->valid);
    if (seen->is_put) {
        unsigned char data[BLOCK], zeros[BLOCK] = { 0 };
        struct cachefile_info info;

        assert(cachefile_get(file, block, &info, data, NULL, NULL) == 0);
        assert(block == ZEROS_BLOCK ? memcmp(data, zeros, BLOCK) == 0
                                    : is_filled(block, seen->version, data, 3));
    } else {
        assert(now.hash == seen->hash);
    }
}

static void
use(struct image *image, unsigned how, unsigned slots, const uint8_t *what, size_t count)
{
    struct cachefile_config config = config_of(how, image);
    unsigned char note[CACHEFILE_TEXT_BYTES_MAX];
    struct seen seen[BLOCKS];
    struct cachefile *file;
    struct error why = { "" };
    int rc;

    config.slots = slots;
    config.discards_dirty = how & HOW_DISCARDS;
    config.is_forced = how & HOW_FORCED;
    rc = cachefile_open(&config, &why, &file);
    if (rc != 0) {
        assert(rc == -EINVAL || rc == -EUCLEAN || rc == -ENOSPC);
        assert(why.text[0] != '\0');
        return;
    }
    walk(file, how);
    assert(cachefile_note(file, note) <= CACHEFILE_TEXT_BYTES_MAX);
    for (uint64_t block = 0; block < BLOCKS; block++)
        look(file, block, how, &seen[block]);
    for (size_t i = 0; i < count && i < DONE_MAX; i++)
        act(file, what[i], 100 + (unsigned)i, seen);
    walk(file, HOW_SUMS);
    assert(cachefile_close(file, &why) == 0);
    config.discards_dirty = config.is_forced = false;
    assert(cachefile_open(&config, &why, &file) == 0);
    walk(file, HOW_SUMS);
    for (uint64_t block = 0; block < BLOCKS; block++)
        is_still(file, block, &seen[block]);
    assert(cachefile_close(file, &why) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct patching patching;
    unsigned how, slots, patches;
    struct image image;
    size_t pos = 3;

    if (bytes < pos)
        return 0;
    how = data[0];
    slots = SLOTS - 4 + data[1] % 8;
    patches = data[2];
    image_copy(&image, base_of(how));
    patching.image = &image;
    find_records(&patching);
    for (; patches > 0 && bytes - pos > 4; patches--) {
        const uint8_t *head = data + pos;
        size_t count = head[3] % 16 + 1u;

        pos += 4;
        if (count > bytes - pos)
            count = bytes - pos;
        patch(&patching, head, data + pos, count);
        pos += count;
    }
    if (how & HOW_SUMS)
        make_sums(&patching, how);
    use(&image, how, slots, data + pos, bytes - pos);
    free(image.bytes);
    return 0;
}
