/* SPDX-License-Identifier: Apache-2.0 */
/* Random operations on a file of fixed size, each compared with a model: fsx for a virtual disk.
 *
 *   randomops --seed N [--first N] [--count N] [--threads N] [--max-bytes N] --model FILE PATH
 *
 * Operation i of thread t depends on (seed, t, i) and the file's size alone, never on earlier ones.  So a run can be cut
 * in pieces with a remount between them (--first goes on where the last piece ended; the model is a file and stays), and
 * a failure is repeated on a new disk with the same seed from operation 0.
 *
 * Threads work on disjoint byte ranges whose borders lie inside blocks, so neighbours meet in the same block all the
 * time, but never in the same byte.
 *
 * Most reads are made after the kernel was told to forget the range; otherwise its page cache would answer.
 *
 * At a difference: seed, thread, operation, offset, both bytes and the last 20 operations; exit status 1. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HISTORY = 20, THREADS_MAX = 64 };

enum op { READ, WRITE, WRITE_ZEROS, PUNCH, ZERO, ZERO_KEEP, ALLOCATE, SEEK, FSYNC, FDATASYNC, OPS };

static const char *const op_names[OPS] = {
    "read",      "write", "write zeros", "punch hole", "zero range", "zero range, keep size",
    "fallocate", "seek",  "fsync",       "fdatasync",
};

/* How often, of 100. */
static const unsigned op_weights[OPS] = { 30, 30, 5, 8, 5, 4, 3, 9, 4, 2 };

struct step {
    uint64_t number;
    enum op op;
    uint64_t offset, length;
};

struct worker {
    pthread_t thread;
    unsigned id;
    uint64_t from, to; /* the bytes of the file that are ours */
    unsigned char *buffer;
    struct step history[HISTORY];
    uint64_t steps;
};

static struct {
    const char *path;
    const char *model_path;
    uint64_t seed, first, count;
    uint64_t length_max;
    unsigned threads;
    int fd;
    uint64_t size;
    unsigned char *model; /* a shared mapping of the model file */
} run = { .seed = 1, .count = 1000, .threads = 1, .length_max = 4u << 20, .fd = -1 };

static pthread_mutex_t failing = PTHREAD_MUTEX_INITIALIZER;

/* splitmix64: small, and every seed is a good one. */
static uint64_t
random_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t
random_below(uint64_t *state, uint64_t limit)
{
    return random_next(state) % limit;
}

static _Noreturn __attribute__((format(printf, 2, 3))) void
fail(const struct worker *worker, const char *format, ...)
{
    va_list args;

    pthread_mutex_lock(&failing); /* the first to fail ends the program */
    fprintf(stderr, "randomops: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    if (worker != NULL) {
        uint64_t from = worker->steps > HISTORY ? worker->steps - HISTORY : 0;

        fprintf(stderr,
                "seed %" PRIu64 ", thread %u of %u, file of %" PRIu64
                " bytes; the last operations:\n",
                run.seed, worker->id, run.threads, run.size);
        for (uint64_t i = from; i < worker->steps; i++) {
            const struct step *step = &worker->history[i % HISTORY];

            fprintf(stderr, "  %8" PRIu64 "  %-22s %#12" PRIx64 " + %#9" PRIx64 "\n", step->number,
                    op_names[step->op], step->offset, step->length);
        }
        fprintf(stderr,
                "repeat on a new disk: randomops --seed %" PRIu64 " --first 0 --count %" PRIu64
                " --threads %u"
                " --max-bytes %" PRIu64 " --model NEWFILE PATH\n",
                run.seed, worker->history[(worker->steps - 1) % HISTORY].number + 1, run.threads,
                run.length_max);
    }
    exit(1);
}

/* A range in the worker's part: half small, some up to a few dozen pages, one in sixteen large; one in eight touches the part's end or
 * its beginning, one in eight is page aligned, as a filesystem's are. */
static void
choose_range(struct worker *worker, uint64_t *state, struct step *step)
{
    uint64_t part = worker->to - worker->from;
    uint64_t kind = random_below(state, 16);
    uint64_t limit = kind < 8 ? 5000 : kind < 15 ? 150000 : run.length_max;
    uint64_t where = random_below(state, 16);

    if (limit > run.length_max)
        limit = run.length_max;
    if (limit > part)
        limit = part;
    step->length = 1 + random_below(state, limit);
    step->offset = worker->from + random_below(state, part - step->length + 1);
    if (where == 0) {
        step->offset = worker->to - step->length;
    } else if (where == 1) {
        step->offset = worker->from;
    } else if (where < 4) {
        uint64_t begin = (step->offset + 4095) & ~(uint64_t)4095,
                 end = (begin + step->length + 4095) & ~(uint64_t)4095;

        if (end <= worker->to) {
            step->offset = begin;
            step->length = end - begin;
        }
    }
}

static bool
is_zero(const unsigned char *bytes, uint64_t length)
{
    return length == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0);
}

static void
do_read(struct worker *worker, uint64_t *state, const struct step *step)
{
    uint64_t done = 0;

    if (random_below(state, 4) != 0)
        posix_fadvise(run.fd, (off_t)(step->offset & ~(uint64_t)4095),
                      (off_t)((step->length + 8192) & ~(uint64_t)4095), POSIX_FADV_DONTNEED);
    while (done < step->length) {
        ssize_t n =
            pread(run.fd, worker->buffer + done, step->length - done, (off_t)(step->offset + done));

        if (n == -1 && errno == EINTR)
            continue;
        if (n <= 0)
            fail(worker, "read at %#" PRIx64 ": %s", step->offset + done,
                 n == 0 ? "end of file" : strerror(errno));
        done += (uint64_t)n;
    }
    if (memcmp(worker->buffer, run.model + step->offset, step->length) == 0)
        return;
    for (uint64_t i = 0; i < step->length; i++) {
        if (worker->buffer[i] != run.model[step->offset + i]) {
            uint64_t bad = 1;

            for (uint64_t j = i + 1; j < step->length; j++)
                bad += worker->buffer[j] != run.model[step->offset + j];
            fail(worker,
                 "operation %" PRIu64 ": byte %#" PRIx64 " is %02x and should be %02x; %" PRIu64
                 " of %" PRIu64 " bytes differ",
                 step->number, step->offset + i, worker->buffer[i], run.model[step->offset + i],
                 bad, step->length);
        }
    }
}

static void
do_write(struct worker *worker, uint64_t *state, const struct step *step)
{
    uint64_t done = 0;

    if (step->op == WRITE_ZEROS) {
        memset(worker->buffer, 0, step->length);
    } else {
        for (uint64_t i = 0; i < step->length; i += sizeof(uint64_t)) {
            uint64_t word = random_next(state);
            uint64_t rest = step->length - i;

            memcpy(worker->buffer + i, &word, rest < sizeof word ? rest : sizeof word);
        }
    }
    while (done < step->length) {
        ssize_t n = pwrite(run.fd, worker->buffer + done, step->length - done,
                           (off_t)(step->offset + done));

        if (n == -1 && errno == EINTR)
            continue;
        if (n <= 0)
            fail(worker, "write at %#" PRIx64 ": %s", step->offset + done,
                 n == 0 ? "nothing written" : strerror(errno));
        done += (uint64_t)n;
    }
    memcpy(run.model + step->offset, worker->buffer, step->length);
}

static void
do_fallocate(struct worker *worker, const struct step *step)
{
    static const int modes[OPS] = {
        [PUNCH] = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
        [ZERO] = FALLOC_FL_ZERO_RANGE,
        [ZERO_KEEP] = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
        [ALLOCATE] = 0,
    };

    if (fallocate(run.fd, modes[step->op], (off_t)step->offset, (off_t)step->length) != 0)
        fail(worker, "%s at %#" PRIx64 ": %s", op_names[step->op], step->offset, strerror(errno));
    if (step->op != ALLOCATE)
        memset(run.model + step->offset, 0, step->length);
}

/* What is called a hole must be zero in the model.  Data may be called data though it is zero.  A range that leaves our
 * own part is only checked as far as our part goes: the rest is moving. */
static void
do_seek(struct worker *worker, const struct step *step)
{
    off_t data = lseek(run.fd, (off_t)step->offset, SEEK_DATA);
    off_t hole = lseek(run.fd, (off_t)step->offset, SEEK_HOLE);
    uint64_t end;

    if (data == -1 && errno != ENXIO)
        fail(worker, "SEEK_DATA from %#" PRIx64 ": %s", step->offset, strerror(errno));
    if (hole == -1)
        fail(worker, "SEEK_HOLE from %#" PRIx64 ": %s (the end of the file is a hole)",
             step->offset, strerror(errno));
    if ((data != -1 && ((uint64_t)data < step->offset || (uint64_t)data >= run.size))
        || (uint64_t)hole < step->offset || (uint64_t)hole > run.size)
        fail(worker, "seek from %#" PRIx64 " went to data %#" PRIx64 ", hole %#" PRIx64,
             step->offset, (uint64_t)data, (uint64_t)hole);
    if (run.threads == 1 && (uint64_t)data == step->offset && (uint64_t)hole == step->offset)
        fail(worker, "%#" PRIx64 " is called data and hole", step->offset);
    end = data == -1 || (uint64_t)data > worker->to ? worker->to : (uint64_t)data;
    if (end > step->offset && !is_zero(run.model + step->offset, end - step->offset))
        fail(worker,
             "operation %" PRIu64 ": SEEK_DATA from %#" PRIx64 " went to %#" PRIx64
             " and skipped data",
             step->number, step->offset, (uint64_t)data);
    if ((uint64_t)hole < worker->to) {
        off_t after = lseek(run.fd, hole, SEEK_DATA);

        end = after == -1 || (uint64_t)after > worker->to ? worker->to : (uint64_t)after;
        if (!is_zero(run.model + hole, end - (uint64_t)hole))
            fail(worker,
                 "operation %" PRIu64 ": SEEK_HOLE from %#" PRIx64 " went to %#" PRIx64
                 ", which holds data",
                 step->number, step->offset, (uint64_t)hole);
    }
}

static void
do_step(struct worker *worker, uint64_t number)
{
    uint64_t state = run.seed;
    struct step *step = &worker->history[worker->steps++ % HISTORY];
    uint64_t dice;
    unsigned op = 0;

    state = random_next(&state) + worker->id;
    state = random_next(&state) + number;
    dice = random_below(&state, 100);
    while (dice >= op_weights[op])
        dice -= op_weights[op++];
    *step = (struct step){ .number = number, .op = op };
    choose_range(worker, &state, step);

    switch (step->op) {
    case READ:
        do_read(worker, &state, step);
        break;
    case WRITE:
    case WRITE_ZEROS:
        do_write(worker, &state, step);
        break;
    case SEEK:
        do_seek(worker, step);
        break;
    case FSYNC:
    case FDATASYNC:
        if ((step->op == FSYNC ? fsync(run.fd) : fdatasync(run.fd)) != 0)
            fail(worker, "%s: %s", op_names[step->op], strerror(errno));
        break;
    default:
        do_fallocate(worker, step);
        break;
    }
}

static void *
work(void *argument)
{
    struct worker *worker = argument;

    for (uint64_t i = 0; i < run.count; i++)
        do_step(worker, run.first + i);
    return NULL;
}

/* At the end every byte is compared. */
static void
compare_all(struct worker *worker)
{
    uint64_t piece = run.length_max, state = 0;

    fsync(run.fd);
    posix_fadvise(run.fd, 0, 0, POSIX_FADV_DONTNEED);
    for (uint64_t at = 0; at < run.size; at += piece) {
        struct step *step = &worker->history[worker->steps++ % HISTORY];

        *step = (struct step){ .number = run.first + run.count,
                               .op = READ,
                               .offset = at,
                               .length = run.size - at < piece ? run.size - at : piece };
        do_read(worker, &state, step);
    }
}

static uint64_t
number_of(const char *text)
{
    char *end;
    uint64_t value;

    errno = 0;
    value = strtoull(text, &end, 0);
    if (errno != 0 || end == text || *end != '\0') {
        fprintf(stderr, "randomops: not a number: %s\n", text);
        exit(2);
    }
    return value;
}

static void
parse(int argc, char **argv)
{
    static const struct option options[] = {
        { "seed", required_argument, NULL, 's' },
        { "first", required_argument, NULL, 'f' },
        { "count", required_argument, NULL, 'c' },
        { "threads", required_argument, NULL, 't' },
        { "model", required_argument, NULL, 'm' },
        { "max-bytes", required_argument, NULL, 'b' },
        { NULL, 0, NULL, 0 },
    };
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 's':
            run.seed = number_of(optarg);
            break;
        case 'f':
            run.first = number_of(optarg);
            break;
        case 'c':
            run.count = number_of(optarg);
            break;
        case 't':
            run.threads = (unsigned)number_of(optarg);
            break;
        case 'b':
            run.length_max = number_of(optarg);
            break;
        case 'm':
            run.model_path = optarg;
            break;
        default:
            exit(2);
        }
    }
    if (optind + 1 != argc || run.model_path == NULL || run.threads < 1 || run.threads > THREADS_MAX
        || run.length_max < 1) {
        fprintf(stderr,
                "usage: randomops --seed N [--first N] [--count N] [--threads N] [--max-bytes N]"
                " --model FILE PATH\n");
        exit(2);
    }
    run.path = argv[optind];
}

static void
open_files(void)
{
    struct stat status;
    int fd;

    run.fd = open(run.path, O_RDWR | O_CLOEXEC);
    if (run.fd == -1 || fstat(run.fd, &status) != 0)
        fail(NULL, "%s: %s", run.path, strerror(errno));
    run.size = (uint64_t)status.st_size;
    if (run.size < run.threads)
        fail(NULL, "%s: %" PRIu64 " bytes are too few", run.path, run.size);
    if (run.length_max > run.size)
        run.length_max = run.size;
    fd = open(run.model_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd == -1 || ftruncate(fd, (off_t)run.size) != 0)
        fail(NULL, "%s: %s", run.model_path, strerror(errno));
    run.model = mmap(NULL, run.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (run.model == MAP_FAILED)
        fail(NULL, "%s: %s", run.model_path, strerror(errno));
    close(fd);
}

int
main(int argc, char **argv)
{
    static struct worker workers[THREADS_MAX];

    parse(argc, argv);
    open_files();
    for (unsigned id = 0; id < run.threads; id++) {
        struct worker *worker = &workers[id];

        worker->id = id;
        worker->from = id == 0 ? 0 : workers[id - 1].to;
        worker->to = id + 1 == run.threads ? run.size : (run.size / run.threads * (id + 1)) | 1;
        worker->buffer = malloc(run.length_max + 4096); /* a page more: aligned ranges grow */
        if (worker->buffer == NULL)
            fail(NULL, "out of memory");
    }
    for (unsigned id = 0; id < run.threads; id++) {
        if (pthread_create(&workers[id].thread, NULL, work, &workers[id]) != 0)
            fail(NULL, "no thread");
    }
    for (unsigned id = 0; id < run.threads; id++)
        pthread_join(workers[id].thread, NULL);
    compare_all(&workers[0]);
    for (unsigned id = 0; id < run.threads; id++)
        free(workers[id].buffer);
    if (close(run.fd) != 0)
        fail(NULL, "close: %s", strerror(errno));
    printf("randomops: seed %" PRIu64 ", operations %" PRIu64 " to %" PRIu64
           " on %u threads: no difference\n",
           run.seed, run.first, run.first + run.count, run.threads);
    return 0;
}
