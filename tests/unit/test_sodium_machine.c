/* SPDX-License-Identifier: Apache-2.0 */
/* plugins/crypto-sodium/machine.c: machines and control groups as their files describe them. */
#include "test.h"

#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MIB (UINT64_C(1) << 20)

static char root[64];

static void
write_file(const char *path, const char *text)
{
    char full[256];
    FILE *stream;

    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *slash = strchr(full + strlen(root) + 1, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(full, 0700);
        *slash = '/';
    }
    stream = fopen(full, "w");
    assert_non_null(stream);
    fputs(text, stream);
    assert_int_equal(fclose(stream), 0);
}

static int
setup(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/bucketdisk-machine-XXXXXX");
    return mkdtemp(root) == NULL;
}

static int
teardown(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command);
}

/* 8000 MiB, of which 3000 are available. */
static void
machine_of_8000(const char *cgroup)
{
    write_file("/proc/meminfo", "MemTotal:        8192000 kB\nMemFree:          100000 kB\n"
                                "MemAvailable:    3072000 kB\nBuffers:               1 kB\n");
    if (cgroup != NULL)
        write_file("/proc/self/cgroup", cgroup);
}

static void
expect(uint64_t memory_mib, uint64_t available_mib)
{
    struct machine machine;

    machine_look(root, &machine);
    assert_int_equal(machine.memory_bytes / MIB, memory_mib);
    assert_int_equal(machine.available_bytes / MIB, available_mib);
}

TEST(machine, without_groups_the_kernels_numbers_count)
{
    machine_of_8000(NULL);
    expect(8000, 3000);
    write_file("/proc/self/cgroup", "0::/user.slice\n");
    expect(8000, 3000);
    write_file("/sys/fs/cgroup/user.slice/memory.max", "max\n");
    write_file("/sys/fs/cgroup/user.slice/memory.current", "4194304000\n");
    expect(8000, 3000);
}

TEST(machine, the_limit_of_a_group_counts_and_its_page_cache_is_no_use)
{
    machine_of_8000("0::/a.slice/b.service\n");
    write_file("/sys/fs/cgroup/a.slice/b.service/memory.max", "1048576000\n");    /* 1000 MiB */
    write_file("/sys/fs/cgroup/a.slice/b.service/memory.current", "838860800\n"); /* 800 */
    expect(1000, 200);
    write_file("/sys/fs/cgroup/a.slice/b.service/memory.stat",
               "anon 314572800\nfile 524288000\ninactive_anon 104857600\ninactive_file 419430400\n"
               "active_file 104857600\nunevictable 0\n"); /* 400 and 100 */
    expect(1000, 700);
}

TEST(machine, the_narrowest_of_the_groups_around_counts)
{
    machine_of_8000("0::/a.slice/b.service\n");
    write_file("/sys/fs/cgroup/a.slice/b.service/memory.max", "1048576000\n");
    write_file("/sys/fs/cgroup/a.slice/b.service/memory.current", "104857600\n");
    write_file("/sys/fs/cgroup/a.slice/memory.max", "2097152000\n");
    write_file("/sys/fs/cgroup/a.slice/memory.current", "1992294400\n"); /* others' */
    expect(1000, 100);
    write_file("/sys/fs/cgroup/memory.max", "524288000\n"); /* a container's own top */
    expect(500, 100);
}

TEST(machine, a_group_over_its_limit_has_nothing_left)
{
    machine_of_8000("0::/a\n");
    write_file("/sys/fs/cgroup/a/memory.max", "1048576000\n");
    write_file("/sys/fs/cgroup/a/memory.current", "1048576001\n");
    expect(1000, 0);
}

TEST(machine, groups_of_version_1_count_too)
{
    machine_of_8000("9:name=systemd:/x\n4:memory:/y\n0::/z\n");
    write_file("/sys/fs/cgroup/memory/y/memory.limit_in_bytes", "1048576000\n");
    write_file("/sys/fs/cgroup/memory/y/memory.usage_in_bytes", "943718400\n");
    write_file("/sys/fs/cgroup/memory/y/memory.stat",
               "active_file 0\ntotal_inactive_file 209715200\ntotal_active_file 104857600\n");
    write_file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    write_file("/sys/fs/cgroup/memory/memory.usage_in_bytes", "4194304000\n");
    expect(1000, 400);
}

TEST(machine, what_cannot_be_read_is_not_known)
{
    struct machine machine;

    machine_look(root, &machine);
    assert_true(machine.memory_bytes == UINT64_MAX);
    assert_true(machine.available_bytes == UINT64_MAX);
    write_file("/proc/meminfo", "MemTotal: lots\n");
    write_file("/proc/self/cgroup", "nonsense\n0:\n\n::");
    machine_look(root, &machine);
    assert_true(machine.memory_bytes == UINT64_MAX);
}

TEST(machine, this_machine_has_some)
{
    struct machine machine;

    machine_look("", &machine);
    assert_true(machine.memory_bytes > 16 * MIB);
    assert_true(machine.memory_bytes != UINT64_MAX);
    assert_true(machine.available_bytes <= machine.memory_bytes);
}

#define RUN_IN_ROOT(sentence) cmocka_unit_test_setup_teardown(machine_##sentence, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN_IN_ROOT(without_groups_the_kernels_numbers_count),
        RUN_IN_ROOT(the_limit_of_a_group_counts_and_its_page_cache_is_no_use),
        RUN_IN_ROOT(the_narrowest_of_the_groups_around_counts),
        RUN_IN_ROOT(a_group_over_its_limit_has_nothing_left),
        RUN_IN_ROOT(groups_of_version_1_count_too),
        RUN_IN_ROOT(what_cannot_be_read_is_not_known),
        RUN(machine, this_machine_has_some),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
