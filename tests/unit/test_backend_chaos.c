/* SPDX-License-Identifier: Apache-2.0 */
/* Each thing that backend-chaos does, shown over backend-memory. */
#include "backends.h"

#include <signal.h>
#include <sys/wait.h>

#define ALWAYS "1000000"

#define FRESH(store, ...) memory_open(store, (const char *const[]){ __VA_ARGS__, NULL })

static uint64_t
counted(struct test_store *store, const char *name)
{
    return stats_number(store->stats, name);
}

TEST(chaos, a_refused_request_is_not_done)
{
    static const struct {
        const char *option;
        enum bd_status status;
    } kinds[] = {
        { "retry", BD_RETRY }, { "busy", BD_BUSY },   { "denied", BD_DENIED },
        { "full", BD_FULL },   { "fatal", BD_FATAL },
    };

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct test_store store;
        char counter[32];

        FRESH(&store, kinds[i].option, ALWAYS, "only", "put");
        assert_int_equal(put_text(&store, "x", "1"), kinds[i].status);
        assert_int_equal(run(request(&store, BD_HEAD_OBJECT, "x"), NULL), BD_ABSENT);
        snprintf(counter, sizeof counter, "chaos_%s", kinds[i].option);
        assert_int_equal(counted(&store, counter), 1);
        store_close(&store);
    }
}

TEST(chaos, a_lost_answer_is_unknown_and_the_write_is_done)
{
    struct test_store store;
    char tag[257];

    FRESH(&store, "lost", ALWAYS);
    assert_int_equal(put_if(&store, "x", "1", 1, NULL, NULL, tag), BD_UNKNOWN);
    assert_string_equal(tag, "");
    expect_text(&store, "x", "1");
    assert_int_equal(delete_if(&store, "x", NULL), BD_UNKNOWN);
    assert_int_equal(run(request(&store, BD_HEAD_OBJECT, "x"), NULL), BD_ABSENT);
    assert_int_equal(counted(&store, "chaos_lost"), 2);
    store_close(&store);
}

TEST(chaos, a_late_write_is_done_later_from_a_copy)
{
    struct test_store store;
    char body[] = "old";

    FRESH(&store, "late", ALWAYS, "late-by", "150", "match", "x1");
    assert_int_equal(put_text(&store, "x1", body), BD_UNKNOWN);
    memcpy(body, "???", 3); /* it was only borrowed */
    assert_int_equal(run(request(&store, BD_HEAD_OBJECT, "x1"), NULL), BD_ABSENT);
    usleep(400000);
    expect_text(&store, "x1", "old");
    store_close(&store);
}

TEST(chaos, close_waits_for_late_writes)
{
    struct test_store store;
    uint64_t begin;

    FRESH(&store, "late", ALWAYS, "late-by", "200");
    assert_int_equal(put_text(&store, "x", "1"), BD_UNKNOWN);
    begin = clock_now_ns();
    store_close(&store);
    assert_true(clock_now_ns() - begin > 150 * NS_PER_MS);
}

TEST(chaos, corrupt_flips_one_bit)
{
    struct test_store store;
    unsigned char zeros[512] = { 0 }, out[512];
    unsigned bits = 0;

    FRESH(&store, "corrupt", ALWAYS);
    assert_int_equal(put(&store, "x", zeros, sizeof zeros), BD_OK);
    assert_int_equal(get(&store, "x", out, sizeof out, NULL), BD_OK);
    for (size_t i = 0; i < sizeof out; i++)
        bits += (unsigned)__builtin_popcount(out[i]);
    assert_int_equal(bits, 1);
    store_close(&store);
}

TEST(chaos, truncate_gives_less_and_says_so)
{
    struct test_store store;
    unsigned char zeros[512] = { 0 }, out[512];
    size_t len;

    FRESH(&store, "truncate", ALWAYS);
    assert_int_equal(put(&store, "x", zeros, sizeof zeros), BD_OK);
    assert_int_equal(get(&store, "x", out, sizeof out, &len), BD_OK);
    assert_true(len < sizeof out);
    store_close(&store);
}

TEST(chaos, stale_gives_the_version_before_with_its_tag)
{
    struct test_store store;
    struct backend_io *io;
    char first[257], tag[257], out[8];

    FRESH(&store, "stale", ALWAYS, "stale-memory", "1000000");
    assert_int_equal(put_if(&store, "x", "1", 1, NULL, NULL, first), BD_OK);
    assert_int_equal(get(&store, "x", out, sizeof out, NULL), BD_ABSENT);
    assert_int_equal(put_text(&store, "x", "2"), BD_OK);
    expect_text(&store, "x", "1");
    io = request(&store, BD_GET, "x");
    io->io.data = out;
    io->io.cap = sizeof out;
    assert_int_equal(run(io, tag), BD_OK);
    assert_string_equal(tag, first);
    assert_int_equal(delete_if(&store, "x", NULL), BD_OK);
    expect_text(&store, "x", "2");
    store_close(&store);
}

TEST(chaos, discard_claims_and_does_nothing)
{
    const char *names[] = { "x" };
    uint32_t status;
    struct test_store store;
    struct backend_io *io;

    FRESH(&store, "discard", "1");
    assert_int_equal(put_text(&store, "x", "1"), BD_OK);
    assert_int_equal(run(request(&store, BD_HEAD_OBJECT, "x"), NULL), BD_ABSENT);
    io = request(&store, BD_DELETE_MANY, NULL);
    io->io.names = names;
    io->io.statuses = &status;
    io->io.name_count = 1;
    assert_int_equal(run(io, NULL), BD_OK);
    assert_int_equal(status, BD_OK);
    store_close(&store);
}

TEST(chaos, latency_and_jitter_delay)
{
    struct test_store store;
    uint64_t begin;

    FRESH(&store, "latency", "60", "jitter", "20");
    begin = clock_now_ns();
    assert_int_equal(put_text(&store, "x", "1"), BD_OK);
    assert_true(clock_now_ns() - begin >= 60 * NS_PER_MS);
    store_close(&store);
}

TEST(chaos, a_delay_ends_at_the_deadline)
{
    struct test_store store;
    struct backend_io *io;
    uint64_t begin = clock_now_ns();

    FRESH(&store, "latency", "60000");
    io = request(&store, BD_PUT, "x");
    io->io.deadline_ns = begin + 100 * NS_PER_MS;
    assert_int_equal(run(io, NULL), BD_RETRY);
    assert_true(clock_now_ns() - begin < 10 * NS_PER_S);
    store_close(&store);
}

TEST(chaos, only_and_match_limit_it)
{
    struct test_store store;
    char out[4];

    FRESH(&store, "retry", ALWAYS, "only", "get,delete-many", "match", "bad");
    assert_int_equal(put_text(&store, "bad1", "1"), BD_OK);
    assert_int_equal(put_text(&store, "good", "1"), BD_OK);
    assert_int_equal(get(&store, "bad1", out, 4, NULL), BD_RETRY);
    assert_int_equal(get(&store, "good", out, 4, NULL), BD_OK);
    store_close(&store);
}

#define NAMES 300
#define ROUNDS 4

/* Which of the rounds were refused for each name.  The names come in steps, so in an order of its
 * own for each step that has no factor in common with their number. */
static void
pattern(const char *seed, int step, char out[NAMES * ROUNDS + 1])
{
    struct test_store store;

    FRESH(&store, "retry", "300000", "seed", seed);
    for (int i = 0; i < NAMES * ROUNDS; i++) {
        int number = i * step % NAMES, round = i / NAMES;
        char name[16];

        snprintf(name, sizeof name, "n%d", number);
        out[number * ROUNDS + round] = put_text(&store, name, "1") == BD_RETRY ? 'r' : '.';
    }
    out[NAMES * ROUNDS] = '\0';
    store_close(&store);
}

TEST(chaos, the_same_seed_decides_alike_in_any_order_and_another_does_not)
{
    char first[NAMES * ROUNDS + 1], again[NAMES * ROUNDS + 1], other[NAMES * ROUNDS + 1];
    int refused = 0;

    pattern("5", 1, first);
    pattern("5", 7, again);
    pattern("6", 1, other);
    assert_string_equal(first, again);
    assert_string_not_equal(first, other);
    for (int i = 0; i < NAMES * ROUNDS; i++)
        refused += first[i] == 'r';
    assert_in_range(refused, NAMES * ROUNDS / 5, NAMES * ROUNDS * 2 / 5);
}

TEST(chaos, die_at_kills_at_the_operation)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        struct test_store store;

        FRESH(&store, "die-at", "3");
        put_text(&store, "x", "1");
        put_text(&store, "x", "2");
        put_text(&store, "x", "3");
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

TEST(chaos, alone_it_is_refused)
{
    struct test_store store;

    store_init(&store);
    store_layer(&store, 0, "backend-chaos", NULL);
    assert_int_not_equal(store_open(&store, 1), 0);
    assert_non_null(strstr(store.why.text, "needs another"));
    store_close(&store);
}

TEST(chaos, an_unknown_operation_in_only_is_refused)
{
    const struct bd_plugin *plugin = plugin_of("backend-chaos");
    void *fields = calloc(1, plugin->options_bytes);
    char why[200] = "";

    field_set(plugin, fields, "only", "get,putt");
    assert_int_equal(plugin->check(fields, why, sizeof why), BD_INVALID);
    assert_non_null(strstr(why, "putt"));
    free(fields);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(chaos, die_at_kills_at_the_operation), /* forks: before any thread */
        RUN(chaos, a_refused_request_is_not_done),
        RUN(chaos, a_lost_answer_is_unknown_and_the_write_is_done),
        RUN(chaos, a_late_write_is_done_later_from_a_copy),
        RUN(chaos, close_waits_for_late_writes),
        RUN(chaos, corrupt_flips_one_bit),
        RUN(chaos, truncate_gives_less_and_says_so),
        RUN(chaos, stale_gives_the_version_before_with_its_tag),
        RUN(chaos, discard_claims_and_does_nothing),
        RUN(chaos, latency_and_jitter_delay),
        RUN(chaos, a_delay_ends_at_the_deadline),
        RUN(chaos, only_and_match_limit_it),
        RUN(chaos, the_same_seed_decides_alike_in_any_order_and_another_does_not),
        RUN(chaos, alone_it_is_refused),
        RUN(chaos, an_unknown_operation_in_only_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
