/* SPDX-License-Identifier: Apache-2.0 */
/* What the contenders share: the load as words NAME=VALUE, whose turn it is, and the figures.
 *
 * A run writes each object once, which opens the connections, then goes on for WARM_NS before it
 * counts.  One thread. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAME_MAX_BYTES 128

struct load {
    bool is_put;
    bool is_fill; /* each object is written once, and nothing is counted */
    bool is_random;
    const char *prefix; /* of the objects' names, which are a number behind it, as s3backer's */
    size_t bytes;       /* of an object */
    unsigned in_flight; /* requests, so connections too */
    unsigned objects;
    double seconds; /* of counting */
    unsigned char *body;

    unsigned filled;                    /* objects that were written, or are being so */
    unsigned filling;                   /* of them, under way */
    uint64_t next;                      /* number of the next request */
    uint64_t warm_ns, begin_ns, end_ns; /* 0: not reached */
    uint64_t begin_cpu_ns, end_cpu_ns;  /* user and system, of the whole process */
    uint32_t *latency_us;               /* of those that count */
    size_t done;
};

/* One request, as the load wants it. */
struct turn {
    bool is_put;
    unsigned object;
    uint64_t begun_ns;
};

/* The value of a word NAME=VALUE, or `otherwise`. */
const char *word_of(int argc, char **argv, const char *name, const char *otherwise);
/* op=get|put|fill bytes= in_flight= objects= seconds= prefix= order=seq|random fill=yes|no (no: the objects are there)
 * Exits with a sentence if they make no sense. */
void load_init(struct load *load, int argc, char **argv);
/* False: nothing to begin now; if nothing is under way either, the run is over. */
bool load_begin(struct load *load, struct turn *turn);
void load_end(struct load *load, const struct turn *turn);
/* One line of JSON. */
void load_print(struct load *load);

uint64_t clock_ns(void);
/* What each object holds. */
void body_fill(unsigned char *body, size_t bytes);
void name_of(const struct load *load, unsigned object, char out[NAME_MAX_BYTES]);
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
