/* SPDX-License-Identifier: Apache-2.0 */
/* What is in the cache file's slots: valid sectors, one after another; or, sealed, a whole block with zeros for those
 * that are not, since what encrypts knows only whole ones. */
#include "cachefile_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

uint64_t
slot_offset(const struct cachefile *file, uint32_t slot)
{
    return DATA_OFFSET + (uint64_t)slot * file->config.block_bytes;
}

/* Bound to the file and the block: what another file or block left in the slot does not match. */
static void
data_sum(const struct cachefile *file, uint64_t block, const void *data, size_t bytes,
         uint64_t sum[2])
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(data, bytes, file->id + block);

    sum[0] = hash.low64;
    sum[1] = hash.high64;
}

static bool
bit_is_set(const unsigned char *map, uint32_t bit)
{
    uint64_t word;

    memcpy(&word, map + bit / 64 * sizeof word, sizeof word); /* in a record it is not aligned */
    return word >> bit % 64 & 1;
}

/* So many are in the slot, if any are. */
static size_t
stored_bytes(const struct cachefile *file, const struct record *record)
{
    return file->config.seal != NULL ? file->config.block_bytes
                                     : (size_t)record->sectors * CACHEFILE_SECTOR_BYTES;
}

static void
pack(const struct cachefile *file, const unsigned char *map, const unsigned char *data,
     unsigned char *packed)
{
    bool is_whole = file->config.seal != NULL;

    for (uint32_t i = 0; i < file->sectors; i++) {
        bool is_valid = bit_is_set(map, i);

        if (is_valid)
            memcpy(packed, data + (size_t)i * CACHEFILE_SECTOR_BYTES, CACHEFILE_SECTOR_BYTES);
        else if (is_whole)
            memset(packed, 0, CACHEFILE_SECTOR_BYTES);
        if (is_valid || is_whole)
            packed += CACHEFILE_SECTOR_BYTES;
    }
}

static void
unpack(const struct cachefile *file, const unsigned char *map, const unsigned char *packed,
       unsigned char *data)
{
    bool is_whole = file->config.seal != NULL;

    for (uint32_t i = 0; i < file->sectors; i++) {
        bool is_valid = map == NULL || bit_is_set(map, i);

        if (is_valid && packed == NULL)
            memset(data + (size_t)i * CACHEFILE_SECTOR_BYTES, 0, CACHEFILE_SECTOR_BYTES);
        else if (is_valid)
            memcpy(data + (size_t)i * CACHEFILE_SECTOR_BYTES, packed, CACHEFILE_SECTOR_BYTES);
        if (packed != NULL && (is_valid || is_whole))
            packed += CACHEFILE_SECTOR_BYTES;
    }
}

static int
seal(struct cachefile *file, uint64_t block, const void *plain, size_t bytes,
     unsigned char *in_slot, unsigned char *sealed)
{
    const struct cachefile_config *config = &file->config;
    int rc = config->seal(config->seal_arg, block, plain, bytes, in_slot);

    if (rc == 0)
        memcpy(sealed, in_slot + bytes, config->seal_bytes);
    return rc;
}

int
data_write(struct cachefile *file, const struct cachefile_block *block, uint32_t slot,
           struct record *record, unsigned char *sealed, struct error *why)
{
    size_t bytes = stored_bytes(file, record);
    bool is_partial = record->sectors < file->sectors;
    const void *data = block->data;
    unsigned char *packed = NULL, *in_slot = NULL;
    int rc = 0;

    if (record->is_zeros)
        return 0;
    if (is_partial) {
        packed = malloc(bytes);
        if (packed == NULL)
            return error_set(why, -ENOMEM, "out of memory");
        pack(file, (const unsigned char *)block->valid, block->data, packed);
        data = packed;
    }
    if (file->config.seal != NULL) {
        in_slot = malloc(bytes + file->config.seal_bytes);
        rc = in_slot == NULL ? -ENOMEM : seal(file, block->block, data, bytes, in_slot, sealed);
        if (rc != 0) {
            error_set(why, rc, "cannot encrypt block %08llx for the cache file: %s",
                      (unsigned long long)block->block, strerror(-rc));
            goto free_both;
        }
        data = in_slot;
    }
    data_sum(file, block->block, data, bytes, record->data_sum);
    rc = file->io->write(file->io, data, bytes, slot_offset(file, slot));
    if (rc != 0)
        error_set(why, rc, "cannot write to the cache file %s: %s", file->path, strerror(-rc));
free_both:
    free(in_slot);
    free(packed);
    return rc;
}

static int
read_checked(struct cachefile *file, const struct record *record, uint32_t slot, void *stored,
             size_t bytes)
{
    uint64_t sum[2];
    int rc = file->io->read(file->io, stored, bytes, slot_offset(file, slot));

    if (rc != 0)
        return rc;
    if (file->config.is_advised)
        file->io->forget(file->io, slot_offset(file, slot), bytes);
    data_sum(file, record->block, stored, bytes, sum);
    return memcmp(sum, record->data_sum, sizeof sum) == 0 ? 0 : -EBADMSG;
}

int
data_read(struct cachefile *file, const struct record *record, uint32_t slot, void *data)
{
    const struct cachefile_config *config = &file->config;
    size_t bytes = stored_bytes(file, record);
    unsigned char *stored = data, *plain = data, *room = NULL;
    struct record_parts parts;
    bool is_direct;
    int rc;

    record_parts(file, record, &parts);
    if (record->is_zeros) {
        if (data != NULL)
            unpack(file, parts.map, NULL, data);
        return 0;
    }
    is_direct = data != NULL && parts.map == NULL && config->seal == NULL;
    if (!is_direct) {
        room = malloc(2 * bytes + config->seal_bytes);
        if (room == NULL)
            return -ENOMEM;
        stored = plain = room;
    }
    rc = read_checked(file, record, slot, stored, bytes);
    if (rc == 0 && config->seal != NULL && data != NULL) {
        memcpy(stored + bytes, parts.sealed, config->seal_bytes);
        plain = parts.map == NULL ? data : stored + bytes + config->seal_bytes;
        rc = config->unseal(config->seal_arg, record->block, stored, bytes, plain);
        if (rc != 0 && rc != -ENOMEM)
            rc = -EBADMSG;
    }
    if (rc == 0 && data != NULL && plain != data)
        unpack(file, parts.map, plain, data);
    free(room);
    return rc;
}

int
data_rewrite(struct cachefile *file, const struct record *record, uint32_t from, uint32_t to)
{
    size_t bytes = stored_bytes(file, record);
    void *stored;
    int rc;

    if (record->is_zeros)
        return 0;
    stored = malloc(bytes);
    if (stored == NULL)
        return -ENOMEM;
    rc = read_checked(file, record, from, stored, bytes);
    rc = rc != 0 ? -EBADMSG : file->io->write(file->io, stored, bytes, slot_offset(file, to));
    free(stored);
    return rc;
}
