/* SPDX-License-Identifier: Apache-2.0 */
/* plugins/backend-s3/mask.c */
#include "test.h"

#include "mask.h"
#include "proxy.h"

#include <stdlib.h>
#include <string.h>

#define SECRET "TheSessionTokenThatNobodyIsToSee+/=="

TEST(mask, what_is_in_a_text_of_a_secret_is_masked_also_in_part)
{
    static const char *const cases[][2] = {
        { "", "" },
        { "nothing of it", "nothing of it" },
        { SECRET, "************************************" },
        { "<" SECRET "> " SECRET ".",
          "<************************************> ************************************." },
        { "begins: TheSessionToken", "begins: ***************" },
        { "ThatNobodyIsToSee+", "******************" },
        { "TheSession", "TheSession" }, /* too little to be of it */
        { "TheSessionTokenXThatNobodyIsTo", "***************X**************" },
    };
    char text[200];

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        strcpy(text, cases[i][0]);
        mask_secret(text, SECRET);
        assert_string_equal(text, cases[i][1]);
        strcpy(text, cases[i][0]);
        mask_secret(text, NULL);
        mask_secret(text, "");
        assert_string_equal(text, cases[i][0]);
    }
}

TEST(mask, of_what_was_sent_the_token_and_the_signature_are_secrets)
{
    static const char *const authorizations[] = {
        "AWS4-HMAC-SHA256 Credential=theaccessid/20260101/r/s3/aws4_request, "
        "SignedHeaders=host;x-amz-date, "
        "Signature=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "AWS theaccessid:0123456789abcdef0123456789=",
    };
    static struct headers headers;
    char text[600];

    for (unsigned i = 0; i < 2; i++) {
        headers_init(&headers);
        headers_add(&headers, "authorization", authorizations[i]);
        headers_add(&headers, "x-amz-security-token", SECRET);
        strcpy(text, "theaccessid, AWS4-HMAC-SHA256 SignedHeaders=host;x-amz-date " SECRET
                     " 0123456789abcdef01");
        mask_sent(text, &headers);
        assert_string_equal(text, "theaccessid, AWS4-HMAC-SHA256 SignedHeaders=host;x-amz-date "
                                  "************************************ ******************");
    }
    headers_init(&headers);
    strcpy(text, SECRET);
    mask_sent(text, &headers);
    assert_string_equal(text, SECRET);
}

TEST(mask, who_is_named_in_a_url_is_masked)
{
    static const char *const cases[][2] = {
        { "Uses proxy env variable http_proxy == 'http://user:pass@proxy:3128'",
          "Uses proxy env variable http_proxy == 'http://*********@proxy:3128'" },
        { "http://host/a@b, https://u@host?c", "http://host/a@b, https://*@host?c" },
        { "://", "://" },
        { "http://a:b@c@host/", "http://*****@host/" },
        { "mail@host", "mail@host" },
    };
    char text[100];

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        strcpy(text, cases[i][0]);
        mask_urls(text);
        assert_string_equal(text, cases[i][1]);
    }
}

TEST(proxy, who_is_named_in_a_proxy_of_the_environment_is_masked_however_it_is_written)
{
    static const char *const cases[][3] = {
        { "user:pass@proxy:3128", "http_proxy == 'user:pass@proxy:3128', user",
          "http_proxy == '*********@proxy:3128', user" },
        { "http://user:pa/ss@proxy", "in 'http://user:pa/ss@proxy': Port number",
          "in 'http://**********@proxy': Port number" },
        { "a:b@c d@proxy", "'a:b@c d@proxy'a:b@c d@proxy", "'*******@proxy'*******@proxy" },
        { "u'://ser:pass@proxy", "'u'://ser:pass@proxy'", "'u'://********@proxy'" },
        { "gopher://us@proxy", "for 'gopher://us@proxy'", "for 'gopher://**@proxy'" },
        /* Up to the slash it looks like a URL. */
        { "http://user:p@ss/word@proxy", "in 'http://user:p@ss/word@proxy'",
          "in 'http://**************@proxy'" },
        { "user:pass@proxy", "of https://me:mine@host/", "of https://*******@host/" },
        /* Cut off. */
        { "http://user:pass@proxy", "in 'http://user:pa", "in 'http://*******" },
        { "user:pass@proxy", "in 'user:pa", "in '*******" },
        { "user:pass@proxy", "the end of a menu", "the end of a menu" },
        /* Nobody is named. */
        { "http://proxy:3128", "'http://proxy:3128'", "'http://proxy:3128'" },
        { "", "nothing", "nothing" },
    };
    static const char *const variables[] = { "http_proxy", "https_proxy", "HTTPS_PROXY",
                                             "all_proxy", "ALL_PROXY" };
    char text[100];

    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        clearenv();
        assert_false(proxy_is_set());
        for (size_t at = 0; at < sizeof cases / sizeof cases[0]; at++) {
            setenv(variables[i], cases[at][0], 1);
            assert_true(proxy_is_set());
            strcpy(text, cases[at][1]);
            proxy_mask(text);
            assert_string_equal(text, cases[at][2]);
        }
    }
    clearenv();
}

TEST(mask, of_headers_with_secrets_the_names_are_left)
{
    static const char *const cases[][2] = {
        { "Authorization: AWS4-HMAC-SHA256 Credential=id, Signature=abc", "Authorization: ***" },
        { "X-Amz-Security-Token: abcdef", "X-Amz-Security-Token: ***" },
        { "Set-Cookie:a", "Set-Cookie:" },
        { "X-Amz-Date: 20260101", "X-Amz-Date: 20260101" },
    };
    char text[100];

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        strcpy(text, cases[i][0]);
        mask_line(text);
        assert_string_equal(text, cases[i][1]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(mask, what_is_in_a_text_of_a_secret_is_masked_also_in_part),
        RUN(mask, of_what_was_sent_the_token_and_the_signature_are_secrets),
        RUN(mask, who_is_named_in_a_url_is_masked),
        RUN(proxy, who_is_named_in_a_proxy_of_the_environment_is_masked_however_it_is_written),
        RUN(mask, of_headers_with_secrets_the_names_are_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
