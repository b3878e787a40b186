/* SPDX-License-Identifier: Apache-2.0 */
/* plugins/crypto-openssl: s3backer's encryption, by objects that s3backer wrote (tests/vectors/s3backer), and by what
 * happens to objects that are not as it would write them. */
#include "fake_codec.h"

#include "base/util.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PLUGIN "crypto-openssl"
#define TAG_ATTR "s3backer-hmac"

static const struct fake_place place = { .block = 0x2a };

static struct bd_bytes
body_of(const struct fake_coded *coded)
{
    return (struct bd_bytes){ coded->data, coded->len };
}

/* With a key length, if not NULL. */
static void
open_with(struct fake_codec *codec, const char *token, const char *key_length)
{
    fake_codec_init(codec, PLUGIN, token);
    if (key_length != NULL)
        fake_codec_option(codec, PLUGIN, "key-length", key_length);
    fake_codec_open(codec, token);
}

static void
set_tag(struct attrs *attrs, const char *value)
{
    assert_int_equal(attrs_add(attrs, TAG_ATTR, value, strlen(value)), 0);
}

/* ---- objects of s3backer's */

static unsigned char *
vector_file(const char *name, size_t *bytes)
{
    static unsigned char data[65536 + 1024];
    char path[512];
    FILE *file;

    snprintf(path, sizeof path, "%s/tests/vectors/s3backer/%s", TEST_SOURCE_DIR, name);
    file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("no %s", path);
    *bytes = fread(data, 1, sizeof data, file);
    fclose(file);
    assert_true(*bytes < sizeof data);
    return data;
}

static const char *
vector_header(json_t *vector, const char *name)
{
    size_t i;
    json_t *header;

    json_array_foreach(json_object_get(vector, "headers"), i, header)
    {
        if (strcasecmp(json_string_value(json_array_get(header, 0)), name) == 0)
            return json_string_value(json_array_get(header, 1));
    }
    fail_msg("the vector has no header %s", name);
    return NULL;
}

/* Decode the layer of the encryption, encode what comes out, and be back; with the key length found, and then with
 * that of the command line. */
static void
expect_vector(const char *name, bool gives_length)
{
    char file_name[80], length[16];
    size_t bytes;
    json_t *vector, *encryption;
    const char *token, *tag;
    struct fake_place at = { 0 };
    struct attrs attrs = { 0 };
    struct fake_codec codec;
    struct fake_coded text, again;
    unsigned char *body;

    snprintf(file_name, sizeof file_name, "%s.json", name);
    body = vector_file(file_name, &bytes);
    vector = json_loadb((char *)body, bytes, 0, NULL);
    encryption = json_object_get(vector, "encryption");
    token = strrchr(vector_header(vector, "content-encoding"), ' ') + 1;
    tag = vector_header(vector, "x-amz-meta-s3backer-hmac");
    at.block = (uint64_t)json_integer_value(json_object_get(vector, "block_number"));
    set_tag(&attrs, tag);

    fake_codec_init(&codec, PLUGIN, token);
    codec.host.passphrase = json_string_value(json_object_get(encryption, "password"));
    codec.host.salt = json_string_value(json_object_get(encryption, "pbkdf2_salt"));
    if (gives_length) {
        snprintf(length, sizeof length, "%d",
                 (int)json_integer_value(json_object_get(encryption, "key_length_option")));
        fake_codec_option(&codec, PLUGIN, "key-length", length);
    }
    fake_codec_open(&codec, token);
    assert_string_equal(codec.codec->written(codec.handle), token);
    snprintf(file_name, sizeof file_name, "%s.body", name);
    body = vector_file(file_name, &bytes);
    text = fake_decode_in(&codec, NULL, at, (struct bd_bytes){ body, bytes }, &attrs, 65536);
    if (text.status != BD_OK)
        fail_msg("%s: %s", name, text.why.text);
    /* What zlib's and zstd's streams begin with; the story of s3backer decompresses them. */
    assert_true(text.data[0] == 0x78 || memcmp(text.data, "\x28\xb5\x2f\xfd", 4) == 0);
    again = fake_encode(&codec, at, text.data, text.len);
    assert_int_equal(again.len, bytes);
    assert_memory_equal(again.data, body, bytes);
    assert_int_equal(again.attrs.count, 1);
    assert_string_equal(again.attrs.list[0].name, TAG_ATTR);
    assert_int_equal(again.attrs.list[0].value_bytes, strlen(tag));
    assert_memory_equal(again.attrs.list[0].value, tag, strlen(tag));
    fake_coded_clear(&text);
    fake_coded_clear(&again);
    attrs_clear(&attrs);
    fake_codec_free(&codec);
    json_decref(vector);
}

TEST(s3backer, its_objects_are_decoded_and_encoded_to_the_same_bytes)
{
    static const char *const names[] = {
        "05-aes128.00000000",
        "05-aes128.0000002a",
        "06-aes256-prefix.00000000",
        "06-aes256-prefix.000000ff",
        "07-aes128-keylen64-hash.00000000",
        "07-aes128-keylen64-hash.00000080",
        "08-3des.00000005",
        "10-zstd-aes256-216.00000000",
        "10-zstd-aes256-216.00000033",
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        expect_vector(names[i], false);
        expect_vector(names[i], true);
    }
}

/* ---- tokens and ciphers */

static void
expect_written(const char *token, const char *written)
{
    struct fake_codec codec;

    open_with(&codec, token, NULL);
    assert_string_equal(codec.codec->written(codec.handle), written);
    fake_codec_free(&codec);
}

TEST(s3backer, tokens_are_written_with_the_names_that_openssl_gives_its_ciphers)
{
    expect_written("aes", "encrypt-AES-128-CBC");
    expect_written("AES", "encrypt-AES-128-CBC");
    expect_written("encrypt-AES-128-CBC", "encrypt-AES-128-CBC");
    expect_written("Encrypt-aes128", "encrypt-AES-128-CBC");
    expect_written("ENCRYPT-AES256", "encrypt-AES-256-CBC");
    expect_written("encrypt-des3", "encrypt-DES-EDE3-CBC");
    expect_written("encrypt-camellia128", "encrypt-CAMELLIA-128-CBC");
    expect_written("encrypt-blowfish", "encrypt-BF-CBC");
    expect_written("encrypt-cast-cbc", "encrypt-CAST5-CBC");
}

TEST(s3backer, other_tokens_are_not_its)
{
    struct fake_codec codec;

    fake_codec_init(&codec, PLUGIN, "aes");
    assert_true(codec.codec->match("encrypt-aes-128-cbc"));
    assert_true(codec.codec->match("encrypt-rot13"));
    assert_false(codec.codec->match("encrypt"));
    assert_false(codec.codec->match("aes-256"));
    assert_false(codec.codec->match("deflate"));
    assert_int_equal(codec.codec->traits, BD_CODEC_ENCRYPTS | BD_CODEC_AUTHENTICATES);
    fake_codec_free(&codec);
}

TEST(s3backer, only_block_ciphers_in_cbc_mode_are_taken)
{
    static const struct {
        const char *token, *reason, *or_else;
    } refused[] = {
        { "encrypt-AES-128-ECB",
          "\"AES-128-ECB\" cannot be used: it is no block cipher in CBC mode" },
        { "encrypt-AES-128-CTR", "no block cipher in CBC mode" },
        { "encrypt-AES-128-CFB", "no block cipher in CBC mode" },
        { "encrypt-AES-128-OFB", "no block cipher in CBC mode" },
        { "encrypt-AES-128-GCM", "no block cipher in CBC mode" },
        { "encrypt-AES-128-WRAP", "no block cipher in CBC mode" },
        { "encrypt-ChaCha20", "no block cipher in CBC mode" },
        { "encrypt-RC4", "no block cipher in CBC mode" },
        { "encrypt-NULL", "no block cipher in CBC mode" },
        { "encrypt-AES-128-CBC-CTS", "a variant of CBC" },
        /* This one is there on processors that have instructions for it. */
        { "encrypt-AES-128-CBC-HMAC-SHA1", "a variant of CBC", "OpenSSL has no cipher" },
        { "encrypt-RC2-40-CBC", "shorter than its blocks" },
        { "encrypt-ROT13", "OpenSSL has no cipher \"ROT13\"" },
        { "encrypt-", "OpenSSL has no cipher \"\"" },
        { "encrypt-%n%s", "OpenSSL has no cipher \"%n%s\"" },
    };
    struct fake_codec codec;

    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        const char *reason = refused[i].reason;

        fake_codec_init(&codec, PLUGIN, refused[i].token);
        assert_int_equal(fake_codec_try(&codec, refused[i].token), BD_UNSUPPORTED);
        if (refused[i].or_else != NULL && strstr(codec.host.error, reason) == NULL)
            reason = refused[i].or_else;
        if (strstr(codec.host.error, reason) == NULL)
            fail_msg("%s: \"%s\"", refused[i].token, codec.host.error);
        fake_codec_free(&codec);
    }
}

static const char *const ciphers[] = {
    "encrypt-AES-128-CBC",      "encrypt-AES-192-CBC",  "encrypt-AES-256-CBC",
    "encrypt-CAMELLIA-256-CBC", "encrypt-ARIA-128-CBC", "encrypt-DES-EDE-CBC",
    "encrypt-DES-EDE3-CBC",     "encrypt-BF-CBC",       "encrypt-CAST5-CBC",
    "encrypt-RC2-CBC",          "encrypt-DES-CBC",      "encrypt-SEED-CBC",
};

TEST(s3backer, blocks_go_there_and_back_through_every_cipher_old_ones_too)
{
    unsigned char plain[131];
    struct fake_codec codec;

    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (unsigned char)(i * 7);
    for (size_t i = 0; i < ARRAY_LEN(ciphers); i++) {
        open_with(&codec, ciphers[i], NULL);
        for (size_t len = 0; len <= sizeof plain; len++) {
            struct fake_coded coded = fake_encode(&codec, place, plain, len);

            assert_int_equal(coded.len, codec.codec->bound(codec.handle, len));
            assert_true(coded.len > len && coded.len <= len + 16);
            fake_decodes_to(&codec, place, body_of(&coded), &coded.attrs, plain, len);
            fake_coded_clear(&coded);
        }
        fake_codec_free(&codec);
    }
}

TEST(s3backer, a_block_of_many_megabytes_goes_there_and_back)
{
    const size_t bytes = 9 * 1024 * 1024 + 3;
    unsigned char *plain = malloc(bytes);
    struct fake_codec codec;
    struct fake_coded coded;

    assert_non_null(plain);
    memset(plain, 0x5a, bytes);
    open_with(&codec, "aes", NULL);
    coded = fake_encode(&codec, place, plain, bytes);
    fake_decodes_to(&codec, place, body_of(&coded), &coded.attrs, plain, bytes);
    fake_coded_clear(&coded);
    fake_codec_free(&codec);
    free(plain);
}

/* Others in this process, TLS for one, are not offered what we load. */
TEST(s3backer, the_old_ciphers_are_loaded_for_nobody_else)
{
    struct fake_codec codec;

    open_with(&codec, "encrypt-BF-CBC", NULL);
    assert_false(OSSL_PROVIDER_available(NULL, "legacy"));
    fake_codec_free(&codec);
}

TEST(s3backer, old_ciphers_whose_module_is_missing_are_refused_and_new_ones_are_not)
{
    struct fake_codec codec;

    setenv("OPENSSL_MODULES", "/nonexistent", 1);
    fake_codec_init(&codec, PLUGIN, "aes");
    fake_codec_refused(&codec, "encrypt-BF-CBC", BD_UNSUPPORTED,
                       "\"BF-CBC\" is none of today's, and OpenSSL's module for those of the past, "
                       "the provider \"legacy\", cannot be loaded");
    fake_codec_free(&codec);
    open_with(&codec, "aes", NULL);
    fake_codec_free(&codec);
    unsetenv("OPENSSL_MODULES");
}

TEST(s3backer, without_a_password_it_is_refused)
{
    struct fake_codec codec;

    fake_codec_init(&codec, PLUGIN, "aes");
    codec.host.passphrase = NULL;
    fake_codec_refused(&codec, "aes", BD_UNSUPPORTED, "encrypt-AES-128-CBC needs a password");
    fake_codec_free(&codec);
}

TEST(s3backer, without_memory_for_secrets_it_does_not_open)
{
    struct fake_codec codec;

    fake_codec_init(&codec, PLUGIN, "aes");
    for (int left = 0; left < 2; left++) {
        codec.host.secrets_left = left;
        assert_int_equal(fake_codec_try(&codec, "aes"), BD_FATAL);
    }
    fake_codec_free(&codec);
}

/* ---- objects that are not as they were written */

TEST(s3backer, a_bit_flipped_anywhere_in_the_body_is_detected)
{
    struct fake_codec codec;
    struct fake_coded coded;
    unsigned char plain[75];

    memset(plain, 'x', sizeof plain);
    open_with(&codec, "aes", NULL);
    coded = fake_encode(&codec, place, plain, sizeof plain);
    for (size_t bit = 0; bit < 8 * coded.len; bit++) {
        coded.data[bit / 8] ^= (unsigned char)(1u << bit % 8);
        fake_corrupt(&codec, place, body_of(&coded), &coded.attrs, 4096, "not authenticated: ");
        coded.data[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    fake_decodes_to(&codec, place, body_of(&coded), &coded.attrs, plain, sizeof plain);
    fake_coded_clear(&coded);
    fake_codec_free(&codec);
}

TEST(s3backer, a_bit_flipped_anywhere_in_the_tag_is_detected_unless_it_is_the_case_of_a_digit)
{
    struct fake_codec codec;
    struct fake_coded coded;
    struct attrs attrs = { 0 };
    unsigned same = 0;
    char tag[43];

    open_with(&codec, "aes", NULL);
    coded = fake_encode(&codec, place, "a block", 7);
    for (size_t bit = 0; bit < (size_t)8 * 42; bit++) {
        memcpy(tag, coded.attrs.list[0].value, 43);
        tag[bit / 8] ^= (char)(1u << bit % 8);
        assert_int_equal(attrs_add(&attrs, TAG_ATTR, tag, 42), 0);
        if (bit % 8 == 5 && tag[bit / 8] >= 'A' && tag[bit / 8] <= 'F') {
            fake_decodes_to(&codec, place, body_of(&coded), &attrs, "a block", 7);
            same++;
        } else {
            fake_corrupt(&codec, place, body_of(&coded), &attrs, 4096, "not authenticated: ");
        }
    }
    assert_true(same > 0);
    attrs_clear(&attrs);
    fake_coded_clear(&coded);
    fake_codec_free(&codec);
}

TEST(s3backer, a_body_of_another_length_is_detected)
{
    struct fake_codec codec;
    struct fake_coded coded;
    unsigned char plain[75], longer[200] = { 0 };

    memset(plain, 'x', sizeof plain);
    open_with(&codec, "aes", NULL);
    coded = fake_encode(&codec, place, plain, sizeof plain);
    assert_int_equal(coded.len, 80);
    memcpy(longer, coded.data, coded.len);
    for (size_t len = 0; len < sizeof longer; len++) {
        if (len != coded.len)
            fake_corrupt(&codec, place, (struct bd_bytes){ longer, len }, &coded.attrs, 4096,
                         len == 0 || len % 16 != 0 ? "are no number of blocks of AES-128-CBC"
                                                   : "not authenticated: ");
    }
    fake_coded_clear(&coded);
    fake_codec_free(&codec);
}

TEST(s3backer, an_object_without_a_good_tag_is_not_authenticated)
{
    static const struct {
        const char *tag, *reason;
    } bad[] = {
        { "", "not in quotes" },
        { "\"", "not in quotes" },
        { "0123456789012345678901234567890123456789", "not in quotes" },
        { "\"0123456789012345678901234567890123456789", "not in quotes" },
        { "\"\"", "has not 40 digits" },
        { "\"012345678901234567890123456789012345678\"", "has not 40 digits" },
        { "\"01234567890123456789012345678901234567890\"", "has not 40 digits" },
        { "\"g123456789012345678901234567890123456789\"", "not hexadecimal" },
        { "\"012345678901234567890123456789012345678 \"", "not hexadecimal" },
        { "\"0000000000000000000000000000000000000000\"", "is zero" },
        { "\"0123456789012345678901234567890123456789\"", "wrong password" },
    };
    struct fake_codec codec;
    struct fake_coded coded;
    struct attrs attrs = { 0 };

    open_with(&codec, "aes", NULL);
    coded = fake_encode(&codec, place, "a block", 7);
    fake_codec_close(&codec); /* so that the next knows nothing */
    fake_codec_open(&codec, "aes");
    fake_corrupt(&codec, place, body_of(&coded), NULL, 4096,
                 "not authenticated: the attribute s3backer-hmac is missing");
    fake_corrupt(&codec, place, body_of(&coded), &attrs, 4096, "is missing");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        set_tag(&attrs, bad[i].tag);
        fake_corrupt(&codec, place, body_of(&coded), &attrs, 4096, "not authenticated: ");
        fake_corrupt(&codec, place, body_of(&coded), &attrs, 4096, bad[i].reason);
    }
    attrs_clear(&attrs);
    fake_coded_clear(&coded);
    fake_codec_free(&codec);
}

TEST(s3backer, a_block_under_the_number_of_another_is_detected)
{
    struct fake_codec codec;
    struct fake_coded coded;
    struct fake_place other = { .block = 0x2b };

    open_with(&codec, "aes", NULL);
    coded = fake_encode(&codec, place, "a block", 7);
    fake_decodes_to(&codec, place, body_of(&coded), &coded.attrs, "a block", 7);
    fake_corrupt(&codec, other, body_of(&coded), &coded.attrs, 7,
                 "not authenticated: damaged, or not of this block");
    fake_coded_clear(&coded);
    fake_codec_free(&codec);
}

TEST(s3backer, a_block_of_another_cipher_is_detected)
{
    struct fake_codec codec, other;
    struct fake_coded coded;

    open_with(&codec, "encrypt-AES-128-CBC", "32");
    open_with(&other, "encrypt-CAMELLIA-128-CBC", "32");
    coded = fake_encode(&codec, place, "a block", 7);
    fake_corrupt(&other, place, body_of(&coded), &coded.attrs, 7, "not authenticated: ");
    fake_coded_clear(&coded);
    fake_codec_free(&codec);
    fake_codec_free(&other);
}

/* Once a block has authenticated the password is not blamed any more. */
TEST(s3backer, a_wrong_password_or_salt_is_told_from_damage_as_far_as_can_be)
{
    struct fake_codec writer, reader;
    struct fake_coded coded;
    struct fake_place other = { .block = 1 };

    open_with(&writer, "aes", NULL);
    coded = fake_encode(&writer, place, "a block", 7);

    fake_codec_init(&reader, PLUGIN, "aes");
    reader.host.passphrase = "correct horse battery stable";
    fake_codec_open(&reader, "aes");
    fake_corrupt(&reader, place, body_of(&coded), &coded.attrs, 7,
                 "not authenticated: wrong password, or copied from another bucket or prefix, or "
                 "damaged");
    fake_codec_free(&reader);

    fake_codec_init(&reader, PLUGIN, "aes");
    reader.host.salt = "bucket/prefix";
    fake_codec_open(&reader, "aes");
    fake_corrupt(&reader, place, body_of(&coded), &coded.attrs, 7, "another bucket or prefix");
    fake_codec_free(&reader);

    open_with(&reader, "aes", NULL);
    fake_corrupt(&reader, other, body_of(&coded), &coded.attrs, 7, "wrong password");
    fake_decodes_to(&reader, place, body_of(&coded), &coded.attrs, "a block", 7);
    fake_corrupt(&reader, other, body_of(&coded), &coded.attrs, 7,
                 "not authenticated: damaged, or not of this block");
    fake_codec_free(&reader);
    fake_coded_clear(&coded);
    fake_codec_free(&writer);
}

TEST(s3backer, too_little_room_is_an_error_and_nothing_is_overrun)
{
    unsigned char plain[75] = { 0 };
    struct fake_codec codec;
    struct fake_coded coded, short_one;

    open_with(&codec, "aes", NULL);
    coded = fake_encode(&codec, place, plain, sizeof plain);
    for (size_t cap = 0; cap < sizeof plain; cap++)
        fake_corrupt(&codec, place, body_of(&coded), &coded.attrs, cap, "bytes, at most");
    for (size_t cap = 1; cap < 80; cap++) {
        short_one =
            fake_encode_in(&codec, NULL, place, (struct bd_bytes){ plain, sizeof plain }, cap);
        assert_int_equal(short_one.status, BD_INVALID);
        fake_coded_clear(&short_one);
    }
    fake_coded_clear(&coded);
    fake_codec_free(&codec);
}

/* The key of the fake host's password and salt. */
static void
derive_key(unsigned char key[64])
{
    assert_int_equal(PKCS5_PBKDF2_HMAC_SHA1("correct horse battery staple", -1,
                                            (const unsigned char *)"bucket/", 7, 5000, 64, key),
                     1);
}

/* Nobody without the key can make such an object; one who has it can. */
TEST(s3backer, padding_that_is_wrong_though_authentic_is_an_error)
{
    static const char head[] = "0000002aAES-128-CBC";
    unsigned char key[64], plain[40], input[sizeof head - 1 + 32], tag[20];
    struct fake_codec codec;
    struct fake_coded coded;
    struct attrs attrs = { 0 };
    char text[43] = "\"";

    derive_key(key);
    memset(plain, 'x', sizeof plain);
    open_with(&codec, "aes", NULL);
    coded = fake_encode(&codec, place, plain, sizeof plain);
    memcpy(input, head, sizeof head - 1);
    memcpy(input + sizeof head - 1, coded.data,
           32); /* without the last block, whose padding counts */
    assert_non_null(HMAC(EVP_sha1(), key, 16, input, sizeof input, tag, NULL));
    for (unsigned i = 0; i < sizeof tag; i++)
        snprintf(text + 1 + 2 * i, 3, "%02x", tag[i]);
    text[41] = '"';
    assert_int_equal(attrs_add(&attrs, TAG_ATTR, text, 42), 0);
    fake_corrupt(&codec, place, (struct bd_bytes){ coded.data, 32 }, &attrs, 4096,
                 "authentic, but its padding is wrong");
    fake_decodes_to(&codec, place, body_of(&coded), &coded.attrs, plain, sizeof plain);
    attrs_clear(&attrs);
    fake_coded_clear(&coded);
    fake_codec_free(&codec);
}

TEST(s3backer, what_its_format_cannot_hold_is_refused)
{
    struct fake_codec codec;
    struct fake_coded coded;
    struct fake_place far = { .block = UINT64_C(1) << 32 },
                      bound = { .block = 1, .associated = { "volume", 6 } };

    open_with(&codec, "aes", NULL);
    coded = fake_encode_in(&codec, NULL, far, (struct bd_bytes){ "x", 1 }, 0);
    assert_int_equal(coded.status, BD_UNSUPPORTED);
    assert_non_null(strstr(coded.why.text, "32 bits"));
    fake_coded_clear(&coded);
    coded = fake_encode_in(&codec, NULL, bound, (struct bd_bytes){ "x", 1 }, 0);
    assert_int_equal(coded.status, BD_UNSUPPORTED);
    assert_non_null(strstr(coded.why.text, "format 2"));
    fake_coded_clear(&coded);
    coded =
        fake_decode_in(&codec, NULL, bound, (struct bd_bytes){ "0123456789abcdef", 16 }, NULL, 16);
    assert_int_equal(coded.status, BD_UNSUPPORTED);
    fake_coded_clear(&coded);
    far.block--;
    coded = fake_encode(&codec, far, "x", 1);
    fake_decodes_to(&codec, far, body_of(&coded), &coded.attrs, "x", 1);
    fake_coded_clear(&coded);
    fake_codec_free(&codec);
}

/* ---- the length of the key */

static void
expect_same(const struct fake_coded *a, const struct fake_coded *b)
{
    assert_int_equal(a->len, b->len);
    assert_memory_equal(a->data, b->data, a->len);
    assert_memory_equal(a->attrs.list[0].value, b->attrs.list[0].value, 42);
}

TEST(s3backer, every_key_length_is_found_and_written_with_from_then_on)
{
    struct fake_codec writer, reader;
    struct fake_coded theirs, ours;
    char length[8];

    for (unsigned l = 16; l <= 64; l++) {
        snprintf(length, sizeof length, "%u", l);
        open_with(&writer, "aes", length);
        theirs = fake_encode(&writer, place, "a block", 7);
        open_with(&reader, "aes", NULL);
        fake_decodes_to(&reader, place, body_of(&theirs), &theirs.attrs, "a block", 7);
        ours = fake_encode(&reader, place, "a block", 7);
        expect_same(&theirs, &ours);
        fake_coded_clear(&theirs);
        fake_coded_clear(&ours);
        fake_codec_free(&writer);
        fake_codec_free(&reader);
    }
}

TEST(s3backer, a_key_length_that_the_cipher_cannot_have_is_refused)
{
    struct fake_codec codec;

    fake_codec_init(&codec, PLUGIN, "aes");
    fake_codec_option(&codec, PLUGIN, "key-length", "24");
    fake_codec_open(&codec, "encrypt-AES-192-CBC");
    fake_codec_close(&codec);
    fake_codec_refused(&codec, "encrypt-AES-256-CBC", BD_INVALID,
                       "--openssl-key-length=24: keys for AES-256-CBC have 32 to 64 bytes");
    fake_codec_option(&codec, PLUGIN, "key-length", "65");
    fake_codec_refused(&codec, "aes", BD_INVALID, "16 to 64 bytes");
    fake_codec_free(&codec);
}

TEST(s3backer, a_key_length_that_is_given_is_the_only_one)
{
    struct fake_codec writer, reader;
    struct fake_coded coded;

    open_with(&writer, "aes", NULL);
    coded = fake_encode(&writer, place, "a block", 7);
    open_with(&reader, "aes", "32");
    fake_corrupt(&reader, place, body_of(&coded), &coded.attrs, 7,
                 "a key length other than 32 (--openssl-key-length)");
    fake_codec_free(&reader);
    fake_coded_clear(&coded);
    fake_codec_free(&writer);
}

TEST(s3backer, a_key_length_once_found_is_written_with_and_others_are_read)
{
    struct fake_codec writer, other, reader;
    struct fake_coded first, second, again;

    open_with(&writer, "aes", "32");
    open_with(&other, "aes", "64");
    open_with(&reader, "aes", NULL);
    first = fake_encode(&writer, place, "a block", 7);
    second = fake_encode(&other, place, "a block", 7);
    fake_decodes_to(&reader, place, body_of(&first), &first.attrs, "a block", 7);
    fake_decodes_to(&reader, place, body_of(&second), &second.attrs, "a block", 7);
    again = fake_encode(&reader, place, "a block", 7);
    expect_same(&first, &again);
    fake_decodes_to(&reader, place, body_of(&first), &first.attrs, "a block", 7);
    second.data[3] ^= 1;
    fake_corrupt(&reader, place, body_of(&second), &second.attrs, 7, "not authenticated: damaged");
    fake_coded_clear(&again);
    fake_coded_clear(&first);
    fake_coded_clear(&second);
    fake_codec_free(&writer);
    fake_codec_free(&other);
    fake_codec_free(&reader);
}

TEST(s3backer, what_is_encoded_before_anything_was_decoded_has_the_ciphers_own_key_length)
{
    struct fake_codec writer, natural, other;
    struct fake_coded first, expected, second;

    open_with(&writer, "encrypt-AES-192-CBC", NULL);
    open_with(&natural, "encrypt-AES-192-CBC", "24");
    open_with(&other, "encrypt-AES-192-CBC", "64");
    first = fake_encode(&writer, place, "a block", 7);
    expected = fake_encode(&natural, place, "a block", 7);
    expect_same(&first, &expected);
    second = fake_encode(&other, place, "a block", 7);
    fake_decodes_to(&writer, place, body_of(&second), &second.attrs, "a block", 7);
    fake_coded_clear(&second);
    second = fake_encode(&writer, place, "a block", 7);
    expect_same(&second, &expected);
    fake_coded_clear(&first);
    fake_coded_clear(&expected);
    fake_coded_clear(&second);
    fake_codec_free(&writer);
    fake_codec_free(&natural);
    fake_codec_free(&other);
}

/* The keys of these passwords have a zero where one length ends, so that two lengths have the same tags. */
static void
expect_two_lengths(const char *password, const char *length, const char *reason)
{
    struct fake_codec writer, reader;
    struct fake_coded coded, back;

    fake_codec_init(&writer, PLUGIN, "aes");
    writer.host.passphrase = password;
    fake_codec_option(&writer, PLUGIN, "key-length", length);
    fake_codec_open(&writer, "aes");
    coded = fake_encode(&writer, place, "a block", 7);
    fake_decodes_to(&writer, place, body_of(&coded), &coded.attrs, "a block", 7);
    fake_codec_init(&reader, PLUGIN, "aes");
    reader.host.passphrase = password;
    fake_codec_open(&reader, "aes");
    if (reason == NULL) {
        fake_decodes_to(&reader, place, body_of(&coded), &coded.attrs, "a block", 7);
    } else {
        back = fake_decode_in(&reader, NULL, place, body_of(&coded), &coded.attrs, 4096);
        assert_int_equal(back.status, BD_UNSUPPORTED);
        assert_non_null(strstr(back.why.text, reason));
        fake_coded_clear(&back);
    }
    fake_coded_clear(&coded);
    fake_codec_free(&writer);
    fake_codec_free(&reader);
}

TEST(s3backer, of_two_key_lengths_that_fit_it_takes_the_usual_one_or_none)
{
    expect_two_lengths("password 601", "16", NULL); /* or 17 */
    expect_two_lengths("password 870", "32", NULL); /* or 31 */
    expect_two_lengths("password 43", "64", NULL);  /* or 63 */
    expect_two_lengths("password 222", "39", "keys of 39 and of 40 bytes fit");
    expect_two_lengths("password 222", "40", "keys of 39 and of 40 bytes fit");
}

/* ---- many threads with one instance, each with a worker of its own */

#define THREADS 8u
#define ROUNDS 200u

struct thread {
    pthread_t thread;
    struct fake_codec *codec;
    const struct fake_coded *first; /* a block whose key length is to be found */
    unsigned number;
    unsigned wrong; /* assertions belong to the main thread */
};

static void *
thread_main(void *arg)
{
    struct thread *mine = arg;
    struct fake_coded coded, back;
    unsigned char plain[600];
    void *worker = fake_worker_new(mine->codec);

    back = fake_decode_in(mine->codec, worker, place, body_of(mine->first), &mine->first->attrs, 7);
    if (back.status != BD_OK || memcmp(back.data, "a block", 7) != 0)
        mine->wrong++;
    fake_coded_clear(&back);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct fake_place at = { .block = round * THREADS + mine->number };
        size_t len = (round * 37 + mine->number) % sizeof plain;

        memset(plain, (int)(mine->number + round), sizeof plain);
        coded = fake_encode_in(mine->codec, worker, at, (struct bd_bytes){ plain, len }, 0);
        back = fake_decode_in(mine->codec, worker, at, body_of(&coded), &coded.attrs, sizeof plain);
        if (coded.status != BD_OK || back.status != BD_OK || back.len != len
            || memcmp(back.data, plain, len) != 0)
            mine->wrong++;
        fake_coded_clear(&back);
        at.block++; /* a failure leaves the worker as good as new */
        back = fake_decode_in(mine->codec, worker, at, body_of(&coded), &coded.attrs, sizeof plain);
        if (back.status != BD_CORRUPT)
            mine->wrong++;
        fake_coded_clear(&back);
        fake_coded_clear(&coded);
    }
    fake_worker_free(mine->codec, worker);
    return NULL;
}

TEST(s3backer, many_threads_find_one_key_length_and_use_one_instance)
{
    struct thread threads[THREADS];
    struct fake_codec writer, codec;
    struct fake_coded first;

    open_with(&writer, "aes", "64");
    first = fake_encode(&writer, place, "a block", 7);
    open_with(&codec, "aes", NULL);
    for (unsigned i = 0; i < THREADS; i++) {
        threads[i] = (struct thread){ .codec = &codec, .first = &first, .number = i };
        assert_int_equal(pthread_create(&threads[i].thread, NULL, thread_main, &threads[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i].thread, NULL);
        assert_int_equal(threads[i].wrong, 0);
    }
    fake_coded_clear(&first);
    fake_codec_free(&writer);
    fake_codec_free(&codec);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(s3backer, its_objects_are_decoded_and_encoded_to_the_same_bytes),
        RUN(s3backer, tokens_are_written_with_the_names_that_openssl_gives_its_ciphers),
        RUN(s3backer, other_tokens_are_not_its),
        RUN(s3backer, only_block_ciphers_in_cbc_mode_are_taken),
        RUN(s3backer, blocks_go_there_and_back_through_every_cipher_old_ones_too),
        RUN(s3backer, a_block_of_many_megabytes_goes_there_and_back),
        RUN(s3backer, the_old_ciphers_are_loaded_for_nobody_else),
        RUN(s3backer, old_ciphers_whose_module_is_missing_are_refused_and_new_ones_are_not),
        RUN(s3backer, without_a_password_it_is_refused),
        RUN(s3backer, without_memory_for_secrets_it_does_not_open),
        RUN(s3backer, a_bit_flipped_anywhere_in_the_body_is_detected),
        RUN(s3backer,
            a_bit_flipped_anywhere_in_the_tag_is_detected_unless_it_is_the_case_of_a_digit),
        RUN(s3backer, a_body_of_another_length_is_detected),
        RUN(s3backer, an_object_without_a_good_tag_is_not_authenticated),
        RUN(s3backer, a_block_under_the_number_of_another_is_detected),
        RUN(s3backer, a_block_of_another_cipher_is_detected),
        RUN(s3backer, a_wrong_password_or_salt_is_told_from_damage_as_far_as_can_be),
        RUN(s3backer, too_little_room_is_an_error_and_nothing_is_overrun),
        RUN(s3backer, padding_that_is_wrong_though_authentic_is_an_error),
        RUN(s3backer, what_its_format_cannot_hold_is_refused),
        RUN(s3backer, every_key_length_is_found_and_written_with_from_then_on),
        RUN(s3backer, a_key_length_that_the_cipher_cannot_have_is_refused),
        RUN(s3backer, a_key_length_that_is_given_is_the_only_one),
        RUN(s3backer, a_key_length_once_found_is_written_with_and_others_are_read),
        RUN(s3backer, what_is_encoded_before_anything_was_decoded_has_the_ciphers_own_key_length),
        RUN(s3backer, of_two_key_lengths_that_fit_it_takes_the_usual_one_or_none),
        RUN(s3backer, many_threads_find_one_key_length_and_use_one_instance),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
