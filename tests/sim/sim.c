/* SPDX-License-Identifier: Apache-2.0 */
/* The deterministic simulation: sim [--seed N] [--seconds S] [--operations N] [--whole] [--file | --no-file] [--trace].
 *
 * A run is all that one seed decides: sizes and settings, a store and its faults, clients, and a few lives of
 * the daemon, each of which ends in a kill or an orderly stop.  What is checked on the way is said in
 * truth.h, bucket.h, daemon.c and below; README.md has the list. */
#include "bucket.h"
#include "daemon.h"
#include "file.h"
#include "truth.h"
#include "versions.h"
#include "world.h"

#include "base/util.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 24u
#define RUN_SECONDS_MAX                                                                            \
    60 /* of processor time, after which a run counts as one that does not end */
#define FLUSHES_MAX 30u
#define BYTES_MAX (1u << 20) /* of one read or write, as the kernel sends them */
#define NEVER UINT64_MAX
/* An answer that came from a failure, and one that waited for it, may be that far apart: a busy machine. */
#define FAILURE_SLACK_NS (500 * NS_PER_MS)

enum place {
    PLACE_ANYWHERE,
    PLACE_HOT,    /* a few blocks */
    PLACE_STREAM, /* on from where this client was */
    PLACE_COUNT,
};

enum grain {
    GRAIN_CELL,
    GRAIN_SECTOR,
    GRAIN_BLOCK,
    GRAIN_COUNT,
};

/* What the clients do for a while. */
struct mix {
    unsigned weights[DISK_SEEK_HOLE + 1];
    enum place place;
    enum grain grain;
    uint64_t hot_block, hot_count;
    uint64_t pause_max_ns;
    uint64_t bytes_max;
    unsigned zeros_percent; /* of writes */
    unsigned clients;
};

struct client {
    struct disk_req req;
    bool is_awake; /* has a request under way, or will have */
    bool is_busy;  /* has one under way */
    unsigned number;
    uint64_t first, end; /* cells */
    uint32_t write;
    uint64_t start; /* step */
    uint64_t started_ns, refusals;
    uint64_t stream;
    char *data;
};

static struct {
    struct layout layout;
    struct daemon_config daemon;
    struct bucket_config bucket;
    struct bucket_faults faults; /* when it is not well */
    struct world_faults world_faults;
    bool is_whole_only;
    enum { FILES_SOMETIMES, FILES_NEVER, FILES_ALWAYS } files;
    bool has_file; /* the machine has, in all lives of the daemon, though not each may use it */
    bool is_all_stored; /* what an earlier life left in it, too */
    bool is_file_old;   /* somebody may have written to the store past it */
    struct file_faults file_faults;
    uint64_t operations_max; /* of a run; 0: as the seed says */

    struct mix mix;
    struct client clients[CLIENTS_MAX];
    unsigned busy, awake;
    uint64_t to_issue;
    bool is_waiting; /* for all clients, not only until nothing is left to issue */
    bool is_killed;
    uint64_t well_ns; /* since when the store is; NEVER: it is not */
    uint64_t patience_ns;
    uint64_t operations, kills, stops, spills, flushes, failures; /* for the report */
} sim;

static const char *const op_words[] = {
    "read", "write", "zero", "flush", "seek data", "seek hole"
};

/* ---- what the store holds */

static const char *
stored(uint64_t cell)
{
    uint64_t offset = truth_offset(cell);
    const char *data = bucket_data(offset / sim.layout.block_bytes);

    return data != NULL ? data + offset % sim.layout.block_bytes : NULL;
}

/* The same for who has the cache file as file_look saw it. */
static const char *
kept_or_stored(uint64_t cell)
{
    uint64_t offset = truth_offset(cell);
    uint32_t within = (uint32_t)(offset % sim.layout.block_bytes);
    const char *sector = file_seen(offset / sim.layout.block_bytes, within / SECTOR);

    return sector != NULL ? sector + within % SECTOR : stored(cell);
}

/* Nothing that was acknowledged would be lost. */
static void
check_durable(const char *when, bool is_power_cut)
{
    if (sim.is_all_stored)
        truth_check_durable(stored, when);
    if (!sim.has_file)
        return;
    file_look(is_power_cut);
    truth_check_durable(kept_or_stored, when);
}

/* ---- failures */

static void
tell(void)
{
    const struct cache_config *cache = &sim.daemon.cache;

    printf("%" PRIu64 " blocks of %u bytes, %s; cache of %u blocks, dirty %u, delay %" PRIu64
           " to %" PRIu64 " ms, idle %" PRIu64 " ms%s, stall %" PRIu64 " ms, protected %" PRIu64
           ", in flight %u%s%s, ahead %u from %u on\n",
           sim.layout.block_count, sim.layout.block_bytes,
           sim.daemon.has_cache ? "cache.c" : "whole.c", cache->blocks_max, cache->dirty_max,
           (uint64_t)(cache->write_delay_ns / NS_PER_MS),
           (uint64_t)(cache->write_delay_max_ns / NS_PER_MS),
           (uint64_t)(cache->idle_ns / NS_PER_MS), cache->is_reader ? " since fetched" : "",
           (uint64_t)(cache->stall_ns / NS_PER_MS), cache->protected_count, cache->in_flight_max,
           cache->is_sync ? ", sync" : "", cache->next_takes_parts ? ", parts" : "",
           cache->read_ahead_max, cache->read_ahead_trigger);
    printf("store:%s%s%s, settle %" PRIu64 " ms, write gap %" PRIu64 " ms, tags %" PRIu64
           ", preempt %u, memory %u\n",
           sim.bucket.capabilities & BD_CAP_CONSISTENT ? " consistent" : "",
           sim.bucket.capabilities & BD_CAP_LOCAL ? " local" : "",
           sim.layout.is_hashed ? " hashed" : "", (uint64_t)(sim.bucket.settle_ns / NS_PER_MS),
           (uint64_t)(sim.daemon.consistency.recent.write_gap_ns / NS_PER_MS),
           sim.daemon.consistency.recent.tag_count_max, sim.world_faults.preempt_ppm,
           sim.world_faults.memory_ppm);
    if (sim.daemon.has_file) {
        const struct tier_config *tier = &sim.daemon.tier;

        printf("file: durable in %s%s%s, delay %" PRIu64 " ms, unsent %" PRIu64
               " ms, in flight %u, faults of 1000: write %u sync %u\n",
               tier->durability == TIER_FILE ? "file" : "store", tier->is_sync ? ", sync" : "",
               tier->is_reader ? ", compares" : "", (uint64_t)(tier->write_delay_ns / NS_PER_MS),
               (uint64_t)(tier->unsent_max_ns / NS_PER_MS), tier->in_flight_max,
               sim.file_faults.write_of_1000, sim.file_faults.sync_of_1000);
    }
    printf("faults: retry %u lost %u final %u memory %u\n", sim.faults.retry_ppm,
           sim.faults.lost_ppm, sim.faults.final_ppm, sim.faults.memory_ppm);
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        const struct client *client = &sim.clients[i];

        if (client->is_busy)
            printf("  client %u: %s of bytes %" PRIu64 " .. %" PRIu64 " since %.6f\n", i,
                   op_words[client->req.op], client->req.offset,
                   client->req.offset + client->req.bytes, (double)client->started_ns / 1e9);
    }
    bucket_tell();
}

/* A request may fail only when something failed while it was under way, or it waited so long. */
static void
check_failure(const struct client *client)
{
    uint64_t stall_ns = sim.daemon.has_cache ? sim.daemon.cache.stall_ns : 0;

    if (client->req.rc == -ENXIO && client->req.op >= DISK_SEEK_DATA)
        return;
    if (client->refusals != world_refusals())
        return;
    if (stall_ns > 0 && clock_now_ns() - client->started_ns >= stall_ns)
        return;
    if (daemon_failed_ns() == 0 || daemon_failed_ns() + FAILURE_SLACK_NS < client->started_ns)
        world_fail("client %u: %s failed, rc %d, and nothing else has", client->number,
                   op_words[client->req.op], client->req.rc);
}

/* ---- clients */

static void client_start(void *arg);

static void
client_next(struct client *client)
{
    sim.awake += !client->is_awake;
    client->is_awake = true;
    uint64_t pause_ns = sim.mix.pause_max_ns > 0 ? chance_scaled(0, sim.mix.pause_max_ns) : 0;

    event_add(clock_now_ns() + pause_ns, OWNER_DAEMON, client_start, client);
}

static void
client_rest(struct client *client)
{
    client->is_awake = false;
    sim.awake--;
    if (sim.awake == 0 || (sim.to_issue == 0 && !sim.is_waiting))
        world_stop();
}

static void
oldest_read(void)
{
    uint64_t oldest = UINT64_MAX;

    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        if (sim.clients[i].is_busy && sim.clients[i].start < oldest)
            oldest = sim.clients[i].start;
    }
    truth_oldest_read(oldest);
}

/* Blocks that a seek called a hole must have been able to be one. */
static void
check_seek(const struct client *client)
{
    const struct disk_req *req = &client->req;
    uint64_t asked = truth_offset(client->first), end = truth_offset(truth_cells());
    uint64_t hole = asked, hole_end = end; /* ENXIO of DATA: only a hole is left */

    if (req->rc != 0 && (req->rc != -ENXIO || req->op == DISK_SEEK_HOLE))
        return;
    if (req->rc == 0 && (req->offset < asked || req->offset > end))
        world_fail("client %u: a seek from %" PRIu64 " came to %" PRIu64, client->number, asked,
                   req->offset);
    if (req->rc == 0 && req->op == DISK_SEEK_DATA)
        hole_end = req->offset;
    if (req->op == DISK_SEEK_HOLE) {
        hole = req->offset;
        hole_end = hole / sim.layout.block_bytes * sim.layout.block_bytes + sim.layout.block_bytes;
        if (hole == end)
            return;
    }
    if (hole < hole_end)
        truth_read(truth_cell_at(hole), hole_end == end ? truth_cells() : truth_cell_at(hole_end),
                   NULL, client->start, op_words[req->op]);
}

/* Is it in the store when it is done? */
static bool
is_stored(enum disk_op op)
{
    if (sim.daemon.has_file)
        return op == DISK_WRITE && sim.daemon.tier.is_sync && sim.daemon.cache.is_sync;
    return !sim.daemon.has_cache || (op == DISK_WRITE && sim.daemon.cache.is_sync);
}

static void
client_done(struct disk_req *req)
{
    struct client *client = container_of(req, struct client, req);
    char who[40];

    world_no_lock("to complete a request");
    assert(client->is_busy);
    snprintf(who, sizeof who, "client %u's %s", client->number, op_words[req->op]);
    world_trace("client %u: %s is done, rc %d, offset %" PRIu64, client->number, op_words[req->op],
                req->rc, req->offset);
    if (req->rc != 0)
        check_failure(client);
    sim.failures += req->rc != 0;
    switch (req->op) {
    case DISK_READ:
        if (req->rc == 0)
            truth_read(client->first, client->end, client->data, client->start, who);
        break;
    case DISK_WRITE:
    case DISK_ZERO:
        truth_write_end(client->write, client->first, client->end, client->start, req->rc,
                        is_stored(req->op));
        break;
    case DISK_FLUSH:
        sim.flushes++;
        if (req->rc != 0)
            break;
        truth_flushed(client->start);
        if (sim.daemon.tier.durability == TIER_STORE)
            sim.is_all_stored = true;
        if (chance_one_in(1 + truth_cells() / 64))
            check_durable("a flush is done", chance_one_in(2));
        break;
    case DISK_SEEK_DATA:
    case DISK_SEEK_HOLE:
        check_seek(client);
        break;
    }
    if (client->data != NULL)
        memset(client->data, 0x99, req->bytes); /* nobody may look at it any more */
    world_release(client->data);
    client->data = NULL;
    client->is_busy = false;
    sim.busy--;
    oldest_read();
    if (sim.to_issue > 0 && client->number < sim.mix.clients)
        client_next(client);
    else
        client_rest(client);
}

static enum disk_op
pick_op(void)
{
    uint64_t all = 0, at;

    for (unsigned i = 0; i < ARRAY_LEN(sim.mix.weights); i++)
        all += sim.mix.weights[i];
    at = chance_below(all);
    for (unsigned i = 0;; i++) {
        if (at < sim.mix.weights[i])
            return i;
        at -= sim.mix.weights[i];
    }
}

/* Whole cells, of the mix's grain. */
static void
pick_range(struct client *client)
{
    const struct mix *mix = &sim.mix;
    uint64_t disk = truth_offset(truth_cells()), block_bytes = sim.layout.block_bytes;
    enum grain grain = chance_one_in(8) ? chance_below(GRAIN_COUNT) : mix->grain;
    uint64_t unit = grain == GRAIN_BLOCK ? block_bytes : SECTOR;
    uint64_t first, bytes = chance_scaled(1, mix->bytes_max);

    first = chance_below(block_bytes);
    if (mix->place == PLACE_HOT)
        first += (mix->hot_block + chance_below(mix->hot_count)) * block_bytes;
    else if (mix->place == PLACE_STREAM && !chance_one_in(50))
        first = client->stream;
    else
        first = chance_below(disk);
    first %= disk;
    if (grain != GRAIN_CELL && mix->place != PLACE_STREAM) {
        first = first / unit * unit;
        bytes = (bytes + unit - 1) / unit * unit;
    }
    if (bytes > disk - first)
        bytes = disk - first;
    client->first = truth_cell_at(first);
    client->end = first + bytes == disk ? truth_cells() : truth_cell_at(first + bytes);
    if (client->end <= client->first)
        client->end = client->first + 1;
    client->stream = truth_offset(client->end) % disk;
}

static void
client_start(void *arg)
{
    struct client *client = arg;
    struct disk_req *req = &client->req;
    bool is_zero;

    if (sim.to_issue == 0) {
        client_rest(client);
        return;
    }
    sim.to_issue--;
    sim.operations++;
    pick_range(client);
    *req = (struct disk_req){ .op = pick_op(),
                              .offset = truth_offset(client->first),
                              .bytes = truth_offset(client->end) - truth_offset(client->first),
                              .done = client_done };
    client->is_busy = true;
    client->started_ns = clock_now_ns();
    client->refusals = world_refusals();
    client->start = truth_step();
    sim.busy++;
    oldest_read();
    if (req->bytes > BYTES_MAX && req->op <= DISK_WRITE) {
        client->end = truth_cell_at(req->offset + BYTES_MAX);
        req->bytes = truth_offset(client->end) - req->offset;
    }
    is_zero = req->op == DISK_ZERO || chance_below(100) < sim.mix.zeros_percent;
    if (req->op == DISK_WRITE || req->op == DISK_ZERO)
        client->write = truth_write_begin(client->first, client->end, is_zero, client->start);
    if (req->op == DISK_READ || req->op == DISK_WRITE)
        client->data = req->data = world_alloc(req->bytes);
    if (req->op == DISK_READ)
        memset(req->data, 0xaa, req->bytes);
    if (req->op == DISK_WRITE && !is_zero)
        truth_fill(client->write, client->first, client->end, req->data);
    if (req->op >= DISK_FLUSH)
        req->bytes = 0;
    world_trace("client %u: %s, bytes %" PRIu64 " +%" PRIu64 "%s, step %" PRIu64 ", write %" PRIu32,
                client->number, op_words[req->op], req->offset, req->bytes, is_zero ? " zeros" : "",
                client->start, client->write);
    disk_submit(daemon_disk(), req);
}

/* ---- faults */

static void
store_well(void)
{
    struct bucket_faults well = { .latency_min_ns = sim.faults.latency_min_ns,
                                  .latency_max_ns = sim.faults.latency_max_ns };
    struct world_faults faults = sim.world_faults;

    faults.memory_ppm = 0;
    sim.well_ns = clock_now_ns();
    bucket_set_faults(&well);
    daemon_set_refusals(0);
    world_set_faults(&faults);
    file_set_faults(&(struct file_faults){ 0 });
}

static void
store_ill(void)
{
    struct bucket_faults faults = sim.faults;

    sim.well_ns = NEVER;
    if (chance_one_in(4))
        faults.retry_ppm = faults.lost_ppm = faults.final_ppm = faults.memory_ppm = 0;
    if (chance_one_in(4) && sim.faults.retry_ppm > 0)
        faults.away_until_ns = clock_now_ns() + chance_scaled(NS_PER_MS, 200 * NS_PER_S);
    if (chance_one_in(8) && sim.faults.final_ppm > 0)
        faults.final_ppm = 500000;
    bucket_set_faults(&faults);
    daemon_set_refusals(faults.final_ppm);
    world_set_faults(&sim.world_faults);
    file_set_faults(&sim.file_faults);
}

/* ---- waiting */

static void
check_patience(void)
{
    uint64_t now = clock_now_ns();

    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        const struct client *client = &sim.clients[i];

        if (client->is_busy && now > client->started_ns + sim.patience_ns
            && now - sim.well_ns > sim.patience_ns)
            world_fail("client %u's %s is not answered for %.0f s, the store being well for %.0f s",
                       i, op_words[client->req.op], (double)(now - client->started_ns) / 1e9,
                       (double)(now - sim.well_ns) / 1e9);
    }
}

/* Run until nothing is left to issue, and all is answered if `is_all`. */
static void
clients_run(bool is_all)
{
    sim.is_waiting = is_all;
    while (!sim.is_killed && (sim.to_issue > 0 || (is_all && sim.awake > 0))) {
        enum world_end end = world_run(clock_now_ns() + sim.patience_ns);

        if (end == WORLD_DRY)
            world_fail("nothing will ever happen again, and %u requests are not answered",
                       sim.busy);
        if (end == WORLD_LATE && sim.well_ns == NEVER)
            store_well(); /* it has been ill for long enough */
        else if (end == WORLD_LATE)
            check_patience();
    }
}

static void
clients_wake(uint64_t to_issue)
{
    sim.to_issue = to_issue;
    for (unsigned i = 0; i < sim.mix.clients; i++) {
        if (!sim.clients[i].is_awake)
            client_next(&sim.clients[i]);
    }
}

static void
pass(uint64_t ns)
{
    uint64_t until = clock_now_ns() + ns;

    while (!sim.is_killed && clock_now_ns() < until && world_run(until) != WORLD_DRY)
        ;
}

/* One request, with nothing else under way. */
static int
ask(enum disk_op op)
{
    sim.mix = (struct mix){ .bytes_max = 1, .clients = 1 };
    sim.mix.weights[op] = 1;
    clients_wake(1);
    clients_run(true);
    return sim.clients[0].req.rc;
}

/* Everything is stored, sooner or later, when the store is well. */
static void
drain(void)
{
    unsigned flushes = 0;

    if (chance_one_in(4)) {
        daemon_pause();
        pass(chance_scaled(1, 20 * NS_PER_S));
    }
    daemon_ending();
    while (ask(DISK_FLUSH) != 0) {
        if (++flushes == FLUSHES_MAX)
            world_fail("%u flushes have failed, with the store being well", flushes);
        /* Who waits for room in the file gives up sooner than a lost attempt is settled. */
        if (sim.daemon.has_file)
            pass(sim.bucket.settle_ns / 8);
    }
    truth_check_stored(stored, "what is stored, after a flush,");
    /* And what is cached is the same. */
    sim.mix = (struct mix){ .weights[DISK_READ] = 1,
                            .place = PLACE_STREAM,
                            .grain = GRAIN_BLOCK,
                            .bytes_max = 3 * sim.layout.block_bytes,
                            .clients = 3 };
    clients_wake(sim.layout.block_count < 50 ? sim.layout.block_count : 50);
    clients_run(true);
    if (!sim.daemon.has_cache || sim.daemon.cache.idle_ns == 0)
        return;
    for (uint64_t until = clock_now_ns() + sim.patience_ns; daemon_cached_blocks() > 0;) {
        if (clock_now_ns() > until)
            world_fail("%" PRIu64 " blocks are still cached that nobody used for long",
                       daemon_cached_blocks());
        pass(sim.daemon.cache.idle_ns);
    }
}

/* ---- a life of the daemon */

static void
kill_daemon(void *arg)
{
    (void)arg;
    sim.is_killed = true;
    world_stop();
}

static uint64_t
one_of(const uint64_t *values, size_t count)
{
    return values[chance_below(count)];
}

#define ONE_OF(...)                                                                                \
    one_of((const uint64_t[]){ __VA_ARGS__ },                                                      \
           sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t))

static void
pick_mix(void)
{
    struct mix *mix = &sim.mix;
    uint64_t disk = truth_offset(truth_cells());

    *mix = (struct mix){ 0 };
    mix->weights[DISK_READ] = (unsigned)ONE_OF(0, 10, 30, 100);
    mix->weights[DISK_WRITE] = (unsigned)ONE_OF(1, 30, 100, 100);
    mix->weights[DISK_ZERO] = (unsigned)ONE_OF(0, 1, 10, 30);
    mix->weights[DISK_FLUSH] = (unsigned)ONE_OF(1, 1, 5, 20);
    mix->weights[DISK_SEEK_DATA] = (unsigned)ONE_OF(0, 0, 1, 10);
    mix->weights[DISK_SEEK_HOLE] = (unsigned)ONE_OF(0, 0, 1, 10);
    mix->place = chance_below(PLACE_COUNT);
    mix->grain = chance_below(GRAIN_COUNT);
    mix->hot_count = chance_scaled(1, sim.layout.block_count);
    mix->hot_block = chance_below(sim.layout.block_count);
    mix->pause_max_ns = ONE_OF(0, 0, 100 * NS_PER_US, 10 * NS_PER_MS, NS_PER_S, 20 * NS_PER_S);
    mix->zeros_percent = (unsigned)ONE_OF(0, 0, 5, 30);
    mix->clients = (unsigned)chance_scaled(1, CLIENTS_MAX);
    mix->bytes_max = ONE_OF(SECTOR / 2, SECTOR, sim.layout.block_bytes, 3 * sim.layout.block_bytes);
    if (chance_one_in(20))
        mix->bytes_max = disk;
}

static void
pick_cache(void)
{
    struct cache_config *cache = &sim.daemon.cache;
    uint64_t blocks = sim.layout.block_count;

    *cache = (struct cache_config){ .block_bytes = sim.layout.block_bytes, .block_count = blocks };
    cache->blocks_max = (uint32_t)ONE_OF(1, 2, 3, 4, chance_from(4, 20), chance_from(1, blocks),
                                         blocks, 2 * blocks);
    cache->dirty_max = chance_one_in(2) ? 0 : (uint32_t)chance_from(1, cache->blocks_max);
    cache->write_delay_ns = ONE_OF(0, 0, NS_PER_MS, 50 * NS_PER_MS, 2 * NS_PER_S, 250 * NS_PER_S);
    cache->write_delay_max_ns = cache->write_delay_ns * ONE_OF(1, 8);
    cache->stall_ns = ONE_OF(0, sim.bucket.stall_write_ns, 2 * NS_PER_S);
    cache->idle_ns = ONE_OF(0, 0, 0, NS_PER_S, 20 * NS_PER_S);
    cache->is_reader = chance_one_in(4);
    cache->protected_count = ONE_OF(0, 0, 1, chance_below(blocks + 1));
    cache->in_flight_max = (unsigned)ONE_OF(1, 2, 4, 16, 128);
    cache->is_sync = chance_one_in(6);
    cache->read_ahead_max = (uint32_t)ONE_OF(0, 1, 4, CACHE_READ_AHEAD_ADAPTIVE);
    sim.daemon.consistency.listers_max = (unsigned)ONE_OF(1, 2, 16);
    cache->read_ahead_trigger = (uint32_t)chance_below(4);
    sim.daemon.has_cache = !sim.is_whole_only && !chance_one_in(20);
    cache->next_takes_parts = sim.daemon.has_cache && chance_one_in(3);
}

static void
pick_tier(void)
{
    struct tier_config *tier = &sim.daemon.tier;

    sim.is_all_stored = true;
    if (!sim.has_file)
        return;
    file_look(false);
    sim.is_all_stored = file_seen_blocks() == 0;
    sim.daemon.has_file = !file_is_synced() || file_seen_blocks() > 0 || !chance_one_in(6);
    sim.is_file_old = sim.is_file_old || !sim.daemon.has_file;
    sim.daemon.has_cache = sim.daemon.has_cache || sim.daemon.has_file;
    sim.daemon.cache.next_takes_parts = sim.daemon.has_file;
    *tier = (struct tier_config){ .block_bytes = sim.layout.block_bytes,
                                  .durability = chance_one_in(2) ? TIER_STORE : TIER_FILE };
    sim.is_all_stored = sim.is_all_stored && tier->durability == TIER_STORE;
    tier->is_sync = sim.daemon.cache.is_sync;
    tier->is_reader = chance_one_in(4);
    tier->trusts_file = !sim.is_file_old && chance_one_in(3);
    tier->write_delay_ns = ONE_OF(0, 0, NS_PER_MS, 50 * NS_PER_MS, 2 * NS_PER_S, 250 * NS_PER_S);
    tier->unsent_max_ns = ONE_OF(0, 0, 100 * NS_PER_MS, 5 * NS_PER_S, 300 * NS_PER_S);
    tier->in_flight_max = (unsigned)ONE_OF(1, 2, 4, 16);
    tier->stall_ns = sim.daemon.cache.stall_ns > 0 ? sim.daemon.cache.stall_ns : UINT64_MAX;
}

static void
open_daemon(void)
{
    pick_cache();
    pick_tier();
    if (world_is_traced())
        tell();
    daemon_open(&sim.daemon);
}

/* For a while, the clients do one kind of thing, with faults. */
static void
phase(uint64_t operations)
{
    pick_mix();
    store_ill();
    clients_wake(operations);
    clients_run(false);
    if (sim.is_killed || chance_one_in(3))
        return;
    /* Now everything must be answered, without help from whoever comes later. */
    if (chance_one_in(2))
        pass(chance_scaled(1, 10 * NS_PER_S));
    store_well();
    clients_run(true);
    if (sim.is_killed)
        return;
    if (chance_one_in(2))
        pass(chance_scaled(1, 500 * NS_PER_S));
}

/* Dirty blocks are stored in the end, flushed or not. */
static void
check_write_back(void)
{
    if (!sim.daemon.has_cache)
        return;
    pass(sim.daemon.cache.write_delay_max_ns + sim.daemon.tier.write_delay_ns
         + 4 * sim.bucket.settle_ns + sim.bucket.attempt_ns + 200 * NS_PER_S
         + sim.layout.block_count
               * (4 * sim.faults.latency_max_ns + sim.daemon.consistency.recent.write_gap_ns));
    if (sim.daemon.cache.next_takes_parts) { /* the cache has sent all */
        daemon_push();
        pass(sim.patience_ns);
    }
    truth_check_stored(stored, "what is stored, after a long time,");
}

static void
die(void)
{
    bool is_taken_over = sim.bucket.capabilities & BD_CAP_CONSISTENT && chance_one_in(2);
    bool is_power_cut = chance_one_in(2);

    sim.kills++;
    world_trace("KILL");
    bucket_kill();
    world_kill();
    if (sim.daemon.has_file)
        file_kill(is_power_cut);
    store_well();
    daemon_forget();
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &sim.clients[i];

        world_release(client->data);
        client->data = NULL;
        client->is_busy = client->is_awake = false;
    }
    sim.busy = sim.awake = 0;
    sim.to_issue = 0;
    sim.is_killed = false;
    check_durable("the daemon was killed", false);
    if (is_taken_over) {
        truth_crash(NULL);
        open_daemon();
        daemon_hold();
    } else {
        pass(sim.bucket.settle_ns + sim.bucket.stale_ns);
        truth_crash(sim.has_file ? kept_or_stored : stored);
        open_daemon();
    }
}

static void
stop(bool is_to_spill)
{
    bool is_spilled = is_to_spill && !sim.daemon.has_file && daemon_spill();
    uint64_t at;

    store_well();
    sim.stops++;
    sim.spills += is_spilled;
    if (chance_one_in(2))
        daemon_stop_listing();
    while (daemon_is_surveying())
        pass(NS_PER_S);
    if (is_spilled) {
        daemon_replay();
        pass(sim.patience_ns);
        truth_check_stored(stored, "what was handed over, and stored,");
    } else {
        drain();
    }
    at = daemon_settled_at_ns();
    if (at > clock_now_ns())
        pass(at - clock_now_ns());
    if (bucket_is_unsettled())
        world_fail("an attempt may still be carried out when all is settled");
    if (daemon_unsent() > 0)
        world_fail("%" PRIu64 " blocks are not sent after a flush at the end", daemon_unsent());
    world_trace("STOP");
    daemon_close();
    if (sim.daemon.has_file)
        file_kill(false);
    truth_crash(stored);
}

static void
life(uint64_t operations, bool is_last)
{
    bool is_to_die = !is_last && chance_one_in(2);
    bool is_to_spill = sim.daemon.has_cache && chance_one_in(3);
    unsigned phases = (unsigned)chance_scaled(1, 6);

    if (chance_one_in(4))
        daemon_survey();
    for (unsigned i = 0; i < phases && !sim.is_killed; i++) {
        if (is_to_die && i == phases - 1)
            event_add(clock_now_ns() + chance_scaled(1, 300 * NS_PER_S), OWNER_DAEMON, kill_daemon,
                      NULL);
        phase(1 + operations / phases);
    }
    if (is_to_die) {
        if (!sim.is_killed && chance_one_in(2))
            pass(chance_scaled(1, 10 * NS_PER_S));
        die();
        return;
    }
    if (!is_to_spill)
        store_well();
    clients_run(true);
    if (!is_to_spill && chance_one_in(4))
        check_write_back();
    stop(is_to_spill);
    pass(sim.bucket.stale_ns);
    if (!is_last)
        open_daemon();
}

/* ---- a run */

static void
pick_store(void)
{
    struct bucket_config *bucket = &sim.bucket;
    struct recent_config *recent = &sim.daemon.consistency.recent;
    struct bucket_faults *faults = &sim.faults;
    bool is_consistent = !chance_one_in(6), is_local = is_consistent && chance_one_in(8);

    *bucket = (struct bucket_config){ .layout = sim.layout };
    bucket->capabilities =
        (is_consistent ? BD_CAP_CONSISTENT : 0u) | (is_local ? BD_CAP_LOCAL : 0u);
    bucket->delete_max = (unsigned)ONE_OF(1, 2, 7, 1000);
    bucket->list_max = (unsigned)ONE_OF(1, 3, 1000);
    bucket->attempt_ns = ONE_OF(NS_PER_S, 10 * NS_PER_S, 30 * NS_PER_S);
    bucket->settle_ns = ONE_OF(0, 100 * NS_PER_MS, 2 * NS_PER_S, 30 * NS_PER_S, 30 * NS_PER_S);
    bucket->retry_pause_ns = ONE_OF(NS_PER_MS, 200 * NS_PER_MS);
    bucket->stall_read_ns = ONE_OF(2 * NS_PER_S, 120 * NS_PER_S);
    bucket->stall_write_ns = ONE_OF(2 * NS_PER_S, 20 * NS_PER_S, 600 * NS_PER_S);

    *faults = (struct bucket_faults){ 0 };
    faults->latency_max_ns =
        ONE_OF(0, 100 * NS_PER_US, 5 * NS_PER_MS, 50 * NS_PER_MS, 500 * NS_PER_MS);
    faults->latency_min_ns = chance_below(faults->latency_max_ns + 1);
    if (!chance_one_in(5)) {
        faults->slow_ppm = (unsigned)ONE_OF(0, 1000, 20000);
        faults->retry_ppm = (unsigned)ONE_OF(0, 10000, 100000, 300000);
        faults->lost_ppm = (unsigned)ONE_OF(0, 10000, 100000, 300000);
        faults->final_ppm = (unsigned)ONE_OF(0, 0, 5000, 50000);
        faults->memory_ppm = (unsigned)ONE_OF(0, 0, 0, 2000);
        sim.world_faults.memory_ppm = (unsigned)ONE_OF(0, 0, 0, 0, 200, 5000);
    }
    if (is_local || bucket->settle_ns == 0)
        faults->lost_ppm = 0;

    *recent = (struct recent_config){ .settle_ns = bucket->settle_ns };
    recent->write_gap_ns = ONE_OF(0, 0, 0, 10 * NS_PER_MS, 500 * NS_PER_MS);
    recent->tag_keep_ns = TAG_KEEP_FOREVER_NS;
    if (chance_one_in(8))
        recent->tag_count_max = chance_scaled(1, 100);
    if (is_consistent)
        return;
    /* What such a store shows can only be told to be old while the tags are remembered, and by them alone: no
     * write may have an unknown end. */
    bucket->stale_ns = chance_scaled(NS_PER_MS, 5 * NS_PER_S);
    bucket->stall_read_ns = 120 * NS_PER_S;
    bucket->stall_write_ns = UINT64_MAX;
    faults->lost_ppm = faults->final_ppm = faults->memory_ppm = 0;
    sim.world_faults.memory_ppm = 0;
    recent->tag_count_max = sim.layout.block_count;
    if (chance_one_in(2)) {
        recent->tag_keep_ns = bucket->stale_ns;
        recent->tag_count_max = chance_from(1, sim.layout.block_count);
    }
}

static void
pick_file(void)
{
    struct cachefile_config config = { .path = "cache",
                                       .volume = "volume",
                                       .identity = "identity",
                                       .identity_bytes = 8,
                                       .block_bytes = sim.layout.block_bytes };
    uint64_t blocks = sim.layout.block_count;

    config.slots = (uint32_t)ONE_OF(1, 2, 3, 8, blocks, blocks, 2 * blocks);
    config.journal_spare_bytes = (uint32_t)ONE_OF(512, 4096, 65536);
    sim.has_file =
        sim.layout.block_count <= 200
        && (sim.files == FILES_ALWAYS || (sim.files == FILES_SOMETIMES && chance_one_in(2)));
    sim.is_file_old = false;
    sim.daemon.has_file = false;
    sim.daemon.tier = (struct tier_config){ 0 };
    sim.file_faults = (struct file_faults){ 0 };
    if (chance_one_in(4)) {
        sim.file_faults.write_of_1000 = (unsigned)ONE_OF(0, 1, 10, 300);
        sim.file_faults.sync_of_1000 = (unsigned)ONE_OF(0, 1, 10, 300);
        sim.file_faults.rc = chance_one_in(2) ? -EIO : -ENOSPC;
    }
    file_new(&config, blocks);
}

static void
run(uint64_t seed, bool is_traced)
{
    uint64_t operations;
    unsigned lives;

    world_new(&(struct world_config){ .seed = seed, .is_traced = is_traced });
    sim.layout = (struct layout){ .prefix = "" };
    sim.layout.block_bytes = SECTOR << chance_below(4);
    sim.layout.block_count =
        ONE_OF(1, 2, 3, chance_from(4, 20), chance_from(4, 20), chance_from(20, 200));
    sim.layout.is_hashed = chance_one_in(4);
    if (chance_one_in(100)) { /* so many that a zero lists them before */
        sim.layout.block_bytes = SECTOR;
        sim.layout.block_count = 12000;
    }
    sim.world_faults =
        (struct world_faults){ .preempt_ppm = (unsigned)ONE_OF(0, 1000, 10000, 100000) };
    sim.daemon.consistency = (struct consistency_config){ .layout = &sim.layout };
    pick_store();
    pick_file();
    sim.daemon.consistency.stall_read_ns = sim.bucket.stall_read_ns;
    /* Everything that one may have to wait for: each client before it, and what these wait for. */
    sim.patience_ns =
        sim.bucket.settle_ns + sim.bucket.attempt_ns + sim.daemon.consistency.recent.write_gap_ns;
    if (sim.bucket.stall_write_ns < UINT64_MAX)
        sim.patience_ns += sim.bucket.stall_write_ns;
    sim.patience_ns =
        2 * CLIENTS_MAX * sim.patience_ns + 2000 * NS_PER_S
        + sim.layout.block_count
              * (4 * sim.faults.latency_max_ns + sim.daemon.consistency.recent.write_gap_ns);

    operations = chance_scaled(50, 4000);
    if (sim.operations_max > 0)
        operations = sim.operations_max;
    lives = (unsigned)chance_scaled(1, 6);
    truth_new(sim.layout.block_count * sim.layout.block_bytes / SECTOR,
              (unsigned)chance_from(1, 4));
    bucket_new(&sim.bucket);
    versions_new(sim.layout.block_count, sim.layout.block_bytes);
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        sim.clients[i] = (struct client){ .number = i };
    store_well();
    open_daemon();
    for (unsigned i = 0; i < lives; i++)
        life(1 + operations / lives, i == lives - 1);
    versions_free();
    file_free();
    bucket_free();
    truth_free();
}

/* ---- the program */

static void
on_signal(int number)
{
    world_fail("signal %d%s", number, number == SIGPROF ? ": the run does not end" : "");
}

/* On a stack of their own: the one in use may be full. */
static void
catch_signals(void)
{
    static char stack[64 << 10];
    const stack_t other = { .ss_sp = stack, .ss_size = sizeof stack };
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };

    sigaltstack(&other, NULL);
    sigaction(SIGPROF, &action, NULL);
    sigaction(SIGABRT, &action, NULL);
    sigaction(SIGSEGV, &action, NULL);
}

static double
seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void
usage(void)
{
    fprintf(stderr,
            "usage: sim [--seed N] [--seconds S] [--operations N] [--whole] [--file | --no-file]\n"
            "       [--trace]\n"
            "  --seed N        the first seed; by default $BUCKETDISK_SEED, or the time\n"
            "  --seconds S     go on with the next seeds for so long; without it, one run\n"
            "  --operations N  so many in each run, as far as it comes\n"
            "  --whole         never the memory cache, but its stand-in (with a file: the cache)\n"
            "  --file          always a cache file; --no-file: never; else by chance\n"
            "  --trace         say what happens\n");
    exit(2);
}

int
main(int argc, char **argv)
{
    static const struct option options[] = {
        { "seed", required_argument, NULL, 's' },
        { "seconds", required_argument, NULL, 'S' },
        { "operations", required_argument, NULL, 'o' },
        { "whole", no_argument, NULL, 'w' },
        { "file", no_argument, NULL, 'f' },
        { "no-file", no_argument, NULL, 'n' },
        { "trace", no_argument, NULL, 't' },
        { NULL, 0, NULL, 0 },
    };
    const char *text = getenv("BUCKETDISK_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : (uint64_t)time(NULL) * 1000003u;
    double limit = 0, began = seconds();
    bool is_traced = false;
    uint64_t runs = 0, events = 0, requests = 0;
    int letter;

    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (letter) {
        case 's':
            seed = strtoull(optarg, NULL, 0);
            break;
        case 'S':
            limit = strtod(optarg, NULL);
            break;
        case 'o':
            sim.operations_max = strtoull(optarg, NULL, 0);
            break;
        case 'w':
            sim.is_whole_only = true;
            break;
        case 'f':
            sim.files = FILES_ALWAYS;
            break;
        case 'n':
            sim.files = FILES_NEVER;
            break;
        case 't':
            is_traced = true;
            break;
        default:
            usage();
        }
    }
    if (optind != argc)
        usage();
    world_on_failure(tell);
    catch_signals();
    do {
        setitimer(ITIMER_PROF, &(struct itimerval){ .it_value.tv_sec = RUN_SECONDS_MAX }, NULL);
        run(seed, is_traced);
        seed++;
        runs++;
        events += world_events();
        requests += bucket_requests();
    } while (seconds() - began < limit);
    printf("%" PRIu64 " runs, seeds %" PRIu64 " .. %" PRIu64 ": %" PRIu64 " operations (%" PRIu64
           " failed, %" PRIu64 " flushes), %" PRIu64 " kills, %" PRIu64 " stops (%" PRIu64
           " with what was unsaved handed over), %" PRIu64 " requests, %" PRIu64
           " versions asked for (%" PRIu64 " the same), %" PRIu64
           " events; the last digest is %016" PRIx64 "\n",
           runs, seed - runs, seed - 1, sim.operations, sim.failures, sim.flushes, sim.kills,
           sim.stops, sim.spills, requests, versions_asked(), versions_same(), events,
           world_digest());
    printf("%.0f operations a second\n", (double)sim.operations / (seconds() - began));
    return 0;
}
