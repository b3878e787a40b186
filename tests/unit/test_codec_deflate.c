/* SPDX-License-Identifier: Apache-2.0 */
/* codec-deflate beside zlib itself: the same bytes as compress2(), and each kind of damage by its name. */
#define COMPRESS_PLUGIN "codec-deflate"
#define COMPRESS_TOKEN "deflate"
#define COMPRESS_DEFAULT "6"
#define COMPRESS_NOTICES_FLIPS 1
#include "compress_contract.h"

#include <zlib.h>

TEST(deflate, a_block_becomes_what_compress2_makes_of_it_at_each_level)
{
    for (int level = 1; level <= 9; level++) {
        struct fake_codec compressor;
        char word[2] = { (char)('0' + level), '\0' };

        compressor_open(&compressor, word);
        /* One worker for all, and large and small by turns, so that each block finds the traces of another. */
        for (unsigned round = 0; round < 60; round++) {
            size_t bytes = (size_t)512 << round * 5 % 11;
            unsigned char *plain = content_of(contents[round % 6], bytes, round);
            uLongf expected_bytes = compressBound(bytes);
            unsigned char *expected = malloc(expected_bytes);
            struct fake_coded coded = encode(&compressor, plain, bytes);

            assert_non_null(expected);
            assert_int_equal(compress2(expected, &expected_bytes, plain, bytes, level), Z_OK);
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

TEST(deflate, the_default_is_zlibs_own)
{
    unsigned char *plain = content_of("text", 64 * KIB, 0);
    uLongf expected_bytes = compressBound(64 * KIB);
    unsigned char *expected = malloc(expected_bytes);
    struct fake_codec compressor;
    struct fake_coded coded;

    assert_non_null(expected);
    assert_int_equal(compress2(expected, &expected_bytes, plain, 64 * KIB, Z_DEFAULT_COMPRESSION),
                     Z_OK);
    compressor_open(&compressor, COMPRESS_DEFAULT);
    coded = encode(&compressor, plain, 64 * KIB);
    assert_int_equal(coded.len, expected_bytes);
    assert_memory_equal(coded.data, expected, expected_bytes);
    free(coded.data);
    fake_codec_free(&compressor);
    free(expected);
    free(plain);
}

/* A stream that only stores is larger than what it stores. */
TEST(deflate, level_0_declines_every_block_and_reads_stored_ones)
{
    unsigned char *plain = content_of("zeros", 4096, 0), body[4200];
    uLongf bytes = sizeof body;
    struct fake_codec compressor;
    struct fake_coded coded;

    compressor_open(&compressor, "0");
    coded = encode(&compressor, plain, 4096);
    assert_int_equal(coded.status, BD_DECLINED);
    free(coded.data);
    assert_int_equal(compress2(body, &bytes, plain, 4096, 0), Z_OK);
    assert_true(bytes > 4096);
    expect_plain(&compressor, body, bytes, plain, 4096);
    fake_codec_free(&compressor);
    free(plain);
}

TEST(deflate, what_s3backer_wrote_is_read_and_written_the_same)
{
    expect_vector("03-deflate.00000000", "6");
    expect_vector("03-deflate.000000ab", "6");
    expect_vector("04-deflate9-64k.00000000", "9");
    expect_vector("04-deflate9-64k.0001ffff", "9");
}

TEST(deflate, bytes_behind_the_stream_do_not_count)
{
    unsigned char *plain = content_of("text", 4096, 0);
    struct fake_codec compressor;
    struct fake_coded coded;
    unsigned char *longer;

    compressor_open(&compressor, COMPRESS_DEFAULT);
    coded = encode(&compressor, plain, 4096);
    longer = calloc(1, coded.len + 300);
    assert_non_null(longer);
    memcpy(longer, coded.data, coded.len);
    for (size_t more = 1; more <= 300; more += 13)
        expect_plain(&compressor, longer, coded.len + more, plain, 4096);
    free(longer);
    free(coded.data);
    free(plain);
    fake_codec_free(&compressor);
}

/* The stream of `plain` with other window bits: 15 zlib's container, -15 none, 31 gzip's; with or without a
 * dictionary. */
static size_t
stream_of(const char *plain, int window_bits, const char *dictionary, unsigned char *out,
          size_t room)
{
    z_stream stream = { .next_out = out, .avail_out = (uInt)room };

    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY),
                     Z_OK);
    if (dictionary != NULL)
        assert_int_equal(
            deflateSetDictionary(&stream, (const Bytef *)dictionary, (uInt)strlen(dictionary)),
            Z_OK);
    stream.next_in = (Bytef *)(uintptr_t)plain;
    stream.avail_in = (uInt)strlen(plain);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    deflateEnd(&stream);
    return stream.total_out;
}

TEST(deflate, each_kind_of_damage_is_named)
{
    static const char text[] = "a text of a text of a text of a text";
    struct fake_codec compressor;
    unsigned char body[200];
    size_t len;

    compressor_open(&compressor, COMPRESS_DEFAULT);
    expect_corrupt(&compressor, "", 0, 36, 36, "ends early, after 0 bytes");
    expect_corrupt(&compressor, "\x78", 1, 36, 36, "ends early");
    expect_corrupt(&compressor, text, 36, 36, 36, "incorrect header check");
    len = stream_of(text, 31, NULL, body, sizeof body);
    expect_corrupt(&compressor, body, len, 36, 36, "incorrect header check");
    len = stream_of(text, -15, NULL, body, sizeof body);
    expect_corrupt(&compressor, body, len, 36, 36, "incorrect header check");
    len = stream_of(text, 15, "a text", body, sizeof body);
    expect_corrupt(&compressor, body, len, 36, 36, "a dictionary that nobody has");
    /* A window larger than the format has; a method that is not deflate. */
    expect_corrupt(&compressor, "\x88\x1c\x03\x00\x00\x00\x00\x01", 8, 36, 36,
                   "invalid window size");
    expect_corrupt(&compressor, "\x77\x85\x03\x00\x00\x00\x00\x01", 8, 36, 36,
                   "unknown compression method");
    /* Blocks: of the reserved type; stored, with a length that is not its own complement; fixed codes, and a copy of
     * what is not there yet. */
    expect_corrupt(&compressor, "\x78\x9c\x07\x00\x00\x00\x00\x01", 8, 36, 36,
                   "invalid block type");
    expect_corrupt(&compressor, "\x78\x9c\x01\x05\x00\x05\x00hello", 12, 36, 36,
                   "invalid stored block lengths");
    expect_corrupt(&compressor, "\x78\x9c\x03\x02\x00\x00\x00\x00", 8, 36, 36,
                   "invalid distance too far back");
    len = stream_of(text, 15, NULL, body, sizeof body);
    expect_plain(&compressor, body, len, text, 36);
    body[len - 1] ^= 1;
    expect_corrupt(&compressor, body, len, 36, 36, "incorrect data check");
    for (size_t cut = 1; cut <= 4; cut++) /* all the data is there, the checksum is not */
        expect_corrupt(&compressor, body, len - cut, 36, 36, "ends early, after 36 bytes");
    fake_codec_free(&compressor);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        COMPRESS_CONTRACT,
        RUN(deflate, a_block_becomes_what_compress2_makes_of_it_at_each_level),
        RUN(deflate, the_default_is_zlibs_own),
        RUN(deflate, level_0_declines_every_block_and_reads_stored_ones),
        RUN(deflate, what_s3backer_wrote_is_read_and_written_the_same),
        RUN(deflate, bytes_behind_the_stream_do_not_count),
        RUN(deflate, each_kind_of_damage_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
