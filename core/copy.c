/* SPDX-License-Identifier: Apache-2.0 */
/* Copies the blocks of one volume into another one.
 *
 * Listings of both sides run first, at once.  Then each of `blocks_max` slots takes the next block, does what follows, and
 * takes another one:
 *
 *   it is in the copy, and nothing is verified:   ask the copy for its origin -> ask the source whether that is still its
 *                                                 version: then that is all.  Else as below.
 *   else:                                         read the source -> write the copy
 *   verified:                                     read the source -> read the copy, and compare; differs, or not there:
 *                                                 write -> read it again, and compare
 *   a look:                                       the same up to the first write
 *
 * What a failed or killed copy left is a subset of blocks, each whole: there is nothing to be undone. */
#include "copy.h"

#include "base/log.h"
#include "base/util.h"
#include "survey.h"
#include "zeromap.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static_assert(BD_TAG_BYTES_MAX <= BD_ATTR_VALUE_BYTES_MAX, "a tag is an attribute's value");

/* One side's listing. */
struct listed {
    struct copy *copy;
    struct zeromap *blocks; /* DATA: it exists */
};

/* A block on its way. */
struct slot {
    struct copy *copy;
    struct task task;
    struct store_req req;
    struct object_req object;
    struct store_version version; /* of the source's block */
    char origin[BD_ATTR_VALUE_BYTES_MAX + 1];
    uint64_t block;
    bool is_listed;            /* at the source */
    bool is_there, is_written; /* in the copy: before, by us */
    bool is_damaged;           /* at the source, and zeros in the copy */
    void *data, *read_back;
};

struct copy {
    struct copy_config config; /* these: fixed after copy_new */
    struct listed from, to;
    atomic_bool is_stopping;

    pthread_mutex_t
        lock; /* guards the rest, and both maps until they are listed; not held while calling out */
    pthread_cond_t ended;
    unsigned active; /* listings, then slots */
    uint64_t cursor;
    int rc;
    struct copy_counts counts;
    uint64_t *named;
    unsigned named_count;

    struct slot slots[];
};

/* ---- the end */

static void
stop_locked(struct copy *copy, int rc)
{
    atomic_store(&copy->is_stopping, true);
    if (copy->rc == 0)
        copy->rc = rc;
}

static void
fail(struct copy *copy, int rc)
{
    pthread_mutex_lock(&copy->lock);
    stop_locked(copy, rc);
    pthread_mutex_unlock(&copy->lock);
}

/* The copy may be gone when this returns. */
static void
leave_locked(struct copy *copy)
{
    if (--copy->active == 0)
        pthread_cond_signal(&copy->ended);
    pthread_mutex_unlock(&copy->lock);
}

/* ---- one block */

static void slot_next(struct slot *slot);

/* It is done, and counted so. */
static void
slot_end(struct slot *slot, uint64_t *count)
{
    struct copy *copy = slot->copy;
    bool is_bad;

    if (slot->is_damaged && count != &copy->counts.differing)
        count = &copy->counts.damaged;
    is_bad = count == &copy->counts.damaged || count == &copy->counts.differing;
    pthread_mutex_lock(&copy->lock);
    ++*count;
    if (is_bad && copy->named_count < COPY_NAMED_MAX)
        copy->named[copy->named_count++] = slot->block;
    pthread_mutex_unlock(&copy->lock);
    slot_next(slot);
}

static void
slot_fail(struct slot *slot, int rc)
{
    fail(slot->copy, rc);
    slot_next(slot);
}

static void
slot_submit(struct slot *slot, struct store *store, struct store_req req,
            void (*done)(struct store_req *req))
{
    slot->req = req;
    slot->req.block = slot->block;
    slot->req.bytes = slot->copy->config.from.layout->block_bytes;
    slot->req.is_over = &slot->copy->is_stopping;
    slot->req.done = done;
    store_submit(store, &slot->req);
}

static void write_copy(struct slot *slot);

static void
copy_is_read(struct store_req *req)
{
    struct slot *slot = container_of(req, struct slot, req);
    struct copy *copy = slot->copy;

    if (req->rc != 0 && !req->is_damaged) {
        slot_fail(slot, req->rc);
    } else if (req->rc == 0 && memcmp(slot->data, slot->read_back, req->bytes) == 0) {
        slot_end(slot, slot->is_written ? &copy->counts.copied : &copy->counts.present);
    } else if (!slot->is_written) {
        write_copy(slot);
    } else {
        log_each(BD_ERROR,
                 "block %08" PRIx64 " of the copy is not what was written: it was read back",
                 slot->block);
        slot_end(slot, &copy->counts.differing);
    }
}

/* A look writes nothing, so that only the bytes say whether a block of another origin is another one. */
static bool
reads_back(const struct copy_config *config)
{
    return config->verifies || config->is_look;
}

static void
read_copy(struct slot *slot)
{
    slot_submit(slot, slot->copy->config.to.store,
                (struct store_req){ .op = STORE_READ, .data = slot->read_back }, copy_is_read);
}

static void
copy_is_written(struct store_req *req)
{
    struct slot *slot = container_of(req, struct slot, req);

    slot->is_written = true;
    if (req->rc != 0)
        slot_fail(slot, req->rc);
    else if (slot->copy->config.verifies)
        read_copy(slot);
    else
        slot_end(slot, &slot->copy->counts.copied);
}

/* Zeros have no object. */
static void
look_is_over(struct slot *slot)
{
    struct copy *copy = slot->copy;
    bool is_same =
        !slot->is_there && is_all_zeros(slot->data, copy->config.from.layout->block_bytes);

    slot_end(slot, is_same ? &copy->counts.present : &copy->counts.differing);
}

static void
write_copy(struct slot *slot)
{
    if (slot->copy->config.is_look) {
        look_is_over(slot);
        return;
    }
    slot->origin[0] = '\0';
    if (slot->version.is == VERSION_TAG)
        strcpy(slot->origin, slot->version.tag);
    slot_submit(slot, slot->copy->config.to.store,
                (struct store_req){ .op = STORE_WRITE, .data = slot->data, .origin = slot->origin },
                copy_is_written);
}

/* Nobody writes to the source, and so nothing that it lists can have become zeros: its store has lost the block, or lies, or somebody
 * removes objects.  Zeros would be a wrong copy, and may stand in for a good block of one begun earlier. */
static bool
is_lost(const struct slot *slot)
{
    if (!slot->is_listed || slot->version.is != VERSION_ABSENT || slot->copy->config.is_changing)
        return false;
    log_line(BD_ERROR,
             "block %08" PRIx64 " of the source is listed, but not given: there is no object of it",
             slot->block);
    return true;
}

static void
source_is_read(struct store_req *req)
{
    struct slot *slot = container_of(req, struct slot, req);
    const struct copy_config *config = &slot->copy->config;
    bool is_damaged;

    if (req->rc != 0 && !req->is_damaged) {
        slot_fail(slot, req->rc);
        return;
    }
    is_damaged = req->rc != 0 || is_lost(slot);
    if (is_damaged && !config->zeros_damaged) {
        slot_end(slot, &slot->copy->counts.damaged);
        return;
    }
    if (is_damaged) {
        memset(slot->data, 0, req->bytes);
        slot->is_damaged = true;
    }
    if (reads_back(config) && slot->is_there)
        read_copy(slot);
    else
        write_copy(slot);
}

static void
read_source(struct slot *slot)
{
    slot_submit(
        slot, slot->copy->config.from.store,
        (struct store_req){ .op = STORE_READ, .data = slot->data, .version = &slot->version },
        source_is_read);
}

static void
source_is_checked(struct store_req *req)
{
    struct slot *slot = container_of(req, struct slot, req);

    if (req->rc != 0)
        slot_fail(slot, req->rc);
    else if (req->is_same)
        slot_end(slot, &slot->copy->counts.present);
    else
        read_source(slot);
}

static void
origin_is_told(struct object_req *req)
{
    struct slot *slot = container_of(req, struct slot, object);

    if (req->rc != 0) {
        slot_fail(slot, req->rc);
    } else if (slot->origin[0] == '\0' || strlen(slot->origin) > BD_TAG_BYTES_MAX) {
        read_source(slot);
    } else {
        slot->version.is = VERSION_TAG;
        strcpy(slot->version.tag, slot->origin);
        slot_submit(slot, slot->copy->config.from.store,
                    (struct store_req){ .op = STORE_CHECK, .version = &slot->version },
                    source_is_checked);
    }
}

static void
slot_begin(struct slot *slot)
{
    const struct copy_config *config = &slot->copy->config;

    slot->is_written = slot->is_damaged = false;
    if (slot->block >= config->from.layout->block_count) { /* of a source that was larger */
        memset(slot->data, 0, config->from.layout->block_bytes);
        slot->version.is = VERSION_UNKNOWN;
        write_copy(slot);
        return;
    }
    if (config->verifies || !slot->is_there) {
        read_source(slot);
        return;
    }
    slot->object = (struct object_req){ .op = OBJECT_HEAD,
                                        .block = slot->block,
                                        .origin = slot->origin,
                                        .is_over = &slot->copy->is_stopping,
                                        .done = origin_is_told };
    objects_submit(config->to.objects, &slot->object);
}

/* ---- all of them */

/* The next block that exists on either side; block 0 always does. */
static uint64_t
next_locked(struct copy *copy)
{
    const unsigned data = 1u << BLOCK_DATA;
    uint64_t from_end = copy->config.from.layout->block_count;
    uint64_t to_end = copy->config.to.layout->block_count;
    uint64_t from, to;

    if (copy->cursor == 0)
        return 0;
    from = zeromap_find(copy->from.blocks, copy->cursor, from_end, data);
    to = zeromap_find(copy->to.blocks, copy->cursor, to_end, data);
    return from == from_end || to < from ? to : from;
}

/* On a worker, so that blocks that need no request do not stack up calls. */
static void
slot_run(struct task *task)
{
    struct slot *slot = container_of(task, struct slot, task);
    struct copy *copy = slot->copy;
    uint64_t end = copy->config.to.layout->block_count;

    pthread_mutex_lock(&copy->lock);
    slot->block = atomic_load(&copy->is_stopping) ? end : next_locked(copy);
    if (slot->block >= end) {
        leave_locked(copy);
        return;
    }
    copy->cursor = slot->block + 1;
    slot->is_listed = slot->block < copy->config.from.layout->block_count
                      && zeromap_get(copy->from.blocks, slot->block) == BLOCK_DATA;
    slot->is_there = zeromap_get(copy->to.blocks, slot->block) == BLOCK_DATA;
    pthread_mutex_unlock(&copy->lock);
    slot_begin(slot);
}

static void
slot_next(struct slot *slot)
{
    slot->task.run = slot_run;
    pool_submit(slot->copy->config.pool, &slot->task);
}

/* ---- listing */

/* False: memory is short, and blocks that are not listed have become DATA, too. */
static bool
note_locked(struct zeromap *blocks, uint64_t block)
{
    uint64_t before = zeromap_data_count(blocks);

    zeromap_set(blocks, block, BLOCK_DATA);
    return zeromap_data_count(blocks) - before <= 1;
}

static void
listed_learnt(void *arg, const uint64_t *blocks, unsigned count, uint64_t first, uint64_t end)
{
    struct listed *listed = arg;
    bool has_memory = true;

    (void)first;
    (void)end;
    pthread_mutex_lock(&listed->copy->lock);
    for (unsigned i = 0; i < count; i++)
        has_memory = note_locked(listed->blocks, blocks[i]) && has_memory;
    if (!has_memory)
        stop_locked(listed->copy, -ENOMEM);
    pthread_mutex_unlock(&listed->copy->lock);
    if (!has_memory)
        log_line(BD_ERROR, "out of memory for the lists of blocks");
}

static void
count_total_locked(struct copy *copy)
{
    uint64_t end = copy->config.to.layout->block_count;

    for (uint64_t block = next_locked(copy); block < end; block = next_locked(copy)) {
        copy->counts.total++;
        copy->cursor = block + 1;
    }
    copy->cursor = 0;
    copy->counts.is_listed = true;
}

static void
listed_done(void *arg, int rc)
{
    struct copy *copy = ((struct listed *)arg)->copy;
    unsigned count;
    bool is_last;

    pthread_mutex_lock(&copy->lock);
    if (rc != 0)
        stop_locked(copy, rc);
    is_last = copy->active == 1;
    if (!is_last || copy->rc != 0) {
        leave_locked(copy);
        return;
    }
    count_total_locked(copy);
    count = copy->config.blocks_max;
    copy->active = count;
    pthread_mutex_unlock(&copy->lock);
    /* When the last one has begun, all may have ended, and the copy be gone. */
    for (unsigned i = 0; i < count; i++)
        slot_next(&copy->slots[i]);
}

static void
list(struct copy *copy, const struct copy_side *side, struct listed *listed)
{
    const struct survey_config config = {
        .layout = side->layout,
        .objects = side->objects,
        .end = side->layout->block_count,
        .listers_max = side->listers_max,
        .is_over = &copy->is_stopping,
        .learnt = listed_learnt,
        .done = listed_done,
        .arg = listed,
    };
    struct survey *survey;
    int rc = survey_new(&config, &survey);

    listed->copy = copy;
    if (rc == 0)
        survey_start(survey);
    else
        listed_done(listed, rc);
}

/* ---- life */

int
copy_new(const struct copy_config *config, struct copy **out)
{
    struct copy *copy =
        calloc(1, sizeof *copy + (size_t)config->blocks_max * sizeof copy->slots[0]);
    uint32_t block_bytes = config->from.layout->block_bytes;
    pthread_condattr_t attr;
    int rc = 0;

    assert(config->to.layout->block_bytes == block_bytes
           && config->to.layout->block_count >= config->from.layout->block_count);
    if (copy == NULL)
        return -ENOMEM;
    copy->config = *config;
    pthread_mutex_init(&copy->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&copy->ended, &attr);
    pthread_condattr_destroy(&attr);
    copy->named = calloc(COPY_NAMED_MAX, sizeof *copy->named);
    if (copy->named == NULL)
        rc = -ENOMEM;
    for (unsigned i = 0; rc == 0 && i < config->blocks_max; i++) {
        struct slot *slot = &copy->slots[i];

        slot->copy = copy;
        slot->data = malloc(block_bytes);
        slot->read_back = reads_back(config) ? malloc(block_bytes) : NULL;
        if (slot->data == NULL || (reads_back(config) && slot->read_back == NULL))
            rc = -ENOMEM;
    }
    if (rc == 0)
        rc = zeromap_new(config->from.layout->block_count, &copy->from.blocks);
    if (rc == 0)
        rc = zeromap_new(config->to.layout->block_count, &copy->to.blocks);
    if (rc != 0) {
        copy_free(copy);
        return rc;
    }
    *out = copy;
    return 0;
}

void
copy_start(struct copy *copy)
{
    bool lists_copy = copy->config.is_begun || copy->config.is_look;

    copy->active = lists_copy ? 2 : 1;
    if (lists_copy)
        list(copy, &copy->config.to, &copy->to);
    list(copy, &copy->config.from, &copy->from);
}

bool
copy_wait(struct copy *copy, unsigned timeout_ms, int *rc)
{
    struct timespec until;
    bool has_ended;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += timeout_ms % 1000 * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&copy->lock);
    while (copy->active > 0 && pthread_cond_timedwait(&copy->ended, &copy->lock, &until) == 0)
        ;
    has_ended = copy->active == 0;
    *rc = copy->rc;
    pthread_mutex_unlock(&copy->lock);
    return has_ended;
}

void
copy_stop(struct copy *copy)
{
    fail(copy, -ECANCELED);
}

void
copy_counts(struct copy *copy, struct copy_counts *out)
{
    pthread_mutex_lock(&copy->lock);
    *out = copy->counts;
    pthread_mutex_unlock(&copy->lock);
}

const uint64_t *
copy_named(const struct copy *copy, unsigned *count)
{
    *count = copy->named_count;
    return copy->named;
}

void
copy_free(struct copy *copy)
{
    if (copy == NULL)
        return;
    for (unsigned i = 0; i < copy->config.blocks_max; i++) {
        free(copy->slots[i].data);
        free(copy->slots[i].read_back);
    }
    zeromap_free(copy->from.blocks);
    zeromap_free(copy->to.blocks);
    free(copy->named);
    pthread_cond_destroy(&copy->ended);
    pthread_mutex_destroy(&copy->lock);
    free(copy);
}
