/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of backends: opens plugins of the build tree as a stack, and makes requests in one line
 * each. */
#ifndef UNIT_BACKENDS_H
#define UNIT_BACKENDS_H

#include "module.h"

#include "backend.h"
#include "base/clock.h"
#include "base/log.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LAYERS_MAX 3

struct test_store {
    struct pool *pool;
    struct stats *stats;
    struct backend *backend;
    struct backend_layer layers[LAYERS_MAX];
    void *fields[LAYERS_MAX];
    struct error why;
};

static inline void
store_init(struct test_store *store)
{
    memset(store, 0, sizeof *store);
    assert_int_equal(pool_new(3, &store->pool), 0);
    assert_int_equal(stats_new(&store->stats), 0);
}

/* Add a layer, outermost first, with options as NULL-terminated pairs of name and value. */
static inline void
store_layer(struct test_store *store, unsigned i, const char *name, const char *const *options)
{
    const struct bd_plugin *plugin = plugin_of(name);

    store->fields[i] = calloc(1, plugin->options_bytes);
    for (; options != NULL && *options != NULL; options += 2)
        field_set(plugin, store->fields[i], options[0], options[1]);
    store->layers[i] = (struct backend_layer){ name, plugin->backend, store->fields[i] };
}

static inline int
store_open(struct test_store *store, unsigned layers)
{
    return backend_open(store->layers, layers, store->pool, store->stats, &store->why,
                        &store->backend);
}

/* Objects in memory, behind faults if there are options for those. */
static inline void
memory_open(struct test_store *store, const char *const *chaos_options)
{
    unsigned layers = 0;

    store_init(store);
    if (chaos_options != NULL)
        store_layer(store, layers++, "backend-chaos", chaos_options);
    store_layer(store, layers++, "backend-memory", NULL);
    assert_int_equal(store_open(store, layers), 0);
}

static inline void
store_close(struct test_store *store)
{
    backend_close(store->backend);
    pool_free(store->pool);
    stats_free(store->stats);
    for (unsigned i = 0; i < LAYERS_MAX; i++)
        free(store->fields[i]);
}

/* ---- a directory for a test */

static inline int
scratch_remove_one(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
    (void)stat, (void)type, (void)ftw;
    return remove(path);
}

static inline void
scratch_remove(const char *path)
{
    nftw(path, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Beside the build, because /tmp may be a filesystem without attributes. */
static inline void
scratch_make(char path[512])
{
    snprintf(path, 512, "%s/scratch-XXXXXX", TEST_BINARY_DIR);
    assert_non_null(mkdtemp(path));
}

/* ---- requests */

static inline struct backend_io *
request(struct test_store *store, uint32_t op, const char *name)
{
    struct backend_io *io = backend_io_new(store->backend);

    assert_non_null(io);
    io->io.op = op;
    io->io.name = name;
    return io;
}

/* Gives the tag into `tag` (256 + 1 bytes), if that is not NULL. */
static inline enum bd_status
run(struct backend_io *io, char *tag)
{
    enum bd_status status;

    backend_submit_wait(io);
    status = io->status;
    if (tag != NULL)
        snprintf(tag, BD_TAG_BYTES_MAX + 1, "%s", io->tag == NULL ? "" : io->tag);
    backend_io_free(io);
    return status;
}

static inline enum bd_status
put_if(struct test_store *store, const char *name, const void *body, size_t bytes,
       const char *if_match, const char *if_none_match, char *tag)
{
    struct backend_io *io = request(store, BD_PUT, name);

    io->io.body = body;
    io->io.body_bytes = bytes;
    io->io.if_match = if_match;
    io->io.if_none_match = if_none_match;
    return run(io, tag);
}

static inline enum bd_status
put(struct test_store *store, const char *name, const void *body, size_t bytes)
{
    return put_if(store, name, body, bytes, NULL, NULL, NULL);
}

static inline enum bd_status
put_text(struct test_store *store, const char *name, const char *text)
{
    return put(store, name, text, strlen(text));
}

/* An object with up to two attributes, as names and values. */
static inline void
put_with(struct test_store *store, const char *name, size_t bytes, const char *encoding,
         const char *const attrs[4])
{
    static const char body[65536];
    struct backend_io *io = request(store, BD_PUT, name);
    struct attrs list = { 0 };

    for (unsigned i = 0; attrs != NULL && i < 4 && attrs[i] != NULL; i += 2)
        assert_int_equal(attrs_add(&list, attrs[i], attrs[i + 1], strlen(attrs[i + 1])), 0);
    io->io.body = body;
    io->io.body_bytes = bytes;
    io->io.encoding = encoding;
    io->io.attrs = list.list;
    io->io.attr_count = list.count;
    io->io.attr_stride = sizeof *list.list;
    assert_int_equal(run(io, NULL), BD_OK);
    attrs_clear(&list);
}

static inline enum bd_status
delete_if(struct test_store *store, const char *name, const char *if_match)
{
    struct backend_io *io = request(store, BD_DELETE, name);

    io->io.if_match = if_match;
    return run(io, NULL);
}

/* Reads into `out`, which has room for `cap`. */
static inline enum bd_status
get(struct test_store *store, const char *name, void *out, size_t cap, size_t *len)
{
    struct backend_io *io = request(store, BD_GET, name);
    enum bd_status status;

    io->io.data = out;
    io->io.cap = cap;
    backend_submit_wait(io);
    status = io->status;
    if (len != NULL)
        *len = io->io.len;
    backend_io_free(io);
    return status;
}

static inline void
expect_text(struct test_store *store, const char *name, const char *text)
{
    char out[256] = "";
    size_t len = 0;

    assert_int_equal(get(store, name, out, sizeof out - 1, &len), BD_OK);
    out[len] = '\0';
    assert_string_equal(out, text);
}

struct seen {
    char *names[4096];
    size_t count;
    uint64_t bytes;
};

static inline bool
seen_add(void *arg, const char *name, uint64_t object_bytes, const char *tag)
{
    struct seen *seen = arg;

    (void)tag;
    assert_true(seen->count < 4096);
    seen->names[seen->count++] = strdup(name);
    seen->bytes += object_bytes;
    return true;
}

static inline void
seen_free(struct seen *seen)
{
    for (size_t i = 0; i < seen->count; i++)
        free(seen->names[i]);
    memset(seen, 0, sizeof *seen);
}

/* All pages of a listing. */
static inline enum bd_status
list(struct test_store *store, const char *prefix, const char *start_after, uint32_t limit,
     struct seen *seen, unsigned *pages)
{
    struct backend_io *io = request(store, BD_LIST, prefix);
    enum bd_status status;

    io->io.limit = limit;
    io->io.start_after = start_after;
    io->entry = seen_add;
    io->entry_arg = seen;
    *pages = 0;
    do {
        size_t before = seen->count;

        backend_submit_wait(io);
        status = io->status;
        ++*pages;
        assert_true(seen->count - before <= limit);
        if (seen->count > 0)
            io->io.start_after = seen->names[seen->count - 1];
    } while (status == BD_OK && io->io.more);
    backend_io_free(io);
    return status;
}

#endif
