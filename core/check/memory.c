/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for rows of a check: with an end that is watched, and with contents. */
#include "impl.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct check_memory {
    struct check_memory *next;
    void *start; /* NULL: of malloc, behind this */
    size_t bytes;
    max_align_t data[];
};

const char *const check_content_names[3] = { "zeros", "text", "noise" };

static struct check_memory *
memory_new(struct check *check, size_t bytes)
{
    struct check_memory *memory = calloc(1, sizeof *memory + bytes);

    if (memory == NULL)
        check_refuse(check, "out of memory");
    memory->next = check->memory;
    check->memory = memory;
    return memory;
}

void *
check_alloc(struct check *check, size_t bytes)
{
    return memory_new(check, bytes)->data;
}

void *
check_guarded(struct check *check, size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t room = (bytes + page - 1) / page * page;
    struct check_memory *memory = memory_new(check, 0);
    char *start =
        mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (start == MAP_FAILED || mprotect(start + room, page, PROT_NONE) != 0)
        check_refuse(check, "out of memory");
    memory->start = start;
    memory->bytes = room + page;
    return start + room - bytes;
}

void
check_lock(void *guarded, size_t bytes, bool is_locked)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t offset = (uintptr_t)guarded % page;

    mprotect((char *)guarded - offset, offset + bytes,
             is_locked ? PROT_NONE : PROT_READ | PROT_WRITE);
}

void
check_memory_free(struct check *check)
{
    while (check->memory != NULL) {
        struct check_memory *memory = check->memory;

        check->memory = memory->next;
        if (memory->start != NULL)
            munmap(memory->start, memory->bytes);
        free(memory);
    }
}

void
check_fill(void *out, size_t bytes, enum check_content content, unsigned seed)
{
    unsigned char *to = out;
    uint64_t state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    char line[64];
    size_t len;

    if (content == CONTENT_ZEROS) {
        memset(out, 0, bytes);
        return;
    }
    for (size_t i = 0; i < bytes && content == CONTENT_NOISE; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        to[i] = (unsigned char)(state >> 24);
    }
    for (size_t i = 0; i < bytes && content == CONTENT_TEXT; i += len) {
        len = (size_t)snprintf(line, sizeof line, "%s %zu.%u\n", CHECK_PLAINTEXT, i / 50, seed);
        memcpy(to + i, line, len < bytes - i ? len : bytes - i);
    }
}

void
check_canary_set(void *at)
{
    memset(at, 0xa5, CHECK_CANARY_BYTES);
}

bool
check_canary_is_whole(const void *at)
{
    const unsigned char *bytes = at;

    for (size_t i = 0; i < CHECK_CANARY_BYTES; i++) {
        if (bytes[i] != 0xa5)
            return false;
    }
    return true;
}
