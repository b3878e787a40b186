/* SPDX-License-Identifier: Apache-2.0 */
/* What every backend owes, shown for backend-memory, for backend-dir, and for both under a quiet
 * chaos. */
#include "backends.h"

#include <pthread.h>
#include <stdatomic.h>

static char scratch[512];
static bool is_dir, is_stacked;

/* A fresh, empty store of the kind at test. */
static void
fresh(struct test_store *store)
{
    const char *dir_options[] = { "path", scratch, "threads", "8", NULL };
    unsigned layer = 0;

    store_init(store);
    if (is_stacked)
        store_layer(store, layer++, "backend-chaos", NULL);
    if (is_dir) {
        scratch_make(scratch);
        store_layer(store, layer++, "backend-dir", dir_options);
    } else {
        store_layer(store, layer++, "backend-memory", NULL);
    }
    assert_int_equal(store_open(store, layer), 0);
}

static void
done(struct test_store *store)
{
    store_close(store);
    if (is_dir)
        scratch_remove(scratch);
}

static unsigned char *
noise(size_t bytes, unsigned seed)
{
    unsigned char *data = malloc(bytes + 1);

    for (size_t i = 0; i < bytes; i++) {
        seed = seed * 1103515245u + 12345u;
        data[i] = (unsigned char)(seed >> 16);
    }
    return data;
}

TEST(contract, bodies_of_all_sizes_come_back)
{
    static const size_t sizes[] = { 0, 1, 511, 4096, 65537, 1 << 20, 4 << 20 };
    struct test_store store;

    fresh(&store);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        unsigned char *data = noise(sizes[i], (unsigned)i), *out = malloc(sizes[i] + 16);
        size_t len = 99;

        assert_int_equal(put(&store, "object", data, sizes[i]), BD_OK);
        assert_int_equal(get(&store, "object", out, sizes[i] + 16, &len), BD_OK);
        assert_int_equal(len, sizes[i]);
        assert_memory_equal(out, data, sizes[i]);
        free(data);
        free(out);
    }
    done(&store);
}

TEST(contract, a_range_is_read_and_nothing_is_written_past_cap)
{
    struct test_store store;
    struct backend_io *io;
    char out[8] = "#######";

    fresh(&store);
    assert_int_equal(put_text(&store, "object", "0123456789"), BD_OK);
    io = request(&store, BD_GET, "object");
    io->io.data = out;
    io->io.cap = 4;
    io->io.offset = 3;
    backend_submit_wait(io);
    assert_int_equal(io->status, BD_OK);
    assert_int_equal(io->io.len, 4);
    assert_int_equal(io->io.object_bytes, 10);
    assert_memory_equal(out, "3456###", 7);
    io->io.offset = 8;
    backend_submit_wait(io);
    assert_int_equal(io->io.len, 2);
    io->io.offset = 10;
    backend_submit_wait(io);
    assert_int_equal(io->status, BD_OK);
    assert_int_equal(io->io.len, 0);
    backend_io_free(io);
    done(&store);
}

TEST(contract, what_was_never_put_or_was_deleted_is_absent)
{
    struct test_store store;
    char out[4];

    fresh(&store);
    assert_int_equal(get(&store, "none", out, 4, NULL), BD_ABSENT);
    assert_int_equal(run(request(&store, BD_HEAD_OBJECT, "none"), NULL), BD_ABSENT);
    assert_int_equal(delete_if(&store, "none", NULL), BD_OK);
    assert_int_equal(put_text(&store, "none", "x"), BD_OK);
    assert_int_equal(delete_if(&store, "none", NULL), BD_OK);
    assert_int_equal(get(&store, "none", out, 4, NULL), BD_ABSENT);
    done(&store);
}

TEST(contract, attributes_and_encoding_are_kept_and_replaced_whole)
{
    struct test_store store;
    struct backend_io *io;
    char long_value[BD_ATTR_VALUE_BYTES_MAX];
    struct bd_attr attrs[] = { { "mac", "0 ~", 3 },
                               { "long-one", long_value, sizeof long_value },
                               { "shortest", "!", 1 } };
    size_t bytes = 99;
    char put_tag[257], head_tag[257];

    memset(long_value, 'e', sizeof long_value);
    fresh(&store);
    io = request(&store, BD_PUT, "object");
    io->io.body = "x";
    io->io.body_bytes = 1;
    io->io.encoding = "zstd,xchacha20-poly1305";
    io->io.attrs = attrs;
    io->io.attr_count = 3;
    assert_int_equal(run(io, put_tag), BD_OK);
    assert_string_not_equal(put_tag, "");

    io = request(&store, BD_HEAD_OBJECT, "object");
    backend_submit_wait(io);
    assert_int_equal(io->status, BD_OK);
    assert_int_equal(io->io.object_bytes, 1);
    assert_string_equal(io->encoding, "zstd,xchacha20-poly1305");
    assert_memory_equal(backend_io_attr(io, "mac", &bytes), "0 ~", 3);
    assert_int_equal(bytes, 3);
    assert_memory_equal(backend_io_attr(io, "long-one", &bytes), long_value, sizeof long_value);
    assert_string_equal(backend_io_attr(io, "shortest", &bytes), "!");
    assert_int_equal(bytes, 1);
    assert_int_equal(run(io, head_tag), BD_OK);
    assert_string_equal(put_tag, head_tag);

    assert_int_equal(put_text(&store, "object", "y"), BD_OK);
    io = request(&store, BD_HEAD_OBJECT, "object");
    backend_submit_wait(io);
    assert_null(io->encoding);
    assert_null(backend_io_attr(io, "mac", &bytes));
    assert_int_equal(run(io, head_tag), BD_OK);
    assert_string_not_equal(put_tag, head_tag);
    done(&store);
}

TEST(contract, conditions_decide)
{
    struct test_store store;
    struct backend_io *io;
    char first[257], second[257], out[4];

    fresh(&store);
    assert_int_equal(put_if(&store, "o", "1", 1, "nonsense", NULL, NULL), BD_CONDITION);
    assert_int_equal(put_if(&store, "o", "1", 1, NULL, "*", first), BD_OK);
    assert_int_equal(put_if(&store, "o", "2", 1, NULL, "*", NULL), BD_CONDITION);
    expect_text(&store, "o", "1");
    assert_int_equal(put_if(&store, "o", "2", 1, first, NULL, second), BD_OK);
    assert_int_equal(put_if(&store, "o", "3", 1, first, NULL, NULL), BD_CONDITION);
    expect_text(&store, "o", "2");

    io = request(&store, BD_GET, "o");
    io->io.data = out;
    io->io.cap = 4;
    io->io.if_none_match = second;
    assert_int_equal(run(io, NULL), BD_CONDITION);
    io = request(&store, BD_GET, "o");
    io->io.data = out;
    io->io.cap = 4;
    io->io.if_match = first;
    assert_int_equal(run(io, NULL), BD_CONDITION);

    assert_int_equal(delete_if(&store, "o", first), BD_CONDITION);
    assert_int_equal(delete_if(&store, "o", second), BD_OK);
    assert_int_equal(delete_if(&store, "o", second), BD_CONDITION);
    done(&store);
}

struct racer {
    struct test_store *store;
    const char *tag;
    char body;
    enum bd_status status;
};

static void *
race_main(void *arg)
{
    struct racer *racer = arg;

    racer->status = put_if(racer->store, "contested", &racer->body, 1, racer->tag, NULL, NULL);
    return NULL;
}

TEST(contract, of_racing_conditional_puts_one_wins)
{
    struct test_store store, other;
    const char *dir_options[] = { "path", scratch, NULL };

    fresh(&store);
    other = store;
    if (is_dir) { /* a second instance is like a second process: it has locks of its own */
        store_init(&other);
        store_layer(&other, 0, "backend-dir", dir_options);
        assert_int_equal(store_open(&other, 1), 0);
    }
    for (int round = 0; round < 60; round++) {
        struct racer racers[8];
        pthread_t threads[8];
        char tag[257], out[2] = "";
        int winners = 0;

        assert_int_equal(put_if(&store, "contested", "-", 1, NULL, NULL, tag), BD_OK);
        for (int i = 0; i < 8; i++) {
            racers[i] = (struct racer){ i % 2 ? &store : &other, tag, (char)('a' + i), BD_FATAL };
            pthread_create(&threads[i], NULL, race_main, &racers[i]);
        }
        for (int i = 0; i < 8; i++)
            pthread_join(threads[i], NULL);
        assert_int_equal(get(&store, "contested", out, 1, NULL), BD_OK);
        for (int i = 0; i < 8; i++) {
            if (racers[i].status == BD_OK) {
                winners++;
                assert_int_equal(out[0], racers[i].body);
            } else {
                assert_int_equal(racers[i].status, BD_CONDITION);
            }
        }
        assert_int_equal(winners, 1);
    }
    if (is_dir)
        store_close(&other);
    done(&store);
}

static atomic_bool reader_stop;

static void *
reader_main(void *arg)
{
    struct test_store *store = arg;
    unsigned char *out = malloc(100000);
    size_t len;

    while (!atomic_load(&reader_stop)) {
        assert_int_equal(get(store, "object", out, 100000, &len), BD_OK);
        assert_true(len == 70000 || len == 30000);
        for (size_t i = 0; i < len; i++)
            assert_int_equal(out[i], len == 70000 ? 'A' : 'B');
    }
    free(out);
    return NULL;
}

TEST(contract, a_reader_sees_the_old_object_or_the_new_one)
{
    struct test_store store;
    pthread_t reader;
    char *a = malloc(70000), *b = malloc(30000);

    memset(a, 'A', 70000);
    memset(b, 'B', 30000);
    fresh(&store);
    assert_int_equal(put(&store, "object", a, 70000), BD_OK);
    atomic_store(&reader_stop, false);
    pthread_create(&reader, NULL, reader_main, &store);
    for (int i = 0; i < 30; i++) {
        assert_int_equal(put(&store, "object", b, 30000), BD_OK);
        assert_int_equal(put(&store, "object", a, 70000), BD_OK);
    }
    atomic_store(&reader_stop, true);
    pthread_join(reader, NULL);
    free(a);
    free(b);
    done(&store);
}

TEST(contract, listing_pages_in_byte_order)
{
    struct test_store store;
    struct seen seen = { 0 };
    unsigned pages;
    char name[64];

    fresh(&store);
    for (unsigned i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "disk-%08x", i * 7919 % 50);
        assert_int_equal(put_text(&store, name, "12345"), BD_OK);
    }
    assert_int_equal(put_text(&store, "disk", "x"), BD_OK);
    assert_int_equal(put_text(&store, "disk-\xc3\xa9", "x"), BD_OK); /* after all of ASCII */
    assert_int_equal(put_text(&store, "disl", "x"), BD_OK);

    assert_int_equal(list(&store, "disk-", NULL, 7, &seen, &pages), BD_OK);
    assert_int_equal(seen.count, 51);
    assert_int_equal(pages, 8);
    assert_int_equal(seen.bytes, 50 * 5 + 1);
    for (size_t i = 1; i < seen.count; i++)
        assert_true(strcmp(seen.names[i - 1], seen.names[i]) < 0);
    assert_string_equal(seen.names[50], "disk-\xc3\xa9");
    seen_free(&seen);

    assert_int_equal(list(&store, "disk-", "disk-0000002f5", 1000, &seen, &pages), BD_OK);
    assert_string_equal(seen.names[0], "disk-00000030");
    seen_free(&seen);
    assert_int_equal(list(&store, "", NULL, 1000, &seen, &pages), BD_OK);
    assert_int_equal(seen.count, 53);
    assert_string_equal(seen.names[0], "disk");
    seen_free(&seen);
    assert_int_equal(list(&store, "none", NULL, 10, &seen, &pages), BD_OK);
    assert_int_equal(seen.count, 0);
    done(&store);
}

TEST(contract, a_page_shows_what_was_put_before_it_was_asked_for)
{
    struct test_store store;
    struct seen seen = { 0 };
    struct backend_io *io;
    char name[16];

    fresh(&store);
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "n%02d", i);
        assert_int_equal(put_text(&store, name, "x"), BD_OK);
    }
    io = request(&store, BD_LIST, "n");
    io->io.limit = 5;
    io->entry = seen_add;
    io->entry_arg = &seen;
    backend_submit_wait(io);
    assert_int_equal(seen.count, 5);
    assert_true(io->io.more);
    assert_int_equal(put_text(&store, "n04a", "new"), BD_OK);
    assert_int_equal(delete_if(&store, "n05", NULL), BD_OK);
    assert_int_equal(put_text(&store, "n99", "new"), BD_OK);
    io->io.limit = 100;
    io->io.start_after = seen.names[4];
    backend_submit_wait(io);
    assert_false(io->io.more);
    assert_int_equal(seen.count, 21);
    assert_string_equal(seen.names[5], "n04a");
    assert_string_equal(seen.names[6], "n06");
    assert_string_equal(seen.names[20], "n99");
    backend_io_free(io);
    seen_free(&seen);
    done(&store);
}

TEST(contract, delete_many_answers_for_each_name)
{
    const char *names[] = { "a", "none", "b" };
    uint32_t statuses[3];
    struct test_store store;
    struct backend_io *io;

    fresh(&store);
    assert_int_equal(put_text(&store, "a", "1"), BD_OK);
    assert_int_equal(put_text(&store, "b", "1"), BD_OK);
    assert_int_equal(put_text(&store, "c", "1"), BD_OK);
    io = request(&store, BD_DELETE_MANY, NULL);
    io->io.names = names;
    io->io.statuses = statuses;
    io->io.name_count = 3;
    assert_int_equal(run(io, NULL), BD_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(statuses[i], BD_OK);
    assert_int_equal(run(request(&store, BD_HEAD_OBJECT, "a"), NULL), BD_ABSENT);
    assert_int_equal(run(request(&store, BD_HEAD_OBJECT, "b"), NULL), BD_ABSENT);
    expect_text(&store, "c", "1");
    done(&store);
}

TEST(contract, an_unknown_operation_is_unsupported)
{
    struct test_store store;

    fresh(&store);
    assert_int_equal(run(request(&store, 77, "x"), NULL), BD_UNSUPPORTED);
    done(&store);
}

TEST(contract, a_passed_deadline_is_answered_with_not_done)
{
    struct test_store store;
    struct backend_io *io;

    fresh(&store);
    io = request(&store, BD_PUT, "late");
    io->io.body = "x";
    io->io.body_bytes = 1;
    io->io.deadline_ns = 1;
    assert_int_equal(run(io, NULL), BD_RETRY);
    assert_int_equal(run(request(&store, BD_HEAD_OBJECT, "late"), NULL), BD_ABSENT);
    done(&store);
}

#define SUBMITTERS 4
#define EACH 250

struct flight {
    struct test_store *store;
    struct backend_io *ios[EACH];
    char names[EACH][32];
    char bodies[EACH][64];
    unsigned number;
};

static atomic_uint completions[SUBMITTERS][EACH];
static atomic_uint completed;

static void
flight_done(struct backend_io *io, void *arg)
{
    assert_int_equal(io->status, BD_OK);
    atomic_fetch_add((atomic_uint *)arg, 1);
    atomic_fetch_add(&completed, 1);
}

static void *
flight_main(void *arg)
{
    struct flight *flight = arg;

    for (unsigned i = 0; i < EACH; i++) {
        struct backend_io *io;

        snprintf(flight->names[i], 32, "t%u-%u", flight->number, i);
        snprintf(flight->bodies[i], 64, "body of %u %u", flight->number, i);
        io = flight->ios[i] = request(flight->store, BD_PUT, flight->names[i]);
        io->io.body = flight->bodies[i];
        io->io.body_bytes = strlen(flight->bodies[i]);
        backend_submit(io, flight_done, &completions[flight->number][i]);
    }
    return NULL;
}

TEST(contract, many_in_flight_from_many_threads_complete_exactly_once)
{
    static struct flight flights[SUBMITTERS];
    pthread_t threads[SUBMITTERS];
    struct test_store store;

    fresh(&store);
    atomic_store(&completed, 0);
    memset(completions, 0, sizeof completions);
    for (unsigned i = 0; i < SUBMITTERS; i++) {
        flights[i].store = &store;
        flights[i].number = i;
        pthread_create(&threads[i], NULL, flight_main, &flights[i]);
    }
    for (unsigned i = 0; i < SUBMITTERS; i++)
        pthread_join(threads[i], NULL);
    for (int ms = 0; atomic_load(&completed) < SUBMITTERS * EACH && ms < 60000; ms++)
        usleep(1000);
    usleep(20000); /* for one too many */
    assert_int_equal(atomic_load(&completed), SUBMITTERS * EACH);
    for (unsigned i = 0; i < SUBMITTERS; i++) {
        for (unsigned j = 0; j < EACH; j++) {
            assert_int_equal(atomic_load(&completions[i][j]), 1);
            expect_text(&store, flights[i].names[j], flights[i].bodies[j]);
            backend_io_free(flights[i].ios[j]);
        }
    }
    done(&store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(contract, bodies_of_all_sizes_come_back),
        RUN(contract, a_range_is_read_and_nothing_is_written_past_cap),
        RUN(contract, what_was_never_put_or_was_deleted_is_absent),
        RUN(contract, attributes_and_encoding_are_kept_and_replaced_whole),
        RUN(contract, conditions_decide),
        RUN(contract, of_racing_conditional_puts_one_wins),
        RUN(contract, a_reader_sees_the_old_object_or_the_new_one),
        RUN(contract, listing_pages_in_byte_order),
        RUN(contract, a_page_shows_what_was_put_before_it_was_asked_for),
        RUN(contract, delete_many_answers_for_each_name),
        RUN(contract, an_unknown_operation_is_unsupported),
        RUN(contract, a_passed_deadline_is_answered_with_not_done),
        RUN(contract, many_in_flight_from_many_threads_complete_exactly_once),
    };
    int failed = 0;

    for (int kind = 0; kind < 4; kind++) {
        is_dir = kind & 1;
        is_stacked = kind & 2;
        failed += cmocka_run_group_tests_name(is_dir       ? is_stacked ? "chaos,dir" : "dir"
                                              : is_stacked ? "chaos,memory"
                                                           : "memory",
                                              tests, NULL, NULL);
    }
    return failed;
}
