/* SPDX-License-Identifier: Apache-2.0 */
/* core/codecs.c: which chain a command line means. */
#include "test.h"

#include "base/util.h"
#include "codecs.h"

#include <errno.h>
#include <string.h>

static const struct {
    struct codecs_wish wish;
    const char *list, *level; /* list NULL: refused */
} rows[] = {
    { { .codec = NULL }, "", "" },
    { { .codec = "" }, "", "" },
    { { .codec = " zstd , xaes-256-gcm" }, "zstd,xaes-256-gcm", "" },
    { { .compress = "" }, "deflate", "" },
    { { .compress = "9" }, "deflate", "9" },
    { { .compress = "-1" }, "deflate", "" },
    { { .compress = "0" }, "", "" },
    { { .compress = "zstd" }, "zstd", "" },
    { { .encrypt = "" }, "deflate,encrypt-AES-128-CBC", "" },
    { { .encrypt = "aes-256-cbc" }, "deflate,encrypt-AES-256-CBC", "" },
    { { .encrypt = "AES-256-CBC", .compress = "5" }, "deflate,encrypt-AES-256-CBC", "5" },
    { { .encrypt = "", .compress = "zstd" }, "zstd,encrypt-AES-128-CBC", "" },
    { { .encrypt = "", .compress = "0" }, "encrypt-AES-128-CBC", "" },
    /* what is stored goes on */
    { { .stored = "deflate, encrypt-DES-EDE3-CBC" }, "deflate,encrypt-DES-EDE3-CBC", "" },
    { { .stored = "zstd,encrypt-AES-128-CBC" }, "zstd,encrypt-AES-128-CBC", "" },
    { { .stored = "encrypt-AES-128-CBC" }, "deflate,encrypt-AES-128-CBC", "" },
    { { .stored = "deflate, encrypt-AES-128-CBC", .encrypt = "AES-256-CBC" },
      "deflate,encrypt-AES-256-CBC",
      "" },
    { { .stored = "deflate, encrypt-AES-128-CBC", .codec = "zstd" },
      "zstd",
      "" }, /* the chain refuses it */
    { { .codec = "zstd", .compress = "" }, NULL, NULL },
    { { .codec = "zstd", .encrypt = "" }, NULL, NULL },
    { { .compress = "zstd,deflate" }, NULL, NULL },
    { { .encrypt = "aes, des" }, NULL, NULL },
    { { .encrypt = "a-name-that-is-longer-than-any-token-can-be-with-what-goes-before-it" },
      NULL,
      NULL },
};

TEST(codecs, options_of_ours_and_of_s3backer_mean_a_chain)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char list[ENCODING_JOINED_BYTES], level[BD_TOKEN_BYTES_MAX + 1];
        struct error why = { "" };
        int rc = codecs_choose(&rows[i].wish, list, level, &why);

        if (rows[i].list == NULL) {
            assert_int_equal(rc, -EINVAL);
            assert_true(why.text[0] != '\0');
            continue;
        }
        if (rc != 0)
            fail_msg("row %zu: %s", i, why.text);
        assert_string_equal(list, rows[i].list);
        assert_string_equal(level, rows[i].level);
    }
}

TEST(codecs, lists_of_s3backer_say_whether_they_encrypt)
{
    assert_true(codecs_encrypt("deflate, ENCRYPT-AES-128-CBC"));
    assert_true(codecs_encrypt("encrypt-whatever,\x01"));
    assert_false(codecs_encrypt("deflate"));
    assert_false(codecs_encrypt(""));
    assert_false(codecs_encrypt(NULL));
}

TEST(codecs, s3backers_encryption_is_for_its_format_and_once)
{
    struct error why = { "" };

    assert_int_equal(codecs_check("", false, &why), 0);
    assert_int_equal(codecs_check("deflate,aes", false, &why), 0);
    assert_int_equal(codecs_check("zstd,encrypt-BF-CBC", false, &why), 0);
    assert_int_equal(codecs_check("", true, &why), 0);
    assert_int_equal(codecs_check("zstd,xchacha20-poly1305,xaes-256-gcm", true, &why), 0);
    assert_string_equal(why.text, "");
    assert_int_equal(codecs_check("aes,Encrypt-AES-256-CBC", false, &why), -EINVAL);
    assert_non_null(strstr(why.text, "more than once"));
    assert_int_equal(codecs_check("zstd,AES", true, &why), -EINVAL);
    assert_non_null(strstr(why.text, "format 1"));
    assert_int_equal(codecs_check("encrypt-AES-256-CBC,xaes-256-gcm", true, &why), -EINVAL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(codecs, options_of_ours_and_of_s3backer_mean_a_chain),
        RUN(codecs, lists_of_s3backer_say_whether_they_encrypt),
        RUN(codecs, s3backers_encryption_is_for_its_format_and_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
