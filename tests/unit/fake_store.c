/* SPDX-License-Identifier: Apache-2.0 */
/* A layer below the cache, requests from above, copies that get stuck. */
#include "fake_store.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define PATIENCE_S 20

/* ---- the layer below */

unsigned char
stored_byte(uint64_t block)
{
    return (unsigned char)(0x80 | block);
}

static unsigned char *
data_of(const struct below *below, uint64_t block)
{
    return below->data + block * below->block_bytes;
}

static uint64_t
last_of(const struct store_req *req)
{
    return req->block + (req->op == STORE_ZERO ? req->count : 1) - 1;
}

static void
note(struct below *below, bool is_right, const char *promise)
{
    if (!is_right && below->violation == NULL)
        below->violation = promise;
}

static bool
is_of_blocks(const struct store_req *req)
{
    return req->op != STORE_SEEK && req->op != STORE_FLUSH;
}

static bool
is_alone(const struct below *below, const struct store_req *req)
{
    if (below->orders_blocks)
        return true;
    for (const struct asked *other = below->there; other != NULL; other = other->there_next) {
        if (is_of_blocks(other->req) && other->req->block <= last_of(req)
            && last_of(other->req) >= req->block)
            return false;
    }
    return true;
}

static uint32_t
sectors_of(const struct below *below)
{
    return below->block_bytes / SECTOR_BYTES;
}

static size_t
map_bytes(const struct below *below)
{
    return (sectors_of(below) + 63) / 64 * sizeof(uint64_t);
}

static bool
has_sector(const uint64_t *valid, uint32_t sector)
{
    return valid == NULL || (valid[sector / 64] >> sector % 64 & 1) != 0;
}

static uint32_t
count_sectors(const struct below *below, const uint64_t *valid)
{
    uint32_t count = 0;

    for (uint32_t sector = 0; sector < sectors_of(below); sector++)
        count += has_sector(valid, sector);
    return count;
}

static void
take_sectors(struct below *below, const struct store_req *req)
{
    for (uint32_t sector = 0; sector < sectors_of(below); sector++) {
        size_t at = (size_t)sector * SECTOR_BYTES;

        if (has_sector(req->valid, sector))
            memcpy(data_of(below, req->block) + at, (char *)req->data + at, SECTOR_BYTES);
    }
}

static void
carry_out(struct below *below, struct store_req *req)
{
    for (uint64_t block = req->block; block <= last_of(req) && block < below->block_count;
         block++) {
        if (req->op == STORE_READ)
            memcpy(req->data, data_of(below, block), below->block_bytes);
        else if (req->op == STORE_WRITE)
            take_sectors(below, req);
        else if (req->op == STORE_ZERO)
            memset(data_of(below, block), 0, below->block_bytes);
        if (req->op == STORE_WRITE || req->op == STORE_ZERO) {
            below->is_zero[block] = req->op == STORE_ZERO;
            below->versions[block]++;
        }
    }
}

static void
tell_version(const struct below *below, uint64_t block, struct store_version *version)
{
    version->is = below->is_silent        ? VERSION_UNKNOWN
                  : below->is_zero[block] ? VERSION_ABSENT
                                          : VERSION_TAG;
    snprintf(version->tag, sizeof version->tag, "\"%u\"", below->versions[block]);
}

static void
answer_version(const struct below *below, struct store_req *req)
{
    struct store_version version;

    if (!is_of_blocks(req) || req->op == STORE_ZERO || req->block >= below->block_count)
        return;
    tell_version(below, req->block, &version);
    if (req->op == STORE_CHECK)
        req->is_same =
            version.is == req->version->is
            && (version.is != VERSION_TAG || strcmp(version.tag, req->version->tag) == 0);
    else if (req->version != NULL)
        *req->version = version;
}

/* An error says nothing of what became of a write. */
static void
asked_end(struct asked *asked, int rc, bool is_carried_out)
{
    struct below *below = asked->below;
    struct store_req *req = asked->req;
    struct asked **link = &below->there;

    pthread_mutex_lock(&below->lock);
    while (*link != asked)
        link = &(*link)->there_next;
    *link = asked->there_next;
    below->there_now--;
    if (req->op == STORE_WRITE)
        note(below,
             memcmp(asked->data, req->data, below->block_bytes) == 0
                 && (asked->valid == NULL
                     || memcmp(asked->valid, req->valid, map_bytes(below)) == 0),
             "what is being written does not change");
    if (is_carried_out)
        carry_out(below, req);
    else if (req->op == STORE_READ)
        memset(req->data, 0xdd, req->bytes);
    if (rc == 0)
        answer_version(below, req);
    pthread_mutex_unlock(&below->lock);
    free(asked->data);
    free(asked->valid);
    free(asked);
    store_done(req, rc);
}

static void
wander_run(struct task *task)
{
    struct asked *asked = container_of(task, struct asked, timer.task);
    struct below *below = asked->below;
    uint64_t chance;
    bool fails;

    pthread_mutex_lock(&below->lock);
    chance = random_next(&below->seed);
    fails = below->fail_one_in > 0 && chance % below->fail_one_in == 0;
    pthread_mutex_unlock(&below->lock);
    asked_end(asked, fails ? -EIO : 0, !fails || (asked->req->op != STORE_READ && chance >> 63));
}

static void
below_submit(struct store *store, struct store_req *req)
{
    struct below *below = container_of(store, struct below, store);
    struct asked *asked = calloc(1, sizeof *asked);
    enum below_mode mode;
    uint64_t pause_ns;
    int rc;

    asked->below = below;
    asked->req = req;
    pthread_mutex_lock(&below->lock);
    if (req->op == STORE_READ || req->op == STORE_WRITE)
        note(below, req->offset == 0 && req->bytes == below->block_bytes && req->data != NULL,
             "whole blocks are asked for");
    if (req->op == STORE_WRITE) {
        asked->data = malloc(req->bytes);
        memcpy(asked->data, req->data, req->bytes);
    }
    if (req->valid != NULL) {
        uint32_t count = count_sectors(below, req->valid);

        note(below, below->takes_parts && count > 0 && count < sectors_of(below),
             "only to who takes parts is a part given, which is neither nothing nor all");
        asked->valid = malloc(map_bytes(below));
        memcpy(asked->valid, req->valid, map_bytes(below));
    }
    note(below, req->op != STORE_FLUSH || below->takes_parts, "no flush is passed on");
    note(below, !is_of_blocks(req) || is_alone(below, req),
         "of one block, no two requests are there at once");
    asked->there_next = below->there;
    below->there = asked;
    below->asked[req->op]++;
    if (++below->there_now > below->there_peak)
        below->there_peak = below->there_now;
    mode = below->mode;
    rc = below->fail_rc[req->op];
    pause_ns = random_next(&below->seed) % 300000;
    if (mode == BELOW_HOLDS) {
        *below->last = asked;
        below->last = &asked->next;
        pthread_cond_signal(&below->arrived);
    }
    pthread_mutex_unlock(&below->lock);
    if (mode == BELOW_ANSWERS) {
        asked_end(asked, rc, rc == 0);
    } else if (mode == BELOW_WANDERS) {
        asked->timer.task.run = wander_run;
        if (pool_timer_set(below->pool, &asked->timer, clock_now_ns() + pause_ns) != 0)
            abort();
    }
}

static bool
below_knows_zero(struct store *store, uint64_t block)
{
    struct below *below = container_of(store, struct below, store);
    bool is_zero;

    pthread_mutex_lock(&below->lock);
    is_zero = block < below->block_count && below->is_zero[block];
    pthread_mutex_unlock(&below->lock);
    return is_zero;
}

void
below_mode(struct below *below, enum below_mode mode)
{
    pthread_mutex_lock(&below->lock);
    below->mode = mode;
    pthread_mutex_unlock(&below->lock);
}

void
below_is_zero(struct below *below, uint64_t block)
{
    pthread_mutex_lock(&below->lock);
    below->is_zero[block] = true;
    memset(data_of(below, block), 0, below->block_bytes);
    pthread_mutex_unlock(&below->lock);
}

unsigned
below_asked(struct below *below, enum store_op op)
{
    unsigned count;

    pthread_mutex_lock(&below->lock);
    count = below->asked[op];
    pthread_mutex_unlock(&below->lock);
    return count;
}

static void
expect_fill(const unsigned char *data, uint32_t sector, uint32_t sectors, unsigned char fill)
{
    for (uint32_t i = sector * SECTOR_BYTES; i < (sector + sectors) * SECTOR_BYTES; i++) {
        if (data[i] != fill)
            fail_msg("byte %u is 0x%02x, not 0x%02x", i, data[i], fill);
    }
}

void
below_expect_stored(struct below *below, uint64_t block, uint32_t sector, uint32_t sectors,
                    unsigned char fill)
{
    unsigned char *copy = malloc(below->block_bytes);

    pthread_mutex_lock(&below->lock);
    memcpy(copy, data_of(below, block), below->block_bytes);
    pthread_mutex_unlock(&below->lock);
    expect_fill(copy, sector, sectors, fill);
    free(copy);
}

struct asked *
below_expect(struct below *below, enum store_op op, uint64_t block)
{
    struct asked **link, *asked = NULL;
    struct timespec at;
    int rc = 0;

    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&below->lock);
    for (;;) {
        for (link = &below->first; *link != NULL; link = &(*link)->next) {
            if ((*link)->req->op == op && (block == ANY_BLOCK || (*link)->req->block == block))
                break;
        }
        asked = *link;
        if (asked != NULL || rc == ETIMEDOUT)
            break;
        rc = pthread_cond_timedwait(&below->arrived, &below->lock, &at);
    }
    if (asked != NULL) {
        *link = asked->next;
        if (*link == NULL)
            below->last = link;
    }
    pthread_mutex_unlock(&below->lock);
    if (asked == NULL)
        fail_msg("op %d of block %ju did not come within %d s", (int)op, (uintmax_t)block,
                 PATIENCE_S);
    return asked;
}

void
asked_expect_data(struct asked *asked, uint32_t sector, uint32_t sectors, unsigned char fill)
{
    assert_int_equal(asked->req->op, STORE_WRITE);
    expect_fill(asked->req->data, sector, sectors, fill);
}

void
asked_expect_valid(struct asked *asked, uint32_t sector, uint32_t sectors)
{
    assert_int_equal(asked->req->op, STORE_WRITE);
    for (uint32_t i = 0; i < SECTORS; i++) {
        if (has_sector(asked->req->valid, i) != (i >= sector && i < sector + sectors))
            fail_msg("sector %u is %s", i,
                     has_sector(asked->req->valid, i) ? "valid" : "not valid");
    }
}

void
asked_answer(struct asked *asked, int rc)
{
    asked_end(asked, rc, rc == 0);
}

void
below_answer(struct below *below, enum store_op op, uint64_t block, int rc)
{
    asked_answer(below_expect(below, op, block), rc);
}

void
below_init(struct below *below, uint32_t block_bytes, uint64_t block_count)
{
    below->store.submit = below_submit;
    below->store.is_zero = below_knows_zero;
    below->block_bytes = block_bytes;
    below->block_count = block_count;
    pthread_mutex_init(&below->lock, NULL);
    pthread_cond_init(&below->arrived, NULL);
    below->last = &below->first;
    below->data = malloc(block_count * block_bytes);
    below->is_zero = calloc(block_count, sizeof *below->is_zero);
    below->versions = calloc(block_count, sizeof *below->versions);
    assert_int_equal(pool_new(2, &below->pool), 0);
    for (uint64_t block = 0; block < block_count; block++)
        memset(data_of(below, block), stored_byte(block), block_bytes);
}

void
below_end(struct below *below)
{
    if (below->violation != NULL)
        fail_msg("broken: %s", below->violation);
    assert_null(below->there);
    pool_free(below->pool);
    pthread_cond_destroy(&below->arrived);
    pthread_mutex_destroy(&below->lock);
    free(below->data);
    free(below->is_zero);
    free(below->versions);
}

void
below_expect_nothing(struct below *below)
{
    struct asked *first;

    pthread_mutex_lock(&below->lock);
    first = below->first;
    pthread_mutex_unlock(&below->lock);
    if (first != NULL)
        fail_msg("op %d of block %ju was asked for", (int)first->req->op,
                 (uintmax_t)first->req->block);
}

/* ---- the cache over it */

#define KEPT_MAX 4096u

struct cached *
cached_new(struct cache_config config)
{
    return cached_new_with(config, 1);
}

struct cached *
cached_new_with(struct cache_config config, unsigned workers)
{
    struct cached *cached = calloc(1, sizeof *cached);

    if (config.block_bytes == 0)
        config.block_bytes = BLOCK_BYTES;
    if (config.block_count == 0)
        config.block_count = 64;
    if (config.blocks_max == 0)
        config.blocks_max = 16;
    if (config.write_delay_ns == 0)
        config.write_delay_ns = 10 * NS_PER_S;
    if (config.write_delay_max_ns == 0)
        config.write_delay_max_ns = config.write_delay_ns;
    if (config.in_flight_max == 0)
        config.in_flight_max = 8;
    cached->config = config;
    below_init(&cached->below, config.block_bytes,
               config.block_count < KEPT_MAX ? config.block_count : KEPT_MAX);
    cached->below.takes_parts = config.next_takes_parts;
    assert_int_equal(pool_new(workers, &cached->pool), 0);
    assert_int_equal(stats_new(&cached->stats), 0);
    assert_int_equal(
        cache_new(&config, &cached->below.store, cached->pool, cached->stats, &cached->store), 0);
    return cached;
}

void
cached_free(struct cached *cached)
{
    struct below *below = &cached->below;
    struct wish flush;

    cached_settle(cached);
    assert_null(below->first);
    below_mode(below, BELOW_ANSWERS);
    if (cached->store != NULL) {
        wish_flush(cached, &flush);
        assert_int_equal(wish_end(&flush), 0);
        cache_free(cached->store);
    }
    pool_free(cached->pool);
    below_end(below);
    stats_free(cached->stats);
    free(cached);
}

struct barrier {
    struct task task;
    sem_t reached;
};

static void
barrier_run(struct task *task)
{
    sem_post(&container_of(task, struct barrier, task)->reached);
}

/* The one worker runs tasks in order; what these make the cache submit comes before the next barrier. */
void
cached_settle(struct cached *cached)
{
    struct barrier barrier = { .task.run = barrier_run };

    sem_init(&barrier.reached, 0, 0);
    for (unsigned i = 0; i < 4; i++) {
        pool_submit(cached->pool, &barrier.task);
        wait_for(&barrier.reached);
    }
    sem_destroy(&barrier.reached);
}

void
cached_sleep(struct cached *cached, uint64_t ns)
{
    cached_settle(cached);
    clock_jump(cached->pool, ns);
    cached_settle(cached);
}

void
cached_expect_quiet(struct cached *cached)
{
    cached_settle(cached);
    below_expect_nothing(&cached->below);
}

uint64_t
cached_counter(struct cached *cached, const char *name)
{
    return counter_value(stats_counter(cached->stats, name, ""));
}

uint64_t
cached_gauge(struct cached *cached, const char *name)
{
    char *text = stats_json(cached->stats);
    json_t *json = json_loads(text, 0, NULL);
    uint64_t value;

    assert_non_null(json_object_get(json, name));
    value = (uint64_t)json_number_value(json_object_get(json, name));
    json_decref(json);
    free(text);
    return value;
}

/* ---- requests from above */

static void
wish_done(struct store_req *req)
{
    sem_post(&container_of(req, struct wish, req)->done);
}

static void
wish_init(struct wish *wish, struct store_req req)
{
    sem_init(&wish->done, 0, 0);
    wish->req = req;
    wish->req.done = wish_done;
    wish->req.rc = 1;
}

void
wish_submit(struct store *store, struct wish *wish, struct store_req req)
{
    wish_init(wish, req);
    store_submit(store, &wish->req);
}

static void
wish_start(struct cached *cached, struct wish *wish, struct store_req req)
{
    wish_submit(cached->store, wish, req);
}

static struct store_req
part(enum store_op op, uint64_t block, uint32_t offset, uint32_t bytes, void *data)
{
    return (struct store_req){
        .op = op, .block = block, .offset = offset, .bytes = bytes, .data = data
    };
}

void
wish_read(struct cached *cached, struct wish *wish, uint64_t block, uint32_t sector,
          uint32_t sectors)
{
    memset(wish->data, 0xee, sizeof wish->data);
    wish_start(cached, wish,
               part(STORE_READ, block, sector * SECTOR_BYTES, sectors * SECTOR_BYTES, wish->data));
}

void
wish_write(struct cached *cached, struct wish *wish, uint64_t block, uint32_t sector,
           uint32_t sectors, unsigned char fill)
{
    wish_write_bytes(cached, wish, block, sector * SECTOR_BYTES, sectors * SECTOR_BYTES, fill);
}

void
wish_write_zeros(struct cached *cached, struct wish *wish, uint64_t block, uint32_t sector,
                 uint32_t sectors)
{
    wish_start(cached, wish,
               part(STORE_WRITE, block, sector * SECTOR_BYTES, sectors * SECTOR_BYTES, NULL));
}

void
wish_write_bytes(struct cached *cached, struct wish *wish, uint64_t block, uint32_t offset,
                 uint32_t bytes, unsigned char fill)
{
    memset(wish->data, fill, bytes);
    wish_start(cached, wish, part(STORE_WRITE, block, offset, bytes, wish->data));
}

void
wish_zero(struct cached *cached, struct wish *wish, uint64_t block, uint64_t count)
{
    wish_start(cached, wish,
               (struct store_req){ .op = STORE_ZERO, .block = block, .count = count });
}

void
wish_flush(struct cached *cached, struct wish *wish)
{
    wish_start(cached, wish, (struct store_req){ .op = STORE_FLUSH });
}

void
wish_seek(struct cached *cached, struct wish *wish, uint64_t block, uint64_t end, bool want_data)
{
    wish_start(cached, wish,
               (struct store_req){
                   .op = STORE_SEEK, .block = block, .count = end, .want_data = want_data });
}

bool
wish_is_done(struct wish *wish)
{
    int value;

    sem_getvalue(&wish->done, &value);
    return value > 0;
}

int
wish_end(struct wish *wish)
{
    wait_for(&wish->done);
    sem_destroy(&wish->done);
    return wish->req.rc;
}

void
expect_done(struct wish *wish, int rc)
{
    assert_int_equal(wish_end(wish), rc);
}

void
wish_expect(struct wish *wish, unsigned char fill)
{
    assert_int_equal(wish_end(wish), 0);
    expect_fill(wish->req.data, 0, wish->req.bytes / SECTOR_BYTES, fill);
}

void
expect_read(struct cached *cached, uint64_t block, uint32_t sector, uint32_t sectors,
            unsigned char fill)
{
    struct wish wish;

    wish_read(cached, &wish, block, sector, sectors);
    wish_expect(&wish, fill);
}

void
write_now(struct cached *cached, uint64_t block, uint32_t sector, uint32_t sectors,
          unsigned char fill)
{
    struct wish wish;

    wish_write(cached, &wish, block, sector, sectors, fill);
    assert_true(wish_is_done(&wish));
    assert_int_equal(wish_end(&wish), 0);
}

bool
is_cached(struct cached *cached, uint64_t block)
{
    struct wish wish;

    wish_read(cached, &wish, block, 0, SECTORS);
    if (wish_is_done(&wish)) {
        wish_end(&wish);
        return true;
    }
    below_answer(&cached->below, STORE_READ, block, -EIO);
    assert_int_equal(wish_end(&wish), -EIO);
    return false;
}

void
fetch(struct cached *cached, uint64_t block)
{
    struct wish wish;

    wish_read(cached, &wish, block, 0, SECTORS);
    below_answer(&cached->below, STORE_READ, block, 0);
    wish_expect(&wish, stored_byte(block));
}

void
make_dirty(struct cached *cached, uint64_t block, unsigned char fill)
{
    if (!is_cached(cached, block))
        fetch(cached, block);
    write_now(cached, block, 0, 1, fill);
}

/* ---- copies that get stuck */

static struct stuck *the_stuck;
static struct sigaction usual;

static void
on_touch(int sig, siginfo_t *info, void *context)
{
    struct stuck *stuck = the_stuck;
    const unsigned char *at = info->si_addr;

    (void)sig, (void)context;
    if (stuck == NULL || at < stuck->data || at >= stuck->data + BLOCK_BYTES) {
        sigaction(SIGSEGV, &usual, NULL); /* it comes again, and is nobody's */
        return;
    }
    sem_post(&stuck->touched);
    while (sem_wait(&stuck->go_on) != 0)
        ;
    mprotect(stuck->data, BLOCK_BYTES, PROT_READ | PROT_WRITE);
}

static void *
stuck_main(void *arg)
{
    struct stuck *stuck = arg;

    store_submit(stuck->cached->store, &stuck->wish.req);
    return NULL;
}

static void
stuck_start(struct cached *cached, struct stuck *stuck, struct store_req req, unsigned char fill)
{
    struct sigaction action = { .sa_sigaction = on_touch, .sa_flags = SA_SIGINFO };

    stuck->cached = cached;
    stuck->data =
        mmap(NULL, BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(stuck->data != MAP_FAILED);
    memset(stuck->data, fill, BLOCK_BYTES);
    assert_int_equal(mprotect(stuck->data, BLOCK_BYTES, PROT_NONE), 0);
    sem_init(&stuck->touched, 0, 0);
    sem_init(&stuck->go_on, 0, 0);
    req.data = stuck->data;
    wish_init(&stuck->wish, req);
    the_stuck = stuck;
    sigaction(SIGSEGV, &action, &usual);
    assert_int_equal(pthread_create(&stuck->thread, NULL, stuck_main, stuck), 0);
    wait_for(&stuck->touched);
}

void
stuck_read(struct cached *cached, struct stuck *stuck, uint64_t block, uint32_t sector,
           uint32_t sectors)
{
    stuck_start(cached, stuck,
                part(STORE_READ, block, sector * SECTOR_BYTES, sectors * SECTOR_BYTES, NULL), 0xee);
}

void
stuck_write(struct cached *cached, struct stuck *stuck, uint64_t block, uint32_t sector,
            uint32_t sectors, unsigned char fill)
{
    stuck_start(cached, stuck,
                part(STORE_WRITE, block, sector * SECTOR_BYTES, sectors * SECTOR_BYTES, NULL),
                fill);
}

int
stuck_end(struct stuck *stuck)
{
    int rc;

    sem_post(&stuck->go_on);
    assert_int_equal(pthread_join(stuck->thread, NULL), 0);
    rc = wish_end(&stuck->wish);
    sigaction(SIGSEGV, &usual, NULL);
    the_stuck = NULL;
    munmap(stuck->data, BLOCK_BYTES);
    sem_destroy(&stuck->touched);
    sem_destroy(&stuck->go_on);
    return rc;
}
