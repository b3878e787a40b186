/* SPDX-License-Identifier: Apache-2.0 */
/* core/base/log.c, core/base/log_limit.c: what is shown, and what is only counted. */
#include "fake_backend.h"

#include "base/log.h"
#include "base/log_limit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "bucketdisk: "
#define THREADS 8u
#define LINES_EACH 2000u

/* Standard error goes to a file. */
struct said {
    FILE *file;
    int before;
    char text[200000];
};

static void
said_begin(struct said *said)
{
    said->file = tmpfile();
    assert_non_null(said->file);
    said->before = dup(STDERR_FILENO);
    assert_int_not_equal(dup2(fileno(said->file), STDERR_FILENO), -1);
}

/* All that was said until now. */
static const char *
said_text(struct said *said)
{
    ssize_t bytes = pread(fileno(said->file), said->text, sizeof said->text - 1, 0);

    assert_in_range(bytes, 0, sizeof said->text - 2);
    said->text[bytes] = '\0';
    return said->text;
}

static void
said_end(struct said *said)
{
    log_end();
    dup2(said->before, STDERR_FILENO);
    close(said->before);
    fclose(said->file);
}

static unsigned
lines(const char *text)
{
    unsigned count = 0;

    for (; (text = strchr(text, '\n')) != NULL; text++)
        count++;
    return count;
}

static bool
shows(struct log_limit *limit, const char *line, uint64_t at_s)
{
    return log_limit_shows(limit, BD_ERROR, line, at_s * NS_PER_S);
}

/* NULL: there is none. */
static const char *
taken(struct log_limit *limit, uint64_t at_s, bool is_end)
{
    static char line[LOG_LINE_BYTES];
    enum bd_log_level level;

    if (!log_limit_take(limit, at_s * NS_PER_S, is_end, &level, line))
        return NULL;
    assert_int_equal(level, BD_ERROR);
    return line;
}

static void
flood(struct log_limit *limit, const char *what, unsigned count, uint64_t at_s)
{
    char line[100];

    for (unsigned i = 0; i < count; i++) {
        snprintf(line, sizeof line, "%s %08x", what, i);
        shows(limit, line, at_s);
    }
}

/* ---- what is shown */

TEST(log, the_first_lines_of_a_kind_are_shown_and_the_others_counted)
{
    static struct log_limit limit;
    char line[100];

    memset(&limit, 0, sizeof limit);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(line, sizeof line, "cannot write block %08x, object v/%08x: no", i, i);
        assert_int_equal(shows(&limit, line, 100 + i / 100), i < LOG_SHOWN_MAX);
    }
    assert_null(taken(&limit, 129, false));
    assert_string_equal(
        taken(&limit, 130, false),
        "995 more like this in 30 s, the last: cannot write block 000003e7, object v/000003e7: no");
    assert_null(taken(&limit, 130, false));
}

TEST(log, what_differs_in_more_than_numbers_is_another_kind)
{
    static const char *const others[] = {
        "cannot read block 1: denied",  "cannot read block 1: gone",       "cannot read block 1",
        "cannot write block 1: denied", "cannot read the block 1: denied", ""
    };
    static struct log_limit limit;

    memset(&limit, 0, sizeof limit);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        for (unsigned j = 0; j < 2 * LOG_SHOWN_MAX; j++)
            assert_int_equal(shows(&limit, others[i], 1), j < LOG_SHOWN_MAX);
    }
    assert_true(log_limit_shows(&limit, BD_WARNING, others[0], NS_PER_S));
    assert_false(shows(&limit, "cannot read block fff0: denied", 1));
    assert_false(shows(&limit, "cannot  read block x1y: denied", 1));
}

TEST(log, what_goes_on_is_told_of_once_in_each_time)
{
    static struct log_limit limit;

    memset(&limit, 0, sizeof limit);
    for (uint64_t s = 0; s < 300; s++) {
        const char *line = taken(&limit, s, false);

        assert_int_equal(line != NULL, s > 0 && s % 30 == 0);
        if (line != NULL && s > 30)
            assert_non_null(strstr(line, "300 more like this in 30 s"));
        for (unsigned i = 0; i < 10; i++)
            assert_int_equal(shows(&limit, "again 1", s), s == 0 && i < LOG_SHOWN_MAX);
    }
}

TEST(log, what_has_ended_for_a_while_is_shown_when_it_begins_again)
{
    static struct log_limit limit;

    memset(&limit, 0, sizeof limit);
    flood(&limit, "again", 100, 1);
    assert_non_null(taken(&limit, 31, false));
    assert_false(shows(&limit, "again 1", 60));
    assert_non_null(taken(&limit, 61, false));
    assert_null(taken(&limit, 91, false));
    assert_true(shows(&limit, "again 1", 91));
    assert_null(taken(&limit, 1000, true));
}

TEST(log, what_is_told_late_is_told_of_all_and_hides_nothing_else)
{
    static struct log_limit limit;

    memset(&limit, 0, sizeof limit);
    flood(&limit, "late", 100, 1);
    flood(&limit, "another", 2, 50);
    assert_false(shows(&limit, "late 1", 60));
    assert_string_equal(taken(&limit, 60, false), "96 more like this in 59 s, the last: late 1");
    assert_null(taken(&limit, 60, true));
}

TEST(log, at_the_end_all_is_told)
{
    static struct log_limit limit;

    memset(&limit, 0, sizeof limit);
    flood(&limit, "one kind", LOG_SHOWN_MAX + 1, 1);
    flood(&limit, "another kind", LOG_SHOWN_MAX + 2, 2);
    assert_null(taken(&limit, 3, false));
    assert_string_equal(taken(&limit, 3, true),
                        "1 more like this in 2 s, the last: one kind 00000005");
    assert_string_equal(taken(&limit, 3, true),
                        "2 more like this in 1 s, the last: another kind 00000006");
    assert_null(taken(&limit, 3, true));
}

TEST(log, kinds_without_number_are_limited_too)
{
    static struct log_limit limit;
    unsigned shown = 0;
    const char *line;

    memset(&limit, 0, sizeof limit);
    for (unsigned i = 0; i < 10000; i++) {
        char text[20] = { (char)('a' + i % 26), (char)('a' + i / 26 % 26), (char)('a' + i / 676) };

        shown += shows(&limit, text, 1);
    }
    assert_int_equal(shown, LOG_KINDS_MAX + LOG_SHOWN_MAX);
    line = taken(&limit, 31, false);
    assert_non_null(line);
    assert_non_null(strstr(line, "9931 other messages in 30 s, the last: "));
    assert_true(shows(&limit, "something new", 61));
}

TEST(log, kinds_of_warnings_without_number_hide_no_error)
{
    static struct log_limit limit;
    unsigned shown = 0;

    memset(&limit, 0, sizeof limit);
    for (unsigned i = 0; i < 10000; i++) {
        char text[20] = { (char)('a' + i % 26), (char)('a' + i / 26 % 26), (char)('a' + i / 676) };

        shown += log_limit_shows(&limit, BD_WARNING, text, NS_PER_S);
    }
    assert_int_equal(shown, LOG_KINDS_MAX + LOG_SHOWN_MAX);
    assert_true(shows(&limit, "the volume is lost", 1));
}

TEST(log, it_is_known_when_something_is_to_be_told)
{
    static struct log_limit limit;

    memset(&limit, 0, sizeof limit);
    flood(&limit, "a", LOG_SHOWN_MAX, 1);
    assert_int_equal(log_limit_due_ns(&limit), UINT64_MAX);
    flood(&limit, "b", LOG_SHOWN_MAX + 1, 5);
    flood(&limit, "a", 1, 6);
    assert_int_equal(log_limit_due_ns(&limit), 31 * NS_PER_S);
    assert_non_null(taken(&limit, 31, false));
    assert_int_equal(log_limit_due_ns(&limit), 35 * NS_PER_S);
}

/* ---- the log itself */

TEST(log, what_was_left_out_is_told_in_time_though_nothing_else_is_said)
{
    static struct said said;
    struct pool *pool;

    assert_int_equal(pool_new(1, &pool), 0);
    said_begin(&said);
    log_follow(pool);
    for (unsigned i = 0; i < 2000; i++)
        log_line(BD_WARNING, "slow: %u", i);
    assert_int_equal(lines(said_text(&said)), LOG_SHOWN_MAX);
    clock_jump(pool, LOG_TIME_NS / 2);
    clock_jump(pool, 0);
    assert_int_equal(lines(said_text(&said)), LOG_SHOWN_MAX);
    clock_jump(pool, LOG_TIME_NS / 2);
    clock_jump(pool, 0); /* behind the log's timer */
    assert_int_equal(lines(said_text(&said)), LOG_SHOWN_MAX + 1);
    assert_non_null(strstr(said_text(&said), PREFIX "warning: 1995 more like this in "));
    assert_non_null(strstr(said_text(&said), "the last: slow: 1999\n"));
    for (unsigned i = 0; i < 7; i++)
        log_line(BD_WARNING, "slow: %u", i);
    clock_jump(pool, LOG_TIME_NS / 3);
    for (unsigned i = 0; i < 7; i++)
        log_line(BD_ERROR, "bad: %u", i);
    assert_int_equal(lines(said_text(&said)), 2 * LOG_SHOWN_MAX + 1);
    for (unsigned i = 1; i < 3; i++) { /* one after the other, at its time */
        clock_jump(pool, i == 1 ? LOG_TIME_NS * 2 / 3 : LOG_TIME_NS / 3);
        clock_jump(pool, 0);
        assert_int_equal(lines(said_text(&said)), 2 * LOG_SHOWN_MAX + 1 + i);
    }
    log_line(BD_WARNING, "slow: again");
    log_line(BD_WARNING, "slow: 5");
    log_unfollow(pool);
    pool_free(pool);
    log_end();
    assert_int_equal(lines(said_text(&said)), 2 * LOG_SHOWN_MAX + 5);
    said_end(&said);
}

TEST(log, without_a_pool_it_is_told_with_the_next_line)
{
    static struct said said;
    struct pool *pool;

    assert_int_equal(pool_new(1, &pool), 0); /* for its clock */
    said_begin(&said);
    for (unsigned i = 0; i < 100; i++)
        log_line(BD_ERROR, "no pool: %u", i);
    clock_jump(pool, LOG_TIME_NS);
    assert_int_equal(lines(said_text(&said)), LOG_SHOWN_MAX);
    log_line(BD_INFO, "something else");
    assert_non_null(strstr(said_text(&said), "no pool: 99\n" PREFIX "something else\n"));
    said_end(&said);
    pool_free(pool);
}

TEST(log, of_two_pools_the_first_is_followed_and_the_second_is_nothing_to_it)
{
    static struct said said;
    struct pool *pools[2];

    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pool_new(1, &pools[i]), 0);
    said_begin(&said);
    log_follow(pools[0]);
    for (unsigned i = 0; i < 100; i++)
        log_line(BD_ERROR, "two pools: %u", i);
    log_follow(pools[1]);
    log_unfollow(pools[1]);
    pool_free(pools[1]);
    clock_jump(pools[0], LOG_TIME_NS);
    clock_jump(pools[0], 0);
    assert_non_null(strstr(said_text(&said), "the last: two pools: 99\n"));
    log_unfollow(pools[0]);
    pool_free(pools[0]);
    log_end();
    said_end(&said);
}

TEST(log, what_names_something_that_nothing_else_names_is_never_left_out)
{
    static struct said said;

    said_begin(&said);
    for (unsigned i = 0; i < 100; i++)
        log_each(BD_ERROR, "each: %u", i);
    assert_int_equal(lines(said_text(&said)), 100);
    said_end(&said);
}

static void *
say_lines(void *arg)
{
    const char *word = arg;

    for (unsigned i = 0; i < LINES_EACH; i++)
        log_line(BD_ERROR, "%s: %u", word, i);
    return NULL;
}

/* How many lines of the word were shown or are in a count. */
static unsigned
accounted(const char *text, const char *word)
{
    unsigned count = 0, more;
    char line[LOG_LINE_BYTES];

    for (; *text != '\0'; text += strcspn(text, "\n") + 1) {
        snprintf(line, sizeof line, "%.*s", (int)strcspn(text, "\n"), text);
        if (strstr(line, word) != NULL)
            count += sscanf(line, PREFIX "error: %u more like this", &more) == 1 ? more : 1;
    }
    return count;
}

TEST(log, of_many_threads_each_line_is_shown_or_counted)
{
    char words[][8] = { "first", "second" };
    static struct said said;
    pthread_t threads[THREADS];
    struct pool *pool;

    assert_int_equal(pool_new(2, &pool), 0);
    said_begin(&said);
    log_follow(pool);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, say_lines, words[i % 2]), 0);
    for (unsigned i = 0; i < 40; i++)
        clock_jump(pool, LOG_TIME_NS);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    log_unfollow(pool);
    log_end();
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(accounted(said_text(&said), words[i]), THREADS / 2 * LINES_EACH);
    pool_free(pool);
    said_end(&said);
}

TEST(log, what_was_asked_for_is_not_limited)
{
    static struct said said;

    said_begin(&said);
    for (unsigned i = 0; i < 100; i++)
        log_line(BD_INFO, "as asked for: %u", i);
    assert_int_equal(lines(said_text(&said)), 100);
    said_end(&said);
}

/* The last: it changes what is kept. */
TEST(log, who_wants_every_detail_gets_every_line)
{
    static struct said said;

    log_level_max(BD_DEBUG);
    said_begin(&said);
    for (unsigned i = 0; i < 200; i++)
        log_line(i % 2 == 0 ? BD_ERROR : BD_DEBUG, "detail %u", i);
    assert_int_equal(lines(said_text(&said)), 200);
    said_end(&said);
    log_level_max(BD_INFO);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(log, the_first_lines_of_a_kind_are_shown_and_the_others_counted),
        RUN(log, what_differs_in_more_than_numbers_is_another_kind),
        RUN(log, what_goes_on_is_told_of_once_in_each_time),
        RUN(log, what_has_ended_for_a_while_is_shown_when_it_begins_again),
        RUN(log, what_is_told_late_is_told_of_all_and_hides_nothing_else),
        RUN(log, at_the_end_all_is_told),
        RUN(log, kinds_without_number_are_limited_too),
        RUN(log, kinds_of_warnings_without_number_hide_no_error),
        RUN(log, it_is_known_when_something_is_to_be_told),
        RUN(log, what_was_left_out_is_told_in_time_though_nothing_else_is_said),
        RUN(log, without_a_pool_it_is_told_with_the_next_line),
        RUN(log, of_two_pools_the_first_is_followed_and_the_second_is_nothing_to_it),
        RUN(log, what_names_something_that_nothing_else_names_is_never_left_out),
        RUN(log, of_many_threads_each_line_is_shown_or_counted),
        RUN(log, what_was_asked_for_is_not_limited),
        RUN(log, who_wants_every_detail_gets_every_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
