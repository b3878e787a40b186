/* SPDX-License-Identifier: Apache-2.0 */
/* core/encoding.c: which Content-Encoding lists are read, and as what. */
#include "test.h"

#include "base/util.h"
#include "encoding.h"

#include <errno.h>
#include <string.h>

#define T63 "t23456789012345678901234567890123456789012345678901234567890123"

static const struct {
    const char *text;
    const char *formatted;
} accepted[] = {
    { NULL, "" },
    { "", "" },
    { " ,\t,\r\n,\v\f", "" },
    { "deflate", "deflate" },
    { "DEFLATE", "DEFLATE" },
    { "deflate,", "deflate" },
    { ",deflate", "deflate" },
    { "deflate, encrypt-AES-128-CBC", "deflate, encrypt-AES-128-CBC" },
    { "deflate,encrypt-AES-128-CBC", "deflate, encrypt-AES-128-CBC" },
    { "deflate encrypt-aes-128-cbc", "deflate, encrypt-aes-128-cbc" },
    { "Deflate,\t ENCRYPT-AES-128-CBC", "Deflate, ENCRYPT-AES-128-CBC" },
    { "deflate,encrypt-CAMELLIA-128-CBC", "deflate, encrypt-CAMELLIA-128-CBC" }, /* over 31 bytes */
    { "identity", "" },
    { "Identity, zstd", "zstd" },
    { "aws-chunked,deflate", "deflate" },
    { "a,b,c,d,e", "a, b, c, d, e" },
    { "a,identity,b,c,aws-chunked,d,e", "a, b, c, d, e" },
    { T63, T63 },
};

static const char *const refused[] = {
    "a,b,c,d,e,f", T63 "4", "def\x01late", "deflate\x7f", "d\xc3\xa9t", "deflate,\x80",
};

TEST(encoding, lists_are_read_as_s3backer_reads_them)
{
    for (size_t i = 0; i < ARRAY_LEN(accepted); i++) {
        struct encoding encoding;
        struct error why = { "" };
        char text[512];

        assert_int_equal(encoding_parse(accepted[i].text, &encoding, &why), 0);
        assert_int_equal(encoding_format(&encoding, text, sizeof text), 0);
        assert_string_equal(text, accepted[i].formatted);
    }
}

TEST(encoding, lists_that_nobody_writes_are_refused_with_a_reason)
{
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct encoding encoding;
        struct error why = { "" };

        assert_int_equal(encoding_parse(refused[i], &encoding, &why), -EBADMSG);
        assert_non_null(strstr(why.text, "Content-Encoding"));
        assert_true(encoding.count <= ENCODING_LAYERS_MAX);
    }
}

TEST(encoding, a_list_that_does_not_fit_is_an_error_and_not_cut)
{
    struct encoding encoding;
    char text[16];

    assert_int_equal(encoding_parse("deflate,reverse", &encoding, NULL), 0);
    assert_int_equal(encoding_format(&encoding, text, 16), -E2BIG);
    assert_int_equal(encoding_format(&encoding, text, 0), -E2BIG);
    assert_int_equal(encoding_parse("deflate,revers", &encoding, NULL), 0);
    assert_int_equal(encoding_format(&encoding, text, 15), -E2BIG);
    assert_int_equal(encoding_format(&encoding, text, 16), 0);
    assert_string_equal(text, "deflate, revers");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(encoding, lists_are_read_as_s3backer_reads_them),
        RUN(encoding, lists_that_nobody_writes_are_refused_with_a_reason),
        RUN(encoding, a_list_that_does_not_fit_is_an_error_and_not_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
