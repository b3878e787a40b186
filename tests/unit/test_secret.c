/* SPDX-License-Identifier: Apache-2.0 */
/* core/base/secret.c: what the kernel is told of keys. */
#include "test.h"

#include "base/secret.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define BYTES 10000u

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
    struct rlimit usual, none;
    unsigned char *secret;
    char flags[256];

    assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &usual), 0);
#ifdef SANITIZED
    skip(); /* it answers mlock itself, and locks nothing */
#endif
    if (usual.rlim_cur < 64 << 10)
        skip();
    secret = secret_alloc(BYTES);
    flags_of(secret, flags);
    assert_non_null(strstr(flags, " lo"));
    secret_free(secret);
    none = usual;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &none), 0);
    secret = secret_alloc(BYTES);
    assert_non_null(secret);
    assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &usual), 0);
    secret_free(secret);
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
        RUN(secret, no_core_is_made_of_a_process_that_holds_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
