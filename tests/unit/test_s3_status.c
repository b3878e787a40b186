/* SPDX-License-Identifier: Apache-2.0 */
/* plugins/backend-s3/status.c: what an answer means for a request. */
#include "test.h"

#include "status.h"

#include <stdio.h>
#include <string.h>

enum { READ, WRITE, CONDITIONAL };

static const struct {
    unsigned http;
    const char *code;
    int kind;
    enum bd_status status;
    enum s3_remedy remedy;
} cases[] = {
    { 404, "NoSuchKey", READ, BD_ABSENT, REMEDY_NONE },
    { 404, "NoSuchBucket", READ, BD_INVALID, REMEDY_NONE },
    /* A proxy's 404 must never become a block of zeros. */
    { 404, "", READ, BD_RETRY, REMEDY_NONE },
    { 404, "NotFound", READ, BD_RETRY, REMEDY_NONE },
    { 404, "", WRITE, BD_RETRY, REMEDY_NONE },
    /* Nor its other pages a reason to give up, or to believe that something was written. */
    { 400, "", WRITE, BD_RETRY, REMEDY_NONE },
    { 403, "", WRITE, BD_RETRY, REMEDY_NONE },
    { 302, "", WRITE, BD_RETRY, REMEDY_NONE },
    { 200, "", READ, BD_RETRY, REMEDY_NONE },
    { 200, "", WRITE, BD_UNKNOWN, REMEDY_NONE },
    { 304, "", READ, BD_CONDITION, REMEDY_NONE },
    { 412, "PreconditionFailed", CONDITIONAL, BD_CONDITION, REMEDY_NONE },
    { 409, "ConditionalRequestConflict", CONDITIONAL, BD_RETRY, REMEDY_NONE },
    { 501, "NotImplemented", CONDITIONAL, BD_UNSUPPORTED, REMEDY_NONE },
    { 400, "InvalidRequest", CONDITIONAL, BD_UNSUPPORTED, REMEDY_NONE },
    { 400, "InvalidRequest", WRITE, BD_INVALID, REMEDY_NONE },
    { 503, "SlowDown", WRITE, BD_BUSY, REMEDY_NONE },
    { 503, "", READ, BD_BUSY, REMEDY_NONE },
    { 429, "", READ, BD_BUSY, REMEDY_NONE },
    { 200, "SlowDown", READ, BD_BUSY, REMEDY_NONE },
    { 200, "InternalError", READ, BD_RETRY, REMEDY_NONE },
    { 200, "Whatever", READ, BD_RETRY, REMEDY_NONE },
    { 500, "InternalError", WRITE, BD_RETRY, REMEDY_NONE },
    /* Its own repetition would break the condition. */
    { 500, "InternalError", CONDITIONAL, BD_UNKNOWN, REMEDY_NONE },
    { 503, "SlowDown", CONDITIONAL, BD_UNKNOWN, REMEDY_NONE },
    { 502, "", WRITE, BD_UNKNOWN, REMEDY_NONE },
    { 504, "", WRITE, BD_UNKNOWN, REMEDY_NONE },
    { 522, "", WRITE, BD_UNKNOWN, REMEDY_NONE },
    { 502, "", READ, BD_RETRY, REMEDY_NONE },
    { 400, "RequestTimeout", WRITE, BD_RETRY, REMEDY_NONE },
    { 400, "BadDigest", WRITE, BD_RETRY, REMEDY_NONE },
    { 403, "AccessDenied", READ, BD_DENIED, REMEDY_NONE },
    { 403, "SignatureDoesNotMatch", READ, BD_DENIED, REMEDY_NONE },
    { 403, "", READ, BD_RETRY, REMEDY_NONE },
    { 401, "", READ, BD_DENIED, REMEDY_NONE },
    { 403, "ExpiredToken", READ, BD_RETRY, REMEDY_CREDENTIALS },
    { 400, "ExpiredToken", WRITE, BD_RETRY, REMEDY_CREDENTIALS },
    { 403, "RequestTimeTooSkewed", READ, BD_RETRY, REMEDY_CLOCK },
    { 301, "PermanentRedirect", READ, BD_RETRY, REMEDY_REGION },
    { 307, "TemporaryRedirect", WRITE, BD_RETRY, REMEDY_REGION },
    { 400, "AuthorizationHeaderMalformed", READ, BD_RETRY, REMEDY_REGION },
    { 301, "", READ, BD_RETRY, REMEDY_NONE },
    { 405, "", READ, BD_UNSUPPORTED, REMEDY_NONE },
    { 400, "", READ, BD_RETRY, REMEDY_NONE },
    { 418, "", READ, BD_INVALID, REMEDY_NONE },
    { 507, "", WRITE, BD_FULL, REMEDY_NONE },
    { 403, "QuotaExceeded", WRITE, BD_FULL, REMEDY_NONE },
    { 599, "", READ, BD_RETRY, REMEDY_NONE },
    { 0, "", READ, BD_RETRY, REMEDY_NONE },
    { 999, "", READ, BD_RETRY, REMEDY_NONE },
};

TEST(status, answers_mean_what_the_table_says)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct answer answer = { .http_status = cases[i].http };
        struct s3_error error = { 0 };
        struct s3_verdict verdict;

        strcpy(error.code, cases[i].code);
        verdict = status_of(&answer, &error, cases[i].kind != READ, cases[i].kind == CONDITIONAL);
        if (verdict.status != cases[i].status || verdict.remedy != cases[i].remedy)
            fail_msg("%u %s: status %d, remedy %d", cases[i].http, cases[i].code, verdict.status,
                     verdict.remedy);
        assert_non_null(verdict.advice);
    }
}

TEST(status, a_400_without_a_body_may_name_the_region)
{
    const struct answer answer = { .http_status = 400, .region = "eu-west-1" };
    const struct s3_error error = { 0 };

    const struct answer redirect = { .http_status = 301, .region = "eu-west-1" };

    assert_int_equal(status_of(&answer, &error, false, false).remedy, REMEDY_REGION);
    assert_int_equal(status_of(&redirect, &error, true, false).remedy, REMEDY_REGION);
}

TEST(status, nothing_but_a_missing_key_is_absent)
{
    for (unsigned http = 100; http < 600; http++) {
        const struct answer answer = { .http_status = http };
        const struct s3_error error = { 0 };

        assert_int_not_equal(status_of(&answer, &error, false, false).status, BD_ABSENT);
        assert_int_not_equal(status_of(&answer, &error, true, false).status, BD_ABSENT);
        if (http >= 300)
            assert_int_not_equal(status_of(&answer, &error, true, true).status, BD_OK);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(status, answers_mean_what_the_table_says),
        RUN(status, a_400_without_a_body_may_name_the_region),
        RUN(status, nothing_but_a_missing_key_is_absent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
