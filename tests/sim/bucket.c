/* SPDX-License-Identifier: Apache-2.0 */
/* The store as core/objects shows it.
 *
 *   request    one call of objects_submit; dies with the daemon
 *   attempt    one try of it, of which nothing is left but its effects and its answer
 *   effect     a change of one block at a time to come; belongs to the store */
#include "bucket.h"

#include "base/util.h"
#include "world.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_PAUSE_MAX_NS (30 * NS_PER_S)
#define RUBBISH 0xee

struct objects {
    int unused;
};

/* What is, or was, stored for a block. */
struct version {
    char *data; /* NULL: nothing */
    uint64_t tag;
    uint64_t replaced_ns;
};

struct object {
    struct version now, before;
    unsigned readers, writers; /* requests of the daemon */
};

struct request {
    struct request *next, *prev; /* a ring */
    struct object_req *req;
    uint64_t number;
    uint64_t started_ns, pause_ns;
    char *data;       /* PUT: as it was when it came */
    uint64_t *blocks; /* DELETE: not done yet */
    unsigned count, left;
    int rc; /* of the attempt under way: -EAGAIN: again */
    bool is_unknown;
    uint64_t tag;  /* PUT: of the last attempt */
    uint32_t rank; /* LIST: of the next name */
    unsigned listed;
};

struct effect {
    struct effect *next, *prev; /* a ring */
    uint64_t block;
    char *data; /* NULL: delete */
    uint64_t tag;
    uint64_t request; /* its number */
    uint64_t at_ns;
    uint32_t event;
    bool is_late; /* its attempt was given up, or the daemon is dead */
};

static struct {
    struct bucket_config config;
    struct bucket_faults faults;
    struct object *objects;
    uint64_t *by_name;  /* blocks in the order of their names */
    object_name *names; /* in their order */
    struct request requests;
    struct effect effects;
    uint64_t request_count, tags;
    struct objects handle;
} bucket;

static const char *const op_words[] = {
    [OBJECT_GET] = "GET",       [OBJECT_HEAD] = "HEAD", [OBJECT_PUT] = "PUT",
    [OBJECT_DELETE] = "DELETE", [OBJECT_LIST] = "LIST",
};

/* ---- what is stored */

static bool
is_consistent(void)
{
    return bucket.config.capabilities & BD_CAP_CONSISTENT;
}

static char *
copy_block(const void *data)
{
    char *copy = world_alloc(bucket.config.layout.block_bytes);

    memcpy(copy, data, bucket.config.layout.block_bytes);
    return copy;
}

static bool
is_same(const char *a, const char *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return memcmp(a, b, bucket.config.layout.block_bytes) == 0;
}

static void
effect_free(struct effect *effect)
{
    effect->next->prev = effect->prev;
    effect->prev->next = effect->next;
    world_release(effect->data);
    world_release(effect);
}

static void
effect_run(void *arg)
{
    struct effect *effect = arg;
    struct object *object = &bucket.objects[effect->block];

    world_trace("    store: %s of %" PRIu64 " (#%" PRIu64 ")%s",
                effect->data != NULL ? "PUT" : "DELETE", effect->block, effect->request,
                effect->is_late ? ", LATE" : "");
    world_release(object->before.data);
    object->before = object->now;
    object->before.replaced_ns = clock_now_ns();
    object->now = (struct version){ .data = effect->data, .tag = effect->tag };
    effect->data = NULL;
    effect_free(effect);
}

static void
effect_add(struct request *request, uint64_t block, uint64_t at_ns, bool is_late)
{
    struct effect *effect = world_alloc(sizeof *effect);

    *effect = (struct effect){ .block = block,
                               .data = request->data != NULL ? copy_block(request->data) : NULL,
                               .tag = ++bucket.tags,
                               .request = request->number,
                               .at_ns = at_ns,
                               .is_late = is_late };
    request->tag = effect->tag;
    effect->next = bucket.effects.next;
    effect->prev = &bucket.effects;
    effect->next->prev = effect->prev->next = effect;
    effect->event = event_add(at_ns, OWNER_STORE, effect_run, effect);
}

/* What a read or listing is shown. */
static const struct version *
version_shown(uint64_t block)
{
    const struct object *object = &bucket.objects[block];

    if (!is_consistent() && object->before.replaced_ns != 0
        && clock_now_ns() - object->before.replaced_ns < bucket.config.stale_ns && chance_one_in(2))
        return &object->before;
    return &object->now;
}

/* ---- the end of a request */

static bool
is_write(const struct request *request)
{
    return request->req->op == OBJECT_PUT || request->req->op == OBJECT_DELETE;
}

static bool
is_read(const struct request *request)
{
    return request->req->op == OBJECT_GET || request->req->op == OBJECT_HEAD;
}

static void
in_use(const struct request *request, unsigned by)
{
    const struct object_req *req = request->req;

    if (is_read(request))
        bucket.objects[req->block].readers += by;
    else if (req->op == OBJECT_PUT)
        bucket.objects[req->block].writers += by;
    for (unsigned i = 0; i < request->count; i++)
        bucket.objects[req->blocks[i]].writers += by;
}

static void
request_free(struct request *request)
{
    request->next->prev = request->prev;
    request->prev->next = request->next;
    world_release(request->data);
    world_release(request->blocks);
    world_release(request);
}

static void
check_unchanged(const struct request *request)
{
    if (request->data != NULL
        && memcmp(request->data, request->req->data, bucket.config.layout.block_bytes) != 0)
        world_fail("the data of block %" PRIu64 " changes while it is being sent (#%" PRIu64 ")",
                   request->req->block, request->number);
}

static void
finish(struct request *request, int rc)
{
    struct object_req *req = request->req;
    uint64_t tag = request->tag;

    check_unchanged(request);
    world_trace("    #%" PRIu64 " %s %" PRIu64 ": rc %d%s%s", request->number, op_words[req->op],
                req->block, rc, req->unsettled_ns != 0 ? ", unsettled" : "",
                req->is_absent ? ", absent" : "");
    in_use(request, -1u);
    request_free(request);
    if (rc == 0 && req->op == OBJECT_PUT)
        snprintf(req->tag, sizeof req->tag, "%" PRIu64, tag);
    req->rc = rc;
    req->done(req);
}

/* ---- attempts */

static void attempt(void *arg);

static void
again(struct request *request)
{
    uint64_t now = clock_now_ns(), stalled_ns = now - request->started_ns;
    uint64_t stall_ns =
        is_write(request) ? bucket.config.stall_write_ns : bucket.config.stall_read_ns;
    uint64_t pause_ns = chance_from(request->pause_ns / 2, request->pause_ns);

    if (stalled_ns >= stall_ns) {
        finish(request, -EIO);
        return;
    }
    if (pause_ns > stall_ns - stalled_ns)
        pause_ns = stall_ns - stalled_ns;
    if (request->pause_ns < RETRY_PAUSE_MAX_NS)
        request->pause_ns *= 2;
    event_add(now + pause_ns, OWNER_DAEMON, attempt, request);
}

static void
answer(void *arg)
{
    struct request *request = arg;

    check_unchanged(request);
    if (request->is_unknown)
        request->req->unsettled_ns = clock_now_ns();
    if (request->rc == -EAGAIN)
        again(request);
    else
        finish(request, request->rc);
}

/* What becomes of an attempt, and when. */
struct fate {
    int rc; /* -EAGAIN: again */
    bool is_lost;
    uint64_t answer_ns;
};

static struct fate
fate_of(const struct request *request)
{
    const struct bucket_faults *faults = &bucket.faults;
    uint64_t now = clock_now_ns();
    struct fate fate = { .answer_ns =
                             now + chance_from(faults->latency_min_ns, faults->latency_max_ns) };

    if (chance_ppm(faults->slow_ppm))
        fate.answer_ns = now + chance_below(bucket.config.attempt_ns);
    if (now < faults->away_until_ns) {
        fate.rc = -EAGAIN;
        fate.is_lost = is_write(request) && faults->lost_ppm > 0 && chance_one_in(2);
    } else if (chance_ppm(faults->retry_ppm)) {
        fate.rc = -EAGAIN;
    } else if (is_write(request) && chance_ppm(faults->lost_ppm)) {
        fate.rc = -EAGAIN;
        fate.is_lost = true;
    } else if (chance_ppm(faults->final_ppm)) {
        fate.rc = -EIO;
    }
    if (fate.is_lost && chance_one_in(2))
        fate.answer_ns = now + bucket.config.attempt_ns;
    return fate;
}

/* One block is written or deleted, or not: as the fate says. */
static void
change(struct request *request, uint64_t block, const struct fate *fate)
{
    uint64_t now = clock_now_ns();

    if (fate->rc == 0)
        effect_add(request, block, chance_from(now, fate->answer_ns), false);
    else if (fate->is_lost && chance_one_in(3))
        effect_add(request, block, chance_from(now, fate->answer_ns), false);
    else if (fate->is_lost && chance_one_in(2) && bucket.config.settle_ns > 0)
        effect_add(request, block, fate->answer_ns + chance_below(bucket.config.settle_ns), true);
}

/* Now and then each block has a fate of its own. */
static void
attempt_delete(struct request *request, const struct fate *whole)
{
    bool is_patchy = chance_one_in(8);
    unsigned left = 0;

    request->rc = whole->rc;
    request->is_unknown = whole->is_lost;
    for (unsigned i = 0; i < request->left; i++) {
        struct fate fate = whole->rc == 0 && is_patchy ? fate_of(request) : *whole;
        uint64_t block = request->blocks[i];

        fate.answer_ns = whole->answer_ns;
        change(request, block, &fate);
        if (fate.rc == 0)
            continue;
        request->blocks[left++] = block;
        request->is_unknown = request->is_unknown || fate.is_lost;
        if (request->rc != -EAGAIN)
            request->rc = fate.rc;
    }
    request->left = left;
}

static void
sample(void *arg)
{
    struct object_req *req = ((struct request *)arg)->req;
    const struct version *shown = version_shown(req->block);

    req->is_absent = shown->data == NULL;
    if (shown->data != NULL)
        snprintf(req->tag, sizeof req->tag, "%" PRIu64, shown->tag);
    if (req->op == OBJECT_HEAD)
        return;
    if (shown->data != NULL)
        memcpy(req->data, shown->data, bucket.config.layout.block_bytes);
    else
        memset(req->data, 0, bucket.config.layout.block_bytes);
}

/* One name after the other; the page shows each as it is when its turn comes. */
static void
list_step(void *arg)
{
    struct request *request = arg;
    struct object_req *req = request->req;
    const struct layout *layout = &bucket.config.layout;
    uint64_t block = 0;

    while (request->rank < layout->block_count
           && version_shown(bucket.by_name[request->rank])->data == NULL)
        request->rank++;
    if (request->rank < layout->block_count)
        block = bucket.by_name[request->rank];
    if (request->rank == layout->block_count) {
        req->list_ended = true;
        finish(request, 0);
        return;
    }
    if (request->listed == bucket.config.list_max) {
        finish(request, 0);
        return;
    }
    if (chance_ppm(bucket.faults.retry_ppm)) {
        again(request);
        return;
    }
    strcpy(req->list_from, bucket.names[request->rank]);
    request->rank++;
    request->listed++;
    req->found(req, block, 0);
    event_add(clock_now_ns() + (chance_one_in(4) ? chance_below(NS_PER_MS) : 0), OWNER_DAEMON,
              list_step, request);
}

/* Whoever asked has no use for it any more. */
static bool
is_over(const struct object_req *req)
{
    return req->is_over != NULL && atomic_load(req->is_over);
}

static void
attempt_list(struct request *request)
{
    uint64_t first = 0, end = bucket.config.layout.block_count;

    /* The first name behind list_from. */
    while (first < end) {
        uint64_t middle = (first + end) / 2;

        if (strcmp(bucket.names[middle], request->req->list_from) > 0)
            end = middle;
        else
            first = middle + 1;
    }
    request->rank = (uint32_t)first;
    request->listed = 0;
}

static void
attempt(void *arg)
{
    struct request *request = arg;
    struct object_req *req = request->req;
    struct fate fate = fate_of(request);

    check_unchanged(request);
    if (is_over(req)) {
        finish(request, -ECANCELED);
        return;
    }
    request->rc = fate.rc;
    request->is_unknown = fate.is_lost;
    switch (req->op) {
    case OBJECT_GET:
    case OBJECT_HEAD:
        if (req->op == OBJECT_GET)
            memset(req->data, RUBBISH, bucket.config.layout.block_bytes);
        if (fate.rc == 0)
            event_add(chance_from(clock_now_ns(), fate.answer_ns), OWNER_DAEMON, sample, request);
        break;
    case OBJECT_PUT:
        change(request, req->block, &fate);
        break;
    case OBJECT_DELETE:
        attempt_delete(request, &fate);
        break;
    case OBJECT_LIST:
        attempt_list(request);
        if (fate.rc == 0) {
            event_add(chance_from(clock_now_ns(), fate.answer_ns), OWNER_DAEMON, list_step,
                      request);
            return;
        }
        break;
    }
    /* After whatever happens before it. */
    event_add(fate.answer_ns + 1, OWNER_DAEMON, answer, request);
}

/* ---- objects.h */

static void
check_alone(const struct request *request, uint64_t block)
{
    const struct object *object = &bucket.objects[block];
    bool is_alone = object->writers == 0 && (is_read(request) || object->readers == 0);

    if (!is_alone)
        world_fail("%s of block %" PRIu64 ", of which another request is at the store",
                   op_words[request->req->op], block);
    if (is_read(request))
        return;
    for (const struct effect *effect = bucket.effects.next; effect != &bucket.effects;
         effect = effect->next) {
        if (effect->block == block && !is_same(effect->data, request->data))
            world_fail("a different version of block %" PRIu64
                       " is sent while a lost attempt (#%" PRIu64 ") may still be carried out",
                       block, effect->request);
    }
}

void
objects_submit(struct objects *objects, struct object_req *req)
{
    struct request *request;

    (void)objects;
    world_no_lock("to submit a request");
    req->rc = 0;
    req->is_absent = req->list_ended = false;
    req->unsettled_ns = 0;
    req->tag[0] = '\0';
    if (chance_ppm(bucket.faults.memory_ppm)) {
        req->rc = -ENOMEM;
        req->done(req);
        return;
    }
    request = world_alloc(sizeof *request);
    request->req = req;
    request->number = ++bucket.request_count;
    request->started_ns = clock_now_ns();
    request->pause_ns = bucket.config.retry_pause_ns;
    if (req->op == OBJECT_PUT)
        request->data = copy_block(req->data);
    if (req->op == OBJECT_DELETE) {
        if (req->count == 0 || req->count > bucket.config.delete_max)
            world_fail("a DELETE of %u blocks", req->count);
        req->block = req->blocks[0];
        request->count = request->left = req->count;
        request->blocks = world_alloc(req->count * sizeof *request->blocks);
        memcpy(request->blocks, req->blocks, req->count * sizeof *request->blocks);
        for (unsigned i = 0; i < req->count; i++) {
            if (req->blocks[i] == 0)
                world_fail("block 0 is deleted");
            check_alone(request, req->blocks[i]);
        }
    } else if (req->op != OBJECT_LIST) {
        assert(req->block < bucket.config.layout.block_count);
        check_alone(request, req->block);
    }
    world_trace("    #%" PRIu64 " %s %" PRIu64 " +%u", request->number, op_words[req->op],
                req->block, request->count);
    in_use(request, 1);
    request->next = bucket.requests.next;
    request->prev = &bucket.requests;
    request->next->prev = request->prev->next = request;
    event_add(clock_now_ns() + chance_below(20 * NS_PER_US), OWNER_DAEMON, attempt, request);
}

unsigned
objects_delete_max(const struct objects *objects)
{
    (void)objects;
    return bucket.config.delete_max;
}

unsigned
objects_list_max(const struct objects *objects)
{
    (void)objects;
    return bucket.config.list_max;
}

bool
objects_list_in_order(const struct objects *objects)
{
    (void)objects;
    return true;
}

uint64_t
objects_capabilities(const struct objects *objects)
{
    (void)objects;
    return bucket.config.capabilities;
}

/* ---- the simulation's side */

static int
compare_names(const void *a, const void *b)
{
    object_name first, second;

    layout_block_name(&bucket.config.layout, *(const uint64_t *)a, first);
    layout_block_name(&bucket.config.layout, *(const uint64_t *)b, second);
    return strcmp(first, second);
}

void
bucket_new(const struct bucket_config *config)
{
    uint64_t count = config->layout.block_count;

    memset(&bucket, 0, sizeof bucket);
    bucket.config = *config;
    bucket.requests.next = bucket.requests.prev = &bucket.requests;
    bucket.effects.next = bucket.effects.prev = &bucket.effects;
    bucket.objects = world_alloc(count * sizeof *bucket.objects);
    bucket.by_name = world_alloc(count * sizeof *bucket.by_name);
    bucket.names = world_alloc(count * sizeof *bucket.names);
    for (uint64_t i = 0; i < count; i++)
        bucket.by_name[i] = i;
    if (config->layout.is_hashed)
        qsort(bucket.by_name, count, sizeof *bucket.by_name, compare_names);
    for (uint64_t i = 0; i < count; i++)
        layout_block_name(&config->layout, bucket.by_name[i], bucket.names[i]);
}

void
bucket_free(void)
{
    while (bucket.requests.next != &bucket.requests)
        request_free(bucket.requests.next);
    while (bucket.effects.next != &bucket.effects)
        effect_free(bucket.effects.next);
    for (uint64_t i = 0; i < bucket.config.layout.block_count; i++) {
        world_release(bucket.objects[i].now.data);
        world_release(bucket.objects[i].before.data);
    }
    world_release(bucket.objects);
    world_release(bucket.by_name);
    world_release(bucket.names);
}

void
bucket_set_faults(const struct bucket_faults *faults)
{
    bucket.faults = *faults;
}

struct objects *
bucket_objects(void)
{
    return &bucket.handle;
}

void
bucket_kill(void)
{
    struct effect *next;

    while (bucket.requests.next != &bucket.requests)
        request_free(bucket.requests.next);
    for (uint64_t i = 0; i < bucket.config.layout.block_count; i++)
        bucket.objects[i].readers = bucket.objects[i].writers = 0;
    for (struct effect *effect = bucket.effects.next; effect != &bucket.effects; effect = next) {
        next = effect->next;
        if (effect->is_late && effect->at_ns < clock_now_ns() + bucket.config.settle_ns)
            continue;
        event_cancel(effect->event);
        if (bucket.config.settle_ns == 0 || bucket.config.capabilities & BD_CAP_LOCAL
            || chance_one_in(3)) {
            effect_free(effect);
            continue;
        }
        effect->is_late = true;
        effect->at_ns = clock_now_ns() + chance_below(bucket.config.settle_ns);
        effect->event = event_add(effect->at_ns, OWNER_STORE, effect_run, effect);
    }
}

bool
bucket_is_unsettled(void)
{
    return bucket.effects.next != &bucket.effects;
}

bool
bucket_may_change(uint64_t block)
{
    for (const struct effect *effect = bucket.effects.next; effect != &bucket.effects;
         effect = effect->next) {
        if (effect->block == block && !is_same(effect->data, bucket.objects[block].now.data))
            return true;
    }
    return false;
}

const char *
bucket_data(uint64_t block)
{
    return bucket.objects[block].now.data;
}

uint64_t
bucket_requests(void)
{
    return bucket.request_count;
}

void
bucket_tell(void)
{
    for (const struct request *request = bucket.requests.next; request != &bucket.requests;
         request = request->next)
        printf("  at the store: #%" PRIu64 " %s %" PRIu64 " since %.6f\n", request->number,
               op_words[request->req->op], request->req->block, (double)request->started_ns / 1e9);
    for (const struct effect *effect = bucket.effects.next; effect != &bucket.effects;
         effect = effect->next)
        printf("  to be carried out%s: #%" PRIu64 ", block %" PRIu64 "\n",
               effect->is_late ? " late" : "", effect->request, effect->block);
}
