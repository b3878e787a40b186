/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of the tier: over the layer of fake_store.h, with a cache file on a disk that may fail and lose its power. */
#ifndef UNIT_FAKE_TIER_H
#define UNIT_FAKE_TIER_H

#include "fake_store.h"

#include "../cachefile/disk.h"
#include "tier.h"

#define TIER_DELAY_NS (10 * NS_PER_S)
#define TIER_WORKERS 8u
#define ALL_SECTORS UINT64_C(0xff)

/* The disk, for any thread. */
struct safe_disk {
    struct cachefile_io io;
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    struct disk disk;
    uint64_t seed;
    bool holds_syncs; /* they wait */
    unsigned syncs_waiting;
    enum { WRITES_GO, WRITE_TO_BE_HELD, WRITE_HELD } writes;
};

struct tiered {
    struct below below;
    struct safe_disk disk;
    struct cachefile_config file_config;
    struct tier_config config;
    struct pool *pool;
    struct stats *stats;
    struct cachefile *file;
    struct store *store; /* the tier */
};

/* What the config leaves 0: blocks of SECTORS sectors, 64 of them, 8 in flight, ten seconds until a block is sent, who waits
 * for room waits for ever.  The file has so many slots; 0: 16. */
struct tiered *tiered_new(struct tier_config config, uint32_t slots);
struct tiered *tiered_with(struct tier_config config);
struct tiered *tiered_usual(void);
/* A flush is done when the file has it all. */
struct tiered *tiered_local(void);
/* As tiered_new with a file at this path. */
struct tiered *tiered_new_at(struct tier_config config, uint32_t slots, const char *path);
/* All requests must have been answered.  All must be stored then. */
void tiered_free(struct tiered *tiered);
/* The same, for who lost the store. */
void tiered_give_up(struct tiered *tiered);

enum tiered_end {
    END_ORDERLY, /* without storing anything */
    END_KILLED,
    END_POWER_CUT, /* nothing that was not synced is there */
};

/* It ends, and a new one begins.  Nothing is at the store. */
void tiered_restart(struct tiered *tiered, enum tiered_end how);
/* The same as two steps, in between the disk may be changed. */
void tiered_close(struct tiered *tiered, enum tiered_end how);
void tiered_open(struct tiered *tiered);

/* All that it does by itself for now is done. */
void tiered_settle(struct tiered *tiered);
/* Time passes; what is due then is done. */
void tiered_sleep(struct tiered *tiered, uint64_t ns);
/* Its timers see what time it is. */
void tiered_nudge(struct tiered *tiered);
void tiered_expect_quiet(struct tiered *tiered);
uint64_t tiered_counter(struct tiered *tiered, const char *name);
uint64_t tiered_gauge(struct tiered *tiered, const char *name);

/* From now on this of 1000 writes or syncs of the disk fail. */
void disk_fails(struct tiered *tiered, unsigned writes, unsigned syncs, int rc);
/* Of each slot of the file a bit is flipped. */
void disk_rots(struct tiered *tiered);
void disk_hold_syncs(struct tiered *tiered, bool holds);
/* Until so many syncs wait. */
void disk_await_syncs(struct tiered *tiered, unsigned count);
uint64_t disk_syncs(struct tiered *tiered);
/* The next write of the disk, and no other, waits until it is released. */
void disk_hold_write(struct tiered *tiered);
void disk_await_write(struct tiered *tiered);
void disk_release_write(struct tiered *tiered);

/* ---- requests from above */

void ask_read(struct tiered *tiered, struct wish *wish, uint64_t block);
/* These sectors; all of them: no map. */
void ask_write(struct tiered *tiered, struct wish *wish, uint64_t block, uint32_t sector,
               uint32_t sectors, unsigned char fill);
void ask_zero(struct tiered *tiered, struct wish *wish, uint64_t block, uint64_t count);
void ask_flush(struct tiered *tiered, struct wish *wish);
/* It waits for something. */
void expect_waits(struct tiered *tiered, struct wish *wish);

/* A write that is done when the file has it. */
void put(struct tiered *tiered, uint64_t block, uint32_t sector, uint32_t sectors,
         unsigned char fill);
/* A block that the file has in whole, clean and fresh. */
void keep(struct tiered *tiered, uint64_t block);
/* What a read gives, without the store. */
void expect_kept(struct tiered *tiered, uint64_t block, uint32_t sector, uint32_t sectors,
                 unsigned char fill);
/* The file has it in this state, with these sectors, based on that; tag NULL: whichever. */
void expect_file(struct tiered *tiered, uint64_t block, enum cachefile_state state,
                 uint64_t sectors, enum cachefile_base base, const char *tag);
void expect_no_file(struct tiered *tiered, uint64_t block);
/* The sectors hold this byte at the store. */
void expect_stored(struct tiered *tiered, uint64_t block, uint32_t sector, uint32_t sectors,
                   unsigned char fill);
/* The store is asked to write the block. */
struct asked *flight_of(struct tiered *tiered, uint64_t block);
/* The store is asked to write the whole block; answers it. */
void answer_write(struct tiered *tiered, uint64_t block, int rc);

#endif
