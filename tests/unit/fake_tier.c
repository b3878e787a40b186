/* SPDX-License-Identifier: Apache-2.0 */
/* The tier over a store that does what the test says, with a disk that does so, too. */
#include "fake_tier.h"

#include "tier_impl.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_COUNT 64u
#define DATA_OFFSET 8192u /* of the slots in the file */

/* ---- the disk */

static struct safe_disk *
safe_of(struct cachefile_io *io)
{
    return container_of(io, struct safe_disk, io);
}

static int
safe_read(struct cachefile_io *io, void *data, size_t bytes, uint64_t offset)
{
    struct safe_disk *safe = safe_of(io);
    int rc;

    pthread_mutex_lock(&safe->lock);
    rc = safe->disk.io.read(&safe->disk.io, data, bytes, offset);
    pthread_mutex_unlock(&safe->lock);
    return rc;
}

static int
safe_write(struct cachefile_io *io, const void *data, size_t bytes, uint64_t offset)
{
    struct safe_disk *safe = safe_of(io);
    int rc;

    pthread_mutex_lock(&safe->lock);
    if (safe->writes == WRITE_TO_BE_HELD) {
        safe->writes = WRITE_HELD;
        pthread_cond_broadcast(&safe->changed);
        while (safe->writes == WRITE_HELD)
            pthread_cond_wait(&safe->changed, &safe->lock);
    }
    rc = safe->disk.io.write(&safe->disk.io, data, bytes, offset);
    pthread_mutex_unlock(&safe->lock);
    return rc;
}

static int
safe_sync(struct cachefile_io *io)
{
    struct safe_disk *safe = safe_of(io);
    int rc;

    pthread_mutex_lock(&safe->lock);
    safe->syncs_waiting++;
    pthread_cond_broadcast(&safe->changed);
    while (safe->holds_syncs)
        pthread_cond_wait(&safe->changed, &safe->lock);
    safe->syncs_waiting--;
    rc = safe->disk.io.sync(&safe->disk.io);
    pthread_mutex_unlock(&safe->lock);
    return rc;
}

static int
safe_resize(struct cachefile_io *io, uint64_t bytes)
{
    struct safe_disk *safe = safe_of(io);
    int rc;

    pthread_mutex_lock(&safe->lock);
    rc = safe->disk.io.resize(&safe->disk.io, bytes);
    pthread_mutex_unlock(&safe->lock);
    return rc;
}

static int
safe_size(struct cachefile_io *io, uint64_t *bytes)
{
    struct safe_disk *safe = safe_of(io);
    int rc;

    pthread_mutex_lock(&safe->lock);
    rc = safe->disk.io.size(&safe->disk.io, bytes);
    pthread_mutex_unlock(&safe->lock);
    return rc;
}

static void
safe_forget(struct cachefile_io *io, uint64_t offset, uint64_t bytes)
{
    (void)io, (void)offset, (void)bytes;
}

static int
safe_unlink(struct cachefile_io *io, const char *path)
{
    struct safe_disk *safe = safe_of(io);
    int rc;

    pthread_mutex_lock(&safe->lock);
    rc = safe->disk.io.unlink(&safe->disk.io, path);
    pthread_mutex_unlock(&safe->lock);
    return rc;
}

static int
safe_sync_name(struct cachefile_io *io, const char *path)
{
    struct safe_disk *safe = safe_of(io);
    int rc;

    pthread_mutex_lock(&safe->lock);
    rc = safe->disk.io.sync_name(&safe->disk.io, path);
    pthread_mutex_unlock(&safe->lock);
    return rc;
}

static void
safe_close(struct cachefile_io *io)
{
    (void)io;
}

static void
safe_init(struct safe_disk *safe)
{
    safe->io =
        (struct cachefile_io){ safe_read,   safe_write,  safe_sync,      safe_resize, safe_size,
                               safe_forget, safe_unlink, safe_sync_name, safe_close,  NULL };
    pthread_mutex_init(&safe->lock, NULL);
    pthread_cond_init(&safe->changed, NULL);
    disk_init(&safe->disk);
    safe->disk.seed = &safe->seed;
}

static void
safe_end(struct safe_disk *safe)
{
    disk_free(&safe->disk);
    pthread_cond_destroy(&safe->changed);
    pthread_mutex_destroy(&safe->lock);
}

void
disk_fails(struct tiered *tiered, unsigned writes, unsigned syncs, int rc)
{
    struct safe_disk *safe = &tiered->disk;

    pthread_mutex_lock(&safe->lock);
    safe->disk.write_faults = writes;
    safe->disk.sync_faults = syncs;
    safe->disk.fault = rc;
    pthread_mutex_unlock(&safe->lock);
}

void
disk_rots(struct tiered *tiered)
{
    struct safe_disk *safe = &tiered->disk;

    pthread_mutex_lock(&safe->lock);
    for (uint32_t i = 0; i < tiered->file_config.slots; i++) {
        uint64_t at = DATA_OFFSET + (uint64_t)i * tiered->file_config.block_bytes;

        if (at < safe->disk.now.size)
            safe->disk.now.bytes[at] ^= 1;
    }
    pthread_mutex_unlock(&safe->lock);
}

void
disk_hold_syncs(struct tiered *tiered, bool holds)
{
    struct safe_disk *safe = &tiered->disk;

    pthread_mutex_lock(&safe->lock);
    safe->holds_syncs = holds;
    pthread_cond_broadcast(&safe->changed);
    pthread_mutex_unlock(&safe->lock);
}

void
disk_await_syncs(struct tiered *tiered, unsigned count)
{
    struct safe_disk *safe = &tiered->disk;

    pthread_mutex_lock(&safe->lock);
    while (safe->syncs_waiting < count)
        pthread_cond_wait(&safe->changed, &safe->lock);
    pthread_mutex_unlock(&safe->lock);
}

static void
set_writes(struct tiered *tiered, int writes)
{
    struct safe_disk *safe = &tiered->disk;

    pthread_mutex_lock(&safe->lock);
    safe->writes = writes;
    pthread_cond_broadcast(&safe->changed);
    pthread_mutex_unlock(&safe->lock);
}

void
disk_hold_write(struct tiered *tiered)
{
    set_writes(tiered, WRITE_TO_BE_HELD);
}

void
disk_await_write(struct tiered *tiered)
{
    struct safe_disk *safe = &tiered->disk;

    pthread_mutex_lock(&safe->lock);
    while (safe->writes != WRITE_HELD)
        pthread_cond_wait(&safe->changed, &safe->lock);
    pthread_mutex_unlock(&safe->lock);
}

void
disk_release_write(struct tiered *tiered)
{
    set_writes(tiered, WRITES_GO);
}

uint64_t
disk_syncs(struct tiered *tiered)
{
    struct safe_disk *safe = &tiered->disk;
    uint64_t count;

    pthread_mutex_lock(&safe->lock);
    count = safe->disk.syncs;
    pthread_mutex_unlock(&safe->lock);
    return count;
}

/* ---- life */

void
tiered_open(struct tiered *tiered)
{
    struct error why;

    if (cachefile_open(&tiered->file_config, &why, &tiered->file) != 0)
        fail_msg("%s", why.text);
    tiered->config.file = tiered->file;
    assert_int_equal(stats_new(&tiered->stats), 0);
    assert_int_equal(tier_new(&tiered->config, &tiered->below.store, tiered->pool, tiered->stats,
                              &tiered->store),
                     0);
}

struct tiered *
tiered_new_at(struct tier_config config, uint32_t slots, const char *path)
{
    struct tiered *tiered = calloc(1, sizeof *tiered);

    config.block_bytes = config.block_bytes > 0 ? config.block_bytes : BLOCK_BYTES;
    config.write_delay_ns = config.write_delay_ns > 0 ? config.write_delay_ns : TIER_DELAY_NS;
    config.in_flight_max = config.in_flight_max > 0 ? config.in_flight_max : 8;
    config.stall_ns = config.stall_ns > 0 ? config.stall_ns : UINT64_MAX;
    tiered->config = config;
    safe_init(&tiered->disk);
    tiered->file_config = (struct cachefile_config){ .path = path != NULL ? path : "the file",
                                                     .volume = "the volume",
                                                     .identity = "identity",
                                                     .identity_bytes = 8,
                                                     .block_bytes = config.block_bytes,
                                                     .slots = slots > 0 ? slots : 16,
                                                     .io = path != NULL ? NULL : &tiered->disk.io };
    below_init(&tiered->below, config.block_bytes, BLOCK_COUNT);
    tiered->below.orders_blocks = true;
    assert_int_equal(pool_new(1, &tiered->pool), 0);
    tiered_open(tiered);
    return tiered;
}

struct tiered *
tiered_new(struct tier_config config, uint32_t slots)
{
    return tiered_new_at(config, slots, NULL);
}

struct tiered *
tiered_with(struct tier_config config)
{
    return tiered_new(config, 0);
}

struct tiered *
tiered_usual(void)
{
    return tiered_with((struct tier_config){ 0 });
}

struct tiered *
tiered_local(void)
{
    return tiered_with((struct tier_config){ .durability = TIER_FILE });
}

void
tiered_give_up(struct tiered *tiered)
{
    struct error why;

    tiered_settle(tiered);
    tier_free(tiered->store);
    (void)cachefile_close(tiered->file, &why);
    pool_free(tiered->pool);
    below_end(&tiered->below);
    stats_free(tiered->stats);
    safe_end(&tiered->disk);
    free(tiered);
}

void
tiered_free(struct tiered *tiered)
{
    struct wish flush;

    tiered_expect_quiet(tiered);
    below_mode(&tiered->below, BELOW_ANSWERS);
    tier_ending(tiered->store);
    ask_flush(tiered, &flush);
    assert_int_equal(wish_end(&flush), 0);
    assert_int_equal(tier_unsent(tiered->store), 0);
    tiered_give_up(tiered);
}

void
tiered_close(struct tiered *tiered, enum tiered_end how)
{
    struct safe_disk *safe = &tiered->disk;
    struct image image = { 0 };
    struct error why;

    tiered_expect_quiet(tiered);
    tier_stop(tiered->store);
    pthread_mutex_lock(&safe->lock);
    if (how != END_ORDERLY) {
        image_copy(&image, how == END_KILLED ? &safe->disk.now : &safe->disk.synced);
        safe->disk.is_dead = true;
    }
    pthread_mutex_unlock(&safe->lock);
    tier_free(tiered->store);
    (void)cachefile_close(tiered->file, &why);
    stats_free(tiered->stats);
    if (how == END_ORDERLY)
        return;
    disk_restart(&safe->disk, &image);
    safe->disk.is_dead = false;
    image_free(&image);
}

void
tiered_restart(struct tiered *tiered, enum tiered_end how)
{
    tiered_close(tiered, how);
    tiered_open(tiered);
}

/* ---- waiting */

struct meeting {
    struct task task;
    sem_t here, all, gone;
};

static void
meet(struct task *task)
{
    struct meeting *meeting = container_of(task, struct meeting, task);

    sem_post(&meeting->here);
    while (sem_wait(&meeting->all) != 0)
        ;
    sem_post(&meeting->gone);
}

/* Each worker has nothing else to do. */
static void
pool_settle(struct pool *pool, unsigned workers)
{
    struct meeting meetings[TIER_WORKERS];

    assert_true(workers == pool_workers(pool) && workers <= TIER_WORKERS);
    for (unsigned i = 0; i < workers; i++) {
        meetings[i].task.run = meet;
        sem_init(&meetings[i].here, 0, 0);
        sem_init(&meetings[i].all, 0, 0);
        sem_init(&meetings[i].gone, 0, 0);
        pool_submit(pool, &meetings[i].task);
    }
    for (unsigned i = 0; i < workers; i++)
        wait_for(&meetings[i].here);
    for (unsigned i = 0; i < workers; i++)
        sem_post(&meetings[i].all);
    for (unsigned i = 0; i < workers; i++) {
        wait_for(&meetings[i].gone);
        sem_destroy(&meetings[i].here);
        sem_destroy(&meetings[i].all);
        sem_destroy(&meetings[i].gone);
    }
}

static struct pool *
workers_of(struct tiered *tiered)
{
    return container_of(tiered->store, struct tier, store)->workers;
}

/* Tasks run in the order of their submission; what these make others submit comes before the next meeting. */
void
tiered_settle(struct tiered *tiered)
{
    for (unsigned i = 0; i < 6; i++) {
        pool_settle(tiered->pool, 1);
        pool_settle(workers_of(tiered), TIER_WORKERS);
    }
}

void
tiered_nudge(struct tiered *tiered)
{
    clock_jump(workers_of(tiered), 0);
}

void
tiered_sleep(struct tiered *tiered, uint64_t ns)
{
    tiered_settle(tiered);
    clock_jump(tiered->pool, ns);
    tiered_nudge(tiered);
    tiered_settle(tiered);
}

void
tiered_expect_quiet(struct tiered *tiered)
{
    tiered_settle(tiered);
    below_expect_nothing(&tiered->below);
}

uint64_t
tiered_counter(struct tiered *tiered, const char *name)
{
    return counter_value(stats_counter(tiered->stats, name, ""));
}

uint64_t
tiered_gauge(struct tiered *tiered, const char *name)
{
    char *text = stats_json(tiered->stats);
    json_t *json = json_loads(text, 0, NULL);
    uint64_t value;

    assert_non_null(json_object_get(json, name));
    value = (uint64_t)json_number_value(json_object_get(json, name));
    json_decref(json);
    free(text);
    return value;
}

/* ---- requests from above */

static struct store_req
whole(enum store_op op, struct wish *wish, uint64_t block)
{
    return (struct store_req){ .op = op, .block = block, .bytes = BLOCK_BYTES, .data = wish->data };
}

void
ask_read(struct tiered *tiered, struct wish *wish, uint64_t block)
{
    memset(wish->data, 0xee, sizeof wish->data);
    wish_submit(tiered->store, wish, whole(STORE_READ, wish, block));
}

void
ask_write(struct tiered *tiered, struct wish *wish, uint64_t block, uint32_t sector,
          uint32_t sectors, unsigned char fill)
{
    struct store_req req = whole(STORE_WRITE, wish, block);

    memset(wish->data, 0xbb, sizeof wish->data); /* nobody is to look at it */
    memset(wish->data + sector * SECTOR_BYTES, fill, sectors * SECTOR_BYTES);
    wish->valid = ((UINT64_C(1) << sectors) - 1) << sector;
    if (sectors < SECTORS)
        req.valid = &wish->valid;
    wish_submit(tiered->store, wish, req);
}

void
ask_zero(struct tiered *tiered, struct wish *wish, uint64_t block, uint64_t count)
{
    wish_submit(tiered->store, wish,
                (struct store_req){ .op = STORE_ZERO, .block = block, .count = count });
}

void
ask_flush(struct tiered *tiered, struct wish *wish)
{
    wish_submit(tiered->store, wish, (struct store_req){ .op = STORE_FLUSH });
}

void
expect_waits(struct tiered *tiered, struct wish *wish)
{
    tiered_settle(tiered);
    assert_false(wish_is_done(wish));
}

void
put(struct tiered *tiered, uint64_t block, uint32_t sector, uint32_t sectors, unsigned char fill)
{
    struct wish write;

    ask_write(tiered, &write, block, sector, sectors, fill);
    expect_done(&write, 0);
}

void
keep(struct tiered *tiered, uint64_t block)
{
    struct wish read;

    ask_read(tiered, &read, block);
    below_answer(&tiered->below, STORE_READ, block, 0);
    wish_expect(&read, stored_byte(block));
    expect_file(tiered, block, CACHEFILE_CLEAN, ALL_SECTORS, CACHEFILE_TAG, NULL);
}

void
expect_kept(struct tiered *tiered, uint64_t block, uint32_t sector, uint32_t sectors,
            unsigned char fill)
{
    struct wish read;

    ask_read(tiered, &read, block);
    assert_int_equal(wish_end(&read), 0);
    for (uint32_t i = sector * SECTOR_BYTES; i < (sector + sectors) * SECTOR_BYTES; i++)
        assert_int_equal(read.data[i], fill);
    tiered_expect_quiet(tiered);
}

void
expect_file(struct tiered *tiered, uint64_t block, enum cachefile_state state, uint64_t sectors,
            enum cachefile_base base, const char *tag)
{
    struct cachefile_info info;
    struct error why;
    uint64_t valid = 0;

    tiered_settle(tiered);
    if (cachefile_get(tiered->file, block, &info, NULL, &valid, &why) != 0)
        fail_msg("%s", why.text);
    assert_int_equal(info.state, state);
    assert_int_equal(valid, sectors);
    assert_int_equal(info.base, base);
    if (tag != NULL)
        assert_string_equal(info.tag, tag);
}

void
expect_no_file(struct tiered *tiered, uint64_t block)
{
    tiered_settle(tiered);
    assert_false(cachefile_holds(tiered->file, block));
}

void
expect_stored(struct tiered *tiered, uint64_t block, uint32_t sector, uint32_t sectors,
              unsigned char fill)
{
    below_expect_stored(&tiered->below, block, sector, sectors, fill);
}

struct asked *
flight_of(struct tiered *tiered, uint64_t block)
{
    return below_expect(&tiered->below, STORE_WRITE, block);
}

void
answer_write(struct tiered *tiered, uint64_t block, int rc)
{
    struct asked *flight = flight_of(tiered, block);

    assert_null(flight->req->valid);
    asked_answer(flight, rc);
    tiered_settle(tiered);
}
