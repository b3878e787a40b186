/* SPDX-License-Identifier: Apache-2.0 */
/* codec-zstd beside the library itself and its program: the same bytes as ZSTD_compress(), and each kind of damage by
 * its name. */
#define COMPRESS_PLUGIN "codec-zstd"
#define COMPRESS_TOKEN "zstd"
#define COMPRESS_DEFAULT "3"
#define COMPRESS_NOTICES_FLIPS 0
#include "compress_contract.h"

#include <malloc.h>
#include <unistd.h>
#include <zstd.h>

TEST(zstd, a_block_becomes_what_zstd_compress_makes_of_it_at_each_level)
{
    for (int level = 1; level <= 22; level++) {
        struct fake_codec compressor;
        char word[4];

        snprintf(word, sizeof word, "%d", level);
        compressor_open(&compressor, word);
        for (unsigned round = 0; round < 30; round++) {
            size_t bytes = (size_t)512 << round * 5 % 10;
            unsigned char *plain = content_of(contents[round % 6], bytes, round);
            size_t expected_bytes = ZSTD_compressBound(bytes);
            unsigned char *expected = malloc(expected_bytes);
            struct fake_coded coded = encode(&compressor, plain, bytes);

            assert_non_null(expected);
            expected_bytes = ZSTD_compress(expected, expected_bytes, plain, bytes, level);
            assert_false(ZSTD_isError(expected_bytes));
            if (coded.status == BD_DECLINED) {
                assert_true(expected_bytes >= bytes);
            } else {
                assert_int_equal(coded.len, expected_bytes);
                assert_memory_equal(coded.data, expected, expected_bytes);
            }
            free(coded.data);
            free(expected);
            free(plain);
        }
        fake_codec_free(&compressor);
    }
}

TEST(zstd, the_highest_level_is_the_librarys)
{
    const struct bd_plugin *plugin = plugin_of(COMPRESS_PLUGIN);

    assert_int_equal(plugin->options->max, ZSTD_maxCLevel());
    assert_int_equal(ZSTD_CLEVEL_DEFAULT, 3);
}

TEST(zstd, what_s3backer_wrote_is_read_and_written_the_same)
{
    expect_vector("09-zstd-216.00000000", "3");
    expect_vector("09-zstd-216.00000007", "3");
}

TEST(zstd, a_frame_says_its_size_and_has_neither_checksum_nor_dictionary)
{
    unsigned char *plain = content_of("text", 64 * KIB, 0);
    struct fake_codec compressor;
    struct fake_coded coded;

    compressor_open(&compressor, COMPRESS_DEFAULT);
    coded = encode(&compressor, plain, 64 * KIB);
    assert_memory_equal(coded.data, "\x28\xb5\x2f\xfd", 4);
    /* The descriptor: 2 bytes of content size, which is kept less 256; a single segment. */
    assert_int_equal(coded.data[4], 0x60);
    assert_memory_equal(coded.data + 5, "\x00\xff", 2);
    free(coded.data);
    free(plain);
    fake_codec_free(&compressor);
}

/* ---- frames of others */

/* A frame made by the advanced interface, of 4096 bytes of text. */
static size_t
frame_of(const unsigned char *plain, bool has_size, bool has_checksum, unsigned char *out,
         size_t room)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_inBuffer in = { plain, 4096, 0 };
    ZSTD_outBuffer to = { out, room, 0 };

    assert_non_null(context);
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, has_checksum);
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, has_size);
    if (!has_size) { /* in two pieces, so that the library cannot know it */
        in.size = 1000;
        assert_false(ZSTD_isError(ZSTD_compressStream2(context, &to, &in, ZSTD_e_flush)));
        in.size = 4096;
    }
    assert_int_equal(ZSTD_compressStream2(context, &to, &in, ZSTD_e_end), 0);
    ZSTD_freeCCtx(context);
    return to.pos;
}

TEST(zstd, frames_with_a_checksum_or_without_a_size_are_read)
{
    unsigned char *plain = content_of("text", 4096, 0), body[5000];
    struct fake_codec compressor;

    compressor_open(&compressor, COMPRESS_DEFAULT);
    for (unsigned i = 0; i < 4; i++) {
        size_t len = frame_of(plain, i & 1, i & 2, body, sizeof body);

        expect_plain(&compressor, body, len, plain, 4096);
        expect_corrupt(&compressor, body, len, 4095, 0, "more than 4095");
        for (size_t cut = 0; cut < len; cut++)
            expect_corrupt(&compressor, body, cut, 4096, 4096, "");
        if (i & 2) {
            body[len - 1] ^= 1;
            expect_corrupt(&compressor, body, len, 4096, 4096, "match checksum");
        }
    }
    free(plain);
    fake_codec_free(&compressor);
}

TEST(zstd, each_kind_of_damage_is_named)
{
    unsigned char *plain = content_of("text", 4096, 0), body[5000];
    struct fake_codec compressor;
    struct fake_coded coded;

    compressor_open(&compressor, COMPRESS_DEFAULT);
    coded = encode(&compressor, plain, 4096);
    memcpy(body, coded.data, coded.len);
    expect_corrupt(&compressor, "", 0, 4096, 4096, "does not begin as a zstd frame");
    expect_corrupt(&compressor, body, 3, 4096, 4096, "does not begin as a zstd frame");
    expect_corrupt(&compressor, body, 4, 4096, 4096, "header is damaged");
    expect_corrupt(&compressor, body, coded.len - 1, 4096, 4096, "ends early");
    /* More than one frame, even an empty one; of the format before 1.0; one to be skipped. */
    memcpy(body + coded.len, "\x28\xb5\x2f\xfd\x20\x00\x01\x00\x00", 9);
    expect_corrupt(&compressor, body, coded.len + 9, 4096, 4096, "9 bytes follow the frame");
    expect_corrupt(&compressor, body, coded.len + 1, 4096, 4096, "1 bytes follow the frame");
    body[0] = 0x25;
    expect_corrupt(&compressor, body, coded.len, 4096, 4096, "does not begin as a zstd frame");
    expect_corrupt(&compressor, "\x50\x2a\x4d\x18\x01\x00\x00\x00x", 9, 4096, 4096,
                   "does not begin as a zstd frame");
    /* The size in the header, 4096 - 256 in 2 bytes: one more, one less. */
    memcpy(body, coded.data, coded.len);
    assert_int_equal(body[4] & 0xe0, 0x60);
    body[5]++;
    expect_corrupt(&compressor, body, coded.len, 4096, 4096, "holds 4097 bytes, more than 4096");
    expect_corrupt(&compressor, body, coded.len, 5000, 0, "the frame is damaged");
    body[5] = 0xff;
    body[6]--;
    expect_corrupt(&compressor, body, coded.len, 4096, 4096, "the frame is damaged");
    /* A reserved bit; a dictionary; a block of the reserved type; a window of 3.75 TiB, more than the library
     * has. */
    memcpy(body, coded.data, coded.len);
    body[4] |= 0x08;
    expect_corrupt(&compressor, body, coded.len, 4096, 4096, "header is damaged");
    expect_corrupt(&compressor, "\x28\xb5\x2f\xfd\x21\x07\x05\x29\x00\x00hello", 15, 4096, 0,
                   "Dictionary mismatch");
    expect_corrupt(&compressor, "\x28\xb5\x2f\xfd\x20\x05\x2f\x00\x00hello", 14, 4096, 0,
                   "blocks are damaged");
    expect_corrupt(&compressor, "\x28\xb5\x2f\xfd\x00\xff\x29\x00\x00hello", 14, 4096, 0,
                   "header is damaged");
    /* Sizes that nobody has memory for. */
    expect_corrupt(&compressor,
                   "\x28\xb5\x2f\xfd\xe0\xff\xff\xff\xff\xff\xff\xff\x7f\x29\x00\x00hello", 21,
                   4096, 0, "9223372036854775807 bytes, more than 4096");
    free(coded.data);
    free(plain);
    fake_codec_free(&compressor);
}

/* What a frame claims of its window costs nothing: 2 GiB here. */
TEST(zstd, a_large_window_takes_no_memory)
{
    static const char body[] = "\x28\xb5\x2f\xfd\x00\xa8\x29\x00\x00hello";
    struct fake_codec compressor;
    struct mallinfo2 before, after;

    compressor_open(&compressor, COMPRESS_DEFAULT);
    before = mallinfo2(); /* a sanitizer's memory is not counted: this is for the other builds */
    /* The first time: a worker keeps what memory it has taken. */
    expect_plain(&compressor, body, 14, "hello", 5);
    after = mallinfo2();
    assert_true(after.uordblks + after.hblkhd <= before.uordblks + before.hblkhd + MIB);
    fake_codec_free(&compressor);
}

/* ---- the program of the same library */

static void
file_put(const char *path, const void *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static size_t
file_get(const char *path, unsigned char *data, size_t room)
{
    FILE *file = fopen(path, "rb");
    size_t bytes;

    assert_non_null(file);
    bytes = fread(data, 1, room, file);
    fclose(file);
    return bytes;
}

static void
run(const char *options, const char *from, const char *to)
{
    char command[400];

    snprintf(command, sizeof command, "zstd -qf %s '%s' -o '%s'", options, from, to);
    if (system(command) != 0)
        fail_msg("%s", command);
}

TEST(zstd, the_program_zstd_reads_ours_and_we_read_its)
{
    static const char *const ways[] = {
        "-1", "-3", "-19", "--fast=5", "--ultra -22 --long=31", "--no-check", "--no-content-size",
    };
    char from[] = "/tmp/bucketdisk-zstd-XXXXXX", to[64];
    unsigned char *plain = content_of("half", MIB, 5), *other = malloc(2 * MIB);
    struct fake_codec compressor;
    struct fake_coded coded;
    int descriptor;

    if (system("zstd --version >/dev/null 2>&1") != 0) {
        free(plain);
        free(other);
        skip();
    }
    descriptor = mkstemp(from);
    assert_int_not_equal(descriptor, -1);
    assert_non_null(other);
    close(descriptor);
    snprintf(to, sizeof to, "%s.out", from);
    compressor_open(&compressor, COMPRESS_DEFAULT);
    coded = encode(&compressor, plain, MIB);
    assert_int_equal(coded.status, BD_OK);
    file_put(from, coded.data, coded.len);
    run("-d", from, to);
    assert_int_equal(file_get(to, other, 2 * MIB), MIB);
    assert_memory_equal(other, plain, MIB);
    file_put(from, plain, MIB);
    for (unsigned i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        run(ways[i], from, to);
        expect_plain(&compressor, other, file_get(to, other, 2 * MIB), plain, MIB);
    }
    unlink(from);
    unlink(to);
    free(coded.data);
    free(other);
    free(plain);
    fake_codec_free(&compressor);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        COMPRESS_CONTRACT,
        RUN(zstd, a_block_becomes_what_zstd_compress_makes_of_it_at_each_level),
        RUN(zstd, the_highest_level_is_the_librarys),
        RUN(zstd, what_s3backer_wrote_is_read_and_written_the_same),
        RUN(zstd, a_frame_says_its_size_and_has_neither_checksum_nor_dictionary),
        RUN(zstd, frames_with_a_checksum_or_without_a_size_are_read),
        RUN(zstd, each_kind_of_damage_is_named),
        RUN(zstd, a_large_window_takes_no_memory),
        RUN(zstd, the_program_zstd_reads_ours_and_we_read_its),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
