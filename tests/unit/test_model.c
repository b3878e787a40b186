/* SPDX-License-Identifier: Apache-2.0 */
/* All layers from the disk to the objects, over backend-chaos on backend-memory, against a plain array.
 *
 * Each thread owns a region of the disk, whose borders lie inside blocks: so it knows what must be there,
 * while its neighbours rewrite the same blocks.  At the end the layers are made anew, and the disk is read
 * from the store alone.
 *
 * BUCKETDISK_SEED replays; BUCKETDISK_LONG runs for a minute instead of a few seconds. */
#include "fake_backend.h"
#include "module.h"

#include "base/log.h"
#include "disk.h"
#include "whole.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <unistd.h>

#define BLOCK 1024u
#define BLOCKS 40u
#define THREADS 4u
#define DISK_BYTES (BLOCKS * BLOCK)
#define REGION (DISK_BYTES / THREADS - 100) /* the last bytes belong to nobody */
#define SETTLE_MS 400u
#define LATE_BY "20"

struct system {
    struct pool *pool;
    struct stats *stats;
    struct backend *backend;
    struct plugins plugins;
    struct chain *chain;
    struct layout layout;
    struct objects *objects;
    struct store *consistency, *whole;
    struct disk disk;
    uint64_t end_ns;
};

static unsigned char model[DISK_BYTES];

static void
layers_open(struct system *system)
{
    const struct objects_config objects = { .layout = &system->layout,
                                            .attempt_ns = 10 * NS_PER_S,
                                            .retry_pause_ns = NS_PER_MS,
                                            .stall_read_ns = 60 * NS_PER_S,
                                            .stall_write_ns = 60 * NS_PER_S,
                                            .in_flight_max = 16 };
    const struct consistency_config consistency = { .layout = &system->layout,
                                                    .recent.settle_ns = SETTLE_MS * NS_PER_MS,
                                                    .stall_read_ns = 60 * NS_PER_S,
                                                    .listers_max = 4 };

    assert_int_equal(objects_new(&objects, system->backend, system->chain, system->pool,
                                 system->stats, &system->objects),
                     0);
    assert_int_equal(consistency_new(&consistency, system->objects, system->pool, system->stats,
                                     &system->consistency),
                     0);
    assert_int_equal(whole_new(system->consistency, BLOCK, 4 * BLOCK, &system->whole), 0);
    system->disk = (struct disk){ system->whole, BLOCK, DISK_BYTES };
}

static void
layers_close(struct system *system)
{
    whole_free(system->whole);
    consistency_free(system->consistency);
    objects_free(system->objects);
}

static void *
options_of(const struct bd_plugin *plugin, uint64_t seed)
{
    static char seed_text[32];
    /* A body that is cut short three times is a damaged block: that must stay as good as never. */
    const char *const options[][2] = {
        { "seed", seed_text }, { "jitter", "2" },      { "retry", "20000" },   { "lost", "10000" },
        { "late", "5000" },    { "late-by", LATE_BY }, { "truncate", "1000" },
    };
    void *fields = calloc(1, plugin->options_bytes);

    snprintf(seed_text, sizeof seed_text, "%" PRIu64, seed);
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        field_set(plugin, fields, options[i][0], options[i][1]);
    return fields;
}

/* ---- one request, waited for */

struct ask {
    struct disk_req req;
    sem_t done;
};

static void
ask_done(struct disk_req *req)
{
    sem_post(&container_of(req, struct ask, req)->done);
}

static int
ask(struct system *system, enum disk_op op, uint64_t offset, uint64_t bytes, void *data,
    uint64_t *found)
{
    struct ask ask = {
        .req = { .op = op, .offset = offset, .bytes = bytes, .data = data, .done = ask_done }
    };

    sem_init(&ask.done, 0, 0);
    disk_submit(&system->disk, &ask.req);
    while (sem_wait(&ask.done) != 0)
        ;
    sem_destroy(&ask.done);
    if (found != NULL)
        *found = ask.req.offset;
    return ask.req.rc;
}

/* ---- the threads */

struct hand {
    struct system *system;
    uint64_t seed, first, end;
    uint64_t requests;
    char failure[128]; /* "": none */
};

static bool
is_zeros(uint64_t first, uint64_t end)
{
    while (first < end && model[first] == 0)
        first++;
    return first >= end;
}

static void
seek(struct hand *hand, uint64_t offset, bool want_data)
{
    uint64_t found, end;
    int rc =
        ask(hand->system, want_data ? DISK_SEEK_DATA : DISK_SEEK_HOLE, offset, 0, NULL, &found);

    if (want_data) {
        end = rc == -ENXIO ? hand->end : found < hand->end ? found : hand->end;
        if ((rc != 0 && rc != -ENXIO) || !is_zeros(offset, end))
            snprintf(hand->failure, sizeof hand->failure,
                     "data was skipped from %" PRIu64 " to %" PRIu64 " (%d)", offset, end, rc);
    } else if (rc == 0 && found < hand->end) {
        end = (found / BLOCK + 1) * BLOCK;
        if (!is_zeros(found, end < hand->end ? end : hand->end))
            snprintf(hand->failure, sizeof hand->failure, "a hole at %" PRIu64 " has data", found);
    } else if (rc != 0) {
        snprintf(hand->failure, sizeof hand->failure, "seek hole: %d", rc);
    }
}

static void *
work(void *arg)
{
    static const char zeros[REGION];
    struct hand *hand = arg;
    unsigned char bytes[REGION];

    for (; hand->failure[0] == '\0' && clock_now_ns() < hand->system->end_ns; hand->requests++) {
        uint64_t chance = random_next(&hand->seed);
        uint64_t offset = hand->first + (chance >> 8) % REGION;
        uint64_t bytes_max = hand->end - offset, len = (chance >> 24) % 3000 + 1;
        int rc = 0;

        if (len > bytes_max)
            len = bytes_max;
        switch (chance % 16) {
        case 0:
            rc = ask(hand->system, DISK_FLUSH, 0, 0, NULL, NULL);
            break;
        case 1:
        case 2:
            seek(hand, offset, chance % 16 == 1);
            break;
        case 3:
        case 4:
            len = chance & 0x10000000 ? bytes_max : len;
            rc = ask(hand->system, DISK_ZERO, offset, len, NULL, NULL);
            memset(model + offset, 0, len);
            break;
        case 5: /* zeros, as data */
            memset(bytes, 0, len);
            rc = ask(hand->system, DISK_WRITE, offset, len, bytes, NULL);
            memcpy(model + offset, zeros, len);
            break;
        case 6:
        case 7:
        case 8:
        case 9:
        case 10:
            memset(bytes, (int)(chance >> 40) & 0xff, len);
            rc = ask(hand->system, DISK_WRITE, offset, len, bytes, NULL);
            memcpy(model + offset, bytes, len);
            break;
        default:
            rc = ask(hand->system, DISK_READ, offset, len, bytes, NULL);
            if (rc == 0 && memcmp(bytes, model + offset, len) != 0)
                snprintf(hand->failure, sizeof hand->failure,
                         "wrong data in %" PRIu64 " bytes at %" PRIu64, len, offset);
            break;
        }
        if (rc != 0)
            snprintf(hand->failure, sizeof hand->failure, "request %d: %d", (int)(chance % 16), rc);
    }
    return NULL;
}

static void
surveyed(void *arg, int rc)
{
    (void)rc; /* with chaos it may fail */
    sem_post(arg);
}

TEST(model, the_disk_is_what_was_written_whatever_the_store_does)
{
    const struct bd_plugin *chaos = plugin_of("backend-chaos"),
                           *memory = plugin_of("backend-memory");
    uint64_t seed = test_seed(), requests = 0;
    struct system system = { .layout = {
                                 .prefix = "m/", .block_bytes = BLOCK, .block_count = BLOCKS } };
    void *options = options_of(chaos, random_next(&seed)),
         *memory_options = calloc(1, memory->options_bytes + 1);
    struct backend_layer layers[] = { { "backend-chaos", chaos->backend, options },
                                      { "backend-memory", memory->backend, memory_options } };
    struct hand hands[THREADS];
    pthread_t threads[THREADS];
    unsigned char out[DISK_BYTES];
    struct error why = { "" };
    sem_t survey;

    assert_int_equal(pool_new(3, &system.pool), 0);
    assert_int_equal(stats_new(&system.stats), 0);
    assert_int_equal(backend_open(layers, 2, system.pool, system.stats, &why, &system.backend), 0);
    assert_int_equal(chain_open(&(struct chain_config){ .plugins = &system.plugins,
                                                        .write_list = "",
                                                        .read_default = NULL,
                                                        .block_bytes = BLOCK },
                                system.pool, system.stats, &why, &system.chain),
                     0);
    layers_open(&system);
    memset(model, 0, sizeof model);
    sem_init(&survey, 0, 0);
    consistency_survey(system.consistency, surveyed, &survey);
    system.end_ns = clock_now_ns() + (getenv("BUCKETDISK_LONG") != NULL ? 60 : 4) * NS_PER_S;
    for (unsigned i = 0; i < THREADS; i++) {
        hands[i] = (struct hand){ .system = &system,
                                  .seed = random_next(&seed),
                                  .first = i * (DISK_BYTES / THREADS - 37) };
        hands[i].end = hands[i].first + REGION;
        assert_int_equal(pthread_create(&threads[i], NULL, work, &hands[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        requests += hands[i].requests;
        if (hands[i].failure[0] != '\0')
            fail_msg("thread %u: %s", i, hands[i].failure);
    }
    wait_for(&survey);
    assert_int_equal(ask(&system, DISK_FLUSH, 0, 0, NULL, NULL), 0);
    while (consistency_settled_at_ns(system.consistency) > clock_now_ns())
        usleep(10000);
    print_message("%" PRIu64 " requests\n", requests);

    layers_close(&system);
    layers_open(&system);
    assert_int_equal(ask(&system, DISK_READ, 0, DISK_BYTES, out, NULL), 0);
    assert_memory_equal(out, model, DISK_BYTES);
    layers_close(&system);
    chain_close(system.chain);
    backend_close(system.backend);
    pool_free(system.pool);
    stats_free(system.stats);
    free(options);
    free(memory_options);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(model, the_disk_is_what_was_written_whatever_the_store_does),
    };

    log_level_max(BD_WARNING);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
