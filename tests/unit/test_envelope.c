/* SPDX-License-Identifier: Apache-2.0 */
/* core/envelope.c: the header of a body of format 2, and what is authenticated with it. */
#include "test.h"

#include "base/util.h"
#include "envelope.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t volume[VOLUME_ID_BYTES] = "0123456789abcde";

static struct envelope
envelope_of(const char *list, uint64_t generation, uint16_t key_id)
{
    struct envelope envelope = { .generation = generation, .key_id = key_id };

    assert_int_equal(encoding_parse(list, &envelope.encoding, NULL), 0);
    return envelope;
}

/* In memory of its own, so that a read behind its end is seen. */
static int
read_exact(const void *body, size_t bytes, struct envelope *out, size_t *header_bytes,
           struct error *why)
{
    void *exact = malloc(bytes);
    int rc;

    if (bytes > 0)
        memcpy(exact, body, bytes);
    rc = envelope_read(exact, bytes, out, header_bytes, why);
    free(exact);
    return rc;
}

static void
expect_refused(const void *body, size_t bytes, const char *reason)
{
    struct envelope out;
    struct error why = { "" };
    size_t header_bytes;

    assert_int_equal(read_exact(body, bytes, &out, &header_bytes, &why), -EBADMSG);
    if (strstr(why.text, reason) == NULL)
        fail_msg("\"%s\" instead of \"%s\"", why.text, reason);
}

TEST(envelope, it_has_the_bytes_that_its_description_says)
{
    static const uint8_t expected[] = {
        'b', 'k', 'd', '2', 1, 5,   0x34, 0x12, 0x08, 0x07, 0x06,
        5,   4,   3,   2,   1, 'z', ',',  'w',  'a',  'x',
    };
    struct envelope envelope = envelope_of("z, wax", 0x0102030405060708, 0x1234);
    uint8_t header[ENVELOPE_BYTES_MAX];
    size_t bytes;

    assert_int_equal(envelope_write(&envelope, header, &bytes), 0);
    assert_int_equal(bytes, sizeof expected);
    assert_memory_equal(header, expected, sizeof expected);
}

TEST(envelope, what_is_written_is_read_and_the_data_begin_behind_it)
{
    static const struct {
        const char *list;
        uint64_t generation;
        uint16_t key_id;
    } rows[] = {
        { "", 0, 0 },
        { "zstd", 1, 1 },
        { "zstd,xaes-256-gcm", UINT64_MAX, UINT16_MAX },
        { "a,b,c,d,e", 1ull << GENERATION_COUNTER_BITS, 256 },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct envelope envelope = envelope_of(rows[i].list, rows[i].generation, rows[i].key_id);
        uint8_t body[ENVELOPE_BYTES_MAX + 3];
        struct envelope back;
        struct error why;
        size_t bytes, found;

        assert_int_equal(envelope_write(&envelope, body, &bytes), 0);
        memset(body + bytes, 'x', 3);
        for (size_t more = 0; more <= 3; more++) {
            assert_int_equal(read_exact(body, bytes + more, &back, &found, &why), 0);
            assert_int_equal(found, bytes);
            assert_int_equal(back.generation, rows[i].generation);
            assert_int_equal(back.key_id, rows[i].key_id);
            assert_memory_equal(&back.encoding, &envelope.encoding, sizeof back.encoding);
        }
        for (size_t less = 0; less < bytes; less++)
            expect_refused(body, less, less < ENVELOPE_FIXED_BYTES ? "begin" : "ends within");
    }
}

/* A byte of each part, changed in each way: refused, or seen in what is read, so that the codec, which authenticates
 * the header as it stands there, sees it too. */
TEST(envelope, no_changed_byte_goes_unnoticed)
{
    struct envelope envelope = envelope_of("zstd,wax", 0x0102030405060708, 3);
    uint8_t body[ENVELOPE_BYTES_MAX];
    size_t bytes, found;

    assert_int_equal(envelope_write(&envelope, body, &bytes), 0);
    for (size_t at = 0; at < bytes; at++) {
        for (unsigned change = 1; change < 256; change++) {
            struct envelope back = { .key_id = 0 };
            struct error why = { "" };
            int rc;

            body[at] ^= (uint8_t)change;
            rc = read_exact(body, bytes, &back, &found, &why);
            if (rc == 0)
                assert_true(back.key_id != 3 || back.generation != envelope.generation
                            || memcmp(&back.encoding, &envelope.encoding, sizeof back.encoding)
                                   != 0);
            else
                assert_true(rc == -EBADMSG && why.text[0] != '\0');
            if (at < 5)
                expect_refused(body, bytes, at < 4 ? "begin" : "version");
            if (at == 5 && body[at] > 8)
                expect_refused(body, bytes, "ends within");
            body[at] ^= (uint8_t)change;
        }
    }
}

/* One way to write a list: else two headers would mean the same, and one of them would not be what was authenticated
 * byte by byte elsewhere. */
TEST(envelope, a_list_that_is_spelled_otherwise_is_malformed)
{
    static const struct {
        const char *list;
        size_t bytes; /* 0: all of it */
        const char *reason;
    } rows[] = {
        { "a, b", 0, "malformed" },
        { "a b", 0, "malformed" },
        { ",a", 0, "malformed" },
        { "a,", 0, "malformed" },
        { "a,,b", 0, "malformed" },
        { " a", 0, "malformed" },
        { "a\n", 0, "malformed" },
        { ",", 0, "malformed" },
        { "identity", 0, "malformed" },
        { "a,aws-chunked", 0, "malformed" },
        { "a\0b", 3, "malformed" },
        { "a\0", 2, "malformed" },
        { "\0", 1, "malformed" },
        { "a,b\x01", 0, "not text" },
        { "\xff", 0, "not text" },
        { "a,b,c,d,e,f", 0, "more than" },
        { "a-token-that-is-longer-than-any-token-can-be-so-that-nobody-has-it-at-all", 0,
          "token of" },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t len = rows[i].bytes != 0 ? rows[i].bytes : strlen(rows[i].list);
        uint8_t body[ENVELOPE_BYTES_MAX] = { 'b', 'k', 'd', '2', 1, (uint8_t)len };

        memcpy(body + ENVELOPE_FIXED_BYTES, rows[i].list, len);
        expect_refused(body, ENVELOPE_FIXED_BYTES + len, rows[i].reason);
    }
}

TEST(envelope, a_list_as_long_as_can_be_fits_and_a_longer_one_is_refused)
{
    struct envelope envelope = { .encoding.count = 4 }, back;
    uint8_t body[ENVELOPE_BYTES_MAX];
    struct error why;
    size_t bytes, found;

    /* 4 of 63 and 3 commas are 255 */
    for (unsigned i = 0; i < 4; i++)
        memset(envelope.encoding.tokens[i], 'a' + (int)i, BD_TOKEN_BYTES_MAX);
    assert_int_equal(envelope_write(&envelope, body, &bytes), 0);
    assert_int_equal(bytes, ENVELOPE_BYTES_MAX);
    assert_int_equal(read_exact(body, bytes, &back, &found, &why), 0);
    assert_int_equal(found, bytes);
    assert_memory_equal(&back.encoding, &envelope.encoding, sizeof back.encoding);
    strcpy(envelope.encoding.tokens[envelope.encoding.count++], "e");
    assert_int_equal(envelope_write(&envelope, body, &bytes), -E2BIG);
}

/* ---- what is authenticated */

TEST(envelope, each_thing_that_is_associated_counts)
{
    enum { BASE, VOLUME, BLOCK, SIZE, GENERATION, KEY, LIST, OUTER, COUNT };
    uint8_t texts[COUNT][ASSOCIATED_BYTES_MAX];
    size_t lens[COUNT];

    for (unsigned i = 0; i < COUNT; i++) {
        struct envelope envelope = envelope_of(i == LIST    ? "deflate,wax"
                                               : i == OUTER ? "zstd,wan"
                                                            : "zstd,wax",
                                               i == GENERATION ? 8 : 7, i == KEY ? 2 : 1);
        uint8_t id[VOLUME_ID_BYTES], header[ENVELOPE_BYTES_MAX];
        size_t bytes;

        memcpy(id, volume, sizeof id);
        id[15] ^= i == VOLUME;
        assert_int_equal(envelope_write(&envelope, header, &bytes), 0);
        lens[i] = envelope_associated(id, i == BLOCK ? 5ull << 32 : 5, i == SIZE ? 8192 : 4096,
                                      header, bytes, texts[i]);
        assert_int_equal(lens[i], ASSOCIATED_FIXED_BYTES + bytes);
        for (unsigned j = 0; j < i; j++)
            assert_false(lens[i] == lens[j] && memcmp(texts[i], texts[j], lens[i]) == 0);
    }
}

TEST(envelope, the_longest_header_fits_into_what_is_associated)
{
    uint8_t header[ENVELOPE_BYTES_MAX] = { 0 };
    uint8_t *out = malloc(ASSOCIATED_BYTES_MAX);

    assert_int_equal(
        envelope_associated(volume, UINT64_MAX, UINT32_MAX, header, sizeof header, out),
        ASSOCIATED_BYTES_MAX);
    free(out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(envelope, it_has_the_bytes_that_its_description_says),
        RUN(envelope, what_is_written_is_read_and_the_data_begin_behind_it),
        RUN(envelope, no_changed_byte_goes_unnoticed),
        RUN(envelope, a_list_that_is_spelled_otherwise_is_malformed),
        RUN(envelope, a_list_as_long_as_can_be_fits_and_a_longer_one_is_refused),
        RUN(envelope, each_thing_that_is_associated_counts),
        RUN(envelope, the_longest_header_fits_into_what_is_associated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
