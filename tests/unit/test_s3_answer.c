/* SPDX-License-Identifier: Apache-2.0 */
/* plugins/backend-s3/answer.c: what is taken from the headers of an answer. */
#include "test.h"

#include "answer.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static struct answer answer;

static void
read_headers(const char *lines)
{
    answer_reset(&answer);
    while (*lines != '\0') {
        size_t bytes = strcspn(lines, "\n") + 1;

        answer_header(&answer, lines, bytes);
        lines += bytes;
    }
}

TEST(answer, headers_are_found_in_any_case)
{
    read_headers(
        "HTTP/1.1 200 OK\r\nETAG: \"abc\"\r\ncontent-length:  12 \r\nX-Amz-Request-Id: R1\r\n"
        "X-AMZ-BUCKET-REGION: eu-west-1\r\nDate: Sat, 21 Nov 2026 03:25:49 GMT\r\n\r\n");
    assert_int_equal(answer.http_status, 200);
    assert_string_equal(answer.etag, "abc");
    assert_true(answer.has_content_bytes);
    assert_int_equal(answer.content_bytes, 12);
    assert_string_equal(answer.request_id, "R1");
    assert_string_equal(answer.region, "eu-west-1");
    assert_int_equal(answer_date(&answer), 1795231549);
}

TEST(answer, tags_lose_quotes_and_weakness)
{
    static const char *const tags[][2] = {
        { "\"abc\"", "abc" }, { "W/\"abc\"", "abc" }, { "abc", "abc" },
        { "\"\"", "" },       { "\"", "\"" },
    };

    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++) {
        char line[64];

        snprintf(line, sizeof line, "ETag: %s\r\n", tags[i][0]);
        read_headers(line);
        assert_string_equal(answer.etag, tags[i][1]);
    }
}

TEST(answer, a_tag_that_is_too_long_is_none)
{
    char line[400] = "ETag: ";

    memset(line + 6, 'x', 300);
    strcpy(line + 306, "\r\n");
    read_headers(line);
    assert_string_equal(answer.etag, "");
}

TEST(answer, the_encoding_is_verbatim_without_its_travelling_clothes)
{
    static const char *const encodings[][2] = {
        { "Content-Encoding: deflate,encrypt-AES-128-CBC\r\n", "deflate,encrypt-AES-128-CBC" },
        { "Content-Encoding: aws-chunked\r\n", "" },
        { "Content-Encoding: aws-chunked, zstd , ,x-own,\r\n", "zstd,x-own" },
        { "Content-Encoding: zstd\r\nContent-Encoding: x-own\r\n", "zstd,x-own" },
        { "Content-Encoding:\r\n", "" },
        { "Content-Encoding: AWS-Chunked,gzip\r\n", "gzip" },
    };

    for (size_t i = 0; i < sizeof encodings / sizeof encodings[0]; i++) {
        read_headers(encodings[i][0]);
        assert_string_equal(answer.encoding, encodings[i][1]);
        assert_false(answer.is_encoding_cut);
    }
}

TEST(answer, an_encoding_that_does_not_fit_is_not_cut_in_silence)
{
    char line[BD_ENCODING_BYTES_MAX + 64] = "Content-Encoding: ";

    memset(line + 18, 'x', BD_ENCODING_BYTES_MAX + 1);
    strcpy(line + 18 + BD_ENCODING_BYTES_MAX + 1, "\r\n");
    read_headers(line);
    assert_true(answer.is_encoding_cut);
}

TEST(answer, attributes_that_can_be_ours_are_taken)
{
    char line[400] = "x-amz-meta-too-long: ";

    memset(line + 21, 'v', BD_ATTR_VALUE_BYTES_MAX + 1);
    strcpy(line + 21 + BD_ATTR_VALUE_BYTES_MAX + 1, "\r\n");
    read_headers("x-amz-meta-s3backer-filesize: 1048576\r\nX-Amz-Meta-HMAC: \"ab cd\" \r\n"
                 "x-amz-meta-not_ours: 1\r\nx-amz-meta-: 2\r\nx-amz-meta-empty:\r\n");
    answer_header(&answer, line, strlen(line));
    assert_int_equal(answer.attr_count, 3);
    assert_string_equal(answer.attrs[0].name, "s3backer-filesize");
    assert_string_equal(answer.attrs[0].value, "1048576");
    assert_string_equal(answer.attrs[1].name, "hmac");
    assert_string_equal(answer.attrs[1].value, "\"ab cd\"");
    assert_string_equal(answer.attrs[2].name, "empty");
    assert_int_equal(answer.attrs[2].value_bytes, 0);
}

TEST(answer, any_number_of_attributes_stays_in_bounds)
{
    answer_reset(&answer);
    for (int i = 0; i < 1000; i++) {
        char line[300];

        snprintf(line, sizeof line, "x-amz-meta-a%d: %0200d\r\n", i, i);
        answer_header(&answer, line, strlen(line));
    }
    assert_in_range(answer.attr_count, 1, ANSWER_ATTRS_MAX);
    assert_in_range(answer.text_bytes, 1, ANSWER_TEXT_BYTES);
}

TEST(answer, ranges_name_the_whole_and_the_start)
{
    read_headers("HTTP/1.1 206 X\r\nContent-Range: bytes 100-199/1000\r\n");
    assert_true(answer.has_total_bytes);
    assert_int_equal(answer.total_bytes, 1000);
    assert_int_equal(answer.range_start, 100);
    assert_true(answer.has_range);
    read_headers("HTTP/1.1 416 X\r\nContent-Range: bytes */77\r\n");
    assert_true(answer.has_total_bytes);
    assert_int_equal(answer.total_bytes, 77);
    assert_false(answer.has_range);
    read_headers("HTTP/1.1 206 X\r\nContent-Range: bytes 0-5/*\r\n");
    assert_false(answer.has_total_bytes);
    assert_true(answer.has_range);
    read_headers("HTTP/1.1 206 X\r\nContent-Range: bytes x-5/10\r\n");
    assert_false(answer.has_total_bytes);
    read_headers("HTTP/1.1 206 X\r\nContent-Range: lines 1-5/10\r\n");
    assert_false(answer.has_total_bytes);
}

TEST(answer, numbers_that_are_none_are_not_taken)
{
    static const char *const lines[] = {
        "Content-Length: -1\r\n",  "Content-Length: 0x10\r\n",
        "Content-Length:\r\n",     "Content-Length: 99999999999999999999\r\n",
        "Content-Length: 1 2\r\n",
    };

    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        read_headers(lines[i]);
        assert_false(answer.has_content_bytes);
    }
}

TEST(answer, retry_after_is_seconds_or_a_date_and_bounded)
{
    char date[64], line[128];
    time_t then = time(NULL) + 100;
    struct tm tm;

    read_headers("Retry-After: 7\r\n");
    assert_int_equal(answer.retry_after_ms, 7000);
    read_headers("Retry-After: 999999999\r\n");
    assert_int_equal(answer.retry_after_ms, 3600 * 1000);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&then, &tm));
    snprintf(line, sizeof line, "Retry-After: %s\r\n", date);
    read_headers(line);
    assert_in_range(answer.retry_after_ms, 90 * 1000, 100 * 1000);
    read_headers("Retry-After: Sat, 21 Nov 2015 03:25:49 GMT\r\n");
    assert_int_equal(answer.retry_after_ms, 0);
    read_headers("Retry-After: soon\r\n");
    assert_int_equal(answer.retry_after_ms, 0);
}

TEST(answer, keep_alive_says_how_long)
{
    read_headers("Keep-Alive: timeout=5, max=100\r\n");
    assert_int_equal(answer.keep_alive_s, 5);
    read_headers("Keep-Alive: max=100\r\n");
    assert_int_equal(answer.keep_alive_s, 0);
}

TEST(answer, the_last_status_line_begins_anew)
{
    read_headers("HTTP/1.1 100 Continue\r\nETag: \"old\"\r\n\r\nHTTP/1.1 404 Not Found\r\n");
    assert_int_equal(answer.http_status, 404);
    assert_string_equal(answer.etag, "");
    read_headers("HTTP/2 503\r\n");
    assert_int_equal(answer.http_status, 503);
    read_headers("HTTP/1.1 abc\r\n");
    assert_int_equal(answer.http_status, 0);
}

TEST(answer, a_body_grows_to_its_limit)
{
    answer_reset(&answer);
    for (int i = 0; i < 100; i++)
        assert_true(answer_body(&answer, "0123456789", 10, 555));
    assert_int_equal(answer.body_bytes, 555);
    assert_int_equal(answer.body[555], '\0');
    assert_memory_equal(answer.body + 550, "01234", 5);
    answer_free(&answer);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(answer, headers_are_found_in_any_case),
        RUN(answer, tags_lose_quotes_and_weakness),
        RUN(answer, a_tag_that_is_too_long_is_none),
        RUN(answer, the_encoding_is_verbatim_without_its_travelling_clothes),
        RUN(answer, an_encoding_that_does_not_fit_is_not_cut_in_silence),
        RUN(answer, attributes_that_can_be_ours_are_taken),
        RUN(answer, any_number_of_attributes_stays_in_bounds),
        RUN(answer, ranges_name_the_whole_and_the_start),
        RUN(answer, numbers_that_are_none_are_not_taken),
        RUN(answer, retry_after_is_seconds_or_a_date_and_bounded),
        RUN(answer, keep_alive_says_how_long),
        RUN(answer, the_last_status_line_begins_anew),
        RUN(answer, a_body_grows_to_its_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
