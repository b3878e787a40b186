/* SPDX-License-Identifier: Apache-2.0 */
/* core/spill.c: what one mount writes of what it could not store, and what the next one finds of it. */
#include "fake_store.h"

#include "base/log.h"
#include "spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TOKEN 0x1234u
#define ZEROED 20u /* the blocks that were, with the next one */
#define WRITTEN 3u
#define FILL 0x55

static struct {
    char dir[40], state[60], path[80], zeros[80];
    struct spill_config config;
    struct below store; /* of the next mount */
    struct error why;
    /* Of what is synced, when the test wants to know: */
    bool is_watched, has_zeros, has_names, was_early;
    unsigned counted; /* syncs of a spill that counts */
} rig;

static int
begin(void **state)
{
    (void)state;
    memset(&rig, 0, sizeof rig);
    strcpy(rig.dir, "/tmp/bucketdisk-spill-XXXXXX");
    assert_non_null(mkdtemp(rig.dir));
    snprintf(rig.state, sizeof rig.state, "%s/made/for/it", rig.dir);
    snprintf(rig.path, sizeof rig.path, "%s/name.spill", rig.state);
    snprintf(rig.zeros, sizeof rig.zeros, "%s/name.zeros", rig.state);
    rig.config = (struct spill_config){ .directory = rig.state,
                                        .name = "name",
                                        .file = { .volume = "s3://bucket/disk",
                                                  .identity = "an id",
                                                  .identity_bytes = 5,
                                                  .block_bytes = BLOCK_BYTES,
                                                  .slots = 64 } };
    below_init(&rig.store, BLOCK_BYTES, 64);
    below_mode(&rig.store, BELOW_ANSWERS);
    return 0;
}

static int
end(void **state)
{
    char command[100];

    (void)state;
    below_end(&rig.store);
    snprintf(command, sizeof command, "rm -r %s", rig.dir);
    return system(command);
}

/* A block that was written in part, and a range that was zeroed, both after the store had gone away. */
static struct cached *
unsaved(void)
{
    struct cached *cached = cached_new((struct cache_config){ .write_delay_ns = EVER_NS });
    struct wish zero;

    write_now(cached, WRITTEN, 2, 1, FILL);
    wish_zero(cached, &zero, ZEROED, 2);
    expect_done(&zero, 0);
    below_answer(&cached->below, STORE_ZERO, ZEROED, -EIO);
    return cached;
}

static void
free_spilled(struct cached *cached)
{
    cache_free(cached->store);
    cached->store = NULL;
    cached_free(cached);
}

static void
spilled(void)
{
    struct cached *cached = unsaved();

    assert_int_equal(spill_write(&rig.config, cached->store, TOKEN, &rig.why), 0);
    free_spilled(cached);
}

static struct spill *
found(void)
{
    struct spill *spill;

    assert_int_equal(spill_find(&rig.config, &spill, &rig.why), 0);
    return spill;
}

static bool
exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static size_t
file_read(const char *path, char *bytes, size_t room)
{
    FILE *file = fopen(path, "r");
    size_t count;

    assert_non_null(file);
    count = fread(bytes, 1, room, file);
    fclose(file);
    return count;
}

static void
file_write(const char *path, const char *bytes, size_t count)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

static struct cachefile *
cachefile_at(const char *path)
{
    struct cachefile_config config = rig.config.file;
    struct cachefile *file;

    config.path = path;
    assert_int_equal(cachefile_open(&config, &rig.why, &file), 0);
    return file;
}

/* ---- */

TEST(spill, what_was_not_stored_is_found_by_the_next_mount)
{
    unsigned char data[BLOCK_BYTES] = { 0 };
    struct cachefile_info info;
    struct spill *spill;
    uint32_t tokens[2];
    uint64_t valid = 0;
    struct stat file;

    spilled();
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(stat(i == 0 ? rig.path : rig.zeros, &file), 0);
        assert_int_equal(file.st_mode & 0777, 0600);
    }
    assert_int_equal(stat(rig.state, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0700);
    spill = found();
    assert_non_null(spill);
    assert_string_equal(spill_path(spill), rig.path);
    spill_tokens(spill, tokens);
    assert_int_equal(tokens[0], TOKEN);
    assert_int_equal(tokens[1], TOKEN);
    assert_int_equal(cachefile_get(spill_file(spill), WRITTEN, &info, data, &valid, &rig.why), 0);
    assert_int_equal(info.state, CACHEFILE_DIRTY);
    assert_int_equal(valid, 1 << 2);
    assert_int_equal(data[2 * SECTOR_BYTES], FILL);
    assert_int_equal(spill_zero(spill, &rig.store.store, NULL, &rig.why), 0);
    below_expect_stored(&rig.store, ZEROED, 0, SECTORS, 0);
    below_expect_stored(&rig.store, ZEROED + 1, 0, SECTORS, 0);
    below_expect_stored(&rig.store, ZEROED + 2, 0, SECTORS, stored_byte(ZEROED + 2));
    assert_int_equal(spill_remove(spill, &rig.why), 0);
    assert_false(exists(rig.path));
    assert_false(exists(rig.zeros));
    assert_null(found());
}

TEST(spill, where_all_is_stored_there_is_none)
{
    struct cached *cached = cached_new((struct cache_config){ 0 });

    fetch(cached, 3);
    assert_int_equal(spill_write(&rig.config, cached->store, TOKEN, &rig.why), 0);
    free_spilled(cached);
    assert_false(exists(rig.path));
    assert_false(exists(rig.zeros));
    assert_null(found());
}

TEST(spill, what_was_zeroed_is_zeroed_once)
{
    struct spill *spill;

    spilled();
    spill = found();
    assert_int_equal(spill_zero(spill, &rig.store.store, NULL, &rig.why), 0);
    spill_close(spill);
    spill = found();
    assert_int_equal(spill_zero(spill, &rig.store.store, NULL, &rig.why), 0);
    spill_close(spill);
    assert_int_equal(below_asked(&rig.store, STORE_ZERO), 1);
}

TEST(spill, what_could_not_be_zeroed_is_tried_by_the_next_mount)
{
    struct spill *spill;

    spilled();
    rig.store.fail_rc[STORE_ZERO] = -EIO;
    spill = found();
    assert_int_equal(spill_zero(spill, &rig.store.store, NULL, &rig.why), -EIO);
    assert_non_null(strstr(rig.why.text, rig.zeros));
    spill_close(spill);
    rig.store.fail_rc[STORE_ZERO] = 0;
    spill = found();
    assert_int_equal(spill_zero(spill, &rig.store.store, NULL, &rig.why), 0);
    below_expect_stored(&rig.store, ZEROED, 0, SECTORS, 0);
    spill_close(spill);
}

/* With the ranges damaged: nothing is zeroed but what was. */
static void
expect_found_out(const char *bytes, size_t count)
{
    struct spill *spill;
    int rc;

    file_write(rig.zeros, bytes, count);
    spill = found();
    assert_non_null(spill);
    rc = spill_zero(spill, &rig.store.store, NULL, &rig.why);
    spill_close(spill);
    if (rc == 0) {
        assert_int_equal(below_asked(&rig.store, STORE_ZERO), 1);
        below_expect_stored(&rig.store, ZEROED, 0, SECTORS, 0);
        below_expect_stored(&rig.store, ZEROED + 1, 0, SECTORS, 0);
        rig.store.asked[STORE_ZERO] = 0;
        return;
    }
    assert_int_equal(rc, -EUCLEAN);
    assert_non_null(strstr(rig.why.text, rig.zeros));
    assert_non_null(strstr(rig.why.text, "--block-cache-discard-dirty-blocks"));
    assert_int_equal(below_asked(&rig.store, STORE_ZERO), 0);
}

TEST(spill, no_bit_of_what_was_zeroed_is_damaged_unseen)
{
    char right[200], wrong[200];
    size_t bytes;

    spilled();
    bytes = file_read(rig.zeros, right, sizeof right);
    assert_in_range(bytes, 20, sizeof right - 1);
    for (size_t i = 0; i < bytes * 8; i++) {
        memcpy(wrong, right, bytes);
        wrong[i / 8] ^= (char)(1 << i % 8);
        expect_found_out(wrong, bytes);
    }
    for (size_t i = 1; i < bytes; i++)
        expect_found_out(right, i);
    memcpy(wrong, right, bytes);
    wrong[bytes] = '7';
    expect_found_out(wrong, bytes + 1);
}

TEST(spill, one_that_is_not_complete_is_removed_but_not_by_a_reader)
{
    spilled();
    unlink(rig.path);
    cachefile_close(cachefile_at(rig.path), &rig.why);
    rig.config.is_read_only = true;
    assert_null(found());
    assert_true(exists(rig.path));
    rig.config.is_read_only = false;
    assert_null(found());
    assert_false(exists(rig.path));
    assert_false(exists(rig.zeros));
}

/* The machine died before the file had its size. */
TEST(spill, one_that_was_not_even_made_is_not_complete_either)
{
    static char half[8192] = { [4096] = 'b' };

    spilled();
    file_write(rig.path, half, sizeof half);
    rig.config.is_read_only = true;
    assert_null(found());
    assert_true(exists(rig.path));
    rig.config.is_read_only = false;
    assert_null(found());
    assert_false(exists(rig.path));
    assert_false(exists(rig.zeros));
}

TEST(spill, one_that_is_damaged_can_be_discarded)
{
    static char damage[16384];
    struct spill *spill;
    FILE *file;

    spilled();
    file = fopen(rig.path, "r+");
    assert_non_null(file);
    memset(damage, 'x', sizeof damage);
    memcpy(damage, "bucketdisk cache\1\0\0", 20);
    assert_int_equal(fwrite(damage, 1, 8192, file), 8192);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(spill_find(&rig.config, &spill, &rig.why), -EUCLEAN);
    assert_null(spill);
    assert_int_equal(spill_discard(&rig.config, &rig.why), 0);
    assert_false(exists(rig.path));
    assert_false(exists(rig.zeros));
}

TEST(spill, it_is_another_volumes_business_to_store_it)
{
    struct spill *spill;

    spilled();
    rig.config.file.identity = "other";
    assert_int_equal(spill_find(&rig.config, &spill, &rig.why), -EINVAL);
    assert_null(spill);
    rig.config.file.identity = "an id";
    strcpy(rig.config.name, "other");
    assert_null(found());
}

TEST(spill, it_counts_under_the_locks_that_were_noted_last)
{
    struct spill *spill;
    uint32_t tokens[2];

    spilled();
    spill = found();
    assert_int_equal(spill_set_tokens(spill, 5, 6, &rig.why), 0);
    spill_close(spill);
    spill = found();
    spill_tokens(spill, tokens);
    assert_int_equal(tokens[0], 5);
    assert_int_equal(tokens[1], 6);
    spill_close(spill);
}

TEST(spill, what_an_older_file_has_of_the_same_blocks_goes)
{
    static const uint64_t blocks[] = { 2, WRITTEN, ZEROED - 1, ZEROED, ZEROED + 1, ZEROED + 2 };
    char path[sizeof rig.dir + 8];
    unsigned char data[BLOCK_BYTES] = { 1 };
    struct cachefile *older;
    struct spill *spill;

    snprintf(path, sizeof path, "%s/older", rig.dir);
    older = cachefile_at(path);
    for (unsigned i = 0; i < ARRAY_LEN(blocks); i++) {
        const struct cachefile_block put = { .block = blocks[i],
                                             .state = CACHEFILE_DIRTY,
                                             .data = data };

        assert_int_equal(cachefile_put(older, &put, NULL, NULL, &rig.why), 0);
    }
    spilled();
    spill = found();
    assert_int_equal(spill_supersede(spill, older, &rig.why), 0);
    for (unsigned i = 0; i < ARRAY_LEN(blocks); i++) {
        bool is_newer = blocks[i] == WRITTEN || blocks[i] == ZEROED || blocks[i] == ZEROED + 1;

        assert_int_equal(cachefile_holds_dirty(older, blocks[i]), !is_newer);
    }
    spill_close(spill);
    cachefile_close(older, &rig.why);
}

TEST(spill, one_that_was_stored_counts_no_more_when_a_power_cut_brings_it_back)
{
    char link_path[sizeof rig.dir + 8];

    spilled();
    snprintf(link_path, sizeof link_path, "%s/link", rig.dir);
    assert_int_equal(link(rig.path, link_path), 0);
    assert_int_equal(spill_remove(found(), &rig.why), 0);
    assert_int_equal(rename(link_path, rig.path), 0);
    assert_null(found());
}

/* ---- what is durable when it counts */

static bool
is_open(int fd, const char *path)
{
    struct stat opened, named;

    return fstat(fd, &opened) == 0 && stat(path, &named) == 0 && opened.st_ino == named.st_ino;
}

/* Does the file, as it is now, count? */
static bool
counts(void)
{
    struct spill_config config = rig.config;
    char copy[sizeof rig.dir + 8], command[300];
    struct spill *spill;
    struct error why;

    snprintf(copy, sizeof copy, "%s/copy", rig.dir);
    snprintf(command, sizeof command, "mkdir -p %s && cp %s %s", copy, rig.path, copy);
    config.directory = copy;
    config.is_read_only = true;
    if (system(command) != 0 || spill_find(&config, &spill, &why) != 0 || spill == NULL)
        return false;
    spill_close(spill);
    return true;
}

static void
watch(int fd)
{
    if (!rig.is_watched)
        return;
    rig.is_watched = false; /* a copy that is opened is synced, too */
    if (is_open(fd, rig.zeros))
        rig.has_zeros = true;
    else if (is_open(fd, rig.state))
        rig.has_names = exists(rig.zeros);
    if (counts()) {
        rig.counted++;
        rig.was_early = rig.was_early || !rig.has_zeros || !rig.has_names;
    }
    rig.is_watched = true;
}

int
fsync(int fd)
{
    watch(fd);
    return (int)syscall(SYS_fsync, fd);
}

int
fdatasync(int fd)
{
    watch(fd);
    return (int)syscall(SYS_fdatasync, fd);
}

TEST(spill, it_counts_when_all_of_it_is_durable_and_not_before)
{
    rig.is_watched = true;
    spilled();
    rig.is_watched = false;
    assert_true(rig.counted > 0);
    assert_false(rig.was_early);
}

/* ---- it cannot be written */

static void
expect_not_written(const char *sentence)
{
    struct cached *cached = unsaved();

    write_now(cached, WRITTEN + 1, 0, 1, FILL);
    assert_true(spill_write(&rig.config, cached->store, TOKEN, &rig.why) < 0);
    assert_non_null(strstr(rig.why.text, sentence));
    assert_false(exists(rig.path));
    /* The cache goes on: all is stored in the end. */
    below_mode(&cached->below, BELOW_ANSWERS);
    cached_sleep(cached, 3600 * NS_PER_S);
    cached_free(cached);
}

TEST(spill, where_no_directory_can_be_made_the_cache_goes_on)
{
    rig.config.directory = "/dev/null/spills";
    expect_not_written("cannot make the directory /dev/null");
}

TEST(spill, where_the_file_has_no_room_the_cache_goes_on)
{
    rig.config.file.slots = 1;
    expect_not_written("full");
    assert_false(exists(rig.zeros));
}

TEST(spill, where_the_list_of_what_was_zeroed_cannot_be_made_the_cache_goes_on)
{
    spilled();
    assert_int_equal(unlink(rig.path), 0);
    assert_int_equal(unlink(rig.zeros), 0);
    assert_int_equal(mkdir(rig.zeros, 0700), 0);
    expect_not_written(rig.zeros);
}

static int
sync_fails(struct cachefile_io *io)
{
    (void)io;
    return -EIO;
}

/* What is in that one, and in memory no more, would be lost. */
TEST(spill, where_the_file_beside_cannot_be_synced_the_cache_goes_on)
{
    struct cachefile_config config = rig.config.file;
    const struct cachefile_block put = { .block = 2, .state = CACHEFILE_DIRTY };
    char path[sizeof rig.dir + 8];

    snprintf(path, sizeof path, "%s/beside", rig.dir);
    config.path = path;
    assert_int_equal(cachefile_io_open(path, &rig.why, &config.io), 0);
    assert_int_equal(cachefile_open(&config, &rig.why, &rig.config.beside), 0);
    assert_int_equal(cachefile_put(rig.config.beside, &put, NULL, NULL, &rig.why), 0);
    config.io->sync = sync_fails;
    expect_not_written(path);
    assert_false(exists(rig.zeros));
    (void)cachefile_close(rig.config.beside, &rig.why);
}

#define RUN_RIG(sentence)                                                                          \
    {                                                                                              \
#sentence, spill_##sentence, begin, end, NULL                                              \
    }

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN_RIG(what_was_not_stored_is_found_by_the_next_mount),
        RUN_RIG(where_all_is_stored_there_is_none),
        RUN_RIG(what_was_zeroed_is_zeroed_once),
        RUN_RIG(what_could_not_be_zeroed_is_tried_by_the_next_mount),
        RUN_RIG(no_bit_of_what_was_zeroed_is_damaged_unseen),
        RUN_RIG(one_that_is_not_complete_is_removed_but_not_by_a_reader),
        RUN_RIG(one_that_was_not_even_made_is_not_complete_either),
        RUN_RIG(one_that_is_damaged_can_be_discarded),
        RUN_RIG(it_is_another_volumes_business_to_store_it),
        RUN_RIG(it_counts_under_the_locks_that_were_noted_last),
        RUN_RIG(what_an_older_file_has_of_the_same_blocks_goes),
        RUN_RIG(one_that_was_stored_counts_no_more_when_a_power_cut_brings_it_back),
        RUN_RIG(it_counts_when_all_of_it_is_durable_and_not_before),
        RUN_RIG(where_no_directory_can_be_made_the_cache_goes_on),
        RUN_RIG(where_the_file_has_no_room_the_cache_goes_on),
        RUN_RIG(where_the_list_of_what_was_zeroed_cannot_be_made_the_cache_goes_on),
        RUN_RIG(where_the_file_beside_cannot_be_synced_the_cache_goes_on),
    };

    return cmocka_run_group_tests_name("spill", tests, NULL, NULL);
}
