/* SPDX-License-Identifier: Apache-2.0 */
/* core/base/secret.c: what the kernel is told of keys. */
#include "test.h"

#include "base/secret.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define BYTES 10000u
#define NOBODY 65534

/* The flags that the kernel keeps of the mapping around this address. */
static void
flags_of(const void *at, char flags[256])
{
    FILE *maps = fopen("/proc/self/smaps", "r");
    unsigned long begin, end;
    char line[1024];
    bool is_here = false;

    assert_non_null(maps);
    flags[0] = '\0';
    while (fgets(line, sizeof line, maps) != NULL) {
        if (sscanf(line, "%lx-%lx ", &begin, &end) == 2)
            is_here = (uintptr_t)at >= begin && (uintptr_t)at < end;
        else if (is_here && strncmp(line, "VmFlags:", 8) == 0)
            snprintf(flags, 256, "%.255s", line);
    }
    fclose(maps);
}

TEST(secret, memory_is_zeroed_and_left_out_of_dumps)
{
    unsigned char *secret = secret_alloc(BYTES);
    char flags[256];

    assert_non_null(secret);
    for (unsigned i = 0; i < BYTES; i++)
        assert_int_equal(secret[i], 0);
    memset(secret, 'x', BYTES);
    for (unsigned i = 0; i < BYTES; i += BYTES - 1) {
        flags_of(secret + i, flags);
        assert_non_null(strstr(flags, " dd"));
    }
    secret_free(secret);
    secret_free(NULL);
}

TEST(secret, memory_is_locked_where_the_limit_allows_it)
{
    struct rlimit limit;
    unsigned char *secret;
    char flags[256];

#ifdef SANITIZED
    skip(); /* it answers mlock itself, and locks nothing */
#endif
    assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
    if (limit.rlim_cur < 64 << 10)
        skip();
    secret = secret_alloc(BYTES);
    assert_non_null(secret);
    flags_of(secret, flags);
    assert_non_null(strstr(flags, " lo"));
    secret_free(secret);
}

/* In a child, which may lock nothing: the limit is none for root. */
static int
use_unlocked(void)
{
    const struct rlimit none = { 0, 0 };
    unsigned char *secret;

    if (setrlimit(RLIMIT_MEMLOCK, &none) != 0 || (geteuid() == 0 && seteuid(NOBODY) != 0))
        return 2;
#ifndef SANITIZED
    if (mlock(&none, sizeof none) == 0)
        return 3;
#endif
    secret = secret_alloc(BYTES);
    if (secret == NULL)
        return 1;
    memset(secret, 'x', BYTES);
    secret_free(secret);
    return 0;
}

TEST(secret, where_nothing_may_be_locked_there_is_memory_all_the_same)
{
    pid_t child = fork();
    int status;

    if (child == 0)
        _exit(use_unlocked());
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

TEST(secret, no_core_is_made_of_a_process_that_holds_them)
{
    struct rlimit limit;

    secret_protect_process();
    assert_int_equal(getrlimit(RLIMIT_CORE, &limit), 0);
    assert_int_equal(limit.rlim_cur, 0);
    assert_int_equal(limit.rlim_max, 0);
    assert_int_equal(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(secret, memory_is_zeroed_and_left_out_of_dumps),
        RUN(secret, memory_is_locked_where_the_limit_allows_it),
        RUN(secret, where_nothing_may_be_locked_there_is_memory_all_the_same),
        RUN(secret, no_core_is_made_of_a_process_that_holds_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
