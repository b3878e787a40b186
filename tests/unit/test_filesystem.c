/* SPDX-License-Identifier: Apache-2.0 */
/* core/filesystem.c: how filesystems are made and mounted, and what is seen on a disk. */
#include "test.h"

#include "filesystem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *
command_of(const char *name, uint64_t disk_bytes, uint32_t block_bytes)
{
    static char line[400];
    struct filesystem_command command;

    filesystem_command(filesystem_find(name), disk_bytes, block_bytes, "/dev/loop9", &command);
    line[0] = '\0';
    for (const char **word = command.words; *word != NULL; word++)
        snprintf(line + strlen(line), sizeof line - strlen(line), "%s%s",
                 word == command.words ? "" : " ", *word);
    return line;
}

TEST(filesystem, is_made_on_zeros_with_space_in_pieces_of_a_block)
{
    assert_string_equal(command_of("ext4", 1u << 30, 65536),
                        "mkfs.ext4 -q -E nodiscard,assume_storage_prezeroed=1,stride=16,"
                        "stripe-width=16 /dev/loop9");
    assert_string_equal(command_of("xfs", 1u << 30, 65536),
                        "mkfs.xfs -q -K -s size=4096 -d su=65536,sw=1,agcount=4 /dev/loop9");
    assert_string_equal(command_of("btrfs", 1u << 30, 65536),
                        "mkfs.btrfs -q -K -m single /dev/loop9");
}

TEST(filesystem, of_small_blocks_and_for_xfs_of_huge_ones_nothing_is_said)
{
    assert_string_equal(command_of("ext4", 1u << 30, 4096),
                        "mkfs.ext4 -q -E nodiscard,assume_storage_prezeroed=1 /dev/loop9");
    assert_string_equal(command_of("xfs", 1u << 30, 512), "mkfs.xfs -q -K -s size=4096 /dev/loop9");
    assert_string_equal(command_of("xfs", 1u << 30, 64u << 20),
                        "mkfs.xfs -q -K -s size=4096 /dev/loop9");
}

TEST(filesystem, of_xfs_on_a_large_disk_gets_as_many_groups_as_it_needs)
{
    assert_string_equal(command_of("xfs", 8ull << 40, 65536),
                        "mkfs.xfs -q -K -s size=4096 -d su=65536,sw=1 /dev/loop9");
}

static void
expect_options(const char *type, bool is_read_only, const char *generic, const char *own,
               const char *expected)
{
    char *options;

    assert_int_equal(filesystem_options(type, is_read_only, generic, own, &options), 0);
    assert_string_equal(options, expected);
    free(options);
}

TEST(filesystem, is_mounted_with_discard_and_what_the_user_says_comes_last)
{
    expect_options("ext4", false, "", "", "_netdev,helper=bucketdisk,discard");
    expect_options("btrfs", false, "noatime", "nodiscard",
                   "_netdev,helper=bucketdisk,discard=async,noatime,nodiscard");
    expect_options("vfat", false, "noatime", NULL, "_netdev,helper=bucketdisk,noatime");
}

TEST(filesystem, that_is_only_read_replays_no_journal)
{
    expect_options("ext4", true, "", "", "_netdev,helper=bucketdisk,ro,noload");
    expect_options("xfs", true, "", "", "_netdev,helper=bucketdisk,ro,norecovery");
}

TEST(filesystem, that_does_not_fit_is_refused_by_its_size)
{
    struct error why = { "" };

    if (filesystem_can_make(filesystem_find("xfs"), 300u << 20, &why) == -ENOENT)
        skip();
    assert_int_equal(filesystem_can_make(filesystem_find("xfs"), 300u << 20, &why), 0);
    assert_int_equal(filesystem_can_make(filesystem_find("xfs"), (300u << 20) - 1, &why), -EINVAL);
    assert_non_null(strstr(why.text, "300M"));
}

/* ---- what is on a disk */

static FILE *
disk_with(off_t offset, const void *data, size_t bytes)
{
    FILE *file = tmpfile();

    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), 16 << 20), 0);
    assert_int_equal(pwrite(fileno(file), data, bytes, offset), bytes);
    return file;
}

static void
expect_content(FILE *file, enum content expected, const char *expected_type)
{
    enum content content;
    struct error why = { "" };
    char type[32];

    if (filesystem_probe(fileno(file), &content, type, sizeof type, &why) != 0)
        fail_msg("%s", why.text);
    assert_int_equal(content, expected);
    assert_string_equal(type, expected_type);
    fclose(file);
}

TEST(filesystem, a_disk_is_empty_only_if_all_of_it_is_zeros)
{
    static const char zeros[65536];

    expect_content(disk_with(0, zeros, sizeof zeros), CONTENT_NOTHING, "");
    expect_content(disk_with((16 << 20) - 1, "x", 1), CONTENT_OTHER, "");
    expect_content(disk_with(5 << 20, "x", 1), CONTENT_OTHER, "");
}

TEST(filesystem, on_a_disk_is_told_from_what_is_none)
{
    static const char luks[] = "LUKS\xba\xbe\0\1";
    static const char partitions[] = { 0x55, (char)0xaa };
    char swap[4096] = { 0 };

    memcpy(swap + sizeof swap - 10, "SWAPSPACE2", 10);
    swap[1024] = 1;
    swap[1028 + 1] = 1;
    expect_content(disk_with(0, luks, sizeof luks - 1), CONTENT_OTHER, "crypto_LUKS");
    expect_content(disk_with(0, swap, sizeof swap), CONTENT_OTHER, "swap");
    expect_content(disk_with(510, partitions, sizeof partitions), CONTENT_OTHER, "dos");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(filesystem, is_made_on_zeros_with_space_in_pieces_of_a_block),
        RUN(filesystem, of_small_blocks_and_for_xfs_of_huge_ones_nothing_is_said),
        RUN(filesystem, of_xfs_on_a_large_disk_gets_as_many_groups_as_it_needs),
        RUN(filesystem, is_mounted_with_discard_and_what_the_user_says_comes_last),
        RUN(filesystem, that_is_only_read_replays_no_journal),
        RUN(filesystem, that_does_not_fit_is_refused_by_its_size),
        RUN(filesystem, a_disk_is_empty_only_if_all_of_it_is_zeros),
        RUN(filesystem, on_a_disk_is_told_from_what_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
