/* SPDX-License-Identifier: Apache-2.0 */
/* core/cachefile*.c over real files: what is promised, what is refused, and what failures do.  What power cuts
 * and damage do is in tests/cachefile. */
#include "fake_backend.h"

#include "cachefile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK 4096u
#define SECTORS (BLOCK / CACHEFILE_SECTOR_BYTES)

/* Below the cache file: the real file, and what a test wants to go wrong. */
struct wrong {
    struct cachefile_io io;
    struct cachefile_io *real;
    atomic_uint syncs, unlinks, name_syncs;
    atomic_int write_rc, sync_rc; /* 0: as it is */
    atomic_ulong write_from;      /* only what is written there or behind fails */
    atomic_ulong write_until;
    unsigned sync_us;
};

static struct {
    char dir[40], path[60];
    struct cachefile_config config;
    struct cachefile *file;
    struct wrong *wrong;
    struct error why;
} rig;

static struct wrong *
wrong_of(struct cachefile_io *io)
{
    return container_of(io, struct wrong, io);
}

static int
wrong_read(struct cachefile_io *io, void *data, size_t bytes, uint64_t offset)
{
    struct cachefile_io *real = wrong_of(io)->real;

    return real->read(real, data, bytes, offset);
}

static int
wrong_write(struct cachefile_io *io, const void *data, size_t bytes, uint64_t offset)
{
    struct wrong *wrong = wrong_of(io);

    if (wrong->write_rc != 0 && offset >= wrong->write_from && offset < wrong->write_until) {
        (void)wrong->real->write(wrong->real, data, bytes / 2, offset);
        return wrong->write_rc;
    }
    return wrong->real->write(wrong->real, data, bytes, offset);
}

static int
wrong_sync(struct cachefile_io *io)
{
    struct wrong *wrong = wrong_of(io);

    wrong->syncs++;
    if (wrong->sync_us > 0)
        usleep(wrong->sync_us);
    return wrong->sync_rc != 0 ? wrong->sync_rc : wrong->real->sync(wrong->real);
}

static int
wrong_resize(struct cachefile_io *io, uint64_t bytes)
{
    struct cachefile_io *real = wrong_of(io)->real;

    return real->resize(real, bytes);
}

static int
wrong_size(struct cachefile_io *io, uint64_t *bytes)
{
    struct cachefile_io *real = wrong_of(io)->real;

    return real->size(real, bytes);
}

static void
wrong_forget(struct cachefile_io *io, uint64_t offset, uint64_t bytes)
{
    struct cachefile_io *real = wrong_of(io)->real;

    real->forget(real, offset, bytes);
}

static int
wrong_unlink(struct cachefile_io *io, const char *path)
{
    struct wrong *wrong = wrong_of(io);

    wrong->unlinks++;
    return wrong->real->unlink(wrong->real, path);
}

static int
wrong_sync_name(struct cachefile_io *io, const char *path)
{
    struct wrong *wrong = wrong_of(io);

    wrong->name_syncs++;
    return wrong->sync_rc != 0 ? wrong->sync_rc : wrong->real->sync_name(wrong->real, path);
}

static void
wrong_close(struct cachefile_io *io)
{
    struct wrong *wrong = wrong_of(io);

    wrong->real->close(wrong->real);
    free(wrong);
}

/* ---- the rig */

static int
begin(void **state)
{
    (void)state;
    memset(&rig, 0, sizeof rig);
    strcpy(rig.dir, "/tmp/bucketdisk-cachefile-XXXXXX");
    assert_non_null(mkdtemp(rig.dir));
    snprintf(rig.path, sizeof rig.path, "%s/cache", rig.dir);
    rig.config = (struct cachefile_config){ .path = rig.path,
                                            .volume = "s3://bucket/disk",
                                            .identity = "an id",
                                            .identity_bytes = 5,
                                            .block_bytes = BLOCK,
                                            .slots = 32 };
    return 0;
}

static int
end(void **state)
{
    (void)state;
    cachefile_close(rig.file, NULL);
    unlink(rig.path);
    return rmdir(rig.dir);
}

static int
try_open(void)
{
    return cachefile_open(&rig.config, &rig.why, &rig.file);
}

static void
must_open(void)
{
    int rc = try_open();

    if (rc != 0)
        fail_msg("%s", rig.why.text);
}

/* With a layer between, for what goes wrong. */
static void
open_wrong(void)
{
    struct wrong *wrong = calloc(1, sizeof *wrong);

    assert_non_null(wrong);
    wrong->io = (struct cachefile_io){ wrong_read,  wrong_write,  wrong_sync,   wrong_resize,
                                       wrong_size,  wrong_forget, wrong_unlink, wrong_sync_name,
                                       wrong_close, NULL };
    wrong->write_until = UINT64_MAX;
    assert_int_equal(cachefile_io_open(rig.path, &rig.why, &wrong->real), 0);
    rig.config.io = &wrong->io;
    rig.wrong = wrong;
    must_open();
    rig.config.io = NULL;
    wrong->syncs = 0;
}

static void
must_close(void)
{
    assert_int_equal(cachefile_close(rig.file, &rig.why), 0);
    rig.file = NULL;
}

static void
reopen(void)
{
    must_close();
    must_open();
}

static void
refused(int rc, const char *words)
{
    assert_int_equal(try_open(), rc);
    if (strstr(rig.why.text, words) == NULL || strstr(rig.why.text, rig.path) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", rig.why.text, words);
}

static int
try_put(uint64_t block, unsigned char byte, enum cachefile_state state, const char *tag,
        uint64_t *version)
{
    unsigned char data[BLOCK];
    struct cachefile_block put = { .block = block,
                                   .state = state,
                                   .base = tag == NULL ? CACHEFILE_ABSENT : CACHEFILE_TAG,
                                   .tag = tag,
                                   .data = data };

    memset(data, byte, sizeof data);
    return cachefile_put(rig.file, &put, version, NULL, &rig.why);
}

static uint64_t
put(uint64_t block, unsigned char byte, enum cachefile_state state, const char *tag)
{
    uint64_t version;

    if (try_put(block, byte, state, tag, &version) != 0)
        fail_msg("%s", rig.why.text);
    return version;
}

static void
must_sync(void)
{
    assert_int_equal(cachefile_sync(rig.file, &rig.why), 0);
}

static int
try_get(uint64_t block, struct cachefile_info *info, unsigned char *data)
{
    return cachefile_get(rig.file, block, info, data, NULL, &rig.why);
}

static void
has(uint64_t block, unsigned char byte, enum cachefile_state state, const char *tag)
{
    unsigned char data[BLOCK], expected[BLOCK];
    struct cachefile_info info;

    if (try_get(block, &info, data) != 0)
        fail_msg("%s", rig.why.text);
    memset(expected, byte, sizeof expected);
    assert_memory_equal(data, expected, BLOCK);
    assert_int_equal(info.block, block);
    assert_int_equal(info.state, state);
    assert_int_equal(info.base, tag == NULL ? CACHEFILE_ABSENT : CACHEFILE_TAG);
    assert_string_equal(info.tag, tag == NULL ? "" : tag);
    assert_int_equal(info.sectors_valid, SECTORS);
}

static bool
is_there(uint64_t block)
{
    struct cachefile_info info;

    return try_get(block, &info, NULL) == 0;
}

static struct cachefile_stats
stats(void)
{
    struct cachefile_stats stats;

    cachefile_stats(rig.file, &stats);
    return stats;
}

static uint64_t
file_bytes(void)
{
    struct stat stat_buf;

    assert_int_equal(stat(rig.path, &stat_buf), 0);
    return (uint64_t)stat_buf.st_size;
}

/* The first place in the file that holds these bytes; UINT64_MAX: none does. */
static uint64_t
find_bytes(const void *bytes, size_t count)
{
    uint64_t size = file_bytes(), at = UINT64_MAX;
    char *all = malloc(size), *found;
    int fd = open(rig.path, O_RDONLY);

    assert_true(fd != -1 && all != NULL);
    assert_int_equal(pread(fd, all, size, 0), (ssize_t)size);
    found = memmem(all, size, bytes, count);
    if (found != NULL)
        at = (uint64_t)(found - all);
    close(fd);
    free(all);
    return at;
}

static void
overwrite(uint64_t at, const void *bytes, size_t count)
{
    int fd = open(rig.path, O_WRONLY);

    assert_int_equal(pwrite(fd, bytes, count, (off_t)at), (ssize_t)count);
    close(fd);
}

static void
flip(uint64_t at)
{
    unsigned char byte;
    int fd = open(rig.path, O_RDWR);

    assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    close(fd);
}

static void
flip_block(unsigned char byte)
{
    unsigned char data[BLOCK];
    uint64_t at;

    memset(data, byte, sizeof data);
    at = find_bytes(data, sizeof data);
    assert_true(at != UINT64_MAX);
    flip(at + 1000);
}

/* ---- blocks */

TEST(cachefile, what_was_put_is_there_and_still_is_when_the_file_is_opened_again)
{
    struct cachefile_info info;

    must_open();
    assert_int_equal(try_get(7, &info, NULL), -ENOENT);
    put(7, 1, CACHEFILE_CLEAN, "\"etag\"");
    put(8, 2, CACHEFILE_DIRTY, NULL);
    put(8, 3, CACHEFILE_DIRTY, "\"other\"");
    put(1ull << 40, 4, CACHEFILE_CLEAN, NULL);
    for (unsigned i = 0; i < 2; i++) {
        has(7, 1, CACHEFILE_CLEAN, "\"etag\"");
        has(8, 3, CACHEFILE_DIRTY, "\"other\"");
        has(1ull << 40, 4, CACHEFILE_CLEAN, NULL);
        assert_int_equal(stats().used, 3);
        assert_int_equal(stats().dirty, 1);
        assert_int_equal(stats().dirty_bytes, BLOCK);
        reopen();
    }
}

static void
holds(uint64_t block, bool any, bool dirty)
{
    assert_int_equal(cachefile_holds(rig.file, block), any);
    assert_int_equal(cachefile_holds_dirty(rig.file, block), dirty);
}

TEST(cachefile, what_is_there_and_what_is_dirty_can_be_asked)
{
    must_open();
    holds(1, false, false);
    put(1, 1, CACHEFILE_CLEAN, NULL);
    put(2, 2, CACHEFILE_DIRTY, NULL);
    for (unsigned i = 0; i < 2; i++) {
        holds(1, true, false);
        holds(2, true, true);
        reopen();
    }
    put(2, 2, CACHEFILE_CLEAN, NULL);
    holds(2, true, false);
    assert_int_equal(cachefile_drop(rig.file, 2, 0, NULL), 0);
    holds(2, false, false);
}

/* Of ten blocks, a clean one after a dirty one, these are gone. */
static void
drops(uint64_t first, uint64_t last)
{
    must_open();
    for (uint64_t i = 0; i < 10; i++)
        put(i, (unsigned char)i, i % 2 == 0 ? CACHEFILE_DIRTY : CACHEFILE_CLEAN, "t");
    assert_int_equal(cachefile_drop_range(rig.file, first, last, &rig.why), 0);
    for (unsigned i = 0; i < 2; i++) {
        for (uint64_t j = 0; j < 10; j++)
            assert_int_equal(is_there(j), j < first || j > last);
        reopen();
    }
    must_close();
    unlink(rig.path);
}

TEST(cachefile, what_is_dropped_of_a_range_is_all_that_is_in_it)
{
    drops(3, 3);
    drops(3, 6);
    drops(7, 20);
    drops(0, 1ull << 40);
    drops(5, UINT64_MAX);
    drops(10, 11);
    drops(10, UINT64_MAX);
}

TEST(cachefile, where_nothing_is_nothing_is_dropped_or_written)
{
    uint64_t bytes;

    must_open();
    put(5, 1, CACHEFILE_DIRTY, "t");
    bytes = stats().journal_bytes;
    assert_int_equal(cachefile_drop_range(rig.file, 0, 4, &rig.why), 0);
    assert_int_equal(cachefile_drop_range(rig.file, 6, UINT64_MAX, &rig.why), 0);
    assert_int_equal(stats().journal_bytes, bytes);
    has(5, 1, CACHEFILE_DIRTY, "t");
}

TEST(cachefile, slots_of_a_dropped_range_are_there_for_others)
{
    must_open();
    for (unsigned round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < rig.config.slots; i++)
            put(100 * round + i, 1, CACHEFILE_DIRTY, "t");
        assert_int_equal(try_put(1000, 1, CACHEFILE_DIRTY, "t", NULL), -ENOBUFS);
        assert_int_equal(cachefile_drop_range(rig.file, 0, 999, &rig.why), 0);
        assert_int_equal(stats().used, 0);
    }
}

static bool
is_fresh(uint64_t block)
{
    struct cachefile_info info, next;
    uint32_t cursor = 0;

    assert_int_equal(try_get(block, &info, NULL), 0);
    while (cachefile_next(rig.file, &cursor, &next)) {
        if (next.block == block)
            assert_int_equal(next.is_fresh, info.is_fresh);
    }
    return info.is_fresh;
}

static uint64_t
version_of(uint64_t block)
{
    struct cachefile_info info;

    assert_int_equal(try_get(block, &info, NULL), 0);
    return info.version;
}

TEST(cachefile, what_was_put_or_stored_since_the_opening_is_fresh)
{
    must_open();
    put(1, 1, CACHEFILE_CLEAN, "t");
    put(2, 2, CACHEFILE_DIRTY, "t");
    assert_true(is_fresh(1) && is_fresh(2));
    reopen();
    assert_true(!is_fresh(1) && !is_fresh(2));
    assert_int_equal(cachefile_stored(rig.file, 2, version_of(2), CACHEFILE_TAG, "n", NULL), 0);
    put(1, 3, CACHEFILE_CLEAN, "t");
    assert_true(is_fresh(1) && is_fresh(2));
    rig.config.slots = 16;
    reopen();
    assert_true(!is_fresh(1) && !is_fresh(2));
}

TEST(cachefile, a_clean_version_is_fresh_when_it_is_confirmed)
{
    uint64_t older, version;

    must_open();
    older = put(1, 1, CACHEFILE_CLEAN, "t");
    version = put(1, 2, CACHEFILE_CLEAN, "t");
    put(2, 2, CACHEFILE_DIRTY, "t");
    reopen();
    cachefile_confirm(rig.file, 3, version);
    cachefile_confirm(rig.file, 1, older);
    cachefile_confirm(rig.file, 2, version_of(2));
    assert_true(!is_fresh(1) && !is_fresh(2));
    cachefile_confirm(rig.file, 1, version);
    assert_true(is_fresh(1) && !is_fresh(2));
    has(1, 2, CACHEFILE_CLEAN, "t");
    reopen();
    assert_false(is_fresh(1));
}

static bool
replaces_dirty(uint64_t block, enum cachefile_state state)
{
    struct cachefile_block put = { .block = block, .state = state };
    bool was_dirty;

    assert_int_equal(cachefile_put(rig.file, &put, NULL, &was_dirty, &rig.why), 0);
    return was_dirty;
}

TEST(cachefile, who_puts_is_told_whether_what_was_there_was_dirty)
{
    struct cachefile_info info;

    must_open();
    assert_false(replaces_dirty(1, CACHEFILE_CLEAN));
    assert_false(replaces_dirty(1, CACHEFILE_DIRTY));
    assert_true(replaces_dirty(1, CACHEFILE_DIRTY));
    reopen();
    assert_true(replaces_dirty(1, CACHEFILE_CLEAN));
    assert_false(replaces_dirty(1, CACHEFILE_DIRTY));
    assert_int_equal(cachefile_drop(rig.file, 1, 0, NULL), 0);
    assert_false(replaces_dirty(1, CACHEFILE_DIRTY));
    assert_int_equal(try_get(1, &info, NULL), 0);
    assert_int_equal(cachefile_stored(rig.file, 1, info.version, CACHEFILE_ABSENT, NULL, &rig.why),
                     0);
    assert_false(replaces_dirty(1, CACHEFILE_DIRTY));
}

TEST(cachefile, what_the_kernel_need_not_cache_is_there_all_the_same)
{
    rig.config.is_advised = true;
    must_open();
    for (uint64_t i = 0; i < 20; i++)
        put(i, (unsigned char)i, CACHEFILE_DIRTY, NULL);
    must_sync();
    for (uint64_t i = 0; i < 20; i++)
        has(i, (unsigned char)i, CACHEFILE_DIRTY, NULL);
}

TEST(cachefile, the_longest_tag_is_kept_in_whole)
{
    char tag[BD_TAG_BYTES_MAX + 1];

    memset(tag, 't', sizeof tag - 1);
    tag[sizeof tag - 1] = '\0';
    must_open();
    put(1, 1, CACHEFILE_CLEAN, tag);
    reopen();
    has(1, 1, CACHEFILE_CLEAN, tag);
}

TEST(cachefile, of_a_block_in_parts_only_valid_sectors_are_taken_and_given)
{
    unsigned char data[BLOCK], got[BLOCK];
    uint64_t valid = 0x81, got_valid;
    struct cachefile_block block = {
        .block = 5, .state = CACHEFILE_DIRTY, .valid = &valid, .data = data
    };
    struct cachefile_info info;

    memset(data, 'n', sizeof data);
    memset(data, 'a', CACHEFILE_SECTOR_BYTES);
    memset(data + 7 * CACHEFILE_SECTOR_BYTES, 'b', CACHEFILE_SECTOR_BYTES);
    must_open();
    assert_int_equal(cachefile_put(rig.file, &block, NULL, NULL, &rig.why), 0);
    reopen();
    assert_true(find_bytes("nnnnnnnnnnnnnnnn", 16) == UINT64_MAX);
    memset(got, 'm', sizeof got);
    assert_int_equal(cachefile_get(rig.file, 5, &info, got, &got_valid, NULL), 0);
    assert_int_equal(got_valid, valid);
    assert_int_equal(info.sectors_valid, 2);
    for (unsigned i = 0; i < BLOCK; i++) {
        unsigned sector = i / CACHEFILE_SECTOR_BYTES;

        assert_int_equal(got[i], sector == 0 ? 'a' : sector == 7 ? 'b' : 'm');
    }
}

TEST(cachefile, zeros_cost_no_room_on_the_disk)
{
    struct cachefile_block zeros = { .state = CACHEFILE_DIRTY };
    struct stat before, after;

    rig.config.slots = 1000;
    must_open();
    must_sync();
    assert_int_equal(stat(rig.path, &before), 0);
    for (zeros.block = 0; zeros.block < 1000; zeros.block++)
        assert_int_equal(cachefile_put(rig.file, &zeros, NULL, NULL, NULL), 0);
    must_sync();
    assert_int_equal(stat(rig.path, &after), 0);
    assert_true((uint64_t)(after.st_blocks - before.st_blocks) * 512 < 1000 * 120 + 65536);
    reopen();
    for (uint64_t i = 0; i < 1000; i++) {
        unsigned char data[BLOCK];
        struct cachefile_info info;

        memset(data, 1, sizeof data);
        assert_int_equal(try_get(i, &info, data), 0);
        assert_true(info.is_zeros && data[0] == 0 && data[BLOCK - 1] == 0);
    }
}

TEST(cachefile, what_was_stored_is_clean_only_if_it_is_still_the_version_that_was_sent)
{
    uint64_t first, second;

    must_open();
    first = put(1, 1, CACHEFILE_DIRTY, NULL);
    second = put(1, 2, CACHEFILE_DIRTY, NULL);
    assert_true(second > first);
    assert_int_equal(cachefile_stored(rig.file, 1, first, CACHEFILE_TAG, "t1", &rig.why), -ESTALE);
    has(1, 2, CACHEFILE_DIRTY, NULL);
    assert_int_equal(cachefile_stored(rig.file, 1, second, CACHEFILE_TAG, "t2", &rig.why), 0);
    has(1, 2, CACHEFILE_CLEAN, "t2");
    assert_int_equal(stats().dirty, 0);
    assert_int_equal(cachefile_stored(rig.file, 1, second, CACHEFILE_TAG, "t3", &rig.why), -ESTALE);
    assert_int_equal(cachefile_stored(rig.file, 9, second, CACHEFILE_TAG, "t3", &rig.why), -ESTALE);
    reopen();
    has(1, 2, CACHEFILE_CLEAN, "t2");
    assert_true(put(1, 3, CACHEFILE_DIRTY, NULL) > second); /* over restarts, too */
}

TEST(cachefile, what_was_dropped_is_gone_and_its_slot_is_used_again)
{
    uint64_t version;

    must_open();
    for (unsigned i = 0; i < 100; i++) {
        version = put(1, (unsigned char)i, CACHEFILE_DIRTY, NULL);
        assert_int_equal(cachefile_drop(rig.file, 1, version + 1, &rig.why), -ESTALE);
        assert_true(is_there(1));
        assert_int_equal(cachefile_drop(rig.file, 1, version, &rig.why), 0);
        assert_false(is_there(1));
    }
    put(2, 2, CACHEFILE_DIRTY, NULL);
    assert_int_equal(cachefile_drop(rig.file, 2, 0, &rig.why), 0);
    assert_int_equal(cachefile_drop(rig.file, 2, 0, &rig.why), 0);
    reopen();
    assert_false(is_there(1) || is_there(2));
    assert_int_equal(stats().used, 0);
}

TEST(cachefile, all_that_is_there_can_be_gone_through)
{
    bool is_seen[20] = { false };
    struct cachefile_info info;
    uint32_t cursor = 0;

    must_open();
    for (uint64_t i = 0; i < 20; i++)
        put(i, 1, i % 2 == 0 ? CACHEFILE_DIRTY : CACHEFILE_CLEAN, i % 3 == 0 ? "tag" : NULL);
    reopen();
    for (unsigned i = 0; i < 20; i++) {
        assert_true(cachefile_next(rig.file, &cursor, &info));
        assert_false(is_seen[info.block]);
        is_seen[info.block] = true;
        assert_int_equal(info.state, info.block % 2 == 0 ? CACHEFILE_DIRTY : CACHEFILE_CLEAN);
        assert_string_equal(info.tag, info.block % 3 == 0 ? "tag" : "");
        assert_true(info.version > 0 && info.sectors_valid == SECTORS);
    }
    assert_false(cachefile_next(rig.file, &cursor, &info));
}

TEST(cachefile, a_note_is_kept)
{
    char note[CACHEFILE_TEXT_BYTES_MAX], got[CACHEFILE_TEXT_BYTES_MAX];

    must_open();
    assert_int_equal(cachefile_note(rig.file, got), 0);
    memset(note, 'x', sizeof note);
    assert_int_equal(cachefile_set_note(rig.file, note, sizeof note, &rig.why), 0);
    assert_int_equal(cachefile_set_note(rig.file, "token", 5, &rig.why), 0);
    reopen();
    assert_int_equal(cachefile_note(rig.file, got), 5);
    assert_memory_equal(got, "token", 5);
    assert_int_equal(cachefile_set_note(rig.file, NULL, 0, &rig.why), 0);
    reopen();
    assert_int_equal(cachefile_note(rig.file, got), 0);
}

/* ---- room */

TEST(cachefile, clean_blocks_make_room_and_dirty_ones_never)
{
    rig.config.slots = 8;
    must_open();
    for (uint64_t i = 0; i < 4; i++)
        put(i, (unsigned char)i, CACHEFILE_DIRTY, NULL);
    for (uint64_t i = 100; i < 200; i++)
        put(i, 1, CACHEFILE_CLEAN, "t");
    for (uint64_t i = 0; i < 4; i++)
        has(i, (unsigned char)i, CACHEFILE_DIRTY, NULL);
    assert_true(stats().evicted >= 90);
    for (uint64_t i = 4; i < 8; i++)
        put(i, (unsigned char)i, CACHEFILE_DIRTY, NULL);
    assert_int_equal(try_put(8, 8, CACHEFILE_DIRTY, NULL, NULL), -ENOBUFS);
    assert_non_null(strstr(rig.why.text, "full"));
    assert_int_equal(try_put(8, 8, CACHEFILE_CLEAN, NULL, NULL), -ENOBUFS);
    reopen();
    for (uint64_t i = 0; i < 8; i++)
        has(i, (unsigned char)i, CACHEFILE_DIRTY, NULL);
    assert_int_equal(cachefile_drop(rig.file, 3, 0, &rig.why), 0);
    put(8, 8, CACHEFILE_DIRTY, NULL);
}

TEST(cachefile, blocks_that_are_read_stay_longer_than_those_that_are_not)
{
    unsigned char data[BLOCK];
    struct cachefile_info info;

    rig.config.slots = 64;
    must_open();
    for (uint64_t i = 0; i < 8; i++)
        put(i, 1, CACHEFILE_CLEAN, "t");
    for (uint64_t i = 100; i < 400; i++) {
        put(i, 1, CACHEFILE_CLEAN, "t");
        assert_int_equal(try_get(i % 8, &info, data), 0);
    }
}

TEST(cachefile, an_index_entry_is_at_most_64_bytes)
{
    const uint32_t slots = 1000000;
    struct mallinfo2 before = mallinfo2(), after;
    size_t took;

    rig.config.slots = slots;
    must_open();
    after = mallinfo2();
    took = after.uordblks + after.hblkhd - before.uordblks - before.hblkhd;
    assert_true(stats().memory_bytes <= (uint64_t)CACHEFILE_INDEX_BYTES * slots);
    if (after.hblkhd > 0) /* a sanitizer's malloc does not say */
        assert_true(took <= (size_t)CACHEFILE_INDEX_BYTES * slots + 65536);
}

TEST(cachefile, the_journal_does_not_grow_without_end)
{
    uint64_t most = 0;

    rig.config.journal_spare_bytes = 8192;
    must_open();
    for (unsigned i = 0; i < 3000; i++) {
        put(i % 10, (unsigned char)i, CACHEFILE_DIRTY, "a tag");
        if (stats().journal_bytes > most)
            most = stats().journal_bytes;
        if (i % 100 == 0)
            must_sync();
    }
    assert_true(stats().compactions > 10);
    assert_true(most < 12000);
    reopen();
    for (uint64_t i = 0; i < 10; i++)
        has(i, (unsigned char)(2990 + i), CACHEFILE_DIRTY, "a tag");
}

/* ---- another size */

TEST(cachefile, a_larger_file_keeps_all_and_has_more_room)
{
    uint64_t bytes;

    rig.config.slots = 8;
    must_open();
    bytes = file_bytes();
    for (uint64_t i = 0; i < 8; i++)
        put(i, (unsigned char)i, i % 2 == 0 ? CACHEFILE_DIRTY : CACHEFILE_CLEAN, "t");
    rig.config.slots = 600;
    reopen();
    assert_true(file_bytes() > bytes + 500 * BLOCK);
    assert_int_equal(stats().slots, 600);
    for (uint64_t i = 8; i < 600; i++)
        put(i, (unsigned char)i, CACHEFILE_DIRTY, "t");
    reopen();
    for (uint64_t i = 0; i < 600; i++)
        has(i, (unsigned char)i, i % 2 == 0 || i >= 8 ? CACHEFILE_DIRTY : CACHEFILE_CLEAN, "t");
}

TEST(cachefile, a_smaller_file_keeps_what_is_dirty_and_the_newest_of_the_rest)
{
    uint64_t bytes;

    rig.config.slots = 500;
    must_open();
    bytes = file_bytes();
    for (uint64_t i = 0; i < 400; i++)
        put(i, (unsigned char)i, i % 40 == 39 ? CACHEFILE_DIRTY : CACHEFILE_CLEAN, "t");
    rig.config.slots = 30;
    reopen();
    assert_true(file_bytes() < bytes - 400 * BLOCK);
    assert_int_equal(stats().dirty, 10);
    assert_int_equal(stats().used, 30);
    for (uint64_t i = 0; i < 400; i++) {
        if (i % 40 == 39)
            has(i, (unsigned char)i, CACHEFILE_DIRTY, "t");
        else if (i >= 379)
            has(i, (unsigned char)i, CACHEFILE_CLEAN, "t");
        else
            assert_false(is_there(i));
    }
    reopen();
    has(39, 39, CACHEFILE_DIRTY, "t");
}

TEST(cachefile, a_file_too_small_for_what_is_dirty_is_refused)
{
    must_open();
    for (uint64_t i = 0; i < 11; i++)
        put(i, (unsigned char)i, CACHEFILE_DIRTY, "t");
    must_close();
    rig.config.slots = 10;
    refused(-ENOSPC, "11 blocks that are not stored yet, more than the 10");
    rig.config.discards_dirty = true;
    must_open();
    assert_int_equal(stats().used, 0);
}

/* ---- refusals */

static unsigned char before[70000], after[70000];

static ssize_t
slurp(unsigned char *out)
{
    int fd = open(rig.path, O_RDONLY);
    ssize_t got = read(fd, out, sizeof before);

    close(fd);
    return got;
}

static void
refused_and_untouched(int rc, const char *words)
{
    ssize_t bytes = slurp(before);

    refused(rc, words);
    assert_int_equal(slurp(after), bytes);
    assert_memory_equal(before, after, (size_t)bytes);
}

static void
write_file(const void *bytes, size_t count)
{
    int fd = open(rig.path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_int_equal(write(fd, bytes, count), (ssize_t)count);
    close(fd);
}

static int
same(void *arg, uint64_t block, const void *from, size_t bytes, void *to)
{
    (void)arg;
    (void)block;
    memcpy(to, from, bytes);
    return 0;
}

TEST(cachefile, the_file_of_another_volume_is_refused)
{
    must_open();
    put(1, 1, CACHEFILE_DIRTY, NULL);
    must_close();
    rig.config.identity = "other";
    rig.config.volume = "s3://bucket/other";
    refused_and_untouched(-EINVAL,
                          "belongs to another volume, s3://bucket/disk; this is s3://bucket/other: "
                          "give another name, or move it away");
}

TEST(cachefile, a_file_of_another_block_size_is_refused)
{
    must_open();
    must_close();
    rig.config.block_bytes = 8192;
    refused_and_untouched(-EINVAL,
                          "is for blocks of 4096 bytes; the volume's have 8192: give another name");
}

TEST(cachefile, a_file_that_is_not_encrypted_is_refused_where_it_must_be)
{
    must_open();
    must_close();
    rig.config.seal = rig.config.unseal = same;
    refused_and_untouched(-EINVAL, "not encrypted; those of the volume are encrypted");
}

TEST(cachefile, a_file_of_another_format_is_refused)
{
    uint32_t version = 7;

    must_open();
    must_close();
    overwrite(16, &version, sizeof version);
    overwrite(4096 + 16, &version, sizeof version);
    refused_and_untouched(-EINVAL, "is of format 7");
}

TEST(cachefile, what_is_no_cache_file_is_refused)
{
    write_file("something of great value", 24);
    refused_and_untouched(-EINVAL, "is no cache file");
    memset(before, 'x', 20000);
    write_file(before, 20000);
    refused_and_untouched(-EINVAL, "is no cache file");
}

TEST(cachefile, s3backers_file_is_refused_with_advice)
{
    uint32_t header[16] = { 0xe496f17b, 64, 4, 4, 4096, 4096, 1, 6, 0x542d9e96 };

    write_file(header, sizeof header);
    refused_and_untouched(-EINVAL, "--blockCacheRecoverDirtyBlocks");
    header[8] = 0;
    write_file(header, sizeof header);
    refused_and_untouched(-EINVAL, "of s3backer, unmounted in order; move it away");
}

TEST(cachefile, a_file_that_was_cut_off_is_refused)
{
    must_open();
    put(1, 1, CACHEFILE_DIRTY, NULL);
    must_close();
    assert_int_equal(truncate(rig.path, 50000), 0);
    refused_and_untouched(-EINVAL, "is too short");
    assert_int_equal(truncate(rig.path, 3000), 0);
    refused_and_untouched(-EINVAL, "is too short");
    assert_int_equal(truncate(rig.path, 300), 0);
    refused_and_untouched(-EINVAL, "is too short");
}

TEST(cachefile, a_file_in_use_is_refused_until_it_is_closed)
{
    struct cachefile *mine;

    must_open();
    mine = rig.file;
    refused(-EBUSY, "in use by another process; end that first, or give another name");
    rig.file = mine;
    reopen();
}

TEST(cachefile, what_cannot_be_opened_is_refused)
{
    char path[60];

    rig.config.path = rig.dir;
    assert_int_equal(try_open(), -EISDIR);
    assert_non_null(strstr(rig.why.text, "cannot open the cache file"));
    snprintf(path, sizeof path, "%s/no/cache", rig.dir);
    rig.config.path = path;
    assert_int_equal(try_open(), -ENOENT);
    rig.config.path = "/dev/null";
    assert_int_equal(try_open(), -EINVAL);
    assert_non_null(strstr(rig.why.text, "no regular file"));
}

TEST(cachefile, a_file_that_is_empty_is_a_new_one)
{
    write_file("", 0);
    must_open();
    put(1, 1, CACHEFILE_DIRTY, NULL);
    reopen();
    has(1, 1, CACHEFILE_DIRTY, NULL);
}

TEST(cachefile, its_file_is_for_its_owner_alone)
{
    struct stat stat_buf;

    must_open();
    assert_int_equal(stat(rig.path, &stat_buf), 0);
    assert_int_equal(stat_buf.st_mode & 0777, 0600);
}

/* ---- damage */

TEST(cachefile, a_damaged_clean_block_is_absent_and_a_damaged_dirty_one_an_error_that_names_it)
{
    struct cachefile_info info;
    unsigned char data[BLOCK];

    must_open();
    put(0xab, 1, CACHEFILE_CLEAN, "t");
    put(0xcd, 2, CACHEFILE_DIRTY, "t");
    put(3, 3, CACHEFILE_CLEAN, "t");
    put(4, 4, CACHEFILE_DIRTY, "t");
    must_close();
    flip_block(1);
    flip_block(2);
    must_open();
    assert_int_equal(try_get(0xab, &info, data), -ENOENT);
    assert_int_equal(stats().rotten, 1);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(try_get(0xcd, &info, data), -EIO);
        assert_non_null(strstr(rig.why.text, "block 000000cd is damaged in the cache file"));
    }
    assert_int_equal(stats().rotten_dirty, 2);
    has(3, 3, CACHEFILE_CLEAN, "t");
    has(4, 4, CACHEFILE_DIRTY, "t");
    put(0xcd, 5, CACHEFILE_DIRTY, "t");
    put(0xab, 6, CACHEFILE_CLEAN, "t");
    reopen();
    has(0xcd, 5, CACHEFILE_DIRTY, "t");
    has(0xab, 6, CACHEFILE_CLEAN, "t");
}

static void
damage_record_of(const char *tag)
{
    uint64_t at = find_bytes(tag, strlen(tag));

    assert_true(at != UINT64_MAX);
    flip(at);
}

TEST(cachefile, a_damaged_journal_is_refused_if_anything_may_have_been_dirty)
{
    must_open();
    put(1, 1, CACHEFILE_DIRTY, "one");
    put(2, 2, CACHEFILE_CLEAN, "two");
    put(3, 3, CACHEFILE_DIRTY, "three");
    must_close();
    damage_record_of("two");
    refused_and_untouched(-EUCLEAN, "the journal of the cache file");
    rig.config.is_forced = true;
    must_open();
    has(1, 1, CACHEFILE_DIRTY, "one");
    has(3, 3, CACHEFILE_DIRTY, "three");
    assert_false(is_there(2));
}

TEST(cachefile, a_damaged_journal_makes_an_empty_file_if_nothing_was_dirty_or_that_is_discarded)
{
    must_open();
    put(1, 1, CACHEFILE_CLEAN, "one");
    put(2, 2, CACHEFILE_CLEAN, "two");
    must_close();
    damage_record_of("one");
    must_open();
    assert_int_equal(stats().used, 0);
    put(1, 1, CACHEFILE_DIRTY, "ONE");
    put(2, 2, CACHEFILE_CLEAN, "TWO");
    must_close();
    damage_record_of("ONE");
    rig.config.discards_dirty = true;
    must_open();
    assert_int_equal(stats().used, 0);
}

TEST(cachefile, one_damaged_super_does_no_harm)
{
    for (unsigned i = 0; i < 4; i++) {
        must_open();
        put(i, (unsigned char)i, CACHEFILE_DIRTY, "t");
        must_close();
        flip((i % 2) * 4096 + 100);
    }
    must_open();
    for (unsigned i = 0; i < 4; i++)
        has(i, (unsigned char)i, CACHEFILE_DIRTY, "t");
    must_close();
    flip(100);
    flip(4196);
    refused_and_untouched(-EUCLEAN, "the beginning of the cache file");
}

TEST(cachefile, dirty_blocks_are_discarded_if_so_wished)
{
    must_open();
    put(1, 1, CACHEFILE_DIRTY, "one");
    put(2, 2, CACHEFILE_CLEAN, "two");
    rig.config.discards_dirty = true;
    reopen();
    assert_false(is_there(1));
    has(2, 2, CACHEFILE_CLEAN, "two");
    put(3, 3, CACHEFILE_DIRTY, "three");
    has(3, 3, CACHEFILE_DIRTY, "three");
}

/* ---- what goes wrong below */

TEST(cachefile, a_full_disk_is_an_error_and_nothing_is_lost)
{
    static const int errors[] = { ENOSPC, EIO, EDQUOT };

    open_wrong();
    for (uint64_t i = 0; i < 8; i++)
        put(i, (unsigned char)i, CACHEFILE_DIRTY, "t");
    must_sync();
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned part = 0; part < 2; part++) { /* slots, journal */
            uint64_t journal = 8192 + 32 * BLOCK;

            rig.wrong->write_from = part == 0 ? 0 : journal;
            rig.wrong->write_until = part == 0 ? journal : UINT64_MAX;
            rig.wrong->write_rc = -errors[i];
            assert_int_equal(try_put(2, 99, CACHEFILE_DIRTY, "t", NULL), -errors[i]);
            assert_non_null(strstr(rig.why.text, "cannot write to the cache file"));
            if (part == 1) {
                assert_int_equal(cachefile_drop(rig.file, 3, 0, &rig.why), -errors[i]);
                /* Absent, but maybe not for who reads the journal after a crash. */
                assert_int_equal(cachefile_drop(rig.file, 100, 0, &rig.why), -errors[i]);
            }
            has(2, 2, CACHEFILE_DIRTY, "t");
            has(3, 3, CACHEFILE_DIRTY, "t");
            rig.wrong->write_rc = 0;
            put(50 + i, 50, CACHEFILE_DIRTY, "t");
        }
    }
    assert_int_equal(stats().retired, 1); /* EIO, in a slot */
    reopen();
    for (uint64_t i = 0; i < 8; i++)
        has(i, (unsigned char)i, CACHEFILE_DIRTY, "t");
    has(50, 50, CACHEFILE_DIRTY, "t");
}

TEST(cachefile, a_journal_that_cannot_be_renewed_goes_on_until_it_is_full)
{
    unsigned done = 0;
    int rc = 0;

    rig.config.slots = 8;
    rig.config.journal_spare_bytes = 4096;
    open_wrong();
    must_sync();
    rig.wrong->write_from = 8192 + 8 * BLOCK;
    rig.wrong->write_until = 8192 + 8 * BLOCK + 4; /* the first place */
    rig.wrong->write_rc = -ENOSPC;
    for (; rc == 0 && done < 1000; done += rc == 0)
        rc = try_put(1, (unsigned char)done, CACHEFILE_DIRTY, "t", NULL);
    rig.wrong->write_rc = 0;
    if (rc != 0) {
        assert_int_equal(rc, -ENOSPC);
        assert_true(done > 50);
        has(1, (unsigned char)(done - 1), CACHEFILE_DIRTY, "t");
    }
    put(1, 7, CACHEFILE_DIRTY, "t");
    reopen();
    has(1, 7, CACHEFILE_DIRTY, "t");
}

TEST(cachefile, it_is_removed_when_its_directory_is_synced)
{
    open_wrong();
    rig.wrong->sync_rc = -EIO;
    assert_int_equal(cachefile_remove(rig.file, &rig.why), -EIO);
    assert_non_null(strstr(rig.why.text, rig.path));
    assert_int_equal(access(rig.path, F_OK), -1);
    assert_int_equal(cachefile_remove(rig.file, &rig.why), -EIO);
    rig.wrong->sync_rc = 0;
    assert_int_equal(cachefile_remove(rig.file, &rig.why), 0);
    assert_int_equal(cachefile_remove(rig.file, &rig.why), 0);
    assert_int_equal(rig.wrong->unlinks, 1);
    assert_int_equal(rig.wrong->name_syncs, 3);
}

TEST(cachefile, after_a_sync_that_failed_it_can_only_be_read)
{
    open_wrong();
    put(1, 1, CACHEFILE_DIRTY, "t");
    must_sync();
    put(2, 2, CACHEFILE_DIRTY, "t");
    rig.wrong->sync_rc = -EIO;
    assert_int_equal(cachefile_sync(rig.file, &rig.why), -EIO);
    assert_non_null(strstr(rig.why.text, "cannot sync"));
    rig.wrong->sync_rc = 0;
    assert_int_equal(cachefile_sync(rig.file, &rig.why), -EIO);
    assert_int_equal(try_put(3, 3, CACHEFILE_DIRTY, "t", NULL), -EIO);
    assert_non_null(strstr(rig.why.text, "only read any more"));
    assert_int_equal(cachefile_drop(rig.file, 1, 0, &rig.why), -EIO);
    assert_int_equal(cachefile_set_note(rig.file, "n", 1, &rig.why), -EIO);
    has(1, 1, CACHEFILE_DIRTY, "t");
    assert_int_equal(cachefile_close(rig.file, &rig.why), -EIO);
    must_open();
    has(1, 1, CACHEFILE_DIRTY, "t");
    put(3, 3, CACHEFILE_DIRTY, "t");
}

/* ---- encrypted volumes */

#define ROOM CACHEFILE_SEAL_BYTES_MAX

/* Of block 9 it is given sectors 1 and 2, and zeros. */
static bool
is_in_part(size_t at)
{
    size_t sector = at / CACHEFILE_SECTOR_BYTES;

    return sector == 1 || sector == 2;
}

static int
mask(void *arg, uint64_t block, const void *plain, size_t bytes, void *sealed)
{
    (void)arg;
    assert_int_equal(bytes, BLOCK);
    for (size_t i = 0; block == 9 && i < bytes; i++)
        assert_int_equal(((const unsigned char *)plain)[i], is_in_part(i) ? 's' : 0);
    for (size_t i = 0; i < bytes; i++)
        ((unsigned char *)sealed)[i] =
            ((const unsigned char *)plain)[i] ^ (unsigned char)(block + 91);
    memset((unsigned char *)sealed + bytes, (int)block, ROOM);
    return 0;
}

static int
unmask(void *arg, uint64_t block, const void *sealed, size_t bytes, void *plain)
{
    unsigned *refusals = arg;

    assert_int_equal(bytes, BLOCK);
    for (unsigned i = 0; i < ROOM; i++) {
        if (((const unsigned char *)sealed)[bytes + i] != (unsigned char)block || *refusals > 0)
            return -EBADMSG;
    }
    for (size_t i = 0; i < bytes; i++)
        ((unsigned char *)plain)[i] =
            ((const unsigned char *)sealed)[i] ^ (unsigned char)(block + 91);
    return 0;
}

TEST(cachefile, the_blocks_of_an_encrypted_volume_are_sealed_in_it)
{
    unsigned refusals = 0;
    unsigned char secret[BLOCK], got[BLOCK];
    struct cachefile_block zeros = { .block = 10,
                                     .state = CACHEFILE_DIRTY,
                                     .base = CACHEFILE_ABSENT };
    struct cachefile_info info;
    uint64_t valid = 6;
    struct cachefile_block part = {
        .block = 9, .state = CACHEFILE_DIRTY, .valid = &valid, .data = secret
    };

    rig.config.seal = mask;
    rig.config.unseal = unmask;
    rig.config.seal_arg = &refusals;
    rig.config.seal_bytes = ROOM;
    must_open();
    memset(secret, 's', sizeof secret);
    put(7, 's', CACHEFILE_DIRTY, "t");
    put(8, 'r', CACHEFILE_CLEAN, "t");
    assert_int_equal(cachefile_put(rig.file, &part, NULL, NULL, NULL), 0);
    assert_int_equal(cachefile_put(rig.file, &zeros, NULL, NULL, NULL), 0);
    reopen();
    assert_true(find_bytes("ssssssss", 8) == UINT64_MAX);
    assert_int_equal(try_get(10, &info, NULL), 0);
    assert_true(info.is_zeros);
    has(10, 0, CACHEFILE_DIRTY, NULL);
    has(7, 's', CACHEFILE_DIRTY, "t");
    has(8, 'r', CACHEFILE_CLEAN, "t");
    memset(got, 'm', sizeof got);
    assert_int_equal(cachefile_get(rig.file, 9, &info, got, NULL, NULL), 0);
    assert_int_equal(info.sectors_valid, 2);
    for (unsigned i = 0; i < BLOCK; i++)
        assert_int_equal(got[i], is_in_part(i) ? 's' : 'm');
    refusals = 1;
    assert_int_equal(try_get(7, &info, got), -EIO);
    assert_int_equal(try_get(8, &info, got), -ENOENT);
    must_close();
    rig.config.seal = rig.config.unseal = NULL;
    rig.config.seal_bytes = 0;
    refused_and_untouched(-EINVAL, "encrypted in one way; those of the volume are not");
}

/* ---- threads */

#define SYNCERS 16u

static void *
sync_once(void *arg)
{
    uint64_t block = *(uint64_t *)arg;
    unsigned char data[BLOCK] = { 0 };
    struct cachefile_block put = { .block = block, .state = CACHEFILE_DIRTY, .data = data };

    if (cachefile_put(rig.file, &put, NULL, NULL, NULL) != 0 || cachefile_sync(rig.file, NULL) != 0)
        abort();
    return NULL;
}

TEST(cachefile, syncs_at_the_same_time_share_the_work)
{
    pthread_t threads[SYNCERS];
    uint64_t blocks[SYNCERS];

    open_wrong();
    rig.wrong->sync_us = 100000;
    for (unsigned i = 0; i < SYNCERS; i++) {
        blocks[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, sync_once, &blocks[i]), 0);
    }
    for (unsigned i = 0; i < SYNCERS; i++)
        pthread_join(threads[i], NULL);
    assert_true(rig.wrong->syncs < SYNCERS / 2);
    rig.wrong->sync_us = 0;
    rig.wrong->syncs = 0;
    must_sync(); /* nothing to do */
    assert_int_equal(rig.wrong->syncs, 0);
}

#define CHANGERS 4u

/* All change one block; how many times it has become dirty, less how many times it has become clean. */
struct changer {
    pthread_t thread;
    uint64_t seed;
    int became_dirty;
};

static void *
change_one(void *arg)
{
    struct changer *changer = arg;

    for (unsigned round = 0; round < 1000; round++) {
        bool is_put = random_next(&changer->seed) % 2 == 0, was_dirty;
        struct cachefile_block put = { .block = 1, .state = CACHEFILE_DIRTY };
        struct cachefile_info info;
        int rc;

        if (!is_put && cachefile_get(rig.file, 1, &info, NULL, NULL, NULL) != 0)
            continue;
        rc = is_put ? cachefile_put(rig.file, &put, NULL, &was_dirty, NULL)
                    : cachefile_stored(rig.file, 1, info.version, CACHEFILE_ABSENT, NULL, NULL);
        if (rc != 0 && rc != -ESTALE)
            abort();
        if (rc == 0)
            changer->became_dirty += is_put ? !was_dirty : -1;
    }
    return NULL;
}

TEST(cachefile, of_many_who_put_a_block_one_is_told_each_time_that_it_became_dirty)
{
    struct changer changers[CHANGERS];
    uint64_t seed = test_seed();
    int became_dirty = 0;

    rig.config.journal_spare_bytes = 4096;
    must_open();
    for (unsigned i = 0; i < CHANGERS; i++) {
        changers[i] = (struct changer){ .seed = random_next(&seed) };
        assert_int_equal(pthread_create(&changers[i].thread, NULL, change_one, &changers[i]), 0);
    }
    for (unsigned i = 0; i < CHANGERS; i++) {
        pthread_join(changers[i].thread, NULL);
        became_dirty += changers[i].became_dirty;
    }
    assert_int_equal(became_dirty, stats().dirty);
}

#define WORKERS 6u
#define BLOCKS_EACH 8u

struct worker {
    pthread_t thread;
    uint64_t first, seed;
    unsigned bytes[BLOCKS_EACH]; /* 256: gone */
    bool is_clean[BLOCKS_EACH];  /* so it may be gone */
    uint64_t version[BLOCKS_EACH];
    unsigned rounds;
};

/* Alone with its blocks, so it knows what they are. */
static void *
work(void *arg)
{
    struct worker *worker = arg;

    for (unsigned round = 0; round < worker->rounds; round++) {
        unsigned i = (unsigned)(random_next(&worker->seed) % BLOCKS_EACH), dice;
        uint64_t block = worker->first + i;
        unsigned char data[BLOCK];
        struct cachefile_info info;
        int rc;

        dice = (unsigned)(random_next(&worker->seed) % 100);
        if (dice < 40) {
            unsigned byte = (unsigned)(random_next(&worker->seed) % 256);
            struct cachefile_block put = { .block = block,
                                           .state = dice < 20 ? CACHEFILE_DIRTY : CACHEFILE_CLEAN,
                                           .base = CACHEFILE_TAG,
                                           .tag = "tag",
                                           .data = data };

            memset(data, (int)byte, sizeof data);
            if (cachefile_put(rig.file, &put, &worker->version[i], NULL, NULL) != 0)
                abort();
            worker->bytes[i] = byte;
            worker->is_clean[i] = put.state == CACHEFILE_CLEAN;
        } else if (dice < 50 && worker->bytes[i] != 256 && !worker->is_clean[i]) {
            if (cachefile_stored(rig.file, block, worker->version[i], CACHEFILE_TAG, "new", NULL)
                != 0)
                abort();
            worker->is_clean[i] = true;
        } else if (dice < 55) {
            if (cachefile_drop(rig.file, block, 0, NULL) != 0)
                abort();
            worker->bytes[i] = 256;
        } else if (dice < 57) {
            if (cachefile_sync(rig.file, NULL) != 0)
                abort();
        } else {
            rc = cachefile_get(rig.file, block, &info, data, NULL, NULL);
            if (rc == 0) {
                if (data[0] != worker->bytes[i] || data[BLOCK - 1] != worker->bytes[i])
                    abort();
            } else if (rc != -ENOENT || (worker->bytes[i] != 256 && !worker->is_clean[i])) {
                abort();
            }
        }
    }
    return NULL;
}

TEST(cachefile, many_threads_find_what_they_put_while_the_journal_is_renewed_and_room_is_short)
{
    struct worker workers[WORKERS];
    uint64_t seed = test_seed();

    rig.config.slots = WORKERS * BLOCKS_EACH + 4;
    rig.config.journal_spare_bytes = 4096;
    must_open();
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){ .first = i * BLOCKS_EACH,
                                      .seed = random_next(&seed),
                                      .rounds = getenv("BUCKETDISK_LONG") != NULL ? 20000 : 1500 };
        for (unsigned j = 0; j < BLOCKS_EACH; j++)
            workers[i].bytes[j] = 256;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_join(workers[i].thread, NULL);
    assert_true(stats().compactions > 5);
    assert_int_equal(stats().rotten, 0);
    reopen();
    for (unsigned i = 0; i < WORKERS * BLOCKS_EACH; i++) {
        const struct worker *worker = &workers[i / BLOCKS_EACH];
        unsigned byte = worker->bytes[i % BLOCKS_EACH];
        unsigned char data[BLOCK];
        struct cachefile_info info;

        if (try_get(i, &info, data) == 0)
            assert_int_equal(data[7], byte);
        else
            assert_true(byte == 256 || worker->is_clean[i % BLOCKS_EACH]);
    }
}

#define RUN_RIG(sentence)                                                                          \
    {                                                                                              \
#sentence, cachefile_##sentence, begin, end, NULL                                          \
    }

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN_RIG(what_was_put_is_there_and_still_is_when_the_file_is_opened_again),
        RUN_RIG(what_is_there_and_what_is_dirty_can_be_asked),
        RUN_RIG(what_was_put_or_stored_since_the_opening_is_fresh),
        RUN_RIG(a_clean_version_is_fresh_when_it_is_confirmed),
        RUN_RIG(what_is_dropped_of_a_range_is_all_that_is_in_it),
        RUN_RIG(where_nothing_is_nothing_is_dropped_or_written),
        RUN_RIG(slots_of_a_dropped_range_are_there_for_others),
        RUN_RIG(who_puts_is_told_whether_what_was_there_was_dirty),
        RUN_RIG(what_the_kernel_need_not_cache_is_there_all_the_same),
        RUN_RIG(the_longest_tag_is_kept_in_whole),
        RUN_RIG(of_a_block_in_parts_only_valid_sectors_are_taken_and_given),
        RUN_RIG(zeros_cost_no_room_on_the_disk),
        RUN_RIG(what_was_stored_is_clean_only_if_it_is_still_the_version_that_was_sent),
        RUN_RIG(what_was_dropped_is_gone_and_its_slot_is_used_again),
        RUN_RIG(all_that_is_there_can_be_gone_through),
        RUN_RIG(a_note_is_kept),
        RUN_RIG(clean_blocks_make_room_and_dirty_ones_never),
        RUN_RIG(blocks_that_are_read_stay_longer_than_those_that_are_not),
        RUN_RIG(an_index_entry_is_at_most_64_bytes),
        RUN_RIG(the_journal_does_not_grow_without_end),
        RUN_RIG(a_larger_file_keeps_all_and_has_more_room),
        RUN_RIG(a_smaller_file_keeps_what_is_dirty_and_the_newest_of_the_rest),
        RUN_RIG(a_file_too_small_for_what_is_dirty_is_refused),
        RUN_RIG(the_file_of_another_volume_is_refused),
        RUN_RIG(a_file_of_another_block_size_is_refused),
        RUN_RIG(a_file_that_is_not_encrypted_is_refused_where_it_must_be),
        RUN_RIG(a_file_of_another_format_is_refused),
        RUN_RIG(what_is_no_cache_file_is_refused),
        RUN_RIG(s3backers_file_is_refused_with_advice),
        RUN_RIG(a_file_that_was_cut_off_is_refused),
        RUN_RIG(a_file_in_use_is_refused_until_it_is_closed),
        RUN_RIG(what_cannot_be_opened_is_refused),
        RUN_RIG(a_file_that_is_empty_is_a_new_one),
        RUN_RIG(its_file_is_for_its_owner_alone),
        RUN_RIG(a_damaged_clean_block_is_absent_and_a_damaged_dirty_one_an_error_that_names_it),
        RUN_RIG(a_damaged_journal_is_refused_if_anything_may_have_been_dirty),
        RUN_RIG(a_damaged_journal_makes_an_empty_file_if_nothing_was_dirty_or_that_is_discarded),
        RUN_RIG(one_damaged_super_does_no_harm),
        RUN_RIG(dirty_blocks_are_discarded_if_so_wished),
        RUN_RIG(a_full_disk_is_an_error_and_nothing_is_lost),
        RUN_RIG(a_journal_that_cannot_be_renewed_goes_on_until_it_is_full),
        RUN_RIG(after_a_sync_that_failed_it_can_only_be_read),
        RUN_RIG(it_is_removed_when_its_directory_is_synced),
        RUN_RIG(the_blocks_of_an_encrypted_volume_are_sealed_in_it),
        RUN_RIG(syncs_at_the_same_time_share_the_work),
        RUN_RIG(of_many_who_put_a_block_one_is_told_each_time_that_it_became_dirty),
        RUN_RIG(many_threads_find_what_they_put_while_the_journal_is_renewed_and_room_is_short),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
