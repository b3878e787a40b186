/* SPDX-License-Identifier: Apache-2.0 */
/* What every authenticated cipher of format 2 must do, whichever plugin has it.  A test program says whom it means,
 * and runs these among its own:
 *
 *     #define AEAD_PLUGIN "crypto-openssl"
 *     #define AEAD_TOKEN "xaes-256-gcm"
 *     #include "aead_contract.h"
 *     … const struct CMUnitTest tests[] = { AEAD_CONTRACT, RUN(…), … };
 *
 * All of them have the same body: a random nonce of 24 bytes, the ciphertext, a tag of 16 bytes; and take a key of
 * 32 bytes for the purpose "codec TOKEN". */
#ifndef UNIT_AEAD_CONTRACT_H
#define UNIT_AEAD_CONTRACT_H

#include "fake_codec.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define AEAD_NONCE_BYTES 24u
#define AEAD_TAG_BYTES 16u
#define AEAD_MORE_BYTES (AEAD_NONCE_BYTES + AEAD_TAG_BYTES)

static const struct fake_place aead_place = { .block = 7,
                                              .associated = { "volume 1, block 7", 17 } };

static struct bd_bytes
aead_body(const struct fake_coded *coded)
{
    return (struct bd_bytes){ coded->data, coded->len };
}

static void
aead_open(struct fake_codec *codec)
{
    fake_codec_init(codec, AEAD_PLUGIN, AEAD_TOKEN);
    fake_codec_open(codec, AEAD_TOKEN);
}

static unsigned char *
aead_bytes(size_t bytes)
{
    unsigned char *data = malloc(bytes + 1);

    assert_non_null(data);
    for (size_t i = 0; i < bytes; i++)
        data[i] = (unsigned char)(i * 7 + (i >> 8) * 31 + 3);
    return data;
}

TEST(aead, it_says_that_it_encrypts_and_authenticates)
{
    struct fake_codec codec;

    fake_codec_init(&codec, AEAD_PLUGIN, AEAD_TOKEN);
    assert_int_equal(codec.codec->traits,
                     BD_CODEC_ENCRYPTS | BD_CODEC_AUTHENTICATES | BD_CODEC_BINDS);
    assert_string_equal(codec.codec->token, AEAD_TOKEN);
    fake_codec_free(&codec);
}

TEST(aead, its_key_is_the_volumes_for_its_purpose)
{
    struct fake_codec codec;

    aead_open(&codec);
    assert_string_equal(codec.host.purpose, "codec " AEAD_TOKEN);
    assert_int_equal(codec.host.key_bytes, 32);
    assert_int_equal(codec.host.passwords, 0);
    fake_codec_free(&codec);
}

TEST(aead, a_volume_without_a_key_is_refused_in_one_sentence)
{
    struct fake_codec codec;

    fake_codec_init(&codec, AEAD_PLUGIN, AEAD_TOKEN);
    codec.host.key = NULL;
    fake_codec_refused(&codec, AEAD_TOKEN, BD_UNSUPPORTED, "a volume of format 2 with a key");
    fake_codec_free(&codec);
}

TEST(aead, without_memory_for_secrets_it_does_not_open)
{
    struct fake_codec codec;
    enum bd_status status = BD_FATAL;
    int left = 0;

    fake_codec_init(&codec, AEAD_PLUGIN, AEAD_TOKEN);
    for (; left < 20 && status != BD_OK; left++) {
        codec.host.secrets_left = left;
        status = fake_codec_try(&codec, AEAD_TOKEN);
        assert_true(status == BD_OK || status == BD_FATAL);
    }
    assert_int_equal(status, BD_OK);
    assert_true(left > 1); /* keys are in such memory */
    fake_codec_free(&codec);
}

TEST(aead, blocks_of_every_length_go_there_and_back)
{
    static const size_t lengths[] = { 511, 512, 4095, 4096, 4097, 65536, 1048576, 3 * 1048576 + 5 };
    unsigned char *plain = aead_bytes(4 * 1048576);
    struct fake_codec codec;

    aead_open(&codec);
    for (size_t i = 0; i < 130 + sizeof lengths / sizeof lengths[0]; i++) {
        size_t len = i < 130 ? i : lengths[i - 130];
        struct fake_coded coded = fake_encode(&codec, aead_place, plain, len);

        assert_int_equal(coded.len, len + AEAD_MORE_BYTES);
        assert_int_equal(codec.codec->bound(codec.handle, len), len + AEAD_MORE_BYTES);
        assert_int_equal(coded.attrs.count, 0);
        fake_decodes_to(&codec, aead_place, aead_body(&coded), NULL, plain, len);
        fake_coded_clear(&coded);
    }
    free(plain);
    fake_codec_free(&codec);
}

TEST(aead, the_body_begins_with_a_nonce_of_the_hosts_randomness)
{
    const unsigned char *nonces =
        (const unsigned char *)"ABCDEFGHIJKLMNOPQRSTUVWXabcdefghijklmnopqrstuvwx";
    struct fake_codec codec;
    struct fake_coded first, second;

    aead_open(&codec);
    codec.host.random = nonces;
    first = fake_encode(&codec, aead_place, "the same", 8);
    second = fake_encode(&codec, aead_place, "the same", 8);
    assert_ptr_equal(codec.host.random, nonces + 2 * AEAD_NONCE_BYTES);
    assert_memory_equal(first.data, nonces, AEAD_NONCE_BYTES);
    assert_memory_equal(second.data, nonces + AEAD_NONCE_BYTES, AEAD_NONCE_BYTES);
    assert_memory_not_equal(first.data + AEAD_NONCE_BYTES, second.data + AEAD_NONCE_BYTES, 8);
    assert_memory_not_equal(first.data + AEAD_NONCE_BYTES, "the same", 8);
    fake_coded_clear(&first);
    fake_coded_clear(&second);
    fake_codec_free(&codec);
}

/* Every bit of the nonce counts, of both halves if it is used in halves; so does every bit of text and tag. */
TEST(aead, a_bit_flipped_anywhere_is_detected)
{
    unsigned char *plain = aead_bytes(100);
    struct fake_codec codec;
    struct fake_coded coded;

    aead_open(&codec);
    coded = fake_encode(&codec, aead_place, plain, 100);
    for (size_t bit = 0; bit < 8 * coded.len; bit++) {
        coded.data[bit / 8] ^= (unsigned char)(1u << bit % 8);
        fake_corrupt(&codec, aead_place, aead_body(&coded), NULL, 100, "not authenticated");
        coded.data[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    fake_decodes_to(&codec, aead_place, aead_body(&coded), NULL, plain, 100);
    fake_coded_clear(&coded);
    free(plain);
    fake_codec_free(&codec);
}

TEST(aead, a_body_of_another_length_is_detected)
{
    unsigned char *plain = aead_bytes(100);
    struct fake_codec codec;
    struct fake_coded coded;
    unsigned char *longer;

    aead_open(&codec);
    coded = fake_encode(&codec, aead_place, plain, 100);
    for (size_t len = 0; len < coded.len; len++)
        fake_corrupt(&codec, aead_place, (struct bd_bytes){ coded.data, len }, NULL, 100,
                     "not authenticated");
    for (size_t first = 1; first <= coded.len; first++)
        fake_corrupt(&codec, aead_place, (struct bd_bytes){ coded.data + first, coded.len - first },
                     NULL, 100, "not authenticated");
    longer = calloc(1, coded.len + 50);
    assert_non_null(longer);
    memcpy(longer, coded.data, coded.len);
    for (size_t more = 1; more < 50; more++)
        fake_corrupt(&codec, aead_place, (struct bd_bytes){ longer, coded.len + more }, NULL, 200,
                     "not authenticated");
    free(longer);
    fake_coded_clear(&coded);
    free(plain);
    fake_codec_free(&codec);
}

TEST(aead, associated_data_that_differs_at_all_is_detected)
{
    unsigned char associated[40];
    struct fake_place place = { .block = 7, .associated = { associated, 32 } };
    struct fake_codec codec;
    struct fake_coded coded;

    aead_open(&codec);
    for (unsigned i = 0; i < sizeof associated; i++)
        associated[i] = (unsigned char)i;
    coded = fake_encode(&codec, place, "a block", 7);
    for (unsigned bit = 0; bit < 8 * 32; bit++) {
        associated[bit / 8] ^= (unsigned char)(1u << bit % 8);
        fake_corrupt(&codec, place, aead_body(&coded), NULL, 7, "not authenticated");
        associated[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    for (place.associated.len = 0; place.associated.len <= sizeof associated;
         place.associated.len++) {
        if (place.associated.len != 32)
            fake_corrupt(&codec, place, aead_body(&coded), NULL, 7, "not authenticated");
    }
    place.associated.len = 32;
    fake_decodes_to(&codec, place, aead_body(&coded), NULL, "a block", 7);
    fake_coded_clear(&coded);
    fake_codec_free(&codec);
}

/* The host has put the number of the block into the associated data; the codec adds nothing of its own. */
TEST(aead, nothing_but_the_associated_data_is_bound)
{
    struct fake_place place = aead_place;
    struct fake_codec codec;
    struct fake_coded coded;

    aead_open(&codec);
    coded = fake_encode(&codec, place, "a block", 7);
    place.block = 8;
    fake_decodes_to(&codec, place, aead_body(&coded), NULL, "a block", 7);
    place.associated = (struct bd_bytes){ NULL, 0 };
    fake_coded_clear(&coded);
    coded = fake_encode(&codec, place, "a block", 7);
    fake_decodes_to(&codec, place, aead_body(&coded), NULL, "a block", 7);
    fake_coded_clear(&coded);
    fake_codec_free(&codec);
}

TEST(aead, another_key_is_detected)
{
    struct fake_codec writer, reader;
    struct fake_coded coded;
    unsigned char key[64];

    aead_open(&writer);
    coded = fake_encode(&writer, aead_place, "a block", 7);
    memcpy(key, writer.host.key, sizeof key);
    for (unsigned bit = 0; bit < 8 * 32; bit++) {
        fake_codec_init(&reader, AEAD_PLUGIN, AEAD_TOKEN);
        key[bit / 8] ^= (unsigned char)(1u << bit % 8);
        reader.host.key = key;
        fake_codec_open(&reader, AEAD_TOKEN);
        fake_corrupt(&reader, aead_place, aead_body(&coded), NULL, 7, "not authenticated");
        key[bit / 8] ^= (unsigned char)(1u << bit % 8);
        fake_codec_free(&reader);
    }
    aead_open(&reader); /* of the right key, another instance */
    fake_decodes_to(&reader, aead_place, aead_body(&coded), NULL, "a block", 7);
    fake_codec_free(&reader);
    fake_coded_clear(&coded);
    fake_codec_free(&writer);
}

/* Whether it wiped them, or never wrote them but zeros: fake_codec.c fills the room with other bytes. */
TEST(aead, bytes_that_are_not_authentic_are_not_given)
{
    static const unsigned char zeros[4096];
    unsigned char *plain = aead_bytes(4096);
    struct fake_codec codec;
    struct fake_coded coded, refused;

    aead_open(&codec);
    coded = fake_encode(&codec, aead_place, plain, 4096);
    coded.data[coded.len - 1] ^= 1;
    refused = fake_decode_in(&codec, NULL, aead_place, aead_body(&coded), NULL, 4096);
    assert_int_equal(refused.status, BD_CORRUPT);
    assert_memory_equal(refused.data, zeros, sizeof zeros);
    fake_coded_clear(&refused);
    fake_coded_clear(&coded);
    free(plain);
    fake_codec_free(&codec);
}

TEST(aead, too_little_room_is_an_error_and_nothing_is_overrun)
{
    unsigned char *plain = aead_bytes(100);
    struct fake_codec codec;
    struct fake_coded coded, short_one;

    aead_open(&codec);
    coded = fake_encode(&codec, aead_place, plain, 100);
    for (size_t cap = 0; cap < 100; cap++)
        fake_corrupt(&codec, aead_place, aead_body(&coded), NULL, cap, "bytes");
    for (size_t cap = 1; cap < 100 + AEAD_MORE_BYTES; cap++) {
        short_one = fake_encode_in(&codec, NULL, aead_place, (struct bd_bytes){ plain, 100 }, cap);
        assert_int_equal(short_one.status, BD_INVALID);
        fake_coded_clear(&short_one);
    }
    fake_coded_clear(&coded);
    free(plain);
    fake_codec_free(&codec);
}

/* ---- many threads with one instance, each with a worker of its own */

#define AEAD_THREADS 8u
#define AEAD_ROUNDS 300u

struct aead_thread {
    pthread_t thread;
    struct fake_codec *codec;
    unsigned number;
    unsigned wrong; /* assertions belong to the main thread */
};

static void *
aead_thread_main(void *arg)
{
    struct aead_thread *mine = arg;
    struct fake_coded coded, back;
    char associated[32], plain[600];
    struct fake_place place = { .associated = { associated, sizeof associated } };
    void *worker = fake_worker_new(mine->codec);

    for (unsigned round = 0; round < AEAD_ROUNDS; round++) {
        size_t len = (round * 37 + mine->number) % sizeof plain;

        place.block = round;
        memset(plain, (int)(mine->number + round), sizeof plain);
        memset(associated, (int)(mine->number * 16 + round % 16), sizeof associated);
        coded = fake_encode_in(mine->codec, worker, place, (struct bd_bytes){ plain, len }, 0);
        back = fake_decode_in(mine->codec, worker, place, aead_body(&coded), NULL, sizeof plain);
        if (coded.status != BD_OK || back.status != BD_OK || back.len != len
            || memcmp(back.data, plain, len) != 0)
            mine->wrong++;
        fake_coded_clear(&back);
        associated[0] ^= 1; /* a failure leaves the worker as good as new */
        back = fake_decode_in(mine->codec, worker, place, aead_body(&coded), NULL, sizeof plain);
        if (back.status != BD_CORRUPT)
            mine->wrong++;
        fake_coded_clear(&back);
        fake_coded_clear(&coded);
    }
    fake_worker_free(mine->codec, worker);
    return NULL;
}

TEST(aead, many_threads_use_one_instance)
{
    struct aead_thread threads[AEAD_THREADS];
    struct fake_codec codec;

    aead_open(&codec);
    for (unsigned i = 0; i < AEAD_THREADS; i++) {
        threads[i] = (struct aead_thread){ .codec = &codec, .number = i };
        assert_int_equal(pthread_create(&threads[i].thread, NULL, aead_thread_main, &threads[i]),
                         0);
    }
    for (unsigned i = 0; i < AEAD_THREADS; i++) {
        pthread_join(threads[i].thread, NULL);
        assert_int_equal(threads[i].wrong, 0);
    }
    fake_codec_free(&codec);
}

#define AEAD_CONTRACT                                                                              \
    RUN(aead, it_says_that_it_encrypts_and_authenticates),                                         \
        RUN(aead, its_key_is_the_volumes_for_its_purpose),                                         \
        RUN(aead, a_volume_without_a_key_is_refused_in_one_sentence),                              \
        RUN(aead, without_memory_for_secrets_it_does_not_open),                                    \
        RUN(aead, blocks_of_every_length_go_there_and_back),                                       \
        RUN(aead, the_body_begins_with_a_nonce_of_the_hosts_randomness),                           \
        RUN(aead, a_bit_flipped_anywhere_is_detected),                                             \
        RUN(aead, a_body_of_another_length_is_detected),                                           \
        RUN(aead, associated_data_that_differs_at_all_is_detected),                                \
        RUN(aead, nothing_but_the_associated_data_is_bound), RUN(aead, another_key_is_detected),   \
        RUN(aead, bytes_that_are_not_authentic_are_not_given),                                     \
        RUN(aead, too_little_room_is_an_error_and_nothing_is_overrun),                             \
        RUN(aead, many_threads_use_one_instance)

#endif
