/* SPDX-License-Identifier: Apache-2.0 */
/* core/layout.c: s3backer's names, with the known answers of its hash. */
#include "test.h"

#include "base/util.h"
#include "layout.h"

#include <string.h>

static const struct {
    uint64_t block;
    const char *name;
} hashed_names[] = {
    { 0, "v/c448b72c-00000000" },          { 1, "v/d211cad9-00000001" },
    { 2, "v/7183baa1-00000002" },          { 9, "v/93021f19-00000009" },
    { 0xff, "v/6ad31a26-000000ff" },       { 0x100, "v/e34e7a2c-00000100" },
    { 0x1234, "v/b74e46df-00001234" },     { 0x10000, "v/b1b53b7c-00010000" },
    { 0x7fffffff, "v/8f92efdc-7fffffff" }, { 0x80000000, "v/d2255ed2-80000000" },
    { 0xffffffff, "v/0f447858-ffffffff" },
};

TEST(layout, a_name_is_the_prefix_and_eight_lower_case_digits)
{
    const struct layout layout = { .prefix = "v/", .block_count = LAYOUT_BLOCKS_MAX };
    object_name name;

    layout_block_name(&layout, 0xabcdef, name);
    assert_string_equal(name, "v/00abcdef");
    layout_control_name(&layout, "s3backer-mounted", name);
    assert_string_equal(name, "v/s3backer-mounted");
}

TEST(layout, hashed_names_are_those_of_s3backer)
{
    const struct layout layout = { .prefix = "v/",
                                   .is_hashed = true,
                                   .block_count = LAYOUT_BLOCKS_MAX };

    for (size_t i = 0; i < ARRAY_LEN(hashed_names); i++) {
        object_name name;
        uint64_t block = 1;

        layout_block_name(&layout, hashed_names[i].block, name);
        assert_string_equal(name, hashed_names[i].name);
        /* ffffffff has a name, but is never a block. */
        assert_int_equal(layout_parse(&layout, name, &block), hashed_names[i].block < UINT32_MAX);
        if (hashed_names[i].block < UINT32_MAX)
            assert_int_equal(block, hashed_names[i].block);
    }
}

static bool
parses(const struct layout *layout, const char *name)
{
    uint64_t block;

    return layout_parse(layout, name, &block);
}

TEST(layout, foreign_names_are_refused)
{
    static const char *const foreign[] = {
        "",
        "v/",
        "v/0000000",
        "v/000000001",
        "v/0000000A",
        "v/0000000g",
        "00000001",
        "V/00000001",
        "v/00000001/",
        "v/ 0000001",
        "v/+0000001",
        "v/0x000001",
        "v/s3backer-mounted",
        "v/d211cad9-00000001",
        "x/00000001",
        "v/00000064",
        "v/bucketdisk-probe-00000000ffffffff-00000001",
    };
    const struct layout layout = { .prefix = "v/", .block_count = 100 };

    assert_true(parses(&layout, "v/00000001"));
    assert_true(parses(&layout, "v/00000063"));
    for (size_t i = 0; i < ARRAY_LEN(foreign); i++) {
        if (parses(&layout, foreign[i]))
            fail_msg("\"%s\" was taken for a block", foreign[i]);
    }
}

TEST(layout, foreign_hashed_names_are_refused)
{
    static const char *const foreign[] = {
        "00000001",
        "d211cad9",
        "d211cad9-",
        "d211cad9-0000001",
        "d211cad8-00000001",
        "D211cad9-00000001",
        "d211cad9_00000001",
        "d211cad9-000000010",
        "d211cad9-00000001-",
        "93021f19-00000009",
        "bucketdisk-probe-00000000ffffffff-00000001",
    };
    const struct layout layout = { .prefix = "", .is_hashed = true, .block_count = 9 };

    assert_true(parses(&layout, "d211cad9-00000001"));
    for (size_t i = 0; i < ARRAY_LEN(foreign); i++) {
        if (parses(&layout, foreign[i]))
            fail_msg("\"%s\" was taken for a block", foreign[i]);
    }
}

TEST(layout, the_name_before_a_block_is_below_it_and_not_below_its_neighbour)
{
    const struct layout layout = { .prefix = "v/", .block_count = LAYOUT_BLOCKS_MAX };
    object_name before, name;

    layout_name_before(&layout, 0, before);
    assert_string_equal(before, "");
    layout_name_before(&layout, 0x10, before);
    layout_block_name(&layout, 0x10, name);
    assert_true(strcmp(before, name) < 0);
    layout_block_name(&layout, 0xf, name);
    assert_string_equal(before, name);
}

TEST(layout, hashed_names_are_listed_from_their_hash_on)
{
    const struct layout layout = { .prefix = "v/", .is_hashed = true, .block_count = 0x10000 };
    object_name before, name;

    assert_int_equal(layout_key_count(&layout), 0x100000000);
    assert_int_equal(layout_key(&layout, 2), 0x7183baa1);
    layout_block_name(&layout, 2, name);
    layout_name_before(&layout, 0x7183baa1, before);
    assert_true(strcmp(before, name) < 0);
    layout_name_before(&layout, 0x7183baa2, before);
    assert_true(strcmp(before, name) > 0);
    layout_name_before(&layout, 0x100000000, before);
    assert_true(strcmp(before, "v/ffffffff-ffffffff") > 0);
    layout_name_before(&layout, 0, before);
    assert_string_equal(before, "");
}

TEST(layout, sizes_are_decimal_attributes)
{
    const struct layout layout = { .prefix = "", .block_bytes = 65536, .block_count = 0x20000 };
    struct attrs attrs = { 0 };

    assert_int_equal(layout_add_sizes(&layout, &attrs), 0);
    assert_int_equal(attrs.count, 2);
    assert_string_equal(attrs_find(&attrs, "s3backer-blocksize")->value, "65536");
    assert_string_equal(attrs_find(&attrs, "s3backer-filesize")->value, "8589934592");
    attrs_clear(&attrs);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(layout, a_name_is_the_prefix_and_eight_lower_case_digits),
        RUN(layout, hashed_names_are_those_of_s3backer),
        RUN(layout, foreign_names_are_refused),
        RUN(layout, foreign_hashed_names_are_refused),
        RUN(layout, the_name_before_a_block_is_below_it_and_not_below_its_neighbour),
        RUN(layout, hashed_names_are_listed_from_their_hash_on),
        RUN(layout, sizes_are_decimal_attributes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
