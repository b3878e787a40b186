/* SPDX-License-Identifier: Apache-2.0 */
/* core/manifest.c: what a volume of format 2 says of itself. */
#include "fake_crypto.h"

#include "base/util.h"
#include "manifest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID "00112233445566778899aabbccddeeff"
#define MAC "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* Its members, one at a time, so that each can be left out or be another. */
static const struct {
    const char *name, *value;
    bool is_of_encrypted; /* is not asked for where nothing is encrypted */
} members[] = {
    { "format", "2", false },
    { "volume", "\"" ID "\"", false },
    { "disk_bytes", "1048576", false },
    { "block_bytes", "4096", false },
    { "hashed", "false", false },
    { "epoch", "16777215", false },
    { "codec", "\"zstd,xaes-256-gcm\"", false },
    { "accepts", "[\"xaes-256-gcm\"]", false },
    { "slots", "[{\"slot\":31,\"blob\":\"b\",\"label\":\"l\"}]", false },
    { "key", "65535", true },
    { "wrap", "\"argon2id\"", true },
    { "mac", "\"" MAC "\"", true },
};

/* All members; the one called `name` with another value, or NULL: without it.  Freed by the caller. */
static char *
text_with(const char *name, const char *value)
{
    char *text = calloc(1, 400000);
    const char *between = "{";

    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        bool is_it = name != NULL && strcmp(name, members[i].name) == 0;

        if (is_it && value == NULL)
            continue;
        sprintf(text + strlen(text), "%s\"%s\":%s", between, members[i].name,
                is_it ? value : members[i].value);
        between = ",";
    }
    return strcat(text, "}");
}

static int
parse_with(const char *name, const char *value, struct manifest *out, struct error *why)
{
    char *text = text_with(name, value);
    size_t bytes = strlen(text);
    char *exact = malloc(bytes);
    int rc;

    memcpy(exact, text, bytes); /* without its NUL */
    why->text[0] = '\0';
    rc = manifest_parse(exact, bytes, out, why);
    free(exact);
    free(text);
    return rc;
}

static void
expect_refused(const char *name, const char *value, const char *reason)
{
    struct manifest manifest;
    struct error why;
    int rc = parse_with(name, value, &manifest, &why);

    if (rc != -EBADMSG || strstr(why.text, reason) == NULL)
        fail_msg("%s = %.60s: %d, %s", name, value != NULL ? value : "(none)", rc, why.text);
    manifest_clear(&manifest);
}

TEST(manifest, what_is_read_is_what_is_there)
{
    struct manifest manifest;
    struct error why;

    if (parse_with(NULL, NULL, &manifest, &why) != 0)
        fail_msg("%s", why.text);
    assert_memory_equal(manifest.id,
                        "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff", 16);
    assert_int_equal(manifest.disk_bytes, 1048576);
    assert_int_equal(manifest.block_bytes, 4096);
    assert_false(manifest.is_hashed);
    assert_int_equal(manifest.epoch, MANIFEST_EPOCH_MAX);
    assert_string_equal(manifest.codec, "zstd,xaes-256-gcm");
    assert_true(manifest_is_encrypted(&manifest));
    assert_int_equal(manifest.accepts.count, 1);
    assert_string_equal(manifest.accepts.tokens[0], "xaes-256-gcm");
    assert_int_equal(manifest.key_id, 65535);
    assert_string_equal(manifest.wrap, "argon2id");
    assert_memory_equal(manifest.mac, "\x01\x23\x45\x67\x89\xab\xcd\xef", 8);
    for (unsigned i = 0; i < MANIFEST_SLOTS - 1; i++)
        assert_null(manifest.slots[i].blob);
    assert_string_equal(manifest.slots[31].blob, "b");
    assert_string_equal(manifest.slots[31].label, "l");
    manifest_clear(&manifest);
}

/* ---- there and back */

static void
expect_same(const struct manifest *manifest)
{
    struct error why = { "" };
    struct manifest back;
    char *text = manifest_print(manifest);

    assert_non_null(text);
    assert_true(strlen(text) < MANIFEST_BYTES_MAX);
    if (manifest_parse(text, strlen(text), &back, &why) != 0)
        fail_msg("%s: %s", why.text, text);
    assert_memory_equal(back.id, manifest->id, sizeof back.id);
    assert_int_equal(back.disk_bytes, manifest->disk_bytes);
    assert_int_equal(back.block_bytes, manifest->block_bytes);
    assert_int_equal(back.is_hashed, manifest->is_hashed);
    assert_int_equal(back.epoch, manifest->epoch);
    assert_string_equal(back.codec, manifest->codec);
    assert_memory_equal(&back.accepts, &manifest->accepts, sizeof back.accepts);
    if (manifest_is_encrypted(manifest)) {
        assert_int_equal(back.key_id, manifest->key_id);
        assert_string_equal(back.wrap, manifest->wrap);
        assert_memory_equal(back.mac, manifest->mac, sizeof back.mac);
    }
    for (unsigned i = 0; i < MANIFEST_SLOTS; i++) {
        assert_int_equal(back.slots[i].blob == NULL, manifest->slots[i].blob == NULL);
        if (back.slots[i].blob != NULL)
            assert_string_equal(back.slots[i].blob, manifest->slots[i].blob);
        assert_string_equal(back.slots[i].label, manifest->slots[i].label);
        assert_string_equal(back.slots[i].damage, manifest->slots[i].damage);
        assert_int_equal(back.slots[i].kept == NULL, manifest->slots[i].kept == NULL);
    }
    manifest_clear(&back);
    free(text);
}

TEST(manifest, an_encrypted_one_comes_back_whole)
{
    struct manifest manifest = { .id = "0123456789abcde",
                                 .disk_bytes = INT64_MAX,
                                 .block_bytes = UINT32_MAX,
                                 .is_hashed = true,
                                 .epoch = 7,
                                 .codec = "zstd,wax",
                                 .accepts = { .count = 2, .tokens = { "wax", "wick" } },
                                 .key_id = 3,
                                 .wrap = "argon2id",
                                 .mac = { 1, 2, 3, 255 } };

    expect_same(&manifest); /* without any slot */
    manifest.slots[0] = (struct key_slot){ .blob = strdup("blob 0") };
    manifest.slots[31] =
        (struct key_slot){ .blob = strdup("blob 31"), .label = "M\xc3\xbcller's \"key\" \\ file" };
    expect_same(&manifest);
    manifest_clear(&manifest);
}

TEST(manifest, one_without_encryption_comes_back_whole)
{
    const struct manifest manifest = {
        .id = "0123456789abcde", .disk_bytes = 8192, .block_bytes = 512, .codec = "zstd"
    };
    char *text = manifest_print(&manifest);

    assert_null(strstr(text, "mac"));
    assert_null(strstr(text, "wrap"));
    free(text);
    expect_same(&manifest);
}

TEST(manifest, the_largest_one_fits)
{
    struct manifest manifest = { .wrap = "argon2id",
                                 .accepts = { .count = 1, .tokens = { "wax" } } };

    for (unsigned i = 0; i < MANIFEST_SLOTS; i++) {
        manifest.slots[i].blob = calloc(1, MANIFEST_BLOB_BYTES_MAX + 1);
        memset(manifest.slots[i].blob, 'b', MANIFEST_BLOB_BYTES_MAX);
        memset(manifest.slots[i].label, '"', MANIFEST_LABEL_BYTES_MAX); /* escaped */
    }
    expect_same(&manifest);
    manifest_clear(&manifest);
}

/* A slot that is left out silently is a passphrase that opens nothing any more. */
TEST(manifest, what_cannot_be_printed_is_not_left_out)
{
    struct manifest manifest = { .wrap = "argon2id",
                                 .accepts = { .count = 1, .tokens = { "wax" } } };

    manifest.slots[3].blob = strdup("blob");
    strcpy(manifest.slots[3].label, "caf\xe9"); /* Latin 1 */
    assert_null(manifest_print(&manifest));
    strcpy(manifest.slots[3].label, "");
    free(manifest.slots[3].blob);
    manifest.slots[3].blob = strdup("blob \xff");
    assert_null(manifest_print(&manifest));
    manifest_clear(&manifest);
    manifest.accepts = (struct encoding){ .count = 1, .tokens = { "\xff" } };
    assert_null(manifest_print(&manifest));
}

TEST(manifest, a_label_is_text_that_can_be_stored_and_shown)
{
    static const struct {
        const char *label;
        int rc;
    } rows[] = {
        { "", 0 },
        { "work laptop", 0 },
        { "M\xc3\xbcller \"2\"", 0 },
        { "sixty-three bytes are as many as a label can have, and not 1 more", -EINVAL },
        { "caf\xe9", -EINVAL },
        { "a\tb", -EINVAL },
        { "\x1b[2J", -EINVAL },
        { "\x7f", -EINVAL },
        { "\xc2\x9b\x32J", -EINVAL }, /* a terminal's CSI in one character */
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error why = { "" };

        if (manifest_check_label(rows[i].label, &why) != rows[i].rc)
            fail_msg("row %zu: %s", i, why.text);
        assert_int_equal(why.text[0] != '\0', rows[i].rc != 0);
    }
}

/* ---- what is wrong */

TEST(manifest, each_member_must_be_there_and_of_its_kind)
{
    static const char *const kinds[] = { "null", "\"text\"", "17", "1.5", "[]", "{}", "true" };

    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        const char kind = members[i].value[0];
        char expected[64];

        snprintf(expected, sizeof expected, "\"%s\" is ", members[i].name);
        /* Without a list of codecs that encrypt nothing else is asked for. */
        expect_refused(members[i].name, NULL, "is missing");
        for (size_t j = 0; j < ARRAY_LEN(kinds); j++) {
            bool is_its_kind = kinds[j][0] == kind || (kind == 'f' && kinds[j][0] == 't')
                               || (kind >= '0' && kind <= '9' && strcmp(kinds[j], "17") == 0);

            if (!is_its_kind)
                expect_refused(members[i].name, kinds[j], expected);
        }
    }
}

TEST(manifest, each_member_has_its_limits)
{
    static const struct {
        const char *name, *value, *reason; /* NULL: it is right */
    } rows[] = {
        { "format", "1", "format 1" },
        { "format", "3", "format 3" },
        { "format", "-2", "out of range" },
        { "format", "4294967298", "out of range" },
        { "volume", "\"\"", "32 hexadecimal" },
        { "volume", "\"00112233445566778899aabbccddeef\"", "32 hexadecimal" },
        { "volume", "\"" ID "0\"", "too long" },
        { "volume", "\"00112233445566778899aabbccddeefg\"", "32 hexadecimal" },
        { "volume", "\"00112233445566778899AABBCCDDEEFF\"", "32 hexadecimal" },
        { "disk_bytes", "9223372036854775807", NULL },
        { "disk_bytes", "9223372036854775808", "not JSON" },
        { "disk_bytes", "-1", "out of range" },
        { "block_bytes", "4294967296", "out of range" },
        { "block_bytes", "-4096", "out of range" },
        { "epoch", "0", NULL },
        { "epoch", "16777216", "out of range" },
        { "epoch", "-1", "out of range" },
        { "codec", "\"\"", NULL },
        { "codec", "\"a\\nb\"", "control" },
        { "codec", "\"a\\u0000b\"", "not JSON" },
        { "accepts", "[\"a\",\"b\",\"c\",\"d\",\"e\"]", NULL },
        { "accepts", "[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\"]", "accepts" },
        { "accepts", "[\"\"]", "accepts" },
        { "accepts", "[\"a,b\"]", "accepts" },
        { "accepts", "[\" a\"]", "accepts" },
        { "accepts", "[\"identity\"]", "accepts" },
        { "accepts", "[\"a\", 1]", "accepts" },
        { "accepts", "[[\"a\"]]", "accepts" },
        { "key", "0", NULL },
        { "key", "65536", "out of range" },
        { "key", "-1", "out of range" },
        { "wrap", "\"a-name-that-is-longer-than-any-name-of-a-key-wrap-that-anybody-makes\"",
          "too long" },
        { "wrap", "\"\\u001b[2J\"", "control" },
        { "mac", "\"00\"", "64 hexadecimal" },
        { "mac", "\"" MAC "00\"", "\"mac\" is too long" },
        { "slots", "[]", NULL },
        { "format", "2,\"format\":2", "not JSON" }, /* twice */
        { "epoch", "1,\"epoch\":2", "not JSON" },
        { "slots", "[],\"unknown\":17", NULL }, /* a later program's */
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct manifest manifest;
        struct error why;

        if (rows[i].reason != NULL) {
            expect_refused(rows[i].name, rows[i].value, rows[i].reason);
            continue;
        }
        if (parse_with(rows[i].name, rows[i].value, &manifest, &why) != 0)
            fail_msg("%s = %s: %s", rows[i].name, rows[i].value, why.text);
        manifest_clear(&manifest);
    }
}

TEST(manifest, texts_that_are_too_long_are_refused)
{
    char *value = calloc(1, 8192);

    memset(value, 'c', ENCODING_JOINED_BYTES + 2);
    value[0] = value[ENCODING_JOINED_BYTES + 1] = '"';
    expect_refused("codec", value, "\"codec\" is too long");
    free(value);
}

TEST(manifest, what_is_no_json_object_is_refused_wherever_it_ends)
{
    static const char *const texts[] = { "",         " ",    "null", "17",  "[]",
                                         "\"text\"", "\xff", "{}x",  "\0{}" };
    char *whole = text_with(NULL, NULL), *deep = malloc(100000);
    struct manifest manifest;
    struct error why;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_int_equal(manifest_parse(texts[i], strlen(texts[i]), &manifest, &why), -EBADMSG);
        manifest_clear(&manifest);
    }
    for (size_t bytes = 0; bytes < strlen(whole); bytes++) {
        char *cut = malloc(bytes + (bytes == 0));

        memcpy(cut, whole, bytes);
        assert_int_equal(manifest_parse(cut, bytes, &manifest, &why), -EBADMSG);
        assert_true(why.text[0] != '\0');
        manifest_clear(&manifest);
        free(cut);
    }
    memset(deep, '[', 100000);
    assert_int_equal(manifest_parse(deep, 100000, &manifest, &why), -EBADMSG);
    manifest_clear(&manifest);
    free(deep);
    free(whole);
}

/* ---- slots that are not as they should be */

#define GOOD_SLOT "{\"slot\":3,\"blob\":\"good\",\"label\":\"mine\"}"

TEST(manifest, a_damaged_slot_harms_no_other_and_stays_as_it_is)
{
    static const struct {
        const char *slot, *damage; /* NULL: it is right */
        unsigned at;
        const char *blob, *label;
    } rows[] = {
        { "{\"slot\":0,\"blob\":\"b\",\"label\":\"\u00fc\"}", NULL, 0, "b", "\u00fc" },
        { "7", "wrong kind", 0, NULL, "" },
        { "[]", "wrong kind", 0, NULL, "" },
        { "null", "wrong kind", 0, NULL, "" },
        { "{}", "is missing", 0, NULL, "" },
        { "{\"slot\":32,\"blob\":\"b\",\"label\":\"l\"}", "out of range", 0, "b", "l" },
        { "{\"slot\":-1,\"blob\":\"b\",\"label\":\"l\"}", "out of range", 0, "b", "l" },
        { "{\"slot\":\"5\",\"blob\":\"b\",\"label\":\"l\"}", "\"slot\" is of", 0, "b", "l" },
        { "{\"blob\":\"b\",\"label\":\"l\"}", "\"slot\" is missing", 0, "b", "l" },
        { "{\"slot\":3,\"blob\":\"b\",\"label\":\"l\"}", "there twice", 0, "b", "l" },
        { "{\"slot\":5,\"label\":\"l\"}", "\"blob\" is missing", 5, NULL, "l" },
        { "{\"slot\":5,\"blob\":7,\"label\":\"l\"}", "\"blob\" is of", 5, NULL, "l" },
        { "{\"slot\":3,\"blob\":7,\"label\":\"l\"}", "\"blob\" is of", 0, NULL, "l" },
        { "{\"slot\":5,\"blob\":\"b\"}", "\"label\" is missing", 5, "b", "" },
        { "{\"slot\":5,\"blob\":\"b\",\"label\":\"\\u001b[2J\"}", "control", 5, "b", "" },
        { "{\"slot\":5,\"blob\":\"b\",\"label\":\"\\u009b2J\"}", "control", 5, "b", "" },
        { "{\"slot\":5,\"blob\":\"b\",\"label\":"
          "\"a label of sixty-four bytes is one byte too long to be put there.\"}",
          "too long", 5, "b", "" },
        { "{\"slot\":5,\"blob\":[{\"deep\":[1.5,null]}],\"label\":\"l\",\"more\":true}",
          "\"blob\" is of", 5, NULL, "l" },
    };

    for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
        const char *slot = rows[i / 2].slot, *damage = rows[i / 2].damage;
        const struct key_slot *found;
        struct manifest manifest;
        struct error why;
        char slots[512];

        /* In front of the good one, or behind it. */
        snprintf(slots, sizeof slots, "[%s,%s]", i % 2 ? GOOD_SLOT : slot,
                 i % 2 ? slot : GOOD_SLOT);
        if (parse_with("slots", slots, &manifest, &why) != 0)
            fail_msg("%s: %s", slots, why.text);
        found = &manifest.slots[rows[i / 2].at];
        if (strstr(slot, "\"slot\":3,\"blob\":\"b\"") == NULL || i % 2) {
            assert_string_equal(manifest.slots[3].blob, "good");
            assert_string_equal(manifest.slots[3].label, "mine");
            assert_string_equal(manifest.slots[3].damage, "");
            assert_string_equal(found->label, rows[i / 2].label);
            assert_true(rows[i / 2].blob == NULL ? found->blob == NULL
                                                 : strcmp(found->blob, rows[i / 2].blob) == 0);
        } else { /* which of the two comes first has the number */
            assert_string_equal(found->blob, "good");
        }
        assert_false(key_slot_is_free(found));
        if (strstr(found->damage, damage != NULL ? damage : "") == NULL
            || (damage == NULL) != (found->damage[0] == '\0'))
            fail_msg("%s: \"%s\"", slots, found->damage);
        expect_same(&manifest);
        if (damage != NULL && strstr(slot, "more") != NULL) {
            char *text = manifest_print(&manifest);

            assert_non_null(strstr(text, "\"deep\""));
            assert_non_null(strstr(text, "\"more\": true"));
            free(text);
        }
        manifest_clear(&manifest);
    }
}

TEST(manifest, damaged_slots_keep_their_places)
{
    struct manifest manifest;
    struct error why;

    if (parse_with("slots",
                   "[7,{\"slot\":1,\"label\":\"a\"},{\"slot\":1,\"label\":\"b\"},{\"slot\":0,"
                   "\"blob\":\"x\","
                   "\"label\":\"c\"},{\"slot\":0,\"blob\":\"y\",\"label\":\"d\"}]",
                   &manifest, &why)
        != 0)
        fail_msg("%s", why.text);
    assert_string_equal(manifest.slots[0].label, "c");
    assert_string_equal(manifest.slots[1].label, "a");
    assert_string_equal(manifest.slots[2].damage, "it is of a wrong kind");
    assert_string_equal(manifest.slots[3].label, "b");
    assert_string_equal(manifest.slots[4].label, "d");
    assert_string_equal(manifest.slots[4].blob, "y");
    expect_same(&manifest);
    manifest_clear(&manifest);
}

TEST(manifest, slots_are_alike_or_not_and_the_rest_does_not_matter)
{
    static const char *const slots[] = {
        "[]",
        "[7]",
        "[8]",
        "[{\"slot\":1,\"blob\":\"b\",\"label\":\"l\"}]",
        "[{\"slot\":2,\"blob\":\"b\",\"label\":\"l\"}]",
        "[{\"slot\":1,\"blob\":\"c\",\"label\":\"l\"}]",
        "[{\"slot\":1,\"blob\":\"b\",\"label\":\"m\"}]",
        "[{\"slot\":1,\"blob\":\"b\",\"label\":\"l\"},7]",
    };

    for (size_t i = 0; i < ARRAY_LEN(slots); i++) {
        for (size_t j = 0; j < ARRAY_LEN(slots); j++) {
            struct manifest one, other;
            struct error why;

            assert_int_equal(parse_with("slots", slots[i], &one, &why), 0);
            assert_int_equal(parse_with("slots", slots[j], &other, &why), 0);
            other.epoch++;
            assert_int_equal(manifest_has_slots_of(&one, &other), i == j);
            manifest_clear(&one);
            manifest_clear(&other);
        }
    }
}

TEST(manifest, more_slots_than_there_can_be_are_refused)
{
    char slots[256] = "[0";

    for (unsigned i = 1; i < MANIFEST_SLOTS; i++)
        strcat(slots, ",0");
    strcat(slots, ",0]");
    expect_refused("slots", slots, "more than 32 key slots");
}

/* ---- the MAC */

static struct manifest
sealed(const struct keyring *keyring)
{
    struct manifest manifest = { .id = "0123456789abcde",
                                 .disk_bytes = 1 << 20,
                                 .block_bytes = 4096,
                                 .epoch = 7,
                                 .codec = "zstd,wax",
                                 .accepts = { .count = 2, .tokens = { "wax", "wick" } },
                                 .key_id = 3,
                                 .wrap = FAKE_WRAP };
    struct error why = { "" };

    manifest.slots[0].blob = strdup("blob");
    assert_int_equal(manifest_seal(&manifest, keyring, &why), 0);
    assert_int_equal(manifest_verify(&manifest, keyring, &why), 0);
    return manifest;
}

static void
change_id(struct manifest *manifest)
{
    manifest->id[15] ^= 1;
}

static void
change_disk_bytes(struct manifest *manifest)
{
    manifest->disk_bytes += 4096;
}

static void
change_block_bytes(struct manifest *manifest)
{
    manifest->block_bytes = 8192;
}

static void
change_hashed(struct manifest *manifest)
{
    manifest->is_hashed = true;
}

static void
change_epoch(struct manifest *manifest)
{
    manifest->epoch--;
}

static void
change_codec(struct manifest *manifest)
{
    strcpy(manifest->codec, "wax");
}

static void
change_accepts(struct manifest *manifest)
{
    manifest->accepts.count--;
}

static void
add_to_accepts(struct manifest *manifest)
{
    strcpy(manifest->accepts.tokens[manifest->accepts.count++], "weak");
}

static void
change_key(struct manifest *manifest)
{
    manifest->key_id ^= 1;
}

static void
change_wrap(struct manifest *manifest)
{
    strcpy(manifest->wrap, "scrypt");
}

static void
change_mac(struct manifest *manifest)
{
    manifest->mac[31] ^= 0x80;
}

/* The codec's list moved behind a wrap that pretends to it. */
static void
shift_texts(struct manifest *manifest)
{
    strcpy(manifest->wrap, FAKE_WRAP " accepts=wax,wick codec=zstd,wax");
    manifest->codec[0] = '\0';
}

TEST(manifest, the_mac_covers_each_member_but_the_slots)
{
    static void (*const changes[])(struct manifest *) = {
        change_id,    change_disk_bytes, change_block_bytes, change_hashed,
        change_epoch, change_codec,      change_accepts,     add_to_accepts,
        change_key,   change_wrap,       change_mac,         shift_texts,
    };
    struct keyring keyring, other;

    fake_keyring(&keyring, 1);
    fake_keyring(&other, 2);
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        struct manifest manifest = sealed(&keyring);
        struct error why = { "" };

        changes[i](&manifest);
        if (manifest_verify(&manifest, &keyring, &why) != -EKEYREJECTED || why.text[0] == '\0')
            fail_msg("change %zu is not seen", i);
        manifest_clear(&manifest);
    }
    for (unsigned i = 0; i < 2; i++) {
        struct manifest manifest = sealed(&keyring);
        struct error why = { "" };

        if (i == 0) {
            manifest.slots[5].blob = strdup("another");
            strcpy(manifest.slots[0].label, "label");
        }
        assert_int_equal(manifest_verify(&manifest, i == 0 ? &keyring : &other, &why),
                         i == 0 ? 0 : -EKEYREJECTED);
        manifest_clear(&manifest);
    }
    keyring_clear(&keyring);
    keyring_clear(&other);
}

TEST(manifest, each_change_of_the_slots_has_an_epoch_and_a_mac_of_its_own)
{
    static const uint32_t epochs[][2] = {
        { 0, 1 },
        { 6, 7 },
        { MANIFEST_EPOCH_MAX - 2, MANIFEST_EPOCH_MAX - 1 },
        { MANIFEST_EPOCH_MAX - 1, MANIFEST_EPOCH_MAX - 1 }, /* the last one is for a mount */
        { MANIFEST_EPOCH_MAX, MANIFEST_EPOCH_MAX },
    };
    struct keyring keyring;

    fake_keyring(&keyring, 1);
    for (size_t i = 0; i < ARRAY_LEN(epochs); i++) {
        struct manifest manifest = sealed(&keyring);
        struct error why = { "" };

        manifest.epoch = epochs[i][0];
        assert_int_equal(manifest_renew(&manifest, &keyring, &why), 0);
        assert_int_equal(manifest.epoch, epochs[i][1]);
        assert_int_equal(manifest_verify(&manifest, &keyring, &why), 0);
        manifest_clear(&manifest);
    }
    keyring_clear(&keyring);
}

TEST(manifest, without_a_key_there_is_no_mac_and_without_encryption_none_is_needed)
{
    struct keyring keyring = { .salt = NULL };
    struct manifest manifest = { .codec = "zstd" };
    struct error why = { "" };

    assert_int_equal(manifest_seal(&manifest, &keyring, &why), 0);
    assert_int_equal(manifest_verify(&manifest, &keyring, &why), 0);
    manifest.accepts = (struct encoding){ .count = 1, .tokens = { "wax" } };
    assert_int_equal(manifest_seal(&manifest, &keyring, &why), -EIO);
    assert_int_equal(manifest_verify(&manifest, &keyring, &why), -EIO);
}

TEST(manifest, what_stands_in_its_place_while_the_volume_is_erased_is_no_volume)
{
    for (unsigned i = 0; i < 4; i++) {
        char *text = manifest_print_erased(i & 1, i & 2);
        struct manifest manifest;
        struct error why;

        assert_non_null(text);
        assert_int_equal(manifest_parse(text, strlen(text), &manifest, &why), -EIDRM);
        assert_int_equal(manifest.was_format_2, (i & 1) != 0);
        assert_int_equal(manifest.is_hashed, (i & 2) != 0);
        manifest_clear(&manifest);
        free(text);
    }
}

TEST(manifest, a_mark_of_erasing_that_says_not_what_it_was_is_damage)
{
    static const char *const texts[] = {
        "{\"format\":0}",
        "{\"format\":0,\"was\":2}",
        "{\"format\":0,\"hashed\":true}",
        "{\"format\":0,\"was\":3,\"hashed\":true}",
    };

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct manifest manifest;
        struct error why;

        assert_int_equal(manifest_parse(texts[i], strlen(texts[i]), &manifest, &why), -EBADMSG);
        manifest_clear(&manifest);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(manifest, what_is_read_is_what_is_there),
        RUN(manifest, an_encrypted_one_comes_back_whole),
        RUN(manifest, one_without_encryption_comes_back_whole),
        RUN(manifest, the_largest_one_fits),
        RUN(manifest, what_cannot_be_printed_is_not_left_out),
        RUN(manifest, a_label_is_text_that_can_be_stored_and_shown),
        RUN(manifest, each_member_must_be_there_and_of_its_kind),
        RUN(manifest, each_member_has_its_limits),
        RUN(manifest, texts_that_are_too_long_are_refused),
        RUN(manifest, what_is_no_json_object_is_refused_wherever_it_ends),
        RUN(manifest, a_damaged_slot_harms_no_other_and_stays_as_it_is),
        RUN(manifest, damaged_slots_keep_their_places),
        RUN(manifest, slots_are_alike_or_not_and_the_rest_does_not_matter),
        RUN(manifest, what_stands_in_its_place_while_the_volume_is_erased_is_no_volume),
        RUN(manifest, a_mark_of_erasing_that_says_not_what_it_was_is_damage),
        RUN(manifest, more_slots_than_there_can_be_are_refused),
        RUN(manifest, the_mac_covers_each_member_but_the_slots),
        RUN(manifest, each_change_of_the_slots_has_an_epoch_and_a_mac_of_its_own),
        RUN(manifest, without_a_key_there_is_no_mac_and_without_encryption_none_is_needed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
