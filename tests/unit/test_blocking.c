/* SPDX-License-Identifier: Apache-2.0 */
/* The SDK's adapter for blocking functions, with functions that block as told. */
#include "backends.h"

#include <bucketdisk/sdk.h>
#include <limits.h>

#include <pthread.h>
#include <stdatomic.h>

static atomic_bool gate_open;
static atomic_uint calls, at_once, at_once_max;

static enum bd_status
slow_get(void *self, struct bd_io *io)
{
    unsigned now = atomic_fetch_add(&at_once, 1) + 1, max = atomic_load(&at_once_max);

    (void)self, (void)io;
    while (now > max && !atomic_compare_exchange_weak(&at_once_max, &max, now))
        ;
    atomic_fetch_add(&calls, 1);
    while (!atomic_load(&gate_open))
        usleep(1000);
    atomic_fetch_sub(&at_once, 1);
    return BD_OK;
}

static enum bd_status
picky_delete(void *self, struct bd_io *io)
{
    const struct bd_host **host = self;

    assert_int_equal(io->op, BD_DELETE);
    if (strcmp(io->name, "denied") != 0)
        return BD_OK;
    (*host)->error(io, "%s is not yours", io->name);
    return BD_DENIED;
}

static const struct bd_blocking_ops ops = { .get = slow_get, .delete_object = picky_delete };

struct slow {
    const struct bd_host *host;
    struct bd_blocking *blocking;
};

static enum bd_status
slow_open(const struct bd_host *host, const void *options, const struct bd_lower *lower,
          void **handle)
{
    struct slow *slow = calloc(1, sizeof *slow);

    (void)options, (void)lower;
    slow->host = host;
    *handle = slow;
    return bd_blocking_new(host, &ops, slow, 2, &slow->blocking);
}

static void
slow_info(void *handle, struct bd_backend_info *out)
{
    (void)handle;
    out->identity = out->display = "slow";
}

static void
slow_submit(void *handle, struct bd_io *io)
{
    bd_blocking_submit(((struct slow *)handle)->blocking, io);
}

static void
slow_close(void *handle)
{
    bd_blocking_free(((struct slow *)handle)->blocking);
    free(handle);
}

static const struct bd_backend slow_backend = {
    .head = BD_HEAD(BACKEND, struct bd_backend),
    .scratch_bytes = BD_BLOCKING_SCRATCH,
    .open = slow_open,
    .info = slow_info,
    .submit = slow_submit,
    .close = slow_close,
};

static void
fresh(struct test_store *store)
{
    store_init(store);
    store->layers[0] = (struct backend_layer){ "backend-slow", &slow_backend, NULL };
    assert_int_equal(store_open(store, 1), 0);
    atomic_store(&gate_open, false);
    atomic_store(&calls, 0);
    atomic_store(&at_once_max, 0);
}

static void
count_done(struct backend_io *io, void *arg)
{
    (void)io;
    atomic_fetch_add((atomic_uint *)arg, 1);
}

static void
wait_for(atomic_uint *value, unsigned wanted)
{
    for (int ms = 0; atomic_load(value) < wanted && ms < 20000; ms++)
        usleep(1000);
    assert_int_equal(atomic_load(value), wanted);
}

TEST(blocking, as_many_at_once_as_there_are_threads_and_the_rest_waits)
{
    struct backend_io *ios[6];
    atomic_uint done = 0;
    struct test_store store;

    fresh(&store);
    for (int i = 0; i < 6; i++) {
        ios[i] = request(&store, BD_GET, "x");
        backend_submit(ios[i], count_done, &done);
    }
    wait_for(&calls, 2);
    usleep(20000);
    assert_int_equal(atomic_load(&calls), 2);
    assert_int_equal(atomic_load(&done), 0);
    atomic_store(&gate_open, true);
    wait_for(&done, 6);
    assert_int_equal(atomic_load(&at_once_max), 2);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(ios[i]->status, BD_OK);
        backend_io_free(ios[i]);
    }
    store_close(&store);
}

TEST(blocking, what_waits_is_answered_by_its_deadline_though_all_threads_hang)
{
    struct backend_io *hanging[2], *waiting[3];
    atomic_uint done = 0, expired = 0;
    struct test_store store;

    fresh(&store);
    for (int i = 0; i < 2; i++) {
        hanging[i] = request(&store, BD_GET, "x");
        backend_submit(hanging[i], count_done, &done);
    }
    wait_for(&calls, 2);
    for (int i = 0; i < 3; i++) {
        waiting[i] = request(&store, BD_GET, "x");
        waiting[i]->io.deadline_ns = clock_now_ns() + (i == 1 ? 100000 : 100) * NS_PER_MS;
        backend_submit(waiting[i], count_done, i == 1 ? &done : &expired);
    }
    wait_for(&expired, 2);
    assert_int_equal(waiting[0]->status, BD_RETRY);
    assert_int_equal(waiting[2]->status, BD_RETRY);
    assert_int_equal(atomic_load(&done), 0);
    atomic_store(&gate_open, true);
    wait_for(&done, 3);
    assert_int_equal(waiting[1]->status, BD_OK);
    assert_int_equal(atomic_load(&calls), 3);
    for (int i = 0; i < 2; i++)
        backend_io_free(hanging[i]);
    for (int i = 0; i < 3; i++)
        backend_io_free(waiting[i]);
    store_close(&store);
}

TEST(blocking, a_missing_function_is_unsupported)
{
    struct test_store store;

    fresh(&store);
    assert_int_equal(put_text(&store, "x", "1"), BD_UNSUPPORTED);
    assert_int_equal(run(request(&store, BD_LIST, ""), NULL), BD_UNSUPPORTED);
    store_close(&store);
}

TEST(blocking, without_the_scratch_that_it_needs_it_says_so)
{
    struct bd_backend forgetful = slow_backend;
    struct test_store store;
    struct backend_io *io;

    forgetful.scratch_bytes = 0;
    store_init(&store);
    store.layers[0] = (struct backend_layer){ "backend-slow", &forgetful, NULL };
    assert_int_equal(store_open(&store, 1), 0);
    io = request(&store, BD_HEAD_OBJECT, "x");
    backend_submit_wait(io);
    assert_int_equal(io->status, BD_FATAL);
    assert_non_null(strstr(io->why.text, ".scratch_bytes = BD_BLOCKING_SCRATCH"));
    backend_io_free(io);
    store_close(&store);
}

TEST(blocking, delete_many_is_made_of_deletes_with_a_status_each)
{
    const char *names[] = { "a", "denied", "b" };
    uint32_t statuses[3];
    struct test_store store;
    struct backend_io *io;

    fresh(&store);
    io = request(&store, BD_DELETE_MANY, NULL);
    io->io.names = names;
    io->io.statuses = statuses;
    io->io.name_count = 3;
    backend_submit_wait(io);
    assert_int_equal(io->status, BD_OK);
    assert_int_equal(statuses[0], BD_OK);
    assert_int_equal(statuses[1], BD_DENIED);
    assert_int_equal(statuses[2], BD_OK);
    assert_string_equal(io->why.text, "denied is not yours");
    backend_io_free(io);
    store_close(&store);
}

TEST(sdk, conditions_hold_as_the_header_says)
{
    struct bd_io io = { .if_none_match = "*" };

    assert_true(bd_conditions_hold(&io, NULL));
    assert_false(bd_conditions_hold(&io, "a"));
    io = (struct bd_io){ .if_none_match = "a" };
    assert_true(bd_conditions_hold(&io, "b"));
    assert_false(bd_conditions_hold(&io, "a"));
    io = (struct bd_io){ .if_match = "a" };
    assert_true(bd_conditions_hold(&io, "a"));
    assert_false(bd_conditions_hold(&io, "b"));
    assert_false(bd_conditions_hold(&io, NULL));
    io = (struct bd_io){ 0 };
    assert_true(bd_conditions_hold(&io, NULL));
}

static uint64_t
at_1_s(void)
{
    return NS_PER_S;
}

TEST(sdk, what_is_left_to_the_deadline_is_rounded_up)
{
    const struct bd_host host = { .now_ns = at_1_s };

    assert_int_equal(bd_left_ms(&host, &(struct bd_io){ .deadline_ns = NS_PER_S }), 0);
    assert_int_equal(bd_left_ms(&host, &(struct bd_io){ .deadline_ns = 5 }), 0);
    assert_int_equal(bd_left_ms(&host, &(struct bd_io){ .deadline_ns = NS_PER_S + 1 }), 1);
    assert_int_equal(bd_left_ms(&host, &(struct bd_io){ .deadline_ns = 3 * NS_PER_S }), 2000);
    assert_int_equal(bd_left_ms(&host, &(struct bd_io){ .deadline_ns = UINT64_MAX }), INT_MAX);
}

TEST(sdk, attributes_are_found_at_the_hosts_stride)
{
    struct longer {
        struct bd_attr attr;
        uint64_t newer;
    } attrs[] = { { { "a", "1", 1 }, 7 }, { { "b", "2", 1 }, 7 } };
    struct bd_io io = { .attrs = &attrs[0].attr, .attr_count = 2, .attr_stride = sizeof attrs[0] };

    assert_string_equal(bd_io_attr(&io, 1)->name, "b");
}

TEST(sdk, hex_is_lower_case)
{
    char out[7];

    bd_hex("\x00\xab\x7f", 3, out);
    assert_string_equal(out, "00ab7f");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(blocking, as_many_at_once_as_there_are_threads_and_the_rest_waits),
        RUN(blocking, what_waits_is_answered_by_its_deadline_though_all_threads_hang),
        RUN(blocking, a_missing_function_is_unsupported),
        RUN(blocking, without_the_scratch_that_it_needs_it_says_so),
        RUN(blocking, delete_many_is_made_of_deletes_with_a_status_each),
        RUN(sdk, conditions_hold_as_the_header_says),
        RUN(sdk, what_is_left_to_the_deadline_is_rounded_up),
        RUN(sdk, attributes_are_found_at_the_hosts_stride),
        RUN(sdk, hex_is_lower_case),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
