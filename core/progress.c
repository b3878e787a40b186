/* SPDX-License-Identifier: Apache-2.0 */
/* How far a long command is. */
#include "progress.h"

#include "base/clock.h"
#include "base/human.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DRAW_EVERY_NS (NS_PER_S / 4)
#define LINE_EVERY_NS (10 * NS_PER_S)
#define LINE_FIRST_NS (2 * NS_PER_S) /* what takes less needs no lines */
#define RATE_OVER_NS (5 * NS_PER_S)
#define LEFT_AFTER_NS (2 * NS_PER_S) /* before that it would be a guess */
#define COLUMNS_DEFAULT 80u
/* Its width goes by steps, so that it does not jump with each digit behind it. */
#define BAR_STEP 10u
#define BAR_STEPS_MAX 3u

/* ---- the words */

struct text {
    char *out;
    size_t room, bytes;
};

static void add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void
add(struct text *text, const char *format, ...)
{
    va_list args;
    int bytes;

    va_start(args, format);
    bytes = vsnprintf(text->out + text->bytes, text->room - text->bytes, format, args);
    va_end(args);
    if (bytes > 0)
        text->bytes += (size_t)bytes;
    if (text->bytes >= text->room)
        text->bytes = text->room - 1;
}

/* More may have come than was expected. */
static unsigned
permille_of(const struct progress_view *view)
{
    if (view->total == 0)
        return 0;
    return view->done >= view->total ? 1000
                                     : (unsigned)((double)view->done * 1000 / (double)view->total);
}

/* Whole or not at all: half a number is a wrong one.  Behind one that had no room none comes. */
static void add_fact(struct text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void
add_fact(struct text *text, const char *format, ...)
{
    char fact[64];
    va_list args;

    va_start(args, format);
    vsnprintf(fact, sizeof fact, format, args);
    va_end(args);
    if (text->bytes + strlen(fact) < text->room)
        add(text, "%s", fact);
    else
        text->room = text->bytes + 1;
}

static void
add_facts(struct text *text, const struct progress_view *view)
{
    char human[HUMAN_BYTES];

    if (view->total == 0)
        add_fact(text, "%" PRIu64, view->done);
    else
        add_fact(text, "%" PRIu64 " of %" PRIu64, view->done,
                 view->total > view->done ? view->total : view->done);
    if (view->bad != 0)
        add_fact(text, ", %" PRIu64 " bad", view->bad);
    if (view->bytes != 0) {
        human_bytes(view->bytes, human);
        add_fact(text, ", %s", human);
    }
    if (view->bytes_per_s != 0) {
        human_bytes(view->bytes_per_s, human);
        add_fact(text, ", %s/s", human);
    }
    if (view->done != 0 && view->done < view->total && view->elapsed_ns >= LEFT_AFTER_NS) {
        double seconds = (double)view->elapsed_ns / NS_PER_S;

        human_duration((uint64_t)(seconds * (double)(view->total - view->done) / (double)view->done)
                           + 1,
                       human);
        add_fact(text, ", %s left", human);
    }
}

static void
add_bar(struct text *text, unsigned width, unsigned permille)
{
    unsigned full = width * permille / 1000;

    add(text, " [");
    for (unsigned i = 0; i < width; i++)
        add(text, "%c", i < full ? '=' : i == full ? '>' : ' ');
    add(text, "]");
}

void
progress_format(const struct progress_view *view, unsigned columns, char *out, size_t out_bytes)
{
    char facts[160] = "";
    struct text words = { facts, sizeof facts, 0 }, line = { out, out_bytes, 0 };
    unsigned permille = permille_of(view);
    size_t taken = strlen(view->verb) + (view->total != 0 ? sizeof " 100%  " : sizeof ": ") - 1;

    /* The last column stays free: a terminal may go to the next line behind it. */
    if (columns != 0 && columns < line.room)
        line.room = columns;
    if (columns != 0 && columns < taken + words.room)
        words.room = columns > taken ? columns - taken : 1;
    add_facts(&words, view);
    add(&line, "%s", view->verb);
    taken = line.bytes + sizeof " [] 100%  " - 1 + words.bytes;
    if (view->total != 0 && taken + BAR_STEP < columns) {
        size_t steps = (columns - 1 - taken) / BAR_STEP;

        add_bar(&line, BAR_STEP * (steps < BAR_STEPS_MAX ? (unsigned)steps : BAR_STEPS_MAX),
                permille);
    }
    if (view->total != 0)
        add(&line, columns != 0 ? " %3u%%  " : ": %u %%, ", permille / 10);
    else
        add(&line, ": ");
    add(&line, "%s", facts);
}

/* ---- showing */

static unsigned
columns_now(void)
{
    struct winsize size;

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return COLUMNS_DEFAULT;
    return size.ws_col < PROGRESS_COLUMNS_MAX ? size.ws_col : PROGRESS_COLUMNS_MAX;
}

static bool
has_terminal(void)
{
    const char *kind = getenv("TERM");

    return isatty(STDERR_FILENO) == 1 && (kind == NULL || strcmp(kind, "dumb") != 0);
}

/* The rate of the last seconds, so that it follows what the store does now. */
static void
note_rate(struct progress *progress, uint64_t bytes, uint64_t now)
{
    uint64_t past_ns = now - progress->drawn_ns;
    double latest = (double)(bytes - progress->drawn_bytes) * NS_PER_S / (double)past_ns;
    double weight = (double)past_ns / (double)(past_ns + RATE_OVER_NS);

    if (progress->bytes_per_s == 0)
        weight = 1;
    progress->bytes_per_s =
        (uint64_t)((double)progress->bytes_per_s * (1 - weight) + latest * weight);
    progress->drawn_bytes = bytes;
    progress->drawn_ns = now;
}

/* Elsewhere than on a terminal each line stays: one for every tenth, and one when nothing was said for long. */
static bool
is_line_due(struct progress *progress, const struct progress_view *view, uint64_t now)
{
    unsigned tenths = permille_of(view) / 100;
    bool is_due = now - progress->drawn_ns >= LINE_EVERY_NS
                  || (tenths > progress->drawn_tenths && tenths < 10
                      && now - progress->drawn_ns >= LINE_FIRST_NS);

    if (is_due)
        progress->drawn_tenths = tenths;
    return is_due;
}

void
progress_draw(struct progress *progress)
{
    uint64_t now = clock_now_ns();
    struct progress_view view = { .verb = progress->verb,
                                  .done = atomic_load(&progress->done),
                                  .total = atomic_load(&progress->total),
                                  .bytes = atomic_load(&progress->bytes),
                                  .bad = atomic_load(&progress->bad),
                                  .elapsed_ns = now - progress->began_ns };
    char line[PROGRESS_COLUMNS_MAX + 1];

    if (progress->verb == NULL || progress->is_quiet)
        return;
    if (progress->is_terminal ? now - progress->drawn_ns < DRAW_EVERY_NS
                              : !is_line_due(progress, &view, now))
        return;
    note_rate(progress, view.bytes, now);
    view.bytes_per_s = progress->bytes_per_s;
    progress_format(&view, progress->is_terminal ? columns_now() : 0, line, sizeof line);
    if (progress->is_terminal)
        log_foot(line);
    else
        log_line(BD_INFO, "%s", line);
}

void
progress_begin(struct progress *progress, const char *verb, uint64_t total, bool is_quiet)
{
    *progress = (struct progress){ .verb = verb,
                                   .is_quiet = is_quiet,
                                   .is_terminal = has_terminal(),
                                   .began_ns = clock_now_ns() };
    progress->drawn_ns = progress->began_ns;
    atomic_init(&progress->total, total);
    atomic_init(&progress->done, 0);
    atomic_init(&progress->bytes, 0);
    atomic_init(&progress->bad, 0);
}

void
progress_add(struct progress *progress, uint64_t count, uint64_t bytes)
{
    atomic_fetch_add(&progress->done, count);
    atomic_fetch_add(&progress->bytes, bytes);
}

void
progress_bad(struct progress *progress, uint64_t count)
{
    atomic_fetch_add(&progress->bad, count);
}

void
progress_total(struct progress *progress, uint64_t total)
{
    atomic_store(&progress->total, total);
}

void
progress_end(struct progress *progress)
{
    if (progress->verb != NULL && progress->is_terminal && !progress->is_quiet)
        log_foot(NULL);
    progress->verb = NULL;
}
