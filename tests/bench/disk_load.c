/* SPDX-License-Identifier: Apache-2.0 */
/* The load on a disk: reads or writes of one file by threads, for a time, then perhaps fsync.  The same for all contenders.
 *
 *   disk_load file= op=read|write bytes= range= [order=seq|random|blocks] [block=65536] [threads=1] [seconds=1]
 *             [direct=no|yes] [fsync=no|end|each] [once=no|yes] [drop=no|yes] [check=no|yes]
 *
 * order: seq, through the range again and again; random, with repeats; blocks, one request at a random place in each
 * block of the range, in random order, no block twice.  A run ends with the time, or (blocks, once=yes) with the range.
 * drop: the kernel forgets the file's pages before each round of the range, and this is not counted.  check: what is
 * read begins as s3_bare's objects do there, but for a stamp.  Prints one line of JSON; what fsync takes is told apart. */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS_MAX 256
#define SAMPLES_MAX (1u << 22)
#define ALIGN_BYTES 4096u
#define STAMP_BYTES 8u /* at the start of what is written, different each time */
#define CHECK_BYTES 56u
#define NS_PER_S 1e9

struct work {
    int fd;
    bool is_write, is_once, drops, checks;
    enum { SEQ, RANDOM, BLOCKS } order;
    enum { FSYNC_NO, FSYNC_END, FSYNC_EACH } fsync;
    uint64_t bytes, range, block, count; /* count: requests in a round of the range */
    unsigned char *body;                 /* of a block, as s3_bare fills it */
    uint32_t *shuffled;                  /* order=blocks: the blocks of the range */
    uint64_t end_ns;
    _Atomic uint64_t next, done, dropped_ns;
    uint32_t *latency_us; /* in the order of their end */
};

static unsigned
choice_of(int argc, char **argv, const char *name, const char *const *choices)
{
    const char *value = word_of(argc, argv, name, choices[0]);

    for (unsigned i = 0; choices[i] != NULL; i++) {
        if (strcmp(value, choices[i]) == 0)
            return i;
    }
    fail("%s=%s", name, value);
}

static uint64_t
number_of(int argc, char **argv, const char *name, const char *otherwise)
{
    uint64_t number = strtoull(word_of(argc, argv, name, otherwise), NULL, 10);

    if (number == 0)
        fail("%s= is no number", name);
    return number;
}

/* The finalizer of SplitMix64. */
static uint64_t
mix(uint64_t number)
{
    number += 0x9e3779b97f4a7c15u;
    number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9u;
    number = (number ^ (number >> 27)) * 0x94d049bb133111ebu;
    return number ^ (number >> 31);
}

static void
shuffle(struct work *work)
{
    work->shuffled = malloc(work->count * sizeof *work->shuffled);
    if (work->shuffled == NULL)
        fail("out of memory");
    for (uint32_t i = 0; i < work->count; i++) {
        uint32_t j = (uint32_t)(mix(i) % (i + 1));

        work->shuffled[i] = work->shuffled[j];
        work->shuffled[j] = i;
    }
}

static uint64_t
place_of(const struct work *work, uint64_t number)
{
    switch (work->order) {
    case SEQ:
        return number % work->count * work->bytes;
    case RANDOM:
        return mix(number) % work->count * work->bytes;
    default:
        return work->shuffled[number] * work->block
               + mix(number) % (work->block / work->bytes) * work->bytes;
    }
}

static void
pages_drop(struct work *work)
{
    uint64_t begun = clock_ns();

    posix_fadvise(work->fd, 0, 0, POSIX_FADV_DONTNEED);
    atomic_fetch_add(&work->dropped_ns, clock_ns() - begun);
}

static void
request(struct work *work, uint64_t number, unsigned char *buffer)
{
    uint64_t at = place_of(work, number);
    ssize_t rc;

    if (work->is_write) {
        /* What check= looks for, and before it never the same twice, so that nobody can leave a write out. */
        for (uint64_t i = 0; i < work->bytes; i += work->block)
            memcpy(buffer + i, work->body + (at + i) % work->block,
                   work->bytes - i < work->block ? work->bytes - i : work->block);
        memcpy(buffer, &number, sizeof number);
        rc = pwrite(work->fd, buffer, work->bytes, (off_t)at);
    } else {
        rc = pread(work->fd, buffer, work->bytes, (off_t)at);
    }
    if (rc == -1 || (uint64_t)rc != work->bytes)
        fail("%s at %llu: %s", work->is_write ? "write" : "read", (unsigned long long)at,
             rc == -1 ? strerror(errno) : "short");
    if (work->fsync == FSYNC_EACH && fsync(work->fd) == -1)
        fail("fsync: %s", strerror(errno));
    if (work->checks) {
        if (memcmp(buffer + STAMP_BYTES, work->body + at % work->block + STAMP_BYTES, CHECK_BYTES)
            != 0)
            fail("wrong data at %llu", (unsigned long long)at);
    }
}

static void *
run(void *arg)
{
    struct work *work = arg;
    unsigned char *buffer =
        aligned_alloc(ALIGN_BYTES, (work->bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES);

    if (buffer == NULL)
        fail("out of memory");
    for (;;) {
        uint64_t begun = clock_ns(), number, done;

        if (begun >= work->end_ns + atomic_load(&work->dropped_ns))
            break;
        number = atomic_fetch_add(&work->next, 1);
        if (number >= work->count && (work->is_once || work->order == BLOCKS))
            break;
        if (work->drops && number % work->count == 0) {
            pages_drop(work);
            begun = clock_ns();
        }
        request(work, number, buffer);
        done = atomic_fetch_add(&work->done, 1);
        if (done < SAMPLES_MAX)
            work->latency_us[done] = (uint32_t)((clock_ns() - begun) / 1000);
    }
    free(buffer);
    return NULL;
}

static int
compare(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

    return (a > b) - (a < b);
}

static void
report(struct work *work, double seconds, double fsync_seconds)
{
    uint64_t done = work->done;
    size_t samples = done < SAMPLES_MAX ? done : SAMPLES_MAX;

    if (done == 0)
        fail("nothing was done in the time");
    qsort(work->latency_us, samples, sizeof *work->latency_us, compare);
    printf("{\"done\": %llu, \"bytes\": %llu, \"seconds\": %.4f, \"fsync_seconds\": %.4f, "
           "\"p50_us\": %u, "
           "\"p99_us\": %u}\n",
           (unsigned long long)done, (unsigned long long)(done * work->bytes), seconds,
           fsync_seconds, work->latency_us[samples / 2], work->latency_us[samples * 99 / 100]);
}

static void
parse(struct work *work, int argc, char **argv)
{
    static const char *const ops[] = { "read", "write", NULL },
                             *const yes[] = { "no", "yes", NULL },
                             *const orders[] = { "seq", "random", "blocks", NULL },
                             *const fsyncs[] = { "no", "end", "each", NULL };
    const char *path = word_of(argc, argv, "file", NULL);

    work->is_write = choice_of(argc, argv, "op", ops);
    work->order = choice_of(argc, argv, "order", orders);
    work->fsync = choice_of(argc, argv, "fsync", fsyncs);
    work->is_once = choice_of(argc, argv, "once", yes);
    work->drops = choice_of(argc, argv, "drop", yes);
    work->checks = choice_of(argc, argv, "check", yes) && !work->is_write;
    work->bytes = number_of(argc, argv, "bytes", NULL);
    work->range = number_of(argc, argv, "range", NULL);
    work->block = number_of(argc, argv, "block", "65536");
    work->count = work->range / (work->order == BLOCKS ? work->block : work->bytes);
    if (work->count == 0 || work->count > UINT32_MAX
        || work->block < work->bytes * (work->order == BLOCKS))
        fail("range= and bytes= make no sense");
    if (work->order == BLOCKS)
        shuffle(work);
    work->fd = open(path, (work->is_write ? O_RDWR : O_RDONLY) | O_CLOEXEC
                              | (choice_of(argc, argv, "direct", yes) ? O_DIRECT : 0));
    if (work->fd == -1)
        fail("%s: %s", path, strerror(errno));
    if (work->order != SEQ)
        posix_fadvise(work->fd, 0, 0, POSIX_FADV_RANDOM);
    work->latency_us = malloc(SAMPLES_MAX * sizeof *work->latency_us);
    work->body = malloc(work->block);
    if (work->latency_us == NULL || work->body == NULL)
        fail("out of memory");
    body_fill(work->body, work->block);
}

int
main(int argc, char **argv)
{
    static struct work work;
    pthread_t threads[THREADS_MAX];
    unsigned count = (unsigned)number_of(argc, argv, "threads", "1");
    double seconds = strtod(word_of(argc, argv, "seconds", "1"), NULL);
    uint64_t begun, ended, synced;

    parse(&work, argc, argv);
    if (count > THREADS_MAX)
        fail("threads=%u", count);
    begun = clock_ns();
    work.end_ns = begun + (uint64_t)(seconds * NS_PER_S);
    for (unsigned i = 0; i < count; i++) {
        if (pthread_create(&threads[i], NULL, run, &work) != 0)
            fail("cannot start thread %u", i);
    }
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    ended = clock_ns();
    if (work.fsync == FSYNC_END && fsync(work.fd) == -1)
        fail("fsync: %s", strerror(errno));
    synced = clock_ns();
    report(&work, (double)(ended - begun - work.dropped_ns) / NS_PER_S,
           (double)(synced - ended) / NS_PER_S);
    return 0;
}
