/* SPDX-License-Identifier: Apache-2.0 */
/* plugins/crypto-sodium: xchacha20-poly1305 by the contract of its kind, and by the published vector. */
#define AEAD_PLUGIN "crypto-sodium"
#define AEAD_TOKEN "xchacha20-poly1305"
#include "aead_contract.h"

/* draft-irtf-cfrg-xchacha-03, A.3.1 */
static const char vector_key[] = "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f";
static const char vector_nonce[] = "404142434445464748494a4b4c4d4e4f5051525354555657";
static const char vector_associated[] = "50515253c0c1c2c3c4c5c6c7";
static const char vector_text[] =
    "Ladies and Gentlemen of the class of '99: If I could offer you only "
    "one tip for the future, sunscreen would be it.";
static const char vector_sealed[] = "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396c"
                                    "bb731c7f1b0b4aa6440bf3a82f4eda7e39"
                                    "ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb"
                                    "9e3f3fac2bc369488f76b2383565d3fff9"
                                    "21f9664c97637da9768812f615c68b13b52e"
                                    "c0875924c1c7987947deafd8780acf49";

TEST(xchacha, the_vector_of_the_draft)
{
    const size_t text_bytes = sizeof vector_text - 1;
    unsigned char key[64], nonce[24], associated[12], sealed[160];
    size_t sealed_bytes = fake_unhex(vector_sealed, sealed, sizeof sealed);
    struct fake_place place = { .associated = { associated, sizeof associated } };
    struct fake_codec codec;
    struct fake_coded coded;

    fake_unhex(vector_key, key, sizeof key);
    fake_unhex(vector_nonce, nonce, sizeof nonce);
    fake_unhex(vector_associated, associated, sizeof associated);
    fake_codec_init(&codec, AEAD_PLUGIN, AEAD_TOKEN);
    codec.host.key = key;
    codec.host.random = nonce;
    fake_codec_open(&codec, AEAD_TOKEN);
    coded = fake_encode(&codec, place, vector_text, text_bytes);
    assert_int_equal(coded.len, sizeof nonce + sealed_bytes);
    assert_memory_equal(coded.data, nonce, sizeof nonce);
    assert_memory_equal(coded.data + sizeof nonce, sealed, sealed_bytes);
    fake_decodes_to(&codec, place, aead_body(&coded), NULL, vector_text, text_bytes);
    fake_coded_clear(&coded);
    fake_codec_free(&codec);
}

/* What lies in the buffer after a failure is none of the text, whichever byte of the tag is wrong. */
TEST(xchacha, nothing_is_decrypted_before_the_tag_is_right)
{
    unsigned char *plain = aead_bytes(1000), zeros[1000] = { 0 };
    struct fake_codec codec;
    struct fake_coded coded, refused;

    aead_open(&codec);
    coded = fake_encode(&codec, aead_place, plain, 1000);
    for (size_t i = 1; i <= AEAD_TAG_BYTES; i++) {
        coded.data[coded.len - i] ^= 0x80;
        refused = fake_decode_in(&codec, NULL, aead_place, aead_body(&coded), NULL, 1000);
        assert_int_equal(refused.status, BD_CORRUPT);
        assert_memory_equal(refused.data, zeros, 1000);
        fake_coded_clear(&refused);
        coded.data[coded.len - i] ^= 0x80;
    }
    fake_coded_clear(&coded);
    free(plain);
    fake_codec_free(&codec);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        AEAD_CONTRACT,
        RUN(xchacha, the_vector_of_the_draft),
        RUN(xchacha, nothing_is_decrypted_before_the_tag_is_right),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
