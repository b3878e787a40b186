/* SPDX-License-Identifier: Apache-2.0 */
/* backend-s3: uri.c and headers.c, and text.c beneath them. */
#include "test.h"

#include "base/util.h"
#include "headers.h"
#include "text.h"
#include "uri.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TEST(uri, every_byte_but_the_unreserved_is_encoded)
{
    for (int c = 1; c < 256; c++) {
        bool is_plain =
            strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~", c) != NULL;
        char in[2] = { (char)c, '\0' }, out[4] = "", expected[4];

        snprintf(expected, sizeof expected, is_plain ? "%c" : "%%%02X", c);
        assert_true(uri_append(out, sizeof out, in, false));
        assert_string_equal(out, expected);
        assert_true(uri_decode(out, true));
        assert_string_equal(out, in);
    }
}

TEST(uri, a_path_keeps_its_slashes)
{
    char out[32] = "/bucket";

    assert_true(uri_append(out, sizeof out, "/a b/c", true));
    assert_string_equal(out, "/bucket/a%20b/c");
    assert_true(uri_append(out, sizeof out, "/d", false));
    assert_string_equal(out, "/bucket/a%20b/c%2Fd");
}

TEST(uri, what_does_not_fit_is_not_appended)
{
    char out[8] = "abc";

    assert_false(uri_append(out, sizeof out, "d/f", false));
    assert_string_equal(out, "abc");
    assert_true(uri_append(out, sizeof out, "d/", false));
    assert_string_equal(out, "abcd%2F");
    assert_false(uri_append(out, sizeof out, "x", false));
    assert_true(uri_append(out, sizeof out, "", false));
}

TEST(uri, the_longest_encoding_has_the_room_that_the_header_says)
{
    char in[101], out[URI_ENCODED_BYTES(100)] = "";

    memset(in, '%', 100);
    in[100] = '\0';
    assert_true(uri_append(out, sizeof out, in, true));
    assert_false(uri_append(out, sizeof out, "x", true));
}

TEST(uri, decoding_takes_both_cases_and_plus_only_when_asked)
{
    char text[] = "%c3%A9+%2b%2F", same[] = "%c3%A9+%2b%2F";

    assert_true(uri_decode(text, false));
    assert_string_equal(text, "\xc3\xa9++/");
    assert_true(uri_decode(same, true));
    assert_string_equal(same, "\xc3\xa9 +/");
}

TEST(uri, malformed_encodings_are_refused)
{
    static const char *const refused[] = { "%",    "%4",   "a%",  "%4g", "%g4",
                                           "%%41", "% 41", "%00", "%-1" };

    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        char *text = strdup(refused[i]); /* on the heap, so that a sanitizer sees its end */

        assert_false(uri_decode(text, true));
        free(text);
    }
}

/* ------------------------------------------------------------------ headers */

TEST(headers, names_are_lowered_and_values_trimmed)
{
    struct headers headers;

    headers_init(&headers);
    headers_add(&headers, "X-Amz-Meta-A", " \tb  C\t ");
    headers_add(&headers, "empty", "  ");
    assert_false(headers.is_overfull);
    assert_string_equal(headers.list[0].name, "x-amz-meta-a");
    assert_string_equal(headers.list[0].value, "b  C");
    assert_string_equal(headers_get(&headers, "X-AMZ-meta-a"), "b  C");
    assert_string_equal(headers_get(&headers, "empty"), "");
    assert_null(headers_get(&headers, "x-amz-meta"));
}

TEST(headers, the_first_of_a_name_is_found)
{
    struct headers headers;

    headers_init(&headers);
    headers_add(&headers, "a", "1");
    headers_add(&headers, "A", "2");
    assert_int_equal(headers.count, 2);
    assert_string_equal(headers_get(&headers, "a"), "1");
}

TEST(headers, nothing_can_smuggle_a_line_in)
{
    static const struct {
        const char *name, *value;
        size_t bytes;
    } refused[] = {
        { "a", "b\r\nc: d", 7 }, { "a", "b\n", 2 },  { "a", "\rb", 2 },  { "a", "b\tc", 3 },
        { "a", "b\0c", 3 },      { "a", "\x7f", 1 }, { "a\n", "b", 1 },  { "a:", "b", 1 },
        { "a b", "c", 1 },       { "", "b", 1 },     { "\xc3", "b", 1 }, { "a\r", "", 0 },
    };

    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct headers headers;

        headers_init(&headers);
        headers_add_bytes(&headers, refused[i].name, refused[i].value, refused[i].bytes);
        assert_true(headers.is_overfull);
        assert_int_equal(headers.count, 0);
    }
}

TEST(headers, bytes_over_127_are_the_other_sides_matter)
{
    struct headers headers;

    headers_init(&headers);
    headers_add(&headers, "a", "\xc3\xa9");
    assert_false(headers.is_overfull);
    assert_string_equal(headers_get(&headers, "a"), "\xc3\xa9");
}

TEST(headers, the_last_that_fits_fits)
{
    static struct headers headers;
    static char value[HEADERS_TEXT_BYTES];

    memset(value, 'v', sizeof value);
    headers_init(&headers);
    headers_add_bytes(&headers, "n", value, HEADERS_TEXT_BYTES - 3);
    assert_false(headers.is_overfull);
    assert_int_equal(strlen(headers_get(&headers, "n")), HEADERS_TEXT_BYTES - 3);
    assert_int_equal(headers.text_bytes, HEADERS_TEXT_BYTES);
    headers_add(&headers, "m", "");
    assert_true(headers.is_overfull);

    headers_init(&headers);
    headers_add_bytes(&headers, "n", value, HEADERS_TEXT_BYTES - 2);
    assert_true(headers.is_overfull);
    assert_int_equal(headers.count, 0);

    headers_init(&headers);
    for (unsigned i = 0; i < HEADERS_MAX; i++)
        headers_add(&headers, "n", "v");
    assert_false(headers.is_overfull);
    headers_add(&headers, "n", "v");
    assert_true(headers.is_overfull);
    assert_int_equal(headers.count, HEADERS_MAX);
}

TEST(headers, sorting_is_by_byte_and_keeps_the_order_of_equals)
{
    const struct header fields[] = { { "b", "1" }, { "a-b", "2" }, { "b", "3" }, { "a", "4" },
                                     { "a", "5" }, { "a_b", "6" }, { "b", "7" } };
    const struct header *list[ARRAY_LEN(fields)];
    char order[ARRAY_LEN(fields) + 1] = "";

    for (unsigned i = 0; i < ARRAY_LEN(fields); i++)
        list[i] = &fields[i];
    headers_sort(list, ARRAY_LEN(fields));
    for (unsigned i = 0; i < ARRAY_LEN(fields); i++)
        strcat(order, list[i]->value);
    assert_string_equal(order, "4526137");
}

/* ------------------------------------------------------------------ text */

TEST(text, is_never_half_added_and_stays_overfull)
{
    char buffer[6];
    struct text text;

    text_init(&text, buffer, sizeof buffer);
    text_add(&text, "abc");
    text_add(&text, "de");
    assert_false(text.is_overfull);
    assert_string_equal(text.start, "abcde");
    text_add(&text, "f");
    assert_true(text.is_overfull);
    text_add(&text, "");
    assert_true(text.is_overfull);
    assert_string_equal(text.start, "abcde");

    text_init(&text, buffer, sizeof buffer);
    text_add(&text, "abcdef");
    assert_true(text.is_overfull);
    text_add(&text, "a");
    assert_string_equal(text.start, "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(uri, every_byte_but_the_unreserved_is_encoded),
        RUN(uri, a_path_keeps_its_slashes),
        RUN(uri, what_does_not_fit_is_not_appended),
        RUN(uri, the_longest_encoding_has_the_room_that_the_header_says),
        RUN(uri, decoding_takes_both_cases_and_plus_only_when_asked),
        RUN(uri, malformed_encodings_are_refused),
        RUN(headers, names_are_lowered_and_values_trimmed),
        RUN(headers, the_first_of_a_name_is_found),
        RUN(headers, nothing_can_smuggle_a_line_in),
        RUN(headers, bytes_over_127_are_the_other_sides_matter),
        RUN(headers, the_last_that_fits_fits),
        RUN(headers, sorting_is_by_byte_and_keeps_the_order_of_equals),
        RUN(text, is_never_half_added_and_stays_overfull),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
