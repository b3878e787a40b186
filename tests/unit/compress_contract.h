/* SPDX-License-Identifier: Apache-2.0 */
/* What every codec that compresses must do, whichever plugin has it.  A test program says whom it means, and runs
 * these among its own:
 *
 *     #define COMPRESS_PLUGIN "codec-zstd"
 *     #define COMPRESS_TOKEN "zstd"
 *     #define COMPRESS_DEFAULT "3"         the level that is the default
 *     #define COMPRESS_NOTICES_FLIPS 0     1: its format has a checksum
 *     #include "compress_contract.h"
 *     … const struct CMUnitTest tests[] = { COMPRESS_CONTRACT, RUN(…), … };
 */
#ifndef UNIT_COMPRESS_CONTRACT_H
#define UNIT_COMPRESS_CONTRACT_H

#include "fake_codec.h"
#include "module.h"

#include <pthread.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

/* ---- a codec of the build tree, opened */

static inline void
compressor_open(struct fake_codec *compressor, const char *level)
{
    assert_int_equal(plugin_of(COMPRESS_PLUGIN)->codec_count, 1);
    fake_codec_init(compressor, COMPRESS_PLUGIN, COMPRESS_TOKEN);
    fake_codec_option(compressor, COMPRESS_PLUGIN, "level", level);
    fake_codec_open(compressor, COMPRESS_TOKEN);
}

static const struct fake_place anywhere = { 0 };

static inline struct fake_coded
encode(struct fake_codec *compressor, const void *plain, size_t bytes)
{
    struct fake_coded coded =
        fake_encode_in(compressor, NULL, anywhere, (struct bd_bytes){ plain, bytes }, 0);

    if (coded.status != BD_OK && coded.status != BD_DECLINED)
        fail_msg("%zu bytes: status %d, %s", bytes, (int)coded.status, coded.why.text);
    assert_int_equal(coded.attrs.count, 0);
    return coded;
}

/* `plain_bytes` is how long it must be; 0: whatever fits. */
static inline struct fake_coded
decode(struct fake_codec *compressor, const void *body, size_t body_bytes, size_t cap,
       size_t plain_bytes)
{
    return fake_decode_plain_in(compressor, NULL, (struct bd_bytes){ body, body_bytes }, cap,
                                plain_bytes);
}

/* Decodes, with room for exactly that, to these bytes. */
static inline void
expect_plain(struct fake_codec *compressor, const void *body, size_t body_bytes, const void *plain,
             size_t bytes)
{
    struct fake_coded coded = decode(compressor, body, body_bytes, bytes, bytes);

    if (coded.status != BD_OK)
        fail_msg("%zu bytes: status %d, %s", bytes, (int)coded.status, coded.why.text);
    assert_int_equal(coded.len, bytes);
    assert_memory_equal(coded.data, plain, bytes);
    free(coded.data);
}

/* Is refused as damaged, with this in its sentence. */
static inline void
expect_corrupt(struct fake_codec *compressor, const void *body, size_t body_bytes, size_t cap,
               size_t plain_bytes, const char *reason)
{
    struct fake_coded coded = decode(compressor, body, body_bytes, cap, plain_bytes);

    if (coded.status != BD_CORRUPT || coded.why.text[0] == '\0'
        || strstr(coded.why.text, reason) == NULL)
        fail_msg("status %d, \"%s\" where BD_CORRUPT and \"%s\" were expected", (int)coded.status,
                 coded.why.text, reason);
    free(coded.data);
}

/* ---- what is compressed */

static const char *const contents[] = { "zeros", "text", "sparse", "end", "half", "random" };

/* The same for the same content, bytes and seed. */
static inline unsigned char *
content_of(const char *content, size_t bytes, uint64_t seed)
{
    const bool is_text = strcmp(content, "text") == 0, is_sparse = strcmp(content, "sparse") == 0;
    const size_t random_from = strcmp(content, "random") == 0 ? 0
                               : strcmp(content, "half") == 0 ? bytes / 2
                                                              : bytes;
    unsigned char *data = calloc(1, bytes + 8);
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;

    assert_non_null(data);
    for (size_t i = is_text || is_sparse ? 0 : random_from; i < bytes; i += 8) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        if (is_text) {
            char digits[24];

            snprintf(digits, sizeof digits, "%08u", (unsigned)((state >> 40) % 1000 * 37));
            memcpy(data + i, digits, 8);
        } else if (!is_sparse || state >> 57 == 0) {
            uint64_t word = state ^ state >> 29;

            word *= 0xbf58476d1ce4e5b9u;
            word ^= word >> 32;
            memcpy(data + i, &word, 8);
        }
    }
    if (strcmp(content, "end") == 0 && bytes > 0)
        data[bytes - 1] = 1;
    return data;
}

/* A file of tests/vectors/s3backer.  Gives it. */
static inline unsigned char *
vector_read(const char *name, const char *kind, size_t *bytes)
{
    char path[512];
    unsigned char *data = malloc(128 * KIB);
    FILE *file;

    snprintf(path, sizeof path, "%s/tests/vectors/s3backer/%s.%s", TEST_SOURCE_DIR, name, kind);
    file = fopen(path, "rb");
    if (file == NULL || data == NULL)
        fail_msg("%s cannot be read", path);
    *bytes = fread(data, 1, 128 * KIB, file);
    fclose(file);
    return data;
}

/* What s3backer wrote at this level is read, and written the same. */
static inline void
expect_vector(const char *name, const char *level)
{
    struct fake_codec compressor;
    size_t body_bytes, plain_bytes;
    unsigned char *body = vector_read(name, "body", &body_bytes);
    unsigned char *plain = vector_read(name, "plain", &plain_bytes);
    struct fake_coded coded;

    compressor_open(&compressor, level);
    expect_plain(&compressor, body, body_bytes, plain, plain_bytes);
    coded = encode(&compressor, plain, plain_bytes);
    assert_int_equal(coded.status, BD_OK);
    assert_int_equal(coded.len, body_bytes);
    assert_memory_equal(coded.data, body, body_bytes);
    free(coded.data);
    fake_codec_free(&compressor);
    free(body);
    free(plain);
}

/* ---- the contract */

TEST(compress, it_says_that_it_compresses_and_may_decline)
{
    const struct bd_plugin *plugin = plugin_of(COMPRESS_PLUGIN);

    assert_int_equal(plugin->codecs->traits, BD_CODEC_COMPRESSES | BD_CODEC_MAY_DECLINE);
    assert_string_equal(plugin->options->def, COMPRESS_DEFAULT);
}

static inline void
there_and_back(struct fake_codec *compressor, const char *content, size_t bytes)
{
    unsigned char *plain = content_of(content, bytes, bytes);
    struct fake_coded coded = encode(compressor, plain, bytes);

    if (coded.status == BD_OK) {
        assert_true(coded.len < bytes);
        expect_plain(compressor, coded.data, coded.len, plain, bytes);
    } else if (bytes >= 512) {
        assert_string_equal(content, "random");
    }
    assert_false(strcmp(content, "random") == 0 && coded.status == BD_OK);
    free(coded.data);
    free(plain);
}

TEST(compress, blocks_of_every_size_go_there_and_back)
{
    struct fake_codec compressor;

    compressor_open(&compressor, COMPRESS_DEFAULT);
    for (size_t bytes = 512; bytes <= MIB; bytes *= 2) {
        for (unsigned i = 0; i < sizeof contents / sizeof contents[0]; i++)
            there_and_back(&compressor, contents[i], bytes);
    }
    there_and_back(&compressor, "half", 4 * MIB);
    there_and_back(&compressor, "end", 64 * MIB); /* as large as a block can be */
    /* What a layer before leaves has any length. */
    for (size_t bytes = 0; bytes < 700; bytes++)
        there_and_back(&compressor, contents[bytes % 6], bytes);
    fake_codec_free(&compressor);
}

TEST(compress, a_used_worker_writes_what_a_new_one_does)
{
    struct fake_codec used, fresh;

    compressor_open(&used, COMPRESS_DEFAULT);
    for (unsigned round = 0; round < 60; round++) {
        size_t bytes = (size_t)512 << round % 11;
        unsigned char *plain = content_of(contents[round % 6], bytes, round);
        struct fake_coded first, second;

        compressor_open(&fresh, COMPRESS_DEFAULT);
        first = encode(&fresh, plain, bytes);
        second = encode(&used, plain, bytes);
        assert_int_equal(first.status, second.status);
        if (first.status == BD_OK) {
            assert_int_equal(first.len, second.len);
            assert_memory_equal(first.data, second.data, first.len);
        }
        free(first.data);
        free(second.data);
        free(plain);
        fake_codec_free(&fresh);
    }
    fake_codec_free(&used);
}

TEST(compress, less_room_than_its_bound_is_an_error_of_the_caller)
{
    struct fake_codec compressor;
    struct fake_coded coded;

    compressor_open(&compressor, COMPRESS_DEFAULT);
    coded = fake_encode_in(&compressor, NULL, anywhere,
                           (struct bd_bytes){ "the same the same the same", 26 }, 20);
    assert_int_equal(coded.status, BD_INVALID);
    assert_non_null(strstr(coded.why.text, "26 bytes with room for 20"));
    free(coded.data);
    fake_codec_free(&compressor);
}

/* Whatever the stream holds: never more than there is room for. */
TEST(compress, what_needs_more_room_than_there_is_is_damaged)
{
    const size_t bytes = 4 * KIB;
    struct fake_codec compressor;

    compressor_open(&compressor, COMPRESS_DEFAULT);
    for (unsigned i = 0; i < 5; i++) {
        unsigned char *plain = content_of(contents[i], bytes, i);
        struct fake_coded coded = encode(&compressor, plain, bytes);

        for (size_t cap = 1; cap < bytes; cap += cap < 600 || cap > bytes - 300 ? 1 : 61)
            expect_corrupt(&compressor, coded.data, coded.len, cap, 0, " more than ");
        expect_corrupt(&compressor, coded.data, coded.len, bytes - 1, bytes - 1, " more than ");
        free(coded.data);
        free(plain);
    }
    fake_codec_free(&compressor);
}

/* 64 MiB in a few KiB, for a block of 4 KiB. */
TEST(compress, a_bomb_does_not_go_off)
{
    unsigned char *plain = content_of("zeros", 64 * MIB, 0);
    struct fake_codec compressor;
    struct fake_coded coded;

    compressor_open(&compressor, COMPRESS_DEFAULT);
    coded = encode(&compressor, plain, 64 * MIB);
    assert_true(coded.len < 128 * KIB);
    expect_corrupt(&compressor, coded.data, coded.len, 4096, 4096, " more than 4096");
    expect_corrupt(&compressor, coded.data, coded.len, 64 * MIB - 1, 0, " more than 67108863");
    free(coded.data);
    free(plain);
    fake_codec_free(&compressor);
}

TEST(compress, what_holds_less_than_a_block_is_damaged_unless_any_length_will_do)
{
    unsigned char *plain = content_of("text", 4096, 1);
    struct fake_codec compressor;
    struct fake_coded coded, back;

    compressor_open(&compressor, COMPRESS_DEFAULT);
    coded = encode(&compressor, plain, 4095);
    expect_corrupt(&compressor, coded.data, coded.len, 4096, 4096, "4095 bytes instead of 4096");
    back = decode(&compressor, coded.data, coded.len, 4096, 0);
    assert_int_equal(back.status, BD_OK);
    assert_int_equal(back.len, 4095);
    assert_memory_equal(back.data, plain, 4095);
    free(back.data);
    free(coded.data);
    free(plain);
    fake_codec_free(&compressor);
}

TEST(compress, a_stream_cut_anywhere_is_damaged)
{
    struct fake_codec compressor;

    compressor_open(&compressor, COMPRESS_DEFAULT);
    for (unsigned i = 0; i < 5; i++) {
        unsigned char *plain = content_of(contents[i], 2048, i);
        struct fake_coded coded = encode(&compressor, plain, 2048);

        assert_int_equal(coded.status, BD_OK);
        for (size_t len = 0; len < coded.len; len++)
            expect_corrupt(&compressor, coded.data, len, 2048, 2048, "");
        for (size_t len = 12; len < coded.len; len++) /* behind any header */
            expect_corrupt(&compressor, coded.data, len, 4096, 0, "ends early");
        free(coded.data);
        free(plain);
    }
    fake_codec_free(&compressor);
}

/* Each bit, each byte, and pieces of noise.  Whatever comes of it, nothing is overrun, and the worker is as good as
 * before. */
TEST(compress, damage_anywhere_harms_nothing_else)
{
    struct fake_codec compressor;
    unsigned noticed = 0, flips = 0;

    compressor_open(&compressor, COMPRESS_DEFAULT);
    for (unsigned i = 0; i < 5; i++) {
        unsigned char *plain = content_of(contents[i], 1024, i);
        struct fake_coded coded = encode(&compressor, plain, 1024);
        unsigned char *body = malloc(coded.len);

        assert_non_null(body);
        for (size_t bit = 0; bit < 8 * coded.len; bit++, flips++) {
            struct fake_coded back;

            memcpy(body, coded.data, coded.len);
            body[bit / 8] ^= (unsigned char)(1u << bit % 8);
            back = decode(&compressor, body, coded.len, 1024, 1024);
            assert_true(back.status == BD_OK || back.status == BD_CORRUPT);
            assert_true((back.status == BD_CORRUPT) == (back.why.text[0] != '\0'));
            if (back.status == BD_OK && COMPRESS_NOTICES_FLIPS) /* a bit that means nothing */
                assert_memory_equal(back.data, plain, 1024);
            noticed += back.status == BD_CORRUPT;
            free(back.data);
            if (bit % 64 == 0)
                expect_plain(&compressor, coded.data, coded.len, plain, 1024);
        }
        for (size_t at = 0; at + 4 < coded.len; at++) {
            struct fake_coded back;

            memcpy(body, coded.data, coded.len);
            memset(body + at, (int)(at * 37), coded.len - at < 40 ? coded.len - at : 40);
            back = decode(&compressor, body, coded.len, 1024, 0);
            assert_true(back.status == BD_OK || back.status == BD_CORRUPT);
            free(back.data);
        }
        expect_plain(&compressor, coded.data, coded.len, plain, 1024);
        free(body);
        free(coded.data);
        free(plain);
    }
    assert_true(noticed > (COMPRESS_NOTICES_FLIPS ? flips * 99 / 100 : 0));
    fake_codec_free(&compressor);
}

TEST(compress, random_bytes_are_no_stream)
{
    struct fake_codec compressor;

    compressor_open(&compressor, COMPRESS_DEFAULT);
    for (unsigned i = 0; i < 2000; i++) {
        unsigned char *noise = content_of("random", 300, i);

        expect_corrupt(&compressor, noise, i % 300, 4096, 4096, "");
        free(noise);
    }
    fake_codec_free(&compressor);
}

/* ---- many threads with one instance, each with a worker of its own */

struct compress_thread {
    pthread_t thread;
    struct fake_codec *compressor;
    unsigned number;
    unsigned wrong; /* assertions belong to the main thread */
    unsigned char *plain[6];
};

static inline void *
compress_thread_main(void *arg)
{
    struct compress_thread *mine = arg;
    struct fake_codec *compressor = mine->compressor;
    void *worker = fake_worker_new(compressor);

    for (unsigned round = 0; round < 200; round++) {
        size_t bytes = 16 * KIB - round * 7;
        unsigned char *plain = mine->plain[round % 6];
        struct fake_coded coded =
            fake_encode_in(compressor, worker, anywhere, (struct bd_bytes){ plain, bytes }, 0);

        if (coded.status == BD_OK) {
            struct fake_coded back =
                fake_decode_plain_in(compressor, worker, (struct bd_bytes){ coded.data, coded.len },
                                     bytes, round % 2 ? bytes : 0);

            mine->wrong +=
                back.status != BD_OK || back.len != bytes || memcmp(back.data, plain, bytes) != 0;
            free(back.data);
            back = fake_decode_plain_in(compressor, worker,
                                        (struct bd_bytes){ coded.data, coded.len - 1 }, bytes, 0);
            mine->wrong += back.status != BD_CORRUPT;
            free(back.data);
        }
        mine->wrong += coded.status != (round % 6 != 5 ? BD_OK : BD_DECLINED);
        free(coded.data);
    }
    fake_worker_free(compressor, worker);
    return NULL;
}

TEST(compress, many_threads_use_one_instance)
{
    struct compress_thread threads[8];
    struct fake_codec compressor;

    compressor_open(&compressor, COMPRESS_DEFAULT);
    for (unsigned i = 0; i < 8; i++) {
        threads[i] = (struct compress_thread){ .compressor = &compressor, .number = i };
        for (unsigned j = 0; j < 6; j++)
            threads[i].plain[j] = content_of(contents[j], 16 * KIB, i);
        assert_int_equal(
            pthread_create(&threads[i].thread, NULL, compress_thread_main, &threads[i]), 0);
    }
    for (unsigned i = 0; i < 8; i++) {
        pthread_join(threads[i].thread, NULL);
        assert_int_equal(threads[i].wrong, 0);
        for (unsigned j = 0; j < 6; j++)
            free(threads[i].plain[j]);
    }
    fake_codec_free(&compressor);
}

#define COMPRESS_CONTRACT                                                                          \
    RUN(compress, it_says_that_it_compresses_and_may_decline),                                     \
        RUN(compress, blocks_of_every_size_go_there_and_back),                                     \
        RUN(compress, a_used_worker_writes_what_a_new_one_does),                                   \
        RUN(compress, less_room_than_its_bound_is_an_error_of_the_caller),                         \
        RUN(compress, what_needs_more_room_than_there_is_is_damaged),                              \
        RUN(compress, a_bomb_does_not_go_off),                                                     \
        RUN(compress, what_holds_less_than_a_block_is_damaged_unless_any_length_will_do),          \
        RUN(compress, a_stream_cut_anywhere_is_damaged),                                           \
        RUN(compress, damage_anywhere_harms_nothing_else),                                         \
        RUN(compress, random_bytes_are_no_stream), RUN(compress, many_threads_use_one_instance)

#endif
