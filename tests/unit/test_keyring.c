/* SPDX-License-Identifier: Apache-2.0 */
/* core/keyring.c: what codecs get their keys from. */
#include "fake_crypto.h"

#include "base/secret.h"
#include "base/util.h"
#include "host.h"

#include <stdlib.h>
#include <string.h>

TEST(keyring, without_keys_everything_is_unsupported)
{
    static const struct keyring empty = { .salt = NULL };
    const struct keyring *rings[] = { NULL, &empty };

    for (size_t i = 0; i < ARRAY_LEN(rings); i++) {
        uint8_t key[16];
        const char *salt;
        char *passphrase;
        size_t bytes;

        assert_int_equal(keyring_passphrase(rings[i], &passphrase, &bytes, &salt), BD_UNSUPPORTED);
        assert_int_equal(keyring_subkey(rings[i], "any", key, sizeof key), BD_UNSUPPORTED);
    }
}

TEST(keyring, a_passphrase_is_given_as_a_copy_and_a_volume_key_never)
{
    struct keyring keyring = { .salt = NULL };
    char *first, *second;
    const char *salt;
    size_t bytes;

    assert_int_equal(
        keyring_set_passphrase(&keyring, passphrase_text("pass\r phrase"), "bucket/v/"), 0);
    assert_int_equal(keyring_passphrase(&keyring, &first, &bytes, &salt), BD_OK);
    assert_int_equal(bytes, 12);
    assert_string_equal(first, "pass\r phrase");
    assert_string_equal(salt, "bucket/v/");
    memset(first, 'x', bytes);
    assert_int_equal(keyring_passphrase(&keyring, &second, &bytes, &salt), BD_OK);
    assert_string_equal(second, "pass\r phrase");
    secret_free(first);
    secret_free(second);
    keyring_clear(&keyring);
    assert_null(keyring.passphrase.data);
    assert_null(keyring.salt);
}

TEST(keyring, subkeys_differ_by_key_and_purpose_and_are_the_same_for_ever)
{
    struct keyring one, other;
    uint8_t keys[5][64];

    fake_keyring(&one, 1);
    fake_keyring(&other, 2);
    memset(keys, 0, sizeof keys);
    assert_int_equal(keyring_subkey(&one, "codec a", keys[0], 64), BD_OK);
    assert_int_equal(keyring_subkey(&one, "codec a", keys[1], 64), BD_OK);
    assert_int_equal(keyring_subkey(&one, "codec b", keys[2], 64), BD_OK);
    assert_int_equal(keyring_subkey(&other, "codec a", keys[3], 64), BD_OK);
    assert_int_equal(keyring_subkey(&one, "codec a", keys[4], 16), BD_OK);
    assert_memory_equal(keys[0], keys[1], 64);
    assert_memory_not_equal(keys[0], keys[2], 64);
    assert_memory_not_equal(keys[0], keys[3], 64);
    assert_int_equal(keys[4][16], 0); /* no more than was asked for */
    keyring_drop_volume_key(&one);
    assert_int_equal(keyring_subkey(&one, "codec a", keys[0], 64), BD_UNSUPPORTED);
    keyring_drop_volume_key(&one);
    keyring_clear(&one);
    keyring_clear(&other);
}

static enum bd_status
short_subkey(struct bd_bytes key, const char *purpose, struct bd_buf *out)
{
    (void)key, (void)purpose;
    memset(out->data, 1, out->cap);
    out->len = out->cap - 1;
    return BD_OK;
}

TEST(keyring, a_subkey_that_is_too_short_is_none)
{
    static const struct bd_keywrap keywrap = { .name = "short", .subkey = short_subkey };
    static const uint8_t key[VOLUME_KEY_BYTES] = { 1 };
    struct keyring keyring = { .salt = NULL };
    uint8_t out[32];

    assert_int_equal(keyring_set_volume_key(&keyring, &keywrap, key), 0);
    assert_int_equal(keyring_subkey(&keyring, "any", out, sizeof out), BD_FATAL);
    keyring_clear(&keyring);
}

TEST(keyring, codecs_reach_it_through_their_host)
{
    struct keyring keyring;
    struct host *host;
    uint8_t direct[32], hosted[32];

    fake_keyring(&keyring, 1);
    assert_int_equal(host_new("codec-test", NULL, NULL, &host), 0);
    assert_int_equal(host_table(host)->key(host_table(host), "codec test", hosted, 32),
                     BD_UNSUPPORTED);
    host_give_keys(host, &keyring, "test");
    assert_int_equal(host_table(host)->key(host_table(host), "codec test", hosted, 32), BD_OK);
    assert_int_equal(keyring_subkey(&keyring, "codec test", direct, 32), BD_OK);
    assert_memory_equal(direct, hosted, 32);
    host_free(host);
    keyring_clear(&keyring);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(keyring, without_keys_everything_is_unsupported),
        RUN(keyring, a_passphrase_is_given_as_a_copy_and_a_volume_key_never),
        RUN(keyring, subkeys_differ_by_key_and_purpose_and_are_the_same_for_ever),
        RUN(keyring, a_subkey_that_is_too_short_is_none),
        RUN(keyring, codecs_reach_it_through_their_host),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
