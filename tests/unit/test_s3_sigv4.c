/* SPDX-License-Identifier: Apache-2.0 */
/* backend-s3/sigv4.c: AWS's published signatures, and what happens at the limits.
 *
 * The tables are from "Authenticating Requests: Using the Authorization Header" of the S3 API
 * reference, and from the AWS Signature Version 4 Test Suite (copyright Amazon.com, Inc. or its
 * affiliates, Apache-2.0): of that, the cases whose path is not to be normalized, which S3 does
 * not do.  A query is given sorted, as struct http_request wants it. */
#include "test.h"

#include "base/util.h"
#include "sigv4.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define UNRESERVED "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

struct vector {
    const char *name, *method, *path, *query;
    struct header headers[4];
    const char *body, *token;
    const char *signed_headers, *signature;
};

/* 2013-05-24T00:00:00Z, us-east-1, s3 */
static const struct vector s3_vectors[] = {
    { "GET object",
      "GET",
      "/test.txt",
      "",
      { { "Range", "bytes=0-9" } },
      "",
      NULL,
      "host;range;x-amz-content-sha256;x-amz-date",
      "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41" },
    { "PUT object",
      "PUT",
      "/test%24file.text",
      "",
      { { "Date", "Fri, 24 May 2013 00:00:00 GMT" },
        { "x-amz-storage-class", "REDUCED_REDUNDANCY" } },
      "Welcome to Amazon S3.",
      NULL,
      "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
      "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd" },
    { "GET bucket lifecycle",
      "GET",
      "/",
      "lifecycle",
      { { 0 } },
      "",
      NULL,
      "host;x-amz-content-sha256;x-amz-date",
      "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543" },
    { "GET bucket (list objects)",
      "GET",
      "/",
      "max-keys=2&prefix=J",
      { { 0 } },
      "",
      NULL,
      "host;x-amz-content-sha256;x-amz-date",
      "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7" },
};

/* 2015-08-30T12:36:00Z, us-east-1, service */
static const struct vector suite_vectors[] = {
    { "get-header-key-duplicate",
      "GET",
      "/",
      "",
      { { "My-Header1", "value2" }, { "My-Header1", "value2" }, { "My-Header1", "value1" } },
      "",
      NULL,
      "host;my-header1;x-amz-date",
      "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea" },
    { "get-header-value-multiline",
      "GET",
      "/",
      "",
      { { "My-Header1", "value1,value2,value3" } },
      "",
      NULL,
      "host;my-header1;x-amz-date",
      "ba17b383a53190154eb5fa66a1b836cc297cc0a3d70a5d00705980573d8ff790" },
    { "get-header-value-order",
      "GET",
      "/",
      "",
      { { "My-Header1", "value4" },
        { "My-Header1", "value1" },
        { "My-Header1", "value3" },
        { "My-Header1", "value2" } },
      "",
      NULL,
      "host;my-header1;x-amz-date",
      "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01" },
    { "get-header-value-trim",
      "GET",
      "/",
      "",
      { { "My-Header1", " value1" }, { "My-Header2", " \"a   b   c\"" } },
      "",
      NULL,
      "host;my-header1;my-header2;x-amz-date",
      "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736" },
    { "get-unreserved",
      "GET",
      "/" UNRESERVED,
      "",
      { { 0 } },
      "",
      NULL,
      "host;x-amz-date",
      "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f" },
    { "get-utf8",
      "GET",
      "/%E1%88%B4",
      "",
      { { 0 } },
      "",
      NULL,
      "host;x-amz-date",
      "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85" },
    { "get-space-unnormalized",
      "GET",
      "/example%20space/",
      "",
      { { 0 } },
      "",
      NULL,
      "host;x-amz-date",
      "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741" },
    { "get-slashes-unnormalized",
      "GET",
      "//example//",
      "",
      { { 0 } },
      "",
      NULL,
      "host;x-amz-date",
      "87cca117541a147f6df867677d98a7d80dff226d2bfca9e4ffa899665623c7e5" },
    { "get-relative-relative-unnormalized",
      "GET",
      "/example1/example2/../..",
      "",
      { { 0 } },
      "",
      NULL,
      "host;x-amz-date",
      "dc33e0856fd4baca4d7aa2146c38958283844764f38c74252a333df5e613003b" },
    { "get-vanilla",
      "GET",
      "/",
      "",
      { { 0 } },
      "",
      NULL,
      "host;x-amz-date",
      "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
    { "get-vanilla-empty-query-key",
      "GET",
      "/",
      "Param1=value1",
      { { 0 } },
      "",
      NULL,
      "host;x-amz-date",
      "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb" },
    { "get-vanilla-query-order-key-case",
      "GET",
      "/",
      "Param1=value1&Param2=value2",
      { { 0 } },
      "",
      NULL,
      "host;x-amz-date",
      "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500" },
    { "get-vanilla-query-unreserved",
      "GET",
      "/",
      UNRESERVED "=" UNRESERVED,
      { { 0 } },
      "",
      NULL,
      "host;x-amz-date",
      "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197" },
    { "get-vanilla-utf8-query",
      "GET",
      "/",
      "%E1%88%B4=bar",
      { { 0 } },
      "",
      NULL,
      "host;x-amz-date",
      "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04" },
    { "get-vanilla-with-session-token",
      "GET",
      "/",
      "",
      { { 0 } },
      "",
      "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267",
      "host;x-amz-date;x-amz-security-token",
      "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8" },
    { "post-vanilla",
      "POST",
      "/",
      "",
      { { 0 } },
      "",
      NULL,
      "host;x-amz-date",
      "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b" },
    { "post-header-key-sort",
      "POST",
      "/",
      "",
      { { "My-Header1", "value1" } },
      "",
      NULL,
      "host;my-header1;x-amz-date",
      "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c" },
    { "post-header-value-case",
      "POST",
      "/",
      "",
      { { "MY-HEADER1", "VALUE1" } },
      "",
      NULL,
      "host;my-header1;x-amz-date",
      "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d" },
    { "post-sts-header-before",
      "POST",
      "/",
      "",
      { { 0 } },
      "",
      "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfp"
      "SPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQ"
      "DYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+s"
      "cqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==",
      "host;x-amz-date;x-amz-security-token",
      "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead" },
    { "post-vanilla-query",
      "POST",
      "/",
      "Param1=value1",
      { { 0 } },
      "",
      NULL,
      "host;x-amz-date",
      "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11" },
    { "post-x-www-form-urlencoded",
      "POST",
      "/",
      "",
      { { "Content-Type", "application/x-www-form-urlencoded" } },
      "Param1=value1",
      NULL,
      "content-type;host;x-amz-date",
      "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a" },
    { "post-x-www-form-urlencoded-parameters",
      "POST",
      "/",
      "",
      { { "Content-Type", "application/x-www-form-urlencoded; charset=utf8" } },
      "Param1=value1",
      NULL,
      "content-type;host;x-amz-date",
      "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe" },
};

static const struct credentials example = { .access_id = "AKIAIOSFODNN7EXAMPLE",
                                            .secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" };

#define MAY_2013 1369353600
#define AUGUST_2015 1440938160

static struct http_request
request_of(const char *method, const char *path, const char *query)
{
    struct http_request request = { .method = method,
                                    .host = "examplebucket.s3.amazonaws.com",
                                    .path = path,
                                    .query = query,
                                    .payload_sha256 = EMPTY_SHA256 };

    return request;
}

static void
check_vector(const struct vector *vector, const char *host, const char *access_id,
             const char *secret, const char *service, time_t now, const char *scope)
{
    struct credentials credentials = { .access_id = access_id,
                                       .secret = secret,
                                       .token = vector->token };
    struct http_request request = request_of(vector->method, vector->path, vector->query);
    struct sigv4_key key = { "" };
    char sha256[65], expected[1024];

    print_message("%s\n", vector->name);
    assert_true(sha256_hex(vector->body, strlen(vector->body), sha256));
    request.host = host;
    request.payload_sha256 = sha256;
    headers_init(&request.headers);
    for (size_t i = 0; i < ARRAY_LEN(vector->headers) && vector->headers[i].name != NULL; i++)
        headers_add(&request.headers, vector->headers[i].name, vector->headers[i].value);
    assert_true(sigv4_sign(&request, &credentials, "us-east-1", service, now, &key));
    snprintf(expected, sizeof expected,
             "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s", access_id, scope,
             vector->signed_headers, vector->signature);
    assert_string_equal(headers_get(&request.headers, "authorization"), expected);
}

TEST(sigv4, the_examples_of_the_s3_reference_come_out_as_printed_there)
{
    for (size_t i = 0; i < ARRAY_LEN(s3_vectors); i++)
        check_vector(&s3_vectors[i], "examplebucket.s3.amazonaws.com", example.access_id,
                     example.secret, "s3", MAY_2013, "20130524/us-east-1/s3/aws4_request");
}

TEST(sigv4, the_published_test_suite_passes)
{
    for (size_t i = 0; i < ARRAY_LEN(suite_vectors); i++)
        check_vector(&suite_vectors[i], "example.amazonaws.com", "AKIDEXAMPLE",
                     "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "service", AUGUST_2015,
                     "20150830/us-east-1/service/aws4_request");
}

/* The signature of GET / with these, derived with a key that may be cached. */
static void
sign_with(const struct credentials *credentials, const char *region, const char *service,
          time_t now, struct sigv4_key *key, char out[65])
{
    struct http_request request = request_of("GET", "/", "");
    const char *signature;

    headers_init(&request.headers);
    assert_true(sigv4_sign(&request, credentials, region, service, now, key));
    signature = strstr(headers_get(&request.headers, "authorization"), "Signature=");
    assert_non_null(signature);
    snprintf(out, 65, "%s", signature + strlen("Signature="));
}

TEST(sigv4, a_cached_key_is_renewed_when_day_region_service_or_secret_change)
{
    static const struct credentials others[] = {
        { .access_id = "AKIAIOSFODNN7EXAMPLE", .secret = "another" },
        { .access_id = "AKIAIOSFODNN7EXAMPLE", .secret = "" },
    };
    const struct {
        const struct credentials *credentials;
        const char *region, *service;
        time_t now;
    } steps[] = {
        { &example, "us-east-1", "s3", MAY_2013 },
        { &example, "us-east-1", "s3", MAY_2013 + 86399 },
        { &example, "us-east-1", "s3", MAY_2013 + 86400 },
        { &example, "eu-central-1", "s3", MAY_2013 },
        { &example, "eu-central-1", "sts", MAY_2013 },
        { &others[0], "eu-central-1", "sts", MAY_2013 },
        { &others[1], "eu-central-1", "sts", MAY_2013 },
        { &example, "us-east-1", "s3", MAY_2013 },
    };
    struct sigv4_key kept = { "" };
    char signatures[ARRAY_LEN(steps)][65];

    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct sigv4_key fresh = { "" };
        char expected[65];

        sign_with(steps[i].credentials, steps[i].region, steps[i].service, steps[i].now, &fresh,
                  expected);
        sign_with(steps[i].credentials, steps[i].region, steps[i].service, steps[i].now, &kept,
                  signatures[i]);
        assert_string_equal(signatures[i], expected);
        assert_memory_equal(kept.key, fresh.key, sizeof kept.key);
    }
    assert_string_equal(signatures[0], signatures[ARRAY_LEN(steps) - 1]);
    for (size_t i = 0; i + 1 < ARRAY_LEN(steps); i++) {
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(signatures[i], signatures[j]);
    }
}

TEST(sigv4, a_key_that_fits_is_not_derived_again)
{
    struct sigv4_key key = { "" };
    char before[65], after[65];

    sign_with(&example, "us-east-1", "s3", MAY_2013, &key, before);
    key.key[0] ^= 1;
    sign_with(&example, "us-east-1", "s3", MAY_2013, &key, after);
    assert_string_not_equal(before, after);
}

TEST(sigv4, anonymous_requests_stay_as_they_are)
{
    struct http_request request = request_of("GET", "/", "");
    struct sigv4_key key = { "" };

    headers_init(&request.headers);
    assert_true(sigv4_sign(&request, &(struct credentials){ 0 }, "r", "s3", MAY_2013, &key));
    assert_int_equal(request.headers.count, 0);
}

TEST(sigv4, the_content_hash_is_a_header_for_s3_alone)
{
    struct sigv4_key key = { "" };

    for (int is_s3 = 0; is_s3 < 2; is_s3++) {
        struct http_request request = request_of("PUT", "/", "");
        const char *hash;

        request.payload_sha256 = UNSIGNED_PAYLOAD;
        headers_init(&request.headers);
        assert_true(sigv4_sign(&request, &example, "r", is_s3 ? "s3" : "sts", MAY_2013, &key));
        hash = headers_get(&request.headers, "x-amz-content-sha256");
        if (is_s3)
            assert_string_equal(hash, UNSIGNED_PAYLOAD);
        else
            assert_null(hash);
    }
}

TEST(sigv4, what_does_not_fit_is_refused)
{
    struct sigv4_key key = { "" };
    struct http_request request = request_of("GET", "/", "");
    static char longer[40000];
    struct credentials long_secret = { .access_id = "id", .secret = longer };
    struct credentials long_id = { .access_id = longer, .secret = "secret" };
    struct credentials line_end = { .access_id = "id\r\nx-amz-acl: public-read", .secret = "s" };

    memset(longer, 'x', sizeof longer - 1);
    headers_init(&request.headers);
    assert_false(sigv4_sign(&request, &long_secret, "r", "s3", MAY_2013, &key));
    headers_init(&request.headers);
    assert_false(sigv4_sign(&request, &long_id, "r", "s3", MAY_2013, &key));
    headers_init(&request.headers);
    assert_false(sigv4_sign(&request, &line_end, "r", "s3", MAY_2013, &key));
    assert_true(request.headers.is_overfull);
    headers_init(&request.headers);
    assert_false(sigv4_sign(&request, &example, longer, "s3", MAY_2013, &key));
    headers_init(&request.headers);
    request.path = longer;
    assert_false(sigv4_sign(&request, &example, "r", "s3", MAY_2013, &key));
    headers_init(&request.headers);
    request.path = "/";
    request.headers.is_overfull = true;
    assert_false(sigv4_sign(&request, &example, "r", "s3", MAY_2013, &key));
}

TEST(sigv4, a_request_with_all_names_at_their_longest_is_signed)
{
    struct sigv4_key key = { "" };
    static char path[4000], query[7000];
    struct http_request request = request_of("GET", path, query);

    memset(path, '/', 3300);
    memset(query, 'q', 6800);
    headers_init(&request.headers);
    for (unsigned i = 0; i < 50; i++) {
        char name[16], value[100];

        snprintf(name, sizeof name, "x-amz-meta-%u", i);
        snprintf(value, sizeof value, "%099u", i);
        headers_add(&request.headers, name, value);
    }
    assert_true(sigv4_sign(&request, &example, "r", "s3", MAY_2013, &key));
}

TEST(sigv4, times_that_have_no_year_of_four_digits_are_refused)
{
    const time_t times[] = { (time_t)1 << 40, (time_t)1 << 62, -((time_t)1 << 40), -77945671440 };

    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        struct http_request request = request_of("GET", "/", "");
        struct sigv4_key key = { "" };

        headers_init(&request.headers);
        assert_false(sigv4_sign(&request, &example, "r", "s3", times[i], &key));
    }
}

/* ------------------------------------------------------------------ against botocore */

#define RANDOM_COUNT 200

/* Make a request up, write it as a line of JSON, and give our signature of it. */
static void
sign_random(FILE *file, struct sigv4_key *key, char *authorization, size_t authorization_bytes)
{
    static const char letters[] = UNRESERVED "//";
    char path[256], query[256];
    struct http_request request = request_of(rand() % 2 ? "GET" : "DELETE", path, query);
    int at = snprintf(path, sizeof path, "/%%%02X%%24", 0x21 + rand() % 14);
    int end = at + rand() % 40, headers = rand() % 6;

    for (; at < end; at++)
        path[at] = letters[rand() % (int)(sizeof letters - 1)];
    path[at] = '\0';
    snprintf(query, sizeof query, "a=%d&b%%20c=%%2F%d&d=", rand(), rand());
    request.host = "h.example";
    headers_init(&request.headers);
    fprintf(file, "{\"method\":\"%s\",\"path\":\"%s\",\"query\":\"%s\",\"headers\":{",
            request.method, path, query);
    for (int i = 0; i < headers; i++) {
        char name[32], value[64];

        snprintf(name, sizeof name, "X-Amz-Meta-%c%d", 'A' + rand() % 26, i);
        snprintf(value, sizeof value, "%*s%d%*sx", rand() % 3, "", rand(), rand() % 4, "");
        headers_add(&request.headers, name, value);
        fprintf(file, "%s\"%s\":\"%s\"", i == 0 ? "" : ",", name, value);
    }
    fputs("}}\n", file);
    assert_true(sigv4_sign(&request, &example, "eu-west-3", "s3", MAY_2013, key));
    snprintf(authorization, authorization_bytes, "%s\n",
             headers_get(&request.headers, "authorization"));
}

TEST(sigv4, random_requests_are_signed_as_botocore_signs_them)
{
    static char authorizations[RANDOM_COUNT][1024];
    char requests[] = "/tmp/bucketdisk-requests-XXXXXX";
    const char *python = "python3 " TEST_SOURCE_DIR "/tests/unit/data/sigv4/botocore_signer.py";
    unsigned seed = (unsigned)time(NULL);
    struct sigv4_key key = { "" };
    char command[512], line[1024];
    FILE *file, *signer;
    int fd = mkstemp(requests);

    assert_int_not_equal(fd, -1);
    print_message("seed %u\n", seed);
    srand(seed);
    file = fdopen(fd, "w");
    assert_non_null(file);
    for (unsigned i = 0; i < RANDOM_COUNT; i++)
        sign_random(file, &key, authorizations[i], sizeof authorizations[i]);
    assert_int_equal(fclose(file), 0);

    snprintf(command, sizeof command, "%s <%s", python, requests);
    signer = popen(command, "r");
    assert_non_null(signer);
    for (unsigned i = 0; i < RANDOM_COUNT; i++) {
        if (fgets(line, sizeof line, signer) == NULL) {
            int status = pclose(signer);

            unlink(requests);
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 77);
            skip();
        }
        assert_string_equal(line, authorizations[i]);
    }
    assert_int_equal(pclose(signer), 0);
    unlink(requests);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(sigv4, the_examples_of_the_s3_reference_come_out_as_printed_there),
        RUN(sigv4, the_published_test_suite_passes),
        RUN(sigv4, a_cached_key_is_renewed_when_day_region_service_or_secret_change),
        RUN(sigv4, a_key_that_fits_is_not_derived_again),
        RUN(sigv4, anonymous_requests_stay_as_they_are),
        RUN(sigv4, the_content_hash_is_a_header_for_s3_alone),
        RUN(sigv4, what_does_not_fit_is_refused),
        RUN(sigv4, a_request_with_all_names_at_their_longest_is_signed),
        RUN(sigv4, times_that_have_no_year_of_four_digits_are_refused),
        RUN(sigv4, random_requests_are_signed_as_botocore_signs_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
