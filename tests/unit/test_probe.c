/* SPDX-License-Identifier: Apache-2.0 */
/* core/probe*.c over backend-memory: what is said of stores that differ.  More is in tests/e2e/test_probe.py. */
#include "backends.h"

#include "base/util.h"
#include "probe.h"

#include <errno.h>

static int
probe(struct test_store *store, struct probe **out, struct error *why)
{
    static atomic_int is_stopped;
    const struct probe_config config = { .prefix = "p/",
                                         .attempt_ns = 10 * NS_PER_S,
                                         .is_stopped = &is_stopped };

    return probe_run(store->backend, &config, out, why);
}

/* All rows but this one are good, or are not asked. */
static void
expect_good_but(const struct probe *probe, const char *id, enum probe_verdict verdict)
{
    assert_true(probe_row_count(probe) > 0);
    for (unsigned i = 0; i < probe_row_count(probe); i++) {
        const struct probe_row *row = probe_row(probe, i);

        if (strcmp(row->id, id) == 0)
            assert_int_equal(row->verdict, verdict);
        else if (row->verdict != PROBE_GOOD && row->verdict != PROBE_NOT_ASKED)
            fail_msg("%s: %s", row->id, row->found);
    }
    assert_string_equal(probe_left_behind(probe), "");
}

TEST(probe, a_good_store_is_good_in_every_row)
{
    struct error why = { "" };
    struct probe *said;
    struct test_store store;

    memory_open(&store, NULL);
    assert_int_equal(probe(&store, &said, &why), 0);
    expect_good_but(said, "", PROBE_GOOD);
    probe_free(said);
    store_close(&store);
}

TEST(probe, a_store_that_does_not_do_the_first_thing_is_not_asked_for_more)
{
    const char *const options[] = { "denied", "1000000", "only", "put", NULL };
    struct error why = { "" };
    struct probe *said;
    struct test_store store;

    memory_open(&store, options);
    assert_int_equal(probe(&store, &said, &why), -EACCES);
    assert_non_null(strstr(why.text, "nothing can be stored there"));
    assert_int_equal(probe_row_count(said), 0);
    assert_string_equal(probe_left_behind(said), "");
    probe_free(said);
    store_close(&store);
}

/* ---- a store that keeps the object NAME in a file "NAME." of a directory, and lists the directory: memory whose host
 * hears the names without the last letter */

static struct {
    const struct bd_backend *memory;
    const struct bd_host *host;
    struct bd_host table; /* its, but for list_add */
    char *names[1024];    /* of all requests, to be freed */
    unsigned name_count;
} files;

static int
files_list_add(struct bd_io *io, const char *name, uint64_t object_bytes, const char *tag)
{
    char object[BD_NAME_BYTES_MAX + 1];

    snprintf(object, sizeof object, "%.*s", (int)strlen(name) - 1, name);
    return files.host->list_add(io, object, object_bytes, tag);
}

static enum bd_status
files_open(const struct bd_host *host, const void *options, const struct bd_lower *lower,
           void **handle)
{
    files.host = host;
    files.table = *host;
    files.table.list_add = files_list_add;
    return files.memory->open(&files.table, options, lower, handle);
}

static const char *
file_of(const char *object)
{
    char **name = &files.names[files.name_count++];

    assert_true(files.name_count <= ARRAY_LEN(files.names));
    *name = malloc(strlen(object) + 2);
    assert_non_null(*name);
    sprintf(*name, "%s.", object);
    return *name;
}

static void
files_submit(void *handle, struct bd_io *io)
{
    if (io->op != BD_LIST)
        io->name = file_of(io->name);
    else if (io->start_after != NULL)
        io->start_after = file_of(io->start_after);
    files.memory->submit(handle, io);
}

TEST(probe, a_listing_in_the_order_of_files_is_weak_and_not_bad)
{
    struct error why = { "" };
    struct bd_backend table;
    struct probe *said;
    struct test_store store;

    store_init(&store);
    store_layer(&store, 0, "backend-memory", NULL);
    files.memory = store.layers[0].table;
    table = *files.memory;
    table.open = files_open;
    table.submit = files_submit;
    store.layers[0].table = &table;
    assert_int_equal(store_open(&store, 1), 0);
    assert_int_equal(probe(&store, &said, &why), 0);
    expect_good_but(said, "list", PROBE_WEAK);
    probe_free(said);
    store_close(&store);
    while (files.name_count > 0)
        free(files.names[--files.name_count]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(probe, a_good_store_is_good_in_every_row),
        RUN(probe, a_store_that_does_not_do_the_first_thing_is_not_asked_for_more),
        RUN(probe, a_listing_in_the_order_of_files_is_weak_and_not_bad),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
