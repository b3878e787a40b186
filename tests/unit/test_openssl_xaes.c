/* SPDX-License-Identifier: Apache-2.0 */
/* plugins/crypto-openssl: xaes-256-gcm by the contract of its kind, and by the test vectors of its specification
 * (https://c2sp.org/XAES-256-GCM). */
#define AEAD_PLUGIN "crypto-openssl"
#define AEAD_TOKEN "xaes-256-gcm"
#include "aead_contract.h"

#include <openssl/evp.h>
#include <stdio.h>

/* With this key and nonce, the text becomes these digits, and comes back from them. */
static void
expect_vector(const char *key, const char *associated, const char *digits)
{
    struct fake_place place = { .associated = { associated, strlen(associated) } };
    unsigned char expected[64], key_bytes[64];
    size_t len = fake_unhex(digits, expected, sizeof expected);
    struct fake_codec codec;
    struct fake_coded coded;

    fake_codec_init(&codec, AEAD_PLUGIN, AEAD_TOKEN);
    memset(key_bytes, key[0], sizeof key_bytes);
    codec.host.key = key_bytes;
    codec.host.random = (const unsigned char *)"ABCDEFGHIJKLMNOPQRSTUVWX";
    fake_codec_open(&codec, AEAD_TOKEN);
    coded = fake_encode(&codec, place, "XAES-256-GCM", 12);
    assert_int_equal(coded.len, AEAD_NONCE_BYTES + len);
    assert_memory_equal(coded.data, "ABCDEFGHIJKLMNOPQRSTUVWX", AEAD_NONCE_BYTES);
    assert_memory_equal(coded.data + AEAD_NONCE_BYTES, expected, len);
    fake_decodes_to(&codec, place, aead_body(&coded), NULL, "XAES-256-GCM", 12);
    fake_coded_clear(&coded);
    fake_codec_free(&codec);
}

/* One for each value of the first bit of AES(key, 0). */
TEST(xaes, the_vectors_of_the_specification)
{
    expect_vector("\x01", "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271");
    expect_vector("\x03", "c2sp.org/XAES-256-GCM",
                  "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d");
}

/* What SHAKE-128 of nothing gives, of which OpenSSL 3.0 makes all at once. */
static unsigned char *
shake_stream(size_t bytes)
{
    EVP_MD_CTX *shake = EVP_MD_CTX_new();
    unsigned char *stream = malloc(bytes);

    assert_non_null(shake);
    assert_non_null(stream);
    assert_int_equal(EVP_DigestInit_ex2(shake, EVP_shake128(), NULL), 1);
    assert_int_equal(EVP_DigestFinalXOF(shake, stream, bytes), 1);
    EVP_MD_CTX_free(shake);
    return stream;
}

/* So many keys, nonces, texts and associated data out of the stream; returns how many bytes of it they were. */
static size_t
hash_bodies(const unsigned char *stream, unsigned count, EVP_MD_CTX *hash)
{
    const unsigned char *next = stream, *text;
    struct fake_codec codec;

    fake_codec_init(&codec, AEAD_PLUGIN, AEAD_TOKEN);
    for (unsigned i = 0; i < count; i++) {
        struct fake_place place = { 0 };
        struct fake_coded coded;
        size_t len;

        codec.host.key = next;
        codec.host.random = next + 32;
        next += 32 + AEAD_NONCE_BYTES;
        len = *next++;
        text = next;
        next += len;
        place.associated = (struct bd_bytes){ next + 1, *next };
        next += 1 + *next;
        fake_codec_open(&codec, AEAD_TOKEN);
        coded = fake_encode(&codec, place, text, len);
        fake_decodes_to(&codec, place, aead_body(&coded), NULL, text, len);
        assert_int_equal(
            EVP_DigestUpdate(hash, coded.data + AEAD_NONCE_BYTES, coded.len - AEAD_NONCE_BYTES), 1);
        fake_coded_clear(&coded);
        fake_codec_close(&codec);
    }
    fake_codec_free(&codec);
    return (size_t)(next - stream);
}

/* Of the two accumulated vectors the one of 10000 bodies; that of a million takes minutes. */
TEST(xaes, the_accumulated_vector_of_the_specification)
{
    const unsigned count = 10000;
    const size_t bytes =
        (size_t)count * (32 + AEAD_NONCE_BYTES + 2 + 2 * 140); /* on average 2 * 127.5 */
    unsigned char *stream = shake_stream(bytes), sum[32], expected[32];
    EVP_MD_CTX *hash = EVP_MD_CTX_new();

    assert_non_null(hash);
    assert_int_equal(EVP_DigestInit_ex2(hash, EVP_shake128(), NULL), 1);
    assert_true(hash_bodies(stream, count, hash) <= bytes);
    assert_int_equal(EVP_DigestFinalXOF(hash, sum, sizeof sum), 1);
    fake_unhex("e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939", expected,
               sizeof expected);
    assert_memory_equal(sum, expected, sizeof sum);
    EVP_MD_CTX_free(hash);
    free(stream);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        AEAD_CONTRACT,
        RUN(xaes, the_vectors_of_the_specification),
        RUN(xaes, the_accumulated_vector_of_the_specification),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
