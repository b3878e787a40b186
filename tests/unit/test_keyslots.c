/* SPDX-License-Identifier: Apache-2.0 */
/* core/keyslots.c: a volume key behind passphrases, with a key wrap that costs nothing. */
#include "fake_crypto.h"

#include "base/util.h"
#include "keyslots.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct manifest
empty_manifest(void)
{
    memset(&fake_crypto, 0, sizeof fake_crypto);
    return (struct manifest){ .wrap = FAKE_WRAP, .accepts = { .count = 1, .tokens = { "wax" } } };
}

static void
add(struct manifest *manifest, const struct keyring *keyring, unsigned slot, const char *passphrase)
{
    struct error why = { "" };

    if (keyslots_add(manifest, &fake_plugins, keyring, slot, passphrase_text(passphrase), "label",
                     &why)
        != 0)
        fail_msg("%s", why.text);
}

static void
expect_open(const struct manifest *manifest, const char *passphrase, unsigned slot,
            const struct keyring *expected)
{
    struct keyring keyring = { .salt = NULL };
    struct error why = { "" };
    unsigned found = MANIFEST_SLOTS;

    if (keyslots_open(manifest, &fake_plugins, passphrase_text(passphrase), &keyring, &found, &why)
        != 0)
        fail_msg("%s", why.text);
    assert_int_equal(found, slot);
    assert_memory_equal(keyring.volume_key, expected->volume_key, VOLUME_KEY_BYTES);
    keyring_clear(&keyring);
}

static void
expect_closed(const struct manifest *manifest, const char *passphrase, int rc, const char *reason)
{
    struct keyring keyring = { .salt = NULL };
    struct error why = { "" };
    unsigned slot;

    assert_int_equal(
        keyslots_open(manifest, &fake_plugins, passphrase_text(passphrase), &keyring, &slot, &why),
        rc);
    if (strstr(why.text, reason) == NULL)
        fail_msg("\"%s\" instead of \"%s\"", why.text, reason);
    assert_null(keyring.volume_key);
    keyring_clear(&keyring);
}

TEST(keyslots, each_passphrase_opens_its_own_slot)
{
    struct manifest manifest = empty_manifest();
    struct keyring keyring;
    char passphrase[16];

    fake_keyring(&keyring, 1);
    for (unsigned i = 0; i < MANIFEST_SLOTS; i++) {
        assert_int_equal(keyslots_free(&manifest), i);
        assert_int_equal(keyslots_count(&manifest), i);
        snprintf(passphrase, sizeof passphrase, "word %u", i);
        add(&manifest, &keyring, i, passphrase);
        assert_string_equal(manifest.slots[i].label, "label");
    }
    assert_int_equal(keyslots_free(&manifest), MANIFEST_SLOTS);
    assert_int_equal(keyslots_count(&manifest), MANIFEST_SLOTS);
    for (unsigned i = 0; i < MANIFEST_SLOTS; i++) {
        snprintf(passphrase, sizeof passphrase, "word %u", i);
        expect_open(&manifest, passphrase, i, &keyring);
    }
    expect_closed(&manifest, "word 32", -EKEYREJECTED, "none of the volume's 32 key slots");
    expect_closed(&manifest, "", -EKEYREJECTED, "none");
    keyring_clear(&keyring);
    manifest_clear(&manifest);
}

TEST(keyslots, a_slot_that_is_removed_opens_no_more_and_is_free_again)
{
    struct manifest manifest = empty_manifest();
    struct keyring keyring;

    fake_keyring(&keyring, 1);
    add(&manifest, &keyring, 0, "old");
    add(&manifest, &keyring, 1, "new");
    keyslots_remove(&manifest, 0);
    expect_closed(&manifest, "old", -EKEYREJECTED, "only key slot");
    expect_open(&manifest, "new", 1, &keyring);
    assert_int_equal(keyslots_free(&manifest), 0);
    assert_string_equal(manifest.slots[0].label, "");
    keyslots_remove(&manifest, 1);
    expect_closed(&manifest, "new", -EKEYREJECTED, "0 key slots");
    keyring_clear(&keyring);
    manifest_clear(&manifest);
}

TEST(keyslots, a_damaged_slot_hinders_no_good_one_and_is_named_when_none_opens)
{
    struct manifest manifest = empty_manifest();
    struct keyring keyring;

    fake_keyring(&keyring, 1);
    manifest.slots[1].blob = strdup("damaged");
    manifest.slots[2].blob = strdup("damaged, too");
    add(&manifest, &keyring, 3, "good");
    expect_open(&manifest, "good", 3, &keyring);
    assert_int_equal(fake_crypto.unwraps, 3); /* and no more are tried then */
    expect_closed(&manifest, "bad", -EKEYREJECTED,
                  "key slot 1 cannot be tried: crypto-fake: fake does not know this");
    keyring_clear(&keyring);
    manifest_clear(&manifest);
}

static bool
has_another(const struct manifest *manifest, const char *passphrase, unsigned slot)
{
    return keyslots_has_another(manifest, &fake_plugins, passphrase_text(passphrase), slot);
}

TEST(keyslots, one_that_is_damaged_is_not_another_one)
{
    struct manifest manifest = empty_manifest();
    struct keyring keyring;

    fake_keyring(&keyring, 1);
    add(&manifest, &keyring, 3, "mine");
    assert_false(has_another(&manifest, "mine", 3));
    assert_true(has_another(&manifest, "mine", 4));
    /* By what the key wrap says; by what was read. */
    manifest.slots[1].blob = strdup("damaged");
    add(&manifest, &keyring, 2, "theirs");
    strcpy(manifest.slots[2].damage, "its number is there twice");
    assert_int_equal(keyslots_count(&manifest), 2);
    assert_false(has_another(&manifest, "mine", 3));
    /* One of a password that nobody says, and one of the same. */
    add(&manifest, &keyring, 5, "theirs");
    assert_true(has_another(&manifest, "mine", 3));
    keyslots_remove(&manifest, 5);
    add(&manifest, &keyring, 5, "mine");
    assert_true(has_another(&manifest, "mine", 3));
    /* Whom nobody can ask says nothing. */
    strcpy(manifest.wrap, "scrypt");
    assert_false(has_another(&manifest, "mine", 3));
    keyring_clear(&keyring);
    manifest_clear(&manifest);
}

TEST(keyslots, a_slot_without_a_text_is_in_use_and_opens_nothing)
{
    static const char text[] =
        "{\"format\":2,\"volume\":\"00112233445566778899aabbccddeeff\","
        "\"disk_bytes\":512,\"block_bytes\":512,\"hashed\":false,\"epoch\":1,"
        "\"codec\":\"\",\"accepts\":[],\"slots\":[17]}";
    struct manifest manifest;
    struct keyring keyring;
    struct error why;

    memset(&fake_crypto, 0, sizeof fake_crypto);
    assert_int_equal(manifest_parse(text, sizeof text - 1, &manifest, &why), 0);
    strcpy(manifest.wrap, FAKE_WRAP);
    fake_keyring(&keyring, 1);
    assert_int_equal(keyslots_free(&manifest), 1);
    assert_int_equal(keyslots_count(&manifest), 0);
    expect_closed(&manifest, "word", -EKEYREJECTED,
                  "key slot 0 cannot be tried: it is of a wrong kind");
    add(&manifest, &keyring, 1, "word");
    assert_int_equal(keyslots_count(&manifest), 1);
    expect_open(&manifest, "word", 1, &keyring);
    keyslots_remove(&manifest, 0);
    assert_int_equal(keyslots_free(&manifest), 0);
    keyring_clear(&keyring);
    manifest_clear(&manifest);
}

TEST(keyslots, a_key_of_another_size_is_none)
{
    struct manifest manifest = empty_manifest();
    struct keyring keyring;

    fake_keyring(&keyring, 1);
    add(&manifest, &keyring, 0, "word");
    fake_crypto.unwrapped_bytes = VOLUME_KEY_BYTES - 1;
    expect_closed(&manifest, "word", -EKEYREJECTED, "key slot 0 cannot be tried: it is damaged");
    keyring_clear(&keyring);
    manifest_clear(&manifest);
}

TEST(keyslots, a_key_wrap_that_nobody_has_is_named)
{
    struct manifest manifest = empty_manifest();
    struct keyring keyring;
    struct error why = { "" };

    fake_keyring(&keyring, 1);
    add(&manifest, &keyring, 0, "word");
    strcpy(manifest.wrap, "scrypt");
    expect_closed(&manifest, "word", -ENOTSUP, "\"scrypt\"");
    assert_int_equal(
        keyslots_add(&manifest, &fake_plugins, &keyring, 1, passphrase_text("word"), "", &why),
        -ENOTSUP);
    assert_null(manifest.slots[1].blob);
    keyring_clear(&keyring);
    assert_int_equal(keyslots_new_key(&manifest, &fake_plugins, &keyring, &why), -ENOTSUP);
    assert_null(keyring.volume_key);
    manifest_clear(&manifest);
}

TEST(keyslots, what_cannot_be_wrapped_or_stored_leaves_the_slot_free)
{
    static char too_long[MANIFEST_BLOB_BYTES_MAX + 1];
    static const char *const bad[] = { "", "a\"b", "a\\b", "a\nb", "a\x7f", "caf\xe9" };
    struct manifest manifest = empty_manifest();
    struct keyring keyring;
    struct error why = { "" };

    fake_keyring(&keyring, 1);
    fake_crypto.wrap = BD_FATAL;
    assert_int_equal(
        keyslots_add(&manifest, &fake_plugins, &keyring, 0, passphrase_text("word"), "", &why),
        -EIO);
    assert_non_null(strstr(why.text, "fake cannot wrap"));
    fake_crypto.wrap = BD_OK;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        fake_crypto.wrapped = bad[i];
        assert_int_equal(
            keyslots_add(&manifest, &fake_plugins, &keyring, 0, passphrase_text("word"), "", &why),
            -EIO);
    }
    assert_int_equal(keyslots_count(&manifest), 0);
    /* As long as can be. */
    memset(too_long, 'b', MANIFEST_BLOB_BYTES_MAX);
    fake_crypto.wrapped = too_long;
    add(&manifest, &keyring, 0, "word");
    assert_string_equal(manifest.slots[0].blob, too_long);
    keyring_clear(&keyring);
    manifest_clear(&manifest);
}

TEST(keyslots, a_plugin_that_refuses_its_options_is_not_asked_for_more)
{
    struct manifest manifest = empty_manifest();
    struct keyring keyring;
    struct error why = { "" };

    fake_keyring(&keyring, 1);
    add(&manifest, &keyring, 0, "word");
    fake_crypto.check = BD_INVALID;
    expect_closed(&manifest, "word", -EINVAL, "fake says no");
    assert_int_equal(
        keyslots_add(&manifest, &fake_plugins, &keyring, 1, passphrase_text("word"), "", &why),
        -EINVAL);
    assert_string_equal(why.text, "fake says no");
    assert_int_equal(fake_crypto.wraps, 1);
    assert_int_equal(fake_crypto.unwraps, 0);
    keyring_clear(&keyring);
    manifest_clear(&manifest);
}

TEST(keyslots, each_new_key_is_another)
{
    struct manifest manifest = empty_manifest();
    struct keyring first = { .salt = NULL }, second = { .salt = NULL };
    struct error why = { "" };

    assert_int_equal(keyslots_new_key(&manifest, &fake_plugins, &first, &why), 0);
    assert_int_equal(keyslots_new_key(&manifest, &fake_plugins, &second, &why), 0);
    assert_memory_not_equal(first.volume_key, second.volume_key, VOLUME_KEY_BYTES);
    add(&manifest, &first, 0, "word");
    expect_open(&manifest, "word", 0, &first);
    keyring_clear(&first);
    keyring_clear(&second);
    manifest_clear(&manifest);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(keyslots, each_passphrase_opens_its_own_slot),
        RUN(keyslots, a_slot_that_is_removed_opens_no_more_and_is_free_again),
        RUN(keyslots, a_damaged_slot_hinders_no_good_one_and_is_named_when_none_opens),
        RUN(keyslots, one_that_is_damaged_is_not_another_one),
        RUN(keyslots, a_slot_without_a_text_is_in_use_and_opens_nothing),
        RUN(keyslots, a_key_of_another_size_is_none),
        RUN(keyslots, a_key_wrap_that_nobody_has_is_named),
        RUN(keyslots, what_cannot_be_wrapped_or_stored_leaves_the_slot_free),
        RUN(keyslots, a_plugin_that_refuses_its_options_is_not_asked_for_more),
        RUN(keyslots, each_new_key_is_another),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
