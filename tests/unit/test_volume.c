/* SPDX-License-Identifier: Apache-2.0 */
/* core/volume.c over backend-memory: what sizes a volume has. */
#include "backends.h"

#include "base/util.h"
#include "volume.h"
#include "volume_samples.h"

#include <errno.h>
#include <stdlib.h>

#define BLOCK_0 "v/00000000"
#define BLOCK_5 "v/00000005"

/* clang-format off */
static const struct detection {
    const char *what;
    const char *name; /* the one object; NULL: none */
    size_t bytes;
    const char *encoding;
    const char *attrs[4];
    struct volume_wish wish;
    int rc;
    uint64_t block_bytes, block_count;
    const char *why; /* is in the sentence */
} detections[] = {
    { "sizes in block 0", BLOCK_0, 4096, NULL,
      { "s3backer-blocksize", "4096", "s3backer-filesize", "1048576" },
      { .auto_detect = true }, 0, 4096, 256, NULL },
    { "sizes in an encoded block 0", BLOCK_0, 77, "deflate",
      { "s3backer-blocksize", "4096", "s3backer-filesize", "1048576" },
      { .auto_detect = true }, 0, 4096, 256, NULL },
    { "the user says the same", BLOCK_0, 4096, NULL,
      { "s3backer-blocksize", "4096", "s3backer-filesize", "1048576" },
      { .auto_detect = true, .disk_bytes = 1048576, .block_bytes = 4096 }, 0, 4096, 256, NULL },
    { "the user says another size", BLOCK_0, 4096, NULL,
      { "s3backer-blocksize", "4096", "s3backer-filesize", "1048576" },
      { .auto_detect = true, .disk_bytes = 2097152 }, -EINVAL, 0, 0, "--size" },
    { "the user says another block size", BLOCK_0, 4096, NULL,
      { "s3backer-blocksize", "4096", "s3backer-filesize", "1048576" },
      { .auto_detect = true, .block_bytes = 8192 }, -EINVAL, 0, 0, "--blockSize" },
    { "the user forces another size", BLOCK_0, 4096, NULL,
      { "s3backer-blocksize", "4096", "s3backer-filesize", "1048576" },
      { .auto_detect = true, .is_forced = true, .disk_bytes = 2097152 }, 0, 4096, 512, NULL },
    { "no detection", NULL, 0, NULL, { NULL }, { .disk_bytes = 65536, .block_bytes = 8192 }, 0, 8192, 8,
      NULL },
    { "no detection, no block size: s3backer's", NULL, 0, NULL, { NULL }, { .disk_bytes = 65536 }, 0,
      4096, 16, NULL },
    { "no detection, of the same", BLOCK_0, 4096, NULL,
      { "s3backer-blocksize", "4096", "s3backer-filesize", "1048576" },
      { .disk_bytes = 1048576, .block_bytes = 4096 }, 0, 4096, 256, NULL },
    { "no detection is no leave to write over another block size", BLOCK_0, 4096, NULL,
      { "s3backer-blocksize", "4096", "s3backer-filesize", "1048576" },
      { .disk_bytes = 65536, .block_bytes = 8192 }, -EINVAL, 0, 0, "--blockSize" },
    { "nor over another size", BLOCK_0, 4096, NULL,
      { "s3backer-blocksize", "4096", "s3backer-filesize", "1048576" },
      { .disk_bytes = 65536, .block_bytes = 4096 }, -EINVAL, 0, 0, "--size" },
    { "unless forced", BLOCK_0, 4096, NULL,
      { "s3backer-blocksize", "4096", "s3backer-filesize", "1048576" },
      { .is_forced = true, .disk_bytes = 65536, .block_bytes = 8192 }, 0, 8192, 8, NULL },
    { "block 0 without sizes, and no size given", BLOCK_0, 4096, NULL, { NULL },
      { .auto_detect = true }, -EINVAL, 0, 0, "--size" },
    { "block 0 without sizes: its length", BLOCK_0, 4096, NULL, { NULL },
      { .auto_detect = true, .disk_bytes = 65536 }, 0, 4096, 16, NULL },
    { "an encoded block 0 without sizes", BLOCK_0, 77, "deflate", { NULL },
      { .auto_detect = true, .disk_bytes = 65536 }, -EINVAL, 0, 0, "--blockSize" },
    { "an encoded block 0 without a block size", BLOCK_0, 77, "deflate",
      { "s3backer-filesize", "1048576" }, { .auto_detect = true }, -EINVAL, 0, 0, "--blockSize" },
    { "an encoded block 0 and both sizes given", BLOCK_0, 77, "deflate", { NULL },
      { .auto_detect = true, .disk_bytes = 65536, .block_bytes = 4096 }, 0, 4096, 16, NULL },
    { "no block 0, another block, no size", BLOCK_5, 4096, NULL, { NULL },
      { .auto_detect = true }, -EINVAL, 0, 0, "6 blocks" },
    { "no block 0, another block, too small", BLOCK_5, 4096, NULL, { NULL },
      { .auto_detect = true, .disk_bytes = 5 * 4096 }, -EINVAL, 0, 0, "cut off" },
    { "no block 0, another block, just large enough", BLOCK_5, 4096, NULL, { NULL },
      { .auto_detect = true, .disk_bytes = 6 * 4096 }, 0, 4096, 6, NULL },
    { "no block 0, another block, wrong block size", BLOCK_5, 4096, NULL, { NULL },
      { .auto_detect = true, .disk_bytes = 65536, .block_bytes = 8192 }, -EINVAL, 0, 0,
      "--blockSize" },
    { "no block 0, an encoded block", BLOCK_5, 77, "deflate", { NULL },
      { .auto_detect = true, .disk_bytes = 65536 }, -EINVAL, 0, 0, "--blockSize" },
    { "only a foreign object", "v/readme", 4096, NULL, { NULL },
      { .auto_detect = true }, -EINVAL, 0, 0, "no volume here" },
    { "nothing, and no size", NULL, 0, NULL, { NULL },
      { .auto_detect = true }, -EINVAL, 0, 0, "no volume here" },
    { "names with a hash, and the option is left out", "v/93021f19-00000009", 4096, NULL, { NULL },
      { .auto_detect = true, .disk_bytes = 65536 }, -EINVAL, 0, 0, "give --blockHashPrefix" },
    { "and without detection", "v/93021f19-00000009", 4096, NULL, { NULL },
      { .disk_bytes = 65536 }, -EINVAL, 0, 0, "give --blockHashPrefix" },
    { "names without a hash, and the option is given", BLOCK_5, 4096, NULL, { NULL },
      { .auto_detect = true, .disk_bytes = 65536, .is_hashed = true }, -EINVAL, 0, 0,
      "leave out --blockHashPrefix" },
    { "a name that only looks as if it had a hash", "v/00000000-00000009", 4096, NULL, { NULL },
      { .auto_detect = true, .disk_bytes = 65536, .block_bytes = 4096 }, 0, 4096, 16, NULL },
    { "a new volume", NULL, 0, NULL, { NULL },
      { .auto_detect = true, .disk_bytes = 10 * VOLUME_BLOCK_BYTES_DEFAULT }, 0,
      VOLUME_BLOCK_BYTES_DEFAULT, 10, NULL },
    { "a new volume of the most blocks", NULL, 0, NULL, { NULL },
      { .auto_detect = true, .disk_bytes = 512 * (uint64_t)UINT32_MAX, .block_bytes = 512 }, 0, 512,
      UINT32_MAX, NULL },
    { "one block too many", NULL, 0, NULL, { NULL },
      { .auto_detect = true, .disk_bytes = 512 * ((uint64_t)UINT32_MAX + 1), .block_bytes = 512 },
      -EINVAL, 0, 0, "larger --blockSize" },
    { "not a multiple", NULL, 0, NULL, { NULL },
      { .auto_detect = true, .disk_bytes = 4097, .block_bytes = 4096 }, -EINVAL, 0, 0, "multiple" },
    { "not a power of two", NULL, 0, NULL, { NULL },
      { .auto_detect = true, .disk_bytes = 30000, .block_bytes = 3000 }, -EINVAL, 0, 0, "power" },
    { "too small blocks", NULL, 0, NULL, { NULL },
      { .auto_detect = true, .disk_bytes = 2560, .block_bytes = 256 }, -EINVAL, 0, 0, "power" },
    { "too large blocks", NULL, 0, NULL, { NULL },
      { .auto_detect = true, .disk_bytes = 1 << 28, .block_bytes = 1 << 27 }, -EINVAL, 0, 0, "power" },
    { "sizes that make no sense", BLOCK_0, 4096, NULL,
      { "s3backer-blocksize", "1000", "s3backer-filesize", "1048576" },
      { .auto_detect = true }, -EINVAL, 0, 0, "power" },
};
/* clang-format on */

static enum volume_block_0
expected_block_0(const struct detection *row, const struct layout *found)
{
    if (row->name == NULL || strcmp(row->name, BLOCK_0) != 0)
        return BLOCK_0_ABSENT;
    if (row->attrs[0] == NULL || row->attrs[2] == NULL
        || strtoull(row->attrs[1], NULL, 10) != found->block_bytes
        || strtoull(row->attrs[3], NULL, 10) != found->block_bytes * found->block_count)
        return BLOCK_0_OTHER_SIZES;
    return BLOCK_0_RIGHT;
}

TEST(volume, sizes_come_from_the_store_or_the_user_and_never_from_a_guess)
{
    for (size_t i = 0; i < ARRAY_LEN(detections); i++) {
        const struct detection *row = &detections[i];
        struct volume_wish wish = row->wish;
        struct volume_sample sample;
        struct layout found;
        struct error why = { "" };
        enum volume_block_0 block_0 = BLOCK_0_ABSENT;
        struct test_store store;
        int rc;

        memory_open(&store, NULL);
        put_with(&store, "w/00000009", 512, NULL, NULL); /* somebody else's */
        if (row->name != NULL)
            put_with(&store, row->name, row->bytes, row->encoding, row->attrs);
        wish.prefix = "v/";
        rc = volume_detect(store.backend, &wish, &found, &block_0, &sample, &why);
        if (rc != row->rc || (row->why != NULL && strstr(why.text, row->why) == NULL))
            fail_msg("%s: %d, %s", row->what, rc, why.text);
        if (rc == 0
            && (found.block_bytes != row->block_bytes || found.block_count != row->block_count))
            fail_msg("%s: %u x %llu", row->what, found.block_bytes,
                     (unsigned long long)found.block_count);
        if (rc == 0)
            assert_int_equal(block_0, expected_block_0(row, &found));
        store_close(&store);
    }
}

TEST(volume, a_store_that_refuses_to_be_looked_at_is_an_error)
{
    const char *const options[] = { "denied", "1000000", NULL };
    const struct volume_wish wish = { .prefix = "v/", .auto_detect = true, .disk_bytes = 1 << 20 };
    struct volume_sample sample;
    struct layout found;
    struct error why = { "" };
    struct test_store store;
    enum volume_block_0 block_0;

    memory_open(&store, options);
    assert_int_equal(volume_detect(store.backend, &wish, &found, &block_0, &sample, &why), -EACCES);
    store_close(&store);
}

TEST(volume, is_seen_behind_a_page_of_objects_of_others)
{
    const struct layout layout = { .prefix = "v/", .block_count = LAYOUT_BLOCKS_MAX };
    uint64_t blocks[VOLUME_SAMPLES_MAX];
    struct volume_look look;
    struct error why = { "" };
    struct test_store store;
    unsigned count;

    memory_open(&store, NULL);
    for (unsigned i = 0; i < backend_info(store.backend)->list_max + 5; i++) {
        char name[32];

        snprintf(name, sizeof name, "v/!%05u", i);
        assert_int_equal(put_text(&store, name, "x"), BD_OK);
    }
    assert_int_equal(volume_look_any(store.backend, &layout, &look, &why), 0);
    assert_false(look.is_there);
    assert_int_equal(put_text(&store, "v/93021f19-00000009", "x"), BD_OK);
    assert_int_equal(volume_look_any(store.backend, &layout, &look, &why), 0);
    assert_true(look.is_there);
    assert_int_equal(put_text(&store, BLOCK_5, "x"), BD_OK);
    assert_int_equal(volume_samples(store.backend, &layout, blocks, &count, &why), 0);
    assert_int_equal(count, 1);
    assert_int_equal(blocks[0], 5);
    store_close(&store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(volume, sizes_come_from_the_store_or_the_user_and_never_from_a_guess),
        RUN(volume, a_store_that_refuses_to_be_looked_at_is_an_error),
        RUN(volume, is_seen_behind_a_page_of_objects_of_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
