/* SPDX-License-Identifier: Apache-2.0 */
/* core/progress.c: how far a command is; and base/human.c, the numbers in it. */
#include "test.h"

#include "base/clock.h"
#include "base/human.h"
#include "base/log.h"
#include "progress.h"

#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const struct progress_view half = {
    .verb = "checking",
    .done = 1465,
    .total = 2930,
    .bytes = 96010240,
    .bytes_per_s = 12ull << 20,
    .elapsed_ns = 8 * NS_PER_S,
};

static const char *
formatted(const struct progress_view *view, unsigned columns)
{
    static char line[PROGRESS_COLUMNS_MAX + 1];

    progress_format(view, columns, line, sizeof line);
    return line;
}

TEST(progress, of_80_columns_the_bar_takes_what_the_numbers_leave)
{
    assert_string_equal(
        formatted(&half, 80),
        "checking [=====>    ]  50%  1465 of 2930, 91.5 MiB, 12.0 MiB/s, 0:09 left");
}

TEST(progress, no_line_reaches_the_last_column_however_narrow_it_is)
{
    for (unsigned columns = 1; columns <= PROGRESS_COLUMNS_MAX; columns++)
        assert_true(strlen(formatted(&half, columns)) < columns);
}

TEST(progress, a_narrow_terminal_loses_the_bar_first_and_then_the_last_facts_each_as_a_whole)
{
    assert_string_equal(formatted(&half, 70),
                        "checking  50%  1465 of 2930, 91.5 MiB, 12.0 MiB/s, 0:09 left");
    assert_string_equal(formatted(&half, 40), "checking  50%  1465 of 2930, 91.5 MiB");
    assert_string_equal(formatted(&half, 37), "checking  50%  1465 of 2930");
    assert_string_equal(formatted(&half, 26), "checking  50%  ");
}

TEST(progress, without_a_total_it_says_how_much_there_is_so_far)
{
    const struct progress_view view = { .verb = "listing", .done = 17000 };

    assert_string_equal(formatted(&view, 80), "listing: 17000");
    assert_string_equal(formatted(&view, 0), "listing: 17000");
}

TEST(progress, a_line_of_the_log_has_no_bar)
{
    struct progress_view view = half;

    view.bad = 3;
    assert_string_equal(formatted(&view, 0),
                        "checking: 50 %, 1465 of 2930, 3 bad, 91.5 MiB, 12.0 MiB/s, 0:09 left");
}

TEST(progress, what_exceeds_the_total_is_no_more_than_all_of_it)
{
    const struct progress_view view = { .verb = "erasing", .done = 12, .total = 10 };

    assert_string_equal(formatted(&view, 0), "erasing: 100 %, 12 of 12");
}

TEST(progress, the_first_seconds_guess_no_end)
{
    struct progress_view view = half;

    view.elapsed_ns = NS_PER_S;
    assert_null(strstr(formatted(&view, 80), "left"));
}

TEST(progress, sizes_are_cut_to_three_digits)
{
    const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        { 0, "0 B" },
        { 1023, "1023 B" },
        { 1024, "1.0 KiB" },
        { (1 << 20) - 1, "1023 KiB" },
        { 1536ull << 20, "1.5 GiB" },
        { UINT64_MAX, "15.9 EiB" },
    };
    char text[HUMAN_BYTES];

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        human_bytes(cases[i].bytes, text);
        assert_string_equal(text, cases[i].text);
    }
}

TEST(progress, durations_grow_with_what_they_say)
{
    const struct {
        uint64_t seconds;
        const char *text;
    } cases[] = {
        { 0, "0:00" },         { 65, "1:05" },          { 3600, "1:00:00" },
        { 90061, "25:01:01" }, { 3 * 86400, "3 days" }, { UINT64_MAX, "99999 days" },
    };
    char text[HUMAN_BYTES];

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        human_duration(cases[i].seconds, text);
        assert_string_equal(text, cases[i].text);
    }
}

TEST(progress, only_one_has_the_form_of_one)
{
    assert_string_equal(human_form(1, "block is", "blocks are"), "block is");
    assert_string_equal(human_form(0, "block is", "blocks are"), "blocks are");
    assert_string_equal(human_form(2, "block is", "blocks are"), "blocks are");
}

/* ---- on a terminal, and elsewhere */

#define END_MARK '\a' /* in no line */

/* Standard error becomes `fd` until the end of the test. */
struct captured {
    int before, read_fd;
    char text[4096];
};

static void
capture(struct captured *captured, int read_fd, int write_fd)
{
    captured->read_fd = read_fd;
    captured->before = dup(STDERR_FILENO);
    assert_true(captured->before != -1 && dup2(write_fd, STDERR_FILENO) != -1);
    close(write_fd);
}

/* A terminal gives what was written in pieces. */
static const char *
release(struct captured *captured)
{
    size_t used = 0;

    fputc(END_MARK, stderr);
    assert_true(dup2(captured->before, STDERR_FILENO) != -1);
    close(captured->before);
    while (used == 0 || captured->text[used - 1] != END_MARK) {
        ssize_t bytes =
            read(captured->read_fd, captured->text + used, sizeof captured->text - used);

        assert_true(bytes > 0);
        used += (size_t)bytes;
    }
    captured->text[used - 1] = '\0';
    close(captured->read_fd);
    return captured->text;
}

static void
capture_terminal(struct captured *captured)
{
    const struct winsize size = { .ws_row = 24, .ws_col = 40 };
    int master, slave;

    assert_int_equal(openpty(&master, &slave, NULL, NULL, &size), 0);
    capture(captured, master, slave);
}

static void
capture_pipe(struct captured *captured)
{
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    capture(captured, fds[0], fds[1]);
}

static void
draw_late(struct progress *progress, uint64_t late_ns)
{
    progress->drawn_ns -= late_ns;
    progress->began_ns -= late_ns;
    progress_draw(progress);
}

TEST(progress, a_terminal_has_the_bar_below_the_log_and_is_clean_at_the_end)
{
    struct captured captured;
    struct progress progress;

    setenv("TERM", "xterm", 1);
    capture_terminal(&captured);
    progress_begin(&progress, "copying", 4, false);
    progress_add(&progress, 1, 0);
    draw_late(&progress, NS_PER_S);
    progress_draw(&progress); /* too early for another one */
    log_line(BD_WARNING, "beware");
    progress_end(&progress);
    log_line(BD_INFO, "done");
    assert_string_equal(release(&captured), "\r\033[Kcopying [==>       ]  25%  1 of 4"
                                            "\r\033[Kbucketdisk: warning: beware\r\n"
                                            "copying [==>       ]  25%  1 of 4"
                                            "\r\033[K"
                                            "bucketdisk: done\r\n");
}

TEST(progress, elsewhere_each_tenth_is_a_line_of_the_log_and_nothing_moves)
{
    struct captured captured;
    struct progress progress;

    capture_pipe(&captured);
    progress_begin(&progress, "copying", 10, false);
    progress_draw(&progress);
    progress_add(&progress, 2, 0);
    progress_draw(&progress); /* too early for a line */
    draw_late(&progress, 3 * NS_PER_S);
    draw_late(&progress, 3 * NS_PER_S); /* no further than before */
    draw_late(&progress, 10 * NS_PER_S);
    progress_end(&progress);
    assert_string_equal(release(&captured), "bucketdisk: copying: 20 %, 2 of 10, 0:13 left\n"
                                            "bucketdisk: copying: 20 %, 2 of 10, 1:05 left\n");
}

TEST(progress, a_dumb_terminal_gets_lines)
{
    struct captured captured;
    struct progress progress;

    setenv("TERM", "dumb", 1);
    capture_terminal(&captured);
    progress_begin(&progress, "copying", 10, false);
    progress_add(&progress, 5, 0);
    draw_late(&progress, 3 * NS_PER_S);
    progress_end(&progress);
    assert_string_equal(release(&captured), "bucketdisk: copying: 50 %, 5 of 10, 0:04 left\r\n");
}

TEST(progress, who_wants_quiet_sees_nothing)
{
    struct captured captured;
    struct progress progress;

    setenv("TERM", "xterm", 1);
    capture_terminal(&captured);
    progress_begin(&progress, "copying", 10, true);
    progress_add(&progress, 5, 0);
    draw_late(&progress, 20 * NS_PER_S);
    progress_end(&progress);
    assert_string_equal(release(&captured), "");
}

TEST(progress, what_was_never_begun_can_be_drawn_and_ended)
{
    struct captured captured;
    struct progress progress = { .verb = NULL };

    capture_pipe(&captured);
    progress_draw(&progress);
    progress_end(&progress);
    assert_string_equal(release(&captured), "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(progress, of_80_columns_the_bar_takes_what_the_numbers_leave),
        RUN(progress, no_line_reaches_the_last_column_however_narrow_it_is),
        RUN(progress,
            a_narrow_terminal_loses_the_bar_first_and_then_the_last_facts_each_as_a_whole),
        RUN(progress, without_a_total_it_says_how_much_there_is_so_far),
        RUN(progress, a_line_of_the_log_has_no_bar),
        RUN(progress, what_exceeds_the_total_is_no_more_than_all_of_it),
        RUN(progress, the_first_seconds_guess_no_end),
        RUN(progress, sizes_are_cut_to_three_digits),
        RUN(progress, durations_grow_with_what_they_say),
        RUN(progress, only_one_has_the_form_of_one),
        RUN(progress, a_terminal_has_the_bar_below_the_log_and_is_clean_at_the_end),
        RUN(progress, elsewhere_each_tenth_is_a_line_of_the_log_and_nothing_moves),
        RUN(progress, a_dumb_terminal_gets_lines),
        RUN(progress, who_wants_quiet_sees_nothing),
        RUN(progress, what_was_never_begun_can_be_drawn_and_ended),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
