/* SPDX-License-Identifier: Apache-2.0 */
/* The cache file of the simulated machine. */
#include "file.h"

#include "../cachefile/disk.h"
#include "world.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static struct {
    struct cachefile_config config;
    uint64_t block_count;
    struct disk disk;
    uint64_t seed;
    char *seen; /* of each block */
    uint64_t *seen_valid;
    uint64_t seen_blocks;
} file;

void __wrap_random_fill(void *out, size_t bytes);

void
__wrap_random_fill(void *out, size_t bytes)
{
    unsigned char *to = out;

    for (size_t i = 0; i < bytes; i++)
        to[i] = (unsigned char)chance();
}

static void
disk_new(void)
{
    disk_init(&file.disk);
    file.disk.seed = &file.seed;
}

void
file_new(const struct cachefile_config *config, uint64_t block_count)
{
    memset(&file, 0, sizeof file);
    file.config = *config;
    file.block_count = block_count;
    file.seed = chance();
    file.seen = world_alloc(block_count * config->block_bytes);
    file.seen_valid = world_alloc(block_count * sizeof *file.seen_valid);
    assert(config->block_bytes <= 64 * CACHEFILE_SECTOR_BYTES);
    disk_new();
}

void
file_free(void)
{
    disk_free(&file.disk);
    world_release(file.seen);
    world_release(file.seen_valid);
    memset(&file, 0, sizeof file);
}

static struct cachefile *
open_on(struct disk *disk)
{
    struct cachefile_config config = file.config;
    struct cachefile *opened;
    struct error why;

    config.io = &disk->io;
    if (cachefile_open(&config, &why, &opened) != 0)
        world_fail("the cache file cannot be opened: %s", why.text);
    return opened;
}

struct cachefile *
file_open(void)
{
    return open_on(&file.disk);
}

void
file_set_faults(const struct file_faults *faults)
{
    file.disk.write_faults = faults->write_of_1000;
    file.disk.sync_faults = file.disk.name_faults = faults->sync_of_1000;
    file.disk.fault = faults->rc;
}

bool
file_is_synced(void)
{
    const struct image *now = &file.disk.now, *synced = &file.disk.synced;

    /* A failed sync forgets what to write. */
    return file.disk.op_count == 0 && now->size == synced->size
           && (now->size == 0 || memcmp(now->bytes, synced->bytes, now->size) == 0);
}

/* ---- power cuts */

/* Some of what was not synced, in any order, each torn anywhere. */
static unsigned
land(struct landed *landed)
{
    unsigned count = 0, one_in = (unsigned)chance_from(1, 8);
    bool is_kept = chance_one_in(2);

    for (unsigned i = 0; i < file.disk.op_count; i++) {
        struct landed *next = &landed[count];
        uint64_t bytes = file.disk.ops[i].bytes;

        if (chance_one_in(one_in) == is_kept)
            continue;
        *next = (struct landed){ i, 0, UINT64_MAX };
        count++;
        if (file.disk.ops[i].is_resize || bytes == 0 || !chance_one_in(8))
            continue;
        if (chance_one_in(2))
            next->from = chance_below(bytes);
        if (chance_one_in(2))
            next->to = chance_below(bytes + 1);
    }
    if (chance_one_in(2)) {
        for (unsigned i = count; i > 1; i--) {
            unsigned with = (unsigned)chance_below(i);
            struct landed other = landed[with];

            landed[with] = landed[i - 1];
            landed[i - 1] = other;
        }
    }
    return count;
}

static void
cut(struct image *out)
{
    struct landed *landed = world_alloc((file.disk.op_count + 1) * sizeof *landed);

    disk_cut(&file.disk, landed, land(landed), out);
    world_release(landed);
}

/* Is there none?  A power cut may bring it back that was removed, as long as its directory was not synced. */
static bool
is_removed(bool is_power_cut)
{
    return file.disk.is_gone || (file.disk.is_unlinked && (!is_power_cut || chance_one_in(2)));
}

void
file_kill(bool is_power_cut)
{
    struct image image = { 0 };

    if (is_removed(is_power_cut)) {
        world_trace("the cache file was removed");
        disk_free(&file.disk);
        disk_new();
    } else if (is_power_cut) {
        world_trace("POWER CUT");
        cut(&image);
        disk_restart(&file.disk, &image);
        image_free(&image);
    }
    file_set_faults(&(struct file_faults){ 0 });
}

/* ---- looking */

static void
see(struct cachefile *opened)
{
    uint32_t sectors = file.config.block_bytes / CACHEFILE_SECTOR_BYTES, cursor = 0;
    struct cachefile_info info;
    struct error why;

    memset(file.seen_valid, 0, file.block_count * sizeof *file.seen_valid);
    file.seen_blocks = 0;
    while (cachefile_next(opened, &cursor, &info)) {
        if (info.state != CACHEFILE_DIRTY)
            continue;
        assert(info.block < file.block_count && sectors <= 64);
        if (cachefile_get(opened, info.block, &info,
                          file.seen + info.block * file.config.block_bytes,
                          &file.seen_valid[info.block], &why)
            != 0)
            world_fail("%s", why.text);
        world_trace("the file has block %u, sectors %x, version %u", (unsigned)info.block,
                    (unsigned)file.seen_valid[info.block], (unsigned)info.version);
        file.seen_blocks++;
    }
}

void
file_look(bool is_power_cut)
{
    struct disk disk;
    struct image image = { 0 };

    memset(file.seen_valid, 0, file.block_count * sizeof *file.seen_valid);
    file.seen_blocks = 0;
    if (is_removed(is_power_cut) || file.disk.now.size == 0)
        return;
    world_calm(true);
    if (is_power_cut)
        cut(&image);
    else
        image_copy(&image, &file.disk.now);
    disk_init(&disk);
    disk_restart(&disk, &image);
    if (image.size > 0) {
        struct cachefile *opened = open_on(&disk);

        see(opened);
        disk.is_dead = true;
        cachefile_close(opened, NULL);
    }
    disk_free(&disk);
    image_free(&image);
    world_calm(false);
}

const char *
file_seen(uint64_t block, uint32_t sector)
{
    if ((file.seen_valid[block] >> sector & 1) == 0)
        return NULL;
    return file.seen + block * file.config.block_bytes + (size_t)sector * CACHEFILE_SECTOR_BYTES;
}

uint64_t
file_seen_blocks(void)
{
    return file.seen_blocks;
}
