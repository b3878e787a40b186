/* SPDX-License-Identifier: Apache-2.0 */
/* core/helper.c: what mount(8) hands to its helpers. */
#include "test.h"

#include "helper.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WORDS(...) ((const char *const[]){ "mount.bucketdisk", __VA_ARGS__, NULL })

static int
parse(const char *const *words, struct helper_call *call)
{
    struct error why = { "" };
    int count = 0;

    while (words[count] != NULL)
        count++;
    return helper_parse(count, words, call, &why);
}

static struct helper_call
parsed(const char *const *words)
{
    struct helper_call call;

    assert_int_equal(parse(words, &call), 0);
    return call;
}

TEST(helper, takes_the_words_of_mount_in_any_order)
{
    struct helper_call call =
        parsed(WORDS("bucket", "/mnt", "-sn", "-t", "bucketdisk", "-v", "-o", "rw,ro"));

    assert_string_equal(call.source, "bucket");
    assert_string_equal(call.directory, "/mnt");
    assert_string_equal(call.list, "rw,ro");
    assert_false(call.is_fake);
    assert_false(call.wants_up);
    helper_clear(&call);
    call = parsed(WORDS("-f", "bucket", "/mnt"));
    assert_true(call.is_fake);
    assert_null(call.list);
}

TEST(helper, drops_the_program_that_a_line_names)
{
    assert_string_equal(parsed(WORDS("s3backer#bucket", "/mnt")).source, "bucket");
    assert_string_equal(parsed(WORDS("bucketdisk#bucket", "/mnt")).source, "bucket");
    assert_string_equal(parsed(WORDS("other#bucket", "/mnt")).source, "other#bucket");
}

TEST(helper, keeps_commas_together_that_stand_in_quotes)
{
    struct helper_call call =
        parsed(WORDS("b", "/mnt", "-o", "ro,fs-options=\"commit=30,noatime\",prefix=a\\,b"));

    assert_string_equal(call.list, "ro,fs-options=commit=30\\,noatime,prefix=a\\,b");
    helper_clear(&call);
}

TEST(helper, takes_all_lists_however_many_they_are)
{
    struct helper_call call =
        parsed(WORDS("-o", "ro", "b", "-no", "fs=ext4", "/mnt", "-o", "prefix=\"a,b\""));

    assert_string_equal(call.list, "ro,fs=ext4,prefix=a\\,b");
    assert_true(call.wants_up);
    helper_clear(&call);
}

static void
expect_up(const char *list, bool expected)
{
    struct helper_call call = parsed(WORDS("b", "/mnt", "-o", list));

    assert_int_equal(call.wants_up, expected);
    helper_clear(&call);
}

TEST(helper, wants_a_filesystem_if_an_option_says_which)
{
    expect_up("ro,fs=ext4", true);
    expect_up("fs=ext4", true);
    expect_up("fs-options=noatime", true);
    expect_up("prefix=a\\,fs=ext4", false);
    expect_up("fsOptions=noatime", true);
    expect_up("ro,FS=xfs", true);
    expect_up("offs=ext4,ro", false);
    expect_up("prefix=fs=ext4", false);
    expect_up("noatime,fsname=x", false);
}

TEST(helper, refuses_what_it_does_not_know)
{
    struct helper_call call;

    assert_int_equal(parse(WORDS("b", "/mnt", "-N", "5"), &call), -EINVAL);
    assert_int_equal(parse(WORDS("b", "/mnt", "/other"), &call), -EINVAL);
    assert_int_equal(parse(WORDS("b"), &call), -EINVAL);
    assert_int_equal(parse(WORDS("b", "/mnt", "-o"), &call), -EINVAL);
}

TEST(helper, shows_the_word_that_it_does_not_know)
{
    const char *words[] = { "mount.bucketdisk", "--help" };
    struct helper_call call;
    struct error why = { "" };

    assert_int_equal(helper_parse(2, words, &call, &why), -EINVAL);
    assert_non_null(strstr(why.text, "--help is not understood here"));
    helper_clear(&call);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(helper, takes_the_words_of_mount_in_any_order),
        RUN(helper, drops_the_program_that_a_line_names),
        RUN(helper, keeps_commas_together_that_stand_in_quotes),
        RUN(helper, takes_all_lists_however_many_they_are),
        RUN(helper, wants_a_filesystem_if_an_option_says_which),
        RUN(helper, refuses_what_it_does_not_know),
        RUN(helper, shows_the_word_that_it_does_not_know),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
