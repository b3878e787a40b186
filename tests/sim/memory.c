/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's memory: malloc and its kin, replaced by link (--wrap) in all that is linked with the
 * simulation.  It is counted, it may run out by chance, and it goes when the daemon dies.  What was given
 * back holds rubbish. */
#include "world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>

#define ALIVE 0x616c697665616c69u
#define FREED 0x6672656564667265u
#define RUBBISH 0xdb

struct link {
    struct link *next, *prev;
};

#define ALIGNMENT 64 /* enough for who asks for more than malloc's */

struct chunk {
    struct link link; /* first */
    size_t bytes;
    uint64_t state;
    _Alignas(ALIGNMENT) char data[];
};

static struct {
    struct link all; /* a ring of chunks */
    size_t bytes, peak;
    unsigned ppm;
    uint64_t refusals;
} memory = { .all = { &memory.all, &memory.all } };

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_aligned_alloc(size_t align, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void __real_free(void *old);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t align, size_t bytes);
int __wrap_posix_memalign(void **out, size_t align, size_t bytes);
void __wrap_free(void *old);
char *__wrap_strdup(const char *text);
void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
int __wrap_munmap(void *memory, size_t bytes);
int __wrap_madvise(void *memory, size_t bytes, int advice);

static struct chunk *
chunk_of(void *data)
{
    return (struct chunk *)(void *)((char *)data - offsetof(struct chunk, data));
}

static void *
chunk_new(size_t bytes, bool is_cleared)
{
    struct chunk *chunk;

    if (chance_ppm(memory.ppm)) {
        memory.refusals++;
        return NULL;
    }
    chunk = __real_aligned_alloc(ALIGNMENT,
                                 (sizeof *chunk + bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    if (chunk == NULL)
        abort();
    memset(chunk->data, is_cleared ? 0 : RUBBISH, bytes);
    chunk->bytes = bytes;
    chunk->state = ALIVE;
    chunk->link = (struct link){ memory.all.next, &memory.all };
    chunk->link.next->prev = chunk->link.prev->next = &chunk->link;
    memory.bytes += bytes;
    if (memory.bytes > memory.peak)
        memory.peak = memory.bytes;
    return chunk->data;
}

void *
__wrap_malloc(size_t bytes)
{
    return chunk_new(bytes, false);
}

void *
__wrap_calloc(size_t count, size_t bytes)
{
    if (bytes > 0 && count > SIZE_MAX / 2 / bytes)
        return NULL;
    return chunk_new(count * bytes, true);
}

void *
__wrap_realloc(void *old, size_t bytes)
{
    void *new = chunk_new(bytes, false);

    if (new != NULL && old != NULL) {
        memcpy(new, old, chunk_of(old)->bytes < bytes ? chunk_of(old)->bytes : bytes);
        __wrap_free(old);
    }
    return new;
}

void *
__wrap_aligned_alloc(size_t align, size_t bytes)
{
    return align <= ALIGNMENT ? chunk_new(bytes, false) : NULL;
}

int
__wrap_posix_memalign(void **out, size_t align, size_t bytes)
{
    (void)align;
    *out = chunk_new(bytes, false);
    return *out != NULL ? 0 : ENOMEM;
}

void
__wrap_free(void *old)
{
    struct chunk *chunk;

    if (old == NULL)
        return;
    chunk = chunk_of(old);
    if (chunk->state != ALIVE)
        world_fail("memory is given back that %s",
                   chunk->state == FREED ? "was already" : "is none");
    chunk->state = FREED;
    chunk->link.next->prev = chunk->link.prev;
    chunk->link.prev->next = chunk->link.next;
    memory.bytes -= chunk->bytes;
    memset(chunk->data, RUBBISH, chunk->bytes);
    __real_free(chunk);
}

char *
__wrap_strdup(const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = chunk_new(bytes, false);

    if (copy != NULL)
        memcpy(copy, text, bytes);
    return copy;
}

/* Mappings are memory like any other. */
void *
__wrap_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    void *data = chunk_new(bytes, true);

    (void)at;
    (void)protection;
    (void)flags;
    (void)fd;
    (void)offset;
    if (data == NULL)
        errno = ENOMEM;
    return data != NULL ? data : MAP_FAILED;
}

void *
__wrap_mmap64(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    return __wrap_mmap(at, bytes, protection, flags, fd, offset);
}

int
__wrap_munmap(void *data, size_t bytes)
{
    if (chunk_of(data)->bytes != bytes)
        world_fail("a part of a mapping is given back");
    __wrap_free(data);
    return 0;
}

int
__wrap_madvise(void *data, size_t bytes, int advice)
{
    (void)data;
    (void)bytes;
    (void)advice;
    return 0;
}

void
memory_drop_all(void)
{
    while (memory.all.next != &memory.all)
        __wrap_free(((struct chunk *)(void *)memory.all.next)->data);
}

void
memory_set_ppm(unsigned ppm)
{
    memory.ppm = ppm;
}

uint64_t
world_refusals(void)
{
    return memory.refusals;
}

size_t
world_memory_bytes(void)
{
    return memory.bytes;
}

size_t
world_memory_peak(void)
{
    return memory.peak;
}

void
world_memory_peak_reset(void)
{
    memory.peak = memory.bytes;
}

void
world_memory_list(void)
{
    for (const struct link *link = memory.all.next; link != &memory.all; link = link->next)
        printf("  %zu bytes\n", ((const struct chunk *)(const void *)link)->bytes);
}

void *
world_alloc(size_t bytes)
{
    void *data = __real_calloc(1, bytes);

    if (data == NULL)
        abort();
    return data;
}

void *
world_realloc(void *old, size_t bytes)
{
    void *data = __real_realloc(old, bytes);

    if (data == NULL)
        abort();
    return data;
}

void
world_release(void *data)
{
    __real_free(data);
}
