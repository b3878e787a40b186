/* SPDX-License-Identifier: Apache-2.0 */
/* A backend that does what the test says, a clock, and the layers over them. */
#include "fake_backend.h"

#include <bucketdisk/sdk.h>

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 20
#define QUIET_MS 20

/* ---- the clock */

static atomic_uint_least64_t clock_ahead_ns;

uint64_t
clock_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec + atomic_load(&clock_ahead_ns);
}

/* The pool's timers are set by our clock and run by the real one. */
int
timerfd_settime(int fd, int flags, const struct itimerspec *at, struct itimerspec *old)
{
    struct itimerspec real = *at;
    uint64_t ns = (uint64_t)at->it_value.tv_sec * NS_PER_S + (uint64_t)at->it_value.tv_nsec;
    uint64_t ahead_ns = atomic_load(&clock_ahead_ns);

    if (ns != 0 && flags & TFD_TIMER_ABSTIME) {
        ns = ns > ahead_ns ? ns - ahead_ns : 1;
        real.it_value = (struct timespec){ (time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S) };
    }
    return (int)syscall(SYS_timerfd_settime, fd, flags, &real, old);
}

struct nudge {
    struct timer timer;
    sem_t ran;
};

static void
nudge_run(struct task *task)
{
    sem_post(&container_of(task, struct nudge, timer.task)->ran);
}

/* The timer that the pool sleeps for was set by the clock as it was: one that is long due wakes it. */
void
clock_jump(struct pool *pool, uint64_t ns)
{
    struct nudge nudge = { .timer.task.run = nudge_run };

    sem_init(&nudge.ran, 0, 0);
    atomic_fetch_add(&clock_ahead_ns, ns);
    assert_int_equal(pool_timer_set(pool, &nudge.timer, 1), 0);
    wait_for(&nudge.ran);
    sem_destroy(&nudge.ran);
}

static void
deadline(struct timespec *at)
{
    clock_gettime(CLOCK_REALTIME, at);
    at->tv_sec += PATIENCE_S;
}

void
wait_for(sem_t *sem)
{
    struct timespec at;

    deadline(&at);
    while (sem_timedwait(sem, &at) != 0) {
        if (errno != EINTR)
            fail_msg("nothing came within %d s", PATIENCE_S);
    }
}

/* ---- chance */

uint64_t
test_seed(void)
{
    const char *text = getenv("BUCKETDISK_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : (uint64_t)time(NULL) * 1000003u;

    print_message("BUCKETDISK_SEED=%" PRIu64 "\n", seed);
    return seed;
}

uint64_t
random_next(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u; /* splitmix64 */

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* ---- the backend's side */

static enum bd_status
fake_open(const struct bd_host *host, const void *options, const struct bd_lower *lower,
          void **handle)
{
    struct fake *fake = (struct fake *)(uintptr_t)options;

    (void)lower;
    fake->host = host;
    *handle = fake;
    return BD_OK;
}

static void
fake_info(void *handle, struct bd_backend_info *out)
{
    const struct rig_config *config = ((const struct fake *)handle)->config;

    out->capabilities = BD_CAP_ATTRS;
    if (!config->is_inconsistent)
        out->capabilities |= BD_CAP_CONSISTENT;
    if (!config->has_no_delete_many)
        out->capabilities |= BD_CAP_DELETE_MANY;
    out->delete_many_max = config->delete_many_max;
    out->list_max = config->list_max;
    out->identity = out->display = "fake";
}

static void
text_copy(char *out, size_t out_bytes, const char *text)
{
    snprintf(out, out_bytes, "%s", text != NULL ? text : "");
}

static void
fake_submit(void *handle, struct bd_io *io)
{
    struct fake *fake = handle;
    struct fake_request *request = calloc(1, sizeof *request);

    request->fake = fake;
    request->io = io;
    request->op = io->op;
    text_copy(request->name, sizeof request->name, io->name);
    text_copy(request->encoding, sizeof request->encoding, io->encoding);
    text_copy(request->start_after, sizeof request->start_after, io->start_after);
    if (io->op == BD_PUT) {
        request->body = malloc(io->body_bytes + 1);
        memcpy(request->body, io->body, io->body_bytes);
        request->body_bytes = io->body_bytes;
        for (uint32_t i = 0; i < io->attr_count; i++) {
            const struct bd_attr *attr = bd_io_attr(io, i);
            size_t used = strlen(request->attrs);

            snprintf(request->attrs + used, sizeof request->attrs - used, "%s=%.*s;", attr->name,
                     (int)attr->value_bytes, (const char *)attr->value);
        }
    } else if (io->op == BD_DELETE_MANY) {
        request->name_count = io->name_count;
        request->names = calloc(io->name_count, sizeof *request->names);
        for (uint32_t i = 0; i < io->name_count; i++)
            text_copy(request->names[i], sizeof request->names[i], io->names[i]);
        text_copy(request->name, sizeof request->name, io->names[0]);
    }
    pthread_mutex_lock(&fake->lock);
    *fake->last = request;
    fake->last = &request->next;
    if (++fake->in_flight > fake->in_flight_peak)
        fake->in_flight_peak = fake->in_flight;
    pthread_cond_signal(&fake->arrived);
    pthread_mutex_unlock(&fake->lock);
}

static void
fake_close(void *handle)
{
    (void)handle;
}

static const struct bd_backend fake_table = {
    .head = BD_HEAD(BACKEND, struct bd_backend),
    .open = fake_open,
    .info = fake_info,
    .submit = fake_submit,
    .close = fake_close,
};

/* ---- the test's side */

static struct fake_request *
take_locked(struct fake *fake)
{
    struct fake_request *request = fake->first;

    if (request != NULL) {
        fake->first = request->next;
        if (fake->first == NULL)
            fake->last = &fake->first;
    }
    return request;
}

struct fake_request *
fake_take(struct fake *fake)
{
    struct fake_request *request;

    pthread_mutex_lock(&fake->lock);
    request = take_locked(fake);
    pthread_mutex_unlock(&fake->lock);
    return request;
}

struct fake_request *
fake_next(struct fake *fake)
{
    struct fake_request *request;
    struct timespec at;
    int rc = 0;

    deadline(&at);
    pthread_mutex_lock(&fake->lock);
    while (fake->first == NULL && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&fake->arrived, &fake->lock, &at);
    request = take_locked(fake);
    pthread_mutex_unlock(&fake->lock);
    if (request == NULL)
        fail_msg("no request came within %d s", PATIENCE_S);
    return request;
}

struct fake_request *
fake_expect(struct fake *fake, uint32_t op, const char *name)
{
    struct fake_request *request = fake_next(fake);

    assert_int_equal(request->op, op);
    assert_string_equal(request->name, name);
    return request;
}

struct fake_request *
fake_expect_block(struct fake *fake, uint32_t op, uint64_t block)
{
    char name[16];

    snprintf(name, sizeof name, "%08" PRIx64, block);
    return fake_expect(fake, op, name);
}

void
fake_expect_quiet(struct fake *fake)
{
    bool is_quiet;

    usleep(QUIET_MS * 1000);
    pthread_mutex_lock(&fake->lock);
    is_quiet = fake->first == NULL;
    pthread_mutex_unlock(&fake->lock);
    assert_true(is_quiet);
}

unsigned
fake_in_flight_peak(struct fake *fake)
{
    unsigned peak;

    pthread_mutex_lock(&fake->lock);
    peak = fake->in_flight_peak;
    pthread_mutex_unlock(&fake->lock);
    return peak;
}

static void
answer(struct fake_request *request, enum bd_status status)
{
    struct fake *fake = request->fake;
    struct bd_io *io = request->io;

    free(request->body);
    free(request->names);
    free(request);
    pthread_mutex_lock(&fake->lock);
    fake->in_flight--;
    pthread_mutex_unlock(&fake->lock);
    fake->host->complete(io, status);
}

void
fake_answer(struct fake_request *request, enum bd_status status)
{
    for (uint32_t i = 0; request->op == BD_DELETE_MANY && i < request->name_count; i++)
        request->io->statuses[i] = BD_OK;
    answer(request, status);
}

void
fake_answer_some(struct fake_request *request, const char *name, enum bd_status status)
{
    for (uint32_t i = 0; i < request->name_count; i++)
        request->io->statuses[i] = strcmp(request->names[i], name) == 0 ? status : BD_OK;
    answer(request, BD_OK);
}

void
fake_answer_tag(struct fake_request *request, enum bd_status status, const char *tag)
{
    request->fake->host->tag_set(request->io, tag);
    fake_answer(request, status);
}

void
fake_answer_retry_after(struct fake_request *request, uint32_t ms)
{
    request->io->retry_after_ms = ms;
    answer(request, BD_RETRY);
}

void
fake_give(struct fake_request *request, const void *body, size_t bytes, const char *tag)
{
    struct bd_io *io = request->io;

    assert_int_equal(request->op, BD_GET);
    io->object_bytes = bytes;
    io->len = bytes < io->cap ? bytes : io->cap;
    memcpy(io->data, body, io->len);
    request->fake->host->tag_set(io, tag);
    answer(request, BD_OK);
}

void
fake_give_block(struct fake_request *request, unsigned char fill, const char *tag)
{
    unsigned char body[RIG_BLOCK_BYTES];

    memset(body, fill, sizeof body);
    fake_give(request, body, sizeof body, tag);
}

void
fake_give_names(struct fake_request *request, const char *const *names, unsigned count)
{
    const struct bd_host *host = request->fake->host;
    struct bd_io *io = request->io;
    uint32_t given = 0;

    assert_int_equal(request->op, BD_LIST);
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(names[i], request->start_after) <= 0)
            continue;
        if (given == io->limit) {
            io->more = 1;
            break;
        }
        given++;
        if (!host->list_add(io, names[i], RIG_BLOCK_BYTES, NULL)) {
            io->more = i + 1 < count;
            break;
        }
    }
    answer(request, BD_OK);
}

/* ---- the layers */

static uint64_t
or_default(uint64_t value, uint64_t def)
{
    return value != 0 ? value : def;
}

void
rig_open(struct rig *rig, const struct rig_config *config)
{
    struct backend_layer layer = { "backend-fake", &fake_table, &rig->fake };
    struct objects_config objects;
    struct consistency_config consistency;
    struct error why = { "" };

    memset(rig, 0, sizeof *rig);
    rig->config = *config;
    rig->fake.config = &rig->config;
    rig->fake.last = &rig->fake.first;
    pthread_mutex_init(&rig->fake.lock, NULL);
    pthread_cond_init(&rig->fake.arrived, NULL);
    rig->layout = (struct layout){ .prefix = config->prefix != NULL ? config->prefix : "",
                                   .is_hashed = config->is_hashed,
                                   .block_bytes = RIG_BLOCK_BYTES,
                                   .block_count = or_default(config->block_count, 64) };
    objects = (struct objects_config){
        .layout = &rig->layout,
        .attempt_ns = 30 * NS_PER_S,
        .retry_pause_ns = or_default(config->retry_pause_ns, NS_PER_MS),
        .stall_read_ns = or_default(config->stall_read_ns, 120 * NS_PER_S),
        .stall_write_ns = or_default(config->stall_write_ns, 600 * NS_PER_S),
        .in_flight_max = (unsigned)or_default(config->in_flight_max, 16),
    };
    consistency =
        (struct consistency_config){ .layout = &rig->layout,
                                     .recent.settle_ns = config->settle_ns,
                                     .recent.write_gap_ns = config->write_gap_ns,
                                     .recent.tag_keep_ns = config->tag_keep_ns,
                                     .recent.tag_count_max = config->tag_count_max,
                                     .stall_read_ns = objects.stall_read_ns,
                                     .is_reader = config->is_reader,
                                     .is_shared = config->is_shared,
                                     .listers_max = (unsigned)or_default(config->listers_max, 1) };
    assert_int_equal(pool_new(2, &rig->pool), 0);
    assert_int_equal(stats_new(&rig->stats), 0);
    assert_int_equal(backend_open(&layer, 1, rig->pool, rig->stats, &why, &rig->backend), 0);
    assert_int_equal(chain_open(&(struct chain_config){ .plugins = &rig->plugins,
                                                        .write_list = "",
                                                        .read_default = NULL,
                                                        .block_bytes = RIG_BLOCK_BYTES },
                                rig->pool, rig->stats, &why, &rig->chain),
                     0);
    assert_int_equal(
        objects_new(&objects, rig->backend, rig->chain, rig->pool, rig->stats, &rig->objects), 0);
    assert_int_equal(
        consistency_new(&consistency, rig->objects, rig->pool, rig->stats, &rig->store), 0);
}

void
rig_close(struct rig *rig)
{
    assert_null(rig->fake.first);
    consistency_free(rig->store);
    objects_free(rig->objects);
    chain_close(rig->chain);
    backend_close(rig->backend);
    pool_free(rig->pool);
    stats_free(rig->stats);
    pthread_cond_destroy(&rig->fake.arrived);
    pthread_mutex_destroy(&rig->fake.lock);
}

uint64_t
rig_counter(struct rig *rig, const char *name)
{
    return counter_value(stats_counter(rig->stats, name, ""));
}

uint64_t
rig_gauge(struct rig *rig, const char *name)
{
    char *text = stats_json(rig->stats);
    json_t *json = json_loads(text, 0, NULL);
    uint64_t value;

    assert_non_null(json_object_get(json, name));
    value = (uint64_t)json_integer_value(json_object_get(json, name));
    json_decref(json);
    free(text);
    return value;
}

static void
wait_counter(struct rig *rig, const char *name, uint64_t value)
{
    for (unsigned ms = 0; rig_counter(rig, name) < value; ms++) {
        if (ms == PATIENCE_S * 1000)
            fail_msg("%s did not become %" PRIu64, name, value);
        usleep(1000);
    }
}

void
rig_wait_retries(struct rig *rig, uint64_t retries)
{
    wait_counter(rig, "object_retries", retries);
}

void
rig_wait_held(struct rig *rig, uint64_t writes)
{
    wait_counter(rig, "held_writes", writes);
}

void
rig_wait_stale(struct rig *rig, uint64_t reads)
{
    wait_counter(rig, "stale_reads", reads);
}

struct visit {
    struct task task;
    sem_t *came, *may_go, *went;
};

static void
visit(struct task *task)
{
    struct visit *visit = container_of(task, struct visit, task);
    sem_t *went = visit->went;

    sem_post(visit->came);
    wait_for(visit->may_go);
    sem_post(went);
}

static void
wait_for_many(sem_t *sem, unsigned count)
{
    while (count-- > 0)
        wait_for(sem);
}

/* When all workers are at a visit at once, all tasks before have ended; twice, for what these have queued. */
void
rig_catch_up(struct rig *rig)
{
    unsigned workers = pool_workers(rig->pool);
    struct visit visits[8];
    sem_t came, may_go, went;

    assert_true(workers <= ARRAY_LEN(visits));
    sem_init(&came, 0, 0);
    sem_init(&may_go, 0, 0);
    sem_init(&went, 0, 0);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < workers; i++) {
            visits[i] = (struct visit){ { .run = visit }, &came, &may_go, &went };
            pool_submit(rig->pool, &visits[i].task);
        }
        wait_for_many(&came, workers);
        for (unsigned i = 0; i < workers; i++)
            sem_post(&may_go);
        wait_for_many(&went, workers);
    }
    sem_destroy(&came);
    sem_destroy(&may_go);
    sem_destroy(&went);
}

/* ---- requests from above */

static void
call_done(struct store_req *req)
{
    sem_post(&container_of(req, struct call, req)->done);
}

static void
call_start(struct rig *rig, struct call *call, struct store_req req)
{
    sem_init(&call->done, 0, 0);
    call->req = req;
    call->req.done = call_done;
    store_submit(rig->store, &call->req);
}

/* What must be overwritten. */
static const struct store_version untold = { VERSION_TAG, "nobody has told" };

void
call_read(struct rig *rig, struct call *call, uint64_t block)
{
    memset(call->data, 0xee, sizeof call->data);
    call->version = untold;
    call_start(rig, call,
               (struct store_req){ .op = STORE_READ,
                                   .block = block,
                                   .bytes = RIG_BLOCK_BYTES,
                                   .data = call->data,
                                   .version = &call->version });
}

void
call_write(struct rig *rig, struct call *call, uint64_t block, unsigned char fill)
{
    memset(call->data, fill, sizeof call->data);
    call->version = untold;
    call_start(rig, call,
               (struct store_req){ .op = STORE_WRITE,
                                   .block = block,
                                   .bytes = RIG_BLOCK_BYTES,
                                   .data = call->data,
                                   .version = &call->version });
}

void
call_zero(struct rig *rig, struct call *call, uint64_t block, uint64_t count)
{
    call_start(rig, call, (struct store_req){ .op = STORE_ZERO, .block = block, .count = count });
}

void
call_flush(struct rig *rig, struct call *call)
{
    call_start(rig, call, (struct store_req){ .op = STORE_FLUSH });
}

void
call_check(struct rig *rig, struct call *call, uint64_t block, const struct store_version *version)
{
    call->version = *version;
    call_start(rig, call,
               (struct store_req){ .op = STORE_CHECK,
                                   .block = block,
                                   .version = &call->version,
                                   .is_same = version->is != VERSION_TAG });
}

void
call_seek(struct rig *rig, struct call *call, uint64_t block, uint64_t end, bool want_data)
{
    call_start(rig, call,
               (struct store_req){
                   .op = STORE_SEEK, .block = block, .count = end, .want_data = want_data });
}

int
call_end(struct call *call)
{
    wait_for(&call->done);
    sem_destroy(&call->done);
    return call->req.rc;
}

bool
call_is_done(struct call *call)
{
    int value;

    sem_getvalue(&call->done, &value);
    return value > 0;
}

void
call_expect_block(struct call *call, unsigned char fill)
{
    assert_int_equal(call_end(call), 0);
    for (unsigned i = 0; i < RIG_BLOCK_BYTES; i++)
        assert_int_equal(call->data[i], fill);
}
