/* SPDX-License-Identifier: Apache-2.0 */
/* Damage to the cache file: damage [--seed N] [--seconds S] [--runs N].
 *
 * A small file, with all that can be in one, closed in order or killed after a sync.  Then one bit is flipped,
 * somewhere; or, if it was closed, up to a few sectors are zeros, rubbish, or what belongs elsewhere.  Then a
 * clean block is what it was or absent; a dirty one is what it was or an error that names it; or the file is
 * refused.  It never holds anything else. */
#include "disk.h"
#include "run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BLOCKS 10u
#define BLOCK_BYTES 2048u
#define ALL_VALID 0xfu

static struct {
    uint64_t seed, chance;
    struct cachefile_config config;
    struct disk disk;
    struct {
        bool is_there, is_dirty;
        uint64_t valid;
        unsigned char data[BLOCK_BYTES];
    } truth[BLOCKS];
    uint64_t tried, refused, absent, errors, intact;
} world;

static void __attribute__((format(printf, 1, 2), noreturn)) failed(const char *format, ...)
{
    va_list args;

    printf("FAILED\n");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\nto see it again: --seed %" PRIu64 "\n", world.seed);
    fflush(stdout);
    _Exit(1);
}

static uint64_t
chance(uint64_t below)
{
    return chance_next(&world.chance) % below;
}

static void
put(struct cachefile *file, unsigned block)
{
    struct cachefile_block put = { .block = block, .tag = "\"a tag\"" };
    unsigned char *data = world.truth[block].data;
    struct error why;

    for (unsigned i = 0; i < BLOCK_BYTES; i++)
        data[i] = (unsigned char)chance(256);
    world.truth[block].valid = chance(3) == 0 ? 1 + chance(ALL_VALID) : ALL_VALID;
    world.truth[block].is_there = true;
    world.truth[block].is_dirty = chance(2) == 0;
    put.state = world.truth[block].is_dirty ? CACHEFILE_DIRTY : CACHEFILE_CLEAN;
    put.base = (enum cachefile_base)chance(3);
    put.valid = &world.truth[block].valid;
    put.data = data;
    if (chance(6) == 0) {
        put.data = NULL;
        memset(data, 0, BLOCK_BYTES);
    }
    if (cachefile_put(file, &put, NULL, NULL, &why) != 0)
        failed("%s", why.text);
}

static void
make_file(bool is_killed, bool has_dirty)
{
    struct cachefile *file;
    struct error why;

    memset(world.truth, 0, sizeof world.truth);
    disk_free(&world.disk);
    disk_init(&world.disk);
    world.config.io = &world.disk.io;
    for (unsigned lives = 1 + (unsigned)chance(3); lives > 0; lives--) {
        if (cachefile_open(&world.config, &why, &file) != 0)
            failed("%s", why.text);
        for (unsigned i = (unsigned)chance(40); i > 0; i--) {
            unsigned block = (unsigned)chance(BLOCKS);

            if (chance(8) == 0) {
                cachefile_drop(file, block, 0, NULL);
                world.truth[block].is_there = false;
            } else {
                put(file, block);
            }
            if (chance(5) == 0)
                cachefile_sync(file, NULL);
        }
        for (unsigned i = 0; i < BLOCKS && !has_dirty; i++) {
            struct cachefile_info info;

            if (!world.truth[i].is_there || !world.truth[i].is_dirty)
                continue;
            cachefile_get(file, i, &info, NULL, NULL, NULL);
            cachefile_stored(file, i, info.version, CACHEFILE_TAG, "stored", NULL);
            world.truth[i].is_dirty = false;
        }
        cachefile_sync(file, NULL);
        world.disk.is_dead = is_killed && lives == 1;
        cachefile_close(file, NULL);
    }
    world.disk.is_dead = false;
}

/* `refusing` is no failure. */
static void
check(struct disk *disk, const char *what, bool has_dirty)
{
    struct cachefile_config config = world.config;
    struct cachefile *file;
    struct error why;
    int rc;

    world.tried++;
    config.io = &disk->io;
    rc = cachefile_open(&config, &why, &file);
    if (rc == -EINVAL || rc == -EUCLEAN) {
        if (rc == -EUCLEAN && !has_dirty && strstr(why.text, "journal") != NULL
            && strstr(what, "bit") != NULL)
            failed("%s: refused, and nothing was dirty: %s", what, why.text);
        world.refused++;
        return;
    }
    if (rc != 0)
        failed("%s: %s", what, why.text);
    for (unsigned block = 0; block < BLOCKS; block++) {
        unsigned char data[BLOCK_BYTES];
        struct cachefile_info info;
        char name[20];
        uint64_t valid;

        snprintf(name, sizeof name, "block %08x", block);
        rc = cachefile_get(file, block, &info, data, &valid, &why);
        if (rc == -ENOENT) {
            if (world.truth[block].is_there && world.truth[block].is_dirty)
                failed("%s: dirty block %u is absent", what, block);
            world.absent += world.truth[block].is_there;
            continue;
        }
        if (rc == -EIO) {
            if (!world.truth[block].is_there || !world.truth[block].is_dirty
                || strncmp(why.text, name, strlen(name)) != 0)
                failed("%s: block %u: %s", what, block, why.text);
            world.errors++;
            continue;
        }
        if (rc != 0)
            failed("%s: block %u: %s", what, block, why.text);
        if (!world.truth[block].is_there || valid != world.truth[block].valid
            || (info.state == CACHEFILE_DIRTY) != world.truth[block].is_dirty)
            failed("%s: block %u is not what it was", what, block);
        for (unsigned i = 0; i < BLOCK_BYTES; i++) {
            if (valid >> i / CACHEFILE_SECTOR_BYTES & 1 && data[i] != world.truth[block].data[i])
                failed("%s: block %u is wrong at byte %u", what, block, i);
        }
        world.intact++;
    }
    disk->is_dead = true;
    cachefile_close(file, NULL);
    disk->is_dead = false;
}

static void
damage_sectors(struct image *image)
{
    uint64_t at = chance(image->size / 512) * 512, bytes = 512 * (1 + chance(8));
    uint64_t from = chance(image->size / 512) * 512, way = chance(3);

    for (uint64_t i = 0; i < bytes && at + i < image->size && from + i < image->size; i++)
        image->bytes[at + i] = way == 0   ? 0
                               : way == 1 ? (unsigned char)chance(256)
                                          : image->bytes[from + i];
}

/* Where there is something at all, more often. */
static uint64_t
some_byte(const struct image *image)
{
    uint64_t at = chance(image->size);

    for (unsigned i = 0; i < 20 && image->bytes[at] == 0; i++)
        at = chance(image->size);
    return at;
}

static void
one_file(void)
{
    bool is_killed = chance(2) == 0, has_dirty = chance(3) != 0;
    struct image image = { 0 };
    struct disk disk;

    make_file(is_killed, has_dirty);
    disk_init(&disk);
    for (unsigned i = 0; i < 400; i++) {
        char what[100];

        image_copy(&image, &world.disk.now);
        if (is_killed || chance(2) == 0) {
            uint64_t at = some_byte(&image);
            unsigned bit = (unsigned)chance(8);

            image.bytes[at] ^= (unsigned char)(1u << bit);
            snprintf(what, sizeof what, "bit %u of byte %" PRIu64 " flipped%s", bit, at,
                     is_killed ? ", killed" : "");
        } else {
            damage_sectors(&image);
            snprintf(what, sizeof what, "sectors damaged");
        }
        disk_restart(&disk, &image);
        check(&disk, what, has_dirty);
    }
    image_free(&image);
    disk_free(&disk);
}

int
main(int argc, char **argv)
{
    struct run options = run_begin(argc, argv);

    world.config = (struct cachefile_config){ .path = "cache",
                                              .volume = "the volume",
                                              .identity = "identity",
                                              .identity_bytes = 8,
                                              .block_bytes = BLOCK_BYTES,
                                              .slots = 24,
                                              .journal_spare_bytes = 4096 };
    disk_init(&world.disk);
    for (uint64_t run = 0; run_goes_on(&options, run); run++) {
        world.seed = world.chance = options.seed + run;
        one_file();
    }
    printf("%" PRIu64 " times damaged: %" PRIu64
           " times refused; of the blocks in the others, %" PRIu64 " intact, %" PRIu64
           " clean ones absent, %" PRIu64 " dirty ones errors\n",
           world.tried, world.refused, world.intact, world.absent, world.errors);
    disk_free(&world.disk);
    return 0;
}
