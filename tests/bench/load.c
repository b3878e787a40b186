/* SPDX-License-Identifier: Apache-2.0 */
/* What both contenders share. */
#include "load.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WARM_NS 200000000u
#define NS_PER_S 1000000000u
#define SAMPLES_MAX (8u << 20)

void
fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

/* The clock of deadlines in plugin.h. */
uint64_t
clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static uint64_t
cpu_ns(void)
{
    struct timespec used;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * NS_PER_S + (uint64_t)used.tv_nsec;
}

void
body_fill(unsigned char *body, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        body[i] = (unsigned char)(i * 31 + i / 251);
}

void
name_of(const struct load *load, unsigned object, char out[NAME_MAX_BYTES])
{
    snprintf(out, NAME_MAX_BYTES, "%s%08x", load->prefix, object);
}

const char *
word_of(int argc, char **argv, const char *name, const char *otherwise)
{
    size_t name_bytes = strlen(name);

    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], name, name_bytes) == 0 && argv[i][name_bytes] == '=')
            return argv[i] + name_bytes + 1;
    }
    if (otherwise == NULL)
        fail("%s= is missing", name);
    return otherwise;
}

static unsigned long
number_of(int argc, char **argv, const char *name, const char *otherwise)
{
    const char *value = word_of(argc, argv, name, otherwise);
    char *end;
    unsigned long number = strtoul(value, &end, 10);

    if (*end != '\0' || number == 0 || number > 1u << 30)
        fail("%s=%s", name, value);
    return number;
}

void
load_init(struct load *load, int argc, char **argv)
{
    const char *op = word_of(argc, argv, "op", NULL);

    *load = (struct load){ 0 };
    load->is_put = strcmp(op, "put") == 0;
    load->is_fill = strcmp(op, "fill") == 0;
    if (!load->is_put && !load->is_fill && strcmp(op, "get") != 0)
        fail("op=%s", op);
    load->prefix = word_of(argc, argv, "prefix", "block-");
    load->is_random = strcmp(word_of(argc, argv, "order", "seq"), "random") == 0;
    load->bytes = number_of(argc, argv, "bytes", NULL);
    load->in_flight = (unsigned)number_of(argc, argv, "in_flight", NULL);
    load->objects = (unsigned)number_of(argc, argv, "objects", "256");
    load->seconds = strtod(word_of(argc, argv, "seconds", "1"), NULL);
    if (strcmp(word_of(argc, argv, "fill", "yes"), "no") == 0)
        load->filled = load->objects;
    load->body = malloc(load->bytes);
    load->latency_us = malloc(SAMPLES_MAX * sizeof *load->latency_us);
    if (load->body == NULL || load->latency_us == NULL)
        fail("out of memory");
    body_fill(load->body, load->bytes);
}

static unsigned
object_next(struct load *load)
{
    uint64_t number = load->next++;

    /* The finalizer of SplitMix64: any mixing will do. */
    if (load->is_random) {
        number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9u + 0x9e3779b97f4a7c15u;
        number = (number ^ (number >> 27)) * 0x94d049bb133111ebu;
        number ^= number >> 31;
    }
    return (unsigned)(number % load->objects);
}

bool
load_begin(struct load *load, struct turn *turn)
{
    if (load->filled < load->objects) {
        load->filling++;
        *turn = (struct turn){ true, load->filled++, 0 };
        return true;
    }
    if (load->filling > 0 || load->is_fill || load->end_ns != 0)
        return false;
    *turn = (struct turn){ load->is_put, object_next(load), clock_ns() };
    if (load->warm_ns == 0)
        load->warm_ns = turn->begun_ns + WARM_NS;
    return true;
}

void
load_end(struct load *load, const struct turn *turn)
{
    uint64_t now;

    if (turn->begun_ns == 0) {
        load->filling--;
        return;
    }
    if (load->end_ns != 0)
        return;
    now = clock_ns();
    if (load->begin_ns == 0) {
        if (now < load->warm_ns)
            return;
        load->begin_ns = now;
        load->begin_cpu_ns = cpu_ns();
        return;
    }
    if (load->done < SAMPLES_MAX)
        load->latency_us[load->done] = (uint32_t)((now - turn->begun_ns) / 1000);
    load->done++;
    if ((double)(now - load->begin_ns) >= load->seconds * NS_PER_S) {
        load->end_ns = now;
        load->end_cpu_ns = cpu_ns();
    }
}

static int
compare(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

    return (a > b) - (a < b);
}

void
load_print(struct load *load)
{
    double seconds = (double)(load->end_ns - load->begin_ns) / NS_PER_S;
    size_t samples = load->done < SAMPLES_MAX ? load->done : SAMPLES_MAX;

    if (load->is_fill) {
        printf("{\"objects\": %u}\n", load->filled);
        return;
    }
    if (load->end_ns == 0)
        fail("the run ended early");
    qsort(load->latency_us, samples, sizeof *load->latency_us, compare);
    printf("{\"requests_s\": %.1f, \"bytes_s\": %.0f, \"cpu_us\": %.2f, \"p50_us\": %u, "
           "\"p99_us\": %u}\n",
           (double)load->done / seconds, (double)load->done * (double)load->bytes / seconds,
           (double)(load->end_cpu_ns - load->begin_cpu_ns) / 1000 / (double)load->done,
           load->latency_us[samples / 2], load->latency_us[samples * 99 / 100]);
}
