/* SPDX-License-Identifier: Apache-2.0 */
/* Power cuts while several threads are in the cache file: threads [--seed N] [--seconds S] [--runs N].
 *
 * Each thread owns some blocks and gives them numbered versions.  Now and then, the power is cut under all of
 * them (disk.h); each block must then be a version that is not older than the last one that its owner knows to
 * be synced.  The journal is renewed all the time, so that much is appended while it is copied.  A seed decides
 * what threads do, not when: a failure may not come again. */
#include "disk.h"
#include "run.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define THREADS 4u
#define BLOCKS_EACH 4u
#define BLOCKS (THREADS * BLOCKS_EACH)
#define BLOCK_BYTES 1024u

static struct {
    uint64_t seed, chance;
    struct cachefile_config config;
    struct cachefile *file;
    struct cachefile_io io; /* the disk's, one at a time */
    pthread_mutex_t lock;
    struct disk disk, after;
    struct image image;
    atomic_uint synced[BLOCKS], begun[BLOCKS];
    uint64_t states, renewed;
} world;

static void __attribute__((format(printf, 1, 2), noreturn)) failed(const char *format, ...)
{
    va_list args;

    printf("FAILED\n");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\nwith --seed %" PRIu64 ", perhaps\n", world.seed);
    fflush(stdout);
    _Exit(1);
}

/* ---- a thread loses the processor for a while after any unlocking */

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __real_pthread_mutex_unlock(pthread_mutex_t *mutex);

int
__wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    static _Thread_local uint64_t dice = 1;
    const struct timespec moment = { 0, 20000 };
    int rc = __real_pthread_mutex_unlock(mutex);

    if (chance_next(&dice) % 32 == 0)
        nanosleep(&moment, NULL);
    return rc;
}

/* ---- versions: number 0 is the absence at the beginning */

static bool
is_gone(unsigned version)
{
    return version % 5 == 0;
}

/* It may make room. */
static bool
is_clean(unsigned version)
{
    return version % 5 == 3;
}

static void
fill(unsigned block, unsigned version, unsigned char *data)
{
    uint64_t word = (uint64_t)block << 32 | version;

    word = chance_next(&word);
    for (unsigned at = 0; at < BLOCK_BYTES; at += sizeof word, word++)
        memcpy(data + at, &word, sizeof word);
}

static void
check(struct cachefile *file, const char *when, unsigned block, unsigned first, unsigned last)
{
    unsigned char data[BLOCK_BYTES], expected[BLOCK_BYTES];
    struct cachefile_info info;
    struct error why;
    int rc = cachefile_get(file, block, &info, data, NULL, &why);

    if (rc != 0 && rc != -ENOENT)
        failed("%s, block %u: %s", when, block, why.text);
    for (unsigned version = last + 1; version-- > first;) {
        if (rc != 0 && (is_gone(version) || is_clean(version)))
            return;
        fill(block, version, expected);
        if (rc == 0 && !is_gone(version) && memcmp(data, expected, sizeof data) == 0)
            return;
    }
    failed("%s, block %u is %s of versions %u to %u", when, block,
           rc == 0 ? "none" : "absent, and none", first, last);
}

/* ---- power cuts */

static void
cut(struct disk *disk)
{
    struct cachefile_config config = world.config;
    unsigned count = 0, synced[BLOCKS];
    struct landed *landed;
    struct cachefile *file;
    struct error why;

    if (chance_next(&world.chance) % 16 != 0)
        return;
    for (unsigned i = 0; i < BLOCKS; i++)
        synced[i] = world.synced[i];
    landed = malloc((disk->op_count + 1) * sizeof *landed);
    for (unsigned i = 0; i < disk->op_count; i++) {
        uint64_t dice = chance_next(&world.chance);

        if (dice % 3 != 0)
            landed[count++] = (struct landed){ i, 0, UINT64_MAX };
    }
    for (unsigned i = count; i > 1; i--) {
        unsigned with = (unsigned)(chance_next(&world.chance) % i);
        struct landed other = landed[with];

        landed[with] = landed[i - 1];
        landed[i - 1] = other;
    }
    disk_cut(disk, landed, count, &world.image);
    free(landed);
    disk_restart(&world.after, &world.image);
    world.after.is_dead = false;
    config.io = &world.after.io;
    if (cachefile_open(&config, &why, &file) != 0)
        failed("after a power cut: %s", why.text);
    for (unsigned i = 0; i < BLOCKS; i++)
        check(file, "after a power cut", i, synced[i], world.begun[i]);
    world.after.is_dead = true;
    cachefile_close(file, NULL);
    world.states++;
}

/* ---- one at a time */

static int
locked_read(struct cachefile_io *io, void *data, size_t bytes, uint64_t offset)
{
    int rc;

    (void)io;
    pthread_mutex_lock(&world.lock);
    rc = world.disk.io.read(&world.disk.io, data, bytes, offset);
    pthread_mutex_unlock(&world.lock);
    return rc;
}

static int
locked_write(struct cachefile_io *io, const void *data, size_t bytes, uint64_t offset)
{
    int rc;

    (void)io;
    pthread_mutex_lock(&world.lock);
    rc = world.disk.io.write(&world.disk.io, data, bytes, offset);
    pthread_mutex_unlock(&world.lock);
    return rc;
}

static int
locked_sync(struct cachefile_io *io)
{
    int rc;

    (void)io;
    pthread_mutex_lock(&world.lock);
    rc = world.disk.io.sync(&world.disk.io);
    pthread_mutex_unlock(&world.lock);
    return rc;
}

static int
locked_resize(struct cachefile_io *io, uint64_t bytes)
{
    int rc;

    (void)io;
    pthread_mutex_lock(&world.lock);
    rc = world.disk.io.resize(&world.disk.io, bytes);
    pthread_mutex_unlock(&world.lock);
    return rc;
}

static int
locked_size(struct cachefile_io *io, uint64_t *bytes)
{
    int rc;

    (void)io;
    pthread_mutex_lock(&world.lock);
    rc = world.disk.io.size(&world.disk.io, bytes);
    pthread_mutex_unlock(&world.lock);
    return rc;
}

static void
locked_close(struct cachefile_io *io)
{
    (void)io;
}

/* ---- threads */

struct worker {
    pthread_t thread;
    unsigned first, rounds;
    uint64_t seed;
};

/* False: there was no room for it. */
static bool
change(unsigned block, unsigned now, unsigned version)
{
    unsigned char data[BLOCK_BYTES];
    struct cachefile_block put = { .block = block,
                                   .state = is_clean(version) ? CACHEFILE_CLEAN : CACHEFILE_DIRTY,
                                   .data = data };
    bool was_dirty = !is_gone(now) && !is_clean(now), is_told_dirty = was_dirty;
    struct error why;
    int rc;

    world.begun[block] = version;
    fill(block, version, data);
    rc = is_gone(version) ? cachefile_drop(world.file, block, 0, &why)
                          : cachefile_put(world.file, &put, NULL, &is_told_dirty, &why);
    if (rc != 0 && rc != -ENOBUFS)
        failed("block %u: %s", block, why.text);
    if (is_told_dirty != was_dirty)
        failed("block %u: its version %u was %sdirty", block, now, was_dirty ? "" : "not ");
    return rc == 0;
}

/* All blocks of a thread at once; their next versions that are absences. */
static void
drop_all(unsigned first, unsigned *now, unsigned *next)
{
    struct error why;

    for (unsigned i = 0; i < BLOCKS_EACH; i++) {
        do
            next[i]++;
        while (!is_gone(next[i]));
        world.begun[first + i] = next[i];
    }
    if (cachefile_drop_range(world.file, first, first + BLOCKS_EACH - 1, &why) != 0)
        failed("%s", why.text);
    memcpy(now, next, BLOCKS_EACH * sizeof *now);
}

static void *
work(void *arg)
{
    struct worker *worker = arg;
    unsigned now[BLOCKS_EACH] = { 0 }, next[BLOCKS_EACH] = { 0 };

    for (unsigned round = 0; round < worker->rounds; round++) {
        unsigned i = (unsigned)(chance_next(&worker->seed) % BLOCKS_EACH);
        uint64_t dice = chance_next(&worker->seed) % 100;

        if (dice < 1) {
            drop_all(worker->first, now, next);
        } else if (dice < 60) {
            if (change(worker->first + i, now[i], ++next[i]))
                now[i] = next[i];
        } else if (dice < 80) {
            unsigned char data[BLOCK_BYTES];
            struct cachefile_info info;

            /* Somebody else's: it may be anything, but sound. */
            (void)cachefile_get(world.file, (unsigned)(chance_next(&worker->seed) % BLOCKS), &info,
                                data, NULL, NULL);
        } else if (dice < 90) {
            check(world.file, "now", worker->first + i, now[i], now[i]);
        } else {
            if (cachefile_sync(world.file, NULL) != 0)
                failed("a sync failed");
            for (i = 0; i < BLOCKS_EACH; i++)
                world.synced[worker->first + i] = now[i];
        }
    }
    return NULL;
}

static void
run(uint64_t seed)
{
    struct worker workers[THREADS];
    struct cachefile_stats stats;
    struct error why;

    world.seed = world.chance = seed;
    disk_init(&world.disk);
    disk_init(&world.after);
    world.disk.after = cut;
    for (unsigned i = 0; i < BLOCKS; i++)
        world.synced[i] = world.begun[i] = 0;
    world.config.slots = BLOCKS / 2 + (uint32_t)(chance_next(&world.chance) % BLOCKS);
    world.config.journal_spare_bytes = 1024;
    world.config.io = &world.io;
    if (cachefile_open(&world.config, &why, &world.file) != 0)
        failed("%s", why.text);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] =
            (struct worker){ .first = i * BLOCKS_EACH, .rounds = 300, .seed = chance_next(&seed) };
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            failed("no thread");
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(workers[i].thread, NULL);
    cachefile_stats(world.file, &stats);
    world.renewed += stats.compactions;
    if (stats.rotten + stats.rotten_dirty > 0)
        failed("%" PRIu64 " blocks did not match, on a disk that does no damage",
               stats.rotten + stats.rotten_dirty);
    if (cachefile_close(world.file, &why) != 0)
        failed("%s", why.text);
    disk_free(&world.disk);
    disk_free(&world.after);
    image_free(&world.image);
}

int
main(int argc, char **argv)
{
    struct run options = run_begin(argc, argv);
    uint64_t runs = 0;

    pthread_mutex_init(&world.lock, NULL);
    world.io = (struct cachefile_io){ .read = locked_read,
                                      .write = locked_write,
                                      .sync = locked_sync,
                                      .resize = locked_resize,
                                      .size = locked_size,
                                      .close = locked_close };
    world.config = (struct cachefile_config){ .path = "cache",
                                              .volume = "the volume",
                                              .identity = "identity",
                                              .identity_bytes = 8,
                                              .block_bytes = BLOCK_BYTES };
    for (; run_goes_on(&options, runs); runs++)
        run(options.seed + runs);
    printf("%" PRIu64 " runs, %" PRIu64 " new journals, %" PRIu64 " states of the disk opened\n",
           runs, world.renewed, world.states);
    return 0;
}
