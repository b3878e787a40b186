/* SPDX-License-Identifier: Apache-2.0 */
/* Versions of blocks, remembered and asked for again. */
#include "versions.h"

#include "bucket.h"
#include "world.h"

#include <inttypes.h>
#include <string.h>

struct copy {
    struct store_version version; /* UNKNOWN: nothing is remembered */
    char *data;                   /* of a TAG */
};

static struct {
    struct copy *copies;
    uint64_t block_count;
    uint32_t block_bytes;
} versions;

static uint64_t asked, same;

void
versions_note(uint64_t block, const struct store_version *version, const void *data)
{
    struct copy *copy = &versions.copies[block];

    if (version->is == VERSION_UNKNOWN || chance_one_in(2))
        return;
    world_release(copy->data);
    copy->data = NULL;
    copy->version = *version;
    if (version->is == VERSION_TAG) {
        copy->data = world_alloc(versions.block_bytes);
        memcpy(copy->data, data, versions.block_bytes);
    }
}

bool
versions_pick(uint64_t block, struct store_version *out)
{
    *out = versions.copies[block].version;
    return out->is != VERSION_UNKNOWN && chance_one_in(3);
}

void
versions_answer(const struct store_req *check)
{
    const struct copy *copy = &versions.copies[check->block];
    const char *stored = bucket_data(check->block);

    asked++;
    same += check->is_same;
    world_trace("  version %s of block %" PRIu64 ": rc %d%s",
                copy->version.is == VERSION_TAG ? copy->version.tag : "none", check->block,
                check->rc, check->is_same ? ", the same" : "");
    if (!check->is_same)
        return;
    if (check->rc != 0)
        world_fail("a check of block %" PRIu64 " failed, and says that the version is the same",
                   check->block);
    if (copy->data == NULL
            ? stored != NULL
            : stored == NULL || memcmp(stored, copy->data, versions.block_bytes) != 0)
        world_fail("block %" PRIu64 " is said to be the same, and is not", check->block);
    if (bucket_may_change(check->block))
        world_fail("block %" PRIu64
                   " is said to be the same while a lost attempt may still be carried out",
                   check->block);
}

uint64_t
versions_asked(void)
{
    return asked;
}

uint64_t
versions_same(void)
{
    return same;
}

void
versions_new(uint64_t block_count, uint32_t block_bytes)
{
    versions.block_count = block_count;
    versions.block_bytes = block_bytes;
    versions.copies = world_alloc(block_count * sizeof *versions.copies);
}

void
versions_free(void)
{
    for (uint64_t i = 0; i < versions.block_count; i++)
        world_release(versions.copies[i].data);
    world_release(versions.copies);
}
