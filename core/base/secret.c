/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for keys and passphrases. */
#include "secret.h"

#include "log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <unistd.h>

/* A secret has pages of its own, so that locking and the dump flag concern nothing else.  The size
 * of the mapping is kept in front. */
#define HEAD_BYTES 64u

void
secret_protect_process(void)
{
    const struct rlimit none = { 0, 0 };

    /* The limit alone does not keep the kernel from piping a core to a program. */
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static void
lock(void *map, size_t bytes)
{
    static atomic_bool is_told;

    if (mlock(map, bytes) != 0 && !atomic_exchange(&is_told, true))
        log_line(BD_INFO,
                 "keys cannot be locked in memory, and could be swapped: %s (see ulimit -l)",
                 strerror(errno));
}

void *
secret_alloc(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t total;
    unsigned char *map;

    if (bytes > SIZE_MAX / 2)
        return NULL;
    total = (bytes + HEAD_BYTES + page - 1) / page * page;
    map = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return NULL;
    lock(map, total);
    (void)madvise(map, total, MADV_DONTDUMP);
    memcpy(map, &total, sizeof total);
    return map + HEAD_BYTES;
}

void
secret_free(void *secret)
{
    unsigned char *map;
    size_t total;

    if (secret == NULL)
        return;
    map = (unsigned char *)secret - HEAD_BYTES;
    memcpy(&total, map, sizeof total);
    explicit_bzero(map, total);
    munmap(map, total);
}

void
random_fill(void *out, size_t bytes)
{
    unsigned char *next = out;

    while (bytes > 0) {
        ssize_t got = getrandom(next, bytes, 0);

        if (got < 0) {
            if (errno == EINTR)
                continue;
            log_line(BD_ERROR, "the kernel gives no random bytes: %s", strerror(errno));
            abort();
        }
        next += got;
        bytes -= (size_t)got;
    }
}
