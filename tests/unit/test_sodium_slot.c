/* SPDX-License-Identifier: Apache-2.0 */
/* plugins/crypto-sodium/slot.c: the text of a wrapped key. */
#include "test.h"

#include "slot.h"

#include <stdio.h>
#include <string.h>

#define SALT "QEFCQ0RFRkdISUpLTE1OTw=="
#define NONCE "gIGCg4SFhoeIiYqLjI2Oj5CRkpOUlZaX"
#define KEY "74NlcMepqsUDaRJzfsWyXdp3FFCMYjk/SFAB9hh6Cm4GbU/0bPBzWzeROSJeTkEo"
#define COSTS " m=1024 t=3 p=1"
#define REST " salt=" SALT " nonce=" NONCE " key=" KEY
#define GOOD "argon2id v=1" COSTS REST

static void
expect_refused(const char *text, const char *reason)
{
    struct slot slot;
    char why[128] = "";

    if (slot_parse((struct bd_bytes){ text, strlen(text) }, &slot, why, sizeof why))
        fail_msg("taken: %s", text);
    if (strstr(why, reason) == NULL)
        fail_msg("%s: \"%s\" instead of \"%s\"", text, why, reason);
}

TEST(slot, what_is_printed_is_read)
{
    struct slot slot;
    char why[128], text[SLOT_TEXT_BYTES];

    assert_true(slot_parse((struct bd_bytes){ GOOD, strlen(GOOD) }, &slot, why, sizeof why));
    assert_int_equal(slot.memory_kib, 1024);
    assert_int_equal(slot.passes, 3);
    assert_int_equal(slot.salt[15], 0x4f);
    assert_int_equal(slot.nonce[23], 0x97);
    assert_int_equal(slot.sealed_bytes, 48);
    assert_int_equal(slot_print(&slot, text), strlen(GOOD));
    assert_string_equal(text, GOOD);
    assert_int_equal(slot_print_associated(&slot, text), strlen(GOOD) - strlen(" key=" KEY));
}

TEST(slot, the_largest_one_fits)
{
    struct slot slot = { .memory_kib = UINT32_MAX,
                         .passes = UINT32_MAX,
                         .sealed_bytes = SLOT_KEY_BYTES_MAX + SLOT_TAG_BYTES },
                read;
    char why[128], text[SLOT_TEXT_BYTES];
    size_t bytes = slot_print(&slot, text);

    assert_int_equal(bytes, strlen(text));
    assert_true(bytes < SLOT_TEXT_BYTES && bytes <= 4096);
    assert_true(slot_parse((struct bd_bytes){ text, bytes }, &read, why, sizeof why));
    assert_memory_equal(&read, &slot, sizeof slot);
}

TEST(slot, there_is_one_text_for_a_slot)
{
    expect_refused("", "does not begin");
    expect_refused("argon2i v=1" COSTS REST, "does not begin");
    expect_refused("Argon2id v=1" COSTS REST, "does not begin");
    expect_refused(" " GOOD, "does not begin");
    expect_refused(GOOD " ", "more behind");
    expect_refused(GOOD "\n", "\"key\" is not the base64");
    expect_refused(GOOD " more=1", "more behind");
    expect_refused("argon2id  v=1" COSTS REST, "\"v\" is missing");
    expect_refused("argon2id v=1  m=1024 t=3 p=1" REST, "\"m\" is missing");
    expect_refused("argon2id v=1\tm=1024 t=3 p=1" REST, "\"v\" is no number");
    expect_refused("argon2id v=1 m=01024 t=3 p=1" REST, "\"m\" is no number");
    expect_refused("argon2id v=1 m=+1024 t=3 p=1" REST, "\"m\" is no number");
    expect_refused("argon2id v=1 m=1024 t=3 p=1 salt=QEFCQ0RFRkdISUpLTE1OTx== nonce=" NONCE
                   " key=" KEY,
                   "\"salt\" is not the base64"); /* bits that nobody reads */
    expect_refused("argon2id v=1 m=1024 t=3 p=1 salt=QEFCQ0RFRkdISUpLTE1OTw nonce=" NONCE
                   " key=" KEY,
                   "\"salt\" is not the base64");
}

TEST(slot, every_field_is_there_once)
{
    expect_refused("argon2id", "\"v\" is missing");
    expect_refused("argon2id " COSTS REST, "\"v\" is missing");
    expect_refused("argon2id v=1 v=1" COSTS REST, "\"m\" is missing");
    expect_refused("argon2id v=1 t=3 p=1" REST, "\"m\" is missing");
    expect_refused("argon2id v=1 m=1024 m=1024 t=3 p=1" REST, "\"t\" is missing");
    expect_refused("argon2id v=1 m=1024 p=1 t=3" REST, "\"t\" is missing");
    expect_refused("argon2id v=1 m=1024 t=3" REST, "\"p\" is missing");
    expect_refused("argon2id v=1" COSTS " nonce=" NONCE " key=" KEY, "\"salt\" is missing");
    expect_refused("argon2id v=1" COSTS " salt=" SALT " key=" KEY, "\"nonce\" is missing");
    expect_refused("argon2id v=1" COSTS " salt=" SALT " nonce=" NONCE, "\"key\" is missing");
    expect_refused("argon2id v=1" COSTS " salt=" SALT " nonce=" NONCE " key", "\"key\" is missing");
    expect_refused(GOOD " key=" KEY, "more behind");
}

TEST(slot, other_versions_and_lanes_are_refused_by_name)
{
    expect_refused("argon2id v=2" COSTS REST, "version 2, and only 1");
    expect_refused("argon2id v=19" COSTS REST, "version 19");
    expect_refused("argon2id v=0" COSTS REST, "\"v\" is no number");
    expect_refused("argon2id v=1 m=1024 t=3 p=4" REST, "4 lanes");
}

TEST(slot, numbers_are_what_argon2id_can_do)
{
    expect_refused("argon2id v=1 m= t=3 p=1" REST, "\"m\" is no number");
    expect_refused("argon2id v=1 m=7 t=3 p=1" REST, "no number from 8 to 4294967295");
    expect_refused("argon2id v=1 m=4294967296 t=3 p=1" REST, "\"m\" is no number");
    expect_refused("argon2id v=1 m=18446744073709551617 t=3 p=1" REST, "\"m\" is no number");
    expect_refused("argon2id v=1 m=-8 t=3 p=1" REST, "\"m\" is no number");
    expect_refused("argon2id v=1 m=1e3 t=3 p=1" REST, "\"m\" is no number");
    expect_refused("argon2id v=1 m=1024 t=0 p=1" REST, "\"t\" is no number");
}

TEST(slot, base64_is_of_the_right_length)
{
    expect_refused("argon2id v=1" COSTS " salt= nonce=" NONCE " key=" KEY, "\"salt\"");
    expect_refused("argon2id v=1" COSTS " salt=QEFC nonce=" NONCE " key=" KEY, "16 bytes");
    expect_refused("argon2id v=1" COSTS " salt=" NONCE " nonce=" NONCE " key=" KEY, "\"salt\"");
    expect_refused("argon2id v=1" COSTS " salt=" SALT " nonce=" SALT " key=" KEY, "24 bytes");
    expect_refused("argon2id v=1" COSTS " salt=" SALT " nonce=" NONCE " key=" NONCE,
                   "32 or more bytes");
    expect_refused("argon2id v=1" COSTS " salt=" SALT " nonce=" NONCE " key=" KEY KEY, "\"key\"");
    expect_refused("argon2id v=1" COSTS " salt=" SALT " nonce=" NONCE " key=" SALT KEY, "\"key\"");
    expect_refused("argon2id v=1" COSTS " salt=8PHy8\xafT19vf4+fr7/P3+/w== nonce=" NONCE
                   " key=" KEY,
                   "\"salt\"");
    expect_refused("argon2id v=1" COSTS " salt=QEFCQ0RFRkdI!UpLTE1OTw== nonce=" NONCE " key=" KEY,
                   "\"salt\"");
}

/* Not through strings: zero bytes, and an end that nothing follows. */
TEST(slot, each_byte_counts_and_nothing_behind_them_is_read)
{
    struct slot slot;
    char why[128], text[sizeof GOOD];

    /* With 44 digits of the key or more it may be a good slot of a shorter key. */
    for (size_t bytes = 0; bytes < sizeof GOOD - sizeof KEY + 44; bytes++) {
        char *exact = test_malloc(bytes + 1);

        memcpy(exact, GOOD, bytes);
        exact[bytes] = 'A';
        assert_false(slot_parse((struct bd_bytes){ exact, bytes }, &slot, why, sizeof why));
        test_free(exact);
    }
    assert_false(slot_parse((struct bd_bytes){ NULL, 0 }, &slot, why, sizeof why));
    for (size_t at = 0; at < sizeof GOOD - 1; at++) {
        memcpy(text, GOOD, sizeof GOOD);
        text[at] = '\0';
        assert_false(
            slot_parse((struct bd_bytes){ text, sizeof GOOD - 1 }, &slot, why, sizeof why));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(slot, what_is_printed_is_read),
        RUN(slot, the_largest_one_fits),
        RUN(slot, there_is_one_text_for_a_slot),
        RUN(slot, every_field_is_there_once),
        RUN(slot, other_versions_and_lanes_are_refused_by_name),
        RUN(slot, numbers_are_what_argon2id_can_do),
        RUN(slot, base64_is_of_the_right_length),
        RUN(slot, each_byte_counts_and_nothing_behind_them_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
