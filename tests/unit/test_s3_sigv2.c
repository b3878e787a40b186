/* SPDX-License-Identifier: Apache-2.0 */
/* backend-s3/sigv2.c: the examples of "Signing and authenticating REST requests" in the S3 user
 * guide, and the rules that these do not show. */
#include "test.h"

#include "base/util.h"
#include "sigv2.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#define BUCKET "awsexamplebucket1"

static const struct credentials example = { .access_id = "AKIAIOSFODNN7EXAMPLE",
                                            .secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" };

static const struct {
    const char *name, *method, *bucket, *path, *query;
    struct header headers[10];
    const char *signature;
} vectors[] = {
    { "object GET",
      "GET",
      BUCKET,
      "/photos/puppy.jpg",
      "",
      { { "Date", "Tue, 27 Mar 2007 19:36:42 +0000" } },
      "qgk2+6Sv9/oM7G3qLEjTH1a1l1g=" },
    { "object PUT",
      "PUT",
      BUCKET,
      "/photos/puppy.jpg",
      "",
      { { "Content-Type", "image/jpeg" }, { "Date", "Tue, 27 Mar 2007 21:15:45 +0000" } },
      "iqRzw+ileNPu1fhspnRs8nOjjIA=" },
    { "list",
      "GET",
      BUCKET,
      "/",
      "marker=puppy&max-keys=50&prefix=photos",
      { { "Date", "Tue, 27 Mar 2007 19:42:41 +0000" } },
      "m0WP8eCtspQl5Ahe6L1SozdX9YA=" },
    { "fetch",
      "GET",
      BUCKET,
      "/",
      "acl",
      { { "Date", "Tue, 27 Mar 2007 19:44:46 +0000" } },
      "82ZHiFIjc+WbcwFKGUVEQspPn+0=" },
    /* Its string to sign has the time in the line of Date.  (The request beside it has that time
     * in x-amz-date, which by the guide's own rule is signed as such, with an empty line of
     * Date.) */
    { "DELETE",
      "DELETE",
      NULL,
      "/" BUCKET "/photos/puppy.jpg",
      "",
      { { "Date", "Tue, 27 Mar 2007 21:20:26 +0000" } },
      "XbyTlbQdu9Xw5o8P4iMwPktxQd8=" },
    { "upload",
      "PUT",
      "static.example.com",
      "/db-backup.dat.gz",
      "",
      { { "Date", "Tue, 27 Mar 2007 21:06:08 +0000" },
        { "x-amz-acl", "public-read" },
        { "content-type", "application/x-download" },
        { "Content-MD5", "4gJE4saaMU4BqNR0kLY+lw==" },
        { "X-Amz-Meta-ReviewedBy", "joe@example.com" },
        { "X-Amz-Meta-ReviewedBy", "jane@example.com" },
        { "X-Amz-Meta-FileChecksum", "0x02661779" },
        { "X-Amz-Meta-ChecksumAlgorithm", "crc32" },
        { "Content-Disposition", "attachment; filename=database.dat" },
        { "Content-Encoding", "gzip" } },
      "jtBQa0Aq+DkULFI8qrpwIjGEx0E=" },
    { "list all my buckets",
      "GET",
      NULL,
      "/",
      "",
      { { "Date", "Wed, 28 Mar 2007 01:29:59 +0000" } },
      "qGdzdERIC03wnaRNKh6OqZehG9s=" },
    { "unicode keys",
      "GET",
      NULL,
      "/dictionary/fran%C3%A7ais/pr%c3%a9f%c3%a8re",
      "",
      { { "Date", "Wed, 28 Mar 2007 01:49:49 +0000" } },
      "DNEZGsoieTZ92F3bUfSPQcbGmlM=" },
};

TEST(sigv2, the_examples_of_the_user_guide_come_out_as_printed_there)
{
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        struct http_request request = { .method = vectors[i].method,
                                        .path = vectors[i].path,
                                        .query = vectors[i].query,
                                        .bucket = vectors[i].bucket };
        char expected[128];

        print_message("%s\n", vectors[i].name);
        headers_init(&request.headers);
        for (size_t j = 0; j < ARRAY_LEN(vectors[i].headers) && vectors[i].headers[j].name != NULL;
             j++)
            headers_add(&request.headers, vectors[i].headers[j].name, vectors[i].headers[j].value);
        assert_true(sigv2_sign(&request, &example, 0));
        snprintf(expected, sizeof expected, "AWS AKIAIOSFODNN7EXAMPLE:%s", vectors[i].signature);
        assert_string_equal(headers_get(&request.headers, "authorization"), expected);
    }
}

/* That `request` is signed as this string. */
static void
expect_signed(const struct http_request *request, const char *string)
{
    unsigned char digest[20], base64[32];
    char expected[128];

    HMAC(EVP_sha1(), example.secret, (int)strlen(example.secret), (const unsigned char *)string,
         strlen(string), digest, NULL);
    EVP_EncodeBlock(base64, digest, sizeof digest);
    snprintf(expected, sizeof expected, "AWS %s:%s", example.access_id, base64);
    assert_string_equal(headers_get(&request->headers, "authorization"), expected);
}

TEST(sigv2, a_request_without_a_date_gets_one)
{
    struct http_request request = { .method = "GET", .path = "/b/k", .query = "" };

    headers_init(&request.headers);
    assert_true(sigv2_sign(&request, &example, 784111777));
    assert_string_equal(headers_get(&request.headers, "date"), "Sun, 06 Nov 1994 08:49:37 GMT");
    expect_signed(&request, "GET\n\n\nSun, 06 Nov 1994 08:49:37 GMT\n/b/k");
}

TEST(sigv2, an_x_amz_date_takes_the_place_of_the_date)
{
    struct http_request request = { .method = "GET", .path = "/b/k", .query = "" };

    headers_init(&request.headers);
    headers_add(&request.headers, "x-amz-date", "Tue, 27 Mar 2007 21:20:26 +0000");
    assert_true(sigv2_sign(&request, &example, 784111777));
    assert_null(headers_get(&request.headers, "date"));
    expect_signed(&request, "GET\n\n\n\nx-amz-date:Tue, 27 Mar 2007 21:20:26 +0000\n/b/k");

    headers_init(&request.headers);
    headers_add(&request.headers, "date", "Tue, 27 Mar 2007 21:20:27 +0000");
    headers_add(&request.headers, "x-amz-date", "Tue, 27 Mar 2007 21:20:26 +0000");
    assert_true(sigv2_sign(&request, &example, 784111777));
    expect_signed(&request, "GET\n\n\n\nx-amz-date:Tue, 27 Mar 2007 21:20:26 +0000\n/b/k");
}

TEST(sigv2, only_sub_resources_are_signed_of_the_query_their_values_decoded)
{
    static const struct {
        const char *query, *resource;
    } rows[] = {
        { "delete", "/b/?delete" },
        { "delete=", "/b/?delete" },
        { "acls&delet&deleted=1&prefix=acl", "/b/" },
        { "a=b&uploads&zone=1", "/b/?uploads" },
        { "partNumber=2&uploadId=x%2By%20z", "/b/?partNumber=2&uploadId=x+y z" },
        { "location&versioning", "/b/?location&versioning" },
        { "versionId=a+b", "/b/?versionId=a+b" },
        { "response-content-type=a%2Fb&x=", "/b/?response-content-type=a/b" },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_request request = {
            .method = "POST", .path = "/", .query = rows[i].query, .bucket = "b"
        };
        char expected[256];

        headers_init(&request.headers);
        headers_add(&request.headers, "date", "D");
        assert_true(sigv2_sign(&request, &example, 0));
        snprintf(expected, sizeof expected, "POST\n\n\nD\n%s", rows[i].resource);
        expect_signed(&request, expected);
    }
}

TEST(sigv2, a_session_token_is_sent_and_signed)
{
    struct http_request request = { .method = "GET", .path = "/b/k", .query = "" };
    struct credentials temporary = example;

    temporary.token = "token==";
    headers_init(&request.headers);
    headers_add(&request.headers, "date", "D");
    headers_add(&request.headers, "x-amz-meta-a", "1");
    assert_true(sigv2_sign(&request, &temporary, 0));
    assert_string_equal(headers_get(&request.headers, "x-amz-security-token"), "token==");
    expect_signed(&request, "GET\n\n\nD\nx-amz-meta-a:1\nx-amz-security-token:token==\n/b/k");
}

TEST(sigv2, anonymous_requests_stay_as_they_are)
{
    struct http_request request = { .method = "GET", .path = "/b/k", .query = "" };

    headers_init(&request.headers);
    assert_true(sigv2_sign(&request, &(struct credentials){ 0 }, 0));
    assert_int_equal(request.headers.count, 0);
}

TEST(sigv2, what_does_not_fit_or_is_not_well_formed_is_refused)
{
    static char longer[20000], query[8000] = "uploadId=";
    struct http_request request = { .method = "GET", .path = longer, .query = "" };
    struct credentials long_id = { .access_id = longer, .secret = "s" };

    memset(longer, 'x', sizeof longer - 1);
    memset(query + 9, 'x', sizeof query - 10);
    headers_init(&request.headers);
    assert_false(sigv2_sign(&request, &example, 0));
    request.path = "/";
    headers_init(&request.headers);
    assert_false(sigv2_sign(&request, &long_id, 0));
    headers_init(&request.headers);
    assert_false(sigv2_sign(&request, &example, (time_t)1 << 62));
    headers_init(&request.headers);
    headers_add(&request.headers, "x", "\n");
    assert_false(sigv2_sign(&request, &example, 0));
    request.query = "uploadId=%zz";
    headers_init(&request.headers);
    assert_false(sigv2_sign(&request, &example, 0));
    request.query = query;
    headers_init(&request.headers);
    assert_false(sigv2_sign(&request, &example, 0));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(sigv2, the_examples_of_the_user_guide_come_out_as_printed_there),
        RUN(sigv2, a_request_without_a_date_gets_one),
        RUN(sigv2, an_x_amz_date_takes_the_place_of_the_date),
        RUN(sigv2, only_sub_resources_are_signed_of_the_query_their_values_decoded),
        RUN(sigv2, a_session_token_is_sent_and_signed),
        RUN(sigv2, anonymous_requests_stay_as_they_are),
        RUN(sigv2, what_does_not_fit_or_is_not_well_formed_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
